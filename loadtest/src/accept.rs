//! `ringpost-loadtest accept`: mail into the mailboxes, measured, then read back.
//!
//! Warm-up, the measured phase, a phase under strace if asked for, then every mailbox is read and held
//! against the ledger. The exit status is 0 only when every letter was acknowledged and every one is there
//! once and unaltered.

use std::io::IsTerminal;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::accounts::Account;
use crate::arrivals::Gaps;
use crate::gauge::strace::Strace;
use crate::ledger::{self, Ledger};
use crate::letter::Letters;
use crate::load::{Load, Plan, Secure};
use crate::readback::{self, Door};
use crate::report::{Accept, Latency, ReadBack};
use crate::subject::Subject;
use crate::tls::{Trust, Versions};

/// Faults told one by one. The rest is counted.
const FAULTS_TOLD_MAX: usize = 20;

/// Options of `accept`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The SMTP listener.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2525")]
    pub smtp: String,
    /// The POP3 listener.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2110")]
    pub pop3: String,
    /// The IMAP listener.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2143")]
    pub imap: String,
    #[command(flatten)]
    pub subject: Subject,
    /// Connections held at once.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Messages measured.
    #[arg(long, default_value_t = 50_000)]
    pub messages: u64,
    /// Bytes of a message, CRLF counted, dot-stuffing not.
    #[arg(long, default_value_t = 4_096)]
    pub size: usize,
    /// Letters of many sizes instead, with a mean of so many bytes (15 KiB is what mail has), long headers, HTML and attachments.
    #[arg(long, value_name = "MEAN_BYTES", num_args = 0..=1, default_missing_value = "15360", conflicts_with = "size")]
    pub mix: Option<usize>,
    /// Messages sent first and left out of the figures (they are read back too).
    #[arg(long, default_value_t = 2_000)]
    pub warmup: u64,
    /// Open loop at this many messages a second instead of a closed loop.
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// How letters fall due in the open loop.
    #[arg(long, value_enum, default_value_t = Gaps::Even)]
    pub gaps: Gaps,
    /// Under TLS 1.3: from the first octet on, or after STARTTLS. Needs `--ca`.
    #[arg(long, value_enum, value_name = "HOW", requires = "ca")]
    pub tls: Option<Tls>,
    /// The certificate that TLS is trusted with, PEM.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// With a connection per message: resume TLS sessions.
    #[arg(long, requires = "tls")]
    pub resume: bool,
    /// Each connection logs in (AUTH PLAIN), the accounts in turn, and sends as its account: for a submission listener. The server must
    /// be told `submission.recipients_per_hour = 0`, the same of `recipients_per_day`, and `submission.sender = "mail"`.
    #[arg(long)]
    pub login: bool,
    /// QUIT and connect anew for each message.
    #[arg(long)]
    pub connection_per_message: bool,
    /// Afterwards count system calls with strace over a tenth as many messages.
    #[arg(long, requires = "server_pid")]
    pub strace: bool,
    /// Letters are made from it; by default from the clock. It must be new to the mailboxes.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How everything is read back.
    #[arg(long, value_enum, default_value_t = How::Pop3)]
    pub read_back: How,
    /// Threads that read back.
    #[arg(long, default_value_t = 4)]
    pub readers: usize,
}

/// How a connection comes under TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tls {
    Implicit,
    Starttls,
}

/// How mailboxes are read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum How {
    Pop3,
    Imap,
    None,
}

impl How {
    /// Where that is; `None`: nowhere.
    pub(crate) fn door(self, pop3: &str, imap: &str) -> Result<Option<Door>, String> {
        Ok(match self {
            How::Pop3 => Some(Door::Pop3(resolve(pop3)?)),
            How::Imap => Some(Door::Imap(resolve(imap)?)),
            How::None => None,
        })
    }
}

/// Runs the measure and prints it. `Ok(true)`: clean. `Err`: it could not be made.
pub fn run(args: &Args) -> Result<bool, String> {
    let report = measure(args)?;
    println!("{}", report.table());
    args.subject.keep(&report)?;
    Ok(report.clean())
}

