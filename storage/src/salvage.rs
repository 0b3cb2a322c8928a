//! An account whose chain or root cannot be read: its records are looked for in the log itself, batch by batch.
//!
//! Damage that nobody has told of yet (an opening with a checkpoint does not look at all of the log) is not passed over: the
//! account does not load, and the next opening reads the whole log.
//!
//! Slow, and only after damage. What lies in damaged batches is not looked at, also where a record in them is whole: it
//! was reported as lost, and the numbers have jumped over it.

use std::rc::Rc;

use crate::batch::directory;
use crate::commit::Cursor;
use crate::disk::Disk;
use crate::record::kind;
use crate::recover::frames::{Frames, Spot};
use crate::segment;
use crate::superblock::Address;
use crate::types::{AccountId, Place};
use crate::volume::{Inner, OpenError, ReadError};

/// A record of an account, as it lies in the log.
pub type Found = (Place, Rc<[u8]>);

/// What a search of the log found, in its order.
#[derive(Default)]
pub struct Searched {
    /// The account's records.
    pub records: Vec<Found>,
    /// What was said of segments that are gone.
    pub retired: Vec<Found>,
}

impl<D: Disk> Inner<D> {
    /// True if a place lies in octets that were found damaged.
    pub fn is_damaged(&self, place: Place) -> bool {
        let at = u64::from(place.at);
        let index = self.index.borrow();
        index.damaged.iter().any(|(segment, from, len)| *segment == place.segment && (*from..from + len).contains(&at))
    }

    /// The log is damaged where a checkpoint says that it need not be read: from now on there are none, so that the next
    /// opening finds and reports the damage, and lets the numbers jump.
    pub fn distrust(&self) {
        let mut log = self.log.borrow_mut();
        log.distrusted = true;
        log.checkpoints = [Address::NONE; 2];
        log.superblock_due = true;
        drop(log);
        self.keep_bell.ring();
    }

    /// Where damage is first known behind a place.
    pub fn first_damage_behind(&self, through: Place) -> Option<Place> {
        let index = self.index.borrow();
        let begins = index.damaged.iter().map(|(segment, from, _)| Place { segment: *segment, at: *from as u32 });
        begins.filter(|place| *place > through).min()
    }

    /// All records of an account from segment `first` on, in the order of the log. Roots are among them.
    pub async fn search_log(&self, account: AccountId, first: u32) -> Result<Searched, ReadError> {
        let (files, end) = {
            let log = self.log.borrow();
            let files: Vec<(u32, D::File)> = log.files.range(first..).map(|(n, f)| (*n, f.clone())).collect();
            (files, log.durable_end)
        };
        let mut found = Searched::default();
        for (number, file) in files.iter().filter(|(number, _)| *number <= end.segment) {
            self.search_segment(account, *number, file, end, &mut found).await?;
        }
        Ok(found)
    }

    async fn search_segment(
        &self,
        account: AccountId,
        number: u32,
        file: &D::File,
        end: Cursor,
        found: &mut Searched,
    ) -> Result<(), ReadError> {
        // Where its header is damaged, how often the file was used is a guess, and any incarnation will do.
        let known = !self.is_damaged(Place { segment: number, at: 0 });
        let incarnation = self.index.borrow().segments.get(&number).map(|s| s.incarnation).filter(|_| known);
        let (segment_bytes, seed) = (self.facts.segment_bytes, self.facts.seed);
        let frames = Frames { file, segment: number, incarnation, segment_bytes, seed };
        let is_last = number == end.segment;
        let stop = if is_last { end.offset } else { segment_bytes };
        let first_of = |number: u32| self.log.borrow().uses.get(&number).and_then(|used| used.first_lsn);
        let next = first_of(number + 1).or_else(|| self.index.borrow().first_lsn_of_retired(number + 1));
        let mut at = segment::HEADER_BYTES as u64;
        // Of the batch before: a segment that was begun and left empty ends with it.
        let mut last = first_of(number).map_or(0, |first| first.saturating_sub(1));
        while at < stop {
            let batch = match frames.spot(at).await.map_err(unread)? {
                // What has the number of the next segment's first batch, or a later one, is of a tail that was discarded.
                Spot::Batch(batch) if next.is_some_and(|next| batch.header.lsn >= next) => return Ok(()),
                Spot::Batch(batch) => *batch,
                _ if next == Some(last + 1) => return Ok(()),
                _ => {
                    let told = self.is_damaged(Place { segment: number, at: at as u32 });
                    let later = frames.search(at + segment::BLOCK_BYTES, 0, 1).await.map_err(unread)?;
                    let later = later.filter(|batch| next.is_none_or(|next| batch.header.lsn < next));
                    // The end of a segment behind which another is gone looks so, too. Of the last one all is durable up to `stop`.
                    if !told && (later.is_some() || next.is_some() || is_last) {
                        self.distrust();
                        return Err(ReadError::Damaged);
                    }
                    match later {
                        Some(batch) => batch,
                        None => return Ok(()),
                    }
                }
            };
            last = batch.header.lsn;
            let directory_at = batch.header.offset + crate::batch::HEADER_BYTES as u64;
            at = batch.header.offset + batch.header.total_bytes;
            for entry in directory::entries(&batch.directory) {
                let entry = entry.expect("checked when it was read");
                let place = Place { segment: number, at: (directory_at + entry.at as u64) as u32 };
                let to = match entry.frame.account {
                    Some(id) if id == account => &mut found.records,
                    None if entry.frame.kind == kind::RETIRED => &mut found.retired,
                    _ => continue,
                };
                if !self.is_damaged(place) {
                    to.push((place, batch.directory[entry.at..entry.at + entry.frame.len].into()));
                }
            }
        }
        Ok(())
    }
}

fn unread(why: OpenError) -> ReadError {
    match why {
        OpenError::Io { why, .. } => ReadError::Io(why),
        _ => ReadError::Damaged,
    }
}
