//! At the target of an account's move: pieces of it become durable, one batch each.

use std::rc::Rc;

use ringpost_storage::{Op, Refused, Transaction, Volume};

use crate::office::durable::{Undone, make_durable_and_return};
use crate::office::words::{AdoptStep, Adoption};
use crate::office::{Deliverable, Office, Reply};
use crate::shard::Disk;

/// Takes a piece: the answer to [`Request::Adopt`](crate::office::Request::Adopt). Asks no other shard anything.
pub async fn adopt(office: &Rc<Office>, adoption: Adoption) -> Reply {
    let Some(volume) = office.volume(adoption.volume) else {
        return Reply::Adopted { result: Err(Deliverable::NoVolume), buffers: Vec::new() };
    };
    match take(&volume, adoption).await {
        Ok(buffers) => Reply::Adopted { result: Ok(()), buffers },
        Err(why) => Reply::Adopted { result: Err(why), buffers: Vec::new() },
    }
}

async fn take(volume: &Volume<Disk>, adoption: Adoption) -> Result<Vec<Vec<u8>>, Deliverable> {
    let Adoption { account, bodies, steps, .. } = adoption;
    let unread = |_| Deliverable::Refused(Refused::Failed);
    // Held until the batch is decided and durable.
    let loaded = volume.load(account).await.map_err(unread)?;
    let here = volume.account(account).await.map_err(unread)?;
    let lives_here = here.as_ref().is_some_and(|info| info.generation > 0);
    let mut ops = Vec::with_capacity(steps.len());
    for step in steps {
        ops.push(match step {
            // Of an account that lives here nothing is taken over from elsewhere, and nothing is given up.
            _ if lives_here => return Err(Deliverable::Refused(Refused::MailboxExists)),
            AdoptStep::GiveUp if here.is_none() => continue,
            AdoptStep::GiveUp => Op::RemoveAccount { account },
            AdoptStep::Adopt(op) => Op::Adopt(op),
            AdoptStep::Expunge { mailbox, uids } => Op::Expunge { account, mailbox, uids },
            AdoptStep::RemoveMailbox { mailbox, name } => Op::RemoveMailbox { account, mailbox, name },
            AdoptStep::Subscribe { name, on } => Op::Subscribe { account, name, on },
        });
    }
    if ops.is_empty() {
        return Ok(Vec::new());
    }
    let made = make_durable_and_return(volume, Transaction { bodies, ops }).await;
    drop(loaded);
    match made {
        Ok((_, buffers)) => Ok(buffers),
        Err(Undone::Refused(why)) => Err(Deliverable::Refused(why)),
        Err(Undone::NotWritten) => Err(Deliverable::Refused(Refused::Failed)),
        Err(Undone::Unknown) => Err(Deliverable::Unknown),
    }
}
