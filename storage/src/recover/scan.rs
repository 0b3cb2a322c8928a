//! Walking the log: which batches count, which octets are torn, which are damaged.
//!
//! Let D be the highest LSN that anything on disk calls durable: the superblock, the header of a later segment,
//! a later batch. At a spot that does not verify and where LSN e is expected:
//!
//! | e ≤ D | acknowledged data is damaged: quarantined and reported; the walk goes on behind it |
//! | e > D | nobody was told yes: the tail is torn and is discarded |
//!
//! D is learned while walking, so before a spot is called torn the rest of the segment is searched for a batch
//! that knows better. Batches past D wait until their bodies were verified.
//!
//! A recycled file is full of what it held before. A batch there is ours only when it names this segment; what follows
//! our last batch says nothing, so the tail is torn only where a header of ours stands (FORMAT.md, "A recycled file").

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::create::FIRST_SEGMENT;
use super::frames::{Batch, Frames, Spot, io_error};
use crate::batch::{FOOTER_BYTES, directory};
use crate::bugs::{self, Bug};
use crate::checkpoint::Start;
use crate::commit::Use;
use crate::compact::Window;
use crate::disk::File;
use crate::index::Index;
use crate::record::Record;
use crate::segment::{self, BLOCK_BYTES, FIRST_INCARNATION, SegmentHeader};
use crate::superblock::Superblock;
use crate::types::Lsn;
use crate::volume::{OpenError, Recovered};

/// What the log adds up to.
pub struct Scan {
    pub index: Index,
    pub recovered: Recovered,
    /// Called durable by something on disk.
    pub durable: Lsn,
    /// What the next batch will be.
    pub next_lsn: Lsn,
    pub prev: u128,
    pub epoch: u64,
    /// What is known of each file.
    pub uses: BTreeMap<u32, Use>,
    /// The last segment that was begun, and where its batches end.
    pub segment: u32,
    pub offset: u64,
    /// Something was discarded: what follows is of a new epoch. Octets up to here may hold it.
    pub torn_to: Option<u64>,
    /// Damage lies where the log should go on: it goes on in a new segment.
    pub ends_in_damage: bool,
    /// First and last LSN of batches that are missing, rising.
    pub lost: Vec<(Lsn, Lsn)>,
    /// Some of the log is gone: users of bodies are to be counted anew.
    pub partial: bool,
    /// Octets of the last segment up to here may hold what was discarded before.
    pub stale_to: u64,
    /// Accepted and vouched for by nobody: offset and octets, in that segment.
    pub unvouched: Vec<(u64, u64)>,
}

/// A segment before its batches are read.
struct Begun {
    header: Option<SegmentHeader>,
    /// The header of the segment that the file held before: this one's was not written yet, or is lost.
    earlier: Option<SegmentHeader>,
    block: Vec<u8>,
    /// LSN of its first batch: from the header or, where that is damaged, from the first batch that is found.
    first_lsn: Option<Lsn>,
    /// The batch that was found is where the first one belongs.
    first_is_whole: bool,
}

