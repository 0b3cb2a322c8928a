//! The PROXY protocol (haproxy's `proxy-protocol.txt`, versions 1 and 2): what a balancer says before the first octet of a
//! connection, so that the server knows whose it is.
//!
//! A reading is a function of the octets that have come: [`Seen::Partial`] wants more of them, and never more than
//! [`HEADER_BYTES_MAX`]. Nothing behind the header is looked at. Who may send one is not decided here.
//!
//! ```text
//!   1:  PROXY TCP4 192.0.2.7 198.51.100.1 50312 25 CRLF          at most 107 octets
//!   2:  12 octets of signature │ version, command │ family, protocol │ length (2) │ addresses │ TLVs
//! ```
//!
//! - `UNKNOWN` and `LOCAL` speak of nobody: the connection is the balancer's own, as for its health checks.
//! - Of version 2 the extra fields (TLV) are passed over, whatever they hold: nothing in them is believed. What is neither TCP over
//!   IPv4 nor over IPv6 speaks of nobody too, as the specification has it.
//! - *Liberty*: a header of version 2 longer than [`V2_REST_BYTES_MAX`] is refused; the specification allows 65,535 octets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A header of version 1, octets, its CRLF included. Longer: refused.
pub const V1_BYTES_MAX: usize = 107;
/// What follows the 16 octets that every header of version 2 has. Longer: refused.
pub const V2_REST_BYTES_MAX: usize = 4_096;
/// A header, octets.
pub const HEADER_BYTES_MAX: usize = V2_FIXED_BYTES + V2_REST_BYTES_MAX;

const V2_FIXED_BYTES: usize = 16;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the octets so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The beginning of a header. With more octets it will be whole, or none.
    Partial,
    /// A header of so many octets.
    Whole {
        /// Octets that belong to it.
        used: usize,
        /// Whose connection it is. `None`: that of the one who sent it.
        client: Option<SocketAddr>,
    },
    /// No header, or a broken one.
    Broken,
}

/// Reads the header at the beginning of what was received on a connection.
#[must_use]
pub fn read(bytes: &[u8]) -> Seen {
    if begins(bytes, SIGNATURE) {
        return version_2(bytes);
    }
    if begins(bytes, b"PROXY ") {
        return version_1(bytes);
    }
    Seen::Broken
}

/// True if `bytes` begin with this, or could when more of them have come.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let both = bytes.len().min(with.len());
    bytes[..both] == with[..both]
}

fn version_1(bytes: &[u8]) -> Seen {
    let within = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(lf) = memchr::memchr(b'\n', within) else {
        return if bytes.len() < V1_BYTES_MAX { Seen::Partial } else { Seen::Broken };
    };
    let Some(line) = within[..lf].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok()) else {
        return Seen::Broken;
    };
    let used = lf + 1;
    let mut words = line.split(' ').skip(1);
    let client = match words.next() {
        // What follows is for nobody.
        Some("UNKNOWN") => return Seen::Whole { used, client: None },
        Some(family @ ("TCP4" | "TCP6")) => client_of(family == "TCP4", &words.collect::<Vec<_>>()),
        _ => None,
    };
    client.map_or(Seen::Broken, |client| Seen::Whole { used, client: Some(client) })
}

/// Source, destination, their ports: both of the family.
fn client_of(is_v4: bool, words: &[&str]) -> Option<SocketAddr> {
    let [source, destination, source_port, destination_port] = words else { return None };
    let address = |text: &str| text.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == is_v4);
    address(destination)?;
    port(destination_port)?;
    Some(SocketAddr::new(address(source)?, port(source_port)?))
}

