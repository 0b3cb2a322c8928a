//! A stage for sessions: a scripted world, and a player that drives a session the way `net::pump` does.
//!
//! A protocol joins with one [`World`]: how its session is opened, what the world answers, and the words its
//! conversations are made of. `tests/contract.rs` and `tests/transcripts.rs` do the rest.
//!
//! The player holds three of the contract's rules wherever it plays: a session that is not waiting leaves less than
//! `HOLD_BYTES_MAX` octets unused, one step says no more than `OUT_BYTES_MAX`, and while an ask is out it is deaf.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt::Debug;

use ringpost::limits;
use ringpost::proto::contract::{Input, Out, Piece, Session, Turn};

pub mod imap;
pub mod keys;
pub mod pop3;
pub mod smtp;
pub mod transcript;
pub mod upgrade;

/// `K:` lines of a transcript: what the session is configured with.
pub type Settings = BTreeMap<String, String>;

/// Everything outside a session, scripted.
pub trait World: Sized {
    /// The session it is the world of.
    type Session: Session<Ask: Debug>;
    /// The folder of its transcripts.
    const NAME: &str;
    /// The usual conversation, word by word. Random ones begin with some of it, to get anywhere.
    const OPENING: &[&[u8]];
    /// Pieces that random conversations are made of: whole commands, halves of them, and what breaks them.
    const WORDS: &[&[u8]];
    /// Settings of the random conversations.
    const RANDOM: &[(&str, &str)] = &[];
    /// False if the session never starts TLS, in those.
    const STARTS_TLS: bool;

    /// A session and its world. `settings`: empty for the defaults.
    fn open(settings: &Settings, out: &mut Out<Ask<Self>>) -> (Self, Self::Session);

    /// Answers an ask. What the door would write to the peer itself goes into `reply`. Must depend on the past alone.
    fn answer(&mut self, ask: Ask<Self>, script: &mut Script, reply: &mut Vec<u8>) -> Answer<Self>;

    /// Some answer, fitting or not, for the test that nothing panics.
    fn stray(n: u8) -> Answer<Self>;
}

pub type Ask<W> = <<W as World>::Session as Session>::Ask;
pub type Answer<W> = <<W as World>::Session as Session>::Answer;

/// A player with the settings of random conversations.
pub fn open_at_random<W: World>() -> Player<W> {
    let settings: Settings = W::RANDOM.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Player::open(&settings)
}

/// What is heard when octets come in these deliveries.
pub fn play<W: World>(deliveries: &[&[u8]]) -> Vec<Heard> {
    let mut player = open_at_random::<W>();
    deliveries.iter().for_each(|delivery| player.bytes(delivery));
    player.finish()
}

/// Plays one octet at a time, so that every handshake succeeds: what is heard, and after how many octets handshakes begin.
pub fn play_apart<W: World>(wire: &[u8]) -> (Vec<Heard>, Vec<usize>) {
    let mut player = open_at_random::<W>();
    wire.chunks(1).for_each(|octet| player.bytes(octet));
    let handshakes = player.handshakes.clone();
    (player.finish(), handshakes)
}

/// Cuts at these places, which rise.
pub fn cut_at<'a>(wire: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut from = 0;
    let ends = places.iter().copied().chain([wire.len()]);
    ends.map(|end| &wire[std::mem::replace(&mut from, end)..end]).filter(|piece| !piece.is_empty()).collect()
}

/// `A:` lines of a transcript: answers that differ from the world's usual ones, in order for each kind of ask.
#[derive(Clone, Debug, Default)]
pub struct Script {
    lines: BTreeMap<String, VecDeque<String>>,
}

impl Script {
    /// The next line for this kind of ask, without the kind. `None`: answer as usual.
    pub fn next(&mut self, kind: &str) -> Option<String> {
        self.lines.get_mut(kind)?.pop_front()
    }

    pub fn add(&mut self, line: &str) {
        let (kind, answer) = line.split_once(' ').unwrap_or((line, ""));
        self.lines.entry(kind.to_owned()).or_default().push_back(answer.to_owned());
    }
}

/// What was heard from a session, in order. Replies that follow one another are one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Reply(Vec<u8>),
    Ask(String),
    /// The pieces of a message, from the last ask to the next.
    Body(Vec<u8>),
    Turn(Turn),
}

/// Something that happens to a session.
#[derive(Clone, Debug)]
pub enum Event {
    Bytes(Vec<u8>),
    Timeout,
    Eof,
    TlsReady,
    /// The conversation is to end.
    Over,
    /// Something happened elsewhere; the pump says so only to a session that wants news.
    News,
    /// An answer that nobody asked for, or not this one.
    Stray(u8),
}

/// Drives one session and writes down what it says.
pub struct Player<W: World> {
    pub heard: Vec<Heard>,
    pub script: Script,
    /// After how many octets each handshake began.
    pub handshakes: Vec<usize>,
    used: usize,
    session: W::Session,
    world: W,
    out: Out<Ask<W>>,
    held: Vec<u8>,
    body: Vec<u8>,
    closed: bool,
    hears_news: bool,
}

