//! Scrubbing: now and then all that is in use is read from the device and held against its checksums, so that rot is found
//! while there is still a backup to mend it from.
//!
//! ```text
//! pass: segment by segment (headers, directories, footers, bodies that somebody uses)
//!       ─► copies of the superblock ─► pages of both checkpoints (`facts`) ─► complete
//! ```
//!
//! - It reads some 256 KiB at a time and asks the caller's [`Pace`] after each: that bounds its rate, and so its share of
//!   the disk and of the core. Reads go to the device, past what memory holds.
//! - It reads and tells, nothing more. A damaged place is told once in a volume's life from opening to closing; what opening
//!   has told, or an operator has accepted, is not told again.
//! - Segments that go while they are read are passed over: what was wrong with them is nobody's loss.
//! - How far it is stands in a file of its own, `scrub`: a pass goes on after a restart. Where the file does not read, or
//!   cannot be written, a pass begins anew: nothing else hangs on it.

mod facts;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::mem::{Discriminant, discriminant};
use std::rc::Rc;

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use crate::batch::directory;
use crate::bugs::{self, Bug};
use crate::check::Broken;
use crate::codec::{Put, Reader};
use crate::compact::{Pace, Window};
use crate::disk::{BLOCK_BYTES, Bytes, Disk, File};
use crate::record::Record;
use crate::recover::frames::{Batch, Frames};
use crate::segment;
use crate::types::Place;
use crate::unread::Unreads;
use crate::volume::{Inner, Volume};
use crate::walk::{Hole, Walk};

/// The file with how far it is.
const NAME: &str = "scrub";
const FILE_BYTES: u64 = 4_096;
const MAGIC: u64 = u64::from_le_bytes(*b"RPscrub\n");
/// Octets at the front of the file's block that the checksum leaves out.
const HEAD_BYTES: usize = 16;
/// Damaged places that are told. More: counted.
const PLACES_TOLD_MAX: usize = 10_000;

/// What is remembered of scrubbing while a volume is open.
#[derive(Default)]
pub struct Scrub {
    kept: Cell<Option<Kept>>,
    told: RefCell<HashSet<Told>>,
    wanted: Cell<bool>,
    busy: Cell<bool>,
}

/// A damaged place: file, offset, what is wrong.
type Told = (Rc<str>, u64, Discriminant<Broken>);

/// How far it is, as the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// When the newest pass began, milliseconds since 1970; 0: never.
    pub began_ms: i64,
    /// When the newest complete one ended; 0: never.
    pub completed_ms: i64,
    /// The segment where the pass goes on; 0: none is on its way.
    pub next: u32,
    /// Damaged places found in the newest pass.
    pub errors: u64,
}

impl Kept {
    pub fn encode(&self, seed: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_BYTES as usize);
        out.u64(MAGIC);
        out.u64(0);
        out.u64(self.began_ms as u64);
        out.u64(self.completed_ms as u64);
        out.u32(self.next);
        out.u32(0);
        out.u64(self.errors);
        out.resize(BLOCK_BYTES as usize, 0);
        let check = xxh3_64_with_seed(&out[HEAD_BYTES..], seed);
        out[8..HEAD_BYTES].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// `None` when anything does not fit.
    pub fn decode(bytes: &[u8], seed: u64) -> Option<Kept> {
        let mut r = Reader::new(bytes);
        let (magic, check) = (r.u64()?, r.u64()?);
        if magic != MAGIC || check != xxh3_64_with_seed(&bytes[HEAD_BYTES..], seed) {
            return None;
        }
        let (began_ms, completed_ms, next) = (r.i64()?, r.i64()?, r.u32()?);
        r.u32()?;
        Some(Kept { began_ms, completed_ms, next, errors: r.u64()? })
    }
}

impl<D: Disk> Volume<D> {
    /// Scrubs if it is time for that, or somebody wants it ([`Volume::scrub_soon`]), until everything was read or the volume
    /// closes. True: a pass is complete. To be called again and again by one task. `period_ms`: from the beginning of one
    /// pass to the next; 0: never. `tell`: what is damaged.
    pub async fn scrub<P: Pace>(&self, pace: &P, period_ms: i64, tell: impl FnMut(Broken)) -> bool {
        self.0.scrub(pace, period_ms, tell).await
    }

    /// The next call of [`Volume::scrub`] begins a pass, or goes on with one. While one is on its way: nothing.
    pub fn scrub_soon(&self) {
        self.0.scrub.wanted.set(!self.0.scrub.busy.get());
    }

