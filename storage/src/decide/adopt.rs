//! Changes as another volume has decided them, with its numbers. See [`crate::adopt`].

use super::Step;
use super::bound::{INFO_BYTES_MAX, NAME_BYTES_MAX, keyword_bytes};
use super::flags;
use crate::adopt::{self, ADOPT_FLAGS_MAX, AdoptOp};
use crate::batch::Pushed;
use crate::record::{self, AccountPut, FRAME_BYTES_MAX, FlagsRecord, MailboxPut, NewMessage, Renumber, kind};
use crate::retain::RETAINED;
use crate::transaction::{Outcome, Refused};
use crate::types::{AccountId, Flags, Limits, MailboxId, Modseq, Uid};

/// The most an op takes of the log, its body and its own frame aside.
pub(super) fn bound(op: &AdoptOp) -> Result<u64, Refused> {
    let within = |n: usize, max: usize| if n <= max { Ok(n as u64) } else { Err(Refused::TooLarge) };
    Ok(match op {
        AdoptOp::Account { name, secrets, .. } => {
            64 + within(name.len(), NAME_BYTES_MAX)? + within(secrets.len(), INFO_BYTES_MAX)?
        }
        AdoptOp::Mailbox { name, .. } => 64 + FRAME_BYTES_MAX + within(name.len(), NAME_BYTES_MAX)?,
        AdoptOp::Message { bits, keywords, .. } => 80 + keyword_bytes(&adopt::flags(*bits, keywords))?,
        AdoptOp::Flags { items, .. } => {
            within(items.len(), ADOPT_FLAGS_MAX)?;
            let mut bytes = 16;
            for (_, bits, keywords) in items {
                bytes += 9 + keyword_bytes(&adopt::flags(*bits, keywords))?;
            }
            bytes
        }
    })
}

