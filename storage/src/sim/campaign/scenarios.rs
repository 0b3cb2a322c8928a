//! Named scenarios: short stories that do one thing a volume can do, step by step, on a disk that may fail at any of them.
//!
//! A step that is refused, or has nothing to work on because an earlier one was refused, is passed over.

use super::iofail::Stage;
use super::model::{Mailbox, Model};
use super::work::text;
use crate::{AccountId, Flags, FlagsHow, MailboxId, NewMailbox, Op, Target, Uid};

const INBOX: MailboxId = MailboxId::INBOX;

/// A name, and what happens.
pub type Scenario = (&'static str, fn(&mut Stage));

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    ("making", |s| s.open()),
    ("opening an empty one", |s| {
        s.open();
        s.reopen();
    }),
    ("a letter", |s| {
        begin(s);
        letter(s, 900);
    }),
    ("letters one by one", |s| {
        begin(s);
        for n in 0..4 {
            letter(s, 500 * n);
        }
    }),
    ("letters at once", |s| {
        begin(s);
        for n in 0..6 {
            letter_waiting(s, 300 * n);
        }
        s.settle();
    }),
    ("letters that gather while one is on its way", |s| {
        begin(s);
        letter_waiting(s, 10);
        s.turns(2);
        for n in 0..4 {
            letter_waiting(s, 100 * n);
            s.turns(1);
        }
        s.settle();
    }),
    ("a letter for several", |s| {
        begin(s);
        put(s, "b@x");
        s.work(vec![text(700, 1)], |m| {
            let append = |(n, account): (usize, &AccountId)| append(*account, INBOX, format!("To: {n}\r\n").as_bytes());
            Some(m.accounts.keys().enumerate().map(append).collect())
        });
    }),
    ("a large letter", |s| {
        begin(s);
        letter(s, 30_000);
    }),
    ("a segment ends", |s| {
        begin(s);
        for _ in 0..5 {
            letter(s, 20_000);
        }
    }),
    ("flags", |s| {
        begin(s);
        letter(s, 100);
        letter(s, 100);
        for (how, bits) in [(FlagsHow::Add, 3), (FlagsHow::Remove, 1), (FlagsHow::Replace, 4)] {
            s.work(vec![], |m| {
                let (account, uids) = inbox(m)?;
                let flags = Flags { bits, keywords: Some(vec!["k".into()].into()) };
                Some(vec![Op::StoreFlags { account, mailbox: INBOX, uids, how, flags, unchanged_since: None }])
            });
        }
    }),
    ("expunge", |s| {
        begin(s);
        letter(s, 100);
        letter(s, 100);
        s.work(vec![], |m| {
            let (account, uids) = inbox(m)?;
            Some(vec![Op::Expunge { account, mailbox: INBOX, uids: uids[..1].to_vec() }])
        });
        letter(s, 100);
    }),
    ("copy", |s| {
        begin(s);
        letter(s, 100);
        s.work(vec![], |m| {
            let (account, uids) = inbox(m)?;
            let to = Target::Mailbox(MailboxId(2));
            Some(vec![Op::Copy { account, from: INBOX, uids, to }])
        });
    }),
    ("move", |s| {
        begin(s);
        letter(s, 100);
        letter(s, 100);
        s.work(vec![], |m| {
            let (account, uids) = inbox(m)?;
            let to = Target::Mailbox(MailboxId(2));
            Some(vec![Op::Move { account, from: INBOX, uids, to }])
        });
        letter(s, 100);
    }),
    ("move into a mailbox made for it", |s| {
        begin(s);
        letter(s, 100);
        s.work(vec![], |m| {
            let (account, uids) = inbox(m)?;
            let made = Op::CreateMailbox { account, name: "new".into(), special_use: 0, subscribed: true };
            Some(vec![made, Op::Move { account, from: INBOX, uids, to: Target::Made(0) }])
        });
    }),
    ("mailboxes come and go", |s| {
        begin(s);
        mailbox(s, "one");
        mailbox(s, "two");
        s.work(vec![], |m| {
            let (account, (mailbox, found)) = (first(m)?, named(m, "one")?);
            Some(vec![Op::RemoveMailbox { account, mailbox, name: found.name.clone() }])
        });
        mailbox(s, "one");
    }),
    ("rename", |s| {
        begin(s);
        mailbox(s, "one");
        s.work(vec![], |m| {
            let (account, (mailbox, found)) = (first(m)?, named(m, "one")?);
            Some(vec![Op::RenameMailbox { account, mailbox, from: found.name.clone(), name: "other".into() }])
        });
    }),
    ("subscriptions", |s| {
        begin(s);
        for on in [true, false, true] {
            s.work(vec![], |m| Some(vec![Op::Subscribe { account: first(m)?, name: "there".into(), on }]));
        }
    }),
    ("accounts come and go", |s| {
        begin(s);
        letter(s, 100);
        put(s, "b@x");
        s.work(vec![], |m| Some(vec![Op::RemoveAccount { account: first(m)? }]));
        put(s, "a@x");
        letter(s, 100);
    }),
    ("domains", |s| {
        s.open();
        s.work(vec![], |_| Some(vec![Op::PutDomain { name: "d.test".into(), info: b"1".to_vec() }]));
        s.work(vec![], |_| Some(vec![Op::PutDomain { name: "d.test".into(), info: b"2".to_vec() }]));
        s.work(vec![], |_| Some(vec![Op::RemoveDomain { name: "d.test".into() }]));
    }),
    ("summaries", |s| {
        begin(s);
        letter(s, 100);
        letter(s, 100);
        s.work(vec![], |m| {
            let (account, uids) = inbox(m)?;
            let items = uids.into_iter().map(|uid| (uid, text(30, u64::from(uid)))).collect();
            Some(vec![Op::Summaries { account, mailbox: INBOX, items }])
        });
    }),
    ("heartbeats", |s| {
        begin(s);
        letter(s, 100);
        s.heartbeat();
        letter(s, 100);
        s.heartbeat();
        s.heartbeat();
    }),
    ("closing and opening", |s| {
        begin(s);
        letter(s, 100);
        s.close();
        s.reopen();
        letter(s, 100);
        s.close();
        s.reopen();
    }),
    ("closing with work to do", |s| {
        begin(s);
        letter_waiting(s, 100);
        letter_waiting(s, 100);
        s.close();
    }),
    ("fold", |s| {
        begin(s);
        letter(s, 100);
        letter(s, 700);
        s.fold();
        letter(s, 100);
        s.fold();
        s.reopen();
        s.look();
    }),
    ("compaction", |s| {
        begin(s);
        for _ in 0..6 {
            letter(s, 25_000);
        }
        s.work(vec![], |m| {
            let (account, uids) = inbox(m)?;
            Some(vec![Op::Expunge {
                account,
                mailbox: INBOX,
                uids: uids.into_iter().filter(|uid| uid % 3 != 0).collect(),
            }])
        });
        s.compact();
        s.look();
        letter(s, 30_000);
        letter(s, 30_000);
    }),
    ("killed and opened", |s| {
        begin(s);
        letter(s, 100);
        letter_waiting(s, 2_000);
        s.turns(6);
        s.kill();
        s.reopen();
        letter(s, 100);
    }),
    ("a power cut with a torn tail", |s| {
        begin(s);
        letter(s, 100);
        letter_waiting(s, 9_000);
        s.turns(6);
        s.cut();
        s.reopen();
        letter(s, 100);
    }),
    ("a power cut while a segment is begun", |s| {
        begin(s);
        for _ in 0..2 {
            letter(s, 25_000);
        }
        letter_waiting(s, 25_000);
        s.turns(5);
        s.cut();
        s.reopen();
        letter(s, 100);
    }),
    ("reading", |s| {
        begin(s);
        letter(s, 100);
        letter(s, 5_000);
        s.look();
        s.reopen();
        s.look();
    }),
];

