//! LMTP (RFC 2033): by TCP and by a Unix socket, one answer for each recipient.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::house::{House, Talk, fetch};

const ALICE: &str = "alice@ringpost.test";
const BOB: &str = "bob@ringpost.test";

/// The doors that a house must have, and these.
fn doors<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let usual = ["smtp=127.0.0.1:2525", "imap=127.0.0.1:2143", "pop3=127.0.0.1:2110"];
    usual.iter().chain(more).flat_map(|door| ["--listen", door]).collect()
}

/// Replies, however many lines there are: one for each that is asked for.
fn replies(talk: &mut Talk, count: usize) -> Vec<String> {
    (0..count).map(|_| talk.reply()).collect()
}

fn greeted(house: &House) -> Talk {
    let mut talk = Talk::with(house.door(2024));
    talk.reply();
    talk.ask("EHLO relay.test", "500 5.5.2");
    assert!(talk.ask("LHLO relay.test", "250").contains("PIPELINING"));
    talk
}

#[test]
fn a068_who_is_over_quota_hears_it_alone_and_the_others_have_the_letter() {
    let house = House::open(&[&["--shards", "2"], &*doors(&["lmtp=127.0.0.1:2024"])].concat());
    let (code, _, why) = house.verb(&["account", "quota", BOB, "--storage", "2000"], "");
    assert_eq!(code, 0, "{why}");
    let mut talk = greeted(&house);
    talk.ask("MAIL FROM:<x@client.test>", "250");
    for (recipient, code) in [(BOB, "250"), ("nobody@ringpost.test", "550"), (ALICE, "250"), (BOB, "250")] {
        talk.ask(&format!("RCPT TO:<{recipient}>"), code);
    }
    talk.ask("DATA", "354");
    talk.send(format!("Subject: too much for bob\r\n\r\n{}\r\n.\r\n", "0123456789\r\n".repeat(500)).as_bytes());
    let said = replies(&mut talk, 3);
    let codes: Vec<_> = said.iter().map(|reply| &reply[..9]).collect();
    assert_eq!(codes, ["452 4.2.2", "250 2.0.0", "452 4.2.2"], "{said:?}");
    // The conversation goes on, and a letter that everybody may have is everybody's.
    talk.ask("MAIL FROM:<x@client.test>", "250");
    talk.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    talk.ask(&format!("RCPT TO:<{BOB}>"), "250");
    talk.ask("DATA", "354");
    talk.send(b"Subject: small\r\n\r\nfor both\r\n.\r\n");
    assert!(replies(&mut talk, 2).iter().all(|reply| reply.starts_with("250 2.0.0 Ok: queued as ")));
    // Nobody can have this one.
    talk.ask("MAIL FROM:<x@client.test>", "250");
    talk.ask(&format!("RCPT TO:<{BOB}>"), "250");
    talk.ask("DATA", "354");
    talk.send(format!("Subject: no\r\n\r\n{}\r\n.\r\n", "0123456789\r\n".repeat(500)).as_bytes());
    assert!(talk.reply().starts_with("452 4.2.2"));
    talk.ask("QUIT", "221");
    let alice = fetch(house.pop3(), ALICE, &house.password(ALICE));
    assert_eq!(alice.len(), 2);
    assert!(alice[0].contains("\r\nSubject: too much for bob\r\n") && alice[0].contains("with LMTP"), "{}", alice[0]);
    let bob = fetch(house.pop3(), BOB, &house.password(BOB));
    assert_eq!(bob.len(), 1);
    assert!(
        bob[0].contains("\r\nSubject: small\r\n") && bob[0].contains(&format!("Delivered-To: {BOB}")),
        "{}",
        bob[0]
    );
}

#[test]
fn a050_who_has_seen_a_letter_before_hears_it_alone() {
    let house = House::open(&doors(&["lmtp=127.0.0.1:2024"]));
    let mut talk = greeted(&house);
    // Once in memory, once with a part in the log already.
    for octets in [10, 600_000] {
        talk.ask("MAIL FROM:<x@client.test>", "250");
        talk.ask(&format!("RCPT TO:<{BOB}>"), "250");
        talk.ask(&format!("RCPT TO:<{ALICE}>"), "250");
        talk.ask("DATA", "354");
        let text = "0123456789\r\n".repeat(octets / 12 + 1);
        talk.send(format!("Delivered-To: {BOB}\r\nSubject: again\r\n\r\n{text}.\r\n").as_bytes());
        let said = replies(&mut talk, 2);
        assert!(said[0].starts_with("554 5.4.6 ") && said[1].starts_with("250 "), "{said:?}");
        // Of a letter that nobody may have each hears the same.
        talk.ask("MAIL FROM:<x@client.test>", "250");
        talk.ask(&format!("RCPT TO:<{BOB}>"), "250");
        talk.ask(&format!("RCPT TO:<{ALICE}>"), "250");
        talk.ask("DATA", "354");
        let loops = "Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n".repeat(100);
        talk.send(format!("{loops}Subject: loop\r\n\r\n{text}.\r\n").as_bytes());
        assert!(replies(&mut talk, 2).iter().all(|reply| reply.starts_with("554 5.4.6 ")));
    }
    assert_eq!(fetch(house.pop3(), ALICE, &house.password(ALICE)).len(), 2);
    assert!(fetch(house.pop3(), BOB, &house.password(BOB)).is_empty());
}

