//! A disk with a volatile write cache, in memory: what was written since the last flush is in doubt until the next.
//!
//! At a cut each sector that is in doubt gets one of the contents it has had since the last flush, the flushed one
//! among them, by itself: writes vanish, tear at 512 octets and swap places. How much survives is the cut's mood.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// What a disk writes whole, octets.
pub const SECTOR_BYTES: usize = 512;

/// What a disk that lies has in doubt after a flush: so many sectors that were written last.
const LIE_SECTORS: u64 = 256;

type Sector = [u8; SECTOR_BYTES];

/// The disk.
pub struct Platter {
    /// As readers see it.
    now: Vec<u8>,
    /// Each sector in doubt.
    doubts: BTreeMap<usize, Doubt>,
    /// Flushes are acknowledged, and what was written last is still in doubt: what the tool is tested with.
    lies: bool,
    /// Sectors written so far.
    sectors: u64,
    pub flushes: u64,
    pub writes: u64,
}

/// A sector in doubt.
#[derive(Default)]
struct Doubt {
    /// What it has held from the last flush on, the newest aside.
    before: Vec<Sector>,
    /// Which of all sectors written was its newest.
    newest: u64,
}

/// What a cut has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cut {
    /// Sectors that were in doubt.
    pub doubts: u64,
    /// Of these the ones that did not get their newest content.
    pub lost: u64,
}

impl Platter {
    /// Zeros.
    #[must_use]
    pub fn new(bytes: usize, lies: bool) -> Self {
        assert!(bytes.is_multiple_of(SECTOR_BYTES), "whole sectors");
        Platter { now: vec![0; bytes], doubts: BTreeMap::new(), lies, sectors: 0, flushes: 0, writes: 0 }
    }

    /// Octets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.now.len()
    }

    /// Some of it as readers see it, cut at its end.
    #[must_use]
    pub fn read(&self, at: usize, len: usize) -> &[u8] {
        let end = at.saturating_add(len).min(self.now.len());
        &self.now[at.min(end)..end]
    }

    /// Writes into the cache. False: it would lie past the end, and nothing was written.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> bool {
        let Some(end) = at.checked_add(bytes.len()).filter(|end| *end <= self.now.len()) else { return false };
        for sector in at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let whole = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
            let before: Sector = self.now[whole].try_into().expect("a sector is 512 octets");
            self.sectors += 1;
            let doubt = self.doubts.entry(sector).or_default();
            doubt.before.push(before);
            doubt.newest = self.sectors;
        }
        self.now[at..end].copy_from_slice(bytes);
        self.writes += 1;
        true
    }

    /// Everything written so far stays.
    pub fn flush(&mut self) {
        self.flushes += 1;
        let sure = if self.lies { self.sectors.saturating_sub(LIE_SECTORS) } else { self.sectors };
        self.doubts.retain(|_, doubt| doubt.newest > sure);
    }

    /// Cuts the power: nothing is in doubt any more.
    pub fn cut(&mut self, chance: &mut StdRng) -> Cut {
        let keeps = *[0.0, 0.1, 0.5, 0.9, 0.98].choose(chance).expect("there are some");
        let mut cut = Cut::default();
        for (sector, Doubt { before, .. }) in std::mem::take(&mut self.doubts) {
            cut.doubts += 1;
            if chance.random_bool(keeps) {
                continue;
            }
            cut.lost += 1;
            let left = before.choose(chance).expect("one a write");
            self.now[sector * SECTOR_BYTES..][..SECTOR_BYTES].copy_from_slice(left);
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn what_was_flushed_stays_and_the_rest_is_anybodys_guess() {
        let (mut stayed, mut gone, mut between) = (0, 0, 0);
        for seed in 0..400 {
            let mut platter = Platter::new(8 * SECTOR_BYTES, false);
            assert!(platter.write(0, &[1; 2 * SECTOR_BYTES]));
            platter.flush();
            assert!(platter.write(0, &[2; SECTOR_BYTES]) && platter.write(0, &[3; SECTOR_BYTES]));
            assert!(platter.write(4 * SECTOR_BYTES + 7, &[9; 10]));
            assert_eq!(platter.read(0, 1), [3]);
            let cut = platter.cut(&mut StdRng::seed_from_u64(seed));
            assert_eq!(cut.doubts, 2);
            assert_eq!(platter.read(SECTOR_BYTES, 1), [1], "flushed");
            match platter.read(0, 1)[0] {
                1 => gone += 1,
                2 => between += 1,
                3 => stayed += 1,
                other => panic!("{other}"),
            }
            assert!(platter.read(0, SECTOR_BYTES).windows(2).all(|pair| pair[0] == pair[1]), "a sector is whole");
        }
        assert!(stayed > 50 && gone > 50 && between > 50, "{stayed} {gone} {between}");
    }

    #[test]
    fn a_disk_that_lies_loses_what_it_said_was_flushed() {
        let lost = |lies| {
            (0..50).any(|seed| {
                let mut platter = Platter::new(SECTOR_BYTES, lies);
                platter.write(0, &[1; SECTOR_BYTES]);
                platter.flush();
                platter.cut(&mut StdRng::seed_from_u64(seed));
                platter.read(0, 1) == [0]
            })
        };
        assert!(lost(true) && !lost(false));
    }

    #[test]
    fn nothing_is_written_past_the_end() {
        let mut platter = Platter::new(SECTOR_BYTES, false);
        assert!(!platter.write(1, &[1; SECTOR_BYTES]));
        assert_eq!((platter.read(0, 9_999).len(), platter.read(9_999, 1).len()), (SECTOR_BYTES, 0));
    }
}
