//! How many doors a shard is to have open, and how many are.

use std::cell::Cell;
use std::rc::Rc;

/// The count of a shard. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Doors(Rc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// `None` until the shard has opened those it is to have.
    wanted: Cell<Option<usize>>,
    open: Cell<usize>,
}

/// An open door, until this drops.
pub struct OpenDoor(Doors);

impl Doors {
    /// So many are to be open from now on.
    pub fn want(&self, count: usize) {
        self.0.wanted.set(Some(count));
    }

    /// One more is open.
    #[must_use]
    pub fn open(&self) -> OpenDoor {
        self.0.open.set(self.0.open.get() + 1);
        OpenDoor(self.clone())
    }

    /// How many are missing; one at least while the shard has not opened any yet.
    #[must_use]
    pub fn shut(&self) -> usize {
        self.0.wanted.get().map_or(1, |wanted| wanted.saturating_sub(self.0.open.get()))
    }
}

impl Drop for OpenDoor {
    fn drop(&mut self) {
        self.0.0.open.set(self.0.0.open.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_that_is_shut_is_missed() {
        let doors = Doors::default();
        assert_eq!(doors.shut(), 1, "not opened yet");
        doors.want(2);
        let (one, two) = (doors.open(), doors.open());
        assert_eq!(doors.shut(), 0);
        drop(one);
        assert_eq!(doors.shut(), 1);
        drop(two);
        doors.want(0);
        assert_eq!(doors.shut(), 0, "a shard without doors is whole");
    }
}
