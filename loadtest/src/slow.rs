//! `ringpost-loadtest slow`: what honest senders notice of crowds that are slow on purpose.
//!
//! For each [`Phase`] of a conversation a crowd of connections comes so far, pipelined, and then says an octet a second, while honest
//! connections send letters at a steady rate (open loop). Their p99 beside the crowd is compared with their p99 alone, taken
//! before and after, because a machine is seldom the same twice.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::accept::{bar, clock_seed, resolve};
use crate::arrivals::Gaps;
use crate::gauge::memory::Memory;
use crate::letter::Letters;
use crate::load::{Load, Plan};
use crate::report::Latency;
use crate::subject::Subject;

/// Between two octets of a slow client.
const PACE: Duration = Duration::from_secs(1);

/// Where a crowd stays: its name, what it says at once, what it says an octet at a time.
struct Phase {
    name: &'static str,
    at_once: &'static str,
    slowly: &'static [u8],
}

const PHASES: &[Phase] = &[
    Phase { name: "silent", at_once: "", slowly: b"" },
    Phase { name: "greeting", at_once: "", slowly: b"EHLO a.client.that.takes.its.time.example" },
    Phase { name: "idle", at_once: "EHLO slow.example\r\n", slowly: b"" },
    Phase {
        name: "command",
        at_once: "EHLO slow.example\r\n",
        slowly: b"MAIL FROM:<somebody.who.takes.time@slow.example>",
    },
    Phase {
        name: "envelope",
        at_once: "EHLO slow.example\r\nMAIL FROM:<a@slow.example>\r\nRCPT TO:<{to}>\r\n",
        slowly: b"RCPT TO:<somebody.with.a.long.name@load.example>",
    },
    Phase {
        name: "header",
        at_once: "EHLO slow.example\r\nMAIL FROM:<a@slow.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n",
        slowly: b"Subject: a letter that takes its time to arrive, and never does",
    },
    Phase {
        name: "chunk",
        at_once: "EHLO slow.example\r\nMAIL FROM:<a@slow.example>\r\nRCPT TO:<{to}>\r\nBDAT 100000\r\n",
        slowly: b"Subject: a chunk that takes its time to arrive, and never does",
    },
    Phase {
        name: "handshake",
        at_once: "EHLO slow.example\r\nSTARTTLS\r\n",
        slowly: &[
            0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
            7, 7, 7, 7,
        ],
    },
];

/// Options of `slow`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The SMTP listener.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2525")]
    pub smtp: String,
    #[command(flatten)]
    pub subject: Subject,
    /// Slow connections in each phase.
    #[arg(long, default_value_t = 2_000)]
    pub slow: usize,
    /// Honest connections.
    #[arg(long, default_value_t = 16)]
    pub connections: usize,
    /// Honest letters a second.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 500.0)]
    pub rate: f64,
    /// Honest letters in each measure.
    #[arg(long, default_value_t = 5_000)]
    pub messages: u64,
    /// Octets of a letter.
    #[arg(long, default_value_t = 4_096)]
    pub size: usize,
    /// These phases alone, by name.
    #[arg(long = "phase", value_name = "NAME")]
    pub phases: Vec<String>,
    /// Fail if a crowd makes p99 more than so many times what it is without.
    #[arg(long, value_name = "TIMES")]
    pub max_ratio: Option<f64>,
}

/// What one measure found.
#[derive(Clone, Debug, Serialize)]
pub struct Beside {
    /// The phase the crowd stayed in; `none`: there was no crowd.
    pub phase: &'static str,
    /// Slow connections at the beginning, and those that the server had not closed at the end.
    pub slow: [usize; 2],
    /// Letters acknowledged, and all others.
    pub letters: [u64; 2],
    /// From when it was due to its verdict.
    pub latency: Latency,
    /// p99 over the mean p99 of the measures without a crowd.
    pub ratio: f64,
    /// The server's memory at the end, octets (proportional set size).
    pub memory_bytes: Option<u64>,
}

/// Runs the measure and prints it. `Ok(true)`: no letter failed, and `--max-ratio` was kept.
pub fn run(args: &Args) -> Result<bool, String> {
    let found = measure(args)?;
    println!("{}", table(args, &found));
    args.subject.keep(&found)?;
    let kept = |beside: &Beside| beside.letters[1] == 0 && args.max_ratio.is_none_or(|most| beside.ratio <= most);
    Ok(found.iter().all(kept))
}

