//! Transfers between two volumes: each copy lands exactly once, whatever happens to either of them.
#![cfg(feature = "sim")]

mod support;

use std::rc::Rc;

use ringpost_storage::sim::campaign::{run, transfers};
use ringpost_storage::sim::{Fault, OpKind, SimDisk, When};
use ringpost_storage::{
    AccountId, Body, Carried, Flags, Lost, MailboxId, Op, Outcome, PendingTransfer, Refused, Settings, Transaction,
    TransferCopy, TransferNumber, TransferOp, TransferOutcome, Volume,
};
use support::*;

const SOURCE: u16 = 0;
const TARGET: u16 = 1;
const NONE: TransferNumber = TransferNumber { incarnation: 0, number: 0 };

fn copy(account: AccountId) -> TransferCopy {
    let prefix = format!("Delivered-To: {}\r\n", account.0).into_bytes();
    TransferCopy { account, mailbox: INBOX, name: "bob@x".into(), prefix, bits: 0, keywords: vec![] }
}

fn sending(body: &[u8], copies: Vec<TransferCopy>) -> Transaction {
    let op = TransferOp::Send { target: TARGET, what: Carried::Body(0), copies, internal_ms: NOW_MS - 9 };
    Transaction { bodies: vec![Body::from(body.to_vec())], ops: vec![Op::Transfer(op)] }
}

fn number(outcome: &Outcome) -> TransferNumber {
    match outcome {
        Outcome::Transfer(TransferOutcome::Sending(Some(number))) => *number,
        other => panic!("{other:?}"),
    }
}

fn received(outcome: &Outcome) -> (Vec<Option<(u32, u32)>>, Vec<u16>) {
    match outcome {
        Outcome::Transfer(TransferOutcome::Received { uids, bounced }) => (uids.clone(), bounced.clone()),
        other => panic!("{other:?}"),
    }
}

/// What the target is asked for this transfer, when `after` was the one before.
fn receiving(source: &Open, transfer: &PendingTransfer, after: TransferNumber) -> Transaction {
    let bytes = block_on(source.volume.read_transfer(transfer)).expect("what is owed can be read");
    let op = TransferOp::Receive {
        source: SOURCE,
        number: transfer.number,
        after,
        settled: source.volume.transfers_sent(TARGET),
        body: 0,
        copies: transfer.copies.clone(),
        internal_ms: transfer.internal_ms,
    };
    Transaction { bodies: vec![Body::from(bytes)], ops: vec![Op::Transfer(op)] }
}

fn sent(up_to: TransferNumber) -> Op {
    Op::Transfer(TransferOp::Sent { target: TARGET, up_to })
}

fn pending(v: &Open) -> Vec<Rc<PendingTransfer>> {
    v.volume.pending_transfers(TARGET, v.volume.transfers_sent(TARGET), usize::MAX)
}

/// Alice's volume and Bob's, both with an account, as disks.
fn two() -> ((SimDisk, Open, AccountId), (SimDisk, Open, AccountId)) {
    let one = |name: &str| {
        let disk = made();
        let mut v = open(&disk);
        let account = v.account(name);
        (disk, v, account)
    };
    (one("alice@x"), one("bob@x"))
}

#[test]
fn a_letter_goes_to_another_volume_once_however_often_it_is_carried() {
    let ((_, mut a, alice), (_, mut b, bob)) = two();
    let mut letter = sending(b"both\r\n", vec![copy(bob)]);
    letter.ops.insert(0, append(alice, 0));
    let outcomes = a.commit(letter);
    let first = number(&outcomes[1]);
    assert_eq!(first.number, 1);
    assert_eq!(a.text(alice, 1).unwrap(), prefixed(alice, b"both\r\n"));
    assert_eq!(a.volume.transfer_targets(), [(TARGET, 1)]);
    let owed = pending(&a).remove(0);
    assert_eq!((owed.number, owed.octets(), owed.hide), (first, 6, false));
    for time in 0..3 {
        let carried = receiving(&a, &owed, NONE);
        let (uids, bounced) = received(&b.commit(carried)[0]);
        assert_eq!((uids.len(), bounced.len()), (usize::from(time == 0), 0));
        assert_eq!(b.text(bob, 1).unwrap(), prefixed(bob, b"both\r\n"));
        assert_eq!(b.uids(bob), [1]);
        assert_eq!(b.volume.watermark(SOURCE).number, first);
    }
    let shown = b.volume.mailbox(bob, INBOX, |m| m.messages()[0].internal_ms);
    assert_eq!(shown, Some(NOW_MS - 9));
    a.done(sent(first));
    assert_eq!((pending(&a).len(), a.volume.transfer_targets()), (0, vec![]));
    assert_eq!(number(&a.commit(sending(b"next\r\n", vec![copy(bob)]))[0]).number, 2);
}

