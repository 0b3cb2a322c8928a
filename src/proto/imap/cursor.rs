//! A place in a command's text, and the tokens of RFC 9051 §9 read from there.
//!
//! The text is a whole command without its last CRLF; literals stand in it as they came: `{3}` CRLF and three octets.
//! Framing has made sure of their length, so a brace that does not fit is a syntax error here and nothing more.

use std::borrow::Cow;

use super::refusal::Refusal;

/// A place in a text.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

type Read<T> = Result<T, Refusal>;

impl<'a> Cursor<'a> {
    /// At `at` in `text`.
    #[must_use]
    pub fn new(text: &'a [u8], at: usize) -> Self {
        assert!(at <= text.len(), "a cursor stands in its text");
        Cursor { text, at }
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// The next octet.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Passes the octet if it is next.
    pub fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    /// Passes an octet that must be next.
    pub fn expect(&mut self, byte: u8, otherwise: &'static str) -> Read<()> {
        if self.take(byte) { Ok(()) } else { Err(Refusal::bad(otherwise)) }
    }

    /// Passes the one space between two arguments.
    pub fn sp(&mut self) -> Read<()> {
        self.expect(b' ', "Space expected: too few arguments or malformed ones")
    }

    /// Nothing may be left.
    pub fn end(&self) -> Read<()> {
        if self.rest().is_empty() { Ok(()) } else { Err(Refusal::bad("Too many or malformed arguments")) }
    }

    /// The octets while `ok` holds; may be none.
    pub fn run(&mut self, ok: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let len = rest.iter().position(|b| !ok(*b)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// `atom`
    pub fn atom(&mut self) -> Read<&'a [u8]> {
        let atom = self.run(is_atom);
        if atom.is_empty() { Err(Refusal::bad("Atom expected")) } else { Ok(atom) }
    }

    /// `astring`
    pub fn astring(&mut self) -> Read<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => {
                let text = self.run(is_astring);
                if text.is_empty() { Err(Refusal::bad("String or atom expected")) } else { Ok(text.into()) }
            }
        }
    }

    /// `string`: quoted or literal.
    pub fn string(&mut self) -> Read<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => Err(Refusal::bad("String expected")),
        }
    }

    /// `list-mailbox`
    pub fn list_mailbox(&mut self) -> Read<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => {
                let text = self.run(|b| is_astring(b) || b == b'%' || b == b'*');
                if text.is_empty() { Err(Refusal::bad("Mailbox pattern expected")) } else { Ok(text.into()) }
            }
        }
    }

    /// `number`, up to 2^63 - 1.
    pub fn number(&mut self) -> Read<u64> {
        let digits = self.run(|b| b.is_ascii_digit());
        number(digits).filter(|n| *n <= i64::MAX as u64).ok_or(Refusal::bad("Number expected or out of range"))
    }

    /// `nz-number`
    pub fn nz_number(&mut self) -> Read<u32> {
        let n = self.number()?;
        u32::try_from(n).ok().filter(|n| *n != 0).ok_or(Refusal::bad("Number out of range"))
    }

    /// A 32-bit `number`.
    pub fn number32(&mut self) -> Read<u32> {
        u32::try_from(self.number()?).map_err(|_| Refusal::bad("Number out of range"))
    }

    /// `quoted` (A107): no NUL, CR or LF, 8-bit only as UTF-8.
    fn quoted(&mut self) -> Read<Cow<'a, [u8]>> {
        let body = &self.rest()[1..];
        let mut plain: Option<Vec<u8>> = None;
        let mut at = 0;
        loop {
            match body.get(at) {
                None => return Err(Refusal::bad("Quoted string has no end")),
                Some(b'"') => break,
                Some(0 | b'\r' | b'\n') => return Err(Refusal::bad("NUL, CR or LF in quoted string")),
                Some(b'\\') => match body.get(at + 1) {
                    Some(escaped @ (b'"' | b'\\')) => {
                        plain.get_or_insert_with(|| body[..at].to_vec()).push(*escaped);
                        at += 2;
                    }
                    _ => return Err(Refusal::bad("Backslash in quoted string escapes only quote and backslash")),
                },
                Some(byte) => {
                    if let Some(plain) = plain.as_mut() {
                        plain.push(*byte);
                    }
                    at += 1;
                }
            }
        }
        self.at += at + 2;
        let text = plain.map_or(Cow::Borrowed(&body[..at]), Cow::Owned);
        if std::str::from_utf8(&text).is_err() {
            return Err(Refusal::bad("Quoted string is not UTF-8"));
        }
        Ok(text)
    }

    /// `literal`: no NUL.
    fn literal(&mut self) -> Read<&'a [u8]> {
        self.expect(b'{', "Literal expected")?;
        let len = self.number()?;
        self.take(b'+');
        self.expect(b'}', "Malformed literal")?;
        self.expect(b'\r', "Malformed literal")?;
        self.expect(b'\n', "Malformed literal")?;
        let len = usize::try_from(len).map_err(|_| Refusal::bad("Malformed literal"))?;
        let octets = self.rest().get(..len).ok_or(Refusal::bad("Malformed literal"))?;
        if memchr::memchr(0, octets).is_some() {
            return Err(Refusal::bad("NUL in literal"));
        }
        self.at += len;
        Ok(octets)
    }
}

/// Decimal digits as a number; `None` for none or beyond 64 bits.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, b| {
        if !b.is_ascii_digit() {
            return None;
        }
        n.checked_mul(10)?.checked_add(u64::from(b - b'0'))
    })
}

/// `ATOM-CHAR`
pub fn is_atom(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// `ASTRING-CHAR`
pub fn is_astring(byte: u8) -> bool {
    is_atom(byte) || byte == b']'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn astring(text: &[u8]) -> Option<Vec<u8>> {
        let mut cursor = Cursor::new(text, 0);
        let read = cursor.astring().ok()?.into_owned();
        cursor.end().ok()?;
        Some(read)
    }

    #[test]
    fn strings_come_in_three_forms() {
        assert_eq!(astring(b"INBOX]"), Some(b"INBOX]".to_vec()));
        assert_eq!(astring(br#""a \"b\\ c""#), Some(br#"a "b\ c"#.to_vec()));
        assert_eq!(astring(b"{3}\r\na\r\n"), Some(b"a\r\n".to_vec()));
        assert_eq!(astring(b"{2+}\r\n\xff\xfe"), Some(vec![0xff, 0xfe]));
        assert_eq!(astring(b"{0}\r\n"), Some(vec![]));
        assert_eq!(astring(b"\"\""), Some(vec![]));
        assert_eq!(astring("\"ä\"".as_bytes()), Some("ä".as_bytes().to_vec()));
    }

    #[test]
    fn a107_quoted_strings_have_no_nul_cr_or_broken_utf8() {
        for text in [
            &b"\"a\0\""[..],
            b"\"a\rb\"",
            b"\"a\r\nb\"",
            b"\"\xff\"",
            b"\"\xc3\"",
            b"\"a\\n\"",
            b"\"a",
            b"\"a\\",
            b"{1}\r\n\0",
            b"{5}\r\nab",
            b"{5} ab",
            b"{-1}\r\n",
            b"{}\r\n",
            b"{99999999999999999999}\r\n",
            b"\xe4",
            b"",
        ] {
            assert_eq!(astring(text), None, "{}", text.escape_ascii());
        }
    }
}