/// Reads the log into an index. `start`: what a checkpoint has of it, and where to go on.
pub async fn scan<F: File>(
    superblock: &Superblock,
    files: &BTreeMap<u32, F>,
    start: Option<Start>,
) -> Result<Scan, OpenError> {
    let (index, start, known) = match start {
        Some(Start { index, position, uses }) => (index, Some(position), uses),
        None => (Index { seed: superblock.seed, ..Index::default() }, None, BTreeMap::new()),
    };
    let head = start.map_or(superblock.head_segment, |position| position.segment);
    let mut segments = BTreeMap::new();
    let mut last = superblock.tail_segment;
    let mut durable = superblock.durable_lsn;
    for (&number, file) in files.range(head..) {
        let mut begun = begun(superblock, number, file).await?;
        if let Some(header) = &begun.header {
            last = last.max(number);
            durable = durable.max(header.first_lsn - 1).max(header.durable_lsn);
        } else if number > superblock.tail_segment
            && begun.earlier.is_some()
            && starts_earlier(superblock, number, file).await?
        {
            // Recycled and not begun: header and first batch are those of before. The first batch of a segment is
            // written after its header is durable.
        } else if begun.block.iter().any(|&b| b != 0) || !blank_start(file, superblock).await? {
            let frames = frames(superblock, number, file, None);
            if let Some(batch) = frames.search(segment::HEADER_BYTES as u64, 0, 1).await? {
                last = last.max(number);
                durable = durable.max(batch.header.durable_lsn);
                begun.first_lsn = Some(batch.header.lsn);
                begun.first_is_whole = batch.header.offset == segment::HEADER_BYTES as u64;
            }
        }
        segments.insert(number, begun);
    }
    let mut uses = uses(&segments);
    for number in files.range(..head).map(|(number, _)| number) {
        let incarnation = index.segments.get(number).map_or(FIRST_INCARNATION, |segment| segment.incarnation);
        uses.insert(*number, known.get(number).copied().unwrap_or(Use { incarnation, first_lsn: None }));
    }
    let before = start.map_or(superblock.head_lsn - 1, |position| position.lsn);
    let mut walk = Walk {
        scan: Scan {
            uses,
            recovered: Recovered { damaged: index.damaged.clone(), ..Recovered::default() },
            lost: index.missing.clone(),
            index,
            durable,
            next_lsn: before + 1,
            prev: 0,
            epoch: start.map_or(1, |p| p.epoch),
            segment: last,
            offset: segment::HEADER_BYTES as u64,
            torn_to: None,
            ends_in_damage: false,
            partial: false,
            stale_to: 0,
            unvouched: Vec::new(),
        },
        applied: before,
        chain: match start {
            Some(position) => Some(position.prev),
            None => (superblock.head_lsn == 1).then_some(0),
        },
        pending: VecDeque::new(),
        holes: Vec::new(),
        end_in_doubt: None,
    };
    walk.scan.index.holes = start.is_none() && superblock.head_segment > FIRST_SEGMENT;
    let mut next = head;
    while next <= last {
        let number = next;
        next += 1;
        let begin = start.filter(|position| position.segment == number);
        let next_first = segments.get(&(number + 1)).filter(|_| number < last).and_then(|s| s.first_lsn);
        let (Some(begun), Some(file)) = (segments.get(&number), files.get(&number)) else {
            // All of them at once: a superblock may say that there were millions.
            next = segments.range(number..).next().map_or(last + 1, |(there, _)| (*there).min(last + 1));
            walk.hole(number, next - 1);
            walk.scan.ends_in_damage = next > last;
            walk.chain = None;
            continue;
        };
        // A header that is damaged does not say: any incarnation will do.
        let incarnation = begun.header.as_ref().map(|h| h.incarnation);
        match &begun.header {
            Some(_) if begin.is_some() => {}
            Some(header) => {
                walk.scan.next_lsn = walk.scan.next_lsn.max(header.first_lsn);
                walk.scan.epoch = walk.scan.epoch.max(header.epoch);
                walk.chain = Some(header.prev);
            }
            None => {
                walk.found_damage((number, 0, segment::HEADER_BYTES as u64));
                // What is missing behind the batches so far lay in the segment before, and costs none of this one.
                let first = begun.first_lsn.filter(|first| begun.first_is_whole && *first > walk.scan.next_lsn);
                if let Some(first) = first {
                    walk.scan.next_lsn = first;
                    walk.chain = None;
                }
            }
        }
        let (from, stale_to) = begin.map_or((segment::HEADER_BYTES as u64, 0), |p| (p.offset, p.stale_to));
        let file = Window::new(file.clone());
        walk.segment(&frames(superblock, number, &file, incarnation), (from, stale_to), next_first, number == last)
            .await?;
    }
    walk.missing_before(walk.scan.next_lsn);
    walk.judge_holes(superblock.segment_bytes);
    walk.tell_missing(files, superblock.segment_bytes);
    let Walk { mut scan, chain, .. } = walk;
    scan.recovered.lost_batches = scan.lost.iter().map(|(first, last)| last - first + 1).sum();
    scan.prev = chain.unwrap_or(0);
    scan.epoch = scan.epoch.max(superblock.epoch);
    scan.recovered.durable = scan.next_lsn - 1;
    scan.index.damaged = scan.recovered.damaged.clone();
    scan.index.missing = scan.lost.clone();
    scan.index.last_uidvalidity = scan.index.last_uidvalidity.max(superblock.last_uidvalidity);
    scan.index.last_account = scan.index.last_account.max(superblock.last_account);
    Ok(scan)
}

fn frames<'a, F>(superblock: &Superblock, segment: u32, file: &'a F, incarnation: Option<u32>) -> Frames<'a, F> {
    Frames { file, segment, incarnation, segment_bytes: superblock.segment_bytes, seed: superblock.seed }
}

