//! A letter for people in several volumes: one batch decides, and the couriers bring the copies, each exactly once.

use std::time::Duration;

use ringpost::admin::{NewAccount, Request, Secret};
use ringpost::shard;
use ringpost::shard::sim::{Fault, OpKind, When};

use crate::node::DOMAIN;
use crate::post::{House, Sender, deliver, kept, seconds, subjects};

/// Tells a story over some seeds; shard 0 alone has doors, so that volume 1 may be full without being asked at MAIL.
fn one_doored(story: impl AsyncFn(&House)) {
    for seed in 0..5 {
        House::new(seed, 2, |node| node.accept_on = vec![0]).tell(&story);
    }
}

/// One letter to all of these.
async fn to_all(names: &[&str], subject: &str) -> Option<String> {
    let mut sender = Sender::open().await;
    offer(&mut sender, names).await;
    sender.finish(subject, "x").await
}

async fn offer(sender: &mut Sender, names: &[&str]) {
    sender.expect("MAIL FROM:<sender@client.example>", "250").await;
    for name in names {
        sender.expect(&format!("RCPT TO:<{name}@{DOMAIN}>"), "250").await;
    }
    sender.expect("DATA", "354").await;
}

const ALL: [&str; 4] = ["alice", "bob", "carol", "dave"];

#[test]
pub fn a_letter_for_several_volumes_is_taken_at_once_and_reaches_all() {
    House::over_seeds(async |_| {
        for (n, names) in [&ALL[..], &["alice", "bob"], &["bob", "dave", "carol"]].into_iter().enumerate() {
            let subject = format!("letter {n}");
            assert!(kept(&to_all(names, &subject).await));
            shard::sleep(seconds(1)).await;
            for name in ALL {
                let there = subjects(name).await.iter().filter(|s| **s == subject).count();
                assert_eq!(there, usize::from(names.contains(&name)), "{name}: {subject}");
            }
        }
    });
}

#[test]
fn fewer_or_more_shards_than_volumes_carry_letters_all_the_same() {
    for (shards, volumes) in [(1, 4), (2, 3), (3, 2), (4, 1), (4, 3)] {
        let house = House::new(u64::from(shards), shards, |node| {
            node.volumes = volumes;
            // Those without a volume accept too.
            node.accept_on = (0..usize::from(shards)).collect();
        });
        house.tell(async |house| {
            for n in 0..8 {
                assert!(kept(&to_all(&ALL, &format!("letter {n}")).await));
            }
            house.crash();
            shard::sleep(seconds(2)).await;
            for name in ALL {
                assert_eq!(subjects(name).await.len(), 8, "{name}: {shards} shards, {volumes} volumes");
            }
        });
    }
}

#[test]
pub fn a_power_cut_at_any_moment_leaves_each_copy_once_or_none_of_a_letter_without_a_verdict() {
    let (mut kept_ones, mut unknown, mut none) = (0, 0, 0);
    for step in 0..60 {
        let house = House::new(step % 7, 2, |_| {});
        let said = house.tell_and_return(async |house| {
            let mut sender = Sender::open().await;
            offer(&mut sender, &ALL).await;
            let talk = house.world.spawn("sender", async move { sender.finish("cut", "x").await });
            // From the last dot to well behind the last record that a transfer makes.
            shard::sleep(Duration::from_micros(40 * step)).await;
            house.crash();
            let said = talk.await;
            shard::sleep(seconds(2)).await;
            let mut counts = Vec::new();
            for name in ALL {
                counts.push(subjects(name).await.len());
            }
            // Once more, so that what a start carries again is there still once.
            house.crash();
            shard::sleep(seconds(2)).await;
            for (name, count) in ALL.into_iter().zip(&counts) {
                assert_eq!(subjects(name).await.len(), *count, "{name}");
            }
            assert!(counts == [1; 4] || counts == [0; 4] && !kept(&said), "step {step}: {counts:?} after {said:?}");
            (said, counts[0])
        });
        match said {
            (Some(_), _) => kept_ones += 1,
            (None, 1) => unknown += 1,
            (None, _) => none += 1,
        }
    }
    println!("{kept_ones} kept, {unknown} kept without a word, {none} not kept");
    assert!(kept_ones > 0 && none > 0, "the cuts are where they should be: {kept_ones}, {unknown}, {none}");
}

