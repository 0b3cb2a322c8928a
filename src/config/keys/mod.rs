//! Every setting there is: its name, kind, bounds, default and what it means. One row each, in one table, which is
//! written in a file for each of its sections.
//!
//! Rules:
//!
//! - A setting that has no effect is not listed, and one that is not listed is refused.
//! - Every setting has a default, so that an empty file is a good one.
//! - Flags of `ringpost serve` are held against the same rows.
//!
//! Listeners are a list of their own: see [`super::listener`].

use std::path::{Path, PathBuf};

mod accounts;
mod dns;
mod filter;
mod http;
mod limits;
mod log;
mod login;
mod sendmail;
mod server;
mod shards;
mod smtp;
mod store;
mod submission;
mod tls;

use super::value::{Fit, Kind, Value};

pub(super) use login::{day_begins_ms, mechanism};
pub use server::DATA_DEFAULT;
pub use store::SEGMENT_BYTES_DEFAULT;
pub(super) use store::{SCRUB_PERIOD_S_DEFAULT, SCRUB_RATE_DEFAULT};

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The data directory.
    Data,
    /// The name we greet with.
    Hostname,
    /// Added to every port.
    PortOffset,
    /// What is logged.
    LogLevel,
    /// How it looks.
    LogFormat,
    /// Shards.
    Shards,
    /// Their cores.
    Pin,
    /// Shards with doors.
    AcceptOn,
    /// Submission entries of a ring.
    RingEntries,
    /// Receive buffers of a ring.
    RecvBuffers,
    /// The certificate.
    TlsCert,
    /// Its private key.
    TlsKey,
    /// Connections of a shard.
    ConnectionsMax,
    /// Connections of an address on a shard.
    ConnectionsPerAddressMax,
    /// Connections of a network on a shard.
    ConnectionsPerNetworkMax,
    /// Memory of the process.
    Memory,
    /// How late a shard may be.
    LoopDelay,
    /// Largest message.
    MessageBytesMax,
    /// Networks without per-address limits.
    ExemptNetworks,
    /// Their width is meant.
    ExemptWide,
    /// Networks that may log in without TLS.
    PlaintextNetworks,
    /// The day on which that ends.
    PlaintextUntil,
    /// Their width is meant.
    PlaintextWide,
    /// Mechanisms of SASL.
    Mechanisms,
    /// How long a right password is remembered.
    RememberS,
    /// Memory of a password hash.
    Argon2Memory,
    /// Passes of a password hash.
    Argon2Passes,
    /// Octets a new account may keep.
    QuotaBytes,
    /// Messages a new account may keep.
    QuotaMessages,
    /// What is said of one that keeps as much as it may.
    OverQuota,
    /// Whose addresses a login may write.
    SenderCheck,
    /// Messages an account may hand in within an hour.
    MessagesPerHour,
    /// The same, a day.
    MessagesPerDay,
    /// Recipients of them within an hour.
    RecipientsPerHour,
    /// The same, a day.
    RecipientsPerDay,
    /// Recipients of one of them.
    RecipientsPerMessage,
    /// Users of this host who write any sender.
    TrustedUsers,
    /// Bare CR and LF.
    RejectBareNewlines,
    /// Names by which HTTP may be asked.
    HttpHosts,
    /// Figures without a password.
    HttpPublic,
    /// Whom DNS is asked of.
    DnsResolvers,
    /// How long each is waited for.
    DnsTimeoutS,
    /// How often each is asked.
    DnsAttempts,
    /// Capitals by chance.
    DnsMixedCase,
    /// Networks no filter is asked about.
    FilterExempt,
    /// How long MAIL waits for DNS.
    FilterWaitMs,
    /// When refusals are said.
    FilterRefuseAt,
    /// What is done about those who talk before the greeting.
    PregreetMode,
    /// How long it is put off.
    PregreetWaitMs,
    /// Its first line comes at once.
    PregreetTeaser,
    /// What is done about those who are listed.
    DnsblMode,
    /// Lists of addresses.
    DnsblLists,
    /// From which sum on.
    DnsblThreshold,
    /// Local addresses too.
    DnsblAskLocal,
    /// Names in EHLO that no host has.
    HeloInvalid,
    /// Those without a dot.
    HeloNotFqdn,
    /// Our own.
    HeloOurs,
    /// Literals of other addresses.
    HeloLiteral,
    /// Those that DNS does not know.
    HeloUnknown,
    /// What is done about senders whose domain takes no mail.
    SenderDomainMode,
    /// And where DNS does not answer.
    SenderDomainOnFailure,
    /// What is done about letters that come for the first time.
    GreylistMode,
    /// How long they wait.
    GreylistDelayS,
    /// Until when they have to come again.
    GreylistWindowS,
    /// How long a network stays known.
    GreylistKeepDays,
    /// Segments of a new store.
    SegmentBytes,
    /// Memory for accounts.
    IndexMemory,
    /// How the log is written.
    PageCache,
    /// `store.compaction`
    Compaction,
    /// How often everything is read.
    ScrubPeriodS,
    /// How fast.
    ScrubRate,
    /// How long what is expunged can be brought back.
    RetentionS,
}

