//! POP3 dialogues against a maildrop in memory.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::proto::contract::Session as _;

/// A maildrop, and what became of it.
#[derive(Default)]
struct World {
    /// (UID, message)
    messages: Vec<(u32, Vec<u8>)>,
    removed: Vec<u32>,
    deletion: Option<Deletion>,
    /// Largest reply of one step, octets.
    reply_max: usize,
    turn: Option<Turn>,
    /// UIDs that another session removed after login.
    gone: Vec<u32>,
    /// Reads from this offset on fail.
    unreadable_from: Option<u64>,
}

impl World {
    fn with(messages: &[&str]) -> World {
        let messages = (1..).zip(messages.iter().map(|m| m.as_bytes().to_vec())).collect();
        World { messages, ..World::default() }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Login(login) if login.name == b"alice" && login.has_password(b"secret") => {
                let items = self.messages.iter().map(|(uid, m)| Item { uid: *uid, size: m.len() as u32 });
                Answer::LoggedIn { uidvalidity: 7, items: items.collect(), uidls: Vec::new() }
            }
            Ask::Login(Login { name, .. }) if name == b"busy" => Answer::LoginFailed(LoginFailed::Later),
            Ask::Login(_) | Ask::Keys(_) => Answer::LoginFailed(LoginFailed::Wrong),
            Ask::Room => Answer::Room,
            Ask::Read { uid, .. } if self.gone.contains(&uid) => Answer::Gone,
            Ask::Read { offset, .. } if self.unreadable_from.is_some_and(|from| offset >= from) => Answer::Unreadable,
            Ask::Read { uid, offset, len } => {
                let (_, message) = self.messages.iter().find(|(u, _)| *u == uid).expect("asked for what was listed");
                let from = usize::try_from(offset).unwrap();
                Answer::Octets(message[from..message.len().min(from + len)].to_vec())
            }
            Ask::Delete { uids } => {
                let deletion = self.deletion.unwrap_or(Deletion::Done);
                if deletion == Deletion::Done {
                    self.removed = uids;
                }
                Answer::Deleted(deletion)
            }
        }
    }

    /// Runs a conversation over `input` cut into pieces of `size`, and returns all that was said.
    fn talk_cut(&mut self, config: &Config, input: &[u8], size: usize) -> String {
        let mut out = Out::default();
        let mut session = Session::open(config, &mut out);
        let mut said = std::mem::take(&mut out.reply);
        let mut held = Vec::new();
        self.turn = None;
        for piece in input.chunks(size) {
            held.extend_from_slice(piece);
            while !held.is_empty() && self.turn.is_none() {
                let used = session.step(Input::Bytes(&held), &mut out);
                let asked = out.ask.is_some();
                self.settle(&mut session, &mut out, &mut said);
                held.drain(..used);
                assert!(used > 0 || held.len() < Session::HOLD_BYTES_MAX, "holds too much");
                if used == 0 && !asked {
                    break;
                }
            }
        }
        if self.turn.is_none() {
            session.step(Input::Eof, &mut out);
            self.settle(&mut session, &mut out, &mut said);
        }
        String::from_utf8(said).unwrap()
    }

    fn settle(&mut self, session: &mut Session, out: &mut Out<Ask>, said: &mut Vec<u8>) {
        loop {
            self.reply_max = self.reply_max.max(out.reply.len());
            said.append(&mut out.reply);
            if let Some(turn) = out.turn.take() {
                assert!(out.ask.is_none());
                self.turn = Some(turn);
                return;
            }
            let Some(ask) = out.ask.take() else { return };
            assert_eq!(session.step(Input::Bytes(b"NOOP\r\n"), out), 0, "deaf until answered");
            assert!(out.reply.is_empty() && out.ask.is_none());
            let answer = self.answer(ask);
            session.step(Input::Answer(answer), out);
        }
    }

    /// What is said after login, line by line, without the words before.
    fn after_login(&mut self, commands: &str) -> Vec<String> {
        let input = format!("USER alice\r\nPASS secret\r\n{commands}");
        let said = self.talk_cut(&open(), input.as_bytes(), usize::MAX);
        said.split_terminator("\r\n").skip(3).map(str::to_owned).collect()
    }
}

