//! The SMTP client: replies parsed strictly, and a blocking conversation for the kill loop.
//!
//! [`parse_reply`] is also what the load's own connections use.
//!
//! Strict means (RFC 5321 §4.2): CRLF ends a line, every line of a reply has the same three digits, the
//! first digit is 2 to 5, the text is printable ASCII or a tab, a line is at most 512 octets
//! (§4.5.3.1.5), and a reply has at most [`REPLY_LINES_MAX`] lines.

use std::net::SocketAddr;
use std::time::Duration;

use crate::wire::{Error, Wire, shown};

/// Octets of one reply line with CRLF (RFC 5321 §4.5.3.1.5).
pub const REPLY_LINE_BYTES_MAX: usize = 512;
/// Lines of one reply. More: malformed.
pub const REPLY_LINES_MAX: usize = 100;
/// Who sends where nobody logs in.
pub const SENDER: &str = "works@load.example";

/// What a server may not say.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an SMTP reply: {0}")]
pub struct Malformed(pub &'static str);

/// A whole reply at the beginning of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// Bytes it takes, CRLF of the last line counted.
    pub bytes: usize,
}

/// Reads one reply from the start of `input`. `Ok(None)`: not whole yet.
pub fn parse_reply(input: &[u8]) -> Result<Option<Reply>, Malformed> {
    let mut at = 0;
    let mut code = None;
    for _ in 0..REPLY_LINES_MAX {
        let rest = &input[at..];
        let window = &rest[..rest.len().min(REPLY_LINE_BYTES_MAX)];
        let Some(length) = memchr::memchr(b'\n', window) else {
            return if rest.len() >= REPLY_LINE_BYTES_MAX { Err(Malformed("line too long")) } else { Ok(None) };
        };
        let Some(line) = rest[..length].strip_suffix(b"\r") else { return Err(Malformed("bare LF")) };
        at += length + 1;
        let (digits, text) = line.split_at(line.len().min(3));
        if digits.len() < 3 || !digits.iter().all(u8::is_ascii_digit) || !(b'2'..=b'5').contains(&digits[0]) {
            return Err(Malformed("no reply code"));
        }
        if !text.iter().all(|&b| b == b'\t' || (32..=126).contains(&b)) {
            return Err(Malformed("text that is not printable ASCII"));
        }
        let this = digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
        if *code.get_or_insert(this) != this {
            return Err(Malformed("lines with different codes"));
        }
        match text.first() {
            None | Some(b' ') => return Ok(Some(Reply { code: this, bytes: at })),
            Some(b'-') => {}
            Some(_) => return Err(Malformed("neither space nor hyphen after the code")),
        }
    }
    Err(Malformed("too many lines"))
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// 250 to the final dot: the server answers for this copy.
    Accepted,
    /// Refused for good: no copy may exist.
    Refused(String),
    /// The connection was lost before the final dot was sent: no copy may exist.
    Cut,
    /// The final dot was sent and the answer was a 4xx or none: no copy or one.
    Unknown(String),
}

/// A blocking SMTP conversation.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
}

impl Client {
    /// Connects, reads the greeting, says EHLO. Errors: anything but 220 and 250, no PIPELINING offered.
    pub fn connect(server: SocketAddr, patience: Duration) -> Result<Client, Error> {
        let mut client = Client { wire: Wire::connect(server, patience)? };
        client.expect(220)?;
        client.wire.send(b"EHLO loadtest.example\r\n")?;
        let features = client.expect(250)?;
        if !features.iter().skip(1).any(|l| l.eq_ignore_ascii_case("PIPELINING")) {
            return Err(client.wire.strange("PIPELINING in the EHLO reply", features.join(" / ").as_bytes()));
        }
        Ok(client)
    }

