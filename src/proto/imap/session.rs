//! The conversation: which bytes are a command, whether it may be given now, and what is said at its end.
//!
//! ```text
//!              ┌───────────────────────── refused ──────────────────────┐
//!   Line ──────┤ whole ─► execute ─► Waiting ─ answer ─► Line           ▼
//!     ▲        └ literal ─► Gather ─┘   │  ▲                    Drain: skipped whole,
//!     │           └ APPEND's message ───┤  └─ Message ◄─ Go     then the refusal
//!     └─────────────────────────────────┴───── Challenge (AUTHENTICATE) ─┘
//! ```
//!
//! - A command without literals is parsed where it lies in the input; only one with literals is gathered.
//! - A refused command whose literals the client sends unasked is skipped whole: what a literal holds is never executed.
//! - While a command is under way its bytes must come at [`limits::DATA_RATE_MIN_BYTES_S`].
//! - Every phase but the idle ones is boxed.

mod append;
mod idle;
mod literal;
mod login;

use std::time::Duration;

use append::{Expected, Receiving};
use idle::Idle;
use literal::Gather;

use super::ask::{Answer, Ask, No};
use super::capability;
use super::command::Command;
use super::completion;
use super::cursor::Cursor;
use super::drain::{Drain, Drained};
use super::enabled::Enabled;
use super::frame::{self, Line, Marker};
use super::refusal::Refusal;
use super::response;
use super::table::{self, Head, Special, states};
use crate::limits;
use crate::proto::contract::{self, Input, Out, Patience, Privacy, Turn};
use crate::proto::sasl::{self, Exchange};

/// What a session is told when it is opened.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What TLS is to the connection; as the conversation begins, and then as it goes on.
    pub privacy: Privacy,
    /// This peer may give a password without TLS.
    pub plaintext_auth_allowed: bool,
    /// Every account has keys: SCRAM is offered.
    pub keys: bool,
    /// Mechanisms that may be offered.
    pub allowed: sasl::Allowed,
    /// The TLS in force can be bound to.
    pub binds: bool,
    /// Largest message, octets.
    pub message_bytes_max: u64,
}

/// The conversation.
pub struct Session {
    config: Config,
    state: State,
    phase: Phase,
    /// Refused commands before login.
    bad_commands: u32,
    /// Extensions that the client has switched on.
    enabled: Enabled,
    /// Octets of the unfinished line already looked at.
    scanned: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotAuthenticated,
    Authenticated,
    Selected { read_only: bool },
}

impl State {
    fn bit(self) -> u8 {
        match self {
            State::NotAuthenticated => states::NOT_AUTHENTICATED,
            State::Authenticated => states::AUTHENTICATED,
            State::Selected { .. } => states::SELECTED,
        }
    }
}

/// A tag that was checked.
type Tag = Box<[u8]>;

enum Phase {
    /// Between commands, or in the first line of one.
    Line,
    /// In a command with literals.
    Gather(Box<Gather>),
    /// Skipping a refused command.
    Drain(Box<Drain>),
    /// AUTHENTICATE waits for its response.
    Challenge(Box<(Tag, Exchange)>),
    /// After STARTTLS: nothing is heard until TLS is in force.
    Handshake,
    /// An ask is out.
    Waiting(Box<Pending>),
    /// A message of APPEND, and what stands after it.
    Message(Box<Receiving>),
    /// IDLE: whatever happens is told.
    Idle(Idle),
    /// Over.
    Closed,
}

/// A command that waits for its answer.
struct Pending {
    tag: Tag,
    name: &'static str,
    then: Then,
}

/// What its answer leads to.
enum Then {
    /// A tagged line.
    Complete,
    /// Logged in, if welcome.
    Enter,
    /// AUTHENTICATE goes on.
    Keys(Exchange),
    /// A mailbox is selected, or none.
    Select,
    /// None is selected, and this is said.
    Leave(Option<Refusal>),
    /// The message may come.
    Receive(Expected),
    /// IDLE goes on.
    Idle { silences: u8 },
    /// This is said.
    Refuse(Refusal),
    /// The rest of the line is skipped, then this is said.
    Skip(Refusal),
    /// This is said, and the literal that was announced is skipped if it comes all the same.
    RefuseLiteral(Refusal, Marker),
}

/// First octet of a TLS handshake record: never of a command (A045).
const TLS_HANDSHAKE: u8 = 0x16;
const LINE_ENDS: Refusal = Refusal::bad("Lines end with CRLF");
const LINE_TOO_LONG: Refusal = Refusal::too_big("Command line is too long");
const LITERAL_TOO_BIG: Refusal = Refusal::too_big("Literal is too large");

impl contract::Session for Session {
    type Ask = Ask;
    type Answer = Answer;

