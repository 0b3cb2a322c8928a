//! Batches that fit what is there, and batches that do not.

use super::*;
use crate::batch::{Gather, HEADER_BYTES};
use crate::record::{Chain, CopyRecord, ExpungeRecord, MailboxPut, NewMessage, ReleasedList, RetiredRun, kind};
use crate::types::{Flags, Message};

const ALICE: AccountId = AccountId(3 << 48 | 1);

/// Applies a batch of these records; returns how many did not fit.
fn apply(index: &mut Index, offset: u64, fill: impl FnOnce(&mut Gather, &mut Chain)) -> u64 {
    index.live = true;
    let mut gather = Gather::new(1, 1, offset);
    fill(&mut gather, &mut Chain::default());
    let sealed = gather.seal(crate::batch::example(), 0);
    let directory = &sealed.parts[0][HEADER_BYTES..];
    check(&sealed.header, directory).unwrap();
    index.apply(&sealed.header, directory)
}

fn message(gather: &mut Gather, chain: &mut Chain, uid: u32, modseq: Modseq) {
    let new = NewMessage {
        mailbox: MailboxId::INBOX,
        uid,
        modseq,
        size: 0,
        saved_s: 0,
        internal_ms: 0,
        // A body that comes later than its message, which no batch of ours says.
        body: Place { segment: 1, at: 100_000 },
        body_check: 0,
        large: false,
        retained: false,
        flags: &Flags::none(),
        prefix: b"",
    };
    gather.push_of(kind::MESSAGE, ALICE, chain, |out| new.encode(out));
}

#[test]
fn of_copies_those_whose_uids_are_free_are_shown() {
    let mut index = Index::default();
    let copy = |g: &mut Gather, chain: &mut Chain, to: MailboxId, uids: &[u32]| {
        let original = Message::sketch(77, 1, &Flags::none(), 0, 0);
        g.push_of(kind::COPY, ALICE, chain, |out| {
            CopyRecord::encode_head(out, to, 20, MailboxId(9), 0, uids.len() as u32);
            uids.iter().for_each(|uid| CopyRecord::encode_item(out, *uid, &original, &Flags::none(), false));
        });
    };
    let orphans = apply(&mut index, 4_096, |g, chain| {
        let put = AccountPut { modseq: 1, generation: 1, limit_bytes: 0, limit_messages: 0, name: "a@x", secrets: b"" };
        g.push_of(kind::ACCOUNT_PUT, ALICE, chain, |out| put.encode(out));
        let mailbox = MailboxId::INBOX;
        let put = MailboxPut {
            mailbox,
            uidvalidity: 1,
            modseq: 1,
            special_use: 0,
            subscribed: true,
            begins: false,
            name: "INBOX",
        };
        g.push_of(kind::MAILBOX_PUT, ALICE, chain, |out| put.encode(out));
        message(g, chain, 4, 10);
        copy(g, chain, mailbox, &[3, 4, 0, u32::MAX, 6]);
        copy(g, chain, MailboxId(2), &[1]);
    });
    assert_eq!(orphans, 2);
    let inbox = index.mailbox(ALICE, MailboxId::INBOX).unwrap();
    let shown: Vec<_> = inbox.messages().iter().map(|m| (m.uid, m.modseq)).collect();
    assert_eq!((shown, inbox.uidnext()), (vec![(3, 20), (4, 10), (6, 20)], 7));
}

/// One letter, and the place of its body.
fn letter(index: &mut Index, offset: u64) -> Place {
    apply(index, offset, |g, chain| {
        let put = AccountPut { modseq: 1, generation: 1, limit_bytes: 0, limit_messages: 0, name: "a@x", secrets: b"" };
        g.push_of(kind::ACCOUNT_PUT, ALICE, chain, |out| put.encode(out));
        let mailbox = MailboxId::INBOX;
        let put = MailboxPut {
            mailbox,
            uidvalidity: 1,
            modseq: 1,
            special_use: 0,
            subscribed: true,
            begins: false,
            name: "INBOX",
        };
        g.push_of(kind::MAILBOX_PUT, ALICE, chain, |out| put.encode(out));
        let body = g.push_body(vec![], vec![b"hello".to_vec()], 5, 0);
        let new = NewMessage {
            mailbox,
            uid: 1,
            modseq: 2,
            size: 5,
            saved_s: 0,
            internal_ms: 0,
            body: body.place,
            body_check: body.check,
            large: false,
            retained: false,
            flags: &Flags::none(),
            prefix: b"",
        };
        g.push_with_body(kind::MESSAGE, ALICE, chain, (body, NewMessage::BODY_AT), |out| new.encode(out));
    });
    index.mailbox(ALICE, MailboxId::INBOX).unwrap().messages()[0].body
}

fn forward(g: &mut Gather, old: Place) {
    let body = g.push_body(vec![], vec![b"hello".to_vec()], 5, 0);
    g.push_forward(old.segment, &[(old.at, body.place, true)]);
}

