//! A connection, plain or under TLS, with its reply bytes.
//!
//! Replies gather in one buffer and leave when the input has run dry or when
//! [`OUT_BYTES_MAX`](limits::OUT_BYTES_MAX) is reached: whoever produces faster than the peer reads waits here (A114).
//!
//! They leave in slices of at most `OUT_BYTES_MAX` octets, and each slice has [`WRITE_STALL_S`](limits::WRITE_STALL_S)
//! to be taken whole. A peer that reads steadily, at `OUT_BYTES_MAX / WRITE_STALL_S` (about 1 KiB/s) or more, is never
//! cut, however long the answer; one that reads nothing, or less than that, is reset (A061).
//!
//! Under TLS the same octets are sealed on their way out and opened on their way in; nothing above this file knows
//! more of it than whether it is in force.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::limits;
use crate::net::roll::Entered;
use crate::net::tls::{self, Acceptor, Agreed, Tls};
use crate::observe::{self, Counter, Ledger, Peak};
use crate::proto::contract::Privacy;
use crate::proto::proxy::{self, Seen};
use crate::proto::sasl::scram::BINDING_BYTES;
use crate::shard::{self, Chunk, Detached, Moment, Peer, Stream};

/// For the farewell of a connection that is to end because of who is at the other end, seconds. Then it is reset.
const FAREWELL_S: u64 = 1;

/// A connection and what waits to be sent on it.
pub struct Wire {
    stream: Stream,
    /// Reply bytes not yet handed to the kernel.
    pub(super) out: Vec<u8>,
    /// Where what is sent is counted.
    sent: Option<Counter>,
    /// In force.
    tls: Option<Box<Tls>>,
    /// What a handshake would be done with.
    offer: Option<Acceptor>,
    /// Opened and not yet taken. Without TLS: what came behind a balancer's words.
    opened: Vec<u8>,
    /// Until when the next octets must be here, and the rate at which parts of a record earn more time.
    deadline: Moment,
    rate_min_bytes_s: u64,
    /// Its place on the roll of this shard's connections.
    entered: Option<Box<Entered>>,
}

/// Received octets. Empty: the peer has finished sending.
pub enum Received {
    /// In the ring's buffer: do not keep it.
    Ring(Chunk),
    /// Opened by TLS.
    Opened(Vec<u8>),
}

impl Deref for Received {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Received::Ring(chunk) => chunk,
            Received::Opened(bytes) => bytes,
        }
    }
}

/// A connection between two shards. Dropping it closes the connection.
pub struct Unwired {
    stream: Detached,
    tls: Option<Box<Tls>>,
    offer: Option<Acceptor>,
}

impl Unwired {
    /// Puts the connection on this shard.
    #[must_use]
    pub fn attach(self) -> Wire {
        Wire { tls: self.tls, offer: self.offer, ..Wire::new(self.stream.attach()) }
    }
}

