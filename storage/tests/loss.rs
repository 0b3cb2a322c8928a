//! Acknowledged batches that are lost: what they gave is given to nobody else, and they may come back.
#![cfg(feature = "sim")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use ringpost_storage::sim::{Fault, OpKind, When};
use ringpost_storage::{AccountId, Flags, FlagsHow, Op, Outcome, ReadError, Target, Uid};
use support::*;

/// What numbers a volume has given of a mailbox, an account and itself, and the next of each.
fn next_numbers(v: &mut Open, account: AccountId, name: &str) -> [u64; 6] {
    let Outcome::Appended { uid, modseq, .. } = v.commit(letter(account, b"next\r\n"))[0] else { panic!() };
    let highest = v.volume.mailbox(account, INBOX, |m| m.highest_modseq()).unwrap();
    let made = v.done(Op::CreateMailbox { account, name: name.into(), special_use: 0, subscribed: false });
    let Outcome::Mailbox(mailbox, uidvalidity) = made else { panic!() };
    let other = v.account(&format!("{name}@x"));
    [uid.into(), modseq, highest, mailbox.0.into(), uidvalidity.into(), other.0]
}

#[test]
fn numbers_never_go_back_though_batches_that_gave_them_are_lost() {
    // Lost: the last letters and what was made after them, in the middle (with a heartbeat behind) or at the very end.
    for end in [false, true] {
        let disk = made();
        let mut v = open(&disk);
        let alice = v.account("a@x");
        v.deliver(alice, b"kept\r\n");
        let from = batches(&disk).len();
        v.deliver(alice, b"lost\r\n");
        v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![1] });
        let last = next_numbers(&mut v, alice, "lost");
        v.close();
        let good = disk.peek(FIRST).unwrap();
        let all = batches(&disk);
        let (first, past) = (all[from], if end { good.len() } else { *all.last().unwrap() });
        spoil(&disk, FIRST, |b| b[first..past].fill(0));

        let mut v = open(&disk);
        assert!(!v.volume.is_whole() && v.volume.stats().lost_batches >= 5, "{end}");
        assert_eq!(v.uids(alice), vec![1], "{end}");
        let shown = v.volume.mailbox(alice, INBOX, |m| {
            assert_eq!(m.expunged_since(last[2]), None, "what was expunged is not known");
            assert!(m.messages()[0].modseq > last[2], "what was changed is not known");
            (u64::from(m.uidnext()), m.highest_modseq())
        });
        assert!(shown.is_some_and(|(uidnext, highest)| uidnext > last[0] && highest > last[2]));
        let next = next_numbers(&mut v, alice, "next");
        assert!(next.iter().zip(&last).all(|(next, last)| next > last), "{end}: {next:?} after {last:?}");
        v.close();

        // Once for each loss, not at each opening.
        let mut v = open(&disk);
        assert!(!v.volume.is_whole());
        let later = next_numbers(&mut v, alice, "later");
        assert_eq!((later[0], later[3]), (next[0] + 1, next[3] + 1), "{end}");
        v.close();

        // The lost octets come back.
        spoil(&disk, FIRST, |b| *b = good);
        let mut v = open(&disk);
        assert!(v.volume.is_whole() && v.recovered.damaged.is_empty(), "{end}: {:?}", v.recovered);
        assert_eq!(v.volume.stats().orphan_records, 0);
        assert_eq!(v.uids(alice), [2, last[0] as u32, next[0] as u32, later[0] as u32]);
        for uid in v.uids(alice) {
            assert!(v.text(alice, uid).is_ok());
        }
        let newest = next_numbers(&mut v, alice, "newest");
        assert!(newest.iter().zip(&later).all(|(newest, later)| newest > later), "{newest:?} after {later:?}");
        let names: Vec<String> = v.volume.mailboxes(alice).into_iter().map(|m| m.name).collect();
        assert_eq!(names, ["INBOX", "lost", "next", "later", "newest"]);
    }
}

