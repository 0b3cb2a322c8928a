//! The disks that power cuts left, each once: known by a hash of all names and octets.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

/// Shards of the set, so that jobs seldom wait for each other.
const SHARDS: usize = 64;

/// A set of digests, shared by all jobs.
pub struct Images(Vec<Mutex<HashSet<u128, BuildHasherDefault<Digest>>>>);

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
