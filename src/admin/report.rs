//! What all shards have done and have, asked of each at once: for the operator as names and numbers, for Prometheus as families.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringpost_storage::{VolumeId, VolumeStats};

use super::ShardCounters;
use crate::filter::dnsbl;
use crate::net::Acceptors;
use crate::net::certificates::{Certificates, Identity};
use crate::observe::expose::{Family, Kind, Sample, Value, families};
use crate::observe::{self, Counter, Figures, Gauge, Measure, log};
use crate::office::words::ShardStats;
use crate::office::{Office, Reply, Request};
use crate::shard::{self, Process, ShardId};

/// What everybody said.
pub struct Report {
    /// Each shard; `None`: it did not answer.
    shards: Vec<(ShardId, Option<Box<ShardStats>>)>,
    /// Threads that are no shard's.
    elsewhere: Figures,
    process: Option<Process>,
    side_jobs_waiting: usize,
    certificates: Option<Arc<Certificates>>,
}

/// Asks everybody.
pub async fn report(office: &Office) -> Report {
    let answers = office.ask_all(|| Request::Stats).await;
    let stats = |answer| match answer {
        Some(Reply::Stats(stats)) => Some(stats),
        _ => None,
    };
    Report {
        shards: answers.into_iter().map(|(shard, answer)| (shard, stats(answer))).collect(),
        elsewhere: observe::elsewhere(),
        process: shard::process().await,
        side_jobs_waiting: shard::side_jobs_waiting(),
        certificates: office.settings.tls.as_ref().map(Acceptors::certificates),
    }
}

/// The one figure of which the volumes have no sum: the earliest counts.
const SCRUB_COMPLETED: &str = "volume_scrub_completed_timestamp_seconds";

/// What a volume tells of itself: name, meaning, kind, value.
fn volume_values(stats: &VolumeStats) -> [(&'static str, &'static str, Kind, u64); 33] {
    let VolumeStats {
        batches,
        transactions,
        records,
        written_bytes,
        body_bytes,
        durable: _,
        segments_put_off,
        reserves_lent,
        reserves_put_off,
        reserve_missing,
        full,
        damaged_regions,
        lost_batches,
        orphan_records,
        compacted_segments,
        compacted_bytes,
        forwards,
        forgets,
        accounts,
        accounts_loaded,
        accounts_loaded_bytes,
        folds_waiting,
        folds_failed,
        folds,
        folded_bytes,
        checkpoints,
        checkpoint_bytes,
        checkpoints_put_off,
        scrubbed_bytes,
        scrub_errors,
        scrub_passes,
        scrub_completed_s,
        failed,
    } = *stats;
    use Kind::{Counter, Gauge};
    [
        ("volume_batches_total", "Batches made durable", Counter, batches),
        ("volume_transactions_total", "Transactions made durable", Counter, transactions),
        ("volume_records_total", "Records made durable", Counter, records),
        ("volume_written_bytes_total", "Octets written in batches, padding included", Counter, written_bytes),
        ("volume_body_bytes_total", "Octets of bodies and prefixes in batches", Counter, body_bytes),
        ("volume_segments_put_off_total", "Times that the next segment could not be made", Counter, segments_put_off),
        ("volumes_full", "Volumes that take no mail for want of room", Gauge, u64::from(full)),
        ("volume_reserves_lent_total", "Times that the reserve became a segment", Counter, reserves_lent),
        ("volume_reserves_put_off_total", "Times that it could not be made again", Counter, reserves_put_off),
        ("volume_reserve_missing", "Volumes without their reserve", Gauge, u64::from(reserve_missing)),
        ("volume_damaged_regions", "Damaged regions found when it was opened", Gauge, damaged_regions),
        ("volume_lost_batches", "Acknowledged batches found lost when it was opened", Gauge, lost_batches),
        ("volume_orphan_records", "Records found that belong to nothing", Gauge, orphan_records),
        ("volume_compacted_segments_total", "Segments that were compacted", Counter, compacted_segments),
        ("volume_compacted_bytes_total", "Octets of bodies copied for it", Counter, compacted_bytes),
        ("volume_forwards", "Old places of what was moved that have to be remembered", Gauge, forwards),
        ("volume_forgets_total", "Times that some of them were forgotten", Counter, forgets),
        ("volume_accounts", "Accounts", Gauge, accounts),
        ("volume_accounts_loaded", "Accounts that are in memory whole", Gauge, accounts_loaded),
        ("volume_accounts_loaded_bytes", "Octets that those take, estimated", Gauge, accounts_loaded_bytes),
        ("volume_folds_waiting", "Accounts that wait to be folded", Gauge, folds_waiting),
        (
            "volume_folds_failed_total",
            "Accounts that could not be folded when it was their turn",
            Counter,
            folds_failed,
        ),
        ("volume_folds_total", "Roots of accounts that were written", Counter, folds),
        ("volume_folded_bytes_total", "Octets of roots and of what came with them", Counter, folded_bytes),
        ("volume_checkpoints_total", "Checkpoints taken", Counter, checkpoints),
        ("volume_checkpoint_bytes_total", "Octets of pages written for checkpoints", Counter, checkpoint_bytes),
        ("volume_checkpoints_put_off_total", "Times that a checkpoint found no room", Counter, checkpoints_put_off),
        (
            "volume_scrubbed_bytes_total",
            "Octets read to see whether they are as they were written",
            Counter,
            scrubbed_bytes,
        ),
        ("volume_scrub_errors_total", "Damaged places that a scrub found", Counter, scrub_errors),
        ("volume_scrub_passes_total", "Times that a scrub has read everything in use", Counter, scrub_passes),
        (SCRUB_COMPLETED, "When a scrub was complete last, seconds since 1970; 0: never", Gauge, scrub_completed_s),
        ("volumes_failed", "Volumes that take nothing any more until the next start", Gauge, u64::from(failed)),
        ("volumes_open", "Volumes being served", Gauge, 1),
    ]
}

