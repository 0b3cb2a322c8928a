//! What the SMTP session reads beside whole conversations: one line of a command, its parameters, a login, a message.
//!
//! Each is held against a few lines of plain code that say the same another way.

use rand::Rng;
use rand::rngs::SmallRng;
use ringpost::proto::contract::Turn;

use crate::sessions::are_lines;
use crate::stage::{Heard, Player, Settings, smtp};
use crate::target::{Target, cut, one, some};

pub const COMMAND: Target = Target {
    name: "command",
    make: |chance| some(chance, COMMAND_WORDS, 6),
    words: COMMAND_WORDS,
    look: |octets, _| look_command(octets),
    allocates: PLAYED,
};
pub const PARAMETERS: Target = Target {
    name: "parameters",
    make: |chance| some(chance, PARAMETER_WORDS, 6),
    words: PARAMETER_WORDS,
    look: |octets, _| look_parameters(octets),
    allocates: PLAYED,
};
pub const SASL: Target = Target {
    name: "sasl",
    make: |chance| some(chance, SASL_WORDS, 6),
    words: SASL_WORDS,
    look: look_sasl,
    allocates: PLAYED,
};
pub const DATA: Target =
    Target { name: "data", make: make_message, words: MESSAGE_WORDS, look: look_data, allocates: PLAYED };
pub const CHUNKS: Target =
    Target { name: "chunks", make: make_message, words: MESSAGE_WORDS, look: look_chunks, allocates: PLAYED };

/// The player keeps all that it hears.
const PLAYED: (u64, u64) = (1 << 20, 4 << 10);

const COMMAND_WORDS: &[&[u8]] = &[
    b"MAIL",
    b"mail from:",
    b"RCPT TO:",
    b"<alice@client.test>",
    b"<>",
    b"<Postmaster>",
    b" ",
    b"\t",
    b"VRFY ",
    b"EXPN ",
    b"HELP",
    b"NOOP ",
    b"RSET",
    b"QUIT",
    b"EHLO ",
    b"HELO ",
    b"[127.0.0.1]",
    b"[IPv6:::1]",
    b"client.test",
    b"BDAT ",
    b"0",
    b"18446744073709551616",
    b" LAST",
    b"DATA",
    b"STARTTLS",
    b"AUTH ",
    b"PLAIN",
    b"XCLIENT ",
    b"ETRN ",
    b"\xc3\xbc",
    b"\xff",
    b"\x1b[31m",
    b"'\"`\\",
    b"%s%n",
    b"GET / HTTP/1.1",
    b"-1",
    b"=",
    b"+41",
    b"a.very.long.name.that.goes.on.and.on.test",
];
const PARAMETER_WORDS: &[&[u8]] = &[
    b" ",
    b" SIZE=",
    b" SIZE=0",
    b" SIZE=18446744073709551616",
    b" BODY=8BITMIME",
    b" BODY=7BIT",
    b" BODY=BINARYMIME",
    b" SMTPUTF8",
    b" SMTPUTF8=1",
    b" AUTH=<>",
    b" RET=FULL",
    b" ENVID=x",
    b" REQUIRETLS",
    b" HOLDFOR=1",
    b" BY=1;R",
    b" MT-PRIORITY=9",
    b"=",
    b"\t",
    b" size=1",
    b" X=+41",
    b" NOTIFY=NEVER",
    b"\xc3\xbc",
    b"\x01",
];
const SASL_WORDS: &[&[u8]] = &[
    b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
    b"AUTH PLAIN\r\n",
    b"AGFsaWNlAHNlY3JldA==\r\n",
    b"AUTH LOGIN\r\n",
    b"AUTH LOGIN YWxpY2U=\r\n",
    b"YWxpY2U=\r\n",
    b"c2VjcmV0\r\n",
    b"*\r\n",
    b"=\r\n",
    b"\r\n",
    b"AUTH SCRAM-SHA-256 ",
    b"biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=\r\n",
    b"AUTH PLAIN =\r\n",
    b"AUTH ",
    b"AAAA",
    b"AA==",
    b"A",
    b" ",
    b"\0",
    b"AHgAeA==\r\n",
    b"YWxpY2UAYm9iAHNlY3JldA==\r\n",
    b"EHLO client.test\r\n",
    b"MAIL FROM:<>\r\n",
];
const MESSAGE_WORDS: &[&[u8]] = &[
    b"\r\n",
    b".\r\n",
    b"\r\n.\r\n",
    b".",
    b"..",
    b"\r",
    b"\n",
    b"\r\r\n",
    b"\n.\n",
    b"\r\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"Subject: x",
    b"\r\n\r\n",
    b"a line of text",
    b"QUIT\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"\xff\xfe",
    b"\xc3\xbc",
    b"\t",
    b" ",
    b"Received: x\r\n",
];

