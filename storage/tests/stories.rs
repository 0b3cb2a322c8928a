//! A volume in good days, through the front door.
#![cfg(feature = "sim")]

mod support;

use std::rc::Rc;

use ringpost_storage::{Body, Flags, FlagsHow, Lost, MailboxId, Op, Outcome, Refused, Transaction, Volume};
use support::*;

#[test]
fn a_letter_is_there_after_closing_and_opening() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("alice@ringpost.test");
    let uid = v.deliver(alice, b"Subject: hello\r\n\r\nworld\r\n");
    assert_eq!(uid, 1);
    v.close();
    assert_eq!(disk.unsynced_sectors(), 0);
    let v = open(&disk);
    assert_eq!(v.recovered.torn_bytes, 0);
    assert_eq!(v.recovered.damaged, vec![]);
    assert_eq!(v.volume.account_named("alice@ringpost.test"), Some(alice));
    assert_eq!(v.text(alice, 1).unwrap(), prefixed(alice, b"Subject: hello\r\n\r\nworld\r\n"));
    let m = v.volume.mailbox(alice, INBOX, |m| m.messages()[0].clone()).unwrap();
    assert_eq!((m.internal_ms, m.saved_ms()), (NOW_MS - 5_000, NOW_MS));
    assert_eq!(m.size(), prefixed(alice, b"Subject: hello\r\n\r\nworld\r\n").len() as u64);
}

#[test]
fn decided_state_is_not_visible_before_the_sync() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("alice@ringpost.test");
    let before = v.volume.mailbox(alice, INBOX, |m| (m.uidnext(), m.highest_modseq(), m.version())).unwrap();
    let decided = v.decide(letter(alice, b"x\r\n")).unwrap();
    assert_eq!(uid(&decided.outcomes[0]), 1);
    let after = v.volume.mailbox(alice, INBOX, |m| (m.uidnext(), m.highest_modseq(), m.version())).unwrap();
    assert_eq!(before, after);
    assert_eq!(v.uids(alice), vec![]);
    v.tasks.settle();
    assert_eq!(v.uids(alice), vec![1]);
    assert!(v.volume.mailbox(alice, INBOX, |m| m.version()).unwrap() > before.2);
}

#[test]
fn a_dropped_ticket_does_not_undo_the_letter() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    drop(v.decide(letter(alice, b"x\r\n")).unwrap());
    v.tasks.settle();
    assert_eq!(v.uids(alice), vec![1]);
}

#[test]
fn letters_gather_while_one_batch_is_in_flight() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let before = v.volume.stats().batches;
    for n in 0..50 {
        v.decide(letter(alice, &text(300, n))).unwrap();
    }
    v.tasks.settle();
    assert_eq!(v.volume.stats().batches, before + 1);
    assert_eq!(v.uids(alice), (1..=50).collect::<Vec<_>>());
}

#[test]
fn one_body_serves_many_copies() {
    let disk = made();
    let mut v = open(&disk);
    let people: Vec<_> = (0..5).map(|n| v.account(&format!("p{n}@x"))).collect();
    let ops = people.iter().map(|p| append(*p, 0)).collect();
    let body = text(5_000, 1);
    v.commit(Transaction { bodies: vec![Body::from(body.clone())], ops });
    assert!(v.volume.stats().body_bytes < 6_000);
    v.close();
    let v = open(&disk);
    for p in people {
        assert_eq!(v.text(p, 1).unwrap(), prefixed(p, &body));
    }
}

#[test]
fn a_refused_transaction_leaves_nothing() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let nobody = ringpost_storage::AccountId(77);
    let both = Transaction { bodies: vec![Body::from(b"x".to_vec())], ops: vec![append(alice, 0), append(nobody, 0)] };
    assert_eq!(v.decide(both).err(), Some(Refused::NoAccount));
    let make = |name: &str| Op::CreateMailbox { account: alice, name: name.into(), special_use: 0, subscribed: true };
    let twice = Transaction { bodies: vec![], ops: vec![make("Work"), make("Work")] };
    assert_eq!(v.decide(twice).err(), Some(Refused::MailboxExists));
    assert_eq!(v.deliver(alice, b"first\r\n"), 1);
    assert!(matches!(v.done(make("Work")), Outcome::Mailbox(MailboxId(2), _)));
    assert_eq!(v.volume.mailboxes(alice).len(), 2);
}

#[test]
fn inbox_is_taken_in_any_case() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let make = Op::CreateMailbox { account: alice, name: "inbox".into(), special_use: 0, subscribed: true };
    assert_eq!(v.decide(Transaction { bodies: vec![], ops: vec![make] }).err(), Some(Refused::MailboxExists));
}