/// Reads a segment's header block. A good one that belongs to another volume stops everything.
async fn begun<F: File>(superblock: &Superblock, number: u32, file: &F) -> Result<Begun, OpenError> {
    let doing = || format!("reading {}", segment::name(number));
    if file.len() != superblock.segment_bytes {
        let why = format!("it has {} octets where {} belong", file.len(), superblock.segment_bytes);
        return Err(io_error(&doing(), std::io::Error::new(std::io::ErrorKind::InvalidData, why)));
    }
    let block = file.read_at(0, segment::HEADER_BYTES).await.map_err(|why| io_error(&doing(), why))?;
    let found = SegmentHeader::decode(&block);
    if let Some(h) = &found
        && (h.store != superblock.store || h.volume != superblock.volume)
    {
        return Err(OpenError::Other {
            found_store: h.store,
            found_volume: h.volume,
            want_store: superblock.store,
            want_volume: superblock.volume,
        });
    }
    let found = found.filter(|h| h.segment_bytes == superblock.segment_bytes);
    let header = found.clone().filter(|h| h.segment == number);
    let earlier = found.filter(|h| h.segment < number);
    Ok(Begun { first_lsn: header.as_ref().map(|h| h.first_lsn), first_is_whole: false, header, earlier, block })
}

/// How each file is used. Where it cannot be read how often it has been: once more than any other.
fn uses(segments: &BTreeMap<u32, Begun>) -> BTreeMap<u32, Use> {
    let read = |begun: &Begun| {
        let earlier = begun.earlier.as_ref().map(|h| h.incarnation.saturating_add(1));
        let blank = begun.block.iter().all(|&b| b == 0).then_some(FIRST_INCARNATION);
        begun.header.as_ref().map(|h| h.incarnation).or(earlier).or(blank)
    };
    let most = segments.values().filter_map(read).max().unwrap_or(0);
    let used =
        |begun: &Begun| Use { incarnation: read(begun).unwrap_or(most.saturating_add(1)), first_lsn: begun.first_lsn };
    segments.iter().map(|(number, begun)| (*number, used(begun))).collect()
}

/// How often the file of a segment that counts no more has been used.
pub async fn incarnation_of<F: File>(superblock: &Superblock, number: u32, file: &F) -> Result<u32, OpenError> {
    let begun = begun(superblock, number, file).await?;
    Ok(begun.header.or(begun.earlier).map_or(FIRST_INCARNATION, |h| h.incarnation))
}

/// True when what stands where the first batch belongs is of an earlier segment.
async fn starts_earlier<F: File>(superblock: &Superblock, number: u32, file: &F) -> Result<bool, OpenError> {
    frames(superblock, number, file, None).is_earlier(segment::HEADER_BYTES as u64).await
}

async fn blank_start<F: File>(file: &F, superblock: &Superblock) -> Result<bool, OpenError> {
    let at = segment::HEADER_BYTES as u64;
    let len = (superblock.segment_bytes - at).min(BLOCK_BYTES) as usize;
    let bytes = file.read_at(at, len).await.map_err(|why| io_error("reading a segment", why))?;
    Ok(bytes.iter().all(|&b| b == 0))
}

struct Walk {
    scan: Scan,
    /// LSN of the last batch that was applied.
    applied: Lsn,
    /// Checksum of the batch before; `None`: unknown, because that one is damaged.
    chain: Option<u128>,
    /// Read, and past what is known to be durable.
    pending: VecDeque<Batch>,
    /// Segments that are not there.
    holes: Vec<Hole>,
    /// Behind the batches of the segment just read, where the next one is not there.
    end_in_doubt: Option<(u32, u64, u64)>,
}

/// Segments that are not there, one after the other: lost, or gone for good.
struct Hole {
    first: u32,
    last: u32,
    /// Batches that are missing with them.
    lost: Option<(Lsn, Lsn)>,
    /// What lies behind the batches of the segment before.
    before: Option<(u32, u64, u64)>,
}

