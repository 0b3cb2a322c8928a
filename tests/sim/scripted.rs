//! The clients against scripted servers: a client that cannot tell right from wrong proves nothing.

use std::net::SocketAddr;

use ringpost::shard::sim::{Chance, World};
use ringpost::shard::{self, Mesh};

use crate::imap::{self, Mailbox};
use crate::ledger::{Ledger, Promise};
use crate::pop3::{self, Fetched};
use crate::smtp::{Sender, Verdict};

fn door() -> SocketAddr {
    "127.0.0.1:99".parse().expect("an address")
}

/// A node that says each of `words` in turn: the first at once, each later one when a line ending in its trigger came.
fn scripted(world: &World, words: &'static [(&'static str, &'static str)]) {
    world.start(1, move |_mesh: Mesh<(), ()>| async move {
        let mut door = shard::listen(door()).expect("the door opens");
        let mut stream = door.accept().await.expect("a client");
        let mut heard = Vec::new();
        for (trigger, say) in words {
            loop {
                let mut ends = trigger.len()..=heard.len();
                if let Some(end) = ends.find(|end| heard[..*end].ends_with(trigger.as_bytes())) {
                    heard.drain(..end);
                    break;
                }
                let chunk = stream.recv().await.expect("the client speaks");
                assert!(!chunk.is_empty(), "the client left before {trigger:?}");
                heard.extend_from_slice(&chunk);
            }
            if *say == "(reset)" {
                stream.reset();
                return Ok(());
            }
            let _ = stream.send(say.as_bytes().to_vec()).await;
        }
        stream.close().await;
        Ok(())
    });
}

fn over_seeds(words: &'static [(&'static str, &'static str)], client: impl AsyncFn(Chance)) {
    for seed in 0..20 {
        let world = World::new(seed);
        scripted(&world, words);
        world.run_until(async {
            shard::sleep(std::time::Duration::from_millis(1)).await;
            client(Chance::new(seed)).await;
        });
        assert_eq!(world.panics(), [""; 0], "seed {seed}");
    }
}

#[test]
fn the_sender_knows_accepted_from_refused_and_unknown() {
    let to = ["a@x".to_owned(), "b@x".to_owned()];
    let to = &to;
    over_seeds(
        &[
            ("", "220 x\r\n"),
            ("EHLO client.example\r\n", "250-x\r\n250 PIPELINING\r\n"),
            ("MAIL FROM:<c@y>\r\n", "250 ok\r\n"),
            ("RCPT TO:<a@x>\r\n", "250 ok\r\n"),
            ("RCPT TO:<b@x>\r\n", "452 4.5.3 later\r\n"),
            ("DATA\r\n", "354 go\r\n"),
            ("..dot\r\n.\r\n", "250 kept\r\n"),
            ("MAIL FROM:<c@y>\r\n", "250 ok\r\n"),
            ("RCPT TO:<a@x>\r\n", "550 5.1.1 no\r\n"),
            ("RCPT TO:<b@x>\r\n", "550 5.1.1 no\r\n"),
            ("DATA\r\n", "554 5.5.1 no recipients\r\n"),
            ("RSET\r\n", "250 ok\r\n"),
            ("MAIL FROM:<c@y>\r\n", "250 ok\r\n"),
            ("RCPT TO:<a@x>\r\n", "250 ok\r\n"),
            ("RCPT TO:<b@x>\r\n", "250 ok\r\n"),
            ("DATA\r\n", "354 go\r\n"),
            ("\r\n.\r\n", "(reset)"),
        ],
        async move |chance| {
            let mut sender = Sender::open(door()).await.expect("open");
            let verdict = sender.deliver(&chance, "c@y", to, b"Subject: x\r\n\r\n.dot\r\n").await;
            assert_eq!(verdict, Verdict::Accepted(vec![true, false]));
            let verdict = sender.deliver(&chance, "c@y", to, b"\r\n").await;
            assert_eq!(verdict, Verdict::Refused(550, "5.1.1 no".to_owned()));
            let verdict = sender.deliver(&chance, "c@y", to, b"Subject: x\r\n\r\nlast\r\n").await;
            assert_eq!(verdict, Verdict::Unknown(vec![true, true]));
            let verdict = sender.deliver(&chance, "c@y", to, b"\r\n").await;
            assert_eq!(verdict, Verdict::Abandoned);
        },
    );
}

#[test]
fn the_pop3_reader_unstuffs_dots() {
    over_seeds(
        &[
            ("", "+OK x\r\n"),
            ("USER a@x\r\n", "+OK\r\n"),
            ("PASS secret\r\n", "+OK\r\n"),
            ("STAT\r\n", "+OK 1 10\r\n"),
            ("LIST\r\n", "+OK\r\n1 10\r\n.\r\n"),
            ("UIDL\r\n", "+OK\r\n1 u-7\r\n.\r\n"),
            ("RETR 1\r\n", "+OK\r\n..a\r\n\r\n...\r\n.\r\n"),
            ("QUIT\r\n", "+OK bye\r\n"),
        ],
        async |_| {
            let all = pop3::fetch_all(door(), "a@x", "secret").await.expect("fetched");
            assert_eq!(all, [Fetched { unique_id: "u-7".to_owned(), bytes: b".a\r\n\r\n..\r\n"[..].to_vec() }]);
        },
    );
}

