//! Stories of recycled segments. Nothing compacts here: domains are put again and again, so a segment counts no more
//! once each was put anew behind it, and then it is retired.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::log::RETIRED_MAX;
use crate::disk::Disk;
use crate::segment::{self, FIRST_INCARNATION, HEADER_BYTES, SegmentHeader};
use crate::sim::campaign::house::{self, House, NOW_MS, SEGMENT_BYTES};
use crate::sim::campaign::tasks::block_on;
use crate::sim::{Fault, OpKind, SimDisk, When};
use crate::{Op, Refused, Ticket, Transaction, Volume};

/// What is put.
type Domains = BTreeMap<String, Vec<u8>>;

/// A life that puts domains, and what it may promise.
struct Life {
    house: House,
    chance: SmallRng,
    /// What each transaction makes of the one before; the first is what was found at opening.
    states: Vec<Domains>,
    tickets: Vec<(usize, Ticket)>,
    acked: usize,
    /// The segment that was the last when a domain was put for the last time, once that is durable.
    newest: BTreeMap<String, u32>,
    retires: bool,
}

const NAMES: u32 = 5;

fn shown(volume: &Volume<SimDisk>) -> Domains {
    volume.domains().into_iter().map(|(name, info)| (name, info.to_vec())).collect()
}

fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    block_on(Volume::create(&disk, &house::facts(seed))).expect("nothing hinders it");
    disk
}

fn open(disk: &SimDisk, seed: u64) -> Life {
    let opened = house::open(disk, seed, || true).expect("nobody stops it");
    let house = opened.unwrap_or_else(|why| panic!("opening failed: {why}"));
    assert_eq!((&house.recovered.damaged, house.recovered.lost_batches), (&vec![], 0), "nothing was damaged");
    let states = vec![shown(&house.volume)];
    let chance = SmallRng::seed_from_u64(seed);
    Life { house, chance, states, tickets: Vec::new(), acked: 0, newest: BTreeMap::new(), retires: true }
}

impl Life {
    /// Puts the next domain, then takes so many turns.
    fn put(&mut self, turns: u32, mut each_turn: impl FnMut(&mut Life)) -> Result<(), Refused> {
        let name = format!("d{}", self.states.len() as u32 % NAMES);
        let info: Vec<u8> = vec![self.chance.random(); self.chance.random_range(10..6_000)];
        let op = Op::PutDomain { name: name.clone(), info: info.clone() };
        let decided = self.house.volume.decide(Transaction { bodies: vec![], ops: vec![op] }, NOW_MS)?;
        let mut next = self.states.last().expect("never empty").clone();
        next.insert(name, info);
        self.states.push(next);
        self.tickets.push((self.states.len() - 1, decided.ticket));
        for _ in 0..turns {
            self.house.turn();
            self.listen();
            each_turn(self);
        }
        Ok(())
    }

    /// Hears which transactions are durable, and retires what nobody needs.
    fn listen(&mut self) {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let (acked, newest, log) = (&mut self.acked, &mut self.newest, &self.house.volume.0.log);
        self.tickets.retain_mut(|(n, ticket)| match std::pin::Pin::new(ticket).poll(&mut cx) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(told) => {
                if told.is_ok() {
                    *acked = (*acked).max(*n);
                    // Known only afterwards: it lies there or before, and before is what must not be believed.
                    newest.insert(format!("d{}", (*n as u32 - 1) % NAMES), log.borrow().durable_end.segment);
                }
                false
            }
        });
        // One segment back, for what was put while the log went on into the next.
        let needed = self.newest.values().min().map_or(0, |least| least.saturating_sub(1));
        let mut log = log.borrow_mut();
        let before = log.head.0;
        while self.retires && self.newest.len() == NAMES as usize && log.head.0 < needed && !log.failed {
            let head = log.head.0;
            log.retire(head);
        }
        let retired = log.head.0 > before;
        drop(log);
        if retired {
            self.house.volume.0.keep_bell.ring();
        }
    }

    fn run(&mut self, puts: u32) {
        for _ in 0..puts {
            self.put(20, |_| {}).expect("taken");
        }
        while self.house.turn() {
            self.listen();
        }
    }

    fn close(&mut self) {
        let closed = self.house.close();
        while self.house.turn() {}
        assert!(closed.get());
    }

    /// What was found afterwards must be one of the states from the last that was acknowledged on.
    fn allows(&self, found: &Domains) -> bool {
        self.states[self.acked..].contains(found)
    }
}