/// What defaults depend on.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The data directory, as it was chosen.
    pub data: PathBuf,
    /// This host's name.
    pub host_name: String,
    /// Shards that will run.
    pub shards: usize,
    /// Octets of memory that this process may hold, as it was chosen.
    pub memory: u64,
}

/// A setting's row.
pub struct Row {
    /// Which.
    pub key: Key,
    /// Its name, with its table: `limits.message_bytes_max`.
    pub path: &'static str,
    /// What may be written.
    pub kind: Kind,
    /// What it means: a line or two, for people.
    pub about: &'static str,
    /// Its value where nothing is said.
    pub default: fn(&Surroundings) -> Value,
}

const fn number(least: u64, most: u64) -> Kind {
    Kind::Number { least, most, fit: Fit::Any }
}

/// The sections, in the order in which settings are shown; what is outside tables comes first. Their rows together stand in the
/// order of [`Key`].
const SECTIONS: [&[Row]; 14] = [
    server::ROWS,
    log::ROWS,
    shards::ROWS,
    tls::ROWS,
    limits::ROWS,
    login::ROWS,
    accounts::ROWS,
    submission::ROWS,
    sendmail::ROWS,
    smtp::ROWS,
    http::ROWS,
    dns::ROWS,
    filter::ROWS,
    store::ROWS,
];

/// The table.
pub static KEYS: [&Row; COUNT] = {
    let mut rows = [&SECTIONS[0][0]; COUNT];
    let (mut filled, mut section) = (0, 0);
    while section < SECTIONS.len() {
        let mut row = 0;
        while row < SECTIONS[section].len() {
            rows[filled] = &SECTIONS[section][row];
            (filled, row) = (filled + 1, row + 1);
        }
        section += 1;
    }
    rows
};

/// Settings there are.
const COUNT: usize = {
    let (mut count, mut section) = (0, 0);
    while section < SECTIONS.len() {
        (count, section) = (count + SECTIONS[section].len(), section + 1);
    }
    count
};

impl Key {
    /// Its row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        let row = KEYS[self as usize];
        assert_eq!(row.key, self, "rows stand in the order of the enum");
        row
    }

    /// Its name.
    #[must_use]
    pub fn path(self) -> &'static str {
        self.row().path
    }

    /// The setting of that name.
    #[must_use]
    pub fn named(path: &str) -> Option<Key> {
        KEYS.iter().find(|row| row.path == path).map(|row| row.key)
    }
}

impl Row {
    /// Table and name: `("limits", "message_bytes_max")`; outside tables the first is empty.
    #[must_use]
    pub fn split(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }
}

/// True if settings have such a table.
#[must_use]
pub fn is_table(name: &str) -> bool {
    !name.is_empty() && KEYS.iter().any(|row| row.split().0 == name)
}

/// Three quarters of the memory there is for this process: of this host, or of its control group if that may have less.
#[must_use]
pub fn memory_here() -> u64 {
    let host = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let group = |file: &str| std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].map(group);
    let least = groups.into_iter().flatten().chain(host.map(|kib| kib << 10)).min();
    (least.unwrap_or(4 << 30) / 4 * 3).max(limits::MEMORY_MIN)
}

/// This host's name, if it is one that SMTP can say; else `localhost`.
#[must_use]
pub fn this_host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    if host_name(&name).is_ok() { name } else { "localhost".to_owned() }
}

pub(super) fn host_name(name: &str) -> Result<(), String> {
    let sound = name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if sound { Ok(()) } else { Err("write a host name in the ASCII form that DNS uses, as mx.example.org".to_owned()) }
}

/// Where the configuration file of a data directory is.
#[must_use]
pub fn file_in(data: &Path) -> PathBuf {
    data.join("ringpost.toml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_setting_has_one_row_and_a_default_that_its_own_kind_accepts() {
        let here = Surroundings { data: "d".into(), host_name: this_host(), shards: 3, memory: 1 << 30 };
        for row in &KEYS {
            assert_eq!(row.key.row().path, row.path);
            assert_eq!(Key::named(row.path), Some(row.key));
            assert_eq!(row.kind.check(&(row.default)(&here)), Ok(()), "{}", row.path);
            assert!(row.about.ends_with('.') && row.path.matches('.').count() <= 2, "{}", row.path);
        }
        let paths: BTreeSet<_> = KEYS.iter().map(|row| row.path).collect();
        assert_eq!(paths.len(), KEYS.len());
    }

    #[test]
    fn rows_of_one_table_stand_together() {
        let tables: Vec<_> = KEYS.iter().map(|row| row.split().0).collect();
        let mut runs: Vec<_> = tables.chunk_by(|a, b| a == b).map(|run| run[0]).collect();
        assert_eq!(runs[0], "");
        let count = runs.len();
        runs.sort_unstable();
        runs.dedup();
        assert_eq!(runs.len(), count, "a table is shown once");
    }

    #[test]
    fn a_host_name_is_one_that_smtp_can_say() {
        for good in ["localhost", "mx.example.org", "a-b.c1"] {
            assert_eq!(host_name(good), Ok(()));
        }
        for bad in ["", ".", "a..b", "-a", "a-.b", "a_b", "bücher.example", "a b", &"a.".repeat(130)] {
            assert!(host_name(bad).is_err(), "{bad}");
        }
    }
}
