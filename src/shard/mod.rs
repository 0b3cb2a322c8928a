//! One thread and what it owns: the facade over executor, ring, mesh, clock, chance, disk and side threads.
//!
//! Everything above this room runs unchanged in two worlds: the real one (`real`: glommio as executor, one
//! io_uring ring per shard for sockets and log) and the simulated one (`sim`, cargo feature `sim`: one
//! thread, virtual time, everything from one seed). Which world a task lives in is known to its thread, so
//! the functions here take no handle.
//!
//! **Only this room names glommio or io_uring.**

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

pub mod place;
pub mod plan;
mod real;
#[cfg(feature = "sim")]
pub mod sim;

pub use place::Place;
pub use plan::{Plan, StartError};

/// A shard's number, from 0.
pub type ShardId = u16;

/// Picks the world this thread is in.
macro_rules! world {
    ($real:expr, $sim:expr) => {{
        #[cfg(feature = "sim")]
        if sim::here() {
            return $sim;
        }
        $real
    }};
}

// Below the macro, which they use.
mod files;
mod outward;

pub use files::{Disk, DiskFile, Writing, disk, disk_written};
pub use outward::{DATAGRAM_BYTES_MAX, Datagrams, connect};

/// A point of monotonic time, nanoseconds since some start. Never the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Later by `d`, saturating.
    #[must_use]
    pub fn after(self, d: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time since `earlier`, zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The number of the shard this task runs on.
#[must_use]
pub fn id() -> ShardId {
    world!(real::id(), sim::id())
}

/// How many shards this process has.
#[must_use]
pub fn count() -> ShardId {
    world!(real::count(), sim::count())
}

/// Monotonic time.
#[must_use]
pub fn now() -> Moment {
    world!(real::now(), sim::now())
}

/// Wall clock, milliseconds since 1970. For dates that people read, never for timers.
#[must_use]
pub fn wall_ms() -> u64 {
    world!(real::wall_ms(), sim::wall_ms())
}

/// Fills `into` with unpredictable bytes (in the simulation: from the seed).
pub fn random(into: &mut [u8]) {
    world!(real::random(into), sim::random(into))
}

/// Runs a task on this shard. A panic in it is counted, logged with `name`, and ends that task only.
pub fn spawn(name: &'static str, task: impl Future<Output = ()> + 'static) {
    world!(real::spawn(name, task), sim::spawn(name, task))
}

/// Waits. Coarse: up to 20 ms late under load.
pub async fn sleep(time: Duration) {
    world!(real::sleep(time).await, sim::sleep(time).await)
}

/// Waits for `work`, but not much longer than `time`; then `None`, and `work` is dropped. Up to a second late, and cheap:
/// meant for bounds that are hardly ever reached.
pub async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    world!(real::within(time, work).await, sim::within(time, work).await)
}

/// Waits until every other task that can run now has run: the moment to seal a batch.
pub async fn run_dry() {
    world!(real::run_dry().await, sim::run_dry().await)
}

/// Lets every other task that can run now run once. True if no more than `idlers` could, who only wait so too, and nobody can
/// now: nobody else wants the time.
pub async fn round(idlers: u64) -> bool {
    world!(real::round(idlers).await, sim::round(idlers).await)
}

/// The side pool's queue is full, or the job panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideError {
    /// [`limits::SIDE_QUEUE_MAX`](crate::limits::SIDE_QUEUE_MAX) jobs wait already.
    Full,
    /// The job panicked; counted and logged.
    Panicked,
}

/// Runs a blocking or slow job on a side thread and waits for its answer.
pub async fn side<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, SideError> {
    world!(real::side(job).await, sim::side(job).await)
}

/// Jobs of the whole process that wait for a side thread.
#[must_use]
pub fn side_jobs_waiting() -> usize {
    world!(real::side_jobs_waiting(), sim::side_jobs_waiting())
}

/// Octets of memory that this process holds, asked of the kernel at once. `None`: it cannot say, or this world has no kernel.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    world!(real::resident_bytes(), None)
}

/// True if the kernel has few descriptors left for this process, as the last newcomer of this shard has shown.
#[must_use]
pub fn descriptors_are_scarce() -> bool {
    world!(real::descriptors_are_scarce(), false)
}

