//! `ringpost-loadtest overload`: what is left of a server's work when far more comes than it can do.
//!
//! First senders who each bring one letter over a connection of their own come as fast as they are served (closed loop): that rate is
//! its capacity. Then they come by a schedule, at so many times that (open loop), and the table says how many letters a second
//! were acknowledged, what part of the best rate that is, who was refused with what, how long it took, and the most memory that the
//! server held. At the end every mailbox is read: what was acknowledged is there, once, unaltered; what was refused is not.
//!
//! *Offered* is what this program really connected. Where that is less than was asked for, it was this program that could not, or
//! the connections that it holds at once had run out (`--outstanding`), which the table says.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::accept::{How, bar, clock_seed, read_back, resolve};
use crate::arrivals::{Arrivals, Gaps};
use crate::flood::{Flood, Pace, Plan, Wave};
use crate::gauge::hold::Hold;
use crate::gauge::{Spent, memory};
use crate::ledger::Ledger;
use crate::letter::Letters;
use crate::report::{Latency, ReadBack};
use crate::subject::Subject;

/// This part of each wave is passed over: the server finds its pace.
const RAMP: u32 = 5;

/// Options of `overload`.
#[derive(clap::Args, Clone, Debug)]
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
    /// Octets of a letter.
    #[arg(long, default_value_t = 4_096)]
    pub size: usize,
    /// Senders at once while the capacity is found.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// How many times the capacity is offered, one wave after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 2.0, 5.0, 10.0])]
    pub times: Vec<f64>,
    /// This rate instead of a capacity that is found first, letters a second.
    #[arg(long, value_name = "PER_SECOND")]
    pub capacity: Option<f64>,
    /// How letters fall due.
    #[arg(long, value_enum, default_value_t = Gaps::Poisson)]
    pub gaps: Gaps,
    /// How long each wave lasts, seconds; its first fifth is passed over.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Connections at once. More are not opened, and counted.
    #[arg(long, default_value_t = 8_000)]
    pub outstanding: usize,
    /// The server is held to so many hundredths of a core meanwhile (a control group of ours, for root), so that this program can
    /// offer ten times what it can do.
    #[arg(long, value_name = "PERCENT", requires = "server_pid", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub hold: Option<u64>,
    /// Letters and schedules are made from it; by default from the clock.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How everything is read back.
    #[arg(long, value_enum, default_value_t = How::Pop3)]
    pub read_back: How,
    /// Threads that read back.
    #[arg(long, default_value_t = 4)]
    pub readers: usize,
    /// Fail if in any wave less than this part of the best rate is left.
    #[arg(long, value_name = "PART")]
    pub min_share: Option<f64>,
    /// Fail if the server ever held more resident memory, MiB.
    #[arg(long, value_name = "MIB")]
    pub max_memory_mib: Option<u64>,
}

/// What one wave came to.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// How many times the capacity was asked for; `None`: as fast as they were served.
    pub times: Option<f64>,
    pub asked_per_s: Option<f64>,
    pub offered_per_s: f64,
    /// Letters acknowledged a second, the wave's first part passed over.
    pub goodput_per_s: f64,
    /// Of the best goodput of all waves.
    pub share: f64,
    pub accepted: u64,
    pub refused: BTreeMap<u16, u64>,
    pub closed: u64,
    pub impatient: u64,
    pub unsent: u64,
    pub strange: u64,
    pub accepted_latency: Latency,
    pub refused_latency: Latency,
    /// The most resident memory of the server, octets.
    pub memory_bytes_max: Option<u64>,
    pub spent: Spent,
}

/// All figures.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub size_bytes: usize,
    pub capacity_per_s: f64,
    pub rows: Vec<Row>,
    pub read_back: Option<ReadBack>,
    pub remarks: Vec<String>,
}

/// Runs the waves and prints what they came to. `Ok(true)`: no promise was broken, and the bounds were kept that were asked for.
pub fn run(args: &Args) -> Result<bool, String> {
    let figures = measure(args)?;
    println!("{}", table(args, &figures));
    args.subject.keep(&figures)?;
    Ok(figures.keep(args))
}

