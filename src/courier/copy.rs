//! COPY and MOVE to a mailbox that lives in another volume: the target commits, then the source hides, then it is done.
//!
//! ```text
//!   decide: one transfer a message ─► durable ─► carried ─► (MOVE: expunged in the batch that says Sent) ─► Arrived
//! ```
//!
//! Once the transfers are durable they end, whatever happens to this process: who is not answered looks later. A message whose
//! copy bounced stays where it is.

use std::rc::Rc;

use ringpost_storage::{
    AccountId, Carried, MailboxId, Message, Op, Outcome, Refused, Transaction, TransferCopy, TransferOp,
    TransferOutcome, Uid, VolumeId,
};

use crate::office::durable::{Undone, make_durable};
use crate::office::quota::Kept;
use crate::office::{Deliverable, Office, Resident};

/// Messages of one COPY or MOVE to another volume. The caller refuses more.
pub const COPY_AWAY_MAX: usize = 1_000;

/// A mailbox in another volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// Its volume.
    pub volume: VolumeId,
    /// Whose.
    pub account: AccountId,
    /// `user@domain` of the account.
    pub name: String,
    /// Which.
    pub mailbox: MailboxId,
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// UID here, UIDVALIDITY and UID there, in the order asked for. A number that is not known any more, because a crash of the
    /// target came between, is `None`: the copy is there.
    pub pairs: Vec<(Uid, Option<(u32, Uid)>)>,
    /// Those that could not be copied, because the mailbox or its account is gone.
    pub bounced: Vec<Uid>,
}

/// Copies messages of this shard's account to another volume, and returns when they are durable there; `hide`: and gone here.
/// Messages that do not exist are passed over.
///
/// # Errors
/// `OverQuota` where there is no room for all of them, and as [`make_durable`]. `Unknown` also when the shard stops before all have arrived: they will.
pub async fn copy_away(
    office: &Rc<Office>,
    (from, here): (&Resident, VolumeId),
    mailbox: MailboxId,
    uids: &[Uid],
    to: &Away,
    hide: bool,
) -> Result<Arrived, Undone> {
    let Ok(Some(account)) = from.load().await else { return Err(Undone::Refused(Refused::NoAccount)) };
    let mut ops = Vec::with_capacity(uids.len());
    let mut sent = Vec::with_capacity(uids.len());
    let mut room = Vec::with_capacity(uids.len());
    for &uid in uids {
        let look = |message: &Message| (message.flags(), message.internal_ms, message.size());
        let Some((flags, internal_ms, octets)) = account.mailbox(mailbox, |m| m.by_uid(uid).map(look)).flatten() else {
            continue;
        };
        room.push((to.account, octets));
        let what = Carried::Message { account: from.account, mailbox, uid, hide };
        let copy = TransferCopy {
            account: to.account,
            mailbox: to.mailbox,
            name: to.name.clone(),
            prefix: Vec::new(),
            bits: 0,
            keywords: Vec::new(),
        }
        .with(&flags);
        sent.push(uid);
        ops.push(Op::Transfer(TransferOp::Send { target: to.volume, what, copies: vec![copy], internal_ms }));
    }
    let kept = Kept::keep(office, vec![(to.volume, room)]).await.map_err(|why| match why {
        Deliverable::Refused(why) => Undone::Refused(why),
        _ => Undone::NotWritten,
    })?;
    let made = make_durable(&from.volume, Transaction { bodies: Vec::new(), ops }).await;
    drop(account);
    let outcomes = match made {
        Ok(outcomes) => outcomes,
        Err(Undone::Unknown) => {
            kept.is_sent();
            return Err(Undone::Unknown);
        }
        Err(why) => return Err(why),
    };
    // Some may have gone while room was asked for.
    kept.is_sent_where(|n| !matches!(outcomes[n], Outcome::Transfer(TransferOutcome::Sending(None))));
    let number = |outcome| match outcome {
        Outcome::Transfer(TransferOutcome::Sending(number)) => number,
        other => unreachable!("a sending ends as {other:?}"),
    };
    let numbers = sent.into_iter().zip(outcomes.into_iter().map(number));
    // Nothing was awaited since they became durable, and none has ended before another sync here.
    let waits: Vec<_> = numbers
        .filter_map(|(uid, number)| number.map(|number| (uid, office.couriers.wait((here, to.volume, number)))))
        .collect();
    office.couriers.ring(here);
    let mut arrived = Arrived::default();
    for (uid, wait) in waits {
        let landing = wait.landing().await.ok_or(Undone::Unknown)?;
        if landing.bounced.is_empty() {
            arrived.pairs.push((uid, landing.uids.first().copied().flatten()));
        } else {
            arrived.bounced.push(uid);
        }
    }
    Ok(arrived)
}
