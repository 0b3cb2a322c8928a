//! COPY, MOVE and APPEND of several messages at the door: all or none, told once, and where they are.

use crate::imap_condstore::number;
use crate::imap_door::{Client, with_node};
use crate::post::House;

/// Without UIDVALIDITY, which the clock decides.
fn without_validity(said: &str) -> String {
    let mut words: Vec<&str> = said.split(' ').collect();
    for at in (0..words.len()).rev() {
        if words[at].ends_with("COPYUID") {
            words.remove(at + 1);
        }
    }
    words.join(" ")
}

impl Client {
    async fn copy(&mut self, command: &str) -> String {
        without_validity(&self.say(command).await)
    }
}

#[test]
fn a_copy_into_the_mailbox_itself_has_flags_and_date_and_new_uids() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        c.say("APPEND INBOX (\\Flagged x) \"22-Nov-2026 09:00:00 +0000\" {7+}\r\na: 1\r\n\r").await;
        c.append("a: 2\r\n\r\n").await;
        c.append("a: 3\r\n\r\n").await;
        assert_eq!(c.copy("COPY 1,3 INBOX").await, "5 EXISTS ~ OK COPYUID 1,3 4:5");
        assert_eq!(
            c.say("FETCH 4 (UID FLAGS INTERNALDATE BODY.PEEK[])").await,
            "4 FETCH (UID 4 FLAGS (\\Flagged x) INTERNALDATE \"22-Nov-2026 09:00:00 +0000\" BODY[] <a: 1||>) ~ OK"
        );
        assert_eq!(c.copy("UID COPY 2:3,77 INBOX").await, "7 EXISTS ~ OK COPYUID 2:3 6:7");
        assert_eq!(c.copy("UID COPY 77:99 INBOX").await, "OK");
        assert_eq!(c.copy("COPY 1 nosuch").await, "NO TRYCREATE");
        assert_eq!(c.copy("UID MOVE 1 nosuch").await, "NO TRYCREATE");
        // The body is there once for all copies, and stays until the last is gone.
        c.say("STORE 1:3 +FLAGS.SILENT (\\Deleted)").await;
        c.say("EXPUNGE").await;
        assert_eq!(c.say("FETCH 1 (BODY.PEEK[])").await, "1 FETCH (BODY[] <a: 1||>) ~ OK");
    });
}

#[test]
fn a_move_tells_where_to_and_then_that_they_are_gone() {
    with_node(async || {
        let (mut a, mut b) = (Client::in_inbox("alice").await, Client::in_inbox("alice").await);
        for n in 1..=4 {
            a.append(&format!("a: {n}\r\n\r\n")).await;
        }
        b.say("NOOP").await;
        let said = a.copy("MOVE 2:3 INBOX").await;
        assert_eq!(said, "OK [COPYUID 2:3 5:6] Moved ~ 3 EXPUNGE ~ 2 EXPUNGE ~ 4 EXISTS ~ OK");
        assert_eq!(a.say("NOOP").await, "OK", "own changes are told once");
        assert_eq!(
            a.say("FETCH 1:* (UID)").await,
            [1, 4, 5, 6].iter().zip(1..).map(|(uid, n)| format!("{n} FETCH (UID {uid}) ~ ")).collect::<String>() + "OK"
        );
        assert_eq!(b.say("NOOP").await, "3 EXPUNGE ~ 2 EXPUNGE ~ 4 EXISTS ~ OK");
        // Numbers of what is gone: nothing is done. UIDs of what is gone: the rest is.
        a.say("UID STORE 4 +FLAGS.SILENT (\\Deleted)").await;
        a.say("EXPUNGE").await;
        assert_eq!(b.copy("COPY 1:2 INBOX").await.split(" ~ ").last(), Some("NO EXPUNGEISSUED"));
        let said = b.copy("UID MOVE 1:4 INBOX").await;
        assert_eq!(said, "OK [COPYUID 1 7] Moved ~ 1 EXPUNGE ~ 3 EXISTS ~ OK");
        b.say("EXAMINE INBOX").await;
        assert_eq!(b.say("MOVE 1 INBOX").await, "NO READ-ONLY");
    });
}

