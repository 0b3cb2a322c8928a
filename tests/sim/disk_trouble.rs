//! The disk hangs, is full, or fails under letters on their way in; and a shard with more work than it may owe another.

use std::time::Duration;

use ringpost::limits;
use ringpost::observe::{self, Counter};
use ringpost::shard;
use ringpost::shard::sim::{Fault, OpKind, When};

use crate::imap_door::Client;
use crate::lines::Lines;
use crate::node;
use crate::post::{House, Sender, by_imap, deliver, kept, seconds, subjects};

const FREE: u64 = 1 << 40;

#[test]
pub fn a054_a_disk_that_hangs_costs_the_verdict_and_doubles_nothing() {
    House::over_seeds(async |house| {
        assert!(kept(&deliver("alice", "before", "x").await));
        let hangs = house.hang(0);
        let began = shard::now();
        let waiting: Vec<_> = (0..5)
            .map(|n| house.world.spawn("sender", async move { deliver("alice", &format!("hung {n}"), "x").await }))
            .collect();
        shard::sleep(seconds(30)).await;
        assert!(kept(&deliver("bob", "meanwhile", "x").await), "the other shard is well");
        assert_eq!(subjects("alice").await, ["before"], "reading goes on, and nothing is shown too early");
        for one in waiting {
            assert_eq!(one.await, None, "closed without a verdict");
        }
        let took = shard::now().since(began);
        let deadline = seconds(limits::COMMIT_DEADLINE_S);
        assert!((deadline..deadline + seconds(5)).contains(&took), "{took:?}");

        hangs.set(false);
        shard::sleep(seconds(1)).await;
        let all = ["before", "hung 0", "hung 1", "hung 2", "hung 3", "hung 4"];
        assert_eq!(subjects("alice").await, all, "each once");
        assert!(kept(&deliver("alice", "later", "x").await));
        house.crash();
        assert_eq!(subjects("alice").await.len(), all.len() + 1);
    });
}

#[test]
fn a054_a_power_cut_in_the_hang_leaves_each_letter_once_or_not_at_all() {
    House::over_seeds(async |house| {
        assert!(kept(&deliver("alice", "before", "x").await));
        let hangs = house.hang(0);
        let waiting: Vec<_> = (0..5)
            .map(|n| house.world.spawn("sender", async move { deliver("alice", &format!("hung {n}"), "x").await }))
            .collect();
        shard::sleep(seconds(10)).await;
        house.crash();
        hangs.set(false);
        for one in waiting {
            assert_eq!(one.await, None);
        }
        let mut found = subjects("alice").await;
        assert!(found.contains(&"before".to_owned()));
        found.dedup();
        assert_eq!(found, subjects("alice").await, "doubled");
    });
}

#[test]
fn a055_a_full_disk_is_said_at_mail_and_what_is_there_can_be_read_and_removed() {
    House::over_seeds(async |house| {
        for name in ["alice", "bob"] {
            assert!(kept(&deliver(name, "one", "x").await));
            assert!(kept(&deliver(name, "two", "x").await));
        }
        // The file system is asked once a second.
        shard::sleep(seconds(2)).await;
        house.disks().for_each(|disk| disk.set_free_bytes(1 << 20));
        for name in ["alice", "bob"] {
            Sender::open().await.expect("MAIL FROM:<a@client.example>", "452 4.3.1").await;
            assert_eq!(subjects(name).await, ["one", "two"]);
            assert_eq!(by_imap(name, "FETCH 1:* (UID)").await, "1 FETCH (UID 1) ~ 2 FETCH (UID 2) ~ OK");
            assert_eq!(by_imap(name, "APPEND INBOX {3}").await, "NO UNAVAILABLE");
            assert_eq!(by_imap(name, "STORE 1 +FLAGS.SILENT (\\Deleted)").await, "OK");
            assert_eq!(by_imap(name, "EXPUNGE").await, "1 EXPUNGE ~ OK");
            assert_eq!(subjects(name).await, ["two"]);
        }
        house.disks().for_each(|disk| disk.set_free_bytes(FREE));
        shard::sleep(seconds(2)).await;
        Sender::open().await.expect(&format!("MAIL FROM:<a@client.example> SIZE={}", 1 << 20), "250").await;
        for name in ["alice", "bob"] {
            assert!(kept(&deliver(name, "three", "x").await));
            house.crash();
            assert_eq!(subjects(name).await, ["three", "two"]);
        }
    });
}

