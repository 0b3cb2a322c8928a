//! A reader by POP3 (RFC 1939, UIDL), written for these tests and apart from the server's own POP3.

use std::io;
use std::net::SocketAddr;

use crate::lines::Lines;

/// A message as POP3 shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub unique_id: String,
    pub bytes: Vec<u8>,
}

/// Logs in, fetches everything, quits without deleting.
pub async fn fetch_all(at: SocketAddr, name: &str, password: &str) -> io::Result<Vec<Fetched>> {
    let mut lines = Lines::connect(at).await?;
    ok(&mut lines, "greeting").await?;
    command(&mut lines, &format!("USER {name}")).await?;
    command(&mut lines, &format!("PASS {password}")).await?;
    let stat = command(&mut lines, "STAT").await?;
    let mut figures = stat.split(' ').map(|n| n.parse::<u64>().expect("STAT says numbers"));
    let (count, octets) = (figures.next().expect("a count"), figures.next().expect("a size"));
    let sizes = listing(&mut lines, "LIST", count).await?;
    let ids = listing(&mut lines, "UIDL", count).await?;
    let mut all = Vec::new();
    for (at, (size, unique_id)) in sizes.iter().zip(ids).enumerate() {
        command(&mut lines, &format!("RETR {}", at + 1)).await?;
        let bytes = lines.dotted().await?;
        assert_eq!(bytes.len().to_string(), *size, "LIST and RETR agree");
        all.push(Fetched { unique_id, bytes });
    }
    assert_eq!(all.iter().map(|m| m.bytes.len() as u64).sum::<u64>(), octets, "STAT and RETR agree");
    command(&mut lines, "QUIT").await?;
    lines.expect_end().await;
    Ok(all)
}

/// Logs in, marks some messages (counted from 0), quits: they are gone when this returns `Ok`.
pub async fn delete(at: SocketAddr, name: &str, password: &str, which: &[usize]) -> io::Result<()> {
    let mut lines = Lines::connect(at).await?;
    ok(&mut lines, "greeting").await?;
    command(&mut lines, &format!("USER {name}")).await?;
    command(&mut lines, &format!("PASS {password}")).await?;
    for position in which {
        command(&mut lines, &format!("DELE {}", position + 1)).await?;
    }
    command(&mut lines, "QUIT").await?;
    lines.expect_end().await;
    Ok(())
}

/// The second words of a multi-line listing, whose first words count from 1.
async fn listing(lines: &mut Lines, what: &str, count: u64) -> io::Result<Vec<String>> {
    command(lines, what).await?;
    let text = String::from_utf8(lines.dotted().await?).expect("a listing is text");
    let words: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(at, line)| {
            let (number, word) = line.split_once(' ').unwrap_or_else(|| panic!("{what} says {line:?}"));
            assert_eq!(number, (at + 1).to_string(), "{what} counts from 1");
            word.to_owned()
        })
        .collect();
    assert_eq!(words.len() as u64, count, "STAT and {what} agree");
    Ok(words)
}

async fn command(lines: &mut Lines, command: &str) -> io::Result<String> {
    lines.say(format!("{command}\r\n")).await?;
    ok(lines, command).await
}

/// The words after `+OK`. "Try again later" (RFC 3206 §4) counts as a broken connection; any other `-ERR` fails the test.
async fn ok(lines: &mut Lines, what: &str) -> io::Result<String> {
    let line = lines.line().await?;
    if line.starts_with("-ERR [SYS/TEMP]") {
        return Err(io::Error::other(line));
    }
    let rest = line.strip_prefix("+OK").unwrap_or_else(|| panic!("{what}: {line}"));
    Ok(rest.trim_start().to_owned())
}
