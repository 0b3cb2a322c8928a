//! The IMAP client (RFC 9051): LOGIN, SELECT, CLOSE, FETCH, STORE, EXPUNGE, APPEND, NOOP, IDLE (RFC 2177), LOGOUT.
//!
//! Strict: a tagged BAD, an untagged reply it does not know, a sequence number outside the mailbox, a
//! literal that is not as long as it says, a SELECT without UIDVALIDITY or UIDNEXT are failures, and the
//! dialogue is printed. NO is a refusal.

use std::net::SocketAddr;
use std::time::Duration;

use crate::accounts::Account;
use crate::smtp::Fate;
use crate::wire::{Error, Way, Wire};

mod parse;

pub use parse::Value;
use parse::{Part, values};

/// A logged-in IMAP conversation.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    tag: u32,
    /// Messages in the selected mailbox, as the server's untagged replies have it.
    exists: u32,
}

/// What SELECT said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    pub uidvalidity: u32,
    pub uidnext: u32,
    pub exists: u32,
}

/// One message of a FETCH.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Zero when the server gave none.
    pub uid: u32,
    pub flags: Option<Vec<String>>,
    pub body: Option<Vec<u8>>,
}

impl Fetched {
    /// Whether the flag is among those shown.
    #[must_use]
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().flatten().any(|f| f.eq_ignore_ascii_case(flag))
    }
}

/// What became of an APPEND.
#[derive(Debug)]
pub struct Appended {
    pub fate: Fate,
    /// UIDVALIDITY and UID, if APPENDUID was given (RFC 4315 §3).
    pub uid: Option<(u32, u32)>,
    /// What ended the connection, if it is of no more use.
    pub end: Option<Error>,
}

enum Response {
    Untagged(Vec<Part>),
    Tagged(String),
    Continue,
}

impl Client {
    /// Connects and logs in.
    pub fn login(server: SocketAddr, account: &Account, patience: Duration) -> Result<Client, Error> {
        let mut client = Client::greeted(&Way { server, source: None, trust: None, patience })?;
        client.log_in(account)?;
        Ok(client)
    }

    /// Connects and takes the greeting.
    pub fn greeted(way: &Way) -> Result<Client, Error> {
        let mut client = Client { wire: Wire::open(way)?, tag: 0, exists: 0 };
        let greeting = client.wire.line()?;
        if !greeting.starts_with(b"* OK ") {
            return Err(client.wire.strange("* OK", &greeting));
        }
        Ok(client)
    }

    /// LOGIN.
    pub fn log_in(&mut self, account: &Account) -> Result<(), Error> {
        self.command(&format!("LOGIN \"{}\" \"{}\"", account.address, account.password), |_| {}).map(drop)
    }

    /// The connection below, once the conversation is of no more use.
    #[must_use]
    pub fn into_wire(self) -> Wire {
        self.wire
    }

    /// NOOP.
    pub fn noop(&mut self) -> Result<(), Error> {
        self.run("NOOP", |_| Ok(())).map(drop)
    }

    /// IDLE, up to its `+`: from here on the server speaks when it likes (RFC 2177). Errors: it is refused.
    pub fn idle(&mut self) -> Result<(), Error> {
        self.send("IDLE")?;
        match self.go_ahead()? {
            None => Ok(()),
            Some(refusal) => Err(Error::Refused(refusal)),
        }
    }

    /// DONE, which ends IDLE.
    pub fn done(&mut self) -> Result<(), Error> {
        self.wire.send(b"DONE\r\n")?;
        self.finish(|_, _| Ok(())).map(drop)
    }

    /// EXAMINE and CLOSE: a mailbox entered and left (RFC 9051 §6.3.3, §6.4.1).
    pub fn look_in(&mut self, mailbox: &str) -> Result<(), Error> {
        self.exists = 0;
        self.run(&format!("EXAMINE {mailbox}"), |_| Ok(()))?;
        self.run("CLOSE", |_| Ok(())).map(drop)
    }

    /// Gives back what is not needed while nothing is said.
    pub fn rest(&mut self) {
        self.wire.rest();
    }

    /// SELECT.
    pub fn select(&mut self, mailbox: &str) -> Result<Selected, Error> {
        self.exists = 0;
        let (mut uidvalidity, mut uidnext) = (None, None);
        self.run(&format!("SELECT {mailbox}"), |line| {
            uidvalidity = uidvalidity.or_else(|| code_number(line, "UIDVALIDITY"));
            uidnext = uidnext.or_else(|| code_number(line, "UIDNEXT"));
            Ok(())
        })?;
        match (uidvalidity, uidnext) {
            (Some(uidvalidity), Some(uidnext)) => Ok(Selected { uidvalidity, uidnext, exists: self.exists }),
            _ => Err(self.wire.strange("UIDVALIDITY and UIDNEXT in the replies to SELECT", b"not both")),
        }
    }

