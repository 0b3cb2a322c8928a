//! A letter's whole life: in by SMTP, out by POP3 and IMAP, through restarts.

use crate::house::{House, Talk, fetch, post};

const BODY: &str =
    "From: bob@ringpost.test\r\nTo: alice@ringpost.test\r\nSubject: hello\r\n\r\nIt works.\r\n..two dots\r\nlast";

#[test]
fn a_letter_comes_in_by_smtp_and_is_read_by_pop3_and_imap() {
    let house = House::open(&[]);
    let verdict = post(house.smtp(), "bob@ringpost.test", &["alice@ringpost.test"], BODY);
    assert!(verdict.starts_with("250 2."), "{verdict}");

    let password = house.password("alice@ringpost.test");
    let mail = fetch(house.pop3(), "alice@ringpost.test", &password);
    assert_eq!(mail.len(), 1);
    assert!(mail[0].contains("Delivered-To: alice@ringpost.test\r\n"), "{}", mail[0]);
    assert!(mail[0].contains("Return-Path: <bob@ringpost.test>\r\n"), "{}", mail[0]);
    assert!(mail[0].contains("Received: from client.test"), "{}", mail[0]);
    let id = verdict.rsplit(' ').next().expect("an id");
    assert!(mail[0].contains(id), "the id of the verdict {verdict:?} stands in the trace field: {}", mail[0]);
    assert!(mail[0].ends_with("Subject: hello\r\n\r\nIt works.\r\n.two dots\r\nlast\r\n"), "{}", mail[0]);

    let mut imap = Talk::with(house.imap());
    assert!(imap.hear().starts_with("* OK"));
    imap.imap(&format!("LOGIN alice@ringpost.test {password}"), "OK");
    let selected = imap.imap("SELECT INBOX", "OK");
    assert!(selected.iter().any(|l| l == "* 1 EXISTS"), "{selected:?}");
    let fetched = imap.imap("FETCH 1 (UID RFC822.SIZE ENVELOPE)", "OK");
    assert!(fetched[0].contains(&format!("RFC822.SIZE {}", mail[0].len())), "{fetched:?} against {}", mail[0].len());
    assert!(fetched[0].contains("\"hello\""), "{fetched:?}");
    let text = imap.imap("FETCH 1 BODY[TEXT]", "OK");
    assert!(text.iter().any(|l| l == ".two dots"), "{text:?}");
    imap.imap("LOGOUT", "OK");
    assert!(house.log().contains(id), "the log names the letter");
}

#[test]
fn a_letter_that_needs_smtputf8_is_kept_as_it_came_and_says_how_it_came() {
    let house = House::open(&[]);
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    assert!(talk.ask("EHLO client.test", "250").contains("SMTPUTF8"));
    talk.ask("MAIL FROM:<j\u{fc}rgen@b\u{fc}cher.test>", "553 5.6.7");
    talk.ask("MAIL FROM:<j\u{fc}rgen@b\u{fc}cher.test> SMTPUTF8", "250");
    talk.ask("RCPT TO:<b\u{fc}ro@ringpost.test>", "550 5.1.1");
    talk.ask("RCPT TO:<alice@ringpost.test>", "250");
    let body = "Subject: gr\u{fc}\u{df}e\r\n\r\nHello\r\n";
    talk.send(format!("BDAT {} LAST\r\n{body}", body.len()).as_bytes());
    assert!(talk.reply().starts_with("250"));
    // The next transaction has to say so again.
    talk.ask("MAIL FROM:<>", "250");
    talk.ask("RCPT TO:<b\u{fc}ro@ringpost.test>", "553 5.6.7");
    talk.ask("QUIT", "221");
    let mail = fetch(house.pop3(), "alice@ringpost.test", &house.password("alice@ringpost.test"));
    assert_eq!(mail.len(), 1);
    assert!(mail[0].contains("Return-Path: <j\u{fc}rgen@b\u{fc}cher.test>\r\n"), "{}", mail[0]);
    assert!(mail[0].contains(" with UTF8SMTP id "), "{}", mail[0]);
    assert!(mail[0].ends_with(body), "{}", mail[0]);
}

