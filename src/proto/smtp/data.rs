//! The message on the wire: where it ends, which dots are not its own, which line ends are none.
//!
//! Only `CRLF "." CRLF` ends a message, the CRLF of the DATA command counting as the first (RFC 5321 §4.1.1.4). A lone CR
//! or LF never takes part in that, and neither does a CRLF with another CR before it: some relays count
//! `CR CR LF` as a line end and some do not, so a dot behind it may be content that nobody stuffed. *Liberty*: read to the
//! letter, the last CRLF of such a run is a CRLF.
//!
//! In chunks (BDAT, RFC 3030) nothing in the octets ends a message or was stuffed: their number was said before. Lines are made
//! canonical all the same, across the borders of chunks. *Liberty*: a last line without an end is given one, as if it had
//! come by DATA.
//!
//! What comes out is canonical: every line end is CRLF, the stuffed dots are gone, there is no NUL. The octets are
//! ranges of the input wherever they can be; a message that needs no change is one range per delivery.
//!
//! ```text
//!            ┌───────────── LF ──────────────┐           b: any other octet
//!            ▼                               │
//!   LineStart ── "." ─► Dot ── CR ─► DotCr ──┼─ LF ─► end of message
//!       │ b              │ b           │ b   │
//!       ▼                ▼             ▼     │
//!      Text ── CR ─► Cr ─┴─────────────┘     │
//!        ▲           ├── LF ─────────────────┘
//!        └─ b, LF ─ CrRun ◄── CR ── Cr, DotCr, CrRun
//! ```
//!
//! [`Incoming::take`] tries the whole stretch up to the next dot line at once ([`is_plain`], vectorised by the
//! compiler) and walks it line by line only if something in it must change. The walk is the definition; a test
//! holds the short cut against it.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{Ask, BareNewline, Word};
use crate::limits;
use crate::proto::contract::{Out, Piece};

const CRLF: &[u8] = b"\r\n";

static DOT_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n."));

/// A message being received.
#[derive(Debug)]
pub(super) struct Incoming {
    at: At,
    framing: Framing,
    bare_newline: BareNewline,
    fault: Option<Word>,
    octets: u64,
    octets_max: u64,
}

/// How far the message got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// All of the input belonged to it.
    More,
    /// It ended; so many octets of the input belonged to it.
    Ended(usize),
    /// It is over the size by more than [`limits::OVERSIZE_DRAIN_BYTES_MAX`] and still goes on.
    TooMuch,
}

/// What tells the end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// A line with a dot alone; dots at the start of others are stuffed.
    Dot,
    /// Who counts the octets.
    Counted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Behind a CRLF that counts.
    LineStart,
    Text,
    /// Behind a CR that was not given out yet.
    Cr,
    /// The same, and another CR before it.
    CrRun,
    /// Behind a dot at the start of a line, not given out.
    Dot,
    /// Behind that dot and a CR.
    DotCr,
}

impl Incoming {
    /// One that a dot will end.
    pub(super) fn new(octets_max: u64, bare_newline: BareNewline) -> Self {
        Incoming { at: At::LineStart, framing: Framing::Dot, bare_newline, fault: None, octets: 0, octets_max }
    }

    /// One that comes in chunks.
    pub(super) fn counted(octets_max: u64, bare_newline: BareNewline) -> Self {
        Incoming { framing: Framing::Counted, ..Incoming::new(octets_max, bare_newline) }
    }

    /// Octets of the message so far, as stored.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Why the message will be refused at its end. From the first fault on no pieces are given.
    pub(super) fn fault(&self) -> Option<Word> {
        self.fault
    }

    /// Takes the next octets of the message and leaves its pieces in `out`.
    pub(super) fn take(&mut self, input: &[u8], out: &mut Out<Ask>) -> Taken {
        let ended = self.walk(input, out);
        if self.octets > self.octets_max.saturating_add(limits::OVERSIZE_DRAIN_BYTES_MAX) {
            return Taken::TooMuch;
        }
        ended.map_or(Taken::More, Taken::Ended)
    }

    /// Takes the next octets of a chunk and leaves its pieces in `out`.
    pub(super) fn take_counted(&mut self, input: &[u8], out: &mut Out<Ask>) {
        assert!(self.framing == Framing::Counted, "a message is of one kind");
        let ended = self.walk(input, out);
        assert!(ended.is_none(), "no octet ends it");
    }

    /// The last chunk is here: ends a line that has none, or half an end.
    pub(super) fn end_counted(&mut self, out: &mut Out<Ask>) {
        match self.at {
            At::LineStart => {}
            At::Text => self.spell_crlf(out),
            At::Cr | At::CrRun => self.bare_newline(out),
            At::Dot | At::DotCr => unreachable!("dots are text in a chunk"),
        }
        self.at = At::LineStart;
    }

