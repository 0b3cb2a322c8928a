//! The name in HELO and EHLO: five questions about it, each a switch of its own.
//!
//! RFC 5321 §4.1.4 forbids to refuse mail because a name does not match its client's address, and few spammers know their own
//! name: these look at the form, at claims to be us, and at whether there is such a name at all. *Liberty*: §4.1.1.1 wants a
//! host without a name of its own to be heard by its address literal; a switch that refuses other forms is the operator's choice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::mode::{Finding, Mode};
use crate::dns::{Lookup, Name};
use crate::observe::Counter;

/// What may be wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It is no host name: octets that none has, an empty label, an address without brackets.
    Invalid,
    /// It has no dot.
    NotFqdn,
    /// It is ours.
    Ours,
    /// It is the literal of another address.
    Literal,
    /// There is no such name.
    Unknown,
}

impl Form {
    /// All of them, in the order of [`Settings::modes`].
    pub const ALL: [Form; 5] = [Form::Invalid, Form::NotFqdn, Form::Ours, Form::Literal, Form::Unknown];

    /// What is said about it.
    #[must_use]
    pub fn finding(self, name: &str) -> Finding {
        match self {
            Form::Invalid => Finding::new(501, (5, 5, 4), "Not a host name", &format!("invalid name {name}")),
            Form::NotFqdn => {
                Finding::new(504, (5, 5, 2), "Introduce yourself with a whole host name", &format!("no dot in {name}"))
            }
            Form::Ours => Finding::new(550, (5, 7, 1), "You are not me", &format!("our own name {name}")),
            Form::Literal => {
                Finding::new(550, (5, 7, 1), "That is not your address", &format!("another's address {name}"))
            }
            Form::Unknown => {
                Finding::new(550, (5, 7, 1), "Your host name is not known to DNS", &format!("unknown name {name}"))
            }
        }
    }

    /// Where it is counted.
    #[must_use]
    pub fn counter(self) -> Counter {
        match self {
            Form::Invalid => Counter::FilterHeloInvalid,
            Form::NotFqdn => Counter::FilterHeloNotFqdn,
            Form::Ours => Counter::FilterHeloOurs,
            Form::Literal => Counter::FilterHeloLiteral,
            Form::Unknown => Counter::FilterHeloUnknown,
        }
    }
}

/// What this filter is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What is done about each, in the order of [`Form::ALL`].
    pub modes: [Mode; 5],
}

impl Settings {
    /// What is done about a form.
    #[must_use]
    pub fn of(&self, form: Form) -> Mode {
        self.modes[form as usize]
    }

    /// True if any of the questions is asked.
    #[must_use]
    pub fn any_on(&self) -> bool {
        self.modes.iter().any(|mode| mode.is_on())
    }
}

/// What a name looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing to say about it.
    Fine,
    /// This is wrong.
    Wrong(Form),
    /// A whole host name: whether there is one DNS knows.
    Ask(Name),
}

/// Looks at a name. `host`: our own; `peer`: whose name it says it is.
#[must_use]
pub fn look(name: &str, peer: IpAddr, host: &str) -> Look {
    let peer = peer.to_canonical();
    if let Some(inner) = name.strip_prefix('[') {
        return match literal(inner) {
            None => Look::Wrong(Form::Invalid),
            Some(ip) if ip == peer => Look::Fine,
            Some(_) => Look::Wrong(Form::Literal),
        };
    }
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.eq_ignore_ascii_case(host) {
        // A program on this host has the right to our name.
        return if peer.is_loopback() { Look::Fine } else { Look::Wrong(Form::Ours) };
    }
    // RFC 1123 §2.1: the last label of a name is not all digits, so that an address is none.
    let numeric = bare.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    match Name::parse(bare) {
        Err(_) => Look::Wrong(Form::Invalid),
        Ok(parsed) if numeric || parsed.as_str().contains('/') => Look::Wrong(Form::Invalid),
        Ok(parsed) if parsed.labels().any(|l| l.starts_with('-') || l.ends_with('-')) => Look::Wrong(Form::Invalid),
        Ok(parsed) if parsed.labels().nth(1).is_none() => Look::Wrong(Form::NotFqdn),
        Ok(parsed) => Look::Ask(parsed),
    }
}

