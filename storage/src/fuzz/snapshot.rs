//! What a fold writes: the root of an account, runs of rows, runs of summaries.

use rand::Rng;
use rand::rngs::SmallRng;

use super::chance::{flags, number, octets, place, several, small, text};
use super::{Target, none};
use crate::codec::{Put, Reader};
use crate::fold::runs::{Size, cut, overlay};
use crate::index::{Account, blank};
use crate::record::{
    self, Frame, MailboxRoot, NewRoot, Record, Released, RootRecord, Row, RowRun, RunRef, find, kind, pack, pack_rows,
    unpack, unpack_rows,
};
use crate::types::{AccountId, LARGE, MailboxId, Message};

pub const SNAPSHOT: Target = Target {
    name: "snapshot",
    make: |chance| {
        let mut payload = Vec::new();
        root(chance, &mut payload);
        super::record::framed(chance, kind::ROOT, true, &payload)
    },
    look: look_at_root,
    mend: |octets| {
        octets.resize(octets.len().max(24), 0);
        octets[8..10].copy_from_slice(&kind::ROOT.to_le_bytes());
        (super::record::RECORD.mend)(octets);
    },
    bare: none,
    fixed_bytes: 64 << 10,
    golden: &["record-root"],
};

pub const ROWS: Target = Target {
    name: "rows",
    make: |chance| checked(&pack_rows(ALICE, MailboxId::INBOX, &rows(chance))),
    look: look_at_rows,
    mend: |octets| {
        octets.resize(octets.len().max(16 + 32), 0);
        octets[16..20].copy_from_slice(b"RPr\n");
        let room = (octets.len() - 48) as u32;
        for (at, each) in [(20, 64), (40, 4)] {
            let said = u32::from_le_bytes(octets[at..at + 4].try_into().expect("four octets"));
            octets[at..at + 4].copy_from_slice(&(said.min(room / each)).to_le_bytes());
        }
        octets[24..32].copy_from_slice(&ALICE.0.to_le_bytes());
        octets[32..36].copy_from_slice(&1u32.to_le_bytes());
        check_again(octets);
    },
    bare: none,
    fixed_bytes: 64 << 10,
    golden: &["rows"],
};

pub const RUN: Target = Target {
    name: "run",
    make: |chance| checked(&pack(&summaries(chance))),
    look: look_at_run,
    mend: |octets| {
        octets.resize(octets.len().max(16 + 8), 0);
        let most = (octets.len() - 24) as u32 / 8;
        let said = u32::from_le_bytes(octets[16..20].try_into().expect("four octets"));
        octets[16..20].copy_from_slice(&(said.min(most)).to_le_bytes());
        check_again(octets);
    },
    bare: none,
    fixed_bytes: 64 << 10,
    golden: &[],
};

/// Whose rows they are.
const ALICE: AccountId = AccountId(7);

/// The payload of a root.
pub fn root(chance: &mut SmallRng, out: &mut Vec<u8>) {
    let mut subscriptions: Vec<Box<str>> = several(chance, 5, |chance| text(chance, 6).into());
    subscriptions.sort_unstable();
    subscriptions.dedup();
    let mut id = 0;
    let mailboxes = several(chance, 5, |chance| {
        id += chance.random_range(1..3);
        mailbox(chance, id)
    });
    let released = |chance: &mut SmallRng| Released {
        body: place(chance),
        len: small(chance),
        large: chance.random(),
        rows: chance.random(),
    };
    let new = NewRoot {
        segment: 7,
        name_hash: chance.random(),
        put: place(chance),
        through: place(chance),
        through_lsn: number(chance),
        folds: small(chance),
        generation: small(chance),
        modseq: number(chance),
        used_bytes: number(chance),
        limit_bytes: number(chance),
        used_messages: small(chance),
        limit_messages: small(chance),
        inbox_uidnext: small(chance),
        inbox_uidvalidity: small(chance),
        last_mailbox: small(chance),
        added: &several(chance, 4, released),
        released: &several(chance, 4, released),
        subscriptions: &subscriptions,
        mailboxes: &mailboxes,
    };
    new.encode(out);
}

