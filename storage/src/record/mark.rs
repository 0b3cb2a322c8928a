//! Marks of the log itself: truncate (a new epoch after a torn tail) and heartbeat (so far is durable).

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
