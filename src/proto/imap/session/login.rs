//! Who reads, and whether others can listen: STARTTLS (RFC 9051 §6.2.1) and the rest of AUTHENTICATE (RFC 9051 §6.2.2).

use super::{Config, LINE_ENDS, LINE_TOO_LONG, Phase, Session, State, Then};
use crate::limits;
use crate::proto::contract::{Out, Privacy, Turn};
use crate::proto::imap::ask::Ask;
use crate::proto::imap::frame::{self, Line};
use crate::proto::imap::refusal::Refusal;
use crate::proto::sasl::{self, Exchange, Fault, Next};

const UNKNOWN_MECHANISM: Refusal = Refusal::no("CANNOT", "Authentication mechanism is not supported");

impl Session {
    /// A password may be given on this connection as it is (A110).
    pub(super) fn login_possible(&self) -> bool {
        self.config.privacy == Privacy::Tls || self.config.plaintext_auth_allowed
    }

    /// RFC 9051 §6.2.1
    pub(super) fn start_tls(&mut self, tag: &[u8], out: &mut Out<Ask>) {
        match self.config.privacy {
            Privacy::None => self.refuse(Some(tag), Refusal::bad("TLS cannot be had here"), out),
            Privacy::Tls => self.refuse(Some(tag), Refusal::bad("TLS is in force already"), out),
            Privacy::Offered => {
                out.say(tag);
                out.say(" OK Begin TLS\r\n");
                self.phase = Phase::Handshake;
                out.turn = Some(Turn::StartTls);
            }
        }
    }

    /// The conversation begins anew, without a greeting; what was refused before counts on.
    pub(super) fn tls_ready(&mut self, binds: bool, out: &mut Out<Ask>) {
        if !matches!(self.phase, Phase::Handshake) {
            return self.close(Turn::Abort, out); // Nobody asked for a handshake.
        }
        assert!(self.state == State::NotAuthenticated && self.scanned == 0, "STARTTLS is a whole line before login");
        self.phase = Phase::Line;
        self.config.privacy = Privacy::Tls;
        self.config.binds = binds;
    }

    /// What a login can have on this connection now.
    pub(super) fn offer(&self) -> sasl::Offer {
        let Config { keys, binds, allowed, .. } = self.config;
        sasl::Offer { speaker: sasl::Speaker::Imap, private: self.login_possible(), keys, binds, allowed }
    }

    pub(super) fn authenticate(&mut self, tag: &[u8], mechanism: &[u8], initial: Option<&[u8]>, out: &mut Out<Ask>) {
        let Some(exchange) = sasl::begin(self.offer(), mechanism) else {
            return self.refuse(Some(tag), UNKNOWN_MECHANISM, out);
        };
        match initial {
            Some(response) => self.authenticated_by(tag, exchange.respond(response), out),
            None => {
                let opening = exchange.opening();
                self.challenge(tag, exchange, opening, out);
            }
        }
    }

    fn challenge(&mut self, tag: &[u8], exchange: Exchange, base64: &[u8], out: &mut Out<Ask>) {
        out.say("+ ");
        out.say(base64);
        out.say("\r\n");
        self.phase = Phase::Challenge(Box::new((tag.into(), exchange)));
    }

    /// The line that answers AUTHENTICATE's challenge.
    pub(super) fn challenge_response(&mut self, bytes: &[u8], out: &mut Out<Ask>) -> usize {
        let Phase::Challenge(under_way) = &self.phase else { unreachable!("the phase was looked at") };
        let tag = under_way.0.clone();
        let len = match frame::line(bytes, &mut self.scanned, limits::IMAP_LINE_BYTES_MAX_BEFORE_LOGIN) {
            Line::More => return 0,
            Line::Whole(len) => len,
            Line::BareLf => return self.skip(Some(&tag), LINE_ENDS, bytes, out),
            Line::TooLong => return self.skip(Some(&tag), LINE_TOO_LONG, bytes, out),
        };
        let Phase::Challenge(under_way) = std::mem::replace(&mut self.phase, Phase::Line) else {
            unreachable!("the phase was looked at")
        };
        match &bytes[..len] {
            b"*" => self.refuse(Some(&tag), Refusal::bad("Authentication cancelled"), out),
            response => self.authenticated_by(&tag, under_way.1.respond(response), out),
        }
        len + 2
    }

    /// An exchange goes on, or ends.
    pub(super) fn authenticated_by(&mut self, tag: &[u8], next: Result<Next, Fault>, out: &mut Out<Ask>) {
        const NAME: &str = "AUTHENTICATE";
        match next {
            Ok(Next::Challenge(exchange, base64)) => self.challenge(tag, exchange, &base64, out),
            Ok(Next::Keys(exchange, name)) => self.wait(tag, NAME, Then::Keys(exchange), Ask::Keys(name), out),
            Ok(Next::Login(login)) => self.wait(tag, NAME, Then::Enter, Ask::Login(login), out),
            Err(fault) => self.refuse(Some(tag), fault.into(), out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::contract::{Input, Session as _};
    use crate::proto::imap::Config;

    fn shaking_hands() -> (Session, Out<Ask>) {
        let config = Config {
            privacy: Privacy::Offered,
            plaintext_auth_allowed: false,
            keys: false,
            allowed: sasl::Allowed::ALL,
            binds: false,
            message_bytes_max: 1,
        };
        let mut out = Out::default();
        let mut session = Session::open(config, &mut out);
        assert_eq!(session.step(Input::Bytes(b"a STARTTLS\r\n"), &mut out), 12);
        assert_eq!(out.turn.take(), Some(Turn::StartTls));
        out.reply.clear();
        (session, out)
    }

    #[test]
    fn a109_nothing_in_the_clear_is_said_into_a_handshake_that_takes_too_long() {
        let (mut session, mut out) = shaking_hands();
        session.step(Input::Timeout, &mut out);
        assert_eq!((out.turn, out.reply.len()), (Some(Turn::Abort), 0));
    }

    #[test]
    fn a109_what_came_before_the_handshake_is_answered_with_bye() {
        let (mut session, mut out) = shaking_hands();
        assert_eq!(session.step(Input::Bytes(b"b NOOP\r\n"), &mut out), 8);
        assert!(out.reply.starts_with(b"* BYE ") && out.turn == Some(Turn::Close));
    }

    #[test]
    fn a110_after_the_handshake_a_password_may_be_given() {
        let (mut session, mut out) = shaking_hands();
        session.step(Input::TlsReady { binds: false }, &mut out);
        assert!(out.reply.is_empty() && out.turn.is_none(), "no second greeting");
        session.step(Input::Bytes(b"b LOGIN alice secret\r\n"), &mut out);
        assert!(matches!(out.ask, Some(Ask::Login(_))));
    }
}
