//! The doors: sessions meet the post office.
//!
//! Each door answers what one protocol's session asks. `mesh` answers what the other offices ask.

use std::io;
use std::rc::Rc;
use std::time::Duration;

pub mod admin;
mod handoff;
pub mod imap;
pub mod mesh;
pub mod pop3;
pub mod smtp;
mod web;

use futures_lite::future::or;

use crate::net::{Acceptor, Admission, Guest, Wire, tls};
use crate::observe::{self, Counter, Gauge, Present};
use crate::office::Office;
use crate::shard::{self, Listener, Peer, Stream};

/// The protocols that have doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Mail comes in (RFC 5321).
    Smtp,
    /// Mail is read (RFC 3501, RFC 9051).
    Imap,
    /// Mail is fetched (RFC 1939).
    Pop3,
    /// Figures and health are asked for (RFC 9112).
    Http,
}

/// What a door is for: a protocol, who is expected there, and whether TLS comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Mail from other hosts (RFC 5321).
    Smtp,
    /// Mail from our own users (RFC 6409).
    Submission,
    /// The same, TLS first (RFC 8314 §3.3).
    Submissions,
    /// Mailboxes (RFC 9051).
    Imap,
    /// The same, TLS first (RFC 8314 §3.2).
    Imaps,
    /// Maildrops (RFC 1939).
    Pop3,
    /// The same, TLS first (RFC 8314 §3.2).
    Pop3s,
    /// Figures and health.
    Http,
}

impl Service {
    /// All of them, in the order in which they are announced.
    pub const ALL: [Service; 8] = [
        Service::Smtp,
        Service::Submission,
        Service::Submissions,
        Service::Imap,
        Service::Imaps,
        Service::Pop3,
        Service::Pop3s,
        Service::Http,
    ];

    /// The word in the configuration, in logs and metrics: the service's name in IANA's registry.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Service::Smtp => "smtp",
            Service::Submission => "submission",
            Service::Submissions => "submissions",
            Service::Imap => "imap",
            Service::Imaps => "imaps",
            Service::Pop3 => "pop3",
            Service::Pop3s => "pop3s",
            Service::Http => "http",
        }
    }

    /// What is spoken there.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Service::Smtp | Service::Submission | Service::Submissions => Protocol::Smtp,
            Service::Imap | Service::Imaps => Protocol::Imap,
            Service::Pop3 | Service::Pop3s => Protocol::Pop3,
            Service::Http => Protocol::Http,
        }
    }

    /// True if the conversation begins with a handshake.
    #[must_use]
    pub fn tls_first(self) -> bool {
        matches!(self, Service::Submissions | Service::Imaps | Service::Pop3s)
    }

    /// Where its connections are counted.
    fn accepted(self) -> Counter {
        match self {
            Service::Smtp => Counter::ConnectionsSmtp,
            Service::Submission => Counter::ConnectionsSubmission,
            Service::Submissions => Counter::ConnectionsSubmissions,
            Service::Imap => Counter::ConnectionsImap,
            Service::Imaps => Counter::ConnectionsImaps,
            Service::Pop3 => Counter::ConnectionsPop3,
            Service::Pop3s => Counter::ConnectionsPop3s,
            Service::Http => Counter::ConnectionsHttp,
        }
    }

    /// The port of an unconfigured start.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Service::Smtp => 2525,
            Service::Submission => 2587,
            Service::Submissions => 2465,
            Service::Imap => 2143,
            Service::Imaps => 2993,
            Service::Pop3 => 2110,
            Service::Pop3s => 2995,
            Service::Http => 2080,
        }
    }
}

