//! `fuzz`: gives octets that nobody should send to whatever reads octets from the network.
//!
//! ```text
//! cargo test --features sim --test fuzz                                        a look at each, as a test
//! cargo test --features sim --test fuzz -- --seconds 10                        ten seconds each, as CI does it
//! cargo test --release --features sim --test fuzz -- data chunks --seconds 600
//! ```
//!
//! Each run is a seed: the same seed makes the same octets, so what was found is shown again by its seed with `--runs 1`. Octets
//! that found something, and some that are awkward, are kept in `tests/fuzz/corpus/TARGET/` and judged before any seed; whatever is
//! kept for one target is material for all of them.
//!
//! Exit code: 0 nothing was found, 1 something was, 2 it could not be run.

mod door;
mod front;
mod reads;
mod sessions;
mod target;

#[allow(dead_code, reason = "each test uses its part of the stage")]
#[path = "../stage/mod.rs"]
mod stage;

use std::alloc::System;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use target::{Kept, Tally, Target};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// All of them.
const TARGETS: &[Target] = &[
    reads::PATH,
    reads::DNS,
    front::PROXY,
    door::COMMAND,
    door::PARAMETERS,
    door::SASL,
    door::DATA,
    door::CHUNKS,
    sessions::SMTP,
    sessions::SUBMISSION,
    sessions::LMTP,
    sessions::POP3,
    sessions::IMAP,
];

/// Gives octets that nobody should send to whatever reads octets from the network.
#[derive(Parser)]
#[command(name = "fuzz", after_help = "Example:\n  cargo test --features sim --test fuzz -- path dns --seconds 60")]
struct Cli {
    /// What is looked at: targets whose name has this in it. None given: all.
    targets: Vec<String>,
    /// Seeds for each target, if no time is given.
    #[arg(long, default_value_t = 150)]
    runs: u64,
    /// The first seed; the following ones come after it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// As many seeds as can be judged in so many seconds, for each target.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Names the targets.
    #[arg(long)]
    list: bool,
    // What `cargo test` says to every harness.
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.list {
        TARGETS.iter().for_each(|target| println!("{}: test", target.name));
        return ExitCode::SUCCESS;
    }
    let meant = |target: &&Target| cli.targets.is_empty() || cli.targets.iter().any(|part| target.name.contains(part));
    let kept = match Kept::read(TARGETS) {
        Ok(kept) => kept,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let found = TARGETS.iter().filter(meant).filter(|target| !stands(target, &kept, &cli)).count();
    ExitCode::from(u8::from(found > 0))
}

/// False if something was found.
fn stands(target: &Target, kept: &Kept, cli: &Cli) -> bool {
    let began = Instant::now();
    let mut tally = Tally::default();
    let allocated = || COUNTED.stats().bytes_allocated as u64;
    for (name, octets) in kept.of(target.name) {
        if catch_unwind(AssertUnwindSafe(|| tally.add(target.judge(octets, 0, &allocated)))).is_err() {
            println!("FOUND, {}: {name} of its corpus", target.name);
            return false;
        }
    }
    let mut seeds = 0;
    let goes_on = |seeds: u64| match cli.seconds {
        Some(seconds) => began.elapsed() < Duration::from_secs(seconds),
        None => seeds < cli.runs,
    };
    while goes_on(seeds) {
        let seed = cli.seed.wrapping_add(seeds);
        if catch_unwind(AssertUnwindSafe(|| tally.add(target.trial(seed, kept, &allocated)))).is_err() {
            println!("FOUND, {}: --seed {seed} --runs 1 shows it again", target.name);
            return false;
        }
        seeds += 1;
    }
    println!(
        "{:<11} {seeds} seeds, {} kept, {:.1} s: {} taken, {} refused, at most {} octets allocated for one",
        target.name,
        kept.of(target.name).count(),
        began.elapsed().as_secs_f64(),
        tally.taken,
        tally.refused,
        tally.allocated,
    );
    // A target that only ever refuses, or never does, looks at nothing.
    let looks = seeds < 100 || tally.taken > 0 && tally.refused > 0;
    if !looks {
        println!("FOUND, {}: all was taken, or all was refused", target.name);
    }
    looks
}