impl Step<'_> {
    pub(super) fn adopt(&mut self, op: AdoptOp, bodies: &[Pushed]) -> Result<Outcome, Refused> {
        match op {
            AdoptOp::Account { account, name, secrets, generation, limit_bytes, limit_messages, modseq } => {
                let put =
                    AccountPut { modseq, generation, limit_bytes, limit_messages, name: &name, secrets: &secrets };
                self.adopt_account(account, put)?;
            }
            AdoptOp::Mailbox { account, mailbox, name, uidvalidity, uidnext, special_use, subscribed, modseq } => {
                let put =
                    MailboxPut { mailbox, uidvalidity, modseq, special_use, subscribed, begins: true, name: &name };
                self.adopt_mailbox(account, put, uidnext)?;
            }
            AdoptOp::Message { account, mailbox, uid, modseq, body, bits, keywords, internal_ms, saved_ms } => {
                let flags = adopt::flags(bits, &keywords);
                let numbers = (uid, modseq);
                self.adopt_message(account, mailbox, numbers, bodies[body], &flags, (internal_ms, saved_ms))?;
            }
            AdoptOp::Flags { account, mailbox, modseq, items } => self.adopt_flags(account, mailbox, modseq, &items)?,
        }
        Ok(Outcome::Done)
    }

    fn adopt_account(&mut self, id: AccountId, put: AccountPut<'_>) -> Result<(), Refused> {
        match self.ahead.named(self.index, put.name) {
            Some(other) if other != id => return Err(Refused::MailboxExists),
            Some(_) => {}
            None => {
                self.ahead.set_name(put.name, Some(id), self.lsn, &mut self.undo);
                self.ahead.make(id, put.name, self.lsn, &mut self.undo);
            }
        }
        let lsn = self.lsn;
        let (account, gather) = self.account(id)?;
        account.put = lsn;
        account.modseq = account.modseq.max(put.modseq);
        account.limits = Limits { bytes: put.limit_bytes, messages: put.limit_messages };
        let put = AccountPut { modseq: account.modseq, ..put };
        gather.push_of(kind::ACCOUNT_PUT, id, &mut account.chain, |out| put.encode(out));
        Ok(())
    }

    fn adopt_mailbox(&mut self, id: AccountId, put: MailboxPut<'_>, uidnext: Uid) -> Result<(), Refused> {
        let index = self.index;
        let mailbox = put.mailbox;
        let (account, _) = self.loaded(id)?;
        let had = account.name_of(index, id, mailbox).map(str::to_owned);
        let renamed = had.as_deref() != Some(put.name) && mailbox != MailboxId::INBOX;
        if renamed && account.has_mailbox(index, id, put.name) {
            return Err(Refused::MailboxExists);
        }
        if account.is_subscribed(index, id, put.name) != put.subscribed {
            account.subscribe(put.name, put.subscribed);
        }
        match had {
            None => account.adopt_mailbox(index, id, mailbox, put.name, put.uidvalidity, put.special_use),
            Some(had) if had != put.name => {
                account.rename_mailbox(index, id, mailbox, put.name).expect("it has a name")
            }
            Some(_) => {}
        }
        let into = account.mailbox(index, id, mailbox).expect("just made, or found");
        let uidvalidity = into.uidvalidity;
        into.uidnext = into.uidnext.max(uidnext);
        let uidnext = into.uidnext;
        account.modseq = account.modseq.max(put.modseq);
        let (put, modseq) = (MailboxPut { uidvalidity, ..put }, put.modseq);
        let (account, gather) = self.account(id)?;
        gather.push_of(kind::MAILBOX_PUT, id, &mut account.chain, |out| put.encode(out));
        gather.push_of(kind::RENUMBER, id, &mut account.chain, |out| {
            Renumber { mailbox, uidvalidity, uidnext, modseq }.encode(out);
        });
        self.ahead.last_uidvalidity = self.ahead.last_uidvalidity.max(uidvalidity);
        Ok(())
    }

    fn adopt_message(
        &mut self,
        id: AccountId,
        mailbox: MailboxId,
        (uid, modseq): (Uid, Modseq),
        pushed: Pushed,
        flags: &Flags,
        (internal_ms, saved_ms): (i64, i64),
    ) -> Result<(), Refused> {
        let (index, lsn) = (self.index, self.lsn);
        let (account, gather) = self.loaded(id)?;
        let flags = &flags::once(flags);
        let retained = account.name_of(index, id, mailbox) == Some(RETAINED);
        let into = account.mailbox(index, id, mailbox).ok_or(Refused::NoMailbox)?;
        let next = uid.checked_add(1).filter(|_| uid > 0).ok_or(Refused::UidsUsedUp)?;
        into.uidnext = into.uidnext.max(next);
        into.keyword_bytes_max = into.keyword_bytes_max.max(record::keyword_bytes(flags));
        into.coming = lsn;
        account.modseq = account.modseq.max(modseq);
        let size = u32::try_from(pushed.len).map_err(|_| Refused::TooLarge)?;
        if !retained {
            account.keep(u64::from(size), 1);
        }
        let saved_s = u32::try_from(saved_ms / 1_000).unwrap_or(0);
        let message = NewMessage {
            mailbox,
            uid,
            modseq,
            size,
            saved_s,
            internal_ms,
            body: pushed.place,
            body_check: pushed.check,
            large: pushed.large,
            retained,
            flags,
            prefix: b"",
        };
        let body = (pushed, NewMessage::BODY_AT);
        gather.push_with_body(kind::MESSAGE, id, &mut account.chain, body, |out| message.encode(out));
        Ok(())
    }

    fn adopt_flags(
        &mut self,
        id: AccountId,
        mailbox: MailboxId,
        modseq: Modseq,
        items: &[(Uid, u32, Vec<Box<str>>)],
    ) -> Result<(), Refused> {
        let (index, lsn) = (self.index, self.lsn);
        let (account, _) = self.loaded(id)?;
        let into = account.mailbox(index, id, mailbox).ok_or(Refused::NoMailbox)?;
        let there = index.mailbox(id, mailbox);
        let known = |uid: Uid| there.is_some_and(|m| m.position(uid).is_some()) && !into.expunged.contains_key(&uid);
        let changes: Vec<(Uid, Flags)> = items
            .iter()
            .filter(|(uid, ..)| known(*uid))
            .map(|(uid, bits, keywords)| (*uid, flags::once(&adopt::flags(*bits, keywords))))
            .collect();
        for (uid, new) in &changes {
            into.keyword_bytes_max = into.keyword_bytes_max.max(record::keyword_bytes(new));
            into.flags.insert(*uid, (new.clone(), modseq, lsn));
        }
        account.modseq = account.modseq.max(modseq);
        if changes.is_empty() {
            return Ok(());
        }
        let (account, gather) = self.account(id)?;
        gather.push_of(kind::FLAGS, id, &mut account.chain, |out| {
            FlagsRecord::encode_head(out, mailbox, modseq, changes.len() as u32);
            changes.iter().for_each(|(uid, new)| FlagsRecord::encode_item(out, *uid, new));
        });
        Ok(())
    }
}
