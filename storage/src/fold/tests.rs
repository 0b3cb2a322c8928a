//! Stories of folding: whatever is folded when, the account is the same.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::Body;
use crate::record::Released;
use crate::sim::SimDisk;
use crate::sim::campaign::tasks::{Tasks, block_on, turns};
use crate::transaction::{FlagsHow, Op, Outcome, Target, Transaction};
use crate::types::{Flags, Uid};
use crate::volume::{Create, Settings, Volume};

const NOW_MS: i64 = 1_700_000_000_000;
const INBOX: MailboxId = MailboxId::INBOX;

struct House {
    disk: SimDisk,
    volume: Volume<SimDisk>,
    tasks: Tasks,
}

fn made(segment_bytes: u64) -> House {
    let facts = Create { store: uuid::Uuid::nil(), volume: 1, volumes: 1, segment_bytes, seed: 7 };
    let disk = SimDisk::new(1);
    block_on(Volume::create(&disk, &facts)).unwrap();
    open(disk)
}

fn open(disk: SimDisk) -> House {
    let settings = Settings {
        gather_bytes_max: 8 << 20,
        batch_bytes_max: 1 << 20,
        free_bytes_min: 0,
        checkpoint_bytes: 0,
        ..Settings::DEFAULT
    };
    let (volume, _) = block_on(Volume::open(disk.clone(), None, settings)).unwrap();
    let mut tasks = Tasks::default();
    let looped = volume.clone();
    tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
    House { disk, volume, tasks }
}

