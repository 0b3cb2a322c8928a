//! One simulated file: what readers see, and what a power cut may leave of it.
//!
//! Octets lie in pages that are shared until they are written, so a copy of a file costs a pointer a page, and a page's
//! digest is computed once for all copies.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rand::Rng;
use rand::rngs::StdRng;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The unit below which nothing tears (mostly), octets.
pub const SECTOR_BYTES: usize = 512;
/// The unit that copies of a file share, octets.
const PAGE_BYTES: usize = 8 * SECTOR_BYTES;

type Sector = Rc<[u8]>;

/// A file's octets and their fate.
#[derive(Clone, Default)]
pub struct Content {
    /// What readers see.
    pages: Vec<Rc<Page>>,
    len: usize,
    /// Sectors written since the last sync: their earlier contents, the durable one first.
    unsynced: BTreeMap<usize, Vec<Sector>>,
    /// The same for sectors whose sync failed: only writing them again helps.
    doomed: BTreeMap<usize, Vec<Sector>>,
    /// Sectors that cannot be read until they are written again.
    worn: BTreeSet<usize>,
}

struct Page {
    bytes: [u8; PAGE_BYTES],
    digest: Cell<Option<u128>>,
}

impl Clone for Page {
    fn clone(&self) -> Self {
        Page { bytes: self.bytes, digest: Cell::new(None) }
    }
}

/// How a power cut treats sectors: each has its own fate, but some cuts keep nearly all and some nearly nothing. Were all
/// fates even, the cut that keeps all of 40 sectors but one would never be seen.
#[derive(Clone, Copy, Debug)]
pub struct Mood {
    /// Of 16 sectors so many are as written last.
    newest: u32,
    /// One sector in so many is torn.
    torn: u32,
}

impl Mood {
    pub fn draw(chance: &mut StdRng) -> Self {
        let newest = [0, 1, 4, 8, 8, 8, 12, 15, 15, 16][chance.random_range(0..10)];
        Mood { newest, torn: [8, 64][chance.random_range(0..2)] }
    }
}

impl Content {
    pub fn zeros(len: usize) -> Self {
        thread_local! {
            static BLANK: Rc<Page> = Rc::new(Page { bytes: [0; PAGE_BYTES], digest: Cell::new(None) });
        }
        let blank = BLANK.with(Rc::clone);
        Content { pages: vec![blank; len.div_ceil(PAGE_BYTES)], len, ..Content::default() }
    }

