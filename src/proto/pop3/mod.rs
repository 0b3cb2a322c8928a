//! POP3 as a value (RFC 1939, RFC 2449, RFC 3206; STLS of RFC 2595, AUTH of RFC 5034).
//!
//! ```text
//!   AUTHORIZATION ── PASS, AUTH ── ask Login ──► TRANSACTION ── QUIT ── ask Delete ──► over
//!    ▲   │ QUIT, silence, 20 errors                   │ silence, connection lost: nothing is deleted (A139)
//!    │   ├──► over                                    └──► over
//!    │   └ STLS ──► handshake ── bytes in the clear ──► over, whatever they say (A142)
//!    └── TLS is ready ┘   and the name given before is forgotten
//! ```
//!
//! - The session has the whole of the protocol: the maildrop's snapshot, its numbers and marks, dot-stuffing. The door only verifies
//!   a password, reads octets of a message, waits until there is room for more reply, and removes messages.
//! - Long answers are made piece by piece, at most [`PIECE_BYTES`] of reply a step, with [`Ask::Room`] or [`Ask::Read`] between them:
//!   a peer that does not read stops the making (A148).
//! - Messages are removed only at QUIT, all or none (A140), and `+OK` means that this is durable.
//! - *Liberty*: a line may end in LF alone. *Liberty*: RETR leaves the `\Seen` flag alone.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::limits;
use crate::proto::contract::{self, Input, Out, Patience, Privacy, Turn};
use crate::proto::sasl::scram::Known;
use crate::proto::sasl::{self, By, Exchange, Login};

mod command;
mod login;
mod maildrop;
mod stuff;
#[cfg(test)]
mod tests;

use command::{Bad, CAPABILITIES, Command, Offered, Verb, When};
pub use maildrop::Item;
use maildrop::Maildrop;
use stuff::Stuffer;

/// Reply octets made in one step of a long answer, roughly. Then [`Ask::Room`].
pub const PIECE_BYTES: usize = 32 << 10;
/// Octets of a message asked for at once.
pub const READ_BYTES: usize = 256 << 10;

/// First octet of a TLS handshake record: never of a command (A045).
const TLS_HANDSHAKE: u8 = 0x16;
const NO_PASSWORD: &[u8] = b"-ERR passwords are not accepted without TLS\r\n";
const WRONG: &[u8] = b"-ERR [AUTH] wrong name or password\r\n"; // RFC 3206 §5
const LATER: &[u8] = b"-ERR [SYS/TEMP] try again later\r\n";
const NO_SUCH: &[u8] = b"-ERR no such message\r\n";

/// What the session is told when it begins.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name in the greeting.
    pub hostname: String,
    /// What TLS is to the connection when the conversation begins.
    pub privacy: Privacy,
    /// True if this peer may give a password without TLS (A143).
    pub plaintext_auth_allowed: bool,
    /// Every account has keys: SCRAM is offered.
    pub keys: bool,
    /// Mechanisms that may be offered.
    pub allowed: sasl::Allowed,
    /// The TLS that is in force when the conversation begins can be bound to.
    pub binds: bool,
}

/// What the session needs. `Debug` shows no password.
pub enum Ask {
    /// Verify these, and list the maildrop. Answered by `LoggedIn` or `LoginFailed`.
    Login(Login),
    /// What is known of this name, which SCRAM needs (RFC 5802)? Answered by `Keys`, of nobody if need be, or `LoginFailed`.
    Keys(Vec<u8>),
    /// Wait until the reply made so far is no longer too much. Answered by `Room`.
    Room,
    /// Octets of a message, at most `len`; none only at its end. Answered by `Octets`, `Gone` or `Unreadable`.
    Read {
        /// Its UID.
        uid: u32,
        /// From here.
        offset: u64,
        /// So many.
        len: usize,
    },
    /// Remove these messages for good, all or none. Answered by `Deleted`.
    Delete {
        /// UIDs, rising. At least one.
        uids: Vec<u32>,
    },
}

