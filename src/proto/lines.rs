//! Finding the end of a command line without looking at any octet twice.
//!
//! A driver may deliver a line one octet at a time; the session is then asked again with the same bytes and
//! one more. [`Lines`] remembers how far it looked, so a line costs its length and not its square.
//!
//! A line ends at CRLF. A lone LF ends it too, so that the conversation stays in step, but the caller is told:
//! no protocol here executes such a line.

/// How far the unused input has been searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    seen: usize,
}

/// What stands at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, its CRLF left out.
    Whole(&'a [u8]),
    /// A line that a lone LF ended, the LF left out.
    BareLf(&'a [u8]),
    /// Not a whole line yet.
    Partial,
    /// More than the bound and still no end.
    TooLong,
}

impl Lines {
    /// Looks for the first line of `input`, which begins where the last line was used up. `bytes_max`: octets of
    /// a line without its CRLF. At `bytes_max + 2` octets without an end the answer is [`Line::TooLong`], and so
    /// it is for a longer line whose end is already here: the answer does not depend on how the bytes came.
    ///
    /// After `Whole` and `BareLf` the caller uses [`Line::used`] octets.
    pub fn next<'a>(&mut self, input: &'a [u8], bytes_max: usize) -> Line<'a> {
        let window = &input[..input.len().min(bytes_max + 2)];
        let from = self.seen.min(window.len());
        match memchr::memchr(b'\n', &window[from..]) {
            Some(found) => {
                self.seen = 0;
                match &window[..from + found] {
                    [line @ .., b'\r'] => Line::Whole(line),
                    line if line.len() > bytes_max => Line::TooLong,
                    line => Line::BareLf(line),
                }
            }
            None if window.len() == bytes_max + 2 => {
                self.seen = 0;
                Line::TooLong
            }
            None => {
                self.seen = window.len();
                Line::Partial
            }
        }
    }
}

impl Line<'_> {
    /// Octets of the input that the line takes, its end included.
    #[must_use]
    pub fn used(&self) -> usize {
        match self {
            Line::Whole(line) => line.len() + 2,
            Line::BareLf(line) => line.len() + 1,
            Line::Partial | Line::TooLong => 0,
        }
    }
}

/// Throws a line away that is too long, up to its LF, and gives up at a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    thrown: usize,
}

/// How a [`Drain`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// The line has ended; so many octets of the input belonged to it.
    Ended(usize),
    /// All of the input belonged to it.
    More,
    /// The bound is reached without an end.
    TooMuch,
}

impl Drain {
    /// Takes the next octets of the line. `bytes_max`: octets thrown away, all calls together, before giving up.
    pub fn take(&mut self, input: &[u8], bytes_max: usize) -> Drained {
        let window = &input[..input.len().min(bytes_max.saturating_sub(self.thrown))];
        match memchr::memchr(b'\n', window) {
            Some(found) => Drained::Ended(found + 1),
            None if window.len() < input.len() => Drained::TooMuch,
            None => {
                self.thrown += window.len();
                Drained::More
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_same_however_it_comes() {
        for (wire, expected) in [
            (&b"NOOP\r\nQUIT\r\n"[..], Line::Whole(b"NOOP")),
            (b"NOOP\nQUIT\r\n", Line::BareLf(b"NOOP")),
            (b"\r\n", Line::Whole(b"")),
            (b"\n", Line::BareLf(b"")),
            (b"12345678\r\n", Line::Whole(b"12345678")),
            (b"12345678\n", Line::BareLf(b"12345678")),
            (b"123456789\r\n", Line::TooLong),
            (b"123456789\n", Line::TooLong),
            (b"1234567890\n", Line::TooLong),
            (b"a\rb\r\n", Line::Whole(b"a\rb")),
        ] {
            assert_eq!(Lines::default().next(wire, 8), expected);
            let mut lines = Lines::default();
            let answer = (1..=wire.len()).map(|n| lines.next(&wire[..n], 8)).find(|&l| l != Line::Partial);
            assert_eq!(answer, Some(expected), "{wire:?} one octet at a time");
        }
    }

    #[test]
    fn one_octet_deliveries_look_at_each_octet_once() {
        let wire = vec![b'x'; 4_096];
        let mut lines = Lines::default();
        for n in 1..=wire.len() {
            assert_eq!(lines.next(&wire[..n], 4_096), Line::Partial);
            assert_eq!(lines.seen, n, "the next search begins where this one ended");
        }
    }

    #[test]
    fn a_drain_ends_at_the_line_or_at_the_bound_however_it_comes() {
        let run = |wire: &[u8], piece: usize| {
            let mut drain = Drain::default();
            let mut before = 0;
            for part in wire.chunks(piece) {
                match drain.take(part, 10) {
                    Drained::More => before += part.len(),
                    Drained::Ended(used) => return Some(before + used),
                    Drained::TooMuch => return None,
                }
            }
            panic!("neither end nor bound");
        };
        for piece in [1, 2, 3, 100] {
            assert_eq!(run(b"xxxxxxxx\r\nNOOP", piece), Some(10));
            assert_eq!(run(b"xxxxxxxxxx\r\nNOOP", piece), None);
        }
    }
}
