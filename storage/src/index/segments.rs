//! What lies in each segment: octets in use, and bodies whose users are not just one.
//!
//! A body that is there has one user unless it is listed here, so a segment of letters to one person each costs nothing.
//! Of records only those are counted that have to be written again with a body, or of an account that is folded.

use std::collections::BTreeMap;

/// What a body brings along when it is written again: its record, that of its message, the forward, its part of the batch.
/// Octets, about.
const BODY_RECORDS_BYTES: u64 = 240;
/// A root or a put of an account. Octets, about.
const KEPT_BYTES: u64 = 256;

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
    /// Bodies that somebody uses.
    pub bodies: u32,
    /// Roots and puts that are the newest of their accounts.
    pub kept: u32,
}

impl Segment {
    /// Octets that would have to be written again, about.
    pub fn weight(&self) -> u64 {
        self.live + u64::from(self.bodies) * BODY_RECORDS_BYTES + u64::from(self.kept) * KEPT_BYTES
    }

    /// Users of the body at `at`.
    pub fn users(&self, at: u32) -> u32 {
        self.odd.get(&at).copied().unwrap_or(1)
    }

    /// A body has come with so many users.
    pub fn come(&mut self, at: u32, len: u64, users: u32) {
        if users > 0 {
            self.live += len;
            self.bodies += 1;
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
            self.bodies = self.bodies.saturating_sub(1);
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
            self.bodies = self.bodies.saturating_sub(1);
        } else if was == 0 && now > 0 {
            self.live += len;
            self.bodies += 1;
        }
        was > 0 && now == 0
    }
}