#[test]
fn what_is_owed_and_what_was_received_survive_a_crash() {
    let ((a_disk, mut a, _), (b_disk, mut b, bob)) = two();
    let numbers: Vec<_> = (0..3).map(|n| number(&a.commit(sending(&text(5_000, n), vec![copy(bob)]))[0])).collect();
    let carried = receiving(&a, &pending(&a)[0], NONE);
    b.commit(carried);
    drop((a, b));
    let (mut a, mut b) = (open(&a_disk.crash()), open(&b_disk.crash()));
    let owed = pending(&a);
    assert_eq!(owed.iter().map(|p| p.number).collect::<Vec<_>>(), numbers);
    assert_eq!(b.volume.watermark(SOURCE).number, numbers[0]);
    let mut after = NONE;
    for owed in owed {
        let carried = receiving(&a, &owed, after);
        b.commit(carried);
        after = owed.number;
    }
    assert_eq!(b.uids(bob), [1, 2, 3]);
    for (n, uid) in (0..3).zip(b.uids(bob)) {
        assert_eq!(b.text(bob, uid).unwrap(), prefixed(bob, &text(5_000, n)));
    }
    a.done(sent(numbers[1]));
    drop(a);
    let a = open(&a_disk.crash());
    assert_eq!((a.volume.transfers_sent(TARGET), pending(&a).len()), (numbers[1], 1));
}

/// A volume that makes checkpoints.
fn open_often(disk: &SimDisk) -> Open {
    let often = Settings { checkpoint_bytes: 20 << 10, ..settings() };
    let (volume, recovered) = block_on(Volume::open(disk.clone(), Some((STORE, 3)), often)).unwrap();
    let mut tasks = Tasks::default();
    let looped = volume.clone();
    tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
    let held = hold_all(&volume);
    Open { held, volume, recovered, tasks }
}

#[test]
fn what_is_owed_and_what_was_received_is_in_the_checkpoint() {
    let ((a_disk, mut a, _), (b_disk, mut b, bob)) = two();
    let copies = || vec![copy(bob), copy(AccountId(99))];
    let numbers: Vec<_> = (0..30).map(|n| number(&a.commit(sending(&text(3_000, n), copies()))[0])).collect();
    let carried = receiving(&a, &pending(&a)[0], NONE);
    b.commit(carried);
    a.done(sent(numbers[9]));
    let shown = |v: &Open| {
        let owed = pending(v).into_iter().map(|p| (p.number, p.octets(), p.copies.clone())).collect::<Vec<_>>();
        (owed, v.volume.transfers_sent(TARGET), v.volume.watermark(SOURCE))
    };
    let (of_a, of_b) = (shown(&a), shown(&b));
    assert_eq!((of_a.0.len(), of_b.2.bounced.clone()), (20, vec![(numbers[0], 1)]));
    // Closing a volume that makes checkpoints makes one.
    drop((a, b));
    open_often(&a_disk.kill()).close();
    open_often(&b_disk.kill()).close();
    let (mut a, b) = (open_often(&a_disk.kill()), open_often(&b_disk.kill()));
    assert!(a.recovered.batches <= 1 && b.recovered.batches <= 1, "{:?} {:?}", a.recovered, b.recovered);
    assert_eq!((shown(&a), shown(&b)), (of_a, of_b));
    assert_eq!(block_on(a.volume.read_transfer(&pending(&a)[0])).unwrap(), text(3_000, 10));
    let next = number(&a.commit(sending(b"next\r\n", copies()))[0]);
    assert_eq!(next, TransferNumber { number: 31, ..numbers[0] });
}

