//! What octets say to a reader: transfer encodings, charsets, encoded words, and case. For SEARCH, never for addresses.
//!
//! All of it streams: a body of any size is decoded in pieces, in memory bounded by the piece. Nothing fails: what cannot
//! be decoded is kept or replaced (A154, A155). RFC 2045 §6.7, §6.8, RFC 2047.

use encoding_rs::{Decoder, Encoding, UTF_8};

/// A content transfer encoding being undone.
#[derive(Clone, Debug)]
pub enum Transfer {
    /// 7bit, 8bit, binary, and whatever is unknown.
    Identity,
    /// base64: bits gathered, and how many.
    Base64(u32, u8),
    /// quoted-printable: an `=` and what followed it, waiting.
    Quoted(Option<Option<u8>>),
}

impl Transfer {
    /// By its name in a header, any case.
    #[must_use]
    pub fn named(name: &[u8]) -> Self {
        if name.eq_ignore_ascii_case(b"base64") {
            Transfer::Base64(0, 0)
        } else if name.eq_ignore_ascii_case(b"quoted-printable") {
            Transfer::Quoted(None)
        } else {
            Transfer::Identity
        }
    }

    /// Decodes the next octets, appending to `out`. Octets that cannot be there are passed over (base64) or kept (quoted-printable).
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Transfer::Identity => out.extend_from_slice(bytes),
            Transfer::Base64(bits, held) => {
                for b in bytes {
                    let value = match b {
                        b'A'..=b'Z' => b - b'A',
                        b'a'..=b'z' => b - b'a' + 26,
                        b'0'..=b'9' => b - b'0' + 52,
                        b'+' => 62,
                        b'/' => 63,
                        b'=' => {
                            (*bits, *held) = (0, 0);
                            continue;
                        }
                        _ => continue,
                    };
                    *bits = *bits << 6 & 0xffff | u32::from(value);
                    *held += 6;
                    if *held >= 8 {
                        *held -= 8;
                        out.push((*bits >> *held & 0xff) as u8);
                    }
                }
            }
            Transfer::Quoted(waiting) => {
                for b in bytes {
                    *waiting = quoted(*waiting, *b, out);
                }
            }
        }
    }
}

fn quoted(waiting: Option<Option<u8>>, b: u8, out: &mut Vec<u8>) -> Option<Option<u8>> {
    match waiting {
        None if b == b'=' => Some(None),
        None => {
            out.push(b);
            None
        }
        // A soft line break, perhaps with white space before it.
        Some(_) if b == b'\n' => None,
        Some(None | Some(b' ' | b'\t' | b'\r')) if matches!(b, b' ' | b'\t' | b'\r') => Some(Some(b)),
        Some(None) if b.is_ascii_hexdigit() => Some(Some(b)),
        Some(Some(high)) if high.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
            out.push(hex(high) << 4 | hex(b));
            None
        }
        Some(first) => {
            out.push(b'=');
            out.extend(first);
            quoted(None, b, out)
        }
    }
}

fn hex(b: u8) -> u8 {
    (b as char).to_digit(16).map_or(0, |d| d as u8)
}

/// A charset being read, text coming out folded: each character in its lower case, whatever stands around it.
pub struct Reading {
    decoder: Decoder,
    text: String,
}

impl Reading {
    /// In this charset; one that is absent or unknown is read as UTF-8.
    #[must_use]
    pub fn new(charset: Option<&[u8]>) -> Self {
        Reading { decoder: encoding(charset).new_decoder_without_bom_handling(), text: String::new() }
    }

    /// Reads the next octets, appending folded text to `out`.
    pub fn push(&mut self, bytes: &[u8], last: bool, out: &mut String) {
        let room = self.decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(usize::MAX >> 1);
        self.text.clear();
        self.text.reserve(room);
        let _ = self.decoder.decode_to_string(bytes, &mut self.text, last);
        fold_into(&self.text, out);
    }
}

fn encoding(charset: Option<&[u8]>) -> &'static Encoding {
    charset.and_then(Encoding::for_label_no_replacement).unwrap_or(UTF_8)
}

/// True if text in this charset can be read.
#[must_use]
pub fn is_known_charset(charset: &[u8]) -> bool {
    Encoding::for_label_no_replacement(charset).is_some()
}

/// Text in a charset, as UTF-8; what cannot be read is replaced.
#[must_use]
pub fn to_utf8(bytes: &[u8], charset: Option<&[u8]>) -> String {
    encoding(charset).decode_without_bom_handling(bytes).0.into_owned()
}

/// Text with each character in its lower case. A liberty: RFC 5051 wants titlecase and decomposition besides.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    fold_into(text, &mut out);
    out
}

fn fold_into(text: &str, out: &mut String) {
    out.reserve(text.len());
    if text.is_ascii() {
        let begin = out.len();
        out.push_str(text);
        out[begin..].make_ascii_lowercase();
    } else {
        out.extend(text.chars().flat_map(char::to_lowercase));
    }
}