    /// `UID FETCH set (UID items)`; `each` gets every message, and flags told
    /// unasked. Errors: a body without its UID.
    pub fn uid_fetch(&mut self, set: &str, items: &str, mut each: impl FnMut(Fetched)) -> Result<(), Error> {
        let mut nameless = false;
        self.command(&format!("UID FETCH {set} (UID {items})"), |fetched| {
            nameless |= fetched.uid == 0 && fetched.body.is_some();
            each(fetched);
        })?;
        if nameless {
            return Err(self.wire.strange("a UID beside every body", b"none"));
        }
        Ok(())
    }

    /// `UID STORE uid +FLAGS (flag)`. Returns whether the reply shows the message with the flag.
    pub fn uid_add_flag(&mut self, uid: u32, flag: &str) -> Result<bool, Error> {
        let mut shown = false;
        self.command(&format!("UID STORE {uid} +FLAGS ({flag})"), |f| shown |= f.has(flag))?;
        Ok(shown)
    }

    /// `UID STORE set change`, which is silent: `+FLAGS.SILENT (flag)`.
    pub fn uid_store_silent(&mut self, set: &str, change: &str) -> Result<(), Error> {
        self.command(&format!("UID STORE {set} {change}"), |_| {}).map(drop)
    }

    /// EXPUNGE. Returns how many messages went.
    pub fn expunge(&mut self) -> Result<u32, Error> {
        let mut gone = 0;
        self.run("EXPUNGE", |line| {
            gone += u32::from(line.ends_with(" EXPUNGE"));
            Ok(())
        })?;
        Ok(gone)
    }

    /// APPEND with a synchronising literal.
    pub fn append(&mut self, mailbox: &str, letter: &[u8]) -> Appended {
        let started = self.send(&format!("APPEND {mailbox} {{{}}}", letter.len())).and_then(|()| self.go_ahead());
        match started {
            Ok(None) => {}
            Ok(Some(refusal)) => return Appended { fate: Fate::Refused(refusal), uid: None, end: None },
            Err(e) => return Appended { fate: Fate::Cut, uid: None, end: Some(e) },
        }
        if let Err(e) = self.wire.send(&[letter, b"\r\n"].concat()) {
            // Without its last CRLF the command is not whole, and the write that failed did not send it.
            return Appended { fate: Fate::Cut, uid: None, end: Some(e) };
        }
        match self.finish(|_, _| Ok(())) {
            Ok(text) => Appended { fate: Fate::Accepted, uid: append_uid(&text), end: None },
            // After submission a failure may still be on the disk: only the mailbox can tell.
            Err(Error::Refused(text)) => Appended { fate: Fate::Unknown(text), uid: None, end: None },
            Err(e) => Appended { fate: Fate::Unknown(e.to_string()), uid: None, end: Some(e) },
        }
    }

    /// LOGOUT: BYE, OK, end of connection.
    pub fn logout(mut self) -> Result<(), Error> {
        let mut bye = false;
        self.send("LOGOUT")?;
        self.finish(|_, parts| {
            bye |= text_of(parts).starts_with("BYE");
            Ok(())
        })?;
        if !bye {
            return Err(self.wire.strange("* BYE before the OK of LOGOUT", b"none"));
        }
        self.wire.closed()
    }

    fn command(&mut self, text: &str, mut each: impl FnMut(Fetched)) -> Result<String, Error> {
        self.send(text)?;
        self.finish(|wire, parts| {
            if let Some(fetched) = fetched(wire, parts)? {
                each(fetched);
            }
            Ok(())
        })
    }

    fn run(&mut self, text: &str, mut each: impl FnMut(&str) -> Result<(), Error>) -> Result<String, Error> {
        self.send(text)?;
        self.finish(|_, parts| each(&text_of(parts)))
    }

    fn send(&mut self, text: &str) -> Result<(), Error> {
        self.tag += 1;
        self.wire.send(format!("t{} {text}\r\n", self.tag).as_bytes())
    }

    /// Waits for `+`; `Some(text)` when the command was refused instead.
    fn go_ahead(&mut self) -> Result<Option<String>, Error> {
        loop {
            match self.response()? {
                Response::Continue => return Ok(None),
                Response::Untagged(parts) => self.note(&parts)?,
                Response::Tagged(text) if text.starts_with("NO ") => return Ok(Some(text)),
                Response::Tagged(text) => return Err(self.wire.strange("+ or NO", text.as_bytes())),
            }
        }
    }

