//! Requests between shards: a bounded queue each way for every pair, and a reply slot taken before sending.
//!
//! Since a request holds its slot until the reply is here, neither queue of a pair can ever be full, a reply never
//! waits, and a handler that panics or is dropped answers too (with nothing: `Down`). A caller that gave up keeps its
//! slot and its byte credit until then: what it asked for is still going on over there.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};

use crossbeam::queue::ArrayQueue;
use futures_lite::FutureExt;

use super::home::{Shard, panicked};
use crate::limits::{MESH_BODY_BYTES_MAX, MESH_REQUESTS_MAX};
use crate::observe::{self, Counter};
use crate::shard::{MeshError, ShardId};

/// The queues of all pairs.
pub struct Wires<Q, R> {
    count: ShardId,
    pairs: Vec<Pair<Q, R>>,
}

struct Pair<Q, R> {
    requests: ArrayQueue<(u16, Q)>,
    /// `None`: the handler ended without an answer.
    replies: ArrayQueue<(u16, Option<R>)>,
}

impl<Q, R> Wires<Q, R> {
    pub fn new(count: ShardId) -> Self {
        let pair =
            |_| Pair { requests: ArrayQueue::new(MESH_REQUESTS_MAX), replies: ArrayQueue::new(MESH_REQUESTS_MAX) };
        Wires { count, pairs: (0..usize::from(count).pow(2)).map(pair).collect() }
    }

    fn pair(&self, from: ShardId, to: ShardId) -> &Pair<Q, R> {
        &self.pairs[usize::from(from) * usize::from(self.count) + usize::from(to)]
    }
}

type Handler<Q, R> = Rc<dyn Fn(ShardId, Q) -> Pin<Box<dyn Future<Output = R>>>>;

/// A shard's end of the mesh.
pub struct Mesh<Q, R>(Rc<End<Q, R>>);

struct End<Q, R> {
    shard: Rc<Shard>,
    wires: Arc<Wires<Q, R>>,
    lanes: RefCell<Vec<Lane<R>>>,
    handler: RefCell<Option<Handler<Q, R>>>,
}

/// What is under way to one other shard.
struct Lane<R> {
    slots: Vec<Slot<R>>,
    free: Vec<u16>,
    body_bytes: u64,
}

struct Slot<R> {
    body_bytes: u64,
    state: State<R>,
}

enum State<R> {
    Free,
    Waiting(Option<Waker>),
    Answered(Option<R>),
    /// The caller gave up; the slot is free again when the reply is here.
    Abandoned,
}

impl<R> Lane<R> {
    fn new() -> Self {
        Lane { slots: Vec::new(), free: Vec::new(), body_bytes: 0 }
    }

    fn has_room(&self, body_bytes: u64) -> bool {
        let has_credit = self.body_bytes == 0 || self.body_bytes.saturating_add(body_bytes) <= MESH_BODY_BYTES_MAX;
        has_credit && (!self.free.is_empty() || self.slots.len() < MESH_REQUESTS_MAX)
    }

    fn reserve(&mut self, body_bytes: u64) -> Option<u16> {
        if !self.has_room(body_bytes) {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot { body_bytes: 0, state: State::Free });
                (self.slots.len() - 1) as u16
            }
        };
        self.body_bytes += body_bytes;
        self.slots[usize::from(slot)] = Slot { body_bytes, state: State::Waiting(None) };
        Some(slot)
    }

    /// Takes a reply; returns who waits for it.
    fn answer(&mut self, number: u16, reply: Option<R>) -> Option<Waker> {
        let slot = &mut self.slots[usize::from(number)];
        self.body_bytes -= std::mem::take(&mut slot.body_bytes);
        match std::mem::replace(&mut slot.state, State::Answered(reply)) {
            State::Waiting(waker) => waker,
            State::Abandoned => {
                slot.state = State::Free;
                self.free.push(number);
                None
            }
            State::Free | State::Answered(_) => panic!("a reply nobody asked for"),
        }
    }

    /// The other shard has left: whatever is under way is answered with nothing.
    fn fail(&mut self) -> Vec<Waker> {
        let open = |slot: &Slot<R>| matches!(slot.state, State::Waiting(_) | State::Abandoned);
        let numbers: Vec<_> = (0..self.slots.len()).filter(|n| open(&self.slots[*n])).collect();
        numbers.into_iter().filter_map(|number| self.answer(number as u16, None)).collect()
    }
}

/// A handler's duty to answer.
struct Duty<Q, R> {
    end: Rc<End<Q, R>>,
    from: ShardId,
    slot: u16,
    reply: Option<R>,
}

impl<Q, R> Duty<Q, R> {
    fn answer(mut self, reply: R) {
        self.reply = Some(reply);
    }
}

impl<Q, R> Drop for Duty<Q, R> {
    fn drop(&mut self) {
        let End { shard, wires, .. } = &*self.end;
        let reply = (self.slot, self.reply.take());
        assert!(wires.pair(self.from, shard.id).replies.push(reply).is_ok(), "the request held a slot for its reply");
        shard.node.bells[usize::from(self.from)].ring();
    }
}

/// A caller's claim on its slot.
struct Claim<'a, Q, R> {
    end: &'a End<Q, R>,
    to: ShardId,
    slot: u16,
}

