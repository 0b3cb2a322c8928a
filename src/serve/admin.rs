//! The operator's door: a Unix socket in the data directory, one JSON object a line, one answer a line.
//!
//! - The socket's mode is 0600: whoever can open it owns the data anyway, so there is no password.
//! - A connection may ask many things, one after the other; changes of all connections take turns.
//! - A line may have [`LINE_BYTES_MAX`] octets and a connection may be silent for [`IDLE_S`]; past either it is told so and closed.
//!   No more than [`OPERATORS_MAX`] connections are open at once; the next waits in the socket's backlog.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::admin::{self, Request, Response};
use crate::net::Wire;
use crate::office::Office;
use crate::shard::{self, Listener, Stream};

/// One request, octets without its LF. Longer: refused, then closed.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Silence allowed, seconds. Then closed.
pub const IDLE_S: u64 = 600;
/// Connections at once. More wait to be accepted.
pub const OPERATORS_MAX: usize = 16;

/// Accepts operators for as long as the process lives.
pub async fn keep_door(office: Rc<Office>, mut listener: Listener) {
    // Places at the desk, and the turn to change something: tokens in channels.
    let (leave, enter) = tokens(OPERATORS_MAX);
    let (give, take) = tokens(1);
    loop {
        let Some(place) = Token::take(&enter, &leave).await else { return };
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(why) => {
                tracing::error!(target: "admin", %why, "the admin socket can accept nothing more");
                return;
            }
        };
        let (office, give, take) = (office.clone(), give.clone(), take.clone());
        shard::spawn("admin", async move {
            let desk = Desk { office, give, take };
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
    give: flume::Sender<()>,
    take: flume::Receiver<()>,
}

impl Desk {
    async fn attend(&self, mut stream: Stream) -> io::Result<()> {
        // Requests carry passwords: wiped when done.
        let mut line = Zeroizing::new(Vec::new());
        let mut answer = Vec::new();
        loop {
            stream.set_deadline(Some(shard::now().after(Duration::from_secs(IDLE_S))));
            let chunk = stream.recv().await?;
            if chunk.is_empty() {
                return Ok(());
            }
            let mut rest = &chunk[..];
            let mut asked = Vec::new();
            while let Some(end) = memchr::memchr(b'\n', rest) {
                line.extend_from_slice(&rest[..end]);
                rest = &rest[end + 1..];
                asked.push(std::mem::take(&mut line));
            }
            line.extend_from_slice(rest);
            drop(chunk);
            for request in asked {
                answer.clear();
                self.answer(&request, &mut answer).await;
                if answer.is_empty() {
                    continue;
                }
                stream.set_deadline(Some(shard::now().after(Duration::from_secs(IDLE_S))));
                let (sent, buffer) = stream.send(std::mem::take(&mut answer)).await;
                answer = buffer;
                sent?;
            }
            if line.len() > LINE_BYTES_MAX {
                let error = format!("a request may have {LINE_BYTES_MAX} octets");
                write(&Response::Refused { error }, &mut answer);
                let mut wire = Wire::new(stream);
                wire.queue().append(&mut answer);
                return wire.flush().await;
            }
        }
    }

    async fn answer(&self, line: &[u8], into: &mut Vec<u8>) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let response = match Request::read(line) {
            Ok(request) if request.changes() => match Token::take(&self.take, &self.give).await {
                Some(_turn) => admin::execute(&self.office, request).await,
                None => Response::Failed { error: "the server is stopping".to_owned() },
            },
            Ok(request) => admin::execute(&self.office, request).await,
            Err(response) => {
                tracing::warn!(target: "admin", octets = line.len(), "not a request");
                response
            }
        };
        write(&response, into);
    }
}

fn write(response: &Response, into: &mut Vec<u8>) {
    serde_json::to_writer(&mut *into, response).expect("answers are strings and numbers, and memory does not fail");
    into.push(b'\n');
}
