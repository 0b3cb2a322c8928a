//! At the target: a load becomes durable in one batch with its watermark, or is answered from it.

use std::rc::Rc;

use ringpost_storage::{
    MailboxId, Op, Outcome, Refused, Transaction, TransferCopy, TransferOp, TransferOutcome, Volume,
};

use super::tidy;
use crate::observe::{self, Counter};
use crate::office::durable::{Undone, make_durable_and_return};
use crate::office::words::{Carriage, Landing, Load};
use crate::office::{Deliverable, Office, Reply};
use crate::shard::Disk;

/// Takes a load: the answer to [`Request::Receive`](crate::office::Request::Receive). Asks no other shard anything.
pub async fn land(office: &Rc<Office>, load: Load) -> Reply {
    let Some(volume) = office.volume(load.target) else {
        return Reply::Received { landings: Err(Deliverable::NoVolume), buffers: Vec::new() };
    };
    let mut copies = load.transfers.iter().flat_map(|transfer| &transfer.copies);
    let left = |copy: &TransferCopy| {
        volume.modseq_of(copy.account).is_some() && tidy::lives_elsewhere(office, load.target, &copy.name, copy.account)
    };
    // Of an account that has moved what is here goes in a moment, with all that it gets meanwhile. Then this bounces, and
    // follows it.
    if !office.directory(|d| d.complete(usize::from(office.volume_count()))) || copies.any(left) {
        return Reply::Received { landings: Err(Deliverable::Refused(Refused::Busy)), buffers: Vec::new() };
    }
    drop(copies);
    let (landings, buffers) = receive(&volume, load).await;
    if let Ok(landings) = &landings {
        observe::add(Counter::TransfersReceived, landings.iter().filter(|l| !l.uids.is_empty()).count() as u64);
    }
    Reply::Received { landings, buffers }
}

async fn receive(volume: &Volume<Disk>, load: Load) -> (Result<Vec<Landing>, Deliverable>, Vec<Vec<u8>>) {
    let Load { source, mut after, settled, transfers, .. } = load;
    let mark = volume.watermark(source);
    let mut landings = Vec::with_capacity(transfers.len());
    let mut transaction = Transaction::default();
    let mut unused = Vec::new();
    // Accounts of copies for another mailbox than INBOX, held until they are made.
    let mut held = Vec::new();
    for Carriage { number, body, copies, internal_ms } in transfers {
        let known = number.incarnation == mark.number.incarnation && number <= mark.number;
        if known {
            // Received before, and the source has not heard of it. Nothing of it is written again.
            landings.push(Landing { uids: Vec::new(), bounced: mark.bounced_of(number) });
            unused.extend(body.into_parts());
            after = number;
            continue;
        }
        for copy in copies.iter().filter(|copy| copy.mailbox != MailboxId::INBOX) {
            match volume.load(copy.account).await {
                Ok(loaded) => held.extend(loaded),
                Err(_) => return (Err(Deliverable::Refused(Refused::Failed)), unused),
            }
        }
        let op =
            TransferOp::Receive { source, number, after, settled, body: transaction.bodies.len(), copies, internal_ms };
        transaction.bodies.push(body);
        transaction.ops.push(Op::Transfer(op));
        after = number;
    }
    if transaction.ops.is_empty() {
        return (Ok(landings), unused);
    }
    match make_durable_and_return(volume, transaction).await {
        Ok((outcomes, mut buffers)) => {
            landings.extend(outcomes.into_iter().map(landing));
            buffers.append(&mut unused);
            (Ok(landings), buffers)
        }
        Err(Undone::Refused(why)) => (Err(Deliverable::Refused(why)), unused),
        Err(Undone::NotWritten) => (Err(Deliverable::Refused(Refused::Failed)), unused),
        Err(Undone::Unknown) => (Err(Deliverable::Unknown), unused),
    }
}

fn landing(outcome: Outcome) -> Landing {
    match outcome {
        Outcome::Transfer(TransferOutcome::Received { uids, bounced }) => Landing { uids, bounced },
        other => unreachable!("a reception ends as {other:?}"),
    }
}
