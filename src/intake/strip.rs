//! Fields in which this host alone speaks, taken out of what others bring: else anybody could say of his letter what our filters and
//! trace fields say.
//!
//! | field | why |
//! |---|---|
//! | `X-Ringpost-Filter` | it is ours |
//! | `Return-Path` | written once, at final delivery, which is here (RFC 5321 §4.4) |
//! | `Authentication-Results` in our name | readers believe who is named there (RFC 8601 §5) |
//!
//! - Pure, and a stream: octets go through in runs as long as they come, and at most [`HELD_BYTES_MAX`] are held back, at the beginning
//!   of a line that may be one of these. The body is not looked at. What comes has CRLF at the end of its lines already.
//! - What a field is, and where the header ends, is as in [`header`]: a letter is read by it later.
//! - A letter that begins with white space has no header, and is set off by an empty line: else it would go on with the last of our
//!   own trace fields, which stand before it, and what follows would be fields again.

use crate::mail::header::{self, Beginning};

/// Octets of a field by which it is known whether it stays: its name is in them. Not known by then whose results it has: it does not.
const HELD_BYTES_MAX: usize = 1_024;
const _: () = assert!(header::NAME_BYTES_MAX < HELD_BYTES_MAX);
const OURS: [&[u8]; 2] = [b"X-Ringpost-Filter", b"Return-Path"];
const IN_OUR_NAME: &[u8] = b"Authentication-Results";

/// Goes through one letter's header.
#[derive(Debug)]
pub struct Stripper {
    /// Our own name; empty: results in it stay.
    host: Box<str>,
    held: Vec<u8>,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first octet.
    Start,
    /// Where a line begins; true: the field above is being taken out.
    Line(bool),
    /// Inside a line.
    Inside(bool),
    /// Behind the header.
    Body,
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    /// It is none: the header ended above (as in [`header`](crate::mail::header)).
    Body,
    /// More of it has to be seen.
    Open,
}

impl Stripper {
    /// Before the first octet. `host`: our own name, in which nobody else speaks; `None`: whoever brings this may.
    #[must_use]
    pub fn new(host: Option<&str>) -> Stripper {
        Stripper { host: host.unwrap_or_default().into(), held: Vec::new(), at: At::Start }
    }

    /// Takes the next octets of the letter and passes on what stays, in order.
    pub fn take(&mut self, piece: &[u8], pass: &mut impl FnMut(&[u8])) {
        if self.held.is_empty() {
            return self.look(piece, pass);
        }
        let mut whole = std::mem::take(&mut self.held);
        whole.extend_from_slice(piece);
        self.look(&whole, pass);
    }

    /// The letter is whole: what is still held back.
    pub fn end(&mut self, pass: &mut impl FnMut(&[u8])) {
        let rest = std::mem::take(&mut self.held);
        let whole = [&rest, b"\r\n\r\n".as_slice()].concat();
        if !rest.is_empty() && self.known_fate(&whole) != Fate::Goes {
            pass(&rest);
        }
        self.at = At::Body;
    }

    fn look(&mut self, piece: &[u8], pass: &mut impl FnMut(&[u8])) {
        // What stays and was not passed on yet begins there.
        let (mut from, mut at) = (0, 0);
        while at < piece.len() {
            match self.at {
                At::Body => break,
                At::Start if matches!(piece[at], b' ' | b'\t') => {
                    pass(b"\r\n");
                    self.at = At::Body;
                }
                At::Start => self.at = At::Line(false),
                At::Inside(gone) => {
                    at = memchr::memchr(b'\n', &piece[at..]).map_or(piece.len(), |lf| at + lf + 1);
                    if piece[at - 1] == b'\n' {
                        self.at = At::Line(gone);
                    }
                    if gone {
                        from = at;
                    }
                }
                At::Line(gone) => {
                    let goes = match piece[at] {
                        b'\r' | b'\n' => {
                            self.at = At::Body;
                            break;
                        }
                        b' ' | b'\t' => gone,
                        _ => match self.fate(&piece[at..]) {
                            Fate::Stays => false,
                            Fate::Goes => true,
                            Fate::Body => {
                                self.at = At::Body;
                                break;
                            }
                            Fate::Open => {
                                pass_on(&piece[from..at], pass);
                                self.held = piece[at..].to_vec();
                                return;
                            }
                        },
                    };
                    if goes {
                        pass_on(&piece[from..at], pass);
                        from = at;
                    }
                    self.at = At::Inside(goes);
                }
            }
        }
        pass_on(&piece[from..], pass);
    }

    /// What becomes of the field that begins here.
    fn fate(&self, field: &[u8]) -> Fate {
        let field = &field[..field.len().min(HELD_BYTES_MAX)];
        match self.known_fate(field) {
            Fate::Open if field.len() == HELD_BYTES_MAX => Fate::Goes,
            fate => fate,
        }
    }

