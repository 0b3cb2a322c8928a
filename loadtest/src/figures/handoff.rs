//! `ringpost-loadtest handoff`: how long a logged-in connection is nobody's, on its way to the shard of its account.
//!
//! The server measures it, from the decision on the shard that accepted to the first step on the other, and shows it as the
//! histogram `ringpost_handoff_seconds` at `/metrics`. Here are the logins that cause it: every one must be handed over, or
//! the run fails, because a login that stays says nothing. Quantiles are known as far as the histogram's buckets tell.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Serialize;

use super::{Cost, Place, Sheet, crowd, share};
use crate::accept::resolve;
use crate::imap::Client;
use crate::tls::Versions;

/// The histogram's name.
const HISTOGRAM: &str = "ringpost_handoff_seconds";
/// Octets of an answer that are read; the rest is not.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Options of `handoff`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub place: Place,
    /// The HTTP listener that shows the server's figures.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2080")]
    pub http: String,
    /// Logins measured.
    #[arg(long, default_value_t = 500)]
    pub logins: u64,
    /// Logins before them.
    #[arg(long, default_value_t = 20)]
    pub warmup: u64,
    /// Connections at a time.
    #[arg(long, default_value_t = 1)]
    pub at_once: usize,
    /// Under TLS 1.3, on the IMAPS port.
    #[arg(long)]
    pub tls: bool,
    /// Fail when the median is above this, µs.
    #[arg(long, value_name = "MICROSECONDS")]
    pub max_us: Option<f64>,
}

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub tls: bool,
    pub handed_over: u64,
    pub mean_us: f64,
    /// Upper bounds of the buckets in which these lie; `None`: beyond the last.
    pub median_us_max: Option<f64>,
    pub p99_us_max: Option<f64>,
    pub longest_us_max: Option<f64>,
    /// Bucket's upper bound in µs (beyond the last: none), and how many lie in it.
    pub buckets: Vec<(Option<f64>, u64)>,
    pub login: Cost,
    pub remarks: Vec<String>,
}

/// Runs the measure. `Ok(true)`: every login was handed over and `--max-us` was kept.
pub fn run(args: &Args) -> Result<bool, String> {
    let (accounts, mut gauge) = args.place.begin()?;
    let way = args.place.way(None, args.tls.then_some((Versions::Tls13, false)))?;
    let threads = args.at_once.max(1);
    let logins = |thread: usize, total: u64| -> Result<(), String> {
        (0..share(total, threads, thread)).try_for_each(|n| {
            let account = &accounts[(thread as u64 + n * threads as u64) as usize % accounts.len()];
            let login = || {
                let mut client = Client::greeted(&way)?;
                client.log_in(account)?;
                client.logout()
            };
            login().map_err(|e: crate::wire::Error| format!("{}: {e}", way.server))
        })
    };
    let http = resolve(&args.http)?;
    let shown = || scrape(http, way.patience).map(|text| Histogram::parse(&text, HISTOGRAM));
    crowd(&mut gauge, threads, |thread| logins(thread, args.warmup))?;
    let before = shown()?;
    let (_, spent) = crowd(&mut gauge, threads, |thread| logins(thread, args.logins))?;
    let rise = shown()?.since(&before);
    if rise.count() != args.logins {
        return Err(format!(
            "{} of {} logins were handed over: accept on one shard and keep the mailboxes on another \
             (a store made with --shards 1, served with --shards 2 --accept-on 1)",
            rise.count(),
            args.logins
        ));
    }
    let figures = Figures {
        tls: args.tls,
        handed_over: rise.count(),
        mean_us: rise.sum_s * 1e6 / rise.count().max(1) as f64,
        median_us_max: rise.quantile_us_max(0.5),
        p99_us_max: rise.quantile_us_max(0.99),
        longest_us_max: rise.quantile_us_max(1.0),
        buckets: rise.buckets.iter().map(|(bound, n)| (micros(*bound), *n)).collect(),
        login: Cost::of(&spent, args.logins),
        remarks: gauge.remarks,
    };
    args.place.publish(&sheet(args, &figures), &figures)?;
    Ok(args.max_us.is_none_or(|max| figures.median_us_max.is_some_and(|us| us <= max)))
}

fn sheet(args: &Args, figures: &Figures) -> Sheet {
    let mut sheet = Sheet { remarks: figures.remarks.clone(), ..Sheet::default() };
    let under = if figures.tls { "TLS 1.3" } else { "plain" };
    sheet.row("handed over", figures.handed_over.to_string(), &format!("{under}, {} at a time", args.at_once));
    sheet.row("hand-off, mean", format!("{:.1} µs", figures.mean_us), "from the decision to the first step there");
    for (name, bound) in
        [("median", figures.median_us_max), ("p99", figures.p99_us_max), ("longest", figures.longest_us_max)]
    {
        let value = bound.map_or("beyond the last bucket".into(), |us| format!("≤ {us:.0} µs"));
        sheet.row(&format!("  {name}"), value, "its bucket's bound");
    }
    figures.login.rows(&mut sheet, "login", "connect, greeting, LOGIN, hand-off, LOGOUT");
    sheet
}

