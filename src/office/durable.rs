//! Making a change durable: decide it, and wait for the sync that vouches for it, but not for ever.

use std::rc::Rc;
use std::time::Duration;

use ringpost_storage::{Decided, Lost, Op, Outcome, Refused, Transaction, Volume};

use crate::bugs::{self, Bug};
use crate::limits;
use crate::shard::{self, Disk};

/// Why a change is not known to be durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undone {
    /// Not taken; nothing of it was kept.
    #[error("refused: {0}")]
    Refused(Refused),
    /// Taken, and never handed to the disk: nothing was kept.
    #[error("not written")]
    NotWritten,
    /// Handed to the disk, and nothing vouches for it: kept or not, nobody knows.
    #[error("unknown")]
    Unknown,
}

/// Makes a transaction durable in a volume of this shard and returns what was decided.
///
/// # Errors
/// See [`Undone`]. Past [`limits::COMMIT_DEADLINE_S`] it is `Unknown` (A054).
pub async fn make_durable(volume: &Volume<Disk>, transaction: Transaction) -> Result<Vec<Outcome>, Undone> {
    for op in &transaction.ops {
        let (account, mailbox) = match op {
            Op::RemoveMailbox { account, mailbox, .. } => (*account, Some(*mailbox)),
            Op::RemoveAccount { account } => (*account, None),
            _ => continue,
        };
        // A letter or the account's own root may be on its way: the store refuses a removal until that is durable.
        let rest = volume.at_rest(account, mailbox);
        let _ = shard::within(Duration::from_secs(limits::COMMIT_DEADLINE_S), rest).await;
    }
    let decided = volume.decide(transaction, wall_ms()).map_err(Undone::Refused)?;
    settled(decided).await
}

/// As [`make_durable`], and gives the buffers of the bodies back, so that they can be freed on the core that allocated them.
///
/// # Errors
/// As [`make_durable`]; then the buffers are freed here.
pub async fn make_durable_and_return(
    volume: &Volume<Disk>,
    transaction: Transaction,
) -> Result<(Vec<Outcome>, Vec<Vec<u8>>), Undone> {
    let (decided, lent) = volume.decide_and_lend(transaction, wall_ms()).map_err(Undone::Refused)?;
    let outcomes = settled(decided).await?;
    Ok((outcomes, lent.into_iter().filter_map(|b| Rc::try_unwrap(b).ok()).collect()))
}

async fn settled(decided: Decided) -> Result<Vec<Outcome>, Undone> {
    match shard::within(Duration::from_secs(limits::COMMIT_DEADLINE_S), decided.ticket).await {
        Some(Ok(())) => Ok(decided.outcomes),
        Some(Err(Lost::NoRoom)) => Err(Undone::Refused(Refused::DiskFull)),
        Some(Err(Lost::NotWritten)) => Err(Undone::NotWritten),
        Some(Err(Lost::Unknown)) | None if bugs::on(Bug::UnknownIsRefused) => Err(Undone::NotWritten),
        Some(Err(Lost::Unknown)) | None => Err(Undone::Unknown),
    }
}

pub(super) fn wall_ms() -> i64 {
    i64::try_from(shard::wall_ms()).unwrap_or(i64::MAX)
}
