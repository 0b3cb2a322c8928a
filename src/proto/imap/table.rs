//! Every command: one row here, one function in `parse/`, one answer in `serve/imap`.

use super::ask::Ask;
use super::command::Command;
use super::cursor::{Cursor, is_astring};
use super::parse;
use super::refusal::Refusal;

/// Where a command may be given; bits of [`Row::states`].
pub mod states {
    /// Before login.
    pub const NOT_AUTHENTICATED: u8 = 1;
    /// After login, nothing selected.
    pub const AUTHENTICATED: u8 = 2;
    /// A mailbox is selected.
    pub const SELECTED: u8 = 4;
    /// After login.
    pub const LOGGED_IN: u8 = AUTHENTICATED | SELECTED;
    /// Always.
    pub const ANY: u8 = NOT_AUTHENTICATED | LOGGED_IN;
}
use states::{ANY, LOGGED_IN, NOT_AUTHENTICATED, SELECTED};

/// What is special about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Nothing.
    Plain,
    /// It carries a password.
    Secret,
    /// It changes messages of the selected mailbox.
    Writes,
    /// It leaves the selected mailbox even when it fails (RFC 9051 §6.3.2).
    Leaves,
    /// Its last literal is a message.
    Message,
}

/// A command.
pub struct Row {
    /// Upper case; with the prefix `UID ` where it has one.
    pub name: &'static str,
    /// Where it may be given.
    pub states: u8,
    /// What is special about it.
    pub special: Special,
    /// Reads its arguments, from the space after its name.
    pub parse: fn(&mut Cursor<'_>) -> Result<Command, Refusal>,
}

const fn row(
    name: &'static str,
    states: u8,
    special: Special,
    parse: fn(&mut Cursor<'_>) -> Result<Command, Refusal>,
) -> Row {
    Row { name, states, special, parse }
}

/// All commands.
pub static TABLE: &[Row] = &[
    row("CAPABILITY", ANY, Special::Plain, |_| Ok(Command::Capability)),
    row("NOOP", ANY, Special::Plain, |_| Ok(Command::Ask(Ask::Poll))),
    row("LOGOUT", ANY, Special::Plain, |_| Ok(Command::Logout)),
    row("STARTTLS", NOT_AUTHENTICATED, Special::Plain, |_| Ok(Command::StartTls)),
    row("LOGIN", NOT_AUTHENTICATED, Special::Secret, parse::login::login),
    row("AUTHENTICATE", NOT_AUTHENTICATED, Special::Secret, parse::login::authenticate),
    row("ID", ANY, Special::Plain, parse::id::id),
    row("ENABLE", LOGGED_IN, Special::Plain, parse::enable::enable),
    row("NAMESPACE", LOGGED_IN, Special::Plain, |_| Ok(Command::Namespace)),
    row("LIST", LOGGED_IN, Special::Plain, parse::list::list),
    row("LSUB", LOGGED_IN, Special::Plain, parse::list::lsub),
    row("CREATE", LOGGED_IN, Special::Plain, parse::names::create),
    row("DELETE", LOGGED_IN, Special::Plain, parse::names::delete),
    row("RENAME", LOGGED_IN, Special::Plain, parse::names::rename),
    row("SUBSCRIBE", LOGGED_IN, Special::Plain, |c| parse::names::subscribe(c, true)),
    row("UNSUBSCRIBE", LOGGED_IN, Special::Plain, |c| parse::names::subscribe(c, false)),
    row("STATUS", LOGGED_IN, Special::Plain, parse::mailbox::status),
    row("SELECT", LOGGED_IN, Special::Leaves, |c| parse::mailbox::select(c, false)),
    row("EXAMINE", LOGGED_IN, Special::Leaves, |c| parse::mailbox::select(c, true)),
    row("APPEND", LOGGED_IN, Special::Message, parse::append::append),
    row("IDLE", LOGGED_IN, Special::Plain, |_| Ok(Command::Idle)),
    row("CHECK", SELECTED, Special::Plain, |_| Ok(Command::Ask(Ask::Poll))),
    row("CLOSE", SELECTED, Special::Plain, |_| Ok(Command::Leave { expunge: true })),
    // RFC 3691
    row("UNSELECT", SELECTED, Special::Plain, |_| Ok(Command::Leave { expunge: false })),
    row("EXPUNGE", SELECTED, Special::Writes, parse::store::expunge),
    row("FETCH", SELECTED, Special::Plain, |c| parse::fetch::fetch(c, false)),
    row("STORE", SELECTED, Special::Writes, |c| parse::store::store(c, false)),
    row("SEARCH", SELECTED, Special::Plain, |c| parse::search::search(c, false)),
    row("COPY", SELECTED, Special::Plain, |c| parse::copy::copy(c, false, false)),
    row("MOVE", SELECTED, Special::Writes, |c| parse::copy::copy(c, false, true)),
    row("UID FETCH", SELECTED, Special::Plain, |c| parse::fetch::fetch(c, true)),
    row("UID STORE", SELECTED, Special::Writes, |c| parse::store::store(c, true)),
    row("UID SEARCH", SELECTED, Special::Plain, |c| parse::search::search(c, true)),
    row("UID COPY", SELECTED, Special::Plain, |c| parse::copy::copy(c, true, false)),
    row("UID MOVE", SELECTED, Special::Writes, |c| parse::copy::copy(c, true, true)),
    row("UID EXPUNGE", SELECTED, Special::Writes, parse::store::uid_expunge),
];

/// Longest tag, octets. Longer: `* BAD`, and it is not echoed (A108).
pub const TAG_BYTES_MAX: usize = 128;

/// The beginning of a command: whose it is and what it wants.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Valid.
    pub tag: &'a [u8],
    /// Its row.
    pub row: &'static Row,
    /// Where its arguments begin.
    pub args_at: usize,
}

/// Reads tag and name.
///
/// # Errors
/// The refusal, and the tag if it is valid.
pub fn head(text: &[u8]) -> Result<Head<'_>, (Option<&[u8]>, Refusal)> {
    let Some(tag) = tag(text) else {
        return Err((None, Refusal::bad("Invalid tag")));
    };
    let name_at = tag.len() + 1;
    let word = |at: usize| text.get(at..).map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_alphabetic()).count());
    let mut args_at = name_at + word(name_at);
    if text.get(name_at..args_at).is_some_and(|n| n.eq_ignore_ascii_case(b"UID")) && text.get(args_at) == Some(&b' ') {
        args_at += 1 + word(args_at + 1);
    }
    let row = text
        .get(name_at..args_at)
        .filter(|_| matches!(text.get(args_at), None | Some(b' ')))
        .and_then(|name| TABLE.iter().find(|row| name.eq_ignore_ascii_case(row.name.as_bytes())));
    match row {
        Some(row) => Ok(Head { tag, row, args_at }),
        None => Err((Some(tag), Refusal::bad("Unknown command"))),
    }
}

