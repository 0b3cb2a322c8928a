//! The disk as the volume sees it: a flat folder of files, read and written at offsets.
//!
//! Two implementations exist: the shard's ring (in the root crate) and the simulated disk (`sim`).
//! Promises asked of both:
//!
//! - a buffer handed to `write_sync` stays alive until the kernel's last completion for it, even when the
//!   returned future is dropped;
//! - `write_sync` says `Ok` only when every byte was written *and* a later fdatasync of the same file
//!   completed without error. A short write, a cancelled link or a failed sync is an error, and an error
//!   means "perhaps on disk, perhaps not";
//! - writes are whole blocks, so that they can go past the page cache; a file is written past it or through it from its
//!   first write to its last, never both (RELIABILITY §4.7);
//! - names are plain file names, never paths.

use std::future::Future;
use std::io;
use std::rc::Rc;

/// Bytes on their way to the disk. Shared, so that the writer can keep them without a copy.
pub type Bytes = Rc<Vec<u8>>;

/// A folder that holds one volume.
pub trait Disk: Clone + 'static {
    /// An open file of the folder.
    type File: File;

    /// The names of the files in the folder, unordered.
    fn list(&self) -> impl Future<Output = io::Result<Vec<String>>>;

    /// Makes a file of `len` zero bytes, written (not merely allocated) and durable under `name`: temporary
    /// name, zeros, fdatasync, rename, directory sync. Fails with `AlreadyExists` when `name` is there.
    fn create(&self, name: &str, len: u64) -> impl Future<Output = io::Result<Self::File>>;

    /// Opens a file for reading and writing. Refuses what is not a regular file.
    fn open(&self, name: &str) -> impl Future<Output = io::Result<Self::File>>;

    /// Gives a file another name and syncs the directory; opens it. Its octets stay. After a crash it has one name or
    /// the other. Fails with `NotFound` when there is none of the old name, `AlreadyExists` when there is one of the
    /// new.
    fn recycle(&self, name: &str, new_name: &str) -> impl Future<Output = io::Result<Self::File>>;

    /// Removes a file and syncs the directory.
    fn remove(&self, name: &str) -> impl Future<Output = io::Result<()>>;

    /// Free bytes on the file system.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file. Clones share it.
pub trait File: Clone + 'static {
    /// Length in bytes; files do not grow after `create`.
    fn len(&self) -> u64;

    /// True for a file of no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads exactly `len` bytes at `offset`. Reading past the end is `UnexpectedEof`.
    fn read_at(&self, offset: u64, len: usize) -> impl Future<Output = io::Result<Vec<u8>>>;

    /// Reads as `read_at` does, from the device: never what only memory holds, as after a failed sync it may
    /// (RELIABILITY §4.6). Slower.
    fn read_device(&self, offset: u64, len: usize) -> impl Future<Output = io::Result<Vec<u8>>> {
        self.read_at(offset, len)
    }

    /// Nothing more will be written here: from now on what was read may be kept in memory for other readers. Before
    /// this, a file that was written to may be read from the device each time.
    fn seal(&self) {}

    /// Writes as `write_sync` does, without the sync: durable with the next `write_sync` of the same file, and perhaps
    /// before.
    fn write(&self, offset: u64, parts: Vec<Bytes>) -> impl Future<Output = io::Result<()>> {
        self.write_sync(offset, parts)
    }

    /// Writes `parts` one after the other at `offset`, then fdatasync. At most [`PARTS_MAX`] parts; `offset` and the sum
    /// of their lengths are multiples of [`BLOCK_BYTES`], and there is something to write.
    fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> impl Future<Output = io::Result<()>>;
}

/// A write begins and ends at a multiple of this, octets: the sector below which a disk does not tear.
pub const BLOCK_BYTES: u64 = 512;

/// Parts of one `write_sync` (the kernel's IOV_MAX).
pub const PARTS_MAX: usize = 1_024;
