//! The batch: what becomes durable together.
//!
//! ```text
//! | header 128 | directory: records | bodies | zeros | footer 64 |      a multiple of 512 octets
//! ```
//!
//! The header has its own checksum and is verified before any length in it is used. It carries the checksum
//! of the directory; the directory carries the checksums of the bodies; the footer, in the last block, repeats
//! all three. So replay needs header, directory and footer, and seeks over the bodies. Bytes: FORMAT.md, "Batch".

mod build;
pub mod directory;
mod footer;
mod header;

pub use build::{Gather, Pushed, Sealed, overhead_bytes};
pub use footer::{FOOTER_BYTES, Footer};
#[cfg(test)]
pub(crate) use header::tests::example;
pub use header::{HEADER_BYTES, Header, Seen};
