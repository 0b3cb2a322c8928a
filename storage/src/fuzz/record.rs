//! Records: one alone, and a directory of them that is applied to an index.

use rand::Rng;
use rand::rngs::SmallRng;

use super::chance::{flags, number, octets, place, several, small, text};
use super::{SEED, Target, none};
use crate::batch::{Header, directory};
use crate::codec::Put;
use crate::index::{self, Index};
use crate::record::{
    self, AccountGone, AccountPut, BodyRecord, Chain, CopyRecord, DomainPut, ExpungeRecord, FlagsRecord, Forget,
    Forward, Gap, Heartbeat, IGNORABLE, LargeRecord, MailboxPut, MailboxRemove, MessageRecord, NewMessage, NewRoot,
    NewTransfer, Piece, Record, Released, ReleasedList, Renumber, Retired, RetiredRun, RootRecord, RunRecord,
    SENT_RUNS_MAX, Subscription, TransferRecord, TransferView, Truncate, encode_sent, encode_watermark, kind,
};
use crate::segment::SEGMENT_BYTES_MAX;
use crate::transfer::{TransferCopy, TransferNumber};
use crate::types::{AccountId, Flags, LARGE, LSN_MAX, MailboxId, Message, Place};

pub const RECORD: Target = Target {
    name: "record",
    make: |chance| {
        let (kind, of_account, payload) = payload(chance);
        framed(chance, kind, of_account, &payload)
    },
    look: |octets| again(octets).map(|(octets, _)| octets),
    mend: mend_one,
    bare: none,
    fixed_bytes: 64 << 10,
    golden: &["record-"],
};

pub const DIRECTORY: Target = Target {
    name: "directory",
    make: |chance| {
        let mut records = (0..chance.random_range(1..20)).flat_map(|_| (RECORD.make)(chance)).collect::<Vec<u8>>();
        fill(&mut records, 1 << 12);
        records
    },
    look: look_at_directory,
    mend: |octets| {
        mend_all(octets);
        fill(octets, 1 << 12);
    },
    bare: none,
    // A mark on a segment takes a bit for each segment before it.
    fixed_bytes: 32 << 20,
    golden: &["record-"],
};

/// A record, framed.
pub fn framed(chance: &mut SmallRng, kind: u16, of_account: bool, payload: &[u8]) -> Vec<u8> {
    let mut links = Chain::default();
    several(chance, 6, place).into_iter().for_each(|place| links.push(place));
    let account = of_account.then(|| AccountId(chance.random_range(1..4)));
    frame(kind, 0, account, &links, payload)
}

fn frame(kind: u16, flags: u8, account: Option<AccountId>, chain: &Chain, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let at = record::begin(&mut out, kind, flags, account, account.map_or(0, record::slot), chain);
    out.extend_from_slice(payload);
    record::finish(&mut out, at);
    if kind == kind::ROOT && payload.len() >= 8 {
        let from = record::payload_at(&out, at);
        NewRoot::seal(&mut out[from..]);
        record::check_again(&mut out, at);
    }
    out
}

/// The first record again, and how long it was.
fn again(octets: &[u8]) -> Option<(Vec<u8>, usize)> {
    // As one is read alone: a directory has a checksum of its own.
    record::Frame::read(octets, 0).ok()?;
    let entry = directory::entries(octets).next()?.ok()?;
    let frame_of = entry.frame;
    let payload = match &entry.record {
        Some(record) => payload_again(record),
        None => frame_of.payload.to_vec(),
    };
    let flags = frame_of.flags & IGNORABLE;
    let mut out = frame(frame_of.kind, flags, frame_of.account, &frame_of.chain, &payload);
    if entry.record.is_none() {
        // What may be passed over keeps its version.
        out[10] = frame_of.version;
        record::check_again(&mut out, 0);
    }
    Some((out, frame_of.len))
}

