//! Lines over a stream of the simulated world: what the three clients have in common.
//!
//! An `io::Error` means the connection broke and nobody knows what the server made of the last words. A server that
//! speaks nonsense is a panic: it fails the test.

use std::env;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use memchr::memmem;
use ringpost::shard::sim;
use ringpost::shard::{self, Stream};

/// A server that is silent for so long has hung: the test fails.
const SILENCE_MAX: Duration = Duration::from_secs(900);

/// A connection read line by line.
pub struct Lines {
    stream: Stream,
    held: Vec<u8>,
}

impl Lines {
    pub async fn connect(to: SocketAddr) -> io::Result<Lines> {
        Ok(Lines { stream: sim::connect(to).await?, held: Vec::new() })
    }

    /// As `connect`, from a chosen address.
    pub async fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<Lines> {
        Ok(Lines { stream: sim::connect_from(from, to).await?, held: Vec::new() })
    }

    /// Breaks the connection off.
    pub fn reset(self) {
        self.stream.reset();
    }

    pub async fn say(&mut self, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
        let bytes = bytes.into();
        self.tell('>', &bytes);
        self.stream.set_deadline(Some(shard::now().after(SILENCE_MAX)));
        hung(self.stream.send(bytes).await.0)
    }

    /// One line, without its CRLF.
    pub async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = memmem::find(&self.held, b"\r\n") {
                let line = self.held.drain(..at + 2).take(at).collect();
                return Ok(String::from_utf8(line).expect("a server's line is UTF-8"));
            }
            self.more().await?;
        }
    }

    /// Exactly `len` bytes.
    pub async fn exact(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.held.len() < len {
            self.more().await?;
        }
        Ok(self.held.drain(..len).collect())
    }

    /// Everything up to a line of one dot, dots unstuffed (RFC 1939 §3).
    pub async fn dotted(&mut self) -> io::Result<Vec<u8>> {
        let (mut body, mut at) = (Vec::new(), 0);
        loop {
            let Some(len) = memmem::find(&self.held[at..], b"\r\n") else {
                self.more().await?;
                continue;
            };
            let line = &self.held[at..at + len + 2];
            at += line.len();
            match line.strip_prefix(b".") {
                Some(b"\r\n") => break,
                Some(stuffed) => body.extend_from_slice(stuffed),
                None => body.extend_from_slice(line),
            }
        }
        self.held.drain(..at);
        Ok(body)
    }

    /// Waits for the server to close, which it must do without another word.
    pub async fn expect_end(mut self) {
        assert!(self.held.is_empty(), "words after the last: {:?}", String::from_utf8_lossy(&self.held));
        if let Ok(chunk) = self.stream.recv().await {
            assert!(chunk.is_empty(), "words after the last: {:?}", String::from_utf8_lossy(&chunk));
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        self.stream.set_deadline(Some(shard::now().after(SILENCE_MAX)));
        let chunk = hung(self.stream.recv().await)?;
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.tell('<', &chunk);
        self.held.extend_from_slice(&chunk);
        Ok(())
    }

    /// With `RINGPOST_SIM_TALK` set every word is printed, with its hour in virtual time.
    fn tell(&self, who: char, bytes: &[u8]) {
        static TALK: OnceLock<bool> = OnceLock::new();
        if *TALK.get_or_init(|| env::var_os("RINGPOST_SIM_TALK").is_some()) {
            let (hour_us, conn) = (shard::now().0 / 1_000, sim::conn_of(&self.stream).0);
            println!("{hour_us:>10} µs {conn:>4} {who} {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
        }
    }
}

fn hung<T>(outcome: io::Result<T>) -> io::Result<T> {
    if let Err(why) = &outcome {
        assert!(why.kind() != io::ErrorKind::TimedOut, "the server has said nothing for {SILENCE_MAX:?}");
    }
    outcome
}
