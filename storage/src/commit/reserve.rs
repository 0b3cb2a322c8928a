//! The reserve: a file as large as a segment, kept for a full disk (RELIABILITY §4.8).
//!
//! ```text
//!            no room for a segment that somebody other than an append waits for
//!   there ───────────────────────────────────────────────────────────────────────► lent: it is that segment now
//!     ▲                                                                              │ no appends
//!     └─────────────── room again, or a file that compaction has emptied ────────────┘
//! ```
//!
//! It becomes a segment by another name, as a retired file does: no octet of it has to be found on the full disk. While it
//! is lent there are no appends, however much room there seems to be: what is left of it belongs to those who make room.
//! Where it is missing, what it will take counts as not free.

use std::io::ErrorKind;

use crate::disk::{Disk, File};
use crate::segment::{self, FIRST_INCARNATION, SegmentHeader};
use crate::superblock::Superblock;
use crate::volume::Inner;

use super::log::Spare;

/// The file's name.
pub const RESERVE: &str = "RESERVE";
/// Seconds before something that could not be done with it is tried again.
const REST_S: u32 = 2;

/// What is known of the reserve.
#[derive(Clone, Debug, Default)]
pub struct Reserve {
    /// The incarnation a segment made of it would have; `None`: it is not there.
    there: Option<u32>,
    /// Something that is no append was decided for the segment it will be.
    wanted: bool,
    /// It became a segment since the volume was opened, and there is no other yet.
    lent: bool,
    /// Seconds for which nothing is tried.
    rests: u32,
    /// Free octets of the file system, as they were told last; a retired file counts as enough.
    free_bytes: u64,
}

impl Reserve {
    /// As it was found; see [`find_reserve`].
    pub fn found(there: Option<u32>) -> Self {
        Reserve { there, ..Reserve::default() }
    }

    pub fn is_there(&self) -> bool {
        self.there.is_some()
    }

    /// True while no append may use what is left.
    pub fn is_in_use(&self) -> bool {
        self.lent || self.wanted
    }

    /// Somebody waits for it who may have it.
    pub fn want(&mut self) {
        self.wanted = self.can_be_lent();
    }

    /// Whoever waits for it will have it, or be told.
    pub fn is_coming(&self) -> bool {
        self.wanted
    }

    /// Whoever waited was told that it will not be.
    pub fn want_no_more(&mut self) {
        self.wanted = false;
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted && self.can_be_lent()
    }

    pub fn can_be_lent(&self) -> bool {
        self.there.is_some() && self.rests == 0
    }

    /// Takes it, to make a segment of it.
    pub fn take(&mut self) -> Option<Spare> {
        let incarnation = self.there.take_if(|_| self.rests == 0)?;
        Some(Spare { name: RESERVE.to_owned(), incarnation })
    }

    /// It is a segment.
    pub fn lend(&mut self) {
        (self.lent, self.wanted) = (true, false);
    }

    /// It could not become one; perhaps it is there still.
    pub fn give_back(&mut self, spare: Option<&Spare>) {
        self.there = spare.map(|spare| spare.incarnation);
        (self.wanted, self.rests) = (false, REST_S);
    }

    /// It was made.
    fn made(&mut self, incarnation: u32) {
        self.there = Some(incarnation);
        self.lent = false;
    }

    /// It could not be made.
    fn put_off(&mut self) {
        self.rests = REST_S;
    }

    /// A second has passed, and so much is free.
    pub fn tick(&mut self, free_bytes: u64) {
        self.rests = self.rests.saturating_sub(1);
        self.free_bytes = free_bytes;
    }

    /// A retired file is there, of which it can be made.
    pub fn try_now(&mut self) {
        self.free_bytes = u64::MAX;
    }

    /// True when it is missing and there is room for it.
    pub fn is_due(&self, segment_bytes: u64) -> bool {
        self.there.is_none() && self.rests == 0 && self.free_bytes > segment_bytes
    }
}

/// The incarnation that a segment would have that is made of the reserve; `None`: there is none, or not one that can be used.
pub async fn find_reserve<D: Disk>(disk: &D, names: &[String], superblock: &Superblock) -> Option<u32> {
    if !names.iter().any(|name| name == RESERVE) {
        return None;
    }
    let file = disk.open(RESERVE).await.ok()?;
    if file.len() != superblock.segment_bytes {
        return None;
    }
    let block = file.read_at(0, segment::HEADER_BYTES).await.ok()?;
    if block.iter().all(|&octet| octet == 0) {
        return Some(FIRST_INCARNATION);
    }
    let ours = |h: &SegmentHeader| {
        (h.store, h.volume, h.segment_bytes) == (superblock.store, superblock.volume, superblock.segment_bytes)
    };
    SegmentHeader::decode(&block).filter(ours).map(|header| header.incarnation.saturating_add(1))
}

/// Makes the reserve again: of a retired file, else a new one. What goes wrong with that harms nobody: it is tried again.
pub async fn make_reserve<D: Disk>(inner: &Inner<D>) {
    let (retired, bytes) = {
        let mut log = inner.log.borrow_mut();
        (log.take_retired(), log.superblock.segment_bytes)
    };
    let made = match retired {
        None => {
            // One that cannot be used may be there; usually there is none.
            let _ = inner.disk.remove(RESERVE).await;
            inner.disk.create(RESERVE, bytes).await.map(|_| FIRST_INCARNATION)
        }
        Some(retired) => {
            let spare = retired.spare();
            inner.disk.recycle(&spare.name, RESERVE).await.map(|_| spare.incarnation)
        }
    };
    let log = &mut *inner.log.borrow_mut();
    match made {
        Ok(incarnation) => log.reserve.made(incarnation),
        Err(why) => {
            // Unless somebody has removed it.
            log.retired.extend(retired.filter(|_| why.kind() != ErrorKind::NotFound));
            log.reserve.put_off();
            log.stats.reserves_put_off += 1;
        }
    }
}