fn look_at_directory(octets: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut at, mut records) = (0, 0);
    while at < octets.len() {
        let (one, len) = again(&octets[at..])?;
        out.extend_from_slice(&one);
        at += len;
        records += 1;
    }
    let bodies = directory::entries(octets).flatten().filter_map(|entry| match entry.record {
        Some(Record::Body(body)) => Some(BodyRecord::taken(body.len)),
        _ => None,
    });
    let bodies_bytes = bodies.fold(0u64, u64::saturating_add).min(SEGMENT_BYTES_MAX);
    let header = header(octets.len(), records, bodies_bytes);
    // As a live batch, as one of a log that has holes, and after itself.
    if index::check(&header, octets).is_ok() {
        for (live, holes) in [(true, false), (false, true)] {
            let mut index = Index { seed: SEED, live, holes, fold_at: 4, ..Index::default() };
            index.apply(&header, octets);
            index.apply(&Header { lsn: header.lsn + 1, ..header.clone() }, octets);
            super::page::image(&mut index);
        }
    }
    (!out.is_empty()).then_some(out)
}

/// A batch's header, as far as an index looks at it.
pub fn header(directory_bytes: usize, records: u32, body_bytes: u64) -> Header {
    Header {
        volume: 3,
        epoch: 4,
        lsn: 9,
        segment: 7,
        incarnation: 2,
        offset: 4_096,
        prev: 0xfeed,
        durable_lsn: 8,
        directory_bytes: directory_bytes as u32,
        records,
        body_bytes,
        total_bytes: 0,
        transactions: 1,
        directory_check: 0,
    }
}

/// Makes a record of what begins here: length, checksum, of a root also the one in it.
fn mend_one(octets: &mut Vec<u8>) {
    octets.resize(octets.len().max(16).next_multiple_of(8), 0);
    let len = octets.len();
    octets[..4].copy_from_slice(&(len as u32).to_le_bytes());
    mend_within(octets);
}

/// The same; the length is believed where it is possible. Returns it.
fn mend_within(octets: &mut [u8]) -> usize {
    let said = u32::from_le_bytes(octets[..4].try_into().expect("four octets")) as usize;
    let fits = (16..=octets.len()).contains(&said) && said.is_multiple_of(8);
    let len = if fits { said } else { octets.len() };
    octets[..4].copy_from_slice(&(len as u32).to_le_bytes());
    if octets[10] > 2 {
        octets[10] = 1;
    }
    let from = record::payload_at(octets, 0);
    if u16::from_le_bytes([octets[8], octets[9]]) == kind::ROOT && from + 8 <= len {
        NewRoot::seal(&mut octets[from..len]);
    }
    record::check_again(octets, 0);
    len
}

/// Makes records of all of it.
pub fn mend_all(octets: &mut Vec<u8>) {
    octets.resize(octets.len().max(16).next_multiple_of(8), 0);
    let mut at = 0;
    while at < octets.len() {
        if octets.len() - at < 16 {
            octets.truncate(at);
            return;
        }
        at += mend_within(&mut octets[at..]);
    }
}

/// Where in a record the fields of a body are, if it is one.
pub fn body_field(octets: &[u8]) -> Option<usize> {
    let field = record::payload_at(octets, 0);
    (octets[8..11] == [kind::BODY as u8, 0, 1] && field + 32 <= octets.len()).then_some(field)
}

/// Bodies of these records lie one after the other, and take so many octets in all if that can be. Returns how many.
pub fn fill(octets: &mut [u8], bytes: usize) -> u64 {
    let (mut at, mut fields) = (0, Vec::new());
    while at < octets.len() {
        let len = u32::from_le_bytes(octets[at..at + 4].try_into().expect("four octets")) as usize;
        fields.extend(body_field(&octets[at..at + len]).map(|field| (at, at + field)));
        at += len;
    }
    let mut next = header(octets.len(), 0, 0).bodies_at();
    let mut left = bytes.max(fields.len()) as u64;
    for (n, (at, field)) in fields.iter().enumerate() {
        let most = left - (fields.len() - n - 1) as u64;
        let said = u64::from_le_bytes(octets[field + 8..field + 16].try_into().expect("eight octets"));
        let len = if n + 1 < fields.len() { said % (most + 1) } else { most };
        octets[*field..field + 8].copy_from_slice(&next.to_le_bytes());
        octets[field + 8..field + 16].copy_from_slice(&len.to_le_bytes());
        record::check_again(octets, *at);
        (next, left) = (next + BodyRecord::taken(len), left - BodyRecord::taken(len));
    }
    if fields.is_empty() { 0 } else { bytes.max(fields.len()) as u64 }
}

