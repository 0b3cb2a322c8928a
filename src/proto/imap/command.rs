//! What IMAP commands say, once they are parsed: plain values that may cross threads.

mod mailboxes;

use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::ask::Ask;
use super::enabled::Enabled;
use super::name::Name;
use super::set::Set;

pub use mailboxes::{Create, List, ListOnly, ListTell, Rename, SpecialUse};

/// A command whose syntax is right.
#[derive(Debug)]
pub enum Command {
    /// CAPABILITY
    Capability,
    /// LOGOUT
    Logout,
    /// STARTTLS
    StartTls,
    /// AUTHENTICATE, perhaps with an initial response in base64 (RFC 4959).
    Authenticate {
        /// By which mechanism, as the client spelt it.
        mechanism: Box<[u8]>,
        /// In base64.
        initial: Option<Zeroizing<Vec<u8>>>,
    },
    /// LIST or LSUB with an empty pattern: what is the separator? (RFC 9051 §6.3.9)
    ListRoot {
        /// LSUB.
        lsub: bool,
    },
    /// IDLE (RFC 2177).
    Idle,
    /// CLOSE, UNSELECT.
    Leave {
        /// CLOSE.
        expunge: bool,
    },
    /// NAMESPACE
    Namespace,
    /// ENABLE
    Enable(Enabled),
    /// One that the world answers.
    Ask(Ask),
}

/// LOGIN or AUTHENTICATE PLAIN (RFC 9051 §6.2.2, §6.2.3).
pub use crate::proto::sasl::Login;

/// One thing a client says of itself with ID (RFC 2971 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdField {
    /// At most 30 octets, UTF-8.
    pub name: Box<str>,
    /// At most 1,024 octets, UTF-8; empty where it was NIL.
    pub value: Box<str>,
}

/// SELECT, EXAMINE (RFC 9051 §6.3.2, §6.3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// Which.
    pub mailbox: Name,
    /// EXAMINE.
    pub read_only: bool,
    /// Wants MODSEQs from now on (RFC 7162 §3.1.8).
    pub condstore: bool,
}

/// STATUS (RFC 9051 §6.3.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Of which mailbox.
    pub mailbox: Name,
    /// Which counts.
    pub items: StatusItems,
}

/// Items of a STATUS, in the order asked, without duplicates.
pub type StatusItems = SmallVec<[StatusItem; 8]>;

/// One count of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusItem {
    /// How many messages.
    Messages,
    /// How many with `\Recent` (RFC 3501 §6.3.10).
    Recent,
    /// The next UID.
    UidNext,
    /// UIDVALIDITY.
    UidValidity,
    /// How many without `\Seen`.
    Unseen,
    /// The MODSEQ of its last change (RFC 7162 §3.1.7).
    HighestModSeq,
    /// Octets of all messages (RFC 8438).
    Size,
    /// How many with `\Deleted`.
    Deleted,
}

impl StatusItem {
    /// All of them.
    pub const ALL: [StatusItem; 8] = [
        StatusItem::Messages,
        StatusItem::Recent,
        StatusItem::UidNext,
        StatusItem::UidValidity,
        StatusItem::Unseen,
        StatusItem::HighestModSeq,
        StatusItem::Size,
        StatusItem::Deleted,
    ];
}

/// FETCH, UID FETCH (RFC 9051 §6.4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Which messages.
    pub set: Set,
    /// `set` counts UIDs; then `items` has [`FetchItem::Uid`] for certain.
    pub uid: bool,
    /// What of them: macros expanded, no duplicates, at least one.
    pub items: Vec<FetchItem>,
    /// Only messages changed after this MODSEQ (RFC 7162 §3.1.4.1); then `items` has [`FetchItem::ModSeq`].
    pub changed_since: Option<u64>,
}

impl Fetch {
    /// True if the command sets `\Seen`: some item is a body section without `.PEEK`.
    #[must_use]
    pub fn sets_seen(&self) -> bool {
        self.items.iter().any(|i| matches!(i, FetchItem::Section(s) if !s.peek))
    }
}

/// One thing to tell of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    /// `FLAGS`
    Flags,
    /// `UID`
    Uid,
    /// `MODSEQ` (RFC 7162 §3.1.4.2)
    ModSeq,
    /// `RFC822.SIZE`
    Size,
    /// `INTERNALDATE`
    InternalDate,
    /// `ENVELOPE`
    Envelope,
    /// `BODY`: the structure without extension data.
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `BODY[…]<…>`, `BODY.PEEK[…]<…>`, `RFC822`, `RFC822.HEADER`, `RFC822.TEXT`
    Section(Box<Section>),
}

/// Octets of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Part numbers, each at least 1; empty for the message itself.
    pub part: SmallVec<[u32; 4]>,
    /// What of that part.
    pub text: SectionText,
    /// Only these octets of it.
    pub partial: Option<Partial>,
    /// Do not set `\Seen`.
    pub peek: bool,
    /// How the answer names it.
    pub label: Label,
}

/// What of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// All: header and text of the message, or the content of a part.
    Whole,
    /// `HEADER` of a message (outermost or message/rfc822 part).
    Header,
    /// `HEADER.FIELDS` or `HEADER.FIELDS.NOT`.
    HeaderFields {
        /// Names as asked, in any case.
        names: Vec<Box<str>>,
        /// All but these.
        not: bool,
    },
    /// `TEXT` of a message.
    Text,
    /// `MIME` header of a part; then `part` is not empty.
    Mime,
}

