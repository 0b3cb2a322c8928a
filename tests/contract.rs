//! The session contract (`src/proto/contract.rs`) held against every session: five properties, one line a protocol.

#[allow(dead_code, reason = "each test uses its part of the stage")]
mod stage;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use ringpost::limits;
use ringpost::proto::contract::{Session, Turn};

use stage::{Event, Heard, Player, Settings, World};

/// The five properties of one protocol.
macro_rules! contract {
    ($protocol:ident, $world:ty) => {
        mod $protocol {
            #[test]
            fn the_same_bytes_cut_anywhere_say_the_same() {
                super::cut_anywhere::<$world>();
            }

            #[test]
            fn what_is_left_unused_is_bounded() {
                super::bounded::<$world>();
            }

            #[test]
            fn while_an_ask_is_out_bytes_are_not_heard() {
                super::deaf_until_answered::<$world>();
            }

            #[test]
            fn bytes_before_the_handshake_are_never_executed() {
                super::starttls_wall::<$world>();
            }

            #[test]
            fn nothing_panics_whatever_comes_in_whatever_order() {
                super::never_panics::<$world>();
            }
        }
    };
}

contract!(imap, crate::stage::imap::Imap);
contract!(smtp, crate::stage::smtp::Smtp);
contract!(pop3, crate::stage::pop3::Pop3);

/// No protocol of the house starts TLS yet; this toy does, so that the wall is seen to stand. It cannot hold the first
/// property: where the input is cut decides what came before the handshake.
mod upgrade {
    use crate::stage::upgrade::Upgrade;

    #[test]
    fn what_is_left_unused_is_bounded() {
        super::bounded::<Upgrade>();
    }

    #[test]
    fn bytes_before_the_handshake_are_never_executed() {
        super::starttls_wall::<Upgrade>();
    }

    #[test]
    fn nothing_panics_whatever_comes_in_whatever_order() {
        super::never_panics::<Upgrade>();
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A conversation that begins as usual and goes on with the protocol's own words, one in sixteen of them damaged.
fn conversation<W: World>() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        15 => select(W::WORDS.to_vec()).prop_map(<[u8]>::to_vec),
        1 => (select(W::WORDS.to_vec()), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(word, at, byte)| {
            let mut word = word.to_vec();
            let at = at.index(word.len());
            word[at] = byte;
            word
        }),
    ];
    (0..=W::OPENING.len(), vec(word, 0..30)).prop_map(|(opening, words)| {
        let mut wire = W::OPENING[..opening].concat();
        wire.extend(words.concat());
        wire
    })
}

fn play<W: World>(deliveries: &[&[u8]]) -> Vec<Heard> {
    let mut player = Player::<W>::open(&Settings::new());
    deliveries.iter().for_each(|delivery| player.bytes(delivery));
    player.finish()
}

fn cut_anywhere<W: World>() {
    proptest!(config(300), |(wire in conversation::<W>(), cuts in vec(1usize..200, 1..8))| {
        let whole = play::<W>(&[&wire]);
        prop_assert_eq!(&play::<W>(&wire.chunks(1).collect::<Vec<_>>()), &whole);
        let mut deliveries = Vec::new();
        let mut rest = wire.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(rest.len().min(*cut));
            deliveries.push(now);
            rest = later;
        }
        prop_assert_eq!(&play::<W>(&deliveries), &whole);
    });
}

/// The player asserts the bound at every delivery; here is what tries to pass it.
fn bounded<W: World>() {
    let hold = <W::Session as Session>::HOLD_BYTES_MAX;
    assert!(hold <= limits::IMAP_LINE_BYTES_MAX * 8, "a bound worth the name");
    proptest!(config(60), |(before in conversation::<W>(), filler in select(vec![b'x', b' ', b'"', b'(', b'<', b'\r', 0, 0xff]))| {
        let mut player = Player::<W>::open(&Settings::new());
        player.bytes(&before);
        let block = vec![filler; 1_000];
        for _ in 0..(hold + limits::JUNK_BYTES_MAX) / block.len() + 2 {
            player.bytes(&block);
        }
    });
}

/// The player listens for a word at every ask; here are asks.
fn deaf_until_answered<W: World>() {
    let asked = std::cell::Cell::new(0);
    proptest!(config(200), |(wire in conversation::<W>())| {
        let heard = play::<W>(&[&wire]);
        asked.set(asked.get() + heard.iter().filter(|heard| matches!(heard, Heard::Ask(_))).count());
    });
    assert!(asked.get() > 100, "these conversations ask: {}", asked.get());
}

/// The player builds the wall at every handshake with octets behind it.
fn starttls_wall<W: World>() {
    let started = std::cell::Cell::new(0);
    proptest!(config(200), |(wire in conversation::<W>(), cut in 1usize..100)| {
        for deliveries in [vec![wire.as_slice()], wire.chunks(cut).collect()] {
            let heard = play::<W>(&deliveries);
            let handshakes = heard.iter().filter(|heard| **heard == Heard::Turn(Turn::StartTls)).count();
            started.set(started.get() + handshakes);
        }
    });
    assert_eq!(started.get() > 0, W::STARTS_TLS, "handshakes: {}", started.get());
}

fn never_panics<W: World>() {
    let event = || {
        prop_oneof![
            8 => conversation::<W>().prop_map(Event::Bytes),
            8 => vec(any::<u8>(), 0..300).prop_map(Event::Bytes),
            1 => Just(Event::Timeout),
            1 => Just(Event::Eof),
            1 => Just(Event::TlsReady),
            2 => any::<u8>().prop_map(Event::Stray),
        ]
    };
    proptest!(config(500), |(events in vec(event(), 0..12))| {
        let mut player = Player::<W>::open(&Settings::new());
        events.iter().for_each(|event| player.event(event));
        player.finish();
    });
}
