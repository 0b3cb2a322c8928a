//! A change of the catalogue is in every volume or, for people, in none: a volume that fails, one that had failed before and is passed
//! over, and a power cut in between.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringpost::shard;
use ringpost::shard::sim::{Fault, OpKind, SimDisk, When, World};
use serde_json::{Value, json};

use crate::{accounts, operator, over_seeds, start};

const SALES: &str = "sales@ringpost.test";

fn disk(world: &World, volume: u16) -> SimDisk {
    world.disk(0, Path::new(&format!("/data/volume-{volume:03}")))
}

/// What an operator hears.
async fn ask(ask: Value) -> Value {
    operator().await.ask(json!({"verb": "routing", "ask": ask})).await
}

fn sales(to: &str) -> Value {
    json!({"what": "list-put", "address": SALES, "group": false, "targets": [format!("{to}@ringpost.test")]})
}

/// Where mail for sales goes; empty: nowhere.
async fn sales_go_to() -> String {
    let way = ask(json!({"what": "way", "address": SALES})).await;
    way["told"]["way"][0]["account"].as_str().unwrap_or_default().to_owned()
}

fn is_well(answer: &Value) -> bool {
    answer["answer"] == "routing"
}

fn failed_for(answer: &Value, volume: u16) {
    assert_eq!(answer["answer"], "failed", "{answer}");
    let why = answer["error"].as_str().expect("a sentence");
    assert!(why.contains(&format!("volume {volume}")) && why.contains("nothing was changed"), "{why}");
}

#[test]
fn a_volume_that_fails_under_a_change_leaves_the_old_in_force_everywhere_and_after_the_next_start() {
    for failing in 0..2 {
        over_seeds(async |world, node| {
            accounts(&["alice", "bob"]).await;
            assert!(is_well(&ask(sales("alice")).await));
            disk(world, failing).fail(OpKind::Sync, Fault::Io, When::Once(1));
            failed_for(&ask(sales("bob")).await, failing);
            assert_eq!(sales_go_to().await, "alice@ringpost.test");
            disk(world, failing).heal();
            world.crash(node);
            let node = start(world, false);
            assert_eq!(sales_go_to().await, "alice@ringpost.test");
            assert!(is_well(&ask(sales("bob")).await));
            world.crash(node);
            start(world, false);
            assert_eq!(sales_go_to().await, "bob@ringpost.test");
        });
    }
}

fn access(verb: &str, entry: &str) -> Value {
    match verb {
        "access-put" => json!({"what": verb, "table": "client", "entry": entry, "deny": true}),
        verb => json!({"what": verb, "table": "client", "entry": entry}),
    }
}

/// Networks that are shut out.
async fn banned() -> Vec<String> {
    let answer = ask(json!({"what": "access"})).await;
    let all = answer["told"]["access"].as_array().expect("a list");
    all.iter().map(|one| one["entry"].as_str().expect("a network").to_owned()).collect()
}

async fn is_suspended(name: &str) -> bool {
    let answer = ask(json!({"what": "account", "address": format!("{name}@ringpost.test")})).await;
    answer["told"]["account"]["suspended"].is_string()
}

fn suspend(name: &str, why: &str) -> Value {
    json!({"what": "account", "address": format!("{name}@ringpost.test"), "set": {"suspended": why}})
}

