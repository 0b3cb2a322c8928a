//! Hearing of a mailbox's changes without asking again and again: IDLE (RFC 2177), and whoever else waits.
//!
//! ```text
//! commit ─► apply ─► for each account of the batch that is watched: mailboxes whose version moved ─► their wakers
//! ```
//!
//! Nobody is told what has changed, only that something durable has: who is woken looks at the mailbox itself. A commit
//! costs nothing while nobody watches, else one look-up for each account in the batch. Memory: 48 octets a [`Watch`], its
//! seat included, and about 130 besides for the first that watches a mailbox.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

use smallvec::SmallVec;

use crate::index::{ChangedMailbox, Index};
use crate::types::{AccountId, Lsn, MailboxId};

/// The version of a mailbox that is not there: none that is has it.
const GONE: u64 = 0;

/// All that is watched in a volume.
#[derive(Default)]
pub struct Watches {
    accounts: RefCell<HashMap<AccountId, SmallVec<[Rc<Watched>; 1]>>>,
    /// The volume takes no more changes.
    over: Cell<bool>,
}

/// A mailbox that somebody watches.
struct Watched {
    account: AccountId,
    mailbox: MailboxId,
    /// As of the last durable batch.
    version: Cell<u64>,
    /// One for each [`Watch`].
    seats: RefCell<SmallVec<[Seat; 1]>>,
}

enum Seat {
    Free,
    /// Taken by a watch that does not wait now.
    Idle,
    Waiting(Waker),
}

/// Watches one mailbox until it is dropped. See [`Volume::watch`](crate::Volume::watch).
pub struct Watch {
    all: Rc<Watches>,
    watched: Rc<Watched>,
    seat: u32,
}

impl Watches {
    /// See [`crate::Volume::watch`].
    pub fn watch(self: &Rc<Self>, index: &Index, account: AccountId, mailbox: MailboxId) -> Watch {
        let mut accounts = self.accounts.borrow_mut();
        let of_account = accounts.entry(account).or_default();
        let watched = match of_account.iter().find(|w| w.mailbox == mailbox) {
            Some(watched) => watched.clone(),
            None => {
                let version = Cell::new(version(index, account, mailbox));
                let watched = Rc::new(Watched { account, mailbox, version, seats: RefCell::default() });
                of_account.push(watched.clone());
                watched
            }
        };
        let mut seats = watched.seats.borrow_mut();
        let seat = seats.iter().position(|s| matches!(s, Seat::Free)).unwrap_or_else(|| {
            seats.push(Seat::Free);
            seats.len() - 1
        });
        seats[seat] = Seat::Idle;
        drop(seats);
        Watch { all: self.clone(), watched, seat: u32::try_from(seat).expect("watches fit into memory") }
    }

    /// A batch is durable and applied that changed these mailboxes (with repetitions): wakes who watches one.
    /// Call it with nothing borrowed but what a waker may borrow.
    pub fn ring(&self, lsn: Lsn, changed: &[ChangedMailbox]) {
        if self.accounts.borrow().is_empty() {
            return;
        }
        let mut wakers = Vec::new();
        {
            let accounts = self.accounts.borrow();
            for change in changed {
                let of_account = accounts.get(&change.account).into_iter().flatten();
                for watched in of_account.filter(|w| change.mailbox.is_none_or(|mailbox| mailbox == w.mailbox)) {
                    watched.version.set(if change.gone { GONE } else { lsn });
                    watched.take_wakers(&mut wakers);
                }
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The volume failed or is closed: wakes everybody. Call it with nothing borrowed.
    pub fn end(&self) {
        self.over.set(true);
        let mut wakers = Vec::new();
        self.accounts.borrow().values().flatten().for_each(|watched| watched.take_wakers(&mut wakers));
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The account is in memory.
fn version(index: &Index, account: AccountId, mailbox: MailboxId) -> u64 {
    index.mailbox(account, mailbox).map_or(GONE, |m| m.version)
}

impl Watched {
    fn take_wakers(&self, into: &mut Vec<Waker>) {
        for seat in self.seats.borrow_mut().iter_mut().filter(|s| matches!(s, Seat::Waiting(_))) {
            let Seat::Waiting(waker) = std::mem::replace(seat, Seat::Idle) else { unreachable!("just looked") };
            into.push(waker);
        }
    }
}

impl Watch {
    /// Resolves when the durable mailbox's [`version`](crate::Mailbox::version) is above `version`, and when there is
    /// nothing to wait for any more: the mailbox or its account is gone, the volume failed or is closed. Dropping the
    /// future is no loss: the next one looks first. One of them waits at a time; of two, the one polled last is woken.
    pub fn changed(&self, version: u64) -> impl Future<Output = ()> + use<'_> {
        poll_fn(move |cx| {
            let now = self.watched.version.get();
            if now > version || now == GONE || self.all.over.get() {
                return Poll::Ready(());
            }
            match &mut self.watched.seats.borrow_mut()[self.seat as usize] {
                Seat::Waiting(waker) => waker.clone_from(cx.waker()),
                seat => *seat = Seat::Waiting(cx.waker().clone()),
            }
            Poll::Pending
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut seats = self.watched.seats.borrow_mut();
        let was = std::mem::replace(&mut seats[self.seat as usize], Seat::Free);
        while matches!(seats.last(), Some(Seat::Free)) {
            seats.pop();
        }
        let empty = seats.is_empty();
        drop(seats);
        if empty {
            let mut accounts = self.all.accounts.borrow_mut();
            if let Some(of_account) = accounts.get_mut(&self.watched.account) {
                of_account.retain(|w| !Rc::ptr_eq(w, &self.watched));
                if of_account.is_empty() {
                    accounts.remove(&self.watched.account);
                }
            }
        }
        // With nothing borrowed: this may be the last of a task.
        drop(was);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId(7);

    #[test]
    fn a_watch_costs_what_the_manual_says() {
        assert_eq!((size_of::<Watch>(), size_of::<Seat>()), (24, 24));
        assert!(size_of::<Watched>() <= 80, "{}", size_of::<Watched>());
    }

    #[test]
    fn a_dropped_watch_is_forgotten() {
        let (all, index) = (Rc::new(Watches::default()), Index::default());
        let mut many: Vec<Watch> = (0..1_000).map(|n| all.watch(&index, ALICE, MailboxId(n % 10 + 1))).collect();
        assert_eq!(all.accounts.borrow()[&ALICE].len(), 10);
        many.drain(5..).for_each(drop);
        let seats = |all: &Watches| all.accounts.borrow()[&ALICE].iter().map(|w| w.seats.borrow().len()).sum::<usize>();
        assert_eq!((all.accounts.borrow()[&ALICE].len(), seats(&all)), (5, 5));
        // A seat that became free is taken again.
        many.push(all.watch(&index, ALICE, MailboxId(1)));
        drop(many.remove(0));
        many.push(all.watch(&index, ALICE, MailboxId(1)));
        assert_eq!(seats(&all), 6);
        drop(many);
        assert!(all.accounts.borrow().is_empty());
    }
}
