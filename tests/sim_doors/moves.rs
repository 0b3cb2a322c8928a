//! Accounts move to other volumes while letters come for them and their owners read; power cuts at any moment; volumes
//! come and go.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ringpost::boot::node::Node;
use ringpost::config::DoorPlan;
use ringpost::serve::Service;
use ringpost::shard;
use ringpost::shard::sim::{NodeId, OpKind, World};
use serde_json::{Value, json};

use crate::{Client, SMTP, accounts, operator, plan, send, start_as};

const IMAP: u16 = 2143;

fn with_imap(found: bool) -> Node {
    let mut node = plan(found);
    let at = SocketAddr::from(([127, 0, 0, 1], IMAP));
    node.doors.push(DoorPlan::plain(Service::Imap, at));
    node
}

/// A world with alice and carol in volume 0, bob and dave in volume 1.
fn story(seed: u64, story: impl AsyncFnOnce(&World, NodeId)) {
    story_of(seed, with_imap(true), story);
}

/// The same, told so at first.
fn story_of(seed: u64, node: Node, story: impl AsyncFnOnce(&World, NodeId)) {
    let world = World::new(seed);
    world.run_until(async {
        let node = start_as(&world, node);
        let done = operator().await.ask(json!({"verb": "domain-add", "domain": "ringpost.test"})).await;
        assert_eq!(done, json!({"answer": "done"}));
        accounts(&["alice", "bob", "carol", "dave"]).await;
        story(&world, node).await;
    });
    assert_eq!(world.panics(), [""; 0], "seed {seed}");
}

/// An IMAP session of a user; what is said to a command, the verdict last.
async fn imap(name: &str) -> Client {
    let mut client = Client::connect(IMAP).await;
    client.expect("* OK").await;
    let said = say(&mut client, &format!("LOGIN {name}@ringpost.test secret")).await;
    assert!(said.last().is_some_and(|l| l.starts_with("x OK")), "{said:?}");
    client
}

async fn say(client: &mut Client, command: &str) -> Vec<String> {
    client.say(&format!("x {command}")).await;
    let mut said = Vec::new();
    loop {
        let line = client.line().await;
        let last = line.starts_with("x ");
        said.push(line);
        if last {
            return said;
        }
    }
}

async fn ok(client: &mut Client, command: &str) -> Vec<String> {
    let said = say(client, command).await;
    assert!(said.last().is_some_and(|l| l.starts_with("x OK")), "{command}: {said:?}");
    said
}

/// Everything of an account that a mail program goes by.
async fn stand(name: &str) -> Vec<String> {
    let mut client = imap(name).await;
    let mut all = ok(&mut client, "LIST \"\" *").await;
    all.extend(ok(&mut client, "LSUB \"\" *").await);
    for mailbox in ["INBOX", "Work"] {
        let status = format!("STATUS {mailbox} (MESSAGES UIDNEXT UIDVALIDITY)");
        all.extend(ok(&mut client, &status).await);
        ok(&mut client, &format!("SELECT {mailbox}")).await;
        let fetch = "UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)])";
        let rows = ok(&mut client, fetch).await;
        all.extend(rows.into_iter().filter(|l| !l.starts_with("x ")));
    }
    all
}

/// Alice's INBOX with flags and holes, and a mailbox of her own.
async fn furnish() {
    for n in 0..6 {
        send("alice", &format!("letter {n}"), "x").await;
    }
    let mut client = imap("alice").await;
    for command in [
        "CREATE Work",
        "SUBSCRIBE Nowhere",
        "UNSUBSCRIBE Sent",
        "SELECT INBOX",
        "STORE 2 +FLAGS (\\Flagged $Later)",
        "STORE 4 +FLAGS (\\Seen)",
        "COPY 1:3 Work",
        "STORE 3,6 +FLAGS (\\Deleted)",
        "EXPUNGE",
        "SELECT Work",
        "STORE 3 +FLAGS (\\Deleted)",
        "EXPUNGE",
        "RENAME Trash Bin",
    ] {
        ok(&mut client, command).await;
    }
}

