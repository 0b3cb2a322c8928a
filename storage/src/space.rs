//! How much a volume holds, and what it takes for that.

use crate::disk::Disk;
use crate::index::Segment;
use crate::segment;
use crate::types::Lsn;
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
    /// Segments that are full and in which something lives.
    pub segments_live: u64,
    /// Segments that are full and in which nothing lives: compaction has only to remove them.
    pub segments_dead: u64,
    /// Octets that compacting all full segments would bring, about, once those who hold them let go.
    pub winnable_bytes: u64,
    /// The last durable batch.
    pub durable: Lsn,
    /// The newest checkpoint's batch. 0: there is none.
    pub checkpoint_lsn: Lsn,
    /// Octets of log behind it, which an opening would replay.
    pub behind_bytes: u64,
    /// When it was taken, seconds ago. `None`: before the volume was opened.
    pub checkpoint_age_s: Option<u64>,
    /// The last segment that is in use.
    pub last_segment: u32,
    /// The segment that a scrub reads next; `None`: none is on its way.
    pub scrub_next: Option<u32>,
    /// Passes since the opening.
    pub scrub_passes: u64,
    /// Damaged places that they found.
    pub scrub_errors: u64,
    /// When one was complete last, seconds since 1970; 0: never, or not known yet.
    pub scrub_completed_s: u64,
    /// Accounts with a limit of octets or messages.
    pub limited: u64,
    /// Their limits of octets, added up.
    pub limit_bytes: u64,
    /// Of these accounts those that have reached theirs.
    pub full: u64,
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
            durable: log.durable,
            checkpoint_lsn: log.checkpoint_lsn,
            behind_bytes: log.clock.behind,
            checkpoint_age_s: log.checkpoint_age_s,
            last_segment: log.durable_end.segment,
            scrub_next: self.scrub_next(),
            scrub_passes: log.stats.scrub_passes,
            scrub_errors: log.stats.scrub_errors,
            scrub_completed_s: log.stats.scrub_completed_s,
            ..Space::default()
        };
        for entry in index.entries.iter() {
            space.accounts += 1;
            space.messages += u64::from(entry.used_messages);
            space.message_bytes += entry.used_bytes;
            space.limited += u64::from(entry.limit_bytes > 0 || entry.limit_messages > 0);
            space.limit_bytes = space.limit_bytes.saturating_add(entry.limit_bytes);
            let full = (entry.limit_bytes > 0 && entry.used_bytes >= entry.limit_bytes)
                || (entry.limit_messages > 0 && entry.used_messages >= entry.limit_messages);
            space.full += u64::from(full);
        }
        let header = segment::HEADER_BYTES as u64;
        for number in log.files.keys() {
            space.written_bytes += match number.cmp(&log.durable_end.segment) {
                std::cmp::Ordering::Less => self.0.facts.segment_bytes - header,
                std::cmp::Ordering::Equal => log.durable_end.offset - header,
                std::cmp::Ordering::Greater => 0,
            };
        }
        for number in log.files.keys().filter(|number| **number < log.durable_end.segment) {
            let weight = index.segments.get(number).map_or(0, Segment::weight);
            match weight {
                0 => space.segments_dead += 1,
                _ => space.segments_live += 1,
            }
            space.winnable_bytes += self.0.facts.segment_bytes.saturating_sub(weight);
        }
        space
    }
}
