//! The only room that knows everything: config → data directory → shards → doors → orderly stop.
//!
//! ```text
//!   serve ─► home (lock, store file) ─► checks ─► shard::run ─► node on every shard
//!                                                                 │ volumes opened, directory told to all
//!                                                                 │ first start: founders
//!                                                                 │ doors opened, founders' passwords shown
//!                                                                 ▼ … until stop: doors shut, volumes closed
//! ```
//!
//! [`node`] is the same function in the real and in the simulated world.

mod calendar;
mod compaction;
mod greylist;
mod retention;
mod scrub;
pub mod home;
pub mod node;
pub mod tls;
pub mod welcome;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use crate::admin;
use crate::config::{Config, Founders, TlsPaths};
use crate::net::census;
use crate::office::Settings;
use crate::shard::{self, Plan, StartError, plan};

pub use home::{Home, NewStore};
pub use node::{Node, node};

/// Runs the server until it is asked to stop.
///
/// `certificates`: where they are, asked whenever they are read anew.
///
/// # Errors
/// Why it does not start, as a sentence that says what to do.
pub fn serve(
    config: Config,
    certificates: impl Fn() -> Result<Vec<TlsPaths>, String> + Send + Sync + 'static,
) -> Result<(), StartError> {
    let volumes = u16::try_from(config.plan.cpus.len()).unwrap_or(u16::MAX);
    let new = NewStore { volumes, segment_bytes: config.segment_bytes, quickstart: !config.founders.domain.is_empty() };
    let home = Home::claim(&config.data, &new)?;
    let mut doors = Vec::new();
    for door in &config.doors {
        match home::patiently(|| plan::probe(&door.at), |e| matches!(e, StartError::PortTaken { .. }), || false) {
            Ok(()) => doors.push(door.clone()),
            Err(StartError::Listen { at, why }) if door.optional => {
                tracing::info!(%at, %why, "door left out: this host has no such address");
            }
            Err(error) => return Err(error),
        }
    }
    let mut settings = config.settings.clone();
    let own = config.tls[0].are_own(&config.data).then(|| config.data.join("tls"));
    let data = config.data.clone();
    let reader = move || tls::read_anew(&certificates()?, &data);
    settings.tls = Some(tls::acceptors(&config.tls, own.as_deref(), &settings.hostname, Box::new(reader))?);
    settings.connections_max = connections_max(&config, &home)?;
    let node = Node {
        data: config.data.clone(),
        store: home.store,
        volumes: home.volumes,
        closed: home.closed.clone(),
        retired: home.retired.clone(),
        keep: None,
        segment_bytes: home.segment_bytes,
        index_memory: config.index_memory,
        compaction: config.compaction,
        upkeep: config.upkeep,
        writing: config.writing,
        found: home.fresh,
        settings,
        founders: founders(&config, &home),
        doors,
        tls_cert: config.tls[0].cert.clone(),
        accept_on: config.accept_on,
        admin_socket: true,
        errand: None,
    };
    let home = Arc::new(home);
    let node = Node { keep: Some(keeper(&home)), ..node };
    shard::run(config.plan, move |mesh| {
        let home = home.clone();
        let node = node.clone();
        async move { self::node(node, mesh, move || home.settled()).await }
    })
}

/// Keeps the list of volumes in the store file.
fn keeper(home: &Arc<Home>) -> node::Keep {
    let home = home.clone();
    Arc::new(move |kept| home.keep(kept))
}

/// Whom a store begins with, until its first start is complete: those of a store that `serve` began.
fn founders(config: &Config, home: &Home) -> Founders {
    if home.fresh && home.quickstart { config.founders.clone() } else { Founders::default() }
}

/// Connections of one shard: what is asked for, or what the limit of open files leaves; then the operator is told.
fn connections_max(config: &Config, home: &Home) -> Result<usize, StartError> {
    let asked = config.settings.connections_max;
    let shards = config.plan.cpus.len() as u64;
    let segments = (0..home.volumes).map(|v| home::segments_there(&config.data, v)).sum();
    let files = plan::files_max();
    let places = census::places(files, shards, segments)
        .map_err(|need| StartError::Nofile { have: files.unwrap_or(u64::MAX), need })?;
    if places < asked {
        tracing::warn!(
            connections_a_shard = places,
            wanted = asked,
            files = files.unwrap_or(u64::MAX),
            "the limit of open files allows fewer connections: raise it with `ulimit -n` or LimitNOFILE in the unit file"
        );
    }
    Ok(places.min(asked))
}

/// Carries out one admin request on a data directory whose server is stopped. A store that is begun this way is the one
/// that a start with the same configuration would begin.
///
/// # Errors
/// Why the store cannot be opened.
pub fn offline(config: &Config, request: admin::Request) -> Result<admin::Response, StartError> {
    let said = Arc::new(Mutex::new(None));
    run_errand(config, node::Errand::Request { request: Arc::new(Mutex::new(Some(request))), said: said.clone() })?;
    let answer = said.lock().expect("no holder of this lock can panic").take();
    answer.ok_or_else(|| StartError::Setting("the request was not carried out".to_owned()))
}

/// Opens a data directory whose server is stopped, and its admin socket, for as long as `work` takes: for requests that come
/// one after the other. `work` is not called when the store cannot be opened.
///
/// # Errors
/// Why the store cannot be opened.
pub fn with_desk<T>(config: &Config, work: impl FnOnce() -> T) -> Result<T, StartError> {
    let (ready, is_ready) = mpsc::channel();
    let over = Over::default();
    let errand = node::Errand::Desk { ready, over: over.0.clone() };
    std::thread::scope(|threads| {
        let house = threads.spawn(|| run_errand(config, errand));
        let done = is_ready.recv().ok().map(|()| work());
        drop(over);
        house.join().expect("a shard that panics ends with an error")?;
        done.ok_or_else(|| StartError::Setting("the store was not opened".to_owned()))
    })
}

/// True from its drop on, however that comes.
#[derive(Default)]
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A node without doors.
fn run_errand(config: &Config, errand: node::Errand) -> Result<(), StartError> {
    let cpus = &config.plan.cpus;
    let volumes = u16::try_from(cpus.len()).unwrap_or(u16::MAX);
    let new = NewStore { volumes, segment_bytes: config.segment_bytes, quickstart: false };
    let home = Home::claim(&config.data, &new)?;
    let node = Node {
        data: config.data.clone(),
        store: home.store,
        volumes: home.volumes,
        closed: home.closed.clone(),
        retired: home.retired.clone(),
        keep: None,
        segment_bytes: home.segment_bytes,
        index_memory: config.index_memory,
        compaction: config.compaction,
        upkeep: config.upkeep,
        writing: config.writing,
        found: home.fresh,
        settings: Settings { argon2: config.settings.argon2, ..Settings::offline() },
        founders: founders(config, &home),
        doors: Vec::new(),
        tls_cert: PathBuf::new(),
        accept_on: Vec::new(),
        admin_socket: false,
        errand: Some(errand),
    };
    let home = Arc::new(home);
    let node = Node { keep: Some(keeper(&home)), ..node };
    shard::run(Plan::for_cpus(cpus[..1].to_vec()), move |mesh| {
        let home = home.clone();
        let node = node.clone();
        async move { self::node(node, mesh, move || home.settled()).await }
    })
}
