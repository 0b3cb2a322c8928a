//! Fuzz targets: what reads octets from the disk is given octets that nobody wrote.
//!
//! | target | octets | what reads them |
//! |---|---|---|
//! | `record` | one framed record | [`record`], and every item of its lists |
//! | `directory` | framed records, one after the other | the walk of a directory, and the index that applies it |
//! | `batch` | a batch as it stands in a segment | `recover/frames`: header, directory, bodies, footer, search |
//! | `superblock` | its four copies | the vote, and opening a volume that has nothing else |
//! | `segment` | a segment's header block | its decoder |
//! | `snapshot` | the record of a root | the root's lists, and the account made of it |
//! | `rows` | a checksum, a run of rows | unpacking, overlaying |
//! | `run` | a checksum, a run of summaries | unpacking, looking one up |
//! | `page` | a page of a checkpoint | page, root, every kind of object |
//!
//! A [`Target`] is three functions. `make` gives octets that are valid, from chance, by the encoders that production uses.
//! `look` reads octets as production does, and gives back what it makes of what it read, encoded again; `None`: refused.
//! `mend` puts magics, lengths and checksums right, so that octets which were spoilt get past them to what lies deeper.
//! What must hold of them is in [`Target::judge`], which any fuzzer may call with any octets, and in [`Target::trial`], which
//! the command `store-fuzz` calls with one seed after the other:
//!
//! - nothing panics, and no more is allocated than [`Target::most_bytes`];
//! - what was made reads, and is the same octets when it is encoded again;
//! - what reads at all is, encoded again, something that reads, and is the same octets from then on;
//! - a bit flipped in what a checksum covers is refused; elsewhere it changes nothing.

mod batch;
mod chance;
mod page;
mod record;
mod snapshot;
mod superblock;

use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub use chance::spoil;

/// The volume's secret in all that is made here.
const SEED: u64 = 0x5eed;

/// One thing that reads octets.
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    make: fn(&mut SmallRng) -> Vec<u8>,
    look: fn(&[u8]) -> Option<Vec<u8>>,
    mend: fn(&mut Vec<u8>),
    /// True of an octet that no checksum covers, of what `look` gave back.
    bare: fn(&[u8], usize) -> bool,
    /// Octets that a look may allocate, whatever it looks at.
    fixed_bytes: u64,
    /// How golden files of it begin.
    golden: &'static [&'static str],
}

/// All of them.
pub const TARGETS: [Target; 9] = [
    record::RECORD,
    record::DIRECTORY,
    batch::BATCH,
    superblock::SUPERBLOCK,
    superblock::SEGMENT,
    snapshot::SNAPSHOT,
    snapshot::ROWS,
    snapshot::RUN,
    page::PAGE,
];

/// Octets that a look may allocate for each octet it looks at: vectors grow twofold, a list of what takes one octet on disk
/// is one of pointers in memory, and what was read is encoded again and read once more.
const BYTES_AN_OCTET: u64 = 256;

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Octets that were looked at, so many times.
    pub looks: u64,
    /// Spoilt octets that read nevertheless, most of them because they were mended.
    pub read: u64,
    /// Flipped bits that were refused.
    pub refused: u64,
    /// The most octets that a look allocated.
    pub allocated: u64,
}

impl Tally {
    /// Both together.
    pub fn add(&mut self, other: Tally) {
        self.looks += other.looks;
        self.read += other.read;
        self.refused += other.refused;
        self.allocated = self.allocated.max(other.allocated);
    }
}

/// How many octets were allocated so far, by whoever counts.
pub type Allocated<'a> = &'a dyn Fn() -> u64;

