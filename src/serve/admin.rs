//! The operator's door: a Unix socket in the data directory, one JSON object a line, one answer a line, and behind a line
//! the octets of messages that it announces.
//!
//! - The socket's mode is 0600: whoever can open it owns the data anyway, so there is no password.
//! - A connection may ask many things, one after the other; changes of all connections take turns.
//! - A line may have [`LINE_BYTES_MAX`] octets and a connection may be silent for [`IDLE_S`]; past either it is told so and closed.
//!   No more than [`OPERATORS_MAX`] connections are open at once; the next waits in the socket's backlog.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use ringpost_storage::Body;
use zeroize::Zeroizing;

use crate::admin::{self, Request, Response};
use crate::limits;
use crate::net::Wire;
use crate::office::{BodyCharge, Office};
use crate::shard::{self, Listener, Stream};

/// One request, octets without its LF. Longer: refused, then closed.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Octets of messages that may follow one line. More: refused, then closed.
pub const MESSAGES_BYTES_MAX: u64 = limits::MESSAGE_BYTES_MAX + (1 << 20);
/// Silence allowed, seconds. Then closed.
pub const IDLE_S: u64 = 600;
/// Connections at once. More wait to be accepted.
pub const OPERATORS_MAX: usize = 16;

/// Accepts operators for as long as the process lives.
pub async fn keep_door(office: Rc<Office>, mut listener: Listener) {
    // Places at the desk: tokens in a channel.
    let (leave, enter) = tokens(OPERATORS_MAX);
    loop {
        let Some(place) = Token::take(&enter, &leave).await else { return };
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(why) => {
                tracing::error!(target: "admin", %why, "the admin socket can accept nothing more");
                return;
            }
        };
        let office = office.clone();
        shard::spawn("admin", async move {
            let desk = Desk { office };
            if let Err(why) = desk.attend(stream).await {
                tracing::debug!(target: "admin", %why, "connection lost");
            }
            drop(place);
        });
    }
}

fn tokens(count: usize) -> (flume::Sender<()>, flume::Receiver<()>) {
    let (give, take) = flume::bounded(count);
    for _ in 0..count {
        give.try_send(()).expect("the channel was made for so many");
    }
    (give, take)
}

/// A token that goes back when dropped, also by a panic.
struct Token(flume::Sender<()>);

impl Token {
    async fn take(from: &flume::Receiver<()>, back: &flume::Sender<()>) -> Option<Token> {
        from.recv_async().await.ok().map(|()| Token(back.clone()))
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // The door may be gone already.
        let _ = self.0.try_send(());
    }
}

struct Desk {
    office: Rc<Office>,
}

/// Messages that follow a request, as they come.
struct Coming {
    request: Request,
    /// Octets of each, in order.
    sizes: Vec<u64>,
    bodies: Vec<Body>,
    charge: BodyCharge,
    /// The shard holds too much already: they are thrown away as they come.
    starved: bool,
    left: u64,
}

impl Coming {
    /// Takes as much as belongs to them.
    fn take(&mut self, octets: &[u8]) -> usize {
        let took = octets.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let mut rest = &octets[..took];
        self.left -= took as u64;
        self.starved |= !self.charge.add(took as u64);
        if self.starved {
            self.bodies = Vec::new();
            self.charge.give_back();
            return took;
        }
        while !rest.is_empty() {
            let size = self.sizes[self.bodies.len() - 1];
            let body = self.bodies.last_mut().expect("made with the first");
            let room = usize::try_from(size - body.len()).unwrap_or(usize::MAX).min(rest.len());
            body.push(&rest[..room]);
            rest = &rest[room..];
            self.next();
        }
        took
    }

    /// Begins the next message when this one is whole.
    fn next(&mut self) {
        while let Some(size) = self.sizes.get(self.bodies.len())
            && self.bodies.last().is_none_or(|body| body.len() == self.sizes[self.bodies.len() - 1])
        {
            self.bodies.push(Body::with_hint(usize::try_from(*size).unwrap_or(usize::MAX)));
        }
    }
}

