//! Compaction: what lives moves on, space comes back, and nobody reads anything else than before.

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ringpost_storage::sim::campaign::house::{self, Chance};
use ringpost_storage::sim::{Fault, OpKind, SimDisk, When};
use ringpost_storage::{
    AccountId, Body, Compacted, Flags, MailboxId, Op, Outcome, Pace, ReadError, Reader, Refused, Settings, Target,
    Transaction, Uid,
};
use support::*;

/// In no hurry, and never waits.
struct Calm;

impl Pace for Calm {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    async fn rest(&self, _: u64) {}
}

/// Lets others have a few turns.
struct Slow(Chance);

impl Pace for Slow {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    async fn rest(&self, _: u64) {
        let rest = self.0.borrow_mut().random_range(0..3);
        turns(rest).await;
    }
}

/// What a volume shows of some accounts: each mailbox's messages, as their readers see them.
type Shown = BTreeMap<(AccountId, MailboxId, Uid), Vec<u8>>;

fn shown(v: &Open) -> Shown {
    let mut all = Shown::new();
    for id in v.volume.account_ids() {
        let loaded = block_on(v.volume.load(id)).unwrap().unwrap();
        for info in loaded.mailboxes() {
            let messages = loaded.mailbox(info.id, |m| m.messages().to_vec()).unwrap();
            for message in messages {
                all.insert((id, info.id, message.uid), block_on(v.volume.read(&message)).unwrap());
            }
        }
    }
    all
}

/// One round.
fn compact(v: &mut Open) -> Compacted {
    let told = Rc::new(RefCell::new(None));
    let (tell, volume) = (told.clone(), v.volume.clone());
    v.tasks.spawn(async move {
        let done = volume.compact(&Calm).await;
        *tell.borrow_mut() = Some(done);
    });
    v.tasks.settle();
    told.take().expect("it comes to an end")
}

/// Rounds until nothing is worth it; which segments went.
fn compact_all(v: &mut Open) -> Vec<u32> {
    let mut gone = Vec::new();
    for _ in 0..1_000 {
        match compact(v) {
            Compacted::Segment { segment, .. } => gone.push(segment),
            Compacted::Nothing => return gone,
            stuck => panic!("{stuck:?}"),
        }
    }
    panic!("it never ends");
}

fn expunge(v: &mut Open, account: AccountId, mailbox: MailboxId, uids: Vec<Uid>) {
    let _held = block_on(v.volume.load(account)).unwrap();
    v.done(Op::Expunge { account, mailbox, uids });
}

/// Segments there are. (The files of those that are gone are kept for a while, to be used again.)
fn segments(v: &Open) -> u64 {
    v.volume.space().segments
}

#[test]
fn what_lives_is_read_as_before_and_space_comes_back() {
    let disk = made();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    for n in 0..120u8 {
        let who = if n % 3 == 0 { bob } else { alice };
        v.deliver(who, &text(3_000, u64::from(n)));
    }
    v.held.clear();
    expunge(&mut v, alice, INBOX, (1..=80).filter(|uid| uid % 4 != 0).collect());
    let before = shown(&v);
    let full = segments(&v);
    let gone = compact_all(&mut v);
    assert!(gone.len() >= 3, "{gone:?}");
    assert_eq!(shown(&v), before);
    assert!(segments(&v) < full, "{} of {full}", segments(&v));
    v.close();
    let v = open(&disk);
    assert_eq!((v.recovered.lost_batches, &v.recovered.damaged), (0, &vec![]));
    assert_eq!(shown(&v), before);
}

