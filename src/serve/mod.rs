//! The doors: sessions meet the post office.
//!
//! Each door answers what one protocol's session asks. `mesh` answers what the other offices ask.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

mod service;
mod rules;
pub mod admin;
mod handoff;
pub mod imap;
pub mod mesh;
pub mod pop3;
mod sendmail;
pub mod smtp;
mod web;

use futures_lite::future::or;

use rules::{Doorway, Entrant};
pub use rules::{Rules, TlsMode};
pub use service::{Protocol, Service};

use crate::net::{Admission, Census, Guest, Wire, tls};
use crate::observe::{self, Counter, Present};
use crate::office::Office;
use crate::office::load::Strain;
use crate::shard::{self, Listener, Peer, Stream};

/// Accepts at one door until the process is asked to stop; then the door is shut.
pub async fn keep_door(office: Rc<Office>, service: Service, rules: Arc<Rules>, mut listener: Listener) {
    let open = office.doors.open();
    if service == Service::Sendmail {
        return or(sendmail::keep_door(office, rules, listener), shard::stop_requested()).await;
    }
    let door = Doorway::new(service, rules);
    loop {
        let next = async {
            rest(&office, &door).await;
            Some(listener.accept().await)
        };
        let stop = async {
            shard::stop_requested().await;
            None
        };
        match or(next, stop).await {
            Some(Ok(stream)) => {
                let began = shard::now();
                if !welcome(&office, &door, stream) && is_shut(&office, &door) {
                    office.turned_away(began);
                }
            }
            Some(Err(why)) => {
                drop(open);
                tracing::error!(service = service.word(), %why, "door closed: it can accept nothing more");
                return;
            }
            None => return,
        }
    }
}

/// Newcomers wait where they are while all of them would be turned away and that would take too much of a shard that has work.
/// Whoever has nothing else to do goes on at once. Who is refused for himself makes nobody wait: others behind him are welcome.
async fn rest(office: &Office, door: &Doorway) {
    if !office.is_tired() || !is_shut(office, door) {
        return;
    }
    let _resting = office.rests();
    while office.is_tired() && is_shut(office, door) {
        // The other doors that rest have no work either.
        if shard::round(office.resting() - 1).await {
            return;
        }
    }
}

/// True if nobody at all may come in by this door now.
fn is_shut(office: &Office, door: &Doorway) -> bool {
    let protocol = door.service.protocol();
    door.is_full() || census(office, protocol).is_full() || strain(office, protocol).is_some()
}

/// Decides about a newcomer before anything is allocated for him (A057). False: he was turned away.
fn welcome(office: &Rc<Office>, door: &Rc<Doorway>, stream: Stream) -> bool {
    let (service, protocol, peer) = (door.service, door.service.protocol(), stream.peer());
    if let Some(strain) = strain(office, protocol) {
        observe::count(strain.counted());
        if office.may_complain() {
            tracing::warn!(service = service.word(), %peer, too_much = strain.word(), "turned away (said once a second)");
        }
        // Under TLS the words could not be read.
        if !service.tls_first() {
            stream.farewell(protocol.too_busy());
        }
        return false;
    }
    let balancer = door.rules.is_balancer(peer);
    let admitted = match door.enter() {
        Some(entrant) if balancer => nameless_place(office, protocol, peer).map(|guest| (entrant, guest)),
        Some(entrant) => place(office, protocol, peer).map(|guest| (entrant, guest)),
        None => Err(no_place(office, protocol, peer, false)),
    };
    let (entrant, guest) = match admitted {
        Ok(admitted) => admitted,
        Err(text) => {
            // Under TLS the words could not be read.
            if !service.tls_first() {
                stream.farewell(text);
            }
            return false;
        }
    };
    observe::count(service.accepted());
    let wire = Box::new(Wire::offering(stream, door.acceptor(office, peer)));
    let office = office.clone();
    // A task of its own type for each protocol: in one for all, each connection would take the room of the largest.
    match protocol {
        Protocol::Smtp => shard::spawn(protocol.word(), converse(office, entrant, wire, guest, smtp::serve)),
        Protocol::Imap => shard::spawn(protocol.word(), converse(office, entrant, wire, guest, imap::serve)),
        Protocol::Pop3 => shard::spawn(protocol.word(), converse(office, entrant, wire, guest, pop3::serve)),
        Protocol::Http => {
            let web = |office, _: &Doorway, wire: Box<Wire>| web::serve(office, *wire);
            shard::spawn(protocol.word(), converse(office, entrant, wire, guest, web));
        }
    }
    true
}

/// Why a newcomer is turned away. Who looks at the figures is needed then.
fn strain(office: &Office, protocol: Protocol) -> Option<Strain> {
    if protocol == Protocol::Http { None } else { office.strain(protocol == Protocol::Smtp) }
}

