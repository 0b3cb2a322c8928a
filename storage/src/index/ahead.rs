//! What has been decided beyond the durable index: counters, and changes that later decisions must see.
//!
//! An account is here only while a batch that touches it is not durable yet. Nothing in this file is ever shown
//! to anybody but `decide`.

use std::collections::{BTreeMap, HashMap, HashSet};

use smallvec::SmallVec;

use super::{Entry, Index, TransfersAhead};
use crate::bugs::{self, Bug};
use crate::record::Chain;
use crate::transaction::Refused;
use crate::types::{AccountId, Flags, Limits, Lsn, MailboxId, Modseq, Quota, Uid};

/// Who has a name, by which batch.
type Named = (Option<AccountId>, Lsn);

/// All that is decided and not durable.
#[derive(Default)]
pub struct Ahead {
    accounts: HashMap<AccountId, AccountAhead>,
    /// Account names made or given up: who has it then, and by which batch.
    names: HashMap<String, Named>,
    /// Domains that change, by which batch.
    domains: HashMap<String, Lsn>,
    pub last_uidvalidity: u32,
    pub last_account: u64,
    pub transfers: TransfersAhead,
    /// Accounts that take no change.
    pub frozen: HashSet<AccountId>,
    /// Octets and messages on their way from other volumes, for which there has to be room. Of accounts with limits alone.
    pub coming: HashMap<AccountId, (u64, u32)>,
    /// What is no longer on its way because a batch brings it, until that is durable.
    arriving: Vec<Arriving>,
}

/// Room that was kept for what a batch brings.
struct Arriving {
    lsn: Lsn,
    account: AccountId,
    bytes: u64,
    messages: u32,
}