#[test]
fn flags_change_and_unchanged_since_holds() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, b"1\r\n");
    v.deliver(alice, b"2\r\n");
    let seen = v.volume.mailbox(alice, INBOX, |m| m.highest_modseq()).unwrap();
    let words = Flags { bits: Flags::SEEN, keywords: Some(vec!["$Junk".into(), "work".into()].into()) };
    let Outcome::Stored { changed, modified } = v.done(store(alice, &[1, 9], FlagsHow::Add, words.clone())) else {
        panic!()
    };
    assert_eq!((changed.len(), &changed[0].flags, changed[0].before < changed[0].modseq), (1, &words, true));
    assert_eq!(modified, []);
    let flagged = changed[0].modseq;
    let guarded = Op::StoreFlags {
        account: alice,
        mailbox: INBOX,
        uids: vec![2, 1],
        how: FlagsHow::Replace,
        flags: Flags::of(Flags::DELETED),
        unchanged_since: Some(seen),
    };
    let Outcome::Stored { changed, modified } = v.done(guarded) else { panic!() };
    assert_eq!((changed[0].uid, changed[0].before, modified), (2, seen, vec![1]));
    // What is decided and not durable counts.
    let decided = [FlagsHow::Remove, FlagsHow::Add].map(|how| {
        let all = v.decide(Transaction { bodies: vec![], ops: vec![store(alice, &[1], how, words.clone())] });
        let Outcome::Stored { changed, .. } = &all.unwrap().outcomes[0] else { panic!() };
        (changed[0].before, changed[0].modseq)
    });
    assert_eq!((decided[0].0, decided[1].0), (flagged, decided[0].1));
    v.done(store(alice, &[1], FlagsHow::Remove, Flags { bits: 0, keywords: Some(vec!["work".into()].into()) }));
    v.close();
    let v = open(&disk);
    v.volume.mailbox(alice, INBOX, |m| {
        assert_eq!(
            m.by_uid(1).unwrap().flags(),
            Flags { bits: Flags::SEEN, keywords: Some(vec!["$Junk".into()].into()) }
        );
        assert_eq!(m.by_uid(2).unwrap().flags(), Flags::of(Flags::DELETED));
        assert!(m.highest_modseq() > seen);
    });
}

#[test]
fn a_second_store_decides_on_what_the_first_decided() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    v.deliver(alice, b"1\r\n");
    let one = |op| Transaction { bodies: vec![], ops: vec![op] };
    let before = v.volume.mailbox(alice, INBOX, |m| m.highest_modseq());
    v.decide(one(store(alice, &[1], FlagsHow::Add, Flags::of(Flags::SEEN)))).unwrap();
    let second = Op::StoreFlags {
        account: alice,
        mailbox: INBOX,
        uids: vec![1],
        how: FlagsHow::Add,
        flags: Flags::of(Flags::FLAGGED),
        unchanged_since: before,
    };
    assert_eq!(v.decide(one(second)).unwrap().outcomes, vec![Outcome::Stored { changed: vec![], modified: vec![1] }]);
    let expunge = || one(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![1] });
    assert!(matches!(&v.decide(expunge()).unwrap().outcomes[0], Outcome::Expunged(uids, _) if uids == &[1]));
    assert!(matches!(&v.decide(expunge()).unwrap().outcomes[0], Outcome::Expunged(uids, _) if uids.is_empty()));
    v.tasks.settle();
    assert_eq!(v.uids(alice), vec![]);
}

#[test]
fn uids_are_not_used_again_after_expunge_and_restart() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 1..=3 {
        assert_eq!(v.deliver(alice, b"x\r\n"), n);
    }
    let since = v.volume.mailbox(alice, INBOX, |m| m.highest_modseq()).unwrap();
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![3, 2, 3, 8] });
    v.close();
    let mut v = open(&disk);
    assert_eq!(v.volume.mailbox(alice, INBOX, |m| m.expunged_since(since)).unwrap(), Some(vec![2, 3]));
    assert_eq!(v.volume.mailbox(alice, INBOX, |m| m.uidnext()), Some(4));
    assert_eq!(v.deliver(alice, b"x\r\n"), 4);
}

#[test]
fn uidvalidity_rises_though_the_clock_goes_back() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let make = |name: &str| Op::CreateMailbox { account: alice, name: name.into(), special_use: 0, subscribed: true };
    let one = |op| Transaction { bodies: vec![], ops: vec![op] };
    let Outcome::Mailbox(work, first) = v.done(make("Work")) else { panic!() };
    v.done(Op::RemoveMailbox { account: alice, mailbox: work, name: "Work".into() });
    v.close();
    let mut v = open(&disk);
    let decided = v.volume.decide(one(make("Work")), 5_000).unwrap();
    v.tasks.settle();
    let Outcome::Mailbox(again, second) = decided.outcomes[0] else { panic!() };
    assert!(second > first);
    assert_ne!(again, work);
}