#[test]
fn a055_a_letter_announced_larger_than_the_room_left_is_not_asked_for() {
    House::over_seeds(async |house| {
        // What must stay free, and a little more.
        house.disks().for_each(|disk| disk.set_free_bytes((128 << 20) + (1 << 20)));
        let mut sender = Sender::open().await;
        sender.expect(&format!("MAIL FROM:<a@client.example> SIZE={}", 2 << 20), "452 4.3.1").await;
        sender.expect(&format!("MAIL FROM:<a@client.example> SIZE={}", 1 << 19), "250").await;
    });
}

#[test]
fn a055_what_open_transactions_have_announced_counts_against_what_is_free() {
    let house = House::new(12, 1, |_| {});
    house.tell(async |house| {
        // What must stay free, and a little more: half as much again as is announced.
        house.disk(0).set_free_bytes((128 << 20) + (4 << 20));
        let mail = |octets: u64| format!("MAIL FROM:<a@client.example> SIZE={octets}");
        let rcpt = "RCPT TO:<alice@ringpost.test>";
        let (mut first, mut second) = (Sender::open().await, Sender::open().await);
        // Who only announces takes no room from anybody.
        first.expect(&mail(2 << 20), "250").await;
        first.expect(rcpt, "250").await;
        second.expect(&mail(2 << 20), "250").await;
        second.expect(rcpt, "250").await;
        // Who has been asked for it does.
        first.expect("DATA", "354").await;
        second.expect("DATA", "452 4.3.1").await;
        second.expect("RSET", "250").await;
        second.expect(&mail(1 << 20), "452 4.3.1").await;
        second.expect(&mail(1 << 19), "250").await;
        assert_eq!(by_imap("alice", "APPEND INBOX {1048576}").await, "NO UNAVAILABLE");
        // Whoever goes away sends nothing any more.
        drop(first);
        shard::sleep(seconds(1)).await;
        second.expect("RSET", "250").await;
        second.expect(&mail(2 << 20), "250").await;
        // What came is not announced any more.
        second.expect(rcpt, "250").await;
        second.expect("DATA", "354").await;
        assert!(kept(&second.finish("short", "after all").await));
        // A client that appends takes its room, too.
        let mut client = Client::in_inbox("alice").await;
        client.lines.say("t APPEND INBOX {2097152}\r\n").await.expect("connected");
        assert!(client.lines.line().await.expect("a word").starts_with('+'));
        second.expect(&mail(1 << 20), "452 4.3.1").await;
        drop(client);
        shard::sleep(seconds(1)).await;
        second.expect(&mail(2 << 20), "250").await;
    });
}

#[test]
fn a055_one_address_cannot_keep_the_others_out_by_announcing() {
    let house = House::new(12, 1, |plan| plan.settings.exempt_networks.clear());
    house.tell(async |house| {
        house.disk(0).set_free_bytes((128 << 20) + (200 << 20));
        let mail = format!("MAIL FROM:<a@client.example> SIZE={}", limits::MESSAGE_BYTES_MAX);
        let mut senders = Vec::new();
        for _ in 0..limits::CONNECTIONS_PER_ADDRESS_MAX {
            let mut sender = Sender::open_from([192, 0, 2, 7].into()).await;
            sender.expect(&mail, "250").await;
            sender.expect("RCPT TO:<alice@ringpost.test>", "250").await;
            senders.push(sender);
        }
        let mut other = Sender::open_from([192, 0, 2, 8].into()).await;
        other.expect(&mail, "250").await;
        // There is room for two of them, each half as much again.
        for (n, sender) in senders.iter_mut().enumerate() {
            sender.expect("DATA", if n < 2 { "354" } else { "452 4.3.1" }).await;
        }
        other.expect("RSET", "250").await;
        other.expect(&mail, "250").await;
        other.expect("RCPT TO:<alice@ringpost.test>", "250").await;
        other.expect("DATA", "354").await;
        assert!(kept(&other.finish("of another", "address").await));
    });
}

