//! Rounds of load that end without warning, and the ledger that is held against what is there afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::crowd::{Event, Part, Stage};
use super::entry;
use super::server::{Doors, Recipe, Server};
use crate::accept::bar;
use crate::accounts::{self, Account};
use crate::ledger::{self, Fault, Kind, Ledger};
use crate::letter::Letters;
use crate::readback::{self, Door};

pub(crate) const DOMAIN: &str = "load.example";
/// Sizes of the letters, bytes, mixed evenly.
pub(crate) const SIZES_BYTES: [usize; 6] = [600, 1_500, 4_096, 4_097, 20_000, 70_000];
/// Faults told one by one. The rest is counted.
const TOLD_MAX: usize = 20;
/// All bodies are read again every so many rounds; in between only those of new messages.
const WHOLE_EVERY: u32 = 10;

/// What the server stands on: how a round ends, and what comes before the next.
pub(crate) trait Ground {
    /// Ends the server without warning, and whatever goes with it.
    fn end(&mut self, server: &mut Server);

    /// Makes it fit for the next start.
    fn mend(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// What was not as it has to be.
    fn amiss(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// What it has to tell of itself.
    fn told(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::new()
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub campaign: &'static str,
    pub seed: u64,
    pub rounds: u32,
    /// Mailboxes.
    pub accounts: usize,
    /// SMTP connections.
    pub senders: usize,
    /// The end comes so many milliseconds after the load began, at the earliest and at the latest.
    pub after_ms: (u64, u64),
}

/// What the rounds came to.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    campaign: &'static str,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs: Option<&'static str>,
    rounds: u32,
    /// Copies acknowledged, cut off, refused, over all rounds.
    pub acknowledged: u64,
    unknown: u64,
    refused: u64,
    pub shown: u64,
    pub flagged: u64,
    expunged: u64,
    /// Copies that must be there at the end, and copies expunged for good.
    there: u64,
    gone: u64,
    start_ms_p50: u64,
    start_ms_max: u64,
    pub faults: BTreeMap<Kind, u64>,
    /// Replies no server may give.
    pub broken: u64,
    refusals: BTreeMap<String, u64>,
    pub wall_s: f64,
    /// What the ground has to tell of itself.
    #[serde(flatten)]
    pub ground: BTreeMap<&'static str, u64>,
}

pub(crate) struct Run<'a> {
    plan: &'a Plan,
    accounts: &'a [Account],
    letters: &'a Letters,
    ledger: Ledger,
    summary: Summary,
    next: AtomicU64,
    told: usize,
}

/// Plays the rounds. `Err`: the server could not be started or set up.
pub(crate) fn play(plan: &Plan, recipe: &Recipe, home: &Path, ground: &mut impl Ground) -> Result<Summary, String> {
    let accounts = accounts::generate(plan.accounts.max(4), DOMAIN, plan.seed);
    let letters = Letters::new(plan.seed, &SIZES_BYTES).map_err(|e| e.to_string())?;
    let mut run = Run::new(plan, &accounts, &letters);
    let began = Instant::now();
    let mut starts = Vec::new();
    let mut server = set_up(recipe, &accounts, home)?;
    let bar = bar(u64::from(plan.rounds), plan.campaign);
    for round in 0..plan.rounds {
        let mut chance = StdRng::seed_from_u64(plan.seed ^ (u64::from(round) << 32));
        run.audit(server.doors, round % WHOLE_EVERY == 0);
        let after = chance.random_range(plan.after_ms.0..=plan.after_ms.1.max(plan.after_ms.0));
        let parts = run.parts(&mut chance);
        let doors = server.doors;
        let events = run.round(doors, &parts, chance.random(), || {
            std::thread::sleep(Duration::from_millis(after));
            ground.end(&mut server);
        });
        run.record(events);
        ground.amiss().iter().for_each(|why| run.broken(why));
        ground.mend()?;
        server = recipe.start()?;
        starts.push(server.start.as_millis() as u64);
        bar.inc(1);
    }
    bar.finish_and_clear();
    run.close(recipe, server)?;
    starts.sort_unstable();
    let mut summary = run.into_summary();
    summary.start_ms_p50 = starts.get(starts.len() / 2).copied().unwrap_or(0);
    summary.start_ms_max = starts.last().copied().unwrap_or(0);
    summary.wall_s = began.elapsed().as_secs_f64();
    summary.ground = ground.told();
    Ok(summary)
}

/// The first start, with domain and accounts.
pub(crate) fn set_up(recipe: &Recipe, accounts: &[Account], home: &Path) -> Result<Server, String> {
    let server = recipe.start()?;
    recipe.await_desk()?;
    let file = home.join("accounts");
    fs::write(&file, accounts::render(accounts)).map_err(|e| format!("{}: {e}", file.display()))?;
    recipe.run(&["domain", "add", DOMAIN])?;
    let file = file.to_str().ok_or("the store's path is not UTF-8")?;
    recipe.run(&["account", "add", "--from-file", file])?;
    Ok(server)
}

impl<'a> Run<'a> {
    pub(crate) fn new(plan: &'a Plan, accounts: &'a [Account], letters: &'a Letters) -> Self {
        let summary = Summary { campaign: plan.campaign, seed: plan.seed, rounds: plan.rounds, ..Summary::default() };
        let ledger = Ledger::new(accounts.len(), true);
        Run { plan, accounts, letters, ledger, summary, next: AtomicU64::new(0), told: 0 }
    }

