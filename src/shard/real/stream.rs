//! A connected socket on this shard, and between two shards.
//!
//! A receive is armed while somebody waits for it and takes one buffer when octets have come, so an idle connection costs a slot
//! and no buffer, and one that is not read has one at most: what its peer sends waits in the socket, and then at the peer. A send
//! whose future is dropped goes on: its buffer is the ring's, and the next send waits for it, so bytes never interleave.
//!
//! Closing in order: FIN first, then the peer's own end is waited for, a short while. Closing with bytes unread, or
//! receiving some after the close, would make the kernel send a reset, and a reset can overtake the last reply.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;

use super::buffers::Chunk;
use super::home::{Shard, here};
use super::work::Key;
use crate::shard::{Moment, Peer};

/// How long a closed connection waits for the peer's end; then it is closed all the same.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes read and thrown away meanwhile; more: closed at once.
const LINGER_BYTES_MAX: usize = 256 << 10;
/// Dropped connections of a shard that linger; one more is closed at once.
const LINGERING_MAX: usize = 1_024;

/// A connected socket.
pub struct Stream(Option<Conn>);

struct Conn {
    shard: Rc<Shard>,
    /// Taken when it leaves for another shard.
    fd: Option<OwnedFd>,
    peer: Peer,
    deadline: u64,
    recv: Option<Key>,
    sending: Option<Key>,
    /// Received on another shard; bounded by what one connection may have queued there.
    carried: VecDeque<Chunk>,
}

impl Stream {
    /// Puts a socket on `shard`.
    pub fn new(shard: Rc<Shard>, fd: OwnedFd, peer: Peer) -> Self {
        let carried = VecDeque::new();
        Stream(Some(Conn { shard, fd: Some(fd), peer, deadline: 0, recv: None, sending: None, carried }))
    }

    fn conn(&mut self) -> &mut Conn {
        self.0.as_mut().expect("taken only by the end of the stream")
    }

    pub fn peer(&self) -> Peer {
        self.0.as_ref().expect("taken only by the end of the stream").peer
    }

    pub fn peer_user(&self) -> Option<u32> {
        let conn = self.0.as_ref().expect("taken only by the end of the stream");
        let user = || rustix::net::sockopt::socket_peercred(conn.socket()).ok().map(|peer| peer.uid.as_raw());
        if conn.peer == Peer::Local { user() } else { None }
    }

    pub fn set_peer(&mut self, peer: Peer) {
        self.conn().peer = peer;
    }

    pub async fn recv(&mut self) -> io::Result<Chunk> {
        self.conn().recv().await
    }

    /// Between two turns of the ring no completion waits in its queue, so what is not in the receive's own queue is still
    /// in the socket.
    pub fn has_unread(&mut self) -> bool {
        let conn = self.conn();
        let reaped = conn.recv.is_some_and(|key| conn.shard.ring().recv_has(key));
        let mut octet = [0; 1];
        let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        !conn.carried.is_empty()
            || reaped
            || rustix::net::recv(conn.socket(), &mut octet, peek).is_ok_and(|(_, octets)| octets > 0)
    }

    pub async fn send(&mut self, bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        self.conn().send(bytes).await
    }

    pub fn set_deadline(&mut self, at: Option<Moment>) {
        self.conn().deadline = at.map_or(0, |at| at.0.max(1));
    }

    pub async fn close(mut self) {
        // Taken out first: should the wait be dropped, the connection is closed without another.
        if let Some(mut conn) = self.0.take() {
            conn.linger().await;
        }
    }

    pub fn farewell(mut self, text: &'static [u8]) {
        let Some(conn) = self.0.take() else { return };
        let socket = conn.socket();
        // A fresh socket takes these few octets at once. One that does not is not waited for, and neither is the peer. More follows, the
        // FIN: so both leave in one segment.
        let _ = rustix::net::send(socket, text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL | SendFlags::MORE);
        let _ = SockRef::from(socket).shutdown(Shutdown::Write);
        // Octets that nobody read would make the kernel send a reset.
        let mut thrown = [0; 2_048];
        let _ = rustix::net::recv(socket, &mut thrown, RecvFlags::DONTWAIT);
    }

    pub fn reset(mut self) {
        if let Some(conn) = self.0.take() {
            // It fails only for a socket that is broken already.
            let _ = SockRef::from(conn.socket()).set_linger(Some(Duration::ZERO));
        }
    }