/// What the world says.
#[derive(Debug)]
pub enum Answer {
    /// To `Login`.
    LoggedIn {
        /// UIDVALIDITY of the maildrop.
        uidvalidity: u32,
        /// Its messages, UIDs rising.
        items: Vec<Item>,
        /// Unique ids that another server gave to some of them, by rising UID.
        uidls: Vec<(u32, Box<str>)>,
    },
    /// To `Login` and `Keys`.
    LoginFailed(LoginFailed),
    /// To `Keys`.
    Keys(Box<Known>),
    /// To `Room`.
    Room,
    /// To `Read`.
    Octets(Vec<u8>),
    /// To `Read`: another session removed it.
    Gone,
    /// To `Read`: it is there and cannot be read.
    Unreadable,
    /// To `Delete`.
    Deleted(Deletion),
}

/// Why nobody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailed {
    /// Wrong name or password.
    Wrong,
    /// Not now.
    Later,
}

/// What became of the messages marked deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Removed, durably.
    Done,
    /// All of them are still there.
    NotDone,
}

/// One POP3 conversation.
pub struct Session {
    /// What TLS is to the connection now.
    privacy: Privacy,
    plaintext_auth_allowed: bool,
    keys: bool,
    allowed: sasl::Allowed,
    /// The TLS in force can be bound to.
    binds: bool,
    /// Errors before login.
    errors: u32,
    /// Octets of an overlong line thrown away so far; `None` between lines.
    junk: Option<usize>,
    state: State,
}

enum State {
    Authorization {
        name: Option<Box<[u8]>>,
    },
    /// AUTH waits for a response.
    Response(Exchange),
    /// AUTH waits for keys.
    Keys(Exchange),
    LoggingIn,
    /// Nothing is heard until TLS is in force.
    Handshake,
    Transaction(Box<Maildrop>),
    Listing(Box<Maildrop>, What, u64),
    Sending(Box<Sending>),
    Updating,
    Over,
}

#[derive(Clone, Copy)]
enum What {
    Sizes,
    UniqueIds,
}

/// A message on its way to the peer.
struct Sending {
    drop: Box<Maildrop>,
    item: Item,
    stuffer: Stuffer,
    /// Octets of the message that were read.
    read: u64,
    /// The last of them, and how many of these are sent.
    block: Vec<u8>,
    sent: usize,
}

impl Session {
    /// Begins a conversation: the greeting is in `out`.
    #[must_use]
    pub fn open(config: &Config, out: &mut Out<Ask>) -> Session {
        // No timestamp in angle brackets: APOP is not offered (A145).
        out.say("+OK ");
        out.say(&config.hostname);
        out.say(" Ringpost POP3\r\n");
        Session {
            privacy: config.privacy,
            plaintext_auth_allowed: config.plaintext_auth_allowed,
            keys: config.keys,
            allowed: config.allowed,
            binds: config.binds,
            errors: 0,
            junk: None,
            state: State::Authorization { name: None },
        }
    }

    fn bytes(&mut self, bytes: &[u8], out: &mut Out<Ask>) -> usize {
        match self.state {
            State::Authorization { .. } | State::Response(_) | State::Transaction(_) => {}
            State::Over => return bytes.len(),
            // What came in the clear behind STLS was perhaps written by somebody else (A142). Our answer was not given then.
            State::Handshake => {
                out.say("-ERR octets between STLS and its answer, closing\r\n");
                self.close(out);
                return bytes.len();
            }
            // Deaf until answered.
            _ => return 0,
        }
        if self.junk.is_none() && bytes.first() == Some(&TLS_HANDSHAKE) {
            self.abort(out);
            return bytes.len();
        }
        let newline = memchr::memchr(b'\n', bytes);
        let whole = newline.map(|at| at + 1);
        if let Some(junk) = self.junk {
            let thrown = whole.unwrap_or(bytes.len());
            self.throw_away(junk + thrown, newline.is_some(), out);
            return thrown;
        }
        let line = newline.map(|at| bytes[..at].strip_suffix(b"\r").unwrap_or(&bytes[..at]));
        match (line, whole) {
            (Some(line), Some(used)) if line.len() <= self.line_bytes_max() => {
                self.line(line, out);
                used
            }
            (None, _) if bytes.len() < self.line_bytes_max() + 2 => 0,
            _ => {
                let thrown = whole.unwrap_or(bytes.len());
                self.throw_away(thrown, newline.is_some(), out);
                thrown
            }
        }
    }

    /// A response is longer than a command may be (RFC 5034 §4).
    fn line_bytes_max(&self) -> usize {
        match self.state {
            State::Response(_) => limits::AUTH_LINE_BYTES_MAX,
            _ => limits::POP3_LINE_BYTES_MAX,
        }
    }