#[test]
fn damage_on_a_full_disk_opens_for_readers_and_goes_on_when_there_is_room() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, b"kept\r\n");
    let from = batches(&disk).len();
    v.deliver(alice, b"lost\r\n");
    v.deliver(alice, b"behind\r\n");
    v.close();
    let (first, past) = (batches(&disk)[from], batches(&disk)[from + 1]);
    spoil(&disk, FIRST, |b| b[first..past].fill(0));

    // With its reserve it goes on all the same, for those who make room.
    let full = disk.fork_killed(1);
    full.fail(OpKind::Create, Fault::NoSpace, When::From(1));
    let mut v = open(&full);
    assert_eq!((v.volume.stats().failed, v.volume.stats().reserves_lent), (false, 1));
    v.done(store(alice, &[1], FlagsHow::Add, Flags::of(Flags::SEEN)));
    assert_eq!(v.volume.decide(letter(alice, b"new\r\n"), NOW_MS).err(), Some(ringpost_storage::Refused::DiskFull));
    drop(v);

    block_on(ringpost_storage::disk::Disk::remove(&disk, ringpost_storage::backup::RESERVE)).unwrap();
    disk.fail(OpKind::Create, Fault::NoSpace, When::From(1));
    let v = open(&disk);
    assert!(v.volume.stats().failed && !v.volume.is_whole());
    assert!(v.text(alice, 1).unwrap().ends_with(b"kept\r\n"));
    assert_eq!(v.volume.decide(letter(alice, b"new\r\n"), NOW_MS).err(), Some(ringpost_storage::Refused::Failed));
    drop(v);

    disk.heal();
    let mut v = open(&disk);
    assert!(!v.volume.stats().failed && !v.volume.is_whole());
    v.deliver(alice, b"new\r\n");
    assert_eq!(v.uids(alice).len(), 3);
}

#[test]
fn an_opening_that_is_cut_off_before_the_gap_is_durable_writes_it_again() {
    // The superblock again (four), the segment's header, the gap.
    for failing in 1..=6 {
        let (disk, alice) = three_letters();
        let third = batches(&disk)[3];
        spoil(&disk, FIRST, |b| b[third] ^= 1);
        disk.fail(OpKind::Sync, Fault::Io, When::Once(failing));
        assert!(try_open(&disk).is_err(), "sync {failing}");
        let disk = disk.crash();
        let mut v = open(&disk);
        assert!(v.deliver(alice, b"next\r\n") > 3, "sync {failing}");
        assert_eq!(v.volume.stats().lost_batches, 1, "sync {failing}");
    }
}

#[test]
fn losing_the_gap_too_jumps_further() {
    let (disk, alice) = three_letters();
    let at = batches(&disk)[3];
    spoil(&disk, FIRST, |b| b[at] ^= 1);
    let mut v = open(&disk);
    let given = v.deliver(alice, b"after the gap\r\n");
    v.close();
    let mut second = disk.peek("segment-00000002").unwrap();
    let gap = find(&second, BATCH_MAGIC);
    let beat = (gap + 1..second.len()).rev().find(|&at| second[at..].starts_with(BATCH_MAGIC)).unwrap();
    second[gap..beat].fill(0);
    disk.poke("segment-00000002", second);
    let mut v = open(&disk);
    assert_eq!(v.uids(alice), vec![1, 2]);
    assert_eq!(v.volume.stats().lost_batches, 3);
    assert!(v.deliver(alice, b"after both\r\n") > given);
}

#[test]
fn damage_that_costs_no_batch_leaves_the_volume_whole() {
    let (disk, alice) = three_letters();
    let third = batches(&disk)[3];
    spoil(&disk, FIRST, |b| {
        b[30] ^= 1;
        b[third - 10] ^= 1;
    });
    let mut v = open(&disk);
    assert_eq!(v.volume.stats().damaged_regions, 2);
    assert!(v.volume.is_whole());
    assert_eq!(v.deliver(alice, b"next\r\n"), 4);
}

#[test]
fn a_move_is_lost_whole_and_a_copy_needs_nothing_between_it_and_its_letter() {
    // Which batch is lost: the letter, its flags, the move; what INBOX and Work show then.
    for (lost, inbox, work) in [(0, 0, 1), (1, 0, 1), (2, 1, 0)] {
        let disk = made();
        let mut v = open(&disk);
        let alice = v.account("a@x");
        let made = v.done(Op::CreateMailbox { account: alice, name: "Work".into(), special_use: 0, subscribed: false });
        let Outcome::Mailbox(to, _) = made else { panic!() };
        let from = batches(&disk).len();
        v.deliver(alice, &text(700, 1));
        v.done(store(alice, &[1], FlagsHow::Add, Flags::of(Flags::FLAGGED)));
        v.done(Op::Move { account: alice, from: INBOX, uids: vec![1], to: Target::Mailbox(to) });
        v.close();
        let all = batches(&disk);
        spoil(&disk, FIRST, |b| b[all[from + lost]..all[from + lost + 1]].fill(0));

        let v = open(&disk);
        assert_eq!(v.volume.stats().lost_batches, 1, "{lost}");
        let moved = v.volume.mailbox(alice, to, |m| m.messages().to_vec()).unwrap();
        assert_eq!((v.uids(alice).len(), moved.len()), (inbox, work), "{lost}");
        for m in moved {
            assert_eq!((m.uid, &m.flags()), (1, &Flags::of(Flags::FLAGGED)), "{lost}");
            match (lost, block_on(v.volume.read(&m))) {
                (0, Err(ReadError::Damaged)) => {}
                (0, other) => panic!("{other:?}"),
                (_, read) => assert_eq!(read.unwrap(), prefixed(alice, &text(700, 1))),
            }
        }
    }
}

