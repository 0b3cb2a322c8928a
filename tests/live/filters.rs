//! Filters in the real binary, told by a configuration file, with a resolver of the test.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringpost::limits::{LOG_LINES_REFUSED_MAX, SMTP_DEFERRALS_MAX};

use crate::house::{House, PATIENCE, Talk, fetch};
use crate::web::get;

/// A resolver that knows one listed address, ours, and no other name.
struct Names {
    at: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Names {
    fn open() -> Names {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
        let (at, over) = (socket.local_addr().expect("bound"), Arc::<AtomicBool>::default());
        let end = over.clone();
        let thread = std::thread::spawn(move || {
            let mut octets = [0; 512];
            while !end.load(Ordering::SeqCst) {
                let Ok((len, from)) = socket.recv_from(&mut octets) else { continue };
                socket.send_to(&answer(&octets[..len]), from).expect("sent");
            }
        });
        Names { at, over, thread: Some(thread) }
    }
}

fn answer(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|octet| *octet == 0).expect("a name ends");
    let (name, kind) = (&query[12..end], query[end + 2]);
    let mut answer = query[..end + 5].to_vec();
    let listed = name == b"\x011\x010\x010\x03127\x02bl\x04test" && kind == 1;
    answer[2..12].copy_from_slice(&[0x81, if listed { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(listed), 0, 0, 0, 0]);
    if listed {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 2]);
    }
    answer
}

impl Drop for Names {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let end = self.thread.take().expect("once").join();
        assert!(std::thread::panicking() || end.is_ok(), "the resolver panicked");
    }
}

fn house(names: &Names, filters: &str) -> House {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("ringpost.toml");
    std::fs::write(&file, format!("[dns]\nresolvers = [\"{}\"]\n{filters}", names.at)).expect("written");
    let file = file.to_str().expect("a plain path").to_owned();
    House::open_in(dir, &["--shards", "2", "--config", &file])
}

/// What alice's mail of this sender is told.
fn told(house: &House, sender: &str) -> String {
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    talk.ask("HELO client.test", "250");
    talk.ask(&format!("MAIL FROM:<{sender}>"), "250");
    talk.say("RCPT TO:<alice@ringpost.test>");
    talk.reply()
}

#[test]
fn filters_do_what_the_file_says() {
    let names = Names::open();
    let house = house(
        &names,
        "[filter.dnsbl]\nmode = \"reject\"\nlists = [\"bl.test=127.0.0.[2..9]*2\"]\nthreshold = 2\nask_local = true\n\
         [filter.sender_domain]\nmode = \"dry-run\"\n[filter.pregreet]\nmode = \"dry-run\"\nwait_ms = 0\n",
    );
    assert!(told(&house, "x@gone.test").starts_with("550 5.7.1 Your address 127.0.0.1 is listed by bl.test"));
    let (_, _, page) = get(&house, "/metrics?shards=sum");
    for (filter, verdict) in [("dnsbl", "reject"), ("sender_domain", "dry_run"), ("pregreet", "pass")] {
        let name = format!("ringpost_filter_verdicts_total{{filter=\"{filter}\",verdict=\"{verdict}\"}} ");
        let count = page.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok());
        assert!(count.is_some_and(|count| count > 0), "{name}{count:?}");
    }
    for (answer, count) in [("listed", 1), ("not", 0), ("none", 0)] {
        let line = format!("ringpost_filter_list_answers_total{{list=\"bl.test\",answer=\"{answer}\"}} {count}");
        assert!(page.lines().any(|there| there == line), "no {line} in:\n{page}");
    }
    assert!(page.contains("ringpost_filter_list_seconds_total{list=\"bl.test\"} "), "{page}");
    // Lines are gathered for a moment before they are written.
    let deadline = Instant::now() + PATIENCE;
    while !house.log().contains("score 2 bl.test 127.0.0.2") {
        assert!(Instant::now() < deadline, "nothing is said of it:\n{}", house.log());
        std::thread::yield_now();
    }
}

