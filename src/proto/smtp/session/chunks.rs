//! A message in chunks: BDAT (RFC 3030).
//!
//! ```text
//!   Command ── BDAT n ─► first of its message: ask Data ─► Chunk ── n octets ─► 250, Command
//!      │                                                     └─ of the last ──► ask Done
//!      └── refused ─► Discard ── n octets ─► the refusal, and the transaction is over
//! ```
//!
//! - The octets that a BDAT announces are never taken for commands, whatever is said to it (A038). Where their number is not
//!   known, or nobody would wait for so many, the connection closes (A039); so it does at a BDAT whose line is refused as a line.
//! - A chunk that fails ends its transaction: no message is ever put together from what is left. Chunks of it that were under
//!   way are thrown away with a 503 each, which costs no error up to the size of a message (RFC 3030 §2).
//! - One message comes by DATA or in chunks, not both, and no recipient joins one that has begun (503).
//! - From the first chunk to the last the least rate of a message holds, between them too.

use super::{AfterReset, Ask, Incoming, Out, Pending, Phase, Reply, Session, Word};
use crate::limits;

const VERB: &[u8] = b"BDAT";

/// What BDAT announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Octets that are still to come.
    left: u64,
    /// None of the message comes after it.
    last: bool,
}

/// A chunk that is thrown away, and what is said behind it.
#[derive(Debug)]
pub(super) struct Discard {
    chunk: Chunk,
    reply: Reply,
}

