//! Compaction: what lives moves on, space comes back, and nobody reads anything else than before.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ringpost_storage::sim::SimDisk;
use ringpost_storage::sim::campaign::house::{self, Chance};
use ringpost_storage::{AccountId, Body, Compacted, Flags, Op, Outcome, Pace, ReadError, Target, Transaction, Uid};
use support::*;

/// Lets others have a few turns.
struct Slow(Chance);

impl Pace for Slow {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    async fn rest(&self, _: u64) {
        let rest = self.0.borrow_mut().random_range(0..3);
        turns(rest).await;
    }
}

/// Segments there are. (The files of those that are gone are kept for a while, to be used again.)
fn segments(v: &Open) -> u64 {
    v.volume.space().segments
}

#[test]
fn what_lives_is_read_as_before_and_space_comes_back() {
    let disk = made();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    for n in 0..120u8 {
        let who = if n % 3 == 0 { bob } else { alice };
        v.deliver(who, &text(3_000, u64::from(n)));
    }
    v.held.clear();
    expunge(&mut v, alice, INBOX, (1..=80).filter(|uid| uid % 4 != 0).collect());
    let before = shown(&v);
    let full = segments(&v);
    let gone = compact_all(&mut v);
    assert!(gone.len() >= 3, "{gone:?}");
    assert_eq!(shown(&v), before);
    assert!(segments(&v) < full, "{} of {full}", segments(&v));
    v.close();
    let v = open(&disk);
    assert_eq!((v.recovered.lost_batches, &v.recovered.damaged), (0, &vec![]));
    assert_eq!(shown(&v), before);
}

/// A volume of which much is dead, as it is compacted on a slow disk; wherever a completion changes what a cut could leave,
/// some of what could be left is opened, held against what was there, and compacted further.
fn cut_while_compacting(seed: u64) -> (u32, u64) {
    let disk = made();
    let mut v = open(&disk);
    let chance: Chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    v.done(Op::PutDomain { name: "x".into(), info: b"1".to_vec() });
    for n in 0..50u64 {
        let who = if chance.borrow_mut().random() { alice } else { bob };
        let len = chance.borrow_mut().random_range(100..5_000);
        v.deliver(who, &text(len, n));
    }
    v.held.clear();
    for who in [alice, bob] {
        let going = (1..40).filter(|_| chance.borrow_mut().random_ratio(3, 5)).collect();
        expunge(&mut v, who, INBOX, going);
    }
    let before = shown(&v);
    let volume = v.volume.clone();
    let pace = Slow(chance.clone());
    v.tasks.spawn(async move { while let Compacted::Segment { .. } = volume.compact(&pace).await {} });
    house::slow(&disk, &chance);
    let (mut seen, mut judged) = (disk.changes(), 0);
    while v.tasks.turn() {
        if std::mem::replace(&mut seen, disk.changes()) == disk.changes() {
            continue;
        }
        let draw: u64 = chance.borrow_mut().random();
        let left = if draw.is_multiple_of(8) { disk.fork_killed(draw) } else { disk.fork_crashed(draw) };
        let mut after = open(&left);
        assert_eq!((after.recovered.lost_batches, &after.recovered.damaged), (0, &vec![]), "seed {seed}");
        assert_eq!(after.volume.stats().orphan_records, 0, "seed {seed}");
        assert!(shown(&after) == before, "seed {seed}: neither lost nor changed");
        judged += 1;
        if draw.is_multiple_of(4) {
            after.held.clear();
            compact_all(&mut after);
            assert!(shown(&after) == before, "seed {seed}: after it went on");
            assert!(shown(&open(&left.crash())) == before, "seed {seed}: and was cut again");
            judged += 2;
        }
    }
    (judged, v.volume.stats().compacted_segments)
}

#[test]
fn a_cut_at_any_step_of_a_compaction_loses_nothing() {
    let (mut judged, mut gone) = (0, 0);
    for seed in 0..8 {
        let (more, segments) = cut_while_compacting(seed);
        judged += more;
        gone += segments;
    }
    assert!(judged > 400 && gone > 8, "{judged} judged, {gone} segments");
}

#[test]
fn space_stays_bounded_however_long_letters_come_and_go() {
    let disk = made();
    let mut v = open(&disk);
    let mut chance = SmallRng::seed_from_u64(5);
    let accounts: Vec<AccountId> = (0..5).map(|n| v.account(&format!("p{n}@x"))).collect();
    let mut there: Vec<(AccountId, Uid, Vec<u8>)> = Vec::new();
    for n in 0..1_500u64 {
        let who = accounts[chance.random_range(0..5)];
        let body = text(chance.random_range(200..3_000), n);
        let uid = v.deliver(who, &body);
        there.push((who, uid, prefixed(who, &body)));
        if there.len() > 100 {
            let (who, uid, _) = there.swap_remove(chance.random_range(0..there.len()));
            v.held.clear();
            expunge(&mut v, who, INBOX, vec![uid]);
        }
        if n % 20 == 0 {
            compact_all(&mut v);
            // A hundred letters of 1,600 octets are three segments.
            assert!(segments(&v) <= 12, "{} segments after {n} letters", segments(&v));
        }
        if n % 500 == 499 {
            v.close();
            v = open(&disk);
            v.held.clear();
        }
    }
    let found = shown(&v);
    let expected: Shown = there.into_iter().map(|(who, uid, text)| ((who, INBOX, uid), text)).collect();
    assert!(found == expected, "what is there reads as it was sent");
}

