//! Every setting there is: its name, kind, bounds, default and what it means. One row each, in one table.
//!
//! Rules:
//!
//! - A setting that has no effect is not listed, and one that is not listed is refused.
//! - Every setting has a default, so that an empty file is a good one.
//! - Flags of `ringpost serve` are held against the same rows.
//!
//! Listeners are a list of their own: see [`super::listener`].

use std::path::{Path, PathBuf};

use ringpost_storage::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN as SEGMENT_BYTES_UNIT};

use super::TlsPaths;
use super::value::{Fit, Kind, Value};
use crate::dns;
use crate::limits;
use crate::office::Argon2Cost;
use crate::shard::Plan;

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

/// The data directory unless said otherwise.
pub const DATA_DEFAULT: &str = "ringpost-data";

/// The least memory of a new password's hash, KiB: cheaper ones are guessed too fast when a store is stolen.
const ARGON2_MEMORY_KIB_MIN: u64 = 7_168;
/// The dearest cost a stored record may have, so that it can be read again: KiB and passes.
const ARGON2_MEMORY_KIB_MAX: u64 = 1 << 20;
const ARGON2_PASSES_MAX: u64 = 64;
/// The least segment, octets: a message must fit one (see `check`).
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Octets of a segment unless said otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Octets that accounts in memory may take. Less than the least: each command would read its mailbox anew.
const INDEX_MEMORY_MIN: u64 = 1 << 20;
const INDEX_MEMORY_DEFAULT: u64 = 512 << 20;
const INDEX_MEMORY_MAX: u64 = 1 << 40;
/// Thirty days.
pub(super) const SCRUB_PERIOD_S_DEFAULT: u64 = 7 * 86_400;
const SCRUB_RATE_MIN: u64 = 64 << 10;
pub(super) const SCRUB_RATE_DEFAULT: u64 = 8 << 20;
const SCRUB_RATE_MAX: u64 = 1 << 34;
/// Ten years: longer than anybody waits.
const YEARS_S_MAX: u64 = 3_650 * 86_400;

const fn number(least: u64, most: u64) -> Kind {
    Kind::Number { least, most, fit: Fit::Any }
}

fn ring_default() -> Plan {
    Plan::for_cpus(Vec::new())
}

