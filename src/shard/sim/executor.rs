//! The executor: one thread, virtual time, and an order of tasks chosen by the seed.
//!
//! ```text
//!   wakers ──► ready ──(the seed picks one)──► poll ──► ready empty? ──► wake who waits for dry shards
//!                                                                  └──► the clock moves to the next timer
//!                                                                  └──► no timer either: deadlock, said by name
//! ```
//!
//! Rules: time stands still while anything can run; nothing here reads a real clock or asks a hash map for its
//! order; a task's panic ends that task, is kept in the world's list, and is passed on at once when the task
//! belongs to the test and not to a node.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::chance::Chance;
use super::clock::{Clock, Sleep};
use super::datagrams::Post;
use super::disk::Machines;
use super::net::Net;
use super::node::{NodeId, Nodes};
use crate::observe::{self, Counter};
use crate::shard::ShardId;

/// Polls without the clock moving. More: a livelock, and the run panics.
const STEPS_AT_ONE_TIME_MAX: u64 = 1_000_000;
/// Polls of one run. More: the run panics.
const STEPS_MAX: u64 = 50_000_000;
/// Virtual time one run may take, seconds (60 days). Past it something ticks for ever, and the run panics.
const RUN_S_MAX: u64 = 60 * 86_400;

/// The test's own future.
const ROOT: u64 = 0;

/// Tasks that were woken and are not ready yet.
type Woken = Mutex<Vec<(u64, Option<Home>)>>;
type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Where a task belongs: a shard of a node. The test's own tasks belong nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Home {
    pub(super) node: NodeId,
    pub(super) shard: ShardId,
}

/// All there is in a world.
pub(super) struct Core {
    pub(super) id: u64,
    pub(super) seed: u64,
    pub(super) clock: Clock,
    pub(super) net: RefCell<Net>,
    pub(super) post: RefCell<Post>,
    pub(super) nodes: RefCell<Nodes>,
    pub(super) machines: RefCell<Machines>,
    pub(super) chance: Chances,
    pub(super) panics: RefCell<Vec<String>>,
    tasks: RefCell<Tasks>,
    woken: Arc<Woken>,
    trace: Cell<u64>,
}

/// A stream of choices for each part of the world.
pub(super) struct Chances {
    pub(super) order: Chance,
    pub(super) net: Chance,
    pub(super) disk: Chance,
    pub(super) mesh: Chance,
    pub(super) time: Chance,
    pub(super) node: Chance,
}

#[derive(Default)]
struct Tasks {
    next: u64,
    live: BTreeMap<u64, Task>,
    ready: Vec<(u64, Option<Home>)>,
    dry: Vec<(Home, Rc<Cell<bool>>, Waker)>,
}

struct Task {
    name: &'static str,
    home: Option<Home>,
    /// Out while it is polled.
    work: Option<Work>,
    handle: Arc<Handle>,
}

/// What a waker holds.
struct Handle {
    id: u64,
    home: Option<Home>,
    queued: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.woken.lock().unwrap_or_else(PoisonError::into_inner).push((self.id, self.home));
        }
    }
}

/// The task this thread is polling.
#[derive(Clone)]
pub(super) struct Here {
    pub(super) core: Rc<Core>,
    pub(super) home: Option<Home>,
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
    /// Polls of all runs of this thread.
    static STEPS: Cell<u64> = const { Cell::new(0) };
    static WORLDS: RefCell<BTreeMap<u64, Weak<Core>>> = const { RefCell::new(BTreeMap::new()) };
}

/// True while this thread polls a task of a world.
pub(super) fn is_here() -> bool {
    HERE.try_with(|here| here.borrow().is_some()).unwrap_or(false)
}

/// See [`super::steps`].
pub(super) fn steps() -> u64 {
    STEPS.with(Cell::get)
}

/// The task being polled.
pub(super) fn here() -> Here {
    HERE.with(|here| here.borrow().clone()).expect("outside of every simulated task")
}

/// The world with this number, if it is on this thread and not over.
pub(super) fn find(world: u64) -> Option<Rc<Core>> {
    WORLDS.try_with(|worlds| worlds.borrow().get(&world).and_then(Weak::upgrade)).ok().flatten()
}

/// Does `what` with `here` as the task being polled (or none).
pub(super) fn within<T>(here: Option<Here>, what: impl FnOnce() -> T) -> T {
    struct Back(Option<Here>);
    impl Drop for Back {
        fn drop(&mut self) {
            let before = self.0.take();
            count_for(before.as_ref());
            HERE.with(|slot| *slot.borrow_mut() = before);
        }
    }
    count_for(here.as_ref());
    let before = HERE.with(|slot| std::mem::replace(&mut *slot.borrow_mut(), here));
    let _back = Back(before);
    what()
}

