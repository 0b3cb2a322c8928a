//! The mesh of a node: bounded requests between its shards, with delays from the seed.
//!
//! As the facade promises: a slot and byte credit are taken before anything is sent and given back with the reply; a
//! request runs in a task of its own on the other shard; a handler that panics, or a shard that is gone, is `Down`.
//! Two requests may overtake one another: no order is promised.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::answer;
use super::executor::{Core, Home};
use super::node::remember;
use crate::limits::{MESH_BODY_BYTES_MAX, MESH_REQUESTS_MAX};
use crate::observe::{self, Counter};
use crate::shard::{MeshError, ShardId};

type Handler<Q, R> = Rc<dyn Fn(ShardId, Q) -> Pin<Box<dyn Future<Output = R>>>>;

/// One shard's hold on its node's mesh.
pub struct Mesh<Q, R> {
    core: Rc<Core>,
    home: Home,
    hub: Rc<Hub<Q, R>>,
}

impl<Q, R> Clone for Mesh<Q, R> {
    fn clone(&self) -> Self {
        Mesh { core: self.core.clone(), home: self.home, hub: self.hub.clone() }
    }
}

/// What the shards of a node share.
pub(super) struct Hub<Q, R> {
    desks: RefCell<Vec<Desk<Q, R>>>,
    /// By asking shard, then answering shard.
    pairs: RefCell<Vec<Vec<Pair>>>,
}

struct Desk<Q, R> {
    handler: Option<Handler<Q, R>>,
    gone: bool,
    /// Requests that came before the handler.
    early: Vec<Waker>,
}

#[derive(Clone, Default)]
struct Pair {
    requests: usize,
    body_bytes: u64,
}

impl Pair {
    fn has_room(&self, body_bytes: u64) -> bool {
        let has_credit = self.body_bytes == 0 || self.body_bytes.saturating_add(body_bytes) <= MESH_BODY_BYTES_MAX;
        has_credit && self.requests < MESH_REQUESTS_MAX
    }
}

/// A slot and byte credit in use.
struct Slot<Q, R> {
    hub: Rc<Hub<Q, R>>,
    from: ShardId,
    to: ShardId,
    body_bytes: u64,
}

impl<Q, R> Drop for Slot<Q, R> {
    fn drop(&mut self) {
        let mut pairs = self.hub.pairs.borrow_mut();
        let pair = &mut pairs[usize::from(self.from)][usize::from(self.to)];
        pair.requests -= 1;
        pair.body_bytes -= self.body_bytes;
    }
}

impl<Q, R> Hub<Q, R> {
    pub(super) fn new(shards: ShardId) -> Self {
        let shards = usize::from(shards);
        Hub {
            desks: RefCell::new((0..shards).map(|_| Desk { handler: None, gone: false, early: Vec::new() }).collect()),
            pairs: RefCell::new(vec![vec![Pair::default(); shards]; shards]),
        }
    }

    /// The shard answers no more.
    pub(super) fn leave(&self, shard: ShardId) -> Option<Handler<Q, R>> {
        let mut desks = self.desks.borrow_mut();
        let desk = &mut desks[usize::from(shard)];
        desk.gone = true;
        desk.early.drain(..).for_each(Waker::wake);
        desk.handler.take()
    }

    fn reserve(self: &Rc<Self>, from: ShardId, to: ShardId, body_bytes: u64) -> Result<Slot<Q, R>, MeshError> {
        if self.desks.borrow()[usize::from(to)].gone {
            return Err(MeshError::Down);
        }
        let mut pairs = self.pairs.borrow_mut();
        let pair = &mut pairs[usize::from(from)][usize::from(to)];
        if !pair.has_room(body_bytes) {
            observe::count(Counter::MeshFull);
            return Err(MeshError::Full);
        }
        pair.requests += 1;
        pair.body_bytes += body_bytes;
        Ok(Slot { hub: self.clone(), from, to, body_bytes })
    }

