//! Rows: messages of a mailbox as columns of an immutable body, UIDs rising.
//!
//! ```text
//! magic u32 | rows u32 | account u64 | mailbox u32 | keyword sets u32 | gone u32 | 0 u32 | rows | gone × uid u32 | sets
//! ```
//!
//! A row is told by what differs from the row before it, or from another column of its own, in as few octets as that takes: some
//! 30, where the columns as they are would be 64. What a mailbox has in rows is written more often than anything else of it.
//! A UID that is gone hides the same UID of older runs; it takes four octets. Keyword sets are counted from 1; 0 is none.

use super::flags::{FlagsView, encode_flags};
use crate::codec::{Put, Reader};
use crate::types::{AccountId, Flags, Keywords, MailboxId, Message, Place, Uid};

const MAGIC: u32 = u32::from_le_bytes(*b"RPr\n");

/// Octets of a row, at most: thirteen columns, each as long as it gets.
pub const ROW_BYTES_MAX: usize = 5 + 5 + 10 + 10 + 5 + 3 + 3 + 5 + 5 + 5 + 5 + 8 + 3;
/// The same as most are, about.
pub const ROW_BYTES: usize = 32;
/// The same, at least: each column has an octet, and the checksum has eight.
const ROW_BYTES_MIN: usize = 12 + 8;
/// Octets of a UID that is gone.
pub const GONE_BYTES: usize = 4;
/// Octets of a run of rows beside them and the keyword sets.
pub const ROWS_HEAD_BYTES: usize = 32;

/// A row: a message, or a UID that is gone.
#[derive(Clone, Debug)]
pub enum Row {
    Message(Message),
    Gone(Uid),
}

impl Row {
    pub fn uid(&self) -> Uid {
        match self {
            Row::Message(message) => message.uid,
            Row::Gone(uid) => *uid,
        }
    }
}

/// Packs rows, UIDs rising.
pub fn pack_rows(account: AccountId, mailbox: MailboxId, rows: &[Row]) -> Vec<u8> {
    let mut sets: Vec<Keywords> = Vec::new();
    let mut gone: Vec<Uid> = Vec::new();
    let mut out = Vec::with_capacity(ROWS_HEAD_BYTES + rows.len() * ROW_BYTES);
    out.u32(MAGIC);
    out.u32(0);
    out.u64(account.0);
    out.u32(mailbox.0);
    out.u64(0);
    out.u32(0);
    let mut before = Before::default();
    for row in rows {
        match row {
            Row::Gone(uid) => gone.push(*uid),
            Row::Message(m) => {
                let set = m.keywords.as_ref().map_or(0, |keywords| {
                    let at = sets.iter().position(|set| set == keywords).unwrap_or_else(|| {
                        sets.push(keywords.clone());
                        sets.len() - 1
                    });
                    at + 1
                });
                before.put(&mut out, m, set);
            }
        }
    }
    out[4..8].copy_from_slice(&counted(rows.len() - gone.len()));
    out[20..24].copy_from_slice(&counted(sets.len()));
    out[24..28].copy_from_slice(&counted(gone.len()));
    gone.into_iter().for_each(|uid| out.u32(uid));
    sets.iter().for_each(|set| encode_flags(&mut out, &Flags { bits: 0, keywords: Some(set.clone()) }));
    out
}

fn counted(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a run is smaller than a segment").to_le_bytes()
}

/// The rows of a run; `None` when it is not one of this mailbox.
pub fn unpack_rows(account: AccountId, mailbox: MailboxId, bytes: &[u8]) -> Option<Vec<Row>> {
    let mut r = Reader::new(bytes);
    let (magic, count) = (r.u32()?, usize::try_from(r.u32()?).ok()?);
    if magic != MAGIC || r.u64()? != account.0 || r.u32()? != mailbox.0 {
        return None;
    }
    let (sets, gone) = (r.u32()?, usize::try_from(r.u32()?).ok()?);
    r.u32()?;
    if count > r.rest().len() / ROW_BYTES_MIN {
        return None;
    }
    let (mut before, mut table) = (Before::default(), Vec::with_capacity(count));
    for _ in 0..count {
        table.push(before.next(&mut r)?);
    }
    let mut gone = Reader::new(r.take(gone.checked_mul(GONE_BYTES)?)?);
    let mut keywords = Vec::new();
    for _ in 0..sets {
        keywords.push(FlagsView::decode(&mut r)?.to_flags().keywords);
    }
    // Both rise, and so do both together.
    let mut rows = Vec::with_capacity(count);
    let mut hidden = gone.u32();
    for (mut message, set) in table {
        if set > 0 {
            message.keywords.clone_from(keywords.get(set - 1)?);
        }
        while let Some(uid) = hidden.filter(|uid| *uid < message.uid) {
            rows.push(Row::Gone(uid));
            hidden = gone.u32();
        }
        rows.push(Row::Message(message));
    }
    rows.extend(std::iter::successors(hidden, |_| gone.u32()).map(Row::Gone));
    Some(rows)
}

/// What a row is told by: the one before it.
#[derive(Default)]
struct Before {
    uid: Uid,
    modseq: u64,
    internal_ms: i64,
    segment: u32,
}