impl Protocol {
    /// The word in logs and at the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Smtp => "smtp",
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
            Protocol::Http => "http",
        }
    }

    /// Where those are counted for whom there is no place.
    fn refused(self) -> Counter {
        match self {
            Protocol::Smtp => Counter::RefusedSmtp,
            Protocol::Imap => Counter::RefusedImap,
            Protocol::Pop3 => Counter::RefusedPop3,
            Protocol::Http => Counter::RefusedHttp,
        }
    }

    /// Where those are counted who are here.
    fn open(self) -> Gauge {
        match self {
            Protocol::Smtp => Gauge::OpenSmtp,
            Protocol::Imap => Gauge::OpenImap,
            Protocol::Pop3 => Gauge::OpenPop3,
            Protocol::Http => Gauge::OpenHttp,
        }
    }

    /// What a client is told whom an operator has banned.
    fn banned(self) -> &'static [u8] {
        match self {
            Protocol::Smtp => b"554 5.7.1 Access denied\r\n",
            Protocol::Imap => b"* BYE Access denied\r\n",
            Protocol::Pop3 => b"-ERR Access denied\r\n",
            Protocol::Http => b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        }
    }

    /// What a guest is told for whom there is no place (A057): by his address, or by all together.
    fn no_place(self, address_has_its_share: bool) -> &'static [u8] {
        match (self, address_has_its_share) {
            (Protocol::Smtp, true) => b"421 4.7.0 Too many connections from your address, try again later\r\n",
            (Protocol::Smtp, false) => b"421 4.3.2 Too many connections, try again later\r\n",
            (Protocol::Imap, true) => b"* BYE [LIMIT] Too many connections from your address, try again later\r\n",
            (Protocol::Imap, false) => b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
            (Protocol::Pop3, true) => b"-ERR [SYS/TEMP] Too many connections from your address, try again later\r\n",
            (Protocol::Pop3, false) => b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
            (Protocol::Http, _) => {
                b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            }
        }
    }
}

/// Accepts at one door until the process is asked to stop; then the door is shut.
pub async fn keep_door(office: Rc<Office>, service: Service, mut listener: Listener) {
    let open = office.doors.open();
    loop {
        let next = async { Some(listener.accept().await) };
        let stop = async {
            shard::stop_requested().await;
            None
        };
        match or(next, stop).await {
            Some(Ok(stream)) => welcome(&office, service, stream),
            Some(Err(why)) => {
                drop(open);
                tracing::error!(service = service.word(), %why, "door closed: it can accept nothing more");
                return;
            }
            None => return,
        }
    }
}

fn welcome(office: &Rc<Office>, service: Service, stream: Stream) {
    let wire = Box::new(Wire::offering(stream, acceptor(office, service)));
    let guest = match place(office, service.protocol(), wire.peer()) {
        Ok(guest) => guest,
        // Under TLS the words could not be read.
        Err(_) if service.tls_first() => return,
        Err(text) => return shard::spawn("refusal", refuse(*wire, text)),
    };
    observe::count(service.accepted());
    let (office, protocol) = (office.clone(), service.protocol());
    // A task of its own type for each protocol: in one for all, each connection would take the room of the largest.
    match protocol {
        Protocol::Smtp => {
            let smtp = move |office, wire| smtp::serve(office, service, wire);
            shard::spawn(protocol.word(), converse(office, service, wire, guest, smtp));
        }
        Protocol::Imap => shard::spawn(protocol.word(), converse(office, service, wire, guest, imap::serve)),
        Protocol::Pop3 => shard::spawn(protocol.word(), converse(office, service, wire, guest, pop3::serve)),
        Protocol::Http => {
            let web = |office, wire: Box<Wire>| web::serve(office, *wire);
            shard::spawn(protocol.word(), converse(office, service, wire, guest, web));
        }
    }
}

/// A connection's life: the handshake if one comes first, then the conversation. `guest`: its place.
async fn converse<F: Future<Output = ()>>(
    office: Rc<Office>,
    service: Service,
    wire: Box<Wire>,
    guest: (Guest, Present),
    begin: impl FnOnce(Rc<Office>, Box<Wire>) -> F,
) {
    if let Some(wire) = ready(&office, service, wire).await {
        begin(office, wire).await;
    }
    drop(guest);
}

