//! From an answer's records to what was asked: aliases followed, records picked, lifetimes taken together. Pure.

use std::fmt;
use std::net::IpAddr;

use super::message::{Data, Exchange, Kind, Record, Reply};
use super::name::Name;
use crate::limits::{DNS_ALIASES_MAX, DNS_NEGATIVE_TTL_S_MAX, DNS_PTR_NAMES_MAX, DNS_RECORDS_MAX, DNS_TTL_S_MAX};

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// There are records.
    Found(Found<T>),
    /// There is no such name, and nothing below it (NXDOMAIN).
    NoName(Absent),
    /// The name is there, without records of this kind.
    NoData(Absent),
    /// Nobody could say. Only for now: never a reason to refuse for good (A090).
    Failed(Reason),
}

/// Records that were found: at least one, at most [`DNS_RECORDS_MAX`] of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// In the order of the answer; mail exchangers in the order of their preference.
    pub records: Vec<T>,
    /// The name they belong to: the one asked for, or that of which it is an alias.
    pub name: Name,
    /// Seconds for which this may be believed, from now on.
    pub ttl_s: u32,
    /// A resolver on this host says that it validated all of this (AD, RFC 4035 §3.2.3).
    pub authentic: bool,
}

/// That something is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Seconds for which this may be believed, from now on.
    pub ttl_s: u32,
    /// As [`Found::authentic`].
    pub authentic: bool,
}

/// Why nobody could say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no resolver to ask.
    NoResolver,
    /// [`DNS_IN_FLIGHT_MAX`](crate::limits::DNS_IN_FLIGHT_MAX) questions are under way, or more were and this one was slow.
    Busy,
    /// No resolver answered in time.
    Timeout,
    /// No resolver can be reached.
    Unreachable,
    /// The resolvers could not say: SERVFAIL, REFUSED or another code.
    Refused(u8),
    /// The resolvers' answers cannot be read, or all that they say is junk.
    Malformed,
    /// The resolver sent us to others instead of asking them: it is no resolver for us.
    Lame,
    /// Aliases of aliases, without an end in sight.
    Aliases,
    /// This shard is stopping.
    Stopped,
}

/// A mail exchanger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    /// Lower is better.
    pub preference: u16,
    /// The host; `None`: the domain takes no mail (RFC 7505 §3).
    pub exchange: Option<Name>,
}

/// A record of any kind, as the cache keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Of A and AAAA.
    Address(IpAddr),
    /// Of MX.
    Mx(Mx),
    /// Of TXT.
    Txt(Box<[u8]>),
    /// Of PTR.
    Name(Name),
}

/// What an answer leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It answers.
    Done(Lookup<Item>),
    /// It says only that the name is an alias: this is to be asked for next.
    Follow(Alias),
    /// It is of no use; another resolver may know better.
    Useless(Reason),
}

/// The end of the aliases so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Of which name.
    pub of: Name,
    /// Aliases on the way.
    pub count: usize,
    /// The shortest life of theirs, seconds.
    pub ttl_s: u32,
    /// All of them validated.
    pub authentic: bool,
}

impl Alias {
    /// No alias yet.
    #[must_use]
    pub fn none(name: Name) -> Alias {
        Alias { of: name, count: 0, ttl_s: DNS_TTL_S_MAX, authentic: true }
    }
}

/// Reads `reply` as an answer for records of `kind` at the end of the aliases in `so_far`.
#[must_use]
pub fn judge(reply: Reply, kind: Kind, so_far: &Alias) -> Step {
    let mut at = so_far.clone();
    at.authentic &= reply.authentic;
    loop {
        if has(&reply.records, &at.of, kind) {
            return found(reply, kind, at);
        }
        let alias = reply.records.iter().find_map(|record| match &record.data {
            Data::Alias(of) if record.owner == at.of => Some((of, record.ttl_s)),
            _ => None,
        });
        let Some((of, ttl_s)) = alias else { break };
        let Some(of) = of else { return Step::Useless(Reason::Malformed) };
        at = Alias { of: of.clone(), count: at.count + 1, ttl_s: at.ttl_s.min(ttl_s), authentic: at.authentic };
        if at.count > DNS_ALIASES_MAX {
            return Step::Done(Lookup::Failed(Reason::Aliases));
        }
    }
    let ttl_s = reply.negative_ttl_s.unwrap_or(0).min(at.ttl_s).min(DNS_NEGATIVE_TTL_S_MAX);
    let absent = Absent { ttl_s, authentic: at.authentic };
    match (reply.no_name, reply.negative_ttl_s) {
        (true, _) => Step::Done(Lookup::NoName(absent)),
        (false, Some(_)) => Step::Done(Lookup::NoData(absent)),
        (false, None) if at.count > so_far.count => Step::Follow(at),
        (false, None) if reply.referral => Step::Useless(Reason::Lame),
        (false, None) => Step::Done(Lookup::NoData(absent)),
    }
}

