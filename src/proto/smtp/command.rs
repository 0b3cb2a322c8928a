//! What is heard: the table of commands, one row each, and how a line finds its row.
//!
//! Rows stand in the order of use, because they are tried in order for every line.

use super::Ask;
use super::session::Session;
use crate::proto::contract::Out;

/// A command as the session knows it.
pub(super) struct Command {
    /// Upper case. The client may use any.
    pub(super) verb: &'static str,
    pub(super) argument: Argument,
    /// Accepts no mail by itself and counts against
    /// [`SMTP_IDLE_COMMANDS_MAX`](crate::limits::SMTP_IDLE_COMMANDS_MAX).
    pub(super) idle: bool,
    /// Our own users must have logged in before (A013).
    pub(super) needs_login: bool,
    /// Carries it out. The argument comes without spaces around it.
    pub(super) run: fn(&mut Session, &[u8], &mut Out<Ask>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    No,
    May,
    Must,
}

const fn row(verb: &'static str, argument: Argument, run: fn(&mut Session, &[u8], &mut Out<Ask>)) -> Command {
    Command { verb, argument, idle: false, needs_login: false, run }
}

const fn idle(verb: &'static str, argument: Argument, run: fn(&mut Session, &[u8], &mut Out<Ask>)) -> Command {
    Command { verb, argument, idle: true, needs_login: false, run }
}

const fn after_login(command: Command) -> Command {
    Command { needs_login: true, ..command }
}

const fn unoffered(verb: &'static str) -> Command {
    row(verb, Argument::May, Session::not_implemented)
}

const fn foreign(verb: &'static str) -> Command {
    row(verb, Argument::May, Session::not_mail)
}

/// RFC 5321 §4.1.1 unless a row says otherwise.
pub(super) const COMMANDS: &[Command] = &[
    after_login(row("RCPT", Argument::Must, Session::rcpt)),
    after_login(row("MAIL", Argument::Must, Session::mail)),
    after_login(row("DATA", Argument::No, Session::data)),
    // RFC 3030 §2. What is wrong with it or comes too soon is said by itself: its octets follow in any case.
    row("BDAT", Argument::May, Session::bdat),
    row("QUIT", Argument::No, Session::quit),
    idle("EHLO", Argument::Must, Session::ehlo),
    idle("LHLO", Argument::Must, Session::lhlo), // RFC 2033 §4.1
    idle("RSET", Argument::No, Session::rset),
    idle("NOOP", Argument::May, Session::noop),
    idle("HELO", Argument::Must, Session::helo),
    after_login(idle("VRFY", Argument::Must, Session::vrfy)),
    idle("HELP", Argument::May, Session::help),
    unoffered("EXPN"),
    idle("STARTTLS", Argument::No, Session::starttls), // RFC 3207
    idle("AUTH", Argument::Must, Session::auth),       // RFC 4954
    unoffered("ETRN"),                                 // RFC 1985
    unoffered("TURN"),                                 // RFC 5321 appendix F.1
    unoffered("SEND"),                                 // RFC 5321 appendix F.6
    unoffered("SOML"),
    unoffered("SAML"),
    row("XCLIENT", Argument::May, Session::xclient),
    unoffered("XFORWARD"),
    // No mail client says these: a browser or a confused proxy does, and what follows was written by somebody else.
    foreign("GET"),
    foreign("POST"),
    foreign("CONNECT"),
    foreign("HEAD"),
    foreign("PUT"),
    foreign("OPTIONS"),
    foreign("DELETE"),
    foreign("PATCH"),
    foreign("TRACE"),
    foreign("HOST:"),
    foreign("USER-AGENT:"),
    // A balancer that is not listed, or somebody who would like to be one (A062).
    foreign("PROXY"),
];

/// Finds the row of a line and its argument. `None`: no such command.
pub(super) fn find(line: &[u8]) -> Option<(&'static Command, &[u8])> {
    let (verb, argument) = match memchr::memchr(b' ', line) {
        Some(space) => (&line[..space], trim_blanks(&line[space..])),
        None => (line, &[][..]),
    };
    let command = COMMANDS.iter().find(|command| verb.eq_ignore_ascii_case(command.verb.as_bytes()))?;
    Some((command, argument))
}

/// Without the spaces and tabs around it. Other white space is part of a command's argument, and makes it none.
pub(super) fn trim_blanks(text: &[u8]) -> &[u8] {
    let is_word = |octet: &u8| !matches!(octet, b' ' | b'\t');
    let start = text.iter().position(is_word).unwrap_or(text.len());
    let end = text.iter().rposition(is_word).map_or(start, |last| last + 1);
    &text[start..end]
}