#[test]
fn a055_a_disk_that_fills_up_during_the_letter_is_said_at_its_end() {
    House::over_seeds(async |house| {
        for name in ["alice", "bob"] {
            house.disks().for_each(|disk| disk.set_free_bytes(FREE));
            shard::sleep(seconds(2)).await;
            let mut sender = Sender::open().await;
            sender.begin(name).await;
            sender.lines.say("Subject: half\r\n\r\nso far ").await.expect("connected");
            shard::sleep(seconds(2)).await;
            house.disks().for_each(|disk| disk.set_free_bytes(0));
            sender.expect("and on\r\n.", "452 4.3.1").await;
            assert_eq!(subjects(name).await, [""; 0], "nothing is kept");
            house.disks().for_each(|disk| disk.set_free_bytes(FREE));
            shard::sleep(seconds(2)).await;
            assert!(kept(&sender.deliver(name, "again", "x").await), "the sender's connection is as good as before");
            assert_eq!(subjects(name).await, ["again"]);
        }
    });
}

#[test]
fn a055_no_room_for_the_next_segment_is_said_at_the_commit() {
    House::over_seeds(async |house| {
        let letter = |octets: usize| "0123456789abcde\r\n".repeat(octets / 17);
        for (volume, name) in [(0, "alice"), (1, "bob")] {
            house.disk(volume).fail(OpKind::Create, Fault::NoSpace, When::From(1));
            // Less than half a segment: nobody has asked for the next one yet. The second letter does not fit beside it.
            assert!(kept(&deliver(name, "first", &letter(100 << 10)).await));
            let said = deliver(name, "second", &letter(180 << 10)).await;
            assert!(said.as_deref().is_some_and(|said| said.starts_with("452 4.3.1")), "{said:?}");
            assert!(kept(&deliver(name, "third", "small").await), "what fits is taken");
            assert_eq!(by_imap(name, "STORE 1 +FLAGS.SILENT (\\Seen)").await, "OK");
            assert_eq!(subjects(name).await, ["first", "third"]);
            house.disk(volume).heal();
            shard::sleep(seconds(2)).await;
            assert!(kept(&deliver(name, "fourth", &letter(180 << 10)).await));
            house.crash();
            assert_eq!(subjects(name).await, ["first", "fourth", "third"]);
        }
    });
}

#[test]
fn a055_removing_goes_on_in_the_reserve_and_mail_is_taken_again_when_there_is_room() {
    let house = House::new(11, 1, |plan| plan.segment_bytes = 64 << 10);
    house.tell(async |house| {
        assert!(kept(&deliver("alice", "old", "x").await) && kept(&deliver("alice", "new", "x").await));
        // Somebody else has taken all there was.
        house.disk(0).set_free_bytes(1 << 10);
        shard::sleep(seconds(2)).await;
        let mail = "MAIL FROM:<a@client.example> SIZE=10";
        Sender::open().await.expect(mail, "452 4.3.1").await;
        let mut client = Client::in_inbox("alice").await;
        let has_reserve = || house.disk(0).files().iter().any(|(name, _)| name == "RESERVE");
        for n in 0..200 {
            let sign = if n % 2 == 0 { '+' } else { '-' };
            if has_reserve() {
                assert_eq!(client.say(&format!("STORE 1 {sign}FLAGS.SILENT (\\Deleted)")).await, "OK");
            }
        }
        assert!(!has_reserve(), "it is a segment now");
        assert_eq!(client.say("STORE 1 +FLAGS.SILENT (\\Deleted)").await, "OK");
        assert_eq!(client.say("EXPUNGE").await, "1 EXPUNGE ~ OK");
        assert!(!subjects("alice").await.contains(&"old".to_owned()), "POP3 goes on");
        Sender::open().await.expect(mail, "452 4.3.1").await;
        house.disk(0).set_free_bytes(FREE);
        shard::sleep(seconds(5)).await;
        assert!(kept(&deliver("alice", "small", "x").await));
        assert!(has_reserve());
        house.crash();
        let found = subjects("alice").await;
        assert!(found.contains(&"small".to_owned()) && !found.contains(&"old".to_owned()), "{found:?}");
    });
}

