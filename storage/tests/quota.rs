//! What accounts may keep: counted exactly, refused before it is too much, through restarts too.
#![cfg(feature = "sim")]

mod support;

use ringpost_storage::sim::{Fault, OpKind, When};
use ringpost_storage::{
    AccountId, Limits, Lost, MailboxId, NewMailbox, Op, Outcome, Quota, Refused, Target, Transaction, TransferCopy,
    TransferNumber, TransferOp,
};
use support::*;

fn limits(bytes: u64, messages: u32) -> Limits {
    Limits { bytes, messages }
}

fn set(v: &mut Open, account: AccountId, limits: Limits) {
    let _held = block_on(v.volume.load(account)).unwrap();
    assert_eq!(v.done(Op::SetLimits { account, limits }), Outcome::Account(account));
}

fn used(v: &Open, account: AccountId) -> (u64, u32) {
    let Quota { used_bytes, used_messages, .. } = v.volume.quota(account).unwrap();
    (used_bytes, used_messages)
}

#[test]
fn an_account_at_its_limit_takes_no_letter_until_something_goes() {
    let disk = made();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    let size = prefixed(alice, &text(1_000, 1)).len() as u64;
    set(&mut v, alice, limits(3 * size, 0));
    for n in 1..=3 {
        assert_eq!(v.deliver(alice, &text(1_000, n)), n as u32);
    }
    assert_eq!(used(&v, alice), (3 * size, 3));
    assert_eq!(v.decide(letter(alice, &text(1_000, 4))).err(), Some(Refused::OverQuota));
    let both = Transaction { bodies: vec![text(10, 1).into()], ops: vec![append(bob, 0), append(alice, 0)] };
    assert_eq!(v.decide(both).err(), Some(Refused::OverQuota), "all or nothing");
    assert_eq!(used(&v, bob), (0, 0));
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![2] });
    assert_eq!(v.deliver(alice, &text(1_000, 5)), 4);
    v.close();
    let mut v = open(&disk);
    assert_eq!(used(&v, alice), (3 * size, 3));
    assert_eq!(v.decide(letter(alice, b"")).err(), Some(Refused::OverQuota));
    set(&mut v, alice, limits(0, 4));
    assert_eq!(v.deliver(alice, b"the fourth"), 5);
    assert_eq!(v.decide(letter(alice, b"the fifth")).err(), Some(Refused::OverQuota));
    set(&mut v, alice, Limits::NONE);
    assert_eq!(v.deliver(alice, b"the fifth"), 6);
}

#[test]
pub fn what_is_only_decided_counts_too() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    set(&mut v, alice, limits(0, 2));
    let held = [v.decide(letter(alice, b"1")), v.decide(letter(alice, b"2"))];
    assert_eq!(v.decide(letter(alice, b"3")).err(), Some(Refused::OverQuota));
    v.tasks.settle();
    drop(held);
    assert_eq!(used(&v, alice).1, 2);
}

#[test]
fn a_copy_needs_room_and_a_move_none() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, b"one");
    v.deliver(alice, b"two");
    set(&mut v, alice, limits(0, 2));
    let (from, uids) = (INBOX, vec![1, 2]);
    let copy = Op::Copy { account: alice, from, uids: uids.clone(), to: Target::Mailbox(INBOX) };
    assert_eq!(v.decide(Transaction { bodies: vec![], ops: vec![copy] }).err(), Some(Refused::OverQuota));
    let shift = Op::Move { account: alice, from, uids, to: Target::Mailbox(INBOX) };
    assert!(matches!(v.done(shift), Outcome::Moved { pairs, .. } if pairs.len() == 2));
    assert_eq!(used(&v, alice).1, 2);
    let none = Op::Copy { account: alice, from, uids: vec![99], to: Target::Mailbox(INBOX) };
    assert!(matches!(v.done(none), Outcome::Copied { pairs, .. } if pairs.is_empty()));
}

#[test]
fn a_password_leaves_the_limits_and_limits_leave_the_password() {
    let disk = made();
    let mut v = open(&disk);
    let first = limits(5_000, 7);
    let put = |secrets: &[u8], limits| Op::PutAccount {
        name: "a@x".into(),
        secrets: secrets.to_vec(),
        mailboxes: vec![NewMailbox { name: "Sent".into(), special_use: 0 }],
        limits,
    };
    let Outcome::Account(alice) = v.done(put(b"one", first)) else { panic!("an account") };
    assert_eq!(v.volume.quota(alice).unwrap().limits, first);
    v.done(put(b"two", Limits::NONE));
    assert_eq!(v.volume.quota(alice).unwrap().limits, first, "those of an account that is there stay");
    // While another password is on its way nobody knows which to write again.
    let held = block_on(v.volume.load(alice)).unwrap();
    let second = limits(0, 9);
    let change = || Transaction { bodies: vec![], ops: vec![Op::SetLimits { account: alice, limits: second }] };
    let password = v.decide(Transaction { bodies: vec![], ops: vec![put(b"three", Limits::NONE)] }).unwrap();
    assert_eq!(v.decide(change()).err(), Some(Refused::Busy));
    v.tasks.settle();
    drop(password);
    v.commit(change());
    drop(held);
    v.close();
    let v = open(&disk);
    let info = block_on(v.volume.account(alice)).unwrap().unwrap();
    assert_eq!((&*info.secrets, v.volume.quota(alice).unwrap().limits), (&b"three"[..], second));
}

