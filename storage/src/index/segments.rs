//! What is where in each segment: from a place to octets on disk.

use crate::batch::{HEADER_BYTES, Header};
use crate::record::BodyRecord;

/// The records of one segment.
#[derive(Default)]
pub struct SegmentIndex {
    /// Where each record begins in the segment, by ordinal; [`LOST`] where a damaged batch has been.
    offsets: Vec<u32>,
    batches: Vec<BatchRef>,
    /// By ordinal, rising.
    bodies: Vec<BodyEntry>,
}

const LOST: u32 = u32::MAX;

struct BatchRef {
    first_ordinal: u32,
    directory_end: u32,
}

/// A body on disk.
pub struct BodyEntry {
    ordinal: u32,
    /// Copies and runs that use it. At zero its octets are dead; compaction will reclaim them.
    pub refs: u32,
    /// In the segment.
    pub offset: u64,
    pub len: u64,
    pub check: u128,
    /// One checksum a 256 KiB block; empty for a body of one block.
    pub blocks: Box<[u64]>,
}

impl SegmentIndex {
    /// The batch whose records come next.
    pub fn begin(&mut self, header: &Header) {
        let first = header.first_ordinal as usize;
        assert!(self.offsets.len() <= first, "batches of a segment are applied in order, once");
        self.offsets.resize(first, LOST);
        let directory_end = header.bodies_at();
        self.batches.push(BatchRef {
            first_ordinal: header.first_ordinal,
            directory_end: u32::try_from(directory_end).expect("a segment is below 4 GiB"),
        });
    }

    /// The next record of the batch, `at` octets into its directory.
    pub fn record(&mut self, header: &Header, at: usize) -> u32 {
        let offset = header.offset + (HEADER_BYTES + at) as u64;
        self.offsets.push(u32::try_from(offset).expect("a segment is below 4 GiB"));
        self.offsets.len() as u32 - 1
    }

    /// The record just noted is a body.
    pub fn body(&mut self, header: &Header, ordinal: u32, body: &BodyRecord<'_>) {
        self.bodies.push(BodyEntry {
            ordinal,
            refs: 0,
            offset: header.bodies_at() + body.offset,
            len: body.len,
            check: body.check,
            blocks: body.blocks.to_vec().into(),
        });
    }

    pub fn find_body(&self, ordinal: u32) -> Option<&BodyEntry> {
        self.bodies.binary_search_by_key(&ordinal, |b| b.ordinal).ok().map(|i| &self.bodies[i])
    }

    pub fn find_body_mut(&mut self, ordinal: u32) -> Option<&mut BodyEntry> {
        self.bodies.binary_search_by_key(&ordinal, |b| b.ordinal).ok().map(|i| &mut self.bodies[i])
    }

    /// Where a record begins and ends in the segment.
    pub fn record_span(&self, ordinal: u32) -> Option<(u64, u64)> {
        let at = *self.offsets.get(ordinal as usize)?;
        if at == LOST {
            return None;
        }
        let batch = self.batches.partition_point(|b| b.first_ordinal <= ordinal).checked_sub(1)?;
        let end = self.batches[batch].directory_end;
        let next = self.offsets.get(ordinal as usize + 1).copied().unwrap_or(end);
        Some((u64::from(at), u64::from(next.min(end))))
    }
}
