//! What has been decided beyond the durable index: counters, and changes that later decisions must see.
//!
//! An account is here only while a batch that touches it is not durable yet. Nothing in this file is ever shown
//! to anybody but `decide`.

use std::collections::{BTreeMap, HashMap};

use smallvec::SmallVec;

use super::{Account, Index};
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
    mailboxes: SmallVec<[MailboxAhead; 1]>,
}

/// A mailbox beyond its durable state.
#[derive(Clone)]
pub struct MailboxAhead {
    pub id: MailboxId,
    pub uidnext: Uid,
    pub uidvalidity: u32,
    /// Its name, when it was made here.
    pub made: Option<String>,
    pub removed: bool,
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
        })
    }

    /// Puts back what a refused transaction changed.
    pub fn restore(&mut self, undo: Undo) {
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
        }
    }

    pub fn next_modseq(&mut self) -> Modseq {
        self.modseq += 1;
        self.modseq
    }

    /// The mailbox as decided; `None` when there is none (any more).
    pub fn mailbox(&mut self, index: &Index, id: AccountId, mailbox: MailboxId) -> Option<&mut MailboxAhead> {
        let at = match self.mailboxes.iter().position(|m| m.id == mailbox) {
            Some(at) => at,
            None => {
                let durable = index.mailbox(id, mailbox)?;
                self.mailboxes.push(MailboxAhead {
                    id: mailbox,
                    uidnext: durable.uidnext,
                    uidvalidity: durable.info.uidvalidity,
                    made: None,
                    removed: false,
                    keyword_bytes_max: durable.keyword_bytes_max,
                    flags: BTreeMap::new(),
                    expunged: BTreeMap::new(),
                });
                self.mailboxes.len() - 1
            }
        };
        Some(&mut self.mailboxes[at]).filter(|m| !m.removed)
    }

    /// The mailbox beyond its durable state, to look at only.
    pub fn peek(&self, mailbox: MailboxId) -> Option<&MailboxAhead> {
        self.mailboxes.iter().find(|m| m.id == mailbox)
    }

    /// True if a mailbox has this name as decided. INBOX is taken in any case (RFC 9051 §5.1).
    pub fn has_mailbox(&self, index: &Index, id: AccountId, name: &str) -> bool {
        let durable = index.accounts.get(&id).into_iter().flat_map(|a| a.mailboxes.values());
        let still = |m: MailboxId| self.peek(m).is_none_or(|ahead| !ahead.removed);
        name.eq_ignore_ascii_case("INBOX")
            || durable.filter(|m| m.info.name == name).any(|m| still(m.info.id))
            || self.mailboxes.iter().any(|m| !m.removed && m.made.as_deref() == Some(name))
    }

    /// Mailboxes made beyond the durable ones.
    pub fn made_count(&self) -> usize {
        self.mailboxes.iter().filter(|m| m.made.is_some()).count()
    }

    /// `None` when the ids are used up.
    pub fn make_mailbox(&mut self, name: &str, uidvalidity: u32) -> Option<MailboxId> {
        self.last_mailbox = self.last_mailbox.checked_add(1)?;
        let id = MailboxId(self.last_mailbox);
        self.mailboxes.push(MailboxAhead {
            id,
            uidnext: 1,
            uidvalidity,
            made: Some(name.to_owned()),
            removed: false,
            keyword_bytes_max: 0,
            flags: BTreeMap::new(),
            expunged: BTreeMap::new(),
        });
        Some(id)
    }
}
