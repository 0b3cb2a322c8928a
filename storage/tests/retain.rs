//! What was expunged stays for a while: it counts for nothing, comes back whole and once, and goes for good when it is told to.
#![cfg(feature = "sim")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use ringpost_storage::sim::SimDisk;
use ringpost_storage::{
    AccountId, Body, Compacted, Flags, FlagsHow, Limits, MailboxId, Op, Outcome, RETAINED, Refused, Retained, Settings,
    Target, Transaction,
};
use support::*;

fn retaining() -> Settings {
    Settings { retain: true, ..settings() }
}

fn reopened(disk: &SimDisk) -> Open {
    try_open_with(disk, retaining()).unwrap()
}

/// Five letters of alice's, of which 2 is flagged and 4 has a keyword.
fn letters() -> (SimDisk, AccountId) {
    let disk = made();
    let mut v = reopened(&disk);
    let alice = v.account("a@x");
    for n in 1..=5 {
        v.deliver(alice, &text(3_000, n));
    }
    v.done(store(alice, &[2], FlagsHow::Add, Flags::of(Flags::FLAGGED | Flags::DELETED)));
    let keyword = Flags { bits: 0, keywords: Some(vec!["work".into()].into()) };
    v.done(store(alice, &[4], FlagsHow::Add, keyword));
    v.close();
    (disk, alice)
}

fn retained(v: &Open, account: AccountId) -> Vec<Retained> {
    block_on(v.volume.load(account)).unwrap().unwrap().retained()
}

/// Back to where they were, by its id.
fn bring_back(v: &mut Open, account: AccountId, to: MailboxId) -> Vec<(u32, u32)> {
    let uids = retained(v, account).iter().map(|kept| kept.uid).collect();
    let from = v.volume.mailbox_named(account, RETAINED).unwrap();
    match v.done(Op::Move { account, from, uids, to: Target::Mailbox(to) }) {
        Outcome::Moved { pairs, .. } => pairs,
        other => panic!("{other:?}"),
    }
}

fn forget(v: &mut Open, account: AccountId, before_ms: i64) -> u64 {
    let told = Rc::new(RefCell::new(None));
    let (tell, volume) = (told.clone(), v.volume.clone());
    v.tasks.spawn(async move {
        let forgotten = volume.forget(account, before_ms, NOW_MS).await.expect("it is forgotten");
        *tell.borrow_mut() = Some(forgotten);
    });
    v.tasks.settle();
    told.take().expect("it comes to an end")
}

fn expunge(account: AccountId, uids: &[u32]) -> Op {
    Op::Expunge { account, mailbox: INBOX, uids: uids.to_vec() }
}

#[test]
fn what_was_expunged_comes_back_whole_under_new_uids() {
    let (disk, alice) = letters();
    let mut v = reopened(&disk);
    let whole = v.volume.quota(alice).unwrap();
    let Outcome::Expunged(uids, _) = v.done(expunge(alice, &[2, 4, 9])) else { panic!("it was expunged") };
    assert_eq!((uids, v.uids(alice)), (vec![2, 4], vec![1, 3, 5]));
    let less = v.volume.quota(alice).unwrap();
    assert_eq!(less.used_messages, 3);
    assert!(less.used_bytes < whole.used_bytes - 6_000, "it counts for no quota");
    v.close();
    let mut v = reopened(&disk);
    assert_eq!(v.volume.quota(alice), Some(less));
    let kept = retained(&v, alice);
    let told: Vec<_> = kept.iter().map(|k| (k.from, k.name.as_str(), k.expunged_ms)).collect();
    assert_eq!(told, [(Some(INBOX), "INBOX", NOW_MS), (Some(INBOX), "INBOX", NOW_MS)]);
    assert_eq!(bring_back(&mut v, alice, INBOX).iter().map(|(_, uid)| *uid).collect::<Vec<_>>(), [6, 7]);
    assert_eq!((v.uids(alice), v.volume.quota(alice)), (vec![1, 3, 5, 6, 7], Some(whole)));
    for (uid, n) in [(6, 2), (7, 4)] {
        assert_eq!(v.text(alice, uid).unwrap(), prefixed(alice, &text(3_000, n)));
    }
    let flags = |uid| v.volume.mailbox(alice, INBOX, |m| m.by_uid(uid).map(|m| (m.flags(), m.internal_ms))).flatten();
    assert_eq!(flags(6), Some((Flags::of(Flags::FLAGGED), NOW_MS - 5_000)), "but not \\Deleted");
    assert_eq!(flags(7).unwrap().0.keywords(), ["work".into()]);
    assert_eq!(retained(&v, alice).len(), 0, "once");
}

#[test]
fn without_it_an_expunge_is_for_good_and_so_is_a_discard_with_it() {
    let (disk, alice) = letters();
    let mut v = open(&disk);
    v.done(expunge(alice, &[1]));
    assert_eq!((retained(&v, alice).len(), v.volume.mailbox_named(alice, RETAINED)), (0, None));
    v.close();
    let mut v = reopened(&disk);
    v.done(Op::Discard { account: alice, mailbox: INBOX, uids: vec![2] });
    assert_eq!(retained(&v, alice).len(), 0);
    assert_eq!(v.uids(alice), [3, 4, 5]);
}

