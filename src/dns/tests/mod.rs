//! The room through its front door: octets as peers send them, and resolvers that answer, lie, stall and are silent.

use super::message::{Kind, Query};
use super::name::Name;

mod asked;
#[cfg(feature = "sim")]
mod lost;
mod meaning;
mod octets;
mod stand_in;

pub(super) const A: u16 = 1;
pub(super) const NS: u16 = 2;
pub(super) const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
pub(super) const PTR: u16 = 12;
pub(super) const MX: u16 = 15;
pub(super) const TXT: u16 = 16;

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn query(kind: Kind, of: &str) -> Query {
    Query::new(0x1234, &name(of), kind, true, None)
}

/// A name as it travels.
fn wire(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(u8::try_from(label.len()).expect("a label"));
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}

/// An answer in the making: the question of a query, and records.
#[derive(Clone)]
struct Answer {
    octets: Vec<u8>,
}

impl Answer {
    /// To this query, with this code.
    fn to(query: &[u8], code: u8) -> Answer {
        let end = 12 + query[12..].iter().position(|octet| *octet == 0).expect("a name ends") + 5;
        let mut octets = query[..end].to_vec();
        octets[2..12].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0]);
        Answer { octets }
    }

    fn flags(mut self, second: u8, third: u8) -> Answer {
        self.octets[2] |= second;
        self.octets[3] |= third;
        self
    }

    fn record(mut self, section: usize, owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Answer {
        self.octets.extend(wire(owner));
        self.octets.extend(kind.to_be_bytes());
        self.octets.extend([0, 1]);
        self.octets.extend(ttl.to_be_bytes());
        self.octets.extend(u16::try_from(data.len()).expect("a record").to_be_bytes());
        self.octets.extend(data);
        let at = 6 + 2 * section;
        let count = u16::from_be_bytes([self.octets[at], self.octets[at + 1]]) + 1;
        self.octets[at..at + 2].copy_from_slice(&count.to_be_bytes());
        self
    }

    fn with(self, owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Answer {
        self.record(0, owner, kind, ttl, data)
    }

    fn alias(self, owner: &str, of: &str) -> Answer {
        self.with(owner, CNAME, 300, &wire(of))
    }

    fn mx(self, owner: &str, preference: u16, host: &str) -> Answer {
        self.with(owner, MX, 300, &[&preference.to_be_bytes()[..], &wire(host)].concat())
    }

    /// With the SOA record of a negative answer.
    fn soa(self, ttl: u32, minimum: u32) -> Answer {
        let mut data = [wire("ns.test"), wire("root.ns.test"), vec![0; 16]].concat();
        data.extend(minimum.to_be_bytes());
        self.record(1, "test", SOA, ttl, &data)
    }
}
