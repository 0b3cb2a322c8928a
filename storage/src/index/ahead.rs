//! What has been decided beyond the durable index: counters, and changes that later decisions must see.
//!
//! An account is here only while a batch that touches it is not durable yet. Nothing in this file is ever shown
//! to anybody but `decide`.

use std::collections::{BTreeMap, HashMap};

use smallvec::SmallVec;

use super::{Account, Index, TransfersAhead};
use crate::record::Chain;
use crate::types::{AccountId, Flags, Lsn, MailboxId, Modseq, Uid};

/// Who has a name, by which batch.
type Named = (Option<AccountId>, Lsn);

/// All that is decided and not durable.
#[derive(Default)]
pub struct Ahead {
    accounts: HashMap<AccountId, AccountAhead>,
    /// Account names made or given up: who has it then, and by which batch.
    names: HashMap<String, Named>,
    pub last_uidvalidity: u32,
    pub last_account: u64,
    pub transfers: TransfersAhead,
}

/// An account beyond its durable state.
#[derive(Clone)]
pub struct AccountAhead {
    /// Last batch that touches it.
    pub lsn: Lsn,
    pub modseq: Modseq,
    pub chain: Chain,
    pub removed: bool,
    /// Its name, when it was made here.
    pub made: Option<String>,
    pub generation: u32,
    pub last_mailbox: u32,
    /// By id.
    mailboxes: SmallVec<[MailboxAhead; 1]>,
    /// Names that mailboxes were given here. Those they have in the index are not repeated, so that one name costs no more
    /// among thousands.
    given: HashMap<String, MailboxId>,
    /// Mailboxes, as decided.
    mailbox_count: usize,
    /// Names subscribed or not any more.
    subscriptions: BTreeMap<String, (bool, Lsn)>,
}

/// A mailbox beyond its durable state.
#[derive(Clone)]
pub struct MailboxAhead {
    pub id: MailboxId,
    pub uidnext: Uid,
    pub uidvalidity: u32,
    pub special_use: u16,
    /// Last batch that touches it.
    lsn: Lsn,
    /// Its name, when it was made or renamed here.
    name: Option<String>,
    removed: bool,
    pub keyword_bytes_max: usize,
    /// New flags of durable messages.
    pub flags: BTreeMap<Uid, (Flags, Modseq, Lsn)>,
    /// Durable messages that are going.
    pub expunged: BTreeMap<Uid, Lsn>,
}

/// What a refused transaction must put back.
#[derive(Default)]
pub struct Undo {
    accounts: SmallVec<[(AccountId, Option<AccountAhead>); 1]>,
    names: Vec<(String, Option<Named>)>,
    transfers: Option<TransfersAhead>,
}

impl Ahead {
    /// Starts level with the index.
    pub fn level(index: &Index) -> Self {
        Ahead { last_uidvalidity: index.last_uidvalidity, last_account: index.last_account, ..Ahead::default() }
    }

    /// The account with this name, as decided.
    pub fn named(&self, index: &Index, name: &str) -> Option<AccountId> {
        match self.names.get(name) {
            Some((id, _)) => *id,
            None => index.names.get(name).copied(),
        }
    }

    /// Notes who has a name from batch `lsn` on.
    pub fn set_name(&mut self, name: &str, id: Option<AccountId>, lsn: Lsn, undo: &mut Undo) {
        let was = self.names.insert(name.to_owned(), (id, lsn));
        undo.names.push((name.to_owned(), was));
    }

    /// The account as decided, to be changed by batch `lsn`; `None` when there is no such account (any more).
    /// `undo` remembers how it was, in case the transaction is refused after this.
    pub fn account(&mut self, index: &Index, id: AccountId, lsn: Lsn, undo: &mut Undo) -> Option<&mut AccountAhead> {
        let known = self.accounts.get(&id);
        if known.map_or_else(|| !index.accounts.contains_key(&id), |a| a.removed) {
            return None;
        }
        if !undo.accounts.iter().any(|(saved, _)| *saved == id) {
            undo.accounts.push((id, known.cloned()));
        }
        let account = self.accounts.entry(id).or_insert_with(|| AccountAhead::level(&index.accounts[&id]));
        account.lsn = lsn;
        Some(account)
    }

    /// The account as decided, to look at only.
    pub fn peek(&self, id: AccountId) -> Option<&AccountAhead> {
        self.accounts.get(&id)
    }

