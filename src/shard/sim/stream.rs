//! Doors and streams as the facade hands them out: the waiting around [`super::net`].

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;

use super::clock::Alarm;
use super::executor::{Core, find, here};
use super::net::{ConnId, DoorAt, DoorId, End, Step};
use crate::shard::{self, Moment, Peer, StreamIn};

/// How late a deadline of a node may fire (the facade allows one second).
const DEADLINE_LATE_NS_MAX: u64 = 1_000_000_000;

/// An open door.
pub struct Listener {
    core: Rc<Core>,
    door: DoorId,
    at: Peer,
}

impl Listener {
    /// As [`crate::shard::listen`].
    pub fn tcp(at: SocketAddr) -> io::Result<Self> {
        Self::open(DoorAt::Net(at))
    }

    /// As [`crate::shard::listen_local`].
    pub fn local(path: &Path, _mode: u32) -> io::Result<Self> {
        let here = here();
        let machine = here.home.map_or(0, |home| here.core.nodes.borrow().machine(home.node));
        Self::open(DoorAt::Local(machine, path.to_owned()))
    }

    fn open(at: DoorAt) -> io::Result<Self> {
        let here = here();
        let (door, at) = here.core.net.borrow_mut().open_door(at, here.home)?;
        let at = match at {
            DoorAt::Net(addr) => Peer::Net(addr),
            DoorAt::Local(..) => Peer::Local,
        };
        Ok(Listener { core: here.core, door, at })
    }

    /// The next connection.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        let accepted = poll_fn(|cx| match self.core.net.borrow_mut().accept(self.door, cx.waker()) {
            Step::Done(done) => Poll::Ready(done),
            Step::Wait(_) => Poll::Pending,
        });
        let (end, peer) = accepted.await?;
        Ok(Stream::new(self.core.clone(), end, peer))
    }

    /// Where it is.
    #[must_use]
    pub fn local_addr(&self) -> Peer {
        self.at
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.core.net.borrow_mut().close_door(&self.core, self.door);
    }
}

/// One end of a connection.
pub struct Stream {
    core: Rc<Core>,
    end: End,
    peer: Peer,
    deadline_ns: Option<u64>,
    /// Deadlines fire this much late: from the seed for a node, never for the test's own streams.
    late_ns: u64,
    /// False once the end belongs to a [`Detached`].
    held: bool,
}