impl<W: World> Player<W> {
    pub fn open(settings: &Settings) -> Self {
        let mut out = Out::default();
        let (world, session) = W::open(settings, &mut out);
        let mut player = Player {
            heard: Vec::new(),
            script: Script::default(),
            handshakes: Vec::new(),
            used: 0,
            session,
            world,
            out,
            held: Vec::new(),
            body: Vec::new(),
            closed: false,
            hears_news: false,
        };
        player.settle();
        player
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn wants_news(&self) -> bool {
        !self.closed && self.session.wants_news()
    }

    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Bytes(bytes) => self.bytes(bytes),
            Event::Timeout => self.input(Input::Timeout),
            Event::Eof => self.input(Input::Eof),
            Event::Over => self.input(Input::Over),
            Event::TlsReady => self.input(Input::TlsReady { binds: false }),
            Event::News => self.news(),
            Event::Stray(n) => self.input(Input::Answer(W::stray(*n))),
        }
    }

    /// Something happened elsewhere. What is asked for it is not written down, so that a conversation with news reads as one
    /// without; and who does not want news does nothing about them.
    fn news(&mut self) {
        if self.wants_news() {
            self.hears_news = true;
            self.input(Input::News);
            self.hears_news = false;
        } else if !self.closed {
            let mut out = Out::default();
            self.session.step(Input::News, &mut out);
            assert!(out.reply.is_empty() && out.ask.is_none() && out.turn.is_none(), "news that nobody wanted");
        }
    }

    /// Delivers bytes, together with what was not used before.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        while !self.closed && !self.held.is_empty() {
            let used = self.session.step(Input::Bytes(&self.held), &mut self.out);
            assert!(used <= self.held.len(), "used {used} of {} octets", self.held.len());
            for piece in self.out.body.drain(..) {
                match piece {
                    Piece::Input(range) => {
                        assert!(range.end <= used, "a piece lies in the octets used");
                        self.body.extend_from_slice(&self.held[range]);
                    }
                    Piece::Text(text) => self.body.extend_from_slice(text),
                }
            }
            self.held.drain(..used);
            self.used += used;
            let waits = self.out.ask.is_none() && self.out.turn.is_none();
            if used == 0 && waits {
                let unused = self.held.len();
                assert!(unused < W::Session::HOLD_BYTES_MAX, "{unused} octets unused and nothing asked");
                assert!(self.out.reply.is_empty(), "words without a cause would be said again at each delivery");
                break;
            }
            self.settle();
        }
    }

    /// What is left when the conversation is over.
    pub fn finish(mut self) -> Vec<Heard> {
        self.note_body();
        self.heard
    }

    fn input(&mut self, input: Input<'_, Answer<W>>) {
        if !self.closed {
            self.session.step(input, &mut self.out);
            self.settle();
        }
    }

    /// Carries out what a step left behind.
    fn settle(&mut self) {
        loop {
            assert!(self.out.reply.len() <= limits::OUT_BYTES_MAX, "one step said {} octets", self.out.reply.len());
            let reply = std::mem::take(&mut self.out.reply);
            // Who meets the wall is not told that the handshake may begin.
            if self.out.turn != Some(Turn::StartTls) || self.held.is_empty() {
                self.note_reply(&reply);
            }
            if let Some(turn) = self.out.turn.take() {
                self.note_body();
                self.heard.push(Heard::Turn(turn));
                if turn != Turn::StartTls {
                    assert!(self.out.ask.is_none(), "nothing is asked by who leaves");
                    self.closed = true;
                    return;
                }
                self.handshakes.push(self.used);
                if self.held.is_empty() {
                    self.session.step(Input::TlsReady { binds: false }, &mut self.out);
                    continue;
                }
                self.the_wall();
            }
            let Some(ask) = self.out.ask.take() else { return };
            self.is_deaf();
            self.note_body();
            if !self.hears_news {
                self.heard.push(Heard::Ask(format!("{ask:?}")));
            }
            let mut reply = Vec::new();
            let answer = self.world.answer(ask, &mut self.script, &mut reply);
            self.note_reply(&reply);
            self.session.step(Input::Answer(answer), &mut self.out);
        }
    }

    /// Rule 3: while an ask is out, bytes are not used and nothing is said. Nor are news waited for.
    fn is_deaf(&mut self) {
        assert!(!self.session.wants_news(), "an answer comes before news");
        let mut out = Out::default();
        for bytes in [&b"QUIT\r\n"[..], b"\r\n", b".\r\n", b"x"] {
            let used = self.session.step(Input::Bytes(bytes), &mut out);
            assert_eq!(used, 0, "deaf until answered");
            assert!(out.reply.is_empty() && out.body.is_empty() && out.ask.is_none() && out.turn.is_none());
        }
    }

    /// Rule 4: bytes that came before the handshake close the connection and are never executed. A farewell may be said.
    fn the_wall(&mut self) {
        let mut out = Out::default();
        self.session.step(Input::Bytes(&self.held), &mut out);
        let turn = out.turn.expect("the wall stands");
        assert!(matches!(turn, Turn::Close | Turn::Abort), "the wall stands: {turn:?}");
        assert!(out.ask.is_none() && out.body.is_empty());
        assert!(out.reply.iter().filter(|b| **b == b'\n').count() <= 1, "a farewell is one line");
        self.note_reply(&out.reply);
        self.heard.push(Heard::Turn(turn));
        self.closed = true;
    }

    fn note_reply(&mut self, bytes: &[u8]) {
        match self.heard.last_mut() {
            _ if bytes.is_empty() => {}
            Some(Heard::Reply(reply)) => reply.extend_from_slice(bytes),
            _ => self.heard.push(Heard::Reply(bytes.to_vec())),
        }
    }

    fn note_body(&mut self) {
        if !self.body.is_empty() {
            self.heard.push(Heard::Body(std::mem::take(&mut self.body)));
        }
    }
}