fn has(records: &[Record], name: &Name, kind: Kind) -> bool {
    records.iter().any(|record| record.owner == *name && is(&record.data, kind))
}

fn is(data: &Data, kind: Kind) -> bool {
    match data {
        Data::Alias(_) => false,
        Data::A(_) => kind == Kind::A,
        Data::Aaaa(_) => kind == Kind::Aaaa,
        Data::Mx(..) => kind == Kind::Mx,
        Data::Txt(_) => kind == Kind::Txt,
        Data::Ptr(_) => kind == Kind::Ptr,
    }
}

fn found(reply: Reply, kind: Kind, at: Alias) -> Step {
    let mut ttl_s = at.ttl_s;
    let mut items = Vec::new();
    for record in reply.records {
        if record.owner != at.of || !is(&record.data, kind) {
            continue;
        }
        ttl_s = ttl_s.min(record.ttl_s);
        items.extend(item(record.data));
    }
    if kind == Kind::Mx {
        // Of many the best are kept, in the order in which they will be tried.
        items.sort_by_key(|item| if let Item::Mx(mx) = item { mx.preference } else { u16::MAX });
    }
    items.truncate(if kind == Kind::Ptr { DNS_PTR_NAMES_MAX } else { DNS_RECORDS_MAX });
    if items.is_empty() {
        // There are records and all of them are junk: that is not the same as none.
        return Step::Useless(Reason::Malformed);
    }
    Step::Done(Lookup::Found(Found { records: items, name: at.of, ttl_s, authentic: at.authentic }))
}

fn item(data: Data) -> Option<Item> {
    match data {
        Data::Alias(_) => None,
        Data::A(a) => Some(Item::Address(a.into())),
        Data::Aaaa(aaaa) => Some(Item::Address(aaaa.into())),
        Data::Mx(preference, Exchange::Host(host)) => Some(Item::Mx(Mx { preference, exchange: Some(host) })),
        Data::Mx(preference, Exchange::Nobody) => Some(Item::Mx(Mx { preference, exchange: None })),
        Data::Mx(_, Exchange::Junk) => None,
        Data::Txt(text) => text.map(Item::Txt),
        Data::Ptr(name) => name.map(Item::Name),
    }
}

impl<T> Lookup<T> {
    /// The same with other records; `None` leaves one out.
    pub fn map<U>(self, to: impl FnMut(T) -> Option<U>) -> Lookup<U> {
        match self {
            Lookup::Found(f) => Lookup::Found(Found {
                records: f.records.into_iter().filter_map(to).collect(),
                name: f.name,
                ttl_s: f.ttl_s,
                authentic: f.authentic,
            }),
            Lookup::NoName(absent) => Lookup::NoName(absent),
            Lookup::NoData(absent) => Lookup::NoData(absent),
            Lookup::Failed(reason) => Lookup::Failed(reason),
        }
    }

    /// What was found, if anything was.
    pub fn found(&self) -> Option<&Found<T>> {
        if let Lookup::Found(found) = self { Some(found) } else { None }
    }
}

impl<T: Clone> Lookup<T> {
    /// The same, to be believed for so long.
    #[must_use]
    pub fn with_ttl_s(&self, ttl_s: u32) -> Lookup<T> {
        let absent = |absent: &Absent| Absent { ttl_s, ..*absent };
        match self {
            Lookup::Found(f) => Lookup::Found(Found { ttl_s, ..f.clone() }),
            Lookup::NoName(a) => Lookup::NoName(absent(a)),
            Lookup::NoData(a) => Lookup::NoData(absent(a)),
            Lookup::Failed(reason) => Lookup::Failed(*reason),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoResolver => f.write_str("no resolver is configured"),
            Reason::Busy => f.write_str("too many DNS questions are under way"),
            Reason::Timeout => f.write_str("no resolver answered in time"),
            Reason::Unreachable => f.write_str("no resolver can be reached"),
            Reason::Refused(2) => f.write_str("the resolvers failed (SERVFAIL)"),
            Reason::Refused(5) => f.write_str("the resolvers refused (REFUSED)"),
            Reason::Refused(code) => write!(f, "the resolvers answered with code {code}"),
            Reason::Malformed => f.write_str("the resolvers' answer cannot be used"),
            Reason::Lame => f.write_str("the resolver does not ask others for us"),
            Reason::Aliases => f.write_str("too many aliases (CNAME)"),
            Reason::Stopped => f.write_str("the server is stopping"),
        }
    }
}
