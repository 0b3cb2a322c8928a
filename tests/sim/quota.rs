//! Accounts that keep as much as they may: what senders and mail programs are told, and that nobody keeps more.

use std::time::Duration;

use ringpost::admin::Request;
use ringpost::shard;

use crate::imap_door::Client;
use crate::node::DOMAIN;
use crate::post::{House, Sender, deliver, kept, seconds, subjects};

async fn limit(house: &House, name: &str, bytes: Option<u64>, messages: Option<u32>) {
    house.while_stopped(Request::AccountQuota { address: format!("{name}@{DOMAIN}"), bytes, messages }).await;
}

async fn offer(mail: &str, names: &[&str]) -> Sender {
    let mut sender = Sender::open().await;
    sender.expect(mail, "250").await;
    for name in names {
        sender.expect(&format!("RCPT TO:<{name}@{DOMAIN}>"), "250").await;
    }
    sender
}

const MAIL: &str = "MAIL FROM:<sender@client.example>";

#[test]
fn a197_a_recipient_who_keeps_as_much_as_he_may_is_told_at_rcpt() {
    for shards in [1, 2, 3] {
        House::new(u64::from(shards), shards, |_| {}).tell(async |house| {
            // One of each shard, so that one of them is asked across.
            limit(house, "alice", None, Some(2)).await;
            limit(house, "bob", Some(10_000), None).await;
            for n in 0..2 {
                assert!(kept(&deliver("alice", &format!("{n}"), "x").await));
            }
            let mut sender = offer(MAIL, &["bob"]).await;
            sender.expect(&format!("RCPT TO:<alice@{DOMAIN}>"), "452 4.2.2").await;
            // The others get it.
            sender.expect("DATA", "354").await;
            assert!(kept(&sender.finish("for bob", "x").await));
            let mut sender = offer(&format!("{MAIL} SIZE=20000"), &["carol"]).await;
            sender.expect(&format!("RCPT TO:<bob@{DOMAIN}>"), "452 4.2.2").await;
            // Who says nothing of the size hears it at the end.
            let mut sender = offer(MAIL, &["bob"]).await;
            sender.expect("DATA", "354").await;
            let said = sender.finish("too much", &"y\r\n".repeat(4_000)).await.expect("a verdict");
            assert!(said.starts_with("452 4.2.2"), "{said}");
            house.crash();
            shard::sleep(seconds(1)).await;
            let mut sender = offer(MAIL, &["bob"]).await;
            sender.expect(&format!("RCPT TO:<alice@{DOMAIN}>"), "452 4.2.2").await;
            assert_eq!(subjects("alice").await.len(), 2);
            limit(house, "alice", None, Some(0)).await;
            assert!(kept(&deliver("alice", "again", "x").await));
        });
    }
}

#[test]
fn a197_who_was_promised_a_place_that_somebody_else_took_hears_it_at_the_end() {
    House::over_seeds(async |house| {
        // In one volume, in another one, and in both.
        for (round, names) in
            [&["alice"][..], &["alice", "carol", "bob"], &["bob", "dave", "alice"]].into_iter().enumerate()
        {
            for name in ["alice", "bob"] {
                let there = subjects(name).await.len() as u32;
                limit(house, name, None, Some(there + 1)).await;
            }
            let mut senders = Vec::new();
            for _ in 0..3 {
                let mut sender = offer(MAIL, names).await;
                sender.expect("DATA", "354").await;
                senders.push(sender);
            }
            let talks: Vec<_> = (0..)
                .zip(senders)
                .map(|(n, mut sender)| {
                    house.world.spawn("sender", async move { sender.finish(&format!("{round}.{n}"), "x").await })
                })
                .collect();
            let mut taken = 0;
            for talk in talks {
                let said = talk.await.expect("a verdict");
                assert!(said.starts_with("250") || said.starts_with("452 4.2.2"), "{said}");
                taken += usize::from(said.starts_with("250"));
            }
            assert_eq!(taken, 1, "round {round}");
            shard::sleep(seconds(2)).await;
            for name in names {
                let of_round = subjects(name).await.iter().filter(|s| s.starts_with(&format!("{round}."))).count();
                assert_eq!(of_round, 1, "{name}, round {round}");
            }
        }
    });
}

#[test]
pub fn a197_room_for_a_letter_on_its_way_is_kept_through_a_power_cut() {
    for seed in 0..12 {
        House::new(seed, 2, |node| node.accept_on = vec![0]).tell(async |house| {
            limit(house, "bob", None, Some(1)).await;
            // Decided in the volume of alice and carol; bob's cannot take it yet.
            house.disk(1).set_free_bytes(0);
            shard::sleep(seconds(2)).await;
            let mut sender = offer(MAIL, &["alice", "carol", "bob"]).await;
            sender.expect("DATA", "354").await;
            assert!(kept(&sender.finish("on its way", "x").await));
            shard::sleep(Duration::from_millis(10 * seed)).await;
            house.disk(1).set_free_bytes(1 << 40);
            house.crash();
            // Who comes first does not take its place.
            let mut sender = offer(MAIL, &[]).await;
            sender.expect(&format!("RCPT TO:<bob@{DOMAIN}>"), "452 4.2.2").await;
            shard::sleep(seconds(2)).await;
            assert_eq!(subjects("bob").await, ["on its way"], "seed {seed}");
        });
    }
}

#[test]
fn a_mail_program_is_told_overquota_and_may_still_move_and_remove() {
    House::new(3, 2, |_| {}).tell(async |house| {
        limit(house, "alice", None, Some(1)).await;
        let mut c = Client::in_inbox("alice").await;
        let said = c.say("APPEND INBOX {2+}\r\na:").await;
        assert!(said.contains("OK"), "{said}");
        let said = c.say("APPEND INBOX {2+}\r\na:").await;
        assert!(said.contains("OVERQUOTA"), "{said}");
        let said = c.say("COPY 1 INBOX").await;
        assert!(said.contains("OVERQUOTA"), "{said}");
        c.say("CREATE other").await;
        let said = c.say("MOVE 1 other").await;
        assert!(said.contains("COPYUID"), "{said}");
        let said = c.say("APPEND INBOX {2+}\r\na:").await;
        assert!(said.contains("OVERQUOTA"), "{said}");
        c.say("SELECT other").await;
        c.say("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        c.say("EXPUNGE").await;
        let said = c.say("APPEND INBOX {2+}\r\na:").await;
        assert!(!said.contains("OVERQUOTA") && said.contains("OK"), "{said}");
    });
}
