//! Who is at the other end of this shard's connections, so that those of a client whom an operator bans can be ended.
//!
//! ```text
//!   Roll ── enter(address) ──► Entered, kept by the connection: off the roll when it drops
//!     └──── end(whom) ───────► Over, of each of them: the pump sees it between commands, or is woken where it waits for octets
//! ```
//!
//! As many as there are connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Whether something is to end. One task may wait for it.
#[derive(Default)]
pub struct Over {
    is: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The connections of a shard. Cheap to clone.
#[derive(Clone, Default)]
pub struct Roll(Rc<Inner>);

#[derive(Default)]
struct Inner {
    next: Cell<u64>,
    all: RefCell<HashMap<u64, (IpAddr, Rc<Over>)>>,
}

/// A connection that is on the roll until this drops.
pub struct Entered {
    roll: Roll,
    number: u64,
    over: Rc<Over>,
}

impl Over {
    /// It is to end. True if it was not before.
    pub fn set(&self) -> bool {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
        !self.is.replace(true)
    }

    /// True if it is to end.
    #[must_use]
    pub fn is(&self) -> bool {
        self.is.get()
    }

    /// Ready when it is to end.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Roll {
    /// A connection of this client.
    #[must_use]
    pub fn enter(&self, ip: IpAddr) -> Entered {
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        let over = Rc::new(Over::default());
        self.0.all.borrow_mut().insert(number, (ip, over.clone()));
        Entered { roll: self.clone(), number, over }
    }

    /// Ends the connections of these clients; returns how many there were.
    pub fn end(&self, whom: impl Fn(IpAddr) -> bool) -> usize {
        self.0.all.borrow().values().filter(|(ip, over)| whom(*ip) && over.set()).count()
    }
}

impl Entered {
    /// Whether it is to end.
    #[must_use]
    pub fn over(&self) -> &Rc<Over> {
        &self.over
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.roll.0.all.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_some_clients_end_and_the_others_stay() {
        let (roll, ip) = (Roll::default(), |text: &str| text.parse::<IpAddr>().expect("an address"));
        let [one, same, other] = ["192.0.2.1", "192.0.2.1", "192.0.2.2"].map(|text| roll.enter(ip(text)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(one.over().poll(&mut cx).is_pending());
        assert_eq!(roll.end(|at| at == ip("192.0.2.1")), 2);
        assert!(one.over().poll(&mut cx).is_ready() && same.over().is() && !other.over().is());
        assert_eq!(roll.end(|_| true), 1, "two were over already");
        drop((one, same, other));
        assert_eq!(roll.0.all.borrow().len(), 0);
    }
}
