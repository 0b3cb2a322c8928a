//! What the verbs about rules share: asking for them, showing addresses, and times as people write them.

use std::path::Path;

use super::{desk, say};
use crate::admin::routing::{Ask, Told};
use crate::admin::{Request, Response};

/// Carries it out, whether the server runs or not.
pub(super) fn ask(data: &Path, ask: Ask) -> Result<Told, String> {
    match desk::ask(data, Request::Routing { ask })? {
        Response::Routing { told, warning } => {
            warning.iter().for_each(|warning| eprintln!("warning: {warning}"));
            Ok(*told)
        }
        other => Err(desk::strange(&other)),
    }
}

/// What was told does not fit what was asked.
pub(super) fn strange(told: Told) -> String {
    desk::strange(&Response::Routing { told: Box::new(told), warning: None })
}

/// One line: a name, and what is said of it.
pub(super) fn line(name: &str, value: &str) {
    say(&format!("  {name:<12} {value}\n"));
}

/// Addresses in one line.
pub(super) fn joined(addresses: &[String], none: &str) -> String {
    if addresses.is_empty() { none.to_owned() } else { addresses.join(" ") }
}

/// The word that takes a rule away.
pub(super) const NONE: &str = "none";

/// Addresses as given; the word `none` alone is no address.
pub(super) fn or_none(given: Vec<String>) -> Vec<String> {
    if given == [NONE] { Vec::new() } else { given }
}

/// `30m`, `1h`, `7d`, `90s`: seconds.
pub(super) fn span(text: &str) -> Result<u64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 7 * 86_400)];
    let said = || "write a time like 90s, 30m, 1h, 7d or 2w".to_owned();
    let (unit, each) = units.into_iter().find(|(unit, _)| text.ends_with(*unit)).ok_or_else(said)?;
    let count = text.trim_end_matches(unit).parse::<u64>().ok().filter(|n| *n > 0).ok_or_else(said)?;
    count.checked_mul(each).ok_or_else(said)
}

/// Seconds for people, in the largest unit of which there is one.
pub(super) fn in_words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_their_unit() {
        for (text, s) in [("90s", 90), ("30m", 1_800), ("1h", 3_600), ("7d", 604_800), ("2w", 1_209_600)] {
            assert_eq!(span(text), Ok(s));
        }
        for bad in ["", "h", "1", "-1h", "0h", "1.5h", "1h1h", "99999999999999999999w"] {
            assert!(span(bad).is_err(), "{bad}");
        }
        assert_eq!(
            (in_words(90), in_words(7_100), in_words(100_000)),
            ("90 s".into(), "118 min".into(), "27 h".into())
        );
    }
}
