//! Accounts come into memory and leave it, are folded and killed, at any moment: nobody sees a difference.
#![cfg(feature = "sim")]

mod support;

use proptest::prelude::*;
use ringpost_storage::{
    AccountId, Body, Flags, FlagsHow, Loaded, MailboxId, Op, Outcome, Refused, Settings, Target, Transaction, Uid,
};
use support::*;

/// What happens next. Accounts, mailboxes and UIDs are small numbers, so that they meet.
#[derive(Clone, Debug)]
enum Next {
    Deliver {
        account: usize,
        mailbox: u32,
        keyword: Option<u8>,
    },
    Store {
        account: usize,
        mailbox: u32,
        from: Uid,
        count: u32,
        keyword: Option<u8>,
        add: bool,
    },
    Expunge {
        account: usize,
        mailbox: u32,
        from: Uid,
        count: u32,
    },
    Copy {
        account: usize,
        mailbox: u32,
        to: u32,
        from: Uid,
        count: u32,
        moves: bool,
    },
    Summaries {
        account: usize,
        mailbox: u32,
        from: Uid,
        count: u32,
        text: u8,
    },
    Make {
        account: usize,
        name: u8,
    },
    Remove {
        account: usize,
        name: u8,
    },
    Rename {
        account: usize,
        name: u8,
        to: u8,
    },
    Subscribe {
        account: usize,
        name: u8,
        on: bool,
    },
    /// These happen to one of the two houses alone.
    Fold {
        account: usize,
    },
    Hold {
        account: usize,
    },
    LetGo,
    Kill,
}

fn next() -> impl Strategy<Value = Next> {
    let account = 0usize..3;
    let (mailbox, uid, count) = (1u32..5, 1u32..40, 1u32..12);
    let keyword = prop_oneof![2 => Just(None), 1 => (0u8..4).prop_map(Some)];
    let name = 0u8..4;
    prop_oneof![
        8 => (account.clone(), mailbox.clone(), keyword.clone())
            .prop_map(|(account, mailbox, keyword)| Next::Deliver { account, mailbox, keyword }),
        3 => (account.clone(), mailbox.clone(), uid.clone(), count.clone(), keyword, any::<bool>())
            .prop_map(|(account, mailbox, from, count, keyword, add)| Next::Store { account, mailbox, from, count, keyword, add }),
        2 => (account.clone(), mailbox.clone(), uid.clone(), count.clone())
            .prop_map(|(account, mailbox, from, count)| Next::Expunge { account, mailbox, from, count }),
        2 => (account.clone(), mailbox.clone(), mailbox.clone(), uid.clone(), count.clone(), any::<bool>())
            .prop_map(|(account, mailbox, to, from, count, moves)| Next::Copy { account, mailbox, to, from, count, moves }),
        2 => (account.clone(), mailbox, uid, count, any::<u8>())
            .prop_map(|(account, mailbox, from, count, text)| Next::Summaries { account, mailbox, from, count, text }),
        1 => (account.clone(), name.clone()).prop_map(|(account, name)| Next::Make { account, name }),
        1 => (account.clone(), name.clone()).prop_map(|(account, name)| Next::Remove { account, name }),
        1 => (account.clone(), name.clone(), name.clone()).prop_map(|(account, name, to)| Next::Rename { account, name, to }),
        1 => (account.clone(), name, any::<bool>()).prop_map(|(account, name, on)| Next::Subscribe { account, name, on }),
        4 => account.clone().prop_map(|account| Next::Fold { account }),
        3 => account.prop_map(|account| Next::Hold { account }),
        3 => Just(Next::LetGo),
        1 => Just(Next::Kill),
    ]
}

/// A volume, and who holds its accounts.
struct House {
    open: Open,
    accounts: Vec<AccountId>,
    held: Vec<Loaded<ringpost_storage::sim::SimDisk>>,
    disk: ringpost_storage::sim::SimDisk,
    settings: Settings,
}

impl House {
    fn new(settings: Settings) -> House {
        let disk = made();
        let mut open = try_open_with(&disk, settings.clone()).unwrap();
        let accounts = (0..3).map(|n| open.account(&format!("p{n}@x"))).collect();
        House { open, accounts, held: Vec::new(), disk, settings }
    }