    /// A line of the largest length without its end is one octet shorter.
    const HOLD_BYTES_MAX: usize = limits::IMAP_LINE_BYTES_MAX + 2;

    fn step(&mut self, input: Input<'_, Answer>, out: &mut Out<Ask>) -> usize {
        match input {
            Input::Bytes(bytes) => return self.bytes(bytes, out),
            Input::Answer(answer) => self.answer(answer, out),
            // Words in the clear have no place in a handshake.
            Input::Timeout if matches!(self.phase, Phase::Handshake) => self.close(Turn::Abort, out),
            Input::Timeout => self.silence(out),
            Input::Eof => self.close(Turn::Close, out),
            Input::News => self.news(out),
            Input::Over if matches!(self.phase, Phase::Line | Phase::Idle(_) | Phase::Challenge(_)) => {
                self.bye("This session is ended, log in again", out);
            }
            Input::Over => {}
            Input::TlsReady { binds } => self.tls_ready(binds, out),
        }
        0
    }

    fn patience(&self) -> Patience {
        let idle = match (self.state, &self.phase) {
            (State::NotAuthenticated, _) => limits::LOGIN_IDLE_S,
            (_, Phase::Idle(_)) => limits::IMAP_STILL_S,
            (State::Authenticated | State::Selected { .. }, _) => limits::IMAP_IDLE_S,
        };
        let under_way =
            self.scanned > 0 || matches!(self.phase, Phase::Gather(_) | Phase::Drain(_) | Phase::Message(_));
        let rate_min_bytes_s = if under_way { limits::DATA_RATE_MIN_BYTES_S } else { 0 };
        Patience { idle: Duration::from_secs(idle), rate_min_bytes_s }
    }

    fn wants_news(&self) -> bool {
        matches!(self.phase, Phase::Idle(_))
    }
}

impl Session {
    /// Opens a conversation and writes its greeting.
    #[must_use]
    pub fn open(config: Config, out: &mut Out<Ask>) -> Session {
        let session = Session {
            config,
            state: State::NotAuthenticated,
            phase: Phase::Line,
            bad_commands: 0,
            enabled: Enabled::default(),
            scanned: 0,
        };
        out.say("* OK [");
        session.say_capabilities(out);
        out.say("] Ringpost ready\r\n");
        session
    }

    fn bytes(&mut self, bytes: &[u8], out: &mut Out<Ask>) -> usize {
        match &mut self.phase {
            Phase::Line => self.first_line(bytes, out),
            Phase::Gather(_) => self.gather(bytes, out),
            Phase::Drain(_) => self.drain(bytes, out),
            Phase::Challenge(_) => self.challenge_response(bytes, out),
            Phase::Message(_) => self.message(bytes, out),
            // What came in the clear behind STARTTLS was perhaps written by somebody else (A109). Our OK was not given then.
            Phase::Handshake => {
                self.bye("Octets between STARTTLS and its answer", out);
                bytes.len()
            }
            Phase::Idle(_) => self.idle(bytes, out),
            Phase::Waiting(_) => 0,
            Phase::Closed => bytes.len(),
        }
    }

    fn line_bytes_max(&self) -> usize {
        match self.state {
            State::NotAuthenticated => limits::IMAP_LINE_BYTES_MAX_BEFORE_LOGIN,
            State::Authenticated | State::Selected { .. } => limits::IMAP_LINE_BYTES_MAX,
        }
    }

    fn first_line(&mut self, bytes: &[u8], out: &mut Out<Ask>) -> usize {
        if bytes.first() == Some(&TLS_HANDSHAKE) {
            self.close(Turn::Abort, out); // A045
            return bytes.len();
        }
        let max = self.line_bytes_max();
        let len = match frame::line(bytes, &mut self.scanned, max) {
            Line::More => return 0,
            Line::Whole(len) => len,
            Line::BareLf => return self.skip(table::tag(bytes_of_line(bytes)), LINE_ENDS, bytes, out),
            Line::TooLong => return self.skip(table::tag(bytes), LINE_TOO_LONG, bytes, out),
        };
        let text = &bytes[..len];
        let marker = frame::marker(text);
        match (self.admitted(text), marker) {
            (Ok(head), None) => self.execute(head, text, out),
            (Ok(head), Some(marker)) => {
                self.literal(Box::new(Gather::begin(head, text)), marker, out);
            }
            (Err((tag, refusal)), None) => self.refuse(tag, refusal, out),
            (Err((tag, refusal)), Some(marker)) => self.refuse_literal(tag.map(Tag::from), refusal, marker, out),
        }
        len + 2
    }

