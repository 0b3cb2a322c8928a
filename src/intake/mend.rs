//! A letter as our own users hand it in, made one that may travel: Date and Message-ID where they are missing, Bcc taken out
//! (RFC 6409 §8.2, §8.3; RFC 5322 §3.6.3), and what is ours alone to say (see `strip`). Sender and all else stay as they are.
//!
//! - Pure, and a stream: octets go through as they come, and at most [`NAME_BYTES_MAX`] of them are held back, at the beginning of a
//!   line. The body is not looked at.
//! - What is handed in has CRLF at the end of its lines already.
//! - A letter that begins without a header gets one, and all of it is its body.

/// The longest beginning of a line that is needed to know its field. Longer: none of those we look for.
const NAME_BYTES_MAX: usize = 32;

/// Octets of From and Sender that are kept to be looked at. More: they are nobody's.
const AUTHORS_BYTES_MAX: usize = 16 << 10;

/// Goes through one letter's header.
#[derive(Debug)]
pub struct Mender {
    /// Fields to be added where they are missing, with their CRLF.
    date: String,
    message_id: String,
    /// Empty: it is not looked for.
    from: String,
    /// The beginning of a line, not yet passed on.
    held: Vec<u8>,
    at: At,
    has_date: bool,
    has_message_id: bool,
    has_from: bool,
    has_field: bool,
    /// All fields From and Sender, each with its name written so; `None`: they are not looked for, or were too long.
    authors: Option<Vec<u8>>,
    /// The line belongs to one of them.
    in_author: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Where a line begins; true: the field above is being taken out.
    Line(bool),
    /// Inside a line that stays, or does not.
    Inside(bool),
    /// Behind the header.
    Body,
}

/// What a line is, as far as it was seen.
enum Is {
    /// Not enough of it was.
    Open,
    /// More of the field above.
    Continued,
    /// A field: which of ours.
    Field(Field),
    /// The end of the header.
    Empty,
    /// Nothing that a header has.
    NoField,
}

enum Field {
    Date,
    MessageId,
    From,
    Sender,
    Bcc,
    Other,
}

impl Mender {
    /// Before the first octet. `date`: as RFC 5322 §3.3 has it; `message_id`: what stands between the angle brackets.
    #[must_use]
    pub fn new(date: &str, message_id: &str) -> Self {
        Mender {
            date: format!("Date: {date}\r\n"),
            message_id: format!("Message-ID: <{message_id}>\r\n"),
            from: String::new(),
            held: Vec::new(),
            at: At::Line(false),
            has_date: false,
            has_message_id: false,
            has_from: true,
            has_field: false,
            authors: None,
            in_author: false,
        }
    }

    /// Keeps From and Sender, to be looked at.
    #[must_use]
    pub fn with_authors(mut self) -> Self {
        self.authors = Some(Vec::new());
        self
    }

    /// From and Sender as they were written, once the letter is whole. `None`: they were too long, or not kept.
    #[must_use]
    pub fn authors(&self) -> Option<&[u8]> {
        self.authors.as_deref()
    }

    /// Adds From as well where it is missing, as programs on this host leave it out. `from`: what stands behind the colon.
    #[must_use]
    pub fn with_from(mut self, from: &str) -> Self {
        (self.from, self.has_from) = (format!("From: {from}\r\n"), false);
        self
    }

    /// Takes the next octets of the letter and passes on what stays, in order.
    pub fn take(&mut self, mut piece: &[u8], pass: &mut impl FnMut(&[u8])) {
        while !piece.is_empty() {
            match self.at {
                At::Body => return pass(piece),
                At::Inside(gone) => {
                    let end = memchr::memchr(b'\n', piece).map_or(piece.len(), |lf| lf + 1);
                    if !gone {
                        pass(&piece[..end]);
                    }
                    if self.in_author {
                        self.note(&piece[..end]);
                    }
                    if piece[end - 1] == b'\n' {
                        self.at = At::Line(gone);
                    }
                    piece = &piece[end..];
                }
                At::Line(gone) => {
                    self.held.push(piece[0]);
                    piece = &piece[1..];
                    self.look(gone, pass);
                }
            }
        }
    }

    /// The letter is whole: what is still held back, and what is missing where it was all header.
    pub fn end(&mut self, pass: &mut impl FnMut(&[u8])) {
        if self.at == At::Body {
            return;
        }
        // A last line that nobody knows is none of ours.
        let (At::Line(gone) | At::Inside(gone)) = self.at else { return };
        let stays = !gone || self.held.first().is_some_and(|b| !matches!(b, b' ' | b'\t'));
        let unfinished = stays && (!self.held.is_empty() || matches!(self.at, At::Inside(_)));
        if stays {
            pass(&self.held);
        }
        self.held.clear();
        if unfinished && !(self.has_date && self.has_message_id && self.has_from) {
            pass(b"\r\n");
        }
        self.add_missing(pass);
        self.at = At::Body;
    }

