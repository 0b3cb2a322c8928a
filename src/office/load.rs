//! Whether this shard can take on more: looked at before anything is allocated for a newcomer (R15, R18).
//!
//! | strain | when | who is turned away |
//! |---|---|---|
//! | memory | the process holds [`MEMORY_SHED_PERCENT`] of its ceiling | every newcomer; from [`MEMORY_REFUSED_PERCENT`] on letters too (452 4.3.1) |
//! | descriptors | the kernel has few left for this process | every newcomer |
//! | delay | timers of the shard fire late, twice in a row | every newcomer |
//! | disk | every volume here waits for its disk, for [`DISK_STALL_S`], and letters fill half the memory that they may | who brings mail; readers are served |
//!
//! While fewer letters wait, whose mailboxes are on other shards is served here as if nothing were.
//!
//! *Liberty*: a disk that is full turns nobody away at the door. He hears `452 4.3.1` at MAIL (A055), where his software expects it.
//!
//! Turning somebody away costs a shard about a fifth of what his letter would. Of its time it spends one part in
//! [`TURNING_AWAY_PART`] on that while there is other work; then the doors leave newcomers in the kernel's queue until there is a
//! place, or time ([`Load::is_tired`]). *Liberty*: A057's 100 ms hold until that share is used up, some thousand a second of a whole core; in
//! a flood beyond it whoever waits in that queue hears `421` when his turn comes, or is let in.
//!
//! What a shard sees of the process's memory is at most [`MEMORY_LOOK_MS`] old. Nothing here is shared between shards.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::limits::{
    BODY_BYTES_IN_FLIGHT_MAX, DISK_STALL_S, MEMORY_LOOK_MS, MEMORY_REFUSED_PERCENT, MEMORY_SHED_PERCENT,
    TURNING_AWAY_PART, TURNING_AWAY_SAVED_MS, TURNING_AWAY_US_MAX,
};
use crate::observe::Counter;
use crate::shard::Moment;

/// Beats in a row that were late before newcomers are turned away: one may be somebody else's fault.
const LATE_BEATS: u32 = 2;

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strain {
    /// Memory in use.
    Memory,
    /// Open files.
    Descriptors,
    /// Work that waits for the shard.
    Delay,
    /// Letters that wait for the disk.
    Disk,
}

impl Strain {
    /// Where those are counted who were turned away for it.
    #[must_use]
    pub fn counted(self) -> Counter {
        match self {
            Strain::Memory => Counter::ShedMemory,
            Strain::Descriptors => Counter::ShedDescriptors,
            Strain::Delay => Counter::ShedDelay,
            Strain::Disk => Counter::ShedDisk,
        }
    }

    /// The word in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Strain::Memory => "memory",
            Strain::Descriptors => "descriptors",
            Strain::Delay => "delay",
            Strain::Disk => "disk",
        }
    }
}

/// A commit under way: since when.
pub type UnderWay = Rc<Cell<Option<Moment>>>;

/// What a shard knows of its load.
#[derive(Debug)]
pub struct Load {
    /// Octets that the process may hold.
    memory_max: u64,
    /// From how late a beat on it is late. Zero: none is.
    delay_max: Duration,
    /// Octets it held, and when that was looked at.
    held: Cell<(u64, Option<Moment>)>,
    late_beats: Cell<u32>,
    commits: RefCell<Vec<UnderWay>>,
    /// From when on there is time again to turn somebody away.
    rested: Cell<Moment>,
    /// Doors that wait for it.
    resting: Cell<u64>,
}

/// A door that rests.
#[derive(Debug)]
pub struct Resting<'a>(&'a Load);

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.resting.set(self.0.resting.get() - 1);
    }
}

impl Load {
    /// No load yet. `memory_max`: octets that the process may hold; `delay_max`: how late timers may fire, zero for any time.
    #[must_use]
    pub fn new(memory_max: u64, delay_max: Duration) -> Self {
        Load {
            memory_max,
            delay_max,
            held: Cell::new((0, None)),
            late_beats: Cell::new(0),
            commits: RefCell::default(),
            rested: Cell::new(Moment(0)),
            resting: Cell::new(0),
        }
    }

