//! LIST patterns: `*` matches anything, `%` anything but the separator `/` (RFC 9051 §6.3.9).
//!
//! Matching walks the name once and keeps the set of pattern positions that may come next, so it costs at most
//! name × pattern whatever the pattern is made of (A117); runs of wildcards are collapsed first.

use std::fmt;

use super::name::{NAME_BYTES_MAX, Refused, decode};

/// A pattern, its reference joined to it, in UTF-8.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern(Box<[Step]>);

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = self
            .0
            .iter()
            .map(|step| match step {
                Step::Byte(byte) => *byte,
                Step::Level => b'%',
                Step::Any => b'*',
            })
            .collect();
        fmt::Debug::fmt(&String::from_utf8_lossy(&bytes), f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Byte(u8),
    /// `%`
    Level,
    /// `*`
    Any,
}

impl Pattern {
    /// Reads a reference and a pattern as they stand on the wire, each in modified UTF-7.
    ///
    /// # Errors
    /// Malformed UTF-7, control characters, or longer than two names: nothing could match.
    pub fn parse(reference: &[u8], pattern: &[u8]) -> Result<Pattern, Refused> {
        if reference.len() + pattern.len() > 2 * NAME_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        // Each is spelt for itself: joined on the wire, two shifts in a row would be no spelling.
        let text = decode(reference)? + &decode(pattern)?;
        let mut steps = Vec::with_capacity(text.len());
        for byte in text.bytes() {
            let step = match byte {
                b'*' => Step::Any,
                b'%' => Step::Level,
                _ => Step::Byte(byte),
            };
            match (steps.last(), step) {
                (Some(Step::Any), Step::Any | Step::Level) | (Some(Step::Level), Step::Level) => {}
                (Some(Step::Level), Step::Any) => *steps.last_mut().expect("just seen") = Step::Any,
                _ => steps.push(step),
            }
        }
        Ok(Pattern(steps.into()))
    }

    /// The most that [`Pattern::matches`] does for a name of so many octets, in octets compared.
    #[must_use]
    pub fn work(&self, name_bytes: usize) -> u64 {
        if *self.0 == [Step::Any] { 1 } else { ((self.0.len() + 1) * (name_bytes + 1)) as u64 }
    }

    /// True if the name (UTF-8) matches whole. INBOX is the one name whose case does not count, alone and as first level
    /// (RFC 9051 §5.1).
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let steps = &self.0;
        if **steps == [Step::Any] {
            return true;
        }
        // Names are kept with INBOX in capitals.
        let anycase = if name == "INBOX" || name.starts_with("INBOX/") { "INBOX".len() } else { 0 };
        let mut now = vec![false; steps.len() + 1];
        let mut next = vec![false; steps.len() + 1];
        reach(steps, &mut now, 0);
        for (n, byte) in name.bytes().enumerate() {
            next.fill(false);
            let mut alive = false;
            for (at, step) in steps.iter().enumerate() {
                if !now[at] {
                    continue;
                }
                let to = match step {
                    Step::Byte(b) if *b == byte || (n < anycase && b.eq_ignore_ascii_case(&byte)) => at + 1,
                    Step::Any => at,
                    Step::Level if byte != b'/' => at,
                    _ => continue,
                };
                reach(steps, &mut next, to);
                alive = true;
            }
            if !alive {
                return false;
            }
            std::mem::swap(&mut now, &mut next);
        }
        now[steps.len()]
    }
}

/// Marks a position and, as a wildcard may match nothing, those after it.
fn reach(steps: &[Step], set: &mut [bool], mut at: usize) {
    loop {
        set[at] = true;
        if matches!(steps.get(at), Some(Step::Any | Step::Level)) {
            at += 1;
        } else {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::parse(b"", pattern.as_bytes()).expect("a pattern").matches(name)
    }

    #[test]
    fn star_crosses_levels_and_percent_does_not() {
        assert!(matches("*", "a/b/c"));
        assert!(matches("%", "a"));
        assert!(!matches("%", "a/b"));
        assert!(matches("%/%", "a/b"));
        assert!(matches("a/%", "a/b"));
        assert!(!matches("a/%", "a"));
        assert!(matches("a*", "a"));
        assert!(matches("*b/%", "a/b/c"));
        assert!(!matches("", "a"));
        assert!(matches("%*", "a/b"));
        assert!(matches("a%c*e", "abbc/d/e"));
        assert!(!matches("a%c*e", "ab/c/d/e"));
    }

    #[test]
    fn inbox_matches_in_any_case() {
        assert!(matches("inbox", "INBOX"));
        assert!(matches("Inbox*", "INBOX"));
        assert!(matches("iNBOX/%", "INBOX/a"));
        assert!(matches("i*x", "INBOX"));
        assert!(matches("*nbox/A", "INBOX/A"));
        assert!(!matches("inbox/A", "INBOX/a"));
        assert!(!matches("inboxes", "INBOXes"));
    }

    #[test]
    fn names_that_only_begin_like_inbox_are_spelt_as_they_are() {
        for pattern in ["inbox*", "inbox%", "inbox-%", "in*"] {
            assert!(matches(pattern, "inbox-old"), "{pattern}");
            assert!(!matches(pattern, "INBOX-old"), "{pattern}");
        }
        assert!(matches("inbox*", "INBOX") && matches("inbox%", "INBOX"));
        assert!(matches("INBOX*", "INBOX-old"));
        assert!(!matches("INBOX*", "inbox-old"));
    }

    #[test]
    fn a117_wildcard_runs_cost_no_more_than_name_times_pattern() {
        let pattern = "%*".repeat(500) + "x";
        assert_eq!(Pattern::parse(b"", pattern.as_bytes()).expect("a pattern").0.len(), 2);
        let pattern = "*a".repeat(500) + "x";
        assert!(!matches(&pattern, &"a".repeat(1_000)));
    }

    #[test]
    fn patterns_are_in_modified_utf7() {
        assert!(matches("&AOQ-*", "ärger"));
        assert!(Pattern::parse(b"", b"&AOQ").is_err());
        assert!(Pattern::parse(b"&AOQ-", b"&APw-/%").expect("a pattern").matches("äü/x"));
        assert!(matches("ärger", "ärger"), "as clients write it that know no other");
    }
}