#[test]
fn a_transfer_before_its_turn_is_refused_and_nothing_of_it_is_kept() {
    let ((_, mut a, _), (_, mut b, bob)) = two();
    let numbers: Vec<_> = (0..3).map(|n| number(&a.commit(sending(&text(50, n), vec![copy(bob)]))[0])).collect();
    let owed = pending(&a);
    let carried = receiving(&a, &owed[0], NONE);
    b.commit(carried);
    // The second is decided and refused with the rest of its transaction: the third still has to wait for it.
    let mut both = receiving(&a, &owed[1], numbers[0]);
    both.ops.push(Op::RemoveAccount { account: AccountId(77) });
    assert_eq!(b.decide(both).err(), Some(Refused::NoAccount));
    let refused = b.decide(receiving(&a, &owed[2], numbers[1])).err();
    assert_eq!(refused, Some(Refused::Gap(numbers[0])));
    assert_eq!(b.uids(bob), [1]);
    for n in [1, 2] {
        let carried = receiving(&a, &owed[n], numbers[n - 1]);
        b.commit(carried);
    }
    assert_eq!(b.uids(bob), [1, 2, 3]);
}

#[test]
fn a_copy_for_nobody_bounces_and_says_so_until_the_source_knows() {
    let ((_, mut a, _), (b_disk, mut b, bob)) = two();
    let nowhere = TransferCopy { mailbox: MailboxId(9), ..copy(bob) };
    let copies = vec![copy(AccountId(99)), copy(bob), nowhere];
    let first = number(&a.commit(sending(b"x\r\n", copies))[0]);
    let second = number(&a.commit(sending(b"y\r\n", vec![copy(bob)]))[0]);
    let owed = pending(&a);
    let carried = receiving(&a, &owed[0], NONE);
    let (uids, bounced) = received(&b.commit(carried)[0]);
    assert_eq!((bounced, uids[0], uids[1].map(|u| u.1), uids[2]), (vec![0, 2], None, Some(1), None));
    drop(b);
    let mut b = open(&b_disk.crash());
    let again = receiving(&a, &owed[0], NONE);
    assert_eq!(received(&b.commit(again)[0]), (vec![], vec![0, 2]));
    a.done(sent(first));
    let carried = receiving(&a, &owed[1], first);
    b.commit(carried);
    assert_eq!((b.volume.watermark(SOURCE).number, b.volume.watermark(SOURCE).bounced), (second, vec![]));
}

#[test]
fn a_message_is_carried_as_its_reader_sees_it_and_lives_until_it_is_sent() {
    let ((_, mut a, alice), (_, mut b, bob)) = two();
    a.deliver(alice, &text(30_000, 1));
    let what = Carried::Message { account: alice, mailbox: INBOX, uid: 1, hide: true };
    let plain = TransferCopy { prefix: vec![], bits: Flags::SEEN, ..copy(bob) };
    let send = |what| {
        Op::Transfer(TransferOp::Send { target: TARGET, what, copies: vec![plain.clone()], internal_ms: NOW_MS })
    };
    let first = number(&a.done(send(what)));
    // The reader may expunge it meanwhile: what is owed is owed.
    a.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![1] });
    let gone = a.done(send(what));
    assert_eq!(gone, Outcome::Transfer(TransferOutcome::Sending(None)));
    let owed = pending(&a).remove(0);
    assert_eq!((owed.from, owed.hide), (Some((alice, INBOX, 1)), true));
    let carried = receiving(&a, &owed, NONE);
    b.commit(carried);
    assert_eq!(b.text(bob, 1).unwrap(), prefixed(alice, &text(30_000, 1)));
    assert!(b.volume.mailbox(bob, INBOX, |m| m.messages()[0].has(Flags::SEEN)).unwrap());
    a.done(sent(first));
    assert_eq!(pending(&a).len(), 0);
}

