//! The node itself tells the story: `boot::node` on two shards, with intake, commit and recovery as in `serve`.
//!
//! `RINGPOST_SIM_SEED=n` tells the story of that seed alone; `RINGPOST_SIM_SECONDS=n` goes on for so long,
//! `RINGPOST_SIM_TALK=1` prints every word (with `-- --nocapture`).

use std::env;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringpost::admin::{NewAccount, Request, Response, Secret};
use ringpost::boot::node::{Errand, Node, node};
use ringpost::config::{DoorPlan, Founders};
use ringpost::office::{Argon2Cost, Settings};
use ringpost::serve::Service;
use ringpost::shard::sim::{Chance, NodeId, World};
use uuid::Uuid;

use crate::story::{Account, Doors, Story, Told};

const SHARDS: u16 = 2;
pub const DOMAIN: &str = "ringpost.test";
/// Stories told in any case, however slow the machine.
const STORIES_MIN: u64 = 10;
/// How long more are told unless the environment says otherwise.
const SECONDS: u64 = 15;

pub fn doors() -> Doors {
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    Doors { smtp: at(2525), pop3: at(2110), imap: at(2143) }
}

pub fn accounts() -> Vec<Account> {
    let account = |name: &str| Account { name: format!("{name}@{DOMAIN}"), password: format!("secret-of-{name}") };
    ["alice", "bob", "carol", "dave"].map(account).into()
}

/// What the shards of a run are told. `found`: the volumes are made.
pub fn plan(world: &World, found: bool, errand: Option<Errand>) -> Node {
    let Doors { smtp, pop3, imap } = doors();
    let door = DoorPlan::plain;
    let networks = || vec!["127.0.0.0/8".parse().expect("a network")];
    Node {
        data: "/data".into(),
        store: Uuid::from_u128(u128::from(world.seed())),
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
            exempt_networks: networks(),
            plaintext_auth_networks: networks(),
            argon2: Argon2Cost { memory_kib: 8, passes: 1 },
            ..Settings::offline()
        },
        founders: Founders::default(),
        doors: vec![door(Service::Smtp, smtp), door(Service::Pop3, pop3), door(Service::Imap, imap)],
        tls_cert: std::path::PathBuf::new(),
        accept_on: vec![0, 1],
        admin_socket: false,
        errand,
    }
}

/// A run of the node on machine 0.
pub fn start(world: &World, found: bool, errand: Option<Errand>) -> NodeId {
    start_as(world, SHARDS, plan(world, found, errand))
}

/// A run of the node on machine 0, told so.
pub fn start_as(world: &World, shards: u16, plan: Node) -> NodeId {
    world.start(shards, move |mesh| {
        let plan = plan.clone();
        async move { node(plan, mesh, || Ok(())).await }
    })
}

/// A run that carries out one request.
pub fn carry_out(world: &World, found: bool, request: Request) {
    carry_out_as(world, SHARDS, &plan(world, found, None), request);
}

fn carry_out_as(world: &World, shards: u16, plan: &Node, request: Request) {
    world.run_until(carry_out_meanwhile(world, shards, plan, request));
}

/// A run that carries out one request, in a story that is being told.
pub async fn carry_out_meanwhile(world: &World, shards: u16, plan: &Node, request: Request) {
    let said = Arc::new(Mutex::new(None));
    let errand = Errand::Request { request: Arc::new(Mutex::new(Some(request))), said: said.clone() };
    let node = start_as(world, shards, Node { errand: Some(errand), ..plan.clone() });
    world.ended(node).await.expect("an orderly end");
    let said = said.lock().expect("no holder of this lock can panic").take();
    let done = matches!(
        said,
        Some(Response::Done | Response::Accounts { .. } | Response::Quota { .. } | Response::Routing { .. })
    );
    assert!(done, "{said:?}");
}

/// A run that begins to carry out one request, and may be cut off.
pub fn begin_to_carry_out(world: &World, shards: u16, plan: &Node, request: Request) -> NodeId {
    let said = Arc::new(Mutex::new(None));
    let errand = Errand::Request { request: Arc::new(Mutex::new(Some(request))), said };
    start_as(world, shards, Node { errand: Some(errand), ..plan.clone() })
}

/// Makes the volumes, the domain and its accounts: alice and carol in volume 0, bob and dave in the next, if there is one.
pub fn settle(world: &World, shards: u16, plan: &Node) {
    let new = Node { found: true, ..plan.clone() };
    carry_out_as(world, shards, &new, Request::DomainAdd { domain: DOMAIN.to_owned() });
    let secret = |a: &Account| Some(Secret::from(&*a.password));
    let accounts = accounts().iter().map(|a| NewAccount::with(a.name.clone(), secret(a))).collect();
    carry_out_as(world, shards, plan, Request::AccountAdd { accounts });
}

pub fn tell(seed: u64) -> Told {
    let world = World::new(seed);
    settle(&world, SHARDS, &plan(&world, false, None));
    let story = Story {
        world: &world,
        doors: doors(),
        accounts: accounts(),
        removes: Chance::of(seed, "removes").one_in(2),
        start: &|world| start(world, false, None),
    };
    story.tell()
}

/// Tells a seed's story; a failure says which it was.
fn tell_by_name(seed: u64) -> Told {
    catch_unwind(AssertUnwindSafe(|| tell(seed))).unwrap_or_else(|why| {
        eprintln!(
            "the story of seed {seed} failed; again: RINGPOST_SIM_SEED={seed} cargo test --features sim --test sim node"
        );
        resume_unwind(why)
    })
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn acknowledged_mail_survives_whatever_the_seed() {
    if let Some(seed) = setting("RINGPOST_SIM_SEED") {
        println!("seed {seed}: {:?}", tell_by_name(seed));
        return;
    }
    let end = Instant::now() + Duration::from_secs(setting("RINGPOST_SIM_SECONDS").unwrap_or(SECONDS));
    let (mut seed, mut promised) = (0, 0);
    while seed < STORIES_MIN || Instant::now() < end {
        promised += tell_by_name(seed).promised;
        seed += 1;
    }
    println!("{seed} stories, {promised} copies promised and found");
    assert!(promised as u64 > seed, "senders get next to nothing in: {promised} copies in {seed} stories");
}

#[test]
fn the_node_tells_the_same_story_twice() {
    for seed in 1_000..1_003 {
        assert_eq!(tell_by_name(seed), tell_by_name(seed), "seed {seed}");
    }
}

/// Seeds that found something, each with what it was.
#[test]
fn seeds_that_once_failed() {
    // A shard was done and gone before its answer to another's start had arrived: "a shard did not start: Down".
    tell_by_name(21);
}
