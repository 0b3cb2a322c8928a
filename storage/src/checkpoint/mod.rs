//! Checkpoints: the index on disk as of one durable batch, so that opening reads the log from there on.
//!
//! ```text
//! superblock ─► root: list of pages ─► pages: objects (entries of accounts, segments, domains, …)
//!            └► root of the one before
//! ```
//!
//! The index is cut into objects, and an object into pages of files `pages-<n>`. What has changed is written to pages that
//! are free, then a root that names all pages, each with its checksum; all of it is synced; then the superblock points to
//! the root. Pages of the checkpoint before stay as they are until the next one is durable. So whatever a crash leaves,
//! the superblock points to a whole checkpoint; and when a page of that is damaged the one before is used, and without
//! either the whole log is read. Nothing is lost with a checkpoint but time.
//!
//! `page` is one page, `root` the list, `object` what the index looks like in pages, `pages` the files and which pages are
//! free, `take` writes a checkpoint and `load` reads one. Bytes: FORMAT.md, "Pages".

mod load;
mod object;
mod page;
mod pages;
mod root;
mod take;

pub use load::{Found, Start, load};
pub use page::{PAGE_BYTES, Page, PageNumber};
pub use pages::{Pages, name as pages_name};
pub use root::{KIND as ROOT, LINK_BYTES, Root};
pub use take::{Clock, take};

/// Seconds, counted by [`crate::Volume::heartbeat`], after which changes come into a checkpoint.
const SECONDS_MAX: u32 = 30;
/// Octets copied of the index, and written, before others have their turn.
const SLICE_BYTES: usize = 1 << 20;

#[cfg(feature = "sim")]
pub mod fuzzed {
    pub use super::object::{kind, restore, restore_files, small};
    pub use super::page::{Key, PAGE_BYTES, PART_BYTES, Page};
    pub use super::root::{CHUNK_BYTES, KIND as ROOT, LINK_BYTES, PageRef, Position, Root};
}

#[cfg(test)]
pub mod golden {
    pub use super::Page;
    pub use super::object::tests::example as objects;
    pub use super::root::tests::example;
}
