//! The state of the log: where it ends, what waits to be written, which segments are there.
//!
//! A gathering batch has its LSN, segment and offset from the moment it is opened, because batches are
//! committed in the order they were opened and each is closed before the next is. When the disk has no room for
//! the segment some of them are meant for, all of them are given up together and the log is level with the disk
//! again: nothing of them was written.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::{Fate, Reserve};
use crate::batch::{Gather, Header, Sealed, overhead_bytes};
use crate::bugs::{self, Bug};
use crate::checkpoint::Clock;
use crate::disk::PARTS_MAX;
use crate::segment::{self, SegmentHeader};
use crate::superblock::{Address, Superblock};
use crate::transaction::Refused;
use crate::types::Lsn;
use crate::volume::{Settings, VolumeStats};

/// Parts of the segment that stay free for changes other than appends when there is no room for another segment.
const LAST_ROOM_PARTS: u64 = 8;

/// Retired files that are kept to be used again. The space of more goes back to the file system.
pub const RETIRED_MAX: usize = 4;

/// A file in use as a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// How often it has been used, this time included.
    pub incarnation: u32,
    /// LSN of the segment's first batch; `None`: not begun, or not known.
    pub first_lsn: Option<Lsn>,
}

/// The file of a segment that counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    pub segment: u32,
    pub incarnation: u32,
}

impl Retired {
    /// With its name, as what a segment is made of.
    pub fn spare(self) -> Spare {
        Spare { name: segment::name(self.segment), incarnation: self.incarnation.saturating_add(1) }
    }
}

/// A file that can become a segment, and the incarnation it would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spare {
    pub name: String,
    pub incarnation: u32,
}

/// Where the next batch will begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub segment: u32,
    pub offset: u64,
}

/// Everything between `decide` and the disk.
pub struct Log<F> {
    pub superblock: Superblock,
    /// All segments there are, the prepared one included.
    pub files: BTreeMap<u32, F>,
    /// What is known of each of them.
    pub uses: BTreeMap<u32, Use>,
    /// Files whose segments count no more, oldest first: used again before new ones are made. More than
    /// [`RETIRED_MAX`] are removed.
    pub retired: VecDeque<Retired>,
    /// The first segment that counts and its first LSN, as the next superblock will say.
    pub head: (u32, Lsn),
    /// The segment batches go to. Its header is on disk.
    pub active: u32,
    /// End of what was sealed.
    pub cursor: Cursor,
    /// End of what is durable.
    pub durable_end: Cursor,
    pub queue: VecDeque<Gather>,
    pub next_lsn: Lsn,
    pub durable: Lsn,
    /// Highest LSN that something on disk calls durable.
    pub vouched: Lsn,
    pub prev: u128,
    pub epoch: u64,
    /// Octets decided and not durable.
    pub waiting_bytes: u64,
    pub failed: bool,
    pub closing: bool,
    pub closed: bool,
    pub running: bool,
    /// The next segment could not be made, for want of room or of something else that passes.
    pub no_room: bool,
    /// The last answer to how much is free, and when (wall clock, milliseconds).
    pub free: Option<(i64, u64)>,
    pub reserve: Reserve,
    pub superblock_due: bool,
    /// Octets of the active segment up to here may hold what was discarded.
    pub stale_to: u64,
    /// Where the newest checkpoint is and the one before it, as the next superblock will say.
    pub checkpoints: [Address; 2],
    /// The segments that they go on in: those and all later ones are read by an opening.
    pub checkpointed: [Option<u32>; 2],
    pub clock: Clock,
    /// The newest checkpoint's batch; 0: there is none.
    pub checkpoint_lsn: Lsn,
    /// When that was taken, seconds ago; `None`: before the opening.
    pub checkpoint_age_s: Option<u64>,
    /// Damage was found behind a checkpoint: there are none until the whole log was read again.
    pub distrusted: bool,
    pub stats: VolumeStats,
    /// No batch is lost whose loss was not accepted.
    pub whole: bool,
    /// Losses up to this LSN are accepted.
    pub accepted: Lsn,
}

