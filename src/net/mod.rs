//! Bytes in and out: one connection, and the one loop that drives every protocol.
//!
//! - [`wire`]: the sending side of a connection, with its bound and its deadline.
//! - [`pump`]: receive → session → replies and asks → door → answers, for all protocols alike.
//! - [`census`]: how many connections each address has, so that nobody takes them all.

pub mod census;
pub mod pump;
pub mod wire;

pub use census::{Admission, Census, Guest};
pub use pump::{Door, Ended, First, Next, pump};
pub use wire::Wire;
