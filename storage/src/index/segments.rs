//! What lies in each segment: octets in use, and bodies whose users are not just one.
//!
//! A body that is there has one user unless it is listed here, so a segment of letters to one person each costs nothing.
//! Of records only those are counted that have to be written again with a body, or of an account that is folded.

use std::collections::BTreeMap;

use super::marks::Marks;
use crate::codec::{Put, Reader};

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

    /// Its image in a checkpoint. Bodies are in order: each says how far it is from the one before.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.incarnation);
        out.u32(self.blobs);
        out.u64(self.live);
        out.u32(self.bodies);
        out.u32(self.kept);
        out.u32(self.odd.len() as u32);
        let mut before = 0;
        for (at, users) in &self.odd {
            out.varint(u64::from(at - before));
            out.varint(u64::from(*users));
            before = *at;
        }
    }

    /// `None`: no image of a segment.
    pub fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let (incarnation, blobs, live, bodies, kept) = (r.u32()?, r.u32()?, r.u64()?, r.u32()?, r.u32()?);
        let mut segment = Segment { incarnation, live, odd: BTreeMap::new(), blobs, bodies, kept };
        let mut at = 0u32;
        for _ in 0..r.u32()? {
            at = at.checked_add(u32::try_from(r.varint()?).ok()?)?;
            segment.odd.insert(at, u32::try_from(r.varint()?).ok()?);
        }
        Some(segment)
    }
}

/// All segments, by number. Whoever changes one leaves a mark for the next checkpoint.
#[derive(Default)]
pub struct Segments {
    all: BTreeMap<u32, Segment>,
    pub marks: Marks,
}

impl std::ops::Deref for Segments {
    type Target = BTreeMap<u32, Segment>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Segments {
    /// To be changed, if it is there.
    pub fn get_mut(&mut self, number: &u32) -> Option<&mut Segment> {
        let segment = self.all.get_mut(number)?;
        self.marks.touch(*number, || image(Some(segment)));
        Some(segment)
    }

    /// To be changed; made if it is not there.
    pub fn of(&mut self, number: u32) -> &mut Segment {
        self.marks.touch(number, || image(self.all.get(&number)));
        self.all.entry(number).or_default()
    }

    pub fn remove(&mut self, number: &u32) -> Option<Segment> {
        self.marks.touch(*number, || image(self.all.get(number)));
        self.all.remove(number)
    }

    /// Images of the next segments of a checkpoint: see [`Marks::take`].
    pub fn take(&mut self, bytes: usize) -> Vec<(u32, Vec<u8>)> {
        self.marks.take(bytes, |number| image(self.all.get(&number)))
    }

    /// Puts one there that a checkpoint had.
    pub fn restore(&mut self, number: u32, segment: Segment) {
        self.all.insert(number, segment);
    }
}

fn image(segment: Option<&Segment>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(segment) = segment {
        segment.encode(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_comes_back_from_its_image() {
        let mut segment = Segment { incarnation: 3, blobs: 2, live: 9_000, bodies: 4, kept: 5, ..Segment::default() };
        segment.odd.extend([(4_096, 0), (4_225, 7), (1 << 30, 0)]);
        let bytes = image(Some(&segment));
        assert_eq!(bytes.len(), 28 + 3 + 3 + 6);
        assert_eq!(Segment::decode(&mut Reader::new(&bytes)), Some(segment));
        (0..bytes.len()).for_each(|n| assert_eq!(Segment::decode(&mut Reader::new(&bytes[..n])), None, "{n}"));
    }
}
