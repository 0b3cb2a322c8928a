//! One recipient becomes mailboxes: aliases, groups, forwards, journals, catch-all and subaddresses, followed to their ends.
//!
//! ```text
//!   name ─► domain alias? ─► account ──────► forward? ─► others, and itself if it keeps ─► journal
//!                        ├─► alias, group ─► each target
//!                        ├─► before the separator: the same again, with the rest as detail
//!                        ├─► postmaster, abuse ─► the domain's postmaster, the default one, any there is
//!                        └─► catch-all ─► its target                  nothing of all that: nobody
//! ```
//!
//! - Pure, and every way has an end: [`DEPTH_MAX`] steps deep, [`TARGETS_MAX`] names in all, each name once. A name that leads to
//!   itself is cut there; what else it leads to gets its mail.
//! - Every mailbox once, however many ways lead to it.
//! - It ends at accounts of this host, or nowhere: what is not ours is passed over, whatever the rules say.
//! - A forward that leads nowhere keeps the mail: none is lost for a rule that has become old.
//! - What nobody may send to is passed over, whichever of its names leads there: as it was given, without its subaddress, and as what
//!   an alias or a forward says. Journals are the operator's: they get their copies all the same.
//! - While a volume has not told what it holds, or has lost some of it, nothing is decided that it might know better.

use std::collections::HashMap;

use ringpost_storage::AccountId;

use crate::directory::catalogue::Table;
use crate::directory::{Directory, Found, Home};
use crate::office::quota::is_reserved;

/// Aliases that lead to aliases. Deeper: 550 5.4.6.
pub const DEPTH_MAX: usize = 10;
/// Names that one recipient may lead to, mailboxes or not. More: 550 5.5.3.
pub const TARGETS_MAX: usize = 1_000;

/// Where a copy goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `user@domain` of the account.
    pub name: String,
    /// Where it lives.
    pub home: Home,
    /// The folder that the subaddress names, if the account wants that; INBOX where there is none of that name.
    pub folder: Option<String>,
}

/// Why a recipient leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nowhere {
    /// Our domain, and nobody there.
    Nobody,
    /// Not our domain.
    Elsewhere,
    /// It leads to itself, or too deep.
    Loop,
    /// It leads to more than [`TARGETS_MAX`] names.
    TooMany,
    /// The operator lets nobody send there.
    Denied,
    /// A volume might know, and has not told.
    AskAgain,
}

/// Follows a name. `name`: `user@domain`, lower case; `local`: what stands before the `@` as its sender wrote it, for the name of
/// a folder; `volumes`: how many the store has.
///
/// # Errors
/// Why it leads nowhere.
pub fn expand(name: &str, local: &str, directory: &Directory, volumes: usize) -> Result<Vec<Target>, Nowhere> {
    walk(name, local, directory, volumes, None).0
}

/// The same for somebody who is let in or not by the table of recipients as it is at `now_ms`, milliseconds since 1970; and how many
/// names were followed for it.
pub fn expand_let_in(
    name: &str,
    local: &str,
    directory: &Directory,
    volumes: usize,
    now_ms: u64,
) -> (Result<Vec<Target>, Nowhere>, usize) {
    walk(name, local, directory, volumes, Some(now_ms).filter(|_| directory.rules().judges_recipients()))
}

fn walk(
    name: &str,
    local: &str,
    directory: &Directory,
    volumes: usize,
    judged_at: Option<u64>,
) -> (Result<Vec<Target>, Nowhere>, usize) {
    let (seen, arrived) = (HashMap::new(), HashMap::new());
    let mut walk = Walk { directory, volumes, judged_at, seen, arrived, targets: Vec::new(), fault: None };
    let landed = walk.follow(name, Some(local), 0);
    let names = walk.seen.len();
    let found = match walk.fault {
        // Also where some of it is known: half of a group is no group.
        Some(fault @ (Nowhere::AskAgain | Nowhere::TooMany)) => Err(fault),
        _ if landed && !walk.targets.is_empty() => Ok(walk.targets),
        Some(fault) => Err(fault),
        None => Err(Nowhere::Nobody),
    };
    (found, names)
}