#[test]
fn a_removed_mailbox_leaves_its_messages_for_a_while() {
    let (disk, alice) = letters();
    let mut v = reopened(&disk);
    let made = Op::CreateMailbox { account: alice, name: "Lists/Rust".into(), special_use: 0, subscribed: true };
    let Outcome::Mailbox(lists, _) = v.done(made) else { panic!("it was made") };
    let to = Target::Mailbox(lists);
    v.done(Op::Move { account: alice, from: INBOX, uids: vec![1, 2], to });
    assert_eq!(retained(&v, alice).len(), 0, "what is moved is not lost");
    let quota = v.volume.quota(alice).unwrap();
    v.done(Op::RemoveMailbox { account: alice, mailbox: lists, name: "Lists/Rust".into() });
    assert_eq!(v.volume.quota(alice).unwrap().used_messages, 3);
    let told: Vec<_> = retained(&v, alice).into_iter().map(|k| (k.from, k.name)).collect();
    assert_eq!(told, vec![(Some(lists), "Lists/Rust".to_owned()); 2]);
    v.close();
    let mut v = reopened(&disk);
    bring_back(&mut v, alice, INBOX);
    assert_eq!((v.uids(alice), v.volume.quota(alice)), (vec![3, 4, 5, 6, 7], Some(quota)));
    assert_eq!(v.text(alice, 7).unwrap(), prefixed(alice, &text(3_000, 2)));
    // With the account everything goes.
    v.done(expunge(alice, &[3]));
    v.done(Op::RemoveAccount { account: alice });
    assert_eq!(v.volume.space().live_bytes, 0);
}

#[test]
pub fn what_is_old_is_forgotten_and_its_space_comes_back() {
    let (disk, alice) = letters();
    let mut v = reopened(&disk);
    let before = v.volume.space();
    v.done(expunge(alice, &[1, 2]));
    assert_eq!(v.volume.space().live_bytes, before.live_bytes, "their bodies live");
    assert_eq!(forget(&mut v, alice, NOW_MS), 0, "they were expunged just now");
    assert_eq!(forget(&mut v, alice, NOW_MS + 1), 2);
    assert_eq!((retained(&v, alice).len(), forget(&mut v, alice, i64::MAX)), (0, 0));
    assert_eq!(v.volume.space().live_bytes, before.live_bytes - 6_000);
    assert_eq!(v.volume.quota(alice).unwrap().used_messages, 3, "it had counted for nothing");
    v.close();
    let v = reopened(&disk);
    assert_eq!(
        (v.volume.quota(alice).unwrap().used_messages, v.volume.space().live_bytes),
        (3, before.live_bytes - 6_000)
    );
}

#[test]
fn an_account_keeps_no_more_of_it_than_it_may_have_of_others() {
    let (disk, alice) = letters();
    let mut v = reopened(&disk);
    v.done(Op::SetLimits { account: alice, limits: Limits { bytes: 0, messages: 2 } });
    v.done(expunge(alice, &[1, 2]));
    v.done(expunge(alice, &[3]));
    assert_eq!((v.uids(alice), retained(&v, alice).len()), (vec![4, 5], 2), "the third went for good");
    v.done(Op::SetLimits { account: alice, limits: Limits { bytes: 8_000, messages: 0 } });
    v.done(expunge(alice, &[4]));
    assert_eq!(
        (v.uids(alice), retained(&v, alice).len()),
        (vec![5], 2),
        "as did the fourth: three are more than 8,000 octets"
    );
    let (over, quota) = (bring_back(&mut v, alice, INBOX), v.volume.quota(alice).unwrap());
    assert_eq!((over.len(), quota.used_messages), (2, 3), "who brings it back is not refused for quota");
}

#[test]
fn on_a_full_disk_and_where_it_would_not_fit_an_expunge_is_for_good() {
    let (disk, alice) = letters();
    let mut v = reopened(&disk);
    // Of a segment of 64 KiB the copies would take more than there is.
    for _ in 0..9 {
        let ops = (0..100).map(|n| append(alice, n)).collect();
        let bodies: Vec<Body> = (0..100).map(|n| Body::from(text(100, n))).collect();
        v.commit(Transaction { bodies, ops });
    }
    let all = v.uids(alice);
    assert_eq!(all.len(), 905);
    v.done(expunge(alice, &all));
    assert_eq!((v.uids(alice).len(), retained(&v, alice).len()), (0, 0));
    v.deliver(alice, &text(100, 1));
    v.deliver(alice, &text(100, 2));
    let uids = v.uids(alice);
    v.done(expunge(alice, &uids[..1]));
    assert_eq!(retained(&v, alice).len(), 1);
    disk.set_free_bytes(1_000);
    assert_eq!(v.volume.decide(letter(alice, b"x"), NOW_MS + 2_000).err(), Some(Refused::DiskFull));
    v.done(expunge(alice, &uids[1..]));
    assert_eq!((v.uids(alice).len(), retained(&v, alice).len()), (0, 1), "room is made");
}

