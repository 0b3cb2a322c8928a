//! The root: where the log goes on, and every page that counts, with its checksum.
//!
//! It lies in pages that are a chain: each begins with the number and the checksum of the next. The superblock has those
//! of the first.

use super::page::{Key, PART_BYTES, PageNumber};
use crate::codec::{Put, Reader};
use crate::segment;
use crate::types::{LSN_MAX, Lsn};

/// The kind of its pages.
pub const KIND: u16 = u16::MAX;
/// Octets of a link at the front of a part: number and checksum of the next page.
pub const LINK_BYTES: usize = 20;
/// Octets of the root in one page.
pub const CHUNK_BYTES: usize = PART_BYTES - LINK_BYTES;

/// The end of the log as of the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last batch that is in the checkpoint.
    pub lsn: Lsn,
    /// Where the next one will be, unless the segment is full.
    pub segment: u32,
    pub offset: u64,
    pub epoch: u64,
    /// Checksum of the last batch; 0: not known.
    pub prev: u128,
    /// Octets of that segment up to here may hold what was discarded.
    pub stale_to: u64,
}

/// Where a part of an object is, and the lower half of its page's checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageRef {
    pub page: PageNumber,
    pub check: u64,
}

/// A root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    pub generation: u64,
    pub position: Position,
    /// By object and part.
    pub pages: Vec<(Key, u16, PageRef)>,
}

impl Root {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(80 + self.pages.len() * 20);
        out.u64(self.generation);
        out.u64(self.position.lsn);
        out.u32(self.position.segment);
        out.u32(0);
        out.u64(self.position.offset);
        out.u64(self.position.epoch);
        out.u128(self.position.prev);
        out.u64(self.position.stale_to);
        out.u32(self.pages.len() as u32);
        out.u32(0);
        for ((kind, id), part, page) in &self.pages {
            out.u32(page.page);
            out.u32(*id);
            out.u16(*part);
            out.u16(*kind);
            out.u64(page.check);
        }
        out
    }

    /// `None` when it is no root, or says what cannot be. Parts of an object follow each other from 0.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let (generation, lsn, segment, _) = (r.u64()?, r.u64()?, r.u32()?, r.u32()?);
        let (offset, epoch, prev, stale_to) = (r.u64()?, r.u64()?, r.u128()?, r.u64()?);
        let position = Position { lsn, segment, offset, epoch, prev, stale_to };
        let (count, _) = (r.u32()?, r.u32()?);
        let mut pages: Vec<(Key, u16, PageRef)> = Vec::new();
        for _ in 0..count {
            let (page, id, part, kind) = (r.u32()?, r.u32()?, r.u16()?, r.u16()?);
            let key = (kind, id);
            let fits = match pages.last() {
                Some((before, last, _)) if *before == key => last.checked_add(1) == Some(part),
                Some((before, ..)) => *before < key && part == 0,
                None => part == 0,
            };
            if !fits {
                return None;
            }
            pages.push((key, part, PageRef { page, check: r.u64()? }));
        }
        let possible = lsn <= LSN_MAX
            && epoch <= LSN_MAX
            && generation <= LSN_MAX
            && (1..=segment::SEGMENTS_MAX).contains(&segment)
            && offset.is_multiple_of(segment::BLOCK_BYTES)
            && (segment::HEADER_BYTES as u64..=segment::SEGMENT_BYTES_MAX).contains(&offset);
        possible.then_some(Root { generation, position, pages })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn example() -> Root {
        let position = Position { lsn: 77, segment: 5, offset: 8_192, epoch: 2, prev: 0xfeed_f00d, stale_to: 12_288 };
        let page = |page| PageRef { page, check: 0xbeef_0000 + u64::from(page) };
        let pages = vec![((1, 0), 0, page(4)), ((8, 0), 0, page(9)), ((9, 5), 0, page(2)), ((9, 5), 1, page(30))];
        Root { generation: 12, position, pages }
    }

    #[test]
    fn a_root_comes_back_and_a_cut_one_does_not() {
        let bytes = example().encode();
        assert_eq!(Root::decode(&bytes), Some(example()));
        (0..bytes.len()).for_each(|n| assert_eq!(Root::decode(&bytes[..n]), None, "{n}"));
    }

    proptest::proptest! {
        #[test]
        fn no_octets_make_the_decoder_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let _ = Root::decode(&bytes);
        }
    }

    #[test]
    fn parts_that_are_missing_or_twice_are_no_root() {
        let cases: [fn(&mut Root); 4] = [
            |r| r.pages[3].1 = 2,
            |r| {
                let _ = r.pages.remove(2);
            },
            |r| r.pages.swap(0, 1),
            |r| r.position.segment = 0,
        ];
        for spoil in cases {
            let mut root = example();
            spoil(&mut root);
            assert_eq!(Root::decode(&root.encode()), None);
        }
    }
}
