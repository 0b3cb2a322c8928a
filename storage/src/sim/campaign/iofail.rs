//! The n-th step of the disk fails (R3): each kind of step, each way of failing, every n, once and for good, in each of the
//! [`SCENARIOS`].
//!
//! What must be true (RELIABILITY §4.6): no panic; nothing acknowledged that a power cut could take back, judged on what is
//! left when every un-synced sector is lost, when none is, and when some are; after an error of a write or sync the volume
//! takes nothing, and what is durable stays readable; being out of room, descriptors or memory for the next segment is no
//! failure and passes; opened again on a well disk the volume is right and works.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::house::{self, Chance, House, NOW_MS};
use super::judge::{judge, well};
use super::look;
use super::model::{Model, Work};
use super::said::Said;
use super::scenarios::SCENARIOS;
use super::tally::Tally;
use super::tasks::{block_on, turns};
use crate::sim::{Fault, OpKind, SimDisk, When};
use crate::{Op, OpenError, Refused};

/// Which steps fail how.
pub const FAULTS: &[(OpKind, &[Fault])] = &[
    (OpKind::List, &[Fault::Io, Fault::NoDescriptor]),
    (OpKind::Open, &[Fault::Io, Fault::NoDescriptor, Fault::Interrupted]),
    (OpKind::Create, &[Fault::Io, Fault::NoSpace, Fault::NoDescriptor, Fault::Interrupted, Fault::Again]),
    (OpKind::Remove, &[Fault::Io]),
    (OpKind::Read, &[Fault::Io, Fault::Interrupted, Fault::Again, Fault::Cancelled]),
    (OpKind::Write, &[Fault::Io, Fault::NoSpace, Fault::Short, Fault::Interrupted, Fault::Again, Fault::Cancelled]),
    (OpKind::Sync, &[Fault::Io, Fault::NoSpace, Fault::Interrupted, Fault::Cancelled]),
];

/// A disk on which a scenario is played, and what was said meanwhile.
pub struct Stage {
    disk: SimDisk,
    house: Option<House>,
    said: Said,
    chance: Chance,
    seed: u64,
    now_ms: i64,
    lives: u64,
    /// What fails, if anything does.
    planned: Option<(OpKind, Fault)>,
    /// Faults that had struck when the volume was opened.
    before: u64,
    looks: u64,
}

/// All of one scenario: `n` counts through them, and through again with other seeds.
///
/// # Panics
/// With a sentence, when production code breaks a promise or panics itself.
pub fn run(n: u64) -> Tally {
    let (name, scenario) = SCENARIOS[n as usize % SCENARIOS.len()];
    let mut tally = Tally { seeds: 1, ..Tally::default() };
    let steps = count(n, scenario);
    for (kind, faults) in FAULTS {
        for fault in *faults {
            for at in 1..=steps.get(kind).copied().unwrap_or(0) {
                for when in [When::Once(at), When::From(at)] {
                    tally.runs += 1;
                    let run = || one(n, scenario, (*kind, *fault, when));
                    match std::panic::catch_unwind(run) {
                        Ok(more) => tally.add(&more),
                        Err(why) => {
                            let why = super::run::words(&*why);
                            panic!("scenario \"{name}\", {kind:?} fails with {fault:?}, {when:?}: {why}");
                        }
                    }
                }
            }
        }
    }
    tally
}

/// How often each kind of step is done when nothing fails.
fn count(seed: u64, scenario: fn(&mut Stage)) -> BTreeMap<OpKind, u64> {
    let counts: Rc<RefCell<BTreeMap<OpKind, u64>>> = Rc::default();
    let mut stage = Stage::new(seed, None);
    let (count, chance) = (counts.clone(), stage.chance.clone());
    stage.disk.set_delay(Some(Rc::new(move |kind| {
        *count.borrow_mut().entry(kind).or_default() += 1;
        Box::pin(turns(chance.borrow_mut().random_range(1..=3)))
    })));
    scenario(&mut stage);
    counts.borrow().clone()
}

