//! APPEND's messages: one after the other, all or none (RFC 9051 §6.3.12, RFC 3502).
//!
//! ```text
//!   head {n} ─► AppendBegin ─ Go ─► octets ─┬─ CRLF ─► AppendDone
//!                           ▲               └─ head {n} ─► AppendMore ─ Go ─┐
//!                           └────────────────── octets ◄────────────────────┘
//!   anything wrong: AppendDrop, then the refusal; what the client still sends unasked is skipped
//! ```

use super::{LINE_ENDS, LINE_TOO_LONG, LITERAL_TOO_BIG, Phase, Session, Tag, Then};
use crate::limits;
use crate::proto::contract::Out;
use crate::proto::imap::ask::{Ask, No};
use crate::proto::imap::command::{Announced, Append};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::frame::{self, Line, Marker};
use crate::proto::imap::message::{Fate, Message};
use crate::proto::imap::parse::append;
use crate::proto::imap::refusal::Refusal;

/// A message on its way through.
pub(super) struct Receiving {
    tag: Tag,
    message: Message,
    /// Those of this command, with this one.
    messages: usize,
}

/// A message that may come once the world agrees.
pub(super) struct Expected {
    octets: u64,
    /// Octets that may be passed on of it.
    room: u64,
    messages: usize,
    sync: bool,
}

impl Expected {
    /// The marker it was announced with.
    pub(super) fn marker(&self) -> Marker {
        Marker { octets: Some(self.octets), sync: self.sync }
    }
}

impl Session {
    pub(super) fn begin_append(&mut self, tag: Tag, append: Append, marker: Marker, out: &mut Out<Ask>) {
        match expected(&append.message, marker, (self.config.message_bytes_max, self.config.message_bytes_max), 1) {
            Ok(expected) => self.wait(&tag, "APPEND", Then::Receive(expected), Ask::AppendBegin(append), out),
            Err(refusal) => self.refuse_literal(Some(tag), refusal, marker, out),
        }
    }

    /// The world agrees.
    pub(super) fn receive(&mut self, tag: Tag, expected: &Expected, out: &mut Out<Ask>) {
        if expected.sync {
            out.say("+ OK\r\n");
        }
        let message = Message::new(expected.octets, expected.room);
        self.phase = Phase::Message(Box::new(Receiving { tag, message, messages: expected.messages }));
    }

    pub(super) fn message(&mut self, bytes: &[u8], out: &mut Out<Ask>) -> usize {
        let Phase::Message(receiving) = &mut self.phase else { unreachable!("the phase was looked at") };
        let Some(fate) = receiving.message.fate() else {
            return receiving.message.take(bytes, &mut out.body);
        };
        // The first has all the room there is for one; a later one has what the others left of it.
        let no_room = if receiving.messages > 1 { No::Limit } else { No::TooBig };
        let refusal = match fate {
            Fate::Good => None,
            Fate::Nul => Some(Refusal::no("CANNOT", "NUL in the message")),
            Fate::TooBig => Some(no_room.into()),
        };
        let (used, then, ask) = match (bytes, refusal) {
            ([b'\r'], _) => return 0,
            ([b'\r', b'\n', ..], None) => (2, Then::Complete, Ask::AppendDone),
            ([b'\r', b'\n', ..], Some(refusal)) => (2, Then::Refuse(refusal), Ask::AppendDrop),
            ([b' ', ..], Some(refusal)) => (0, Then::Skip(refusal), Ask::AppendDrop),
            ([b' ', ..], None) => match self.next_head(bytes) {
                Some(head) => head,
                None => return 0,
            },
            _ => (0, Then::Skip(Refusal::bad("Line end expected after the message")), Ask::AppendDrop),
        };
        let Phase::Message(receiving) = std::mem::replace(&mut self.phase, Phase::Line) else {
            unreachable!("the phase was looked at")
        };
        self.wait(&receiving.tag, "APPEND", then, ask, out);
        used
    }

    /// What stands between two messages: octets used, and what it leads to. `None`: its end is not here yet.
    fn next_head(&mut self, bytes: &[u8]) -> Option<(usize, Then, Ask)> {
        let max = self.line_bytes_max();
        let len = match frame::line(bytes, &mut self.scanned, max) {
            Line::More => return None,
            Line::Whole(len) => len,
            Line::BareLf => return Some((0, Then::Skip(LINE_ENDS), Ask::AppendDrop)),
            Line::TooLong => return Some((0, Then::Skip(LINE_TOO_LONG), Ask::AppendDrop)),
        };
        let Phase::Message(receiving) = &self.phase else { unreachable!("the phase was looked at") };
        let Some(marker) = frame::marker(&bytes[..len]) else {
            let refusal = Refusal::bad("Line end or another message expected after the message");
            return Some((len + 2, Then::Refuse(refusal), Ask::AppendDrop));
        };
        let (room, messages) = (receiving.message.room(), receiving.messages + 1);
        let one_max = self.config.message_bytes_max;
        let next = match marker.octets {
            None => Err(LITERAL_TOO_BIG),
            Some(octets) => append::more(&mut Cursor::new(&bytes[..len], 0), octets)
                .and_then(|announced| Ok((expected(&announced, marker, (room, one_max), messages)?, announced))),
        };
        Some(match next {
            Ok((expected, announced)) => (len + 2, Then::Receive(expected), Ask::AppendMore(announced)),
            Err(refusal) => (len + 2, Then::RefuseLiteral(refusal, marker), Ask::AppendDrop),
        })
    }
}

/// Whether a message may be asked for. `room`: octets that all messages of the command may still have; `one_max`: that one
/// message may have. All together may have no more than one, because they are one transaction: NO [LIMIT] above it, and
/// NO [TOOBIG] only of a message that never fits.
fn expected(
    announced: &Announced,
    marker: Marker,
    (room, one_max): (u64, u64),
    messages: usize,
) -> Result<Expected, Refusal> {
    let octets = announced.size;
    if octets == 0 {
        // Also how a client takes back what it has begun (RFC 3502 §6.3.11).
        return Err(Refusal::no("CANNOT", "The message is empty"));
    }
    if octets > one_max {
        return Err(No::TooBig.into());
    }
    if octets > room {
        return Err(No::Limit.into());
    }
    if messages > limits::APPEND_MESSAGES_MAX {
        return Err(No::Limit.into());
    }
    Ok(Expected { octets, room, messages, sync: marker.sync })
}
