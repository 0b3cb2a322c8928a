//! `ringpost-loadtest figures`: all that is promised of receiving, by one command: what was promised beside what was measured.
//!
//! It starts the server itself, for each part anew on a copy of one small store, so that a part owes nothing to the one before:
//!
//! | part | server | what is measured |
//! |---|---|---|
//! | `receive` | one shard, pinned | CPU of a letter: kept connections, new ones, large letters, a mix, TLS; system calls |
//! | `shards` | two shards, pinned; doors on one of them | letters for mailboxes of the other shard against letters for its own, in turn |
//! | `overload` | one shard, held to a part of its core, few places, little memory | what is left of its work at ten times its capacity |
//! | `slow` | one shard, pinned | crowds of slow connections in each phase |
//! | `timing` | one shard | what the time of a refused login tells |
//!
//! Everything is measured `--runs` times, one after the other and not each by itself, so that a noisy minute is shared; of the
//! CPU the middle run is the figure, and all are shown. What `accept` measures is not read back here: `accept` alone does that.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use comfy_table::{ContentArrangement, Table, presets};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use crate::kill::server::{Recipe, Server};
use crate::report::Accept;
use crate::{accept, accounts, overload, slow, timing};

/// Octets of memory that the server of `overload` may hold.
const OVERLOAD_MEMORY_MIB: u64 = 192;
/// Places of its one shard.
const OVERLOAD_PLACES: u32 = 256;
/// Of one core, what it may use, in hundredths.
const OVERLOAD_PERCENT: u32 = 15;

/// Parts, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    Receive,
    Shards,
    Overload,
    Slow,
    Timing,
}

/// Options of `figures`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The server's program, a release build.
    #[arg(long, value_name = "FILE")]
    pub server_binary: PathBuf,
    /// These parts alone.
    #[arg(long = "part", value_enum, value_name = "PART")]
    pub parts: Vec<Part>,
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// Letters of a run; where they are large or few come at a time, a part of that.
    #[arg(long, default_value_t = 30_000)]
    pub messages: u64,
    /// Mailboxes.
    #[arg(long, default_value_t = 1_000)]
    pub mailboxes: usize,
    /// Slow connections in each phase.
    #[arg(long, default_value_t = 2_000)]
    pub slow: usize,
    /// Logins of each kind.
    #[arg(long, default_value_t = 2_000)]
    pub logins: usize,
    /// The CPU of the server's shard.
    #[arg(long, value_name = "CPU", default_value_t = 0)]
    pub server_cpu: usize,
    /// The CPU of this program, and of the second shard.
    #[arg(long, value_name = "CPU", default_value_t = 1)]
    pub client_cpu: usize,
    /// Added to the server's default ports.
    #[arg(long, default_value_t = 21_000, value_parser = clap::value_parser!(u16).range(..=60_000))]
    pub port_offset: u16,
    /// A folder on the disk that is to be measured, which must not exist yet; by default one among the temporary ones. Removed in the end.
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Write the figures here as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: String,
    pub goal: String,
    pub measured: String,
    /// Whether the goal was reached; `None`: there is none.
    pub reached: Option<bool>,
}

/// Measures, and prints the table. `Ok(true)`: every goal was reached.
pub fn run(args: &Args) -> Result<bool, String> {
    let folder = args.folder.clone();
    let folder =
        folder.unwrap_or_else(|| std::env::temp_dir().join(format!("ringpost-figures-{}", std::process::id())));
    fs::create_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let cpus = sched_getaffinity(None).map_err(|e| format!("which CPUs there are: {e}"))?;
    let house = House { args, folder, cpus };
    let figures = house.prepare().and_then(|()| house.measure());
    let removed = fs::remove_dir_all(&house.folder);
    let figures = figures?;
    removed.map_err(|e| format!("{}: {e}", house.folder.display()))?;
    println!("{}", table(&figures));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&figures).map_err(|e| e.to_string())?;
        fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(figures.iter().all(|figure| figure.reached != Some(false)))
}

/// A store to start from, and who starts servers on copies of it.
struct House<'a> {
    args: &'a Args,
    folder: PathBuf,
    /// Where this program could run at first: each part pins it, and a server must not inherit that.
    cpus: CpuSet,
}

/// A server on its copy.
struct Stand {
    server: Server,
    data: PathBuf,
    words: Vec<String>,
}

