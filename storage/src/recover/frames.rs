//! Reading one segment's frames: what stands at a position, and what is the next batch after a bad spot.

use std::io;

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use crate::batch::{FOOTER_BYTES, Footer, HEADER_BYTES, Header, Seen, directory};
use crate::bugs::{self, Bug};
use crate::disk::File;
use crate::index;
use crate::record::{Bad, Record};
use crate::segment::{BLOCK_BYTES, FIRST_INCARNATION};
use crate::volume::OpenError;

/// Octets read at first of what stands somewhere: a header with most directories. (Who walks looks through a window.)
const WALK_BYTES: u64 = 16 << 10;
/// Octets read at once while searching.
const SEARCH_BYTES: u64 = 1 << 20;
/// Octets of a body read at once while verifying.
const VERIFY_BYTES: u64 = 1 << 20;

const ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];

/// One segment being read.
pub struct Frames<'a, F> {
    pub file: &'a F,
    pub segment: u32,
    /// `None`: the header block is damaged, any incarnation will do.
    pub incarnation: Option<u32>,
    pub segment_bytes: u64,
    pub seed: u64,
}

/// What stands at a position.
pub enum Spot {
    /// A batch with header and directory verified.
    Batch(Box<Batch>),
    /// A header that is verified; the directory is not.
    HeaderOnly(Box<Header>),
    /// Neither.
    Nothing,
}

impl Spot {
    /// Of the verified header, if there is one.
    pub fn epoch(&self) -> Option<u64> {
        match self {
            Spot::Batch(batch) => Some(batch.header.epoch),
            Spot::HeaderOnly(header) => Some(header.epoch),
            Spot::Nothing => None,
        }
    }
}

/// A batch read from disk.
pub struct Batch {
    pub header: Header,
    pub check: u128,
    pub directory: Vec<u8>,
    /// True when the footer is there and repeats the header's checksums.
    pub footer_fits: bool,
}

