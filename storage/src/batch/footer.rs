//! The batch footer, 64 octets at the end of the last block: its presence says that the last block arrived.

use crate::codec::{Put, Reader};
use crate::types::Lsn;

/// Octets.
pub const FOOTER_BYTES: usize = 64;

const MAGIC: u32 = u32::from_le_bytes(*b"RPe\n");

/// The end of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    pub lsn: Lsn,
    pub epoch: u64,
    pub total_bytes: u64,
    /// [`super::Header::check`] of the same batch.
    pub batch_check: u128,
    /// xxh3-128 over the checksums of the bodies, in order.
    pub bodies_check: u128,
}

impl Footer {
    pub fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.u32(MAGIC);
        out.u32(0);
        out.u64(self.lsn);
        out.u64(self.epoch);
        out.u64(self.total_bytes);
        out.u128(self.batch_check);
        out.u128(self.bodies_check);
        let mut out: [u8; FOOTER_BYTES] = out.try_into().expect("the fields above are 64 octets");
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..FOOTER_BYTES)?;
        let mut r = Reader::new(bytes);
        if r.u32()? != MAGIC || r.u32()? != crc32c::crc32c(&bytes[8..]) {
            return None;
        }
        Some(Footer {
            lsn: r.u64()?,
            epoch: r.u64()?,
            total_bytes: r.u64()?,
            batch_check: r.u128()?,
            bodies_check: r.u128()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_seen() {
        let footer = Footer { lsn: 9, epoch: 1, total_bytes: 512, batch_check: 5, bodies_check: 6 };
        let good = footer.encode();
        assert_eq!(Footer::decode(&good), Some(footer));
        for bit in 0..FOOTER_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Footer::decode(&bad), None, "bit {bit}");
        }
    }
}
