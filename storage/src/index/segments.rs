//! What lies in each segment: octets in use, and bodies whose users are not just one.
//!
//! A body that is there has one user unless it is listed here, so a segment of letters to one person each costs nothing.
//! Records do not count as in use: once their accounts have been folded, nobody needs them.

use std::collections::BTreeMap;

/// One segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Which time the file is used.
    pub incarnation: u32,
    /// Octets of bodies that somebody uses.
    pub live: u64,
    /// Users of bodies, by place, where they are not one. 0: dead, waiting for compaction.
    pub odd: BTreeMap<u32, u32>,
    /// Runs of rows that a root uses.
    pub blobs: u32,
}

impl Segment {
    /// Users of the body at `at`.
    pub fn users(&self, at: u32) -> u32 {
        self.odd.get(&at).copied().unwrap_or(1)
    }

    /// A body has come with so many users.
    pub fn come(&mut self, at: u32, len: u64, users: u32) {
        if users > 0 {
            self.live += len;
        }
        if users != 1 {
            self.odd.insert(at, users);
        }
    }

    /// A body is somewhere else from now on, with all its users. Returns how many they were.
    pub fn leave(&mut self, at: u32, len: u64) -> u32 {
        let users = self.users(at);
        self.odd.insert(at, 0);
        if users > 0 {
            self.live = self.live.saturating_sub(len);
        }
        users
    }

    /// A body that is there has so many users more or less. Returns true if it is dead now and was not.
    pub fn count(&mut self, at: u32, len: u64, by: i64) -> bool {
        let was = self.users(at);
        let now = u32::try_from(i64::from(was) + by).unwrap_or(if by < 0 { 0 } else { u32::MAX });
        match now {
            1 => drop(self.odd.remove(&at)),
            _ => drop(self.odd.insert(at, now)),
        }
        if was > 0 && now == 0 {
            self.live = self.live.saturating_sub(len);
        } else if was == 0 && now > 0 {
            self.live += len;
        }
        was > 0 && now == 0
    }
}