fn one(seed: u64, scenario: fn(&mut Stage), (kind, fault, when): (OpKind, Fault, When)) -> Tally {
    let mut stage = Stage::new(seed, Some((kind, fault)));
    house::slow(&stage.disk, &stage.chance);
    stage.disk.fail(kind, fault, when);
    scenario(&mut stage);
    stage.settle();
    let mut tally = Tally { struck: u64::from(stage.disk.struck() > 0), looks: stage.looks, ..Tally::default() };
    stage.state(false);
    stage.disk.set_delay(None);
    let doubts = stage.disk.doubts();
    // What a kill leaves; a cut that takes all it can, none, some.
    let mut left = vec![stage.disk.fork_killed(1), stage.disk.fork_as(&vec![1; doubts.len()], 1)];
    left.extend((0..3).map(|n| stage.disk.fork_crashed(n)));
    for disk in left {
        afterwards(&disk, &stage.said.promised());
        tally.judged += 1;
    }
    tally
}

/// On a well disk: the volume opens, shows what it must, and works.
fn afterwards(disk: &SimDisk, before: &Said) {
    let mut house = house::open(disk, 77, || true).expect("nobody stops it").unwrap_or_else(|why| panic!("{why}"));
    let mut said = Said::new(judge(&house, before), 1).in_epoch(house.epoch());
    let put = Work { texts: vec![], ops: vec![Op::PutDomain { name: "later.test".into(), info: b"x".to_vec() }] };
    let decided = house.decide(&put, NOW_MS + 100_000, || true).expect("nobody stops it");
    said.decided(&put, decided.unwrap_or_else(|why| panic!("opened again, it refuses: {why}")));
    while house.turn() {}
    said.listen();
    assert_eq!(said.acked(), 1, "opened again, it works");
    let house = house::open(&disk.crash(), 78, || true).expect("nobody stops it").expect("it opens again");
    let _ = judge(&house, &said.promised());
}

impl Stage {
    fn new(seed: u64, planned: Option<(OpKind, Fault)>) -> Self {
        let chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
        Stage {
            disk: SimDisk::new(seed),
            house: None,
            said: Said::new(Model::default(), 0),
            chance,
            seed,
            now_ms: NOW_MS,
            lives: 1,
            planned,
            before: 0,
            looks: 0,
        }
    }

    /// Makes or opens the volume.
    pub fn open(&mut self) {
        self.seed += 1;
        self.lives += 1;
        self.before = self.disk.struck();
        match house::open(&self.disk, self.seed, || true).expect("nobody stops it") {
            Ok(house) => self.opened(house),
            Err(OpenError::Io { .. }) if self.disk.struck() > self.before => self.house = None,
            Err(why) => panic!("opening failed: {why}"),
        }
    }

    fn opened(&mut self, house: House) {
        if self.disk.struck() == self.before {
            well(&house);
        }
        // If something failed and it opened all the same, what it shows has to be right all the same.
        let Some(mut found) = self.shown(&house) else { return };
        self.said.recovered(&mut found).unwrap_or_else(|why| panic!("{why}"));
        self.said = Said::new(found, self.lives).in_epoch(house.epoch());
        self.before = self.disk.struck();
        self.house = Some(house);
    }

    /// What it shows; `None` where the disk does not let it read.
    fn shown(&mut self, house: &House) -> Option<Model> {
        let before = self.disk.struck();
        match block_on(look::shown(&house.volume)) {
            Ok(found) => Some(found),
            Err(_) if self.disk.struck() > before => None,
            Err(why) => panic!("unreadable, and nothing failed: {why}"),
        }
    }

    /// Ends the process.
    pub fn kill(&mut self) {
        self.go_on_with(self.disk.fork_killed(self.seed));
    }

    /// Cuts the power.
    pub fn cut(&mut self) {
        self.go_on_with(self.disk.fork_crashed(self.seed));
    }

    /// What was said is a promise to the next life; what fails, fails on.
    fn go_on_with(&mut self, disk: SimDisk) {
        self.said.listen();
        self.said = self.said.promised();
        self.house = None;
        disk.set_delay(self.disk.delay());
        disk.set_faults(self.disk.take_faults());
        self.disk = disk;
    }

    /// Opens the volume again; if it is open, it is killed first.
    pub fn reopen(&mut self) {
        if self.house.is_some() {
            self.kill();
        }
        self.open();
    }

