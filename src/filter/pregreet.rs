//! Whoever talks before he was greeted is no mail server (A043, A058): RFC 5321 §3.1 and §4.3.1 have the client wait for the greeting.
//!
//! The greeting comes a while after the connection; with `teaser` its first line comes at once and the last one late, which
//! catches those who begin at the first `220` they see. Who waited is not kept waiting again on the same shard for a day: his
//! network is known there. Submission never waits: mail programs of our own users are forgiven.

use std::time::Duration;

use super::mode::{Finding, Mode};

/// For how long it is remembered that somebody waited, seconds.
pub const KEPT_S: u32 = 86_400;

/// What this filter is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What is done about it.
    pub mode: Mode,
    /// How long the greeting is put off. Zero: it comes at once, and only who is faster than that is caught.
    pub wait: Duration,
    /// True: the greeting has two lines, the first at once.
    pub teaser: bool,
}

/// What is thought of a client of whom octets were there before his greeting, or none.
#[must_use]
pub fn judge(spoke: bool) -> Option<Finding> {
    spoke.then(|| Finding::new(554, (5, 5, 0), "You spoke before you were greeted", "spoke before the greeting"))
}

#[cfg(test)]
mod tests {
    use super::super::mode::Verdict;
    use super::*;

    #[test]
    fn a043_who_waits_for_the_greeting_is_welcome() {
        assert_eq!(judge(false), None);
        let (verdict, reply) = judge(true).expect("a finding").under(Mode::Reject);
        let reply = reply.expect("a reply");
        assert_eq!((verdict, reply.code, reply.enhanced), (Verdict::Reject, 554, (5, 5, 0)));
    }
}
