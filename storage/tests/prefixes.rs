//! What stands before a large message is kept in the record of the message, and its octets elsewhere: neither loses the other.
#![cfg(feature = "sim")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use ringpost_storage::sim::SimDisk;
use ringpost_storage::{AccountId, Body, Compacted, Create, Op, Outcome, Target, Transaction, Uid, Upload};
use support::*;

/// Letters that come and go but for a small one of each lot, and rounds of compaction, until old places were forgotten so many
/// times more. There is always a segment that is emptier than those with letters that stay, so these are left alone.
fn turn_over(v: &mut Open, goes: AccountId, forgets: u64) {
    let until = v.volume.stats().forgets + forgets;
    for round in 0..100 {
        v.deliver(goes, &text(200, round));
        let uids = (0..20).map(|n| v.deliver(goes, &text(60_000, 1_000 + round * 20 + n))).collect();
        expunge(v, goes, INBOX, uids);
        v.held.clear();
        compact(v, Keen);
        if v.volume.stats().forgets >= until {
            return;
        }
    }
    panic!("{:?}", v.volume.stats());
}

/// Rounds of compaction in which everything moves.
fn move_all(v: &mut Open) {
    let rounds = v.volume.space().segments;
    for _ in 0..rounds {
        compact(v, Keen);
    }
}

/// The first messages of two INBOXes.
fn firsts(v: &Open, of: [AccountId; 2]) -> [Result<Vec<u8>, String>; 2] {
    of.map(|account| {
        let loaded = block_on(v.volume.load(account)).unwrap().unwrap();
        let message = loaded.mailbox(INBOX, |m| m.messages()[0].clone()).unwrap();
        block_on(v.volume.read(&message)).map_err(|why| why.to_string())
    })
}

/// Puts all but a few octets into the log, where they are durable.
fn put(v: &mut Open, upload: &mut Upload<SimDisk>, octets: &[u8]) -> Body {
    let (there, rest) = octets.split_at(octets.len() - 100);
    let putting = upload.put(vec![Body::from(there.to_vec())], NOW_MS).unwrap();
    let told = Rc::new(RefCell::new(None));
    let tell = told.clone();
    v.tasks.spawn(async move { *tell.borrow_mut() = Some(putting.durable().await) });
    v.tasks.settle();
    let (mut pieces, _) = told.borrow_mut().take().expect("resolved").unwrap();
    let mut body = Body::default();
    body.follow(pieces.remove(0));
    body.push(rest);
    body
}

/// One large letter to two accounts, its pieces in a segment with much that goes; its list of pieces and its records lie in
/// the next, with letters that stay. The pieces have been moved, the list has not.
fn one_large_letter(disk: &SimDisk) -> (Open, [AccountId; 2], AccountId, Vec<u8>) {
    let mut v = open(disk);
    let (both, goes) = ([v.account("a@x"), v.account("b@x")], v.account("goes@x"));
    let large = text(300 << 10, 7);
    let mut upload = v.volume.upload();
    let body = put(&mut v, &mut upload, &large);
    let going: Vec<Uid> = (0..13).map(|n| v.deliver(goes, &text(60_000, n))).collect();
    v.commit(Transaction { bodies: vec![body], ops: both.iter().map(|account| append(*account, 0)).collect() });
    drop(upload);
    for n in 0..20 {
        v.deliver(both[0], &text(60_000, 100 + n));
    }
    expunge(&mut v, goes, INBOX, going);
    v.held.clear();
    assert!(matches!(compact(&mut v, Keen), Compacted::Segment { segment: 1, copied } if copied > 250 << 10));
    (v, both, goes, large)
}

#[test]
fn the_prefix_of_a_large_message_is_found_after_its_list_has_moved_and_that_was_forgotten() {
    let disk = made_with(&Create { segment_bytes: 1 << 20, ..facts() });
    let (mut v, both, goes, large) = one_large_letter(&disk);
    // One of them has a copy, and the original is gone.
    let held = block_on(v.volume.load(both[1])).unwrap();
    let copied = v.done(Op::Copy { account: both[1], from: INBOX, uids: vec![1], to: Target::Mailbox(INBOX) });
    assert!(matches!(copied, Outcome::Copied { .. }), "{copied:?}");
    drop(held);
    expunge(&mut v, both[1], INBOX, vec![1]);
    let expected = both.map(|account| Ok(prefixed(account, &large)));
    assert!(firsts(&v, both) == expected);
    for _ in 0..3 {
        turn_over(&mut v, goes, 3);
        assert!(firsts(&v, both) == expected);
        // Now what shared a segment with the letter is as good as any.
        move_all(&mut v);
        assert!(firsts(&v, both) == expected);
        v.close();
        v = open(&disk);
        v.held.clear();
        assert!(firsts(&v, both) == expected);
    }
}
