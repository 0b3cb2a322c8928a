//! The POP3 door: snapshots, hand-overs between shards, deletions that are all or none.

use std::cell::RefCell;
use std::time::Duration;

use ringpost::limits;
use ringpost::shard;

use crate::{Client, POP3, accounts, over_seeds, send, start};

async fn reader(name: &str) -> Client {
    let mut client = Client::connect(POP3).await;
    client.expect("+OK").await;
    client.say(&format!("USER {name}")).await;
    client.expect("+OK").await;
    client.say("PASS secret").await;
    client.expect("+OK").await;
    client
}

async fn command(client: &mut Client, line: &str) -> String {
    client.say(line).await;
    client.expect("+OK").await
}

async fn unique_ids(client: &mut Client) -> Vec<String> {
    command(client, "UIDL").await;
    client.dotted().await.iter().map(|l| l.split_once(' ').expect("number and id").1.to_owned()).collect()
}

#[test]
fn mail_is_read_from_either_shard() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        for name in ["alice", "bob"] {
            send(name, "one", ".dots\r\n..more").await;
            send(name, "two", "end").await;
        }
        // Several connections each, so that either shard accepts some of them.
        for _ in 0..4 {
            for name in ["alice", "bob"] {
                let mut client = reader(name).await;
                let stat = command(&mut client, "STAT").await;
                assert!(stat.starts_with("+OK 2 "), "{stat}");
                let size = command(&mut client, "RETR 1").await;
                let lines = client.dotted().await;
                assert!(lines.contains(&"Subject: one".to_owned()));
                // What is sent as `.dots` arrives without its first dot (RFC 5321 §4.5.2), and `..more` as `.more`.
                assert_eq!(lines[lines.len() - 2..], ["dots", "..more"]);
                let octets: usize = lines.iter().map(|l| l.strip_prefix('.').unwrap_or(l).len() + 2).sum();
                assert_eq!(size, format!("+OK {octets} octets"));
                command(&mut client, "TOP 2 0").await;
                let header = client.dotted().await;
                assert_eq!(header.last().map(String::as_str), Some(""));
                command(&mut client, "QUIT").await;
                assert_eq!(client.try_line().await, None);
            }
        }
    });
}

#[test]
pub fn commands_sent_ahead_of_the_password_survive_the_hand_over() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        send("alice", "one", "a").await;
        send("bob", "one", "b").await;
        for name in ["alice", "bob", "alice", "bob"] {
            let mut client = Client::connect(POP3).await;
            client.say(&format!("USER {name}\r\nPASS secret\r\nSTAT\r\nLIST 1\r\nQUIT")).await;
            for start in ["+OK", "+OK", "+OK", "+OK 1 ", "+OK 1 ", "+OK"] {
                client.expect(start).await;
            }
            assert_eq!(client.try_line().await, None);
        }
    });
}

#[test]
fn a139_without_quit_nothing_is_deleted_and_ids_stay() {
    over_seeds(async |world, node| {
        accounts(&["alice"]).await;
        send("alice", "one", "a").await;
        send("alice", "two", "b").await;
        let mut client = reader("alice").await;
        let ids = unique_ids(&mut client).await;
        command(&mut client, "DELE 1").await;
        command(&mut client, "DELE 2").await;
        client.stream.reset();

        let mut client = reader("alice").await;
        command(&mut client, "DELE 1").await;
        shard::sleep(Duration::from_secs(limits::POP3_IDLE_S + 2)).await;
        assert_eq!(client.try_line().await, None, "closed without a word");

        assert_eq!(unique_ids(&mut reader("alice").await).await, ids);
        world.stop(node).await.expect("an orderly stop");
        start(world, false);
        assert_eq!(unique_ids(&mut reader("alice").await).await, ids);
    });
}

