//! One segment's compaction, from the look for it to the end of its file.

use std::collections::HashMap;

use super::carry::gone_with;
use super::moves::{Body, Moves};
use super::plan::{self, Candidate, GAIN_PERCENT_MIN, Ground};
use super::survey::{Source, Survey, directory_at, holds_prefix};
use super::{Compacted, Pace, Stuck};
use crate::batch::Gather;
use crate::batch::directory;
use crate::commit::Bound;
use crate::disk::Disk;
use crate::fold::{FoldError, Rewrite};
use crate::index::{Index, Segment};
use crate::record::{self, BodyRecord, FRAME_BYTES_MAX, Record, Retired, kind};
use crate::recover::frames::Batch;
use crate::segment;
use crate::transaction::Refused;
use crate::types::{AccountId, Place};
use crate::volume::Inner;

/// Space is short when there is no room for so many segments above what is kept free.
const SHORT_SEGMENTS: u64 = 4;
/// Where in a record its slot is.
const SLOT_AT: usize = 12;

/// Octets of directories of batches whose last moves are not durable yet. More: those are not waited with.
const DIRECTORY_BYTES_MAX: usize = 1 << 20;

/// Checkpoints that have to be behind a segment before it may be compacted.
const BEHIND: u8 = 2;

impl<D: Disk> Inner<D> {
    /// See [`crate::Volume::compact`].
    pub async fn compact<P: Pace>(&self, pace: &P) -> Compacted {
        if self.compacting.replace(true) {
            return Compacted::Nothing;
        }
        let _one = One(&self.compacting);
        if let Err(why) = self.pay_debts(pace).await {
            return Compacted::Stuck(0, why);
        }
        let (segment, began) = loop {
            let may_rename = !(self.log.borrow().failed || self.log.borrow().closing || self.index.borrow().uncounted);
            let more = match may_rename {
                true => self.rename(pace).await,
                false => Ok(false),
            };
            let began = self.log.borrow().stats.written_bytes;
            let rests = began < self.rests_until.get() && !pace.is_eager();
            match (more, self.chosen(pace.is_eager()).filter(|_| !rests)) {
                // Also where renaming cannot go on: it is not compaction that needs it.
                (_, Some(segment)) => break (segment, began),
                (Err(why), None) => return Compacted::Stuck(0, why),
                (Ok(true), None) => {}
                (Ok(false), None) => return Compacted::Nothing,
            }
        };
        match self.compact_segment(segment, pace).await {
            Ok(copied) => {
                let mut log = self.log.borrow_mut();
                log.stats.compacted_segments += 1;
                log.stats.compacted_bytes += copied;
                // What writes as much as it frees could go on for ever.
                let (written, freed) = (log.stats.written_bytes - began, self.facts.segment_bytes);
                if written * 100 > freed * (100 - GAIN_PERCENT_MIN) {
                    self.rests_until.set(log.stats.written_bytes + freed / 2);
                }
                Compacted::Segment { segment, copied }
            }
            Err(why) => {
                if !why.passes() {
                    self.stuck.borrow_mut().insert(segment, why.clone());
                }
                Compacted::Stuck(segment, why)
            }
        }
    }

