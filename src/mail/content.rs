//! Reading the fields that describe a part: Content-Type and its relatives (RFC 2045 §5, RFC 2183).
//!
//! Tolerant and bounded: what cannot be read is left out, never guessed at, and nothing here looks at an octet more
//! than a fixed number of times. The first field of a name wins (A157).

use crate::mail::header;
use crate::mail::structure::{Content, Disposition, Octets, Param};

/// Parameters of one field. More are left out (A153).
pub const PARAMS_MAX: usize = 100;
/// Octets of one content field that are kept and read. The rest is left out.
pub const CONTENT_FIELD_BYTES_MAX: usize = 16 << 10;
/// Languages of one Content-Language field. More are left out.
pub const LANGUAGES_MAX: usize = 32;

/// Fields of a header section, in order, as slices; where it ends see [`header`].
pub fn fields(section: &[u8]) -> impl Iterator<Item = Field<'_>> {
    header::Fields::of(section).map(|f| Field {
        name: &section[f.name],
        value: &section[f.value],
        whole: &section[f.whole],
    })
}

/// One field of a header section.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its name as written.
    pub name: &'a [u8],
    /// From behind the colon, folded.
    pub value: &'a [u8],
    /// Name, colon and value.
    pub whole: &'a [u8],
}

impl Field<'_> {
    /// True if this is its name, whatever the case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// A field's value without its line ends, NULs and outer white space, cut at `bytes_max` octets.
#[must_use]
pub fn unfold(value: &[u8], bytes_max: usize) -> Octets {
    let value = value.trim_ascii();
    let value = &value[..value.len().min(bytes_max)];
    value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n' | 0)).collect()
}

/// What a header section says of its part. `in_digest`: the part lies in a multipart/digest (RFC 2046 §5.1.5).
#[must_use]
pub fn content_of(header: &[u8], in_digest: bool) -> Content {
    let mut content = Content::default();
    let mut seen_type = false;
    for field in fields(header) {
        if field.name.len() < 8 || !field.name[..8].eq_ignore_ascii_case(b"content-") {
            continue;
        }
        let value = || unfold(field.value, CONTENT_FIELD_BYTES_MAX);
        let text = || Some(value()).filter(|v| !v.is_empty());
        match field.name[8..].to_ascii_lowercase().as_slice() {
            b"type" if !seen_type => {
                seen_type = true;
                content_type(&value(), &mut content);
            }
            b"id" if content.id.is_none() => content.id = text(),
            b"description" if content.description.is_none() => content.description = text(),
            b"md5" if content.md5.is_none() => content.md5 = text(),
            b"location" if content.location.is_none() => content.location = text(),
            b"transfer-encoding" if content.encoding.is_none() => {
                let value = value();
                content.encoding = Reader::new(&value).token().map(<[u8]>::to_vec);
            }
            b"disposition" if content.disposition.is_none() => content.disposition = disposition(&value()),
            b"language" if content.language.is_empty() => content.language = languages(&value()),
            _ => {}
        }
    }
    if content.media.is_empty() {
        (content.media, content.subtype) = if in_digest && !seen_type {
            (b"message".to_vec(), b"rfc822".to_vec())
        } else {
            (b"text".to_vec(), b"plain".to_vec())
        };
    }
    content
}

fn content_type(value: &[u8], content: &mut Content) {
    let mut r = Reader::new(value);
    let Some(media) = r.token() else { return };
    if !r.eat(b'/') {
        return;
    }
    let Some(subtype) = r.token() else { return };
    content.media = media.to_vec();
    content.subtype = subtype.to_vec();
    content.params = r.params();
}

fn disposition(value: &[u8]) -> Option<Disposition> {
    let mut r = Reader::new(value);
    let kind = r.token()?.to_vec();
    Some(Disposition { kind, params: r.params() })
}

fn languages(value: &[u8]) -> Vec<Octets> {
    let mut r = Reader::new(value);
    let mut all = Vec::new();
    while all.len() < LANGUAGES_MAX {
        let Some(tag) = r.token() else { break };
        all.push(tag.to_vec());
        if !r.eat(b',') {
            break;
        }
    }
    all
}

