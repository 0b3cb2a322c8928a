//! Where a command ends: lines and literal markers (RFC 9051 §4.3, RFC 7888).

use super::cursor::number;

/// What the end of a line says about an octet count to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Octets that follow; `None` beyond 64 bits.
    pub octets: Option<u64>,
    /// The client waits for a continuation before it sends them.
    pub sync: bool,
}

/// Longest marker, octets: braces, 20 digits, `+`.
pub const MARKER_BYTES_MAX: usize = 23;

/// The literal marker at the end of a line given without its CRLF. A count of more than 20 digits is beyond 64 bits
/// however many of them are zeros.
#[must_use]
pub fn marker(line: &[u8]) -> Option<Marker> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, sync) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, false),
        None => (inner, true),
    };
    let digits = inner.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, count) = inner.split_at(inner.len() - digits);
    if digits > MARKER_BYTES_MAX - 3 {
        return Some(Marker { octets: None, sync });
    }
    if digits == 0 || !before.ends_with(b"{") {
        return None;
    }
    Some(Marker { octets: number(count), sync })
}

/// What a look for a line's end found.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line of this length, and two octets of CRLF after it.
    Whole(usize),
    /// It ended with a bare LF.
    BareLf,
    /// It is longer than allowed.
    TooLong,
    /// Its end is not here yet.
    More,
}

/// Looks for the end of the line that begins `input`. `scanned`: octets seen in vain before, kept between calls.
/// At most `max + 1` octets are ever left waiting.
pub fn line(input: &[u8], scanned: &mut usize, max: usize) -> Line {
    let from = (*scanned).min(input.len());
    *scanned = 0;
    match memchr::memchr(b'\n', &input[from..]) {
        Some(at) => {
            let lf = from + at;
            let crlf = lf > 0 && input[lf - 1] == b'\r';
            let len = lf - usize::from(crlf);
            if len > max {
                Line::TooLong
            } else if crlf {
                Line::Whole(len)
            } else {
                Line::BareLf
            }
        }
        None if input.len() > max + 1 => Line::TooLong,
        None => {
            *scanned = input.len();
            Line::More
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a103_markers_are_counted_without_overflow() {
        let m = |octets, sync| Some(Marker { octets, sync });
        assert_eq!(marker(b"a {5}"), m(Some(5), true));
        assert_eq!(marker(b"a {5+}"), m(Some(5), false));
        assert_eq!(marker(b"{0}"), m(Some(0), true));
        assert_eq!(marker(b"~{007}"), m(Some(7), true));
        assert_eq!(marker(b"{18446744073709551615}"), m(Some(u64::MAX), true));
        assert_eq!(marker(b"{18446744073709551616}"), m(None, true));
        assert_eq!(marker(b"{99999999999999999999+}"), m(None, false));
        assert_eq!(marker(b"{999999999999999999999+}"), m(None, false));
        for text in [&b"{5"[..], b"{-1}", b"{}", b"{+}", b"5}", b"{5 }", b"{5}\"", b"", b"{5-}"] {
            assert_eq!(marker(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_line_is_found_however_it_is_cut() {
        let mut scanned = 0;
        assert_eq!(line(b"abc", &mut scanned, 4), Line::More);
        assert_eq!(scanned, 3);
        assert_eq!(line(b"abcd\r", &mut scanned, 4), Line::More);
        assert_eq!(line(b"abcd\r\n", &mut scanned, 4), Line::Whole(4));
        assert_eq!(line(b"abcde\r", &mut scanned, 4), Line::TooLong);
        assert_eq!(line(b"abcde\r\n", &mut scanned, 4), Line::TooLong);
        assert_eq!(line(b"a\n", &mut scanned, 4), Line::BareLf);
        assert_eq!(line(b"\n", &mut scanned, 4), Line::BareLf);
    }
}
