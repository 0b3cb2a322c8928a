//! The files of pages: which pages are free, and writing objects to free ones.
//!
//! A page is free when neither the newest checkpoint that is durable nor the one before it has it. Files are made of
//! written zeros and never grow: when no page is free another file is made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::object::is_small;
use super::page::{Key, PAGE_BYTES, PART_BYTES, Page, PageNumber};
use super::root::{self, CHUNK_BYTES, PageRef, Position, Root};
use crate::bugs::{self, Bug};
use crate::codec::Put;
use crate::commit::passes;
use crate::disk::{Disk, File};
use crate::superblock::Address;

/// Octets of a file, at most: as much as a segment has, up to this.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files of pages: 64 GiB of the largest. A file with a higher number is not ours.
pub const FILES_MAX: u32 = 1 << 12;
/// Pages written at once.
const RUN_PAGES_MAX: usize = 256;

/// Free pages that are kept, for each that the last checkpoint wrote.
const READY_TIMES: usize = 3;

/// The newest checkpoint has it.
const LIVE: u8 = 1;
/// The one before has it.
const BEFORE: u8 = 2;
/// It was written for the next one.
const NEXT: u8 = 4;

/// The pages of an object.
pub type Refs = SmallVec<[PageRef; 1]>;

/// All files of pages.
pub struct Pages<F> {
    files: BTreeMap<u32, F>,
    /// The highest number of a file that is there, also of one that is of no use.
    last_file: u32,
    pages_per_file: u32,
    seed: u64,
    /// Of the newest checkpoint.
    generation: u64,
    /// Its objects.
    live: BTreeMap<Key, Refs>,
    /// What the small ones had in them.
    contents: HashMap<Key, u64>,
    /// Who has a page: by number.
    used: Vec<u8>,
    free: usize,
    /// Where the next free page is looked for.
    cursor: usize,
    /// Octets written since the volume was opened.
    written_bytes: u64,
    next: Next,
}

/// The checkpoint that is being written.
#[derive(Default)]
struct Next {
    /// Objects that are new; without pages: gone.
    changed: BTreeMap<Key, Refs>,
    contents: HashMap<Key, u64>,
    /// The last writing to each file waits for the end, and is synced: all before it with it.
    held: BTreeMap<u32, (u64, Vec<u8>)>,
}

/// Why a checkpoint was not written.
#[derive(Debug, PartialEq, Eq)]
pub enum Not {
    /// There is no room for it now, or there are no descriptors: nothing is lost.
    Now,
    /// The disk said no.
    Failed,
}

/// The name of a file of pages.
pub fn name(file: u32) -> String {
    format!("pages-{file:08}")
}

