//! The model: what a volume must hold after a sequence of transactions, written without looking at the volume.
//!
//! The numbers that the volume chose (UIDs, UIDVALIDITY, MODSEQ, ids) come from its outcomes, and the model checks that they
//! only rise. Octets are kept, not hashes, so a comparison trusts nothing. States share what they have in common: a state
//! after each transaction costs what the transaction changed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::{AccountId, Changed, Flags, FlagsHow, Limits, MailboxId, Modseq, Op, Outcome, Target, Uid, Uidvalidity};

/// A volume's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Info by name.
    pub domains: BTreeMap<String, Vec<u8>>,
    /// By id.
    pub accounts: BTreeMap<AccountId, Rc<Account>>,
    /// The highest UIDVALIDITY that anybody was told.
    pub uidvalidity_max: u32,
    /// What is expunged is retained.
    pub retains: bool,
}

/// An account's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// As put last.
    pub secrets: Vec<u8>,
    /// As set last.
    pub limits: Limits,
    /// By id.
    pub mailboxes: BTreeMap<MailboxId, Rc<Mailbox>>,
    /// Names.
    pub subscriptions: BTreeSet<String>,
    /// The highest MODSEQ that anybody was told.
    pub modseq_max: Modseq,
    /// What was expunged and can be brought back: where it was, and what. No outcome tells these UIDs; they follow one another.
    pub retained: BTreeMap<Uid, (MailboxId, Message)>,
    /// The last of those UIDs that was given.
    pub retained_last: Uid,
}

/// A mailbox's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// Its name.
    pub name: String,
    /// 0 while no outcome has told it (of INBOX, and of those that are made with their account).
    pub uidvalidity: u32,
    /// The next UID.
    pub uidnext: Uid,
    /// Its HIGHESTMODSEQ; a lower bound where it is not `exact`.
    pub highest_modseq: Modseq,
    /// False after a change whose MODSEQ no outcome tells.
    pub exact: bool,
    /// By UID.
    pub messages: BTreeMap<Uid, Message>,
}

/// A message's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Of its last change.
    pub modseq: Modseq,
    /// System flags.
    pub bits: u32,
    /// Sorted.
    pub keywords: Vec<String>,
    /// INTERNALDATE.
    pub internal_ms: i64,
    /// Prefix and body.
    pub text: Rc<[u8]>,
    /// What was kept for listing it.
    pub summary: Option<Rc<[u8]>>,
}

/// A transaction as the model sees it.
pub struct Work {
    /// What the bodies hold.
    pub texts: Vec<Rc<[u8]>>,
    /// The ops.
    pub ops: Vec<Op>,
}

impl Model {
    /// What must be true after this transaction. `outcomes` are the numbers the volume chose.
    ///
    /// # Panics
    /// When the outcomes cannot be: a number goes back, a name is taken twice, an outcome is no answer to its op.
    #[must_use]
    pub fn after(&self, work: &Work, outcomes: &[Outcome]) -> Model {
        assert_eq!(work.ops.len(), outcomes.len(), "one outcome an op");
        let mut model = self.clone();
        for (op, outcome) in work.ops.iter().zip(outcomes) {
            model.step(work, op, outcome, outcomes);
        }
        model
    }

    fn account(&mut self, account: AccountId) -> &mut Account {
        Rc::make_mut(self.accounts.get_mut(&account).expect("a known account"))
    }

    fn mailbox(&mut self, account: AccountId, mailbox: MailboxId) -> &mut Mailbox {
        Rc::make_mut(self.account(account).mailboxes.get_mut(&mailbox).expect("a known mailbox"))
    }

    /// A UIDVALIDITY that was not given before.
    fn fresh(&mut self, uidvalidity: u32) {
        assert!(uidvalidity > self.uidvalidity_max, "UIDVALIDITY {uidvalidity} behind {}", self.uidvalidity_max);
        self.uidvalidity_max = uidvalidity;
    }

    /// The UIDVALIDITY that a mailbox has had all along.
    fn valid(&mut self, account: AccountId, mailbox: MailboxId, uidvalidity: u32) {
        self.uidvalidity_max = self.uidvalidity_max.max(uidvalidity);
        let mailbox = self.mailbox(account, mailbox);
        assert!(mailbox.uidvalidity == 0 || mailbox.uidvalidity == uidvalidity, "UIDVALIDITY stays");
        mailbox.uidvalidity = uidvalidity;
    }

