//! Mailbox put and remove. A put of a mailbox that exists changes its name, use and subscription, never its
//! UIDVALIDITY.

use super::released::{Released, ReleasedList};
use crate::codec::{Put, Reader};
use crate::types::{MailboxId, Modseq};

const SUBSCRIBED: u8 = 1;
const BEGINS: u8 = 2;

/// Kind 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxPut<'a> {
    pub mailbox: MailboxId,
    pub uidvalidity: u32,
    pub modseq: Modseq,
    pub special_use: u16,
    pub subscribed: bool,
    /// Its history of expunges begins here: it was taken over from another volume.
    pub begins: bool,
    pub name: &'a str,
}

/// Kind 17, with all that the mailbox had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxRemove<'a> {
    pub mailbox: MailboxId,
    pub modseq: Modseq,
    pub released: ReleasedList<'a>,
}

impl<'a> MailboxPut<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.mailbox.0);
        out.u32(self.uidvalidity);
        out.u64(self.modseq);
        out.u16(self.special_use);
        out.u8(if self.subscribed { SUBSCRIBED } else { 0 } | if self.begins { BEGINS } else { 0 });
        out.u8(0);
        out.text(self.name);
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let mailbox = MailboxId(r.u32()?);
        let uidvalidity = r.u32()?;
        let modseq = r.u64()?;
        let special_use = r.u16()?;
        let bits = r.u8()?;
        let (subscribed, begins) = (bits & SUBSCRIBED != 0, bits & BEGINS != 0);
        r.u8()?;
        Some(MailboxPut { mailbox, uidvalidity, modseq, special_use, subscribed, begins, name: r.text()? })
    }
}

impl<'a> MailboxRemove<'a> {
    pub fn encode(
        out: &mut Vec<u8>,
        mailbox: MailboxId,
        modseq: Modseq,
        (bytes, messages): (u64, u32),
        released: &[Released],
    ) {
        out.u32(mailbox.0);
        out.u32(0);
        out.u64(modseq);
        ReleasedList::encode(out, bytes, messages, released);
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let mailbox = MailboxId(r.u32()?);
        r.u32()?;
        Some(MailboxRemove { mailbox, modseq: r.u64()?, released: ReleasedList::decode(r)? })
    }
}
