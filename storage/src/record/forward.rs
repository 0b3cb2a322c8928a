//! Forward: where compaction has put what lay in a segment. Retired: segments that are gone, and whose absence is no loss.
//!
//! A forward is in the batch that holds the copies, so both are there or neither. A body's users are those of the old body
//! from that batch on: whoever applies it takes them over, with all that the batch itself changes about them.

use crate::codec::{Put, Reader};
use crate::segment::SEGMENTS_MAX;
use crate::types::{Lsn, Place};

/// Octets of a forward beside its entries.
pub const FORWARD_HEAD_BYTES: u64 = 8;
/// Octets of an entry.
pub const FORWARD_ITEM_BYTES: usize = 12;

/// Kind 105.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward<'a> {
    /// The segment that things were moved out of.
    pub segment: u32,
    items: &'a [u8],
}

impl<'a> Forward<'a> {
    /// Where in the payload the octet of the new place of entry `n` is.
    pub const fn new_at(n: usize) -> usize {
        FORWARD_HEAD_BYTES as usize + n * FORWARD_ITEM_BYTES + 8
    }

    /// `items`: octet in the old segment, new place.
    pub fn encode(out: &mut Vec<u8>, segment: u32, items: &[(u32, Place)]) {
        out.u32(segment);
        out.u32(u32::try_from(items.len()).expect("a transaction is smaller than a segment"));
        for (at, new) in items {
            out.u32(*at);
            out.place(*new);
        }
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let segment = r.u32()?;
        let count = usize::try_from(r.u32()?).ok()?;
        let items = r.take(count.checked_mul(FORWARD_ITEM_BYTES)?)?;
        // Tables are kept by segment, with a bit for each.
        (segment <= SEGMENTS_MAX).then_some(Forward { segment, items })
    }

    /// Old place, new place.
    pub fn items(&self) -> impl Iterator<Item = (Place, Place)> + use<'a> {
        let (mut r, segment) = (Reader::new(self.items), self.segment);
        std::iter::from_fn(move || Some((Place { segment, at: r.u32()? }, r.place()?)))
    }
}

/// Segments that are gone, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetiredRun {
    pub first: u32,
    pub last: u32,
    /// LSN of the first batch that was in them. The last is the one before the next segment that is there.
    pub first_lsn: Lsn,
}

/// Kind 109: all segments from `head` on that are gone. The last one in the log counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired<'a> {
    /// All segments before this one are gone.
    pub head: u32,
    runs: &'a [u8],
}

impl<'a> Retired<'a> {
    /// Octets that [`Retired::encode`] writes for so many runs.
    pub fn bytes(runs: usize) -> u64 {
        8 + runs as u64 * 16
    }

    /// `runs`: rising.
    pub fn encode(out: &mut Vec<u8>, head: u32, runs: &[RetiredRun]) {
        out.u32(head);
        out.u32(u32::try_from(runs.len()).expect("segments are below 2^24"));
        for run in runs {
            out.u32(run.first);
            out.u32(run.last);
            out.u64(run.first_lsn);
        }
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let head = r.u32()?;
        let count = usize::try_from(r.u32()?).ok()?;
        Some(Retired { head, runs: r.take(count.checked_mul(16)?)? })
    }

    /// Rising.
    pub fn runs(&self) -> impl Iterator<Item = RetiredRun> + use<'a> {
        let mut r = Reader::new(self.runs);
        std::iter::from_fn(move || Some(RetiredRun { first: r.u32()?, last: r.u32()?, first_lsn: r.u64()? }))
    }
}