    /// A change has this MODSEQ: no other of the account has it, and none that came before a higher one.
    fn rises(&mut self, account: AccountId, modseq: Modseq) {
        let account = self.account(account);
        assert!(modseq > account.modseq_max, "MODSEQ {modseq} behind {}", account.modseq_max);
        account.modseq_max = modseq;
    }

    /// What was told before a recovery that shows this: no number may be given again.
    pub fn remembers(&mut self, before: &Model) {
        self.uidvalidity_max = self.uidvalidity_max.max(before.uidvalidity_max);
        for (id, account) in &mut self.accounts {
            let told = before.accounts.get(id).map_or(0, |account| account.modseq_max);
            if told > account.modseq_max {
                Rc::make_mut(account).modseq_max = told;
            }
        }
    }

    fn named(&self, account: AccountId, name: &str) -> bool {
        self.accounts[&account].mailboxes.values().any(|m| m.name == name)
    }

    fn step(&mut self, work: &Work, op: &Op, outcome: &Outcome, outcomes: &[Outcome]) {
        match (op, outcome) {
            (Op::PutDomain { name, info }, Outcome::Done) => {
                self.domains.insert(name.clone(), info.clone());
            }
            (Op::RemoveDomain { name }, Outcome::Done) => {
                self.domains.remove(name);
            }
            (Op::SetLimits { account, limits }, Outcome::Account(id)) => {
                assert_eq!(account, id);
                self.account(*account).limits = *limits;
            }
            (Op::PutAccount { name, secrets, mailboxes, limits }, Outcome::Account(id)) => {
                let account = self.accounts.entry(*id).or_insert_with(|| {
                    let names =
                        || std::iter::once("INBOX").chain(mailboxes.iter().map(|m| &*m.name)).map(str::to_owned);
                    let mailbox = |name| Rc::new(Mailbox { name, uidnext: 1, ..Mailbox::default() });
                    Rc::new(Account {
                        name: name.clone(),
                        limits: *limits,
                        mailboxes: (1..).map(MailboxId).zip(names().map(mailbox)).collect(),
                        subscriptions: names().collect(),
                        ..Account::default()
                    })
                });
                assert_eq!(account.name, *name);
                Rc::make_mut(account).secrets.clone_from(secrets);
            }
            (Op::RemoveAccount { account }, Outcome::Done) => {
                self.accounts.remove(account);
            }
            (Op::CreateMailbox { account, name, subscribed, .. }, Outcome::Mailbox(id, uidvalidity)) => {
                assert!(!self.named(*account, name), "names are taken once");
                self.fresh(*uidvalidity);
                let account = self.account(*account);
                if *subscribed {
                    account.subscriptions.insert(name.clone());
                }
                let made = Mailbox { name: name.clone(), uidvalidity: *uidvalidity, uidnext: 1, ..Mailbox::default() };
                assert!(account.mailboxes.insert(*id, Rc::new(made)).is_none(), "mailbox ids are new");
            }
            (Op::RenameMailbox { account, mailbox, from, name }, Outcome::Done) => {
                assert!(!self.named(*account, name), "names are taken once");
                let renamed = self.mailbox(*account, *mailbox);
                assert_eq!(renamed.name, *from);
                renamed.name.clone_from(name);
                renamed.exact = false;
            }
            (Op::Subscribe { account, name, on }, Outcome::Done) => {
                let subscriptions = &mut self.account(*account).subscriptions;
                if *on {
                    subscriptions.insert(name.clone())
                } else {
                    subscriptions.remove(name)
                };
            }
            (Op::Copy { account, from, uids, to }, Outcome::Copied { uidvalidity, pairs, modseq }) => {
                self.arrive((*account, *from, uids), (to, outcomes), *uidvalidity, pairs, *modseq);
                if !pairs.is_empty() {
                    self.keeps_within_limits(*account);
                }
            }
            (Op::Move { account, from, uids, to }, Outcome::Moved { uidvalidity, pairs, modseq }) => {
                self.arrive((*account, *from, uids), (to, outcomes), *uidvalidity, pairs, *modseq);
                if self.is_hidden(*account, *from) {
                    return self.forgets(*account, pairs.iter().map(|(uid, _)| uid));
                }
                let left = self.mailbox(*account, *from);
                for (uid, _) in pairs {
                    left.messages.remove(uid).expect("what is moved was there");
                    left.highest_modseq = *modseq;
                }
            }
            (Op::RemoveMailbox { account, mailbox, name }, Outcome::Done) => {
                let gone = self.account(*account).mailboxes.remove(mailbox).expect("what is removed was there");
                assert_eq!(gone.name, *name);
                self.retains(*account, *mailbox, gone.messages.values().cloned());
            }
            (Op::Renumber { account, mailbox, uidnext, uidvalidity: how }, Outcome::Mailbox(id, uidvalidity)) => {
                assert_eq!(id, mailbox);
                match how {
                    Uidvalidity::Keep => self.valid(*account, *mailbox, *uidvalidity),
                    Uidvalidity::Fresh => self.fresh(*uidvalidity),
                    Uidvalidity::Adopt(it) => assert_eq!(it, uidvalidity),
                }
                let into = self.mailbox(*account, *mailbox);
                into.uidvalidity = *uidvalidity;
                into.uidnext = into.uidnext.max(*uidnext);
                into.exact = false;
            }
            (
                Op::Append { account, mailbox, body, prefix, flags, internal_ms }
                | Op::Accepted { account, mailbox, body, prefix, flags, internal_ms },
                Outcome::Appended { uid, uidvalidity, modseq },
            ) => {
                let text = [prefix, &work.texts[*body][..]].concat().into();
                self.valid(*account, *mailbox, *uidvalidity);
                self.rises(*account, *modseq);
                let into = self.mailbox(*account, *mailbox);
                assert_eq!(*uid, into.uidnext, "UIDs are given in order");
                assert!(*modseq > into.highest_modseq, "a new MODSEQ is the highest");
                into.uidnext = uid + 1;
                into.knows(*modseq);
                into.messages.insert(*uid, message(flags, *modseq, *internal_ms, text));
                if matches!(op, Op::Append { .. }) {
                    self.keeps_within_limits(*account);
                }
            }
            (Op::StoreFlags { account, mailbox, how, flags, .. }, Outcome::Stored { changed, .. }) => {
                if let Some(Changed { modseq, .. }) = changed.first() {
                    assert!(changed.iter().all(|c| c.modseq == *modseq), "one STORE has one MODSEQ");
                    self.rises(*account, *modseq);
                }
                let into = self.mailbox(*account, *mailbox);
                for Changed { uid, flags: new, modseq, .. } in changed {
                    let old = into.messages.get_mut(uid).expect("what is changed was there");
                    let bits = match how {
                        FlagsHow::Replace => flags.bits,
                        FlagsHow::Add => old.bits | flags.bits,
                        FlagsHow::Remove => old.bits & !flags.bits,
                    };
                    assert_eq!(bits, new.bits);
                    let summary = old.summary.take();
                    *old = Message { summary, ..message(new, *modseq, old.internal_ms, old.text.clone()) };
                    into.knows(*modseq);
                }
            }
            (Op::Expunge { account, mailbox, .. }, Outcome::Expunged(uids, modseq)) => {
                if !uids.is_empty() {
                    self.rises(*account, *modseq);
                }
                if self.is_hidden(*account, *mailbox) {
                    return self.forgets(*account, uids.iter());
                }
                let into = self.mailbox(*account, *mailbox);
                let gone = |uid| into.messages.remove(uid).expect("what is expunged was there");
                let gone: Vec<Message> = uids.iter().map(gone).collect();
                if !gone.is_empty() {
                    into.knows(*modseq);
                }
                self.retains(*account, *mailbox, gone.into_iter());
            }
            (Op::Summaries { account, mailbox, items }, Outcome::Done) => {
                let into = self.mailbox(*account, *mailbox);
                for (uid, summary) in items {
                    if let Some(message) = into.messages.get_mut(uid) {
                        message.summary = Some(summary[..].into());
                    }
                }
            }
            (op, outcome) => panic!("{op:?} cannot end as {outcome:?}"),
        }
    }

