//! A segment: a file of fixed length that begins with a header block and holds batches, one after the other.
//!
//! The file is made of written zeros before it is needed. Its header is written and synced when the segment
//! becomes the active one, at a moment when no batch is in flight: so the header vouches that every LSN below
//! `first_lsn` is durable. Bytes: FORMAT.md, "Segment".

use uuid::Uuid;

use crate::codec::{Put, Reader};
use crate::types::{LSN_MAX, Lsn, VolumeId};

/// The header block, octets; the first batch follows it.
pub const HEADER_BYTES: usize = 4_096;
/// Batches start and end at multiples of this, octets.
pub const BLOCK_BYTES: u64 = crate::disk::BLOCK_BYTES;
/// The smallest segment, octets.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// The largest, octets: offsets inside a segment fit 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Of a new file. Each reuse counts up.
pub const FIRST_INCARNATION: u32 = 1;

/// Segments of a volume: a petabyte and more of the usual ones. A file with a higher number is not ours.
pub const SEGMENTS_MAX: u32 = 1 << 24;

const MAGIC: u64 = u64::from_le_bytes(*b"RPsegmt\n");
const VERSION: u16 = 2;

/// The header block of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub segment: u32,
    /// How often this file has been begun; batches of an earlier incarnation are no batches.
    pub incarnation: u32,
    pub store: Uuid,
    pub volume: VolumeId,
    pub segment_bytes: u64,
    pub epoch: u64,
    /// LSN of the first batch here; all before it are durable.
    pub first_lsn: Lsn,
    /// Durable LSN when this was written.
    pub durable_lsn: Lsn,
    /// Checksum of the batch before the first one here.
    pub prev: u128,
}

/// The file name of a segment.
pub fn name(segment: u32) -> String {
    format!("segment-{segment:08}")
}

/// The number in a segment's file name; `None` for other files.
pub fn number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("segment-")?;
    (digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.u64(MAGIC);
        out.u32(0);
        out.u16(VERSION);
        out.u16(0);
        out.u32(self.segment);
        out.u32(self.incarnation);
        out.bytes(self.store.as_bytes());
        out.u16(self.volume);
        out.u16(0);
        out.u32(BLOCK_BYTES as u32);
        out.u64(self.segment_bytes);
        out.u64(self.epoch);
        out.u64(self.first_lsn);
        out.u64(self.durable_lsn);
        out.u128(self.prev);
        out.resize(HEADER_BYTES, 0);
        let crc = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` when anything does not fit.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        if bytes.len() != HEADER_BYTES || r.u64()? != MAGIC || r.u32()? != crc32c::crc32c(&bytes[12..]) {
            return None;
        }
        if r.u16()? != VERSION {
            return None;
        }
        r.u16()?;
        let segment = r.u32()?;
        let incarnation = r.u32()?;
        let store = Uuid::from_slice(r.take(16)?).ok()?;
        let volume = r.u16()?;
        r.u16()?;
        if r.u32()? != BLOCK_BYTES as u32 {
            return None;
        }
        let header = SegmentHeader {
            segment,
            incarnation,
            store,
            volume,
            segment_bytes: r.u64()?,
            epoch: r.u64()?,
            first_lsn: r.u64()?,
            durable_lsn: r.u64()?,
            prev: r.u128()?,
        };
        let fits = header.durable_lsn < header.first_lsn && header.first_lsn <= LSN_MAX && header.epoch <= LSN_MAX;
        fits.then_some(header)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> SegmentHeader {
        SegmentHeader {
            segment: 7,
            incarnation: 2,
            store: Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            volume: 3,
            segment_bytes: 65_536,
            epoch: 4,
            first_lsn: 1_000,
            durable_lsn: 999,
            prev: 0xfeed,
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was_written() {
        assert_eq!(SegmentHeader::decode(&example().encode()), Some(example()));
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let good = example().encode();
        for bit in (0..128 * 8).chain((128 * 8..good.len() * 8).step_by(101)) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn only_segment_names_have_numbers() {
        assert_eq!(number(&name(42)), Some(42));
        assert_eq!(number("segment-42"), None);
        assert_eq!(number("segment-0000004x"), None);
        assert_eq!(number("RESERVE"), None);
    }
}
