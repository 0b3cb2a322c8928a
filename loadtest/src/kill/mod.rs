//! `ringpost-loadtest kill`: SIGKILL under load, again and again, and a ledger that forgets nothing.
//!
//! One round: start the server; read every mailbox and hold it against the ledger; log a crowd in; let it
//! send, append, flag, expunge and read; kill after a random while; write down what each worker knew. After
//! the last round everything is read whole over both IMAP and POP3, the server is stopped in order, started
//! once more and read again.
//!
//! The page cache outlives a killed process, so this does **not** test fsync; it tests that what is said is
//! said after the write, that recovery keeps it, and that identities survive (see the power-cut tests for
//! the rest). The plan follows from `--seed`; the timing of a real machine does not.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

mod crowd;
mod server;
#[cfg(test)]
mod tests;

use crate::accept::{bar, clock_seed};
use crate::accounts::{self, Account};
use crate::ledger::{self, Fault, Kind, Ledger};
use crate::letter::Letters;
use crate::readback::{self, Door};
use crowd::{Event, Part, Stage};
use server::{Doors, Recipe, Server};

const DOMAIN: &str = "load.example";
/// Sizes of the letters, bytes, mixed evenly.
const SIZES_BYTES: [usize; 6] = [600, 1_500, 4_096, 4_097, 20_000, 70_000];
/// Faults told one by one. The rest is counted.
const TOLD_MAX: usize = 20;
/// All bodies are read again every so many rounds; in between only those of new messages.
const WHOLE_EVERY: u32 = 10;

/// Options of `kill`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The `ringpost` binary.
    #[arg(long, value_name = "PATH")]
    pub server_binary: PathBuf,
    /// Rounds.
    #[arg(long, default_value_t = 50)]
    pub kills: u32,
    /// Shards of the server; by default its own choice.
    #[arg(long)]
    pub shards: Option<u32>,
    /// Added to the server's default ports.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u16).range(..=60_000))]
    pub port_offset: u16,
    /// The store, which must not exist yet; by default a folder among the temporary ones, removed when all is well.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Mailboxes.
    #[arg(long, default_value_t = 12)]
    pub accounts: usize,
    /// SMTP connections.
    #[arg(long, default_value_t = 6)]
    pub senders: usize,
    /// The kill comes this many milliseconds after the load began, at the earliest.
    #[arg(long, default_value_t = 5)]
    pub after_ms_min: u64,
    /// And at the latest.
    #[arg(long, default_value_t = 500)]
    pub after_ms_max: u64,
    /// The plan follows from it; by default from the clock.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Write the summary here as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// More options for `ringpost serve`.
    #[arg(last = true)]
    pub serve_options: Vec<String>,
}

/// What the rounds came to.
#[derive(Debug, Default, Serialize)]
struct Summary {
    seed: u64,
    kills: u32,
    /// Copies acknowledged, cut off, refused, over all rounds.
    acknowledged: u64,
    unknown: u64,
    refused: u64,
    shown: u64,
    flagged: u64,
    expunged: u64,
    /// Copies that must be there at the end, and copies expunged for good.
    there: u64,
    gone: u64,
    start_ms_p50: u64,
    start_ms_max: u64,
    faults: BTreeMap<Kind, u64>,
    /// Replies no server may give.
    broken: u64,
    refusals: BTreeMap<String, u64>,
    wall_s: f64,
}

struct Run<'a> {
    accounts: &'a [Account],
    letters: &'a Letters,
    ledger: Ledger,
    summary: Summary,
    next: AtomicU64,
    told: usize,
}

