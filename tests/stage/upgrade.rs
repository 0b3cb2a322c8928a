//! A toy that starts TLS, so that the contract's fourth rule is seen in its simplest form: `STARTTLS`, `DO`, `QUIT`, a
//! line each. `DO` is an ask, so that whoever answers can count what was executed.

use ringpost::proto::contract::{self, Input, Out, Turn};

use super::{Script, Settings, World};

/// The conversation.
pub struct Session {
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Listening,
    /// An ask is out.
    Waiting,
    /// Nothing is heard until TLS is ready.
    Handshake,
}

/// `DO`
#[derive(Debug)]
pub struct Do;

/// It is done.
#[derive(Debug)]
pub struct Done;

impl Session {
    pub fn open() -> Self {
        Session { state: State::Listening }
    }
}

impl contract::Session for Session {
    type Ask = Do;
    type Answer = Done;

    const HOLD_BYTES_MAX: usize = 64;

    fn step(&mut self, input: Input<'_, Done>, out: &mut Out<Do>) -> usize {
        match (self.state, input) {
            (State::Listening, Input::Bytes(bytes)) => return self.line(bytes, out),
            (State::Waiting, Input::Bytes(_)) => {}
            // The wall.
            (State::Handshake, Input::Bytes(_)) => {
                out.say("500 too soon\r\n");
                out.turn = Some(Turn::Close);
            }
            (State::Waiting, Input::Answer(Done)) => {
                self.state = State::Listening;
                out.say("250 done\r\n");
            }
            (State::Handshake, Input::TlsReady { .. }) => self.state = State::Listening,
            (_, Input::Answer(Done) | Input::TlsReady { .. } | Input::News | Input::Over) => {}
            (_, Input::Timeout | Input::Eof) => out.turn = Some(Turn::Close),
        }
        0
    }

    fn patience(&self) -> contract::Patience {
        contract::Patience { idle: std::time::Duration::from_secs(60), rate_min_bytes_s: 0 }
    }
}

impl Session {
    fn line(&mut self, bytes: &[u8], out: &mut Out<Do>) -> usize {
        let Some(end) = bytes.iter().take(Self::LINE_BYTES_MAX).position(|b| *b == b'\n') else {
            if bytes.len() >= Self::LINE_BYTES_MAX {
                out.turn = Some(Turn::Abort);
            }
            return 0;
        };
        match bytes[..end].trim_ascii_end() {
            b"STARTTLS" => {
                self.state = State::Handshake;
                out.say("220 ready\r\n");
                out.turn = Some(Turn::StartTls);
            }
            b"DO" => {
                self.state = State::Waiting;
                out.ask(Do);
            }
            b"QUIT" => out.turn = Some(Turn::Close),
            _ => out.say("500 what?\r\n"),
        }
        end + 1
    }

    const LINE_BYTES_MAX: usize = <Self as contract::Session>::HOLD_BYTES_MAX;
}

pub struct Upgrade;

impl World for Upgrade {
    type Session = Session;

    const NAME: &str = "upgrade";
    const OPENING: &[&[u8]] = &[b"DO\r\n"];
    const WORDS: &[&[u8]] = &[b"STARTTLS\r\n", b"DO\r\n", b"QUIT\r\n", b"what\r\n", b"\r\n", b"\n", b"STARTT", b"\xff"];
    const STARTS_TLS: bool = true;

    fn open(_: &Settings, _: &mut Out<Do>) -> (Self, Session) {
        (Upgrade, Session::open())
    }

    fn answer(&mut self, _: Do, _: &mut Script, _: &mut Vec<u8>) -> Done {
        Done
    }

    fn stray(_: u8) -> Done {
        Done
    }
}
