//! Writes and cache flushes of the disk that holds a directory, as the block layer counts them.
//!
//! The counts are the whole disk's. A partition's flushes are counted at its disk, so that is read.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

const SECTOR_BYTES: u64 = 512;

#[derive(Debug)]
pub struct Device {
    stat: PathBuf,
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceReading {
    pub writes: u64,
    pub written_bytes: u64,
    pub flushes: u64,
}

impl Device {
    /// The disk under `path`. Errors: a file system without a block device (tmpfs, btrfs, overlay).
    pub fn of(path: &Path) -> io::Result<Device> {
        let number = fs::metadata(path)?.dev();
        let mut folder = fs::canonicalize(format!("/sys/dev/block/{}:{}", major(number), minor(number)))?;
        if folder.join("partition").exists() {
            folder.pop();
        }
        let device = Device { stat: folder.join("stat"), number };
        device.read().map(|_| device)
    }

    /// The file system's device number, for the trace point's filter.
    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn read(&self) -> io::Result<DeviceReading> {
        parse(&fs::read_to_string(&self.stat)?)
    }
}

fn parse(text: &str) -> io::Result<DeviceReading> {
    let fields: Vec<u64> = text.split_ascii_whitespace().filter_map(|f| f.parse().ok()).collect();
    match fields[..] {
        [_, _, _, _, writes, _, sectors, _, _, _, _, _, _, _, _, flushes, ..] => {
            Ok(DeviceReading { writes, written_bytes: sectors * SECTOR_BYTES, flushes })
        }
        _ => Err(io::Error::other("block device statistics without flushes (Linux before 5.5)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_the_kernels() {
        // Documentation/block/stat.rst: write I/Os are field 5, write sectors 7, flush I/Os 16.
        let text = " 1 2 3 4 50 6 70 8 9 10 11 12 13 14 15 160 17\n";
        assert_eq!(parse(text).unwrap(), DeviceReading { writes: 50, written_bytes: 70 * 512, flushes: 160 });
        assert!(parse("1 2 3").is_err());
    }
}
