//! The order of it all: one command a step, one ask at a time, a message when its turn comes.
//!
//! ```text
//!            ┌─────────── Command ◄──────────────┐
//!   too long │            │ ask          answer  │
//!            ▼            ▼                      │
//!         Draining     Waiting ──── Yes to Data ─┼──► Data ── CRLF.CRLF ─► Waiting (Done or Reset)
//!            └── CRLF ────┴──────────────────────┘
//! ```
//!
//! `session/auth` has two phases more, both reached from `Command`: AUTH waits for a response, and after STARTTLS nothing is
//! heard until TLS is in force. So has `session/chunks`: a chunk comes in, or is thrown away. Whatever closes the conversation leads to `Closed`, where everything is swallowed.

mod auth;
mod chunks;
mod verdict;
mod xclient;

use std::sync::Arc;
use std::time::Duration;

use chunks::{Chunk, Discard};

use super::command::{self, Argument, trim_blanks};
use super::data::{Incoming, Taken};
use super::keyword::{Handler, is_out};
use super::param::MailParams;
use super::{Answer, Ask, Config, Helo, Reply, Role, Word, keyword, param};
use crate::limits;
use crate::mail::address::{AddressFault, DOMAIN_BYTES_MAX, ForwardPath, ReversePath};
use crate::proto::contract::{self, Input, Out, Patience, Privacy, Turn};
use crate::proto::lines::{Drain, Drained, Line, Lines};
use crate::proto::sasl::Exchange;

/// First octet of a TLS handshake record: never of a command.
const TLS_HANDSHAKE: u8 = 0x16;

/// One conversation with a client that brings mail.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    /// `None` until the peer introduced itself.
    helo: Option<Arc<Helo>>,
    transaction: Option<Box<Transaction>>,
    /// Octets in chunks of a message that failed which may still come without being errors.
    chunks_under_way: u64,
    phase: Phase,
    lines: Lines,
    idle_commands: u32,
    errors: u32,
    deferrals: u32,
    /// What TLS is to the connection now.
    privacy: Privacy,
    /// It can be bound to.
    binds: bool,
    logged_in: bool,
    logins_refused: u32,
    /// The peer will send no more: close once the ask that is out is answered.
    ended: bool,
}

/// From the MAIL that was accepted to the end of the message.
#[derive(Debug, Default)]
struct Transaction {
    recipients: u32,
    /// Recipients refused for now that are not in the budget of the connection (see [`Session::judge_recipient`]).
    spared: u32,
    /// SMTPUTF8 was declared (RFC 6531 §3.4).
    utf8: bool,
    /// The message, if it comes in chunks and the first was announced.
    chunks: Option<Incoming>,
}

#[derive(Debug)]
enum Phase {
    Command,
    Draining(Drain),
    Data(Incoming),
    /// A chunk comes in.
    Chunk(Chunk),
    /// A chunk that was refused comes in.
    Discard(Box<Discard>),
    /// AUTH waits for a response.
    Auth(Exchange),
    /// AUTH waits for keys: an ask is out.
    Keys(Exchange),
    /// Nothing is heard until TLS is in force (RFC 3207 §4).
    Handshake,
    Waiting(Pending),
    Closed,
}

/// Which ask is out, and what is said when it is answered.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Login,
    Client,
    Mail {
        utf8: bool,
    },
    Rcpt,
    Data,
    /// The same, before the first chunk.
    Chunk(Chunk),
    Done,
    Reset(AfterReset),
}

#[derive(Clone, Copy, Debug)]
enum AfterReset {
    Say(Word),
    /// Nothing: it was said before.
    Silence,
    /// The reply to EHLO, LHLO or HELO.
    Greet,
}

impl contract::Session for Session {
    type Ask = Ask;
    type Answer = Answer;

    const HOLD_BYTES_MAX: usize = limits::AUTH_LINE_BYTES_MAX + 2;

    fn step(&mut self, input: Input<'_, Answer>, out: &mut Out<Ask>) -> usize {
        match input {
            Input::Bytes(bytes) => return self.bytes(bytes, out),
            Input::Answer(answer) => self.answered(answer, out),
            Input::News => {}
            Input::Over if matches!(self.phase, Phase::Command | Phase::Auth(_)) => {
                self.say_and_close(Word::Over, out);
            }
            Input::Over => {}
            Input::TlsReady { binds } => self.tls_ready(binds, out),
            Input::Timeout => match self.phase {
                // Words in the clear have no place there.
                Phase::Handshake => self.close(Turn::Abort, out),
                // The peer waits for us, not we for it.
                Phase::Waiting(_) | Phase::Keys(_) | Phase::Closed => {}
                _ => self.say_and_close(Word::Timeout, out),
            },
            Input::Eof => match self.phase {
                Phase::Waiting(_) | Phase::Keys(_) => self.ended = true,
                Phase::Closed => {}
                _ => self.close(Turn::Close, out),
            },
        }
        0
    }