#[test]
fn the_history_of_expunges_has_a_floor() {
    let facts = ringpost_storage::Create { segment_bytes: 4 << 20, ..facts() };
    let disk = made_with(&facts);
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let many = |n: usize| Transaction {
        bodies: vec![Body::from(b"x".to_vec())],
        ops: (0..n).map(|_| append(alice, 0)).collect(),
    };
    v.commit(many(6_000));
    v.commit(many(6_000));
    let since = v.volume.mailbox(alice, INBOX, |m| m.highest_modseq()).unwrap();
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: (1..=6_000).collect() });
    assert_eq!(v.volume.mailbox(alice, INBOX, |m| m.expunged_since(since)).unwrap().unwrap().len(), 6_000);
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: (6_001..=11_000).collect() });
    assert_eq!(v.volume.mailbox(alice, INBOX, |m| m.expunged_since(since)).unwrap(), None);
    assert_eq!(v.uids(alice).len(), 1_000);
}

#[test]
fn a_large_letter_is_read_in_ranges() {
    let facts = ringpost_storage::Create { segment_bytes: 4 << 20, ..facts() };
    let disk = made_with(&facts);
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let body = text(900_001, 7);
    let mut parts = Body::with_hint(0);
    body.chunks(1_000).for_each(|c| parts.push(c));
    v.commit(Transaction { bodies: vec![parts], ops: vec![append(alice, 0)] });
    v.close();
    let v = open(&disk);
    let whole = prefixed(alice, &body);
    let m = v.volume.mailbox(alice, INBOX, |m| m.messages()[0].clone()).unwrap();
    assert_eq!(block_on(v.volume.read(&m)).unwrap(), whole);
    for (at, len) in
        [(0, 10), (5, 40), (262_100, 200), (300_000, 600_000), (899_990, 500), (2_000_000, 5), (0, 900_100)]
    {
        let want = &whole[at.min(whole.len())..(at + len).min(whole.len())];
        assert_eq!(block_on(v.volume.read_range(&m, at as u64, len)).unwrap(), want, "{at} {len}");
    }
}

#[test]
fn a_small_letter_is_one_read_of_the_disk() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let body = text(4_000, 1);
    v.deliver(alice, &body);
    let whole = prefixed(alice, &body);
    let message = v.volume.mailbox(alice, INBOX, |m| m.messages()[0].clone()).unwrap();
    for (from, len) in [(0, whole.len()), (0, whole.len() + 9), (3, whole.len() - 5)] {
        let before = disk.steps();
        let range = block_on(v.volume.read_range(&message, from as u64, len)).unwrap();
        assert_eq!(range, whole[from..(from + len).min(whole.len())]);
        assert_eq!(disk.steps() - before, 1, "{from}, {len}");
    }
    let before = disk.steps();
    assert_eq!(block_on(v.volume.read(&message)).unwrap(), whole);
    assert_eq!(disk.steps() - before, 1);
}

#[test]
fn summaries_come_back_and_later_ones_win() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let put = |items: &[(u32, &str)]| Op::Summaries {
        account: alice,
        mailbox: INBOX,
        items: items.iter().map(|(uid, s)| (*uid, s.as_bytes().to_vec())).collect(),
    };
    v.done(put(&[(1, "one"), (2, "two"), (5, "five")]));
    v.done(put(&[(2, "deux")]));
    v.close();
    let v = open(&disk);
    let found = block_on(v.volume.summaries(alice, INBOX, &[1, 2, 3, 5]));
    let found: Vec<_> = found.iter().map(|s| s.as_deref()).collect();
    assert_eq!(found, [Some(&b"one"[..]), Some(b"deux"), None, Some(b"five")]);
}

#[test]
fn domains_and_accounts_come_and_go() {
    let disk = made();
    let mut v = open(&disk);
    v.done(Op::PutDomain { name: "ringpost.test".into(), info: vec![1] });
    v.done(Op::PutDomain { name: "gone.test".into(), info: vec![2] });
    v.done(Op::RemoveDomain { name: "gone.test".into() });
    let alice = v.account("a@x");
    let bob = v.account("b@x");
    assert_eq!(v.account("a@x"), alice, "the same name is the same account");
    v.deliver(bob, b"x\r\n");
    v.done(Op::RemoveAccount { account: bob });
    let again = v.account("b@x");
    assert_ne!(again, bob, "a new account is never an old one");
    assert_eq!(alice.0 >> 48, 3, "minted by volume 3");
    v.close();
    let v = open(&disk);
    assert_eq!(v.volume.domains().iter().map(|d| d.0.as_str()).collect::<Vec<_>>(), ["ringpost.test"]);
    assert_eq!(block_on(v.volume.accounts()).unwrap().iter().map(|a| a.id).collect::<Vec<_>>(), [alice, again]);
    assert_eq!(v.uids(again), vec![]);
    assert_eq!(&*block_on(v.volume.account(alice)).unwrap().unwrap().secrets, b"secret");
}

