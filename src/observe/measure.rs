//! How long and how much: a histogram each (HDR), kept by the shard, copied and added up when asked.
//!
//! Values are kept to two digits, so a bucket's count may take in values up to 1 % beyond its bound; count and sum are exact.
//! Recording is a few dozen instructions and no allocation but the first.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Time is kept in microseconds, up to two minutes; what took longer is kept as two minutes.
const TIME_US_MAX: u64 = 120_000_000;
const DIGITS: u8 = 2;

/// What a measure is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Kept in microseconds, shown in seconds.
    Seconds,
    /// Octets.
    Bytes,
    /// Things.
    Count,
}

/// Everything a shard measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Measure {
    /// From a batch's way to the disk until its sync is complete.
    Commit,
    /// Transactions of a batch.
    CommitTransactions,
    /// Octets of a batch.
    CommitBytes,
    /// From the end of a message's data to the verdict that it is stored.
    MessageAccept,
    /// From the password to the verdict on it.
    Login,
    /// From the decision that a connection belongs on another shard to its first step there.
    Handoff,
    /// Between two turns of the ring, while tasks ran: no completion waited longer for its task.
    RingDelay,
    /// How late a timer of one second fired.
    TimerDelay,
    /// From a question to DNS that the cache could not answer to what came of it.
    DnsLookup,
}

const TIME_BOUNDS_US: &[u64] = &[
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 60_000_000,
];
const COUNT_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];
const BYTES_BOUNDS: &[u64] =
    &[1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20, 64 << 20];

impl Measure {
    /// All of them.
    pub const ALL: &'static [Measure] = &[
        Measure::Commit,
        Measure::CommitTransactions,
        Measure::CommitBytes,
        Measure::MessageAccept,
        Measure::Login,
        Measure::Handoff,
        Measure::RingDelay,
        Measure::TimerDelay,
        Measure::DnsLookup,
    ];

    /// The name as it is shown outside, unit included.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Measure::Commit => "commit_seconds",
            Measure::CommitTransactions => "commit_transactions",
            Measure::CommitBytes => "commit_bytes",
            Measure::MessageAccept => "message_accept_seconds",
            Measure::Login => "login_seconds",
            Measure::Handoff => "handoff_seconds",
            Measure::RingDelay => "ring_delay_seconds",
            Measure::TimerDelay => "timer_delay_seconds",
            Measure::DnsLookup => "dns_lookup_seconds",
        }
    }

    /// What it means.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Measure::Commit => "From handing a batch to the disk until its sync is complete",
            Measure::CommitTransactions => "Transactions that became durable together in one batch",
            Measure::CommitBytes => "Octets written for one batch, padding included",
            Measure::MessageAccept => "From the end of a message's data (SMTP) to its 250",
            Measure::Login => "From the password to the verdict on it, waiting for a side thread included",
            Measure::Handoff => {
                "From the decision that a connection belongs on another shard to its first step on this one"
            }
            Measure::RingDelay => {
                "Time that tasks ran between two turns of the shard's ring: no completion waited longer to be seen"
            }
            Measure::TimerDelay => "How late a timer of one second fired, sampled each second",
            Measure::DnsLookup => "From a question that the cache could not answer to what came of it",
        }
    }

    /// What it is made of.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Measure::CommitTransactions => Unit::Count,
            Measure::CommitBytes => Unit::Bytes,
            _ => Unit::Seconds,
        }
    }

    /// Upper bounds of the buckets shown, in the kept unit; beyond the last there is one more.
    #[must_use]
    pub fn bounds(self) -> &'static [u64] {
        match self.unit() {
            Unit::Seconds => TIME_BOUNDS_US,
            Unit::Bytes => BYTES_BOUNDS,
            Unit::Count => COUNT_BOUNDS,
        }
    }

    fn most(self) -> u64 {
        match self.unit() {
            Unit::Seconds => TIME_US_MAX,
            Unit::Bytes => 1 << 30,
            Unit::Count => 1 << 20,
        }
    }
}