    fn patience(&self) -> Patience {
        let rate_min_bytes_s = match self.phase {
            Phase::Data(_) | Phase::Chunk(_) | Phase::Discard(_) => limits::DATA_RATE_MIN_BYTES_S,
            Phase::Command if self.is_in_chunks() => limits::DATA_RATE_MIN_BYTES_S,
            _ => 0,
        };
        Patience { idle: Duration::from_secs(limits::SMTP_IDLE_S), rate_min_bytes_s }
    }
}

impl Session {
    /// Begins a conversation: the greeting is left in `out`.
    pub fn open(config: Arc<Config>, out: &mut Out<Ask>) -> Self {
        let session = Session {
            privacy: config.privacy,
            binds: config.binds,
            config,
            helo: None,
            transaction: None,
            chunks_under_way: 0,
            phase: Phase::Command,
            lines: Lines::default(),
            idle_commands: 0,
            errors: 0,
            deferrals: 0,
            logged_in: false,
            logins_refused: 0,
            ended: false,
        };
        session.greet(out);
        session
    }

    fn greet(&self, out: &mut Out<Ask>) {
        out.say("220 ");
        super::reply::clean(&mut out.reply, &self.config.hostname);
        out.say(" ");
        super::reply::clean(&mut out.reply, &self.config.banner);
        out.say("\r\n");
    }

    fn bytes(&mut self, input: &[u8], out: &mut Out<Ask>) -> usize {
        match &mut self.phase {
            Phase::Command => {
                let used = self.line(input, out);
                if used > 0 && is_out(Handler::Pipelining) { input.len() } else { used }
            }
            Phase::Draining(drain) => match drain.take(input, limits::JUNK_BYTES_MAX) {
                Drained::More => input.len(),
                Drained::Ended(used) => {
                    self.phase = Phase::Command;
                    used
                }
                Drained::TooMuch => {
                    self.say_and_close(Word::TooMuch, out);
                    input.len()
                }
            },
            Phase::Data(incoming) => match incoming.take(input, out) {
                Taken::More => input.len(),
                Taken::Ended(used) => {
                    self.message_ended(out);
                    used
                }
                Taken::TooMuch => {
                    self.say_and_close(Word::TooBig, out);
                    input.len()
                }
            },
            Phase::Chunk(chunk) => {
                let chunk = *chunk;
                self.chunk(chunk, input, out)
            }
            Phase::Discard(_) => self.throw_away(input, out),
            Phase::Auth(_) => self.response(input, out),
            Phase::Handshake => self.wall(input, out),
            Phase::Waiting(_) | Phase::Keys(_) => 0,
            Phase::Closed => input.len(),
        }
    }

    fn line(&mut self, input: &[u8], out: &mut Out<Ask>) -> usize {
        if input.first() == Some(&TLS_HANDSHAKE) {
            self.close(Turn::Abort, out);
            return input.len();
        }
        let (bytes_max, too_long) = self.line_bound(input);
        let line = self.lines.next(input, bytes_max);
        let fault = match line {
            Line::Partial => return 0,
            Line::TooLong => too_long,
            Line::BareLf(_) => Word::BareNewlineInCommand,
            Line::Whole(text) => match memchr::memchr2(0, b'\r', text) {
                Some(at) if text[at] == 0 => Word::NulInCommand,
                Some(_) => Word::BareNewlineInCommand,
                None => {
                    self.command(text, out);
                    return line.used();
                }
            },
        };
        let refused = match line {
            Line::Whole(text) | Line::BareLf(text) => text,
            Line::TooLong | Line::Partial => &input[..bytes_max],
        };
        if chunks::announces(refused) {
            // What follows was written by somebody else, and nobody knows how much of it there is.
            self.say_and_close(fault, out);
            return input.len();
        }
        if line == Line::TooLong {
            return self.drain(fault, input, out);
        }
        self.refuse(fault, out);
        line.used()
    }

    /// Refuses the line that begins `input` and throws it away.
    fn drain(&mut self, word: Word, input: &[u8], out: &mut Out<Ask>) -> usize {
        self.phase = Phase::Draining(Drain::default());
        self.refuse(word, out);
        self.bytes(input, out)
    }