async fn begin(name: &str, to: u16) -> u64 {
    let request = json!({"verb": "account-move", "address": format!("{name}@ringpost.test"), "to": to});
    let answer = operator().await.ask(request).await;
    answer["job"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

/// Waits until a job has ended; how.
async fn ended(job: u64) -> Value {
    for _ in 0..10_000 {
        let state = state(job).await;
        if state != json!("running") {
            return state;
        }
        shard::sleep(Duration::from_millis(5)).await;
    }
    panic!("job {job} does not end");
}

/// How a job stands.
async fn state(job: u64) -> Value {
    let answer = operator().await.ask(json!({"verb": "jobs"})).await;
    let jobs = answer["jobs"].as_array().expect("a list").clone();
    jobs.into_iter().find(|j| j["id"] == json!(job)).expect("it is remembered")["state"].clone()
}

/// Nothing written to the volume gets anywhere while this is true.
fn hang(world: &World, volume: u16) -> Rc<Cell<bool>> {
    let hangs = Rc::new(Cell::new(true));
    let now = hangs.clone();
    world.disk(0, &PathBuf::from(format!("/data/volume-{volume:03}"))).set_delay(Some(Rc::new(move |kind| {
        let hangs = now.clone();
        Box::pin(async move {
            while hangs.get() && matches!(kind, OpKind::Write | OpKind::Sync) {
                shard::sleep(Duration::from_millis(10)).await;
            }
        })
    })));
    hangs
}

/// Accounts in each volume.
async fn homes() -> Vec<u64> {
    let answer = operator().await.ask(json!({"verb": "volume-list"})).await;
    let volumes = answer["volumes"].as_array().expect("a list");
    volumes.iter().map(|v| v["accounts"].as_u64().expect("a number")).collect()
}

async fn subjects(name: &str) -> Vec<String> {
    let mut client = imap(name).await;
    ok(&mut client, "SELECT INBOX").await;
    let rows = ok(&mut client, "UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").await;
    rows.into_iter().filter_map(|l| l.strip_prefix("Subject: ").map(str::to_owned)).collect()
}

/// Tries one letter; true: it was taken.
async fn try_send(subject: &str) -> bool {
    let mut client = Client::connect(SMTP).await;
    client.expect("220").await;
    for line in ["HELO client.test", "MAIL FROM:<sender@client.test>", "RCPT TO:<alice@ringpost.test>", "DATA"] {
        client.say(line).await;
        if !client.line().await.starts_with(['2', '3']) {
            return false;
        }
    }
    client.say(&format!("Subject: {subject}\r\n\r\nx\r\n.")).await;
    client.try_line().await.is_some_and(|l| l.starts_with("250"))
}

#[test]
pub fn an_account_moves_and_keeps_everything_a_mail_program_goes_by() {
    for seed in 0..4 {
        story(seed, async |world, node| {
            furnish().await;
            let before = stand("alice").await;
            assert_eq!(homes().await, [2, 2]);
            let mut idle = imap("alice").await;
            ok(&mut idle, "SELECT INBOX").await;
            assert_eq!(ended(begin("alice", 1).await).await, json!("done"));
            assert_eq!(homes().await, [1, 3]);
            // A conversation with the old place ends, or is told that the mailbox is gone; it never shows half of it.
            idle.try_say("x UID FETCH 1:* (UID)").await.ok();
            let said = idle.try_line().await;
            assert!(said.as_deref().is_none_or(|l| l.starts_with("* BYE") || l.starts_with("x NO")), "{said:?}");
            assert_eq!(stand("alice").await, before);
            send("alice", "after", "x").await;
            world.crash(node);
            start_as(world, with_imap(false));
            assert_eq!(homes().await, [1, 3]);
            assert_eq!(subjects("alice").await.last().map(String::as_str), Some("after"));
            // And back: nothing there is in the way.
            let before = stand("alice").await;
            assert_eq!(ended(begin("alice", 0).await).await, json!("done"));
            assert_eq!((stand("alice").await, homes().await), (before, vec![2, 2]));
        });
    }
}

#[test]
fn a197_a_large_letter_and_the_limits_of_its_account_move_with_it() {
    let node = |found| Node { segment_bytes: 2 << 20, ..with_imap(found) };
    let lines: Vec<String> = (0..20_000).map(|n| format!("line {n:07} of a letter that is large....")).collect();
    let letter = lines.join("\r\n");
    for seed in 0..4 {
        story_of(seed, node(true), async |world, first| {
            send("alice", "large", &letter).await;
            send("alice", "small", "x").await;
            let ask =
                json!({"verb": "account-quota", "address": "alice@ringpost.test", "bytes": 2_000_000, "messages": 3});
            let quota = operator().await.ask(ask).await;
            let quota_of = async || {
                let ask = json!({"verb": "account-quota", "address": "alice@ringpost.test"});
                operator().await.ask(ask).await
            };
            let body = async || {
                let mut client = imap("alice").await;
                ok(&mut client, "SELECT INBOX").await;
                ok(&mut client, "FETCH 1 BODY.PEEK[TEXT]").await
            };
            let before = body().await;
            assert!(before.len() > lines.len(), "{} lines", before.len());
            assert_eq!(ended(begin("alice", 1).await).await, json!("done"));
            assert!(body().await == before, "seed {seed}");
            assert_eq!(quota_of().await, quota);
            // The limits are known in its new home at once, and to who puts the account there again.
            let ask = json!({"verb": "account-passwd", "address": "alice@ringpost.test", "password": "secret"});
            assert_eq!(operator().await.ask(ask).await["answer"], json!("accounts"));
            assert_eq!(quota_of().await, quota);
            world.crash(first);
            start_as(world, node(false));
            assert!(body().await == before, "seed {seed}");
            assert_eq!(quota_of().await, quota);
            assert!(try_send("the third").await);
            assert!(!try_send("the fourth").await);
        });
    }
}

#[test]
pub fn letters_that_come_during_a_move_are_taken_once_or_refused() {
    let all = Rc::new(Cell::new(0));
    for seed in 0..6 {
        let all = all.clone();
        story(seed, async |world, _| {
            furnish().await;
            let over = Rc::new(Cell::new(false));
            let senders: Vec<_> = (0..4)
                .map(|sender| {
                    let over = over.clone();
                    world.spawn("sender", async move {
                        let mut taken = Vec::new();
                        for n in 0.. {
                            if over.get() {
                                return taken;
                            }
                            let subject = format!("during {sender}.{n}");
                            if try_send(&subject).await {
                                taken.push(subject);
                            }
                        }
                        taken
                    })
                })
                .collect();
            for to in [1, 0, 1] {
                assert_eq!(ended(begin("alice", to).await).await, json!("done"));
            }
            over.set(true);
            let mut taken = Vec::new();
            for sender in senders {
                taken.extend(sender.await);
            }
            shard::sleep(Duration::from_secs(1)).await;
            let mut there: Vec<String> =
                subjects("alice").await.into_iter().filter(|s| s.starts_with("during")).collect();
            taken.sort_unstable();
            there.sort_unstable();
            assert_eq!(there, taken);
            all.set(all.get() + taken.len());
        });
    }
    assert!(all.get() > 60, "the senders are at work during the moves: {}", all.get());
}

#[test]
pub fn a_power_cut_at_any_moment_of_a_move_leaves_the_account_in_one_place_whole() {
    let (mut moved, mut stayed) = (0, 0);
    for step in 0..60 {
        story(step % 8, async |world, node| {
            furnish().await;
            let before = stand("alice").await;
            begin("alice", 1).await;
            shard::sleep(Duration::from_micros(250 * step)).await;
            world.crash(node);
            start_as(world, with_imap(false));
            assert_eq!(stand("alice").await, before, "step {step}");
            shard::sleep(Duration::from_secs(2)).await;
            match homes().await[..] {
                [1, 3] => moved += 1,
                [2, 2] => stayed += 1,
                ref other => panic!("step {step}: {other:?}"),
            }
            // What was left is gone: the move can be made, or made again.
            send("alice", "after", "x").await;
            let to = if homes().await == [1, 3] { 0 } else { 1 };
            assert_eq!(ended(begin("alice", to).await).await, json!("done"), "step {step}");
            assert_eq!(subjects("alice").await.last().map(String::as_str), Some("after"));
        });
    }
    println!("{moved} moved, {stayed} stayed");
    assert!(moved > 3 && stayed > 3, "the cuts are where they should be: {moved}, {stayed}");
}

#[test]
pub fn a_power_cut_before_the_old_place_is_given_up_leaves_the_account_in_the_new_one() {
    let arrived = Cell::new(0);
    for seed in 0..24 {
        story(seed, async |world, node| {
            furnish().await;
            let before = stand("alice").await;
            begin("alice", 1).await;
            shard::sleep(Duration::from_micros(700 * seed)).await;
            // What is there can arrive in the other volume, and cannot go here.
            let hangs = hang(world, 0);
            shard::sleep(Duration::from_secs(1)).await;
            world.crash(node);
            hangs.set(false);
            let node = start_as(world, with_imap(false));
            assert_eq!(stand("alice").await, before, "seed {seed}");
            shard::sleep(Duration::from_secs(2)).await;
            let there = homes().await;
            assert!(there == [1, 3] || there == [2, 2], "seed {seed}: {there:?}");
            for n in 0..4 {
                send("alice", &format!("after {n}"), "x").await;
            }
            world.crash(node);
            start_as(world, with_imap(false));
            assert_eq!(subjects("alice").await[4..], ["after 0", "after 1", "after 2", "after 3"], "seed {seed}");
            assert_eq!(homes().await, there, "seed {seed}");
            // What was left is gone: nothing is in the way back.
            let to = if there == [1, 3] { 0 } else { 1 };
            assert_eq!(ended(begin("alice", to).await).await, json!("done"), "seed {seed}");
            arrived.set(arrived.get() + u32::from(there == [1, 3]));
        });
    }
    println!("{} had arrived", arrived.get());
    assert!(arrived.get() > 3, "the hang begins where it should: {}", arrived.get());
}

/// Alice moves to volume 1 and nothing can be removed in volume 0; true: she had arrived.
async fn move_and_leave(world: &World, after: Duration) -> (Rc<Cell<bool>>, bool) {
    begin("alice", 1).await;
    shard::sleep(after).await;
    let hangs = hang(world, 0);
    shard::sleep(Duration::from_secs(1)).await;
    (hangs, homes().await == [1, 3])
}

/// True if RCPT takes this address.
async fn is_somebody(name: &str) -> bool {
    let mut client = Client::connect(SMTP).await;
    client.expect("220").await;
    for line in ["HELO client.test", "MAIL FROM:<sender@client.test>"] {
        client.say(line).await;
        client.expect("250").await;
    }
    client.say(&format!("RCPT TO:<{name}@ringpost.test>")).await;
    let said = client.line().await;
    assert!(said.starts_with("250") || said.starts_with("550 "), "{said}");
    said.starts_with("250")
}

#[test]
pub fn whoever_is_renamed_after_a_move_that_left_something_has_one_name_and_one_home() {
    let (renamed, ruled) = (Cell::new(0), Cell::new(0));
    for seed in 0..24 {
        story(seed, async |world, node| {
            furnish().await;
            let before = stand("alice").await;
            let has_rules = seed % 2 == 0;
            if has_rules {
                let set = json!({"forward": ["carol@ringpost.test"], "keep": true});
                let ask = json!({"what": "account", "address": "alice@ringpost.test", "set": set});
                let answer = operator().await.ask(json!({"verb": "routing", "ask": ask})).await;
                assert_eq!(answer["answer"], "routing", "{answer}");
            }
            let (hangs, arrived) = move_and_leave(world, Duration::from_micros(700 * seed)).await;
            let ask = json!({"verb": "account-rename", "address": "alice@ringpost.test", "to": "zoe@ringpost.test"});
            operator().await.ask(ask).await;
            world.crash(node);
            hangs.set(false);
            let node = start_as(world, with_imap(false));
            let is_renamed = is_somebody("zoe").await;
            assert_eq!((is_somebody("alice").await, is_renamed), (!arrived, arrived), "seed {seed}");
            if !is_renamed {
                return;
            }
            renamed.set(renamed.get() + 1);
            ruled.set(ruled.get() + u32::from(has_rules));
            assert_eq!(stand("zoe").await, before, "seed {seed}");
            shard::sleep(Duration::from_secs(2)).await;
            assert_eq!(homes().await, [1, 3], "seed {seed}");
            send("zoe", "after", "x").await;
            // Whoever has the old name next has nothing of the one who had it.
            accounts(&["alice"]).await;
            send("alice", "own", "x").await;
            world.crash(node);
            start_as(world, with_imap(false));
            assert_eq!(subjects("alice").await, ["own"], "seed {seed}");
            let (zoe, carol) = (subjects("zoe").await, subjects("carol").await);
            assert!(zoe.last().is_some_and(|last| last == "after"), "seed {seed}: {zoe:?}");
            assert_eq!(carol, if has_rules { &["after"][..] } else { &[] }, "seed {seed}");
        });
    }
    assert!(renamed.get() > 3 && ruled.get() > 1, "they arrive: {}, {}", renamed.get(), ruled.get());
}

#[test]
pub fn whoever_is_removed_after_a_move_that_left_something_does_not_come_back() {
    let arrived = Cell::new(0);
    for seed in 0..8 {
        story(seed, async |world, node| {
            furnish().await;
            let (hangs, has_arrived) = move_and_leave(world, Duration::from_micros(2_100 * seed)).await;
            arrived.set(arrived.get() + u32::from(has_arrived));
            let ask = json!({"verb": "account-remove", "address": "alice@ringpost.test"});
            let done = json!({"answer": "done"});
            let was_removed = operator().await.ask(ask.clone()).await == done;
            world.crash(node);
            hangs.set(false);
            let node = start_as(world, with_imap(false));
            assert!(!(was_removed && is_somebody("alice").await), "seed {seed}");
            if !was_removed {
                assert_eq!(operator().await.ask(ask).await, done, "seed {seed}");
                world.crash(node);
                start_as(world, with_imap(false));
            }
            assert!(!is_somebody("alice").await, "seed {seed}");
        });
    }
    assert!(arrived.get() > 1, "she arrives: {}", arrived.get());
}

#[test]
pub fn a_move_that_its_target_does_not_answer_leaves_the_account_as_it_is_and_loses_no_letter() {
    let silent = Cell::new(0);
    for step in 0..24 {
        story(step % 4, async |world, node| {
            furnish().await;
            let job = begin("alice", 1).await;
            shard::sleep(Duration::from_micros(700 * step)).await;
            let hangs = hang(world, 1);
            let mut how = state(job).await;
            while how == json!("running") {
                shard::sleep(Duration::from_secs(5)).await;
                how = state(job).await;
            }
            let mut taken = Vec::new();
            for subject in ["meanwhile 1", "meanwhile 2"] {
                if try_send(subject).await {
                    taken.push(subject);
                }
            }
            let nobody_knows = how.to_string().contains("does not say");
            assert!(!nobody_knows || taken.is_empty(), "what comes now may come to the wrong place: {taken:?}");
            hangs.set(false);
            shard::sleep(Duration::from_secs(2)).await;
            world.crash(node);
            start_as(world, with_imap(false));
            let found = subjects("alice").await;
            assert_eq!(&found[found.len() - taken.len()..], taken, "step {step}: {how}");
            shard::sleep(Duration::from_secs(2)).await;
            assert_eq!(homes().await.iter().sum::<u64>(), 4, "step {step}: it lives once");
            assert!(try_send("after").await, "step {step}");
            silent.set(silent.get() + u32::from(nobody_knows));
        });
    }
    println!("{} moves of which nobody knows", silent.get());
    assert!(silent.get() > 0, "the hang begins where it should");
}

#[test]
fn volumes_are_added_evacuated_and_retired_while_people_read() {
    for seed in 0..3 {
        story(seed, async |_, _| {
            furnish().await;
            let before = stand("alice").await;
            let mut desk = operator().await;
            let added = desk.ask(json!({"verb": "volume-add"})).await;
            assert_eq!(added["volumes"][0]["volume"], 2, "{added}");
            accounts(&["erin"]).await;
            assert_eq!(homes().await, [2, 2, 1], "new accounts go where there are fewest");
            let early = desk.ask(json!({"verb": "volume-retire", "volume": 0})).await;
            assert!(early["error"].as_str().is_some_and(|e| e.contains("evacuate 0")), "{early}");
            let job = desk.ask(json!({"verb": "volume-evacuate", "volume": 0})).await["job"].as_u64().expect("a job");
            assert_eq!(ended(job).await, json!("done"));
            assert_eq!(homes().await[0], 0);
            assert_eq!(desk.ask(json!({"verb": "volume-retire", "volume": 0})).await, json!({"answer": "done"}));
            let listed = desk.ask(json!({"verb": "volume-list"})).await;
            let states: Vec<&str> =
                listed["volumes"].as_array().expect("a list").iter().filter_map(|v| v["state"].as_str()).collect();
            assert_eq!(states, ["retired", "open", "open"]);
            assert_eq!(stand("alice").await, before);
            for name in ["alice", "bob", "carol", "dave", "erin"] {
                send(name, "after", "x").await;
                assert_eq!(subjects(name).await.last().map(String::as_str), Some("after"), "{name}");
            }
            for (request, why) in [
                (json!({"verb": "account-move", "address": "bob@ringpost.test", "to": 0}), "there is no volume 0"),
                (json!({"verb": "account-move", "address": "bob@ringpost.test", "to": 1}), "in volume 1 already"),
                (json!({"verb": "account-move", "address": "nobody@ringpost.test", "to": 1}), "there is no account"),
                (json!({"verb": "volume-evacuate", "volume": 9}), "there is no volume 9"),
            ] {
                let answer = desk.ask(request).await;
                let error = answer["error"].as_str().unwrap_or_default();
                assert!(error.contains(why), "{answer}");
            }
        });
    }
}
