//! Receive buffers lent to the kernel: one provided-buffer ring per shard.
//!
//! The kernel takes a buffer only when bytes have arrived, so an idle connection holds none. A buffer is in
//! exactly one of three places: in the ring (the kernel's), in a [`Chunk`] (ours), or between the two while its
//! completion waits to be reaped. Dropping the chunk puts it back; no lock, no call.
//!
//! The memory outlives the ring: each chunk holds the pool.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

/// The one buffer group of a shard's ring.
pub const GROUP: u16 = 0;

/// The buffers and the ring that lends them.
pub struct Pool {
    entries: NonNull<BufRingEntry>,
    bytes: NonNull<u8>,
    count: u16,
    buffer_bytes: u32,
    tail: Cell<u16>,
    free: Cell<u16>,
}

impl Pool {
    /// Maps `count` (a power of two, at most 32,768) buffers of `buffer_bytes` octets and fills the ring with them.
    pub fn new(count: u16, buffer_bytes: u32) -> Rc<Pool> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "checked by the plan");
        let entries = pages(ring_layout(count));
        let bytes = pages(bytes_layout(count, buffer_bytes));
        let pool = Pool { entries: entries.cast(), bytes, count, buffer_bytes, tail: Cell::new(0), free: Cell::new(0) };
        (0..count).for_each(|bid| pool.give_back(bid));
        Rc::new(pool)
    }

    /// Address of the ring, for registration.
    pub fn address(&self) -> u64 {
        self.entries.as_ptr() as u64
    }

    /// Number of buffers.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Buffers that the kernel may take.
    pub fn free(&self) -> u16 {
        self.free.get()
    }

    /// The kernel filled buffer `bid` with `len` octets: it is ours until the chunk is dropped.
    pub fn taken(self: &Rc<Self>, bid: u16, len: u32) -> Chunk {
        assert!(bid < self.count && len <= self.buffer_bytes, "the kernel named a buffer that is not ours");
        self.free.set(self.free.get().checked_sub(1).expect("a buffer was taken twice"));
        Chunk(Held::Lent { pool: self.clone(), bid, len })
    }

    fn give_back(&self, bid: u16) {
        let tail = self.tail.get();
        let at = usize::from(tail & (self.count - 1));
        // SAFETY: `at` < count, so the entry lies in the block. The kernel reads entries between head and tail
        // only; this one is outside until the release store below. The tail shares bytes with the first
        // entry's reserved field, which `set_*` does not touch. Buffer `bid` is in nobody's hands: its chunk was
        // just dropped, or the pool is being built.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(at);
            entry.set_addr(self.bytes.as_ptr() as u64 + u64::from(bid) * u64::from(self.buffer_bytes));
            entry.set_len(self.buffer_bytes);
            entry.set_bid(bid);
            let shared = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*shared).store(tail.wrapping_add(1), Ordering::Release);
        }
        self.tail.set(tail.wrapping_add(1));
        self.free.set(self.free.get() + 1);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: both blocks were made in `new` with these layouts. The ring that lent the buffers is
        // gone or drained (it holds an `Rc` of this pool), and no chunk is left (each holds one too).
        unsafe {
            dealloc(self.entries.as_ptr().cast(), ring_layout(self.count));
            dealloc(self.bytes.as_ptr(), bytes_layout(self.count, self.buffer_bytes));
        }
    }
}

/// The kernel asks for a ring that starts on a page.
const PAGE_BYTES: usize = 4096;

fn ring_layout(count: u16) -> Layout {
    let bytes = usize::from(count) * size_of::<BufRingEntry>();
    Layout::from_size_align(bytes, PAGE_BYTES).expect("at most 512 KiB")
}

fn bytes_layout(count: u16, buffer_bytes: u32) -> Layout {
    let bytes = usize::from(count) * buffer_bytes as usize;
    Layout::from_size_align(bytes, PAGE_BYTES).expect("the plan bounds it far below the address space")
}

fn pages(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here is empty: the plan asks for at least one buffer of at least one octet.
    let at = unsafe { alloc_zeroed(layout) };
    NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Received bytes. Dropping it gives the buffer back to the kernel.
pub struct Chunk(Held);

enum Held {
    Lent { pool: Rc<Pool>, bid: u16, len: u32 },
    Own(Vec<u8>),
}

impl Chunk {
    /// Bytes of our own: carried from another shard, or copied because buffers were short.
    pub fn own(bytes: Vec<u8>) -> Chunk {
        Chunk(Held::Own(bytes))
    }

    /// The bytes in memory of our own; the buffer goes back at once.
    pub fn into_own(mut self) -> Vec<u8> {
        match &mut self.0 {
            Held::Lent { .. } => self.to_vec(),
            Held::Own(bytes) => std::mem::take(bytes),
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            // SAFETY: `bid` and `len` were checked in `taken`, the block lives as long as `pool`, and the kernel
            // does not write to a buffer it gave out until `give_back`, which only our `Drop` calls.
            Held::Lent { pool, bid, len } => unsafe {
                std::slice::from_raw_parts(
                    pool.bytes.as_ptr().add(usize::from(*bid) * pool.buffer_bytes as usize),
                    *len as usize,
                )
            },
            Held::Own(bytes) => bytes,
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Held::Lent { pool, bid, .. } = &self.0 {
            pool.give_back(*bid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_chunk_gives_its_buffer_back() {
        let pool = Pool::new(4, 512);
        assert_eq!(pool.free(), 4);
        let first = pool.taken(2, 5);
        let second = pool.taken(3, 0);
        assert_eq!((pool.free(), first.len(), second.len()), (2, 5, 0));
        drop(first);
        assert_eq!(pool.free(), 3);
        assert_eq!(second.into_own(), Vec::<u8>::new());
        assert_eq!(pool.free(), 4);
    }

    #[test]
    fn a_chunk_keeps_the_memory_when_the_ring_is_gone() {
        let pool = Pool::new(2, 4096);
        let chunk = pool.taken(1, 4096);
        drop(pool);
        assert!(chunk.iter().all(|b| *b == 0));
    }
}