    /// Reads up to the tagged reply. Errors: NO is `Refused`, BAD and all else `Strange`.
    fn finish(&mut self, mut each: impl FnMut(&Wire, &[Part]) -> Result<(), Error>) -> Result<String, Error> {
        loop {
            match self.response()? {
                Response::Untagged(parts) => {
                    self.note(&parts)?;
                    each(&self.wire, &parts)?;
                }
                Response::Tagged(text) if text.starts_with("OK ") => return Ok(text),
                Response::Tagged(text) if text.starts_with("NO ") => return Err(Error::Refused(text)),
                Response::Tagged(text) => return Err(self.wire.strange("tagged OK or NO", text.as_bytes())),
                Response::Continue => return Err(self.wire.strange("no continuation here", b"+")),
            }
        }
    }

    /// Keeps count of the mailbox and refuses replies that no server may send here.
    fn note(&mut self, parts: &[Part]) -> Result<(), Error> {
        let text = text_of(parts);
        let mut words = text.splitn(3, ' ');
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let lawful = match (first.parse::<u32>(), second) {
            (Ok(n), "EXISTS") if n >= self.exists => {
                self.exists = n;
                true
            }
            (Ok(_), "RECENT") => true,
            (Ok(n), "EXPUNGE") if n >= 1 && n <= self.exists => {
                self.exists -= 1;
                true
            }
            (Ok(n), "FETCH") => n >= 1 && n <= self.exists,
            (Err(_), _) => {
                ["OK", "NO", "BYE", "FLAGS", "CAPABILITY", "LIST", "SEARCH", "STATUS", "ENABLED"].contains(&first)
            }
            _ => false,
        };
        if lawful { Ok(()) } else { Err(self.wire.strange("a lawful untagged reply", text.as_bytes())) }
    }

    fn response(&mut self) -> Result<Response, Error> {
        let mut line = self.wire.line()?;
        if line.starts_with(b"+") {
            return Ok(Response::Continue);
        }
        let tag = format!("t{} ", self.tag);
        if let Some(text) = line.strip_prefix(tag.as_bytes()) {
            return Ok(Response::Tagged(String::from_utf8_lossy(text).into_owned()));
        }
        if !line.starts_with(b"* ") {
            return Err(self.wire.strange(&format!("`* ` or `{tag}`"), &line));
        }
        line.drain(..2);
        let mut parts = Vec::new();
        loop {
            let literal = parse::literal_bytes(&line);
            parts.push(Part::Text(line));
            let Some(count) = literal else { return Ok(Response::Untagged(parts)) };
            let mut bytes = Vec::with_capacity(count);
            self.wire.exactly(count, &mut bytes)?;
            parts.push(Part::Literal(bytes));
            line = self.wire.line()?;
        }
    }
}

