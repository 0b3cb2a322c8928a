//! What logins may send: as whom, how much, and what is made of their letters on the way in. And nobody relays.

use std::time::Duration;

use ringpost::limits;
use ringpost::shard::sim::World;
use serde_json::{Value, json};

use crate::submission::{auth, command, greeted};
use crate::{Client, POP3, SMTP, SUBMISSION, accounts, operator, over_seeds, start};

async fn rule(ask: Value) -> Value {
    let answer = operator().await.ask(json!({"verb": "routing", "ask": ask})).await;
    assert_eq!(answer["answer"], "routing", "{answer}");
    answer["told"].clone()
}

async fn account(name: &str, set: Value) -> Value {
    rule(json!({"what": "account", "address": format!("{name}@ringpost.test"), "set": set})).await
}

async fn logged_in(name: &str) -> Client {
    let mut client = greeted(SUBMISSION).await;
    command(&mut client, &auth(name, "secret"), "235").await;
    client
}

/// The last letter of somebody, without its trace fields.
async fn last_letter(name: &str, number: u32) -> String {
    let mut client = Client::connect(POP3).await;
    client.expect("+OK").await;
    for line in [&format!("USER {name}"), "PASS secret", &format!("RETR {number}")] {
        command(&mut client, line, "+OK").await;
    }
    let letter = client.dotted().await.join("\n");
    let trace_ends = letter.find("\nSubject:").expect("a subject behind the trace fields");
    letter[trace_ends + 1..].to_owned()
}

#[test]
fn a_sender_belongs_to_the_login() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        rule(json!({"what": "list-put", "address": "sales@ringpost.test", "group": false, "targets": ["alice@ringpost.test"]})).await;
        rule(json!({"what": "list-put", "address": "staff@ringpost.test", "group": true, "targets": ["alice@ringpost.test"]})).await;
        account("alice", json!({"send_as": ["staff@ringpost.test"]})).await;
        account("bob", json!({"any_sender": true})).await;
        for (name, sender, answer) in [
            ("alice", "Alice@Ringpost.test", "250"),
            ("alice", "alice+news@ringpost.test", "250"),
            ("alice", "sales@ringpost.test", "250"),
            ("alice", "staff@ringpost.test", "250"),
            ("alice", "", "250"),
            ("alice", "bob@ringpost.test", "553 5.7.1"),
            ("alice", "alice@elsewhere.test", "553 5.7.1"),
            ("bob", "alice@elsewhere.test", "250"),
        ] {
            command(&mut logged_in(name).await, &format!("MAIL FROM:<{sender}>"), answer).await;
        }
        account("alice", json!({"suspended": "its password was stolen"})).await;
        let mut client = logged_in("alice").await;
        command(&mut client, "MAIL FROM:<alice@ringpost.test>", "550 5.7.1").await;
        account("alice", json!({"suspended": ""})).await;
        command(&mut client, "MAIL FROM:<alice@ringpost.test>", "250").await;
    });
}

#[test]
fn whoever_stands_in_from_and_sender_belongs_to_the_login_too() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        rule(json!({"what": "list-put", "address": "sales@ringpost.test", "group": false, "targets": ["alice@ringpost.test"]})).await;
        account("bob", json!({"any_sender": true})).await;
        let long = format!("From: {}alice@ringpost.test", "alice@ringpost.test, ".repeat(1_000));
        for (name, header, answer) in [
            ("alice", "From: Alice <Alice@Ringpost.test>", "250"),
            ("alice", "From: sales@ringpost.test,\r\n alice+x@ringpost.test", "250"),
            ("alice", "Subject: nobody wrote it", "250"),
            ("alice", "From: bob@ringpost.test", "553 5.7.1"),
            ("alice", "From: alice@ringpost.test\r\nFROM : bob@ringpost.test", "553 5.7.1"),
            ("alice", "From: alice@ringpost.test\r\nSender: boss@elsewhere.test", "553 5.7.1"),
            ("alice", "From: \"alice@ringpost.test\" <bob@ringpost.test>", "553 5.7.1"),
            ("alice", &long, "553 5.7.1"),
            ("bob", "From: anybody@elsewhere.test", "250"),
        ] {
            let mut client = logged_in(name).await;
            for (line, answer) in [("MAIL FROM:<>", "250"), ("RCPT TO:<bob@ringpost.test>", "250"), ("DATA", "354")] {
                command(&mut client, line, answer).await;
            }
            command(&mut client, &format!("{header}\r\nTo: bob@ringpost.test\r\n\r\nFrom: me\r\n."), answer).await;
            // The conversation goes on.
            command(&mut client, "MAIL FROM:<>", "250").await;
        }
        // What other hosts bring says what it likes.
        let mut client = greeted(SMTP).await;
        for (line, answer) in [("MAIL FROM:<>", "250"), ("RCPT TO:<bob@ringpost.test>", "250"), ("DATA", "354")] {
            command(&mut client, line, answer).await;
        }
        command(&mut client, "From: boss@elsewhere.test\r\n\r\nHello\r\n.", "250").await;
    });
}