#[test]
fn a_copy_s_prefix_and_body_outlive_its_original() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let held = block_on(v.volume.load(alice)).unwrap();
    let made = v.done(Op::CreateMailbox { account: alice, name: "Kept".into(), special_use: 0, subscribed: true });
    let Outcome::Mailbox(kept, _) = made else { panic!("{made:?}") };
    for n in 0..60u8 {
        let uid = v.deliver(alice, &text(3_000, u64::from(n)));
        if n % 5 == 0 {
            v.done(Op::Copy { account: alice, from: INBOX, uids: vec![uid], to: Target::Mailbox(kept) });
        }
    }
    drop(held);
    expunge(&mut v, alice, INBOX, (1..=60).collect());
    let before = shown(&v);
    assert_eq!(before.len(), 12);
    assert!(compact_all(&mut v).len() >= 2);
    assert_eq!(shown(&v), before);
    // And once more, from where they are now.
    for n in 0..60u8 {
        v.deliver(alice, &text(3_000, 100 + u64::from(n)));
    }
    let last = segments(&v);
    expunge(&mut v, alice, INBOX, (61..=120).collect());
    compact_all(&mut v);
    assert!(segments(&v) < last);
    v.close();
    assert_eq!(shown(&open(&disk)), before);
}

#[test]
pub fn large_bodies_move_piece_by_piece_and_go_when_nobody_has_them() {
    let facts = ringpost_storage::Create { segment_bytes: 1 << 20, ..facts() };
    let disk = made_with(&facts);
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let large = |seed: u64| text(600 << 10, seed);
    for n in 0..8 {
        let body = Body::from(large(n));
        v.commit(Transaction { bodies: vec![body], ops: vec![append(alice, 0)] });
    }
    v.held.clear();
    expunge(&mut v, alice, INBOX, vec![1, 2, 4, 5, 7]);
    let before = shown(&v);
    let full = segments(&v);
    assert!(compact_all(&mut v).len() >= 3);
    assert_eq!(shown(&v), before);
    assert!(segments(&v) < full);
    assert!(v.volume.space().live_bytes < 4 * (600 << 10), "{:?}", v.volume.space());
    v.close();
    let mut v = open(&disk);
    assert_eq!(shown(&v), before);
    v.held.clear();
    expunge(&mut v, alice, INBOX, vec![3, 6, 8]);
    compact_all(&mut v);
    assert!(v.volume.space().live_bytes < 64 << 10, "{:?}", v.volume.space());
}

#[test]
fn who_has_gone_does_not_come_back_when_the_log_is_read_without_the_segment_that_said_so() {
    let disk = made();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    v.done(Op::PutDomain { name: "gone.test".into(), info: b"1".to_vec() });
    v.done(Op::PutDomain { name: "kept.test".into(), info: b"1".to_vec() });
    for n in 0..20u8 {
        v.deliver(bob, &text(2_500, u64::from(n)));
    }
    let _held = block_on(v.volume.load(alice)).unwrap();
    let first = segments(&v);
    // The first segment lives on; what happens now lies in the second and third, and those go.
    v.done(Op::RemoveAccount { account: alice });
    v.done(Op::RemoveDomain { name: "gone.test".into() });
    v.done(Op::PutDomain { name: "kept.test".into(), info: b"2".to_vec() });
    for n in 0..60u8 {
        let uid = v.deliver(bob, &text(2_500, u64::from(n)));
        v.held.clear();
        expunge(&mut v, bob, INBOX, vec![uid]);
    }
    let before = shown(&v);
    assert!(segments(&v) > first);
    assert!(!compact_all(&mut v).is_empty());
    v.close();
    let v = open(&disk);
    assert_eq!((v.volume.account_named("a@x"), v.volume.account_ids()), (None, vec![bob]));
    assert_eq!(
        v.volume.domains().iter().map(|(n, i)| (&n[..], i.to_vec())).collect::<Vec<_>>(),
        [("kept.test", b"2".to_vec())]
    );
    assert_eq!(shown(&v), before);
}

