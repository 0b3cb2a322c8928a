//! What commands about mailboxes and their names say: LIST, CREATE, RENAME.

use crate::proto::imap::command::StatusItems;
use crate::proto::imap::glob::Pattern;
use crate::proto::imap::name::Name;

/// LIST, extended or not (RFC 9051 §6.3.9, RFC 5258), and LSUB (RFC 3501 §6.3.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// At least one; each has the reference before it. A name is told once, however many it matches.
    pub patterns: Vec<Pattern>,
    /// Which of the names that match.
    pub only: ListOnly,
    /// What is told of them beside what is always told.
    pub tell: ListTell,
    /// LSUB: subscribed ones, and `\Noselect` for levels above those that the patterns do not reach.
    pub lsub: bool,
}

/// Selection options: names must satisfy all that are set. REMOTE is understood and changes nothing: all mailboxes are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListOnly {
    /// SUBSCRIBED: also names without a mailbox.
    pub subscribed: bool,
    /// SPECIAL-USE (RFC 6154 §2).
    pub special_use: bool,
    /// RECURSIVEMATCH: also the levels above such names. Never alone.
    pub recursive: bool,
}

/// Return options. CHILDREN and SPECIAL-USE are told in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListTell {
    /// SUBSCRIBED.
    pub subscribed: bool,
    /// STATUS of each mailbox (RFC 5819).
    pub status: Option<StatusItems>,
}

/// What a mailbox is for (RFC 6154 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialUse {
    /// `\Drafts`
    Drafts,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
    /// `\Junk`
    Junk,
    /// `\Archive`
    Archive,
    /// `\Flagged`: a view of other mailboxes. We make none.
    Flagged,
    /// `\All`: the same.
    All,
}

impl SpecialUse {
    /// All of them.
    pub const ALL: [SpecialUse; 7] = [
        SpecialUse::Drafts,
        SpecialUse::Sent,
        SpecialUse::Trash,
        SpecialUse::Junk,
        SpecialUse::Archive,
        SpecialUse::Flagged,
        SpecialUse::All,
    ];

    /// As it stands on the wire, with its backslash.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SpecialUse::Drafts => "\\Drafts",
            SpecialUse::Sent => "\\Sent",
            SpecialUse::Trash => "\\Trash",
            SpecialUse::Junk => "\\Junk",
            SpecialUse::Archive => "\\Archive",
            SpecialUse::Flagged => "\\Flagged",
            SpecialUse::All => "\\All",
        }
    }
}

/// CREATE (RFC 9051 §6.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Never INBOX. A separator at its end is gone.
    pub mailbox: Name,
    /// What it is for: one that a mailbox may have.
    pub special_use: Option<SpecialUse>,
}

/// RENAME (RFC 9051 §6.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The name it has.
    pub from: Name,
    /// The name it will have. Never INBOX, nor a name below `from`.
    pub to: Name,
}