    /// An overlong line (A137): one error at its end, or at [`limits::JUNK_BYTES_MAX`] the end of the conversation.
    fn throw_away(&mut self, junk: usize, ended: bool, out: &mut Out<Ask>) {
        if matches!(self.state, State::Response(_)) {
            self.state = State::Authorization { name: None };
        }
        if junk > limits::JUNK_BYTES_MAX {
            out.say("-ERR line too long\r\n");
            self.close(out);
        } else if ended {
            self.junk = None;
            self.error(b"-ERR line too long\r\n", out);
        } else {
            self.junk = Some(junk);
        }
    }

    fn line(&mut self, line: &[u8], out: &mut Out<Ask>) {
        if matches!(self.state, State::Response(_)) {
            return self.response(line, out);
        }
        if line.iter().any(u8::is_ascii_control) {
            return self.error(Bad::Arguments.text(), out);
        }
        let command = match command::parse(line) {
            Ok(command) => command,
            Err(bad) => return self.error(bad.text(), out),
        };
        match (&mut self.state, command.when) {
            (State::Authorization { .. }, When::Transaction) => self.error(b"-ERR log in first\r\n", out),
            (State::Authorization { .. }, _) => self.authorization(&command, out),
            (State::Transaction(_), When::Authorization) => self.error(b"-ERR already logged in\r\n", out),
            (State::Transaction(_), _) => self.transaction(&command, out),
            _ => {}
        }
    }

    /// Says what is wrong; before login the twentieth time is the last.
    fn error(&mut self, text: &[u8], out: &mut Out<Ask>) {
        if !matches!(self.state, State::Authorization { .. }) {
            return out.say(text);
        }
        self.errors += 1;
        if self.errors < limits::BAD_COMMANDS_BEFORE_LOGIN_MAX {
            return out.say(text);
        }
        out.say("-ERR too many errors, closing\r\n");
        self.close(out);
    }

    fn close(&mut self, out: &mut Out<Ask>) {
        self.state = State::Over;
        out.turn = Some(Turn::Close);
    }

    fn authorization(&mut self, command: &Command<'_>, out: &mut Out<Ask>) {
        let password_allowed = self.password_allowed();
        let State::Authorization { name } = &mut self.state else { return };
        match command.verb {
            Verb::Capa => self.capabilities(out),
            Verb::Stls => self.stls(out),
            Verb::Auth if command.text.is_empty() => self.mechanisms(out),
            Verb::Auth => self.auth(command.text, out),
            Verb::User if !password_allowed => self.error(NO_PASSWORD, out),
            Verb::User => {
                // The same for every name (A144).
                *name = Some(command.text.into());
                out.say("+OK\r\n");
            }
            Verb::Pass => match name.take() {
                None => self.error(b"-ERR say USER first\r\n", out),
                Some(name) => {
                    let password = Zeroizing::new(command.text.to_vec());
                    self.log_in(Login::with_password(name.into(), By::Command, password), out);
                }
            },
            _ => self.goodbye(out),
        }
    }

    fn transaction(&mut self, command: &Command<'_>, out: &mut Out<Ask>) {
        let State::Transaction(drop) = &mut self.state else { return };
        let found = command.first.map(|n| (n, drop.get(n)));
        match (command.verb, found) {
            (Verb::Capa, _) => self.capabilities(out),
            (Verb::Noop, _) => out.say("+OK\r\n"),
            (Verb::Stat, _) => {
                let (count, octets) = drop.stat();
                out.say(format!("+OK {count} {octets}\r\n"));
            }
            (Verb::Rset, _) => {
                drop.reset();
                out.say("+OK\r\n");
            }
            (Verb::List, Some((n, Some(item)))) => out.say(format!("+OK {n} {}\r\n", item.size)),
            (Verb::Uidl, Some((n, Some(item)))) => out.say(format!("+OK {n} {}\r\n", drop.unique_id(item))),
            (Verb::List, None) => self.list(What::Sizes, out),
            (Verb::Uidl, None) => self.list(What::UniqueIds, out),
            (Verb::Dele, Some((n, Some(_)))) => {
                drop.delete(n);
                out.say("+OK\r\n");
            }
            (Verb::Retr | Verb::Top, Some((_, Some(item)))) => self.send(item, command.second, out),
            (Verb::Quit, _) => {
                let uids = drop.deleted();
                if uids.is_empty() {
                    return self.goodbye(out);
                }
                self.state = State::Updating;
                out.ask(Ask::Delete { uids });
            }
            _ => out.say(NO_SUCH),
        }
    }

