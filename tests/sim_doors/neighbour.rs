//! A neighbour that hands connections on (XCLIENT): the client he speaks of counts, and no login of his does.

use std::net::SocketAddr;
use std::sync::Arc;

use ringpost::config::DoorPlan;
use ringpost::serve::{Rules, Service};
use ringpost::shard::sim::World;

use crate::{Client, POP3, accounts, operator, plan, start_as};

const RELAYED: u16 = 2527;

fn behind_a_neighbour(story: impl AsyncFn()) {
    for seed in 0..5 {
        let world = World::new(seed);
        let mut plan = plan(true);
        plan.accept_on = vec![0];
        plan.settings.connections_per_address_max = 2;
        let rules = Rules { xclient_from: vec!["127.0.0.1".parse().expect("a network")], ..Rules::of(Service::Smtp) };
        let at = SocketAddr::from(([127, 0, 0, 1], RELAYED));
        plan.doors.push(DoorPlan { rules: Arc::new(rules), ..DoorPlan::plain(Service::Smtp, at) });
        world.run_until(async {
            start_as(&world, plan);
            operator().await.ask(serde_json::json!({"verb": "domain-add", "domain": "ringpost.test"})).await;
            story().await;
        });
        assert_eq!(world.panics(), [""; 0], "seed {seed}");
    }
}

async fn told(address: &str) -> Client {
    let mut client = Client::connect(RELAYED).await;
    client.expect("220").await;
    client.say(&format!("XCLIENT ADDR={address} HELO=client.test PROTO=SMTP LOGIN=alice+40ringpost.test")).await;
    client
}

#[test]
fn a063_a_letter_comes_from_whom_the_neighbour_says() {
    behind_a_neighbour(async || {
        accounts(&["alice"]).await;
        let mut client = told("192.0.2.7").await;
        client.expect("220").await;
        for (line, answer) in [
            ("MAIL FROM:<alice@ringpost.test>", "250"),
            ("RCPT TO:<x@elsewhere.test>", "550 5.7.1"),
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
        assert!(letter.contains("from client.test ([192.0.2.7])") && letter.contains("with SMTP id"), "{letter}");
    });
}

#[test]
fn a057_the_bound_of_an_address_is_for_the_client_of_a_neighbour_too() {
    behind_a_neighbour(async || {
        let (mut one, mut two) = (told("192.0.2.7").await, told("192.0.2.7").await);
        one.expect("220").await;
        two.expect("220").await;
        let mut three = told("192.0.2.7").await;
        three.expect("421 4.7.0").await;
        assert_eq!(three.try_line().await, None);
        // The client himself may not say who he is, though the neighbour could.
        one.say("XCLIENT ADDR=192.0.2.8").await;
        one.expect("502").await;
        one.say("QUIT").await;
        one.expect("221").await;
        assert_eq!(one.try_line().await, None);
        told("192.0.2.7").await.expect("220").await;
    });
}