fn open() -> Config {
    Config {
        hostname: "mx.ringpost.test".to_owned(),
        privacy: Privacy::None,
        plaintext_auth_allowed: true,
        keys: false,
        allowed: crate::proto::sasl::Allowed::ALL,
        binds: false,
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.split_terminator("\r\n").collect()
}

const TWO: &[&str] = &["A: 1\r\n\r\none\r\n", "A: 2\r\n\r\n.two\r\nmore"];

#[test]
fn a_whole_conversation_says_the_same_at_every_cut() {
    let input = b"CAPA\r\nuser alice\r\nPASS wrong\r\nUSER alice\r\nPASS secret\r\nSTAT\r\nLIST\r\nLIST 2\r\nUIDL\r\nUIDL 1\r\n\
                  RETR 2\r\nTOP 2 1\r\nNOOP\r\nDELE 1\r\nDELE 1\r\nLIST\r\nSTAT\r\nRSET\r\nSTAT\r\nDELE 2\r\nQUIT\r\nSTAT\r\n";
    let want = "+OK mx.ringpost.test Ringpost POP3\r\n\
        +OK\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUSER\r\nSASL PLAIN\r\nIMPLEMENTATION Ringpost\r\n.\r\n\
        +OK\r\n-ERR [AUTH] wrong name or password\r\n+OK\r\n+OK logged in\r\n\
        +OK 2 31\r\n+OK 2 31\r\n1 13\r\n2 18\r\n.\r\n+OK 2 18\r\n+OK 2 31\r\n1 7-1\r\n2 7-2\r\n.\r\n+OK 1 7-1\r\n\
        +OK 18 octets\r\nA: 2\r\n\r\n..two\r\nmore\r\n.\r\n+OK 18 octets\r\nA: 2\r\n\r\n..two\r\n.\r\n+OK\r\n\
        +OK\r\n-ERR no such message\r\n+OK 1 18\r\n2 18\r\n.\r\n+OK 1 18\r\n+OK\r\n+OK 2 31\r\n+OK\r\n+OK\r\n";
    for size in 1..=input.len() {
        let mut world = World::with(TWO);
        assert_eq!(world.talk_cut(&open(), input, size), want, "in pieces of {size}");
        assert_eq!(world.removed, [2]);
        assert_eq!(world.turn, Some(Turn::Close));
    }
}

#[test]
fn a137_an_overlong_line_is_drained_and_the_next_is_heard() {
    let long = "x".repeat(limits::POP3_LINE_BYTES_MAX + 1);
    let input = format!("{long}\r\nCAP\r\nPASS {}\r\nUSER alice\r\n", "p".repeat(9_000));
    for size in [1, 2, 255, 256, 257, 258, 259, 1_000, usize::MAX] {
        let said = World::default().talk_cut(&open(), input.as_bytes(), size);
        let want = ["-ERR line too long", "-ERR unknown command", "-ERR line too long", "+OK"];
        assert_eq!(lines(&said)[1..], want, "in pieces of {size}");
    }
    let longest = format!("USER {}\r\n", "u".repeat(limits::POP3_LINE_BYTES_MAX - 5));
    for size in [1, 256, usize::MAX] {
        assert_eq!(lines(&World::default().talk_cut(&open(), longest.as_bytes(), size))[1..], ["+OK"]);
    }
}

#[test]
fn a137_endless_junk_is_cut_off() {
    for (octets, want) in [
        (limits::JUNK_BYTES_MAX - 1, vec!["-ERR line too long", "+OK"]),
        (limits::JUNK_BYTES_MAX, vec!["-ERR line too long"]),
        (limits::JUNK_BYTES_MAX * 4, vec!["-ERR line too long"]),
    ] {
        let mut input = vec![b'x'; octets];
        input.extend_from_slice(b"\nUSER alice\r\n");
        for size in [1, 1_000, 65_536, usize::MAX] {
            let said = World::default().talk_cut(&open(), &input, size);
            assert_eq!(lines(&said)[1..], want, "{octets} in pieces of {size}");
        }
    }
}

#[test]
fn a138_messages_that_do_not_exist_are_refused() {
    let asks = "RETR 0\r\nRETR -1\r\nRETR 18446744073709551616\r\nRETR 3\r\nTOP 1 -1\r\nTOP 3 1\r\nLIST 0\r\nUIDL 9\r\nDELE 0\r\n\
                DELE 1\r\nRETR 1\r\nTOP 1 0\r\nLIST 1\r\nUIDL 1\r\nDELE 1\r\n";
    let said = World::with(TWO).after_login(asks);
    assert_eq!(said.iter().filter(|l| l.starts_with("-ERR")).count(), 14, "{said:?}");
    assert_eq!(said.iter().filter(|l| l.starts_with("+OK")).count(), 1, "{said:?}");
}

#[test]
fn a139_without_quit_nothing_is_deleted() {
    let mut world = World::with(TWO);
    assert_eq!(world.after_login("DELE 1\r\nDELE 2\r\nQUI"), ["+OK", "+OK"]);
    assert_eq!(world.turn, Some(Turn::Close));
    assert!(world.removed.is_empty());

    let mut out = Out::default();
    let mut session = Session::open(&open(), &mut out);
    for line in [&b"USER alice\r\n"[..], b"PASS secret\r\n", b"DELE 1\r\n"] {
        session.step(Input::Bytes(line), &mut out);
        world.settle(&mut session, &mut out, &mut Vec::new());
    }
    assert_eq!(session.patience().idle, Duration::from_secs(limits::POP3_IDLE_S));
    session.step(Input::Timeout, &mut out);
    assert!(out.reply.is_empty() && out.ask.is_none(), "RFC 1939 §3: closed without a word");
    assert_eq!(out.turn, Some(Turn::Close));
}

#[test]
fn a140_quit_says_what_became_of_the_deletions() {
    for (deletion, want) in [(Deletion::Done, "+OK"), (Deletion::NotDone, "-ERR [SYS/TEMP] no message was removed")] {
        let mut world = World { deletion: Some(deletion), ..World::with(TWO) };
        assert_eq!(world.after_login("DELE 2\r\nQUIT\r\n")[1..], [want]);
        assert_eq!(world.turn, Some(Turn::Close));
    }
}

#[test]
fn a141_what_another_session_removed_is_an_error_of_that_message_alone() {
    let mut world = World { gone: vec![1], ..World::with(TWO) };
    let said = world.after_login("RETR 1\r\nSTAT\r\nTOP 2 0\r\n");
    assert_eq!(said[..3], ["-ERR another session removed this message", "+OK 2 31", "+OK 18 octets"]);
}

#[test]
fn a143_passwords_are_not_taken_where_they_are_not_allowed() {
    let config = Config { plaintext_auth_allowed: false, ..open() };
    let said = World::with(TWO).talk_cut(&config, b"CAPA\r\nUSER alice\r\nPASS secret\r\nSTAT\r\n", usize::MAX);
    assert!(!lines(&said).contains(&"USER"));
    let errors: Vec<_> = lines(&said).into_iter().filter(|l| l.starts_with("-ERR")).collect();
    assert_eq!(errors, ["-ERR passwords are not accepted without TLS", "-ERR say USER first", "-ERR log in first"]);
}

#[test]
fn a144_an_unknown_user_is_told_what_a_known_one_is_told() {
    let said = |name: &str| {
        World::with(TWO).talk_cut(&open(), format!("USER {name}\r\nPASS nonsense\r\n").as_bytes(), usize::MAX)
    };
    assert_eq!(said("alice"), said("nobody"));
    assert_eq!(lines(&said("nobody"))[1..], ["+OK", "-ERR [AUTH] wrong name or password"]);
    assert_eq!(lines(&said("busy"))[2], "-ERR [SYS/TEMP] try again later");
}

#[test]
fn a136_twenty_errors_before_login_are_the_last() {
    let said = World::default().talk_cut(&open(), "XYZZY\r\n".repeat(30).as_bytes(), usize::MAX);
    let said = lines(&said);
    assert_eq!(said.len(), 1 + limits::BAD_COMMANDS_BEFORE_LOGIN_MAX as usize);
    assert_eq!(said.last(), Some(&"-ERR too many errors, closing"));
    let after = World::with(TWO).after_login(&"XYZZY\r\n".repeat(30));
    assert_eq!(after.len(), 30, "who has logged in may err");
}

#[test]
fn a146_a_message_arrives_stuffed_and_ended() {
    let said = World::with(&[".\r\n.x\r\n\0"]).after_login("RETR 1\r\n");
    assert_eq!(said, ["+OK 8 octets", "..", "..x", "\0", "."]);
    assert_eq!(World::with(&[""]).after_login("RETR 1\r\nTOP 1 5\r\n"), ["+OK 0 octets", ".", "+OK 0 octets", "."]);
}

#[test]
fn a148_long_answers_are_made_in_pieces() {
    let messages = (1..=100_000).map(|uid| (uid, vec![b'x'])).collect();
    let mut world = World { messages, ..World::default() };
    let said = world.after_login("UIDL\r\nLIST\r\nDELE 100000\r\nLIST\r\n");
    assert_eq!(said.len(), 100_002 * 2 + 1 + 100_001);
    assert!(world.reply_max < PIECE_BYTES * 2, "{}", world.reply_max);
    let lines: std::collections::HashSet<_> = said[1..=100_000].iter().map(|l| l.split_once(' ').unwrap().1).collect();
    assert_eq!(lines.len(), 100_000, "unique ids are unique");
    assert!(lines.iter().all(|id| id.len() <= 70 && id.bytes().all(|b| (0x21..=0x7e).contains(&b))));
}

#[test]
fn a_long_message_arrives_whole_in_pieces() {
    let body = "..\r\nabc\r\n".repeat(100_000);
    let mut world = World::with(&[&body]);
    let said = world.after_login("RETR 1\r\n");
    assert_eq!(said[0], format!("+OK {} octets", body.len()));
    assert_eq!(said[1..].join("\r\n"), format!("{}.", "...\r\nabc\r\n".repeat(100_000)));
    assert!(world.reply_max <= PIECE_BYTES * 2, "{}", world.reply_max);
    let top = World::with(&[&format!("A: 1\r\n\r\n{body}")]).after_login("TOP 1 1\r\n");
    assert_eq!(top[1..], ["A: 1", "", "...", "."]);
}

#[test]
fn half_a_message_is_never_ended_as_a_whole_one() {
    let body = "abc\r\n".repeat(100_000);
    let mut world = World { unreadable_from: Some(READ_BYTES as u64), ..World::with(&[&body]) };
    let said = world.after_login("RETR 1\r\nNOOP\r\n");
    assert_eq!(world.turn, Some(Turn::Abort));
    assert_ne!(said.last().map(String::as_str), Some("."));
    let mut world = World { unreadable_from: Some(0), ..World::with(&[&body]) };
    assert_eq!(world.after_login("RETR 1\r\nNOOP\r\n"), ["-ERR [SYS/TEMP] this message cannot be read now", "+OK"]);
}

#[test]
fn the_timer_before_login_is_short() {
    let mut out = Out::default();
    let mut session = Session::open(&open(), &mut out);
    assert_eq!(session.patience().idle, Duration::from_secs(limits::LOGIN_IDLE_S));
    session.step(Input::Timeout, &mut out);
    assert_eq!(out.turn, Some(Turn::Close));
}

#[test]
fn answers_nobody_asked_for_end_the_conversation_and_nothing_panics() {
    let answers: [fn() -> Answer; 5] = [
        || Answer::Room,
        || Answer::Gone,
        || Answer::Octets(vec![1; 3]),
        || Answer::Deleted(Deletion::Done),
        || Answer::LoggedIn { uidvalidity: 1, items: Vec::new(), uidls: Vec::new() },
    ];
    for answer in answers {
        for before in ["", "USER a\r\n", "USER alice\r\nPASS secret\r\n"] {
            let mut world = World::with(TWO);
            let mut out = Out::default();
            let mut session = Session::open(&open(), &mut out);
            let mut rest = before.as_bytes();
            while !rest.is_empty() {
                let used = session.step(Input::Bytes(rest), &mut out);
                world.settle(&mut session, &mut out, &mut Vec::new());
                rest = &rest[used..];
            }
            session.step(Input::Answer(answer()), &mut out);
            assert_eq!(out.turn, Some(Turn::Abort));
            assert_eq!(session.step(Input::Bytes(b"NOOP\r\n"), &mut out), 6);
        }
    }
}

#[test]
fn an_idle_session_is_small() {
    assert!(std::mem::size_of::<Session>() <= 64, "{}", std::mem::size_of::<Session>());
}

/// Before TLS, where a handshake can be had and no password is taken without.
fn offered() -> Config {
    Config { privacy: Privacy::Offered, plaintext_auth_allowed: false, ..open() }
}

fn shaking_hands() -> (Session, Out<Ask>) {
    let mut out = Out::default();
    let mut session = Session::open(&offered(), &mut out);
    assert_eq!(session.step(Input::Bytes(b"STLS\r\n"), &mut out), 6);
    assert_eq!(out.turn.take(), Some(Turn::StartTls));
    out.reply.clear();
    (session, out)
}

#[test]
fn a142_what_came_before_the_handshake_is_answered_with_a_farewell() {
    let (mut session, mut out) = shaking_hands();
    assert_eq!(session.step(Input::Bytes(b"USER alice\r\n"), &mut out), 12);
    assert!(out.reply.starts_with(b"-ERR ") && out.turn == Some(Turn::Close) && out.ask.is_none());
}

#[test]
fn a142_nothing_in_the_clear_is_said_into_a_handshake() {
    let (mut session, mut out) = shaking_hands();
    assert_eq!(session.patience().idle, Duration::from_secs(limits::LOGIN_IDLE_S));
    session.step(Input::Timeout, &mut out);
    assert_eq!((out.turn, out.reply.len()), (Some(Turn::Abort), 0));
}

#[test]
fn a142_after_the_handshake_the_name_given_before_is_forgotten() {
    let config = Config { plaintext_auth_allowed: true, ..offered() };
    let mut out = Out::default();
    let mut session = Session::open(&config, &mut out);
    session.step(Input::Bytes(b"USER alice\r\n"), &mut out);
    session.step(Input::Bytes(b"STLS\r\n"), &mut out);
    assert_eq!(out.turn.take(), Some(Turn::StartTls));
    session.step(Input::TlsReady { binds: false }, &mut out);
    out.reply.clear();
    session.step(Input::Bytes(b"PASS secret\r\n"), &mut out);
    assert_eq!((&out.reply[..], out.ask.is_none()), (&b"-ERR say USER first\r\n"[..], true));
}

#[test]
fn a143_auth_takes_a_long_response_and_only_under_tls() {
    let (mut session, mut out) = shaking_hands();
    session.step(Input::TlsReady { binds: false }, &mut out);
    session.step(Input::Bytes(b"AUTH PLAIN\r\n"), &mut out);
    assert_eq!(out.reply, b"+ \r\n");
    let password = "p".repeat(9_000);
    let response = STANDARD.encode(format!("\0alice\0{password}")) + "\r\n";
    for end in [limits::POP3_LINE_BYTES_MAX + 2, response.len() - 1] {
        assert_eq!(session.step(Input::Bytes(&response.as_bytes()[..end]), &mut out), 0);
    }
    session.step(Input::Bytes(response.as_bytes()), &mut out);
    assert!(matches!(out.ask, Some(Ask::Login(login)) if login.has_password(password.as_bytes())));
    let said = World::with(TWO).talk_cut(&offered(), b"AUTH PLAIN\r\nAGFsaWNlAHNlY3JldA==\r\n", usize::MAX);
    assert_eq!(lines(&said)[1..], ["-ERR passwords are not accepted without TLS", "-ERR unknown command"]);
}
