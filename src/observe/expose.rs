//! How Prometheus reads it: families of samples, written as OpenMetrics or as the older text format.
//!
//! prometheus-client writes OpenMetrics 1.0; the text format 0.0.4 differs from it in a few kinds of line only (see [`older`]).
//! Histograms are cumulative: `_bucket` with `le`, `_sum`, `_count`, and the last bucket is `+Inf`.

use std::fmt::Write as _;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{self, Registry};

use super::{Counter, Figures, Gauge, Measure, measure};

/// All samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// As it is shown, with its unit and, if it counts, `_total`.
    pub name: String,
    /// What it means, without a full stop.
    pub help: &'static str,
    /// What its samples are.
    pub kind: Kind,
    /// One for each set of labels.
    pub samples: Vec<Sample>,
}

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One series' present value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Label and value. The values are ours: no peer's word is among them (A183).
    pub labels: Vec<(&'static str, String)>,
    /// How much.
    pub value: Value,
}

/// How much.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// Seconds, mostly.
    Real(f64),
    /// A distribution: the sum of all values, and how many lie in each bucket, the last being everything beyond.
    Buckets {
        /// Of all values.
        sum: f64,
        /// Upper bound and how many; not cumulative.
        buckets: Vec<(f64, u64)>,
    },
}

impl Family {
    /// A family with one sample without labels.
    #[must_use]
    pub fn single(name: &str, help: &'static str, kind: Kind, value: Value) -> Self {
        Family { name: name.to_owned(), help, kind, samples: vec![Sample { labels: Vec::new(), value }] }
    }
}

/// What the shards counted and measured. Each of `by`: the value of the label `shard`, or `None` for a sum of all.
/// `elsewhere`: what threads that are no shard's counted; only what has no other label can be theirs.
#[must_use]
pub fn families(by: &[(Option<String>, &Figures)], elsewhere: Option<&Figures>) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let shown = Counter::ALL.iter().map(|c| (c.shown(), Kind::Counter));
    let shown = shown.chain(Gauge::ALL.iter().map(|g| (g.shown(), Kind::Gauge)));
    for (cell, (shown, kind)) in shown.enumerate() {
        let name = format!("ringpost_{}", shown.name);
        if families.last().is_none_or(|f| f.name != name) {
            families.push(Family { name, help: shown.help, kind, samples: Vec::new() });
        }
        let family = families.last_mut().expect("pushed if need be");
        for (shard, figures) in by {
            let mut labels = labels_of(shard.as_ref());
            labels.extend(shown.labels.iter().map(|(label, value)| (*label, (*value).to_owned())));
            family.samples.push(Sample { labels, value: Value::Whole(figures.counts[cell]) });
        }
        if let Some(figures) = elsewhere.filter(|_| shown.labels.is_empty()) {
            let labels = vec![("shard", "none".to_owned())];
            family.samples.push(Sample { labels, value: Value::Whole(figures.counts[cell]) });
        }
    }
    for measure in Measure::ALL {
        let samples = by
            .iter()
            .map(|(shard, figures)| Sample {
                labels: labels_of(shard.as_ref()),
                value: distribution(*measure, figures.tally(*measure)),
            })
            .collect();
        let name = format!("ringpost_{}", measure.name());
        families.push(Family { name, help: measure.help(), kind: Kind::Histogram, samples });
    }
    families
}

fn labels_of(shard: Option<&String>) -> Vec<(&'static str, String)> {
    shard.map(|shard| ("shard", shard.clone())).into_iter().collect()
}

fn distribution(measure: Measure, tally: &measure::Tally) -> Value {
    let scale = if measure.unit() == measure::Unit::Seconds { 1e6 } else { 1.0 };
    let bounds = measure.bounds().iter().map(|bound| shown_real(*bound) / scale).chain([f64::MAX]);
    Value::Buckets {
        sum: shown_real(tally.sum()) / scale,
        buckets: bounds.zip(tally.buckets(measure.bounds())).collect(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus keeps every value so")]
fn shown_real(value: u64) -> f64 {
    value as f64
}

/// OpenMetrics 1.0, `application/openmetrics-text`.
#[must_use]
pub fn open_metrics(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Shelf(families)));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes everything");
    text
}

/// Text format 0.0.4, `text/plain`.
#[must_use]
pub fn text(families: Vec<Family>) -> String {
    older(&open_metrics(families))
}

/// The older format has no UNIT and EOF, and calls a counter by the whole name of its samples.
fn older(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = "";
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), ..) => help = line,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let total = if kind == "counter" { "_total" } else { "" };
                let said = help.splitn(4, ' ').nth(3).unwrap_or_default();
                let _ = writeln!(text, "# HELP {name}{total} {said}\n# TYPE {name}{total} {kind}");
            }
            (Some("#"), ..) => {}
            _ => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

