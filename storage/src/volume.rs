//! The volume's front door.
//!
//! ```text
//! create ─► open (recover) ─► decide … decide ─► close
//!                              └─ commit_loop: gather, write, sync, apply, wake
//! ```
//!
//! Two states are kept apart. *Decided* is what `decide` has promised to write: it only counts for later
//! decisions. *Durable* is what a sync has vouched for: it is all that any function here shows. One thread;
//! nothing here may be called from a waker's or `look`'s inside in a way that changes the volume, except
//! `decide`, which may be called from anywhere.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::rc::Rc;

use crate::checkpoint::Pages;
use crate::commit::{self, Bell, Log};
use crate::compact::Stuck;
use crate::disk::{Bytes, Disk};
use crate::fold::{FoldError, House, Rewrite};
use crate::index::ahead::Ahead;
use crate::index::{Entry, Index};
use crate::loaded::Loaded;
use crate::read::Reader;
use crate::recover;
use crate::transaction::{Outcome, Refused, Transaction};
use crate::types::{AccountId, AccountInfo, Lsn, MailboxId, MailboxInfo, Message, Uid, VolumeId};
use crate::upload::{Pins, Upload};
use crate::watch::{Watch, Watches};

pub use crate::commit::Ticket;
pub use crate::index::Mailbox;

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
    };
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
    /// Acknowledged batches that are lost with it. (Not all damage costs a batch.)
    pub lost_batches: u64,
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
pub struct Volume<D: Disk>(pub(crate) Rc<Inner<D>>);

impl<D: Disk> Clone for Volume<D> {
    fn clone(&self) -> Self {
        Volume(self.0.clone())
    }
}

/// What the clones share.
pub(crate) struct Inner<D: Disk> {
    pub disk: D,
    pub facts: Create,
    pub settings: Settings,
    pub superblock_file: D::File,
    pub index: RefCell<Index>,
    pub ahead: RefCell<Ahead>,
    pub log: RefCell<Log<D::File>>,
    /// Whoever takes a checkpoint has them meanwhile.
    pub pages: RefCell<Option<Pages<D::File>>>,
    /// Something gathers, or is full, or the volume closes.
    pub commit_bell: Bell,
    /// A segment is wanted, or a superblock is due.
    pub keep_bell: Bell,
    /// A segment is there, or will not be.
    pub segment_bell: Bell,
    pub closed_bell: Bell,
    /// An account has been read, or could not be.
    pub load_bell: Bell,
    /// A batch is durable, or none will be; or somebody has done with folding an account.
    pub settled_bell: Bell,
    /// Accounts that somebody folds.
    pub turns: RefCell<HashSet<AccountId>>,
    pub house: House,
    /// An account is due to be folded, or the volume closes.
    pub house_bell: Bell,
    pub watches: Rc<Watches>,
    pub on_commit: RefCell<Option<OnCommit>>,
    pub keep_on: Cell<bool>,
    /// Segments that have to stay as they are.
    pub pins: Pins,
    /// Segments that somebody reads just now.
    pub reading: Pins,
    /// Segments that compaction leaves where they are, and why.
    pub stuck: RefCell<BTreeMap<u32, Stuck>>,
    /// A segment is being compacted.
    pub compacting: Cell<bool>,
    /// Nothing is compacted before the log has written so many octets: the last round brought too little.
    pub rests_until: Cell<u64>,
}

type OnCommit = Box<dyn Fn(Commit)>;

/// What happens to a batch that somebody waits for. One is on its way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is handed to the disk now.
    Begun,
    /// Its sync is complete.
    Durable {
        /// Transactions in it.
        transactions: u32,
        /// Octets written, padding included.
        bytes: u64,
    },
}

/// A decided transaction: what was decided, and the wait for its sync.
pub struct Decided {
    /// One per op.
    pub outcomes: Vec<Outcome>,
    /// Resolves when the batch is durable and its effects are visible, or will never be vouched for.
    pub ticket: Ticket,
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
    /// True after an error of write or sync.
    pub failed: bool,
}

impl<D: Disk> Volume<D> {
    /// Makes a volume in an empty folder, or finishes making one that a crash interrupted.
    ///
    /// # Errors
    /// `AlreadyExists` when there is a volume; `InvalidInput` for a segment size out of bounds; else as the disk says.
    pub async fn create(disk: &D, facts: &Create) -> std::io::Result<()> {
        recover::create(disk, facts).await
    }

