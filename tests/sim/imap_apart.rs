//! What one session does under the hands of another: flags changed that were not told yet, and the mailbox itself gone.

use ringpost::shard::sim::{Fault, OpKind, When};

use crate::imap_condstore::number;
use crate::imap_door::{Client, with_node};
use crate::post::{House, deliver};

/// Two readers of alice's INBOX, in which `messages` messages are.
async fn two(messages: u32) -> (Client, Client) {
    let (mut a, mut b) = (Client::in_inbox("alice").await, Client::in_inbox("alice").await);
    for _ in 0..messages {
        a.append("a: b\r\n\r\nc\r\n").await;
    }
    b.say("NOOP").await;
    (a, b)
}

#[test]
fn a_silent_store_hides_nothing_that_others_did() {
    with_node(async || {
        let (mut a, mut b) = two(3).await;
        b.say("STORE 1 +FLAGS (\\Flagged)").await;
        let flags = "(\\Flagged \\Seen)";
        assert_eq!(a.say("STORE 1:2 +FLAGS.SILENT (\\Seen)").await, format!("1 FETCH (UID 1 FLAGS {flags}) ~ OK"));
        assert_eq!(a.say("NOOP").await, "OK");
        // And who was told may be silent again.
        let both = format!("1 FETCH (UID 1 FLAGS {flags}) ~ 2 FETCH (UID 2 FLAGS (\\Seen x)) ~ OK");
        assert_eq!(b.say("STORE 2 +FLAGS.SILENT (x)").await, both);
        assert_eq!(a.say("NOOP").await, "2 FETCH (UID 2 FLAGS (\\Seen x)) ~ OK");
        assert_eq!(a.say("STORE 2 -FLAGS.SILENT (x)").await, "OK");
        assert_eq!(a.say("STORE 2 +FLAGS.SILENT (y)").await, "OK");
        // \Seen set by reading says all flags there are.
        b.say("STORE 3 +FLAGS (z)").await;
        assert_eq!(a.say("FETCH 3 (BODY[TEXT])").await, "3 FETCH (BODY[TEXT] <c|> FLAGS (\\Seen z)) ~ OK");
        assert_eq!(a.say("NOOP").await, "OK");
    });
}

#[test]
fn a_silent_store_hides_nothing_from_who_knows_modseqs() {
    with_node(async || {
        let (mut a, mut b) = two(2).await;
        a.say("ENABLE CONDSTORE").await;
        b.say("STORE 1 +FLAGS (\\Flagged)").await;
        let told = a.say("STORE 1:2 +FLAGS.SILENT (\\Seen)").await;
        let now = number(&told, "MODSEQ (");
        let line = format!("1 FETCH (UID 1 FLAGS (\\Flagged \\Seen) MODSEQ ({now}))");
        assert_eq!(told, format!("2 FETCH (MODSEQ ({now})) ~ {line} ~ OK"));
        assert_eq!(a.say("NOOP").await, "OK");
        // On condition: what met it says its MODSEQ also when nothing came of it (RFC 7162 §3.1.3).
        let told = a.say(&format!("UID STORE 1:2 (UNCHANGEDSINCE {now}) +FLAGS.SILENT (\\Seen)")).await;
        assert_eq!(told, format!("1 FETCH (UID 1 MODSEQ ({now})) ~ 2 FETCH (UID 2 MODSEQ ({now})) ~ OK"));
        assert_eq!(a.say("STORE 1 +FLAGS.SILENT (\\Seen)").await, "OK", "nobody asked, and nothing came of it");
    });
}

#[test]
fn a_mailbox_that_is_removed_by_another_ends_the_conversation_with_bye() {
    with_node(async || {
        let mut b = Client::login("alice").await;
        // The verdict of the command under way is heard; what can no longer be done is not done.
        for (command, verdict) in [
            ("NOOP", "OK"),
            ("FETCH 1 (UID)", "NO NONEXISTENT"),
            ("UID SEARCH ALL", "NO NONEXISTENT"),
            ("STORE 1 +FLAGS.SILENT (\\Seen)", "NO NONEXISTENT"),
            ("EXPUNGE", "NO NONEXISTENT"),
            ("UID MOVE 1 INBOX", "NO NONEXISTENT"),
            ("APPEND INBOX {8+}\r\na: b\r\n\r\n", "OK"),
            ("DELETE nosuch", "NO NONEXISTENT"),
        ] {
            let mut a = Client::login("alice").await;
            b.say("CREATE Foo").await;
            b.say("APPEND Foo {8+}\r\na: b\r\n\r\n").await;
            a.say("SELECT Foo").await;
            assert_eq!(b.say("DELETE Foo").await, "OK");
            assert_eq!(a.say(command).await, format!("BYE Mailbox was deleted ~ {verdict}"), "{command}");
            assert!(a.lines.line().await.is_err(), "closed after {command}");
        }
    });
}

#[test]
fn a_mailbox_that_was_removed_can_be_left() {
    with_node(async || {
        let (mut a, mut b) = (Client::login("alice").await, Client::login("alice").await);
        for (command, verdict) in [
            ("CLOSE", "OK"),
            ("UNSELECT", "OK"),
            ("SELECT nosuch", "OK [CLOSED] The mailbox before is left ~ NO NONEXISTENT"),
            ("EXAMINE a//b", "OK [CLOSED] The mailbox before is left ~ NO CANNOT"),
        ] {
            b.say("CREATE Foo").await;
            b.say("APPEND Foo (\\Deleted) {8+}\r\na: b\r\n\r\n").await;
            assert!(a.say("SELECT Foo").await.ends_with("OK READ-WRITE"));
            assert_eq!(b.say("DELETE Foo").await, "OK");
            assert_eq!(a.say(command).await, verdict);
            assert_eq!(a.say("FETCH 1 (UID)").await, "BAD", "none is selected after {command}");
            assert_eq!(a.say("NOOP").await, "OK");
        }
        assert!(!a.say("SELECT INBOX").await.contains("CLOSED"), "none was selected");
        let said = a.say("EXAMINE INBOX").await;
        assert!(said.starts_with("OK [CLOSED] "), "{said}");
    });
}

#[test]
fn a_close_that_cannot_expunge_leaves_nothing() {
    House::over_seeds(async |house| {
        let mut a = Client::in_inbox("alice").await;
        a.append("a: b\r\n\r\nc\r\n").await;
        a.say("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        // A write fails elsewhere in the volume: from then on it takes no change.
        house.disk(0).fail(OpKind::Sync, Fault::Io, When::Once(1));
        assert_eq!(deliver("alice", "lost", "x").await, None);
        assert_eq!(a.say("CLOSE").await, "NO UNAVAILABLE");
        let still = "1 FETCH (UID 1 FLAGS (\\Deleted)) ~ OK";
        assert_eq!(a.say("FETCH 1 (UID FLAGS)").await, still, "it is selected still");
        assert_eq!(a.say("CLOSE").await, "NO UNAVAILABLE");
        assert_eq!(a.say("UNSELECT").await, "OK");
        assert_eq!(a.say("FETCH 1 (UID FLAGS)").await, "BAD");
    });
}
