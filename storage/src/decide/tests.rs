//! What only the inside can show: numbers at their end, and what `decide` still remembers.

use super::*;
use crate::index::Mailbox;
use crate::sim::SimDisk;
use crate::transaction::Target;
use crate::volume::{Create, Settings};
use crate::{commit, recover};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("this disk never waits"),
    }
}

/// Decides, and commits what was decided.
type Commit<'a> = &'a mut dyn FnMut(Vec<Op>) -> Result<Vec<Outcome>, Refused>;

/// A volume with one account and its two letters; each transaction has a body of one octet.
fn told(test: impl FnOnce(&Inner<SimDisk>, AccountId, Commit<'_>)) {
    let segment_bytes = crate::segment::BLOCK_BYTES << 8;
    let facts = Create { store: uuid::Uuid::nil(), volume: 1, volumes: 1, segment_bytes, seed: 7 };
    let settings = Settings {
        gather_bytes_max: 8 << 20,
        batch_bytes_max: 1 << 20,
        free_bytes_min: 0,
        checkpoint_bytes: 0,
        ..Settings::DEFAULT
    };
    let disk = SimDisk::new(1);
    ready(recover::create(&disk, &facts)).unwrap();
    let (inner, _) = ready(recover::open(disk, None, settings)).unwrap();
    let mut looped = pin!(commit::run(&inner, || std::future::ready(())));
    let mut commit = |ops: Vec<Op>| {
        let decided = inner.decide(Transaction { bodies: vec![b"x".to_vec().into()], ops }, 5_000, None);
        assert!(looped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        decided.map(|d| d.outcomes)
    };
    let put = Op::PutAccount { name: "a@x".into(), secrets: vec![], mailboxes: vec![], limits: crate::Limits::NONE };
    let Outcome::Account(account) = commit(vec![put]).unwrap()[0] else { panic!() };
    commit(vec![append(account), append(account)]).unwrap();
    test(&inner, account, &mut commit);
}

fn append(account: AccountId) -> Op {
    Op::Append { account, mailbox: MailboxId::INBOX, body: 0, prefix: vec![], flags: Flags::none(), internal_ms: 1 }
}

#[test]
fn a_mailbox_whose_uids_are_used_up_says_so_and_another_takes_the_letter() {
    told(|inner, account, commit| {
        let inbox = MailboxId::INBOX;
        // Four thousand million letters later.
        let set =
            |mailboxes: &mut BTreeMap<MailboxId, Mailbox>| mailboxes.get_mut(&inbox).unwrap().uidnext = Uid::MAX - 1;
        set(&mut inner.index.borrow_mut().loaded.get_mut(&account).unwrap().mailboxes);
        let to = |to| Op::Copy { account, from: inbox, uids: vec![1, 2], to };
        let shift = Op::Move { account, from: inbox, uids: vec![1, 2], to: Target::Mailbox(inbox) };
        assert_eq!(commit(vec![to(Target::Mailbox(inbox))]).err(), Some(Refused::UidsUsedUp));
        assert_eq!(commit(vec![shift]).err(), Some(Refused::UidsUsedUp));
        let last = commit(vec![append(account)]).unwrap();
        assert!(matches!(last[0], Outcome::Appended { uid, .. } if uid == Uid::MAX - 1));
        assert_eq!(commit(vec![append(account)]).err(), Some(Refused::UidsUsedUp));
        let make = Op::CreateMailbox { account, name: "Next".into(), special_use: 0, subscribed: false };
        let out = commit(vec![make, to(Target::Made(0))]).unwrap();
        assert!(matches!(&out[1], Outcome::Copied { pairs, .. } if pairs == &[(1, 1), (2, 2)]));
    });
}

#[test]
fn what_changed_nothing_is_not_remembered_either() {
    told(|inner, account, commit| {
        let inbox = MailboxId::INBOX;
        let nothing = vec![
            Op::Expunge { account, mailbox: inbox, uids: vec![9] },
            Op::Subscribe { account, name: "INBOX".into(), on: true },
            Op::Copy { account, from: inbox, uids: vec![9], to: Target::Mailbox(inbox) },
        ];
        commit(nothing).unwrap();
        assert!(inner.ahead.borrow().peek(account).is_none());
    });
}

#[test]
fn of_many_names_only_those_that_change_are_remembered() {
    told(|inner, account, commit| {
        let make = |n: u32| Op::CreateMailbox { account, name: format!("n{n}"), special_use: 0, subscribed: false };
        commit((0..300).map(make).collect()).unwrap();
        let rename = Op::RenameMailbox { account, mailbox: MailboxId(2), from: "n0".into(), name: "m".into() };
        let remove = Op::RemoveMailbox { account, mailbox: MailboxId(3), name: "n1".into() };
        let ops = vec![make(300), rename, make(0), remove, make(301)];
        let decided = inner.decide(Transaction { bodies: vec![], ops }, 5_000, None).unwrap();
        let held = || {
            let index = inner.index.borrow();
            let held = |a: &AccountAhead| (a.names_held(), a.clone().mailbox_count(&index, account));
            inner.ahead.borrow().peek(account).map(held)
        };
        assert_eq!(held(), Some((4, 303)));
        assert_eq!(commit(vec![make(301)]).err(), Some(Refused::MailboxExists));
        drop(decided);
        commit(vec![append(account)]).unwrap();
        assert_eq!(held(), None);
        let index = inner.index.borrow();
        let ids = |name: &str| index.loaded[&account].named(name).to_vec();
        assert_eq!((ids("m"), ids("n1"), ids("n2")), (vec![MailboxId(2)], vec![], vec![MailboxId(4)]));
        assert_eq!((ids("n301"), ids("")), (vec![MailboxId(304)], vec![]));
    });
}

#[test]
fn of_two_spellings_in_an_old_log_both_are_removed() {
    told(|inner, account, commit| {
        let old = |keywords: &[&str]| Flags {
            bits: 0,
            keywords: Some(Rc::new(keywords.iter().map(|k| (*k).into()).collect())),
        };
        {
            let mut index = inner.index.borrow_mut();
            let inbox = index.loaded.get_mut(&account).unwrap().mailboxes.get_mut(&MailboxId::INBOX).unwrap();
            inbox.messages[0].set_flags(&old(&["JUNK", "Junk", "x"]));
            inbox.messages[1].set_flags(&old(&["jUNK"]));
            inbox.keyword_bytes_max = 20;
        }
        let uids = vec![1, 2];
        let to = Target::Mailbox(MailboxId::INBOX);
        commit(vec![Op::Copy { account, from: MailboxId::INBOX, uids: uids.clone(), to }]).unwrap();
        let shown = || -> Vec<Vec<Box<str>>> {
            let index = inner.index.borrow();
            index.mailbox(account, MailboxId::INBOX).unwrap().messages.iter().map(|m| m.keywords().to_vec()).collect()
        };
        assert_eq!(shown()[2..], [vec!["JUNK".into(), "x".into()], vec!["JUNK".into()]]);
        let op = Op::StoreFlags {
            account,
            mailbox: MailboxId::INBOX,
            uids,
            how: FlagsHow::Remove,
            flags: old(&["junk"]),
            unchanged_since: None,
        };
        commit(vec![op]).unwrap();
        assert_eq!(shown()[..2], [vec!["x".into()], vec![]]);
    });
}