#[test]
fn a123_messages_of_one_append_are_kept_all_or_none() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        let both = "APPEND INBOX (\\Seen) {9+}\r\na: 1\r\n\r\nx \"22-Nov-2026 09:00:00 +0000\" {8+}\r\na: 2\r\n\r\n";
        assert_eq!(c.say(both).await, "2 EXISTS ~ OK");
        assert_eq!(
            c.say("FETCH 1:2 (UID FLAGS BODY.PEEK[])").await,
            "1 FETCH (UID 1 FLAGS (\\Seen) BODY[] <a: 1||x>) ~ 2 FETCH (UID 2 FLAGS () BODY[] <a: 2||>) ~ OK"
        );
        for broken in [
            "APPEND INBOX {8+}\r\na: 1\r\n\r\n {8+}\r\na: 2\r\n\r\0",
            "APPEND INBOX {8+}\r\na: 1\r\n\r\n \"99-Nov-2026 09:00:00 +0000\" {8+}\r\na: 2\r\n\r\n",
            "APPEND INBOX {8+}\r\na: 1\r\n\r\n {0+}\r\n",
            "APPEND INBOX {8+}\r\na: 1\r\n\r\n {99999999}",
            "APPEND nosuch {8+}\r\na: 1\r\n\r\n {8+}\r\na: 2\r\n\r\n",
        ] {
            let said = c.say(broken).await;
            assert!(said.starts_with("NO") || said.starts_with("BAD"), "{broken}: {said}");
        }
        assert_eq!(c.say("STATUS INBOX (MESSAGES UIDNEXT)").await, "STATUS INBOX (MESSAGES 2 UIDNEXT 3) ~ OK");
        // Cut off in the second: the first is not kept either (A122).
        c.lines.say("x APPEND INBOX {8+}\r\na: 1\r\n\r\n {800+}\r\na: 2").await.expect("connected");
        drop(c);
        let mut c = Client::login("alice").await;
        assert_eq!(c.say("STATUS INBOX (MESSAGES UIDNEXT)").await, "STATUS INBOX (MESSAGES 2 UIDNEXT 3) ~ OK");
    });
}

#[test]
fn messages_go_into_another_mailbox_and_whoever_watches_either_is_told() {
    with_node(async || {
        let (mut a, mut from, mut to) =
            (Client::in_inbox("alice").await, Client::in_inbox("alice").await, Client::login("alice").await);
        assert_eq!(a.say("CREATE \"Old mail\"").await, "OK");
        to.say("SELECT \"Old mail\"").await;
        for n in 1..=4 {
            a.append(&format!("a: {n}\r\n\r\n")).await;
        }
        a.say("STORE 2 +FLAGS.SILENT (\\Flagged $Label)").await;
        from.say("NOOP").await;
        from.idle().await;
        to.idle().await;
        assert_eq!(a.copy("COPY 1:2 \"Old mail\"").await, "OK COPYUID 1:2 1:2");
        assert_eq!(
            a.copy("UID MOVE 2,4 \"Old mail\"").await,
            "OK [COPYUID 2,4 3:4] Moved ~ 4 EXPUNGE ~ 2 EXPUNGE ~ OK"
        );
        assert_eq!(from.done().await, "4 EXPUNGE ~ 2 EXPUNGE ~ OK");
        assert_eq!(to.done().await, "2 EXISTS ~ 4 EXISTS ~ OK");
        let flags = "1 FETCH (FLAGS ()) ~ 2 FETCH (FLAGS (\\Flagged $Label)) ~ 3 FETCH (FLAGS (\\Flagged $Label)) ~ 4 FETCH (FLAGS ()) ~ OK";
        assert_eq!(to.say("FETCH 1:* (FLAGS)").await, flags);
        assert_eq!(
            to.say("FETCH 3:4 (BODY.PEEK[])").await,
            "3 FETCH (BODY[] <a: 2||>) ~ 4 FETCH (BODY[] <a: 4||>) ~ OK"
        );
        // And back: new UIDs, because those that were are nobody's any more.
        assert_eq!(to.copy("MOVE 3:4 INBOX").await, "OK [COPYUID 3:4 5:6] Moved ~ 4 EXPUNGE ~ 3 EXPUNGE ~ OK");
        assert_eq!(a.say("NOOP").await, "4 EXISTS ~ OK");
        assert_eq!(to.say("STATUS INBOX (MESSAGES UIDNEXT)").await, "STATUS INBOX (MESSAGES 4 UIDNEXT 7) ~ OK");
    });
}

