//! The shard's own io_uring ring: entries go in as tasks ask, one call submits them all and reaps what is done.
//!
//! Promises to callers: an entry's memory and file live in its slot until its last completion (see `work`); entries
//! reach the kernel in the order they were asked for, so a Close never overtakes the entries before it; wakers are
//! handed out of [`Ring::turn`] and called after the borrow ends, because waking may drop, and dropping comes back.
//!
//! The rules the kernel taught:
//!
//! - with DEFER_TASKRUN one call runs only some of the deferred work, so [`Ring::is_quiet`] looks at the kernel's
//!   flag and at the completion queue; sleeping is one blocking call into the ring itself, which looks once more inside
//!   the kernel, so nothing can be missed between looking and sleeping;
//! - a receive that found no buffer is armed again only when one is free, or it storms;
//! - what we may do is fixed when the ring is made (restrictions): seccomp sees none of it.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use io_uring::register::Restriction;
use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, cqueue, opcode, types};

use super::buffers::{GROUP, Pool};
use super::work::{FORGET, Key, SLOTS_MAX, Slot, Tag, Work};
use crate::observe::{self, Counter};

/// Every operation this ring may do; the start-up check probes for them and the restrictions allow only them.
pub const OPERATIONS: [u8; 10] = [
    opcode::Accept::CODE,
    opcode::Connect::CODE,
    opcode::Recv::CODE,
    opcode::Send::CODE,
    opcode::Read::CODE,
    opcode::Writev::CODE,
    opcode::Fsync::CODE,
    opcode::Timeout::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Close::CODE,
];

const ENTER_GETEVENTS: u32 = 1;

/// The ring and its slots.
pub struct Ring {
    uring: IoUring,
    /// Entries that did not fit the submission queue; bounded by the slots, three a slot at most.
    backlog: VecDeque<(Entry, bool)>,
    /// The entry queued last asks for its successor to run after it.
    linked: bool,
    pub(super) slots: Vec<Slot>,
    free: Vec<u32>,
    /// Entries nobody waits for (cancel, close) whose completion is still to come.
    forgotten: usize,
    pub(super) pool: Rc<Pool>,
    pub(super) starved: VecDeque<Key>,
    wake: Vec<Waker>,
}

/// Makes a ring with the flags we need, still disabled. Also the probe of the start-up check.
pub fn build(entries: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_r_disabled()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(entries.saturating_mul(4))
        .build(entries)
}

impl Ring {
    /// A ring for the calling thread, and no other.
    ///
    /// # Errors
    /// As `io_uring_setup` and `io_uring_register`.
    pub fn new(entries: u32, recv_buffers: u16, recv_buffer_bytes: u32) -> io::Result<Ring> {
        let uring = build(entries)?;
        let pool = Pool::new(recv_buffers, recv_buffer_bytes);
        // SAFETY: the pool's ring holds `count` entries, starts on a page, and lives until `Drop` has closed the uring.
        unsafe { uring.submitter().register_buf_ring_with_flags(pool.address(), pool.count(), GROUP, 0)? };
        let flags = Flags::IO_LINK | Flags::BUFFER_SELECT;
        let mut allowed: Vec<_> = OPERATIONS.iter().map(|op| Restriction::sqe_op(*op)).collect();
        allowed.push(Restriction::sqe_flags_allowed(flags.bits()));
        uring.submitter().register_restrictions(&mut allowed)?;
        uring.submitter().register_enable_rings()?;
        Ok(Ring {
            uring,
            backlog: VecDeque::new(),
            linked: false,
            slots: Vec::new(),
            free: Vec::new(),
            forgotten: 0,
            pool,
            starved: VecDeque::new(),
            wake: Vec::new(),
        })
    }

