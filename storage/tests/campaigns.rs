//! The campaigns other than crashes (tests/crash.rs), as much of each as an unoptimised build does in seconds.
#![cfg(feature = "sim")]

use ringpost_storage::sim::campaign::images::Images;
use ringpost_storage::sim::campaign::scenarios::SCENARIOS;
use ringpost_storage::sim::campaign::tally::Tally;
use ringpost_storage::sim::campaign::{exhaust, iofail, rot, torn};

#[test]
fn every_power_cut_of_small_work_is_survived() {
    let images = Images::default();
    let mut all = Tally::default();
    (0..4).for_each(|seed| all.add(&exhaust::run(&images, seed)));
    assert!(all.whole >= 3 && all.images > 200 && all.images_at[1] > 0, "{all:?}");
}

#[test]
fn every_step_of_the_disk_may_fail_under_a_letter_and_a_move() {
    for wanted in ["a letter", "move"] {
        let n = SCENARIOS.iter().position(|(name, _)| *name == wanted).expect("it is one of them");
        let tally = iofail::run(n as u64);
        assert!(tally.struck > 100 && tally.struck + 20 > tally.runs, "{tally:?}");
    }
}

/// Of the traces, one in which something is retained.
const RETAINS: u64 = 11;

/// Seeds that found something once, and others.
const ROTS: [u64; 9] = [1, 3, 6, 21, 34, 116, 240, 244, 1_144];
const TORN: [u64; 9] = [2, 3, 4, 5, 8, 24, 1_332, 2_332, 3_620];

#[test]
fn nothing_false_is_shown_of_a_volume_that_rots_and_nothing_unhurt_is_gone() {
    let mut all = Tally::default();
    ROTS.into_iter().for_each(|seed| all.add(&rot::run(seed)));
    assert!(all.runs > 2_000 && all.appended > 20, "{all:?}");
    let done = [all.from_checkpoint, all.runs - all.from_checkpoint, all.checkpoints, all.folds, all.compacted];
    assert!(done.iter().all(|n| *n > 3), "{all:?}");
}

#[test]
fn what_is_torn_is_not_called_damage_and_damage_is_not_cut_off() {
    let images = Images::default();
    let mut all = Tally::default();
    TORN.into_iter().for_each(|seed| all.add(&torn::run(&images, seed)));
    assert!(all.images > 400 && all.runs > all.images / 4, "{all:?}");
    let done = [all.from_checkpoint, all.images - all.from_checkpoint, all.checkpoints, all.folds, all.compacted];
    assert!(done.iter().all(|n| *n > 3), "{all:?}");
}

#[test]
fn what_is_retained_is_brought_back_after_any_power_cut() {
    let images = Images::default();
    let tally = exhaust::run(&images, RETAINS);
    assert!(tally.undeleted > 0 && tally.images > 50, "{tally:?}");
}
