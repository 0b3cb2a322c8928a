//! A look at each fuzz target: what was kept, and some seeds. More of them: `store-fuzz`.

#![cfg(feature = "sim")]

use ringpost_storage::fuzz::{TARGETS, Tally, Target};

/// Nobody counts here; the command does.
fn uncounted() -> u64 {
    0
}

#[test]
fn octets_that_nobody_wrote_are_refused_or_are_what_they_say() {
    for target in &TARGETS {
        let kept = target.kept();
        let mut tally = Tally::default();
        kept.iter().for_each(|octets| tally.add(target.judge(octets, &uncounted)));
        (1..=60).for_each(|seed| tally.add(target.trial(seed, &kept, &uncounted)));
        assert!(tally.read > 20, "spoilt octets get past the checksums of {}: {tally:?}", target.name);
        assert!(target.name == "superblock" || tally.refused > 100, "flipped bits of {}: {tally:?}", target.name);
    }
}

#[test]
fn each_target_has_one_name() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert!(names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1), "{names:?}");
    assert!(names.iter().all(|name| Target::named(name).is_some_and(|target| target.name == *name)));
}