/// The number in the name of a file of pages.
pub fn number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("pages-")?;
    (digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Octets of a file of pages of a volume with such segments.
pub fn file_bytes(segment_bytes: u64) -> u64 {
    segment_bytes.min(FILE_BYTES_MAX)
}

impl<F: File> Pages<F> {
    /// Files as they were found; all their pages are free. `last_file`: the highest number there is.
    pub fn new(files: BTreeMap<u32, F>, last_file: u32, segment_bytes: u64, seed: u64) -> Self {
        let pages_per_file = (file_bytes(segment_bytes) / PAGE_BYTES as u64) as u32;
        let mut pages = Pages {
            files: BTreeMap::new(),
            last_file,
            pages_per_file,
            seed,
            generation: 0,
            live: BTreeMap::new(),
            contents: HashMap::new(),
            used: Vec::new(),
            free: 0,
            cursor: 0,
            written_bytes: 0,
            next: Next::default(),
        };
        files.into_iter().for_each(|(number, file)| pages.add(number, file));
        pages
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    fn add(&mut self, number: u32, file: F) {
        let first = (number as usize - 1) * self.pages_per_file as usize;
        // Where a file is missing nothing is written.
        self.used.resize(self.used.len().max(first), LIVE);
        self.used.resize(first + self.pages_per_file as usize, 0);
        self.free += self.pages_per_file as usize;
        self.files.insert(number, file);
        self.last_file = self.last_file.max(number);
    }

    /// File and offset of a page; `None`: there is no such file.
    pub fn file_of(&self, page: PageNumber) -> Option<(u32, &F, u64)> {
        let number = page / self.pages_per_file + 1;
        Some((number, self.files.get(&number)?, u64::from(page % self.pages_per_file) * PAGE_BYTES as u64))
    }

    /// Pages of objects of the newest checkpoint, by number, with the lower half of their checksums.
    pub fn live(&self) -> Vec<(PageNumber, u64)> {
        let mut pages: Vec<(PageNumber, u64)> =
            self.live.values().flatten().map(|page| (page.page, page.check)).collect();
        pages.sort_unstable();
        pages
    }

    /// The page at an address.
    pub fn page_at(&self, address: &Address) -> Option<PageNumber> {
        let at = u32::try_from(address.offset / PAGE_BYTES as u64).ok().filter(|at| *at < self.pages_per_file)?;
        let whole = address.offset.is_multiple_of(PAGE_BYTES as u64) && address.length as usize == PAGE_BYTES;
        address.file.checked_sub(1)?.checked_mul(self.pages_per_file)?.checked_add(at).filter(|_| whole)
    }

    /// This checkpoint was read: its pages are not free, and it is what the next one begins with.
    pub fn found(&mut self, root: &Root, root_pages: &[PageNumber], contents: HashMap<Key, u64>) {
        self.generation = root.generation;
        self.contents = contents;
        for (key, _, page) in &root.pages {
            self.live.entry(*key).or_default().push(*page);
            self.mark(page.page, LIVE);
        }
        root_pages.iter().for_each(|page| self.mark(*page, LIVE));
    }

    /// Nor are those of the one before.
    pub fn found_before(&mut self, root: &Root, root_pages: &[PageNumber]) {
        let all = root.pages.iter().map(|(_, _, page)| &page.page).chain(root_pages);
        all.for_each(|page| self.mark(*page, BEFORE));
    }

    fn mark(&mut self, page: PageNumber, who: u8) {
        let Some(used) = self.used.get_mut(page as usize) else { return };
        if *used == 0 {
            self.free -= 1;
        }
        *used |= who;
    }

    /// Of these small objects those that the newest checkpoint does not have so; without octets: those that are gone.
    pub fn changed(&self, small: Vec<(Key, Vec<u8>)>) -> Vec<(Key, Vec<u8>)> {
        let there: BTreeSet<Key> = small.iter().map(|(key, _)| *key).collect();
        let differs = |(key, bytes): &(Key, Vec<u8>)| self.contents.get(key) != Some(&content(bytes));
        let mut changed: Vec<_> = small.into_iter().filter(differs).collect();
        let gone = self.live.keys().filter(|key| is_small(key.0) && !there.contains(*key));
        changed.extend(gone.map(|key| (*key, Vec::new())));
        changed
    }

    /// Writes objects for the next checkpoint; those without octets are gone.
    pub async fn put<D: Disk<File = F>>(&mut self, disk: &D, objects: Vec<(Key, Vec<u8>)>) -> Result<(), Not> {
        let mut written = Vec::new();
        for (key, bytes) in objects {
            if is_small(key.0) {
                self.next.contents.insert(key, content(&bytes));
            }
            let parts = u16::try_from(bytes.len().div_ceil(PART_BYTES)).map_err(|_| Not::Now)?;
            let mut refs = Refs::new();
            for (part, bytes) in (0..).zip(bytes.chunks(PART_BYTES)) {
                let number = self.alloc(disk).await?;
                let page = Page { key, part, parts, generation: self.generation + 1, number, bytes };
                let (octets, check) = page.encode(self.seed);
                refs.push(PageRef { page: number, check: check as u64 });
                written.push((number, octets));
            }
            self.next.changed.insert(key, refs);
        }
        self.write(written).await
    }

    /// Writes the root, and syncs everything. Returns where the root is.
    pub async fn finish<D: Disk<File = F>>(&mut self, disk: &D, position: Position) -> Result<Address, Not> {
        let mut objects = self.live.clone();
        for (key, refs) in &self.next.changed {
            match refs.is_empty() {
                true => drop(objects.remove(key)),
                false => drop(objects.insert(*key, refs.clone())),
            }
        }
        let parts = objects.iter().flat_map(|(key, refs)| (0..).zip(refs).map(|(part, page)| (*key, part, *page)));
        let root = Root { generation: self.generation + 1, position, pages: parts.collect() };
        let bytes = root.encode();
        let chunks: Vec<&[u8]> = bytes.chunks(CHUNK_BYTES).collect();
        let parts = u16::try_from(chunks.len()).map_err(|_| Not::Now)?;
        let mut numbers = Vec::new();
        for _ in 0..parts {
            numbers.push(self.alloc(disk).await?);
        }
        let (mut link, mut written) = ((0, 0), Vec::new());
        for ((part, chunk), number) in (0..parts).zip(chunks).zip(&numbers).rev() {
            let mut bytes = Vec::with_capacity(PART_BYTES);
            bytes.u32(link.0);
            bytes.u128(link.1);
            bytes.extend_from_slice(chunk);
            let (key, generation) = ((root::KIND, 0), root.generation);
            let (octets, check) =
                Page { key, part, parts, generation, number: *number, bytes: &bytes }.encode(self.seed);
            written.push((*number, octets));
            link = (*number, check);
        }
        self.write(written).await?;
        for (file, (offset, bytes)) in std::mem::take(&mut self.next.held) {
            let (file, bytes) = (&self.files[&file], vec![Rc::new(bytes)]);
            let synced = match bugs::on(Bug::CheckpointUnsynced) {
                true => file.write(offset, bytes).await,
                false => file.write_sync(offset, bytes).await,
            };
            synced.map_err(|_| Not::Failed)?;
        }
        let (file, _, offset) = self.file_of(link.0).expect("just written");
        Ok(Address { file, length: PAGE_BYTES as u32, offset, check: link.1 })
    }

    /// The superblock points to it: what was the newest checkpoint is the one before.
    pub fn durable(&mut self) {
        let Next { changed, contents, .. } = std::mem::take(&mut self.next);
        self.generation += 1;
        for (key, refs) in changed {
            match refs.is_empty() {
                true => drop(self.live.remove(&key)),
                false => drop(self.live.insert(key, refs)),
            }
        }
        self.contents.extend(contents);
        self.contents.retain(|key, _| self.live.contains_key(key));
        let mut now = vec![0; self.used.len()];
        self.live.values().flatten().for_each(|page| now[page.page as usize] = LIVE);
        for (page, used) in self.used.iter_mut().enumerate() {
            if !self.files.contains_key(&(page as u32 / self.pages_per_file + 1)) {
                continue;
            }
            // What is new and no object is the root.
            let live = now[page] | (u8::from(*used & NEXT != 0) * LIVE);
            let before = if *used & LIVE != 0 { BEFORE } else { 0 };
            self.free -= usize::from(*used == 0);
            *used = live | before;
            self.free += usize::from(*used == 0);
        }
    }

    /// It will not be: its pages are free again.
    pub fn give_up(&mut self) {
        self.next = Next::default();
        for used in self.used.iter_mut().filter(|used| **used & NEXT != 0) {
            *used &= !NEXT;
            self.free += usize::from(*used == 0);
        }
    }

    /// Makes a file ahead where free pages are few, so that on a disk that is full by then the next checkpoints, behind which
    /// space comes back, need none. `cost`: octets that the last one wrote.
    ///
    /// # Errors
    /// When the disk says no, for another reason than room or descriptors.
    pub async fn make_ready<D: Disk<File = F>>(&mut self, disk: &D, cost: u64) -> Result<(), Not> {
        let wanted = (self.pages_per_file as usize / 2).max(READY_TIMES * cost as usize / PAGE_BYTES);
        let number = self.last_file + 1;
        if self.free >= wanted || number >= FILES_MAX {
            return Ok(());
        }
        match disk.create(&name(number), u64::from(self.pages_per_file) * PAGE_BYTES as u64).await {
            Ok(file) => self.add(number, file),
            Err(why) if passes(&why) => {}
            Err(_) => return Err(Not::Failed),
        }
        Ok(())
    }

    async fn alloc<D: Disk<File = F>>(&mut self, disk: &D) -> Result<PageNumber, Not> {
        if self.free == 0 {
            let number = self.last_file + 1;
            if number >= FILES_MAX {
                return Err(Not::Now);
            }
            let made = disk.create(&name(number), u64::from(self.pages_per_file) * PAGE_BYTES as u64).await;
            self.cursor = self.used.len();
            self.add(number, made.map_err(|why| if passes(&why) { Not::Now } else { Not::Failed })?);
        }
        let len = self.used.len();
        let free = (0..len).map(|n| (self.cursor + n) % len).find(|page| self.used[*page] == 0);
        let page = free.expect("free pages are counted");
        self.cursor = page + 1;
        self.mark(page as PageNumber, NEXT);
        Ok(page as PageNumber)
    }

    async fn write(&mut self, mut pages: Vec<(PageNumber, Vec<u8>)>) -> Result<(), Not> {
        pages.sort_unstable_by_key(|(number, _)| *number);
        self.written_bytes += (pages.len() * PAGE_BYTES) as u64;
        let per_file = self.pages_per_file;
        let runs = |a: &(PageNumber, _), b: &(PageNumber, _)| a.0 + 1 == b.0 && !b.0.is_multiple_of(per_file);
        for run in pages.chunk_by(runs).flat_map(|run| run.chunks(RUN_PAGES_MAX)) {
            let (number, file, offset) = self.file_of(run[0].0).expect("pages are taken from files that are there");
            let file = file.clone();
            let bytes = run.iter().map(|(_, octets)| octets.as_slice()).collect::<Vec<_>>().concat();
            if let Some((offset, bytes)) = self.next.held.insert(number, (offset, bytes)) {
                file.write(offset, vec![Rc::new(bytes)]).await.map_err(|_| Not::Failed)?;
            }
        }
        Ok(())
    }
}

/// By which small objects are compared.
pub fn content(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}