/// A volume of which much is dead, as it is compacted on a slow disk; wherever a completion changes what a cut could leave,
/// some of what could be left is opened, held against what was there, and compacted further.
fn cut_while_compacting(seed: u64) -> (u32, u64) {
    let disk = made();
    let mut v = open(&disk);
    let chance: Chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    v.done(Op::PutDomain { name: "x".into(), info: b"1".to_vec() });
    for n in 0..50u64 {
        let who = if chance.borrow_mut().random() { alice } else { bob };
        let len = chance.borrow_mut().random_range(100..5_000);
        v.deliver(who, &text(len, n));
    }
    v.held.clear();
    for who in [alice, bob] {
        let going = (1..40).filter(|_| chance.borrow_mut().random_ratio(3, 5)).collect();
        expunge(&mut v, who, INBOX, going);
    }
    let before = shown(&v);
    let volume = v.volume.clone();
    let pace = Slow(chance.clone());
    v.tasks.spawn(async move { while let Compacted::Segment { .. } = volume.compact(&pace).await {} });
    house::slow(&disk, &chance);
    let (mut seen, mut judged) = (disk.changes(), 0);
    while v.tasks.turn() {
        if std::mem::replace(&mut seen, disk.changes()) == disk.changes() {
            continue;
        }
        let draw: u64 = chance.borrow_mut().random();
        let left = if draw.is_multiple_of(8) { disk.fork_killed(draw) } else { disk.fork_crashed(draw) };
        let mut after = open(&left);
        assert_eq!((after.recovered.lost_batches, &after.recovered.damaged), (0, &vec![]), "seed {seed}");
        assert_eq!(after.volume.stats().orphan_records, 0, "seed {seed}");
        assert!(shown(&after) == before, "seed {seed}: neither lost nor changed");
        judged += 1;
        if draw.is_multiple_of(4) {
            after.held.clear();
            compact_all(&mut after);
            assert!(shown(&after) == before, "seed {seed}: after it went on");
            assert!(shown(&open(&left.crash())) == before, "seed {seed}: and was cut again");
            judged += 2;
        }
    }
    (judged, v.volume.stats().compacted_segments)
}

#[test]
fn a_cut_at_any_step_of_a_compaction_loses_nothing() {
    let (mut judged, mut gone) = (0, 0);
    for seed in 0..8 {
        let (more, segments) = cut_while_compacting(seed);
        judged += more;
        gone += segments;
    }
    assert!(judged > 400 && gone > 8, "{judged} judged, {gone} segments");
}

#[test]
fn space_stays_bounded_however_long_letters_come_and_go() {
    let disk = made();
    let mut v = open(&disk);
    let mut chance = SmallRng::seed_from_u64(5);
    let accounts: Vec<AccountId> = (0..5).map(|n| v.account(&format!("p{n}@x"))).collect();
    let mut there: Vec<(AccountId, Uid, Vec<u8>)> = Vec::new();
    for n in 0..1_500u64 {
        let who = accounts[chance.random_range(0..5)];
        let body = text(chance.random_range(200..3_000), n);
        let uid = v.deliver(who, &body);
        there.push((who, uid, prefixed(who, &body)));
        if there.len() > 100 {
            let (who, uid, _) = there.swap_remove(chance.random_range(0..there.len()));
            v.held.clear();
            expunge(&mut v, who, INBOX, vec![uid]);
        }
        if n % 20 == 0 {
            compact_all(&mut v);
            // A hundred letters of 1,600 octets are three segments.
            assert!(segments(&v) <= 12, "{} segments after {n} letters", segments(&v));
        }
        if n % 500 == 499 {
            v.close();
            v = open(&disk);
            v.held.clear();
        }
    }
    let found = shown(&v);
    let expected: Shown = there.into_iter().map(|(who, uid, text)| ((who, INBOX, uid), text)).collect();
    assert!(found == expected, "what is there reads as it was sent");
}

/// Whatever can be done is worth it.
struct Keen;

impl Pace for Keen {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    fn is_eager(&self) -> bool {
        true
    }

    async fn rest(&self, _: u64) {}
}