    /// These octets, durable.
    pub fn of(bytes: &[u8]) -> Self {
        let mut content = Content::zeros(bytes.len());
        content.put(0, bytes);
        content
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The octets at `at`; `None` past the end.
    pub fn read(&self, at: usize, len: usize) -> Option<Vec<u8>> {
        let end = at.checked_add(len).filter(|end| *end <= self.len)?;
        let mut out = Vec::with_capacity(len);
        let mut at = at;
        while at < end {
            let (page, from) = (at / PAGE_BYTES, at % PAGE_BYTES);
            let to = (from + end - at).min(PAGE_BYTES);
            out.extend_from_slice(&self.pages[page].bytes[from..to]);
            at += to - from;
        }
        Some(out)
    }

    /// Writes, visible at once, durable not yet.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        assert!(end <= self.len, "files do not grow");
        if bytes.is_empty() {
            return;
        }
        for sector in at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            self.worn.remove(&sector);
            let old = self.sector(sector).into();
            // Written anew, a doomed sector has hope again.
            let before = self.doomed.remove(&sector);
            let history = self.unsynced.entry(sector).or_insert_with(|| before.unwrap_or_default());
            history.push(old);
        }
        self.put(at, bytes);
    }

    /// These octets cannot be read until they are written again.
    pub fn wear_out(&mut self, at: usize, len: usize) {
        self.worn.extend(at / SECTOR_BYTES..(at + len).div_ceil(SECTOR_BYTES));
    }

    /// True if some of these octets cannot be read.
    pub fn is_worn_out(&self, at: usize, len: usize) -> bool {
        self.worn.range(at / SECTOR_BYTES..at.saturating_add(len).div_ceil(SECTOR_BYTES)).next().is_some()
    }

    /// Changes octets without a trace: what is there now was always there.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.len, "files do not grow");
        let (mut at, mut bytes) = (at, bytes);
        while !bytes.is_empty() {
            let (page, from) = (at / PAGE_BYTES, at % PAGE_BYTES);
            let (now, later) = bytes.split_at(bytes.len().min(PAGE_BYTES - from));
            let page = &mut self.pages[page];
            if page.bytes[from..from + now.len()] != *now {
                let page = Rc::make_mut(page);
                page.digest.set(None);
                page.bytes[from..from + now.len()].copy_from_slice(now);
            }
            at += now.len();
            bytes = later;
        }
    }

    pub fn sync(&mut self) {
        self.unsynced.clear();
    }

    /// The kernel has forgotten that these were to be written.
    pub fn fail_sync(&mut self) {
        for (sector, mut history) in std::mem::take(&mut self.unsynced) {
            self.doomed.entry(sector).or_default().append(&mut history);
        }
    }

    pub fn unsynced_sectors(&self) -> usize {
        self.unsynced.len() + self.doomed.len()
    }

    /// Sectors that a power cut may leave in more than one way, rising, with the different contents each may have.
    pub fn doubts(&self) -> Vec<(usize, Vec<Sector>)> {
        let mut out = Vec::new();
        for (&sector, history) in self.unsynced.iter().chain(&self.doomed) {
            let mut ways: Vec<Sector> = vec![self.sector(sector).into()];
            for old in history {
                if !ways.contains(old) {
                    ways.push(old.clone());
                }
            }
            if ways.len() > 1 {
                out.push((sector, ways));
            }
        }
        out.sort_unstable_by_key(|(sector, _)| *sector);
        out
    }

    /// The power is gone, and left these contents of sectors; of all others in doubt the newest.
    pub fn settle<'a>(&mut self, left: impl Iterator<Item = (usize, &'a [u8])>) {
        self.unsynced.clear();
        self.doomed.clear();
        for (sector, bytes) in left {
            self.put(sector * SECTOR_BYTES, bytes);
        }
    }

    /// The power goes: each sector's fate is its own.
    pub fn crash(&mut self, mood: Mood, chance: &mut StdRng) {
        let mut left: Vec<(usize, Vec<u8>)> = Vec::new();
        for (sector, ways) in self.doubts() {
            let draw = |chance: &mut StdRng| {
                let newest = chance.random_ratio(mood.newest, 16);
                &ways[if newest { 0 } else { chance.random_range(1..ways.len()) }]
            };
            let mut bytes = draw(chance).to_vec();
            if chance.random_ratio(1, mood.torn) {
                let other = &ways[chance.random_range(0..ways.len())];
                let cut = chance.random_range(0..bytes.len());
                bytes[cut..].copy_from_slice(&other[cut..]);
            }
            left.push((sector, bytes));
        }
        self.settle(left.iter().map(|(sector, bytes)| (*sector, &bytes[..])));
    }

    /// Takes length and octets into a hash.
    pub fn hash(&self, into: &mut Xxh3) {
        into.update(&(self.len as u64).to_le_bytes());
        for page in &self.pages {
            let digest = page.digest.get().unwrap_or_else(|| {
                let digest = xxh3_128(&page.bytes);
                page.digest.set(Some(digest));
                digest
            });
            into.update(&digest.to_le_bytes());
        }
    }

    /// A sector as readers see it. Pages hold whole sectors.
    fn sector(&self, sector: usize) -> &[u8] {
        let at = sector * SECTOR_BYTES;
        let (page, from) = (at / PAGE_BYTES, at % PAGE_BYTES);
        &self.pages[page].bytes[from..from + SECTOR_BYTES.min(self.len - at)]
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn digest(content: &Content) -> u128 {
        let mut hash = Xxh3::new();
        content.hash(&mut hash);
        hash.digest128()
    }

    #[test]
    fn a_copy_goes_its_own_way() {
        let mut one = Content::zeros(3 * PAGE_BYTES + 100);
        let mut two = one.clone();
        two.write(PAGE_BYTES - 10, &[7; 20]);
        assert_eq!(one.read(PAGE_BYTES - 10, 20).unwrap(), [0; 20]);
        assert_eq!(two.read(PAGE_BYTES - 11, 22).unwrap()[..2], [0, 7]);
        assert_ne!(digest(&one), digest(&two));
        one.write(PAGE_BYTES - 10, &[7; 20]);
        assert_eq!(digest(&one), digest(&two));
        assert_eq!(one.read(3 * PAGE_BYTES, 101), None);
    }

    #[test]
    fn what_was_synced_is_in_no_doubt_and_equal_contents_are_none() {
        let mut content = Content::zeros(4 * SECTOR_BYTES);
        content.write(0, &[1; 2 * SECTOR_BYTES]);
        content.sync();
        content.write(SECTOR_BYTES, &[2; SECTOR_BYTES]);
        content.write(2 * SECTOR_BYTES, &[0; SECTOR_BYTES]);
        assert_eq!(content.unsynced_sectors(), 2);
        let doubts = content.doubts();
        assert_eq!((doubts.len(), doubts[0].0, doubts[0].1.len()), (1, 1, 2));
    }

    #[test]
    fn a_crash_leaves_old_and_new_and_torn_sectors() {
        let mut chance = StdRng::seed_from_u64(1);
        let (mut old, mut new, mut torn) = (0, 0, 0);
        for _ in 0..500 {
            let mut content = Content::zeros(SECTOR_BYTES);
            content.write(0, &[9; SECTOR_BYTES]);
            content.crash(Mood::draw(&mut chance), &mut chance);
            match content.read(0, SECTOR_BYTES).unwrap().iter().filter(|b| **b == 9).count() {
                0 => old += 1,
                SECTOR_BYTES => new += 1,
                _ => torn += 1,
            }
            assert_eq!(content.unsynced_sectors(), 0);
        }
        assert!(old.min(new) > 100 && torn > 5, "{old} {new} {torn}");
    }
}