fn header(disk: &SimDisk, name: &str) -> Option<SegmentHeader> {
    SegmentHeader::decode(&disk.peek(name)?[..HEADER_BYTES])
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.files().into_iter().map(|(name, _)| name).filter(|n| segment::number(n).is_some()).collect()
}

#[test]
fn a_retired_file_is_the_next_segment_and_nothing_is_zeroed() {
    let disk = new_disk(1);
    let mut life = open(&disk, 1);
    life.run(200);
    let active = life.house.volume.0.log.borrow().active;
    assert!(active > 8, "many segments went by: {active}");
    assert!(segments(&disk).len() <= 4 + RETIRED_MAX, "in few files: {:?}", segments(&disk));
    let begun = header(&disk, &segment::name(active)).expect("it was begun");
    assert!(begun.segment == active && begun.incarnation > FIRST_INCARNATION);
    let last = life.states.last().expect("some").clone();
    life.close();
    drop(life);
    let life = open(&disk.crash(), 2);
    assert_eq!(shown(&life.house.volume), last);
    assert_eq!(life.house.recovered.torn_bytes, 0, "what the files held before is no torn tail");
}

#[test]
fn a_clean_tail_in_a_recycled_file_is_not_shut_out() {
    let disk = new_disk(3);
    let mut life = open(&disk, 3);
    life.run(120);
    drop(life);
    let mut disk = disk.kill();
    for _ in 0..5 {
        let mut life = open(&disk, 4);
        let log = life.house.volume.0.log.borrow();
        assert_eq!((log.epoch, life.house.recovered.torn_bytes), (1, 0));
        drop(log);
        life.run(1);
        drop(life);
        disk = disk.kill();
    }
}

#[test]
fn the_head_s_file_is_not_touched_before_the_superblock_lets_it_go() {
    let disk = new_disk(5);
    let mut life = open(&disk, 5);
    life.retires = false;
    life.run(60);
    let log = &life.house.volume.0.log;
    assert!(log.borrow().active > 3);
    log.borrow_mut().retire(1);
    assert_eq!(log.borrow_mut().take_retired(), None, "a crash now would look for segment 1");
    life.house.volume.0.keep_bell.ring();
    while life.house.turn() {}
    let log = &life.house.volume.0.log;
    assert_eq!(log.borrow().superblock.head_segment, 2);
    assert_eq!(log.borrow_mut().take_retired().map(|r| (r.segment, r.incarnation)), Some((1, 1)));
}

#[test]
fn more_retired_files_than_are_kept_go_back_to_the_file_system() {
    let disk = new_disk(6);
    let mut life = open(&disk, 6);
    life.retires = false;
    life.run(300);
    let active = life.house.volume.0.log.borrow().active;
    let (all, free) = (segments(&disk).len(), disk.free_bytes().expect("said"));
    assert!(active > RETIRED_MAX as u32 + 4);
    (1..active).for_each(|n| life.house.volume.0.log.borrow_mut().retire(n));
    life.house.volume.0.keep_bell.ring();
    while life.house.turn() {}
    let gone = all - segments(&disk).len();
    assert_eq!(gone, active as usize - 1 - RETIRED_MAX);
    assert_eq!(disk.free_bytes().expect("said"), free + gone as u64 * SEGMENT_BYTES);
    drop(life);
    // They are found again as what they are, and used.
    let life = open(&disk.kill(), 7);
    assert_eq!(life.house.volume.0.log.borrow().retired.len(), RETIRED_MAX);
    assert_eq!(life.house.volume.0.log.borrow().head.0, active);
}

#[test]
fn a_retired_file_ends_a_shortage_of_space() {
    let disk = new_disk(8);
    let mut life = open(&disk, 8);
    life.retires = false;
    life.run(40);
    disk.set_free_bytes(2 << 20);
    disk.fail(OpKind::Create, Fault::NoSpace, When::From(1));
    let mut refused = None;
    while refused.is_none() {
        refused = life.put(20, |_| {}).err();
    }
    assert_eq!(refused, Some(Refused::DiskFull));
    let files = segments(&disk).len();
    life.house.volume.0.log.borrow_mut().retire(1);
    life.house.volume.0.keep_bell.ring();
    while life.house.turn() {}
    life.put(20, |_| {}).expect("there is room again");
    assert_eq!(segments(&disk).len(), files, "in the file that was there");
}

