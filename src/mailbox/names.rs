//! Mailbox names among one another: which exist, which only stand above others, what LIST says of them, and what RENAME
//! makes of them.
//!
//! Names are UTF-8 with `/` between levels; INBOX always exists. A level that has children and is no mailbox itself is
//! listed as `\Noselect` (RFC 9051 §6.3.9), a name that is only subscribed as `\NonExistent`. Names never become paths
//! (A118).

use std::collections::{BTreeMap, HashSet};

use ringpost_storage::{MailboxId, MailboxInfo};

use super::slices::Slices;
use crate::proto::imap::{List, Name, No, SpecialUse};

/// The mailboxes that a new account has beside INBOX, subscribed (RFC 6154 §2).
pub const DEFAULTS: [(&str, SpecialUse); 5] = [
    ("Drafts", SpecialUse::Drafts),
    ("Sent", SpecialUse::Sent),
    ("Junk", SpecialUse::Junk),
    ("Trash", SpecialUse::Trash),
    ("Archive", SpecialUse::Archive),
];

/// The number that a special use has in the volume, for ever; 0 is none.
#[must_use]
pub fn use_code(special_use: Option<SpecialUse>) -> u16 {
    match special_use {
        None => 0,
        Some(SpecialUse::Drafts) => 1,
        Some(SpecialUse::Sent) => 2,
        Some(SpecialUse::Trash) => 3,
        Some(SpecialUse::Junk) => 4,
        Some(SpecialUse::Archive) => 5,
        Some(SpecialUse::Flagged) => 6,
        Some(SpecialUse::All) => 7,
    }
}

fn use_of(code: u16) -> Option<SpecialUse> {
    SpecialUse::ALL.into_iter().find(|special_use| use_code(Some(*special_use)) == code)
}

/// A line of LIST or LSUB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// In UTF-8.
    pub name: &'a str,
    /// With their backslashes.
    pub attributes: Vec<&'static str>,
    /// Selection options that names below satisfy (RFC 5258 §3.5).
    pub child_info: &'static [&'static str],
    /// The mailbox, if the name is one and satisfies the selection itself: its counts may be told.
    pub mailbox: Option<MailboxId>,
}

/// The names that a LIST or LSUB asks for, sorted. `subscriptions`: all that the account has. No name is copied.
pub async fn list<'a>(
    mailboxes: &'a [MailboxInfo],
    subscriptions: &'a [String],
    list: &'a List,
    slices: &mut Slices,
) -> impl Iterator<Item = Listed<'a>> + use<'a> {
    let mut tree = tree(mailboxes, subscriptions, list.lsub || list.only.recursive, slices).await;
    for (name, entry) in &mut tree {
        for pattern in &list.patterns {
            slices.spend(pattern.work(name.len())).await;
            if pattern.matches(name) {
                entry.matches = true;
                break;
            }
        }
        entry.selected = entry.satisfies(list);
    }
    if list.lsub || list.only.recursive {
        tell_those_above(&mut tree, slices).await;
    }
    let listed = tree.into_iter().filter(move |(_, entry)| entry.matches && entry.is_listed(list));
    listed.map(move |(name, entry)| entry.listed(name, list))
}

/// All names there are. `levels`: also those that only stand above subscriptions.
async fn tree<'a>(
    mailboxes: &'a [MailboxInfo],
    subscriptions: &'a [String],
    levels: bool,
    slices: &mut Slices,
) -> BTreeMap<&'a str, Entry> {
    let mut tree: BTreeMap<&str, Entry> = BTreeMap::new();
    for info in mailboxes {
        slices.spend(climbing(&info.name)).await;
        let entry = tree.entry(&info.name).or_default();
        entry.mailbox = Some(info.id);
        entry.special_use = use_of(info.special_use);
        for above in above(&info.name) {
            tree.entry(above).or_default().has_children = true;
        }
    }
    for name in subscriptions {
        slices.spend(climbing(name)).await;
        tree.entry(name).or_default().subscribed = true;
        for above in above(name).filter(|_| levels) {
            tree.entry(above).or_default();
        }
    }
    tree
}

/// The names of the levels above.
fn above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// The work of finding all levels of a name in the tree.
fn climbing(name: &str) -> u64 {
    const COMPARED: usize = 16;
    (COMPARED * (1 + above(name).count()) * name.len()) as u64
}

