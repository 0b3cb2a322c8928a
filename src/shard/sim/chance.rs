//! Chance: every random choice of a simulated world, from one seed.
//!
//! SplitMix64, written out here so that a seed noted today tells the same story after any dependency's update.
//! Each part of the world draws from a stream of its own: a change in how the network draws does not move the disk.

use std::cell::Cell;

/// A stream of choices. Not for secrets.
#[derive(Debug)]
pub struct Chance(Cell<u64>);

impl Chance {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Chance(Cell::new(seed))
    }

    /// A stream of its own for the part called `label`.
    #[must_use]
    pub fn of(seed: u64, label: &str) -> Self {
        let mut mixed = seed ^ 0x5249_4e47_504f_5354;
        for byte in label.bytes() {
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let chance = Chance::new(mixed);
        chance.draw();
        chance
    }

    /// The next 64 bits.
    pub fn draw(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..n`; `n` is at least 1.
    pub fn below(&self, n: u64) -> u64 {
        assert!(n > 0, "a choice among nothing");
        u64::try_from((u128::from(self.draw()) * u128::from(n)) >> 64).expect("less than n")
    }

    /// An index of a slice of `len` things; `len` is at least 1.
    pub fn index(&self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("less than len")
    }

    /// A number in `low..=high`.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        assert!(low <= high && high - low < u64::MAX, "an empty or endless range");
        low + self.below(high - low + 1)
    }

    /// True once in `n` times.
    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Fills `into`.
    pub fn fill(&self, into: &mut [u8]) {
        for piece in into.chunks_mut(8) {
            let bits = self.draw().to_le_bytes();
            piece.copy_from_slice(&bits[..piece.len()]);
        }
    }
}
