//! Mailbox names: checked once at the edge, UTF-8 inside, modified UTF-7 on the wire (RFC 3501 §5.1.3).
//!
//! A [`Name`] is one or more levels joined by `/`. It never becomes a path; still the levels `.` and `..`, empty levels,
//! wildcards and control characters are refused, so that no tool that meets the name later is surprised (A118). INBOX
//! is the only name whose case does not count, alone or as the first level; look-alikes in other scripts are other names.
//!
//! Decoding is strict: a name in modified UTF-7 that is not spelt the one canonical way (ASCII in base64, loose bits, two shifts in a
//! row) is refused, because two spellings of one mailbox would be two mailboxes to some clients.

use std::fmt;

/// One mailbox name in UTF-8, octets. Longer: NO [CANNOT].
pub const NAME_BYTES_MAX: usize = 1_000;
/// Levels of one mailbox name. More: NO [CANNOT].
pub const NAME_LEVELS_MAX: usize = 32;

/// A mailbox name that passed the checks.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

/// Why a name is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Above [`NAME_BYTES_MAX`].
    #[error("mailbox name too long")]
    TooLong,
    /// Above [`NAME_LEVELS_MAX`].
    #[error("mailbox name has too many levels")]
    TooDeep,
    /// Not modified UTF-7 in its canonical spelling.
    #[error("mailbox name is not valid modified UTF-7")]
    Utf7,
    /// Control characters.
    #[error("control character in mailbox name")]
    Control,
    /// An empty level, `.` or `..`.
    #[error("mailbox name has an empty or relative level")]
    Level,
    /// `*` or `%`.
    #[error("wildcard in mailbox name")]
    Wildcard,
}

impl Name {
    /// INBOX.
    #[must_use]
    pub fn inbox() -> Name {
        Name("INBOX".into())
    }

    /// Reads a name as it stands on the wire.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn parse(wire: &[u8]) -> Result<Name, Refused> {
        if wire.len() > 4 * NAME_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        Name::of(&decode(wire)?)
    }

    /// Checks a name in UTF-8.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn of(text: &str) -> Result<Name, Refused> {
        if text.len() > NAME_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(Refused::Control);
        }
        if text.contains(['*', '%']) {
            return Err(Refused::Wildcard);
        }
        if text.split('/').any(|level| matches!(level, "" | "." | "..")) {
            return Err(Refused::Level);
        }
        if text.split('/').count() > NAME_LEVELS_MAX {
            return Err(Refused::TooDeep);
        }
        match text.split_once('/') {
            None if text.eq_ignore_ascii_case("INBOX") => Ok(Name::inbox()),
            Some((first, rest)) if first.eq_ignore_ascii_case("INBOX") => Ok(Name(format!("INBOX/{rest}").into())),
            _ => Ok(Name(text.into())),
        }
    }

    /// True for INBOX itself.
    #[must_use]
    pub fn is_inbox(&self) -> bool {
        &*self.0 == "INBOX"
    }

    /// True if this name is one below the other.
    #[must_use]
    pub fn is_below(&self, other: &Name) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// In UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Appends a name, given in UTF-8, in modified UTF-7.
pub fn encode_utf7(name: &str, out: &mut Vec<u8>) {
    let mut shifted = Base64Out::default();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            shifted.close(out);
            out.push(c as u8);
            if c == '&' {
                out.push(b'-');
            }
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shifted.push(*unit, out);
            }
        }
    }
    shifted.close(out);
}

/// A name or pattern as it stands on the wire to UTF-8.
///
/// *Liberty*: one with 8-bit octets is no modified UTF-7 at all, and is taken as the UTF-8 that it is: clients send that, and
/// it has no other meaning. An `&` in it is an `&` then. It is told to everybody in modified UTF-7.
pub(super) fn decode(wire: &[u8]) -> Result<String, Refused> {
    if wire.is_ascii() {
        return decode_utf7(wire);
    }
    let text = std::str::from_utf8(wire).map_err(|_| Refused::Utf7)?;
    if text.chars().any(char::is_control) { Err(Refused::Control) } else { Ok(text.to_owned()) }
}

/// Modified UTF-7 to UTF-8, canonical spellings only.
fn decode_utf7(wire: &[u8]) -> Result<String, Refused> {
    let mut text = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'&' => {
                let end = memchr::memchr(b'-', rest).ok_or(Refused::Utf7)?;
                if end == 0 {
                    text.push('&');
                } else {
                    decode_shifted(&rest[..end], &mut text)?;
                }
                rest = &rest[end + 1..];
            }
            b' '..=b'~' => text.push(char::from(byte)),
            0..=31 | 127 => return Err(Refused::Control),
            128.. => return Err(Refused::Utf7),
        }
    }
    let mut again = Vec::with_capacity(wire.len());
    encode_utf7(&text, &mut again);
    if again == wire { Ok(text) } else { Err(Refused::Utf7) }
}

fn decode_shifted(base64: &[u8], text: &mut String) -> Result<(), Refused> {
    let (mut bits, mut held) = (0_u32, 0_u32);
    let mut units: Vec<u16> = Vec::with_capacity(base64.len() * 3 / 8 + 1);
    for byte in base64 {
        let value = ALPHABET.iter().position(|a| a == byte).ok_or(Refused::Utf7)?;
        bits = (bits << 6) | u32::try_from(value).map_err(|_| Refused::Utf7)?;
        held += 6;
        if held >= 16 {
            held -= 16;
            units.push(u16::try_from((bits >> held) & 0xffff).map_err(|_| Refused::Utf7)?);
            bits &= (1 << held) - 1;
        }
    }
    for c in char::decode_utf16(units) {
        text.push(c.map_err(|_| Refused::Utf7)?);
    }
    Ok(())
}