#[test]
fn the_log_goes_on_through_many_segments() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 1..=100 {
        assert_eq!(v.deliver(alice, &text(9_000, n)), n as u32);
    }
    v.close();
    assert!(disk.peek("segment-00000010").is_some());
    let v = open(&disk);
    assert_eq!(v.recovered.damaged, vec![]);
    for n in 1..=100 {
        assert_eq!(v.text(alice, n).unwrap(), prefixed(alice, &text(9_000, u64::from(n))));
    }
}

#[test]
fn too_large_is_said_and_not_tried() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    assert_eq!(v.decide(letter(alice, &text(70_000, 1))).err(), Some(Refused::TooLarge));
    let mut long = letter(alice, b"x");
    let Op::Append { prefix, .. } = &mut long.ops[0] else { panic!() };
    *prefix = vec![b'x'; 5_000];
    assert_eq!(v.decide(long).err(), Some(Refused::TooLarge));
    assert_eq!(v.deliver(alice, &text(60_000, 1)), 1);
}

#[test]
fn too_much_waiting_is_busy() {
    let disk = made();
    let v = open(&disk);
    let mut busy = false;
    for n in 0..10_000 {
        let put = Op::PutDomain { name: format!("d{n}.test"), info: text(4_000, n) };
        match v.decide(Transaction { bodies: vec![], ops: vec![put] }) {
            Ok(_) => {}
            Err(refused) => {
                assert_eq!(refused, Refused::Busy);
                busy = true;
                break;
            }
        }
    }
    assert!(busy);
}

#[test]
fn creating_twice_is_refused_and_an_empty_folder_is_no_volume() {
    let disk = made();
    assert_eq!(block_on(Volume::create(&disk, &facts())).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    let empty = ringpost_storage::sim::SimDisk::new(1);
    assert!(matches!(try_open(&empty), Err(ringpost_storage::OpenError::Absent)));
}

#[test]
fn after_closing_nothing_is_taken() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let volume = v.volume.clone();
    v.close();
    assert_eq!(volume.decide(letter(alice, b"x"), NOW_MS).err(), Some(Refused::Failed));
}

#[test]
fn a_volume_whose_loop_never_ran_closes_too() {
    let disk = made();
    let (volume, _) = block_on(Volume::open(disk.clone(), None, settings())).unwrap();
    let put = Op::PutDomain { name: "d.test".into(), info: vec![] };
    let decided = volume.decide(Transaction { bodies: vec![], ops: vec![put] }, NOW_MS).unwrap();
    block_on(volume.close());
    assert_eq!(block_on(decided.ticket), Ok::<(), Lost>(()));
    assert_eq!(open(&disk).volume.domains().len(), 1);
}

#[test]
fn a_volume_that_is_closed_before_its_loop_begins_is_closed_once() {
    let disk = made();
    let (volume, _) = block_on(Volume::open(disk.clone(), None, settings())).unwrap();
    let put = Op::PutDomain { name: "d.test".into(), info: vec![] };
    let decided = volume.decide(Transaction { bodies: vec![], ops: vec![put] }, NOW_MS).unwrap();
    disk.set_delay(Some(Rc::new(|_| Box::pin(turns(1)))));
    let (closer, looped) = (volume.clone(), volume.clone());
    let mut tasks = Tasks::default();
    tasks.spawn(async move { closer.close().await });
    tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
    tasks.settle();
    assert_eq!(block_on(decided.ticket), Ok::<(), Lost>(()));
    drop(volume);
    disk.set_delay(None);
    assert_eq!(open(&disk).volume.domains().len(), 1);
}

#[test]
fn at_batch_16_a_stored_byte_costs_at_most_1_15_written() {
    let facts = ringpost_storage::Create { segment_bytes: 16 << 20, ..facts() };
    for batch in [16, 64] {
        let disk = made_with(&facts);
        let mut v = open(&disk);
        let people: Vec<_> = (0..100).map(|n| v.account(&format!("p{n}@x"))).collect();
        // Warm the chains up to their full length.
        for p in people.iter().cycle().take(2_000) {
            v.deliver(*p, b"x");
        }
        let before = v.volume.stats();
        for round in 0..10 {
            for n in 0..batch {
                v.decide(letter(people[(round * 7 + n * 3) % 100], &text(4_096, n as u64))).unwrap();
            }
            v.tasks.settle();
        }
        let after = v.volume.stats();
        assert_eq!(after.batches - before.batches, 10);
        let ratio = (after.written_bytes - before.written_bytes) as f64 / (after.body_bytes - before.body_bytes) as f64;
        println!("batch {batch}: {ratio:.3} bytes written per byte stored");
        assert!(ratio <= 1.15, "batch {batch}: {ratio}");
    }
}