#[test]
fn what_greylisting_knows_outlives_a_restart() {
    let names = Names::open();
    let mut house = house(&names, "[filter.greylist]\nmode = \"defer\"\ndelay_s = 1\n");
    assert_eq!(told(&house, "a@client.test"), "450 4.7.1 Greylisted, try again in 1 seconds");
    let (_, _, page) = get(&house, "/metrics?shards=sum");
    let shows = |page: &str, line: &str| assert!(page.lines().any(|there| there == line), "no {line} in:\n{page}");
    shows(&page, "ringpost_greylist_letters_waiting 1");
    let deadline = Instant::now() + PATIENCE;
    while !told(&house, "a@client.test").starts_with("250") {
        assert!(Instant::now() < deadline, "nobody ever passes");
    }
    assert_eq!(house.stop(), Some(0));
    assert!(house.data().join("greylist").is_dir());
    house.reopen();
    assert!(told(&house, "another@client.test").starts_with("250"), "the network is known");
    let (_, _, page) = get(&house, "/metrics?shards=sum");
    shows(&page, "ringpost_greylist_letters_waiting 0");
    shows(&page, "ringpost_greylist_networks_known 1");
}

#[test]
fn a043_who_talks_before_the_greeting_is_not_greeted() {
    let names = Names::open();
    let house = house(&names, "[filter.pregreet]\nmode = \"reject\"\nwait_ms = 1000\n");
    let mut hasty = Talk::with(house.smtp());
    hasty.say("HELO client.test");
    assert!(hasty.reply().ends_with("\n554 5.5.0 You spoke before you were greeted"));
    let mut patient = Talk::with(house.smtp());
    assert!(patient.reply().contains("220 "), "greeted");
    patient.ask("HELO client.test", "250");
}

#[test]
fn one_name_is_a_letters_in_the_filters_lines_in_its_own_and_in_its_header() {
    let names = Names::open();
    let filters = "[filter.dnsbl]\nmode = \"tag\"\nlists = [\"bl.test\"]\nthreshold = 1\nask_local = true\n";
    let house = house(&names, filters);
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    talk.ask("HELO client.test", "250");
    for n in 0..2 {
        talk.ask("MAIL FROM:<x@client.test>", "250");
        talk.ask("RCPT TO:<alice@ringpost.test>", "250");
        talk.ask("DATA", "354");
        talk.say(&format!("X-Ringpost-Filter: dnsbl; nothing\r\nSubject: {n}\r\n\r\nHello\r\n."));
        assert!(talk.reply().starts_with("250"));
    }
    let mail = fetch(house.pop3(), "alice@ringpost.test", &house.password("alice@ringpost.test"));
    let ids: Vec<&str> = mail
        .iter()
        .map(|letter| letter.split_once(" id ").and_then(|(_, rest)| rest.split_whitespace().next()).expect("an id"))
        .collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
    for letter in &mail {
        let ours: Vec<&str> = letter.lines().filter(|line| line.starts_with("X-Ringpost-Filter:")).collect();
        assert!(ours.len() == 1 && ours[0].contains("bl.test"), "{ours:?}");
    }
    let lines = |log: &str, what: &str, id: &str| log.lines().filter(|l| l.contains(what) && l.contains(id)).count();
    let deadline = Instant::now() + PATIENCE;
    while lines(&house.log(), "stored", ids[1]) == 0 {
        assert!(Instant::now() < deadline, "nothing is said of it:\n{}", house.log());
        std::thread::yield_now();
    }
    let log = house.log();
    assert_eq!(lines(&log, "\"dnsbl\"", ids[0]) + lines(&log, "filter=dnsbl", ids[0]), 1, "{log}");
}

#[test]
fn a_connection_that_is_refused_again_and_again_has_so_many_lines_and_then_an_end() {
    let names = Names::open();
    let house = house(&names, "[filter.greylist]\nmode = \"defer\"\n");
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    talk.ask("HELO client.test", "250");
    talk.ask("MAIL FROM:<x@client.test>", "250");
    for _ in 0..SMTP_DEFERRALS_MAX {
        talk.ask("RCPT TO:<alice@ringpost.test>", "450");
    }
    talk.ask("RCPT TO:<alice@ringpost.test>", "421");
    let end = format!("unsaid={}", SMTP_DEFERRALS_MAX + 1 - LOG_LINES_REFUSED_MAX);
    let json = end.replace("unsaid=", "\"unsaid\":");
    let deadline = Instant::now() + PATIENCE;
    let says = |log: &str| log.contains(&end) || log.contains(&json);
    while !says(&house.log()) {
        assert!(Instant::now() < deadline, "nothing is said of the rest:\n{}", house.log());
        std::thread::yield_now();
    }
    let lines = house.log().lines().filter(|line| line.contains("greylist") && line.contains("found")).count();
    assert_eq!(lines, LOG_LINES_REFUSED_MAX as usize, "{}", house.log());
}
