//! The crowd: many SMTP connections on one thread, none of which blocks.
//!
//! Each connection says MAIL, RCPT and DATA in one write, waits for the 354, and writes the letter with its
//! final dot (RFC 2920). **Closed loop**: the next letter leaves when the last was answered. **Open loop**
//! (a rate was given): letters fall due by the clock, the next free connection takes the next one, and
//! latency counts from when it was due, so a stalled server cannot hide by being sent less.
//!
//! Under TLS a handshake comes first, or after STARTTLS; with a login AUTH comes after EHLO, and a connection's letters are
//! from the account that it is logged in as.
//!
//! ```text
//!   [Handshake ─►] Greeting ─► Ehlo [─► StartTls ─► Handshake ─► Ehlo] [─► Login] ─► Idle
//!   Greeting ─► Ehlo ─► Idle ─► Mail ─► Rcpt ─► Data ─► Verdict ─► Idle
//!                                                          └─► Quit ─► Closing   (connection per message)
//! ```
//!
//! A reply that does not belong there ends the connection and is reported; another takes its place, up to
//! [`FAILURES_MAX`] times.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::accounts::Account;
use crate::arrivals::{Arrivals, Gaps};
use crate::channel::Channel;
use crate::ledger::Outcome;
use crate::letter::Letters;
use crate::smtp::{SENDER, parse_reply, write_envelope};
use crate::tls::Trust;
use crate::wire::shown;

/// Failed connections or transactions before the run is given up.
const FAILURES_MAX: u64 = 1_000;
/// Failures told word by word. The rest is counted.
const FAILURES_TOLD_MAX: usize = 10;
/// Latencies above this are recorded as this, µs.
const LATENCY_US_MAX: u64 = 600_000_000;
const READ_BYTES: usize = 8_192;
const EHLO: &[u8] = b"EHLO loadtest.example\r\n";
const EVENTS: usize = 256;
/// A letter that leaves longer after it was due is late.
const LATE: Duration = Duration::from_millis(10);
/// How often `tick` is called.
const TICK: Duration = Duration::from_millis(20);

/// What is sent to whom.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    pub server: SocketAddr,
    pub letters: &'a Letters,
    pub accounts: &'a [Account],
    pub connections: usize,
    /// QUIT after each message and connect anew; latency then counts from the connect.
    pub connection_per_message: bool,
    /// Messages a second, open loop; `None`: closed loop.
    pub rate: Option<f64>,
    /// How they fall due, open loop.
    pub gaps: Gaps,
    /// No answer to anything for this long gives the run up.
    pub patience: Duration,
    /// TLS, and whom it trusts; `None`: plain.
    pub tls: Option<(Secure, &'a Trust)>,
    /// Each connection logs in, the accounts in turn, and sends as that account.
    pub login: bool,
}

/// How a connection comes under TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secure {
    /// It begins with a handshake (RFC 8314 §3.3).
    Implicit,
    /// After EHLO (RFC 3207).
    StartTls,
}

impl Plan<'_> {
    /// Which account letter `n` goes to: all in turn.
    #[must_use]
    pub fn account(&self, n: u64) -> usize {
        (n % self.accounts.len() as u64) as usize
    }

    fn login_of(&self, connection: usize) -> usize {
        connection % self.accounts.len()
    }
}

/// What one phase measured.
#[derive(Clone, Debug)]
pub struct Phase {
    /// From MAIL (or connect, or when it was due) to the verdict, µs.
    pub transaction_us: Histogram<u64>,
    /// From the write of the final dot to the verdict, µs.
    pub verdict_us: Histogram<u64>,
    pub acknowledged: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Open loop: letters that left later than [`LATE`] after they were due, because no connection was free.
    pub late: u64,
}

/// Why a run was given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no answer for {0:?}")]
    Stalled(Duration),
    #[error("{count} failures; the first: {first}")]
    Failures { count: u64, first: String },
}

/// The crowd.
#[derive(Debug)]
pub struct Load<'a> {
    plan: Plan<'a>,
    poll: OwnedFd,
    connections: Vec<Connection>,
    /// Connections in stage Idle.
    idle: Vec<usize>,
    next: u64,
    /// Outcome of each letter from 0; letters in flight are unknown.
    pub outcomes: Vec<Outcome>,
    /// The first failures, word by word.
    pub failures: Vec<String>,
    pub failures_count: u64,
    scratch: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is said before it, or behind STARTTLS.
    Handshake,
    Greeting,
    Ehlo,
    StartTls,
    Login,
    Idle,
    Mail,
    Rcpt,
    Data,
    Verdict,
    Quit,
    Closing,
}

