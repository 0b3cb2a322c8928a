//! What every measure needs to know: whose mailboxes, which process, where it keeps its data, where this program runs.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::accept::pin;
use crate::accounts::{self, Account};
use crate::gauge::{self, Gauge};

/// The server that is measured, and who measures it.
#[derive(clap::Args, Clone, Debug)]
pub struct Subject {
    /// Its accounts, used in turn: `address password` a line.
    #[arg(long, value_name = "FILE")]
    pub accounts: PathBuf,
    /// The server's process.
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// A control group folder that holds the server already (else one is made, if we may).
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
    /// The server's data directory, for its disk and its counters.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The CPU this program runs on.
    #[arg(long, value_name = "CPU")]
    pub pin: Option<usize>,
    /// What becomes of the run when nothing answers for this long, seconds: it is given up.
    #[arg(long, default_value_t = 60)]
    pub patience_s: u64,
    /// Write the figures here as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Subject {
    /// Pins this program if asked to, and reads the accounts. Errors: no such CPU, no such file.
    pub(crate) fn begin(&self) -> Result<Vec<Account>, String> {
        if let Some(cpu) = self.pin {
            pin(cpu)?;
        }
        accounts::load(&self.accounts).map_err(|e| format!("--accounts: {e}"))
    }

    /// What of it can be gauged here.
    pub(crate) fn gauge(&self) -> Gauge {
        let (server_pid, cgroup, data) = (self.server_pid, self.cgroup.clone(), self.data.clone());
        Gauge::open(&gauge::Options { server_pid, cgroup, data })
    }

    /// How long is waited for an answer.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_s)
    }

    /// Writes the JSON, if asked to.
    pub(crate) fn keep(&self, figures: &impl Serialize) -> Result<(), String> {
        let Some(path) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(figures).map_err(|e| e.to_string())?;
        fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))
    }
}