/// How much a transaction will take, at most.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub bytes: u64,
    pub parts: usize,
    pub appends: bool,
}

impl<F> Log<F> {
    /// The gathering batch that takes a transaction of this size, opened if need be.
    ///
    /// # Errors
    /// `TooLarge`, `Busy` or `DiskFull`.
    pub fn gather(&mut self, bound: Bound, settings: &Settings) -> Result<&mut Gather, Refused> {
        if !self.holds(bound) {
            return Err(Refused::TooLarge);
        }
        if self.waiting_bytes > 0 && self.waiting_bytes + bound.bytes > settings.gather_bytes_max {
            return Err(Refused::Busy);
        }
        let (joins, room) = match self.queue.back() {
            Some(open) if !open.closed => {
                let room = self.room_after(open.bytes());
                let small = open.bytes() + bound.bytes <= settings.batch_bytes_max.max(bound.bytes);
                (room >= bound.bytes && small && open.parts() + bound.parts <= PARTS_MAX, room)
            }
            _ => (false, 0),
        };
        if !joins {
            self.close_gather();
        }
        let room = if joins { room } else { self.room_after(0) };
        let fits = room >= bound.bytes;
        if bound.appends && self.reserve.is_in_use() && !bugs::on(Bug::AppendInReserve) {
            return Err(Refused::DiskFull);
        }
        if self.no_room {
            let kept = if bound.appends { self.kept_bytes() } else { 0 };
            if room < bound.bytes + kept && (bound.appends || !self.goes_on()) {
                return Err(Refused::DiskFull);
            }
        }
        if !joins {
            if !fits {
                if self.no_room && !self.files.contains_key(&(self.cursor.segment + 1)) {
                    self.reserve.want();
                }
                self.cursor = Cursor { segment: self.cursor.segment + 1, offset: segment::HEADER_BYTES as u64 };
            }
            let gather = Gather::new(self.next_lsn, self.cursor.segment, self.cursor.offset);
            self.next_lsn += 1;
            self.queue.push_back(gather);
        }
        let gather = self.queue.back_mut().expect("joined or pushed");
        gather.appends |= bound.appends;
        Ok(gather)
    }

    /// True unless the next segment cannot be made and an append of so many octets would not fit this one.
    pub fn has_room(&self, octets: u64) -> bool {
        let open_bytes = self.queue.back().filter(|g| !g.closed).map_or(0, Gather::bytes);
        let fits = || self.room_after(open_bytes) >= octets.saturating_add(self.kept_bytes());
        (!self.reserve.is_in_use() || bugs::on(Bug::AppendInReserve)) && (!self.no_room || fits())
    }

    /// True if there is a segment behind the one that gathers, or the reserve would be one.
    fn goes_on(&self) -> bool {
        let begun = self.files.contains_key(&self.cursor.segment);
        self.files.contains_key(&(self.cursor.segment + 1)) || (begun && self.reserve.can_be_lent())
    }

    /// What appends leave free when there is no room for another segment.
    fn kept_bytes(&self) -> u64 {
        self.superblock.segment_bytes / LAST_ROOM_PARTS
    }

    /// True if a transaction of this size fits a segment at all.
    pub fn holds(&self, bound: Bound) -> bool {
        let segment_room = self.superblock.segment_bytes - segment::HEADER_BYTES as u64 - overhead_bytes();
        bound.bytes <= segment_room && bound.parts + 2 <= PARTS_MAX
    }

    /// Takes back a gathering batch that nothing joined.
    pub fn drop_if_empty(&mut self) {
        if self.queue.back().is_some_and(|g| g.records == 0 && !g.closed && g.transactions == 0) {
            self.queue.pop_back();
            self.next_lsn -= 1;
        }
    }

