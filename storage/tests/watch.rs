//! Waiting for a mailbox's next change.
#![cfg(feature = "sim")]

mod support;

use std::cell::Cell;
use std::rc::Rc;

use ringpost_storage::sim::{Fault, OpKind, When};
use ringpost_storage::{AccountId, Flags, FlagsHow, MailboxId, Op, Outcome, Target, Transaction};
use support::*;

fn version(v: &Open, account: AccountId, mailbox: MailboxId) -> u64 {
    v.volume.mailbox(account, mailbox, |m| m.version()).unwrap()
}

/// Waits in a task of its own, from the mailbox's version now; says whether it was woken.
fn waiting(v: &mut Open, account: AccountId, mailbox: MailboxId) -> Rc<Cell<bool>> {
    let woken = Rc::new(Cell::new(false));
    let (watch, known, tell) = (v.volume.watch(account, mailbox), version(v, account, mailbox), woken.clone());
    v.tasks.spawn(async move {
        watch.changed(known).await;
        tell.set(true);
    });
    v.tasks.settle();
    woken
}

fn made_box(v: &mut Open, account: AccountId, name: &str) -> MailboxId {
    match v.done(Op::CreateMailbox { account, name: name.into(), special_use: 0, subscribed: false }) {
        Outcome::Mailbox(id, _) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_change_of_the_mailbox_is_heard_and_no_other() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let bob = v.account("b@x");
    let work = made_box(&mut v, alice, "Work");
    v.deliver(alice, b"x\r\n");
    let here = |to| Op::Copy { account: alice, from: INBOX, uids: vec![1], to: Target::Mailbox(to) };
    let changes: Vec<Op> = vec![
        here(work),
        Op::StoreFlags {
            account: alice,
            mailbox: work,
            uids: vec![1],
            how: FlagsHow::Add,
            flags: Flags::of(Flags::SEEN),
            unchanged_since: None,
        },
        Op::RenameMailbox { account: alice, mailbox: work, from: "Work".into(), name: "Rest".into() },
        Op::Move { account: alice, from: work, uids: vec![1], to: Target::Mailbox(INBOX) },
        here(work),
        Op::Expunge { account: alice, mailbox: work, uids: vec![2] },
        Op::RemoveMailbox { account: alice, mailbox: work, name: "Rest".into() },
    ];
    let bobs = waiting(&mut v, bob, INBOX);
    for change in changes {
        let said = format!("{change:?}");
        let woken = waiting(&mut v, alice, work);
        v.deliver(alice, b"elsewhere\r\n");
        assert!(!woken.get(), "before {said}");
        v.done(change);
        assert!(woken.get(), "{said}");
    }
    assert!(!bobs.get());
    v.deliver(bob, b"x\r\n");
    assert!(bobs.get());
}

#[test]
fn nothing_is_heard_before_it_is_durable() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let known = version(&v, alice, INBOX);
    let watch = v.volume.watch(alice, INBOX);
    v.decide(letter(alice, b"x\r\n")).unwrap();
    let mut task = Tasks::default();
    let woken = Rc::new(Cell::new(false));
    let tell = woken.clone();
    task.spawn(async move {
        watch.changed(known).await;
        tell.set(true);
    });
    task.settle();
    assert!(!woken.get());
    v.tasks.settle();
    task.settle();
    assert!(woken.get());
}

#[test]
fn what_changed_between_two_looks_is_not_missed() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let watch = v.volume.watch(alice, INBOX);
    let before = version(&v, alice, INBOX);
    v.deliver(alice, b"x\r\n");
    block_on(watch.changed(before));
    // A second watch of the same mailbox begins where the mailbox is, not where the first one began.
    let second = v.volume.watch(alice, INBOX);
    block_on(second.changed(before));
    drop(watch);
    v.deliver(alice, b"y\r\n");
    block_on(second.changed(before + 1));
}

#[test]
fn who_waits_for_what_is_gone_is_told_at_once() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let inbox = waiting(&mut v, alice, INBOX);
    v.done(Op::RemoveAccount { account: alice });
    assert!(inbox.get());
    block_on(v.volume.watch(alice, INBOX).changed(0));
    block_on(v.volume.watch(AccountId(77), INBOX).changed(3));
}

#[test]
fn a_volume_that_failed_or_closed_keeps_nobody_waiting() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let woken = waiting(&mut v, alice, INBOX);
    disk.fail(OpKind::Sync, Fault::Io, When::Once(1));
    v.decide(letter(alice, b"x\r\n")).unwrap();
    v.tasks.settle();
    assert!(v.volume.stats().failed && woken.get());
    block_on(v.volume.watch(alice, INBOX).changed(version(&v, alice, INBOX)));

    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let woken = waiting(&mut v, alice, INBOX);
    let volume = v.volume.clone();
    v.tasks.spawn(async move { volume.close().await });
    v.tasks.settle();
    assert!(woken.get());
}

#[test]
fn many_watch_one_mailbox_and_some_stop() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let known = version(&v, alice, INBOX);
    let woken = Rc::new(Cell::new(0));
    let mut stopped: Vec<_> = (0..100).map(|_| v.volume.watch(alice, INBOX)).collect();
    for _ in 0..1_000 {
        let (watch, tell) = (v.volume.watch(alice, INBOX), woken.clone());
        v.tasks.spawn(async move {
            watch.changed(known).await;
            tell.set(tell.get() + 1);
        });
    }
    stopped.truncate(50);
    v.tasks.settle();
    v.commit(Transaction { bodies: vec![vec![b'x'].into()], ops: vec![append(alice, 0), append(alice, 0)] });
    assert_eq!(woken.get(), 1_000);
    drop(stopped);
    v.deliver(alice, b"nobody hears\r\n");
}
