//! Crashes from seeds: the campaign of `sim::campaign::crash`, as much of it as an unoptimised build does in seconds. The
//! command `store-campaign` does as much as one likes.
#![cfg(feature = "sim")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ringpost_storage::sim::SimDisk;
use ringpost_storage::sim::campaign::crash::Trial;
use ringpost_storage::sim::campaign::house::{self, Chance, House};
use ringpost_storage::sim::campaign::images::Images;
use ringpost_storage::sim::campaign::run;
use ringpost_storage::sim::campaign::tally::Tally;
use support::*;

fn campaign(from: u64, seeds: u64, faults: bool) {
    let images = Images::default();
    let mut all = Tally::default();
    for seed in from..from + seeds {
        match run::one(seed, |seed| Trial::run(&images, seed, faults)) {
            Ok(tally) => all.add(&tally),
            Err(found) => panic!("seed {seed} (faults: {faults}): {}", found.why),
        }
    }
    assert_eq!(all.images, images.len());
    assert!(all.images > seeds * 80 && all.doubts > all.points / 2, "a seed makes many images: {all:?}");
    assert!(all.images_at.iter().all(|n| *n > 0), "crashes after crashes: {all:?}");
    let done = [all.shared, all.appended, all.copied, all.moved, all.expunged, all.renamed, all.summaries, all.folds];
    assert!(all.uploads > 0, "some bodies come in pieces: {all:?}");
    assert!(all.undeleted > 0, "something retained is brought back: {all:?}");
    assert!(all.checkpoints > seeds && all.compared > seeds, "with and without checkpoints: {all:?}");
    assert!(done.iter().all(|n| *n > seeds / 2), "the work is varied: {all:?}");
}

#[test]
fn a_crash_anywhere_loses_nothing_that_was_acknowledged() {
    campaign(1, 5, false);
}

#[test]
fn failing_writes_and_syncs_and_crashes_lose_nothing_that_was_acknowledged() {
    campaign(1_000_001, 5, true);
}

/// Opens, or makes, a volume until the clock stops.
fn begin(disk: &SimDisk, chance: &Chance, seed: u64, last: u64) -> Option<House> {
    let left = Cell::new(last);
    house::slow(disk, chance);
    let opened = house::open(disk, seed, || {
        left.set(left.get().saturating_sub(1));
        left.get() > 0
    });
    disk.set_delay(None);
    opened.map(|opened| opened.expect("a volume half made can be finished"))
}

/// Lives that end while the volume is being made or opened for the first time; then one that does not.
fn birth(seed: u64) {
    let chance: Chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
    let mut disk = SimDisk::new(seed);
    for life in 0..3 {
        let last = chance.borrow_mut().random_range(0..90);
        begin(&disk, &chance, seed + life, last);
        disk = if chance.borrow_mut().random_ratio(1, 4) { disk.kill() } else { disk.crash() };
    }
    let whole = begin(&disk, &chance, seed + 3, u64::MAX).expect("nothing stops it");
    assert_eq!((whole.recovered.damaged.len(), whole.recovered.lost_batches, whole.recovered.batches), (0, 0, 0));
    drop(whole);
    let mut v = open(&disk);
    let alice = v.account("a@x");
    drop(v);
    assert_eq!(open(&disk.crash()).volume.account_named("a@x"), Some(alice));
}

#[test]
fn a_volume_half_made_is_none_or_whole_and_never_damaged() {
    for seed in 0..500 {
        if let Err(why) = std::panic::catch_unwind(|| birth(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(why);
        }
    }
}
