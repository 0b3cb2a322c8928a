//! An account gets another name, and the power goes at any moment of it: it has the old name or the new one, with its mail and all
//! that leads to it.

use std::time::Duration;

use ringpost::admin::Request;
use ringpost::admin::routing::Ask;
use ringpost::shard;
use ringpost::shard::sim::Chance;

use crate::node::{self, DOMAIN};
use crate::pop3;
use crate::post::{House, Sender, deliver, kept, seconds};

fn at(name: &str) -> String {
    format!("{name}@{DOMAIN}")
}

fn list(name: &str, group: bool, targets: &[&str]) -> Request {
    let targets = targets.iter().map(|name| at(name)).collect();
    Request::Routing { ask: Ask::ListPut { address: at(name), group, targets } }
}

fn renaming(from: &str, to: &str, keep_alias: bool) -> Request {
    Request::AccountRename { address: at(from), to: at(to), keep_alias }
}

/// What RCPT says.
async fn rcpt(name: &str) -> String {
    let mut sender = Sender::open().await;
    sender.expect("MAIL FROM:<sender@client.example>", "250").await;
    sender.ask(&format!("RCPT TO:<{}>", at(name))).await.expect("an answer")
}

/// The subjects that somebody has by a name, who was `born` by another one.
async fn subjects(name: &str, born: &str) -> Vec<String> {
    let mut tries = 0;
    let all = loop {
        match pop3::fetch_all(node::doors().pop3, &at(name), &format!("secret-of-{born}")).await {
            Ok(all) => break all,
            Err(why) => assert!(tries < 1_000, "{name} cannot read mail: {why:?}"),
        }
        tries += 1;
        shard::sleep(Duration::from_millis(10)).await;
    };
    let subject = |message: &[u8]| {
        let text = String::from_utf8_lossy(message).into_owned();
        text.lines().find_map(|l| l.strip_prefix("Subject: ")).expect("a subject").to_owned()
    };
    let mut all: Vec<String> = all.iter().map(|m| subject(&m.bytes)).collect();
    all.sort_unstable();
    all
}

/// A power cut somewhere in the renaming of an account; true if it has the new name then.
async fn story(house: &House, born: &str, keep_alias: bool, after: Duration) -> bool {
    house.while_stopped(list("sales", false, &[born])).await;
    house.while_stopped(list("staff", true, &["alice", "bob", "carol", "dave"])).await;
    assert!(kept(&deliver(born, "before", "x").await));
    house.crash_during(renaming(born, "zoe", keep_alias), after).await;
    let said = (rcpt(born).await, rcpt("zoe").await);
    let renamed = said.1.starts_with("250");
    let old = if renamed && !keep_alias { "550 5.1.1" } else { "250" };
    let new = if renamed { "250" } else { "550 5.1.1" };
    assert!(said.0.starts_with(old) && said.1.starts_with(new), "{after:?}: {said:?}");
    for name in ["sales", "staff"] {
        assert!(kept(&deliver(name, name, "x").await), "{name}, {after:?}");
    }
    shard::sleep(seconds(2)).await;
    let name = if renamed { "zoe" } else { born };
    assert_eq!(subjects(name, born).await, ["before", "sales", "staff"], "{name}, {after:?}");
    // What was cut off can be asked for again, and the other way round.
    let again = if renamed { renaming("zoe", "ada", false) } else { renaming(born, "ada", false) };
    house.while_stopped(again).await;
    assert_eq!(subjects("ada", born).await, ["before", "sales", "staff"]);
    assert!(kept(&deliver("staff", "last", "x").await));
    shard::sleep(seconds(2)).await;
    assert_eq!(subjects("ada", born).await.len(), 4);
    renamed
}

#[test]
fn whoever_is_renamed_while_the_power_goes_has_one_name_and_all_that_leads_to_it() {
    let mut seen = [0, 0];
    for seed in 0..24 {
        // alice is of the volume that decides what is asked, bob of the other one.
        let born = ["alice", "bob"][seed as usize % 2];
        let after = Duration::from_micros(Chance::new(seed).between(0, 40_000));
        let house = House::new(seed, 2, |_| {});
        let renamed = house.tell_and_return(async |house| story(house, born, seed % 3 == 0, after).await);
        seen[usize::from(renamed)] += 1;
    }
    assert!(seen.iter().all(|n| *n >= 3), "both happen: {seen:?}");
}
