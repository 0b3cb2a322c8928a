//! The world of the POP3 session: a maildrop of `alice`, whose password is `secret`. `A:` lines: `Login wrong|later`,
//! `Read gone|unreadable`, `Delete not-done|unknown`. `K:` lines: `plaintext no`, `privacy offered|tls`, `messages N` (N times the same one),
//! `octets N` (one message of about N octets).

use ringpost::proto::contract::{Out, Privacy};
use ringpost::proto::pop3::{Answer, Ask, Config, Deletion, Item, LoginFailed, Session};

use super::{Script, Settings, World, keys};

pub struct Pop3 {
    /// (UID, message)
    messages: Vec<(u32, Vec<u8>)>,
}

const MESSAGES: [&[u8]; 3] = [
    b"Subject: one\r\n\r\nHello\r\nagain\r\n",
    b"Subject: two\r\n.odd: field\r\n\r\n.\r\n..dots\r\nno end",
    b"Subject: three\r\n\r\n\0\xff\r\n",
];

impl World for Pop3 {
    type Session = Session;

    const NAME: &str = "pop3";
    const OPENING: &[&[u8]] = &[b"STLS\r\n", b"USER alice\r\n", b"PASS secret\r\n"];
    const WORDS: &[&[u8]] = &[
        b"AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiYw==\r\n",
        b"Yz1iaXdzLHI9YWJjLHA9QUFBQQ==\r\n",
        b"USER alice\r\nPASS secret\r\n",
        b"USER bob\r\n",
        b"PASS wrong\r\n",
        b"CAPA\r\n",
        b"STAT\r\n",
        b"LIST\r\n",
        b"LIST 2\r\n",
        b"UIDL\r\n",
        b"UIDL 3\r\n",
        b"RETR 1\r\n",
        b"retr 2\r\n",
        b"RETR 0\r\n",
        b"TOP 2 1\r\n",
        b"TOP 1 -1\r\n",
        b"DELE 1\r\n",
        b"DELE 3\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"STLS\r\n",
        b"STLS now\r\n",
        b"AUTH\r\n",
        b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
        b"AUTH PLAIN\r\n",
        b"AGFsaWNlAHNlY3JldA==\r\n",
        b"AUTH PLAIN\r\n*\r\n",
        b"AUTH GSSAPI\r\n",
        b"\x16\x03\x01",
        b"RETR 18446744073709551616\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b".\r\n",
        b"\0",
        b" ",
        b"DELE ",
        b"\xff\xfe",
        b"a line that is longer than the others and is repeated until nobody can take it for a command any more ",
    ];
    const RANDOM: &[(&str, &str)] = &[("privacy", "offered"), ("keys", "yes")];
    const STARTS_TLS: bool = true;

    fn open(settings: &Settings, out: &mut Out<Ask>) -> (Self, Session) {
        let mut config = Config {
            hostname: "mx.ringpost.test".to_owned(),
            privacy: Privacy::None,
            plaintext_auth_allowed: true,
            keys: false,
            allowed: ringpost::proto::sasl::Allowed::ALL,
            binds: false,
        };
        let mut messages: Vec<(u32, Vec<u8>)> = (4..).step_by(3).zip(MESSAGES.map(<[u8]>::to_vec)).collect();
        for (key, value) in settings {
            match (key.as_str(), value.as_str()) {
                ("keys", "yes") => config.keys = true,
                ("binds", "yes") => config.binds = true,
                ("plaintext", "no") => config.plaintext_auth_allowed = false,
                ("privacy", "offered") => config.privacy = Privacy::Offered,
                ("privacy", "tls") => config.privacy = Privacy::Tls,
                ("messages", count) => {
                    let count: u32 = count.parse().expect("a count");
                    messages = (1..=count).map(|uid| (uid, b"x\r\n".to_vec())).collect();
                }
                ("octets", octets) => {
                    let octets: usize = octets.parse().expect("octets");
                    messages = vec![(1, [b"Subject: long\r\n\r\n".to_vec(), b".line\r\n".repeat(octets / 7)].concat())];
                }
                other => panic!("no such setting: {other:?}"),
            }
        }
        let session = Session::open(&config, out);
        (Pop3 { messages }, session)
    }

    fn answer(&mut self, ask: Ask, script: &mut Script, _: &mut Vec<u8>) -> Answer {
        let kind = match ask {
            Ask::Login(_) => "Login",
            Ask::Keys(_) => "Keys",
            Ask::Room => "Room",
            Ask::Read { .. } => "Read",
            Ask::Delete { .. } => "Delete",
        };
        match script.next(kind) {
            Some(line) => scripted(kind, &line),
            None => self.usual(ask),
        }
    }

    fn stray(n: u8) -> Answer {
        match n % 8 {
            7 => Answer::Keys(keys::known(b"stray")),
            0 => Answer::Room,
            1 => Answer::Octets(vec![n; usize::from(n)]),
            2 => Answer::Gone,
            3 => Answer::Unreadable,
            4 => Answer::Deleted(Deletion::Done),
            5 => Answer::LoginFailed(LoginFailed::Later),
            _ => {
                let items = vec![Item { uid: 1, size: u32::MAX }; usize::from(n)];
                Answer::LoggedIn { uidvalidity: 1, items, uidls: vec![(1, "x".into())] }
            }
        }
    }
}

impl Pop3 {
    fn usual(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Login(login) if login.name == b"alice" && keys::is_alices(&login.evidence) => {
                let item = |(uid, message): &(u32, Vec<u8>)| Item {
                    uid: *uid,
                    size: u32::try_from(message.len()).expect("a short message"),
                };
                let items = self.messages.iter().map(item).collect();
                Answer::LoggedIn { uidvalidity: 1_700_000_000, items, uidls: Vec::new() }
            }
            Ask::Login(_) => Answer::LoginFailed(LoginFailed::Wrong),
            Ask::Keys(name) => Answer::Keys(keys::known(&name)),
            Ask::Room => Answer::Room,
            Ask::Read { uid, offset, len } => match self.messages.iter().find(|(u, _)| *u == uid) {
                Some((_, message)) => {
                    let from = usize::try_from(offset).expect("an offset");
                    Answer::Octets(message[from..message.len().min(from + len)].to_vec())
                }
                None => Answer::Gone,
            },
            Ask::Delete { .. } => Answer::Deleted(Deletion::Done),
        }
    }
}

fn scripted(kind: &str, line: &str) -> Answer {
    match (kind, line) {
        ("Login", "wrong") => Answer::LoginFailed(LoginFailed::Wrong),
        ("Login" | "Keys", "later") => Answer::LoginFailed(LoginFailed::Later),
        ("Read", "gone") => Answer::Gone,
        ("Read", "unreadable") => Answer::Unreadable,
        ("Delete", "not-done") => Answer::Deleted(Deletion::NotDone),
        other => panic!("not an answer: {other:?}"),
    }
}