/// The table. In the order in which settings are shown; what is outside tables comes first.
pub static KEYS: [Row; 40] = [
    Row {
        key: Key::Data,
        path: "data",
        kind: Kind::Path,
        about: "Directory that holds everything: accounts, mail, the admin socket. Made if missing.",
        default: |_| Value::Path(DATA_DEFAULT.into()),
    },
    Row {
        key: Key::Hostname,
        path: "hostname",
        kind: Kind::Text(host_name),
        about: "The name to greet with and to sign Received fields with. Default: this host's name.",
        default: |s| Value::Text(s.host_name.clone()),
    },
    Row {
        key: Key::PortOffset,
        path: "port_offset",
        kind: number(0, 65_534),
        about: "Added to the port of every listener: for a second server on one machine.",
        default: |_| Value::Number(0),
    },
    Row {
        key: Key::LogLevel,
        path: "log.level",
        kind: Kind::Text(log_level),
        about: "What `ringpost serve` logs: error, warn, info, debug, trace, or a filter such as \"warn,login=info\". \
                --log-level and $RINGPOST_LOG come before it.",
        default: |_| Value::Text("info".to_owned()),
    },
    Row {
        key: Key::LogFormat,
        path: "log.format",
        kind: Kind::OneOf(&["human", "json"]),
        about: "How lines of the log look: for people, or one JSON object a line.",
        default: |_| Value::Text("human".to_owned()),
    },
    Row {
        key: Key::Shards,
        path: "shards.count",
        kind: number(1, 1_024),
        about: "Shards to run, one thread each. A new store gets a volume for each. Default: one for each core.",
        default: |s| Value::Number(s.shards as u64),
    },
    Row {
        key: Key::Pin,
        path: "shards.pin",
        kind: Kind::Text(not_empty),
        about: "Cores to pin the shards to, such as \"0,2-5\", or \"all\" that this process may use.",
        default: |_| Value::Text("all".to_owned()),
    },
    Row {
        key: Key::AcceptOn,
        path: "shards.accept_on",
        kind: Kind::Text(not_empty),
        about: "Shards that open doors, such as \"1-3\", or \"all\"; the others only keep mailboxes.",
        default: |_| Value::Text("all".to_owned()),
    },
    Row {
        key: Key::RingEntries,
        path: "shards.ring_entries",
        kind: Kind::Number { least: 16, most: 32_768, fit: Fit::PowerOfTwo },
        about: "Submission entries of each shard's ring.",
        default: |_| Value::Number(ring_default().ring_entries.into()),
    },
    Row {
        key: Key::RecvBuffers,
        path: "shards.recv_buffers",
        kind: Kind::Number { least: 16, most: 32_768, fit: Fit::PowerOfTwo },
        about: "Receive buffers of each shard's ring.",
        default: |_| Value::Number(ring_default().recv_buffers.into()),
    },
    Row {
        key: Key::TlsCert,
        path: "tls.cert",
        kind: Kind::Path,
        about: "Certificate chain, PEM. Default: the one in the data directory, which the first start makes.",
        default: |s| Value::Path(TlsPaths::own(&s.data).cert),
    },
    Row {
        key: Key::TlsKey,
        path: "tls.key",
        kind: Kind::Path,
        about: "Its private key, PEM. Refused if others may read it.",
        default: |s| Value::Path(TlsPaths::own(&s.data).key),
    },
    Row {
        key: Key::ConnectionsMax,
        path: "limits.connections_max",
        kind: number(limits::CONNECTIONS_MIN as u64, limits::CONNECTIONS_MAX as u64),
        about: "Connections of each shard. More are told to come back. Fewer where the limit of open files leaves less.",
        default: |_| Value::Number(limits::CONNECTIONS_MAX as u64),
    },
    Row {
        key: Key::ConnectionsPerAddressMax,
        path: "limits.connections_per_address_max",
        kind: number(1, limits::CONNECTIONS_MAX as u64),
        about: "Connections of one address (IPv4) or /64 (IPv6) on each shard. More are told to come back.",
        default: |_| Value::Number(limits::CONNECTIONS_PER_ADDRESS_MAX as u64),
    },
    Row {
        key: Key::MessageBytesMax,
        path: "limits.message_bytes_max",
        kind: number(1_024, limits::MESSAGE_BYTES_MAX),
        about: "Largest message accepted, octets.",
        default: |_| Value::Number(limits::MESSAGE_BYTES_MAX),
    },
    Row {
        key: Key::ExemptNetworks,
        path: "limits.exempt_networks",
        kind: Kind::Networks,
        about: "Networks without per-address limits: your own relays, load tests.",
        default: |_| Value::Networks(Vec::new()),
    },
    Row {
        key: Key::ExemptWide,
        path: "limits.i_understand_exempt_networks_are_wide",
        kind: Kind::Switch,
        about: "Allows limits.exempt_networks that are wider than /8 (IPv4) or /32 (IPv6).",
        default: |_| Value::Switch(false),
    },
    Row {
        key: Key::PlaintextNetworks,
        path: "login.plaintext_networks",
        kind: Kind::Networks,
        about: "Networks that may log in without TLS: passwords cross them in the clear.",
        default: |_| Value::Networks(Vec::new()),
    },
    Row {
        key: Key::PlaintextUntil,
        path: "login.plaintext_until",
        kind: Kind::Text(day_or_never),
        about: "The first day (UTC) on which those networks need TLS again, as \"2027-06-30\", or \"never\". Each such login is \
                logged with tls=false.",
        default: |_| Value::Text("never".to_owned()),
    },
    Row {
        key: Key::PlaintextWide,
        path: "login.i_understand_plaintext_networks_are_wide",
        kind: Kind::Switch,
        about: "Allows login.plaintext_networks that are wider than /8 (IPv4) or /32 (IPv6).",
        default: |_| Value::Switch(false),
    },
    Row {
        key: Key::RememberS,
        path: "login.remember_s",
        kind: number(0, 3_600),
        about: "Seconds for which a password that was right is remembered, so that a mail program that connects again and again \
                costs a hash once. 0: every login computes it.",
        default: |_| Value::Number(300),
    },
    Row {
        key: Key::Argon2Memory,
        path: "login.argon2_memory_kib",
        kind: number(ARGON2_MEMORY_KIB_MIN, ARGON2_MEMORY_KIB_MAX),
        about: "Memory that hashing a new password takes (Argon2id), KiB.",
        default: |_| Value::Number(Argon2Cost::DEFAULT.memory_kib.into()),
    },
    Row {
        key: Key::Argon2Passes,
        path: "login.argon2_passes",
        kind: number(1, ARGON2_PASSES_MAX),
        about: "Passes over that memory.",
        default: |_| Value::Number(Argon2Cost::DEFAULT.passes.into()),
    },
    Row {
        key: Key::QuotaBytes,
        path: "accounts.quota_bytes",
        kind: number(0, u64::MAX >> 1),
        about: "Octets that a new account may keep; 0 is no limit. `ringpost account quota` sets one account's.",
        default: |_| Value::Number(0),
    },
    Row {
        key: Key::QuotaMessages,
        path: "accounts.quota_messages",
        kind: number(0, u32::MAX as u64),
        about: "Messages that a new account may keep; 0 is no limit.",
        default: |_| Value::Number(0),
    },
    Row {
        key: Key::OverQuota,
        path: "accounts.over_quota",
        kind: Kind::OneOf(&["defer", "reject"]),
        about: "Mail for an account that keeps as much as it may: defer tells its sender to come back (452), reject refuses it (552).",
        default: |_| Value::Text("defer".to_owned()),
    },
    Row {
        key: Key::RejectBareNewlines,
        path: "smtp.reject_bare_newlines",
        kind: Kind::Switch,
        about: "Refuse messages with a bare CR or LF (550 5.6.11) instead of making them canonical.",
        default: |_| Value::Switch(false),
    },
    Row {
        key: Key::HttpHosts,
        path: "http.hosts",
        kind: Kind::Names(host_name),
        about: "Names, beside localhost, any address and hostname, by which http may be asked, as [\"mx.internal\"]. Requests for \
                others are refused (421): their DNS could point a browser's pages at this host.",
        default: |_| Value::Names(Vec::new()),
    },
    Row {
        key: Key::HttpPublic,
        path: "http.i_understand_there_is_no_password",
        kind: Kind::Switch,
        about: "Allows http listeners on addresses other than loopback: whoever reaches them reads the figures.",
        default: |_| Value::Switch(false),
    },
    Row {
        key: Key::DnsResolvers,
        path: "dns.resolvers",
        kind: Kind::Names(resolver),
        about: "Resolvers to ask, in this order, as [\"127.0.0.1\", \"[2001:db8::1]:5353\"]; the best is one on this host that \
                validates. Default: those of /etc/resolv.conf at the start.",
        default: |_| Value::Names(Vec::new()),
    },
    Row {
        key: Key::DnsTimeoutS,
        path: "dns.timeout_s",
        kind: number(1, 10),
        about: "Seconds until a resolver that does not answer is given up and the next one is asked.",
        default: |_| Value::Number(dns::Settings::TIMEOUT_S_DEFAULT),
    },
    Row {
        key: Key::DnsAttempts,
        path: "dns.attempts",
        kind: number(1, 5),
        about: "How often each resolver is asked before a question fails for now.",
        default: |_| Value::Number(dns::Settings::ATTEMPTS_DEFAULT.into()),
    },
    Row {
        key: Key::DnsMixedCase,
        path: "dns.mixed_case",
        kind: Kind::Switch,
        about: "Writes letters of a question as capitals by chance and believes only answers that repeat them: harder to forge, \
                where the way to the resolver is long. Some resolvers do not repeat them and would never be heard.",
        default: |_| Value::Switch(false),
    },
    Row {
        key: Key::SegmentBytes,
        path: "store.segment_bytes",
        kind: Kind::Number {
            least: SEGMENT_BYTES_MIN,
            most: SEGMENT_BYTES_MAX,
            fit: Fit::MultipleOf(SEGMENT_BYTES_UNIT),
        },
        about: "Octets of a log segment in a new store. A store that is there keeps its own. A message must fit one.",
        default: |_| Value::Number(SEGMENT_BYTES_DEFAULT),
    },
    Row {
        key: Key::IndexMemory,
        path: "store.index_memory",
        kind: Kind::Number { least: INDEX_MEMORY_MIN, most: INDEX_MEMORY_MAX, fit: Fit::Any },
        about: "Octets of memory for mailboxes that were looked at lately, all volumes together: 64 for a message, some 500 for \
                an account. What is held by a command in progress counts and stays. Besides, each account takes some 150 \
                octets always.",
        default: |_| Value::Number(INDEX_MEMORY_DEFAULT),
    },
    Row {
        key: Key::PageCache,
        path: "store.page_cache",
        kind: Kind::Switch,
        about: "Writes the log through the page cache instead of past it (O_DIRECT), for a file system that is bad at the other. Costs more CPU.",
        default: |_| Value::Switch(false),
    },
    Row {
        key: Key::Compaction,
        path: "store.compaction",
        kind: Kind::Switch,
        about: "Gives the space of expunged messages back in the background, at a bounded rate.",
        default: |_| Value::Switch(true),
    },
    Row {
        key: Key::ScrubPeriodS,
        path: "store.scrub_period_s",
        kind: Kind::Number { least: 0, most: YEARS_S_MAX, fit: Fit::Any },
        about: "Seconds from the beginning of one scrub to the next: all that is in use is read from the disk and held against \
                its checksums, so that rot is found while there is a backup to mend it from. 0: none, but by `ringpost store scrub`.",
        default: |_| Value::Number(SCRUB_PERIOD_S_DEFAULT),
    },
    Row {
        key: Key::ScrubRate,
        path: "store.scrub_rate",
        kind: Kind::Number { least: SCRUB_RATE_MIN, most: SCRUB_RATE_MAX, fit: Fit::Any },
        about: "Octets that a scrub reads in a second, of each volume, at most. 1 TiB takes a day and a half at the default.",
        default: |_| Value::Number(SCRUB_RATE_DEFAULT),
    },
    Row {
        key: Key::RetentionS,
        path: "store.retention_s",
        kind: Kind::Number { least: 0, most: YEARS_S_MAX, fit: Fit::Any },
        about: "Seconds for which expunged messages, and those of removed mailboxes, can be brought back (`ringpost account \
                undelete`): 604800 is a week. They take space and count for no quota. 0: what is expunged is gone, as its owner \
                expects, and what POP3 fetches and deletes takes no space for days.",
        default: |_| Value::Number(0),
    },
];

