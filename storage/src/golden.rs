//! Golden bytes: what today's structures encode to, held against images that are kept for ever.
//!
//! A change of the format breaks these tests. Then: raise the version, keep the old images and their reader, add
//! new ones. `RINGPOST_GOLDEN=write` writes the images that are not there yet; it never overwrites one.

use std::path::PathBuf;
use std::rc::Rc;

use crate::batch::{Gather, HEADER_BYTES, Header, Seen, directory};
use crate::checkpoint::golden::{Page, example, objects};
use crate::codec::Put;
use crate::index;
use crate::record::{
    self, AccountGone, AccountPut, Chain, CopyRecord, DomainPut, ExpungeRecord, FlagsRecord, Forget, Forward, Gap,
    Heartbeat, MailboxPut, MailboxRemove, MailboxRoot, NewMessage, NewRoot, NewTransfer, Record, Released,
    ReleasedList, Renumber, Retired, RetiredRun, Row, RowRun, RunRecord, RunRef, Subscription, TransferRecord,
    Truncate, encode_sent, encode_watermark, here, kind, pack, pack_rows, unpack_rows,
};
use crate::scrub::Kept;
use crate::transfer::{TransferCopy, TransferNumber};
use crate::types::{AccountId, Flags, MailboxId, Message, Place};
use crate::{segment, superblock};

fn golden(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("RINGPOST_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, bytes).unwrap();
    }
    let kept = std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    assert_eq!(kept.len(), bytes.len(), "{name}");
    let differs = kept.iter().zip(bytes).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{name}: first octet that differs");
}

const SEED: u64 = 0x5eed;

/// A batch with one record of each kind that the first of our images has.
fn batch() -> Vec<u8> {
    let account = AccountId(3 << 48 | 1);
    let mut chain = Chain::default();
    let mut g = Gather::new(42, 7, 8_192);
    let flags =
        Flags { bits: Flags::SEEN | Flags::DRAFT, keywords: Some(Rc::new(vec!["$Junk".into(), "work".into()])) };
    g.push(kind::DOMAIN_PUT, |o| DomainPut { name: "ringpost.test", info: b"info" }.encode(o));
    g.push(kind::DOMAIN_REMOVE, |o| crate::codec::Put::text(o, "gone.test"));
    let put = AccountPut {
        modseq: 1,
        generation: 1,
        limit_bytes: 1 << 30,
        limit_messages: 0,
        name: "alice@ringpost.test",
        secrets: b"secret",
    };
    g.push_of(kind::ACCOUNT_PUT, account, &mut chain, |o| put.encode(o));
    let mailbox = MailboxId(2);
    let put = MailboxPut {
        mailbox,
        uidvalidity: 1_700_000_000,
        modseq: 2,
        special_use: 5,
        subscribed: true,
        begins: false,
        name: "Sent",
    };
    g.push_of(kind::MAILBOX_PUT, account, &mut chain, |o| put.encode(o));
    let pushed = g.push_body(vec![], vec![b"Subject: hello\r\n\r\n".to_vec(), b"world\r\n".to_vec()], 25, 9);
    let message = NewMessage {
        mailbox,
        uid: 1,
        modseq: 3,
        size: 27,
        saved_s: 1_700_000_001,
        internal_ms: 1_700_000_000_123,
        body: pushed.place,
        body_check: pushed.check,
        large: false,
        retained: false,
        flags: &flags,
        prefix: b"X\n",
    };
    g.push_with_body(kind::MESSAGE, account, &mut chain, (pushed, NewMessage::BODY_AT), |o| message.encode(o));
    g.push_of(kind::FLAGS, account, &mut chain, |o| {
        FlagsRecord::encode_head(o, mailbox, 4, 2);
        FlagsRecord::encode_item(o, 1, &Flags::of(Flags::FLAGGED));
        FlagsRecord::encode_item(o, 2, &flags);
    });
    let gone = [1, 3, 9].map(|uid| Message::sketch(uid, 3, &flags, 4_000 + uid, 0));
    g.push_of(kind::EXPUNGE, account, &mut chain, |o| ExpungeRecord::encode(o, mailbox, 5, gone.iter(), true));
    let packed = pack(&[(1, b"one".to_vec()), (4, b"four".to_vec())]);
    let len = packed.len() as u64;
    let pushed = g.push_body(vec![], vec![packed], len, 9);
    let (body, body_len, body_check) = (pushed.place, len as u32, pushed.check);
    let run = RunRecord { mailbox, first: 1, last: 4, count: 2, body, body_len, body_check };
    g.push_with_body(kind::RUN, account, &mut chain, (pushed, RunRecord::BODY_AT), |o| run.encode(o));
    let released = Released { body: Place { segment: 6, at: 4_224 }, len: 3_990, large: false, rows: false };
    g.push_of(kind::MAILBOX_REMOVE, account, &mut chain, |o| {
        MailboxRemove::encode(o, mailbox, 6, (4_000, 1), &[released]);
    });
    g.push_of(kind::ACCOUNT_REMOVE, account, &mut chain, |o| ReleasedList::encode(o, 4_000, 1, &[released]));
    g.push(kind::TRUNCATE, |o| Truncate { discarded_to: 12_288 }.encode(o));
    g.push(kind::HEARTBEAT, |o| Heartbeat { durable_lsn: 41 }.encode(o));
    // Two pieces and a half, and a list of three.
    let large = vec![b'x'; 640 << 10];
    g.push_body(vec![], vec![large], 640 << 10, 9);
    g.transactions = 2;
    let like = Header {
        volume: 3,
        epoch: 4,
        incarnation: 2,
        offset: 8_192,
        prev: 0xfeed_f00d,
        durable_lsn: 41,
        lsn: 0,
        segment: 0,
        directory_bytes: 0,
        records: 0,
        body_bytes: 0,
        total_bytes: 0,
        transactions: 0,
        directory_check: 0,
    };
    let sealed = g.seal(like, SEED);
    sealed.parts.into_iter().flat_map(Rc::unwrap_or_clone).collect()
}