impl House {
    /// Runs until it is done.
    fn wait<T: 'static>(&mut self, work: impl Future<Output = T> + 'static) -> T {
        let told = Rc::new(RefCell::new(None));
        let tell = told.clone();
        self.tasks.spawn(async move { *tell.borrow_mut() = Some(work.await) });
        self.tasks.settle();
        told.take().expect("it ends")
    }

    fn commit(&mut self, bodies: Vec<Body>, ops: Vec<Op>) -> Vec<Outcome> {
        let decided = self.volume.decide(Transaction { bodies, ops }, NOW_MS).unwrap();
        assert_eq!(self.wait(decided.ticket), Ok(()));
        decided.outcomes
    }

    fn done(&mut self, op: Op) -> Outcome {
        self.commit(vec![], vec![op]).remove(0)
    }

    fn account(&mut self, name: &str) -> AccountId {
        match self.done(Op::PutAccount {
            name: name.into(),
            secrets: b"secret".to_vec(),
            mailboxes: vec![],
            limits: crate::Limits::NONE,
        }) {
            Outcome::Account(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn mailbox(&mut self, account: AccountId, name: &str) -> MailboxId {
        match self.done(Op::CreateMailbox { account, name: name.into(), special_use: 0, subscribed: true }) {
            Outcome::Mailbox(id, _) => id,
            other => panic!("{other:?}"),
        }
    }

    fn deliver(&mut self, account: AccountId, n: u8) {
        self.commit(vec![Body::from(vec![n; 50 + usize::from(n)])], vec![append(account, INBOX)]);
    }

    fn fold(&mut self, account: AccountId) -> bool {
        let volume = self.volume.clone();
        self.wait(async move { volume.fold(account).await }).unwrap()
    }

    fn unfolded(&self, account: AccountId) -> u32 {
        self.volume.0.index.borrow().entries.get(account).unwrap().unfolded
    }

    /// The process is gone, and starts again.
    fn killed(self) -> House {
        let House { disk, volume, tasks } = self;
        drop((tasks, volume));
        open(disk)
    }

    /// All there is to know of an account, and of who uses its bodies.
    fn shown(&mut self, id: AccountId) -> String {
        let volume = self.volume.clone();
        self.wait(async move {
            let held = volume.load(id).await.unwrap().unwrap();
            let mut out = format!("{:?} {:?}\n", volume.account(id).await.unwrap().unwrap().name, held.subscriptions());
            for info in held.mailboxes() {
                let (facts, uids) = held
                    .mailbox(info.id, |m| {
                        let facts = format!("{:?} {:?}", (m.uidnext(), m.highest_modseq()), m.messages());
                        (facts, m.messages().iter().map(|m| m.uid).collect::<Vec<Uid>>())
                    })
                    .unwrap();
                out += &format!("{info:?} {facts} {:?}\n", held.summaries(info.id, &uids).await);
            }
            let entry = volume.0.index.borrow().entries.get(id).unwrap().clone();
            out + &format!("{:?}\n", (entry.modseq, entry.inbox_uidnext, entry.used_bytes, entry.used_messages))
        })
    }

    /// What the segments count is what the accounts in memory say.
    fn check_users(&mut self) {
        let ids = self.volume.account_ids();
        let held: Vec<_> = ids
            .iter()
            .map(|id| {
                let (volume, id) = (self.volume.clone(), *id);
                self.wait(async move { volume.load(id).await.unwrap().unwrap() })
            })
            .collect();
        let index = self.volume.0.index.borrow();
        let mut live = std::collections::BTreeMap::new();
        let mut rows = std::collections::BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        for mailbox in index.loaded.values().flat_map(|a| a.mailboxes.values()) {
            let bodies = mailbox.messages.iter().map(Released::of).map(|r| (r.body, r.len));
            let runs = mailbox.runs.iter().map(|r| (r.body, r.body_len));
            for (body, len) in bodies.chain(runs).chain(mailbox.rows.iter().map(|r| (r.body, r.len))) {
                if seen.insert(body) {
                    *live.entry(body.segment).or_insert(0) += u64::from(len);
                }
            }
            mailbox.rows.iter().for_each(|r| *rows.entry(r.body.segment).or_insert(0) += 1);
        }
        for run in index.loaded.values().flat_map(|a| &a.left) {
            *live.entry(run.body.segment).or_insert(0) += u64::from(run.len);
            *rows.entry(run.body.segment).or_insert(0) += 1;
        }
        for (number, segment) in index.segments.iter() {
            assert_eq!(segment.live, live.get(number).copied().unwrap_or(0), "segment {number}");
            assert_eq!(segment.blobs, rows.get(number).copied().unwrap_or(0), "segment {number}");
        }
        drop(index);
        drop(held);
    }
}

fn append(account: AccountId, mailbox: MailboxId) -> Op {
    let keywords = Some(Rc::new(vec!["work".into()]));
    Op::Append {
        account,
        mailbox,
        body: 0,
        prefix: b"X: y\n".to_vec(),
        flags: Flags { bits: 0, keywords },
        internal_ms: 1,
    }
}

fn summaries(account: AccountId, mailbox: MailboxId, uids: impl Iterator<Item = Uid>, text: &str) -> Op {
    Op::Summaries { account, mailbox, items: uids.map(|uid| (uid, format!("{text} {uid}").into_bytes())).collect() }
}

/// An account with something of everything.
fn colourful(house: &mut House) -> AccountId {
    let alice = house.account("alice@x");
    let work = house.mailbox(alice, "Work");
    let gone = house.mailbox(alice, "Gone");
    (0..30).for_each(|n| house.deliver(alice, n));
    let flags = Flags { bits: Flags::SEEN, keywords: Some(Rc::new(vec!["blue".into(), "green".into()])) };
    let uids = |range: std::ops::Range<Uid>| range.collect::<Vec<Uid>>();
    house.done(Op::StoreFlags {
        account: alice,
        mailbox: INBOX,
        uids: uids(3..9),
        how: FlagsHow::Add,
        flags,
        unchanged_since: None,
    });
    house.done(Op::Copy { account: alice, from: INBOX, uids: uids(5..12), to: Target::Mailbox(work) });
    house.done(Op::Move { account: alice, from: INBOX, uids: uids(12..15), to: Target::Mailbox(gone) });
    house.done(Op::Expunge { account: alice, mailbox: INBOX, uids: uids(20..24) });
    house.done(summaries(alice, INBOX, 1..12, "first"));
    house.done(Op::RemoveMailbox { account: alice, mailbox: gone, name: "Gone".into() });
    house.done(Op::Subscribe { account: alice, name: "Elsewhere".into(), on: true });
    alice
}

#[test]
fn a_folded_account_is_the_same_after_a_kill() {
    let mut house = made(256 << 10);
    let alice = colourful(&mut house);
    let before = house.shown(alice);
    assert!(house.fold(alice));
    assert_eq!((house.unfolded(alice), house.shown(alice)), (0, before.clone()));
    assert!(!house.fold(alice), "there is nothing to fold");
    house.check_users();
    let mut house = house.killed();
    assert_eq!((house.unfolded(alice), house.shown(alice)), (0, before));
    house.check_users();
    // And what comes behind the root.
    (0..5).for_each(|n| house.deliver(alice, n));
    house.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![2, 31] });
    house.done(summaries(alice, INBOX, 8..19, "second"));
    let before = house.shown(alice);
    let mut house = house.killed();
    assert_eq!(house.shown(alice), before);
    for n in 0..40 {
        house.deliver(alice, n);
        house.done(Op::StoreFlags {
            account: alice,
            mailbox: INBOX,
            uids: vec![40, Uid::from(n)],
            how: FlagsHow::Replace,
            flags: Flags::of(Flags::FLAGGED),
            unchanged_since: None,
        });
        house.done(summaries(alice, INBOX, 30..30 + Uid::from(n), "third"));
        assert!(house.fold(alice));
    }
    let before = house.shown(alice);
    let mut house = house.killed();
    assert_eq!(house.shown(alice), before);
    house.check_users();
    let index = house.volume.0.index.borrow();
    let inbox = index.mailbox(alice, INBOX).unwrap();
    assert!(inbox.rows.len() <= 9 && inbox.runs.len() <= 17, "{:?} {:?}", inbox.rows, inbox.runs);
}

