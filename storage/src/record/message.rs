//! Message: one copy in one mailbox. Its body is a record of its own, shared by all copies in the volume.
//!
//! The message keeps its body's checksum (the parent's checksum), so that a body that is whole in itself but
//! not the right one is caught.

use super::flags::{FlagsView, encode_flags};
use crate::codec::{Put, Reader};
use crate::types::{Flags, MailboxId, Modseq, Place, Uid};

/// Kind 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRecord<'a> {
    pub mailbox: MailboxId,
    pub uid: Uid,
    pub modseq: Modseq,
    /// Prefix and body, octets.
    pub size: u64,
    pub internal_ms: i64,
    pub saved_ms: i64,
    pub body: Place,
    pub body_check: u128,
    pub flags: FlagsView<'a>,
    pub prefix: &'a [u8],
}

/// What [`MessageRecord::encode`] writes.
pub struct NewMessage<'a> {
    pub mailbox: MailboxId,
    pub uid: Uid,
    pub modseq: Modseq,
    pub size: u64,
    pub internal_ms: i64,
    pub saved_ms: i64,
    pub body: Place,
    pub body_check: u128,
    pub flags: &'a Flags,
    pub prefix: &'a [u8],
}

impl NewMessage<'_> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.mailbox.0);
        out.u32(self.uid);
        out.u64(self.modseq);
        out.u64(self.size);
        out.i64(self.internal_ms);
        out.i64(self.saved_ms);
        out.place(self.body);
        out.u128(self.body_check);
        out.u16(u16::try_from(self.prefix.len()).expect("prefixes are bounded before they are decided"));
        out.bytes(self.prefix);
        encode_flags(out, self.flags);
    }
}

impl<'a> MessageRecord<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let mailbox = MailboxId(r.u32()?);
        let uid = r.u32()?;
        let modseq = r.u64()?;
        let size = r.u64()?;
        let internal_ms = r.i64()?;
        let saved_ms = r.i64()?;
        let body = r.place()?;
        let body_check = r.u128()?;
        let n = r.u16()?;
        let prefix = r.take(usize::from(n))?;
        let flags = FlagsView::decode(r)?;
        Some(MessageRecord { mailbox, uid, modseq, size, internal_ms, saved_ms, body, body_check, flags, prefix })
    }
}
