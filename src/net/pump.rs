//! One loop for all protocols: receive, step the session, send, ask the door.
//!
//! ```text
//!           ┌────────────── recv ◄──────────── input used up: flush replies first
//!           ▼                                          ▲
//!   session.step(bytes) ── reply ──► wire.out          │
//!           ├── body pieces ───────► door.body         │
//!           ├── ask ──► door.answer ──► session.step(Answer)
//!           └── turn ──► flush and close | reset | the wall, then a handshake on the same socket
//! ```
//!
//! Rules:
//!
//! - Received bytes stay in the ring's buffer while the session reads them. Only the rest of an unfinished
//!   command line is copied into `held`, so a message body is copied once, by the door.
//! - While a door thinks, nothing is received, and the ring's buffer is given back if it thinks longer than one poll:
//!   slow answers must not hold the shard's buffers.
//! - While it waits for the peer, to speak or to take what was said, a connection keeps no buffer: see `spare`, and
//!   what is left of a ring's buffer is copied out. Else those who read nothing would hold the buffers of all (A061).
//! - While a body is put away nothing is received either: that is how a fast sender waits for the disk.
//! - Replies are flushed when the input is used up, so a pipelined batch of commands gets one send.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::future::or;

mod slow;

use crate::limits;
use slow::Slow;

use crate::net::census::Guest;
use crate::net::wire::{Received, Unwired, Wire};
use crate::net::{spare, tls};
use crate::observe::{self, Counter, Ledger};
use crate::proto::contract::{Input, Out, Piece, Session, Turn};
use crate::shard::{self, Moment, Peer, ShardId};

/// Whoever answers a session's asks.
pub trait Door {
    /// The conversation this door serves.
    type Session: Session;

    /// Where its commands and octets are counted.
    const LEDGER: Ledger;

    /// Where a reply that ended a command is counted. `reply`: what one step of the session left for the peer.
    fn class(reply: &[u8]) -> Option<Counter> {
        let _ = reply;
        None
    }

    /// Takes a piece of the body being received.
    fn body(&mut self, bytes: &[u8]);

    /// True when nothing more of the body may be received before [`Door::put_away`].
    fn is_full(&self) -> bool {
        false
    }

    /// Makes room for more of the body.
    fn put_away(&mut self) -> impl Future<Output = ()> {
        std::future::ready(())
    }

    /// Answers an ask. Long answers are streamed through `wire`, behind what the session has said already.
    fn answer(
        &mut self,
        ask: <Self::Session as Session>::Ask,
        wire: &mut Wire,
    ) -> impl Future<Output = Next<<Self::Session as Session>::Answer>>;

    /// A place among the handshakes under way, given back when dropped; `None`: this address has too many (A093).
    fn handshake_place(&self, peer: Peer) -> Option<Guest>;

    /// True if the conversation is to end: whoever logged in may not be here any more. It is told so between commands.
    fn is_over(&self) -> bool {
        false
    }

    /// Ready when it is. Asked while the peer is silent.
    fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Pending
    }

    /// Resolves when something happened elsewhere that the session may want told. Waited for only while the session
    /// [wants news](Session::wants_news), and dropped when the peer speaks first.
    fn news(&mut self) -> impl Future<Output = ()> {
        std::future::pending()
    }
}

/// What a door says.
pub enum Next<A> {
    /// Go on with this answer.
    Answer(A),
    /// With this answer the conversation ends: flush and close when the session has said what it has to say to it.
    LastAnswer(A),
    /// The connection belongs on another shard, where the ask will be answered.
    HandOff(ShardId),
    /// Flush what was said and close.
    Close,
    /// Reset: the connection broke, or no verdict may be given.
    Abort,
}

/// How a conversation begins on this shard.
pub enum First<A> {
    /// With the greeting the session wrote when it was opened.
    Greeting(Vec<u8>),
    /// In the middle: handed over, with the received bytes that were not used yet and the answer to the ask that is out.
    Middle {
        /// Received, not yet used.
        held: Vec<u8>,
        /// The answer to the ask that is out. Boxed: the way here is a few futures long, and each has room for it.
        answer: Box<A>,
    },
}

