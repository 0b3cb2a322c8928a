//! Checkpoints: opening reads them and the log behind them; damage to them costs time and nothing else.

#[path = "support/mod.rs"]
mod support;

use ringpost_storage::sim::campaign::look;
use ringpost_storage::sim::{Fault, OpKind, SimDisk, When};
use ringpost_storage::{AccountId, Flags, FlagsHow, Op, Outcome, Settings, Volume};
use support::*;

/// So much log, and there is a checkpoint.
const EACH: u64 = 20 << 10;

fn often() -> Settings {
    Settings { checkpoint_bytes: EACH, ..settings() }
}

fn open_often(disk: &SimDisk) -> Open {
    let (volume, recovered) = block_on(Volume::open(disk.clone(), Some((STORE, 3)), often())).unwrap();
    let mut tasks = Tasks::default();
    let looped = volume.clone();
    tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
    let held = hold_all(&volume);
    Open { held, volume, recovered, tasks }
}

/// Accounts, letters, flags and what else there is; some 300 KiB of log, the process killed behind it.
fn busy() -> (SimDisk, Vec<AccountId>) {
    let disk = made();
    let mut v = open_often(&disk);
    let mut all = Vec::new();
    for n in 0..40 {
        all.push(v.account(&format!("p{n}@x")));
    }
    v.done(Op::PutDomain { name: "x".into(), info: b"info".to_vec() });
    for n in 0..80u64 {
        let account = all[n as usize * 7 % 40];
        let uid = v.deliver(account, &text(3_000, n));
        match n % 4 {
            0 => drop(v.done(store(account, &[uid], FlagsHow::Add, Flags::of(Flags::SEEN)))),
            1 => drop(v.done(Op::Expunge { account, mailbox: INBOX, uids: vec![uid] })),
            _ => {}
        }
    }
    v.done(Op::RemoveAccount { account: all[3] });
    assert!(v.volume.stats().checkpoints > 5, "{:?}", v.volume.stats());
    drop(v);
    (disk.kill(), all)
}

/// What it shows when it is opened as it is, and by reading the whole log.
fn compare(disk: &SimDisk) -> Open {
    let whole = support::open(&disk.fork_killed(1));
    let quick = open_often(disk);
    let want = block_on(look::shown(&whole.volume)).unwrap();
    let found = block_on(look::shown(&quick.volume)).unwrap();
    assert_eq!(want.differs(&found), None);
    assert_eq!(quick.recovered.damaged, whole.recovered.damaged);
    assert_eq!(quick.recovered.durable, whole.recovered.durable);
    quick
}

/// The page that the superblock says a checkpoint begins with: file and offset. `n`: 0 the newest, 1 the one before.
fn root_of(disk: &SimDisk, n: usize) -> (String, usize) {
    let superblock = disk.peek("superblock").unwrap();
    let field = |at: usize| u32::from_le_bytes(superblock[at..at + 4].try_into().unwrap());
    let at = [168, 216][n];
    (format!("pages-{:08}", field(at)), field(at + 8) as usize)
}

fn spoil_root(disk: &SimDisk, n: usize) {
    let (name, at) = root_of(disk, n);
    disk.spoil(&name, at + 100, b"!");
}

#[test]
fn after_a_kill_the_checkpoint_and_the_tail_are_all_that_is_read() {
    let (disk, _) = busy();
    let v = compare(&disk);
    assert!(v.recovered.bytes < 3 * EACH, "{:?}", v.recovered);
}

#[test]
fn closing_leaves_nothing_to_replay_but_its_heartbeat() {
    let (disk, _) = busy();
    let v = open_often(&disk);
    v.close();
    let v = compare(&disk);
    assert!(v.recovered.batches <= 1, "{:?}", v.recovered);
    let before = v.volume.stats();
    v.close();
    let v = compare(&disk);
    assert!(v.recovered.batches <= 2 && before.checkpoints == 0, "{:?}", v.recovered);
}

#[test]
fn seconds_bring_a_checkpoint_too() {
    let disk = made();
    let mut v = open_often(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, b"hello");
    for second in 1..=30 {
        assert_eq!(v.volume.stats().checkpoints, 0, "{second}");
        v.volume.heartbeat();
        v.tasks.settle();
    }
    assert_eq!(v.volume.stats().checkpoints, 1);
    (0..100).for_each(|_| v.volume.heartbeat());
    v.tasks.settle();
    assert_eq!(v.volume.stats().checkpoints, 1, "nothing has changed");
    drop(v);
    assert!(compare(&disk.kill()).recovered.batches <= 1);
}

#[test]
fn a_damaged_root_means_the_checkpoint_before_and_a_longer_tail() {
    let (disk, _) = busy();
    let newest = open_often(&disk.fork_killed(1)).recovered;
    spoil_root(&disk, 0);
    let v = compare(&disk);
    assert!(v.recovered.batches > newest.batches && v.recovered.bytes < 6 * EACH, "{:?}", v.recovered);
    // What comes next begins with the one that was read.
    v.close();
    let v = compare(&disk);
    assert!(v.recovered.batches <= 1, "{:?}", v.recovered);
}

