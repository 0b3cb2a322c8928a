//! Where couriers are called, and where those wait who want to know what became of a transfer.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use ringpost_storage::{TransferNumber, VolumeId};

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
}