#[test]
fn old_places_are_forgotten_however_often_a_letter_moves() {
    let facts = ringpost_storage::Create { segment_bytes: 1 << 20, ..facts() };
    let disk = made_with(&facts);
    let mut v = open(&disk);
    let mut chance = SmallRng::seed_from_u64(8);
    let (stays, goes) = (v.account("stays@x"), v.account("goes@x"));
    // Each moves with every segment that it lies in; one of them is large, and one has a copy.
    for n in 0..20u64 {
        v.deliver(stays, &text(1_000, n));
    }
    v.deliver(stays, &text(600 << 10, 99));
    let held = block_on(v.volume.load(stays)).unwrap();
    let made = v.done(Op::CreateMailbox { account: stays, name: "Copies".into(), special_use: 0, subscribed: true });
    let Outcome::Mailbox(copies, _) = made else { panic!("{made:?}") };
    v.done(Op::Copy { account: stays, from: INBOX, uids: vec![3, 21], to: Target::Mailbox(copies) });
    drop(held);
    v.held.clear();
    let before = shown(&v);
    let mut most = 0;
    for round in 0..120u64 {
        let uids =
            (0..30).map(|n| v.deliver(goes, &text(chance.random_range(10_000..90_000), round * 100 + n))).collect();
        expunge(&mut v, goes, INBOX, uids);
        v.held.clear();
        let volume = v.volume.clone();
        v.tasks.spawn(async move {
            for _ in 0..3 {
                volume.compact(&Keen).await;
            }
        });
        v.tasks.settle();
        most = most.max(v.volume.stats().forwards);
        if round % 40 == 39 {
            assert!(v.volume.stats().forgets >= 3, "{:?}", v.volume.stats());
            v.close();
            v = open(&disk);
            v.held.clear();
            assert_eq!(shown(&v), before);
        }
    }
    // 22 records, 21 bodies, pieces and list of the large one: each has a name too many or two.
    assert!((10..250).contains(&most), "{most} old places");
    assert_eq!(shown(&v), before);
    // Also who reads the whole log, from which forwards have gone, finds everything.
    v.close();
    let whole = Settings { checkpoint_bytes: 0, ..support::settings() };
    let v = try_open_with(&disk, whole).unwrap();
    assert_eq!((v.recovered.lost_batches, &v.recovered.damaged), (0, &vec![]));
    assert_eq!(shown(&v), before);
}

/// A round of compaction in which everything is worth it.
fn compact_keenly(v: &mut Open) -> Compacted {
    let told = Rc::new(RefCell::new(None));
    let (tell, volume) = (told.clone(), v.volume.clone());
    v.tasks.spawn(async move {
        let done = volume.compact(&Keen).await;
        *tell.borrow_mut() = Some(done);
    });
    v.tasks.settle();
    told.take().expect("it comes to an end")
}

/// Letters that come and go, and a round of compaction.
fn turn_over(v: &mut Open, goes: AccountId, round: u64) -> Compacted {
    let uids = (0..6).map(|n| v.deliver(goes, &text(3_000, 1_000 + round * 6 + n))).collect();
    expunge(v, goes, INBOX, uids);
    v.held.clear();
    compact_keenly(v)
}

/// A volume with many accounts of one letter each, and one whose letters come and go.
fn many(disk: &SimDisk) -> (Open, AccountId) {
    let mut v = open(disk);
    let goes = v.account("goes@x");
    for n in 0..500 {
        let who = v.account(&format!("p{n}@x"));
        assert_eq!(v.deliver(who, &text(300, n)), 1);
    }
    v.held.clear();
    (v, goes)
}

#[test]
fn segments_are_compacted_while_old_places_of_many_accounts_are_named_anew() {
    let disk = made();
    let (mut v, goes) = many(&disk);
    let before = shown(&v);
    let (mut most, mut compacted) = (0, 0);
    for round in 0..400u64 {
        let folds = v.volume.stats().folds;
        compacted += u32::from(matches!(turn_over(&mut v, goes, round), Compacted::Segment { .. }));
        most = most.max(v.volume.stats().folds - folds);
        if round % 16 == 5 {
            assert!(shown(&open(&disk.fork_crashed(round))) == before, "a cut in between");
        }
        if v.volume.stats().forgets > 0 {
            break;
        }
    }
    assert_eq!(v.volume.stats().forgets, 1);
    // Those who have something in one segment, and 64 that are named anew.
    assert!((1..300).contains(&most) && compacted > 8, "{most} accounts in one round, {compacted} rounds");
    assert_eq!(shown(&v), before);
    v.close();
    assert_eq!(shown(&open(&disk)), before);
}

