//! The operator's door: lines of JSON, changes one at a time, durable before they are answered.

use ringpost::serve::admin::LINE_BYTES_MAX;
use serde_json::{Value, json};

use crate::{Client, POP3, accounts, operator, over_seeds, start};

fn add(names: &[&str]) -> Value {
    let accounts: Vec<_> = names.iter().map(|n| json!({ "address": n })).collect();
    json!({"verb": "account-add", "accounts": accounts})
}

async fn listed() -> Vec<String> {
    let answer = operator().await.ask(json!({"verb": "account-list"})).await;
    let accounts = answer["accounts"].as_array().expect("a list");
    accounts.iter().map(|a| a["address"].as_str().expect("an address").to_owned()).collect()
}

async fn can_log_in(name: &str, password: &str) -> bool {
    let mut client = Client::connect(POP3).await;
    client.expect("+OK").await;
    client.say(&format!("USER {name}")).await;
    client.expect("+OK").await;
    client.say(&format!("PASS {password}")).await;
    client.line().await.starts_with("+OK")
}

#[test]
fn what_an_operator_did_survives_a_power_cut() {
    over_seeds(async |world, node| {
        let mut desk = operator().await;
        let made = desk.ask(add(&["Alice@ringpost.test", "bob@RINGPOST.test", "carol@ringpost.test"])).await;
        let password = made["accounts"][1]["password"].as_str().expect("a made password").to_owned();
        let set = json!({"verb": "account-passwd", "address": "alice@ringpost.test", "password": "two words"});
        let set = desk.ask(set).await;
        assert_eq!(set, json!({"answer": "accounts", "accounts": [{"address": "alice@ringpost.test"}]}));
        let gone = desk.ask(json!({"verb": "account-remove", "address": "carol@ringpost.test"})).await;
        assert_eq!(gone, json!({"answer": "done"}));
        world.crash(node);

        start(world, false);
        assert_eq!(listed().await, ["alice@ringpost.test", "bob@ringpost.test"]);
        let domains = operator().await.ask(json!({"verb": "domain-list"})).await;
        assert_eq!(domains["domains"], json!(["ringpost.test"]));
        assert!(can_log_in("bob@ringpost.test", &password).await);
        assert!(can_log_in("ALICE", "two words").await);
        assert!(!can_log_in("alice", &password).await);
        assert!(!can_log_in("carol", "anything").await);
    });
}

#[test]
fn what_cannot_be_done_says_why_and_changes_nothing() {
    over_seeds(async |_, _| {
        accounts(&["alice"]).await;
        let mut desk = operator().await;
        for (request, why) in [
            (json!({"verb": "domain-add", "domain": "RINGPOST.test"}), "exists already"),
            (json!({"verb": "domain-add", "domain": "b\u{fc}cher.example"}), "begins with xn--"),
            (json!({"verb": "domain-remove", "domain": "ringpost.test"}), "still has accounts (1)"),
            (json!({"verb": "domain-remove", "domain": "other.test"}), "is not known here"),
            (add(&["alice@ringpost.test"]), "`ringpost account passwd alice@ringpost.test`"),
            (add(&["bob@other.test"]), "`ringpost domain add other.test`"),
            (add(&["bob@ringpost.test", "BOB@ringpost.test"]), "bob@ringpost.test is named twice"),
            (add(&["bob@ringpost.test", "no address"]), "write it as user@domain"),
            (add(&[]), "no account was named"),
            (json!({"verb": "account-passwd", "address": "alice@ringpost.test", "password": ""}), "password is empty"),
            (json!({"verb": "account-passwd", "address": "bob@ringpost.test"}), "there is no account bob"),
            (json!({"verb": "account-remove", "address": "bob@ringpost.test"}), "there is no account bob"),
            (json!({"verb": "account-list", "domain": "other.test"}), "is not known here"),
            (json!({"verb": "format-disk"}), "this is no request"),
        ] {
            let answer = desk.ask(request.clone()).await;
            assert_eq!(answer["answer"], "refused", "{request}: {answer}");
            assert!(answer["error"].as_str().is_some_and(|e| e.contains(why)), "{request}: {answer}");
        }
        desk.say("not JSON").await;
        desk.expect(r#"{"answer":"refused""#).await;
        assert_eq!(listed().await, ["alice@ringpost.test"]);
    });
}

#[test]
fn two_operators_cannot_give_one_address_two_homes() {
    over_seeds(async |world, _| {
        let both: Vec<_> = (0..2)
            .map(|_| world.spawn("operator", async { operator().await.ask(add(&["alice@ringpost.test"])).await }))
            .collect();
        let mut answers = Vec::new();
        for one in both {
            answers.push(one.await["answer"].as_str().expect("a word").to_owned());
        }
        answers.sort_unstable();
        assert_eq!(answers, ["accounts", "refused"]);
        assert_eq!(listed().await, ["alice@ringpost.test"]);
    });
}

#[test]
fn an_endless_request_is_cut_off() {
    over_seeds(async |_, _| {
        let mut desk = operator().await;
        let block = "x".repeat(64 << 10);
        for _ in 0..=LINE_BYTES_MAX / block.len() {
            if desk.stream.send(block.clone().into_bytes()).await.0.is_err() {
                break;
            }
        }
        if let Some(line) = desk.try_line().await {
            assert!(line.contains("a request may have 1048576 octets"), "{line}");
        }
        assert_eq!(desk.try_line().await, None);
    });
}

#[test]
fn counters_rise_with_what_is_done() {
    over_seeds(async |_, _| {
        let mut desk = operator().await;
        let before = desk.ask(json!({"verb": "stats"})).await;
        accounts(&["alice", "bob"]).await;
        let after = desk.ask(json!({"verb": "stats"})).await;
        let rise =
            |name: &str| after["counters"][name].as_u64().expect(name) - before["counters"][name].as_u64().expect(name);
        assert_eq!(after["counters"]["volumes_open"], 2);
        assert_eq!(after["counters"]["volumes_failed"], 0);
        assert_eq!(rise("volume_transactions"), 2, "an account in each volume");
        assert!(rise("volume_written_bytes") > 0);
    });
}
