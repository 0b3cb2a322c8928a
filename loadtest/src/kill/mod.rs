//! `ringpost-loadtest kill`: SIGKILL under load, again and again, and a ledger that forgets nothing.
//!
//! One round: start the server; read every mailbox and hold it against the ledger; log a crowd in; let it
//! send, append, flag, expunge and read; kill after a random while; write down what each worker knew. After
//! the last round everything is read whole over both IMAP and POP3, the server is stopped in order, started
//! once more and read again.
//!
//! The page cache outlives a killed process, so this does **not** test fsync; it tests that what is said is
//! said after the write, that recovery keeps it, and that identities survive (`cut` tests the rest). The plan
//! follows from `--seed`; the timing of a real machine does not.

use std::fs;
use std::path::PathBuf;

pub(crate) mod crowd;
mod entry;
pub(crate) mod rounds;
pub(crate) mod server;
#[cfg(test)]
mod tests;

use crate::accept::clock_seed;
use rounds::{Ground, Plan};
use server::{Recipe, Server};

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
    /// Append the summary to this ledger of campaigns.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// More options for `ringpost serve`.
    #[arg(last = true)]
    pub serve_options: Vec<String>,
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
    println!("seed {seed}, store and server log in {}", home.display());
    let plan = Plan {
        campaign: "kill",
        seed,
        rounds: args.kills,
        accounts: args.accounts,
        senders: args.senders,
        after_ms: (args.after_ms_min, args.after_ms_max),
    };
    let mut summary = rounds::play(&plan, &recipe, &home, &mut Kill)?;
    summary.shards = args.shards;
    summary.tell(args.json.as_deref(), args.ledger.as_deref())?;
    if own && summary.is_well() {
        fs::remove_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    }
    Ok(summary.is_well())
}

/// Only the process ends.
struct Kill;

impl Ground for Kill {
    fn end(&mut self, server: &mut Server) {
        server.kill();
    }
}
