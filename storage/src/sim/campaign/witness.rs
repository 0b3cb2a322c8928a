//! A life of which every write is known: what was written where, and which transactions lie in it.

use std::cell::Cell;
use std::collections::BTreeSet;
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
use crate::batch::{HEADER_BYTES, Header, Seen, directory};
use crate::record::Record;
use crate::sim::{SimDisk, Write};
use crate::types::Place;
use crate::{Commit, Volume, segment};

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
    /// Segments come and go: letters are larger, and what can be compacted is.
    churn: bool,
    secret: u64,
}

/// Which transactions lie in which batch: those that are acknowledged in the turn in which the batch became durable. No two
/// become durable in one turn.
#[derive(Default)]
struct Ear {
    /// Writes in the journal when the batch that is on its way was begun, and the same of the one that has just become durable.
    begun: Rc<Cell<(usize, Option<usize>)>>,
    /// The same of those before, and the transactions in them.
    durable: Vec<(usize, Range<usize>)>,
    /// What is written in each of them.
    held: Vec<Held>,
}

/// What a batch holds for others than its own transactions.
struct Held {
    /// Its write, by its number in the journal.
    write: usize,
    /// Where it is.
    segment: u32,
    octets: Range<usize>,
    /// All that rests on it: its own transactions, and those of what was moved to it; and whose records are in it.
    hurt: Rc<Hurt>,
}

impl Ear {
    fn hear(&mut self, said: &mut Said, disk: &SimDisk, secret: u64) {
        let before = said.acked();
        said.listen();
        if let (begun, Some(durable)) = self.begun.get() {
            let transactions = before + 1..said.acked() + 1;
            self.durable.push((durable, transactions.clone()));
            self.begun.set((begun, None));
            let held = self.read(durable, transactions, disk, secret).expect("what is durable reads");
            self.held.push(held);
        }
    }

    /// Reads the batch that was written first of those from this one in the journal.
    fn read(&self, begun: usize, transactions: Range<usize>, disk: &SimDisk, secret: u64) -> Option<Held> {
        let (write, Write { file, at, len, .. }) = disk.written_since(begun, is_batch)?;
        let number = segment::number(&file)?;
        let Seen::Header(header) = Header::decode(&disk.read(&file, at, HEADER_BYTES)?, secret) else { return None };
        let bytes = disk.read(&file, at + HEADER_BYTES, header.directory_bytes as usize)?;
        let mut hurt = Hurt { transactions: transactions.collect(), ..Hurt::default() };
        for entry in directory::entries(&bytes) {
            let entry = entry.ok()?;
            hurt.accounts.extend(entry.frame.account);
            if let Some(Record::Forward(forward)) = entry.record {
                forward.items().filter_map(|(old, _)| self.at(old)).for_each(|from| hurt.add(&from.hurt));
            }
        }
        Some(Held { write, segment: number, octets: at..at + len, hurt: Rc::new(hurt) })
    }

    /// The batch in which a place is.
    fn at(&self, place: Place) -> Option<&Held> {
        self.held.iter().find(|held| held.segment == place.segment && held.octets.contains(&(place.at as usize)))
    }
}

/// True for the write of a batch.
fn is_batch(write: &Write) -> bool {
    write.file.starts_with("segment-") && write.at >= SEGMENT_HEADER_BYTES
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
    /// What rests on it.
    pub hurt: Rc<Hurt>,
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
        let churn = seed.is_multiple_of(4);
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
        Witness {
            disk,
            house,
            said,
            truth: Truth::default(),
            before: vec![],
            ear,
            churn,
            secret: house::facts(seed).seed,
        }
    }

    /// Decides random work and lets a few turns pass; `each_turn` is called between them.
    pub fn work(&mut self, chance: &Chance, tally: &mut Tally, mut each_turn: impl FnMut(&mut Self, &mut Tally)) {
        let scale = if self.churn { Scale::Churn } else { Scale::Tiny };
        if self.churn && chance.borrow_mut().random_ratio(1, 3) {
            let rounds = chance.borrow_mut().random_range(1..4);
            self.house.compact(rounds, chance);
        }
        let (work, pace) = {
            let chance: &mut SmallRng = &mut chance.borrow_mut();
            (Work::random(chance, scale, self.said.last(), self.said.durable()), chance.random_range(0..10))
        };
        let (said, ear, disk, secret) = (&mut self.said, &mut self.ear, &self.disk, self.secret);
        let decided = self.house.decide(&work, NOW_MS, || {
            ear.hear(said, disk, secret);
            true
        });
        ear.hear(said, disk, secret);
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
        self.ear.hear(&mut self.said, &self.disk, self.secret);
        moved
    }

    /// Until nothing moves.
    pub fn settle(&mut self) {
        while self.turn() {}
    }

    /// Adds what the volume did beside its work.
    pub fn tell(&self, tally: &mut Tally) {
        let stats = self.house.volume.stats();
        tally.folds += stats.folds;
        tally.compacted += stats.compacted_segments;
        tally.forgets += stats.forgets;
        tally.checkpoints += stats.checkpoints;
    }

    /// How many transactions a life of it has.
    #[must_use]
    pub fn life(&self, few: Range<u32>, chance: &Chance) -> u32 {
        let most = if self.churn { 3 * few.end } else { few.end };
        chance.borrow_mut().random_range(few.start..most)
    }

    /// Nothing of what was begun of the log is gone, or about to go.
    #[must_use]
    pub fn has_all(&self) -> bool {
        let (index, inner) = (self.house.volume.0.index.borrow(), &self.house.volume.0);
        !inner.compacting.get() && !(1..inner.log.borrow().active).any(|number| index.is_retired(number))
    }

    /// All batches begun so far that are there still, in order.
    #[must_use]
    pub fn batches(&self) -> Vec<BatchAt> {
        let journal = self.disk.journal();
        let files: BTreeSet<String> = self.disk.files().into_iter().map(|(name, _)| name).collect();
        let vouches = |w: &Write| w.synced && w.file.starts_with("segment-");
        let last = journal.iter().rposition(vouches).unwrap_or(0);
        let nothing = Rc::new(Hurt::default());
        let mut out: Vec<(usize, BatchAt)> = Vec::new();
        for (n, write) in journal.iter().enumerate().filter(|(_, w)| is_batch(w)) {
            let vouched = write.synced && n < last;
            out.push((n, BatchAt { write: write.clone(), transactions: 0..0, vouched, hurt: nothing.clone() }));
        }
        for ((_, transactions), held) in self.ear.durable.iter().zip(&self.ear.held) {
            let batch = out.binary_search_by_key(&held.write, |(n, _)| *n).expect("it was written");
            out[batch].1.transactions = transactions.clone();
            out[batch].1.hurt = held.hurt.clone();
        }
        out.into_iter().map(|(_, batch)| batch).filter(|batch| files.contains(&*batch.write.file)).collect()
    }

    /// Writes of pages that are there still.
    #[must_use]
    pub fn pages(&self) -> Vec<Write> {
        let files = self.disk.files();
        let is_there = |w: &Write| files.iter().any(|(name, len)| **name == *w.file && w.at + w.len <= *len);
        self.disk.journal().into_iter().filter(|w| w.file.starts_with("pages-") && is_there(w)).collect()
    }

    /// What rests on these octets of a file.
    #[must_use]
    pub fn hurt(&self, batches: &[BatchAt], file: &str, octets: Range<usize>) -> Hurt {
        let mut hurt = Hurt::default();
        batches.iter().filter(|b| b.holds(file, octets.clone())).for_each(|b| hurt.add(&b.hurt));
        hurt
    }
}