    fn command(&mut self, line: &[u8], out: &mut Out<Ask>) {
        let Some((command, argument)) = command::find(line) else {
            return if chunks::announces(line) {
                self.say_and_close(Word::UnknownCommand, out)
            } else {
                self.refuse(Word::UnknownCommand, out)
            };
        };
        if is_out(Handler::Command(command.verb)) {
            return self.not_implemented(argument, out);
        }
        if command.idle && self.idles_too_much() {
            return self.say_and_close(Word::TooMuch, out);
        }
        match (command.argument, argument.is_empty()) {
            (Argument::No, false) | (Argument::Must, true) => self.refuse(Word::BadArgument, out),
            _ if command.needs_login && self.login_missing() => self.refuse(self.what_first(), out),
            _ => (command.run)(self, argument, out),
        }
    }

    /// Counts a command that accepts no mail; true if there were too many.
    fn idles_too_much(&mut self) -> bool {
        self.idle_commands += 1;
        self.idle_commands > limits::SMTP_IDLE_COMMANDS_MAX
    }

    // The rows of the command table.

    pub(super) fn ehlo(&mut self, name: &[u8], out: &mut Out<Ask>) {
        self.introduce(name, true, self.config.role != Role::Lmtp, out);
    }

    pub(super) fn lhlo(&mut self, name: &[u8], out: &mut Out<Ask>) {
        self.introduce(name, true, self.config.role == Role::Lmtp, out);
    }

    pub(super) fn helo(&mut self, name: &[u8], out: &mut Out<Ask>) {
        self.introduce(name, false, self.config.role != Role::Lmtp, out);
    }

    /// RFC 5321 §4.1.4: a second EHLO drops the transaction. RFC 2033 §4.1: LMTP begins with LHLO, and SMTP does not.
    fn introduce(&mut self, name: &[u8], extended: bool, spoken_here: bool, out: &mut Out<Ask>) {
        if !spoken_here {
            return self.refuse(Word::UnknownCommand, out);
        }
        if name.len() > DOMAIN_BYTES_MAX || name.iter().any(|&b| b <= b' ' || b == 0x7f) {
            return self.refuse(Word::BadHelo, out);
        }
        let name = name.iter().map(|&b| if b.is_ascii() { char::from(b) } else { '?' }).collect();
        self.helo = Some(Arc::new(Helo { name, extended }));
        self.reset(AfterReset::Greet, out);
    }

    pub(super) fn mail(&mut self, argument: &[u8], out: &mut Out<Ask>) {
        let Some(helo) = self.helo.clone() else { return self.refuse(Word::HeloFirst, out) };
        if self.transaction.is_some() {
            return self.refuse(Word::NestedMail, out);
        }
        let Some(path) = after(b"FROM:", argument) else { return self.refuse(Word::BadArgument, out) };
        let (sender, used) = match ReversePath::read(path, param::asks_for_utf8(path)) {
            Ok(read) => read,
            Err(AddressFault::NeedsUtf8) => return self.refuse(Word::NeedsUtf8, out),
            Err(AddressFault::Syntax) => return self.refuse(Word::BadSender, out),
            Err(_) => return self.refuse(Word::SenderTooLong, out),
        };
        match param::mail(&path[used..], self.config.message_bytes_max, self.offers().auth) {
            // The word stood in the address, not behind it.
            Ok(params) if !params.utf8 && !sender.as_str().is_ascii() => self.refuse(Word::NeedsUtf8, out),
            Ok(MailParams { size, eight_bit, utf8 }) => {
                self.ask(Ask::Mail { helo, sender, size, eight_bit, utf8 }, Pending::Mail { utf8 }, out);
            }
            Err(word) => self.refuse(word, out),
        }
    }

    pub(super) fn rcpt(&mut self, argument: &[u8], out: &mut Out<Ask>) {
        let Some(transaction) = &self.transaction else { return self.refuse(Word::MailFirst, out) };
        if transaction.chunks.is_some() {
            return self.refuse(Word::MessageBegun, out);
        }
        let Some(path) = after(b"TO:", argument) else { return self.refuse(Word::BadArgument, out) };
        let (recipient, used) = match ForwardPath::read(path, transaction.utf8) {
            Ok(read) => read,
            Err(AddressFault::NeedsUtf8) => return self.refuse(Word::NeedsUtf8, out),
            Err(_) => return self.refuse(Word::BadRecipient, out),
        };
        if let Err(word) = param::rcpt(&path[used..]) {
            return self.refuse(word, out);
        }
        if transaction.recipients as usize >= self.config.role.recipients_max() && !is_out(Handler::Limits) {
            return self.judge_recipient(&Word::TooManyRecipients.reply(), out);
        }
        self.ask(Ask::Rcpt { recipient }, Pending::Rcpt, out);
    }

