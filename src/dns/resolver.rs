//! The questions under way: one for all who ask the same, with resolvers that are slow, silent, or not who they seem.
//!
//! A question is a task of its own, so that it goes on for the others when one of those who wait gives up.
//!
//! Places are bounded. Whoever makes us ask for names whose servers are silent could hold all of them, so a new question takes the
//! place of the oldest one that is already slow.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_lite::future::{or, zip};

use super::Settings;
use super::answer::{self, Absent, Alias, Found, Item, Lookup, Mx, Reason, Step};
use super::cache::{Cache, Question};
use super::message::{self, Kind, Query, Reply, Seen};
use super::name::Name;
use super::servers::Servers;
use crate::limits::{DNS_FORGED_MAX, DNS_IN_FLIGHT_MAX, DNS_LOOKUP_S, DNS_SLOW_MS, DNS_TCP_S};
use crate::observe::{self, Counter, Gauge, Measure};
use crate::shard::{self, Datagrams, Moment};

/// Which addresses are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Both, those of IPv6 first.
    Any,
}

/// A shard's resolver. Cloning it makes another name for the same.
#[derive(Clone)]
pub struct Resolver(Rc<Inner>);

struct Inner {
    settings: Settings,
    cache: RefCell<Cache>,
    servers: RefCell<Servers>,
    flights: RefCell<BTreeMap<Question, Rc<Flight>>>,
}

/// A question under way.
struct Flight {
    began: Moment,
    /// Another question has its place now.
    given_up: Cell<bool>,
    /// Its own task, to be told so.
    task: Cell<Option<Waker>>,
    answer: RefCell<Option<Lookup<Item>>>,
    /// Those who wait: each is a task of this shard, and those are bounded where they begin.
    waiting: RefCell<Vec<Waker>>,
}

impl Resolver {
    /// A resolver with an empty cache.
    #[must_use]
    pub fn new(settings: Settings) -> Resolver {
        let servers = RefCell::new(Servers::new(&settings.resolvers));
        Resolver(Rc::new(Inner { settings, cache: RefCell::default(), servers, flights: RefCell::default() }))
    }

    /// The mail exchangers of a domain, best first; those of equal preference in the order of the answer. One record without a
    /// host, and no other, means that the domain takes no mail (RFC 7505 §3). Without any (`NoData`) its own address is meant
    /// (RFC 5321 §5.1).
    pub async fn lookup_mx(&self, name: &Name) -> Lookup<Mx> {
        let answer = self.lookup(Kind::Mx, name).await;
        answer.map(|item| if let Item::Mx(mx) = item { Some(mx) } else { None })
    }

    /// The addresses of a host. With [`Family::Any`] both kinds are asked for at once; if one fails, what the other found
    /// is the answer.
    pub async fn lookup_address(&self, name: &Name, family: Family) -> Lookup<IpAddr> {
        let of = |kind| async move {
            let answer = self.lookup(kind, name).await;
            answer.map(|item| if let Item::Address(ip) = item { Some(ip) } else { None })
        };
        match family {
            Family::V4 => of(Kind::A).await,
            Family::V6 => of(Kind::Aaaa).await,
            Family::Any => {
                let (v6, v4) = zip(of(Kind::Aaaa), of(Kind::A)).await;
                both(v6, v4)
            }
        }
    }

    /// The texts of a name: octets, not more, the strings of each record joined (RFC 7208 §3.3).
    pub async fn lookup_txt(&self, name: &Name) -> Lookup<Box<[u8]>> {
        let answer = self.lookup(Kind::Txt, name).await;
        answer.map(|item| if let Item::Txt(text) = item { Some(text) } else { None })
    }

    /// The names that an address says it has: claims, until their own addresses say the same.
    pub async fn lookup_ptr(&self, of: IpAddr) -> Lookup<Name> {
        let answer = self.lookup(Kind::Ptr, &Name::reverse(of)).await;
        answer.map(|item| if let Item::Name(name) = item { Some(name) } else { None })
    }

    async fn lookup(&self, kind: Kind, name: &Name) -> Lookup<Item> {
        let question = (kind, name.clone());
        let kept = self.0.cache.borrow_mut().get(&question, shard::now());
        let answer = match kept {
            Some(answer) => {
                observe::count(Counter::DnsCacheHits);
                answer
            }
            None => match self.flight(question) {
                Some(flight) => flight.landed().await,
                None => Lookup::Failed(Reason::Busy),
            },
        };
        observe::count(match &answer {
            Lookup::Found(_) => Counter::DnsFound,
            Lookup::NoName(_) => Counter::DnsNoName,
            Lookup::NoData(_) => Counter::DnsNoData,
            Lookup::Failed(_) => Counter::DnsFailed,
        });
        answer
    }