    /// The segment that is worth most. Where space is short and only segments without two checkpoints behind them are worth it,
    /// those are taken now: nothing else may come, for which one would be taken.
    fn chosen(&self, eager: bool) -> Option<u32> {
        let index = self.index.borrow();
        let log = self.log.borrow();
        let stuck = self.stuck.borrow();
        if log.failed || log.closing || !log.whole || index.uncounted {
            return None;
        }
        let free = self.disk.free_bytes().unwrap_or(u64::MAX);
        let enough = self.settings.free_bytes_min + SHORT_SEGMENTS * self.facts.segment_bytes;
        let short = log.no_room || free < enough;
        let sealed = log.files.keys().copied().filter(|n| *n < log.active);
        let may = |n: &u32| {
            !stuck.contains_key(n)
                // An opening reads the log from a checkpoint on: there nothing may be missing.
                && log.is_checkpointed(*n)
                && self.pins.held(*n) == 0
                && !index.damaged.iter().any(|(segment, ..)| segment == n)
                && !index.gaps.iter().any(|gap| gap.place.segment == *n)
        };
        let candidate = |segment: u32| {
            let live = index.segments.get(&segment).map_or(0, Segment::weight);
            Candidate { segment, live }
        };
        let candidates: Vec<Candidate> = sealed.filter(may).map(candidate).collect();
        let young: Vec<Candidate> = log
            .files
            .range(..log.active)
            .filter(|(n, _)| !log.is_checkpointed(**n))
            .map(|(n, _)| candidate(*n))
            .collect();
        let segment_bytes = self.facts.segment_bytes;
        let young_bytes = young.len() as u64 * segment_bytes;
        let ground = Ground { segment_bytes, active: log.active, young_bytes, short, eager };
        let chosen = plan::choose(&candidates, ground);
        let may_come = short && chosen.is_none() && plan::choose(&young, Ground { young_bytes: 0, ..ground }).is_some();
        drop((index, log, stuck));
        if may_come {
            self.log.borrow_mut().clock.hurry = BEHIND;
            self.keep_bell.ring();
        }
        chosen
    }

    async fn compact_segment<P: Pace>(&self, number: u32, pace: &P) -> Result<u64, Stuck> {
        let source = self.source(number).ok_or(Stuck::Damaged)?;
        let survey = self.survey(&source).await?;
        pace.rest(self.facts.segment_bytes / 16).await;
        self.fold_all(&source, &survey, pace).await?;
        let mut copied = 0;
        let mut at = segment::HEADER_BYTES as u64;
        let mut leaving = Leaving::default();
        while let Some(batch) = source.batch(at).await? {
            at += batch.header.total_bytes;
            copied += self.move_batch(&source, batch, &mut leaving, pace).await?;
        }
        copied += self.step(number, &mut leaving, pace).await?;
        self.carry(number, &survey).await?;
        self.retire(&source).await?;
        Ok(copied)
    }

    /// Nobody reads the segment's records any more.
    async fn fold_all<P: Pace>(&self, source: &Source<D>, survey: &Survey, pace: &P) -> Result<(), Stuck> {
        for account in &survey.accounts {
            let mut wanted = self.needs(*account, source, survey.blobs.contains(account));
            while let Some(rewrite) = wanted {
                match self.fold(*account, rewrite).await {
                    Ok(done) => {
                        pace.rest(4 << 10).await;
                        let now = self.needs(*account, source, false);
                        wanted = match done {
                            true => now.filter(|now| *now == rewrite && rewrite != Rewrite::Nothing),
                            // It has changed meanwhile (its put lies elsewhere, say), and needs something else.
                            false => now.filter(|now| *now != rewrite),
                        };
                    }
                    Err(FoldError::Refused(Refused::Busy)) => self.settled().await,
                    Err(FoldError::Refused(why @ (Refused::DiskFull | Refused::Failed))) => {
                        return Err(Stuck::Refused(why));
                    }
                    Err(FoldError::Lost(lost)) => return Err(Stuck::Lost(lost)),
                    Err(FoldError::Refused(_) | FoldError::Read(_)) => return Err(Stuck::Fold),
                }
            }
        }
        Ok(())
    }

    /// How an account that has records in a segment is to be folded; `None`: it need not be. `blobs`: a run of its lies there
    /// that is used.
    fn needs(&self, account: AccountId, source: &Source<D>, blobs: bool) -> Option<Rewrite> {
        let number = source.number;
        let index = self.index.borrow();
        let entry = index.entries.get(account)?;
        let here = |place: Place| place.segment == number;
        let behind = entry.unfolded > 0;
        if here(entry.put) || here(entry.root) || blobs {
            return Some(Rewrite::In(number));
        }
        if behind && (entry.root.segment <= number || entry.chain().newest_first().any(here)) {
            return Some(Rewrite::In(number));
        }
        // Its root may have been decided while a record in here was on its way, but not when more batches lie between them
        // than can wait at once.
        let waiting_max =
            2 * self.settings.gather_bytes_max / self.settings.batch_bytes_max.min(self.facts.segment_bytes).max(1) + 4;
        let root_lsn = self.log.borrow().uses.get(&entry.root.segment).and_then(|used| used.first_lsn).unwrap_or(0);
        let long_before = root_lsn > source.below_lsn + waiting_max;
        (behind && !long_before).then_some(Rewrite::Nothing)
    }

