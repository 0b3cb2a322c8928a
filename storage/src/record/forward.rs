//! Forward: where compaction has put what lay in a segment. Retired: segments that are gone, and whose absence is no loss.
//!
//! A forward is in the batch that holds the copies, so both are there or neither. A body's users are those of the old body
//! from that batch on: whoever applies it takes them over, with all that the batch itself changes about them.

use crate::codec::{Put, Reader};
use crate::types::Place;

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
        Some(Forward { segment, items: r.take(count.checked_mul(FORWARD_ITEM_BYTES)?)? })
    }

    /// Old place, new place.
    pub fn items(&self) -> impl Iterator<Item = (Place, Place)> + use<'a> {
        let (mut r, segment) = (Reader::new(self.items), self.segment);
        std::iter::from_fn(move || Some((Place { segment, at: r.u32()? }, r.place()?)))
    }
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
        8 + runs as u64 * 8
    }

    /// `runs`: first and last segment of each, rising.
    pub fn encode(out: &mut Vec<u8>, head: u32, runs: &[(u32, u32)]) {
        out.u32(head);
        out.u32(u32::try_from(runs.len()).expect("segments are below 2^24"));
        for (first, last) in runs {
            out.u32(*first);
            out.u32(*last);
        }
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let head = r.u32()?;
        let count = usize::try_from(r.u32()?).ok()?;
        Some(Retired { head, runs: r.take(count.checked_mul(8)?)? })
    }

    /// First and last segment of each run.
    pub fn runs(&self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let mut r = Reader::new(self.runs);
        std::iter::from_fn(move || Some((r.u32()?, r.u32()?)))
    }
}