    /// The flight of this question, begun if it is not under way. `None`: too many are.
    fn flight(&self, question: Question) -> Option<Rc<Flight>> {
        let mut flights = self.0.flights.borrow_mut();
        if let Some(flight) = flights.get(&question) {
            observe::count(Counter::DnsShared);
            return Some(flight.clone());
        }
        if flights.len() >= DNS_IN_FLIGHT_MAX {
            let (oldest, flight) = flights.iter().min_by_key(|(_, flight)| flight.began)?;
            if shard::now().since(flight.began) < Duration::from_millis(DNS_SLOW_MS) {
                return None;
            }
            flight.give_up();
            let oldest = oldest.clone();
            flights.remove(&oldest);
        }
        let flight = Rc::new(Flight::begin());
        flights.insert(question.clone(), flight.clone());
        drop(flights);
        let landing = Landing { inner: self.0.clone(), question, flight: flight.clone(), answer: Cell::default() };
        shard::spawn("dns", async move {
            let _open = observe::present(Gauge::DnsOpen);
            let began = shard::now();
            let given_up = async {
                landing.flight.given_up().await;
                Lookup::Failed(Reason::Busy)
            };
            let answer = or(given_up, landing.inner.settle(&landing.question)).await;
            observe::took(Measure::DnsLookup, shard::now().since(began));
            landing.inner.cache.borrow_mut().put(landing.question.clone(), &answer, shard::now());
            landing.answer.set(Some(answer));
        });
        Some(flight)
    }
}

impl Flight {
    fn begin() -> Flight {
        Flight {
            began: shard::now(),
            given_up: Cell::default(),
            task: Cell::default(),
            answer: RefCell::default(),
            waiting: RefCell::default(),
        }
    }

    fn give_up(&self) {
        self.given_up.set(true);
        self.task.take().into_iter().for_each(Waker::wake);
    }

