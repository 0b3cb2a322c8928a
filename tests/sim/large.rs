//! Letters larger than memory has room for: their octets are in the log before their end is here.

use std::time::Duration;

use ringpost::shard;

use crate::node::DOMAIN;
use crate::post::{House, Sender, by_imap, fetched, kept, seconds, subjects};

const ALL: [&str; 4] = ["alice", "bob", "carol", "dave"];

fn house(seed: u64) -> House {
    House::new(seed, 2, |node| node.segment_bytes = 2 << 20)
}

/// Lines that tell where they are; about this many octets.
fn text(octets: usize) -> String {
    let lines: Vec<String> = (0..octets / 40).map(|n| format!("line {n:07} of a letter that is large....")).collect();
    lines.join("\r\n")
}

async fn offer(to: &[&str]) -> Sender {
    let mut sender = Sender::open().await;
    sender.expect("MAIL FROM:<sender@client.example>", "250").await;
    for name in to {
        sender.expect(&format!("RCPT TO:<{name}@{DOMAIN}>"), "250").await;
    }
    sender.expect("DATA", "354").await;
    sender
}

#[test]
fn a_large_letter_reaches_all_volumes_as_it_was() {
    for seed in 0..4 {
        house(seed).tell(async |house| {
            let body = text(900_000);
            assert!(kept(&offer(&ALL).await.finish("large", &body).await));
            shard::sleep(seconds(2)).await;
            for _ in 0..2 {
                for name in ALL {
                    let mail = fetched(name).await;
                    assert_eq!(mail.len(), 1, "{name}");
                    let bytes = &mail[0].bytes;
                    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an empty line") + 4;
                    assert!(bytes[at..] == *format!("{body}\r\n").as_bytes(), "{name}: {} octets", bytes.len());
                    let said = by_imap(name, "FETCH 1 BODY.PEEK[]<600000.20>").await;
                    assert!(said.contains("line 0013631 of a"), "{said}");
                }
                house.crash();
                shard::sleep(seconds(1)).await;
            }
        });
    }
}

#[test]
fn a_power_cut_while_a_large_letter_arrives_leaves_all_of_it_or_nothing() {
    let (mut kept_ones, mut none) = (0, 0);
    for step in 0..24 {
        house(step).tell(async |house| {
            let mut sender = offer(&["alice", "bob"]).await;
            let body = text(700_000);
            let talk = house.world.spawn("sender", async move { sender.finish("cut", &body).await });
            shard::sleep(Duration::from_micros(600 * step)).await;
            house.crash();
            let said = talk.await;
            shard::sleep(seconds(3)).await;
            let (a, b) = (subjects("alice").await.len(), subjects("bob").await.len());
            assert!((a, b) == (1, 1) || (a, b) == (0, 0) && !kept(&said), "step {step}: {a}, {b} after {said:?}");
            assert!(kept(&offer(&["alice", "bob"]).await.finish("next", &text(300_000)).await));
            if a == 1 { kept_ones += 1 } else { none += 1 }
        });
    }
    assert!(kept_ones > 0 && none > 0, "the cuts are where they should be: {kept_ones}, {none}");
}

#[test]
fn a_large_letter_with_a_bad_header_or_no_room_is_refused_at_its_end() {
    house(1).tell(async |house| {
        let mut sender = offer(&["alice", "bob"]).await;
        let fields = "X-Field: value of it\r\n".repeat(20_000);
        let said = sender.ask(&format!("{fields}\r\n{}\r\n.", text(400_000))).await.expect("a verdict");
        assert!(said.starts_with("550 5.6.0"), "{said}");
        house.disks().for_each(|disk| disk.set_free_bytes(0));
        let mut sender = Sender::open().await;
        shard::sleep(seconds(2)).await;
        sender.expect("MAIL FROM:<sender@client.example>", "452").await;
        house.disks().for_each(|disk| disk.set_free_bytes(1 << 40));
        shard::sleep(seconds(2)).await;
        let mut sender = offer(&["alice", "bob"]).await;
        house.disks().for_each(|disk| disk.set_free_bytes(0));
        shard::sleep(seconds(2)).await;
        let said = sender.finish("full", &text(700_000)).await.expect("a verdict");
        assert!(said.starts_with("452 4.3.1"), "{said}");
        assert_eq!(subjects("alice").await, [""; 0]);
    });
}
