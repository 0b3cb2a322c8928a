//! The disks that power cuts left, each once: known by a hash of all names and octets.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use super::tally::Tally;

/// Shards of the set, so that jobs seldom wait for each other.
const SHARDS: usize = 64;

/// A set of digests, shared by all jobs.
pub struct Images(Vec<Mutex<HashSet<u128, BuildHasherDefault<Digest>>>>);

/// One trial's view of them: whether an image is new to everybody, and whether it is to be judged here. The same disk may be
/// right after one promise and wrong after the next (which was acknowledged too early), so an image is passed over only
/// where it was judged by the same promise.
pub struct Seen<'a> {
    all: &'a Images,
    judged: HashSet<u128, BuildHasherDefault<Digest>>,
}

impl<'a> Seen<'a> {
    /// Nothing is judged yet.
    #[must_use]
    pub fn new(all: &'a Images) -> Self {
        Seen { all, judged: HashSet::default() }
    }

    /// Counts an image; true if it is to be judged by this promise.
    pub fn asks(&mut self, tally: &mut Tally, digest: u128, promise: u64) -> bool {
        if self.all.insert(digest) {
            tally.images += 1;
        }
        let fresh =
            self.judged.insert(digest ^ u128::from(promise).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        tally.known += u64::from(!fresh);
        fresh
    }
}

/// A digest is its own hash.
#[derive(Default)]
struct Digest(u64);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Images {
    fn default() -> Self {
        Images((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Images {
    /// Adds a digest. False: it is there already.
    pub fn insert(&self, digest: u128) -> bool {
        let shard = &self.0[(digest >> 64) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner).insert(digest)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).len() as u64).sum()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
