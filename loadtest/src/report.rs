//! The figures of a run: a table for people, JSON for programs.

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::gauge::Spent;
use crate::ledger::Kind;

/// Percentiles of a latency, µs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p99_9_us: u64,
    pub max_us: u64,
}

impl Latency {
    /// Of a histogram in µs.
    #[must_use]
    pub fn of(h: &Histogram<u64>) -> Latency {
        let at = |q| h.value_at_quantile(q);
        Latency { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99), p99_9_us: at(0.999), max_us: h.max() }
    }
}

/// What reading back found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReadBack {
    /// `pop3` or `imap`.
    pub door: String,
    pub mailboxes: u64,
    /// Mailboxes that could not be read.
    pub unread: u64,
    /// Messages found, other runs' included.
    pub messages: u64,
    pub faults: BTreeMap<Kind, u64>,
    pub wall_s: f64,
}

impl ReadBack {
    /// Every mailbox was read, and nothing was wrong in any.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty() && self.unread == 0
    }

    /// In a word.
    #[must_use]
    pub fn verdict(&self) -> String {
        match (self.faults.values().sum::<u64>(), self.unread) {
            (0, 0) => "all there, once, unaltered".into(),
            (0, unread) => format!("{unread} mailboxes UNREAD"),
            (faults, _) => format!("{faults} FAULTS"),
        }
    }

    /// What was read.
    #[must_use]
    pub fn how(&self) -> String {
        let ReadBack { door, mailboxes, unread, messages, wall_s, .. } = self;
        format!("{messages} messages, {mailboxes} mailboxes over {door} in {wall_s:.1} s, {unread} mailboxes unread")
    }
}

/// All figures of `accept`.
#[derive(Clone, Debug, Serialize)]
pub struct Accept {
    pub seed: u64,
    pub connections: usize,
    pub messages: u64,
    /// In the mean.
    pub size_bytes: usize,
    /// Letters of many sizes.
    pub mix: bool,
    pub accounts: usize,
    pub connection_per_message: bool,
    pub rate_asked: Option<f64>,
    /// Letters of the open loop that left late, because no connection was free.
    pub late: u64,
    /// `implicit` or `starttls`.
    pub tls: Option<String>,
    pub login: bool,
    pub acknowledged: u64,
    pub refused: u64,
    pub unknown: u64,
    pub failures: u64,
    pub messages_per_s: f64,
    pub transaction: Latency,
    pub verdict: Latency,
    pub server_cpu_us_per_message: Option<f64>,
    pub client_cpu_us_per_message: f64,
    pub spent: Spent,
    /// Calls per message, from the strace phase.
    pub strace_calls_per_message: Option<BTreeMap<String, f64>>,
    pub read_back: Option<ReadBack>,
    pub remarks: Vec<String>,
}

impl Accept {
    /// The table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["figure", "value", "how"]);
        let per = |x: u64| x as f64 / self.acknowledged.max(1) as f64;
        let mut row = |name: &str, value: String, how: &str| {
            table.add_row([name.to_owned(), value, how.to_owned()]);
        };
        let kind = if self.connection_per_message { "connections, one a message" } else { "kept connections" };
        let kind = match (&self.tls, self.login) {
            (None, false) => kind.to_owned(),
            (None, true) => format!("{kind}, logged in"),
            (Some(tls), false) => format!("{kind}, TLS ({tls})"),
            (Some(tls), true) => format!("{kind}, TLS ({tls}), logged in"),
        };
        row(
            "load",
            format!("{} × {} bytes{}", self.messages, self.size_bytes, if self.mix { " (mix)" } else { "" }),
            &format!("{} {kind}, {} accounts, seed {}", self.connections, self.accounts, self.seed),
        );
        row(
            "answers",
            format!("{} acknowledged", self.acknowledged),
            &format!("{} refused, {} unknown, {} failures", self.refused, self.unknown, self.failures),
        );
        row("rate", format!("{:.0} messages/s", self.messages_per_s), &format!("{:.3} s", self.spent.wall_s));
        if let Some(asked) = self.rate_asked {
            row(
                "open loop",
                format!("{asked:.0} letters/s asked for"),
                &format!("{} left more than 10 ms late", self.late),
            );
        }
        for (name, l, how) in [
            ("latency, whole", self.transaction, "MAIL (or connect) to verdict; µs p50 p90 p99 p99.9 max"),
            ("latency, verdict", self.verdict, "final dot to verdict; the same"),
        ] {
            row(name, format!("{} {} {} {} {}", l.p50_us, l.p90_us, l.p99_us, l.p99_9_us, l.max_us), how);
        }
        let spent = &self.spent;
        if let Some(us) = self.server_cpu_us_per_message {
            let tasks = spent.server_tasks_cpu_ns.map_or(0.0, |ns| per(ns) / 1e3);
            let ticks = per(spent.server_user_ms.unwrap_or(0) * 1_000);
            let system = per(spent.server_system_ms.unwrap_or(0) * 1_000);
            let source = spent.server_cpu_source.unwrap_or("nothing");
            row(
                "server CPU",
                format!("{us:.1} µs/message"),
                &format!("from {source}; tasks say {tasks:.1}; user {ticks:.1} + system {system:.1} in 10 ms ticks"),
            );
            for (name, (threads, ns)) in &spent.server_threads {
                row(&format!("  {name}"), format!("{:.2} µs/message", per(*ns) / 1e3), &format!("{threads} thread(s)"));
            }
        }
        row("client CPU", format!("{:.1} µs/message", self.client_cpu_us_per_message), "this process, gauges included");
        if let Some(flushes) = spent.device_flushes {
            row("device flushes", format!("{:.4} a message", per(flushes)), &format!("{flushes}; the whole disk's"));
        }
        if let Some(bytes) = spent.device_written_bytes {
            let share = bytes as f64 / (self.acknowledged.max(1) * self.size_bytes as u64) as f64;
            let how = format!("{bytes} in {} writes; the whole disk's", spent.device_writes.unwrap_or(0));
            row("device bytes", format!("{share:.3} a byte"), &how);
        }
        if let Some(syncs) = spent.trace_syncs {
            row("syncs, traced", format!("{:.4} a message", per(syncs)), &format!("{syncs} ext4_sync_file_enter"));
        }
        if let Some(calls) = spent.trace_calls {
            row("system calls", format!("{:.3} a message", per(calls)), &format!("{calls} raw_syscalls:sys_enter"));
        }
        for (name, value) in spent.counters.iter().flatten().filter(|(_, v)| **v > 0) {
            row(&format!("  {name}"), format!("{:.4} a message", per(*value)), &format!("{value}; the server's own"));
        }
        for (name, calls) in self.strace_calls_per_message.iter().flatten() {
            row(&format!("  {name}()"), format!("{calls:.3} a message"), "strace, a phase of its own");
        }
        if let Some(back) = &self.read_back {
            row("read back", back.verdict(), &back.how());
            for (kind, count) in &back.faults {
                row(&format!("  {kind:?}"), count.to_string(), "broken promises");
            }
        }
        let mut text = table.to_string();
        for remark in &self.remarks {
            text.push_str(&format!("\nnot gauged: {remark}"));
        }
        text
    }

    /// Whether everything was acknowledged and everything acknowledged is there, once and unaltered.
    #[must_use]
    pub fn clean(&self) -> bool {
        let read = self.read_back.as_ref().is_none_or(ReadBack::is_whole);
        read && self.failures == 0 && self.refused == 0 && self.unknown == 0
    }
}
