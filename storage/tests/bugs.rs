//! The tests, tested (R10): mistakes that somebody could make are made on purpose (`src/bugs.rs`), one at a time.
//!
//! Each is found by its story, or by all of its catchers, within so many seeds, and passes every other check: a check that
//! failed whatever is wrong would say nothing. A check is a campaign (`src/sim/campaign`) from its first seeds on; none of them knows what a
//! mistake is. Times are for reading: only seeds are counted. It wants an optimised build.
//!
//! ```text
//! cargo test --release -p ringpost-storage --features bugs --test bugs -- --nocapture
//! RINGPOST_BUGS_TSV=tests/bugs.tsv cargo test …          writes what was measured
//! RINGPOST_BUGS_TIMES=10 cargo test …                    ten times as many seeds have to pass
//! RINGPOST_BUG=reuse-uid cargo test -p ringpost-storage --features bugs --no-fail-fast      the whole suite with a mistake
//! ```
#![cfg(all(feature = "bugs", not(debug_assertions)))]

#[path = "compaction.rs"]
mod compaction;
#[path = "quota.rs"]
mod quota;
#[path = "reserve.rs"]
mod reserve;
#[path = "retain.rs"]
mod retain;
#[path = "scrub.rs"]
mod scrub;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ringpost_storage::bugs::{self, Bug};
use ringpost_storage::sim::campaign::crash::Trial;
use ringpost_storage::sim::campaign::images::Images;
use ringpost_storage::sim::campaign::tally::Tally;
use ringpost_storage::sim::campaign::{exhaust, iofail, rot, run, torn, transfers};

/// A way to look for mistakes.
struct Check {
    name: &'static str,
    /// What a seed does.
    trial: fn(&Images, u64) -> Tally,
    /// Seeds, from 0 on, that pass with a mistake that is not its own.
    pass: u64,
    /// Seeds in which it has to find one that is.
    find: u64,
}

const CHECKS: &[Check] = &[
    Check { name: "crash", trial: |images, seed| Trial::run(images, seed, false), pass: 3, find: 200 },
    Check { name: "faults", trial: |images, seed| Trial::run(images, seed, true), pass: 6, find: 80 },
    Check { name: "exhaust", trial: exhaust::run, pass: 20, find: 200 },
    Check { name: "iofail", trial: |_, seed| iofail::run(seed), pass: 9, find: 30 },
    Check { name: "rot", trial: |_, seed| rot::run(seed), pass: 5, find: 60 },
    Check { name: "torn", trial: torn::run, pass: 20, find: 200 },
    Check { name: "transfers", trial: |_, seed| transfers::run(seed), pass: 60, find: 400 },
];

/// Stories of the tests beside this one, where no campaign goes: a mistake, and one that is not true with it.
const STORIES: &[(Bug, fn())] = &[
    (Bug::RetainByDate, retain::what_is_old_is_forgotten_and_its_space_comes_back),
    (Bug::ForgetRetained, retain::it_is_found_also_when_old_places_were_forgotten),
    (Bug::ScrubUnverified, scrub::rot_is_told_once_and_rot_in_what_nobody_has_is_not),
    (Bug::AppendInReserve, reserve::a055_what_makes_room_goes_on_in_the_reserve_and_appends_wait_for_the_next_one),
    (Bug::QuotaOfDurable, quota::what_is_only_decided_counts_too),
    (Bug::ForgetPieces, compaction::large_bodies_move_piece_by_piece_and_go_when_nobody_has_them),
];

/// Who has to find a mistake; who may as well, and is not asked.
struct Caught {
    /// `None`: no mistake, and nothing may be found.
    bug: Option<Bug>,
    by: &'static [&'static str],
    also: &'static [&'static str],
}

const fn caught(bug: Bug, by: &'static [&'static str], also: &'static [&'static str]) -> Caught {
    Caught { bug: Some(bug), by, also }
}

/// A volume that is well.
const WELL: Caught = Caught { bug: None, by: &[], also: &[] };