impl Report {
    /// Shards that did not answer.
    #[must_use]
    pub fn silent(&self) -> Vec<ShardId> {
        self.shards.iter().filter(|(_, stats)| stats.is_none()).map(|(shard, _)| *shard).collect()
    }

    fn answered(&self) -> impl Iterator<Item = (ShardId, &ShardStats)> {
        self.shards.iter().filter_map(|(shard, stats)| Some((*shard, stats.as_deref()?)))
    }

    fn volumes(&self) -> impl Iterator<Item = (ShardId, VolumeId, &VolumeStats)> {
        self.answered().flat_map(|(shard, stats)| stats.volumes.iter().map(move |(id, stats)| (shard, *id, stats)))
    }

    /// All added up.
    fn sum(&self) -> Figures {
        let mut sum = self.elsewhere.clone();
        self.answered().for_each(|(_, stats)| sum.add(&stats.figures));
        sum
    }

    /// As names and numbers: the sums, families added up over their labels and each series by itself.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let mut named = named(&self.sum());
        named.insert("log_lines_lost_total".to_owned(), log::lines_lost());
        named.insert("side_jobs_waiting".to_owned(), self.side_jobs_waiting as u64);
        self.answered().for_each(|(_, stats)| name_shard(stats, &mut named));
        named
    }

    /// How many were measured of each kind, and the quantiles.
    #[must_use]
    pub fn measures(&self) -> BTreeMap<String, u64> {
        measured(&self.sum())
    }

    /// The same for each shard.
    #[must_use]
    pub fn by_shard(&self) -> Vec<ShardCounters> {
        let of = |stats: &ShardStats| {
            let mut named = named(&stats.figures);
            name_shard(stats, &mut named);
            named
        };
        self.answered()
            .map(|(shard, stats)| ShardCounters { shard, counters: of(stats), measures: measured(&stats.figures) })
            .collect()
    }

    /// For Prometheus. `sum`: the shards added up, instead of each with its label.
    #[must_use]
    pub fn families(&self, sum: bool) -> Vec<Family> {
        let all = self.sum();
        let mut by: Vec<(Option<String>, &Figures)> = Vec::new();
        if sum {
            by.push((None, &all));
        } else {
            by.extend(self.answered().map(|(shard, stats)| (Some(shard.to_string()), &stats.figures)));
        }
        let mut shown = families(&by, (!sum).then_some(&self.elsewhere));
        self.show_volumes(sum, &mut shown);
        self.show_shards(sum, &mut shown);
        self.show_lists(sum, &mut shown);
        let lost = Value::Whole(log::lines_lost());
        shown.push(Family::single(
            "ringpost_log_lines_lost_total",
            "Log lines dropped for want of room",
            Kind::Counter,
            lost,
        ));
        let waiting = Value::Whole(self.side_jobs_waiting as u64);
        shown.push(Family::single(
            "ringpost_side_jobs_waiting",
            "Jobs that wait for a side thread",
            Kind::Gauge,
            waiting,
        ));
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        shown.push(Family {
            name: "ringpost_build_info".to_owned(),
            help: "Which Ringpost this is",
            kind: Kind::Gauge,
            samples: vec![Sample { labels: version, value: Value::Whole(1) }],
        });
        shown.extend(self.certificates.as_deref().map(show_certificates));
        if let Some(process) = &self.process {
            show_process(process, &mut shown);
        }
        shown
    }

    fn show_volumes(&self, sum: bool, shown: &mut Vec<Family>) {
        for (at, (name, help, kind, _)) in volume_values(&VolumeStats::default()).into_iter().enumerate() {
            let values = self.volumes().map(|(shard, id, stats)| (shard, id, volume_values(stats)[at].3));
            let samples = if sum || name == "volumes_open" {
                let values = values.map(|(_, _, value)| value);
                let all = if name == SCRUB_COMPLETED { values.min().unwrap_or(0) } else { values.sum() };
                vec![Sample { labels: Vec::new(), value: Value::Whole(all) }]
            } else {
                values
                    .map(|(shard, id, value)| Sample {
                        labels: vec![("shard", shard.to_string()), ("volume", id.to_string())],
                        value: Value::Whole(value),
                    })
                    .collect()
            };
            shown.push(Family { name: format!("ringpost_{name}"), help, kind, samples });
        }
    }

    fn show_lists(&self, sum: bool, shown: &mut Vec<Family>) {
        let mut by: BTreeMap<(Option<ShardId>, &str), dnsbl::Told> = BTreeMap::new();
        for (shard, stats) in self.answered() {
            for (list, told) in &stats.lists {
                by.entry(((!sum).then_some(shard), list)).or_default().add(told);
            }
        }
        if by.is_empty() {
            return;
        }
        let labels = |(shard, list): (Option<ShardId>, &str)| {
            let shard = shard.map(|shard| ("shard", shard.to_string()));
            shard.into_iter().chain([("list", list.to_owned())]).collect::<Vec<_>>()
        };
        let (mut answers, mut took) = (Vec::new(), Vec::new());
        for (of, told) in by {
            for (answer, count) in [("listed", told.listed), ("not", told.not), ("none", told.nothing)] {
                let mut labels = labels(of);
                labels.push(("answer", answer.to_owned()));
                answers.push(Sample { labels, value: Value::Whole(count) });
            }
            let seconds = Duration::from_micros(told.took_us).as_secs_f64();
            took.push(Sample { labels: labels(of), value: Value::Real(seconds) });
        }
        let (kind, name) = (Kind::Counter, |name: &str| format!("ringpost_{name}"));
        let help = "What lists of addresses said of clients: they have them, they have not, nothing in time";
        shown.push(Family { name: name("filter_list_answers_total"), help, kind, samples: answers });
        let help = "How long lists of addresses took to answer, all answers together";
        shown.push(Family { name: name("filter_list_seconds_total"), help, kind, samples: took });
    }

    fn show_shards(&self, sum: bool, shown: &mut Vec<Family>) {
        let mut family = |name: &str, help, values: Vec<(ShardId, u64)>| {
            let samples = if sum {
                vec![Sample { labels: Vec::new(), value: Value::Whole(values.iter().map(|(_, value)| value).sum()) }]
            } else {
                let sample = |(shard, value): (ShardId, u64)| Sample {
                    labels: vec![("shard", shard.to_string())],
                    value: Value::Whole(value),
                };
                values.into_iter().map(sample).collect()
            };
            shown.push(Family { name: format!("ringpost_{name}"), help, kind: Kind::Gauge, samples });
        };
        let bodies = self.answered().map(|(shard, stats)| (shard, stats.bodies_in_flight_bytes)).collect();
        family("bodies_in_flight_bytes", "Octets of messages between receive and commit", bodies);
        let waiting = self.answered().map(|(shard, stats)| (shard, stats.greylist.0)).collect();
        family(
            "greylist_letters_waiting",
            "Letters that were told to come again, by greylisting, and have not",
            waiting,
        );
        let known = self.answered().map(|(shard, stats)| (shard, stats.greylist.1)).collect();
        family("greylist_networks_known", "Networks that came again, or were known before", known);
        let up = self.shards.iter().map(|(shard, stats)| (*shard, u64::from(stats.is_some()))).collect();
        family("shards_up", "Shards that answered when asked for these figures", up);
    }
}

