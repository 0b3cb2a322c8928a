//! One value from one task to another, or the news that it will never come.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Makes both ends.
pub(super) fn pair<T>() -> (Teller<T>, Answer<T>) {
    let slot = Rc::new(RefCell::new(Slot { value: None, gone: false, waker: None }));
    (Teller(slot.clone()), Answer(slot))
}

struct Slot<T> {
    value: Option<T>,
    gone: bool,
    waker: Option<Waker>,
}

/// The end that tells. Dropped without telling, the other end hears `None`.
pub(super) struct Teller<T>(Rc<RefCell<Slot<T>>>);

impl<T> Teller<T> {
    pub(super) fn tell(self, value: T) {
        self.0.borrow_mut().value = Some(value);
    }
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        let mut slot = self.0.borrow_mut();
        slot.gone = true;
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

/// The end that waits.
pub(super) struct Answer<T>(Rc<RefCell<Slot<T>>>);

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.0.borrow_mut();
        if slot.gone {
            return Poll::Ready(slot.value.take());
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
