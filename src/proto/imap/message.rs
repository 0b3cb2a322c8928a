//! The message of an APPEND on its way through: counted, made canonical, never kept.
//!
//! Line ends become CRLF (DESIGN §7.9): a lone LF or CR is spelt out as one. NUL ends the passing on, as does the size
//! bound; the octets are still counted to the literal's end, so that the conversation stays in step (A121).

use crate::proto::contract::{Piece, Pieces};

/// Pieces one step leaves. More: the driver steps again.
const PIECES_MAX: usize = 64;

/// A message literal being received.
#[derive(Debug)]
pub struct Message {
    /// Octets of the literal still to come.
    left: u64,
    /// Octets that may still be passed on.
    room: u64,
    /// A CR was the last octet, and is not yet passed on.
    cr: bool,
    fate: Fate,
}

/// What is known of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing bad.
    Good,
    /// There is a NUL in it.
    Nul,
    /// It is larger than allowed, line ends made canonical.
    TooBig,
}

impl Message {
    /// A literal of `octets`, of which `bytes_max` may be passed on.
    #[must_use]
    pub fn new(octets: u64, bytes_max: u64) -> Message {
        Message { left: octets, room: bytes_max, cr: false, fate: Fate::Good }
    }

    /// The verdict, once the literal is at its end.
    #[must_use]
    pub fn fate(&self) -> Option<Fate> {
        (self.left == 0).then_some(self.fate)
    }

    /// Octets that may still be passed on.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.room
    }

    /// Takes octets of the literal, leaves pieces, and returns how many were used.
    pub fn take(&mut self, input: &[u8], body: &mut Pieces) -> usize {
        let whole = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        let text = &input[..whole];
        let mut start = 0;
        let mut at = 0;
        if self.cr && whole > 0 {
            self.cr = false;
            self.newline(body);
            if text[0] == b'\n' {
                start = 1;
                at = 1;
            }
        }
        while self.fate == Fate::Good && at < whole && body.len() < PIECES_MAX {
            let Some(found) = memchr::memchr3(b'\r', b'\n', 0, &text[at..]) else {
                at = whole;
                break;
            };
            let here = at + found;
            if text[here] == b'\r' && text.get(here + 1) == Some(&b'\n') {
                at = here + 2;
                continue;
            }
            self.pass(text, start..here, body);
            at = here + 1;
            start = at;
            match text[here] {
                0 => self.spoil(Fate::Nul),
                b'\r' if at == whole => self.cr = true,
                _ => self.newline(body),
            }
        }
        if self.fate == Fate::Good {
            self.pass(text, start..at, body);
        }
        if self.fate != Fate::Good {
            at = whole;
        }
        self.left -= at as u64;
        if self.left == 0 && self.cr {
            self.cr = false;
            self.newline(body);
        }
        at
    }

    fn newline(&mut self, body: &mut Pieces) {
        if self.fate != Fate::Good {
            return;
        }
        if self.room < 2 {
            return self.spoil(Fate::TooBig);
        }
        self.room -= 2;
        body.push(Piece::Text(b"\r\n"));
    }

    fn pass(&mut self, text: &[u8], range: std::ops::Range<usize>, body: &mut Pieces) {
        if self.fate != Fate::Good || range.is_empty() {
            return;
        }
        // Past the bound nothing is passed on, but up to it everything: pieces do not depend on how the input is cut.
        let mut len = usize::try_from(self.room).map_or(range.len(), |room| room.min(range.len()));
        if (1..range.len()).contains(&len) && text[range.start + len - 1] == b'\r' {
            // A line end goes whole or not at all, as it does when the input is cut inside it.
            len -= 1;
        }
        if len > 0 {
            self.room -= len as u64;
            body.push(Piece::Input(range.start..range.start + len));
        }
        if len < range.len() {
            self.spoil(Fate::TooBig);
        }
    }

    /// The first fault stands: which of two comes together in one input is chance.
    fn spoil(&mut self, fate: Fate) {
        if self.fate == Fate::Good {
            self.fate = fate;
        }
        self.cr = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Passes `text` in pieces that end at `cuts`.
    fn passed(text: &[u8], cuts: &[usize], bytes_max: u64) -> (Vec<u8>, Fate) {
        let mut message = Message::new(text.len() as u64, bytes_max);
        let (mut out, mut from) = (Vec::new(), 0);
        for end in cuts.iter().copied().chain([text.len()]) {
            while from < end {
                let mut body = Pieces::new();
                let used = message.take(&text[from..end], &mut body);
                assert!(used > 0, "octets of a message are always taken");
                assert!(body.len() <= PIECES_MAX + 3);
                for piece in body {
                    match piece {
                        Piece::Input(range) => out.extend_from_slice(&text[from..end][range]),
                        Piece::Text(text) => out.extend_from_slice(text),
                    }
                }
                from += used;
            }
        }
        (out, message.fate().expect("the literal is at its end"))
    }

    #[test]
    fn a121_lone_line_ends_become_crlf() {
        assert_eq!(passed(b"a\nb\rc\r\nd\r", &[], 99), (b"a\r\nb\r\nc\r\nd\r\n".to_vec(), Fate::Good));
        assert_eq!(passed(b"\r\r\n\n", &[], 99), (b"\r\n\r\n\r\n".to_vec(), Fate::Good));
        let many = passed(&[b'\n'; 10_000], &[], 99_999);
        assert_eq!((many.0.len(), many.1), (20_000, Fate::Good));
    }

    #[test]
    fn a121_nul_and_excess_stop_the_passing_on() {
        assert_eq!(passed(b"ab\0cd", &[], 99), (b"ab".to_vec(), Fate::Nul));
        assert_eq!(passed(b"abcd", &[], 3), (b"abc".to_vec(), Fate::TooBig));
        assert_eq!(passed(b"abcd", &[], 4), (b"abcd".to_vec(), Fate::Good));
        assert_eq!(passed(b"ab\n", &[], 3), (b"ab".to_vec(), Fate::TooBig));
    }

    #[test]
    fn a121_the_first_fault_stands_and_no_line_end_is_halved() {
        for cuts in [&[][..], &[1], &[2], &[3]] {
            assert_eq!(passed(b"abc\0", cuts, 2), (b"ab".to_vec(), Fate::TooBig), "{cuts:?}");
            assert_eq!(passed(b"a\r\nb", cuts, 2), (b"a".to_vec(), Fate::TooBig), "{cuts:?}");
        }
    }

    proptest! {
        #[test]
        fn the_cuts_do_not_matter(
            text in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a'), Just(b'b'), Just(b'a'), 0..2_u8], 1..80),
            cuts in proptest::collection::vec(0..80_usize, 0..6),
            bytes_max in 0..100_u64,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(passed(&text, &cuts, bytes_max), passed(&text, &[], bytes_max));
        }
    }
}
