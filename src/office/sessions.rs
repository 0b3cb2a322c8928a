//! Who is logged in on this shard, and how that ends: on a password changed, a protocol closed, an account removed, a kick.
//!
//! ```text
//!   login ─► enter: Presence ── the door shows it to the pump ──► over? at the next command boundary the session says its farewell
//!                                    ▲
//!   end(account) ────────────────────┘    and whoever is on the way in since before that finds it over when it enters
//! ```
//!
//! There are as many as there are connections. Endings are remembered for [`ENDED_S`], [`ENDED_MAX`] of them: a login that
//! began before, with a password that was good then, must not come in after.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::directory::secrets::Protocols;
use crate::net::Wire;
use crate::net::roll::Over;
use crate::proto::contract::Privacy;
use crate::proto::sasl::Speaker;
use crate::shard::{self, Moment};

/// How long an ending is remembered, seconds: longer than a login takes.
pub const ENDED_S: u64 = 120;
/// Endings remembered. More: the oldest is forgotten.
pub const ENDED_MAX: usize = 10_000;

/// A session, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// `smtp`, `imap` or `pop3`.
    pub protocol: String,
    /// `user@domain`.
    pub account: String,
    /// From where.
    pub peer: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: u64,
    /// TLS is in force.
    pub tls: bool,
}

/// The sessions of a shard. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions(Rc<Inner>);

#[derive(Default)]
struct Inner {
    next: Cell<u64>,
    live: RefCell<BTreeMap<u64, Entry>>,
    ended: RefCell<VecDeque<(Box<str>, Protocols, Moment)>>,
}

struct Entry {
    speaker: Speaker,
    view: SessionView,
    over: Rc<Over>,
}

/// A session that is listed until this drops.
pub struct Presence {
    sessions: Sessions,
    number: u64,
    over: Rc<Over>,
}

impl Sessions {
    /// Somebody is in. `began`: when that login began.
    #[must_use]
    pub fn enter(&self, wire: &Wire, speaker: Speaker, account: &str, began: Moment) -> Presence {
        let view = SessionView {
            protocol: word(speaker).to_owned(),
            account: account.to_owned(),
            peer: wire.peer().to_string(),
            since_ms: shard::wall_ms(),
            tls: wire.privacy() == Privacy::Tls,
        };
        self.enter_as(speaker, view, began)
    }

    fn enter_as(&self, speaker: Speaker, view: SessionView, began: Moment) -> Presence {
        let inner = &self.0;
        let over = Rc::new(Over::default());
        let ended = |(account, protocols, at): &(Box<str>, Protocols, Moment)| {
            **account == *view.account && protocols.has(speaker) && *at >= began
        };
        if inner.ended.borrow().iter().any(ended) {
            over.set();
        }
        let number = inner.next.get();
        inner.next.set(number + 1);
        inner.live.borrow_mut().insert(number, Entry { speaker, view, over: over.clone() });
        Presence { sessions: self.clone(), number, over }
    }

    /// Ends the sessions of an account by these protocols; returns how many there were.
    pub fn end(&self, account: &str, protocols: Protocols, now: Moment) -> usize {
        let mut ended = self.0.ended.borrow_mut();
        ended.retain(|(.., at)| now.since(*at) < Duration::from_secs(ENDED_S));
        if ended.len() >= ENDED_MAX {
            ended.pop_front();
        }
        ended.push_back((account.into(), protocols, now));
        let live = self.0.live.borrow();
        let theirs = live.values().filter(|entry| entry.view.account == account && protocols.has(entry.speaker));
        theirs.filter(|entry| entry.over.set()).count()
    }

    /// Those of an account, or all.
    #[must_use]
    pub fn list(&self, account: Option<&str>) -> Vec<SessionView> {
        let live = self.0.live.borrow();
        let wanted = live.values().filter(|entry| account.is_none_or(|account| entry.view.account == account));
        wanted.map(|entry| entry.view.clone()).collect()
    }
}

impl Presence {
    /// True if this session is to end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.is()
    }

    /// Ready when it is. One task may wait.
    pub fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.over.poll(cx)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.sessions.0.live.borrow_mut().remove(&self.number);
    }
}

/// The word in lists and at the command line.
#[must_use]
pub fn word(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Smtp => "smtp",
        Speaker::Imap => "imap",
        Speaker::Pop3 => "pop3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(sessions: &Sessions, speaker: Speaker, account: &str, began: u64) -> Presence {
        let view = SessionView {
            protocol: word(speaker).to_owned(),
            account: account.to_owned(),
            peer: "192.0.2.1:1000".to_owned(),
            since_ms: 1,
            tls: true,
        };
        sessions.enter_as(speaker, view, Moment(began))
    }

    #[test]
    fn an_ending_is_for_one_account_and_the_protocols_named() {
        let sessions = Sessions::default();
        let imap = enter(&sessions, Speaker::Imap, "alice@a", 1);
        let pop3 = enter(&sessions, Speaker::Pop3, "alice@a", 1);
        let bob = enter(&sessions, Speaker::Imap, "bob@a", 1);
        assert_eq!(sessions.end("alice@a", Protocols::only(Speaker::Imap), Moment(5)), 1);
        assert!(imap.is_over() && !pop3.is_over() && !bob.is_over());
        assert_eq!(sessions.end("alice@a", Protocols::ALL, Moment(6)), 1, "one was over already");
        assert!(pop3.is_over() && !bob.is_over());
        assert_eq!(sessions.list(Some("alice@a")).len(), 2);
        drop((imap, pop3));
        assert_eq!(sessions.list(None).len(), 1);
    }

    #[test]
    fn a_login_that_began_before_the_ending_is_over_when_it_enters() {
        let sessions = Sessions::default();
        assert_eq!(sessions.end("alice@a", Protocols::ALL, Moment(5)), 0);
        assert!(enter(&sessions, Speaker::Imap, "alice@a", 4).is_over());
        assert!(!enter(&sessions, Speaker::Imap, "alice@a", 6).is_over());
        assert!(!enter(&sessions, Speaker::Imap, "bob@a", 4).is_over());
    }

    #[test]
    fn endings_are_forgotten_in_time_and_number() {
        let sessions = Sessions::default();
        for n in 0..ENDED_MAX + 5 {
            sessions.end(&format!("user{n}@a"), Protocols::ALL, Moment(1));
        }
        assert_eq!(sessions.0.ended.borrow().len(), ENDED_MAX);
        sessions.end("alice@a", Protocols::ALL, Moment((ENDED_S + 1) * 1_000_000_000));
        assert_eq!(sessions.0.ended.borrow().len(), 1);
    }
}
