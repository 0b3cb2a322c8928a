//! Bad days: what is torn, what is damaged, what belongs elsewhere, what is too new, what fails.
#![cfg(feature = "sim")]

mod support;

use ringpost_storage::sim::{Fault, OpKind, SimDisk, When};
use ringpost_storage::{Lost, OpenError, ReadError, Refused, Transaction, Volume};
use support::*;

#[test]
fn a_torn_tail_is_cut_off_and_the_log_goes_on() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, &text(3_000, 1));
    v.deliver(alice, &text(3_000, 2));
    let last = *batches(&disk).last().unwrap();
    drop(v);
    // The last batch loses a block of its body, and nothing on disk says that it was ever synced.
    spoil(&disk, FIRST, |b| b[last + 1024..last + 1536].fill(0));
    let mut v = open(&disk);
    assert!(v.recovered.torn_bytes > 3_000);
    assert_eq!(v.recovered.damaged, vec![]);
    assert_eq!(v.uids(alice), vec![1]);
    assert_eq!(v.deliver(alice, b"again\r\n"), 2);
    drop(v);
    let v = open(&disk.crash());
    assert_eq!((v.recovered.torn_bytes, v.uids(alice)), (0, vec![1, 2]));
    assert_eq!(v.text(alice, 2).unwrap(), prefixed(alice, b"again\r\n"));
}

#[test]
fn damage_in_an_acknowledged_batch_is_reported_and_never_cut_off() {
    let (disk, alice) = three_letters();
    let second = batches(&disk)[2];
    spoil(&disk, FIRST, |b| b[second + 20] ^= 1);
    let mut v = open(&disk);
    assert_eq!(v.recovered.torn_bytes, 0);
    assert_eq!(v.recovered.damaged.len(), 1);
    assert_eq!((v.recovered.damaged[0].0, v.recovered.damaged[0].1), (1, second as u64));
    assert_eq!(v.uids(alice), vec![1, 3], "the others are all there");
    assert_eq!(v.text(alice, 3).unwrap(), prefixed(alice, &text(3_000, 3)));
    assert!(v.deliver(alice, b"next\r\n") > 3);
    v.close();
    assert_eq!(open(&disk).recovered.damaged.len(), 1, "it stays reported");
}

#[test]
fn a_flipped_bit_in_a_directory_costs_that_batch_alone() {
    let (disk, alice) = three_letters();
    let second = batches(&disk)[2];
    spoil(&disk, FIRST, |b| b[second + 128 + 70] ^= 8);
    let v = open(&disk);
    assert_eq!(v.recovered.damaged.len(), 1);
    assert_eq!(v.uids(alice), vec![1, 3]);
}

#[test]
fn a_flipped_bit_in_a_body_is_seen_when_it_is_read() {
    let (disk, alice) = three_letters();
    let at = find(&disk.peek(FIRST).unwrap(), &text(3_000, 2));
    spoil(&disk, FIRST, |b| b[at + 1_500] ^= 16);
    let v = open(&disk);
    assert_eq!(v.uids(alice), vec![1, 2, 3]);
    assert!(matches!(v.text(alice, 2), Err(ReadError::Damaged)));
    assert!(v.text(alice, 1).is_ok() && v.text(alice, 3).is_ok());
}

#[test]
fn a_flipped_bit_in_a_footer_is_reported_and_costs_nothing() {
    let (disk, alice) = three_letters();
    let third = batches(&disk)[3];
    spoil(&disk, FIRST, |b| b[third - 10] ^= 1);
    let v = open(&disk);
    assert_eq!(v.recovered.damaged, vec![(1, third as u64 - 64, 64)]);
    assert_eq!(v.uids(alice), vec![1, 2, 3]);
}

#[test]
fn damage_at_the_very_end_is_known_from_the_superblock() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, &text(3_000, 1));
    v.close();
    // The last letter and the heartbeat after it are wiped out.
    let at = batches(&disk)[1];
    spoil(&disk, FIRST, |b| b[at..].fill(0));
    let mut v = open(&disk);
    assert_eq!(v.recovered.damaged[0].1, at as u64);
    assert_eq!(v.uids(alice), vec![]);
    v.deliver(alice, b"on a new segment\r\n");
    assert_eq!(v.volume.mailbox(alice, INBOX, |m| m.messages()[0].place().segment), Some(2));
    v.close();
    let v = open(&disk);
    assert_eq!(v.uids(alice).len(), 1);
    assert!(!v.recovered.damaged.is_empty());
}

#[test]
fn a_heartbeat_tells_damage_from_a_torn_write() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, &text(3_000, 1));
    let at = *batches(&disk).last().unwrap();
    v.volume.heartbeat();
    v.tasks.settle();
    let beats = v.volume.stats().batches;
    v.volume.heartbeat();
    v.tasks.settle();
    assert_eq!(v.volume.stats().batches, beats, "nothing new, no heartbeat");
    drop(v);
    spoil(&disk, FIRST, |b| b[at + 1] ^= 1);
    let v = open(&disk);
    assert_eq!((v.recovered.torn_bytes, v.recovered.damaged.len()), (0, 1));
}

