//! Folding in the background: accounts wait in line until somebody has time.
//!
//! Deliveries never wait for it. An account that finds the line full is noticed again some records later; one that
//! nobody folds is folded when it is loaded.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::task::Poll;

use super::{Rewrite, folds_at};
use crate::disk::Disk;
use crate::index::Entry;
use crate::types::AccountId;
use crate::volume::Inner;

/// Accounts in line. More are not noted: they come again with later records.
pub const WAITING_MAX: usize = 1 << 16;

/// Accounts that are folded at once: so many roots share one sync.
const FOLDS_AT_ONCE: usize = 8;

/// Accounts whose records are due to be folded.
#[derive(Default)]
pub struct House {
    line: RefCell<(VecDeque<AccountId>, HashSet<AccountId>)>,
}

impl House {
    /// Puts an account into the line.
    pub fn note(&self, id: AccountId) {
        let (line, known) = &mut *self.line.borrow_mut();
        if line.len() < WAITING_MAX && known.insert(id) {
            line.push_back(id);
        }
    }

    /// The first in line.
    pub fn next(&self) -> Option<AccountId> {
        let (line, known) = &mut *self.line.borrow_mut();
        let first = line.pop_front()?;
        known.remove(&first);
        Some(first)
    }

    /// How many are in line.
    pub fn len(&self) -> usize {
        self.line.borrow().0.len()
    }
}

impl<D: Disk> Inner<D> {
    /// Puts those into the line that the last batch made due.
    pub fn note_due(&self) {
        let due = std::mem::take(&mut self.index.borrow_mut().due);
        if !due.is_empty() {
            due.into_iter().for_each(|id| self.house.note(id));
            self.house_bell.ring();
        }
    }

    /// See [`crate::Volume::housekeeping`].
    pub async fn keep_house<F: Future<Output = ()>>(&self, breathe: impl Fn() -> F) {
        self.note_all();
        let over = || self.log.borrow().closing || self.log.borrow().failed;
        loop {
            self.house_bell.until(|| self.house.len() > 0 || over()).await;
            if over() {
                return;
            }
            let next = std::iter::from_fn(|| self.house.next()).take(FOLDS_AT_ONCE);
            let mut folds: Vec<_> = next.map(|id| Box::pin(self.fold_or_count(id))).collect();
            poll_fn(|cx| {
                folds.retain_mut(|fold| fold.as_mut().poll(cx).is_pending());
                if folds.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            breathe().await;
        }
    }

    /// Opening reads the log without folding: who was due then is due now.
    fn note_all(&self) {
        let index = self.index.borrow();
        let is_due = |entry: &&Entry| entry.unfolded >= folds_at(entry, index.fold_at);
        index.entries.iter().filter(is_due).take(WAITING_MAX).for_each(|entry| self.house.note(entry.id));
    }

    async fn fold_or_count(&self, id: AccountId) {
        if self.fold(id, Rewrite::Nothing).await.is_err() {
            // It is due again with later records.
            self.log.borrow_mut().stats.folds_failed += 1;
        }
    }
}