#[test]
fn room_is_kept_for_what_is_on_its_way_and_given_back_when_it_is_there() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    set(&mut v, alice, limits(0, 2));
    v.volume.reserve(alice, 3, 1).unwrap();
    v.volume.reserve(alice, 3, 1).unwrap();
    assert_eq!(v.volume.reserve(alice, 3, 1).err(), Some(Refused::OverQuota));
    assert_eq!(v.decide(letter(alice, b"no room")).err(), Some(Refused::OverQuota));
    v.volume.release(alice, 3, 1);
    assert_eq!(v.deliver(alice, b"now"), 1);
    let number = TransferNumber { incarnation: 1, number: 1 };
    let copy = TransferCopy {
        account: alice,
        mailbox: MailboxId::INBOX,
        name: "a@x".into(),
        prefix: vec![],
        bits: 0,
        keywords: vec![],
    };
    let receive = TransferOp::Receive {
        source: 1,
        number,
        after: TransferNumber::default(),
        settled: TransferNumber::default(),
        body: 0,
        copies: vec![copy],
        internal_ms: 1,
    };
    v.commit(Transaction { bodies: vec![b"abc".to_vec().into()], ops: vec![Op::Transfer(receive)] });
    let quota = v.volume.quota(alice).unwrap();
    assert_eq!((quota.used_messages, quota.coming_messages, quota.coming_bytes), (2, 0, 0));
    assert_eq!(v.decide(letter(alice, b"full")).err(), Some(Refused::OverQuota));
}

fn number(n: u64) -> TransferNumber {
    TransferNumber { incarnation: 1, number: n }
}

/// Volume 2's n-th letter, for an account's INBOX.
fn receiving(account: AccountId, n: u64, body: &[u8]) -> Transaction {
    let copy = TransferCopy {
        account,
        mailbox: MailboxId::INBOX,
        name: "a@x".into(),
        prefix: Vec::new(),
        bits: 0,
        keywords: Vec::new(),
    };
    let op = TransferOp::Receive {
        source: 2,
        number: number(n),
        after: if n == 1 { TransferNumber::default() } else { number(n - 1) },
        settled: TransferNumber::default(),
        body: 0,
        copies: vec![copy],
        internal_ms: 1,
    };
    Transaction { bodies: vec![body.to_vec().into()], ops: vec![Op::Transfer(op)] }
}

#[test]
fn room_is_kept_anew_for_what_another_volume_owes_and_only_for_that() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    set(&mut v, alice, limits(0, 3));
    let receive = |n| receiving(alice, n, &text(100, n));
    v.volume.reserve(alice, 100, 1).unwrap();
    v.volume.reserve(alice, 100, 1).unwrap();
    v.commit(receive(1));
    v.close();
    // Nobody remembers that the second was coming; its source does. The first is here.
    let mut v = open(&disk);
    assert_eq!(v.volume.quota(alice).unwrap().coming_messages, 0);
    v.volume.expect(2, &[(number(1), alice, 100), (number(2), alice, 100), (number(2), AccountId(99), 100)]);
    let Quota { used_messages, coming_bytes, coming_messages, .. } = v.volume.quota(alice).unwrap();
    assert_eq!((used_messages, coming_bytes, coming_messages), (1, 100, 1));
    v.deliver(alice, b"the third");
    assert_eq!(v.decide(letter(alice, b"the fourth")).err(), Some(Refused::OverQuota));
    v.commit(receive(2));
    assert_eq!(v.volume.quota(alice).unwrap().coming_messages, 0);
    assert_eq!(used(&v, alice).1, 3);
    // What was accepted elsewhere and comes here because its account moved is taken whatever is there.
    let Op::Append { account, mailbox, body, prefix, flags, internal_ms } = append(alice, 0) else { unreachable!() };
    let op = Op::Accepted { account, mailbox, body, prefix, flags, internal_ms };
    v.commit(Transaction { bodies: vec![text(10, 9).into()], ops: vec![op] });
    assert_eq!(used(&v, alice).1, 4);
}

#[test]
fn room_is_kept_again_when_there_was_none_for_what_arrived() {
    let disk = made();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    set(&mut v, alice, limits(60_000, 2));
    v.volume.reserve(alice, 45_000, 1).unwrap();
    v.volume.reserve(alice, 500, 1).unwrap();
    // So full that only a segment which cannot be made has room for the letter.
    (0..2).for_each(|n| assert!(v.deliver(bob, &text(9_000, n)) > 0));
    disk.fail(OpKind::Create, Fault::NoSpace, When::From(1));
    let decided = v.decide(receiving(alice, 1, &text(45_000, 1))).unwrap();
    assert_eq!(v.volume.quota(alice).unwrap().coming_messages, 1, "what is decided is not on its way");
    v.tasks.settle();
    assert_eq!(block_on(decided.ticket), Err(Lost::NoRoom));
    let Quota { used_messages, coming_bytes, coming_messages, .. } = v.volume.quota(alice).unwrap();
    assert_eq!((used_messages, coming_bytes, coming_messages), (0, 45_500, 2));
    assert_eq!(v.decide(letter(alice, b"x")).err(), Some(Refused::OverQuota), "it is kept for who comes");
    disk.heal();
    let later = NOW_MS + 60_000;
    assert!(v.volume.has_room(45_000, later));
    for (n, len) in [(1, 45_000), (2, 500)] {
        let decided = v.volume.decide(receiving(alice, n, &text(len, n)), later).unwrap();
        v.tasks.settle();
        assert_eq!(block_on(decided.ticket), Ok(()));
    }
    let Quota { used_bytes, coming_bytes, coming_messages, .. } = v.volume.quota(alice).unwrap();
    assert_eq!((used_bytes, coming_bytes, coming_messages), (45_500, 0, 0));
    assert_eq!(used(&v, alice).1, 2);
}