/// The tag that begins a text, if a space follows it or the text ends with it.
#[must_use]
pub fn tag(text: &[u8]) -> Option<&[u8]> {
    let len = text.iter().take(TAG_BYTES_MAX + 1).take_while(|b| is_astring(**b) && **b != b'+').count();
    let ended = matches!(text.get(len), None | Some(b' '));
    ((1..=TAG_BYTES_MAX).contains(&len) && ended).then(|| &text[..len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a108_tags_are_checked_before_they_are_used() {
        assert_eq!(tag(b"a1 NOOP"), Some(&b"a1"[..]));
        assert_eq!(tag(b"A.1] X"), Some(&b"A.1]"[..]));
        for text in
            [&b"+ NOOP"[..], b"a+b NOOP", b"* NOOP", b" NOOP", b"", b"a\r NOOP", b"a(b NOOP", b"\xff NOOP", b"a\"b c"]
        {
            assert_eq!(tag(text), None, "{}", text.escape_ascii());
        }
        assert_eq!(tag(&[b'a'; 10_000]), None);
    }

    #[test]
    fn names_are_found_in_any_case() {
        let name = |text: &'static [u8]| head(text).map(|h| (h.row.name, h.args_at)).map_err(|(tag, _)| tag.is_some());
        assert_eq!(name(b"a noop"), Ok(("NOOP", 6)));
        assert_eq!(name(b"a Uid fetch 1 UID"), Ok(("UID FETCH", 11)));
        assert_eq!(name(b"a UID"), Err(true));
        assert_eq!(name(b"a UID NOOP"), Err(true));
        assert_eq!(name(b"a UID  FETCH"), Err(true));
        assert_eq!(name(b"a"), Err(true));
        assert_eq!(name(b"a "), Err(true));
        assert_eq!(name(b"a NOOP\t"), Err(true));
        assert_eq!(name(b"* NOOP"), Err(false));
    }
}
