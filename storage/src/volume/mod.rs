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

mod errors;
mod facts;
mod inner;

use std::future::Future;
use std::rc::Rc;

use crate::commit::{self};
use crate::disk::{Bytes, Disk};
use crate::fold::{FoldError, Rewrite};
use crate::index::Entry;
use crate::loaded::Loaded;
use crate::read::Reader;
use crate::recover;
use crate::transaction::{Outcome, Refused, Transaction};
use crate::transfer::TransferNumber;
use crate::types::{AccountId, AccountInfo, MailboxId, MailboxInfo, Message, Quota, Uid, VolumeId};
use crate::upload::Upload;
use crate::watch::Watch;

pub use crate::commit::Ticket;
pub use crate::index::Mailbox;
pub use errors::{OpenError, ReadError};
pub use facts::{Create, Recovered, Settings, VolumeStats};
pub(crate) use inner::Inner;

/// One volume, open. Clones share it. Single-threaded: it belongs to one shard.
pub struct Volume<D: Disk>(pub(crate) Rc<Inner<D>>);

impl<D: Disk> Clone for Volume<D> {
    fn clone(&self) -> Self {
        Volume(self.0.clone())
    }
}

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
        // Who closes a volume before this has begun does its work.
        if !self.0.log.borrow().closing {
            commit::run(&self.0, run_dry).await;
        }
    }

    /// Folds accounts that have many records, one after the other as they come, until [`Volume::close`]. Deliveries and
    /// commits never wait for it. `breathe`: awaited after every few accounts, so that others have their share.
    pub async fn housekeeping<F: Future<Output = ()>>(&self, breathe: impl Fn() -> F) {
        self.0.keep_house(breathe).await;
    }

    /// To be called about once a second. When nothing waits and the last commit is not yet vouched for by anything
    /// later on disk, this commits a heartbeat, so that damage to that commit can be told from a torn write. It counts the
    /// seconds to the next checkpoint, too, and looks whether a full disk has room again.
    pub fn heartbeat(&self) {
        self.0.tick_room();
        let due = {
            let mut log = self.0.log.borrow_mut();
            log.clock.tick();
            log.checkpoint_age_s = log.checkpoint_age_s.map(|age_s| age_s + 1);
            log.clock.is_due(&self.0.settings) || log.reserve_due()
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
            forwards: index.forwards.len() as u64,
            accounts: index.entries.len() as u64,
            accounts_loaded: index.loaded.len() as u64,
            accounts_loaded_bytes: index.memory.bytes as u64,
            folds_waiting: self.0.house.len() as u64,
            reserve_missing: !self.0.log.borrow().reserve.is_there(),
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

    /// What an account keeps and may keep, as decided. `None`: there is no such account.
    #[must_use]
    pub fn quota(&self, account: AccountId) -> Option<Quota> {
        self.0.quota(account)
    }

    /// Keeps room in an account for messages that another volume is about to send, until they are received or
    /// [`Volume::release`] says that they will not come. A start forgets it, see [`Volume::expect`].
    ///
    /// # Errors
    /// `NoAccount`, `OverQuota`.
    pub fn reserve(&self, account: AccountId, bytes: u64, messages: u32) -> Result<(), Refused> {
        self.0.reserve(account, bytes, messages)
    }

    /// Transfers of `source` are decided: room is kept for what of them is not received yet, whether there is room or not. For
    /// each copy: of which transfer, whose, octets. To be said at the start, because room is not remembered through one.
    pub fn expect(&self, source: VolumeId, coming: &[(TransferNumber, AccountId, u64)]) {
        self.0.expect(source, coming);
    }

    /// Gives up room that was kept.
    pub fn release(&self, account: AccountId, bytes: u64, messages: u32) {
        self.0.release(account, bytes, messages);
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
