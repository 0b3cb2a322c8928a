//! The session contract (`src/proto/contract.rs`) held against every session: five properties and what is said of news, one
//! line a protocol.

#[allow(dead_code, reason = "each test uses its part of the stage")]
mod stage;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use ringpost::limits;
use ringpost::proto::contract::{Session, Turn};

use stage::{Event, Heard, World, cut_at, open_at_random as open, play, play_apart};

/// The properties of one protocol.
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
            fn news_change_nothing_but_what_is_told() {
                super::news_where_wanted::<$world>();
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
contract!(submission, crate::stage::smtp::Submission);
contract!(lmtp, crate::stage::smtp::Lmtp);
contract!(pop3, crate::stage::pop3::Pop3);

contract!(upgrade, crate::stage::upgrade::Upgrade);

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

/// Where a handshake begins the peer must wait for it; everywhere else the cuts are free. What becomes of a peer that does not
/// wait is the fourth property.
fn cut_anywhere<W: World>() {
    proptest!(config(300), |(wire in conversation::<W>(), cuts in vec(1usize..200, 1..8))| {
        let (apart, handshakes) = play_apart::<W>(&wire);
        prop_assert_eq!(&play::<W>(&cut_at(&wire, &handshakes)), &apart);
        let mut places = handshakes;
        let mut at = 0;
        for cut in cuts.iter().cycle() {
            at += cut;
            if at >= wire.len() {
                break;
            }
            places.push(at);
        }
        places.sort_unstable();
        prop_assert_eq!(&play::<W>(&cut_at(&wire, &places)), &apart);
    });
}

/// The player asserts the bound at every delivery; here is what tries to pass it.
fn bounded<W: World>() {
    let hold = <W::Session as Session>::HOLD_BYTES_MAX;
    assert!(hold <= limits::IMAP_LINE_BYTES_MAX * 8, "a bound worth the name");
    proptest!(config(60), |(before in conversation::<W>(), filler in select(vec![b'x', b' ', b'"', b'(', b'<', b'\r', 0, 0xff]))| {
        let mut player = open::<W>();
        cut_at(&before, &play_apart::<W>(&before).1).into_iter().for_each(|piece| player.bytes(piece));
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
        let (heard, _) = play_apart::<W>(&wire);
        asked.set(asked.get() + heard.iter().filter(|heard| matches!(heard, Heard::Ask(_))).count());
    });
    assert!(asked.get() > 100, "these conversations ask: {}", asked.get());
}

/// The player builds the wall at every handshake with octets behind it: up to there a conversation is the same, its last answer
/// aside, and there it ends.
fn starttls_wall<W: World>() {
    let (started, walls) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    proptest!(config(200), |(wire in conversation::<W>(), cut in 1usize..100)| {
        let (apart, handshakes) = play_apart::<W>(&wire);
        started.set(started.get() + handshakes.len());
        play::<W>(&wire.chunks(cut).collect::<Vec<_>>());
        let whole = play::<W>(&[&wire]);
        if handshakes.first().is_none_or(|at| *at == wire.len()) {
            prop_assert_eq!(whole, apart);
            return Ok(());
        }
        walls.set(walls.get() + 1);
        let (at_first, at_wall) = (before_tls(&apart), before_tls(&whole));
        prop_assert_eq!(at_wall.1, at_first.1);
        let answer = at_first.0.strip_prefix(&at_wall.0[..]).expect("the same words");
        prop_assert_eq!(answer.iter().filter(|b| **b == b'\n').count(), 1, "the answer alone is not given");
        let (end, farewell) = at_wall.2.split_last().expect("an end");
        prop_assert!(matches!(end, Heard::Turn(Turn::Close | Turn::Abort)), "{:?}", end);
        prop_assert!(matches!(farewell, [] | [Heard::Reply(_)]), "{:?}", farewell);
    });
    let (started, walls) = (started.get(), walls.get());
    assert_eq!(started > 20 && walls > 20, W::STARTS_TLS, "{started} handshakes, {walls} walls");
}

/// Up to the first handshake: what was said, and what else happened; and what was heard behind it.
fn before_tls(heard: &[Heard]) -> (Vec<u8>, Vec<&Heard>, &[Heard]) {
    let at = heard.iter().position(|heard| *heard == Heard::Turn(Turn::StartTls)).expect("a handshake");
    let said = heard[..at].iter().flat_map(|heard| if let Heard::Reply(bytes) = heard { &bytes[..] } else { &[] });
    let else_ = heard[..at].iter().filter(|heard| !matches!(heard, Heard::Reply(_)));
    (said.copied().collect(), else_.collect(), &heard[at + 1..])
}

/// The world of the stage has nothing to tell when there are news, so a conversation with them reads as one without.
fn news_where_wanted<W: World>() {
    let wanted = std::cell::Cell::new(0);
    proptest!(config(100), |(wire in conversation::<W>())| {
        let mut player = open::<W>();
        // One octet at a time, so that every handshake succeeds.
        for octet in wire.chunks(1) {
            player.bytes(octet);
            wanted.set(wanted.get() + usize::from(player.wants_news()));
            player.event(&Event::News);
        }
        prop_assert_eq!(player.finish(), play_apart::<W>(&wire).0);
    });
    assert_eq!(wanted.get() > 0, W::NAME == "imap", "news wanted: {}", wanted.get());
}

fn never_panics<W: World>() {
    let event = || {
        prop_oneof![
            8 => conversation::<W>().prop_map(Event::Bytes),
            8 => vec(any::<u8>(), 0..300).prop_map(Event::Bytes),
            1 => Just(Event::Timeout),
            1 => Just(Event::Eof),
            1 => Just(Event::TlsReady),
            1 => Just(Event::News),
            1 => Just(Event::Over),
            2 => any::<u8>().prop_map(Event::Stray),
        ]
    };
    proptest!(config(500), |(events in vec(event(), 0..12))| {
        let mut player = open::<W>();
        events.iter().for_each(|event| player.event(event));
        player.finish();
    });
}
