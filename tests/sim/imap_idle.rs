//! Two readers of one mailbox, and a sender: what one does the others see, and who idles sees it without a word of theirs.

use std::time::Duration;

use ringpost::limits;
use ringpost::shard;
use ringpost::shard::sim::{Chance, Fault, OpKind, When};

use crate::imap_door::{Client, with_node};
use crate::node;
use crate::post::{House, deliver, kept};
use crate::smtp::{Sender, Verdict};

/// Far longer than anything here takes, and far shorter than any silence after which something is said.
const SOON: Duration = Duration::from_secs(5);

impl Client {
    /// Begins to idle.
    pub async fn idle(&mut self) {
        self.lines.say("x IDLE\r\n").await.expect("connected");
        assert_eq!(self.line().await, "+ idling");
    }

    /// Ends it; what was told until then and not heard.
    pub async fn done(&mut self) -> String {
        self.lines.say("DONE\r\n").await.expect("connected");
        self.hear().await
    }

    /// The next line.
    async fn line(&mut self) -> String {
        let line = self.lines.line().await.expect("connected");
        line.trim_start_matches("* ").to_owned()
    }

    /// The next line, which comes without anybody's asking.
    async fn told(&mut self) -> String {
        let begin = shard::now();
        let line = self.line().await;
        assert!(shard::now().since(begin) < SOON, "told late: {line}");
        line
    }

    /// Nothing is told.
    async fn hears_nothing(&mut self) {
        shard::sleep(SOON).await;
        assert_eq!(self.done().await, "OK");
    }
}