#[test]
fn the_superblock_is_these_bytes() {
    let kept = Kept { began_ms: 1_700_000_000_123, completed_ms: 1_600_000_000_456, next: 9, errors: 2 };
    golden("scrub-v2", &kept.encode(SEED));
    assert_eq!(Kept::decode(&kept.encode(SEED), SEED), Some(kept));
    assert_eq!(Kept::decode(&kept.encode(SEED), SEED + 1), None);
    golden("superblock-v2", &superblock::tests::example(5, 0xfeed).encode(2));
}

#[test]
fn a_page_and_a_root_are_these_bytes() {
    let page = Page { key: (8, 7), part: 1, parts: 2, generation: 5, number: 12, bytes: b"entries" };
    let (bytes, check) = page.encode(SEED);
    golden("page-v2", &bytes);
    assert_eq!(Page::decode(&bytes, SEED), Some((page, check)));
    golden("root-v2", &example().encode());
    // Kind, number, octets of each object.
    let mut out = Vec::new();
    for ((kind, id), bytes) in objects() {
        out.u16(kind);
        out.u32(id);
        out.blob(&bytes);
    }
    golden("objects-v2", &out);
}

#[test]
fn the_segment_header_is_these_bytes() {
    golden("segment-header-v2", &segment::tests::example().encode());
}

#[test]
fn a_batch_with_each_kind_of_record_is_these_bytes() {
    let bytes = batch();
    // The large body is left out of the image: 640 KiB of one letter.
    let bodies = bytes.windows(1_024).position(|w| w.iter().all(|&b| b == b'x')).unwrap();
    golden("batch-v2-front", &bytes[..bodies]);
    golden("batch-v2-end", &bytes[bodies + (640 << 10)..]);
}

