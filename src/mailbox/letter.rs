//! Reading one message, a block at a time: its header, its structure, its octets.
//!
//! Nothing here holds more of a message than a block and a header, whatever its size.

use std::ops::Range;

use ringpost_storage::disk::Disk;
use ringpost_storage::{AccountId, MailboxId, Message, ReadError, Volume};

use crate::limits;
use crate::mail::header::body_start;
use crate::mail::mime::Scan;
use crate::mail::summary::{Packed, Summary};
use crate::mailbox::anew::Anew;

/// Octets read at a time, and no more than a prefix above.
const BLOCK_BYTES: usize = 256 << 10;
/// Octets read at first when only a header is wanted.
const HEADER_BLOCK_BYTES: usize = 8 << 10;

/// A message being read. Keeps its last block.
pub struct Letter<'a, D: Disk> {
    volume: &'a Volume<D>,
    message: &'a Message,
    octets: Anew,
    block_at: u64,
    block: Vec<u8>,
}

impl<'a, D: Disk> Letter<'a, D> {
    /// Nothing is read yet. `home`: the mailbox that it is in.
    #[must_use]
    pub fn new(volume: &'a Volume<D>, home: (AccountId, MailboxId), message: &'a Message) -> Self {
        let octets = Anew::message(home.0, home.1, message.clone());
        Letter { volume, message, octets, block_at: 0, block: Vec::new() }
    }

    /// Octets of the message from `range.start` on: as many as one block has, at most to `range.end`; none at its end.
    ///
    /// # Errors
    /// As [`Anew::read_range`].
    pub async fn some(&mut self, range: Range<u64>) -> Result<&[u8], ReadError> {
        let end = range.end.min(self.message.size());
        if range.start >= end {
            return Ok(&[]);
        }
        let block = self.block_at..self.block_at + self.block.len() as u64;
        if !block.contains(&range.start) {
            self.block = Vec::new();
            self.block = self.octets.read_on(self.volume, range.start).await?;
            self.block_at = range.start;
        }
        let from = usize::try_from(range.start - self.block_at).unwrap_or(usize::MAX).min(self.block.len());
        let len = usize::try_from(end - range.start).unwrap_or(usize::MAX);
        let rest = &self.block[from..];
        if rest.is_empty() {
            // The volume has fewer octets than it said.
            return Err(ReadError::Damaged);
        }
        Ok(&rest[..rest.len().min(len)])
    }

    /// All octets of a range, at most `bytes_max`.
    ///
    /// # Errors
    /// As [`Anew::read_range`].
    pub async fn whole(&mut self, range: Range<u64>, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
        let end = range.end.min(range.start.saturating_add(bytes_max as u64)).min(self.message.size());
        let mut all = Vec::new();
        let mut at = range.start;
        while at < end {
            let some = self.some(at..end).await?;
            at += some.len() as u64;
            all.extend_from_slice(some);
        }
        Ok(all)
    }

    /// The header section, its empty line included, and whether that is all of it: at most
    /// [`limits::HEADER_BYTES_MAX`] octets are read.
    ///
    /// # Errors
    /// As [`Anew::read_range`].
    pub async fn header(&mut self) -> Result<(Vec<u8>, bool), ReadError> {
        let mut want = HEADER_BLOCK_BYTES;
        loop {
            let mut octets = if self.block.is_empty() && want < BLOCK_BYTES {
                self.octets.read_range(self.volume, 0, want).await?
            } else {
                self.whole(0..want as u64, want).await?
            };
            let body = body_start(&octets);
            // An empty line that is only half there, or a last field that goes on, shows at the next octets.
            let whole = octets.len() as u64 >= self.message.size() || body + 2 < octets.len();
            if whole || want >= limits::HEADER_BYTES_MAX {
                octets.truncate(body);
                return Ok((octets, whole));
            }
            want = (want * 8).min(limits::HEADER_BYTES_MAX);
        }
    }

    /// Its summary, computed; other tasks get their turn after each block.
    ///
    /// # Errors
    /// As [`Anew::read_range`].
    pub async fn summary(&mut self) -> Result<Packed, ReadError> {
        let mut scan = Scan::new();
        let mut at = 0;
        while at < self.message.size() {
            let some = self.some(at..self.message.size()).await?;
            at += some.len() as u64;
            scan.feed(some);
            // What is read from memory never waits: the shard gets its turn here.
            futures_lite::future::yield_now().await;
        }
        Ok(Summary::from(scan.finish()).pack())
    }
}
