//! What goes is kept for a while: see [`crate::retain`].

use super::{COPY_UIDS_MAX, Step};
use crate::index::Mailbox;
use crate::retain::{RETAINED, RETAINED_MESSAGES_MAX, is_hidden};
use crate::transaction::{Refused, Target};
use crate::types::{AccountId, MailboxId, Message, Modseq, Uid};

impl Step<'_> {
    /// Copies messages that are about to go; the MODSEQ of that. `None`: there are none, or they go for good.
    pub(super) fn retain(
        &mut self,
        id: AccountId,
        mailbox: MailboxId,
        uids: &[Uid],
    ) -> Result<Option<Modseq>, Refused> {
        let index = self.index;
        // What arrives from another volume brings along what was expunged there.
        let lives_here = index.entries.get(id).is_some_and(|entry| entry.generation > 0);
        let Some(durable) = index.mailbox(id, mailbox).filter(|_| self.retains && lives_here) else { return Ok(None) };
        let (account, _) = self.loaded(id)?;
        if account.name_of(index, id, mailbox).is_none_or(is_hidden) {
            return Ok(None);
        }
        let limits = account.limits;
        let kept = account.find_mailbox(index, id, RETAINED);
        let leaving = account.mailbox(index, id, mailbox).ok_or(Refused::NoMailbox)?;
        let there = |uid: &Uid| durable.by_uid(*uid).filter(|_| !leaving.expunged.contains_key(uid));
        let (count, octets) = uids.iter().filter_map(there).fold((0, 0), |(n, octets), m| (n + 1, octets + m.size()));
        let (have, have_octets) = kept.and_then(|kept| index.mailbox(id, kept)).map_or((0, 0), held);
        let within = have + count <= RETAINED_MESSAGES_MAX
            && (limits.bytes == 0 || have_octets + octets <= limits.bytes)
            && (limits.messages == 0 || have + count <= limits.messages as usize);
        if count == 0 || !within || uids.len() > COPY_UIDS_MAX {
            return Ok(None);
        }
        let kept = match kept {
            Some(kept) => kept,
            None => match self.make_mailbox(id, RETAINED, 0, false) {
                Ok((kept, _)) => kept,
                Err(Refused::TooMany) => return Ok(None),
                Err(why) => return Err(why),
            },
        };
        let (account, _) = self.account(id)?;
        let into = account.mailbox(index, id, kept).ok_or(Refused::NoMailbox)?;
        if into.uidnext.checked_add(count as Uid).is_none() {
            return Ok(None);
        }
        self.copy_out(id, mailbox, uids.to_vec(), Target::Mailbox(kept))
    }
}

/// Messages and octets.
fn held(mailbox: &Mailbox) -> (usize, u64) {
    (mailbox.messages.len(), mailbox.messages.iter().map(Message::size).sum())
}
