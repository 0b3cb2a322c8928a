//! Who speaks, and whether others can listen: STARTTLS (RFC 3207) and AUTH (RFC 4954) with the mechanisms of [`sasl::MECHANISMS`].
//!
//! ```text
//!   Command ── STARTTLS ─► 220, Handshake ── TlsReady ─► Command, nobody introduced
//!      │                        └── bytes: farewell, whatever they say (A008)
//!      └────── AUTH ─► 334, Auth ─► response ─┬─► ask Login ─► 235 | 535 | 454
//!                            ▲                └─► ask Keys, Keys ─┐
//!                            └────────────────────────────────────┘
//! ```
//!
//! - What was said before TLS counts for nothing afterwards: EHLO again (A011). The budgets of errors and commands go on.
//! - *Liberty*: STARTTLS after AUTH is refused, so that no login outlives a change of the connection.
//! - AUTH is for our own users, after EHLO, once, outside a transaction (A017), and where nobody can listen (A013).

use super::{Answer, Ask, Line, Out, Pending, Phase, Privacy, Role, Session, Turn, Word};
use crate::limits;
use crate::proto::sasl::{self, Exchange, Fault, Next};
use crate::proto::smtp::keyword::Offers;

impl Session {
    // The rows of the command table.

    pub(in super::super) fn starttls(&mut self, _: &[u8], out: &mut Out<Ask>) {
        match self.privacy {
            Privacy::None => self.refuse(Word::NotImplemented, out),
            Privacy::Tls => self.refuse(Word::TlsAlready, out), // A009
            Privacy::Offered if self.logged_in || self.transaction.is_some() => self.refuse(Word::TlsTooLate, out), // A012
            Privacy::Offered => {
                self.say(Word::StartTls, out);
                self.phase = Phase::Handshake;
                out.turn = Some(Turn::StartTls);
            }
        }
    }

    pub(in super::super) fn auth(&mut self, argument: &[u8], out: &mut Out<Ask>) {
        if self.config.role != Role::Submission {
            return self.refuse(Word::NotImplemented, out);
        }
        if !self.password_allowed() {
            return self.refuse(Word::LoginNeedsTls, out); // A013
        }
        if !self.helo.as_ref().is_some_and(|helo| helo.extended) {
            return self.refuse(Word::HeloFirst, out);
        }
        if self.logged_in || self.transaction.is_some() {
            return self.refuse(Word::NoLoginNow, out); // A017
        }
        let (mechanism, initial) = match memchr::memchr(b' ', argument) {
            Some(space) => (&argument[..space], Some(argument[space..].trim_ascii_start())),
            None => (argument, None),
        };
        let Some(exchange) = sasl::begin(self.offers().login, mechanism) else {
            return self.refuse(Word::UnknownMechanism, out);
        };
        match initial {
            Some(response) if response.contains(&b' ') => self.refuse(Word::BadArgument, out),
            Some(response) => self.respond(exchange, response, out),
            None => {
                let opening = exchange.opening();
                self.challenge(exchange, opening, out);
            }
        }
    }

    // What the other phases do.

    /// The next line answers a challenge.
    pub(super) fn response(&mut self, input: &[u8], out: &mut Out<Ask>) -> usize {
        let line = self.lines.next(input, limits::AUTH_LINE_BYTES_MAX);
        let used = line.used();
        if line == Line::Partial {
            return 0;
        }
        let Phase::Auth(exchange) = std::mem::replace(&mut self.phase, Phase::Command) else { return 0 };
        match line {
            Line::TooLong => return self.drain(Word::AuthLineTooLong, input, out),
            Line::BareLf(_) => self.refuse(Word::BareNewlineInCommand, out),
            Line::Whole(b"*") => self.refuse(Word::LoginCancelled, out), // A016
            Line::Whole(text) => self.respond(exchange, text, out),
            Line::Partial => {}
        }
        used
    }

    /// RFC 3207 §4: what was sent in the clear behind STARTTLS was perhaps written by somebody else (A008). Whoever drives us
    /// has not given our answer then, so the farewell is in the clear too.
    pub(super) fn wall(&mut self, input: &[u8], out: &mut Out<Ask>) -> usize {
        self.say_and_close(Word::TlsTooSoon, out);
        input.len()
    }

    pub(super) fn tls_ready(&mut self, binds: bool, out: &mut Out<Ask>) {
        if !matches!(self.phase, Phase::Handshake) {
            // We never asked for a handshake.
            return self.close(Turn::Abort, out);
        }
        self.phase = Phase::Command;
        self.privacy = Privacy::Tls;
        self.binds = binds;
        self.helo = None;
        assert!(self.transaction.is_none() && !self.logged_in, "STARTTLS was refused there");
    }

