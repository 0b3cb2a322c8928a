//! Counts what passes a trace point of the kernel, through a tracefs instance of our own.
//!
//! [`Trace::syncs`]: `ext4:ext4_sync_file_enter` of one file system. A sync that io_uring does in a kernel worker is no system call that
//! strace could see, but it passes this trace point. [`Trace::calls`]: `raw_syscalls:sys_enter` of one process, every system call of its
//! threads; a hundred times cheaper than strace, so it needs no phase of its own. Entries kept plus entries overwritten are the count, so
//! the buffer's size does not matter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

const TRACEFS: &str = "/sys/kernel/tracing";

#[derive(Debug)]
pub struct Trace {
    folder: PathBuf,
}

impl Trace {
    /// Syncs on file system `device` (`st_dev`). Errors: tracefs not mounted, not root, not ext4.
    pub fn syncs(device: u64) -> io::Result<Trace> {
        // The kernel's own dev_t: 20 bits of minor.
        let number = (u64::from(major(device)) << 20) | u64::from(minor(device));
        let trace = Trace::make("syncs", "ext4/ext4_sync_file_enter")?;
        fs::write(trace.folder.join("events/ext4/ext4_sync_file_enter/filter"), format!("dev == {number}"))?;
        trace.begin("ext4/ext4_sync_file_enter")
    }

    /// System calls of process `pid`: of the threads that it has, and of those that they will start. Errors: tracefs not mounted,
    /// not root, no such process.
    pub fn calls(pid: u32) -> io::Result<Trace> {
        let threads = fs::read_dir(format!("/proc/{pid}/task"))?;
        let threads: Vec<String> = threads.flatten().filter_map(|task| task.file_name().into_string().ok()).collect();
        let trace = Trace::make("calls", "raw_syscalls/sys_enter")?;
        fs::write(trace.folder.join("options/event-fork"), "1")?;
        fs::write(trace.folder.join("set_event_pid"), threads.join(" "))?;
        trace.begin("raw_syscalls/sys_enter")
    }

    fn make(name: &str, event: &str) -> io::Result<Trace> {
        if !Path::new(TRACEFS).join("events").join(event).exists() {
            return Err(io::Error::other("not there (mount -t tracefs nodev /sys/kernel/tracing, as root)"));
        }
        let folder = Path::new(TRACEFS).join(format!("instances/ringpost-loadtest-{name}-{}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Trace { folder })
    }

    fn begin(self, event: &str) -> io::Result<Trace> {
        fs::write(self.folder.join("events").join(event).join("enable"), "1")?;
        Ok(self)
    }

    /// How often it was passed.
    pub fn read(&self) -> io::Result<u64> {
        let mut count = 0;
        for cpu in fs::read_dir(self.folder.join("per_cpu"))? {
            let text = fs::read_to_string(cpu?.path().join("stats"))?;
            count += entries(&text);
        }
        Ok(count)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::write(self.folder.join("events/enable"), "0");
        let _ = fs::remove_dir(&self.folder);
    }
}

fn entries(stats: &str) -> u64 {
    stats
        .lines()
        .filter_map(|l| l.strip_prefix("entries: ").or_else(|| l.strip_prefix("overrun: ")))
        .filter_map(|n| n.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_and_overwritten_entries_both_count() {
        assert_eq!(entries("entries: 12\noverrun: 30\ncommit overrun: 5\nbytes: 99\n"), 42);
    }
}