#[test]
fn letters_are_folded_without_reading_what_is_there() {
    let mut house = made(256 << 10);
    let alice = colourful(&mut house);
    house.fold(alice);
    for round in 0..20 {
        house = house.killed();
        (0..10).for_each(|n| house.deliver(alice, n + round));
        assert!(house.fold(alice));
        assert!(house.volume.0.index.borrow().account(alice).is_none(), "nobody needed it in memory");
    }
    assert_eq!(house.unfolded(alice), 0);
    let shown = house.shown(alice);
    assert_eq!(shown.matches("uid: ").count(), 23 + 7 + 200);
    house.check_users();
    let mut house = house.killed();
    assert_eq!(house.shown(alice), shown);
    // A flag changes a row that is not read.
    let mut house = house.killed();
    house.deliver(alice, 1);
    house.shown(alice);
    house.done(Op::StoreFlags {
        account: alice,
        mailbox: INBOX,
        uids: vec![1],
        how: FlagsHow::Add,
        flags: Flags::of(Flags::DRAFT),
        unchanged_since: None,
    });
    let shown = house.shown(alice);
    let mut house = house.killed();
    assert!(house.fold(alice));
    assert_eq!(house.shown(alice), shown);
}

#[test]
fn what_is_decided_before_a_root_and_durable_with_it_is_behind_it() {
    let mut house = made(256 << 10);
    let alice = colourful(&mut house);
    let volume = house.volume.clone();
    for round in 0..20u8 {
        for n in 0..5 {
            let body = vec![Body::from(vec![round * 5 + n; 60])];
            drop(volume.decide(Transaction { bodies: body, ops: vec![append(alice, INBOX)] }, NOW_MS).unwrap());
            let ops = vec![summaries(alice, INBOX, 1..4, &format!("round {round} {n}"))];
            drop(volume.decide(Transaction { bodies: vec![], ops }, NOW_MS).unwrap());
            let (folding, held) = (volume.clone(), volume.clone());
            house.tasks.spawn(async move {
                let _done = folding.fold(alice).await.unwrap();
            });
            house.tasks.spawn(async move { drop(held.load(alice).await.unwrap()) });
            house.tasks.turn();
        }
    }
    house.tasks.settle();
    let before = house.shown(alice);
    assert_eq!(before.matches("uid: ").count(), 23 + 7 + 100);
    house.check_users();
    assert!(house.volume.stats().folds > 10, "{:?}", house.volume.stats());
    let mut house = house.killed();
    assert_eq!(house.shown(alice), before);
    house.check_users();
}

