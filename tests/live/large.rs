//! Messages of 50 MiB, in and out, by every door, in little memory; and a server that dies while one arrives.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::house::{House, Talk};

/// How long each of a crowd waits for a word: dozens of connections with megabytes each share the machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Octets that are told apart by their numbers.
const BLOCK_BYTES: usize = 64 << 10;
/// Of a message that is about as large as one may be.
const BLOCKS: u32 = 799;
/// Of one that is large too.
const SOME: u32 = 60;
/// Connections at once.
const FEW: u32 = 8;
/// Messages that warm a server: a small one and a large one for each account.
const WARM: u32 = 4;
/// Connections at once, where messages are not as large.
const MANY: u32 = 64;
/// What each may take of the process's memory, with its part of what they share, octets.
const MEMORY_BYTES_MAX: u64 = 1 << 20;

/// Block `k` of message `n`: lines that no protocol has to change.
fn block(n: u32, k: u32) -> Vec<u8> {
    let mut octets = format!("X-Block: {n:07} {k:07}\r\n\r\n").into_bytes();
    while octets.len() + 80 < BLOCK_BYTES {
        octets.extend_from_slice(&[b'a' + (octets.len() / 78 % 26) as u8; 76]);
        octets.extend_from_slice(b"\r\n");
    }
    octets.resize(BLOCK_BYTES - 2, b'z');
    octets.extend_from_slice(b"\r\n");
    octets
}

/// The process's memory, octets.
fn memory(house: &House) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", house.pid())).expect("Linux tells");
    let of = |name: &str| {
        let line = rollup.lines().find(|line| line.starts_with(name)).expect("a figure");
        line.split_whitespace().nth(1).expect("of it").parse::<u64>().expect("a number") << 10
    };
    of("Anonymous:")
}

/// The most memory that was seen.
struct Peak<'a>(&'a House, AtomicU64);

impl<'a> Peak<'a> {
    fn new(house: &'a House) -> Self {
        Peak(house, AtomicU64::new(memory(house)))
    }

    fn look(&self) {
        self.1.fetch_max(memory(self.0), Ordering::Relaxed);
    }
}

fn greeted(house: &House) -> Talk {
    let mut talk = Talk::patient(house.smtp(), PATIENCE);
    talk.reply();
    talk.ask("EHLO client.test", "250");
    talk
}

fn begin(talk: &mut Talk, to: &str) {
    talk.ask("MAIL FROM:<sender@client.test>", "250");
    talk.ask(&format!("RCPT TO:<{to}@ringpost.test>"), "250");
    talk.ask("DATA", "354");
}

/// Sends message `n` in blocks.
fn send(talk: &mut Talk, n: u32, blocks: u32, peak: &Peak<'_>) {
    for k in 0..blocks {
        talk.send(&block(n, k));
        if k % 16 == 4 {
            peak.look();
        }
    }
}

fn by_smtp(talk: &mut Talk, to: &str, n: u32, blocks: u32, peak: &Peak<'_>) {
    begin(talk, to);
    send(talk, n, blocks, peak);
    talk.ask(".", "250");
}

fn imap(house: &House, name: &str) -> Talk {
    let mut talk = Talk::patient(house.imap(), PATIENCE);
    talk.hear();
    talk.imap(&format!("LOGIN {name}@ringpost.test {}", house.password(&format!("{name}@ringpost.test"))), "OK");
    talk
}

fn by_append(talk: &mut Talk, n: u32, blocks: u32, peak: &Peak<'_>) {
    talk.send(format!("t APPEND INBOX {{{}+}}\r\n", blocks as usize * BLOCK_BYTES).as_bytes());
    send(talk, n, blocks, peak);
    talk.say("");
    let said = talk.hear_until(|line| line.starts_with("t ")).pop().expect("a line");
    assert!(said.starts_with("t OK [APPENDUID"), "{said}");
}

