//! Transfers and watermarks: what a volume owes another one, and how far it has received.
//!
//! A *transfer* names a body of this volume and the copies that are to be made of it in the target volume; it counts the body
//! as used until *sent* lets it go. *Anew* begins another incarnation: from then on numbers are not those of before. The
//! target writes a *watermark* into the very batch that holds the copies: which transfer they are, and which of its copies
//! could not be made.

use super::flags::{FlagsView, encode_flags, keyword_bytes};
use super::kind;
use crate::codec::{Put, Reader};
use crate::transfer::{TransferCopy, TransferNumber};
use crate::types::{AccountId, MailboxId, Message, Place, Uid, VolumeId};

const HIDE: u16 = 1;

/// Octets of a transfer without its copies.
pub const TRANSFER_HEAD_BYTES: u64 = 96;
/// Octets of a watermark without its bounces.
pub const WATERMARK_BYTES: u64 = 40;
/// Runs of numbers that one *sent* names. More: the last reaches to the end.
pub const SENT_RUNS_MAX: usize = 64;
/// Octets of a *sent*, at most. An *anew* takes less.
pub const SENT_BYTES: u64 = 24 + SENT_RUNS_MAX as u64 * 16;

/// Kinds 80–82 and 88.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferRecord<'a> {
    /// Kind 80.
    Transfer(TransferView<'a>),
    /// Kind 83: the same, moved by compaction. Its body counts it already.
    Moved(TransferView<'a>),
    /// Kind 81.
    Sent(SentView<'a>),
    /// Kind 82.
    Anew { incarnation: u64 },
    /// Kind 88.
    Watermark(WatermarkView<'a>),
}

/// A transfer as it lies in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferView<'a> {
    pub target: VolumeId,
    pub number: TransferNumber,
    pub internal_ms: i64,
    /// The message it was made of, if it was made of one.
    pub from: Option<(AccountId, MailboxId, Uid)>,
    /// That message is to be expunged when the transfer is done.
    pub hide: bool,
    /// Octets of prefix and body.
    pub size: u32,
    pub prefix_len: u16,
    /// The body is a list of pieces.
    pub large: bool,
    pub body: Place,
    pub body_check: u64,
    /// The record with the prefix; nowhere (segment 0) when there is none.
    pub prefix: Place,
    count: u16,
    copies: &'a [u8],
}

/// Which transfers were sent, in runs: of those that were lost in between nobody knows, and they may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentView<'a> {
    pub target: VolumeId,
    pub incarnation: u64,
    runs: &'a [u8],
}

/// A watermark as it lies in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkView<'a> {
    pub source: VolumeId,
    pub number: TransferNumber,
    /// Bounces up to this one are known at the source.
    pub settled: TransferNumber,
    bounced: &'a [u8],
}

/// What [`NewTransfer::encode`] writes.
pub struct NewTransfer<'a> {
    pub target: VolumeId,
    pub number: TransferNumber,
    pub internal_ms: i64,
    pub from: Option<(AccountId, MailboxId, Uid)>,
    pub hide: bool,
    /// What a reader of the transfer is to see.
    pub carried: &'a Message,
    pub copies: &'a [TransferCopy],
}

impl NewTransfer<'_> {
    /// Where in the payload the body's place is.
    pub const BODY_AT: usize = 56;

    pub fn encode(&self, out: &mut Vec<u8>) {
        let (account, mailbox, uid) = self.from.unwrap_or((AccountId(0), MailboxId(0), 0));
        out.u16(self.target);
        out.u16(if self.hide { HIDE } else { 0 });
        out.u16(u16::try_from(self.copies.len()).expect("copies are bounded before they are decided"));
        out.u16(0);
        put_number(out, self.number);
        out.i64(self.internal_ms);
        out.u64(account.0);
        out.u32(mailbox.0);
        out.u32(uid);
        out.u32(self.carried.size);
        out.u16(self.carried.prefix_len);
        out.u16(u16::from(self.carried.is_large()));
        out.place(self.carried.body);
        out.u64(self.carried.body_check);
        out.place(self.carried.prefix);
        for copy in self.copies {
            out.u64(copy.account.0);
            out.u32(copy.mailbox.0);
            out.text(&copy.name);
            out.u16(u16::try_from(copy.prefix.len()).expect("prefixes are bounded before they are decided"));
            out.bytes(&copy.prefix);
            encode_flags(out, &copy.flags());
        }
    }
}

/// Octets of a copy in its record.
pub fn copy_bytes(copy: &TransferCopy) -> u64 {
    (8 + 4 + 2 + copy.name.len() + 2 + copy.prefix.len() + 5 + keyword_bytes(&copy.flags())) as u64
}