    pub async fn detach(mut self) -> io::Result<Detached> {
        let mut conn = self.0.take().expect("taken only by the end of the stream");
        conn.sent().await.0?;
        let mut unread: Vec<Vec<u8>> = conn.carried.drain(..).map(Chunk::into_own).collect();
        if let Some(key) = conn.recv {
            // Kept in `conn` until it is over, so that a dropped hand-off abandons it.
            let chunks = poll_fn(|cx| conn.shard.ring().recv_finish(key, cx)).await;
            conn.recv = None;
            unread.extend(chunks?.into_iter().map(Chunk::into_own));
        }
        let fd = conn.fd.take().expect("taken here only");
        Ok(Detached { fd, peer: conn.peer, deadline: conn.deadline, unread })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Some(mut conn) = self.0.take() else { return };
        let shard = conn.shard.clone();
        if !shard.is_open() || conn.is_over() || shard.lingering.get() >= LINGERING_MAX {
            return;
        }
        struct Lingering(Rc<Shard>);
        impl Drop for Lingering {
            fn drop(&mut self) {
                self.0.lingering.set(self.0.lingering.get() - 1);
            }
        }
        shard.lingering.set(shard.lingering.get() + 1);
        let count = Lingering(shard.clone());
        shard.spawn("close", async move {
            conn.linger().await;
            drop(count);
        });
    }
}

impl Conn {
    fn socket(&self) -> &OwnedFd {
        self.fd.as_ref().expect("taken only with the stream")
    }

    async fn recv(&mut self) -> io::Result<Chunk> {
        if let Some(chunk) = self.carried.pop_front() {
            return Ok(chunk);
        }
        let fd = self.socket().as_raw_fd();
        let key = *self.recv.get_or_insert_with(|| self.shard.ring().recv_open(fd));
        poll_fn(|cx| self.shard.ring().recv_poll(key, self.deadline, cx)).await
    }

    async fn send(&mut self, bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        // An earlier send whose future was dropped: it must be whole, or what follows would make no sense.
        if let (Err(why), _) = self.sent().await {
            return (Err(why), emptied(bytes));
        }
        if bytes.is_empty() {
            return (Ok(()), bytes);
        }
        let fd = self.socket().as_raw_fd();
        self.sending = Some(self.shard.ring().send_open(fd, bytes));
        self.sent().await
    }

    /// Waits for the send that is under way, if one is.
    async fn sent(&mut self) -> (io::Result<()>, Vec<u8>) {
        let Some(key) = self.sending else { return (Ok(()), Vec::new()) };
        let done = poll_fn(|cx| self.shard.ring().send_poll(key, self.deadline, cx)).await;
        self.sending = None;
        done
    }

    /// The peer has ended it already and nothing of ours is under way: there is nothing to wait for.
    fn is_over(&self) -> bool {
        self.sending.is_none() && self.recv.is_some_and(|key| self.shard.ring().recv_ended(key))
    }

    async fn linger(&mut self) {
        self.deadline = super::now().after(LINGER).0;
        if self.is_over() || self.sent().await.0.is_err() {
            return;
        }
        if SockRef::from(self.socket()).shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut thrown = 0;
        while let Ok(chunk) = self.recv().await {
            thrown += chunk.len();
            if chunk.is_empty() || thrown > LINGER_BYTES_MAX {
                return;
            }
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        // Without a ring the descriptor closes itself.
        let Some(mut ring) = self.shard.try_ring() else { return };
        for key in [self.recv.take(), self.sending.take()].into_iter().flatten() {
            ring.abandon(key);
        }
        if let Some(fd) = self.fd.take() {
            ring.close_fd(fd.into_raw_fd());
        }
    }
}

fn emptied(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.clear();
    bytes
}

/// A connection between two shards.
pub struct Detached {
    fd: OwnedFd,
    peer: Peer,
    deadline: u64,
    unread: Vec<Vec<u8>>,
}

impl Detached {
    /// Puts it on this shard.
    pub fn attach(self) -> Stream {
        let mut stream = Stream::new(here(), self.fd, self.peer);
        let conn = stream.conn();
        conn.deadline = self.deadline;
        conn.carried = self.unread.into_iter().map(Chunk::own).collect();
        stream
    }

    /// TCP_NODELAY as the kernel has it.
    #[cfg(test)]
    pub fn nodelay(&self) -> bool {
        SockRef::from(&self.fd).tcp_nodelay().expect("an open socket")
    }
}
