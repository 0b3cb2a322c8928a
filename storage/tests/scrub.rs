//! Scrubbing: rot that nobody has met yet is found and told once; what is well is never called damaged; a pass goes on where a
//! restart has cut it off.
#![cfg(feature = "sim")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringpost_storage::check::Broken;
use ringpost_storage::sim::SimDisk;
use ringpost_storage::{Op, Pace, Settings};
use support::*;

const DAY_MS: i64 = 86_400_000;

/// Counts what it is asked for, and tells the time.
#[derive(Clone)]
struct Watch {
    now_ms: Rc<Cell<i64>>,
    octets: Rc<Cell<u64>>,
    most: Rc<Cell<u64>>,
}

impl Watch {
    fn new() -> Watch {
        Watch { now_ms: Rc::new(Cell::new(NOW_MS)), octets: Rc::default(), most: Rc::default() }
    }
}

impl Pace for Watch {
    fn now_ms(&self) -> i64 {
        self.now_ms.get()
    }

    async fn rest(&self, octets: u64) {
        self.octets.set(self.octets.get() + octets);
        self.most.set(self.most.get().max(octets));
        turns(1).await;
    }
}

/// One call: whether a pass was completed, and what was told.
fn scrub(v: &mut Open, watch: &Watch) -> (bool, Vec<Broken>) {
    let done = Rc::new(Cell::new(None));
    let told = Rc::new(RefCell::new(Vec::new()));
    let (volume, pace, tell, out) = (v.volume.clone(), watch.clone(), told.clone(), done.clone());
    v.tasks.spawn(async move {
        let complete = volume.scrub(&pace, 30 * DAY_MS, |broken| tell.borrow_mut().push(broken)).await;
        out.set(Some(complete));
    });
    v.tasks.settle();
    (done.get().expect("it comes to an end"), told.take())
}

fn with_checkpoints() -> Settings {
    Settings { checkpoint_bytes: 64 << 10, ..settings() }
}

/// A volume of some segments, with a checkpoint.
fn letters() -> SimDisk {
    let disk = made();
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    let alice = v.account("alice@x");
    for n in 0..60 {
        v.deliver(alice, &text(5_000, n));
    }
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![3] });
    v.close();
    disk
}

#[test]
fn a_volume_that_is_well_is_read_whole_and_once_a_period() {
    let disk = letters();
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    let watch = Watch::new();
    assert_eq!(scrub(&mut v, &watch), (true, vec![]));
    let stats = v.volume.stats();
    assert!(stats.scrubbed_bytes > 59 * 5_000 && stats.scrubbed_bytes == watch.octets.get(), "{stats:?}");
    assert!(watch.most.get() <= 256 << 10, "{}", watch.most.get());
    assert_eq!((stats.scrub_passes, stats.scrub_errors), (1, 0));
    assert_eq!(stats.scrub_completed_s, NOW_MS as u64 / 1_000);
    assert_eq!(scrub(&mut v, &watch), (false, vec![]), "not twice");
    v.close();
    // Nor after a restart, until it is time or somebody wants it.
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    assert_eq!(scrub(&mut v, &watch), (false, vec![]));
    assert_eq!(v.volume.stats().scrub_completed_s, NOW_MS as u64 / 1_000);
    v.volume.scrub_soon();
    assert_eq!(scrub(&mut v, &watch), (true, vec![]));
    watch.now_ms.set(NOW_MS + 30 * DAY_MS);
    assert_eq!(scrub(&mut v, &watch), (true, vec![]));
}