    /// Moves what lives in one batch, or leaves it to be moved together with what lives in the next.
    async fn move_batch<P: Pace>(
        &self,
        source: &Source<D>,
        batch: Batch,
        leaving: &mut Leaving,
        pace: &P,
    ) -> Result<u64, Stuck> {
        let number = source.number;
        let segment_bytes = self.facts.segment_bytes;
        let place = |at: usize| Place { segment: number, at: (directory_at(&batch) + at as u64) as u32 };
        let mut copied = 0;
        // Messages by their body, so that both come to lie together.
        let mut by_body: HashMap<Place, Vec<(u32, Vec<u8>)>> = HashMap::new();
        let mut lists = Vec::new();
        for entry in directory::entries(&batch.directory) {
            let entry = entry.expect("checked when it was read");
            match entry.record {
                Some(Record::Message(m) | Record::Moved(m))
                    if !m.prefix.is_empty() && holds_prefix(entry.frame.kind) =>
                {
                    let at = place(entry.at);
                    if self.resolve(at) == at {
                        by_body.entry(m.body).or_default().push((at.at, entry.frame.payload.to_vec()));
                    }
                }
                Some(Record::Large(list) | Record::MovedLarge(list)) if self.is_live(place(entry.at)) => {
                    lists.push((place(entry.at).at, list.pieces().collect::<Vec<_>>()));
                }
                _ => {}
            }
        }
        for entry in directory::entries(&batch.directory) {
            let entry = entry.expect("checked when it was read");
            let Some(Record::Body(body)) = entry.record else { continue };
            let at = Place { segment: number, at: body.offset as u32 };
            if !self.is_live(at) {
                continue;
            }
            let slot =
                u16::from_le_bytes([batch.directory[entry.at + SLOT_AT], batch.directory[entry.at + SLOT_AT + 1]]);
            leaving.moves.body(at.at, self.verified(source, &body).await?, slot);
            for (record, payload) in by_body.remove(&at).unwrap_or_default() {
                leaving.moves.message(record, payload, Body::Moves(at.at));
            }
            if leaving.moves.is_full(segment_bytes) {
                copied += self.step(number, leaving, pace).await?;
            }
        }
        // What is left has its body in another batch, or had it moved before.
        by_body.retain(|body, _| self.is_live(self.resolve(*body)));
        if !lists.is_empty() || !by_body.is_empty() {
            copied += self.step(number, leaving, pace).await?;
        }
        // The pieces are durable where they are now, so lists can name them.
        for (at, mut pieces) in lists {
            pieces.iter_mut().for_each(|piece| piece.place = self.resolve(piece.place));
            leaving.moves.list(at, pieces);
            if leaving.moves.is_full(segment_bytes) {
                self.step(number, leaving, pace).await?;
            }
        }
        if !by_body.is_empty() {
            self.step(number, leaving, pace).await?;
        }
        for (body, messages) in by_body {
            let body = self.resolve(body);
            for (record, payload) in messages.into_iter().filter(|_| self.is_live(body)) {
                leaving.moves.message(record, payload, Body::At(body));
                if leaving.moves.is_full(segment_bytes) {
                    self.step(number, leaving, pace).await?;
                }
            }
        }
        leaving.directory_bytes += batch.directory.len();
        leaving.batches.push(batch);
        if leaving.moves.is_empty() || leaving.directory_bytes > DIRECTORY_BYTES_MAX {
            copied += self.step(number, leaving, pace).await?;
        }
        Ok(copied)
    }

    /// True if nothing in the batch has users any more.
    fn is_left(&self, batch: &Batch, number: u32) -> bool {
        let bases = directory_at(batch);
        directory::entries(&batch.directory).all(|entry| {
            let entry = entry.expect("checked when it was read");
            let at = match entry.record {
                Some(Record::Body(body)) => body.offset,
                Some(Record::Large(_) | Record::MovedLarge(_)) => bases + entry.at as u64,
                _ => return true,
            };
            !self.is_live(Place { segment: number, at: at as u32 })
        })
    }