    /// Copies come into a mailbox: what was asked for, and is there, once each.
    fn arrive(
        &mut self,
        (account, from, uids): (AccountId, MailboxId, &[Uid]),
        (to, outcomes): (&Target, &[Outcome]),
        uidvalidity: u32,
        pairs: &[(Uid, Uid)],
        modseq: Modseq,
    ) {
        let to = match to {
            Target::Mailbox(id) => *id,
            Target::Made(op) => match outcomes[*op] {
                Outcome::Mailbox(id, _) => id,
                ref other => panic!("{other:?} is no target"),
            },
        };
        assert!(pairs.is_sorted_by(|a, b| a.0 < b.0 && a.1 + 1 == b.1), "{pairs:?}");
        assert!(pairs.iter().all(|(uid, _)| uids.contains(uid)), "only what was asked for");
        if !pairs.is_empty() {
            self.rises(account, modseq);
        }
        self.valid(account, to, uidvalidity);
        let source = match self.is_hidden(account, from) {
            true => self.accounts[&account].brought_back(),
            false => self.mailbox(account, from).messages.clone(),
        };
        let into = self.mailbox(account, to);
        for (uid, new) in pairs {
            assert_eq!(*new, into.uidnext, "UIDs are given in order");
            let shared = into.messages.last_key_value().is_some_and(|m| m.1.modseq == modseq);
            assert!(modseq > into.highest_modseq || shared, "a new MODSEQ is the highest");
            into.uidnext = new + 1;
            into.knows(modseq);
            into.messages.insert(*new, Message { modseq, summary: None, ..source[uid].clone() });
        }
    }