    /// Returns where the message ended, if it did.
    fn walk(&mut self, input: &[u8], out: &mut Out<Ask>) -> Option<usize> {
        let mut i = 0;
        // Up to here the short cut has been tried in vain.
        let mut tried = 0;
        while let Some(&byte) = input.get(i) {
            match (self.at, byte) {
                (At::LineStart, b'.') if self.framing == Framing::Dot => {
                    self.at = At::Dot;
                    i += 1;
                }
                (At::LineStart | At::Text, _) => {
                    if i >= tried {
                        let stretch = self.stretch(&input[i..]);
                        tried = i + stretch.len();
                        if is_plain(stretch) {
                            self.give(i..tried, out);
                            self.at = if stretch.ends_with(CRLF) { At::LineStart } else { At::Text };
                            i = tried;
                            if !stretch.is_empty() {
                                continue;
                            }
                        }
                    }
                    i = self.line(i, input, out);
                }
                (At::Cr, b'\n') => {
                    self.crlf(i, out);
                    self.at = At::LineStart;
                    i += 1;
                }
                (At::CrRun, b'\n') => {
                    self.crlf(i, out);
                    self.at = self.behind_odd_end();
                    i += 1;
                }
                (At::DotCr, b'\n') => return Some(i + 1),
                (At::Cr | At::CrRun | At::DotCr, b'\r') => {
                    self.bare_newline(out);
                    self.at = At::CrRun;
                    i += 1;
                }
                (At::Cr | At::CrRun | At::DotCr, _) => {
                    self.bare_newline(out);
                    self.at = self.behind_odd_end();
                }
                (At::Dot, b'\r') => {
                    self.at = At::DotCr;
                    i += 1;
                }
                // The dot was put there by the sender's stuffing (RFC 5321 §4.5.2).
                (At::Dot, _) => self.at = At::Text,
            }
        }
        None
    }

    /// Behind a line end that is none by the letter: a dot there is content.
    fn behind_odd_end(&self) -> At {
        match self.framing {
            Framing::Dot => At::Text,
            Framing::Counted => At::LineStart,
        }
    }

    /// From here to the next line that begins with a dot, its CRLF included, or to the end. A CR at the very end is left out: what
    /// follows it decides what it is.
    fn stretch<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        let dot_line = if self.framing == Framing::Dot { DOT_LINE.find(input) } else { None };
        match dot_line {
            Some(crlf) => &input[..crlf + 2],
            None => input.strip_suffix(b"\r").unwrap_or(input),
        }
    }

    /// From the middle of a line to the next octet that may need care; returns where to go on.
    fn line(&mut self, i: usize, input: &[u8], out: &mut Out<Ask>) -> usize {
        let end = memchr::memchr3(b'\r', b'\n', 0, &input[i..]).map_or(input.len(), |n| i + n);
        self.give(i..end, out);
        self.at = At::Text;
        match input.get(end) {
            Some(b'\r') => self.at = At::Cr,
            Some(b'\n') => {
                self.bare_newline(out);
                self.at = self.behind_odd_end();
            }
            Some(_) => self.refuse(Word::NulInMessage),
            None => return end,
        }
        end + 1
    }

    /// The CRLF whose LF is at `lf`: as it stands, or spelt out if its CR came in an earlier delivery.
    fn crlf(&mut self, lf: usize, out: &mut Out<Ask>) {
        if lf > 0 {
            self.give(lf - 1..lf + 1, out);
        } else {
            self.spell_crlf(out);
        }
    }

    fn bare_newline(&mut self, out: &mut Out<Ask>) {
        if self.bare_newline == BareNewline::Reject {
            self.refuse(Word::BareNewlineInMessage);
        }
        self.spell_crlf(out);
    }

    fn refuse(&mut self, fault: Word) {
        self.fault.get_or_insert(fault);
    }

    fn give(&mut self, range: std::ops::Range<usize>, out: &mut Out<Ask>) {
        let allowed = self.count(range.len());
        if allowed == 0 {
            return;
        }
        let range = range.start..range.start + allowed;
        match out.body.last_mut() {
            Some(Piece::Input(last)) if last.end == range.start => last.end = range.end,
            _ => out.body.push(Piece::Input(range)),
        }
    }

    fn spell_crlf(&mut self, out: &mut Out<Ask>) {
        let allowed = self.count(CRLF.len());
        if allowed > 0 {
            out.body.push(Piece::Text(&CRLF[..allowed]));
        }
    }

    /// Counts octets and says how many of them may still be given out.
    fn count(&mut self, octets: usize) -> usize {
        let room = usize::try_from(self.octets_max.saturating_sub(self.octets)).unwrap_or(usize::MAX);
        self.octets += octets as u64;
        let whole = self.fault.is_none();
        if octets > room {
            self.refuse(Word::TooBig);
        }
        if whole { octets.min(room) } else { 0 }
    }
}