#[test]
fn a_loss_that_was_accepted_leaves_the_volume_whole_and_a_later_one_does_not() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 0..3 {
        v.deliver(alice, &text(100, n));
    }
    v.close();
    let lose = |n: usize| {
        let all = batches(&disk);
        spoil(&disk, FIRST, |b| b[all[n]..all[n + 1]].fill(0));
    };
    lose(1);
    let v = open(&disk);
    assert!(!v.volume.is_whole());
    v.volume.accept_loss();
    assert!(v.volume.is_whole());
    v.close();

    let mut v = open(&disk);
    assert!(v.volume.is_whole() && v.recovered.lost_batches == 1, "it is lost all the same");
    v.deliver(alice, b"later\r\n");
    v.deliver(alice, b"and later\r\n");
    v.close();
    let name = "segment-00000002";
    let bytes = disk.peek(name).expect("the log goes on behind the damage");
    let at = find(&bytes, b"later\r\n");
    spoil(&disk, name, |b| b[at / 512 * 512 - 512..at].fill(0));
    assert!(!open(&disk).volume.is_whole(), "nobody has accepted this one");
}

fn come_and_go(v: &mut Open, account: AccountId, letters: u64) {
    let first = (0..letters).map(|n| v.deliver(account, &text(6_000, n))).min().unwrap();
    let _held = block_on(v.volume.load(account)).unwrap();
    let uids = (first..first + letters as Uid).collect();
    v.done(Op::Expunge { account, mailbox: INBOX, uids });
}

#[test]
fn who_lost_many_records_at_once_is_shown_less_those_however_many_segments_have_gone() {
    let disk = made();
    let mut v = open(&disk);
    v.held.clear();
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    v.deliver(alice, b"first\r\n");
    // The segment with her beginning stays: nobody expunges the letters beside it.
    for n in 0..9 {
        v.deliver(bob, &text(6_000, 500 + n));
    }
    come_and_go(&mut v, bob, 60);
    assert!(compact_all(&mut v).len() > 2, "segments behind it are gone");
    // So far into its segment that the next letters fit it together.
    v.deliver(bob, &text(6_000, 600));
    let (whole, batches) = (v.volume.account_ids().len(), v.volume.stats().batches);
    // A batch of six letters of hers, of which nothing will be left.
    let lost: Vec<Vec<u8>> = (0..6).map(|n| text(700, 1_000 + n)).collect();
    let tickets: Vec<_> = lost.iter().map(|body| v.decide(letter(alice, body)).unwrap().ticket).collect();
    let told = Rc::new(RefCell::new(0));
    let tell = told.clone();
    v.tasks.spawn(async move {
        for ticket in tickets {
            ticket.await.unwrap();
            *tell.borrow_mut() += 1;
        }
    });
    v.tasks.settle();
    assert_eq!((*told.borrow(), v.volume.stats().batches - batches), (6, 1));
    v.deliver(alice, b"last\r\n");
    v.close();
    let names = disk.files().into_iter().map(|(name, _)| name).filter(|name| name.starts_with("segment-"));
    let mut hits = 0;
    for name in names {
        spoil(&disk, &name, |bytes| {
            let Some(at) = bytes.windows(lost[0].len()).position(|w| w == lost[0]) else { return };
            let batch = (4096..at).step_by(512).filter(|&at| bytes[at..].starts_with(BATCH_MAGIC)).max().unwrap();
            bytes[batch + 200] ^= 1;
            hits += 1;
        });
    }
    assert_eq!(hits, 1);
    let mut v = open(&disk);
    v.held.clear();
    assert_eq!(v.volume.account_ids().len(), whole);
    assert_eq!(v.recovered.lost_batches, 1, "{:?}", v.recovered);
    let held = block_on(v.volume.load(alice)).expect("she is there").expect("and loads");
    let uids: Vec<Uid> = held.mailbox(INBOX, |m| m.messages().iter().map(|m| m.uid).collect()).unwrap();
    assert_eq!((uids.first(), uids.len()), (Some(&1), 2), "{uids:?}");
    assert_eq!(v.text(alice, *uids.last().unwrap()).unwrap(), prefixed(alice, b"last\r\n"));
}
