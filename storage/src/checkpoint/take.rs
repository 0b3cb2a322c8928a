//! Taking a checkpoint, beside the commits: the index is copied and written in slices, as of one moment.

use super::object::{self, kind};
use super::pages::Not;
use super::root::Position;
use super::{SECONDS_MAX, SLICE_BYTES};
use crate::commit::{make_segment, write_superblock};
use crate::disk::Disk;
use crate::volume::{Inner, Settings};

/// A checkpoint waits until the log has grown by so many times what the last one wrote: so all of them are half a hundredth of
/// the log, where many segments and accounts change a little.
const LOG_TIMES: u64 = 200;
/// Octets that a checkpoint may write without being waited for.
const WRITTEN_FREELY: u64 = 128 << 10;
/// The log grows by so many octets at most: an opening reads so much in less than a second.
const LOG_BYTES_MAX: u64 = 256 << 20;
/// Where all segments together are few, it is this part of them: what lies behind the two last ones cannot be compacted.
const LOG_PART: u64 = 16;

/// What has come since the last checkpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// Octets of batches with changes.
    pub bytes: u64,
    /// Seconds since the first of them.
    pub seconds: u32,
    /// Octets that the last one wrote; 0: not known.
    pub cost: u64,
    /// Octets of batches behind the last one that is durable.
    pub behind: u64,
    /// Octets of all segments: the log grows by a part of them at most.
    pub files: u64,
    /// So many are wanted at once, because what would make room has no two of them behind it yet.
    pub hurry: u8,
}

impl Clock {
    /// A second has passed.
    pub fn tick(&mut self) {
        if self.bytes > 0 {
            self.seconds = self.seconds.saturating_add(1);
        }
    }

    /// A batch with changes is durable.
    pub fn grow(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.behind += bytes;
    }

    /// It counts from now on.
    fn begin(&mut self) {
        (self.bytes, self.seconds) = (0, 0);
    }

    /// True when a checkpoint is to be taken.
    pub fn is_due(&self, settings: &Settings) -> bool {
        let worth =
            (self.cost.saturating_sub(WRITTEN_FREELY) * LOG_TIMES).min(LOG_BYTES_MAX).min(self.files / LOG_PART);
        let bytes = settings.checkpoint_bytes.max(worth);
        settings.checkpoint_bytes > 0 && (self.hurry > 0 || self.bytes >= bytes || self.seconds >= SECONDS_MAX)
    }
}

/// Takes a checkpoint of what is durable now. True: it is durable, and a superblock was written with it. When there is no
/// room for it, it is put off until as much has come again.
pub async fn take<D: Disk>(inner: &Inner<D>) -> bool {
    if inner.log.borrow().distrusted {
        let clock = &mut inner.log.borrow_mut().clock;
        clock.begin();
        clock.hurry = 0;
        return false;
    }
    let Some(mut pages) = inner.pages.take() else { return false };
    let began = pages.written_bytes();
    let (position, behind, small) = {
        let mut index = inner.index.borrow_mut();
        let mut log = inner.log.borrow_mut();
        log.clock.begin();
        log.clock.files = log.files.len() as u64 * inner.facts.segment_bytes;
        let behind = log.clock.behind;
        index.entries.marks.begin();
        index.segments.marks.begin();
        index.forwards.marks.begin();
        let position = Position {
            lsn: log.durable,
            segment: log.durable_end.segment,
            offset: log.durable_end.offset,
            epoch: log.epoch,
            prev: log.prev,
            stale_to: log.stale_to,
        };
        (position, behind, pages.changed(object::small(&index, log.uses.range(..log.active))))
    };
    let mut slice = small;
    let written = loop {
        if let Err(why) = pages.put(&inner.disk, slice).await {
            break Err(why);
        }
        if inner.log.borrow().wanted_segment().is_some() {
            // Commits may be about to wait for it.
            make_segment(inner).await;
        }
        if inner.log.borrow().failed || inner.log.borrow().distrusted {
            break Err(Not::Now);
        }
        slice = next_slice(inner);
        if slice.is_empty() {
            break pages.finish(&inner.disk, position).await;
        }
    };
    let durable = match written {
        // It would go on in a segment that is about to go.
        Ok(_) if inner.log.borrow().distrusted || position.segment <= inner.retiring.get() => false,
        Ok(address) => {
            {
                let mut log = inner.log.borrow_mut();
                log.checkpoints = [address, log.checkpoints[0]];
                log.checkpointed = [Some(position.segment), log.checkpointed[0]];
            }
            write_superblock(inner).await
        }
        Err(Not::Now) => false,
        Err(Not::Failed) => {
            inner.fail();
            false
        }
    };
    {
        let mut index = inner.index.borrow_mut();
        index.entries.marks.end(durable);
        index.segments.marks.end(durable);
        index.forwards.marks.end(durable);
    }
    let (room, cost) = {
        let mut log = inner.log.borrow_mut();
        if durable {
            (log.checkpoint_lsn, log.checkpoint_age_s) = (position.lsn, Some(0));
        }
        let stats = &mut log.stats;
        match durable {
            true => {
                pages.durable();
                stats.checkpoints += 1;
                stats.checkpoint_bytes = pages.written_bytes();
                log.clock.cost = pages.written_bytes() - began;
                log.clock.behind -= behind;
                log.clock.hurry = log.clock.hurry.saturating_sub(1);
            }
            false => {
                pages.give_up();
                stats.checkpoints_put_off += 1;
                log.clock.hurry = 0;
            }
        }
        (!log.no_room && !log.failed, log.clock.cost)
    };
    if durable && room && pages.make_ready(&inner.disk, cost).await.is_err() {
        inner.fail();
    }
    inner.pages.replace(Some(pages));
    durable
}

fn next_slice<D: Disk>(inner: &Inner<D>) -> Vec<((u16, u32), Vec<u8>)> {
    let index = &mut *inner.index.borrow_mut();
    for kind in [kind::ENTRIES, kind::SEGMENTS, kind::FORWARDS] {
        let images = match kind {
            kind::ENTRIES => index.entries.take(SLICE_BYTES),
            kind::SEGMENTS => index.segments.take(SLICE_BYTES),
            _ => index.forwards.take(SLICE_BYTES),
        };
        if !images.is_empty() {
            return images.into_iter().map(|(id, bytes)| ((kind, id), bytes)).collect();
        }
    }
    Vec::new()
}