#[test]
fn a_record_of_a_gap_is_these_bytes() {
    let mut out = Vec::new();
    let at = record::begin(&mut out, kind::GAP, 0, None, 0, &Chain::default());
    Gap::encode(&mut out, 64 << 20, &[(7, 7), (9, 12)]);
    record::finish(&mut out, at);
    golden("record-gap-v2", &out);
    let entry = directory::entries(&out).next().unwrap().unwrap();
    let Some(Record::Gap(gap)) = entry.record else { panic!("a gap") };
    assert_eq!((gap.numbers, gap.modseqs), ((64 << 20) / 48 + 1, (2 << 20) + 1));
    assert_eq!(gap.ranges().collect::<Vec<_>>(), [(7, 7), (9, 12)]);
}

/// A record of the volume itself, framed.
fn bare(kind: u16, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    let at = record::begin(&mut out, kind, 0, None, 0, &Chain::default());
    payload(&mut out);
    record::finish(&mut out, at);
    out
}

#[test]
fn the_records_of_compaction_are_these_bytes() {
    let new = Place { segment: 9, at: 77_000 };
    let forward = bare(kind::FORWARD, |out| Forward::encode(out, 6, &[(4_300, new), (9_000, Place { at: 8, ..new })]));
    golden("record-forward-v2", &forward);
    let entry = directory::entries(&forward).next().unwrap().unwrap();
    let Some(Record::Forward(view)) = entry.record else { panic!("a forward") };
    let olds: Vec<_> = view.items().collect();
    assert_eq!(olds[0], (Place { segment: 6, at: 4_300 }, new));
    assert_eq!(olds[1], (Place { segment: 6, at: 9_000 }, Place { segment: 9, at: 8 }));

    let run = |first: u32, last: u32| RetiredRun { first, last, first_lsn: u64::from(first) * 1_000 };
    let runs = [run(5, 5), run(7, 9)];
    let retired = bare(kind::RETIRED, |out| Retired::encode(out, 4, &runs));
    golden("record-retired-v2", &retired);
    let entry = directory::entries(&retired).next().unwrap().unwrap();
    let Some(Record::Retired(view)) = entry.record else { panic!("segments that are gone") };
    assert_eq!((view.head, view.runs().collect::<Vec<_>>()), (4, runs.to_vec()));

    let gone = [(AccountId(3 << 48 | 1), 6), (AccountId(3 << 48 | 9), 2)];
    let record = bare(kind::ACCOUNT_GONE, |out| AccountGone::encode(out, &gone));
    golden("record-account-gone-v2", &record);
    let entry = directory::entries(&record).next().unwrap().unwrap();
    let Some(Record::AccountGone(view)) = entry.record else { panic!("accounts that are gone") };
    assert_eq!(view.items().collect::<Vec<_>>(), gone);
}

#[test]
fn a_record_that_forgets_forwards_is_these_bytes() {
    let record = bare(kind::FORGET, |out| Forget { through: 77_001 }.encode(out));
    golden("record-forget-v2", &record);
    let gone = [Released { body: Place { segment: 6, at: 4_224 }, len: 3_990, large: true, rows: false }];
    golden("record-release-v2", &bare(kind::RELEASE, |out| ReleasedList::encode(out, 0, 0, &gone)));
    let entry = directory::entries(&record).next().unwrap().unwrap();
    let Some(Record::Forget(forget)) = entry.record else { panic!("a forget") };
    assert_eq!(forget.through, 77_001);
}

/// A record of an account, framed.
fn framed(kind: u16, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chain = Chain::default();
    chain.push(Place { segment: 7, at: 4_240 });
    let account = AccountId(3 << 48 | 1);
    let at = record::begin(&mut out, kind, 0, Some(account), record::slot(account), &chain);
    payload(&mut out);
    record::finish(&mut out, at);
    out
}

#[test]
fn a_record_of_a_subscription_is_these_bytes() {
    let subscription = Subscription { on: true, name: "Entwürfe/2024" };
    let out = framed(kind::SUBSCRIPTION, |o| subscription.encode(o));
    golden("record-subscription-v2", &out);
    let entry = directory::entries(&out).next().unwrap().unwrap();
    assert_eq!(entry.record, Some(Record::Subscription(subscription)));
}

