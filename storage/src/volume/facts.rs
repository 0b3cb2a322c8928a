//! What a volume is made with, how it is run, and what it tells of itself.

use crate::types::{Lsn, VolumeId};

/// Facts a volume is made with.
#[derive(Clone, Debug)]
pub struct Create {
    /// The store (all volumes of one data directory share it).
    pub store: uuid::Uuid,
    /// This volume's number.
    pub volume: VolumeId,
    /// How many volumes the store was made with.
    pub volumes: u16,
    /// Octets of a segment; a multiple of 64 KiB.
    pub segment_bytes: u64,
    /// From the world's chance.
    pub seed: u64,
}

/// How a volume is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Octets of records and bodies waiting or in flight. More: `Busy`.
    pub gather_bytes_max: u64,
    /// A batch is sealed at this size, octets.
    pub batch_bytes_max: u64,
    /// Free bytes of the file system below which appends are refused with `DiskFull`.
    pub free_bytes_min: u64,
    /// Octets of log after which a checkpoint is taken. 0: none is taken, and none is used.
    pub checkpoint_bytes: u64,
    /// Octets of accounts in memory, estimated. More: those that nobody holds are dropped, least recently used first.
    pub index_bytes_max: usize,
    /// Records that an account has behind its root before it is folded (more, for one with many mailboxes).
    pub fold_at: u32,
    /// What is expunged is kept until [`Volume::forget`](crate::Volume::forget) is told to let it go.
    pub retain: bool,
}

impl Settings {
    /// For a volume among a few on one machine.
    pub const DEFAULT: Settings = Settings {
        gather_bytes_max: 64 << 20,
        batch_bytes_max: 4 << 20,
        free_bytes_min: 128 << 20,
        checkpoint_bytes: 32 << 20,
        index_bytes_max: 256 << 20,
        fold_at: 64,
        retain: false,
    };
}

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Batches replayed.
    pub batches: u64,
    /// Octets scanned.
    pub bytes: u64,
    /// Highest LSN that is durable.
    pub durable: Lsn,
    /// Un-synced tail bytes discarded (never acknowledged).
    pub torn_bytes: u64,
    /// Acknowledged data that is damaged: segment, offset, octets. Quarantined, never truncated. Segments that are missing one
    /// after the other are one region, as long as all of them.
    pub damaged: Vec<(u32, u64, u64)>,
    /// Acknowledged batches that are lost with it. (Not all damage costs a batch.)
    pub lost_batches: u64,
}

/// Counters of a volume since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct VolumeStats {
    /// Batches committed.
    pub batches: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Records committed.
    pub records: u64,
    /// Octets written in batches, padding included.
    pub written_bytes: u64,
    /// Octets of bodies and prefixes in committed batches.
    pub body_bytes: u64,
    /// Highest durable LSN.
    pub durable: Lsn,
    /// Times that the next segment could not be made for want of room, descriptors or memory.
    pub segments_put_off: u64,
    /// Times that the reserve became a segment.
    pub reserves_lent: u64,
    /// Times that it could not be made again.
    pub reserves_put_off: u64,
    /// The reserve is not there: appends wait while it was lent, and what it will take counts as not free.
    pub reserve_missing: bool,
    /// Appends were refused for want of room when the file system was asked last.
    pub full: bool,
    /// Damaged regions found when it was opened.
    pub damaged_regions: u64,
    /// Acknowledged batches that were lost then.
    pub lost_batches: u64,
    /// Records that could not be applied: what they belong to is lost, or their number is taken.
    pub orphan_records: u64,
    /// Segments that were compacted.
    pub compacted_segments: u64,
    /// Octets of bodies that were copied for it.
    pub compacted_bytes: u64,
    /// Old places of what was moved that have to be remembered, 12 octets each.
    pub forwards: u64,
    /// Times that some of them were forgotten.
    pub forgets: u64,
    /// Accounts.
    pub accounts: u64,
    /// Those that are in memory whole.
    pub accounts_loaded: u64,
    /// Octets that those take, estimated.
    pub accounts_loaded_bytes: u64,
    /// Accounts that wait to be folded.
    pub folds_waiting: u64,
    /// Accounts that could not be folded when it was their turn.
    pub folds_failed: u64,
    /// Roots of accounts that were written.
    pub folds: u64,
    /// Octets of them and of what came with them.
    pub folded_bytes: u64,
    /// Checkpoints taken.
    pub checkpoints: u64,
    /// Octets of pages written for them.
    pub checkpoint_bytes: u64,
    /// Times that one was not taken for want of room.
    pub checkpoints_put_off: u64,
    /// Octets of the log and of checkpoints that were read to see whether they are as they were written.
    pub scrubbed_bytes: u64,
    /// Damaged places found so.
    pub scrub_errors: u64,
    /// Times that everything was read.
    pub scrub_passes: u64,
    /// When it was last, seconds since 1970. 0: never.
    pub scrub_completed_s: u64,
    /// True after an error of write or sync.
    pub failed: bool,
}
