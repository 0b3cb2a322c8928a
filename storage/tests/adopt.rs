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

/// Gives an account that lives here another name, as the office does: put again as one that comes with its numbers.
fn renaming(v: &Open, account: AccountId, to: &str) -> Transaction {
    let info = block_on(v.volume.account(account)).unwrap().expect("it is here");
    let (limit_bytes, limit_messages) = v.volume.limits_of(account).expect("it is here");
    let again = AdoptOp::Account {
        account,
        name: to.into(),
        secrets: info.secrets.to_vec(),
        generation: info.generation,
        limit_bytes,
        limit_messages,
        modseq: v.volume.modseq_of(account).expect("it is here"),
    };
    let limits = ringpost_storage::Limits { bytes: limit_bytes, messages: limit_messages };
    let entry = Op::PutDomain { name: "list:sales@x".into(), info: to.as_bytes().to_vec() };
    Transaction { bodies: vec![], ops: vec![Op::SetLimits { account, limits }, Op::Adopt(again), entry] }
}

/// All that is told of an account but its name.
fn all_of(v: &Open, account: AccountId) -> impl PartialEq + std::fmt::Debug + use<> {
    let loaded = block_on(v.volume.load(account)).unwrap().expect("it is here");
    let messages = |id| loaded.mailbox(id, |m| (m.messages().to_vec().len(), m.uidnext(), m.highest_modseq()));
    let mailboxes: Vec<_> =
        loaded.mailboxes().into_iter().map(|m| (m.id, m.name, m.uidvalidity, messages(m.id))).collect();
    let info = block_on(v.volume.account(account)).unwrap().expect("it is here");
    let quota = v.volume.quota(account).expect("it is here");
    let kept = (quota.used_bytes, quota.used_messages, quota.limits.bytes, quota.limits.messages);
    (mailboxes, loaded.subscriptions(), info.secrets.to_vec(), info.generation, kept)
}

#[test]
fn an_account_with_another_name_is_the_same_in_all_else() {
    let disk = made_with(&ringpost_storage::Create { segment_bytes: 1 << 20, ..facts() });
    let mut v = open(&disk);
    let alice = v.account("alice@x");
    let bob = v.account("bob@x");
    v.done(Op::SetLimits { account: alice, limits: ringpost_storage::Limits { bytes: 1 << 20, messages: 100 } });
    v.done(Op::CreateMailbox { account: alice, name: "Work".into(), special_use: 0, subscribed: true });
    for n in 1..=40 {
        v.deliver(alice, &text(900, n));
    }
    let held = hold_all(&v.volume);
    v.done(store(alice, &[2, 3], FlagsHow::Add, Flags::of(Flags::SEEN)));
    let before = all_of(&v, alice);
    assert_eq!(v.decide(renaming(&v, alice, "bob@x")).err(), Some(Refused::MailboxExists), "somebody has it");
    let change = renaming(&v, alice, "zoe@x");
    v.commit(change);
    drop(held);
    let look = |v: &Open, what: &str| {
        let named = |name| v.volume.account_named(name);
        assert_eq!((named("alice@x"), named("zoe@x"), named("bob@x")), (None, Some(alice), Some(bob)), "{what}");
        assert_eq!(block_on(v.volume.account(alice)).unwrap().expect("it is here").name, "zoe@x", "{what}");
        assert!(all_of(v, alice) == before, "{what}: {:?}, was {before:?}", all_of(v, alice));
        for n in 1..=40 {
            assert_eq!(v.text(alice, n).unwrap(), prefixed(alice, &text(900, u64::from(n))), "{what}: message {n}");
        }
    };
    look(&v, "at once");
    drop(v);
    let v = open(&disk.crash());
    look(&v, "after a crash");
    let mut v = v;
    let volume = v.volume.clone();
    v.tasks.spawn(async move { assert!(volume.fold(alice).await.is_ok()) });
    v.tasks.settle();
    v.close();
    let mut v = open(&disk.crash());
    look(&v, "after its records were folded");
    // The old name is free, and who gets it is somebody else.
    let other = v.account("alice@x");
    assert!(other != alice && v.uids(other).is_empty());
    assert_eq!(v.deliver(alice, b"next\r\n"), 41);
    let held = hold_all(&v.volume);
    v.done(Op::RemoveAccount { account: alice });
    assert_eq!((v.volume.account_named("zoe@x"), v.volume.account_named("alice@x")), (None, Some(other)));
    drop(held);
}

#[test]
fn a_power_cut_leaves_the_old_name_or_the_new_one_with_all_that_goes_with_it() {
    let mut seen = [0, 0];
    for seed in 0..200 {
        let disk = ringpost_storage::sim::SimDisk::new(seed);
        block_on(ringpost_storage::Volume::create(&disk, &facts())).unwrap();
        let mut v = open(&disk);
        let alice = v.account("alice@x");
        v.done(Op::PutDomain { name: "list:sales@x".into(), info: b"alice@x".to_vec() });
        v.deliver(alice, b"one\r\n");
        let held = hold_all(&v.volume);
        let before = all_of(&v, alice);
        let decided = v.decide(renaming(&v, alice, "zoe@x")).unwrap();
        // Some of it is on its way.
        for _ in 0..seed % 12 {
            v.tasks.turn();
        }
        drop((decided, held, v));
        let v = open(&disk.crash());
        let named = |name| v.volume.account_named(name);
        let (old, new) = (named("alice@x"), named("zoe@x"));
        let entry =
            v.volume.domains().into_iter().find(|(key, _)| key == "list:sales@x").map(|(_, info)| info.to_vec());
        let name = block_on(v.volume.account(alice)).unwrap().expect("it is here").name;
        assert_eq!(entry.as_deref(), Some(name.as_bytes()), "seed {seed}: what goes with it went with it");
        assert_eq!([old, new], if name == "zoe@x" { [None, Some(alice)] } else { [Some(alice), None] }, "seed {seed}");
        assert!(all_of(&v, alice) == before, "seed {seed}");
        seen[usize::from(new.is_some())] += 1;
    }
    assert!(seen.iter().all(|n| *n > 10), "both happen: {seen:?}");
}
