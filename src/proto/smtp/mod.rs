//! Receiving mail: the server side of SMTP as a value (RFC 5321), from other hosts and from our own users (RFC 6409).
//!
//! [`Session`] knows the conversation: commands, order, limits, the shape of a message on the wire. It does not
//! know who may send or who lives here: that it *asks*, one question at a time, and what it is told decides the
//! reply.
//!
//! ```text
//!   open ─► 220          ┌────────── Mail ───────────┐          the world (serve)
//!   EHLO ─► 250          │ Rcpt, once per recipient  │  ◄────►  answers Yes, No(reply), Queued, Close
//!   STARTTLS, AUTH ──────┤ Login                     │
//!   MAIL  RCPT…  DATA ───┤ Data                      │
//!   or BDAT…, the body ──┤ Done { octets }           │
//!   QUIT ─► 221          └ Reset: forget all that ───┘
//! ```
//!
//! Promises:
//! - **One transaction at a time.** After `Mail` was answered `Yes` the world holds a transaction. It ends with the
//!   answer to `Done`, with `Reset`, or with the connection; every other way to drop it asks `Reset` first.
//! - **`Done` comes only for a whole, clean message**: terminated by CRLF.CRLF and nothing else, or the last of its chunks whole,
//!   without NUL, not over
//!   the size, canonical CRLF in its pieces. A message that is none of this is refused here, after `Reset`.
//! - **Nobody gives a password in the clear** unless the configuration says so, and where our own users hand in mail
//!   nothing is asked of the world before they have logged in (A013).
//! - Every reply is one of [`Word`]'s or the world's [`Reply`], written so that nothing can be injected.
//!
//! Files in reading order: `reply` (what is said), `command` (what is heard), `keyword` (what EHLO offers),
//! `param` (MAIL and RCPT parameters), `queued` (those that wait for the queue), `data` (the message on the wire), `session` (the
//! order of it all), `session/auth` (STARTTLS and AUTH), `session/chunks` (BDAT), `session/verdict`
//! (what is said of a message), `xclient` and `session/xclient` (a neighbour says whose connection this is).

use std::net::IpAddr;
use std::sync::Arc;

use crate::limits;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::proto::contract::Privacy;
use crate::proto::sasl::scram::Known;
use crate::proto::sasl::{self, Login};

mod command;
mod data;
mod keyword;
mod param;
mod queued;
mod reply;
mod session;
mod xclient;

pub use keyword::extensions;
pub use reply::{Reply, Word};
pub use session::Session;

/// What all sessions of a listener share.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our name in the greeting, in EHLO and in trace fields: a domain or an address literal.
    pub hostname: String,
    /// Text after the name in the greeting.
    pub banner: String,
    /// Largest message accepted, octets; said in SIZE (RFC 1870).
    pub message_bytes_max: u64,
    /// What becomes of a lone CR or LF in a message.
    pub bare_newline: BareNewline,
    /// What TLS is to the connection when the conversation begins.
    pub privacy: Privacy,
    /// Who is expected here.
    pub role: Role,
    /// This peer may give a password without TLS.
    pub plaintext_auth_allowed: bool,
    /// Every account has keys: SCRAM is offered.
    pub keys: bool,
    /// Mechanisms that may be offered.
    pub allowed: sasl::Allowed,
    /// The TLS that is in force when the conversation begins can be bound to.
    pub binds: bool,
    /// Nothing of a letter is heard before TLS (RFC 3207 §4). *Liberty*: that is for private doors; a public one that asks for it
    /// gets no mail from those who cannot.
    pub tls_required: bool,
    /// This peer may say whose connection it is (XCLIENT).
    pub xclient: bool,
    /// What is taken in may wait for another host, and is treated on the way as its sender asked.
    pub queue_honours: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            hostname: "localhost".to_owned(),
            banner: "ESMTP Ringpost".to_owned(),
            message_bytes_max: limits::MESSAGE_BYTES_MAX,
            bare_newline: BareNewline::Normalise,
            privacy: Privacy::None,
            role: Role::Mx,
            plaintext_auth_allowed: false,
            keys: false,
            allowed: sasl::Allowed::ALL,
            binds: false,
            tls_required: false,
            xclient: false,
            queue_honours: false,
        }
    }
}

