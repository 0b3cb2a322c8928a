//! UDP: datagrams that travel each for itself. Some are lost, some come twice, some late; the seed says which.
//!
//! A test has sockets of its own ([`DatagramDoor`]), which may also lie about who sends. What finds nobody there is answered
//! with a refusal, as by ICMP, if its sender talks to one peer only.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::clock::Alarm;
use super::executor::{Core, here};
use crate::shard::DATAGRAM_BYTES_MAX;

/// Datagrams that wait at a socket. More: dropped, as the kernel does.
const WAITING_MAX: usize = 256;
/// Of a hundred, how many are lost unless the test says otherwise.
const LOST_PERCENT: u64 = 1;
/// One in so many comes twice.
const TWICE_ONE_IN: u64 = 50;

/// All UDP sockets of a world.
pub(super) struct Post {
    next: u64,
    sockets: BTreeMap<u64, Socket>,
    pub(super) lost_percent: u64,
}

impl Default for Post {
    fn default() -> Self {
        Post { next: 0, sockets: BTreeMap::new(), lost_percent: LOST_PERCENT }
    }
}

struct Socket {
    at: SocketAddr,
    /// The only one it hears.
    peer: Option<SocketAddr>,
    inbox: Vec<Arrival>,
    waker: Option<Waker>,
}

struct Arrival {
    at_ns: u64,
    from: SocketAddr,
    /// `None`: nobody is there.
    bytes: Option<Vec<u8>>,
}

impl Post {
    fn open(&mut self, at: SocketAddr, peer: Option<SocketAddr>) -> io::Result<u64> {
        if self.sockets.values().any(|socket| socket.at == at) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.next += 1;
        self.sockets.insert(self.next, Socket { at, peer, inbox: Vec::new(), waker: None });
        Ok(self.next)
    }

    fn send(&mut self, core: &Core, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let (chance, now) = (&core.chance.net, core.clock.now_ns());
        core.note("datagram", u64::from(to.port()), bytes.len() as u64);
        if chance.below(100) < self.lost_percent {
            return;
        }
        let heard = |socket: &Socket| socket.at == to && socket.peer.is_none_or(|peer| peer == from);
        let there = self.sockets.values().any(|socket| socket.at == to);
        let copies = if chance.one_in(TWICE_ONE_IN) { 2 } else { 1 };
        for _ in 0..copies {
            let slow = if chance.one_in(20) { 50_000_000 } else { 0 };
            let at_ns = now + slow + chance.between(10_000, 2_000_000);
            let bytes = Some(bytes.iter().copied().take(DATAGRAM_BYTES_MAX).collect());
            match self.sockets.values_mut().find(|socket| heard(socket)) {
                Some(socket) => socket.take(Arrival { at_ns, from, bytes }),
                None if there => {}
                None => {
                    let sender = self.sockets.values_mut().find(|s| s.at == from && s.peer == Some(to));
                    if let Some(sender) = sender {
                        sender.take(Arrival { at_ns, from: to, bytes: None });
                    }
                }
            }
        }
    }

    /// What has arrived first, or when something will.
    fn recv(&mut self, now: u64, socket: u64, waker: &Waker) -> Result<Arrival, Option<u64>> {
        let socket = self.sockets.get_mut(&socket).expect("open as long as its owner");
        let first = socket.inbox.iter().enumerate().min_by_key(|(_, arrival)| arrival.at_ns);
        let next = first.map(|(index, arrival)| (index, arrival.at_ns));
        match next {
            Some((index, at_ns)) if at_ns <= now => Ok(socket.inbox.remove(index)),
            next => {
                socket.waker = Some(waker.clone());
                Err(next.map(|(_, at_ns)| at_ns))
            }
        }
    }
}

impl Socket {
    fn take(&mut self, arrival: Arrival) {
        if self.inbox.len() < WAITING_MAX {
            self.inbox.push(arrival);
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// An open socket; closed when dropped.
struct Open {
    core: Rc<Core>,
    number: u64,
    at: SocketAddr,
}

impl Open {
    fn new(at: SocketAddr, peer: Option<SocketAddr>) -> io::Result<Open> {
        let core = here().core;
        let number = core.post.borrow_mut().open(at, peer)?;
        Ok(Open { core, number, at })
    }

    async fn recv(&self) -> Arrival {
        let mut alarm = Alarm::new(self.core.clone());
        poll_fn(|cx| {
            let now = self.core.clock.now_ns();
            match self.core.post.borrow_mut().recv(now, self.number, cx.waker()) {
                Ok(arrival) => Poll::Ready(arrival),
                Err(next) => {
                    alarm.set(next, cx.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.core.post.borrow_mut().sockets.remove(&self.number);
    }
}

/// As [`crate::shard::Datagrams`].
pub struct Datagrams {
    open: Open,
    to: SocketAddr,
}

impl Datagrams {
    /// As [`crate::shard::Datagrams::to`].
    pub fn to(to: SocketAddr) -> io::Result<Datagrams> {
        // A port that is taken is not taken twice: the next draw finds another.
        for _ in 0..100 {
            let port = u16::try_from(here().core.chance.net.between(32_768, 65_535)).expect("a port");
            if let Ok(open) = Open::new((Ipv4Addr::LOCALHOST, port).into(), Some(to)) {
                return Ok(Datagrams { open, to });
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// As [`crate::shard::Datagrams::send`].
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.open.core.post.borrow_mut().send(&self.open.core, self.open.at, self.to, bytes);
        Ok(())
    }

    /// As [`crate::shard::Datagrams::recv`].
    pub async fn recv(&self) -> io::Result<Vec<u8>> {
        self.open.recv().await.bytes.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }
}

/// A UDP socket of the test, which hears everybody.
pub struct DatagramDoor(Open);

impl DatagramDoor {
    /// Opens one at this address.
    ///
    /// # Errors
    /// `AddrInUse`.
    pub fn open(at: SocketAddr) -> io::Result<DatagramDoor> {
        Open::new(at, None).map(DatagramDoor)
    }

    /// The next datagram, and who it says it is from.
    pub async fn recv(&self) -> (Vec<u8>, SocketAddr) {
        loop {
            let arrival = self.0.recv().await;
            if let Some(bytes) = arrival.bytes {
                return (bytes, arrival.from);
            }
        }
    }

    /// Sends one.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) {
        self.send_as(self.0.at, to, bytes);
    }

    /// Sends one that says it is from somebody else.
    pub fn send_as(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.0.core.post.borrow_mut().send(&self.0.core, from, to, bytes);
    }
}