#[test]
fn damage_in_a_recycled_file_is_told_from_what_it_held_before() {
    let disk = new_disk(9);
    let mut life = open(&disk, 9);
    life.run(150);
    life.close();
    let (active, end) = {
        let log = life.house.volume.0.log.borrow();
        (log.active, log.durable_end.offset)
    };
    drop(life);
    let name = segment::name(active);
    let begun = header(&disk, &name).expect("begun");
    assert!(begun.incarnation > FIRST_INCARNATION && end > HEADER_BYTES as u64 + 1_024);
    // The first batch's header, in a segment that the superblock vouches for to its end.
    disk.spoil(&name, HEADER_BYTES, &[0xa5; 512]);
    let (_, recovered) = block_on(house::open_whole(disk.kill())).expect("it opens for what is left");
    let damaged = &recovered.damaged;
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    let (segment, at, bytes) = damaged[0];
    assert_eq!((segment, at), (active, HEADER_BYTES as u64));
    assert!(at + bytes <= end, "{bytes} octets: what was there before is not counted");
    assert!(recovered.lost_batches > 0);
}

#[test]
fn the_last_acknowledged_batches_of_a_recycled_file_are_missed() {
    let disk = new_disk(10);
    let mut life = open(&disk, 10);
    life.run(150);
    life.close();
    let (active, end) = {
        let log = life.house.volume.0.log.borrow();
        (log.active, log.durable_end.offset as usize)
    };
    drop(life);
    // As if the device had never written them: from the header on, what the file held before is still there.
    let name = segment::name(active);
    let all = disk.peek(&name).expect("there");
    let earlier = all[end..].to_vec();
    let len = (end - HEADER_BYTES).min(earlier.len());
    disk.spoil(&name, HEADER_BYTES, &earlier[..len]);
    let (_, recovered) = block_on(house::open_whole(disk.kill())).expect("it opens for what is left");
    assert!(!recovered.damaged.is_empty() && recovered.lost_batches > 0);
}

/// Lives one after the other, cut off wherever a completion changed what a cut could leave; each image is opened and
/// judged, some live on.
fn crashes(seed: u64) -> (u32, u32) {
    let (mut judged, mut recycled) = (0, 0);
    let chance: house::Chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
    let disk = new_disk(seed);
    let mut life = open(&disk, seed);
    let renames = Rc::new(RefCell::new(0));
    if chance.borrow_mut().random_ratio(2, 3) {
        // Well into recycled files before it counts.
        life.run(60);
    }
    house::slow(&disk, &chance);
    let mut seen = disk.changes();
    let each_turn = |life: &mut Life| {
        if std::mem::replace(&mut seen, disk.changes()) == disk.changes() {
            return;
        }
        let draw: u64 = chance.borrow_mut().random();
        for n in 0..2 {
            let left = if n == 0 && draw.is_multiple_of(8) {
                disk.fork_killed(draw)
            } else {
                disk.fork_crashed(draw.wrapping_add(n))
            };
            let mut after = open(&left, draw);
            assert!(life.allows(&after.states[0]), "seed {seed}: neither lost nor brought back");
            judged += 1;
            if draw.is_multiple_of(3) {
                after.run((draw >> 32) as u32 % 30);
                *renames.borrow_mut() += u32::from(after.house.volume.0.log.borrow().active > 4);
                let again = open(&left.crash(), draw);
                assert!(after.allows(&again.states[0]), "seed {seed}: the second time");
                judged += 1;
            }
        }
    };
    let mut each_turn = each_turn;
    for _ in 0..12 {
        let pace = chance.borrow_mut().random_range(0..12);
        life.put(pace, &mut each_turn).expect("taken");
    }
    recycled += *renames.borrow();
    (judged, recycled)
}

#[test]
fn a_crash_anywhere_between_two_incarnations_loses_nothing_and_brings_nothing_back() {
    let (mut judged, mut recycled) = (0, 0);
    for seed in 0..60 {
        let (more, renamed) = crashes(seed);
        judged += more;
        recycled += renamed;
    }
    assert!(judged > 2_000, "judged {judged}");
    assert!(recycled > 100, "went on in recycled files {recycled} times");
}

#[test]
fn a_recycling_that_fails_ends_the_writing_and_loses_nothing() {
    for n in 1..6 {
        let disk = new_disk(n);
        let mut life = open(&disk, n);
        disk.fail(OpKind::Recycle, Fault::Io, When::Once(n));
        while life.put(20, |_| {}).is_ok() {}
        assert!(life.house.volume.stats().failed);
        let after = open(&disk.crash(), n);
        assert!(life.allows(&after.states[0]));
    }
}
