//! What IMAP needs beyond a letter's way in: names, subscriptions, copies and moves, through the front door.
#![cfg(feature = "sim")]

mod support;

use ringpost_storage::{AccountId, Flags, FlagsHow, MailboxId, Op, Outcome, Refused, Target, Transaction};
use support::*;

fn make(account: AccountId, name: &str) -> Op {
    Op::CreateMailbox { account, name: name.into(), special_use: 0, subscribed: false }
}

fn made(v: &mut Open, account: AccountId, name: &str) -> MailboxId {
    match v.done(make(account, name)) {
        Outcome::Mailbox(id, _) => id,
        other => panic!("{other:?}"),
    }
}

fn rename(account: AccountId, mailbox: MailboxId, name: &str) -> Op {
    Op::RenameMailbox { account, mailbox, name: name.into() }
}

fn ops(ops: Vec<Op>) -> Transaction {
    Transaction { bodies: vec![], ops }
}

fn names(v: &Open, account: AccountId) -> Vec<String> {
    v.volume.mailboxes(account).into_iter().map(|m| m.name).collect()
}

#[test]
fn a_hierarchy_is_renamed_at_once_or_not_at_all() {
    let disk = support::made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let [a, ab, ac] = ["a", "a/b", "a/c"].map(|name| made(&mut v, alice, name));
    let before = v.volume.mailbox(alice, ab, |m| m.info().uidvalidity);
    made(&mut v, alice, "z/c");
    let all = |to: &str| {
        ops(vec![rename(alice, a, to), rename(alice, ab, &format!("{to}/b")), rename(alice, ac, &format!("{to}/c"))])
    };
    assert_eq!(v.decide(all("z")).err(), Some(Refused::MailboxExists));
    v.tasks.settle();
    assert_eq!(names(&v, alice), ["INBOX", "a", "a/b", "a/c", "z/c"]);
    v.commit(all("y"));
    assert_eq!(names(&v, alice), ["INBOX", "y", "y/b", "y/c", "z/c"]);
    v.close();
    let v = open(&disk);
    assert_eq!(names(&v, alice), ["INBOX", "y", "y/b", "y/c", "z/c"]);
    assert_eq!(v.volume.mailbox(alice, ab, |m| m.info().uidvalidity), before);
}

#[test]
fn names_are_checked_against_what_is_decided() {
    let disk = support::made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let a = made(&mut v, alice, "a");
    let b = made(&mut v, alice, "b");
    // Two change names over a third one, all before anything is durable.
    for (mailbox, name) in [(a, "c"), (b, "a"), (a, "b")] {
        v.decide(ops(vec![rename(alice, mailbox, name)])).unwrap();
    }
    for taken in ["a", "b", "INBOX", "inbox"] {
        assert_eq!(v.decide(ops(vec![rename(alice, a, taken)])).err(), Some(Refused::MailboxExists), "{taken}");
        assert_eq!(v.decide(ops(vec![make(alice, taken)])).err(), Some(Refused::MailboxExists), "{taken}");
    }
    v.decide(ops(vec![make(alice, "c")])).unwrap();
    v.decide(ops(vec![Op::RemoveMailbox { account: alice, mailbox: b }])).unwrap();
    assert_eq!(v.decide(ops(vec![rename(alice, b, "q")])).err(), Some(Refused::NoMailbox));
    v.decide(ops(vec![make(alice, "a")])).unwrap();
    assert_eq!(v.decide(ops(vec![rename(alice, INBOX, "old")])).err(), Some(Refused::NoMailbox));
    v.tasks.settle();
    assert_eq!(names(&v, alice), ["INBOX", "b", "c", "a"]);
}

