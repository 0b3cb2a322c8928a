//! Reading messages: from a place to verified octets.
//!
//! A message is its own prefix (in its record, or for a copy in its original's) and a body that copies may share. Everything is verified before it
//! is handed out: a record by its own checksum, a small body whole, a large one block by block. Besides, the
//! body's checksum must be the one its message remembers, so a whole but wrong body is caught.

use std::collections::HashMap;
use std::rc::Rc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::disk::{Disk, File};
use crate::record::{self, BLOCK_BODY_BYTES, Frame, Record};
use crate::types::{AccountId, MailboxId, Message, Place, Uid};
use crate::volume::{Inner, ReadError};

/// Record and body closer together than this are read at once, octets.
const ONE_READ_BYTES_MAX: u64 = 64 << 10;

/// Where a body is and how it is verified.
struct BodyAt {
    segment: u32,
    offset: u64,
    len: u64,
    check: u128,
    blocks: Vec<u64>,
}

impl<D: Disk> Inner<D> {
    /// See [`crate::Volume::read`].
    pub async fn read(&self, message: &Message) -> Result<Vec<u8>, ReadError> {
        let body = self.body_at(message.body, message.body_check)?;
        let prefix_len = message.size.checked_sub(body.len).ok_or(ReadError::Damaged)?;
        if prefix_len == 0 {
            return self.read_body(&body).await;
        }
        let (start, end) = self.record_span(message.prefix)?;
        let body_end = body.offset + body.len;
        if message.prefix.segment == body.segment && body.offset >= end && body_end - start <= ONE_READ_BYTES_MAX {
            let span = self.read_span(body.segment, start, body_end - start).await?;
            let mut whole = prefix_of(&span[..(end - start) as usize], message, prefix_len)?;
            let bytes = &span[(body.offset - start) as usize..];
            verify_whole(&body, bytes)?;
            whole.extend_from_slice(bytes);
            return Ok(whole);
        }
        let mut whole = self.read_prefix(message, prefix_len).await?;
        whole.extend_from_slice(&self.read_body(&body).await?);
        Ok(whole)
    }

    /// See [`crate::Volume::read_range`].
    pub async fn read_range(&self, message: &Message, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
        let body = self.body_at(message.body, message.body_check)?;
        let prefix_len = message.size.checked_sub(body.len).ok_or(ReadError::Damaged)?;
        let from = offset.min(message.size);
        let to = offset.saturating_add(len as u64).min(message.size);
        let mut out = Vec::new();
        if from == to {
            return Ok(out);
        }
        if from < prefix_len && to > prefix_len && body.blocks.is_empty() {
            // A small body is verified whole, so all of it is read anyway, and mostly with the prefix in one go.
            let mut whole = self.read(message).await?;
            whole.truncate(to as usize);
            whole.drain(..from as usize);
            return Ok(whole);
        }
        if from < prefix_len {
            let prefix = self.read_prefix(message, prefix_len).await?;
            out.extend_from_slice(&prefix[from as usize..to.min(prefix_len) as usize]);
        }
        if to > prefix_len {
            let (from, to) = (from.saturating_sub(prefix_len), to - prefix_len);
            if body.blocks.is_empty() {
                out.extend_from_slice(&self.read_body(&body).await?[from as usize..to as usize]);
            } else {
                self.read_blocks(&body, from, to, &mut out).await?;
            }
        }
        Ok(out)
    }

