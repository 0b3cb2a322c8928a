//! The door of HTTP in the simulated world: what is hostile is answered as RELIABILITY says, what is slow is cut, and health
//! tells the truth.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ringpost::limits;
use ringpost::office::{Office, Settings};
use ringpost::serve::{self, Service};
use ringpost::shard;
use ringpost::shard::sim::{Fault, OpKind, When, World};
use serde_json::json;

use crate::{Client, HTTP, POP3, accounts, operator, over_seeds, plan, send, start_as};

const FROM: &str = " HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends these bytes and returns all that is said until the connection closes.
async fn said_to(bytes: &[u8]) -> String {
    let mut client = Client::connect(HTTP).await;
    // It may be closed before all of it is taken.
    let _ = client.stream.send(bytes.to_vec()).await;
    rest(&mut client).await
}

/// Asks how it is, from this address.
async fn healthy_from(from: IpAddr) -> String {
    let mut client = Client::connect_from(from, HTTP).await;
    client
        .stream
        .send(format!("GET /healthz{FROM}").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").into_bytes())
        .await
        .0
        .expect("open");
    rest(&mut client).await
}

async fn rest(client: &mut Client) -> String {
    let mut said = String::new();
    while let Some(line) = client.try_line().await {
        said += &line;
        said.push('\n');
    }
    said
}

/// The codes of all answers in a conversation.
fn codes(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")).map(|line| &line[..3]).collect()
}

#[test]
fn a173_a174_a176_hostile_requests_have_the_expected_answers_and_the_connection_closes() {
    let fields = |count: usize| (0..count).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let with = |lines: &str| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").into_bytes();
    let long = |octets: usize| "a".repeat(octets);
    let line = |line: &str| format!("{line}\r\nHost: localhost\r\n\r\n").into_bytes();
    let hostile: Vec<(&str, Vec<u8>, &str)> = vec![
        ("two lengths", with("Content-Length: 1\r\nContent-Length: 2\r\n"), "400"),
        ("length with a sign", with("Content-Length: +5\r\n"), "400"),
        ("length and coding", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), "413"),
        ("a body in chunks", with("Transfer-Encoding: chunked\r\n"), "413"),
        ("an unknown coding last", with("Transfer-Encoding: chunked, identity\r\n"), "400"),
        ("a body", with("Content-Length: 5\r\n"), "413"),
        ("a folded field", with("X-A: b\r\n c\r\n"), "400"),
        ("a space before the colon", with("X-A : b\r\n"), "400"),
        ("a bare newline", b"GET / HTTP/1.1\nHost: localhost\n\n".to_vec(), "400"),
        ("a NUL in a field", with("X-A: b\0c\r\n"), "400"),
        ("fields without end", with(&fields(100_000)), "431"),
        ("one field too many", with(&fields(limits::HTTP_FIELDS_MAX)), "431"),
        ("a field of 64 KiB", with(&format!("X-A: {}\r\n", long(64 << 10))), "431"),
        ("a path of 1 MiB", format!("GET /{}{FROM}", long(1 << 20)).into_bytes(), "414"),
        ("no host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), "400"),
        ("two hosts", with("Host: localhost\r\n"), "400"),
        ("no version", b"GET /\r\n\r\n".to_vec(), "400"),
        ("a method that is none", line("G@T / HTTP/1.1"), "400"),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), "400"),
        ("SMTP", b"EHLO client.test\r\n\r\n".to_vec(), "400"),
    ];
    over_seeds(async |_, _| {
        for (name, bytes, code) in &hostile {
            let said = said_to(bytes).await;
            assert_eq!(codes(&said), [*code], "{name}: {said}");
        }
        let said = said_to(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        // Known by its preface it is closed without a word, in pieces it is a request like any other and wrong.
        assert!(said.is_empty() || codes(&said) == ["400"], "a176, HTTP/2 is not spoken: {said}");
        assert!(healthy().await.starts_with("HTTP/1.1 200 OK"), "and others are served");
    });
}

/// Asks for a path with these fields on a connection of its own.
async fn ask(line: &str, fields: &str) -> String {
    said_to(format!("{line} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n").as_bytes()).await
}

async fn healthy() -> String {
    ask("GET /healthz", "Host: localhost\r\n").await
}

