//! The world of the receiving SMTP session. `A:` lines: `Mail|Rcpt|Data|Done|Reset` and then
//! `no CODE X.Y.Z text`, `close` or `yes`; `Login` too. Only alice has a password, `secret`. `K:` lines: `message_bytes_max`,
//! `bare_newline reject`, `privacy offered|tls`, `role submission|lmtp`, `plaintext yes`, `keys yes`, `binds yes`, `tls required`, `xclient yes`. `A: Done each CODE X.Y.Z text, …` answers
//! for each recipient.

use std::sync::Arc;

use ringpost::proto::contract::{Out, Privacy};
use ringpost::proto::smtp::{Answer, Ask, BareNewline, Config, Reply, Role, Session, Word};

use super::{Script, Settings, World, keys};

#[derive(Default)]
pub struct Smtp {
    queued: u32,
}

impl World for Smtp {
    type Session = Session;

    const NAME: &str = "smtp";
    const OPENING: &[&[u8]] = &[
        b"EHLO client.test\r\n",
        b"STARTTLS\r\n",
        b"EHLO client.test\r\n",
        b"MAIL FROM:<alice@client.test>\r\n",
        b"RCPT TO:<bob@ringpost.test>\r\n",
        b"DATA\r\n",
        b"Subject: x\r\n\r\nHello\r\n",
        b".\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<Postmaster>\r\n",
    ];
    const WORDS: &[&[u8]] = &[
        b"EHLO client.test\r\n",
        b"HELO client.test\r\n",
        b"MAIL FROM:<alice@client.test>\r\n",
        b"MAIL FROM:<> SIZE=100 BODY=8BITMIME\r\n",
        b"RCPT TO:<bob@ringpost.test>\r\n",
        b"RCPT TO:<refused@ringpost.test>\r\n",
        b"RCPT TO:<\"a@b\"@ringpost.test>\r\n",
        b"DATA\r\n",
        b"DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\n",
        b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
        b"\r\n.\r\n",
        b".\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b".",
        b"\0",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"VRFY bob\r\n",
        b"QUIT\r\n",
        b"STARTTLS\r\n",
        b"BDAT 10\r\n",
        b"BDAT 10\r\nFrom: x\r\n\n",
        b"BDAT 7\r\nline\r\n\r",
        b"BDAT 7 LAST\r\n\n.\r\nab\r",
        b"BDAT 0 LAST\r\n",
        b"BDAT 0\r\n",
        b"BDAT 99999999999\r\n",
        b"MAIL FROM:<j\xc3\xbcrgen@client.test> SMTPUTF8\r\n",
        b"RCPT TO:<b\xc3\xbcro@ringpost.test>\r\n",
        b"GET / HTTP/1.1\r\n",
        b"XCLIENT ADDR=192.0.2.7 HELO=client.test\r\n",
        b"XCLIENT ADDR=IPV6:",
        b"words\n",
        b"\xff\xfe",
        b"\x16\x03\x01",
        b" SIZE=",
        b"MAIL FROM:<",
        b"a line of text that is longer than the others and has nothing to say at all ",
    ];
    const RANDOM: &[(&str, &str)] = &[("privacy", "offered"), ("xclient", "yes")];
    const STARTS_TLS: bool = true;

    fn open(settings: &Settings, out: &mut Out<Ask>) -> (Self, Session) {
        let mut config = Config { hostname: "mx.ringpost.test".to_owned(), ..Config::default() };
        for (key, value) in settings {
            match (key.as_str(), value.as_str()) {
                ("message_bytes_max", octets) => config.message_bytes_max = octets.parse().expect("octets"),
                ("privacy", "offered") => config.privacy = Privacy::Offered,
                ("privacy", "tls") => config.privacy = Privacy::Tls,
                ("role", "submission") => config.role = Role::Submission,
                ("role", "lmtp") => config.role = Role::Lmtp,
                ("xclient", "yes") => config.xclient = true,
                ("tls", "required") => config.tls_required = true,
                ("plaintext", "yes") => config.plaintext_auth_allowed = true,
                ("keys", "yes") => config.keys = true,
                ("binds", "yes") => config.binds = true,
                ("bare_newline", "reject") => config.bare_newline = BareNewline::Reject,
                other => panic!("no such setting: {other:?}"),
            }
        }
        (Smtp::default(), Session::open(Arc::new(config), out))
    }

    fn answer(&mut self, ask: Ask, script: &mut Script, _: &mut Vec<u8>) -> Answer {
        let (kind, usual) = match ask {
            Ask::Login(login) if login.name == b"alice" && keys::is_alices(&login.evidence) => ("Login", Answer::Yes),
            Ask::Keys(name) => ("Keys", Answer::Keys(keys::known(&name))),
            Ask::Login(_) => ("Login", Answer::No(Word::BadLogin.reply())),
            Ask::Client { .. } => ("Client", Answer::Yes),
            Ask::Mail { .. } => ("Mail", Answer::Yes),
            Ask::Rcpt { recipient } if recipient.as_str().starts_with("refused@") => {
                ("Rcpt", Answer::No(Reply::new(550, (5, 1, 1), "No such user")))
            }
            Ask::Rcpt { .. } => ("Rcpt", Answer::Yes),
            Ask::Data { .. } => ("Data", Answer::Yes),
            Ask::Done { .. } => {
                self.queued += 1;
                ("Done", Answer::Queued { id: format!("q{}", self.queued) })
            }
            Ask::Reset => ("Reset", Answer::Yes),
        };
        script.next(kind).map_or(usual, |line| scripted(&line))
    }

