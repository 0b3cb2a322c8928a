//! The smuggling matrix: every sequence of CR, LF, dot and NUL up to a length, around the end of a message and in the middle of
//! one that tries to look like commands, by DATA and in chunks, whole and cut at each octet.
//!
//! Whoever writes the content of a message says neither where it ends nor what follows it (RFC 5321 §4.5.2). So there is one
//! message always, or the refusal of one for its NUL; the commands behind it are those of the client; and what is stored has CRLF
//! at the end of every line and nowhere else a CR or LF.

use std::sync::Arc;

use super::*;
use crate::proto::contract::{Piece, Session as _};
use crate::proto::smtp::BareNewline;

const ALPHABET: [u8; 4] = *b"\r\n.\0";
const LENGTH_MAX: u32 = 6;
const OPENING: &[u8] = b"HELO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";
/// What the content would like to be.
const EVIL: &[u8] = b"MAIL FROM:<e@x>\r\nDATA\r\n";
const NUL: u16 = 550;

/// What came of a conversation.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    /// The codes of all replies behind those to the opening.
    codes: Vec<u16>,
    /// Messages that were whole and clean.
    messages: Vec<Vec<u8>>,
    /// Transactions begun.
    mails: usize,
}

fn hear<'a>(bare_newline: BareNewline, deliveries: impl Iterator<Item = &'a [u8]>) -> Heard {
    let mut out = Out::default();
    let mut session = Session::open(Arc::new(Config { bare_newline, ..Config::default() }), &mut out);
    out.reply.clear();
    let (mut heard, mut body, mut held) = (Heard::default(), Vec::new(), Vec::new());
    for delivery in deliveries {
        held.extend_from_slice(delivery);
        while !held.is_empty() && out.turn.is_none() {
            let used = session.step(Input::Bytes(&held), &mut out);
            for piece in out.body.drain(..) {
                match piece {
                    Piece::Input(range) => body.extend_from_slice(&held[range]),
                    Piece::Text(text) => body.extend_from_slice(text),
                }
            }
            held.drain(..used);
            let mut waits = used == 0;
            while let Some(ask) = out.ask.take() {
                waits = false;
                heard.mails += usize::from(matches!(ask, Ask::Mail { .. }));
                let answer = match ask {
                    Ask::Done { octets } => {
                        assert_eq!(octets, body.len() as u64);
                        heard.messages.push(std::mem::take(&mut body));
                        Answer::Queued { id: String::new() }
                    }
                    Ask::Reset => {
                        body.clear();
                        Answer::Yes
                    }
                    _ => Answer::Yes,
                };
                session.step(Input::Answer(answer), &mut out);
            }
            if waits {
                break;
            }
        }
    }
    let text = String::from_utf8(out.reply).expect("ASCII");
    heard.codes = text.lines().skip(3).map(|line| line[..3].parse().expect("a code")).collect();
    heard
}

/// Every sequence, the empty one first.
fn sequences() -> impl Iterator<Item = Vec<u8>> {
    let letters = ALPHABET.len();
    let of = move |length: u32, n: usize| (0..length).map(|d| ALPHABET[n / letters.pow(d) % letters]).collect();
    (0..=LENGTH_MAX).flat_map(move |length| (0..letters.pow(length)).map(move |n| of(length, n)))
}

/// A wire, whole, octet by octet, and cut in two at each place of `around`: all heard the same.
fn same_however_it_is_cut(wire: &[u8], around: std::ops::Range<usize>) -> Heard {
    let whole = hear(BareNewline::Normalise, std::iter::once(wire));
    let octets = hear(BareNewline::Normalise, wire.chunks(1));
    assert_eq!(octets, whole, "octet by octet: {}", wire.escape_ascii());
    for cut in around.start.max(1)..around.end.min(wire.len()) {
        let (head, tail) = wire.split_at(cut);
        let two = hear(BareNewline::Normalise, [head, tail].into_iter());
        assert_eq!(two, whole, "cut at {cut}: {}", wire.escape_ascii());
    }
    whole
}

/// As a client sends it by DATA: a dot before each that begins a line, and the end.
fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (i, &byte) in content.iter().enumerate() {
        if byte == b'.' && (i == 0 || content[..i].ends_with(b"\r\n")) {
            wire.push(b'.');
        }
        wire.push(byte);
    }
    let ended = content.is_empty() || content.ends_with(b"\r\n");
    wire.extend_from_slice(if ended { b".\r\n" } else { b"\r\n.\r\n" });
    wire
}

/// Content as it is stored: lone CRs and LFs are line ends, and the last line has one.
fn canonical(content: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut i = 0;
    while i < content.len() {
        match content[i] {
            b'\r' | b'\n' => {
                i += usize::from(content[i..].starts_with(b"\r\n"));
                body.extend_from_slice(b"\r\n");
            }
            byte => body.push(byte),
        }
        i += 1;
    }
    if !body.is_empty() && !body.ends_with(b"\r\n") {
        body.extend_from_slice(b"\r\n");
    }
    body
}