impl Walk {
    async fn segment<F: File>(
        &mut self,
        frames: &Frames<'_, F>,
        (mut at, mut stale_to): (u64, u64),
        next_first: Option<Lsn>,
        last: bool,
    ) -> Result<(), OpenError> {
        let mut torn = false;
        self.end_in_doubt = None;
        loop {
            let expected = self.scan.next_lsn;
            if next_first.is_some_and(|first| expected >= first) {
                break;
            }
            match frames.spot(at).await? {
                Spot::Batch(batch) if self.follows(&batch) => {
                    self.knows(batch.header.durable_lsn);
                    let end = at + batch.header.total_bytes;
                    if !batch.footer_fits {
                        self.ask(frames, end, expected + 1).await?;
                        if expected > self.scan.durable || bugs::on(Bug::TruncateAtDamage) {
                            torn = true;
                            break;
                        }
                        // No more than the footer: records of a small batch may lie in the same block, and they count.
                        self.damaged(frames, end - FOOTER_BYTES as u64, end);
                    }
                    stale_to = stale_to.max(discarded_to(&batch));
                    self.take(*batch);
                    at = end;
                }
                Spot::HeaderOnly(header) if header.lsn == expected && header.epoch >= self.scan.epoch => {
                    self.knows(header.durable_lsn);
                    let end = at + header.total_bytes;
                    self.ask(frames, end, expected + 1).await?;
                    if expected > self.scan.durable || bugs::on(Bug::TruncateAtDamage) {
                        torn = true;
                        break;
                    }
                    self.damaged(frames, at, end);
                    self.chain = Some(header.check(frames.seed));
                    self.scan.next_lsn += 1;
                    at = end;
                }
                spot => {
                    let next = self.ask(frames, at + BLOCK_BYTES, expected).await?;
                    if expected > self.scan.durable || bugs::on(Bug::TruncateAtDamage) {
                        // In a recycled file only headers tell: any of this epoch must be shut out.
                        torn = next.is_some() || spot.epoch().is_some_and(|epoch| epoch >= self.scan.epoch);
                        break;
                    }
                    let Some(next) = next else {
                        // Where the next segment is missing, that is where the batches were, or the first of them.
                        if last || next_first.is_some() {
                            self.tail_damaged(frames, at, last).await?;
                        } else {
                            let end = frames.last_written(at).await?.max(at + BLOCK_BYTES).min(frames.segment_bytes);
                            self.end_in_doubt = Some((frames.segment, at, end - at));
                        }
                        return Ok(());
                    };
                    self.damaged(frames, at, next.0);
                    at = next.0;
                    self.scan.next_lsn = next.1;
                    self.chain = None;
                }
            }
            self.settle();
        }
        if !last {
            return Ok(());
        }
        self.end(frames, at, stale_to, torn).await
    }

    fn follows(&self, batch: &Batch) -> bool {
        let header = &batch.header;
        header.lsn == self.scan.next_lsn
            && header.epoch >= self.scan.epoch
            && self.chain.is_none_or(|prev| prev == header.prev)
    }

    fn knows(&mut self, durable: Lsn) {
        self.scan.durable = self.scan.durable.max(durable);
    }

    /// Asks the rest of the segment what it knows; returns position and LSN of the first batch there.
    async fn ask<F: File>(
        &mut self,
        frames: &Frames<'_, F>,
        from: u64,
        lsn: Lsn,
    ) -> Result<Option<(u64, Lsn)>, OpenError> {
        let Some(batch) = frames.search(from, self.scan.epoch, lsn).await? else { return Ok(None) };
        self.knows(batch.header.durable_lsn);
        Ok(Some((batch.header.offset, batch.header.lsn)))
    }

    fn damaged<F>(&mut self, frames: &Frames<'_, F>, from: u64, to: u64) {
        self.found_damage((frames.segment, from, to - from));
    }

    /// Segments that a checkpoint knows, and that are not there: what lives in them is damaged.
    fn tell_missing<F>(&mut self, files: &BTreeMap<u32, F>, segment_bytes: u64) {
        let index = &self.scan.index;
        let lives = |number: &u32| index.segments[number].live > 0 || index.segments[number].blobs > 0;
        let is_missing = |number: &u32| !files.contains_key(number) && !index.is_retired(*number);
        let region = |number: &u32| (*number, 0, segment_bytes);
        let told = |n: &u32| self.scan.recovered.damaged.iter().any(|known| covers(known, &region(n), segment_bytes));
        let missing = index.segments.keys().copied().filter(|n| is_missing(n) && lives(n) && !told(n));
        let missing: Vec<u32> = missing.collect();
        missing.into_iter().for_each(|number| self.found_damage((number, 0, segment_bytes)));
    }

    /// A checkpoint may have known of it.
    fn found_damage(&mut self, region: (u32, u64, u64)) {
        let damaged = &mut self.scan.recovered.damaged;
        if !damaged.contains(&region) {
            damaged.push(region);
        }
    }

    /// Acknowledged batches are missing and nothing follows them in this segment.
    async fn tail_damaged<F: File>(&mut self, frames: &Frames<'_, F>, at: u64, last: bool) -> Result<(), OpenError> {
        let end = frames.last_written(at).await?.max(at + BLOCK_BYTES).min(frames.segment_bytes);
        self.damaged(frames, at, end);
        self.chain = None;
        if last {
            self.settle();
            self.scan.ends_in_damage = true;
            self.scan.offset = end;
            self.scan.next_lsn = self.scan.durable + 1;
        }
        Ok(())
    }

