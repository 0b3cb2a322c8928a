//! The door of SMTP, from the client's side: the silent, the slow, the deaf, the large.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use memchr::memmem;
use ringpost::limits;
use ringpost::observe::{self, Counter};
use ringpost::shard;
use ringpost::shard::sim::Chance;
use sha2::{Digest, Sha256};

use crate::node;
use crate::post::{House, Sender, by_imap_octets, deliver, fetched, kept, seconds, subjects};

const TIMED_OUT: &str = "421 4.4.2";

#[test]
fn a059_five_minutes_of_silence_end_the_conversation() {
    House::over_seeds(async |_| {
        let mut greeted = Sender::open().await;
        let mut asked = Sender::open().await;
        asked.expect("MAIL FROM:<a@client.example>", "250").await;
        let mut half = Sender::open().await;
        half.lines.say("RCPT TO:<al").await.expect("connected");
        let began = shard::now();
        for sender in [&mut greeted, &mut asked, &mut half] {
            let said = sender.hear().await.expect("a last word");
            assert!(said.starts_with(TIMED_OUT), "{said}");
            let took = shard::now().since(began);
            let idle = seconds(limits::SMTP_IDLE_S);
            assert!((idle - seconds(1)..idle + seconds(3)).contains(&took), "{took:?}");
            assert_eq!(sender.hear().await, None);
        }
    });
}

#[test]
fn a059_whoever_says_something_in_time_may_stay() {
    House::over_seeds(async |_| {
        let mut sender = Sender::open().await;
        for _ in 0..5 {
            shard::sleep(seconds(limits::SMTP_IDLE_S - 10)).await;
            sender.expect("NOOP", "250").await;
        }
    });
}

#[test]
fn a060_a_byte_every_half_minute_is_no_letter() {
    House::over_seeds(async |_| {
        let mut sender = Sender::open().await;
        sender.begin("alice").await;
        let began = shard::now();
        while sender.lines.say("x").await.is_ok() && shard::now().since(began) < seconds(600) {
            shard::sleep(seconds(30)).await;
        }
        let said = sender.hear().await.expect("a last word");
        assert!(said.starts_with(TIMED_OUT), "{said}");
        assert_eq!(sender.hear().await, None);
        assert_eq!(subjects("alice").await, [""; 0]);

        // Slow, and fast enough.
        let mut sender = Sender::open().await;
        sender.begin("alice").await;
        sender.lines.say("Subject: slow\r\n\r\n").await.expect("connected");
        for _ in 0..120 {
            sender.lines.say("x".repeat(598) + "\r\n").await.expect("connected");
            shard::sleep(seconds(1)).await;
        }
        sender.expect(".", "250").await;
    });
}

#[test]
fn a061_who_never_reads_is_waited_for_and_then_reset() {
    House::over_seeds(async |house| {
        let mut deaf = Sender::open().await;
        // Each round is answered with some 15 KiB, and its letter buys the next round.
        const ROUNDS: usize = 400;
        let mut round = "EHLO client.example\r\n".repeat(90);
        round += &format!("MAIL FROM:<>\r\nRCPT TO:<alice@{}>\r\nDATA\r\nSubject: deaf\r\n\r\n.\r\n", node::DOMAIN);
        let began = shard::now();
        let said = Rc::new(Cell::new(0));
        let (saying, octets) = (said.clone(), round.len());
        let talk = house.world.spawn("deaf", async move {
            while saying.get() < ROUNDS && deaf.lines.say(round.as_str()).await.is_ok() {
                saying.set(saying.get() + 1);
            }
        });
        shard::sleep(seconds(limits::WRITE_STALL_S / 2)).await;
        let taken = said.get() * octets;
        talk.await;
        let took = shard::now().since(began);
        let stall = seconds(limits::WRITE_STALL_S);
        assert!((stall..stall + seconds(10)).contains(&took), "{took:?}");
        // What the roads and one full buffer of replies hold, and not a round more.
        let letters = subjects("alice").await.len();
        assert!(letters * 90 * 100 < (256 << 10) + 2 * limits::OUT_BYTES_MAX, "{letters} letters");
        assert!(taken < (letters + 1) * octets + (256 << 10) + (64 << 10), "{taken} octets were taken in");
        assert!(kept(&deliver("alice", "other", "x").await));
    });
}

#[test]
fn a_letter_of_8_mib_comes_back_octet_for_octet() {
    let house = House::new(4, 2, |plan| plan.segment_bytes = 16 << 20);
    house.tell(async |_| {
        let body = text(8 << 20);
        let hash = Sha256::digest(&body);
        for name in ["alice", "bob"] {
            let mut sender = Sender::open().await;
            sender.begin(name).await;
            let mut stuffed = Vec::with_capacity(body.len() + (1 << 20));
            for line in body.split_inclusive(|b| *b == b'\n') {
                if line[0] == b'.' {
                    stuffed.push(b'.');
                }
                stuffed.extend_from_slice(line);
            }
            assert!(stuffed.len() > body.len(), "dots at the beginning of lines");
            sender.lines.say(stuffed).await.expect("connected");
            sender.expect(".", "250").await;
            for bytes in [fetched(name).await.remove(0).bytes, by_imap_octets(name, "FETCH 1 (BODY.PEEK[])").await] {
                let ours = bytes.len() - body.len();
                assert!(ours < 1_000 && memmem::find(&bytes[..ours], b"Received: ").is_some());
                assert_eq!(Sha256::digest(&bytes[ours..]), hash, "{name}");
            }
        }
    });
}

