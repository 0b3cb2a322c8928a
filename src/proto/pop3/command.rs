//! POP3's commands: one table, and the parser of one line.
//!
//! A command is added by adding a row here, a variant of [`Verb`] and an arm in `session`. The capability list is made from the
//! second table, so nothing is announced that is not in a table.

/// A command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Capa,
    User,
    Pass,
    Auth,
    Stls,
    Quit,
    Stat,
    List,
    Uidl,
    Retr,
    Top,
    Dele,
    Rset,
    Noop,
}

/// When a command may be given (RFC 1939 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    Authorization,
    Transaction,
}

/// What follows the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    /// Everything after one space, verbatim.
    Text,
    TextOrNothing,
    Number,
    NumberOrNothing,
    TwoNumbers,
}

struct Row {
    name: &'static str,
    verb: Verb,
    when: When,
    takes: Takes,
}

const fn row(name: &'static str, verb: Verb, when: When, takes: Takes) -> Row {
    Row { name, verb, when, takes }
}

const TABLE: &[Row] = &[
    row("CAPA", Verb::Capa, When::Always, Takes::Nothing),
    row("USER", Verb::User, When::Authorization, Takes::Text),
    row("PASS", Verb::Pass, When::Authorization, Takes::Text),
    row("AUTH", Verb::Auth, When::Authorization, Takes::TextOrNothing), // RFC 5034
    row("STLS", Verb::Stls, When::Authorization, Takes::Nothing),       // RFC 2595 §4
    row("QUIT", Verb::Quit, When::Always, Takes::Nothing),
    row("STAT", Verb::Stat, When::Transaction, Takes::Nothing),
    row("LIST", Verb::List, When::Transaction, Takes::NumberOrNothing),
    row("UIDL", Verb::Uidl, When::Transaction, Takes::NumberOrNothing),
    row("RETR", Verb::Retr, When::Transaction, Takes::Number),
    row("TOP", Verb::Top, When::Transaction, Takes::TwoNumbers),
    row("DELE", Verb::Dele, When::Transaction, Takes::Number),
    row("RSET", Verb::Rset, When::Transaction, Takes::Nothing),
    row("NOOP", Verb::Noop, When::Transaction, Takes::Nothing),
];

/// When a capability is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    Always,
    /// Where a password may be given (A143).
    Password,
    /// The same, with its mechanisms behind it.
    Sasl,
    /// Where a handshake can be had.
    Stls,
}

/// What CAPA says (RFC 2449 §6, RFC 3206, RFC 2595 §4, RFC 5034 §6).
pub(super) const CAPABILITIES: &[(&str, Offered)] = &[
    ("TOP", Offered::Always),
    ("UIDL", Offered::Always),
    ("RESP-CODES", Offered::Always),
    ("AUTH-RESP-CODE", Offered::Always),
    ("PIPELINING", Offered::Always),
    ("STLS", Offered::Stls),
    ("USER", Offered::Password),
    ("SASL", Offered::Sasl),
    ("IMPLEMENTATION Ringpost", Offered::Always),
];

/// One command, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command<'a> {
    pub verb: Verb,
    pub when: When,
    /// The text of USER, PASS and AUTH.
    pub text: &'a [u8],
    /// The numbers of the others, in order.
    pub first: Option<u64>,
    pub second: Option<u64>,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Unknown,
    Arguments,
}

impl Bad {
    pub(super) fn text(self) -> &'static [u8] {
        match self {
            Bad::Unknown => b"-ERR unknown command\r\n",
            Bad::Arguments => b"-ERR wrong arguments\r\n",
        }
    }
}

/// Reads a line without its CRLF.
pub(super) fn parse(line: &[u8]) -> Result<Command<'_>, Bad> {
    let space = memchr::memchr(b' ', line);
    let name = &line[..space.unwrap_or(line.len())];
    let rest = space.map(|at| &line[at + 1..]);
    let row = TABLE.iter().find(|r| r.name.as_bytes().eq_ignore_ascii_case(name)).ok_or(Bad::Unknown)?;
    let mut command = Command { verb: row.verb, when: row.when, text: b"", first: None, second: None };
    if matches!(row.takes, Takes::Text | Takes::TextOrNothing) {
        command.text = rest.unwrap_or(b"");
        let fits = row.takes == Takes::TextOrNothing || !command.text.is_empty();
        return fits.then_some(command).ok_or(Bad::Arguments);
    }
    let mut numbers = rest.unwrap_or(b"").split(|b| *b == b' ').filter(|word| !word.is_empty()).map(number);
    let first = numbers.next().transpose()?;
    let second = numbers.next().transpose()?;
    let fits = match row.takes {
        Takes::Text | Takes::TextOrNothing | Takes::Nothing => first.is_none(),
        Takes::Number => first.is_some() && second.is_none(),
        Takes::NumberOrNothing => second.is_none(),
        Takes::TwoNumbers => second.is_some(),
    };
    if !fits || numbers.next().is_some() {
        return Err(Bad::Arguments);
    }
    Ok(Command { first, second, ..command })
}

/// Digits only: no sign, no overflow (A138).
fn number(word: &[u8]) -> Result<u64, Bad> {
    word.iter()
        .try_fold(0u64, |n, b| {
            let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
            n.checked_mul(10)?.checked_add(digit)
        })
        .ok_or(Bad::Arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(line: &str) -> Result<(Option<u64>, Option<u64>), Bad> {
        parse(line.as_bytes()).map(|c| (c.first, c.second))
    }

    #[test]
    fn commands_are_read_in_any_case() {
        assert_eq!(parse(b"rEtR 7").unwrap().verb, Verb::Retr);
        assert_eq!(numbers("TOP 1 0"), Ok((Some(1), Some(0))));
        assert_eq!(numbers("LIST"), Ok((None, None)));
        assert_eq!(numbers("LIST "), Ok((None, None)));
        assert_eq!(parse(b"PASS  two  spaces ").unwrap().text, b" two  spaces ");
    }

    #[test]
    fn a138_numbers_that_are_none_are_refused() {
        for line in ["RETR", "RETR -1", "RETR +1", "RETR 1x", "RETR 1 2", "TOP 1", "TOP 1 -1", "TOP 1 2 3", "STAT 1"] {
            assert_eq!(numbers(line), Err(Bad::Arguments), "{line}");
        }
        assert_eq!(numbers("RETR 18446744073709551616"), Err(Bad::Arguments));
        assert_eq!(numbers("RETR 18446744073709551615"), Ok((Some(u64::MAX), None)));
    }

    #[test]
    fn names_are_whole_words() {
        for line in ["", " ", "RET 1", "RETRO 1", "USERalice", "XTND", "APOP a b"] {
            assert_eq!(numbers(line), Err(Bad::Unknown), "{line}");
        }
        assert_eq!(numbers("USER"), Err(Bad::Arguments));
        assert_eq!(numbers("PASS "), Err(Bad::Arguments));
    }
}