/// How a conversation ended on this shard.
pub enum Ended<S> {
    /// Closed or reset.
    Closed,
    /// To be carried to another shard.
    HandOff {
        /// Where it belongs.
        to: ShardId,
        /// When that was decided.
        decided: Moment,
        /// The connection.
        stream: Unwired,
        /// Received, not yet used.
        held: Vec<u8>,
        /// The session, with its ask still out.
        session: Box<S>,
    },
}

/// Drives one conversation until it ends or is handed over. The connection is boxed because each `async fn` on its way here
/// keeps a place for it, for as long as the conversation lives.
pub async fn pump<D: Door>(
    mut wire: Box<Wire>,
    session: Box<D::Session>,
    door: &mut D,
    first: First<<D::Session as Session>::Answer>,
) -> Ended<D::Session> {
    wire.counts_in(D::LEDGER);
    let mut talk = Talk { session, door, out: Out::default(), held: Vec::new(), chunk: None, slow: Slow::default() };
    let begun = match first {
        First::Greeting(bytes) => {
            wire.out.extend_from_slice(&bytes);
            Ok(Step::Go)
        }
        First::Middle { held, answer } => {
            talk.held = held;
            talk.step_input(&mut wire, Input::Answer(*answer)).await
        }
    };
    let end = match begun {
        Ok(Step::Go) => talk.converse(&mut wire).await,
        other => other,
    };
    match end {
        Ok(Step::HandOff(to)) => {
            let decided = shard::now();
            let mut held = std::mem::take(&mut talk.held);
            give_back(&mut talk.chunk, &mut held);
            if wire.flush().await.is_err() {
                return Ended::Closed;
            }
            match Box::pin(wire.detach()).await {
                Ok((stream, opened)) => {
                    held.extend_from_slice(&opened);
                    Ended::HandOff { to, decided, stream, held, session: talk.session }
                }
                Err(_) => Ended::Closed,
            }
        }
        Ok(Step::Close | Step::Go) => {
            talk.chunk = None;
            Box::pin(wire.hang_up()).await;
            Ended::Closed
        }
        Ok(Step::Abort) | Err(_) => {
            wire.reset();
            Ended::Closed
        }
    }
}

enum Step {
    Go,
    Close,
    Abort,
    HandOff(ShardId),
}

struct Talk<'a, D: Door> {
    session: Box<D::Session>,
    door: &'a mut D,
    out: Out<<D::Session as Session>::Ask>,
    /// The beginning of a command whose end has not come.
    held: Vec<u8>,
    /// The ring's buffer being read, and how much of it is used.
    chunk: Option<(Received, usize)>,
    slow: Slow,
}