#[test]
fn compaction_keeps_it() {
    let disk = made();
    let with = Settings { checkpoint_bytes: 32 << 10, ..retaining() };
    let mut v = try_open_with(&disk, with.clone()).unwrap();
    let alice = v.account("a@x");
    for n in 1..=60 {
        v.deliver(alice, &text(3_000, n));
    }
    let most: Vec<u32> = (1..=60).filter(|n| n % 3 != 0).collect();
    v.done(expunge(alice, &most));
    // Those of the first half are too old when it is looked.
    let old: Vec<u32> = retained(&v, alice).iter().map(|k| k.uid).take(20).collect();
    let mailbox = v.volume.mailbox_named(alice, RETAINED).unwrap();
    v.done(Op::Expunge { account: alice, mailbox, uids: old });
    v.held.clear();
    let volume = v.volume.clone();
    v.tasks.spawn(async move { while let Compacted::Segment { .. } = volume.compact(&Calm).await {} });
    v.tasks.settle();
    assert!(v.volume.stats().compacted_segments >= 1, "{:?}", v.volume.stats());
    v.close();
    let mut v = try_open_with(&disk, with).unwrap();
    assert_eq!(bring_back(&mut v, alice, INBOX).len(), 20);
    let there = v.uids(alice);
    assert_eq!(there.len(), 40);
    for (uid, n) in there.iter().rev().zip(most.iter().rev()).take(20) {
        assert_eq!(v.text(alice, *uid).unwrap(), prefixed(alice, &text(3_000, u64::from(*n))));
    }
}

#[test]
pub fn it_is_found_also_when_old_places_were_forgotten() {
    let disk = made();
    let with = Settings { checkpoint_bytes: 32 << 10, ..retaining() };
    let mut v = try_open_with(&disk, with.clone()).unwrap();
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    for n in 1..=20 {
        v.deliver(alice, &text(1_000, n));
    }
    // She keeps nothing that counts.
    v.done(expunge(alice, &(1..=20).collect::<Vec<u32>>()));
    let mut forgets = 0;
    for round in 0..120 {
        let uids = (0..20).map(|n| v.deliver(bob, &text(3_000, 1_000 + round * 20 + n))).collect();
        v.done(Op::Discard { account: bob, mailbox: INBOX, uids });
        // What lives moves, all that is empty gone before; then there are empty segments again, so that while old places are forgotten
        // only those go, and nobody's rows are written again for it.
        let (keen, times) =
            [(true, 6), (true, 0), (true, 0), (true, 0), (true, 1), (false, 1), (false, 1)][round as usize % 7];
        for _ in 0..times {
            let volume = v.volume.clone();
            v.tasks.spawn(async move {
                let _ = if keen { volume.compact(&Keen).await } else { volume.compact(&Calm).await };
            });
            v.tasks.settle();
        }
        if v.volume.stats().forgets > 0 {
            forgets += 1;
            v.held.clear();
            v.close();
            v = try_open_with(&disk, with.clone()).unwrap();
            let mailbox = v.volume.mailbox_named(alice, RETAINED).unwrap();
            let kept = v.volume.mailbox(alice, mailbox, |m| m.messages().to_vec()).unwrap();
            assert_eq!(kept.len(), 20);
            kept.iter().for_each(|message| drop(block_on(v.volume.read(message)).unwrap()));
        }
    }
    assert!(forgets >= 2, "{forgets}");
    assert_eq!(bring_back(&mut v, alice, INBOX).len(), 20);
    for (uid, n) in v.uids(alice).into_iter().zip(1..) {
        assert_eq!(v.text(alice, uid).unwrap(), prefixed(alice, &text(1_000, n)));
    }
}

#[test]
fn a_crash_leaves_it_here_or_there_never_twice_and_never_nowhere() {
    let (mut here, mut there) = (0, 0);
    for (turns, undelete) in (0..12).flat_map(|turns| [(turns, false), (turns, true)]) {
        let (disk, alice) = letters();
        let mut v = reopened(&disk);
        let mut op = expunge(alice, &[2, 3]);
        if undelete {
            v.done(op);
            let from = v.volume.mailbox_named(alice, RETAINED).unwrap();
            op = Op::Move { account: alice, from, uids: vec![1, 2], to: Target::Mailbox(INBOX) };
        }
        drop(v.decide(Transaction { bodies: vec![], ops: vec![op] }).unwrap());
        for _ in 0..turns {
            v.tasks.turn();
        }
        let v = reopened(&disk.crash());
        let (inbox, kept) = (v.uids(alice).len(), retained(&v, alice).len());
        assert_eq!(inbox + kept, 5, "{turns} turns");
        assert!(kept == 0 || kept == 2, "all or nothing");
        assert_eq!(v.volume.quota(alice).unwrap().used_messages as usize, inbox);
        for uid in v.uids(alice) {
            assert!(v.text(alice, uid).is_ok());
        }
        (here, there) = (here + usize::from(kept == 0), there + usize::from(kept == 2));
    }
    assert!(here > 2 && there > 2, "both happen: {here}, {there}");
}