fn released(chance: &mut SmallRng) -> Released {
    Released { body: place(chance), len: small(chance), large: chance.random(), rows: chance.random() }
}

fn message(chance: &mut SmallRng) -> Message {
    let mut message = Message::sketch(small(chance), number(chance), &flags(chance), 0, number(chance) as i64);
    message.prefix_len = chance.random_range(0..200);
    message.size = u32::from(message.prefix_len) + small(chance) / 2;
    message.bits |= if chance.random() { LARGE } else { 0 };
    (message.prefix, message.body, message.body_check) = (place(chance), place(chance), chance.random());
    message
}

fn transfer_number(chance: &mut SmallRng) -> TransferNumber {
    TransferNumber { incarnation: number(chance), number: number(chance) }
}

fn copy(chance: &mut SmallRng) -> TransferCopy {
    let (account, mailbox) = (AccountId(number(chance)), MailboxId(small(chance)));
    let (name, prefix) = (text(chance, 12), octets(chance, 30));
    TransferCopy { account, mailbox, name, prefix, bits: 0, keywords: Vec::new() }.with(&flags(chance))
}

/// The payload of some kind of record: kind, whether it is an account's, octets. By the encoders of production.
pub fn payload(chance: &mut SmallRng) -> (u16, bool, Vec<u8>) {
    const KINDS: [u16; 33] = [
        kind::DOMAIN_PUT,
        kind::DOMAIN_REMOVE,
        kind::ACCOUNT_PUT,
        kind::ACCOUNT_PUT,
        kind::ACCOUNT_REMOVE,
        kind::MAILBOX_PUT,
        kind::MAILBOX_PUT,
        kind::MAILBOX_REMOVE,
        kind::SUBSCRIPTION,
        kind::RENUMBER,
        kind::MESSAGE,
        kind::MESSAGE,
        kind::FLAGS,
        kind::EXPUNGE,
        kind::COPY,
        kind::RUN,
        kind::BODY,
        kind::TRUNCATE,
        kind::HEARTBEAT,
        kind::GAP,
        kind::TRANSFER,
        kind::MOVED_TRANSFER,
        kind::SENT,
        kind::ANEW,
        kind::WATERMARK,
        kind::ROOT,
        kind::FORWARD,
        kind::MOVED,
        kind::LARGE,
        kind::RELEASE,
        kind::RETIRED,
        kind::ACCOUNT_GONE,
        kind::FORGET,
    ];
    let kind = KINDS[chance.random_range(0..KINDS.len())];
    let mut out = Vec::new();
    let o = &mut out;
    let (mailbox, modseq) = (MailboxId(chance.random_range(1..4)), number(chance));
    match kind {
        kind::DOMAIN_PUT => DomainPut { name: &text(chance, 9), info: &octets(chance, 40) }.encode(o),
        kind::DOMAIN_REMOVE => o.text(&text(chance, 9)),
        kind::ACCOUNT_PUT => {
            let (generation, limit_bytes, limit_messages) = (small(chance), number(chance), small(chance));
            let (name, secrets) = (&*text(chance, 9), &*octets(chance, 40));
            AccountPut { modseq, generation, limit_bytes, limit_messages, name, secrets }.encode(o);
        }
        kind::ACCOUNT_REMOVE | kind::RELEASE => {
            ReleasedList::encode(o, number(chance), small(chance), &several(chance, 9, released));
        }
        kind::MAILBOX_PUT => {
            let (uidvalidity, special_use, name) = (small(chance), chance.random(), &*text(chance, 4));
            let (subscribed, begins) = (chance.random(), chance.random());
            MailboxPut { mailbox, uidvalidity, modseq, special_use, subscribed, begins, name }.encode(o);
        }
        kind::MAILBOX_REMOVE => {
            let quota = (number(chance), small(chance));
            MailboxRemove::encode(o, mailbox, modseq, quota, &several(chance, 9, released));
        }
        kind::SUBSCRIPTION => Subscription { on: chance.random(), name: &text(chance, 4) }.encode(o),
        kind::RENUMBER => {
            Renumber { mailbox, uidvalidity: small(chance), uidnext: small(chance), modseq }.encode(o);
        }
        kind::MESSAGE | kind::MOVED => {
            let (prefix, flags) = (octets(chance, 60), flags(chance));
            let new = NewMessage {
                mailbox,
                uid: small(chance),
                modseq,
                size: prefix.len() as u32 + small(chance) / 2,
                saved_s: small(chance),
                internal_ms: number(chance) as i64,
                body: place(chance),
                body_check: chance.random(),
                large: chance.random(),
                retained: chance.random(),
                flags: &flags,
                prefix: &prefix,
            };
            new.encode(o);
        }
        kind::FLAGS => {
            let items = several(chance, 9, |chance| (small(chance), flags(chance)));
            FlagsRecord::encode_head(o, mailbox, modseq, items.len() as u32);
            items.iter().for_each(|(uid, flags)| FlagsRecord::encode_item(o, *uid, flags));
        }
        kind::EXPUNGE => ExpungeRecord::encode(o, mailbox, modseq, several(chance, 9, message).iter(), chance.random()),
        kind::COPY => {
            let items = several(chance, 9, |chance| (small(chance), message(chance), flags(chance)));
            let from = MailboxId(small(chance));
            CopyRecord::encode_head(o, mailbox, modseq, from, small(chance), items.len() as u32);
            for (uid, message, flags) in items {
                CopyRecord::encode_item(o, uid, &message, &flags, chance.random());
            }
        }
        kind::RUN => {
            let (first, last, count, body) = (small(chance), small(chance), small(chance), place(chance));
            let (body_len, body_check) = (small(chance), chance.random());
            RunRecord { mailbox, first, last, count, body, body_len, body_check }.encode(o);
        }
        kind::BODY => {
            // Within the bodies of `header`, most of the time.
            let (offset, len) = (4_096 + 16_384 + number(chance) % (1 << 16), number(chance) % (1 << 16));
            BodyRecord { offset, len, check: chance.random() }.encode(o);
        }
        kind::TRUNCATE => Truncate { discarded_to: number(chance) }.encode(o),
        kind::HEARTBEAT => Heartbeat { durable_lsn: number(chance) }.encode(o),
        kind::FORGET => Forget { through: number(chance) }.encode(o),
        kind::GAP => {
            let lost = several(chance, 5, |chance| {
                let first = number(chance) % LSN_MAX;
                (first, first + number(chance) % (LSN_MAX - first + 1))
            });
            Gap::encode(o, number(chance), &lost);
        }
        kind::TRANSFER | kind::MOVED_TRANSFER => {
            let from = (AccountId(1 + number(chance) / 2), mailbox, small(chance));
            let new = NewTransfer {
                target: chance.random_range(0..3),
                number: transfer_number(chance),
                internal_ms: number(chance) as i64,
                from: chance.random::<bool>().then_some(from),
                hide: chance.random(),
                carried: &message(chance),
                copies: &several(chance, 5, copy),
            };
            new.encode(o);
        }
        kind::SENT => {
            let runs = several(chance, SENT_RUNS_MAX.min(6), |chance| (number(chance), number(chance)));
            encode_sent(o, chance.random_range(0..3), number(chance), &runs);
        }
        kind::ANEW => o.u64(number(chance)),
        kind::WATERMARK => {
            let bounced = several(chance, 9, |chance| chance.random());
            let (number, settled) = (transfer_number(chance), transfer_number(chance));
            encode_watermark(o, chance.random_range(0..3), number, settled, &bounced);
        }
        kind::ROOT => super::snapshot::root(chance, o),
        kind::FORWARD => {
            let items = several(chance, 9, |chance| (small(chance), place(chance)));
            Forward::encode(o, chance.random_range(0..9), &items);
        }
        kind::LARGE => {
            let piece =
                |chance: &mut SmallRng| Piece { place: place(chance), len: small(chance), check: chance.random() };
            LargeRecord::encode(o, &several(chance, 9, piece));
        }
        kind::RETIRED => {
            let run = |chance: &mut SmallRng| RetiredRun { first: small(chance), last: small(chance), first_lsn: 7 };
            Retired::encode(o, chance.random_range(0..9), &several(chance, 5, run));
        }
        _ => {
            let gone = several(chance, 5, |chance| (AccountId(chance.random_range(1..5)), small(chance)));
            AccountGone::encode(o, &gone);
        }
    }
    let of_account = matches!(kind, 8..=32 | kind::ROOT);
    (kind, of_account, out)
}

