//! Who exists: domains, where each address has its home, and the rules for where mail goes. Every shard has the whole of it.
//!
//! The truth is in the volumes: the catalogue (domains and rules) is recorded in every volume, an account in the one volume that is its home.
//! At start each shard reads its volumes and tells the others; later changes reach every shard before the verb that
//! made them is answered. An account is one by its number: of all that tell of it the highest generation is its home, whatever it
//! is called there, and what a move has left under an older name is nobody. `550 no such user` is said only from a complete directory (DESIGN §2): one that has heard of every volume, and of none that lost acknowledged data.

use std::collections::{BTreeSet, HashMap, HashSet};

use ringpost_storage::{AccountId, VolumeId};

use crate::bugs::{self, Bug};

pub mod catalogue;
pub mod imported;
pub mod rules;
pub mod secrets;

use catalogue::{Entry, Key};
use rules::Rules;

/// Where an account lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its volume.
    pub volume: VolumeId,
    /// Its id there.
    pub account: AccountId,
    /// Moves so far; the highest wins.
    pub generation: u32,
}

/// One change of the directory, as every shard hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An entry of the catalogue is in force: a domain is ours, or mail goes another way.
    Put(Key, Entry),
    /// It is no more.
    Gone(Key),
    /// An account lives here.
    AccountPut {
        /// `user@domain`, lower case.
        name: String,
        /// Where.
        home: Home,
    },
    /// An account lives in another volume, whatever it is called by now. One that is not known any more was removed meanwhile.
    AccountMoved {
        /// `user@domain`, lower case, as it was called when it moved.
        name: String,
        /// Where.
        home: Home,
    },
    /// An account is gone.
    AccountGone {
        /// `user@domain`, lower case.
        name: String,
    },
    /// An account has another name, and what is said of it and leads to it with it: all of it at once, so that nobody finds it gone.
    AccountRenamed {
        /// `user@domain`, lower case, as it was called.
        from: String,
        /// `user@domain`, lower case, as it is called.
        to: String,
        /// Where it lives, as before.
        home: Home,
        /// Entries of the catalogue in which the one stood and the other stands.
        entries: Vec<(Key, Entry)>,
    },
    /// The store has so many volumes now.
    Volumes {
        /// Retired ones included: numbers are not given again.
        count: u16,
        /// They take no new accounts.
        closed: Vec<VolumeId>,
        /// They are no more.
        retired: Vec<VolumeId>,
    },
    /// These have limits from now on, or none.
    Limited {
        /// Which.
        accounts: Vec<AccountId>,
        /// Limits, or none.
        limited: bool,
    },
    /// Which accounts have keys for SCRAM and which have not; the others are as they were.
    Keys {
        /// These have.
        with: Vec<AccountId>,
        /// These have not.
        without: Vec<AccountId>,
    },
    /// A volume failed: it takes nothing more until the process is started again.
    VolumeFailed {
        /// Which.
        volume: VolumeId,
    },
    /// Everything that a volume knows, told at start.
    Volume {
        /// Which.
        volume: VolumeId,
        /// What it has of the catalogue, domains first of all.
        catalogue: Vec<(Key, Entry)>,
        /// Its accounts.
        accounts: Vec<(String, Home)>,
        /// Those of them that have limits.
        limited: Vec<AccountId>,
        /// Those of them that have no keys for SCRAM.
        keyless: Vec<AccountId>,
        /// False when acknowledged batches of it are lost, or what it has of the catalogue cannot be read: there may have been more.
        whole: bool,
    },
}

/// Domains and homes.
#[derive(Debug, Default)]
pub struct Directory {
    rules: Rules,
    homes: HashMap<Box<str>, Home>,
    /// Accounts that have moved, with the highest generation heard of: what has less is what a move has left.
    moved: HashMap<AccountId, u32>,
    /// Accounts whose name another one has, told before all volumes were: one of the two may turn out to be left of a move.
    contested: Vec<(Box<str>, Home)>,
    /// Those of them that are called postmaster.
    postmasters: BTreeSet<Box<str>>,
    /// Accounts whose volume has to be asked whether there is room.
    limited: HashSet<AccountId>,
    /// Accounts without keys for SCRAM.
    keyless: HashSet<AccountId>,
    /// Volumes that have told what they hold.
    told: Vec<VolumeId>,
    /// Those of them that are not whole.
    torn: Vec<VolumeId>,
    /// Volumes that failed since the start.
    failed: Vec<VolumeId>,
    /// Volumes that take no new accounts.
    closed: Vec<VolumeId>,
    /// Volumes that are no more.
    retired: Vec<VolumeId>,
    /// Volumes of the store, once told.
    count: Option<u16>,
}

