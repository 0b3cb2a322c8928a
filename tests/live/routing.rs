//! Rules for where mail goes, made while the server runs and in force when the verb is answered; still there after a kill.

use std::time::Instant;

use crate::house::{House, PATIENCE, Talk, fetch, post};

const ALICE: &str = "alice@ringpost.test";
const BOB: &str = "bob@ringpost.test";

/// Carries out a verb that must succeed; what it said.
fn done(house: &House, line: &str) -> String {
    let (code, said, wrong) = house.verb(&line.split(' ').collect::<Vec<_>>(), "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{line}: {said}");
    said
}

/// A verb that must be refused; the sentence.
fn refused(house: &House, line: &str) -> String {
    let (code, said, wrong) = house.verb(&line.split(' ').collect::<Vec<_>>(), "");
    assert_eq!((code, said.as_str()), (1, ""), "{line}: {wrong}");
    wrong
}

/// What RCPT is answered for each, in one transaction.
fn rcpt(house: &House, to: &[(&str, &str)]) {
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    talk.ask("EHLO client.test", "250");
    talk.ask("MAIL FROM:<someone@elsewhere.test>", "250");
    for (address, code) in to {
        talk.ask(&format!("RCPT TO:<{address}>"), code);
    }
}

/// Subjects of all mail, sorted: copies of other volumes come a moment later than others.
fn subjects(mail: &[String]) -> Vec<&str> {
    let subject = |letter: &'_ String| letter.find("Subject: ").map(|at| at + 9);
    let mut all: Vec<&str> = mail.iter().filter_map(|l| l[subject(l)?..].lines().next()).collect();
    all.sort_unstable();
    all
}

/// All mail of somebody, once there is so much of it.
fn arrived(house: &House, name: &str, password: &str, count: usize) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mail = fetch(house.pop3(), name, password);
        if mail.len() >= count {
            return mail;
        }
        assert!(Instant::now() < deadline, "{name} has {} letters, not {count}", mail.len());
    }
}

#[test]
fn a_group_of_groups_reaches_each_once_and_outlives_a_kill() {
    let mut house = House::open(&["--shards", "2"]);
    let passwords = [ALICE, BOB].map(|name| house.password(name));
    done(&house, "alias add sales@ringpost.test alice@ringpost.test");
    done(&house, "group add staff@ringpost.test sales@ringpost.test bob@ringpost.test");
    done(&house, "group add all@ringpost.test staff@ringpost.test alice@ringpost.test");
    done(&house, "domain add other.test");
    done(&house, "domain alias add also.test ringpost.test");
    // Each connection is accepted by whichever shard.
    for n in 0..6 {
        let to = ["all@ringpost.test", "all@also.test", "staff@ringpost.test", BOB];
        post(house.smtp(), "", &to[n % 4..], &format!("Subject: {n}\r\n\r\nHello\r\n"));
    }
    house.kill();
    house.reopen();
    done(&house, "group leave staff@ringpost.test sales@ringpost.test");
    post(house.smtp(), "", &["staff@also.test"], "Subject: last\r\n\r\nHello\r\n");
    let [alice, bob] =
        [(ALICE, &passwords[0], 5), (BOB, &passwords[1], 7)].map(|(name, p, count)| arrived(&house, name, p, count));
    // To bob alone went the letter 3.
    assert_eq!(subjects(&alice), ["0", "1", "2", "4", "5"]);
    assert_eq!(subjects(&bob), ["0", "1", "2", "3", "4", "5", "last"]);
    assert_eq!(
        done(&house, "group list"),
        "all@ringpost.test  alice@ringpost.test staff@ringpost.test\nstaff@ringpost.test  bob@ringpost.test\n"
    );
    assert_eq!(done(&house, "alias list"), "sales@ringpost.test  alice@ringpost.test\n");
    assert_eq!(done(&house, "domain alias list"), "also.test  ringpost.test\n");
    assert_eq!(done(&house, "route all+x@also.test"), "alice@ringpost.test\nbob@ringpost.test\n");
    // Also while it is stopped.
    house.stop();
    done(&house, "alias remove sales@ringpost.test");
    house.reopen();
    rcpt(
        &house,
        &[("sales@ringpost.test", "550 5.1.1"), ("x@other.test", "550 5.1.1"), ("x@elsewhere.test", "550 5.7.1")],
    );
}