    fn take(&mut self, batch: Batch) {
        self.scan.epoch = batch.header.epoch;
        self.scan.next_lsn = batch.header.lsn + 1;
        self.chain = Some(batch.check);
        self.pending.push_back(batch);
    }

    /// Applies what is now known to be durable.
    fn settle(&mut self) {
        while self.pending.front().is_some_and(|b| b.header.lsn <= self.scan.durable) {
            let batch = self.pending.pop_front().expect("looked at");
            self.apply(&batch);
        }
    }

    /// Segments are not there.
    fn hole(&mut self, first: u32, last: u32) {
        self.scan.index.holes = true;
        self.holes.push(Hole { first, last, lost: None, before: self.end_in_doubt.take() });
    }

    /// Which of the segments that are not there are no loss: the log says it, behind them.
    fn judge_holes(&mut self, segment_bytes: u64) {
        let mut lost = false;
        for hole in std::mem::take(&mut self.holes) {
            let missing = self.scan.index.not_retired(hole.first, hole.last);
            if !missing.is_empty() {
                for (first, last) in missing {
                    self.found_damage((first, 0, u64::from(last - first + 1) * segment_bytes));
                }
                lost = true;
                continue;
            }
            let Some(range) = hole.lost else { continue };
            self.scan.lost.retain(|lost| *lost != range);
            // Where the end of the segment before is lost too.
            let first_lsn = self.scan.index.first_lsn_of_retired(hole.first);
            if let Some(first_lsn) = first_lsn.filter(|first_lsn| *first_lsn > range.0) {
                self.scan.lost.push((range.0, first_lsn - 1));
                hole.before.into_iter().for_each(|region| self.found_damage(region));
            }
        }
        self.scan.lost.sort_unstable();
        self.scan.recovered.damaged.sort_unstable();
        let index = &mut self.scan.index;
        let strays = std::mem::take(&mut index.strays);
        index.passed = HashMap::new();
        if lost {
            index.orphans += strays;
        }
        self.scan.partial = std::mem::take(&mut index.holes);
    }

    /// Batches are applied in LSN order, so what was passed over is lost.
    fn missing_before(&mut self, lsn: Lsn) {
        if lsn > self.applied + 1 {
            self.scan.lost.push((self.applied + 1, lsn - 1));
            if let Some(hole) = self.holes.last_mut().filter(|hole| hole.lost.is_none()) {
                hole.lost = Some((self.applied + 1, lsn - 1));
            }
        }
        self.applied = lsn;
    }

    fn apply(&mut self, batch: &Batch) {
        self.missing_before(batch.header.lsn);
        self.scan.recovered.batches += 1;
        self.scan.recovered.bytes += batch.header.total_bytes;
        self.scan.index.apply(&batch.header, &batch.directory);
    }

    /// The end of the log: what nobody vouches for counts if it is whole, and nothing after the first that is not.
    async fn end<F: File>(
        &mut self,
        frames: &Frames<'_, F>,
        at: u64,
        stale_to: u64,
        torn: bool,
    ) -> Result<(), OpenError> {
        let (mut at, mut torn) = (at, torn);
        while let Some(batch) = self.pending.pop_front() {
            if frames.bodies_fit(&batch).await? {
                self.scan.unvouched.push((batch.header.offset, batch.header.total_bytes));
                self.apply(&batch);
                continue;
            }
            at = batch.header.offset;
            torn = true;
            self.scan.next_lsn = batch.header.lsn;
            self.chain = Some(batch.header.prev);
            self.pending.clear();
        }
        let written = frames.last_written(at).await?;
        let recycled = frames.incarnation.is_some_and(|i| i > FIRST_INCARNATION);
        if torn || (!recycled && written > stale_to.max(at)) {
            self.scan.torn_to = Some(written);
            self.scan.recovered.torn_bytes = written - at;
        }
        self.scan.offset = at;
        self.scan.stale_to = stale_to;
        Ok(())
    }
}

/// True if a region of damage has all of another one in it. One that is longer than a segment is of segments that follow.
fn covers(known: &(u32, u64, u64), other: &(u32, u64, u64), segment_bytes: u64) -> bool {
    let range = |(segment, from, len): &(u32, u64, u64)| {
        let at = (u64::from(*segment) * segment_bytes).saturating_add(*from);
        (at, at.saturating_add(*len))
    };
    let (known, other) = (range(known), range(other));
    known.0 <= other.0 && other.1 <= known.1
}

fn discarded_to(batch: &Batch) -> u64 {
    let records = directory::entries(&batch.directory).filter_map(|e| e.ok()?.record);
    records.filter_map(|r| if let Record::Truncate(t) = r { Some(t.discarded_to) } else { None }).max().unwrap_or(0)
}