#[test]
fn the_imap_reader_takes_literals() {
    over_seeds(
        &[
            ("", "* OK [CAPABILITY IMAP4rev2] x\r\n"),
            ("LOGIN a@x secret\r\n", "t1 OK in\r\n"),
            (
                "EXAMINE INBOX\r\n",
                "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n* OK [UIDNEXT 4] n\r\nt1 OK [READ-ONLY] done\r\n",
            ),
            ("BODY.PEEK[])\r\n", "* 1 FETCH (UID 3 RFC822.SIZE 5 BODY[] {5}\r\nt1 \r\n)\r\nt1 OK done\r\n"),
            ("LOGOUT\r\n", "* BYE now\r\nt1 OK out\r\n"),
        ],
        async |_| {
            let inbox = imap::read_inbox(door(), "a@x", "secret").await.expect("read");
            assert_eq!(inbox, Mailbox { uidvalidity: 7, uidnext: 4, messages: vec![(3, b"t1 \r\n".to_vec())] });
        },
    );
}

fn letter(number: u64) -> Vec<u8> {
    format!("X-Letter: {number}\r\n\r\nbody {number}\r\n").into_bytes()
}

/// What a ledger with letters 1 (promised), 2 (perhaps) and 3 (not) says to these letters at these UIDs.
fn judge(there: &[(u32, u64)]) {
    let mut ledger = Ledger::default();
    ledger.send(1, &letter(1), "a@x");
    ledger.settle(1, "a@x", Promise::One);
    ledger.send(2, &letter(2), "a@x");
    ledger.settle(2, "a@x", Promise::Perhaps);
    ledger.send(3, &letter(3), "a@x");
    ledger.settle(3, "a@x", Promise::None);
    ledger.check("a@x", &mailbox(there), &fetched(there));
}

fn stored(number: u64) -> Vec<u8> {
    [b"Received: from y\r\n by x\r\n".as_slice(), &letter(number)].concat()
}

fn mailbox(there: &[(u32, u64)]) -> Mailbox {
    let messages = there.iter().map(|(uid, number)| (*uid, stored(*number))).collect();
    Mailbox { uidvalidity: 1, uidnext: 9, messages }
}

fn fetched(there: &[(u32, u64)]) -> Vec<Fetched> {
    there.iter().map(|(uid, number)| Fetched { unique_id: uid.to_string(), bytes: stored(*number) }).collect()
}

#[test]
fn the_ledger_accepts_what_was_promised() {
    judge(&[(1, 1)]);
    judge(&[(3, 2), (5, 1)]);
}

#[test]
#[should_panic(expected = "letter 1 was acknowledged and is missing")]
fn the_ledger_misses_a_lost_letter() {
    judge(&[(3, 2)]);
}

#[test]
#[should_panic(expected = "letter 1 is there twice")]
fn the_ledger_sees_a_doubled_letter() {
    judge(&[(3, 1), (4, 1)]);
}

#[test]
#[should_panic(expected = "letter 3 was refused or removed and is there")]
fn the_ledger_sees_a_letter_that_was_refused() {
    judge(&[(3, 1), (4, 3)]);
}

#[test]
#[should_panic(expected = "letter 1 was refused or removed and is there")]
fn the_ledger_sees_a_removed_letter_come_back() {
    let mut ledger = Ledger::default();
    ledger.send(1, &letter(1), "a@x");
    ledger.settle(1, "a@x", Promise::One);
    ledger.check("a@x", &mailbox(&[(4, 1)]), &fetched(&[(4, 1)]));
    ledger.remove("a@x", 0);
    ledger.check("a@x", &mailbox(&[]), &fetched(&[]));
    ledger.check("a@x", &mailbox(&[(8, 1)]), &fetched(&[(8, 1)]));
}

#[test]
#[should_panic(expected = "letter 2 got UID 3 below 9")]
fn the_ledger_sees_a_uid_that_goes_back() {
    let mut ledger = Ledger::default();
    ledger.send(1, &letter(1), "a@x");
    ledger.settle(1, "a@x", Promise::One);
    ledger.send(2, &letter(2), "a@x");
    ledger.settle(2, "a@x", Promise::Perhaps);
    ledger.check("a@x", &mailbox(&[(4, 1)]), &fetched(&[(4, 1)]));
    ledger.check("a@x", &mailbox(&[(3, 2), (4, 1)]), &fetched(&[(3, 2), (4, 1)]));
}