#[test]
fn a_body_that_does_not_verify_stays_where_it_is_and_its_segment_with_it() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 0..40u8 {
        v.deliver(alice, &text(3_000, u64::from(n)));
    }
    v.held.clear();
    expunge(&mut v, alice, INBOX, (2..=15).collect());
    let body = text(3_000, 0);
    v.close();
    spoil(&disk, FIRST, |bytes| {
        let at = find(bytes, &body[..64]);
        bytes[at + 1_000] ^= 1;
    });
    let mut v = open(&disk);
    v.held.clear();
    let done = compact(&mut v, Calm);
    assert_eq!(done, Compacted::Stuck(1, ringpost_storage::Stuck::Damaged));
    assert!(!compact_all(&mut v).contains(&1));
    assert!(matches!(v.text(alice, 1), Err(ringpost_storage::ReadError::Damaged)));
    v.close();
    let v = open(&disk);
    assert!(matches!(v.text(alice, 1), Err(ringpost_storage::ReadError::Damaged)), "reported, not dropped");
    assert!(v.text(alice, 20).is_ok());
}

#[test]
fn flags_and_names_are_as_before_also_of_an_account_that_nobody_has_touched_for_long() {
    let disk = made();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    let held = block_on(v.volume.load(alice)).unwrap().unwrap();
    v.done(Op::CreateMailbox { account: alice, name: "Entwürfe".into(), special_use: 0, subscribed: true });
    v.deliver(alice, &text(1_000, 1));
    v.deliver(alice, &text(1_000, 2));
    v.done(store(alice, &[2], ringpost_storage::FlagsHow::Replace, Flags::of(Flags::SEEN)));
    let look = |loaded: &ringpost_storage::Loaded<SimDisk>| {
        let flags: Vec<_> =
            loaded.mailbox(INBOX, |m| m.messages().iter().map(|m| (m.flags(), m.modseq)).collect()).unwrap();
        (format!("{:?}", loaded.mailboxes()), loaded.subscriptions(), flags, loaded.mailbox(INBOX, |m| m.uidnext()))
    };
    let before = look(&held);
    drop(held);
    v.held.clear();
    for n in 0..80u8 {
        let uid = v.deliver(bob, &text(3_000, u64::from(n)));
        expunge(&mut v, bob, INBOX, vec![uid]);
    }
    assert!(compact_all(&mut v).contains(&1), "its records were there");
    v.close();
    let v = open(&disk);
    assert_eq!(look(&block_on(v.volume.load(alice)).unwrap().unwrap()), before);
    assert_eq!(v.volume.account_named("a@x"), Some(alice));
}

#[test]
fn an_account_whose_newest_root_rots_is_not_shown_without_what_was_compacted_behind_an_older_one() {
    let disk = made();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    for n in 0..18u8 {
        v.deliver(if n < 3 { alice } else { bob }, &text(2_500, u64::from(n)));
    }
    assert!(fold(&mut v, alice));
    // The first segment lives on, with that root; the letters that follow lie in one that goes.
    v.deliver(bob, &text(9_000, 20));
    for n in 21..24u8 {
        v.deliver(alice, &text(2_500, u64::from(n)));
    }
    for n in 0..60u8 {
        let uid = v.deliver(bob, &text(2_500, u64::from(n)));
        v.held.clear();
        expunge(&mut v, bob, INBOX, vec![uid]);
    }
    let gone = compact_all(&mut v);
    assert!(gone.contains(&2) && !gone.contains(&1), "{gone:?}");
    v.close();
    let v = open(&disk);
    assert_eq!(v.uids(alice), [1, 2, 3, 4, 5, 6]);
    v.close();
    let (older, newer): (Vec<_>, Vec<_>) = rows(&disk, alice).into_iter().partition(|(name, _)| name == FIRST);
    assert!(!older.is_empty() && !newer.is_empty(), "{older:?} {newer:?}");
    newer.iter().for_each(|(name, at)| spoil(&disk, name, |bytes| bytes[at + 40] ^= 1));
    let v = open(&disk);
    assert!(
        matches!(block_on(v.volume.load(alice)), Err(ReadError::Damaged)),
        "it has six letters: {:?}",
        v.uids(alice)
    );
}

fn fold(v: &mut Open, account: AccountId) -> bool {
    let told = Rc::new(RefCell::new(false));
    let (tell, volume) = (told.clone(), v.volume.clone());
    v.tasks.spawn(async move { *tell.borrow_mut() = volume.fold(account).await.unwrap() });
    v.tasks.settle();
    told.take()
}

/// Where runs of rows of an account begin, those included that nobody uses any more.
fn rows(disk: &SimDisk, account: AccountId) -> Vec<(String, usize)> {
    let mut all = Vec::new();
    for (name, _) in disk.files().into_iter().filter(|(name, _)| name.starts_with("segment-")) {
        let bytes = disk.peek(&name).unwrap();
        let is_run =
            |at: &usize| bytes[*at..].starts_with(b"RPr\n") && bytes[at + 8..at + 16] == account.0.to_le_bytes();
        all.extend((0..bytes.len() - 16).filter(is_run).map(|at| (name.clone(), at)));
    }
    all
}
