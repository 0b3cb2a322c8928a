//! The settings in force: what flags say, else the file, else the defaults; each with where it comes from.
//!
//! Where the file is looked for: `--config FILE`; else `ringpost.toml` in the data directory, if it is there. Nowhere
//! else, so that a server started on other data to try something out never takes the settings of the real one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::certificate::Certificate;
use super::keys::{self, DATA_DEFAULT, KEYS, Key, Surroundings};
use super::listener::{self, LISTENERS_MAX, Listener};
use super::mistake::{Mistake, Mistakes, Source};
use super::read::{self, Given};
use super::value::Value;
use ringpost_storage::Limits;

use super::{Config, DoorPlan, Founders, TlsPaths, Upkeep, check};
use crate::directory::catalogue::SendLimits;
use crate::dns;
use crate::filter::{self, Mode, RefuseAt};
use crate::net::census::Cidr;
use crate::observe::log::Format;
use crate::office::quota::OverQuota;
use crate::office::sending::SenderCheck;
use crate::office::{Argon2Cost, Settings};
use crate::proto::sasl::Allowed;
use crate::shard::{Place, Plan, Writing, plan};

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The file, from `--config`.
    pub file: Option<PathBuf>,
    /// Settings, each with its flag.
    pub flags: Vec<(Key, &'static str, Value)>,
    /// Listeners as `SERVICE=ADDRESS:PORT`, from `--listen`. Empty: nothing is said of them.
    pub listen: Vec<String>,
}

impl Asked {
    /// Adds what a flag says, if it was given.
    pub fn flag(&mut self, key: Key, flag: &'static str, value: Option<Value>) {
        self.flags.extend(value.map(|value| (key, flag, value)));
    }
}

/// The settings in force.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The file they were read from.
    pub file: Option<PathBuf>,
    /// Doors to open, before `port_offset`.
    pub listeners: Vec<Listener>,
    /// Certificates of the file's list, in its order.
    pub certificates: Vec<Certificate>,
    pub(super) values: BTreeMap<Key, (Value, Source)>,
    /// One CPU for each shard.
    pub(super) cpus: Vec<usize>,
    /// Shards with doors.
    pub(super) accept_on: Vec<usize>,
}

/// Settles what is in force, and says all that is wrong. What is wrong has its default in the first.
#[must_use]
pub fn examine(asked: &Asked) -> (Effective, Mistakes) {
    let said = |key| asked.flags.iter().rev().find(|(k, ..)| *k == key);
    let at = match said(Key::Data) {
        Some((.., Value::Path(data))) => data.clone(),
        _ => DATA_DEFAULT.into(),
    };
    let beside = keys::file_in(&at);
    let file = match &asked.file {
        Some(file) => Some(file.clone()),
        None => beside.exists().then_some(beside),
    };
    let mut mistakes = Mistakes { file: file.clone(), list: Vec::new() };
    let given = match &file {
        None => Given::default(),
        Some(path) => read::file(path).unwrap_or_else(|why| {
            mistakes.list.push(Mistake { at: Source::Default, why: format!("{}: {why}", path.display()) });
            Given::default()
        }),
    };
    mistakes.list.extend(given.mistakes);

    let mut values: BTreeMap<Key, (Value, Source)> =
        given.values.into_iter().map(|(key, (value, place))| (key, (value, Source::File(place)))).collect();
    if asked.file.is_none() {
        mistakes.list.extend(elsewhere(&at, values.get(&Key::Data)));
    }
    for (key, flag, value) in &asked.flags {
        match key.row().kind.check(value) {
            Ok(()) => drop(values.insert(*key, (value.clone(), Source::Flag(flag)))),
            Err(why) => mistakes.list.push(Mistake { at: Source::Flag(flag), why: format!("{value}: {why}") }),
        }
    }
    let listeners = listeners(asked, given.listeners, &mut mistakes.list);
    let certificates = given.certificates;
    let mut effective = Effective { file, listeners, certificates, values, cpus: Vec::new(), accept_on: Vec::new() };
    effective.place_shards(&mut mistakes.list);
    effective.fill_in();
    check::values(&effective, &mut mistakes.list);
    mistakes.sort();
    (effective, mistakes)
}

/// Settles what is in force for a server that is to start: values and the files they name.
///
/// # Errors
/// All mistakes.
pub fn load(asked: &Asked) -> Result<Effective, Mistakes> {
    let (effective, mut mistakes) = examine(asked);
    check::files(&effective, &mut mistakes.list);
    mistakes.sort();
    if mistakes.list.is_empty() { Ok(effective) } else { Err(mistakes) }
}

