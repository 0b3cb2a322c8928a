//! One query as octets, and what octets that come back are. Pure.
//!
//! An answer is held against the query octet by octet (id, question, and with `mixed_case` the case of each letter) before
//! anything else of it is read (RFC 5452 §9.1). Only then `hickory-proto` reads its records, one at a time and bounded: counts
//! and pointers are what the sender says they are (A080, A082). The additional section is not read: nothing in it answers.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::Header;
use hickory_proto::rr::{DNSClass, RData, Record as WireRecord};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::name::Name;
use crate::limits::{DNS_RECORDS_READ_MAX, DNS_TTL_S_MAX, DNS_TXT_BYTES_MAX, DNS_UDP_BYTES};

const HEADER_BYTES: usize = 12;
/// Flags of the header's third and fourth octet.
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TC: u8 = 0x02;
const RD: u8 = 0x01;
const AD: u8 = 0x20;
const RCODE: u8 = 0x0f;
const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;

/// What may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail exchangers.
    Mx,
    /// Text.
    Txt,
    /// Names of an address.
    Ptr,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Kind::A => 1,
            Kind::Ptr => 12,
            Kind::Mx => 15,
            Kind::Txt => 16,
            Kind::Aaaa => 28,
        }
    }
}

/// A query, and what its answer is held against.
pub struct Query {
    octets: Vec<u8>,
    question_end: usize,
    mixed_case: bool,
}

impl Query {
    /// A query that wants recursion and would hear of authenticated data (RFC 6840 §5.7). `case`: a bit for each octet of
    /// the name, set where its letter is to be a capital. `edns`: says how large an answer may be (RFC 6891 §6.1).
    pub fn new(id: u16, name: &Name, kind: Kind, edns: bool, case: Option<[u8; 32]>) -> Query {
        let mut octets = Vec::with_capacity(HEADER_BYTES + name.as_str().len() + 17);
        octets.extend(id.to_be_bytes());
        octets.extend([RD, AD, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
        let mut at = 0_usize;
        for label in name.labels() {
            octets.push(u8::try_from(label.len()).expect("a label has up to 63 octets"));
            for octet in label.bytes() {
                let capital = case.is_some_and(|bits| bits[at / 8] >> (at % 8) & 1 == 1);
                octets.push(if capital { octet.to_ascii_uppercase() } else { octet });
                at += 1;
            }
        }
        octets.push(0);
        octets.extend(kind.code().to_be_bytes());
        octets.extend(CLASS_IN.to_be_bytes());
        let question_end = octets.len();
        if edns {
            octets.push(0);
            octets.extend(TYPE_OPT.to_be_bytes());
            octets.extend(DNS_UDP_BYTES.to_be_bytes());
            // No extended code, version 0, no flags, no options.
            octets.extend([0; 6]);
        }
        Query { octets, question_end, mixed_case: case.is_some() }
    }

    /// As it is sent by UDP; by TCP its length goes before it.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    fn question(&self) -> &[u8] {
        &self.octets[HEADER_BYTES..self.question_end]
    }

    fn is_asked_in(&self, answer: &[u8]) -> bool {
        let Some(question) = answer.get(HEADER_BYTES..self.question_end) else { return false };
        if self.mixed_case {
            question == self.question()
        } else {
            // Lengths of labels are no letters, so ignoring case changes none of them.
            question.eq_ignore_ascii_case(self.question())
        }
    }
}

/// What octets that came back are.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not an answer to this query: somebody else's, an old one, or a forged one.
    NotOurs,
    /// The rest is to be had by TCP.
    Truncated,
    /// Whoever answers did not understand the query: FORMERR or NOTIMP.
    NotUnderstood,
    /// SERVFAIL, REFUSED or another code that is no answer.
    Refused(u8),
    /// Its records cannot be read.
    Malformed,
    /// An answer.
    Reply(Reply),
}

/// An answer's records.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// NXDOMAIN: the name at the end of its aliases is not there.
    pub no_name: bool,
    /// Whoever answers says that it has validated all of it. To be believed of a resolver on this host alone.
    pub authentic: bool,
    /// The answer section.
    pub records: Vec<Record>,
    /// How long it holds that something is not there, seconds, if a SOA record says so (RFC 2308 §5).
    pub negative_ttl_s: Option<u32>,
    /// Sends us to other servers, which is not what a resolver does.
    pub referral: bool,
}

