//! Making, renaming and removing mailboxes, and subscriptions. Names are checked against the decided state: of several
//! changes in one transaction each sees those before it.

use super::{Made, Step, UIDVALIDITY_MAX};
use crate::index::ahead::MailboxAhead;
use crate::index::{Account, Index, Mailbox};
use crate::record::{MailboxPut, MailboxRemove, Released, Renumber, Subscription, kind};
use crate::retain::RETAINED;
use crate::transaction::{Outcome, Refused, Uidvalidity};
use crate::types::{AccountId, MailboxId, Message, Uid};

/// Mailboxes of an account. More: `TooMany`.
pub const MAILBOXES_MAX: usize = 10_000;
/// Names an account is subscribed to. More: `TooMany`.
pub const SUBSCRIPTIONS_MAX: usize = MAILBOXES_MAX;

/// What goes with mailboxes.
#[derive(Default)]
pub(super) struct Gone {
    pub bytes: u64,
    pub messages: u32,
    pub released: Vec<Released>,
}

impl Gone {
    /// Everything that a mailbox has, but for messages that are going already, and for its runs of rows: the account's root
    /// names them until there is another.
    pub fn mailbox(&mut self, index: &Index, durable: Option<&Mailbox>, ahead: Option<&MailboxAhead>) {
        let Some(durable) = durable else { return };
        let going = |m: &&Message| ahead.is_some_and(|a| a.expunged.contains_key(&m.uid));
        for message in durable.messages.iter().filter(|m| !going(m)) {
            if durable.info.name != RETAINED {
                self.bytes += message.size();
                self.messages += 1;
            }
            self.released.push(Released::of(&index.fresh(message)));
        }
        self.released.extend(durable.runs.iter().map(|run| Released {
            body: run.body,
            len: run.body_len,
            large: false,
            rows: false,
        }));
    }

    /// What the account's root names.
    pub fn rows(&mut self, account: &Account) {
        let all = account.mailboxes.values().flat_map(|mailbox| &mailbox.rows).chain(&account.left);
        self.released.extend(all.map(Released::of_rows));
    }
}