/// The counters and gauges of some shards as names and numbers.
fn named(figures: &Figures) -> BTreeMap<String, u64> {
    let counters = Counter::ALL.iter().map(|c| (c.shown(), figures.counter(*c)));
    let gauges = Gauge::ALL.iter().map(|g| (g.shown(), figures.gauge(*g)));
    let mut named = BTreeMap::new();
    for (shown, value) in counters.chain(gauges) {
        *named.entry(shown.name.to_owned()).or_default() += value;
        if !shown.labels.is_empty() {
            let labels: Vec<String> = shown.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
            named.insert(format!("{}{{{}}}", shown.name, labels.join(",")), value);
        }
    }
    named
}

/// The histograms of some shards as names and numbers.
fn measured(figures: &Figures) -> BTreeMap<String, u64> {
    let mut named = BTreeMap::new();
    for measure in Measure::ALL {
        let tally = figures.tally(*measure);
        let name = match measure.unit() {
            observe::measure::Unit::Seconds => measure.name().replace("_seconds", "_us"),
            _ => measure.name().to_owned(),
        };
        named.insert(format!("{name}_count"), tally.count());
        for (part, word) in [(0.5, "p50"), (0.99, "p99"), (1.0, "max")] {
            named.insert(format!("{name}_{word}"), tally.quantile(part));
        }
    }
    named
}

