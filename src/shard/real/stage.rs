//! Memory for direct I/O: blocks that start on a page, reused from one transfer to the next.
//!
//! With O_DIRECT the device reads and writes this memory itself, so address and length must suit it, and the parts of
//! a batch suit nothing: they are copied together here. One copy of a batch is small beside the page cache's (which
//! copies too, and keeps).
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Alignment of the memory; a device that wants more is written through the page cache. Octets.
pub const ALIGN_BYTES: usize = 4_096;
/// The most one transfer takes; what is longer goes in several, one behind the other: it stays in the cache of a core. Octets.
pub const STAGE_BYTES_MAX: usize = 256 << 10;
/// The least that is allocated, so that one block serves batches of many sizes. Octets.
const STAGE_BYTES_MIN: usize = 64 << 10;
/// Blocks kept for the next transfer. More are freed: one batch is in flight, and a read or two beside it.
const IDLE_MAX: usize = 2;

/// Aligned memory, all of it initialised; the first `len` octets count.
pub struct Stage {
    at: NonNull<u8>,
    capacity: usize,
    len: usize,
}

impl Stage {
    /// Room for `bytes` octets, none of which count yet.
    pub fn new(bytes: usize) -> Stage {
        let capacity = bytes.next_power_of_two().max(STAGE_BYTES_MIN);
        // SAFETY: the layout is not empty.
        let at = unsafe { alloc_zeroed(layout(capacity)) };
        let at = NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout(capacity)));
        Stage { at, capacity, len: 0 }
    }

    /// Appends a copy.
    pub fn push(&mut self, bytes: &[u8]) {
        let from = self.len;
        self.set_len(from + bytes.len());
        self[from..].copy_from_slice(bytes);
    }

    /// So many octets count from now on, with whatever they hold.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity, "a stage does not grow");
        self.len = len;
    }

    /// The memory, for the kernel.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.at.as_ptr()
    }
}

fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(capacity, ALIGN_BYTES).expect("at most a few MiB")
}

impl Deref for Stage {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` is at most the capacity, and all of it was zeroed when it was allocated. While the kernel has
        // the memory, the slot that lent it holds the stage, and nobody else can look.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and we have it alone.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; whoever lends it to the kernel keeps it until the completion.
        unsafe { dealloc(self.at.as_ptr(), layout(self.capacity)) };
    }
}

/// Stages between two transfers, of one folder.
#[derive(Default)]
pub struct Stages(RefCell<Vec<Stage>>);

impl Stages {
    /// An empty stage with room for `bytes` octets.
    pub fn take(&self, bytes: usize) -> Stage {
        assert!(bytes <= STAGE_BYTES_MAX, "longer transfers go in pieces");
        let mut idle = self.0.borrow_mut();
        let fits = idle.iter().position(|stage| stage.capacity >= bytes);
        match fits.map(|n| idle.swap_remove(n)) {
            Some(mut stage) => {
                stage.set_len(0);
                stage
            }
            None => Stage::new(bytes),
        }
    }

    /// Keeps it for the next transfer.
    pub fn give_back(&self, stage: Stage) {
        let mut idle = self.0.borrow_mut();
        idle.push(stage);
        if idle.len() > IDLE_MAX {
            // The smallest goes.
            let smallest = (0..idle.len()).min_by_key(|n| idle[*n].capacity).expect("not empty");
            idle.swap_remove(smallest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_start_on_a_page_and_hold_what_was_pushed() {
        for bytes in [1, 512, 65_537, STAGE_BYTES_MAX] {
            let mut stage = Stage::new(bytes);
            assert_eq!(stage.as_mut_ptr() as usize % ALIGN_BYTES, 0);
            stage.push(&[7; 1]);
            stage.push(&vec![8; bytes - 1]);
            assert_eq!((stage[0], stage.len()), (7, bytes));
            assert!(stage[1..].iter().all(|b| *b == 8));
        }
    }

    #[test]
    fn a_stage_is_used_again_and_few_are_kept() {
        let stages = Stages::default();
        let mut first = stages.take(100);
        first.push(&[1; 100]);
        let at = first.as_mut_ptr();
        stages.give_back(first);
        let mut again = stages.take(200);
        assert_eq!((again.as_mut_ptr(), again.len()), (at, 0));
        let others = [stages.take(STAGE_BYTES_MAX), stages.take(1), stages.take(1)];
        stages.give_back(again);
        others.into_iter().for_each(|stage| stages.give_back(stage));
        let idle = stages.0.borrow();
        assert_eq!(idle.len(), IDLE_MAX);
        assert!(idle.iter().any(|stage| stage.capacity == STAGE_BYTES_MAX), "the largest stays");
    }
}
