//! Account put: makes an account or replaces its secrets and limits. Account remove lists all that the account had.
//! Account gone says the same of accounts whose remove was compacted away, while older segments may have records of them.

use crate::codec::{Put, Reader};
use crate::types::{AccountId, Modseq};

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

/// Kind 111: removed accounts, and in which segment their remove was. Older segments may have records of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountGone<'a> {
    items: &'a [u8],
}

impl<'a> AccountGone<'a> {
    /// Octets of one.
    pub const ITEM_BYTES: usize = 12;

    pub fn encode(out: &mut Vec<u8>, gone: &[(AccountId, u32)]) {
        out.u32(u32::try_from(gone.len()).expect("a transaction is smaller than a segment"));
        out.u32(0);
        for (account, segment) in gone {
            out.u64(account.0);
            out.u32(*segment);
        }
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let count = usize::try_from(r.u32()?).ok()?;
        r.u32()?;
        Some(AccountGone { items: r.take(count.checked_mul(Self::ITEM_BYTES)?)? })
    }

    pub fn items(&self) -> impl Iterator<Item = (AccountId, u32)> + use<'a> {
        let mut r = Reader::new(self.items);
        std::iter::from_fn(move || Some((AccountId(r.u64()?), r.u32()?)))
    }
}
