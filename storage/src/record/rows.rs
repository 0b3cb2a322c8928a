//! Rows: messages of a mailbox as columns of an immutable body, UIDs rising.
//!
//! ```text
//! magic u32 | rows u32 | account u64 | mailbox u32 | keyword sets u32 | gone u32 | 0 u32 | rows × 64 | gone × uid u32 | sets
//! ```
//!
//! A UID that is gone hides the same UID of older runs; it takes four octets. Keyword sets are counted from 1; 0 is none.

use std::rc::Rc;

use super::flags::{FlagsView, encode_flags};
use crate::codec::{Put, Reader};
use crate::types::{AccountId, Flags, Keywords, MailboxId, Message, Uid};

const MAGIC: u32 = u32::from_le_bytes(*b"RPr\n");

/// Octets of a row.
pub const ROW_BYTES: usize = 64;
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
                out.u32(m.uid);
                out.u32(m.size);
                out.u64(m.modseq);
                out.i64(m.internal_ms);
                out.u32(m.saved_s);
                out.u16(m.bits);
                out.u16(m.prefix_len);
                out.place(m.prefix);
                out.place(m.body);
                out.u64(m.body_check);
                out.u16(u16::try_from(set).expect("a run has fewer rows than sets fit"));
                out.u16(0);
                out.u32(0);
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
    let table = r.take(count.checked_mul(ROW_BYTES)?)?;
    let mut gone = Reader::new(r.take(gone.checked_mul(GONE_BYTES)?)?);
    let mut keywords = Vec::new();
    for _ in 0..sets {
        keywords.push(FlagsView::decode(&mut r)?.to_flags().keywords);
    }
    // Both rise, and so do both together.
    let mut rows = Vec::with_capacity(count);
    let mut hidden = gone.u32();
    for row in table.chunks_exact(ROW_BYTES) {
        let message = unpack(row, &keywords)?;
        while let Some(uid) = hidden.filter(|uid| *uid < message.uid) {
            rows.push(Row::Gone(uid));
            hidden = gone.u32();
        }
        rows.push(Row::Message(message));
    }
    rows.extend(std::iter::successors(hidden, |_| gone.u32()).map(Row::Gone));
    Some(rows)
}

fn unpack(row: &[u8], sets: &[Option<Rc<Vec<Box<str>>>>]) -> Option<Message> {
    let mut r = Reader::new(row);
    let mut message = Message {
        uid: r.u32()?,
        size: r.u32()?,
        modseq: r.u64()?,
        internal_ms: r.i64()?,
        saved_s: r.u32()?,
        bits: r.u16()?,
        prefix_len: r.u16()?,
        prefix: r.place()?,
        body: r.place()?,
        body_check: r.u64()?,
        keywords: None,
    };
    let set = usize::from(r.u16()?);
    if set > 0 {
        message.keywords.clone_from(sets.get(set - 1)?);
    }
    Some(message)
}

#[cfg(test)]
mod tests {
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
        assert_eq!(bytes.len(), ROWS_HEAD_BYTES + 133 * ROW_BYTES + 66 * GONE_BYTES + sets);
        assert!(unpack_rows(AccountId(8), MailboxId::INBOX, &bytes).is_none());
        let back = unpack_rows(ALICE, MailboxId::INBOX, &bytes).unwrap();
        assert_eq!(format!("{back:?}"), format!("{rows:?}"));
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
