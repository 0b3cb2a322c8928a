//! Whole commands against the small server, which is this process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use clap::Parser;

use super::*;
use crate::accounts;
use crate::fake::post::{Post, Vice};

#[derive(Parser)]
enum Line {
    Idle(idle::Args),
    Login(login::Args),
    Handoff(handoff::Args),
}

/// Runs a command against a server with three accounts; returns what it returned and its figures.
fn figures(words: &[&str]) -> (Result<bool, String>, serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    let accounts = accounts::generate(3, "load.example", 1);
    let (file, json) = (folder.path().join("accounts"), folder.path().join("figures.json"));
    fs::write(&file, accounts::render(&accounts)).unwrap();
    let post = Post::start(&accounts, Vice::None);
    let imap = post.imap.to_string();
    let mut line = vec!["figures", words[0], "--imap", &imap, "--accounts", file.to_str().unwrap()];
    line.extend(["--json", json.to_str().unwrap(), "--patience-s", "10"]);
    line.extend(&words[1..]);
    let done = match Line::parse_from(line) {
        Line::Idle(args) => idle::run(&args),
        Line::Login(args) => login::run(&args),
        Line::Handoff(args) => handoff::run(&args),
    };
    let text = fs::read_to_string(json).unwrap_or_else(|_| "null".into());
    (done, serde_json::from_str(&text).unwrap())
}

#[test]
fn connections_that_idle_are_weighed_and_all_asked_whether_they_live() {
    let pid = std::process::id().to_string();
    // No such control group: the tasks are summed, and this process stays where it is.
    let words = ["idle", "--server-pid", &pid, "--cgroup", "/nonexistent", "--connections", "12", "--warmup", "2"];
    let more = ["--warmup-noops", "2", "--settle-s", "1", "--watch-s", "0", "--select", "--idle"];
    let (done, figures) = figures(&[&words[..], &more].concat());
    assert!(done.unwrap(), "{figures}");
    assert_eq!(figures["memory"].as_array().unwrap().len(), 1 + 4);
    assert!(figures["memory"][4]["pss_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn a_login_is_measured_beside_its_connection() {
    let (done, figures) = figures(&["login", "--cycles", "9", "--warmup", "2", "--at-once", "2"]);
    assert!(done.unwrap(), "{figures}");
    assert_eq!((&figures["cycle"]["count"], &figures["messages_max"]), (&9.into(), &0.into()));
    assert!(figures["cycle"]["cpu_us"].is_null(), "no process was named");
}

#[test]
fn logins_that_are_not_handed_over_fail_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = listener.local_addr().unwrap().to_string();
    let shows = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            // All of it: closing with octets unread would reset the connection.
            let request = BufReader::new(&stream).lines().map_while(Result::ok);
            assert_eq!(request.take_while(|line| !line.is_empty()).count(), 2);
            let answer = "HTTP/1.0 200 OK\r\n\r\nringpost_handoff_seconds_bucket{le=\"+Inf\"} 7\n";
            std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
        }
    });
    let (done, _) = figures(&["handoff", "--http", &http, "--logins", "3", "--warmup", "1"]);
    assert!(done.unwrap_err().starts_with("0 of 3 logins"));
    shows.join().unwrap();
}

#[test]
fn the_hash_is_told_from_the_rest_by_the_threads_name() {
    let ns = |n: u64| (1, n * 1_000_000);
    let threads = BTreeMap::from([("shard-".into(), ns(3)), ("side-".into(), ns(40)), ("iou-wrk-".into(), ns(1))]);
    let mut spent = {
        let mut gauge = Gauge::open(&crate::gauge::Options::default());
        let before = gauge.read();
        gauge.read().since(&before)
    };
    (spent.server_threads, spent.server_cpu_ns) = (threads, Some(44_000_000));
    let cost = Cost::of(&spent, 10);
    assert_eq!((cost.cpu_us, cost.cpu_without_hash_us), (Some(4_400.0), Some(400.0)));
    assert_eq!(cost.threads_us["shard-"], 300.0);
}

#[test]
fn every_unit_is_somebodys_and_nobodys_twice() {
    for (total, threads) in [(0, 3), (7, 3), (5_000, 8), (2, 4)] {
        let parts: Vec<u64> = (0..threads).map(|thread| share(total, threads, thread)).collect();
        assert_eq!(parts.iter().sum::<u64>(), total);
        assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1, "{parts:?}");
    }
}