/// Runs the measure.
pub(crate) fn measure(args: &Args) -> Result<Vec<Beside>, String> {
    let known = |name: &String| PHASES.iter().any(|phase| phase.name == name);
    if let Some(name) = args.phases.iter().find(|name| !known(name)) {
        let names: Vec<&str> = PHASES.iter().map(|phase| phase.name).collect();
        return Err(format!("--phase {name}: there is {}", names.join(", ")));
    }
    if !(args.rate > 0.0 && args.rate.is_finite()) {
        return Err("--rate: more than nothing, please".into());
    }
    let accounts = args.subject.begin()?;
    let letters = Letters::new(clock_seed(), &[args.size]).map_err(|e| format!("--size: {e}"))?;
    let server = resolve(&args.smtp)?;
    let plan = Plan {
        server,
        letters: &letters,
        accounts: &accounts,
        connections: args.connections.max(1),
        connection_per_message: false,
        rate: Some(args.rate),
        gaps: Gaps::Even,
        patience: args.subject.patience(),
        tls: None,
        login: false,
    };
    let failed = |e: crate::load::Error| format!("{}: {e}", args.smtp);
    let mut load = Load::connect(plan).map_err(failed)?;
    load.run(args.messages.min(1_000), |_| {}).map_err(failed)?;

    let chosen: Vec<&Phase> = PHASES
        .iter()
        .filter(|phase| args.phases.is_empty() || args.phases.iter().any(|name| name == phase.name))
        .collect();
    let bar = bar(chosen.len() as u64 + 2, "crowds");
    let mut measure = |phase: Option<&Phase>| -> Result<Beside, String> {
        let crowd = phase.map(|phase| Crowd::gather(phase, server, &accounts[0].address, args.slow)).transpose()?;
        let seen = load.run(args.messages, |_| {}).map_err(failed)?;
        let memory_bytes =
            args.subject.server_pid.and_then(|pid| Memory::read(pid).ok()).map(|memory| memory.pss_bytes);
        let left = crowd.map_or(0, Crowd::leave);
        bar.inc(1);
        Ok(Beside {
            phase: phase.map_or("none", |phase| phase.name),
            slow: [phase.map_or(0, |_| args.slow), left],
            letters: [seen.acknowledged, seen.refused + seen.unknown],
            latency: Latency::of(&seen.transaction_us),
            ratio: 1.0,
            memory_bytes,
        })
    };
    let mut found = vec![measure(None)?];
    for phase in chosen {
        found.push(measure(Some(phase))?);
    }
    found.push(measure(None)?);
    bar.finish_and_clear();
    for failure in &load.failures {
        eprintln!("failure: {failure}");
    }
    load.quit();

    let alone = found.iter().filter(|beside| beside.phase == "none").map(|beside| beside.latency.p99_us as f64);
    let alone_us = alone.sum::<f64>() / 2.0;
    found.iter_mut().for_each(|beside| beside.ratio = beside.latency.p99_us as f64 / alone_us);
    Ok(found)
}

/// A crowd of slow connections, and the thread that speaks for them.
struct Crowd {
    speaker: thread::JoinHandle<usize>,
    over: std::sync::Arc<AtomicBool>,
}

impl Crowd {
    /// Connects all, brings them to their phase, and lets them speak slowly from then on.
    fn gather(phase: &Phase, server: SocketAddr, to: &str, count: usize) -> Result<Crowd, String> {
        let at_once = phase.at_once.replace("{to}", to);
        let mut crowd = Vec::with_capacity(count);
        for n in 0..count {
            let told = |e: io::Error| format!("slow connection {n}: {e}");
            let mut one = TcpStream::connect(server).map_err(told)?;
            one.set_nodelay(true).map_err(told)?;
            one.set_nonblocking(true).map_err(told)?;
            one.write_all(at_once.as_bytes()).map_err(told)?;
            crowd.push(one);
        }
        let over = std::sync::Arc::new(AtomicBool::new(false));
        let spoken = std::sync::Arc::new(AtomicUsize::new(0));
        let (is_over, has_spoken, slowly) = (over.clone(), spoken.clone(), phase.slowly);
        let speaker = thread::spawn(move || speak(crowd, slowly, &is_over, &has_spoken));
        // One round at least, so that the first octet is there.
        let begun = Instant::now();
        while spoken.load(Ordering::Acquire) < 1 && begun.elapsed() < PACE * 10 {
            thread::sleep(PACE / 20);
        }
        Ok(Crowd { speaker, over })
    }

