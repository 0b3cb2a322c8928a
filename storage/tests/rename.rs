//! Old places are named anew, and forgotten: what moved is found by them until then, and never needed after.
#![cfg(feature = "sim")]

mod support;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ringpost_storage::sim::{Fault, OpKind, SimDisk, When};
use ringpost_storage::{
    AccountId, Body, Compacted, Op, Outcome, ReadError, Reader, Refused, Settings, Target, Transaction,
};
use support::*;

#[test]
fn old_places_are_forgotten_however_often_a_letter_moves() {
    let facts = ringpost_storage::Create { segment_bytes: 1 << 20, ..facts() };
    let disk = made_with(&facts);
    let mut v = open(&disk);
    let mut chance = SmallRng::seed_from_u64(8);
    let (stays, goes) = (v.account("stays@x"), v.account("goes@x"));
    // Each moves with every segment that it lies in; one of them is large, and one has a copy.
    for n in 0..20u64 {
        v.deliver(stays, &text(1_000, n));
    }
    v.deliver(stays, &text(600 << 10, 99));
    let held = block_on(v.volume.load(stays)).unwrap();
    let made = v.done(Op::CreateMailbox { account: stays, name: "Copies".into(), special_use: 0, subscribed: true });
    let Outcome::Mailbox(copies, _) = made else { panic!("{made:?}") };
    v.done(Op::Copy { account: stays, from: INBOX, uids: vec![3, 21], to: Target::Mailbox(copies) });
    drop(held);
    v.held.clear();
    let before = shown(&v);
    let mut most = 0;
    for round in 0..120u64 {
        let uids =
            (0..30).map(|n| v.deliver(goes, &text(chance.random_range(10_000..90_000), round * 100 + n))).collect();
        expunge(&mut v, goes, INBOX, uids);
        v.held.clear();
        let volume = v.volume.clone();
        v.tasks.spawn(async move {
            for _ in 0..3 {
                volume.compact(&Keen).await;
            }
        });
        v.tasks.settle();
        most = most.max(v.volume.stats().forwards);
        if round % 40 == 39 {
            assert!(v.volume.stats().forgets >= 3, "{:?}", v.volume.stats());
            v.close();
            v = open(&disk);
            v.held.clear();
            assert_eq!(shown(&v), before);
        }
    }
    // 22 records, 21 bodies, pieces and list of the large one: each has a name too many or two.
    assert!((10..250).contains(&most), "{most} old places");
    assert_eq!(shown(&v), before);
    // Also who reads the whole log, from which forwards have gone, finds everything.
    v.close();
    let whole = Settings { checkpoint_bytes: 0, ..support::settings() };
    let v = try_open_with(&disk, whole).unwrap();
    assert_eq!((v.recovered.lost_batches, &v.recovered.damaged), (0, &vec![]));
    assert_eq!(shown(&v), before);
}

/// Letters that come and go, and a round of compaction.
fn turn_over(v: &mut Open, goes: AccountId, round: u64) -> Compacted {
    let uids = (0..6).map(|n| v.deliver(goes, &text(3_000, 1_000 + round * 6 + n))).collect();
    expunge(v, goes, INBOX, uids);
    v.held.clear();
    compact(v, Keen)
}

/// A volume with many accounts of one letter each, and one whose letters come and go.
fn many(disk: &SimDisk) -> (Open, AccountId) {
    let mut v = open(disk);
    let goes = v.account("goes@x");
    for n in 0..500 {
        let who = v.account(&format!("p{n}@x"));
        assert_eq!(v.deliver(who, &text(300, n)), 1);
    }
    v.held.clear();
    (v, goes)
}

