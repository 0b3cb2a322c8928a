//! Changes in a volume: asked of its shard, made durable there in one batch.

use std::time::Duration;

use ringpost_storage::{
    AccountId, AccountInfo, AdoptOp, Limits, NewMailbox, Op, Outcome, Refused, Transaction, Volume, VolumeId,
};

use super::Trouble;
use crate::limits;
use crate::mailbox::names;
use crate::office::durable::{Undone, make_durable};
use crate::office::words::Deed;
use crate::office::{Deliverable, Office, Reply, Request};
use crate::shard::{self, Disk, MeshError};

/// Makes changes durable in a volume of this shard: the answer to [`Request::Do`]. Asks no other shard anything.
pub async fn do_deeds(office: &Office, volume: VolumeId, deeds: Vec<Deed>) -> Reply {
    Reply::Did(commit(office, volume, deeds).await)
}

async fn commit(office: &Office, id: VolumeId, deeds: Vec<Deed>) -> Result<Vec<Option<AccountId>>, Deliverable> {
    let volume = office.volume(id).ok_or(Deliverable::NoVolume)?;
    // What goes with an account is known when the account is in memory, and it stays there until it has gone.
    let mut held = Vec::new();
    let mut on_the_move = Vec::new();
    for deed in &deeds {
        if let Deed::RenameAccount { account, .. } = deed {
            on_the_move.push(office.couriers.take(*account).ok_or(Deliverable::Refused(Refused::Busy))?);
        }
        if let Deed::RemoveAccount(account)
        | Deed::SetLimits(account, _)
        | Deed::ReplaceSecrets { account, .. }
        | Deed::RenameAccount { account, .. } = deed
        {
            held.push(volume.load(*account).await.map_err(|why| {
                tracing::error!(account = account.0, %why, "account not readable");
                Deliverable::Refused(Refused::NotLoaded)
            })?);
        }
    }
    let mut ops = Vec::with_capacity(deeds.len());
    for deed in deeds {
        match deed {
            Deed::ReplaceSecrets { account, name, was, secrets } => {
                let found = at_rest(&volume, account, &name).await?;
                if *found.secrets != *was {
                    return Err(Deliverable::Refused(Refused::Busy));
                }
                let (mailboxes, limits) = (default_mailboxes(), Limits::NONE);
                ops.push(Op::PutAccount { name, secrets, mailboxes, limits });
            }
            Deed::RenameAccount { account, from, to } => {
                let found = at_rest(&volume, account, &from).await?;
                ops.extend(rename(&volume, found, to).ok_or(Deliverable::Refused(Refused::NoAccount))?);
            }
            Deed::PutAccount { name, secrets, limits } => {
                if is_left_of_a_move(office, (id, &volume), &name).await {
                    return Err(Deliverable::Refused(Refused::MailboxExists));
                }
                ops.push(op(Deed::PutAccount { name, secrets, limits }));
            }
            other => ops.push(op(other)),
        }
    }
    let outcomes = make_durable(&volume, Transaction { bodies: Vec::new(), ops }).await.map_err(|why| match why {
        Undone::Refused(why) => Deliverable::Refused(why),
        Undone::NotWritten => Deliverable::Refused(Refused::Failed),
        Undone::Unknown => Deliverable::Unknown,
    })?;
    let account = |outcome| match outcome {
        Outcome::Account(id) => Some(id),
        _ => None,
    };
    Ok(outcomes.into_iter().map(account).collect())
}

/// True if a volume has under this name what a move has left there, or half of what it was to bring: an account that lives elsewhere,
/// perhaps by another name. Whoever is to have the name must not be given that one's mail.
async fn is_left_of_a_move(office: &Office, (id, volume): (VolumeId, &Volume<Disk>), name: &str) -> bool {
    let Some(account) = volume.account_named(name) else { return false };
    let lives_elsewhere = office.directory(|d| d.home_of(name, account)).is_some_and(|home| home.volume != id);
    lives_elsewhere || !matches!(volume.account(account).await, Ok(Some(info)) if info.generation > 0)
}

/// What is durable of an account, as soon as nothing of it is on its way to the disk. It is in memory: nobody else runs from here
/// to the decision. Busy: it has another name by now, or is gone.
async fn at_rest(volume: &Volume<Disk>, account: AccountId, name: &str) -> Result<AccountInfo, Deliverable> {
    let rest = volume.at_rest(account, None);
    let _ = shard::within(Duration::from_secs(limits::COMMIT_DEADLINE_S), rest).await;
    match volume.account(account).await {
        Ok(Some(found)) if found.name == name => Ok(found),
        _ => Err(Deliverable::Refused(Refused::Busy)),
    }
}