/// A file that was found in a data directory cannot send us to another: its admin verbs would look here.
fn elsewhere(found_in: &Path, data: Option<&(Value, Source)>) -> Option<Mistake> {
    let Some((Value::Path(data), at)) = data else { return None };
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    (real(found_in) != real(data)).then(|| Mistake {
        at: at.clone(),
        why: format!(
            "data: this file was found in the data directory {}: remove the line, or start with --config",
            found_in.display()
        ),
    })
}

fn listeners(asked: &Asked, given: Option<Vec<Listener>>, mistakes: &mut Vec<Mistake>) -> Vec<Listener> {
    if asked.listen.is_empty() {
        return given.unwrap_or_else(listener::defaults);
    }
    let mut found = Vec::new();
    for text in &asked.listen {
        match listener::from_flag(text) {
            Ok(listener) => found.push(listener),
            Err(why) => mistakes.push(Mistake { at: Source::Flag("--listen"), why }),
        }
    }
    if found.len() > LISTENERS_MAX {
        let why = format!("more than {LISTENERS_MAX} listeners: remove some");
        mistakes.push(Mistake { at: Source::Flag("--listen"), why });
    }
    found
}

impl Effective {
    /// Where a value comes from.
    #[must_use]
    pub fn source(&self, key: Key) -> &Source {
        &self.values[&key].1
    }

    /// A setting's value.
    #[must_use]
    pub fn value(&self, key: Key) -> &Value {
        &self.values[&key].0
    }

    pub(super) fn switch(&self, key: Key) -> bool {
        matches!(self.value(key), Value::Switch(true))
    }

    pub(super) fn number(&self, key: Key) -> u64 {
        match self.value(key) {
            Value::Number(n) => *n,
            other => panic!("{} is {other:?}, not a number", key.path()),
        }
    }

    fn send_limits(&self) -> SendLimits {
        let limit = |key| Some(self.narrow(key));
        SendLimits {
            messages_hour: limit(Key::MessagesPerHour),
            messages_day: limit(Key::MessagesPerDay),
            recipients_hour: limit(Key::RecipientsPerHour),
            recipients_day: limit(Key::RecipientsPerDay),
            recipients_message: limit(Key::RecipientsPerMessage),
        }
    }

    /// A number whose row's bounds fit the type.
    fn narrow<T: TryFrom<u64>>(&self, key: Key) -> T {
        T::try_from(self.number(key)).unwrap_or_else(|_| panic!("{} has a bound that fits its use", key.path()))
    }

    /// A text.
    #[must_use]
    pub fn text(&self, key: Key) -> &str {
        match self.value(key) {
            Value::Text(text) => text,
            other => panic!("{} is {other:?}, not text", key.path()),
        }
    }

    /// A file or folder.
    #[must_use]
    pub fn path(&self, key: Key) -> &Path {
        match self.value(key) {
            Value::Path(path) => path,
            other => panic!("{} is {other:?}, not a path", key.path()),
        }
    }

    pub(super) fn networks(&self, key: Key) -> &[Cidr] {
        match self.value(key) {
            Value::Networks(list) => list,
            other => panic!("{} is {other:?}, not networks", key.path()),
        }
    }

    pub(super) fn names(&self, key: Key) -> &[String] {
        match self.value(key) {
            Value::Names(list) => list,
            other => panic!("{} is {other:?}, not names", key.path()),
        }
    }

    /// Finds the shards, their CPUs, and those that open doors.
    fn place_shards(&mut self, mistakes: &mut Vec<Mistake>) {
        let said = |key| match self.values.get(&key) {
            Some((Value::Text(text), at)) if text != "all" => Some((text.clone(), at.clone())),
            _ => None,
        };
        let (pin, accept_on) = (said(Key::Pin), said(Key::AcceptOn));
        let (count, counted_at) = match self.values.get(&Key::Shards) {
            Some((Value::Number(n), at)) => (usize::try_from(*n).ok(), Some(at.clone())),
            _ => (None, None),
        };
        // A value that could not be read is not held against what it would have been.
        let unread = |mistakes: &[Mistake], key: Key| {
            let sentence = format!("{}: ", key.path());
            mistakes.iter().any(|mistake| mistake.why.starts_with(&sentence))
        };
        let unread = unread(mistakes, Key::Shards) || unread(mistakes, Key::Pin);
        let mut failed = |key: Key, at: Option<Source>, why: String| {
            mistakes.push(Mistake { at: at.unwrap_or(Source::Default), why: format!("{}: {why}", key.path()) });
        };
        let mut cpus = match plan::cpus(None, pin.as_ref().map(|p| p.0.as_str())) {
            Ok(cpus) => Some(cpus),
            Err(why) => {
                failed(Key::Pin, pin.clone().map(|p| p.1), why.to_string());
                None
            }
        };
        if let (Some(_), Some(_)) = (&cpus, count) {
            cpus = match plan::cpus(count, pin.as_ref().map(|p| p.0.as_str())) {
                Ok(cpus) => Some(cpus),
                Err(why) => {
                    failed(Key::Shards, counted_at, why.to_string());
                    None
                }
            };
        }
        // Where their number is not known, any shard may be meant.
        let shards = match (&cpus, count) {
            _ if unread => plan::SHARDS_MAX,
            (Some(cpus), _) => cpus.len(),
            (None, Some(count)) => count,
            (None, None) => plan::SHARDS_MAX,
        };
        let all: Vec<usize> = (0..shards).collect();
        self.accept_on = match accept_on {
            Some((list, at)) => plan::numbers("shard", &all, &list).unwrap_or_else(|why| {
                failed(Key::AcceptOn, Some(at), why.to_string());
                all.clone()
            }),
            None => all,
        };
        self.cpus = cpus.unwrap_or_else(|| vec![0]);
    }

