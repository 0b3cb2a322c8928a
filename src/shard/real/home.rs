//! One shard: its ring, its tasks, and the driver that turns the ring.
//!
//! The executor (glommio) keeps the queue of runnable tasks and the pin. Everything that waits — sockets, files,
//! timers, other shards, side threads — waits in the shard's ring or behind its bell, so the driver may sleep in the
//! ring itself: it does so only after a whole round in which no task ran. That is one call for submitting, sleeping
//! and reaping, and nobody starves, because whoever could have run has run.

use std::any::Any;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::yield_now;

use super::bell::{Bell, TaskWaker};
use super::node::Node;
use super::ring::Ring;
use super::work::Key;
use crate::observe::{self, Counter, Measure};
use crate::shard::{Moment, ShardId};

/// Rounds in which tasks may go on before what they asked for is submitted all the same.
const ROUNDS_MAX: u32 = 3;
/// Rounds `run_dry` waits at most for the others to come to rest; then the batch is sealed although they run.
const DRY_ROUNDS_MAX: u32 = 8;
/// How often deadlines are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    static HERE: RefCell<Option<Rc<Shard>>> = const { RefCell::new(None) };
}

/// The shard of this thread.
///
/// # Panics
/// On any other thread: only we can call from there.
pub fn here() -> Rc<Shard> {
    HERE.with_borrow(|here| here.clone()).expect("called on a shard's own thread")
}

/// True on a shard's thread.
pub fn is_here() -> bool {
    HERE.try_with(|here| here.borrow().is_some()).unwrap_or(false)
}

/// What a shard owns.
pub struct Shard {
    pub id: ShardId,
    pub node: Arc<Node>,
    pub bell: Arc<Bell>,
    ring: RefCell<Option<Ring>>,
    /// When the last turn of the ring ended.
    turned: Cell<Moment>,
    /// Polls of tasks, ever: an unchanged count over a round means that nothing could run.
    polls: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, glommio::Task<()>>>,
    next: Cell<u64>,
    stop_waits: RefCell<BTreeMap<u64, Waker>>,
    /// Waits that end late rather than exactly: (deadline, number) → who waits. The sweeper looks once a second.
    patience: RefCell<BTreeMap<(u64, u64), Waker>>,
    /// Takes what other shards sent.
    on_mail: RefCell<Option<OnMail>>,
    state: Cell<State>,
    /// Connections that wait for the peer's end after their owner let go.
    pub lingering: Cell<usize>,
}

type OnMail = Rc<dyn Fn(bool)>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Tasks are being dropped: the driver must not sleep.
    Clearing,
    /// The ring drains.
    Draining,
}

impl Shard {
    /// Moves into the calling thread.
    pub fn new(id: ShardId, node: Arc<Node>, bell: Arc<Bell>, ring: Ring) -> Rc<Shard> {
        let shard = Rc::new(Shard {
            id,
            node,
            bell,
            ring: RefCell::new(Some(ring)),
            turned: Cell::new(super::now()),
            polls: Cell::new(0),
            tasks: RefCell::default(),
            next: Cell::new(0),
            stop_waits: RefCell::default(),
            patience: RefCell::default(),
            on_mail: RefCell::default(),
            state: Cell::new(State::Open),
            lingering: Cell::new(0),
        });
        observe::stand_on(Some(id));
        shard.bell.move_in();
        HERE.set(Some(shard.clone()));
        shard
    }