/// True if nothing in this stretch of lines must change: no NUL, every LF behind a CR, every CR before an LF.
fn is_plain(stretch: &[u8]) -> bool {
    let (Some(&first), Some(&last)) = (stretch.first(), stretch.last()) else { return true };
    if first == b'\n' || first == 0 || last == b'\r' {
        return false;
    }
    // Without an early exit, so that it is done 16 or more octets at a time.
    let odd = stretch
        .iter()
        .zip(&stretch[1..])
        .fold(0u8, |odd, (&before, &byte)| odd | u8::from((before == b'\r') != (byte == b'\n')) | u8::from(byte == 0));
    odd == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b".",
        b"\r\n.\r\n",
        b"\r\n..",
        b"some words that are longer than a vector register, thirty-two octets and more",
    ];

    /// What a message comes to: its octets, and how it ended.
    #[derive(Debug, PartialEq, Eq)]
    struct Heard {
        body: Vec<u8>,
        pieces: usize,
        octets: u64,
        fault: Option<Word>,
        rest: Option<Vec<u8>>,
    }

    fn hear(deliveries: &[&[u8]], octets_max: u64, bare_newline: BareNewline) -> Heard {
        let mut incoming = Incoming::new(octets_max, bare_newline);
        let mut heard = Heard { body: Vec::new(), pieces: 0, octets: 0, fault: None, rest: None };
        for (n, delivery) in deliveries.iter().enumerate() {
            let mut out = Out::default();
            let taken = incoming.take(delivery, &mut out);
            heard.pieces += out.body.len();
            for piece in &out.body {
                match piece {
                    Piece::Input(range) => heard.body.extend_from_slice(&delivery[range.clone()]),
                    Piece::Text(text) => heard.body.extend_from_slice(text),
                }
            }
            if let Taken::Ended(used) = taken {
                let mut rest = delivery[used..].to_vec();
                rest.extend(deliveries[n + 1..].concat());
                heard.rest = Some(rest);
                break;
            }
        }
        heard.octets = incoming.octets();
        heard.fault = incoming.fault();
        heard
    }

    fn whole(wire: &[u8]) -> Heard {
        hear(&[wire], 1 << 20, BareNewline::Normalise)
    }

    /// The definition again, written for clarity: `None` while the message has not ended.
    fn model(wire: &[u8]) -> (Vec<u8>, Option<usize>) {
        let mut body = Vec::new();
        let mut i = 0;
        let mut line_start = true;
        while i < wire.len() {
            if line_start && wire[i..].starts_with(b".\r\n") {
                return (body, Some(i + 3));
            }
            if line_start && wire[i] == b'.' {
                line_start = false;
                i += 1;
                continue;
            }
            let after_cr = i > 0 && wire[i - 1] == b'\r';
            line_start = false;
            if wire[i..].starts_with(b"\r\n") {
                body.extend_from_slice(b"\r\n");
                line_start = !after_cr;
                i += 2;
            } else if matches!(wire[i], b'\r' | b'\n') {
                body.extend_from_slice(b"\r\n");
                i += 1;
            } else {
                body.push(wire[i]);
                i += 1;
            }
        }
        (body, None)
    }

    #[test]
    fn an_ordinary_message_is_one_piece() {
        let heard = whole(b"Subject: x\r\n\r\nHello\r\nworld\r\n.\r\nQUIT\r\n");
        assert_eq!(heard.body, b"Subject: x\r\n\r\nHello\r\nworld\r\n");
        assert_eq!((heard.pieces, heard.rest.as_deref()), (1, Some(&b"QUIT\r\n"[..])));
    }

    #[test]
    fn stuffed_dots_are_taken_out_and_others_stay() {
        let heard = whole(b"..a\r\n...\r\nb.c\r\n..\r\n.d\r\n.\r\n");
        assert_eq!(heard.body, b".a\r\n..\r\nb.c\r\n.\r\nd\r\n");
    }

    #[test]
    fn an_empty_message_is_a_message() {
        assert_eq!(whole(b".\r\n").rest, Some(vec![]));
        assert_eq!(whole(b".\r\n").octets, 0);
    }

    #[test]
    fn a001_to_a004_only_crlf_dot_crlf_ends_a_message() {
        for not_an_end in [
            &b"a\n.\nb"[..],
            b"a\n.\r\nb",
            b"a\r\n.\nb",
            b"a\r.\rb",
            b"a\r\n.\rb",
            b"a\r\r\n.\r\nb",
            b"a\r\n.\r\r\nb",
            b"a\r.\r\nb",
            b"a\n\r.\r\nb",
        ] {
            let mut wire = not_an_end.to_vec();
            wire.extend_from_slice(b"\r\n.\r\n");
            let heard = whole(&wire);
            assert_eq!(heard.rest, Some(vec![]), "{wire:?}");
            let body = heard.body;
            assert!(body.ends_with(b"b\r\n"), "{not_an_end:?} became {body:?}");
            let bare = body.iter().enumerate().any(|(i, &b)| match b {
                b'\n' => i == 0 || body[i - 1] != b'\r',
                b'\r' => body.get(i + 1) != Some(&b'\n'),
                _ => false,
            });
            assert!(!bare, "{body:?}");
            assert_eq!(
                hear(&[&wire], 1 << 20, BareNewline::Reject).fault,
                Some(Word::BareNewlineInMessage),
                "{wire:?}"
            );
        }
    }

    #[test]
    fn a006_nul_is_a_fault_and_ends_nothing() {
        let heard = whole(b"a\0b\r\n\0.\r\nc\r\n.\r\n");
        assert_eq!((heard.fault, heard.rest), (Some(Word::NulInMessage), Some(vec![])));
        assert_eq!(heard.body, b"a", "no pieces after the fault");
    }

    #[test]
    fn a028_over_the_size_pieces_stop_and_the_end_is_still_found() {
        let heard = hear(&[b"12345678\r\n.\r\nNOOP"], 9, BareNewline::Normalise);
        assert_eq!((heard.body.as_slice(), heard.octets, heard.fault), (&b"12345678\r"[..], 10, Some(Word::TooBig)));
        assert_eq!(heard.rest.as_deref(), Some(&b"NOOP"[..]));
        assert_eq!(hear(&[b"1234567\r\n.\r\n"], 9, BareNewline::Normalise).fault, None);
    }

    #[test]
    fn a028_far_over_the_size_is_given_up() {
        let mut incoming = Incoming::new(10, BareNewline::Normalise);
        let block = vec![b'x'; 64 << 10];
        let mut out = Out::default();
        let blocks = (0..100).take_while(|_| incoming.take(&block, &mut out) == Taken::More).count();
        assert_eq!(blocks as u64, limits::OVERSIZE_DRAIN_BYTES_MAX / block.len() as u64);
    }

    /// Every wire of up to `length` octets of the dangerous alphabet.
    #[test]
    fn every_short_wire_agrees_with_the_definition_whole_and_cut() {
        let alphabet = [b'\r', b'\n', b'.', b'x'];
        for length in 0..=7u32 {
            for n in 0..alphabet.len().pow(length) {
                let wire: Vec<u8> = (0..length).map(|d| alphabet[n / alphabet.len().pow(d) % alphabet.len()]).collect();
                let mut closed = wire.clone();
                closed.extend_from_slice(b"y\r\n.\r\n");
                let (body, end) = model(&closed);
                let end = end.expect("it is closed");
                let bytes: Vec<&[u8]> = closed.chunks(1).collect();
                let middle = closed.len() / 2;
                for heard in [whole(&closed), hear(&bytes, 1 << 20, BareNewline::Normalise), {
                    hear(&[&closed[..middle], &closed[middle..]], 1 << 20, BareNewline::Normalise)
                }] {
                    assert_eq!(heard.body, body, "{closed:?}");
                    assert_eq!(heard.rest.as_deref(), Some(&closed[end..]), "{closed:?}");
                    assert_eq!(heard.octets, body.len() as u64);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_wire_in_any_pieces_agrees_with_the_definition(
            words in proptest::collection::vec(proptest::sample::select(WORDS.to_vec()), 0..40),
            cuts in proptest::collection::vec(1usize..60, 1..10),
        ) {
            let wire = words.concat();
            let (body, end) = model(&wire);
            let mut deliveries = Vec::new();
            let mut rest = wire.as_slice();
            for &cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                deliveries.push(now);
                rest = later;
            }
            let heard = hear(&deliveries, 1 << 20, BareNewline::Normalise);
            match end {
                Some(end) => {
                    prop_assert_eq!(heard.body, body);
                    prop_assert_eq!(heard.rest, Some(wire[end..].to_vec()));
                }
                None => prop_assert_eq!(heard.rest, None),
            }
        }
    }
}
