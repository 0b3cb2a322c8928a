//! Every crash (R2): small work, and at each completion every disk that a power cut may leave, whole sectors each for itself.
//!
//! | where | in doubt | looked at |
//! |---|---|---|
//! | in the work | at most [`DOUBTS_MAX`] | every disk |
//! | in the recovery from a disk of which at most [`AGAIN_DOUBTS_MAX`] were in doubt | at most as many | every disk |
//! | in the recovery from that one, and one further | at most as many | every disk, of one recovery in [`DEEPER_ONE_IN`] |
//! | anywhere else | more | [`SAMPLE`] disks |
//!
//! A trace is *whole* when nothing in its work was sampled. Disks are told apart by a hash of all octets.

use std::cell::RefCell;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::house::{self, Chance, NOW_MS};
use super::images::{Images, Seen};
use super::judge::judge;
use super::model::{Model, Work};
use super::said::Said;
use super::tally::Tally;
use super::tasks::block_on;
use super::work::{Scale, text};
use crate::retain::RETAINED;
use crate::sim::SimDisk;
use crate::{Flags, MailboxId, NewMailbox, Op, Settings, Uid, Volume};

/// Sectors and files in doubt up to which every combination is looked at.
pub const DOUBTS_MAX: usize = 12;
/// The same in recoveries.
pub const AGAIN_DOUBTS_MAX: usize = 4;
/// Disks looked at where more are in doubt.
pub const SAMPLE: usize = 24;
/// Of so many second recoveries one is cut off itself.
pub const DEEPER_ONE_IN: u32 = 16;
/// Combinations of 12 sectors, of which a few were written three times.
const COMBINATIONS_MAX: usize = 3 * (1 << DOUBTS_MAX);
/// Crashes in recoveries, one after the other, at most.
const DEPTH_MAX: u32 = 3;

/// One trace.
struct Trace<'a> {
    seen: Seen<'a>,
    tally: Tally,
    chance: Chance,
    sampled: bool,
}

/// All that a seed does.
///
/// # Panics
/// With a sentence, when production code breaks a promise or panics itself.
pub fn run(images: &Images, seed: u64) -> Tally {
    let chance: Chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
    let mut trace = Trace { seen: Seen::new(images), tally: Tally::default(), chance, sampled: false };
    trace.work(seed);
    trace.tally.seeds += 1;
    trace.tally.whole += u64::from(!trace.sampled);
    trace.tally
}

