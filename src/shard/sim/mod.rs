//! The simulated world: disk, network, clock, chance, tasks, timers, mesh and side pool from one seed.
//!
//! One thread, virtual time, plaintext. The same seed tells the same story to the last byte ([`World::trace`] proves
//! it). A test makes a [`World`], starts *nodes* in it (a node is one run of the server process with its shards), and
//! drives clients of its own against them:
//!
//! ```text
//!   let world = World::new(seed);
//!   let node = world.start(2, |mesh| serve(mesh));         // one task per shard, `shard::id()` is 0 and 1
//!   world.run_until(async {                                // the test's own future, outside of every node
//!       let mut stream = sim::connect(address).await?;     // a `shard::Stream`
//!       …
//!       world.crash(node);                                 // power cut: un-synced sectors persist, vanish or tear
//!       let node = world.start(2, |mesh| serve(mesh));     // on the same disks
//!   });
//! ```
//!
//! Panics in a node's tasks are contained, as in the real world, and listed by [`World::panics`]; panics in the test's
//! own tasks come out of [`World::run_until`].
//!
//! The parts: `executor` (tasks, order, deadlock), `clock`, `chance`, `net` and `stream`, `disk`, `node`, `mesh`, `side`.

mod answer;
mod chance;
mod clock;
mod datagrams;
mod disk;
mod executor;
mod mesh;
mod net;
mod node;
mod side;
mod stream;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

pub use chance::Chance;
pub use clock::START_WALL_MS;
pub use datagrams::{DatagramDoor, Datagrams};
pub use disk::{Disk, DiskFile};
pub use mesh::Mesh;
pub use net::ConnId;
pub use node::{MachineId, NodeId};
pub use ringpost_storage::sim::{Fault, OpKind, SimDisk, When};
pub use side::{side, waiting as side_jobs_waiting};
pub use stream::{Detached, Listener, Stream, connect, connect_from, connect_local};

use super::{Moment, ShardId, StartError, StreamIn};
use executor::Core;

/// How late a node's sleep may end (the facade allows 20 ms).
const SLEEP_LATE_NS_MAX: u64 = 20_000_000;

/// A world and everything in it. Dropping it ends it.
pub struct World {
    core: Rc<Core>,
}

impl World {
    /// The world of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        World { core: Core::new(seed) }
    }

    /// The seed it was made from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.core.seed
    }

    /// Starts a node on machine 0: `main` once on each of `shards` shards, as [`crate::shard::run`] does.
    pub fn start<Q, R, F, Fut>(&self, shards: ShardId, main: F) -> NodeId
    where
        Q: Send + 'static,
        R: Send + 'static,
        F: Fn(super::Mesh<Q, R>) -> Fut + Clone + 'static,
        Fut: Future<Output = Result<(), StartError>> + 'static,
    {
        self.start_on(0, shards, main)
    }

    /// Starts a node on a chosen machine.
    pub fn start_on<Q, R, F, Fut>(&self, machine: MachineId, shards: ShardId, main: F) -> NodeId
    where
        Q: Send + 'static,
        R: Send + 'static,
        F: Fn(super::Mesh<Q, R>) -> Fut + Clone + 'static,
        Fut: Future<Output = Result<(), StartError>> + 'static,
    {
        node::start(&self.core, machine, shards, main)
    }

    /// Runs the world until the test's own future is done.
    ///
    /// # Panics
    /// As the test's own tasks do, and at a deadlock or livelock, with the seed and the names of the tasks.
    pub fn run_until<T>(&self, root: impl Future<Output = T>) -> T {
        self.core.run_until(root)
    }

    /// Starts a task of the test, outside of every node: a client.
    pub fn spawn<T: 'static>(&self, name: &'static str, work: impl Future<Output = T> + 'static) -> Task<T> {
        let (teller, answer) = answer::pair();
        self.core.spawn(None, name, async move { teller.tell(work.await) });
        Task(answer)
    }

    /// Cuts the node's power: its tasks are gone at once, its peers see resets, its disks keep what was synced and
    /// a part, chosen by the seed, of what was not.
    pub fn crash(&self, node: NodeId) {
        node::kill(&self.core, node, true);
    }

    /// Kills the node's process: its tasks are gone at once, its sockets are closed, its disks keep what was written.
    pub fn kill(&self, node: NodeId) {
        node::kill(&self.core, node, false);
    }

    /// Asks the node to stop and waits until every main has returned.
    ///
    /// # Errors
    /// The first shard's.
    pub async fn stop(&self, node: NodeId) -> Result<(), StartError> {
        self.core.nodes.borrow_mut().request_stop(node);
        self.ended(node).await
    }

    /// Waits until every main of the node has returned, or the node was killed.
    ///
    /// # Errors
    /// The first shard's.
    pub async fn ended(&self, node: NodeId) -> Result<(), StartError> {
        node::ended(&self.core, node).await
    }

    /// True while a main of the node runs.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.core.nodes.borrow().is_alive(node)
    }

    /// Panics that were contained so far, in words.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        self.core.panics.borrow().clone()
    }

    /// A hash over everything that has happened: the same for the same seed and the same test.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.core.trace()
    }

    /// Makes the wall clock jump. Monotonic time goes on as before.
    pub fn jump_wall_ms(&self, by_ms: i64) {
        self.core.clock.jump_wall_ms(by_ms);
    }

    /// The disk of a folder: to plan faults, and to look at or spoil what is on it. A crash or kill of a node on the
    /// machine ends the handle.
    #[must_use]
    pub fn disk(&self, machine: MachineId, folder: &Path) -> SimDisk {
        self.core.machines.borrow_mut().disk(&self.core, machine, folder)
    }

    /// Connections with an open end on the node, oldest first.
    #[must_use]
    pub fn connections(&self, node: NodeId) -> Vec<ConnId> {
        self.core.net.borrow().of_node(node)
    }

    /// Breaks a connection: some of what is under way arrives, then both ends see a reset.
    pub fn cut(&self, conn: ConnId) {
        self.core.net.borrow_mut().cut(&self.core, conn);
    }

    /// Has the kernel refuse a shard a descriptor for a newcomer, so that its doors pause.
    pub fn pause_doors(&self, node: NodeId, shard: ShardId) {
        self.core.net.borrow_mut().pause_doors(&self.core, executor::Home { node, shard });
    }

    /// Breaks what a shard listens with on this port: it can accept nothing more there.
    pub fn break_doors(&self, node: NodeId, shard: ShardId, port: u16) {
        self.core.net.borrow_mut().break_doors(&self.core, executor::Home { node, shard }, port);
    }

    /// Has so many of a hundred datagrams get lost, from now on.
    pub fn lose_datagrams(&self, percent: u64) {
        self.core.post.borrow_mut().lost_percent = percent;
    }

    /// Holds everything on a connection back, in both directions, or lets it go again.
    pub fn stall(&self, conn: ConnId, stalled: bool) {
        self.core.net.borrow_mut().stall(&self.core, conn, stalled);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.core.end();
    }
}

