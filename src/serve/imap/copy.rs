//! COPY, UID COPY, MOVE, UID MOVE: messages come into another mailbox (RFC 9051 §6.4.7, §6.4.8, RFC 6851, RFC 4315).
//!
//! - A copy is one transaction: all or none. Above [`COPY_UIDS_MAX`] messages, or as many as a batch can hold, it is refused,
//!   because two transactions could leave half of it behind.
//! - A move comes in several (RFC 6851 §3.3 asks for all or nothing of each message, not of the set), so that none holds the
//!   shard for long. Of each the client is told with COPYUID before the EXPUNGE lines say that the originals are gone.
//! - Numbers of messages that are gone: NO, and nothing is done. UIDs that are gone are passed over.

use ringpost_storage::{COPY_UIDS_MAX, MailboxId, Op, Outcome, Refused, Target, Transaction, Uid};

use super::keywords::Keywords;
use super::{Done, Door, End, look};
use crate::net::wire::Wire;
use crate::office::durable::{Undone, make_durable};
use crate::proto::imap::{Answer, Copy, No, Set, completion};

/// Messages moved by one transaction. More go in the next.
pub(super) const MOVED_AT_ONCE: usize = 10_000;
const _: () = assert!(MOVED_AT_ONCE <= COPY_UIDS_MAX);

/// What came of one transaction.
struct Arrived {
    uidvalidity: u32,
    from: Set,
    to: Set,
}

impl Door {
    pub(super) async fn copy(&mut self, copy: &Copy, wire: &mut Wire) -> Done {
        let to = self.named(&copy.to).ok_or(No::TryCreate)?;
        let (_, view) = self.selected()?;
        if copy.moves && view.read_only {
            return Err(No::ReadOnly.into());
        }
        let uids = self.uids_of(&copy.set, copy.uid)?;
        if !copy.uid && self.gone(&uids)? {
            return Err(No::ExpungeIssued.into());
        }
        if copy.moves {
            self.keywords_fit(&uids, to)?;
            for some in uids.chunks(MOVED_AT_ONCE) {
                if let Some(Arrived { uidvalidity, from, to }) = self.arrive(some, to, true).await? {
                    completion::moved(wire.queue(), uidvalidity, &from, &to);
                    wire.relieve().await?;
                }
            }
            return Ok(Answer::Done);
        }
        if uids.len() > COPY_UIDS_MAX {
            return Err(No::Limit.into());
        }
        self.keywords_fit(&uids, to)?;
        Ok(match self.arrive(&uids, to, false).await? {
            Some(Arrived { uidvalidity, from, to }) => Answer::Copied { uidvalidity, from, to },
            None => Answer::Done,
        })
    }

    /// The target has room for the keywords that these bring along (A126).
    fn keywords_fit(&self, uids: &[Uid], to: MailboxId) -> Result<(), End> {
        let (who, view) = self.selected()?;
        let mut brought =
            look(who, view.mailbox, |m| Keywords::of(uids.iter().filter_map(|uid| m.by_uid(*uid))).into_all())?;
        brought.retain(|_| to != view.mailbox);
        if brought.is_empty() {
            return Ok(());
        }
        let mut known = look(who, to, |m| Keywords::of(m.messages())).map_err(|_| No::TryCreate)?;
        Ok(known.take(&brought)?)
    }

    /// One transaction. `None`: none of these is there any more.
    async fn arrive(&self, uids: &[Uid], to: MailboxId, moves: bool) -> Result<Option<Arrived>, End> {
        if uids.is_empty() {
            return Ok(None);
        }
        let (who, view) = self.selected()?;
        let (account, from, uids, to) = (who.account, view.mailbox, uids.to_vec(), Target::Mailbox(to));
        let op = if moves { Op::Move { account, from, uids, to } } else { Op::Copy { account, from, uids, to } };
        let outcomes =
            make_durable(&who.volume, Transaction { bodies: Vec::new(), ops: vec![op] }).await.map_err(|why| {
                tracing::warn!(target: "imap", account = %who.name, %why, moves, "not copied");
                match why {
                    // The selected one was there a moment ago: it is the other that is gone.
                    Undone::Refused(Refused::NoMailbox) => End::from(No::TryCreate),
                    why => why.into(),
                }
            })?;
        let Some(Outcome::Copied { uidvalidity, pairs, .. } | Outcome::Moved { uidvalidity, pairs, .. }) =
            outcomes.into_iter().next()
        else {
            return Err(No::ServerBug.into());
        };
        if pairs.is_empty() {
            return Ok(None);
        }
        tracing::info!(target: "imap", account = %who.name, messages = pairs.len(), moves, "copied");
        let from = Set::of_rising(pairs.iter().map(|(here, _)| *here));
        let to = Set::of_rising(pairs.iter().map(|(_, there)| *there));
        Ok(Some(Arrived { uidvalidity, from, to }))
    }
}
