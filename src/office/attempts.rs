//! Logins that failed a moment ago: how long the answer to the next failure takes, and when nobody is heard for now.
//!
//! ```text
//!   address and name   1, 2, 3, 4 … failures: the answer takes 2, 4, 8, 15 s (A020); a login that succeeds forgets them
//!                      50: this name comes back later, from there; one is forgotten each minute
//!   address or /64     20: whoever never logged in from here comes back later; one is forgotten each minute
//!   name               100: the same; one is forgotten every ten seconds
//! ```
//!
//! - An attempt counts as a failure from its beginning, before anything is computed for it, and is taken back when it succeeds or was
//!   not looked at: however many come at once, no more are looked at than may fail.
//! - Nothing is locked: what is counted leaks away, and who is refused is not counted.
//! - Of networks that are exempt from bounds per address the address is not counted and no answer is put off; names, and names from an
//!   address, are.
//! - A name counts the same whether anybody has it (A111), and where somebody logged in before he is let in also while others try.
//! - Who has logged in from an address is let in there, whatever others behind it do: one telephone with an old password does not
//!   shut out an office.
//! - An address is counted on one shard and a name on one (see [`home`]), in a table of one size, half of it for those who have logged
//!   in. Where a half is full the least count gives way.
//! - The keys of the table are hashes with a seed of this shard, so nobody can choose whose place to take.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::shard::Moment;

pub mod home;

/// Failures for one name from one address. From this number on: not now, wherever it is and whoever has logged in from there.
pub const PAIR_FAILURES_MAX: u32 = 50;
/// Failures of one address (IPv4) or /64 (IPv6), as many as are not forgotten. From this number on: not now.
pub const ADDRESS_FAILURES_MAX: u32 = 20;
/// Failures for one name. From this number on: not now, but where a login of this name has succeeded.
pub const NAME_FAILURES_MAX: u32 = 100;
/// The longest that the answer to a failure takes, seconds.
pub const DELAY_S_MAX: u64 = 15;

/// How soon one of each is forgotten, seconds.
const PAIR_LEAK_S: u32 = 60;
const ADDRESS_LEAK_S: u32 = 60;
const NAME_LEAK_S: u32 = 10;
/// A login that succeeded is remembered for so many days.
const FRIEND_DAYS: u32 = 30;
const FRIEND_LEAK_S: u32 = 86_400;

/// The table: sets of slots, of which the first are for failures and the others for those who have logged in. 512 KiB once somebody
/// has tried.
const SETS: usize = 4_096;
const WAYS: usize = 8;
const WAYS_OF_FAILURES: usize = 4;

/// May an attempt begin?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It may.
    Yes {
        /// Whoever tries has logged in from there.
        friend: bool,
        /// Failures, this one taken for one; of an address: for the name from there.
        failures: u32,
    },
    /// Not now.
    TooMany,
}

/// How long the answer to a failure takes at least. `failures`: for the name from there, this one too.
#[must_use]
pub fn delay(failures: u32) -> Duration {
    Duration::from_secs((1 << failures.min(4)).min(DELAY_S_MAX))
}

#[derive(Clone, Copy)]
enum Kind {
    /// An address and a name.
    Pair,
    Address,
    Name,
    /// An address from which a name has logged in.
    Friend,
}

/// The bits of a slot's key that are its kind.
const KIND_BITS: u64 = 3;

impl Kind {
    fn of(key: u64) -> Kind {
        [Kind::Pair, Kind::Address, Kind::Name, Kind::Friend][(key & KIND_BITS) as usize]
    }

