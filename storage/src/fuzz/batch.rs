//! A batch as it stands in a segment, read as recovery reads it.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use rand::Rng;
use rand::rngs::SmallRng;
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use super::chance::{octets, several};
use super::record::{body_field, fill, header, mend_all, payload};
use super::{SEED, Target};
use crate::batch::{FOOTER_BYTES, Footer, Gather, HEADER_BYTES, Header, Seen, directory};
use crate::disk::{Bytes, File};
use crate::index::Index;
use crate::record::{self, BodyRecord, Chain, Record, kind};
use crate::recover::frames::{Frames, Spot};
use crate::segment::{BLOCK_BYTES, SEGMENT_BYTES_MIN};
use crate::sim::campaign::tasks::block_on;
use crate::types::AccountId;

pub const BATCH: Target = Target {
    name: "batch",
    make,
    look,
    mend,
    bare: |octets, at| {
        let Seen::Header(h) = Header::decode(octets, SEED) else { return false };
        zeros(&h).contains(&at) || empty(&octets[HEADER_BYTES..][..h.directory_bytes as usize]).any(|there| there == at)
    },
    // A segment's worth of zeros around it, read in windows and searched; and the marks of the index.
    fixed_bytes: 32 << 20,
    golden: &["batch"],
};

/// Where the batch stands.
const AT: u64 = 4_096;
const SEGMENT: u32 = 7;
const INCARNATION: u32 = 2;

/// The zeros between bodies and footer.
fn zeros(header: &Header) -> Range<usize> {
    let used = HEADER_BYTES as u64 + u64::from(header.directory_bytes) + header.body_bytes;
    used as usize..header.total_bytes as usize - FOOTER_BYTES
}

/// The octets of empty bodies: they have one, which nothing is said of.
fn empty(directory: &[u8]) -> impl Iterator<Item = usize> {
    bodies(directory).filter(|body| body.len == 0).map(|body| (body.offset - AT) as usize)
}

fn bodies(directory: &[u8]) -> impl Iterator<Item = BodyRecord> {
    directory::entries(directory).flatten().filter_map(|entry| match entry.record {
        Some(Record::Body(body)) => Some(body),
        _ => None,
    })
}

/// A file that is read alone.
#[derive(Clone)]
struct Segment(Rc<Vec<u8>>);