#[test]
fn a_removal_and_a_root_wait_for_each_other() {
    let mut house = made(256 << 10);
    let alice = colourful(&mut house);
    let volume = house.volume.clone();
    let remove = |mailbox, name: &str| Transaction {
        bodies: vec![],
        ops: vec![Op::RemoveMailbox { account: alice, mailbox, name: name.into() }],
    };
    let folding = volume.clone();
    house.tasks.spawn(async move { assert!(folding.fold(alice).await.unwrap()) });
    // Polls the new task, which decides at once: the account is in memory.
    while volume.0.ahead.borrow().peek(alice).is_none_or(|a| a.folding == 0) {
        assert!(house.tasks.turn());
    }
    assert_eq!(volume.decide(remove(MailboxId(2), "Work"), NOW_MS).err(), Some(Refused::Busy));
    let resting = volume.clone();
    let rested = Rc::new(RefCell::new(false));
    let tell = rested.clone();
    house.tasks.spawn(async move {
        resting.at_rest(alice, Some(MailboxId(2))).await;
        let free = resting.0.ahead.borrow().peek(alice).is_none_or(|a| a.folding == 0);
        *tell.borrow_mut() = free;
    });
    house.tasks.settle();
    assert!(*rested.borrow(), "who waits is not refused");
    house.deliver(alice, 3);
    drop(volume.decide(remove(MailboxId(2), "Work"), NOW_MS).unwrap());
    let folding = volume.clone();
    house.tasks.spawn(async move { assert!(folding.fold(alice).await.unwrap()) });
    house.tasks.turn();
    assert_eq!(volume.0.ahead.borrow().peek(alice).unwrap().folding, 0, "the removal is first");
    house.tasks.settle();
    assert_eq!(house.unfolded(alice), 0);
    house.check_users();
    let before = house.shown(alice);
    let mut house = house.killed();
    assert_eq!(house.shown(alice), before);
    house.done(Op::RemoveAccount { account: alice });
    house.check_users();
    assert!(!house.fold(alice), "nobody is folded");
}

#[test]
fn rows_of_a_mailbox_that_was_removed_stay_while_a_root_names_them() {
    let mut house = made(128 << 10);
    let alice = colourful(&mut house);
    assert!(house.fold(alice));
    let root = house.volume.0.index.borrow().entries.get(alice).unwrap().root.segment;
    house.done(Op::RemoveMailbox { account: alice, mailbox: MailboxId(2), name: "Work".into() });
    house.check_users();
    assert!(house.volume.0.index.borrow().segments[&root].blobs > 0, "who loads the account reads them");
    let before = house.shown(alice);
    let mut house = house.killed();
    house.check_users();
    // All else of the account leaves the segment, and so do they.
    let bob = house.account("bob@x");
    while house.volume.0.log.borrow().active == root {
        house.commit(vec![Body::from(vec![1; 5_000])], vec![append(bob, INBOX)]);
    }
    let volume = house.volume.clone();
    assert!(house.wait(async move { volume.0.fold(alice, Rewrite::In(root)).await.unwrap() }));
    assert_eq!(house.volume.0.index.borrow().segments[&root].blobs, 0);
    house.check_users();
    assert_eq!(house.shown(alice), before);
    let mut house = house.killed();
    assert_eq!(house.shown(alice), before);
    house.check_users();
    // With the account everything goes that it ever had.
    let later = house.mailbox(alice, "Later");
    house.done(Op::Copy { account: alice, from: INBOX, uids: vec![5, 6], to: Target::Mailbox(later) });
    assert!(house.fold(alice));
    let remove = Op::RemoveMailbox { account: alice, mailbox: later, name: "Later".into() };
    house.commit(vec![], vec![remove, Op::RemoveAccount { account: alice }]);
    house.check_users();
}