/// The options of one command, read as its own command line would be.
#[derive(Parser)]
struct Line<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

fn parsed<A: clap::Args>(words: &[String]) -> Result<A, String> {
    let line = Line::<A>::try_parse_from(std::iter::once(&"figures".to_owned()).chain(words));
    line.map(|line| line.args).map_err(|e| e.to_string())
}

impl House<'_> {
    fn accounts(&self) -> PathBuf {
        self.folder.join("accounts")
    }

    fn recipe(&self, data: &Path, more: &[&str]) -> Recipe {
        Recipe {
            binary: self.args.server_binary.clone(),
            data: data.to_owned(),
            port_offset: self.args.port_offset,
            shards: None,
            log: self.folder.join("server.log"),
            more: more.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    /// One volume with all mailboxes, made by a server of one shard.
    fn prepare(&self) -> Result<(), String> {
        let seed = self.folder.join("seed");
        fs::create_dir(&seed).map_err(|e| e.to_string())?;
        // Small hashes: a thousand passwords are set, and none is what is measured.
        fs::write(seed.join("ringpost.toml"), "[login]\nargon2_memory_kib = 7168\n").map_err(|e| e.to_string())?;
        let file = self.accounts();
        let text = accounts::render(&accounts::generate(self.args.mailboxes, "load.example", 1));
        fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
        eprintln!("making {} mailboxes", self.args.mailboxes);
        let recipe = self.recipe(&seed, &["--shards", "1"]);
        let mut server = recipe.start()?;
        recipe.await_desk()?;
        recipe.run(&["domain", "add", "load.example"])?;
        recipe.run(&["account", "add", "--from-file", &file.display().to_string()])?;
        server.stop()
    }

    /// A server on a fresh copy. `settings` are added to its configuration.
    fn stand(&self, settings: &str, more: &[&str]) -> Result<Stand, String> {
        let data = self.folder.join("data");
        let failed = |e: std::io::Error| format!("{}: {e}", data.display());
        if data.exists() {
            fs::remove_dir_all(&data).map_err(failed)?;
        }
        copy(&self.folder.join("seed"), &data).map_err(failed)?;
        let file = data.join("ringpost.toml");
        let had = fs::read_to_string(&file).map_err(failed)?;
        fs::write(&file, had + settings).map_err(failed)?;
        sched_setaffinity(None, &self.cpus).map_err(|e| format!("all CPUs again: {e}"))?;
        let recipe = self.recipe(&data, more);
        let server = recipe.start()?;
        recipe.await_desk()?;
        let doors = server.doors;
        let words =
            ["--smtp", &doors.smtp.to_string(), "--pop3", &doors.pop3.to_string(), "--imap", &doors.imap.to_string()];
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["--accounts".into(), self.accounts().display().to_string()]);
        words.extend(["--data".into(), data.display().to_string()]);
        words.extend(["--server-pid".into(), server.pid().to_string()]);
        Ok(Stand { server, data, words })
    }

    fn measure(&self) -> Result<Vec<Figure>, String> {
        let all = [Part::Receive, Part::Shards, Part::Overload, Part::Slow, Part::Timing];
        let chosen = |part: &Part| self.args.parts.is_empty() || self.args.parts.contains(part);
        let mut figures = Vec::new();
        for part in all.into_iter().filter(chosen) {
            figures.extend(match part {
                Part::Receive => self.receive()?,
                Part::Shards => self.shards()?,
                Part::Overload => self.overload()?,
                Part::Slow => self.slow()?,
                Part::Timing => self.timing()?,
            });
        }
        Ok(figures)
    }

    fn one_shard(&self, settings: &str) -> Result<Stand, String> {
        self.stand(settings, &["--shards", "1", "--pin", &self.args.server_cpu.to_string()])
    }

    fn receive(&self) -> Result<Vec<Figure>, String> {
        let stand = self.one_shard("")?;
        let ca = stand.data.join("tls/cert.pem").display().to_string();
        let pin = self.args.client_cpu.to_string();
        let mut runs: Vec<Vec<Accept>> = KINDS.iter().map(|_| Vec::new()).collect();
        for nth in 0..self.args.runs.max(1) {
            for (kind, runs) in KINDS.iter().zip(&mut runs) {
                let mut words = kind.words.to_vec();
                words.extend(["--pin", &pin]);
                if words.contains(&"--tls") {
                    words.extend(["--ca", &ca]);
                }
                runs.push(self.accept(&stand, self.args.messages / kind.part, &words)?);
                eprintln!(
                    "run {}: {}: {}",
                    nth + 1,
                    kind.name,
                    cpu(runs).last().map_or(String::new(), |us| format!("{us:.1} µs"))
                );
            }
        }
        stand.end()?;
        let mut figures: Vec<Figure> = KINDS.iter().zip(&runs).map(|(kind, runs)| kind.figure(runs)).collect();
        for (name, kind, goal) in
            [("system calls a letter, 64 kept connections", KEPT_64, 1.5), ("the same, 512", KEPT_512, 0.6)]
        {
            let mut calls: Vec<f64> = runs[kind].iter().filter_map(calls).collect();
            let middle = middle(&mut calls);
            figures.push(Figure {
                name: name.into(),
                goal: format!("≤ {goal}"),
                measured: middle.map_or("not gauged".into(), |calls| format!("{calls:.3}")),
                reached: middle.map(|calls| calls <= goal),
            });
        }
        let (plain, under) = (cpu(&runs[KEPT_64]), cpu(&runs[UNDER_TLS]));
        figures.push(ratio("TLS 1.3 on kept connections, 4 KiB, beside plain", 1.25, &under, &plain));
        Ok(figures)
    }

    fn accept(&self, stand: &Stand, messages: u64, more: &[&str]) -> Result<Accept, String> {
        let mut words = stand.words.clone();
        words.extend(["--messages".into(), messages.max(1).to_string()]);
        words.extend(["--warmup".into(), (messages / 10).to_string(), "--read-back".into(), "none".into()]);
        words.extend(more.iter().map(|word| (*word).to_owned()));
        let report = accept::measure(&parsed(&words)?)?;
        if report.clean() { Ok(report) } else { Err(format!("letters were lost or refused:\n{}", report.table())) }
    }

    /// Both in turn, each on a server of its own: only the shard of the door differs.
    fn shards(&self) -> Result<Vec<Figure>, String> {
        let pins = format!("{},{}", self.args.server_cpu, self.args.client_cpu);
        let [mut home, mut away] = [Vec::new(), Vec::new()];
        for nth in 0..self.args.runs.max(1) {
            for (on, found) in [("0", &mut home), ("1", &mut away)] {
                let stand = self.stand("", &["--shards", "2", "--pin", &pins, "--accept-on", on])?;
                found.push(self.accept(&stand, self.args.messages, &["--connections", "64"])?);
                stand.end()?;
                eprintln!("run {}: accepted on shard {on}: {:.1} µs", nth + 1, cpu(found).last().unwrap_or(&0.0));
            }
        }
        Ok(vec![ratio("every recipient on the other shard, beside all at home", 1.4, &cpu(&away), &cpu(&home))])
    }

    fn overload(&self) -> Result<Vec<Figure>, String> {
        let bytes = OVERLOAD_MEMORY_MIB << 20;
        let settings = format!("[limits]\nconnections_max = {OVERLOAD_PLACES}\nmemory_bytes = {bytes}\n");
        let stand = self.one_shard(&settings)?;
        let (pin, hold) = (self.args.client_cpu.to_string(), OVERLOAD_PERCENT.to_string());
        let mut words = stand.words.clone();
        words.extend(["--pin", &pin, "--hold", &hold].map(str::to_owned));
        let args: overload::Args = parsed(&words)?;
        let found = overload::measure(&args)?;
        stand.end()?;
        eprintln!("{}", overload::table(&args, &found));
        let worst = found.rows.iter().filter(|row| row.times.is_some()).map(|row| row.share).fold(1.0, f64::min);
        let most = found.rows.iter().filter_map(|row| row.memory_bytes_max).max();
        let whole = found.read_back.as_ref().is_some_and(crate::report::ReadBack::is_whole);
        let shares = found.rows.iter().map(|row| {
            let times = row.times.map_or("as served".into(), |times| format!("{times} ×"));
            let refused: u64 = row.refused.values().sum();
            format!(
                "{times}: {:.0}/s of {:.0} offered, {:.0} %, {refused} refused, p99 {:.0} ms",
                row.goodput_per_s,
                row.offered_per_s,
                row.share * 100.0,
                row.accepted_latency.p99_us as f64 / 1e3
            )
        });
        Ok(vec![
            Figure {
                name: format!("letters acknowledged at up to ten times capacity, {OVERLOAD_PERCENT} % of a core"),
                goal: "≥ 90 % of the best".into(),
                measured: shares.collect::<Vec<_>>().join("; "),
                reached: Some(worst >= 0.9 && whole),
            },
            Figure {
                name: "memory meanwhile".into(),
                goal: format!("≤ {OVERLOAD_MEMORY_MIB} MiB, as configured"),
                measured: most
                    .map_or("not gauged".into(), |most| format!("{:.1} MiB", most as f64 / f64::from(1 << 20))),
                reached: most.map(|most| most <= bytes),
            },
        ])
    }

    fn slow(&self) -> Result<Vec<Figure>, String> {
        let stand = self.one_shard("")?;
        // It knows no mailboxes to read.
        let mut words = stand.words[..2].to_vec();
        words.extend_from_slice(&stand.words[6..]);
        words.extend(["--slow".into(), self.args.slow.to_string(), "--pin".into(), self.args.client_cpu.to_string()]);
        let args: slow::Args = parsed(&words)?;
        let found = slow::measure(&args)?;
        stand.end()?;
        eprintln!("{}", slow::table(&args, &found));
        let crowds = || found.iter().filter(|beside| beside.phase != "none");
        let worst = crowds().map(|beside| beside.ratio).fold(0.0, f64::max);
        let ratios: Vec<String> = crowds().map(|beside| format!("{} {:.2}", beside.phase, beside.ratio)).collect();
        let failed = found.iter().any(|beside| beside.letters[1] > 0);
        Ok(vec![Figure {
            name: format!("p99 of honest senders beside {} slow connections, against their p99 alone", self.args.slow),
            goal: "≤ 2 × in each phase".into(),
            measured: ratios.join(", "),
            reached: Some(worst <= 2.0 && !failed),
        }])
    }

    fn timing(&self) -> Result<Vec<Figure>, String> {
        let stand = self.one_shard("")?;
        let doors = stand.server.doors;
        let mut submission = doors.smtp;
        submission.set_port(2_587 + self.args.port_offset);
        let words = ["--submission", &submission.to_string(), "--imap", &doors.imap.to_string()].map(str::to_owned);
        let more = ["--pop3", &doors.pop3.to_string(), "--accounts", &self.accounts().display().to_string()]
            .map(str::to_owned);
        let logins = ["--logins".to_owned(), self.args.logins.to_string()];
        let well = timing::run(&parsed(&[&words[..], &more, &logins].concat())?)?;
        stand.end()?;
        Ok(vec![Figure {
            name: format!("Welch's t of {} refused logins, names that exist and names that do not", self.args.logins),
            goal: "|t| < 4.5, every protocol".into(),
            measured: if well { "kept everywhere (the table above)" } else { "NOT kept (the table above)" }.into(),
            reached: Some(well),
        }])
    }
}

