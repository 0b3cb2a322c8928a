//! The network: doors, connections, and what lies between two ends of one.
//!
//! ```text
//!   send ──► window (bounded; full: the sender waits) ──► segments in flight, each with its hour ──► recv
//! ```
//!
//! Each direction keeps its order. How a send is cut into segments, how long each travels, how much of what has
//! arrived one `recv` takes, how wide the window is, and which of several shards gets a new connection: the seed says.
//! Everything here is a function of `now`; the waiting is in [`super::stream`].

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::task::Waker;

use super::chance::Chance;
use super::executor::{Core, Home};
use super::node::{MachineId, NodeId};
use crate::shard::{Moment, Peer};

/// Bytes one `recv` takes at most.
const RECV_BYTES_MAX: usize = 64 << 10;
/// Connections a door holds that nobody has accepted. More: refused.
const BACKLOG_MAX: usize = 1_024;
/// First port given where none was asked for.
const FREE_PORT_FIRST: u16 = 40_000;

/// A connection's number within its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// An end of a connection: 0 asked for it, 1 accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) conn: ConnId,
    pub(super) side: usize,
}

impl End {
    fn other(self) -> usize {
        1 - self.side
    }
}

/// Where a door is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DoorAt {
    Net(SocketAddr),
    Local(MachineId, PathBuf),
}

impl DoorAt {
    /// True if a caller who asks for `to` comes to this door.
    fn answers(&self, to: &DoorAt) -> bool {
        match (self, to) {
            (DoorAt::Net(at), DoorAt::Net(to)) => {
                at.port() == to.port() && (at.ip() == to.ip() || at.ip().is_unspecified())
            }
            _ => self == to,
        }
    }
}

pub(super) type DoorId = u64;

/// All doors and connections.
#[derive(Default)]
pub(super) struct Net {
    next: u64,
    ports_given: u16,
    doors: BTreeMap<DoorId, Door>,
    conns: BTreeMap<ConnId, Conn>,
    /// When doors had last to pause.
    paused: BTreeMap<Home, Moment>,
}

struct Door {
    at: DoorAt,
    home: Option<Home>,
    backlog: VecDeque<ConnId>,
    waker: Option<Waker>,
}

struct Conn {
    ends: [EndState; 2],
    /// `pipes[i]` is written by end i and read by the other.
    pipes: [Pipe; 2],
    road: Road,
}

struct EndState {
    home: Option<Home>,
    peer: Peer,
    open: bool,
}

/// How fast a connection is.
#[derive(Clone, Copy)]
struct Road {
    least_ns: u64,
    most_ns: u64,
}

impl Road {
    fn any(chance: &Chance) -> Self {
        match chance.below(10) {
            0..=5 => Road { least_ns: 10_000, most_ns: 100_000 },
            6..=8 => Road { least_ns: 200_000, most_ns: 2_000_000 },
            _ => Road { least_ns: 10_000_000, most_ns: 80_000_000 },
        }
    }

    fn delay_ns(self, chance: &Chance) -> u64 {
        // Now and then a segment is lost and sent again.
        let again = if chance.one_in(300) { 200_000_000 } else { 0 };
        again + chance.between(self.least_ns, self.most_ns)
    }
}

struct Pipe {
    flight: VecDeque<Segment>,
    bytes: usize,
    window: usize,
    last_ns: u64,
    fin_ns: Option<u64>,
    reset_ns: Option<u64>,
    stalled: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Segment {
    arrives_ns: u64,
    bytes: Vec<u8>,
    read: usize,
}

/// What came of trying.
pub(super) enum Step<T> {
    Done(io::Result<T>),
    /// Wait to be woken, at the latest at this hour.
    Wait(Option<u64>),
}

impl Net {
    /// Opens a door. Shards of one node may share an address, each with one door there.
    pub(super) fn open_door(&mut self, mut at: DoorAt, home: Option<Home>) -> io::Result<(DoorId, DoorAt)> {
        if let DoorAt::Net(addr) = &mut at
            && addr.port() == 0
        {
            addr.set_port(FREE_PORT_FIRST + self.ports_given);
            self.ports_given += 1;
        }
        let taken =
            |door: &Door| door.at == at && (door.home == home || door.home.map(|h| h.node) != home.map(|h| h.node));
        if self.doors.values().any(taken) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.next += 1;
        self.doors.insert(self.next, Door { at: at.clone(), home, backlog: VecDeque::new(), waker: None });
        Ok((self.next, at))
    }