/// Runs the rounds. `Ok(true)`: nothing was broken. `Err`: the server could not be started or set up.
pub fn run(args: &Args) -> Result<bool, String> {
    let seed = args.seed.unwrap_or_else(clock_seed);
    let own = args.data.is_none();
    let home = args.data.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("ringpost-kill-{seed:016x}")));
    fs::create_dir(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    let recipe = Recipe {
        binary: args.server_binary.clone(),
        data: home.join("data"),
        port_offset: args.port_offset,
        shards: args.shards,
        log: home.join("server.log"),
        more: args.serve_options.clone(),
    };
    let accounts = accounts::generate(args.accounts.max(4), DOMAIN, seed);
    let letters = Letters::new(seed, &SIZES_BYTES).map_err(|e| e.to_string())?;
    println!("seed {seed}, store and server log in {}", home.display());

    let mut run = Run {
        accounts: &accounts,
        letters: &letters,
        ledger: Ledger::new(accounts.len(), true),
        summary: Summary { seed, kills: args.kills, ..Summary::default() },
        next: AtomicU64::new(0),
        told: 0,
    };
    let began = Instant::now();
    let mut starts = Vec::new();
    let mut server = set_up(&recipe, &accounts, &home)?;
    let bar = bar(u64::from(args.kills), "kills");
    for round in 0..args.kills {
        let mut chance = StdRng::seed_from_u64(seed ^ (u64::from(round) << 32));
        run.audit(server.doors, round % WHOLE_EVERY == 0);
        let after = chance.random_range(args.after_ms_min..=args.after_ms_max.max(args.after_ms_min));
        let parts = run.parts(args.senders, &mut chance);
        let doors = server.doors;
        let events = run.round(doors, &parts, chance.random(), || {
            std::thread::sleep(Duration::from_millis(after));
            server.kill();
        });
        run.record(events);
        server = recipe.start()?;
        starts.push(server.start.as_millis() as u64);
        bar.inc(1);
    }
    bar.finish_and_clear();
    run.audit(server.doors, true);
    run.audit_pop3(server.doors);
    for last in [false, true] {
        if let Err(why) = server.stop() {
            run.summary.broken += 1;
            run.tell(&format!("broken: {why}"));
        }
        if !last {
            server = recipe.start()?;
            run.audit(server.doors, true);
        }
    }

    starts.sort_unstable();
    let mut summary = run.summary;
    (summary.there, _, summary.gone) = run.ledger.census();
    summary.start_ms_p50 = starts.get(starts.len() / 2).copied().unwrap_or(0);
    summary.start_ms_max = starts.last().copied().unwrap_or(0);
    summary.wall_s = began.elapsed().as_secs_f64();
    println!("{}", summary.table());
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&summary).map_err(|e| e.to_string())?;
        fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let well = summary.faults.is_empty() && summary.broken == 0;
    if own && well {
        fs::remove_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    }
    Ok(well)
}

/// The first start, with domain and accounts.
fn set_up(recipe: &Recipe, accounts: &[Account], home: &std::path::Path) -> Result<Server, String> {
    let server = recipe.start()?;
    recipe.await_desk()?;
    let file = home.join("accounts");
    fs::write(&file, accounts::render(accounts)).map_err(|e| format!("{}: {e}", file.display()))?;
    recipe.run(&["domain", "add", DOMAIN])?;
    let file = file.to_str().ok_or("the store's path is not UTF-8")?;
    recipe.run(&["account", "add", "--from-file", file])?;
    Ok(server)
}

