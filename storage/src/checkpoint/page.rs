//! One page: 4 KiB that say whose they are, where they belong, and when they were written.

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::codec::{Put, Reader};

/// Octets of a page.
pub const PAGE_BYTES: usize = 4_096;
const HEAD_BYTES: usize = 48;
/// Octets of an object in one page.
pub const PART_BYTES: usize = PAGE_BYTES - HEAD_BYTES;
/// Octets at the front of a page that the checksum leaves out: itself.
const CHECK_BYTES: usize = 16;
const MAGIC: u32 = u32::from_le_bytes(*b"RPp\n");

/// An object's name: its kind and its number.
pub type Key = (u16, u32);

/// A page's number: pages of the first file come first.
pub type PageNumber = u32;

/// What a page says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    pub key: Key,
    /// Which part of the object, of how many.
    pub part: u16,
    pub parts: u16,
    /// Of the checkpoint it was written for.
    pub generation: u64,
    pub number: PageNumber,
    pub bytes: &'a [u8],
}

impl<'a> Page<'a> {
    /// Its octets, and their checksum.
    pub fn encode(&self, seed: u64) -> (Vec<u8>, u128) {
        assert!(self.bytes.len() <= PART_BYTES, "a part fits its page");
        let mut out = Vec::with_capacity(PAGE_BYTES);
        out.u128(0);
        out.u32(MAGIC);
        out.u16(self.key.0);
        out.u16(0);
        out.u32(self.key.1);
        out.u16(self.part);
        out.u16(self.parts);
        out.u64(self.generation);
        out.u32(self.bytes.len() as u32);
        out.u32(self.number);
        out.bytes(self.bytes);
        out.resize(PAGE_BYTES, 0);
        let check = xxh3_128_with_seed(&out[CHECK_BYTES..], seed);
        out[..CHECK_BYTES].copy_from_slice(&check.to_le_bytes());
        (out, check)
    }

    /// The page in these octets and its checksum; `None` when anything does not fit.
    pub fn decode(bytes: &'a [u8], seed: u64) -> Option<(Self, u128)> {
        let mut r = Reader::new(bytes);
        let check = r.u128()?;
        if bytes.len() != PAGE_BYTES || check != xxh3_128_with_seed(&bytes[CHECK_BYTES..], seed) || r.u32()? != MAGIC {
            return None;
        }
        let kind = r.u16()?;
        r.u16()?;
        let (id, part, parts, generation) = (r.u32()?, r.u16()?, r.u16()?, r.u64()?);
        let (len, number) = (r.u32()? as usize, r.u32()?);
        let page = Page { key: (kind, id), part, parts, generation, number, bytes: r.take(len)? };
        (part < parts).then_some((page, check))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 0x5eed;

    #[test]
    fn any_flipped_bit_is_seen_and_so_is_another_volumes_page() {
        let page = Page { key: (8, 7), part: 1, parts: 2, generation: 5, number: 12, bytes: b"entries" };
        let (good, check) = page.encode(SEED);
        assert_eq!(Page::decode(&good, SEED), Some((page, check)));
        assert_eq!(Page::decode(&good, SEED + 1), None);
        for bit in (0..64 * 8).chain((64 * 8..good.len() * 8).step_by(97)) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Page::decode(&bad, SEED), None, "bit {bit}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_octets_under_a_good_checksum_make_the_decoder_panic(
            mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), CHECK_BYTES..PAGE_BYTES)
        ) {
            bytes.resize(PAGE_BYTES, 0);
            bytes[16..20].copy_from_slice(&MAGIC.to_le_bytes());
            let check = xxh3_128_with_seed(&bytes[CHECK_BYTES..], SEED);
            bytes[..CHECK_BYTES].copy_from_slice(&check.to_le_bytes());
            if let Some((page, _)) = Page::decode(&bytes, SEED) {
                proptest::prop_assert!(page.bytes.len() <= PART_BYTES);
            }
        }
    }
}
