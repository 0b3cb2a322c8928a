//! A walk through one segment that nobody writes to any more, or up to what is durable: batch by batch, and over what is no batch.
//!
//! For who looks whether the log is what it was. (Recovery has a walk of its own: it has to find out what is durable.)

use crate::disk::File;
use crate::recover::frames::{Batch, Frames, Spot};
use crate::segment::BLOCK_BYTES;
use crate::types::Lsn;
use crate::volume::OpenError;

/// The walk through one segment.
pub struct Walk<'a, F> {
    pub frames: Frames<'a, F>,
    /// Where the batches end at the latest.
    pub stop: u64,
    pub at: u64,
    /// LSN and epoch of the next batch, as far as they are known.
    pub expected: Option<Lsn>,
    pub epoch: u64,
}

/// Octets that are not what was written there, and the last LSN that they concern, where that is known.
pub struct Hole {
    pub offset: u64,
    pub octets: u64,
    pub through: Option<Lsn>,
}

impl<F: File> Walk<'_, F> {
    /// The next batch, and the hole before it; `None` at the end of the segment.
    pub async fn next(&mut self) -> Result<Option<(Batch, Option<Hole>)>, OpenError> {
        if self.at >= self.stop {
            return Ok(None);
        }
        let here = match self.frames.spot(self.at).await? {
            Spot::Batch(batch) if self.follows(&batch) => Some(*batch),
            _ => None,
        };
        let (batch, hole) = match here {
            Some(batch) => {
                let footer = batch.header.offset + batch.header.total_bytes - BLOCK_BYTES;
                let torn = !batch.footer_fits;
                let through = Some(batch.header.lsn);
                (batch, torn.then_some(Hole { offset: footer, octets: BLOCK_BYTES, through }))
            }
            None => {
                let from = self.at + BLOCK_BYTES;
                let found = self.frames.search(from, self.epoch, self.expected.unwrap_or(1)).await?;
                let Some(batch) = found.filter(|batch| batch.header.offset < self.stop) else { return Ok(None) };
                let through = Some(batch.header.lsn - 1);
                let hole = Hole { offset: self.at, octets: batch.header.offset - self.at, through };
                (batch, Some(hole))
            }
        };
        self.at = batch.header.offset + batch.header.total_bytes;
        self.expected = Some(batch.header.lsn + 1);
        self.epoch = batch.header.epoch;
        Ok(Some((batch, hole)))
    }

    fn follows(&self, batch: &Batch) -> bool {
        self.expected.is_none_or(|lsn| lsn == batch.header.lsn) && batch.header.epoch >= self.epoch
    }

    /// What is missing behind the last batch, when the segment after it begins with this LSN.
    pub async fn tail(&self, next_first: Option<Lsn>) -> Result<Option<Hole>, OpenError> {
        let through = match (self.expected, next_first) {
            (Some(expected), Some(first)) if expected < first => Some(first - 1),
            // Nothing comes after it: it has to reach to its end.
            (_, None) if self.at < self.stop => None,
            _ => return Ok(None),
        };
        let end = self.frames.last_written(self.at).await?.min(self.stop).max(self.at + BLOCK_BYTES);
        Ok(Some(Hole { offset: self.at, octets: end - self.at, through }))
    }
}
