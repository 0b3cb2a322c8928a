//! An account in memory: its mailboxes with their messages, and how records of the log change it.
//!
//! The same function makes of it what a live commit says and what loading reads, record by record in the order of the log.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use super::names::Names;
use super::{Forwards, Jump, Mailbox};
use crate::bugs::{self, Bug};
use crate::record::{CopyRecord, MailboxPut, MessageRecord, Record, RootRecord, RowRun, RunRef};
use crate::types::{AccountId, AccountInfo, LARGE, Lsn, MODSEQ_MAX, MailboxId, MailboxInfo, Message, Modseq, Place};

/// An account with everything it has.
#[derive(Debug)]
pub struct Account {
    pub info: AccountInfo,
    /// Highest MODSEQ given.
    pub modseq: Modseq,
    /// Highest mailbox id given.
    pub last_mailbox: u32,
    pub mailboxes: BTreeMap<MailboxId, Mailbox>,
    /// The same by name.
    pub names: Names,
    /// Names it is subscribed to, sorted. `MailboxInfo::subscribed` follows it.
    pub subscriptions: Vec<Box<str>>,
    /// Runs of rows of mailboxes that were removed behind its root. The root still names them, so whoever loads the
    /// account reads them: the next root lets them go.
    pub left: Vec<RowRun>,
    /// Who holds it in memory.
    pub holders: u32,
    /// When it was last looked at, by the volume's count of looks.
    pub used: u64,
    /// Octets that it takes, estimated.
    pub bytes: usize,
}

impl Account {
    /// An account without mailboxes.
    pub fn new(info: AccountInfo) -> Self {
        Account {
            info,
            modseq: 0,
            last_mailbox: 0,
            mailboxes: BTreeMap::new(),
            names: Names::default(),
            subscriptions: Vec::new(),
            left: Vec::new(),
            holders: 0,
            used: 0,
            bytes: 0,
        }
    }

    /// An account as its root says, its rows still to be filled in.
    pub fn of_root(info: AccountInfo, root: &RootRecord<'_>, version: u64) -> Self {
        let mut account = Account::new(info);
        account.modseq = root.modseq;
        account.last_mailbox = root.last_mailbox;
        account.subscriptions = root.subscriptions();
        for m in root.mailboxes() {
            let info = MailboxInfo {
                id: m.id,
                subscribed: account.is_subscribed(&m.name),
                name: m.name,
                uidvalidity: m.uidvalidity,
                special_use: m.special_use,
            };
            let mut mailbox = Mailbox::new(info, m.highest_modseq, version);
            mailbox.uidnext = m.uidnext;
            mailbox.floor = m.floor;
            mailbox.keyword_bytes_max = m.keyword_bytes_max as usize;
            mailbox.expunged = m.expunged.into();
            mailbox.rows = m.rows;
            mailbox.runs = m.runs;
            account.mailboxes.insert(m.id, mailbox);
            account.names.insert(&account.mailboxes, m.id);
        }
        account.count_bytes();
        account
    }

    /// The mailboxes with this name, by id: at most one, but after a loss.
    pub fn named(&self, name: &str) -> &[MailboxId] {
        self.names.find(&self.mailboxes, name)
    }

    pub fn is_subscribed(&self, name: &str) -> bool {
        self.subscription(name).is_ok()
    }

    /// Where this name is among the subscriptions, or belongs.
    fn subscription(&self, name: &str) -> Result<usize, usize> {
        self.subscriptions.binary_search_by(|s| (**s).cmp(name))
    }

    /// Applies one of its records. `None` when it does not fit what is here.
    pub fn apply(&mut self, place: Place, lsn: Lsn, record: &Record<'_>) -> Option<()> {
        let mailbox = mailbox_of(record);
        let before = self.mailbox_bytes(mailbox);
        let fits = self.change(place, lsn, record);
        match record {
            Record::Root(_) | Record::AccountPut(_) | Record::Subscription(_) | Record::MailboxRemove(_) => {
                self.count_bytes();
            }
            _ => self.bytes = self.bytes + self.mailbox_bytes(mailbox) - before,
        }
        fits
    }

    /// Estimates anew what it takes.
    pub fn count_bytes(&mut self) {
        let own = size_of::<Account>() + self.info.name.len() + self.info.secrets.len();
        let names = self.subscriptions.iter().map(|name| size_of::<Box<str>>() + name.len()).sum::<usize>();
        let left = self.left.capacity() * size_of::<RowRun>();
        self.bytes = own + names + left + self.mailboxes.values().map(Mailbox::bytes).sum::<usize>();
    }

