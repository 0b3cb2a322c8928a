//! Expunge: messages that are gone from a mailbox, under one MODSEQ, and what that lets go.

use super::released::{Released, ReleasedList};
use crate::codec::{Put, Reader};
use crate::types::{MailboxId, Message, Modseq, Uid};

/// Kind 26.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpungeRecord<'a> {
    pub mailbox: MailboxId,
    pub modseq: Modseq,
    uids: &'a [u8],
    pub released: ReleasedList<'a>,
}

impl<'a> ExpungeRecord<'a> {
    /// `counted`: the messages counted for the account's quota.
    pub fn encode<'m>(
        out: &mut Vec<u8>,
        mailbox: MailboxId,
        modseq: Modseq,
        gone: impl Iterator<Item = &'m Message> + Clone,
        counted: bool,
    ) {
        let count = u32::try_from(gone.clone().count()).expect("a transaction is smaller than a segment");
        out.u32(mailbox.0);
        out.u32(count);
        out.u64(modseq);
        gone.clone().for_each(|m| out.u32(m.uid));
        let released: Vec<Released> = gone.clone().map(Released::of).collect();
        let bytes = gone.map(Message::size).filter(|_| counted).sum();
        ReleasedList::encode(out, bytes, if counted { count } else { 0 }, &released);
    }

    /// Octets that [`ExpungeRecord::encode`] writes for so many.
    pub fn bytes(count: usize) -> u64 {
        16 + count as u64 * 4 + ReleasedList::bytes(count)
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let mailbox = MailboxId(r.u32()?);
        let count = usize::try_from(r.u32()?).ok()?;
        let modseq = r.u64()?;
        let uids = r.take(count.checked_mul(4)?)?;
        Some(ExpungeRecord { mailbox, modseq, uids, released: ReleasedList::decode(r)? })
    }

    pub fn uids(&self) -> impl Iterator<Item = Uid> + 'a {
        self.uids.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]))
    }
}
