//! What IMAP says OK to is so, also behind a power cut in the very moment after it.

use crate::imap_door::Client;
use crate::post::House;

#[test]
pub fn what_was_answered_is_so_after_a_power_cut() {
    // Each command is the last word before the power goes.
    for (n, last) in ["EXPUNGE", "UID EXPUNGE 1:*", "CLOSE", "STORE 2 +FLAGS (\\Flagged)", "RENAME one other"]
        .into_iter()
        .enumerate()
    {
        House::new(n as u64, 2, |_| {}).tell(async |house| {
            let mut c = Client::in_inbox("alice").await;
            c.say("CREATE one").await;
            c.append("a: 1\r\n\r\n").await;
            c.append("a: 2\r\n\r\n").await;
            c.say("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
            let said = c.say(last).await;
            assert!(said.ends_with("OK"), "{last}: {said}");
            house.crash();
            let mut c = Client::in_inbox("alice").await;
            let said = c.say("FETCH 1:* (UID FLAGS)").await;
            let there = match last {
                "STORE 2 +FLAGS (\\Flagged)" => {
                    "1 FETCH (UID 1 FLAGS (\\Deleted)) ~ 2 FETCH (UID 2 FLAGS (\\Flagged)) ~ OK"
                }
                "RENAME one other" => "1 FETCH (UID 1 FLAGS (\\Deleted)) ~ 2 FETCH (UID 2 FLAGS ()) ~ OK",
                _ => "1 FETCH (UID 2 FLAGS ()) ~ OK",
            };
            assert_eq!(said, there, "{last}");
            let renamed = c.say("STATUS other (MESSAGES)").await.ends_with("OK");
            assert_eq!(renamed, last.starts_with("RENAME"), "{last}");
        });
    }
}
