//! IMAP4rev1 (RFC 3501, with the clarifications of RFC 9051) as a value.
//!
//! ```text
//!   bytes ─► frame (line + literals) ─► table row ─► parse/* ─► Command ─┬─► answered here
//!                                                                        └─► Ask ─► serve/imap
//!   Answer ─► tagged completion           untagged data: serve/imap, with the encoders of `response`
//! ```
//!
//! Rules:
//!
//! - A command is one row of [`table`] and one function in `parse/`. Nothing else decides what is known or allowed where.
//! - Framing comes before meaning: how many octets a command has is settled by its line ends and literal
//!   counts alone, so a refused command is skipped whole and its literals are never executed as commands.
//! - The message of an APPEND is never gathered: it passes as body pieces.
//! - Mailbox names are [`name::Name`]s, already checked and in UTF-8; on the wire they are in modified UTF-7.
//! - Deliberately absent: what a mailbox holds. The session knows that one is selected and whether it may be changed.

mod capability;
mod cursor;
mod drain;
mod frame;
mod message;
mod parse;
mod refusal;
mod session;
mod table;

pub mod ask;
pub mod command;
pub mod completion;
pub mod date;
pub mod enabled;
pub mod encode_envelope;
pub mod encode_structure;
pub mod glob;
pub mod name;
pub mod response;
pub mod set;
pub mod update;

pub use ask::{Answer, Ask, No};
pub use command::{
    Announced, Append, Copy, Create, Expunge, Fetch, FetchItem, FlagList, IdField, Label, List, ListOnly, ListTell,
    Login, Partial, Rename, Search, SearchKey, Section, SectionText, Select, SpecialUse, Status, StatusItem,
    StatusItems, Store, StoreHow,
};
pub use enabled::Enabled;
pub use glob::Pattern;
pub use name::Name;
pub use session::{Config, Session};
pub use set::Set;