#[test]
fn only_get_and_head_are_allowed_and_only_what_is_there_is_found() {
    over_seeds(async |_, _| {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let said = ask(&format!("{method} /"), "Host: localhost\r\n").await;
            assert!(said.starts_with("HTTP/1.1 405 ") && said.contains("\nallow: GET, HEAD\n"), "{said}");
        }
        // What a browser or a scanner makes of a path, it is not among the few that there are (A177).
        for path in ["/x", "/metrics/", "//metrics", "/%2e%2e/etc/passwd", "/healthz;a", "/..", "/%6detrics", "/\\"] {
            let said = ask(&format!("GET {path}"), "Host: localhost\r\n").await;
            assert!(said.starts_with("HTTP/1.1 404 "), "{path}: {said}");
        }
        let said = ask("GET /", "Host: localhost\r\n").await;
        assert!(said.starts_with("HTTP/1.1 200 ") && said.contains("href=\"/metrics\""), "{said}");
        assert!(said.contains("\ndate: ") && said.contains(" GMT\n"), "{said}");
        let head = ask("HEAD /", "Host: localhost\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\ncontent-length: "), "{head}");
        assert!(!head.contains("href"), "{head}");
        // HTTP/1.0 names no host and is closed after its answer.
        assert_eq!(codes(&said_to(b"GET /healthz HTTP/1.0\r\n\r\n").await.replace("HTTP/1.0", "HTTP/1.1")), ["200"]);
    });
}

#[test]
fn a178_a_name_that_is_not_ours_gets_nothing() {
    over_seeds(async |_, _| {
        for host in ["localhost", "localhost:2080", "127.0.0.1", "[::1]:2080", "MX.ringpost.test"] {
            let said = ask("GET /healthz", &format!("Host: {host}\r\n")).await;
            assert!(said.starts_with("HTTP/1.1 200 "), "{host}: {said}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:2080", "ringpost.test"] {
            let said = ask("GET /metrics", &format!("Host: {host}\r\n")).await;
            assert!(said.starts_with("HTTP/1.1 421 "), "{host}: {said}");
            assert!(!said.contains("ringpost_"), "{said}");
        }
        for host in ["", "a b", "u@localhost", "local\thost", "\u{fc}"] {
            let said = ask("GET /metrics", &format!("Host: {host}\r\n")).await;
            assert!(said.starts_with("HTTP/1.1 400 "), "{host:?}: {said}");
        }
        // A target in absolute form is the host, whatever the field says (RFC 9112 §3.2.2).
        let said = ask("GET http://evil.example/metrics", "Host: localhost\r\n").await;
        assert!(said.starts_with("HTTP/1.1 421 "), "{said}");
        let said = ask("GET http://localhost/healthz", "Host: localhost\r\n").await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    });
}

#[test]
fn a_thousand_requests_at_once_get_as_many_answers_as_a_connection_has() {
    over_seeds(async |_, _| {
        let request = format!("GET /healthz{FROM}");
        let most = usize::try_from(limits::HTTP_REQUESTS_MAX).expect("small");
        let said = said_to(request.repeat(most).as_bytes()).await;
        assert_eq!(codes(&said), vec!["200"; most]);
        assert_eq!(said.matches("connection: close").count(), 1, "the last says that it is the last");
        // Whoever sends ten times as many and reads nothing meanwhile may lose some: here a close resets what is unread.
        let said = said_to(request.repeat(most * 10).as_bytes()).await;
        assert!((1..=most).contains(&codes(&said).len()), "{said}");
        assert!(codes(&said).iter().all(|code| *code == "200"));
    });
}

#[test]
fn requests_before_one_at_fault_are_answered_first() {
    over_seeds(async |_, _| {
        let bytes = format!("GET /healthz{FROM}GET /nothing{FROM}GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9_000));
        assert_eq!(codes(&said_to(bytes.as_bytes()).await), ["200", "404", "414"]);
    });
}

#[test]
fn a175_a_slow_header_and_a_silent_connection_are_cut_in_time() {
    let bound = Duration::from_secs(limits::HTTP_HEADER_S);
    // The client's clock begins when it has heard, a moment after the server's.
    let in_time = bound - Duration::from_secs(1)..bound + Duration::from_secs(3);
    over_seeds(async |_, _| {
        // A byte a second, and it could go on for hours.
        let mut slow = Client::connect(HTTP).await;
        let began = shard::now();
        let mut bytes = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'a'));
        while slow.stream.send(vec![*bytes.next().expect("endless")]).await.0.is_ok() {
            shard::sleep(Duration::from_secs(1)).await;
            assert!(shard::now().since(began) < in_time.end, "never cut");
        }
        assert!(in_time.contains(&shard::now().since(began)));

        let mut silent = Client::connect(HTTP).await;
        let began = shard::now();
        assert_eq!(silent.try_line().await, None);
        assert!(in_time.contains(&shard::now().since(began)), "nothing said at all");

        let mut idle = Client::connect(HTTP).await;
        idle.stream.send(format!("GET /{FROM}").into_bytes()).await.0.expect("open");
        idle.expect("HTTP/1.1 200").await;
        let began = shard::now();
        assert!(rest(&mut idle).await.contains("</html>"));
        assert!(in_time.contains(&shard::now().since(began)), "an answer and then nothing");
    });
}

