//! The deciding batch: hands a letter to the volume that owns its recipients, here or across the mesh.

use std::rc::Rc;

use ringpost_storage::{Flags, Lost, Op, Transaction};

use crate::office::{Deliver, Deliverable, Office, Reply, Request};
use crate::shard::{self, MeshError};

/// Stores a letter where it belongs and returns when its fate is known.
pub async fn commit(office: &Rc<Office>, letter: Deliver) -> Deliverable {
    let shard = office.shard_of(letter.volume);
    if shard == shard::id() {
        return store(office, letter).await;
    }
    let octets = letter.body.len();
    match office.mesh.call(shard, Request::Deliver(Box::new(letter)), octets).await {
        Ok(Reply::Delivered(fate)) => fate,
        Ok(other) => unreachable!("a delivery is answered with its fate, not {other:?}"),
        Err(MeshError::Full) => Deliverable::Refused(ringpost_storage::Refused::Busy),
        Err(MeshError::Down) => Deliverable::Unknown,
    }
}

/// Stores a letter in a volume of this shard.
pub async fn store(office: &Rc<Office>, letter: Deliver) -> Deliverable {
    let Some(volume) = office.volume(letter.volume) else { return Deliverable::NoVolume };
    let received_ms = letter.received_ms;
    let transaction = Transaction {
        bodies: vec![letter.body],
        ops: letter
            .copies
            .into_iter()
            .map(|copy| Op::Append {
                account: copy.account,
                mailbox: copy.mailbox,
                body: 0,
                prefix: copy.prefix,
                flags: Flags::none(),
                internal_ms: received_ms,
            })
            .collect(),
    };
    match volume.decide(transaction, received_ms) {
        Err(refused) => Deliverable::Refused(refused),
        Ok(decided) => match decided.ticket.await {
            Ok(()) => Deliverable::Stored,
            Err(Lost::NotWritten) => Deliverable::Refused(ringpost_storage::Refused::Failed),
            Err(Lost::Unknown) => Deliverable::Unknown,
        },
    }
}
