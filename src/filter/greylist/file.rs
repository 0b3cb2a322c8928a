//! What greylisting remembers, as a file: written now and then and at the end, read at the start, believed only whole.
//!
//! ```text
//!   "RPGREY01" · waiting u32 · known u32 · waiting × (network 16, triplet 8, first seen 4) · known × (network 16, last seen 4) · XXH3-64
//! ```
//!
//! Numbers are little-endian, times seconds since 1970. Each shard writes `greylist/shard-N` and at the start reads all of them:
//! networks have other homes when there are more shards, or fewer. What is lost or broken costs waits and nothing else, so
//! nothing is synced.

use std::fs;
use std::io;
use std::path::Path;

use super::super::Network;
use super::{Asked, Table};
use crate::limits::{FILTER_KNOWN_MAX, FILTER_TRIPLETS_MAX};

const MAGIC: &[u8; 8] = b"RPGREY01";
const HEAD_BYTES: usize = 16;
const WAITING_BYTES: usize = 28;
const KNOWN_BYTES: usize = 20;
const SUM_BYTES: usize = 8;
/// The largest file that a shard writes, octets.
const FILE_BYTES_MAX: usize =
    HEAD_BYTES + FILTER_TRIPLETS_MAX * WAITING_BYTES + FILTER_KNOWN_MAX * KNOWN_BYTES + SUM_BYTES;
/// Files looked at when a store is opened. More: not looked at.
const FILES_MAX: usize = 1_024;

impl Table {
    /// All of it.
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        let (waiting, known) = self.len();
        let mut octets = Vec::with_capacity(HEAD_BYTES + waiting * WAITING_BYTES + known * KNOWN_BYTES + SUM_BYTES);
        octets.extend(MAGIC);
        octets.extend(u32::try_from(waiting).expect("bounded").to_le_bytes());
        octets.extend(u32::try_from(known).expect("bounded").to_le_bytes());
        for (network, of) in &self.waiting {
            for waiting in of {
                octets.extend(network.octets());
                octets.extend(waiting.triplet.to_le_bytes());
                octets.extend(waiting.first_s.to_le_bytes());
            }
        }
        for (network, last_s) in self.known.iter() {
            octets.extend(network.octets());
            octets.extend(last_s.to_le_bytes());
        }
        let sum = xxhash_rust::xxh3::xxh3_64(&octets);
        octets.extend(sum.to_le_bytes());
        octets
    }

    /// Takes in what of a file is still of use and `is_mine`. False: it is not whole, and nothing was taken.
    pub fn take_in(&mut self, octets: &[u8], is_mine: impl Fn(Network) -> bool, now_s: u32) -> bool {
        let Some((waiting, known)) = read(octets) else { return false };
        for (network, last_s) in known {
            let last_s = last_s.min(now_s);
            let newer = self.known.last_s(network).is_none_or(|there| there < last_s);
            if newer && is_mine(network) && now_s - last_s < self.settings.keep_s {
                self.note(network, last_s);
            }
        }
        let mut waiting: Vec<_> = waiting.filter(|(asked, _)| is_mine(asked.network)).collect();
        // Oldest first, as everywhere in the table.
        waiting.sort_unstable_by_key(|(_, first_s)| *first_s);
        for (asked, first_s) in waiting {
            let first_s = first_s.min(now_s);
            if now_s - first_s <= self.settings.window_s && self.first_s(asked).is_none() {
                self.remember(asked, first_s);
            }
        }
        true
    }
}

type Parts<'a> = (Box<dyn Iterator<Item = (Asked, u32)> + 'a>, Box<dyn Iterator<Item = (Network, u32)> + 'a>);

fn read(octets: &[u8]) -> Option<Parts<'_>> {
    let number = |octets: &[u8]| octets.try_into().map(u32::from_le_bytes).ok();
    let network = |octets: &[u8]| Network::from_octets(octets.try_into().expect("16 octets"));
    let (body, sum) = octets.split_last_chunk::<SUM_BYTES>()?;
    if body.get(..8)? != MAGIC || xxhash_rust::xxh3::xxh3_64(body) != u64::from_le_bytes(*sum) {
        return None;
    }
    let waiting = usize::try_from(number(body.get(8..12)?)?).ok()?.checked_mul(WAITING_BYTES)?;
    let known = usize::try_from(number(body.get(12..16)?)?).ok()?.checked_mul(KNOWN_BYTES)?;
    let rest = &body[HEAD_BYTES..];
    if rest.len() != waiting.checked_add(known)? {
        return None;
    }
    let (waiting, known) = rest.split_at(waiting);
    let waiting = waiting.chunks_exact(WAITING_BYTES).map(move |one| {
        let triplet = u64::from_le_bytes(one[16..24].try_into().expect("8 octets"));
        (Asked { network: network(&one[..16]), triplet }, number(&one[24..]).expect("4 octets"))
    });
    let known =
        known.chunks_exact(KNOWN_BYTES).map(move |one| (network(&one[..16]), number(&one[16..]).expect("4 octets")));
    Some((Box::new(waiting), Box::new(known)))
}

