//! Where attempts are counted: an address on one shard, a name on one, so that whoever comes by many connections meets the same
//! bound on each of them.
//!
//! ```text
//!   begin ─► the address's home: may it? counted ─► the name's home: may it? counted ─► the password is looked at
//!   right, or not looked at ─► both homes take it back                                  wrong ─► nothing: it was counted
//! ```
//!
//! - Who is there depends on the name and the address alone, never on whether anybody has the name (A111).
//! - While there is no room on the way to a home this shard's own table is asked: its bound holds for what comes by this shard then.
//! - Who is one too many waits for [`WAIT_MS`] before it is told so: those under way count, and most of a crowd that comes at once
//!   with right passwords are done soon.

use std::rc::Rc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::{Attempts, Begun, delay};
use crate::office::{Office, Reply, Request};
use crate::shard::{self, Moment, Peer, ShardId};

/// How long an attempt waits for others to end, milliseconds. Then: not now.
pub const WAIT_MS: u64 = 5_000;
const STEP_MS: u64 = 250;

/// What is asked of a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    whose: Whose,
    name: Box<str>,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Address { address: u128, exempt: bool },
    Name { friend: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// May it begin? `true`: and it does.
    Begin(bool),
    /// It is taken back. `true`: it succeeded.
    End(bool),
}

/// An attempt that counts as a failure until it ends.
pub struct Attempt {
    address: u128,
    /// Answers to this address are not put off.
    exempt: bool,
    name: Box<str>,
    /// For the name from there, this one too.
    failures: u32,
    /// On which shards it was counted: for the address, and for the name.
    counted_on: [ShardId; 2],
}

impl Attempts {
    /// The answer at a home.
    #[must_use]
    pub fn answer(&self, now: Moment, Asked { whose, name, what }: &Asked) -> Begun {
        match (*whose, *what) {
            (Whose::Address { address, exempt }, What::Begin(counts)) => {
                return self.begin_at(now, address, exempt, name, counts);
            }
            (Whose::Name { friend }, What::Begin(counts)) => return self.begin_as(now, name, friend, counts),
            (Whose::Address { address, exempt }, What::End(right)) => self.end_at(now, address, exempt, name, right),
            (Whose::Name { .. }, What::End(_)) => self.end_as(now, name),
        }
        Begun::Yes { friend: false, failures: 0 }
    }
}

impl Asked {
    fn home(&self, shards: u16) -> ShardId {
        let hash = match self.whose {
            Whose::Address { address, .. } => xxh3_64(&address.to_le_bytes()),
            Whose::Name { .. } => xxh3_64(self.name.as_bytes()),
        };
        ShardId::try_from(hash % u64::from(shards.max(1))).expect("less than their number")
    }
}

impl Attempt {
    /// How long the answer to a failure takes at least.
    pub(in crate::office) fn delay(&self) -> Duration {
        if self.exempt { Duration::ZERO } else { delay(self.failures) }
    }
}

impl Office {
    /// An attempt of this peer for this name begins, and counts. `None`: not now.
    pub(in crate::office) async fn begin_attempt(&self, peer: Peer, name: &str) -> Option<Attempt> {
        let until = shard::now().after(Duration::from_millis(WAIT_MS));
        loop {
            let begun = self.attempt(peer, name, true).await;
            if begun.is_some() || shard::now() >= until {
                return begun;
            }
            shard::sleep(Duration::from_millis(STEP_MS)).await;
        }
    }

    /// The answer to [`Request::Attempt`].
    #[must_use]
    pub fn attempt_at_home(&self, asked: &Asked) -> Begun {
        self.attempts.answer(shard::now(), asked)
    }

    /// True if one might begin.
    pub(in crate::office) async fn may_try(&self, peer: Peer, name: &str) -> bool {
        self.attempt(peer, name, false).await.is_some()
    }

    /// It succeeded (`right`), or its password was not looked at.
    pub(in crate::office) async fn end_attempt(self: &Rc<Self>, attempt: Attempt, right: bool) {
        let Attempt { address, exempt, name, counted_on, .. } = attempt;
        let what = What::End(right);
        let asked = [
            Asked { whose: Whose::Address { address, exempt }, name: name.clone(), what },
            Asked { whose: Whose::Name { friend: false }, name, what },
        ];
        for (asked, on) in asked.into_iter().zip(counted_on) {
            if on == shard::id() || self.mesh.has_room(on, 0) {
                self.ask_on(on, asked).await;
            } else {
                // Not waited for: whoever logs in has been let in.
                shard::spawn("attempt", end_later(self.clone(), on, asked));
            }
        }
    }

    async fn attempt(&self, peer: Peer, name: &str, counts: bool) -> Option<Attempt> {
        let bound = self.census.key(peer, &self.settings.exempt_networks);
        // Processes of this host are one address.
        let address = bound.or_else(|| self.census.key(peer, &[])).unwrap_or(0);
        let exempt = bound.is_none();
        let place = |what| Asked { whose: Whose::Address { address, exempt }, name: name.into(), what };
        let there = self.open_home(&place(What::Begin(counts)));
        let Begun::Yes { friend, failures } = self.ask_on(there, place(What::Begin(counts))).await else {
            return None;
        };
        let asked = Asked { whose: Whose::Name { friend }, name: name.into(), what: What::Begin(counts) };
        let name_there = self.open_home(&asked);
        if self.ask_on(name_there, asked).await == Begun::TooMany {
            if counts {
                self.ask_on(there, place(What::End(false))).await;
            }
            return None;
        }
        Some(Attempt { address, exempt, name: name.into(), failures, counted_on: [there, name_there] })
    }

    /// The home, or this shard while there is no room on the way there.
    fn open_home(&self, asked: &Asked) -> ShardId {
        let home = asked.home(self.shard_count());
        if self.mesh.has_room(home, 0) { home } else { shard::id() }
    }

    async fn ask_on(&self, on: ShardId, asked: Asked) -> Begun {
        if on != shard::id()
            && let Ok(Reply::Attempt(begun)) = self.mesh.call(on, Request::Attempt(asked.clone()), 0).await
        {
            return begun;
        }
        self.attempts.answer(shard::now(), &asked)
    }
}

/// Takes back what counts on a shard to which there is no room now. After [`WAIT_MS`] it leaks away like a failure.
async fn end_later(office: Rc<Office>, on: ShardId, asked: Asked) {
    let until = shard::now().after(Duration::from_millis(WAIT_MS));
    while shard::now() < until {
        shard::sleep(Duration::from_millis(STEP_MS)).await;
        if office.mesh.has_room(on, 0) {
            office.ask_on(on, asked).await;
            return;
        }
    }
}