    /// Sends one message of `size_bytes`; `wire_body` is dot-stuffed and ends with the final dot.
    ///
    /// Returns one fate for each recipient. `Err` holds what ended the connection beside the fates: after
    /// it the client is of no more use.
    pub fn send(
        &mut self,
        recipients: &[&str],
        size_bytes: usize,
        wire_body: &[u8],
    ) -> Result<Vec<Fate>, (Error, Vec<Fate>)> {
        let all = |fate: Fate| vec![fate; recipients.len()];
        let accepted = match self.envelope(recipients, size_bytes) {
            Ok(accepted) => accepted,
            Err(Error::Refused(text)) => return Err((Error::Refused(text.clone()), all(Fate::Refused(text)))),
            Err(e) => return Err((e, all(Fate::Cut))),
        };
        let fates = |verdict: Fate| -> Vec<Fate> {
            accepted.iter().map(|a| a.clone().map_or(verdict.clone(), Fate::Refused)).collect()
        };
        if accepted.iter().all(Option::is_some) {
            return Ok(fates(Fate::Refused(String::new())));
        }
        if let Err(e) = self.wire.send(wire_body) {
            // The dot is the last byte, so a write that failed did not send it.
            return Err((e, fates(Fate::Cut)));
        }
        match self.reply() {
            Ok((250, _)) => Ok(fates(Fate::Accepted)),
            Ok((500..=599, lines)) => Ok(fates(Fate::Refused(lines.join(" / ")))),
            Ok((400..=499, lines)) => Ok(fates(Fate::Unknown(lines.join(" / ")))),
            Ok((_, lines)) => {
                let e = self.wire.strange("250, 4xx or 5xx to the final dot", lines.join(" / ").as_bytes());
                let text = e.to_string();
                Err((e, fates(Fate::Unknown(text))))
            }
            Err(e) => {
                let text = e.to_string();
                Err((e, fates(Fate::Unknown(text))))
            }
        }
    }

    /// QUIT, 221, end of connection.
    pub fn quit(mut self) -> Result<(), Error> {
        self.wire.send(b"QUIT\r\n")?;
        self.expect(221)?;
        self.wire.closed()
    }

    /// MAIL, RCPT… and DATA in one write. `Some(reply)` for each recipient that was refused.
    fn envelope(&mut self, recipients: &[&str], size_bytes: usize) -> Result<Vec<Option<String>>, Error> {
        let mut commands = Vec::new();
        write_envelope(SENDER, recipients, size_bytes, &mut commands);
        self.wire.send(&commands)?;
        self.expect(250)?;
        let mut refused = Vec::new();
        for _ in recipients {
            let (code, lines) = self.reply()?;
            match code {
                250 | 251 => refused.push(None),
                400..=599 => refused.push(Some(lines.join(" / "))),
                _ => return Err(self.wire.strange("250, 4xx or 5xx to RCPT", lines.join(" / ").as_bytes())),
            }
        }
        if refused.iter().any(Option::is_none) {
            self.expect(354)?;
        } else {
            // RFC 2920 §3.1: 354 is allowed here, and then a lone dot is answered 5xx.
            let (code, lines) = self.reply()?;
            match code {
                354 => {
                    self.wire.send(b".\r\n")?;
                    let (code, lines) = self.reply()?;
                    if !(500..=599).contains(&code) {
                        return Err(self.wire.strange("5xx to a dot without recipients", lines.join(" ").as_bytes()));
                    }
                }
                500..=599 => {
                    self.wire.send(b"RSET\r\n")?;
                    self.expect(250)?;
                }
                _ => return Err(self.wire.strange("5xx to DATA without recipients", lines.join(" ").as_bytes())),
            }
        }
        Ok(refused)
    }

    fn expect(&mut self, code: u16) -> Result<Vec<String>, Error> {
        let (got, lines) = self.reply()?;
        if got == code {
            return Ok(lines);
        }
        let text = lines.join(" / ");
        if (400..=599).contains(&got) {
            return Err(Error::Refused(format!("{got} {text}")));
        }
        Err(self.wire.strange(&format!("reply {code}"), format!("{got} {text}").as_bytes()))
    }

    fn reply(&mut self) -> Result<(u16, Vec<String>), Error> {
        let mut raw = Vec::new();
        let mut lines = Vec::new();
        loop {
            let line = self.wire.line()?;
            raw.extend_from_slice(&line);
            raw.extend_from_slice(b"\r\n");
            lines.push(shown(line.get(4..).unwrap_or_default()));
            match parse_reply(&raw) {
                Ok(Some(reply)) => return Ok((reply.code, lines)),
                Ok(None) => {}
                Err(Malformed(why)) => return Err(self.wire.strange("a reply", why.as_bytes())),
            }
        }
    }
}