fn begin(s: &mut Stage) {
    s.open();
    put(s, "a@x");
}

fn put(s: &mut Stage, name: &str) {
    let mailboxes = vec![NewMailbox { name: "Archive".into(), special_use: 1 }];
    let name = name.to_owned();
    s.work(vec![], |_| {
        Some(vec![Op::PutAccount { name, secrets: b"secret".to_vec(), mailboxes, limits: crate::Limits::NONE }])
    });
}

fn append(account: AccountId, mailbox: MailboxId, prefix: &[u8]) -> Op {
    Op::Append { account, mailbox, body: 0, prefix: prefix.to_vec(), flags: Flags::none(), internal_ms: 7 }
}

fn letter_waiting(s: &mut Stage, octets: usize) {
    s.begin(vec![text(octets, octets as u64)], |m| Some(vec![append(first(m)?, INBOX, b"To: x\r\n")]));
}

fn letter(s: &mut Stage, octets: usize) {
    letter_waiting(s, octets);
    s.settle();
}

fn mailbox(s: &mut Stage, name: &str) {
    let (name, special_use, subscribed) = (name.to_owned(), 0, true);
    s.work(vec![], |m| Some(vec![Op::CreateMailbox { account: first(m)?, name, special_use, subscribed }]));
}

fn first(m: &Model) -> Option<AccountId> {
    m.accounts.keys().next().copied()
}

fn named<'a>(m: &'a Model, name: &str) -> Option<(MailboxId, &'a Mailbox)> {
    let account = m.accounts.values().next()?;
    account.mailboxes.iter().find(|(_, m)| m.name == name).map(|(id, m)| (*id, &**m))
}

fn inbox(m: &Model) -> Option<(AccountId, Vec<Uid>)> {
    let (id, account) = m.accounts.first_key_value()?;
    let uids: Vec<Uid> = account.mailboxes.get(&INBOX)?.messages.keys().copied().collect();
    (!uids.is_empty()).then_some((*id, uids))
}
