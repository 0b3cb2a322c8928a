//! Pages of checkpoints: one page, the root, and the objects that an index is cut into.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;

use super::chance::{number, several, small};
use super::{SEED, Target, none};
use crate::batch::Header;
use crate::checkpoint::fuzzed::{
    CHUNK_BYTES, Key, LINK_BYTES, PAGE_BYTES, PART_BYTES, Page, PageRef, Position, ROOT, Root, kind, restore,
    restore_files, small as small_objects,
};
use crate::codec::Put;
use crate::commit::Use;
use crate::index::Index;
use crate::types::LSN_MAX;

pub const PAGE: Target = Target {
    name: "page",
    make,
    look,
    mend: |octets| {
        octets.resize(PAGE_BYTES, 0);
        octets[16..20].copy_from_slice(b"RPp\n");
        let field = |octets: &[u8], at: usize, len: usize| {
            octets[at..at + len].iter().rev().fold(0u64, |n, o| n << 8 | u64::from(*o))
        };
        if !matches!(field(octets, 20, 2) as u16, 1..=10 | ROOT) {
            let kind = [ROOT, 1, 2, 3, 4, 5, 8, 9, 10][usize::from(octets[20] % 9)];
            octets[20..22].copy_from_slice(&kind.to_le_bytes());
        }
        // A number that is possible: of a group of accounts, or of a segment.
        let possible = if octets[20..22] == [8, 0] { 22 } else { 24 };
        let number = field(octets, 24, 4) as u32 % (1 << possible);
        octets[24..28].copy_from_slice(&number.to_le_bytes());
        if field(octets, 28, 2) >= field(octets, 30, 2) {
            octets[28..32].copy_from_slice(&[0, 0, 1, 0]);
        }
        let len = (field(octets, 40, 4) as usize).min(PART_BYTES) as u32;
        octets[40..44].copy_from_slice(&len.to_le_bytes());
        let check = xxhash_rust::xxh3::xxh3_128_with_seed(&octets[16..], SEED);
        octets[..16].copy_from_slice(&check.to_le_bytes());
    },
    bare: none,
    // A mark for each object before it, and a copy of the marks.
    fixed_bytes: 6 << 20,
    golden: &["page"],
};

/// All objects of an index.
fn objects(index: &mut Index, uses: &BTreeMap<u32, Use>) -> Vec<(Key, Vec<u8>)> {
    let mut objects = small_objects(index, uses.iter());
    index.entries.marks.begin();
    index.segments.marks.begin();
    index.forwards.marks.begin();
    objects.extend(index.entries.take(usize::MAX).into_iter().map(|(id, bytes)| ((kind::ENTRIES, id), bytes)));
    objects.extend(index.segments.take(usize::MAX).into_iter().map(|(id, bytes)| ((kind::SEGMENTS, id), bytes)));
    objects.extend(index.forwards.take(usize::MAX).into_iter().map(|(id, bytes)| ((kind::FORWARDS, id), bytes)));
    objects.retain(|(_, bytes)| !bytes.is_empty());
    objects
}

/// An index comes back from its image.
pub fn image(index: &mut Index) {
    let mut back = Index { seed: SEED, ..Index::default() };
    for (key, bytes) in objects(index, &BTreeMap::new()) {
        assert!(restore(&mut back, key, &bytes).is_some(), "what is in a checkpoint is read: {key:?}");
    }
    back.entries.restored();
    assert!(
        index
            .entries
            .iter()
            .all(|entry| back.entries.get(entry.id).is_some_and(|b| b.name_hash() == entry.name_hash()))
    );
    assert_eq!(back.entries.len(), index.entries.len());
    assert_eq!(*back.segments, *index.segments);
    assert_eq!((back.gaps, back.missing, back.debts), (index.gaps.clone(), index.missing.clone(), index.debts.clone()));
}

