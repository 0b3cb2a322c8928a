//! The hand-off in the real world: hundreds of conversations are accepted by one shard and served by another, under TLS
//! and without, with everything behind the login already sent.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::TcpStream;

use crate::house::{House, Talk};

const ALICE: &str = "alice@ringpost.test";
const TALKS: usize = 300;

/// A figure as the metrics page gives it, of one shard.
fn figure(house: &House, name: &str, shard: u16) -> u64 {
    use std::io::Write as _;
    let mut stream = TcpStream::connect(house.http()).expect("the metrics are there");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("asked");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    let series = format!("{name}{{shard=\"{shard}\"}} ");
    let line = page.lines().find_map(|l| l.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no {series}in\n{page}")).parse().expect("a number")
}

/// A login with a message to append and commands behind it, each with a tag of its own; the tags in order.
fn script(name: &str, password: &str, number: usize) -> (String, Vec<String>) {
    let letter = format!("Subject: letter {number}\r\n\r\n{}\r\n", "x".repeat(number * 131 % 9_000));
    let mut text = format!("login LOGIN {name} {password}\r\nselect SELECT INBOX\r\n");
    write!(text, "append APPEND INBOX {{{}+}}\r\n{letter}\r\n", letter.len()).expect("a string takes all");
    let mut tags = vec!["login".to_owned(), "select".to_owned(), "append".to_owned()];
    for n in 0..number % 40 {
        write!(text, "n{n} NOOP\r\n").expect("a string takes all");
        tags.push(format!("n{n}"));
    }
    text += "bye LOGOUT\r\n";
    tags.push("bye".to_owned());
    (text, tags)
}

#[test]
fn three_hundred_conversations_cross_to_the_other_shard_and_nothing_is_lost_or_doubled() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(dir.path().join("data")).expect("a folder");
    // The password's hash is not what this is about.
    let cheap = "[login]\nargon2_memory_kib = 7168\nargon2_passes = 1\n";
    std::fs::write(dir.path().join("data/ringpost.toml"), cheap).expect("a file");
    let house = House::open_in(dir, &["--shards", "2", "--accept-on", "1"]);
    let password = house.password(ALICE);
    for number in 0..TALKS {
        let mut talk = if number % 3 == 0 { Talk::with(house.imap()) } else { Talk::private(house.door(2993), &house) };
        assert!(talk.hear().starts_with("* OK"));
        let (text, tags) = script(ALICE, &password, number);
        // In pieces, so that the hand-off finds more or less of it there already.
        for piece in text.as_bytes().chunks(60 + number * 37 % text.len()) {
            talk.send(piece);
        }
        let said = String::from_utf8(talk.rest()).expect("UTF-8");
        let tagged: Vec<&str> =
            said.lines().filter(|l| !l.starts_with('*')).map(|l| l.split_once(" OK").expect("OK").0).collect();
        assert_eq!(tagged, tags, "each command once and in order");
    }
    let mut talk = Talk::private(house.door(2993), &house);
    talk.hear();
    talk.imap(&format!("LOGIN {ALICE} {password}"), "OK");
    talk.imap("SELECT INBOX", "OK");
    let lines = talk.imap("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (Subject)])", "OK");
    let subjects: Vec<&str> = lines.iter().filter_map(|l| l.strip_prefix("Subject: letter ")).collect();
    assert_eq!(subjects, (0..TALKS).map(|n| n.to_string()).collect::<Vec<_>>(), "each message once");
    // Shard 1 accepts; alice lives on shard 0.
    let crossed = TALKS as u64 + 1;
    let counts = |shard| {
        let name = |way| figure(&house, &format!("ringpost_handoffs_{way}_total"), shard);
        (name("out"), name("in"))
    };
    assert_eq!((counts(1), counts(0)), ((crossed, 0), (0, crossed)), "the shards differ, each time");
}