/// The connection once its conversation may begin: at once, or after the handshake that comes first (RFC 8314 §3).
async fn ready(office: &Office, service: Service, mut wire: Box<Wire>) -> Option<Box<Wire>> {
    if !service.tls_first() {
        return Some(wire);
    }
    let place = office.handshake_place(wire.peer());
    let shaken = if place.is_some() { wire.shake_hands().await } else { Err(io::ErrorKind::ResourceBusy.into()) };
    match shaken {
        Ok(()) => Some(wire),
        Err(why) => {
            tls::count_failed(&why);
            tracing::debug!(target: "tls", service = service.word(), peer = %wire.peer(), %why, "no handshake");
            None
        }
    }
}

/// What this door shakes hands with, if there is TLS.
fn acceptor(office: &Office, service: Service) -> Option<Acceptor> {
    let acceptors = office.settings.tls.as_ref()?;
    let acceptor = match service {
        Service::Smtp => &acceptors.smtp,
        Service::Submission => &acceptors.submission,
        Service::Submissions => &acceptors.submissions,
        Service::Imap => &acceptors.imap,
        Service::Imaps => &acceptors.imaps,
        Service::Pop3 => &acceptors.pop3,
        Service::Pop3s => &acceptors.pop3s,
        Service::Http => return None,
    };
    Some(acceptor.clone())
}

/// A place for a connection on this shard, new or handed over; or what it is told instead.
fn place(office: &Office, protocol: Protocol, peer: Peer) -> Result<(Guest, Present), &'static [u8]> {
    if protocol != Protocol::Http && is_banned(office, peer) {
        observe::count(protocol.refused());
        return Err(protocol.banned());
    }
    let census = if protocol == Protocol::Http { &office.http_census } else { &office.census };
    let address_has_its_share = match census.admit(peer, &office.settings.exempt_networks) {
        Admission::Welcome(guest) => return Ok((guest, observe::present(protocol.open()))),
        Admission::TooManyFromAddress => true,
        Admission::TooMany => false,
    };
    observe::count(protocol.refused());
    if office.may_complain() {
        tracing::warn!(protocol = protocol.word(), %peer, "refused: too many connections (said once a second)");
    }
    Err(protocol.no_place(address_has_its_share))
}

/// True if an operator has banned this client. Who looks at figures is none.
fn is_banned(office: &Office, peer: Peer) -> bool {
    let Peer::Net(address) = peer else { return false };
    let why = office.directory(|d| {
        d.rules().client(address.ip(), shard::wall_ms()).filter(|access| access.deny).map(|access| access.why.clone())
    });
    if let Some(why) = &why
        && office.may_complain()
    {
        tracing::info!(target: "audit", %peer, why, "refused: banned (said once a second)");
    }
    why.is_some()
}

/// Says no and lets go. A fresh socket takes these few octets at once; one that does not is not waited for.
async fn refuse(mut wire: Wire, text: &'static [u8]) {
    let said = async {
        if wire.say(text).await.is_ok() {
            wire.hang_up().await;
        }
    };
    // Gone already, or not: there is nothing else to tell it.
    let _ = shard::within(Duration::from_secs(1), said).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets of an IMAP connection's task while it waits, its heap aside. `loadtest idle` weighs the whole.
    const IMAP_TASK_BYTES_MAX: usize = 1_792;

    fn future_bytes<A, B, C, D, E, F: Future>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn thousands_of_imap_connections_may_wait_in_little_memory() {
        let begin: fn(Rc<Office>, Box<Wire>) -> _ = imap::serve;
        let fresh = future_bytes(|o, s, w, g, ()| converse(o, s, w, g, begin));
        assert!(fresh <= IMAP_TASK_BYTES_MAX, "{fresh} octets");
        let visiting = future_bytes(handoff::go_on::<imap::Door>);
        assert!(visiting <= IMAP_TASK_BYTES_MAX, "handed over: {visiting} octets");
    }
}