    /// Looks at the beginning of a line again, with one octet more.
    fn look(&mut self, gone: bool, pass: &mut impl FnMut(&[u8])) {
        let mut line_ends = self.held.last() == Some(&b'\n');
        let mut out = gone;
        let was_author = std::mem::take(&mut self.in_author);
        match what_is(&self.held) {
            Is::Open => {
                self.in_author = was_author;
                return;
            }
            Is::Continued if self.has_field => {
                self.in_author = was_author;
                self.note_held();
            }
            Is::Field(field) => {
                self.has_field = true;
                self.has_date |= matches!(field, Field::Date);
                self.has_message_id |= matches!(field, Field::MessageId);
                self.has_from |= matches!(field, Field::From);
                out = matches!(field, Field::Bcc);
                self.in_author = matches!(field, Field::From | Field::Sender);
                self.note_held();
            }
            Is::Empty => {
                self.add_missing(pass);
                (out, line_ends) = (false, false);
                self.at = At::Body;
            }
            Is::Continued | Is::NoField if !self.has_field => {
                self.add_missing(pass);
                pass(b"\r\n");
                (out, line_ends) = (false, false);
                self.at = At::Body;
            }
            Is::Continued | Is::NoField => out = false,
        }
        if !out {
            pass(&self.held);
        }
        self.held.clear();
        if self.at != At::Body {
            self.at = if line_ends { At::Line(out) } else { At::Inside(out) };
        }
    }

