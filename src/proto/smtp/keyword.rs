//! What EHLO offers: one row per extension (RFC 5321 §4.1.1.1), in the order they are said.
//!
//! A row says to whom the extension is offered, when, with which parameter, and who keeps the promise. Nothing is offered that
//! nobody keeps: the rows of the queue stand here so that their parameters are known, and wait for it. Each row that is offered
//! has a transcript, `tests/transcripts/smtp/ehlo-KEYWORD.txt`, which a build with the feature `bugs` takes the row's handler away
//! from: it must fail then.
//!
//! BINARYMIME (RFC 3030 §3) is not offered and will not be: what is stored here has lines, and every line ends with CRLF.
//! *Liberty*: LIMITS says nothing of MAILMAX, because a connection may carry any number of messages.

use super::reply::{clean, number};
use super::xclient::NAMES;
use super::{Config, Role};
use crate::bugs;
use crate::proto::sasl;

/// A service extension.
#[derive(Debug)]
pub(super) struct Extension {
    pub(super) keyword: &'static str,
    /// Where it comes from: the number of the RFC; 0 if it is no standard's.
    pub(super) rfc: u16,
    /// Who may be offered it.
    pub(super) roles: &'static [Role],
    when: When,
    /// Writes what follows the keyword, with its leading space.
    parameter: Option<fn(&Config, Offers, &mut Vec<u8>)>,
    pub(super) handler: Handler,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// A handshake can be had.
    StartTls,
    /// A password may be given.
    Login,
    /// This peer may say whose connection it is.
    Neighbour,
    /// The queue honours it.
    Queue,
}

/// Who keeps the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handler {
    /// A row of the command table.
    Command(&'static str),
    /// A parameter of MAIL.
    Parameter(&'static str),
    /// The session takes one command after the other from what has come (RFC 2920 §3.2).
    Pipelining,
    /// Each reply is written with its code.
    Codes,
    /// RCPT holds the bounds.
    Limits,
    /// Nobody yet: the queue will.
    Queue,
}

/// What can be had on this connection as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offers {
    /// STARTTLS.
    pub(super) starttls: bool,
    /// AUTH.
    pub(super) auth: bool,
    /// The keys of SCRAM, and what it can bind to.
    pub(super) login: sasl::Offer,
}

const ALL: &[Role] = &[Role::Mx, Role::Submission, Role::Lmtp];
const USERS: &[Role] = &[Role::Submission];
const HOSTS_AND_USERS: &[Role] = &[Role::Mx, Role::Submission];

const fn row(keyword: &'static str, rfc: u16, handler: Handler) -> Extension {
    Extension { keyword, rfc, roles: ALL, when: When::Always, parameter: None, handler }
}

const fn queued(keyword: &'static str, rfc: u16, roles: &'static [Role]) -> Extension {
    Extension { roles, when: When::Queue, ..row(keyword, rfc, Handler::Queue) }
}

/// The last of them is always offered.
pub(super) const EXTENSIONS: &[Extension] = &[
    row("PIPELINING", 2920, Handler::Pipelining),
    Extension { parameter: Some(size), ..row("SIZE", 1870, Handler::Parameter("SIZE")) },
    row("8BITMIME", 6152, Handler::Parameter("BODY")),
    row("CHUNKING", 3030, Handler::Command("BDAT")),
    row("SMTPUTF8", 6531, Handler::Parameter("SMTPUTF8")),
    row("ENHANCEDSTATUSCODES", 2034, Handler::Codes),
    Extension { when: When::StartTls, ..row("STARTTLS", 3207, Handler::Command("STARTTLS")) },
    Extension {
        roles: USERS,
        when: When::Login,
        parameter: Some(mechanisms),
        ..row("AUTH", 4954, Handler::Command("AUTH"))
    },
    Extension {
        when: When::Neighbour,
        parameter: Some(client_facts),
        ..row("XCLIENT", 0, Handler::Command("XCLIENT"))
    },
    queued("DSN", 3461, ALL),
    queued("REQUIRETLS", 8689, HOSTS_AND_USERS),
    queued("DELIVERBY", 2852, HOSTS_AND_USERS),
    queued("FUTURERELEASE", 4865, USERS),
    queued("MT-PRIORITY", 6710, USERS),
    Extension { parameter: Some(bounds), ..row("LIMITS", 9422, Handler::Limits) },
    row("HELP", 5321, Handler::Command("HELP")),
];

/// What is offered to somebody now: keywords, and the numbers of the RFCs they come from, 0 where it is no standard's.
pub fn extensions() -> impl Iterator<Item = (&'static str, u16)> {
    EXTENSIONS.iter().filter(|row| row.when != When::Queue).map(|row| (row.keyword, row.rfc))
}