/// Whose mail a listener takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// That of other hosts. AUTH is not known here.
    #[default]
    Mx,
    /// That of our own users, after AUTH (RFC 6409, RFC 4954).
    Submission,
    /// That which a neighbour hands over for good (RFC 2033). AUTH is not known here.
    Lmtp,
}

impl Role {
    /// Recipients of one message. More: 452 4.5.3.
    #[must_use]
    pub fn recipients_max(self) -> usize {
        match self {
            Role::Mx | Role::Submission => limits::RECIPIENTS_MAX,
            Role::Lmtp => limits::LMTP_RECIPIENTS_MAX,
        }
    }
}

/// What becomes of a lone CR or LF in a message. It never ends one (RFC 5321 §2.3.8, §4.1.1.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareNewline {
    /// Stored as CRLF: several large senders write lone LFs.
    #[default]
    Normalise,
    /// Refused at the real end of the message with 550 5.6.11.
    Reject,
}

/// How the peer introduced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helo {
    /// The name it gave, as given, octets above 127 and controls replaced by `?`. Believed by nobody.
    pub name: Box<str>,
    /// True after EHLO and LHLO, false after HELO.
    pub extended: bool,
}

/// What the session needs to know before it can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Who is this? Answers: `Yes`, `No`, `Close`. A permanent `No` counts as a refused login.
    Login(Login),
    /// What is known of this name, which SCRAM needs (RFC 5802)? Answers: `Keys`, of nobody if need be, `No`, `Close`.
    Keys(Vec<u8>),
    /// A neighbour that may says whose connection this is (XCLIENT); whoever had logged in has not any more. What is `None` stays.
    /// Answers: `Yes`, `No`, `Close`.
    Client {
        /// Where the client is.
        address: Option<IpAddr>,
        /// Its port.
        port: Option<u16>,
    },
    /// May this sender begin a transaction? Answers: `Yes`, `No`, `Close`.
    Mail {
        /// How the peer introduced itself.
        helo: Arc<Helo>,
        /// Where bounces go.
        sender: ReversePath,
        /// Declared size, octets, not above the maximum (RFC 1870). A claim, not a fact.
        size: Option<u64>,
        /// BODY=8BITMIME was declared (RFC 6152).
        eight_bit: bool,
        /// SMTPUTF8 was declared (RFC 6531 §3.4): addresses may hold octets above 127, header fields too.
        utf8: bool,
    },
    /// May mail go there? Answers: `Yes`, `No`, `Close`. The same recipient may be asked again; it counts as one.
    Rcpt {
        /// Where the letter goes.
        recipient: ForwardPath,
    },
    /// May the message come? Answers: `Yes` (354, then pieces), `No` (the transaction stays open; of a message in chunks `Reset`
    /// follows), `Close`.
    Data {
        /// For the trace field.
        helo: Arc<Helo>,
        /// TLS is in force.
        tls: bool,
        /// The peer has logged in.
        authenticated: bool,
        /// It comes in chunks (RFC 3030).
        chunked: bool,
    },
    /// The message is whole: all its pieces have been given. Answers: `Queued`, `No`, by LMTP `Each`, `Close`. The transaction is over.
    Done {
        /// Octets of all pieces together.
        octets: u64,
    },
    /// The transaction is dropped and nothing of it is kept. Answer: `Yes`.
    Reset,
}

/// What the world says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Yes,
    /// To `Keys`.
    Keys(Box<Known>),
    /// The message is durable under this letter id.
    Queued {
        /// Said to the peer and written into the trace field.
        id: String,
    },
    /// By LMTP: one reply for each RCPT that was answered `Yes`, in their order (RFC 2033 §4.2).
    Each(Vec<Reply>),
    /// Refused, now or for good. A 421 also closes the connection.
    No(Reply),
    /// Outcome unknown: the connection closes without a verdict.
    Close,
}