/// RFC 3501 §5.1.3: `,` in the place of `/`.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

#[derive(Default)]
struct Base64Out {
    open: bool,
    bits: u32,
    held: u32,
}

impl Base64Out {
    fn push(&mut self, unit: u16, out: &mut Vec<u8>) {
        if !self.open {
            self.open = true;
            out.push(b'&');
        }
        self.bits = (self.bits << 16) | u32::from(unit);
        self.held += 16;
        while self.held >= 6 {
            self.held -= 6;
            out.push(ALPHABET[(self.bits >> self.held) as usize & 63]);
        }
        self.bits &= (1 << self.held) - 1;
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if !self.open {
            return;
        }
        if self.held > 0 {
            out.push(ALPHABET[(self.bits << (6 - self.held)) as usize & 63]);
        }
        out.push(b'-');
        *self = Base64Out::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(name: &str) -> String {
        let mut out = Vec::new();
        encode_utf7(name, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn names_travel_in_modified_utf7() {
        assert_eq!(wire("Entwürfe & mehr"), "Entw&APw-rfe &- mehr");
        assert_eq!(wire("台北/日本語"), "&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(wire("🦀"), "&2D7dgA-");
        assert_eq!(Name::parse(b"&U,BTFw-/&ZeVnLIqe-").unwrap().as_str(), "台北/日本語");
    }

    #[test]
    fn a118_only_inbox_folds_its_case() {
        assert_eq!(Name::parse(b"iNbOx").unwrap(), Name::inbox());
        assert_eq!(Name::parse(b"inbox/Sub").unwrap().as_str(), "INBOX/Sub");
        assert_eq!(Name::parse(b"Trash").unwrap().as_str(), "Trash");
        // A Cyrillic letter in it: another name.
        assert_ne!(Name::of("INB\u{41e}X").unwrap(), Name::inbox());
    }

    #[test]
    fn a118_hostile_names_are_refused() {
        let refused = |wire: &[u8]| Name::parse(wire).unwrap_err();
        assert_eq!(refused(b"../../etc"), Refused::Level);
        assert_eq!(refused(b"/"), Refused::Level);
        assert_eq!(refused(b""), Refused::Level);
        assert_eq!(refused(b"a//b"), Refused::Level);
        assert_eq!(refused(b"a/./b"), Refused::Level);
        assert_eq!(refused(b"a/"), Refused::Level);
        assert_eq!(refused(b"a\0b"), Refused::Control);
        assert_eq!(refused(b"a\x7fb"), Refused::Control);
        assert_eq!(refused(b"&AAE-"), Refused::Control);
        assert_eq!(refused(b"&AIA-"), Refused::Control);
        assert_eq!(refused(b"a%"), Refused::Wildcard);
        assert_eq!(refused(b"a*b"), Refused::Wildcard);
        assert_eq!(refused(&[b'a'; 10_000]), Refused::TooLong);
        assert_eq!(refused(&[b'a'; 1_001]), Refused::TooLong);
        assert_eq!(refused("a/".repeat(1_000).as_bytes()), Refused::TooLong);
        assert_eq!(refused(("a/".repeat(32) + "a").as_bytes()), Refused::TooDeep);
    }

    #[test]
    fn a118_utf7_has_one_spelling() {
        for wire in [
            &b"&"[..],
            b"a&AOQ",
            b"&AGE-",      // "a" in base64
            b"&AOR-",      // loose bits
            b"&AOQA-",     // loose octets
            b"&AOQ-&APw-", // two shifts in a row
            b"&2D4-",      // half a surrogate pair
            b"&AC8-",      // "/" in base64
            b"&AO/-",      // the alphabet of plain base64
            b"\xe4",
            b"\xc3",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
        ] {
            assert_eq!(Name::parse(wire), Err(Refused::Utf7), "{}", String::from_utf8_lossy(wire));
        }
    }

    #[test]
    fn a118_raw_utf8_is_the_name_it_spells() {
        assert_eq!(Name::parse("Entwürfe".as_bytes()), Name::parse(b"Entw&APw-rfe"));
        assert_eq!(Name::parse("R&D für &AOQ-".as_bytes()).unwrap().as_str(), "R&D für &AOQ-");
        assert_eq!(Name::parse("ä*".as_bytes()), Err(Refused::Wildcard));
        assert_eq!(Name::parse("ä\u{85}".as_bytes()), Err(Refused::Control));
        assert_eq!(Name::parse("ä//b".as_bytes()), Err(Refused::Level));
        assert_eq!(Name::parse("ä".repeat(501).as_bytes()), Err(Refused::TooLong));
    }

    #[test]
    fn below_is_a_level_below() {
        let name = |text| Name::of(text).unwrap();
        assert!(name("a/b").is_below(&name("a")));
        assert!(name("a/b/c").is_below(&name("a")));
        assert!(!name("ab/c").is_below(&name("a")));
        assert!(!name("a").is_below(&name("a")));
        assert!(name("inbox").is_inbox() && !name("INBOX/a").is_inbox());
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "\\PC{0,40}") {
            let mut out = Vec::new();
            encode_utf7(&text, &mut out);
            prop_assert_eq!(decode_utf7(&out), Ok(text));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(name) = Name::parse(&bytes) {
                let mut out = Vec::new();
                encode_utf7(name.as_str(), &mut out);
                prop_assert!(!bytes.is_ascii() || out.eq_ignore_ascii_case(&bytes));
                prop_assert_eq!(Name::parse(&out), Ok(name));
            }
        }
    }
}