#[test]
fn a055_naming_old_places_anew_leaves_the_reserve_to_those_who_make_room() {
    let disk = made();
    let (mut v, goes) = many(&disk);
    for round in 0..400 {
        if v.volume.stats().forwards > 16 {
            break;
        }
        turn_over(&mut v, goes, round);
    }
    compact_all(&mut v);
    // It is marked from where on, and then there is no room for it, nor anything that would make some.
    compact_keenly(&mut v);
    disk.fail(OpKind::Create, Fault::NoSpace, When::From(1));
    let keeps = v.account("keeps@x");
    let full = (0..400).any(|n| {
        let decided = v.decide(letter(keeps, &text(5_000, n)));
        v.tasks.settle();
        decided.err() == Some(Refused::DiskFull)
    });
    assert!(full);
    // A backup holds all segments: what is written now is written to name old places anew.
    let marked = v.volume.mark();
    let before = v.volume.stats();
    for _ in 0..10 {
        compact(&mut v);
    }
    let after = v.volume.stats();
    assert_eq!((after.reserves_lent, after.forgets), (before.reserves_lent, 0));
    assert!(after.written_bytes - before.written_bytes < SEGMENT / 8, "{before:?} {after:?}");
    // It is made up for when there is room.
    drop(marked);
    disk.heal();
    for _ in 0..60 {
        v.volume.heartbeat();
        let _ = v.volume.has_room(1, NOW_MS + 100_000);
        compact_keenly(&mut v);
        drop(v.volume.decide(letter(keeps, &text(5_000, 0)), NOW_MS + 200_000));
        v.tasks.settle();
    }
    assert!(v.volume.stats().forgets > 0);
}

/// Somebody reads a large message, a piece at a time, and meanwhile everything moves and old places are forgotten.
#[test]
fn who_reads_very_slowly_looks_a_message_up_again_and_reads_on() {
    let facts = ringpost_storage::Create { segment_bytes: 1 << 20, ..facts() };
    let disk = made_with(&facts);
    let mut v = open(&disk);
    let (alice, goes) = (v.account("a@x"), v.account("goes@x"));
    let body = text(900 << 10, 7);
    v.commit(Transaction { bodies: vec![Body::from(body.clone())], ops: vec![append(alice, 0)] });
    v.held.clear();
    let look = |v: &Open| {
        let loaded = block_on(v.volume.load(alice)).unwrap().unwrap();
        Reader::new(loaded.mailbox(INBOX, |m| m.by_uid(1).cloned()).flatten().unwrap())
    };
    let (mut reader, mut whole, mut gone) = (look(&v), Vec::new(), 0);
    for round in 0..400u64 {
        match block_on(v.volume.read_on(&mut reader, whole.len() as u64)) {
            Ok(octets) if octets.is_empty() => break,
            Ok(octets) => whole.extend(octets),
            Err(ReadError::Gone) => {
                gone += 1;
                reader = look(&v);
                continue;
            }
            Err(other) => panic!("{other:?}"),
        }
        // Each piece takes until everything has moved, and was forgotten twice.
        let until = v.volume.stats().forgets + 2;
        for turn in 0..400 {
            let uids = (0..10).map(|n| v.deliver(goes, &text(60_000, round * 4_000 + turn * 10 + n))).collect();
            expunge(&mut v, goes, INBOX, uids);
            v.held.clear();
            compact_keenly(&mut v);
            if v.volume.stats().forgets >= until {
                break;
            }
        }
    }
    assert!(whole == prefixed(alice, &body), "{} octets", whole.len());
    assert!(gone >= 3, "{gone}");
}

#[test]
fn a_copy_s_prefix_and_body_outlive_its_original() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let held = block_on(v.volume.load(alice)).unwrap();
    let made = v.done(Op::CreateMailbox { account: alice, name: "Kept".into(), special_use: 0, subscribed: true });
    let Outcome::Mailbox(kept, _) = made else { panic!("{made:?}") };
    for n in 0..60u8 {
        let uid = v.deliver(alice, &text(3_000, u64::from(n)));
        if n % 5 == 0 {
            v.done(Op::Copy { account: alice, from: INBOX, uids: vec![uid], to: Target::Mailbox(kept) });
        }
    }
    drop(held);
    expunge(&mut v, alice, INBOX, (1..=60).collect());
    let before = shown(&v);
    assert_eq!(before.len(), 12);
    assert!(compact_all(&mut v).len() >= 2);
    assert_eq!(shown(&v), before);
    // And once more, from where they are now.
    for n in 0..60u8 {
        v.deliver(alice, &text(3_000, 100 + u64::from(n)));
    }
    let last = segments(&v);
    expunge(&mut v, alice, INBOX, (61..=120).collect());
    compact_all(&mut v);
    assert!(segments(&v) < last);
    v.close();
    assert_eq!(shown(&open(&disk)), before);
}