/// A session that has said so much, in plain text.
fn after(role: &str, said: &[u8]) -> Player<smtp::Smtp> {
    let settings = [("role", role), ("plaintext", "yes")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut player = Player::open(&Settings::from_iter(settings.into_iter().filter(|(_, value)| value != "mx")));
    player.bytes(said);
    player.heard.clear();
    player
}

fn replies(heard: &[Heard]) -> Vec<u8> {
    heard.iter().flat_map(|heard| if let Heard::Reply(reply) = heard { &reply[..] } else { &[] }).copied().collect()
}

/// The codes of the replies: three digits, a hyphen on all lines but the last of each, and the same code on all of one.
fn codes(replies: &[u8]) -> Vec<u16> {
    are_lines(replies);
    let mut codes = Vec::new();
    let mut goes_on = None;
    for line in replies.split_inclusive(|octet| *octet == b'\n') {
        assert!(line.iter().all(|octet| octet.is_ascii() && *octet != 0), "only ASCII: {}", line.escape_ascii());
        let code = line.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        let code = code.unwrap_or_else(|| panic!("a code: {}", line.escape_ascii()));
        assert!(goes_on.is_none_or(|before| before == code), "one code for one reply: {}", replies.escape_ascii());
        match line[3] {
            b'-' => goes_on = Some(code),
            b' ' => {
                goes_on = None;
                codes.push(code);
            }
            other => panic!("{other} behind the code of {}", line.escape_ascii()),
        }
    }
    assert_eq!(goes_on, None, "a reply ends");
    codes
}

/// One line, whatever is in it, has one reply.
fn look_command(octets: &[u8]) -> bool {
    let line: Vec<u8> = octets.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
    let mut player = after("mx", b"EHLO client.test\r\n");
    // What a chunk brings is no command.
    if line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT")) {
        player.bytes(&[&line[..], b"\r\n"].concat());
        codes(&replies(&player.finish()));
        return false;
    }
    player.bytes(&[&line[..], b"\r\n"].concat());
    let heard = player.finish();
    let codes = codes(&replies(&heard));
    // Who begins a TLS handshake where none was agreed would not understand a reply (A045).
    let handshake = line.first() == Some(&0x16) && heard.last() == Some(&Heard::Turn(Turn::Abort));
    assert_eq!(codes.len(), usize::from(!handshake), "one reply to one line: {codes:?}");
    codes.first().is_some_and(|code| (200..400).contains(code))
}

/// What MAIL takes has only parameters that were offered, each once.
fn look_parameters(octets: &[u8]) -> bool {
    let tail: Vec<u8> = octets.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
    let mut player = after("mx", b"EHLO client.test\r\n");
    player.bytes(&[b"MAIL FROM:<alice@client.test>", &tail[..], b"\r\n"].concat());
    let codes = codes(&replies(&player.finish()));
    assert_eq!(codes.len(), 1, "one reply to one line: {codes:?}");
    let taken = codes[0] == 250;
    if taken {
        let text = std::str::from_utf8(&tail).expect("parameters are text").to_ascii_uppercase();
        let mut words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        words.iter_mut().for_each(|word| *word = word.split('=').next().expect("split has a first part"));
        words.sort_unstable();
        assert!(words.windows(2).all(|two| two[0] != two[1]), "each once: {words:?}");
        assert!(words.iter().all(|word| ["SIZE", "BODY", "SMTPUTF8"].contains(word)), "what was offered: {words:?}");
    }
    taken
}

/// A login, or what is none: only alice with her password goes on, and each line has its answer.
fn look_sasl(octets: &[u8], chance: &mut SmallRng) -> bool {
    let said = b"EHLO client.test\r\n";
    let mut player = after("submission", said);
    cut(chance, octets).into_iter().for_each(|piece| player.bytes(piece));
    let closed = player.is_closed();
    player.bytes(b"\r\n*\r\n");
    if !closed {
        player.bytes(b"RSET\r\n");
    }
    let heard = player.finish();
    let codes = codes(&replies(&heard));
    let logged_in = codes.contains(&235);
    let asked = heard.iter().any(|heard| matches!(heard, Heard::Ask(ask) if ask.starts_with("Login")));
    assert!(!logged_in || asked, "nobody is let in unasked");
    logged_in
}

fn make_message(chance: &mut SmallRng) -> Vec<u8> {
    let mut message = some(chance, MESSAGE_WORDS, 30);
    if chance.random_ratio(1, 8) {
        message.resize(
            message.len() + chance.random_range(0..9_000),
            *one(chance, &[b"x", b".", b" "]).first().expect("an octet"),
        );
    }
    if chance.random_ratio(3, 4) {
        message.extend(b"\r\n.\r\n");
    }
    message
}

/// What a message's octets mean, octet by octet. `dots`: a dot alone ends it, others at the start of a line are stuffed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Meaning {
    /// As it is stored.
    stored: Vec<u8>,
    /// Where it ended.
    end: Option<usize>,
    /// There is a NUL in it.
    nul: bool,
}