/// The payload of a record that was read.
fn payload_again(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let o = &mut out;
    match record {
        Record::DomainPut(put) => put.encode(o),
        Record::DomainRemove(name) => o.text(name),
        Record::AccountPut(put) => put.encode(o),
        Record::AccountRemove(list) | Record::Release(list) => list_again(list, o),
        Record::MailboxPut(put) => put.encode(o),
        Record::MailboxRemove(remove) => {
            let items: Vec<Released> = remove.released.items().collect();
            let quota = (remove.released.bytes, remove.released.messages);
            MailboxRemove::encode(o, remove.mailbox, remove.modseq, quota, &items);
        }
        Record::Subscription(subscription) => subscription.encode(o),
        Record::Renumber(renumber) => renumber.encode(o),
        Record::Message(message) | Record::Moved(message) => message_again(message, o),
        Record::Flags(flags) => {
            FlagsRecord::encode_head(o, flags.mailbox, flags.modseq, flags.count);
            flags.items().for_each(|(uid, view)| FlagsRecord::encode_item(o, uid, &view.to_flags()));
        }
        Record::Expunge(expunge) => {
            let uids: Vec<u32> = expunge.uids().collect();
            o.u32(expunge.mailbox.0);
            o.u32(uids.len() as u32);
            o.u64(expunge.modseq);
            uids.iter().for_each(|uid| o.u32(*uid));
            list_again(&expunge.released, o);
        }
        Record::Copy(copy) => {
            CopyRecord::encode_head(o, copy.mailbox, copy.modseq, copy.from, copy.saved_s, copy.count);
            for copied in copy.items() {
                let original = Message {
                    prefix: copied.prefix,
                    ..carried(
                        copied.from_uid,
                        copied.size,
                        copied.prefix_len,
                        copied.large,
                        copied.body,
                        copied.body_check,
                    )
                };
                let original = Message { internal_ms: copied.internal_ms, ..original };
                CopyRecord::encode_item(o, copied.uid, &original, &copied.flags.to_flags(), copied.retained);
            }
        }
        Record::Run(run) => run.encode(o),
        Record::Body(body) => body.encode(o),
        Record::Large(large) | Record::MovedLarge(large) => LargeRecord::encode(o, &large.pieces().collect::<Vec<_>>()),
        Record::Root(root) => root_again(root, o),
        Record::Forward(forward) => {
            let items: Vec<(u32, Place)> = forward.items().map(|(old, new)| (old.at, new)).collect();
            Forward::encode(o, forward.segment, &items);
        }
        Record::Retired(retired) => Retired::encode(o, retired.head, &retired.runs().collect::<Vec<_>>()),
        Record::AccountGone(gone) => AccountGone::encode(o, &gone.items().collect::<Vec<_>>()),
        Record::Truncate(truncate) => truncate.encode(o),
        Record::Heartbeat(heartbeat) => heartbeat.encode(o),
        Record::Forget(forget) => forget.encode(o),
        Record::Gap(gap) => {
            o.u32(gap.numbers);
            o.u32(gap.ranges().count() as u32);
            o.u64(gap.modseqs);
            gap.ranges().for_each(|(first, last)| {
                o.u64(first);
                o.u64(last);
            });
        }
        Record::Transfer(record) => transfer_again(record, o),
    }
    out
}

