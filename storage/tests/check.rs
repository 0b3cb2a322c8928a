//! Looking at a volume from outside: a good one is called good, and what is broken is named.
#![cfg(feature = "sim")]

mod support;

use ringpost_storage::check::{Broken, Report, check};
use ringpost_storage::sim::SimDisk;
use ringpost_storage::{Op, Settings};
use support::*;

fn look(disk: &SimDisk) -> (Report, Vec<Broken>) {
    let mut broken = Vec::new();
    let before = disk.files();
    let digest = disk.digest();
    let report = block_on(check(disk.clone(), None, |what| broken.push(what), |_| {})).expect("it opens");
    assert_eq!((disk.files(), disk.digest()), (before, digest), "nothing is written");
    assert_eq!(report.broken, broken.len() as u64);
    (report, broken)
}

/// Three letters of alice and one of bob, over several segments.
fn letters() -> SimDisk {
    let disk = made();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("alice@x"), v.account("bob@x"));
    for n in 0..3 {
        v.deliver(alice, &text(30_000, n));
    }
    v.deliver(bob, &text(5_000, 9));
    v.close();
    disk
}

#[test]
fn a_good_volume_is_called_good_also_after_a_power_cut() {
    let disk = letters();
    let (report, broken) = look(&disk);
    assert_eq!((broken, report.whole), (vec![], true));
    assert_eq!((report.accounts, report.messages, report.orphans), (2, 4, 0));
    assert!(report.segments >= 2 && report.message_bytes >= 95_000 && report.batch_bytes > report.message_bytes);
    let mut v = open(&disk);
    let carol = v.account("carol@x");
    v.deliver(carol, &text(2_000, 3));
    let (report, broken) = look(&disk.crash());
    assert_eq!((broken, report.accounts, report.messages), (vec![], 3, 5));
}

#[test]
fn a_damaged_body_is_named_with_the_message_that_has_it() {
    let disk = letters();
    let body = text(30_000, 1);
    let (name, at) = disk
        .files()
        .iter()
        .find_map(|(name, _)| {
            let bytes = disk.peek(name)?;
            bytes.windows(64).position(|w| *w == body[..64]).map(|at| (name.clone(), at))
        })
        .expect("the letter lies somewhere");
    spoil(&disk, &name, |b| b[at + 20_000] ^= 1);
    let (report, broken) = look(&disk);
    let [Broken::Body { offset, octets, .. }, Broken::Message { account, mailbox, uid, .. }] = &broken[..] else {
        panic!("{broken:?}")
    };
    assert_eq!((*offset, *octets), (at as u64, 30_000));
    assert_eq!((account.as_str(), mailbox.as_str(), *uid), ("alice@x", "INBOX", 2));
    assert!(report.whole, "no batch is lost with it");
    assert_eq!(report.messages, 4);
    // What is left of it can be saved.
    let v = open(&disk);
    let alice = v.volume.account_named("alice@x").unwrap();
    let loaded = block_on(v.volume.load(alice)).unwrap().unwrap();
    let message = loaded.mailbox(INBOX, |m| m.by_uid(2).cloned()).flatten().unwrap();
    assert!(block_on(v.volume.read(&message)).is_err());
    let mut spoilt = prefixed(alice, &body);
    let prefix = spoilt.len() - body.len();
    spoilt[prefix + 20_000] ^= 1;
    assert_eq!(block_on(v.volume.read_as_is(&message)).unwrap(), spoilt);
}

#[test]
fn a_hole_in_the_log_is_named_until_its_loss_is_accepted() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("alice@x");
    for n in 0..4 {
        v.deliver(alice, &text(2_000, n));
    }
    v.close();
    let all = batches(&disk);
    let (from, to) = (all[2], all[3]);
    spoil(&disk, FIRST, |b| b[from..to].fill(0));
    let hole = Broken::Log { segment: 1, offset: from as u64, octets: (to - from) as u64 };
    let (report, broken) = look(&disk);
    assert_eq!((broken, report.whole, report.messages), (vec![hole.clone()], false, 3));
    let v = open(&disk);
    let (_, broken) = look(&disk);
    assert_eq!(broken, [hole], "being opened does not heal it");
    v.volume.accept_loss();
    v.close();
    let (report, broken) = look(&disk);
    assert_eq!((broken, report.whole, report.accepted), (vec![], true, 1));
}

#[test]
fn a_segment_that_is_missing_or_has_no_header_is_named() {
    let disk = letters();
    spoil(&disk, "segment-00000002", |b| b[100] ^= 1);
    let (report, broken) = look(&disk);
    assert_eq!((broken, report.messages), (vec![Broken::Log { segment: 2, offset: 0, octets: 4_096 }], 4));
    let disk = letters();
    block_on(ringpost_storage::disk::Disk::remove(&disk, FIRST)).expect("removing");
    let (report, broken) = look(&disk);
    assert!(matches!(broken[..], [Broken::Log { segment: 1, offset: 0, .. }, ..]), "{broken:?}");
    assert!(!report.whole);
}

