//! Keywords however they are spelt: one keyword, in every mailbox and on every message (RFC 9051 §2.3.2).

use crate::imap_door::{Client, with_node};
use crate::post::House;

#[test]
fn a126_a_copy_brings_no_second_spelling_of_a_keyword() {
    for command in ["COPY", "MOVE"] {
        with_node(async || {
            let mut c = Client::in_inbox("alice").await;
            assert_eq!(c.say("CREATE other").await, "OK");
            assert_eq!(c.say("APPEND INBOX (Junk New) {9+}\r\na: b\r\n\r\nx").await, "1 EXISTS ~ OK");
            assert_eq!(c.say("APPEND other (JUNK) {9+}\r\na: b\r\n\r\nx").await, "OK");
            assert!(c.say(&format!("{command} 1 other")).await.contains("COPYUID"));
            assert!(c.say("SELECT other").await.contains("\\Draft JUNK New) ~ "));
            let both = "1 FETCH (FLAGS (JUNK)) ~ 2 FETCH (FLAGS (JUNK New)) ~ OK";
            assert_eq!(c.say("FETCH 1:2 (FLAGS)").await, both);
            assert_eq!(c.say("SEARCH KEYWORD junK").await, "SEARCH 1 2 ~ OK");
            assert_eq!(c.say("STORE 1:2 +FLAGS (Junk)").await, both);
            let gone = "1 FETCH (FLAGS ()) ~ 2 FETCH (FLAGS (New)) ~ OK";
            assert_eq!(c.say("STORE 1:2 -FLAGS (Junk)").await, gone);
            assert_eq!(c.say("SEARCH KEYWORD JUNK").await, "SEARCH ~ OK");
        });
    }
}

#[test]
fn two_spellings_at_the_same_time_are_one_keyword() {
    House::over_seeds(async |_| {
        let mut clients = [Client::in_inbox("alice").await, Client::in_inbox("alice").await];
        for _ in 0..2 {
            clients[0].append("a: b\r\n\r\nx").await;
        }
        clients[1].say("NOOP").await;
        // On one message, and each on its own.
        for (other, found) in [("1", "1"), ("2", "1 2")] {
            let commands = [format!("STORE {other} +FLAGS.SILENT (Kw)"), "STORE 1 +FLAGS.SILENT (kW)".to_owned()];
            for (client, command) in clients.iter_mut().zip(commands) {
                client.lines.say(format!("x {command}\r\n")).await.expect("connected");
            }
            for client in &mut clients {
                assert!(client.hear().await.ends_with("OK"));
            }
            let flags = clients[0].say("FETCH 1 (FLAGS)").await.to_ascii_lowercase();
            assert!(flags.ends_with("1 fetch (flags (kw)) ~ ok"), "{flags}");
            assert!(clients[0].say("SEARCH KEYWORD KW").await.ends_with(&format!("SEARCH {found} ~ OK")));
            assert!(clients[0].say("STORE 1:2 -FLAGS.SILENT (KW)").await.ends_with("OK"));
            let none = "1 FETCH (FLAGS ()) ~ 2 FETCH (FLAGS ()) ~ OK";
            assert!(clients[0].say("FETCH 1:2 (FLAGS)").await.ends_with(none));
        }
    });
}