    fn load(&mut self, account: usize) -> Loaded<ringpost_storage::sim::SimDisk> {
        block_on(self.open.volume.load(self.accounts[account])).unwrap().unwrap()
    }

    /// What comes of it, as far as it is to be the same everywhere.
    fn does(&mut self, next: &Next) -> String {
        let uids = |from: Uid, count: u32| (from..from + count).collect::<Vec<Uid>>();
        let flags = |keyword: &Option<u8>| Flags {
            bits: Flags::SEEN,
            keywords: keyword.map(|k| std::rc::Rc::new(vec![format!("word{k}").into_boxed_str()])),
        };
        let named = |held: &Loaded<_>, name: u8| held.mailbox_named(&format!("Folder {name}")).unwrap_or(MailboxId(99));
        let mut bodies = Vec::new();
        let (of, op) = match *next {
            Next::Deliver { account, mailbox, ref keyword } => {
                bodies.push(Body::from(vec![b'x'; 100]));
                let id = self.accounts[account];
                let (mailbox, flags) = (MailboxId(mailbox), flags(keyword));
                (account, Op::Append { account: id, mailbox, body: 0, prefix: vec![b'p'; 9], flags, internal_ms: 5 })
            }
            Next::Store { account, mailbox, from, count, ref keyword, add } => {
                let how = if add { FlagsHow::Add } else { FlagsHow::Replace };
                let (account_id, mailbox) = (self.accounts[account], MailboxId(mailbox));
                let (uids, flags) = (uids(from, count), flags(keyword));
                (account, Op::StoreFlags { account: account_id, mailbox, uids, how, flags, unchanged_since: None })
            }
            Next::Expunge { account, mailbox, from, count } => {
                let uids = uids(from, count);
                (account, Op::Expunge { account: self.accounts[account], mailbox: MailboxId(mailbox), uids })
            }
            Next::Copy { account, mailbox, to, from, count, moves } => {
                let (id, from_mailbox, to) =
                    (self.accounts[account], MailboxId(mailbox), Target::Mailbox(MailboxId(to)));
                let uids = uids(from, count);
                let op = if moves {
                    Op::Move { account: id, from: from_mailbox, uids, to }
                } else {
                    Op::Copy { account: id, from: from_mailbox, uids, to }
                };
                (account, op)
            }
            Next::Summaries { account, mailbox, from, count, text } => {
                let items = uids(from, count).into_iter().map(|uid| (uid, vec![text; 30])).collect();
                (account, Op::Summaries { account: self.accounts[account], mailbox: MailboxId(mailbox), items })
            }
            Next::Make { account, name } => {
                let name = format!("Folder {name}");
                (account, Op::CreateMailbox { account: self.accounts[account], name, special_use: 0, subscribed: true })
            }
            Next::Remove { account, name } => {
                let mailbox = named(&self.load(account), name);
                let name = format!("Folder {name}");
                (account, Op::RemoveMailbox { account: self.accounts[account], mailbox, name })
            }
            Next::Rename { account, name, to } => {
                let mailbox = named(&self.load(account), name);
                let (from, name) = (format!("Folder {name}"), format!("Folder {to}"));
                (account, Op::RenameMailbox { account: self.accounts[account], mailbox, from, name })
            }
            Next::Subscribe { account, name, on } => {
                (account, Op::Subscribe { account: self.accounts[account], name: format!("Folder {name}"), on })
            }
            Next::Fold { .. } | Next::Hold { .. } | Next::LetGo | Next::Kill => return String::new(),
        };
        let inbox = matches!(op, Op::Append { mailbox: INBOX, .. });
        let held = (!inbox).then(|| self.load(of));
        let decided = self.open.volume.decide(Transaction { bodies, ops: vec![op] }, NOW_MS);
        drop(held);
        self.open.tasks.settle();
        let outcomes: Result<Vec<Outcome>, Refused> = decided.map(|d| d.outcomes);
        format!("{outcomes:?}")
    }

    /// What only one house does.
    fn suffers(&mut self, next: &Next) {
        match *next {
            Next::Fold { account } => {
                let (volume, id) = (self.open.volume.clone(), self.accounts[account]);
                self.open.tasks.spawn(async move {
                    let _done = volume.fold(id).await.unwrap();
                });
                self.open.tasks.settle();
            }
            Next::Hold { account } => {
                let held = self.load(account);
                self.held.push(held);
            }
            Next::LetGo => drop(self.held.pop()),
            Next::Kill => {
                self.held.clear();
                self.disk = self.disk.kill();
                self.open = try_open_with(&self.disk, self.settings.clone()).unwrap();
                self.open.held.clear();
            }
            _ => {}
        }
    }

