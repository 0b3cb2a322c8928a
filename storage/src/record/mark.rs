//! Marks of the log itself: truncate (a new epoch after a torn tail), heartbeat (so far is durable) and forget (old places
//! that nobody names).

use crate::codec::{Put, Reader};
use crate::types::Lsn;

/// Kind 48: everything of an older epoch past this batch was never acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// Octets up to this position of the segment were discarded.
    pub discarded_to: u64,
}

/// Kind 49: written when nothing else was for a while, and when the volume closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub durable_lsn: Lsn,
}

/// Kind 112: whatever was moved by batches up to this one, and by no later one from the same segment, is named by where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forget {
    pub through: Lsn,
}

impl Forget {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.through);
    }

    pub fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(Forget { through: r.u64()? })
    }
}

impl Truncate {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.discarded_to);
    }

    pub fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(Truncate { discarded_to: r.u64()? })
    }
}

impl Heartbeat {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.durable_lsn);
    }

    pub fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(Heartbeat { durable_lsn: r.u64()? })
    }
}