/// `<offset.count>`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// First octet, from 0.
    pub offset: u32,
    /// At most so many octets, at least 1.
    pub count: u32,
}

impl Partial {
    /// The octets meant, of `len` there are: start and length. Empty past the end (A115).
    #[must_use]
    pub fn cut(self, len: u64) -> (u64, u64) {
        let start = u64::from(self.offset).min(len);
        (start, u64::from(self.count).min(len - start))
    }
}

/// The item's name in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// `BODY[…]`
    Body,
    /// `RFC822`
    Rfc822,
    /// `RFC822.HEADER`
    Rfc822Header,
    /// `RFC822.TEXT`
    Rfc822Text,
}

/// Flags as a client names them. The bits are those of `ringpost_storage::Flags`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagList {
    /// System flags.
    pub bits: u32,
    /// Keywords as spelt, sorted, without duplicates (also by case).
    pub keywords: Vec<Box<str>>,
}

impl FlagList {
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
    /// The system flags with their names.
    pub const SYSTEM: [(u32, &'static str); 5] = [
        (Self::ANSWERED, "\\Answered"),
        (Self::FLAGGED, "\\Flagged"),
        (Self::DELETED, "\\Deleted"),
        (Self::SEEN, "\\Seen"),
        (Self::DRAFT, "\\Draft"),
    ];
}

/// STORE, UID STORE (RFC 9051 §6.4.6). Never asked of a read-only mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Which messages.
    pub set: Set,
    /// `set` counts UIDs; then told flags come with the UID.
    pub uid: bool,
    /// How.
    pub how: StoreHow,
    /// Do not tell the new flags.
    pub silent: bool,
    /// What.
    pub flags: FlagList,
    /// Messages changed after this MODSEQ are left alone (RFC 7162 §3.1.3).
    pub unchanged_since: Option<u64>,
}

/// How flags change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreHow {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// EXPUNGE, UID EXPUNGE (RFC 9051 §6.4.3, §6.4.9). Never asked of a read-only mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expunge {
    /// Only these UIDs.
    pub uids: Option<Set>,
}

/// COPY, UID COPY, MOVE, UID MOVE (RFC 9051 §6.4.7, §6.4.8). A move is never asked of a read-only mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Which messages.
    pub set: Set,
    /// `set` counts UIDs.
    pub uid: bool,
    /// Into which mailbox.
    pub to: Name,
    /// They leave the selected mailbox.
    pub moves: bool,
}

/// APPEND up to its first message (RFC 9051 §6.3.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Into which mailbox.
    pub mailbox: Name,
    /// What comes.
    pub message: Announced,
}

/// A message that a client is about to send. One APPEND may have several (RFC 3502).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Octets announced. Line ends made canonical may add to them.
    pub size: u64,
    /// Flags to begin with.
    pub flags: FlagList,
    /// INTERNALDATE, milliseconds since 1970; without one: now.
    pub internal_ms: Option<i64>,
}

/// SEARCH, UID SEARCH (RFC 9051 §6.4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Tell UIDs.
    pub uid: bool,
    /// Some key is [`SearchKey::ModSeq`]: the answer tells the highest MODSEQ found (RFC 7162 §3.1.5).
    pub modseq: bool,
    /// All of these must hold; at least one.
    pub keys: Vec<SearchKey>,
}

/// One criterion. Nested at most [`IMAP_NESTING_MAX`](crate::limits::IMAP_NESTING_MAX) deep. Days are counted
/// from 1970-01-01 and compared without regard to time and zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    /// Every message.
    All,
    /// All of these system flags are set, or (`false`) the one named is not.
    Flag(u32, bool),
    /// `\Recent` is set. `NEW` and `OLD` are spelt with it.
    Recent,
    /// The keyword is set, or (`false`) is not. Case does not count.
    Keyword(Box<str>, bool),
    /// INTERNALDATE is earlier than this day.
    Before(i32),
    /// INTERNALDATE is on this day.
    On(i32),
    /// INTERNALDATE is on this day or later.
    Since(i32),
    /// The Date field is earlier than this day.
    SentBefore(i32),
    /// The Date field is on this day.
    SentOn(i32),
    /// The Date field is on this day or later.
    SentSince(i32),
    /// RFC822.SIZE is larger.
    Larger(u64),
    /// RFC822.SIZE is smaller.
    Smaller(u64),
    /// A field of this name has the text in it; an empty text: the field is there. Also FROM, TO, CC, BCC, SUBJECT.
    Header(Box<str>, Box<str>),
    /// The text of the body has it.
    Body(Box<str>),
    /// The header or the text of the body has it.
    Text(Box<str>),
    /// Its MODSEQ is at least this.
    ModSeq(u64),
    /// Its UID is one of these.
    Uid(Set),
    /// Its sequence number is one of these.
    Sequence(Set),
    /// This does not hold.
    Not(Box<SearchKey>),
    /// One of the two holds.
    Or(Box<SearchKey>, Box<SearchKey>),
    /// All of these hold.
    And(Vec<SearchKey>),
}
