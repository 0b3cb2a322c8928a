//! The letters that are sent: made from (seed, number) alone, so that nothing need be kept to know what
//! should come back.
//!
//! A letter is exactly as many bytes as asked for (CRLF counted, dot-stuffing and the final dot not). Its
//! first field is `X-Load-Id`, and the same id stands in `Message-ID` and in the last line, so that two
//! letters that were mixed up differ at both ends. Some lines begin with a dot and some are a dot alone.
//!
//! A small set of templates is made once, plain and dot-stuffed; a letter is a copy of one with its id
//! written over three places of fixed width. So making one costs a copy.
//!
//! **What a server may add.** Whole header fields before `X-Load-Id` (Return-Path, Received, …) and nothing
//! else: [`identify`] splits there, and everything from `X-Load-Id` on must be what was sent, byte for byte.

use std::fmt;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use xxhash_rust::xxh3::xxh3_128;

use crate::mix;

/// The smallest letter that can be made, bytes.
pub const LETTER_BYTES_MIN: usize = 512;
/// Templates made for each size.
const TEMPLATES_PER_SIZE: usize = 8;
/// The longest line made, CRLF not counted.
const LINE_BYTES_MAX: usize = 76;
const ID_FIELD: &[u8] = b"X-Load-Id: ";
const ID_BYTES: usize = 33;
const BLANK: [u8; ID_BYTES] = [b'0'; ID_BYTES];
const LAST_LINE: &[u8] = b"End of letter ";
/// The last line with its id and CRLF.
const LAST_BYTES: usize = LAST_LINE.len() + ID_BYTES + 2;

/// Which run sent a letter and which letter of it this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LetterId {
    /// The run's seed.
    pub seed: u64,
    /// Number within the run.
    pub n: u64,
}

impl LetterId {
    fn spell(self) -> [u8; ID_BYTES] {
        let mut text = [b'-'; ID_BYTES];
        for (at, value) in [(0, self.seed), (17, self.n)] {
            for i in 0..16 {
                text[at + i] = b"0123456789abcdef"[(value >> (60 - 4 * i)) as usize & 15];
            }
        }
        text
    }

    fn read(text: &[u8]) -> Option<LetterId> {
        let text = std::str::from_utf8(text).ok()?;
        let (seed, n) = text.split_once('-')?;
        if seed.len() != 16 || n.len() != 16 {
            return None;
        }
        Some(LetterId { seed: u64::from_str_radix(seed, 16).ok()?, n: u64::from_str_radix(n, 16).ok()? })
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.seed, self.n)
    }
}

/// A size below [`LETTER_BYTES_MIN`] was asked for, or a mix of letters whose mean is too small for it.
#[derive(Debug, thiserror::Error)]
#[error("a letter has at least {least} bytes, not {0}", least = self.1)]
pub struct TooSmall(pub usize, pub usize);

/// All letters of one run.
#[derive(Debug)]
pub struct Letters {
    seed: u64,
    templates: Vec<Template>,
}

#[derive(Debug)]
struct Template {
    plain: Vec<u8>,
    plain_marks: [usize; 3],
    stuffed: Vec<u8>,
    stuffed_marks: [usize; 3],
}

impl Letters {
    /// Letters of the sizes in `sizes_bytes`, mixed evenly.
    pub fn new(seed: u64, sizes_bytes: &[usize]) -> Result<Letters, TooSmall> {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut templates = Vec::new();
        for _ in 0..TEMPLATES_PER_SIZE {
            for &size in sizes_bytes {
                templates.push(Template::new(size, &mut chance)?);
            }
        }
        assert!(!templates.is_empty(), "a run has at least one size");
        Ok(Letters { seed, templates })
    }

    /// Letters of many sizes with this mean, with headers and parts as mail has them (see [`crate::mix`]).
    ///
    /// # Errors
    /// A mean below four times the smallest.
    pub fn mixed(seed: u64, mean_bytes: usize) -> Result<Letters, TooSmall> {
        if mean_bytes < 4 * mix::LETTER_BYTES_MIN {
            return Err(TooSmall(mean_bytes, 4 * mix::LETTER_BYTES_MIN));
        }
        let mut chance = StdRng::seed_from_u64(seed);
        let templates = mix::sizes(mean_bytes).into_iter().map(|size| Template::mixed(size, &mut chance));
        Ok(Letters { seed, templates: templates.collect() })
    }

    /// Bytes of a letter in the mean.
    #[must_use]
    pub fn size_bytes_mean(&self) -> usize {
        self.templates.iter().map(|template| template.plain.len()).sum::<usize>() / self.templates.len()
    }

