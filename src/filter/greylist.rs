//! Who comes for the first time comes again: mail servers do, most programs that send spam do not (RFC 6647).
//!
//! ```text
//!   network not known ──► triplet new      ─► wait: 450, and how long
//!                         younger than delay ─► wait: the rest of it
//!                         within the window  ─► passed: its network is known from now on
//!                         older              ─► as new
//!   network known ──────► passed, until it was not seen for `keep_days`
//! ```
//!
//! - A triplet is (network, sender, recipient), the network a /24 or /64. Of the null sender it is one for each recipient.
//! - A network has its home on one shard, so all shards agree; that it cannot be asked lets pass.
//! - Bounded: triplets in all and of one network, known networks. At a bound the oldest goes: it costs its owner another wait.
//! - Kept over a restart by a file of each shard (see `file`). To lose it costs waits.
//!
//! Times are seconds since 1970, of the wall clock, because they outlive the process. A clock that jumps makes somebody wait
//! longer or less.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::known::Known;
use super::{Finding, Mode, Network};
use crate::limits::{FILTER_KNOWN_MAX, FILTER_TRIPLETS_MAX, FILTER_TRIPLETS_PER_NETWORK_MAX};

pub mod file;

/// What this filter is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What is done about it: defer, or less.
    pub mode: Mode,
    /// How long a triplet waits, seconds.
    pub delay_s: u32,
    /// Until when it has to have come again, seconds.
    pub window_s: u32,
    /// How long a network stays known that is not seen, seconds.
    pub keep_s: u32,
}

/// A question to the shard that is a network's home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whose mail it is.
    pub network: Network,
    /// Hash of sender and recipient. Two with one hash wait as one; both are of one network.
    pub triplet: u64,
}

impl Asked {
    /// About a letter: `sender` is empty for the null sender. Case does not matter.
    #[must_use]
    pub fn about(network: Network, sender: &str, recipient: &str) -> Asked {
        let text = format!("{}\0{}", sender.to_lowercase(), recipient.to_lowercase());
        Asked { network, triplet: xxhash_rust::xxh3::xxh3_64(text.as_bytes()) }
    }
}

/// Its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The network is known, or this triplet has waited.
    Pass,
    /// Come again in so many seconds.
    Wait(u32),
}

impl Said {
    /// What is said about it.
    #[must_use]
    pub fn finding(self) -> Option<Finding> {
        match self {
            Said::Pass => None,
            Said::Wait(s) => Some(Finding::new(
                450,
                (4, 7, 1),
                format!("Greylisted, try again in {s} seconds"),
                &format!("first seen, {s} seconds to wait"),
            )),
        }
    }
}

/// What one shard remembers.
pub struct Table {
    settings: Settings,
    known: Known,
    /// Of each network the triplets that wait, oldest first.
    waiting: BTreeMap<Network, VecDeque<Waiting>>,
    /// All of them, oldest first; some are gone already.
    order: VecDeque<(Network, u64)>,
    count: usize,
    next: u64,
    /// Triplets and networks that were pushed out since the start.
    pub evicted: u64,
    changed: bool,
}

#[derive(Clone, Copy)]
struct Waiting {
    triplet: u64,
    first_s: u32,
    number: u64,
}

impl Table {
    /// A table that knows nobody.
    #[must_use]
    pub fn new(settings: Settings) -> Table {
        Table {
            settings,
            known: Known::new(settings.keep_s, FILTER_KNOWN_MAX),
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
            count: 0,
            next: 0,
            evicted: 0,
            changed: false,
        }
    }

    /// May this pass now?
    pub fn ask(&mut self, asked: Asked, now_s: u32) -> Said {
        self.changed = true;
        if self.known.knows(asked.network, now_s) {
            self.note(asked.network, now_s);
            return Said::Pass;
        }
        let first_s = self.first_s(asked).map(|first_s| first_s.min(now_s));
        let Some(waited) = first_s.map(|first_s| now_s - first_s).filter(|waited| *waited <= self.settings.window_s)
        else {
            self.forget(asked);
            self.remember(asked, now_s);
            return Said::Wait(self.settings.delay_s);
        };
        if waited < self.settings.delay_s {
            return Said::Wait(self.settings.delay_s - waited);
        }
        // Its neighbours' triplets have nothing to wait for any more.
        self.count -= self.waiting.remove(&asked.network).map_or(0, |gone| gone.len());
        self.note(asked.network, now_s);
        Said::Pass
    }

    /// Triplets that wait, and networks that are known.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.count, self.known.len())
    }

    /// True if it remembers nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// True once after each change.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn note(&mut self, network: Network, now_s: u32) {
        self.evicted += u64::from(self.known.note(network, now_s));
    }

    fn first_s(&self, asked: Asked) -> Option<u32> {
        let of = self.waiting.get(&asked.network)?;
        of.iter().find(|waiting| waiting.triplet == asked.triplet).map(|waiting| waiting.first_s)
    }

    fn forget(&mut self, asked: Asked) {
        let Some(of) = self.waiting.get_mut(&asked.network) else { return };
        let before = of.len();
        of.retain(|waiting| waiting.triplet != asked.triplet);
        self.count -= before - of.len();
        if of.is_empty() {
            self.waiting.remove(&asked.network);
        }
    }

    fn remember(&mut self, asked: Asked, first_s: u32) {
        self.next += 1;
        let of = self.waiting.entry(asked.network).or_default();
        of.push_back(Waiting { triplet: asked.triplet, first_s, number: self.next });
        self.order.push_back((asked.network, self.next));
        self.count += 1;
        if of.len() > FILTER_TRIPLETS_PER_NETWORK_MAX {
            of.pop_front();
            (self.count, self.evicted) = (self.count - 1, self.evicted + 1);
        }
        while self.count > FILTER_TRIPLETS_MAX {
            self.push_out_oldest();
        }
        if self.order.len() > 2 * FILTER_TRIPLETS_MAX {
            self.order.retain(|(network, number)| {
                let of = self.waiting.get(network);
                of.is_some_and(|of| of.binary_search_by_key(number, |waiting| waiting.number).is_ok())
            });
        }
    }

    fn push_out_oldest(&mut self) {
        let (network, number) = self.order.pop_front().expect("whatever waits is in order");
        let Some(of) = self.waiting.get_mut(&network) else { return };
        // Oldest first, so it is the first of its network or gone.
        if of.front().is_some_and(|waiting| waiting.number == number) {
            of.pop_front();
            (self.count, self.evicted) = (self.count - 1, self.evicted + 1);
            if of.is_empty() {
                self.waiting.remove(&network);
            }
        }
    }
}

