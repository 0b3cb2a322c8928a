//! What open transactions have announced and not yet put on the disk: it counts against what is free (RELIABILITY §4.8).
//!
//! Else a hundred senders that announce 50 MiB each would all be asked for them where there is room for one, and most would hear
//! of it only at the end of what they sent. Each shard counts its own.

use std::cell::Cell;
use std::rc::Rc;

use crate::limits::MAIL_BYTES_UNANNOUNCED;

/// The octets that are expected on a shard. Cheap to clone.
#[derive(Clone, Default)]
pub struct Expected(Rc<Cell<u64>>);

/// A transaction's part of them, until it is dropped.
pub struct Expecting {
    sum: Expected,
    announced: u64,
    octets: u64,
}

impl Expected {
    /// A transaction is open. `announced`: its octets, as its sender said.
    #[must_use]
    pub fn open(&self, announced: Option<u64>) -> Expecting {
        let octets = announced.unwrap_or(MAIL_BYTES_UNANNOUNCED);
        self.0.set(self.0.get().saturating_add(octets));
        Expecting { sum: self.clone(), announced: octets, octets }
    }

    /// Octets that have to be free for all of them: half as much again, because what is stored is more than what is announced
    /// (trace fields, what the log adds), and others write, too.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.0.get().saturating_add(self.0.get() / 2)
    }
}

impl Expecting {
    /// So many octets of it are on the disk by now, and no longer free there.
    pub fn is_there(&mut self, octets: u64) {
        let left = self.announced.saturating_sub(octets);
        self.sum.0.set(self.sum.0.get() - self.octets + left);
        self.octets = left;
    }
}

impl Drop for Expecting {
    fn drop(&mut self) {
        self.sum.0.set(self.sum.0.get() - self.octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_half_as_much_again_as_is_announced_and_not_there() {
        let sum = Expected::default();
        let mut one = sum.open(Some(1_000));
        let other = sum.open(None);
        assert_eq!(sum.octets(), (1_000 + MAIL_BYTES_UNANNOUNCED) * 3 / 2);
        drop(other);
        one.is_there(400);
        assert_eq!(sum.octets(), 900);
        one.is_there(5_000);
        assert_eq!(sum.octets(), 0, "more came than was announced");
        drop(one);
        assert_eq!(sum.octets(), 0);
    }
}