    pub(super) fn login_answered(&mut self, answer: Answer, out: &mut Out<Ask>) {
        match answer {
            Answer::Yes => {
                self.logged_in = true;
                self.say(Word::LoggedIn, out);
            }
            Answer::No(reply) if reply.is_permanent() => self.login_refused(out),
            Answer::No(reply) => self.judge(&reply, out),
            Answer::Close => self.close(Turn::Close, out),
            Answer::Queued { .. } | Answer::Each(_) | Answer::Keys(_) => self.close(Turn::Abort, out),
        }
    }

    // What may be done now.

    /// What EHLO offers now.
    pub(super) fn offers(&self) -> Offers {
        let login = sasl::Offer {
            speaker: sasl::Speaker::Smtp,
            private: self.password_allowed(),
            keys: self.config.keys,
            binds: self.binds,
            allowed: self.config.allowed,
        };
        Offers {
            starttls: self.privacy == Privacy::Offered,
            auth: self.config.role == Role::Submission && sasl::offered(login).next().is_some(),
            login,
        }
    }

    fn password_allowed(&self) -> bool {
        self.privacy == Privacy::Tls || (self.config.plaintext_auth_allowed && !self.config.tls_required)
    }

    /// True where only our own users may go on, or only under TLS. Who was not introduced is asked for that first.
    pub(super) fn login_missing(&self) -> bool {
        let login = self.config.role == Role::Submission && !self.logged_in;
        (login || self.tls_missing()) && self.helo.is_some()
    }

    fn tls_missing(&self) -> bool {
        self.config.tls_required && self.privacy != Privacy::Tls
    }

    /// What a login needs next.
    pub(super) fn what_first(&self) -> Word {
        let tls_first = self.tls_missing() || (!self.password_allowed() && self.privacy == Privacy::Offered);
        if tls_first { Word::TlsFirst } else { Word::LoginFirst }
    }

    /// The bound of the line that begins `input`, octets, and what is said above it (A014). Decided by octets that are
    /// there long before the bound is.
    pub(super) fn line_bound(&self, input: &[u8]) -> (usize, Word) {
        let auth = input.get(..5).is_some_and(|head| head.eq_ignore_ascii_case(b"AUTH "));
        if auth && self.config.role == Role::Submission {
            (limits::AUTH_LINE_BYTES_MAX, Word::AuthLineTooLong)
        } else {
            (limits::SMTP_LINE_BYTES_MAX, Word::LineTooLong)
        }
    }

    // The exchange.

    fn challenge(&mut self, exchange: Exchange, base64: &[u8], out: &mut Out<Ask>) {
        out.say("334 ");
        out.say(base64);
        out.say("\r\n");
        self.phase = Phase::Auth(exchange);
    }

    fn respond(&mut self, exchange: Exchange, response: &[u8], out: &mut Out<Ask>) {
        let next = exchange.respond(response);
        self.go_on(next, out);
    }

    fn go_on(&mut self, next: Result<Next, Fault>, out: &mut Out<Ask>) {
        match next {
            Ok(Next::Challenge(exchange, base64)) => self.challenge(exchange, &base64, out),
            Ok(Next::Keys(exchange, name)) => {
                out.ask(Ask::Keys(name));
                self.phase = Phase::Keys(exchange);
            }
            Ok(Next::Login(login)) => self.ask(Ask::Login(login), Pending::Login, out),
            Err(Fault::NotBase64 | Fault::Form) => self.refuse(Word::BadResponse, out), // A015
            Err(Fault::ForAnother | Fault::Downgrade) => self.login_refused(out),       // A018
        }
    }

    pub(super) fn keys_answered(&mut self, answer: Answer, out: &mut Out<Ask>) {
        let Phase::Keys(exchange) = std::mem::replace(&mut self.phase, Phase::Command) else { return };
        match answer {
            Answer::Keys(known) => self.go_on(exchange.keys(*known), out),
            Answer::No(reply) => self.judge(&reply, out),
            Answer::Close => self.close(Turn::Close, out),
            Answer::Yes | Answer::Queued { .. } | Answer::Each(_) => self.close(Turn::Abort, out),
        }
        self.leave_if_ended(out);
    }