impl Wire {
    /// Wraps a connected stream.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        let (deadline, rate_min_bytes_s) = (Moment::default(), 0);
        Wire {
            stream,
            out: Vec::new(),
            sent: None,
            tls: None,
            offer: None,
            opened: Vec::new(),
            deadline,
            rate_min_bytes_s,
            entered: None,
        }
    }

    /// Wraps a connected stream on which a handshake can be had.
    #[must_use]
    pub fn offering(stream: Stream, acceptor: Option<Acceptor>) -> Self {
        Wire { offer: acceptor, ..Wire::new(stream) }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.stream.peer()
    }

    /// From now on this is who is at the other end.
    pub fn set_peer(&mut self, peer: Peer) {
        self.stream.set_peer(peer);
    }

    /// Offers this handshake instead, or none.
    pub fn offer(&mut self, acceptor: Option<Acceptor>) {
        self.offer = acceptor;
    }

    /// Takes what a balancer says of the connection before its first octet, within [`PROXY_HEADER_S`](limits::PROXY_HEADER_S):
    /// whose it is, or `None` if it is the balancer's own. What came behind that is not lost.
    ///
    /// # Errors
    /// When there is no such header, or not in time.
    pub async fn announced(&mut self) -> io::Result<Option<SocketAddr>> {
        self.stream.set_deadline(Some(shard::now().after(Duration::from_secs(limits::PROXY_HEADER_S))));
        let mut heard = Vec::new();
        loop {
            let chunk = self.stream.recv().await?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // At most one chunk more than a header.
            heard.extend_from_slice(&chunk);
            match proxy::read(&heard) {
                Seen::Partial => {}
                Seen::Whole { used, client } => {
                    heard.drain(..used);
                    self.opened = heard;
                    return Ok(client);
                }
                Seen::Broken => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// What is sent from now on is counted there.
    pub fn counts_in(&mut self, ledger: Ledger) {
        self.sent = Some(ledger.sent_bytes);
    }

    /// What TLS is to this connection.
    #[must_use]
    pub fn privacy(&self) -> Privacy {
        match (&self.tls, &self.offer) {
            (Some(_), _) => Privacy::Tls,
            (None, Some(_)) => Privacy::Offered,
            (None, None) => Privacy::None,
        }
    }

    /// What the handshake agreed on.
    #[must_use]
    pub fn agreed(&self) -> Option<Agreed> {
        self.tls.as_ref()?.agreed()
    }

    /// What a login can be bound to (RFC 9266).
    #[must_use]
    pub fn binding(&self) -> Option<[u8; BINDING_BYTES]> {
        self.tls.as_ref()?.binding()
    }

    /// From this moment on waiting for the peer fails with `TimedOut`. Where a least rate is asked for, octets of a record
    /// that is not whole yet put it off, up to [`DATA_RATE_GRACE_S`](limits::DATA_RATE_GRACE_S) ahead of now: else who
    /// sends steadily would be cut in the middle of a large record. (They count again when it is whole, so under TLS the
    /// rate may be half of what is asked.)
    pub fn set_deadline(&mut self, at: Moment, rate_min_bytes_s: u64) {
        (self.deadline, self.rate_min_bytes_s) = (at, rate_min_bytes_s);
        self.stream.set_deadline(Some(at));
    }

    /// Octets came that open nothing yet.
    fn earn(&mut self, octets: usize) {
        let Some(ns) = (octets as u64).saturating_mul(1_000_000_000).checked_div(self.rate_min_bytes_s) else { return };
        let most = shard::now().after(Duration::from_secs(limits::DATA_RATE_GRACE_S));
        self.deadline = self.deadline.after(Duration::from_nanos(ns)).min(most.max(self.deadline));
        self.stream.set_deadline(Some(self.deadline));
    }

    /// It is on the roll from now on.
    pub fn enter(&mut self, entered: Entered) {
        self.entered = Some(Box::new(entered));
    }

    /// True if it is to end because of who is at the other end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.entered.as_ref().is_some_and(|entered| entered.over().is())
    }

    /// The next octets of the peer; empty at its end. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// When the connection is gone, breaks TLS, is silent past the deadline, or is to end.
    pub async fn recv(&mut self) -> io::Result<Received> {
        let over = self.entered.as_ref().map(|entered| entered.over().clone());
        // Not two futures side by side: a conversation takes the room of its largest wait.
        let mut receive = pin!(self.receive());
        poll_fn(|cx| match &over {
            Some(over) if over.poll(cx).is_ready() => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            _ => receive.as_mut().poll(cx),
        })
        .await
    }

    async fn receive(&mut self) -> io::Result<Received> {
        loop {
            if !self.opened.is_empty() {
                return Ok(Received::Opened(std::mem::take(&mut self.opened)));
            }
            let Some(tls) = &mut self.tls else { return self.stream.recv().await.map(Received::Ring) };
            if tls.peer_closed() {
                return Ok(Received::Opened(Vec::new()));
            }
            let chunk = self.stream.recv().await?;
            if chunk.is_empty() {
                // Cut off, perhaps by somebody else: what is not whole is not used, as everywhere (A098).
                return Ok(Received::Ring(chunk));
            }
            let mut reply = Vec::new();
            let taken = tls.take(&chunk, &mut self.opened, &mut reply);
            if self.opened.is_empty() {
                self.earn(chunk.len());
            }
            drop(chunk);
            if !reply.is_empty() {
                // What was opened is kept in `self`, should this wait be dropped.
                let (sent, _) = self.stream.send(reply).await;
                sent?;
            }
            taken?;
        }
    }

    /// Shakes hands, within [`HANDSHAKE_S`](limits::HANDSHAKE_S). What was queued before is sent first.
    ///
    /// # Errors
    /// When it cannot be had: not offered, broken, or not in time.
    pub async fn shake_hands(&mut self) -> io::Result<()> {
        let Some(acceptor) = self.offer.take() else { return Err(io::ErrorKind::Unsupported.into()) };
        self.flush().await?;
        let mut tls = Box::new(Tls::begin(&acceptor)?);
        self.stream.set_deadline(Some(shard::now().after(Duration::from_secs(limits::HANDSHAKE_S))));
        let mut reply = Vec::new();
        let mut ahead = std::mem::take(&mut self.opened);
        while tls.shaking_hands() {
            let taken = if ahead.is_empty() {
                let chunk = self.stream.recv().await?;
                if chunk.is_empty() || tls.peer_closed() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                tls.take(&chunk, &mut self.opened, &mut reply)
            } else {
                tls.take(&std::mem::take(&mut ahead), &mut self.opened, &mut reply)
            };
            if !reply.is_empty() {
                let (sent, buffer) = self.stream.send(reply).await;
                sent?;
                reply = buffer;
            }
            taken?;
        }
        tls.agreed().into_iter().for_each(tls::count_done);
        self.tls = Some(tls);
        Ok(())
    }

    /// True if the peer has sent what nobody has taken yet, as far as can be known now.
    #[must_use]
    pub fn has_unread(&mut self) -> bool {
        !self.opened.is_empty() || self.stream.has_unread()
    }

    /// Takes the connection off this shard, with what was opened and not taken. Nothing may be queued.
    ///
    /// # Errors
    /// When the connection broke meanwhile.
    pub async fn detach(self) -> io::Result<(Unwired, Vec<u8>)> {
        assert!(self.out.is_empty(), "replies are flushed before the connection leaves");
        let stream = self.stream.detach().await?;
        Ok((Unwired { stream, tls: self.tls, offer: self.offer }, self.opened))
    }

    /// Queues bytes for the peer and waits when too many are queued: the back-pressure of streamed answers. However
    /// many they are, the queue stays within its bound.
    ///
    /// # Errors
    /// When the connection is gone or the peer does not read.
    pub async fn say(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = limits::OUT_BYTES_MAX.saturating_sub(self.out.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.out.extend_from_slice(now);
            bytes = later;
            self.relieve().await?;
        }
        Ok(())
    }

    /// The queue itself, for encoders that append a line. Follow with [`Wire::relieve`].
    pub fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends the queue if it has reached its bound.
    ///
    /// # Errors
    /// As [`Wire::say`].
    pub async fn relieve(&mut self) -> io::Result<()> {
        if self.out.len() >= limits::OUT_BYTES_MAX { self.flush().await } else { Ok(()) }
    }

    /// Sends everything queued.
    ///
    /// # Errors
    /// As [`Wire::say`].
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        observe::reached(Peak::OutBufferBytes, self.out.capacity() as u64);
        let queued = std::mem::take(&mut self.out);
        if queued.len() <= limits::OUT_BYTES_MAX {
            return self.send(queued).await;
        }
        // An encoder's last line went beyond the bound.
        for slice in queued.chunks(limits::OUT_BYTES_MAX) {
            self.send(slice.to_vec()).await?;
        }
        Ok(())
    }

    /// Sends a slice and keeps its buffer for the next replies.
    async fn send(&mut self, slice: Vec<u8>) -> io::Result<()> {
        let over = self.entered.as_ref().map(|entered| entered.over().clone());
        // A farewell is not waited for.
        let is_farewell = self.is_over();
        let stall_s = if is_farewell { FAREWELL_S } else { limits::WRITE_STALL_S };
        self.stream.set_deadline(Some(shard::now().after(Duration::from_secs(stall_s))));
        let octets = slice.len() as u64;
        let (slice, kept) = match &mut self.tls {
            None => (slice, None),
            Some(tls) => {
                let mut sealed = Vec::new();
                tls.seal(&slice, &mut sealed)?;
                (sealed, Some(slice))
            }
        };
        let (sent, returned) = {
            let mut sending = pin!(self.stream.send(slice));
            // Who is banned while he takes nothing is not waited for either: what is dropped here is reset.
            poll_fn(|cx| match &over {
                Some(over) if !is_farewell && over.poll(cx).is_ready() => {
                    Poll::Ready((Err(io::ErrorKind::ConnectionAborted.into()), Vec::new()))
                }
                _ => sending.as_mut().poll(cx),
            })
            .await
        };
        let mut buffer = kept.unwrap_or(returned);
        if let (Ok(()), Some(counter)) = (&sent, self.sent) {
            observe::add(counter, octets);
        }
        buffer.clear();
        if buffer.capacity() <= limits::OUT_BYTES_MAX * 2 {
            self.out = buffer;
        }
        sent
    }

    /// Sends what is queued and closes in order; a peer that does not take it is reset.
    pub async fn hang_up(mut self) {
        if self.flush().await.is_err() {
            return self.stream.reset();
        }
        if let Some(tls) = &mut self.tls {
            let mut farewell = Vec::new();
            // A connection that broke has no farewell; the peer knows.
            if tls.close(&mut farewell).is_ok() && self.stream.send(farewell).await.0.is_err() {
                return self.stream.reset();
            }
        }
        self.stream.close().await;
    }

    /// Ends with a reset: nothing more is delivered.
    pub fn reset(self) {
        self.stream.reset();
    }
}
