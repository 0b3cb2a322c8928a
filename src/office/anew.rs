//! What a login adds to what is kept of an account: keys and our own hash, made of a password that was just right, and the day on
//! which an app password was used.
//!
//! It happens beside the login and may fail: the next one tries again. It replaces exactly what was read, in one commit, so a
//! password that was changed meanwhile stays as it is. One account at a time is made anew for one name on one shard, and at most
//! [`ANEW_MAX`] of them; more wait for their next login.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use ringpost_storage::AccountId;

use super::words::Deed;
use super::{Office, Reply, Request};
use crate::directory::secrets::{Password, Secrets};
use crate::directory::{Change, Home};
use crate::shard;

/// Accounts of which something is made anew on one shard. More: at their next login.
pub const ANEW_MAX: usize = 8;

const DAY_MS: u64 = 86_400_000;

/// Of whom something is made anew.
#[derive(Default)]
pub(super) struct Anew(RefCell<BTreeSet<AccountId>>);

impl Anew {
    fn begin(&self, account: AccountId) -> bool {
        let mut under_way = self.0.borrow_mut();
        under_way.len() < ANEW_MAX && under_way.insert(account)
    }
}

/// Days since 1970.
#[must_use]
pub fn today() -> u32 {
    u32::try_from(shard::wall_ms() / DAY_MS).unwrap_or(u32::MAX)
}

impl Office {
    /// Makes and stores what follows from a password. `was`: the secrets as they were read.
    pub(super) fn make_anew(self: &Rc<Self>, name: &str, home: Home, was: Vec<u8>, own: Secrets, password: Password) {
        if !self.anew.begin(home.account) {
            return;
        }
        let (office, name, cost) = (self.clone(), name.to_owned(), self.settings.argon2);
        shard::spawn("anew", async move {
            let mut random = [0; 32];
            shard::random(&mut random);
            if let Ok(Ok(anew)) = shard::side(move || own.anew(&password, cost, &random)).await
                && office.replace(&name, home, was, anew.encode()).await
            {
                tracing::info!(target: "login", account = %name, "hash and keys made anew");
            }
            office.anew.0.borrow_mut().remove(&home.account);
        });
    }

    /// An app password was used: once a day that is stored.
    pub(super) fn note_use(self: &Rc<Self>, name: &str, home: Home, was: Vec<u8>, own: &Secrets, app: usize) {
        let today = today();
        if own.apps[app].used_day == Some(today) || !self.anew.begin(home.account) {
            return;
        }
        let mut own = own.clone();
        own.apps[app].used_day = Some(today);
        let (office, name) = (self.clone(), name.to_owned());
        shard::spawn("anew", async move {
            office.replace(&name, home, was, own.encode()).await;
            office.anew.0.borrow_mut().remove(&home.account);
        });
    }

    /// Replaces an account's secrets if they are still what they were, and tells all shards that it has keys. False: not done.
    async fn replace(self: &Rc<Self>, name: &str, home: Home, was: Vec<u8>, secrets: Vec<u8>) -> bool {
        let Home { volume, account, .. } = home;
        let deed = Deed::ReplaceSecrets { account, name: name.to_owned(), was, secrets: secrets.clone() };
        let request = Request::Do { volume, deeds: vec![deed] };
        match self.mesh.call(self.shard_of(volume), request, 0).await {
            Ok(Reply::Did(Ok(_))) => {
                if self.directory(|d| d.is_keyless(account)) && crate::directory::secrets::has_keys(&secrets) {
                    let change = Change::Keys { with: vec![account], without: Vec::new() };
                    // A shard that was not told goes on without SCRAM.
                    let _ = self.tell_all(change).await;
                }
                true
            }
            _ => false,
        }
    }
}
