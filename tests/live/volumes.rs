//! Volumes and moves on the real binary: through the socket and offline, with restarts between.

use crate::house::{House, fetch, post};

const ALICE: &str = "alice@ringpost.test";
const BOB: &str = "bob@ringpost.test";

fn listed(house: &House) -> Vec<(u64, String)> {
    let (code, out, err) = house.verb(&["volume", "list", "--json"], "");
    assert_eq!(code, 0, "{err}");
    let volumes: Vec<serde_json::Value> = serde_json::from_str(&out).expect("JSON");
    let one = |v: &serde_json::Value| {
        (v["accounts"].as_u64().expect("a number"), v["state"].as_str().expect("a word").to_owned())
    };
    volumes.iter().map(one).collect()
}

fn done(house: &House, args: &[&str]) {
    let (code, _, err) = house.verb(args, "");
    assert_eq!(code, 0, "{args:?}: {err}");
}

#[test]
fn volumes_come_and_go_while_it_runs_and_offline_and_letters_reach_all_of_them() {
    let mut house = House::open(&["--shards", "2"]);
    let (alice, bob) = (house.password(ALICE), house.password(BOB));
    let counted = |house: &House| (fetch(house.pop3(), ALICE, &alice).len(), fetch(house.pop3(), BOB, &bob).len());
    let to_both = |house: &House, expected: (usize, usize)| {
        assert!(post(house.smtp(), "", &[ALICE, BOB], "Subject: both\r\n\r\n").starts_with("250"));
        let patience = std::time::Instant::now() + crate::house::PATIENCE;
        while counted(house) != expected {
            assert!(std::time::Instant::now() < patience, "{}", house.log());
        }
    };
    to_both(&house, (1, 1));
    let row = |n, state: &str| (n, state.to_owned());
    assert_eq!(listed(&house), [row(1, "open"), row(1, "open")]);
    done(&house, &["volume", "add"]);
    done(&house, &["account", "move", ALICE, "--to", "2"]);
    assert_eq!(listed(&house), [row(0, "open"), row(1, "open"), row(1, "open")]);
    to_both(&house, (2, 2));
    done(&house, &["volume", "evacuate", "1"]);
    let (code, _, err) = house.verb(&["volume", "retire", "0"], "");
    assert!(code == 1 && err.contains("volume evacuate 0"), "{err}");
    done(&house, &["volume", "retire", "1"]);
    assert_eq!(listed(&house), [row(1, "open"), row(0, "retired"), row(1, "open")]);
    to_both(&house, (3, 3));
    house.kill();
    house.reopen();
    assert_eq!(listed(&house), [row(1, "open"), row(0, "retired"), row(1, "open")]);
    to_both(&house, (4, 4));

    // Offline the same verbs, and fewer shards than volumes after it.
    assert_eq!(house.stop(), Some(0), "{}", house.log());
    done(&house, &["volume", "add"]);
    done(&house, &["account", "move", BOB, "--to", "3"]);
    done(&house, &["volume", "evacuate", "0"]);
    house.restart_with(&["--shards", "1"]);
    assert_eq!(listed(&house), [row(0, "closed"), row(0, "retired"), row(1, "open"), row(1, "open")]);
    to_both(&house, (5, 5));
    let (code, _, err) = house.verb(&["account", "move", BOB, "--to", "1"], "");
    assert!(code == 1 && err.contains("there is no volume 1"), "{err}");
}