#[test]
fn who_is_suspended_in_the_middle_of_a_letter_does_not_send_it() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        let mut client = logged_in("alice").await;
        command(&mut client, "MAIL FROM:<alice@ringpost.test>", "250").await;
        command(&mut client, "RCPT TO:<bob@ringpost.test>", "250").await;
        account("alice", json!({"suspended": "its password was stolen"})).await;
        command(&mut client, "DATA", "550 5.7.1").await;
        account("alice", json!({"suspended": ""})).await;
        command(&mut client, "DATA", "354").await;
        command(&mut client, "Subject: x\r\n\r\nHello\r\n.", "250").await;
    });
}

#[test]
fn a_login_s_letter_gets_what_is_missing_and_loses_bcc() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        let mut client = logged_in("bob").await;
        for letter in [
            "Subject: x\r\nBcc: alice@ringpost.test,\r\n secret@ringpost.test\r\nSender: bob@ringpost.test\r\n\r\nBcc: stays",
            "Subject: y\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <own@client.test>\r\n\r\nHello",
        ] {
            for (line, answer) in
                [("MAIL FROM:<bob@ringpost.test>", "250"), ("RCPT TO:<alice@ringpost.test>", "250"), ("DATA", "354")]
            {
                command(&mut client, line, answer).await;
            }
            command(&mut client, &format!("{letter}\r\n."), "250").await;
        }
        let first = last_letter("alice", 1).await;
        let lines: Vec<&str> = first.lines().collect();
        assert_eq!(lines[..2], ["Subject: x", "Sender: bob@ringpost.test"], "{first}");
        assert!(lines[2].starts_with("Date: ") && lines[3].starts_with("Message-ID: <"), "{first}");
        assert!(lines[3].ends_with("@mx.ringpost.test>"), "{first}");
        assert_eq!(lines[4..], ["", "Bcc: stays"], "{first}");
        let second = last_letter("alice", 2).await;
        assert_eq!(second.matches("Date:").count() + second.matches("Message-ID:").count(), 2, "{second}");
        // What other hosts bring stays as it is.
        let mut client = greeted(SMTP).await;
        for (line, answer) in [("MAIL FROM:<>", "250"), ("RCPT TO:<alice@ringpost.test>", "250"), ("DATA", "354")] {
            command(&mut client, line, answer).await;
        }
        command(&mut client, "Subject: z\r\nBcc: x\r\n\r\nHello\r\n.", "250").await;
        assert_eq!(last_letter("alice", 3).await, "Subject: z\nBcc: x\n\nHello");
    });
}

/// Hands a letter in; the first reply that is no yes, or that to its end.
async fn hand_in(client: &mut Client, to: &[&str]) -> String {
    let mut lines = vec!["MAIL FROM:<alice@ringpost.test>".to_owned()];
    lines.extend(to.iter().map(|to| format!("RCPT TO:<{to}@ringpost.test>")));
    lines.extend(["DATA".to_owned(), "Subject: x\r\n\r\nHello\r\n.".to_owned()]);
    let mut said = String::new();
    for line in lines {
        client.say(&line).await;
        said = client.line().await;
        if !said.starts_with(['2', '3']) {
            command(client, "RSET", "250").await;
            return said;
        }
    }
    said
}