fn mailbox(chance: &mut SmallRng, id: u32) -> MailboxRoot {
    let row_run = |chance: &mut SmallRng| RowRun {
        body: place(chance),
        len: small(chance),
        rows: small(chance),
        check: chance.random(),
    };
    let run = |chance: &mut SmallRng| RunRef {
        first: small(chance),
        last: small(chance),
        count: small(chance),
        body: place(chance),
        body_len: small(chance),
        body_check: chance.random(),
    };
    MailboxRoot {
        id: MailboxId(id),
        name: text(chance, 6),
        uidvalidity: small(chance),
        uidnext: small(chance),
        special_use: chance.random(),
        highest_modseq: number(chance),
        floor: number(chance),
        keyword_bytes_max: small(chance),
        expunged: several(chance, 5, |chance| (number(chance), small(chance))),
        rows: several(chance, 4, row_run),
        runs: several(chance, 4, run),
    }
}

fn look_at_root(octets: &[u8]) -> Option<Vec<u8>> {
    let frame = Frame::read(octets, 0).ok()?;
    let Ok(Some(Record::Root(root))) = Record::of(&frame) else { return None };
    if !RootRecord::fits(frame.payload) {
        return None;
    }
    let account = frame.account?;
    let mut made = Account::of_root(blank(account).info, &root, 9);
    assert_eq!(
        made.mailboxes.len(),
        root.mailboxes().iter().map(|m| m.id).collect::<std::collections::BTreeSet<_>>().len()
    );
    let _ = made.apply(crate::types::Place { segment: 7, at: 9 }, 9, &Record::Root(root));
    let names: Vec<String> = made.mailboxes.values().map(|m| m.info.name.clone()).collect();
    names.iter().for_each(|name| assert!(!made.named(name).is_empty(), "a mailbox is found by its name"));
    let mut out = Vec::new();
    let at = record::begin(
        &mut out,
        frame.kind,
        frame.flags & record::IGNORABLE,
        Some(account),
        record::slot(account),
        &frame.chain,
    );
    super::record::root_again(&root, &mut out);
    record::finish(&mut out, at);
    let from = record::payload_at(&out, at);
    NewRoot::seal(&mut out[from..]);
    record::check_again(&mut out, at);
    Some(out)
}

/// A body behind its checksum, as a root or a message has it.
fn checked(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 16];
    out.extend_from_slice(body);
    check_again(&mut out);
    out
}

fn check_again(octets: &mut [u8]) {
    let check = record::check(&[&octets[16..]]);
    octets[..16].copy_from_slice(&check.to_le_bytes());
}

fn body(octets: &[u8]) -> Option<&[u8]> {
    let mut r = Reader::new(octets);
    (r.u128()? == record::check(&[r.rest()])).then_some(r.rest())
}

fn rows(chance: &mut SmallRng) -> Vec<Row> {
    let mut uid = 0;
    several(chance, 60, |chance| {
        uid += chance.random_range(1..4);
        if chance.random_ratio(1, 5) {
            return Row::Gone(uid);
        }
        let mut message = Message::sketch(uid, number(chance), &flags(chance), small(chance), number(chance) as i64);
        message.bits |= if chance.random() { LARGE } else { 0 };
        (message.saved_s, message.prefix_len) = (small(chance), chance.random());
        (message.prefix, message.body, message.body_check) = (place(chance), place(chance), chance.random());
        Row::Message(message)
    })
}

fn look_at_rows(octets: &[u8]) -> Option<Vec<u8>> {
    let rows = unpack_rows(ALICE, MailboxId::INBOX, body(octets)?)?;
    let max = Size { items: 16, bytes: 4_096 };
    let seen = overlay(vec![rows.clone()], false);
    let parts = cut(seen.clone(), max);
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), seen.len(), "cutting loses none");
    let again = overlay(parts, false);
    assert!(seen.iter().map(Row::uid).eq(again.iter().map(Row::uid)), "and changes none");
    Some(checked(&pack_rows(ALICE, MailboxId::INBOX, &rows)))
}

fn summaries(chance: &mut SmallRng) -> Vec<(u32, Vec<u8>)> {
    let mut uid = 0;
    several(chance, 60, |chance| {
        uid += chance.random_range(1..4);
        (uid, octets(chance, 40))
    })
}

fn look_at_run(octets: &[u8]) -> Option<Vec<u8>> {
    let body = body(octets)?;
    // Looking one up asks less of the octets than unpacking all.
    let found = (0..70).filter_map(|uid| find(body, uid)).map(<[u8]>::len).max();
    assert!(found.is_none_or(|len| len <= body.len()));
    let items = unpack(body)?;
    if items.is_sorted_by(|a, b| a.0 < b.0) {
        items.iter().for_each(|(uid, summary)| assert_eq!(find(body, *uid), Some(&**summary), "each is found"));
    }
    let mut out = Vec::new();
    out.bytes(&pack(&items));
    Some(checked(&out))
}
