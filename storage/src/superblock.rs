//! The superblock: who this volume is, in four copies, of which two must agree.
//!
//! Copies lie 64 KiB apart, so that no single bad erase block or misdirected write hits two. They are written
//! one after the other, each synced before the next, 0 and 1 first: whatever a crash leaves, either the old
//! or the new sequence has two valid identical copies. Opening writes all four again before anything else, because
//! what is read back after a failed sync may be the kernel's memory and not the disk. The position of a copy is part of it and outside the
//! checksum, so that all four carry the same checksum and a copy written to another's place is caught.
//!
//! Everything here that grows (durable LSN, counters, tail segment) is a lower bound: the log knows better,
//! the superblock knows for sure. Bytes: FORMAT.md, "Superblock".

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::codec::{Put, Reader};
use crate::types::{Lsn, VolumeId};

/// The format this program writes.
pub const FORMAT_VERSION: u32 = 2;
/// The oldest format whose readers understand what this program writes.
pub const MIN_READER_VERSION: u32 = 2;
/// Incompatible features this program knows: none yet.
pub const INCOMPAT_KNOWN: u64 = 0;
/// Features that a program may read without knowing them, but not write: none yet.
pub const RO_COMPAT_KNOWN: u64 = 0;

/// The file's name.
pub const NAME: &str = "superblock";
/// The file's length, octets.
pub const FILE_BYTES: u64 = 4 * COPY_DISTANCE;
/// One copy, octets.
pub const COPY_BYTES: usize = 4_096;
/// From the start of a copy to the start of the next, octets.
pub const COPY_DISTANCE: u64 = 64 << 10;
/// How many copies.
pub const COPIES: u64 = 4;

const MAGIC: u64 = u64::from_le_bytes(*b"RPsuper\n");
/// Where the bytes begin that the checksum covers.
const COVERED_FROM: usize = 32;

/// The facts of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    pub format_version: u32,
    pub min_reader_version: u32,
    pub compat: u64,
    pub ro_compat: u64,
    pub incompat: u64,
    pub store: Uuid,
    pub volume: VolumeId,
    pub volumes: u16,
    pub block_bytes: u32,
    pub segment_bytes: u64,
    /// Rises by one with each writing.
    pub sequence: u64,
    /// Checksum of the sequence before, 0 for the first.
    pub parent: u128,
    pub epoch: u64,
    pub head_segment: u32,
    pub tail_segment: u32,
    pub durable_lsn: Lsn,
    pub last_uidvalidity: u32,
    pub last_account: u64,
    /// Where the newest checkpoint is.
    pub checkpoint: Address,
    /// Where the one before it is, for when that one does not read.
    pub checkpoint_before: Address,
    /// Secret of this volume: seed of the checksums of batches, so that no message body can pass for a batch.
    pub seed: u64,
    /// Losses of batches up to this LSN were accepted by the operator: nobody waits for them to come back.
    pub accepted_lsn: Lsn,
    /// LSN of the head's first batch: those before it are in no segment any more, and nobody misses them.
    pub head_lsn: Lsn,
}

/// What four copies say together.
#[derive(Debug, PartialEq, Eq)]
pub enum Quorum {
    /// No copy was ever completed: there is no volume here.
    Blank,
    /// This one counts.
    Found(Box<Superblock>),
    /// Written by a newer program.
    Newer(u32),
    /// No two copies agree, or their chain does not fit.
    Damaged(String),
}

