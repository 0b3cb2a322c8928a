//! Where couriers are called, where those wait who want to know what became of a transfer, and which accounts are on the move.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use ringpost_storage::{AccountId, TransferNumber, VolumeId};

use crate::office::words::Landing;

/// A transfer of this shard: source, target, number.
pub type Name = (VolumeId, VolumeId, TransferNumber);

/// The couriers of a shard. Cheap to clone.
#[derive(Clone, Default)]
pub struct Couriers(Rc<Inside>);

#[derive(Default)]
struct Inside {
    bells: RefCell<BTreeMap<VolumeId, flume::Sender<()>>>,
    waiting: RefCell<HashMap<Name, flume::Sender<Landing>>>,
    /// Accounts that are moved to another volume, or to another name.
    moving: RefCell<BTreeSet<AccountId>>,
}

/// An account that nobody else moves or renames until this drops.
pub struct OnTheMove {
    couriers: Couriers,
    account: AccountId,
}

/// The wait for one transfer; dropping it ends that.
pub struct Waiting {
    couriers: Couriers,
    name: Name,
    landing: flume::Receiver<Landing>,
}

impl Couriers {
    /// A bell for the courier of a volume: rung once or often, it is heard once.
    #[must_use]
    pub fn hang(&self, volume: VolumeId) -> flume::Receiver<()> {
        let (ring, hear) = flume::bounded(1);
        self.0.bells.borrow_mut().insert(volume, ring);
        hear
    }

    /// The volume owes something more.
    pub fn ring(&self, volume: VolumeId) {
        if let Some(bell) = self.0.bells.borrow().get(&volume) {
            // Full: it rings already.
            let _ = bell.try_send(());
        }
    }

    /// Waits for a transfer from now on. To be called before anything is awaited after it was decided.
    #[must_use]
    pub fn wait(&self, name: Name) -> Waiting {
        let (tell, landing) = flume::bounded(1);
        self.0.waiting.borrow_mut().insert(name, tell);
        Waiting { couriers: self.clone(), name, landing }
    }

    /// An account of this shard is to be moved or renamed. `None`: somebody else does one of these.
    #[must_use]
    pub fn take(&self, account: AccountId) -> Option<OnTheMove> {
        let free = self.0.moving.borrow_mut().insert(account);
        free.then(|| OnTheMove { couriers: self.clone(), account })
    }

    /// A transfer has ended.
    pub fn tell(&self, name: Name, landing: &Landing) {
        if let Some(tell) = self.0.waiting.borrow_mut().remove(&name) {
            // Whoever waited may have gone.
            let _ = tell.try_send(landing.clone());
        }
    }
}

impl Waiting {
    /// What became of it. `None`: nobody will ever say.
    pub async fn landing(&self) -> Option<Landing> {
        self.landing.recv_async().await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.couriers.0.waiting.borrow_mut().remove(&self.name);
    }
}

impl Drop for OnTheMove {
    fn drop(&mut self) {
        self.couriers.0.moving.borrow_mut().remove(&self.account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rung_often_is_heard_once_and_who_leaves_is_forgotten() {
        let couriers = Couriers::default();
        let bell = couriers.hang(3);
        couriers.ring(3);
        couriers.ring(3);
        couriers.ring(4);
        assert_eq!((bell.try_recv().is_ok(), bell.try_recv().is_ok()), (true, false));
        let name = (3, 4, TransferNumber { incarnation: 1, number: 1 });
        let waiting = couriers.wait(name);
        couriers.tell(name, &Landing { bounced: vec![2], ..Landing::default() });
        assert_eq!(waiting.landing.try_recv().map(|l| l.bounced), Ok(vec![2]));
        drop(couriers.wait(name));
        assert!(couriers.0.waiting.borrow().is_empty());
    }

    #[test]
    fn an_account_is_moved_by_one_at_a_time() {
        let couriers = Couriers::default();
        let first = couriers.take(AccountId(7));
        assert!(first.is_some() && couriers.take(AccountId(7)).is_none() && couriers.take(AccountId(8)).is_some());
        drop(first);
        assert!(couriers.take(AccountId(7)).is_some());
    }
}