#[test]
fn half_a_request_is_no_request() {
    over_seeds(async |_, _| {
        for part in ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
            let mut client = Client::connect(HTTP).await;
            if !part.is_empty() {
                client.stream.send(part.as_bytes().to_vec()).await.0.expect("open");
            }
            client.stream.close().await;
        }
        assert!(healthy().await.starts_with("HTTP/1.1 200 OK"));
    });
}

#[test]
fn a057_one_address_cannot_take_every_place_of_http() {
    let stranger: IpAddr = [192, 0, 2, 1].into();
    over_seeds(async |_, _| {
        let mut crowd = Vec::new();
        for _ in 0..=limits::HTTP_CONNECTIONS_PER_ADDRESS_MAX * 2 {
            crowd.push(Client::connect_from(stranger, HTTP).await);
        }
        assert!(healthy().await.starts_with("HTTP/1.1 200 OK"), "others come in");
        let mut refused = 0;
        for one in &mut crowd {
            let said = rest(one).await;
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 503 "), "{said}");
            refused += usize::from(!said.is_empty());
        }
        assert!(refused > 0, "two shards have room for one less");
    });
}

#[test]
fn a_crowd_of_mail_keeps_nobody_from_the_figures() {
    let stranger: IpAddr = [192, 0, 2, 1].into();
    over_seeds(async |_, _| {
        let mut crowd = Vec::new();
        let mut refused = 0;
        for _ in 0..limits::CONNECTIONS_PER_ADDRESS_MAX * 4 {
            let mut one = Client::connect_from(stranger, POP3).await;
            refused += usize::from(one.line().await.starts_with("-ERR [SYS/TEMP] Too many"));
            crowd.push(one);
        }
        assert!(refused >= limits::CONNECTIONS_PER_ADDRESS_MAX * 2, "both shards have had enough of him: {refused}");
        for _ in 0..4 {
            let said = healthy_from(stranger).await;
            assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
        }
    });
}

#[test]
fn health_names_a_shard_whose_places_are_taken() {
    for seed in 0..5 {
        let world = World::new(seed);
        world.run_until(async {
            let mut plan = plan(true);
            plan.settings.connections_max = 3;
            start_as(&world, plan);
            let mut crowd = Vec::new();
            for _ in 0..40 {
                let mut one = Client::connect(POP3).await;
                let said = one.line().await;
                if said.starts_with("+OK") {
                    crowd.push(one);
                }
            }
            assert_eq!(crowd.len(), 6);
            let said = healthy().await;
            assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
            for shard in 0..2 {
                let sentence = format!("\nshard {shard} cannot accept: its places for connections are all taken (3)\n");
                assert!(said.contains(&sentence), "{said}");
            }
            drop(crowd);
            shard::sleep(Duration::from_secs(1)).await;
            let said = healthy().await;
            assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
        });
        assert_eq!(world.panics(), [""; 0], "seed {seed}");
    }
}

#[test]
fn health_names_a_shard_whose_door_is_closed() {
    over_seeds(async |world: &World, node| {
        assert!(healthy().await.starts_with("HTTP/1.1 200 OK"));
        world.break_doors(node, 1, POP3);
        let said = healthy().await;
        assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
        assert!(said.ends_with("\nshard 1 has doors that are not open (1)\n"), "{said}");
        let mut client = Client::connect(POP3).await;
        client.expect("+OK").await;
    });
}

#[test]
fn health_names_a_shard_that_has_no_descriptor_left_until_it_has() {
    over_seeds(async |world: &World, node| {
        healthy().await;
        world.pause_doors(node, 1);
        let said = healthy().await;
        assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
        assert!(said.ends_with("\nshard 1 cannot accept: the limit of open files is reached\n"), "{said}");
        shard::sleep(Duration::from_secs(limits::ACCEPT_PAUSE_SHOWN_S)).await;
        let said = healthy().await;
        assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    });
}