/// What the directory says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It lives here.
    Home(Home),
    /// Its domain is not ours: mail for it would be relaying.
    Elsewhere,
    /// Its domain is ours and nobody has this address.
    Nobody,
    /// A volume that may hold it has not told yet, or has lost what it would have told.
    NotYetKnown,
}

impl Directory {
    /// Applies a change. Applying it twice does no harm.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Put(key, entry) => self.rules.put(key, entry),
            Change::Gone(key) => self.rules.remove(&key),
            Change::Volumes { count, closed, retired } => {
                self.count = Some(count);
                self.told.extend(retired.iter().filter(|v| !self.told.contains(v)).copied().collect::<Vec<_>>());
                self.closed = closed;
                self.retired = retired;
            }
            Change::VolumeFailed { volume } => {
                if !self.failed.contains(&volume) {
                    self.failed.push(volume);
                }
            }
            Change::AccountPut { name, home } => self.settle(name.into(), home),
            Change::AccountMoved { name, home } => {
                self.note_move(home);
                if let Some(name) = self.name_of(&name, home.account).map(Box::from) {
                    self.settle(name, home);
                }
            }
            Change::AccountGone { name } => {
                self.postmasters.remove(name.as_str());
                if let Some(home) = self.homes.remove(name.as_str()) {
                    self.limited.remove(&home.account);
                    self.keyless.remove(&home.account);
                }
            }
            Change::AccountRenamed { from, to, home, entries } => {
                self.rules.remove(&Key::Account(from.clone()));
                entries.into_iter().for_each(|(key, entry)| self.rules.put(key, entry));
                // A shard may have missed what it was called in between.
                let called = self.name_of(&from, home.account).map(Box::<str>::from);
                let now = called.and_then(|name| {
                    self.postmasters.remove(&name);
                    self.homes.remove(&name)
                });
                // And it may have moved since.
                self.settle(to.into(), now.filter(|now| now.generation > home.generation).unwrap_or(home));
            }
            Change::Limited { accounts, limited: true } => self.limited.extend(accounts),
            Change::Limited { accounts, limited: false } => {
                self.limited.retain(|account| !accounts.contains(account));
            }
            Change::Keys { with, without } => {
                self.keyless.extend(without);
                with.iter().for_each(|account| {
                    self.keyless.remove(account);
                });
            }
            Change::Volume { volume, catalogue, accounts, limited, keyless, whole } => {
                catalogue.into_iter().for_each(|(key, entry)| self.rules.put(key, entry));
                self.hear_accounts(accounts);
                self.keyless.extend(keyless);
                self.limited.extend(limited);
                if !self.told.contains(&volume) {
                    self.told.push(volume);
                }
                self.torn.retain(|torn| *torn != volume);
                if !whole {
                    self.torn.push(volume);
                }
            }
        }
    }

    /// What a volume tells at start. Volumes are heard in any order, and what a move has left may come first.
    fn hear_accounts(&mut self, accounts: Vec<(String, Home)>) {
        let mut moved = false;
        for (_, home) in &accounts {
            moved |= self.note_move(*home);
        }
        if moved {
            let Directory { homes, moved, postmasters, .. } = self;
            homes.retain(|name, home| {
                let is_home = !is_left(moved, *home);
                if !is_home {
                    postmasters.remove(name);
                }
                is_home
            });
        }
        let before = std::mem::take(&mut self.contested);
        let told = accounts.into_iter().map(|(name, home)| (Box::from(name), home));
        for (name, home) in before.into_iter().chain(told) {
            match self.home(&name).filter(|there| there.account != home.account) {
                _ if is_left(&self.moved, home) => {}
                // Until all have told, both may be whose it is; then the same one is on every shard.
                Some(there) if (there.generation, there.account) > (home.generation, home.account) => {
                    self.contested.push((name, home));
                }
                Some(there) => {
                    self.contested.push((name.clone(), there));
                    self.homes.remove(&name);
                    self.settle(name, home);
                }
                None => self.settle(name, home),
            }
        }
    }

    /// Takes note of an account's generation; true: it is higher than any that was heard of.
    fn note_move(&mut self, home: Home) -> bool {
        let known = self.moved.get(&home.account).copied();
        let is_higher = home.generation > known.unwrap_or(1);
        if is_higher {
            self.moved.insert(home.account, home.generation);
        }
        is_higher
    }

    fn settle(&mut self, name: Box<str>, home: Home) {
        let newer = self.homes.get(&name).is_none_or(|old| old.generation <= home.generation);
        let stale = bugs::on(Bug::StaleHome) && self.homes.contains_key(&name);
        if newer && !stale {
            if name.starts_with("postmaster@") {
                self.postmasters.insert(name.clone());
            }
            self.homes.insert(name, home);
        }
    }

    /// Looks an address up. `name`: `user@domain` in lower case, as [`Address::folded`](crate::mail::address::Address::folded)
    /// has it; `volumes`: how many volumes the store has.
    #[must_use]
    pub fn find(&self, name: &str, volumes: usize) -> Found {
        let Some((_, domain)) = name.rsplit_once('@') else { return Found::Nobody };
        if !self.has_domain(domain) {
            // Domains are in every volume: one whole volume knows them all.
            let known = self.complete(volumes) && self.torn.len() < volumes.max(1);
            return if known { Found::Elsewhere } else { Found::NotYetKnown };
        }
        match self.home(name) {
            Some(home) => Found::Home(home),
            None if !self.complete(volumes) || !self.torn.is_empty() => Found::NotYetKnown,
            None => Found::Nobody,
        }
    }

    /// True when every one of `volumes` volumes has told what it holds.
    #[must_use]
    pub fn complete(&self, volumes: usize) -> bool {
        self.told.len() >= volumes
    }

    /// True when every one of `volumes` volumes has told what it holds, and none has lost any of it.
    #[must_use]
    pub fn is_whole(&self, volumes: usize) -> bool {
        self.complete(volumes) && self.torn.is_empty()
    }

    /// Volumes of the store, once told: adding one makes it more than there were at the start.
    #[must_use]
    pub fn volume_count(&self) -> Option<u16> {
        self.count
    }

    /// True if the volume takes no new accounts, because it is to be evacuated or is no more.
    #[must_use]
    pub fn is_closed(&self, volume: VolumeId) -> bool {
        self.closed.contains(&volume) || self.is_retired(volume)
    }

    /// True if the volume is no more.
    #[must_use]
    pub fn is_retired(&self, volume: VolumeId) -> bool {
        self.retired.contains(&volume)
    }

    /// Volumes that take no new accounts, and those that are no more.
    #[must_use]
    pub fn closed_and_retired(&self) -> (Vec<VolumeId>, Vec<VolumeId>) {
        (self.closed.clone(), self.retired.clone())
    }

    /// True if the volume is known to have failed.
    #[must_use]
    pub fn has_failed(&self, volume: VolumeId) -> bool {
        self.failed.contains(&volume)
    }

    /// The home of `user@domain`, in lower case.
    #[must_use]
    pub fn home(&self, name: &str) -> Option<Home> {
        self.homes.get(name).copied()
    }

    /// The home of this account, by the name that it had a while ago or by another one. The latter looks at every account there is:
    /// for what is seldom.
    #[must_use]
    pub fn home_of(&self, name: &str, account: AccountId) -> Option<Home> {
        self.home(self.name_of(name, account)?)
    }

    /// What this account is called, if not `name` any more.
    fn name_of<'a>(&'a self, name: &'a str, account: AccountId) -> Option<&'a str> {
        let is_it = |home: &Home| home.account == account;
        match self.homes.get(name).is_some_and(is_it) {
            true => Some(name),
            false => self.homes.iter().find(|(_, home)| is_it(home)).map(|(name, _)| &**name),
        }
    }

    /// An account that is a domain's postmaster: the first by its name.
    #[must_use]
    pub fn any_postmaster(&self) -> Option<&str> {
        self.postmasters
            .iter()
            .find(|name| name.rsplit_once('@').is_some_and(|(_, of)| self.has_domain(of)))
            .map(|n| &**n)
    }

    /// True if the account may not keep as much as it likes.
    #[must_use]
    pub fn is_limited(&self, account: AccountId) -> bool {
        self.limited.contains(&account)
    }

    /// True if every account is known to have keys for SCRAM, of `volumes` volumes.
    #[must_use]
    pub fn all_have_keys(&self, volumes: usize) -> bool {
        self.keyless.is_empty() && self.complete(volumes)
    }

    /// True if the account is known to have no keys for SCRAM.
    #[must_use]
    pub fn is_keyless(&self, account: AccountId) -> bool {
        self.keyless.contains(&account)
    }

    /// True if the domain is ours.
    #[must_use]
    pub fn has_domain(&self, name: &str) -> bool {
        self.rules.has_domain(name)
    }

    /// The catalogue's rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Our domains, sorted.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.rules.domains()
    }

    /// All addresses with their homes, unordered.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, Home)> {
        self.homes.iter().map(|(name, home)| (&**name, *home))
    }
}

