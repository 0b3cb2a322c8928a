//! Making a volume. The superblock comes last: while it is blank there is no volume, and making it again
//! finishes what a crash interrupted.

use std::io;
use std::rc::Rc;

use crate::commit::{self, RESERVE};
use crate::disk::{Disk, File};
use crate::segment::{self, BLOCK_BYTES, FIRST_INCARNATION, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SegmentHeader};
use crate::superblock::{self, Address, COPIES, COPY_BYTES, COPY_DISTANCE, Quorum, Superblock};
use crate::volume::Create;

/// A volume's first segment.
pub const FIRST_SEGMENT: u32 = 1;

/// See [`crate::Volume::create`].
pub async fn create<D: Disk>(disk: &D, facts: &Create) -> io::Result<()> {
    let bytes = facts.segment_bytes;
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(SEGMENT_BYTES_MIN) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a segment is a multiple of 64 KiB, from 64 KiB to 1 GiB",
        ));
    }
    let there = disk.list().await?;
    let superblock_file = make(disk, &there, superblock::NAME, superblock::FILE_BYTES).await?;
    if superblock::quorum(&read_copies(&superblock_file).await?) != Quorum::Blank {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a volume here already"));
    }
    make(disk, &there, RESERVE, bytes).await?;
    let first = make(disk, &there, &segment::name(FIRST_SEGMENT), bytes).await?;
    if first.read_at(segment::HEADER_BYTES as u64, BLOCK_BYTES as usize).await?.iter().any(|&b| b != 0) {
        // Nothing is committed before the superblock is there four times: this one was, and is lost.
        let why = "there is a log here without its superblock: restore the folder from a backup";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    let header = SegmentHeader {
        segment: FIRST_SEGMENT,
        incarnation: FIRST_INCARNATION,
        store: facts.store,
        volume: facts.volume,
        segment_bytes: bytes,
        epoch: 1,
        first_lsn: 1,
        durable_lsn: 0,
        prev: 0,
    };
    first.write_sync(0, vec![Rc::new(header.encode())]).await?;
    let superblock = Superblock {
        format_version: superblock::FORMAT_VERSION,
        min_reader_version: superblock::MIN_READER_VERSION,
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        store: facts.store,
        volume: facts.volume,
        volumes: facts.volumes,
        block_bytes: BLOCK_BYTES as u32,
        segment_bytes: bytes,
        sequence: 1,
        parent: 0,
        epoch: 1,
        head_segment: FIRST_SEGMENT,
        tail_segment: FIRST_SEGMENT,
        durable_lsn: 0,
        last_uidvalidity: 0,
        last_account: 0,
        checkpoint: Address::NONE,
        checkpoint_before: Address::NONE,
        seed: facts.seed,
        accepted_lsn: 0,
        head_lsn: 1,
    };
    commit::write_copies(&superblock_file, &superblock).await
}

async fn make<D: Disk>(disk: &D, there: &[String], name: &str, len: u64) -> io::Result<D::File> {
    if !there.iter().any(|n| n == name) {
        return disk.create(name, len).await;
    }
    let file = disk.open(name).await?;
    if file.len() != len {
        let why = format!("{name} is there with another length: the folder belongs to something else");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    Ok(file)
}

/// The four copies' octets; what lies past a short file's end is blank.
pub async fn read_copies<F: File>(file: &F) -> io::Result<Vec<Vec<u8>>> {
    let mut copies = Vec::new();
    for copy in 0..COPIES {
        let at = copy * COPY_DISTANCE;
        let there = file.len().saturating_sub(at).min(COPY_BYTES as u64) as usize;
        let mut bytes = if there == 0 { Vec::new() } else { file.read_at(at, there).await? };
        bytes.resize(COPY_BYTES, 0);
        copies.push(bytes);
    }
    Ok(copies)
}
