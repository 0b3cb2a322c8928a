//! Lists of subscriptions: Dovecot's `subscriptions`, Courier's `courierimapsubscribed`.
//!
//! One name a line. Levels are parted by dots or, in Dovecot's second version (its first line is `V` tab `2`), by tabs. Courier
//! writes all names below `INBOX.`, which stands for nothing.

use std::path::Path;

use super::{Complaint, lines, names};
use crate::proto::imap::Name;

/// Dovecot's file.
pub const NAME: &str = "subscriptions";
/// Courier's.
pub const COURIER: &str = "courierimapsubscribed";

/// The subscriptions of a Maildir++, sorted.
#[must_use]
pub fn read(maildir: &Path, complaints: &mut Vec<Complaint>) -> Vec<Name> {
    let mut found = Vec::new();
    for (file, courier) in [(maildir.join(NAME), false), (maildir.join(COURIER), true)] {
        let mut tabs = false;
        for (number, line) in lines(&file, complaints).unwrap_or_default() {
            if number == 1 && line.starts_with("V\t") {
                tabs = true;
                continue;
            }
            let text = if courier { line.strip_prefix("INBOX.").unwrap_or(&line) } else { &line };
            let name =
                if tabs { Name::parse(text.replace('\t', "/").as_bytes()) } else { names::mailbox_of(text.as_bytes()) };
            match name {
                Ok(name) => found.push(name),
                Err(why) => complaints.push(Complaint::at(&file, number, why)),
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Dovecot's file in its first version; names too long for a folder are left out.
#[must_use]
pub fn text<'a>(subscribed: impl IntoIterator<Item = &'a Name>) -> String {
    subscribed.into_iter().filter_map(names::file_of).map(|name| name + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(name: &str, text: &str) -> (Vec<String>, Vec<Complaint>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let mut complaints = Vec::new();
        let names = read(folder.path(), &mut complaints).iter().map(|n| n.as_str().to_owned()).collect();
        (names, complaints)
    }

    #[test]
    fn both_versions_and_couriers_are_read() {
        let (names, complaints) = read_of(NAME, "INBOX\nSent\nLists.Rust\nEntw&APw-rfe\n");
        assert_eq!(names, ["Entwürfe", "INBOX", "Lists/Rust", "Sent"]);
        assert!(complaints.is_empty());
        assert_eq!(read_of(NAME, "V\t2\n\nSent\nLists\tv1.2\n").0, ["Lists/v1.2", "Sent"]);
        assert_eq!(read_of(COURIER, "INBOX\nINBOX.Sent\n").0, ["INBOX", "Sent"]);
        let (names, complaints) = read_of(NAME, "good\na..b\n");
        assert_eq!((names, complaints[0].line), (vec!["good".to_owned()], Some(2)));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let names = [Name::of("INBOX").unwrap(), Name::of("Lists/v1.2").unwrap()];
        assert_eq!(read_of(NAME, &text(&names)).0, ["INBOX", "Lists/v1.2"]);
    }
}
