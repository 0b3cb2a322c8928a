//! Folding in the background: accounts wait in line until somebody has time.
//!
//! Deliveries never wait for it. An account that finds the line full is noticed again some records later; one that
//! nobody folds is folded when it is loaded.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};

use crate::types::AccountId;

/// Accounts in line. More are not noted: they come again with later records.
pub const WAITING_MAX: usize = 1 << 16;

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

    pub fn is_empty(&self) -> bool {
        self.line.borrow().0.is_empty()
    }
}