/// What the kernel knows of this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// Processor time used, user and system, seconds.
    pub cpu_s: f64,
    /// Resident memory, octets.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub open_fds: u64,
    /// Descriptors it may open; `None`: any number.
    pub max_fds: Option<u64>,
    /// When it started, seconds since 1970.
    pub started_s: f64,
}

/// Asks the kernel about this process, on a side thread. `None`: it cannot be asked now, or this world has no kernel.
pub async fn process() -> Option<Process> {
    world!(side(real::process).await.ok().flatten(), None)
}

/// Resolves when the process was asked to stop (SIGTERM, SIGINT, or [`request_stop`]).
pub async fn stop_requested() {
    world!(real::stop_requested().await, sim::stop_requested().await)
}

/// Asks the whole process to stop.
pub fn request_stop() {
    world!(real::request_stop(), sim::request_stop())
}

/// Resolves when the process was asked to read its certificates anew (SIGHUP): on shard 0, for one task at a time. Elsewhere,
/// and in the simulated world, it waits forever.
pub async fn reload_requested() {
    world!(real::reload_requested().await, std::future::pending().await)
}

/// Keeps SIGTERM, SIGINT and SIGHUP from killing threads started from now on: [`run`] will read them. Called before the first thread.
pub fn hold_stop_signals() {
    real::hold_stop_signals();
}

/// Runs `main` once on every shard of `plan`, each pinned and with its own ring, and returns when all of them have
/// returned. SIGTERM and SIGINT make [`stop_requested`] resolve everywhere.
///
/// # Errors
/// The first shard's error, or a start-up check that failed (see [`StartError`]).
pub fn run<Q, R, F, Fut>(plan: Plan, main: F) -> Result<(), StartError>
where
    Q: Send + 'static,
    R: Send + 'static,
    F: Fn(Mesh<Q, R>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), StartError>> + 'static,
{
    real::run(plan, main)
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An address and port.
    Net(SocketAddr),
    /// A process on this host, over a Unix socket.
    Local,
}

/// An open door of this shard.
pub struct Listener(ListenerIn);

enum ListenerIn {
    Real(real::Listener),
    #[cfg(feature = "sim")]
    Sim(sim::Listener),
}

/// Opens a TCP door. Every shard opens its own on the same address (SO_REUSEPORT).
///
/// # Errors
/// As `bind` and `listen`.
pub fn listen(at: SocketAddr) -> io::Result<Listener> {
    world!(
        real::Listener::tcp(at).map(|l| Listener(ListenerIn::Real(l))),
        sim::Listener::tcp(at).map(|l| Listener(ListenerIn::Sim(l)))
    )
}

/// When a door of this shard had last to pause, because the kernel had no descriptor for a newcomer. `None`: never.
#[must_use]
pub fn accept_paused() -> Option<Moment> {
    world!(real::accept_paused(), sim::accept_paused())
}

/// Opens a door wherever it is.
///
/// # Errors
/// As [`listen`] and [`listen_local`].
pub fn listen_at(place: &Place) -> io::Result<Listener> {
    match place {
        Place::Net(at) => listen(*at),
        Place::Local { path, mode } => listen_local(path, *mode),
    }
}

/// Opens a Unix stream socket at `path` for whom its permission bits `mode` allow, replacing a stale one: a socket at which
/// nobody answers.
///
/// # Errors
/// As `bind` and `listen`; `AddrInUse` when somebody answers there or the path is no socket.
pub fn listen_local(path: &Path, mode: u32) -> io::Result<Listener> {
    world!(
        real::Listener::local(path, mode).map(|l| Listener(ListenerIn::Real(l))),
        sim::Listener::local(path, mode).map(|l| Listener(ListenerIn::Sim(l)))
    )
}

impl Listener {
    /// The next connection. Running out of descriptors pauses and counts; it is not an error.
    ///
    /// # Errors
    /// When the door can never accept again.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        match &mut self.0 {
            ListenerIn::Real(l) => l.accept().await.map(|s| Stream(StreamIn::Real(s))),
            #[cfg(feature = "sim")]
            ListenerIn::Sim(l) => l.accept().await.map(|s| Stream(StreamIn::Sim(s))),
        }
    }

    /// The address it is open on (with the port the kernel chose for port 0).
    #[must_use]
    pub fn local(&self) -> Peer {
        match &self.0 {
            ListenerIn::Real(l) => l.local_addr(),
            #[cfg(feature = "sim")]
            ListenerIn::Sim(l) => l.local_addr(),
        }
    }
}

