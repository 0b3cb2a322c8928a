//! The deciding batch: hands a letter to the volume that decides it, here or across the mesh. What that volume owes to others
//! then is the courier's.

use std::rc::Rc;

use ringpost_storage::{
    Carried, Flags, Loaded, MailboxId, Op, ReadError, Refused, Transaction, TransferOp, Volume, VolumeId,
};

use crate::bugs::{self, Bug};
use crate::office::durable::{make_durable, make_durable_and_return};
use crate::office::{Copy, Deliver, Deliverable, Office, Reply, Request};
use crate::shard::{self, Disk, MeshError};

/// Stores a letter where it belongs and returns when its fate is known.
pub async fn commit(office: &Rc<Office>, letter: Deliver) -> Deliverable {
    let shard = office.shard_of(letter.volume);
    if shard == shard::id() {
        return store(office, letter).await;
    }
    let octets = letter.body.in_memory();
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
    let (id, owes) = (letter.volume, !letter.owed.is_empty());
    let Some((volume, transaction)) = asked(office, letter) else { return Deliverable::NoVolume };
    let Ok(_held) = hold(&volume, &transaction).await else { return Deliverable::Refused(Refused::Failed) };
    if bugs::on(Bug::EarlyYes) {
        shard::spawn("early", async move { drop(make_durable(&volume, transaction).await) });
        return Deliverable::Stored;
    }
    let fate = make_durable(&volume, transaction).await.map_or_else(Deliverable::from, |_| Deliverable::Stored);
    call_courier(office, id, owes && fate == Deliverable::Stored);
    fate
}

/// As [`store`], and gives the buffers of a stored body back to whoever filled them.
pub async fn store_and_return(office: &Rc<Office>, letter: Deliver) -> (Deliverable, Vec<Vec<u8>>) {
    let (id, owes) = (letter.volume, !letter.owed.is_empty());
    let Some((volume, transaction)) = asked(office, letter) else { return (Deliverable::NoVolume, Vec::new()) };
    let Ok(_held) = hold(&volume, &transaction).await else {
        return (Deliverable::Refused(Refused::Failed), Vec::new());
    };
    if bugs::on(Bug::EarlyYes) {
        shard::spawn("early", async move { drop(make_durable(&volume, transaction).await) });
        return (Deliverable::Stored, Vec::new());
    }
    match make_durable_and_return(&volume, transaction).await {
        Ok((_, buffers)) => {
            call_courier(office, id, owes);
            (Deliverable::Stored, buffers)
        }
        Err(undone) => (undone.into(), Vec::new()),
    }
}

/// Brings accounts into memory that get a copy into another mailbox than INBOX, until it is made.
async fn hold(volume: &Volume<Disk>, transaction: &Transaction) -> Result<Vec<Loaded<Disk>>, ReadError> {
    let mut held = Vec::new();
    for op in &transaction.ops {
        if let Op::Append { account, mailbox, .. } = op
            && *mailbox != MailboxId::INBOX
        {
            held.extend(volume.load(*account).await?);
        }
    }
    Ok(held)
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
    let send = |(target, copies)| {
        let what = Carried::Body(0);
        Op::Transfer(TransferOp::Send { target, what, copies, internal_ms: received_ms })
    };
    let ops = letter.copies.into_iter().map(append).chain(letter.owed.into_iter().map(send)).collect();
    Some((volume, Transaction { bodies: vec![letter.body], ops }))
}

fn call_courier(office: &Office, volume: VolumeId, owes: bool) {
    if owes && !bugs::on(Bug::ForgetCourier) {
        office.couriers.ring(volume);
    }
}