#[test]
pub fn rot_is_told_once_and_rot_in_what_nobody_has_is_not() {
    let disk = letters();
    let spoil_body = |n: u64| {
        let body = text(5_000, n);
        for (name, _) in disk.files() {
            let bytes = disk.peek(&name).unwrap();
            if let Some(at) = bytes.windows(64).position(|w| *w == body[..64]) {
                disk.spoil(&name, at + 300, &[bytes[at + 300] ^ 1]);
                return (name, at as u64);
            }
        }
        panic!("it is there")
    };
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    let watch = Watch::new();
    assert_eq!(scrub(&mut v, &watch).1, []);
    spoil_body(2); // UID 3, which is expunged.
    let (_, at) = spoil_body(10);
    let page = disk.files().into_iter().find(|(name, _)| name.starts_with("pages-")).expect("a checkpoint").0;
    let pages = disk.peek(&page).unwrap();
    v.volume.scrub_soon();
    let (complete, told) = scrub(&mut v, &watch);
    assert!(complete);
    let [Broken::Body { offset, octets: 5_000, .. }] = told[..] else { panic!("{told:?}") };
    assert_eq!(offset, at);
    for page_at in (0..pages.len()).step_by(4_096) {
        disk.spoil(&page, page_at + 100, &[pages[page_at + 100] ^ 1]);
    }
    v.volume.scrub_soon();
    let (complete, told) = scrub(&mut v, &watch);
    assert!(complete && !told.is_empty(), "the body is not told again, the pages are");
    assert!(told.iter().all(|what| matches!(what, Broken::Page { .. })), "{told:?}");
    assert_eq!(v.volume.stats().scrub_errors, 1 + told.len() as u64);
}

#[test]
fn batches_that_rot_and_sectors_that_do_not_read_are_told_and_the_rest_is_read() {
    let disk = letters();
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    let all = batches(&disk);
    disk.spoil(FIRST, all[2] + 200, &[1, 2, 3]);
    disk.wear_out(FIRST, all[5], 512);
    let watch = Watch::new();
    let (complete, told) = scrub(&mut v, &watch);
    assert!(complete);
    let at = |n: usize| all[n] as u64;
    assert!(told.contains(&Broken::Log { segment: 1, offset: at(2), octets: at(3) - at(2) }), "{told:?}");
    assert!(told.contains(&Broken::Log { segment: 1, offset: at(5), octets: at(6) - at(5) }), "{told:?}");
    assert!(told.iter().any(|what| matches!(what, Broken::Unread(place) if place.offset == at(5))), "{told:?}");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(v.volume.stats().scrubbed_bytes > 55 * 5_000);
}

#[test]
fn a_pass_goes_on_after_a_restart() {
    let disk = letters();
    let segments = disk.files().iter().filter(|(name, _)| name.starts_with("segment-")).count() as u32;
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    let watch = Watch::new();
    let volume = v.volume.clone();
    let pace = watch.clone();
    v.tasks.spawn(async move { assert!(!volume.scrub(&pace, 30 * DAY_MS, |_| {}).await) });
    // It closes in the middle of the third segment.
    while v.volume.scrub_next() != Some(3) {
        v.tasks.turn();
    }
    let read = watch.octets.get();
    v.close();
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    let watch = Watch::new();
    assert_eq!(scrub(&mut v, &watch), (true, vec![]));
    let rest = watch.octets.get();
    v.volume.scrub_soon();
    assert_eq!(scrub(&mut v, &watch), (true, vec![]));
    let whole = watch.octets.get() - rest;
    assert!(rest + SEGMENT < whole && rest + read > whole, "{rest} and {read} of {whole}, {segments} segments");
    assert_eq!(v.volume.stats().scrub_passes, 2);
    assert_eq!(v.volume.scrub_next(), None);
}

#[test]
fn segments_that_are_given_back_meanwhile_are_nobodys_damage() {
    let disk = letters();
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    let alice = v.volume.account_named("alice@x").unwrap();
    let watch = Watch::new();
    let told = Rc::new(RefCell::new(Vec::new()));
    let (volume, pace, tell) = (v.volume.clone(), watch.clone(), told.clone());
    v.tasks.spawn(async move {
        assert!(volume.scrub(&pace, 30 * DAY_MS, |broken| tell.borrow_mut().push(broken)).await);
    });
    while v.volume.scrub_next() != Some(2) {
        v.tasks.turn();
    }
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: (1..=55).collect() });
    let (volume, pace) = (v.volume.clone(), Watch::new());
    v.tasks
        .spawn(async move { while let ringpost_storage::Compacted::Segment { .. } = volume.compact(&pace).await {} });
    for n in 0..40 {
        v.deliver(alice, &text(5_000, 100 + n));
    }
    v.tasks.settle();
    assert_eq!(told.take(), []);
}

