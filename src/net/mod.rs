//! Bytes in and out: one connection, and the one loop that drives every protocol.
//!
//! - [`tls`]: TLS of one connection as a value.
//! - [`certificates`]: which certificate a client is shown.
//! - [`tickets`]: what lets a client resume, and when its keys change.
//! - [`validity`]: from when to when a certificate holds.
//! - [`wire`]: a connection, plain or under TLS: what comes, and the sending side with its bound and its deadline.
//! - [`pump`]: receive → session → replies and asks → door → answers, for all protocols alike.
//! - [`roll`]: whose they are, so that those of a banned client can be ended.
//! - `spare`: buffers between two uses.
//! - [`census`]: how many connections each address has, so that nobody takes them all.

pub mod census;
pub mod certificates;
pub mod pump;
mod exporter;
pub mod roll;
mod spare;
pub mod tickets;
pub mod tls;
pub mod validity;
pub mod wire;

pub use census::{Admission, Census, Guest};
pub use pump::{Door, Ended, First, Next, pump};
pub use tls::{Acceptor, Acceptors};
pub use wire::{Received, Unwired, Wire};