    fn login_refused(&mut self, out: &mut Out<Ask>) {
        self.logins_refused += 1;
        if self.logins_refused >= limits::SMTP_LOGINS_REFUSED_MAX {
            return self.say_and_close(Word::TooManyLogins, out);
        }
        self.refuse(Word::BadLogin, out);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::proto::contract::{Input, Session as _};
    use crate::proto::smtp::Config;

    /// Our own user, before TLS.
    fn greeted() -> (Session, Out<Ask>) {
        let config = Config { privacy: Privacy::Offered, role: Role::Submission, ..Config::default() };
        let mut out = Out::default();
        let session = Session::open(Arc::new(config), &mut out);
        (session, out)
    }

    fn shaking_hands() -> (Session, Out<Ask>) {
        let (mut session, mut out) = greeted();
        tell(&mut session, &mut out, b"EHLO client.test\r\nSTARTTLS\r\n");
        assert_eq!(out.turn.take(), Some(Turn::StartTls));
        (session, out)
    }

    fn private() -> (Session, Out<Ask>) {
        let (mut session, mut out) = shaking_hands();
        session.step(Input::TlsReady { binds: false }, &mut out);
        tell(&mut session, &mut out, b"EHLO client.test\r\n");
        (session, out)
    }

    /// Sends lines up to the first ask or turn; what is said to the last of them.
    fn tell(session: &mut Session, out: &mut Out<Ask>, mut bytes: &[u8]) -> String {
        while !bytes.is_empty() && out.ask.is_none() && out.turn.is_none() {
            out.reply.clear();
            bytes = &bytes[session.step(Input::Bytes(bytes), out)..];
        }
        String::from_utf8_lossy(&out.reply).into_owned()
    }

    #[test]
    fn a008_what_came_before_the_handshake_is_answered_with_a_farewell() {
        let (mut session, mut out) = shaking_hands();
        let said = tell(&mut session, &mut out, b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@ringpost.test>\r\n");
        assert!(said.starts_with("421 4.7.0 "), "{said}");
        assert_eq!((out.turn, &out.ask), (Some(Turn::Close), &None));
    }

    #[test]
    fn nothing_in_the_clear_is_said_into_a_handshake() {
        for (input, turn) in [(Input::Timeout, Turn::Abort), (Input::Eof, Turn::Close)] {
            let (mut session, mut out) = shaking_hands();
            out.reply.clear();
            session.step(input, &mut out);
            assert_eq!((out.turn, out.reply.len()), (Some(turn), 0));
        }
    }

    #[test]
    fn a011_the_budget_of_errors_goes_on_behind_the_handshake() {
        let (mut session, mut out) = greeted();
        for _ in 0..limits::SMTP_ERRORS_MAX {
            assert!(tell(&mut session, &mut out, b"X\r\n").starts_with("500 "));
        }
        tell(&mut session, &mut out, b"STARTTLS\r\n");
        out.turn = None;
        session.step(Input::TlsReady { binds: false }, &mut out);
        assert!(tell(&mut session, &mut out, b"X\r\n").starts_with("421 4.7.0 "));
    }

    #[test]
    fn a014_a_line_of_auth_has_its_own_bound_wherever_it_is_cut() {
        let line = [b"auth plain ".as_slice(), &[b'A'; 20_000]].concat();
        for cut in [1, 4, 5, limits::SMTP_LINE_BYTES_MAX + 2, limits::AUTH_LINE_BYTES_MAX + 1] {
            let (mut session, mut out) = private();
            out.reply.clear();
            assert_eq!(session.step(Input::Bytes(&line[..cut]), &mut out), 0, "{cut}");
            assert!(session.step(Input::Bytes(&line), &mut out) > 0);
            assert_eq!(out.reply, b"500 5.5.6 Line too long\r\n", "{cut}");
        }
    }

    #[test]
    fn a020_the_last_refused_login_closes_and_a_temporary_refusal_is_none() {
        let (mut session, mut out) = private();
        for n in 1..=limits::SMTP_LOGINS_REFUSED_MAX {
            for later in [true, false] {
                tell(&mut session, &mut out, b"AUTH PLAIN AGFsaWNlAHdyb25n\r\n");
                assert!(matches!(out.ask.take(), Some(Ask::Login(_))));
                out.reply.clear();
                let word = if later { Word::LoginLater } else { Word::BadLogin };
                session.step(Input::Answer(Answer::No(word.reply())), &mut out);
                let code = String::from_utf8_lossy(&out.reply[..3]).into_owned();
                let last = n == limits::SMTP_LOGINS_REFUSED_MAX;
                assert_eq!(
                    code,
                    if later {
                        "454"
                    } else if last {
                        "421"
                    } else {
                        "535"
                    },
                    "{n}"
                );
            }
        }
        assert_eq!(out.turn, Some(Turn::Close));
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let (mut session, mut out) = private();
        tell(&mut session, &mut out, b"AUTH LOGIN\r\nYWxpY2U=\r\nc2VjcmV0\r\n");
        let shown = format!("{:?}", out.ask);
        assert!(shown.contains("alice") && !shown.contains("secret"), "{shown}");
    }
}
