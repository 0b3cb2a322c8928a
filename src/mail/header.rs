//! The header walk: one pass over memchr, ranges only.
//!
//! [`Fields`] walks the header section of a message that lies in one slice. [`Examiner`] does the same for a message
//! that comes in pieces, keeps the facts that decide whether it is taken, and never holds more than
//! a few hundred octets of it. A test holds the two against each other.
//!
//! What a field is (RFC 5322 §2.2): a name of printable characters without space or colon, white space of old (§4.5), a
//! colon, and everything up to the line end that no white space follows. The section ends at the empty line. *Liberty*:
//! it also ends, without being skipped, at the first line that is neither a field nor a continuation: such a
//! line and all that follows is body, as a message without any header is all body.

use std::ops::Range;

use crate::limits;

/// Octets of a line in which its name must end. Longer: the line is no field (RFC 5322 §2.1.1).
pub const NAME_BYTES_MAX: usize = 998;

/// A field as ranges of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name, without colon.
    pub name: Range<usize>,
    /// The value as it stands, folds included, from behind the colon to before the last CRLF.
    pub value: Range<usize>,
    /// All of it, the last CRLF included.
    pub whole: Range<usize>,
}

/// Walks the fields of a message in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// From the first octet of `message`.
    #[must_use]
    pub fn of(message: &'a [u8]) -> Self {
        Fields { message, at: 0 }
    }

    /// Where the walk stands: behind the last field returned.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }
}

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        let start = self.at;
        let first = line_end(self.message, start);
        let colon = colon(&self.message[start..first])?;
        let mut end = first;
        while end < self.message.len() && matches!(self.message[end], b' ' | b'\t') {
            end = line_end(self.message, end);
        }
        self.at = end;
        let name_bytes = self.message[start..start + colon].trim_ascii_end().len();
        let value_end = end - end_of_line_bytes(&self.message[start..end]);
        Some(Field {
            name: start..start + name_bytes,
            value: start + colon + 1..value_end.max(start + colon + 1),
            whole: start..end,
        })
    }
}

/// Where the body of `message` begins: behind the empty line, or at the line that is no field, or at the end.
#[must_use]
pub fn body_start(message: &[u8]) -> usize {
    let mut fields = Fields::of(message);
    fields.by_ref().for_each(drop);
    let at = fields.position();
    match &message[at..] {
        [b'\r', b'\n', ..] => at + 2,
        [b'\n', ..] => at + 1,
        _ => at,
    }
}

/// The first field of this name, any case.
#[must_use]
pub fn find(message: &[u8], name: &str) -> Option<Field> {
    Fields::of(message).find(|field| message[field.name.clone()].eq_ignore_ascii_case(name.as_bytes()))
}

/// Bounds a header is held against. At each the [`Examiner`] answers with its [`HeaderFault`].
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// One field, octets.
    pub field_bytes_max: usize,
    /// The section, octets.
    pub header_bytes_max: usize,
    /// Fields.
    pub fields_max: usize,
    /// Received fields: from this number on it is a loop.
    pub received_max: usize,
    /// Received fields written by us. More: it is a loop.
    pub received_by_us_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            field_bytes_max: limits::HEADER_FIELD_BYTES_MAX,
            header_bytes_max: limits::HEADER_BYTES_MAX,
            fields_max: limits::HEADER_FIELDS_MAX,
            received_max: limits::RECEIVED_FIELDS_MAX,
            received_by_us_max: limits::RECEIVED_BY_US_MAX,
        }
    }
}

/// Why a header is not taken. The sender's fault, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// A field over the bound.
    #[error("a header field is too long")]
    FieldTooLong,
    /// The section over the bound.
    #[error("the header is too long")]
    HeaderTooLong,
    /// Fields over the bound.
    #[error("too many header fields")]
    TooManyFields,
    /// Too many Received fields, or too many of our own (RFC 5321 §6.3).
    #[error("the message is in a loop")]
    Loop,
}