#[test]
fn a_misdirected_write_is_no_batch() {
    let (disk, alice) = three_letters();
    let all = batches(&disk);
    let (second, third) = (all[2], all[3]);
    // The second letter's batch is overwritten with a copy of the first's: whole in itself, at the wrong place.
    spoil(&disk, FIRST, |b| b.copy_within(all[1]..second, second));
    let v = open(&disk);
    assert_eq!(v.recovered.damaged, vec![(1, second as u64, (third - second) as u64)]);
    assert_eq!(v.uids(alice), vec![1, 3]);
}

#[test]
fn an_old_incarnation_is_no_batch() {
    let (disk, alice) = three_letters();
    // The header of the segment says that the file was begun anew; its batches are of the life before.
    spoil(&disk, FIRST, |b| {
        b[20..24].copy_from_slice(&2u32.to_le_bytes());
        let crc = crc32c::crc32c(&b[12..4096]);
        b[8..12].copy_from_slice(&crc.to_le_bytes());
    });
    let v = open(&disk);
    assert_eq!(v.uids(alice), vec![]);
    assert!(!v.recovered.damaged.is_empty(), "the superblock knows that they were acknowledged");
}

#[test]
fn a_damaged_header_behind_a_damaged_batch_costs_that_batch_alone() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    (1..=12).for_each(|n| {
        let _ = v.deliver(alice, &text(8_000, n));
    });
    v.close();
    let last = *batches(&disk).last().unwrap();
    let lost = batches(&disk).len() as u32 - 1;
    spoil(&disk, FIRST, |b| b[last + 20] ^= 1);
    spoil(&disk, "segment-00000002", |b| b[182] ^= 1);
    let v = open(&disk);
    let left: Vec<u32> = (1..=12).filter(|uid| *uid != lost).collect();
    assert_eq!((v.recovered.lost_batches, v.uids(alice)), (1, left));
}

#[test]
fn a_damaged_segment_header_is_reported_and_its_batches_still_count() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 0..12 {
        v.deliver(alice, &text(9_000, n));
    }
    v.close();
    for name in [FIRST, "segment-00000002"] {
        spoil(&disk, name, |b| b[30] ^= 1);
    }
    let v = open(&disk);
    assert_eq!(v.recovered.damaged, vec![(1, 0, 4096), (2, 0, 4096)]);
    assert_eq!(v.uids(alice).len(), 12);
    assert!(v.text(alice, 12).is_ok());
}

#[test]
fn segments_that_are_missing_one_after_the_other_are_one_region() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 0..40 {
        v.deliver(alice, &text(9_000, n));
    }
    v.close();
    for name in ["segment-00000002", "segment-00000003", "segment-00000005"] {
        block_on(ringpost_storage::disk::Disk::remove(&disk, name)).unwrap();
    }
    let v = open(&disk);
    assert_eq!(v.recovered.damaged, vec![(2, 0, 2 * SEGMENT), (5, 0, SEGMENT)]);
    let left = v.uids(alice);
    assert!(v.text(alice, left[0]).is_ok() && v.text(alice, *left.last().unwrap()).is_ok());
    // Numbers have jumped over what three segments may have given.
    let given = v.volume.mailbox(alice, INBOX, |m| m.uidnext()).unwrap();
    assert!(u64::from(given) > 40 + 3 * SEGMENT / 48, "{given}");
}

/// The superblock is given other words about how long the log was.
fn pretends(disk: &SimDisk, tail_segment: u32) {
    spoil(disk, "superblock", |bytes| {
        for copy in bytes.chunks_exact_mut(64 << 10) {
            copy[132..136].copy_from_slice(&tail_segment.to_le_bytes());
            let check = xxhash_rust::xxh3::xxh3_128(&copy[32..4_096]);
            copy[8..24].copy_from_slice(&check.to_le_bytes());
        }
    });
}

#[test]
fn a_superblock_that_says_that_millions_of_segments_are_missing_costs_no_more_than_one_region() {
    let (disk, alice) = three_letters();
    pretends(&disk, 1 << 23);
    let v = open(&disk);
    assert_eq!(v.recovered.damaged, vec![(2, 0, ((1 << 23) - 1) * SEGMENT)]);
    assert_eq!(v.uids(alice), [1, 2, 3]);
    assert!(!v.volume.stats().failed, "it goes on behind them");
}

