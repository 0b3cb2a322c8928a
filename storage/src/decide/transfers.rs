//! Sending to another volume and receiving from one. See [`crate::transfer`].

use super::Step;
use super::bound::{NAME_BYTES_MAX, PREFIX_BYTES_MAX, keyword_bytes};
use super::quota::Room;
use crate::batch::Pushed;
use crate::bugs::{self, Bug};
use crate::record::{self, NewTransfer, SENT_BYTES, TRANSFER_HEAD_BYTES, WATERMARK_BYTES, kind};
use crate::record::{FRAME_BYTES_MAX, encode_sent, encode_watermark};
use crate::transaction::{Outcome, Refused};
use crate::transfer::{Carried, TRANSFER_COPIES_MAX, TRANSFERS_PENDING_MAX, TransferCopy, TransferNumber};
use crate::transfer::{TransferOp, TransferOutcome};
use crate::types::{AccountId, Flags, LARGE, MailboxId, Message, Uid, VolumeId};

/// The most an op takes of the log, its body and its own frame aside; and whether it appends.
pub(super) fn bound(op: &TransferOp) -> Result<(u64, bool), Refused> {
    match op {
        TransferOp::Send { copies, .. } => Ok((TRANSFER_HEAD_BYTES + copies_bytes(copies)?, true)),
        TransferOp::Receive { copies, .. } => {
            // A message record each, and a bounce each.
            let each = copies.len() as u64 * (FRAME_BYTES_MAX + 96 + 2);
            Ok((WATERMARK_BYTES + each + copies_bytes(copies)?, true))
        }
        TransferOp::Sent { .. } | TransferOp::BeginAnew => Ok((SENT_BYTES, false)),
    }
}

fn copies_bytes(copies: &[TransferCopy]) -> Result<u64, Refused> {
    if copies.len() > TRANSFER_COPIES_MAX {
        return Err(Refused::TooLarge);
    }
    let mut sum = 0;
    for copy in copies {
        keyword_bytes(&copy.flags())?;
        if copy.name.len() > NAME_BYTES_MAX || copy.prefix.len() > PREFIX_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        sum += record::copy_bytes(copy);
    }
    Ok(sum)
}

impl Step<'_> {
    pub(super) fn transfer(&mut self, op: TransferOp, bodies: &[Pushed]) -> Result<Outcome, Refused> {
        self.ahead.save_transfers(&mut self.undo);
        let outcome = match op {
            TransferOp::Send { target, what, copies, internal_ms } => {
                self.send(target, what, &copies, internal_ms, bodies)?
            }
            TransferOp::Sent { target, up_to } => {
                let runs = self.index.transfers.runs_up_to(target, up_to);
                if !runs.is_empty() {
                    self.gather.push(kind::SENT, |out| encode_sent(out, target, up_to.incarnation, &runs));
                }
                TransferOutcome::Done
            }
            TransferOp::BeginAnew => {
                let incarnation = self.ahead.transfers.begin_anew(&self.index.transfers, self.now_ms);
                self.gather.push(kind::ANEW, |out| crate::codec::Put::u64(out, incarnation));
                TransferOutcome::Done
            }
            TransferOp::Receive { source, number, after, settled, body, copies, internal_ms } => {
                self.receive(source, number, after, settled, bodies[body], &copies, internal_ms)?
            }
        };
        Ok(Outcome::Transfer(outcome))
    }

    fn send(
        &mut self,
        target: VolumeId,
        what: Carried,
        copies: &[TransferCopy],
        internal_ms: i64,
        bodies: &[Pushed],
    ) -> Result<TransferOutcome, Refused> {
        assert!(!copies.is_empty(), "a transfer has copies");
        if self.index.transfers.count() >= TRANSFERS_PENDING_MAX {
            return Err(Refused::Busy);
        }
        let pushed = match what {
            Carried::Body(body) => Some(bodies[body]),
            Carried::Message { .. } => None,
        };
        let (carried, from, hide) = match what {
            Carried::Body(body) => (letter(bodies[body])?, None, false),
            Carried::Message { account, mailbox, uid, hide } => match self.original(account, mailbox, uid)? {
                Some(message) => (message, Some((account, mailbox, uid)), hide),
                None => return Ok(TransferOutcome::Sending(None)),
            },
        };
        let number = self.ahead.transfers.give(&self.index.transfers, target, self.now_ms);
        let transfer = NewTransfer { target, number, internal_ms, from, hide, carried: &carried, copies };
        match pushed {
            Some(body) => {
                let at = (body, NewTransfer::BODY_AT);
                self.gather.push_own_with_body(kind::TRANSFER, at, |out| transfer.encode(out));
            }
            None => drop(self.gather.push(kind::TRANSFER, |out| transfer.encode(out))),
        }
        Ok(TransferOutcome::Sending(Some(number)))
    }

    /// A durable message that is not going as decided.
    fn original(&mut self, id: AccountId, mailbox: MailboxId, uid: Uid) -> Result<Option<Message>, Refused> {
        let index = self.index;
        let (account, _) = self.loaded(id)?;
        let ahead = account.mailbox(index, id, mailbox).ok_or(Refused::NoMailbox)?;
        if ahead.expunged.contains_key(&uid) {
            return Ok(None);
        }
        Ok(index.mailbox(id, mailbox).and_then(|m| m.by_uid(uid)).map(|m| index.fresh(m).into_owned()))
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one op")]
    fn receive(
        &mut self,
        source: VolumeId,
        number: TransferNumber,
        after: TransferNumber,
        settled: TransferNumber,
        body: Pushed,
        copies: &[TransferCopy],
        internal_ms: i64,
    ) -> Result<TransferOutcome, Refused> {
        let watermark = self.ahead.transfers.watermark(&self.index.transfers, source);
        if watermark.number < after || number.incarnation < watermark.number.incarnation {
            return Err(Refused::Gap(watermark.number));
        }
        if number <= watermark.number && !bugs::on(Bug::ReceiveTwice) {
            return Ok(TransferOutcome::Received { uids: Vec::new(), bounced: watermark.bounced_of(number) });
        }
        let mut uids = Vec::with_capacity(copies.len());
        let mut bounced = Vec::new();
        for (n, copy) in (0u16..).zip(copies) {
            match self.append(copy.account, copy.mailbox, body, &copy.prefix, &copy.flags(), internal_ms, Room::Kept) {
                Ok(Outcome::Appended { uid, uidvalidity, .. }) => uids.push(Some((uidvalidity, uid))),
                Ok(other) => unreachable!("an append is no {other:?}"),
                Err(Refused::NoAccount | Refused::NoMailbox | Refused::UidsUsedUp) => {
                    uids.push(None);
                    bounced.push(n);
                }
                Err(refused) => return Err(refused),
            }
        }
        let watermark = self.ahead.transfers.watermark(&self.index.transfers, source);
        watermark.raise(number, settled, bounced.iter().copied());
        if bugs::on(Bug::ForgetWatermark) {
            return Ok(TransferOutcome::Received { uids, bounced });
        }
        self.gather.push(kind::WATERMARK, |out| encode_watermark(out, source, number, settled, &bounced));
        Ok(TransferOutcome::Received { uids, bounced })
    }
}

/// A body of the transaction, as a message without a prefix.
fn letter(body: Pushed) -> Result<Message, Refused> {
    let size = u32::try_from(body.len).map_err(|_| Refused::TooLarge)?;
    Ok(Message {
        body: body.place,
        body_check: body.check,
        bits: if body.large { LARGE } else { 0 },
        ..Message::sketch(0, 0, &Flags::none(), size, 0)
    })
}
