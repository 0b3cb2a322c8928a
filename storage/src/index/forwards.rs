//! Forwarding: where things are that compaction has moved, a sorted table for each segment they were moved out of.
//!
//! Places in snapshots and in records stay as they were written, until their account is folded; so whoever follows a place
//! asks here first. When everything that may name an old place was written anew (`compact/rename`), the tables up to there
//! are forgotten: at once by the log, and in memory with the next ones, for the sake of who holds a place just then.

use std::collections::BTreeMap;

use super::marks::Marks;
use crate::bugs::{self, Bug};
use crate::codec::{Put, Reader};
use crate::types::{Lsn, Place};

/// Steps that a place is followed. Tables are shortened when the segment they lead to is retired, so nothing takes more
/// than two; what takes more than this is damage, and is taken to be where it is.
const STEPS_MAX: usize = 64;

/// All tables. Whoever changes one leaves a mark for the next checkpoint.
#[derive(Default)]
pub struct Forwards {
    tables: BTreeMap<u32, Table>,
    /// Those that were forgotten last.
    faded: BTreeMap<u32, Table>,
    pub marks: Marks,
}

/// What was moved out of one segment: about 12 octets each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Octet in the old segment, new place; rising, each octet once.
    entries: Vec<(u32, Place)>,
    /// The batch of the last forward that brought something new.
    pub lsn: Lsn,
    /// Where that forward lies.
    pub place: Place,
}

impl Table {
    /// Octet in the old segment, new place; rising.
    #[cfg(test)]
    pub fn entries(&self) -> &[(u32, Place)] {
        &self.entries
    }

    fn find(&self, at: u32) -> Option<Place> {
        self.entries.binary_search_by_key(&at, |(old, _)| *old).ok().map(|i| self.entries[i].1)
    }

    /// Its image in a checkpoint: each entry by what differs from the one before.
    fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.lsn);
        out.place(self.place);
        out.u32(self.entries.len() as u32);
        let mut before = (0, Place { segment: 0, at: 0 });
        for (at, new) in &self.entries {
            out.varint(u64::from(at - before.0));
            out.step(before.1.segment, new.segment);
            out.step(before.1.at, new.at);
            before = (*at, *new);
        }
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let mut table = Table { lsn: r.u64()?, place: r.place()?, entries: Vec::new() };
        let mut before = (0u32, Place { segment: 0, at: 0 });
        for _ in 0..r.u32()? {
            let at = before.0.checked_add(u32::try_from(r.varint()?).ok()?)?;
            before = (at, Place { segment: r.step(before.1.segment)?, at: r.step(before.1.at)? });
            table.entries.push(before);
        }
        table.entries.is_sorted_by(|a, b| a.0 < b.0).then_some(table)
    }
}

fn image(table: Option<&Table>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(table) = table {
        table.encode(&mut out);
    }
    out
}