    /// Keeps what is held of From or Sender, a field's name as we write it.
    fn note_held(&mut self) {
        if !self.in_author {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let is = |name: &[u8]| held.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        match memchr::memchr(b':', &held) {
            Some(colon) if is(b"From") || is(b"Sender") => {
                self.note(if is(b"From") { b"From:" } else { b"Sender:" });
                self.note(&held[colon + 1..]);
            }
            _ => self.note(&held),
        }
        self.held = held;
    }

    fn note(&mut self, octets: &[u8]) {
        let Some(authors) = &mut self.authors else { return };
        authors.extend_from_slice(octets);
        if authors.len() > AUTHORS_BYTES_MAX {
            self.authors = None;
        }
    }

    fn add_missing(&mut self, pass: &mut impl FnMut(&[u8])) {
        if !std::mem::replace(&mut self.has_date, true) {
            pass(self.date.as_bytes());
        }
        if !std::mem::replace(&mut self.has_message_id, true) {
            pass(self.message_id.as_bytes());
        }
        if !std::mem::replace(&mut self.has_from, true) {
            pass(self.from.as_bytes());
        }
    }
}

fn what_is(line: &[u8]) -> Is {
    match line {
        [] | [b'\r'] => return Is::Open,
        [b'\r', b'\n', ..] | [b'\n', ..] => return Is::Empty,
        [b' ' | b'\t', ..] => return Is::Continued,
        _ => {}
    }
    let Some(end) = line.iter().position(|b| matches!(b, b':' | b'\n')) else {
        // Words are no name.
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        if words.nth(1).is_some() {
            return Is::NoField;
        }
        // A name as long as that is none of ours; that it is one is believed.
        return if line.len() < NAME_BYTES_MAX { Is::Open } else { Is::Field(Field::Other) };
    };
    // RFC 5322 §4.5: there may be spaces before the colon.
    let name = line[..end].trim_ascii_end();
    if line[end] == b'\n' || name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return Is::NoField;
    }
    let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
    Is::Field(match () {
        () if is(b"Date") => Field::Date,
        () if is(b"Message-ID") => Field::MessageId,
        () if is(b"From") => Field::From,
        () if is(b"Sender") => Field::Sender,
        () if is(b"Bcc") || is(b"Resent-Bcc") => Field::Bcc,
        () if is(b"Return-Path") || is(b"X-Ringpost-Filter") => Field::Bcc,
        () => Field::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDED: &str = "Date: D\r\nMessage-ID: <I>\r\n";

    /// The letter as it goes on, the same however it comes in pieces.
    fn mended(letter: &str) -> String {
        let through = |sizes: usize| {
            let mut out = Vec::new();
            let mut mender = Mender::new("D", "I");
            for piece in letter.as_bytes().chunks(sizes) {
                mender.take(piece, &mut |octets| out.extend_from_slice(octets));
            }
            mender.end(&mut |octets| out.extend_from_slice(octets));
            String::from_utf8(out).unwrap()
        };
        let whole = through(usize::MAX);
        for sizes in 1..=letter.len().min(40) {
            assert_eq!(through(sizes), whole, "in pieces of {sizes}");
        }
        whole
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_there_stays() {
        assert_eq!(mended("Subject: x\r\n\r\nHi\r\n"), format!("Subject: x\r\n{ADDED}\r\nHi\r\n"));
        let whole = "DATE: today\r\nmessage-id : <a@b>\r\nSender: s@t\r\n\r\nDate: no\r\nBcc: body\r\n";
        assert_eq!(mended(whole), whole);
        assert_eq!(mended("Date:\r\n\r\n"), "Date:\r\nMessage-ID: <I>\r\n\r\n");
        assert_eq!(mended("Subject: no body\r\n"), format!("Subject: no body\r\n{ADDED}"));
        assert_eq!(mended(""), ADDED);
        assert_eq!(mended("Resent-Date: x\r\n\r\n"), format!("Resent-Date: x\r\n{ADDED}\r\n"));
    }

    #[test]
    fn bcc_is_taken_out_with_all_its_lines() {
        let letter =
            "From: a@b\r\nBcc: c@d,\r\n\te@f,\r\n g@h\r\nTo: i@j\r\nbcc :k@l\r\nResent-Bcc:\r\n m@n\r\n\r\nBcc: x\r\n";
        assert_eq!(mended(letter), format!("From: a@b\r\nTo: i@j\r\n{ADDED}\r\nBcc: x\r\n"));
        assert_eq!(mended("Bcc: a@b\r\n"), ADDED);
        assert_eq!(mended("Return-Path: <a@b>\r\nX-Ringpost-Filter: x\r\n"), ADDED);
        assert_eq!(mended("Bcc: a@b\r\n c@d"), ADDED);
        assert_eq!(mended("X-Bcc: a@b\r\n\r\n"), format!("X-Bcc: a@b\r\n{ADDED}\r\n"));
    }

    #[test]
    fn from_is_added_where_it_is_asked_for() {
        let mut out = Vec::new();
        let mut mender = Mender::new("D", "I").with_from("root@a.test");
        mender.take(b"Date: x\r\n\r\nHi\r\n", &mut |octets| out.extend_from_slice(octets));
        mender.end(&mut |octets| out.extend_from_slice(octets));
        assert_eq!(out, b"Date: x\r\nMessage-ID: <I>\r\nFrom: root@a.test\r\n\r\nHi\r\n");
    }

    #[test]
    fn every_from_and_sender_is_kept_to_be_looked_at() {
        let authors = |letter: &[u8], size: usize| {
            let mut mender = Mender::new("D", "I").with_authors();
            letter.chunks(size).for_each(|piece| mender.take(piece, &mut |_| {}));
            mender.end(&mut |_| {});
            mender.authors().map(|octets| String::from_utf8_lossy(octets).into_owned())
        };
        let letter = b"To: x@y\r\nFROM : a@b,\r\n c@d\r\nSubject: s\r\n From: no\r\nsender:e@f\r\nFrom-x: no\r\nFrom: g@h\r\n\r\nFrom: body\r\n";
        for size in 1..=letter.len() {
            let kept = authors(letter, size).expect("not much");
            assert_eq!(kept, "From: a@b,\r\n c@d\r\nSender:e@f\r\nFrom: g@h\r\n", "in pieces of {size}");
        }
        assert_eq!(authors(b"Subject: s\r\n\r\nFrom: body\r\n", 7).as_deref(), Some(""));
        assert_eq!(authors(b"From: a@b", 3).as_deref(), Some("From: a@b"));
        let long = format!("From: {}\r\n\r\n", "a@b, ".repeat(AUTHORS_BYTES_MAX / 5));
        assert_eq!(authors(long.as_bytes(), 100), None);
    }

    #[test]
    fn what_has_no_header_gets_one() {
        assert_eq!(mended("Hello there\r\nBcc: x\r\n"), format!("{ADDED}\r\nHello there\r\nBcc: x\r\n"));
        assert_eq!(mended("\r\nHello\r\n"), format!("{ADDED}\r\nHello\r\n"));
        assert_eq!(mended(" folded of nothing\r\n"), format!("{ADDED}\r\n folded of nothing\r\n"));
        let long = "These are many words, and no line of a header is so.\r\n";
        assert_eq!(mended(long), format!("{ADDED}\r\n{long}"));
        assert_eq!(mended("To: a@b\r\nSub"), format!("To: a@b\r\nSub\r\n{ADDED}"));
        assert_eq!(mended(": no name\r\n\r\n"), format!("{ADDED}\r\n: no name\r\n\r\n"));
        // In the middle of a header it stays where it is.
        assert_eq!(mended("To: a@b\r\nodd line\r\nBcc: c@d\r\n\r\n"), format!("To: a@b\r\nodd line\r\n{ADDED}\r\n"));
        let long = format!("{}: x\r\n\r\n", "X".repeat(90));
        assert_eq!(mended(&long), format!("{}: x\r\n{ADDED}\r\n", "X".repeat(90)));
    }
}
