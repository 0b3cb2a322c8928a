//! What was ever true, and of which transactions: for disks of which octets were spoilt.
//!
//! Nothing that never was may be shown: no text, flag, name or secret. And what rests only on transactions whose octets are
//! unhurt has to be there. What rests on a hurt one may be missing, unreadable, or as it was before that transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::look::Shown;
use super::model::{Account, Mailbox, Message, Model};
use crate::{AccountId, MailboxId, Modseq, Uid};

/// Transactions, by their number in the life.
pub type Transactions = BTreeSet<usize>;

/// What rests on some octets.
#[derive(Clone, Debug, Default)]
pub struct Hurt {
    /// Transactions, and those of which something was moved there.
    pub transactions: Transactions,
    /// Accounts of which a record or root lies there.
    pub accounts: BTreeSet<AccountId>,
}

/// What may be with the accounts of which a record or root is hurt, until somebody has read the whole log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spared {
    /// They need not load.
    pub load: bool,
    /// What they hold need not read.
    pub read: bool,
}

/// All that was ever true.
#[derive(Default)]
pub struct Truth {
    domains: BTreeMap<String, BTreeSet<Vec<u8>>>,
    accounts: BTreeMap<AccountId, Owner>,
    mailboxes: BTreeMap<(AccountId, MailboxId), Place>,
    messages: BTreeMap<(AccountId, MailboxId, Uid), Fate>,
    /// The highest UIDVALIDITY that was told.
    uidvalidity_max: u32,
}

struct Owner {
    name: String,
    secrets: BTreeSet<Vec<u8>>,
    modseq_max: Modseq,
    rests_on: Transactions,
}

struct Place {
    names: BTreeSet<String>,
    uidvalidities: BTreeSet<u32>,
    uidnext: Uid,
    rests_on: Transactions,
}

struct Fate {
    text: Rc<[u8]>,
    internal_ms: i64,
    /// Flags and keywords.
    looks: BTreeSet<(u32, Vec<String>)>,
    summaries: Vec<Rc<[u8]>>,
    rests_on: Transactions,
}

impl Hurt {
    /// Adds what rests on others.
    pub fn add(&mut self, other: &Hurt) {
        self.transactions.extend(&other.transactions);
        self.accounts.extend(&other.accounts);
    }

    /// Nothing rests on them.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.transactions.is_empty() && self.accounts.is_empty()
    }
}

impl Truth {
    /// Transaction `n` made `after` of `before`.
    pub fn learn(&mut self, n: usize, before: &Model, after: &Model) {
        self.uidvalidity_max = self.uidvalidity_max.max(after.uidvalidity_max);
        for (name, info) in &after.domains {
            self.domains.entry(name.clone()).or_default().insert(info.clone());
        }
        for (id, account) in &after.accounts {
            let old = before.accounts.get(id);
            if old.is_some_and(|old| Rc::ptr_eq(old, account)) {
                continue;
            }
            let owner = self.accounts.entry(*id).or_insert_with(|| Owner {
                name: account.name.clone(),
                secrets: BTreeSet::new(),
                modseq_max: 0,
                rests_on: Transactions::from([n]),
            });
            owner.modseq_max = owner.modseq_max.max(account.modseq_max);
            owner.secrets.insert(account.secrets.clone());
            let rests_on = owner.rests_on.clone();
            for (mailbox_id, mailbox) in &account.mailboxes {
                self.mailbox(n, (*id, *mailbox_id), mailbox, (old.map(|old| &**old), &rests_on));
            }
        }
    }

    fn mailbox(
        &mut self,
        n: usize,
        key: (AccountId, MailboxId),
        mailbox: &Mailbox,
        (before, owner): (Option<&Account>, &Transactions),
    ) {
        let place = self.mailboxes.entry(key).or_insert_with(|| Place {
            names: BTreeSet::new(),
            uidvalidities: BTreeSet::new(),
            uidnext: 1,
            rests_on: owner.union(&Transactions::from([n])).copied().collect(),
        });
        place.names.insert(mailbox.name.clone());
        place.uidvalidities.insert(mailbox.uidvalidity);
        place.uidnext = place.uidnext.max(mailbox.uidnext);
        let rests_on = place.rests_on.clone();
        for (uid, message) in &mailbox.messages {
            let key = (key.0, key.1, *uid);
            if !self.messages.contains_key(&key) {
                // A copy rests on what its original rests on.
                let mut rests_on = rests_on.clone();
                rests_on.insert(n);
                let shares = |(key, fate): (&(AccountId, MailboxId, Uid), &Fate)| {
                    (before.is_some() && Rc::ptr_eq(&fate.text, &message.text)).then_some(*key)
                };
                for original in self.messages.iter().filter_map(shares).collect::<Vec<_>>() {
                    rests_on.extend(&self.messages[&original].rests_on);
                }
                let fate = Fate {
                    text: message.text.clone(),
                    internal_ms: message.internal_ms,
                    looks: BTreeSet::new(),
                    summaries: vec![],
                    rests_on,
                };
                self.messages.insert(key, fate);
            }
            let fate = self.messages.get_mut(&key).expect("just put there");
            fate.looks.insert((message.bits, message.keywords.clone()));
            fate.summaries.extend(message.summary.clone().filter(|s| !fate.summaries.contains(s)));
        }
    }

    /// Accounts that ever were.
    pub fn accounts(&self) -> impl Iterator<Item = AccountId> {
        self.accounts.keys().copied()
    }