    /// All of an account but where it lies and what it forgot.
    fn shows(&mut self, account: usize) -> String {
        let held = self.load(account);
        let mut out = format!("{:?}\n", held.subscriptions());
        for info in held.mailboxes() {
            let row = |m: &ringpost_storage::Message| {
                format!("{:?}", (m.uid, m.modseq, m.internal_ms, m.size(), m.saved_ms(), m.flags()))
            };
            let (facts, uids) = held
                .mailbox(info.id, |m| {
                    let rows: Vec<String> = m.messages().iter().map(row).collect();
                    let facts = format!("{:?} {rows:?}", (m.uidnext(), m.highest_modseq()));
                    (facts, m.messages().iter().map(|m| m.uid).collect::<Vec<Uid>>())
                })
                .unwrap();
            out += &format!("{info:?} {facts} {:?}\n", block_on(held.summaries(info.id, &uids)));
        }
        out
    }

    /// Expunges of a mailbox since a MODSEQ, where they are known.
    fn vanished(&mut self, account: usize, since: u64) -> Vec<Option<Vec<Uid>>> {
        let held = self.load(account);
        let ids: Vec<MailboxId> = held.mailboxes().iter().map(|info| info.id).collect();
        ids.into_iter().map(|id| held.mailbox(id, |m| m.expunged_since(since)).unwrap()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn who_leaves_memory_comes_back_as_he_was(all in proptest::collection::vec(next(), 1..120), bytes in 0usize..20_000) {
        let mut quiet = House::new(settings());
        let mut restless = House::new(Settings { index_bytes_max: bytes, ..settings() });
        for next in &all {
            restless.suffers(next);
            prop_assert_eq!(quiet.does(next), restless.does(next), "{:?}", next);
            prop_assert_eq!(quiet.open.volume.stats().accounts, restless.open.volume.stats().accounts);
        }
        for account in 0..3 {
            prop_assert_eq!(quiet.shows(account), restless.shows(account));
            for since in [0, 3, 10, 30] {
                for (all, known) in quiet.vanished(account, since).into_iter().zip(restless.vanished(account, since)) {
                    prop_assert!(known.is_none() || known == all, "{:?} {:?}", known, all);
                }
            }
        }
        restless.held.clear();
        let stats = restless.open.volume.stats();
        prop_assert!(stats.accounts_loaded_bytes <= bytes as u64, "{:?}", stats);
        // The estimate did not drift: without accounts there is nothing.
        prop_assert_eq!(stats.accounts_loaded == 0, stats.accounts_loaded_bytes == 0);
    }
}

#[test]
fn those_looked_at_longest_ago_leave_first() {
    let disk = made();
    let mut v = try_open_with(&disk, Settings { index_bytes_max: 0, ..settings() }).unwrap();
    let people: Vec<AccountId> = (0..4).map(|n| v.account(&format!("p{n}@x"))).collect();
    assert_eq!(v.volume.stats().accounts_loaded, 0, "nobody holds them");
    drop(v);
    let mut v = try_open_with(&disk, settings()).unwrap();
    v.held.clear();
    let of = |v: &Open, id| block_on(v.volume.load(id)).unwrap().unwrap();
    let one = v.volume.stats().accounts_loaded_bytes / 4;
    drop(v);
    let budget = usize::try_from(one * 3).unwrap() + 100;
    let v =
        Open { held: Vec::new(), ..try_open_with(&disk, Settings { index_bytes_max: budget, ..settings() }).unwrap() };
    people.iter().for_each(|id| drop(of(&v, *id)));
    assert_eq!(v.volume.stats().accounts_loaded, 3);
    assert!(v.volume.mailboxes(people[0]).is_empty() && !v.volume.mailboxes(people[1]).is_empty());
    let held = of(&v, people[1]);
    drop(of(&v, people[0]));
    drop(of(&v, people[2]));
    drop(of(&v, people[3]));
    assert!(!held.mailboxes().is_empty(), "who is held stays");
    assert_eq!(v.volume.stats().accounts_loaded, 3);
}