    /// The gathering batch takes nothing more; the next one begins where it ends.
    pub fn close_gather(&mut self) {
        if let Some(open) = self.queue.back_mut().filter(|g| !g.closed) {
            open.closed = true;
            self.cursor.offset += open.bytes();
        }
    }

    /// Octets of records and bodies that still fit the segment after an open batch of so many octets (0: none is open).
    fn room_after(&self, open_bytes: u64) -> u64 {
        let taken = if open_bytes == 0 { overhead_bytes() } else { open_bytes + segment::BLOCK_BYTES };
        (self.superblock.segment_bytes - self.cursor.offset).saturating_sub(taken)
    }

    /// Takes the first batch of the queue, sealed, with its own position.
    pub fn seal_first(&mut self, volume: u16, seed: u64) -> Option<(Gather, Sealed)> {
        if self.queue.len() == 1 {
            self.close_gather();
        }
        let mut gather = self.queue.pop_front()?;
        let offset = if gather.segment == self.durable_end.segment {
            self.durable_end.offset
        } else {
            segment::HEADER_BYTES as u64
        };
        let like = Header {
            volume,
            epoch: self.epoch,
            incarnation: self.incarnation(gather.segment),
            offset,
            prev: self.prev,
            durable_lsn: self.durable + u64::from(bugs::on(Bug::VouchEarly)),
            lsn: 0,
            segment: 0,
            directory_bytes: 0,
            records: 0,
            body_bytes: 0,
            total_bytes: 0,
            transactions: 0,
            directory_check: 0,
        };
        let sealed = gather.seal(like, seed);
        assert_eq!(sealed.header.offset, offset, "batches are sealed in the order they were opened");
        assert!(offset + sealed.header.total_bytes <= self.superblock.segment_bytes, "a batch fits its segment");
        Some((gather, sealed))
    }

    fn incarnation(&self, segment: u32) -> u32 {
        self.uses[&segment].incarnation
    }

    /// A file for a segment to come.
    pub fn add(&mut self, segment: u32, incarnation: u32, file: F) {
        self.files.insert(segment, file);
        self.uses.insert(segment, Use { incarnation, first_lsn: None });
    }

    /// The segment's header is on disk: it is the active one.
    pub fn begun(&mut self, header: &SegmentHeader) {
        assert!(header.segment > self.active, "numbers only rise");
        self.vouched = self.vouched.max(header.durable_lsn);
        self.active = header.segment;
        self.stale_to = 0;
        self.uses.get_mut(&header.segment).expect("each file has one").first_lsn = Some(header.first_lsn);
        self.superblock_due = true;
    }

    /// The segment counts no more: its file may be used again. For who has copied what lived in it, and made durable
    /// whatever tells an opening that it is not missing: a checkpoint or, for the head, the next superblock, which is
    /// written before its file is touched.
    ///
    /// # Panics
    /// When it is not there, or not behind the active one.
    pub fn retire(&mut self, segment: u32) {
        assert!(segment < self.active, "only what is behind the log's end");
        self.files.remove(&segment).expect("it is there");
        let Use { incarnation, .. } = self.uses.remove(&segment).expect("each file has one");
        if segment == self.head.0 {
            let (next, then) = self.uses.first_key_value().expect("the active one is there");
            // Not known: more batches than are lost will seem so. The other way is the one that must not be.
            self.head = (*next, then.first_lsn.unwrap_or(self.head.1));
            self.superblock_due = true;
        }
        self.retired.push_back(Retired { segment, incarnation });
        self.no_room = false;
        self.reserve.try_now();
    }

    /// Takes a retired file that may be written to: nothing on disk counts on it.
    pub fn take_retired(&mut self) -> Option<Retired> {
        let at = self.retired.iter().position(|r| self.is_let_go(r))?;
        self.retired.remove(at)
    }

    /// There are more retired files than are kept, and this is the one to remove.
    pub fn take_surplus(&mut self) -> Option<Retired> {
        if self.retired.len() > RETIRED_MAX { self.take_retired() } else { None }
    }