#[test]
fn health_names_a_volume_that_failed() {
    over_seeds(async |world: &World, _| {
        accounts(&["alice", "bob"]).await;
        let said = healthy().await;
        assert!(said.starts_with("HTTP/1.1 200 OK\n") && said.ends_with("\nok\n"), "{said}");
        world.disk(0, Path::new("/data/volume-001")).fail(OpKind::Sync, Fault::Io, When::Once(1));
        let add = json!({"verb": "account-add", "accounts": [{"address": "carol@ringpost.test"}, {"address": "dave@ringpost.test"}]});
        operator().await.ask(add).await;
        let said = healthy().await;
        assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
        assert!(said.contains("\nvolume 1 of shard 1 has failed\n"), "{said}");
        let figures = ask("GET /metrics", "Host: localhost\r\n").await;
        assert!(figures.contains("\nringpost_volumes_failed{shard=\"1\",volume=\"1\"} 1\n"), "{figures}");
    });
}

#[test]
fn figures_of_the_shards_add_up_to_their_sum() {
    over_seeds(async |_, _| {
        accounts(&["alice", "bob"]).await;
        for name in ["alice", "bob", "alice"] {
            send(name, "one", "x").await;
        }
        let value = |page: &str, name: &str| -> f64 {
            let line = page.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {page}")).trim().parse().expect("a number")
        };
        let each = ask("GET /metrics", "Host: localhost\r\n").await;
        let sum = ask("GET /metrics?shards=sum", "Host: localhost\r\n").await;
        for name in ["ringpost_commit_seconds_count", "ringpost_commit_bytes_sum", "ringpost_volume_transactions_total"]
        {
            let of = |shard: u8| match name {
                "ringpost_volume_transactions_total" => format!("{name}{{shard=\"{shard}\",volume=\"{shard}\"}}"),
                _ => format!("{name}{{shard=\"{shard}\"}}"),
            };
            let all = value(&each, &of(0)) + value(&each, &of(1));
            assert!(all >= 3.0, "{name}: {all}");
            assert!((all - value(&sum, &format!("{name} "))).abs() < 1e-6, "{name}");
        }
        let stats = operator().await.ask(json!({"verb": "stats", "per_shard": true})).await;
        for (part, name) in [
            ("measures", "commit_us_count"),
            ("counters", "messages_accepted_total"),
            ("counters", "volume_transactions"),
        ] {
            let of = |shard: usize| stats["shards"][shard][part][name].as_u64().expect(name);
            let all = stats[part][name].as_u64().expect(name);
            assert!(all >= 3, "{name}: {all}");
            assert_eq!(of(0) + of(1), all, "{name}");
        }
    });
}

#[test]
fn a_shard_that_does_not_answer_is_named_in_time_and_the_others_are_shown() {
    for seed in 0..5 {
        let world = World::new(seed);
        world.run_until(async {
            world.start(2, |mesh| async move {
                let office = Office::new(Settings::offline(), mesh, 2, 2);
                if shard::id() == 1 {
                    // It lives, and looks at nothing that is asked of it.
                    return std::future::pending().await;
                }
                let answering = office.clone();
                office.mesh.serve(move |_, request| serve::mesh::answer(answering.clone(), request));
                office.doors.want(1);
                let listener = shard::listen(SocketAddr::from(([127, 0, 0, 1], HTTP))).expect("a free port");
                let rules = std::sync::Arc::new(serve::Rules::of(Service::Http));
                serve::keep_door(office, Service::Http, rules, listener).await;
                Ok(())
            });
            let began = shard::now();
            let said = healthy().await;
            assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
            assert!(said.ends_with("\nshard 1 does not answer within 2 s\n"), "{said}");
            let took = shard::now().since(began);
            assert!(took < Duration::from_secs(limits::SHARD_ANSWER_S + 2), "{took:?}");
            let figures = ask("GET /metrics", "Host: localhost\r\n").await;
            for line in ["ringpost_shards_up{shard=\"0\"} 1\n", "ringpost_shards_up{shard=\"1\"} 0\n"] {
                assert!(figures.contains(line), "{figures}");
            }
            // A sum without it would go back, and leap ahead when it answers again.
            let sum = ask("GET /metrics?shards=sum", "Host: localhost\r\n").await;
            assert!(sum.starts_with("HTTP/1.1 503 "), "{sum}");
            assert!(sum.ends_with("\nshard 1 does not answer\n"), "{sum}");
        });
        assert_eq!(world.panics(), [""; 0], "seed {seed}");
    }
}
