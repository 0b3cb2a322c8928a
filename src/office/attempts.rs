//! Logins that failed a moment ago: how long the answer to the next failure takes, and when nobody is heard for now.
//!
//! ```text
//!   address and name   1, 2, 3, 4 … failures: the answer takes 2, 4, 8, 15 s (A020); a login that succeeds forgets them
//!   address or /64     20: whoever never logged in from here comes back later; one is forgotten each minute
//!   name               100: the same; one is forgotten every ten seconds
//! ```
//!
//! - Nothing is locked: what is counted leaks away, and who is refused is not counted.
//! - A name counts the same whether anybody has it (A111), and where somebody logged in before he is let in also while others try.
//! - Who has logged in from an address is let in there, whatever others behind it do: one telephone with an old password does not
//!   shut out an office.
//! - Each shard counts for itself, in a table of one size, half of it for those who have logged in. Where a half is full the least
//!   count gives way.
//! - The keys of the table are hashes with a seed of this shard, so nobody can choose whose place to take.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::shard::Moment;

/// Failures of one address (IPv4) or /64 (IPv6), as many as are not forgotten. From this number on: not now.
pub const ADDRESS_FAILURES_MAX: u32 = 20;
/// Failures for one name. From this number on: not now, but where a login of this name has succeeded.
pub const NAME_FAILURES_MAX: u32 = 100;
/// The longest that the answer to a failure takes, seconds.
pub const DELAY_S_MAX: u64 = 15;

/// How soon one of each is forgotten, seconds.
const PAIR_LEAK_S: u32 = 120;
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

#[derive(Clone, Copy)]
enum Kind {
    /// An address and a name.
    Pair,
    Address,
    Name,
    /// An address from which a name has logged in.
    Friend,
}

impl Kind {
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

    /// True if a login may be tried now. `address`: of the peer, or its /64.
    #[must_use]
    pub fn may_try(&self, now: Moment, address: u128, name: &str) -> bool {
        if self.slots.borrow().is_empty() {
            return true;
        }
        self.count(now, Kind::Friend, address, name) > 0
            || self.count(now, Kind::Address, address, "") < ADDRESS_FAILURES_MAX
                && self.count(now, Kind::Name, 0, name) < NAME_FAILURES_MAX
    }

    /// A login failed: its answer takes at least so long.
    #[must_use]
    pub fn failed(&self, now: Moment, address: u128, name: &str) -> Duration {
        self.add(now, Kind::Address, address, "", 1);
        self.add(now, Kind::Name, 0, name, 1);
        let failures = self.add(now, Kind::Pair, address, name, 1);
        Duration::from_secs((1 << failures.min(4)).min(DELAY_S_MAX))
    }

    /// A login succeeded.
    pub fn succeeded(&self, now: Moment, address: u128, name: &str) {
        let (pair, ways) = self.place(Kind::Pair, address, name);
        if let Some(slots) = self.slots.borrow_mut().get_mut(ways) {
            slots.iter_mut().filter(|slot| slot.key == pair).for_each(|slot| *slot = Slot::default());
        }
        let known = self.count(now, Kind::Friend, address, name);
        self.add(now, Kind::Friend, address, name, FRIEND_DAYS.saturating_sub(known));
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
            // The least count gives way, and of equal ones the oldest.
            None => {
                let least = (0..slots.len()).min_by_key(|at| {
                    let Slot { key, count, at_s } = slots[*at];
                    (key != 0, count, at_s)
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
        let key = xxh3_64_with_seed(&octets, self.seed).max(1);
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
mod tests {
    use super::*;

    const HERE: u128 = 1;
    const ALICE: &str = "alice@ringpost.test";

    fn at(second: u64) -> Moment {
        Moment(second * 1_000_000_000)
    }

    #[test]
    fn a020_answers_take_longer_and_a_success_forgets() {
        let attempts = Attempts::with_seed(7);
        let delays: Vec<u64> = (0..6).map(|s| attempts.failed(at(s), HERE, ALICE).as_secs()).collect();
        assert_eq!(delays, [2, 4, 8, 15, 15, 15]);
        assert_eq!(attempts.failed(at(6), HERE, "bob@ringpost.test").as_secs(), 2, "of this name alone");
        attempts.succeeded(at(7), HERE, ALICE);
        assert_eq!(attempts.failed(at(8), HERE, ALICE).as_secs(), 2);
    }

    #[test]
    fn a020_an_address_is_told_to_come_back_and_may_a_minute_later() {
        let attempts = Attempts::with_seed(7);
        for n in 0..ADDRESS_FAILURES_MAX {
            assert!(attempts.may_try(at(0), HERE, ALICE), "{n}");
            let _ = attempts.failed(at(0), HERE, &format!("user{n}@ringpost.test"));
        }
        const CAROL: &str = "carol@ringpost.test";
        assert!(!attempts.may_try(at(0), HERE, ALICE));
        attempts.succeeded(at(0), HERE, ALICE);
        assert!(attempts.may_try(at(1), HERE, ALICE), "who logged in from here is let in, whatever others do");
        assert!(!attempts.may_try(at(59), HERE, CAROL), "whoever has one account does not forget for all");
        assert!(attempts.may_try(at(0), HERE + 1, CAROL), "another address");
        assert!(attempts.may_try(at(60), HERE, CAROL));
        let _ = attempts.failed(at(60), HERE, CAROL);
        assert!(!attempts.may_try(at(61), HERE, CAROL) && attempts.may_try(at(120), HERE, CAROL));
        assert!(attempts.may_try(at(u64::from(u32::MAX) * 2), HERE, ALICE));
    }

    #[test]
    fn whoever_has_logged_in_is_let_in_while_others_try_his_name() {
        let attempts = Attempts::with_seed(7);
        let _ = attempts.failed(at(0), HERE, ALICE);
        attempts.succeeded(at(0), HERE, ALICE);
        for n in 0..NAME_FAILURES_MAX {
            let _ = attempts.failed(at(1), u128::from(n) + 100, ALICE);
        }
        assert!(attempts.may_try(at(1), HERE, ALICE));
        assert!(!attempts.may_try(at(1), HERE + 1, ALICE));
        assert!(attempts.may_try(at(21), HERE + 1, ALICE), "never for good");
        assert!(attempts.may_try(at(1), HERE + 1, "bob@ringpost.test"));
    }

    #[test]
    fn the_table_stays_as_large_as_it_is_and_keeps_who_tries_most() {
        let attempts = Attempts::with_seed(7);
        for _ in 0..ADDRESS_FAILURES_MAX {
            let _ = attempts.failed(at(0), HERE, ALICE);
        }
        for n in 0..100_000 {
            let _ = attempts.failed(at(0), 1_000 + n, "x");
        }
        assert_eq!(attempts.slots.borrow().len(), SETS * WAYS);
        assert!(!attempts.may_try(at(0), HERE, ALICE));
    }
}
