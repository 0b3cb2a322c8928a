//! Expunge: messages that are gone from a mailbox, under one MODSEQ.

use crate::codec::{Put, Reader};
use crate::types::{MailboxId, Modseq, Uid};

/// Kind 26.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpungeRecord<'a> {
    pub mailbox: MailboxId,
    pub modseq: Modseq,
    uids: &'a [u8],
}

impl<'a> ExpungeRecord<'a> {
    pub fn encode(out: &mut Vec<u8>, mailbox: MailboxId, modseq: Modseq, uids: &[Uid]) {
        out.u32(mailbox.0);
        out.u32(u32::try_from(uids.len()).expect("a transaction is smaller than a segment"));
        out.u64(modseq);
        for uid in uids {
            out.u32(*uid);
        }
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let mailbox = MailboxId(r.u32()?);
        let count = usize::try_from(r.u32()?).ok()?;
        let modseq = r.u64()?;
        Some(ExpungeRecord { mailbox, modseq, uids: r.take(count.checked_mul(4)?)? })
    }

    pub fn uids(&self) -> impl Iterator<Item = Uid> + 'a {
        self.uids.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]))
    }
}
