//! Logins that cost a hash, and those that do not.

use ringpost::boot::node::Node;
use ringpost::observe::{self, Counter};
use ringpost::office::Settings;
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
