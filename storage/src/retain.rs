//! What was expunged stays for a while and can be brought back: as messages of a mailbox that nobody can name.
//!
//! ```text
//!   expunge, removal of a mailbox ──► copy into RETAINED + expunge, one transaction ──► Volume::forget, when its time is over
//!                                          └────────────────► move to where it was (undelete)
//! ```
//!
//! - It is on where [`Settings::retain`](crate::Settings::retain) is, and how long is for whoever calls [`Volume::forget`] to say.
//! - A message there counts for no quota, keeps flags and INTERNALDATE, and was saved when it was expunged. A keyword says
//!   where it was; moving it out takes that away, and `\Deleted` with it, so that no program expunges it again at once.
//! - Bodies have a user more and nothing else is new: roots, compaction, checkpoints, transfers of the account to another
//!   volume and crashes treat it like any mailbox.
//! - Where it cannot be kept it goes for good, as without this: the disk is full, the account has [`RETAINED_MESSAGES_MAX`]
//!   such messages, or as many octets of them as it may have of others, or the transaction would not fit a segment. An expunge
//!   is never refused for it.
//! - Removed accounts are gone at once; so is what is expunged in mailboxes whose names begin as this one's.

use crate::bugs::{self, Bug};
use crate::disk::Disk;
use crate::loaded::Loaded;
use crate::record::{KEYWORD_BYTES_MAX, KEYWORDS_MAX};
use crate::transaction::{Lost, Op, Refused, Transaction};
use crate::types::{AccountId, Flags, MailboxId, Message, Uid};
use crate::volume::{ReadError, Volume};

/// The mailbox with what was expunged lately. Whoever lists mailboxes leaves it out.
pub const RETAINED: &str = "\u{1}expunged";
/// Messages that an account has there, at most. What is expunged beyond is gone for good.
pub const RETAINED_MESSAGES_MAX: usize = 100_000;
/// With this begin names that no client can say.
const HIDDEN: char = '\u{1}';
/// Messages that go in one transaction.
const AT_ONCE: usize = 8_192;

/// A message that was expunged and can be brought back.
#[derive(Clone, Debug)]
pub struct Retained {
    /// Its UID in [`RETAINED`].
    pub uid: Uid,
    /// Octets.
    pub size: u64,
    /// When it was expunged, milliseconds since 1970.
    pub expunged_ms: i64,
    /// Where it was; `None`: that is not known.
    pub from: Option<MailboxId>,
    /// What that was called then (its front, where it is long).
    pub name: String,
}

/// Why what was expunged long ago stays for now.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// The account cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log does not take it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It was not vouched for.
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// True for a mailbox where an expunge is for good.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with(HIDDEN)
}

/// The keyword that says where a message was.
fn mark_of(from: MailboxId, name: &str) -> String {
    let mut mark = format!("{HIDDEN}{} {name}", from.0);
    mark.truncate(mark.floor_char_boundary(KEYWORD_BYTES_MAX));
    mark
}

/// Octets of that keyword, at most.
pub fn mark_bytes(name: &str) -> usize {
    (name.len() + 12).min(KEYWORD_BYTES_MAX)
}

/// These flags, and where the message was.
pub fn marked(flags: &Flags, from: MailboxId, name: &str) -> Flags {
    let mut keywords = flags.keywords().to_vec();
    if keywords.len() < KEYWORDS_MAX {
        // The first of all: nothing that a client can say sorts before it.
        keywords.insert(0, mark_of(from, name).into());
    }
    Flags { bits: flags.bits, keywords: Some(keywords.into()) }
}

/// The flags that a message had, without what had it expunged.
pub fn unmarked(flags: &Flags) -> Flags {
    let keywords: Vec<Box<str>> = flags.keywords().iter().filter(|k| !is_hidden(k)).cloned().collect();
    Flags { bits: flags.bits & !Flags::DELETED, keywords: (!keywords.is_empty()).then(|| keywords.into()) }
}

fn retained(message: &Message) -> Retained {
    let mark = message.keywords().iter().find_map(|keyword| keyword.strip_prefix(HIDDEN)?.split_once(' '));
    Retained {
        uid: message.uid,
        size: message.size(),
        expunged_ms: message.saved_ms(),
        from: mark.and_then(|(id, _)| Some(MailboxId(id.parse().ok()?))),
        name: mark.map_or("INBOX", |(_, name)| name).to_owned(),
    }
}

impl<D: Disk> Loaded<D> {
    /// What was expunged and can be brought back, oldest first. It is brought back by a move out of the mailbox
    /// [`RETAINED`].
    #[must_use]
    pub fn retained(&self) -> Vec<Retained> {
        let of = |id| self.mailbox(id, |m| m.messages().iter().map(retained).collect());
        self.mailbox_named(RETAINED).and_then(of).unwrap_or_default()
    }
}

impl<D: Disk> Volume<D> {
    /// Expunges for good what was expunged before `before_ms`; how many messages that were. `now_ms`: wall clock.
    ///
    /// # Errors
    /// See [`ForgetError`]; it may be called again.
    pub async fn forget(&self, account: AccountId, before_ms: i64, now_ms: i64) -> Result<u64, ForgetError> {
        let Some(loaded) = self.load(account).await? else { return Ok(0) };
        let Some(mailbox) = loaded.mailbox_named(RETAINED) else { return Ok(0) };
        let old = |message: &&Message| match bugs::on(Bug::RetainByDate) {
            true => message.internal_ms < before_ms,
            false => message.saved_ms() < before_ms,
        };
        let uids: Vec<Uid> = loaded
            .mailbox(mailbox, |m| m.messages().iter().filter(old).map(|message| message.uid).collect())
            .unwrap_or_default();
        for uids in uids.chunks(AT_ONCE) {
            let op = Op::Expunge { account, mailbox, uids: uids.to_vec() };
            self.decide(Transaction { bodies: Vec::new(), ops: vec![op] }, now_ms)?.ticket.await?;
        }
        Ok(uids.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_where_a_message_was_and_goes_without_a_trace() {
        let flags =
            Flags { bits: Flags::SEEN | Flags::DELETED, keywords: Some(vec!["$Junk".into(), "a".into()].into()) };
        let name = "ä".repeat(200);
        let with = marked(&flags, MailboxId(12), &name);
        assert!(with.keywords().is_sorted() && with.keywords()[0].len() <= KEYWORD_BYTES_MAX);
        assert!(with.keywords()[0].len() <= mark_bytes(&name));
        let mut message = Message::sketch(1, 1, &with, 5, 0);
        let back = retained(&message);
        assert_eq!(back.from, Some(MailboxId(12)));
        assert!(name.starts_with(&back.name) && back.name.len() > 100);
        assert_eq!(unmarked(&with), Flags { bits: Flags::SEEN, ..flags.clone() });
        // One that has all the keywords there may be does not get another.
        let full: Vec<Box<str>> = (0..KEYWORDS_MAX).map(|n| format!("k{n:02}").into()).collect();
        message.set_flags(&marked(&Flags { bits: 0, keywords: Some(full.into()) }, MailboxId(3), "Lists"));
        assert_eq!((retained(&message).from, &*retained(&message).name), (None, "INBOX"));
        assert_eq!(unmarked(&message.flags()).keywords().len(), KEYWORDS_MAX);
    }
}