/// The text at `/metrics`, asked for in the oldest way, whose answer ends with the connection.
fn scrape(http: SocketAddr, patience: Duration) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&http, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut text = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = ask().map_err(|e| format!("http://{http}/metrics: {e}"))?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.") && head.contains(" 200 ") => Ok(body.to_owned()),
        _ => Err(format!("http://{http}/metrics: {}", text.lines().next().unwrap_or("no answer"))),
    }
}

/// A histogram of all shards together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Histogram {
    /// Upper bound in seconds (infinite for the last), and how many lie in the bucket; bounds rise.
    buckets: Vec<(f64, u64)>,
    sum_s: f64,
}

impl Histogram {
    /// Adds up the series of `name` in Prometheus's text form. Its buckets are cumulative, these are not.
    pub(super) fn parse(text: &str, name: &str) -> Histogram {
        let mut cumulative: Vec<(f64, u64)> = Vec::new();
        let mut sum_s = 0.0;
        for line in text.lines().filter_map(|l| l.strip_prefix(name)) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            if let Some(labels) = series.strip_prefix("_bucket") {
                let bound = labels.split_once("le=\"").and_then(|(_, rest)| rest.split_once('"'));
                let Some(bound) = bound.and_then(|(bound, _)| bound.parse::<f64>().ok()) else { continue };
                let Ok(count) = value.parse::<u64>() else { continue };
                match cumulative.iter_mut().find(|(known, _)| *known == bound) {
                    Some((_, sum)) => *sum += count,
                    None => cumulative.push((bound, count)),
                }
            } else if series.starts_with("_sum") {
                sum_s += value.parse::<f64>().unwrap_or(0.0);
            }
        }
        cumulative.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut below = 0;
        let buckets = cumulative.into_iter().map(|(bound, count)| {
            let within = count.saturating_sub(below);
            below = count;
            (bound, within)
        });
        Histogram { buckets: buckets.collect(), sum_s }
    }

    fn since(&self, before: &Histogram) -> Histogram {
        let was = |bound: f64| before.buckets.iter().find(|(known, _)| *known == bound).map_or(0, |(_, n)| *n);
        let buckets = self.buckets.iter().map(|(bound, n)| (*bound, n.saturating_sub(was(*bound))));
        Histogram { buckets: buckets.collect(), sum_s: self.sum_s - before.sum_s }
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, n)| n).sum()
    }

    /// The bound of the bucket below which this part of all values lies, µs.
    fn quantile_us_max(&self, part: f64) -> Option<f64> {
        let wanted = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().find(|(_, n)| {
            seen += n;
            seen >= wanted
        });
        bucket.and_then(|(bound, _)| micros(*bound))
    }
}

fn micros(bound_s: f64) -> Option<f64> {
    bound_s.is_finite().then_some(bound_s * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# TYPE x_seconds histogram\n\
        x_seconds_sum{shard=\"0\"} 0.5\n\
        x_seconds_bucket{shard=\"0\",le=\"0.0001\"} 1\n\
        x_seconds_bucket{shard=\"0\",le=\"0.001\"} 1\n\
        x_seconds_bucket{shard=\"0\",le=\"+Inf\"} 2\n";
    const AFTER: &str = "x_seconds_sum{shard=\"0\"} 0.5\n\
        x_seconds_bucket{shard=\"0\",le=\"0.0001\"} 1\n\
        x_seconds_bucket{shard=\"0\",le=\"0.001\"} 1\n\
        x_seconds_bucket{shard=\"0\",le=\"+Inf\"} 2\n\
        x_seconds_bucket{shard=\"1\",le=\"0.0001\"} 97\n\
        x_seconds_bucket{shard=\"1\",le=\"0.001\"} 99\n\
        x_seconds_bucket{shard=\"1\",le=\"+Inf\"} 100\n\
        x_seconds_sum{shard=\"1\"} 0.01\n\
        x_seconds_count{shard=\"1\"} 100\n";

    #[test]
    fn the_shards_are_added_up_and_the_buckets_taken_apart() {
        let rise = Histogram::parse(AFTER, "x_seconds").since(&Histogram::parse(BEFORE, "x_seconds"));
        assert_eq!(rise.buckets, [(0.0001, 97), (0.001, 2), (f64::INFINITY, 1)]);
        assert_eq!(rise.count(), 100);
        assert!((rise.sum_s - 0.01).abs() < 1e-9);
        assert_eq!(rise.quantile_us_max(0.5).map(f64::round), Some(100.0));
        assert_eq!(rise.quantile_us_max(0.98).map(f64::round), Some(1_000.0));
        assert_eq!(rise.quantile_us_max(1.0), None, "one lies beyond the last bound");
    }

    #[test]
    fn what_is_not_shown_is_nothing() {
        assert_eq!(Histogram::parse(AFTER, "y_seconds").count(), 0);
    }
}