    /// The last look: whole, over IMAP and POP3, and again after a stop and a start.
    pub(crate) fn close(&mut self, recipe: &Recipe, mut server: Server) -> Result<(), String> {
        self.audit(server.doors, true);
        self.audit_pop3(server.doors);
        for last in [false, true] {
            if let Err(why) = server.stop() {
                self.broken(&why);
            }
            if !last {
                server = recipe.start()?;
                self.audit(server.doors, true);
            }
        }
        Ok(())
    }

    pub(crate) fn into_summary(self) -> Summary {
        let mut summary = self.summary;
        (summary.there, _, summary.gone) = self.ledger.census();
        summary
    }

    /// The number of a letter that nobody has sent yet.
    pub(crate) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// One copy, sent by the caller.
    pub(crate) fn sent(&mut self, account: usize, n: u64, outcome: ledger::Outcome) {
        self.record(vec![Event::Sent { account, n, outcome, uid: None }]);
    }

    /// UIDs that an editor may take.
    pub(crate) fn uids(&self, account: usize) -> Vec<u32> {
        self.ledger.uids(account).collect()
    }

    #[cfg(test)]
    pub(crate) fn census(&self) -> (u64, u64, u64) {
        self.ledger.census()
    }

    /// Faults are counted and not told.
    #[cfg(test)]
    pub(crate) fn hush(&mut self) {
        self.told = TOLD_MAX;
    }

    pub(crate) fn broken(&mut self, why: &str) {
        self.summary.broken += 1;
        self.tell(&format!("broken: {why}"));
    }

    /// Who does what in a round. Editors have accounts of their own to edit; mail goes to all.
    pub(crate) fn parts(&self, chance: &mut StdRng) -> Vec<Part> {
        let mut pick = || chance.random_range(0..self.accounts.len());
        let (appender, reader, pop3) = (pick(), pick(), pick());
        let (editor, second) = (pick(), pick());
        let uids = |account| self.uids(account);
        let mut parts = vec![Part::Sender; self.plan.senders.max(1)];
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
    pub(crate) fn round(&self, doors: Doors, parts: &[Part], seed: u64, kill: impl FnOnce()) -> Vec<Event> {
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
    pub(crate) fn record(&mut self, events: Vec<Event>) {
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
                Event::Broken(text) => self.broken(&text),
            }
        }
        self.keep(&faults);
    }

    pub(crate) fn audit(&mut self, doors: Doors, whole: bool) {
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

    pub(crate) fn audit_pop3(&mut self, doors: Doors) {
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
        let address = &self.accounts[account].address;
        self.broken(&format!("{address} cannot be read: {why}"));
    }

    pub(crate) fn keep(&mut self, faults: &[Fault]) {
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
    /// True if nothing was broken.
    pub(crate) fn is_well(&self) -> bool {
        self.faults.is_empty() && self.broken == 0
    }

    /// Shows it, and writes it where it was asked for.
    pub(crate) fn tell(&self, json: Option<&Path>, ledger: Option<&Path>) -> Result<(), String> {
        println!("{}", self.table());
        if let Some(path) = json {
            let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
            fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
        }
        if let Some(path) = ledger {
            entry::append(path, self)?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header([self.campaign, "count"]);
        let rows = [
            ("rounds", u64::from(self.rounds)),
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
        for (name, value) in &self.ground {
            table.add_row([name.replace('_', " "), value.to_string()]);
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
