//! What EHLO offers: one row per keyword (RFC 5321 §4.1.1.1).

use super::Config;
use super::reply::{clean, number};

/// A service extension as EHLO lists it.
pub(super) struct Keyword {
    pub(super) name: &'static str,
    /// Writes what follows the name, with its leading space.
    pub(super) parameter: Option<fn(&Config, &mut Vec<u8>)>,
}

/// In the order they are said.
pub(super) const KEYWORDS: &[Keyword] = &[
    Keyword { name: "PIPELINING", parameter: None },          // RFC 2920
    Keyword { name: "SIZE", parameter: Some(size) },          // RFC 1870
    Keyword { name: "8BITMIME", parameter: None },            // RFC 6152
    Keyword { name: "ENHANCEDSTATUSCODES", parameter: None }, // RFC 2034
    Keyword { name: "HELP", parameter: None },                // RFC 5321 §4.1.1.8
];

/// The reply to EHLO. It carries no enhanced codes (RFC 2034 §3).
pub(super) fn say_ehlo(config: &Config, out: &mut Vec<u8>) {
    out.extend_from_slice(b"250-");
    clean(out, &config.hostname);
    for (n, keyword) in KEYWORDS.iter().enumerate() {
        let last = n + 1 == KEYWORDS.len();
        out.extend_from_slice(if last { b"\r\n250 " } else { b"\r\n250-" });
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