#[test]
pub fn a056_a_failed_sync_is_no_verdict_and_only_its_own_volume_stops() {
    House::over_seeds(async |house| {
        for name in ["alice", "bob"] {
            assert!(kept(&deliver(name, "before", "x").await));
        }
        // Past the heartbeat, so that the letter's own sync is the next.
        shard::sleep(seconds(5)).await;
        house.disk(0).fail(OpKind::Sync, Fault::Io, When::Once(1));
        assert_eq!(deliver("alice", "struck", "x").await, None, "closed without a verdict");
        for _ in 0..3 {
            let mut sender = Sender::open().await;
            sender.expect("MAIL FROM:<sender@client.example>", "250").await;
            // The volume's own shard knows it at once, the other at the commit.
            let mut said = sender.ask(&format!("RCPT TO:<alice@{}>", node::DOMAIN)).await.expect("a verdict");
            if said.starts_with("250") {
                sender.expect("DATA", "354").await;
                said = sender.finish("refused", "x").await.expect("a verdict");
            } else {
                sender.expect("RSET", "250").await;
            }
            assert!(said.starts_with("451 4.3.0"), "{said}");
            // On the same connection: the other volume's users have nothing of it.
            assert!(kept(&sender.deliver("bob", "well", "x").await));
        }
        assert_eq!(subjects("alice").await, ["before"], "reading goes on");
        assert_eq!(by_imap("alice", "STORE 1 +FLAGS (\\Seen)").await, "NO UNAVAILABLE");
        assert_eq!(subjects("bob").await, ["before", "well", "well", "well"]);
        house.crash();
        let found = subjects("alice").await;
        assert!(found == ["before"] || found == ["before", "struck"], "{found:?}");
        assert_eq!(subjects("bob").await, ["before", "well", "well", "well"]);
        assert!(kept(&deliver("alice", "after", "x").await));
    });
}

#[test]
fn a056_when_every_volume_has_failed_the_door_says_so_and_closes() {
    House::over_seeds(async |house| {
        assert!(kept(&deliver("alice", "before", "x").await));
        shard::sleep(seconds(5)).await;
        for (disk, name) in [(0, "alice"), (1, "bob")] {
            house.disk(disk).fail(OpKind::Sync, Fault::Io, When::Once(1));
            assert_eq!(deliver(name, "struck", "x").await, None, "closed without a verdict");
        }
        // Both shards have heard of both volumes.
        shard::sleep(seconds(5)).await;
        for _ in 0..4 {
            let mut sender = Sender::open().await;
            sender.expect("MAIL FROM:<sender@client.example>", "421 4.3.2").await;
        }
        assert_eq!(subjects("alice").await, ["before"], "reading goes on");
        house.crash();
        assert!(kept(&deliver("alice", "after", "x").await));
    });
}

