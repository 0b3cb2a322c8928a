//! The nouns of the volume: ids, flags, messages, mailboxes, accounts.

use std::rc::Rc;

/// A volume's number within its store.
pub type VolumeId = u16;
/// A message's number within its mailbox, from 1, never reused (RFC 9051 §2.3.1.1).
pub type Uid = u32;
/// A change's number within its account, from 1, 63 bits (RFC 7162 §3.1).
pub type Modseq = u64;
/// The highest of them.
pub(crate) const MODSEQ_MAX: Modseq = i64::MAX as u64;
/// A batch's number within its volume, from 1.
pub type Lsn = u64;
/// No log reaches this: what claims it is not one of ours.
pub(crate) const LSN_MAX: Lsn = 1 << 62;

/// An account for ever: minted once in a host (volume of birth in the upper 16 bits), kept through moves and renames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub u64);

/// A mailbox within its account; 1 is INBOX. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxId(pub u32);

impl MailboxId {
    /// Every account's INBOX.
    pub const INBOX: MailboxId = MailboxId(1);
}

/// Where a record or a body begins: the segment, and the octet in it. Never changes (DESIGN §7.6, where it is an ordinal);
/// compaction, which moves what is there, leaves word where it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Segment number. 0: nowhere.
    pub segment: u32,
    /// Octets from the segment's start.
    pub at: u32,
}

impl Place {
    /// No place.
    pub const NOWHERE: Place = Place { segment: 0, at: 0 };

    /// True unless it is [`Place::NOWHERE`].
    #[must_use]
    pub fn is_somewhere(self) -> bool {
        self.segment != 0
    }
}

/// A message's keywords, sorted, without duplicates.
pub type Keywords = Rc<Vec<Box<str>>>;

/// A message's flags: system flags as bits, keywords by name. A keyword is the same in either case of its ASCII letters
/// (RFC 9051 §2.3.2): changes look for it so, and a message that they leave has it once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Bits of [`Flags::SEEN`] and its neighbours.
    pub bits: u32,
    /// Keywords, sorted, without duplicates. `None`: none (the common case costs a pointer).
    pub keywords: Option<Keywords>,
}

impl Flags {
    /// `\Seen`
    pub const SEEN: u32 = 1;
    /// `\Answered`
    pub const ANSWERED: u32 = 2;
    /// `\Flagged`
    pub const FLAGGED: u32 = 4;
    /// `\Deleted`
    pub const DELETED: u32 = 8;
    /// `\Draft`
    pub const DRAFT: u32 = 16;

    /// No flags.
    #[must_use]
    pub fn none() -> Self {
        Flags::default()
    }

    /// These system flags and no keywords.
    #[must_use]
    pub fn of(bits: u32) -> Self {
        Flags { bits, keywords: None }
    }

    /// True if all of `bits` are set.
    #[must_use]
    pub fn has(&self, bits: u32) -> bool {
        self.bits & bits == bits
    }

    /// The keywords, sorted.
    #[must_use]
    pub fn keywords(&self) -> &[Box<str>] {
        self.keywords.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// A message as its mailbox lists it: durable, never decided-only. 64 octets, keywords aside.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its UID.
    pub uid: Uid,
    /// Octets of prefix and body.
    pub(crate) size: u32,
    /// MODSEQ of its last change.
    pub modseq: Modseq,
    /// INTERNALDATE, milliseconds since 1970.
    pub internal_ms: i64,
    /// When it was put into this mailbox, seconds since 1970.
    pub(crate) saved_s: u32,
    /// System flags, and [`LARGE`].
    pub(crate) bits: u16,
    /// Octets of the prefix.
    pub(crate) prefix_len: u16,
    pub(crate) keywords: Option<Keywords>,
    /// Where the record with its prefix is: its own, or of a copy the first original's.
    pub(crate) prefix: Place,
    /// Where its body is, or the list of its body's pieces if it is [`LARGE`].
    pub(crate) body: Place,
    /// First 64 bits of the body's checksum, so that a stale body is caught.
    pub(crate) body_check: u64,
}

/// A message's body lies in pieces.
pub(crate) const LARGE: u16 = 1 << 15;

const _: () = assert!(size_of::<Message>() == 64, "what a loaded message costs");

impl Message {
    /// A message that lies nowhere: for who tests a view.
    #[must_use]
    pub fn sketch(uid: Uid, modseq: Modseq, flags: &Flags, size: u32, internal_ms: i64) -> Self {
        let mut message = Message {
            uid,
            size,
            modseq,
            internal_ms,
            saved_s: 0,
            bits: 0,
            prefix_len: 0,
            keywords: None,
            prefix: Place::NOWHERE,
            body: Place::NOWHERE,
            body_check: 0,
        };
        message.set_flags(flags);
        message
    }

