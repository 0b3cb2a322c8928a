//! The reserve: what makes room goes on when the disk has none, and nobody has to be restarted when it comes back.
#![cfg(feature = "sim")]

mod support;

use std::cell::Cell;
use std::rc::Rc;

use ringpost_storage::backup::RESERVE;
use ringpost_storage::disk::Disk;
use ringpost_storage::sim::{Fault, OpKind, SimDisk, When};
use ringpost_storage::{AccountId, Compacted, Flags, FlagsHow, Op, Outcome, Refused, Settings, Transaction};
use support::*;

fn has_reserve(disk: &SimDisk) -> bool {
    disk.files().iter().any(|(name, len)| name == RESERVE && *len == SEGMENT as usize)
}

/// Letters until there is room for none; how many.
fn fill(v: &mut Open, account: AccountId) -> u32 {
    let mut delivered = 0;
    for n in 0..40 {
        let Ok(decided) = v.volume.decide(letter(account, &text(5_000, n)), NOW_MS) else { continue };
        v.tasks.settle();
        delivered += u32::from(block_on(decided.ticket).is_ok());
    }
    assert_eq!(v.volume.decide(letter(account, &text(5_000, 0)), NOW_MS).err(), Some(Refused::DiskFull));
    delivered
}

/// Changes flags until the log goes on in the reserve.
fn until_lent(v: &mut Open, account: AccountId) {
    for n in 0..2_000 {
        if v.volume.stats().reserves_lent > 0 {
            return;
        }
        let how = if n % 2 == 0 { FlagsHow::Add } else { FlagsHow::Remove };
        v.done(store(account, &[1, 2, 3], how, Flags::of(Flags::SEEN)));
    }
    panic!("it is never lent");
}

fn expunge(account: AccountId, uid: u32) -> Op {
    Op::Expunge { account, mailbox: INBOX, uids: vec![uid] }
}

#[test]
pub fn a055_what_makes_room_goes_on_in_the_reserve_and_appends_wait_for_the_next_one() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    assert!(has_reserve(&disk));
    // A quota or a want of inodes: the file system says that there is room, and there is none.
    disk.fail(OpKind::Create, Fault::NoSpace, When::From(1));
    let delivered = fill(&mut v, alice);
    assert!(delivered > 8 && v.volume.stats().reserves_lent == 0, "appends do not get it");
    until_lent(&mut v, alice);
    assert!(!has_reserve(&disk) && v.volume.stats().reserve_missing);
    assert!(matches!(v.done(expunge(alice, 2)), Outcome::Expunged(uids, _) if uids == [2]));
    assert!(v.text(alice, 1).is_ok(), "what is there is read");
    for seconds in [1, 10, 100] {
        let now = NOW_MS + seconds * 1_000;
        assert!(!v.volume.has_room(0, now));
        let small = v.volume.decide(letter(alice, b"x"), now).err();
        assert_eq!(small, Some(Refused::DiskFull), "what is left of it belongs to those who make room");
        v.volume.heartbeat();
        v.tasks.settle();
        assert!(v.volume.stats().full);
    }
    assert!(v.volume.stats().reserves_put_off > 0);
    assert!(matches!(v.done(expunge(alice, 3)), Outcome::Expunged(uids, _) if uids == [3]));

    disk.heal();
    for _ in 0..3 {
        v.volume.heartbeat();
        v.tasks.settle();
    }
    assert!(has_reserve(&disk) && !v.volume.stats().full && !v.volume.stats().failed);
    let later = NOW_MS + 200_000;
    assert!(v.volume.has_room(5_000, later), "nobody was restarted");
    let decided = v.volume.decide(letter(alice, &text(5_000, 99)), later).unwrap();
    v.tasks.settle();
    assert_eq!(block_on(decided.ticket), Ok(()));
    let uids = v.uids(alice);
    assert_eq!(uids.len() as u32, delivered - 2 + 1);
    drop(v);
    let v = open(&disk.crash());
    assert_eq!((v.uids(alice), v.recovered.damaged.len()), (uids, 0));
}

/// A disk as it was cut.
struct Cut {
    disk: SimDisk,
    alice: AccountId,
    /// MODSEQ of the last change that was acknowledged.
    acked: u64,
    /// The turn in which the reserve was lent.
    lent: Option<u32>,
}