/// What follows the `[` of an address literal (RFC 5321 §4.1.3).
fn literal(inner: &str) -> Option<IpAddr> {
    let inner = inner.strip_suffix(']')?;
    let v6 = inner.split_at_checked(5).filter(|(tag, _)| tag.eq_ignore_ascii_case("IPv6:"));
    match v6 {
        Some((_, v6)) => v6.parse::<Ipv6Addr>().ok().map(|v6| IpAddr::V6(v6).to_canonical()),
        None => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// What DNS says of a name: `Some(true)`: there is no such host; `None`: it cannot tell now. `mx`: asked where there is no address.
#[must_use]
pub fn is_unknown<A, M>(address: &Lookup<A>, mx: Option<&Lookup<M>>) -> Option<bool> {
    match (address, mx) {
        (Lookup::Found(_), _) | (_, Some(Lookup::Found(_))) => Some(false),
        (Lookup::Failed(_), _) | (_, Some(Lookup::Failed(_))) => None,
        (Lookup::NoName(_) | Lookup::NoData(_), _) => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Absent, Found, Reason};

    fn seen(name: &str) -> Look {
        look(name, "192.0.2.1".parse().expect("an address"), "mx.ringpost.test")
    }

    #[test]
    fn a047_names_that_no_host_has_are_seen() {
        for bad in [
            "192.0.2.1",
            "a..b",
            "a b",
            "x?y.test",
            "-a.test",
            "a-.test",
            "a.1",
            "[",
            "[]",
            "[192.0.2.256]",
            "[x]",
            "a/b.test",
            "",
        ] {
            assert_eq!(seen(bad), Look::Wrong(Form::Invalid), "{bad}");
        }
        for bare in ["localhost", "WIN-5P2J7C", "friend."] {
            assert_eq!(seen(bare), Look::Wrong(Form::NotFqdn), "{bare}");
        }
        // Underscores are in many names in use.
        for good in ["client.test", "my_host.client.test", "xn--bcher-kva.test", "client.test."] {
            assert!(matches!(seen(good), Look::Ask(_)), "{good}");
        }
    }

    #[test]
    fn who_takes_our_name_or_anothers_address_is_seen() {
        assert_eq!(seen("MX.ringpost.TEST"), Look::Wrong(Form::Ours));
        assert_eq!(look("mx.ringpost.test", "::1".parse().expect("an address"), "mx.ringpost.test"), Look::Fine);
        assert_eq!(seen("[192.0.2.1]"), Look::Fine);
        assert_eq!(seen("[ipv6:::ffff:192.0.2.1]"), Look::Fine);
        assert_eq!(seen("[192.0.2.2]"), Look::Wrong(Form::Literal));
        assert_eq!(seen("[IPv6:2001:db8::1]"), Look::Wrong(Form::Literal));
        let v6 = look("[IPv6:2001:db8::1]", "2001:db8::1".parse().expect("an address"), "mx.ringpost.test");
        assert_eq!(v6, Look::Fine);
    }

    #[test]
    fn a090_a_name_is_unknown_only_when_dns_says_so() {
        let absent = Absent { ttl_s: 1, authentic: false };
        let found = || {
            Lookup::Found(Found {
                records: vec![()],
                name: Name::parse("a.test").expect("a name"),
                ttl_s: 1,
                authentic: false,
            })
        };
        let none = None::<&Lookup<()>>;
        assert_eq!(is_unknown(&found(), none), Some(false));
        assert_eq!(is_unknown(&Lookup::<()>::NoName(absent), none), Some(true));
        assert_eq!(is_unknown(&Lookup::<()>::NoData(absent), Some(&Lookup::<()>::NoData(absent))), Some(true));
        assert_eq!(is_unknown(&Lookup::<()>::NoData(absent), Some(&found())), Some(false));
        assert_eq!(is_unknown(&Lookup::<()>::Failed(Reason::Timeout), none), None);
        assert_eq!(is_unknown(&Lookup::<()>::NoData(absent), Some(&Lookup::<()>::Failed(Reason::Busy))), None);
    }

    #[test]
    fn each_form_has_the_code_that_operators_know() {
        let codes: Vec<_> = Form::ALL.iter().map(|form| form.finding("x").reply.code).collect();
        assert_eq!(codes, [501, 504, 550, 550, 550]);
        assert!(Form::ALL.iter().enumerate().all(|(n, form)| *form as usize == n));
    }
}