/// What a shard has beside its counters, added to `named`.
fn name_shard(stats: &ShardStats, named: &mut BTreeMap<String, u64>) {
    *named.entry("bodies_in_flight_bytes".to_owned()).or_default() += stats.bodies_in_flight_bytes;
    *named.entry("greylist_letters_waiting".to_owned()).or_default() += stats.greylist.0;
    *named.entry("greylist_networks_known".to_owned()).or_default() += stats.greylist.1;
    for (list, told) in &stats.lists {
        for (answer, count) in [("listed", told.listed), ("not", told.not), ("none", told.nothing)] {
            *named.entry(format!("filter_list_answers_total{{list={list},answer={answer}}}")).or_default() += count;
        }
    }
    for (name, _, _, value) in stats.volumes.iter().flat_map(|(_, volume)| volume_values(volume)) {
        let name_here = name.strip_suffix("_total").unwrap_or(name).to_owned();
        match name == SCRUB_COMPLETED {
            true => drop(named.entry(name_here).and_modify(|least| *least = value.min(*least)).or_insert(value)),
            false => *named.entry(name_here).or_default() += value,
        }
    }
}

/// Until when what is shown to whoever asks for a name holds.
fn show_certificates(certificates: &Certificates) -> Family {
    let sample = |(name, one): (String, &Identity)| {
        let until_s = u64::try_from(one.validity()?.until_s).unwrap_or(0);
        Some(Sample {
            labels: vec![("name", name), ("key", one.kind().word().to_owned())],
            value: Value::Whole(until_s),
        })
    };
    Family {
        name: "ringpost_tls_certificate_expiry_seconds".to_owned(),
        help: "When the TLS certificate of a name, or one of its chain, ends to hold, seconds since 1970",
        kind: Kind::Gauge,
        samples: certificates.in_force().into_iter().filter_map(sample).collect(),
    }
}

/// The names that exporters of all languages share.
fn show_process(process: &Process, shown: &mut Vec<Family>) {
    let Process { cpu_s, resident_bytes, open_fds, max_fds, started_s } = *process;
    let mut add = |name: &str, help, kind, value| shown.push(Family::single(name, help, kind, value));
    add("process_cpu_seconds_total", "Processor time used, user and system", Kind::Counter, Value::Real(cpu_s));
    add("process_resident_memory_bytes", "Resident memory", Kind::Gauge, Value::Whole(resident_bytes));
    add("process_open_fds", "Open file descriptors", Kind::Gauge, Value::Whole(open_fds));
    if let Some(max) = max_fds {
        add("process_max_fds", "File descriptors it may open", Kind::Gauge, Value::Whole(max));
    }
    add("process_start_time_seconds", "When it started, seconds since 1970", Kind::Gauge, Value::Real(started_s));
}
