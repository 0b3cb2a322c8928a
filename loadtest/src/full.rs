//! `ringpost-loadtest full`: a disk that fills up under load, a crash while it is full, and room again.
//!
//! ```text
//!   fill by mail ─► 452 ─► somebody else takes the rest ─► expunge, until the reserve is in use
//!        ─► kill -9, start on the full disk ─► what is there is read and removed ─► room ─► 250, by itself
//! ```
//!
//! On a small file system of its own (a loop device), with small segments. What was acknowledged is there all the time,
//! what was refused never. For root; elsewhere it says that it is skipped ([`crate::ended`]).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::accept::clock_seed;
use crate::accounts::{self, Account};
use crate::cut::stack::{self, Kind};
use crate::ended::Ended;
use crate::imap;
use crate::kill::crowd::{Event, Part};
use crate::kill::rounds::{self, Plan, Run};
use crate::kill::server::{Doors, Recipe, Server};
use crate::ledger::Outcome;
use crate::letter::Letters;
use crate::smtp::{self, Fate};
use crate::wire::Error;

/// The file system, octets. xfs wants 300 MiB.
const DISK_BYTES: u64 = 384 << 20;
/// What somebody else has from the beginning and gives back in the end: more than the server wants free.
const FILLER_BYTES: u64 = 96 << 20;
/// Sizes of the letters, bytes, mixed evenly.
const SIZES_BYTES: [usize; 4] = [1_500, 20_000, 100_000, 200_000];
const ACCOUNTS: usize = 8;
/// A refusal is given within this.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// Once there is room, mail is taken within this.
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);
/// Changes of flags at most until the reserve is in use.
const CHANGES_MAX: u32 = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// What a full disk is called (RFC 3463 §3.4, X.3.1).
const FULL: &str = "452 4.3.1";

/// Options of `full`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The `ringpost` binary.
    #[arg(long, value_name = "PATH")]
    pub server_binary: PathBuf,
    /// The file systems; by default each that can be made here.
    #[arg(long, value_enum)]
    pub fs: Vec<Kind>,
    /// Times, for each file system.
    #[arg(long, default_value_t = 1)]
    pub times: u32,
    /// Shards of the server.
    #[arg(long, default_value_t = 1)]
    pub shards: u32,
    /// Added to the server's default ports.
    #[arg(long, default_value_t = 22_000, value_parser = clap::value_parser!(u16).range(..=60_000))]
    pub port_offset: u16,
    /// The letters follow from it; by default from the clock.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Append the summaries to this ledger of campaigns.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
}

/// Plays the story on each file system.
pub fn run(args: &Args) -> Result<Ended, String> {
    let kinds = if args.fs.is_empty() { vec![Kind::Ext4, Kind::Xfs] } else { args.fs.clone() };
    let mut ended = Ended::Skipped;
    for kind in kinds {
        if let Some(why) = stack::hindrance(kind) {
            ended = ended.and(why.skip(&format!("no disk can be filled here with {}", kind.name()))?);
            continue;
        }
        for time in 0..args.times {
            let seed = args.seed.map_or_else(clock_seed, |seed| seed.wrapping_add(u64::from(time)));
            ended = ended.and(Ended::of(play(args, kind, seed)?));
        }
    }
    Ok(ended)
}

fn play(args: &Args, kind: Kind, seed: u64) -> Result<bool, String> {
    let home = std::env::temp_dir().join(format!("ringpost-full-{}-{seed:016x}", kind.name()));
    fs::create_dir(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    println!("seed {seed}, {} of {} MiB, server log in {}", kind.name(), DISK_BYTES >> 20, home.display());
    let (config, disk, at) = (home.join("ringpost.toml"), home.join("disk"), home.join("mnt"));
    fs::write(&config, stack::CONFIG).map_err(|e| format!("{}: {e}", config.display()))?;
    File::create(&disk).and_then(|file| file.set_len(DISK_BYTES)).map_err(|e| format!("{}: {e}", disk.display()))?;
    let mounted = stack::mount(&disk, kind, true, &at)?;
    let recipe = Recipe {
        binary: args.server_binary.clone(),
        data: at.join("data"),
        port_offset: args.port_offset,
        shards: Some(args.shards),
        log: home.join("server.log"),
        more: vec!["--config".into(), config.display().to_string()],
    };
    let plan = Plan { campaign: "full", seed, rounds: 1, accounts: ACCOUNTS, senders: 6, after_ms: (0, 0) };
    let accounts = accounts::generate(ACCOUNTS, rounds::DOMAIN, seed);
    let letters = Letters::new(seed, &SIZES_BYTES).map_err(|e| e.to_string())?;
    let began = Instant::now();
    let mut story = Story {
        recipe: &recipe,
        accounts: &accounts,
        letters: &letters,
        run: Run::new(&plan, &accounts, &letters),
        at: &at,
        told: BTreeMap::new(),
    };
    let server = rounds::set_up(&recipe, &accounts, &home)?;
    let server = story.tell(server)?;
    story.run.close(&recipe, server)?;
    let told = story.told;
    let mut summary = story.run.into_summary();
    summary.wall_s = began.elapsed().as_secs_f64();
    summary.shards = Some(args.shards);
    summary.fs = Some(kind.name());
    summary.ground = told;
    mounted.unmount(200, Duration::from_millis(25))?;
    summary.tell(None, args.ledger.as_deref())?;
    if summary.is_well() {
        fs::remove_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    }
    Ok(summary.is_well())
}

struct Story<'a> {
    recipe: &'a Recipe,
    accounts: &'a [Account],
    letters: &'a Letters,
    run: Run<'a>,
    /// Where the file system is.
    at: &'a Path,
    told: BTreeMap<&'static str, u64>,
}

