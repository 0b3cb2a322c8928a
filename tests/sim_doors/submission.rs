//! The door where our own users hand in mail: nothing without a login, and a login wherever the account lives.

use crate::{Client, POP3, SMTP, SUBMISSION, accounts, over_seeds};

/// A user who has said EHLO; the capabilities are read.
pub async fn greeted(port: u16) -> Client {
    let mut client = Client::connect(port).await;
    client.expect("220").await;
    client.say("EHLO client.test").await;
    while !client.expect("250").await.starts_with("250 ") {}
    client
}

pub async fn command(client: &mut Client, line: &str, start: &str) {
    client.say(line).await;
    client.expect(start).await;
}

/// AUTH PLAIN for NAME@ringpost.test and the password `secret`, or another.
pub fn auth(name: &str, password: &str) -> String {
    use base64::Engine as _;
    let text = format!("\0{name}@ringpost.test\0{password}");
    format!("AUTH PLAIN {}", base64::engine::general_purpose::STANDARD.encode(text))
}

#[test]
fn a_letter_is_handed_in_after_a_login_on_either_shard() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        // Several connections each, so that either shard accepts some of them.
        for name in ["alice", "bob", "alice", "bob"] {
            let mut client = greeted(SUBMISSION).await;
            command(&mut client, &auth(name, "secret"), "235 2.7.0").await;
            command(&mut client, &format!("MAIL FROM:<{name}@ringpost.test> AUTH=<>"), "250").await;
            command(&mut client, "RCPT TO:<somebody@elsewhere.test>", "550 5.7.1").await;
            command(&mut client, "RCPT TO:<alice@ringpost.test>", "250").await;
            command(&mut client, "DATA", "354").await;
            command(&mut client, "Subject: x\r\n\r\nHello\r\n.", "250").await;
            command(&mut client, "QUIT", "221").await;
        }
        let mut client = Client::connect(POP3).await;
        client.expect("+OK").await;
        for line in ["USER alice", "PASS secret", "RETR 4"] {
            command(&mut client, line, "+OK").await;
        }
        let letter = client.dotted().await.join("\n");
        assert!(letter.contains("with ESMTPA id "), "{letter}");
        let received = letter.split("Received:").nth(1).expect("a trace field");
        let received = received.split("Subject:").next().expect("a header");
        assert!(!received.contains("bob"), "who logged in is not written: {received}");
    });
}

#[test]
fn a_letter_to_people_in_several_volumes_reaches_all_of_them_once() {
    over_seeds(async |_, _| {
        let names = ["alice", "bob", "carol", "dave"];
        accounts(&names).await;
        let mut client = greeted(SUBMISSION).await;
        command(&mut client, &auth("bob", "secret"), "235 2.7.0").await;
        command(&mut client, "MAIL FROM:<bob@ringpost.test>", "250").await;
        for name in names {
            command(&mut client, &format!("RCPT TO:<{name}@ringpost.test>"), "250").await;
        }
        command(&mut client, "DATA", "354").await;
        command(&mut client, "Subject: to all\r\n\r\nHello\r\n.", "250").await;
        // One volume has decided; the other has its copies in a moment.
        ringpost::shard::sleep(std::time::Duration::from_secs(1)).await;
        for name in names {
            let mut client = Client::connect(POP3).await;
            client.expect("+OK").await;
            for line in [&format!("USER {name}"), "PASS secret"] {
                command(&mut client, line, "+OK").await;
            }
            command(&mut client, "STAT", "+OK 1 ").await;
            command(&mut client, "RETR 1", "+OK").await;
            let letter = client.dotted().await;
            let to = letter.iter().filter(|l| l.starts_with("Delivered-To:")).collect::<Vec<_>>();
            assert_eq!(to, [&format!("Delivered-To: {name}@ringpost.test")]);
            assert!(letter.iter().any(|l| l == "Hello"), "{letter:?}");
        }
    });
}

#[test]
fn a013_without_a_login_nothing_is_handed_in() {
    over_seeds(async |_, _| {
        accounts(&["alice"]).await;
        let mut client = greeted(SUBMISSION).await;
        command(&mut client, "MAIL FROM:<alice@ringpost.test>", "530 5.7.0").await;
        command(&mut client, "RCPT TO:<alice@ringpost.test>", "530 5.7.0").await;
        // From a network that may not log in without TLS, where there is none.
        let mut client = Client::connect_from([192, 0, 2, 1].into(), SUBMISSION).await;
        client.expect("220").await;
        client.say("EHLO client.test").await;
        loop {
            let line = client.expect("250").await;
            assert!(!line.contains("AUTH"), "{line}");
            if line.starts_with("250 ") {
                break;
            }
        }
        command(&mut client, &auth("alice", "secret"), "538 5.7.11").await;
        command(&mut client, "MAIL FROM:<alice@ringpost.test>", "530 5.7.0").await;
        // And no login where other hosts bring mail.
        command(&mut greeted(SMTP).await, &auth("alice", "secret"), "502").await;
    });
}

#[test]
fn a019_wrong_names_and_wrong_passwords_are_told_the_same() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        for (name, password) in [("alice", "wrong"), ("bob", "wrong"), ("nobody", "secret"), ("%{}$()'--*)(uid=*", "x")]
        {
            let mut client = greeted(SUBMISSION).await;
            client.say(&auth(name, password)).await;
            assert_eq!(client.line().await, "535 5.7.8 Wrong name or password", "{name}");
            command(&mut client, &auth("alice", "secret"), "235").await;
        }
    });
}
