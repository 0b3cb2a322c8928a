//! What was expunged by mistake comes back: through IMAP, POP3 and the removal of a mailbox, after a kill and after a move to
//! another volume, once.

use std::fs;
use std::time::Instant;

use crate::house::{House, PATIENCE, Talk, fetch, post};

const ALICE: &str = "alice@ringpost.test";

/// A house that keeps what is expunged for so many seconds.
fn keeping(retention_s: u32) -> House {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dir.path().join("data");
    fs::create_dir(&data).expect("making");
    fs::write(data.join("ringpost.toml"), format!("store.retention_s = {retention_s}\n")).expect("writing");
    House::open_in(dir, &["--shards", "2"])
}

fn letters(house: &House, numbers: std::ops::Range<u32>) {
    for n in numbers {
        post(house.smtp(), "", &[ALICE], &format!("Subject: letter {n}\r\n\r\n{}\r\n", "text ".repeat(50)));
    }
}

fn inbox(house: &House, password: &str) -> Talk {
    let mut talk = Talk::with(house.imap());
    talk.hear();
    talk.imap(&format!("LOGIN {ALICE} {password}"), "OK");
    talk.imap("SELECT INBOX", "OK");
    talk
}

/// `ringpost account undelete` with these arguments; what it said.
fn undelete(house: &House, more: &[&str]) -> String {
    let (code, said, wrong) = house.verb(&[&["account", "undelete", ALICE], more].concat(), "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    said
}

#[test]
fn what_was_expunged_by_mistake_comes_back_once_through_a_kill_and_a_move() {
    let mut house = keeping(604_800);
    let password = house.password(ALICE);
    letters(&house, 0..6);
    let mut talk = inbox(&house, &password);
    talk.imap("CREATE Lists/Rust", "OK");
    talk.imap("STORE 3 +FLAGS.SILENT (\\Flagged work)", "OK");
    talk.imap("MOVE 5:6 Lists/Rust", "OK");
    talk.imap("STORE 2:3 +FLAGS.SILENT (\\Deleted)", "OK");
    talk.imap("EXPUNGE", "OK");
    talk.imap("DELETE Lists/Rust", "OK");
    assert!(!talk.imap("LIST \"\" *", "OK").join("\n").contains("expunged"), "nobody sees where it is kept");
    drop(talk);
    // POP3 deletes the first of the two that are left.
    let mut talk = Talk::with(house.pop3());
    talk.hear();
    for command in [&format!("USER {ALICE}"), &format!("PASS {password}"), "DELE 1", "QUIT"] {
        assert!(talk.pop3(command).starts_with("+OK"), "{command}");
    }
    assert_eq!(fetch(house.pop3(), ALICE, &password).len(), 1);

    let said = undelete(&house, &["--dry-run"]);
    assert!(said.contains("INBOX: 3 messages") && said.contains("Lists/Rust: 2 messages"), "{said}");
    assert!(said.contains("5 messages") && said.contains("would come back"), "{said}");
    assert!(undelete(&house, &["--since", "2999-01-01", "--dry-run"]).starts_with("0 messages"));
    house.kill();
    house.reopen();
    let (code, _, wrong) = house.verb(&["account", "move", ALICE, "--to", "1"], "");
    let (other, ..) = house.verb(&["account", "move", ALICE, "--to", "0"], "");
    assert!(code == 0 || other == 0, "it goes to one of them: {wrong}");
    assert!(undelete(&house, &["--mailbox", "Lists/Rust", "--since", "1h"]).contains("2 messages"));
    assert!(undelete(&house, &["--mailbox", "inbox"]).contains("INBOX: 3 messages"));
    assert!(undelete(&house, &[]).starts_with("0 messages"), "once");

    let mut talk = inbox(&house, &password);
    let told = talk.imap("FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])", "OK").join("\n");
    for n in 0..4 {
        assert_eq!(told.matches(&format!("Subject: letter {n}")).count(), 1, "{told}");
    }
    assert!(told.contains("\\Flagged") && told.contains("work") && !told.contains("\\Deleted"), "{told}");
    assert!(talk.imap("STATUS Lists/Rust (MESSAGES)", "OK").join("\n").contains("MESSAGES 2"));
    assert_eq!(house.stop(), Some(0));
    let (code, said, wrong) = house.verb(&["store", "check"], "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");

    // While it is stopped, too.
    house.reopen();
    let mut talk = inbox(&house, &password);
    talk.imap("STORE 1:* +FLAGS.SILENT (\\Deleted)", "OK");
    talk.imap("CLOSE", "OK");
    assert_eq!(house.stop(), Some(0));
    assert!(undelete(&house, &["--to", "Found again"]).contains("Found again: 4 messages"));
    house.reopen();
    let mut talk = inbox(&house, &password);
    assert!(talk.imap("STATUS \"Found again\" (MESSAGES)", "OK").join("\n").contains("MESSAGES 4"));
}

#[test]
fn without_retention_and_after_it_nothing_comes_back() {
    for retention_s in [0, 1] {
        let house = keeping(retention_s);
        let password = house.password(ALICE);
        letters(&house, 0..2);
        let mut talk = inbox(&house, &password);
        talk.imap("STORE 1:2 +FLAGS.SILENT (\\Deleted)", "OK");
        talk.imap("EXPUNGE", "OK");
        let until = Instant::now() + PATIENCE;
        while retention_s > 0 && !undelete(&house, &["--dry-run"]).starts_with("0 messages") {
            assert!(Instant::now() < until, "it is never forgotten");
        }
        assert!(undelete(&house, &[]).starts_with("0 messages"));
    }
    let house = keeping(0);
    let (code, _, wrong) = house.verb(&["account", "undelete", ALICE, "--since", "yesterday"], "");
    assert!(code == 1 && wrong.contains("is no time"), "{wrong}");
    let (code, _, wrong) = house.verb(&["account", "undelete", "nobody@ringpost.test"], "");
    assert!(code == 1 && wrong.contains("nobody@ringpost.test"), "{wrong}");
}
