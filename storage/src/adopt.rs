//! Taking an account over from another volume, with all its numbers (DESIGN §3): UIDs, UIDVALIDITY and MODSEQ stay.
//!
//! ```text
//!   target:  Account (generation 0: arriving) ─► Mailbox, Message, Flags … ─► Activate (the source's generation + 1)
//!   source:              … is changed meanwhile ─► freeze ─► what changed since ─► removed
//! ```
//!
//! - An account of generation 0 is nobody's home: whoever opens the volume passes it over, and may remove it.
//! - The history of expunges does not come along: it begins with the mailbox's taking over, and below it VANISHED is a
//!   superset (RFC 7162 §3.2.7).
//! - A frozen account takes no change but what thaws it: [`Refused::Busy`](crate::Refused::Busy). Freezing is forgotten by a
//!   restart.

use crate::disk::Disk;
use crate::types::{AccountId, Flags, MailboxId, Modseq, Uid};
use crate::volume::Volume;

/// Messages whose flags one op changes. More: `TooLarge`.
pub const ADOPT_FLAGS_MAX: usize = 1_000;

/// A change as another volume has decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdoptOp {
    /// Makes an account without mailboxes, arriving; or puts one that is there.
    Account {
        /// Minted in the volume of its birth.
        account: AccountId,
        /// `user@domain`, lower case. `MailboxExists` when another account of this volume has it.
        name: String,
        /// Opaque.
        secrets: Vec<u8>,
        /// 0: arriving. Else it lives here from now on.
        generation: u32,
        /// Octets it may keep; 0: no limit.
        limit_bytes: u64,
        /// Messages it may keep; 0: no limit.
        limit_messages: u32,
        /// Highest MODSEQ given.
        modseq: Modseq,
    },
    /// Makes a mailbox, or gives one that is there another name and use; its UIDNEXT rises to this one.
    Mailbox {
        /// Whose.
        account: AccountId,
        /// Which.
        mailbox: MailboxId,
        /// UTF-8 name.
        name: String,
        /// Kept by a mailbox that is there.
        uidvalidity: u32,
        /// At least.
        uidnext: Uid,
        /// Special use code.
        special_use: u16,
        /// Whether its name is subscribed.
        subscribed: bool,
        /// Of its last change.
        modseq: Modseq,
    },
    /// Adds a message.
    Message {
        /// Whose.
        account: AccountId,
        /// Where.
        mailbox: MailboxId,
        /// A UID that is not taken.
        uid: Uid,
        /// Of its last change.
        modseq: Modseq,
        /// Index into the transaction's bodies.
        body: usize,
        /// System flags.
        bits: u32,
        /// Keywords.
        keywords: Vec<Box<str>>,
        /// INTERNALDATE, milliseconds since 1970.
        internal_ms: i64,
        /// When it was put into its mailbox, milliseconds since 1970.
        saved_ms: i64,
    },
    /// Messages with other flags.
    Flags {
        /// Whose.
        account: AccountId,
        /// Where.
        mailbox: MailboxId,
        /// Of this change.
        modseq: Modseq,
        /// UID, system flags, keywords; those that do not exist are passed over.
        items: Vec<(Uid, u32, Vec<Box<str>>)>,
    },
}

impl AdoptOp {
    /// Whose.
    #[must_use]
    pub fn account(&self) -> AccountId {
        match self {
            AdoptOp::Account { account, .. }
            | AdoptOp::Mailbox { account, .. }
            | AdoptOp::Message { account, .. }
            | AdoptOp::Flags { account, .. } => *account,
        }
    }
}

/// Flags in the form that crosses threads.
pub(crate) fn flags(bits: u32, keywords: &[Box<str>]) -> Flags {
    let keywords = (!keywords.is_empty()).then(|| keywords.to_vec().into());
    Flags { bits, keywords }
}

impl<D: Disk> Volume<D> {
    /// The account takes no changes from now on.
    pub fn freeze(&self, account: AccountId) {
        self.0.ahead.borrow_mut().frozen.insert(account);
    }

    /// It takes changes again.
    pub fn thaw(&self, account: AccountId) {
        self.0.ahead.borrow_mut().frozen.remove(&account);
    }

    /// True while it is frozen.
    #[must_use]
    pub fn is_frozen(&self, account: AccountId) -> bool {
        self.0.ahead.borrow().frozen.contains(&account)
    }

    /// Octets and messages the account may keep; 0: no limit. `None`: there is no such account.
    #[must_use]
    pub fn limits_of(&self, account: AccountId) -> Option<(u64, u32)> {
        self.0.index.borrow().entries.get(account).map(|entry| (entry.limit_bytes, entry.limit_messages))
    }

    /// Highest MODSEQ the account has given (durable). `None`: there is no such account.
    #[must_use]
    pub fn modseq_of(&self, account: AccountId) -> Option<Modseq> {
        self.0.index.borrow().entries.get(account).map(|entry| entry.modseq)
    }
}