    /// See [`crate::Volume::summaries`].
    pub async fn summaries(&self, account: AccountId, mailbox: MailboxId, uids: &[Uid]) -> Vec<Option<Rc<[u8]>>> {
        let runs = self.index.borrow().mailbox(account, mailbox).map(|m| m.runs.clone()).unwrap_or_default();
        let mut found: HashMap<Uid, Rc<[u8]>> = HashMap::new();
        // Newest first: a later summary of the same message counts.
        for run in runs.iter().rev() {
            let wanted: Vec<Uid> =
                uids.iter().filter(|u| (run.first..=run.last).contains(u) && !found.contains_key(u)).copied().collect();
            if wanted.is_empty() {
                continue;
            }
            // A run that does not read is as good as none: the caller computes what it lacks.
            let Ok(at) = self.body_at(run.body, run.body_check) else { continue };
            let Ok(bytes) = self.read_body(&at).await else { continue };
            found.extend(wanted.into_iter().filter_map(|uid| Some((uid, record::find(&bytes, uid)?.into()))));
        }
        uids.iter().map(|uid| found.get(uid).cloned()).collect()
    }

    fn body_at(&self, place: Place, check: u64) -> Result<BodyAt, ReadError> {
        let index = self.index.borrow();
        let entry =
            index.segments.get(&place.segment).and_then(|s| s.find_body(place.ordinal)).ok_or(ReadError::Damaged)?;
        if entry.check as u64 != check {
            return Err(ReadError::Damaged);
        }
        Ok(BodyAt {
            segment: place.segment,
            offset: entry.offset,
            len: entry.len,
            check: entry.check,
            blocks: entry.blocks.to_vec(),
        })
    }

    fn record_span(&self, place: Place) -> Result<(u64, u64), ReadError> {
        let index = self.index.borrow();
        index.segments.get(&place.segment).and_then(|s| s.record_span(place.ordinal)).ok_or(ReadError::Damaged)
    }

    async fn read_prefix(&self, message: &Message, prefix_len: u64) -> Result<Vec<u8>, ReadError> {
        let (start, end) = self.record_span(message.prefix)?;
        let bytes = self.read_span(message.prefix.segment, start, end - start).await?;
        prefix_of(&bytes, message, prefix_len)
    }

    async fn read_body(&self, body: &BodyAt) -> Result<Vec<u8>, ReadError> {
        let bytes = self.read_span(body.segment, body.offset, body.len).await?;
        verify_whole(body, &bytes)?;
        Ok(bytes)
    }

    async fn read_blocks(&self, body: &BodyAt, from: u64, to: u64, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let first = from / BLOCK_BODY_BYTES;
        let start = first * BLOCK_BODY_BYTES;
        let end = to.next_multiple_of(BLOCK_BODY_BYTES).min(body.len);
        let bytes = self.read_span(body.segment, body.offset + start, end - start).await?;
        let checks = body.blocks.iter().skip(first as usize);
        for (block, check) in bytes.chunks(BLOCK_BODY_BYTES as usize).zip(checks) {
            if xxh3_64(block) != *check {
                return Err(ReadError::Damaged);
            }
        }
        out.extend_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
        Ok(())
    }

    async fn read_span(&self, segment: u32, offset: u64, len: u64) -> Result<Vec<u8>, ReadError> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let file = self.log.borrow().files.get(&segment).cloned().ok_or(ReadError::Gone)?;
        Ok(file.read_at(offset, usize::try_from(len).map_err(|_| ReadError::Damaged)?).await?)
    }
}

fn verify_whole(body: &BodyAt, bytes: &[u8]) -> Result<(), ReadError> {
    if xxh3_128(bytes) == body.check { Ok(()) } else { Err(ReadError::Damaged) }
}

/// The prefix in a message's record, after making sure that it is this message's record. (The UID tells nothing: a copy
/// reads its prefix in the record of its original.)
fn prefix_of(bytes: &[u8], message: &Message, prefix_len: u64) -> Result<Vec<u8>, ReadError> {
    let frame = Frame::read(bytes).map_err(|_| ReadError::Damaged)?;
    match Record::of(&frame) {
        Ok(Some(Record::Message(m)))
            if m.body == message.body
                && m.body_check as u64 == message.body_check
                && m.prefix.len() as u64 == prefix_len =>
        {
            Ok(m.prefix.to_vec())
        }
        _ => Err(ReadError::Damaged),
    }
}