#[test]
fn who_has_sent_as_much_as_it_may_comes_back_later() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob", "carol"]).await;
        account("alice", json!({"limits": {"messages_hour": 4, "recipients_hour": 5, "recipients_message": 2}})).await;
        // Connections of either shard count together.
        for (to, answer) in [
            (&["bob", "carol"][..], "250"),
            (&["bob", "carol", "alice"], "452 4.5.3"),
            (&["bob", "carol"], "250"),
            (&["bob", "carol"], "450 4.7.1"),
            (&["bob"], "250"),
            (&["bob"], "450 4.7.1"),
        ] {
            let said = hand_in(&mut logged_in("alice").await, to).await;
            assert!(said.starts_with(answer), "{to:?}: {said}");
        }
        ringpost::shard::sleep(Duration::from_secs(3_600)).await;
        let mut client = logged_in("alice").await;
        for answer in ["250", "250", "250", "250", "450 4.7.1"] {
            let said = hand_in(&mut client, &["bob"]).await;
            assert!(said.starts_with(answer), "{said}");
        }
    });
}

#[test]
fn who_goes_on_and_on_is_suspended_until_an_operator_lets_it_go() {
    let world = World::new(1);
    world.run_until(async {
        start(&world, true);
        operator().await.ask(json!({"verb": "domain-add", "domain": "ringpost.test"})).await;
        accounts(&["alice", "bob"]).await;
        account("alice", json!({"limits": {"messages_hour": 1}})).await;
        assert!(hand_in(&mut logged_in("alice").await, &["bob"]).await.starts_with("250"));
        for _ in 0..30 {
            let said = hand_in(&mut logged_in("alice").await, &["bob"]).await;
            assert!(said.starts_with("450 4.7.1"), "{said}");
            ringpost::shard::sleep(Duration::from_secs(60)).await;
        }
        let said = hand_in(&mut logged_in("alice").await, &["bob"]).await;
        assert!(said.starts_with("550 5.7.1"), "{said}");
        let told = account("alice", json!({})).await;
        assert_eq!(told["account"]["suspended"], "it went on sending more than it may");
        account("alice", json!({"suspended": "", "default_limits": true})).await;
        assert!(hand_in(&mut logged_in("alice").await, &["bob"]).await.starts_with("250"));
    });
    assert_eq!(world.panics(), [""; 0]);
}

#[test]
fn a034_no_door_relays_with_or_without_a_login() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        rule(json!({"what": "domain-alias-put", "alias": "also.test", "domain": "ringpost.test"})).await;
        let tricks = [
            "x@elsewhere.test",
            "x@[127.0.0.1]",
            "x@[IPv6:::1]",
            "@ringpost.test:x@elsewhere.test",
            "x%elsewhere.test@ringpost.test",
            "x%elsewhere.test@also.test",
            "elsewhere.test!x@ringpost.test",
            "\\\"x@elsewhere.test\\\"@ringpost.test",
            "\"x@elsewhere.test\"@ringpost.test",
            "x@ringpost.test.elsewhere.test",
            "x@ringpost.test@elsewhere.test",
            "alice@ringpost.test.",
            "alice@notringpost.test",
        ];
        for from in [[127, 0, 0, 1], [192, 0, 2, 1]] {
            let mut doors = vec![(SMTP, None)];
            if from[0] == 127 {
                doors.push((SUBMISSION, Some("alice")));
            }
            for (port, login) in doors {
                let mut client = Client::connect_from(from.into(), port).await;
                client.expect("220").await;
                command(&mut client, "EHLO ringpost.test", "250-").await;
                while !client.expect("250").await.starts_with("250 ") {}
                if let Some(name) = login {
                    command(&mut client, &auth(name, "secret"), "235").await;
                }
                command(&mut client, "MAIL FROM:<alice@ringpost.test>", "250").await;
                for trick in tricks {
                    client.say(&format!("RCPT TO:<{trick}>")).await;
                    let said = client.line().await;
                    let refusals = ["550 5.7.1", "550 5.1.2", "501 5.1.3"];
                    assert!(refusals.iter().any(|no| said.starts_with(no)), "{trick}: {said}");
                }
                command(&mut client, "RCPT TO:<@elsewhere.test:BOB@Also.test>", "250").await;
                command(&mut client, "DATA", "354").await;
                command(&mut client, "Subject: x\r\n\r\nHello\r\n.", "250").await;
            }
        }
    });
}