#[test]
fn a_volume_knows_how_much_it_holds() {
    let disk = letters();
    let v = open(&disk);
    let space = v.volume.space();
    assert_eq!((space.accounts, space.messages), (2, 4));
    assert!(space.message_bytes > 95_000 && space.live_bytes >= 95_000);
    assert!(space.live_bytes < space.written_bytes && space.written_bytes < space.segment_bytes);
    assert_eq!(space.segment_bytes, space.segments * SEGMENT);
    assert_eq!((space.checkpoint_lsn, space.checkpoint_age_s), (0, None), "none is taken here");
    assert_eq!((space.limited, space.full), (0, 0));
}

#[test]
fn a_volume_knows_its_checkpoint_and_what_compaction_would_bring() {
    let disk = made();
    let with = Settings { checkpoint_bytes: 64 << 10, ..settings() };
    let mut v = try_open_with(&disk, with.clone()).unwrap();
    let alice = v.account("alice@x");
    for n in 0..40 {
        v.deliver(alice, &text(6_000, n));
    }
    v.deliver(alice, &text(100, 40));
    let space = v.volume.space();
    assert!(space.checkpoint_lsn > 0 && space.checkpoint_lsn < space.durable, "{space:?}");
    assert_eq!(space.checkpoint_age_s, Some(0));
    assert!(space.behind_bytes < 128 << 10);
    assert!(space.segments_live >= 3 && space.segments_dead == 0, "{space:?}");
    let won = space.winnable_bytes;
    v.volume.heartbeat();
    assert_eq!(v.volume.space().checkpoint_age_s, Some(1));
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: (1..=20).collect() });
    let space = v.volume.space();
    assert!(space.winnable_bytes >= won + 20 * 6_000, "{space:?}");
    v.close();
    let v = try_open_with(&disk, with).unwrap();
    let space = v.volume.space();
    assert!(space.checkpoint_lsn > 0, "{space:?}");
    assert_eq!(space.checkpoint_age_s, None, "who has opened it does not know when");
}

#[test]
fn a_backup_taken_while_letters_come_is_a_whole_volume_of_one_moment() {
    use ringpost_storage::backup::{RESERVE, SUPERBLOCK};
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("alice@x");
    for n in 0..6 {
        v.deliver(alice, &text(20_000, n));
    }
    let copy = SimDisk::new(1);
    let held = v.volume.mark();
    copy.poke(SUPERBLOCK, disk.peek(SUPERBLOCK).unwrap());
    v.deliver(alice, &text(20_000, 6));
    let marked = v.volume.mark();
    drop(held);
    for n in 7..12 {
        v.deliver(alice, &text(20_000, n));
    }
    for (name, counts) in &marked.segments {
        let mut bytes = disk.peek(name).unwrap();
        bytes[*counts as usize..].fill(0);
        copy.poke(name, bytes);
    }
    copy.poke(RESERVE, disk.peek(RESERVE).unwrap());
    let (report, broken) = look(&copy);
    assert_eq!((broken, report.whole, report.messages), (vec![], true, 7));
    assert_eq!((report.recovered.durable, report.recovered.torn_bytes), (marked.durable, 0));
    let mut v = open(&copy);
    assert_eq!(v.deliver(alice, b"more\r\n"), 8);
}

#[test]
fn a_volume_that_was_compacted_is_whole_and_so_is_a_copy_of_it() {
    use ringpost_storage::backup::{RESERVE, SUPERBLOCK};
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("alice@x");
    for n in 0..120 {
        v.deliver(alice, &text(3_000, n));
    }
    v.held.clear();
    let held = block_on(v.volume.load(alice)).unwrap();
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: (1..=100).filter(|uid| uid % 7 != 0).collect() });
    drop(held);
    let went = compact_all(&mut v).len();
    assert!(went >= 3, "{went}");
    let marked = v.volume.mark();
    let copy = SimDisk::new(1);
    copy.poke(SUPERBLOCK, disk.peek(SUPERBLOCK).unwrap());
    copy.poke(RESERVE, disk.peek(RESERVE).unwrap());
    for (name, counts) in &marked.segments {
        let mut bytes = disk.peek(name).unwrap();
        bytes[*counts as usize..].fill(0);
        copy.poke(name, bytes);
    }
    v.close();
    for disk in [disk, copy] {
        let (report, broken) = look(&disk);
        assert_eq!((broken, report.whole, report.messages, report.orphans), (vec![], true, 34, 0));
    }
}
