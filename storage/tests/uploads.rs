//! Bodies that are put into the log while they arrive: whole in the end, dead octets otherwise, through crashes too.
#![cfg(feature = "sim")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use ringpost_storage::sim::SimDisk;
use ringpost_storage::{
    AccountId, Body, Create, MailboxId, Op, Outcome, Pieces, Reader, Refused, Target, Transaction, Upload,
};
use support::*;

/// Octets put at a time.
const STEP: usize = 300 << 10;

fn large_disk() -> SimDisk {
    made_with(&Create { segment_bytes: 1 << 20, ..facts() })
}

fn put(v: &mut Open, upload: &mut Upload<SimDisk>, bodies: Vec<Body>) -> Vec<Pieces> {
    let putting = upload.put(bodies, NOW_MS).unwrap();
    let told = Rc::new(RefCell::new(None));
    let tell = told.clone();
    v.tasks.spawn(async move { *tell.borrow_mut() = Some(putting.durable().await) });
    v.tasks.settle();
    let (pieces, _) = told.borrow_mut().take().expect("resolved").unwrap();
    pieces
}

/// Puts all of `bytes` but the last `kept` octets, which stay in memory.
fn put_but(v: &mut Open, upload: &mut Upload<SimDisk>, bytes: &[u8], kept: usize) -> Body {
    let mut body = Body::default();
    for step in bytes[..bytes.len() - kept].chunks(STEP) {
        step.chunks(7_000).for_each(|bytes| body.push(bytes));
        let octets = body.take_full();
        assert!(octets.in_memory() > 0 && body.in_memory() < 256 << 10);
        body.follow(put(v, upload, vec![octets]).remove(0));
    }
    let octets = body.take_memory();
    if octets.in_memory() > 0 {
        body.follow(put(v, upload, vec![octets]).remove(0));
    }
    body.push(&bytes[bytes.len() - kept..]);
    assert_eq!((body.len(), body.in_memory()), (bytes.len() as u64, kept as u64));
    body
}

fn read_on(v: &Open, account: AccountId, uid: u32) -> Vec<u8> {
    let message = v.volume.mailbox(account, INBOX, |m| m.by_uid(uid).cloned()).flatten().unwrap();
    let mut reader = Reader::new(message);
    let mut all = Vec::new();
    loop {
        let some = block_on(v.volume.read_on(&mut reader, all.len() as u64)).unwrap();
        if some.is_empty() {
            return all;
        }
        assert!(some.len() <= 260 << 10);
        all.extend(some);
    }
}

#[test]
fn a_body_put_in_pieces_is_one_message() {
    let disk = large_disk();
    let mut v = open(&disk);
    let (alice, bob) = (v.account("a@x"), v.account("b@x"));
    // Larger than a segment, ending in the log, in memory, and in both; and one that is a single piece.
    for (n, (len, kept)) in [(3 << 20, 0), (3 << 20, 100_000), (700_001, 1), (250_000, 0)].into_iter().enumerate() {
        let bytes = text(len, n as u64);
        let mut upload = v.volume.upload();
        let body = put_but(&mut v, &mut upload, &bytes, kept);
        let both = Transaction { bodies: vec![body], ops: vec![append(alice, 0), append(bob, 0)] };
        v.commit(both);
        drop(upload);
        let uid = n as u32 + 1;
        assert_eq!(v.text(alice, uid).unwrap(), prefixed(alice, &bytes));
        assert_eq!(read_on(&v, bob, uid), prefixed(bob, &bytes));
    }
    let copy = Op::Copy { account: alice, from: INBOX, uids: vec![1, 4], to: Target::Mailbox(MailboxId::INBOX) };
    assert!(matches!(v.done(copy), Outcome::Copied { .. }));
    v.close();
    let v = open(&disk);
    assert_eq!(read_on(&v, alice, 1), read_on(&v, alice, 5));
    assert_eq!(read_on(&v, alice, 4), prefixed(alice, &text(250_000, 3)));
    let message = v.volume.mailbox(alice, INBOX, |m| m.by_uid(2).cloned()).flatten().unwrap();
    let whole = prefixed(alice, &text(3 << 20, 1));
    for (at, len) in [(0, 60), (262_000, 400), (3 << 20, 500), (1_000_000, 700_000)] {
        let want = &whole[at.min(whole.len())..(at + len).min(whole.len())];
        assert_eq!(block_on(v.volume.read_range(&message, at as u64, len)).unwrap(), want, "{at} {len}");
    }
}

#[test]
fn messages_of_one_transaction_are_put_together() {
    let disk = large_disk();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let texts: Vec<Vec<u8>> = (0..5).map(|n| text(90_000 * n as usize, n)).collect();
    let mut bodies: Vec<Body> = texts.iter().map(|text| Body::from(text.clone())).collect();
    let mut upload = v.volume.upload();
    let octets = bodies.iter_mut().map(Body::take_memory).collect();
    let pieces = put(&mut v, &mut upload, octets);
    bodies.iter_mut().zip(pieces).for_each(|(body, pieces)| body.follow(pieces));
    let ops = (0..5).map(|n| append(alice, n)).collect();
    v.commit(Transaction { bodies, ops });
    v.close();
    let v = open(&disk);
    for (uid, text) in (1..).zip(&texts) {
        assert_eq!(v.text(alice, uid).unwrap(), prefixed(alice, text), "{uid}");
    }
}

#[test]
fn octets_that_nobody_wanted_in_the_end_are_no_message_and_no_harm() {
    let disk = large_disk();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    let mut upload = v.volume.upload();
    let body = put_but(&mut v, &mut upload, &text(2 << 20, 1), 10);
    let nobody = Transaction { bodies: vec![body], ops: vec![append(AccountId(77), 0)] };
    assert_eq!(v.decide(nobody).err(), Some(Refused::NoAccount));
    drop(upload);
    assert_eq!(v.deliver(alice, b"next\r\n"), 1);
    v.close();
    let v = open(&disk);
    assert_eq!((v.recovered.damaged.len(), v.volume.stats().orphan_records), (0, 0));
    assert_eq!(v.text(alice, 1).unwrap(), prefixed(alice, b"next\r\n"));
}

#[test]
fn a_crash_between_the_pieces_leaves_nothing_and_one_after_the_verdict_leaves_all() {
    let bytes = text(1_500_000, 9);
    for steps in 0..6 {
        let disk = large_disk();
        let mut v = open(&disk);
        let alice = v.account("a@x");
        let mut upload = v.volume.upload();
        let whole = steps == 5;
        let body = put_but(&mut v, &mut upload, &bytes[..bytes.len().min(steps * STEP + 1)], 1);
        if whole {
            v.commit(Transaction { bodies: vec![body], ops: vec![append(alice, 0)] });
        }
        drop((v, upload));
        let mut v = open(&disk.crash());
        assert_eq!((v.recovered.lost_batches, v.volume.stats().orphan_records), (0, 0));
        match whole {
            true => assert_eq!(v.text(alice, 1).unwrap(), prefixed(alice, &bytes)),
            false => assert_eq!(v.deliver(alice, b"x\r\n"), 1, "nothing came of it"),
        }
    }
}
