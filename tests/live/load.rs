//! Too much of something: newcomers are told so at the door.

use std::io::Read;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::house::{House, PATIENCE, Talk};

/// How many were turned away for this.
fn shed(house: &House, why: &str) -> u64 {
    let mut figures = Talk::with(house.http());
    figures.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let page = String::from_utf8(figures.rest()).expect("text");
    let of = |line: &&str| line.starts_with("ringpost_connections_shed_total{") && line.contains(&format!("\"{why}\""));
    let line = page.lines().find(of);
    line.and_then(|line| line.rsplit(' ').next()).and_then(|n| n.parse().ok()).expect("a figure")
}

#[test]
fn r18_a_server_that_holds_its_memory_takes_nobody_more_and_says_why() {
    let house = House::open(&["--memory", "67108864", "--shards", "1"]);
    // Letters that do not end hold it.
    let mut held = Vec::new();
    loop {
        let mut talk = Talk::with(house.smtp());
        if talk.reply().starts_with("421 4.3.2 Too busy") {
            break;
        }
        assert!(held.len() < 400, "nobody is turned away");
        for line in ["EHLO client.test", "MAIL FROM:<>", "RCPT TO:<alice@ringpost.test>", "DATA"] {
            talk.say(line);
            talk.reply();
        }
        talk.send("a line of a letter that does not end\r\n".repeat(6_000).as_bytes());
        held.push(talk);
    }
    assert!(Talk::with(house.imap()).hear().starts_with("* BYE [UNAVAILABLE] "));
    assert!(Talk::with(house.pop3()).hear().starts_with("-ERR [SYS/TEMP] "));
    let mut hasty = Talk::with(house.smtp());
    hasty.send(b"EHLO client.test\r\nMAIL FROM:<>\r\n");
    assert!(hasty.rest().starts_with(b"421 4.3.2 "), "who speaks first hears it too");
    let count = shed(&house, "memory");
    assert!(count >= 4, "{count}");
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while !Talk::with(house.smtp()).reply().starts_with("220 ") {
        assert!(Instant::now() < deadline, "nobody is let in again");
    }
}

#[test]
fn a_server_with_few_descriptors_left_tells_newcomers_so_while_it_still_can() {
    // Somebody has left it most of those it may have, open; of the bound of 1,024 the last 64 are scarce.
    let leave = "ulimit -n 1024; for ((n = 20; n < 955; n++)); do eval \"exec $n</dev/null\"; done; exec \"$@\"";
    let house = House::open_under(&["bash", "-c", leave, "leave"], &["--shards", "1"]);
    assert!(Talk::with(house.smtp()).reply().starts_with("421 4.3.2 Too busy"));
    assert!(Talk::with(house.imap()).hear().starts_with("* BYE [UNAVAILABLE] "));
    assert!(Talk::with(house.pop3()).hear().starts_with("-ERR [SYS/TEMP] "));
    assert!(shed(&house, "descriptors") >= 3, "and who looks at the figures is served");
}

#[test]
fn a_shard_that_keeps_no_time_turns_newcomers_away_until_it_does_again() {
    let house = House::open(&["--shards", "1"]);
    let pid = Pid::from_raw(house.pid().cast_signed()).expect("a pid");
    let smtp = || Talk::with(house.smtp()).reply();
    let deadline = Instant::now() + PATIENCE;
    // Its processor is taken away for longer than its timers may be late, again and again.
    while !smtp().starts_with("421 4.3.2 Too busy") {
        assert!(Instant::now() < deadline, "nobody is turned away");
        kill_process(pid, Signal::STOP).expect("kill -STOP");
        let mut silent = Talk::patient(house.smtp(), Duration::from_millis(1_600));
        assert!(silent.stream().read(&mut [0; 1]).is_err(), "it is stopped");
        kill_process(pid, Signal::CONT).expect("kill -CONT");
    }
    assert!(shed(&house, "delay") > 0);
    let deadline = Instant::now() + PATIENCE;
    while !smtp().starts_with("220 ") {
        assert!(Instant::now() < deadline, "nobody is let in again");
    }
}
