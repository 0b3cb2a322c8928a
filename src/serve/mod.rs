//! The doors: sessions meet the post office.
//!
//! Each door answers what one protocol's session asks. `mesh` answers what the other offices ask.

use std::rc::Rc;
use std::time::Duration;

pub mod admin;
mod handoff;
pub mod imap;
pub mod mesh;
pub mod pop3;
pub mod smtp;

use futures_lite::future::or;

use crate::net::{Admission, Guest};
use crate::observe::{self, Counter};
use crate::office::Office;
use crate::shard::{self, Listener, Stream};

/// The protocols that have doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Mail comes in (RFC 5321).
    Smtp,
    /// Mail is read (RFC 3501, RFC 9051).
    Imap,
    /// Mail is fetched (RFC 1939).
    Pop3,
}

impl Protocol {
    /// All of them, in the order in which they are announced.
    pub const ALL: [Protocol; 3] = [Protocol::Smtp, Protocol::Imap, Protocol::Pop3];

    /// The word in logs and at the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Smtp => "smtp",
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
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
        }
    }
}

/// Accepts at one door until the process is asked to stop; then the door is shut.
pub async fn keep_door(office: Rc<Office>, protocol: Protocol, mut listener: Listener) {
    loop {
        let next = async { Some(listener.accept().await) };
        let stop = async {
            shard::stop_requested().await;
            None
        };
        match or(next, stop).await {
            Some(Ok(stream)) => welcome(&office, protocol, stream),
            Some(Err(why)) => {
                tracing::error!(protocol = protocol.word(), %why, "door closed: it can accept nothing more");
                return;
            }
            None => return,
        }
    }
}

fn welcome(office: &Rc<Office>, protocol: Protocol, stream: Stream) {
    let guest = match place(office, protocol, &stream) {
        Ok(guest) => guest,
        Err(text) => return shard::spawn("refusal", refuse(stream, text)),
    };
    observe::count(Counter::Connections);
    let office = office.clone();
    shard::spawn(protocol.word(), async move {
        match protocol {
            Protocol::Smtp => smtp::serve(office, stream).await,
            Protocol::Imap => imap::serve(office, stream).await,
            Protocol::Pop3 => pop3::serve(office, stream).await,
        }
        drop(guest);
    });
}

/// A place for a connection on this shard, new or handed over; or what it is told instead.
fn place(office: &Office, protocol: Protocol, stream: &Stream) -> Result<Guest, &'static [u8]> {
    let address_has_its_share = match office.census.admit(stream.peer(), &office.settings.exempt_networks) {
        Admission::Welcome(guest) => return Ok(guest),
        Admission::TooManyFromAddress => true,
        Admission::TooMany => false,
    };
    observe::count(Counter::ConnectionsRefused);
    if office.may_complain() {
        tracing::warn!(protocol = protocol.word(), peer = %stream.peer(), "refused: too many connections (said once a second)");
    }
    Err(protocol.no_place(address_has_its_share))
}

/// Says no and lets go. A fresh socket takes these few octets at once; one that does not is not waited for.
async fn refuse(mut stream: Stream, text: &'static [u8]) {
    stream.set_deadline(Some(shard::now().after(Duration::from_secs(1))));
    // Gone already, or not: there is nothing else to tell it.
    let _ = stream.send(text.to_vec()).await;
}