impl Target {
    /// The target of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Target> {
        static ALL: [Target; 9] = TARGETS;
        ALL.iter().find(|target| target.name == name)
    }

    /// Octets that a look at so many may allocate.
    #[must_use]
    pub fn most_bytes(&self, len: usize) -> u64 {
        self.fixed_bytes + len as u64 * BYTES_AN_OCTET
    }

    /// Looks at any octets, as they are and mended.
    ///
    /// # Panics
    /// When something does not hold, with a sentence.
    pub fn judge(&self, octets: &[u8], allocated: Allocated<'_>) -> Tally {
        let mut tally = Tally::default();
        self.settled(octets, allocated, &mut tally);
        let mut mended = octets.to_vec();
        (self.mend)(&mut mended);
        if let Some(again) = self.settled(&mended, allocated, &mut tally) {
            // Some bit, and another one for other octets.
            let bit = xxhash_rust::xxh3::xxh3_64(&again) as usize % (again.len() * 8);
            self.flip(&again, bit, allocated, &mut tally);
        }
        tally
    }

    /// What a seed does: `others` are octets beside those that are made.
    ///
    /// # Panics
    /// When something does not hold, with a sentence.
    pub fn trial(&self, seed: u64, others: &[Vec<u8>], allocated: Allocated<'_>) -> Tally {
        let mut chance = SmallRng::seed_from_u64(seed);
        let mut tally = Tally::default();
        let made = (self.make)(&mut chance);
        let again = self.look(&made, allocated, &mut tally);
        assert!(again.as_ref() == Some(&made), "{}: what was made is not read as it was made", self.name);
        for _ in 0..4 {
            self.flip(&made, chance.random_range(0..made.len() * 8), allocated, &mut tally);
        }
        let mut spoilt = match others.len() {
            n if n > 0 && chance.random_ratio(1, 4) => others[chance.random_range(0..n)].clone(),
            _ => made,
        };
        let other = (self.make)(&mut chance);
        for _ in 0..4 {
            spoil(&mut chance, &mut spoilt, &other);
            tally.add(self.judge(&spoilt, allocated));
        }
        tally
    }

    /// Octets that were kept: golden files of the target, and what was found with it.
    #[must_use]
    pub fn kept(&self) -> Vec<Vec<u8>> {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let files = |folder: &Path| -> Vec<(String, Vec<u8>)> {
            let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
            let mut files: Vec<_> = entries
                .filter_map(|entry| {
                    let entry = entry.ok()?;
                    Some((entry.file_name().into_string().ok()?, std::fs::read(entry.path()).ok()?))
                })
                .collect();
            files.sort_unstable();
            files
        };
        let golden = files(&tests.join("golden"));
        let golden = golden.into_iter().filter(|(name, _)| self.golden.iter().any(|begin| name.starts_with(begin)));
        golden.chain(files(&tests.join("corpus").join(self.name))).map(|(_, octets)| octets).collect()
    }

    fn look(&self, octets: &[u8], allocated: Allocated<'_>, tally: &mut Tally) -> Option<Vec<u8>> {
        let before = allocated();
        let again = (self.look)(octets);
        let took = allocated() - before;
        tally.looks += 1;
        tally.allocated = tally.allocated.max(took);
        let most = self.most_bytes(octets.len());
        assert!(took <= most, "{}: {took} octets allocated for {}, at most {most} may be", self.name, octets.len());
        again
    }

    /// What reads is, encoded again, the same from then on.
    fn settled(&self, octets: &[u8], allocated: Allocated<'_>, tally: &mut Tally) -> Option<Vec<u8>> {
        let again = self.look(octets, allocated, tally)?;
        tally.read += 1;
        let twice = self.look(&again, allocated, tally);
        assert!(
            twice.as_ref() == Some(&again),
            "{}: what was read is another thing when it is written again",
            self.name
        );
        Some(again)
    }

    /// `octets` are as `look` gives them back.
    fn flip(&self, octets: &[u8], bit: usize, allocated: Allocated<'_>, tally: &mut Tally) {
        let mut flipped = octets.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match self.look(&flipped, allocated, tally) {
            None => tally.refused += 1,
            Some(again) => {
                assert!((self.bare)(octets, bit / 8), "{}: bit {bit} was flipped and is believed", self.name);
                assert!(again == octets, "{}: bit {bit}, which nothing covers, makes a difference", self.name);
            }
        }
    }
}

/// Everything is covered.
fn none(_: &[u8], _: usize) -> bool {
    false
}
