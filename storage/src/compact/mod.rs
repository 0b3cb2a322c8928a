//! Compaction: what still lives in a segment is written again at the log's end, and the segment's file is used for others.
//!
//! ```text
//! plan ─► survey ─► fold who has records in it ─► move bodies, prefixes, lists ─► say again what else hangs on it
//!                                                  (copies and their forward in one batch)        │
//!                      file is used again ◄─ a checkpoint knows ◄─ "retired" is durable ◄─────────┘
//! ```
//!
//! - Each step is an ordinary batch, and whatever is durable of it is right by itself: a crash between two steps leaves a
//!   segment that is partly moved, and the next round goes on where this one was cut off.
//! - A body is copied when its checksum fits. One that does not is not dropped: the segment stays, is named in
//!   [`Compacted::Stuck`], and is not touched again until the volume is opened anew.
//! - Never touched: the segment that is written, one that an upload pins, one with damage or a gap, and none at all
//!   while acknowledged batches are missing (they may be put back).
//! - One step is in flight at a time, and the caller's [`Pace`] is asked after each stretch: it bounds rate and share.
//! - Old places are named anew from time to time, and forwards forgotten (`rename`).
//! - `debts` (in `debts`): pieces of large bodies that nobody has any more are let go by the same hand.

mod carry;
mod debts;
mod moves;
mod plan;
mod recount;
mod rename;
mod run;
mod survey;
mod window;

pub use rename::Renaming;
pub use window::Window;

use std::future::Future;

use crate::disk::Disk;
use crate::transaction::{Lost, Refused};
use crate::volume::Volume;

/// Whoever gives the housekeeping its time. There is no clock in the store.
pub trait Pace {
    /// Wall clock, milliseconds since 1970.
    fn now_ms(&self) -> i64;

    /// Whatever can be compacted is, however little it brings: for trials.
    fn is_eager(&self) -> bool {
        false
    }

    /// Called after so many octets were read and written; resolves when the next may follow.
    fn rest(&self, octets: u64) -> impl Future<Output = ()>;
}

/// What one round of compaction came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compacted {
    /// Nothing is worth it.
    Nothing,
    /// This segment is gone; so many octets of bodies were copied out of it.
    Segment {
        /// Which.
        segment: u32,
        /// Octets.
        copied: u64,
    },
    /// This segment has to stay for now, and why.
    Stuck(u32, Stuck),
}

/// Why a segment stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// Something in it does not have its checksum.
    Damaged,
    /// The disk does not read it.
    Unreadable,
    /// It has a record of a kind that this program does not know.
    Unknown(u16),
    /// It has a record of lost batches.
    Gap,
    /// An account with records in it cannot be folded.
    Fold,
    /// Something in it came into use, or its reader stays; it is tried again.
    InUse,
    /// The log does not take what has to be written.
    Refused(Refused),
    /// It was not vouched for.
    Lost(Lost),
}

impl Stuck {
    /// It may be tried again: nothing is wrong with the segment.
    fn passes(&self) -> bool {
        matches!(self, Stuck::InUse | Stuck::Refused(_) | Stuck::Lost(_))
    }
}

impl<D: Disk> Volume<D> {
    /// One round of housekeeping: lets pieces of large bodies go that nobody has, then compacts the segment that is worth
    /// most, if any is. To be called again and again, by one task, in the background; it resolves when a segment is gone.
    pub async fn compact<P: Pace>(&self, pace: &P) -> Compacted {
        self.0.compact(pace).await
    }
}
