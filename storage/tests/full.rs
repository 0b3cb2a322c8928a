//! No room, or no descriptor: appends wait, the rest goes on, and nothing has to be restarted.
#![cfg(feature = "sim")]

mod support;

use ringpost_storage::sim::{Fault, OpKind, When};
use ringpost_storage::{Flags, FlagsHow, Lost, Op, Outcome, Refused, Target, Transaction};
use support::*;

#[test]
fn a_full_disk_refuses_appends_lets_expunge_go_on_and_recovers() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, b"old\r\n");
    disk.set_free_bytes(1_000);
    let mut now = NOW_MS + 2_000;
    assert!(!v.volume.has_room(0, now));
    assert_eq!(v.volume.decide(letter(alice, b"x"), now).err(), Some(Refused::DiskFull));
    let Outcome::Stored { changed, .. } = v.done(store(alice, &[1], FlagsHow::Add, Flags::of(Flags::SEEN))) else {
        panic!()
    };
    assert_eq!(changed.len(), 1);
    assert!(
        matches!(v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![1] }), Outcome::Expunged(u, _) if u == [1])
    );
    disk.set_free_bytes(1 << 30);
    assert!(!v.volume.has_room(0, now), "the file system is asked once a second");
    now += 2_000;
    assert!(v.volume.has_room(1 << 20, now));
    assert!(!v.volume.has_room(1 << 30, now), "there would not be enough left");
    assert!(v.volume.decide(letter(alice, b"x"), now).is_ok());
    v.tasks.settle();
    assert_eq!(v.uids(alice), vec![2]);
    assert!(!v.volume.stats().failed);
}

#[test]
fn on_a_full_disk_letters_move_to_trash_and_are_not_copied() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, b"old\r\n");
    disk.set_free_bytes(1_000);
    let now = NOW_MS + 2_000;
    let trash = Op::CreateMailbox { account: alice, name: "Trash".into(), special_use: 0, subscribed: true };
    let shift = Op::Move { account: alice, from: INBOX, uids: vec![1], to: Target::Made(0) };
    let copy = Op::Copy { account: alice, from: INBOX, uids: vec![1], to: Target::Mailbox(INBOX) };
    let copied = v.volume.decide(Transaction { bodies: vec![], ops: vec![copy] }, now);
    assert_eq!(copied.err(), Some(Refused::DiskFull));
    let moved = v.volume.decide(Transaction { bodies: vec![], ops: vec![trash, shift] }, now).unwrap();
    v.tasks.settle();
    assert!(matches!(&moved.outcomes[1], Outcome::Moved { pairs, .. } if pairs == &[(1, 1)]));
    assert_eq!(v.uids(alice), []);
}

#[test]
fn no_room_for_the_next_segment_is_not_a_failure() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    disk.fail(OpKind::Create, Fault::NoSpace, When::From(1));
    let mut delivered = 0;
    let mut full = false;
    for n in 0..20 {
        match v.volume.decide(letter(alice, &text(9_000, n)), NOW_MS) {
            Ok(decided) => {
                v.tasks.settle();
                match block_on(decided.ticket) {
                    Ok(()) => delivered += 1,
                    Err(lost) => assert_eq!(lost, Lost::NoRoom),
                }
            }
            Err(refused) => {
                assert_eq!(refused, Refused::DiskFull);
                full = true;
            }
        }
    }
    assert!(full && delivered >= 4, "{delivered}");
    assert!(!v.volume.has_room(9_000, NOW_MS), "with all the disk free, but no room for a segment");
    assert!(
        matches!(v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![1] }), Outcome::Expunged(u, _) if u == [1])
    );
    disk.heal();
    let later = NOW_MS + 60_000;
    assert!(v.volume.has_room(9_000, later), "it is tried again");
    v.volume.decide(letter(alice, b"x"), later).ok();
    v.tasks.settle();
    let decided = v.volume.decide(letter(alice, &text(9_000, 99)), later).unwrap();
    v.tasks.settle();
    assert_eq!(block_on(decided.ticket), Ok(()));
    v.close();
    let v = open(&disk);
    assert!(v.uids(alice).len() as u32 >= delivered);
    assert_eq!(v.recovered.damaged, vec![]);
}

#[test]
fn want_of_descriptors_for_the_next_segment_passes() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    disk.fail(OpKind::Create, Fault::NoDescriptor, When::From(1));
    let steps = disk.steps();
    let mut tried = 0;
    let mut delivered = 0u64;
    for n in 0..40 {
        tried += 1;
        let Ok(decided) = v.volume.decide(letter(alice, &text(9_000, n)), NOW_MS) else { continue };
        v.tasks.settle();
        match block_on(decided.ticket) {
            Ok(()) => delivered += 1,
            Err(lost) => assert_eq!(lost, Lost::NoRoom),
        }
    }
    assert!(!v.volume.stats().failed);
    assert!(delivered >= 4 && delivered < tried, "{delivered}");
    // Each commit is a write and a sync; making the segment was tried once in that second.
    assert_eq!(disk.steps() - steps, 2 * delivered + 1);
    assert_eq!(v.volume.stats().segments_put_off, 1);
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![1] });
    disk.heal();
    let later = NOW_MS + 2_000;
    assert!(v.volume.has_room(9_000, later));
    v.volume.decide(letter(alice, b"x"), later).ok();
    v.tasks.settle();
    let decided = v.volume.decide(letter(alice, &text(9_000, 99)), later).unwrap();
    v.tasks.settle();
    assert_eq!(block_on(decided.ticket), Ok(()));
}

#[test]
fn the_next_segment_is_made_though_a_later_one_is_there() {
    let disk = made();
    disk.poke("segment-00000009", vec![0; SEGMENT as usize]);
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 0..20 {
        v.deliver(alice, &text(9_000, n));
    }
    v.close();
    assert_eq!(open(&disk).uids(alice).len(), 20);
}

#[test]
fn a_failed_volume_reads_what_the_device_has() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, b"kept");
    assert_eq!(v.text(alice, 1).unwrap(), prefixed(alice, b"kept"));
    assert_eq!(disk.device_reads(), 0, "memory is as good while all is well");
    disk.fail(OpKind::Sync, Fault::Io, When::Once(1));
    let lost = v.decide(letter(alice, b"in doubt")).unwrap();
    v.tasks.settle();
    assert!(block_on(lost.ticket).is_err() && v.volume.stats().failed);
    assert_eq!(v.text(alice, 1).unwrap(), prefixed(alice, b"kept"));
    assert!(disk.device_reads() > 0);
}