/// What a header says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Fields.
    pub fields: usize,
    /// Octets of the section, the empty line not counted.
    pub header_bytes: usize,
    /// Octets of the largest field.
    pub largest_field_bytes: usize,
    /// Received fields.
    pub received: usize,
    /// Received fields that name us behind `by`.
    pub received_by_us: usize,
    /// Values of Delivered-To, as they stand but for the space around them. At most
    /// [`limits::RECEIVED_FIELDS_MAX`]; more is a loop.
    pub delivered_to: Vec<Box<[u8]>>,
    /// The section ended at a line that is no field.
    pub ended_without_empty_line: bool,
    /// A field holds octets above 127: such a message can only travel with SMTPUTF8, whatever was declared when it came
    /// (RFC 6532 §3, A199).
    pub international: bool,
}

/// Examines a header that lies in one slice; what follows the header is ignored. `host`: our own name.
pub fn examine(message: &[u8], host: &str, bounds: Bounds) -> Result<Facts, HeaderFault> {
    let mut examiner = Examiner::new(host, bounds);
    examiner.take(message)?;
    examiner.finish()
}

/// Examines a header that comes in pieces.
#[derive(Debug)]
pub struct Examiner {
    bounds: Bounds,
    host: Box<str>,
    facts: Facts,
    /// The line being read: its first octets, enough to know the field and what of it matters.
    line: Vec<u8>,
    line_bytes: usize,
    /// Octets above 127 are in it.
    line_international: bool,
    field_bytes: usize,
    /// The beginning of the field being read, if its value matters.
    kept: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Before,
    InField { kept: bool },
    Over,
}

impl Examiner {
    /// Octets of a line or field kept to look into. A name or a mailbox behind them is not seen.
    const KEPT_BYTES_MAX: usize = 1_024;

    /// Before the first octet. `host`: our own name.
    #[must_use]
    pub fn new(host: &str, bounds: Bounds) -> Self {
        Examiner {
            bounds,
            host: host.into(),
            facts: Facts::default(),
            line: Vec::new(),
            line_bytes: 0,
            line_international: false,
            field_bytes: 0,
            kept: Vec::new(),
            state: State::Before,
        }
    }

    /// True once the header has ended: further pieces cost nothing and need not be given.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes the next piece of the message.
    pub fn take(&mut self, mut piece: &[u8]) -> Result<(), HeaderFault> {
        while !piece.is_empty() && self.state != State::Over {
            let (part, ended) = match memchr::memchr(b'\n', piece) {
                Some(at) => (&piece[..=at], true),
                None => (piece, false),
            };
            piece = &piece[part.len()..];
            let room = Self::KEPT_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            self.line_bytes += part.len();
            self.line_international |= !part.is_ascii();
            if ended {
                self.line()?;
            } else if self.line.len() >= Self::KEPT_BYTES_MAX && !self.may_be_field() {
                // Known for what it is before its end: a body line may have any length.
                self.line()?;
            } else {
                self.within(self.line_bytes)?;
            }
        }
        Ok(())
    }

    /// The message is whole.
    pub fn finish(mut self) -> Result<Facts, HeaderFault> {
        if self.line_bytes > 0 && self.state != State::Over {
            self.line()?;
        }
        self.field_ended()?;
        Ok(self.facts)
    }

    /// A line is whole, or known to be no field: what is it?
    fn line(&mut self) -> Result<(), HeaderFault> {
        let bytes = self.line_bytes;
        match (self.state, self.line.first(), colon(&self.line)) {
            (State::InField { kept }, Some(b' ' | b'\t'), _) => {
                self.within(bytes)?;
                self.field_bytes += bytes;
                self.facts.international |= self.line_international;
                if kept {
                    self.keep();
                }
            }
            (_, _, Some(at)) => {
                self.field_ended()?;
                self.facts.international |= self.line_international;
                self.field_began(at, bytes)?;
            }
            (_, _, None) => {
                self.field_ended()?;
                self.facts.ended_without_empty_line = !matches!(self.line.as_slice(), b"\r\n" | b"\n");
                self.state = State::Over;
            }
        }
        self.line.clear();
        self.line_bytes = 0;
        self.line_international = false;
        Ok(())
    }

