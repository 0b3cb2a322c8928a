//! A sender of mail (RFC 5321), written for these tests and apart from the server's own SMTP.

use std::io;
use std::net::SocketAddr;

use ringpost::shard::sim::Chance;

use crate::lines::Lines;

/// What the server said to a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `250` after the final dot; which recipients it was taken for.
    Accepted(Vec<bool>),
    /// Refused, before or after the body: the code and its text.
    Refused(u16, String),
    /// The connection broke before the final dot was under way: nothing may be kept.
    Abandoned,
    /// It broke after that: kept or not, nobody knows. Which recipients it may be kept for.
    Unknown(Vec<bool>),
}

/// A session after EHLO.
pub struct Sender {
    lines: Lines,
}

impl Sender {
    pub async fn open(to: SocketAddr) -> io::Result<Sender> {
        let mut lines = Lines::connect(to).await?;
        expect(&mut lines, 220, "greeting").await?;
        lines.say("EHLO client.example\r\n").await?;
        expect(&mut lines, 250, "EHLO").await?;
        Ok(Sender { lines })
    }

    /// Sends one message; how its commands are grouped into sends, chance says (RFC 2920).
    pub async fn deliver(&mut self, chance: &Chance, from: &str, to: &[String], body: &[u8]) -> Verdict {
        match self.offer(chance, from, to).await {
            Ok(Ok(taken)) => match self.body(body).await {
                Ok((250, _)) => Verdict::Accepted(taken),
                Ok((code, text)) => Verdict::Refused(code, text),
                Err(_) => Verdict::Unknown(taken),
            },
            Ok(Err((code, text))) => Verdict::Refused(code, text),
            Err(_) => Verdict::Abandoned,
        }
    }

    /// MAIL, RCPT, DATA: which recipients were taken, or why none was.
    async fn offer(
        &mut self,
        chance: &Chance,
        from: &str,
        to: &[String],
    ) -> io::Result<Result<Vec<bool>, (u16, String)>> {
        let mut commands = vec![format!("MAIL FROM:<{from}>\r\n")];
        commands.extend(to.iter().map(|to| format!("RCPT TO:<{to}>\r\n")));
        commands.push("DATA\r\n".to_owned());
        let mut replies = Vec::new();
        let mut rest = &commands[..];
        while !rest.is_empty() {
            let (group, later) = rest.split_at(1 + chance.index(rest.len()));
            self.lines.say(group.concat()).await?;
            for _ in group {
                replies.push(reply(&mut self.lines).await?);
            }
            rest = later;
        }
        let (code, text) = replies.pop().expect("one reply to each command");
        let taken: Vec<bool> = replies[1..].iter().map(|(code, _)| matches!(code, 250 | 251)).collect();
        if code == 354 {
            assert!(taken.contains(&true), "354 without a recipient");
            return Ok(Ok(taken));
        }
        let refusal = replies.into_iter().find(|(code, _)| *code >= 400).unwrap_or((code, text));
        self.lines.say("RSET\r\n").await?;
        expect(&mut self.lines, 250, "RSET").await?;
        Ok(Err(refusal))
    }

    async fn body(&mut self, body: &[u8]) -> io::Result<(u16, String)> {
        assert!(body.ends_with(b"\r\n"));
        let mut stuffed = Vec::with_capacity(body.len() + 64);
        for line in body.split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b".") {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        stuffed.extend_from_slice(b".\r\n");
        self.lines.say(stuffed).await?;
        reply(&mut self.lines).await
    }

    pub async fn quit(mut self) -> io::Result<()> {
        self.lines.say("QUIT\r\n").await?;
        expect(&mut self.lines, 221, "QUIT").await?;
        self.lines.expect_end().await;
        Ok(())
    }
}

/// A reply with this code; a server that is closing (421, RFC 5321 §3.8) counts as a broken connection.
async fn expect(lines: &mut Lines, code: u16, what: &str) -> io::Result<()> {
    let (said, text) = reply(lines).await?;
    if said == 421 {
        return Err(io::Error::other(text));
    }
    assert_eq!(said, code, "{what}: {text}");
    Ok(())
}

/// One reply, of as many lines as it has: its code and its last line (RFC 5321 §4.2.1).
async fn reply(lines: &mut Lines) -> io::Result<(u16, String)> {
    loop {
        let line = lines.line().await?;
        assert!(line.len() >= 3 && line.is_char_boundary(3), "not a reply: {line:?}");
        let code: u16 = line[..3].parse().unwrap_or_else(|_| panic!("not a reply: {line:?}"));
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok((code, line[3..].trim_start().to_owned()));
        }
    }
}