impl Story<'_> {
    fn tell(&mut self, mut server: Server) -> Result<Server, String> {
        self.take("filler", Some(FILLER_BYTES))?;
        self.fill(server.doors);
        self.is_full(server.doors, "when mail has filled it");
        self.run.audit(server.doors, true);
        self.edit(server.doors, 1);

        self.take("rest", None)?;
        self.until_reserve(server.doors)?;
        self.edit(server.doors, 2);
        self.is_full(server.doors, "when there is nothing left");
        self.run.audit(server.doors, true);
        self.run.audit_pop3(server.doors);

        server.kill();
        server = self.recipe.start()?;
        self.run.audit(server.doors, true);
        self.edit(server.doors, 3);
        self.is_full(server.doors, "after a start on a full disk");

        for name in ["rest", "filler"] {
            let path = self.at.join(name);
            fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        self.recovers(server.doors);
        Ok(server)
    }

    /// Somebody else's file, of so many octets or of all there are.
    fn take(&self, name: &str, octets: Option<u64>) -> Result<(), String> {
        let path = self.at.join(name);
        let fail = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut file = File::create(&path).map_err(fail)?;
        // Smaller and smaller, down to the last block.
        let zeros = vec![0; 1 << 20];
        let mut left = octets.unwrap_or(u64::MAX);
        let mut step = zeros.len() as u64;
        while left > 0 && step >= 512 {
            match file.write(&zeros[..step.min(left) as usize]) {
                Ok(0) => step /= 2,
                Ok(written) => left -= written as u64,
                Err(e) if e.raw_os_error() == Some(28) => step /= 2,
                Err(e) => return Err(fail(e)),
            }
        }
        // What the file system had promised and not yet found is found now, or refused.
        match file.sync_all() {
            Err(e) if e.raw_os_error() != Some(28) => Err(fail(e)),
            _ => Ok(()),
        }
    }

    /// Senders until each is refused.
    fn fill(&mut self, doors: Doors) {
        let senders = vec![Part::Sender; 6];
        let events = self.run.round(doors, &senders, 1, || {});
        for event in &events {
            if let Event::Refusal(text) = event
                && !text.starts_with(FULL)
            {
                self.run.broken(&format!("refused with something else than {FULL}: {text}"));
            }
        }
        let acknowledged = |e: &&Event| matches!(e, Event::Sent { outcome: Outcome::Acknowledged, .. });
        self.told.insert("copies_until_full", events.iter().filter(acknowledged).count() as u64);
        self.run.record(events);
    }

    /// SMTP says 452 and says it soon; IMAP takes no letter.
    fn is_full(&mut self, doors: Doors, when: &str) {
        let began = Instant::now();
        match self.send(doors) {
            Ok(Fate::Refused(text)) if text.starts_with(FULL) => {}
            other => self.run.broken(&format!("{when}: a letter, and the answer is {other:?}")),
        }
        let took = began.elapsed();
        let slowest = self.told.entry("refused_after_ms").or_default();
        *slowest = (*slowest).max(took.as_millis() as u64);
        if took > REFUSED_WITHIN {
            self.run.broken(&format!("{when}: refused after {took:?}"));
        }
        let mut letter = Vec::new();
        let n = self.run.next();
        self.letters.write_plain(n, &mut letter);
        let appended = imap::Client::login(doors.imap, &self.accounts[0], PATIENCE)
            .map(|mut client| client.append("INBOX", &letter).fate);
        match appended {
            Ok(Fate::Refused(_)) => self.run.sent(0, n, Outcome::Refused),
            other => self.run.broken(&format!("{when}: APPEND, and the answer is {other:?}")),
        }
    }

    /// One letter. What it came to is in the ledger.
    fn send(&mut self, doors: Doors) -> Result<Fate, Error> {
        let n = self.run.next();
        let mut body = Vec::new();
        self.letters.write_smtp(n, &mut body);
        let mut client = smtp::Client::connect(doors.smtp, PATIENCE)?;
        let to = [self.accounts[0].address.as_str()];
        let fate = match client.send(&to, self.letters.size_bytes(n), &body) {
            Ok(mut fates) => fates.remove(0),
            Err((Error::Refused(text), _)) => Fate::Refused(text),
            Err((e, _)) => {
                self.run.sent(0, n, Outcome::Unknown);
                return Err(e);
            }
        };
        let outcome = match &fate {
            Fate::Accepted => Outcome::Acknowledged,
            Fate::Refused(_) | Fate::Cut => Outcome::Refused,
            Fate::Unknown(_) => Outcome::Unknown,
        };
        self.run.sent(0, n, outcome);
        Ok(fate)
    }

    /// Flags and expunges, in two mailboxes at once, until some letters are gone.
    fn edit(&mut self, doors: Doors, first: usize) {
        let part = |account| {
            let uids = self.run.uids(account).into_iter().take(5).collect();
            Part::Editor { account, uids }
        };
        let parts = [part(first), part(first + 3)];
        let events = self.run.round(doors, &parts, first as u64, || {});
        let refusals = events.iter().filter(|e| matches!(e, Event::Refusal(_))).count();
        let expunged = events.iter().filter(|e| matches!(e, Event::Expunged { .. })).count();
        if refusals > 0 || expunged == 0 {
            self.run.broken(&format!("flags and expunges on a full disk: {refusals} refused, {expunged} expunged"));
        }
        self.run.record(events);
    }

    /// Changes of flags, of many letters at once, until the log goes on in the reserve.
    fn until_reserve(&mut self, doors: Doors) -> Result<(), String> {
        let began = Instant::now();
        let mut changes = 0;
        let change = |client: &mut imap::Client, n: u32| {
            let sign = if n.is_multiple_of(2) { '+' } else { '-' };
            client.uid_store_silent("1:*", &format!("{sign}FLAGS.SILENT ($Label1)"))
        };
        let mut client = imap::Client::login(doors.imap, &self.accounts[0], PATIENCE).map_err(|e| e.to_string())?;
        client.select("INBOX").map_err(|e| e.to_string())?;
        while self.has_reserve() {
            if changes == CHANGES_MAX {
                return Err(format!("after {changes} changes on a full disk the reserve is not in use"));
            }
            if let Err(e) = change(&mut client, changes) {
                return Err(format!("change {changes} of flags on a full disk: {e}"));
            }
            changes += 1;
        }
        self.told.insert("changes_until_the_reserve", u64::from(changes));
        self.told.insert("changes_until_the_reserve_ms", began.elapsed().as_millis() as u64);
        Ok(())
    }

    /// Every volume has its reserve.
    fn has_reserve(&self) -> bool {
        let volumes = fs::read_dir(self.at.join("data")).into_iter().flatten().flatten();
        let mut folders = volumes.filter(|entry| entry.file_name().to_string_lossy().starts_with("volume-"));
        folders.all(|folder| folder.path().join("RESERVE").exists())
    }

    /// Mail is taken again, and the reserve is there again, with nobody's help.
    fn recovers(&mut self, doors: Doors) {
        let began = Instant::now();
        let mut taken = None;
        while taken.is_none() || !self.has_reserve() {
            if taken.is_none() && matches!(self.send(doors), Ok(Fate::Accepted)) {
                taken = Some(began.elapsed());
            }
            if began.elapsed() > RECOVERED_WITHIN {
                let (mail, reserve) = (taken.is_some(), self.has_reserve());
                self.run.broken(&format!("5 s after there was room: mail taken {mail}, reserve there {reserve}"));
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.told.insert("taken_again_after_ms", taken.unwrap_or_default().as_millis() as u64);
        for _ in 0..50 {
            match self.send(doors) {
                Ok(Fate::Accepted) => {}
                other => self.run.broken(&format!("a letter when there is room again: {other:?}")),
            }
        }
    }
}
