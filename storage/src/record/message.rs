//! Message: one copy in one mailbox. Its body is a record of its own, shared by all copies in the volume.
//!
//! The message keeps its body's checksum (the parent's checksum), so that a body that is whole in itself but
//! not the right one is caught.

use super::flags::{FlagsView, encode_flags};
use crate::codec::{Put, Reader};
use crate::types::{Flags, MailboxId, Modseq, Place, Uid};

const LARGE: u8 = 1;
const RETAINED: u8 = 2;

/// Kind 24. Kind 106 is the same, moved by compaction and kept for its prefix alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRecord<'a> {
    pub mailbox: MailboxId,
    pub uid: Uid,
    pub modseq: Modseq,
    /// Prefix and body, octets.
    pub size: u32,
    /// Seconds since 1970.
    pub saved_s: u32,
    pub internal_ms: i64,
    pub body: Place,
    /// First 64 bits.
    pub body_check: u64,
    /// The body is a list of pieces.
    pub large: bool,
    /// It is expunged and kept for a while: it counts for no quota.
    pub retained: bool,
    pub prefix: &'a [u8],
    pub flags: FlagsView<'a>,
}

/// What [`NewMessage::encode`] writes.
pub struct NewMessage<'a> {
    pub mailbox: MailboxId,
    pub uid: Uid,
    pub modseq: Modseq,
    pub size: u32,
    pub saved_s: u32,
    pub internal_ms: i64,
    pub body: Place,
    pub body_check: u64,
    pub large: bool,
    pub retained: bool,
    pub flags: &'a Flags,
    pub prefix: &'a [u8],
}

impl NewMessage<'_> {
    /// Where in the payload the body's place is.
    pub const BODY_AT: usize = 32;

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.mailbox.0);
        out.u32(self.uid);
        out.u64(self.modseq);
        out.u32(self.size);
        out.u32(self.saved_s);
        out.i64(self.internal_ms);
        out.place(self.body);
        out.u64(self.body_check);
        out.u8((u8::from(self.large) * LARGE) | (u8::from(self.retained) * RETAINED));
        out.u8(0);
        out.u16(u16::try_from(self.prefix.len()).expect("prefixes are bounded before they are decided"));
        out.bytes(self.prefix);
        encode_flags(out, self.flags);
    }
}

impl<'a> MessageRecord<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let (mailbox, uid, modseq) = (MailboxId(r.u32()?), r.u32()?, r.u64()?);
        let (size, saved_s, internal_ms) = (r.u32()?, r.u32()?, r.i64()?);
        let (body, body_check) = (r.place()?, r.u64()?);
        let bits = r.u8()?;
        let (large, retained) = (bits & LARGE != 0, bits & RETAINED != 0);
        r.u8()?;
        let n = r.u16()?;
        let prefix = r.take(usize::from(n))?;
        let flags = FlagsView::decode(r)?;
        if usize::from(n) > size as usize {
            return None;
        }
        Some(MessageRecord {
            mailbox,
            uid,
            modseq,
            size,
            saved_s,
            internal_ms,
            body,
            body_check,
            large,
            retained,
            prefix,
            flags,
        })
    }
}