#[test]
fn a_missing_segment_is_reported_and_the_rest_is_read() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 0..25 {
        v.deliver(alice, &text(9_000, n));
    }
    v.close();
    block_on(ringpost_storage::disk::Disk::remove(&disk, "segment-00000002")).unwrap();
    let v = open(&disk);
    assert_eq!(v.recovered.damaged, vec![(2, 0, SEGMENT)]);
    let left = v.uids(alice);
    assert!(left.len() > 10 && left.len() < 25);
    assert!(v.text(alice, *left.last().unwrap()).is_ok());
}

#[test]
fn two_copies_of_the_superblock_are_enough_and_one_is_not() {
    let (disk, alice) = three_letters();
    spoil(&disk, "superblock", |b| {
        b[100] ^= 1;
        b[(64 << 10) + 2_000] ^= 1;
    });
    let v = open(&disk);
    assert_eq!(v.uids(alice).len(), 3);
    v.close();
    spoil(&disk, "superblock", |b| (0..3).for_each(|copy| b[copy * (64 << 10) + 100] ^= 1));
    let Err(why) = try_open(&disk) else { panic!("one copy is no quorum") };
    assert!(why.to_string().starts_with("the superblock is damaged: 1 of 4 copies"), "{why}");
}

#[test]
fn a_log_without_its_superblock_is_not_made_anew() {
    let (disk, _) = three_letters();
    spoil(&disk, "superblock", |b| b.fill(0));
    assert!(matches!(try_open(&disk), Err(OpenError::Absent)));
    let log = disk.peek(FIRST);
    let why = block_on(Volume::create(&disk, &facts())).unwrap_err();
    assert!(why.to_string().contains("a log here without its superblock"), "{why}");
    assert_eq!(disk.peek(FIRST), log);
}

#[test]
fn a_newer_format_is_refused_with_a_sentence() {
    let (disk, _) = three_letters();
    spoil(&disk, "superblock", |b| {
        for copy in 0..4 {
            let at = copy * (64 << 10);
            b[at + 32] = 9;
            b[at + 36] = 9;
            let check = xxhash_rust::xxh3::xxh3_128(&b[at + 32..at + 4096]);
            b[at + 8..at + 24].copy_from_slice(&check.to_le_bytes());
        }
    });
    let before = disk.peek("superblock");
    let Err(why) = try_open(&disk) else { panic!("must be refused") };
    assert!(matches!(why, OpenError::Newer { found: 9, known: 2 }));
    assert_eq!(why.to_string(), "the volume's format 9 is newer than this program reads (2): start the newer Ringpost");
    assert_eq!(disk.peek("superblock"), before, "and nothing is written");
}

#[test]
fn a_swapped_volume_folder_is_refused() {
    let disk = made();
    let refused = block_on(Volume::open(disk.clone(), Some((STORE, 4)), settings())).err().unwrap();
    assert!(refused.to_string().contains("this is volume 3"), "{refused}");
    let other = uuid::Uuid::from_u128(1);
    assert!(matches!(block_on(Volume::open(disk, Some((other, 3)), settings())), Err(OpenError::Other { .. })));
}

#[test]
fn a_segment_of_another_volume_is_refused() {
    let (disk, _) = three_letters();
    let other = made_with(&ringpost_storage::Create { volume: 4, ..facts() });
    disk.poke(FIRST, other.peek(FIRST).unwrap());
    assert!(matches!(try_open(&disk), Err(OpenError::Other { found_volume: 4, want_volume: 3, .. })));
}

/// A volume where a letter carries a batch of a volume with this seed, at the very place in the file where that batch
/// belongs and with an LSN that may come next; and the batch that carries it is damaged. True if it was taken for a batch.
fn forged_batch_counts(seed: u64) -> bool {
    let twin = made_with(&ringpost_storage::Create { seed, ..facts() });
    let mut t = open(&twin);
    let other = t.account("t@x");
    for n in 0..10 {
        t.deliver(other, &text(500, n));
    }
    t.account("m@x");
    t.deliver(other, b"more\r\n");
    t.close();
    let forged = twin.peek(FIRST).unwrap();
    let name = find(&forged, b"m@x");
    let batch = *batches(&twin).iter().rfind(|&&at| at < name).unwrap();
    let carry = |body: &[u8]| {
        let disk = made();
        let mut v = open(&disk);
        let alice = v.account("a@x");
        v.deliver(alice, body);
        v.close();
        disk
    };
    // Once to see where in the file such a letter lies, once with the batch in it.
    let mut body = text(20_000, 1);
    let starts = find(&carry(&body).peek(FIRST).unwrap(), &body);
    body[batch - starts..][..2_048].copy_from_slice(&forged[batch..][..2_048]);
    let disk = carry(&body);
    assert_eq!(disk.peek(FIRST).unwrap()[batch..][..2_048], forged[batch..][..2_048]);
    let carrier = *batches(&disk).iter().rfind(|&&at| at < starts).unwrap();
    spoil(&disk, FIRST, |b| b[carrier] ^= 1);
    let v = open(&disk);
    assert!(!v.volume.is_whole());
    v.volume.account_named("m@x").is_some()
}

