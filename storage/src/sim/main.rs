//! `store-campaign`: looks for faults of the store on the simulated disk, as long as one likes.
//!
//! ```text
//! cargo run --release -p ringpost-storage --features sim --bin store-campaign -- crash --images 1000000 --seed 1 --jobs 2
//! ```
//!
//! Exit code: 0 nothing was found, 1 something was (with the seed that shows it again), 2 it could not be run.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use ringpost_storage::sim::campaign::crash::Trial;
use ringpost_storage::sim::campaign::images::Images;
use ringpost_storage::sim::campaign::ledger::{self, Entry};
use ringpost_storage::sim::campaign::run::{self, Enough, Outcome};
use ringpost_storage::sim::campaign::scenarios::SCENARIOS;
use ringpost_storage::sim::campaign::tally::Tally;
use ringpost_storage::sim::campaign::{exhaust, iofail, rot, torn, transfers};

/// Looks for faults of the store: production code, on a simulated disk, held against a model.
///
/// Everything comes from the seed. When something is found, the seed is told; running the same command with this seed and
/// `--images 1 --jobs 1` at the same commit shows it again.
#[derive(Parser)]
#[command(
    name = "store-campaign",
    after_help = "Example:\n  store-campaign crash --images 1000000 --seed 7 --jobs 2 --ledger tests/ledger.json"
)]
struct Cli {
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Subcommand)]
enum Campaign {
    /// Power cuts and kills at random work (R1): at each completion of the disk, some of the disks that a cut then may leave
    /// are recovered and compared with the model.
    Crash {
        /// Distinct disks to look at.
        #[arg(long, default_value_t = 100_000)]
        images: u64,
        /// Writes and syncs never fail by themselves.
        #[arg(long)]
        no_faults: bool,
        #[command(flatten)]
        like: Like,
    },
    /// Every power cut of small work (R2): at each completion every disk that a cut then may leave, whole sectors each for
    /// itself, and every cut of the recovery where few are in doubt.
    Exhaust {
        /// Traces to look at whole.
        #[arg(long, default_value_t = 50)]
        traces: u64,
        #[command(flatten)]
        like: Like,
    },
    /// The n-th step of the disk fails (R3): each kind of step, each error, every n, once and for good, in named scenarios.
    Iofail {
        /// How often each scenario is played, with other seeds each time.
        #[arg(long, default_value_t = 1)]
        times: u64,
        /// This scenario alone; `list` names them.
        #[arg(long, value_name = "NAME")]
        scenario: Option<String>,
        #[command(flatten)]
        like: Like,
    },
    /// Rot (R5): of volumes at rest bits flip, and sectors become zeros, what they were before, what lies elsewhere, or what
    /// another volume has there. Nothing false may be shown, and nothing unhurt be gone.
    Rot {
        /// Spoilt disks to look at.
        #[arg(long, default_value_t = 100_000)]
        flips: u64,
        #[command(flatten)]
        like: Like,
    },
    /// Torn or damaged (R6): power cuts, and octets spoilt besides, by one who knows what was acknowledged. A torn tail may not
    /// be called damage, and what was acknowledged may not be cut off as if it were torn.
    Torn {
        /// Distinct disks to look at.
        #[arg(long, default_value_t = 100_000)]
        images: u64,
        #[command(flatten)]
        like: Like,
    },
    /// Transfers: letters and moved messages from one volume to another, while either crashes at any step. Each lands
    /// exactly once.
    Transfers {
        /// Journeys of some 40 letters.
        #[arg(long, default_value_t = 2_000)]
        journeys: u64,
        #[command(flatten)]
        like: Like,
    },
}