    /// The next UID that a mailbox had promised at last: none below may come again.
    #[must_use]
    pub fn uidnext(&self, account: AccountId, mailbox: MailboxId) -> Uid {
        self.mailboxes.get(&(account, mailbox)).map_or(1, |place| place.uidnext)
    }

    /// The highest MODSEQ of an account that was told: none up to it may come again.
    #[must_use]
    pub fn modseq(&self, account: AccountId) -> Modseq {
        self.accounts.get(&account).map_or(0, |owner| owner.modseq_max)
    }

    /// The highest UIDVALIDITY that was told, of any mailbox: none up to it may come again.
    #[must_use]
    pub fn uidvalidity(&self) -> u32 {
        self.uidvalidity_max
    }

    /// What is shown and never was.
    #[must_use]
    pub fn never_was(&self, shown: &Shown) -> Option<String> {
        for (name, info) in &shown.model.domains {
            if !self.domains.get(name).is_some_and(|infos| infos.contains(info)) {
                return Some(format!("domain {name} never had this info"));
            }
        }
        shown.model.accounts.iter().find_map(|(id, account)| {
            let Some(owner) = self.accounts.get(id) else { return Some(format!("account {} never was", id.0)) };
            if owner.name != account.name || !owner.secrets.contains(&account.secrets) {
                return Some(format!("account {} never had this name or these secrets", id.0));
            }
            account.mailboxes.iter().find_map(|(mailbox, found)| {
                self.mailbox_never_was((*id, *mailbox), found)
                    .map(|why| format!("account {}, mailbox {}: {why}", id.0, mailbox.0))
            })
        })
    }

    fn mailbox_never_was(&self, key: (AccountId, MailboxId), found: &Mailbox) -> Option<String> {
        let Some(place) = self.mailboxes.get(&key) else { return Some("never was".to_owned()) };
        if !place.names.contains(&found.name) {
            return Some(format!("never was called {}", found.name));
        }
        // 0: while no outcome had told it.
        let told = |n: &u32| *n == found.uidvalidity || *n == 0;
        if !place.uidvalidities.iter().any(told) {
            return Some(format!("never had UIDVALIDITY {}", found.uidvalidity));
        }
        found.messages.iter().find_map(|(uid, message)| {
            let Some(fate) = self.messages.get(&(key.0, key.1, *uid)) else {
                return Some(format!("UID {uid} never was"));
            };
            fate.never_was(message).map(|why| format!("UID {uid}: {why}"))
        })
    }

    /// What is neither shown nor owed to what is hurt: accounts, mailboxes and messages that are in both of these states.
    #[must_use]
    pub fn missing(
        &self,
        shown: &Shown,
        (hurt, spared): (&Hurt, Spared),
        (must, last): (&Model, &Model),
    ) -> Option<String> {
        must.accounts.iter().find_map(|(id, account)| {
            let last = last.accounts.get(id)?;
            let touched = hurt.accounts.contains(id);
            if !self.accounts[id].rests_on.is_disjoint(&hurt.transactions) {
                return None;
            }
            let Some(found) = shown.model.accounts.get(id) else {
                let how = if shown.unloaded.contains(id) { "does not load" } else { "is missing" };
                return Some(format!("account {} {how}", id.0)).filter(|_| !(touched && spared.load));
            };
            account.mailboxes.iter().find_map(|(mailbox, known)| {
                let last = last.mailboxes.get(mailbox)?;
                if !self.mailboxes[&(*id, *mailbox)].rests_on.is_disjoint(&hurt.transactions) {
                    return None;
                }
                let Some(found) = found.mailboxes.get(mailbox) else {
                    return Some(format!("account {}, mailbox {} is missing", id.0, mailbox.0));
                };
                known.messages.keys().filter(|uid| last.messages.contains_key(uid)).find_map(|uid| {
                    let key = (*id, *mailbox, *uid);
                    let rests_on = &self.messages[&key].rests_on;
                    let unread = shown.unread.contains(&key);
                    let there = found.messages.contains_key(uid) || unread && touched && spared.read;
                    let how = if unread { "does not read" } else { "is missing" };
                    (rests_on.is_disjoint(&hurt.transactions) && !there).then(|| {
                        format!("account {}, mailbox {}, UID {uid} {how}; it rests on {rests_on:?}", id.0, mailbox.0)
                    })
                })
            })
        })
    }
}

/// A state without what damage may take unreported: messages that say that they do not read, summaries.
#[must_use]
pub fn plain(state: &Model, unread: &BTreeSet<(AccountId, MailboxId, Uid)>) -> Model {
    let mut state = state.clone();
    for (id, account) in &mut state.accounts {
        for (mailbox_id, mailbox) in &mut Rc::make_mut(account).mailboxes {
            let messages = &mut Rc::make_mut(mailbox).messages;
            messages.retain(|uid, _| !unread.contains(&(*id, *mailbox_id, *uid)));
            messages.values_mut().for_each(|m| m.summary = None);
        }
    }
    state
}

impl Fate {
    fn never_was(&self, found: &Message) -> Option<String> {
        if self.text != found.text {
            return Some("never had this text".to_owned());
        }
        if self.internal_ms != found.internal_ms || !self.looks.contains(&(found.bits, found.keywords.clone())) {
            return Some(format!(
                "never had INTERNALDATE {}, flags {} {:?}",
                found.internal_ms, found.bits, found.keywords
            ));
        }
        found.summary.as_ref().filter(|s| !self.summaries.contains(s)).map(|_| "never had this summary".to_owned())
    }
}