impl<Q, R> Drop for Claim<'_, Q, R> {
    fn drop(&mut self) {
        let mut lanes = self.end.lanes.borrow_mut();
        let lane = &mut lanes[usize::from(self.to)];
        let slot = &mut lane.slots[usize::from(self.slot)];
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Waiting(_) => slot.state = State::Abandoned,
            _ => lane.free.push(self.slot),
        }
    }
}

impl<Q, R> Clone for Mesh<Q, R> {
    fn clone(&self) -> Self {
        Mesh(self.0.clone())
    }
}

impl<Q: Send + 'static, R: Send + 'static> Mesh<Q, R> {
    /// This shard's end.
    pub fn new(shard: &Rc<Shard>, wires: Arc<Wires<Q, R>>) -> Self {
        let lanes = (0..wires.count).map(|_| Lane::new()).collect();
        let end = End { shard: shard.clone(), wires, lanes: RefCell::new(lanes), handler: RefCell::new(None) };
        let end = Rc::new(end);
        let weak: Weak<End<Q, R>> = Rc::downgrade(&end);
        shard.on_mail(Rc::new(move |is_open| {
            let Some(end) = weak.upgrade() else { return };
            if is_open {
                end.take_replies();
                End::take_requests(&end);
            } else {
                // What a handler holds may hold the mesh.
                drop(end.handler.borrow_mut().take());
            }
        }));
        Mesh(end)
    }

    /// See [`crate::shard::Mesh::call`].
    pub async fn call(&self, to: ShardId, request: Q, body_bytes: u64) -> Result<R, MeshError> {
        let end = &*self.0;
        let node = &end.shard.node;
        assert!(to < node.count(), "there is no shard {to}");
        if to == end.shard.id {
            return end.call_here(request).await;
        }
        if node.is_gone(to) {
            return Err(MeshError::Down);
        }
        let Some(slot) = end.lanes.borrow_mut()[usize::from(to)].reserve(body_bytes) else {
            observe::count(Counter::MeshFull);
            return Err(MeshError::Full);
        };
        observe::count(Counter::MeshRequests);
        let claim = Claim { end, to, slot };
        let sent = end.wires.pair(end.shard.id, to).requests.push((slot, request));
        assert!(sent.is_ok(), "no more requests than slots");
        node.bells[usize::from(to)].ring();
        let reply = poll_fn(|cx| {
            let mut lanes = end.lanes.borrow_mut();
            match &mut lanes[usize::from(to)].slots[usize::from(slot)].state {
                State::Waiting(waker) => {
                    *waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                State::Answered(reply) => Poll::Ready(reply.take()),
                State::Free | State::Abandoned => unreachable!("the claim is held"),
            }
        })
        .await;
        drop(claim);
        reply.ok_or(MeshError::Down)
    }

    /// See [`crate::shard::Mesh::has_room`].
    pub fn has_room(&self, to: ShardId, body_bytes: u64) -> bool {
        let end = &*self.0;
        if to == end.shard.id {
            return true;
        }
        let has_room = !end.shard.node.is_gone(to) && end.lanes.borrow()[usize::from(to)].has_room(body_bytes);
        if !has_room {
            observe::count(Counter::MeshFull);
        }
        has_room
    }

    /// See [`crate::shard::Mesh::serve`].
    pub fn serve<H, Fut>(&self, handler: H)
    where
        H: Fn(ShardId, Q) -> Fut + Clone + 'static,
        Fut: Future<Output = R> + 'static,
    {
        *self.0.handler.borrow_mut() = Some(Rc::new(move |from, request| Box::pin(handler(from, request))));
        // What came before the handler waits in the queues.
        End::take_requests(&self.0);
    }
}

impl<Q: Send + 'static, R: Send + 'static> End<Q, R> {
    async fn call_here(&self, request: Q) -> Result<R, MeshError> {
        let handler = self.handler.borrow().clone().ok_or(MeshError::Down)?;
        let work = async { handler(self.shard.id, request).await };
        AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
            panicked("mesh", panic.as_ref());
            MeshError::Down
        })
    }

    fn take_replies(&self) {
        let mut woken = Vec::new();
        for other in 0..self.wires.count {
            // Looked at first: a shard sends its last reply before it leaves.
            let gone = self.shard.node.is_gone(other);
            let mut lanes = self.lanes.borrow_mut();
            let lane = &mut lanes[usize::from(other)];
            while let Some((slot, reply)) = self.wires.pair(self.shard.id, other).replies.pop() {
                woken.extend(lane.answer(slot, reply));
            }
            if gone {
                woken.extend(lane.fail());
            }
        }
        woken.into_iter().for_each(Waker::wake);
    }

    fn take_requests(end: &Rc<Self>) {
        let Some(handler) = end.handler.borrow().clone() else { return };
        for from in 0..end.wires.count {
            while let Some((slot, request)) = end.wires.pair(from, end.shard.id).requests.pop() {
                let duty = Duty { end: end.clone(), from, slot, reply: None };
                let handler = handler.clone();
                end.shard.spawn("mesh", async move {
                    let reply = handler(from, request).await;
                    duty.answer(reply);
                });
            }
        }
    }
}
