//! Nodes: one node is one run of the server process, with its tasks, doors, connections, mesh and shard numbers.
//!
//! ```text
//!   start ──► up ──► every main returned ──────────────► ended (stop)
//!              ├──► kill: tasks gone, sockets closed by the kernel, page cache kept
//!              └──► crash: power cut: as kill, and what was not synced may be lost; peers see a reset
//! ```
//!
//! A node runs on a machine, and a machine keeps its disks. One node after another may run on the same one.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::executor::{Core, Home};
use super::mesh::{self, Hub};
use crate::shard::{Mesh, MeshIn, ShardId, StartError};

/// A node's number within its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// A machine's number within its world: its disks outlive the nodes that run on it.
pub type MachineId = u16;

/// What the world knows of its nodes.
#[derive(Default)]
pub(super) struct Nodes {
    all: BTreeMap<NodeId, Node>,
}

struct Node {
    machine: MachineId,
    /// By shard: its main has not returned.
    up: Vec<bool>,
    stop: bool,
    stop_wakers: Vec<Waker>,
    end_wakers: Vec<Waker>,
    error: Option<StartError>,
    side_waiting: usize,
    hub: Option<Rc<dyn AnyHub>>,
}

/// A mesh of whatever requests, as far as its node's end concerns it.
pub(super) trait AnyHub {
    /// The shard answers no more; its handler is handed out to be dropped.
    fn shard_gone(&self, shard: ShardId) -> Box<dyn std::any::Any>;
}

impl<Q: 'static, R: 'static> AnyHub for Hub<Q, R> {
    fn shard_gone(&self, shard: ShardId) -> Box<dyn std::any::Any> {
        Box::new(self.leave(shard))
    }
}

impl Nodes {
    /// True while the shard's main runs.
    pub(super) fn is_up(&self, home: Home) -> bool {
        self.all[&home.node].up[usize::from(home.shard)]
    }

    pub(super) fn is_alive(&self, node: NodeId) -> bool {
        self.all[&node].up.contains(&true)
    }

    pub(super) fn shards(&self, node: NodeId) -> ShardId {
        ShardId::try_from(self.all[&node].up.len()).expect("a node has as many shards as ShardId counts")
    }

    pub(super) fn machine(&self, node: NodeId) -> MachineId {
        self.all[&node].machine
    }

    /// Jobs of the side pool that wait.
    pub(super) fn side_waiting(&mut self, node: NodeId) -> &mut usize {
        &mut self.all.get_mut(&node).expect("a node is never forgotten").side_waiting
    }

    pub(super) fn request_stop(&mut self, node: NodeId) {
        let node = self.all.get_mut(&node).expect("a node is never forgotten");
        node.stop = true;
        node.stop_wakers.drain(..).for_each(Waker::wake);
    }

    /// Marks shards down. Wakes who waits for the node's end, when this is it.
    fn down(&mut self, node: NodeId, which: impl Fn(usize) -> bool) {
        let node = self.all.get_mut(&node).expect("a node is never forgotten");
        node.up.iter_mut().enumerate().filter(|(shard, _)| which(*shard)).for_each(|(_, up)| *up = false);
        if !node.up.contains(&true) {
            node.end_wakers.drain(..).for_each(Waker::wake);
        }
    }

    pub(super) fn end_all(&mut self) {
        let ids: Vec<NodeId> = self.all.keys().copied().collect();
        ids.into_iter().for_each(|node| self.down(node, |_| true));
    }

    pub(super) fn take_hubs(&mut self) -> Vec<Box<dyn std::any::Any>> {
        let mut gone = Vec::new();
        for node in self.all.values_mut() {
            if let Some(hub) = node.hub.take() {
                gone.extend((0..node.up.len()).map(|s| hub.shard_gone(ShardId::try_from(s).expect("a shard"))));
            }
        }
        gone
    }
}