#[test]
fn a056_an_append_nobody_vouches_for_gets_no_verdict() {
    House::over_seeds(async |house| {
        assert_eq!(by_imap("alice", "APPEND INBOX {16+}\r\nSubject: one\r\n\r\n").await, "1 EXISTS ~ OK");
        shard::sleep(seconds(5)).await;
        house.disk(0).fail(OpKind::Sync, Fault::Io, When::Once(1));
        let mut lines = Lines::connect(node::doors().imap).await.expect("the door is open");
        lines.say(format!("x LOGIN alice@{} secret-of-alice\r\n", node::DOMAIN)).await.expect("connected");
        while !lines.line().await.expect("connected").starts_with("x OK") {}
        lines.say("x APPEND INBOX {16+}\r\nSubject: two\r\n\r\n\r\n").await.expect("connected");
        lines.expect_end().await;
        assert_eq!(by_imap("alice", "APPEND INBOX {16+}\r\nSubject: two\r\n\r\n").await, "NO UNAVAILABLE");
        house.crash();
        let found = subjects("alice").await;
        assert!(found == ["one"] || found == ["one", "two"], "{found:?}");
    });
}

/// Each with what is there before it and after it: STATUS of every name, and `-` where there is no such mailbox.
#[test]
fn a056_what_changes_mailboxes_and_is_not_vouched_for_gets_no_verdict() {
    let two = "APPEND INBOX {14+}\r\nSubject: a\r\n\r\n {14+}\r\nSubject: b\r\n\r\n";
    let table = [
        ("COPY 1 one", "1 0 -", "1 1 -"),
        ("UID MOVE 1 one", "1 0 -", "0 1 -"),
        ("RENAME one two", "1 0 -", "1 - 0"),
        ("RENAME INBOX two", "1 0 -", "0 0 1"),
        ("CREATE two", "1 0 -", "1 0 0"),
        ("DELETE one", "1 0 -", "1 - -"),
        (two, "1 0 -", "3 0 -"),
    ];
    for (command, before, after) in table {
        House::over_seeds(async |house| {
            let mut client = Client::in_inbox("alice").await;
            client.append("Subject: first\r\n\r\n").await;
            assert_eq!(client.say("CREATE one").await, "OK");
            assert_eq!(counts().await, before, "{command}");
            shard::sleep(seconds(5)).await;
            house.disk(0).fail(OpKind::Sync, Fault::Io, When::Once(1));
            client.lines.say(format!("x {command}\r\n")).await.expect("connected");
            client.lines.expect_end().await;
            assert_eq!(counts().await, before, "{command}: what nobody vouches for is not shown");
            assert_eq!(by_imap("alice", command).await, "NO UNAVAILABLE", "{command}");
            house.crash();
            let found = counts().await;
            assert!(found == before || found == after, "{command}: {found}");
        });
    }
}

/// Messages in INBOX, `one` and `two`.
async fn counts() -> String {
    let mut client = Client::login("alice").await;
    let mut counts = Vec::new();
    for name in ["INBOX", "one", "two"] {
        let said = client.say(&format!("STATUS {name} (MESSAGES)")).await;
        let count = said.split_once("(MESSAGES ").and_then(|(_, rest)| rest.split_once(')'));
        counts.push(count.map_or("-", |(count, _)| count).to_owned());
    }
    counts.join(" ")
}

#[test]
fn a123_a_power_cut_in_the_commit_of_several_messages_leaves_all_or_none() {
    /// Larger than what a disk writes at once, so that it can be torn.
    const OCTETS: usize = 20_000;
    let (mut none, mut all) = (0, 0);
    for seed in 0..24 {
        let house = House::new(seed, 2, |_| {});
        house.tell(async |house| {
            assert!(kept(&deliver("alice", "before", "x").await));
            let mut client = Client::in_inbox("alice").await;
            let message = |n: u32| format!("Subject: {n}\r\n\r\n{}\r\n", "x".repeat(OCTETS));
            let messages: String = (1..=4).map(|n| format!(" {{{}+}}\r\n{}", message(n).len(), message(n))).collect();
            client.lines.say(format!("x APPEND INBOX{messages}\r\n")).await.expect("connected");
            shard::sleep(Duration::from_micros(400 * seed)).await;
            house.crash();
            let mut said_ok = false;
            while let Ok(line) = client.lines.line().await {
                said_ok |= line.starts_with("x OK");
            }
            match &subjects("alice").await[..] {
                [before] if before == "before" => {
                    assert!(!said_ok, "seed {seed}: acknowledged and gone");
                    none += 1;
                }
                found => {
                    assert_eq!(found, ["1", "2", "3", "4", "before"], "seed {seed}");
                    all += 1;
                }
            }
        });
    }
    assert!(none > 3 && all > 3, "cut before the commit {none} times, after it {all} times");
}

