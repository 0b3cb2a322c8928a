//! A segment that is read from one end to the other: a stretch of it is read at once, and small reads are served from that.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use crate::disk::{Bytes, File};

/// Octets read at once.
pub const WINDOW_BYTES: u64 = 256 << 10;

/// A file behind such a stretch.
#[derive(Clone)]
pub struct Window<F> {
    file: F,
    /// Where the stretch begins, and its octets.
    stretch: Rc<RefCell<(u64, Vec<u8>)>>,
}

impl<F: File> Window<F> {
    pub fn new(file: F) -> Self {
        Window { file, stretch: Rc::default() }
    }

    fn held(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let (start, octets) = &*self.stretch.borrow();
        let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
        octets.get(from..from.checked_add(len)?).map(<[u8]>::to_vec)
    }
}

impl<F: File> File for Window<F> {
    fn len(&self) -> u64 {
        self.file.len()
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if let Some(octets) = self.held(offset, len) {
            return Ok(octets);
        }
        let room = self.file.len().saturating_sub(offset);
        let stretch = (len as u64).max(WINDOW_BYTES.min(room)) as usize;
        let octets = self.file.read_at(offset, stretch).await?;
        *self.stretch.borrow_mut() = (offset, octets);
        Ok(self.held(offset, len).expect("just read"))
    }

    async fn write_sync(&self, _: u64, _: Vec<Bytes>) -> io::Result<()> {
        unreachable!("a window is looked through")
    }
}