    /// Reads the head of a command and says whether it may be given now.
    fn admitted<'a>(&self, text: &'a [u8]) -> Result<Head<'a>, (Option<&'a [u8]>, Refusal)> {
        let head = table::head(text)?;
        let refusal = if head.row.states & self.state.bit() == 0 {
            // A112
            Refusal::bad(match self.state {
                State::NotAuthenticated => "Log in first",
                _ if head.row.states == states::NOT_AUTHENTICATED => "Already logged in",
                _ => "Select a mailbox first",
            })
        } else if head.row.special == Special::Secret && !self.login_possible() {
            Refusal::PRIVACY
        } else if head.row.special == Special::Writes && self.state == (State::Selected { read_only: true }) {
            No::ReadOnly.into()
        } else {
            return Ok(head);
        };
        Err((Some(head.tag), refusal))
    }

    /// Carries out a command that is whole.
    fn execute(&mut self, head: Head<'_>, text: &[u8], out: &mut Out<Ask>) {
        let mut cursor = Cursor::new(text, head.args_at);
        let command = (head.row.parse)(&mut cursor).and_then(|command| cursor.end().map(|()| command));
        let name = head.row.name;
        match command {
            // A mailbox that cannot be is one that could not be selected (RFC 9051 §6.3.2).
            Err(refusal)
                if refusal.is_no()
                    && head.row.special == Special::Leaves
                    && matches!(self.state, State::Selected { .. }) =>
            {
                response::closed(&mut out.reply);
                self.wait(head.tag, name, Then::Leave(Some(refusal)), Ask::Close { expunge: false }, out);
            }
            Err(refusal) => self.refuse(Some(head.tag), refusal, out),
            Ok(Command::Capability) => {
                out.say("* ");
                self.say_capabilities(out);
                out.say("\r\n");
                self.completed(head.tag, name, out);
            }
            Ok(Command::Logout) => {
                out.say("* BYE Logging out\r\n");
                self.completed(head.tag, name, out);
                self.close(Turn::Close, out);
            }
            Ok(Command::StartTls) => self.start_tls(head.tag, out),
            Ok(Command::Authenticate { mechanism, initial }) => {
                self.authenticate(head.tag, &mechanism, initial.as_deref().map(Vec::as_slice), out);
            }
            Ok(Command::Idle) => self.begin_idle(head.tag, out),
            Ok(Command::ListRoot { lsub }) => {
                response::list(&mut out.reply, lsub, &["\\Noselect"], "", &[]);
                self.completed(head.tag, name, out);
            }
            Ok(Command::Namespace) => {
                response::namespace(&mut out.reply);
                self.completed(head.tag, name, out);
            }
            Ok(Command::Enable(wanted)) => {
                let new = wanted.without(self.enabled);
                self.enabled.add(new);
                response::enabled(&mut out.reply, new);
                self.wait(head.tag, name, Then::Complete, Ask::Enable(new), out);
            }
            Ok(Command::Leave { expunge }) => {
                let expunge = expunge && self.state == State::Selected { read_only: false };
                self.wait(head.tag, name, Then::Leave(None), Ask::Close { expunge }, out);
            }
            Ok(Command::Ask(Ask::Poll)) if self.state == State::NotAuthenticated => {
                self.completed(head.tag, name, out);
            }
            Ok(Command::Ask(ask)) => {
                let then = match ask {
                    Ask::Login(_) => Then::Enter,
                    Ask::Select(_) => {
                        if matches!(self.state, State::Selected { .. }) {
                            response::closed(&mut out.reply);
                        }
                        Then::Select
                    }
                    _ => Then::Complete,
                };
                self.wait(head.tag, name, then, ask, out);
            }
        }
    }

    fn wait(&mut self, tag: &[u8], name: &'static str, then: Then, ask: Ask, out: &mut Out<Ask>) {
        out.ask(ask);
        self.phase = Phase::Waiting(Box::new(Pending { tag: tag.into(), name, then }));
    }

    fn answer(&mut self, answer: Answer, out: &mut Out<Ask>) {
        if !matches!(self.phase, Phase::Waiting(_)) {
            return; // Nobody asked.
        }
        let Phase::Waiting(pending) = std::mem::replace(&mut self.phase, Phase::Line) else {
            unreachable!("the phase was looked at")
        };
        let Pending { tag, name, then } = *pending;
        match (then, answer) {
            (Then::Enter, Answer::Welcome) => {
                self.state = State::Authenticated;
                out.say(&tag);
                out.say(" OK [");
                self.say_capabilities(out);
                out.say("] Logged in\r\n");
            }
            (Then::Select, Answer::Selected { read_only }) => {
                self.state = State::Selected { read_only };
                out.say(&tag);
                out.say(if read_only { " OK [READ-ONLY] " } else { " OK [READ-WRITE] " });
                out.say(name);
                out.say(" completed\r\n");
            }
            (Then::Leave(said), Answer::Done) => {
                self.state = State::Authenticated;
                match said {
                    Some(refusal) => self.refuse(Some(&tag), refusal, out),
                    None => self.completed(&tag, name, out),
                }
            }
            (Then::Receive(expected), Answer::Go) => self.receive(tag, &expected, out),
            (Then::Idle { silences }, Answer::Done) => self.idle_on(tag, silences),
            (Then::Keys(exchange), Answer::Keys(known)) => self.authenticated_by(&tag, exchange.keys(*known), out),
            (Then::Complete, answer) if completion::completed(&mut out.reply, &tag, name, &answer) => {}
            (Then::Refuse(refusal), _) => self.refuse(Some(&tag), refusal, out),
            (Then::Skip(refusal), _) => self.phase = Phase::Drain(Box::new(Drain::line(Some(tag), refusal))),
            (Then::RefuseLiteral(refusal, marker), _) => self.refuse_literal(Some(tag), refusal, marker, out),
            (then, answer) => {
                // An answer that does not fit its ask is our own fault, and the client is told so.
                let no = if let Answer::No(no) = answer { no } else { No::ServerBug };
                self.not_done(tag, then, no.into(), out);
            }
        }
    }

    fn not_done(&mut self, tag: Tag, then: Then, refusal: Refusal, out: &mut Out<Ask>) {
        match then {
            Then::Select if self.state != State::NotAuthenticated => self.state = State::Authenticated,
            Then::Receive(expected) => return self.refuse_literal(Some(tag), refusal, expected.marker(), out),
            // The mailbox of a CLOSE that could not expunge is selected still.
            _ => {}
        }
        self.refuse(Some(&tag), refusal, out);
    }

    /// Says a refusal to a command that is whole.
    fn refuse(&mut self, tag: Option<&[u8]>, refusal: Refusal, out: &mut Out<Ask>) {
        self.phase = Phase::Line;
        out.say(tag.unwrap_or(b"*"));
        out.say(" ");
        refusal.write(&mut out.reply);
        if self.state == State::NotAuthenticated {
            self.bad_commands += 1;
            if self.bad_commands >= limits::BAD_COMMANDS_BEFORE_LOGIN_MAX {
                self.bye("Too many bad commands", out); // A136
            }
        }
    }

    /// Refuses the line that begins `bytes`, and skips it.
    fn skip(&mut self, tag: Option<&[u8]>, refusal: Refusal, bytes: &[u8], out: &mut Out<Ask>) -> usize {
        self.scanned = 0;
        let drain = Drain::line(tag.map(Tag::from), if tag.is_none() { Refusal::bad("Invalid tag") } else { refusal });
        self.phase = Phase::Drain(Box::new(drain));
        self.drain(bytes, out)
    }

    fn drain(&mut self, bytes: &[u8], out: &mut Out<Ask>) -> usize {
        let Phase::Drain(drain) = &mut self.phase else { unreachable!("the phase was looked at") };
        let (used, drained) = drain.take(bytes);
        match drained {
            Drained::More => {}
            Drained::End => {
                let Phase::Drain(drain) = std::mem::replace(&mut self.phase, Phase::Line) else {
                    unreachable!("the phase was looked at")
                };
                self.refuse(drain.tag.as_deref(), drain.refusal, out);
            }
            Drained::TooMuch => {
                let (tag, refusal) = (drain.tag.take(), drain.refusal);
                self.refuse(tag.as_deref(), refusal, out);
                if !matches!(self.phase, Phase::Closed) {
                    self.bye("Too much to skip", out);
                }
            }
        }
        used
    }

    fn completed(&self, tag: &[u8], name: &str, out: &mut Out<Ask>) {
        assert!(completion::completed(&mut out.reply, tag, name, &Answer::Done), "what is done can be said");
    }

    fn say_capabilities(&self, out: &mut Out<Ask>) {
        let logged_in = self.state != State::NotAuthenticated;
        capability::write(&mut out.reply, logged_in, self.offer(), self.config.privacy == Privacy::Offered);
    }

    fn bye(&mut self, text: &str, out: &mut Out<Ask>) {
        response::bye(&mut out.reply, text);
        self.close(Turn::Close, out);
    }

    fn close(&mut self, turn: Turn, out: &mut Out<Ask>) {
        self.phase = Phase::Closed;
        out.turn = Some(turn);
    }
}

fn bytes_of_line(bytes: &[u8]) -> &[u8] {
    memchr::memchr(b'\n', bytes).map_or(bytes, |at| &bytes[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small_and_may_cross_threads() {
        fn crosses<T: Send>() {}
        crosses::<Session>();
        crosses::<Ask>();
        crosses::<Answer>();
        assert!(size_of::<Session>() <= 64, "{} octets", size_of::<Session>());
    }
}
