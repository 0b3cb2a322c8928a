//! Mailboxes larger than one change: what the door does to all of them it does in several, and tells as one.

use std::fmt::Write;

use crate::imap_condstore::number;
use crate::imap_door::Client;
use crate::post::House;

/// Above what one STORE, one EXPUNGE (8,192) and one MOVE (10,000) changes at once.
const MANY: usize = 10_240;

/// A house whose batches hold [`MANY`] copies.
fn with_room(story: impl AsyncFnOnce()) {
    House::new(7, 2, |plan| plan.segment_bytes = 4 << 20).tell(async |_| story().await);
}

/// A client in an INBOX of [`MANY`] messages.
async fn in_a_large_inbox() -> Client {
    let mut c = Client::in_inbox("alice").await;
    let ten = " {2+}\r\na:".repeat(10);
    assert_eq!(c.say(&format!("APPEND INBOX{ten}")).await, "10 EXISTS ~ OK");
    let mut there = 10;
    while there < MANY {
        let said = c.say("UID COPY 1:* INBOX").await;
        assert!(said.starts_with(&format!("{} EXISTS ~ OK COPYUID ", 2 * there)), "{said}");
        there *= 2;
    }
    assert_eq!(there, MANY);
    c
}

/// `1:MANY EXPUNGE`, the last first.
fn all_are_gone() -> String {
    (1..=MANY).rev().fold(String::new(), |mut said, n| {
        write!(said, "{n} EXPUNGE ~ ").expect("memory");
        said
    })
}

#[test]
fn all_of_a_large_mailbox_is_marked_and_expunged() {
    with_room(async || {
        let mut c = in_a_large_inbox().await;
        let said = c.say("STORE 1:* +FLAGS (\\Deleted)").await;
        let lines: Vec<&str> = said.split(" ~ ").collect();
        assert_eq!(lines.len(), MANY + 1);
        for (n, line) in (1..=MANY).zip(&lines) {
            assert_eq!(*line, format!("{n} FETCH (FLAGS (\\Deleted))"));
        }
        assert_eq!(c.say("NOOP").await, "OK", "each is told once");
        assert_eq!(c.say("STORE 1:* +FLAGS.SILENT (\\Seen)").await, "OK");
        assert_eq!(
            c.say("STATUS INBOX (UNSEEN DELETED)").await,
            format!("STATUS INBOX (UNSEEN 0 DELETED {MANY}) ~ OK")
        );
        assert_eq!(c.say("EXPUNGE").await, all_are_gone() + "OK");
        assert_eq!(c.say("STATUS INBOX (MESSAGES)").await, "STATUS INBOX (MESSAGES 0) ~ OK");
        assert_eq!(c.say("NOOP").await, "OK");
    });
}

#[test]
fn all_of_a_large_mailbox_is_moved_and_copied() {
    with_room(async || {
        let mut c = in_a_large_inbox().await;
        c.say("CREATE other").await;
        let said = c.say("COPY 1:* other").await;
        assert!(said.starts_with("OK COPYUID ") && said.ends_with(&format!(" 1:{MANY} 1:{MANY}")), "{said}");
        let said = c.say("MOVE 1:* other").await;
        // Two changes, each told with its UIDs before anything is said to be gone.
        let (moved, gone) = said.split_once(" Moved ~ OK [COPYUID ").expect("two changes");
        assert!(moved.starts_with("OK [COPYUID ") && moved.ends_with(" 1:10000 10241:20240]"), "{moved}");
        let (moved, gone) = gone.split_once(" Moved ~ ").expect("the second");
        assert!(moved.ends_with(" 10001:10240 20241:20480]"), "{moved}");
        assert_eq!(gone, all_are_gone() + "OK");
        assert_eq!(c.say("STATUS INBOX (MESSAGES)").await, "STATUS INBOX (MESSAGES 0) ~ OK");
        assert_eq!(number(&c.say("STATUS other (MESSAGES)").await, "MESSAGES "), 2 * MANY as u64);
        // All of INBOX goes on to a new name, in several changes too.
        c.say("SELECT other").await;
        assert!(c.say("MOVE 1:10240 INBOX").await.ends_with("OK"));
        assert_eq!(c.say("RENAME INBOX old").await, "OK");
        assert_eq!(number(&c.say("STATUS old (MESSAGES)").await, "MESSAGES "), MANY as u64);
        assert_eq!(c.say("STATUS INBOX (MESSAGES)").await, "STATUS INBOX (MESSAGES 0) ~ OK");
    });
}
