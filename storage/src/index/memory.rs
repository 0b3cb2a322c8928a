//! How much the accounts take that are in memory, and which of them goes first.
//!
//! An estimate, kept with each change: vectors count with what they have room for, keywords as if nobody shared them. An
//! account that nobody holds may be dropped, the one that was looked at longest ago first; what is durable of it is read again.

use std::collections::BTreeMap;

use super::{Account, Index};
use crate::record::Record;
use crate::types::{AccountId, Lsn, Place};

/// What is in memory.
#[derive(Debug, Default)]
pub struct Memory {
    /// Octets of all accounts in memory, estimated.
    pub bytes: usize,
    /// Those that nobody holds, by when they were looked at.
    idle: BTreeMap<u64, AccountId>,
    /// Counts looks at accounts.
    looks: u64,
}

impl Memory {
    fn look(&mut self) -> u64 {
        self.looks += 1;
        self.looks
    }
}

impl Index {
    /// Keeps an account in memory that nobody holds yet.
    pub fn insert_loaded(&mut self, mut account: Account) {
        let id = account.info.id;
        self.drop_loaded(id);
        account.count_bytes();
        account.used = self.memory.look();
        self.memory.bytes += account.bytes;
        self.memory.idle.insert(account.used, id);
        self.loaded.insert(id, account);
    }

    /// Drops an account from memory.
    pub fn drop_loaded(&mut self, id: AccountId) {
        if let Some(account) = self.loaded.remove(&id) {
            self.memory.bytes -= account.bytes;
            self.memory.idle.remove(&account.used);
        }
    }

    /// Somebody holds an account in memory, or no more.
    pub fn hold(&mut self, id: AccountId, by: i32) {
        let Some(account) = self.loaded.get_mut(&id) else { return };
        self.memory.idle.remove(&account.used);
        account.holders = account.holders.saturating_add_signed(by);
        account.used = self.memory.look();
        if account.holders == 0 {
            self.memory.idle.insert(account.used, id);
        }
    }

    /// Drops accounts that nobody holds, until they all take at most `bytes`. Those that are `busy` stay a while longer.
    pub fn evict(&mut self, bytes: usize, busy: impl Fn(AccountId) -> bool) {
        for _ in 0..self.memory.idle.len() {
            if self.memory.bytes <= bytes {
                return;
            }
            let Some((_, id)) = self.memory.idle.pop_first() else { return };
            if busy(id) {
                let used = self.memory.look();
                self.memory.idle.insert(used, id);
                self.loaded.get_mut(&id).expect("who is idle is in memory").used = used;
            } else {
                self.drop_loaded(id);
            }
        }
    }

    /// Tells an account of its record, if it is in memory. `None`: it does not fit what is there.
    pub(super) fn tell(&mut self, id: AccountId, place: Place, lsn: Lsn, record: &Record<'_>) -> Option<()> {
        let Some(account) = self.loaded.get_mut(&id) else { return Some(()) };
        let before = account.bytes;
        let fits = account.apply(place, lsn, record);
        self.memory.bytes = self.memory.bytes + account.bytes - before;
        fits
    }
}