#[test]
fn r27_a_copy_of_the_superblock_that_rots_is_told_and_the_next_opening_mends_it() {
    let disk = letters();
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    assert_eq!(scrub(&mut v, &Watch::new()), (true, vec![]));
    for (copy, at) in [(1usize, 300), (3, 4_000)] {
        let at = copy * (64 << 10) + at;
        disk.spoil("superblock", at, &[disk.peek("superblock").unwrap()[at] ^ 1]);
    }
    v.volume.scrub_soon();
    let told = scrub(&mut v, &Watch::new());
    assert_eq!(told, (true, vec![Broken::Superblock { copy: 1 }, Broken::Superblock { copy: 3 }]));
    v.close();
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    v.volume.scrub_soon();
    assert_eq!(scrub(&mut v, &Watch::new()), (true, vec![]));
}

#[test]
fn r27_a_superblock_that_is_written_meanwhile_is_no_damage() {
    let disk = letters();
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    let alice = v.volume.account_named("alice@x").unwrap();
    let told = Rc::new(RefCell::new(Vec::new()));
    for round in 0..12 {
        v.volume.scrub_soon();
        let (volume, tell) = (v.volume.clone(), told.clone());
        v.tasks.spawn(async move {
            volume.scrub(&Watch::new(), 30 * DAY_MS, |broken| tell.borrow_mut().push(broken)).await;
        });
        // Segments begin and checkpoints are taken at every stage of it.
        for n in 0..30 {
            drop(v.decide(letter(alice, &text(5_000, round * 30 + n))));
            for _ in 0..round + 1 {
                v.tasks.turn();
            }
        }
        v.tasks.settle();
    }
    assert!(v.volume.stats().checkpoints > 5 && v.volume.stats().scrub_passes > 3, "{:?}", v.volume.stats());
    assert_eq!(told.take(), []);
}

#[test]
fn r27_rot_in_the_root_of_a_checkpoint_or_in_the_one_before_it_is_told() {
    let disk = letters();
    let mut v = try_open_with(&disk, with_checkpoints()).unwrap();
    assert_eq!(scrub(&mut v, &Watch::new()), (true, vec![]));
    let pages = || -> Vec<(String, usize)> {
        let files = disk.files().into_iter().filter(|(name, _)| name.starts_with("pages-"));
        let of = |(name, len): (String, usize)| (0..len).step_by(4_096).map(move |at| (name.clone(), at));
        files.flat_map(of).collect()
    };
    // A root says of itself that it is one.
    let is_root = |(name, at): &(String, usize)| {
        let page = &disk.peek(name).unwrap()[*at..at + 4_096];
        page[16..20] == *b"RPp\n" && page[20..22] == [0xff, 0xff]
    };
    let roots: Vec<_> = pages().into_iter().filter(is_root).collect();
    assert!(roots.len() >= 2, "{roots:?}");
    let spoilt = |places: &[(String, usize)]| {
        for (name, at) in places {
            disk.spoil(name, at + 100, &[disk.peek(name).unwrap()[at + 100] ^ 1]);
        }
    };
    spoilt(&roots);
    v.volume.scrub_soon();
    let (_, told) = scrub(&mut v, &Watch::new());
    assert_eq!(told.len(), 2, "the newest and the one before: {told:?}");
    let page = |broken: &Broken| matches!(broken, Broken::Page { file, offset } if roots.contains(&(file.clone(), *offset as usize)));
    assert!(told.iter().all(page), "{told:?}");
}
