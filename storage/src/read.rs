//! Reading messages: from a place to verified octets.
//!
//! A message is its own prefix (in its record, or for a copy in its original's) and a body that copies may share. Everything
//! is verified before it is handed out: a record by its own checksum, a body whole against the checksum that its message
//! remembers (so a whole but wrong body is caught), a large one piece by piece.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;

use xxhash_rust::xxh3::xxh3_128;

use crate::bugs::{self, Bug};
use crate::disk::{Disk, File};
use crate::record::{self, Frame, LargeRecord, MessageRecord, Piece, Record, RunRef};
use crate::together::all;
use crate::types::{AccountId, MailboxId, Message, Place, Uid};
use crate::volume::{Inner, ReadError};

/// Runs of summaries in memory while they are looked through: below a MiB each.
const SUMMARY_RUNS_AT_ONCE: usize = 8;
/// Record and body closer together than this are read at once, octets.
const ONE_READ_BYTES_MAX: u64 = 64 << 10;
/// Octets read of a record of which nothing is known; most are shorter, and a longer one is read again.
const RECORD_BYTES_GUESS: usize = 4 << 10;
/// Octets of a message's record beside prefix and keywords, at most.
const MESSAGE_BYTES_GUESS: u64 = 192;

/// A message that is read a bit at a time. Where its pieces are is looked up once: 20 octets of memory for each 256 KiB.
pub struct Reader {
    message: Message,
    pieces: Option<Vec<Piece>>,
}

impl Reader {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(message: Message) -> Self {
        Reader { message, pieces: None }
    }

    /// What is read.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }
}

impl<D: Disk> Inner<D> {
    /// See [`crate::Volume::read_on`].
    pub async fn read_on(&self, reader: &mut Reader, offset: u64) -> Result<Vec<u8>, ReadError> {
        let message = &reader.message;
        let prefix_len = u64::from(message.prefix_len);
        if offset >= message.size() {
            return Ok(Vec::new());
        }
        if !message.is_large() || offset < prefix_len {
            let end = if message.is_large() { prefix_len } else { message.size() };
            return self.read_range(message, offset, (end - offset) as usize).await;
        }
        if reader.pieces.is_none() {
            reader.pieces = Some(self.pieces(message.body, message.body_check).await?);
        }
        let mut at = prefix_len;
        for piece in reader.pieces.iter().flatten() {
            let start = at;
            at += u64::from(piece.len);
            if at > offset {
                let mut bytes = self.read_body(piece.place, u64::from(piece.len), piece.check).await?;
                bytes.drain(..(offset - start) as usize);
                return Ok(bytes);
            }
        }
        Err(ReadError::Damaged)
    }

    /// See [`crate::Volume::read`].
    pub async fn read(&self, message: &Message) -> Result<Vec<u8>, ReadError> {
        if message.is_large() {
            let mut whole = if message.prefix_len == 0 { Vec::new() } else { self.read_prefix(message).await? };
            self.read_pieces(message, 0..message.body_len(), &mut whole).await?;
            return Ok(whole);
        }
        if message.prefix_len == 0 {
            return self.read_body(message.body, message.body_len(), message.body_check).await;
        }
        let (prefix, body) = (self.resolve(message.prefix), self.resolve(message.body));
        let end = u64::from(body.at) + message.body_len();
        let near =
            prefix.segment == body.segment && body.at > prefix.at && end - u64::from(prefix.at) <= ONE_READ_BYTES_MAX;
        if !near {
            let mut whole = self.read_prefix(message).await?;
            whole.extend_from_slice(&self.read_body(message.body, message.body_len(), message.body_check).await?);
            return Ok(whole);
        }
        let span = self.read_span(prefix.segment, u64::from(prefix.at), end - u64::from(prefix.at)).await?;
        let record_end = (body.at - prefix.at) as usize;
        let record = self.frame_at(&span[..record_end], prefix).ok_or(ReadError::Damaged)?;
        let mut whole = prefix_of(&record, message)?;
        let bytes = &span[record_end..];
        verify(bytes, message.body_check)?;
        whole.extend_from_slice(bytes);
        Ok(whole)
    }

