//! Other mail servers, each run by a test for itself: on loopback and a free port, in a folder of the test, stopped with it.
//!
//! None of them asks DNS or knows another host than the relay it is told, which is the test's own Ringpost. Whatever they find
//! undeliverable they say to its sender, through the same relay.
//!
//! Exim and OpenSMTPD would put Postfix out if they were installed; `tests/run` unpacks their packages beside the build.

pub mod apart;
pub mod exim;
pub mod opensmtpd;
pub mod postfix;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::house::PATIENCE;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

/// Waits for the door of a server; panics with its log if it stays shut.
fn opened(port: u16, log: impl Fn() -> String) {
    let began = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(began.elapsed() < PATIENCE, "it does not open its door:\n{}", log());
        std::thread::yield_now();
    }
}

/// A log when it holds at least so many lines with these words.
pub fn log_with(log: impl Fn() -> String, words: &str, count: usize) -> String {
    let began = Instant::now();
    loop {
        let text = log();
        if text.lines().filter(|line| line.contains(words)).count() >= count {
            return text;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{count} lines with {words:?} expected:\n{text}");
        std::thread::yield_now();
    }
}
