//! Reading a checkpoint: its root, then all pages in the order of the disk. One octet that does not fit, or a page that
//! does not read, and it is no checkpoint.

use std::collections::{BTreeMap, HashMap};

use super::object;
use super::page::{Key, PAGE_BYTES, Page, PageNumber};
use super::pages::{FILES_MAX, Pages, content, file_bytes, name, number};
use super::root::{self, LINK_BYTES, Position, Root};
use crate::codec::Reader;
use crate::commit::Use;
use crate::disk::{Disk, File};
use crate::index::Index;
use crate::superblock::{Address, Superblock};

/// Octets read at once.
const READ_BYTES: usize = 1 << 20;
/// Pages between two that are wanted which are read with them.
const BETWEEN_PAGES: u32 = 16;

/// What the superblock's checkpoints are good for.
pub struct Found<F> {
    pub pages: Pages<F>,
    /// `None`: the whole log has to be read.
    pub start: Option<Start>,
    /// Of the one that was read.
    pub address: Address,
    /// Of the one before it.
    pub before: Address,
    /// Where those go on, in this order.
    pub segments: [Option<u32>; 2],
}

/// What the reading of the log begins with.
pub struct Start {
    pub index: Index,
    pub position: Position,
    /// What is known of the files of segments before that.
    pub uses: BTreeMap<u32, Use>,
}

/// Reads the newest checkpoint that reads.
pub async fn load<D: Disk>(disk: &D, names: &[String], superblock: &Superblock) -> Found<D::File> {
    let mut files = BTreeMap::new();
    let numbers: Vec<u32> =
        names.iter().filter_map(|name| number(name)).filter(|n| (1..FILES_MAX).contains(n)).collect();
    for file in numbers.iter().copied() {
        // One that does not open, or is not ours: its pages do not read.
        if let Ok(opened) = disk.open(&name(file)).await
            && opened.len() == file_bytes(superblock.segment_bytes)
        {
            files.insert(file, opened);
        }
    }
    let mut pages =
        Pages::new(files, numbers.into_iter().max().unwrap_or(0), superblock.segment_bytes, superblock.seed);
    let (newest, before) = (superblock.checkpoint, superblock.checkpoint_before);
    for (address, before) in [(newest, before), (before, Address::NONE)] {
        let Some((root, root_pages)) = read_root(&pages, &address).await else { continue };
        let Some(Reading { index, contents, uses, .. }) = read_index(&pages, &root, superblock).await else { continue };
        pages.found(&root, &root_pages, contents);
        let mut segments = [Some(root.position.segment), None];
        if let Some((root, root_pages)) = read_root(&pages, &before).await {
            pages.found_before(&root, &root_pages);
            segments[1] = Some(root.position.segment);
        }
        let start = Some(Start { index, position: root.position, uses });
        return Found { pages, start, address, before, segments };
    }
    Found { pages, start: None, address: Address::NONE, before: Address::NONE, segments: [None; 2] }
}

async fn read_root<F: File>(pages: &Pages<F>, address: &Address) -> Option<(Root, Vec<PageNumber>)> {
    let mut next = (pages.page_at(address)?, address.check);
    let (mut bytes, mut numbers) = (Vec::new(), Vec::new());
    loop {
        let (_, file, offset) = pages.file_of(next.0)?;
        let octets = file.read_at(offset, PAGE_BYTES).await.ok()?;
        let (page, check) = Page::decode(&octets, pages.seed())?;
        let fits = check == next.1 && page.key == (root::KIND, 0) && page.number == next.0;
        if !fits || usize::from(page.part) != numbers.len() {
            return None;
        }
        numbers.push(next.0);
        let mut r = Reader::new(page.bytes);
        next = (r.u32()?, r.u128()?);
        bytes.extend_from_slice(&page.bytes[LINK_BYTES..]);
        if page.part + 1 == page.parts {
            return Some((Root::decode(&bytes)?, numbers));
        }
    }
}

async fn read_index<F: File>(pages: &Pages<F>, root: &Root, superblock: &Superblock) -> Option<Reading> {
    let position = &root.position;
    if position.segment < superblock.head_segment
        || position.offset > superblock.segment_bytes
        || position.lsn > superblock.durable_lsn
    {
        return None;
    }
    let index = Index { seed: superblock.seed, applied: position.lsn, ..Index::default() };
    let mut reading = Reading {
        index,
        contents: HashMap::new(),
        uses: BTreeMap::new(),
        parts: HashMap::new(),
        counts: HashMap::new(),
    };
    for (key, part, _) in root.pages.iter().filter(|(_, part, _)| *part > 0) {
        reading.counts.insert(*key, usize::from(*part) + 1);
    }
    let mut wanted: Vec<Wanted> =
        root.pages.iter().map(|(key, part, page)| (page.page, page.check, *key, *part)).collect();
    wanted.sort_unstable();
    let mut rest = &wanted[..];
    while let Some((first, ..)) = rest.first() {
        let (file, opened, offset) = pages.file_of(*first)?;
        let fits = |last: PageNumber| (last - first) as usize * PAGE_BYTES < READ_BYTES;
        let here = |last: PageNumber| pages.file_of(last).is_some_and(|(f, ..)| f == file);
        let near = |to: usize| rest[to].0 - rest[to - 1].0 <= BETWEEN_PAGES && fits(rest[to].0) && here(rest[to].0);
        let to = (1..rest.len()).find(|to| !near(*to)).unwrap_or(rest.len());
        let (run, later) = rest.split_at(to);
        let len = (run[to - 1].0 - first + 1) as usize * PAGE_BYTES;
        let octets = opened.read_at(offset, len).await.ok()?;
        for wanted in run {
            let at = (wanted.0 - first) as usize * PAGE_BYTES;
            reading.page(wanted, Page::decode(&octets[at..at + PAGE_BYTES], pages.seed())?)?;
        }
        rest = later;
    }
    reading.done()
}

/// A page, the lower half of its checksum, and whose part it is, which one.
type Wanted = (PageNumber, u64, Key, u16);

/// An index that comes page by page.
struct Reading {
    index: Index,
    contents: HashMap<Key, u64>,
    uses: BTreeMap<u32, Use>,
    /// Parts of objects that have more than one.
    parts: HashMap<Key, Vec<Vec<u8>>>,
    /// How many those have.
    counts: HashMap<Key, usize>,
}

impl Reading {
    fn page(&mut self, (number, want, key, part): &Wanted, (page, check): (Page<'_>, u128)) -> Option<()> {
        let count = self.counts.get(key).copied().unwrap_or(1);
        let is_it = check as u64 == *want && page.number == *number;
        if !is_it || (page.key, page.part, usize::from(page.parts)) != (*key, *part, count) {
            return None;
        }
        if count == 1 {
            return self.object(*key, page.bytes);
        }
        let parts = self.parts.entry(*key).or_insert_with(|| vec![Vec::new(); count]);
        parts[usize::from(*part)] = page.bytes.to_vec();
        Some(())
    }

    fn object(&mut self, key: Key, bytes: &[u8]) -> Option<()> {
        if object::is_small(key.0) {
            self.contents.insert(key, content(bytes));
        }
        match key.0 {
            object::kind::FILES => object::restore_files(bytes, &mut self.uses),
            _ => object::restore(&mut self.index, key, bytes),
        }
    }

    fn done(mut self) -> Option<Self> {
        for (key, parts) in std::mem::take(&mut self.parts) {
            self.object(key, &parts.concat())?;
        }
        self.index.entries.restored();
        Some(self)
    }
}
