//! A file of the store is lost behind a checkpoint: its letters are in their mailboxes still and cannot be read.

use ringpost::shard;
use ringpost_storage::disk::Disk;

use crate::imap_door::Client;
use crate::lines::Lines;
use crate::node;
use crate::post::{House, deliver, kept, seconds};

const LETTERS: usize = 100;

#[test]
fn a_letter_whose_file_is_lost_is_never_said_to_be_expunged() {
    let house = House::new(5, 1, |plan| plan.segment_bytes = 64 << 10);
    house.tell(async |house| {
        for n in 0..LETTERS {
            assert!(kept(&deliver("alice", &format!("letter {n}"), &"text of a letter\r\n".repeat(100)).await));
        }
        // What is in a root, behind a checkpoint, needs no record to be known.
        shard::sleep(seconds(3_600)).await;
        house.meanwhile(async |house| house.disk(0).remove("segment-00000002").await.expect("it was there")).await;

        let mut client = Client::in_inbox("alice").await;
        let mut lost = Vec::new();
        for n in 1..=LETTERS {
            let said = client.say(&format!("FETCH {n} (BODY.PEEK[1])")).await;
            match said.as_str() {
                "NO SERVERBUG" => lost.push(n),
                said => assert!(said.contains("text of a letter") && said.ends_with("OK"), "{n}: {said}"),
            }
        }
        assert!((2..LETTERS - 2).contains(&lost.len()), "{lost:?}");
        // What is not known is not left out quietly, and takes nothing else away.
        let warned = "NO [CORRUPTION] Some messages could not be read and were left out";
        let readable: Vec<String> = (1..=LETTERS).filter(|n| !lost.contains(n)).map(|n| n.to_string()).collect();
        let found = client.say("SEARCH BODY {16+}\r\ntext of a letter").await;
        assert_eq!(found, format!("SEARCH {} ~ {warned} ~ OK", readable.join(" ")));
        assert_eq!(client.say("SEARCH BODY nowhere").await, format!("SEARCH ~ {warned} ~ OK"));
        assert_eq!(client.say(&format!("SEARCH {} UNSEEN", lost[0])).await, format!("SEARCH {} ~ OK", lost[0]));

        let mut pop3 = Lines::connect(node::doors().pop3).await.expect("the door is open");
        pop3.line().await.expect("a greeting");
        for (command, starts) in [
            (format!("USER alice@{}", node::DOMAIN), "+OK"),
            ("PASS secret-of-alice".to_owned(), "+OK"),
            (format!("RETR {}", lost[0]), "-ERR [SYS/TEMP]"),
            (format!("TOP {} 1", lost[1]), "-ERR [SYS/TEMP]"),
        ] {
            pop3.say(format!("{command}\r\n")).await.expect("connected");
            let said = pop3.line().await.expect("connected");
            assert!(said.starts_with(starts), "{command}: {said}");
        }
    });
}
