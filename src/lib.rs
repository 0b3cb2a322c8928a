//! Ringpost: a thread-per-core mail gateway.
//!
//! The rooms of the house, in order. **A room uses only rooms listed above it**; `tests/arrows.rs`
//! reads this list and holds every `use crate::` against it. `src/README.md` is the map.

pub mod admin;
pub mod boot;
pub mod cli;
pub mod config;
pub mod directory;
pub mod intake;
pub mod limits;
pub mod mail;
pub mod mailbox;
pub mod net;
pub mod observe;
pub mod office;
pub mod proto;
pub mod route;
pub mod serve;
pub mod shard;