/// Reads a message to its end, octet for octet behind the trace fields; `octets`: of all of it. Returns which it is.
fn compare(talk: &mut Talk, octets: usize, peak: &Peak<'_>) -> u32 {
    let mut trace = vec![0; octets % BLOCK_BYTES];
    talk.read_exact(&mut trace);
    let mut read = vec![0; BLOCK_BYTES];
    let mut n = None;
    for k in 0..(octets / BLOCK_BYTES) as u32 {
        talk.read_exact(&mut read);
        let said = || std::str::from_utf8(&read[9..16]).expect("digits").parse().expect("a number");
        let n = *n.get_or_insert_with(said);
        assert!(read == block(n, k), "block {k} of message {n}");
        if k % 16 == 4 {
            peak.look();
        }
    }
    n.expect("a block")
}

fn by_fetch(talk: &mut Talk, sequence: usize, peak: &Peak<'_>) -> u32 {
    talk.say(&format!("t FETCH {sequence} BODY.PEEK[]"));
    let head = talk.hear();
    let octets = head.rsplit_once('{').expect("a literal").1.trim_end_matches('}').parse().expect("its length");
    let n = compare(talk, octets, peak);
    assert_eq!((talk.hear(), &talk.hear()[..4]), (")".to_owned(), "t OK"));
    n
}

fn pop3(house: &House, name: &str) -> Talk {
    let mut talk = Talk::patient(house.pop3(), PATIENCE);
    talk.hear();
    talk.pop3(&format!("USER {name}@ringpost.test"));
    talk.pop3(&format!("PASS {}", house.password(&format!("{name}@ringpost.test"))));
    talk
}

fn by_retr(talk: &mut Talk, number: usize, peak: &Peak<'_>) -> u32 {
    let said = talk.pop3(&format!("RETR {number}"));
    let octets = said.split_whitespace().nth(1).expect("a size").parse().expect("a number");
    let n = compare(talk, octets, peak);
    assert_eq!(talk.hear(), ".");
    n
}

/// How many messages each has.
fn counts(house: &House) -> [usize; 2] {
    ["alice", "bob"].map(|name| {
        let said = imap(house, name).imap("STATUS INBOX (MESSAGES)", "OK").join(" ");
        said.trim_end_matches(')').rsplit_once(' ').expect("a count").1.parse().expect("a number")
    })
}

