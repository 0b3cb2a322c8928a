//! Passwords that were right a moment ago: a mail program that connects every minute costs a hash once.
//!
//! - Kept is a MAC of the password and of the account's secrets as they are stored, under a key that this shard drew when
//!   it started. A changed password changes the secrets, so nothing remembered outlives it, and a removed account has none.
//! - Wrong passwords and unknown names are never remembered: they cost the hash each time, and the same (A111).
//! - Each shard remembers for itself, at most [`REMEMBERED_MAX`] accounts. More: the hash is computed as if nobody remembered.
//! - Whoever can read this process's memory can try passwords against the MAC faster than against the hash.
//!   `login.remember_s = 0` turns it off.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use hmac::{Hmac, Mac};
use ringpost_storage::AccountId;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::shard::{self, Moment};

/// Accounts of one shard.
pub const REMEMBERED_MAX: usize = 10_000;

/// What one shard remembers.
pub struct Remembered {
    key: Zeroizing<[u8; 32]>,
    time: Duration,
    accounts: RefCell<HashMap<AccountId, ([u8; 32], Moment)>>,
}

impl Remembered {
    /// Remembers for so long; zero: not at all.
    #[must_use]
    pub fn for_s(time_s: u64) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        shard::random(&mut *key);
        Remembered { key, time: Duration::from_secs(time_s), accounts: RefCell::default() }
    }

    /// True if this password was right for an account with these secrets, not longer ago than is remembered.
    #[must_use]
    pub fn knows(&self, account: AccountId, secrets: &[u8], password: &[u8]) -> bool {
        let accounts = self.accounts.borrow();
        let Some((mac, since)) = accounts.get(&account) else { return false };
        shard::now().since(*since) < self.time && self.mac(account, secrets, password).verify_slice(mac).is_ok()
    }

    /// This password was right just now.
    pub fn note(&self, account: AccountId, secrets: &[u8], password: &[u8]) {
        if self.time.is_zero() {
            return;
        }
        let now = shard::now();
        let mut accounts = self.accounts.borrow_mut();
        if accounts.len() >= REMEMBERED_MAX && !accounts.contains_key(&account) {
            accounts.retain(|_, (_, since)| now.since(*since) < self.time);
            if accounts.len() >= REMEMBERED_MAX {
                return;
            }
        }
        let mac = self.mac(account, secrets, password).finalize().into_bytes().into();
        accounts.insert(account, (mac, now));
    }

    fn mac(&self, account: AccountId, secrets: &[u8], password: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.key).expect("HMAC takes keys of any length");
        mac.update(&account.0.to_le_bytes());
        mac.update(&(secrets.len() as u64).to_le_bytes());
        mac.update(secrets);
        mac.update(password);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_password_of_the_very_secrets_is_known() {
        let known = Remembered::for_s(60);
        let (alice, bob) = (AccountId(1), AccountId(2));
        known.note(alice, b"stored", b"right");
        assert!(known.knows(alice, b"stored", b"right"));
        assert!(!known.knows(alice, b"stored", b"wrong"));
        assert!(!known.knows(alice, b"changed", b"right"));
        assert!(!known.knows(alice, b"store", b"dright"));
        assert!(!known.knows(bob, b"stored", b"right"));
        let never = Remembered::for_s(0);
        never.note(alice, b"stored", b"right");
        assert!(!never.knows(alice, b"stored", b"right"));
    }

    #[test]
    fn of_more_accounts_than_the_bound_the_rest_is_not_remembered() {
        let known = Remembered::for_s(60);
        for n in 0..=REMEMBERED_MAX as u64 {
            known.note(AccountId(n), b"s", b"p");
        }
        assert!(known.knows(AccountId(0), b"s", b"p"));
        assert!(!known.knows(AccountId(REMEMBERED_MAX as u64), b"s", b"p"));
        assert_eq!(known.accounts.borrow().len(), REMEMBERED_MAX);
    }
}
