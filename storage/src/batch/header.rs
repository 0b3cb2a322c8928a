//! The batch header, 128 octets.
//!
//! Its crc32c is checked before any field is believed. `offset`, `segment` and `incarnation` catch a write that
//! went astray; `prev` chains each batch to the one before; `durable_lsn` tells recovery what was synced when
//! this batch was written. Both checksums depend on the volume's secret (`seed`), so bytes inside a message body
//! cannot pass for a batch.

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::FOOTER_BYTES;
use crate::codec::{Put, Reader, round_up};
use crate::segment::BLOCK_BYTES;
use crate::types::{LSN_MAX, Lsn, VolumeId};

/// Octets.
pub const HEADER_BYTES: usize = 128;

const MAGIC: u32 = u32::from_le_bytes(*b"RPb\n");
const VERSION: u16 = 2;

/// What a batch says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub volume: VolumeId,
    pub epoch: u64,
    pub lsn: Lsn,
    pub segment: u32,
    pub incarnation: u32,
    /// Own position in the segment.
    pub offset: u64,
    /// [`Header::check`] of the batch before.
    pub prev: u128,
    pub durable_lsn: Lsn,
    pub directory_bytes: u32,
    pub records: u32,
    pub body_bytes: u64,
    pub total_bytes: u64,
    pub transactions: u32,
    /// xxh3-128 of the directory, seeded.
    pub directory_check: u128,
}

/// What 128 octets turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// A header whose checksum and arithmetic fit.
    Header(Box<Header>),
    /// A header of a version not known here, with a good checksum.
    Newer(u16),
    /// Something else.
    Nothing,
}

impl Header {
    /// Octets of a batch with such a directory and bodies, padding included.
    pub fn total_bytes(directory_bytes: u64, body_bytes: u64) -> Option<u64> {
        let used = (HEADER_BYTES as u64 + FOOTER_BYTES as u64).checked_add(directory_bytes)?.checked_add(body_bytes)?;
        round_up(used, BLOCK_BYTES)
    }

    /// Where the bodies begin in the segment.
    pub fn bodies_at(&self) -> u64 {
        self.offset + HEADER_BYTES as u64 + u64::from(self.directory_bytes)
    }

    pub fn encode(&self, seed: u64) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.u32(MAGIC);
        out.u32(0);
        out.u16(VERSION);
        out.u16(0);
        out.u16(self.volume);
        out.u16(0);
        out.u64(self.epoch);
        out.u64(self.lsn);
        out.u32(self.segment);
        out.u32(self.incarnation);
        out.u64(self.offset);
        out.u128(self.prev);
        out.u64(self.durable_lsn);
        out.u32(self.directory_bytes);
        out.u32(self.records);
        out.u64(self.body_bytes);
        out.u64(self.total_bytes);
        out.u32(self.transactions);
        out.u32(0);
        out.u64(0);
        out.u128(self.directory_check);
        let mut out: [u8; HEADER_BYTES] = out.try_into().expect("the fields above are 128 octets");
        let crc = crc32c::crc32c(&out[8..]) ^ folded(seed);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Checksum over header and, through it, directory and bodies: the link of the hash chain.
    pub fn check(&self, seed: u64) -> u128 {
        xxh3_128_with_seed(&self.encode(seed), seed)
    }

    pub fn decode(bytes: &[u8], seed: u64) -> Seen {
        Self::read(bytes, seed).unwrap_or(Seen::Nothing)
    }

    fn read(bytes: &[u8], seed: u64) -> Option<Seen> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let mut r = Reader::new(bytes);
        if r.u32()? != MAGIC || r.u32()? != crc32c::crc32c(&bytes[8..]) ^ folded(seed) {
            return None;
        }
        let version = r.u16()?;
        if version != VERSION {
            return Some(Seen::Newer(version));
        }
        r.u16()?;
        let volume = r.u16()?;
        r.u16()?;
        let header = Header {
            volume,
            epoch: r.u64()?,
            lsn: r.u64()?,
            segment: r.u32()?,
            incarnation: r.u32()?,
            offset: r.u64()?,
            prev: r.u128()?,
            durable_lsn: r.u64()?,
            directory_bytes: r.u32()?,
            records: r.u32()?,
            body_bytes: r.u64()?,
            total_bytes: r.u64()?,
            transactions: {
                let v = r.u32()?;
                r.u32()?;
                r.u64()?;
                v
            },
            directory_check: r.u128()?,
        };
        let fits = Self::total_bytes(u64::from(header.directory_bytes), header.body_bytes) == Some(header.total_bytes)
            && header.durable_lsn < header.lsn
            && header.lsn <= LSN_MAX
            && header.epoch <= LSN_MAX;
        fits.then(|| Seen::Header(Box::new(header)))
    }
}

fn folded(seed: u64) -> u32 {
    (seed ^ (seed >> 32)) as u32
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const SEED: u64 = 0x5eed;

    pub(crate) fn example() -> Header {
        Header {
            volume: 3,
            epoch: 4,
            lsn: 1_000,
            segment: 7,
            incarnation: 2,
            offset: 8_192,
            prev: 0xfeed,
            durable_lsn: 999,
            directory_bytes: 200,
            records: 3,
            body_bytes: 5_000,
            total_bytes: 5_632,
            transactions: 1,
            directory_check: 0xbeef,
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was_written() {
        assert_eq!(Header::decode(&example().encode(SEED), SEED), Seen::Header(Box::new(example())));
    }

    #[test]
    fn any_one_or_two_flipped_bits_are_seen() {
        let good = example().encode(SEED);
        for bit in 0..HEADER_BYTES * 8 {
            for other in [bit, (bit * 31 + 17) % (HEADER_BYTES * 8)] {
                let mut bad = good;
                bad[bit / 8] ^= 1 << (bit % 8);
                if other != bit {
                    bad[other / 8] ^= 1 << (other % 8);
                }
                assert_eq!(Header::decode(&bad, SEED), Seen::Nothing, "bits {bit}, {other}");
            }
        }
    }

    #[test]
    fn a_total_that_is_not_the_sum_is_refused_even_with_a_good_checksum() {
        let mut lying = example();
        lying.total_bytes = 1 << 40;
        assert_eq!(Header::decode(&lying.encode(SEED), SEED), Seen::Nothing);
        lying.body_bytes = u64::MAX - 3;
        assert_eq!(Header::decode(&lying.encode(SEED), SEED), Seen::Nothing);
    }
}