/// A connected socket.
pub struct Stream(StreamIn);

enum StreamIn {
    Real(real::Stream),
    #[cfg(feature = "sim")]
    Sim(sim::Stream),
}

impl Stream {
    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        match &self.0 {
            StreamIn::Real(s) => s.peer(),
            #[cfg(feature = "sim")]
            StreamIn::Sim(s) => s.peer(),
        }
    }

    /// Whose process is at the other end of a Unix socket, as the kernel noted when it connected; `None`: it is no such socket, or
    /// in a world without users.
    #[must_use]
    pub fn peer_user(&self) -> Option<u32> {
        match &self.0 {
            StreamIn::Real(s) => s.peer_user(),
            #[cfg(feature = "sim")]
            StreamIn::Sim(_) => None,
        }
    }

    /// Who is at the other end, as told by somebody who may tell. It travels with the connection.
    pub fn set_peer(&mut self, peer: Peer) {
        match &mut self.0 {
            StreamIn::Real(s) => s.set_peer(peer),
            #[cfg(feature = "sim")]
            StreamIn::Sim(s) => s.set_peer(peer),
        }
    }

    /// The next bytes, at least one; an empty chunk means the peer has finished sending.
    ///
    /// # Errors
    /// `TimedOut` past the deadline (see [`Stream::set_deadline`]); else as the kernel says.
    pub async fn recv(&mut self) -> io::Result<Chunk> {
        match &mut self.0 {
            StreamIn::Real(s) => s.recv().await.map(|c| Chunk(ChunkIn::Real(c))),
            #[cfg(feature = "sim")]
            StreamIn::Sim(s) => s.recv().await.map(|c| Chunk(ChunkIn::Sim(c))),
        }
    }

    /// True if the peer has sent what `recv` has not given out yet, as far as can be known now: in the ring's hands, or in
    /// the kernel's buffer of this socket.
    #[must_use]
    pub fn has_unread(&mut self) -> bool {
        match &mut self.0 {
            StreamIn::Real(s) => s.has_unread(),
            #[cfg(feature = "sim")]
            StreamIn::Sim(s) => s.has_unread(),
        }
    }

    /// Sends all of `bytes` and gives the buffer back, emptied, with its capacity.
    ///
    /// # Errors
    /// `TimedOut` past the deadline; else as the kernel says.
    pub async fn send(&mut self, bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match &mut self.0 {
            StreamIn::Real(s) => s.send(bytes).await,
            #[cfg(feature = "sim")]
            StreamIn::Sim(s) => s.send(bytes).await,
        }
    }

    /// From this moment on, waiting in `recv` or `send` fails with `TimedOut`. Kept to within one second.
    /// `None`: never. It may be set again and again at no cost.
    pub fn set_deadline(&mut self, at: Option<Moment>) {
        match &mut self.0 {
            StreamIn::Real(s) => s.set_deadline(at),
            #[cfg(feature = "sim")]
            StreamIn::Sim(s) => s.set_deadline(at),
        }
    }

    /// Ends in order: what was sent is delivered, then FIN. Dropping a stream does the same without waiting.
    pub async fn close(self) {
        match self.0 {
            StreamIn::Real(s) => s.close().await,
            #[cfg(feature = "sim")]
            StreamIn::Sim(s) => s.close().await,
        }
    }

    /// Says a few words to a newcomer and lets go, without waiting for anything and without a task or memory for it. What he
    /// has sent already is thrown away.
    pub fn farewell(self, text: &'static [u8]) {
        match self.0 {
            StreamIn::Real(s) => s.farewell(text),
            #[cfg(feature = "sim")]
            StreamIn::Sim(s) => s.farewell(text),
        }
    }

    /// Ends with a reset: nothing more is delivered.
    pub fn reset(self) {
        match self.0 {
            StreamIn::Real(s) => s.reset(),
            #[cfg(feature = "sim")]
            StreamIn::Sim(s) => s.reset(),
        }
    }

    /// Takes the connection off this shard: waits for the last receive completion and carries the bytes that
    /// were received and not yet read. Nothing may be in flight to the peer.
    ///
    /// # Errors
    /// When the connection broke meanwhile.
    pub async fn detach(self) -> io::Result<Detached> {
        match self.0 {
            StreamIn::Real(s) => s.detach().await.map(|d| Detached(DetachedIn::Real(d))),
            #[cfg(feature = "sim")]
            StreamIn::Sim(s) => s.detach().await.map(|d| Detached(DetachedIn::Sim(d))),
        }
    }
}