fn is_canonical(body: &[u8]) -> bool {
    let lone = |(i, &byte): (usize, &u8)| match byte {
        b'\n' => i == 0 || body[i - 1] != b'\r',
        b'\r' => body.get(i + 1) != Some(&b'\n'),
        byte => byte == 0,
    };
    !body.iter().enumerate().any(lone) && (body.is_empty() || body.ends_with(b"\r\n"))
}

/// One message, or one refusal, and then the client's QUIT. `before`: codes up to the verdict.
fn one_verdict(heard: &Heard, content: &[u8], before: &[u16]) {
    let shown = content.escape_ascii();
    assert_eq!(heard.mails, 1, "{shown}");
    let refused = content.contains(&0);
    let verdict = if refused { NUL } else { 250 };
    assert_eq!(heard.codes, [before, &[verdict, 221]].concat(), "{shown}");
    assert_eq!(heard.messages.len(), usize::from(!refused), "{shown}");
    assert!(heard.messages.iter().all(|body| is_canonical(body)), "{shown}: {heard:?}");
}

/// One message by DATA whose content holds the sequence.
fn by_data(content: &[u8], around: std::ops::Range<usize>) {
    let mut sent = stuffed(content);
    // A004: behind CR CR LF no dot ends a message. Who sends that has to send another end.
    let wire = [b"\r\n".as_slice(), &sent].concat();
    let mut dots = wire.windows(5).enumerate().filter(|(_, five)| five == b"\r\n.\r\n");
    let ends = dots.any(|(at, _)| at == 0 || wire[at - 1] != b'\r');
    if !ends {
        sent.extend_from_slice(b"b\r\n.\r\n");
    }
    let head = [OPENING, b"DATA\r\n"].concat();
    let around = around.start + head.len()..around.end + head.len();
    let wire = [&head, sent.as_slice(), b"QUIT\r\n"].concat();
    let heard = same_however_it_is_cut(&wire, around);
    one_verdict(&heard, content, &[354]);
    // There a stuffed dot stays, because others would not have stuffed it.
    let exact = ends && !content.windows(4).any(|four| four == b"\r\r\n.");
    if let Some(body) = heard.messages.first().filter(|_| exact) {
        let end: &[u8] = if content.is_empty() || content.ends_with(b"\r\n") { b"" } else { b"\r\n" };
        assert_eq!(*body, canonical(&[content, end].concat()), "{}", content.escape_ascii());
    }
    let reject = hear(BareNewline::Reject, std::iter::once(wire.as_slice()));
    assert_eq!((reject.mails, reject.codes.len()), (1, 3), "{}", content.escape_ascii());
    assert!(reject.messages.len() <= 1 && reject.messages.iter().all(|body| is_canonical(body)));
}

/// One message in chunks, the first of them so long.
fn by_chunks(content: &[u8], border: usize, around: Option<std::ops::Range<usize>>) {
    let (first, last) = content.split_at(border);
    let head = format!("BDAT {}\r\n", first.len());
    let middle = format!("BDAT {} LAST\r\n", last.len());
    let wire = [OPENING, head.as_bytes(), first, middle.as_bytes(), last, b"QUIT\r\n"].concat();
    let at = OPENING.len() + head.len();
    let around = around.map_or(at + border..at + border, |r| at + r.start..at + r.end + middle.len());
    let heard = same_however_it_is_cut(&wire, around);
    if first.contains(&0) {
        assert_eq!((heard.mails, heard.codes.as_slice()), (1, &[NUL, 503, 221][..]), "{}", wire.escape_ascii());
        assert!(heard.messages.is_empty());
        return;
    }
    one_verdict(&heard, content, &[250]);
    if let Some(body) = heard.messages.first() {
        assert_eq!(*body, canonical(content), "{}", wire.escape_ascii());
    }
}

#[test]
fn a001_to_a006_nothing_in_the_middle_of_data_ends_it() {
    for sequence in sequences() {
        let content = [b"a".as_slice(), &sequence, EVIL].concat();
        by_data(&content, 0..sequence.len() + 3);
    }
}

#[test]
fn a001_to_a006_nothing_at_the_end_of_data_hides_the_end_or_makes_two_of_it() {
    for sequence in sequences() {
        by_data(&sequence, 0..sequence.len() * 2 + 6);
        by_data(&[b"a\r\nDATA".as_slice(), &sequence].concat(), 6..14 + sequence.len());
    }
}

#[test]
fn a001_to_a006_nothing_in_a_chunk_ends_it_wherever_its_border_is() {
    for sequence in sequences() {
        let content = [b"a".as_slice(), &sequence, EVIL].concat();
        by_chunks(&content, 1 + sequence.len() / 2, Some(0..sequence.len() + 2));
        by_chunks(&[b"a".as_slice(), &sequence].concat(), 1, None);
        if sequence.len() < LENGTH_MAX as usize {
            for border in 0..=sequence.len() {
                by_chunks(&sequence, border, None);
            }
        }
    }
}
