//! One simulated file: what readers see, and what a power cut may leave of it.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

/// The unit below which nothing tears (mostly), octets.
pub const SECTOR_BYTES: usize = 512;

type Sector = Box<[u8]>;

/// A file's octets and their fate.
#[derive(Default)]
pub struct Content {
    /// What readers see.
    pub visible: Vec<u8>,
    /// Sectors written since the last sync: their earlier contents, the durable one first.
    unsynced: BTreeMap<usize, Vec<Sector>>,
    /// The same for sectors whose sync failed: only writing them again helps.
    doomed: BTreeMap<usize, Vec<Sector>>,
}

impl Content {
    pub fn zeros(len: usize) -> Self {
        Content { visible: vec![0; len], ..Content::default() }
    }

    /// Writes, visible at once, durable not yet.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        assert!(end <= self.visible.len(), "files do not grow");
        if bytes.is_empty() {
            return;
        }
        for sector in at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let old = self.sector(sector).into();
            // Written anew, a doomed sector has hope again.
            let before = self.doomed.remove(&sector);
            let history = self.unsynced.entry(sector).or_insert_with(|| before.unwrap_or_default());
            history.push(old);
        }
        self.visible[at..end].copy_from_slice(bytes);
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

    /// The power goes: each sector's fate is its own.
    pub fn crash(&mut self, chance: &mut StdRng) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let doomed = std::mem::take(&mut self.doomed);
        for (sector, history) in unsynced.into_iter().chain(doomed) {
            let newest: Sector = self.sector(sector).into();
            let versions = history.len() + 1;
            let pick = |n: usize| history.get(n).unwrap_or(&newest).clone();
            let mut left = pick(chance.random_range(0..versions));
            if chance.random_ratio(1, 8) {
                let other = pick(chance.random_range(0..versions));
                let cut = chance.random_range(0..left.len());
                left[cut..].copy_from_slice(&other[cut..]);
            }
            let at = sector * SECTOR_BYTES;
            self.visible[at..at + left.len()].copy_from_slice(&left);
        }
    }

    fn sector(&self, sector: usize) -> &[u8] {
        let at = sector * SECTOR_BYTES;
        &self.visible[at..(at + SECTOR_BYTES).min(self.visible.len())]
    }
}