/// Appends MAIL, RCPT… and DATA (RFC 2920: one write; RFC 1870: SIZE).
pub fn write_envelope(sender: &str, recipients: &[&str], size_bytes: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"MAIL FROM:<");
    out.extend_from_slice(sender.as_bytes());
    out.extend_from_slice(b"> SIZE=");
    out.extend_from_slice(size_bytes.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
    for recipient in recipients {
        out.extend_from_slice(b"RCPT TO:<");
        out.extend_from_slice(recipient.as_bytes());
        out.extend_from_slice(b">\r\n");
    }
    out.extend_from_slice(b"DATA\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn patience() -> Duration {
        Duration::from_secs(10)
    }

    #[test]
    fn a_reply_is_whole_only_at_its_last_line() {
        let text = b"250-one\r\n250-two\r\n250 three\r\n250 next\r\n";
        let end = 29;
        for cut in 0..end {
            assert_eq!(parse_reply(&text[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(parse_reply(text), Ok(Some(Reply { code: 250, bytes: end })));
        assert_eq!(parse_reply(b"354\r\n"), Ok(Some(Reply { code: 354, bytes: 5 })));
    }

    #[test]
    fn replies_of_another_shape_are_refused() {
        for bad in
            [&b"25 x\r\n"[..], b"250 x\n", b"150 x\r\n", b"650 x\r\n", b"250_x\r\n", b"250-a\r\n251 b\r\n", b"\r\n"]
        {
            assert!(parse_reply(bad).is_err(), "{}", shown(bad));
        }
        assert!(parse_reply(b"250 caf\xc3\xa9\r\n").is_err());
        assert!(parse_reply(&[b'2'; REPLY_LINE_BYTES_MAX]).is_err());
        assert!(parse_reply(&b"250-x\r\n".repeat(REPLY_LINES_MAX)).is_err());
    }

    #[test]
    fn a_message_is_pipelined_and_each_recipient_gets_its_fate() {
        let fake = Fake::start(|c| {
            c.say("220 fake ESMTP\r\n")?;
            c.want("EHLO loadtest.example")?;
            c.say("250-fake\r\n250-PIPELINING\r\n250 SIZE 1000\r\n")?;
            c.want("MAIL FROM:<works@load.example> SIZE=12")?;
            c.want("RCPT TO:<a@b>")?;
            c.want("RCPT TO:<c@d>")?;
            c.want("DATA")?;
            c.say("250 ok\r\n250 ok\r\n452 4.5.3 later\r\n354 go\r\n")?;
            c.want("hello")?;
            c.want("..")?;
            c.want(".")?;
            c.say("250 kept\r\n")?;
            c.want("QUIT")?;
            c.say("221 bye\r\n")
        });
        let mut client = Client::connect(fake.address(), patience()).unwrap();
        let fates = client.send(&["a@b", "c@d"], 12, b"hello\r\n..\r\n.\r\n").unwrap();
        assert_eq!(fates, [Fate::Accepted, Fate::Refused("4.5.3 later".into())]);
        client.quit().unwrap();
        fake.join();
    }

    fn fate_when(answer: &'static str) -> Fate {
        let fake = Fake::start(move |c| {
            c.say("220 fake\r\n")?;
            c.line()?;
            c.say("250-fake\r\n250 PIPELINING\r\n")?;
            for _ in ["MAIL", "RCPT", "DATA"] {
                c.line()?;
            }
            c.say("250 ok\r\n250 ok\r\n354 go\r\n")?;
            c.want("hello")?;
            c.want(".")?;
            c.say(answer)
        });
        let mut client = Client::connect(fake.address(), patience()).unwrap();
        let fates = client.send(&["a@b"], 7, b"hello\r\n.\r\n").unwrap_or_else(|(_, fates)| fates);
        fake.join();
        fates[0].clone()
    }

    #[test]
    fn silence_and_4xx_after_the_dot_are_unknown_and_5xx_is_a_refusal() {
        assert!(matches!(fate_when(""), Fate::Unknown(_)));
        assert!(matches!(fate_when("451 4.3.0 no\r\n"), Fate::Unknown(_)));
        assert!(matches!(fate_when("550 no\r\n"), Fate::Refused(_)));
        assert!(matches!(fate_when("250 ok\r\n"), Fate::Accepted));
        assert!(matches!(fate_when("2xx what\r\n"), Fate::Unknown(_)));
    }

    #[test]
    fn a_server_without_pipelining_is_refused_with_the_dialogue() {
        let fake = Fake::start(|c| {
            c.say("220 fake\r\n")?;
            c.line()?;
            c.say("250-fake\r\n250 SIZE\r\n")
        });
        let error = Client::connect(fake.address(), patience()).unwrap_err().to_string();
        assert!(error.contains("S: 220 fake") && error.contains("C: EHLO"), "{error}");
        fake.join();
    }
}
