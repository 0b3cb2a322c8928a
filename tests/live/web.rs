//! Figures and health over HTTP, from the real binary.

use std::collections::BTreeMap;

use crate::house::{House, Talk, fetch, post};

/// Asks for a path; returns the status line, the header and the body.
pub fn get(house: &House, path: &str) -> (String, String, String) {
    let mut talk = Talk::with(house.http());
    talk.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes());
    let answer = String::from_utf8(talk.rest()).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a header and a body");
    let (status, fields) = head.split_once("\r\n").expect("a status line");
    (status.to_owned(), fields.to_owned(), body.to_owned())
}

/// The samples of a page, by the text before their value.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    lines.map(sample).collect()
}

#[test]
fn healthz_is_ok_when_every_shard_accepts() {
    let house = House::open(&["--shards", "2"]);
    let (status, fields, body) = get(&house, "/healthz");
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "ok\n"), "{fields}");
}

#[test]
fn figures_tell_of_the_mail_that_came_and_was_read() {
    let house = House::open(&["--shards", "2"]);
    for n in 0..5 {
        let verdict = post(house.smtp(), "", &["alice@ringpost.test"], &format!("Subject: {n}\r\n\r\nx"));
        assert!(verdict.starts_with("250 "), "{verdict}");
    }
    assert_eq!(fetch(house.pop3(), "alice@ringpost.test", &house.password("alice@ringpost.test")).len(), 5);
    let (status, fields, page) = get(&house, "/metrics?shards=sum");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(fields.contains("content-type: text/plain; version=0.0.4"), "{fields}");
    let sum = samples(&page);
    for (name, least) in [
        ("ringpost_messages_accepted_total{protocol=\"smtp\"}", 5.0),
        ("ringpost_message_accept_seconds_count", 5.0),
        ("ringpost_message_reads_total{protocol=\"pop3\"}", 5.0),
        ("ringpost_connections_total{service=\"smtp\"}", 5.0),
        ("ringpost_commands_total{protocol=\"smtp\"}", 25.0),
        ("ringpost_session_received_bytes_total{protocol=\"smtp\"}", 400.0),
        ("ringpost_session_sent_bytes_total{protocol=\"pop3\"}", 500.0),
        ("ringpost_commit_seconds_count", 5.0),
        ("ringpost_login_seconds_count", 1.0),
        ("ringpost_connections_open{protocol=\"http\"}", 1.0),
        ("ringpost_volumes_open", 2.0),
        ("ringpost_shards_up", 2.0),
        ("process_resident_memory_bytes", 1e6),
        ("process_start_time_seconds", 1.6e9),
        ("process_cpu_seconds_total", 0.001),
        ("process_open_fds", 10.0),
    ] {
        let value = sum.get(name).unwrap_or_else(|| panic!("no {name} in:\n{page}"));
        assert!(*value >= least, "{name} is {value}");
    }
    assert_eq!(sum["ringpost_volumes_failed"], 0.0);
    assert_eq!(sum["ringpost_messages_accepted_total{protocol=\"smtp\"}"], 5.0);
    assert_eq!(sum["ringpost_bodies_in_flight_bytes"], 0.0);

    let (_, _, page) = get(&house, "/metrics");
    let each = samples(&page);
    let of = |shard: u8| each[&format!("ringpost_messages_accepted_total{{shard=\"{shard}\",protocol=\"smtp\"}}")];
    assert_eq!(of(0) + of(1), 5.0);
    assert!(page.contains(&format!("ringpost_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))));
}
