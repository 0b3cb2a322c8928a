//! What is announced, asked for, and not yet on the disk: it counts against what is free in the volume it goes to
//! (RELIABILITY §4.8).
//!
//! Else a hundred senders that announce 50 MiB each would all be asked for them where there is room for one, and most would hear
//! of it only at the end of what they sent. Each shard counts its own.
//!
//! ```text
//!   MAIL              is there a volume here with room for it? ─ no ─► 452 4.3.1        nothing is counted yet
//!   DATA, APPEND      counted for the volume that decides, until it is there, or the transaction over
//! ```
//!
//! - Nothing counts that a sender only says: from DATA on he has to send, at the least rate or faster, or he is cut.
//! - Of one address or /64 no more than
//!   [`BODY_BYTES_EXPECTED_PER_ADDRESS_MAX`](limits::BODY_BYTES_EXPECTED_PER_ADDRESS_MAX) counts against what others send, so that
//!   it cannot keep them out by announcing. Against what it sends itself all of it counts.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use ringpost_storage::VolumeId;

use super::Office;
use super::charge::Payer;
use crate::limits::{self, MAIL_BYTES_UNANNOUNCED};
use crate::shard::{self, Peer};

/// The octets that are expected on a shard. Cheap to clone.
#[derive(Clone, Default)]
pub struct Expected(Rc<RefCell<BTreeMap<VolumeId, Octets>>>);

/// Of one volume.
#[derive(Default)]
struct Octets {
    /// All of them, of each payer no more than its part.
    all: u64,
    /// Of each payer all.
    by_payer: HashMap<u128, u64>,
}

/// A transaction's part of them, until it is dropped.
pub struct Expecting {
    sum: Expected,
    volume: VolumeId,
    payer: Payer,
    announced: u64,
    octets: u64,
}

impl Expected {
    /// A message begins to come. `announced`: its octets, as its sender said; `payer`: `None` counts without a bound of its own.
    #[must_use]
    pub fn open(&self, volume: VolumeId, payer: Payer, announced: Option<u64>) -> Expecting {
        let octets = announced.unwrap_or(MAIL_BYTES_UNANNOUNCED);
        self.0.borrow_mut().entry(volume).or_default().change(payer, 0, octets);
        Expecting { sum: self.clone(), volume, payer, announced: octets, octets }
    }

    /// Octets that have to be free in a volume for what this payer and all others are sending to it, and so many `more` of this
    /// payer: half as much again, because what is stored is more than what is announced (trace fields, what the log adds), and
    /// others write, too.
    #[must_use]
    pub fn octets(&self, volume: VolumeId, payer: Payer, more: u64) -> u64 {
        let expected = self.0.borrow().get(&volume).map_or(0, |octets| octets.against(payer));
        let octets = expected.saturating_add(more);
        octets.saturating_add(octets / 2)
    }
}

impl Octets {
    fn change(&mut self, payer: Payer, less: u64, more: u64) {
        let Some(payer) = payer else {
            self.all = self.all - less + more;
            return;
        };
        let of_payer = self.by_payer.entry(payer).or_default();
        self.all -= part(*of_payer);
        *of_payer = *of_payer - less + more;
        self.all += part(*of_payer);
        if *of_payer == 0 {
            self.by_payer.remove(&payer);
        }
    }

    /// What this payer hears of: all of its own, and the parts of the others.
    fn against(&self, payer: Payer) -> u64 {
        let own = payer.and_then(|payer| self.by_payer.get(&payer)).copied().unwrap_or(0);
        self.all - part(own) + own
    }
}

fn part(octets: u64) -> u64 {
    octets.min(limits::BODY_BYTES_EXPECTED_PER_ADDRESS_MAX)
}

impl Expecting {
    /// So many octets of it are on the disk by now, and no longer free there.
    pub fn is_there(&mut self, octets: u64) {
        self.set(self.announced.saturating_sub(octets));
    }

    fn set(&mut self, octets: u64) {
        let less = std::mem::replace(&mut self.octets, octets);
        let mut sums = self.sum.0.borrow_mut();
        let sum = sums.entry(self.volume).or_default();
        sum.change(self.payer, less, octets);
        if sum.all == 0 {
            sums.remove(&self.volume);
        }
    }
}

impl Drop for Expecting {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Office {
    /// True if a volume of this shard has room for a message of this peer beside what is on its way there. `announced`: its
    /// octets. A volume that failed is not full, and those of other shards refuse at commit.
    #[must_use]
    pub fn has_room(&self, peer: Peer, announced: Option<u64>) -> bool {
        let payer = self.payer(peer);
        let octets = announced.unwrap_or(MAIL_BYTES_UNANNOUNCED);
        let volumes = self.volumes.borrow();
        volumes.is_empty()
            || volumes.iter().any(|(id, v)| v.has_room(self.expected.octets(*id, payer, octets), wall_ms()))
    }

    /// A message of this peer that is about to be asked for, and where it goes; `None`: the volume has no room for it beside what
    /// is on its way there. One of another shard refuses at commit.
    #[must_use]
    pub fn expect(&self, volume: VolumeId, peer: Peer, announced: Option<u64>) -> Option<Expecting> {
        let payer = self.payer(peer);
        let expecting = self.expected.open(volume, payer, announced);
        let octets = self.expected.octets(volume, payer, 0);
        let volumes = self.volumes.borrow();
        volumes.get(&volume).is_none_or(|v| v.has_room(octets, wall_ms())).then_some(expecting)
    }
}

fn wall_ms() -> i64 {
    i64::try_from(shard::wall_ms()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: u64 = limits::BODY_BYTES_EXPECTED_PER_ADDRESS_MAX;

    #[test]
    fn what_is_expected_is_half_as_much_again_as_is_announced_and_not_there() {
        let sum = Expected::default();
        let mut one = sum.open(0, Some(1), Some(1_000));
        let other = sum.open(0, None, None);
        assert_eq!(sum.octets(0, None, 500), (1_500 + MAIL_BYTES_UNANNOUNCED) * 3 / 2);
        drop(other);
        one.is_there(400);
        assert_eq!(sum.octets(0, Some(2), 0), 900);
        one.is_there(5_000);
        assert_eq!(sum.octets(0, Some(1), 0), 0, "more came than was announced");
        drop(one);
        assert!(sum.0.borrow().is_empty());
    }

    #[test]
    fn one_address_counts_its_part_against_others_and_all_against_itself() {
        let sum = Expected::default();
        let mut greedy: Vec<Expecting> = (0..10).map(|_| sum.open(0, Some(1), Some(PART / 2))).collect();
        assert_eq!(sum.octets(0, Some(2), 0), PART * 3 / 2);
        assert_eq!(sum.octets(0, Some(1), 0), PART * 5 * 3 / 2);
        greedy.truncate(1);
        assert_eq!(sum.octets(0, Some(2), 0), PART / 2 * 3 / 2);
        let _exempt: Vec<Expecting> = (0..10).map(|_| sum.open(0, None, Some(PART / 2))).collect();
        assert_eq!(sum.octets(0, Some(2), 0), PART / 2 * 11 * 3 / 2);
    }

    #[test]
    fn what_goes_to_one_volume_takes_no_room_of_another() {
        let sum = Expected::default();
        let _one = sum.open(0, Some(1), Some(1_000));
        assert_eq!((sum.octets(0, Some(1), 0), sum.octets(1, Some(1), 0)), (1_500, 0));
    }
}