struct Walk<'a> {
    directory: &'a Directory,
    volumes: usize,
    /// When the table of recipients is asked; `None`: it is not.
    judged_at: Option<u64>,
    /// Names met, and whether they lead to a mailbox; `None`: that is being found out.
    seen: HashMap<String, Option<bool>>,
    /// The same for accounts, which may be met by several names.
    arrived: HashMap<AccountId, Option<bool>>,
    targets: Vec<Target>,
    /// The gravest so far.
    fault: Option<Nowhere>,
}

/// What a name is.
enum Is<'a> {
    Account(String, Home, Option<String>),
    Names(Vec<&'a str>),
    /// The first of them that leads to a mailbox.
    FirstOf(Vec<String>),
    Not(Nowhere),
}

impl<'a> Walk<'a> {
    /// True if the name leads to a mailbox.
    fn follow(&mut self, name: &str, local: Option<&str>, depth: usize) -> bool {
        match self.seen.get(name) {
            Some(Some(landed)) => return *landed,
            Some(None) => {
                self.blame(Nowhere::Loop);
                return false;
            }
            None => {}
        }
        if depth > DEPTH_MAX || self.seen.len() >= TARGETS_MAX {
            self.blame(if depth > DEPTH_MAX { Nowhere::Loop } else { Nowhere::TooMany });
            return false;
        }
        self.seen.insert(name.to_owned(), None);
        let landed = match self.what_is(name, local) {
            Is::Account(account, home, detail) => self.arrive(account, home, detail, depth),
            Is::Names(names) => self.follow_all(names, depth),
            Is::FirstOf(names) => names.iter().any(|name| self.follow(name, None, depth + 1)),
            Is::Not(why) => {
                // What is passed over inside a list says nothing of the list.
                if depth == 0 || matches!(why, Nowhere::AskAgain | Nowhere::Denied) {
                    self.blame(why);
                }
                false
            }
        };
        self.seen.insert(name.to_owned(), Some(landed));
        landed
    }

    /// True if nobody may send there by any of these names of it. What is said of an address goes before what is said of its domain.
    fn denied(&self, names: &[&str]) -> bool {
        let Some(now_ms) = self.judged_at else { return false };
        let rules = self.directory.rules();
        let said = |name: &&str| rules.access_of(Table::Recipient, name).filter(|access| !access.is_over(now_ms));
        let mut own = names.iter().filter_map(said).map(|access| access.deny).peekable();
        if own.peek().is_some() {
            return own.any(|deny| deny);
        }
        let domains = names.iter().filter_map(|name| name.rsplit_once('@'));
        let said = |(_, domain)| rules.host(Table::Recipient, domain, now_ms);
        domains.filter_map(said).any(|access| access.deny)
    }