#[test]
fn a056_a_change_of_flags_nobody_vouches_for_gets_no_verdict() {
    for command in ["STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "CLOSE"] {
        House::over_seeds(async |house| {
            assert!(kept(&deliver("alice", "one", "x").await));
            assert!(kept(&deliver("alice", "two", "x").await));
            let mut lines = Lines::connect(node::doors().imap).await.expect("the door is open");
            let before = format!("x LOGIN alice@{} secret-of-alice\r\n", node::DOMAIN)
                + "x SELECT INBOX\r\nlast STORE 2 +FLAGS.SILENT (\\Deleted)\r\n";
            lines.say(before).await.expect("connected");
            while !lines.line().await.expect("connected").starts_with("last OK") {}
            shard::sleep(seconds(5)).await;
            house.disk(0).fail(OpKind::Sync, Fault::Io, When::Once(1));
            lines.say(format!("x NOOP\r\nx {command}\r\n")).await.expect("connected");
            assert!(lines.line().await.expect("the verdict of before").starts_with("x OK"));
            lines.expect_end().await;
            house.crash();
            let found = subjects("alice").await;
            assert!(found == ["one", "two"] || (found == ["one"] && !command.starts_with("STORE")), "{found:?}");
        });
    }
}

#[test]
pub fn a056_deletions_by_pop3_nobody_vouches_for_get_no_verdict() {
    House::over_seeds(async |house| {
        assert!(kept(&deliver("alice", "one", "x").await));
        shard::sleep(seconds(5)).await;
        let mut lines = Lines::connect(node::doors().pop3).await.expect("the door is open");
        lines.say(format!("USER alice@{}\r\nPASS secret-of-alice\r\n", node::DOMAIN)).await.expect("connected");
        for _ in 0..3 {
            assert!(lines.line().await.expect("connected").starts_with("+OK"));
        }
        house.disk(0).fail(OpKind::Sync, Fault::Io, When::Once(1));
        lines.say("DELE 1\r\nQUIT\r\n").await.expect("connected");
        assert!(lines.line().await.expect("connected").starts_with("+OK"));
        lines.expect_end().await;
        house.crash();
        assert!(subjects("alice").await.len() <= 1);
    });
}

/// The mesh to bob's shard fills up while passwords are verified: who logged in on the other shard cannot be handed over.
#[test]
fn a_login_that_finds_no_room_on_the_mesh_is_told_so_and_may_try_again() {
    const SENDERS: usize = 700;
    const LOGINS: usize = 48;
    let house = House::new(3, 2, |_| {});
    house.tell(async |house| {
        shard::sleep(seconds(1)).await;
        let hangs = house.hang(1);
        let full_before = observe::here(Counter::MeshFull);
        let senders: Vec<_> = (0..SENDERS)
            .map(|n| house.world.spawn("sender", async move { deliver("bob", &format!("{n:03}"), "x").await }))
            .collect();
        let readers: Vec<_> = (0..LOGINS).map(|n| house.world.spawn("reader", log_in_until_let_in(n))).collect();
        shard::sleep(seconds(20)).await;
        hangs.set(false);
        let mut sent_back = 0;
        for sender in senders {
            sent_back += u64::from(!kept(&sender.await));
        }
        let mut refused = 0;
        for reader in readers {
            refused += reader.await;
        }
        assert!(refused > 0, "none was refused");
        // Others too found no room: attempts to log in, which are then counted where they are.
        let full = observe::here(Counter::MeshFull) - full_before;
        assert!(full >= sent_back + refused, "{full} for {sent_back} and {refused}");
    });
}