impl Step<'_> {
    pub(super) fn create_mailbox(
        &mut self,
        op: usize,
        id: AccountId,
        name: &str,
        special_use: u16,
        subscribed: bool,
    ) -> Result<Outcome, Refused> {
        let (mailbox, uidvalidity) = self.make_mailbox(id, name, special_use, subscribed)?;
        self.made.push(Made { op, account: id, mailbox });
        Ok(Outcome::Mailbox(mailbox, uidvalidity))
    }

    /// Its id and UIDVALIDITY.
    pub(super) fn make_mailbox(
        &mut self,
        id: AccountId,
        name: &str,
        special_use: u16,
        subscribed: bool,
    ) -> Result<(MailboxId, u32), Refused> {
        let index = self.index;
        let (account, _) = self.loaded(id)?;
        if account.has_mailbox(index, id, name) {
            return Err(Refused::MailboxExists);
        }
        if account.mailbox_count(index, id) >= MAILBOXES_MAX {
            return Err(Refused::TooMany);
        }
        let uidvalidity = self.next_uidvalidity()?;
        // The put says how the name is after it, so a subscription that outlived an earlier mailbox is said again.
        let subscribed = self.is_subscribed(id, name, subscribed)?;
        let (account, gather) = self.account(id)?;
        let modseq = account.next_modseq();
        let mailbox = account.make_mailbox(index, id, name, uidvalidity, special_use).ok_or(Refused::TooMany)?;
        let put = MailboxPut { mailbox, uidvalidity, modseq, special_use, subscribed, begins: false, name };
        gather.push_of(kind::MAILBOX_PUT, id, &mut account.chain, |out| put.encode(out));
        Ok((mailbox, uidvalidity))
    }

    pub(super) fn rename_mailbox(
        &mut self,
        id: AccountId,
        mailbox: MailboxId,
        from: &str,
        name: &str,
    ) -> Result<Outcome, Refused> {
        let index = self.index;
        let (account, gather) = self.loaded(id)?;
        if mailbox == MailboxId::INBOX {
            return Err(Refused::NoMailbox);
        }
        // Between the caller's look at the durable names and now others may have been at work.
        if account.name_of(index, id, mailbox) != Some(from) {
            return Err(Refused::NoMailbox);
        }
        let renamed = account.mailbox(index, id, mailbox).expect("it has a name");
        let (uidvalidity, special_use) = (renamed.uidvalidity, renamed.special_use);
        if account.has_mailbox(index, id, name) {
            return Err(Refused::MailboxExists);
        }
        account.rename_mailbox(index, id, mailbox, name).expect("found above");
        let subscribed = account.is_subscribed(index, id, name);
        let modseq = account.next_modseq();
        let put = MailboxPut { mailbox, uidvalidity, modseq, special_use, subscribed, begins: false, name };
        gather.push_of(kind::MAILBOX_PUT, id, &mut account.chain, |out| put.encode(out));
        Ok(Outcome::Done)
    }

    pub(super) fn remove_mailbox(&mut self, id: AccountId, mailbox: MailboxId, name: &str) -> Result<Outcome, Refused> {
        let index = self.index;
        let (account, _) = self.loaded(id)?;
        if mailbox == MailboxId::INBOX || account.name_of(index, id, mailbox) != Some(name) {
            return Err(Refused::NoMailbox);
        }
        if account.folding > 0 || account.peek(mailbox).is_some_and(|m| m.coming > 0) {
            // What comes with an earlier transaction is not in memory yet, and has to be let go by name.
            return Err(Refused::Busy);
        }
        let all: Vec<Uid> =
            index.mailbox(id, mailbox).into_iter().flat_map(|m| m.messages.iter().map(|m| m.uid)).collect();
        self.retain(id, mailbox, &all)?;
        let (account, _) = self.account(id)?;
        let mut gone = Gone::default();
        gone.mailbox(index, index.mailbox(id, mailbox), account.peek(mailbox));
        account.remove_mailbox(index, id, mailbox).expect("it has a name");
        account.let_go(gone.bytes, gone.messages);
        let modseq = account.next_modseq();
        let (account, gather) = self.account(id)?;
        gather.push_of(kind::MAILBOX_REMOVE, id, &mut account.chain, |out| {
            MailboxRemove::encode(out, mailbox, modseq, (gone.bytes, gone.messages), &gone.released);
        });
        Ok(Outcome::Done)
    }

    pub(super) fn renumber(
        &mut self,
        id: AccountId,
        mailbox: MailboxId,
        uidvalidity: Uidvalidity,
        uidnext: Uid,
    ) -> Result<Outcome, Refused> {
        let index = self.index;
        let fresh = if uidvalidity == Uidvalidity::Fresh { Some(self.next_uidvalidity()?) } else { None };
        let (account, gather) = self.loaded(id)?;
        let into = account.mailbox(index, id, mailbox).ok_or(Refused::NoMailbox)?;
        let uidvalidity = match uidvalidity {
            Uidvalidity::Adopt(adopted) if into.uidnext > 1 && adopted != into.uidvalidity => {
                return Err(Refused::UidsGiven);
            }
            Uidvalidity::Adopt(adopted) if adopted == 0 || adopted > UIDVALIDITY_MAX => return Err(Refused::TooLarge),
            Uidvalidity::Adopt(adopted) => adopted,
            Uidvalidity::Keep | Uidvalidity::Fresh => fresh.unwrap_or(into.uidvalidity),
        };
        into.uidvalidity = uidvalidity;
        into.uidnext = into.uidnext.max(uidnext);
        let uidnext = into.uidnext;
        let modseq = account.next_modseq();
        gather.push_of(kind::RENUMBER, id, &mut account.chain, |out| {
            Renumber { mailbox, uidvalidity, uidnext, modseq }.encode(out);
        });
        self.ahead.last_uidvalidity = self.ahead.last_uidvalidity.max(uidvalidity);
        Ok(Outcome::Mailbox(mailbox, uidvalidity))
    }

    pub(super) fn subscribe(&mut self, id: AccountId, name: &str, on: bool) -> Result<Outcome, Refused> {
        let index = self.index;
        let name = if name.eq_ignore_ascii_case("INBOX") { "INBOX" } else { name };
        let (account, _) = self.loaded(id)?;
        if account.is_subscribed(index, id, name) == on {
            return Ok(Outcome::Done);
        }
        if on {
            self.is_subscribed(id, name, true)?;
        }
        let (account, gather) = self.account(id)?;
        account.subscribe(name, on);
        gather.push_of(kind::SUBSCRIPTION, id, &mut account.chain, |out| Subscription { on, name }.encode(out));
        Ok(Outcome::Done)
    }

    /// Whether the account is subscribed to the name, after subscribing if that is wanted.
    fn is_subscribed(&mut self, id: AccountId, name: &str, wanted: bool) -> Result<bool, Refused> {
        let index = self.index;
        let (account, _) = self.account(id)?;
        if account.is_subscribed(index, id, name) {
            return Ok(true);
        }
        if wanted {
            if account.subscription_count(index, id) >= SUBSCRIPTIONS_MAX {
                return Err(Refused::TooMany);
            }
            account.subscribe(name, true);
        }
        Ok(wanted)
    }
}