    /// Resolves when another question has its place.
    async fn given_up(&self) {
        poll_fn(|cx| {
            if self.given_up.get() {
                return Poll::Ready(());
            }
            self.task.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    async fn landed(&self) -> Lookup<Item> {
        poll_fn(|cx| {
            if let Some(answer) = self.answer.borrow().as_ref() {
                return Poll::Ready(answer.clone());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|known| known.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

/// Ends a flight, whatever becomes of its task.
struct Landing {
    inner: Rc<Inner>,
    question: Question,
    flight: Rc<Flight>,
    answer: Cell<Option<Lookup<Item>>>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        // The same question may be under way anew.
        if !self.flight.given_up.get() {
            self.inner.flights.borrow_mut().remove(&self.question);
        }
        let answer = self.answer.take().unwrap_or(Lookup::Failed(Reason::Stopped));
        *self.flight.answer.borrow_mut() = Some(answer);
        let waiting = std::mem::take(&mut *self.flight.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Why a query led to nothing.
struct Unanswered {
    why: Reason,
    /// The same resolver would say the same again.
    is_final: bool,
}

fn unanswered(why: Reason) -> Unanswered {
    observe::count(match why {
        Reason::Timeout => Counter::DnsTimeouts,
        Reason::Unreachable => Counter::DnsUnreachable,
        Reason::Malformed => Counter::DnsMalformed,
        _ => Counter::DnsRefusals,
    });
    Unanswered { why, is_final: !matches!(why, Reason::Timeout | Reason::Unreachable) }
}

fn unreachable(why: io::Error) -> Unanswered {
    tracing::debug!(target: "dns", %why, "a resolver cannot be reached");
    unanswered(Reason::Unreachable)
}

impl Inner {
    async fn settle(&self, (kind, name): &Question) -> Lookup<Item> {
        let whole = shard::within(Duration::from_secs(DNS_LOOKUP_S), self.follow(*kind, name));
        let answer = whole.await.unwrap_or(Lookup::Failed(Reason::Timeout));
        if let Lookup::Failed(why) = &answer {
            tracing::debug!(target: "dns", %name, ?kind, %why, "no answer");
        }
        answer
    }

    /// Asks, and asks for what the name is an alias of.
    async fn follow(&self, kind: Kind, name: &Name) -> Lookup<Item> {
        let mut alias = Alias::none(name.clone());
        loop {
            match self.ask(kind, &alias).await {
                // Each step has at least one alias more, and too many end it.
                Ok(Step::Follow(next)) => alias = next,
                Ok(Step::Done(answer)) => return answer,
                Ok(Step::Useless(why)) | Err(why) => return Lookup::Failed(why),
            }
        }
    }

    /// Asks one resolver after the other, in rounds.
    async fn ask(&self, kind: Kind, alias: &Alias) -> Result<Step, Reason> {
        let mut last = Reason::NoResolver;
        let mut heard = Vec::new();
        for _ in 0..self.settings.attempts {
            let order = self.servers.borrow().in_order(shard::now());
            for at in order {
                if heard.contains(&at) {
                    continue;
                }
                let asked = self.exchange(at, kind, alias).await;
                let lost = match asked {
                    Ok(step) => {
                        self.servers.borrow_mut().well(at);
                        return Ok(step);
                    }
                    Err(lost) => lost,
                };
                if lost.is_final {
                    heard.push(at);
                } else {
                    self.servers.borrow_mut().rest(at, shard::now());
                }
                last = lost.why;
            }
        }
        Err(last)
    }

    /// Asks one resolver.
    async fn exchange(&self, at: SocketAddr, kind: Kind, alias: &Alias) -> Result<Step, Unanswered> {
        // Whoever does not understand EDNS is asked again without (RFC 6891 §7).
        for edns in [true, false] {
            let query = self.query(kind, &alias.of, edns);
            let seen = match self.by_udp(at, &query).await? {
                Seen::Truncated | Seen::NotOurs => by_tcp(at, &query).await?,
                seen => seen,
            };
            return match seen {
                Seen::Reply(reply) => {
                    let authentic = reply.authentic && at.ip().to_canonical().is_loopback();
                    match answer::judge(Reply { authentic, ..reply }, kind, alias) {
                        Step::Useless(why) => Err(unanswered(why)),
                        step => Ok(step),
                    }
                }
                Seen::NotUnderstood if edns => continue,
                Seen::NotUnderstood => Err(unanswered(Reason::Refused(1))),
                Seen::Refused(code) => Err(unanswered(Reason::Refused(code))),
                Seen::Malformed | Seen::Truncated | Seen::NotOurs => Err(unanswered(Reason::Malformed)),
            };
        }
        unreachable!("the second time every answer ends it")
    }

    fn query(&self, kind: Kind, name: &Name, edns: bool) -> Query {
        let (mut id, mut case) = ([0; 2], [0; 32]);
        shard::random(&mut id);
        if self.settings.mixed_case {
            shard::random(&mut case);
        }
        Query::new(u16::from_be_bytes(id), name, kind, edns, self.settings.mixed_case.then_some(case))
    }

    /// What the resolver answers by UDP. `NotOurs`: so many answers were forged that it is better asked by TCP.
    async fn by_udp(&self, at: SocketAddr, query: &Query) -> Result<Seen, Unanswered> {
        observe::count(Counter::DnsQueriesUdp);
        let socket = Datagrams::to(at).map_err(unreachable)?;
        socket.send(query.octets()).map_err(unreachable)?;
        let answer = async {
            let mut forged = 0;
            loop {
                let seen = message::read(&socket.recv().await?, query);
                if seen != Seen::NotOurs {
                    return Ok(seen);
                }
                observe::count(Counter::DnsForged);
                forged += 1;
                if forged >= DNS_FORGED_MAX {
                    tracing::warn!(target: "dns", resolver = %at, "answers are being forged: asking by TCP");
                    return Ok(Seen::NotOurs);
                }
            }
        };
        match shard::within(Duration::from_secs(self.settings.timeout_s), answer).await {
            Some(seen) => seen.map_err(unreachable),
            None => Err(unanswered(Reason::Timeout)),
        }
    }
}

/// What the resolver answers by TCP (RFC 7766).
async fn by_tcp(at: SocketAddr, query: &Query) -> Result<Seen, Unanswered> {
    observe::count(Counter::DnsQueriesTcp);
    let answer = async {
        let mut stream = shard::connect(at).await?;
        let len = u16::try_from(query.octets().len()).expect("a question has a few hundred octets");
        let framed = [&len.to_be_bytes(), query.octets()].concat();
        stream.send(framed).await.0?;
        let mut octets = Vec::new();
        loop {
            if let Some((len, rest)) = octets.split_first_chunk::<2>() {
                let len = usize::from(u16::from_be_bytes(*len));
                if rest.len() >= len {
                    stream.reset();
                    return Ok(message::read(&rest[..len], query));
                }
            }
            // Bounded by the length before the answer and what one chunk brings beyond it.
            let chunk = stream.recv().await?;
            if chunk.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            octets.extend_from_slice(&chunk);
        }
    };
    match shard::within(Duration::from_secs(DNS_TCP_S), answer).await {
        Some(seen) => seen.map_err(unreachable),
        None => Err(unanswered(Reason::Timeout)),
    }
}

/// What two kinds of addresses are together.
fn both(v6: Lookup<IpAddr>, v4: Lookup<IpAddr>) -> Lookup<IpAddr> {
    let absent = |a: Absent, b: Absent| Absent { ttl_s: a.ttl_s.min(b.ttl_s), authentic: a.authentic && b.authentic };
    match (v6, v4) {
        (Lookup::Found(a), Lookup::Found(b)) => {
            let (ttl_s, authentic) = (a.ttl_s.min(b.ttl_s), a.authentic && b.authentic);
            let records = a.records.into_iter().chain(b.records).collect();
            Lookup::Found(Found { records, name: a.name, ttl_s, authentic })
        }
        (Lookup::Found(found), _) | (_, Lookup::Found(found)) => Lookup::Found(found),
        (Lookup::Failed(why), _) | (_, Lookup::Failed(why)) => Lookup::Failed(why),
        (Lookup::NoName(a), Lookup::NoName(b)) => Lookup::NoName(absent(a, b)),
        // Servers that deny a name for one kind and know it for another are there, and the name with them.
        (Lookup::NoName(a) | Lookup::NoData(a), Lookup::NoName(b) | Lookup::NoData(b)) => Lookup::NoData(absent(a, b)),
    }
}
