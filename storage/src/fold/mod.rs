//! Folding: what the log says of an account becomes a root, so that loading reads that and a short tail of records.
//!
//! ```text
//! plan: which runs are merged ─► read those ─► decide: rows that changed, root ─► sync
//! └─ again, if the account changed and is not in memory ────────┘
//! ```
//!
//! A root has everything of the account that is durable when it is decided, and nothing beyond. Nobody waits for it: it
//! joins the gathering batch as transactions do, and records decided meanwhile lie behind it. What it costs: one new run
//! for each mailbox with changed rows, and the root itself, which is written whole.
//!
//! An account that is not in memory is folded without its rows where the records behind its root only add to it.
//! DESIGN §7.6.

mod draft;
mod house;
mod plan;
pub mod runs;
#[cfg(all(test, feature = "sim"))]
mod tests;

pub use house::House;

use draft::Draft;
use plan::Plan;

use crate::disk::Disk;
use crate::index::{Account, Entry};
use crate::transaction::{Lost, Refused};
use crate::types::{AccountId, MailboxId, Place};
use crate::volume::{Inner, ReadError};

/// Tries to fold an account without its rows, while others change it. After them it is loaded.
const TRIES_MAX: u32 = 3;

/// Times that an account is folded to write again what lies in one segment: each does half a segment. After them whoever
/// asked finds what is left there, and asks again.
const REWRITES_MAX: u32 = 8;

/// Batches that a removal waits for what is on its way, at most.
const REST_BATCHES_MAX: u32 = 64;

/// What is written again besides what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// Nothing.
    Nothing,
    /// What lies in this segment of the account's runs, its root, its put and the records behind its root.
    In(u32),
    /// The account's runs of rows in the segments up to this one.
    Through(u32),
}

impl Rewrite {
    /// Something at this place is written again.
    fn has(self, place: Place) -> bool {
        matches!(self, Rewrite::In(segment) if segment == place.segment)
    }

    /// A run of rows at this place is.
    fn has_rows(self, place: Place) -> bool {
        self.has(place) || matches!(self, Rewrite::Through(segment) if place.segment <= segment)
    }
}

/// Why an account was not folded.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// What has to be read cannot be.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log does not take the root: `TooLarge` for a segment, `DiskFull`, `Failed`.
    #[error("the log does not take it: {0:?}")]
    Refused(Refused),
    /// Its batch was not vouched for.
    #[error("its batch is lost: {0:?}")]
    Lost(Lost),
}

/// An account to be folded.
enum Source {
    /// It is in memory whole.
    Loaded,
    /// As its root and the records behind it say, without the rows of the root.
    Bare(Box<(Entry, Account)>),
}

impl<D: Disk> Inner<D> {
    /// Folds an account, and writes again what is asked; resolves when the root is durable. False: there was nothing to
    /// do, or there is no such account.
    ///
    /// # Errors
    /// See [`FoldError`]; the account is as it was.
    pub async fn fold(&self, id: AccountId, rewrite: Rewrite) -> Result<bool, FoldError> {
        let _turn = self.turn(id).await;
        let mut done = false;
        // What has to be written again of one account may be more than a batch takes.
        let times = if rewrite == Rewrite::Nothing { 1 } else { REWRITES_MAX };
        for _ in 0..times {
            if !self.fold_once(id, rewrite).await? {
                break;
            }
            done = true;
        }
        Ok(done)
    }

    async fn fold_once(&self, id: AccountId, rewrite: Rewrite) -> Result<bool, FoldError> {
        let mut tries = 0;
        loop {
            let Some(entry) = self.index.borrow().entries.get(id).cloned() else { return Ok(false) };
            if rewrite == Rewrite::Nothing && entry.unfolded == 0 {
                return Ok(false);
            }
            tries += 1;
            let bare = if tries <= TRIES_MAX && self.index.borrow().account(id).is_none() {
                // What cannot be read so may be read by loading, which looks for it elsewhere.
                self.read_bare(&entry).await.ok().flatten()
            } else {
                None
            };
            let (source, _held) = match bare {
                Some(account) => (Source::Bare(Box::new((entry, account))), None),
                None if self.load(id).await? => (Source::Loaded, Some(self.held(id))),
                None => return Ok(false),
            };
            let Some(plan) = self.plan(id, &source, rewrite).await? else { return Ok(false) };
            self.settled_bell.until(|| self.may_fold(id, plan.put.is_some())).await;
            match self.decide_root(id, &source, &plan, rewrite) {
                Ok(Some(ticket)) => return ticket.await.map(|()| true).map_err(FoldError::Lost),
                Ok(None) => {}
                Err(Refused::Busy) => self.settled().await,
                Err(why) => return Err(FoldError::Refused(why)),
            }
        }
    }

    /// True while nothing is on its way that a root must not cross: another root, a removal, and the account's put if that
    /// is written again. Also when it is gone.
    fn may_fold(&self, id: AccountId, put: bool) -> bool {
        if self.log.borrow().failed {
            return true;
        }
        let ahead = self.ahead.borrow();
        ahead.peek(id).is_none_or(|a| a.folding == 0 && !a.is_losing() && !(put && a.put > 0))
    }

