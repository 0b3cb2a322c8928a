//! Addresses as values: parsed once where they come in, canonical from then on.
//!
//! Rules that hold here:
//! - An [`Address`] is never malformed: it holds no control character, no CR or LF, no unquoted special, so
//!   it may be written between angle brackets into a command or a trace field as it is.
//! - One address has one spelling: quotes and backslashes that are not needed are gone, the domain is lower
//!   case, an address literal is in its shortest form. The local part keeps its case (RFC 5321 §2.4).
//! - Source routes are read and forgotten (RFC 5321 appendix C). `user%other@us`, `a!b@us` and `"a@b"@us` stay
//!   ordinary addresses, flagged by [`Address::has_relay_trick`]: `route` refuses them as relaying, nobody follows them.
//!
//! ```text
//!   path     = "<" [ "@" domain *("," "@" domain) ":" ] local "@" domain ">"    RFC 5321 §4.1.2
//!   local    = dot-string | quoted-string                                       ≤ 255 octets (liberty: VERP and SRS pass 64)
//!   domain   = label *("." label) | "[" IPv4 "]" | "[IPv6:" IPv6 "]"            ≤ 255 octets, label ≤ 63
//! ```
//!
//! Liberty: labels may hold `_`, as many names in use do.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A local part, canonical spelling, octets. Longer: 501 5.1.7 or 501 5.1.3.
pub const LOCAL_BYTES_MAX: usize = 255;
/// A domain, octets. Longer: as above (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_BYTES_MAX: usize = 255;
/// One label of a domain, octets (RFC 1035 §2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;
/// A path with its brackets and source route, octets.
pub const PATH_BYTES_MAX: usize = 1_024;

/// `local@domain`, canonical.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    text: Box<str>,
    /// Where the `@` between local part and domain is.
    at: u16,
}

/// Where bounces go: MAIL FROM (RFC 5321 §4.1.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: never answered, never bounced (RFC 5321 §4.5.5).
    Null,
    /// An address.
    Address(Address),
}

/// Where a letter goes: RCPT TO (RFC 5321 §4.1.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain, which every host accepts (RFC 5321 §4.5.1).
    Postmaster,
    /// An address.
    Address(Address),
}

/// What is wrong with a path. The peer's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// Not an address.
    #[error("not an address")]
    Syntax,
    /// The local part is longer than [`LOCAL_BYTES_MAX`].
    #[error("local part longer than {LOCAL_BYTES_MAX} octets")]
    LocalTooLong,
    /// The domain is longer than [`DOMAIN_BYTES_MAX`] or a label than [`LABEL_BYTES_MAX`].
    #[error("domain longer than {DOMAIN_BYTES_MAX} octets or a label longer than {LABEL_BYTES_MAX}")]
    DomainTooLong,
    /// The path is longer than [`PATH_BYTES_MAX`].
    #[error("path longer than {PATH_BYTES_MAX} octets")]
    PathTooLong,
    /// Octets above 127 where SMTPUTF8 was not agreed (RFC 6531 §3.5).
    #[error("address needs SMTPUTF8")]
    NeedsUtf8,
}

impl Address {
    /// Reads `local@domain` without brackets, all of `text`. Octets above 127 only with `utf8` (RFC 6531).
    pub fn parse(text: &str, utf8: bool) -> Result<Self, AddressFault> {
        if text.len() > PATH_BYTES_MAX {
            return Err(AddressFault::PathTooLong);
        }
        let mut reader = Reader { input: text.as_bytes(), at: 0, utf8 };
        reader.agreed(text.len())?;
        let address = reader.mailbox()?;
        if reader.at == text.len() { Ok(address) } else { Err(AddressFault::Syntax) }
    }

