//! The conversations, as values: bytes in, replies and asks out. No socket, clock, disk or log in here.
//!
//! A protocol is one [`Session`](contract::Session); `net::pump` is the one loop that drives them all,
//! `serve` answers what they ask. The contract's five properties are tests in
//! `tests/contract.rs` that every session inherits.

pub mod contract;
pub mod imap;
pub mod lines;
pub mod pop3;
pub mod proxy;
pub mod sasl;
pub mod smtp;
