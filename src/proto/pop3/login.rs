//! Who reads: STLS (RFC 2595 §4) and AUTH (RFC 5034).

use super::{Ask, NO_PASSWORD, Out, Privacy, Session, State, Turn, WRONG};
use crate::proto::sasl::{self, Exchange, Fault, Login, Next};

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
    pub(super) fn tls_ready(&mut self, binds: bool, out: &mut Out<Ask>) {
        if !matches!(self.state, State::Handshake) {
            return self.abort(out);
        }
        self.privacy = Privacy::Tls;
        self.binds = binds;
        self.state = State::Authorization { name: None };
    }

    /// What a login can have on this connection now.
    pub(super) fn offer(&self) -> sasl::Offer {
        let (keys, binds) = (self.keys, self.binds);
        sasl::Offer {
            speaker: sasl::Speaker::Pop3,
            private: self.password_allowed(),
            keys,
            binds,
            allowed: self.allowed,
        }
    }

    /// AUTH alone (RFC 5034 §4).
    pub(super) fn mechanisms(&self, out: &mut Out<Ask>) {
        out.say("+OK\r\n");
        for mechanism in sasl::offered(self.offer()) {
            out.say(mechanism.name);
            out.say("\r\n");
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
        let Some(exchange) = sasl::begin(self.offer(), mechanism) else {
            return self.error(b"-ERR mechanism not known\r\n", out);
        };
        match initial {
            Some(response) => self.go_on(exchange.respond(response), out),
            None => {
                let opening = exchange.opening();
                self.challenge(exchange, opening, out);
            }
        }
    }

    fn challenge(&mut self, exchange: Exchange, base64: &[u8], out: &mut Out<Ask>) {
        out.say("+ ");
        out.say(base64);
        out.say("\r\n");
        self.state = State::Response(exchange);
    }

    /// The line that answers the challenge.
    pub(super) fn response(&mut self, line: &[u8], out: &mut Out<Ask>) {
        let before = std::mem::replace(&mut self.state, State::Authorization { name: None });
        match (before, line) {
            (_, b"*") => self.error(b"-ERR login cancelled\r\n", out),
            (State::Response(exchange), response) => self.go_on(exchange.respond(response), out),
            _ => {}
        }
    }

    /// An exchange goes on, or ends.
    pub(super) fn go_on(&mut self, next: Result<Next, Fault>, out: &mut Out<Ask>) {
        self.state = State::Authorization { name: None };
        match next {
            Ok(Next::Challenge(exchange, base64)) => self.challenge(exchange, &base64, out),
            Ok(Next::Keys(exchange, name)) => {
                self.state = State::Keys(exchange);
                out.ask(Ask::Keys(name));
            }
            Ok(Next::Login(login)) => self.log_in(login, out),
            Err(Fault::NotBase64 | Fault::Form) => self.error(b"-ERR response malformed\r\n", out),
            Err(Fault::ForAnother | Fault::Downgrade) => self.error(WRONG, out),
        }
    }

    pub(super) fn log_in(&mut self, login: Login, out: &mut Out<Ask>) {
        self.state = State::LoggingIn;
        out.ask(Ask::Login(login));
    }
}