    /// The local part as it is spelt, quotes included where they are needed.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.text[..usize::from(self.at)]
    }

    /// The domain, lower case, or an address literal with its brackets.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[usize::from(self.at) + 1..]
    }

    /// `local@domain`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `local@domain` all in lower case: how the directory looks accounts up.
    #[must_use]
    pub fn folded(&self) -> String {
        self.text.to_lowercase()
    }

    /// The host of an address literal, as `alice@[127.0.0.1]` has it (RFC 5321 §4.1.3).
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        let inner = self.domain().strip_prefix('[')?.strip_suffix(']')?;
        match inner.strip_prefix("IPv6:") {
            Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        }
    }

    /// True if the local part tries to name another host (`%`, `!`, `@`): such mail is never relayed.
    #[must_use]
    pub fn has_relay_trick(&self) -> bool {
        self.local().bytes().any(|b| matches!(b, b'%' | b'!' | b'@'))
    }

    /// True if it can only travel with SMTPUTF8.
    #[must_use]
    pub fn is_international(&self) -> bool {
        !self.text.is_ascii()
    }

    fn new(local: &str, domain: &str) -> Result<Self, AddressFault> {
        if local.len() > LOCAL_BYTES_MAX {
            return Err(AddressFault::LocalTooLong);
        }
        let at = u16::try_from(local.len()).map_err(|_| AddressFault::LocalTooLong)?;
        let mut text = String::with_capacity(local.len() + 1 + domain.len());
        text.push_str(local);
        text.push('@');
        text.push_str(domain);
        Ok(Address { text: text.into_boxed_str(), at })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

impl ReversePath {
    /// Reads a path at the start of `input` and says how many octets it took. What follows is the caller's.
    pub fn read(input: &[u8], utf8: bool) -> Result<(Self, usize), AddressFault> {
        let (path, used) = read_path(input, utf8)?;
        match path {
            Path::Null => Ok((ReversePath::Null, used)),
            Path::Address(address) => Ok((ReversePath::Address(address), used)),
            Path::Postmaster => Err(AddressFault::Syntax),
        }
    }

    /// The address, unless the path is null.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            ReversePath::Null => None,
            ReversePath::Address(address) => Some(address),
        }
    }

    /// What stands between the brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.address().map_or("", Address::as_str)
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

impl ForwardPath {
    /// Reads a path at the start of `input` and says how many octets it took. What follows is the caller's.
    pub fn read(input: &[u8], utf8: bool) -> Result<(Self, usize), AddressFault> {
        let (path, used) = read_path(input, utf8)?;
        match path {
            Path::Null => Err(AddressFault::Syntax),
            Path::Address(address) => Ok((ForwardPath::Address(address), used)),
            Path::Postmaster => Ok((ForwardPath::Postmaster, used)),
        }
    }

    /// What stands between the brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            ForwardPath::Postmaster => "postmaster",
            ForwardPath::Address(address) => address.as_str(),
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

enum Path {
    Null,
    Postmaster,
    Address(Address),
}

fn read_path(input: &[u8], utf8: bool) -> Result<(Path, usize), AddressFault> {
    let mut reader = Reader { input, at: 0, utf8 };
    if !reader.take(b'<') {
        return Err(AddressFault::Syntax);
    }
    let close = reader.closing_bracket()?;
    reader.agreed(close)?;
    if reader.take(b'>') {
        return Ok((Path::Null, reader.at));
    }
    reader.source_route()?;
    let path = if input[reader.at..close].eq_ignore_ascii_case(b"postmaster") {
        reader.at = close;
        Path::Postmaster
    } else {
        Path::Address(reader.mailbox()?)
    };
    if reader.at == close && reader.take(b'>') { Ok((path, reader.at)) } else { Err(AddressFault::Syntax) }
}

/// Walks a path. Every step is linear and nothing is recursive.
struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    utf8: bool,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    /// Where the `>` is that no quotes hide.
    fn closing_bracket(&self) -> Result<usize, AddressFault> {
        let mut quoted = false;
        let mut escaped = false;
        for (index, &byte) in self.input.iter().enumerate() {
            if index >= PATH_BYTES_MAX {
                return Err(AddressFault::PathTooLong);
            }
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'>' if !quoted => return Ok(index),
                _ => {}
            }
        }
        Err(AddressFault::Syntax)
    }

    /// Octets above 127 are there only if both sides agreed on them, and then they are UTF-8.
    fn agreed(&self, end: usize) -> Result<(), AddressFault> {
        let path = &self.input[..end];
        match (path.is_ascii(), self.utf8) {
            (true, _) => Ok(()),
            (false, false) => Err(AddressFault::NeedsUtf8),
            (false, true) => std::str::from_utf8(path).map(|_| ()).map_err(|_| AddressFault::Syntax),
        }
    }

    fn source_route(&mut self) -> Result<(), AddressFault> {
        if self.peek() != Some(b'@') {
            return Ok(());
        }
        loop {
            if !self.take(b'@') {
                return Err(AddressFault::Syntax);
            }
            self.domain()?;
            if self.take(b':') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(AddressFault::Syntax);
            }
        }
    }

    fn mailbox(&mut self) -> Result<Address, AddressFault> {
        let local = if self.peek() == Some(b'"') { self.quoted_string()? } else { self.dot_string()? };
        if !self.take(b'@') {
            return Err(AddressFault::Syntax);
        }
        let domain = self.domain()?;
        Address::new(&local, &domain)
    }

    fn dot_string(&mut self) -> Result<String, AddressFault> {
        let start = self.at;
        while self.peek().is_some_and(|b| is_atext(b) || b == b'.') {
            self.at += 1;
        }
        let text = self.text(start)?;
        if is_dot_string(text) { Ok(text.to_owned()) } else { Err(AddressFault::Syntax) }
    }

    fn quoted_string(&mut self) -> Result<String, AddressFault> {
        let mut content = Vec::new();
        self.at += 1;
        loop {
            let byte = self.peek().ok_or(AddressFault::Syntax)?;
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    let escaped = self.peek().ok_or(AddressFault::Syntax)?;
                    if !matches!(escaped, 32..=126) {
                        return Err(AddressFault::Syntax);
                    }
                    self.at += 1;
                    content.push(escaped);
                }
                32..=126 | 128.. => content.push(byte),
                _ => return Err(AddressFault::Syntax),
            }
        }
        let content = String::from_utf8(content).map_err(|_| AddressFault::Syntax)?;
        Ok(if is_dot_string(&content) { content } else { quote(&content) })
    }

    fn domain(&mut self) -> Result<String, AddressFault> {
        if self.peek() == Some(b'[') {
            return self.address_literal();
        }
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | 128..)) {
            self.at += 1;
        }
        let text = self.text(start)?;
        if text.len() > DOMAIN_BYTES_MAX {
            return Err(AddressFault::DomainTooLong);
        }
        for label in text.split('.') {
            if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
                return Err(AddressFault::Syntax);
            }
            if label.len() > LABEL_BYTES_MAX {
                return Err(AddressFault::DomainTooLong);
            }
        }
        Ok(text.to_lowercase())
    }

    /// RFC 5321 §4.1.3. Tags other than IPv6 are not known and not guessed.
    fn address_literal(&mut self) -> Result<String, AddressFault> {
        let start = self.at + 1;
        let length = self.input[start..].iter().position(|&b| b == b']').ok_or(AddressFault::Syntax)?;
        self.at = start + length;
        let inner = self.text(start)?;
        let canonical = match inner.split_at_checked(5) {
            Some((tag, v6)) if tag.eq_ignore_ascii_case("IPv6:") => {
                format!("[IPv6:{}]", v6.parse::<Ipv6Addr>().map_err(|_| AddressFault::Syntax)?)
            }
            _ => format!("[{}]", inner.parse::<Ipv4Addr>().map_err(|_| AddressFault::Syntax)?),
        };
        self.at += 1;
        Ok(canonical)
    }

    fn text(&self, start: usize) -> Result<&str, AddressFault> {
        std::str::from_utf8(&self.input[start..self.at]).map_err(|_| AddressFault::Syntax)
    }
}