#[test]
fn a126_neither_appends_nor_copies_bring_too_many_keywords() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        let keywords = |from: usize, to: usize| (from..to).map(|n| format!("k{n}")).collect::<Vec<_>>().join(" ");
        let several: String = (0..17).map(|n| format!(" ({}) {{1+}}\r\nx", keywords(n * 64, n * 64 + 64))).collect();
        assert_eq!(c.say(&format!("APPEND INBOX{several}")).await, "NO LIMIT", "1,088 of them");
        let several: String = (0..16).map(|n| format!(" ({}) {{1+}}\r\nx", keywords(n * 64, n * 64 + 64))).collect();
        assert_eq!(c.say(&format!("APPEND INBOX{several}")).await, "16 EXISTS ~ OK");
        c.say("CREATE other").await;
        assert_eq!(c.say(&format!("APPEND other ({}) {{1+}}\r\nx", keywords(5_000, 5_064))).await, "OK");
        assert_eq!(c.say("COPY 1:* other").await, "NO LIMIT");
        assert_eq!(c.say("UID MOVE 1:* other").await, "NO LIMIT");
        assert_eq!(c.copy("UID COPY 1:15 other").await, "OK COPYUID 1:15 2:16");
        assert_eq!(c.copy("COPY 10 INBOX").await, "17 EXISTS ~ OK COPYUID 10 17");
        assert_eq!(c.say("STORE 1 +FLAGS.SILENT (k64)").await, "NO LIMIT", "65 of one message");
    });
}

#[test]
fn a127_uids_are_never_given_twice_through_moves_and_a_crash() {
    House::over_seeds(async |house| {
        let mut c = Client::in_inbox("alice").await;
        c.say("CREATE other").await;
        c.append("a: 1\r\n\r\n").await;
        c.append("a: 2\r\n\r\n").await;
        let validity = number(&c.say("STATUS INBOX (UIDVALIDITY)").await, "UIDVALIDITY ");
        assert_eq!(c.copy("UID MOVE 2 other").await, "OK [COPYUID 2 1] Moved ~ 2 EXPUNGE ~ OK");
        house.crash();
        let mut c = Client::in_inbox("alice").await;
        let after = c.say("STATUS INBOX (MESSAGES UIDNEXT)").await;
        assert_eq!(after, "STATUS INBOX (MESSAGES 1 UIDNEXT 3) ~ OK");
        assert_eq!(number(&c.say("STATUS INBOX (UIDVALIDITY)").await, "UIDVALIDITY "), validity);
        c.append("a: 3\r\n\r\n").await;
        assert_eq!(c.say("FETCH 1:* (UID)").await, "1 FETCH (UID 1) ~ 2 FETCH (UID 3) ~ OK");
        c.say("SELECT other").await;
        assert_eq!(c.say("FETCH 1 (UID BODY.PEEK[])").await, "1 FETCH (UID 1 BODY[] <a: 2||>) ~ OK");
        assert_eq!(c.copy("MOVE 1 INBOX").await, "OK [COPYUID 1 4] Moved ~ 1 EXPUNGE ~ OK");
    });
}
