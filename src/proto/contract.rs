//! The session contract: what every protocol of this house promises to the loop that drives it.
//!
//! A session is a value. The driver feeds it one [`Input`] at a time and takes from [`Out`] the reply
//! bytes, the pieces of a message body, at most one ask, and whether the conversation is over.
//!
//! ```text
//!   Bytes ──► step ──► reply bytes ─────────────► peer
//!                 ├──► body pieces (ranges) ────► the message being received
//!                 └──► ask ──► serve ──► Answer ─► step
//! ```
//!
//! Rules, each held by a test over all sessions (`tests/contract.rs`):
//!
//! 1. **Cut anywhere.** The same bytes in any pieces give the same replies, asks and bodies.
//! 2. **Bounded.** A session never leaves [`Session::HOLD_BYTES_MAX`] or more bytes of one input unused,
//!    and what it keeps inside is bounded too.
//! 3. **Deaf until answered.** While an ask is out, `Bytes` are not used: `step` returns 0 and writes nothing.
//! 4. **STARTTLS wall.** Bytes that came before the handshake close the connection and are never executed.
//! 5. **Never panics**, whatever the bytes, whatever the order of inputs.

use std::ops::Range;
use std::time::Duration;

use smallvec::SmallVec;

/// One thing that happened to a conversation.
#[derive(Debug)]
pub enum Input<'a, Answer> {
    /// Everything received and not yet used, from its first byte. Never empty.
    Bytes(&'a [u8]),
    /// What the world says to the ask that is out.
    Answer(Answer),
    /// The TLS handshake that [`Turn::StartTls`] began is complete.
    TlsReady {
        /// This TLS exports what a login can be bound to (RFC 9266).
        binds: bool,
    },
    /// Something happened elsewhere that this conversation may want told. Only while [`Session::wants_news`].
    News,
    /// We want this conversation to end: between two commands it says its farewell and closes, elsewhere it does not hear.
    Over,
    /// The peer was silent longer, or sent more slowly, than [`Session::patience`] allows. The conversation is over, unless it
    /// [wants news](Session::wants_news) and has not said otherwise.
    Timeout,
    /// The peer will send no more.
    Eof,
}

/// A piece of the message body, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes of the input just given to `step`.
    Input(Range<usize>),
    /// Bytes that the input lacks or spelt otherwise, such as the CR of a lone LF.
    Text(&'static [u8]),
}

/// The pieces of one step. Few have room in every connection's task; a letter with many lone LFs grows it once.
pub type Pieces = SmallVec<[Piece; 2]>;

/// What becomes of the connection once the reply is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Flush the reply, then a handshake on the same socket; bytes already here close it instead.
    StartTls,
    /// Flush the reply, then close in order.
    Close,
    /// Reset at once; nothing more is written.
    Abort,
}

/// What one step leaves behind. The driver empties it between steps and keeps its buffers.
#[derive(Debug)]
pub struct Out<Ask> {
    /// Bytes for the peer. Appended to, never read by the session.
    pub reply: Vec<u8>,
    /// Pieces of the body being received, as ranges of this step's input.
    pub body: Pieces,
    /// At most one. Nothing more is used of the input until it is answered.
    pub ask: Option<Ask>,
    /// Set once; after `Close` and `Abort` the session is not stepped again.
    pub turn: Option<Turn>,
}

impl<Ask> Default for Out<Ask> {
    fn default() -> Self {
        Out { reply: Vec::new(), body: SmallVec::new(), ask: None, turn: None }
    }
}

impl<Ask> Out<Ask> {
    /// Appends reply bytes.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.reply.extend_from_slice(bytes.as_ref());
    }

    /// Leaves an ask. Two asks in one step are our own fault.
    pub fn ask(&mut self, ask: Ask) {
        assert!(self.ask.is_none(), "one step leaves at most one ask");
        self.ask = Some(ask);
    }
}

/// What TLS is to a conversation when it begins. After [`Input::TlsReady`] it is [`Privacy::Tls`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// Plain text, and no handshake can be had.
    None,
    /// Plain text; STARTTLS is offered.
    Offered,
    /// TLS is in force.
    Tls,
}

/// How long the driver waits for this peer in its present phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Silence allowed between two receives.
    pub idle: Duration,
    /// Least mean rate since the phase began, octets per second, enforced after
    /// [`limits::DATA_RATE_GRACE_S`](crate::limits::DATA_RATE_GRACE_S). Zero: none.
    pub rate_min_bytes_s: u64,
}

/// A conversation as a value.
pub trait Session {
    /// What the session needs from the world before it can go on.
    type Ask;
    /// What the world says back.
    type Answer;

    /// For an input of at least this many bytes `step` always uses some. Octets.
    const HOLD_BYTES_MAX: usize;

    /// Takes one input, leaves reply bytes, body pieces and at most one ask in `out`, and returns how many
    /// input bytes it used. It may use less than it was given (one command a step is usual): the driver
    /// calls again with the rest while it makes progress. Returning 0 for `Bytes` without an ask out means
    /// "not a whole command yet".
    fn step(&mut self, input: Input<'_, Self::Answer>, out: &mut Out<Self::Ask>) -> usize;

    /// How long to wait for the peer now.
    fn patience(&self) -> Patience;

    /// True while the conversation waits for what happens elsewhere as well as for the peer (IDLE, RFC 2177): then the
    /// driver steps it with [`Input::News`] when the door has some.
    fn wants_news(&self) -> bool {
        false
    }
}
