//! One figure a command: what something costs the server, measured over IMAP.
//!
//! Each is a file here: `idle` (memory of a connection that waits), `login` (CPU of a login and a SELECT), `handshake`
//! (CPU of TLS), `handoff` (a connection goes to the shard of its account). They have this file in common: whom to talk
//! to, a crowd of threads whose work is gauged, and the sheet that is printed.
//!
//! CPU is read as `accept` reads it. A thread's part is told from its name: `shard-*` serve connections, `side-*` hash
//! passwords, `iou-wrk-*` are the kernel's, for the ring.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::accept::resolve;
use crate::accounts::Account;
use crate::gauge::{Gauge, Spent};
use crate::subject::Subject;
use crate::tls::{Trust, Versions};
use crate::wire::Way;

pub mod every;
pub mod handoff;
pub mod handshake;
pub mod idle;
pub mod login;

/// Between two looks at the server's tasks while a crowd works.
const TICK: Duration = Duration::from_millis(20);
/// The threads that hash passwords, digits left out.
const SIDE_THREADS: &str = "side-";

/// Whom to talk to, as whom, and what to gauge.
#[derive(clap::Args, Clone, Debug)]
pub struct Place {
    /// The IMAP listener.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2143")]
    pub imap: String,
    /// The IMAPS listener.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2993")]
    pub imaps: String,
    /// The certificate that IMAPS is trusted with, PEM.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    #[command(flatten)]
    pub subject: Subject,
}

impl Place {
    /// Pins this program if asked to, reads the accounts and opens the gauges.
    fn begin(&self) -> Result<(Vec<Account>, Gauge), String> {
        Ok((self.subject.begin()?, self.subject.gauge()))
    }

    /// The way in: plain, or under TLS as `tls` says (versions, whether sessions are resumed).
    fn way(&self, source: Option<IpAddr>, tls: Option<(Versions, bool)>) -> Result<Way, String> {
        let trust = match tls {
            None => None,
            Some((versions, resume)) => {
                let ca = self.ca.as_ref().ok_or("--ca: TLS needs the certificate to trust (DATA/tls/cert.pem)")?;
                Some(Trust::new(ca, versions, resume)?)
            }
        };
        let server = resolve(if trust.is_some() { &self.imaps } else { &self.imap })?;
        Ok(Way { server, source, trust, patience: self.subject.patience() })
    }

    /// Prints the sheet and writes the JSON.
    fn publish(&self, sheet: &Sheet, figures: &impl Serialize) -> Result<(), String> {
        println!("{}", sheet.text());
        self.subject.keep(figures)
    }
}

/// Server CPU of one unit of work, µs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cost {
    /// How many were measured.
    pub count: u64,
    pub per_s: f64,
    /// All threads; `None` when no process was named.
    pub cpu_us: Option<f64>,
    /// All threads but those that hash passwords.
    pub cpu_without_hash_us: Option<f64>,
    /// By thread name, digits left out.
    pub threads_us: BTreeMap<String, f64>,
}

impl Cost {
    /// `spent` over `count` units.
    #[must_use]
    pub fn of(spent: &Spent, count: u64) -> Cost {
        let per = |ns: u64| ns as f64 / 1e3 / count.max(1) as f64;
        let hash_ns = spent.server_threads.get(SIDE_THREADS).map_or(0, |(_, ns)| *ns);
        Cost {
            count,
            per_s: count as f64 / spent.wall_s,
            cpu_us: spent.server_cpu_ns.map(per),
            cpu_without_hash_us: spent.server_cpu_ns.map(|ns| per(ns.saturating_sub(hash_ns))),
            threads_us: spent.server_threads.iter().map(|(name, (_, ns))| (name.clone(), per(*ns))).collect(),
        }
    }

    fn rows(&self, sheet: &mut Sheet, name: &str, how: &str) {
        let us = |x: Option<f64>| x.map_or("not gauged".into(), |us| format!("{us:.1} µs"));
        sheet.row(name, us(self.cpu_us), &format!("{how}; {} of them, {:.0}/s", self.count, self.per_s));
        if self.threads_us.contains_key(SIDE_THREADS) {
            sheet.row("  without the hash", us(self.cpu_without_hash_us), "all threads but side-*");
        }
        for (thread, us) in &self.threads_us {
            sheet.row(&format!("  {thread}"), format!("{us:.2} µs"), "");
        }
    }
}

/// Runs `work` on `threads` threads (it is told which) and gauges them together. Errors: the first thread's that failed.
fn crowd<T: Send>(
    gauge: &mut Gauge,
    threads: usize,
    work: impl Fn(usize) -> Result<T, String> + Sync,
) -> Result<(Vec<T>, Spent), String> {
    let before = gauge.read();
    let results: Vec<Result<T, String>> = std::thread::scope(|scope| {
        let work = &work;
        let crowd: Vec<_> = (0..threads.max(1)).map(|n| scope.spawn(move || work(n))).collect();
        while crowd.iter().any(|one| !one.is_finished()) {
            gauge.tick();
            std::thread::sleep(TICK);
        }
        crowd.into_iter().map(|one| one.join().unwrap_or_else(|_| Err("a thread panicked".into()))).collect()
    });
    let spent = gauge.read().since(&before);
    Ok((results.into_iter().collect::<Result<_, _>>()?, spent))
}

/// This thread's part of `total` units.
fn share(total: u64, threads: usize, thread: usize) -> u64 {
    let threads = threads.max(1) as u64;
    total / threads + u64::from((thread as u64) < total % threads)
}

/// The table for people.
#[derive(Debug, Default)]
pub struct Sheet {
    rows: Vec<[String; 3]>,
    remarks: Vec<String>,
}

impl Sheet {
    fn row(&mut self, name: &str, value: String, how: &str) {
        self.rows.push([name.to_owned(), value, how.to_owned()]);
    }

    /// The table and what could not be gauged.
    #[must_use]
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["figure", "value", "how"]);
        for row in &self.rows {
            table.add_row(row);
        }
        let mut text = table.to_string();
        for remark in &self.remarks {
            text.push_str(&format!("\nnot gauged: {remark}"));
        }
        text
    }
}

#[cfg(test)]
mod tests;