fn text_of(parts: &[Part]) -> String {
    match parts.first() {
        Some(Part::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    }
}

fn append_uid(text: &str) -> Option<(u32, u32)> {
    let mut words = text.strip_prefix("OK [APPENDUID ")?.split([' ', ']']);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn code_number(line: &str, code: &str) -> Option<u32> {
    let rest = line.strip_prefix("OK [")?.strip_prefix(code)?.strip_prefix(' ')?;
    rest.split(']').next()?.parse().ok().filter(|&n| n > 0)
}

fn fetched(wire: &Wire, parts: &[Part]) -> Result<Option<Fetched>, Error> {
    let text = text_of(parts);
    let Some((_, rest)) = text.split_once(" FETCH ") else { return Ok(None) };
    if text.split(' ').next().is_none_or(|n| n.parse::<u32>().is_err()) {
        return Ok(None);
    }
    let skip = text.len() - rest.len();
    let strange = || wire.strange("FETCH with a list of items", text.as_bytes());
    let Some(Value::List(items)) = values(parts, skip) else { return Err(strange()) };
    let mut out = Fetched::default();
    for pair in items.chunks(2) {
        match pair {
            [Value::Atom(name), value] => match (name.to_ascii_uppercase().as_str(), value) {
                ("UID", Value::Atom(n)) => out.uid = n.parse().map_err(|_| strange())?,
                ("FLAGS", Value::List(flags)) => {
                    out.flags = Some(flags.iter().filter_map(|f| f.atom().map(str::to_owned)).collect());
                }
                ("BODY[]", Value::Text(bytes)) => out.body = Some(bytes.clone()),
                ("MODSEQ", Value::List(_)) | ("RFC822.SIZE", Value::Atom(_)) | ("INTERNALDATE", Value::Text(_)) => {}
                _ => return Err(strange()),
            },
            _ => return Err(strange()),
        }
    }
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Conversation, Fake};

    fn login(script: impl FnOnce(&mut Conversation) -> std::io::Result<()> + Send + 'static) -> (Fake, Client) {
        let fake = Fake::start(move |c| {
            c.say("* OK fake\r\n")?;
            c.want("t1 LOGIN \"a@b\" \"pw\"")?;
            c.say("* CAPABILITY IMAP4rev1\r\nt1 OK in\r\n")?;
            c.want("t2 SELECT INBOX")?;
            c.say(
                "* 2 EXISTS\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 12] ok\r\nt2 OK sel\r\n",
            )?;
            script(c)
        });
        let account = Account { address: "a@b".into(), password: "pw".into() };
        let mut client = Client::login(fake.address(), &account, Duration::from_secs(10)).unwrap();
        let selected = client.select("INBOX").unwrap();
        assert_eq!(selected, Selected { uidvalidity: 7, uidnext: 12, exists: 2 });
        (fake, client)
    }

    #[test]
    fn a_body_comes_back_from_its_literal_with_parentheses_and_crlf_in_it() {
        let (fake, mut client) = login(|c| {
            c.want("t3 UID FETCH 1:* (UID FLAGS BODY.PEEK[])")?;
            c.say("* 1 FETCH (UID 4 FLAGS (\\Seen \\Flagged) BODY[] {6}\r\n)(\r\nx\r)\r\n")?;
            c.say("* 2 FETCH (FLAGS () BODY[] {0}\r\n UID 9)\r\nt3 OK done\r\n")?;
            c.want("t4 LOGOUT")?;
            c.say("* BYE bye\r\nt4 OK bye\r\n")
        });
        let mut all = Vec::new();
        client.uid_fetch("1:*", "FLAGS BODY.PEEK[]", |f| all.push(f)).unwrap();
        assert_eq!((all[0].uid, all[0].body.as_deref(), all[0].has("\\seen")), (4, Some(&b")(\r\nx\r"[..]), true));
        assert_eq!((all[1].uid, all[1].body.as_deref()), (9, Some(&b""[..])));
        client.logout().unwrap();
        fake.join();
    }

    #[test]
    fn an_append_waits_for_the_go_ahead_and_tells_its_uid() {
        let (fake, mut client) = login(|c| {
            c.want("t3 APPEND INBOX {5}")?;
            c.say("+ go\r\n")?;
            assert_eq!(c.exactly(7)?, b"hello\r\n");
            c.say("* 3 EXISTS\r\nt3 OK [APPENDUID 7 12] kept\r\n")?;
            c.want("t4 APPEND INBOX {5}")?;
            c.say("+ go\r\n")?;
            c.exactly(7).map(drop)
        });
        let first = client.append("INBOX", b"hello");
        assert_eq!((first.fate, first.uid), (Fate::Accepted, Some((7, 12))));
        let second = client.append("INBOX", b"hello");
        assert!(matches!((second.fate, second.end), (Fate::Unknown(_), Some(Error::Lost(_)))));
        fake.join();
    }

    #[test]
    fn an_append_refused_before_its_literal_is_a_refusal() {
        let (fake, mut client) = login(|c| {
            c.want("t3 APPEND INBOX {5}")?;
            c.say("t3 NO [OVERQUOTA] full\r\n")
        });
        let appended = client.append("INBOX", b"hello");
        assert!(matches!((appended.fate, appended.end), (Fate::Refused(_), None)));
        fake.join();
    }

    #[test]
    fn store_and_expunge_are_counted_from_the_untagged_replies() {
        let (fake, mut client) = login(|c| {
            c.want("t3 UID STORE 4 +FLAGS (\\Deleted)")?;
            c.say("* 1 FETCH (UID 4 FLAGS (\\Deleted))\r\nt3 OK\u{20}done\r\n")?;
            c.want("t4 EXPUNGE")?;
            c.say("* 1 EXPUNGE\r\nt4 OK done\r\n")?;
            c.want("t5 EXPUNGE")?;
            c.say("* 2 EXPUNGE\r\nt5 OK done\r\n")
        });
        assert!(client.uid_add_flag(4, "\\Deleted").unwrap());
        assert_eq!(client.expunge().unwrap(), 1);
        let error = client.expunge().unwrap_err().to_string();
        assert!(error.contains("lawful untagged"), "one message is left, so a second one cannot go: {error}");
        fake.join();
    }

    #[test]
    fn bad_is_a_failure_and_no_is_a_refusal() {
        for (answer, strange) in [("t3 BAD what\r\n", true), ("t3 NO not now\r\n", false), ("x OK\r\n", true)] {
            let (fake, mut client) = login(move |c| {
                c.line()?;
                c.say(answer)
            });
            let error = client.uid_fetch("1", "FLAGS", |_| {}).unwrap_err();
            assert_eq!(matches!(error, Error::Strange { .. }), strange, "{answer}");
            fake.join();
        }
    }
}