/// Digits without a zero before them.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn version_2(bytes: &[u8]) -> Seen {
    // Each octet is judged when it is there, so that nobody waits for the rest of what is none.
    let Some(&[version_and_command]) = bytes.get(12..13) else { return Seen::Partial };
    let (version, command) = (version_and_command >> 4, version_and_command & 0x0f);
    if version != 2 || command > 1 {
        return Seen::Broken;
    }
    let Some(&[family, high, low]) = bytes.get(13..16) else { return Seen::Partial };
    let rest_bytes = usize::from(u16::from_be_bytes([high, low]));
    if rest_bytes > V2_REST_BYTES_MAX {
        return Seen::Broken;
    }
    let used = V2_FIXED_BYTES + rest_bytes;
    let Some(rest) = bytes.get(V2_FIXED_BYTES..used) else { return Seen::Partial };
    let client = match (command, family) {
        (0, _) => None,
        (_, 0x11) => match rest {
            [a, b, c, d, _, _, _, _, high, low, _, _, ..] => {
                Some(SocketAddr::new(Ipv4Addr::new(*a, *b, *c, *d).into(), u16::from_be_bytes([*high, *low])))
            }
            _ => return Seen::Broken,
        },
        (_, 0x21) => match (rest.first_chunk::<16>(), rest.get(32..36)) {
            (Some(source), Some(&[high, low, _, _])) => {
                Some(SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes([high, low])))
            }
            _ => return Seen::Broken,
        },
        _ => None,
    };
    Seen::Whole { used, client }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [SIGNATURE.as_slice(), &[0x20 | command, family], &length, rest].concat()
    }

    fn at(text: &str) -> Option<SocketAddr> {
        Some(text.parse().expect("an address"))
    }

    /// At every cut the beginning wants more, and what follows changes nothing.
    #[track_caller]
    fn reads(header: &[u8], client: Option<SocketAddr>) {
        for cut in 0..header.len() {
            assert_eq!(read(&header[..cut]), Seen::Partial, "{cut} of {header:?}");
        }
        for behind in [&b""[..], b"EHLO x\r\n", &[0xff; 5_000]] {
            let whole = Seen::Whole { used: header.len(), client };
            assert_eq!(read(&[header, behind].concat()), whole, "{header:?}");
        }
    }

    #[test]
    fn whose_connection_it_is_is_said_in_both_versions() {
        reads(b"PROXY TCP4 192.0.2.7 198.51.100.1 50312 25\r\n", at("192.0.2.7:50312"));
        reads(b"PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n", at("[2001:db8::7]:0"));
        let four = [192, 0, 2, 7, 198, 51, 100, 1, 0xc4, 0x88, 0, 25];
        reads(&v2(1, 0x11, &four), at("192.0.2.7:50312"));
        let tlv = [four.as_slice(), &[0x03, 0, 4, 1, 2, 3, 4, 0x20, 0xff]].concat();
        reads(&v2(1, 0x11, &tlv), at("192.0.2.7:50312"));
        let six = [[0x20, 0x01, 0x0d, 0xb8].as_slice(), &[0; 11], &[7], &[0; 16], &[0x00, 0x19, 0, 25]].concat();
        reads(&v2(1, 0x21, &six), at("[2001:db8::7]:25"));
    }

    #[test]
    fn who_speaks_for_nobody_is_himself() {
        reads(b"PROXY UNKNOWN\r\n", None);
        reads(b"PROXY UNKNOWN ffff::1 whatever it says\r\n", None);
        reads(&v2(0, 0, &[]), None);
        reads(&v2(0, 0x11, &[1; 3]), None);
        reads(&v2(1, 0, &[]), None);
        reads(&v2(1, 0x12, &[1; 12]), None);
        reads(&v2(1, 0x31, &[1; 216]), None);
        reads(&v2(1, 0, &[0; V2_REST_BYTES_MAX]), None);
    }

    #[test]
    fn a062_what_is_no_header_is_known_at_its_first_wrong_octet() {
        for bad in [
            &b"EHLO x\r\n"[..],
            b"P\n",
            b"PROXY\r\n",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\r\n\r\n\0\r\nQUIT\n\x11",
            b"\r\n\r\n\0\r\nQUIT\n\x22",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x10\x01",
            b"\x16\x03\x01",
        ] {
            assert_eq!(read(bad), Seen::Broken, "{bad:?}");
        }
        for line in [
            "PROXY ",
            "PROXY TCP4",
            "PROXY  TCP4 192.0.2.7 198.51.100.1 1 25",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 25 ",
            "PROXY TCP4 192.0.2.7  198.51.100.1 1 25",
            "PROXY TCP4 192.0.2.7 198.51.100.1 01 25",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +1 25",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 25",
            "PROXY TCP4 192.0.2.256 198.51.100.1 1 25",
            "PROXY TCP4 2001:db8::7 198.51.100.1 1 25",
            "PROXY TCP6 192.0.2.7 2001:db8::1 1 25",
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 25",
            "PROXY unknown",
            "proxy UNKNOWN",
            "PROXY TCP4 192.0.2.7\t198.51.100.1 1 25",
        ] {
            assert_eq!(read(format!("{line}\r\n").as_bytes()), Seen::Broken, "{line}");
        }
        assert_eq!(read(b"PROXY UNKNOWN\n"), Seen::Broken);
        assert_eq!(read(&v2(1, 0x11, &[1; 11])), Seen::Broken);
        assert_eq!(read(&v2(1, 0x21, &[1; 35])), Seen::Broken);
    }

    #[test]
    fn a062_no_header_is_waited_for_beyond_its_bound() {
        let line = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; V1_BYTES_MAX - 16], b"\r\n"].concat();
        assert_eq!(line.len(), V1_BYTES_MAX);
        reads(&line, None);
        let longer = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; V1_BYTES_MAX]].concat();
        assert_eq!(read(&longer[..V1_BYTES_MAX - 1]), Seen::Partial);
        assert_eq!(read(&longer[..V1_BYTES_MAX]), Seen::Broken);
    }

    proptest! {
        #[test]
        fn more_octets_never_change_what_was_seen(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..3u8) {
            let head: &[u8] = match kind { 0 => b"PROXY TCP4 ", 1 => b"\r\n\r\n\0\r\nQUIT\n\x21", _ => b"" };
            let all = [head, &bytes].concat();
            let mut before = Seen::Partial;
            for n in 0..=all.len() {
                let now = read(&all[..n]);
                prop_assert!(before == Seen::Partial || before == now, "{before:?} became {now:?}");
                let beyond = matches!(now, Seen::Whole { used, .. } if used > n);
                prop_assert!(!beyond);
                before = now;
            }
        }
    }
}