/// An account beyond its durable state.
#[derive(Clone)]
pub struct AccountAhead {
    /// Last batch that touches it.
    pub lsn: Lsn,
    pub modseq: Modseq,
    pub chain: Chain,
    pub removed: bool,
    /// The batch that brings a root; 0: there is none on its way.
    pub folding: Lsn,
    /// The last batch that brings its put; 0: that is durable.
    pub put: Lsn,
    /// Its name, when it was made here.
    pub made: Option<String>,
    /// Highest mailbox id given here; 0: none was.
    pub last_mailbox: u32,
    /// By id.
    mailboxes: SmallVec<[MailboxAhead; 1]>,
    /// Names that mailboxes were given here. Those they have in the index are not repeated, so that one name costs no more
    /// among thousands.
    given: HashMap<String, MailboxId>,
    /// Mailboxes, as decided, once somebody had to know.
    mailbox_count: Option<usize>,
    /// What counts for its quota, as decided.
    pub used_bytes: u64,
    pub used_messages: u32,
    pub limits: Limits,
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
    /// Last batch that brings messages or summaries; 0: all that came is durable.
    pub coming: Lsn,
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
            None => index.named(name),
        }
    }

    /// Notes who has a name from batch `lsn` on.
    pub fn set_name(&mut self, name: &str, id: Option<AccountId>, lsn: Lsn, undo: &mut Undo) {
        let was = self.names.insert(name.to_owned(), (id, lsn));
        undo.names.push((name.to_owned(), was));
    }

    /// A domain changes with batch `lsn`.
    pub fn set_domain(&mut self, name: &str, lsn: Lsn) {
        self.domains.insert(name.to_owned(), lsn);
    }

    /// True while a change of this domain is on its way, or one that was refused and may be.
    pub fn is_domain_coming(&self, name: &str) -> bool {
        self.domains.contains_key(name)
    }

    /// The account as decided, to be changed by batch `lsn`; `None` when there is no such account (any more).
    /// `undo` remembers how it was, in case the transaction is refused after this.
    pub fn account(&mut self, index: &Index, id: AccountId, lsn: Lsn, undo: &mut Undo) -> Option<&mut AccountAhead> {
        let known = self.accounts.get(&id);
        if known.map_or_else(|| index.entries.get(id).is_none(), |a| a.removed) {
            return None;
        }
        if !undo.accounts.iter().any(|(saved, _)| *saved == id) {
            undo.accounts.push((id, known.cloned()));
        }
        let level = || AccountAhead::level(index.entries.get(id).expect("looked at above"));
        let account = self.accounts.entry(id).or_insert_with(level);
        account.lsn = lsn;
        Some(account)
    }

    /// What an account keeps and may keep, as decided. `None`: there is no such account (any more).
    pub fn quota(&self, index: &Index, id: AccountId) -> Option<Quota> {
        let (used_bytes, used_messages, limits) = match (self.accounts.get(&id), index.entries.get(id)) {
            (Some(account), _) if account.removed => return None,
            (Some(_), Some(entry)) if bugs::on(Bug::QuotaOfDurable) => {
                (entry.used_bytes, entry.used_messages, entry.limits())
            }
            (Some(account), _) => (account.used_bytes, account.used_messages, account.limits),
            (None, Some(entry)) => (entry.used_bytes, entry.used_messages, entry.limits()),
            (None, None) => return None,
        };
        let (coming_bytes, coming_messages) = self.coming.get(&id).copied().unwrap_or_default();
        Some(Quota { used_bytes, used_messages, coming_bytes, coming_messages, limits })
    }

    /// Room for so much is kept for what is on its way to the account, if that has limits.
    pub fn reserve(&mut self, index: &Index, id: AccountId, bytes: u64, messages: u32) -> Result<(), Refused> {
        let quota = self.quota(index, id).ok_or(Refused::NoAccount)?;
        if quota.limits == Limits::NONE {
            return Ok(());
        }
        if !quota.has_room(bytes, messages) {
            return Err(Refused::OverQuota);
        }
        self.expect(index, id, bytes, messages);
        Ok(())
    }

    /// So much is on its way to the account, whether there is room or not.
    pub fn expect(&mut self, index: &Index, id: AccountId, bytes: u64, messages: u32) {
        if self.quota(index, id).is_some_and(|quota| quota.limits != Limits::NONE) {
            let coming = self.coming.entry(id).or_default();
            *coming = (coming.0.saturating_add(bytes), coming.1.saturating_add(messages));
        }
    }

    /// So much of what was on its way will not come.
    pub fn release(&mut self, id: AccountId, bytes: u64, messages: u32) {
        self.take_coming(id, bytes, messages);
    }

    /// Batch `lsn` brings so much of what was on its way. The room is kept again if that batch is given up.
    pub fn arrive(&mut self, lsn: Lsn, account: AccountId, bytes: u64, messages: u32) {
        let (bytes, messages) = self.take_coming(account, bytes, messages);
        if messages > 0 {
            self.arriving.push(Arriving { lsn, account, bytes, messages });
        }
    }

    /// At most so much; returns how much it was.
    fn take_coming(&mut self, id: AccountId, bytes: u64, messages: u32) -> (u64, u32) {
        let Some(coming) = self.coming.get_mut(&id) else { return (0, 0) };
        let left = (coming.0.saturating_sub(bytes), coming.1.saturating_sub(messages));
        // No message has no octets.
        let left = if left.1 == 0 { (0, 0) } else { left };
        let taken = (coming.0 - left.0, coming.1 - left.1);
        *coming = left;
        if left.1 == 0 {
            self.coming.remove(&id);
        }
        taken
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
            folding: 0,
            put: 0,
            made: Some(name.to_owned()),
            last_mailbox: 0,
            mailboxes: SmallVec::new(),
            given: HashMap::new(),
            mailbox_count: Some(0),
            used_bytes: 0,
            used_messages: 0,
            limits: Limits::NONE,
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
            if account.folding <= lsn {
                account.folding = 0;
            }
            if account.put <= lsn {
                account.put = 0;
            }
            account.mailboxes.retain(|m| m.lsn > lsn);
            let AccountAhead { given, mailboxes, .. } = account;
            given.retain(|_, id| mailboxes.binary_search_by_key(id, |m| m.id).is_ok());
            account.subscriptions.retain(|_, (_, by)| *by > lsn);
            for mailbox in &mut account.mailboxes {
                mailbox.flags.retain(|_, (_, _, by)| *by > lsn);
                mailbox.expunged.retain(|_, by| *by > lsn);
                if mailbox.coming <= lsn {
                    mailbox.coming = 0;
                }
            }
        }
        self.names.retain(|_, (_, by)| *by > lsn);
        self.domains.retain(|_, by| *by > lsn);
        self.arriving.retain(|arriving| arriving.lsn > lsn);
    }

    /// Everything decided is lost: level with the index again. Counters stay where they are.
    pub fn forget(&mut self) {
        self.accounts.clear();
        self.names.clear();
        self.domains.clear();
        self.transfers.forget();
        // What was to arrive is on its way again, and nobody else may have its room.
        for Arriving { account, bytes, messages, .. } in self.arriving.drain(..) {
            let coming = self.coming.entry(account).or_default();
            *coming = (coming.0.saturating_add(bytes), coming.1.saturating_add(messages));
        }
    }
}

impl AccountAhead {
    fn level(entry: &Entry) -> Self {
        AccountAhead {
            lsn: 0,
            modseq: entry.modseq,
            chain: entry.chain(),
            removed: false,
            folding: 0,
            put: 0,
            made: None,
            last_mailbox: 0,
            mailboxes: SmallVec::new(),
            given: HashMap::new(),
            mailbox_count: None,
            used_bytes: entry.used_bytes,
            used_messages: entry.used_messages,
            limits: entry.limits(),
            subscriptions: BTreeMap::new(),
        }
    }

    /// It will keep so much more.
    pub fn keep(&mut self, bytes: u64, messages: u32) {
        self.used_bytes = self.used_bytes.saturating_add(bytes);
        self.used_messages = self.used_messages.saturating_add(messages);
    }

    /// It will keep so much less.
    pub fn let_go(&mut self, bytes: u64, messages: u32) {
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
        self.used_messages = self.used_messages.saturating_sub(messages);
    }