    pub(super) fn data(&mut self, _: &[u8], out: &mut Out<Ask>) {
        match &self.transaction {
            // A038
            Some(transaction) if transaction.chunks.is_some() => self.refuse(Word::MessageBegun, out),
            Some(transaction) if transaction.recipients > 0 => self.ask_for_data(Pending::Data, out),
            Some(_) => self.refuse(self.no_recipients(), out),
            None => self.refuse(Word::MailFirst, out),
        }
    }

    fn ask_for_data(&mut self, pending: Pending, out: &mut Out<Ask>) {
        let helo = self.helo.clone().expect("a transaction begins after EHLO");
        let (tls, chunked) = (self.privacy == Privacy::Tls, matches!(pending, Pending::Chunk(_)));
        self.ask(Ask::Data { helo, tls, authenticated: self.logged_in, chunked }, pending, out);
    }

    pub(super) fn rset(&mut self, _: &[u8], out: &mut Out<Ask>) {
        self.reset(AfterReset::Say(Word::Ok), out);
    }

    pub(super) fn noop(&mut self, _: &[u8], out: &mut Out<Ask>) {
        self.say(Word::Ok, out);
    }

    pub(super) fn quit(&mut self, _: &[u8], out: &mut Out<Ask>) {
        self.say_and_close(Word::Bye, out);
    }

    pub(super) fn vrfy(&mut self, argument: &[u8], out: &mut Out<Ask>) {
        // RFC 6531 §3.7.4.2
        if argument.is_ascii() || param::asks_for_utf8(argument) {
            self.say(Word::CannotVerify, out)
        } else {
            self.refuse(Word::NeedsUtf8, out)
        }
    }

    pub(super) fn help(&mut self, _: &[u8], out: &mut Out<Ask>) {
        self.say(Word::Help, out);
    }

    pub(super) fn not_implemented(&mut self, _: &[u8], out: &mut Out<Ask>) {
        self.refuse(Word::NotImplemented, out);
    }

    pub(super) fn not_mail(&mut self, _: &[u8], out: &mut Out<Ask>) {
        self.say_and_close(Word::NotMail, out);
    }

    // What the rows have in common.

    /// Drops the transaction, asking the world to do the same if it holds one, and goes on.
    fn reset(&mut self, then: AfterReset, out: &mut Out<Ask>) {
        if !matches!(then, AfterReset::Silence) {
            self.chunks_under_way = 0;
        }
        if self.drop_transaction() {
            self.ask(Ask::Reset, Pending::Reset(then), out);
        } else {
            self.after_reset(then, out);
        }
    }

    fn after_reset(&mut self, then: AfterReset, out: &mut Out<Ask>) {
        match then {
            AfterReset::Say(word) => self.judge(&word.reply(), out),
            AfterReset::Silence => {}
            AfterReset::Greet if self.helo.as_ref().is_some_and(|helo| helo.extended) => {
                keyword::say_ehlo(&self.config, self.offers(), &mut out.reply);
            }
            AfterReset::Greet => {
                out.say("250 ");
                super::reply::clean(&mut out.reply, &self.config.hostname);
                out.say("\r\n");
            }
        }
    }

