//! The door of HTTP: figures and health, spoken by hyper on the shard.
//!
//! ```text
//!   recv ──► heads (bounds) ──► pipe ──► hyper ──► answer: / · /healthz · /metrics
//!   send ◄───────────────────── pipe ◄── hyper ◄──┘
//!                        clock ──► hyper: the time a header may take
//! ```
//!
//! - Nothing is asked of the peer and nothing is taken from it: GET and HEAD alone, no bodies (A173, A174).
//! - A request's header has [`HTTP_HEADER_S`](limits::HTTP_HEADER_S) from the opening of the connection or from the answer before
//!   it; the silence between two requests counts (A175). Whoever takes longer is closed.
//! - While an answer is being made nothing is received, so a peer that sends ahead waits.
//! - A connection ends after [`HTTP_REQUESTS_MAX`](limits::HTTP_REQUESTS_MAX) answers; the last says so.

mod answer;
mod clock;
mod heads;
mod health;
mod pipe;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;

use crate::limits;
use crate::net::Wire;
use crate::net::wire::Received;
use crate::observe::{self, Counter, Ledger};
use crate::office::Office;
use crate::shard;
use clock::Clock;
use heads::{Fault, Heads};
use pipe::Pipe;

/// Answers one client until it leaves.
pub async fn serve(office: Rc<Office>, mut wire: Wire) {
    let peer = wire.peer();
    wire.counts_in(Ledger::HTTP);
    let answered = Rc::new(Cell::new(0));
    let pipe = Pipe::default();
    let clock = Clock::new();
    let count = answered.clone();
    let service = service_fn(move |request| {
        let (office, count) = (office.clone(), count.clone());
        async move {
            let last = count.get() + 1 >= limits::HTTP_REQUESTS_MAX;
            let answer = answer::answer(&office, &request, last).await;
            count.set(count.get() + 1);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(clock.clone())
        .header_read_timeout(Duration::from_secs(limits::HTTP_HEADER_S))
        .max_headers(limits::HTTP_FIELDS_MAX)
        .max_buf_size(2 * limits::HTTP_HEADER_BYTES_MAX)
        .auto_date_header(false);
    let connection = pin!(builder.serve_connection(pipe.clone(), service));
    let mut talk = Talk { wire, pipe, clock, answered, heads: Heads::default(), refusal: None };
    match talk.converse(connection).await {
        Ok(()) => talk.wire.hang_up().await,
        Err(why) => {
            tracing::debug!(target: "http", %peer, %why, "connection lost");
            talk.wire.reset();
        }
    }
}

struct Talk {
    wire: Wire,
    pipe: Pipe,
    clock: Clock,
    /// Requests answered so far.
    answered: Rc<Cell<u32>>,
    heads: Heads,
    /// What is said to a request that hyper does not get to see, once those before it are answered.
    refusal: Option<Fault>,
}

/// What comes next.
enum Next {
    /// hyper is done with this connection.
    Done(hyper::Result<()>),
    /// hyper has written something.
    Say,
    /// The peer has sent something.
    Heard(io::Result<Received>),
    /// All requests before the one at fault are answered.
    Refuse(Fault),
}

impl Talk {
    async fn converse<C>(&mut self, mut connection: Pin<&mut C>) -> io::Result<()>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        loop {
            match self.next(connection.as_mut()).await {
                Next::Say => self.send().await?,
                Next::Heard(Ok(chunk)) if chunk.is_empty() => self.pipe.end(Ok(())),
                Next::Heard(Ok(chunk)) => self.take(&chunk),
                Next::Heard(Err(why)) => self.pipe.end(Err(why)),
                Next::Refuse(fault) => {
                    observe::count(Counter::Http4xx);
                    self.wire.queue().extend_from_slice(refusal(fault).as_bytes());
                    return Ok(());
                }
                Next::Done(done) => {
                    if done.as_ref().is_err_and(hyper::Error::is_parse) {
                        observe::count(Counter::Http4xx);
                    }
                    self.send().await?;
                    return done.map_err(io::Error::other).or_else(settled);
                }
            }
        }
    }

    /// Lets hyper do what it can, and waits for what it needs.
    async fn next<C>(&mut self, mut connection: Pin<&mut C>) -> Next
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let Talk { wire, pipe, clock, answered, heads, refusal } = self;
        // hyper's own time-out ends it before this does; but nobody waits here for ever.
        wire.set_deadline(shard::now().after(Duration::from_secs(limits::HTTP_HEADER_S * 2)), 0);
        let mut recv = pin!(wire.recv());
        let mut nap = None;
        poll_fn(|cx| {
            loop {
                clock.forget();
                if let Poll::Ready(done) = connection.as_mut().poll(cx) {
                    return Poll::Ready(Next::Done(done));
                }
                if pipe.has_some() {
                    return Poll::Ready(Next::Say);
                }
                if answered.get() == heads.complete {
                    if let Some(fault) = refusal.take() {
                        return Poll::Ready(Next::Refuse(fault));
                    }
                    if let Poll::Ready(heard) = recv.as_mut().poll(cx) {
                        return Poll::Ready(Next::Heard(heard));
                    }
                }
                let Some(at) = clock.alarm() else { return Poll::Pending };
                if nap.as_ref().is_none_or(|(until, _)| *until != at) {
                    nap = Some((at, Box::pin(shard::sleep(at.since(shard::now())))));
                }
                let waited = nap.as_mut().map(|(_, nap)| nap.as_mut().poll(cx));
                if waited.is_none_or(|waited| waited.is_pending()) {
                    return Poll::Pending;
                }
                nap = None;
            }
        })
        .await
    }

    /// Passes on what was received, up to a request that is at fault.
    fn take(&mut self, bytes: &[u8]) {
        observe::add(Ledger::HTTP.received_bytes, bytes.len() as u64);
        match self.heads.read(bytes) {
            Ok(()) => self.pipe.feed(bytes),
            Err((begin, fault)) => {
                self.pipe.feed(&bytes[..begin]);
                self.refusal = Some(fault);
            }
        }
    }

    async fn send(&mut self) -> io::Result<()> {
        self.pipe.take(self.wire.queue());
        self.wire.flush().await
    }
}

/// A request that hyper refused was answered; there is nothing to reset.
fn settled(why: io::Error) -> io::Result<()> {
    let of_hyper = why.get_ref().and_then(|why| why.downcast_ref::<hyper::Error>());
    if of_hyper.is_some_and(|why| why.is_parse() || why.is_timeout()) { Ok(()) } else { Err(why) }
}

/// The whole answer to a request at fault. It has no date: hyper's own refusals have none either.
fn refusal(fault: Fault) -> String {
    let status = match fault {
        Fault::LineTooLong => "414 URI Too Long",
        Fault::HeaderTooLarge => "431 Request Header Fields Too Large",
        Fault::BareNewline => "400 Bad Request",
    };
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
}
