//! CONDSTORE (RFC 7162) at the door: MODSEQs are told, and changes are made on condition.

use crate::imap_door::{Client, with_node};

impl Client {
    /// The number behind a word in the answer of a command.
    async fn number(&mut self, command: &str, word: &str) -> u64 {
        let said = self.say(command).await;
        number(&said, word)
    }

    async fn modseq(&mut self, sequence: u32) -> u64 {
        self.number(&format!("FETCH {sequence} (MODSEQ)"), "MODSEQ (").await
    }
}

pub fn number(said: &str, word: &str) -> u64 {
    let after = said.split_once(word).unwrap_or_else(|| panic!("no {word} in: {said}")).1;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

#[test]
fn every_change_has_a_higher_modseq_and_status_and_select_tell_the_highest() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        let mut last = c.number("STATUS INBOX (HIGHESTMODSEQ)", "HIGHESTMODSEQ ").await;
        assert!(last > 0);
        for step in ["APPEND INBOX {4+}\r\na: b", "STORE 1 +FLAGS (\\Seen)", "STORE 1 FLAGS (x)", "UID COPY 1 INBOX"] {
            c.say(step).await;
            let now = c.number("STATUS INBOX (HIGHESTMODSEQ)", "HIGHESTMODSEQ ").await;
            assert!(now > last, "{step}");
            last = now;
        }
        assert_eq!(c.modseq(2).await, last);
        assert!(c.modseq(1).await < last);
        assert_eq!(c.number("SELECT INBOX", "[HIGHESTMODSEQ ").await, last);
        assert_eq!(
            c.say("STORE 1 FLAGS (x)").await,
            format!("1 FETCH (FLAGS (x) MODSEQ ({})) ~ OK", c.modseq(1).await)
        );
        c.say("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        c.say("EXPUNGE").await;
        let now = c.number("STATUS INBOX (HIGHESTMODSEQ)", "HIGHESTMODSEQ ").await;
        assert!(now > last + 1, "an expunge is a change");
    });
}

#[test]
fn modseqs_are_told_from_the_first_command_on_that_knows_them() {
    for enabling in [
        "ENABLE CONDSTORE",
        "SELECT INBOX (CONDSTORE)",
        "STATUS INBOX (HIGHESTMODSEQ)",
        "FETCH 1 (MODSEQ)",
        "FETCH 1 (UID) (CHANGEDSINCE 1)",
        "SEARCH MODSEQ 1",
        "STORE 1 (UNCHANGEDSINCE 1) FLAGS ()",
    ] {
        with_node(async || {
            let (mut a, mut b) = (Client::in_inbox("alice").await, Client::in_inbox("alice").await);
            a.append("a: b\r\n\r\nc\r\n").await;
            assert_eq!(b.say("NOOP").await, "1 EXISTS ~ OK");
            for plain in ["FETCH 1 (FLAGS)", "STORE 1 +FLAGS (x)", "NOOP"] {
                assert!(!a.say(plain).await.contains("MODSEQ"), "{plain} before {enabling}");
            }
            a.say(enabling).await;
            let told = a.say("FETCH 1 (FLAGS)").await;
            assert_eq!(number(&told, "MODSEQ ("), b.modseq(1).await, "{enabling}: {told}");
            let told = a.say("STORE 1 +FLAGS (y)").await;
            assert_eq!(number(&told, "MODSEQ ("), b.modseq(1).await, "{enabling}: {told}");
            let told = a.say("UID STORE 1 +FLAGS.SILENT (z)").await;
            assert_eq!(told, format!("1 FETCH (UID 1 MODSEQ ({})) ~ OK", b.modseq(1).await), "{enabling}");
            let told = a.say("FETCH 1 (BODY[TEXT])").await;
            let seen = format!("1 FETCH (BODY[TEXT] <c|> MODSEQ ({}) FLAGS (\\Seen x y z)) ~ OK", b.modseq(1).await);
            assert_eq!(told, seen, "{enabling}");
            b.say("STORE 1 FLAGS (\\Flagged)").await;
            let told = a.say("NOOP").await;
            assert_eq!(told, format!("1 FETCH (UID 1 FLAGS (\\Flagged) MODSEQ ({})) ~ OK", b.modseq(1).await));
            assert_eq!(a.say("NOOP").await, "OK");
        });
    }
}