#[test]
fn a_damaged_page_of_either_is_found_wherever_it_is() {
    let (disk, _) = busy();
    let whole = support::open(&disk.fork_killed(1)).recovered.batches;
    let quick = open_often(&disk.fork_killed(1)).recovered.batches;
    let (mut newest, mut before, mut neither) = (0, 0, 0);
    for (name, len) in disk.files().into_iter().filter(|(name, _)| name.starts_with("pages-")) {
        for page in (0..len).step_by(4_096) {
            let image = disk.fork_killed(1);
            image.spoil(&name, page + 30, b"?");
            let v = compare(&image);
            match v.recovered.batches {
                batches if batches == quick => newest += 1,
                batches if batches < whole => before += 1,
                _ => neither += 1,
            }
        }
    }
    // Pages that have not changed since are in both.
    assert!(newest > 8 && before > 2 && neither > 2, "{newest} {before} {neither}");
}

#[test]
fn without_a_checkpoint_that_reads_the_whole_log_is_read() {
    let (disk, all) = busy();
    spoil_root(&disk, 0);
    spoil_root(&disk, 1);
    let mut v = compare(&disk);
    assert!(v.recovered.batches > 100, "{:?}", v.recovered);
    v.deliver(all[0], b"and on");
    v.close();
    assert!(compare(&disk).recovered.batches <= 1);
    disk.poke("pages-00000001", Vec::new());
    let mut v = compare(&disk);
    assert!(v.recovered.batches > 100, "nor with a file that is not one");
    v.deliver(all[0], b"and on");
    v.close();
    assert!(compare(&disk).recovered.batches <= 1);
    let names: Vec<String> = disk.files().into_iter().map(|(name, _)| name).collect();
    let gone = disk.clone();
    for name in names.iter().filter(|name| name.starts_with("pages-")) {
        block_on(ringpost_storage::disk::Disk::remove(&gone, name)).unwrap();
    }
    assert!(compare(&gone).recovered.batches > 100, "nor without its files");
}

#[test]
fn a_segment_that_is_gone_behind_a_checkpoint_is_told_at_the_start() {
    let (disk, all) = busy();
    block_on(ringpost_storage::disk::Disk::remove(&disk, "segment-00000002")).unwrap();
    let v = open_often(&disk);
    assert!(v.recovered.damaged.iter().any(|(segment, ..)| *segment == 2), "{:?}", v.recovered);
    // Whatever is shown is either read, or said to be damaged.
    let shown = all.iter().flat_map(|account| v.uids(*account).into_iter().map(|uid| (*account, uid)));
    assert!(shown.filter(|(account, uid)| v.text(*account, *uid).is_ok()).count() > 10);
}

#[test]
fn no_room_for_pages_puts_the_checkpoint_off() {
    let disk = made();
    let mut v = open_often(&disk);
    let alice = v.account("a@x");
    disk.fail(OpKind::Create, Fault::NoSpace, When::Once(1));
    (0..8).for_each(|n| {
        let _ = v.deliver(alice, &text(3_000, n));
    });
    assert_eq!((v.volume.stats().checkpoints_put_off, v.volume.stats().failed), (1, false));
    assert_eq!(v.volume.stats().checkpoints, 0);
    (0..10).for_each(|n| {
        let _ = v.deliver(alice, &text(3_000, n));
    });
    assert!(v.volume.stats().checkpoints > 0, "{:?}", v.volume.stats());
    drop(v);
    let v = compare(&disk.kill());
    assert_eq!(v.uids(alice).len(), 18);
}

#[test]
fn a_failed_write_of_a_page_ends_the_writing_and_the_log_has_it_all() {
    for n in 1..6 {
        let (disk, _) = busy();
        let mut v = open_often(&disk);
        let alice = v.account("a@x");
        disk.fail(OpKind::Write, Fault::Short, When::Once(4 + n));
        for n in 0..9 {
            if let Ok(decided) = v.decide(letter(alice, &text(3_000, n))) {
                v.tasks.spawn(async move {
                    {
                        let _ = decided.ticket.await;
                    }
                });
            }
            v.tasks.settle();
        }
        assert!(v.volume.stats().failed);
        drop(v);
        compare(&disk.kill());
    }
}

#[test]
fn damage_that_was_found_is_known_to_the_checkpoint() {
    let disk = made();
    let mut v = open_often(&disk);
    let alice = v.account("a@x");
    (1..=3).for_each(|n| {
        let _ = v.deliver(alice, &text(3_000, n));
    });
    drop(v);
    let disk = disk.kill();
    let at = batches(&disk)[2];
    disk.spoil(FIRST, at + 40, b"!!");
    let mut v = open_often(&disk);
    assert_eq!((v.recovered.lost_batches, v.recovered.damaged.len()), (1, 1));
    // One of the letters is lost; the numbers jump.
    let uid = v.deliver(alice, b"after the loss");
    assert!(uid > 100, "{uid}");
    v.close();
    let v = open_often(&disk);
    assert_eq!((v.recovered.lost_batches, v.recovered.damaged.len(), v.volume.is_whole()), (1, 1, false));
    assert!(v.recovered.batches <= 1, "{:?}", v.recovered);
    assert_eq!(v.uids(alice).len(), 3);
    let mut v = v;
    let Outcome::Account(bob) = v.done(Op::PutAccount {
        name: "b@x".into(),
        secrets: vec![],
        mailboxes: vec![],
        limits: ringpost_storage::Limits::NONE,
    }) else {
        panic!("an account");
    };
    assert!(bob > alice);
}
