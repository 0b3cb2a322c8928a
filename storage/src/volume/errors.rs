//! Why a volume does not open, and why a message cannot be read. The sentences say what to do.

use crate::types::VolumeId;

/// Why a volume does not open. The sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no volume here.
    #[error("there is no volume here")]
    Absent,
    /// The format is newer than this program.
    #[error("the volume's format {found} is newer than this program reads ({known}): start the newer Ringpost")]
    Newer {
        /// On disk.
        found: u32,
        /// Known here.
        known: u32,
    },
    /// The format is older than this program.
    #[error(
        "the volume's format {found} is of a test version before the first release; this program reads {known}: export the mail with the program that wrote it"
    )]
    Older {
        /// On disk.
        found: u32,
        /// Known here.
        known: u32,
    },
    /// The volume uses features this program does not know.
    #[error("the volume uses features {0:#x} that this program does not know: start the newer Ringpost")]
    Features(u64),
    /// The log holds a record this program does not know.
    #[error(
        "the log holds a record of kind {kind}, version {version}, that this program does not know: start the newer Ringpost"
    )]
    UnknownRecord {
        /// On disk.
        kind: u16,
        /// On disk.
        version: u8,
    },
    /// The superblock has no valid quorum.
    #[error("the superblock is damaged: {0}")]
    Superblock(String),
    /// The superblock belongs to another store or volume.
    #[error(
        "this is volume {found_volume} of store {found_store}, not volume {want_volume} of store {want_store}: the folders were swapped or mixed"
    )]
    Other {
        /// On disk.
        found_store: uuid::Uuid,
        /// On disk.
        found_volume: VolumeId,
        /// Asked for.
        want_store: uuid::Uuid,
        /// Asked for.
        want_volume: VolumeId,
    },
    /// Reading failed.
    #[error("{doing}: {why}")]
    Io {
        /// What was being done.
        doing: String,
        /// The disk's answer.
        why: std::io::Error,
    },
}

/// A message that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Expunged and its space reused.
    #[error("the message is gone")]
    Gone,
    /// The checksum does not fit.
    #[error("the message is damaged on disk")]
    Damaged,
    /// It is in its mailbox, and the file that it lies in is not there. No reading of a place says so: who has looked the
    /// message up again does.
    #[error("the file that the message lies in is not there")]
    Missing,
    /// The disk said no.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
}
