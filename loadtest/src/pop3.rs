//! The POP3 client (RFC 1939): what reading back needs, strict about every reply.

use std::net::SocketAddr;
use std::time::Duration;

use crate::accounts::Account;
use crate::wire::{Error, Wire};

/// A logged-in POP3 conversation.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
}

/// One row of UIDL beside LIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Message number in this session, from 1.
    pub number: u64,
    /// Octets as LIST says.
    pub size_bytes: u64,
    /// The unique-id.
    pub uidl: String,
}

impl Client {
    /// Connects and logs in.
    pub fn login(server: SocketAddr, account: &Account, patience: Duration) -> Result<Client, Error> {
        let mut client = Client { wire: Wire::connect(server, patience)? };
        client.ok()?;
        client.command(&format!("USER {}", account.address))?;
        client.command(&format!("PASS {}", account.password))?;
        Ok(client)
    }

    /// STAT: messages and their octets.
    pub fn stat(&mut self) -> Result<(u64, u64), Error> {
        let text = self.command("STAT")?;
        let mut words = text.split(' ');
        match (number(words.next()), number(words.next())) {
            (Some(count), Some(bytes)) => Ok((count, bytes)),
            _ => Err(self.wire.strange("+OK count octets", text.as_bytes())),
        }
    }

    /// LIST and UIDL together. Errors: numbers out of order, the two lists of different lengths.
    pub fn list(&mut self) -> Result<Vec<Row>, Error> {
        self.command("LIST")?;
        let sizes = self.rows()?;
        self.command("UIDL")?;
        let names = self.rows()?;
        if sizes.len() != names.len() {
            return Err(self.wire.strange("as many UIDL rows as LIST rows", names.len().to_string().as_bytes()));
        }
        let mut rows = Vec::with_capacity(sizes.len());
        for (index, ((n, size), (m, uidl))) in sizes.into_iter().zip(names).enumerate() {
            let whole = (1..=70).contains(&uidl.len()) && uidl.bytes().all(|b| (0x21..=0x7e).contains(&b));
            match number(Some(&size)) {
                Some(size_bytes) if n == m && n == index as u64 + 1 && whole => {
                    rows.push(Row { number: n, size_bytes, uidl });
                }
                _ => return Err(self.wire.strange("rows numbered from 1 with size and unique-id", uidl.as_bytes())),
            }
        }
        Ok(rows)
    }

    /// RETR: the message as stored, dot-stuffing undone, in `out`.
    pub fn retrieve(&mut self, message: u64, out: &mut Vec<u8>) -> Result<(), Error> {
        out.clear();
        self.command(&format!("RETR {message}"))?;
        loop {
            let line = self.wire.quiet_line()?;
            if line == b"." {
                return Ok(());
            }
            // A line that begins with a dot has had one put before it (RFC 1939 §3).
            match line.strip_prefix(b".") {
                Some(text) if text.starts_with(b".") => out.extend_from_slice(text),
                Some(_) => {
                    let line = line.to_vec();
                    return Err(self.wire.strange("a dot-stuffed line", &line));
                }
                None => out.extend_from_slice(line),
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    /// DELE.
    pub fn delete(&mut self, message: u64) -> Result<(), Error> {
        self.command(&format!("DELE {message}")).map(drop)
    }

    /// QUIT, +OK, end of connection: what was deleted is now gone for good.
    pub fn quit(mut self) -> Result<(), Error> {
        self.command("QUIT")?;
        self.wire.closed()
    }

    fn command(&mut self, text: &str) -> Result<String, Error> {
        self.wire.send(format!("{text}\r\n").as_bytes())?;
        self.ok()
    }

    fn ok(&mut self) -> Result<String, Error> {
        let line = self.wire.line()?;
        let text = String::from_utf8_lossy(&line).into_owned();
        if let Some(rest) = text.strip_prefix("+OK")
            && (rest.is_empty() || rest.starts_with(' '))
        {
            return Ok(rest.trim_start().into());
        }
        if text.starts_with("-ERR") {
            return Err(Error::Refused(text));
        }
        Err(self.wire.strange("+OK or -ERR", &line))
    }

    fn rows(&mut self) -> Result<Vec<(u64, String)>, Error> {
        let mut rows = Vec::new();
        loop {
            let line = self.wire.line()?;
            if line == b"." {
                return Ok(rows);
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            match text.split_once(' ') {
                Some((n, rest)) if number(Some(n)).is_some() => {
                    rows.push((number(Some(n)).unwrap_or_default(), rest.into()));
                }
                _ => return Err(self.wire.strange("number and value", &line)),
            }
        }
    }
}

fn number(word: Option<&str>) -> Option<u64> {
    word.filter(|w| w.bytes().all(|b| b.is_ascii_digit())).and_then(|w| w.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn account() -> Account {
        Account { address: "a@b".into(), password: "pw".into() }
    }

    fn login(
        script: impl FnOnce(&mut crate::fake::Conversation) -> std::io::Result<()> + Send + 'static,
    ) -> (Fake, Client) {
        let fake = Fake::start(move |c| {
            c.say("+OK fake\r\n")?;
            c.want("USER a@b")?;
            c.say("+OK\r\n")?;
            c.want("PASS pw")?;
            c.say("+OK in\r\n")?;
            script(c)
        });
        let client = Client::login(fake.address(), &account(), Duration::from_secs(10)).unwrap();
        (fake, client)
    }

    #[test]
    fn a_message_comes_back_with_its_dots_as_stored() {
        let (fake, mut client) = login(|c| {
            c.want("STAT")?;
            c.say("+OK 1 10\r\n")?;
            c.want("LIST")?;
            c.say("+OK\r\n1 10\r\n.\r\n")?;
            c.want("UIDL")?;
            c.say("+OK\r\n1 abc\r\n.\r\n")?;
            c.want("RETR 1")?;
            c.say("+OK\r\nA: b\r\n\r\n..\r\n...x\r\n.\r\n")?;
            c.want("QUIT")?;
            c.say("+OK\r\n")
        });
        assert_eq!(client.stat().unwrap(), (1, 10));
        assert_eq!(client.list().unwrap(), [Row { number: 1, size_bytes: 10, uidl: "abc".into() }]);
        let mut message = Vec::new();
        client.retrieve(1, &mut message).unwrap();
        assert_eq!(message, b"A: b\r\n\r\n.\r\n..x\r\n");
        client.quit().unwrap();
        fake.join();
    }

    #[test]
    fn an_unstuffed_dot_is_a_failure_and_shows_the_dialogue() {
        let (fake, mut client) = login(|c| {
            c.want("RETR 1")?;
            c.say("+OK\r\n.x\r\n.\r\n")
        });
        let error = client.retrieve(1, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("C: RETR 1"), "{error}");
        fake.join();
    }

    #[test]
    fn lists_that_disagree_are_a_failure() {
        let (fake, mut client) = login(|c| {
            c.want("LIST")?;
            c.say("+OK\r\n1 10\r\n2 10\r\n.\r\n")?;
            c.want("UIDL")?;
            c.say("+OK\r\n1 abc\r\n.\r\n")
        });
        assert!(matches!(client.list(), Err(Error::Strange { .. })));
        fake.join();
    }

    #[test]
    fn err_is_a_refusal_not_a_failure() {
        let (fake, mut client) = login(|c| {
            c.want("DELE 9")?;
            c.say("-ERR no such message\r\n")
        });
        assert!(matches!(client.delete(9), Err(Error::Refused(_))));
        fake.join();
    }
}