impl Superblock {
    /// One copy's bytes.
    pub fn encode(&self, copy: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(COPY_BYTES);
        out.u64(MAGIC);
        out.u128(0);
        out.u64(copy);
        out.u32(self.format_version);
        out.u32(self.min_reader_version);
        out.u64(self.compat);
        out.u64(self.ro_compat);
        out.u64(self.incompat);
        out.bytes(self.store.as_bytes());
        out.u16(self.volume);
        out.u16(self.volumes);
        out.u32(self.block_bytes);
        out.u64(self.segment_bytes);
        out.u64(self.sequence);
        out.u128(self.parent);
        out.u64(self.epoch);
        out.u32(self.head_segment);
        out.u32(self.tail_segment);
        out.u64(self.durable_lsn);
        out.u32(self.last_uidvalidity);
        out.u32(0);
        out.u64(self.last_account);
        out.u64(self.seed);
        self.checkpoint.encode(&mut out);
        out.u64(self.accepted_lsn);
        out.u64(self.head_lsn);
        self.checkpoint_before.encode(&mut out);
        out.resize(COPY_BYTES, 0);
        let check = xxh3_128(&out[COVERED_FROM..]);
        out[8..24].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// The checksum all copies of this superblock carry.
    pub fn check(&self) -> u128 {
        xxh3_128(&self.encode(0)[COVERED_FROM..])
    }

    fn decode(bytes: &[u8], copy: u64) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let magic = r.u64()?;
        let check = r.u128()?;
        let place = r.u64()?;
        if bytes.len() != COPY_BYTES || magic != MAGIC || place != copy || check != xxh3_128(&bytes[COVERED_FROM..]) {
            return None;
        }
        Some(Superblock {
            format_version: r.u32()?,
            min_reader_version: r.u32()?,
            compat: r.u64()?,
            ro_compat: r.u64()?,
            incompat: r.u64()?,
            store: Uuid::from_slice(r.take(16)?).ok()?,
            volume: r.u16()?,
            volumes: r.u16()?,
            block_bytes: r.u32()?,
            segment_bytes: r.u64()?,
            sequence: r.u64()?,
            parent: r.u128()?,
            epoch: r.u64()?,
            head_segment: r.u32()?,
            tail_segment: r.u32()?,
            durable_lsn: r.u64()?,
            last_uidvalidity: {
                let v = r.u32()?;
                r.u32()?;
                v
            },
            last_account: r.u64()?,
            seed: r.u64()?,
            checkpoint: Address::decode(&mut r)?,
            accepted_lsn: r.u64()?,
            head_lsn: r.u64()?,
            checkpoint_before: Address::decode(&mut r)?,
        })
    }
}

/// Where a checkpoint begins: in which file of pages, its octets there, and the checksum they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// 0: there is none.
    pub file: u32,
    pub length: u32,
    pub offset: u64,
    pub check: u128,
}

impl Address {
    /// No checkpoint.
    pub const NONE: Address = Address { file: 0, length: 0, offset: 0, check: 0 };

    fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.file);
        out.u32(self.length);
        out.u64(self.offset);
        out.u128(self.check);
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(Address { file: r.u32()?, length: r.u32()?, offset: r.u64()?, check: r.u128()? })
    }
}