/// What was measured so far.
#[derive(Clone, Debug)]
pub struct Tally {
    values: Histogram<u64>,
    sum: u64,
}

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub fn new(measure: Measure) -> Self {
        let values = Histogram::new_with_bounds(1, measure.most(), DIGITS).expect("bounds that fit two digits");
        Tally { values, sum: 0 }
    }

    fn record(&mut self, value: u64) {
        self.values.saturating_record(value);
        self.sum = self.sum.wrapping_add(value);
    }

    /// Takes another shard's in.
    pub fn add(&mut self, other: &Tally) {
        self.values.add(&other.values).expect("of one measure, hence of one shape");
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.values.len()
    }

    /// Their sum, in the kept unit.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The value below which this part (0 to 1) of all values lies, in the kept unit.
    #[must_use]
    pub fn quantile(&self, part: f64) -> u64 {
        self.values.value_at_quantile(part)
    }

    /// How many values lie in each bucket and beyond the last: one more number than `bounds`, not cumulative.
    #[must_use]
    pub fn buckets(&self, bounds: &[u64]) -> Vec<u64> {
        let mut buckets = vec![0; bounds.len() + 1];
        for step in self.values.iter_recorded() {
            let lowest = self.values.lowest_equivalent(step.value_iterated_to());
            buckets[bounds.partition_point(|bound| *bound < lowest)] += step.count_since_last_iteration();
        }
        buckets
    }
}

pub(super) type Tallies = Rc<RefCell<Vec<Option<Tally>>>>;

thread_local! {
    static HERE: RefCell<Tallies> = RefCell::default();
}

/// Keeps a value, in the measure's own unit. Keep times with [`took`].
pub fn record(measure: Measure, value: u64) {
    HERE.with_borrow(|here| {
        let mut tallies = here.borrow_mut();
        if tallies.len() < Measure::ALL.len() {
            tallies.resize(Measure::ALL.len(), None);
        }
        tallies[measure as usize].get_or_insert_with(|| Tally::new(measure)).record(value);
    });
}

/// Keeps a time.
pub fn took(measure: Measure, time: Duration) {
    record(measure, u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(TIME_US_MAX));
}

/// The tallies of the shard this thread stands on; those without a value are empty.
pub(super) fn here() -> Vec<Tally> {
    HERE.with_borrow(|here| {
        let tallies = here.borrow();
        let of = |m: &Measure| tallies.get(*m as usize).cloned().flatten().unwrap_or_else(|| Tally::new(*m));
        Measure::ALL.iter().map(of).collect()
    })
}

/// The tallies that this thread writes.
pub(super) fn of_here() -> Tallies {
    HERE.with_borrow(Rc::clone)
}

/// Changes the tallies that this thread writes.
pub(super) fn stand_on(tallies: Tallies) {
    HERE.set(tallies);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_every_value_once_and_at_its_bound() {
        let mut tally = Tally::new(Measure::Commit);
        for value in [0, 1, 10, 11, 25, 99, 1_000, 60_000_000, 60_700_000, TIME_US_MAX] {
            tally.record(value);
        }
        let bounds = Measure::Commit.bounds();
        let buckets = tally.buckets(bounds);
        assert_eq!(buckets.len(), bounds.len() + 1);
        assert_eq!(buckets.iter().sum::<u64>(), tally.count());
        assert_eq!(buckets[0], 3, "0, 1 and 10 are at most 10 µs");
        assert_eq!(buckets[1], 2, "11 and 25");
        assert_eq!(buckets[bounds.len()], 2, "more than a minute");
        assert_eq!(tally.sum(), 1_146 + 60_000_000 + 60_700_000 + TIME_US_MAX);
    }

    #[test]
    fn two_shards_add_up() {
        let (mut one, mut two) = (Tally::new(Measure::CommitBytes), Tally::new(Measure::CommitBytes));
        one.record(4_096);
        two.record(1 << 21);
        two.record(u64::MAX >> 20);
        one.add(&two);
        assert_eq!((one.count(), one.buckets(BYTES_BOUNDS).iter().sum::<u64>()), (3, 3));
        assert_eq!(one.sum(), 4_096 + (1 << 21) + (u64::MAX >> 20));
    }

    #[test]
    fn what_took_too_long_is_kept_as_the_longest() {
        stand_on(Tallies::default());
        took(Measure::Login, Duration::from_secs(1_000_000));
        let tally = &here()[Measure::Login as usize];
        assert_eq!((tally.count(), tally.sum()), (1, TIME_US_MAX));
        assert!(tally.quantile(0.5) >= TIME_US_MAX);
    }

    #[test]
    fn all_measures_are_listed_in_order() {
        for (n, measure) in Measure::ALL.iter().enumerate() {
            assert_eq!(*measure as usize, n);
            assert!(measure.bounds().is_sorted_by(|a, b| a < b));
            assert!(measure.bounds().last().is_some_and(|last| *last < measure.most()));
        }
    }
}
