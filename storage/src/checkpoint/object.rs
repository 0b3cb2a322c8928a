//! What the index looks like in pages: which objects it is cut into, and their octets.
//!
//! Entries of accounts (in groups), segments and forwarding tables are many and leave marks when they change. The others are few, so all of
//! them are encoded each time, and those are written that are not as they were.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::page::Key;
use crate::codec::{Put, Reader};
use crate::commit::Use;
use crate::index::{ACCOUNT_NUMBER_MAX, Index, Jump, Segment};
use crate::record::RetiredRun;
use crate::segment::{SEGMENT_BYTES_MAX, SEGMENTS_MAX};
use crate::types::{Lsn, VolumeId};

/// The kinds of objects.
pub mod kind {
    /// Counters, gaps, damage. One object, number 0.
    pub const STATE: u16 = 1;
    /// Domains, by hash of the name.
    pub const DOMAINS: u16 = 2;
    /// What is owed to a volume, by its number.
    pub const TRANSFERS: u16 = 3;
    /// How far volumes have sent. One object, number 0.
    pub const WATERMARKS: u16 = 4;
    /// Files of segments, so many each.
    pub const FILES: u16 = 5;
    /// Entries of accounts, by group.
    pub const ENTRIES: u16 = 8;
    /// Segments, by number.
    pub const SEGMENTS: u16 = 9;
    /// Forwarding tables, by the segment that things were moved out of.
    pub const FORWARDS: u16 = 10;
}

/// Files of segments in one object.
const FILES_EACH: u32 = 200;
/// Drawers that domains lie in, so that one domain's change writes a few of them.
const DOMAIN_DRAWERS: u64 = 64;

/// True for kinds of which all objects are encoded each time.
pub fn is_small(kind: u16) -> bool {
    kind < kind::ENTRIES
}

/// All objects of the small kinds. `uses`: of the segments before the active one.
pub fn small<'a>(index: &Index, uses: impl Iterator<Item = (&'a u32, &'a Use)>) -> Vec<(Key, Vec<u8>)> {
    let mut objects = vec![((kind::STATE, 0), state(index))];
    let mut drawers: Vec<Vec<u8>> = vec![Vec::new(); DOMAIN_DRAWERS as usize];
    for (name, info) in &index.domains {
        let drawer = &mut drawers[(xxh3_64(name.as_bytes()) % DOMAIN_DRAWERS) as usize];
        drawer.text(name);
        drawer.blob(info);
    }
    let drawers = (0..).zip(drawers).filter(|(_, bytes)| !bytes.is_empty());
    objects.extend(drawers.map(|(n, bytes)| ((kind::DOMAINS, n), bytes)));
    for target in index.transfers.out_ids() {
        let mut bytes = Vec::new();
        index.transfers.encode_out(target, &mut bytes);
        objects.push(((kind::TRANSFERS, u32::from(target)), bytes));
    }
    let mut bytes = Vec::new();
    index.transfers.encode_watermarks(&mut bytes);
    objects.push(((kind::WATERMARKS, 0), bytes));
    let mut files: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for (segment, used) in uses {
        let out = files.entry(segment / FILES_EACH).or_default();
        out.u32(*segment);
        out.u32(used.incarnation);
        out.u64(used.first_lsn.unwrap_or(0));
    }
    objects.extend(files.into_iter().map(|(n, bytes)| ((kind::FILES, n), bytes)));
    objects
}

/// Puts an object back. `None`: it does not decode, or says what cannot be.
pub fn restore(index: &mut Index, (kind, id): Key, bytes: &[u8]) -> Option<()> {
    let mut r = Reader::new(bytes);
    match kind {
        kind::STATE => restore_state(index, &mut r),
        kind::DOMAINS => {
            while !r.rest().is_empty() {
                let name = r.text()?.to_owned();
                index.domains.insert(name, r.blob()?.into());
            }
            Some(())
        }
        kind::TRANSFERS => index.transfers.restore_out(VolumeId::try_from(id).ok()?, &mut r),
        kind::WATERMARKS => index.transfers.restore_watermarks(&mut r),
        kind::ENTRIES => index.entries.restore(id, &mut r),
        kind::SEGMENTS if id <= SEGMENTS_MAX => {
            let possible = |s: &Segment| s.live <= SEGMENT_BYTES_MAX && u64::from(s.bodies) <= SEGMENT_BYTES_MAX;
            index.segments.restore(id, Segment::decode(&mut r).filter(possible)?);
            Some(())
        }
        kind::FORWARDS if id <= SEGMENTS_MAX => index.forwards.restore(id, &mut r),
        _ => None,
    }
}

/// What is known of the files of segments in an object of kind `FILES`.
pub fn restore_files(bytes: &[u8], uses: &mut BTreeMap<u32, Use>) -> Option<()> {
    let mut r = Reader::new(bytes);
    while !r.rest().is_empty() {
        let (segment, incarnation, first_lsn) = (r.u32()?, r.u32()?, r.u64()?);
        uses.insert(segment, Use { incarnation, first_lsn: Some(first_lsn).filter(|lsn| *lsn > 0) });
    }
    Some(())
}

fn state(index: &Index) -> Vec<u8> {
    let mut out = Vec::new();
    out.u32(index.last_uidvalidity);
    out.u32(u32::from(index.uncounted));
    out.u64(index.last_account);
    out.u64(index.orphans);
    out.u32(index.gaps.len() as u32);
    for gap in &index.gaps {
        out.place(gap.place);
        out.u64(gap.lsn);
        out.u32(gap.numbers);
        out.u64(gap.modseqs);
        put_ranges(&mut out, &gap.lost);
    }
    out.u32(index.damaged.len() as u32);
    for (segment, from, len) in &index.damaged {
        out.u32(*segment);
        out.u64(*from);
        out.u64(*len);
    }
    put_ranges(&mut out, &index.missing);
    out.u32(index.debts.len() as u32);
    index.debts.iter().for_each(|place| out.place(*place));
    out.u32(index.head);
    out.u32(index.retired.len() as u32);
    for run in &index.retired {
        out.u32(run.first);
        out.u32(run.last);
        out.u64(run.first_lsn);
    }
    out
}