async fn tell_those_above(tree: &mut BTreeMap<&str, Entry>, slices: &mut Slices) {
    let selected: Vec<(&str, bool)> = tree.iter().filter(|(_, e)| e.selected).map(|(n, e)| (*n, e.matches)).collect();
    for (name, matches) in selected {
        slices.spend(climbing(name)).await;
        for above in above(name) {
            let entry = tree.get_mut(above).expect("the levels above are in the tree");
            entry.selected_below = true;
            entry.unmatched_below |= !matches;
        }
    }
}

/// What is known of a name.
#[derive(Default)]
struct Entry {
    mailbox: Option<MailboxId>,
    /// There is a mailbox below.
    has_children: bool,
    special_use: Option<SpecialUse>,
    subscribed: bool,
    /// A pattern matches.
    matches: bool,
    /// It satisfies the selection.
    selected: bool,
    /// A name below does.
    selected_below: bool,
    /// A name below does, and no pattern matches it.
    unmatched_below: bool,
}

impl Entry {
    fn exists(&self) -> bool {
        self.mailbox.is_some() || self.has_children
    }

    fn satisfies(&self, list: &List) -> bool {
        if list.lsub || list.only.subscribed {
            return self.subscribed && (!list.only.special_use || self.special_use.is_some());
        }
        self.exists() && (!list.only.special_use || self.special_use.is_some())
    }

    /// It matches: is it told?
    fn is_listed(&self, list: &List) -> bool {
        // RFC 3501 §6.3.9: a level above, where the pattern does not reach what is subscribed below it.
        let as_level = list.lsub && self.unmatched_below;
        // RFC 5258 §3.1: a name that is nothing itself only where nothing else tells of what is below.
        let as_parent = list.only.recursive && self.selected_below && (self.exists() || self.unmatched_below);
        self.selected || as_level || as_parent
    }

    fn listed<'a>(&self, name: &'a str, list: &List) -> Listed<'a> {
        let child_info: &[&str] = match list.only {
            _ if !list.only.recursive || !self.selected_below => &[],
            only if only.subscribed && only.special_use => &["SUBSCRIBED", "SPECIAL-USE"],
            only if only.subscribed => &["SUBSCRIBED"],
            _ => &["SPECIAL-USE"],
        };
        let mailbox = self.mailbox.filter(|_| self.selected);
        Listed { name, attributes: self.attributes(list), child_info, mailbox }
    }

    fn attributes(&self, list: &List) -> Vec<&'static str> {
        let mut attributes = Vec::new();
        if list.lsub {
            // Here it says that the name itself is not subscribed.
            attributes.extend((!self.selected).then_some("\\Noselect"));
            return attributes;
        }
        if self.mailbox.is_none() {
            attributes.push(if self.has_children { "\\Noselect" } else { "\\NonExistent" });
        }
        if self.subscribed && (list.only.subscribed || list.tell.subscribed) {
            attributes.push("\\Subscribed");
        }
        if self.exists() {
            attributes.push(if self.has_children { "\\HasChildren" } else { "\\HasNoChildren" });
        }
        attributes.extend(self.special_use.map(SpecialUse::name));
        attributes
    }
}

/// A mailbox that is to have another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// Which.
    pub mailbox: MailboxId,
    /// Its name until then.
    pub from: String,
    /// Its name from then on.
    pub to: String,
}

/// The mailbox `from` and all below it with the names they will have, in an order in which no name is taken before it is
/// free. `from` is neither INBOX nor `to`, and `to` is not below it.
///
/// # Errors
/// There is nothing of this name, a new name is taken, or one would be none.
pub fn renamed(mailboxes: &[MailboxInfo], from: &Name, to: &Name) -> Result<Vec<Renamed>, No> {
    assert!(!from.is_inbox() && from != to && !to.is_below(from), "the session has refused these");
    let (going, staying): (Vec<_>, Vec<_>) = mailboxes.iter().partition(|info| {
        info.name.strip_prefix(from.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if going.is_empty() {
        return Err(No::NonExistent);
    }
    let taken: HashSet<&str> = staying.iter().map(|info| &*info.name).collect();
    let mut renamed = Vec::with_capacity(going.len());
    for info in going {
        let name = format!("{to}{}", &info.name[from.as_str().len()..]);
        let name = Name::of(&name).map_err(|_| No::Cannot)?;
        if taken.contains(name.as_str()) {
            return Err(No::AlreadyExists);
        }
        renamed.push(Renamed { mailbox: info.id, from: info.name.clone(), to: name.as_str().to_owned() });
    }
    if from.is_below(to) {
        // The new name of one may be the old name of another, which is shorter: that goes first.
        renamed.sort_by_key(|one| one.from.len());
    }
    Ok(renamed)
}

#[cfg(test)]
mod tests;
