//! Renumber: a mailbox has another UIDVALIDITY or a higher UIDNEXT from now on, because its messages come from elsewhere
//! and keep their UIDs (import), or because those who know its UIDs must forget them (restore).

use crate::codec::{Put, Reader};
use crate::types::{MailboxId, Modseq, Uid};

/// Kind 19.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renumber {
    pub mailbox: MailboxId,
    pub uidvalidity: u32,
    /// UIDNEXT is at least this.
    pub uidnext: Uid,
    pub modseq: Modseq,
}

impl Renumber {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.mailbox.0);
        out.u32(self.uidvalidity);
        out.u32(self.uidnext);
        out.u32(0);
        out.u64(self.modseq);
    }

    pub fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let mailbox = MailboxId(r.u32()?);
        let uidvalidity = r.u32()?;
        let uidnext = r.u32()?;
        r.u32()?;
        Some(Renumber { mailbox, uidvalidity, uidnext, modseq: r.u64()? })
    }
}