    /// Closes a door; who waits behind it is reset.
    pub(super) fn close_door(&mut self, core: &Core, door: DoorId) {
        let Some(door) = self.doors.remove(&door) else { return };
        for conn in door.backlog {
            self.reset(core, End { conn, side: 1 });
        }
    }

    /// The doors of this shard pause now, as they do when descriptors have run out; nobody who knocks is lost.
    pub(super) fn pause_doors(&mut self, core: &Core, home: Home) {
        self.paused.insert(home, Moment(core.clock.now_ns()));
        core.note("pause doors", home.node.0.into(), home.shard.into());
    }

    /// When they had last to.
    pub(super) fn paused(&self, home: Home) -> Option<Moment> {
        self.paused.get(&home).copied()
    }

    /// The doors of this shard on this port can accept nothing more, and say so to who waits for newcomers.
    pub(super) fn break_doors(&mut self, core: &Core, home: Home, port: u16) {
        let broken = |door: &Door| door.home == Some(home) && matches!(door.at, DoorAt::Net(at) if at.port() == port);
        let doors: Vec<DoorId> = self.doors.iter().filter(|(_, d)| broken(d)).map(|(id, _)| *id).collect();
        for door in doors {
            let waker = self.doors.get_mut(&door).and_then(|door| door.waker.take());
            self.close_door(core, door);
            core.note("break door", door, port.into());
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// A new connection for the door's shard.
    pub(super) fn accept(&mut self, door: DoorId, waker: &Waker) -> Step<(End, Peer)> {
        let Some(door) = self.doors.get_mut(&door) else { return Step::Done(Err(io::ErrorKind::NotConnected.into())) };
        while let Some(conn) = door.backlog.pop_front() {
            if let Some(state) = self.conns.get(&conn) {
                return Step::Done(Ok((End { conn, side: 1 }, state.ends[1].peer)));
            }
        }
        door.waker = Some(waker.clone());
        Step::Wait(None)
    }

    /// Knocks at `to` from `from`.
    pub(super) fn connect(
        &mut self,
        core: &Core,
        from: Peer,
        home: Option<Home>,
        to: &DoorAt,
    ) -> io::Result<(End, Peer)> {
        let chance = &core.chance.net;
        let doors: Vec<DoorId> = self.doors.iter().filter(|(_, d)| d.at.answers(to)).map(|(id, _)| *id).collect();
        if doors.is_empty() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let door = self.doors.get_mut(&doors[chance.index(doors.len())]).expect("just listed");
        if door.backlog.len() >= BACKLOG_MAX {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        self.next += 1;
        let conn = ConnId(self.next);
        let there = match to {
            DoorAt::Net(addr) => Peer::Net(*addr),
            DoorAt::Local(..) => Peer::Local,
        };
        let ends = [EndState { home, peer: there, open: true }, EndState { home: door.home, peer: from, open: true }];
        let pipe = || Pipe::new([4 << 10, 16 << 10, 64 << 10, 256 << 10][chance.index(4)]);
        let state = Conn { ends, pipes: [pipe(), pipe()], road: Road::any(chance) };
        self.conns.insert(conn, state);
        door.backlog.push_back(conn);
        if let Some(waker) = door.waker.take() {
            waker.wake();
        }
        core.note("connect", conn.0, 0);
        Ok((End { conn, side: 0 }, there))
    }

    /// Takes arrived bytes; none means the peer has finished.
    pub(super) fn recv(&mut self, core: &Core, end: End, waker: &Waker) -> Step<Vec<u8>> {
        let now = core.clock.now_ns();
        let Some(conn) = self.open_conn(end) else { return Step::Done(Err(io::ErrorKind::ConnectionReset.into())) };
        let pipe = &mut conn.pipes[end.other()];
        if !pipe.stalled {
            let arrived = pipe.arrived(now);
            if arrived > 0 {
                let bytes = pipe.pop(cut(&core.chance.net, arrived.min(RECV_BYTES_MAX)));
                core.note("recv", end.conn.0, bytes.len() as u64);
                return Step::Done(Ok(bytes));
            }
            if pipe.reset_ns.is_some_and(|at| at <= now) {
                return Step::Done(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if pipe.flight.is_empty() && pipe.fin_ns.is_some_and(|at| at <= now) {
                return Step::Done(Ok(Vec::new()));
            }
        }
        pipe.reader = Some(waker.clone());
        Step::Wait(if pipe.stalled { None } else { pipe.next_ns() })
    }

    /// True if octets have arrived and nobody took them.
    pub(super) fn has_unread(&mut self, core: &Core, end: End) -> bool {
        let now = core.clock.now_ns();
        self.open_conn(end).is_some_and(|conn| conn.pipes[end.other()].arrived(now) > 0)
    }

    /// Takes as much of `bytes` as the window has room for.
    pub(super) fn send(&mut self, core: &Core, end: End, bytes: &[u8], waker: &Waker) -> Step<usize> {
        let now = core.clock.now_ns();
        let chance = &core.chance.net;
        let Some(conn) = self.open_conn(end) else { return Step::Done(Err(io::ErrorKind::ConnectionReset.into())) };
        let back = &conn.pipes[end.other()];
        let past = |at: Option<u64>| !back.stalled && at.is_some_and(|at| at <= now);
        if past(back.reset_ns) {
            return Step::Done(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if !conn.ends[end.other()].open {
            // Until the news arrives, bytes go into the void without a word, as they do with TCP.
            let known = past(back.fin_ns);
            return Step::Done(if known { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) });
        }
        let reset_ns = back.reset_ns;
        let pipe = &mut conn.pipes[end.side];
        let room = pipe.window.saturating_sub(pipe.bytes);
        if room == 0 {
            pipe.writer = Some(waker.clone());
            return Step::Wait(reset_ns);
        }
        let taken = room.min(bytes.len());
        let mut rest = &bytes[..taken];
        while !rest.is_empty() {
            let (segment, later) = rest.split_at(cut(chance, rest.len()));
            pipe.last_ns = pipe.last_ns.max(now + conn.road.delay_ns(chance));
            pipe.flight.push_back(Segment { arrives_ns: pipe.last_ns, bytes: segment.to_vec(), read: 0 });
            rest = later;
        }
        pipe.bytes += taken;
        pipe.wake_reader();
        core.note("send", end.conn.0, taken as u64);
        Step::Done(Ok(taken))
    }

    /// Ends in order: what was sent is delivered, then FIN. Done twice, the second does nothing.
    pub(super) fn close(&mut self, core: &Core, end: End) {
        let now = core.clock.now_ns();
        let Some(conn) = self.open_conn(end) else { return };
        let fin_ns = conn.pipes[end.side].last_ns.max(now + conn.road.delay_ns(&core.chance.net));
        // After a reset there is no orderly end.
        if conn.pipes[end.side].reset_ns.is_none() {
            conn.pipes[end.side].fin_ns = Some(fin_ns);
        }
        core.note("close", end.conn.0, end.side as u64);
        self.leave(end);
    }

    /// Ends with a reset: what has not arrived never will.
    pub(super) fn reset(&mut self, core: &Core, end: End) {
        let now = core.clock.now_ns();
        let Some(conn) = self.open_conn(end) else { return };
        let delay_ns = conn.road.delay_ns(&core.chance.net);
        conn.pipes[end.side].reset(now, 0, now + delay_ns);
        core.note("reset", end.conn.0, end.side as u64);
        self.leave(end);
    }

    /// Breaks a connection in the middle: both ends see a reset, each at its hour.
    pub(super) fn cut(&mut self, core: &Core, conn: ConnId) {
        let now = core.clock.now_ns();
        let chance = &core.chance.net;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        for pipe in &mut state.pipes {
            let delay_ns = state.road.delay_ns(chance);
            pipe.reset(now, chance.index(pipe.flight.len() + 1), now + delay_ns);
        }
        core.note("cut", conn.0, 0);
    }

    /// Nothing arrives, in either direction, until this is taken back.
    pub(super) fn stall(&mut self, core: &Core, conn: ConnId, stalled: bool) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        for pipe in &mut state.pipes {
            pipe.stalled = stalled;
            pipe.wake_reader();
            pipe.wake_writer();
        }
        core.note("stall", conn.0, u64::from(stalled));
    }

    /// The node is gone between two instructions: its doors close, its peers see resets, and of what it had sent a
    /// part arrives.
    pub(super) fn crash(&mut self, core: &Core, node: NodeId) {
        let now = core.clock.now_ns();
        let chance = &core.chance.net;
        let on_it = |home: Option<Home>| home.is_some_and(|home| home.node == node);
        self.doors.retain(|_, door| !on_it(door.home));
        for conn in self.of_node(node) {
            for side in 0..2 {
                let end = End { conn, side };
                let Some(state) = self.open_conn(end).filter(|state| on_it(state.ends[side].home)) else { continue };
                let delay_ns = state.road.delay_ns(chance);
                let pipe = &mut state.pipes[side];
                pipe.reset(now, chance.index(pipe.flight.len() + 1), now + delay_ns);
                self.leave(end);
            }
        }
    }

    /// Connections with an end on this node.
    pub(super) fn of_node(&self, node: NodeId) -> Vec<ConnId> {
        let on_it = |conn: &Conn| conn.ends.iter().any(|e| e.open && e.home.is_some_and(|home| home.node == node));
        self.conns.iter().filter(|(_, conn)| on_it(conn)).map(|(id, _)| *id).collect()
    }

    /// True while no reset has reached this end.
    pub(super) fn is_whole(&mut self, core: &Core, end: End) -> bool {
        let now = core.clock.now_ns();
        self.open_conn(end).is_some_and(|conn| conn.pipes[end.other()].reset_ns.is_none_or(|at| at > now))
    }

    /// The end lives on another shard from now on.
    pub(super) fn move_to(&mut self, end: End, home: Option<Home>) {
        if let Some(conn) = self.open_conn(end) {
            conn.ends[end.side].home = home;
        }
    }

    fn open_conn(&mut self, end: End) -> Option<&mut Conn> {
        self.conns.get_mut(&end.conn).filter(|conn| conn.ends[end.side].open)
    }

    /// Marks an end closed; a connection with no end open is forgotten.
    fn leave(&mut self, end: End) {
        let conn = self.conns.get_mut(&end.conn).expect("the end was open");
        conn.ends[end.side].open = false;
        conn.pipes[end.side].wake_reader();
        let incoming = &mut conn.pipes[end.other()];
        incoming.flight.clear();
        incoming.bytes = 0;
        incoming.wake_writer();
        if conn.ends.iter().all(|end| !end.open) {
            self.conns.remove(&end.conn);
        }
    }
}

impl Pipe {
    fn new(window: usize) -> Self {
        Pipe {
            flight: VecDeque::new(),
            bytes: 0,
            window,
            last_ns: 0,
            fin_ns: None,
            reset_ns: None,
            stalled: false,
            reader: None,
            writer: None,
        }
    }

    fn arrived(&self, now: u64) -> usize {
        self.flight.iter().take_while(|s| s.arrives_ns <= now).map(|s| s.bytes.len() - s.read).sum()
    }

    /// When the next thing happens to the reader.
    fn next_ns(&self) -> Option<u64> {
        let data_ns = self.flight.front().map(|s| s.arrives_ns);
        let end_ns = if data_ns.is_none() { self.fin_ns } else { None };
        [data_ns, end_ns, self.reset_ns].into_iter().flatten().min()
    }

    fn pop(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len);
        while out.len() < len {
            let front = self.flight.front_mut().expect("the caller asks for no more than arrived");
            let take = (len - out.len()).min(front.bytes.len() - front.read);
            out.extend_from_slice(&front.bytes[front.read..front.read + take]);
            front.read += take;
            if front.read == front.bytes.len() {
                self.flight.pop_front();
            }
        }
        self.bytes -= len;
        self.wake_writer();
        out
    }

    /// Ends this direction: of the segments under way the first `kept` arrive, then the reset.
    fn reset(&mut self, now: u64, kept: usize, at_ns: u64) {
        let arrived = self.flight.iter().take_while(|s| s.arrives_ns <= now).count();
        self.flight.truncate(arrived.max(kept));
        self.bytes = self.flight.iter().map(|s| s.bytes.len() - s.read).sum();
        let last_ns = self.flight.back().map_or(now, |s| s.arrives_ns);
        self.reset_ns = Some(self.reset_ns.unwrap_or(u64::MAX).min(at_ns.max(last_ns)));
        self.wake_reader();
        self.wake_writer();
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

/// How much of `len` bytes travels or is taken at once.
fn cut(chance: &Chance, len: usize) -> usize {
    match chance.below(20) {
        0 => 1,
        1..=2 => 1 + chance.index(len.min(100)),
        3..=6 => 1 + chance.index(len),
        _ => len,
    }
}
