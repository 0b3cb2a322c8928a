//! Who reads: STLS (RFC 2595 §4) and AUTH PLAIN (RFC 5034).

use super::{Ask, NO_PASSWORD, Out, Privacy, Session, State, Turn, WRONG};
use crate::proto::sasl::{self, Fault, Login};

impl Session {
    /// A password may be given on this connection as it is (A143).
    pub(super) fn password_allowed(&self) -> bool {
        self.privacy == Privacy::Tls || self.plaintext_auth_allowed
    }

    pub(super) fn stls(&mut self, out: &mut Out<Ask>) {
        match self.privacy {
            Privacy::None => self.error(b"-ERR TLS cannot be had here\r\n", out),
            Privacy::Tls => self.error(b"-ERR TLS is in force already\r\n", out),
            Privacy::Offered => {
                out.say("+OK begin TLS\r\n");
                self.state = State::Handshake;
                out.turn = Some(Turn::StartTls);
            }
        }
    }

    /// What was said before TLS counts for nothing afterwards, errors aside.
    pub(super) fn tls_ready(&mut self, out: &mut Out<Ask>) {
        if !matches!(self.state, State::Handshake) {
            return self.abort(out);
        }
        self.privacy = Privacy::Tls;
        self.state = State::Authorization { name: None };
    }

    /// AUTH alone (RFC 5034 §4).
    pub(super) fn mechanisms(&self, out: &mut Out<Ask>) {
        out.say("+OK\r\n");
        if self.password_allowed() {
            out.say("PLAIN\r\n");
        }
        out.say(".\r\n");
    }

    /// AUTH with a mechanism, and perhaps its response.
    pub(super) fn auth(&mut self, text: &[u8], out: &mut Out<Ask>) {
        if !self.password_allowed() {
            return self.error(NO_PASSWORD, out);
        }
        let (mechanism, initial) = match memchr::memchr(b' ', text) {
            Some(space) => (&text[..space], Some(&text[space + 1..])),
            None => (text, None),
        };
        if !mechanism.eq_ignore_ascii_case(b"PLAIN") {
            return self.error(b"-ERR mechanism not known\r\n", out);
        }
        match initial {
            Some(response) => self.respond(response, out),
            None => {
                out.say("+ \r\n");
                self.state = State::Response;
            }
        }
    }

    /// The line that answers the challenge.
    pub(super) fn response(&mut self, line: &[u8], out: &mut Out<Ask>) {
        self.state = State::Authorization { name: None };
        match line {
            b"*" => self.error(b"-ERR login cancelled\r\n", out),
            response => self.respond(response, out),
        }
    }

    fn respond(&mut self, response: &[u8], out: &mut Out<Ask>) {
        match sasl::plain(response) {
            Ok(login) => self.log_in(login, out),
            Err(Fault::NotBase64 | Fault::Form) => self.error(b"-ERR response malformed\r\n", out),
            Err(Fault::ForAnother) => self.error(WRONG, out),
        }
    }

    pub(super) fn log_in(&mut self, login: Login, out: &mut Out<Ask>) {
        self.state = State::LoggingIn;
        out.ask(Ask::Login(login));
    }
}