/// RFC 5322 §3.2.3, with RFC 6531 §3.3 for octets above 127.
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 128 || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

fn quote(content: &str) -> String {
    let mut quoted = String::with_capacity(content.len() + 4);
    quoted.push('"');
    for c in content.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Address::parse(text, false).expect(text).to_string()
    }

    fn fault(path: &str) -> AddressFault {
        ForwardPath::read(path.as_bytes(), false).expect_err(path)
    }

    #[test]
    fn domain_is_lower_case_and_local_part_keeps_its_case() {
        assert_eq!(canonical("Alice.B@Example.TEST"), "Alice.B@example.test");
    }

    #[test]
    fn quotes_that_are_not_needed_are_gone() {
        assert_eq!(canonical(r#""alice"@d.test"#), "alice@d.test");
        assert_eq!(canonical(r#""a\l\ice"@d.test"#), "alice@d.test");
        assert_eq!(canonical(r#""a b"@d.test"#), r#""a b"@d.test"#);
        assert_eq!(canonical(r#""a\"b\\"@d.test"#), r#""a\"b\\"@d.test"#);
        assert_eq!(canonical(r#""a..b"@d.test"#), r#""a..b"@d.test"#);
    }

    #[test]
    fn a030_odd_paths_are_parsed_without_harm() {
        let (path, used) = ForwardPath::read(b"<\"\"@d.test> X=1", false).unwrap();
        assert_eq!((path.as_str(), used), ("\"\"@d.test", 11));
        let (path, _) = ForwardPath::read(b"<@a.test,@b.test:c@d.test>", false).unwrap();
        assert_eq!(path.as_str(), "c@d.test");
        for (literal, host) in [("a@[IPv6:::1]", "::1"), ("a@[127.0.0.1]", "127.0.0.1")] {
            assert_eq!(Address::parse(literal, false).unwrap().literal(), Some(host.parse().unwrap()));
        }
        assert_eq!(canonical("a@[ipv6:0:0:0:0:0:0:0:1]"), "a@[IPv6:::1]");
        for bad in ["<a@[300.1.1.1]>", "<a@[X-tag:1]>", "<a@[127.0.0.1>", "<@a.test:>", "<@:a@b.test>", "<@a.test,c@d>"]
        {
            assert_eq!(fault(bad), AddressFault::Syntax, "{bad}");
        }
    }

    #[test]
    fn a031_shell_characters_are_no_address() {
        assert_eq!(ReversePath::read(b"<;sh -c id;@x>", false), Err(AddressFault::Syntax));
    }

    #[test]
    fn a032_each_length_has_its_bound() {
        let path = |local: usize, label: usize, labels: usize| {
            format!("<{}@{}>", "l".repeat(local), vec!["d".repeat(label); labels].join("."))
        };
        assert!(ForwardPath::read(path(255, 63, 3).as_bytes(), false).is_ok());
        assert_eq!(fault(&path(256, 63, 3)), AddressFault::LocalTooLong);
        assert_eq!(fault(&path(1, 64, 1)), AddressFault::DomainTooLong);
        assert!(ForwardPath::read(path(1, 63, 4).as_bytes(), false).is_ok(), "255 octets");
        assert_eq!(fault(&path(1, 50, 6)), AddressFault::DomainTooLong);
        assert_eq!(fault(&path(2_000, 1, 1)), AddressFault::PathTooLong);
    }

    #[test]
    fn a033_relay_tricks_are_flagged_and_never_followed() {
        for trick in ["user%other@us.test", "user!x@us.test", "\"a@b\"@us.test"] {
            let address = Address::parse(trick, false).unwrap();
            assert!(address.has_relay_trick(), "{trick}");
            assert_eq!(address.domain(), "us.test");
        }
        assert_eq!(fault("<a@b@us.test>"), AddressFault::Syntax);
        assert!(!Address::parse("alice+tag@us.test", false).unwrap().has_relay_trick());
    }

    #[test]
    fn a035_utf8_needs_agreement() {
        assert_eq!(Address::parse("jürgen@d.test", false), Err(AddressFault::NeedsUtf8));
        let address = Address::parse("jürgen@BÜCHER.test", true).unwrap();
        assert_eq!(address.as_str(), "jürgen@bücher.test");
        assert!(address.is_international());
        assert_eq!(ForwardPath::read(b"<a\xff@d.test>", true), Err(AddressFault::Syntax));
    }

    #[test]
    fn null_and_postmaster_stand_only_where_they_may() {
        assert_eq!(ReversePath::read(b"<>", false), Ok((ReversePath::Null, 2)));
        assert_eq!(ForwardPath::read(b"<PostMaster>", false), Ok((ForwardPath::Postmaster, 12)));
        assert_eq!(fault("<>"), AddressFault::Syntax);
        assert_eq!(fault("<alice>"), AddressFault::Syntax);
        assert_eq!(ReversePath::read(b"<postmaster>", false), Err(AddressFault::Syntax));
    }

    #[test]
    fn malformed_paths_are_refused() {
        for bad in [
            "",
            "<",
            "a@b",
            "<a@b",
            "<a@>",
            "<@b>",
            "<a b@c>",
            "<.a@b>",
            "<a.@b>",
            "<a..b@c>",
            "<a@b.>",
            "<a@.b>",
            "<a@-b>",
            "<a@b-.c>",
            "<\"a@b>",
            "<\"a\x01\"@b>",
            "<a@b\r\n>",
            "<a\0@b>",
            "<a@b c>",
            "< a@b>",
            "<<a@b>>",
            "<\"a\\",
            "<\"\\\x7f\"@b>",
        ] {
            assert_eq!(fault(bad), AddressFault::Syntax, "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_answered_and_what_parses_is_canonical(bytes in proptest::collection::vec(0u8.., 0..60), utf8: bool) {
            let mut path = vec![b'<'];
            path.extend(bytes);
            path.push(b'>');
            if let Ok((ForwardPath::Address(address), used)) = ForwardPath::read(&path, utf8) {
                assert!(used <= path.len());
                assert!(!address.as_str().bytes().any(|b| b < 32 || b == 127));
                assert_eq!(Address::parse(address.as_str(), utf8).unwrap(), address);
            }
        }

        #[test]
        fn quoted_local_parts_survive_their_own_spelling(content in "[ -~]{0,40}") {
            let spelt = format!("{}@d.test", quote(&content));
            let address = Address::parse(&spelt, false).unwrap();
            assert_eq!(Address::parse(address.as_str(), false).unwrap(), address);
        }
    }
}