    /// Octets as a reader sees it: prefix and body.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::from(self.size)
    }

    /// When it was put into this mailbox, milliseconds since 1970 (whole seconds).
    #[must_use]
    pub fn saved_ms(&self) -> i64 {
        i64::from(self.saved_s) * 1_000
    }

    /// Where the record with its prefix is.
    #[must_use]
    pub fn place(&self) -> Place {
        self.prefix
    }

    /// Its flags.
    #[must_use]
    pub fn flags(&self) -> Flags {
        Flags { bits: self.bits(), keywords: self.keywords.clone() }
    }

    /// Its system flags.
    #[must_use]
    pub fn bits(&self) -> u32 {
        u32::from(self.bits & !LARGE)
    }

    /// True if all of these system flags are set.
    #[must_use]
    pub fn has(&self, bits: u32) -> bool {
        self.bits() & bits == bits
    }

    /// Its keywords, sorted.
    #[must_use]
    pub fn keywords(&self) -> &[Box<str>] {
        self.keywords.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Gives it other flags.
    pub fn set_flags(&mut self, flags: &Flags) {
        self.bits = (self.bits & LARGE) | (flags.bits as u16 & !LARGE);
        self.keywords.clone_from(&flags.keywords);
    }

    pub(crate) fn is_large(&self) -> bool {
        self.bits & LARGE != 0
    }

    /// Octets of the body.
    pub(crate) fn body_len(&self) -> u64 {
        self.size().saturating_sub(u64::from(self.prefix_len))
    }
}

/// How much an account may keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Octets of all its messages. 0: no limit.
    pub bytes: u64,
    /// Messages. 0: no limit.
    pub messages: u32,
}

impl Limits {
    /// No limits.
    pub const NONE: Limits = Limits { bytes: 0, messages: 0 };

    /// True if so much is within them.
    #[must_use]
    pub fn hold(self, bytes: u64, messages: u32) -> bool {
        (self.bytes == 0 || bytes <= self.bytes) && (self.messages == 0 || messages <= self.messages)
    }
}

/// What an account keeps and may keep, as decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Octets of all its messages.
    pub used_bytes: u64,
    /// Its messages.
    pub used_messages: u32,
    /// Octets of messages that are on their way from other volumes.
    pub coming_bytes: u64,
    /// Those messages.
    pub coming_messages: u32,
    /// What it may keep.
    pub limits: Limits,
}

impl Quota {
    /// True if there is room for so much more.
    #[must_use]
    pub fn has_room(&self, bytes: u64, messages: u32) -> bool {
        let all = self.used_bytes.saturating_add(self.coming_bytes).saturating_add(bytes);
        self.limits.hold(all, self.used_messages.saturating_add(self.coming_messages).saturating_add(messages))
    }
}

/// A mailbox's own facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxInfo {
    /// Its id within the account.
    pub id: MailboxId,
    /// Its name in UTF-8, hierarchy separator `/`; INBOX is spelt so.
    pub name: String,
    /// UIDVALIDITY; never goes backwards.
    pub uidvalidity: u32,
    /// Special use (RFC 6154): 0 none, else the crate user's code.
    pub special_use: u16,
    /// LSUB / LIST (SUBSCRIBED): whether its name is in [`Volume::subscriptions`](crate::Volume::subscriptions).
    pub subscribed: bool,
}

/// An account's own facts.
#[derive(Clone, Debug)]
pub struct AccountInfo {
    /// Its id.
    pub id: AccountId,
    /// `user@domain`, lower case.
    pub name: String,
    /// Moves so far: where two volumes claim an account the highest generation wins.
    pub generation: u32,
    /// Credentials and limits, opaque to this crate.
    pub secrets: Rc<[u8]>,
}