/// Runs the measure.
pub(crate) fn measure(args: &Args) -> Result<Accept, String> {
    let accounts = args.subject.begin()?;
    let seed = args.seed.unwrap_or_else(clock_seed);
    let letters = match args.mix {
        Some(mean) => Letters::mixed(seed, mean).map_err(|e| format!("--mix: {e}"))?,
        None => Letters::new(seed, &[args.size]).map_err(|e| format!("--size: {e}"))?,
    };
    if args.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return Err("--rate: more than nothing, please".into());
    }
    let trust = match (&args.ca, args.tls) {
        (Some(ca), Some(_)) => Some(Trust::new(ca, Versions::Tls13, args.resume)?),
        _ => None,
    };
    let secure = args.tls.map(|tls| if tls == Tls::Implicit { Secure::Implicit } else { Secure::StartTls });
    let plan = Plan {
        server: resolve(&args.smtp)?,
        letters: &letters,
        accounts: &accounts,
        connections: args.connections.max(1),
        connection_per_message: args.connection_per_message,
        rate: args.rate,
        gaps: args.gaps,
        patience: args.subject.patience(),
        tls: secure.zip(trust.as_ref()),
        login: args.login,
    };
    let mut gauge = args.subject.gauge();

    let failed = |e: crate::load::Error| format!("{}: {e}", args.smtp);
    let mut load = Load::connect(plan).map_err(failed)?;
    load.run(args.warmup, |_| {}).map_err(failed)?;
    let bar = bar(args.messages, "sending");
    let before = gauge.read();
    let phase = load.run(args.messages, |done| {
        gauge.tick();
        bar.set_position(done);
    });
    let after = gauge.read();
    bar.finish_and_clear();
    let phase = phase.map_err(failed)?;
    let spent = after.since(&before);
    let strace = match args.subject.server_pid.filter(|_| args.strace) {
        Some(pid) => Some(strace_phase(pid, &mut load, args.messages.div_ceil(10))?),
        None => None,
    };
    let outcomes = std::mem::take(&mut load.outcomes);
    let (failures, failures_count) = (std::mem::take(&mut load.failures), load.failures_count);
    load.quit();
    for failure in &failures {
        eprintln!("failure: {failure}");
    }

    let mut ledger = Ledger::new(accounts.len(), false);
    for (n, &outcome) in (0..).zip(&outcomes) {
        ledger.sent(plan.account(n), n, outcome, None);
    }
    let door = args.read_back.door(&args.pop3, &args.imap)?;
    let read_back = door.map(|door| read_back(door, &accounts, &letters, &mut ledger, args.readers, plan.patience));

    let acknowledged = phase.acknowledged.max(1) as f64;
    Ok(Accept {
        seed,
        connections: args.connections,
        messages: args.messages,
        size_bytes: letters.size_bytes_mean(),
        mix: args.mix.is_some(),
        accounts: accounts.len(),
        connection_per_message: args.connection_per_message,
        rate_asked: args.rate,
        late: phase.late,
        tls: args.tls.map(|tls| format!("{tls:?}").to_lowercase()),
        login: args.login,
        acknowledged: phase.acknowledged,
        refused: phase.refused,
        unknown: phase.unknown,
        failures: failures_count,
        messages_per_s: phase.acknowledged as f64 / spent.wall_s,
        transaction: Latency::of(&phase.transaction_us),
        verdict: Latency::of(&phase.verdict_us),
        server_cpu_us_per_message: spent.server_cpu_ns.map(|ns| ns as f64 / 1e3 / acknowledged),
        client_cpu_us_per_message: spent.client_cpu_ns as f64 / 1e3 / acknowledged,
        spent,
        strace_calls_per_message: strace,
        read_back,
        remarks: std::mem::take(&mut gauge.remarks),
    })
}

fn strace_phase(pid: u32, load: &mut Load<'_>, count: u64) -> Result<std::collections::BTreeMap<String, f64>, String> {
    let strace = Strace::attach(pid).map_err(|e| format!("strace: {e}"))?;
    let phase = load.run(count, |_| {});
    let calls = strace.finish().map_err(|e| format!("strace: {e}"))?;
    let phase = phase.map_err(|e| format!("under strace: {e}"))?;
    Ok(calls.into_iter().map(|(name, n)| (name, n as f64 / phase.acknowledged.max(1) as f64)).collect())
}