    /// True for the mailbox that nobody can name.
    fn is_hidden(&self, account: AccountId, mailbox: MailboxId) -> bool {
        self.retains && !self.accounts[&account].mailboxes.contains_key(&mailbox)
    }

    /// Messages that went stay for a while.
    fn retains(&mut self, account: AccountId, from: MailboxId, gone: impl Iterator<Item = Message>) {
        if !self.retains {
            return;
        }
        let account = self.account(account);
        for message in gone {
            account.retained_last += 1;
            account.retained.insert(account.retained_last, (from, Message { summary: None, ..message }));
        }
    }

    /// What was retained is no more.
    fn forgets<'a>(&mut self, account: AccountId, uids: impl Iterator<Item = &'a Uid>) {
        let account = self.account(account);
        uids.for_each(|uid| drop(account.retained.remove(uid).expect("what goes for good was there")));
    }

    /// Octets and messages that an account keeps.
    #[must_use]
    pub fn kept(&self, account: AccountId) -> (u64, u32) {
        let mailboxes = self.accounts.get(&account).into_iter().flat_map(|a| a.mailboxes.values());
        let sizes = mailboxes.flat_map(|m| m.messages.values()).map(|message| message.text.len() as u64);
        sizes.fold((0, 0), |(bytes, messages), size| (bytes + size, messages + 1))
    }

    fn keeps_within_limits(&self, account: AccountId) {
        let (bytes, messages) = self.kept(account);
        let limits = self.accounts[&account].limits;
        assert!(limits.hold(bytes, messages), "an account keeps {bytes} octets and {messages} messages: {limits:?}");
    }

    /// True if an account might keep more than it may after some work, if nothing in it went.
    #[must_use]
    pub fn may_pass_limits(&self, work: &Work) -> bool {
        let mut more: BTreeMap<AccountId, (u64, u32)> = BTreeMap::new();
        // Whatever they are while the work is decided.
        let mut limits: Vec<(AccountId, Limits)> = self.accounts.iter().map(|(id, a)| (*id, a.limits)).collect();
        for op in &work.ops {
            match op {
                Op::Append { account, body, prefix, .. } => {
                    let more = more.entry(*account).or_default();
                    *more = (more.0 + (prefix.len() + work.texts[*body].len()) as u64, more.1 + 1);
                }
                // What is there may be copied, and with it what this work has added.
                Op::Copy { account, .. } => {
                    let (bytes, messages) = self.kept(*account);
                    let more = more.entry(*account).or_default();
                    *more = (2 * more.0 + bytes, 2 * more.1 + messages);
                }
                Op::SetLimits { account, limits: set } => limits.push((*account, *set)),
                _ => {}
            }
        }
        more.into_iter().any(|(account, (bytes, messages))| {
            let kept = self.kept(account);
            let passes = |limits: &Limits| !limits.hold(kept.0 + bytes, kept.1 + messages);
            limits.iter().any(|(id, limits)| *id == account && passes(limits))
        })
    }

    /// Messages in it.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.accounts.values().flat_map(|a| a.mailboxes.values()).map(|m| m.messages.len()).sum()
    }

    /// Where a volume that shows `found` is not as it must be; `None`: it is.
    #[must_use]
    pub fn differs(&self, found: &Model) -> Option<String> {
        if self.domains != found.domains {
            return Some(format!("domains are {:?}, not {:?}", found.domains.keys(), self.domains.keys()));
        }
        if !self.accounts.keys().eq(found.accounts.keys()) {
            return Some(format!("accounts are {:?}, not {:?}", found.accounts.keys(), self.accounts.keys()));
        }
        self.accounts.iter().zip(found.accounts.values()).find_map(|((id, known), found)| {
            if Rc::ptr_eq(known, found) {
                None
            } else {
                known.differs(found).map(|why| format!("account {}: {why}", id.0))
            }
        })
    }
}

