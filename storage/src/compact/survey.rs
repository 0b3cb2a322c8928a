//! What lies in a segment beside bodies: whose records, and facts that have to be said again before it may go.

use std::collections::{BTreeMap, BTreeSet};

use super::Stuck;
use crate::batch::{HEADER_BYTES, directory};
use crate::disk::Disk;
use crate::record::{Record, TransferRecord, kind};
use crate::recover::frames::{Batch, Frames, Spot};
use crate::segment;
use crate::transfer::TransferNumber;
use crate::types::{AccountId, LSN_MAX, Lsn, Place, VolumeId};
use crate::volume::Inner;

use super::window::Window;

/// A segment that is being compacted, to be read through.
pub struct Source<D: Disk> {
    pub number: u32,
    pub incarnation: u32,
    pub first_lsn: Lsn,
    /// LSN of the first batch of the segment behind it.
    pub next_lsn: Lsn,
    /// No batch of the segment has this LSN, or a higher one.
    pub below_lsn: Lsn,
    window: Window<D::File>,
    segment_bytes: u64,
    seed: u64,
}

/// What was found.
#[derive(Default)]
pub struct Survey {
    /// Who has a record here, or has a body here as a run of summaries or rows.
    pub accounts: BTreeSet<AccountId>,
    /// Accounts of which such a body is still used.
    pub blobs: BTreeSet<AccountId>,
    pub domains: BTreeSet<String>,
    /// Accounts that were removed, and in which segment.
    pub gone: BTreeMap<AccountId, u32>,
    /// Entries of forwards that lie here: old places.
    pub forwards: Vec<Place>,
    /// Transfers that were given here.
    pub transfers: Vec<(VolumeId, TransferNumber)>,
    /// Runs of transfers that were sent, by target and incarnation.
    pub sent: BTreeMap<(VolumeId, u64), Vec<(u64, u64)>>,
    /// Volumes that were received from.
    pub sources: BTreeSet<VolumeId>,
    /// An incarnation of transfers was begun here.
    pub anew: bool,
}

impl<D: Disk> Inner<D> {
    /// The segment, if it is there and sealed.
    pub(super) fn source(&self, number: u32) -> Option<Source<D>> {
        let log = self.log.borrow();
        let file = log.files.get(&number).filter(|_| number < log.active)?.clone();
        let here = log.uses.get(&number)?;
        let next = log.uses.range(number + 1..).next().filter(|(n, _)| **n <= log.active)?.1;
        // Between it and the one behind it others may be gone, which had batches of their own.
        let follows = log.uses.contains_key(&(number + 1));
        Some(Source {
            number,
            incarnation: here.incarnation,
            first_lsn: here.first_lsn?,
            next_lsn: if follows { next.first_lsn? } else { 0 },
            below_lsn: next.first_lsn.unwrap_or(LSN_MAX),
            window: Window::new(file),
            segment_bytes: self.facts.segment_bytes,
            seed: self.facts.seed,
        })
    }

    /// Reads all directories of a segment.
    pub(super) async fn survey(&self, source: &Source<D>) -> Result<Survey, Stuck> {
        let mut survey = Survey::default();
        let mut at = segment::HEADER_BYTES as u64;
        let mut last = source.first_lsn - 1;
        while let Some(batch) = source.batch(at).await? {
            at += batch.header.total_bytes;
            if batch.header.lsn != last + 1 {
                return Err(Stuck::Damaged);
            }
            last = batch.header.lsn;
            self.note(source, &batch, &mut survey)?;
        }
        // Batches that were there when the volume was opened, and do not read now.
        if source.next_lsn != 0 && last + 1 != source.next_lsn {
            return Err(Stuck::Damaged);
        }
        Ok(survey)
    }

    fn note(&self, source: &Source<D>, batch: &Batch, survey: &mut Survey) -> Result<(), Stuck> {
        let index = self.index.borrow();
        let used = |place: Place| {
            index.segments.get(&place.segment).is_some_and(|segment| segment.users(place.at) > 0)
                && place.segment == source.number
        };
        for entry in directory::entries(&batch.directory) {
            let entry = entry.expect("checked when it was read");
            // Of a kind that only a newer program knows: who can say what hangs on it?
            let Some(record) = entry.record else { return Err(Stuck::Unknown(entry.frame.kind)) };
            if let Some(account) = entry.frame.account {
                survey.accounts.insert(account);
            }
            match (&record, entry.frame.account) {
                (Record::Root(root), Some(account)) if root.added().any(|blob| used(blob.body)) => {
                    survey.blobs.insert(account);
                }
                (Record::Run(run), Some(account)) if used(run.body) => {
                    survey.blobs.insert(account);
                }
                (Record::AccountRemove(_), Some(account)) => {
                    survey.gone.insert(account, source.number);
                }
                (Record::AccountGone(gone), _) => survey.gone.extend(gone.items()),
                (Record::DomainPut(put), _) => drop(survey.domains.insert(put.name.to_owned())),
                (Record::DomainRemove(name), _) => drop(survey.domains.insert((*name).to_owned())),
                (Record::Forward(forward), _) => survey.forwards.extend(forward.items().map(|(old, _)| old)),
                (Record::Gap(_), _) => return Err(Stuck::Gap),
                (Record::Transfer(record), _) => survey.transfer(record),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Survey {
    fn transfer(&mut self, record: &TransferRecord<'_>) {
        match record {
            TransferRecord::Transfer(view) | TransferRecord::Moved(view) => {
                self.transfers.push((view.target, view.number));
            }
            TransferRecord::Sent(view) => {
                for (first, last) in view.runs() {
                    let runs = self.sent.entry((view.target, first.incarnation)).or_default();
                    runs.push((first.number, last.number));
                }
            }
            TransferRecord::Anew { .. } => self.anew = true,
            TransferRecord::Watermark(view) => drop(self.sources.insert(view.source)),
        }
    }
}

impl<D: Disk> Source<D> {
    /// The batch at a position; `None`: the last one was before it.
    pub async fn batch(&self, at: u64) -> Result<Option<Batch>, Stuck> {
        let frames = Frames {
            file: &self.window,
            segment: self.number,
            incarnation: Some(self.incarnation),
            segment_bytes: self.segment_bytes,
            seed: self.seed,
        };
        match frames.spot(at).await.map_err(|_| Stuck::Unreadable)? {
            Spot::Batch(batch) => Ok(Some(*batch)),
            Spot::HeaderOnly(_) => Err(Stuck::Damaged),
            _ => Ok(None),
        }
    }

    /// Octets of a body.
    pub async fn octets(&self, at: u64, len: usize) -> Result<Vec<u8>, Stuck> {
        use crate::disk::File;
        self.window.read_at(at, len).await.map_err(|_| Stuck::Unreadable)
    }
}

/// Where the records of a batch lie, from the segment's start.
pub fn directory_at(batch: &Batch) -> u64 {
    batch.header.offset + HEADER_BYTES as u64
}

/// True for kinds that hold a message's prefix.
pub fn holds_prefix(of: u16) -> bool {
    of == kind::MESSAGE || of == kind::MOVED
}