    fn may_be_field(&self) -> bool {
        matches!((self.state, self.line.first()), (State::InField { .. }, Some(b' ' | b'\t')))
            || colon(&self.line).is_some()
    }

    /// Holds the bounds for a line of `bytes` octets, ended or not, that belongs to the field being read or begins one.
    fn within(&self, bytes: usize) -> Result<(), HeaderFault> {
        let continues = matches!(self.line.first(), Some(b' ' | b'\t'));
        let before = if continues { self.field_bytes } else { 0 };
        if before + bytes > self.bounds.field_bytes_max {
            return Err(HeaderFault::FieldTooLong);
        }
        if self.facts.header_bytes + self.field_bytes + bytes > self.bounds.header_bytes_max {
            return Err(HeaderFault::HeaderTooLong);
        }
        Ok(())
    }

    fn field_began(&mut self, colon: usize, bytes: usize) -> Result<(), HeaderFault> {
        self.facts.fields += 1;
        if self.facts.fields > self.bounds.fields_max {
            return Err(HeaderFault::TooManyFields);
        }
        self.within(bytes)?;
        self.field_bytes = bytes;
        let name = self.line[..colon].trim_ascii_end();
        let kept = name.eq_ignore_ascii_case(b"Received") || name.eq_ignore_ascii_case(b"Delivered-To");
        self.state = State::InField { kept };
        self.kept.clear();
        if kept {
            self.keep();
        }
        Ok(())
    }

    fn keep(&mut self) {
        let room = Self::KEPT_BYTES_MAX.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&self.line[..self.line.len().min(room)]);
    }

    fn field_ended(&mut self) -> Result<(), HeaderFault> {
        let bytes = std::mem::take(&mut self.field_bytes);
        self.facts.header_bytes += bytes;
        self.facts.largest_field_bytes = self.facts.largest_field_bytes.max(bytes);
        if self.state != (State::InField { kept: true }) {
            return Ok(());
        }
        self.state = State::Before;
        let Some(at) = colon(&self.kept) else { return Ok(()) };
        let value = &self.kept[at + 1..];
        if self.kept[..at].trim_ascii_end().eq_ignore_ascii_case(b"Received") {
            self.facts.received += 1;
            self.facts.received_by_us += usize::from(is_by(value, &self.host));
            let ours = self.facts.received_by_us > self.bounds.received_by_us_max;
            if ours || self.facts.received >= self.bounds.received_max {
                return Err(HeaderFault::Loop);
            }
        } else {
            if self.facts.delivered_to.len() >= limits::RECEIVED_FIELDS_MAX {
                return Err(HeaderFault::Loop);
            }
            self.facts.delivered_to.push(value.trim_ascii().into());
        }
        Ok(())
    }
}

/// True if a Received value says `by host`.
fn is_by(value: &[u8], host: &str) -> bool {
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.any(|word| word.eq_ignore_ascii_case(b"by"))
        && words
            .next()
            .is_some_and(|word| word.strip_suffix(b";").unwrap_or(word).eq_ignore_ascii_case(host.as_bytes()))
}

/// Where the colon of a field's first line is; `None` if the line is no field.
fn colon(line: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', &line[..line.len().min(NAME_BYTES_MAX)])?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(|b| matches!(b, 33..=126))).then_some(colon)
}

/// What the octets are at the beginning of a line of the header, where more of them may follow. The same as for [`Fields`] and
/// [`Examiner`], by the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Of a field, whose colon is there.
    Field(usize),
    /// Of no field: the header has ended.
    NoField,
    /// More of them have to be seen, [`NAME_BYTES_MAX`] at most.
    Open,
}

/// What begins here, as far as it is known: the octets may end before their line does, or behind it.
#[must_use]
pub fn beginning(octets: &[u8]) -> Beginning {
    let seen = &octets[..octets.len().min(NAME_BYTES_MAX)];
    let line = &seen[..line_end(seen, 0)];
    match memchr::memchr(b':', line) {
        Some(_) => colon(line).map_or(Beginning::NoField, Beginning::Field),
        None if line.len() == NAME_BYTES_MAX || line.ends_with(b"\n") => Beginning::NoField,
        None => Beginning::Open,
    }
}

