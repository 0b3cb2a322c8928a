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
pub(crate) mod options;
pub(crate) mod rounds;
pub(crate) mod server;
#[cfg(test)]
mod tests;

use options::Options;
use rounds::Ground;
use server::Server;

/// Options of `kill`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What it has in common with other campaigns.
    #[command(flatten)]
    pub options: Options,
    /// Rounds.
    #[arg(long, default_value_t = 50)]
    pub kills: u32,
    /// Added to the server's default ports.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u16).range(..=60_000))]
    pub port_offset: u16,
    /// The store, which must not exist yet; by default a folder among the temporary ones, removed when all is well.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Runs the rounds. `Ok(true)`: nothing was broken. `Err`: the server could not be started or set up.
pub fn run(args: &Args) -> Result<bool, String> {
    let options = &args.options;
    let seed = options.seed();
    let own = args.data.is_none();
    let home = args.data.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("ringpost-kill-{seed:016x}")));
    fs::create_dir(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    let recipe = options.recipe(home.join("data"), home.join("server.log"), args.port_offset, Vec::new());
    println!("seed {seed}, store and server log in {}", home.display());
    let mut summary = rounds::play(&options.plan("kill", seed, args.kills), &recipe, &home, &mut Kill)?;
    summary.shards = options.shards;
    summary.tell(options.json.as_deref(), options.ledger.as_deref())?;
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