    /// Takes a slot for `work`.
    pub(super) fn open(&mut self, work: Work, deadline: u64) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.slots.len()).expect("below SLOTS_MAX");
            assert!(index < SLOTS_MAX, "connections and files are bounded far below");
            self.slots.push(Slot {
                generation: 0,
                alive: 0,
                orphan: false,
                timed_out: false,
                cancelling: false,
                deadline: 0,
                waker: None,
                work: Work::Free,
            });
            index
        });
        let slot = &mut self.slots[index as usize];
        slot.deadline = deadline;
        slot.work = work;
        Key { index, generation: slot.generation }
    }

    /// The slot `key` names.
    pub(super) fn slot(&mut self, key: Key) -> &mut Slot {
        let slot = &mut self.slots[key.index as usize];
        assert!(slot.generation == key.generation, "a slot is reused only when its owner has let go");
        slot
    }

    /// Frees a slot that the kernel is done with, and returns what it kept.
    pub(super) fn close(&mut self, key: Key) -> Work {
        let slot = self.slot(key);
        assert!(slot.alive == 0, "the kernel still holds it");
        slot.generation = slot.generation.wrapping_add(1) & (u32::MAX >> 1);
        slot.orphan = false;
        slot.timed_out = false;
        slot.cancelling = false;
        slot.deadline = 0;
        slot.waker = None;
        let work = std::mem::replace(&mut slot.work, Work::Free);
        self.free.push(key.index);
        work
    }

    /// Its owner has lost interest. What the kernel holds stays until its last completion, which a cancel hastens; only
    /// write → sync chains run to their end, because a cancelled chain tells nothing.
    pub(super) fn abandon(&mut self, key: Key) {
        let slot = self.slot(key);
        if slot.alive == 0 {
            drop(self.close(key));
            return;
        }
        slot.orphan = true;
        slot.waker = None;
        match &mut slot.work {
            Work::Recv(recv) => recv.chunk = None,
            Work::Accept(accept) => accept.queue.clear(),
            _ => {}
        }
        if !matches!(slot.work, Work::Write(_)) {
            self.cancel(key);
        }
    }

    /// Asks the kernel to end what `key` does. Its last completion still comes.
    pub(super) fn cancel(&mut self, key: Key) {
        let slot = self.slot(key);
        if slot.alive == 0 || std::mem::replace(&mut slot.cancelling, true) {
            return;
        }
        // All of them: a door has several under way.
        self.forget(opcode::AsyncCancel2::new(types::CancelBuilder::user_data(key.user_data(Tag::Main)).all()).build());
    }

    /// Closes a descriptor after everything that was asked for before: queued like the rest, because the number
    /// may be given out again before earlier entries reach the kernel.
    pub(super) fn close_fd(&mut self, fd: i32) {
        self.forget(opcode::Close::new(types::Fd(fd)).build());
    }

    fn forget(&mut self, entry: Entry) {
        self.forgotten += 1;
        // SAFETY: cancel and close point at no memory.
        unsafe { self.push(entry.user_data(FORGET), false) };
    }

    /// Queues an entry of slot `key` and counts its completion as outstanding.
    ///
    /// # Safety
    /// What the entry points at must be owned by the slot's work, at an address that does not change.
    pub(super) unsafe fn start(&mut self, key: Key, tag: Tag, entry: Entry) {
        let slot = self.slot(key);
        slot.alive += 1;
        slot.cancelling = false;
        let links = tag == Tag::Main && matches!(&slot.work, Work::Write(write) if write.syncs);
        // SAFETY: the caller's promise, and a slot is freed only when `alive` is back at zero.
        unsafe { self.push(entry.user_data(key.user_data(tag)), links) };
    }

    /// # Safety
    /// As `start`.
    unsafe fn push(&mut self, entry: Entry, links: bool) {
        // In order always: what waits in the backlog was asked for earlier.
        if self.backlog.is_empty() && self.fits() {
            self.linked = links;
            // SAFETY: the caller's.
            unsafe { self.uring.submission().push(&entry).expect("there is room") };
        } else {
            self.backlog.push_back((entry, links));
        }
    }

    /// A chain must reach the kernel in one call, or its link is lost: so an entry goes in only where a second
    /// fits too, unless it is itself the second.
    fn fits(&mut self) -> bool {
        let queue = self.uring.submission();
        queue.capacity() - queue.len() >= if self.linked { 1 } else { 2 }
    }

    fn refill(&mut self) {
        while self.fits() {
            let Some((entry, links)) = self.backlog.pop_front() else { return };
            self.linked = links;
            // SAFETY: it was given to `push` under the same promise, and its slot is still alive.
            unsafe { self.uring.submission().push(&entry).expect("there is room") };
        }
    }

    /// Nothing to submit and nothing to reap.
    pub fn is_quiet(&mut self) -> bool {
        let queue = self.uring.submission();
        let idle = queue.is_empty() && !queue.taskrun() && !queue.cq_overflow();
        drop(queue);
        idle && self.backlog.is_empty() && self.uring.completion().is_empty()
    }

    /// Entries waiting to be submitted.
    pub fn queued(&mut self) -> usize {
        self.uring.submission().len() + self.backlog.len()
    }

    /// One call into the kernel: submits, runs deferred work, with `wait` sleeps until something completes; then reaps.
    /// Returns the wakers of those who may go on, to be called when no borrow of the ring is left.
    ///
    /// # Panics
    /// When the kernel refuses the call for a reason that trying again cannot cure.
    pub fn turn(&mut self, wait: bool) -> Vec<Waker> {
        self.feed_starved();
        self.refill();
        // More was asked for than the queue holds: all of it goes off in this turn.
        while !self.backlog.is_empty() {
            let before = self.queued();
            self.enter(0);
            self.refill();
            if self.queued() == before {
                break;
            }
        }
        let wait = wait && self.backlog.is_empty() && self.uring.completion().is_empty();
        if wait || !self.is_quiet() {
            self.enter(u32::from(wait));
        }
        self.reap();
        std::mem::take(&mut self.wake)
    }

    fn enter(&mut self, wait: u32) {
        let mut queue = self.uring.submission();
        queue.sync();
        let queued = u32::try_from(queue.len()).expect("a queue has at most 32,768 entries");
        drop(queue);
        observe::count(Counter::RingEnters);
        // SAFETY: no argument is passed, and each queued entry was promised sound when it was pushed.
        let done = unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, wait, ENTER_GETEVENTS, None) };
        if let Err(error) = done {
            // EINTR: the executor's own ring wants the thread. EBUSY and EAGAIN: reap first, then try again.
            let code = error.raw_os_error().unwrap_or(0);
            assert!(matches!(code, libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ETIME), "io_uring_enter: {error}");
        }
    }

    fn reap(&mut self) {
        loop {
            let mut reaped = [const { None::<(u64, i32, u32)> }; 64];
            let mut count = 0;
            for (into, entry) in reaped.iter_mut().zip(self.uring.completion()) {
                *into = Some((entry.user_data(), entry.result(), entry.flags()));
                count += 1;
            }
            if count == 0 {
                return;
            }
            observe::add(Counter::RingCompletions, count);
            for (user_data, result, flags) in reaped.into_iter().flatten() {
                self.completed(user_data, result, flags);
            }
        }
    }

    fn completed(&mut self, user_data: u64, result: i32, flags: u32) {
        if user_data == FORGET {
            self.forgotten -= 1;
            return;
        }
        let (key, tag) = Key::parse(user_data);
        let slot = self.slot(key);
        if !cqueue::more(flags) {
            slot.alive = slot.alive.checked_sub(1).expect("a completion nobody asked for");
        }
        let over = slot.alive == 0;
        if over {
            slot.cancelling = false;
        }
        self.record(key, tag, result, flags);
        if over && self.slot(key).orphan {
            drop(self.close(key));
        }
    }

    /// Wakes who waits on `key`, once the turn is over.
    pub(super) fn rouse(&mut self, key: Key) {
        if let Some(waker) = self.slot(key).waker.take() {
            self.wake.push(waker);
        }
    }

    /// Waits on `key`.
    pub(super) fn wait_on<T>(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<T> {
        let slot = self.slot(key);
        match &mut slot.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Ends the waits whose deadline lies before `now`. Returns wakers as [`Ring::turn`] does.
    pub fn sweep(&mut self, now: u64) -> Vec<Waker> {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.deadline == 0 || slot.deadline > now || slot.orphan || slot.waker.is_none() {
                continue;
            }
            let key = Key { index: index as u32, generation: slot.generation };
            slot.timed_out = true;
            match slot.work {
                // Nothing of ours is in the kernel's hands: the receive stays armed.
                Work::Recv(_) => self.rouse(key),
                // The buffer is: the sender is told when its last completion is here.
                Work::Send(_) => self.cancel(key),
                _ => {}
            }
        }
        std::mem::take(&mut self.wake)
    }

    /// Before the ring may go: cancels everything but chains.
    pub fn cancel_all(&mut self) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.alive > 0 && !matches!(slot.work, Work::Write(_)) {
                self.cancel(Key { index: index as u32, generation: slot.generation });
            }
        }
    }

    /// The kernel holds nothing of ours any more.
    pub fn is_drained(&mut self) -> bool {
        self.forgotten == 0 && self.queued() == 0 && self.slots.iter().all(|slot| slot.alive == 0)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Orderly ends drain first. A panicking shard cannot: then what the kernel may still write to must never
        // be given out again.
        if !self.is_drained() {
            std::mem::forget(std::mem::take(&mut self.slots));
            std::mem::forget(self.pool.clone());
        }
    }
}
