//! A small mail server in memory, honest or with one vice, for tests that run whole commands.
//!
//! It knows just the SMTP, POP3 and IMAP that our clients speak, written naively on purpose.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::accounts::Account;

/// What the server does wrong, to every tenth message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vice {
    None,
    Loses,
    Doubles,
    Alters,
    /// Puts it into the first account's mailbox as well.
    Misdelivers,
    /// Keeps it though it answers 550.
    KeepsRefused,
}

#[derive(Clone)]
struct Message {
    uid: u32,
    bytes: Vec<u8>,
    flags: Vec<String>,
}

struct State {
    vice: Vice,
    received: u64,
    mailboxes: BTreeMap<String, (u32, Vec<Message>)>,
    first: String,
    talks: Vec<(TcpStream, JoinHandle<()>)>,
    closed: bool,
}

type Shared = Arc<Mutex<State>>;

/// The running server; dropping it stops it.
pub struct Post {
    pub smtp: SocketAddr,
    pub imap: SocketAddr,
    pub pop3: SocketAddr,
    state: Shared,
    doors: Vec<JoinHandle<()>>,
}

impl Post {
    pub fn start(accounts: &[Account], vice: Vice) -> Post {
        let mailboxes = accounts.iter().map(|a| (a.address.clone(), (1, Vec::new()))).collect();
        let first = accounts[0].address.clone();
        let state = State { vice, received: 0, mailboxes, first, talks: Vec::new(), closed: false };
        let state = Arc::new(Mutex::new(state));
        let mut doors = Vec::new();
        let mut door = |serve: fn(&mut Talk) -> io::Result<()>| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let state = state.clone();
            doors.push(std::thread::spawn(move || listen(&listener, &state, serve)));
            address
        };
        let (smtp, imap, pop3) = (door(serve_smtp), door(serve_imap), door(serve_pop3));
        Post { smtp, imap, pop3, state, doors }
    }

    /// Cuts every connection and waits until nothing more is done for it, as after a kill; what was stored
    /// stays.
    pub fn cut(&self) {
        let talks = std::mem::take(&mut self.state.lock().unwrap().talks);
        for (stream, _) in &talks {
            let _ = stream.shutdown(Shutdown::Both);
        }
        for (_, thread) in talks {
            thread.join().unwrap();
        }
    }

    /// Messages received so far.
    pub fn received(&self) -> u64 {
        self.state.lock().unwrap().received
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.state.lock().unwrap().closed = true;
        self.cut();
        for door in [self.smtp, self.imap, self.pop3] {
            let _ = TcpStream::connect(door);
        }
        for door in self.doors.drain(..) {
            door.join().unwrap();
        }
    }
}

fn listen(listener: &TcpListener, state: &Shared, serve: fn(&mut Talk) -> io::Result<()>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let mut guard = state.lock().unwrap();
        if guard.closed {
            return;
        }
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        let handle = stream.try_clone().unwrap();
        let mut talk = Talk { reader, writer: stream, state: state.clone(), user: String::new() };
        let thread = std::thread::spawn(move || {
            // A client that leaves in the middle is no fault of the server's.
            let _ = serve(&mut talk);
            let _ = talk.writer.shutdown(Shutdown::Both);
        });
        guard.talks.push((handle, thread));
    }
}

struct Talk {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    state: Shared,
    user: String,
}

impl Talk {
    fn say(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_all(text.as_bytes())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut text = String::new();
        if self.reader.read_line(&mut text)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(text.trim_end_matches("\r\n").into())
    }

    fn messages(&self) -> Vec<Message> {
        self.state.lock().unwrap().mailboxes[&self.user].1.clone()
    }
}

impl State {
    /// Stores one copy, or does what the vice says. `false`: refuse it.
    fn deliver(&mut self, to: &str, bytes: &[u8]) -> bool {
        self.received += 1;
        let mut bytes = bytes.to_vec();
        if !self.received.is_multiple_of(10) {
            self.keep(to, bytes);
            return true;
        }
        match self.vice {
            Vice::None | Vice::KeepsRefused => {}
            Vice::Loses => return true,
            Vice::Doubles => self.keep(to, bytes.clone()),
            Vice::Alters => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Vice::Misdelivers => {
                let first = self.first.clone();
                self.keep(&first, bytes.clone());
            }
        }
        self.keep(to, bytes);
        self.vice != Vice::KeepsRefused
    }

    fn keep(&mut self, to: &str, bytes: Vec<u8>) {
        let (uidnext, messages) = self.mailboxes.get_mut(to).unwrap();
        messages.push(Message { uid: *uidnext, bytes, flags: Vec::new() });
        *uidnext += 1;
    }
}

fn serve_smtp(t: &mut Talk) -> io::Result<()> {
    t.say("220 post\r\n")?;
    let mut to: Vec<String> = Vec::new();
    loop {
        let line = t.line()?;
        match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => t.say("250-post\r\n250-PIPELINING\r\n250 SIZE\r\n")?,
            "MAIL" => t.say("250 ok\r\n")?,
            "RCPT" => {
                let address = line.trim_start_matches("RCPT TO:<").trim_end_matches('>').to_owned();
                to.push(address);
                t.say("250 ok\r\n")?;
            }
            "DATA" => {
                t.say("354 go\r\n")?;
                let mut message = b"Received: from crowd\r\n\tby post; now\r\n".to_vec();
                loop {
                    let line = t.line()?;
                    if line == "." {
                        break;
                    }
                    message.extend_from_slice(line.strip_prefix('.').unwrap_or(&line).as_bytes());
                    message.extend_from_slice(b"\r\n");
                }
                let mut state = t.state.lock().unwrap();
                let mut kept = true;
                for to in to.drain(..) {
                    kept &= state.deliver(&to, &message);
                }
                drop(state);
                t.say(if kept { "250 kept\r\n" } else { "550 not kept\r\n" })?;
            }
            "QUIT" => return t.say("221 bye\r\n"),
            _ => t.say("500 what\r\n")?,
        }
    }
}