#[test]
pub fn what_one_reader_does_is_pushed_to_another_that_idles() {
    with_node(async || {
        let (mut a, mut b) = (Client::in_inbox("alice").await, Client::in_inbox("alice").await);
        b.idle().await;
        a.append("Subject: 1\r\n\r\nx").await;
        assert_eq!(b.told().await, "1 EXISTS");
        a.append("Subject: 2\r\n\r\nx").await;
        assert_eq!(b.told().await, "2 EXISTS");
        a.say("STORE 2 +FLAGS (\\Flagged)").await;
        assert_eq!(b.told().await, "2 FETCH (UID 2 FLAGS (\\Flagged))");
        a.say("FETCH 1 (BODY[])").await;
        assert_eq!(b.told().await, "1 FETCH (UID 1 FLAGS (\\Seen))");
        a.say("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        assert_eq!(b.told().await, "1 FETCH (UID 1 FLAGS (\\Deleted \\Seen))");
        assert_eq!(a.say("EXPUNGE").await, "1 EXPUNGE ~ OK");
        assert_eq!(b.told().await, "1 EXPUNGE");
        a.say("UID COPY 2 INBOX").await;
        assert_eq!(b.told().await, "2 EXISTS");
        a.say("UID MOVE 2 INBOX").await;
        assert_eq!((b.told().await, b.told().await), ("1 EXPUNGE".to_owned(), "2 EXISTS".to_owned()));
        b.hears_nothing().await;
        // And who does not idle hears the same at the next command.
        a.append("Subject: 3\r\n\r\nx").await;
        assert_eq!(b.say("NOOP").await, "3 EXISTS ~ OK");
        // What came before IDLE is told when it begins.
        a.append("Subject: 4\r\n\r\nx").await;
        b.lines.say("x IDLE\r\n").await.expect("connected");
        assert_eq!((b.line().await, b.told().await), ("+ idling".to_owned(), "4 EXISTS".to_owned()));
        assert_eq!(b.done().await, "OK");
    });
}

#[test]
fn what_smtp_delivers_is_pushed_to_all_who_idle_and_is_there_when_it_is_told() {
    with_node(async || {
        let chance = Chance::of(3, "deliver");
        let mut readers = Vec::new();
        // Accounts of both shards; the letter comes in on either.
        for name in ["alice", "bob", "alice", "bob"] {
            let mut reader = Client::in_inbox(name).await;
            reader.idle().await;
            readers.push(reader);
        }
        for n in 1..=20 {
            for name in ["alice", "bob"] {
                let mut sender = Sender::open(node::doors().smtp).await.expect("connected");
                let to = [format!("{name}@{}", node::DOMAIN)];
                let verdict = sender.deliver(&chance, "s@client.example", &to, b"Subject: news\r\n\r\nx\r\n").await;
                assert_eq!(verdict, Verdict::Accepted(vec![true]));
            }
            for reader in &mut readers {
                assert_eq!(reader.told().await, format!("{n} EXISTS"));
                // What is told is durable: it can be read at once.
                assert_eq!(reader.done().await, "OK");
                let fetched = reader.say(&format!("FETCH {n} (UID BODY.PEEK[TEXT])")).await;
                assert_eq!(fetched, format!("{n} FETCH (UID {n} BODY[TEXT] <x|>) ~ OK"));
                reader.idle().await;
            }
        }
    });
}

#[test]
fn a_line_that_comes_together_with_news_is_not_lost() {
    with_node(async || {
        let (mut a, mut b) = (Client::in_inbox("alice").await, Client::in_inbox("alice").await);
        for n in 1..=50_u64 {
            b.idle().await;
            a.lines.say("x APPEND INBOX {8+}\r\na: b\r\n\r\n\r\n").await.expect("connected");
            // Now before the news, now after them, now in two pieces with the news between.
            shard::sleep(Duration::from_micros(n * 37 % 700)).await;
            b.lines.say("DO").await.expect("connected");
            shard::sleep(Duration::from_micros(n * 53 % 700)).await;
            b.lines.say("NE\r\n").await.expect("connected");
            assert!(a.hear().await.ends_with("OK"));
            let said = b.hear().await;
            let now = b.say("NOOP").await;
            assert!(
                [said.as_str(), now.as_str()].contains(&format!("{n} EXISTS ~ OK").as_str()),
                "told once, at the end of IDLE or after it: {said}, {now}"
            );
        }
    });
}

#[test]
fn a124_who_idles_in_silence_is_told_that_we_are_here_and_logged_out_after_half_an_hour() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        c.idle().await;
        let begin = shard::now();
        for n in 1..15 {
            assert_eq!(c.line().await, "OK Still here");
            let silent = shard::now().since(begin).as_secs();
            assert!((n * limits::IMAP_STILL_S..n * (limits::IMAP_STILL_S + 2)).contains(&silent), "after {silent} s");
        }
        assert!(c.line().await.starts_with("BYE"));
        assert!(shard::now().since(begin) >= Duration::from_secs(30 * 60));
        assert!(c.lines.line().await.is_err(), "closed");
        // Who says DONE in time goes on.
        let mut c = Client::in_inbox("alice").await;
        for _ in 0..3 {
            c.idle().await;
            for _ in 0..14 {
                assert_eq!(c.line().await, "OK Still here");
            }
            assert_eq!(c.done().await, "OK");
        }
        assert_eq!(c.say("NOOP").await, "OK");
    });
}

#[test]
fn a124_other_words_end_idle_and_a_line_without_end_the_connection() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        c.idle().await;
        c.lines.say("y STORE 1 FLAGS ()\r\n").await.expect("connected");
        assert_eq!(c.hear().await, "BAD");
        assert_eq!(c.say("NOOP").await, "OK");
        c.idle().await;
        c.lines.say(vec![b'D'; 256 << 10]).await.expect("connected");
        assert_eq!(c.hear().await, "BAD");
        assert!(c.line().await.starts_with("BYE"));
        assert!(c.lines.line().await.is_err(), "closed");
    });
}

#[test]
fn idling_without_a_mailbox_waits_for_done() {
    with_node(async || {
        let mut c = Client::login("alice").await;
        c.idle().await;
        let mut other = Client::in_inbox("alice").await;
        other.append("a: b\r\n\r\n").await;
        c.hears_nothing().await;
        assert!(c.say("SELECT INBOX").await.contains("1 EXISTS"));
    });
}

