//! A message as a multi-line answer: dots doubled at line starts, a last CRLF if it lacks one, the final dot (RFC 1939 §3);
//! for TOP cut after some lines of the body (§7).
//!
//! Bytes come in pieces of any size and the result does not depend on how they are cut. Nothing else is changed: NUL and
//! 8-bit octets pass as they are (A146).

use memchr::{memchr, memmem};

/// The encoder of one answer.
#[derive(Debug)]
pub(super) struct Stuffer {
    at_line_start: bool,
    top: Option<Top>,
}

/// Where TOP is.
#[derive(Debug)]
struct Top {
    in_header: bool,
    /// Nothing but CR in this line so far.
    line_blank: bool,
    lines_left: u64,
}

impl Stuffer {
    /// `lines`: lines of the body that TOP wants; `None` for the whole message.
    pub(super) fn new(lines: Option<u64>) -> Self {
        let top = lines.map(|lines_left| Top { in_header: true, line_blank: true, lines_left });
        Stuffer { at_line_start: true, top }
    }

    /// Encodes a piece; true when no more of the message is wanted.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let (bytes, enough) = match &mut self.top {
            Some(top) => top.cut(bytes),
            None => (bytes, false),
        };
        if self.at_line_start && bytes.first() == Some(&b'.') {
            out.push(b'.');
        }
        let mut from = 0;
        for at in memmem::find_iter(bytes, b"\n.") {
            out.extend_from_slice(&bytes[from..=at]);
            out.push(b'.');
            from = at + 1;
        }
        out.extend_from_slice(&bytes[from..]);
        if let Some(last) = bytes.last() {
            self.at_line_start = *last == b'\n';
        }
        enough
    }

    /// The end of the answer.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.at_line_start { b".\r\n" } else { b"\r\n.\r\n" });
    }
}

impl Top {
    /// The part of `bytes` that is wanted, and whether that was all.
    fn cut<'a>(&mut self, bytes: &'a [u8]) -> (&'a [u8], bool) {
        let mut from = 0;
        loop {
            if !self.in_header && self.lines_left == 0 {
                return (&bytes[..from], true);
            }
            let line = &bytes[from..];
            let Some(end) = memchr(b'\n', line) else {
                self.line_blank &= line.iter().all(|b| *b == b'\r');
                return (bytes, false);
            };
            if !self.in_header {
                self.lines_left -= 1;
            } else if self.line_blank && line[..end].iter().all(|b| *b == b'\r') {
                self.in_header = false;
            }
            self.line_blank = true;
            from += end + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes `message` in pieces of `size` octets.
    fn encode(message: &[u8], lines: Option<u64>, size: usize) -> String {
        let mut stuffer = Stuffer::new(lines);
        let mut out = Vec::new();
        for piece in message.chunks(size) {
            if stuffer.push(piece, &mut out) {
                break;
            }
        }
        stuffer.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a146_dots_are_doubled_and_the_last_crlf_is_added_at_every_cut() {
        let message = b".a\r\n..b\r\nc.\r\n.\r\n\0d";
        for size in 1..=message.len() {
            assert_eq!(encode(message, None, size), "..a\r\n...b\r\nc.\r\n..\r\n\0d\r\n.\r\n", "{size}");
        }
        assert_eq!(encode(b"", None, 1), ".\r\n");
        assert_eq!(encode(b"a\r\n", None, 9), "a\r\n.\r\n");
    }

    #[test]
    fn top_gives_the_header_and_so_many_lines_at_every_cut() {
        let message = b"A: 1\r\n.B: 2\r\n\r\nx\r\n.y\r\nz";
        for size in 1..=message.len() {
            assert_eq!(encode(message, Some(0), size), "A: 1\r\n..B: 2\r\n\r\n.\r\n", "{size}");
            assert_eq!(encode(message, Some(2), size), "A: 1\r\n..B: 2\r\n\r\nx\r\n..y\r\n.\r\n", "{size}");
            assert_eq!(encode(message, Some(3), size), "A: 1\r\n..B: 2\r\n\r\nx\r\n..y\r\nz\r\n.\r\n", "{size}");
            assert_eq!(encode(message, Some(u64::MAX), size), encode(message, None, size), "{size}");
        }
        assert_eq!(encode(b"A: 1\r\n", Some(5), 3), "A: 1\r\n.\r\n");
    }
}