#[test]
fn forwards_catch_alls_and_folders_are_in_force_at_once() {
    let house = House::open(&["--shards", "2"]);
    let passwords = [ALICE, BOB].map(|name| house.password(name));
    rcpt(&house, &[("nobody@ringpost.test", "550 5.1.1"), ("postmaster@ringpost.test", "550 5.1.1")]);
    done(&house, "domain catch-all ringpost.test bob@ringpost.test");
    done(&house, "domain postmaster default alice@ringpost.test");
    rcpt(&house, &[("nobody@ringpost.test", "250"), ("postmaster@ringpost.test", "250"), ("Postmaster", "250")]);
    assert_eq!(done(&house, "route abuse@ringpost.test"), "alice@ringpost.test\n");
    assert_eq!(done(&house, "route anybody@ringpost.test"), "bob@ringpost.test\n");
    done(&house, "domain catch-all ringpost.test none");
    rcpt(&house, &[("nobody@ringpost.test", "550 5.1.1")]);

    let mut talk = Talk::with(house.imap());
    talk.hear();
    talk.imap(&format!("LOGIN {ALICE} {}", passwords[0]), "OK");
    talk.imap("CREATE Shop", "OK");
    done(&house, "account subaddress alice@ringpost.test folder");
    for (to, n) in [("alice+shop@ringpost.test", 1), ("alice+none@ringpost.test", 2), (ALICE, 3)] {
        post(house.smtp(), "", &[to], &format!("Subject: {n}\r\n\r\nHello\r\n"));
    }
    let exists = |talk: &mut Talk, mailbox: &str| {
        let lines = talk.imap(&format!("SELECT {mailbox}"), "OK");
        lines.iter().find_map(|l| l.strip_suffix(" EXISTS")?.strip_prefix("* ")?.parse::<u32>().ok()).expect("EXISTS")
    };
    assert_eq!((exists(&mut talk, "Shop"), exists(&mut talk, "INBOX")), (1, 2));
    done(&house, "account forward alice@ringpost.test bob@ringpost.test --no-keep");
    done(&house, "account journal bob@ringpost.test alice+shop@ringpost.test");
    post(house.smtp(), "", &[ALICE], "Subject: 4\r\n\r\nHello\r\n");
    done(&house, "account forward alice@ringpost.test none");
    post(house.smtp(), "", &[BOB], "Subject: 5\r\n\r\nHello\r\n");
    assert_eq!(subjects(&arrived(&house, BOB, &passwords[1], 2)), ["4", "5"]);
    let deadline = Instant::now() + PATIENCE;
    while exists(&mut talk, "Shop") < 2 {
        assert!(Instant::now() < deadline, "a journal may have its folder");
    }
    assert_eq!((exists(&mut talk, "Shop"), exists(&mut talk, "INBOX")), (2, 2));
}

