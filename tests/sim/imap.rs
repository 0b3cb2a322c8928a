//! A reader by IMAP (RFC 9051), written for these tests and apart from the server's own IMAP.

use std::io;
use std::net::SocketAddr;

use crate::lines::Lines;

/// A mailbox as IMAP shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    pub uidvalidity: u32,
    pub uidnext: u32,
    /// UID and bytes, in the order of their sequence numbers.
    pub messages: Vec<(u32, Vec<u8>)>,
}

/// One response line; each literal is replaced by `{}` and kept beside it.
struct Response {
    text: String,
    literals: Vec<Vec<u8>>,
}

/// Logs in, reads INBOX whole without touching its flags, logs out.
pub async fn read_inbox(at: SocketAddr, name: &str, password: &str) -> io::Result<Mailbox> {
    let mut lines = Lines::connect(at).await?;
    let greeting = response(&mut lines).await?;
    closing(&greeting)?;
    assert!(greeting.text.starts_with("* OK"), "greeting: {}", greeting.text);
    command(&mut lines, &format!("LOGIN {name} {password}")).await?;
    let selected = command(&mut lines, "EXAMINE INBOX").await?;
    let code = |word: &str| {
        let found = selected.iter().find_map(|r| r.text.split_once(&format!("[{word} "))?.1.split_once(']'));
        found.unwrap_or_else(|| panic!("EXAMINE says no {word}")).0.parse::<u32>().expect("a number")
    };
    let (uidvalidity, uidnext) = (code("UIDVALIDITY"), code("UIDNEXT"));
    let exists = selected.iter().find_map(|r| r.text.strip_prefix("* ")?.strip_suffix(" EXISTS"));
    let exists: usize = exists.expect("EXAMINE says EXISTS").parse().expect("a number");
    let mut messages = Vec::new();
    if exists > 0 {
        for fetched in command(&mut lines, "UID FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])").await? {
            if !fetched.text.contains(" FETCH (") {
                continue;
            }
            let item = |word: &str| {
                let after = fetched.text.split_once(&format!("{word} ")).unwrap_or_else(|| panic!("no {word}")).1;
                let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u32>().expect("a number")
            };
            let [body] = fetched.literals.try_into().unwrap_or_else(|_| panic!("not one literal: {}", fetched.text));
            assert_eq!(body.len(), item("RFC822.SIZE") as usize, "RFC822.SIZE and BODY[] agree");
            messages.push((item("UID"), body));
        }
    }
    assert!(messages.len() >= exists, "EXISTS said {exists}, FETCH shows {}", messages.len());
    let bye = command(&mut lines, "LOGOUT").await?;
    assert!(bye.iter().any(|r| r.text.starts_with("* BYE")), "LOGOUT says BYE");
    lines.expect_end().await;
    Ok(Mailbox { uidvalidity, uidnext, messages })
}

/// Sends a command and gathers its untagged responses. Anything but OK fails the test.
async fn command(lines: &mut Lines, command: &str) -> io::Result<Vec<Response>> {
    lines.say(format!("t1 {command}\r\n")).await?;
    let mut untagged = Vec::new();
    loop {
        let said = response(lines).await?;
        if let Some(verdict) = said.text.strip_prefix("t1 ") {
            if verdict.starts_with("NO [UNAVAILABLE]") {
                return Err(io::Error::other(verdict.to_owned()));
            }
            assert!(verdict.starts_with("OK"), "{command}: {verdict}");
            return Ok(untagged);
        }
        if command != "LOGOUT" {
            closing(&said)?;
        }
        untagged.push(said);
    }
}

/// A server that is closing, or cannot now, counts as a broken connection.
fn closing(said: &Response) -> io::Result<()> {
    if said.text.starts_with("* BYE") { Err(io::Error::other(said.text.clone())) } else { Ok(()) }
}

async fn response(lines: &mut Lines) -> io::Result<Response> {
    let mut said = Response { text: String::new(), literals: Vec::new() };
    loop {
        let line = lines.line().await?;
        let Some((before, len)) = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')) else {
            said.text.push_str(&line);
            return Ok(said);
        };
        said.text.push_str(before);
        said.text.push_str("{}");
        said.literals.push(lines.exact(len.parse().expect("a literal's length")).await?);
    }
}