    /// True after [`Volume::scrub_soon`], until a pass has begun.
    #[must_use]
    pub fn scrub_is_wanted(&self) -> bool {
        self.0.scrub.wanted.get()
    }

    /// The segment that is read next; `None`: no pass is on its way, or nobody has asked since the opening.
    #[must_use]
    pub fn scrub_next(&self) -> Option<u32> {
        self.0.scrub.kept.get().map(|kept| kept.next).filter(|next| *next > 0)
    }
}

/// The way back: one pass is on its way at a time.
struct One<'a>(&'a Cell<bool>);

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<D: Disk> Inner<D> {
    async fn scrub<P: Pace>(&self, pace: &P, period_ms: i64, mut tell: impl FnMut(Broken)) -> bool {
        if self.scrub.busy.replace(true) {
            return false;
        }
        let _one = One(&self.scrub.busy);
        let mut kept = match self.scrub.kept.get() {
            Some(kept) => kept,
            None => self.read_kept().await,
        };
        self.remember(kept);
        let now_ms = pace.now_ms();
        // A clock that was set back must not put it off for years.
        let due = period_ms > 0 && now_ms.abs_diff(kept.began_ms) >= period_ms.unsigned_abs();
        let wanted = self.scrub.wanted.take();
        if !wanted && !due && (kept.next == 0 || period_ms == 0) {
            return false;
        }
        if kept.next == 0 {
            kept = Kept { began_ms: now_ms, next: 1, errors: 0, ..kept };
        }
        while let Some(number) = self.next_segment(kept.next) {
            kept.next = number;
            self.remember(kept);
            kept.errors += self.scrub_segment(number, pace, &mut tell).await;
            if self.is_over() {
                return false;
            }
            kept.next = number + 1;
            self.keep(kept).await;
        }
        kept.errors += self.scrub_facts(pace, &mut tell).await;
        if self.is_over() {
            return false;
        }
        kept = Kept { next: 0, completed_ms: pace.now_ms(), ..kept };
        self.keep(kept).await;
        self.log.borrow_mut().stats.scrub_passes += 1;
        true
    }

    fn is_over(&self) -> bool {
        let log = self.log.borrow();
        log.failed || log.closing
    }

    fn next_segment(&self, from: u32) -> Option<u32> {
        let log = self.log.borrow();
        log.files.range(from..).map(|(number, _)| *number).next().filter(|number| *number <= log.durable_end.segment)
    }

    fn remember(&self, kept: Kept) {
        self.scrub.kept.set(Some(kept));
        self.log.borrow_mut().stats.scrub_completed_s = u64::try_from(kept.completed_ms / 1_000).unwrap_or(0);
    }

    async fn read_kept(&self) -> Kept {
        let read = async { self.disk.open(NAME).await?.read_at(0, BLOCK_BYTES as usize).await };
        read.await.ok().and_then(|bytes| Kept::decode(&bytes, self.facts.seed)).unwrap_or_default()
    }

    /// As best it goes: a full disk takes no new file.
    async fn keep(&self, kept: Kept) {
        self.remember(kept);
        let file = match self.disk.open(NAME).await {
            Err(why) if why.kind() == io::ErrorKind::NotFound => self.disk.create(NAME, FILE_BYTES).await,
            opened => opened,
        };
        if let Ok(file) = file
            && file.len() == FILE_BYTES
        {
            let _ = file.write_sync(0, vec![Bytes::new(kept.encode(self.facts.seed))]).await;
        }
    }

    /// Reads a segment; how many damaged places were new.
    async fn scrub_segment<P: Pace>(&self, number: u32, pace: &P, tell: &mut impl FnMut(Broken)) -> u64 {
        let (file, used, stop, next_first) = {
            let log = self.log.borrow();
            let (Some(file), Some(used)) = (log.files.get(&number), log.uses.get(&number)) else { return 0 };
            let end = log.durable_end;
            let stop = if number == end.segment { end.offset } else { self.facts.segment_bytes };
            (file.clone(), *used, stop, log.uses.get(&(number + 1)).and_then(|next| next.first_lsn))
        };
        let device = Device { file, unreads: Unreads::default(), name: segment::name(number).into() };
        let window = Window::new(device.clone());
        let (segment_bytes, seed) = (self.facts.segment_bytes, self.facts.seed);
        let frames =
            Frames { file: &window, segment: number, incarnation: Some(used.incarnation), segment_bytes, seed };
        let at = segment::HEADER_BYTES as u64;
        let mut walk = Walk { frames, stop, at, expected: used.first_lsn, epoch: 0 };
        let mut errors = 0;
        let is_there = || self.log.borrow().uses.get(&number).is_some_and(|now| now.incarnation == used.incarnation);
        loop {
            let from = walk.at;
            // An error: a record of a newer program's. Whoever opens the volume next is told.
            let Ok(next) = walk.next().await else { break };
            let hole = match &next {
                Some((_, hole)) => hole.as_ref().map(|Hole { offset, octets, .. }| (*offset, *octets)),
                None if next_first.is_some() || number == self.log.borrow().durable_end.segment => {
                    match walk.tail(next_first).await {
                        Ok(hole) => hole.map(|Hole { offset, octets, .. }| (offset, octets)),
                        Err(_) => None,
                    }
                }
                None => None,
            };
            if !is_there() || self.is_over() {
                break;
            }
            for unread in device.unreads.take() {
                errors += self.found(&unread.file.clone(), unread.offset, Broken::Unread(unread), tell);
            }
            if let Some((offset, octets)) = hole {
                let broken = Broken::Log { segment: number, offset, octets };
                errors += self.found(&segment::name(number), offset, broken, tell);
            }
            let Some((batch, _)) = next else { break };
            let bodies: u64 = batch.header.body_bytes;
            self.read_through((walk.at - from).saturating_sub(bodies), pace).await;
            errors += self.scrub_bodies(number, &batch, &window, pace, tell).await;
            if !is_there() || self.is_over() {
                break;
            }
        }
        errors
    }

    async fn scrub_bodies<P: Pace>(
        &self,
        number: u32,
        batch: &Batch,
        window: &Window<Device<D::File>>,
        pace: &P,
        tell: &mut impl FnMut(Broken),
    ) -> u64 {
        let mut errors = 0;
        for entry in directory::entries(&batch.directory) {
            let Some(Record::Body(body)) = entry.expect("checked when it was read").record else { continue };
            let at = Place { segment: number, at: body.offset as u32 };
            let is_used = || self.index.borrow().segments.get(&number).is_some_and(|s| s.users(at.at) > 0);
            if !is_used() {
                continue;
            }
            let octets = window.read_at(body.offset, body.len as usize).await;
            let fits = octets.is_ok_and(|octets| xxh3_128(&octets) == body.check || bugs::on(Bug::ScrubUnverified));
            self.read_through(body.len, pace).await;
            // It may have been moved meanwhile, and its file used for another segment.
            if !fits && is_used() && self.log.borrow().files.contains_key(&number) {
                let broken = Broken::Body { segment: number, offset: body.offset, octets: body.len };
                errors += self.found(&segment::name(number), body.offset, broken, tell);
            }
            if self.is_over() {
                break;
            }
        }
        errors
    }

    async fn read_through<P: Pace>(&self, octets: u64, pace: &P) {
        self.log.borrow_mut().stats.scrubbed_bytes += octets;
        pace.rest(octets).await;
    }

    /// Tells of a damaged place, if that is new; 1 if it is.
    fn found(&self, file: &str, offset: u64, broken: Broken, tell: &mut impl FnMut(Broken)) -> u64 {
        let known = match &broken {
            Broken::Log { segment, offset, octets } => {
                let overlaps =
                    |(s, from, len): &(u32, u64, u64)| s == segment && *from < offset + octets && *offset < from + len;
                self.index.borrow().damaged.iter().any(overlaps)
            }
            _ => false,
        };
        let mut told = self.scrub.told.borrow_mut();
        let place = (Rc::from(file), offset, discriminant(&broken));
        if known || told.contains(&place) {
            return 0;
        }
        let full = told.len() >= PLACES_TOLD_MAX;
        if !full {
            told.insert(place);
        }
        drop(told);
        self.log.borrow_mut().stats.scrub_errors += 1;
        if !full {
            tell(broken);
        }
        1
    }
}

/// A file that is read from the device, around what that does not read.
#[derive(Clone)]
struct Device<F> {
    file: F,
    unreads: Unreads,
    name: Rc<str>,
}

/// The same, without knowing how to read around.
#[derive(Clone)]
struct Past<F>(F);

impl<F: File> File for Past<F> {
    fn len(&self) -> u64 {
        self.0.len()
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.0.read_device(offset, len).await
    }

    async fn write_sync(&self, _: u64, _: Vec<Bytes>) -> io::Result<()> {
        unreachable!("it is read only")
    }
}

impl<F: File> File for Device<F> {
    fn len(&self) -> u64 {
        self.file.len()
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.unreads.read(&self.name, &Past(self.file.clone()), offset, len).await
    }

    async fn write_sync(&self, _: u64, _: Vec<Bytes>) -> io::Result<()> {
        unreachable!("it is read only")
    }
}