impl Key {
    /// Its row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        let row = &KEYS[self as usize];
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

/// This host's name, if it is one that SMTP can say; else `localhost`.
#[must_use]
pub fn this_host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    if host_name(&name).is_ok() { name } else { "localhost".to_owned() }
}

fn host_name(name: &str) -> Result<(), String> {
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

fn resolver(address: &str) -> Result<(), String> {
    match dns::resolv_conf::address(address) {
        Some(_) => Ok(()),
        None => Err("write a resolver's address, as 127.0.0.1 or [2001:db8::1]:5353".to_owned()),
    }
}

fn log_level(level: &str) -> Result<(), String> {
    crate::observe::log::check_level(level)
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("write numbers and ranges like 0,2-5, or all".to_owned()) } else { Ok(()) }
}

fn day_or_never(text: &str) -> Result<(), String> {
    match day_begins_ms(text) {
        Ok(_) => Ok(()),
        Err(()) => Err("write a day as \"2027-06-30\", or \"never\"".to_owned()),
    }
}

/// When a day begins in UTC, milliseconds since 1970; `None` for `never`.
pub(super) fn day_begins_ms(text: &str) -> Result<Option<u64>, ()> {
    if text == "never" {
        return Ok(None);
    }
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let day = time::Date::parse(text, format).map_err(|_| ())?;
    let seconds = day.midnight().assume_utc().unix_timestamp();
    Ok(Some(u64::try_from(seconds).map_err(|_| ())?.saturating_mul(1_000)))
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
        let here = Surroundings { data: "d".into(), host_name: this_host(), shards: 3 };
        for row in &KEYS {
            assert_eq!(row.key.row().path, row.path);
            assert_eq!(Key::named(row.path), Some(row.key));
            assert_eq!(row.kind.check(&(row.default)(&here)), Ok(()), "{}", row.path);
            assert!(row.about.ends_with('.') && row.path.matches('.').count() <= 1, "{}", row.path);
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
