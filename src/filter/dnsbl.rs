//! Lists of addresses, asked by DNS (RFC 5782): those who are listed send spam, or (with a weight below zero) are known for good mail.
//!
//! Each list has a weight, and what it answers may be held against a pattern; the weights of the lists that have the client are
//! added, and from the threshold on there is a finding:
//!
//! ```text
//!   zen.spamhaus.org=127.0.0.[2..11]*3        list [= pattern] [* weight]
//!   list.dnswl.org=127.0.[0..255].[1..3]*-2   pattern: four numbers, each n or [n;n..n]
//! ```
//!
//! - A list that does not answer, or says that it does not want us (127.255.255.x), or answers outside 127.0.0.0/8, lists
//!   nobody: it is an error, and counted (RFC 5782 §2.1 has listings in 127.0.0.0/8).
//! - Addresses that nobody can list are not asked about: loopback, private and other local ones.
//! - Why a list has somebody is its TXT record: asked only when it is going to be said, cut, and printable.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use super::mode::{Finding, Mode, printable};
use crate::dns::{Lookup, Name};

/// Octets of a list's name, so that a client's address fits before it: 32 nibbles and their dots.
const ZONE_BYTES_MAX: usize = 253 - 64;
/// Octets of a list's explanation that are said. More: cut.
const TEXT_BYTES_MAX: usize = 200;
/// The most a list may weigh, and as much below zero.
const WEIGHT_MAX: i32 = 1_000;

/// What this filter is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What is done about it.
    pub mode: Mode,
    /// Whom to ask.
    pub sites: Vec<Site>,
    /// From this sum of weights on there is a finding.
    pub threshold: i32,
    /// True: local addresses are asked about too, to try it out.
    pub ask_local: bool,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where it is asked.
    pub zone: Name,
    /// Which of its answers count. `None`: all.
    pattern: Option<[Vec<(u8, u8)>; 4]>,
    /// What being listed weighs.
    pub weight: i32,
}

impl FromStr for Site {
    type Err = String;
    fn from_str(text: &str) -> Result<Site, String> {
        let wrong = || {
            format!(
                "`{text}` is no list: write it as zen.spamhaus.org=127.0.0.[2..11]*3 (which answers count, and their weight)"
            )
        };
        let (rest, weight) = match text.rsplit_once('*') {
            Some((rest, weight)) => (rest, weight.parse().map_err(|_| wrong())?),
            None => (text, 1),
        };
        let (zone, pattern) = match rest.split_once('=') {
            Some((zone, pattern)) => (zone, Some(read_pattern(pattern).ok_or_else(wrong)?)),
            None => (rest, None),
        };
        let zone = Name::parse(zone).ok().filter(|zone| zone.as_str().len() <= ZONE_BYTES_MAX).ok_or_else(wrong)?;
        if weight == 0 || !(-WEIGHT_MAX..=WEIGHT_MAX).contains(&weight) {
            return Err(format!("`{text}`: a weight is from -{WEIGHT_MAX} to {WEIGHT_MAX}, and not 0"));
        }
        Ok(Site { zone, pattern, weight })
    }
}

fn read_pattern(text: &str) -> Option<[Vec<(u8, u8)>; 4]> {
    let mut rest = text;
    let mut parts: [Vec<(u8, u8)>; 4] = Default::default();
    for (n, part) in parts.iter_mut().enumerate() {
        if n > 0 {
            rest = rest.strip_prefix('.')?;
        }
        let said;
        (said, rest) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        for range in said.split(';') {
            let (from, to) = range.split_once("..").unwrap_or((range, range));
            let range: (u8, u8) = (from.parse().ok()?, to.parse().ok()?);
            part.push(Some(range).filter(|(from, to)| from <= to)?);
        }
    }
    rest.is_empty().then_some(parts)
}

impl Site {
    fn counts(&self, answer: Ipv4Addr) -> bool {
        let within = |ranges: &[(u8, u8)], octet| ranges.iter().any(|(from, to)| (*from..=*to).contains(&octet));
        let Some(pattern) = &self.pattern else { return true };
        pattern.iter().zip(answer.octets()).all(|(ranges, octet)| within(ranges, octet))
    }

    /// The name under which it knows an address (RFC 5782 §2.1, §2.4).
    #[must_use]
    pub fn name_of(&self, ip: IpAddr) -> Name {
        let reverse = Name::reverse(ip);
        let bare = reverse.as_str().trim_end_matches(".in-addr.arpa").trim_end_matches(".ip6.arpa");
        Name::parse(&format!("{bare}.{}", self.zone)).expect("an address and a zone of checked length")
    }
}