#[derive(Args)]
struct Like {
    /// The first seed; the following ones come after it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    jobs: usize,
    /// Appends what was seen to this file.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

fn main() -> ExitCode {
    let (name, like, outcome) = match Cli::parse().campaign {
        Campaign::Crash { images, no_faults, like } => {
            let seen = Images::default();
            let trial = |seed| Trial::run(&seen, seed, !no_faults);
            let outcome =
                run::run(like.seed, like.jobs, Enough::Images(images), trial, |t, took| progress(t, took, images));
            ("crash", like, outcome)
        }
        Campaign::Exhaust { traces, like } => {
            let seen = Images::default();
            let trial = |seed| exhaust::run(&seen, seed);
            let outcome = run::run(like.seed, like.jobs, Enough::Whole(traces), trial, |t, _| {
                eprint!("\r{} of {traces} traces, {} images ", t.whole, t.images);
            });
            ("exhaust", like, outcome)
        }
        Campaign::Iofail { times, scenario, like } => {
            let all = SCENARIOS.len() as u64;
            let name = scenario.as_deref();
            let only = name.and_then(|name| SCENARIOS.iter().position(|(n, _)| *n == name));
            if name.is_some() && only.is_none() {
                SCENARIOS.iter().for_each(|(name, _)| println!("{name}"));
                return ExitCode::from(if name == Some("list") { 0 } else { 2 });
            }
            let enough = Enough::Seeds(if only.is_some() { times } else { times * all });
            // A seed is a scenario: the n-th, and again from the first one on.
            let first = like.seed.next_multiple_of(all);
            let trial = |n: u64| iofail::run(only.map_or(n, |only| first + (n - first) * all + only as u64));
            let outcome = run::run(first, like.jobs, enough, trial, |t, _| {
                eprint!("\r{} of {} scenarios, {} faults ", t.seeds, times * all, t.struck);
            });
            ("iofail", like, outcome)
        }
        Campaign::Rot { flips, like } => {
            let outcome = run::run(like.seed, like.jobs, Enough::Runs(flips), rot::run, |t, _| {
                eprint!("\r{} of {flips} spoilt disks, {} seeds ", t.runs, t.seeds);
            });
            ("rot", like, outcome)
        }
        Campaign::Torn { images, like } => {
            let seen = Images::default();
            let trial = |seed| torn::run(&seen, seed);
            let outcome =
                run::run(like.seed, like.jobs, Enough::Images(images), trial, |t, took| progress(t, took, images));
            ("torn", like, outcome)
        }
        Campaign::Transfers { journeys, like } => {
            let outcome = run::run(like.seed, like.jobs, Enough::Seeds(journeys), transfers::run, |t, _| {
                eprint!("\r{} of {journeys} journeys, {} letters ", t.seeds, t.decided);
            });
            ("transfers", like, outcome)
        }
    };
    report(name, &like, &outcome)
}

fn progress(tally: &Tally, took: Duration, of: u64) {
    let rate = tally.images as f64 / took.as_secs_f64();
    eprint!("\r{} of {of} images, {} seeds, {rate:.0} images/s ", tally.images, tally.seeds);
}

fn report(name: &str, like: &Like, outcome: &Outcome) -> ExitCode {
    let Outcome { tally, found, took } = outcome;
    eprintln!();
    println!(
        "{name}: {} distinct images ({} seen again) at {} crash points of {} seeds, {:.0} images/s a thread, {:.1} s",
        tally.images,
        tally.known,
        tally.points,
        tally.seeds,
        tally.images as f64 / took.as_secs_f64() / like.jobs as f64,
        took.as_secs_f64()
    );
    println!(
        "  {:.2} un-synced sectors a crash point, {:.2} in doubt; by crashes before: {:?}; {} kills; {} recoveries judged, {} looks at work",
        tally.unsynced_mean(),
        tally.doubts_mean(),
        tally.images_at,
        tally.kills,
        tally.judged,
        tally.looks
    );
    println!(
        "  {} transactions ({} refused), {} accounts folded, {} segments compacted, old places forgotten {} times; {} over quota; {} times something retained was brought back or went; {} to several, {} bodies in pieces; messages: {} appended, {} copied, {} moved, {} expunged, {} summarised",
        tally.decided,
        tally.refused,
        tally.folds,
        tally.compacted,
        tally.forgets,
        tally.over_quota,
        tally.undeleted,
        tally.shared,
        tally.uploads,
        tally.appended,
        tally.copied,
        tally.moved,
        tally.expunged,
        tally.summaries
    );
    if tally.whole_points > 0 {
        println!("  {} crash points looked at whole, {} whole traces", tally.whole_points, tally.whole);
    }
    if tally.runs > 0 {
        println!("  {} runs with a fault or spoilt octets; {} faults struck", tally.runs, tally.struck);
    }
    if tally.from_checkpoint > 0 {
        println!(
            "  {} disks opened from a checkpoint, if one was good; {} checkpoints taken",
            tally.from_checkpoint, tally.checkpoints
        );
    }
    for finding in found {
        println!("FOUND, seed {}: {}", finding.seed, finding.why);
    }
    if let Some(path) = &like.ledger
        && let Err(why) = keep(path, name, like, outcome)
    {
        eprintln!("the ledger {} was not written: {why}", path.display());
        return ExitCode::from(2);
    }
    if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn keep(path: &Path, campaign: &str, like: &Like, outcome: &Outcome) -> std::io::Result<()> {
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    let entry = Entry {
        campaign,
        commit: commit().unwrap_or_else(|| "unknown".to_owned()),
        seed: like.seed,
        jobs: like.jobs,
        at_ms,
        took_s: outcome.took.as_secs_f64(),
        tally: &outcome.tally,
        found: outcome.found.iter().map(|f| format!("seed {}: {}", f.seed, f.why)).collect(),
    };
    ledger::append(path, &entry)
}

/// The commit that is checked out; with a `+` when files differ from it.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let out = Command::new("git").args(args).output().ok().filter(|out| out.status.success())?;
        Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if clean { head } else { head + "+" })
}
