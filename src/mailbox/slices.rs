//! Long work in slices: a shard has one thread, and whoever computes gives the others their turn (A116).
//!
//! Work is spent in units that are themselves no larger than a slice, before it is done or, where its size is known only then, just after.

use crate::observe::{self, Peak};

/// Work between two turns of the others. One is about an octet looked at, or compared with one text.
pub const SLICE_WORK: u64 = 1 << 20;

/// The work of one command.
#[derive(Debug, Default)]
pub struct Slices {
    in_slice: u64,
}

impl Slices {
    /// Begins a piece of work, in the next slice if this one has no room for it.
    pub async fn spend(&mut self, work: u64) {
        if self.in_slice > 0 && self.in_slice.saturating_add(work) > SLICE_WORK {
            futures_lite::future::yield_now().await;
            self.in_slice = 0;
        }
        self.in_slice = self.in_slice.saturating_add(work);
        observe::reached(Peak::SliceWork, self.in_slice);
    }
}