#[test]
fn three_thousand_mailboxes_are_folded() {
    let mut house = made(4 << 20);
    let alice = house.account("alice@x");
    for n in 0..3_000 {
        let name = format!("Folder {n}");
        let make = Op::CreateMailbox { account: alice, name, special_use: 0, subscribed: n % 2 == 0 };
        let keep = Op::Append {
            account: alice,
            mailbox: MailboxId(n + 2),
            body: 0,
            prefix: vec![],
            flags: Flags::none(),
            internal_ms: 1,
        };
        house.commit(vec![], vec![make]);
        house.commit(vec![Body::from(vec![b'x'; 20])], vec![keep]);
    }
    assert!(house.fold(alice));
    let before = house.shown(alice);
    house.check_users();
    let mut house = house.killed();
    assert_eq!((house.unfolded(alice), house.shown(alice) == before), (0, true));
    // One changes: its rows alone are new.
    house.deliver(alice, 1);
    let folded = house.volume.stats().folded_bytes;
    assert!(house.fold(alice));
    assert!(house.volume.stats().folded_bytes - folded < 700_000, "{:?}", house.volume.stats());
    house.check_users();
}

#[test]
fn a_segment_is_left_by_everything_of_an_account() {
    let mut house = made(128 << 10);
    let alice = colourful(&mut house);
    let bob = house.account("bob@x");
    for round in 0..40 {
        (0..10).for_each(|n| house.deliver(alice, n + round));
        house.done(summaries(alice, INBOX, 1..50, &format!("round {round}")));
        house.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![50 + Uid::from(round) * 3] });
        house.fold(alice);
        // Another's letters lie between.
        house.commit(vec![Body::from(vec![round; 5_000])], vec![append(bob, INBOX)]);
    }
    house.deliver(alice, 9);
    let before = (house.shown(alice), house.shown(bob));
    let active = house.volume.0.log.borrow().active;
    assert!(active > 3, "{active}");
    for segment in 1..active {
        for account in [alice, bob] {
            let volume = house.volume.clone();
            house.wait(async move { volume.0.fold(account, Rewrite::In(segment)).await.unwrap() });
            let volume = house.volume.clone();
            let again = house.wait(async move { volume.0.fold(account, Rewrite::In(segment)).await.unwrap() });
            assert!(!again, "nothing of it is left in segment {segment}");
        }
        assert_eq!(house.volume.0.index.borrow().segments[&segment].blobs, 0);
    }
    house.check_users();
    assert_eq!((house.shown(alice), house.shown(bob)), before);
    let mut house = house.killed();
    assert_eq!((house.shown(alice), house.shown(bob)), before);
    let index = house.volume.0.index.borrow();
    for account in [alice, bob] {
        let entry = index.entries.get(account).unwrap();
        assert!(entry.put.segment >= active && entry.root.segment >= active);
    }
}

#[test]
fn a_summary_that_was_replaced_is_not_shown_again_when_its_successor_is_damaged() {
    let mut house = made(256 << 10);
    let alice = house.account("alice@x");
    (0..9).for_each(|n| house.deliver(alice, n));
    house.done(summaries(alice, INBOX, 1..10, "first"));
    house.done(summaries(alice, INBOX, 3..5, "second"));
    let index = house.volume.0.index.borrow();
    let second = index.mailbox(alice, INBOX).unwrap().runs[1].body;
    drop(index);
    let file = crate::segment::name(second.segment);
    house.disk.spoil(&file, second.at as usize + 30, b"rot");
    let known = |house: &mut House| {
        let volume = house.volume.clone();
        let found = house.wait(async move {
            let held = volume.load(alice).await.unwrap().unwrap();
            held.summaries(INBOX, &[1, 2, 3, 4, 5]).await
        });
        found.into_iter().map(|summary| summary.map(|s| String::from_utf8(s.to_vec()).unwrap())).collect::<Vec<_>>()
    };
    let first = |uid| Some(format!("first {uid}"));
    assert_eq!(known(&mut house), [first(1), first(2), None, None, first(5)]);
    // Nor when the run goes because it is merged with others.
    (0..20).for_each(|_| drop(house.done(summaries(alice, INBOX, 7..9, "third"))));
    assert!(house.fold(alice));
    assert_eq!(house.volume.0.index.borrow().mailbox(alice, INBOX).unwrap().runs.len(), 1);
    assert_eq!(known(&mut house)[2..4], [None, None]);
    house.check_users();
    // Who lacks one makes it again.
    house.done(summaries(alice, INBOX, 3..4, "again"));
    assert_eq!(known(&mut house)[2].as_deref(), Some("again 3"));
}
