//! Users of bodies, counted anew: for a log of which some is gone, so that adding up what it says is not enough.
//!
//! Every account is loaded, once, at opening. With a checkpoint this never happens.

use std::collections::HashMap;

use crate::batch::directory;
use crate::disk::Disk;
use crate::index::Segment;
use crate::record::{Record, RowRun};
use crate::recover::frames::{Frames, Spot};
use crate::segment;
use crate::types::{AccountId, Message, Place};
use crate::volume::{Inner, ReadError};

use super::window::Window;

/// What was counted.
#[derive(Default)]
struct Users {
    bodies: HashMap<Place, u32>,
    /// Lists of pieces.
    lists: HashMap<Place, u32>,
    /// Runs of rows in each segment.
    rows: HashMap<u32, u32>,
}

impl<D: Disk> Inner<D> {
    /// Counts users of all bodies. Nothing else may be at work.
    ///
    /// # Errors
    /// An account or a list that cannot be read: the counts are as they were.
    pub async fn recount(&self) -> Result<(), ReadError> {
        let mut users = Users::default();
        let ids: Vec<AccountId> = self.index.borrow().entries.iter().map(|entry| entry.id).collect();
        for id in ids {
            if !self.load(id).await? {
                continue;
            }
            let mut index = self.index.borrow_mut();
            let Some(account) = index.loaded.remove(&id) else { continue };
            for run in &account.left {
                users.rows(run);
            }
            for mailbox in account.mailboxes.values() {
                mailbox.messages.iter().for_each(|message| users.message(&index.fresh(message)));
                mailbox.runs.iter().for_each(|run| users.body(index.forwards.resolve(run.body)));
                mailbox.rows.iter().for_each(|run| users.rows(run));
            }
        }
        for carried in self.index.borrow().transfers.carried() {
            users.message(&self.index.borrow().fresh(&carried));
        }
        let lists: Vec<Place> = users.lists.keys().copied().collect();
        for list in lists {
            for piece in self.read_list(list).await? {
                users.body(self.resolve(piece.place));
            }
        }
        let (files, end) = {
            let log = self.log.borrow();
            let files: Vec<(u32, D::File)> = log.files.iter().map(|(n, file)| (*n, file.clone())).collect();
            (files, log.durable_end)
        };
        let mut segments = Vec::new();
        for (number, file) in files.into_iter().filter(|(number, _)| *number <= end.segment) {
            let stop = if number == end.segment { end.offset } else { self.facts.segment_bytes };
            segments.push((number, self.count_segment(number, Window::new(file), stop, &users).await?));
        }
        let mut index = self.index.borrow_mut();
        for (number, counted) in segments {
            let incarnation = index.segments.get(&number).map_or(0, |segment| segment.incarnation);
            *index.segments.of(number) = Segment { incarnation, ..counted };
        }
        let places: Vec<Place> = index.entries.iter().flat_map(|entry| [entry.put, entry.root]).collect();
        for place in places {
            index.segments.get_mut(&place.segment).into_iter().for_each(|segment| segment.kept += 1);
        }
        index.debts.clear();
        Ok(())
    }

    async fn count_segment(
        &self,
        number: u32,
        file: Window<D::File>,
        stop: u64,
        users: &Users,
    ) -> Result<Segment, ReadError> {
        let incarnation = self.index.borrow().segments.get(&number).map(|s| s.incarnation);
        let (segment_bytes, seed) = (self.facts.segment_bytes, self.facts.seed);
        let frames = Frames { file: &file, segment: number, incarnation, segment_bytes, seed };
        let mut counted = Segment { blobs: users.rows.get(&number).copied().unwrap_or(0), ..Segment::default() };
        let mut at = segment::HEADER_BYTES as u64;
        while at < stop {
            let batch = match frames.spot(at).await.map_err(|_| ReadError::Damaged)? {
                Spot::Batch(batch) => *batch,
                _ => match frames.search(at + segment::BLOCK_BYTES, 0, 1).await.map_err(|_| ReadError::Damaged)? {
                    Some(batch) => batch,
                    None => break,
                },
            };
            let directory_at = batch.header.offset + crate::batch::HEADER_BYTES as u64;
            at = batch.header.offset + batch.header.total_bytes;
            for entry in directory::entries(&batch.directory) {
                let entry = entry.expect("checked when it was read");
                let (at, len, all) = match entry.record {
                    Some(Record::Body(body)) => (body.offset as u32, body.len, &users.bodies),
                    Some(Record::Large(_) | Record::MovedLarge(_)) => {
                        ((directory_at + entry.at as u64) as u32, 0, &users.lists)
                    }
                    _ => continue,
                };
                counted.come(at, len, all.get(&Place { segment: number, at }).copied().unwrap_or(0));
            }
        }
        Ok(counted)
    }
}

impl Users {
    fn message(&mut self, message: &Message) {
        match message.is_large() {
            true => *self.lists.entry(message.body).or_default() += 1,
            false => self.body(message.body),
        }
    }

    fn rows(&mut self, run: &RowRun) {
        self.body(run.body);
        *self.rows.entry(run.body.segment).or_default() += 1;
    }

    fn body(&mut self, place: Place) {
        *self.bodies.entry(place).or_default() += 1;
    }
}
