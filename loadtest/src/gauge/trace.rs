//! Counts `ext4:ext4_sync_file_enter` for one file system, through a tracefs instance of our own.
//!
//! A sync that io_uring does in a kernel worker is no system call that strace could see, but it passes this
//! trace point. The count is entries kept plus entries overwritten, so the buffer's size does not matter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

const TRACEFS: &str = "/sys/kernel/tracing";

#[derive(Debug)]
pub struct SyncTrace {
    folder: PathBuf,
}

impl SyncTrace {
    /// For file system `device` (`st_dev`). Errors: tracefs not mounted, not root, not ext4.
    pub fn open(device: u64) -> io::Result<SyncTrace> {
        if !Path::new(TRACEFS).join("events/ext4/ext4_sync_file_enter").exists() {
            return Err(io::Error::other("not there (mount -t tracefs nodev /sys/kernel/tracing, as root)"));
        }
        let folder = Path::new(TRACEFS).join(format!("instances/ringpost-loadtest-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let trace = SyncTrace { folder };
        let event = trace.folder.join("events/ext4/ext4_sync_file_enter");
        // The kernel's own dev_t: 20 bits of minor.
        let number = (u64::from(major(device)) << 20) | u64::from(minor(device));
        fs::write(event.join("filter"), format!("dev == {number}"))?;
        fs::write(event.join("enable"), "1")?;
        Ok(trace)
    }

    pub fn read(&self) -> io::Result<u64> {
        let mut count = 0;
        for cpu in fs::read_dir(self.folder.join("per_cpu"))? {
            let text = fs::read_to_string(cpu?.path().join("stats"))?;
            count += entries(&text);
        }
        Ok(count)
    }
}

impl Drop for SyncTrace {
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