    /// The ring.
    ///
    /// # Panics
    /// After [`Shard::close`]: no task is left by then.
    pub fn ring(&self) -> RefMut<'_, Ring> {
        self.try_ring().expect("tasks end before their ring")
    }

    /// The ring, if it is still there: for destructors.
    pub fn try_ring(&self) -> Option<RefMut<'_, Ring>> {
        RefMut::filter_map(self.ring.borrow_mut(), Option::as_mut).ok()
    }

    /// False once the shard's main has returned.
    pub fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    /// What is called with `true` when other shards have sent something, with `false` when this one closes.
    pub fn on_mail(&self, take: OnMail) {
        *self.on_mail.borrow_mut() = Some(take);
    }

    /// Polls `task` as this shard's: counted, contained, with a waker that may leave the thread.
    /// `Err` is what it panicked with.
    pub async fn contain<T>(self: Rc<Self>, task: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
        let mut task = pin!(AssertUnwindSafe(task).catch_unwind());
        let mut waker = None;
        poll_fn(|cx| {
            self.polls.set(self.polls.get() + 1);
            let waker = waker.get_or_insert_with(|| TaskWaker::wrap(cx.waker(), &self.bell));
            task.as_mut().poll(&mut Context::from_waker(waker))
        })
        .await
    }

    /// Runs a task until it ends, panics, or the shard closes.
    pub fn spawn(self: &Rc<Self>, name: &'static str, task: impl Future<Output = ()> + 'static) {
        if !self.is_open() {
            return;
        }
        let number = self.number();
        let shard = self.clone();
        // Boxed here, at its own size: each future around it, the next one too, would have room for it once more.
        let task = Box::pin(task);
        // A panic that leaves a task ends the executor: nothing is spawned that is not contained.
        let task = glommio::spawn_local(async move {
            if let Err(panic) = shard.clone().contain(task).await {
                panicked(name, panic.as_ref());
            }
            let itself = shard.tasks.borrow_mut().remove(&number);
            itself.map(glommio::Task::detach);
        });
        self.tasks.borrow_mut().insert(number, task);
    }

    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// One turn of the ring; wakes who may go on. True when somebody was woken.
    fn turn(&self, wait: bool) -> bool {
        // Since the turn before tasks have run and nobody has looked: what completed meanwhile has waited at most so long.
        observe::took(Measure::RingDelay, super::now().since(self.turned.get()));
        let woken = if wait { self.bell.park(|sleep| self.ring().turn(sleep)) } else { self.ring().turn(false) };
        self.turned.set(super::now());
        let any = !woken.is_empty();
        woken.into_iter().for_each(Waker::wake);
        any
    }

    /// Turns the ring until the shard is closed and the kernel holds nothing of it.
    pub async fn drive(self: Rc<Self>, doorbell: std::os::fd::OwnedFd) {
        let doorbell = Rc::new(doorbell);
        let mut rung: Option<Key> = None;
        let mut rounds = 0;
        while !(self.state.get() == State::Draining && self.ring().is_drained()) {
            let state = self.state.get();
            let draining = state == State::Draining;
            self.keep_bell(&doorbell, &mut rung, draining);
            if draining {
                self.ring().cancel_all();
            }
            self.open_mail();
            let before = self.polls.get();
            yield_now().await;
            // While tasks are dropped none is polled, and a new state asks for another look: no sleep then.
            let busy = self.polls.get() != before || self.state.get() != state || state == State::Clearing;
            if busy && rounds < ROUNDS_MAX {
                rounds += 1;
                continue;
            }
            rounds = 0;
            self.turn(!busy);
        }
    }

    /// A read of the bell always waits in the ring, so that ringing ends a sleep.
    fn keep_bell(&self, doorbell: &Rc<std::os::fd::OwnedFd>, rung: &mut Option<Key>, last: bool) {
        let mut ring = self.ring();
        if let Some(key) = *rung
            && ring.read_poll(key, &mut Context::from_waker(Waker::noop())).is_ready()
        {
            *rung = None;
        }
        if rung.is_none() && !last {
            *rung = Some(ring.read_open(doorbell.clone(), Vec::with_capacity(8), 0));
        }
    }

    fn open_mail(&self) {
        if !self.bell.look() {
            return;
        }
        if self.node.is_stopping() {
            let waits = std::mem::take(&mut *self.stop_waits.borrow_mut());
            waits.into_values().for_each(Waker::wake);
        }
        let take = self.on_mail.borrow().clone();
        if let Some(take) = take {
            take(true);
        }
    }

    /// Drops all tasks, cancels what waits, and sees the last completion. To be awaited by nobody's task.
    pub async fn close(self: Rc<Self>, driver: glommio::Task<()>) {
        self.state.set(State::Clearing);
        loop {
            // Dropping one task may end others; each is taken before it is awaited.
            let Some((_, task)) = self.tasks.borrow_mut().pop_first() else { break };
            task.cancel().await;
        }
        let take = self.on_mail.borrow_mut().take();
        if let Some(take) = take {
            take(false);
        }
        self.state.set(State::Draining);
        driver.await;
        drop(self.ring.borrow_mut().take());
        self.bell.look();
        HERE.set(None);
        Bell::move_out();
    }
}