#[derive(Debug)]
struct Connection {
    channel: Channel,
    stage: Stage,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    written: usize,
    waits_to_write: bool,
    /// The letter under way, from Mail to Verdict; before, with a connection per message, the next one.
    letter: Option<u64>,
    began: Instant,
    dotted: Instant,
}

impl Phase {
    fn new() -> Phase {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are lawful");
        Phase { transaction_us: histogram(), verdict_us: histogram(), acknowledged: 0, refused: 0, unknown: 0, late: 0 }
    }

    /// Letters that were answered or given up.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.acknowledged + self.refused + self.unknown
    }
}

impl<'a> Load<'a> {
    /// Connects the crowd.
    pub fn connect(plan: Plan<'a>) -> Result<Load<'a>, Error> {
        let poll = epoll::create(CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let mut load = Load {
            plan,
            poll,
            connections: Vec::new(),
            idle: Vec::new(),
            next: 0,
            outcomes: Vec::new(),
            failures: Vec::new(),
            failures_count: 0,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
        };
        for index in 0..plan.connections {
            let connection = load.open(index)?;
            load.connections.push(connection);
        }
        Ok(load)
    }

    /// Sends `count` letters and waits for all verdicts; `tick` is called about every 20 ms with the number
    /// done so far.
    pub fn run(&mut self, count: u64, mut tick: impl FnMut(u64)) -> Result<Phase, Error> {
        let mut phase = Phase::new();
        let first = self.next;
        let goal = first + count;
        self.outcomes.resize(goal as usize, Outcome::Unknown);
        let mut arrivals =
            self.plan.rate.map(|rate| Arrivals::new(self.plan.gaps, rate, self.plan.letters.id(first).seed));
        let start = Instant::now();
        for &index in &self.idle {
            self.connections[index].began = start;
        }
        let (mut last_tick, mut last_progress) = (start, start);
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        while phase.done() < count {
            self.start_letters(goal, start, &mut arrivals, &mut phase)?;
            let sleep = self.sleep(goal, start, arrivals.as_ref());
            let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: sleep.as_nanos() as _ };
            events.clear();
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(io::Error::from(e).into()),
            }
            for event in &events {
                let index = event.data.u64() as usize;
                if let Err(reason) = self.serve(index, event.flags, &mut phase) {
                    self.fail(index, &reason, &mut phase)?;
                }
            }
            let now = Instant::now();
            if !events.is_empty() {
                last_progress = now;
            }
            if now - last_tick >= TICK {
                last_tick = now;
                tick(phase.done());
                // With a rate, silence between two letters is no stall.
                if now - last_progress > self.plan.patience && self.idle.len() < self.connections.len() {
                    return Err(Error::Stalled(self.plan.patience));
                }
            }
        }
        tick(phase.done());
        Ok(phase)
    }

    /// QUIT on every connection; what the server then says is not waited for.
    pub fn quit(mut self) {
        for connection in &mut self.connections {
            let _ = connection.channel.write_all(b"QUIT\r\n");
        }
    }

    fn sleep(&self, goal: u64, start: Instant, arrivals: Option<&Arrivals>) -> Duration {
        match arrivals {
            Some(arrivals) if self.next < goal && !self.idle.is_empty() => {
                (start + arrivals.due()).saturating_duration_since(Instant::now()).min(TICK)
            }
            _ => TICK,
        }
    }

    fn start_letters(
        &mut self,
        goal: u64,
        start: Instant,
        arrivals: &mut Option<Arrivals>,
        phase: &mut Phase,
    ) -> Result<(), Error> {
        while self.next < goal && !self.idle.is_empty() {
            let now = Instant::now();
            let mut began = now;
            if let Some(arrivals) = arrivals {
                began = start + arrivals.due();
                if began > now {
                    return Ok(());
                }
                arrivals.advance();
                phase.late += u64::from(now - began > LATE);
            }
            let index = self.idle.pop().expect("it is not empty");
            let n = self.next;
            self.next += 1;
            let plan = self.plan;
            let connection = &mut self.connections[index];
            connection.letter = Some(n);
            // With a connection per message the clock began at the connect, unless a rate says when.
            if plan.rate.is_some() || !plan.connection_per_message {
                connection.began = began;
            }
            connection.stage = Stage::Mail;
            let to = &plan.accounts[plan.account(n)].address;
            let from = if plan.login { &plan.accounts[plan.login_of(index)].address } else { SENDER };
            write_envelope(from, &[to], plan.letters.size_bytes(n), &mut connection.outbox);
            if let Err(e) = self.flush(index) {
                self.fail(index, &e.to_string(), phase)?;
            }
        }
        Ok(())
    }

