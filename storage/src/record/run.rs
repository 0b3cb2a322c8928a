//! Run: summaries of some messages of a mailbox, packed into one immutable body.
//!
//! ```text
//! count u32 | 0 u32 | count × (uid u32, end u32) | summaries one after the other       (UIDs rising)
//! ```
//!
//! `end` counts from the first summary. The summaries themselves are the caller's.

use crate::codec::{Put, Reader};
use crate::types::{MailboxId, Place, Uid};

/// Kind 32: where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunRecord {
    pub mailbox: MailboxId,
    pub first: Uid,
    pub last: Uid,
    pub count: u32,
    pub body: Place,
    pub body_len: u32,
    /// First 64 bits.
    pub body_check: u64,
}

impl RunRecord {
    /// Where in the payload the body's place is.
    pub const BODY_AT: usize = 16;

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.mailbox.0);
        out.u32(self.first);
        out.u32(self.last);
        out.u32(self.count);
        out.place(self.body);
        out.u32(self.body_len);
        out.u32(0);
        out.u64(self.body_check);
    }

    pub fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(RunRecord {
            mailbox: MailboxId(r.u32()?),
            first: r.u32()?,
            last: r.u32()?,
            count: r.u32()?,
            body: r.place()?,
            body_len: {
                let len = r.u32()?;
                r.u32()?;
                len
            },
            body_check: r.u64()?,
        })
    }
}

/// Packs summaries, UIDs rising, into a run's body.
pub fn pack(items: &[(Uid, Vec<u8>)]) -> Vec<u8> {
    let blobs: usize = items.iter().map(|(_, s)| s.len()).sum();
    let mut out = Vec::with_capacity(8 + items.len() * 8 + blobs);
    out.u32(u32::try_from(items.len()).expect("a transaction is smaller than a segment"));
    out.u32(0);
    let mut end = 0u32;
    for (uid, summary) in items {
        end += u32::try_from(summary.len()).expect("a transaction is smaller than a segment");
        out.u32(*uid);
        out.u32(end);
    }
    items.iter().for_each(|(_, summary)| out.bytes(summary));
    out
}

/// All summaries in a run's body; `None` when it is none.
pub fn unpack(run: &[u8]) -> Option<Vec<(Uid, Vec<u8>)>> {
    let mut r = Reader::new(run);
    let count = usize::try_from(r.u32()?).ok()?;
    r.u32()?;
    let mut table = Reader::new(r.take(count.checked_mul(8)?)?);
    let blobs = r.rest();
    let mut start = 0;
    let items = (0..count).map(|_| {
        let (uid, end) = (table.u32()?, usize::try_from(table.u32()?).ok()?);
        let summary = blobs.get(start..end)?.to_vec();
        start = end;
        Some((uid, summary))
    });
    items.collect()
}

/// The summary of `uid` in a run's body.
pub fn find(run: &[u8], uid: Uid) -> Option<&[u8]> {
    let mut r = Reader::new(run);
    let count = usize::try_from(r.u32()?).ok()?;
    r.u32()?;
    let table = r.take(count.checked_mul(8)?)?;
    let row = |i: usize| {
        let mut r = Reader::new(&table[i * 8..]);
        Some((r.u32()?, usize::try_from(r.u32()?).ok()?))
    };
    let (mut low, mut high) = (0, count);
    while low < high {
        let mid = low + (high - low) / 2;
        if row(mid)?.0 < uid { low = mid + 1 } else { high = mid }
    }
    let (found, end) = (low < count).then(|| row(low))??;
    let start = if low == 0 { 0 } else { row(low - 1)?.1 };
    if found == uid { r.rest().get(start..end) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_summary_is_found_and_no_other() {
        let items: Vec<(Uid, Vec<u8>)> = (1..50).map(|n| (n * 3, vec![n as u8; n as usize % 7])).collect();
        let run = pack(&items);
        for (uid, summary) in &items {
            assert_eq!(find(&run, *uid), Some(&summary[..]));
            assert_eq!(find(&run, uid + 1), None);
        }
        assert_eq!(unpack(&run), Some(items));
        assert_eq!(find(&pack(&[]), 1), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_search_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), uid: u32) {
            let _ = (find(&bytes, uid), unpack(&bytes));
        }
    }
}