#[test]
pub fn large_bodies_move_piece_by_piece_and_go_when_nobody_has_them() {
    let facts = ringpost_storage::Create { segment_bytes: 1 << 20, ..facts() };
    let disk = made_with(&facts);
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let large = |seed: u64| text(600 << 10, seed);
    for n in 0..8 {
        let body = Body::from(large(n));
        v.commit(Transaction { bodies: vec![body], ops: vec![append(alice, 0)] });
    }
    v.held.clear();
    expunge(&mut v, alice, INBOX, vec![1, 2, 4, 5, 7]);
    let before = shown(&v);
    let full = segments(&v);
    assert!(compact_all(&mut v).len() >= 3);
    assert_eq!(shown(&v), before);
    assert!(segments(&v) < full);
    assert!(v.volume.space().live_bytes < 4 * (600 << 10), "{:?}", v.volume.space());
    v.close();
    let mut v = open(&disk);
    assert_eq!(shown(&v), before);
    v.held.clear();
    expunge(&mut v, alice, INBOX, vec![3, 6, 8]);
    compact_all(&mut v);
    assert!(v.volume.space().live_bytes < 64 << 10, "{:?}", v.volume.space());
}

#[test]
fn who_has_gone_does_not_come_back_when_the_log_is_read_without_the_segment_that_said_so() {
    let disk = made();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    v.done(Op::PutDomain { name: "gone.test".into(), info: b"1".to_vec() });
    v.done(Op::PutDomain { name: "kept.test".into(), info: b"1".to_vec() });
    for n in 0..20u8 {
        v.deliver(bob, &text(2_500, u64::from(n)));
    }
    let _held = block_on(v.volume.load(alice)).unwrap();
    let first = segments(&v);
    // The first segment lives on; what happens now lies in the second and third, and those go.
    v.done(Op::RemoveAccount { account: alice });
    v.done(Op::RemoveDomain { name: "gone.test".into() });
    v.done(Op::PutDomain { name: "kept.test".into(), info: b"2".to_vec() });
    for n in 0..60u8 {
        let uid = v.deliver(bob, &text(2_500, u64::from(n)));
        v.held.clear();
        expunge(&mut v, bob, INBOX, vec![uid]);
    }
    let before = shown(&v);
    assert!(segments(&v) > first);
    assert!(!compact_all(&mut v).is_empty());
    v.close();
    let v = open(&disk);
    assert_eq!((v.volume.account_named("a@x"), v.volume.account_ids()), (None, vec![bob]));
    assert_eq!(
        v.volume.domains().iter().map(|(n, i)| (&n[..], i.to_vec())).collect::<Vec<_>>(),
        [("kept.test", b"2".to_vec())]
    );
    assert_eq!(shown(&v), before);
}

#[test]
fn a_body_that_does_not_verify_stays_where_it_is_and_its_segment_with_it() {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 0..40u8 {
        v.deliver(alice, &text(3_000, u64::from(n)));
    }
    v.held.clear();
    expunge(&mut v, alice, INBOX, (2..=15).collect());
    let body = text(3_000, 0);
    v.close();
    spoil(&disk, FIRST, |bytes| {
        let at = find(bytes, &body[..64]);
        bytes[at + 1_000] ^= 1;
    });
    let mut v = open(&disk);
    v.held.clear();
    let done = compact(&mut v);
    assert_eq!(done, Compacted::Stuck(1, ringpost_storage::Stuck::Damaged));
    assert!(!compact_all(&mut v).contains(&1));
    assert!(matches!(v.text(alice, 1), Err(ringpost_storage::ReadError::Damaged)));
    v.close();
    let v = open(&disk);
    assert!(matches!(v.text(alice, 1), Err(ringpost_storage::ReadError::Damaged)), "reported, not dropped");
    assert!(v.text(alice, 20).is_ok());
}

