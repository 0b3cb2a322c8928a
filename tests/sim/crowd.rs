//! More connections than there are places: who is let in, what the others are told, and that every place is free again
//! when its connection is over (A057).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ringpost::limits;
use ringpost::shard;

use crate::lines::Lines;
use crate::node;
use crate::post::{House, knock, seconds};

/// A057: who is one too many knows it by then, the way there and back included.
const ANSWER_MAX: Duration = Duration::from_millis(100);
/// After so long the simulated network sends a packet again that it lost.
const SENT_AGAIN_MS: u64 = 200;

/// Connects so often from one address, keeps those who are let in, and counts what the others are told.
async fn crowd(from: IpAddr, size: usize) -> (Vec<Lines>, BTreeMap<String, usize>) {
    let (mut inside, mut told) = (Vec::new(), BTreeMap::new());
    for _ in 0..size {
        let began = shard::now();
        let mut lines = knock(from).await;
        let word = lines.line().await.expect("a word");
        let took = shard::now().since(began);
        assert!(took < seconds(1), "at once: {took:?}");
        if !word.starts_with("220") {
            // The network sends one packet in some hundred again.
            let waited = Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX) % SENT_AGAIN_MS);
            assert!(waited <= ANSWER_MAX, "{took:?}: {word}");
        }
        if word.starts_with("220") {
            inside.push(lines);
        } else {
            *told.entry(word[..9].to_owned()).or_default() += 1;
            lines.expect_end().await;
        }
    }
    (inside, told)
}

#[test]
fn a057_an_address_has_its_share_of_connections_and_gets_it_back() {
    const SHARDS: usize = 2;
    let share = SHARDS * limits::CONNECTIONS_PER_ADDRESS_MAX;
    let house = House::new(1, 2, |plan| plan.settings.exempt_networks.clear());
    house.tell(async |_| {
        shard::sleep(seconds(1)).await;
        for _ in 0..3 {
            let (inside, told) = crowd([192, 0, 2, 7].into(), 300).await;
            assert_eq!(inside.len(), share);
            assert_eq!(told, BTreeMap::from([("421 4.7.0".to_owned(), 300 - share)]));
            // Nobody else is touched.
            let (others, none) = crowd([192, 0, 2, 8].into(), 10).await;
            assert_eq!((others.len(), none.len()), (10, 0));
            // Some end in order, some break off.
            for (n, lines) in inside.into_iter().enumerate() {
                if n % 2 == 0 { drop(lines) } else { lines.reset() }
            }
            drop(others);
            shard::sleep(seconds(1)).await;
        }
    });
}

#[test]
fn a057_all_together_have_their_bound_too() {
    // As where the limit of open files leaves no more.
    const PLACES: usize = 1_000;
    let house = House::new(1, 1, |plan| plan.settings.connections_max = PLACES);
    house.tell(async |_| {
        let (mut inside, told) = crowd([127, 0, 0, 1].into(), PLACES + 20).await;
        assert_eq!(inside.len(), PLACES);
        assert_eq!(told, BTreeMap::from([("421 4.3.2".to_owned(), 20)]));
        inside.truncate(PLACES - 10);
        shard::sleep(seconds(1)).await;
        let (again, told) = crowd([127, 0, 0, 1].into(), 20).await;
        assert_eq!((again.len(), told.values().sum::<usize>()), (10, 10));
    });
}

/// Logs in by POP3 or IMAP so often; those that are in.
async fn logins(name: &str, size: usize) -> Vec<Lines> {
    let mut inside = Vec::new();
    for n in 0..size {
        let (door, login) = if n % 2 == 0 {
            (node::doors().pop3, format!("USER {name}\r\nPASS secret-of-{name}\r\n"))
        } else {
            (node::doors().imap, format!("x LOGIN {name}@{} secret-of-{name}\r\n", node::DOMAIN))
        };
        let mut lines = Lines::connect(door).await.expect("the door is open");
        let in_it = async {
            lines.say(login).await.ok()?;
            loop {
                let line = lines.line().await.ok()?;
                if line.starts_with("x OK") || line == "+OK logged in" {
                    return Some(());
                }
                if line.starts_with("* BYE") || line.starts_with("-ERR") || line.starts_with("x NO") {
                    return None;
                }
            }
        };
        if in_it.await.is_some() {
            inside.push(lines);
        }
    }
    inside
}

#[test]
fn a057_a_connection_handed_to_another_shard_counts_there_and_is_given_back() {
    let share = limits::CONNECTIONS_PER_ADDRESS_MAX;
    let house = House::new(1, 2, |plan| plan.settings.exempt_networks.clear());
    house.tell(async |_| {
        shard::sleep(seconds(1)).await;
        for _ in 0..3 {
            // All of them end on the shard of alice, whichever door they came by.
            let inside = logins("alice", 200).await;
            assert_eq!(inside.len(), share);
            // The other shard has nothing of them.
            let others = logins("bob", 200).await;
            assert_eq!(others.len(), share);
            for (n, lines) in inside.into_iter().chain(others).enumerate() {
                if n % 2 == 0 { drop(lines) } else { lines.reset() }
            }
            shard::sleep(seconds(1)).await;
        }
    });
}