const TABLE: &[Caught] = &[
    caught(Bug::AckBeforeSync, &["crash", "faults", "exhaust", "iofail", "torn"], &["rot", "transfers"]),
    caught(Bug::SkipDirectorySync, &["crash", "faults", "exhaust", "iofail", "torn"], &["transfers"]),
    caught(Bug::ReuseUid, &["crash", "faults", "exhaust", "rot", "torn"], &["transfers"]),
    caught(Bug::TruncateAtDamage, &["rot", "torn"], &[]),
    caught(Bug::RetrySync, &["faults", "iofail"], &[]),
    caught(Bug::IgnoreShortWrite, &["faults", "iofail"], &[]),
    caught(Bug::LoseMoveSource, &["crash", "faults", "exhaust", "rot", "torn"], &[]),
    caught(Bug::KeepEpoch, &["crash", "faults", "exhaust", "iofail", "torn"], &[]),
    caught(Bug::DropReference, &["crash"], &["faults", "exhaust", "rot", "torn"]),
    caught(Bug::ReceiveTwice, &["transfers"], &[]),
    caught(Bug::ShowDecided, &["crash", "faults", "iofail"], &["transfers", "torn"]),
    caught(Bug::ForgetWatermark, &["transfers"], &[]),
    caught(Bug::SkipSegmentHeader, &["crash", "faults", "exhaust", "iofail"], &["transfers", "rot", "torn"]),
    caught(Bug::SkipVerify, &["rot", "torn"], &[]),
    caught(Bug::UidvalidityOfClock, &["crash", "faults", "exhaust", "rot", "torn"], &["iofail"]),
    caught(Bug::TrustUnsynced, &["crash", "faults", "iofail"], &["transfers"]),
    caught(Bug::SkipBodies, &["crash", "faults", "exhaust", "iofail", "torn"], &["transfers"]),
    caught(Bug::ForgetGap, &["rot"], &[]),
    caught(Bug::BreakChain, &["crash", "faults", "torn"], &["exhaust", "iofail", "rot", "transfers"]),
    caught(Bug::KeepModseq, &["crash", "iofail"], &["faults", "exhaust", "rot", "torn"]),
    caught(Bug::IgnoreError, &["faults", "iofail"], &[]),
    caught(Bug::KeepQuota, &["crash", "exhaust"], &["faults", "iofail", "torn", "transfers"]),
    caught(Bug::WrongIncarnation, &["crash"], &["faults", "exhaust", "rot"]),
    caught(Bug::CheckpointUnsynced, &["crash", "exhaust"], &["faults", "iofail", "torn"]),
    caught(Bug::RetireEarly, &["crash"], &["faults"]),
    caught(Bug::ForgetMark, &["crash", "exhaust", "transfers"], &["faults", "iofail", "rot", "torn"]),
    caught(Bug::FoldDropsNewest, &["crash", "exhaust", "iofail", "rot", "torn", "transfers"], &["faults"]),
    caught(Bug::ForgetForward, &["crash", "exhaust"], &["faults", "rot", "torn"]),
    caught(Bug::VouchEarly, &["crash", "iofail", "rot", "transfers"], &["faults", "exhaust", "torn"]),
];

/// One row of what was measured.
struct Row {
    /// `None`: there was no mistake.
    bug: Option<Bug>,
    check: &'static str,
    /// What it found, with which seed.
    found: Option<run::Finding>,
    seeds: u64,
    seconds: f64,
}

fn check(name: &str) -> &'static Check {
    CHECKS.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("{name} is no check"))
}

/// Seeds from 0 on, until one finds something.
fn look(check: &'static Check, bug: Option<Bug>, seeds: u64) -> Row {
    let begun = Instant::now();
    let images = Images::default();
    bugs::switch(bug);
    let found = (0..seeds).find_map(|seed| run::one(seed, |seed| (check.trial)(&images, seed)).err());
    bugs::switch(None);
    let seeds = found.as_ref().map_or(seeds, |found| found.seed + 1);
    Row { bug, check: check.name, found, seeds, seconds: begun.elapsed().as_secs_f64() }
}