impl Settings {
    /// Unless said otherwise: five minutes, and two days to come again; five weeks, so that a monthly letter finds its network known.
    pub const DELAY_DEFAULT: Duration = Duration::from_secs(300);
    /// See [`Settings::DELAY_DEFAULT`].
    pub const WINDOW_DEFAULT: Duration = Duration::from_secs(2 * 86_400);
    /// Days. See [`Settings::DELAY_DEFAULT`].
    pub const KEEP_DAYS_DEFAULT: u64 = 35;
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { mode: Mode::Defer, delay_s: 300, window_s: 10_000, keep_s: 100_000 };

    fn network(n: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from(n << 8).into())
    }

    fn asked(n: u32, sender: &str, recipient: &str) -> Asked {
        Asked::about(network(n), sender, recipient)
    }

    #[test]
    fn who_comes_again_in_time_passes_and_so_does_his_network_from_then_on() {
        let mut table = Table::new(SETTINGS);
        let letter = asked(1, "a@b", "c@d");
        assert_eq!(table.ask(letter, 1_000), Said::Wait(300));
        assert_eq!(table.ask(letter, 1_100), Said::Wait(200));
        assert_eq!(table.ask(letter, 1_300), Said::Pass);
        assert_eq!(table.len(), (0, 1));
        assert_eq!(table.ask(asked(1, "other@b", "other@d"), 1_301), Said::Pass);
        assert_eq!(table.ask(asked(2, "a@b", "c@d"), 1_301), Said::Wait(300), "another network");
        // Each letter keeps it known.
        assert_eq!(table.ask(letter, 101_200), Said::Pass);
        assert_eq!(table.ask(letter, 201_199), Said::Pass);
        assert_eq!(table.ask(letter, 301_199), Said::Wait(300));
    }

    #[test]
    fn who_comes_too_late_begins_anew() {
        let mut table = Table::new(SETTINGS);
        let letter = asked(1, "a@b", "c@d");
        assert_eq!(table.ask(letter, 1_000), Said::Wait(300));
        assert_eq!(table.ask(letter, 11_001), Said::Wait(300));
        assert_eq!(table.ask(letter, 11_302), Said::Pass);
    }

    #[test]
    fn the_null_sender_waits_for_each_recipient_and_case_is_nothing() {
        let mut table = Table::new(SETTINGS);
        assert_eq!(table.ask(asked(1, "", "c@d"), 0), Said::Wait(300));
        assert_eq!(table.ask(asked(1, "", "e@d"), 100), Said::Wait(300));
        assert_eq!(table.ask(asked(1, "", "C@d"), 100), Said::Wait(200));
        assert_ne!(asked(1, "a", "b@c").triplet, asked(1, "ab", "@c").triplet);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nobody_wait_for_longer_than_a_new_one() {
        let mut table = Table::new(SETTINGS);
        let letter = asked(1, "a@b", "c@d");
        assert_eq!(table.ask(letter, 1_000_000), Said::Wait(300));
        assert_eq!(table.ask(letter, 1_000), Said::Wait(300));
    }

    #[test]
    fn one_network_cannot_push_out_the_others() {
        let mut table = Table::new(SETTINGS);
        let honest = asked(7, "a@b", "c@d");
        table.ask(honest, 0);
        for n in 0..5_000 {
            table.ask(asked(1, &format!("{n}@b"), "c@d"), 1);
        }
        assert_eq!(table.len(), (FILTER_TRIPLETS_PER_NETWORK_MAX + 1, 0));
        assert_eq!(table.ask(honest, 300), Said::Pass);
    }

    #[test]
    fn all_together_stay_within_the_bound_and_the_oldest_go() {
        let mut table = Table::new(SETTINGS);
        let n = u32::try_from(FILTER_TRIPLETS_MAX).expect("fits") + 10;
        for n in 0..n {
            table.ask(asked(n, "a@b", "c@d"), 0);
        }
        assert_eq!(table.len(), (FILTER_TRIPLETS_MAX, 0));
        assert_eq!(table.evicted, 10);
        assert_eq!(table.ask(asked(9, "a@b", "c@d"), 300), Said::Wait(300), "pushed out");
        assert_eq!(table.ask(asked(100, "a@b", "c@d"), 300), Said::Pass);
        // Triplets that come and pass leave nothing behind for long.
        for n in 0..3 * n {
            let letter = asked(1_000_000 + n, "a@b", "c@d");
            table.ask(letter, 0);
            table.ask(letter, 300);
        }
        assert!(table.order.len() <= 2 * FILTER_TRIPLETS_MAX && table.len().1 <= FILTER_KNOWN_MAX);
    }
}