/// A task of the test; resolves to its result.
pub struct Task<T>(answer::Answer<T>);

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(|done| done.expect("tasks of the test live as long as their world"))
    }
}

/// Polls that this thread has made in its worlds: how long a story is, whatever the machine.
#[must_use]
pub fn steps() -> u64 {
    executor::steps()
}

/// The connection's number, for faults.
///
/// # Panics
/// When the stream belongs to the real world.
#[must_use]
pub fn conn_of(stream: &super::Stream) -> ConnId {
    match &stream.0 {
        StreamIn::Sim(stream) => stream.conn(),
        StreamIn::Real(_) => panic!("a stream of the real world"),
    }
}

/// True while this thread polls a task of a world.
pub(super) fn here() -> bool {
    executor::is_here()
}

fn home() -> executor::Home {
    executor::here().home.expect("this task of the test runs on no shard")
}

pub(super) fn id() -> ShardId {
    home().shard
}

pub(super) fn count() -> ShardId {
    executor::here().core.nodes.borrow().shards(home().node)
}

pub(super) fn now() -> Moment {
    Moment(executor::here().core.clock.now_ns())
}

pub(super) fn accept_paused() -> Option<Moment> {
    executor::here().core.net.borrow().paused(home())
}

pub(super) fn wall_ms() -> u64 {
    executor::here().core.clock.wall_ms()
}

pub(super) fn random(into: &mut [u8]) {
    executor::here().core.chance.node.fill(into);
}

pub(super) fn spawn(name: &'static str, task: impl Future<Output = ()> + 'static) {
    let here = executor::here();
    here.core.spawn(here.home, name, task);
}

pub(super) async fn sleep(time: Duration) {
    let here = executor::here();
    let chance = &here.core.chance.time;
    let late_ns = match here.home {
        None => 0,
        Some(_) if chance.one_in(4) => chance.below(SLEEP_LATE_NS_MAX),
        Some(_) => chance.below(100_000),
    };
    clock::Sleep::new(&here.core, time.saturating_add(Duration::from_nanos(late_ns))).await;
}

pub(super) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let late = async {
        sleep(time).await;
        None
    };
    futures_lite::future::or(async { Some(work.await) }, late).await
}

/// Nothing here takes time, so nobody wants any.
pub(super) async fn round(_idlers: u64) -> bool {
    futures_lite::future::yield_now().await;
    true
}

/// Waits until no other task of this shard can run. The test's own tasks have no shard and only let others go first.
pub(super) async fn run_dry() {
    let here = executor::here();
    let dry = Rc::new(Cell::new(false));
    let mut asked = false;
    poll_fn(|cx| {
        if dry.get() {
            return Poll::Ready(());
        }
        match here.home {
            Some(home) if !asked => here.core.wait_dry(home, dry.clone(), cx.waker().clone()),
            Some(_) => {}
            None => {
                dry.set(true);
                cx.waker().wake_by_ref();
            }
        }
        asked = true;
        Poll::Pending
    })
    .await;
}

pub(super) async fn stop_requested() {
    let here = executor::here();
    match here.home {
        Some(home) => node::stop_requested(&here.core, home.node).await,
        None => pending().await,
    }
}

pub(super) fn request_stop() {
    let here = executor::here();
    let home = here.home.expect("this task of the test runs on no shard");
    here.core.nodes.borrow_mut().request_stop(home.node);
}