    /// The handler of `shard`, waiting until it is there. `None`: the shard went first.
    async fn handler(&self, shard: ShardId) -> Option<Handler<Q, R>> {
        poll_fn(|cx| {
            let mut desks = self.desks.borrow_mut();
            let desk = &mut desks[usize::from(shard)];
            if desk.handler.is_none() && !desk.gone {
                remember(&mut desk.early, cx.waker());
                return Poll::Pending;
            }
            Poll::Ready(desk.handler.clone())
        })
        .await
    }
}

impl<Q: Send + 'static, R: Send + 'static> Mesh<Q, R> {
    pub(super) fn new(core: Rc<Core>, home: Home, hub: Rc<Hub<Q, R>>) -> Self {
        Mesh { core, home, hub }
    }

    /// As [`crate::shard::Mesh::call`].
    pub async fn call(&self, to: ShardId, request: Q, body_bytes: u64) -> Result<R, MeshError> {
        let from = self.home.shard;
        assert!(usize::from(to) < self.hub.desks.borrow().len(), "no shard {to}");
        if to == from {
            let handler = self.hub.handler(to).await.ok_or(MeshError::Down)?;
            return self.contained(handler(from, request)).await;
        }
        let slot = self.hub.reserve(from, to, body_bytes)?;
        observe::count(Counter::MeshRequests);
        let (teller, answer) = answer::pair();
        let core = self.core.clone();
        let hub = self.hub.clone();
        self.core.note("mesh", u64::from(from), u64::from(to));
        self.core.spawn(Some(Home { node: self.home.node, shard: to }), "mesh", async move {
            core.sleep_ns(delay_ns(&core)).await;
            let Some(handler) = hub.handler(to).await else { return };
            let reply = handler(from, request).await;
            core.sleep_ns(delay_ns(&core)).await;
            drop(slot);
            teller.tell(reply);
        });
        answer.await.ok_or(MeshError::Down)
    }

    /// As [`crate::shard::Mesh::has_room`].
    pub fn has_room(&self, to: ShardId, body_bytes: u64) -> bool {
        let from = self.home.shard;
        if to == from {
            return true;
        }
        let gone = self.hub.desks.borrow()[usize::from(to)].gone;
        let has_room = !gone && self.hub.pairs.borrow()[usize::from(from)][usize::from(to)].has_room(body_bytes);
        if !has_room {
            observe::count(Counter::MeshFull);
        }
        has_room
    }

    /// As [`crate::shard::Mesh::serve`].
    pub fn serve<H, Fut>(&self, handler: H)
    where
        H: Fn(ShardId, Q) -> Fut + Clone + 'static,
        Fut: Future<Output = R> + 'static,
    {
        let mut desks = self.hub.desks.borrow_mut();
        let desk = &mut desks[usize::from(self.home.shard)];
        assert!(desk.handler.is_none(), "a shard serves the mesh once");
        if desk.gone {
            return;
        }
        desk.handler = Some(Rc::new(move |from, request| Box::pin(handler(from, request))));
        desk.early.drain(..).for_each(Waker::wake);
    }

    /// Polls a handler of the own shard; its panic is kept and becomes `Down`, as it would from another shard.
    async fn contained(&self, mut work: Pin<Box<dyn Future<Output = R>>>) -> Result<R, MeshError> {
        poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(reply)) => Poll::Ready(Ok(reply)),
            Err(why) => {
                self.core.panicked(Some(self.home), "mesh", why.as_ref());
                Poll::Ready(Err(MeshError::Down))
            }
        })
        .await
    }
}

/// Mostly microseconds; now and then a shard is busy with something else.
fn delay_ns(core: &Core) -> u64 {
    let chance = &core.chance.mesh;
    if chance.one_in(50) { chance.between(1_000_000, 20_000_000) } else { chance.between(1_000, 60_000) }
}