impl Stream {
    fn new(core: Rc<Core>, end: End, peer: Peer) -> Self {
        let on_node = here().home.is_some();
        let late_ns = if on_node { core.chance.time.below(DEADLINE_LATE_NS_MAX) } else { 0 };
        Stream { core, end, peer, deadline_ns: None, late_ns, held: true }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// As [`crate::shard::Stream::set_peer`].
    pub fn set_peer(&mut self, peer: Peer) {
        self.peer = peer;
    }

    /// The connection's number, for faults.
    #[must_use]
    pub fn conn(&self) -> ConnId {
        self.end.conn
    }

    /// As [`crate::shard::Stream::recv`].
    pub async fn recv(&mut self) -> io::Result<Vec<u8>> {
        let mut alarm = Alarm::new(self.core.clone());
        poll_fn(|cx| {
            let step = self.core.net.borrow_mut().recv(&self.core, self.end, cx.waker());
            self.wait(step, &mut alarm, cx)
        })
        .await
    }

    /// As [`crate::shard::Stream::has_unread`].
    #[must_use]
    pub fn has_unread(&mut self) -> bool {
        self.core.net.borrow_mut().has_unread(&self.core, self.end)
    }

    /// As [`crate::shard::Stream::send`].
    pub async fn send(&mut self, mut bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let mut alarm = Alarm::new(self.core.clone());
        let mut sent = 0;
        let outcome = poll_fn(|cx| {
            while sent < bytes.len() {
                let step = self.core.net.borrow_mut().send(&self.core, self.end, &bytes[sent..], cx.waker());
                match self.wait(step, &mut alarm, cx) {
                    Poll::Ready(Ok(taken)) => sent += taken,
                    Poll::Ready(Err(why)) => return Poll::Ready(Err(why)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await;
        bytes.clear();
        (outcome, bytes)
    }

    /// Turns a step into a poll: past the deadline it fails, else the alarm is set.
    fn wait<T>(&self, step: Step<T>, alarm: &mut Alarm, cx: &mut std::task::Context<'_>) -> Poll<io::Result<T>> {
        let until_ns = match step {
            Step::Done(done) => return Poll::Ready(done),
            Step::Wait(until_ns) => until_ns,
        };
        if self.deadline_ns.is_some_and(|at| at <= self.core.clock.now_ns()) {
            self.core.note("timed out", self.end.conn.0, 0);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        alarm.set([until_ns, self.deadline_ns].into_iter().flatten().min(), cx.waker());
        Poll::Pending
    }

    /// As [`crate::shard::Stream::set_deadline`].
    pub fn set_deadline(&mut self, at: Option<Moment>) {
        self.deadline_ns = at.map(|at| at.0.saturating_add(self.late_ns));
    }

    /// As [`crate::shard::Stream::close`].
    pub async fn close(self) {
        let core = self.core.clone();
        drop(self);
        core.sleep_ns(core.chance.net.between(0, 10_000)).await;
    }

    /// As [`crate::shard::Stream::farewell`].
    pub fn farewell(self, text: &'static [u8]) {
        // Dropping it afterwards closes it in order.
        let sent = self.core.net.borrow_mut().send(&self.core, self.end, text, std::task::Waker::noop());
        drop(sent);
    }

    /// As [`crate::shard::Stream::reset`].
    pub fn reset(self) {
        // Dropping it afterwards finds the end closed.
        self.core.net.borrow_mut().reset(&self.core, self.end);
    }

    /// As [`crate::shard::Stream::detach`].
    pub async fn detach(mut self) -> io::Result<Detached> {
        self.core.sleep_ns(self.core.chance.net.between(0, 50_000)).await;
        if !self.core.net.borrow_mut().is_whole(&self.core, self.end) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.core.note("detach", self.end.conn.0, 0);
        self.held = false;
        Ok(Detached { world: self.core.id, end: self.end, peer: self.peer, held: true })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.held {
            self.core.net.borrow_mut().close(&self.core, self.end);
        }
    }
}

/// A connection between two shards. It names its world by number, since it must be `Send` and a world is not.
pub struct Detached {
    world: u64,
    end: End,
    peer: Peer,
    held: bool,
}

impl Detached {
    /// As [`crate::shard::Detached::attach`].
    #[must_use]
    pub fn attach(mut self) -> Stream {
        let here = here();
        assert!(here.core.id == self.world, "a connection from another world");
        self.held = false;
        here.core.net.borrow_mut().move_to(self.end, here.home);
        here.core.note("attach", self.end.conn.0, 0);
        Stream::new(here.core, self.end, self.peer)
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if let Some(core) = find(self.world).filter(|_| self.held) {
            core.net.borrow_mut().close(&core, self.end);
        }
    }
}

/// Connects to a node's door from 127.0.0.1.
///
/// # Errors
/// `ConnectionRefused` when there is no door or its backlog is full.
pub async fn connect(to: SocketAddr) -> io::Result<shard::Stream> {
    connect_from(IpAddr::V4(Ipv4Addr::LOCALHOST), to).await
}

/// Connects from a chosen address.
///
/// # Errors
/// As [`connect`].
pub async fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<shard::Stream> {
    let port = u16::try_from(here().core.chance.net.between(49_152, 65_535)).expect("a port");
    knock(Peer::Net(SocketAddr::new(from, port)), DoorAt::Net(to)).await
}

/// Connects to a Unix socket of `machine`.
///
/// # Errors
/// As [`connect`].
pub async fn connect_local(machine: u16, path: &Path) -> io::Result<shard::Stream> {
    knock(Peer::Local, DoorAt::Local(machine, path.to_owned())).await
}

async fn knock(from: Peer, to: DoorAt) -> io::Result<shard::Stream> {
    let here = here();
    here.core.sleep_ns(here.core.chance.net.between(10_000, 2_000_000)).await;
    let (end, peer) = here.core.net.borrow_mut().connect(&here.core, from, here.home, &to)?;
    let stream = Stream::new(here.core.clone(), end, peer);
    here.core.sleep_ns(here.core.chance.net.between(10_000, 2_000_000)).await;
    Ok(shard::Stream(StreamIn::Sim(stream)))
}