#[test]
fn a_record_of_new_numbers_is_these_bytes() {
    let renumber = Renumber { mailbox: MailboxId(4), uidvalidity: 1_275_660_208, uidnext: 25_022, modseq: 77 };
    let out = framed(kind::RENUMBER, |o| renumber.encode(o));
    golden("record-renumber-v2", &out);
    let entry = directory::entries(&out).next().unwrap().unwrap();
    assert_eq!(entry.record, Some(Record::Renumber(renumber)));
}

#[test]
fn a_record_of_copies_is_these_bytes() {
    let flags = Flags { bits: Flags::FLAGGED, keywords: Some(Rc::new(vec!["work".into()])) };
    let original = |uid: u32| Message {
        prefix: Place { segment: 6, at: 8 * uid },
        body: Place { segment: 5, at: 31 * uid },
        body_check: 0xfeed_f00d_0000_0000 | u64::from(uid),
        prefix_len: 30,
        ..Message::sketch(uid, 9, &Flags::none(), 2_700 + uid, 1_700_000_000_123)
    };
    let out = framed(kind::COPY, |o| {
        CopyRecord::encode_head(o, MailboxId(4), 77, MailboxId(2), 1_700_000_009, 2);
        CopyRecord::encode_item(o, 11, &original(3), &flags, false);
        CopyRecord::encode_item(o, 12, &original(8), &Flags::none(), false);
    });
    golden("record-copy-v2", &out);
    let kept = framed(kind::COPY, |o| {
        CopyRecord::encode_head(o, MailboxId(5), 78, MailboxId(2), 1_700_000_009, 1);
        CopyRecord::encode_item(o, 13, &original(3), &crate::retain::marked(&flags, MailboxId(2), "Lists"), true);
    });
    golden("record-retained-v2", &kept);
    let Some(Record::Copy(copy)) = directory::entries(&kept).next().unwrap().unwrap().record else { panic!("copies") };
    assert!(copy.items().all(|item| item.retained && !item.large));
    let entry = directory::entries(&out).next().unwrap().unwrap();
    let Some(Record::Copy(copy)) = entry.record else { panic!("copies") };
    assert_eq!((copy.mailbox, copy.modseq, copy.from, copy.count), (MailboxId(4), 77, MailboxId(2), 2));
    let items: Vec<_> = copy.items().collect();
    assert_eq!((items[0].uid, items[0].from_uid, items[0].size), (11, 3, 2_703));
    assert_eq!((items[0].internal_ms, copy.saved_s), (1_700_000_000_123, 1_700_000_009));
    assert_eq!((items[1].prefix, items[1].body), (Place { segment: 6, at: 64 }, Place { segment: 5, at: 248 }));
    assert_eq!((items[1].body_check, items[0].flags.to_flags()), (0xfeed_f00d_0000_0008, flags));
}