    fn mailbox_bytes(&self, mailbox: Option<MailboxId>) -> usize {
        mailbox.and_then(|id| self.mailboxes.get(&id)).map_or(0, Mailbox::bytes)
    }

    fn change(&mut self, place: Place, lsn: Lsn, record: &Record<'_>) -> Option<()> {
        match record {
            Record::AccountPut(put) => {
                let secrets: Rc<[u8]> = put.secrets.into();
                let name = put.name.to_owned();
                self.info = AccountInfo { id: self.info.id, name, generation: put.generation, secrets };
                self.gave(put.modseq);
            }
            Record::MailboxPut(put) => {
                self.gave(put.modseq);
                self.put_mailbox(put, lsn);
            }
            Record::MailboxRemove(remove) => {
                self.gave(remove.modseq);
                if self.mailboxes.contains_key(&remove.mailbox) {
                    self.names.remove(&self.mailboxes, remove.mailbox);
                }
                let mailbox = self.mailboxes.remove(&remove.mailbox)?;
                self.left.extend(mailbox.rows);
            }
            Record::Subscription(subscription) => {
                self.subscribe(subscription.name, subscription.on);
                for id in self.names.find(&self.mailboxes, subscription.name).to_vec() {
                    self.mailboxes.entry(id).and_modify(|m| m.info.subscribed = subscription.on);
                }
            }
            Record::Renumber(renumber) => {
                self.gave(renumber.modseq);
                let mailbox = self.mailboxes.get_mut(&renumber.mailbox)?;
                mailbox.info.uidvalidity = renumber.uidvalidity;
                mailbox.uidnext = mailbox.uidnext.max(renumber.uidnext);
                mailbox.changed(renumber.modseq, lsn);
            }
            Record::Message(message) => {
                self.gave(message.modseq);
                self.mailboxes.get_mut(&message.mailbox)?.add(message_of(place, message), lsn)?;
            }
            Record::Copy(copy) => {
                self.gave(copy.modseq);
                return self.copy(copy, lsn);
            }
            Record::Flags(flags) => {
                self.gave(flags.modseq);
                let mailbox = self.mailboxes.get_mut(&flags.mailbox)?;
                for (uid, view) in flags.items() {
                    let Some(i) = mailbox.position(uid) else { continue };
                    let new = view.to_flags();
                    mailbox.keyword_bytes_max = mailbox.keyword_bytes_max.max(crate::record::keyword_bytes(&new));
                    mailbox.set_flags(i, &new);
                    mailbox.messages[i].modseq = flags.modseq;
                    mailbox.dirty(uid, lsn);
                }
                mailbox.changed(flags.modseq, lsn);
            }
            Record::Expunge(expunge) => {
                self.gave(expunge.modseq);
                let mailbox = self.mailboxes.get_mut(&expunge.mailbox)?;
                mailbox.expunge(expunge.uids(), expunge.modseq, lsn);
                if bugs::on(Bug::ReuseUid) && expunge.uids().any(|uid| uid + 1 == mailbox.uidnext) {
                    mailbox.uidnext -= 1;
                }
            }
            Record::Run(run) => {
                let mailbox = self.mailboxes.get_mut(&run.mailbox)?;
                mailbox.runs.push(RunRef {
                    first: run.first,
                    last: run.last,
                    count: run.count,
                    body: run.body,
                    body_len: run.body_len,
                    body_check: run.body_check,
                });
            }
            Record::Root(root) => self.folded(root),
            _ => {}
        }
        Some(())
    }

    /// Every number jumps over what lost batches may have given. What they changed is not known either, so all
    /// messages count as changed, and no history of expunges reaches back beyond this.
    pub fn jump(&mut self, gap: &Jump, lsn: Lsn) {
        self.modseq = self.modseq.saturating_add(gap.modseqs).min(MODSEQ_MAX);
        self.last_mailbox = self.last_mailbox.saturating_add(gap.numbers);
        for mailbox in self.mailboxes.values_mut() {
            mailbox.uidnext = mailbox.uidnext.saturating_add(gap.numbers);
            mailbox.messages.iter_mut().for_each(|m| m.modseq = self.modseq);
            mailbox.all_dirty(lsn);
            mailbox.expunged.clear();
            mailbox.floor = self.modseq;
            mailbox.changed(self.modseq, lsn);
        }
    }

    /// Its messages are where they have been moved to, before anybody sees it.
    pub fn refresh(&mut self, forwards: &Forwards) {
        if forwards.is_empty() {
            return;
        }
        for message in self.mailboxes.values_mut().flat_map(|m| m.messages.iter_mut()) {
            message.prefix = forwards.resolve(message.prefix);
            message.body = forwards.resolve(message.body);
        }
    }