/// A connection between two shards. Dropping it closes the connection.
pub struct Detached(DetachedIn);

enum DetachedIn {
    Real(real::Detached),
    #[cfg(feature = "sim")]
    Sim(sim::Detached),
}

impl Detached {
    /// Puts the connection on this shard. What was received before comes first from `recv`.
    #[must_use]
    pub fn attach(self) -> Stream {
        match self.0 {
            DetachedIn::Real(d) => Stream(StreamIn::Real(d.attach())),
            #[cfg(feature = "sim")]
            DetachedIn::Sim(d) => Stream(StreamIn::Sim(d.attach())),
        }
    }
}

/// Received bytes in a ring buffer. Dropping it gives the buffer back, so do not keep it.
pub struct Chunk(ChunkIn);

enum ChunkIn {
    Real(real::Chunk),
    #[cfg(feature = "sim")]
    Sim(Vec<u8>),
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            ChunkIn::Real(c) => c,
            #[cfg(feature = "sim")]
            ChunkIn::Sim(c) => c,
        }
    }
}

/// Why a request to another shard was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshError {
    /// No reply slot or no byte credit. Nothing was sent.
    Full,
    /// The other shard is gone, or its handler panicked: what became of the request is unknown.
    Down,
}

/// Bounded requests between shards: `Q` goes out, `R` comes back.
///
/// A request reserves its reply slot before it is sent, so a reply never waits; a handler never awaits another
/// mesh request, so no circle of shards can wait for one another. A request to the own shard runs the handler directly.
pub struct Mesh<Q, R>(MeshIn<Q, R>);

enum MeshIn<Q, R> {
    Real(real::Mesh<Q, R>),
    #[cfg(feature = "sim")]
    Sim(sim::Mesh<Q, R>),
}

impl<Q, R> Clone for Mesh<Q, R> {
    fn clone(&self) -> Self {
        Mesh(match &self.0 {
            MeshIn::Real(m) => MeshIn::Real(m.clone()),
            #[cfg(feature = "sim")]
            MeshIn::Sim(m) => MeshIn::Sim(m.clone()),
        })
    }
}

impl<Q: Send + 'static, R: Send + 'static> Mesh<Q, R> {
    /// Sends `request` to shard `to` and waits for its reply. `body_bytes`: message octets carried, charged against
    /// [`limits::MESH_BODY_BYTES_MAX`](crate::limits::MESH_BODY_BYTES_MAX) until the reply is here.
    ///
    /// # Errors
    /// See [`MeshError`].
    pub async fn call(&self, to: ShardId, request: Q, body_bytes: u64) -> Result<R, MeshError> {
        match &self.0 {
            MeshIn::Real(m) => m.call(to, request, body_bytes).await,
            #[cfg(feature = "sim")]
            MeshIn::Sim(m) => m.call(to, request, body_bytes).await,
        }
    }

    /// True if a request with so many message octets to this shard would be sent now. It holds until the caller waits for
    /// something.
    #[must_use]
    pub fn has_room(&self, to: ShardId, body_bytes: u64) -> bool {
        match &self.0 {
            MeshIn::Real(m) => m.has_room(to, body_bytes),
            #[cfg(feature = "sim")]
            MeshIn::Sim(m) => m.has_room(to, body_bytes),
        }
    }

    /// Answers the requests of other shards from now on, each in a task of its own. Called once per shard,
    /// before its doors open.
    pub fn serve<H, Fut>(&self, handler: H)
    where
        H: Fn(ShardId, Q) -> Fut + Clone + 'static,
        Fut: Future<Output = R> + 'static,
    {
        match &self.0 {
            MeshIn::Real(m) => m.serve(handler),
            #[cfg(feature = "sim")]
            MeshIn::Sim(m) => m.serve(handler),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Net(a) => write!(f, "{a}"),
            Peer::Local => f.write_str("local"),
        }
    }
}
