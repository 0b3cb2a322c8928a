//! Memory: what a process has, and what the kernel has for everybody.
//!
//! The process's is Pss of `/proc/PID/smaps_rollup`: pages of its own whole, shared pages in parts. The kernel keeps no
//! account of its memory by process, so that is the whole system's, `/proc/meminfo` and, as root, `/proc/slabinfo` by
//! cache: it holds both ends of a connection over loopback, and whatever else happened meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Memory at one moment, octets.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Memory {
    /// The process: proportional set size.
    pub pss_bytes: u64,
    /// The part of it that no file backs.
    pub pss_anon_bytes: u64,
    /// The system: Slab, KernelStack and PageTables.
    pub kernel_bytes: u64,
    /// The system: pages of socket buffers (TCP's `mem`).
    pub sockets_bytes: u64,
    /// The system: kernel caches by name, if they may be read.
    pub slabs_bytes: BTreeMap<String, u64>,
}

impl Memory {
    /// Of process `pid` and of the system, now. Errors: no such process, not ours to look at.
    pub fn read(pid: u32) -> io::Result<Memory> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let kernel = ["Slab:", "KernelStack:", "PageTables:"].map(|name| kib(&meminfo, name));
        Ok(Memory {
            pss_bytes: kib(&rollup, "Pss:"),
            pss_anon_bytes: kib(&rollup, "Pss_Anon:"),
            kernel_bytes: kernel.iter().sum(),
            sockets_bytes: fs::read_to_string("/proc/net/sockstat").map(|text| tcp_bytes(&text)).unwrap_or_default(),
            slabs_bytes: fs::read_to_string("/proc/slabinfo").map(|text| slabs(&text)).unwrap_or_default(),
        })
    }
}

/// Resident memory of process `pid`, octets: cheap enough to be asked for fifty times a second. Errors: no such process.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text.split_ascii_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.map(|n| n * rustix::param::page_size() as u64).ok_or_else(|| io::Error::other("statm holds no number"))
}

/// The value of a line `Name:   123 kB`, in octets.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// `TCP: inuse 5 … mem 3`, in pages.
fn tcp_bytes(text: &str) -> u64 {
    let line = text.lines().find(|l| l.starts_with("TCP:")).unwrap_or_default();
    let pages = line.rsplit_once(" mem ").and_then(|(_, n)| n.trim().parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Rows `name active_objs num_objs objsize objperslab pagesperslab : … : slabdata active_slabs num_slabs sharedavail`.
fn slabs(text: &str) -> BTreeMap<String, u64> {
    let page = rustix::param::page_size() as u64;
    let row = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let pages: u64 = words.get(5)?.parse().ok()?;
        let count: u64 = words.get(14)?.parse().ok()?;
        Some((words[0].to_owned(), pages * count * page))
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_touched_is_seen() {
        let before = Memory::read(std::process::id()).unwrap();
        let block = vec![1u8; 128 << 20];
        let after = Memory::read(std::process::id()).unwrap();
        assert!(std::hint::black_box(&block).iter().all(|b| *b == 1));
        let rise = after.pss_anon_bytes.saturating_sub(before.pss_anon_bytes);
        assert!(rise >= 96 << 20, "{rise}");
        assert!(after.pss_bytes >= after.pss_anon_bytes && after.kernel_bytes > 0);
        assert!(resident_bytes(std::process::id()).unwrap() >= 128 << 20);
    }

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(kib("Rss:   9 kB\nPss:      12 kB\n", "Pss:"), 12 << 10);
        let page = rustix::param::page_size() as u64;
        assert_eq!(tcp_bytes("sockets: used 9\nTCP: inuse 1 orphan 0 tw 0 alloc 2 mem 7\nUDP: mem 9\n"), 7 * page);
        let row = "TCP  20 39 2496 13 8 : tunables 0 0 0 : slabdata 3 3 0\n";
        assert_eq!(slabs(&format!("slabinfo - version: 2.1\n# name\n{row}"))["TCP"], 3 * 8 * page);
    }
}