    fn follow_all<'n>(&mut self, names: impl IntoIterator<Item = &'n str>, depth: usize) -> bool {
        let mut landed = false;
        for name in names {
            landed |= self.follow(name, None, depth + 1);
        }
        landed
    }

    /// At an account: its forward, itself, and who else gets a copy.
    fn arrive(&mut self, name: String, home: Home, detail: Option<String>, depth: usize) -> bool {
        let rules = self.directory.rules();
        let own = rules.account(&name);
        match self.arrived.get(&home.account) {
            Some(Some(landed)) => return *landed,
            Some(None) => {
                self.blame(Nowhere::Loop);
                return false;
            }
            None => {}
        }
        self.arrived.insert(home.account, None);
        let forwarded = match own {
            Some(own) if !own.forward.is_empty() => {
                let landed = self.follow_all(own.forward.iter().map(String::as_str), depth);
                landed && !own.keep
            }
            _ => false,
        };
        if !forwarded {
            let folder = detail.filter(|_| own.is_some_and(|own| own.folders));
            self.targets.push(Target { name: name.clone(), home, folder });
        }
        self.arrived.insert(home.account, Some(true));
        let domain = name.rsplit_once('@').and_then(|(_, domain)| rules.domain(domain));
        let journals = domain.into_iter().flat_map(|d| &d.journal).chain(own.into_iter().flat_map(|own| &own.journal));
        let mut journals = journals.map(String::as_str).peekable();
        if journals.peek().is_some() {
            let judged_at = self.judged_at.take();
            if judged_at.is_some() {
                // What was denied to the sender is met anew.
                self.seen.retain(|_, landed| *landed != Some(false));
            }
            self.follow_all(journals, depth);
            self.judged_at = judged_at;
        }
        true
    }

    fn what_is(&self, name: &str, local: Option<&str>) -> Is<'a> {
        let Some((folded, domain)) = name.rsplit_once('@') else { return Is::Not(Nowhere::Nobody) };
        let (directory, rules) = (self.directory, self.directory.rules());
        let (said, domain) = (name, rules.meant(domain));
        let name = format!("{folded}@{domain}");
        let separator = rules.separator(domain);
        let at = folded.find(|c| separator.contains(c)).filter(|at| *at > 0);
        if self.judged_at.is_some() {
            // Somebody's own name is no subaddress.
            let whole = directory.home(&name).is_some() || rules.list(&name).is_some();
            let base = at.filter(|_| !whole).map(|at| format!("{}@{domain}", &folded[..at]));
            if self.denied(&[said, &name, base.as_deref().unwrap_or(&name)]) {
                return Is::Not(Nowhere::Denied);
            }
        }
        // Before anything else: what rules say of a domain that is not ours is no matter.
        if let (false, Some(is)) = (!directory.has_domain(domain), self.exact(&name, None)) {
            return is;
        }
        match directory.find(&name, self.volumes) {
            Found::Home(home) => return Is::Account(name, home, None),
            Found::Elsewhere => return Is::Not(Nowhere::Elsewhere),
            // Perhaps it is an account that is not known yet: then it is nobody's subaddress and not for the catch-all.
            Found::NotYetKnown => return Is::Not(Nowhere::AskAgain),
            Found::Nobody => {}
        }
        if let Some(at) = at {
            // The letters of a folder's name as they were written, where both spellings have the same length.
            let written = local.filter(|local| local.is_char_boundary(at) && local.len() == folded.len());
            let detail = written.unwrap_or(folded)[at..].chars().skip(1).collect::<String>();
            let base = format!("{}@{domain}", &folded[..at]);
            if let Some(is) = self.exact(&base, Some(detail)) {
                return is;
            }
            if is_reserved(&base) {
                return self.reserved(domain);
            }
        }
        if is_reserved(&name) {
            return self.reserved(domain);
        }
        match rules.domain(domain).and_then(|own| own.catch_all.as_deref()) {
            Some(target) => Is::Names(vec![target]),
            None => Is::Not(Nowhere::Nobody),
        }
    }

    /// An account, alias or group of exactly this name.
    fn exact(&self, name: &str, detail: Option<String>) -> Option<Is<'a>> {
        if let Some(home) = self.directory.home(name) {
            return Some(Is::Account(name.to_owned(), home, detail));
        }
        let list = self.directory.rules().list(name)?;
        Some(Is::Names(list.targets.iter().map(String::as_str).collect()))
    }

    /// Who answers for a domain: mail for these is delivered somewhere as long as there is anybody (RFC 5321 §4.5.1).
    fn reserved(&self, domain: &str) -> Is<'a> {
        let rules = self.directory.rules();
        let own = rules.domain(domain).and_then(|own| own.postmaster.clone());
        let default = rules.default_domain().postmaster.clone();
        let account = self.directory.any_postmaster().map(str::to_owned);
        Is::FirstOf(own.into_iter().chain(default).chain(account).collect())
    }

    fn blame(&mut self, why: Nowhere) {
        let weight = |fault| match fault {
            Nowhere::Nobody => 0,
            Nowhere::Elsewhere => 1,
            Nowhere::Denied => 2,
            Nowhere::Loop => 3,
            Nowhere::TooMany => 4,
            Nowhere::AskAgain => 5,
        };
        if self.fault.is_none_or(|fault| weight(fault) < weight(why)) {
            self.fault = Some(why);
        }
    }
}

#[cfg(test)]
mod tests;