    /// Decides work and does not wait for it.
    pub fn begin(&mut self, texts: Vec<Vec<u8>>, ops: impl FnOnce(&Model) -> Option<Vec<Op>>) {
        let Some(house) = &mut self.house else { return };
        let Some(ops) = ops(self.said.last()) else { return };
        let work = Work { texts: texts.into_iter().map(Into::into).collect(), ops };
        self.now_ms += 2_000;
        let said = &mut self.said;
        let decided = house.decide(&work, self.now_ms, || {
            said.listen();
            true
        });
        match decided.expect("nobody stops it") {
            Ok(decided) => said.decided(&work, decided),
            Err(why) => assert!(self.disk.struck() > 0, "refused, and nothing failed: {why}"),
        }
    }

    /// Decides work and waits for it.
    pub fn work(&mut self, texts: Vec<Vec<u8>>, ops: impl FnOnce(&Model) -> Option<Vec<Op>>) {
        self.begin(texts, ops);
        self.settle();
    }

    /// Lets time pass.
    pub fn turns(&mut self, n: u32) {
        for _ in 0..n {
            if let Some(house) = &mut self.house {
                house.turn();
            }
            self.said.listen();
        }
    }

    /// Lets time pass until nothing moves.
    pub fn settle(&mut self) {
        while self.house.as_mut().is_some_and(House::turn) {
            self.said.listen();
        }
        self.said.listen();
    }

    /// Folds the first account.
    pub fn fold(&mut self) {
        let account = self.said.durable().accounts.keys().next().copied();
        if let (Some(house), Some(account)) = (&mut self.house, account) {
            house.fold(account);
        }
        self.settle();
    }

    /// Compacts what is worth it.
    pub fn compact(&mut self) {
        while self.house.as_mut().is_some_and(House::compact_now) {}
        self.settle();
    }

    /// A second passes.
    pub fn heartbeat(&mut self) {
        if let Some(house) = &mut self.house {
            house.volume.heartbeat();
        }
        self.settle();
    }

    /// Closes the volume.
    pub fn close(&mut self) {
        let Some(house) = &mut self.house else { return };
        let closed: Rc<Cell<bool>> = house.close();
        self.settle();
        assert!(closed.get(), "closing ends, whatever fails");
        self.state(true);
        self.kill();
    }

    /// Looks at everything.
    pub fn look(&mut self) {
        let Some(house) = self.house.take() else { return };
        if let Some(found) = self.shown(&house) {
            let differs = self.said.durable().differs(&found);
            assert_eq!(differs, None, "shown at work");
            self.looks += 1;
        }
        self.house = Some(house);
    }

    /// RELIABILITY §4.6: what the volume says of itself is what the fault makes of it.
    fn state(&mut self, closed: bool) {
        let Some((kind, fault)) = self.planned else { return };
        let struck = self.disk.struck() > self.before;
        let Some(mut house) = self.house.take() else { return };
        let faults = self.disk.take_faults();
        let failed = house.volume.stats().failed;
        let passes = matches!(fault, Fault::NoSpace | Fault::NoDescriptor | Fault::Interrupted | Fault::Again);
        let fatal = matches!(kind, OpKind::Write | OpKind::Sync) || (kind == OpKind::Create && !passes);
        if struck && fatal {
            assert!(failed, "the volume goes on after {fault:?} of a {kind:?}");
        }
        if !struck || !fatal {
            // (A volume that had to begin a segment when it was opened, and had no room for it, is open for readers.)
            assert!(!failed || self.before > 0, "the volume failed without a reason to");
        }
        if let Some(found) = self.shown(&house) {
            assert_eq!(self.said.durable().differs(&found), None, "shown after the fault");
            self.looks += 1;
        }
        let put = Work { texts: vec![], ops: vec![Op::PutDomain { name: "probe.test".into(), info: vec![] }] };
        let decided = house.decide(&put, self.now_ms + 10_000, || true).expect("nobody stops it");
        match decided {
            Ok(decided) => {
                assert!(!failed && !closed, "a failed or closed volume takes work");
                self.said.decided(&put, decided);
            }
            Err(Refused::Failed) => assert!(failed || closed, "a well volume says it failed"),
            Err(why) => panic!("after the fault it refuses: {why}"),
        }
        self.house = Some(house);
        self.settle();
        self.disk.set_faults(faults);
    }
}
