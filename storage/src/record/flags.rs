//! Flags: the new flags of some messages of one mailbox, absolute, under one MODSEQ.

use crate::codec::{Put, Reader};
use crate::types::{Flags, MailboxId, Modseq, Uid};

/// Keywords one message may carry. More: the change is refused as `TooLarge`.
pub const KEYWORDS_MAX: usize = 64;
/// Octets of one keyword. Longer: refused as `TooLarge`.
pub const KEYWORD_BYTES_MAX: usize = 128;

/// Flags as they lie in a record: bits, then keywords (count u8, each with a length u8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagsView<'a> {
    pub bits: u32,
    count: u8,
    keywords: &'a [u8],
}

/// Kind 25.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagsRecord<'a> {
    pub mailbox: MailboxId,
    pub modseq: Modseq,
    pub count: u32,
    items: &'a [u8],
}

/// Octets the keywords take, their count aside.
pub fn keyword_bytes(flags: &Flags) -> usize {
    flags.keywords().iter().map(|k| 1 + k.len()).sum()
}

pub fn encode_flags(out: &mut Vec<u8>, flags: &Flags) {
    out.u32(flags.bits);
    out.u8(u8::try_from(flags.keywords().len()).expect("keywords are bounded before they are decided"));
    for keyword in flags.keywords() {
        out.u8(u8::try_from(keyword.len()).expect("keywords are bounded before they are decided"));
        out.bytes(keyword.as_bytes());
    }
}

impl<'a> FlagsView<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let bits = r.u32()?;
        let count = r.u8()?;
        let from = r.rest();
        for _ in 0..count {
            let n = r.u8()?;
            std::str::from_utf8(r.take(usize::from(n))?).ok()?;
        }
        let keywords = &from[..from.len() - r.rest().len()];
        Some(FlagsView { bits, count, keywords })
    }

    pub fn to_flags(self) -> Flags {
        if self.count == 0 {
            return Flags::of(self.bits);
        }
        let mut r = Reader::new(self.keywords);
        let keywords = (0..self.count).map_while(|_| {
            let n = r.u8()?;
            Some(std::str::from_utf8(r.take(usize::from(n))?).ok()?.into())
        });
        Flags { bits: self.bits, keywords: Some(std::rc::Rc::new(keywords.collect())) }
    }
}

impl<'a> FlagsRecord<'a> {
    /// The fixed part; the caller appends `count` items with [`FlagsRecord::encode_item`].
    pub fn encode_head(out: &mut Vec<u8>, mailbox: MailboxId, modseq: Modseq, count: u32) {
        out.u32(mailbox.0);
        out.u32(count);
        out.u64(modseq);
    }

    pub fn encode_item(out: &mut Vec<u8>, uid: Uid, flags: &Flags) {
        out.u32(uid);
        encode_flags(out, flags);
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let mailbox = MailboxId(r.u32()?);
        let count = r.u32()?;
        let modseq = r.u64()?;
        let items = r.rest();
        for _ in 0..count {
            r.u32()?;
            FlagsView::decode(r)?;
        }
        Some(FlagsRecord { mailbox, modseq, count, items })
    }

    pub fn items(&self) -> impl Iterator<Item = (Uid, FlagsView<'a>)> {
        let mut r = Reader::new(self.items);
        (0..self.count).map_while(move |_| Some((r.u32()?, FlagsView::decode(&mut r)?)))
    }
}
