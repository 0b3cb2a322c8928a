//! Programs of any user of this host hand in letters at a socket that is for all of them; whose they are the kernel says.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::house::{House, PATIENCE, fetch};

const ALICE: &str = "alice@ringpost.test";
/// Users that every Debian has.
const DAEMON: u32 = 1;
const NOBODY: u32 = 65_534;
/// One that none has.
const NAMELESS: u32 = 54_321;

struct Desk {
    house: House,
    socket: PathBuf,
    program: PathBuf,
}

fn desk() -> Desk {
    desk_where("")
}

fn desk_where(settings: &str) -> Desk {
    let dir = tempfile::tempdir().expect("a temporary folder");
    // Others get as far as the socket and the program, and no further.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).expect("it is ours");
    let (data, socket, program) = (dir.path().join("data"), dir.path().join("socket"), dir.path().join("sendmail"));
    std::fs::create_dir(&data).expect("a folder");
    let file = format!(
        "{settings}[sendmail]\ntrusted_users = [\"daemon\"]\n\
         [[listener]]\nservice = \"smtp\"\naddress = \"127.0.0.1:2525\"\n\
         [[listener]]\nservice = \"imap\"\naddress = \"127.0.0.1:2143\"\n\
         [[listener]]\nservice = \"pop3\"\naddress = \"127.0.0.1:2110\"\n\
         [[listener]]\nservice = \"sendmail\"\naddress = \"unix:{}\"\nmode = \"0666\"\n",
        socket.display()
    );
    std::fs::write(data.join("ringpost.toml"), file).expect("a file");
    if std::fs::hard_link(crate::house::binary(), &program).is_err() {
        std::fs::copy(crate::house::binary(), &program).expect("a copy");
    }
    let house = House::open_in(dir, &["--shards", "2"]);
    Desk { house, socket, program }
}

impl Desk {
    /// Exit code, and what it said on standard error.
    fn sendmail(&self, user: u32, args: &[&str], message: &[u8]) -> (i32, String) {
        let mut command = Command::new(&self.program);
        command.args(args).env("RINGPOST_SENDMAIL", &self.socket).env("LOGNAME", "somebody").current_dir("/");
        if is_root() {
            command.uid(user).gid(user);
        }
        let mut child =
            command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it runs");
        let _ = child.stdin.take().expect("a pipe").write_all(message);
        let out = child.wait_with_output().expect("it ends");
        (out.status.code().unwrap_or(-1), String::from_utf8(out.stderr).expect("text"))
    }