/// The reply to EHLO and LHLO. It carries no enhanced codes (RFC 2034 §3).
pub(super) fn say_ehlo(config: &Config, offers: Offers, out: &mut Vec<u8>) {
    out.extend_from_slice(b"250-");
    clean(out, &config.hostname);
    let mut rows = EXTENSIONS.iter().filter(|row| is_offered(row, config, offers)).peekable();
    while let Some(row) = rows.next() {
        out.extend_from_slice(if rows.peek().is_none() { b"\r\n250 " } else { b"\r\n250-" });
        out.extend_from_slice(row.keyword.as_bytes());
        if let Some(parameter) = row.parameter {
            parameter(config, offers, out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn is_offered(row: &Extension, config: &Config, offers: Offers) -> bool {
    let now = match row.when {
        When::Always => true,
        When::StartTls => offers.starttls,
        When::Login => offers.auth,
        When::Neighbour => config.xclient,
        When::Queue => config.queue_honours,
    };
    now && row.roles.contains(&config.role)
}

/// True if this handler was taken out, to see a transcript fail. Never so in a build without the feature `bugs`.
pub(super) fn is_out(handler: Handler) -> bool {
    let out = |keyword| EXTENSIONS.iter().any(|row| row.keyword == keyword && row.handler == handler);
    bugs::extension_out().is_some_and(out)
}

fn size(config: &Config, _: Offers, out: &mut Vec<u8>) {
    out.push(b' ');
    number(out, config.message_bytes_max);
}

fn mechanisms(_: &Config, offers: Offers, out: &mut Vec<u8>) {
    sasl::write_offered(out, offers.login, " ");
}

fn client_facts(_: &Config, _: Offers, out: &mut Vec<u8>) {
    for name in NAMES {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
}

/// RFC 9422 §4.
fn bounds(config: &Config, _: Offers, out: &mut Vec<u8>) {
    out.extend_from_slice(b" RCPTMAX=");
    number(out, config.role.recipients_max() as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::smtp::{command, param};

    fn offers(starttls: bool, auth: bool) -> Offers {
        let login = sasl::Offer {
            speaker: sasl::Speaker::Smtp,
            private: auth,
            keys: false,
            binds: false,
            allowed: sasl::Allowed::ALL,
        };
        Offers { starttls, auth, login }
    }

    fn said(role: Role, offers: Offers, queue_honours: bool) -> Vec<String> {
        let mut out = Vec::new();
        say_ehlo(&Config { role, queue_honours, ..Config::default() }, offers, &mut out);
        let text = String::from_utf8(out).expect("ASCII");
        let lines: Vec<&str> = text.strip_suffix("\r\n").expect("whole lines").split("\r\n").collect();
        let (last, others) = lines.split_last().expect("a line");
        assert!(last.starts_with("250 ") && others.iter().all(|line| line.starts_with("250-")), "{text}");
        lines[1..].iter().map(|line| line[4..].split(' ').next().expect("a word").to_owned()).collect()
    }

    #[test]
    fn every_handler_is_there_and_every_row_is_offered_to_somebody_by_an_rfc_that_we_cite() {
        let index = include_str!("../../../tests/rfc/index.tsv");
        for row in EXTENSIONS {
            match row.handler {
                Handler::Command(verb) => assert!(command::COMMANDS.iter().any(|c| c.verb == verb), "{verb}"),
                Handler::Parameter(keyword) => {
                    let unknown = param::mail(format!(" {keyword}=?").as_bytes(), 9, false);
                    assert_eq!(
                        unknown,
                        Err(super::super::Word::BadParameter),
                        "{keyword} is known and `?` no value of it"
                    );
                }
                Handler::Pipelining | Handler::Codes | Handler::Limits => {}
                Handler::Queue => assert_eq!(row.when, When::Queue),
            }
            assert!(!row.roles.is_empty(), "{}", row.keyword);
            let cited = row.rfc == 0 || index.lines().any(|line| line.split('\t').next() == Some(&row.rfc.to_string()));
            assert!(cited, "RFC {} of {}", row.rfc, row.keyword);
        }
    }

    #[test]
    fn what_the_queue_must_honour_is_offered_when_it_does() {
        let offers = offers(true, true);
        let waiting = ["DSN", "REQUIRETLS", "DELIVERBY", "FUTURERELEASE", "MT-PRIORITY"];
        for role in [Role::Mx, Role::Submission, Role::Lmtp] {
            assert!(!said(role, offers, false).iter().any(|keyword| waiting.contains(&keyword.as_str())));
        }
        let later = said(Role::Submission, offers, true);
        assert!(waiting.iter().all(|keyword| later.iter().any(|said| said == keyword)), "{later:?}");
        assert!(!said(Role::Lmtp, offers, true).contains(&"REQUIRETLS".to_owned()));
    }

    #[test]
    fn a_handshake_and_a_login_are_offered_where_they_can_be_had() {
        for (role, starttls, auth, shown) in [
            (Role::Mx, true, true, (true, false)),
            (Role::Submission, true, false, (true, false)),
            (Role::Submission, false, true, (false, true)),
        ] {
            let words = said(role, offers(starttls, auth), false);
            let has = |keyword: &str| words.iter().any(|word| word == keyword);
            assert_eq!((has("STARTTLS"), has("AUTH")), shown, "{words:?}");
            assert!(!has("BINARYMIME"), "A042");
        }
    }
}