/// One change of flags after the other, and the power goes after so many turns of the loop, or soon after the lending.
fn cut_after(turns: u32, seed: u64) -> Cut {
    let disk = SimDisk::new(seed);
    block_on(ringpost_storage::Volume::create(&disk, &facts())).unwrap();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    disk.fail(OpKind::Create, Fault::NoSpace, When::From(1));
    fill(&mut v, alice);
    let before = v.volume.mailbox(alice, INBOX, |m| m.highest_modseq()).unwrap();
    let (acked, mut asked, mut lent) = (Rc::new(Cell::new(0)), 0u64, None);
    for turn in 0..turns {
        if asked == acked.get() && lent.is_none_or(|lent| turn < lent + 50) {
            asked += 1;
            let how = if asked % 2 == 1 { FlagsHow::Add } else { FlagsHow::Remove };
            let op = store(alice, &[1, 2, 3], how, Flags::of(Flags::SEEN));
            let ticket = v.decide(Transaction { bodies: vec![], ops: vec![op] }).unwrap().ticket;
            let acked = acked.clone();
            v.tasks.spawn(async move { acked.set(acked.get() + u64::from(ticket.await.is_ok())) });
        }
        v.tasks.turn();
        if lent.is_none() && v.volume.stats().reserves_lent > 0 {
            lent = Some(turn);
        }
    }
    drop(v);
    Cut { disk: disk.crash(), alice, acked: before + acked.get(), lent }
}

#[test]
fn a055_a_power_cut_while_the_reserve_is_lent_loses_nothing() {
    let lent = cut_after(5_000, 0).lent.expect("it is lent");
    let mut with_it = 0;
    for seed in 0..120 {
        let Cut { disk, alice, acked, lent } = cut_after(lent - 8 + (seed % 24) as u32, seed);
        with_it += u32::from(lent.is_some());
        disk.fail(OpKind::Create, Fault::NoSpace, When::From(1));
        let mut v = open(&disk);
        let changed = v.volume.mailbox(alice, INBOX, |m| m.highest_modseq()).unwrap();
        assert!((acked..=acked + 1).contains(&changed), "seed {seed}: {acked} acknowledged, {changed} there");
        assert!(v.recovered.damaged.is_empty() && v.recovered.lost_batches == 0, "seed {seed}");
        let letters = v.uids(alice);
        assert!(letters.iter().all(|uid| v.text(alice, *uid).is_ok()), "seed {seed}");
        v.done(expunge(alice, 2));
        assert_eq!(v.uids(alice).len(), letters.len() - 1, "seed {seed}");
    }
    assert!((20..100).contains(&with_it), "{with_it} cuts after the lending");
}

#[test]
fn a055_a_full_disk_is_compacted_through_the_reserve_and_has_one_again() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 0..60 {
        v.deliver(alice, &text(5_000, n));
    }
    // Somebody else has taken all that was free.
    disk.set_free_bytes(1_000);
    until_lent(&mut v, alice);
    assert!(!has_reserve(&disk));
    let gone: Vec<u32> = (1..=50).filter(|uid| uid % 5 != 0).collect();
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: gone });
    let before: Vec<Vec<u8>> = v.uids(alice).into_iter().map(|uid| v.text(alice, uid).unwrap()).collect();
    let mut freed = 0;
    while let Compacted::Segment { .. } = compact(&mut v, Calm) {
        freed += 1;
    }
    assert!(freed > 1, "{freed} segments");
    assert!(has_reserve(&disk), "of a file that compaction has emptied");
    assert_eq!(v.volume.decide(letter(alice, b"x"), NOW_MS + 9_000).err(), Some(Refused::DiskFull));
    v.close();

    // A reserve that was a segment once is known as what it is, and becomes one again.
    let mut v = open(&disk.kill());
    assert!(!v.volume.stats().reserve_missing);
    let after: Vec<Vec<u8>> = v.uids(alice).into_iter().map(|uid| v.text(alice, uid).unwrap()).collect();
    assert!(after == before, "{} and {}", after.len(), before.len());
    v.done(store(alice, &[5], FlagsHow::Add, Flags::of(Flags::SEEN)));
}

#[test]
fn a055_a_slow_disk_lends_the_reserve_as_well() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 0..4 {
        v.deliver(alice, &text(5_000, n));
    }
    disk.set_free_bytes(1_000);
    disk.set_delay(Some(Rc::new(|_| Box::pin(turns(7)))));
    until_lent(&mut v, alice);
    assert!(matches!(v.done(expunge(alice, 2)), Outcome::Expunged(uids, _) if uids == [2]));
}

#[test]
fn a055_a_reserve_that_cannot_be_renamed_just_now_is_lent_a_little_later() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 0..4 {
        v.deliver(alice, &text(5_000, n));
    }
    disk.set_free_bytes(1_000);
    disk.fail(OpKind::Recycle, Fault::NoDescriptor, When::Once(1));
    let mut refused = 0;
    for n in 0..300 {
        if v.volume.stats().reserves_lent > 0 {
            break;
        }
        let how = if n % 2 == 0 { FlagsHow::Add } else { FlagsHow::Remove };
        let op = store(alice, &[1], how, Flags::of(Flags::SEEN));
        let Ok(decided) = v.decide(Transaction { bodies: vec![], ops: vec![op] }) else {
            refused += 1;
            v.volume.heartbeat();
            continue;
        };
        v.tasks.settle();
        refused += u32::from(block_on(decided.ticket).is_err());
    }
    assert!((1..6).contains(&refused), "{refused} were refused");
    assert!(v.volume.stats().reserves_lent == 1 && !v.volume.stats().failed);
}

