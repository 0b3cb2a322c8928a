//! Bounds on what a request may be, held before hyper sees a byte of it: its line, its header, its line ends.
//!
//! A request here has no body, so its end is the first empty line (RFC 9112 §2.1).

use crate::limits::{HTTP_HEADER_BYTES_MAX, HTTP_LINE_BYTES_MAX};

/// What is wrong with a request's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 414: the request's line is too long (RFC 9112 §3).
    LineTooLong,
    /// 431: all lines together are too long (RFC 6585 §5).
    HeaderTooLarge,
    /// 400: a lone LF. RFC 9112 §2.2 lets us take it for a line end; who hides one there has something else in mind (A173).
    BareNewline,
}

/// Follows the requests of a connection.
#[derive(Debug, Default)]
pub struct Heads {
    /// Requests whose header has ended.
    pub complete: u32,
    /// Octets of the present request, and of its present line.
    octets: usize,
    line_octets: usize,
    /// Its lines that have ended.
    lines: usize,
    last: u8,
}

impl Heads {
    /// Reads on.
    ///
    /// # Errors
    /// What is wrong, and where in `bytes` the request begins that is at fault (0 if earlier).
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), (usize, Fault)> {
        let mut begin = 0;
        for (at, byte) in bytes.iter().enumerate() {
            self.octets += 1;
            self.line_octets += 1;
            if self.lines == 0 && self.line_octets > HTTP_LINE_BYTES_MAX {
                return Err((begin, Fault::LineTooLong));
            }
            if self.octets > HTTP_HEADER_BYTES_MAX {
                return Err((begin, Fault::HeaderTooLarge));
            }
            if *byte == b'\n' {
                if self.last != b'\r' {
                    return Err((begin, Fault::BareNewline));
                }
                let empty = self.line_octets == 2;
                self.line_octets = 0;
                self.lines += usize::from(!empty);
                if empty && self.lines > 0 {
                    self.complete += 1;
                    self.octets = 0;
                    self.lines = 0;
                    begin = at + 1;
                }
            }
            self.last = *byte;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these bytes, whichever way they are cut.
    fn read(bytes: &[u8]) -> (u32, Option<Fault>) {
        let mut whole = Heads::default();
        let fault = whole.read(bytes).err().map(|(_, fault)| fault);
        for cut in (0..bytes.len()).step_by(bytes.len() / 100 + 1) {
            let mut heads = Heads::default();
            let parts = heads.read(&bytes[..cut]).and_then(|()| heads.read(&bytes[cut..]));
            assert_eq!((heads.complete, parts.err().map(|(_, f)| f)), (whole.complete, fault), "cut at {cut}");
        }
        (whole.complete, fault)
    }

    #[test]
    fn requests_end_at_an_empty_line() {
        assert_eq!(read(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), (1, None));
        assert_eq!(read(b"\r\n\r\nGET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\nGE"), (2, None));
        assert_eq!(read(b"\r\n\r\n\r\n"), (0, None));
    }

    #[test]
    fn a173_a_bare_newline_is_refused_and_what_came_before_is_served() {
        let bytes = b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.1\nHost: a\r\n\r\n";
        assert_eq!(read(bytes), (1, Some(Fault::BareNewline)));
        assert_eq!(Heads::default().read(bytes), Err((18, Fault::BareNewline)));
    }

    #[test]
    fn a174_lines_and_headers_have_a_bound_one_octet_wide() {
        let line = |octets: usize| [b"GET /".as_slice(), &vec![b'a'; octets - 7], b"\r\n\r\n"].concat();
        assert_eq!(read(&line(HTTP_LINE_BYTES_MAX)), (1, None));
        assert_eq!(read(&line(HTTP_LINE_BYTES_MAX + 1)), (0, Some(Fault::LineTooLong)));
        let header = |octets: usize| [b"GET / HTTP/1.1\r\n".as_slice(), &vec![b'a'; octets - 20], b"\r\n\r\n"].concat();
        assert_eq!(read(&header(HTTP_HEADER_BYTES_MAX)), (1, None));
        assert_eq!(read(&header(HTTP_HEADER_BYTES_MAX + 1)), (0, Some(Fault::HeaderTooLarge)));
        assert_eq!(read(&b"\r\n".repeat(HTTP_HEADER_BYTES_MAX)), (0, Some(Fault::HeaderTooLarge)));
    }
}