    fn letter(&self, subject: &str) -> String {
        let (password, deadline) = (self.house.password(ALICE), Instant::now() + PATIENCE);
        loop {
            let mail = fetch(self.house.pop3(), ALICE, &password);
            if let Some(letter) = mail.into_iter().find(|letter| letter.contains(&format!("Subject: {subject}\r\n"))) {
                return letter;
            }
            assert!(Instant::now() < deadline, "no letter {subject}");
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn the_sender_is_whose_program_it_is_unless_that_user_is_trusted() {
    let desk = desk();
    let me = rustix::process::geteuid().as_raw();
    let users = if is_root() { vec![(0, true), (DAEMON, true), (NOBODY, false)] } else { vec![(me, true)] };
    for (user, trusted) in users {
        let message = format!("From alice Mon Nov 23 03:00:00 2026\nTo: {ALICE}\nSubject: of-{user}\n\nHello\n");
        let args = ["-t", "-oi", "-odq", "-F", "Jürgen", "-f", "boss@elsewhere.test"];
        assert_eq!(desk.sendmail(user, &args, message.as_bytes()), (0, String::new()), "{}", desk.house.log());
        let letter = desk.letter(&format!("of-{user}"));
        let sender = if trusted { "boss@elsewhere.test" } else { "nobody@ringpost.test" };
        assert!(letter.contains(&format!("Return-Path: <{sender}>\r\n")), "{letter}");
        assert!(letter.contains(&format!("from userid {user})")), "{letter}");
        assert!(letter.contains(&format!("From: =?utf-8?B?SsO8cmdlbg==?=\r\n <{sender}>\r\n")), "{letter}");
        assert!(letter.ends_with("\r\n\r\nHello\r\n") && !letter.contains("From alice"), "{letter}");
    }
}

#[test]
fn what_is_refused_is_told_by_its_exit_code_however_long_it_is() {
    let desk = desk();
    let user = if is_root() { NOBODY } else { rustix::process::geteuid().as_raw() };
    let large = [&b"Subject: large\n\n"[..], &b"x\n".repeat(3 << 20)].concat();
    for (args, message, code) in [
        (&["nobody-here@ringpost.test"][..], &large[..], 67),
        (&["x@elsewhere.test"], b"\n", 69),
        (&["two words@ringpost.test"], b"\n", 65),
        (&["-t"], b"Subject: to nobody\n\n", 65),
        (&["-bs"], b"", 64),
        (&["-q"], b"", 64),
        (&["-bp"], b"", 0),
        (&["-F", "x\r\nBcc: y", ALICE], b"\n", 65),
        (&["--socket", "/nowhere", ALICE], b"\n", 75),
    ] {
        let (was, said) = desk.sendmail(user, args, message);
        assert_eq!(was, code, "{args:?}: {said}");
    }
    // One that is as long is taken, a piece at a time.
    assert_eq!(desk.sendmail(user, &[ALICE], &large), (0, String::new()));
    assert_eq!(desk.letter("large").lines().filter(|line| *line == "x").count(), 3 << 20);
    // An account's suspension holds for its user's programs.
    if is_root() {
        let (code, _, wrong) = desk.house.verb(&["account", "add", "nobody@ringpost.test"], "");
        assert_eq!(code, 0, "{wrong}");
        let (code, _, wrong) = desk.house.verb(&["account", "suspend", "nobody@ringpost.test"], "");
        assert_eq!(code, 0, "{wrong}");
        assert_eq!(desk.sendmail(NOBODY, &[ALICE], b"Subject: x\n\n").0, 69);
        assert_eq!(desk.sendmail(DAEMON, &[ALICE], b"Subject: y\n\n").0, 0);
    }
}

#[test]
fn a_program_says_nothing_in_our_name_and_reaches_nobody_who_is_shut_off() {
    let desk = desk();
    let user = if is_root() { NOBODY } else { rustix::process::geteuid().as_raw() };
    let send = |message: &str| desk.sendmail(user, &[ALICE], message.as_bytes());
    assert_eq!(send("Subject: first\n\n"), (0, String::new()), "{}", desk.house.log());
    let first = desk.letter("first");
    let (_, by) = first.split_once("by ").expect("a trace field");
    let host = by.split_whitespace().next().expect("a name");
    let forged = format!(
        "X\x0c: y\nX-Ringpost-Filter: fine\nAuthentication-Results: {host}; spf=pass\n\
         Authentication-Results: other.test; spf=pass\nSubject: forged\n\nHello\n"
    );
    assert_eq!(send(&forged), (0, String::new()), "{}", desk.house.log());
    let letter = desk.letter("forged");
    assert!(!letter.contains("X-Ringpost-Filter") && !letter.contains(&format!("Results: {host}")), "{letter}");
    assert!(letter.contains("X\x0c: y\r\n") && letter.contains("Results: other.test; spf=pass\r\n"), "{letter}");
    let (code, _, wrong) = desk.house.verb(&["access", "deny", "recipient", ALICE], "");
    assert_eq!(code, 0, "{wrong}");
    let (code, said) = send("Subject: denied\n\n");
    assert!(code == 69 && said.contains("denied"), "{code}: {said}");
}

#[test]
fn a_user_without_an_account_sends_as_much_as_an_account_may_unless_he_is_trusted() {
    let desk = desk_where("[submission]\nmessages_per_hour = 2\nrecipients_per_message = 1\n");
    if !is_root() {
        // Its own user is trusted.
        return;
    }
    for (user, codes) in [(NOBODY, [0, 0, 75, 75]), (NAMELESS, [0, 0, 75, 75]), (DAEMON, [0; 4]), (0, [0; 4])] {
        for code in codes {
            let (was, said) = desk.sendmail(user, &[ALICE], b"Subject: x\n\n");
            assert_eq!(was, code, "{user}: {said}");
            assert_eq!(said.contains("has sent as much as it may for now"), code == 75, "{user}: {said}");
        }
    }
    let (code, said) = desk.sendmail(NOBODY, &[ALICE, "postmaster@ringpost.test"], b"Subject: x\n\n");
    assert_eq!(code, 69, "{said}");
}

#[test]
fn whoever_asks_for_more_than_a_letter_is_refused() {
    use std::io::{BufRead as _, BufReader};
    let desk = desk();
    for line in [
        "{\"verb\":\"stop\"}\n",
        "{\"verb\":\"account-list\"}\n",
        "nonsense\n",
        "{\"verb\":\"post\",\"sender\":\"x\",\"recipients\":[],\"octets\":0,\"user\":0}\n",
        "{\"verb\":\"post\",\"sender\":\"x\",\"recipients\":[\"a\"],\"octets\":99999999999999,\"user\":0}\n",
    ] {
        let mut socket = std::os::unix::net::UnixStream::connect(&desk.socket).expect("it is open");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        socket.write_all(line.as_bytes()).expect("sent");
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).expect("an answer");
        assert!(
            answer.contains("\"posted\":{\"refused\"") || answer.contains("\"posted\":{\"bad-data\""),
            "{line}{answer}"
        );
    }
    let (code, accounts, _) = desk.house.verb(&["account", "list"], "");
    assert!(code == 0 && accounts.contains(ALICE), "it goes on");
}