#[test]
fn subscriptions_are_of_names_and_outlive_mailboxes() {
    let disk = support::made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let subscribe = |name: &str, on| Op::Subscribe { account: alice, name: name.into(), on };
    let Outcome::Mailbox(work, _) =
        v.done(Op::CreateMailbox { account: alice, name: "Work".into(), special_use: 0, subscribed: true })
    else {
        panic!()
    };
    v.done(subscribe("nowhere", true));
    v.done(subscribe("inbox", false));
    v.done(Op::RemoveMailbox { account: alice, mailbox: work });
    assert_eq!(v.volume.subscriptions(alice), ["Work", "nowhere"]);
    let again = made(&mut v, alice, "Work");
    let other = made(&mut v, alice, "nowhere");
    v.done(rename(alice, again, "Rest"));
    v.close();
    let mut v = open(&disk);
    assert_eq!(v.volume.subscriptions(alice), ["Work", "nowhere"]);
    let shown = |v: &Open| v.volume.mailboxes(alice).into_iter().map(|m| m.subscribed).collect::<Vec<_>>();
    assert_eq!(shown(&v), [false, false, true], "INBOX, Rest, nowhere");
    v.done(rename(alice, again, "Work"));
    v.done(subscribe("nowhere", false));
    assert_eq!(shown(&v), [false, true, false]);
    assert!(!v.volume.mailbox(alice, other, |m| m.info().subscribed).unwrap());
}

#[test]
fn a_copy_keeps_what_a_message_is_and_costs_no_octets_of_it() {
    let disk = support::made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let work = made(&mut v, alice, "Work");
    let body = text(5_000, 1);
    v.deliver(alice, &body);
    v.deliver(alice, b"second\r\n");
    let flags = Flags { bits: Flags::FLAGGED, keywords: Some(vec!["$Work".into()].into()) };
    v.done(store(alice, &[1], FlagsHow::Add, flags.clone()));
    let before = v.volume.stats().body_bytes;
    let copy = |from, uids: &[u32], to| Op::Copy { account: alice, from, uids: uids.to_vec(), to: Target::Mailbox(to) };
    let Outcome::Copied { uidvalidity, pairs, modseq } = v.done(copy(INBOX, &[9, 2, 1, 2], work)) else { panic!() };
    assert_eq!(pairs, [(1, 1), (2, 2)]);
    // A copy of a copy, beside it.
    let Outcome::Copied { pairs, .. } = v.done(copy(work, &[1], work)) else { panic!() };
    assert_eq!(pairs, [(1, 3)]);
    assert_eq!(v.volume.stats().body_bytes, before);
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![1] });
    v.close();
    let v = open(&disk);
    let shown = v.volume.mailbox(alice, work, |m| {
        assert_eq!((m.info().uidvalidity, m.messages()[0].modseq), (uidvalidity, modseq));
        m.messages().to_vec()
    });
    for m in shown.unwrap().iter().filter(|m| m.uid != 2) {
        assert_eq!((&m.flags, m.internal_ms), (&flags, NOW_MS - 5_000));
        assert_eq!(block_on(v.volume.read(m)).unwrap(), prefixed(alice, &body));
        assert_eq!(block_on(v.volume.read_range(m, 3, 100)).unwrap(), prefixed(alice, &body)[3..103]);
    }
}

#[test]
fn a_move_is_one_batch_and_may_go_where_it_came_from() {
    let disk = support::made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 1..=3 {
        v.deliver(alice, &text(100, n));
    }
    let since = v.volume.mailbox(alice, INBOX, |m| m.highest_modseq()).unwrap();
    let batches = v.volume.stats().batches;
    let out = v.commit(ops(vec![
        make(alice, "Old"),
        Op::Move { account: alice, from: INBOX, uids: vec![3, 1], to: Target::Made(0) },
        Op::Move { account: alice, from: INBOX, uids: vec![1, 2], to: Target::Mailbox(INBOX) },
    ]));
    assert_eq!(v.volume.stats().batches, batches + 1);
    let Outcome::Mailbox(old, old_validity) = out[0] else { panic!() };
    let Outcome::Moved { uidvalidity, pairs, modseq } = &out[1] else { panic!() };
    assert_eq!((*uidvalidity, &pairs[..]), (old_validity, &[(1, 1), (3, 2)][..]));
    let Outcome::Moved { pairs: within, .. } = &out[2] else { panic!() };
    assert_eq!(within, &[(2, 4)], "what the move before took is not there");
    v.close();
    let v = open(&disk);
    assert_eq!(v.uids(alice), [4]);
    assert_eq!(v.text(alice, 4).unwrap(), prefixed(alice, &text(100, 2)));
    assert_eq!(v.volume.mailbox(alice, INBOX, |m| m.expunged_since(since)).unwrap(), Some(vec![1, 3, 2]));
    v.volume.mailbox(alice, old, |m| {
        assert_eq!(m.messages().iter().map(|m| (m.uid, m.modseq)).collect::<Vec<_>>(), [(1, *modseq), (2, *modseq)]);
    });
}