    /// True while something is on its way to a mailbox, or to all of them, that nobody in memory has yet.
    pub fn is_coming(&self) -> bool {
        self.folding > 0 || self.mailboxes.iter().any(|m| m.coming > 0)
    }

    /// True while its removal, or that of one of its mailboxes, is on its way.
    pub fn is_losing(&self) -> bool {
        self.removed || self.mailboxes.iter().any(|m| m.removed)
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
                let ahead = match (index.mailbox(id, mailbox), index.entries.get(id)) {
                    (Some(durable), _) => MailboxAhead {
                        uidnext: durable.uidnext,
                        keyword_bytes_max: durable.keyword_bytes_max,
                        ..MailboxAhead::new(mailbox, durable.info.uidvalidity, durable.info.special_use, self.lsn)
                    },
                    // Of an account that is not in memory its INBOX is known, and that is there always.
                    (None, Some(entry)) if mailbox == MailboxId::INBOX && index.account(id).is_none() => MailboxAhead {
                        uidnext: entry.inbox_uidnext,
                        ..MailboxAhead::new(mailbox, entry.inbox_uidvalidity, 0, self.lsn)
                    },
                    _ => return None,
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
        let durable = || index.account(id).map_or(&[][..], |a| a.named(name));
        let kept = |id: &MailboxId| self.peek(*id).is_none_or(|ahead| !ahead.removed && ahead.name.is_none());
        name.eq_ignore_ascii_case("INBOX") || self.given.contains_key(name) || durable().iter().any(kept)
    }

    /// The mailbox with this name as decided.
    pub fn find_mailbox(&self, index: &Index, id: AccountId, name: &str) -> Option<MailboxId> {
        let durable = || index.account(id).map_or(&[][..], |a| a.named(name));
        let kept = |id: &&MailboxId| self.peek(**id).is_none_or(|ahead| !ahead.removed && ahead.name.is_none());
        self.given.get(name).or_else(|| durable().iter().find(kept)).copied()
    }

    /// Names remembered here.
    #[cfg(test)]
    pub fn names_held(&self) -> usize {
        self.given.len()
    }

    /// Mailboxes as decided.
    pub fn mailbox_count(&mut self, index: &Index, id: AccountId) -> usize {
        *self.mailbox_count.get_or_insert_with(|| index.account(id).map_or(0, |a| a.mailboxes.len()))
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
    pub fn make_mailbox(
        &mut self,
        index: &Index,
        id: AccountId,
        name: &str,
        uidvalidity: u32,
        special_use: u16,
    ) -> Option<MailboxId> {
        let durable = index.account(id).map_or(0, |a| a.last_mailbox);
        self.last_mailbox = self.last_mailbox.max(durable).checked_add(1)?;
        let count = self.mailbox_count(index, id);
        self.mailbox_count = Some(count + 1);
        let id = MailboxId(self.last_mailbox);
        // Ids only rise, so the end is its place.
        let ahead = MailboxAhead::new(id, uidvalidity, special_use, self.lsn);
        self.mailboxes.push(MailboxAhead { name: Some(name.to_owned()), ..ahead });
        self.given.insert(name.to_owned(), id);
        Some(id)
    }

    /// A mailbox comes with an id of its own, which nobody has here.
    pub fn adopt_mailbox(
        &mut self,
        index: &Index,
        id: AccountId,
        mailbox: MailboxId,
        name: &str,
        uidvalidity: u32,
        special_use: u16,
    ) {
        let count = self.mailbox_count(index, id);
        self.mailbox_count = Some(count + 1);
        let durable = index.account(id).map_or(0, |a| a.last_mailbox);
        self.last_mailbox = self.last_mailbox.max(durable).max(mailbox.0);
        let ahead = MailboxAhead::new(mailbox, uidvalidity, special_use, self.lsn);
        let ahead = MailboxAhead { name: Some(name.to_owned()), ..ahead };
        match self.position(mailbox) {
            // One with this id was here and is going.
            Ok(at) => self.mailboxes[at] = ahead,
            Err(at) => self.mailboxes.insert(at, ahead),
        }
        self.given.insert(name.to_owned(), mailbox);
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
        let count = self.mailbox_count(index, id);
        self.mailbox_count = Some(count - 1);
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
            None => index.account(id).is_some_and(|a| a.is_subscribed(name)),
        }
    }

    /// Names the account is subscribed to, as decided.
    pub fn subscription_count(&self, index: &Index, id: AccountId) -> usize {
        let durable = index.account(id);
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
    pub fn is_removed(&self) -> bool {
        self.removed
    }

    fn new(id: MailboxId, uidvalidity: u32, special_use: u16, lsn: Lsn) -> Self {
        MailboxAhead {
            id,
            uidnext: 1,
            uidvalidity,
            special_use,
            lsn,
            coming: 0,
            name: None,
            removed: false,
            keyword_bytes_max: 0,
            flags: BTreeMap::new(),
            expunged: BTreeMap::new(),
        }
    }
}