    /// Gives every setting nobody spoke of its default.
    fn fill_in(&mut self) {
        let data = match self.values.get(&Key::Data) {
            Some((Value::Path(data), _)) => data.clone(),
            _ => DATA_DEFAULT.into(),
        };
        let memory = match self.values.get(&Key::Memory) {
            Some((Value::Number(octets), _)) => *octets,
            _ => keys::memory_here(),
        };
        let here = Surroundings { data, host_name: keys::this_host(), shards: self.cpus.len(), memory };
        for row in &KEYS {
            self.values.entry(row.key).or_insert_with(|| ((row.default)(&here), Source::Default));
        }
    }

    /// Where the first certificate is, if it is not one of the list: that of `[tls]`, or else our own.
    #[must_use]
    pub(super) fn first_tls(&self) -> Option<TlsPaths> {
        let said = [Key::TlsCert, Key::TlsKey].into_iter().any(|key| *self.source(key) != Source::Default);
        (said || self.certificates.is_empty())
            .then(|| TlsPaths { cert: self.path(Key::TlsCert).into(), key: self.path(Key::TlsKey).into() })
    }

    /// Where the certificates are, the default first.
    #[must_use]
    pub fn tls(&self) -> Vec<TlsPaths> {
        self.first_tls().into_iter().chain(self.certificates.iter().map(|one| one.paths.clone())).collect()
    }

    /// Whom DNS is asked of: if nothing is said, whom this host asks.
    #[must_use]
    pub fn dns(&self) -> dns::Settings {
        let said = self.names(Key::DnsResolvers).iter().filter_map(|text| dns::resolv_conf::address(text));
        let resolvers: Vec<SocketAddr> = said.collect();
        dns::Settings {
            resolvers: if resolvers.is_empty() { dns::resolv_conf::system() } else { resolvers },
            timeout_s: self.number(Key::DnsTimeoutS),
            attempts: self.narrow(Key::DnsAttempts),
            mixed_case: self.switch(Key::DnsMixedCase),
        }
    }

    /// Mechanisms that doors may offer.
    fn mechanisms(&self) -> Allowed {
        Allowed::named(self.names(Key::Mechanisms).iter().map(String::as_str)).expect("checked")
    }

    /// What filters are told.
    fn filter(&self) -> filter::Settings {
        let mode = |key| Mode::named(self.text(key));
        filter::Settings {
            exempt: self.networks(Key::FilterExempt).to_vec(),
            wait: Duration::from_millis(self.number(Key::FilterWaitMs)),
            refuse_at: match self.text(Key::FilterRefuseAt) {
                "mail" => RefuseAt::Mail,
                _ => RefuseAt::Rcpt,
            },
            pregreet: filter::pregreet::Settings {
                mode: mode(Key::PregreetMode),
                wait: Duration::from_millis(self.number(Key::PregreetWaitMs)),
                teaser: self.switch(Key::PregreetTeaser),
            },
            dnsbl: filter::dnsbl::Settings {
                mode: mode(Key::DnsblMode),
                sites: self.names(Key::DnsblLists).iter().map(|text| text.parse().expect("checked")).collect(),
                threshold: self.narrow(Key::DnsblThreshold),
                ask_local: self.switch(Key::DnsblAskLocal),
            },
            helo: filter::helo::Settings {
                modes: [Key::HeloInvalid, Key::HeloNotFqdn, Key::HeloOurs, Key::HeloLiteral, Key::HeloUnknown]
                    .map(mode),
            },
            sender_domain: filter::sender_domain::Settings {
                mode: mode(Key::SenderDomainMode),
                accept_on_failure: self.text(Key::SenderDomainOnFailure) == "accept",
            },
            greylist: filter::greylist::Settings {
                mode: mode(Key::GreylistMode),
                delay_s: self.narrow(Key::GreylistDelayS),
                window_s: self.narrow(Key::GreylistWindowS),
                keep_s: self.narrow::<u32>(Key::GreylistKeepDays) * 86_400,
            },
            keep_in: Some(self.path(Key::Data).join("greylist")),
        }
    }