/// Does this on all connections at once; the most memory that was seen.
fn at_once(house: &House, talks: &mut [Talk], act: impl Fn(u32, &mut Talk, &Peak<'_>) + Sync) -> u64 {
    let peak = Peak::new(house);
    thread::scope(|scope| {
        for (n, talk) in (0..).zip(talks) {
            let (peak, act) = (&peak, &act);
            scope.spawn(move || act(n, talk, peak));
        }
    });
    peak.1.into_inner()
}

/// What each of a crowd takes, held against a server that is warm: one connection at a time has had a small message and a large one
/// of each account, so what is there once for all is there, and no more than one connection's part can be used again.
fn weigh(what: &str, crowd: u32, warm: u64, peak: u64) {
    let each = peak.saturating_sub(warm) / u64::from(crowd);
    println!("{what}: {crowd} connections take {} KiB, {} KiB each", peak.saturating_sub(warm) >> 10, each >> 10);
    assert!(each <= MEMORY_BYTES_MAX, "{what}: {each} octets for each of {crowd} connections");
}

/// A server whose rings have few receive buffers: they are for all connections, and would be what few of them are charged with.
fn started() -> House {
    House::open(&["--shards", "2", "--recv-buffers", "64"])
}

/// Passwords are hashed in much memory, once.
fn remember_passwords(house: &House) {
    drop([imap(house, "alice"), imap(house, "bob")]);
}

/// As many messages come and go as there are connections, each of so many blocks, on a server of their own.
fn come_and_go(crowd: u32, blocks: u32) {
    let mut house = started();
    let name = |n: u32| if n.is_multiple_of(2) { "alice" } else { "bob" };
    let by_imap = |n: u32| n % 4 < 2;
    remember_passwords(&house);
    let quiet = Peak::new(&house);
    let mut one = greeted(&house);
    for (n, blocks) in (0..WARM).zip([1, 1, BLOCKS, BLOCKS]) {
        by_smtp(&mut one, name(n), n, blocks, &quiet);
    }
    drop(one);
    let warm = memory(&house);
    let mut talks: Vec<Talk> =
        (0..crowd).map(|n| if by_imap(n) { imap(&house, name(n)) } else { greeted(&house) }).collect();
    let peak = at_once(&house, &mut talks, |n, talk, peak| match by_imap(n) {
        true => by_append(talk, WARM + n, blocks, peak),
        false => by_smtp(talk, name(n), WARM + n, blocks, peak),
    });
    drop(talks);
    weigh("in", crowd, warm, peak);
    assert_eq!(counts(&house), [(WARM + crowd) as usize / 2; 2]);

    // What came left nothing in the memory of those who are asked for it.
    house.kill();
    house.reopen();
    remember_passwords(&house);
    let open = |n: u32| match by_imap(n) {
        true => {
            let mut talk = imap(&house, name(n));
            talk.imap("SELECT INBOX", "OK");
            talk
        }
        false => pop3(&house, name(n)),
    };
    let quiet = Peak::new(&house);
    for n in 0..2 {
        let mut one = open(n);
        for sequence in 1..=WARM as usize / 2 {
            by_fetch(&mut one, sequence, &quiet);
        }
    }
    let warm = memory(&house);
    // By IMAP and by POP3 in turn, so that each message is asked for once.
    let mut talks: Vec<Talk> = (0..crowd).map(open).collect();
    let seen = Mutex::new(Vec::new());
    let peak = at_once(&house, &mut talks, |n, talk, peak| {
        let number = (1 + WARM / 2 + n / 2) as usize;
        let found = if by_imap(n) { by_fetch(talk, number, peak) } else { by_retr(talk, number, peak) };
        seen.lock().expect("nobody panicked").push(found);
    });
    drop(talks);
    let mut seen = seen.into_inner().expect("nobody panicked");
    seen.sort_unstable();
    assert_eq!(seen, (WARM..WARM + crowd).collect::<Vec<_>>(), "each of them once");
    weigh("out", crowd, warm, peak);
}

#[test]
fn large_messages_come_and_go_in_little_memory_and_arrive_as_they_were() {
    come_and_go(FEW, BLOCKS);
}

#[test]
fn many_connections_with_messages_of_some_mib_take_little_memory_each() {
    come_and_go(MANY, SOME);
}

#[test]
fn a_server_that_dies_while_large_messages_arrive_has_nothing_of_them_and_takes_them_again() {
    let mut house = House::open(&["--shards", "2"]);
    let before = counts(&house);
    // To one of each shard by one and the same door, so that one of them comes across.
    let mut halves: Vec<Talk> = vec![greeted(&house), greeted(&house), imap(&house, "alice")];
    for (talk, to) in halves.iter_mut().zip(["alice", "bob"]) {
        begin(talk, to);
    }
    halves[2].send(format!("t APPEND INBOX {{{}+}}\r\n", 100 * BLOCK_BYTES).as_bytes());
    let quiet = Peak::new(&house);
    halves.iter_mut().for_each(|talk| send(talk, 1, 60, &quiet));
    house.kill();
    drop(halves);
    house.reopen();
    assert_eq!(counts(&house), before, "nothing of them");
    by_smtp(&mut greeted(&house), "alice", 2, 100, &Peak::new(&house));
    by_append(&mut imap(&house, "bob"), 3, 100, &Peak::new(&house));
    house.kill();
    house.reopen();
    for (name, before, n) in [("alice", before[0], 2), ("bob", before[1], 3)] {
        let mut talk = imap(&house, name);
        talk.imap("SELECT INBOX", "OK");
        assert_eq!(by_fetch(&mut talk, before + 1, &Peak::new(&house)), n);
    }
}