#[test]
fn who_is_denied_is_told_so_until_it_is_taken_back() {
    let mut house = House::open(&["--shards", "2"]);
    done(&house, "access deny sender .spam.test --for 1h --why seen");
    done(&house, "access allow sender good@x.spam.test");
    done(&house, "access deny helo evil.test");
    done(&house, "access deny recipient bob@ringpost.test");
    house.kill();
    house.reopen();
    for _ in 0..4 {
        let mut talk = Talk::with(house.smtp());
        talk.reply();
        talk.ask("EHLO evil.test", "250");
        talk.ask("MAIL FROM:<a@b.test>", "550 5.7.1");
        talk.ask("EHLO fine.test", "250");
        talk.ask("MAIL FROM:<a@x.spam.test>", "550 5.7.1");
        talk.ask("MAIL FROM:<Good@X.spam.test>", "250");
        talk.ask("RCPT TO:<BOB@ringpost.test>", "550 5.7.1");
        talk.ask("RCPT TO:<alice@ringpost.test>", "250");
    }
    done(&house, "ban 127.0.0.0/8 --for 1h --why again");
    for _ in 0..4 {
        assert!(Talk::with(house.smtp()).reply().starts_with("554 5.7.1"));
        assert!(Talk::with(house.imap()).hear().starts_with("* BYE"));
        assert!(Talk::with(house.pop3()).hear().starts_with("-ERR"));
    }
    let bans = done(&house, "bans");
    assert!(bans.starts_with("127.0.0.0/8  ") && bans.ends_with(" min left  again\n"), "{bans}");
    done(&house, "access allow client 127.0.0.1");
    assert!(Talk::with(house.smtp()).reply().starts_with("220"));
    done(&house, "access remove client 127.0.0.1");
    done(&house, "unban 127.0.0.0/8");
    assert!(Talk::with(house.smtp()).reply().starts_with("220"));
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence_that_says_what_to_do() {
    let house = House::open(&[]);
    done(&house, "alias add team@ringpost.test alice@ringpost.test");
    for (line, sentence) in [
        ("alias add team@elsewhere.test alice@ringpost.test", "ringpost domain add elsewhere.test"),
        ("alias add bob@ringpost.test alice@ringpost.test", "ringpost account forward bob@ringpost.test"),
        ("alias add x@ringpost.test who@elsewhere.test", "ringpost domain add elsewhere.test"),
        ("alias add x@ringpost.test nobody@ringpost.test", "ringpost account add nobody@ringpost.test"),
        ("alias add x@ringpost.test x@ringpost.test", "leads to nobody"),
        ("alias remove x@ringpost.test", "ringpost alias list"),
        ("group add team@ringpost.test alice@ringpost.test", "ringpost alias remove team@ringpost.test"),
        ("group join team@ringpost.test bob@ringpost.test", "ringpost group list"),
        ("account add team@ringpost.test", "ringpost alias remove team@ringpost.test"),
        ("account forward alice@ringpost.test alice@ringpost.test", "may not lead to itself"),
        ("account forward nobody@ringpost.test alice@ringpost.test", "ringpost account list"),
        ("domain alias add ringpost.test elsewhere.test", "is a domain of its own"),
        ("domain alias add x.test elsewhere.test", "ringpost domain add elsewhere.test"),
        ("domain catch-all default alice@ringpost.test", "belong to one domain"),
        ("domain subaddress ringpost.test x", "write one or more of"),
        ("domain remove ringpost.test", "still has accounts"),
        ("ban example.org", "is not a network"),
        ("unban 192.0.2.1", "ringpost bans"),
        ("route x@elsewhere.test", "is of a domain that is not ours"),
    ] {
        let wrong = refused(&house, line);
        assert!(wrong.contains(sentence), "{line}: {wrong}");
    }
}

/// Runs the command that programs call sendmail, by that name; its exit code and what it said.
fn sendmail(house: &House, link: &std::path::Path, args: &[&str], message: &str) -> (i32, String) {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut child = Command::new(link)
        .args(args)
        .env("RINGPOST_DATA", house.data())
        .env("LOGNAME", "bob")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the link runs");
    // One that reads nothing may be gone already.
    let _ = child.stdin.take().expect("a pipe").write_all(message.as_bytes());
    let out = child.wait_with_output().expect("it ends");
    (out.status.code().unwrap_or(-1), String::from_utf8(out.stderr).expect("text"))
}

#[test]
fn a_program_hands_a_letter_in_by_sendmail_and_it_outlives_a_kill() {
    let mut house = House::open(&["--shards", "2"]);
    let password = house.password(ALICE);
    let link = house.dir.path().join("sendmail");
    std::os::unix::fs::symlink(crate::house::binary(), &link).expect("a link");
    let first = "To: Alice <alice@ringpost.test>\nBcc: bob\nSubject: 1\n\nHello\n.\nbehind the dot\n";
    assert_eq!(sendmail(&house, &link, &["-t", "-oi"], first), (0, String::new()));
    assert_eq!(sendmail(&house, &link, &["-f", "x@elsewhere.test", ALICE], "Subject: 2\n\nHi\n.\ngone\n").0, 0);
    house.kill();
    house.reopen();
    let mut letters = arrived(&house, ALICE, &password, 2);
    letters.sort_unstable_by_key(|letter| letter.contains("Subject: 2"));
    assert_eq!(subjects(&letters), ["1", "2"]);
    assert!(
        letters[0].contains("\r\nFrom: bob@ringpost.test\r\n") && letters[0].contains("\r\nMessage-ID: <"),
        "{}",
        letters[0]
    );
    assert!(letters[0].contains("Return-Path: <bob@ringpost.test>") && !letters[0].contains("Bcc"), "{}", letters[0]);
    assert!(letters[0].ends_with("\r\n\r\nHello\r\n.\r\nbehind the dot\r\n"), "{}", letters[0]);
    assert!(
        letters[1].contains("Return-Path: <x@elsewhere.test>") && letters[1].ends_with("\r\n\r\nHi\r\n"),
        "{}",
        letters[1]
    );
    for (args, message, code) in [
        (&["nobody@ringpost.test"][..], "\n", 67),
        (&["x@elsewhere.test"], "\n", 69),
        (&["two words@ringpost.test"], "\n", 65),
        (&["-t"], "Subject: to nobody\n\n", 65),
        (&["-bs"], "", 64),
        (&["--data", "/nowhere", ALICE], "\n", 75),
    ] {
        let (was, said) = sendmail(&house, &link, args, message);
        assert_eq!(was, code, "{args:?}: {said}");
        assert!(said.starts_with("sendmail: "), "{said}");
    }
    assert_eq!(fetch(house.pop3(), ALICE, &password).len(), 2, "what was refused was not sent");
}
