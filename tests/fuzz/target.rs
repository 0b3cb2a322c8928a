//! What a target is, what chance makes of octets, and what is kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ringpost_storage::fuzz::spoil;

/// Octets of one input, at most: more than any bound of a line, less than a second.
const INPUT_BYTES_MAX: usize = 48 << 10;

/// One thing that reads octets.
pub struct Target {
    /// What it is called, and its folder of the corpus.
    pub name: &'static str,
    /// Octets that are mostly right.
    pub make: fn(&mut SmallRng) -> Vec<u8>,
    /// Words of its language, to be put anywhere.
    pub words: &'static [&'static [u8]],
    /// Looks at any octets; true: they were taken for what they should be. Chance decides how they are cut. Panics, with a
    /// sentence, when something does not hold.
    pub look: fn(&[u8], &mut SmallRng) -> bool,
    /// Octets that a look may allocate, and so many more for each octet of its input.
    pub allocates: (u64, u64),
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub taken: u64,
    pub refused: u64,
    /// The most octets that a look allocated.
    pub allocated: u64,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.taken += other.taken;
        self.refused += other.refused;
        self.allocated = self.allocated.max(other.allocated);
    }
}

/// How many octets were allocated so far.
pub type Allocated<'a> = &'a dyn Fn() -> u64;

impl Target {
    /// Looks at any octets.
    ///
    /// # Panics
    /// When something does not hold. The octets are shown.
    pub fn judge(&self, octets: &[u8], seed: u64, allocated: Allocated<'_>) -> Tally {
        let shown = Shown(octets);
        let before = allocated();
        let taken = (self.look)(octets, &mut SmallRng::seed_from_u64(seed));
        let allocated = allocated() - before;
        let most = self.allocates.0 + self.allocates.1 * octets.len() as u64;
        assert!(allocated <= most, "{allocated} octets allocated for {}, {most} is the bound", octets.len());
        std::mem::forget(shown);
        Tally { taken: u64::from(taken), refused: u64::from(!taken), allocated }
    }

    /// What a seed does: octets that are mostly right, and the same spoilt.
    ///
    /// # Panics
    /// See [`Target::judge`].
    pub fn trial(&self, seed: u64, kept: &Kept, allocated: Allocated<'_>) -> Tally {
        let mut chance = SmallRng::seed_from_u64(seed);
        let mut octets = match kept.some_of(self.name, &mut chance) {
            Some(kept) if chance.random_ratio(1, 4) => kept.to_vec(),
            _ => (self.make)(&mut chance),
        };
        let mut tally = self.judge(&octets, seed, allocated);
        for _ in 0..3 {
            let other = kept.some(&mut chance).unwrap_or_default();
            if chance.random() {
                spoil(&mut chance, &mut octets, other);
            }
            for _ in 0..chance.random_range(0..3) {
                let word = self.words[chance.random_range(0..self.words.len())];
                let at = chance.random_range(0..=octets.len());
                let over = chance.random_range(0..=word.len()).min(octets.len() - at);
                octets.splice(at..at + over, word.iter().copied());
            }
            octets.truncate(INPUT_BYTES_MAX);
            tally.add(self.judge(&octets, seed, allocated));
        }
        tally
    }
}

/// Shows the octets when their judge panics.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        println!("these octets: {}", self.0.escape_ascii());
    }
}

/// Octets that were kept, with the target and the file of each.
pub struct Kept(Vec<(&'static str, PathBuf, Vec<u8>)>);

impl Kept {
    /// The corpus of these targets.
    pub fn read(targets: &[Target]) -> io::Result<Kept> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
        let mut kept = Vec::new();
        for entry in fs::read_dir(&corpus)? {
            let folder = entry?.path();
            let target = targets.iter().find(|target| folder.ends_with(target.name));
            let name = target.ok_or_else(|| io::Error::other(format!("{}: no such target", folder.display())))?.name;
            let mut files = fs::read_dir(&folder)?.map(|file| Ok(file?.path())).collect::<io::Result<Vec<_>>>()?;
            files.sort();
            for file in files {
                kept.push((name, PathBuf::from(file.file_name().expect("listed")), fs::read(&file)?));
            }
        }
        kept.sort();
        Ok(Kept(kept))
    }

    /// Those of one target, with their names.
    pub fn of(&self, target: &str) -> impl Iterator<Item = (std::path::Display<'_>, &[u8])> {
        self.0.iter().filter(move |kept| kept.0 == target).map(|(_, name, octets)| (name.display(), &octets[..]))
    }

    fn some_of(&self, target: &str, chance: &mut SmallRng) -> Option<&[u8]> {
        let count = self.of(target).count();
        if count == 0 { None } else { self.of(target).nth(chance.random_range(0..count)).map(|kept| kept.1) }
    }

    fn some(&self, chance: &mut SmallRng) -> Option<&[u8]> {
        if self.0.is_empty() { None } else { Some(&self.0[chance.random_range(0..self.0.len())].2) }
    }
}

/// One of them.
pub fn one<'a>(chance: &mut SmallRng, of: &[&'a [u8]]) -> &'a [u8] {
    of[chance.random_range(0..of.len())]
}

/// Some of them, one after the other.
pub fn some(chance: &mut SmallRng, of: &[&[u8]], most: usize) -> Vec<u8> {
    (0..chance.random_range(0..=most)).flat_map(|_| one(chance, of).to_vec()).collect()
}

/// Pieces of them, cut anywhere.
pub fn cut<'a>(chance: &mut SmallRng, octets: &'a [u8]) -> Vec<&'a [u8]> {
    let most = [1, 3, 40, 4_000][chance.random_range(0..4)];
    let mut rest = octets;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(chance.random_range(1..=most).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