/// Reads the four copies: the newest sequence that two valid identical copies vouch for.
pub fn quorum(copies: &[Vec<u8>]) -> Quorum {
    let found: Vec<Option<Superblock>> =
        copies.iter().zip(0..).map(|(bytes, copy)| Superblock::decode(bytes, copy)).collect();
    if let Some(newer) = found.iter().flatten().find(|s| s.min_reader_version > FORMAT_VERSION) {
        return Quorum::Newer(newer.format_version);
    }
    let votes = |s: &Superblock| found.iter().flatten().filter(|o| *o == s).count();
    let Some(best) = found.iter().flatten().filter(|s| votes(s) >= 2).max_by_key(|s| s.sequence) else {
        // A crash while the very first superblock was being written: copies 2 and 3 are begun when 0 and 1 are on disk,
        // so they are blank, and one of the others may be torn.
        let begun = copies.iter().skip(2).any(|bytes| bytes.iter().any(|&b| b != 0));
        if !begun && found.iter().flatten().all(|s| s.sequence == 1) {
            return Quorum::Blank;
        }
        return Quorum::Damaged(format!(
            "{} of {COPIES} copies are valid and no two agree; restore the folder from a backup",
            found.iter().flatten().count()
        ));
    };
    if votes(best) > 2 {
        // One alone that does not fit is a misdirected or stale write, and not another history.
        return Quorum::Found(Box::new(best.clone()));
    }
    for older in found.iter().flatten().filter(|s| s.sequence.checked_add(1) == Some(best.sequence)) {
        if older.check() != best.parent {
            return Quorum::Damaged(format!("sequence {} does not follow sequence {}", best.sequence, older.sequence));
        }
    }
    if let Some(twin) = found.iter().flatten().find(|s| s.sequence == best.sequence && *s != best) {
        return Quorum::Damaged(format!("two different superblocks carry sequence {}", twin.sequence));
    }
    Quorum::Found(Box::new(best.clone()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example(sequence: u64, parent: u128) -> Superblock {
        Superblock {
            format_version: FORMAT_VERSION,
            min_reader_version: MIN_READER_VERSION,
            compat: 0,
            ro_compat: 0,
            incompat: 0,
            store: Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            volume: 3,
            volumes: 4,
            block_bytes: 512,
            segment_bytes: 65_536,
            sequence,
            parent,
            epoch: 2,
            head_segment: 1,
            tail_segment: 5,
            durable_lsn: 77,
            last_uidvalidity: 1_700_000_000,
            last_account: 9,
            checkpoint: Address { file: 2, length: 4_096, offset: 40_960, check: 0xfeed_f00d },
            checkpoint_before: Address { file: 1, length: 4_096, offset: 8_192, check: 0xbeef },
            seed: 0x0123_4567_89ab_cdef,
            accepted_lsn: 0,
            head_lsn: 1,
        }
    }

    fn four(s: &Superblock) -> Vec<Vec<u8>> {
        (0..COPIES).map(|c| s.encode(c)).collect()
    }

    #[test]
    fn four_equal_copies_count() {
        let s = example(5, 1);
        assert_eq!(quorum(&four(&s)), Quorum::Found(Box::new(s)));
    }

    #[test]
    fn one_new_copy_alone_is_passed_over_for_the_old_quorum() {
        let old = example(5, 1);
        let new = example(6, old.check());
        let mut copies = four(&old);
        copies[0] = new.encode(0);
        assert_eq!(quorum(&copies), Quorum::Found(Box::new(old)));
    }

    #[test]
    fn two_new_copies_win_over_two_old_ones() {
        let old = example(5, 1);
        let new = example(6, old.check());
        let mut copies = four(&old);
        copies[0] = new.encode(0);
        copies[1] = new.encode(1);
        assert_eq!(quorum(&copies), Quorum::Found(Box::new(new)));
    }

    #[test]
    fn a_sequence_whose_parent_is_another_is_refused() {
        let old = example(5, 1);
        let new = example(6, 99);
        let mut copies = four(&old);
        copies[0] = new.encode(0);
        copies[1] = new.encode(1);
        assert!(matches!(quorum(&copies), Quorum::Damaged(_)));
    }

    #[test]
    fn one_copy_of_another_volume_does_not_outweigh_three() {
        let s = example(2, example(1, 0).check());
        let mut copies = four(&s);
        copies[0] = Superblock { volume: 9, ..example(1, 0) }.encode(0);
        assert_eq!(quorum(&copies), Quorum::Found(Box::new(s.clone())));
        copies[0] = Superblock { epoch: 77, ..s.clone() }.encode(0);
        assert_eq!(quorum(&copies), Quorum::Found(Box::new(s)));
    }

    #[test]
    fn a_copy_written_to_the_place_of_another_does_not_count() {
        let s = example(5, 1);
        let copies = vec![s.encode(0), s.encode(0), s.encode(0), s.encode(0)];
        assert!(matches!(quorum(&copies), Quorum::Damaged(_)));
    }

    #[test]
    fn any_flipped_bit_spoils_a_copy() {
        let s = example(5, 1);
        let good = s.encode(2);
        for bit in (0..256 * 8).chain((256 * 8..good.len() * 8).step_by(97)) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Superblock::decode(&bad, 2), None, "bit {bit}");
        }
    }

    #[test]
    fn blank_copies_are_no_volume() {
        assert_eq!(quorum(&vec![vec![0; COPY_BYTES]; 4]), Quorum::Blank);
        let mut copies = vec![vec![0; COPY_BYTES]; 4];
        copies[0] = example(1, 0).encode(0);
        assert_eq!(quorum(&copies), Quorum::Blank);
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut s = example(5, 1);
        s.format_version = 9;
        s.min_reader_version = 8;
        assert_eq!(quorum(&four(&s)), Quorum::Newer(9));
    }
}