#[test]
fn a_decided_reception_that_is_given_up_has_not_happened() {
    let ((_, mut a, _), (b_disk, mut b, bob)) = two();
    for n in 0..20 {
        a.commit(sending(&text(9_000, n), vec![copy(bob)]));
    }
    b_disk.fail(OpKind::Create, Fault::NoSpace, When::From(1));
    let (mut after, mut given_up) = (NONE, 0);
    let mut now = NOW_MS;
    for owed in pending(&a) {
        loop {
            now += 2_000;
            let Ok(decided) = b.volume.decide(receiving(&a, &owed, after), now) else {
                b_disk.heal();
                continue;
            };
            b.tasks.settle();
            match block_on(decided.ticket) {
                Ok(()) => break,
                Err(lost) => {
                    assert_eq!(lost, Lost::NoRoom);
                    given_up += 1;
                    b_disk.heal();
                }
            }
        }
        after = owed.number;
    }
    assert!(given_up > 0, "the disk was full once");
    assert_eq!(b.uids(bob).len(), 20);
}

#[test]
fn numbers_begin_anew_behind_a_loss_and_what_comes_back_is_still_owed() {
    let ((a_disk, mut a, _), (_, mut b, bob)) = two();
    let kept = number(&a.commit(sending(b"kept\r\n", vec![copy(bob)]))[0]);
    let from = batches(&a_disk).len();
    let lost = number(&a.commit(sending(b"lost\r\n", vec![copy(bob)]))[0]);
    let behind = number(&a.commit(sending(b"behind\r\n", vec![copy(bob)]))[0]);
    a.close();
    let good = a_disk.peek(FIRST).unwrap();
    let (first, past) = (batches(&a_disk)[from], batches(&a_disk)[from + 1]);
    spoil(&a_disk, FIRST, |b| b[first..past].fill(0));

    let mut a = open(&a_disk);
    let next = number(&a.commit(sending(b"next\r\n", vec![copy(bob)]))[0]);
    assert!(next.incarnation > lost.incarnation && next.number == 1, "{next:?}");
    let owed = pending(&a);
    assert_eq!(owed.iter().map(|p| p.number).collect::<Vec<_>>(), [kept, behind, next]);
    let mut after = NONE;
    for owed in owed {
        let carried = receiving(&a, &owed, after);
        b.commit(carried);
        after = owed.number;
        a.done(sent(after));
    }
    assert_eq!(b.uids(bob).len(), 3);
    a.close();

    spoil(&a_disk, FIRST, |b| *b = good);
    let a = open(&a_disk);
    assert_eq!(a.volume.transfer_targets(), [(TARGET, 1)], "the lost one is owed again");
    let owed = a.volume.pending_transfers(TARGET, NONE, 9).remove(0);
    assert_eq!((owed.number, pending(&a).len()), (lost, 0), "and out of its turn: somebody has to look");
    assert_eq!(b.decide(receiving(&a, &owed, kept)).err(), Some(Refused::Gap(next)));
}

#[test]
fn a_volume_that_was_put_back_as_it_was_begins_anew() {
    let ((a_disk, mut a, _), (_, _b, bob)) = two();
    let old = number(&a.commit(sending(b"x\r\n", vec![copy(bob)]))[0]);
    let anew = Op::Transfer(TransferOp::BeginAnew);
    let mut both = sending(b"y\r\n", vec![copy(bob)]);
    both.ops.insert(0, anew);
    let new = number(&a.commit(both)[1]);
    assert!(new.incarnation > old.incarnation && new.number == 1);
    drop(a);
    let mut a = open(&a_disk.crash());
    let later = number(&a.commit(sending(b"z\r\n", vec![copy(bob)]))[0]);
    assert_eq!(later, TransferNumber { number: 2, ..new });
}

#[test]
fn each_copy_lands_exactly_once_through_crashes_of_either_volume() {
    let mut sent = 0;
    for seed in 0..200 {
        sent += run::one(seed, transfers::run).unwrap_or_else(|why| panic!("{why:?}")).decided;
    }
    assert!(sent > 200 * 20, "{sent}");
}