#[test]
pub fn a140_a_crash_in_quit_leaves_all_or_none() {
    let outcomes = RefCell::new([0_u32; 2]);
    for delay_us in [0, 500, 2_000, 5_000, 20_000] {
        over_seeds(async |world, node| {
            accounts(&["alice"]).await;
            for n in 0..3 {
                send("alice", &n.to_string(), "x").await;
            }
            let mut client = reader("alice").await;
            for n in 1..=3 {
                command(&mut client, &format!("DELE {n}")).await;
            }
            let quit = world.spawn("quit", async move {
                client.try_say("QUIT").await.is_ok() && client.try_line().await.is_some_and(|l| l.starts_with("+OK"))
            });
            shard::sleep(Duration::from_micros(delay_us)).await;
            world.crash(node);
            let promised = quit.await;
            start(world, false);
            let stat = command(&mut reader("alice").await, "STAT").await;
            let kept = stat.starts_with("+OK 3 ");
            assert!(kept || stat == "+OK 0 0", "some but not all: {stat}");
            assert!(!kept || !promised, "+OK was said and the messages are still there");
            outcomes.borrow_mut()[usize::from(kept)] += 1;
        });
    }
    let [removed, kept] = outcomes.into_inner();
    assert!(removed > 0 && kept > 0, "the crashes come before and after the commit: {removed} and {kept}");
}

#[test]
fn a141_each_session_has_its_own_snapshot() {
    over_seeds(async |_, _| {
        accounts(&["alice"]).await;
        send("alice", "one", "a").await;
        send("alice", "two", "b").await;
        let mut first = reader("alice").await;
        let mut second = reader("alice").await;
        command(&mut first, "DELE 1").await;
        command(&mut first, "QUIT").await;
        send("alice", "three", "c").await;
        let stat = command(&mut second, "STAT").await;
        assert!(stat.starts_with("+OK 2 "), "{stat}");
        second.say("RETR 1").await;
        assert_eq!(second.line().await, "-ERR another session removed this message");
        command(&mut second, "RETR 2").await;
        assert!(second.dotted().await.contains(&"Subject: two".to_owned()));
        command(&mut second, "DELE 1").await;
        command(&mut second, "QUIT").await;
        assert_eq!(unique_ids(&mut reader("alice").await).await.len(), 2);
    });
}

#[test]
fn a143_where_passwords_are_not_allowed_none_is_taken() {
    over_seeds(async |_, _| {
        accounts(&["alice"]).await;
        let mut client = Client::connect_from([192, 0, 2, 1].into(), POP3).await;
        client.expect("+OK").await;
        command(&mut client, "CAPA").await;
        let capabilities = client.dotted().await;
        assert!(!capabilities.contains(&"USER".to_owned()) && capabilities.contains(&"UIDL".to_owned()));
        client.say("USER alice").await;
        client.expect("-ERR").await;
        client.say("PASS secret").await;
        client.expect("-ERR").await;
    });
}

#[test]
fn a144_wrong_names_and_wrong_passwords_are_told_the_same() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        for name in ["alice", "bob", "nobody", "nobody@elsewhere.test", "alice@elsewhere.test", "@", "alice@"] {
            let mut client = Client::connect(POP3).await;
            client.expect("+OK").await;
            command(&mut client, &format!("USER {name}")).await;
            client.say("PASS nonsense").await;
            assert_eq!(client.line().await, "-ERR [AUTH] wrong name or password", "{name}");
        }
    });
}

#[test]
fn a148_a_reader_who_does_not_read_stops_the_sending_and_is_let_go() {
    over_seeds(async |world, node| {
        accounts(&["alice"]).await;
        send("alice", "long", &"a line of the letter\r\n".repeat(5_000)).await;
        let before = world.connections(node);
        let mut client = reader("alice").await;
        let mine: Vec<_> = world.connections(node).into_iter().filter(|c| !before.contains(c)).collect();
        assert!(!mine.is_empty());
        client.say(&"RETR 1\r\n".repeat(100)).await;
        shard::sleep(Duration::from_secs(limits::WRITE_STALL_S * 2 + 5)).await;
        let left = world.connections(node);
        assert!(!mine.iter().any(|c| left.contains(c)), "the server lets go of who does not read");
        command(&mut reader("alice").await, "STAT").await;
    });
}
