//! The deciding batch: hands a letter to the volume that owns its recipients, here or across the mesh.

use std::rc::Rc;

use ringpost_storage::{Flags, Op, Refused, Transaction, Volume};

use crate::office::durable::{Undone, make_durable, make_durable_and_return};
use crate::office::{Copy, Deliver, Deliverable, Office, Reply, Request};
use crate::shard::{self, Disk, MeshError};

/// Stores a letter where it belongs and returns when its fate is known.
pub async fn commit(office: &Rc<Office>, letter: Deliver) -> Deliverable {
    let shard = office.shard_of(letter.volume);
    if shard == shard::id() {
        return store(office, letter).await;
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

/// Stores a letter in a volume of this shard.
pub async fn store(office: &Rc<Office>, letter: Deliver) -> Deliverable {
    let Some((volume, transaction)) = asked(office, letter) else { return Deliverable::NoVolume };
    fate(make_durable(&volume, transaction).await.map(drop))
}

/// As [`store`], and gives the buffers of a stored body back to whoever filled them.
pub async fn store_and_return(office: &Rc<Office>, letter: Deliver) -> (Deliverable, Vec<Vec<u8>>) {
    let Some((volume, transaction)) = asked(office, letter) else { return (Deliverable::NoVolume, Vec::new()) };
    match make_durable_and_return(&volume, transaction).await {
        Ok((_, buffers)) => (Deliverable::Stored, buffers),
        Err(undone) => (fate(Err(undone)), Vec::new()),
    }
}

fn asked(office: &Office, letter: Deliver) -> Option<(Volume<Disk>, Transaction)> {
    let volume = office.volume(letter.volume)?;
    let received_ms = letter.received_ms;
    let append = |copy: Copy| Op::Append {
        account: copy.account,
        mailbox: copy.mailbox,
        body: 0,
        prefix: copy.prefix,
        flags: Flags::none(),
        internal_ms: received_ms,
    };
    let ops = letter.copies.into_iter().map(append).collect();
    Some((volume, Transaction { bodies: vec![letter.body], ops }))
}

fn fate(durable: Result<(), Undone>) -> Deliverable {
    match durable {
        Ok(()) => Deliverable::Stored,
        Err(Undone::Refused(refused)) => Deliverable::Refused(refused),
        Err(Undone::NotWritten) => Deliverable::Refused(Refused::Failed),
        Err(Undone::Unknown) => Deliverable::Unknown,
    }
}
