//! What an IMAP session asks of the world, and what it may be told.
//!
//! The door answers each [`Ask`] with one [`Answer`]. Untagged data (FETCH, LIST, SEARCH, EXISTS …) the door writes
//! itself, before it answers, so that it stands before the tagged line the session writes from the answer. With every
//! ask after login the door may also tell what changed in the selected mailbox;
//! [`update::may_tell_expunge`](super::update::may_tell_expunge) says whether EXPUNGE may be among it.

use super::command::{
    Announced, Append, Copy, Create, Expunge, Fetch, IdField, List, Login, Rename, Search, Select, Status, Store,
};
use super::enabled::Enabled;
use super::name::Name;
use super::set::Set;
use crate::proto::sasl::scram::Known;

/// One ask. After login unless said otherwise.
#[derive(Debug)]
pub enum Ask {
    /// Who is this? Before login. [`Answer::Welcome`] or `No`. May be answered on another shard.
    Login(Login),
    /// What is known of this name, which SCRAM needs (RFC 5802)? Before login. [`Answer::Keys`], of nobody if need be, or `No`.
    Keys(Vec<u8>),
    /// Who the client says it is (RFC 2971): the door writes who we are. Also before login.
    /// [`Answer::Done`].
    Id(Vec<IdField>),
    /// The client has switched on these, which were off (RFC 5161). [`Answer::Done`].
    Enable(Enabled),
    /// The mailboxes that match: the door writes LIST or LSUB lines, and STATUS lines if asked for. [`Answer::Done`].
    List(List),
    /// Make a mailbox. [`Answer::Done`] or `No`.
    Create(Create),
    /// Remove a mailbox, never INBOX, with its messages. Its children and its subscription stay. [`Answer::Done`] or `No`.
    Delete(Name),
    /// Give a mailbox and its children other names; of INBOX, its messages go to a new mailbox. [`Answer::Done`] or `No`.
    Rename(Rename),
    /// Subscribe to a name, or end that; there need be no mailbox. [`Answer::Done`] or `No`.
    Subscribe {
        /// Which.
        name: Name,
        /// From now on, or no more.
        on: bool,
    },
    /// Counts of a mailbox: the door writes one STATUS line. [`Answer::Done`].
    Status(Status),
    /// Leave the selected mailbox, if any, and enter this one: the door writes FLAGS, EXISTS, RECENT and the OK lines
    /// with UNSEEN, PERMANENTFLAGS, UIDNEXT, UIDVALIDITY and HIGHESTMODSEQ. [`Answer::Selected`]; after `No` none is selected.
    Select(Select),
    /// Leave the selected mailbox without telling anything of it. [`Answer::Done`], or `No`: what was to be expunged could not
    /// be, and the mailbox is selected still.
    Close {
        /// First expunge silently what is `\Deleted`. Never set when the mailbox is read-only.
        expunge: bool,
    },
    /// Data of messages: the door writes FETCH lines. [`Answer::Done`], or `No` after what could be read.
    Fetch(Fetch),
    /// Change flags: the door writes FETCH lines with the new flags unless `silent`. [`Answer::Done`] or
    /// [`Answer::Modified`].
    Store(Store),
    /// Find messages: the door writes one SEARCH line, also when nothing was found. [`Answer::Done`].
    Search(Search),
    /// Remove what is `\Deleted`: the door writes EXPUNGE lines. [`Answer::Done`].
    Expunge(Expunge),
    /// Copy messages, all or none, or move them: of a move the door writes the OK line with COPYUID, then EXPUNGE lines.
    /// [`Answer::Copied`] if a copy found any, else [`Answer::Done`]; or `No`.
    Copy(Copy),
    /// May this message be appended? [`Answer::Go`] before its octets arrive as body pieces, or `No`. After `Go` comes
    /// `AppendMore`, `AppendDone` or `AppendDrop`, unless the connection ends: then nothing is kept (A122).
    AppendBegin(Append),
    /// The message is whole, and another is to come with it (RFC 3502). As `AppendBegin`; after `No` all of them are
    /// forgotten (A123).
    AppendMore(Announced),
    /// The last message is whole: make them durable, all or none. [`Answer::Appended`] or `No`.
    AppendDone,
    /// A message was malformed: forget all of this command. [`Answer::Done`].
    AppendDrop,
    /// Nothing in itself: an occasion to tell what changed (NOOP, CHECK, IDLE). [`Answer::Done`].
    Poll,
}

/// What the world says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Logged in.
    Welcome,
    /// To `Keys`.
    Keys(Box<Known>),
    /// Done; what there was to tell has been told.
    Done,
    /// A mailbox is selected.
    Selected {
        /// It may not be changed.
        read_only: bool,
    },
    /// Send the message.
    Go,
    /// Durable, under these UIDs.
    Appended {
        /// The mailbox's UIDVALIDITY.
        uidvalidity: u32,
        /// The messages' UIDs, in their order.
        uids: Set,
    },
    /// Copied (RFC 4315 §3).
    Copied {
        /// The target's UIDVALIDITY.
        uidvalidity: u32,
        /// The UIDs of what was copied.
        from: Set,
        /// The UIDs of the copies, in the same order.
        to: Set,
    },
    /// Flags are changed but of these messages, which others have changed since (RFC 7162 §3.1.3).
    Modified {
        /// By UID or sequence number, as the command counted.
        left_alone: Set,
    },
    /// The same, and some others no longer exist that the client had a right to count on.
    ModifiedAndGone {
        /// As of [`Answer::Modified`].
        left_alone: Set,
    },
    /// Not done.
    No(No),
}

/// Why not. The response codes are those of RFC 5530 unless noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// Name and password do not fit. One answer for unknown names and wrong passwords (A111).
    BadLogin,
    /// Later: a queue is full, a volume is away.
    Unavailable,
    /// No such mailbox.
    NonExistent,
    /// No such mailbox, and it could be made (RFC 9051 §7.1).
    TryCreate,
    /// This can never be done.
    Cannot,
    /// There is a mailbox with this name.
    AlreadyExists,
    /// No mailbox of ours can be for this (RFC 6154 §3).
    UseAttr,
    /// This mailbox is read-only (RFC 9051 §7.1).
    ReadOnly,
    /// A bound of ours was met.
    Limit,
    /// The message is too large (RFC 7889).
    TooBig,
    /// The account would keep more than it may.
    OverQuota,
    /// Some of the messages are gone.
    ExpungeIssued,
    /// Our fault, or the disk's.
    ServerBug,
}

impl No {
    /// Response code and text for the tagged NO.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            No::BadLogin => ("AUTHENTICATIONFAILED", "Authentication failed"),
            No::Unavailable => ("UNAVAILABLE", "Not now, try again later"),
            No::NonExistent => ("NONEXISTENT", "No such mailbox"),
            No::TryCreate => ("TRYCREATE", "No such mailbox"),
            No::Cannot => ("CANNOT", "This name or operation is not possible"),
            No::AlreadyExists => ("ALREADYEXISTS", "There is a mailbox with this name"),
            No::UseAttr => ("USEATTR", "No mailbox can be made for this use"),
            No::ReadOnly => ("READ-ONLY", "Mailbox is read-only"),
            No::Limit => ("LIMIT", "A limit was reached"),
            No::TooBig => ("TOOBIG", "Message too large"),
            No::OverQuota => ("OVERQUOTA", "The mailbox is full: delete messages, then try again"),
            No::ExpungeIssued => ("EXPUNGEISSUED", "Some of the messages no longer exist"),
            No::ServerBug => ("SERVERBUG", "Internal error"),
        }
    }
}