impl File for Segment {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let to = from.checked_add(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(self.0.get(from..to).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    async fn write_sync(&self, _: u64, _: Vec<Bytes>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn make(chance: &mut SmallRng) -> Vec<u8> {
    let mut gather = Gather::new(9, SEGMENT, AT);
    let mut chain = Chain::default();
    for _ in 0..chance.random_range(1..12) {
        let (kind, of_account, payload) = payload(chance);
        match kind {
            // Those of a batch's own bodies are written with them.
            kind::BODY => {
                let parts = several(chance, 3, |chance| octets(chance, 700));
                let len = parts.iter().map(|part| part.len() as u64).sum();
                gather.push_body(Vec::new(), parts, len, 1);
            }
            kind::ROOT => {}
            _ if of_account => {
                let account = AccountId(chance.random_range(1..4));
                gather.push_of(kind, account, &mut chain, |out| out.extend_from_slice(&payload));
            }
            _ => drop(gather.push(kind, |out| out.extend_from_slice(&payload))),
        }
    }
    gather.transactions = 1;
    let like = Header { lsn: 0, segment: 0, ..header(0, 0, 0) };
    gather.seal(like, SEED).parts.into_iter().flat_map(Rc::unwrap_or_clone).collect()
}

fn look(octets: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; AT as usize];
    bytes.extend_from_slice(octets);
    let segment_bytes = (bytes.len() as u64).next_multiple_of(SEGMENT_BYTES_MIN);
    bytes.resize(segment_bytes as usize, 0);
    let file = Segment(Rc::new(bytes));
    let frames = Frames { file: &file, segment: SEGMENT, incarnation: Some(INCARNATION), segment_bytes, seed: SEED };
    let found = block_on(frames.search(AT, 0, 0)).ok().flatten();
    let last = block_on(frames.last_written(AT)).expect("memory reads");
    assert!(last <= segment_bytes);
    let Ok(Spot::Batch(batch)) = block_on(frames.spot(AT)) else { return None };
    assert!(found.is_some_and(|found| found.header.offset == AT), "the search finds what is there");
    if !batch.footer_fits || !block_on(frames.bodies_fit(&batch)).expect("memory reads") {
        return None;
    }
    let mut index = Index { seed: SEED, live: true, fold_at: 4, ..Index::default() };
    index.apply(&batch.header, &batch.directory);
    super::page::image(&mut index);
    let h = &batch.header;
    let mut out = h.encode(SEED).to_vec();
    out.extend_from_slice(&batch.directory);
    out.extend_from_slice(&octets[out.len()..zeros(h).start]);
    empty(&batch.directory).for_each(|at| out[at] = 0);
    out.resize(zeros(h).end, 0);
    let footer = Footer {
        lsn: h.lsn,
        epoch: h.epoch,
        total_bytes: h.total_bytes,
        batch_check: h.check(SEED),
        bodies_check: bodies_check(&batch.directory),
    };
    out.extend_from_slice(&footer.encode());
    Some(out)
}

fn bodies_check(directory: &[u8]) -> u128 {
    let checks: Vec<u8> = bodies(directory).flat_map(|body| body.check.to_le_bytes()).collect();
    xxh3_128(&checks)
}

/// Makes a batch of it: the directory is as long as the header says, as far as that may be, and bodies take what is left.
fn mend(octets: &mut Vec<u8>) {
    octets.resize(octets.len().max(1).next_multiple_of(BLOCK_BYTES as usize), 0);
    let room = octets.len() - HEADER_BYTES - FOOTER_BYTES;
    let said = u32::from_le_bytes(octets[72..76].try_into().expect("four octets")) as usize;
    let mut records = octets[HEADER_BYTES..][..said.min(room) / 8 * 8].to_vec();
    if !records.is_empty() {
        mend_all(&mut records);
    }
    let spare = usize::from(octets[80]);
    let bodies_at = HEADER_BYTES + records.len();
    let bodies_bytes = fill(&mut records, octets.len().saturating_sub(bodies_at + FOOTER_BYTES + spare));
    let total_bytes = Header::total_bytes(records.len() as u64, bodies_bytes).expect("it is small");
    octets.resize(total_bytes as usize, 0);
    octets[HEADER_BYTES..bodies_at].copy_from_slice(&records);
    check_bodies(octets, bodies_at);
    let directory = &octets[HEADER_BYTES..bodies_at];
    let directory_check = xxh3_128_with_seed(directory, SEED);
    let count = directory::entries(directory).count() as u32;
    let h = Header { total_bytes, directory_check, ..header(directory.len(), count, bodies_bytes) };
    let footer = Footer {
        lsn: h.lsn,
        epoch: h.epoch,
        total_bytes,
        batch_check: h.check(SEED),
        bodies_check: bodies_check(directory),
    };
    octets[..HEADER_BYTES].copy_from_slice(&h.encode(SEED));
    let end = octets.len() - FOOTER_BYTES;
    octets[end..].copy_from_slice(&footer.encode());
}

/// Bodies have the checksums of what is there.
fn check_bodies(octets: &mut [u8], bodies_at: usize) {
    let mut at = HEADER_BYTES;
    while at < bodies_at {
        let len = u32::from_le_bytes(octets[at..at + 4].try_into().expect("four octets")) as usize;
        if let Some(field) = body_field(&octets[at..at + len]).map(|field| at + field) {
            let number = |at: usize| u64::from_le_bytes(octets[at..at + 8].try_into().expect("eight octets"));
            let from = (number(field) - AT) as usize;
            let check = record::check(&[&octets[from..from + number(field + 8) as usize]]);
            octets[field + 16..field + 32].copy_from_slice(&check.to_le_bytes());
            record::check_again(octets, at);
        }
        at += len;
    }
}