/// True if somebody else could have an opinion about this address.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // RFC 6598: between a provider and its customers.
            let shared = a == 100 && b & 0xc0 == 64;
            !(v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local())
        }
    }
}

/// What the lists say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weighed {
    /// The sum of the weights of those that have the client.
    pub score: i32,
    /// These, by their number, with the answer that counted.
    pub listed: Vec<(usize, Ipv4Addr)>,
    /// Lists that did not answer usefully.
    pub failed: usize,
}

/// What one list says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It has it: the answer that counted.
    Listed(Ipv4Addr),
    /// It has not, or not in a way that counts.
    Not,
    /// Nothing in time, or nothing that means anything.
    Nothing,
}

/// What came of asking one list, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// It had the address.
    pub listed: u64,
    /// It had not.
    pub not: u64,
    /// It did not say.
    pub nothing: u64,
    /// How long its answers took together, microseconds; what the cache knew took none.
    pub took_us: u64,
}

impl Told {
    /// It was asked once more.
    pub fn note(&mut self, said: Said, took_us: u64) {
        match said {
            Said::Listed(_) => self.listed += 1,
            Said::Not => self.not += 1,
            Said::Nothing => self.nothing += 1,
        }
        self.took_us += took_us;
    }

    /// What another shard was told counts too.
    pub fn add(&mut self, other: &Told) {
        let Told { listed, not, nothing, took_us } = other;
        self.listed += listed;
        self.not += not;
        self.nothing += nothing;
        self.took_us += took_us;
    }
}

/// What a list says. `None`: not in time.
#[must_use]
pub fn said(site: &Site, answer: Option<&Lookup<IpAddr>>) -> Said {
    let found = match answer {
        Some(Lookup::Found(found)) => &found.records,
        Some(Lookup::NoName(_) | Lookup::NoData(_)) => return Said::Not,
        Some(Lookup::Failed(_)) | None => return Said::Nothing,
    };
    let says = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) if v4.is_loopback() && v4.octets()[1..3] != [255, 255] => Some(*v4),
        _ => None,
    };
    let answers: Vec<Ipv4Addr> = found.iter().filter_map(says).collect();
    match answers.iter().find(|answer| site.counts(**answer)) {
        Some(answer) => Said::Listed(*answer),
        None if answers.is_empty() => Said::Nothing,
        None => Said::Not,
    }
}

/// Adds up what the lists say, in their order.
#[must_use]
pub fn weigh(sites: &[Site], said: impl IntoIterator<Item = Said>) -> Weighed {
    let mut weighed = Weighed::default();
    for (n, (site, said)) in sites.iter().zip(said).enumerate() {
        match said {
            Said::Listed(answer) => {
                weighed.score += site.weight;
                weighed.listed.push((n, answer));
            }
            Said::Not => {}
            Said::Nothing => weighed.failed += 1,
        }
    }
    weighed
}

impl Weighed {
    /// The list that weighs most against the client: who will be asked why.
    #[must_use]
    pub fn heaviest(&self, sites: &[Site]) -> Option<usize> {
        let against = self.listed.iter().map(|(n, _)| *n).filter(|n| sites[*n].weight > 0);
        against.max_by_key(|n| sites[*n].weight)
    }

