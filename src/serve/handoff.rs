//! A conversation goes to the shard where its account lives, and goes on there (DESIGN §2).
//!
//! ```text
//!   pump ── login, account elsewhere ──► detached ──┬─ the mesh has room ──► Visit ──► attached there ──► pump, with the answer
//!                                                   └─ it has none ──► attached here again ──► pump, "come back later"
//! ```
//!
//! - The connection travels with what was received and not used, its session, and the login still unanswered.
//! - It gives up its place on this shard and needs one there (A057): at the bound it is told so as a newcomer is.
//! - Where the other shard cannot take it now the client is told so here, and may try again on the same connection.

use std::rc::Rc;

use crate::bugs::{self, Bug};
use crate::net::Guest;
use crate::net::pump::{Door, Ended, First, pump};
use crate::net::wire::Wire;
use crate::observe::{self, Counter, Measure, Present};
use crate::office::sessions::Presence;
use crate::office::words::Talk;
use crate::office::{Arrival, Office, Request, Resident, Visitor};
use crate::proto::contract::Session;
use crate::proto::sasl::Speaker;
use crate::serve::{Protocol, enlist, imap, place, pop3, refuse};
use crate::shard::{self, Moment};

/// What a session hears.
type Answer<D> = <<D as Door>::Session as Session>::Answer;

/// A door whose conversations may be handed over.
pub(super) trait Traveller: Door {
    /// Its protocol.
    const PROTOCOL: Protocol;
    /// The same, where logins are meant.
    const SPEAKER: Speaker;

    /// A door in this office. `who`: who logged in, if they live here; `presence`: while they are.
    fn open(office: Rc<Office>, who: Option<Resident>, presence: Option<Box<Presence>>) -> Self;

    /// Who logged in and lives elsewhere; taken once, after [`Next::HandOff`](crate::net::Next::HandOff).
    fn leaving(&mut self) -> Arrival;

    /// The answer to a login of somebody who lives here, or of somebody who cannot be served now (`None`).
    fn answer_to_login(who: Option<&Resident>) -> impl Future<Output = Answer<Self>>;

    /// The session as it travels.
    fn talk(session: Box<Self::Session>) -> Talk;
}

/// Talks with a fresh client until it leaves or is handed over.
pub(super) fn begin<D: Traveller>(
    office: Rc<Office>,
    wire: Box<Wire>,
    session: Box<D::Session>,
    greeting: Vec<u8>,
) -> impl Future<Output = ()> {
    talk::<D>(office, wire, session, None, First::Greeting(greeting))
}

/// Goes on with a connection whose account lives on this shard, in a task of its own: the talk may take days.
pub(super) fn receive(office: Rc<Office>, visitor: Visitor) {
    let Visitor { stream, decided, held, arrival, talk } = visitor;
    observe::count(Counter::HandoffsIn);
    let mut wire = Box::new(stream.attach());
    enlist(&office, &mut wire);
    // Boxed: what a task begins with takes its room for as long as it lasts.
    let visit = Box::new(Visit { decided, held, arrival });
    match talk {
        Talk::Pop3(session) => welcome::<pop3::Door>(office, wire, session, visit),
        Talk::Imap(session) => welcome::<imap::Door>(office, wire, session, visit),
    }
}

/// What a conversation brings along.
pub(super) struct Visit {
    decided: Moment,
    held: Vec<u8>,
    arrival: Arrival,
}

fn welcome<D: Traveller + 'static>(office: Rc<Office>, wire: Box<Wire>, session: Box<D::Session>, visit: Box<Visit>) {
    match place(&office, D::PROTOCOL, wire.peer()) {
        Ok(guest) => shard::spawn(D::PROTOCOL.word(), go_on::<D>(office, wire, guest, session, visit)),
        Err(text) => shard::spawn("refusal", refuse(*wire, text)),
    }
}

pub(super) async fn go_on<D: Traveller>(
    office: Rc<Office>,
    wire: Box<Wire>,
    guest: (Guest, Present),
    session: Box<D::Session>,
    visit: Box<Visit>,
) {
    let Visit { decided, held, arrival } = *visit;
    let who = office.resident(&arrival);
    // What is left of it would be memory of this connection.
    drop(arrival);
    let answer = Box::new(Box::pin(D::answer_to_login(who.as_ref())).await);
    observe::took(Measure::Handoff, shard::now().since(decided));
    talk::<D>(office, wire, session, who, First::Middle { held, answer }).await;
    drop(guest);
}

async fn talk<D: Traveller>(
    office: Rc<Office>,
    mut wire: Box<Wire>,
    mut session: Box<D::Session>,
    who: Option<Resident>,
    mut first: First<Answer<D>>,
) {
    let peer = wire.peer();
    let presence = who.as_ref().map(|who| office.sessions.enter(&wire, D::SPEAKER, &who.name, who.began).into());
    let mut door = D::open(office.clone(), who, presence);
    loop {
        let Ended::HandOff { to, decided, stream, held, session: asking } = pump(wire, session, &mut door, first).await
        else {
            return;
        };
        let arrival = door.leaving();
        // Asked before, because what is sent does not come back; nobody else runs between question and call.
        if office.mesh.has_room(to, 0) {
            observe::count(Counter::HandoffsOut);
            let visitor = Visitor { stream, decided, held: kept(held), arrival, talk: D::talk(asking) };
            if let Err(why) = office.mesh.call(to, Request::Visit(Box::new(visitor)), 0).await {
                // The connection went with the request, and is closed.
                tracing::warn!(protocol = D::PROTOCOL.word(), %peer, shard = to, ?why, "connection lost between shards");
            }
            return;
        }
        tracing::warn!(protocol = D::PROTOCOL.word(), %peer, shard = to, account = arrival.name, "not handed over: no room");
        wire = Box::new(stream.attach());
        enlist(&office, &mut wire);
        session = asking;
        first = First::Middle { held, answer: Box::new(Box::pin(D::answer_to_login(None)).await) };
    }
}

/// What was received and not used. (Not in `talk`, whose every local is memory of each connection.)
fn kept(held: Vec<u8>) -> Vec<u8> {
    if bugs::on(Bug::LoseHeld) { Vec::new() } else { held }
}