    /// The id of letter `n`.
    #[must_use]
    pub fn id(&self, n: u64) -> LetterId {
        LetterId { seed: self.seed, n }
    }

    /// Bytes of letter `n` as stored: what `SIZE=` and an APPEND literal say.
    #[must_use]
    pub fn size_bytes(&self, n: u64) -> usize {
        self.template(n).plain.len()
    }

    /// Appends letter `n` as it is stored and read.
    pub fn write_plain(&self, n: u64, out: &mut Vec<u8>) {
        let template = self.template(n);
        stamp(&template.plain, template.plain_marks, self.id(n), out);
    }

    /// Appends letter `n` as DATA carries it: dot-stuffed, with the final dot (RFC 5321 §4.5.2).
    pub fn write_smtp(&self, n: u64, out: &mut Vec<u8>) {
        let template = self.template(n);
        stamp(&template.stuffed, template.stuffed_marks, self.id(n), out);
    }

    /// Whether `letter` (from `X-Load-Id` on) is letter `n`. `scratch` is reused between calls.
    #[must_use]
    pub fn check(&self, n: u64, letter: &[u8], scratch: &mut Vec<u8>) -> Option<Difference> {
        scratch.clear();
        self.write_plain(n, scratch);
        let (want, got) = (xxh3_128(scratch), xxh3_128(letter));
        if want == got && scratch.len() == letter.len() {
            return None;
        }
        let at = scratch.iter().zip(letter).position(|(a, b)| a != b).unwrap_or(scratch.len().min(letter.len()));
        Some(Difference { want, got, want_bytes: scratch.len(), got_bytes: letter.len(), at })
    }

    fn template(&self, n: u64) -> &Template {
        // Consecutive numbers get unrelated templates, the same on every run.
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.templates[mixed as usize % self.templates.len()]
    }
}

/// How a letter that came back differs from the one that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// xxh3-128 of what was sent.
    pub want: u128,
    /// xxh3-128 of what came back.
    pub got: u128,
    /// Bytes sent.
    pub want_bytes: usize,
    /// Bytes that came back.
    pub got_bytes: usize,
    /// Offset of the first byte that differs.
    pub at: usize,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { want, got, want_bytes, got_bytes, at } = self;
        write!(f, "sent {want_bytes} bytes {want:032x}, got {got_bytes} bytes {got:032x}, first difference at {at}")
    }
}

/// A stored message, divided.
#[derive(Debug, PartialEq, Eq)]
pub struct Identified<'a> {
    /// Header fields the server put before ours.
    pub trace: &'a [u8],
    /// Whose letter it is.
    pub id: LetterId,
    /// From `X-Load-Id` to the end.
    pub letter: &'a [u8],
}

/// Finds our id in a stored message.
///
/// `None` when the message is not one of ours: no `X-Load-Id` in its header, or lines before it that are
/// not header fields (RFC 5322 §2.2).
#[must_use]
pub fn identify(message: &[u8]) -> Option<Identified<'_>> {
    let mut at = 0;
    while let Some(length) = memchr::memmem::find(&message[at..], b"\r\n") {
        let line = &message[at..at + length];
        if let Some(id) = line.strip_prefix(ID_FIELD) {
            return Some(Identified { trace: &message[..at], id: LetterId::read(id)?, letter: &message[at..] });
        }
        let continues = at > 0 && matches!(line.first(), Some(b' ' | b'\t'));
        if !continues && !is_field(line) {
            return None;
        }
        at += length + 2;
    }
    None
}

fn is_field(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|&b| b == b':') else { return false };
    colon > 0 && line[..colon].iter().all(|b| (33..=126).contains(b))
}

fn stamp(template: &[u8], marks: [usize; 3], id: LetterId, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(template);
    let text = id.spell();
    for mark in marks {
        out[start + mark..start + mark + ID_BYTES].copy_from_slice(&text);
    }
}