/// `runs`: first and last of each, rising.
pub fn encode_sent(out: &mut Vec<u8>, target: VolumeId, incarnation: u64, runs: &[(u64, u64)]) {
    out.u16(target);
    out.u16(u16::try_from(runs.len()).expect("runs are few"));
    out.u32(0);
    out.u64(incarnation);
    for (first, last) in runs {
        out.u64(*first);
        out.u64(*last);
    }
}

pub fn encode_watermark(
    out: &mut Vec<u8>,
    source: VolumeId,
    number: TransferNumber,
    settled: TransferNumber,
    bounced: &[u16],
) {
    out.u16(source);
    out.u16(u16::try_from(bounced.len()).expect("copies are bounded before they are decided"));
    out.u32(0);
    put_number(out, number);
    put_number(out, settled);
    bounced.iter().for_each(|copy| out.u16(*copy));
}

fn put_number(out: &mut Vec<u8>, number: TransferNumber) {
    out.u64(number.incarnation);
    out.u64(number.number);
}

fn number(r: &mut Reader<'_>) -> Option<TransferNumber> {
    Some(TransferNumber { incarnation: r.u64()?, number: r.u64()? })
}

impl<'a> TransferView<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let (target, bits, count) = (r.u16()?, r.u16()?, r.u16()?);
        r.u16()?;
        let number = number(r)?;
        let internal_ms = r.i64()?;
        let from = (AccountId(r.u64()?), MailboxId(r.u32()?), r.u32()?);
        let (size, prefix_len, large) = (r.u32()?, r.u16()?, r.u16()? & 1 != 0);
        let (body, body_check, prefix) = (r.place()?, r.u64()?, r.place()?);
        let copies = r.rest();
        for _ in 0..count {
            take_copy(r)?;
        }
        Some(TransferView {
            target,
            number,
            internal_ms,
            from: Some(from).filter(|(account, ..)| account.0 != 0),
            hide: bits & HIDE != 0,
            size,
            prefix_len,
            large,
            body,
            body_check,
            prefix,
            count,
            copies,
        })
    }

    pub fn copies(&self) -> impl Iterator<Item = TransferCopy> + use<'a> {
        let mut r = Reader::new(self.copies);
        (0..self.count).map_while(move |_| take_copy(&mut r))
    }
}

fn take_copy(r: &mut Reader<'_>) -> Option<TransferCopy> {
    let (account, mailbox) = (AccountId(r.u64()?), MailboxId(r.u32()?));
    let name = r.text()?.to_owned();
    let n = r.u16()?;
    let prefix = r.take(usize::from(n))?.to_vec();
    let flags = FlagsView::decode(r)?.to_flags();
    Some(TransferCopy { account, mailbox, name, prefix, bits: 0, keywords: Vec::new() }.with(&flags))
}

impl<'a> WatermarkView<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let (source, count) = (r.u16()?, r.u16()?);
        r.u32()?;
        let (number, settled) = (number(r)?, number(r)?);
        Some(WatermarkView { source, number, settled, bounced: r.take(usize::from(count) * 2)? })
    }

    /// Which of its copies could not be made.
    pub fn bounced(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.bounced.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]))
    }
}

impl<'a> SentView<'a> {
    fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let (target, count) = (r.u16()?, r.u16()?);
        r.u32()?;
        Some(SentView { target, incarnation: r.u64()?, runs: r.take(usize::from(count) * 16)? })
    }

    /// First and last of each.
    pub fn runs(&self) -> impl Iterator<Item = (TransferNumber, TransferNumber)> + use<'a> {
        let (mut r, incarnation) = (Reader::new(self.runs), self.incarnation);
        let mut one = move || Some(TransferNumber { incarnation, number: r.u64()? });
        std::iter::from_fn(move || Some((one()?, one()?)))
    }
}

impl<'a> TransferRecord<'a> {
    /// The payload of a record of this kind; `None`: not one of these kinds.
    pub fn of(kind: u16, r: &mut Reader<'a>) -> Option<Option<Self>> {
        Some(match kind {
            kind::TRANSFER => TransferView::decode(r).map(TransferRecord::Transfer),
            kind::MOVED_TRANSFER => TransferView::decode(r).map(TransferRecord::Moved),
            kind::SENT => SentView::decode(r).map(TransferRecord::Sent),
            kind::ANEW => r.u64().map(|incarnation| TransferRecord::Anew { incarnation }),
            kind::WATERMARK => WatermarkView::decode(r).map(TransferRecord::Watermark),
            _ => return None,
        })
    }
}
