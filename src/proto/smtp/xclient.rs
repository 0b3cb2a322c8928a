//! XCLIENT (Postfix's `XCLIENT_README`): a neighbour that handed a connection on says whose it is.
//!
//! `XCLIENT NAME=… ADDR=… PORT=… PROTO=… HELO=… LOGIN=… DESTADDR=… DESTPORT=…`, at least one of them, each at most once, values in
//! xtext (RFC 3461 §4). `[UNAVAILABLE]` and `[TEMPUNAVAIL]` say nothing. Who may say it is decided by the configuration.
//!
//! What is used is the address, the port, and how the client introduced itself. A name is believed by nobody here, and a login of
//! somebody else's server opens nothing: both are read, and forgotten.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::queued::is_xtext;
use crate::mail::address::DOMAIN_BYTES_MAX;

/// The names, as EHLO says them.
pub(super) const NAMES: [&str; 8] = ["NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"];

/// Octets of one value, decoded. More: 501.
const VALUE_BYTES_MAX: usize = 255;

/// What was said of the client. `None`: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) helo: Option<Box<str>>,
    /// The client spoke ESMTP.
    pub(super) extended: bool,
}

/// Reads the argument. `None`: something in it is wrong.
pub(super) fn read(argument: &[u8]) -> Option<Told> {
    let mut told = Told { extended: true, ..Told::default() };
    let mut seen = [false; NAMES.len()];
    for word in argument.split(|&b| b == b' ').filter(|word| !word.is_empty()) {
        let at = memchr::memchr(b'=', word)?;
        let place = NAMES.iter().position(|name| word[..at].eq_ignore_ascii_case(name.as_bytes()))?;
        if std::mem::replace(&mut seen[place], true) {
            return None;
        }
        let value = decoded(&word[at + 1..])?;
        let known = !["[UNAVAILABLE]", "[TEMPUNAVAIL]"].iter().any(|nothing| value.eq_ignore_ascii_case(nothing));
        match NAMES[place] {
            _ if !known => {}
            "ADDR" => told.address = Some(address(&value)?),
            "DESTADDR" => drop(address(&value)?),
            "PORT" => told.port = Some(port(&value)?),
            "DESTPORT" => drop(port(&value)?),
            "PROTO" if value.eq_ignore_ascii_case("ESMTP") => told.extended = true,
            "PROTO" if value.eq_ignore_ascii_case("SMTP") => told.extended = false,
            "PROTO" => return None,
            "HELO" if value.len() > DOMAIN_BYTES_MAX || value.contains(' ') || value.is_empty() => return None,
            "HELO" => told.helo = Some(value.into()),
            _ => {}
        }
    }
    seen.contains(&true).then_some(told)
}

/// xtext as text: printable ASCII.
fn decoded(value: &[u8]) -> Option<String> {
    if !is_xtext(value) || !value.iter().all(|b| matches!(b, b'!'..=b'~')) {
        return None;
    }
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((&first, behind)) = rest.split_first() {
        let (octet, behind) = match (first, behind) {
            (b'+', [high, low, behind @ ..]) => (digit(*high) << 4 | digit(*low), behind),
            other => other,
        };
        text.push(char::from(octet));
        rest = behind;
    }
    (text.len() <= VALUE_BYTES_MAX).then_some(text)
}

/// A digit that [`is_xtext`] has seen.
fn digit(b: u8) -> u8 {
    if b.is_ascii_digit() { b - b'0' } else { b - b'A' + 10 }
}

fn address(text: &str) -> Option<IpAddr> {
    match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPV6:") => text[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_said_of_a_client_is_read() {
        let told = read(b"NAME=spike.porcupine.org addr=168.100.189.2 PORT=1234 PROTO=SMTP HELO=spike").expect("told");
        assert_eq!(told.address, Some("168.100.189.2".parse().expect("an address")));
        assert_eq!((told.port, told.helo.as_deref(), told.extended), (Some(1234), Some("spike"), false));
        let told = read(b"ADDR=IPV6:2001:db8::7  HELO=a+2Bb LOGIN=[UNAVAILABLE]").expect("told");
        assert_eq!(told.address, Some("2001:db8::7".parse().expect("an address")));
        assert_eq!((told.port, told.helo.as_deref(), told.extended), (None, Some("a+b"), true));
        let nothing = read(b"NAME=[TEMPUNAVAIL] ADDR=[UNAVAILABLE] PROTO=ESMTP DESTADDR=192.0.2.1 DESTPORT=25");
        assert_eq!(nothing, Some(Told { extended: true, ..Told::default() }));
    }

    #[test]
    fn a063_what_is_wrong_is_not_half_believed() {
        for bad in [
            "",
            "ADDR",
            "ADDR=",
            "ADDR=2001:db8::7",
            "ADDR=IPV6:192.0.2.1",
            "ADDR=192.0.2.256",
            "ADDR=192.0.2.1 ADDR=192.0.2.2",
            "PORT=-1",
            "PORT=65536",
            "PORT=",
            "PROTO=LMTP2",
            "HELO=",
            "HELO=a+20b",
            "HELO=a+0D+0Ab",
            "HELO=a+2",
            "COLOUR=red",
            "NAME=\u{fc}",
            &format!("HELO={}", "x".repeat(256)),
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
            read(&[b"ADDR=IPV6:", bytes.as_slice()].concat());
        }
    }
}