fn restore_state(index: &mut Index, r: &mut Reader<'_>) -> Option<()> {
    index.last_uidvalidity = r.u32()?;
    index.uncounted = r.u32()? != 0;
    (index.last_account, index.orphans) = (r.u64()?, r.u64()?);
    for _ in 0..r.u32()? {
        let (place, lsn, numbers, modseqs) = (r.place()?, r.u64()?, r.u32()?, r.u64()?);
        index.gaps.push(Jump { place, lsn, numbers, modseqs, lost: ranges(r)? });
    }
    for _ in 0..r.u32()? {
        let (segment, from, len) = (r.u32()?, r.u64()?, r.u64()?);
        from.checked_add(len)?;
        index.damaged.push((segment, from, len));
    }
    index.missing = ranges(r)?;
    for _ in 0..r.u32()? {
        index.debts.insert(r.place()?);
    }
    index.head = r.u32()?;
    for _ in 0..r.u32()? {
        index.retired.push(RetiredRun { first: r.u32()?, last: r.u32()?, first_lsn: r.u64()? });
    }
    (index.last_account <= ACCOUNT_NUMBER_MAX).then_some(())
}

fn put_ranges(out: &mut Vec<u8>, ranges: &[(Lsn, Lsn)]) {
    out.u32(ranges.len() as u32);
    for (first, last) in ranges {
        out.u64(*first);
        out.u64(*last);
    }
}

fn ranges(r: &mut Reader<'_>) -> Option<Vec<(Lsn, Lsn)>> {
    let mut ranges = Vec::new();
    for _ in 0..r.u32()? {
        ranges.push((r.u64()?, r.u64()?));
    }
    ranges.iter().all(|(first, last)| first <= last && *last <= crate::types::LSN_MAX).then_some(ranges)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::index::Entry;
    use crate::types::{AccountId, Place};
    use proptest::prelude::*;

    fn full() -> Index {
        let mut index = Index { last_uidvalidity: 7, last_account: 9, orphans: 1, head: 3, ..Index::default() };
        index.domains.insert("x.test".into(), b"info".as_slice().into());
        let place = Place { segment: 4, at: 4_096 };
        index.gaps.push(Jump { place, lsn: 5, numbers: 6, modseqs: 7, lost: vec![(2, 3)] });
        index.damaged.push((4, 8_192, 512));
        index.missing.push((2, 3));
        index.debts.insert(place);
        index.retired.push(RetiredRun { first: 5, last: 6, first_lsn: 40 });
        index.entries.insert(Entry::new(AccountId(9), 77));
        index.segments.of(4).come(9_000, 10, 0);
        index.forwards.add(5, 2, place, [(Place { segment: 5, at: 1 }, place)].into_iter());
        index
    }

    fn objects(index: &mut Index) -> Vec<(Key, Vec<u8>)> {
        let uses = BTreeMap::from([
            (1, Use { incarnation: 2, first_lsn: Some(1) }),
            (300, Use { incarnation: 1, first_lsn: None }),
        ]);
        let mut objects = small(index, uses.iter());
        let all = [&mut index.entries.marks, &mut index.segments.marks, &mut index.forwards.marks];
        all.into_iter().for_each(crate::index::Marks::begin);
        objects.extend(index.entries.take(1).into_iter().map(|(id, bytes)| ((kind::ENTRIES, id), bytes)));
        objects.extend(index.segments.take(1).into_iter().map(|(id, bytes)| ((kind::SEGMENTS, id), bytes)));
        objects.extend(index.forwards.take(1).into_iter().map(|(id, bytes)| ((kind::FORWARDS, id), bytes)));
        objects
    }

    /// Objects of each kind, owed transfers aside.
    pub fn example() -> Vec<(Key, Vec<u8>)> {
        objects(&mut full())
    }

    #[test]
    fn an_index_comes_back_from_its_objects_and_not_from_shorter_ones() {
        let all = objects(&mut full());
        let mut back = Index::default();
        for (key, bytes) in all.iter().filter(|(key, _)| key.0 != kind::FILES) {
            restore(&mut back, *key, bytes).unwrap();
            if key.0 != kind::DOMAINS {
                (0..bytes.len())
                    .for_each(|n| assert_eq!(restore(&mut Index::default(), *key, &bytes[..n]), None, "{key:?}"));
            }
        }
        assert_eq!(small(&back, [].into_iter()), small(&full(), [].into_iter()));
        back.entries.iter_mut().for_each(drop);
        back.segments.of(4);
        assert_eq!(objects(&mut back)[..all.len() - 1], all[..all.len() - 1]);
    }

    proptest! {
        #[test]
        fn no_octets_make_an_object_panic(kind in 0u16..12, id: u32, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = restore(&mut Index::default(), (kind, id), &bytes);
            let _ = restore_files(&bytes, &mut BTreeMap::new());
        }

        #[test]
        fn nor_do_some_that_were_an_object(n: usize, at: usize, octet: u8) {
            let all = objects(&mut full());
            let (key, mut bytes) = all[n % all.len()].clone();
            let at = at % bytes.len();
            bytes[at] = octet;
            let _ = restore(&mut Index::default(), key, &bytes);
        }
    }
}