impl<F: File> Frames<'_, F> {
    /// Reads what stands at `at`, with lengths used only after they were verified.
    pub async fn spot(&self, at: u64) -> Result<Spot, OpenError> {
        let room = self.segment_bytes.saturating_sub(at);
        if room < BLOCK_BYTES {
            return Ok(Spot::Nothing);
        }
        let mut bytes = self.read(at, room.min(WALK_BYTES)).await?;
        let Some(header) = self.header(&bytes, at)? else { return Ok(Spot::Nothing) };
        let directory_end = HEADER_BYTES as u64 + u64::from(header.directory_bytes);
        let got = bytes.len() as u64;
        if directory_end > got {
            bytes.extend_from_slice(&self.read(at + got, directory_end - got).await?);
        }
        let directory = &bytes[HEADER_BYTES..directory_end as usize];
        if xxh3_128_with_seed(directory, self.seed) != header.directory_check {
            return Ok(Spot::HeaderOnly(Box::new(header)));
        }
        match index::check(&header, directory) {
            Ok(()) => {}
            Err(Bad::Unknown { kind, version }) => return Err(OpenError::UnknownRecord { kind, version }),
            Err(Bad::Malformed) => return Ok(Spot::HeaderOnly(Box::new(header))),
        }
        let footer_at = (header.total_bytes - FOOTER_BYTES as u64) as usize;
        let footer = match bytes.get(footer_at..footer_at + FOOTER_BYTES) {
            Some(there) => Footer::decode(there),
            None => Footer::decode(&self.read(at + footer_at as u64, FOOTER_BYTES as u64).await?),
        };
        let check = header.check(self.seed);
        let fits = Footer {
            lsn: header.lsn,
            epoch: header.epoch,
            total_bytes: header.total_bytes,
            batch_check: check,
            bodies_check: bodies_check(directory),
        };
        let footer_fits = footer == Some(fits);
        Ok(Spot::Batch(Box::new(Batch { check, directory: directory.to_vec(), footer_fits, header })))
    }

    fn header(&self, bytes: &[u8], at: u64) -> Result<Option<Header>, OpenError> {
        match Header::decode(bytes, self.seed) {
            Seen::Header(h)
                if (h.segment == self.segment && self.incarnation.is_none_or(|i| i == h.incarnation)
                    || bugs::on(Bug::WrongIncarnation))
                    && h.offset == at
                    && h.total_bytes <= self.segment_bytes - at =>
            {
                Ok(Some(*h))
            }
            Seen::Newer(version) => Err(OpenError::Newer { found: u32::from(version), known: 2 }),
            _ => Ok(None),
        }
    }

    /// The first verified batch at or after `from` that is of `epoch` or later and has at least this LSN.
    pub async fn search(&self, from: u64, epoch: u64, lsn: u64) -> Result<Option<Batch>, OpenError> {
        let mut at = from;
        while at + BLOCK_BYTES <= self.segment_bytes {
            let bytes = self.read(at, SEARCH_BYTES.min(self.segment_bytes - at)).await?;
            for (i, block) in bytes.chunks_exact(BLOCK_BYTES as usize).enumerate() {
                let here = at + i as u64 * BLOCK_BYTES;
                let Seen::Header(h) = Header::decode(block, self.seed) else { continue };
                let others = h.segment != self.segment && !bugs::on(Bug::WrongIncarnation);
                if h.offset != here || others || h.epoch < epoch || h.lsn < lsn {
                    continue;
                }
                if let Spot::Batch(batch) = self.spot(here).await? {
                    return Ok(Some(*batch));
                }
            }
            at += bytes.len() as u64;
        }
        Ok(None)
    }

    /// End of the last block at or after `from` that may be ours and is not zero; `from` when all are. We write without
    /// gaps, so nothing of ours lies behind a batch that the file held in an earlier incarnation.
    pub async fn last_written(&self, from: u64) -> Result<u64, OpenError> {
        let mut last = from;
        let recycled = self.incarnation != Some(FIRST_INCARNATION);
        let mut at = from;
        while at < self.segment_bytes {
            let bytes = self.read(at, SEARCH_BYTES.min(self.segment_bytes - at)).await?;
            for (i, block) in bytes.chunks(BLOCK_BYTES as usize).enumerate() {
                let here = at + i as u64 * BLOCK_BYTES;
                if recycled && self.earlier(block, here) {
                    return Ok(last);
                }
                if *block != ZEROS[..block.len()] {
                    last = here + BLOCK_BYTES;
                }
            }
            at += bytes.len() as u64;
        }
        Ok(last)
    }

    /// True when a batch of an earlier segment of this file begins at `at`.
    pub async fn is_earlier(&self, at: u64) -> Result<bool, OpenError> {
        let block = self.read(at, BLOCK_BYTES).await?;
        Ok(self.earlier(&block, at))
    }

    /// The verified header of a batch that the file held before: numbers only rise.
    fn earlier(&self, block: &[u8], at: u64) -> bool {
        matches!(Header::decode(block, self.seed), Seen::Header(h) if h.segment < self.segment && h.offset == at)
    }

    /// True when every body of the batch has its checksum. Reads in bounded pieces.
    pub async fn bodies_fit(&self, batch: &Batch) -> Result<bool, OpenError> {
        if bugs::on(Bug::SkipBodies) {
            return Ok(true);
        }
        for entry in directory::entries(&batch.directory) {
            let Some(Record::Body(body)) = entry.expect("checked when it was read").record else { continue };
            let mut hash = xxhash_rust::xxh3::Xxh3::new();
            let (mut at, end) = (body.offset, body.offset + body.len);
            while at < end {
                let bytes = self.read(at, VERIFY_BYTES.min(end - at)).await?;
                hash.update(&bytes);
                at += bytes.len() as u64;
            }
            if hash.digest128() != body.check {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn read(&self, at: u64, len: u64) -> Result<Vec<u8>, OpenError> {
        let len = usize::try_from(len).expect("a segment is below 4 GiB");
        self.file.read_at(at, len).await.map_err(|why| io_error(&format!("reading segment {}", self.segment), why))
    }
}

/// Names what was being done.
pub fn io_error(doing: &str, why: io::Error) -> OpenError {
    OpenError::Io { doing: doing.to_owned(), why }
}

fn bodies_check(directory: &[u8]) -> u128 {
    let mut checks = Vec::new();
    for entry in directory::entries(directory) {
        if let Some(Record::Body(body)) = entry.expect("checked by the caller").record {
            checks.extend_from_slice(&body.check.to_le_bytes());
        }
    }
    xxh3_128(&checks)
}