/// Runs the waves.
pub(crate) fn measure(args: &Args) -> Result<Figures, String> {
    let lawful = |x: f64| x > 0.0 && x.is_finite();
    if !lawful(args.seconds) || !args.times.iter().copied().all(lawful) || !args.capacity.is_none_or(lawful) {
        return Err("--seconds, --times, --capacity: more than nothing, please".into());
    }
    let accounts = args.subject.begin()?;
    let seed = args.seed.unwrap_or_else(clock_seed);
    let letters = Letters::new(seed, &[args.size]).map_err(|e| format!("--size: {e}"))?;
    let mut gauge = args.subject.gauge();
    let server_pid = args.subject.server_pid;
    let hold = server_pid.zip(args.hold).map(|(pid, percent)| Hold::make(pid, percent));
    let hold = hold.transpose().map_err(|e| format!("--hold: {e}"))?;
    let plan = Plan {
        server: resolve(&args.smtp)?,
        letters: &letters,
        accounts: &accounts,
        outstanding_max: args.outstanding.max(args.connections),
        patience: args.subject.patience(),
    };
    let failed = |e: std::io::Error| format!("{}: {e}", args.smtp);
    let mut flood = Flood::new(plan).map_err(failed)?;
    let lasts = Duration::from_secs_f64(args.seconds);
    let bar = bar(args.times.len() as u64 + 1, "waves");
    let mut rows: Vec<Row> = Vec::new();
    let mut wave = |times: Option<f64>, asked_per_s: Option<f64>, pace: Pace| -> Result<f64, String> {
        let mut most = None;
        let before = gauge.read();
        let wave = flood.wave(pace, lasts, lasts / RAMP, || {
            gauge.tick();
            most = most.max(server_pid.and_then(|pid| memory::resident_bytes(pid).ok()));
        });
        let spent = gauge.read().since(&before);
        let row = row(times, asked_per_s, &wave.map_err(failed)?, lasts, most, spent);
        bar.inc(1);
        let goodput = row.goodput_per_s;
        rows.push(row);
        Ok(goodput)
    };
    let capacity = match args.capacity {
        Some(capacity) => capacity,
        None => wave(None, None, Pace::Closed(args.connections.max(1)))?,
    };
    if capacity <= 0.0 {
        return Err(format!("{}: no letter was acknowledged, so there is nothing to take times of", args.smtp));
    }
    for (nth, times) in (1..).zip(&args.times) {
        let arrivals = Arrivals::new(args.gaps, capacity * times, seed.wrapping_add(nth));
        wave(Some(*times), Some(capacity * times), Pace::Open(arrivals))?;
    }
    bar.finish_and_clear();
    drop(hold);
    for text in &flood.told {
        eprintln!("failure: {text}");
    }

    let mut ledger = Ledger::new(accounts.len(), false);
    for (n, &outcome) in (0..).zip(&flood.outcomes) {
        ledger.sent(flood.account(n), n, outcome, None);
    }
    let door = args.read_back.door(&args.pop3, &args.imap)?;
    let read_back = door.map(|door| read_back(door, &accounts, &letters, &mut ledger, args.readers, plan.patience));

    let best = rows.iter().map(|row| row.goodput_per_s).fold(0.0, f64::max);
    rows.iter_mut().for_each(|row| row.share = row.goodput_per_s / best);
    let (size_bytes, remarks) = (args.size, std::mem::take(&mut gauge.remarks));
    Ok(Figures { size_bytes, capacity_per_s: capacity, rows, read_back, remarks })
}

impl Figures {
    fn keep(&self, args: &Args) -> bool {
        let kept = |row: &Row| {
            let memory = args.max_memory_mib.map(|mib| mib << 20).zip(row.memory_bytes_max);
            row.strange == 0
                && args.min_share.is_none_or(|least| row.share >= least)
                && memory.is_none_or(|(most, held)| held <= most)
        };
        self.rows.iter().all(kept) && self.read_back.as_ref().is_none_or(ReadBack::is_whole)
    }
}

fn row(
    times: Option<f64>,
    asked_per_s: Option<f64>,
    wave: &Wave,
    lasts: Duration,
    memory_bytes_max: Option<u64>,
    spent: Spent,
) -> Row {
    Row {
        times,
        asked_per_s,
        offered_per_s: wave.opened as f64 / lasts.as_secs_f64(),
        goodput_per_s: wave.accepted_within as f64 / wave.within_s,
        share: 0.0,
        accepted: wave.accepted,
        refused: wave.refused.clone(),
        closed: wave.closed,
        impatient: wave.impatient,
        unsent: wave.unsent,
        strange: wave.strange,
        accepted_latency: Latency::of(&wave.accepted_us),
        refused_latency: Latency::of(&wave.refused_us),
        memory_bytes_max,
        spent,
    }
}