    /// See [`crate::Volume::read_range`].
    pub async fn read_range(&self, message: &Message, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
        let prefix_len = u64::from(message.prefix_len);
        let from = offset.min(message.size());
        let to = offset.saturating_add(len as u64).min(message.size());
        let mut out = Vec::new();
        if from == to {
            return Ok(out);
        }
        if from < prefix_len && to > prefix_len && !message.is_large() {
            // A small body is verified whole, so all of it is read anyway, and mostly with the prefix in one go.
            let mut whole = self.read(message).await?;
            whole.truncate(to as usize);
            whole.drain(..from as usize);
            return Ok(whole);
        }
        if from < prefix_len {
            let prefix = self.read_prefix(message).await?;
            out.extend_from_slice(&prefix[from as usize..to.min(prefix_len) as usize]);
        }
        if to > prefix_len {
            let range = from.saturating_sub(prefix_len)..to - prefix_len;
            if message.is_large() {
                self.read_pieces(message, range, &mut out).await?;
            } else {
                let body = self.read_body(message.body, message.body_len(), message.body_check).await?;
                out.extend_from_slice(&body[range.start as usize..range.end as usize]);
            }
        }
        Ok(out)
    }

    /// See [`crate::Volume::read_as_is`].
    pub async fn read_as_is(&self, message: &Message) -> Result<Vec<u8>, ReadError> {
        let mut whole =
            if message.prefix_len == 0 { Vec::new() } else { self.read_prefix(message).await.unwrap_or_default() };
        let pieces: Vec<(Place, u64)> = if message.is_large() {
            let pieces = self.pieces(message.body, message.body_check).await?;
            pieces.into_iter().map(|piece| (piece.place, u64::from(piece.len))).collect()
        } else {
            vec![(message.body, message.body_len())]
        };
        for (place, len) in pieces {
            let place = self.resolve(place);
            whole.extend_from_slice(&self.read_span(place.segment, u64::from(place.at), len).await?);
        }
        Ok(whole)
    }

    /// See [`crate::Volume::summaries`].
    pub async fn summaries(&self, account: AccountId, mailbox: MailboxId, uids: &[Uid]) -> Vec<Option<Rc<[u8]>>> {
        let runs = self.index.borrow().mailbox(account, mailbox).map(|m| m.runs.clone()).unwrap_or_default();
        let mut found: HashMap<Uid, Rc<[u8]>> = HashMap::new();
        let any = |run: &&RunRef| uids.iter().any(|uid| (run.first..=run.last).contains(uid));
        let runs: Vec<RunRef> = runs.into_iter().filter(|run| any(&run)).rev().collect();
        let mut unread: Vec<RangeInclusive<Uid>> = Vec::new();
        // Newest first: a later summary of the same message counts.
        for runs in runs.chunks(SUMMARY_RUNS_AT_ONCE) {
            let reads =
                runs.iter().map(|run| self.read_body(run.body, u64::from(run.body_len), run.body_check)).collect();
            for (run, read) in runs.iter().zip(all(reads).await) {
                // The caller computes what it lacks. What an older run has may be what this one was made to replace.
                let Ok(bytes) = read else {
                    unread.push(run.first..=run.last);
                    continue;
                };
                let hidden = |uid: &Uid| found.contains_key(uid) || unread.iter().any(|range| range.contains(uid));
                let lacking = |uid: &&Uid| (run.first..=run.last).contains(*uid) && !hidden(uid);
                let wanted: Vec<Uid> = uids.iter().filter(lacking).copied().collect();
                found.extend(wanted.into_iter().filter_map(|uid| Some((uid, record::find(&bytes, uid)?.into()))));
            }
        }
        uids.iter().map(|uid| found.get(uid).cloned()).collect()
    }

    /// The pieces of a large body, in order.
    pub async fn pieces(&self, list: Place, check: u64) -> Result<Vec<Piece>, ReadError> {
        let bytes = self.read_record(list, RECORD_BYTES_GUESS).await?;
        let frame = Frame::of(&bytes).map_err(|_| ReadError::Damaged)?;
        match Record::of(&frame) {
            Ok(Some(Record::Large(large) | Record::MovedLarge(large)))
                if LargeRecord::check(large.pieces()) == check =>
            {
                Ok(large.pieces().collect())
            }
            _ => Err(ReadError::Damaged),
        }
    }