#[test]
fn who_examines_a_mailbox_idles_too() {
    with_node(async || {
        let (mut a, mut b) = (Client::in_inbox("bob").await, Client::login("bob").await);
        b.say("EXAMINE INBOX (CONDSTORE)").await;
        b.idle().await;
        a.append("a: b\r\n\r\n").await;
        assert_eq!(b.told().await, "1 EXISTS");
        a.say("STORE 1 +FLAGS (\\Seen)").await;
        let told = b.told().await;
        assert!(told.starts_with("1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ ("), "{told}");
        b.hears_nothing().await;
    });
}

#[test]
fn what_is_only_decided_is_told_to_nobody() {
    House::over_seeds(async |house| {
        assert!(kept(&deliver("alice", "before", "x").await));
        let (mut idles, mut polls) = (Client::in_inbox("alice").await, Client::in_inbox("alice").await);
        let mut acts = Client::in_inbox("alice").await;
        idles.idle().await;
        let hangs = house.hang(0);
        let sender = house.world.spawn("sender", async { deliver("alice", "hung", "x").await });
        acts.lines.say("x STORE 1 +FLAGS (\\Flagged)\r\n").await.expect("connected");
        for _ in 0..3 {
            shard::sleep(SOON).await;
            assert_eq!(polls.say("NOOP").await, "OK");
            assert_eq!(polls.say("FETCH 1:* (FLAGS)").await, "1 FETCH (FLAGS ()) ~ OK");
            idles.hears_nothing().await;
            idles.idle().await;
        }
        hangs.set(false);
        assert!(kept(&sender.await));
        assert!(acts.hear().await.ends_with("OK"));
        let told = [idles.told().await, idles.told().await];
        assert!(told.contains(&"2 EXISTS".to_owned()), "{told:?}");
        assert!(told.contains(&"1 FETCH (UID 1 FLAGS (\\Flagged))".to_owned()), "{told:?}");
        idles.hears_nothing().await;
    });
}

#[test]
fn a_volume_that_fails_has_no_more_news_and_its_readers_may_go_on_waiting() {
    House::over_seeds(async |house| {
        assert!(kept(&deliver("alice", "before", "x").await));
        let mut c = Client::in_inbox("alice").await;
        c.idle().await;
        shard::sleep(SOON).await;
        house.disk(0).fail(OpKind::Sync, Fault::Io, When::Once(1));
        assert_eq!(deliver("alice", "lost", "x").await, None);
        for _ in 0..3 {
            assert_eq!(c.line().await, "OK Still here");
        }
        assert_eq!(c.done().await, "OK");
        assert!(c.say("FETCH 1 (BODY.PEEK[])").await.contains("Subject: before"), "reading goes on");
        assert_eq!(c.say("UID COPY 1 INBOX").await, "NO UNAVAILABLE");
        assert_eq!(c.say("UID MOVE 1 INBOX").await, "NO UNAVAILABLE");
    });
}

#[test]
fn who_idles_in_a_mailbox_that_is_removed_hears_bye() {
    with_node(async || {
        let (mut a, mut b) = (Client::login("alice").await, Client::login("alice").await);
        a.say("CREATE short-lived").await;
        b.say("SELECT short-lived").await;
        b.idle().await;
        assert_eq!(a.say("DELETE short-lived").await, "OK");
        assert_eq!(b.told().await, "BYE Mailbox was deleted");
        assert!(b.lines.line().await.is_err(), "closed");
        // Its own removal is no news.
        a.say("CREATE short-lived").await;
        a.say("SELECT short-lived").await;
        assert_eq!(a.say("DELETE short-lived").await, "OK");
        a.idle().await;
        a.hears_nothing().await;
        assert!(a.say("SELECT INBOX").await.ends_with("OK READ-WRITE"));
    });
}