#[test]
fn what_we_alone_may_say_is_taken_out_of_what_others_bring() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        let forged = "Return-Path: <bank@client.test>\r\nX-Ringpost-Filter: dnsbl;\r\n all is well\r\nTo: a@b.test\r\n\
            Authentication-Results: mx.ringpost.test; spf=pass\r\nAuthentication-Results: other.test; spf=pass\r\n\
            Subject: x\r\n\r\nReturn-Path: body";
        for login in [None, Some("bob")] {
            let mut client = greeted(if login.is_some() { SUBMISSION } else { SMTP }).await;
            if let Some(name) = login {
                command(&mut client, &auth(name, "secret"), "235").await;
            }
            command(&mut client, "MAIL FROM:<bob@ringpost.test>", "250").await;
            command(&mut client, "RCPT TO:<alice@ringpost.test>", "250").await;
            command(&mut client, "DATA", "354").await;
            command(&mut client, &format!("{forged}\r\n."), "250").await;
        }
        for number in 1..=2 {
            let mut client = Client::connect(POP3).await;
            client.expect("+OK").await;
            for line in ["USER alice", "PASS secret", &format!("RETR {number}")] {
                command(&mut client, line, "+OK").await;
            }
            let letter = client.dotted().await.join("\n");
            assert!(!letter.contains("bank") && !letter.contains("all is well"), "{letter}");
            assert!(
                !letter.contains("mx.ringpost.test; spf") && letter.contains("\nAuthentication-Results: other.test")
            );
            assert!(letter.contains("\nTo: a@b.test\n") && letter.contains("Return-Path: body"), "{letter}");
            assert_eq!(letter.matches("Return-Path: <bob@ringpost.test>").count(), 1, "{letter}");
        }
    });
}

#[test]
fn a_denied_recipient_is_denied_by_all_its_names_and_a_large_group_is_not_followed_for_ever() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        let mut targets: Vec<String> = vec!["bob@ringpost.test".to_owned()];
        for n in 0..30 {
            let address = format!("list{n}@ringpost.test");
            rule(json!({"what": "list-put", "address": address, "group": true, "targets": ["alice@ringpost.test"]}))
                .await;
            targets.push(address);
        }
        rule(json!({"what": "list-put", "address": "all@ringpost.test", "group": true, "targets": targets})).await;
        rule(json!({"what": "access-put", "table": "recipient", "entry": "bob@ringpost.test", "deny": true})).await;
        let mut client = greeted(SMTP).await;
        command(&mut client, "MAIL FROM:<x@client.test>", "250").await;
        for name in ["bob", "Bob", "bob+shop"] {
            command(&mut client, &format!("RCPT TO:<{name}@RingPost.test>"), "550 5.7.1").await;
        }
        // The same again costs nothing, and each of its subaddresses is followed anew, up to a bound.
        let mut refused = None;
        for n in 0..500 {
            command(&mut client, "RCPT TO:<all@ringpost.test>", "250").await;
            client.say(&format!("RCPT TO:<all+{n}@ringpost.test>")).await;
            if client.line().await.starts_with("452 4.5.3") {
                refused = refused.or(Some(n));
            }
        }
        let each = 2 + targets.len();
        assert!(refused.is_some_and(|n: usize| n.abs_diff(limits::NAMES_FOLLOWED_MAX / each) < 20), "{refused:?}");
    });
}
