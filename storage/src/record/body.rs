//! Body: where octets lie in the body area of the same batch, and their checksum.
//!
//! A body's place is its first octet, so an empty one takes an octet too. A message above [`PIECE_BYTES_MAX`] has several
//! bodies, its *pieces*, and a record that lists them (`large`), so that a range of it is read and verified without the
//! rest. Runs of summaries and of rows are bodies too.

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::codec::{Put, Reader};

/// Octets of a body that is verified whole; more than that comes in pieces.
pub const PIECE_BYTES_MAX: u64 = 256 << 10;

/// Kind 33.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyRecord {
    /// From the start of the segment.
    pub offset: u64,
    pub len: u64,
    pub check: u128,
}

/// The checksum of octets in parts.
pub fn check<T: AsRef<[u8]>>(parts: &[T]) -> u128 {
    match parts {
        [one] => xxh3_128(one.as_ref()),
        _ => {
            let mut hash = Xxh3::new();
            parts.iter().for_each(|p| hash.update(p.as_ref()));
            hash.digest128()
        }
    }
}

impl BodyRecord {
    /// Where in the payload the offset is.
    pub const OFFSET_AT: usize = 0;

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.offset);
        out.u64(self.len);
        out.u128(self.check);
    }

    pub fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let (offset, len, check) = (r.u64()?, r.u64()?, r.u128()?);
        offset.checked_add(len)?;
        Some(BodyRecord { offset, len, check })
    }

    /// Octets of the body area that it takes.
    pub fn taken(len: u64) -> u64 {
        len.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_checksum_does_not_depend_on_the_cutting(len in 0usize..300_000, cut in 1usize..300_000) {
            let bytes: Vec<u8> = (0..len).map(|i| ((i * 31) >> 3) as u8).collect();
            let parts: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(check(&parts), xxh3_128(&bytes));
        }
    }
}