fn serve_pop3(t: &mut Talk) -> io::Result<()> {
    t.say("+OK post\r\n")?;
    // The maildrop is what it was at log-in (RFC 1939 §4).
    let mut messages = Vec::new();
    loop {
        let line = t.line()?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("USER", user) => {
                t.user = user.into();
                t.say("+OK\r\n")?;
            }
            ("PASS", _) => {
                messages = t.messages();
                t.say("+OK\r\n")?;
            }
            ("STAT", _) => {
                let text = format!("+OK {} 0\r\n", messages.len());
                t.say(&text)?;
            }
            (verb @ ("LIST" | "UIDL"), _) => {
                let mut text = String::from("+OK\r\n");
                for (i, m) in (1..).zip(&messages) {
                    let value = if verb == "LIST" { m.bytes.len() } else { m.uid as usize };
                    text.push_str(&format!("{i} {value}\r\n"));
                }
                t.say(&(text + ".\r\n"))?;
            }
            ("RETR", n) => {
                let message = &messages[n.parse::<usize>().unwrap() - 1];
                let text = String::from_utf8(message.bytes.clone()).unwrap().replace("\r\n.", "\r\n..");
                t.say(&format!("+OK\r\n{text}.\r\n"))?;
            }
            _ => return t.say("+OK bye\r\n"),
        }
    }
}

fn serve_imap(t: &mut Talk) -> io::Result<()> {
    t.say("* OK post\r\n")?;
    loop {
        let line = t.line()?;
        let words: Vec<&str> = line.split(' ').collect();
        let tag = words[0];
        match words[1..] {
            ["LOGIN", user, _] => t.user = user.trim_matches('"').into(),
            ["NOOP" | "CLOSE"] => {}
            ["IDLE"] => {
                t.say("+ idling\r\n")?;
                if t.line()? != "DONE" {
                    return t.say(&format!("{tag} BAD what\r\n"));
                }
            }
            ["SELECT" | "EXAMINE", _] => {
                let (next, count) = {
                    let state = t.state.lock().unwrap();
                    (state.mailboxes[&t.user].0, state.mailboxes[&t.user].1.len())
                };
                t.say(&format!("* {count} EXISTS\r\n* OK [UIDVALIDITY 1] v\r\n* OK [UIDNEXT {next}] n\r\n"))?;
            }
            ["UID", "FETCH", set, ..] => {
                let (from, to) = set.split_once(':').unwrap();
                let to = to.parse().unwrap_or(u32::MAX);
                let messages = t.messages();
                t.say(&format!("* {} EXISTS\r\n", messages.len()))?;
                let last = messages.last().map_or(0, |m| m.uid);
                let from = from.parse::<u32>().unwrap().min(if to == u32::MAX { last } else { u32::MAX });
                for (i, m) in (1..).zip(messages).filter(|(_, m)| (from..=to).contains(&m.uid)) {
                    let flags = m.flags.join(" ");
                    t.say(&format!("* {i} FETCH (UID {} FLAGS ({flags})", m.uid))?;
                    if line.contains("BODY.PEEK[]") {
                        t.say(&format!(" BODY[] {{{}}}\r\n", m.bytes.len()))?;
                        t.writer.write_all(&m.bytes)?;
                    }
                    t.say(")\r\n")?;
                }
            }
            ["UID", "STORE", uid, _, flag] => {
                let text = {
                    let mut state = t.state.lock().unwrap();
                    let messages = &mut state.mailboxes.get_mut(&t.user).unwrap().1;
                    let at = messages.iter().position(|m| m.uid.to_string() == uid).unwrap();
                    messages[at].flags.push(flag.trim_matches(['(', ')']).into());
                    let flags = messages[at].flags.join(" ");
                    let count = messages.len();
                    format!("* {count} EXISTS\r\n* {} FETCH (UID {uid} FLAGS ({flags}))\r\n", at + 1)
                };
                t.say(&text)?;
            }
            ["EXPUNGE"] => {
                let mut text = String::new();
                {
                    let mut state = t.state.lock().unwrap();
                    let messages = &mut state.mailboxes.get_mut(&t.user).unwrap().1;
                    text.push_str(&format!("* {} EXISTS\r\n", messages.len()));
                    while let Some(at) = messages.iter().position(|m| m.flags.contains(&"\\Deleted".into())) {
                        messages.remove(at);
                        text.push_str(&format!("* {} EXPUNGE\r\n", at + 1));
                    }
                }
                t.say(&text)?;
            }
            ["APPEND", _, literal] => {
                t.say("+ go\r\n")?;
                let mut bytes = vec![0; literal.trim_matches(['{', '}']).parse::<usize>().unwrap() + 2];
                t.reader.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                let user = t.user.clone();
                t.state.lock().unwrap().deliver(&user, &bytes);
            }
            ["LOGOUT"] => return t.say(&format!("* BYE post\r\n{tag} OK bye\r\n")),
            _ => return t.say(&format!("{tag} BAD what\r\n")),
        }
        t.say(&format!("{tag} OK done\r\n"))?;
    }
}
