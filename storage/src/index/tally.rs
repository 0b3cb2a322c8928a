//! Users of bodies, counted once for a whole batch: what its records say that comes and goes, and what becomes of it.

use super::{Index, Segment};
use crate::bugs::{self, Bug};
use crate::record::{Released, ReleasedList};
use crate::types::Place;

/// Users of bodies that come and go with one batch.
#[derive(Default)]
pub(super) struct Tally {
    /// Body, octets of it, how many more or less.
    pub uses: Vec<(Place, u32, i32)>,
    /// Bodies of the batch itself.
    pub new: Vec<(Place, u64)>,
    /// Lists of pieces that lost a user.
    pub large: Vec<Place>,
    /// What compaction moved, from where to where.
    pub moved: Vec<(Place, Place)>,
    /// Runs of rows that come and go: their segments, how many more or less.
    pub rows: Vec<(u32, i32)>,
}

impl Tally {
    pub fn used(&mut self, body: Released, by: i32) {
        self.uses.push((body.body, body.len, by));
        if body.large && by < 0 {
            self.large.push(body.body);
        }
        if body.rows {
            self.rows.push((body.body.segment, by));
        }
    }

    pub fn released(&mut self, list: &ReleasedList<'_>) {
        list.items().for_each(|item| self.used(item, -1));
    }
}

impl Index {
    /// Counts the users of bodies, each body once. One whose segment or batch is damaged is not there to be counted.
    pub(super) fn settle(&mut self, mut tally: Tally) {
        tally.new.sort_unstable_by_key(|(place, _)| *place);
        if !self.forwards.is_empty() {
            tally.uses.iter_mut().for_each(|(place, ..)| *place = self.forwards.resolve(*place));
            tally.large.iter_mut().for_each(|place| *place = self.forwards.resolve(*place));
        }
        for (old, new) in tally.moved {
            // Message records are moved too, and have no users.
            let Ok(at) = tally.new.binary_search_by_key(&new, |(place, _)| *place) else { continue };
            let Some(segment) = self.segments.get_mut(&old.segment) else { continue };
            let len = tally.new[at].1;
            let users = segment.leave(old.at, len);
            tally.uses.push((new, len as u32, i32::try_from(users).unwrap_or(i32::MAX)));
            if self.debts.remove(&old) {
                self.debts.insert(new);
            }
        }
        tally.uses.sort_unstable_by_key(|(place, ..)| *place);
        let mut new = tally.new.iter().peekable();
        for uses in tally.uses.chunk_by(|a, b| a.0 == b.0) {
            let (place, len, _) = uses[0];
            let mut by: i64 = uses.iter().map(|(.., by)| i64::from(*by)).sum();
            if bugs::on(Bug::DropReference) {
                by = by.min(1);
            }
            while let Some((fresh, len)) = new.next_if(|(fresh, _)| *fresh < place) {
                self.segments.of(fresh.segment).come(fresh.at, *len, 0);
            }
            if let Some((fresh, len)) = new.next_if(|(fresh, _)| *fresh == place) {
                let users = u32::try_from(by).unwrap_or(0);
                self.segments.of(fresh.segment).come(fresh.at, *len, users);
            } else if let Some(segment) = self.segments.get_mut(&place.segment) {
                segment.count(place.at, u64::from(len), by);
            }
        }
        for (fresh, len) in new {
            self.segments.of(fresh.segment).come(fresh.at, *len, 0);
        }
        for (segment, by) in tally.rows {
            let blobs = self.segments.get_mut(&segment).map(|segment| &mut segment.blobs);
            blobs.into_iter().for_each(|blobs| *blobs = blobs.saturating_add_signed(by));
        }
        for place in tally.large {
            if self.segments.get(&place.segment).is_none_or(|s: &Segment| s.users(place.at) == 0) {
                self.debts.insert(place);
            }
        }
    }
}
