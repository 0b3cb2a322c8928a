//! Mailbox names among one another: which exist, which only stand above others, and what LIST says of them.
//!
//! Names are UTF-8 with `/` between levels; INBOX always exists. A level that has children and is no mailbox itself is
//! listed as `\Noselect` (RFC 9051 §6.3.9). Names never become paths (A118).

use std::collections::BTreeMap;

use ringpost_storage::MailboxInfo;

use crate::proto::imap::Pattern;

/// Special uses by the number they have in the volume, from 1 (RFC 6154 §2). 0 is none.
pub const SPECIAL_USES: [&str; 7] = ["\\Drafts", "\\Sent", "\\Trash", "\\Junk", "\\Archive", "\\Flagged", "\\All"];

/// A line of LIST or LSUB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// In UTF-8.
    pub name: String,
    /// With their backslashes.
    pub attributes: Vec<&'static str>,
}

/// The names that match, sorted. `subscribed`: only those, and the levels above them.
#[must_use]
pub fn list(mailboxes: &[MailboxInfo], pattern: &Pattern, subscribed: bool) -> Vec<Listed> {
    let mut tree: BTreeMap<&str, Entry> = BTreeMap::new();
    for info in mailboxes.iter().filter(|m| !subscribed || m.subscribed) {
        let entry = tree.entry(&info.name).or_default();
        entry.exists = true;
        entry.special_use = info.special_use;
        for (at, _) in info.name.match_indices('/') {
            tree.entry(&info.name[..at]).or_default().has_children = true;
        }
    }
    tree.into_iter()
        .filter(|(name, _)| pattern.matches(name))
        .map(|(name, entry)| Listed { name: name.to_owned(), attributes: entry.attributes(subscribed) })
        .collect()
}

#[derive(Default)]
struct Entry {
    exists: bool,
    has_children: bool,
    special_use: u16,
}

impl Entry {
    fn attributes(&self, lsub: bool) -> Vec<&'static str> {
        let mut attributes = Vec::new();
        if !self.exists {
            attributes.push("\\Noselect");
        }
        if !lsub {
            attributes.push(if self.has_children { "\\HasChildren" } else { "\\HasNoChildren" });
            let use_ = usize::from(self.special_use).checked_sub(1).and_then(|at| SPECIAL_USES.get(at));
            attributes.extend(use_.copied());
        }
        attributes
    }
}

#[cfg(test)]
mod tests {
    use ringpost_storage::MailboxId;

    use super::*;

    fn mailbox(name: &str, special_use: u16, subscribed: bool) -> MailboxInfo {
        MailboxInfo { id: MailboxId(1), name: name.into(), uidvalidity: 1, special_use, subscribed }
    }

    fn listed(pattern: &str, subscribed: bool) -> Vec<String> {
        let all = [
            mailbox("INBOX", 0, true),
            mailbox("a/b/c", 0, true),
            mailbox("a/b/d", 0, false),
            mailbox("Sent", 2, false),
        ];
        let pattern = Pattern::parse(pattern.as_bytes()).unwrap();
        list(&all, &pattern, subscribed).iter().map(|l| format!("{} {}", l.name, l.attributes.join(" "))).collect()
    }

    #[test]
    fn levels_without_a_mailbox_are_listed_and_not_selectable() {
        assert_eq!(
            listed("*", false),
            [
                "INBOX \\HasNoChildren",
                "Sent \\HasNoChildren \\Sent",
                "a \\Noselect \\HasChildren",
                "a/b \\Noselect \\HasChildren",
                "a/b/c \\HasNoChildren",
                "a/b/d \\HasNoChildren"
            ]
        );
        assert_eq!(listed("a/%", false), ["a/b \\Noselect \\HasChildren"]);
        assert_eq!(listed("inbox", false), ["INBOX \\HasNoChildren"]);
    }

    #[test]
    fn lsub_tells_subscribed_ones_and_the_levels_above() {
        assert_eq!(listed("%", true), ["INBOX ", "a \\Noselect"]);
        assert_eq!(listed("*", true), ["INBOX ", "a \\Noselect", "a/b \\Noselect", "a/b/c "]);
    }
}
