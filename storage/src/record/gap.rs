//! Gap: batches that were acknowledged are lost, so every number of the volume jumps over what they may have given.
//!
//! Written once for each loss, before anything new is decided, and always at the start of another segment than the loss,
//! so that losing it too is a larger loss and makes a larger jump. The numbers are steps and not values (one record
//! serves every account): the numbers given later are past both what is left and what comes back with the lost batches.

use crate::codec::{Put, Reader};
use crate::types::{LSN_MAX, Lsn, Modseq};

/// Ranges in one record. More: the rest waits for the record of the next opening.
const RANGES_MAX: usize = 1_000;
/// The least octets of the log that give away a UID, a mailbox id or an account id.
const NUMBER_BYTES: u64 = 48;
/// The same for a MODSEQ.
const MODSEQ_BYTES: u64 = 32;

const _: () = assert!(super::COPIED_BYTES >= NUMBER_BYTES, "each copied message gives a UID away");

/// Kind 50.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// How far UIDNEXT of each mailbox, the last mailbox id of each account, the last account id and the last
    /// UIDVALIDITY jump.
    pub numbers: u32,
    /// How far the MODSEQ of each account jumps. All messages count as changed then.
    pub modseqs: Modseq,
    ranges: &'a [u8],
}

impl<'a> Gap<'a> {
    /// The payload for lost batches in so many octets of segments.
    pub fn encode(out: &mut Vec<u8>, lost_bytes: u64, lost: &[(Lsn, Lsn)]) {
        let lost = &lost[..lost.len().min(RANGES_MAX)];
        out.u32(u32::try_from(lost_bytes / NUMBER_BYTES + 1).unwrap_or(u32::MAX));
        out.u32(lost.len() as u32);
        out.u64(lost_bytes / MODSEQ_BYTES + 1);
        for (first, last) in lost {
            out.u64(*first);
            out.u64(*last);
        }
    }

    /// Octets that [`Gap::encode`] writes at most.
    pub fn bytes(lost: &[(Lsn, Lsn)]) -> u64 {
        16 + lost.len().min(RANGES_MAX) as u64 * 16
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let numbers = r.u32()?;
        let count = usize::try_from(r.u32()?).ok()?;
        let modseqs = r.u64()?;
        let gap = Gap { numbers, modseqs, ranges: r.take(count.checked_mul(16)?)? };
        // A checkpoint keeps them, and reads no others.
        gap.ranges().all(|(first, last)| first <= last && last <= LSN_MAX).then_some(gap)
    }

    /// First and last LSN of what was lost.
    pub fn ranges(&self) -> impl Iterator<Item = (Lsn, Lsn)> + 'a {
        let mut r = Reader::new(self.ranges);
        std::iter::from_fn(move || Some((r.u64()?, r.u64()?)))
    }
}

/// True if each lost batch is in one of `known`.
pub fn all_known(lost: &[(Lsn, Lsn)], known: &[(Lsn, Lsn)]) -> bool {
    lost.iter().all(|&(first, last)| {
        let mut next = first;
        while next <= last {
            match known.iter().find(|k| (k.0..=k.1).contains(&next)) {
                Some(k) if k.1 >= last => return true,
                Some(k) => next = k.1 + 1,
                None => return false,
            }
        }
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_known_when_the_gaps_cover_it() {
        assert!(all_known(&[], &[]));
        assert!(!all_known(&[(3, 3)], &[]));
        assert!(all_known(&[(3, 5), (9, 9)], &[(9, 12), (4, 6), (2, 3)]));
        assert!(!all_known(&[(3, 7)], &[(2, 4), (6, 9)]));
        assert!(all_known(&[(3, u64::MAX)], &[(1, u64::MAX)]));
    }
}
