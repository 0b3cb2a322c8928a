//! Unique ids that POP3 was told by another server, kept so that a mail program does not fetch everything again (RFC 1939 §7).
//!
//! They are one message, a line `UID id` for each, in a mailbox that nobody can name: control characters are no part of a
//! mailbox name (A118), and lists leave it out. So they go where the account goes, into backups too, and the volume need
//! not know of them. They are of INBOX, whose UIDs are never given twice; lines of messages that are gone do no harm.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ringpost_storage::disk::Disk;
use ringpost_storage::{Loaded, MailboxId, Message, ReadError, Uid, Volume};

use crate::limits::MESSAGE_BYTES_MAX;

/// The mailbox that they are in.
pub const NAME: &str = "\u{1}pop3-unique-ids";
/// One of them, octets (RFC 1939 §7).
const UIDL_BYTES_MAX: usize = 70;

/// True for names of mailboxes that are ours and nobody else's.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    name.starts_with('\u{1}')
}

/// Unique ids by UID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uidls(BTreeMap<Uid, Box<str>>);

impl Uidls {
    /// Those of a message's text. Lines that are none are passed over.
    #[must_use]
    pub fn parse(text: &[u8]) -> Uidls {
        let text = std::str::from_utf8(text).unwrap_or_default();
        let line = |line: &str| {
            let (uid, uidl) = line.split_once(' ')?;
            let fits = (1..=UIDL_BYTES_MAX).contains(&uidl.len()) && uidl.bytes().all(|b| b.is_ascii_graphic());
            fits.then_some((uid.parse().ok()?, uidl.into()))
        };
        Uidls(text.lines().filter_map(line).collect())
    }

    /// As a message: canonical.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (uid, uidl) in &self.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{uid} {uidl}\r\n");
        }
        text
    }

    /// What POP3 was told of a message.
    #[must_use]
    pub fn of(&self, uid: Uid) -> Option<&str> {
        self.0.get(&uid).map(|uidl| &**uidl)
    }

    /// Adds some; a UID's newer id counts.
    pub fn add(&mut self, more: impl IntoIterator<Item = (Uid, Box<str>)>) {
        self.0.extend(more);
    }

    /// By UID.
    #[must_use]
    pub fn into_vec(self) -> Vec<(Uid, Box<str>)> {
        self.0.into_iter().collect()
    }
}

/// The messages that hold them, in an account that is in memory: the last one counts, and it has no more than a message may.
#[must_use]
pub fn kept<D: Disk>(loaded: &Loaded<D>) -> Option<(MailboxId, Vec<Message>)> {
    let mailbox = loaded.mailbox_named(NAME)?;
    Some((mailbox, loaded.mailbox(mailbox, |m| m.messages().to_vec())?))
}

/// Those of an account that is in memory: none, for nearly everybody.
///
/// # Errors
/// As [`Volume::read`].
pub async fn read<D: Disk>(volume: &Volume<D>, loaded: &Loaded<D>) -> Result<Uidls, ReadError> {
    let Some((_, messages)) = kept(loaded) else { return Ok(Uidls::default()) };
    match messages.last() {
        Some(message) if message.size() <= MESSAGE_BYTES_MAX => Ok(Uidls::parse(&volume.read(message).await?)),
        _ => Ok(Uidls::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::Name;

    #[test]
    fn they_are_written_and_read_back_and_newer_ones_count() {
        let mut uidls = Uidls::default();
        uidls.add([(7, "old-7".into()), (3, "x".into())]);
        uidls.add([(7, "new-7".into())]);
        assert_eq!(uidls.text(), "3 x\r\n7 new-7\r\n");
        assert_eq!(Uidls::parse(uidls.text().as_bytes()), uidls);
        assert_eq!((uidls.of(7), uidls.of(4)), (Some("new-7"), None));
        assert_eq!(Uidls::parse(b"x y\r\n5\r\n6 two words\r\n8 good\r\n9 \r\n").into_vec(), [(8, "good".into())]);
        assert_eq!(Uidls::parse(b"\xff"), Uidls::default());
    }

    #[test]
    fn a118_nobody_can_name_their_mailbox() {
        assert!(is_ours(NAME) && Name::of(NAME).is_err() && Name::parse(NAME.as_bytes()).is_err());
        assert!(!is_ours("INBOX"));
    }
}
