//! Who passed, and is not asked again for a while. Pure: times are seconds that the caller gives.

use std::collections::{BTreeMap, BTreeSet};

use super::Network;

/// Networks that passed. Bounded: the one that was seen the longest time ago goes first.
pub struct Known {
    keep_s: u32,
    most: usize,
    last_s: BTreeMap<Network, u32>,
    by_age: BTreeSet<(u32, Network)>,
}

impl Known {
    /// Nobody; each is known for `keep_s` seconds since it was seen last, and so many at most.
    #[must_use]
    pub fn new(keep_s: u32, most: usize) -> Known {
        Known { keep_s, most, last_s: BTreeMap::new(), by_age: BTreeSet::new() }
    }

    /// True if it is known now.
    #[must_use]
    pub fn knows(&self, network: Network, now_s: u32) -> bool {
        self.last_s.get(&network).is_some_and(|last| now_s.saturating_sub(*last) < self.keep_s)
    }

    /// When it was seen last, if that is remembered.
    #[must_use]
    pub fn last_s(&self, network: Network) -> Option<u32> {
        self.last_s.get(&network).copied()
    }

    /// It was seen; true if another had to go for it.
    pub fn note(&mut self, network: Network, now_s: u32) -> bool {
        self.forget_before(now_s.saturating_sub(self.keep_s));
        if let Some(last) = self.last_s.insert(network, now_s) {
            self.by_age.remove(&(last, network));
        }
        self.by_age.insert((now_s, network));
        if self.last_s.len() <= self.most {
            return false;
        }
        self.forget_oldest();
        true
    }

    /// How many are known, those whose time is over and who were not looked at since included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.last_s.len()
    }

    /// True if there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last_s.is_empty()
    }

    /// All, and when they were seen last.
    pub fn iter(&self) -> impl Iterator<Item = (Network, u32)> + '_ {
        self.last_s.iter().map(|(network, last)| (*network, *last))
    }

    fn forget_before(&mut self, s: u32) {
        while self.by_age.first().is_some_and(|(last, _)| *last < s) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, network)) = self.by_age.pop_first() {
            self.last_s.remove(&network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u8) -> Network {
        Network::of([10, 0, n, 1].into())
    }

    #[test]
    fn who_passed_is_known_until_he_was_not_seen_for_long() {
        let mut known = Known::new(100, 10);
        known.note(network(1), 1_000);
        assert!(known.knows(network(1), 1_099) && !known.knows(network(1), 1_100) && !known.knows(network(2), 1_000));
        known.note(network(1), 1_050);
        assert!(known.knows(network(1), 1_149));
        // A clock that was set back makes nobody unknown.
        assert!(known.knows(network(1), 900));
        known.note(network(2), 2_000);
        assert_eq!((known.len(), known.by_age.len()), (1, 1), "the first is forgotten");
    }

    #[test]
    fn more_than_the_bound_push_out_who_was_not_seen_for_longest() {
        let mut known = Known::new(1_000, 3);
        for n in 0..3 {
            assert!(!known.note(network(n), u32::from(n)));
        }
        assert!(!known.note(network(0), 3), "it is there already");
        assert!(known.note(network(9), 4));
        assert!(!known.knows(network(1), 4) && known.knows(network(0), 4) && known.knows(network(9), 4));
        assert_eq!((known.len(), known.by_age.len()), (3, 3));
    }
}
