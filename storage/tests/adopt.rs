//! An account goes from one volume to another with all its numbers, and takes no change while it is frozen.
#![cfg(feature = "sim")]

mod support;

use ringpost_storage::{AccountId, AdoptOp, Body, Flags, FlagsHow, MailboxId, Op, Refused, Transaction, Uidvalidity};
use support::*;

const ELSEWHERE: AccountId = AccountId(9 << 48 | 77);
const WORK: MailboxId = MailboxId(5);

fn account(generation: u32, modseq: u64) -> Op {
    Op::Adopt(AdoptOp::Account {
        account: ELSEWHERE,
        name: "eve@x".into(),
        secrets: b"kept".to_vec(),
        generation,
        limit_bytes: 1 << 30,
        limit_messages: 1_000,
        modseq,
    })
}

fn mailbox(id: MailboxId, name: &str, uidnext: u32, modseq: u64) -> Op {
    Op::Adopt(AdoptOp::Mailbox {
        account: ELSEWHERE,
        mailbox: id,
        name: name.into(),
        uidvalidity: 1_234_567,
        uidnext,
        special_use: 0,
        subscribed: true,
        modseq,
    })
}

fn message(mailbox: MailboxId, uid: u32, modseq: u64, body: usize) -> Op {
    Op::Adopt(AdoptOp::Message {
        account: ELSEWHERE,
        mailbox,
        uid,
        modseq,
        body,
        bits: Flags::SEEN,
        keywords: vec!["work".into()],
        internal_ms: NOW_MS - 77,
        saved_ms: NOW_MS - 5_000,
    })
}

fn one(op: Op) -> Transaction {
    Transaction { bodies: vec![], ops: vec![op] }
}

/// A volume that has taken an account over, all but the last step.
fn arriving() -> Open {
    let mut v = open(&made_with(&ringpost_storage::Create { segment_bytes: 4 << 20, ..facts() }));
    v.account("alice@x");
    let bodies = vec![Body::from(text(3_000, 1)), Body::from(text(300_000, 2))];
    let ops = vec![
        account(0, 40),
        mailbox(INBOX, "INBOX", 90, 33),
        mailbox(WORK, "Work", 1, 20),
        message(INBOX, 3, 21, 0),
        message(INBOX, 70, 33, 1),
    ];
    v.commit(Transaction { bodies, ops });
    v
}

#[test]
fn an_account_comes_with_its_numbers_and_lives_here_when_it_is_activated() {
    let mut v = arriving();
    let info = block_on(v.volume.account(ELSEWHERE)).unwrap().expect("it is arriving");
    assert_eq!((info.generation, &*info.name), (0, "eve@x"));
    let change = AdoptOp::Flags {
        account: ELSEWHERE,
        mailbox: INBOX,
        modseq: 41,
        items: vec![(3, Flags::FLAGGED, vec![]), (4, Flags::SEEN, vec![])],
    };
    let expunge = Op::Expunge { account: ELSEWHERE, mailbox: INBOX, uids: vec![70] };
    let renamed = mailbox(WORK, "Play", 8, 43);
    v.commit(Transaction { bodies: vec![], ops: vec![Op::Adopt(change), expunge, renamed] });
    v.done(account(4, 50));
    let look = |v: &Open| {
        let loaded = block_on(v.volume.load(ELSEWHERE)).unwrap().expect("it is here");
        let names: Vec<_> = loaded.mailboxes().into_iter().map(|m| (m.id, m.name, m.uidvalidity)).collect();
        assert_eq!(names, [(INBOX, "INBOX".into(), 1_234_567), (WORK, "Play".into(), 1_234_567)]);
        loaded.mailbox(INBOX, |m| {
            let all: Vec<_> = m.messages().iter().map(|m| (m.uid, m.modseq, m.bits(), m.size())).collect();
            assert_eq!((all, m.uidnext()), (vec![(3, 41, Flags::FLAGGED, 3_000)], 90));
            assert_eq!(m.messages()[0].internal_ms, NOW_MS - 77);
            assert_eq!(m.expunged_since(32), None, "what went before it came is not known here");
            assert_eq!(m.expunged_since(40), Some(vec![70]));
        });
        assert_eq!(loaded.mailbox(WORK, |m| m.uidnext()), Some(8));
        let info = block_on(v.volume.account(ELSEWHERE)).unwrap().expect("it is here");
        assert_eq!((info.generation, &*info.secrets), (4, &b"kept"[..]));
        assert_eq!(v.volume.limits_of(ELSEWHERE), Some((1 << 30, 1_000)));
        assert!(v.volume.modseq_of(ELSEWHERE) >= Some(50));
        assert_eq!(v.volume.account_named("eve@x"), Some(ELSEWHERE));
    };
    look(&v);
    let last = v.deliver(ELSEWHERE, b"next\r\n");
    assert_eq!(last, 90);
    assert_eq!(v.text(ELSEWHERE, 3).unwrap(), text(3_000, 1));
    // Nobody else's number is given again: the next account made here has one of this volume's own.
    assert_eq!(v.account("bob@x").0 >> 48, 3);
}

