//! Carries what a volume owes to another one until it is there (DESIGN §3).
//!
//! ```text
//!   source's shard                                   target's shard
//!   bell ─► round for each target: take a load ────► land: copies and watermark in ONE batch
//!              ▲  settle: Sent + what bounced ◄───── what became of each
//!              └─ busy, full, gone: wait, try again
//! ```
//!
//! - A load that was not answered is carried again: the target knows what it has. So no failure between here and there
//!   needs to be told from another.
//! - A round runs in a task of its own and holds no handler of the mesh; a handler here commits and answers.
//! - In each direction one load is on its way, in order. Transfers survive the process; a start carries on with them.

mod adopt;
mod bounce;
mod carry;
mod collect;
mod land;
pub mod copy;
pub mod moving;
mod tidy;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use ringpost_storage::{Volume, VolumeId};

pub use adopt::adopt;
pub use land::land;
pub use tidy::tidy;

use crate::office::Office;
use crate::shard::{self, Disk};

/// Carries what `volume` owes for as long as the shard lives.
pub async fn keep(office: Rc<Office>, id: VolumeId, volume: Volume<Disk>) {
    let bell = office.couriers.hang(id);
    let rounds: Rc<RefCell<BTreeSet<VolumeId>>> = Rc::default();
    loop {
        for (target, _) in volume.transfer_targets() {
            if !rounds.borrow_mut().insert(target) {
                continue;
            }
            let (office, volume, rounds) = (office.clone(), volume.clone(), rounds.clone());
            shard::spawn("courier", async move {
                let _place = Place { rounds, target };
                carry::round(&office, id, &volume, target).await;
            });
        }
        if bell.recv_async().await.is_err() {
            return;
        }
    }
}

/// A round's place among those under way, given up when it ends, also by a panic.
struct Place {
    rounds: Rc<RefCell<BTreeSet<VolumeId>>>,
    target: VolumeId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.rounds.borrow_mut().remove(&self.target);
    }
}