/// What a task counts it counts for its shard.
fn count_for(here: Option<&Here>) {
    observe::stand_on(here.and_then(|h| h.home).map(|home| home.shard));
}

impl Core {
    pub(super) fn new(seed: u64) -> Rc<Self> {
        // Numbers only tell worlds of one process apart; no decision depends on them.
        static WORLD_NEXT: AtomicU64 = AtomicU64::new(0);
        let core = Rc::new(Core {
            id: WORLD_NEXT.fetch_add(1, Ordering::Relaxed),
            seed,
            clock: Clock::new(),
            net: RefCell::default(),
            post: RefCell::default(),
            nodes: RefCell::default(),
            machines: RefCell::default(),
            chance: Chances {
                order: Chance::of(seed, "order"),
                net: Chance::of(seed, "net"),
                disk: Chance::of(seed, "disk"),
                mesh: Chance::of(seed, "mesh"),
                time: Chance::of(seed, "time"),
                node: Chance::of(seed, "node"),
            },
            panics: RefCell::default(),
            tasks: RefCell::default(),
            woken: Arc::default(),
            trace: Cell::new(seed),
        });
        WORLDS.with(|worlds| worlds.borrow_mut().insert(core.id, Rc::downgrade(&core)));
        core
    }

    /// Adds a task. A node that is gone takes none: the task is dropped.
    pub(super) fn spawn(
        self: &Rc<Self>,
        home: Option<Home>,
        name: &'static str,
        work: impl Future<Output = ()> + 'static,
    ) {
        if home.is_some_and(|home| !self.nodes.borrow().is_up(home)) {
            return;
        }
        let mut tasks = self.tasks.borrow_mut();
        tasks.next += 1;
        let id = tasks.next;
        let handle = Arc::new(Handle { id, home, queued: AtomicBool::new(false), woken: self.woken.clone() });
        handle.clone().wake();
        tasks.live.insert(id, Task { name, home, work: Some(Box::pin(work)), handle });
    }

    /// Waits in virtual time.
    pub(super) fn sleep_ns(self: &Rc<Self>, ns: u64) -> Sleep {
        Sleep::new(self, Duration::from_nanos(ns))
    }

    /// Resolves when no task of `home` can run. `flag` is set then.
    pub(super) fn wait_dry(&self, home: Home, flag: Rc<Cell<bool>>, waker: Waker) {
        self.tasks.borrow_mut().dry.push((home, flag, waker));
    }

    /// Folds an event into the trace: what, and two figures about it.
    pub(super) fn note(&self, what: &str, a: u64, b: u64) {
        let mut hash = self.trace.get();
        let kind = what.bytes().fold(0u64, |h, byte| h.wrapping_mul(31).wrapping_add(u64::from(byte)));
        for word in [self.clock.now_ns(), kind, a, b] {
            hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        self.trace.set(hash);
    }

    pub(super) fn trace(&self) -> u64 {
        self.trace.get()
    }

    /// Polls tasks until `root` is done.
    pub(super) fn run_until<T>(self: &Rc<Self>, root: impl Future<Output = T>) -> T {
        assert!(!is_here(), "run_until inside a simulated task");
        let mut root = pin!(root);
        let handle =
            Arc::new(Handle { id: ROOT, home: None, queued: AtomicBool::new(false), woken: self.woken.clone() });
        handle.clone().wake();
        let waker = Waker::from(handle.clone());
        let until_ns = self.clock.now_ns() + RUN_S_MAX * 1_000_000_000;
        let (mut steps, mut steps_now) = (0u64, 0u64);
        loop {
            let Some(id) = self.pick() else {
                assert!(
                    self.clock.advance(),
                    "seed {}: deadlock: nothing can run and no timer is set; waiting: {}",
                    self.seed,
                    self.names()
                );
                assert!(
                    self.clock.now_ns() < until_ns,
                    "seed {}: no end after {RUN_S_MAX} s of virtual time; live: {}",
                    self.seed,
                    self.names()
                );
                steps_now = 0;
                continue;
            };
            steps += 1;
            STEPS.with(|all| all.set(all.get() + 1));
            steps_now += 1;
            assert!(steps_now < STEPS_AT_ONE_TIME_MAX, "seed {}: livelock; ready: {}", self.seed, self.names());
            assert!(steps < STEPS_MAX, "seed {}: no end after {STEPS_MAX} steps; live: {}", self.seed, self.names());
            self.note("step", id, 0);
            if id != ROOT {
                self.step(id);
                continue;
            }
            handle.queued.store(false, Ordering::Relaxed);
            let here = Here { core: self.clone(), home: None };
            if let Poll::Ready(out) = within(Some(here), || root.as_mut().poll(&mut Context::from_waker(&waker))) {
                return out;
            }
        }
    }

    /// The next task to poll, chosen among all that can run.
    fn pick(&self) -> Option<u64> {
        let mut tasks = self.tasks.borrow_mut();
        tasks.ready.append(&mut self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        if !tasks.dry.is_empty() {
            let Tasks { ready, dry, .. } = &mut *tasks;
            dry.retain(|(home, flag, waker)| {
                let busy = ready.iter().any(|(_, at)| at == &Some(*home));
                if !busy {
                    flag.set(true);
                    waker.wake_by_ref();
                }
                busy
            });
            tasks.ready.append(&mut self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        }
        if tasks.ready.is_empty() {
            return None;
        }
        let at = self.chance.order.index(tasks.ready.len());
        Some(tasks.ready.swap_remove(at).0)
    }

    fn step(self: &Rc<Self>, id: u64) {
        let Some((name, home, handle, mut work)) = self.take(id) else { return };
        handle.queued.store(false, Ordering::Relaxed);
        let here = Here { core: self.clone(), home };
        let waker = Waker::from(handle);
        let polled = within(Some(here.clone()), || {
            catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(&waker))))
        });
        match polled {
            Ok(Poll::Pending) => {
                if let Some(task) = self.tasks.borrow_mut().live.get_mut(&id) {
                    task.work = Some(work);
                    return;
                }
            }
            Ok(Poll::Ready(())) => {}
            Err(why) if home.is_none() => resume_unwind(why),
            Err(why) => self.panicked(home, name, why.as_ref()),
        }
        self.tasks.borrow_mut().live.remove(&id);
        within(Some(here), || drop(work));
    }