/// Reads every mailbox, and holds it against the ledger. Faults are told, the first of them one by one.
pub(crate) fn read_back(
    door: Door,
    accounts: &[Account],
    letters: &Letters,
    ledger: &mut Ledger,
    readers: usize,
    patience: Duration,
) -> ReadBack {
    let start = Instant::now();
    let name = if matches!(door, Door::Pop3(_)) { "pop3" } else { "imap" };
    let mut back = ReadBack { door: name.into(), ..ReadBack::default() };
    let (mut faults, bar) = (Vec::new(), bar(accounts.len() as u64, "reading back"));
    readback::all(door, accounts, letters, readers, patience, |account, listing| {
        bar.inc(1);
        match listing {
            Ok(listing) => {
                back.mailboxes += 1;
                back.messages += listing.messages.len() as u64;
                faults.extend(ledger.audit(account, &listing));
            }
            Err(e) => {
                back.unread += 1;
                if back.unread as usize <= FAULTS_TOLD_MAX {
                    bar.suspend(|| eprintln!("{}: {e}", accounts[account].address));
                }
            }
        }
    });
    bar.finish_and_clear();
    for fault in faults.iter().take(FAULTS_TOLD_MAX) {
        eprintln!("fault: {fault}");
    }
    back.faults = ledger::count(&faults);
    back.wall_s = start.elapsed().as_secs_f64();
    back
}

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn bar(length: u64, what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix:12} {wide_bar} {pos}/{len} {per_sec} {eta}");
    ProgressBar::new(length).with_style(style.expect("the template is lawful")).with_prefix(what)
}

/// The first address of `HOST:PORT`.
pub(crate) fn resolve(text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text.to_socket_addrs().map_err(|e| format!("{text}: {e}"))?;
    addresses.next().ok_or_else(|| format!("{text}: no address"))
}

/// A seed no run had before.
pub(crate) fn clock_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

/// Keeps this thread and those it will start on `cpu`.
pub(crate) fn pin(cpu: usize) -> Result<(), String> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(format!("--pin {cpu}: no such CPU"));
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|e| format!("--pin {cpu}: {e}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::accounts;
    use crate::fake::post::{Post, Vice};
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// Runs the whole command against a server with `vice`; returns whether it was clean and its figures.
    fn accept(vice: Vice, more: &[&str]) -> (bool, serde_json::Value) {
        let folder = tempfile::tempdir().unwrap();
        let accounts = accounts::generate(7, "load.example", 3);
        let file = folder.path().join("accounts");
        let json = folder.path().join("figures.json");
        fs::write(&file, accounts::render(&accounts)).unwrap();
        let post = Post::start(&accounts, vice);
        let (smtp, pop3, imap) = (post.smtp.to_string(), post.pop3.to_string(), post.imap.to_string());
        let mut line = vec!["accept", "--smtp", &smtp, "--pop3", &pop3, "--imap", &imap];
        line.extend(["--accounts", file.to_str().unwrap(), "--json", json.to_str().unwrap()]);
        line.extend(["--connections", "5", "--messages", "90", "--warmup", "10", "--size", "700"]);
        line.extend(more);
        let clean = run(&Line::parse_from(line).args).unwrap();
        (clean, serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap())
    }

    #[test]
    fn an_honest_server_is_clean_by_every_way_in_and_out() {
        for more in
            [&["--read-back", "pop3"][..], &["--read-back", "imap", "--rate", "2000"], &["--connection-per-message"]]
        {
            let (clean, figures) = accept(Vice::None, more);
            assert!(clean, "{more:?}: {figures}");
            assert_eq!(figures["acknowledged"], 90);
            assert_eq!(figures["read_back"]["messages"], 100, "the warm-up is read back too");
            assert!(figures["transaction"]["p50_us"].as_u64().unwrap() > 0);
        }
    }

    #[test]
    fn every_vice_is_found_by_both_readers_and_counted() {
        for (vice, kind) in [
            (Vice::Loses, "missing"),
            (Vice::Doubles, "doubled"),
            (Vice::Alters, "altered"),
            (Vice::Misdelivers, "misdelivered"),
            (Vice::KeepsRefused, "uninvited"),
        ] {
            for door in ["pop3", "imap"] {
                let (clean, figures) = accept(vice, &["--read-back", door]);
                assert!(!clean, "{vice:?} over {door}");
                let faults = figures["read_back"]["faults"].as_object().unwrap();
                assert!(faults.contains_key(kind), "{vice:?} over {door}: {figures}");
                // Every tenth of a hundred; what is misdelivered to its own mailbox is doubled there.
                let found: u64 = faults.values().filter_map(serde_json::Value::as_u64).sum();
                assert_eq!(found, 10, "{vice:?} over {door}: {figures}");
            }
        }
    }

    #[test]
    fn a_port_where_nobody_listens_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("accounts");
        fs::write(&file, "a@b pw\n").unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let line = ["accept", "--accounts", file.to_str().unwrap(), "--smtp", &free];
        assert!(run(&Line::parse_from(line).args).is_err());
    }
}