impl Chunk {
    /// `SIZE` or `SIZE LAST` (RFC 3030 §2). More digits than 64 bits hold are certainly too many octets.
    fn read(argument: &[u8]) -> Option<Chunk> {
        let (digits, marker) = match memchr::memchr(b' ', argument) {
            Some(space) => (&argument[..space], Some(argument[space..].trim_ascii_start())),
            None => (argument, None),
        };
        let last = match marker {
            None => false,
            Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
            Some(_) => return None,
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let left = digits.iter().fold(0u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0')));
        Some(Chunk { left, last })
    }
}

/// True for a line that announces octets, or would if it were written well.
pub(super) fn announces(line: &[u8]) -> bool {
    line.trim_ascii_start().get(..VERB.len()).is_some_and(|verb| verb.eq_ignore_ascii_case(VERB))
}

impl Session {
    // The row of the command table.

    pub(in super::super) fn bdat(&mut self, argument: &[u8], out: &mut Out<Ask>) {
        let Some(chunk) = Chunk::read(argument) else { return self.say_and_close(Word::BadChunk, out) };
        let octets_max = self.config.message_bytes_max;
        if chunk.left > octets_max.saturating_add(limits::OVERSIZE_DRAIN_BYTES_MAX) {
            return self.say_and_close(Word::TooBig, out);
        }
        if chunk.left == 0 && !chunk.last && self.idles_too_much() {
            return self.say_and_close(Word::TooMuch, out); // A040
        }
        let begun = self.transaction.as_ref().and_then(|transaction| transaction.chunks.as_ref());
        let octets = begun.map_or(0, |message| message.octets()).saturating_add(chunk.left);
        let refusal = match &self.transaction {
            _ if self.login_missing() => self.what_first(),
            None => Word::MailFirst,
            Some(transaction) if transaction.recipients == 0 => self.no_recipients(),
            Some(_) if octets > octets_max => Word::TooBig,
            Some(_) if begun.is_some() => return self.begin_chunk(chunk, out),
            Some(_) => return self.ask_for_data(Pending::Chunk(chunk), out),
        };
        self.discard(chunk, refusal.reply(), out);
    }

    // What the other phases do.

    pub(super) fn chunk(&mut self, chunk: Chunk, input: &[u8], out: &mut Out<Ask>) -> usize {
        let used = input.len().min(usize::try_from(chunk.left).unwrap_or(usize::MAX));
        if let Some(message) = self.message_in_chunks() {
            message.take_counted(&input[..used], out);
        }
        self.begin_chunk(Chunk { left: chunk.left - used as u64, ..chunk }, out);
        used
    }

    pub(super) fn throw_away(&mut self, input: &[u8], out: &mut Out<Ask>) -> usize {
        let Phase::Discard(discard) = &mut self.phase else { return 0 };
        let used = input.len().min(usize::try_from(discard.chunk.left).unwrap_or(usize::MAX));
        discard.chunk.left -= used as u64;
        if discard.chunk.left == 0
            && let Phase::Discard(discard) = std::mem::replace(&mut self.phase, Phase::Command)
        {
            self.chunk_refused(discard.chunk.last, &discard.reply, out);
        }
        used
    }

    /// May the first chunk come?
    pub(super) fn chunk_answered(&mut self, chunk: Chunk, refusal: Option<Reply>, out: &mut Out<Ask>) {
        if let Some(reply) = refusal {
            return self.discard(chunk, reply, out);
        }
        let (octets_max, bare_newline) = (self.config.message_bytes_max, self.config.bare_newline);
        if let Some(transaction) = &mut self.transaction {
            transaction.chunks = Some(Incoming::counted(octets_max, bare_newline));
        }
        self.begin_chunk(chunk, out);
    }

    /// True between the first chunk of a message and the answer to the last.
    pub(super) fn is_in_chunks(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.chunks.is_some())
    }

    // The chunks.

    fn message_in_chunks(&mut self) -> Option<&mut Incoming> {
        self.transaction.as_mut()?.chunks.as_mut()
    }

    /// So much of it is still to come.
    fn begin_chunk(&mut self, chunk: Chunk, out: &mut Out<Ask>) {
        self.phase = Phase::Chunk(chunk);
        if chunk.left > 0 {
            return;
        }
        self.phase = Phase::Command;
        let Some(message) = self.message_in_chunks() else { return };
        if chunk.last && message.fault().is_none() {
            message.end_counted(out);
        }
        let (fault, octets) = (message.fault(), message.octets());
        match fault {
            Some(word) => self.chunk_refused(chunk.last, &word.reply(), out),
            None if chunk.last => self.ask(Ask::Done { octets }, Pending::Done, out),
            None => self.say(Word::Ok, out),
        }
    }

    fn discard(&mut self, chunk: Chunk, reply: Reply, out: &mut Out<Ask>) {
        if chunk.left == 0 {
            return self.chunk_refused(chunk.last, &reply, out);
        }
        if self.transaction.is_none() {
            // So many octets, however few they are, are made up for in the room for them.
            let octets = chunk.left.max(limits::SMTP_LINE_BYTES_MAX as u64);
            self.chunks_under_way = self.chunks_under_way.saturating_sub(octets);
        }
        self.phase = Phase::Discard(Box::new(Discard { chunk, reply }));
    }

    /// Says why, when the octets are gone, and drops the transaction.
    fn chunk_refused(&mut self, last: bool, reply: &Reply, out: &mut Out<Ask>) {
        if self.transaction.is_none() {
            if self.chunks_under_way > 0 {
                reply.write(&mut out.reply)
            } else {
                self.judge(reply, out)
            }
            if last {
                self.chunks_under_way = 0;
            }
            return;
        }
        if last {
            self.judge_each(reply, out)
        } else {
            self.judge(reply, out)
        }
        if !matches!(self.phase, Phase::Closed) {
            self.chunks_under_way = if last { 0 } else { self.config.message_bytes_max };
            self.reset(AfterReset::Silence, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::proto::contract::{Input, Patience, Piece, Session as _, Turn};
    use crate::proto::smtp::{Answer, Config};

    const OPENING: &[u8] = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\n";

    /// A session that was told this much, every ask answered with yes: what it says to the last of it, and the body so far.
    fn told(config: Config, mut wire: &[u8]) -> (Session, Out<Ask>, Vec<u8>) {
        let mut out = Out::default();
        let mut body = Vec::new();
        let mut session = Session::open(Arc::new(config), &mut out);
        while !wire.is_empty() && out.turn.is_none() {
            out.reply.clear();
            let used = session.step(Input::Bytes(wire), &mut out);
            for piece in out.body.drain(..) {
                match piece {
                    Piece::Input(range) => body.extend_from_slice(&wire[range]),
                    Piece::Text(text) => body.extend_from_slice(text),
                }
            }
            wire = &wire[used..];
            while let Some(ask) = out.ask.take() {
                let done = matches!(ask, Ask::Done { .. });
                let answer = if done { Answer::Queued { id: "q".to_owned() } } else { Answer::Yes };
                session.step(Input::Answer(answer), &mut out);
            }
            assert!(used > 0 || wire.is_empty() || out.turn.is_some(), "{}", wire.escape_ascii());
        }
        (session, out, body)
    }

    fn said(wire: &[u8]) -> (String, Option<Turn>) {
        let wire = [OPENING, wire].concat();
        let (_, out, _) = told(Config { message_bytes_max: 10_000, ..Config::default() }, &wire);
        (String::from_utf8_lossy(&out.reply).into_owned(), out.turn)
    }

    #[test]
    fn a039_a_number_that_is_none_or_beyond_all_patience_closes() {
        for bad in ["", "-1", "+1", "x", "1x", "0x10", "1 FIRST", "1 LAST LAST", "1,LAST", "LAST", "1\tLAST"] {
            let (reply, turn) = said(format!("BDAT {bad}\r\n").as_bytes());
            assert!(reply.starts_with("501 5.5.4 "), "{bad}: {reply}");
            assert_eq!(turn, Some(Turn::Close), "{bad}");
        }
        for huge in ["18446744073709551615", "99999999999999999999999999", &format!("{}", 10_001 + (1 << 20))] {
            let (reply, turn) = said(format!("BDAT {huge} LAST\r\n").as_bytes());
            assert!(reply.starts_with("552 5.3.4 "), "{huge}: {reply}");
            assert_eq!(turn, Some(Turn::Close), "{huge}");
        }
        assert_eq!(
            said(b"bdat 000000000000000000000000002 last\r\n.\n"),
            ("250 2.0.0 Ok: queued as q\r\n".to_owned(), None)
        );
    }

    #[test]
    fn a_line_that_announces_octets_and_is_refused_as_a_line_closes() {
        let long = [b"BDAT 1".as_slice(), &[b' '; 5_000], b"\r\n"].concat();
        for line in
            [&b"BDAT 4\n"[..], b"BDAT 4\r \r\n", b"BDAT \0 4\r\n", b" BDAT 4\r\n", b"BDAT\t4\r\n", b"bdat4\r\n", &long]
        {
            let (reply, turn) = said(&[line, b"QUIT\r\n"].concat());
            assert!(reply.starts_with("50"), "{}: {reply}", line.escape_ascii());
            assert_eq!(turn, Some(Turn::Close), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a040_empty_chunks_are_idle_commands() {
        let flood = |n: u32| said(&b"BDAT 0\r\n".repeat(n as usize));
        let most = limits::SMTP_IDLE_COMMANDS_MAX - 1; // EHLO is one.
        assert_eq!(flood(most), ("250 2.0.0 Ok\r\n".to_owned(), None));
        let (reply, turn) = flood(most + 1);
        assert!(reply.starts_with("421 4.7.0 ") && turn == Some(Turn::Close), "{reply}");
    }

    #[test]
    fn chunks_of_a_message_that_failed_cost_no_error_up_to_the_size_of_one() {
        let failed = b"BDAT 2\r\n\0\0".as_slice();
        let chunk = [b"BDAT 400\r\n".as_slice(), &[b'x'; 400]].concat();
        // More of them than there may be errors; each counts for no less than a line.
        let (reply, turn) = said(&[failed, &chunk.repeat(2)].concat());
        assert!(reply.starts_with("503 ") && turn.is_none(), "{reply}");
        let big = Config { message_bytes_max: 1 << 20, ..Config::default() };
        let wire = [OPENING, failed, &chunk.repeat(limits::SMTP_ERRORS_MAX as usize * 5)].concat();
        let (_, out, _) = told(big, &wire);
        assert!(out.reply.starts_with(b"503 ") && out.turn.is_none());
        // And then they do.
        let (reply, turn) = said(&[failed, &chunk.repeat(limits::SMTP_ERRORS_MAX as usize * 5)].concat());
        assert!(reply.starts_with("421 4.7.0 ") && turn == Some(Turn::Close), "{reply}");
    }

    #[test]
    fn a060_the_least_rate_holds_within_chunks_and_between_them() {
        for (wire, holds) in [
            (&b""[..], false),
            (b"BDAT 10\r\n", true),
            (b"BDAT 10\r\nabc", true),
            (b"BDAT 3\r\nabc", true),
            (b"BDAT 3\r\na\0c", false),
            (b"BDAT 3\r\na\0cBDAT 10\r\nx", true),
            (b"BDAT 3 LAST\r\nabc", false),
        ] {
            let (session, _, _) = told(Config::default(), &[OPENING, wire].concat());
            let Patience { rate_min_bytes_s, .. } = session.patience();
            let expected = if holds { limits::DATA_RATE_MIN_BYTES_S } else { 0 };
            assert_eq!(rate_min_bytes_s, expected, "{}", wire.escape_ascii());
        }
    }

    #[test]
    fn chunks_pass_as_they_are_and_what_must_change_is_spelt() {
        let wire = [OPENING, b"BDAT 6\r\nab\r\n.\rBDAT 6\r\n\n.\r\nc\nBDAT 0 LAST\r\n"].concat();
        let (_, out, body) = told(Config::default(), &wire);
        assert_eq!(out.reply, b"250 2.0.0 Ok: queued as q\r\n");
        assert_eq!(body.escape_ascii().to_string(), r"ab\r\n.\r\n.\r\nc\r\n");
    }

    #[test]
    fn a041_a_peer_that_goes_away_within_a_chunk_leaves_nothing() {
        let (mut session, mut out, _) = told(Config::default(), &[OPENING, b"BDAT 10 LAST\r\nabc"].concat());
        out.reply.clear();
        session.step(Input::Eof, &mut out);
        assert_eq!((out.turn, &out.ask, out.reply.len()), (Some(Turn::Close), &None, 0));
    }
}
