//! What IMAP needs beyond a letter's way in: names, subscriptions, copies and moves, through the front door.
#![cfg(feature = "sim")]

mod support;

use ringpost_storage::{
    AccountId, COPY_UIDS_MAX, Flags, FlagsHow, MAILBOXES_MAX, MailboxId, NewMailbox, Op, Outcome, Refused,
    SUBSCRIPTIONS_MAX, Target, Transaction,
};
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

fn rename(account: AccountId, mailbox: MailboxId, from: &str, name: &str) -> Op {
    Op::RenameMailbox { account, mailbox, from: from.into(), name: name.into() }
}

fn remove(account: AccountId, mailbox: MailboxId, name: &str) -> Op {
    Op::RemoveMailbox { account, mailbox, name: name.into() }
}

fn ops(ops: Vec<Op>) -> Transaction {
    Transaction { bodies: vec![], ops }
}

fn names(v: &Open, account: AccountId) -> Vec<String> {
    v.volume.mailboxes(account).into_iter().map(|m| m.name).collect()
}

#[test]
fn an_account_is_made_with_its_mailboxes_or_not_at_all() {
    let disk = support::made();
    let mut v = open(&disk);
    let put = |mailboxes: &[(&str, u16)]| Op::PutAccount {
        name: "a@x".into(),
        secrets: Vec::new(),
        mailboxes: mailboxes
            .iter()
            .map(|(name, use_)| NewMailbox { name: (*name).into(), special_use: *use_ })
            .collect(),
        limits: ringpost_storage::Limits::NONE,
    };
    assert_eq!(v.decide(ops(vec![put(&[("Sent", 2), ("Sent", 0)])])).err(), Some(Refused::MailboxExists));
    assert_eq!(v.volume.account_named("a@x"), None);
    let Outcome::Account(alice) = v.done(put(&[("Sent", 2), ("Drafts", 1)])) else { panic!("an account") };
    let shown = |v: &Open| -> Vec<(String, u16, bool)> {
        v.volume.mailboxes(alice).into_iter().map(|m| (m.name, m.special_use, m.subscribed)).collect()
    };
    let all = [("INBOX".to_owned(), 0, true), ("Sent".to_owned(), 2, true), ("Drafts".to_owned(), 1, true)];
    assert_eq!(shown(&v), all);
    let uidvalidities: Vec<u32> = v.volume.mailboxes(alice).iter().map(|m| m.uidvalidity).collect();
    assert!(uidvalidities.is_sorted_by(|a, b| a < b), "each its own, for names that are given on: {uidvalidities:?}");
    // One that is there keeps what it has.
    assert_eq!(v.done(put(&[("Junk", 4)])), Outcome::Account(alice));
    assert_eq!(shown(&v), all);
    v.close();
    assert_eq!(shown(&open(&disk)), all);
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
        ops(vec![
            rename(alice, a, "a", to),
            rename(alice, ab, "a/b", &format!("{to}/b")),
            rename(alice, ac, "a/c", &format!("{to}/c")),
        ])
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
    for (mailbox, from, name) in [(a, "a", "c"), (b, "b", "a"), (a, "c", "b")] {
        v.decide(ops(vec![rename(alice, mailbox, from, name)])).unwrap();
    }
    for taken in ["a", "b", "INBOX", "inbox"] {
        assert_eq!(v.decide(ops(vec![rename(alice, a, "b", taken)])).err(), Some(Refused::MailboxExists), "{taken}");
        assert_eq!(v.decide(ops(vec![make(alice, taken)])).err(), Some(Refused::MailboxExists), "{taken}");
    }
    v.decide(ops(vec![make(alice, "c")])).unwrap();
    v.decide(ops(vec![remove(alice, b, "a")])).unwrap();
    assert_eq!(v.decide(ops(vec![rename(alice, b, "a", "q")])).err(), Some(Refused::NoMailbox));
    v.decide(ops(vec![make(alice, "a")])).unwrap();
    assert_eq!(v.decide(ops(vec![rename(alice, INBOX, "INBOX", "old")])).err(), Some(Refused::NoMailbox));
    v.tasks.settle();
    assert_eq!(names(&v, alice), ["INBOX", "b", "c", "a"]);
}