#[test]
fn a_letter_that_is_refused_for_what_it_is_is_in_the_log_too() {
    let mut house = House::open(&[]);
    let verdict = post(house.smtp(), "", &["alice@ringpost.test"], "Subject: x\r\n\r\n\0");
    assert!(verdict.starts_with("550 5.6.0"), "{verdict}");
    let verdict = post(house.smtp(), "", &["alice@ringpost.test"], "Subject: x\r\n\r\nx");
    assert!(verdict.starts_with("250"), "{verdict}");
    assert_eq!(house.stop(), Some(0), "{}", house.log());
    assert_eq!(house.log().matches("dropped: refused").count(), 1, "{}", house.log());
}

#[test]
fn both_founders_are_served_whatever_shard_the_connection_meets() {
    let house = House::open(&["--shards", "2"]);
    for to in ["alice@ringpost.test", "bob@ringpost.test"] {
        let password = house.password(to);
        for n in 1..=12 {
            let verdict = post(house.smtp(), "", &[to], &format!("Subject: {n}\r\n\r\nbody {n}"));
            assert!(verdict.starts_with("250 "), "{verdict}");
            assert_eq!(fetch(house.pop3(), to, &password).len(), n);
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kill_and_stop() {
    let mut house = House::open(&[]);
    let password = house.password("alice@ringpost.test");
    for round in 0..4 {
        let verdict = post(
            house.smtp(),
            "bob@ringpost.test",
            &["alice@ringpost.test"],
            &format!("Subject: {round}\r\n\r\n{BODY}"),
        );
        assert!(verdict.starts_with("250 "), "{verdict}");
        if round % 2 == 0 {
            house.kill();
        } else {
            assert_eq!(house.stop(), Some(0), "{}", house.log());
        }
        house.reopen();
        let mail = fetch(house.pop3(), "alice@ringpost.test", &password);
        assert_eq!(mail.len(), round + 1);
        for (n, one) in mail.iter().enumerate() {
            assert!(one.contains(&format!("Subject: {n}\r\n")), "{one}");
        }
    }
}

#[test]
fn a139_only_quit_deletes() {
    let house = House::open(&[]);
    let password = house.password("alice@ringpost.test");
    for n in 0..3 {
        post(house.smtp(), "", &["alice@ringpost.test"], &format!("Subject: {n}\r\n\r\nx"));
    }
    let mut talk = Talk::with(house.pop3());
    talk.hear();
    talk.pop3("USER alice@ringpost.test");
    talk.pop3(&format!("PASS {password}"));
    talk.pop3("DELE 2");
    drop(talk);
    assert_eq!(fetch(house.pop3(), "alice@ringpost.test", &password).len(), 3);

    let mut talk = Talk::with(house.pop3());
    talk.hear();
    talk.pop3("USER alice@ringpost.test");
    talk.pop3(&format!("PASS {password}"));
    talk.pop3("DELE 2");
    talk.pop3("QUIT");
    let left = fetch(house.pop3(), "alice@ringpost.test", &password);
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|m| !m.contains("Subject: 1\r\n")));
}

#[test]
fn an_appended_message_and_its_flags_are_there_after_a_kill() {
    let mut house = House::open(&[]);
    let password = house.password("bob@ringpost.test");
    let mut imap = Talk::with(house.imap());
    imap.hear();
    imap.imap(&format!("LOGIN bob@ringpost.test {password}"), "OK");
    let message = "Subject: kept\r\n\r\nkept\r\n";
    imap.say(&format!("a APPEND INBOX (\\Seen) {{{}}}", message.len()));
    assert!(imap.hear().starts_with("+ "));
    imap.say(message);
    let lines = imap.hear_until(|l| l.starts_with("a "));
    assert!(lines[lines.len() - 1].starts_with("a OK"), "{lines:?}");
    imap.imap("SELECT INBOX", "OK");
    imap.imap("STORE 1 +FLAGS (\\Flagged urgent)", "OK");
    house.kill();
    house.reopen();
    let mut imap = Talk::with(house.imap());
    imap.hear();
    imap.imap(&format!("LOGIN bob@ringpost.test {password}"), "OK");
    imap.imap("EXAMINE INBOX", "OK");
    let flags = imap.imap("FETCH 1 (FLAGS)", "OK");
    for flag in ["\\Seen", "\\Flagged", "urgent"] {
        assert!(flags[0].contains(flag), "{flags:?}");
    }
}
