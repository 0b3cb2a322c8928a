//! What the campaigns that end the server again and again are told alike.

use std::path::PathBuf;

use super::rounds::Plan;
use super::server::Recipe;
use crate::accept::clock_seed;

/// The server, the crowd, and what becomes of the summary.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The `ringpost` binary.
    #[arg(long, value_name = "PATH")]
    pub server_binary: PathBuf,
    /// Shards of the server; by default its own choice.
    #[arg(long)]
    pub shards: Option<u32>,
    /// Mailboxes.
    #[arg(long, default_value_t = 12)]
    pub accounts: usize,
    /// SMTP connections.
    #[arg(long, default_value_t = 6)]
    pub senders: usize,
    /// The end comes this many milliseconds after the load began, at the earliest.
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

impl Options {
    /// The seed of this run.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(clock_seed)
    }

    /// What is played.
    pub(crate) fn plan(&self, campaign: &'static str, seed: u64, rounds: u32) -> Plan {
        let Options { accounts, senders, after_ms_min, after_ms_max, .. } = *self;
        Plan { campaign, seed, rounds, accounts, senders, after_ms: (after_ms_min, after_ms_max) }
    }

    /// How the server is started. `more`: before the options that were given for it.
    pub(crate) fn recipe(&self, data: PathBuf, log: PathBuf, port_offset: u16, more: Vec<String>) -> Recipe {
        let (binary, shards) = (self.server_binary.clone(), self.shards);
        Recipe { binary, data, port_offset, shards, log, more: [more, self.serve_options.clone()].concat() }
    }
}