    fn capabilities(&self, out: &mut Out<Ask>) {
        out.say("+OK\r\n");
        for (name, when) in CAPABILITIES {
            let offered = match when {
                Offered::Always => true,
                Offered::Password | Offered::Sasl => self.password_allowed(),
                Offered::Stls => self.privacy == Privacy::Offered && matches!(self.state, State::Authorization { .. }),
            };
            if offered {
                out.say(name);
                if matches!(when, Offered::Sasl) {
                    sasl::write_offered(&mut out.reply, self.offer(), " ");
                }
                out.say("\r\n");
            }
        }
        out.say(".\r\n");
    }

    fn goodbye(&mut self, out: &mut Out<Ask>) {
        out.say("+OK\r\n");
        self.close(out);
    }

    fn list(&mut self, what: What, out: &mut Out<Ask>) {
        let State::Transaction(drop) = self.take() else { return };
        let (count, octets) = drop.stat();
        out.say(format!("+OK {count} {octets}\r\n"));
        self.list_on(drop, what, 1, out);
    }

    /// The next piece of a listing.
    fn list_on(&mut self, drop: Box<Maildrop>, what: What, mut number: u64, out: &mut Out<Ask>) {
        let full = out.reply.len() + PIECE_BYTES;
        while let Some((n, item)) = drop.next(number) {
            if out.reply.len() >= full {
                self.state = State::Listing(drop, what, n);
                return out.ask(Ask::Room);
            }
            match what {
                What::Sizes => out.say(format!("{n} {}\r\n", item.size)),
                What::UniqueIds => out.say(format!("{n} {}\r\n", drop.unique_id(item))),
            }
            number = n + 1;
        }
        out.say(".\r\n");
        self.state = State::Transaction(drop);
    }

    fn send(&mut self, item: Item, lines: Option<u64>, out: &mut Out<Ask>) {
        let State::Transaction(drop) = self.take() else { return };
        let stuffer = Stuffer::new(lines);
        let sending = Sending { drop, item, stuffer, read: 0, block: Vec::new(), sent: 0 };
        out.ask(sending.next_read());
        self.state = State::Sending(Box::new(sending));
    }

    /// Octets arrived: the first make the answer `+OK`.
    fn octets(&mut self, mut sending: Box<Sending>, block: Vec<u8>, out: &mut Out<Ask>) {
        let size = u64::from(sending.item.size);
        if sending.read == 0 {
            out.say(format!("+OK {size} octets\r\n"));
        }
        sending.read += block.len() as u64;
        if sending.read > size || (block.is_empty() && sending.read < size) {
            return self.abort(out);
        }
        sending.block = block;
        sending.sent = 0;
        self.send_on(sending, out);
    }

    /// The next piece of a message.
    fn send_on(&mut self, mut sending: Box<Sending>, out: &mut Out<Ask>) {
        let Sending { stuffer, block, sent, .. } = &mut *sending;
        let rest = &block[*sent..];
        let piece = &rest[..rest.len().min(PIECE_BYTES)];
        *sent += piece.len();
        let enough = stuffer.push(piece, &mut out.reply);
        if enough || (sending.sent == sending.block.len() && sending.read == u64::from(sending.item.size)) {
            sending.stuffer.end(&mut out.reply);
            self.state = State::Transaction(sending.drop);
            return;
        }
        if sending.sent < sending.block.len() {
            out.ask(Ask::Room);
        } else {
            sending.block = Vec::new();
            sending.sent = 0;
            out.ask(sending.next_read());
        }
        self.state = State::Sending(sending);
    }

