//! Group commit: what waits for the disk, who waits for it, and the loop between them.
//!
//! ```text
//! decide ──► Gather, Gather, … ──seal──► write_sync ──► apply to the index ──► tickets wake
//!             (queue)                     one in flight
//! ```
//!
//! `log` is the state, `run` the loop, `keep` the housekeeping beside it (next segment, superblock), `reserve` the
//! file that a full disk leaves to what makes room, `fate` what a ticket waits for.

mod fate;
mod join;
mod keep;
mod log;
mod reserve;
mod run;
#[cfg(all(test, feature = "sim"))]
mod tests;

pub use fate::{Bell, Fate, Ticket};
pub use keep::{make_segment, next_file, passes, write_copies, write_superblock};
pub use log::{Bound, Cursor, Log, Retired, Use};
pub use reserve::{RESERVE, Reserve, find_reserve};
pub use run::{gather_heartbeat, run};
