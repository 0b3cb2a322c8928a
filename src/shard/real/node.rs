//! All shards of a process: started together, stopped together, joined together.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};

use super::bell::Bell;
use super::home::{self, Shard, panic_text};
use super::mesh::{Mesh, Wires};
use super::ring::Ring;
use super::{panics, side, signals, start};
use crate::shard::{Plan, ShardId, StartError};

/// Memory of the executor's own rings, which carry next to nothing here; its default pins 10 MiB in each of three.
const EXECUTOR_IO_BYTES: usize = 1 << 20;
/// The executor looks at its own rings at least this often. Ours need no look: the driver never leaves them.
const EXECUTOR_TICK: Duration = Duration::from_secs(10);

/// What the shards of one [`run`] share.
pub struct Node {
    pub bells: Vec<Arc<Bell>>,
    /// Shards that answer no more.
    gone: Vec<AtomicBool>,
    stopping: AtomicBool,
    pub side: side::Pool,
}

static RUNNING: Mutex<Vec<Weak<Node>>> = Mutex::new(Vec::new());

impl Node {
    /// Number of shards.
    pub fn count(&self) -> ShardId {
        ShardId::try_from(self.bells.len()).expect("checked by the plan")
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub fn request_stop(&self) {
        if !self.stopping.swap(true, Ordering::SeqCst) {
            self.ring_all();
        }
    }

    pub fn is_gone(&self, shard: ShardId) -> bool {
        self.gone[usize::from(shard)].load(Ordering::SeqCst)
    }

    fn leave(&self, shard: ShardId) {
        self.gone[usize::from(shard)].store(true, Ordering::SeqCst);
        self.ring_all();
    }

    fn ring_all(&self) {
        self.bells.iter().for_each(|bell| bell.ring());
    }
}

/// Asks the node of this shard to stop; from any other thread, every node of the process.
pub fn request_stop() {
    if home::is_here() {
        return home::here().node.request_stop();
    }
    let nodes: Vec<_> =
        RUNNING.lock().expect("no holder of this lock can panic").iter().filter_map(Weak::upgrade).collect();
    nodes.iter().for_each(|node| node.request_stop());
}

/// Runs `main` on every shard of `plan` and returns when all have returned. See [`crate::shard::run`].
pub fn run<Q, R, F, Fut>(plan: Plan, main: F) -> Result<(), StartError>
where
    Q: Send + 'static,
    R: Send + 'static,
    F: Fn(super::super::Mesh<Q, R>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), StartError>> + 'static,
{
    start::check(&plan)?;
    panics::install();
    let doing = |doing: &str| {
        let doing = doing.to_owned();
        move |why: io::Error| StartError::Io { doing, why }
    };
    // Threads inherit the mask, so the first thread starts after this.
    let blocked = signals::Blocked::new();
    let bells: io::Result<Vec<_>> = plan.cpus.iter().map(|_| Bell::new()).collect();
    let node = Arc::new(Node {
        bells: bells.map_err(doing("making a descriptor for each shard"))?,
        gone: plan.cpus.iter().map(|_| AtomicBool::new(false)).collect(),
        stopping: AtomicBool::new(false),
        side: side::Pool::new(plan.side_threads).map_err(doing("starting side threads"))?,
    });
    {
        let mut running = RUNNING.lock().expect("no holder of this lock can panic");
        running.retain(|node| node.strong_count() > 0);
        running.push(Arc::downgrade(&node));
    }
    let wires = Arc::new(Wires::new(node.count()));
    let failed = Arc::new(Mutex::new(None));
    let mut threads = Vec::new();
    for id in 0..node.count() {
        let work = {
            let (plan, node, wires, main, failed) =
                (plan.clone(), node.clone(), wires.clone(), main.clone(), failed.clone());
            move || {
                panics::expect_here();
                // Leaves however this thread ends, so that nobody waits for it.
                let _leave = Leave { node: node.clone(), id };
                if let Err(error) = shard(&plan, id, &node, wires, main) {
                    failed.lock().expect("no holder of this lock can panic").get_or_insert(error);
                    node.request_stop();
                }
            }
        };
        match thread::Builder::new().name(format!("shard-{id}")).spawn(work) {
            Ok(thread) => threads.push((id, thread)),
            Err(why) => {
                let error = StartError::Io { doing: format!("starting the thread of shard {id}"), why };
                failed.lock().expect("no holder of this lock can panic").get_or_insert(error);
                node.leave(id);
                node.request_stop();
            }
        }
    }
    for (id, thread) in threads {
        if let Err(panic) = thread.join() {
            let error = crashed(id, panic_text(panic.as_ref()));
            failed.lock().expect("no holder of this lock can panic").get_or_insert(error);
        }
    }
    drop(blocked);
    let error = failed.lock().expect("no holder of this lock can panic").take();
    error.map_or(Ok(()), Err)
}

struct Leave {
    node: Arc<Node>,
    id: ShardId,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.node.leave(self.id);
        if thread::panicking() {
            self.node.request_stop();
        }
    }
}

fn crashed(id: ShardId, text: &str) -> StartError {
    StartError::Io { doing: format!("shard {id}"), why: io::Error::other(format!("panicked: {text}")) }
}

/// One shard's life, on its own thread.
fn shard<Q, R, F, Fut>(
    plan: &Plan,
    id: ShardId,
    node: &Arc<Node>,
    wires: Arc<Wires<Q, R>>,
    main: F,
) -> Result<(), StartError>
where
    Q: Send + 'static,
    R: Send + 'static,
    F: Fn(super::super::Mesh<Q, R>) -> Fut,
    Fut: Future<Output = Result<(), StartError>> + 'static,
{
    let executor = LocalExecutorBuilder::new(Placement::Fixed(plan.cpus[usize::from(id)]))
        .name(&format!("shard-{id}"))
        .io_memory(EXECUTOR_IO_BYTES)
        .preempt_timer(EXECUTOR_TICK)
        .make()
        .map_err(|why| StartError::Io {
            doing: format!("starting shard {id}"),
            why: io::Error::other(why.to_string()),
        })?;
    let bell = node.bells[usize::from(id)].clone();
    let opened = Ring::new(plan.ring_entries, plan.recv_buffers, plan.recv_buffer_bytes)
        .and_then(|ring| Ok((ring, bell.descriptor()?)));
    let (ring, doorbell) =
        opened.map_err(|why| StartError::Io { doing: format!("opening the ring of shard {id}"), why })?;
    let shard = Shard::new(id, node.clone(), bell, ring);
    executor.run(async {
        let driver = glommio::spawn_local(shard.clone().drive(doorbell));
        shard.spawn("deadlines", home::sweep(shard.clone()));
        if id == 0 {
            shard.spawn("signals", signals::watch());
        }
        let mesh = super::super::Mesh(super::super::MeshIn::Real(Mesh::new(&shard, wires)));
        let result = shard.clone().contain(async { main(mesh).await }).await;
        shard.close(driver).await;
        result.unwrap_or_else(|panic| Err(crashed(id, panic_text(panic.as_ref()))))
    })
}