    /// Moves what is to move, and looks whether the batches that were gone through are left then.
    async fn step<P: Pace>(&self, number: u32, leaving: &mut Leaving, pace: &P) -> Result<u64, Stuck> {
        let mut copied = 0;
        if !leaving.moves.is_empty() {
            copied = self.move_out(number, &leaving.moves, false).await?;
            leaving.moves = Moves::default();
            pace.rest(2 * copied).await;
        }
        leaving.directory_bytes = 0;
        let left = leaving.batches.drain(..).all(|batch| self.is_left(&batch, number));
        left.then_some(copied).ok_or(Stuck::InUse)
    }

    async fn verified(&self, source: &Source<D>, body: &BodyRecord) -> Result<Vec<u8>, Stuck> {
        let len = usize::try_from(body.len).map_err(|_| Stuck::Damaged)?;
        let octets = source.octets(body.offset, len).await?;
        if record::check(&[&octets]) == body.check { Ok(octets) } else { Err(Stuck::Damaged) }
    }

    /// True if a body has users.
    pub(super) fn is_live(&self, place: Place) -> bool {
        self.index.borrow().segments.get(&place.segment).is_some_and(|segment| segment.users(place.at) > 0)
    }

    /// Writes records of the volume itself; resolves when they are durable. `fill` may be asked again, and says whether it
    /// added any.
    pub(super) async fn write(
        &self,
        bound: Bound,
        mut fill: impl FnMut(&Index, &mut Gather) -> bool,
    ) -> Result<(), Stuck> {
        loop {
            match self.join(bound, |index, _, gather| fill(index, gather).then_some(())) {
                Ok(Some(((), ticket))) => return ticket.await.map_err(Stuck::Lost),
                Ok(None) => return Ok(()),
                Err(Refused::Busy) => self.settled().await,
                Err(why) => return Err(Stuck::Refused(why)),
            }
        }
    }

    /// The segment is gone, and its file may be used again.
    async fn retire(&self, source: &Source<D>) -> Result<(), Stuck> {
        let number = source.number;
        {
            let index = self.index.borrow();
            let segment = index.segments.get(&number);
            let used = segment.is_some_and(|s| s.live > 0 || s.blobs > 0);
            // A checkpoint may have come that goes on at its end.
            if !self.log.borrow().is_checkpointed(number) {
                return Err(Stuck::InUse);
            }
            if used || index.debts.iter().any(|list| list.segment == number) || self.pins.held(number) > 0 {
                return Err(Stuck::InUse);
            }
        }
        let runs = {
            let (index, log) = (self.index.borrow(), self.log.borrow());
            gone_with(&log, &index, number, source.first_lsn)
        };
        self.retiring.set(number);
        let _retiring = Retiring(&self.retiring);
        let head = self.log.borrow().head.0;
        let bound = Bound { bytes: FRAME_BYTES_MAX + Retired::bytes(runs.len()), parts: 0, appends: false };
        self.write(bound, |_, gather| {
            gather.push(kind::RETIRED, |out| Retired::encode(out, head, &runs));
            true
        })
        .await?;
        // Who reads there has begun before everything was moved; a backup may have begun just now.
        let free = || self.reading.held(number) == 0 && self.pins.held(number) == 0;
        self.settled_bell.until(|| free() || self.log.borrow().failed).await;
        if self.log.borrow().failed {
            return Err(Stuck::Refused(Refused::Failed));
        }
        self.log.borrow_mut().retire(number);
        self.keep_bell.ring();
        Ok(())
    }
}

/// What is on its way out of a segment. What lives in one batch is little after some moves, so that of several goes together:
/// a batch has a header, a footer and padding.
#[derive(Default)]
struct Leaving {
    moves: Moves,
    /// Gone through, and left by all when `moves` are durable.
    batches: Vec<Batch>,
    directory_bytes: usize,
}

/// A segment that is about to go.
struct Retiring<'a>(&'a std::cell::Cell<u32>);

impl Drop for Retiring<'_> {
    fn drop(&mut self) {
        self.0.set(0);
    }
}

/// Compaction that is under way. There is one.
struct One<'a>(&'a std::cell::Cell<bool>);

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