    /// True when [`Log::take_surplus`] would find one.
    pub fn has_surplus(&self) -> bool {
        !self.failed && self.retired.len() > RETIRED_MAX && self.retired.iter().any(|r| self.is_let_go(r))
    }

    /// What was the head is needed until a superblock that begins behind it is durable.
    fn is_let_go(&self, retired: &Retired) -> bool {
        retired.segment > self.head.0 || retired.segment < self.superblock.head_segment
    }

    /// The header block for the segment that becomes active.
    pub fn segment_header(&self, segment: u32) -> SegmentHeader {
        SegmentHeader {
            segment,
            incarnation: self.incarnation(segment),
            store: self.superblock.store,
            volume: self.superblock.volume,
            segment_bytes: self.superblock.segment_bytes,
            epoch: self.epoch,
            first_lsn: self.durable + 1,
            durable_lsn: self.durable,
            prev: self.prev,
        }
    }

    /// A batch is durable: the log is that much longer.
    pub fn advance(&mut self, gather: &Gather, sealed: &Sealed) {
        let header = &sealed.header;
        self.durable_end = Cursor { segment: header.segment, offset: header.offset + header.total_bytes };
        self.vouched = self.vouched.max(header.durable_lsn);
        self.durable = header.lsn;
        self.prev = sealed.check;
        self.waiting_bytes -= gather.waiting_bytes;
        self.stats.batches += 1;
        self.stats.transactions += u64::from(header.transactions);
        self.stats.records += u64::from(header.records);
        self.stats.written_bytes += header.total_bytes;
        self.stats.body_bytes += gather.payload_bytes;
        self.stats.durable = header.lsn;
    }

    /// Gives up everything that only gathered; returns whom to tell.
    pub fn give_up(&mut self) -> Vec<Rc<Fate>> {
        self.reserve.want_no_more();
        self.cursor = self.durable_end;
        self.next_lsn = self.durable + 1;
        let lost: Vec<Gather> = self.queue.drain(..).collect();
        self.waiting_bytes -= lost.iter().map(|g| g.waiting_bytes).sum::<u64>();
        lost.into_iter().map(|g| g.fate).collect()
    }

    /// The segment to be made next: the active one is more than half full, or somebody waits. Without room only those who
    /// may have the reserve get one.
    pub fn wanted_segment(&self) -> Option<u32> {
        // Not the highest there is and one: where a segment was lost, a later one may be there.
        let missing = (self.active + 1..).find(|number| !self.files.contains_key(number))?;
        let half = missing == self.active + 1 && self.durable_end.offset > self.superblock.segment_bytes / 2;
        let waits = self.cursor.segment >= missing;
        let wanted = if self.no_room { waits && self.reserve.is_wanted() } else { half || waits };
        (!self.failed && wanted).then_some(missing)
    }

    /// True when the reserve is to be made again, which there is room for.
    pub fn reserve_due(&self) -> bool {
        let may = !self.failed && !self.closing && !self.no_room && self.wanted_segment().is_none();
        may && self.reserve.is_due(self.superblock.segment_bytes)
    }

    /// True if no opening that uses a checkpoint reads the segment for its records: it may be retired.
    pub fn is_checkpointed(&self, segment: u32) -> bool {
        self.checkpointed.iter().flatten().all(|from| segment < *from) || bugs::on(Bug::RetireEarly)
    }

    /// The superblock that says what is known now.
    pub fn next_superblock(&self, last_uidvalidity: u32, last_account: u64) -> Superblock {
        Superblock {
            sequence: self.superblock.sequence + 1,
            parent: self.superblock.check(),
            epoch: self.epoch,
            head_segment: self.head.0,
            head_lsn: self.head.1,
            tail_segment: self.active,
            durable_lsn: self.durable,
            last_uidvalidity,
            last_account,
            accepted_lsn: self.accepted,
            checkpoint: self.checkpoints[0],
            checkpoint_before: self.checkpoints[1],
            ..self.superblock.clone()
        }
    }
}