    /// Reads what came and answers it. `Err`: the connection is of no more use.
    fn serve(&mut self, index: usize, flags: EventFlags, phase: &mut Phase) -> Result<(), String> {
        if flags.contains(EventFlags::OUT) {
            self.flush(index).map_err(|e| e.to_string())?;
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return Ok(());
        }
        loop {
            let connection = &mut self.connections[index];
            let got = match connection.channel.read(&mut self.scratch) {
                Ok(got) => got,
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    return self.after_handshake(index).map_err(|e| e.to_string());
                }
                Err(e) => return Err(e.to_string()),
            };
            if got == 0 {
                return if connection.stage == Stage::Closing && connection.inbox.is_empty() {
                    let fresh = self.open(index).map_err(|e| e.to_string())?;
                    self.connections[index] = fresh;
                    Ok(())
                } else {
                    Err("connection closed by the server".into())
                };
            }
            connection.inbox.extend_from_slice(&self.scratch[..got]);
            self.hear(index, phase)?;
            if !self.connections[index].channel.reads_on() {
                return Ok(());
            }
        }
    }

    /// A handshake that has ended lets the conversation go on: a greeting is waited for, or EHLO is said again.
    fn after_handshake(&mut self, index: usize) -> io::Result<()> {
        let secure = self.plan.tls.map(|(secure, _)| secure);
        let connection = &mut self.connections[index];
        if connection.stage == Stage::Handshake && !connection.channel.is_shaking_hands() {
            if secure == Some(Secure::Implicit) {
                connection.stage = Stage::Greeting;
            } else {
                connection.outbox.extend_from_slice(EHLO);
                connection.stage = Stage::Ehlo;
            }
        }
        self.flush(index)
    }

    /// Answers the replies that are here.
    fn hear(&mut self, index: usize, phase: &mut Phase) -> Result<(), String> {
        // The handshake's last octets may come with the greeting.
        self.after_handshake(index).map_err(|e| e.to_string())?;
        let mut used = 0;
        loop {
            let connection = &self.connections[index];
            let rest = &connection.inbox[used..];
            let reply = match parse_reply(rest) {
                Ok(None) => break,
                Ok(Some(reply)) => reply,
                Err(e) => return Err(format!("{e}: {}", shown(rest))),
            };
            let text = &rest[..reply.bytes];
            let expected = match connection.stage {
                Stage::Greeting | Stage::StartTls => 220,
                Stage::Login => 235,
                Stage::Data => 354,
                Stage::Quit => 221,
                Stage::Idle | Stage::Closing | Stage::Handshake => 0,
                Stage::Ehlo | Stage::Mail | Stage::Rcpt | Stage::Verdict => 250,
            };
            let verdict_no = connection.stage == Stage::Verdict && (400..600).contains(&reply.code);
            if reply.code != expected && !verdict_no {
                return Err(format!("wanted {expected} at {:?}, got {}", connection.stage, shown(text)));
            }
            if connection.stage == Stage::Ehlo {
                let needed: &[u8] = if self.wants_starttls(index) { b"STARTTLS" } else { b"PIPELINING" };
                if !text.windows(needed.len()).any(|w| w.eq_ignore_ascii_case(needed)) {
                    return Err(format!("no {} in {}", shown(needed), shown(text)));
                }
            }
            if verdict_no {
                let told = format!("refused after the dot: {}", shown(text));
                self.tell(index, &told);
            }
            used += reply.bytes;
            self.advance(index, reply.code, phase).map_err(|e| e.to_string())?;
        }
        self.connections[index].inbox.drain(..used);
        Ok(())
    }

    fn wants_starttls(&self, index: usize) -> bool {
        let starttls = self.plan.tls.is_some_and(|(secure, _)| secure == Secure::StartTls);
        starttls && !self.connections[index].channel.reads_on()
    }

    /// The expected reply came: what follows it.
    fn advance(&mut self, index: usize, code: u16, phase: &mut Phase) -> io::Result<()> {
        let (per_message, starttls) = (self.plan.connection_per_message, self.wants_starttls(index));
        let connection = &mut self.connections[index];
        match connection.stage {
            Stage::Greeting => {
                connection.outbox.extend_from_slice(EHLO);
                connection.stage = Stage::Ehlo;
            }
            Stage::Ehlo if starttls => {
                connection.outbox.extend_from_slice(b"STARTTLS\r\n");
                connection.stage = Stage::StartTls;
            }
            Stage::StartTls => {
                let (_, trust) = self.plan.tls.expect("it was asked for");
                connection.channel.begin_tls(trust.client(self.plan.server.ip())?);
                connection.stage = Stage::Handshake;
            }
            Stage::Ehlo if self.plan.login => {
                let account = &self.plan.accounts[self.plan.login_of(index)];
                let plain = BASE64.encode(format!("\0{}\0{}", account.address, account.password));
                connection.outbox.extend_from_slice(format!("AUTH PLAIN {plain}\r\n").as_bytes());
                connection.stage = Stage::Login;
            }
            Stage::Ehlo | Stage::Login => {
                connection.stage = Stage::Idle;
                self.idle.push(index);
                return Ok(());
            }
            Stage::Mail => {
                connection.stage = Stage::Rcpt;
                return Ok(());
            }
            Stage::Rcpt => {
                connection.stage = Stage::Data;
                return Ok(());
            }
            Stage::Data => {
                let n = connection.letter.expect("a letter is under way");
                self.plan.letters.write_smtp(n, &mut connection.outbox);
                connection.dotted = Instant::now();
                connection.stage = Stage::Verdict;
            }
            Stage::Verdict => {
                let n = connection.letter.take().expect("a letter is under way");
                let now = Instant::now();
                let us = |since: Instant| ((now - since).as_micros() as u64).clamp(1, LATENCY_US_MAX);
                let outcome = match code {
                    250 => {
                        phase.transaction_us.saturating_record(us(connection.began));
                        phase.verdict_us.saturating_record(us(connection.dotted));
                        Outcome::Acknowledged
                    }
                    500..=599 => Outcome::Refused,
                    _ => Outcome::Unknown,
                };
                if per_message {
                    connection.outbox.extend_from_slice(b"QUIT\r\n");
                    connection.stage = Stage::Quit;
                } else {
                    connection.stage = Stage::Idle;
                    self.idle.push(index);
                }
                self.settle(n, outcome, phase);
            }
            Stage::Quit => {
                connection.stage = Stage::Closing;
                return Ok(());
            }
            Stage::Handshake | Stage::Idle | Stage::Closing => unreachable!("no reply is expected there"),
        }
        self.flush(index)
    }

    fn settle(&mut self, n: u64, outcome: Outcome, phase: &mut Phase) {
        self.outcomes[n as usize] = outcome;
        match outcome {
            Outcome::Acknowledged => phase.acknowledged += 1,
            Outcome::Refused => phase.refused += 1,
            Outcome::Unknown => phase.unknown += 1,
        }
    }

    /// The connection failed: its letter's outcome is settled and another connection takes its place.
    fn fail(&mut self, index: usize, reason: &str, phase: &mut Phase) -> Result<(), Error> {
        self.tell(index, reason);
        let connection = &mut self.connections[index];
        let (stage, whole) = (connection.stage, connection.written == connection.outbox.len());
        if let Some(n) = connection.letter.take() {
            // Without its final dot sent no copy may exist.
            let unknown = stage == Stage::Verdict && whole;
            self.settle(n, if unknown { Outcome::Unknown } else { Outcome::Refused }, phase);
        }
        self.idle.retain(|&i| i != index);
        if self.failures_count >= FAILURES_MAX {
            return Err(Error::Failures { count: self.failures_count, first: self.failures[0].clone() });
        }
        self.connections[index] = self.open(index)?;
        Ok(())
    }

    fn tell(&mut self, index: usize, reason: &str) {
        self.failures_count += 1;
        if self.failures.len() < FAILURES_TOLD_MAX {
            let connection = &self.connections[index];
            let letter = connection.letter.map_or("no letter".into(), |n| {
                format!("letter {n} to {}", self.plan.accounts[self.plan.account(n)].address)
            });
            self.failures.push(format!("connection {index}, {letter}, {:?}: {reason}", connection.stage));
        }
    }

    fn open(&self, index: usize) -> Result<Connection, io::Error> {
        let began = Instant::now();
        let stream = TcpStream::connect_timeout(&self.plan.server, self.plan.patience)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.poll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        let mut channel = Channel::plain(stream);
        let mut stage = Stage::Greeting;
        if let Some((Secure::Implicit, trust)) = self.plan.tls {
            channel.begin_tls(trust.client(self.plan.server.ip())?);
            channel.push()?;
            stage = Stage::Handshake;
        }
        Ok(Connection {
            channel,
            stage,
            inbox: Vec::new(),
            outbox: Vec::new(),
            written: 0,
            waits_to_write: false,
            letter: None,
            began,
            dotted: began,
        })
    }

    fn flush(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        while connection.written < connection.outbox.len() {
            match connection.channel.write(&connection.outbox[connection.written..]) {
                Ok(count) => connection.written += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        connection.channel.push()?;
        let written = connection.written == connection.outbox.len();
        let waits = !written || connection.channel.has_more_to_write();
        if written {
            connection.outbox.clear();
            connection.written = 0;
        }
        if waits != connection.waits_to_write {
            connection.waits_to_write = waits;
            let flags = if waits { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(&self.poll, connection.channel.socket(), EventData::new_u64(index as u64), flags)?;
        }
        Ok(())
    }
}