#[derive(Debug)]
struct Shelf(Vec<Family>);

impl Collector for Shelf {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for Family { name, help, kind: kind_of, samples } in &self.0 {
            let (kind, name) = match kind_of {
                Kind::Counter => (MetricType::Counter, name.strip_suffix("_total").expect("a counter's name")),
                Kind::Gauge => (MetricType::Gauge, name.as_str()),
                Kind::Histogram => (MetricType::Histogram, name.as_str()),
            };
            let unit = [registry::Unit::Seconds, registry::Unit::Bytes]
                .into_iter()
                .find_map(|u| Some((name.strip_suffix(u.as_str())?.strip_suffix('_')?, u)));
            let (stem, unit) = unit.map_or((name, None), |(stem, unit)| (stem, Some(unit)));
            let mut family = encoder.encode_descriptor(stem, help, unit.as_ref(), kind)?;
            for sample in samples {
                if sample.labels.is_empty() {
                    sample.value.encode(&mut family, *kind_of)?;
                } else {
                    sample.value.encode(&mut family.encode_family(&sample.labels)?, *kind_of)?;
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, encoder: &mut MetricEncoder<'_>, kind: Kind) -> std::fmt::Result {
        type NoExemplar<'a> = Option<&'a Exemplar<NoLabelSet, f64>>;
        match (self, kind) {
            (Value::Whole(value), Kind::Counter) => encoder.encode_counter(value, NoExemplar::None),
            (Value::Real(value), Kind::Counter) => encoder.encode_counter(value, NoExemplar::None),
            (Value::Whole(value), _) => encoder.encode_gauge(value),
            (Value::Real(value), _) => encoder.encode_gauge(value),
            (Value::Buckets { sum, buckets }, _) => {
                let count = buckets.iter().map(|(_, n)| n).sum();
                encoder.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Family> {
        let labels = vec![("shard", "0".to_owned())];
        vec![
            Family {
                name: "ringpost_sent_bytes_total".to_owned(),
                help: "Octets sent",
                kind: Kind::Counter,
                samples: vec![Sample { labels: labels.clone(), value: Value::Whole(7) }],
            },
            Family::single("ringpost_volumes_failed", "Volumes that failed", Kind::Gauge, Value::Whole(0)),
            Family {
                name: "ringpost_commit_seconds".to_owned(),
                help: "A commit",
                kind: Kind::Histogram,
                samples: vec![Sample {
                    labels,
                    value: Value::Buckets { sum: 0.75, buckets: vec![(0.25, 1), (0.5, 0), (f64::MAX, 1)] },
                }],
            },
        ]
    }

    #[test]
    fn the_older_format_calls_a_counter_by_its_whole_name() {
        assert_eq!(
            text(sample()),
            "# HELP ringpost_sent_bytes_total Octets sent\n\
             # TYPE ringpost_sent_bytes_total counter\n\
             ringpost_sent_bytes_total{shard=\"0\"} 7\n\
             # HELP ringpost_volumes_failed Volumes that failed\n\
             # TYPE ringpost_volumes_failed gauge\n\
             ringpost_volumes_failed 0\n\
             # HELP ringpost_commit_seconds A commit\n\
             # TYPE ringpost_commit_seconds histogram\n\
             ringpost_commit_seconds_sum{shard=\"0\"} 0.75\n\
             ringpost_commit_seconds_count{shard=\"0\"} 2\n\
             ringpost_commit_seconds_bucket{le=\"0.25\",shard=\"0\"} 1\n\
             ringpost_commit_seconds_bucket{le=\"0.5\",shard=\"0\"} 1\n\
             ringpost_commit_seconds_bucket{le=\"+Inf\",shard=\"0\"} 2\n"
        );
    }

    #[test]
    fn openmetrics_has_units_and_an_end() {
        let text = open_metrics(sample());
        for line in ["# TYPE ringpost_sent_bytes counter\n", "# UNIT ringpost_commit_seconds seconds\n", "} 7\n"] {
            assert!(text.contains(line), "{line:?} in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn every_counter_has_a_sample_for_each_shard_and_each_histogram_adds_up() {
        let (one, two) = (Figures::default(), Figures::default());
        let all = families(&[(Some("0".to_owned()), &one), (Some("1".to_owned()), &two)], None);
        let samples: usize = all.iter().map(|f| f.samples.len()).sum();
        assert_eq!(samples, 2 * (Counter::ALL.len() + Gauge::ALL.len() + Measure::ALL.len()));
        let mut names: Vec<_> = all.iter().map(|f| &f.name).collect();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }
}
