//! Commands with literals: which are read, and which are refused before they are read.
//!
//! A literal that the client announces and waits with is refused by answering the command at once; one that it sends
//! unasked must be read or skipped, or the connection ends (RFC 7888 §4). A102 to A105.

use zeroize::Zeroizing;

use super::{LINE_ENDS, LINE_TOO_LONG, LITERAL_TOO_BIG, Phase, Session, State, Tag};
use crate::limits;
use crate::proto::contract::Out;
use crate::proto::imap::ask::Ask;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::drain::Drain;
use crate::proto::imap::frame::{self, Line, Marker};
use crate::proto::imap::parse::append;
use crate::proto::imap::refusal::Refusal;
use crate::proto::imap::table::{Head, Row, Special};

/// A command with literals, as far as it has come.
pub(super) struct Gather {
    tag: Tag,
    row: &'static Row,
    args_at: usize,
    /// Lines and literals as they came.
    text: Zeroizing<Vec<u8>>,
    /// Octets of the present literal still to come.
    literal_left: usize,
    literals: usize,
    literal_bytes: usize,
    line_bytes: usize,
}

impl Session {
    /// A line ended with a literal marker, and the command may be given.
    pub(super) fn literal(&mut self, mut gather: Box<Gather>, marker: Marker, out: &mut Out<Ask>) {
        gather.literals += 1;
        if gather.literals > limits::IMAP_LITERALS_MAX {
            return self.bye("Too many literals in one command", out); // A105
        }
        let Some(octets) = marker.octets else {
            return self.refuse_literal(Some(gather.tag), LITERAL_TOO_BIG, marker, out); // A103
        };
        if gather.row.special == Special::Message {
            match append::ahead(&mut Cursor::new(&gather.text, gather.args_at), octets) {
                Ok(append::Ahead::Mailbox) => {}
                Ok(append::Ahead::Message(append)) => return self.begin_append(gather.tag, append, marker, out),
                Err(refusal) => return self.refuse_literal(Some(gather.tag), refusal, marker, out),
            }
        }
        let (one_max, all_max) = match self.state {
            State::NotAuthenticated => {
                (limits::IMAP_ONE_LITERAL_BYTES_MAX_BEFORE_LOGIN, limits::IMAP_LITERAL_BYTES_MAX_BEFORE_LOGIN)
            }
            _ => (limits::IMAP_LITERAL_BYTES_MAX, limits::IMAP_LITERAL_BYTES_MAX),
        };
        let fits = usize::try_from(octets).ok().filter(|n| *n <= one_max && *n + gather.literal_bytes <= all_max);
        let Some(octets) = fits else {
            return match marker.sync {
                true => self.refuse(Some(&gather.tag), LITERAL_TOO_BIG, out), // A102
                false => self.bye("Literal is too large", out),               // A104
            };
        };
        gather.literal_bytes += octets;
        gather.literal_left = octets;
        gather.make_room(octets + 2);
        gather.text.extend_from_slice(b"\r\n");
        if marker.sync {
            out.say("+ OK\r\n");
        }
        self.phase = Phase::Gather(gather);
    }

    pub(super) fn gather(&mut self, bytes: &[u8], out: &mut Out<Ask>) -> usize {
        let max = self.line_bytes_max();
        let Phase::Gather(gather) = &mut self.phase else { unreachable!("the phase was looked at") };
        if gather.literal_left > 0 {
            let n = gather.literal_left.min(bytes.len());
            gather.text.extend_from_slice(&bytes[..n]);
            gather.literal_left -= n;
            return n;
        }
        let tag = gather.tag.clone();
        let len = match frame::line(bytes, &mut self.scanned, max - gather.line_bytes) {
            Line::More => return 0,
            Line::Whole(len) => len,
            Line::BareLf => return self.skip(Some(&tag), LINE_ENDS, bytes, out),
            Line::TooLong => return self.skip(Some(&tag), LINE_TOO_LONG, bytes, out),
        };
        let Phase::Gather(mut gather) = std::mem::replace(&mut self.phase, Phase::Line) else {
            unreachable!("the phase was looked at")
        };
        gather.line_bytes += len;
        gather.make_room(len);
        gather.text.extend_from_slice(&bytes[..len]);
        match frame::marker(&bytes[..len]) {
            Some(marker) => self.literal(gather, marker, out),
            None => {
                let head = Head { tag: &gather.tag, row: gather.row, args_at: gather.args_at };
                self.execute(head, &gather.text, out);
            }
        }
        len + 2
    }

    /// Refuses a command at a literal. If the client waits it sends nothing more of it; if not, the rest is skipped.
    pub(super) fn refuse_literal(&mut self, tag: Option<Tag>, refusal: Refusal, marker: Marker, out: &mut Out<Ask>) {
        match (marker.sync, marker.octets) {
            (true, _) => self.refuse(tag.as_deref(), refusal, out),
            (false, None) => self.bye("Literal is too large", out),
            (false, Some(octets))
                if self.state == State::NotAuthenticated
                    && octets > limits::IMAP_LITERAL_BYTES_MAX_BEFORE_LOGIN as u64 =>
            {
                self.bye("Literal is too large", out); // A104
            }
            (false, Some(octets)) => self.phase = Phase::Drain(Box::new(Drain::literal(tag, refusal, octets))),
        }
    }
}

impl Gather {
    /// A command whose first line ends with a marker.
    pub(super) fn begin(head: Head<'_>, text: &[u8]) -> Gather {
        Gather {
            tag: head.tag.into(),
            row: head.row,
            args_at: head.args_at,
            text: Zeroizing::new(text.to_vec()),
            literal_left: 0,
            literals: 0,
            literal_bytes: 0,
            line_bytes: text.len(),
        }
    }

    /// Makes room without leaving a copy behind: the text may hold a password.
    fn make_room(&mut self, octets: usize) {
        if self.text.capacity() - self.text.len() < octets {
            let mut larger = Zeroizing::new(Vec::with_capacity((self.text.len() + octets).next_power_of_two()));
            larger.extend_from_slice(&self.text);
            self.text = larger;
        }
    }
}