/// Each was found under its name a moment ago, by somebody who sees durable names only.
#[test]
fn a_name_that_was_given_up_leads_nowhere() {
    let disk = support::made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let keep = made(&mut v, alice, "keep");
    let other = made(&mut v, alice, "other");
    let refused = |v: &Open, op: Op| assert_eq!(v.decide(ops(vec![op])).err(), Some(Refused::NoMailbox));
    v.decide(ops(vec![rename(alice, keep, "keep", "safe")])).unwrap();
    refused(&v, remove(alice, keep, "keep"));
    refused(&v, rename(alice, keep, "keep", "elsewhere"));
    v.decide(ops(vec![rename(alice, other, "other", "keep")])).unwrap();
    refused(&v, remove(alice, keep, "keep"));
    // Durable in between, and again.
    v.tasks.settle();
    refused(&v, remove(alice, keep, "keep"));
    v.decide(ops(vec![rename(alice, keep, "safe", "safer")])).unwrap();
    refused(&v, remove(alice, keep, "safe"));
    v.tasks.settle();
    assert_eq!(names(&v, alice), ["INBOX", "safer", "keep"]);
    assert_eq!(v.volume.mailbox_named(alice, "safer"), Some(keep));
    assert_eq!((v.volume.mailbox_named(alice, "safe"), v.volume.mailbox_named(alice, "keep")), (None, Some(other)));
    v.done(remove(alice, other, "keep"));
    assert_eq!(v.volume.mailbox_named(alice, "keep"), None);
    refused(&v, remove(alice, other, "keep"));
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
    v.done(remove(alice, work, "Work"));
    assert_eq!(v.volume.subscriptions(alice), ["Work", "nowhere"]);
    let again = made(&mut v, alice, "Work");
    let other = made(&mut v, alice, "nowhere");
    v.done(rename(alice, again, "Work", "Rest"));
    v.close();
    let mut v = open(&disk);
    assert_eq!(v.volume.subscriptions(alice), ["Work", "nowhere"]);
    let shown = |v: &Open| v.volume.mailboxes(alice).into_iter().map(|m| m.subscribed).collect::<Vec<_>>();
    assert_eq!(shown(&v), [false, false, true], "INBOX, Rest, nowhere");
    v.done(rename(alice, again, "Rest", "Work"));
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
        assert_eq!((&m.flags(), m.internal_ms), (&flags, NOW_MS - 5_000));
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

#[test]
fn a_copy_sees_what_is_decided_and_only_messages_that_are_durable() {
    let disk = support::made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let work = made(&mut v, alice, "Work");
    for n in 1..=3 {
        v.deliver(alice, &text(50, n));
    }
    v.decide(letter(alice, b"not durable yet\r\n")).unwrap();
    v.decide(ops(vec![Op::Expunge { account: alice, mailbox: INBOX, uids: vec![2] }])).unwrap();
    let to = Target::Mailbox(work);
    let out = v.commit(ops(vec![
        store(alice, &[3], FlagsHow::Add, Flags::of(Flags::SEEN)),
        Op::Copy { account: alice, from: INBOX, uids: vec![1, 2, 3, 4], to },
        Op::Copy { account: alice, from: work, uids: vec![1, 2], to },
        Op::Move { account: alice, from: INBOX, uids: vec![7], to },
    ]));
    let Outcome::Stored { changed, .. } = &out[0] else { panic!() };
    let flagged = changed[0].modseq;
    assert!(matches!(&out[1], Outcome::Copied { pairs, .. } if pairs == &[(1, 1), (3, 2)]));
    assert!(matches!(&out[2], Outcome::Copied { pairs, .. } if pairs.is_empty()), "copies of this very transaction");
    assert!(matches!(&out[3], Outcome::Moved { pairs, modseq, .. } if pairs.is_empty() && *modseq == flagged + 1));
    v.volume.mailbox(alice, work, |m| {
        assert_eq!(m.messages().iter().map(|m| m.bits()).collect::<Vec<_>>(), [0, Flags::SEEN]);
    });
    let gone = |from, to| ops(vec![Op::Copy { account: alice, from, uids: vec![1], to: Target::Mailbox(to) }]);
    assert_eq!(v.decide(gone(INBOX, MailboxId(9))).err(), Some(Refused::NoMailbox));
    assert_eq!(v.decide(gone(MailboxId(9), INBOX)).err(), Some(Refused::NoMailbox));
}

#[test]
fn a_refused_transaction_renames_copies_and_subscribes_nothing() {
    let disk = support::made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let work = made(&mut v, alice, "Work");
    v.deliver(alice, b"x\r\n");
    let refused = ops(vec![
        rename(alice, work, "Work", "Rest"),
        make(alice, "Work"),
        Op::Subscribe { account: alice, name: "Rest".into(), on: true },
        Op::Move { account: alice, from: INBOX, uids: vec![1], to: Target::Made(1) },
        rename(alice, work, "Rest", "Work"),
    ]);
    assert_eq!(v.decide(refused).err(), Some(Refused::MailboxExists));
    assert_eq!(v.decide(ops(vec![make(alice, "Work")])).err(), Some(Refused::MailboxExists));
    v.done(make(alice, "Rest"));
    assert_eq!(names(&v, alice), ["INBOX", "Work", "Rest"]);
    assert_eq!((v.uids(alice), v.volume.subscriptions(alice)), (vec![1], vec!["INBOX".to_owned()]));
    let moved = v.done(Op::Move { account: alice, from: INBOX, uids: vec![1], to: Target::Mailbox(work) });
    assert!(matches!(moved, Outcome::Moved { pairs, .. } if pairs == [(1, 1)]));
}

#[test]
fn a_subscription_said_again_writes_nothing_and_many_are_too_many() {
    let disk = made_with(&ringpost_storage::Create { segment_bytes: 16 << 20, ..facts() });
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let subscribe = |n: usize| Op::Subscribe { account: alice, name: format!("n{n}"), on: true };
    // INBOX is one of them.
    for chunk in 0..SUBSCRIPTIONS_MAX / 1_000 {
        v.commit(ops((chunk * 1_000 + 1..(chunk + 1) * 1_000 + 1).take(999 + chunk.min(1)).map(subscribe).collect()));
    }
    assert_eq!(v.volume.subscriptions(alice).len(), SUBSCRIPTIONS_MAX);
    let one_more = || ops(vec![subscribe(1_000_000)]);
    assert_eq!(v.decide(one_more()).err(), Some(Refused::TooMany));
    let make = Op::CreateMailbox { account: alice, name: "new".into(), special_use: 0, subscribed: true };
    assert_eq!(v.decide(ops(vec![make])).err(), Some(Refused::TooMany));
    let records = v.volume.stats().records;
    v.done(subscribe(1));
    assert_eq!(v.volume.stats().records, records);
    v.decide(ops(vec![Op::Subscribe { account: alice, name: "n1".into(), on: false }])).unwrap();
    v.commit(one_more());
}

#[test]
fn a_hundred_thousand_are_copied_at_once_and_not_one_more() {
    let disk = made_with(&ringpost_storage::Create { segment_bytes: 16 << 20, ..facts() });
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for _ in 0..20 {
        let bodies = vec![b"x".to_vec().into()];
        v.commit(Transaction { bodies, ops: (0..COPY_UIDS_MAX / 20).map(|_| append(alice, 0)).collect() });
    }
    let uids = |n: usize| (1..=n as u32).collect::<Vec<_>>();
    let many = |n| Op::Copy { account: alice, from: INBOX, uids: uids(n), to: Target::Mailbox(INBOX) };
    assert_eq!(v.decide(ops(vec![many(COPY_UIDS_MAX + 1)])).err(), Some(Refused::TooLarge));
    assert_eq!(v.decide(ops(vec![many(COPY_UIDS_MAX), many(1)])).err(), Some(Refused::TooLarge));
    let written = v.volume.stats().written_bytes;
    assert!(matches!(v.done(many(COPY_UIDS_MAX)), Outcome::Copied { pairs, .. } if pairs.len() == COPY_UIDS_MAX));
    let each = (v.volume.stats().written_bytes - written) / COPY_UIDS_MAX as u64;
    assert!(each <= 66, "{each} octets written for each copy");
    assert_eq!(v.uids(alice).len(), 2 * COPY_UIDS_MAX);
}

#[test]
fn thousands_of_mailboxes_change_their_names_at_once() {
    let disk = made_with(&ringpost_storage::Create { segment_bytes: 16 << 20, ..facts() });
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let count = MAILBOXES_MAX as u32 - 1;
    for chunk in (0..count).collect::<Vec<_>>().chunks(2_000) {
        v.commit(ops(chunk.iter().map(|n| make(alice, &format!("a/{n}"))).collect()));
    }
    assert_eq!(v.decide(ops(vec![make(alice, "one more")])).err(), Some(Refused::TooMany));
    // All at once, and then the names that became free are taken at once.
    v.commit(ops((0..count).map(|n| rename(alice, MailboxId(n + 2), &format!("a/{n}"), &format!("b/{n}"))).collect()));
    let out = v.commit(ops(vec![remove(alice, MailboxId(2), "b/0"), make(alice, "a/0")]));
    assert!(matches!(out[1], Outcome::Mailbox(..)));
    let names = names(&v, alice);
    assert_eq!((names.len(), names[1].as_str(), names.last().unwrap().as_str()), (MAILBOXES_MAX, "b/1", "a/0"));
}