fn list_again(list: &ReleasedList<'_>, out: &mut Vec<u8>) {
    ReleasedList::encode(out, list.bytes, list.messages, &list.items().collect::<Vec<_>>());
}

fn message_again(m: &MessageRecord<'_>, out: &mut Vec<u8>) {
    let (mailbox, uid, modseq, size, saved_s) = (m.mailbox, m.uid, m.modseq, m.size, m.saved_s);
    let (internal_ms, body, body_check, large, retained) = (m.internal_ms, m.body, m.body_check, m.large, m.retained);
    let (flags, prefix) = (&m.flags.to_flags(), m.prefix);
    NewMessage { mailbox, uid, modseq, size, saved_s, internal_ms, body, body_check, large, retained, flags, prefix }
        .encode(out);
}

/// A message of which this much is known.
fn carried(uid: u32, size: u32, prefix_len: u16, large: bool, body: Place, body_check: u64) -> Message {
    let bits = if large { LARGE } else { 0 };
    Message { bits, prefix_len, body, body_check, ..Message::sketch(uid, 0, &Flags::none(), size, 0) }
}

/// The root with the lists of it that were read.
pub fn root_again(root: &RootRecord<'_>, out: &mut Vec<u8>) {
    let again = NewRoot {
        segment: 0,
        name_hash: root.name_hash,
        put: root.put,
        through: root.through,
        through_lsn: root.through_lsn,
        folds: root.folds,
        generation: root.generation,
        modseq: root.modseq,
        used_bytes: root.used_bytes,
        limit_bytes: root.limit_bytes,
        used_messages: root.used_messages,
        limit_messages: root.limit_messages,
        inbox_uidnext: root.inbox_uidnext,
        inbox_uidvalidity: root.inbox_uidvalidity,
        last_mailbox: root.last_mailbox,
        added: &root.added().collect::<Vec<_>>(),
        released: &root.released.items().collect::<Vec<_>>(),
        subscriptions: &root.subscriptions(),
        mailboxes: &root.mailboxes(),
    };
    again.encode(out);
}

fn transfer_again(record: &TransferRecord<'_>, out: &mut Vec<u8>) {
    match record {
        TransferRecord::Transfer(view) | TransferRecord::Moved(view) => transfer_view_again(view, out),
        TransferRecord::Sent(sent) => {
            let runs: Vec<(u64, u64)> = sent.runs().map(|(first, last)| (first.number, last.number)).collect();
            encode_sent(out, sent.target, sent.incarnation, &runs);
        }
        TransferRecord::Anew { incarnation } => out.u64(*incarnation),
        TransferRecord::Watermark(w) => {
            encode_watermark(out, w.source, w.number, w.settled, &w.bounced().collect::<Vec<_>>());
        }
    }
}

fn transfer_view_again(view: &TransferView<'_>, out: &mut Vec<u8>) {
    let carried = carried(0, view.size, view.prefix_len, view.large, view.body, view.body_check);
    let new = NewTransfer {
        target: view.target,
        number: view.number,
        internal_ms: view.internal_ms,
        from: view.from,
        hide: view.hide,
        carried: &Message { prefix: view.prefix, ..carried },
        copies: &view.copies().collect::<Vec<_>>(),
    };
    new.encode(out);
}
