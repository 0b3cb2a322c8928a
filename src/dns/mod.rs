//! Names and what DNS knows of them: a stub resolver over the shard's own UDP and TCP sockets.
//!
//! ```text
//!   lookup ─► cache ─► the same question under way? ─► flight ─► resolvers, in order, in rounds
//!                                                        │          ├─ UDP: a port and an id of its own, by chance
//!                                                        │          └─ TCP: what was truncated, or is being forged
//!                                                        └─► aliases ─► cache ─► all who wait
//! ```
//!
//! - A question costs its asker a wait and never more than a temporary failure: [`Lookup::Failed`] says nothing about the name.
//! - What comes back is believed when it comes from the resolver's address (the kernel sees to that: sockets are connected),
//!   to the port and with the id that were drawn by chance, and repeats the question (RFC 5452 §9). The rest is counted and ignored.
//! - Everything is bounded (`limits::DNS_*`): questions under way, answers kept and their lives, records, aliases, octets, time.
//! - No recursion, no validation: both are the resolver's. That it validated (AD) is believed of one on this host alone (A087).
//!
//! The parts: `name`; `message` (octets), `answer` (what they mean), `cache`, `servers`: all pure; `resolver` waits.

use std::net::SocketAddr;

pub mod name;
pub mod message;
pub mod answer;
pub mod cache;
pub mod servers;
pub mod resolv_conf;
pub mod resolver;
#[cfg(test)]
mod tests;

pub use answer::{Absent, Found, Lookup, Mx, Reason};
pub use name::{BadName, Name};
pub use resolver::{Family, Resolver};

/// Whom a shard asks, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Resolvers, in the order in which they are asked. Empty: every question fails for now.
    pub resolvers: Vec<SocketAddr>,
    /// How long one of them is waited for, seconds; kept to within one more.
    pub timeout_s: u64,
    /// How often each of them is asked before a question is given up.
    pub attempts: u32,
    /// True: letters of a question are capitals by chance, and its answer must repeat them.
    pub mixed_case: bool,
}

impl Settings {
    /// Seconds for one resolver, unless said otherwise.
    pub const TIMEOUT_S_DEFAULT: u64 = 2;
    /// Rounds, unless said otherwise.
    pub const ATTEMPTS_DEFAULT: u32 = 2;

    /// These resolvers, and the defaults for the rest.
    #[must_use]
    pub fn ask(resolvers: Vec<SocketAddr>) -> Settings {
        Settings {
            resolvers,
            timeout_s: Settings::TIMEOUT_S_DEFAULT,
            attempts: Settings::ATTEMPTS_DEFAULT,
            mixed_case: false,
        }
    }
}