#[test]
pub fn copies_for_a_volume_that_hangs_or_is_full_wait_and_survive_what_comes_between() {
    one_doored(async |house| {
        assert!(kept(&deliver("dave", "before", "x").await));
        let hangs = house.hang(1);
        assert!(kept(&to_all(&["alice", "carol", "bob"], "hung").await), "the volume of most of them is well");
        shard::sleep(seconds(5)).await;
        assert_eq!(subjects("alice").await, ["hung"]);
        assert_eq!(subjects("bob").await, [""; 0]);
        shard::sleep(seconds(70)).await;
        hangs.set(false);
        shard::sleep(seconds(100)).await;
        assert_eq!(subjects("bob").await, ["hung"], "once, though it was carried more often");
        house.crash();
        assert_eq!(subjects("bob").await, ["hung"]);

        house.disk(1).set_free_bytes(0);
        shard::sleep(seconds(2)).await;
        assert!(kept(&to_all(&["alice", "carol", "bob"], "full").await));
        shard::sleep(seconds(5)).await;
        assert_eq!(subjects("bob").await, ["hung"]);
        house.crash();
        shard::sleep(seconds(5)).await;
        house.disk(1).set_free_bytes(1 << 40);
        shard::sleep(seconds(60)).await;
        assert_eq!(subjects("bob").await, ["full", "hung"]);
        assert_eq!(subjects("alice").await, ["full", "hung"]);
    });
}

#[test]
fn a_source_that_fails_still_hands_over_what_it_owes_and_the_next_start_doubles_nothing() {
    one_doored(async |house| {
        house.disk(1).set_free_bytes(0);
        shard::sleep(seconds(2)).await;
        assert!(kept(&to_all(&["alice", "carol", "bob"], "owed").await));
        house.disk(0).fail(OpKind::Sync, Fault::Io, When::From(1));
        shard::sleep(seconds(3)).await;
        Sender::open().await.expect("MAIL FROM:<a@client.example>", "250").await;
        house.disk(1).set_free_bytes(1 << 40);
        shard::sleep(seconds(60)).await;
        assert_eq!(subjects("bob").await, ["owed"]);
        house.crash();
        shard::sleep(seconds(2)).await;
        assert_eq!(subjects("bob").await, ["owed"]);
        assert!(kept(&to_all(&["alice", "carol", "bob"], "next").await));
        shard::sleep(seconds(2)).await;
        assert_eq!(subjects("bob").await, ["next", "owed"]);
    });
}

#[test]
fn a_copy_whose_mailbox_went_away_goes_to_the_postmaster_or_is_dropped_and_counted() {
    for (seed, with_postmaster) in [(0, true), (1, false), (2, true), (3, false)] {
        let house = House::new(seed, 2, |node| node.accept_on = vec![0]);
        let secret = |name: &str| Some(Secret::from(&*format!("secret-of-{name}")));
        house.tell(async |house| {
            if with_postmaster {
                let address = format!("postmaster@{DOMAIN}");
                let accounts = vec![NewAccount::with(address, secret("postmaster"))];
                house.while_stopped(Request::AccountAdd { accounts }).await;
            }
            house.disk(1).set_free_bytes(0);
            shard::sleep(seconds(2)).await;
            assert!(kept(&to_all(&["alice", "carol", "bob", "dave"], "for bob and dave").await));
            shard::sleep(seconds(2)).await;
            house.while_stopped(Request::AccountRemove { address: format!("bob@{DOMAIN}") }).await;
            house.disk(1).set_free_bytes(1 << 40);
            shard::sleep(seconds(90)).await;
            assert_eq!(subjects("dave").await, ["for bob and dave"]);
            assert_eq!(subjects("alice").await, ["for bob and dave"]);
            if with_postmaster {
                assert_eq!(subjects("postmaster").await, ["for bob and dave"], "once");
                house.crash();
                shard::sleep(seconds(2)).await;
                assert_eq!(subjects("postmaster").await, ["for bob and dave"], "once");
            }
        });
    }
}