    fn gave(&mut self, modseq: Modseq) {
        self.modseq = self.modseq.max(modseq.min(MODSEQ_MAX));
    }

    /// A root of what is here was written: rows are where it says, and nothing is new any more.
    fn folded(&mut self, root: &RootRecord<'_>) {
        let released: HashSet<Place> = root.released.items().map(|released| released.body).collect();
        self.left.retain(|run| !released.contains(&run.body));
        for m in root.mailboxes() {
            if let Some(mailbox) = self.mailboxes.get_mut(&m.id) {
                // Runs of summaries that came after the root was decided are in none yet.
                let known: HashSet<Place> = m.runs.iter().map(|run| run.body).collect();
                let later = |run: &RunRef| !known.contains(&run.body) && !released.contains(&run.body);
                let later: Vec<RunRef> = mailbox.runs.iter().copied().filter(later).collect();
                mailbox.rows = m.rows;
                mailbox.runs = [m.runs, later].concat();
                mailbox.clean(root.through_lsn);
            }
        }
    }

    fn subscribe(&mut self, name: &str, on: bool) {
        match (self.subscription(name), on) {
            (Err(at), true) => self.subscriptions.insert(at, name.into()),
            (Ok(at), false) => drop(self.subscriptions.remove(at)),
            _ => {}
        }
    }

    fn put_mailbox(&mut self, put: &MailboxPut<'_>, lsn: Lsn) {
        self.subscribe(put.name, put.subscribed);
        self.last_mailbox = self.last_mailbox.max(put.mailbox.0);
        let info = MailboxInfo {
            id: put.mailbox,
            name: put.name.to_owned(),
            uidvalidity: put.uidvalidity,
            special_use: put.special_use,
            subscribed: put.subscribed,
        };
        if self.mailboxes.contains_key(&put.mailbox) {
            self.names.remove(&self.mailboxes, put.mailbox);
        }
        match self.mailboxes.get_mut(&put.mailbox) {
            Some(mailbox) => {
                mailbox.info = info;
                mailbox.changed(put.modseq, lsn);
            }
            None => {
                let mut made = Mailbox::new(info, put.modseq, lsn);
                if put.begins {
                    made.floor = put.modseq;
                }
                self.mailboxes.insert(put.mailbox, made);
            }
        }
        self.names.insert(&self.mailboxes, put.mailbox);
    }

    /// Adds the copies whose UIDs are free; `None` when one is taken, or there is no such mailbox.
    fn copy(&mut self, copy: &CopyRecord<'_>, lsn: Lsn) -> Option<()> {
        let mailbox = self.mailboxes.get_mut(&copy.mailbox)?;
        let mut all = true;
        for copied in copy.items() {
            let mut message = Message {
                uid: copied.uid,
                size: copied.size,
                modseq: copy.modseq,
                internal_ms: copied.internal_ms,
                saved_s: copy.saved_s,
                bits: if copied.large { LARGE } else { 0 },
                prefix_len: copied.prefix_len,
                keywords: None,
                prefix: copied.prefix,
                body: copied.body,
                body_check: copied.body_check,
            };
            message.set_flags(&copied.flags.to_flags());
            all &= mailbox.add(message, lsn).is_some();
        }
        all.then_some(())
    }
}

/// The mailbox that a record changes.
fn mailbox_of(record: &Record<'_>) -> Option<MailboxId> {
    match record {
        Record::MailboxPut(put) => Some(put.mailbox),
        Record::MailboxRemove(remove) => Some(remove.mailbox),
        Record::Renumber(renumber) => Some(renumber.mailbox),
        Record::Message(message) => Some(message.mailbox),
        Record::Copy(copy) => Some(copy.mailbox),
        Record::Flags(flags) => Some(flags.mailbox),
        Record::Expunge(expunge) => Some(expunge.mailbox),
        Record::Run(run) => Some(run.mailbox),
        _ => None,
    }
}

/// The message that a record at `place` says.
pub fn message_of(place: Place, record: &MessageRecord<'_>) -> Message {
    let mut message = Message {
        uid: record.uid,
        size: record.size,
        modseq: record.modseq,
        internal_ms: record.internal_ms,
        saved_s: record.saved_s,
        bits: if record.large { LARGE } else { 0 },
        prefix_len: record.prefix.len() as u16,
        keywords: None,
        prefix: place,
        body: record.body,
        body_check: record.body_check,
    };
    message.set_flags(&record.flags.to_flags());
    message
}

/// An account of which nothing is known but its id.
pub fn blank(id: AccountId) -> Account {
    Account::new(AccountInfo { id, name: String::new(), generation: 0, secrets: Rc::new([]) })
}