/// Bob logs in on one connection, by POP3 or IMAP, as often as it takes; how often he was refused.
async fn log_in_until_let_in(n: usize) -> u64 {
    shard::sleep(Duration::from_millis(n as u64)).await;
    let name = format!("bob@{}", node::DOMAIN);
    let (at, login, yes, later) = match n % 2 {
        0 => (node::doors().imap, format!("x LOGIN {name} secret-of-bob\r\n"), "x OK", "x NO [UNAVAILABLE]"),
        _ => (node::doors().pop3, format!("USER {name}\r\nPASS secret-of-bob\r\n"), "+OK logged in", "-ERR [SYS/TEMP]"),
    };
    let mut lines = Lines::connect(at).await.expect("the door is open");
    for refused in 0.. {
        lines.say(login.clone()).await.expect("connected");
        loop {
            let line = lines.line().await.expect("a verdict");
            if line.starts_with(yes) {
                return refused;
            }
            if line.starts_with(later) {
                break;
            }
            assert!(line.starts_with("* ") || line.starts_with("+OK"), "{line}");
        }
        shard::sleep(seconds(7)).await;
    }
    unreachable!("he tries for ever")
}

/// Senders at both shards, all for a volume of shard 1 whose disk hangs: shard 0 may owe shard 1 so many answers and no more.
#[test]
fn more_than_the_mesh_may_carry_is_sent_back_and_nothing_is_lost() {
    const SENDERS: usize = 700;
    let house = House::new(3, 2, |_| {});
    house.tell(async |house| {
        // Both shards' doors are open by now.
        shard::sleep(seconds(1)).await;
        let full_before = observe::here(Counter::MeshFull);
        let hangs = house.hang(1);
        let senders: Vec<_> = (0..SENDERS)
            .map(|n| house.world.spawn("sender", async move { deliver("bob", &format!("{n:03}"), "x").await }))
            .collect();
        shard::sleep(seconds(20)).await;
        hangs.set(false);
        let (mut promised, mut sent_back) = (Vec::new(), 0);
        for (n, sender) in senders.into_iter().enumerate() {
            let said = sender.await;
            if kept(&said) {
                promised.push(format!("{n:03}"));
            } else {
                let said = said.expect("a verdict");
                assert!(said.starts_with("451 4.3.2"), "{said}");
                sent_back += 1;
            }
        }
        assert!(sent_back > 0 && promised.len() >= limits::MESH_REQUESTS_MAX, "{sent_back} of {SENDERS}");
        assert_eq!(observe::here(Counter::MeshFull) - full_before, sent_back);
        shard::sleep(seconds(1)).await;
        assert_eq!(subjects("bob").await, promised);
        // The slots are free again.
        assert!(kept(&deliver("bob", "later", "x").await));
    });
}

#[test]
fn nobody_is_refused_for_good_while_a_volume_has_lost_something() {
    House::over_seeds(async |house| {
        assert!(kept(&deliver("alice", "before", "x").await));
        house.crash();
        let disk = house.disk(1);
        let mut segment = disk.peek("segment-00000001").expect("there");
        let name = b"dave@ringpost.test";
        let at = segment.windows(name.len()).position(|w| w == name).expect("dave is in volume 1");
        segment[at] ^= 1;
        disk.poke("segment-00000001", segment);
        // A checkpoint would know dave.
        disk.poke("pages-00000001", Vec::new());

        let mut sender = Sender::open().await;
        sender.expect("MAIL FROM:<sender@client.example>", "250").await;
        sender.expect("RCPT TO:<alice@ringpost.test>", "250").await;
        sender.expect("RCPT TO:<dave@ringpost.test>", "451 4.3.0").await;
        sender.expect("RCPT TO:<nobody@ringpost.test>", "451 4.3.0").await;
        sender.expect("RCPT TO:<somebody@elsewhere.example>", "550").await;
        assert_eq!(subjects("alice").await, ["before"]);
    });
}
