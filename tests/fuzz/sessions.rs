//! Whole sessions: whatever comes in, in whatever pieces, says the same, and no reply is anything but whole lines.

use rand::Rng;
use rand::rngs::SmallRng;

use crate::stage::{Heard, World, cut_at, imap, play, play_apart, pop3, smtp};
use crate::target::{Target, cut, some};

pub const SMTP: Target = session::<smtp::Smtp>("smtp");
pub const SUBMISSION: Target = session::<smtp::Submission>("submission");
pub const LMTP: Target = session::<smtp::Lmtp>("lmtp");
pub const POP3: Target = session::<pop3::Pop3>("pop3");
pub const IMAP: Target = session::<imap::Imap>("imap");

/// Each octet is delivered alone once, and the player writes down all that is heard: what it allocates is the player's.
const fn session<W: World>(name: &'static str) -> Target {
    Target { name, make: make::<W>, words: W::WORDS, look: look::<W>, allocates: (8 << 20, 64 << 10) }
}

/// A conversation that begins as usual.
fn make<W: World>(chance: &mut SmallRng) -> Vec<u8> {
    let opening = chance.random_range(0..=W::OPENING.len());
    [W::OPENING[..opening].concat(), some(chance, W::WORDS, 20)].concat()
}

fn look<W: World>(octets: &[u8], chance: &mut SmallRng) -> bool {
    let (apart, handshakes) = play_apart::<W>(octets);
    // Who begins a handshake waits for it; everywhere else the cuts are free.
    let mut places: Vec<usize> = handshakes;
    let mut at = 0;
    for piece in cut(chance, octets) {
        at += piece.len();
        places.push(at.min(octets.len()));
    }
    places.sort_unstable();
    assert_eq!(play::<W>(&cut_at(octets, &places)), apart, "cut at {places:?}");
    // Not apart at all: a wall may stand then, and nothing else is asked of it than that it stands.
    play::<W>(&[octets]);
    let mut asked = false;
    for heard in &apart {
        match heard {
            Heard::Reply(reply) => {
                are_lines(reply);
                // Where letters are read, what is in them is said too.
                assert!(W::NAME != "smtp" || !reply.contains(&0), "no NUL: {}", reply.escape_ascii());
            }
            Heard::Ask(_) => asked = true,
            Heard::Body(_) | Heard::Turn(_) => {}
        }
    }
    asked
}

/// Whole lines with CRLF, no other CR or LF.
pub fn are_lines(reply: &[u8]) {
    let mut rest = reply;
    while !rest.is_empty() {
        let end = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n')).expect("a line has an end");
        assert_eq!(rest.get(end..end + 2), Some(&b"\r\n"[..]), "a reply is lines: {}", reply.escape_ascii());
        rest = &rest[end + 2..];
    }
}