    /// Opens a volume: superblock quorum, then replay. `want`: store and volume it must be, if known.
    /// When this returns, everything it shows is durable.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        disk: D,
        want: Option<(uuid::Uuid, VolumeId)>,
        settings: Settings,
    ) -> Result<(Self, Recovered), OpenError> {
        let (inner, recovered) = recover::open(disk, want, settings).await?;
        Ok((Volume(Rc::new(inner)), recovered))
    }

    /// Tells `watch` of every batch from now on, for who wants to measure: there is no clock here. It is called with nothing
    /// borrowed, between the disk and those who wait, so it is to be quick.
    pub fn watch_commits(&self, watch: impl Fn(Commit) + 'static) {
        *self.0.on_commit.borrow_mut() = Some(Box::new(watch));
    }

    /// Facts from the superblock.
    #[must_use]
    pub fn facts(&self) -> Create {
        self.0.facts.clone()
    }

    /// Decides a transaction in memory and puts it into the gathering batch. `now_ms`: wall clock, for dates and UIDVALIDITY.
    ///
    /// Messages that are decided and not yet durable are not there for `StoreFlags`, `Expunge`, `Copy` and `Move`: nobody
    /// knows their UIDs. `Stored::changed` leaves out messages whose flags already were as asked.
    ///
    /// # Errors
    /// See [`Refused`]; nothing was kept.
    ///
    /// # Panics
    /// When an `Append` names a body that is not there, a `Target` a mailbox that no earlier op makes in this account, or
    /// summaries do not come with rising UIDs.
    pub fn decide(&self, transaction: Transaction, now_ms: i64) -> Result<Decided, Refused> {
        self.0.decide(transaction, now_ms, None)
    }

    /// As [`Volume::decide`], and hands out the very buffers of the bodies. Once the ticket has resolved nobody else holds
    /// them: whoever filled them on another core can have them back, so that they are freed where they were allocated.
    ///
    /// # Errors
    /// See [`Refused`]; nothing was kept.
    ///
    /// # Panics
    /// As [`Volume::decide`].
    pub fn decide_and_lend(&self, transaction: Transaction, now_ms: i64) -> Result<(Decided, Vec<Bytes>), Refused> {
        let mut buffers = Vec::new();
        let decided = self.0.decide(transaction, now_ms, Some(&mut buffers))?;
        Ok((decided, buffers))
    }

    /// Begins a body that is put into the log while it arrives.
    #[must_use]
    pub fn upload(&self) -> Upload<D> {
        Upload::new(self.clone())
    }

    /// True if so many octets more would be refused with `Busy` now: whoever can wait does, and asks again.
    #[must_use]
    pub fn is_busy(&self, octets: u64) -> bool {
        let waiting = self.0.log.borrow().waiting_bytes;
        waiting > 0 && waiting.saturating_add(octets) > self.0.settings.gather_bytes_max
    }

    /// True if an append of about so many octets would not be refused with `DiskFull` now. A promise of nothing: the
    /// disk may fill up meanwhile. A volume that failed or closes is not full; `decide` says what it is. `now_ms`: as for
    /// `decide`; the file system is asked at most once a second.
    #[must_use]
    pub fn has_room(&self, octets: u64, now_ms: i64) -> bool {
        self.0.has_room(octets, now_ms)
    }

    /// The commit loop: seals what has gathered when `run_dry` resolves (or at the size bound), writes and syncs it, makes it
    /// visible, wakes its tickets; one batch in flight, the next gathers. Also prepares the next segment ahead of need. Runs until [`Volume::close`].
    pub async fn commit_loop<F: Future<Output = ()>>(&self, run_dry: impl Fn() -> F) {
        commit::run(&self.0, run_dry).await;
    }

    /// Folds accounts that have many records, one after the other as they come, until [`Volume::close`]. Deliveries and
    /// commits never wait for it. `breathe`: awaited after every few accounts, so that others have their share.
    pub async fn housekeeping<F: Future<Output = ()>>(&self, breathe: impl Fn() -> F) {
        self.0.keep_house(breathe).await;
    }

    /// To be called about once a second. When nothing waits and the last commit is not yet vouched for by anything
    /// later on disk, this commits a heartbeat, so that damage to that commit can be told from a torn write. It counts the
    /// seconds to the next checkpoint, too.
    pub fn heartbeat(&self) {
        let due = {
            let mut log = self.0.log.borrow_mut();
            log.clock.tick();
            log.clock.is_due(&self.0.settings)
        };
        if due {
            self.0.keep_bell.ring();
        }
        if !self.0.log.borrow().closing && commit::gather_heartbeat(&self.0) {
            self.0.commit_bell.ring();
        }
    }

    /// Takes no more transactions, commits what is decided, writes a heartbeat with the durable LSN, ends the commit loop.
    pub async fn close(&self) {
        self.0.log.borrow_mut().closing = true;
        self.0.house_bell.ring();
        self.0.commit_bell.ring();
        if !self.0.log.borrow().running && !self.0.log.borrow().closed {
            commit::run(&self.0, || std::future::ready(())).await;
        }
        self.0.closed_bell.until(|| self.0.log.borrow().closed).await;
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> VolumeStats {
        let index = self.0.index.borrow();
        VolumeStats {
            orphan_records: index.orphans,
            accounts: index.entries.len() as u64,
            accounts_loaded: index.loaded.len() as u64,
            accounts_loaded_bytes: index.memory.bytes as u64,
            folds_waiting: self.0.house.len() as u64,
            ..self.0.log.borrow().stats
        }
    }

    /// False when acknowledged batches are lost and nobody has accepted that: domains, accounts or mailboxes that are not here
    /// may have been in them.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.log.borrow().whole
    }

    /// Accepts the loss of all batches that are lost so far: what is not here is nowhere, and the volume is whole again. It is
    /// on disk when the volume was closed, at the latest.
    pub fn accept_loss(&self) {
        let mut log = self.0.log.borrow_mut();
        log.accepted = log.durable;
        log.whole = true;
        log.superblock_due = true;
        drop(log);
        self.0.keep_bell.ring();
    }

    /// All domains with their opaque info, by name.
    #[must_use]
    pub fn domains(&self) -> Vec<(String, Rc<[u8]>)> {
        self.0.index.borrow().domains.iter().map(|(name, info)| (name.clone(), info.clone())).collect()
    }

    /// All accounts, by id, read from the disk.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn accounts(&self) -> Result<Vec<AccountInfo>, ReadError> {
        let mut all: Vec<Entry> = self.0.index.borrow().entries.iter().cloned().collect();
        // In the order of the disk.
        all.sort_unstable_by_key(|entry| entry.put);
        let mut infos = Vec::with_capacity(all.len());
        for entry in all {
            if let Some(info) = self.info_of(entry).await? {
                infos.push(info);
            }
        }
        infos.sort_unstable_by_key(|a| a.id);
        Ok(infos)
    }

    /// The accounts there are, rising.
    #[must_use]
    pub fn account_ids(&self) -> Vec<AccountId> {
        let mut ids: Vec<AccountId> = self.0.index.borrow().entries.iter().map(|entry| entry.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Brings an account into memory and keeps it there while the [`Loaded`] is held. `Ok(None)`: there is no such account.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn load(&self, account: AccountId) -> Result<Option<Loaded<D>>, ReadError> {
        Ok(self.0.load(account).await?.then(|| Loaded::new(self.clone(), account)))
    }

    /// Resolves when nothing is on its way that would make the removal of a mailbox, or of the whole account, `Busy`: what
    /// came has to be durable before it can be let go by name. To be awaited right before `decide`. While ever more comes
    /// it gives up after some batches, and `decide` has the last word.
    pub async fn at_rest(&self, account: AccountId, mailbox: Option<MailboxId>) {
        self.0.at_rest(account, mailbox).await;
    }

    /// Writes a root of the account: loading it reads that, and no records before it. False: there was nothing to do, or
    /// there is no such account. Who only delivers need not call it: [`Volume::housekeeping`] does.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub async fn fold(&self, account: AccountId) -> Result<bool, FoldError> {
        self.0.fold(account, Rewrite::Nothing).await
    }

    /// One account. Reads what is not in memory; `Ok(None)`: there is no such account.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn account(&self, id: AccountId) -> Result<Option<AccountInfo>, ReadError> {
        let Some(entry) = self.0.index.borrow().entries.get(id).cloned() else { return Ok(None) };
        self.info_of(entry).await
    }

    /// `None`: it went meanwhile.
    async fn info_of(&self, mut entry: Entry) -> Result<Option<AccountInfo>, ReadError> {
        loop {
            if let Some(account) = self.0.index.borrow().account(entry.id) {
                return Ok(Some(account.info.clone()));
            }
            let read = self.0.read_info(&entry).await;
            match (read, self.0.index.borrow().entries.get(entry.id).cloned()) {
                (Ok(info), _) => return Ok(Some(info)),
                (Err(_), None) => return Ok(None),
                // It was written again, and what was read has been moved or is gone.
                (Err(_), Some(now)) if now.put != entry.put => entry = now,
                (Err(why), Some(_)) => return Err(why),
            }
        }
    }

    /// The account with this name.
    #[must_use]
    pub fn account_named(&self, name: &str) -> Option<AccountId> {
        self.0.index.borrow().named(name)
    }

    /// An account's mailboxes, by id.
    #[must_use]
    pub fn mailboxes(&self, account: AccountId) -> Vec<MailboxInfo> {
        let index = self.0.index.borrow();
        index.account(account).map(|a| a.mailboxes.values().map(|m| m.info.clone()).collect()).unwrap_or_default()
    }

    /// The mailbox with this name.
    #[must_use]
    pub fn mailbox_named(&self, account: AccountId, name: &str) -> Option<MailboxId> {
        let index = self.0.index.borrow();
        index.account(account)?.named(name).first().copied()
    }

    /// Names an account is subscribed to, sorted; there need be no mailbox with such a name (RFC 9051 §6.3.7).
    #[must_use]
    pub fn subscriptions(&self, account: AccountId) -> Vec<String> {
        let index = self.0.index.borrow();
        let names = |a: &crate::index::Account| a.subscriptions.iter().map(|name| String::from(&**name)).collect();
        index.account(account).map(names).unwrap_or_default()
    }

    /// Watches a mailbox from now on; dropping the [`Watch`] ends that. It is for one who waits: memory and what it costs the
    /// commits of others are in the file `watch`.
    #[must_use]
    pub fn watch(&self, account: AccountId, mailbox: MailboxId) -> Watch {
        self.0.watches.watch(&self.0.index.borrow(), account, mailbox)
    }

    /// Looks at a mailbox (its durable state).
    pub fn mailbox<T>(&self, account: AccountId, mailbox: MailboxId, look: impl FnOnce(&Mailbox) -> T) -> Option<T> {
        self.0.index.borrow().mailbox(account, mailbox).map(look)
    }

    /// Reads a message whole: prefix and body, verified. For messages up to a bound the caller has checked.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, message: &Message) -> Result<Vec<u8>, ReadError> {
        self.0.read(message).await
    }

    /// Reads the octets `offset..offset + len` of a message (prefix and body as one), verified, cut at its end. Of a large
    /// message only the pieces (of at most 256 KiB) are read in which they lie.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_range(&self, message: &Message, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
        self.0.read_range(message, offset, len).await
    }

    /// Reads on in a message that is read a bit at a time: from `offset` on what lies together there, verified; none at its end.
    /// At most 260 KiB.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_on(&self, reader: &mut Reader, offset: u64) -> Result<Vec<u8>, ReadError> {
        self.0.read_on(reader, offset).await
    }

    /// Reads a message as it lies on the disk, though it is damaged: nothing of its body is verified, and a prefix that cannot be
    /// read is left out. For people who want to save what is left.
    ///
    /// # Errors
    /// There is nothing to be read in its place.
    pub async fn read_as_is(&self, message: &Message) -> Result<Vec<u8>, ReadError> {
        self.0.read_as_is(message).await
    }

    /// Summaries kept for these messages, `None` where there is none.
    pub async fn summaries(&self, account: AccountId, mailbox: MailboxId, uids: &[Uid]) -> Vec<Option<Rc<[u8]>>> {
        self.0.summaries(account, mailbox, uids).await
    }
}

impl<D: Disk> Inner<D> {
    /// Holds an account in memory, or no more.
    pub fn hold(&self, account: AccountId, by: i32) {
        self.index.borrow_mut().hold(account, by);
        if by < 0 {
            self.trim();
        }
    }

    /// Drops accounts from memory that nobody needs there, if they are too many.
    pub fn trim(&self) {
        let mut index = self.index.borrow_mut();
        if index.memory.bytes > self.settings.index_bytes_max {
            let ahead = self.ahead.borrow();
            index.evict(self.settings.index_bytes_max, |id| ahead.peek(id).is_some());
        }
    }
}
