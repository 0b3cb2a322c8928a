//! A life of which every write is known: what was written where, and which transactions lie in it.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use rand::Rng;
use rand::rngs::SmallRng;

use super::house::{self, Chance, House, NOW_MS};
use super::model::{Model, Work};
use super::said::Said;
use super::tally::Tally;
use super::tasks::block_on;
use super::truth::{Hurt, Truth};
use super::work::Scale;
use crate::sim::{SimDisk, Write};
use crate::{Commit, Volume};

/// Octets of a segment before its first batch.
pub const SEGMENT_HEADER_BYTES: usize = 4_096;

/// A volume at work, and all that is known of it.
pub struct Witness {
    /// Its disk, which keeps a journal.
    pub disk: SimDisk,
    /// The volume.
    pub house: House,
    /// What was said.
    pub said: Said,
    /// What was ever true.
    pub truth: Truth,
    /// Disks as they were now and then.
    pub before: Vec<SimDisk>,
    ear: Ear,
}

/// Which transactions lie in which batch: those that are acknowledged in the turn in which the batch became durable. No two
/// become durable in one turn.
#[derive(Default)]
struct Ear {
    /// Writes in the journal when the batch that is on its way was begun, and the same of the one that has just become durable.
    begun: Rc<Cell<(usize, Option<usize>)>>,
    /// The same of those before, and the transactions in them.
    durable: Vec<(usize, Range<usize>)>,
}

impl Ear {
    fn hear(&mut self, said: &mut Said) {
        let before = said.acked();
        said.listen();
        if let (begun, Some(durable)) = self.begun.get() {
            self.durable.push((durable, before + 1..said.acked() + 1));
            self.begun.set((begun, None));
        }
    }
}

/// A batch on disk.
#[derive(Clone, Debug)]
pub struct BatchAt {
    /// Its write.
    pub write: Write,
    /// The transactions in it, if it is somebody's.
    pub transactions: Range<usize>,
    /// Something later was synced that says that this one is durable.
    pub vouched: bool,
}

impl BatchAt {
    /// True if some of these octets are its.
    #[must_use]
    pub fn holds(&self, file: &str, octets: Range<usize>) -> bool {
        *self.write.file == *file && self.write.at < octets.end && octets.start < self.write.at + self.write.len
    }
}

impl Witness {
    /// A volume just made.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn new(seed: u64, chance: &Chance) -> Self {
        let disk = SimDisk::new(seed);
        block_on(Volume::create(&disk, &house::facts(seed))).expect("nothing hinders it");
        disk.keep_journal();
        let house = house::open(&disk, seed, || true).expect("nobody stops it").expect("nothing hinders it");
        let ear = Ear::default();
        let (begun, journal) = (ear.begun.clone(), disk.clone());
        house.volume.watch_commits(move |commit| match commit {
            Commit::Begun => begun.set((journal.journal_len(), begun.get().1)),
            Commit::Durable { .. } => begun.set((begun.get().0, Some(begun.get().0))),
        });
        house::slow(&disk, chance);
        let said = Said::new(Model::default(), 0).in_epoch(house.epoch());
        Witness { disk, house, said, truth: Truth::default(), before: vec![], ear }
    }

    /// Decides random work and lets a few turns pass; `each_turn` is called between them.
    pub fn work(&mut self, chance: &Chance, tally: &mut Tally, mut each_turn: impl FnMut(&mut Self, &mut Tally)) {
        let (work, pace) = {
            let chance: &mut SmallRng = &mut chance.borrow_mut();
            (Work::random(chance, Scale::Tiny, self.said.last(), self.said.durable()), chance.random_range(0..10))
        };
        let (said, ear) = (&mut self.said, &mut self.ear);
        let decided = self.house.decide(&work, NOW_MS, || {
            ear.hear(said);
            true
        });
        ear.hear(said);
        if let Ok(decided) = decided.expect("nobody stops it") {
            tally.decided(&work, &decided.outcomes);
            self.said.decided(&work, decided);
            let states = self.said.states();
            let n = states.len() - 1;
            self.truth.learn(n, &states[n - 1], &states[n]);
        }
        for _ in 0..pace {
            self.turn();
            each_turn(self, tally);
        }
        if pace == 0 {
            self.before.push(self.disk.fork_killed(0));
        }
    }

    /// One turn. True if anything moved.
    pub fn turn(&mut self) -> bool {
        let moved = self.house.turn();
        self.ear.hear(&mut self.said);
        moved
    }

    /// Until nothing moves.
    pub fn settle(&mut self) {
        while self.turn() {}
    }

    /// All batches begun so far, in order.
    #[must_use]
    pub fn batches(&self) -> Vec<BatchAt> {
        let journal = self.disk.journal();
        let is_batch = |w: &Write| w.file.starts_with("segment-") && w.at >= SEGMENT_HEADER_BYTES;
        let vouches = |w: &Write| w.synced && w.file.starts_with("segment-");
        let last = journal.iter().rposition(vouches).unwrap_or(0);
        let mut out: Vec<(usize, BatchAt)> = Vec::new();
        for (n, write) in journal.iter().enumerate().filter(|(_, w)| is_batch(w)) {
            out.push((n, BatchAt { write: write.clone(), transactions: 0..0, vouched: write.synced && n < last }));
        }
        for (begun, transactions) in &self.ear.durable {
            let batch = out.iter_mut().find(|(n, _)| n >= begun).expect("it was written");
            batch.1.transactions = transactions.clone();
        }
        out.into_iter().map(|(_, batch)| batch).collect()
    }

    /// The transactions that lie in these octets of a file.
    #[must_use]
    pub fn hurt(&self, batches: &[BatchAt], file: &str, octets: Range<usize>) -> Hurt {
        let hit =
            |b: &&BatchAt| *b.write.file == *file && b.write.at < octets.end && octets.start < b.write.at + b.write.len;
        batches.iter().filter(hit).flat_map(|b| b.transactions.clone()).collect()
    }
}