/// True if a line, or its first [`NAME_BYTES_MAX`] octets, begins a field.
#[must_use]
pub fn begins_field(line: &[u8]) -> bool {
    colon(line).is_some()
}

/// Behind the LF of the line at `start`, or the end.
fn line_end(message: &[u8], start: usize) -> usize {
    memchr::memchr(b'\n', &message[start..]).map_or(message.len(), |at| start + at + 1)
}

/// Octets of the line end that `line` ends with.
fn end_of_line_bytes(line: &[u8]) -> usize {
    match line {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(message: &[u8]) -> Vec<String> {
        Fields::of(message).map(|f| String::from_utf8_lossy(&message[f.name]).into_owned()).collect()
    }

    fn facts(message: &str) -> Result<Facts, HeaderFault> {
        examine(message.as_bytes(), "mx.ringpost.test", Bounds::default())
    }

    #[test]
    fn a199_a_message_is_international_by_what_its_header_holds() {
        let is = |message: &[u8]| examine(message, "mx.test", Bounds::default()).unwrap().international;
        for plain in [
            &b"Subject: x\r\n\r\nb\xc3\xbccher\r\n"[..],
            b"Subject: =?utf-8?q?b=C3=BCcher?=\r\n\r\n",
            b"b\xc3\xbccher\r\n",
        ] {
            assert!(!is(plain), "{}", plain.escape_ascii());
        }
        let folded = b"Subject: x\r\n b\xc3\xbccher\r\nTo: y\r\n\r\n".as_slice();
        for international in [&b"Subject: b\xc3\xbccher\r\n\r\n"[..], folded, b"X-Latin-1: b\xfccher\r\n\r\n"] {
            assert!(is(international), "{}", international.escape_ascii());
            for cut in 0..international.len() {
                let mut examiner = Examiner::new("mx.test", Bounds::default());
                examiner.take(&international[..cut]).and_then(|()| examiner.take(&international[cut..])).unwrap();
                assert!(examiner.finish().unwrap().international, "cut at {cut}");
            }
        }
        let long = [b"X: ".as_slice(), &[b'x'; 5_000], "\u{fc}\r\n\r\n".as_bytes()].concat();
        assert!(is(&long), "behind what is kept of a line");
    }

    #[test]
    fn fields_are_ranges_of_the_message() {
        let message = b"Subject: one\r\n two\r\nX-Empty:\r\nTo : alice\r\n\r\nBody: no\r\n";
        assert_eq!(names(message), ["Subject", "X-Empty", "To"]);
        let subject = find(message, "SUBJECT").unwrap();
        assert_eq!(&message[subject.value], b" one\r\n two");
        assert_eq!(&message[subject.whole], b"Subject: one\r\n two\r\n");
        assert_eq!(find(message, "X-Empty").unwrap().value.len(), 0);
        assert_eq!(&message[body_start(message)..], b"Body: no\r\n");
    }

    #[test]
    fn a_message_without_header_is_all_body() {
        for message in [&b"hello\r\nworld: x\r\n"[..], b" a: b\r\n", b"Fr om: x\r\n", b": x\r\n", b""] {
            assert_eq!(names(message), Vec::<String>::new());
            assert_eq!(body_start(message), 0);
        }
        assert_eq!(body_start(b"\r\nbody"), 2);
        assert!(facts("hello\r\nworld\r\n").unwrap().ended_without_empty_line);
    }

    #[test]
    fn a049_a_hundred_received_fields_are_a_loop() {
        let header = |n: usize| "Received: from a by b;\r\n\tdate\r\n".repeat(n) + "\r\n";
        assert_eq!(facts(&header(99)).unwrap().received, 99);
        assert_eq!(facts(&header(100)), Err(HeaderFault::Loop));
    }

    #[test]
    fn a050_our_own_trace_and_our_mailboxes_are_seen() {
        let header = |n: usize| "Received: from a\r\n\tby MX.ringpost.test with SMTP; date\r\n".repeat(n) + "\r\n";
        assert_eq!(facts(&header(10)).unwrap().received_by_us, 10);
        assert_eq!(facts(&header(11)), Err(HeaderFault::Loop));
        let found = facts("Delivered-To: alice@ringpost.test\r\ndelivered-to:bob@x \r\n\r\n").unwrap();
        assert_eq!(found.delivered_to, [b"alice@ringpost.test".as_slice().into(), Box::from(b"bob@x".as_slice())]);
        assert_eq!(facts("Received: by other; by mx.ringpost.test\r\n\r\n").unwrap().received_by_us, 0);
    }

    #[test]
    fn a051_each_length_of_a_header_has_its_bound() {
        assert_eq!(facts(&("A: b\r\n".repeat(2_000) + "\r\n")).unwrap().fields, 2_000);
        assert_eq!(facts(&"A: b\r\n".repeat(2_001)), Err(HeaderFault::TooManyFields));
        assert_eq!(
            facts(&format!("A: {}\r\n", "x".repeat(limits::HEADER_FIELD_BYTES_MAX))),
            Err(HeaderFault::FieldTooLong)
        );
        let folded = String::from("A: b\r\n") + &" x\r\n".repeat(1_000_000);
        assert_eq!(facts(&folded), Err(HeaderFault::FieldTooLong));
        let wide = format!("A: {}\r\n", "x".repeat(90 << 10)).repeat(12);
        assert_eq!(facts(&wide), Err(HeaderFault::HeaderTooLong));
        let mut examiner = Examiner::new("us", Bounds::default());
        let two = format!("A: {}\r\n", "x".repeat(90 << 10)).repeat(2);
        assert!(two.as_bytes().chunks(4_096).all(|piece| examiner.take(piece).is_ok()), "neighbours are not added up");
        // A body of any shape is not a header.
        let body = "x".repeat(200 << 10) + ": y\r\n";
        assert!(facts(&body).unwrap().ended_without_empty_line);
        assert_eq!(names(body.as_bytes()).len(), 0);
        assert!(facts(&(String::from("A: b\r\n\r\n") + &"x".repeat(2 << 20))).is_ok());
    }

    #[test]
    fn a_fault_is_found_before_the_line_ends() {
        let mut examiner = Examiner::new("us", Bounds::default());
        let piece = [b'x'; 4_096];
        examiner.take(b"A: ").unwrap();
        let taken = (0..1_000).take_while(|_| examiner.take(&piece).is_ok()).count();
        assert_eq!(taken, limits::HEADER_FIELD_BYTES_MAX / piece.len() - 1);
    }

    proptest! {
        #[test]
        fn walk_and_examiner_agree_however_the_message_comes(
            words in proptest::collection::vec(
                proptest::sample::select(vec!["A", "Received", "Delivered-To", ":", " ", "\t", "\r\n", "\n", "by us", "x", "é"]),
                0..40,
            ),
            cut in 1usize..9,
        ) {
            let message = words.concat().into_bytes();
            let mut examiner = Examiner::new("us", Bounds::default());
            for piece in message.chunks(cut) {
                examiner.take(piece).unwrap();
            }
            let facts = examiner.finish().unwrap();
            let mut fields = Fields::of(&message);
            let walked: Vec<Field> = fields.by_ref().collect();
            prop_assert_eq!(facts.fields, walked.len());
            prop_assert_eq!(facts.header_bytes, fields.position());
            prop_assert_eq!(facts.largest_field_bytes, walked.iter().map(|f| f.whole.len()).max().unwrap_or(0));
            let received = walked.iter().filter(|f| message[f.name.clone()].eq_ignore_ascii_case(b"received")).count();
            prop_assert_eq!(facts.received, received);
            prop_assert!(body_start(&message) <= message.len());
            prop_assert_eq!(facts, examine(&message, "us", Bounds::default()).unwrap());
        }

        #[test]
        fn any_octets_are_answered(bytes in proptest::collection::vec(0u8.., 0..200)) {
            let _ = (names(&bytes), body_start(&bytes), examine(&bytes, "us", Bounds::default()));
        }
    }
}