    /// See [`crate::Volume::at_rest`].
    pub async fn at_rest(&self, id: AccountId, mailbox: Option<MailboxId>) {
        for _ in 0..REST_BATCHES_MAX {
            let rests = match (self.ahead.borrow().peek(id), mailbox) {
                (None, _) => true,
                (Some(account), None) => !account.is_coming(),
                (Some(account), Some(mailbox)) => {
                    account.folding == 0 && account.peek(mailbox).is_none_or(|m| m.coming == 0)
                }
            };
            if rests || self.log.borrow().failed {
                return;
            }
            self.settled().await;
        }
    }

    /// Resolves when the next batch is durable, or none will be.
    pub async fn settled(&self) {
        let waited = std::cell::Cell::new(false);
        self.settled_bell.until(|| waited.replace(true) || self.log.borrow().failed).await;
    }

    /// Puts the root into the gathering batch. `None`: the account has changed, and has to be looked at again.
    fn decide_root(
        &self,
        id: AccountId,
        source: &Source,
        plan: &Plan,
        rewrite: Rewrite,
    ) -> Result<Option<crate::commit::Ticket>, Refused> {
        let draft = {
            let index = self.index.borrow();
            let Some(entry) = index.entries.get(id) else { return Ok(None) };
            // Written again would be what is not the newest any more.
            if plan.put.as_ref().is_some_and(|(place, _)| *place != entry.put) {
                return Ok(None);
            }
            let account = match source {
                Source::Loaded => index.account(id),
                Source::Bare(bare) => Some(&bare.1).filter(|_| bare.0 == *entry),
            };
            let Some(account) = account else { return Ok(None) };
            match Draft::new(account, matches!(source, Source::Loaded), plan, self.rows_max(), &|p| self.resolve(p)) {
                Some(draft) => draft,
                None => return Ok(None),
            }
        };
        let bytes = draft.blobs.len() as u64;
        let bound = draft.bound(!matches!(rewrite, Rewrite::In(_)));
        let joined = self.join(bound, |index, ahead, gather| draft.put(id, index, ahead, gather))?;
        Ok(joined.map(|((), ticket)| {
            let mut log = self.log.borrow_mut();
            log.stats.folds += 1;
            log.stats.folded_bytes += bytes + draft.root_bytes();
            ticket
        }))
    }

    /// The account as its root and the records behind it say, if those only add to it.
    async fn read_bare(&self, entry: &Entry) -> Result<Option<Account>, ReadError> {
        // After a loss UIDs may be taken, and all rows are changed.
        if !self.index.borrow().gaps.is_empty() {
            return Ok(None);
        }
        let version = self.index.borrow().applied;
        self.read_without_rows(entry, version).await
    }

    /// Waits until nobody else folds the account.
    async fn turn(&self, id: AccountId) -> Turn<'_, D> {
        self.settled_bell.until(|| self.turns.borrow_mut().insert(id)).await;
        Turn { inner: self, id }
    }

    /// Holds an account that is in memory.
    pub fn held(&self, id: AccountId) -> Held<'_, D> {
        self.hold(id, 1);
        Held { inner: self, id }
    }
}

/// Who folds an account. One does at a time.
struct Turn<'a, D: Disk> {
    inner: &'a Inner<D>,
    id: AccountId,
}

impl<D: Disk> Drop for Turn<'_, D> {
    fn drop(&mut self) {
        self.inner.turns.borrow_mut().remove(&self.id);
        self.inner.settled_bell.ring();
    }
}

/// Keeps an account in memory.
pub struct Held<'a, D: Disk> {
    inner: &'a Inner<D>,
    id: AccountId,
}

impl<D: Disk> Drop for Held<'_, D> {
    fn drop(&mut self) {
        self.inner.hold(self.id, -1);
    }
}

/// Records behind an account's root before it is due to be folded: a root is written whole, so a large one is written seldom, and
/// rows of many messages are written again fewer times when more of them come at once. `least`: for a small account.
pub fn folds_at(entry: &Entry, least: u32) -> u32 {
    let messages = (entry.used_messages / MESSAGES_A_RECORD).min(LEAST_TIMES_MAX * least);
    (entry.root_bytes / ROOT_BYTES_A_RECORD).min(UNFOLDED_MAX).max(messages).max(least).max(1)
}

/// Records behind any root. More: the account goes into the line when it is loaded, if nobody folded it before.
pub const UNFOLDED_MAX: u32 = 1_024;
/// Octets of a root that one record is to pay for.
const ROOT_BYTES_A_RECORD: u32 = 256;
/// Messages of an account for each record that it may have behind its root.
const MESSAGES_A_RECORD: u32 = 16;
/// For the sake of messages it is so many times `least` at most: who opens the account reads four records at a time.
const LEAST_TIMES_MAX: u32 = 2;