#[test]
fn a_body_that_looks_like_a_batch_is_only_a_body() {
    assert!(forged_batch_counts(facts().seed), "nothing but the volume's secret stands in the way");
    assert!(!forged_batch_counts(1));
}

#[test]
fn a_failed_sync_fails_the_volume_and_is_not_tried_again() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, b"kept\r\n");
    disk.fail(OpKind::Sync, Fault::Io, When::Once(1));
    let first = v.decide(letter(alice, b"in flight\r\n")).unwrap();
    v.tasks.turn();
    v.tasks.settle();
    assert_eq!(block_on(first.ticket), Err(Lost::Unknown));
    let steps = disk.steps();
    assert_eq!(v.decide(letter(alice, b"no\r\n")).err(), Some(Refused::Failed));
    v.tasks.settle();
    assert_eq!(disk.steps(), steps, "nothing is written any more");
    assert!(v.volume.stats().failed);
    assert_eq!(v.uids(alice), vec![1]);
    assert!(v.text(alice, 1).is_ok(), "reads go on");
    v.close();
}

#[test]
fn what_only_gathered_when_the_volume_failed_was_not_written() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let delay: ringpost_storage::sim::Delay = std::rc::Rc::new(|_| Box::pin(turns(3)));
    disk.set_delay(Some(delay));
    disk.fail(OpKind::Write, Fault::Short, When::Once(1));
    let first = v.decide(letter(alice, b"in flight\r\n")).unwrap();
    for _ in 0..3 {
        v.tasks.turn();
    }
    let second = v.decide(letter(alice, b"gathering\r\n")).unwrap();
    v.tasks.settle();
    assert_eq!(block_on(first.ticket), Err(Lost::Unknown));
    assert_eq!(block_on(second.ticket), Err(Lost::NotWritten));
    drop(v);
    disk.set_delay(None);
    assert!(open(&disk.kill()).uids(alice).len() <= 1);
}

#[test]
fn a_loop_that_is_dropped_leaves_nobody_waiting() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let delay: ringpost_storage::sim::Delay = std::rc::Rc::new(|_| Box::pin(std::future::pending()));
    disk.set_delay(Some(delay));
    let first = v.decide(letter(alice, b"1")).unwrap();
    v.tasks.settle();
    let second = v.decide(letter(alice, b"2")).unwrap();
    v.tasks = Tasks::default();
    assert_eq!(block_on(first.ticket), Err(Lost::Unknown));
    assert_eq!(block_on(second.ticket), Err(Lost::NotWritten));
    let empty = Transaction::default();
    assert_eq!(v.decide(empty).err(), Some(Refused::Failed));
}

#[test]
fn every_flipped_bit_of_a_small_log_is_found_or_harmless() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, b"one\r\n");
    v.deliver(alice, b"two\r\n");
    v.close();
    let clean = disk.peek(FIRST).unwrap();
    let end = batches(&disk).last().unwrap() + 512;
    for bit in (4096 * 8..end * 8).step_by(3) {
        let mut bad = clean.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let copy = SimDisk::new(1);
        copy.poke("superblock", disk.peek("superblock").unwrap());
        copy.poke(FIRST, bad);
        let v = open(&copy);
        assert_eq!(v.recovered.torn_bytes, 0, "bit {bit}: acknowledged, so never torn");
        for uid in v.uids(alice) {
            let want = if uid == 1 { b"one\r\n" } else { b"two\r\n" };
            if let Ok(text) = v.text(alice, uid) {
                assert_eq!(text, prefixed(alice, want), "bit {bit}");
            } else {
                continue;
            }
        }
        if v.uids(alice) != [1, 2] {
            assert!(!v.recovered.damaged.is_empty(), "bit {bit}: something is missing and nothing was said");
        }
    }
}

#[test]
fn what_only_the_kernel_remembers_is_on_disk_before_it_is_shown() {
    // Of the closing: the heartbeat's sync fails, or that of one of the superblock's copies.
    for failing in 1..=5 {
        let disk = made();
        let mut v = open(&disk);
        let alice = v.account("a@x");
        disk.fail(OpKind::Sync, Fault::Io, When::Once(failing));
        v.close();
        // The process ends, not the machine: what was written and never synced is still read back.
        let disk = disk.kill();
        assert!(disk.unsynced_sectors() > 0, "sync {failing} failed");
        let v = open(&disk);
        assert_eq!(disk.unsynced_sectors(), 0, "sync {failing}");
        drop(v);
        let v = open(&disk.crash());
        assert_eq!(v.volume.account_named("a@x"), Some(alice));
        assert_eq!((v.recovered.torn_bytes, v.recovered.damaged.len()), (0, 0));
    }
}
