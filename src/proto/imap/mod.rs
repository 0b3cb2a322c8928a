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

pub mod ask;
pub mod command;
pub mod date;
pub mod encode_envelope;
pub mod encode_structure;
pub mod glob;
pub mod name;
pub mod response;
pub mod set;
pub mod update;

use std::time::Duration;

use crate::limits;
use crate::proto::contract::{self, Input, Out, Patience, Turn};

pub use ask::{Answer, Ask, No};
pub use command::{
    Append, Expunge, Fetch, FetchItem, FlagList, Label, Login, Partial, Search, SearchKey, Section, SectionText,
    Select, Status, StatusItem, Store, StoreHow,
};
pub use glob::Pattern;
pub use name::Name;
pub use set::Set;

/// The conversation. (Being built: it closes at once.)
pub struct Session;

/// What a session is told when it is opened.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// This peer may log in on this connection as it is.
    pub plaintext_auth_allowed: bool,
    /// Largest message, octets.
    pub message_bytes_max: u64,
}

impl Session {
    /// Opens a conversation and writes its greeting.
    #[must_use]
    pub fn open(_config: Config, out: &mut Out<Ask>) -> Session {
        out.turn = Some(Turn::Close);
        Session
    }
}

impl contract::Session for Session {
    type Ask = Ask;
    type Answer = Answer;
    const HOLD_BYTES_MAX: usize = limits::IMAP_LINE_BYTES_MAX + 2;

    fn step(&mut self, _input: Input<'_, Answer>, out: &mut Out<Ask>) -> usize {
        out.turn = Some(Turn::Close);
        0
    }

    fn patience(&self) -> Patience {
        Patience { idle: Duration::from_secs(limits::LOGIN_IDLE_S), rate_min_bytes_s: 0 }
    }
}