    /// Another volume commits here: when it has handed a batch to the disk, until that is durable, is written there.
    #[must_use]
    pub fn watch(&self) -> UnderWay {
        let under_way = UnderWay::default();
        self.commits.borrow_mut().push(under_way.clone());
        under_way
    }

    /// A timer has fired so late.
    pub fn beat(&self, late: Duration) {
        let is_late = self.delay_max > Duration::ZERO && late >= self.delay_max;
        self.late_beats.set(if is_late { self.late_beats.get() + 1 } else { 0 });
    }

    /// Somebody was turned away, as everybody would have been, and it took from `began` until `now`; of that at most
    /// [`TURNING_AWAY_US_MAX`] counts.
    pub fn turned_away(&self, began: Moment, now: Moment) {
        let took = now.since(began).min(Duration::from_micros(TURNING_AWAY_US_MAX));
        let saved = Duration::from_millis(TURNING_AWAY_SAVED_MS);
        let earliest = Moment(now.0.saturating_sub(u64::try_from(saved.as_nanos()).unwrap_or(u64::MAX)));
        self.rested.set(self.rested.get().max(earliest).after(took * TURNING_AWAY_PART));
    }

    /// A door rests, for as long as the value lives.
    #[must_use]
    pub fn rests(&self) -> Resting<'_> {
        self.resting.set(self.resting.get() + 1);
        Resting(self)
    }

    /// Doors that rest.
    #[must_use]
    pub fn resting(&self) -> u64 {
        self.resting.get()
    }

    /// True if turning somebody away would take time that others want.
    #[must_use]
    pub fn is_tired(&self, now: Moment) -> bool {
        now < self.rested.get()
    }

    /// Why nobody more should come in. `letters`: octets of letters on their way in, if he brings another. `scarce`: descriptors are;
    /// `resident`: asks for the octets that the process holds.
    #[must_use]
    pub fn strain(
        &self,
        now: Moment,
        letters: Option<u64>,
        scarce: bool,
        resident: impl FnOnce() -> Option<u64>,
    ) -> Option<Strain> {
        if self.holds(MEMORY_SHED_PERCENT, now, resident) {
            Some(Strain::Memory)
        } else if scarce {
            Some(Strain::Descriptors)
        } else if self.late_beats.get() >= LATE_BEATS {
            Some(Strain::Delay)
        } else if letters.is_some_and(|octets| octets >= BODY_BYTES_IN_FLIGHT_MAX / 2) && self.disk_stalls(now) {
            Some(Strain::Disk)
        } else {
            None
        }
    }

    /// True if there is no memory for letters.
    #[must_use]
    pub fn refuses_letters(&self, now: Moment, resident: impl FnOnce() -> Option<u64>) -> bool {
        self.holds(MEMORY_REFUSED_PERCENT, now, resident)
    }

    fn holds(&self, percent: u64, now: Moment, resident: impl FnOnce() -> Option<u64>) -> bool {
        let (mut octets, looked) = self.held.get();
        if looked.is_none_or(|at| now.since(at) >= Duration::from_millis(MEMORY_LOOK_MS)) {
            octets = resident().unwrap_or(0);
            self.held.set((octets, Some(now)));
        }
        octets >= self.memory_max / 100 * percent
    }

    fn disk_stalls(&self, now: Moment) -> bool {
        let commits = self.commits.borrow();
        let stalls =
            |commit: &UnderWay| commit.get().is_some_and(|since| now.since(since) >= Duration::from_secs(DISK_STALL_S));
        !commits.is_empty() && commits.iter().all(stalls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILING: u64 = 1_000_000;
    /// Letters fill half of what they may.
    const MANY: Option<u64> = Some(BODY_BYTES_IN_FLIGHT_MAX / 2);

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    fn load() -> Load {
        Load::new(CEILING, Duration::from_millis(500))
    }

    #[test]
    fn memory_turns_newcomers_away_before_it_refuses_letters() {
        let load = load();
        assert_eq!(load.strain(at(0), MANY, false, || Some(799_999)), None);
        assert_eq!(load.strain(at(MEMORY_LOOK_MS - 1), MANY, false, || panic!("looked at a moment ago")), None);
        let now = at(MEMORY_LOOK_MS);
        assert_eq!(load.strain(now, None, false, || Some(800_000)), Some(Strain::Memory));
        assert!(!load.refuses_letters(now, || None));
        assert!(load.refuses_letters(at(1_000), || Some(900_000)));
        // A world without a kernel to ask has memory enough.
        assert_eq!(load.strain(at(2_000), MANY, false, || None), None);
    }

    #[test]
    fn one_late_timer_is_nobodys_fault_and_two_are_too_much_work() {
        let load = load();
        let strain = || load.strain(at(0), None, false, || None);
        for (late_ms, expected) in [(500, None), (499, None), (500, None), (800, Some(Strain::Delay)), (1, None)] {
            load.beat(Duration::from_millis(late_ms));
            assert_eq!(strain(), expected, "{late_ms}");
        }
        let never = Load::new(CEILING, Duration::ZERO);
        (0..9).for_each(|_| never.beat(Duration::from_secs(9)));
        assert_eq!(never.strain(at(0), MANY, false, || None), None);
    }

    #[test]
    fn a_disk_that_hangs_keeps_letters_out_and_readers_in() {
        let load = load();
        let (one, two) = (load.watch(), load.watch());
        one.set(Some(at(0)));
        let later = at(DISK_STALL_S * 1_000);
        assert_eq!(load.strain(later, MANY, false, || None), None, "the other one works");
        two.set(Some(at(1)));
        assert_eq!(load.strain(later, MANY, false, || None), None);
        let later = at(DISK_STALL_S * 1_000 + 1);
        assert_eq!(load.strain(later, MANY, false, || None), Some(Strain::Disk));
        assert_eq!(load.strain(later, None, false, || None), None);
        let few = Some(BODY_BYTES_IN_FLIGHT_MAX / 2 - 1);
        assert_eq!(load.strain(later, few, false, || None), None, "there is room for those of other shards");
        one.set(None);
        assert_eq!(load.strain(later, MANY, false, || None), None);
    }

    #[test]
    fn a057_turning_away_takes_one_part_of_the_time_and_little_is_saved_up() {
        let load = load();
        let one = Duration::from_micros(TURNING_AWAY_US_MAX);
        let turned_away = |now: Moment, took: Duration| {
            load.turned_away(now, now.after(took));
            load.is_tired(now.after(took))
        };
        let saved = TURNING_AWAY_SAVED_MS * 1_000 / (TURNING_AWAY_US_MAX * u64::from(TURNING_AWAY_PART));
        let mut now = at(1_000_000);
        for _ in 0..saved {
            assert!(!turned_away(now, one), "after a long rest there is something saved");
            now = now.after(one);
        }
        assert!(turned_away(now, one));
        // From then on it is one part: each has to be rested from.
        let (mut times, share) = (0, 10_000 / TURNING_AWAY_PART);
        for step in 0..10_000 {
            let moment = now.after(one * step);
            if !load.is_tired(moment) {
                load.turned_away(moment, moment.after(one));
                times += 1;
            }
        }
        assert!((share - 1..=share + 1).contains(&times), "{times}");
        // Who was kept from it for a second by others does not rest for a minute.
        now = at(5_000_000);
        assert!(!turned_away(now, Duration::from_secs(1)));
        // Where no time passes, as in a simulated world, nobody tires.
        (0..9).for_each(|_| load.turned_away(at(9_000_000), at(9_000_000)));
        assert!(!load.is_tired(at(9_000_000)));
    }

    #[test]
    fn doors_that_rest_are_counted() {
        let load = load();
        let (one, two) = (load.rests(), load.rests());
        assert_eq!(load.resting(), 2);
        drop(one);
        assert_eq!(load.resting(), 1);
        drop(two);
        assert_eq!(load.resting(), 0);
    }

    #[test]
    fn few_descriptors_are_left_for_those_who_are_here() {
        assert_eq!(load().strain(at(0), None, true, || None), Some(Strain::Descriptors));
    }
}
