//! A domain name as we ask for it and as we believe it: A-labels, lower case, no dot at the end.
//!
//! Parsed once at the edge and never checked again: what is a [`Name`] has no octet that could end a line of a log, a header
//! field or a command (A081). The root is no `Name`.

use std::fmt;
use std::net::IpAddr;

use hickory_proto::rr::Name as Wire;

/// Octets of a name in dots, without the one at the end (RFC 1035 §2.3.4: 255 on the wire).
const NAME_BYTES_MAX: usize = 253;
/// Octets of a label.
const LABEL_BYTES_MAX: usize = 63;

/// A name of at least one label. Labels are letters, digits, `-`, `_` (service names) and `/` (RFC 2317).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// It is no name that we would ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

impl Name {
    /// Reads a name in dots; one dot at its end is taken off, U-labels become A-labels (RFC 5890 §2.3.2.1).
    ///
    /// # Errors
    /// A label that is empty or longer than 63 octets, other octets than those of a name, more than 253 octets in all.
    pub fn parse(text: &str) -> Result<Name, BadName> {
        if text.len() > 4 * NAME_BYTES_MAX {
            return Err(BadName);
        }
        if text.is_ascii() {
            return Name::checked(text.strip_suffix('.').unwrap_or(text));
        }
        let wire = Wire::from_utf8(text).map_err(|_| BadName)?;
        Name::of_wire(&wire).ok_or(BadName)
    }

    /// A name of a message; `None` if it is one that we do not believe, or the root.
    pub(super) fn of_wire(wire: &Wire) -> Option<Name> {
        let mut text = String::with_capacity(NAME_BYTES_MAX);
        for label in wire.iter() {
            if !text.is_empty() {
                text.push('.');
            }
            // A dot within a label would look like two of them.
            text.push_str(str::from_utf8(label).ok().filter(|label| !label.contains('.'))?);
        }
        Name::checked(&text).ok()
    }

    /// The name under which an address has names (RFC 1035 §3.5, RFC 3596 §2.5).
    #[must_use]
    pub fn reverse(of: IpAddr) -> Name {
        let text = match of.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(v6) => {
                let nibbles = v6.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
                nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
            }
        };
        Name(text.into())
    }

    /// This name below another: `label` put before it.
    ///
    /// # Errors
    /// As [`Name::parse`].
    pub fn below(&self, label: &str) -> Result<Name, BadName> {
        Name::parse(&format!("{label}.{}", self.0))
    }

    fn checked(text: &str) -> Result<Name, BadName> {
        let sound = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/'))
        };
        if text.len() > NAME_BYTES_MAX || !text.split('.').all(sound) {
            return Err(BadName);
        }
        Ok(Name(text.to_ascii_lowercase().into()))
    }

    /// The name in dots.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if a host may have it: no `_` and no `/` in it, and no `-` at the ends of a label (RFC 1123 §2.1).
    #[must_use]
    pub fn is_host(&self) -> bool {
        let sound = |label: &str| !label.starts_with('-') && !label.ends_with('-');
        !self.0.contains(['_', '/']) && self.0.split('.').all(sound)
    }

    /// Its labels.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a domain name: write labels of up to 63 letters, digits and hyphens, with dots between them")
    }
}

impl std::error::Error for BadName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a081_names_with_strange_labels_are_refused() {
        let long = "a".repeat(64);
        let whole = ["abcdefgh"; 29].join(".");
        for bad in ["", ".", "..", "a..b", ".a", "a b", "a\0b", "a\r\nb", "a@b", "a\\.b", &long, &format!("{whole}.x")]
        {
            assert_eq!(Name::parse(bad), Err(BadName), "{bad:?}");
        }
        assert!(Name::parse(&"a".repeat(63)).is_ok() && Name::parse(&whole[..253]).is_ok());
    }

    #[test]
    fn a081_names_of_messages_are_not_believed_with_strange_labels() {
        for label in [&b"a.b"[..], b"a b", b"a\0b", b"\r\nBcc: x", b"\xff", "ü".as_bytes(), b"a\\b"] {
            let wire = Wire::from_labels([label, b"test"]).expect("the wire carries any octet");
            assert_eq!(Name::of_wire(&wire), None, "{label:?}");
        }
        let wire = Wire::from_labels([&b"0/25"[..], b"2", b"0", b"192", b"in-addr", b"arpa"]).expect("labels");
        assert_eq!(Name::of_wire(&wire).expect("RFC 2317").as_str(), "0/25.2.0.192.in-addr.arpa");
        assert_eq!(Name::of_wire(&Wire::root()), None);
    }

    #[test]
    fn a_name_has_one_spelling() {
        let name = |text| Name::parse(text).expect("a name");
        assert_eq!(name("MX.Example.ORG."), name("mx.example.org"));
        assert_eq!(name("Bücher.example").as_str(), "xn--bcher-kva.example");
        assert_eq!(name("_dmarc.example.org").labels().next(), Some("_dmarc"));
        assert!(name("mx.example.org").is_host() && !name("_dmarc.example.org").is_host() && !name("a.-b").is_host());
        assert_eq!(name("example.org").below("_dmarc").expect("a name").as_str(), "_dmarc.example.org");
    }

    #[test]
    fn an_address_has_its_name_in_reverse() {
        let reverse = |ip: &str| Name::reverse(ip.parse().expect("an address")).to_string();
        assert_eq!(reverse("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(reverse("::ffff:192.0.2.1"), "1.2.0.192.in-addr.arpa");
        let zeros = "0.".repeat(20);
        assert_eq!(reverse("2001:db8::ab"), format!("b.a.0.0.{zeros}8.b.d.0.1.0.0.2.ip6.arpa"));
    }
}