    /// A new account.
    pub fn make(&mut self, id: AccountId, name: &str, lsn: Lsn, undo: &mut Undo) -> &mut AccountAhead {
        undo.accounts.push((id, None));
        self.accounts.entry(id).or_insert(AccountAhead {
            lsn,
            modseq: 1,
            chain: Chain::default(),
            removed: false,
            made: Some(name.to_owned()),
            generation: 1,
            last_mailbox: 0,
            mailboxes: SmallVec::new(),
            given: HashMap::new(),
            mailbox_count: 0,
            subscriptions: BTreeMap::new(),
        })
    }

    /// Remembers how it was with transfers, before this transaction changes it.
    pub fn save_transfers(&self, undo: &mut Undo) {
        undo.transfers.get_or_insert_with(|| self.transfers.clone());
    }

    /// Puts back what a refused transaction changed.
    pub fn restore(&mut self, undo: Undo) {
        if let Some(transfers) = undo.transfers {
            self.transfers = transfers;
        }
        for (id, was) in undo.accounts.into_iter().rev() {
            match was {
                Some(account) => self.accounts.insert(id, account),
                None => self.accounts.remove(&id),
            };
        }
        for (name, was) in undo.names.into_iter().rev() {
            match was {
                Some(entry) => self.names.insert(name, entry),
                None => self.names.remove(&name),
            };
        }
    }

    /// Batch `lsn` is durable and applied: what it touched need not be remembered here.
    pub fn settled(&mut self, lsn: Lsn, touched: &[AccountId]) {
        for id in touched {
            let Some(account) = self.accounts.get_mut(id) else { continue };
            if account.lsn <= lsn {
                self.accounts.remove(id);
                continue;
            }
            account.mailboxes.retain(|m| m.lsn > lsn);
            let AccountAhead { given, mailboxes, .. } = account;
            given.retain(|_, id| mailboxes.binary_search_by_key(id, |m| m.id).is_ok());
            account.subscriptions.retain(|_, (_, by)| *by > lsn);
            for mailbox in &mut account.mailboxes {
                mailbox.flags.retain(|_, (_, _, by)| *by > lsn);
                mailbox.expunged.retain(|_, by| *by > lsn);
            }
        }
        self.names.retain(|_, (_, by)| *by > lsn);
    }

    /// Everything decided is lost: level with the index again. Counters stay where they are.
    pub fn forget(&mut self) {
        self.accounts.clear();
        self.names.clear();
        self.transfers.forget();
    }
}

impl AccountAhead {
    fn level(account: &Account) -> Self {
        AccountAhead {
            lsn: 0,
            modseq: account.modseq,
            chain: account.chain,
            removed: false,
            made: None,
            generation: account.info.generation,
            last_mailbox: account.last_mailbox,
            mailboxes: SmallVec::new(),
            given: HashMap::new(),
            mailbox_count: account.mailboxes.len(),
            subscriptions: BTreeMap::new(),
        }
    }

    pub fn next_modseq(&mut self) -> Modseq {
        self.modseq += 1;
        self.modseq
    }

    /// The mailbox as decided, to be changed by the batch that this account was fetched for; `None` when there is none
    /// (any more).
    pub fn mailbox(&mut self, index: &Index, id: AccountId, mailbox: MailboxId) -> Option<&mut MailboxAhead> {
        let at = match self.position(mailbox) {
            Ok(at) => at,
            Err(at) => {
                let durable = index.mailbox(id, mailbox)?;
                let ahead = MailboxAhead {
                    uidnext: durable.uidnext,
                    keyword_bytes_max: durable.keyword_bytes_max,
                    ..MailboxAhead::new(mailbox, durable.info.uidvalidity, durable.info.special_use, self.lsn)
                };
                self.mailboxes.insert(at, ahead);
                at
            }
        };
        self.mailboxes[at].lsn = self.lsn;
        Some(&mut self.mailboxes[at]).filter(|m| !m.removed)
    }

    /// The mailbox beyond its durable state, to look at only.
    pub fn peek(&self, mailbox: MailboxId) -> Option<&MailboxAhead> {
        self.position(mailbox).ok().map(|at| &self.mailboxes[at])
    }

    fn position(&self, mailbox: MailboxId) -> Result<usize, usize> {
        self.mailboxes.binary_search_by_key(&mailbox, |m| m.id)
    }