#[test]
fn what_arrives_survives_a_crash_and_can_be_given_up() {
    let disk = made();
    let mut v = open(&disk);
    let ops = vec![account(0, 40), mailbox(INBOX, "INBOX", 90, 33), message(INBOX, 3, 21, 0)];
    v.commit(Transaction { bodies: vec![Body::from(text(3_000, 1))], ops });
    drop(v);
    let disk = disk.crash();
    let mut v = open(&disk);
    let shown = {
        let loaded = block_on(v.volume.load(ELSEWHERE)).unwrap().expect("it is arriving");
        loaded.mailbox(INBOX, |m| (m.messages()[0].uid, m.messages()[0].modseq, m.uidnext(), m.info().uidvalidity))
    };
    assert_eq!(shown, Some((3, 21, 90, 1_234_567)));
    let held = block_on(v.volume.load(ELSEWHERE)).unwrap();
    v.done(Op::RemoveAccount { account: ELSEWHERE });
    drop((held, v));
    let v = open(&disk.crash());
    assert_eq!((v.volume.account_named("eve@x"), v.volume.account_ids()), (None, vec![]));
}

#[test]
fn a_name_that_somebody_has_is_not_taken_over() {
    let disk = made();
    let mut v = open(&disk);
    v.account("eve@x");
    assert_eq!(v.decide(one(account(0, 1))).err(), Some(Refused::MailboxExists));
    assert!(block_on(v.volume.account(ELSEWHERE)).unwrap().is_none());
}

#[test]
fn a_frozen_account_takes_no_change_until_it_is_thawed() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("alice@x");
    let bob = v.account("bob@x");
    v.deliver(alice, b"one\r\n");
    v.volume.freeze(alice);
    assert!(v.volume.is_frozen(alice) && !v.volume.is_frozen(bob));
    let changes = [
        letter(alice, b"two\r\n"),
        one(store(alice, &[1], FlagsHow::Add, Flags::of(Flags::SEEN))),
        one(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![1] }),
        one(Op::Renumber { account: alice, mailbox: INBOX, uidvalidity: Uidvalidity::Keep, uidnext: 9 }),
        one(Op::PutAccount {
            name: "alice@x".into(),
            secrets: vec![],
            mailboxes: vec![],
            limits: ringpost_storage::Limits::NONE,
        }),
        one(Op::RemoveAccount { account: alice }),
    ];
    for change in changes {
        assert_eq!(v.decide(change).err(), Some(Refused::Busy));
    }
    v.deliver(bob, b"one\r\n");
    assert_eq!(v.uids(alice), [1]);
    v.volume.thaw(alice);
    v.deliver(alice, b"two\r\n");
    v.done(Op::RemoveAccount { account: alice });
}
