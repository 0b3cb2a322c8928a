//! The flood: a new connection for each letter, as many as were asked for, whatever the server does with them.
//!
//! Where [`crate::load`] holds its connections, here each stands for a sender of its own who connects when he has a letter,
//! sends it, and goes. He has no part in what the server can do: in an open loop ([`Pace::Open`]) they come by a schedule. A refusal
//! at any step is no failure but a figure, by its code. [`Pace::Closed`] keeps so many there, to find out what the server can do.
//!
//! ```text
//!   connect ─► Greeting ─► Ehlo ─► Mail Rcpt Data (one write) ─► Verdict (the letter and QUIT, one write) ─► gone
//! ```
//!
//! Bounded: of more than `outstanding_max` at once the rest is not sent and counted so, as is what was due longer than
//! [`LATE_MAX`] ago because this program could not connect faster. What was offered is what was opened, so a client that is too
//! slow says so and does not pass for a server that is fast.
//!
//! It must be cheaper than the server that it floods. A connection is one socket, one entry of an epoll set (edge triggered), and two small
//! buffers; whoever is refused is closed with a reset, so that neither side keeps his address for a minute.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::accounts::Account;
use crate::arrivals::Arrivals;
use crate::ledger::Outcome;
use crate::letter::Letters;
use crate::smtp::{SENDER, parse_reply, write_envelope};
use crate::wire::shown;

/// What is due longer than this is not sent any more.
const LATE_MAX: Duration = Duration::from_secs(1);
/// Latencies above this are recorded as this, µs.
const LATENCY_US_MAX: u64 = 600_000_000;
/// Replies that no server may give, told word by word. The rest is counted.
const STRANGE_TOLD_MAX: usize = 10;
/// Connections opened before replies are read again.
const BURST: usize = 64;
const READ_BYTES: usize = 4_096;
const EVENTS: usize = 512;
const TICK: Duration = Duration::from_millis(20);

/// To whom what is sent.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    pub server: SocketAddr,
    pub letters: &'a Letters,
    pub accounts: &'a [Account],
    /// Connections at once. More: not sent.
    pub outstanding_max: usize,
    /// From the connect to the verdict. Then the sender goes, and it is counted.
    pub patience: Duration,
}

/// How senders come.
#[derive(Clone, Debug)]
pub enum Pace {
    /// So many are always there.
    Closed(usize),
    /// By a schedule.
    Open(Arrivals),
}

/// What one wave came to.
#[derive(Clone, Debug)]
pub struct Wave {
    /// Senders that were due.
    pub due: u64,
    /// Those that connected.
    pub opened: u64,
    /// Those for whom there was no room here, or no time.
    pub unsent: u64,
    /// Letters acknowledged, to the end of the wave's tail.
    pub accepted: u64,
    /// Those of them that were acknowledged while the wave was on, after its first part.
    pub accepted_within: u64,
    /// How long that was, seconds.
    pub within_s: f64,
    /// Refusals by code.
    pub refused: BTreeMap<u16, u64>,
    /// Connections that were refused, reset or closed without a word.
    pub closed: u64,
    /// Senders that waited for longer than their patience.
    pub impatient: u64,
    /// Replies that SMTP does not have there.
    pub strange: u64,
    /// From when a letter was due to its 250, µs.
    pub accepted_us: Histogram<u64>,
    /// From when a sender was due to his 4xx or 5xx, µs.
    pub refused_us: Histogram<u64>,
}