impl Template {
    fn new(size: usize, chance: &mut StdRng) -> Result<Template, TooSmall> {
        if size < LETTER_BYTES_MIN {
            return Err(TooSmall(size, LETTER_BYTES_MIN));
        }
        let (mut plain, marks) = Template::begin(size);
        plain.extend_from_slice(b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\n");
        plain.extend_from_slice(b"From: \"The Printing Works\" <works@load.example>\r\n");
        plain.extend_from_slice(b"To: Subscribers <subscribers@load.example>\r\nSubject: ");
        words(&mut plain, 40, chance);
        plain.extend_from_slice(b"\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n");

        assert!(plain.len() + 3 + LAST_BYTES <= LETTER_BYTES_MIN, "the header fits the smallest letter");
        fill(&mut plain, size - LAST_BYTES, chance);
        Ok(Template::end(plain, marks))
    }

    /// A letter of a mix. Its last line stands behind the last of its parts, where nobody looks (RFC 2046 §5.1.1).
    fn mixed(size: usize, chance: &mut StdRng) -> Template {
        let (mut plain, marks) = Template::begin(size);
        mix::write(&mut plain, size - LAST_BYTES, chance);
        Template::end(plain, marks)
    }

    /// `X-Load-Id` and `Message-ID`.
    fn begin(size: usize) -> (Vec<u8>, [usize; 3]) {
        let mut plain = Vec::with_capacity(size);
        let mut marks = [0; 3];
        plain.extend_from_slice(ID_FIELD);
        marks[0] = plain.len();
        plain.extend_from_slice(&BLANK);
        plain.extend_from_slice(b"\r\nMessage-ID: <");
        marks[1] = plain.len();
        plain.extend_from_slice(&BLANK);
        plain.extend_from_slice(b"@load.example>\r\n");
        (plain, marks)
    }

    /// The last line, and the form that DATA carries.
    fn end(mut plain: Vec<u8>, mut plain_marks: [usize; 3]) -> Template {
        plain.extend_from_slice(LAST_LINE);
        plain_marks[2] = plain.len();
        plain.extend_from_slice(&BLANK);
        plain.extend_from_slice(b"\r\n");

        let mut stuffed_marks = [0; 3];
        let mut stuffed = Vec::with_capacity(plain.len() + plain.len() / 64 + 3);
        for (i, &byte) in plain.iter().enumerate() {
            if byte == b'.' && (i == 0 || plain[i - 1] == b'\n') {
                stuffed.push(b'.');
            }
            if let Some(which) = plain_marks.iter().position(|&m| m == i) {
                stuffed_marks[which] = stuffed.len();
            }
            stuffed.push(byte);
        }
        stuffed.extend_from_slice(b".\r\n");
        Template { plain, plain_marks, stuffed, stuffed_marks }
    }
}

/// Lines of words up to exactly `end` bytes.
pub(crate) fn fill(text: &mut Vec<u8>, end: usize, chance: &mut StdRng) {
    let mut line = 0;
    while text.len() < end {
        let left = end - text.len();
        let mut take = if left <= LINE_BYTES_MAX + 2 { left } else { chance.random_range(40..=LINE_BYTES_MAX) + 2 };
        // What is left over must hold at least one character and CRLF.
        if left - take > 0 && left - take < 3 {
            take -= 3;
        }
        match line % 16 {
            3 if left >= 6 => {
                text.extend_from_slice(b".\r\n");
                line += 1;
                continue;
            }
            7 => text.extend_from_slice(if take > 6 { b".." } else { b"." }),
            11 => text.push(b'.'),
            _ => {}
        }
        let used = end - left;
        let have = text.len() - used;
        words(text, take - 2 - have, chance);
        text.extend_from_slice(b"\r\n");
        line += 1;
    }
    assert_eq!(text.len(), end);
}

/// Exactly `length` bytes of words and spaces; no space at either end.
pub(crate) fn words(text: &mut Vec<u8>, length: usize, chance: &mut StdRng) {
    const WORDS: [&str; 24] = [
        "letter", "ring", "the", "of", "and", "press", "paper", "ink", "morning", "post", "a", "in", "queue", "shard",
        "river", "evening", "stamp", "envelope", "to", "reader", "column", "page", "from", "weather",
    ];
    let end = text.len() + length;
    let start = text.len();
    while text.len() < end {
        if text.len() > start {
            text.push(b' ');
        }
        text.extend_from_slice(WORDS[chance.random_range(0..WORDS.len())].as_bytes());
    }
    text.truncate(end);
    if length > 0 && text[end - 1] == b' ' {
        text[end - 1] = b's';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(letters: &Letters, n: u64) -> Vec<u8> {
        let mut out = Vec::new();
        letters.write_plain(n, &mut out);
        out
    }

    #[test]
    fn every_size_is_exact_and_every_line_is_lawful() {
        for size in (LETTER_BYTES_MIN..LETTER_BYTES_MIN + 400).chain([4_096, 65_536]) {
            let letters = Letters::new(5, &[size]).unwrap();
            for n in 0..9 {
                let text = plain(&letters, n);
                assert_eq!(text.len(), size);
                assert!(text.ends_with(b"\r\n"));
                let lines: Vec<&[u8]> = text[..size - 2].split(|&b| b == b'\n').collect();
                assert!(lines.iter().all(|l| l.len() <= 79 && !l[..l.len().saturating_sub(1)].contains(&b'\r')));
            }
        }
        assert!(Letters::new(5, &[LETTER_BYTES_MIN - 1]).is_err());
    }

    #[test]
    fn a_mix_has_its_mean_lawful_lines_and_comes_back_as_it_went() {
        let letters = Letters::mixed(5, 15 << 10).unwrap();
        assert!((letters.size_bytes_mean() as f64 / f64::from(15 << 10) - 1.0).abs() < 0.01);
        let (mut attached, mut sizes) = (0, std::collections::BTreeSet::new());
        for n in 0..256 {
            let text = plain(&letters, n);
            assert_eq!(text.len(), letters.size_bytes(n));
            sizes.insert(text.len());
            for line in text.strip_suffix(b"\r\n").unwrap().split(|&b| b == b'\n') {
                assert!(line.len() <= 110 && line.is_ascii(), "{}", String::from_utf8_lossy(line));
            }
            let whole = String::from_utf8(text).unwrap();
            let (header, body) = whole.split_once("\r\n\r\n").unwrap();
            assert!(header.contains("DKIM-Signature: ") && header.contains("MIME-Version: 1.0"));
            attached += usize::from(body.contains("Content-Disposition: attachment"));
            if let Some((_, boundary)) = header.split_once("boundary=\"") {
                let boundary = boundary.split_once('"').unwrap().0;
                assert!(body.contains(&format!("\r\n--{boundary}--\r\nEnd of letter ")), "{whole}");
            }
            assert_eq!(letters.check(n, whole.as_bytes(), &mut Vec::new()), None);
        }
        assert!(attached > 20 && sizes.len() > 40, "{attached} {}", sizes.len());
        assert!(Letters::mixed(5, 4_096).is_err());
    }

    #[test]
    fn unstuffing_the_wire_form_gives_the_stored_form() {
        let letters = Letters::new(9, &[700, 4_096]).unwrap();
        let (mut dots, mut lone) = (0, 0);
        for n in 0..64 {
            let mut wire = Vec::new();
            letters.write_smtp(n, &mut wire);
            let body = wire.strip_suffix(b".\r\n").unwrap();
            let mut unstuffed = Vec::new();
            for line in body.split_inclusive(|&b| b == b'\n') {
                assert_ne!(line, b".\r\n", "a lone dot would end the letter early");
                lone += usize::from(line == b"..\r\n");
                dots += usize::from(line.starts_with(b"."));
                unstuffed.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            }
            assert_eq!(unstuffed, plain(&letters, n));
        }
        assert!(dots > 0 && lone > 0, "dots at the start of a line must be among what is tested");
    }

    #[test]
    fn letters_differ_at_both_ends_and_repeat_by_seed() {
        let (a, b) = (Letters::new(1, &[600]).unwrap(), Letters::new(1, &[600]).unwrap());
        assert_eq!(plain(&a, 42), plain(&b, 42));
        let (x, y) = (plain(&a, 1), plain(&a, 2));
        assert_ne!(x[..60], y[..60]);
        assert_ne!(x[550..], y[550..]);
    }

    #[test]
    fn the_servers_trace_fields_are_cut_off_and_nothing_else_is() {
        let letters = Letters::new(3, &[600]).unwrap();
        let body = plain(&letters, 77);
        let trace = b"Return-Path: <a@b>\r\nReceived: from x\r\n\tby y; date\r\n";
        let stored = [&trace[..], &body].concat();
        let found = identify(&stored).unwrap();
        assert_eq!((found.trace, found.id, found.letter), (&trace[..], letters.id(77), &body[..]));
        assert_eq!(letters.check(77, found.letter, &mut Vec::new()), None);
        for junk in [&b"no field here\r\n"[..], b"\r\n", b" leading fold\r\n", b"Sp ace: x\r\n"] {
            assert_eq!(identify(&[junk, &body].concat()), None);
        }
    }

    #[test]
    fn one_changed_byte_or_a_lost_tail_is_a_difference() {
        let letters = Letters::new(3, &[600]).unwrap();
        let mut body = plain(&letters, 5);
        body[400] ^= 1;
        assert_eq!(letters.check(5, &body, &mut Vec::new()).unwrap().at, 400);
        body[400] ^= 1;
        assert_eq!(letters.check(5, &body[..598], &mut Vec::new()).unwrap().at, 598);
        body.extend_from_slice(b"\r\n");
        assert_eq!(letters.check(5, &body, &mut Vec::new()).unwrap().at, 600);
        assert!(letters.check(6, &body, &mut Vec::new()).is_some());
    }
}
