//! What is refused, or not, because of whose account it is and what its operator has decided.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use crate::house::{House, PATIENCE, Talk, binary, fetch, free_offset, post};

const ALICE: &str = "alice@ringpost.test";
const CAROL: &str = "carol@ringpost.test";
const POSTMASTER: &str = "postmaster@ringpost.test";

#[test]
fn a013_each_login_without_tls_is_in_the_log() {
    let house = House::open(&[]);
    fetch(house.pop3(), ALICE, &house.password(ALICE));
    let mut talk = Talk::private(house.door(2995), &house);
    talk.hear();
    talk.pop3(&format!("USER {ALICE}"));
    talk.pop3(&format!("PASS {}", house.password(ALICE)));
    // The log is written a little later than the answer.
    let until = Instant::now() + PATIENCE;
    let logins = loop {
        let log = house.log();
        let found = log.lines().filter(|l| l.contains("outcome=ok") && l.contains(ALICE));
        let found: Vec<String> = found.map(str::to_owned).collect();
        if found.len() >= 2 {
            break found;
        }
        assert!(Instant::now() < until, "two logins: {log}");
        std::thread::yield_now();
    };
    let [granted, private] = &logins[..] else { panic!("two logins: {logins:?}") };
    assert!(granted.contains("tls=false") && granted.contains("127.0.0.1"), "{granted}");
    assert!(private.contains("tls=true"), "{private}");
}

#[test]
fn a194_data_that_may_not_be_written_is_refused_with_its_place() {
    let mut house = House::open(&[]);
    assert_eq!(house.stop(), Some(0));
    let data = house.data();
    for path in [house.dir.path(), &data] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("our own folder");
    }
    let run = format!(
        "exec setpriv --bounding-set=-all --inh-caps=-all --reuid=65534 --clear-groups {} serve --data {} --port-offset {}",
        binary(),
        data.display(),
        free_offset()
    );
    let out = Command::new("bash").args(["-c", &run]).output().expect("bash runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains(&*data.to_string_lossy()) && said.contains("ermission denied"), "{said}");
}

#[test]
fn a197_a_full_mailbox_is_refused_for_good_where_its_operator_wants_that() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::write(data.join("ringpost.toml"), "[accounts]\nover_quota = \"reject\"\nquota_messages = 1\n")
        .expect("a file");
    let house = House::open_in(dir, &[]);
    for name in [CAROL, POSTMASTER] {
        let (code, _, why) = house.verb(&["account", "add", name, "--password-stdin"], "a long secret\n");
        assert_eq!(code, 0, "{why}");
        assert!(post(house.smtp(), "", &[name], "Subject: the only one\r\n\r\n").starts_with("250"));
    }
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    talk.ask("EHLO client.test", "250");
    talk.ask("MAIL FROM:<x@client.test>", "250");
    talk.ask(&format!("RCPT TO:<{CAROL}>"), "552 5.2.2");
    talk.ask(&format!("RCPT TO:<{POSTMASTER}>"), "250");
}

#[test]
fn a198_who_is_removed_while_his_letter_comes_has_none_of_it() {
    let house = House::open(&[]);
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    for (words, code) in [
        ("EHLO client.test", "250"),
        ("MAIL FROM:<x@client.test>", "250"),
        (&*format!("RCPT TO:<{ALICE}>"), "250"),
        ("DATA", "354"),
    ] {
        talk.ask(words, code);
    }
    talk.send(b"Subject: for both\r\n\r\n");
    let (code, _, why) = house.verb(&["account", "remove", ALICE], "");
    assert_eq!(code, 0, "{why}");
    talk.send(b".\r\n");
    let said = talk.reply();
    assert!(said.starts_with("450 4.2.1 "), "{said}");
    // And whoever asks later hears that she is nobody.
    talk.ask("MAIL FROM:<x@client.test>", "250");
    talk.ask(&format!("RCPT TO:<{ALICE}>"), "550 5.1.1");
    // Somebody new of the same name begins with nothing.
    let (code, _, why) = house.verb(&["account", "add", ALICE, "--password-stdin"], "a new long secret\n");
    assert_eq!(code, 0, "{why}");
    assert!(fetch(house.pop3(), ALICE, "a new long secret").is_empty());
}

#[test]
fn a198_who_may_not_send_still_receives() {
    let house = House::open(&[]);
    let (code, _, why) = house.verb(&["account", "suspend", ALICE], "");
    assert_eq!(code, 0, "{why}");
    assert!(post(house.smtp(), "", &[ALICE], "Subject: x\r\n\r\n").starts_with("250"));
    assert_eq!(fetch(house.pop3(), ALICE, &house.password(ALICE)).len(), 1);
}
