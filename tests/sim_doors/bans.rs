//! A client whom an operator bans is gone within a second, on every shard, whatever he was doing; and nobody else is.

use std::time::Duration;

use ringpost::shard;
use serde_json::json;

use crate::submission::{auth, command};
use crate::{Client, POP3, SMTP, SUBMISSION, accounts, operator, over_seeds, send};

const BANNED: [u8; 4] = [127, 0, 0, 2];

async fn said(from: [u8; 4], port: u16, lines: &[(&str, &str)]) -> Client {
    let mut client = Client::connect_from(from.into(), port).await;
    client.line().await;
    for (line, answer) in lines {
        client.say(line).await;
        // A reply of several lines has a dash behind its code in all but the last.
        while client.expect(answer).await.as_bytes().get(3) == Some(&b'-') {}
    }
    client
}

/// What is said until the connection ends.
async fn until_it_ends(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(line) = client.try_line().await {
        lines.push(line);
    }
    lines
}

#[test]
fn a_ban_ends_what_is_under_way_of_that_client_alone() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        let helo = ("EHLO client.test", "250");
        let letter =
            [helo, ("MAIL FROM:<x@client.test>", "250"), ("RCPT TO:<alice@ringpost.test>", "250"), ("DATA", "354")];
        let (alice, bob) = (auth("alice", "secret"), auth("bob", "secret"));
        let logins: [&[(&str, &str)]; 2] =
            [&[("USER alice", "+OK"), ("PASS secret", "+OK")], &[("USER bob", "+OK"), ("PASS secret", "+OK")]];
        // Several of each, so that either shard has some.
        let mut talking = Vec::new();
        for n in 0..4 {
            talking.push((said(BANNED, SMTP, &[helo]).await, "421 4.3.2"));
            talking.push((said(BANNED, SUBMISSION, &[helo, ([&alice, &bob][n % 2], "235")]).await, "421 4.3.2"));
            talking.push((said(BANNED, POP3, logins[n % 2]).await, "-ERR"));
            if n % 2 == 0 {
                let mut sending = said(BANNED, SMTP, &letter).await;
                sending.say("Subject: half of a letter").await;
                talking.push((sending, ""));
            }
        }
        let mut others = [said([127, 0, 0, 1], SMTP, &letter).await, said([127, 0, 0, 3], SMTP, &[helo]).await];
        let began = shard::now();
        let ask = json!({"what": "access-put", "table": "client", "entry": "127.0.0.2", "deny": true});
        operator().await.ask(json!({"verb": "routing", "ask": ask})).await;
        for (client, farewell) in &mut talking {
            let lines = until_it_ends(client).await;
            assert_eq!(lines.len(), usize::from(!farewell.is_empty()), "{lines:?}");
            assert!(lines.iter().all(|line| line.starts_with(*farewell)), "{lines:?}");
        }
        assert!(shard::now().since(began) < Duration::from_secs(1));
        let mut again = Client::connect_from(BANNED.into(), SMTP).await;
        again.expect("554 5.7.1").await;
        command(&mut others[0], "Subject: whole\r\n\r\nHello\r\n.", "250").await;
        command(&mut others[1], "NOOP", "250").await;
        let mut reader = said([127, 0, 0, 1], POP3, logins[0]).await;
        command(&mut reader, "STAT", "+OK 1 ").await;
    });
}

#[test]
fn whoever_was_let_in_by_an_entry_goes_with_it_and_who_takes_nothing_goes_too() {
    over_seeds(async |_, _| {
        accounts(&["alice"]).await;
        send("alice", "large", &"x".repeat(70).repeat(30_000)).await;
        let table =
            |entry: &str, deny: bool| json!({"what": "access-put", "table": "client", "entry": entry, "deny": deny});
        let ask = async |ask: serde_json::Value| operator().await.ask(json!({"verb": "routing", "ask": ask})).await;
        ask(table("127.0.0.2", false)).await;
        ask(table("127.0.0.2/31", true)).await;
        let mut client = said(BANNED, SMTP, &[("EHLO client.test", "250")]).await;
        // He asks for a letter, and reads nothing of it.
        let mut deaf = said(BANNED, POP3, &[("USER alice", "+OK"), ("PASS secret", "+OK")]).await;
        deaf.say("RETR 1").await;
        shard::sleep(Duration::from_secs(5)).await;
        let there = async || {
            let who = operator().await.ask(json!({"verb": "who"})).await;
            who["sessions"].as_array().map_or(0, Vec::len)
        };
        assert_eq!(there().await, 1);
        ask(json!({"what": "access-remove", "table": "client", "entry": "127.0.0.2"})).await;
        assert_eq!(until_it_ends(&mut client).await.len(), 1);
        shard::sleep(Duration::from_secs(1)).await;
        assert_eq!(there().await, 0);
        drop(deaf);
    });
}