#[test]
fn segments_are_compacted_while_old_places_of_many_accounts_are_named_anew() {
    let disk = made();
    let (mut v, goes) = many(&disk);
    let before = shown(&v);
    let (mut most, mut compacted) = (0, 0);
    for round in 0..400u64 {
        let folds = v.volume.stats().folds;
        compacted += u32::from(matches!(turn_over(&mut v, goes, round), Compacted::Segment { .. }));
        most = most.max(v.volume.stats().folds - folds);
        if round % 16 == 5 {
            assert!(shown(&open(&disk.fork_crashed(round))) == before, "a cut in between");
        }
        if v.volume.stats().forgets > 0 {
            break;
        }
    }
    assert_eq!(v.volume.stats().forgets, 1);
    // Those who have something in one segment, and 64 that are named anew.
    assert!((1..300).contains(&most) && compacted > 8, "{most} accounts in one round, {compacted} rounds");
    assert_eq!(shown(&v), before);
    v.close();
    assert_eq!(shown(&open(&disk)), before);
}

#[test]
fn a055_naming_old_places_anew_leaves_the_reserve_to_those_who_make_room() {
    let disk = made();
    let (mut v, goes) = many(&disk);
    for round in 0..400 {
        if v.volume.stats().forwards > 16 {
            break;
        }
        turn_over(&mut v, goes, round);
    }
    compact_all(&mut v);
    // It is marked from where on, and then there is no room for it, nor anything that would make some.
    compact(&mut v, Keen);
    disk.fail(OpKind::Create, Fault::NoSpace, When::From(1));
    let keeps = v.account("keeps@x");
    let full = (0..400).any(|n| {
        let decided = v.decide(letter(keeps, &text(5_000, n)));
        v.tasks.settle();
        decided.err() == Some(Refused::DiskFull)
    });
    assert!(full);
    // A backup holds all segments: what is written now is written to name old places anew.
    let marked = v.volume.mark();
    let before = v.volume.stats();
    for _ in 0..10 {
        compact(&mut v, Calm);
    }
    let after = v.volume.stats();
    assert_eq!((after.reserves_lent, after.forgets), (before.reserves_lent, 0));
    assert!(after.written_bytes - before.written_bytes < SEGMENT / 8, "{before:?} {after:?}");
    // It is made up for when there is room.
    drop(marked);
    disk.heal();
    for _ in 0..60 {
        v.volume.heartbeat();
        let _ = v.volume.has_room(1, NOW_MS + 100_000);
        compact(&mut v, Keen);
        drop(v.volume.decide(letter(keeps, &text(5_000, 0)), NOW_MS + 200_000));
        v.tasks.settle();
    }
    assert!(v.volume.stats().forgets > 0);
}

/// Somebody reads a large message, a piece at a time, and meanwhile everything moves and old places are forgotten.
#[test]
fn who_reads_very_slowly_looks_a_message_up_again_and_reads_on() {
    let facts = ringpost_storage::Create { segment_bytes: 1 << 20, ..facts() };
    let disk = made_with(&facts);
    let mut v = open(&disk);
    let (alice, goes) = (v.account("a@x"), v.account("goes@x"));
    let body = text(900 << 10, 7);
    v.commit(Transaction { bodies: vec![Body::from(body.clone())], ops: vec![append(alice, 0)] });
    v.held.clear();
    let look = |v: &Open| {
        let loaded = block_on(v.volume.load(alice)).unwrap().unwrap();
        Reader::new(loaded.mailbox(INBOX, |m| m.by_uid(1).cloned()).flatten().unwrap())
    };
    let (mut reader, mut whole, mut gone) = (look(&v), Vec::new(), 0);
    for round in 0..400u64 {
        match block_on(v.volume.read_on(&mut reader, whole.len() as u64)) {
            Ok(octets) if octets.is_empty() => break,
            Ok(octets) => whole.extend(octets),
            Err(ReadError::Gone) => {
                gone += 1;
                reader = look(&v);
                continue;
            }
            Err(other) => panic!("{other:?}"),
        }
        // Each piece takes until everything has moved, and was forgotten twice.
        let until = v.volume.stats().forgets + 2;
        for turn in 0..400 {
            let uids = (0..10).map(|n| v.deliver(goes, &text(60_000, round * 4_000 + turn * 10 + n))).collect();
            expunge(&mut v, goes, INBOX, uids);
            v.held.clear();
            compact(&mut v, Keen);
            if v.volume.stats().forgets >= until {
                break;
            }
        }
    }
    assert!(whole == prefixed(alice, &body), "{} octets", whole.len());
    assert!(gone >= 3, "{gone}");
}