/// A connection's life: the handshake if one comes first, then the conversation. `guest`: its place.
async fn converse<F: Future<Output = ()>>(
    office: Rc<Office>,
    entrant: Entrant,
    mut wire: Box<Wire>,
    mut guest: (Guest, Present),
    begin: impl FnOnce(Rc<Office>, &Doorway, Box<Wire>) -> F,
) {
    if entrant.rules.is_balancer(wire.peer()) {
        // Boxed: nobody else needs room for it.
        match Box::pin(named(&office, &entrant, wire, &mut guest.0)).await {
            Some(known) => wire = known,
            None => return,
        }
    }
    if entrant.service.protocol() != Protocol::Http {
        enlist(&office, &mut wire);
    }
    if let Some(wire) = ready(&office, entrant.service, wire).await {
        begin(office, &entrant, wire).await;
    }
    drop((guest, entrant));
}

/// A balancer's connection once it is known whose it is, and that there is a place for him.
async fn named(office: &Office, door: &Doorway, mut wire: Box<Wire>, guest: &mut Guest) -> Option<Box<Wire>> {
    let (balancer, protocol) = (wire.peer(), door.service.protocol());
    match wire.announced().await {
        // The balancer itself looks whether we are well: nobody's share is taken.
        Ok(None) => return Some(wire),
        Ok(Some(client)) => wire.set_peer(Peer::Net(client)),
        Err(why) => {
            observe::count(Counter::ProxyRefused);
            if office.may_complain() {
                let service = door.service.word();
                tracing::warn!(service, %balancer, %why, "closed: no PROXY header of a listed balancer (said once a second)");
            }
            wire.reset();
            return None;
        }
    }
    wire.offer(door.acceptor(office, wire.peer()));
    let text = if protocol != Protocol::Http && is_banned(office, wire.peer()) {
        observe::count(protocol.refused());
        protocol.banned()
    } else if census(office, protocol).name(guest, wire.peer(), &office.settings.exempt_networks) {
        return Some(wire);
    } else {
        no_place(office, protocol, wire.peer(), true)
    };
    if !door.service.tls_first() {
        refuse(*wire, text).await;
    }
    None
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

/// A place for a connection on this shard, new or handed over; or what it is told instead.
fn place(office: &Office, protocol: Protocol, peer: Peer) -> Result<(Guest, Present), &'static [u8]> {
    if protocol != Protocol::Http && is_banned(office, peer) {
        observe::count(protocol.refused());
        return Err(protocol.banned());
    }
    let address_has_its_share = match census(office, protocol).admit(peer, &office.settings.exempt_networks) {
        Admission::Welcome(guest) => return Ok((guest, observe::present(protocol.open()))),
        Admission::TooManyFromAddress => true,
        Admission::TooMany => false,
    };
    Err(no_place(office, protocol, peer, address_has_its_share))
}

/// A place for a connection of which it is not known yet whose it is.
fn nameless_place(office: &Office, protocol: Protocol, peer: Peer) -> Result<(Guest, Present), &'static [u8]> {
    match census(office, protocol).admit_nameless() {
        Admission::Welcome(guest) => Ok((guest, observe::present(protocol.open()))),
        Admission::TooMany | Admission::TooManyFromAddress => Err(no_place(office, protocol, peer, false)),
    }
}

/// Who counts the connections of this protocol.
fn census(office: &Office, protocol: Protocol) -> &Census {
    if protocol == Protocol::Http { &office.http_census } else { &office.census }
}

/// What somebody is told for whom there is no place; counted.
fn no_place(office: &Office, protocol: Protocol, peer: Peer, address_has_its_share: bool) -> &'static [u8] {
    observe::count(protocol.refused());
    if office.may_complain() {
        tracing::warn!(protocol = protocol.word(), %peer, "refused: too many connections (said once a second)");
    }
    protocol.no_place(address_has_its_share)
}

/// From now on the connection ends when its client is banned, or at once if he has been banned on the way here.
fn enlist(office: &Office, wire: &mut Wire) {
    let Peer::Net(at) = wire.peer() else { return };
    let entered = office.roll.enter(at.ip());
    if is_banned(office, wire.peer()) {
        entered.over().set();
    }
    wire.enter(entered);
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
    const IMAP_TASK_BYTES_MAX: usize = 1_856;

    fn future_bytes<A, B, C, D, E, F: Future>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn thousands_of_imap_connections_may_wait_in_little_memory() {
        let fresh = future_bytes(|o, s, w, g, ()| converse(o, s, w, g, imap::serve));
        assert!(fresh <= IMAP_TASK_BYTES_MAX, "{fresh} octets");
        let visiting = future_bytes(handoff::go_on::<imap::Door>);
        assert!(visiting <= IMAP_TASK_BYTES_MAX, "handed over: {visiting} octets");
    }
}
