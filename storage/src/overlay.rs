//! A folder that is only read: what is written stays in memory, and is forgotten with it.
//!
//! Opening a volume writes, to settle the end of its log. Who only wants to look (a check, an export from a damaged store, a
//! backup) opens it through this, and no octet of the folder changes. Files can be hidden, too, as if they were lost.
//!
//! What the disk does not read is read around ([`crate::unread`]): to who looks it is damage like any other.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use crate::disk::{Bytes, Disk, File};
use crate::unread::{Unread, Unreads};

/// Written octets are kept in pieces of this size.
const PIECE_BYTES: u64 = 4_096;

/// See the file's head. Clones share what was written.
#[derive(Clone)]
pub struct Overlay<D: Disk> {
    under: D,
    hidden: fn(&str) -> bool,
    made: Rc<RefCell<BTreeMap<String, OverlayFile<D::File>>>>,
    removed: Rc<RefCell<BTreeSet<String>>>,
    unreads: Unreads,
}

/// A file of an [`Overlay`].
#[derive(Clone)]
pub struct OverlayFile<F> {
    /// `None`: it was made here, of zeros.
    under: Option<F>,
    len: u64,
    written: Rc<RefCell<BTreeMap<u64, Box<[u8]>>>>,
    name: Rc<str>,
    unreads: Unreads,
}

impl<D: Disk> Overlay<D> {
    /// Over all of a folder but the files whose names are `hidden`.
    #[must_use]
    pub fn new(under: D, hidden: fn(&str) -> bool) -> Self {
        Overlay { under, hidden, made: Rc::default(), removed: Rc::default(), unreads: Unreads::default() }
    }

    /// Places that the disk did not read since this was asked last.
    #[must_use]
    pub fn take_unread(&self) -> Vec<Unread> {
        self.unreads.take()
    }

    fn file(&self, name: &str, under: Option<D::File>, len: u64) -> OverlayFile<D::File> {
        OverlayFile { under, len, written: Rc::default(), name: name.into(), unreads: self.unreads.clone() }
    }

    fn is_away(&self, name: &str) -> bool {
        (self.hidden)(name) || self.removed.borrow().contains(name)
    }
}

impl<D: Disk> Disk for Overlay<D> {
    type File = OverlayFile<D::File>;

    async fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.under.list().await?;
        names.retain(|name| !self.is_away(name));
        let made = self.made.borrow();
        let more: Vec<String> = made.keys().filter(|name| !names.contains(name)).cloned().collect();
        names.extend(more);
        Ok(names)
    }

    async fn create(&self, name: &str, len: u64) -> io::Result<Self::File> {
        if self.list().await?.iter().any(|there| there == name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = self.file(name, None, len);
        self.made.borrow_mut().insert(name.to_owned(), file.clone());
        Ok(file)
    }

    async fn open(&self, name: &str) -> io::Result<Self::File> {
        // What was written to a file is seen by all who open it.
        if let Some(file) = self.made.borrow().get(name) {
            return Ok(file.clone());
        }
        if self.is_away(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let under = self.under.open(name).await?;
        let len = under.len();
        let file = self.file(name, Some(under), len);
        self.made.borrow_mut().insert(name.to_owned(), file.clone());
        Ok(file)
    }

    async fn recycle(&self, name: &str, new_name: &str) -> io::Result<Self::File> {
        if self.list().await?.iter().any(|there| there == new_name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = self.open(name).await?;
        self.made.borrow_mut().insert(new_name.to_owned(), file.clone());
        self.remove(name).await?;
        Ok(file)
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.made.borrow_mut().remove(name);
        self.removed.borrow_mut().insert(name.to_owned());
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX / 2)
    }
}

impl<F: File> OverlayFile<F> {
    /// What lies under the pieces.
    async fn below(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        match &self.under {
            Some(file) => self.unreads.read(&self.name, file, offset, len).await,
            None if offset + len as u64 <= self.len => Ok(vec![0; len]),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<F: File> File for OverlayFile<F> {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = self.below(offset, len).await?;
        let end = offset + len as u64;
        let first = offset / PIECE_BYTES;
        let written = self.written.borrow();
        for (number, piece) in written.range(first..end.div_ceil(PIECE_BYTES)) {
            let at = number * PIECE_BYTES;
            let (from, to) = (at.max(offset), (at + piece.len() as u64).min(end));
            let (there, here) = ((from - at) as usize..(to - at) as usize, (from - offset) as usize);
            bytes[here..here + there.len()].copy_from_slice(&piece[there]);
        }
        Ok(bytes)
    }

    async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let end = offset + bytes.len() as u64;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for number in offset / PIECE_BYTES..end.div_ceil(PIECE_BYTES) {
            let at = number * PIECE_BYTES;
            let len = PIECE_BYTES.min(self.len - at);
            let mut piece = self.read_at(at, usize::try_from(len).expect("a piece")).await?;
            let (from, to) = (at.max(offset), (at + len).min(end));
            piece[(from - at) as usize..(to - at) as usize]
                .copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
            self.written.borrow_mut().insert(number, piece.into());
        }
        Ok(())
    }
}