impl Account {
    /// What was retained, as it is when it is brought back: not about to be expunged again.
    fn brought_back(&self) -> BTreeMap<Uid, Message> {
        let back = |m: &Message| Message { bits: m.bits & !Flags::DELETED, ..m.clone() };
        self.retained.iter().map(|(uid, (_, message))| (*uid, back(message))).collect()
    }

    fn differs(&self, found: &Account) -> Option<String> {
        if (&self.name, &self.secrets) != (&found.name, &found.secrets) {
            let facts = |a: &Account| (a.name.clone(), String::from_utf8_lossy(&a.secrets).into_owned());
            return Some(format!("(name, secrets) is {:?}, not {:?}", facts(found), facts(self)));
        }
        if self.subscriptions != found.subscriptions {
            return Some(format!("subscriptions are {:?}, not {:?}", found.subscriptions, self.subscriptions));
        }
        if !self.mailboxes.keys().eq(found.mailboxes.keys()) {
            return Some(format!("mailboxes are {:?}, not {:?}", found.mailboxes.keys(), self.mailboxes.keys()));
        }
        let kept = |a: &Account| -> Vec<(Uid, MailboxId)> {
            a.retained.iter().map(|(uid, (from, _))| (*uid, *from)).collect()
        };
        if (kept(self), self.retained_last) != (kept(found), found.retained_last) {
            return Some(format!("retained is {:?}, not {:?}", kept(found), kept(self)));
        }
        for ((uid, (_, known)), (_, found)) in self.retained.iter().zip(found.retained.values()) {
            // Of the change that had it retained.
            let known = Message { modseq: found.modseq, ..known.clone() };
            if let Some(why) = known.differs(found) {
                return Some(format!("retained message {uid}: {why}"));
            }
        }
        let mut all = self.mailboxes.iter().zip(found.mailboxes.values());
        all.find_map(|((id, known), found)| known.differs(found).map(|why| format!("mailbox {}: {why}", id.0)))
    }
}

impl Mailbox {
    fn knows(&mut self, modseq: Modseq) {
        self.highest_modseq = modseq;
        self.exact = true;
    }

    fn differs(&self, found: &Mailbox) -> Option<String> {
        let modseqs = if self.exact {
            self.highest_modseq == found.highest_modseq
        } else {
            self.highest_modseq <= found.highest_modseq
        };
        let facts = |m: &Mailbox| (m.name.clone(), m.uidvalidity, m.uidnext, m.highest_modseq);
        let validity = self.uidvalidity == 0 || self.uidvalidity == found.uidvalidity;
        if !modseqs || !validity || (&self.name, self.uidnext) != (&found.name, found.uidnext) {
            return Some(format!(
                "(name, UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ) is {:?}, not {:?}",
                facts(found),
                facts(self)
            ));
        }
        if !self.messages.keys().eq(found.messages.keys()) {
            return Some(format!("UIDs are {:?}, not {:?}", found.messages.keys(), self.messages.keys()));
        }
        let mut all = self.messages.iter().zip(found.messages.values());
        all.find_map(|((uid, known), found)| known.differs(found).map(|why| format!("UID {uid}: {why}")))
    }
}

impl Message {
    fn differs(&self, found: &Message) -> Option<String> {
        let facts = |m: &Message| (m.modseq, m.bits, m.keywords.clone(), m.internal_ms, m.text.len());
        if facts(self) != facts(found) {
            let what = "(MODSEQ, flags, keywords, INTERNALDATE, octets)";
            return Some(format!("{what} is {:?}, not {:?}", facts(found), facts(self)));
        }
        if self.text != found.text {
            return Some("its octets are others".to_owned());
        }
        (self.summary != found.summary).then(|| format!("summary is {:?}, not {:?}", found.summary, self.summary))
    }
}

/// A message with these flags.
pub(super) fn message(flags: &Flags, modseq: Modseq, internal_ms: i64, text: Rc<[u8]>) -> Message {
    let keywords = flags.keywords().iter().map(ToString::to_string).collect();
    Message { modseq, bits: flags.bits, keywords, internal_ms, text, summary: None }
}