#[test]
fn who_comes_and_goes_while_a_body_is_moved_is_counted_where_it_is() {
    let mut index = Index::default();
    let old = letter(&mut index, 4_096);
    let message = index.mailbox(ALICE, MailboxId::INBOX).unwrap().messages()[0].clone();
    let copy = |g: &mut Gather, chain: &mut Chain, uid: u32| {
        g.push_of(kind::COPY, ALICE, chain, |out| {
            CopyRecord::encode_head(out, MailboxId::INBOX, 3, MailboxId::INBOX, 0, 1);
            CopyRecord::encode_item(out, uid, &message, &Flags::none(), false);
        });
    };
    // Before the forward and behind it in its batch, and in a batch that was decided before it was durable.
    apply(&mut index, 8_192, |g, chain| {
        copy(g, chain, 5);
        forward(g, old);
        copy(g, chain, 6);
    });
    let new = index.forwards.resolve(old);
    assert_ne!(new, old);
    let users = |index: &Index, place: Place| index.segments[&place.segment].users(place.at);
    assert_eq!((users(&index, old), users(&index, new), index.segments[&1].live), (0, 3, 5));
    apply(&mut index, 16_384, |g, chain| copy(g, chain, 7));
    assert_eq!((users(&index, old), users(&index, new)), (0, 4));
    apply(&mut index, 20_480, |g, chain| {
        g.push_of(kind::EXPUNGE, ALICE, chain, |out| {
            let inbox = index_free_copies(&message, &[1, 5, 6, 7]);
            ExpungeRecord::encode(out, MailboxId::INBOX, 9, inbox.iter(), true);
        });
    });
    assert_eq!((users(&index, new), index.segments[&1].live), (0, 0));
}

fn index_free_copies(message: &Message, uids: &[u32]) -> Vec<Message> {
    uids.iter().map(|uid| Message { uid: *uid, ..message.clone() }).collect()
}

#[test]
fn a_body_that_nobody_wants_any_more_when_it_is_moved_arrives_dead() {
    let mut index = Index::default();
    let old = letter(&mut index, 4_096);
    let message = index.mailbox(ALICE, MailboxId::INBOX).unwrap().messages()[0].clone();
    apply(&mut index, 8_192, |g, chain| {
        forward(g, old);
        g.push_of(kind::EXPUNGE, ALICE, chain, |out| {
            ExpungeRecord::encode(out, MailboxId::INBOX, 3, [&message].into_iter(), true);
        });
    });
    let new = index.forwards.resolve(old);
    assert_eq!((index.segments[&1].users(new.at), index.segments[&1].live), (0, 0));
}

#[test]
fn records_that_do_not_fit_are_orphans_and_no_panic() {
    let mut index = Index::default();
    let orphans = apply(&mut index, 4_096, |g, chain| {
        let put = AccountPut {
            modseq: u64::MAX,
            generation: 1,
            limit_bytes: 0,
            limit_messages: 0,
            name: "a@x",
            secrets: b"",
        };
        g.push_of(kind::ACCOUNT_PUT, ALICE, chain, |out| put.encode(out));
        let put = MailboxPut {
            mailbox: MailboxId::INBOX,
            uidvalidity: u32::MAX,
            modseq: 1,
            special_use: 0,
            subscribed: true,
            begins: false,
            name: "INBOX",
        };
        g.push_of(kind::MAILBOX_PUT, ALICE, chain, |out| put.encode(out));
        // Of numbers that were given twice the first stays; one below the last finds its place.
        for (uid, modseq) in [(5, 10), (5, 11), (3, 12), (u32::MAX, 13), (0, 14), (7, u64::MAX)] {
            message(g, chain, uid, modseq);
        }
    });
    assert_eq!((orphans, index.orphans), (3, 3));
    let inbox = index.mailbox(ALICE, MailboxId::INBOX).unwrap();
    assert_eq!(
        inbox.messages().iter().map(|m| (m.uid, m.modseq)).collect::<Vec<_>>(),
        [(3, 12), (5, 10), (7, u64::MAX)]
    );
    assert_eq!(inbox.uidnext(), 8);
    let orphans = apply(&mut index, 65_536, |g, chain| {
        for _ in 50..100 {
            g.push(kind::DOMAIN_REMOVE, |out| crate::codec::Put::text(out, "x"));
        }
        g.push_body(vec![], vec![], 0, 0);
        g.push_of(kind::EXPUNGE, ALICE, chain, |out| {
            let gone = [7, 3, 3, 9].map(|uid| Message::sketch(uid, 1, &Flags::none(), 0, 0));
            ExpungeRecord::encode(out, MailboxId::INBOX, 1, gone.iter(), true);
        });
        g.push_of(kind::ACCOUNT_REMOVE, ALICE, chain, |out| ReleasedList::encode(out, 0, 0, &[]));
        message(g, chain, 9, 15);
    });
    assert_eq!((orphans, index.entries.len()), (1, 0));
}

#[test]
fn what_is_missing_of_a_run_of_segments_is_what_no_record_calls_retired() {
    let run = |first, last| RetiredRun { first, last, first_lsn: 0 };
    let index = Index { head: 3, retired: vec![run(9, 10), run(5, 6)], ..Index::default() };
    assert_eq!(index.not_retired(1, 12), [(3, 4), (7, 8), (11, 12)]);
    assert_eq!(index.not_retired(5, 6), []);
    assert_eq!(index.not_retired(1, 2), []);
    assert_eq!(index.not_retired(6, 9), [(7, 8)]);
    assert_eq!(Index::default().not_retired(1, 1 << 24), [(1, 1 << 24)]);
    for number in 1..14 {
        assert_eq!(index.not_retired(number, number).is_empty(), index.is_retired(number), "{number}");
    }
}
