//! What a backup copies: every file of the log as it is at one durable batch, held so that none of them is used again meanwhile.
//!
//! ```text
//! hold ─► copy the superblock ─► mark: files, and how many octets of each count ─► copy those ─► drop
//! ```
//!
//! The superblock comes first: what it calls durable must be in the copy. Octets that count never change while they are held,
//! and the rest of the last file is left zero in the copy, so the copy ends where `durable` ends. Pages of a checkpoint are
//! not copied: without them opening reads the whole log.

use crate::disk::Disk;
use crate::segment;
use crate::superblock;
use crate::types::Lsn;
use crate::upload::Pin;
use crate::volume::Volume;

pub use crate::commit::RESERVE;

/// The file to be copied first.
pub const SUPERBLOCK: &str = superblock::NAME;

/// The files of a volume at one batch. They stay as they are until this is dropped.
pub struct Marked {
    /// The last batch that counts.
    pub durable: Lsn,
    /// Names of segments, by number, and how many octets from the start count. All are equally long.
    pub segments: Vec<(String, u64)>,
    /// Octets of each file.
    pub segment_bytes: u64,
    _pin: Pin,
}

impl<D: Disk> Volume<D> {
    /// Holds the files that there are, and says how far they count now.
    #[must_use]
    pub fn mark(&self) -> Marked {
        let log = self.0.log.borrow();
        let numbers = log.files.keys().copied().filter(|number| *number <= log.durable_end.segment);
        let numbers: Vec<u32> = numbers.collect();
        let counts = |number| {
            if number == log.durable_end.segment { log.durable_end.offset } else { self.0.facts.segment_bytes }
        };
        Marked {
            durable: log.durable,
            segments: numbers.iter().map(|number| (segment::name(*number), counts(*number))).collect(),
            segment_bytes: self.0.facts.segment_bytes,
            _pin: self.0.pins.hold_segments(&numbers),
        }
    }
}
