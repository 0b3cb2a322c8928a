//! What happened, as plain values: counters, gauges and histograms that each shard keeps for itself.
//!
//! A shard writes its own row and nobody else's, so a count costs a load and a store on a cache line
//! that no other core writes. Whoever asks gets copies and adds them up: [`figures`] on each shard, [`elsewhere`] for the
//! threads beside them.
//!
//! - [`names`]: what is counted and how it is called. - [`measure`]: what is measured, in histograms.
//! - `expose`: how Prometheus reads it.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub mod names;
pub mod measure;
pub mod expose;
pub mod log;

pub use measure::{Measure, Tally, record, took};
pub use names::{Counter, Gauge, Ledger, Shown};

/// The most of something that a shard has seen since it started: what a bound is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Peak {
    /// Reply octets buffered for one connection.
    OutBufferBytes,
    /// Work done by one task while the others waited, in the units of `mailbox::slices`.
    SliceWork,
}

const CELLS: usize = Counter::ALL.len() + Gauge::ALL.len();

/// What one thread writes, on cache lines of its own.
#[repr(align(128))]
struct Row {
    shard: Option<u16>,
    cells: [AtomicU64; CELLS],
}

type Desk = (Option<u16>, Arc<Row>, measure::Tallies);

static ROWS: Mutex<Vec<Arc<Row>>> = Mutex::new(Vec::new());

thread_local! {
    static ROW: RefCell<Arc<Row>> = RefCell::new(new_row(None));
    /// Rows this thread has written so far; more than one in the simulated world alone.
    static DESKS: RefCell<Vec<Desk>> = const { RefCell::new(Vec::new()) };
    static PEAKS: [Cell<u64>; 2] = const { [Cell::new(0), Cell::new(0)] };
}

fn new_row(shard: Option<u16>) -> Arc<Row> {
    let row = Arc::new(Row { shard, cells: [const { AtomicU64::new(0) }; CELLS] });
    ROWS.lock().expect("no holder of this lock can panic").push(row.clone());
    row
}

/// From now on this thread counts for `shard`, or for none.
pub fn stand_on(shard: Option<u16>) {
    if ROW.with_borrow(|row| row.shard == shard) {
        return;
    }
    let (_, row, tallies) = DESKS.with_borrow_mut(|desks| {
        if desks.is_empty() {
            let row = ROW.with_borrow(Arc::clone);
            desks.push((row.shard, row, measure::of_here()));
        }
        match desks.iter().find(|desk| desk.0 == shard) {
            Some(desk) => desk.clone(),
            None => {
                let desk = (shard, new_row(shard), measure::Tallies::default());
                desks.push(desk.clone());
                desk
            }
        }
    });
    ROW.set(row);
    measure::stand_on(tallies);
}

/// Adds one.
pub fn count(counter: Counter) {
    add(counter, 1);
}

/// Adds `n`.
pub fn add(counter: Counter, n: u64) {
    ROW.with_borrow(|row| row.add(counter as usize, n));
}

impl Row {
    /// Only the row's own thread writes it, so load and store need no lock prefix.
    fn add(&self, cell: usize, n: u64) {
        let cell = &self.cells[cell];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    fn counts(&self) -> Vec<u64> {
        self.cells.iter().map(|cell| cell.load(Ordering::Relaxed)).collect()
    }
}

/// One of something that is there now, until this drops. It is to drop on the thread that made it.
pub struct Present {
    row: Arc<Row>,
    cell: usize,
}

/// Adds one to a gauge for as long as the guard lives.
#[must_use]
pub fn present(gauge: Gauge) -> Present {
    let cell = Counter::ALL.len() + gauge as usize;
    let row = ROW.with_borrow(Arc::clone);
    row.add(cell, 1);
    Present { row, cell }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.row.add(self.cell, 1_u64.wrapping_neg());
    }
}

/// A copy of what one shard, or several together, counted and measured.
#[derive(Clone, Debug)]
pub struct Figures {
    counts: Vec<u64>,
    tallies: Vec<Tally>,
}

impl Default for Figures {
    fn default() -> Self {
        Figures { counts: vec![0; CELLS], tallies: Measure::ALL.iter().map(|m| Tally::new(*m)).collect() }
    }
}

impl Figures {
    /// A count.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counts[counter as usize]
    }

    /// How many there were at that moment.
    #[must_use]
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.counts[Counter::ALL.len() + gauge as usize]
    }

    /// What was measured.
    #[must_use]
    pub fn tally(&self, measure: Measure) -> &Tally {
        &self.tallies[measure as usize]
    }

    /// Takes another's in.
    pub fn add(&mut self, other: &Figures) {
        self.add_counts(&other.counts);
        self.tallies.iter_mut().zip(&other.tallies).for_each(|(mine, others)| mine.add(others));
    }

    fn add_counts(&mut self, counts: &[u64]) {
        self.counts.iter_mut().zip(counts).for_each(|(mine, others)| *mine = mine.wrapping_add(*others));
    }
}

/// What the shard of this thread has counted and measured.
#[must_use]
pub fn figures() -> Figures {
    Figures { counts: ROW.with_borrow(|row| row.counts()), tallies: measure::here() }
}

/// What the threads of this process counted that are no shard's: they measure nothing.
#[must_use]
pub fn elsewhere() -> Figures {
    let rows = ROWS.lock().expect("no holder of this lock can panic");
    let mut sum = Figures::default();
    rows.iter().filter(|row| row.shard.is_none()).for_each(|row| sum.add_counts(&row.counts()));
    sum
}

/// The sum over all threads of the process.
#[must_use]
pub fn total(counter: Counter) -> u64 {
    let rows = ROWS.lock().expect("no holder of this lock can panic");
    rows.iter().map(|row| row.cells[counter as usize].load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
}

/// Notes a value; the highest is kept.
pub fn reached(peak: Peak, value: u64) {
    PEAKS.with(|peaks| {
        let highest = &peaks[peak as usize];
        highest.set(highest.get().max(value));
    });
}

/// The highest value of this thread.
#[must_use]
pub fn highest_here(peak: Peak) -> u64 {
    PEAKS.with(|peaks| peaks[peak as usize].get())
}

/// What this thread has counted, whatever it stood on.
#[must_use]
pub fn here(counter: Counter) -> u64 {
    let of = |row: &Row| row.cells[counter as usize].load(Ordering::Relaxed);
    DESKS.with_borrow(|desks| match desks.as_slice() {
        [] => ROW.with_borrow(|row| of(row)),
        desks => desks.iter().map(|(_, row, _)| of(row)).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_counts_for_the_shard_it_stands_on() {
        std::thread::spawn(|| {
            stand_on(Some(901));
            add(Counter::LoginsPlain, 2);
            let guard = present(Gauge::OpenImap);
            stand_on(Some(902));
            count(Counter::LoginsPlain);
            record(Measure::CommitBytes, 1);
            assert_eq!((figures().counter(Counter::LoginsPlain), figures().gauge(Gauge::OpenImap)), (1, 0));
            drop(guard);
            let two = figures();
            stand_on(Some(901));
            let mut one = figures();
            assert_eq!(
                (one.counter(Counter::LoginsPlain), one.gauge(Gauge::OpenImap)),
                (2, 0),
                "the guard left its own row"
            );
            assert_eq!(one.tally(Measure::CommitBytes).count(), 0);
            one.add(&two);
            assert_eq!((one.counter(Counter::LoginsPlain), one.tally(Measure::CommitBytes).count()), (3, 1));
            assert_eq!(here(Counter::LoginsPlain), 3);
        })
        .join()
        .expect("its assertions hold");
    }
}