fn make(chance: &mut SmallRng) -> Vec<u8> {
    let generation = number(chance);
    let part = chance.random_range(0..3);
    let parts = part + 1 + chance.random_range(0..3);
    let (key, bytes) = match chance.random_range(0..4) {
        0 => {
            let root = root(chance).encode();
            let mut bytes = vec![0; LINK_BYTES];
            bytes.extend_from_slice(&root);
            ((ROOT, 0), bytes)
        }
        _ => object(chance),
    };
    // An object in several parts is not looked at alone.
    let (part, parts) = if chance.random_ratio(1, 8) { (part, parts) } else { (0, 1) };
    let bytes = &bytes[..bytes.len().min(PART_BYTES)];
    let again = |bytes: &[u8]| Page { key, part, parts, generation, number: 5, bytes }.encode(SEED).0;
    // As it is read: an object that was cut off is no object.
    look(&again(bytes)).unwrap_or_else(|| again(&[]))
}

fn root(chance: &mut SmallRng) -> Root {
    let position = Position {
        lsn: number(chance) % LSN_MAX,
        segment: 1 + small(chance) % (1 << 24),
        offset: 4_096 + 512 * u64::from(small(chance) % 1_000),
        epoch: number(chance) % LSN_MAX,
        prev: chance.random(),
        stale_to: number(chance),
    };
    let mut key = (chance.random_range(1..11), small(chance) % 5);
    let mut part = 0;
    let pages = (0..chance.random_range(0..CHUNK_BYTES / 20 - 5)).map(|_| {
        let one = (key, part, PageRef { page: small(chance), check: chance.random() });
        match chance.random::<bool>() {
            true => part += 1,
            false => (key, part) = ((key.0, key.1 + 1), 0),
        }
        one
    });
    let pages = pages.collect();
    Root { generation: number(chance) % LSN_MAX, position, pages }
}

/// An object of an index that has seen some records.
fn object(chance: &mut SmallRng) -> (Key, Vec<u8>) {
    let mut directory = Vec::new();
    let records = chance.random_range(1..30);
    for _ in 0..records {
        let (kind, of_account, payload) = super::record::payload(chance);
        directory.extend(super::record::framed(chance, kind, of_account, &payload));
    }
    let mut index = Index { seed: SEED, fold_at: 4, ..Index::default() };
    let header: Header = super::record::header(directory.len(), records, 1 << 20);
    index.apply(&header, &directory);
    let used = |chance: &mut SmallRng| {
        let first_lsn = Some(number(chance)).filter(|lsn| *lsn > 0);
        (small(chance) % 1_000, Use { incarnation: small(chance), first_lsn })
    };
    let uses = several(chance, 5, used).into_iter().collect();
    let mut objects = objects(&mut index, &uses);
    objects.swap_remove(chance.random_range(0..objects.len()))
}

fn look(octets: &[u8]) -> Option<Vec<u8>> {
    let (page, _) = Page::decode(octets, SEED)?;
    let bytes = match page.key.0 {
        _ if page.parts > 1 => page.bytes.to_vec(),
        ROOT => {
            let (link, rest) = page.bytes.split_at_checked(LINK_BYTES)?;
            let mut bytes = link.to_vec();
            bytes.extend(Root::decode(rest)?.encode());
            bytes
        }
        _ => object_again(page.key, page.bytes)?,
    };
    Some(Page { bytes: &bytes, ..page }.encode(SEED).0)
}

/// An object as an index that has nothing else says it again.
fn object_again(key: Key, bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut index = Index { seed: SEED, ..Index::default() };
    let mut uses = BTreeMap::new();
    match key.0 {
        kind::FILES => restore_files(bytes, &mut uses)?,
        _ => restore(&mut index, key, bytes)?,
    }
    index.entries.restored();
    // All of it has changed.
    index.entries.iter_mut().for_each(drop);
    let segments: Vec<u32> = index.segments.keys().copied().collect();
    segments.into_iter().for_each(|number| assert!(index.segments.get_mut(&number).is_some()));
    if key.0 == kind::FORWARDS {
        let place = crate::types::Place { segment: key.1, at: u32::MAX };
        index.forwards.add(key.1, 1, place, std::iter::empty());
    }
    let mut all = objects(&mut index, &uses);
    match key.0 {
        // Drawers and files of others: nobody looks where they lie.
        kind::DOMAINS | kind::FILES => {
            all.retain(|(k, _)| k.0 == key.0);
            let mut out = Vec::new();
            all.iter().for_each(|(_, bytes)| out.bytes(bytes));
            Some(out)
        }
        _ => Some(all.into_iter().find(|(k, _)| *k == key).map_or_else(Vec::new, |(_, bytes)| bytes)),
    }
}
