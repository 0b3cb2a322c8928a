//! The doors of POP3, of submission, of HTTP and of the operator on a whole node in the simulated world: two shards, a volume each.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ringpost::boot::node::{Node, node};
use ringpost::config::{DoorPlan, Founders};
use ringpost::office::{Argon2Cost, Settings};
use ringpost::serve::Service;
use ringpost::shard::sim::{self, NodeId, World};
use ringpost::shard::{self, Stream};
use serde_json::{Value, json};
use uuid::Uuid;

mod admin;
mod balancer;
mod bans;
mod catalogue;
#[cfg(feature = "bugs")]
mod bugs;
mod filters;
mod moves;
mod neighbour;
mod policy;
mod pop3;
#[cfg(feature = "bugs")]
#[path = "../seeded/mod.rs"]
mod seeded;
mod slow;
mod submission;
mod web;

const SHARDS: u16 = 2;
const SMTP: u16 = 2525;
const SUBMISSION: u16 = 2587;
const POP3: u16 = 2110;
const HTTP: u16 = 2080;
/// Nothing a server has to say takes longer.
const SILENCE_MAX: Duration = Duration::from_secs(900);

/// Starts the node on machine 0. `found`: the volumes are made.
fn start(world: &World, found: bool) -> NodeId {
    start_as(world, plan(found))
}

fn start_as(world: &World, plan: Node) -> NodeId {
    world.start(SHARDS, move |mesh| {
        let plan = plan.clone();
        async move { node(plan, mesh, || Ok(())).await }
    })
}

/// What the node is told.
fn plan(found: bool) -> Node {
    let door = |service, port| DoorPlan::plain(service, SocketAddr::from(([127, 0, 0, 1], port)));
    Node {
        data: "/data".into(),
        store: Uuid::from_u128(7),
        volumes: SHARDS,
        closed: Vec::new(),
        retired: Vec::new(),
        keep: None,
        segment_bytes: 256 << 10,
        compaction: true,
        upkeep: ringpost::config::Upkeep::default(),
        index_memory: 64 << 20,
        writing: ringpost::shard::Writing::default(),
        found,
        settings: Settings {
            hostname: "mx.ringpost.test".to_owned(),
            plaintext_auth_networks: vec!["127.0.0.0/8".parse().expect("a network")],
            exempt_networks: vec!["127.0.0.0/8".parse().expect("a network")],
            argon2: Argon2Cost { memory_kib: 8, passes: 1 },
            ..Settings::offline()
        },
        founders: Founders::default(),
        doors: vec![
            door(Service::Smtp, SMTP),
            door(Service::Submission, SUBMISSION),
            door(Service::Pop3, POP3),
            door(Service::Http, HTTP),
        ],
        tls_cert: std::path::PathBuf::new(),
        accept_on: vec![0, 1],
        admin_socket: true,
        errand: None,
    }
}

/// Runs one story over some seeds, each on a fresh node with the domain `ringpost.test`.
fn over_seeds(story: impl AsyncFn(&World, NodeId)) {
    for seed in 0..5 {
        let world = World::new(seed);
        world.run_until(async {
            let node = start(&world, true);
            let done = operator().await.ask(json!({"verb": "domain-add", "domain": "ringpost.test"})).await;
            assert_eq!(done, json!({"answer": "done"}));
            story(&world, node).await;
        });
        assert_eq!(world.panics(), [""; 0], "seed {seed}");
    }
}

/// Makes accounts whose password is `secret`. One after the other they go to either volume.
async fn accounts(names: &[&str]) {
    let accounts: Vec<_> =
        names.iter().map(|n| json!({"address": format!("{n}@ringpost.test"), "password": "secret"})).collect();
    let made = operator().await.ask(json!({"verb": "account-add", "accounts": accounts})).await;
    assert_eq!(made["answer"], "accounts", "{made}");
}

/// Hands a letter in for one recipient and waits until it is durable.
async fn send(to: &str, subject: &str, body: &str) {
    let mut client = Client::connect(SMTP).await;
    client.expect("220").await;
    for (line, answer) in [
        ("HELO client.test", "250"),
        ("MAIL FROM:<sender@client.test>", "250"),
        (&format!("RCPT TO:<{to}@ringpost.test>"), "250"),
        ("DATA", "354"),
        (&format!("Subject: {subject}\r\n\r\n{body}\r\n."), "250"),
        ("QUIT", "221"),
    ] {
        client.say(line).await;
        client.expect(answer).await;
    }
}

/// An operator's connection, as soon as there is a socket.
async fn operator() -> Client {
    for _ in 0..3_000 {
        if let Ok(stream) = sim::connect_local(0, Path::new("/data/admin.sock")).await {
            return Client { stream, held: Vec::new() };
        }
        shard::sleep(Duration::from_millis(10)).await;
    }
    panic!("the node opens no admin socket");
}

/// A connection that is spoken to in lines.
struct Client {
    stream: Stream,
    held: Vec<u8>,
}

impl Client {
    async fn connect(port: u16) -> Client {
        Client::connect_from([127, 0, 0, 1].into(), port).await
    }

    async fn connect_from(from: IpAddr, port: u16) -> Client {
        for _ in 0..3_000 {
            if let Ok(stream) = sim::connect_from(from, SocketAddr::from(([127, 0, 0, 1], port))).await {
                return Client { stream, held: Vec::new() };
            }
            shard::sleep(Duration::from_millis(10)).await;
        }
        panic!("the node does not open port {port}");
    }

    async fn try_say(&mut self, line: &str) -> io::Result<()> {
        self.stream.set_deadline(Some(shard::now().after(SILENCE_MAX)));
        self.stream.send(format!("{line}\r\n").into_bytes()).await.0
    }

    async fn say(&mut self, line: &str) {
        self.try_say(line).await.expect("the server listens");
    }

    /// The next line, without its end. `None`: the connection is closed or lost.
    async fn try_line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.held) {
                let line: Vec<u8> = self.held.drain(..=at).collect();
                let text = String::from_utf8(line).expect("the server writes UTF-8");
                return Some(text.trim_end_matches(['\r', '\n']).to_owned());
            }
            self.stream.set_deadline(Some(shard::now().after(SILENCE_MAX)));
            let chunk = self.stream.recv().await;
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(why) if why.kind() == io::ErrorKind::TimedOut => panic!("the server hangs"),
                Err(_) => return None,
            };
            if chunk.is_empty() {
                return None;
            }
            self.held.extend_from_slice(&chunk);
        }
    }

    async fn line(&mut self) -> String {
        self.try_line().await.expect("the server answers")
    }

    async fn expect(&mut self, start: &str) -> String {
        let line = self.line().await;
        assert!(line.starts_with(start), "{start} expected: {line}");
        line
    }

    /// Lines up to that of a single dot.
    async fn dotted(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.line().await.as_str() {
                "." => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }

    /// One request and its answer.
    async fn ask(&mut self, request: Value) -> Value {
        self.say(&request.to_string()).await;
        serde_json::from_str(&self.line().await).expect("answers are JSON")
    }
}
