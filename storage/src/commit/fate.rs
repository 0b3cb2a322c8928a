//! Waiting, on one thread: the fate of a batch, the tickets that wait for it, and a bell for loops.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::transaction::Lost;

/// What becomes of a batch: told once, heard by every ticket. One allocation a batch.
#[derive(Default)]
pub struct Fate {
    told: Cell<Option<Result<(), Lost>>>,
    /// Where the batch's bodies begin in its segment; known when it is sealed.
    bodies_at: Cell<u32>,
    wakers: RefCell<Vec<Waker>>,
}

impl Fate {
    /// Where the bodies begin. Before anybody is told.
    pub fn set_bodies_at(&self, at: u64) {
        self.bodies_at.set(u32::try_from(at).expect("a segment is below 4 GiB"));
    }

    /// Where the bodies of a batch begin that is durable.
    pub fn bodies_at(&self) -> u32 {
        assert_eq!(self.told.get(), Some(Ok(())), "asked when it is known");
        self.bodies_at.get()
    }

    /// Tells all tickets. Call it with nothing borrowed: a waker may run anything.
    pub fn tell(&self, result: Result<(), Lost>) {
        assert!(self.told.get().is_none(), "a batch has one fate");
        self.told.set(Some(result));
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Resolves with the fate of a decided transaction. Dropping it changes nothing but that nobody hears.
pub struct Ticket {
    fate: Rc<Fate>,
    /// Where this ticket's waker is.
    seat: Option<usize>,
}

impl Ticket {
    pub(crate) fn new(fate: Rc<Fate>) -> Self {
        Ticket { fate, seat: None }
    }
}

impl Future for Ticket {
    type Output = Result<(), Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.fate.told.get() {
            return Poll::Ready(result);
        }
        let fate = self.fate.clone();
        let mut wakers = fate.wakers.borrow_mut();
        match self.seat {
            Some(seat) => wakers[seat].clone_from(cx.waker()),
            None => {
                self.seat = Some(wakers.len());
                wakers.push(cx.waker().clone());
            }
        }
        Poll::Pending
    }
}

/// Wakes whoever waits for a condition, so that it looks again.
#[derive(Default)]
pub struct Bell {
    wakers: RefCell<Vec<Waker>>,
}

impl Bell {
    /// Call it with nothing borrowed.
    pub fn ring(&self) {
        if self.wakers.borrow().is_empty() {
            return;
        }
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// To be woken at the next ring.
    pub fn listen(&self, cx: &Context<'_>) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|w| w.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
    }

    /// Resolves when `true_now` says so; asked once at first and then at each ring.
    pub async fn until(&self, true_now: impl Fn() -> bool) {
        poll_fn(|cx| {
            if true_now() {
                return Poll::Ready(());
            }
            self.listen(cx);
            Poll::Pending
        })
        .await;
    }
}
