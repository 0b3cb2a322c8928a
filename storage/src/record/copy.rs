//! Copy: messages of one mailbox that are in another (or the same) once more, under one MODSEQ (COPY and MOVE).
//!
//! No octet of a message is written again. Each item names the body, as a message does, and the record that holds its
//! prefix: the *first* message's, also where a copy was copied, so that reading never follows more than one step. Values
//! are absolute: a copy can be read though the batches between it and its original are lost.

use super::flags::{FlagsView, encode_flags};
use crate::codec::{Put, Reader};
use crate::types::{Flags, MailboxId, Message, Modseq, Place, Uid};

/// Octets of an item without its keywords. See `record/gap` before making it smaller.
pub const COPIED_BYTES: u64 = 53;
const LARGE: u16 = 1;
const RETAINED: u16 = 2;

/// Octets of the fixed part.
pub const COPY_HEAD_BYTES: u64 = 24;

/// Kind 27.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRecord<'a> {
    /// Where they are now.
    pub mailbox: MailboxId,
    pub modseq: Modseq,
    /// Where they were copied from.
    pub from: MailboxId,
    /// When, seconds since 1970.
    pub saved_s: u32,
    pub count: u32,
    items: &'a [u8],
}

/// One copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied<'a> {
    pub uid: Uid,
    /// What its UID was where it was copied from.
    pub from_uid: Uid,
    pub size: u32,
    pub prefix_len: u16,
    pub large: bool,
    /// It is expunged and kept for a while: it counts for no quota.
    pub retained: bool,
    pub internal_ms: i64,
    pub body: Place,
    /// First 64 bits of the body's checksum.
    pub body_check: u64,
    /// The message record with its prefix.
    pub prefix: Place,
    pub flags: FlagsView<'a>,
}

impl<'a> CopyRecord<'a> {
    /// The fixed part; the caller appends `count` items with [`CopyRecord::encode_item`].
    pub fn encode_head(
        out: &mut Vec<u8>,
        mailbox: MailboxId,
        modseq: Modseq,
        from: MailboxId,
        saved_s: u32,
        count: u32,
    ) {
        out.u32(mailbox.0);
        out.u32(count);
        out.u64(modseq);
        out.u32(from.0);
        out.u32(saved_s);
    }

    /// `original` is copied as `uid`, with these flags. `retained`: because it is expunged.
    pub fn encode_item(out: &mut Vec<u8>, uid: Uid, original: &Message, flags: &Flags, retained: bool) {
        out.u32(uid);
        out.u32(original.uid);
        out.u32(original.size);
        out.u16(original.prefix_len);
        out.u16((u16::from(original.is_large()) * LARGE) | (u16::from(retained) * RETAINED));
        out.i64(original.internal_ms);
        out.place(original.body);
        out.u64(original.body_check);
        out.place(original.prefix);
        encode_flags(out, flags);
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let mailbox = MailboxId(r.u32()?);
        let count = r.u32()?;
        let modseq = r.u64()?;
        let (from, saved_s) = (MailboxId(r.u32()?), r.u32()?);
        let items = r.rest();
        for _ in 0..count {
            Copied::decode(r)?;
        }
        Some(CopyRecord { mailbox, modseq, from, saved_s, count, items })
    }

    pub fn items(&self) -> impl Iterator<Item = Copied<'a>> + use<'a> {
        let mut r = Reader::new(self.items);
        (0..self.count).map_while(move |_| Copied::decode(&mut r))
    }
}

impl<'a> Copied<'a> {
    fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let (uid, from_uid, size) = (r.u32()?, r.u32()?, r.u32()?);
        let (prefix_len, bits) = (r.u16()?, r.u16()?);
        let (large, retained) = (bits & LARGE != 0, bits & RETAINED != 0);
        let internal_ms = r.i64()?;
        let (body, body_check, prefix) = (r.place()?, r.u64()?, r.place()?);
        let flags = FlagsView::decode(r)?;
        if u32::from(prefix_len) > size {
            return None;
        }
        Some(Copied { uid, from_uid, size, prefix_len, large, retained, internal_ms, body, body_check, prefix, flags })
    }
}