/// Reads tokens, quoted strings and parameters, passing over white space and comments.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Reader { rest }
    }

    /// Passes over white space and comments. Depth is a counter, not a call (A158).
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_ascii_start();
            if self.rest.first() != Some(&b'(') {
                return;
            }
            let mut depth = 0_usize;
            let mut at = 0;
            while let Some(found) = self.rest.get(at..).and_then(|r| memchr::memchr3(b'(', b')', b'\\', r)) {
                at += found + 1;
                match self.rest[at - 1] {
                    b'(' => depth += 1,
                    b')' => depth -= 1,
                    _ => at += 1,
                }
                if depth == 0 {
                    break;
                }
            }
            self.rest = if depth == 0 { &self.rest[at..] } else { &[] };
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip();
        match self.rest.split_first() {
            Some((b, rest)) if *b == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// RFC 2045 §5.1 token.
    fn token(&mut self) -> Option<&'a [u8]> {
        self.skip();
        let end = self.rest.iter().position(|b| !is_token(*b)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(token).filter(|t| !t.is_empty())
    }

    fn value(&mut self) -> Option<Octets> {
        if self.eat(b'"') {
            let mut text = Vec::new();
            while let Some((b, rest)) = self.rest.split_first() {
                self.rest = rest;
                match b {
                    b'"' => break,
                    b'\\' => {
                        if let Some((quoted, rest)) = self.rest.split_first() {
                            text.push(*quoted);
                            self.rest = rest;
                        }
                    }
                    b => text.push(*b),
                }
            }
            return Some(text);
        }
        // Unquoted values in the wild hold spaces, slashes and 8-bit octets: everything up to the next semicolon.
        let end = memchr::memchr(b';', self.rest).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        let value = match memchr::memchr(b'(', value) {
            Some(comment) => &value[..comment],
            None => value,
        };
        self.rest = rest;
        Some(value.trim_ascii().to_vec())
    }

    fn params(&mut self) -> Vec<Param> {
        let mut all = Vec::new();
        while all.len() < PARAMS_MAX {
            match memchr::memchr(b';', self.rest) {
                Some(next) => self.rest = &self.rest[next + 1..],
                None => break,
            }
            let Some(name) = self.token() else { continue };
            if !self.eat(b'=') {
                continue;
            }
            let name = name.to_vec();
            let Some(value) = self.value() else { break };
            all.push(Param { name, value });
        }
        all
    }
}

fn is_token(b: u8) -> bool {
    (33..=126).contains(&b) && !b"()<>@,;:\\\"/[]?=".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Content {
        content_of(header.replace('\n', "\r\n").as_bytes(), false)
    }

    #[test]
    fn a_content_type_is_read_with_its_parameters() {
        let c = of("Content-Type: (c(o)mment) text/HTML;\n charset=\"utf-8\" (why); name=a b.txt;format = flowed\n\n");
        assert!(c.is("text", "html"));
        assert_eq!(c.param("charset"), Some(&b"utf-8"[..]));
        assert_eq!(c.param("NAME"), Some(&b"a b.txt"[..]));
        assert_eq!(c.param("format"), Some(&b"flowed"[..]));
    }

    #[test]
    fn nothing_usable_means_plain_text() {
        for h in ["\n", "Content-Type: garbage\n\n", "Content-Type:\n\n", "Content-Type: /x\n\n"] {
            assert!(of(h).is("text", "plain"), "{h:?}");
        }
        assert!(content_of(b"\r\n", true).is("message", "rfc822"));
    }

    #[test]
    fn a157_the_first_of_two_content_types_wins() {
        assert!(of("Content-Type: text/a\nContent-Type: text/b\n\n").is("text", "a"));
    }

    #[test]
    fn a153_parameters_are_counted() {
        let many = format!("Content-Type: text/plain{}\n\n", "; a=b".repeat(1_000));
        assert_eq!(of(&many).params.len(), PARAMS_MAX);
    }

    #[test]
    fn disposition_language_and_the_rest_are_read() {
        let c = of("Content-Disposition: attachment; filename=\"a\\\"b\"\nContent-Language: de, en (x)\n\
                    Content-ID: <x@y>\nContent-Transfer-Encoding: BASE64 \nContent-MD5: abc=\n\n");
        let d = c.disposition.unwrap();
        assert_eq!((d.kind.as_slice(), d.params[0].value.as_slice()), (&b"attachment"[..], &b"a\"b"[..]));
        assert_eq!(c.language, [b"de".to_vec(), b"en".to_vec()]);
        assert_eq!(c.id.as_deref(), Some(&b"<x@y>"[..]));
        assert_eq!(c.encoding.as_deref(), Some(&b"BASE64"[..]));
        assert_eq!(c.md5.as_deref(), Some(&b"abc="[..]));
    }
}
