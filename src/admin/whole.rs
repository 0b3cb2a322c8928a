//! The store as a whole, for the operator's tools: how much it holds, what a backup copies, and what a repair or a restore has
//! to say to it.

use std::rc::Rc;

use ringpost_storage::{Loaded, Op, Transaction, TransferOp, Uidvalidity, Volume};

use super::{Response, Trouble, respond};
use crate::office::durable::make_durable;
use crate::office::tools::Hold;
use crate::office::{Office, Reply, Request};
use crate::shard::Disk;

/// Mailboxes renumbered in one transaction, at least: those of an account stay together.
const RENUMBERED_AT_ONCE: usize = 500;

/// How much each volume holds. `scrub`: and they are scrubbed from now on.
pub(super) async fn stat(office: &Office, scrub: bool) -> Response {
    let mut volumes = Vec::new();
    for (shard, answer) in office.ask_all(|| Request::Space { scrub }).await {
        match answer {
            Some(Reply::Space(told)) => volumes.extend(told),
            _ => return Trouble::Failed(format!("shard {shard} does not answer")).into(),
        }
    }
    volumes.sort_unstable_by_key(|of| of.volume);
    Response::Volumes { volumes }
}

/// Holds the files of all volumes for a backup, marks them, or lets go of them.
pub(super) async fn hold(office: &Office, token: u64, how: Hold) -> Response {
    let mut volumes = Vec::new();
    for (shard, answer) in office.ask_all(|| Request::Hold { token, how }).await {
        match answer {
            Some(Reply::Held(Some(told))) => volumes.extend(told),
            Some(Reply::Held(None)) => {
                let why = "another backup is being taken; one that died lets go after ten minutes";
                return Trouble::Refused(why.to_owned()).into();
            }
            _ => return Trouble::Failed(format!("shard {shard} does not answer")).into(),
        }
    }
    volumes.sort_unstable_by_key(|of| of.volume);
    Response::Marked { volumes }
}

/// Accepts that lost batches do not come back.
pub(super) fn accept_loss(office: &Office) -> Response {
    respond(alone(office).map(|()| {
        for (id, volume) in office.volumes() {
            // Also where a checkpoint still knows what was in them: it will not always.
            tracing::warn!(volume = id, "the operator accepts that batches are lost");
            volume.accept_loss();
        }
        Response::Done
    }))
}

/// Gives every mailbox a new UIDVALIDITY: the store comes from a backup, and what clients know of it may be newer.
pub(super) async fn renumber(office: &Rc<Office>) -> Response {
    respond(try_renumber(office).await)
}

async fn try_renumber(office: &Rc<Office>) -> Result<Response, Trouble> {
    alone(office)?;
    for (id, volume) in office.volumes() {
        let failed = |why: String| Trouble::Failed(format!("volume {id}: {why}"));
        let mut some: Vec<Loaded<Disk>> = Vec::new();
        let mut ops = Vec::new();
        for account in volume.account_ids() {
            let Some(loaded) = volume.load(account).await.map_err(|why| failed(why.to_string()))? else { continue };
            ops.extend(loaded.mailboxes().iter().map(|mailbox| Op::Renumber {
                account,
                mailbox: mailbox.id,
                uidvalidity: Uidvalidity::Fresh,
                uidnext: 1,
            }));
            some.push(loaded);
            if ops.len() >= RENUMBERED_AT_ONCE {
                commit(&volume, std::mem::take(&mut ops)).await.map_err(failed)?;
                some.clear();
            }
        }
        // Nor does it remember every number it has given to a transfer.
        ops.push(Op::Transfer(TransferOp::BeginAnew));
        commit(&volume, ops).await.map_err(failed)?;
    }
    Ok(Response::Done)
}

async fn commit(volume: &Volume<Disk>, ops: Vec<Op>) -> Result<(), String> {
    let done = make_durable(volume, Transaction { ops, ..Transaction::default() }).await;
    done.map(drop).map_err(|why| why.to_string())
}

/// All volumes are here, and no client looks: the tool has opened the store itself.
fn alone(office: &Office) -> Result<(), Trouble> {
    if office.shard_count() == 1 && office.is_for_tools() {
        return Ok(());
    }
    Err(Trouble::Refused("this can only be done while the server is stopped".to_owned()))
}
