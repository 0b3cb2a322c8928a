//! The domain of MAIL FROM: a bounce must have somewhere to go.
//!
//! A domain that DNS does not know, or that has neither MX nor address, can take no bounce (RFC 5321 §5.1): 550 5.1.8. One that says
//! by a null MX that it takes no mail sends none either (RFC 7505 §4.2): 550 5.7.27. The null sender has no domain and passes, as do
//! address literals and the domains of this host.

use std::net::IpAddr;

use super::mode::{Finding, Mode};
use crate::dns::{Lookup, Mx};

/// What this filter is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What is done about it.
    pub mode: Mode,
    /// True: where DNS does not answer the sender passes; false: 451 4.4.3, in the modes that refuse.
    pub accept_on_failure: bool,
}

/// What is known of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Bounces reach it.
    Good,
    /// It takes no mail (RFC 7505 §3).
    NullMx,
    /// It is not there, or nothing of it takes mail.
    None,
    /// DNS does not answer.
    Failed,
}

/// From what DNS says. `address`: asked where there is no MX.
#[must_use]
pub fn judge(mx: &Lookup<Mx>, address: Option<&Lookup<IpAddr>>) -> Domain {
    match (mx, address) {
        (Lookup::Found(found), _) if found.records.iter().any(|mx| mx.exchange.is_some()) => Domain::Good,
        (Lookup::Found(_), _) => Domain::NullMx,
        (Lookup::NoName(_), _) => Domain::None,
        (Lookup::NoData(_), Some(Lookup::Found(_))) => Domain::Good,
        (Lookup::NoData(_), Some(Lookup::NoName(_) | Lookup::NoData(_))) => Domain::None,
        (Lookup::Failed(_), _) | (Lookup::NoData(_), Some(Lookup::Failed(_)) | None) => Domain::Failed,
    }
}

impl Domain {
    /// What is said about it; `None`: nothing.
    #[must_use]
    pub fn finding(self, domain: &str) -> Option<Finding> {
        Some(match self {
            Domain::Good => return None,
            Domain::NullMx => Finding::new(
                550,
                (5, 7, 27),
                "The sender's domain takes no mail (null MX)",
                &format!("null MX of {domain}"),
            ),
            Domain::None => Finding::new(
                550,
                (5, 1, 8),
                "The sender's domain has neither MX nor address",
                &format!("no such domain {domain}"),
            ),
            Domain::Failed => Finding::new(
                451,
                (4, 4, 3),
                "The sender's domain cannot be looked up now",
                &format!("no answer about {domain}"),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Absent, Found, Name, Reason};

    const ABSENT: Absent = Absent { ttl_s: 60, authentic: false };

    fn found<T>(records: Vec<T>) -> Lookup<T> {
        Lookup::Found(Found { records, name: Name::parse("d.test").expect("a name"), ttl_s: 60, authentic: false })
    }

    fn mx(host: Option<&str>) -> Mx {
        Mx { preference: 0, exchange: host.map(|host| Name::parse(host).expect("a name")) }
    }

    #[test]
    fn a065_a_null_mx_takes_no_bounce() {
        let null = found(vec![mx(None)]);
        let finding = judge(&null, None).finding("d.test").expect("a finding");
        assert_eq!((finding.reply.code, finding.reply.enhanced), (550, (5, 7, 27)));
        assert_eq!(judge(&found(vec![mx(None), mx(Some("mx.d.test"))]), None), Domain::Good);
    }

    #[test]
    fn a_domain_without_mx_and_address_is_none() {
        let address = found(vec![IpAddr::from([192, 0, 2, 1])]);
        assert_eq!(judge(&found(vec![mx(Some("mx.d.test"))]), None), Domain::Good);
        assert_eq!(judge(&Lookup::NoData(ABSENT), Some(&address)), Domain::Good);
        assert_eq!(judge(&Lookup::NoName(ABSENT), None), Domain::None);
        assert_eq!(judge(&Lookup::NoData(ABSENT), Some(&Lookup::NoData(ABSENT))), Domain::None);
        let finding = Domain::None.finding("d.test").expect("a finding");
        assert_eq!((finding.reply.code, finding.reply.enhanced), (550, (5, 1, 8)));
    }

    #[test]
    fn a090_silence_of_dns_refuses_nobody_for_good() {
        let silent = judge(&Lookup::Failed(Reason::Timeout), None);
        assert_eq!(silent, Domain::Failed);
        assert_eq!(judge(&Lookup::NoData(ABSENT), Some(&Lookup::Failed(Reason::Refused(2)))), Domain::Failed);
        let reply = silent.finding("d.test").expect("a finding").reply;
        assert_eq!((reply.code, reply.enhanced), (451, (4, 4, 3)));
        assert_eq!(Domain::Good.finding("d.test"), None);
    }
}