    fn known_fate(&self, field: &[u8]) -> Fate {
        match header::beginning(field) {
            Beginning::Field(colon) => self.fate_by_name(field[..colon].trim_ascii_end(), &field[colon + 1..]),
            Beginning::NoField => Fate::Body,
            Beginning::Open => Fate::Open,
        }
    }

    fn fate_by_name(&self, name: &[u8], value: &[u8]) -> Fate {
        if OURS.into_iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            return Fate::Goes;
        }
        if self.host.is_empty() || !name.eq_ignore_ascii_case(IN_OUR_NAME) {
            return Fate::Stays;
        }
        match speaks_as(value, self.host.as_bytes()) {
            None => Fate::Open,
            Some(true) => Fate::Goes,
            Some(false) => Fate::Stays,
        }
    }
}

fn pass_on(octets: &[u8], pass: &mut impl FnMut(&[u8])) {
    if !octets.is_empty() {
        pass(octets);
    }
}

/// True if the results in this value are said to be ours (RFC 8601 §2.2: comments and folds may stand before the name). `None`: more
/// of it has to be seen.
fn speaks_as(value: &[u8], host: &[u8]) -> Option<bool> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match *value.get(at)? {
            b'\\' if depth > 0 => at += 1,
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b'\n' => {
                // The field ends where no white space follows.
                if !matches!(value.get(at + 1)?, b' ' | b'\t') {
                    return Some(false);
                }
            }
            b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c' | b'"' => {}
            _ if depth > 0 => {}
            _ => break,
        }
        at += 1;
    }
    let name = &value[at..];
    let end = name
        .iter()
        .position(|b| matches!(b, b';' | b' ' | b'\t' | b'\r' | b'\n' | b'\x0b' | b'\x0c' | b'(' | b'"' | b'/'));
    match end {
        Some(end) => {
            let said = name[..end].strip_suffix(b".").unwrap_or(&name[..end]);
            Some(said.eq_ignore_ascii_case(host))
        }
        None if name.len() > host.len() + 1 => Some(false),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LONG: &str = match str::from_utf8(&[b'x'; 990]) {
        Ok(text) => text,
        Err(_) => unreachable!(),
    };

    /// What stays of a letter, the same however it comes in pieces.
    fn stripped(letter: &str) -> String {
        let through = |sizes: usize| {
            let (mut out, mut stripper) = (Vec::new(), Stripper::new(Some("mx.us.test")));
            for piece in letter.as_bytes().chunks(sizes) {
                stripper.take(piece, &mut |octets| out.extend_from_slice(octets));
            }
            stripper.end(&mut |octets| out.extend_from_slice(octets));
            String::from_utf8(out).expect("text")
        };
        let whole = through(usize::MAX);
        for sizes in 1..=letter.len().min(60) {
            assert_eq!(through(sizes), whole, "in pieces of {sizes}");
        }
        whole
    }

    #[test]
    fn what_we_alone_may_say_is_taken_out_with_all_its_lines() {
        let letter = "X-Ringpost-Filter: dnsbl; fine\r\nReceived: x\r\nreturn-path :\r\n <a@b>\r\n\t<c@d>\r\nRe: y\r\n\
            x-RINGPOST-filter: z\r\n\r\nX-Ringpost-Filter: body\r\n";
        assert_eq!(stripped(letter), "Received: x\r\nRe: y\r\n\r\nX-Ringpost-Filter: body\r\n");
        assert_eq!(stripped("Return-Path: <a@b>\r\n c"), "");
        assert_eq!(stripped("\r\nReturn-Path: <a@b>\r\n"), "\r\nReturn-Path: <a@b>\r\n");
    }

    #[test]
    fn what_others_say_stays_as_it_is() {
        for letter in [
            "",
            "R",
            "Return-Pat",
            "Return-Path",
            "Return-Paths: x\r\n\r\n",
            "X-Ringpost-Filters: x\r\n\r\n",
            "Return-Path no colon\r\n\r\n",
            "Hello, no header\r\nReturn-Path: x\r\n",
            "To: x\r\nReturn-Path\r\n: x\r\nReturn-Path: body\r\n",
            ": x\r\nReturn-Path: body\r\n",
            "To: x\r\n Return-Path: folded\r\n\r\n",
            "Authentication-Results: other.test; spf=pass\r\n\r\n",
            "Authentication-Results: mx.us.test.other.test; spf=pass\r\n\r\n",
            "Authentication-Results: x.mx.us.test; spf=pass\r\n\r\n",
            "Authentication-Results:\r\nTo: mx.us.test\r\n\r\n",
        ] {
            assert_eq!(stripped(letter), letter);
        }
    }

    #[test]
    fn nobody_else_tells_results_in_our_name() {
        for forged in [
            "Authentication-Results: mx.us.test; spf=pass",
            "authentication-results :MX.us.test.\r\n\t; spf=pass",
            "Authentication-Results:\r\n (we (our\\)selves)) \"mx.us.test\" 1; none",
            "Authentication-Results: mx.us.test/1; none",
        ] {
            assert_eq!(
                stripped(&format!("To: a@b\r\n{forged}\r\nCc: c@d\r\n\r\n")),
                "To: a@b\r\nCc: c@d\r\n\r\n",
                "{forged}"
            );
        }
        let long = format!("Authentication-Results: ({})\r\n mx.us.test; spf=pass\r\n\r\n", "x".repeat(2_000));
        assert_eq!(stripped(&long), "\r\n", "what hides so deep is no honest one");
        let mut out = Vec::new();
        let trusted = b"Authentication-Results: mx.us.test; spf=pass\r\nReturn-Path: <>\r\n\r\n";
        Stripper::new(None).take(trusted, &mut |octets| out.extend_from_slice(octets));
        assert_eq!(out, b"Authentication-Results: mx.us.test; spf=pass\r\n\r\n");
    }

    #[test]
    fn a_letter_without_a_header_is_kept_however_long_its_first_line_is() {
        for length in [997, 998, 1_023, 1_024, 1_025, 5_000] {
            let letter = format!("{}\r\nReturn-Path: body\r\n", "QUJD".repeat(length).split_at(length).0);
            assert_eq!(stripped(&letter), letter, "{length}");
            let later = format!("To: x\r\n{letter}");
            assert_eq!(stripped(&later), later, "{length}");
        }
    }

    #[test]
    fn white_space_of_any_kind_before_a_colon_hides_nothing() {
        for odd in ["\x0c", " \x0c\t", "\r"] {
            let letter = format!(
                "X{odd}: y\r\nX-Ringpost-Filter: forged\r\nReturn-Path{odd}: <>\r\n\
                 Authentication-Results{odd}:{odd}mx.us.test{odd}; spf=pass\r\n\r\n"
            );
            assert_eq!(stripped(&letter), format!("X{odd}: y\r\n\r\n"), "{odd:?}");
        }
    }

    #[test]
    fn a_letter_that_begins_with_white_space_goes_on_with_no_field_of_ours() {
        let letter = " by us.test\r\nX-Ringpost-Filter: forged\r\n";
        assert_eq!(stripped(letter), format!("\r\n{letter}"));
        assert_eq!(stripped("\tx: y"), "\r\n\tx: y");
    }

    #[test]
    fn results_in_our_name_go_even_where_the_letter_ends_within_them() {
        assert_eq!(stripped("To: x\r\nAuthentication-Results: mx.us.test"), "To: x\r\n");
        assert_eq!(stripped("Authentication-Results: mx.us.test.other"), "Authentication-Results: mx.us.test.other");
        assert_eq!(stripped("Authentication-Results: mx.us"), "Authentication-Results: mx.us");
    }

    proptest! {
        /// The header parser, asked of the whole letter, and the stream agree to the octet: so nothing forged is left for who reads
        /// the stored letter, and nothing else is missing.
        #[test]
        fn what_is_left_has_no_forged_field_and_all_the_rest(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "X-Ringpost-Filter", "return-path", "Authentication-Results", "To", "X", ":", ": ", " ", "\t", "\x0c", "\r",
                    "\r\n", "\r\n", "\r\n", ": x\r\n", "mx.us.test", "; spf=pass", "(", ")", "\"", "\\", "é", LONG,
                ]),
                0..30,
            ),
            cut in 1usize..1_500,
        ) {
            let letter = words.concat();
            let (mut left, mut stripper) = (Vec::new(), Stripper::new(Some("mx.us.test")));
            for piece in letter.as_bytes().chunks(cut) {
                stripper.take(piece, &mut |octets| left.extend_from_slice(octets));
                prop_assert!(stripper.held.len() < HELD_BYTES_MAX);
            }
            stripper.end(&mut |octets| left.extend_from_slice(octets));

            let trace = "Received: by us\r\n";
            let set_off = if letter.starts_with([' ', '\t']) { "\r\n" } else { "" };
            let stored = format!("{trace}{set_off}{letter}");
            let is_forged = |field: &header::Field| {
                let window = field.whole.start + HELD_BYTES_MAX;
                let value = &stored.as_bytes()[field.value.start..field.whole.end.min(window).max(field.value.start)];
                match &stored.as_bytes()[field.name.clone()] {
                    name if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) => true,
                    name if name.eq_ignore_ascii_case(IN_OUR_NAME) && field.whole.len() >= HELD_BYTES_MAX => {
                        speaks_as(value, b"mx.us.test").unwrap_or(true)
                    }
                    name if name.eq_ignore_ascii_case(IN_OUR_NAME) => {
                        speaks_as(&[value, b"\r\n\r\n"].concat(), b"mx.us.test").unwrap_or(true)
                    }
                    _ => false,
                }
            };
            let mut fields = header::Fields::of(stored.as_bytes());
            let stay: String =
                fields.by_ref().filter(|field| !is_forged(field)).map(|field| &stored[field.whole]).collect();
            prop_assert_eq!(
                format!("{trace}{}", String::from_utf8_lossy(&left)),
                format!("{stay}{}", &stored[fields.position()..])
            );
        }
    }
}