/// All that is to be looked at for one mistake (or none); what is not as the table says.
fn examine(caught: &Caught, times: u64) -> (Vec<Row>, Vec<String>) {
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for check in CHECKS {
        let (by, also) = (caught.by.contains(&check.name), caught.also.contains(&check.name));
        if also && times == 1 {
            continue;
        }
        let seeds = if by { check.find } else { check.pass * times };
        let row = look(check, caught.bug, seeds);
        let (check, name) = (check.name, row.name());
        match &row.found {
            None if by => wrong.push(format!("{check} does not find {name} in {seeds} seeds")),
            Some(run::Finding { seed, why }) if !by && !also => {
                wrong.push(format!("{check} is not to find {name}, and seed {seed} does: {why}"));
            }
            _ => {}
        }
        rows.push(row);
    }
    (rows, wrong)
}

#[test]
fn each_mistake_where_no_campaign_goes_is_found_by_its_story() {
    for (bug, story) in STORIES {
        let begun = Instant::now();
        story();
        bugs::switch(Some(*bug));
        let found = std::panic::catch_unwind(story).is_err();
        bugs::switch(None);
        println!(
            "{}\tstory\t{}\t1\t{:.2}",
            bug.name(),
            if found { "found" } else { "passes" },
            begun.elapsed().as_secs_f64()
        );
        assert!(found, "its story is true with {}", bug.name());
    }
}

#[test]
fn each_mistake_is_caught_by_name_and_passes_the_other_checks() {
    for caught in TABLE {
        caught.by.iter().chain(caught.also).for_each(|name| assert_eq!(check(name).name, *name));
        assert!(!caught.by.is_empty(), "somebody has to find {:?}", caught.bug);
    }
    let by_campaigns = |bug: &Bug| TABLE.iter().filter(|caught| caught.bug == Some(*bug)).count();
    let by_stories = |bug: &Bug| STORIES.iter().filter(|(of, _)| of == bug).count();
    let listed = |bug: &Bug| by_campaigns(bug) + by_stories(bug) == 1;
    assert!(Bug::ALL.iter().all(listed), "each mistake is in one table once");
    // Thousands of panics are caught here.
    std::panic::set_hook(Box::new(|_| {}));
    let times = std::env::var("RINGPOST_BUGS_TIMES").map_or(1, |n| n.parse().expect("a number of times"));
    let only = std::env::var("RINGPOST_BUGS_ONLY").unwrap_or_default();
    let is_wanted = |caught: &&Caught| only.is_empty() || only.split(',').any(|name| name == name_of(caught.bug));
    let wanted: Vec<&Caught> = std::iter::once(&WELL).chain(TABLE).filter(is_wanted).collect();
    let done = Mutex::new((BTreeMap::new(), Vec::new()));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(caught) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (rows, wrong) = examine(caught, times);
                    let lines: String = rows.iter().map(Row::line).collect();
                    print!("{lines}");
                    let mut done = done.lock().expect("nobody panics with it");
                    done.0.insert(name_of(caught.bug), rows);
                    done.1.extend(wrong);
                }
            });
        }
    });
    drop(std::panic::take_hook());
    let (rows, wrong) = done.into_inner().expect("nobody panics with it");
    if let Ok(path) = std::env::var("RINGPOST_BUGS_TSV") {
        let mut out = "mistake\tcheck\tverdict\tseeds\tseconds\n".to_owned();
        rows.values().flatten().for_each(|row| out += &row.line());
        std::fs::write(&path, out).unwrap_or_else(|why| panic!("{path}: {why}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn name_of(bug: Option<Bug>) -> &'static str {
    bug.map_or("none", Bug::name)
}

impl Row {
    fn name(&self) -> &'static str {
        name_of(self.bug)
    }

    fn line(&self) -> String {
        let verdict = if self.found.is_some() { "found" } else { "passes" };
        format!("{}\t{}\t{verdict}\t{}\t{:.2}\n", self.name(), self.check, self.seeds, self.seconds)
    }
}
