//! The deciding batch: hands a letter to the volume that owns its recipients, here or across the mesh.

use std::rc::Rc;

use ringpost_storage::{Flags, Op, Refused, Transaction};

use crate::office::durable::{Undone, make_durable_and_return};
use crate::office::{Deliver, Deliverable, Office, Reply, Request};
use crate::shard::{self, MeshError};

/// Stores a letter where it belongs and returns when its fate is known.
pub async fn commit(office: &Rc<Office>, letter: Deliver) -> Deliverable {
    let shard = office.shard_of(letter.volume);
    if shard == shard::id() {
        return store(office, letter).await.0;
    }
    let octets = letter.body.len();
    match office.mesh.call(shard, Request::Deliver(Box::new(letter)), octets).await {
        Ok(Reply::Delivered { fate, buffers }) => {
            // They were allocated here.
            drop(buffers);
            fate
        }
        Ok(other) => unreachable!("a delivery is answered with its fate, not {other:?}"),
        Err(MeshError::Full) => Deliverable::Refused(Refused::Busy),
        Err(MeshError::Down) => Deliverable::Unknown,
    }
}

/// Stores a letter in a volume of this shard; gives the buffers of its body back.
pub async fn store(office: &Rc<Office>, letter: Deliver) -> (Deliverable, Vec<Vec<u8>>) {
    let Some(volume) = office.volume(letter.volume) else {
        return (Deliverable::NoVolume, Vec::new());
    };
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
    let fate = match make_durable_and_return(&volume, transaction).await {
        Ok((_, buffers)) => return (Deliverable::Stored, buffers),
        Err(Undone::Refused(refused)) => Deliverable::Refused(refused),
        Err(Undone::NotWritten) => Deliverable::Refused(Refused::Failed),
        Err(Undone::Unknown) => Deliverable::Unknown,
    };
    (fate, Vec::new())
}