    /// What `serve` logs.
    #[must_use]
    pub fn log_level(&self) -> &str {
        self.text(Key::LogLevel)
    }

    /// How lines of the log look.
    #[must_use]
    pub fn log_format(&self) -> Format {
        if self.text(Key::LogFormat) == "json" { Format::Json } else { Format::Human }
    }

    /// A listener's place with `port_offset` added; `None` beyond the last port.
    pub(super) fn address(&self, listener: &Listener) -> Option<Place> {
        let Some(at) = listener.address.net() else { return Some(listener.address.clone()) };
        let port = at.port().checked_add(self.narrow(Key::PortOffset))?;
        Some(Place::Net((at.ip(), port).into()))
    }

    /// What a start is told. Only for settings without mistakes.
    #[must_use]
    pub fn config(&self) -> Config {
        let door = |l: &Listener| DoorPlan {
            service: l.service,
            at: self.address(l).expect("checked: no port is beyond the last"),
            optional: l.optional,
            rules: Arc::new(l.rules.clone()),
        };
        let mut plan = Plan::for_cpus(self.cpus.clone());
        plan.ring_entries = self.narrow(Key::RingEntries);
        plan.recv_buffers = self.narrow(Key::RecvBuffers);
        Config {
            data: self.path(Key::Data).to_path_buf(),
            plan,
            doors: self.listeners.iter().map(door).collect(),
            accept_on: self.accept_on.clone(),
            settings: Settings {
                hostname: self.text(Key::Hostname).to_owned(),
                connections_max: self.narrow(Key::ConnectionsMax),
                connections_per_address_max: self.narrow(Key::ConnectionsPerAddressMax),
                connections_per_network_max: self
                    .narrow::<usize>(Key::ConnectionsPerNetworkMax)
                    .max(self.narrow(Key::ConnectionsPerAddressMax)),
                memory_max: self.number(Key::Memory),
                loop_delay_max_ms: self.number(Key::LoopDelay),
                message_bytes_max: self.number(Key::MessageBytesMax),
                exempt_networks: self.networks(Key::ExemptNetworks).to_vec(),
                plaintext_auth_networks: self.networks(Key::PlaintextNetworks).to_vec(),
                plaintext_auth_until_ms: keys::day_begins_ms(self.text(Key::PlaintextUntil)).expect("checked"),
                mechanisms: self.mechanisms(),
                remember_s: self.number(Key::RememberS),
                new_limits: Limits { bytes: self.number(Key::QuotaBytes), messages: self.narrow(Key::QuotaMessages) },
                send_limits: self.send_limits(),
                sender_check: match self.text(Key::SenderCheck) {
                    "off" => SenderCheck::Off,
                    "mail" => SenderCheck::Mail,
                    _ => SenderCheck::Header,
                },
                trusted_users: self.names(Key::TrustedUsers).to_vec(),
                over_quota: match self.text(Key::OverQuota) {
                    "reject" => OverQuota::Reject,
                    _ => OverQuota::Defer,
                },
                argon2: Argon2Cost {
                    memory_kib: self.narrow(Key::Argon2Memory),
                    passes: self.narrow(Key::Argon2Passes),
                },
                // Boot reads it.
                tls: None,
                reject_bare_newlines: self.switch(Key::RejectBareNewlines),
                http_hosts: self.names(Key::HttpHosts).to_vec(),
                dns: self.dns(),
                filter: self.filter(),
            },
            tls: self.tls(),
            founders: Founders::quickstart(),
            segment_bytes: self.number(Key::SegmentBytes),
            index_memory: self.number(Key::IndexMemory),
            compaction: self.switch(Key::Compaction),
            upkeep: Upkeep {
                scrub_period_s: self.number(Key::ScrubPeriodS),
                scrub_rate: self.number(Key::ScrubRate),
                retention_s: self.number(Key::RetentionS),
            },
            writing: if self.switch(Key::PageCache) { Writing::Buffered } else { Writing::Direct },
        }
    }
}