    fn stray(n: u8) -> Answer {
        match n % 6 {
            5 => Answer::Keys(keys::known(b"stray")),
            4 => Answer::Each(vec![Word::Ok.reply(); usize::from(n) / 32]),
            0 => Answer::Yes,
            1 => Answer::Queued { id: "stray\r\n".to_owned() },
            2 => Answer::No(Reply::new(450 + u16::from(n), (4, 0, 0), "stray\r\n")),
            _ => Answer::Close,
        }
    }
}

/// The same session where a neighbour hands mail over for good.
pub struct Lmtp(Smtp);

impl World for Lmtp {
    type Session = Session;

    const NAME: &str = "smtp";
    const OPENING: &[&[u8]] = &[
        b"LHLO relay.test\r\n",
        b"STARTTLS\r\n",
        b"LHLO relay.test\r\n",
        b"MAIL FROM:<alice@client.test>\r\n",
        b"RCPT TO:<bob@ringpost.test>\r\n",
        b"RCPT TO:<bob@ringpost.test>\r\n",
        b"DATA\r\n",
        b"Subject: x\r\n\r\nHello\r\n.\r\n",
    ];
    const WORDS: &[&[u8]] = &[
        b"LHLO relay.test\r\n",
        b"EHLO relay.test\r\n",
        b"STARTTLS\r\n",
        b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
        b"MAIL FROM:<alice@client.test>\r\n",
        b"RCPT TO:<bob@ringpost.test>\r\n",
        b"RCPT TO:<refused@ringpost.test>\r\n",
        b"DATA\r\n",
        b"DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\n",
        b"BDAT 6\r\nRSET\r\n",
        b"BDAT 6 LAST\r\nQUIT\r\n",
        b"BDAT 3 LAST\r\na\0b",
        b".\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
    ];
    const RANDOM: &[(&str, &str)] = &[("privacy", "offered"), ("role", "lmtp")];
    const STARTS_TLS: bool = true;

    fn open(settings: &Settings, out: &mut Out<Ask>) -> (Self, Session) {
        let (world, session) = Smtp::open(settings, out);
        (Lmtp(world), session)
    }

    fn answer(&mut self, ask: Ask, script: &mut Script, reply: &mut Vec<u8>) -> Answer {
        self.0.answer(ask, script, reply)
    }

    fn stray(n: u8) -> Answer {
        Smtp::stray(n)
    }
}

/// The same session where our own users hand in mail.
pub struct Submission(Smtp);

impl World for Submission {
    type Session = Session;

    const NAME: &str = "smtp";
    const OPENING: &[&[u8]] = &[
        b"EHLO client.test\r\n",
        b"STARTTLS\r\n",
        b"EHLO client.test\r\n",
        b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
        b"MAIL FROM:<alice@ringpost.test> AUTH=<>\r\n",
        b"RCPT TO:<bob@ringpost.test>\r\n",
        b"DATA\r\n",
        b"Subject: x\r\n\r\nHello\r\n.\r\n",
    ];
    const WORDS: &[&[u8]] = &[
        b"EHLO client.test\r\n",
        b"HELO client.test\r\n",
        b"STARTTLS\r\n",
        b"STARTTLS now\r\n",
        b"starttls\n",
        b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
        b"AUTH PLAIN\r\n",
        b"AGFsaWNlAHNlY3JldA==\r\n",
        b"AUTH PLAIN =\r\n",
        b"AUTH LOGIN\r\nYWxpY2U=\r\nc2VjcmV0\r\n",
        b"AUTH LOGIN YWxpY2U=\r\n",
        b"c2VjcmV0\r\n",
        b"AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiYw==\r\n",
        b"AUTH SCRAM-SHA-256\r\nbiwsbj1hbGljZSxyPWFiYw==\r\n",
        b"Yz1iaXdzLHI9YWJjLHA9QUFBQQ==\r\n",
        b"AUTH CRAM-MD5\r\n",
        b"AUTH ",
        b"*\r\n",
        b"AUTH LOGIN\r\n*\r\n",
        b"MAIL FROM:<alice@ringpost.test> AUTH=alice+40ringpost.test\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<bob@ringpost.test>\r\n",
        b"DATA\r\n",
        b"DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\n",
        b"BDAT 6\r\nRSET\r\n",
        b"BDAT 6 LAST\r\nQUIT\r\n",
        b".\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"\x16\x03\x01",
        b"\xff\xfe",
        b"a line of text that is longer than the others and has nothing to say at all ",
    ];
    const RANDOM: &[(&str, &str)] = &[("privacy", "offered"), ("role", "submission"), ("keys", "yes")];
    const STARTS_TLS: bool = true;

    fn open(settings: &Settings, out: &mut Out<Ask>) -> (Self, Session) {
        let (world, session) = Smtp::open(settings, out);
        (Submission(world), session)
    }

    fn answer(&mut self, ask: Ask, script: &mut Script, reply: &mut Vec<u8>) -> Answer {
        self.0.answer(ask, script, reply)
    }

    fn stray(n: u8) -> Answer {
        Smtp::stray(n)
    }
}

fn scripted(line: &str) -> Answer {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("yes", "") => Answer::Yes,
        ("close", "") => Answer::Close,
        ("each", replies) => Answer::Each(replies.split(", ").map(refusal).collect()),
        ("no", reply) => Answer::No(refusal(reply)),
        other => panic!("not an answer: {other:?}"),
    }
}

fn refusal(reply: &str) -> Reply {
    let mut words = reply.splitn(3, ' ');
    let mut word = || words.next().expect("no CODE X.Y.Z text");
    let code = word().parse().expect("a code");
    let enhanced: Vec<u16> = word().split('.').map(|n| n.parse().expect("X.Y.Z")).collect();
    let class = u8::try_from(enhanced[0]).expect("a class");
    Reply::new(code, (class, enhanced[1], enhanced[2]), word().to_owned())
}