/// Canonical lines of any length, some of which begin with a dot.
fn text(octets: usize) -> Vec<u8> {
    let chance = Chance::of(9, "text");
    let mut text = b"Subject: large\r\n\r\n".to_vec();
    while text.len() < octets {
        let len = chance.index(2_000);
        if chance.one_in(5) {
            text.push(b'.');
        }
        text.extend((0..len).map(|n| b'!' + (n % 90) as u8));
        text.extend_from_slice(b"\r\n");
    }
    text
}

#[test]
fn letters_under_way_may_hold_so_much_and_give_all_of_it_back() {
    // As much as a letter has in memory before it is put into the log.
    const EACH: usize = limits::BODY_BYTES_IN_MEMORY_MAX as usize - 2_048;
    let fit = limits::BODY_BYTES_IN_FLIGHT_MAX as usize / (EACH + "Subject: slow\r\n\r\n".len());
    let house = House::new(5, 1, |plan| plan.segment_bytes = 64 << 20);
    house.tell(async |house| {
        let lines = ("x".repeat(1_022) + "\r\n").repeat(EACH >> 10);
        for round in 0..2 {
            // All at once: whoever is silent too long is told to go.
            let begin = |lines: String| {
                house.world.spawn("slow", async move {
                    let mut sender = begun_on_a_fast_road().await;
                    sender.lines.say(lines.as_str()).await.expect("connected");
                    sender
                })
            };
            let begun: Vec<_> = (0..fit).map(|_| begin(lines.clone())).collect();
            let mut slow = Vec::new();
            for sender in begun {
                slow.push(sender.await);
            }
            shard::sleep(seconds(1)).await;
            let mut starving = begun_on_a_fast_road().await;
            starving.lines.say(lines.as_str()).await.expect("connected");
            starving.lines.say(lines.as_str()).await.expect("connected");
            // What the starving one held is there for others at once.
            assert!(kept(&deliver("alice", "another", "x").await));
            starving.expect(".", "452 4.3.1").await;
            starving.expect("NOOP", "250").await;
            if round > 0 {
                // Whatever the first round left behind would have been missing to the last one here. And while its
                // commit takes long, its octets are still held.
                let mut last = slow.pop().expect("the last that fitted");
                let hangs = house.hang(0);
                last.lines.say(".\r\n").await.expect("connected");
                let mut starving = begun_on_a_fast_road().await;
                starving.lines.say(lines.as_str()).await.expect("connected");
                starving.lines.say(lines.as_str()).await.expect("connected");
                starving.expect(".", "452 4.3.1").await;
                hangs.set(false);
                let said = last.hear().await;
                assert!(kept(&said), "{said:?}");
            }
            slow.into_iter().for_each(|sender| sender.lines.reset());
            shard::sleep(seconds(1)).await;
        }
    });
}

/// A sender in the middle of a letter for alice.
async fn begun_on_a_fast_road() -> Sender {
    loop {
        let mut sender = Sender::open().await;
        let asked = shard::now();
        sender.expect("NOOP", "250").await;
        if shard::now().since(asked) < Duration::from_millis(1) {
            return begin(sender).await;
        }
    }
}

async fn begin(mut sender: Sender) -> Sender {
    sender.begin("alice").await;
    sender.lines.say("Subject: slow\r\n\r\n").await.expect("connected");
    sender
}