impl Trace<'_> {
    fn work(&mut self, seed: u64) {
        let disk = SimDisk::new(seed);
        let made = self.chance.borrow_mut().random_ratio(7, 8);
        if made {
            block_on(Volume::create(&disk, &house::facts(seed))).expect("nothing hinders it");
        }
        house::slow(&disk, &self.chance.clone());
        let retains = seed % 8 == 3;
        let mut said = Said::new(Model { retains, ..Model::default() }, 0);
        let mut changes = disk.changes();
        let settings = Settings { retain: retains, ..house::settings(seed) };
        let opened = house::open_with(&disk, seed, settings, || {
            self.look(&disk, &mut changes, &said, 0);
            true
        });
        let mut house = opened.expect("nobody stops it").expect("nothing hinders it");
        said = said.in_epoch(house.epoch());
        if made {
            // The trace begins on what is there: somebody with a few messages.
            disk.set_delay(None);
            let old = self.chance.borrow_mut().random_ratio(1, 8);
            let few = if retains { 5 } else { 4 };
            for n in 0..if old { 16 } else { few } {
                let work = Self::ground(n, if old { 11_000 } else { 200 }, said.last());
                let decided =
                    house.decide(&work, NOW_MS, || true).expect("nobody stops it").expect("nothing hinders it");
                said.decided(&work, decided);
                while house.turn() {}
                said.listen();
            }
            let (rounds, seed) = {
                let chance = &mut *self.chance.borrow_mut();
                (if old { 3 } else { chance.random_range(0..3) }, chance.random())
            };
            house.keep_house(rounds, seed);
            house::slow(&disk, &self.chance.clone());
            changes = disk.changes();
        }
        let transactions = self.chance.borrow_mut().random_range(3..8);
        for n in 0..transactions {
            let (work, pace) = {
                let chance = &mut *self.chance.borrow_mut();
                let kept = |account| house.volume.mailbox_named(account, RETAINED);
                let back = if retains { Work::of_retained(chance, said.last(), kept) } else { None };
                let work = || Work::random(chance, Scale::Tiny, said.last(), said.durable());
                let back = back.filter(|_| n % 2 > 0);
                self.tally.undeleted += u64::from(back.is_some());
                (back.unwrap_or_else(work), chance.random_range(0..16))
            };
            let decided = house.decide(&work, NOW_MS + n, || {
                said.listen();
                self.look(&disk, &mut changes, &said, 0);
                true
            });
            if let Ok(decided) = decided.expect("nobody stops it") {
                self.tally.decided(&work, &decided.outcomes);
                said.decided(&work, decided);
            }
            for _ in 0..pace {
                house.turn();
                said.listen();
                self.look(&disk, &mut changes, &said, 0);
            }
        }
        if self.chance.borrow_mut().random() {
            house.close();
        }
        while house.turn() {
            said.listen();
            self.look(&disk, &mut changes, &said, 0);
        }
        let stats = house.volume.stats();
        self.tally.folds += stats.folds;
        self.tally.compacted += stats.compacted_segments;
    }

    /// Letters, and in the end all but a few of many expunged.
    fn ground(n: u64, octets: usize, model: &Model) -> Work {
        let Some(account) = model.accounts.keys().next().copied() else {
            let mailboxes = vec![NewMailbox { name: "m1".into(), special_use: 1 }];
            return Work {
                texts: vec![],
                ops: vec![Op::PutAccount {
                    name: "u1@x".into(),
                    secrets: vec![1],
                    mailboxes,
                    limits: crate::Limits::NONE,
                }],
            };
        };
        // (The fifth of a few is there where what is expunged is retained.)
        if n == 15 || n == 4 && octets < 1_000 {
            let uids = (1..n as Uid).filter(|uid| uid % 5 != 0).collect();
            return Work { texts: vec![], ops: vec![Op::Expunge { account, mailbox: MailboxId::INBOX, uids }] };
        }
        let (mailbox, prefix, flags) = (MailboxId::INBOX, b"To: u1@x\r\n".to_vec(), Flags::none());
        let append = Op::Append { account, mailbox, body: 0, prefix, flags, internal_ms: 1 };
        Work { texts: vec![text(octets, n).into()], ops: vec![append] }
    }

    /// If a completion has changed what a cut could leave: makes and judges every such disk.
    fn look(&mut self, disk: &SimDisk, changes: &mut u64, said: &Said, depth: u32) {
        if disk.changes() == *changes {
            return;
        }
        *changes = disk.changes();
        let ways = disk.doubts();
        self.tally.point(disk.unsynced_sectors(), ways.len());
        let bound = if depth == 0 { DOUBTS_MAX } else { AGAIN_DOUBTS_MAX };
        let combinations = ways.iter().try_fold(1usize, |all, n| all.checked_mul(*n));
        let small = ways.len() <= AGAIN_DOUBTS_MAX;
        match combinations.filter(|n| ways.len() <= bound && *n <= COMBINATIONS_MAX) {
            Some(combinations) => {
                self.tally.whole_points += 1;
                for n in 0..combinations {
                    self.image(disk, &nth(n, &ways), said, depth, small);
                }
            }
            None => {
                self.sampled |= depth == 0;
                for _ in 0..SAMPLE {
                    let combination: Vec<usize> =
                        ways.iter().map(|n| self.chance.borrow_mut().random_range(0..*n)).collect();
                    self.image(disk, &combination, said, depth, small);
                }
            }
        }
    }

    fn image(&mut self, disk: &SimDisk, ways: &[usize], said: &Said, depth: u32, small: bool) {
        let image = disk.fork_as(ways, 0);
        if !self.seen.asks(&mut self.tally, image.digest(), said.promise()) {
            return;
        }
        self.tally.at_depth(depth);
        let again = match depth {
            0 => small,
            DEPTH_MAX.. => false,
            _ => small && self.chance.borrow_mut().random_ratio(1, DEEPER_ONE_IN),
        };
        let said = said.promised();
        if again {
            house::slow(&image, &self.chance.clone());
        }
        let mut changes = image.changes();
        let opened = house::open(&image, u64::from(depth) + 1, || {
            if again {
                self.look(&image, &mut changes, &said, depth + 1);
            }
            true
        });
        image.set_delay(None);
        let house =
            opened.expect("nobody stops it").unwrap_or_else(|why| panic!("opening failed after a crash: {why}"));
        let _ = judge(&house, &said);
        self.tally.judged += 1;
    }
}

/// The n-th combination of ways.
fn nth(n: usize, ways: &[usize]) -> Vec<usize> {
    let mut left = n;
    ways.iter()
        .map(|ways| {
            let way = left % ways;
            left /= ways;
            way
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_combination_comes_once() {
        let ways = [2, 3, 2];
        let all: std::collections::BTreeSet<_> = (0..12).map(|n| nth(n, &ways)).collect();
        assert_eq!(all.len(), 12);
        assert!(all.iter().flatten().all(|way| *way < 3));
    }
}
