//! Virtual time: a monotonic clock that moves only when nothing can run, a wall clock that can be made to jump, timers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::executor::Core;

/// Monotonic time at the start of a world, nanoseconds: not zero, so that no one mistakes zero for now.
const START_NS: u64 = 1_000_000_000;
/// Wall clock at the start of a world: 2026-01-01 00:00:00 UTC, milliseconds since 1970.
pub const START_WALL_MS: u64 = 1_767_225_600_000;

/// The world's clocks and its timers.
pub(super) struct Clock {
    state: RefCell<State>,
}

struct State {
    now_ns: u64,
    wall_jumped_ms: i64,
    timers: BTreeMap<(u64, u64), Waker>,
    next: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Clock { state: RefCell::new(State { now_ns: START_NS, wall_jumped_ms: 0, timers: BTreeMap::new(), next: 0 }) }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.state.borrow().now_ns
    }

    pub(super) fn wall_ms(&self) -> u64 {
        let state = self.state.borrow();
        let passed_ms = (state.now_ns - START_NS) / 1_000_000;
        (START_WALL_MS + passed_ms).saturating_add_signed(state.wall_jumped_ms)
    }

    pub(super) fn jump_wall_ms(&self, by_ms: i64) {
        self.state.borrow_mut().wall_jumped_ms += by_ms;
    }

    /// Moves to the next timer and wakes all that are due then. False when there is none.
    pub(super) fn advance(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let Some((&(at_ns, _), _)) = state.timers.first_key_value() else { return false };
        assert!(at_ns >= state.now_ns, "time runs backwards");
        state.now_ns = at_ns;
        while let Some(entry) = state.timers.first_entry() {
            if entry.key().0 > at_ns {
                break;
            }
            entry.remove().wake();
        }
        true
    }

    pub(super) fn clear(&self) {
        self.state.borrow_mut().timers.clear();
    }

    fn set(&self, at_ns: u64, waker: Waker) -> (u64, u64) {
        let mut state = self.state.borrow_mut();
        state.next += 1;
        let key = (at_ns.max(state.now_ns), state.next);
        state.timers.insert(key, waker);
        key
    }

    fn unset(&self, key: (u64, u64)) {
        self.state.borrow_mut().timers.remove(&key);
    }
}

/// One timer, set again and again. Dropping it takes it back.
pub(super) struct Alarm {
    core: Rc<Core>,
    key: Option<(u64, u64)>,
}

impl Alarm {
    pub(super) fn new(core: Rc<Core>) -> Self {
        Alarm { core, key: None }
    }

    /// Wakes `waker` at `at_ns`; `None`: never.
    pub(super) fn set(&mut self, at_ns: Option<u64>, waker: &Waker) {
        self.unset();
        self.key = at_ns.map(|at| self.core.clock.set(at, waker.clone()));
    }

    fn unset(&mut self) {
        if let Some(key) = self.key.take() {
            self.core.clock.unset(key);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.unset();
    }
}

/// Resolves at a moment.
pub(super) struct Sleep {
    alarm: Alarm,
    until_ns: u64,
}

impl Sleep {
    pub(super) fn new(core: &Rc<Core>, time: Duration) -> Self {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Sleep { alarm: Alarm::new(core.clone()), until_ns: core.clock.now_ns().saturating_add(ns) }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.alarm.core.clock.now_ns() >= self.until_ns {
            return Poll::Ready(());
        }
        let until_ns = self.until_ns;
        self.alarm.set(Some(until_ns), cx.waker());
        Poll::Pending
    }
}