    fn leak_s(self) -> u32 {
        match self {
            Kind::Pair => PAIR_LEAK_S,
            Kind::Address => ADDRESS_LEAK_S,
            Kind::Name => NAME_LEAK_S,
            Kind::Friend => FRIEND_LEAK_S,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// 0: nobody's.
    key: u64,
    /// As of `at_s`.
    count: u32,
    at_s: u32,
}

/// What one shard has counted.
pub struct Attempts {
    seed: u64,
    /// Empty until there is something to count.
    slots: RefCell<Vec<Slot>>,
}

impl Attempts {
    /// Nothing yet.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Attempts { seed, slots: RefCell::default() }
    }

    /// At the home of an address: an attempt may begin. `counts`: and does. `exempt`: the address has no bound of its own.
    #[must_use]
    pub fn begin_at(&self, now: Moment, address: u128, exempt: bool, name: &str, counts: bool) -> Begun {
        if self.count(now, Kind::Pair, address, name) >= PAIR_FAILURES_MAX {
            return Begun::TooMany;
        }
        let friend = self.count(now, Kind::Friend, address, name) > 0;
        if !exempt && !friend && self.count(now, Kind::Address, address, "") >= ADDRESS_FAILURES_MAX {
            return Begun::TooMany;
        }
        let mut failures = 0;
        if counts {
            if !exempt {
                self.add(now, Kind::Address, address, "", 1);
            }
            failures = self.add(now, Kind::Pair, address, name, 1);
        }
        Begun::Yes { friend, failures }
    }

    /// At the home of a name: the same. `friend`: whoever tries has logged in from there.
    #[must_use]
    pub fn begin_as(&self, now: Moment, name: &str, friend: bool, counts: bool) -> Begun {
        if !friend && self.count(now, Kind::Name, 0, name) >= NAME_FAILURES_MAX {
            return Begun::TooMany;
        }
        let failures = if counts { self.add(now, Kind::Name, 0, name, 1) } else { 0 };
        Begun::Yes { friend, failures }
    }

    /// At the home of an address: an attempt that counts succeeded (`right`), or was not looked at.
    pub fn end_at(&self, now: Moment, address: u128, exempt: bool, name: &str, right: bool) {
        if !exempt {
            self.take_back(now, Kind::Address, address, "", 1);
        }
        self.take_back(now, Kind::Pair, address, name, if right { u32::MAX } else { 1 });
        if right {
            let known = self.count(now, Kind::Friend, address, name);
            self.add(now, Kind::Friend, address, name, FRIEND_DAYS.saturating_sub(known));
        }
    }

    /// At the home of a name: the same.
    pub fn end_as(&self, now: Moment, name: &str) {
        self.take_back(now, Kind::Name, 0, name, 1);
    }

    fn take_back(&self, now: Moment, kind: Kind, address: u128, name: &str, less: u32) {
        let (key, ways) = self.place(kind, address, name);
        if let Some(slot) =
            self.slots.borrow_mut().get_mut(ways).and_then(|slots| slots.iter_mut().find(|slot| slot.key == key))
        {
            match left(slot, kind, seconds(now)).saturating_sub(less) {
                0 => *slot = Slot::default(),
                // What has leaked meanwhile stays leaked: the time it is counted from is as it was.
                _ => slot.count -= less,
            }
        }
    }

    fn count(&self, now: Moment, kind: Kind, address: u128, name: &str) -> u32 {
        let (key, ways) = self.place(kind, address, name);
        let slots = self.slots.borrow();
        let slot = slots.get(ways).and_then(|slots| slots.iter().find(|slot| slot.key == key));
        slot.map_or(0, |slot| left(slot, kind, seconds(now)))
    }

    fn add(&self, now: Moment, kind: Kind, address: u128, name: &str, more: u32) -> u32 {
        let (key, ways) = self.place(kind, address, name);
        let now_s = seconds(now);
        let mut slots = self.slots.borrow_mut();
        if slots.is_empty() {
            slots.resize(SETS * WAYS, Slot::default());
        }
        let slots = &mut slots[ways];
        let at = match slots.iter().position(|slot| slot.key == key) {
            Some(at) => at,
            // What counts least by now gives way, and of equal ones the oldest: what has leaked away is free.
            None => {
                let least = (0..slots.len()).min_by_key(|at| {
                    let slot = &slots[*at];
                    (left(slot, Kind::of(slot.key), now_s), slot.at_s)
                });
                least.unwrap_or(0)
            }
        };
        let slot = &mut slots[at];
        let before = if slot.key == key { left(slot, kind, now_s) } else { 0 };
        // What is half forgotten is not counted from anew.
        let since_s = if before == 0 { now_s } else { now_s - (now_s - slot.at_s) % kind.leak_s() };
        *slot = Slot { key, count: before.saturating_add(more), at_s: since_s };
        slot.count
    }

    /// Key, and the slots of its set that it may have.
    fn place(&self, kind: Kind, address: u128, name: &str) -> (u64, Range<usize>) {
        let mut octets = Vec::with_capacity(17 + name.len());
        octets.push(kind as u8);
        octets.extend_from_slice(&address.to_le_bytes());
        octets.extend_from_slice(name.as_bytes());
        // Its lowest bits say the kind, and it is not 0.
        let key = (xxh3_64_with_seed(&octets, self.seed) & !KIND_BITS).max(KIND_BITS + 1) | kind as u64;
        let set = (key >> 32) as usize % SETS * WAYS;
        let ways = if matches!(kind, Kind::Friend) { WAYS_OF_FAILURES..WAYS } else { 0..WAYS_OF_FAILURES };
        (key, set + ways.start..set + ways.end)
    }
}

fn seconds(now: Moment) -> u32 {
    u32::try_from(now.0 / 1_000_000_000).unwrap_or(u32::MAX)
}

fn left(slot: &Slot, kind: Kind, now_s: u32) -> u32 {
    slot.count.saturating_sub(now_s.saturating_sub(slot.at_s) / kind.leak_s())
}

#[cfg(test)]
mod tests;
