//! A house in trouble, seen from outside: a node over which stories go wrong on purpose, and a sender that says one thing
//! at a time.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ringpost::admin::Request;
use ringpost::boot::node::Node;
use ringpost::shard;
use ringpost::shard::sim::{NodeId, OpKind, SimDisk, World};

use crate::lines::Lines;
use crate::pop3::{self, Fetched};
use crate::{imap_door, node};

/// A settled node in a world.
pub struct House {
    pub world: World,
    shards: u16,
    plan: Node,
    node: Cell<NodeId>,
}

impl House {
    /// Two shards, a volume each; `change`: what the shards are told otherwise.
    pub fn new(seed: u64, shards: u16, change: impl FnOnce(&mut Node)) -> House {
        let world = World::new(seed);
        let mut plan = Node { volumes: shards, ..node::plan(&world, false, None) };
        change(&mut plan);
        node::settle(&world, shards, &plan);
        let node = Cell::new(node::start_as(&world, shards, plan.clone()));
        House { world, shards, plan, node }
    }

    /// Tells one story over some seeds.
    pub fn over_seeds(story: impl AsyncFn(&House)) {
        for seed in 0..5 {
            let house = House::new(seed, 2, |_| {});
            house.tell(&story);
        }
    }

    pub fn tell(&self, story: impl AsyncFnOnce(&House)) {
        self.tell_and_return(story);
    }

    pub fn tell_and_return<T>(&self, story: impl AsyncFnOnce(&House) -> T) -> T {
        let said = self.world.run_until(story(self));
        assert_eq!(self.world.panics(), [""; 0], "seed {}", self.world.seed());
        said
    }

    /// Stops in order, carries out a request, and starts again.
    pub async fn while_stopped(&self, request: Request) {
        self.world.stop(self.node.get()).await.expect("an orderly stop");
        node::carry_out_meanwhile(&self.world, self.shards, &self.plan, request).await;
        self.node.set(node::start_as(&self.world, self.shards, self.plan.clone()));
    }

    /// Stops in order, cuts the power so long after a request was begun to be carried out, and starts again.
    pub async fn crash_during(&self, request: Request, after: Duration) {
        self.world.stop(self.node.get()).await.expect("an orderly stop");
        let node = node::begin_to_carry_out(&self.world, self.shards, &self.plan, request);
        shard::sleep(after).await;
        self.world.crash(node);
        self.node.set(node::start_as(&self.world, self.shards, self.plan.clone()));
    }

    /// Stops in order, does something to the disks, and starts again.
    pub async fn meanwhile(&self, act: impl AsyncFnOnce(&House)) {
        self.world.stop(self.node.get()).await.expect("an orderly stop");
        act(self).await;
        self.node.set(node::start_as(&self.world, self.shards, self.plan.clone()));
    }

    /// Cuts the power and starts again on the same disks.
    pub fn crash(&self) {
        self.world.crash(self.node.get());
        self.node.set(node::start_as(&self.world, self.shards, self.plan.clone()));
    }

    pub fn disk(&self, volume: u16) -> SimDisk {
        self.world.disk(0, &PathBuf::from(format!("/data/volume-{volume:03}")))
    }

    pub fn disks(&self) -> impl Iterator<Item = SimDisk> {
        (0..self.plan.volumes).map(|volume| self.disk(volume))
    }

    /// Nothing written to the volume gets anywhere while this is true.
    pub fn hang(&self, volume: u16) -> Rc<Cell<bool>> {
        let hangs = Rc::new(Cell::new(true));
        let now = hangs.clone();
        self.disk(volume).set_delay(Some(Rc::new(move |kind| {
            let hangs = now.clone();
            Box::pin(async move {
                while hangs.get() && matches!(kind, OpKind::Write | OpKind::Sync) {
                    shard::sleep(Duration::from_millis(10)).await;
                }
            })
        })));
        hangs
    }
}

pub fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A sender after EHLO.
pub struct Sender {
    pub lines: Lines,
}

impl Sender {
    pub async fn open() -> Sender {
        Sender::open_from(Ipv4Addr::LOCALHOST.into()).await
    }

    pub async fn open_from(address: IpAddr) -> Sender {
        let mut sender = Sender { lines: knock(address).await };
        let greeting = sender.hear().await.expect("a greeting");
        assert!(greeting.starts_with("220"), "{greeting}");
        sender.expect("EHLO client.example", "250").await;
        sender
    }

    /// The last line of the next reply (RFC 5321 §4.2.1); `None`: the connection is over.
    pub async fn hear(&mut self) -> Option<String> {
        loop {
            let line = self.lines.line().await.ok()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Some(line);
            }
        }
    }

    pub async fn ask(&mut self, line: &str) -> Option<String> {
        self.lines.say(format!("{line}\r\n")).await.ok()?;
        self.hear().await
    }

    pub async fn expect(&mut self, line: &str, start: &str) {
        let said = self.ask(line).await.unwrap_or_else(|| panic!("closed at {line}"));
        assert!(said.starts_with(start), "{line}: {said}");
    }

    /// Up to the 354.
    pub async fn begin(&mut self, to: &str) {
        self.expect("MAIL FROM:<sender@client.example>", "250").await;
        self.expect(&format!("RCPT TO:<{to}@{}>", node::DOMAIN), "250").await;
        self.expect("DATA", "354").await;
    }

    /// Says a letter whose lines begin with no dot; what is answered to it.
    pub async fn finish(&mut self, subject: &str, body: &str) -> Option<String> {
        self.ask(&format!("Subject: {subject}\r\n\r\n{body}\r\n.")).await
    }

    pub async fn deliver(&mut self, to: &str, subject: &str, body: &str) -> Option<String> {
        self.begin(to).await;
        self.finish(subject, body).await
    }
}

/// A connection to the door of SMTP, as soon as it is open.
pub async fn knock(from: IpAddr) -> Lines {
    for _ in 0..10_000 {
        if let Ok(lines) = Lines::connect_from(from, node::doors().smtp).await {
            return lines;
        }
        shard::sleep(Duration::from_millis(10)).await;
    }
    panic!("the door of SMTP does not open");
}

/// One letter by a sender of its own.
pub async fn deliver(to: &str, subject: &str, body: &str) -> Option<String> {
    Sender::open().await.deliver(to, subject, body).await
}

/// A reply says that the letter is kept.
pub fn kept(said: &Option<String>) -> bool {
    said.as_deref().is_some_and(|said| said.starts_with("250"))
}

/// The subjects in somebody's INBOX by POP3, sorted.
pub async fn subjects(name: &str) -> Vec<String> {
    let mut all: Vec<String> = fetched(name).await.iter().map(|m| subject(&m.bytes)).collect();
    all.sort_unstable();
    all
}

pub async fn fetched(name: &str) -> Vec<Fetched> {
    let account = format!("{name}@{}", node::DOMAIN);
    for _ in 0..1_000 {
        if let Ok(all) = pop3::fetch_all(node::doors().pop3, &account, &format!("secret-of-{name}")).await {
            return all;
        }
        shard::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} cannot read mail by POP3");
}

/// What IMAP says to a command in somebody's INBOX.
pub async fn by_imap(name: &str, command: &str) -> String {
    imap_door::Client::in_inbox(name).await.say(command).await
}

/// The literal IMAP answers a command with in somebody's INBOX.
pub async fn by_imap_octets(name: &str, command: &str) -> Vec<u8> {
    imap_door::Client::in_inbox(name).await.literal(command).await
}

fn subject(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let line = text.lines().find_map(|l| l.strip_prefix("Subject: ")).expect("a subject");
    line.to_owned()
}
