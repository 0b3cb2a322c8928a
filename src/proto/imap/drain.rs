//! Skipping the rest of a refused command: its line, and the literals the client sends without being asked to.
//!
//! A literal's octets are never looked at, so what stands in them is not executed however the command around them was
//! refused. All that is skipped for one command is bounded.

use super::frame::{MARKER_BYTES_MAX, Marker, marker};
use super::refusal::Refusal;
use crate::limits;

/// Octets of a line that decide about what follows: a marker and CRLF.
const TAIL_BYTES_MAX: usize = MARKER_BYTES_MAX + 2;

/// A refused command being skipped.
pub struct Drain {
    /// Its tag, if it is valid.
    pub tag: Option<Box<[u8]>>,
    /// What is said at its end.
    pub refusal: Refusal,
    /// Octets of the present literal still to come.
    literal_left: u64,
    /// Octets that may still be skipped.
    budget: u64,
    tail: Vec<u8>,
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// More of it is to come.
    More,
    /// The command is at its end.
    End,
    /// It has more than we skip.
    TooMuch,
}

impl Drain {
    /// From inside a line.
    #[must_use]
    pub fn line(tag: Option<Box<[u8]>>, refusal: Refusal) -> Drain {
        let budget = (limits::IMAP_LINE_BYTES_MAX + limits::JUNK_BYTES_MAX) as u64;
        Drain { tag, refusal, literal_left: 0, budget, tail: Vec::new() }
    }

    /// From the beginning of a literal. It may be a message, so the bound is that of refused messages.
    #[must_use]
    pub fn literal(tag: Option<Box<[u8]>>, refusal: Refusal, octets: u64) -> Drain {
        let budget = limits::OVERSIZE_DRAIN_BYTES_MAX;
        Drain { tag, refusal, literal_left: octets, budget, tail: Vec::new() }
    }

    /// Skips; returns the octets used, at least one.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, Drained) {
        let here = match self.literal_left {
            0 => memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1),
            left => usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len())),
        };
        if here as u64 > self.budget {
            return (here, Drained::TooMuch);
        }
        self.budget -= here as u64;
        if self.literal_left > 0 {
            self.literal_left -= here as u64;
            return (here, Drained::More);
        }
        self.tail.extend_from_slice(&bytes[here.saturating_sub(TAIL_BYTES_MAX)..here]);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..surplus);
        let Some(line) = self.tail.strip_suffix(b"\n") else { return (here, Drained::More) };
        let next = marker(line.strip_suffix(b"\r").unwrap_or(line));
        self.tail.clear();
        match next {
            // The client waits, and is told no instead.
            None | Some(Marker { sync: true, .. }) => (here, Drained::End),
            Some(Marker { octets: None, .. }) => (here, Drained::TooMuch),
            Some(Marker { octets: Some(octets), .. }) => {
                self.literal_left = octets;
                (here, Drained::More)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(mut drain: Drain, text: &[u8], piece: usize) -> (usize, Drained) {
        let mut used = 0;
        while used < text.len() {
            let (n, how) = drain.take(&text[used..text.len().min(used + piece)]);
            used += n;
            if how != Drained::More {
                return (used, how);
            }
        }
        (used, Drained::More)
    }

    #[test]
    fn literals_sent_unasked_are_skipped_with_their_command() {
        let text = b"x {10+}\r\na LOGOUT\r\n {3}\r\nb NOOP\r\n";
        for piece in 1..text.len() {
            let drain = Drain::line(None, Refusal::bad("no"));
            assert_eq!(drained(drain, text, piece), (text.len() - 8, Drained::End), "{piece}");
        }
    }

    #[test]
    fn what_is_skipped_is_bounded() {
        let text = vec![b'a'; 2 << 20];
        for piece in [1_000, 2 << 20] {
            assert_eq!(drained(Drain::line(None, Refusal::bad("no")), &text, piece).1, Drained::TooMuch);
            assert_eq!(drained(Drain::literal(None, Refusal::bad("no"), u64::MAX), &text, piece).1, Drained::TooMuch);
        }
        assert_eq!(
            drained(Drain::line(None, Refusal::bad("no")), b"{99999999999999999999+}\r\n", 3).1,
            Drained::TooMuch
        );
    }
}