impl Stand {
    fn end(mut self) -> Result<(), String> {
        self.server.stop()
    }
}

/// A way to bring letters.
struct Kind {
    name: &'static str,
    words: &'static [&'static str],
    /// This part of the letters.
    part: u64,
    /// CPU of a letter, µs.
    goal: Option<f64>,
}

const KEPT_64: usize = 0;
const KEPT_512: usize = 2;
const UNDER_TLS: usize = 8;
const KINDS: [Kind; 9] = [
    Kind { name: "4 KiB, 64 kept connections", words: &["--connections", "64"], part: 1, goal: Some(60.0) },
    Kind { name: "4 KiB, 256 kept connections", words: &["--connections", "256"], part: 1, goal: Some(45.0) },
    Kind { name: "4 KiB, 512 kept connections", words: &["--connections", "512"], part: 1, goal: None },
    Kind { name: "4 KiB, 1 connection", words: &["--connections", "1"], part: 10, goal: None },
    Kind { name: "4 KiB, 8 kept connections", words: &["--connections", "8"], part: 3, goal: None },
    Kind {
        name: "4 KiB, a new connection each, 64 at a time",
        words: &["--connections", "64", "--connection-per-message"],
        part: 2,
        goal: Some(150.0),
    },
    Kind {
        name: "64 KiB, 64 kept connections",
        words: &["--connections", "64", "--size", "65536"],
        part: 5,
        goal: Some(160.0),
    },
    Kind { name: "15 KiB mix with MIME, 64 kept", words: &["--connections", "64", "--mix"], part: 2, goal: Some(90.0) },
    Kind {
        name: "4 KiB under TLS 1.3, 64 kept",
        words: &["--connections", "64", "--tls", "starttls"],
        part: 1,
        goal: None,
    },
];