#[test]
fn flags_and_names_are_as_before_also_of_an_account_that_nobody_has_touched_for_long() {
    let disk = made();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    let held = block_on(v.volume.load(alice)).unwrap().unwrap();
    v.done(Op::CreateMailbox { account: alice, name: "Entwürfe".into(), special_use: 0, subscribed: true });
    v.deliver(alice, &text(1_000, 1));
    v.deliver(alice, &text(1_000, 2));
    v.done(store(alice, &[2], ringpost_storage::FlagsHow::Replace, Flags::of(Flags::SEEN)));
    let look = |loaded: &ringpost_storage::Loaded<SimDisk>| {
        let flags: Vec<_> =
            loaded.mailbox(INBOX, |m| m.messages().iter().map(|m| (m.flags(), m.modseq)).collect()).unwrap();
        (format!("{:?}", loaded.mailboxes()), loaded.subscriptions(), flags, loaded.mailbox(INBOX, |m| m.uidnext()))
    };
    let before = look(&held);
    drop(held);
    v.held.clear();
    for n in 0..80u8 {
        let uid = v.deliver(bob, &text(3_000, u64::from(n)));
        expunge(&mut v, bob, INBOX, vec![uid]);
    }
    assert!(compact_all(&mut v).contains(&1), "its records were there");
    v.close();
    let v = open(&disk);
    assert_eq!(look(&block_on(v.volume.load(alice)).unwrap().unwrap()), before);
    assert_eq!(v.volume.account_named("a@x"), Some(alice));
}

#[test]
fn an_account_whose_newest_root_rots_is_not_shown_without_what_was_compacted_behind_an_older_one() {
    let disk = made();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    for n in 0..18u8 {
        v.deliver(if n < 3 { alice } else { bob }, &text(2_500, u64::from(n)));
    }
    assert!(fold(&mut v, alice));
    // The first segment lives on, with that root; the letters that follow lie in one that goes.
    v.deliver(bob, &text(9_000, 20));
    for n in 21..24u8 {
        v.deliver(alice, &text(2_500, u64::from(n)));
    }
    for n in 0..60u8 {
        let uid = v.deliver(bob, &text(2_500, u64::from(n)));
        v.held.clear();
        expunge(&mut v, bob, INBOX, vec![uid]);
    }
    let gone = compact_all(&mut v);
    assert!(gone.contains(&2) && !gone.contains(&1), "{gone:?}");
    v.close();
    let v = open(&disk);
    assert_eq!(v.uids(alice), [1, 2, 3, 4, 5, 6]);
    v.close();
    let (older, newer): (Vec<_>, Vec<_>) = rows(&disk, alice).into_iter().partition(|(name, _)| name == FIRST);
    assert!(!older.is_empty() && !newer.is_empty(), "{older:?} {newer:?}");
    newer.iter().for_each(|(name, at)| spoil(&disk, name, |bytes| bytes[at + 40] ^= 1));
    let v = open(&disk);
    assert!(
        matches!(block_on(v.volume.load(alice)), Err(ReadError::Damaged)),
        "it has six letters: {:?}",
        v.uids(alice)
    );
}

fn fold(v: &mut Open, account: AccountId) -> bool {
    let told = Rc::new(RefCell::new(false));
    let (tell, volume) = (told.clone(), v.volume.clone());
    v.tasks.spawn(async move { *tell.borrow_mut() = volume.fold(account).await.unwrap() });
    v.tasks.settle();
    told.take()
}

/// Where runs of rows of an account begin, those included that nobody uses any more.
fn rows(disk: &SimDisk, account: AccountId) -> Vec<(String, usize)> {
    let mut all = Vec::new();
    for (name, _) in disk.files().into_iter().filter(|(name, _)| name.starts_with("segment-")) {
        let bytes = disk.peek(&name).unwrap();
        let is_run =
            |at: &usize| bytes[*at..].starts_with(b"RPr\n") && bytes[at + 8..at + 16] == account.0.to_le_bytes();
        all.extend((0..bytes.len() - 16).filter(is_run).map(|at| (name.clone(), at)));
    }
    all
}
