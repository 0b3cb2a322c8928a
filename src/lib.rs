//! Ringpost: a thread-per-core mail gateway.
//!
//! The rooms of the house, in order. **A room uses only rooms listed above it**; `tests/arrows.rs`
//! reads this list and holds every `use crate::` against it. `src/README.md` is the map.

pub mod bugs;
pub mod limits;
pub mod observe;
pub mod mail;
pub mod proto;
pub mod shard;
pub mod net;
pub mod dns;
pub mod directory;
pub mod filter;
pub mod office;
pub mod route;
pub mod mailbox;
pub mod courier;
pub mod intake;
pub mod admin;
pub mod serve;
pub mod config;
pub mod boot;
pub mod archive;
pub mod cli;