/// Starts a node: `main` once on each shard.
pub(super) fn start<Q, R, F, Fut>(core: &Rc<Core>, machine: MachineId, shards: ShardId, main: F) -> NodeId
where
    Q: Send + 'static,
    R: Send + 'static,
    F: Fn(Mesh<Q, R>) -> Fut + Clone + 'static,
    Fut: Future<Output = Result<(), StartError>> + 'static,
{
    assert!(shards > 0, "a node has a shard");
    let hub = Rc::new(Hub::<Q, R>::new(shards));
    let id = {
        let mut nodes = core.nodes.borrow_mut();
        let id = NodeId(u32::try_from(nodes.all.len()).expect("few nodes"));
        let node = Node {
            machine,
            up: vec![true; usize::from(shards)],
            stop: false,
            stop_wakers: Vec::new(),
            end_wakers: Vec::new(),
            error: None,
            side_waiting: 0,
            hub: Some(hub.clone()),
        };
        nodes.all.insert(id, node);
        id
    };
    core.note("start", u64::from(id.0), u64::from(shards));
    for shard in 0..shards {
        let home = Home { node: id, shard };
        let mesh = Mesh(MeshIn::Sim(mesh::Mesh::new(core.clone(), home, hub.clone())));
        let (main, end) = (main.clone(), End { core: core.clone(), home });
        core.spawn(Some(home), "main", async move {
            let outcome = main(mesh).await;
            if let Err(error) = outcome {
                end.core.nodes.borrow_mut().all.get_mut(&home.node).expect("running").error.get_or_insert(error);
            }
            drop(end);
        });
    }
    id
}

/// Takes the shard down when its main returns, panics or is dropped.
struct End {
    core: Rc<Core>,
    home: Home,
}

impl Drop for End {
    fn drop(&mut self) {
        shard_down(&self.core, self.home);
    }
}

fn shard_down(core: &Rc<Core>, home: Home) {
    if !core.nodes.borrow().is_up(home) {
        return;
    }
    core.note("shard down", u64::from(home.node.0), u64::from(home.shard));
    let hub = core.nodes.borrow().all[&home.node].hub.clone();
    // Tasks first: what they hold may speak to the mesh while it goes.
    core.nodes.borrow_mut().down(home.node, |shard| shard == usize::from(home.shard));
    core.drop_tasks(|at| at == Some(home));
    if let Some(hub) = hub {
        drop(hub.shard_gone(home.shard));
    }
}

/// Ends a node at once. `power_cut`: peers see resets and disks lose what was not synced.
pub(super) fn kill(core: &Rc<Core>, node: NodeId, power_cut: bool) {
    core.note(if power_cut { "crash" } else { "kill" }, u64::from(node.0), 0);
    if !core.nodes.borrow().is_alive(node) {
        return;
    }
    core.nodes.borrow_mut().down(node, |_| true);
    // Before the tasks go, so that nothing their destructors do reaches a disk or, after a power cut, a peer.
    let machine = core.nodes.borrow().machine(node);
    core.machines.borrow_mut().next_life(machine, power_cut);
    if power_cut {
        core.net.borrow_mut().crash(core, node);
    }
    core.drop_tasks(|at| at.is_some_and(|home| home.node == node));
    let hub = core.nodes.borrow_mut().all.get_mut(&node).expect("a node is never forgotten").hub.take();
    if let Some(hub) = hub {
        let shards = core.nodes.borrow().shards(node);
        (0..shards).for_each(|shard| drop(hub.shard_gone(shard)));
    }
}

/// Resolves when every main of the node has returned: its first error, if any.
pub(super) async fn ended(core: &Rc<Core>, node: NodeId) -> Result<(), StartError> {
    poll_fn(|cx| {
        let mut nodes = core.nodes.borrow_mut();
        let state = nodes.all.get_mut(&node).expect("a node is never forgotten");
        if state.up.contains(&true) {
            remember(&mut state.end_wakers, cx.waker());
            return Poll::Pending;
        }
        Poll::Ready(state.error.take().map_or(Ok(()), Err))
    })
    .await
}

/// Resolves when the node was asked to stop.
pub(super) async fn stop_requested(core: &Rc<Core>, node: NodeId) {
    poll_fn(|cx| {
        let mut nodes = core.nodes.borrow_mut();
        let state = nodes.all.get_mut(&node).expect("a node is never forgotten");
        if state.stop {
            return Poll::Ready(());
        }
        remember(&mut state.stop_wakers, cx.waker());
        Poll::Pending
    })
    .await
}

/// Keeps a task's waker once, however often it asks.
pub(super) fn remember(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|known| known.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}
