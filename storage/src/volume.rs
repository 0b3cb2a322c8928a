//! (stub of the front door; the real one is being built)
#![allow(unused_variables, clippy::unused_async)]

use std::future::Future;
use std::marker::PhantomData;
use std::rc::Rc;

use crate::disk::Disk;
use crate::transaction::{Lost, Outcome, Refused, Transaction};
use crate::types::{AccountId, AccountInfo, Lsn, MailboxId, MailboxInfo, Message, Modseq, Uid, VolumeId};

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
}

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
    /// Acknowledged data that is damaged: segment, offset, octets. Quarantined, never truncated.
    pub damaged: Vec<(u32, u64, u64)>,
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
    /// The disk said no.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
}

/// One volume, open. Clones share it. Single-threaded: it belongs to one shard.
pub struct Volume<D: Disk>(Rc<PhantomData<D>>);

impl<D: Disk> Clone for Volume<D> {
    fn clone(&self) -> Self {
        Volume(self.0.clone())
    }
}

/// A decided transaction: what was decided, and the wait for its sync.
pub struct Decided {
    /// One per op.
    pub outcomes: Vec<Outcome>,
    /// Resolves when the batch is durable and its effects are visible, or will never be vouched for.
    pub ticket: Ticket,
}

/// Resolves with the fate of a decided transaction.
pub struct Ticket;

impl Future for Ticket {
    type Output = Result<(), Lost>;
    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        unreachable!("being built")
    }
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
    /// Octets written, padding included.
    pub written_bytes: u64,
    /// Octets of bodies and prefixes in committed batches.
    pub body_bytes: u64,
    /// Highest durable LSN.
    pub durable: Lsn,
    /// True after an error of write or sync.
    pub failed: bool,
}

impl<D: Disk> Volume<D> {
    /// Makes a volume in an empty folder.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn create(disk: &D, facts: &Create) -> std::io::Result<()> {
        unreachable!("being built")
    }

    /// Opens a volume: superblock quorum, then replay. `want`: store and volume it must be, if known.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        disk: D,
        want: Option<(uuid::Uuid, VolumeId)>,
        settings: Settings,
    ) -> Result<(Self, Recovered), OpenError> {
        unreachable!("being built")
    }

    /// Facts from the superblock.
    #[must_use]
    pub fn facts(&self) -> Create {
        unreachable!("being built")
    }

    /// Decides a transaction in memory and puts it into the gathering batch. `now_ms`: wall clock, for dates and UIDVALIDITY.
    ///
    /// # Errors
    /// See [`Refused`]; nothing was kept.
    pub fn decide(&self, transaction: Transaction, now_ms: i64) -> Result<Decided, Refused> {
        unreachable!("being built")
    }

    /// The commit loop: seals what has gathered when `run_dry` resolves (or at the size bound), writes and syncs it, makes it
    /// visible, wakes its tickets; one batch in flight, the next gathers. Also prepares the next segment ahead of need. Runs until [`Volume::close`].
    pub async fn commit_loop<F: Future<Output = ()>>(&self, run_dry: impl Fn() -> F) {
        unreachable!("being built")
    }

    /// Takes no more transactions, commits what is decided, writes a heartbeat with the durable LSN, ends the commit loop.
    pub async fn close(&self) {
        unreachable!("being built")
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> VolumeStats {
        unreachable!("being built")
    }

    /// All domains with their opaque info.
    #[must_use]
    pub fn domains(&self) -> Vec<(String, Rc<[u8]>)> {
        unreachable!("being built")
    }

    /// All accounts.
    #[must_use]
    pub fn accounts(&self) -> Vec<AccountInfo> {
        unreachable!("being built")
    }

    /// One account.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<AccountInfo> {
        unreachable!("being built")
    }

    /// The account with this name.
    #[must_use]
    pub fn account_named(&self, name: &str) -> Option<AccountId> {
        unreachable!("being built")
    }

    /// An account's mailboxes, by id.
    #[must_use]
    pub fn mailboxes(&self, account: AccountId) -> Vec<MailboxInfo> {
        unreachable!("being built")
    }

    /// Looks at a mailbox (its durable state).
    pub fn mailbox<T>(&self, account: AccountId, mailbox: MailboxId, look: impl FnOnce(&Mailbox) -> T) -> Option<T> {
        unreachable!("being built")
    }

    /// Reads a message whole: prefix and body, verified. For messages up to a bound the caller has checked.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, message: &Message) -> Result<Vec<u8>, ReadError> {
        unreachable!("being built")
    }

    /// Reads the octets `offset..offset + len` of a message (prefix and body as one), verified block by block
    /// (256 KiB blocks), cut at its end.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_range(&self, message: &Message, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
        unreachable!("being built")
    }

    /// Summaries kept for these messages, `None` where there is none.
    pub async fn summaries(&self, account: AccountId, mailbox: MailboxId, uids: &[Uid]) -> Vec<Option<Rc<[u8]>>> {
        unreachable!("being built")
    }
}

/// A mailbox's durable state, seen from inside [`Volume::mailbox`].
pub struct Mailbox;

impl Mailbox {
    /// Its facts.
    #[must_use]
    pub fn info(&self) -> &MailboxInfo {
        unreachable!("being built")
    }
    /// The UID the next message will have, at least.
    #[must_use]
    pub fn uidnext(&self) -> Uid {
        unreachable!("being built")
    }
    /// HIGHESTMODSEQ of durable changes.
    #[must_use]
    pub fn highest_modseq(&self) -> Modseq {
        unreachable!("being built")
    }
    /// Messages in UID order.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        unreachable!("being built")
    }
    /// One message.
    #[must_use]
    pub fn by_uid(&self, uid: Uid) -> Option<&Message> {
        unreachable!("being built")
    }
    /// UIDs expunged after `since`, in order of going; `None` when the history does not reach back so far.
    #[must_use]
    pub fn expunged_since(&self, since: Modseq) -> Option<Vec<Uid>> {
        unreachable!("being built")
    }
    /// Grows by at least one with every durable change of this mailbox since the volume was opened.
    #[must_use]
    pub fn version(&self) -> u64 {
        unreachable!("being built")
    }
}
