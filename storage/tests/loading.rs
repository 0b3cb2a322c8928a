//! Accounts come into memory while the log goes on.
#![cfg(feature = "sim")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use ringpost_storage::sim::OpKind;
use ringpost_storage::{Flags, FlagsHow, Op, Refused};
use support::*;

/// A volume in which alice has letters, opened and nobody loaded.
fn cold(letters: u64) -> (Open, ringpost_storage::sim::SimDisk, ringpost_storage::AccountId) {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    (0..letters).for_each(|n| {
        let _ = v.deliver(alice, &text(300, n));
    });
    v.close();
    let mut v = open(&disk);
    v.held.clear();
    drop(v);
    let (volume, recovered) = block_on(ringpost_storage::Volume::open(disk.clone(), None, settings())).unwrap();
    let mut tasks = Tasks::default();
    let looped = volume.clone();
    tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
    (Open { held: Vec::new(), volume, recovered, tasks }, disk, alice)
}

#[test]
fn a_letter_into_the_inbox_loads_nobody_and_all_else_must_be_loaded() {
    let (mut v, _, alice) = cold(3);
    assert_eq!(v.deliver(alice, b"fourth\r\n"), 4);
    assert_eq!(v.volume.mailbox(alice, INBOX, |m| m.uidnext()), None, "nobody has loaded it");
    let flag =
        ringpost_storage::Transaction { bodies: vec![], ops: vec![store(alice, &[1], FlagsHow::Add, Flags::of(1))] };
    assert_eq!(v.decide(flag).err(), Some(Refused::NotLoaded));
    v.held = hold_all(&v.volume);
    assert_eq!(v.uids(alice), [1, 2, 3, 4]);
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![2] });
    assert_eq!(v.uids(alice), [1, 3, 4]);
}

#[test]
fn an_account_that_never_rests_is_loaded_all_the_same() {
    let (mut v, disk, alice) = cold(30);
    disk.set_delay(Some(Rc::new(|kind| Box::pin(turns(if kind == OpKind::Read { 5 } else { 0 })))));
    let loaded = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..3 {
        let (put, volume) = (loaded.clone(), v.volume.clone());
        v.tasks.spawn(async move {
            let held = volume.load(alice).await.unwrap().unwrap();
            put.borrow_mut().push(held);
        });
    }
    let mut came = 30;
    while loaded.borrow().len() < 3 {
        assert!(came < 5_000, "it is loaded before so many more have come");
        drop(v.decide(letter(alice, b"another\r\n")).unwrap());
        came += 1;
        v.tasks.turn();
    }
    disk.set_delay(None);
    v.tasks.settle();
    assert!(came > 40, "letters came while it was read: {came}");
    assert_eq!(v.uids(alice), (1..=came).collect::<Vec<_>>());
    for uid in v.uids(alice) {
        assert!(v.text(alice, uid).is_ok());
    }
}
