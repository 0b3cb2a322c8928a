//! What reads figures and health: curl, and Prometheus' own tool that checks them.

use std::process::Command;

use crate::house::{House, post};
use crate::{ALICE, client, run};

#[test]
fn curl_reads_health_and_figures() {
    let Some(curl) = client("curl") else { return };
    let house = House::open(&["--shards", "2"]);
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", house.http().port());
    assert_eq!(run(Command::new(&curl).args(["-sSf", &url("/healthz")])), "ok\n");
    // Two on one connection.
    let both = run(Command::new(&curl).args(["-sSfv", "--stderr", "-", &url("/"), &url("/metrics?shards=sum")]));
    assert!(both.contains("Re-using existing") && both.contains("\nringpost_shards_up 2\n"), "{both}");
    let open = run(Command::new(&curl).args(["-sSf", "-H", "Accept: application/openmetrics-text", &url("/metrics")]));
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE ringpost_connections counter\n"), "{open}");
    let head = run(Command::new(&curl).args(["-sSfI", &url("/metrics")]));
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("text/plain; version=0.0.4"), "{head}");
    for (arguments, code) in [(["-X", "POST"], "405"), (["-H", "Host: evil.example"], "421"), (["-d", "x"], "405")] {
        let answer = Command::new(&curl).args(["-sSi", &url("/metrics")]).args(arguments).output().expect("curl runs");
        let said = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert!(said.starts_with(&format!("HTTP/1.1 {code} ")), "{arguments:?}: {said}");
    }
}

#[test]
fn promtool_finds_nothing_to_say_about_the_figures() {
    let (Some(promtool), Some(_)) = (client("promtool"), client("curl")) else { return };
    let house = House::open(&["--shards", "2"]);
    assert!(post(house.smtp(), "", &[ALICE], "Subject: one\r\n\r\nx").starts_with("250 "));
    for path in ["/metrics", "/metrics?shards=sum"] {
        let url = format!("http://127.0.0.1:{}{path}", house.http().port());
        let check = format!("set -o pipefail; curl -sSf '{url}' | {} check metrics 2>&1", promtool.display());
        assert_eq!(run(Command::new("bash").args(["-c", &check])), "", "{path}");
    }
}