/// True if this is what a move has left: the account lives elsewhere by now.
fn is_left(moved: &HashMap<AccountId, u32>, home: Home) -> bool {
    moved.get(&home.account).is_some_and(|generation| *generation > home.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(volume: VolumeId, whole: bool) -> Change {
        let home = Home { volume, account: AccountId(volume.into()), generation: 1 };
        let accounts = vec![(format!("user{volume}@ringpost.test"), home)];
        let catalogue = vec![catalogue::domain("ringpost.test")];
        Change::Volume { volume, catalogue, accounts, limited: vec![], keyless: vec![], whole }
    }

    #[test]
    fn nobody_is_called_nobody_before_every_volume_has_told() {
        let mut directory = Directory::default();
        directory.apply(told(0, true));
        assert!(matches!(directory.find("user0@ringpost.test", 2), Found::Home(_)));
        assert_eq!(directory.find("user1@ringpost.test", 2), Found::NotYetKnown);
        assert_eq!(directory.find("user1@other.test", 2), Found::NotYetKnown);
        directory.apply(told(1, true));
        assert!(matches!(directory.find("user1@ringpost.test", 2), Found::Home(_)));
        assert_eq!(directory.find("user2@ringpost.test", 2), Found::Nobody);
        assert_eq!(directory.find("user2@other.test", 2), Found::Elsewhere);
    }

    #[test]
    fn scram_waits_until_every_account_is_known_to_have_keys() {
        let mut directory = Directory::default();
        directory.apply(told(0, true));
        assert!(directory.all_have_keys(1) && !directory.all_have_keys(2));
        let account = AccountId(0);
        let keys = |with, without| Change::Keys { with, without };
        directory.apply(keys(vec![], vec![account]));
        assert!(!directory.all_have_keys(1) && directory.is_keyless(account));
        directory.apply(keys(vec![account], vec![]));
        assert!(directory.all_have_keys(1) && !directory.all_have_keys(2));
        directory.apply(keys(vec![], vec![account]));
        directory.apply(Change::AccountGone { name: "user0@ringpost.test".to_owned() });
        assert!(directory.all_have_keys(1));
    }

    #[test]
    fn a_renamed_account_keeps_its_home_and_what_is_known_of_it() {
        let mut directory = Directory::default();
        directory.apply(told(0, true));
        let home = directory.home("user0@ringpost.test").expect("its home");
        directory.apply(Change::Limited { accounts: vec![home.account], limited: true });
        let names = |name: &str| format!("{name}@ringpost.test");
        let entry = (
            Key::Account(names("zoe")),
            Entry { at: 2, rule: catalogue::Rule::Account(catalogue::AccountRules::default()) },
        );
        let change =
            Change::AccountRenamed { from: names("user0"), to: names("zoe"), home, entries: vec![entry.clone()] };
        for _ in 0..2 {
            directory.apply(change.clone());
            assert_eq!(directory.find(&names("user0"), 1), Found::Nobody);
            assert_eq!(directory.find(&names("zoe"), 1), Found::Home(home));
            assert!(directory.is_limited(home.account));
            assert!(directory.rules().account(&names("zoe")).is_some());
        }
        // Somebody else has the old name; what was for the first one finds it.
        let other = Home { volume: 3, account: AccountId(9), generation: 1 };
        directory.apply(Change::AccountPut { name: names("user0"), home: other });
        assert_eq!(directory.home_of(&names("user0"), home.account), Some(home));
        assert_eq!(directory.home_of(&names("user0"), other.account), Some(other));
        directory.apply(change);
        assert_eq!(directory.home(&names("user0")), Some(other), "told again it does no harm");
    }

    #[test]
    fn nobody_is_called_nobody_while_a_volume_has_lost_something() {
        let mut directory = Directory::default();
        directory.apply(told(0, true));
        directory.apply(told(1, false));
        assert!(directory.complete(2));
        assert!(matches!(directory.find("user1@ringpost.test", 2), Found::Home(_)));
        assert_eq!(directory.find("user2@ringpost.test", 2), Found::NotYetKnown);
        assert_eq!(directory.find("user2@other.test", 2), Found::Elsewhere, "volume 0 knows all domains");
        directory.apply(told(0, false));
        assert_eq!(directory.find("user2@other.test", 2), Found::NotYetKnown);
        directory.apply(told(0, true));
        directory.apply(told(1, true));
        assert_eq!(directory.find("user2@ringpost.test", 2), Found::Nobody);
    }

    #[test]
    fn whoever_was_renamed_after_a_move_has_one_name_whatever_the_move_has_left() {
        let home = |volume, account, generation| Home { volume, account: AccountId(account), generation };
        let at = |name: &str| format!("{name}@ringpost.test");
        let told = |volume, accounts: &[(&str, Home)]| Change::Volume {
            volume,
            catalogue: vec![catalogue::domain("ringpost.test")],
            accounts: accounts.iter().map(|(name, home)| (at(name), *home)).collect(),
            limited: vec![],
            keyless: vec![],
            whole: true,
        };
        // Moved from volume 0 to volume 1, renamed there, moved on to volume 2; somebody else has the first name by now.
        let (zoe, ann) = (home(2, 7, 3), home(3, 8, 1));
        let all = [
            told(0, &[("ann", home(0, 7, 1)), ("postmaster", home(0, 9, 1))]),
            told(1, &[("zoe", home(1, 7, 2))]),
            told(2, &[("zoe", zoe), ("root", home(2, 9, 2))]),
            told(3, &[("ann", ann)]),
        ];
        for first in 0..4 {
            for second in (0..4).filter(|n| *n != first) {
                for third in (0..4).filter(|n| ![first, second].contains(n)) {
                    let fourth = 6 - first - second - third;
                    let mut directory = Directory::default();
                    for n in [first, second, third, fourth, first] {
                        directory.apply(all[n].clone());
                    }
                    let order = (first, second, third);
                    assert_eq!(directory.find(&at("zoe"), 4), Found::Home(zoe), "{order:?}");
                    assert_eq!(directory.find(&at("ann"), 4), Found::Home(ann), "{order:?}");
                    assert_eq!(directory.home_of(&at("ann"), AccountId(7)), Some(zoe), "{order:?}");
                    assert_eq!((directory.accounts().count(), directory.any_postmaster()), (3, None), "{order:?}");
                }
            }
        }
    }

    #[test]
    fn a_move_that_is_heard_of_late_gives_nobody_an_older_name() {
        let mut directory = Directory::default();
        directory.apply(told(0, true));
        let home = directory.home("user0@ringpost.test").expect("its home");
        let (from, to) = ("user0@ringpost.test".to_owned(), "zoe@ringpost.test".to_owned());
        let there = Home { volume: 1, generation: 2, ..home };
        let moved = Change::AccountMoved { name: from.clone(), home: there };
        let renamed = |home| Change::AccountRenamed { from: from.clone(), to: to.clone(), home, entries: vec![] };
        for order in [[moved.clone(), renamed(there)], [renamed(there), moved.clone()], [moved.clone(), renamed(home)]]
        {
            let mut directory = Directory::default();
            directory.apply(told(0, true));
            order.into_iter().for_each(|change| directory.apply(change));
            let all: Vec<_> = directory.accounts().collect();
            assert_eq!(all, [(&*to, there)]);
        }
        directory.apply(Change::AccountGone { name: from.clone() });
        directory.apply(moved);
        assert_eq!(directory.accounts().count(), 0, "whoever is removed meanwhile stays so");
    }
}
