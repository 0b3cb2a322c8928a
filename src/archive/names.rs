//! Folder names of Maildir++: `.Sub.Folder` is the mailbox `Sub/Folder`, each in modified UTF-7 (RFC 3501 §5.1.3).
//!
//! A dot inside of a level would end it, so it is written `\2e`, and a backslash `\5c`, as Dovecot's plugin for that does; both
//! are read back. A mailbox's name only becomes a file's name through here: it cannot lead out of its folder (A118).

use crate::proto::imap::Name;
use crate::proto::imap::name::{Refused, encode_utf7};

/// Octets of one file name on the file systems we know.
pub const FILE_NAME_BYTES_MAX: usize = 255;

/// The folder of a mailbox other than INBOX, with its leading dot; `None` when that is no name for a file: too long.
#[must_use]
pub fn folder_of(name: &Name) -> Option<String> {
    let folder = format!(".{}", file_of(name)?);
    (folder.len() <= FILE_NAME_BYTES_MAX).then_some(folder)
}

/// As [`folder_of`] without the dot: for a file.
#[must_use]
pub fn file_of(name: &Name) -> Option<String> {
    let escaped = name.as_str().replace('\\', "\\5c").replace('.', "\\2e").replace('/', ".");
    let mut out = Vec::with_capacity(escaped.len());
    encode_utf7(&escaped, &mut out);
    // Modified UTF-7 is ASCII.
    String::from_utf8(out).ok().filter(|file| file.len() <= FILE_NAME_BYTES_MAX)
}

/// The mailbox of a folder, given without its leading dot; also a name in a list of subscriptions.
///
/// # Errors
/// It is no mailbox name.
pub fn mailbox_of(folder: &[u8]) -> Result<Name, Refused> {
    let levels: Vec<u8> = folder.iter().map(|&b| if b == b'.' { b'/' } else { b }).collect();
    let name = Name::parse(&levels)?;
    if !name.as_str().contains('\\') {
        return Ok(name);
    }
    Name::of(&name.as_str().replace("\\2e", ".").replace("\\2f", "_").replace("\\5c", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_into_folders_and_come_back() {
        for (name, folder) in [
            ("Sent", ".Sent"),
            ("Lists/Rust/2026", ".Lists.Rust.2026"),
            ("Entwürfe", ".Entw&APw-rfe"),
            ("v1.2/a\\b", ".v1\\2e2.a\\5cb"),
            ("R&D", ".R&-D"),
            ("INBOX/Sub", ".INBOX.Sub"),
        ] {
            let name = Name::of(name).unwrap();
            assert_eq!(folder_of(&name).unwrap(), folder);
            assert_eq!(mailbox_of(&folder.as_bytes()[1..]).unwrap(), name);
        }
    }

    #[test]
    fn a118_no_name_leads_out_of_its_folder() {
        for name in ["a/b", "\\2e\\2e", "..a", "~", "$HOME"] {
            let folder = folder_of(&Name::of(name).unwrap()).unwrap();
            assert!(!folder.contains('/') && folder != ".." && folder != ".", "{folder}");
            assert_eq!(mailbox_of(&folder.as_bytes()[1..]).unwrap().as_str(), name);
        }
        assert_eq!(folder_of(&Name::of(&"ä".repeat(300)).unwrap()), None);
        assert!(mailbox_of(b"..").is_err());
        assert!(mailbox_of(b"a.\\2e\\2e").is_err());
    }

    #[test]
    fn names_in_plain_utf8_are_read_as_they_are() {
        assert_eq!(mailbox_of("Entwürfe".as_bytes()).unwrap().as_str(), "Entwürfe");
    }
}