impl<D: Door> Talk<'_, D> {
    /// What happens rarely is boxed: a conversation takes the room of its largest wait for as long as it lasts.
    async fn converse(&mut self, wire: &mut Wire) -> io::Result<Step> {
        loop {
            match self.use_up(wire).await? {
                Step::Go => {}
                end => return Ok(end),
            }
            let struck = wire.is_over();
            let over = struck || self.door.is_over();
            if over {
                match Box::pin(self.step_input(wire, Input::Over)).await? {
                    // In the middle of something: whoever is banned does not go on with it.
                    Step::Go if struck => return Ok(Step::Close),
                    Step::Go => {}
                    end => return Ok(end),
                }
            }
            wire.flush().await?;
            spare::give(std::mem::take(&mut wire.out));
            spare::give(std::mem::take(&mut self.out.reply));
            let patience = self.session.patience();
            let halfway = !self.held.is_empty();
            wire.set_deadline(self.slow.deadline(patience, halfway, shard::now()), patience.rate_min_bytes_s);
            let heard = if self.session.wants_news() {
                or(async { Some(wire.recv().await) }, async {
                    self.door.news().await;
                    None
                })
                .await
            } else {
                // Who was told and is in the middle of something goes on with it.
                let ended = poll_fn(|cx| if over { Poll::Pending } else { self.door.poll_over(cx).map(|()| None) });
                or(async { Some(wire.recv().await) }, ended).await
            };
            (wire.out, self.out.reply) = (spare::take(), spare::take());
            let Some(received) = heard else {
                if self.door.is_over() {
                    continue;
                }
                match Box::pin(self.step_input(wire, Input::News)).await? {
                    Step::Go => continue,
                    end => return Ok(end),
                }
            };
            match received {
                Ok(chunk) if chunk.is_empty() => {
                    return match Box::pin(self.step_input(wire, Input::Eof)).await? {
                        Step::Go => Ok(Step::Close),
                        end => Ok(end),
                    };
                }
                Ok(chunk) => {
                    self.slow.received(chunk.len());
                    observe::add(D::LEDGER.received_bytes, chunk.len() as u64);
                    self.chunk = Some((chunk, 0));
                }
                Err(_) if wire.is_over() => {}
                Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                    match Box::pin(self.step_input(wire, Input::Timeout)).await? {
                        // Who waits for news may be silent, and only learns that we are still here.
                        Step::Go if self.session.wants_news() => {}
                        Step::Go => return Ok(Step::Close),
                        end => return Ok(end),
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Feeds the session until it wants more bytes than there are.
    async fn use_up(&mut self, wire: &mut Wire) -> io::Result<Step> {
        loop {
            if self.held.is_empty() {
                let Some((chunk, used)) = self.chunk.as_mut() else { return Ok(Step::Go) };
                if *used == chunk.len() {
                    self.chunk = None;
                    return Ok(Step::Go);
                }
                let rest = &chunk[*used..];
                let n = self.session.step(Input::Bytes(rest), &mut self.out);
                count_command::<D>(n, &self.out);
                self.slow.used(n);
                take_body(self.door, &mut self.out, rest);
                *used += n;
                if n == 0 && self.out.ask.is_none() && self.out.turn.is_none() {
                    self.held.extend_from_slice(rest);
                    self.chunk = None;
                    return Ok(Step::Go);
                }
            } else {
                let n = self.session.step(Input::Bytes(&self.held), &mut self.out);
                count_command::<D>(n, &self.out);
                self.slow.used(n);
                let copied = take_body(self.door, &mut self.out, &self.held);
                observe::add(Counter::BodyBytesCopied, copied);
                self.held.drain(..n);
                if n == 0 && self.out.ask.is_none() && self.out.turn.is_none() && !self.hold_more() {
                    return Ok(Step::Go);
                }
                if self.held.is_empty() {
                    self.held = Vec::new();
                }
            }
            match self.settle(wire).await? {
                Step::Go => {}
                end => return Ok(end),
            }
            if self.door.is_full() {
                // Boxed: see `converse`.
                Box::pin(self.make_room()).await;
            }
        }
    }

    /// The body waits for the disk, and the peer for us.
    async fn make_room(&mut self) {
        let mut put_away = Box::pin(self.door.put_away());
        if poll_once(put_away.as_mut()).await.is_none() {
            give_back(&mut self.chunk, &mut self.held);
            put_away.await;
        }
        self.slow.restart();
    }

    /// The peer has to take what was said before anything more is said.
    async fn relieve(&mut self, wire: &mut Wire) -> io::Result<()> {
        give_back(&mut self.chunk, &mut self.held);
        wire.flush().await
    }

    /// Moves the next line of the chunk to the held beginning; false when there is none.
    fn hold_more(&mut self) -> bool {
        let Some((chunk, used)) = self.chunk.as_mut() else { return false };
        let rest = &chunk[*used..];
        if rest.is_empty() {
            self.chunk = None;
            return false;
        }
        let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        self.held.extend_from_slice(&rest[..line]);
        *used += line;
        true
    }

    async fn step_input(
        &mut self,
        wire: &mut Wire,
        input: Input<'_, <D::Session as Session>::Answer>,
    ) -> io::Result<Step> {
        self.session.step(input, &mut self.out);
        self.settle(wire).await
    }

    /// The wall of STARTTLS (RFC 3207 §4.2, RFC 9051 §6.2.1, RFC 2595 §4). What came before our answer was submitted may
    /// have been put there by somebody else: it is never executed, the answer is not given, and the session says its
    /// farewell (A008, A109, A142). What comes later belongs to TLS.
    async fn start_tls(&mut self, wire: &mut Wire) -> io::Result<Step> {
        let ahead = !self.held.is_empty() || self.chunk.as_ref().is_some_and(|(chunk, used)| *used < chunk.len());
        if ahead || wire.has_unread() {
            observe::count(Counter::StartTlsInjections);
            tracing::warn!(target: "tls", peer = %wire.peer(), "octets between STARTTLS and its answer: closed");
            self.out.reply.clear();
            self.held = Vec::new();
            self.chunk = None;
            self.session.step(Input::Bytes(b"\r\n"), &mut self.out);
            self.out.turn.get_or_insert(Turn::Close);
            return Ok(Step::Go);
        }
        wire.out.append(&mut self.out.reply);
        // Nothing is left in it.
        self.chunk = None;
        let Some(_place) = self.door.handshake_place(wire.peer()) else { return Ok(Step::Abort) };
        match wire.shake_hands().await {
            Ok(()) => {
                let binds = wire.binding().is_some();
                self.session.step(Input::TlsReady { binds }, &mut self.out);
                self.slow.restart();
                Ok(Step::Go)
            }
            Err(why) => {
                tls::count_failed(&why);
                tracing::debug!(target: "tls", peer = %wire.peer(), %why, "no handshake");
                // In order, so that the alert arrives that says why.
                Ok(Step::Close)
            }
        }
    }

    /// Carries out what a step left behind, and what the answers to its asks leave behind.
    async fn settle(&mut self, wire: &mut Wire) -> io::Result<Step> {
        let mut last = false;
        loop {
            if self.out.turn == Some(Turn::StartTls) {
                self.out.turn = None;
                // Boxed: see `converse`.
                match Box::pin(self.start_tls(wire)).await? {
                    Step::Go => {}
                    end => return Ok(end),
                }
            }
            if let Some(class) = Some(&self.out.reply).filter(|r| !r.is_empty()).and_then(|r| D::class(r)) {
                observe::count(class);
            }
            if wire.out.is_empty() {
                std::mem::swap(&mut wire.out, &mut self.out.reply);
            } else {
                wire.out.append(&mut self.out.reply);
            }
            match self.out.turn.take() {
                Some(Turn::Close) => return Ok(Step::Close),
                Some(Turn::Abort) => return Ok(Step::Abort),
                Some(Turn::StartTls) => unreachable!("shaken hands before"),
                None if last => return Ok(Step::Close),
                None => {}
            }
            let Some(ask) = self.out.ask.take() else {
                if wire.out.len() >= limits::OUT_BYTES_MAX {
                    // Boxed: see `converse`.
                    Box::pin(self.relieve(wire)).await?;
                }
                return Ok(Step::Go);
            };
            let next = {
                let mut answer = Box::pin(self.door.answer(ask, wire));
                match poll_once(answer.as_mut()).await {
                    Some(next) => next,
                    None => {
                        // The door needs time.
                        give_back(&mut self.chunk, &mut self.held);
                        answer.await
                    }
                }
            };
            match next {
                Next::Answer(answer) => {
                    self.session.step(Input::Answer(answer), &mut self.out);
                    self.slow.restart();
                }
                Next::LastAnswer(answer) => {
                    self.session.step(Input::Answer(answer), &mut self.out);
                    last = true;
                }
                Next::HandOff(to) => return Ok(Step::HandOff(to)),
                Next::Close => return Ok(Step::Close),
                Next::Abort => return Ok(Step::Abort),
            }
        }
    }
}

/// Gives the ring its buffer back. What is left in it goes behind what is held, where it stays until it is used up: nothing is
/// received meanwhile, so it is at most one buffer's.
fn give_back(chunk: &mut Option<(Received, usize)>, held: &mut Vec<u8>) {
    if let Some((chunk, used)) = chunk.take() {
        held.extend_from_slice(&chunk[used..]);
    }
}

/// A step that used input and left no body was a command, or a line of one.
fn count_command<D: Door>(used: usize, out: &Out<<D::Session as Session>::Ask>) {
    if used > 0 && out.body.is_empty() {
        observe::count(D::LEDGER.commands);
    }
}

/// Hands the body pieces of a step to the door; returns how many of their octets were input.
fn take_body<D: Door>(door: &mut D, out: &mut Out<<D::Session as Session>::Ask>, input: &[u8]) -> u64 {
    let mut octets = 0;
    for piece in out.body.drain(..) {
        match piece {
            Piece::Input(range) => {
                octets += range.len() as u64;
                door.body(&input[range]);
            }
            Piece::Text(text) => door.body(text),
        }
    }
    octets
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}