impl Run<'_> {
    /// Who does what in a round. Editors have accounts of their own to edit; mail goes to all.
    fn parts(&self, senders: usize, chance: &mut StdRng) -> Vec<Part> {
        let mut pick = || chance.random_range(0..self.accounts.len());
        let (appender, reader, pop3) = (pick(), pick(), pick());
        let (editor, second) = (pick(), pick());
        let uids = |account| self.ledger.uids(account).collect::<Vec<_>>();
        let mut parts = vec![Part::Sender; senders.max(1)];
        parts.push(Part::Appender { account: appender });
        parts.push(Part::Editor { account: editor, uids: uids(editor) });
        if second != editor {
            parts.push(Part::Editor { account: second, uids: uids(second) });
        }
        parts.push(Part::ImapReader { account: reader });
        parts.push(Part::Pop3Reader { account: pop3 });
        parts
    }

    /// Lets the crowd loose, then calls `kill`, and waits until every worker has noticed.
    fn round(&self, doors: Doors, parts: &[Part], seed: u64, kill: impl FnOnce()) -> Vec<Event> {
        let start = Barrier::new(parts.len() + 1);
        let stage = Stage {
            doors,
            accounts: self.accounts,
            letters: self.letters,
            next: &self.next,
            start: &start,
            patience: Duration::from_secs(30),
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..)
                .zip(parts)
                .map(|(i, part)| {
                    let stage = &stage;
                    scope.spawn(move || stage.play(part, seed.wrapping_add(i)))
                })
                .collect();
            start.wait();
            kill();
            workers.into_iter().flat_map(|w| w.join().expect("no worker panics")).collect()
        })
    }

    /// Sendings first: a reader may have been shown a letter before its sender knew.
    fn record(&mut self, events: Vec<Event>) {
        let (sent, rest): (Vec<_>, Vec<_>) = events.into_iter().partition(|e| matches!(e, Event::Sent { .. }));
        let mut faults = Vec::new();
        for event in sent.into_iter().chain(rest) {
            let (ledger, summary) = (&mut self.ledger, &mut self.summary);
            match event {
                Event::Sent { account, n, outcome, uid } => {
                    ledger.sent(account, n, outcome, uid);
                    *match outcome {
                        ledger::Outcome::Acknowledged => &mut summary.acknowledged,
                        ledger::Outcome::Refused => &mut summary.refused,
                        ledger::Outcome::Unknown => &mut summary.unknown,
                    } += 1;
                }
                Event::Shown { account, n, uid } => {
                    summary.shown += 1;
                    faults.extend(ledger.shown(account, n, uid));
                }
                Event::Flagged { account, uid, done } => {
                    summary.flagged += 1;
                    ledger.flagged(account, uid, done);
                }
                Event::Deleted { account, uid, done } => ledger.deleted(account, uid, done),
                Event::Expunged { account, done } => {
                    summary.expunged += 1;
                    ledger.expunged(account, done);
                }
                Event::Refusal(text) => *summary.refusals.entry(text).or_default() += 1,
                Event::Broken(text) => {
                    summary.broken += 1;
                    self.tell(&format!("broken: {text}"));
                }
            }
        }
        self.keep(&faults);
    }

    fn audit(&mut self, doors: Doors, whole: bool) {
        let (patience, imap) = (Duration::from_secs(120), doors.imap);
        for index in 0..self.accounts.len() {
            let after = if whole { 0 } else { self.ledger.uid_max(index) };
            match readback::by_imap(imap, &self.accounts[index], self.letters, after, patience) {
                Ok(listing) => {
                    let faults = self.ledger.audit(index, &listing);
                    self.keep(&faults);
                }
                Err(e) => self.unread(index, &e.to_string()),
            }
        }
    }

    fn audit_pop3(&mut self, doors: Doors) {
        let door = Door::Pop3(doors.pop3);
        for index in 0..self.accounts.len() {
            match readback::mailbox(door, &self.accounts[index], self.letters, Duration::from_secs(120)) {
                Ok(listing) => {
                    let faults = self.ledger.audit(index, &listing);
                    self.keep(&faults);
                }
                Err(e) => self.unread(index, &e.to_string()),
            }
        }
    }

    fn unread(&mut self, account: usize, why: &str) {
        self.summary.broken += 1;
        let address = &self.accounts[account].address;
        self.tell(&format!("broken: {address} cannot be read: {why}"));
    }

    fn keep(&mut self, faults: &[Fault]) {
        for (kind, count) in ledger::count(faults) {
            *self.summary.faults.entry(kind).or_default() += count;
        }
        for fault in faults {
            self.tell(&format!("fault: {fault}"));
        }
    }

    fn tell(&mut self, text: &str) {
        self.told += 1;
        if self.told <= TOLD_MAX {
            eprintln!("{text}");
        }
    }
}

impl Summary {
    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header(["kill loop", "count"]);
        let rows = [
            ("kills", u64::from(self.kills)),
            ("copies acknowledged", self.acknowledged),
            ("copies cut off", self.unknown),
            ("copies refused or cut before the dot", self.refused),
            ("copies shown to readers", self.shown),
            ("flags stored", self.flagged),
            ("expunges", self.expunged),
            ("copies there at the end", self.there),
            ("copies expunged for good", self.gone),
            ("start to greetings, ms, p50", self.start_ms_p50),
            ("start to greetings, ms, max", self.start_ms_max),
            ("replies no server may give", self.broken),
            ("broken promises", self.faults.values().sum()),
        ];
        for (name, value) in rows {
            table.add_row([name.to_owned(), value.to_string()]);
        }
        for (kind, count) in &self.faults {
            table.add_row([format!("  {kind:?}"), count.to_string()]);
        }
        for (text, count) in &self.refusals {
            table.add_row([format!("refusal: {}", text.chars().take(80).collect::<String>()), count.to_string()]);
        }
        table.to_string()
    }
}
