//! Making, finding and opening a volume.
//!
//! ```text
//! superblock: two of four copies agree ─► scan: segments, frames, what is durable ─► replay: index
//!   ─► end of the log: clean | torn (TRUNCATE, new epoch) | damaged (quarantine, new segment) ─► open
//! ```

mod create;
pub mod frames;
mod open;
mod scan;

pub use create::{FIRST_SEGMENT, create};
pub use open::open;
