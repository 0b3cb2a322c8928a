//! A folder in memory that forgets un-synced sectors at a crash.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::chance::Chance;

const SECTOR: usize = 512;

/// A folder.
#[derive(Clone, Default)]
pub(super) struct Memory(Rc<RefCell<BTreeMap<String, MemoryFile>>>);

/// A file of it.
#[derive(Clone)]
pub(super) struct MemoryFile(Rc<RefCell<Content>>);

struct Content {
    now: Vec<u8>,
    /// What each un-synced sector held at the last sync.
    unsynced: BTreeMap<usize, Vec<u8>>,
}

impl Memory {
    pub(super) fn list(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
    }

    pub(super) fn create(&self, name: &str, len: u64) -> io::Result<MemoryFile> {
        let mut files = self.0.borrow_mut();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let file = MemoryFile(Rc::new(RefCell::new(Content { now: vec![0; len], unsynced: BTreeMap::new() })));
        files.insert(name.to_owned(), file.clone());
        Ok(file)
    }

    pub(super) fn open(&self, name: &str) -> io::Result<MemoryFile> {
        self.0.borrow().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.0.borrow_mut().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Each un-synced sector stays as written or goes back, as chance will have it.
    pub(super) fn crash(&self, chance: &Chance) {
        for file in self.0.borrow().values() {
            let mut content = file.0.borrow_mut();
            for (sector, before) in std::mem::take(&mut content.unsynced) {
                if chance.one_in(2) {
                    content.now[sector * SECTOR..][..before.len()].copy_from_slice(&before);
                }
            }
        }
    }
}

impl MemoryFile {
    pub(super) fn len(&self) -> u64 {
        self.0.borrow().now.len() as u64
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let content = self.0.borrow();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(len).filter(|end| *end <= content.now.len());
        end.map(|end| content.now[start..end].to_vec()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.0.borrow_mut();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + bytes.len();
        if end > content.now.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let Content { now, unsynced } = &mut *content;
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            let whole = sector * SECTOR..((sector + 1) * SECTOR).min(now.len());
            unsynced.entry(sector).or_insert_with(|| now[whole].to_vec());
        }
        now[start..end].copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn sync(&self) {
        self.0.borrow_mut().unsynced.clear();
    }
}