    /// How many the server had not closed.
    fn leave(self) -> usize {
        self.over.store(true, Ordering::Release);
        self.speaker.join().unwrap_or(0)
    }
}

/// An octet for each, a round a second, spread over it; those that are left in the end.
fn speak(mut crowd: Vec<TcpStream>, slowly: &[u8], over: &AtomicBool, rounds: &AtomicUsize) -> usize {
    let burst = crowd.len().div_ceil(100).max(1);
    for n in 0.. {
        let began = Instant::now();
        for (piece, some) in (0..).zip(crowd.chunks_mut(burst)) {
            if over.load(Ordering::Acquire) {
                break;
            }
            thread::sleep((PACE / 100 * piece).saturating_sub(began.elapsed()));
            if let Some(octet) = slowly.get(n) {
                // Whoever was closed is counted in the end.
                some.iter_mut().for_each(|one| drop(one.write(&[*octet])));
            }
        }
        rounds.fetch_add(1, Ordering::Release);
        if over.load(Ordering::Acquire) {
            break;
        }
        thread::sleep(PACE.saturating_sub(began.elapsed()).min(PACE / 20));
    }
    crowd.retain(is_open);
    crowd.len()
}

/// True if the other side has not closed it. What it said before is passed over.
fn is_open(mut one: &TcpStream) -> bool {
    let mut words = [0; 4_096];
    loop {
        match io::Read::read(&mut one, &mut words) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

pub(crate) fn table(args: &Args, found: &[Beside]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "crowd",
        "slow: began, left",
        "letters",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "p99 ratio",
        "memory MiB",
    ]);
    for beside in found {
        let [began, left] = beside.slow;
        let [well, other] = beside.letters;
        table.add_row([
            beside.phase.to_owned(),
            format!("{began}, {left}"),
            if other == 0 { well.to_string() } else { format!("{well}, {other} NOT") },
            beside.latency.p50_us.to_string(),
            beside.latency.p99_us.to_string(),
            beside.latency.p99_9_us.to_string(),
            format!("{:.2}", beside.ratio),
            beside.memory_bytes.map_or("-".into(), |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20))),
        ]);
    }
    format!("{} honest connections, {:.0} letters/s of {} octets\n{table}", args.connections, args.rate, args.size)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use std::fs;

    use super::*;
    use crate::accounts;
    use crate::fake::post::{Post, Vice};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn slow(more: &[&str]) -> Result<(bool, serde_json::Value), String> {
        let folder = tempfile::tempdir().unwrap();
        let accounts = accounts::generate(7, "load.example", 3);
        let (file, json) = (folder.path().join("accounts"), folder.path().join("figures.json"));
        fs::write(&file, accounts::render(&accounts)).unwrap();
        let post = Post::start(&accounts, Vice::None);
        let smtp = post.smtp.to_string();
        let mut line = vec!["slow", "--smtp", &smtp, "--accounts", file.to_str().unwrap()];
        line.extend(["--json", json.to_str().unwrap(), "--slow", "10", "--messages", "60", "--size", "700"]);
        line.extend(more);
        let well = run(&Line::parse_from(line).args)?;
        Ok((well, serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap()))
    }

    #[test]
    fn each_crowd_is_measured_between_two_measures_without() {
        let (well, found) = slow(&["--phase", "silent", "--phase", "header"]).unwrap();
        assert!(well);
        let phases: Vec<&str> = found.as_array().unwrap().iter().map(|one| one["phase"].as_str().unwrap()).collect();
        assert_eq!(phases, ["none", "silent", "header", "none"]);
        assert_eq!(found[2]["slow"], serde_json::json!([10, 10]), "nobody is thrown out by this server");
        assert_eq!(found[2]["letters"], serde_json::json!([60, 0]));
    }

    #[test]
    fn a_bound_that_is_not_kept_is_a_failure() {
        assert!(!slow(&["--phase", "idle", "--max-ratio", "0"]).unwrap().0);
    }

    #[test]
    fn an_unknown_phase_is_told_with_those_there_are() {
        assert!(slow(&["--phase", "lunch"]).unwrap_err().contains("handshake"));
    }
}
