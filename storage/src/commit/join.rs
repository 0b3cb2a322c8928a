//! What the store writes of its own accord: roots, and what compaction moves. It goes the way of everything else, into
//! the gathering batch, and somebody waits for the sync.

use super::{Bound, Ticket};
use crate::batch::Gather;
use crate::disk::Disk;
use crate::index::Index;
use crate::index::ahead::Ahead;
use crate::transaction::Refused;
use crate::volume::Inner;

impl<D: Disk> Inner<D> {
    /// Puts records into the gathering batch. `fill` sees what is durable and what is decided beyond it, adds at most
    /// what `bound` says, and returns `None` when it added nothing.
    ///
    /// # Errors
    /// `TooLarge`: no segment has room for so much. `Busy`: too much waits. `DiskFull`, `Failed`.
    pub fn join<T>(
        &self,
        bound: Bound,
        fill: impl FnOnce(&Index, &mut Ahead, &mut Gather) -> Option<T>,
    ) -> Result<Option<(T, Ticket)>, Refused> {
        let index = self.index.borrow();
        let mut ahead = self.ahead.borrow_mut();
        let mut log = self.log.borrow_mut();
        if log.failed || log.closing {
            return Err(Refused::Failed);
        }
        let queued = log.queue.len();
        let gather = log.gather(bound, &self.settings)?;
        let mark = gather.mark();
        let filled = fill(&index, &mut ahead, gather);
        assert!(gather.bytes_since(mark) <= bound.bytes, "what is added keeps to its bound");
        let Some(filled) = filled else {
            log.drop_if_empty();
            return Ok(None);
        };
        gather.transactions += 1;
        gather.waiting_bytes += bound.bytes;
        gather.idle = false;
        let ticket = Ticket::new(gather.fate.clone());
        let full = gather.bytes() >= self.settings.batch_bytes_max;
        log.waiting_bytes += bound.bytes;
        if full {
            log.close_gather();
        }
        let ring = full || log.queue.len() != queued;
        let keep = log.wanted_segment().is_some();
        drop((index, ahead, log));
        if ring {
            self.commit_bell.ring();
        }
        if keep {
            self.keep_bell.ring();
        }
        Ok(Some((filled, ticket)))
    }
}
