//! What a message is made of, as values: its parts in the order they appear, and its envelope.
//!
//! The parts are a flat list in pre-order; a part names its parent by index, so depth costs no stack. Everything a
//! header field says is kept as unfolded octets, not decoded: RFC 2047 words and RFC 2231 parameters go to the client
//! as they came, which is what IMAP asks for (RFC 9051 §7.5.2).
//!
//! These types are also the disk format of [`summary`](crate::mail::summary): a change of a field here is a new
//! version there, and its golden test fails until that is said.

use std::ops::Range;

use rkyv::{Archive, Deserialize, Serialize};

/// Octets of a header field's value, unfolded, without NUL.
pub type Octets = Vec<u8>;

/// The parent of the root.
pub const NO_PARENT: u32 = u32::MAX;

/// What a part contains.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[rkyv(derive(Clone, Copy, Debug, PartialEq, Eq))]
#[repr(u8)]
pub enum Kind {
    /// Octets: text, pictures, and what is nested too deep to be looked into.
    Leaf,
    /// Other parts between boundaries.
    Multipart,
    /// A message with a header of its own: exactly one child.
    Message,
}

/// One part of a message: offsets are octets from the start of the whole message.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Index of the parent, [`NO_PARENT`] for the root.
    pub parent: u32,
    /// What it contains.
    pub kind: Kind,
    /// Where its header begins. It ends where the body begins, its blank line included.
    pub header_at: u32,
    /// Where its body begins.
    pub body_at: u32,
    /// Where its body ends, the line end before the next boundary excluded.
    pub end: u32,
    /// Lines of its body.
    pub lines: u32,
    /// What its header says of its content.
    pub content: Content,
    /// Present for the child of a `Message` part and for the root.
    pub envelope: Option<Box<Envelope>>,
}

impl Part {
    /// Its header, the blank line included.
    #[must_use]
    pub fn header(&self) -> Range<u64> {
        u64::from(self.header_at)..u64::from(self.body_at)
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> Range<u64> {
        u64::from(self.body_at)..u64::from(self.end)
    }
}

/// What a part's header says of its content (RFC 2045, 2183, 3282, 2557, 1864).
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Media type as written; `text` when the header says nothing usable.
    pub media: Octets,
    /// Subtype as written; `plain` when the header says nothing usable.
    pub subtype: Octets,
    /// Parameters in order, names as written.
    pub params: Vec<Param>,
    /// Content-ID.
    pub id: Option<Octets>,
    /// Content-Description.
    pub description: Option<Octets>,
    /// Content-Transfer-Encoding; `None` is 7bit.
    pub encoding: Option<Octets>,
    /// Content-MD5.
    pub md5: Option<Octets>,
    /// Content-Disposition.
    pub disposition: Option<Disposition>,
    /// Content-Language.
    pub language: Vec<Octets>,
    /// Content-Location.
    pub location: Option<Octets>,
}

/// A parameter of a content field.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name as written.
    pub name: Octets,
    /// Its value, quotes removed.
    pub value: Octets,
}

/// Content-Disposition (RFC 2183).
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// `attachment`, `inline`, …
    pub kind: Octets,
    /// Its parameters.
    pub params: Vec<Param>,
}

/// The envelope of RFC 9051 §7.5.2: what the header says, not what SMTP said.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Date, as written.
    pub date: Option<Octets>,
    /// Subject, not decoded.
    pub subject: Option<Octets>,
    /// From.
    pub from: Vec<Address>,
    /// Sender. Empty: the same as From.
    pub sender: Vec<Address>,
    /// Reply-To. Empty: the same as From.
    pub reply_to: Vec<Address>,
    /// To.
    pub to: Vec<Address>,
    /// Cc.
    pub cc: Vec<Address>,
    /// Bcc.
    pub bcc: Vec<Address>,
    /// In-Reply-To, as written.
    pub in_reply_to: Option<Octets>,
    /// Message-ID, as written.
    pub message_id: Option<Octets>,
}

/// One entry of an address list.
///
/// A group begins with an entry whose host is absent and whose mailbox is the group's name, and ends with one of four
/// absences.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// Display name, quotes removed.
    pub name: Option<Octets>,
    /// Obsolete source route.
    pub route: Option<Octets>,
    /// Local part, or the name of the group that begins.
    pub mailbox: Option<Octets>,
    /// Domain; empty when the writer gave none.
    pub host: Option<Octets>,
}

impl Content {
    /// True if the media type is `media`/`subtype`, whatever the case.
    #[must_use]
    pub fn is(&self, media: &str, subtype: &str) -> bool {
        self.media.eq_ignore_ascii_case(media.as_bytes()) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    /// The value of a parameter, by name in any case.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        self.params.iter().find(|p| p.name.eq_ignore_ascii_case(name.as_bytes())).map(|p| p.value.as_slice())
    }
}