/// The account as it is, put again under another name. What is put of one that is elsewhere comes with its numbers, and here these
/// are its own. The first of the two lets the volume know, within this batch, that it is one that is there and not one that arrives.
fn rename(volume: &Volume<Disk>, found: AccountInfo, name: String) -> Option<[Op; 2]> {
    let AccountInfo { id: account, generation, secrets, .. } = found;
    let (limit_bytes, limit_messages) = volume.limits_of(account)?;
    let modseq = volume.modseq_of(account)?;
    let limits = Limits { bytes: limit_bytes, messages: limit_messages };
    let secrets = secrets.to_vec();
    let again = AdoptOp::Account { account, name, secrets, generation, limit_bytes, limit_messages, modseq };
    Some([Op::SetLimits { account, limits }, Op::Adopt(again)])
}

fn op(deed: Deed) -> Op {
    match deed {
        Deed::PutEntry { key, octets } => Op::PutDomain { name: key, info: octets },
        Deed::RemoveEntry { key } => Op::RemoveDomain { name: key },
        Deed::PutAccount { name, secrets, limits } => {
            Op::PutAccount { name, secrets, mailboxes: default_mailboxes(), limits }
        }
        Deed::SetLimits(account, limits) => Op::SetLimits { account, limits },
        Deed::RemoveAccount(account) => Op::RemoveAccount { account },
        Deed::ReplaceSecrets { .. } | Deed::RenameAccount { .. } => {
            unreachable!("made of what is there, by the caller")
        }
    }
}

/// What a new account has beside INBOX. One that is there keeps what it has.
fn default_mailboxes() -> Vec<NewMailbox> {
    let made = |(name, special_use): (&str, _)| NewMailbox {
        name: name.to_owned(),
        special_use: names::use_code(Some(special_use)),
    };
    names::DEFAULTS.into_iter().map(made).collect()
}

/// Asks the shard of `volume` for changes and waits until they are durable.
pub(super) async fn ask(
    office: &Office,
    volume: VolumeId,
    deeds: Vec<Deed>,
) -> Result<Vec<Option<AccountId>>, Trouble> {
    answered(volume, office.mesh.call(office.shard_of(volume), Request::Do { volume, deeds }, 0).await)
}

/// What is known of a change that was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing was.
    Nothing,
    /// Nothing was, for the volume has failed.
    NothingAsItFailed,
    /// Nobody knows.
    Unknown,
}

/// The same; where they are not known to be durable: why, and what is known.
pub(super) async fn try_ask(office: &Office, volume: VolumeId, deeds: Vec<Deed>) -> Result<(), (Trouble, Kept)> {
    let reply = office.mesh.call(office.shard_of(volume), Request::Do { volume, deeds }, 0).await;
    let kept = match &reply {
        Ok(Reply::Did(Err(Deliverable::Refused(Refused::Failed)))) => Kept::NothingAsItFailed,
        Err(MeshError::Full) | Ok(Reply::Did(Err(Deliverable::Refused(_) | Deliverable::NoVolume))) => Kept::Nothing,
        _ => Kept::Unknown,
    };
    answered(volume, reply).map(drop).map_err(|trouble| (trouble, kept))
}

pub(super) fn answered(volume: VolumeId, reply: Result<Reply, MeshError>) -> Result<Vec<Option<AccountId>>, Trouble> {
    let why = match reply {
        Ok(Reply::Did(Ok(accounts))) => return Ok(accounts),
        Ok(Reply::Did(Err(Deliverable::Refused(Refused::NotLoaded)))) => {
            "the account cannot be read; nothing was changed there, and the log says why".to_owned()
        }
        Ok(Reply::Did(Err(Deliverable::Refused(Refused::MailboxExists)))) => {
            "what a move has left has that name there: the next start removes it; nothing was changed there".to_owned()
        }
        Ok(Reply::Did(Err(Deliverable::Refused(why)))) => format!("{why}; nothing was changed there"),
        Ok(Reply::Did(Err(Deliverable::NoVolume))) => "it is not open; see the log of the start".to_owned(),
        Err(MeshError::Full) => "its shard is too busy; try again".to_owned(),
        Ok(_) | Err(MeshError::Down) => "it is not known whether the change was kept; look, and try again".to_owned(),
    };
    Err(Trouble::Failed(format!("volume {volume}: {why}")))
}

/// Replaces an account's secrets. `Ok(false)`: somebody else did meanwhile.
pub(super) async fn replace(office: &Office, volume: VolumeId, deed: Deed) -> Result<bool, Trouble> {
    let request = Request::Do { volume, deeds: vec![deed] };
    match office.mesh.call(office.shard_of(volume), request, 0).await {
        Ok(Reply::Did(Ok(_))) => Ok(true),
        Ok(Reply::Did(Err(Deliverable::Refused(Refused::Busy)))) => Ok(false),
        reply => answered(volume, reply).map(|_| true),
    }
}

/// What a shard that was not told means to the operator.
pub(super) fn untold(_: MeshError) -> Trouble {
    Trouble::Failed("the change is durable, but a shard could not be told; restart the server".to_owned())
}