#[test]
fn bans_and_suspensions_are_made_while_a_volume_has_failed_and_nothing_old_comes_back_with_it() {
    for failing in 0..2 {
        over_seeds(async |world, node| {
            accounts(&["alice", "bob"]).await;
            for before in [sales("alice"), access("access-put", "198.51.100.0/24"), suspend("bob", "spam")] {
                let answer = ask(before).await;
                assert!(is_well(&answer) && answer["warning"].is_null(), "{answer}");
            }
            disk(world, failing).fail(OpKind::Sync, Fault::Io, When::Once(1));
            failed_for(&ask(sales("bob")).await, failing);
            let remove = json!({"what": "list-remove", "address": SALES, "group": false});
            let (ban, unban) = (access("access-put", "192.0.2.0/24"), access("access-remove", "198.51.100.0/24"));
            for during in [ban, suspend("alice", "spam"), unban, suspend("bob", ""), remove] {
                let answer = ask(during).await;
                let warning = answer["warning"].as_str().unwrap_or_default();
                assert!(is_well(&answer) && warning.contains(&format!("volume {failing} has failed")), "{answer}");
            }
            let look =
                async || (sales_go_to().await, banned().await, is_suspended("alice").await, is_suspended("bob").await);
            let now = (String::new(), vec!["192.0.2.0/24".to_owned()], true, false);
            assert_eq!(look().await, now);
            disk(world, failing).heal();
            world.crash(node);

            let node = start(world, false);
            assert_eq!(look().await, now);
            assert!(holds(world, failing, "access:client:192.0.2.0/24"), "it has what it missed");
            let again = ask(access("access-put", "198.51.100.0/24")).await;
            assert!(is_well(&again) && again["warning"].is_null(), "{again}");
            world.crash(node);
            start(world, false);
            assert_eq!(banned().await, ["192.0.2.0/24", "198.51.100.0/24"]);
            assert_eq!((sales_go_to().await, is_suspended("alice").await), (String::new(), true));
        });
    }
}

#[test]
fn where_every_volume_has_failed_nothing_is_changed() {
    over_seeds(async |world, _| {
        accounts(&["alice", "bob"]).await;
        for failing in 0..2 {
            disk(world, failing).fail(OpKind::Sync, Fault::Io, When::Once(1));
            assert_eq!(ask(sales("alice")).await["answer"], "failed");
        }
        let answer = ask(sales("alice")).await;
        assert_eq!(answer["answer"], "failed", "{answer}");
        assert!(answer["error"].as_str().is_some_and(|why| why.contains("every volume")), "{answer}");
        assert_eq!(sales_go_to().await, "");
    });
}

#[test]
fn what_was_never_there_does_not_come_back_with_the_volume_that_failed() {
    over_seeds(async |world, node| {
        accounts(&["alice", "bob"]).await;
        disk(world, 1).fail(OpKind::Sync, Fault::Io, When::Once(1));
        failed_for(&ask(sales("alice")).await, 1);
        assert_eq!(sales_go_to().await, "");
        disk(world, 1).heal();
        world.crash(node);
        let node = start(world, false);
        assert_eq!(sales_go_to().await, "");
        assert!(is_well(&ask(sales("bob")).await));
        world.crash(node);
        start(world, false);
        assert_eq!(sales_go_to().await, "bob@ringpost.test");
    });
}

#[test]
fn a_power_cut_between_two_volumes_is_made_good_at_the_next_start() {
    over_seeds(async |world, node| {
        accounts(&["alice", "bob"]).await;
        assert!(is_well(&ask(sales("alice")).await));
        let hangs = Rc::new(Cell::new(true));
        let now = hangs.clone();
        disk(world, 1).set_delay(Some(Rc::new(move |kind| {
            let hangs = now.clone();
            Box::pin(async move {
                while hangs.get() && matches!(kind, OpKind::Write | OpKind::Sync) {
                    shard::sleep(Duration::from_millis(10)).await;
                }
            })
        })));
        let asked = world.spawn("operator", async {
            operator().await.try_say(&json!({"verb": "routing", "ask": sales("bob")}).to_string()).await
        });
        shard::sleep(Duration::from_secs(5)).await;
        world.crash(node);
        hangs.set(false);
        drop(asked);
        // One volume has it, and it is the newest.
        assert!(!holds(world, 1, "bob@ringpost.test\"]"));
        let node = start(world, false);
        assert_eq!(sales_go_to().await, "bob@ringpost.test");
        assert!(holds(world, 1, "bob@ringpost.test\"]"), "the other one has it too by now");
        world.crash(node);
        start(world, false);
        assert_eq!(sales_go_to().await, "bob@ringpost.test");
    });
}

/// True if these octets are anywhere in a volume.
fn holds(world: &World, volume: u16, octets: &str) -> bool {
    let disk = disk(world, volume);
    let files = disk.files().into_iter().filter_map(|(name, _)| disk.peek(&name));
    files.into_iter().any(|file| memchr::memmem::find(&file, octets.as_bytes()).is_some())
}
