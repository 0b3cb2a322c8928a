//! What EHLO offers: one row per keyword (RFC 5321 §4.1.1.1).

use super::Config;
use super::reply::{clean, number};

/// A service extension as EHLO lists it.
struct Keyword {
    name: &'static str,
    when: When,
    /// Writes what follows the name, with its leading space.
    parameter: Option<fn(&Config, &mut Vec<u8>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// A handshake can be had.
    StartTls,
    /// A password may be given.
    Login,
}

/// What can be had on this connection as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offers {
    /// STARTTLS.
    pub(super) starttls: bool,
    /// AUTH.
    pub(super) auth: bool,
}

const fn always(name: &'static str) -> Keyword {
    Keyword { name, when: When::Always, parameter: None }
}

/// In the order they are said. The last of them is always offered.
const KEYWORDS: &[Keyword] = &[
    always("PIPELINING"),                                                     // RFC 2920
    Keyword { name: "SIZE", when: When::Always, parameter: Some(size) },      // RFC 1870
    always("8BITMIME"),                                                       // RFC 6152
    always("ENHANCEDSTATUSCODES"),                                            // RFC 2034
    Keyword { name: "STARTTLS", when: When::StartTls, parameter: None },      // RFC 3207
    Keyword { name: "AUTH", when: When::Login, parameter: Some(mechanisms) }, // RFC 4954
    always("HELP"),                                                           // RFC 5321 §4.1.1.8
];

/// The reply to EHLO. It carries no enhanced codes (RFC 2034 §3).
pub(super) fn say_ehlo(config: &Config, offers: Offers, out: &mut Vec<u8>) {
    out.extend_from_slice(b"250-");
    clean(out, &config.hostname);
    let offered = |keyword: &&Keyword| match keyword.when {
        When::Always => true,
        When::StartTls => offers.starttls,
        When::Login => offers.auth,
    };
    let mut keywords = KEYWORDS.iter().filter(offered).peekable();
    while let Some(keyword) = keywords.next() {
        out.extend_from_slice(if keywords.peek().is_none() { b"\r\n250 " } else { b"\r\n250-" });
        out.extend_from_slice(keyword.name.as_bytes());
        if let Some(parameter) = keyword.parameter {
            parameter(config, out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn size(config: &Config, out: &mut Vec<u8>) {
    out.push(b' ');
    number(out, config.message_bytes_max);
}

fn mechanisms(_: &Config, out: &mut Vec<u8>) {
    out.extend_from_slice(b" PLAIN LOGIN");
}