/// Ends waits whose deadline has passed, once a second.
pub async fn sweep(shard: Rc<Shard>) {
    loop {
        sleep(SWEEP_EVERY).await;
        let now = super::now().0;
        let woken = shard.ring().sweep(now);
        woken.into_iter().for_each(Waker::wake);
        let later = shard.patience.borrow_mut().split_off(&(now, 0));
        let past = std::mem::replace(&mut *shard.patience.borrow_mut(), later);
        past.into_values().for_each(Waker::wake);
    }
}

/// Waits until no other task has run for a round, at most [`DRY_ROUNDS_MAX`] rounds.
pub async fn run_dry() {
    for _ in 0..DRY_ROUNDS_MAX {
        if round(0).await {
            return;
        }
    }
}

/// Lets everybody else who can run do so once. True if no more than `idlers` could, and nobody can now.
pub async fn round(idlers: u64) -> bool {
    let shard = here();
    let before = shard.polls.get();
    yield_now().await;
    let others = shard.polls.get() - before - 1;
    // What has arrived meanwhile can run too; the turn also sends off what was asked for so far.
    others <= idlers && !shard.turn(false)
}

/// Waits for `work`, but not much longer than `time`. No timer of the ring is spent on it: the sweeper ends it.
pub async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    struct Wait(Rc<Shard>, (u64, u64));
    impl Drop for Wait {
        fn drop(&mut self) {
            self.0.patience.borrow_mut().remove(&self.1);
        }
    }
    let shard = here();
    let deadline = super::now().after(time).0;
    let wait = Wait(shard.clone(), (deadline, shard.number()));
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if super::now().0 >= deadline {
            return Poll::Ready(None);
        }
        wait.0.patience.borrow_mut().insert(wait.1, cx.waker().clone());
        Poll::Pending
    })
    .await
}

/// Waits on the ring's own timer.
pub async fn sleep(time: Duration) {
    struct Nap(Rc<Shard>, Option<Key>);
    impl Drop for Nap {
        fn drop(&mut self) {
            if let (Some(key), Some(mut ring)) = (self.1, self.0.try_ring()) {
                ring.abandon(key);
            }
        }
    }
    let shard = here();
    let key = shard.ring().sleep_open(time);
    let mut nap = Nap(shard, Some(key));
    poll_fn(|cx| nap.0.ring().sleep_poll(key, cx)).await;
    nap.1 = None;
}

/// Resolves when the node was asked to stop.
pub async fn stop_requested() {
    struct Wait(Rc<Shard>, u64);
    impl Drop for Wait {
        fn drop(&mut self) {
            self.0.stop_waits.borrow_mut().remove(&self.1);
        }
    }
    let shard = here();
    let wait = Wait(shard.clone(), shard.number());
    poll_fn(|cx| {
        if wait.0.node.is_stopping() {
            return Poll::Ready(());
        }
        wait.0.stop_waits.borrow_mut().insert(wait.1, cx.waker().clone());
        Poll::Pending
    })
    .await;
}

/// Counts and logs a contained panic.
pub fn panicked(name: &str, panic: &(dyn Any + Send)) {
    observe::count(Counter::Panics);
    tracing::error!(task = name, "panicked: {}", panic_text(panic));
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
