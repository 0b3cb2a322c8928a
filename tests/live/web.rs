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

#[test]
fn a_thousand_requests_sent_ahead_get_a_hundred_answers_and_none_is_lost() {
    let house = House::open(&["--shards", "1"]);
    let mut talk = Talk::with(house.http());
    talk.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000).as_bytes());
    let said = String::from_utf8(talk.rest()).expect("text");
    assert_eq!(said.matches("HTTP/1.1 200 OK\r\n").count(), 100);
    assert_eq!(said.matches("connection: close\r\n").count(), 1);
}

#[test]
fn the_admin_socket_is_its_owners_alone() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let house = House::open(&["--shards", "2"]);
    let socket = std::fs::symlink_metadata(house.data().join("admin.sock")).expect("a socket");
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    post(house.smtp(), "", &["alice@ringpost.test"], "Subject: one\r\n\r\nx");
    let (code, out, err) = house.verb(&["stats", "--json", "--per-shard"], "");
    assert_eq!(code, 0, "{err}");
    let said: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let of = |part: &serde_json::Value| part["messages_accepted_total"].as_u64().expect("a count");
    assert_eq!((of(&said["sum"]), of(&said["shards"][0]["figures"]) + of(&said["shards"][1]["figures"])), (1, 1));
    let (code, out, err) = house.verb(&["stats"], "");
    assert_eq!(code, 0, "{err}");
    assert!(out.lines().any(|line| line == "messages_accepted_total 1"), "{out}");
    assert!(out.lines().any(|line| line == "messages_accepted_total{protocol=smtp} 1"), "{out}");
}

#[test]
fn replies_are_counted_by_their_class() {
    let house = House::open(&["--shards", "1"]);
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    talk.ask("EHLO client.test", "250");
    talk.ask("BREW", "500");
    talk.ask("MAIL FROM:<>", "250");
    talk.ask("RCPT TO:<nobody@ringpost.test>", "550");
    talk.ask("RCPT TO:<alice@ringpost.test>", "250");
    talk.ask("DATA", "354");
    talk.ask("x\r\n.", "250");
    talk.ask("QUIT", "221");
    let mut talk = Talk::with(house.imap());
    talk.hear();
    talk.imap("CAPABILITY", "OK");
    talk.imap("BREW", "BAD");
    talk.imap("LOGIN alice@ringpost.test wrong", "NO");
    let mut talk = Talk::with(house.pop3());
    talk.hear();
    talk.pop3("CAPA");
    talk.hear_until(|line| line == ".");
    talk.say("BREW");
    assert!(talk.hear().starts_with("-ERR"));
    let (_, _, page) = get(&house, "/metrics?shards=sum");
    let sum = samples(&page);
    for (protocol, class, count) in [
        ("smtp", "2xx", 5.0),
        ("smtp", "3xx", 1.0),
        ("smtp", "4xx", 0.0),
        ("smtp", "5xx", 2.0),
        ("imap", "ok", 1.0),
        ("imap", "no", 1.0),
        ("imap", "bad", 1.0),
        ("pop3", "ok", 1.0),
        ("pop3", "err", 1.0),
    ] {
        let name = format!("ringpost_replies_total{{protocol=\"{protocol}\",class=\"{class}\"}}");
        assert_eq!(sum[&name], count, "{name}");
    }
    assert!(sum["ringpost_ring_delay_seconds_count"] > 10.0);
}

#[test]
fn every_histogram_is_cumulative_and_ends_with_its_count() {
    let house = House::open(&["--shards", "2"]);
    post(house.smtp(), "", &["alice@ringpost.test"], "Subject: one\r\n\r\nx");
    for path in ["/metrics", "/metrics?shards=sum"] {
        let (_, _, page) = get(&house, path);
        let sum = samples(&page);
        let mut series: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for line in page.lines().filter(|line| line.contains("_bucket{")) {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let (name, labels) = name.split_once("_bucket{").expect("a bucket");
            let labels: Vec<&str> = labels.trim_end_matches('}').split(',').filter(|l| !l.starts_with("le=")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            series.entry(format!("{name}_count{labels}")).or_default().push(value.parse().expect("a number"));
        }
        assert!(series.len() >= 7, "{series:?}");
        for (count, buckets) in series {
            assert!(buckets.is_sorted(), "{count}: {buckets:?}");
            assert_eq!(buckets.last(), sum.get(&count), "{count}");
        }
    }
}