#[test]
fn what_changed_since_is_fetched_and_searched() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        for _ in 0..4 {
            c.append("a: b\r\n\r\n").await;
        }
        let since = c.number("STATUS INBOX (HIGHESTMODSEQ)", "HIGHESTMODSEQ ").await;
        assert_eq!(c.say(&format!("FETCH 1:* (FLAGS) (CHANGEDSINCE {since})")).await, "OK");
        c.say("STORE 2,4 +FLAGS.SILENT (\\Seen)").await;
        let now = c.modseq(2).await;
        let told = c.say(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since})")).await;
        let lines = [2, 4].map(|n| format!("{n} FETCH (UID {n} FLAGS (\\Seen) MODSEQ ({now}))")).join(" ~ ");
        assert_eq!(told, format!("{lines} ~ OK"));
        assert_eq!(c.say(&format!("SEARCH MODSEQ {now}")).await, format!("SEARCH 2 4 (MODSEQ {now}) ~ OK"));
        let entry = format!("UID SEARCH MODSEQ \"/flags/\\\\seen\" all {now} NOT 4");
        assert_eq!(c.say(&entry).await, format!("SEARCH 2 (MODSEQ {now}) ~ OK"));
        assert_eq!(c.say(&format!("SEARCH MODSEQ {}", now + 1)).await, "SEARCH ~ OK");
        // A fetch that sets \Seen tells of the change it makes, not of the one before.
        c.say("STORE 4 FLAGS.SILENT ()").await;
        let told = c.say(&format!("FETCH 4 (BODY[TEXT]) (CHANGEDSINCE {now})")).await;
        assert_eq!(number(&told, "MODSEQ ("), c.modseq(4).await, "{told}");
    });
}

#[test]
fn a_change_on_condition_leaves_alone_what_others_have_changed() {
    with_node(async || {
        let (mut a, mut b) = (Client::in_inbox("alice").await, Client::in_inbox("alice").await);
        for _ in 0..5 {
            a.append("a: b\r\n\r\n").await;
        }
        assert_eq!(b.say("NOOP").await, "5 EXISTS ~ OK");
        b.say("UID STORE 2 +FLAGS (\\Flagged)").await;
        a.say("NOOP").await;
        let known = a.modseq(5).await;
        b.say("STORE 3 +FLAGS (\\Answered)").await;
        let said = a.say(&format!("UID STORE 1:3 (UNCHANGEDSINCE {known}) +FLAGS.SILENT (\\Deleted)")).await;
        let (one, two, three) = (a.modseq(1).await, a.modseq(2).await, a.modseq(3).await);
        // 2 was changed after 5 came, and 3 after that; what others did is told, what was left alone is named.
        let told = format!("1 FETCH (UID 1 MODSEQ ({one})) ~ 3 FETCH (UID 3 FLAGS (\\Answered) MODSEQ ({three})) ~ ");
        assert_eq!(said, format!("{told}OK MODIFIED 2:3"));
        assert!(two > known);
        // By number, and one of them is gone.
        b.say("STORE 5 +FLAGS.SILENT (\\Deleted)").await;
        b.say("UID EXPUNGE 5").await;
        let said = a.say(&format!("STORE 1:3,5 (UNCHANGEDSINCE {three}) FLAGS (x)")).await;
        assert!(said.ends_with("NO MODIFIED 1"), "{said}");
        assert_eq!(a.say(&format!("STORE 1 (UNCHANGEDSINCE {})", i64::MAX)).await, "BAD");
    });
}

#[test]
fn a129_zero_is_never_late_enough_and_too_many_bits_are_bad() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        c.append("a: b\r\n\r\n").await;
        c.append("a: b\r\n\r\n").await;
        assert_eq!(c.say("STORE 1:2 (UNCHANGEDSINCE 0) FLAGS (x)").await, "OK MODIFIED 1:2");
        assert_eq!(c.say("STORE 1:2 (UNCHANGEDSINCE 18446744073709551616) FLAGS (x)").await, "BAD");
        assert_eq!(c.say("STORE 1:2 (UNCHANGEDSINCE 9223372036854775808) FLAGS (x)").await, "BAD");
        assert!(c.say("STORE 1:2 (UNCHANGEDSINCE 9223372036854775807) FLAGS (x)").await.ends_with("OK"));
        assert_eq!(c.say("FETCH 1:2 (UID) (CHANGEDSINCE 9223372036854775807)").await, "OK");
    });
}