    /// The answer that is out, or our own confusion: the connection ends without another word, so that half a message
    /// is never taken for a whole one.
    fn abort(&mut self, out: &mut Out<Ask>) {
        self.state = State::Over;
        out.turn = Some(Turn::Abort);
    }

    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Over)
    }

    fn answer(&mut self, answer: Answer, out: &mut Out<Ask>) {
        match (self.take(), answer) {
            (State::LoggingIn, Answer::LoggedIn { uidvalidity, items, uidls }) => {
                out.say("+OK logged in\r\n");
                self.state = State::Transaction(Box::new(Maildrop::new(uidvalidity, items, uidls)));
            }
            (State::LoggingIn, Answer::LoginFailed(why)) => {
                self.state = State::Authorization { name: None };
                match why {
                    // RFC 3206 §4
                    LoginFailed::Wrong => self.error(WRONG, out),
                    LoginFailed::Later => self.error(LATER, out),
                }
            }
            (State::Keys(_), Answer::LoginFailed(_)) => {
                self.state = State::Authorization { name: None };
                self.error(LATER, out);
            }
            (State::Keys(exchange), Answer::Keys(known)) => self.go_on(exchange.keys(*known), out),
            (State::Listing(drop, what, number), Answer::Room) => self.list_on(drop, what, number, out),
            (State::Sending(sending), Answer::Room) => self.send_on(sending, out),
            (State::Sending(sending), Answer::Octets(block)) => self.octets(sending, block, out),
            (State::Sending(sending), Answer::Gone) if sending.read == 0 => {
                self.state = State::Transaction(sending.drop);
                out.say("-ERR another session removed this message\r\n");
            }
            (State::Sending(sending), Answer::Unreadable) if sending.read == 0 => {
                self.state = State::Transaction(sending.drop);
                out.say("-ERR [SYS/TEMP] this message cannot be read now\r\n");
            }
            (State::Updating, Answer::Deleted(deletion)) => {
                match deletion {
                    Deletion::Done => out.say("+OK\r\n"),
                    Deletion::NotDone => out.say("-ERR [SYS/TEMP] no message was removed\r\n"),
                }
                self.close(out);
            }
            _ => self.abort(out),
        }
    }
}

impl Sending {
    fn next_read(&self) -> Ask {
        Ask::Read { uid: self.item.uid, offset: self.read, len: READ_BYTES }
    }
}

impl contract::Session for Session {
    type Ask = Ask;
    type Answer = Answer;

    const HOLD_BYTES_MAX: usize = limits::AUTH_LINE_BYTES_MAX + 2;

    fn step(&mut self, input: Input<'_, Answer>, out: &mut Out<Ask>) -> usize {
        match input {
            Input::Bytes(bytes) => return self.bytes(bytes, out),
            Input::Answer(answer) => self.answer(answer, out),
            Input::TlsReady { binds } => self.tls_ready(binds, out),
            // Nothing in the clear, and nothing in order, belongs into a handshake.
            Input::Timeout if matches!(self.state, State::Handshake) => self.abort(out),
            // RFC 1939 §3: nothing is said and nothing deleted.
            Input::Timeout | Input::Eof => self.close(out),
            Input::News => {}
            Input::Over
                if matches!(self.state, State::Authorization { .. } | State::Response(_) | State::Transaction(_)) =>
            {
                // RFC 2449 §8.1.1. Nothing is deleted (A139).
                out.say("-ERR [SYS/TEMP] this session is ended, log in again\r\n");
                self.close(out);
            }
            Input::Over => {}
        }
        0
    }

    fn patience(&self) -> Patience {
        let idle_s = match self.state {
            State::Authorization { .. } | State::Response(_) | State::Keys(_) | State::LoggingIn | State::Handshake => {
                limits::LOGIN_IDLE_S
            }
            _ => limits::POP3_IDLE_S,
        };
        Patience { idle: Duration::from_secs(idle_s), rate_min_bytes_s: 0 }
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ask::Login(login) => write!(f, "{login:?}"),
            Ask::Keys(name) => write!(f, "Keys {{ name: \"{}\" }}", name.escape_ascii()),
            Ask::Room => f.write_str("Room"),
            Ask::Read { uid, offset, len } => write!(f, "Read {{ uid: {uid}, offset: {offset}, len: {len} }}"),
            Ask::Delete { uids } => write!(f, "Delete {{ uids: {uids:?} }}"),
        }
    }
}

const _: () = {
    assert!(PIECE_BYTES < limits::OUT_BYTES_MAX);
    // Sizes of a snapshot are kept in 32 bits.
    assert!(limits::MESSAGE_BYTES_MAX < u32::MAX as u64 / 2);
    const fn crosses_shards<T: Send>() {}
    crosses_shards::<Session>();
};
