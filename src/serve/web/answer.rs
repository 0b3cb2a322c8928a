//! What is asked for and what is answered.
//!
//! | path | answer |
//! |---|---|
//! | `/` | what there is |
//! | `/healthz` | 200 `ok`, or 503 and what is amiss, a line each |
//! | `/metrics` | Prometheus text, or OpenMetrics where Accept prefers it; `?shards=sum`: the shards added up, 503 unless all answer |
//!
//! Before a path is looked at: a host that is ours (A178: a name that somebody else's DNS points at loopback is not), GET or HEAD,
//! and no body (A173). The first thing that is wrong is answered.

use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr};

use http_body_util::Full;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

use super::health;
use crate::admin;
use crate::limits;
use crate::mail::date;
use crate::observe::{self, Counter, expose};
use crate::office::{Office, Settings};
use crate::shard;

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
/// Prometheus' own names of its formats.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const INDEX: &str = "<!DOCTYPE html>\n<html lang=\"en\"><title>Ringpost</title>\n<h1>Ringpost</h1>\n<ul>\n\
    <li><a href=\"/healthz\">/healthz</a>: every shard accepts\n\
    <li><a href=\"/metrics\">/metrics</a>: figures of each shard, for Prometheus\n\
    <li><a href=\"/metrics?shards=sum\">/metrics?shards=sum</a>: the same added up\n</ul>\n</html>\n";

/// Answers a request. `last`: the connection ends after it.
pub async fn answer(office: &Office, request: &Request<Incoming>, last: bool) -> Response<Full<Bytes>> {
    observe::count(Counter::CommandsHttp);
    let mut answer = match refused(office, request) {
        None => found(office, request).await,
        Some(refusal) => refusal,
    };
    let headers = answer.headers_mut();
    // A body is never read: what follows it could not be told from it (RFC 9112 §9.6).
    if last || !request.body().is_end_stream() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    let now_ms = i64::try_from(shard::wall_ms()).unwrap_or(i64::MAX);
    if let Ok(date) = HeaderValue::from_str(&date::http(now_ms)) {
        headers.insert(header::DATE, date);
    }
    observe::count(match answer.status().as_u16() {
        500.. => Counter::Http5xx,
        400.. => Counter::Http4xx,
        _ => Counter::Http2xx,
    });
    answer
}

/// What is wrong with a request before its path is looked at.
fn refused(office: &Office, request: &Request<Incoming>) -> Option<Response<Full<Bytes>>> {
    match host(request) {
        Err(why) => return Some(plain(StatusCode::BAD_REQUEST, why)),
        Ok(Some(host)) if !is_ours(&host, &office.settings) => {
            return Some(plain(
                StatusCode::MISDIRECTED_REQUEST,
                "no such host here: http.hosts lists those there are\n",
            ));
        }
        Ok(_) => {}
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD alone\n");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(answer);
    }
    (!request.body().is_end_stream()).then(|| plain(StatusCode::PAYLOAD_TOO_LARGE, "requests have no body here\n"))
}

async fn found(office: &Office, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/" => with_type(StatusCode::OK, HTML, INDEX.to_owned()),
        "/healthz" => {
            let amiss = health::amiss(office).await;
            if amiss.is_empty() {
                return plain(StatusCode::OK, "ok\n");
            }
            with_type(StatusCode::SERVICE_UNAVAILABLE, PLAIN, amiss.join("\n") + "\n")
        }
        "/metrics" => metrics(office, request).await,
        _ => plain(StatusCode::NOT_FOUND, "nothing here; see /\n"),
    }
}

