//! Logins that cost a hash, and those that do not.

use ringpost::admin::{NewAccount, Request};
use ringpost::boot::node::Node;
use ringpost::observe::{self, Counter};
use ringpost::office::Settings;
use ringpost::office::attempts::{ADDRESS_FAILURES_MAX, PAIR_FAILURES_MAX};
use ringpost::shard;
use ringpost::shard::sim::World;
use std::time::Duration;

use crate::lines::Lines;
use crate::node::{self, DOMAIN};

/// Tries a password; true if it was right, and how many jobs the side threads were given for it.
async fn login(password: &str) -> (bool, u64) {
    for _ in 0..1_000 {
        let Ok(mut lines) = Lines::connect(node::doors().imap).await else {
            shard::sleep(Duration::from_millis(10)).await;
            continue;
        };
        lines.line().await.expect("a greeting");
        let before = observe::here(Counter::SideJobs);
        lines.say(format!("a LOGIN alice@{DOMAIN} {password}\r\n")).await.expect("connected");
        let said = lines.line().await.expect("an answer");
        return (said.starts_with("a OK"), observe::here(Counter::SideJobs) - before);
    }
    panic!("the door does not open");
}

fn start(world: &World, shards: u16, remember_s: u64) -> Node {
    let plan = node::plan(world, false, None);
    let plan =
        Node { volumes: 1, settings: Settings { remember_s, ..plan.settings.clone() }, accept_on: vec![0], ..plan };
    node::settle(world, shards, &plan);
    plan
}

#[test]
fn a_password_that_was_right_a_moment_ago_costs_no_hash_and_a_wrong_one_always_does() {
    let world = World::new(1);
    let plan = start(&world, 1, 60);
    let running = node::start_as(&world, 1, plan.clone());
    world.run_until(async {
        assert_eq!(login("secret-of-alice").await, (true, 1), "the first");
        assert_eq!(login("secret-of-alice").await, (true, 0), "remembered");
        for _ in 0..2 {
            assert_eq!(login("secret-of-bob").await, (false, 1), "never remembered");
        }
        assert_eq!(login("secret-of-alice").await, (true, 0), "a wrong one changes nothing");
        shard::sleep(Duration::from_secs(61)).await;
        assert_eq!(login("secret-of-alice").await, (true, 1), "forgotten");
        world.stop(running).await.expect("an orderly end");
    });
    assert_eq!(world.panics(), [""; 0]);
}

#[test]
fn nothing_is_remembered_where_the_operator_says_so() {
    let world = World::new(2);
    let plan = start(&world, 1, 0);
    let _running = node::start_as(&world, 1, plan);
    world.run_until(async {
        for _ in 0..3 {
            assert_eq!(login("secret-of-alice").await, (true, 1));
        }
    });
}

/// So many connections try a wrong password for alice at once, which either shard may accept; how many of them were looked at.
async fn guesses(world: &World, count: usize) -> usize {
    let mut all = Vec::new();
    for n in 0..count {
        let mut lines = Lines::connect(node::doors().imap).await.expect("the door is open");
        lines.line().await.expect("a greeting");
        all.push((n, lines));
    }
    for (n, lines) in &mut all {
        lines.say(format!("a LOGIN alice@{DOMAIN} guess-{n}\r\n")).await.expect("connected");
    }
    let mut looked_at = 0;
    for (_, lines) in &mut all {
        let said = lines.line().await.expect("an answer");
        assert!(said.starts_with("a NO ") || said.starts_with("* BYE "), "{said}");
        looked_at += usize::from(said.contains("AUTHENTICATIONFAILED"));
    }
    assert!(looked_at > 0 && world.panics().is_empty());
    looked_at
}

#[test]
fn a020_many_connections_at_once_on_all_shards_meet_one_bound() {
    for (exempt, bound) in [(false, ADDRESS_FAILURES_MAX), (true, PAIR_FAILURES_MAX)] {
        let world = World::new(3);
        let mut plan = node::plan(&world, false, None);
        node::settle(&world, 2, &plan);
        plan.settings.connections_per_address_max = 200;
        if !exempt {
            plan.settings.exempt_networks.clear();
        }
        let _running = node::start_as(&world, 2, plan);
        world.run_until(async {
            shard::sleep(Duration::from_secs(5)).await;
            assert_eq!(guesses(&world, 150).await, bound as usize, "exempt: {exempt}");
            // Nobody is shut out for good.
            shard::sleep(Duration::from_secs(61)).await;
            assert!(login("secret-of-alice").await.0, "exempt: {exempt}");
        });
        assert_eq!(world.panics(), [""; 0]);
    }
}

/// How long a wrong password for this name takes, milliseconds.
async fn refused_after(name: &str) -> u128 {
    let mut lines = Lines::connect(node::doors().imap).await.expect("the door is open");
    lines.line().await.expect("a greeting");
    let began = shard::now();
    lines.say(format!("a LOGIN {name}@{DOMAIN} wrong\r\n")).await.expect("connected");
    assert!(lines.line().await.expect("an answer").starts_with("a NO [AUTHENTICATIONFAILED]"));
    shard::now().since(began).as_millis()
}

#[test]
fn a111_a_hash_of_another_server_does_not_show_in_the_time_of_a_refusal() {
    for seed in 0..10 {
        let world = World::new(seed);
        let plan = start(&world, 1, 0);
        let hash = Some("{SSHA}7cWpUwo0GRt/CEYUHQjPcwCaoKpOYlgj".to_owned());
        let erin = NewAccount { address: format!("erin@{DOMAIN}"), password: None, hash };
        let running = node::start_as(&world, 1, plan.clone());
        world.run_until(async {
            shard::sleep(Duration::from_secs(1)).await;
            // All have our own: work alone takes time, and all of it the same.
            assert!(refused_after("alice").await < 1_000);
            world.stop(running).await.expect("an orderly end");
            node::carry_out_meanwhile(&world, 1, &plan, Request::AccountAdd { accounts: vec![erin] }).await;
            node::start_as(&world, 1, plan.clone());
            shard::sleep(Duration::from_secs(1)).await;
            for name in ["erin", "alice", "nobody", "erin"] {
                // And what the network takes there and back.
                let took = refused_after(name).await;
                assert!((2_000..2_400).contains(&took), "{name}, seed {seed}: {took} ms");
            }
        });
        assert_eq!(world.panics(), [""; 0]);
    }
}
