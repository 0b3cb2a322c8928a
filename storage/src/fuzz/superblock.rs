//! Who a volume is: the superblock's four copies, and the header of a segment.

use rand::Rng;
use rand::rngs::SmallRng;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use super::chance::{number, small};
use super::{Target, none};
use crate::segment::{self, SegmentHeader};
use crate::sim::SimDisk;
use crate::sim::campaign::tasks::block_on;
use crate::superblock::{
    Address, COPIES, COPY_BYTES, COPY_DISTANCE, FILE_BYTES, FORMAT_VERSION, Quorum, Superblock, quorum,
};
use crate::superblock::{MIN_READER_VERSION, NAME};
use crate::types::LSN_MAX;
use crate::volume::{Settings, Volume};

pub const SUPERBLOCK: Target = Target {
    name: "superblock",
    make: |chance| four(&superblock(chance)),
    look: look_at_superblock,
    mend: |octets| {
        octets.resize(COPIES as usize * COPY_BYTES, 0);
        let first = octets[..COPY_BYTES].to_vec();
        for (copy, octets) in (0u64..).zip(octets.chunks_exact_mut(COPY_BYTES)) {
            // Two of them agree, whatever became of the others.
            if copy == 1 {
                octets.copy_from_slice(&first);
            }
            octets[..8].copy_from_slice(b"RPsuper\n");
            octets[24..32].copy_from_slice(&copy.to_le_bytes());
            let check = xxh3_128(&octets[32..]);
            octets[8..24].copy_from_slice(&check.to_le_bytes());
        }
    },
    // Of four copies three still agree.
    bare: |_, _| true,
    // A volume is opened: the segment it is told to begin, and what opening reads at once.
    fixed_bytes: 4 << 20,
    golden: &["superblock"],
};

pub const SEGMENT: Target = Target {
    name: "segment",
    make: |chance| header(chance).encode(),
    look: |octets| SegmentHeader::decode(octets).map(|header| header.encode()),
    mend: |octets| {
        octets.resize(segment::HEADER_BYTES, 0);
        octets[..8].copy_from_slice(b"RPsegmt\n");
        octets[12..14].copy_from_slice(&2u16.to_le_bytes());
        octets[44..48].copy_from_slice(&(segment::BLOCK_BYTES as u32).to_le_bytes());
        let crc = crc32c::crc32c(&octets[12..]);
        octets[8..12].copy_from_slice(&crc.to_le_bytes());
    },
    bare: none,
    fixed_bytes: 64 << 10,
    golden: &["segment-header"],
};

fn header(chance: &mut SmallRng) -> SegmentHeader {
    let first_lsn = 1 + number(chance) % LSN_MAX;
    SegmentHeader {
        segment: small(chance),
        incarnation: small(chance),
        store: Uuid::from_u128(chance.random()),
        volume: chance.random(),
        segment_bytes: number(chance),
        epoch: number(chance) % LSN_MAX,
        first_lsn,
        durable_lsn: number(chance) % first_lsn,
        prev: chance.random(),
    }
}

fn address(chance: &mut SmallRng) -> Address {
    let offset = number(chance) % 64 * 4_096;
    Address { file: small(chance), length: 4_096, offset, check: chance.random() }
}

fn superblock(chance: &mut SmallRng) -> Superblock {
    Superblock {
        format_version: FORMAT_VERSION,
        min_reader_version: MIN_READER_VERSION,
        compat: number(chance),
        ro_compat: number(chance) % 2,
        incompat: number(chance) % 2,
        store: Uuid::from_u128(chance.random()),
        volume: chance.random(),
        volumes: chance.random(),
        block_bytes: 512,
        segment_bytes: 65_536 << chance.random_range(0..4),
        sequence: number(chance),
        parent: chance.random(),
        epoch: number(chance),
        head_segment: small(chance),
        tail_segment: small(chance),
        durable_lsn: number(chance),
        last_uidvalidity: small(chance),
        last_account: number(chance),
        checkpoint: address(chance),
        checkpoint_before: address(chance),
        seed: chance.random(),
        accepted_lsn: number(chance),
        head_lsn: number(chance),
    }
}

fn four(superblock: &Superblock) -> Vec<u8> {
    (0..COPIES).flat_map(|copy| superblock.encode(copy)).collect()
}

fn look_at_superblock(octets: &[u8]) -> Option<Vec<u8>> {
    let mut copies: Vec<Vec<u8>> = octets.chunks(COPY_BYTES).take(COPIES as usize).map(<[u8]>::to_vec).collect();
    copies.resize(COPIES as usize, Vec::new());
    let found = quorum(&copies);
    if copies.iter().all(|copy| copy.len() == COPY_BYTES) {
        open(&copies);
    }
    match found {
        Quorum::Found(superblock) => Some(four(&superblock)),
        Quorum::Blank | Quorum::Newer(_) | Quorum::Damaged(_) => None,
    }
}

/// Opens a volume that has this superblock and no log.
fn open(copies: &[Vec<u8>]) {
    let mut file = vec![0; FILE_BYTES as usize];
    for (at, copy) in (0..).step_by(COPY_DISTANCE as usize).zip(copies) {
        file[at..][..COPY_BYTES].copy_from_slice(copy);
    }
    let disk = SimDisk::new(1);
    disk.poke(NAME, file);
    disk.set_free_bytes(8 << 20);
    let settings = Settings { free_bytes_min: 0, ..Settings::DEFAULT };
    drop(block_on(Volume::open(disk, None, settings)));
}