pub(crate) fn table(args: &Args, figures: &Figures) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "offered",
        "asked/s",
        "offered/s",
        "letters/s",
        "of the best",
        "refused, by code",
        "closed",
        "gone",
        "unsent",
        "250: p50, p99 ms",
        "4xx: p50, p99 ms",
        "memory MiB",
        "server CPU s",
        "client CPU s",
    ]);
    let ms = |l: &Latency| format!("{:.1}, {:.1}", l.p50_us as f64 / 1e3, l.p99_us as f64 / 1e3);
    for row in &figures.rows {
        let refused: Vec<String> = row.refused.iter().map(|(code, count)| format!("{code}: {count}")).collect();
        table.add_row([
            row.times.map_or("as served".into(), |times| format!("{times} ×")),
            row.asked_per_s.map_or("-".into(), |rate| format!("{rate:.0}")),
            format!("{:.0}", row.offered_per_s),
            format!("{:.0}", row.goodput_per_s),
            format!("{:.1} %", row.share * 100.0),
            if refused.is_empty() { "-".into() } else { refused.join(", ") },
            row.closed.to_string(),
            row.impatient.to_string(),
            row.unsent.to_string(),
            ms(&row.accepted_latency),
            if refused.is_empty() { "-".into() } else { ms(&row.refused_latency) },
            row.memory_bytes_max.map_or("-".into(), |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20))),
            row.spent.server_cpu_ns.map_or("-".into(), |ns| format!("{:.2}", ns as f64 / 1e9)),
            format!("{:.2}", row.spent.client_cpu_ns as f64 / 1e9),
        ]);
    }
    let mut text = format!(
        "letters of {} octets, a connection each, waves of {} s, {} connections at most{}\n{table}",
        args.size,
        args.seconds,
        args.outstanding,
        args.hold.map_or(String::new(), |percent| format!(", the server held to {percent} % of a core")),
    );
    if let Some(back) = &figures.read_back {
        text.push_str(&format!("\nread back: {}, {}", back.verdict(), back.how()));
    }
    for remark in &figures.remarks {
        text.push_str(&format!("\nnot gauged: {remark}"));
    }
    text
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

    fn overload(vice: Vice, more: &[&str]) -> (bool, serde_json::Value) {
        let folder = tempfile::tempdir().unwrap();
        let accounts = accounts::generate(7, "load.example", 3);
        let (file, json) = (folder.path().join("accounts"), folder.path().join("figures.json"));
        fs::write(&file, accounts::render(&accounts)).unwrap();
        let post = Post::start(&accounts, vice);
        let (smtp, pop3, imap) = (post.smtp.to_string(), post.pop3.to_string(), post.imap.to_string());
        let mut line = vec!["overload", "--smtp", &smtp, "--pop3", &pop3, "--imap", &imap];
        line.extend(["--accounts", file.to_str().unwrap(), "--json", json.to_str().unwrap()]);
        line.extend(["--size", "700", "--seconds", "0.4", "--connections", "2"]);
        line.extend(more);
        let clean = run(&Line::parse_from(line).args).unwrap();
        (clean, serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap())
    }

    #[test]
    fn every_sender_is_accounted_for_and_every_letter_read_back() {
        let (clean, figures) = overload(Vice::None, &["--times", "0.5,1"]);
        assert!(clean, "{figures}");
        let rows = figures["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 3);
        let accepted: u64 = rows.iter().map(|row| row["accepted"].as_u64().unwrap()).sum();
        assert_eq!(figures["read_back"]["messages"], accepted);
        assert!(rows[0]["times"].is_null() && rows[0]["goodput_per_s"].as_f64().unwrap() > 0.0);
        assert!(rows.iter().any(|row| row["share"] == 1.0), "one of them is the best");
    }

    #[test]
    fn who_finds_no_room_here_is_counted_and_no_share_is_a_failure() {
        let more = ["--capacity", "20000", "--times", "1", "--outstanding", "2", "--min-share", "1.1"];
        let (kept, figures) = overload(Vice::None, &more);
        let row = &figures["rows"][0];
        assert!(row["unsent"].as_u64().unwrap() > 0, "{figures}");
        assert!(row["offered_per_s"].as_f64().unwrap() < row["asked_per_s"].as_f64().unwrap());
        assert!(!kept);
    }

    #[test]
    fn refusals_are_counted_by_code_and_lies_are_found() {
        let (clean, figures) = overload(Vice::KeepsRefused, &["--times", "1"]);
        assert!(figures["rows"][0]["refused"]["550"].as_u64().unwrap() > 0, "{figures}");
        assert!(!clean && figures["read_back"]["faults"]["uninvited"].as_u64().unwrap() > 0);
        let (clean, figures) = overload(Vice::Loses, &["--times", "1"]);
        assert!(!clean && figures["read_back"]["faults"]["missing"].as_u64().unwrap() > 0, "{figures}");
    }
}
