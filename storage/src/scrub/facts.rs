//! What a scrub looks at beside segments: the copies of the superblock, the pages of the newest checkpoint, its root, and
//! all of the checkpoint before it.
//!
//! None of it costs a letter alone: of the superblock three copies have to go, of checkpoints both, and then the whole log is
//! read. But who finds that out at an opening finds it out late.

use std::rc::Rc;

use super::Device;
use crate::check::Broken;
use crate::checkpoint::{LINK_BYTES, PAGE_BYTES, Page, PageNumber, ROOT, Root, pages_name};
use crate::codec::Reader;
use crate::compact::Pace;
use crate::disk::{Disk, File};
use crate::superblock::{self, Address, COPIES, COPY_BYTES, COPY_DISTANCE, Superblock};
use crate::unread::Unreads;
use crate::volume::Inner;

/// Pages read at once.
const PAGES_AT_ONCE: usize = 64;
/// Times that a copy of the superblock is read, when another one is written meanwhile. After them it is left to the next pass.
const TRIES_MAX: u32 = 4;

impl<D: Disk> Inner<D> {
    /// Reads all of it; how many damaged places were new.
    pub(super) async fn scrub_facts<P: Pace>(&self, pace: &P, tell: &mut impl FnMut(Broken)) -> u64 {
        let mut errors = self.scrub_superblock(pace, tell).await;
        let live = self.live_pages();
        // Asked only of a page that does not verify.
        let is_live = |page: &(PageNumber, u64)| self.live_pages().binary_search(page).is_ok();
        errors += self.scrub_pages(&live, is_live, pace, tell).await;
        let [newest, before] = self.log.borrow().checkpoints;
        errors += self.scrub_root(newest, pace, tell).await.0;
        let (more, root) = self.scrub_root(before, pace, tell).await;
        let live = self.live_pages();
        let is_other = |page: &(PageNumber, u64)| live.binary_search(page).is_err();
        let mut others: Vec<(PageNumber, u64)> = root.map_or_else(Vec::new, |root| {
            root.pages.iter().map(|(_, _, page)| (page.page, page.check)).filter(is_other).collect()
        });
        others.sort_unstable();
        let is_before = |_: &(PageNumber, u64)| self.has_checkpoint(&before);
        errors + more + self.scrub_pages(&others, is_before, pace, tell).await
    }

    /// Each copy has to be what was written last.
    async fn scrub_superblock<P: Pace>(&self, pace: &P, tell: &mut impl FnMut(Broken)) -> u64 {
        let device = self.device(self.superblock_file.clone(), superblock::NAME.into());
        let mut errors = 0;
        for copy in 0..COPIES {
            for _ in 0..TRIES_MAX {
                let before = self.written_superblock();
                let octets = device.read_at(copy * COPY_DISTANCE, COPY_BYTES).await.unwrap_or_default();
                let written = self.written_superblock().filter(|after| before.as_ref() == Some(after));
                self.read_through(COPY_BYTES as u64, pace).await;
                if self.is_over() {
                    return errors;
                }
                let Some(written) = written else { continue };
                if octets != written.encode(copy) {
                    let broken = Broken::Superblock { copy };
                    errors += self.found(superblock::NAME, copy * COPY_DISTANCE, broken, tell);
                }
                break;
            }
        }
        errors
    }

    /// What all copies say, unless another one is being written.
    fn written_superblock(&self) -> Option<Superblock> {
        (!self.superblock_busy.get()).then(|| self.log.borrow().superblock.clone())
    }

    /// The pages of the newest checkpoint, which rise.
    fn live_pages(&self) -> Vec<(PageNumber, u64)> {
        self.pages.borrow().as_ref().map(|pages| pages.live()).unwrap_or_default()
    }

    fn has_checkpoint(&self, address: &Address) -> bool {
        self.log.borrow().checkpoints.contains(address)
    }