    /// What is said from the threshold on. `text`: why the heaviest list has the client.
    #[must_use]
    pub fn finding(&self, settings: &Settings, ip: IpAddr, text: Option<&[u8]>) -> Option<Finding> {
        let heaviest = self.heaviest(&settings.sites).filter(|_| self.score >= settings.threshold)?;
        let zone = &settings.sites[heaviest].zone;
        let text = text.map(|text| printable(&String::from_utf8_lossy(text), TEXT_BYTES_MAX)).unwrap_or_default();
        let said = format!("Your address {ip} is listed by {zone}{}{text}", if text.is_empty() { "" } else { ": " });
        let each = self.listed.iter().map(|(n, answer)| format!("{} {answer}", settings.sites[*n].zone));
        let why = format!("score {} {}", self.score, each.collect::<Vec<_>>().join(", "));
        Some(Finding::new(550, (5, 7, 1), said, &why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Absent, Found, Reason};

    fn sites(texts: &[&str]) -> Vec<Site> {
        texts.iter().map(|text| text.parse().expect("a list")).collect()
    }

    fn says(answers: &[&str]) -> Option<Lookup<IpAddr>> {
        let records = answers.iter().map(|ip| ip.parse().expect("an address")).collect();
        let name = Name::parse("x.test").expect("a name");
        Some(Lookup::Found(Found { records, name, ttl_s: 60, authentic: false }))
    }

    fn silent() -> Option<Lookup<IpAddr>> {
        Some(Lookup::NoName(Absent { ttl_s: 60, authentic: false }))
    }

    fn weigh(sites: &[Site], answers: &[Option<Lookup<IpAddr>>]) -> Weighed {
        super::weigh(sites, sites.iter().zip(answers).map(|(site, answer)| said(site, answer.as_ref())))
    }

    #[test]
    fn weights_of_lists_for_and_against_are_added() {
        let lists = sites(&["a.test=127.0.0.[2;4..7]*3", "b.test*2", "good.test=127.0.[0..255].[1..3]*-4"]);
        let of = |answers: &[Option<Lookup<IpAddr>>]| weigh(&lists, answers);
        assert_eq!(of(&[says(&["127.0.0.4"]), says(&["127.0.0.9"]), silent()]).score, 5);
        assert_eq!(of(&[says(&["127.0.0.3"]), silent(), silent()]).score, 0, "the pattern leaves it out");
        assert_eq!(of(&[says(&["127.0.0.3", "127.0.0.7"]), silent(), silent()]).score, 3, "one of several");
        assert_eq!(of(&[says(&["127.0.0.2"]), silent(), says(&["127.0.15.2"])]).score, -1);
        assert_eq!(of(&[silent(), silent(), silent()]), Weighed::default());
    }

    #[test]
    fn a_list_that_refuses_or_fails_lists_nobody() {
        let lists = sites(&["a.test", "b.test", "c.test", "d.test"]);
        let failed = Some(Lookup::Failed(Reason::Timeout));
        let weighed = weigh(&lists, &[says(&["127.255.255.254"]), says(&["192.0.2.7"]), failed, None]);
        assert_eq!(weighed, Weighed { score: 0, listed: Vec::new(), failed: 4 });
        // A listing beside it counts.
        assert_eq!(weigh(&lists[..1], &[says(&["127.255.255.252", "127.0.0.2"])]).score, 1);
    }

    #[test]
    fn an_address_is_asked_for_backwards() {
        let list: Site = "zen.test".parse().expect("a list");
        assert_eq!(list.name_of([192, 0, 2, 99].into()).as_str(), "99.2.0.192.zen.test");
        let v6 = list.name_of("2001:db8:1:2:3:4:567:89ab".parse().expect("an address"));
        assert_eq!(v6.as_str(), "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.zen.test");
    }

    #[test]
    fn local_addresses_are_nobodys_business() {
        for local in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "0.0.0.0",
        ] {
            assert!(!is_public(local.parse().expect("an address")), "{local}");
        }
        for public in ["192.0.2.1", "8.8.8.8", "100.128.0.1", "2001:db8::1"] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
    }

    #[test]
    fn mistakes_in_lists_are_refused() {
        for bad in [
            "",
            "=127.0.0.2",
            "a.test=127.0.0",
            "a.test=127.0.0.2.3",
            "a.test=127.0.0.[3..2]",
            "a.test=127.0.0.[2",
            "a.test*x",
            "a.test*0",
            "a.test*5000",
            "a test",
            "a.test=127.0.0.256",
            "a.test=127.0.0.[]",
        ] {
            assert!(bad.parse::<Site>().is_err(), "{bad}");
        }
        let long = format!("{}.test", "a.".repeat(100));
        assert!(long.parse::<Site>().is_err());
    }

    #[test]
    fn what_a_list_writes_is_cut_and_stays_on_its_line() {
        let settings =
            Settings { sites: sites(&["a.test*2", "b.test*3"]), threshold: 5, mode: Mode::Reject, ask_local: false };
        let weighed = weigh(&settings.sites, &[says(&["127.0.0.2"]), says(&["127.0.0.3"])]);
        let text = format!("see\r\n250 Ok {}", "x".repeat(9_000));
        let finding = weighed.finding(&settings, [192, 0, 2, 1].into(), Some(text.as_bytes())).expect("a finding");
        assert!(finding.reply.text.starts_with("Your address 192.0.2.1 is listed by b.test: see??250 Ok xxx"));
        assert!(finding.reply.text.len() < 300);
        assert_eq!(finding.why, "score 5 a.test 127.0.0.2, b.test 127.0.0.3");
        let below = Settings { threshold: 6, ..settings };
        assert_eq!(weighed.finding(&below, [192, 0, 2, 1].into(), None), None);
    }
}