#[test]
fn what_lmtp_answers_is_durable() {
    // One shard: who is served by it comes after the first start is complete, whose passwords a kill would else make anew.
    let mut house = House::open(&[&["--shards", "1"], &*doors(&["lmtp=127.0.0.1:2024"])].concat());
    let mut talk = greeted(&house);
    talk.ask("MAIL FROM:<>", "250");
    talk.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    talk.ask(&format!("RCPT TO:<{BOB}>"), "250");
    talk.say("BDAT 26 LAST\r\nSubject: kept\r\n\r\nin a log");
    assert!(replies(&mut talk, 2).iter().all(|reply| reply.starts_with("250 ")));
    house.kill();
    house.reopen();
    for who in [ALICE, BOB] {
        let mail = fetch(house.pop3(), who, &house.password(who));
        assert_eq!(mail.len(), 1, "{who}");
        assert!(mail[0].ends_with("\r\n\r\nin a log\r\n"), "{}", mail[0]);
    }
}

fn hear(reader: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    line
}

/// A letter for alice and somebody who is not here, by a Unix socket, pipelined.
fn post_by(socket: &Path) -> Vec<String> {
    let stream = UnixStream::connect(socket).expect("somebody listens");
    stream.set_read_timeout(Some(crate::house::PATIENCE)).expect("a time-out");
    let mut reader = BufReader::new(stream);
    let text = format!(
        "LHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<{ALICE}>\r\nRCPT TO:<x@ringpost.test>\r\nDATA\r\n\
         Subject: by socket\r\n\r\nhi\r\n.\r\nQUIT\r\n"
    );
    reader.get_mut().write_all(text.as_bytes()).expect("taken");
    let mut said = vec![hear(&mut reader)];
    while !said[said.len() - 1].is_empty() {
        said.push(hear(&mut reader));
    }
    said.retain(|line| !line.starts_with("250-") && !line.is_empty());
    said.iter().map(|line| line[..3].to_owned()).collect()
}

#[test]
fn a_unix_socket_is_for_whom_it_says_and_comes_and_goes_with_the_server() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let socket = dir.path().join("lmtp");
    // Left by a server that was killed: nobody answers there.
    drop(UnixListener::bind(&socket).expect("bound"));
    std::fs::create_dir(dir.path().join("data")).expect("a folder");
    let doors = [
        "smtp\"\naddress = \"127.0.0.1:2525",
        "imap\"\naddress = \"127.0.0.1:2143",
        "pop3\"\naddress = \"127.0.0.1:2110",
    ];
    let mut text = doors.map(|door| format!("[[listener]]\nservice = \"{door}\"\n")).concat();
    text += &format!("[[listener]]\nservice = \"lmtp\"\naddress = \"unix:{}\"\nmode = \"0666\"\n", socket.display());
    std::fs::write(dir.path().join("data/ringpost.toml"), text).expect("a file");
    let mut house = House::open_in(dir, &["--shards", "2"]);
    assert_eq!(std::fs::metadata(&socket).expect("there").permissions().mode() & 0o777, 0o666);
    assert!(house.said.contains(&format!("unix:{}", socket.display())), "{}", house.said);
    assert_eq!(post_by(&socket), ["220", "250", "250", "250", "550", "354", "250", "221"]);
    let mail = fetch(house.pop3(), ALICE, &house.password(ALICE));
    assert!(mail.len() == 1 && mail[0].contains("Subject: by socket"), "{mail:?}");
    assert!(!mail[0].contains("127.0.0.1"), "it came from no address: {}", mail[0]);
    assert_eq!(house.stop(), Some(0), "{}", house.log());
    assert!(!socket.exists(), "it went with the server");
}

#[test]
fn a_socket_at_which_somebody_answers_is_left_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let socket = dir.path().join("taken");
    let _taker = UnixListener::bind(&socket).expect("bound");
    let out = std::process::Command::new(crate::house::binary())
        .args(["serve", "--data", dir.path().join("data").to_str().expect("a plain path")])
        .args(["--listen", &format!("lmtp=unix:{}", socket.display())])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains("another process answers there"), "{said}");
    assert!(socket.exists());
}