impl Forwards {
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.faded.is_empty()
    }

    #[cfg(test)]
    pub fn table(&self, segment: u32) -> Option<&Table> {
        self.tables.get(&segment)
    }

    /// Where what was at a place is now.
    pub fn resolve(&self, place: Place) -> Place {
        let mut now = place;
        for _ in 0..STEPS_MAX {
            match self.step(now) {
                Some(next) => now = next,
                None => return now,
            }
        }
        place
    }

    fn step(&self, place: Place) -> Option<Place> {
        let find = |tables: &BTreeMap<u32, Table>| tables.get(&place.segment)?.find(place.at);
        find(&self.tables).or_else(|| find(&self.faded))
    }

    /// True unless what was at a place was never moved, or that was forgotten.
    pub fn has(&self, place: Place) -> bool {
        self.tables.get(&place.segment).is_some_and(|table| table.find(place.at).is_some())
    }

    /// Old places in all tables.
    pub fn len(&self) -> usize {
        self.tables.values().map(|table| table.entries.len()).sum()
    }

    /// Nobody names an old place of a table any more to which nothing came behind this batch.
    pub fn forget(&mut self, through: Lsn) {
        let gone: Vec<u32> = self.tables.iter().filter(|(_, table)| table.lsn <= through).map(|(n, _)| *n).collect();
        self.faded.clear();
        for segment in gone {
            self.touch(segment);
            self.faded.extend(self.tables.remove(&segment).map(|table| (segment, table)));
        }
    }

    /// Whoever held a place when tables were forgotten is done with it.
    pub fn fade(&mut self) {
        self.faded.clear();
    }

    /// A forward has come: `items` are old places of one segment, and new ones. Of two for one place the later counts.
    pub fn add(&mut self, segment: u32, lsn: Lsn, place: Place, items: impl Iterator<Item = (Place, Place)>) {
        if bugs::on(Bug::ForgetForward) {
            return;
        }
        self.touch(segment);
        let table = self.tables.entry(segment).or_default();
        let sorted = table.entries.len();
        let last = table.entries.last().map(|(at, _)| *at);
        // What leads to itself leads nowhere.
        table.entries.extend(items.filter(|(old, new)| old != new).map(|(old, new)| (old.at, new)));
        let rises = table.entries[sorted..].is_sorted_by(|a, b| a.0 < b.0);
        if !rises || table.entries.get(sorted).is_some_and(|(at, _)| last.is_some_and(|last| last >= *at)) {
            // A stable sort of two runs, nearly: of equal ones the later stands behind.
            table.entries.sort_by_key(|(at, _)| *at);
            table.entries.reverse();
            table.entries.dedup_by_key(|(at, _)| *at);
            table.entries.reverse();
        }
        // What is only said again does not make the table younger.
        if table.entries.len() > sorted {
            (table.lsn, table.place) = (lsn, place);
        }
    }

    /// A segment goes: nothing leads there any more. What is not moved on from there is not needed by anybody.
    pub fn shorten(&mut self, gone: u32) {
        let leading = |table: &Table| table.entries.iter().any(|(_, new)| new.segment == gone);
        let leading: Vec<u32> = self.tables.iter().filter(|(_, table)| leading(table)).map(|(n, _)| *n).collect();
        leading.into_iter().for_each(|segment| self.touch(segment));
        let Some(there) = self.tables.get(&gone).cloned() else {
            self.tables.values_mut().for_each(|table| table.entries.retain(|(_, new)| new.segment != gone));
            return;
        };
        for table in self.tables.values_mut() {
            table.entries.retain_mut(|(_, new)| {
                if new.segment == gone {
                    match there.find(new.at) {
                        Some(next) => *new = next,
                        None => return false,
                    }
                }
                true
            });
            table.entries.shrink_to_fit();
        }
    }

    fn touch(&mut self, segment: u32) {
        self.marks.touch(segment, || image(self.tables.get(&segment)));
    }

    /// Images of the next tables of a checkpoint: see [`Marks::take`].
    pub fn take(&mut self, bytes: usize) -> Vec<(u32, Vec<u8>)> {
        self.marks.take(bytes, |segment| image(self.tables.get(&segment)))
    }

    /// Puts a table there that a checkpoint had. `None`: no image of a table.
    pub fn restore(&mut self, segment: u32, r: &mut Reader<'_>) -> Option<()> {
        self.tables.insert(segment, Table::decode(r)?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u32, at: u32) -> Place {
        Place { segment, at }
    }

    fn moved(forwards: &mut Forwards, from: u32, to: u32, ats: &[(u32, u32)]) {
        let items = ats.iter().map(|(old, new)| (place(from, *old), place(to, *new)));
        forwards.add(from, 1, place(to, 0), items);
    }

    #[test]
    fn a_place_is_followed_as_often_as_it_was_moved() {
        let mut forwards = Forwards::default();
        moved(&mut forwards, 1, 5, &[(10, 100), (30, 300)]);
        moved(&mut forwards, 1, 5, &[(20, 200)]);
        moved(&mut forwards, 5, 9, &[(200, 7), (300, 8)]);
        let now = [10, 20, 30, 40].map(|at| forwards.resolve(place(1, at)));
        assert_eq!(now, [place(5, 100), place(9, 7), place(9, 8), place(1, 40)]);
    }

    #[test]
    fn tables_are_shortened_when_a_segment_goes_and_forget_what_was_not_moved_on() {
        let mut forwards = Forwards::default();
        moved(&mut forwards, 1, 5, &[(10, 100), (20, 200), (30, 300)]);
        moved(&mut forwards, 2, 6, &[(10, 100)]);
        moved(&mut forwards, 5, 9, &[(200, 7)]);
        forwards.shorten(5);
        assert_eq!(forwards.table(1).unwrap().entries(), [(20, place(9, 7))]);
        assert_eq!(forwards.resolve(place(2, 10)), place(6, 100));
        forwards.shorten(6);
        assert_eq!(forwards.table(2).unwrap().entries(), []);
    }

    #[test]
    fn tables_come_back_from_their_images() {
        let mut forwards = Forwards::default();
        moved(&mut forwards, 1, 5, &[(10, 100), (20, 200)]);
        moved(&mut forwards, 2, 6, &[(10, 100)]);
        forwards.marks.begin();
        forwards.shorten(5);
        let images = forwards.take(usize::MAX);
        assert_eq!(
            images.iter().map(|(segment, image)| (*segment, image.len())).collect::<Vec<_>>(),
            [(1, 28), (2, 24)]
        );
        let mut back = Forwards::default();
        back.restore(1, &mut Reader::new(&images[0].1)).unwrap();
        assert_eq!(back.resolve(place(1, 20)), place(5, 200), "as it was when the checkpoint began");
    }

    #[test]
    fn what_is_forgotten_is_known_to_who_asks_soon_and_not_later() {
        let mut forwards = Forwards::default();
        moved(&mut forwards, 1, 5, &[(10, 100)]);
        forwards.add(2, 7, place(5, 0), [(place(2, 10), place(5, 200))].into_iter());
        forwards.marks.begin();
        forwards.forget(6);
        assert_eq!((forwards.len(), forwards.table(1).is_none()), (1, true));
        assert_eq!(forwards.resolve(place(1, 10)), place(5, 100));
        moved(&mut forwards, 5, 9, &[(100, 1), (200, 2)]);
        assert_eq!(forwards.resolve(place(1, 10)), place(9, 1), "moved on from there");
        forwards.fade();
        assert_eq!(forwards.resolve(place(1, 10)), place(1, 10));
        assert_eq!(forwards.resolve(place(2, 10)), place(9, 2));
        let mut back = Forwards::default();
        for (segment, image) in forwards.take(usize::MAX).into_iter().filter(|(_, image)| !image.is_empty()) {
            back.restore(segment, &mut Reader::new(&image)).unwrap();
        }
        assert_eq!(back.resolve(place(1, 10)), place(5, 100), "as it was when the checkpoint began");
    }

    #[test]
    fn of_two_forwards_of_one_place_the_later_counts_and_circles_end() {
        let mut forwards = Forwards::default();
        moved(&mut forwards, 1, 5, &[(20, 200), (10, 100)]);
        moved(&mut forwards, 1, 6, &[(10, 1)]);
        assert_eq!((forwards.resolve(place(1, 10)), forwards.resolve(place(1, 20))), (place(6, 1), place(5, 200)));
        moved(&mut forwards, 6, 1, &[(1, 10)]);
        assert_eq!(forwards.resolve(place(1, 10)), place(1, 10), "what leads in a circle is where it is");
    }
}
