//! `store-fuzz`: gives octets that nobody wrote to what reads octets from the disk.
//!
//! ```text
//! cargo run --release -p ringpost-storage --features sim --bin store-fuzz -- all --runs 100000 --seed 1
//! ```
//!
//! Exit code: 0 nothing was found, 1 something was (with the seed that shows it again), 2 it could not be run.

use std::alloc::System;
use std::io::{Write, stderr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use ringpost_storage::fuzz::{TARGETS, Tally, Target};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Gives octets that nobody wrote to what reads octets from the disk.
///
/// Everything comes from the seed, one for each run. When something is found, its seed is told; running the same command
/// with this seed and `--runs 1` at the same commit shows it again.
#[derive(Parser)]
#[command(name = "store-fuzz", after_help = "Example:\n  store-fuzz batch --runs 1000000 --seed 7")]
struct Cli {
    /// What is looked at: record, directory, batch, superblock, segment, snapshot, rows, run, page, or all of them.
    target: String,
    /// Seeds for each target.
    #[arg(long, default_value_t = 10_000)]
    runs: u64,
    /// The first seed; the following ones come after it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Goes on to the next target after so many seconds, whatever was asked.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let targets: Vec<&Target> =
        TARGETS.iter().filter(|target| cli.target == "all" || cli.target == target.name).collect();
    if targets.is_empty() {
        eprintln!("there is no target {}: see --help", cli.target);
        return ExitCode::from(2);
    }
    let found = targets.into_iter().filter(|target| run(target, &cli)).count();
    ExitCode::from(u8::from(found > 0))
}

/// True if something was found.
fn run(target: &Target, cli: &Cli) -> bool {
    let allocated = || COUNTED.stats().bytes_allocated as u64;
    let began = Instant::now();
    let until = cli.seconds.map(Duration::from_secs);
    let kept = target.kept();
    let mut tally = Tally::default();
    let mut seeds = 0;
    for octets in &kept {
        tally.add(target.judge(octets, &allocated));
    }
    for seed in cli.seed..cli.seed.saturating_add(cli.runs) {
        if until.is_some_and(|until| began.elapsed() >= until) {
            break;
        }
        match catch_unwind(AssertUnwindSafe(|| target.trial(seed, &kept, &allocated))) {
            Ok(seen) => tally.add(seen),
            Err(_) => {
                println!("FOUND, {}, seed {seed}", target.name);
                return true;
            }
        }
        seeds += 1;
    }
    let Tally { looks, read, refused, allocated } = tally;
    println!(
        "{:<10} {seeds} seeds, {} kept, {:.1} s: {looks} looks, {read} spoilt ones read, {refused} flipped bits refused, at most {allocated} octets allocated for one",
        target.name,
        kept.len(),
        began.elapsed().as_secs_f64(),
    );
    let _ = stderr().flush();
    false
}
