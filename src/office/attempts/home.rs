//! Where attempts are counted: an address on one shard, a name on one, so that whoever comes by many connections meets the same
//! bound on each of them.
//!
//! ```text
//!   begin ─► the address's home: may it? counted ─► the name's home: may it? counted ─► the password is looked at
//!   right, or not looked at ─► both homes take it back                                  wrong ─► nothing: it was counted
//! ```
//!
//! - Who is there depends on the name and the address alone, never on whether anybody has the name (A111).
//! - Where a home cannot be asked now this shard's own table is: its bound holds for what comes by this shard then.
//! - Who is one too many waits for [`WAIT_MS`] before it is told so: those under way count, and most of a crowd that comes at once
//!   with right passwords are done soon.

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
    pub(in crate::office) async fn end_attempt(&self, attempt: Attempt, right: bool) {
        let Attempt { address, exempt, name, .. } = attempt;
        self.ask_home(Whose::Name { friend: false }, &name, What::End(right)).await;
        self.ask_home(Whose::Address { address, exempt }, &name, What::End(right)).await;
    }

    async fn attempt(&self, peer: Peer, name: &str, counts: bool) -> Option<Attempt> {
        let bound = self.census.key(peer, &self.settings.exempt_networks);
        // Processes of this host are one address.
        let address = bound.or_else(|| self.census.key(peer, &[])).unwrap_or(0);
        let place = Whose::Address { address, exempt: bound.is_none() };
        let Begun::Yes { friend, failures } = self.ask_home(place, name, What::Begin(counts)).await else {
            return None;
        };
        if self.ask_home(Whose::Name { friend }, name, What::Begin(counts)).await == Begun::TooMany {
            if counts {
                self.ask_home(place, name, What::End(false)).await;
            }
            return None;
        }
        Some(Attempt { address, exempt: bound.is_none(), name: name.into(), failures })
    }

    async fn ask_home(&self, whose: Whose, name: &str, what: What) -> Begun {
        let asked = Asked { whose, name: name.into(), what };
        let home = asked.home(self.shard_count());
        if home != shard::id()
            && let Ok(Reply::Attempt(begun)) = self.mesh.call(home, Request::Attempt(asked.clone()), 0).await
        {
            return begun;
        }
        self.attempts.answer(shard::now(), &asked)
    }
}