async fn metrics(office: &Office, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    thread_local! {
        static SCRAPES: Cell<usize> = const { Cell::new(0) };
    }
    /// One of the few places for those who ask for figures.
    struct Scrape;
    impl Drop for Scrape {
        fn drop(&mut self) {
            SCRAPES.set(SCRAPES.get() - 1);
        }
    }
    if SCRAPES.get() >= limits::SCRAPES_MAX {
        let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "too many ask for figures\n");
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return answer;
    }
    SCRAPES.set(SCRAPES.get() + 1);
    let _scrape = Scrape;
    let sum = request.uri().query().unwrap_or("").split('&').any(|part| part == "shards=sum");
    let report = admin::report(office).await;
    let silent = report.silent();
    if sum && !silent.is_empty() {
        // Without it the sums would go back, which looks like a start from nothing; with it they leap ahead again.
        let said = silent.iter().map(|shard| format!("shard {shard} does not answer\n")).collect();
        return with_type(StatusCode::SERVICE_UNAVAILABLE, PLAIN, said);
    }
    let families = report.families(sum);
    if prefers_open_metrics(request.headers()) {
        with_type(StatusCode::OK, OPEN_METRICS, expose::open_metrics(families))
    } else {
        with_type(StatusCode::OK, TEXT, expose::text(families))
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with_type(status, PLAIN, text.to_owned())
}

fn with_type(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// Whom the request is for, without the port. A request of HTTP/1.1 names exactly one (RFC 9112 §3.2); one of HTTP/1.0 may
/// name none. A target in absolute form names it instead (RFC 9112 §3.2.2).
fn host(request: &Request<Incoming>) -> Result<Option<String>, &'static str> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let (first, second) = (named.next(), named.next());
    if second.is_some() || (first.is_none() && request.version() == Version::HTTP_11) {
        return Err("name one host\n");
    }
    let Some(field) = first else { return Ok(None) };
    let text = field.to_str().map_err(|_| "a host has no such name\n")?;
    let authority: hyper::http::uri::Authority = text.parse().map_err(|_| "a host has no such name\n")?;
    if text.contains('@') {
        return Err("a host has no such name\n");
    }
    let target = request.uri().host();
    Ok(Some(target.unwrap_or(authority.host()).to_ascii_lowercase()))
}

/// An address can be reached only by who has it; a name must be one of ours.
fn is_ours(host: &str, settings: &Settings) -> bool {
    let bare = host.strip_suffix('.').unwrap_or(host);
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    host.parse::<IpAddr>().is_ok()
        || v6.is_some_and(|h| h.parse::<Ipv6Addr>().is_ok())
        || bare == "localhost"
        || std::iter::once(&settings.hostname)
            .chain(&settings.http_hosts)
            .any(|ours| !bare.is_empty() && bare.eq_ignore_ascii_case(ours))
}

/// True if OpenMetrics is accepted, and no less than plain text (RFC 9110 §12.5.1).
fn prefers_open_metrics(headers: &HeaderMap) -> bool {
    let mut best = (0_u32, 0_u32);
    let fields = headers.get_all(header::ACCEPT).iter().filter_map(|field| field.to_str().ok());
    for range in fields.flat_map(|field| field.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or("");
        let quality = parts.find_map(|p| p.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        let quality = (quality.clamp(0.0, 1.0) * 1_000.0) as u32;
        match kind {
            "application/openmetrics-text" => best.0 = best.0.max(quality),
            "text/plain" => best.1 = best.1.max(quality),
            _ => {}
        }
    }
    best.0 > 0 && best.0 >= best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a178_only_our_own_names_are_ours() {
        let settings = Settings {
            hostname: "mx.example.org".to_owned(),
            http_hosts: vec!["Figures.example.net".to_owned()],
            ..Settings::offline()
        };
        for host in
            ["127.0.0.1", "[::1]", "10.0.0.7", "localhost", "localhost.", "mx.example.org", "figures.example.net."]
        {
            assert!(is_ours(host, &settings), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "0x7f000001"] {
            assert!(!is_ours(host, &settings), "{host}");
        }
        assert!(!is_ours("", &Settings::offline()));
    }

    #[test]
    fn openmetrics_is_for_those_who_prefer_it() {
        let accepts = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, text.parse().expect("a value"));
            prefers_open_metrics(&headers)
        };
        assert!(accepts("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"));
        assert!(accepts("application/openmetrics-text"));
        assert!(!accepts("text/plain;version=0.0.4, application/openmetrics-text;q=0.3"));
        assert!(!accepts("application/openmetrics-text;q=0, */*"));
        assert!(!accepts("*/*"));
        assert!(!prefers_open_metrics(&HeaderMap::new()));
    }
}