/// A header value for a reader: unfolded octets in, encoded words decoded, line ends and NULs that they held removed.
///
/// Octets that are not UTF-8 are replaced. Each octet is looked at a fixed number of times.
#[must_use]
pub fn decode_words(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    let mut behind_word = false;
    while let Some(at) = memchr::memmem::find(rest, b"=?") {
        let (plain, from) = rest.split_at(at);
        let Some((text, used)) = encoded_word(from) else {
            out.push_str(&String::from_utf8_lossy(&rest[..at + 2]));
            rest = &rest[at + 2..];
            behind_word = false;
            continue;
        };
        // White space between two encoded words is not shown (RFC 2047 §6.2).
        if !(behind_word && plain.iter().all(u8::is_ascii_whitespace)) {
            out.push_str(&String::from_utf8_lossy(plain));
        }
        out.extend(text.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')));
        rest = &from[used..];
        behind_word = true;
    }
    out.push_str(&String::from_utf8_lossy(rest));
    out
}

/// Octets of one encoded word; RFC 2047 §2 allows 75, the wild knows more.
const ENCODED_WORD_BYTES_MAX: usize = 1_000;

fn encoded_word(from: &[u8]) -> Option<(String, usize)> {
    let word = &from[..from.len().min(ENCODED_WORD_BYTES_MAX)];
    let charset_end = 2 + word[2..].iter().take(64).position(|b| !b.is_ascii_graphic() || *b == b'?')?;
    let [b'?', how, b'?', ..] = word[charset_end..] else { return None };
    let text_at = charset_end + 3;
    let text_end = text_at + memchr::memmem::find(&word[text_at..], b"?=")?;
    let text = &word[text_at..text_end];
    // RFC 2231 §5: a language may follow the charset.
    let charset = word[2..charset_end].split(|b| *b == b'*').next();
    let mut octets = Vec::with_capacity(text.len());
    match how {
        b'b' | b'B' => Transfer::Base64(0, 0).push(text, &mut octets),
        b'q' | b'Q' => {
            let spaced: Vec<u8> = text.iter().map(|b| if *b == b'_' { b' ' } else { *b }).collect();
            Transfer::Quoted(None).push(&spaced, &mut octets);
        }
        _ => return None,
    }
    Some((to_utf8(&octets, charset), text_end + 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn transfer(name: &str, text: &str) -> String {
        let mut out = Vec::new();
        Transfer::named(name.as_bytes()).push(text.as_bytes(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn encoded_words_are_read() {
        assert_eq!(decode_words(b"=?iso-8859-1?Q?J=F6rg_M?= =?UTF-8?b?w7xsbGVy?= <x>"), "J\u{f6}rg M\u{fc}ller <x>");
        assert_eq!(decode_words(b"a =?utf-8*de?q?b?= c"), "a b c");
    }

    #[test]
    fn a154_broken_encoded_words_stay_as_they_are() {
        for text in ["=?", "=?utf-8?x?a?=", "=?utf-8?q?a", "=??q?", "=?a b?q?c?="] {
            assert_eq!(decode_words(text.as_bytes()), text);
        }
        assert_eq!(decode_words(b"=?utf-8?q?a=0D=0Ab=00c?="), "abc");
        assert_eq!(decode_words(b"=?no-such?q?a=C3=A9?="), "a\u{e9}");
        assert_eq!(decode_words(&b"=?utf-8?q?a?= ".repeat(100_000)).len(), 100_001);
    }

    #[test]
    fn transfer_encodings_are_undone_tolerantly() {
        assert_eq!(transfer("BASE64", "aGVs\r\nbG8=\r\n"), "hello");
        assert_eq!(transfer("base64", "aGVs*bG8"), "hello");
        assert_eq!(transfer("quoted-printable", "h=65l=\r\nlo =  \r\n=zz=4"), "hello =zz");
        assert_eq!(transfer("x-unknown", "=41"), "=41");
    }

    #[test]
    fn folding_knows_no_neighbours() {
        assert_eq!(fold("\u{3a3}A\u{3a3}"), "\u{3c3}a\u{3c3}");
        assert_eq!(fold("\u{dc}BER"), "\u{fc}ber");
    }

    proptest! {
        #[test]
        fn decoding_in_pieces_gives_the_same(text in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200, name in "base64|quoted-printable|8bit", charset in "utf-8|iso-2022-jp|gb18030|utf-16le|koi8-r") {
            let cut = cut.min(text.len());
            let whole = { let mut out = Vec::new(); Transfer::named(name.as_bytes()).push(&text, &mut out); out };
            let mut t = Transfer::named(name.as_bytes());
            let mut pieces = Vec::new();
            t.push(&text[..cut], &mut pieces);
            t.push(&text[cut..], &mut pieces);
            prop_assert_eq!(&pieces, &whole);
            let (mut a, mut b) = (String::new(), String::new());
            Reading::new(Some(charset.as_bytes())).push(&text, true, &mut a);
            let mut r = Reading::new(Some(charset.as_bytes()));
            r.push(&text[..cut], false, &mut b);
            r.push(&text[cut..], true, &mut b);
            prop_assert_eq!(a, b);
            prop_assert!(decode_words(&text).len() <= 3 * text.len());
        }
    }
}