#[test]
fn the_records_of_transfers_are_these_bytes() {
    let bare = |kind: u16, payload: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        let at = record::begin(&mut out, kind, 0, None, 0, &Chain::default());
        payload(&mut out);
        record::finish(&mut out, at);
        out
    };
    let number = TransferNumber { incarnation: 1_700_000_000_000, number: 7 };
    let carried = Message {
        prefix: Place { segment: 6, at: 4_160 },
        body: Place { segment: 5, at: 4_300 },
        body_check: 0xfeed_f00d,
        prefix_len: 40,
        ..Message::sketch(0, 0, &Flags::none(), 2_700, 0)
    };
    let copy = TransferCopy {
        account: AccountId(1 << 48 | 5),
        mailbox: MailboxId(1),
        name: "bob@x".into(),
        prefix: b"X: y\r\n".to_vec(),
        bits: Flags::SEEN,
        keywords: vec!["work".into()],
    };
    let copies = [copy.clone(), TransferCopy { prefix: Vec::new(), bits: 0, keywords: Vec::new(), ..copy }];
    let from = Some((AccountId(3 << 48 | 1), MailboxId(2), 9));
    let transfer = bare(kind::TRANSFER, &|out| {
        let new = NewTransfer {
            target: 1,
            number,
            internal_ms: 1_700_000_000_123,
            from,
            hide: true,
            carried: &carried,
            copies: &copies,
        };
        new.encode(out);
    });
    golden("record-transfer-v2", &transfer);
    let entry = directory::entries(&transfer).next().unwrap().unwrap();
    let Some(Record::Transfer(TransferRecord::Transfer(view))) = entry.record else { panic!("a transfer") };
    assert_eq!((view.target, view.number, view.from, view.hide), (1, number, from, true));
    assert_eq!((view.size, view.body, view.prefix), (2_700, carried.body, carried.prefix));
    assert_eq!(view.copies().collect::<Vec<_>>(), copies);

    let sent = bare(kind::SENT, &|out| encode_sent(out, 1, number.incarnation, &[(5, 7), (9, 9)]));
    golden("record-sent-v2", &sent);
    let entry = directory::entries(&sent).next().unwrap().unwrap();
    let Some(Record::Transfer(TransferRecord::Sent(view))) = entry.record else { panic!("a sent") };
    let runs: Vec<_> = view.runs().map(|(first, last)| (first.number, last)).collect();
    assert_eq!(runs, [(5, number), (9, TransferNumber { number: 9, ..number })]);

    let settled = TransferNumber { number: 6, ..number };
    let watermark = bare(kind::WATERMARK, &|out| encode_watermark(out, 4, number, settled, &[0, 3]));
    golden("record-watermark-v2", &watermark);
    let anew = bare(kind::ANEW, &|out| out.u64(number.incarnation));
    golden("record-anew-v2", &anew);

    // What a checkpoint has of them.
    let mut known = crate::index::Transfers::default();
    for bytes in [&transfer, &sent, &anew, &watermark] {
        let Some(Record::Transfer(record)) = directory::entries(bytes).next().unwrap().unwrap().record else {
            panic!()
        };
        let _ = known.apply(&record, &mut |_, _| {});
    }
    let mut objects = Vec::new();
    known.encode_out(1, &mut objects);
    known.encode_watermarks(&mut objects);
    golden("objects-of-transfers-v2", &objects);
    let entry = directory::entries(&watermark).next().unwrap().unwrap();
    let Some(Record::Transfer(TransferRecord::Watermark(view))) = entry.record else { panic!("a watermark") };
    assert_eq!((view.source, view.number, view.settled), (4, number, settled));
    assert_eq!(view.bounced().collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn the_golden_batch_reads_as_one_record_of_each_kind() {
    let bytes = batch();
    let Seen::Header(header) = Header::decode(&bytes, SEED) else { panic!("a header") };
    let directory = &bytes[HEADER_BYTES..][..header.directory_bytes as usize];
    assert_eq!(index::check(&header, directory), Ok(()));
    let kinds: Vec<u16> = directory::entries(directory).map(|e| e.unwrap().frame.kind).collect();
    assert_eq!(kinds, [1, 2, 8, 16, 33, 24, 25, 26, 33, 32, 17, 9, 48, 49, 33, 33, 33, 107]);
    let place = Place { segment: 7, at: header.bodies_at() as u32 };
    let message = directory::entries(directory).find_map(|e| match e.unwrap().record {
        Some(Record::Message(m)) => Some((m.uid, m.body, m.prefix.to_vec(), m.flags.to_flags().keywords().len())),
        _ => None,
    });
    assert_eq!(message, Some((1, place, b"X\n".to_vec(), 2)));
}

#[test]
fn a_run_of_rows_is_these_bytes() {
    let account = AccountId(3 << 48 | 1);
    let flags = Flags { bits: Flags::SEEN, keywords: Some(Rc::new(vec!["later".into(), "work".into()])) };
    let message = |uid: u32, flags: &Flags| {
        Row::Message(Message {
            saved_s: 1_700_000_009,
            prefix: Place { segment: 6, at: 8 * uid },
            body: Place { segment: 5, at: 31 * uid },
            body_check: 0xfeed_f00d_0000_0000 | u64::from(uid),
            prefix_len: 30,
            ..Message::sketch(uid, 9, flags, 2_700 + uid, 1_700_000_000_123)
        })
    };
    let rows = [message(3, &flags), Row::Gone(4), message(8, &Flags::of(Flags::DRAFT)), message(9, &flags)];
    let bytes = pack_rows(account, MailboxId(4), &rows);
    golden("rows-v2", &bytes);
    let back = unpack_rows(account, MailboxId(4), &bytes).unwrap();
    assert_eq!(format!("{back:?}"), format!("{rows:?}"));
}

#[test]
fn a_record_of_a_root_is_these_bytes() {
    let account = AccountId(3 << 48 | 1);
    let old = Released { body: Place { segment: 6, at: 4_224 }, len: 3_990, large: false, rows: true };
    let mailbox = |id: u32, name: &str| MailboxRoot {
        id: MailboxId(id),
        name: name.to_owned(),
        uidvalidity: 1_700_000_000 + id,
        uidnext: 17,
        special_use: id as u16,
        highest_modseq: 40,
        floor: 12,
        keyword_bytes_max: 11,
        expunged: vec![(20, 4), (31, 5)],
        rows: vec![RowRun { body: Place { segment: 5, at: 9_000 }, len: 280, rows: 4, check: 0xfeed }],
        runs: vec![RunRef {
            first: 1,
            last: 9,
            count: 7,
            body: Place { segment: 5, at: 9_400 },
            body_len: 700,
            body_check: 0xf00d,
        }],
    };
    let mut g = Gather::new(42, 7, 8_192);
    let blob = g.push_blobs(pack_rows(account, MailboxId::INBOX, &[Row::Gone(5)]), &[36], 9)[0];
    let mut inbox = mailbox(1, "INBOX");
    inbox.rows.push(RowRun { body: here(blob.place.at), len: 36, rows: 1, check: blob.check });
    let mailboxes = [inbox, mailbox(3, "Entwürfe")];
    let root = NewRoot {
        segment: 7,
        name_hash: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        put: Place { segment: 1, at: 4_224 },
        through: Place { segment: 6, at: 70_000 },
        through_lsn: 41,
        folds: 64,
        generation: 2,
        modseq: 40,
        used_bytes: 5_400,
        limit_bytes: 1 << 30,
        used_messages: 2,
        limit_messages: 1_000,
        inbox_uidnext: 17,
        inbox_uidvalidity: 1_700_000_001,
        last_mailbox: 3,
        added: &[Released { body: here(blob.place.at), len: 88, large: false, rows: true }],
        released: &[old],
        subscriptions: &["Entwürfe".into(), "INBOX".into()],
        mailboxes: &mailboxes,
    };
    let place = g.push_root(account, &root);
    let sealed = g.seal(crate::batch::example(), SEED);
    let directory = &sealed.parts[0][HEADER_BYTES..];
    let record = &directory[place.at as usize - 8_192 - HEADER_BYTES..];
    golden("record-root-v2", record);
    let Some(Record::Root(read)) = directory::entries(record).next().unwrap().unwrap().record else { panic!("a root") };
    let body = Place { segment: 7, at: sealed.header.bodies_at() as u32 };
    assert_eq!(read.added().map(|added| added.body).collect::<Vec<_>>(), [body]);
    assert_eq!(read.released.items().collect::<Vec<_>>(), [old]);
    assert_eq!((read.through, read.folds, read.last_mailbox), (root.through, 64, 3));
    let read = read.mailboxes();
    assert_eq!((read[0].rows[1].body, &read[1]), (body, &mailboxes[1]));
}
