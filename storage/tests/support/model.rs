//! The model: what a volume must hold after a sequence of transactions, written without looking at the volume.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use ringpost_storage::sim::SimDisk;
use ringpost_storage::{
    AccountId, Changed, Flags, FlagsHow, MailboxId, Modseq, Op, Outcome, Target, Transaction, Uid, Volume,
};

use super::block_on;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub domains: BTreeMap<String, Vec<u8>>,
    pub accounts: BTreeMap<AccountId, Account>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub secrets: Vec<u8>,
    pub mailboxes: BTreeMap<MailboxId, Mailbox>,
    pub subscriptions: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    pub name: String,
    /// INBOX's is told by no outcome: 0 here, and not compared.
    pub uidvalidity: u32,
    pub uidnext: Uid,
    /// 0 after a change whose MODSEQ no outcome tells, and then not compared.
    pub highest_modseq: Modseq,
    pub messages: BTreeMap<Uid, Message>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub modseq: Modseq,
    pub bits: u32,
    pub keywords: Vec<String>,
    pub internal_ms: i64,
    pub text: u64,
}

pub fn hash(bytes: &[u8]) -> u64 {
    // SipHash: not the volume's own hash.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

impl Model {
    /// What must be true after this transaction. `outcomes` are the numbers the volume chose.
    pub fn after(&self, transaction: &Transaction, outcomes: &[Outcome]) -> Model {
        let mut model = self.clone();
        for (op, outcome) in transaction.ops.iter().zip(outcomes) {
            model.step(transaction, op, outcome, outcomes);
        }
        model
    }

    fn mailbox(&mut self, account: &AccountId, mailbox: &MailboxId) -> &mut Mailbox {
        self.accounts.get_mut(account).unwrap().mailboxes.get_mut(mailbox).unwrap()
    }

    fn named(&self, account: AccountId, name: &str) -> bool {
        self.accounts[&account].mailboxes.values().any(|m| m.name == name)
    }

    fn step(&mut self, transaction: &Transaction, op: &Op, outcome: &Outcome, outcomes: &[Outcome]) {
        match (op, outcome) {
            (Op::PutDomain { name, info }, _) => {
                self.domains.insert(name.clone(), info.clone());
            }
            (Op::RemoveDomain { name }, _) => {
                self.domains.remove(name);
            }
            (Op::PutAccount { name, secrets, mailboxes }, Outcome::Account(id)) => {
                let account = self.accounts.entry(*id).or_insert_with(|| {
                    let names =
                        || std::iter::once("INBOX").chain(mailboxes.iter().map(|m| &*m.name)).map(str::to_owned);
                    let mailbox = |name| Mailbox { name, uidnext: 1, ..Mailbox::default() };
                    Account {
                        name: name.clone(),
                        mailboxes: (1..).map(MailboxId).zip(names().map(mailbox)).collect(),
                        subscriptions: names().collect(),
                        ..Account::default()
                    }
                });
                assert_eq!(account.name, *name);
                account.secrets.clone_from(secrets);
            }
            (Op::RemoveAccount { account }, _) => {
                self.accounts.remove(account);
            }
            (Op::CreateMailbox { account, name, subscribed, .. }, Outcome::Mailbox(id, uidvalidity)) => {
                assert!(!self.named(*account, name), "names are taken once");
                if *subscribed {
                    self.accounts.get_mut(account).unwrap().subscriptions.insert(name.clone());
                }
                let boxes = &mut self.accounts.get_mut(account).unwrap().mailboxes;
                let made = Mailbox { name: name.clone(), uidvalidity: *uidvalidity, uidnext: 1, ..Mailbox::default() };
                assert!(boxes.insert(*id, made).is_none(), "mailbox ids are new");
            }
            (Op::RenameMailbox { account, mailbox, from, name }, Outcome::Done) => {
                assert!(!self.named(*account, name), "names are taken once");
                let renamed = self.mailbox(account, mailbox);
                assert_eq!(renamed.name, *from);
                renamed.name.clone_from(name);
                renamed.highest_modseq = 0;
            }
            (Op::Subscribe { account, name, on }, Outcome::Done) => {
                let subscriptions = &mut self.accounts.get_mut(account).unwrap().subscriptions;
                if *on {
                    subscriptions.insert(name.clone())
                } else {
                    subscriptions.remove(name)
                };
            }
            (Op::Copy { account, from, uids, to }, Outcome::Copied { uidvalidity, pairs, modseq }) => {
                self.arrive((*account, *from, uids), (to, outcomes), *uidvalidity, pairs, *modseq);
            }
            (Op::Move { account, from, uids, to }, Outcome::Moved { uidvalidity, pairs, modseq }) => {
                self.arrive((*account, *from, uids), (to, outcomes), *uidvalidity, pairs, *modseq);
                let left = self.mailbox(account, from);
                for (uid, _) in pairs {
                    left.messages.remove(uid).unwrap();
                    left.highest_modseq = *modseq;
                }
            }
            (Op::RemoveMailbox { account, mailbox, name }, _) => {
                let gone = self.accounts.get_mut(account).unwrap().mailboxes.remove(mailbox);
                assert_eq!(gone.unwrap().name, *name);
            }
            (
                Op::Append { account, mailbox, body, prefix, flags, internal_ms },
                Outcome::Appended { uid, uidvalidity, modseq },
            ) => {
                let mut bytes = prefix.clone();
                transaction.bodies[*body].parts().for_each(|p| bytes.extend_from_slice(p));
                let into = self.mailbox(account, mailbox);
                assert!(into.uidvalidity == 0 || into.uidvalidity == *uidvalidity);
                assert_eq!(*uid, into.uidnext, "UIDs are given in order");
                assert!(*modseq > into.highest_modseq);
                into.uidnext = uid + 1;
                into.highest_modseq = *modseq;
                into.messages.insert(*uid, message(flags, *modseq, *internal_ms, hash(&bytes)));
            }
            (Op::StoreFlags { account, mailbox, how, flags, .. }, Outcome::Stored { changed, .. }) => {
                let into = self.mailbox(account, mailbox);
                for Changed { uid, flags: new, modseq, .. } in changed {
                    let old = into.messages.get_mut(uid).unwrap();
                    let bits = match how {
                        FlagsHow::Replace => flags.bits,
                        FlagsHow::Add => old.bits | flags.bits,
                        FlagsHow::Remove => old.bits & !flags.bits,
                    };
                    assert_eq!(bits, new.bits);
                    *old = message(new, *modseq, old.internal_ms, old.text);
                    into.highest_modseq = *modseq;
                }
            }
            (Op::Expunge { account, mailbox, .. }, Outcome::Expunged(uids, modseq)) => {
                let into = self.mailbox(account, mailbox);
                for uid in uids {
                    into.messages.remove(uid).unwrap();
                    into.highest_modseq = *modseq;
                }
            }
            (Op::Summaries { .. }, Outcome::Done) => {}
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
        assert!(pairs.iter().all(|(uid, _)| uids.contains(uid)));
        let source = self.mailbox(&account, &from).messages.clone();
        let into = self.mailbox(&account, &to);
        assert!(into.uidvalidity == 0 || into.uidvalidity == uidvalidity);
        for (uid, new) in pairs {
            assert_eq!(*new, into.uidnext, "UIDs are given in order");
            assert!(
                modseq > into.highest_modseq || into.messages.last_key_value().is_some_and(|m| m.1.modseq == modseq)
            );
            into.uidnext = new + 1;
            into.highest_modseq = modseq;
            into.messages.insert(*new, Message { modseq, ..source[uid].clone() });
        }
    }

    /// What a volume shows, every message read.
    pub fn of(volume: &Volume<SimDisk>) -> Model {
        let domains = volume.domains().into_iter().map(|(name, info)| (name, info.to_vec())).collect();
        let mut model = Model { domains, ..Model::default() };
        for info in super::block_on(volume.accounts()).expect("all accounts can be read") {
            let mut account = Account { name: info.name, secrets: info.secrets.to_vec(), ..Account::default() };
            account.subscriptions = volume.subscriptions(info.id).into_iter().collect();
            for mailbox in volume.mailboxes(info.id) {
                assert_eq!(mailbox.subscribed, account.subscriptions.contains(&mailbox.name), "{}", mailbox.name);
                account.mailboxes.insert(mailbox.id, shown(volume, info.id, mailbox.id));
            }
            model.accounts.insert(info.id, account);
        }
        model
    }

    /// Mailboxes made get their first MODSEQ from the account, which no outcome tells; nor does one tell the UIDVALIDITY of
    /// those that are made with their account.
    pub fn same(&self, found: &Model) -> bool {
        let plain = |model: &Model| {
            let mut model = model.clone();
            for mailbox in model.accounts.values_mut().flat_map(|a| a.mailboxes.values_mut()) {
                if mailbox.uidnext == 1 {
                    mailbox.highest_modseq = 0;
                }
            }
            model
        };
        let mut found = plain(found);
        for (id, account) in &self.accounts {
            let Some(found) = found.accounts.get_mut(id) else { continue };
            for (mailbox, known) in &account.mailboxes {
                let Some(found) = found.mailboxes.get_mut(mailbox) else { continue };
                if known.highest_modseq == 0 {
                    found.highest_modseq = 0;
                }
                if known.uidvalidity == 0 {
                    found.uidvalidity = 0;
                }
            }
        }
        plain(self) == found
    }
}

fn message(flags: &Flags, modseq: Modseq, internal_ms: i64, text: u64) -> Message {
    let keywords = flags.keywords().iter().map(|k| k.to_string()).collect();
    Message { modseq, bits: flags.bits, keywords, internal_ms, text }
}

fn shown(volume: &Volume<SimDisk>, account: AccountId, id: MailboxId) -> Mailbox {
    let (mut mailbox, messages) = volume
        .mailbox(account, id, |m| {
            let mailbox = Mailbox {
                name: m.info().name.clone(),
                uidvalidity: m.info().uidvalidity,
                uidnext: m.uidnext(),
                highest_modseq: m.highest_modseq(),
                ..Mailbox::default()
            };
            (mailbox, m.messages().to_vec())
        })
        .unwrap();
    for m in messages {
        let text = block_on(volume.read(&m)).expect("every message reads");
        assert_eq!(text.len() as u64, m.size);
        mailbox.messages.insert(m.uid, message(&m.flags, m.modseq, m.internal_ms, hash(&text)));
    }
    mailbox
}