    async fn read_pieces(&self, message: &Message, range: Range<u64>, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let mut at = 0;
        for piece in self.pieces(message.body, message.body_check).await? {
            let (start, end) = (at, at + u64::from(piece.len));
            at = end;
            if end <= range.start || start >= range.end {
                continue;
            }
            let bytes = self.read_body(piece.place, u64::from(piece.len), piece.check).await?;
            let (from, to) = (range.start.max(start) - start, range.end.min(end) - start);
            out.extend_from_slice(&bytes[from as usize..to as usize]);
        }
        // The list is verified, so only its length can disagree with the message.
        if at < range.end { Err(ReadError::Damaged) } else { Ok(()) }
    }

    /// Where what was at a place is now.
    pub fn resolve(&self, place: Place) -> Place {
        self.index.borrow().forwards.resolve(place)
    }

    async fn read_prefix(&self, message: &Message) -> Result<Vec<u8>, ReadError> {
        let guess = MESSAGE_BYTES_GUESS + u64::from(message.prefix_len);
        let bytes = self.read_record(message.prefix, guess as usize).await?;
        prefix_of(&Frame::of(&bytes).map_err(|_| ReadError::Damaged)?, message)
    }

    /// The octets of the record at a place, verified, and perhaps more. `guess`: how many they will be.
    pub async fn read_record(&self, place: Place, guess: usize) -> Result<Vec<u8>, ReadError> {
        let place = self.resolve(place);
        let (at, end) = (u64::from(place.at), self.facts.segment_bytes);
        let bytes = self.read_span(place.segment, at, (guess as u64).min(end.saturating_sub(at))).await?;
        let Some(len) = bytes.first_chunk().map(|len| u64::from(u32::from_le_bytes(*len))) else {
            return Err(ReadError::Damaged);
        };
        let verified = |bytes: Vec<u8>| match self.frame_at(&bytes, place) {
            Some(_) => Ok(bytes),
            None => Err(ReadError::Damaged),
        };
        if len <= bytes.len() as u64 {
            return verified(bytes);
        }
        // Not verified yet, but within the segment; what it leads to is.
        if at + len > end {
            return Err(ReadError::Damaged);
        }
        verified(self.read_span(place.segment, at, len).await?)
    }

    /// The record at the front of octets that were read at a place, if it is one of this place.
    pub fn frame_at<'a>(&self, bytes: &'a [u8], place: Place) -> Option<Frame<'a>> {
        Frame::read(bytes, record::mark_of(self.facts.seed, place)).ok()
    }

    /// A body, verified whole.
    pub async fn read_body(&self, place: Place, len: u64, check: u64) -> Result<Vec<u8>, ReadError> {
        let place = self.resolve(place);
        let bytes = self.read_span(place.segment, u64::from(place.at), len).await?;
        verify(&bytes, check)?;
        Ok(bytes)
    }

    /// Octets of a segment, as they are.
    pub async fn read_span(&self, segment: u32, offset: u64, len: u64) -> Result<Vec<u8>, ReadError> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let file = self.log.borrow().files.get(&segment).cloned().ok_or(ReadError::Gone)?;
        if offset.saturating_add(len) > file.len() {
            return Err(ReadError::Damaged);
        }
        let len = usize::try_from(len).map_err(|_| ReadError::Damaged)?;
        // Its file is not used for anything else meanwhile.
        let reading = self.reading.hold_one(segment);
        // After a failed write or sync, memory may hold what the disk does not (RELIABILITY §4.6).
        let failed = self.log.borrow().failed;
        let read = if failed { file.read_device(offset, len).await } else { file.read_at(offset, len).await };
        drop(reading);
        if self.compacting.get() {
            self.settled_bell.ring();
        }
        Ok(read?)
    }
}

fn verify(bytes: &[u8], check: u64) -> Result<(), ReadError> {
    if bugs::on(Bug::SkipVerify) || xxh3_128(bytes) as u64 == check { Ok(()) } else { Err(ReadError::Damaged) }
}

/// The prefix in a message's record, after making sure that it is this message's record. (The UID tells nothing: a copy
/// reads its prefix in the record of its original. Nor does the body's place, which compaction changes.)
fn prefix_of(frame: &Frame<'_>, message: &Message) -> Result<Vec<u8>, ReadError> {
    let fits =
        |m: &MessageRecord<'_>| m.body_check == message.body_check && m.prefix.len() == usize::from(message.prefix_len);
    match Record::of(frame) {
        Ok(Some(Record::Message(m) | Record::Moved(m))) if fits(&m) && m.size == message.size => Ok(m.prefix.to_vec()),
        _ => Err(ReadError::Damaged),
    }
}