impl Before {
    fn put(&mut self, out: &mut Vec<u8>, m: &Message, set: usize) {
        let Place { segment, at } = m.body;
        out.varint(u64::from(m.uid.checked_sub(self.uid).expect("UIDs rise")));
        out.varint(u64::from(m.size));
        out.signed(m.modseq.wrapping_sub(self.modseq) as i64);
        out.signed(m.internal_ms.wrapping_sub(self.internal_ms));
        out.step(seconds(m.internal_ms), m.saved_s);
        out.varint(u64::from(m.bits));
        out.varint(u64::from(m.prefix_len));
        out.step(self.segment, segment);
        out.varint(u64::from(at));
        out.step(segment, m.prefix.segment);
        out.step(at, m.prefix.at);
        out.u64(m.body_check);
        out.varint(u64::from(u16::try_from(set).expect("a run has fewer rows than sets fit")));
        *self = Before { uid: m.uid, modseq: m.modseq, internal_ms: m.internal_ms, segment };
    }

    /// A message without its keywords, and which set of them it has.
    fn next(&mut self, r: &mut Reader<'_>) -> Option<(Message, usize)> {
        let uid = self.uid.checked_add(u32::try_from(r.varint()?).ok()?)?;
        let size = u32::try_from(r.varint()?).ok()?;
        let modseq = self.modseq.wrapping_add(r.signed()? as u64);
        let internal_ms = self.internal_ms.wrapping_add(r.signed()?);
        let saved_s = r.step(seconds(internal_ms))?;
        let bits = u16::try_from(r.varint()?).ok()?;
        let prefix_len = u16::try_from(r.varint()?).ok()?;
        let segment = r.step(self.segment)?;
        let body = Place { segment, at: u32::try_from(r.varint()?).ok()? };
        let prefix = Place { segment: r.step(segment)?, at: r.step(body.at)? };
        let body_check = r.u64()?;
        let set = usize::from(u16::try_from(r.varint()?).ok()?);
        *self = Before { uid, modseq, internal_ms, segment };
        let keywords = None;
        let message =
            Message { uid, size, modseq, internal_ms, saved_s, bits, prefix_len, keywords, prefix, body, body_check };
        Some((message, set))
    }
}

/// Seconds of a time in milliseconds, as far as they fit.
fn seconds(ms: i64) -> u32 {
    ms.div_euclid(1_000) as u32
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use proptest::prelude::*;

    const ALICE: AccountId = AccountId(7);

    #[test]
    fn rows_come_back_as_they_were_packed() {
        let flags = Flags { bits: Flags::SEEN, keywords: Some(Rc::new(vec!["a".into(), "b".into()])) };
        let rows: Vec<Row> = (1..200)
            .map(|uid| match uid % 3 {
                0 => Row::Gone(uid),
                1 => Row::Message(Message::sketch(uid, 9, &flags, 4_000, -5)),
                _ => Row::Message(Message::sketch(uid, 9, &Flags::none(), 4_000, -5)),
            })
            .collect();
        let bytes = pack_rows(ALICE, MailboxId::INBOX, &rows);
        let sets = 5 + 2 * (1 + 1);
        let rows_bytes = bytes.len() - ROWS_HEAD_BYTES - 66 * GONE_BYTES - sets;
        assert!((133 * ROW_BYTES_MIN..133 * ROW_BYTES).contains(&rows_bytes), "{rows_bytes}");
        assert!(unpack_rows(AccountId(8), MailboxId::INBOX, &bytes).is_none());
        let back = unpack_rows(ALICE, MailboxId::INBOX, &bytes).unwrap();
        assert_eq!(format!("{back:?}"), format!("{rows:?}"));
    }

    #[test]
    fn columns_come_back_at_their_ends() {
        let ends = [0, 1, 1 << 31, u32::MAX];
        let message = |n: u32, end: u32, long: u64| Message {
            saved_s: end,
            bits: end as u16,
            prefix_len: end as u16,
            prefix: Place { segment: u32::MAX - end, at: end },
            body: Place { segment: end, at: u32::MAX - end },
            body_check: long,
            ..Message::sketch(n, long, &Flags::none(), end, long as i64)
        };
        let longs = [0, 1, 1 << 63, u64::MAX];
        let each = ends.iter().flat_map(|end| longs.iter().map(move |long| (*end, *long)));
        let rows: Vec<Row> = (1..).zip(each).map(|(n, (end, long))| Row::Message(message(n, end, long))).collect();
        let bytes = pack_rows(ALICE, MailboxId::INBOX, &rows);
        assert!(bytes.len() <= ROWS_HEAD_BYTES + rows.len() * ROW_BYTES_MAX);
        assert_eq!(format!("{:?}", unpack_rows(ALICE, MailboxId::INBOX, &bytes).unwrap()), format!("{rows:?}"));
        for n in 0..bytes.len() {
            assert!(unpack_rows(ALICE, MailboxId::INBOX, &bytes[..n]).is_none(), "{n}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_rows_panic(mut bytes in proptest::collection::vec(any::<u8>(), 32..400)) {
            bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
            bytes[8..16].copy_from_slice(&7u64.to_le_bytes());
            bytes[16..20].copy_from_slice(&1u32.to_le_bytes());
            let _ = unpack_rows(ALICE, MailboxId::INBOX, &bytes);
        }
    }
}