    fn take(&self, id: u64) -> Option<(&'static str, Option<Home>, Arc<Handle>, Work)> {
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks.live.get_mut(&id)?;
        Some((task.name, task.home, task.handle.clone(), task.work.take()?))
    }

    /// Keeps a contained panic in the world's list.
    pub(super) fn panicked(&self, home: Option<Home>, name: &str, why: &(dyn Any + Send)) {
        let said = why
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| why.downcast_ref::<&str>().copied())
            .unwrap_or("(no words)");
        let place = home.map_or_else(String::new, |h| format!(" of node {} shard {}", h.node.0, h.shard));
        observe::count(Counter::Panics);
        tracing::error!(task = name, "panic{place}: {said}");
        self.panics.borrow_mut().push(format!("task {name}{place}: {said}"));
        self.note("panic", 0, 0);
    }

    /// Drops every task for which `which` holds. The one being polled, if it is among them, goes when its poll returns.
    pub(super) fn drop_tasks(self: &Rc<Self>, which: impl Fn(Option<Home>) -> bool) {
        let gone: Vec<Task> = {
            let mut tasks = self.tasks.borrow_mut();
            let ids: Vec<u64> = tasks.live.iter().filter(|(_, t)| which(t.home)).map(|(id, _)| *id).collect();
            tasks.dry.retain(|(home, ..)| !which(Some(*home)));
            ids.iter().filter_map(|id| tasks.live.remove(id)).collect()
        };
        for task in gone {
            let here = Here { core: self.clone(), home: task.home };
            within(Some(here), || drop(task.work));
        }
    }

    /// Who is there, for a message a person reads.
    fn names(&self) -> String {
        let tasks = self.tasks.borrow();
        let names: Vec<String> = tasks
            .live
            .values()
            .take(100)
            .map(|t| match t.home {
                Some(h) => format!("{} (node {} shard {})", t.name, h.node.0, h.shard),
                None => t.name.to_owned(),
            })
            .collect();
        format!(
            "{} tasks: {}",
            tasks.live.len() + 1,
            ["(root)".to_owned()].into_iter().chain(names).collect::<Vec<_>>().join(", ")
        )
    }

    /// Ends the world: everything in it is dropped, so that no circle of counted pointers stays.
    pub(super) fn end(self: &Rc<Self>) {
        self.nodes.borrow_mut().end_all();
        self.drop_tasks(|_| true);
        let hubs = self.nodes.borrow_mut().take_hubs();
        drop(hubs);
        self.clock.clear();
        let net = self.net.take();
        drop(net);
        let machines = self.machines.take();
        drop(machines);
        let _ = WORLDS.try_with(|worlds| worlds.borrow_mut().remove(&self.id));
    }
}