    fn answered(&mut self, answer: Answer, out: &mut Out<Ask>) {
        let Phase::Waiting(pending) = self.phase else {
            return match self.phase {
                Phase::Keys(_) => self.keys_answered(answer, out),
                Phase::Closed => {}
                // An answer to no question: whoever drives us has lost the thread.
                _ => self.close(Turn::Abort, out),
            };
        };
        self.phase = Phase::Command;
        match (pending, answer) {
            (_, Answer::Close) => self.close(Turn::Close, out),
            (Pending::Reset(then), _) => self.after_reset(then, out),
            (Pending::Login, answer) => self.login_answered(answer, out),
            (Pending::Client, answer) => self.client_answered(answer, out),
            (Pending::Mail { utf8 }, Answer::Yes) => {
                self.transaction = Some(Box::new(Transaction { utf8, ..Transaction::default() }));
                self.chunks_under_way = 0;
                self.say(Word::SenderOk, out);
            }
            (Pending::Rcpt, Answer::Yes) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.recipients += 1;
                }
                self.say(Word::RecipientOk, out);
            }
            (Pending::Data, Answer::Yes) => {
                self.phase = Phase::Data(Incoming::new(self.config.message_bytes_max, self.config.bare_newline));
                out.say("354 End data with <CR><LF>.<CR><LF>\r\n");
            }
            (Pending::Chunk(chunk), Answer::Yes) => self.chunk_answered(chunk, None, out),
            (Pending::Chunk(chunk), Answer::No(reply)) => self.chunk_answered(chunk, Some(reply), out),
            (Pending::Done, answer) => self.message_answered(answer, out),
            (Pending::Rcpt, Answer::No(reply)) => self.judge_recipient(&reply, out),
            (Pending::Mail { .. } | Pending::Data, Answer::No(reply)) => self.judge(&reply, out),
            (_, Answer::Queued { .. } | Answer::Each(_) | Answer::Keys(_)) => self.close(Turn::Abort, out),
        }
        self.leave_if_ended(out);
    }

    /// Closes once nothing is waited for, if the peer will send no more.
    fn leave_if_ended(&mut self, out: &mut Out<Ask>) {
        if self.ended && !matches!(self.phase, Phase::Waiting(_) | Phase::Keys(_)) {
            self.close(Turn::Close, out);
        }
    }

    fn ask(&mut self, ask: Ask, pending: Pending, out: &mut Out<Ask>) {
        self.phase = Phase::Waiting(pending);
        out.ask(ask);
    }

    fn say(&mut self, word: Word, out: &mut Out<Ask>) {
        word.reply().write(&mut out.reply);
    }

    fn refuse(&mut self, word: Word, out: &mut Out<Ask>) {
        self.judge(&word.reply(), out);
    }

    /// Says a reply and keeps the books: permanent refusals count as errors, those for now as deferrals, and 421 closes.
    fn judge(&mut self, reply: &Reply, out: &mut Out<Ask>) {
        let is_too_much = match reply.code {
            ..400 => false,
            400..500 => {
                self.deferrals += 1;
                self.deferrals > limits::SMTP_DEFERRALS_MAX
            }
            _ => {
                self.errors += 1;
                self.errors > limits::SMTP_ERRORS_MAX
            }
        };
        if is_too_much {
            return self.say_and_close(Word::TooMuch, out);
        }
        reply.write(&mut out.reply);
        if reply.code == 421 {
            self.close(Turn::Close, out);
        }
    }

    /// The same for one recipient. To close takes the message from those that are accepted, and whoever comes back with all of them
    /// hears the same again: so where one is, or this one has no room for it, a refusal for now counts in the budget of
    /// the connection only when the message came to nothing, and until then against a bound of the transaction's own.
    fn judge_recipient(&mut self, reply: &Reply, out: &mut Out<Ask>) {
        let for_want_of_room = matches!(reply.enhanced, (4, 5, 3) | (4, 2, 2));
        match &mut self.transaction {
            Some(transaction)
                if matches!(reply.code, 400..500)
                    && reply.code != 421
                    && (transaction.recipients > 0 || for_want_of_room)
                    && self.deferrals <= limits::SMTP_DEFERRALS_MAX =>
            {
                transaction.spared += 1;
                if transaction.spared as usize > limits::RECIPIENTS_OVERSHOOT_MAX {
                    return self.say_and_close(Word::TooMuch, out);
                }
                reply.write(&mut out.reply);
            }
            _ => self.judge(reply, out),
        }
    }

    /// It is over, and came to nothing unless [`accepted`](Self::accepted) was told otherwise. False: there was none.
    fn drop_transaction(&mut self) -> bool {
        let Some(transaction) = self.transaction.take() else { return false };
        self.deferrals = self.deferrals.saturating_add(transaction.spared);
        true
    }

    fn say_and_close(&mut self, word: Word, out: &mut Out<Ask>) {
        self.say(word, out);
        self.close(Turn::Close, out);
    }

    fn close(&mut self, turn: Turn, out: &mut Out<Ask>) {
        self.transaction = None;
        if !matches!(self.phase, Phase::Closed) {
            self.phase = Phase::Closed;
            out.turn = Some(turn);
        }
    }
}

/// What follows `keyword` in `argument`, in any case. *Liberty*: spaces behind the colon are passed over, as many
/// clients write them.
fn after<'a>(keyword: &[u8], argument: &'a [u8]) -> Option<&'a [u8]> {
    let (head, rest) = argument.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| trim_blanks(rest))
}

#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod tests;