#[test]
fn a_body_is_copied_once_wherever_the_network_cuts_it() {
    House::over_seeds(async |_| {
        let mut sender = Sender::open().await;
        let count = || (observe::here(Counter::BodyBytesReceived), observe::here(Counter::BodyBytesCopied));
        let (received_before, copied_before) = count();
        let begin = |to: &str| format!("MAIL FROM:<>\r\nRCPT TO:<{to}@{}>\r\nDATA\r\n", node::DOMAIN);
        let letter = "Subject: cut\r\n\r\n..dots\r\n\r\n.\r\n";
        sender.lines.say(begin("alice")).await.expect("connected");
        for cut in 0..=letter.len() {
            for start in ["250", "250", "354"] {
                let said = sender.hear().await.expect("connected");
                assert!(said.starts_with(start), "{said}");
            }
            // The next transaction comes with the end of this one, as pipelining clients send it.
            let next = begin(if cut % 2 == 0 { "bob" } else { "alice" });
            sender.lines.say(&letter[..cut]).await.expect("connected");
            shard::sleep(seconds(1)).await;
            sender.lines.say(letter[cut..].to_owned() + &next).await.expect("connected");
            let said = sender.hear().await.expect("connected");
            assert!(said.starts_with("250"), "{said}");
        }
        let letters = letter.len() as u64 + 1;
        // Without the stuffed dot and the last line.
        let octets = letters * (letter.len() as u64 - 1 - 3);
        let (received, copied) = count();
        assert_eq!((received - received_before, copied - copied_before), (octets, octets));
        let kept = subjects("alice").await.len() + subjects("bob").await.len();
        assert_eq!(kept as u64, letters);

        // And a large one, cut as the seed cuts it.
        let (received_before, copied_before) = count();
        let body = "a line of the letter\r\n".repeat(5_000);
        assert!(self::kept(&deliver("bob", "large", &body).await));
        let (received, copied) = count();
        assert!(received - received_before > body.len() as u64);
        assert_eq!(received - received_before, copied - copied_before);
    });
}

#[test]
fn a_letter_in_chunks_is_copied_once_and_a_large_one_goes_into_the_log_as_it_comes() {
    let house = House::new(6, 2, |plan| plan.segment_bytes = 16 << 20);
    house.tell(async |_| {
        let body = text(8 << 20);
        let hash = Sha256::digest(&body);
        let count = || (observe::here(Counter::BodyBytesReceived), observe::here(Counter::BodyBytesCopied));
        for (name, chunk_bytes) in [("alice", 1 << 20), ("bob", 70_001)] {
            let mut sender = Sender::open().await;
            sender.expect("MAIL FROM:<sender@client.example>", "250").await;
            sender.expect(&format!("RCPT TO:<{name}@{}>", node::DOMAIN), "250").await;
            let (received_before, copied_before) = count();
            let mut left = body.len();
            for chunk in body.chunks(chunk_bytes) {
                left -= chunk.len();
                let last = if left == 0 { " LAST" } else { "" };
                sender.lines.say(format!("BDAT {}{last}\r\n", chunk.len())).await.expect("connected");
                sender.lines.say(chunk).await.expect("connected");
            }
            for _ in body.chunks(chunk_bytes) {
                let said = sender.hear().await.expect("connected");
                assert!(said.starts_with("250"), "{said}");
            }
            let (received, copied) = count();
            assert_eq!(received - received_before, body.len() as u64);
            // What came while the disk was waited for was held in between.
            assert!(copied - copied_before <= 2 * body.len() as u64, "{copied} of {received}");
            let bytes = fetched(name).await.remove(0).bytes;
            let ours = bytes.len() - body.len();
            assert!(ours < 1_000 && Sha256::digest(&bytes[ours..]) == hash, "{name}");
        }
    });
    House::over_seeds(async |_| {
        let mut sender = Sender::open().await;
        let count = || (observe::here(Counter::BodyBytesReceived), observe::here(Counter::BodyBytesCopied));
        let (received_before, copied_before) = count();
        let letter =
            format!("RCPT TO:<alice@{}>\r\nBDAT 18\r\nSubject: cut\r\n\r\n.\rBDAT 4 LAST\r\n\n.\r\n", node::DOMAIN);
        let begin = "MAIL FROM:<>\r\n";
        sender.lines.say(begin).await.expect("connected");
        for cut in 0..=letter.len() {
            sender.lines.say(&letter[..cut]).await.expect("connected");
            shard::sleep(seconds(1)).await;
            sender.lines.say(letter[cut..].to_owned() + begin).await.expect("connected");
            for _ in 0..4 {
                let said = sender.hear().await.expect("connected");
                assert!(said.starts_with("250"), "{said}");
            }
        }
        // Two line ends and two dots of the second chunk and of the border, whatever was cut.
        let octets = (letter.len() as u64 + 1) * "Subject: cut\r\n\r\n.\r\n.\r\n".len() as u64;
        let (received, copied) = count();
        assert_eq!((received - received_before, copied - copied_before), (octets, octets));
        assert_eq!(subjects("alice").await.len(), letter.len() + 1);
    });
}

#[test]
fn a060_chunks_that_trickle_are_no_letter() {
    House::over_seeds(async |_| {
        let mut sender = Sender::open().await;
        sender.expect("MAIL FROM:<sender@client.example>", "250").await;
        sender.expect(&format!("RCPT TO:<alice@{}>", node::DOMAIN), "250").await;
        let began = shard::now();
        while sender.lines.say("BDAT 3\r\nx\r\n").await.is_ok() && shard::now().since(began) < seconds(600) {
            shard::sleep(seconds(20)).await;
        }
        let mut said = sender.hear().await.expect("a first word");
        while said.starts_with("250") {
            said = sender.hear().await.expect("a last word");
        }
        assert!(said.starts_with(TIMED_OUT), "{said}");
        assert_eq!(subjects("alice").await, [""; 0]);
    });
}