impl Kind {
    fn figure(&self, runs: &[Accept]) -> Figure {
        let all = cpu(runs);
        let middle = middle(&mut all.clone());
        let each: Vec<String> = all.iter().map(|us| format!("{us:.1}")).collect();
        // The middle one by rate tells of the others.
        let mut by_rate: Vec<&Accept> = runs.iter().collect();
        by_rate.sort_by(|a, b| a.messages_per_s.total_cmp(&b.messages_per_s));
        let one = by_rate[by_rate.len() / 2];
        let ms = |us: u64| us as f64 / 1e3;
        Figure {
            name: self.name.into(),
            goal: self.goal.map_or("–".into(), |goal| format!("≤ {goal:.0} µs")),
            measured: format!(
                "{} ({}); {:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
                middle.map_or("not gauged".into(), |us| format!("{us:.1} µs")),
                each.join(" "),
                one.messages_per_s,
                ms(one.transaction.p50_us),
                ms(one.transaction.p99_us)
            ),
            reached: middle.zip(self.goal).map(|(us, goal)| us <= goal),
        }
    }
}

fn cpu(runs: &[Accept]) -> Vec<f64> {
    runs.iter().filter_map(|run| run.server_cpu_us_per_message).collect()
}

fn calls(run: &Accept) -> Option<f64> {
    run.spent.trace_calls.map(|calls| calls as f64 / run.acknowledged.max(1) as f64)
}