fn meaning(octets: &[u8], dots: bool) -> Meaning {
    let mut meaning = Meaning::default();
    let at = |i: usize| octets.get(i).copied();
    let mut starts_line = true;
    let mut i = 0;
    while let Some(octet) = at(i) {
        if dots && std::mem::take(&mut starts_line) && octet == b'.' {
            if at(i + 1) == Some(b'\r') && at(i + 2) == Some(b'\n') {
                meaning.end = Some(i + 3);
                return meaning;
            }
            i += 1;
            continue;
        }
        match octet {
            b'\r' if at(i + 1) == Some(b'\n') => {
                meaning.stored.extend(b"\r\n");
                starts_line = i == 0 || at(i - 1) != Some(b'\r');
                i += 1;
            }
            b'\r' | b'\n' => meaning.stored.extend(b"\r\n"),
            0 => meaning.nul = true,
            octet => meaning.stored.push(octet),
        }
        i += 1;
    }
    meaning
}

fn bodies(heard: &[Heard]) -> Vec<u8> {
    heard.iter().flat_map(|heard| if let Heard::Body(body) = heard { &body[..] } else { &[] }).copied().collect()
}

fn asks<'a>(heard: &'a [Heard], kind: &'a str) -> usize {
    heard.iter().filter(|heard| matches!(heard, Heard::Ask(ask) if ask.starts_with(kind))).count()
}

const BEFORE_DATA: &[u8] =
    b"EHLO client.test\r\nMAIL FROM:<alice@client.test>\r\nRCPT TO:<bob@ringpost.test>\r\nDATA\r\n";
const BEFORE_CHUNKS: &[u8] = b"EHLO client.test\r\nMAIL FROM:<alice@client.test>\r\nRCPT TO:<bob@ringpost.test>\r\n";

/// The message ends where it ends, and what is handed in is what was meant.
fn look_data(octets: &[u8], chance: &mut SmallRng) -> bool {
    let meant = meaning(octets, true);
    let mut player = after("mx", BEFORE_DATA);
    let (message, rest) = octets.split_at(meant.end.unwrap_or(octets.len()));
    // All but its last octet end nothing.
    let (before, last) = message.split_at(message.len().saturating_sub(1));
    cut(chance, before).into_iter().for_each(|piece| player.bytes(piece));
    assert!(codes(&replies(&player.heard)).is_empty(), "nothing is said within a message");
    player.bytes(last);
    // In one delivery with what follows it, it is the same.
    let mut at_once = after("mx", BEFORE_DATA);
    at_once.bytes(octets);
    let (ended, heard) = (meant.end.is_some(), std::mem::take(&mut player.heard));
    let said = codes(&replies(&heard));
    assert_eq!(said.len(), usize::from(ended), "one message has one answer: {said:?}");
    player.bytes(rest);
    let apart = [heard.clone(), player.finish()].concat();
    assert_eq!(replies(&at_once.finish()), replies(&apart), "the same in one delivery");
    if !ended {
        return false;
    }
    let taken = said == [250];
    assert_eq!(taken, !meant.nul, "{said:?}");
    assert_eq!(asks(&heard, "Done"), usize::from(taken));
    assert!(!taken || bodies(&heard) == meant.stored, "stored: {}", bodies(&heard).escape_ascii());
    taken
}

/// A message in chunks: octets are counted, nothing in them ends anything or is a command.
fn look_chunks(octets: &[u8], chance: &mut SmallRng) -> bool {
    let mut meant = meaning(octets, false);
    if !octets.is_empty() && !meant.stored.ends_with(b"\r\n") {
        meant.stored.extend(b"\r\n");
    }
    let mut wire = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() && chance.random_ratio(3, 4) {
        let (chunk, after) = rest.split_at(chance.random_range(0..=rest.len()));
        wire.extend(format!("BDAT {}\r\n", chunk.len()).bytes());
        wire.extend(chunk);
        rest = after;
    }
    wire.extend(format!("BDAT {} LAST\r\n", rest.len()).bytes());
    wire.extend(rest);
    let mut player = after("mx", BEFORE_CHUNKS);
    cut(chance, &wire).into_iter().for_each(|piece| player.bytes(piece));
    player.bytes(b"NOOP\r\n");
    let heard = player.finish();
    let said = codes(&replies(&heard));
    assert_eq!(asks(&heard, "Mail") + asks(&heard, "Rcpt"), 0, "octets of a chunk are no commands");
    let taken = asks(&heard, "Done") == 1;
    assert_eq!(taken, !meant.nul, "{said:?}");
    assert!(!taken || bodies(&heard) == meant.stored, "stored: {}", bodies(&heard).escape_ascii());
    assert!(heard.iter().all(|heard| *heard != Heard::Turn(Turn::Abort)));
    taken
}
