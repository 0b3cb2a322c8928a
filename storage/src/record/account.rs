//! Account put: makes an account or replaces its secrets and limits. Account remove lists all that the account had.

use crate::codec::{Put, Reader};
use crate::types::Modseq;

/// Kind 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountPut<'a> {
    /// Highest MODSEQ of the account when this was decided.
    pub modseq: Modseq,
    pub generation: u32,
    /// Octets it may keep; 0: no limit.
    pub limit_bytes: u64,
    /// Messages it may keep; 0: no limit.
    pub limit_messages: u32,
    pub name: &'a str,
    pub secrets: &'a [u8],
}

impl<'a> AccountPut<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.modseq);
        out.u32(self.generation);
        out.u64(self.limit_bytes);
        out.u32(self.limit_messages);
        out.text(self.name);
        out.blob(self.secrets);
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        Some(AccountPut {
            modseq: r.u64()?,
            generation: r.u32()?,
            limit_bytes: r.u64()?,
            limit_messages: r.u32()?,
            name: r.text()?,
            secrets: r.blob()?,
        })
    }
}
