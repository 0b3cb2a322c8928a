//! A balancer in front of the door (PROXY protocol): whose connection it is, it says first, or nothing is said at all.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringpost::config::DoorPlan;
use ringpost::serve::{Rules, Service};
use ringpost::shard;
use ringpost::shard::sim::World;

use crate::{Client, POP3, SHARDS, accounts, operator, plan, start_as};

/// Where the balancer of 127.0.0.1 is expected.
const BALANCED: u16 = 2526;
const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 50312 25";

/// A node whose shard 0 accepts, with room for two connections of an address.
fn behind_a_balancer(story: impl AsyncFn()) {
    for seed in 0..5 {
        let world = World::new(seed);
        let mut plan = plan(true);
        plan.accept_on = vec![0];
        plan.settings.connections_per_address_max = 2;
        let rules = Rules { proxy_from: vec!["127.0.0.1".parse().expect("a network")], ..Rules::of(Service::Smtp) };
        let at = SocketAddr::from(([127, 0, 0, 1], BALANCED));
        plan.doors.push(DoorPlan { rules: Arc::new(rules), ..DoorPlan::plain(Service::Smtp, at) });
        assert_eq!(SHARDS, 2);
        world.run_until(async {
            start_as(&world, plan);
            operator().await.ask(serde_json::json!({"verb": "domain-add", "domain": "ringpost.test"})).await;
            story().await;
        });
        assert_eq!(world.panics(), [""; 0], "seed {seed}");
    }
}

/// A connection of the balancer for whom this says.
async fn of(header: &[u8]) -> Client {
    let mut client = Client::connect(BALANCED).await;
    client.stream.send(header.to_vec()).await.0.expect("the server listens");
    client
}

#[test]
fn a_letter_comes_from_whom_the_balancer_says() {
    behind_a_balancer(async || {
        accounts(&["alice"]).await;
        let v2 =
            [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10".as_slice(), &[192, 0, 2, 8, 1, 1, 1, 1, 9, 9, 0, 25, 4, 0, 1, 7]];
        for (header, address) in [(format!("{V1}\r\n").into_bytes(), "192.0.2.7"), (v2.concat(), "192.0.2.8")] {
            // What is behind the header is not lost, and the header may come in pieces.
            let (begin, rest) = header.split_at(header.len() / 2);
            let mut client = of(begin).await;
            shard::sleep(Duration::from_millis(100)).await;
            client.stream.send([rest, b"HELO client.test\r\n"].concat()).await.0.expect("it listens");
            client.expect("220").await;
            client.expect("250").await;
            for (line, answer) in [
                ("MAIL FROM:<x@client.test>", "250"),
                ("RCPT TO:<alice@ringpost.test>", "250"),
                ("DATA", "354"),
                ("Subject: x\r\n\r\nHello\r\n.", "250"),
                ("QUIT", "221"),
            ] {
                client.say(line).await;
                client.expect(answer).await;
            }
            let mut reader = Client::connect(POP3).await;
            reader.expect("+OK").await;
            for line in ["USER alice", "PASS secret", "RETR 1"] {
                reader.say(line).await;
                reader.expect("+OK").await;
            }
            let letter = reader.dotted().await.join("\n");
            assert!(letter.contains(&format!("([{address}])")), "{letter}");
            for line in ["DELE 1", "QUIT"] {
                reader.say(line).await;
                reader.expect("+OK").await;
            }
        }
    });
}

#[test]
fn a057_the_bound_of_an_address_is_for_the_address_behind_the_balancer() {
    behind_a_balancer(async || {
        let header = format!("{V1}\r\n");
        let (mut one, mut two) = (of(header.as_bytes()).await, of(header.as_bytes()).await);
        one.expect("220").await;
        two.expect("220").await;
        let mut three = of(header.as_bytes()).await;
        three.expect("421 4.7.0").await;
        assert_eq!(three.try_line().await, None);
        // Others are welcome, and so is the balancer itself, as often as it likes.
        let mut others = Vec::new();
        for header in [&b"PROXY TCP4 192.0.2.9 198.51.100.1 1 25\r\n"[..], b"PROXY UNKNOWN\r\n"].repeat(2) {
            let mut other = of(header).await;
            other.expect("220").await;
            others.push(other);
        }
        drop(one);
        shard::sleep(Duration::from_secs(5)).await;
        of(header.as_bytes()).await.expect("220").await;
    });
}

#[test]
fn a062_a_balancer_that_says_nothing_or_nonsense_is_closed() {
    behind_a_balancer(async || {
        for nonsense in
            [&b"EHLO client.test\r\n"[..], b"PROXY TCP4 x\r\n", b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0", b"\x16\x03\x01"]
        {
            assert_eq!(of(nonsense).await.try_line().await, None, "{nonsense:?}");
        }
        for half in [&b""[..], b"PROXY TCP4 192.0.2.7", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x10\0abc"] {
            let began = shard::now();
            assert_eq!(of(half).await.try_line().await, None, "{half:?}");
            let waited = shard::now().since(began);
            assert!((Duration::from_secs(5)..Duration::from_secs(7)).contains(&waited), "{waited:?} for {half:?}");
        }
    });
}

#[test]
fn a062_who_is_no_balancer_is_told_what_this_is() {
    behind_a_balancer(async || {
        let stranger: IpAddr = [127, 0, 0, 2].into();
        let mut client = Client::connect_from(stranger, BALANCED).await;
        client.expect("220").await;
        client.say(V1).await;
        client.expect("421 4.7.0").await;
        assert_eq!(client.try_line().await, None);
    });
}