/// The one in the middle, if there is any.
fn middle(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// What one costs beside the other, run by run; the one in the middle counts.
fn ratio(name: &str, goal: f64, these: &[f64], those: &[f64]) -> Figure {
    let each: Vec<f64> = these.iter().zip(those).map(|(this, that)| this / that).collect();
    let shown: Vec<String> = each.iter().map(|ratio| format!("{ratio:.2}")).collect();
    let middle = middle(&mut each.clone());
    Figure {
        name: name.into(),
        goal: format!("≤ {goal} × CPU"),
        measured: middle.map_or("not gauged".into(), |ratio| format!("{ratio:.2} × ({})", shown.join(" "))),
        reached: middle.map(|ratio| ratio <= goal),
    }
}

fn table(figures: &[Figure]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["figure", "goal", "measured", ""]);
    for Figure { name, goal, measured, reached } in figures {
        let word = match reached {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "",
        };
        table.add_row([name, goal, measured, word]);
    }
    table.to_string()
}

/// A folder with all that is in it, sockets left out.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &path)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_runs_that_were_beside_each_other() {
        let found = ratio("x", 1.4, &[13.0, 30.0, 12.0], &[10.0, 20.0, 10.0]);
        assert_eq!((found.measured.as_str(), found.reached), ("1.30 × (1.30 1.50 1.20)", Some(true)));
        assert_eq!(ratio("x", 1.2, &[13.0], &[10.0]).reached, Some(false));
        assert_eq!(ratio("x", 1.2, &[], &[]).reached, None);
    }

    #[test]
    fn the_kinds_are_where_their_names_say_and_their_options_are_lawful() {
        assert!(KINDS[KEPT_64].name.contains("64 kept") && KINDS[KEPT_512].name.contains("512"));
        assert!(KINDS[UNDER_TLS].words.contains(&"--tls"));
        for kind in &KINDS {
            let mut words: Vec<String> = kind.words.iter().map(|word| (*word).to_owned()).collect();
            words.extend(["--accounts", "x", "--ca", "y"].map(str::to_owned));
            parsed::<accept::Args>(&words).unwrap();
        }
    }

    #[test]
    fn a_store_is_copied_with_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir_all(from.join("volume")).unwrap();
        fs::write(from.join("volume/segment"), "octets").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("admin.sock")).unwrap();
        copy(&from, &folder.path().join("to")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("to/volume/segment")).unwrap(), "octets");
        assert!(!folder.path().join("to/admin.sock").exists());
    }
}