/// Writes a shard's file. Blocks: for a side thread.
///
/// # Errors
/// As the file system's; what was there before is there still.
pub fn write(folder: &Path, shard: u16, octets: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!("shard-{shard}.new"));
    fs::write(&new, octets)?;
    fs::rename(new, folder.join(format!("shard-{shard}")))
}

/// Reads the files of all shards. Blocks: for a side thread. None, where there is no folder.
///
/// # Errors
/// As the file system's.
pub fn read_all(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(why),
    };
    let mut files = Vec::new();
    for entry in entries.take(FILES_MAX) {
        let entry = entry?;
        let name = entry.file_name();
        let is_one =
            name.to_str().and_then(|name| name.strip_prefix("shard-")).is_some_and(|n| n.parse::<u16>().is_ok());
        if is_one && entry.metadata()?.is_file() && entry.metadata()?.len() <= FILE_BYTES_MAX as u64 {
            files.push(fs::read(entry.path())?);
        }
    }
    Ok(files)
}

/// Removes the files of shards from this number on: the others have taken in what was theirs. Blocks: for a side thread.
pub fn remove_from(folder: &Path, shards: u16) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.take(FILES_MAX).flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("shard-")).and_then(|n| n.parse::<u16>().ok());
        if number.is_some_and(|number| number >= shards) {
            // One that stays is read once more at the next start.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Mode, Said, Settings};
    use super::*;

    const SETTINGS: Settings = Settings { mode: Mode::Defer, delay_s: 300, window_s: 10_000, keep_s: 100_000 };

    fn network(n: u8) -> Network {
        Network::of([10, 0, n, 1].into())
    }

    fn table() -> Table {
        let mut table = Table::new(SETTINGS);
        for n in 0..10 {
            let letter = Asked::about(network(n), "a@b", "c@d");
            assert_eq!(table.ask(letter, 1_000), Said::Wait(300));
            if n < 5 {
                assert_eq!(table.ask(letter, 1_300), Said::Pass);
            }
        }
        table
    }

    #[test]
    fn what_a_shard_wrote_is_shared_out_among_others() {
        let octets = table().octets();
        let mut shards = [Table::new(SETTINGS), Table::new(SETTINGS), Table::new(SETTINGS)];
        for (n, shard) in (0..).zip(&mut shards) {
            assert!(shard.take_in(&octets, |network| network.home(3) == n, 1_301));
        }
        let sum = shards.iter().fold((0, 0), |sum, shard| (sum.0 + shard.len().0, sum.1 + shard.len().1));
        assert_eq!(sum, (5, 5));
        for n in 0..10 {
            let home = usize::from(network(n).home(3));
            assert_eq!(shards[home].ask(Asked::about(network(n), "a@b", "c@d"), 1_302), Said::Pass, "{n}");
        }
    }

    #[test]
    fn what_is_over_is_not_taken_in() {
        let mut late = Table::new(SETTINGS);
        assert!(late.take_in(&table().octets(), |_| true, 50_000));
        assert_eq!(late.len(), (0, 5));
        let mut later = Table::new(SETTINGS);
        assert!(later.take_in(&table().octets(), |_| true, 500_000));
        assert!(later.is_empty());
    }

    #[test]
    fn a_file_that_is_not_whole_is_not_believed() {
        let octets = table().octets();
        for end in 0..octets.len() {
            let mut new = Table::new(SETTINGS);
            assert!(!new.take_in(&octets[..end], |_| true, 1_301) && new.is_empty(), "{end}");
        }
        for at in 0..octets.len() {
            let mut wrong = octets.clone();
            wrong[at] ^= 1;
            assert!(!Table::new(SETTINGS).take_in(&wrong, |_| true, 1_301), "{at}");
        }
    }

    #[test]
    fn files_of_shards_that_are_no_more_are_read_and_then_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("greylist");
        assert_eq!(read_all(&folder).expect("nothing"), [[0_u8; 0]; 0]);
        for shard in 0..4 {
            write(&folder, shard, &table().octets()).expect("written");
        }
        fs::write(folder.join("other"), b"x").expect("written");
        assert_eq!(read_all(&folder).expect("files").len(), 4);
        remove_from(&folder, 2);
        assert_eq!(read_all(&folder).expect("files").len(), 2);
        assert!(folder.join("other").exists());
    }
}
