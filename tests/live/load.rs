//! Too much of something: newcomers are told so at the door.

use crate::house::{House, Talk};

#[test]
fn r18_a_server_that_holds_its_memory_takes_nobody_more_and_says_why() {
    // Less than an idle server holds.
    let house = House::open(&["--memory", "33554432", "--shards", "1"]);
    assert!(Talk::with(house.smtp()).reply().starts_with("421 4.3.2 Too busy"));
    assert!(Talk::with(house.imap()).hear().starts_with("* BYE [UNAVAILABLE] "));
    assert!(Talk::with(house.pop3()).hear().starts_with("-ERR [SYS/TEMP] "));
    let mut hasty = Talk::with(house.smtp());
    hasty.send(b"EHLO client.test\r\nMAIL FROM:<>\r\n");
    assert!(hasty.rest().starts_with(b"421 4.3.2 "), "who speaks first hears it too");
    let mut figures = Talk::with(house.http());
    figures.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let page = String::from_utf8(figures.rest()).expect("text");
    let shed = page.lines().find(|l| l.starts_with("ringpost_connections_shed_total{") && l.contains("\"memory\""));
    let count: u64 = shed.and_then(|line| line.rsplit(' ').next()).and_then(|n| n.parse().ok()).expect("a figure");
    assert!(count >= 4, "{count}");
}
