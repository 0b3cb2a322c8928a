//! Body: where octets lie in the body area of the same batch, and their checksums.
//!
//! One xxh3-128 over all of it; a body above 256 KiB has besides an xxh3-64 for each 256 KiB block, so that a
//! range of a large message is read and verified without reading the rest. Runs of summaries are bodies too.

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use crate::codec::{Put, Reader};

/// Octets of a block that has its own checksum.
pub const BLOCK_BODY_BYTES: u64 = 256 << 10;

/// Kind 33.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyRecord<'a> {
    /// From the start of the batch's body area.
    pub offset: u64,
    pub len: u64,
    pub check: u128,
    pub blocks: Blocks<'a>,
}

/// Checksums of the blocks, as they lie in the record. Empty for a body of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl Blocks<'_> {
    pub fn to_vec(self) -> Vec<u64> {
        let eight = |c: &[u8]| u64::from_le_bytes(c.try_into().expect("chunks of eight"));
        self.0.chunks_exact(8).map(eight).collect()
    }
}

/// How many block checksums a body of `len` octets has.
pub fn blocks(len: u64) -> u64 {
    if len > BLOCK_BODY_BYTES { len.div_ceil(BLOCK_BODY_BYTES) } else { 0 }
}

/// Checksums of a body in parts: the whole, and the blocks if it has more than one.
pub fn checks<T: AsRef<[u8]>>(parts: &[T], len: u64) -> (u128, Vec<u64>) {
    let whole = match parts {
        [one] => xxh3_128(one.as_ref()),
        _ => {
            let mut hash = Xxh3::new();
            parts.iter().for_each(|p| hash.update(p.as_ref()));
            hash.digest128()
        }
    };
    if blocks(len) == 0 {
        return (whole, Vec::new());
    }
    let block = BLOCK_BODY_BYTES as usize;
    let mut table = Vec::with_capacity(blocks(len) as usize);
    let mut hash = Xxh3::new();
    let mut filled = 0;
    for part in parts {
        let mut bytes = part.as_ref();
        while !bytes.is_empty() {
            if filled == 0 && bytes.len() >= block {
                table.push(xxh3_64(&bytes[..block]));
                bytes = &bytes[block..];
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(block - filled));
            hash.update(now);
            filled += now.len();
            if filled == block {
                table.push(hash.digest());
                hash.reset();
                filled = 0;
            }
            bytes = later;
        }
    }
    if filled > 0 {
        table.push(hash.digest());
    }
    (whole, table)
}

impl<'a> BodyRecord<'a> {
    pub fn encode(out: &mut Vec<u8>, offset: u64, len: u64, check: u128, table: &[u64]) {
        assert_eq!(table.len() as u64, blocks(len), "one checksum a block");
        out.u64(offset);
        out.u64(len);
        out.u128(check);
        table.iter().for_each(|&c| out.u64(c));
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let offset = r.u64()?;
        let len = r.u64()?;
        let check = r.u128()?;
        offset.checked_add(len)?;
        let table = r.take(usize::try_from(blocks(len).checked_mul(8)?).ok()?)?;
        Some(BodyRecord { offset, len, check, blocks: Blocks(table) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn checksums_do_not_depend_on_the_cutting(len in 0usize..900_000, cut in 1usize..300_000) {
            let bytes: Vec<u8> = (0..len).map(|i| ((i * 31) >> 3) as u8).collect();
            let parts: Vec<&[u8]> = bytes.chunks(cut).collect();
            let (whole, table) = checks(&parts, len as u64);
            prop_assert_eq!(whole, xxh3_128(&bytes));
            prop_assert_eq!(table.len() as u64, blocks(len as u64));
            for (block, check) in bytes.chunks(BLOCK_BODY_BYTES as usize).zip(&table) {
                prop_assert_eq!(*check, xxh3_64(block));
            }
        }
    }
}