    /// True if a mailbox has this name as decided. INBOX is taken in any case (RFC 9051 §5.1).
    pub fn has_mailbox(&self, index: &Index, id: AccountId, name: &str) -> bool {
        // After a loss two mailboxes may have one name in the index: it stays taken while one of them has it.
        let durable = || index.accounts.get(&id).map_or(&[][..], |a| a.named(name));
        let kept = |id: &MailboxId| self.peek(*id).is_none_or(|ahead| !ahead.removed && ahead.name.is_none());
        name.eq_ignore_ascii_case("INBOX") || self.given.contains_key(name) || durable().iter().any(kept)
    }

    /// Names remembered here.
    #[cfg(test)]
    pub fn names_held(&self) -> usize {
        self.given.len()
    }

    /// Mailboxes as decided.
    pub fn mailbox_count(&self) -> usize {
        self.mailbox_count
    }

    /// The name of a mailbox as decided; `None` when there is no such mailbox (any more).
    pub fn name_of<'a>(&'a self, index: &'a Index, id: AccountId, mailbox: MailboxId) -> Option<&'a str> {
        let ahead = self.peek(mailbox);
        if ahead.is_some_and(|ahead| ahead.removed) {
            return None;
        }
        let decided = ahead.and_then(|ahead| ahead.name.as_deref());
        decided.or_else(|| index.mailbox(id, mailbox).map(|durable| &*durable.info.name))
    }

    /// `None` when the ids are used up.
    pub fn make_mailbox(&mut self, name: &str, uidvalidity: u32, special_use: u16) -> Option<MailboxId> {
        self.last_mailbox = self.last_mailbox.checked_add(1)?;
        let id = MailboxId(self.last_mailbox);
        // Ids only rise, so the end is its place.
        let ahead = MailboxAhead::new(id, uidvalidity, special_use, self.lsn);
        self.mailboxes.push(MailboxAhead { name: Some(name.to_owned()), ..ahead });
        self.given.insert(name.to_owned(), id);
        self.mailbox_count += 1;
        Some(id)
    }

    /// The mailbox has another name from now on; the caller has seen that it is free. `None` when there is no such mailbox.
    pub fn rename_mailbox(&mut self, index: &Index, id: AccountId, mailbox: MailboxId, name: &str) -> Option<()> {
        let had = self.mailbox(index, id, mailbox)?.name.replace(name.to_owned());
        self.give_up(had);
        self.given.insert(name.to_owned(), mailbox);
        Some(())
    }

    /// The mailbox is gone from now on. `None` when there is no such mailbox.
    pub fn remove_mailbox(&mut self, index: &Index, id: AccountId, mailbox: MailboxId) -> Option<()> {
        let going = self.mailbox(index, id, mailbox)?;
        going.removed = true;
        let had = going.name.take();
        self.give_up(had);
        self.mailbox_count -= 1;
        Some(())
    }

    /// A name that was given here. One in the index is given up by what is here instead of it.
    fn give_up(&mut self, had: Option<String>) {
        if let Some(had) = had {
            self.given.remove(&had).expect("a name that was given here");
        }
    }

    /// True if the account is subscribed to this name, as decided.
    pub fn is_subscribed(&self, index: &Index, id: AccountId, name: &str) -> bool {
        match self.subscriptions.get(name) {
            Some((on, _)) => *on,
            None => index.accounts.get(&id).is_some_and(|a| a.is_subscribed(name)),
        }
    }

    /// Names the account is subscribed to, as decided.
    pub fn subscription_count(&self, index: &Index, id: AccountId) -> usize {
        let durable = index.accounts.get(&id);
        let kept = |name: &str| durable.is_some_and(|a| a.is_subscribed(name));
        let came = self.subscriptions.iter().filter(|(name, (on, _))| *on && !kept(name)).count();
        let went = self.subscriptions.iter().filter(|(name, (on, _))| !*on && kept(name)).count();
        durable.map_or(0, |a| a.subscriptions.len()) + came - went
    }

    pub fn subscribe(&mut self, name: &str, on: bool) {
        self.subscriptions.insert(name.to_owned(), (on, self.lsn));
    }
}

impl MailboxAhead {
    fn new(id: MailboxId, uidvalidity: u32, special_use: u16, lsn: Lsn) -> Self {
        MailboxAhead {
            id,
            uidnext: 1,
            uidvalidity,
            special_use,
            lsn,
            name: None,
            removed: false,
            keyword_bytes_max: 0,
            flags: BTreeMap::new(),
            expunged: BTreeMap::new(),
        }
    }
}