impl Wave {
    fn new() -> Wave {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are lawful");
        Wave {
            due: 0,
            opened: 0,
            unsent: 0,
            accepted: 0,
            accepted_within: 0,
            within_s: 0.0,
            refused: BTreeMap::new(),
            closed: 0,
            impatient: 0,
            strange: 0,
            accepted_us: histogram(),
            refused_us: histogram(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Verdict,
}

#[derive(Debug)]
struct Sender {
    socket: TcpStream,
    stage: Stage,
    serial: u64,
    due: Instant,
    letter: Option<u64>,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    written: usize,
}

/// How a sender's visit ended.
enum End {
    Accepted,
    Refused(u16),
    Closed,
    Impatient,
    Strange(String),
}

/// All senders.
#[derive(Debug)]
pub struct Flood<'a> {
    plan: Plan<'a>,
    poll: OwnedFd,
    senders: Vec<Option<Sender>>,
    free: Vec<usize>,
    here: usize,
    serial: u64,
    /// In the order in which they came: when, which, and his serial.
    waiting: VecDeque<(Instant, usize, u64)>,
    /// Outcome of each letter from 0.
    pub outcomes: Vec<Outcome>,
    /// The first strange replies, word by word.
    pub told: Vec<String>,
    scratch: Box<[u8]>,
}

impl<'a> Flood<'a> {
    /// Nobody is there yet.
    ///
    /// # Errors
    /// As `epoll_create`.
    pub fn new(plan: Plan<'a>) -> io::Result<Flood<'a>> {
        Ok(Flood {
            plan,
            poll: epoll::create(CreateFlags::CLOEXEC)?,
            senders: Vec::new(),
            free: Vec::new(),
            here: 0,
            serial: 0,
            waiting: VecDeque::new(),
            outcomes: Vec::new(),
            told: Vec::new(),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// Which account letter `n` goes to: all in turn.
    #[must_use]
    pub fn account(&self, n: u64) -> usize {
        (n % self.plan.accounts.len() as u64) as usize
    }

    /// Lets senders come for `lasts`, and waits until all are gone. What is acknowledged in the first `ramp` of it is no part of
    /// [`Wave::accepted_within`]. `tick` is called about every 20 ms.
    ///
    /// # Errors
    /// What this machine refuses: sockets, most of all.
    pub fn wave(
        &mut self,
        mut pace: Pace,
        lasts: Duration,
        ramp: Duration,
        mut tick: impl FnMut(),
    ) -> io::Result<Wave> {
        let mut wave = Wave::new();
        wave.within_s = lasts.saturating_sub(ramp).as_secs_f64();
        let start = Instant::now();
        let within = start + ramp..start + lasts;
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        let mut last_tick = start;
        loop {
            let now = Instant::now();
            let is_on = now < within.end;
            if !is_on && self.here == 0 {
                return Ok(wave);
            }
            let wait = if is_on { self.let_in(&mut pace, start, now, &mut wave)? } else { TICK };
            let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: wait.min(TICK).as_nanos() as _ };
            events.clear();
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            for event in &events {
                let index = event.data.u64() as usize;
                if let Some(end) = self.serve(index, event.flags) {
                    self.leave(index, end, &within, &mut wave);
                }
            }
            let now = Instant::now();
            self.lose_patience(now, &within, &mut wave);
            if now - last_tick >= TICK {
                last_tick = now;
                tick();
            }
        }
    }

    /// Those who are due come in. How long there is nothing to do.
    fn let_in(&mut self, pace: &mut Pace, start: Instant, now: Instant, wave: &mut Wave) -> io::Result<Duration> {
        for _ in 0..BURST {
            let due = match pace {
                Pace::Closed(most) if self.here < *most => now,
                Pace::Closed(_) => return Ok(TICK),
                Pace::Open(arrivals) => {
                    let due = start + arrivals.due();
                    if due > now {
                        return Ok(due - now);
                    }
                    arrivals.advance();
                    due
                }
            };
            wave.due += 1;
            if self.here >= self.plan.outstanding_max || now - due > LATE_MAX {
                wave.unsent += 1;
            } else {
                self.open(due, now, wave)?;
            }
        }
        Ok(Duration::ZERO)
    }

    fn open(&mut self, due: Instant, now: Instant, wave: &mut Wave) -> io::Result<()> {
        let socket =
            Socket::new(Domain::for_address(self.plan.server), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        match socket.connect(&self.plan.server.into()) {
            Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                // Nobody listens, or this host has no port left for it.
                wave.closed += 1;
                return Ok(());
            }
            _ => wave.opened += 1,
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.senders.push(None);
            self.senders.len() - 1
        });
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.poll, &socket, EventData::new_u64(index as u64), flags)?;
        self.serial += 1;
        self.here += 1;
        self.waiting.push_back((now, index, self.serial));
        self.senders[index] = Some(Sender {
            socket: socket.into(),
            stage: Stage::Greeting,
            serial: self.serial,
            due,
            letter: None,
            inbox: Vec::new(),
            outbox: Vec::new(),
            written: 0,
        });
        Ok(())
    }

    /// Reads what came and answers it. `Some`: the visit is over.
    fn serve(&mut self, index: usize, flags: EventFlags) -> Option<End> {
        let sender = self.senders[index].as_mut()?;
        if flags.contains(EventFlags::OUT) && sender.flush(&self.poll, index).is_err() {
            return Some(End::Closed);
        }
        loop {
            let sender = self.senders[index].as_mut().expect("it was there a moment ago");
            let got = match sender.socket.read(&mut self.scratch) {
                Ok(0) => return Some(End::Closed),
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Some(End::Closed),
            };
            sender.inbox.extend_from_slice(&self.scratch[..got]);
            if let Some(end) = self.hear(index) {
                return Some(end);
            }
            // Less than there was room for is all there was, but for an end that the flags would tell of.
            if got < self.scratch.len() && !flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
                return None;
            }
        }
    }

    /// Answers the replies that are here.
    fn hear(&mut self, index: usize) -> Option<End> {
        loop {
            let sender = self.senders[index].as_mut().expect("it is being served");
            let reply = match parse_reply(&sender.inbox) {
                Ok(Some(reply)) => reply,
                Ok(None) => return None,
                Err(e) => return Some(End::Strange(format!("{:?}: {e}: {}", sender.stage, shown(&sender.inbox)))),
            };
            let expected = match sender.stage {
                Stage::Greeting => 220,
                Stage::Data => 354,
                Stage::Ehlo | Stage::Mail | Stage::Rcpt | Stage::Verdict => 250,
            };
            if reply.code != expected {
                let no = (400..600).contains(&reply.code);
                let text = shown(&sender.inbox[..reply.bytes]);
                return Some(if no {
                    End::Refused(reply.code)
                } else {
                    End::Strange(format!("{:?}: {text}", sender.stage))
                });
            }
            sender.inbox.drain(..reply.bytes);
            match sender.stage {
                Stage::Verdict => return Some(End::Accepted),
                Stage::Mail => sender.stage = Stage::Rcpt,
                Stage::Rcpt => sender.stage = Stage::Data,
                Stage::Greeting => {
                    sender.outbox.extend_from_slice(b"EHLO loadtest.example\r\n");
                    sender.stage = Stage::Ehlo;
                }
                Stage::Ehlo => {
                    let n = self.outcomes.len() as u64;
                    self.outcomes.push(Outcome::Refused);
                    sender.letter = Some(n);
                    let to = &self.plan.accounts[(n % self.plan.accounts.len() as u64) as usize].address;
                    write_envelope(SENDER, &[to], self.plan.letters.size_bytes(n), &mut sender.outbox);
                    sender.stage = Stage::Mail;
                }
                Stage::Data => {
                    let n = sender.letter.expect("the envelope named it");
                    self.plan.letters.write_smtp(n, &mut sender.outbox);
                    sender.outbox.extend_from_slice(b"QUIT\r\n");
                    sender.stage = Stage::Verdict;
                }
            }
            if sender.flush(&self.poll, index).is_err() {
                return Some(End::Closed);
            }
        }
    }

    /// A sender goes: what became of him and his letter.
    fn leave(&mut self, index: usize, end: End, within: &std::ops::Range<Instant>, wave: &mut Wave) {
        let Some(sender) = self.senders[index].take() else { return };
        self.free.push(index);
        self.here -= 1;
        let now = Instant::now();
        let us = ((now - sender.due).as_micros() as u64).clamp(1, LATENCY_US_MAX);
        // Of a letter whose final dot may have arrived nothing is known without a verdict.
        let dotted = sender.stage == Stage::Verdict && sender.written == sender.outbox.len();
        let mut outcome = if dotted { Outcome::Unknown } else { Outcome::Refused };
        match end {
            End::Accepted => {
                wave.accepted += 1;
                wave.accepted_within += u64::from(within.contains(&now));
                wave.accepted_us.saturating_record(us);
                outcome = Outcome::Acknowledged;
            }
            End::Refused(code) => {
                *wave.refused.entry(code).or_default() += 1;
                wave.refused_us.saturating_record(us);
                if code >= 500 {
                    outcome = Outcome::Refused;
                }
            }
            End::Closed => wave.closed += 1,
            End::Impatient => wave.impatient += 1,
            End::Strange(text) => {
                wave.strange += 1;
                if self.told.len() < STRANGE_TOLD_MAX {
                    self.told.push(text);
                }
            }
        }
        if let Some(n) = sender.letter {
            self.outcomes[n as usize] = outcome;
        }
        if outcome != Outcome::Acknowledged {
            // It fails only for a socket that is broken already.
            let _ = SockRef::from(&sender.socket).set_linger(Some(Duration::ZERO));
        }
    }

    fn lose_patience(&mut self, now: Instant, within: &std::ops::Range<Instant>, wave: &mut Wave) {
        while let Some(&(came, index, serial)) = self.waiting.front() {
            let is_here = self.senders[index].as_ref().is_some_and(|sender| sender.serial == serial);
            if is_here && now - came < self.plan.patience {
                return;
            }
            self.waiting.pop_front();
            if is_here {
                self.leave(index, End::Impatient, within, wave);
            }
        }
    }
}

impl Sender {
    fn flush(&mut self, poll: &OwnedFd, index: usize) -> io::Result<()> {
        while self.written < self.outbox.len() {
            match self.socket.write(&self.outbox[self.written..]) {
                Ok(count) => self.written += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                    epoll::modify(poll, &self.socket, EventData::new_u64(index as u64), flags)?;
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.outbox.clear();
        self.written = 0;
        Ok(())
    }
}