#[test]
fn a055_a_reserve_made_of_an_old_segment_is_lent_again() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 0..60 {
        v.deliver(alice, &text(5_000, n));
    }
    disk.set_free_bytes(1_000);
    until_lent(&mut v, alice);
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: (1..=45).filter(|uid| uid % 9 != 0).collect() });
    while let Compacted::Segment { .. } = compact(&mut v, Calm) {}
    v.close();
    let disk = disk.crash();
    // No retired file is left that could be used in its place.
    for (name, _) in disk.files() {
        let number: Option<u32> = name.strip_prefix("segment-").and_then(|digits| digits.parse().ok());
        let unused = |n: u32| u32::from_le_bytes(disk.read(&name, 16, 4).unwrap().try_into().unwrap()) != n;
        if number.is_some_and(unused) {
            block_on(disk.remove(&name)).unwrap();
        }
    }
    disk.set_free_bytes(1_000);
    let mut v = open(&disk);
    assert!(!v.volume.stats().reserve_missing);
    disk.fail(OpKind::Create, Fault::NoSpace, When::From(1));
    until_lent(&mut v, alice);
    v.done(expunge(alice, 9));
    let left = v.uids(alice);
    drop(v);
    let v = open(&disk.crash());
    assert_eq!((v.uids(alice), v.recovered.damaged.len(), v.recovered.lost_batches), (left, 0, 0));
    assert!(v.uids(alice).iter().all(|uid| v.text(alice, *uid).is_ok()));
}

#[test]
fn a_reserve_that_is_missing_or_cannot_be_used_is_made_anew() {
    for found in [None, Some(vec![0; 100]), Some(vec![7; SEGMENT as usize])] {
        let disk = made();
        block_on(disk.remove(RESERVE)).unwrap();
        if let Some(octets) = found {
            disk.poke(RESERVE, octets);
        }
        let mut v = open(&disk);
        assert!(v.volume.stats().reserve_missing);
        let alice = v.account("a@x");
        v.deliver(alice, b"mail does not wait for it");
        v.volume.heartbeat();
        v.tasks.settle();
        assert!(has_reserve(&disk) && !v.volume.stats().reserve_missing);
        assert!(disk.peek(RESERVE).unwrap().iter().all(|octet| *octet == 0));
    }
}

#[test]
fn a055_what_a_missing_reserve_will_take_is_not_free() {
    let disk = made();
    block_on(disk.remove(RESERVE)).unwrap();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let enough = settings().free_bytes_min + SEGMENT;
    disk.fail(OpKind::Create, Fault::NoDescriptor, When::From(1));
    for (free, taken) in [(enough - 1, false), (enough, true)] {
        disk.set_free_bytes(free);
        let now = NOW_MS + 2_000 * i64::try_from(free).unwrap();
        assert_eq!(v.volume.has_room(0, now), taken);
        assert_eq!(v.volume.decide(letter(alice, b"x"), now).is_ok(), taken);
    }
    disk.heal();
    v.volume.heartbeat();
    v.tasks.settle();
    assert!(has_reserve(&disk));
}

#[test]
fn a055_what_is_young_on_a_full_disk_is_compacted_without_anything_new() {
    let disk = made();
    // Not for their size: a checkpoint comes when the last one is half a minute old, and something has come since.
    let mut v = try_open_with(&disk, Settings { checkpoint_bytes: 1 << 30, ..settings() }).unwrap();
    let alice = v.account("a@x");
    for n in 0..2 {
        v.deliver(alice, &text(5_000, n));
        for _ in 0..60 {
            v.volume.heartbeat();
            v.tasks.settle();
        }
    }
    assert_eq!(v.volume.stats().checkpoints, 2);
    for n in 2..60 {
        v.deliver(alice, &text(5_000, n));
    }
    disk.set_free_bytes(1_000);
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: (1..=50).collect() });
    // No second passes, and nobody changes anything.
    let freed = (0..20).filter(|_| matches!(compact(&mut v, Calm), Compacted::Segment { .. })).count();
    assert!(freed > 3, "{freed} segments");
    let checkpoints = v.volume.stats().checkpoints;
    let more = (0..20).filter(|_| matches!(compact(&mut v, Calm), Compacted::Segment { .. })).count();
    assert_eq!((more, v.volume.stats().checkpoints), (0, checkpoints), "it comes to rest");
    assert_eq!(v.uids(alice).len(), 10);
    v.close();
    assert_eq!(open(&disk.kill()).uids(alice).len(), 10);
}
