//! What is counted, and what is not.

use super::*;

const HERE: u128 = 1;
const ALICE: &str = "alice@ringpost.test";
const CAROL: &str = "carol@ringpost.test";

fn at(second: u64) -> Moment {
    Moment(second * 1_000_000_000)
}

/// All that one shard does for an attempt where it is the home of both. `Some`: it may be looked at.
fn begin(attempts: &Attempts, now: Moment, address: u128, exempt: bool, name: &str) -> Option<Duration> {
    let Begun::Yes { friend, failures } = attempts.begin_at(now, address, exempt, name, true) else { return None };
    if attempts.begin_as(now, name, friend, true) == Begun::TooMany {
        attempts.end_at(now, address, exempt, name, false);
        return None;
    }
    Some(delay(failures))
}

fn fail(attempts: &Attempts, now: Moment, address: u128, name: &str) -> Option<u64> {
    begin(attempts, now, address, false, name).map(|delay| delay.as_secs())
}

fn may_try(attempts: &Attempts, now: Moment, address: u128, name: &str) -> bool {
    match attempts.begin_at(now, address, false, name, false) {
        Begun::Yes { friend, .. } => attempts.begin_as(now, name, friend, false) != Begun::TooMany,
        Begun::TooMany => false,
    }
}

fn succeed(attempts: &Attempts, now: Moment, address: u128, name: &str) {
    assert!(begin(attempts, now, address, false, name).is_some());
    attempts.end_at(now, address, false, name, true);
    attempts.end_as(now, name);
}

#[test]
fn a020_answers_take_longer_and_a_success_forgets() {
    let attempts = Attempts::with_seed(7);
    let delays: Vec<_> = (0..6).filter_map(|s| fail(&attempts, at(s), HERE, ALICE)).collect();
    assert_eq!(delays, [2, 4, 8, 15, 15, 15]);
    assert_eq!(fail(&attempts, at(6), HERE, "bob@ringpost.test"), Some(2), "of this name alone");
    succeed(&attempts, at(7), HERE, ALICE);
    assert_eq!(fail(&attempts, at(8), HERE, ALICE), Some(2));
}

#[test]
fn a020_an_address_is_told_to_come_back_and_may_a_minute_later() {
    let attempts = Attempts::with_seed(7);
    for n in 0..ADDRESS_FAILURES_MAX - 1 {
        assert!(fail(&attempts, at(0), HERE, &format!("user{n}@ringpost.test")).is_some(), "{n}");
    }
    succeed(&attempts, at(0), HERE, ALICE);
    assert!(fail(&attempts, at(0), HERE, "last@ringpost.test").is_some(), "a success takes no part of it");
    assert!(may_try(&attempts, at(1), HERE, ALICE), "who logged in from here is let in, whatever others do");
    assert!(!may_try(&attempts, at(59), HERE, CAROL), "whoever has one account does not forget for all");
    assert!(may_try(&attempts, at(0), HERE + 1, CAROL), "another address");
    assert!(fail(&attempts, at(60), HERE, CAROL).is_some());
    assert!(!may_try(&attempts, at(61), HERE, CAROL) && may_try(&attempts, at(120), HERE, CAROL));
    assert!(may_try(&attempts, at(u64::from(u32::MAX) * 2), HERE, ALICE));
}

#[test]
fn a020_many_at_once_are_no_more_than_one_after_another() {
    let attempts = Attempts::with_seed(7);
    let looked_at = (0..1_000).filter(|_| fail(&attempts, at(0), HERE, ALICE).is_some()).count();
    assert_eq!(looked_at, ADDRESS_FAILURES_MAX as usize);
    // Those that were not looked at in the end are given back.
    for _ in 0..looked_at {
        attempts.end_at(at(1), HERE, false, ALICE, false);
        attempts.end_as(at(1), ALICE);
    }
    assert_eq!(fail(&attempts, at(2), HERE, ALICE), Some(2));
}

#[test]
fn whoever_has_logged_in_is_let_in_while_others_try_his_name() {
    let attempts = Attempts::with_seed(7);
    succeed(&attempts, at(0), HERE, ALICE);
    for n in 0..NAME_FAILURES_MAX {
        assert!(fail(&attempts, at(1), u128::from(n) + 100, ALICE).is_some(), "{n}");
    }
    assert!(may_try(&attempts, at(1), HERE, ALICE));
    assert!(!may_try(&attempts, at(1), HERE + 1, ALICE));
    assert!(may_try(&attempts, at(21), HERE + 1, ALICE), "never for good");
    assert!(may_try(&attempts, at(1), HERE + 1, "bob@ringpost.test"));
}

#[test]
fn from_where_a_name_has_logged_in_it_is_not_guessed_for_ever_either() {
    let attempts = Attempts::with_seed(7);
    succeed(&attempts, at(0), HERE, ALICE);
    let looked_at = (0..1_000).filter(|_| fail(&attempts, at(1), HERE, ALICE).is_some()).count();
    assert_eq!(looked_at, PAIR_FAILURES_MAX as usize);
    assert!(!may_try(&attempts, at(2), HERE, ALICE));
    assert!(may_try(&attempts, at(61), HERE, ALICE), "never for good");
}

#[test]
fn exempt_networks_have_no_bound_of_their_own_but_names_have_theirs() {
    let attempts = Attempts::with_seed(7);
    for n in 0..ADDRESS_FAILURES_MAX * 10 {
        assert!(begin(&attempts, at(0), HERE, true, &format!("user{n}@ringpost.test")).is_some());
    }
    let tries =
        |name: &str, from: u128| (0..1_000).filter(|_| begin(&attempts, at(0), from, true, name).is_some()).count();
    assert_eq!(tries(ALICE, HERE), PAIR_FAILURES_MAX as usize, "of one name from one address");
    assert_eq!(tries(ALICE, HERE + 1), (NAME_FAILURES_MAX - PAIR_FAILURES_MAX) as usize, "of one name");
    assert!(begin(&attempts, at(60), HERE, true, ALICE).is_some(), "never for good");
}

#[test]
fn the_table_stays_as_large_as_it_is_and_keeps_who_tries_most() {
    let attempts = Attempts::with_seed(7);
    for n in 0..ADDRESS_FAILURES_MAX {
        assert!(fail(&attempts, at(0), HERE, &format!("user{n}")).is_some());
    }
    for n in 0..100_000 {
        let _ = fail(&attempts, at(0), 1_000 + n, "x");
    }
    assert_eq!(attempts.slots.borrow().len(), SETS * WAYS);
    assert!(!may_try(&attempts, at(0), HERE, ALICE));
}

#[test]
fn who_tried_long_ago_keeps_no_place_from_who_tries_now() {
    let attempts = Attempts::with_seed(7);
    for n in 0..20_000 {
        for _ in 0..10 {
            let _ = attempts.begin_at(at(0), 1_000 + n, false, "x", true);
        }
    }
    // All of that has leaked away.
    assert_eq!((fail(&attempts, at(4_000), HERE, ALICE), fail(&attempts, at(4_000), HERE, ALICE)), (Some(2), Some(4)));
    for n in 0..40_000 {
        let _ = attempts.begin_at(at(4_001), 100_000 + n, false, "x", true);
    }
    assert_eq!(fail(&attempts, at(4_002), HERE, ALICE), Some(8), "others who try once do not make it forgotten");
}
