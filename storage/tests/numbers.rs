//! Mailboxes that bring their numbers with them, and mailboxes that must get new ones.
#![cfg(feature = "sim")]

mod support;

use ringpost_storage::{MailboxId, Op, Outcome, Refused, Transaction, Uid, Uidvalidity};
use support::*;

const THEIRS: u32 = 1_275_660_208;

fn renumber(account: ringpost_storage::AccountId, uidvalidity: Uidvalidity, uidnext: Uid) -> Op {
    Op::Renumber { account, mailbox: INBOX, uidvalidity, uidnext }
}

fn one(op: Op) -> Transaction {
    Transaction { bodies: Vec::new(), ops: vec![op] }
}

fn numbers(v: &Open, account: ringpost_storage::AccountId) -> (u32, Uid, Vec<Uid>) {
    v.volume
        .mailbox(account, INBOX, |m| (m.info().uidvalidity, m.uidnext(), m.messages().iter().map(|m| m.uid).collect()))
        .unwrap()
}

#[test]
fn messages_from_elsewhere_keep_their_uids() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("alice@ringpost.test");
    let mut transaction = letter(alice, b"x\r\n");
    transaction.ops.insert(0, renumber(alice, Uidvalidity::Adopt(THEIRS), 7));
    transaction.ops.push(renumber(alice, Uidvalidity::Keep, 30));
    transaction.ops.push(append(alice, 0));
    transaction.ops.push(append(alice, 0));
    let outcomes = v.commit(transaction);
    assert_eq!(outcomes[0], Outcome::Mailbox(INBOX, THEIRS));
    assert!(matches!(outcomes[3], Outcome::Appended { uid: 30, uidvalidity: THEIRS, .. }));
    assert_eq!(numbers(&v, alice), (THEIRS, 32, vec![7, 30, 31]));
    v.commit(one(renumber(alice, Uidvalidity::Keep, 40)));
    v.commit(one(renumber(alice, Uidvalidity::Adopt(THEIRS), 3)));
    v.close();
    let mut v = open(&disk);
    assert_eq!(numbers(&v, alice), (THEIRS, 40, vec![7, 30, 31]), "a lower UIDNEXT changes nothing");
    assert_eq!(v.deliver(alice, b"y\r\n"), 40);
    // What is made later has a higher UIDVALIDITY than anything that came.
    let op = Op::CreateMailbox { account: alice, name: "a".to_owned(), special_use: 0, subscribed: false };
    assert!(matches!(v.commit(one(op))[0], Outcome::Mailbox(_, valid) if valid > THEIRS));
}

#[test]
fn a_mailbox_that_gave_uids_adopts_no_others() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("alice@ringpost.test");
    v.deliver(alice, b"x\r\n");
    let before = numbers(&v, alice);
    for (op, why) in [
        (renumber(alice, Uidvalidity::Adopt(THEIRS), 9), Refused::UidsGiven),
        (
            Op::Renumber { account: alice, mailbox: MailboxId(99), uidvalidity: Uidvalidity::Keep, uidnext: 1 },
            Refused::NoMailbox,
        ),
    ] {
        assert_eq!(v.decide(one(op)).err(), Some(why));
    }
    assert_eq!(numbers(&v, alice), before);
    let bob = v.account("bob@ringpost.test");
    for beyond in [0, u32::MAX] {
        assert_eq!(v.decide(one(renumber(bob, Uidvalidity::Adopt(beyond), 1))).err(), Some(Refused::TooLarge));
    }
}

#[test]
fn a_mailbox_that_comes_back_gets_a_new_uidvalidity_and_keeps_its_uids() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("alice@ringpost.test");
    v.deliver(alice, b"x\r\n");
    let (before, ..) = numbers(&v, alice);
    v.commit(one(renumber(alice, Uidvalidity::Fresh, 1)));
    v.close();
    let v = open(&disk);
    let (after, uidnext, uids) = numbers(&v, alice);
    assert!(after > before);
    assert_eq!((uidnext, uids), (2, vec![1]));
}