impl Desk {
    async fn attend(&self, mut stream: Stream) -> io::Result<()> {
        // Requests carry passwords: wiped when done.
        let mut held = Zeroizing::new(Vec::new());
        let mut answer = Vec::new();
        let mut coming = None;
        loop {
            stream.set_deadline(Some(shard::now().after(Duration::from_secs(IDLE_S))));
            let chunk = stream.recv().await?;
            if chunk.is_empty() {
                return Ok(());
            }
            held.extend_from_slice(&chunk);
            drop(chunk);
            let mut used = 0;
            // What came with a request counts until it is answered.
            while let Some((request, bodies, _charge)) = self.next(&held, &mut used, &mut coming) {
                answer.clear();
                let stays = match request {
                    Ok(request) => {
                        self.answer(request, bodies, &mut answer).await;
                        true
                    }
                    Err((response, stays)) => {
                        tracing::warn!(target: "admin", "not a request");
                        write(&response, &mut answer);
                        stays
                    }
                };
                if !stays {
                    let mut wire = Wire::new(stream);
                    wire.queue().append(&mut answer);
                    return wire.flush().await;
                }
                stream.set_deadline(Some(shard::now().after(Duration::from_secs(IDLE_S))));
                let (sent, buffer) = stream.send(std::mem::take(&mut answer)).await;
                answer = buffer;
                sent?;
            }
            held.drain(..used);
        }
    }

    /// The next request that is whole, with its messages; or what is answered instead, and whether the connection stays.
    #[expect(clippy::type_complexity, reason = "it is taken apart where it is called, and nowhere else")]
    fn next(
        &self,
        held: &[u8],
        used: &mut usize,
        coming: &mut Option<Box<Coming>>,
    ) -> Option<(Result<Request, (Response, bool)>, Vec<Body>, Option<BodyCharge>)> {
        loop {
            if let Some(mut letters) = coming.take() {
                *used += letters.take(&held[*used..]);
                if letters.left > 0 {
                    *coming = Some(letters);
                    return None;
                }
                if letters.starved {
                    let error = "the server holds too many messages already; try again".to_owned();
                    return Some((Err((Response::Failed { error }, true)), Vec::new(), None));
                }
                let Coming { request, bodies, charge, .. } = *letters;
                return Some((Ok(request), bodies, Some(charge)));
            }
            let rest = &held[*used..];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                let error = format!("a request may have {LINE_BYTES_MAX} octets");
                let long = rest.len() > LINE_BYTES_MAX;
                return long.then(|| (Err((Response::Refused { error }, false)), Vec::new(), None));
            };
            let line = &rest[..end];
            *used += end + 1;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let request = match Request::read(line) {
                Ok(request) => request,
                Err(response) => return Some((Err((response, true)), Vec::new(), None)),
            };
            let sizes = request.messages();
            let left = sizes.iter().copied().fold(0, u64::saturating_add);
            if left > MESSAGES_BYTES_MAX {
                let error = format!("{left} octets of messages behind one request: at most {MESSAGES_BYTES_MAX}");
                return Some((Err((Response::Refused { error }, false)), Vec::new(), None));
            }
            let charge = self.office.budget.open(None);
            let mut letters = Coming { request, sizes, bodies: Vec::new(), charge, starved: false, left };
            letters.next();
            *coming = Some(Box::new(letters));
        }
    }

    async fn answer(&self, request: Request, bodies: Vec<Body>, into: &mut Vec<u8>) {
        let (response, mut octets) = if request.changes() {
            let _turn = self.office.turn.wait().await;
            admin::execute_with(&self.office, request, bodies).await
        } else {
            admin::execute_with(&self.office, request, bodies).await
        };
        write(&response, into);
        into.append(&mut octets);
    }
}

fn write(response: &Response, into: &mut Vec<u8>) {
    serde_json::to_writer(&mut *into, response).expect("answers are strings and numbers, and memory does not fail");
    into.push(b'\n');
}
