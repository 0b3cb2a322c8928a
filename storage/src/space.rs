//! How much a volume holds, and what it takes for that.

use crate::disk::Disk;
use crate::segment;
use crate::volume::Volume;

/// Figures of a volume. What a message takes in records is no part of `live_bytes`: once its account is folded nobody needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Accounts.
    pub accounts: u64,
    /// Messages of all accounts, each copy for itself.
    pub messages: u64,
    /// Their octets, as their readers see them.
    pub message_bytes: u64,
    /// Segments there are, the prepared one included.
    pub segments: u64,
    /// Octets that they take on the disk.
    pub segment_bytes: u64,
    /// Octets of the log in them.
    pub written_bytes: u64,
    /// Octets of bodies that somebody uses.
    pub live_bytes: u64,
}

impl<D: Disk> Volume<D> {
    /// How much is held now.
    #[must_use]
    pub fn space(&self) -> Space {
        let index = self.0.index.borrow();
        let log = self.0.log.borrow();
        let mut space = Space {
            segments: log.files.len() as u64,
            segment_bytes: log.files.len() as u64 * self.0.facts.segment_bytes,
            live_bytes: index.segments.values().map(|s| s.live).sum(),
            ..Space::default()
        };
        for entry in index.entries.iter() {
            space.accounts += 1;
            space.messages += u64::from(entry.used_messages);
            space.message_bytes += entry.used_bytes;
        }
        let header = segment::HEADER_BYTES as u64;
        for number in log.files.keys() {
            space.written_bytes += match number.cmp(&log.durable_end.segment) {
                std::cmp::Ordering::Less => self.0.facts.segment_bytes - header,
                std::cmp::Ordering::Equal => log.durable_end.offset - header,
                std::cmp::Ordering::Greater => 0,
            };
        }
        space
    }
}