/// A record of the answer section.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub owner: Name,
    /// Seconds it may be kept.
    pub ttl_s: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says. `None`: a name that is not believed.
#[derive(Debug, PartialEq, Eq)]
pub enum Data {
    /// An alias of this name.
    Alias(Option<Name>),
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A mail exchanger.
    Mx(u16, Exchange),
    /// The strings of a text, joined; `None`: too long.
    Txt(Option<Box<[u8]>>),
    /// A name of an address.
    Ptr(Option<Name>),
}

/// Where an MX record points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// To this host.
    Host(Name),
    /// To the root: nobody takes mail for this domain (RFC 7505 §3).
    Nobody,
    /// To something that is no host name.
    Junk,
}

/// Looks at octets that came back for `query`.
pub fn read(octets: &[u8], query: &Query) -> Seen {
    let Some(header) = octets.get(..HEADER_BYTES) else { return Seen::NotOurs };
    if header[..2] != query.octets[..2] || header[2] & (QR | OPCODE) != QR {
        return Seen::NotOurs;
    }
    let (questions, code) = (u16::from_be_bytes([header[4], header[5]]), header[3] & RCODE);
    // Whoever does not understand a query may not repeat its question.
    if questions == 0 && matches!(code, 1 | 4) {
        return Seen::NotUnderstood;
    }
    if questions != 1 || !query.is_asked_in(octets) {
        return Seen::NotOurs;
    }
    if header[2] & TC != 0 {
        return Seen::Truncated;
    }
    match code {
        0 | 3 => records(octets, query).map_or(Seen::Malformed, Seen::Reply),
        1 | 4 => Seen::NotUnderstood,
        code => Seen::Refused(code),
    }
}

fn records(octets: &[u8], query: &Query) -> Option<Reply> {
    let mut decoder = BinDecoder::new(octets);
    let header = Header::read(&mut decoder).ok()?;
    decoder.read_slice(query.question().len()).ok()?;
    let mut reply = Reply {
        no_name: octets[3] & RCODE == 3,
        authentic: octets[3] & AD != 0,
        records: Vec::new(),
        negative_ttl_s: None,
        referral: false,
    };
    let answers = usize::from(header.counts.answers);
    for _ in 0..answers.min(DNS_RECORDS_READ_MAX) {
        reply.records.extend(record(WireRecord::read(&mut decoder).ok()?));
    }
    if answers > DNS_RECORDS_READ_MAX {
        return Some(reply);
    }
    for _ in 0..usize::from(header.counts.authorities).min(DNS_RECORDS_READ_MAX) {
        let record = WireRecord::read(&mut decoder).ok()?;
        match &record.data {
            RData::SOA(soa) => reply.negative_ttl_s = Some(seconds(record.ttl).min(seconds(soa.minimum))),
            RData::NS(_) => reply.referral = true,
            _ => {}
        }
    }
    Some(reply)
}

/// What concerns us of a record.
fn record(wire: WireRecord) -> Option<Record> {
    if wire.dns_class != DNSClass::IN {
        return None;
    }
    let data = match &wire.data {
        RData::CNAME(to) => Data::Alias(Name::of_wire(to)),
        RData::A(a) => Data::A(a.0),
        RData::AAAA(aaaa) => Data::Aaaa(aaaa.0),
        RData::MX(mx) if mx.exchange.is_root() => Data::Mx(mx.preference, Exchange::Nobody),
        RData::MX(mx) => {
            let host = Name::of_wire(&mx.exchange).filter(Name::is_host);
            Data::Mx(mx.preference, host.map_or(Exchange::Junk, Exchange::Host))
        }
        RData::TXT(txt) => {
            let bytes: usize = txt.txt_data.iter().map(|string| string.len()).sum();
            Data::Txt((bytes <= DNS_TXT_BYTES_MAX).then(|| txt.txt_data.concat().into()))
        }
        RData::PTR(name) => Data::Ptr(Name::of_wire(name).filter(Name::is_host)),
        _ => return None,
    };
    // Whose it is must be a name that was asked for or an alias that is believed: with another it answers nothing.
    Some(Record { owner: Name::of_wire(&wire.name)?, ttl_s: seconds(wire.ttl), data })
}

/// A TTL with its highest bit set means 0 (RFC 2181 §8); none is longer than a week.
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl.min(DNS_TTL_S_MAX) }
}