    /// Reads pages, which rise. `is_there`: a page counts still.
    async fn scrub_pages<P: Pace>(
        &self,
        listed: &[(PageNumber, u64)],
        is_there: impl Fn(&(PageNumber, u64)) -> bool,
        pace: &P,
        tell: &mut impl FnMut(Broken),
    ) -> u64 {
        let mut errors = 0;
        let mut rest = listed;
        while let Some((first, _)) = rest.first().copied() {
            let run = rest.iter().take(PAGES_AT_ONCE).zip(first..).take_while(|((page, _), n)| page == n).count();
            let Some((file, offset, run)) = self.page_run(first, run) else { return errors };
            let (now, later) = rest.split_at(run);
            let name: Rc<str> = pages_name(file.0).into();
            let device = self.device(file.1, name.clone());
            let octets = device.read_at(offset, run * PAGE_BYTES).await.unwrap_or_default();
            for (page, octets) in now.iter().zip(octets.chunks(PAGE_BYTES)) {
                let (number, check) = *page;
                let fits = Page::decode(octets, self.facts.seed)
                    .is_some_and(|(page, found)| page.number == number && found as u64 == check);
                if !fits && is_there(page) {
                    let offset = offset + u64::from(number - first) * PAGE_BYTES as u64;
                    let broken = Broken::Page { file: String::from(&*name), offset };
                    errors += self.found(&name, offset, broken, tell);
                }
            }
            self.read_through((run * PAGE_BYTES) as u64, pace).await;
            if self.is_over() {
                break;
            }
            rest = later;
        }
        errors
    }

    /// Reads the pages of a root, which are a chain. `None`: there is no such checkpoint, one is being taken, or it is damaged.
    async fn scrub_root<P: Pace>(
        &self,
        address: Address,
        pace: &P,
        tell: &mut impl FnMut(Broken),
    ) -> (u64, Option<Root>) {
        let first = self.pages.borrow().as_ref().and_then(|pages| pages.page_at(&address));
        let Some(first) = first else { return (0, None) };
        let (mut next, mut bytes, mut part) = ((first, address.check), Vec::new(), 0);
        loop {
            let Some((file, offset, _)) = self.page_run(next.0, 1) else { return (0, None) };
            let name: Rc<str> = pages_name(file.0).into();
            let octets = self.device(file.1, name.clone()).read_at(offset, PAGE_BYTES).await.unwrap_or_default();
            self.read_through(PAGE_BYTES as u64, pace).await;
            if self.is_over() {
                return (0, None);
            }
            let page = Page::decode(&octets, self.facts.seed).filter(|(page, check)| {
                (page.number, *check, page.key, page.part) == (next.0, next.1, (ROOT, 0), part)
            });
            let link = page.and_then(|(page, _)| {
                let mut r = Reader::new(page.bytes);
                Some((page, (r.u32()?, r.u128()?)))
            });
            let Some((page, link)) = link else {
                let broken = Broken::Page { file: String::from(&*name), offset };
                let errors = if self.has_checkpoint(&address) { self.found(&name, offset, broken, tell) } else { 0 };
                return (errors, None);
            };
            bytes.extend_from_slice(&page.bytes[LINK_BYTES..]);
            if page.part + 1 == page.parts {
                return (0, Root::decode(&bytes));
            }
            (next, part) = (link, part + 1);
        }
    }

    /// File, offset, and how many of these pages lie there together. `None`: a checkpoint is being taken, or it is gone.
    fn page_run(&self, first: PageNumber, run: usize) -> Option<((u32, D::File), u64, usize)> {
        let pages = self.pages.borrow();
        let pages = pages.as_ref()?;
        let (number, file, offset) = pages.file_of(first)?;
        let here = |n: &u32| pages.file_of(first + n).is_some_and(|(of, ..)| of == number);
        let run = (0..run as u32).take_while(here).count();
        Some(((number, file.clone()), offset, run))
    }

    fn device(&self, file: D::File, name: Rc<str>) -> Device<D::File> {
        Device { file, unreads: Unreads::default(), name }
    }
}
