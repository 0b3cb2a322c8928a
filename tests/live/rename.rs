//! An account gets another name while the server runs: what stays, what follows, who has to log in again, and what is refused.

use std::time::Instant;

use crate::house::{House, PATIENCE, Talk, fetch, post};

const ALICE: &str = "alice@ringpost.test";
const BOB: &str = "bob@ringpost.test";

fn done(house: &House, line: &str) -> String {
    let (code, said, wrong) = house.verb(&line.split(' ').collect::<Vec<_>>(), "");
    assert_eq!(code, 0, "{line}: {wrong}");
    said
}

fn refused(house: &House, line: &str) -> String {
    let (code, said, wrong) = house.verb(&line.split(' ').collect::<Vec<_>>(), "");
    assert_eq!((code, said.as_str()), (1, ""), "{line}: {wrong}");
    wrong
}

/// What RCPT is answered for each, of whichever shard.
fn rcpt(house: &House, to: &[(&str, &str)]) {
    for _ in 0..4 {
        let mut talk = Talk::with(house.smtp());
        talk.reply();
        talk.ask("EHLO client.test", "250");
        talk.ask("MAIL FROM:<someone@elsewhere.test>", "250");
        for (address, code) in to {
            talk.ask(&format!("RCPT TO:<{address}>"), code);
        }
    }
}

fn logged_in(house: &House, name: &str, password: &str) -> Talk {
    let mut talk = Talk::with(house.imap());
    talk.hear();
    talk.imap(&format!("LOGIN {name} {password}"), "OK");
    talk
}

fn inbox(talk: &mut Talk) -> Vec<String> {
    let mut said = talk.imap("SELECT INBOX", "OK");
    said.retain(|line| line.contains("UIDVALIDITY") || line.contains("UIDNEXT") || line.ends_with("EXISTS"));
    said.extend(talk.imap("FETCH 1:* (UID RFC822.SIZE)", "OK"));
    said.retain(|line| line.starts_with('*'));
    said
}

/// Waits until a mailbox has so many letters.
fn arrived(house: &House, name: &str, password: &str, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while fetch(house.pop3(), name, password).len() < count {
        assert!(Instant::now() < deadline, "{name} has not {count} letters");
    }
}

#[test]
fn mail_passwords_and_rules_stay_and_what_leads_to_it_follows() {
    let mut house = House::open(&["--shards", "2"]);
    // One of each volume.
    for (old, new, other) in
        [(ALICE, "alicia@ringpost.test", BOB), (BOB, "robert@ringpost.test", "alicia@ringpost.test")]
    {
        let password = house.password(old);
        let list = format!("list-of-{old}");
        done(&house, &format!("alias add {list} {old}"));
        done(&house, &format!("group add group-of-{old} {old} {other}"));
        done(&house, &format!("account journal {other} {old}"));
        done(&house, &format!("account limits {old} --messages-per-hour 7"));
        done(&house, &format!("account quota {old} --storage 1GiB"));
        done(&house, &format!("account suspend {old} --why tried"));
        let app = done(&house, &format!("account app-password add {old} phone"));
        for n in 0..3 {
            assert!(post(house.smtp(), "", &[&list], &format!("Subject: {n}\r\n\r\nHello\r\n")).starts_with("250"));
        }
        arrived(&house, old, &password, 3);
        let mut session = logged_in(&house, old, &password);
        let before = inbox(&mut session);
        let (limits, quota) =
            (done(&house, &format!("account limits {old}")), done(&house, &format!("account quota {old}")));
        assert!(limits.contains("7") && limits.contains("tried") && quota.contains("1.0 GiB"), "{limits}{quota}");

        done(&house, &format!("account rename {old} {new}"));
        let farewell = String::from_utf8(session.rest()).expect("text");
        assert!(farewell.contains("* BYE"), "{farewell}");
        let deadline = Instant::now() + PATIENCE;
        while done(&house, "who").contains(old) {
            assert!(Instant::now() < deadline, "its sessions go on");
        }
        let all_of_it = |house: &House| {
            rcpt(house, &[(old, "550 5.1.1"), (new, "250"), (&list, "250"), (&format!("group-of-{old}"), "250")]);
            let mut talk = Talk::with(house.imap());
            talk.hear();
            talk.imap(&format!("LOGIN {old} {password}"), "NO [AUTHENTICATIONFAILED]");
            logged_in(house, new, app.trim());
            assert_eq!(inbox(&mut logged_in(house, new, &password)), before);
            assert_eq!(done(house, &format!("account limits {new}")), limits.replace(old, new));
            assert_eq!(done(house, &format!("account quota {new}")), quota.replace(old, new));
            assert!(done(house, &format!("route {list}")).lines().any(|account| account == new));
            assert!(done(house, &format!("route group-of-{old}")).contains(new));
            assert!(done(house, &format!("account journal {other}")).contains(new));
            let accounts = done(house, "account list");
            assert!(accounts.contains(new) && !accounts.contains(old), "{accounts}");
        };
        all_of_it(&house);
        house.kill();
        house.reopen();
        all_of_it(&house);
    }
    // Who has the old name next is somebody else.
    let said = done(&house, &format!("account add {ALICE}"));
    let password = said.split_whitespace().last().expect("a password").to_owned();
    assert_eq!(fetch(house.pop3(), ALICE, &password).len(), 0);
    assert!(!done(&house, &format!("account limits {ALICE}")).contains("tried"));
}

#[test]
fn the_old_address_may_stay_as_an_alias_also_while_it_is_stopped_and_in_another_domain() {
    let mut house = House::open(&["--shards", "2"]);
    let password = house.password(BOB);
    done(&house, "domain add other.test");
    assert_eq!(house.stop(), Some(0), "{}", house.log());
    done(&house, &format!("account rename {BOB} rob@other.test --keep-alias"));
    house.reopen();
    assert!(post(house.smtp(), "", &[BOB], "Subject: x\r\n\r\nHello\r\n").starts_with("250"));
    arrived(&house, "rob@other.test", &password, 1);
    assert_eq!(done(&house, "alias list"), format!("{BOB}  rob@other.test\n"));
    // The alias goes along, and is taken back like any.
    done(&house, "account rename rob@other.test robert@other.test --keep-alias");
    assert_eq!(done(&house, &format!("route {BOB}")), "robert@other.test\n");
    done(&house, &format!("alias remove {BOB}"));
    let mailbox = |house: &House, name: &str| inbox(&mut logged_in(house, name, &password));
    let before = mailbox(&house, "robert@other.test");
    done(&house, "account move robert@other.test --to 0");
    assert_eq!(mailbox(&house, "robert@other.test"), before);
    done(&house, &format!("account rename robert@other.test {BOB}"));
    rcpt(&house, &[(BOB, "250"), ("rob@other.test", "250"), ("robert@other.test", "550 5.1.1")]);
    house.kill();
    house.reopen();
    assert_eq!(mailbox(&house, BOB), before);
}

#[test]
fn a_name_that_cannot_be_had_is_refused_with_a_sentence() {
    let house = House::open(&[]);
    done(&house, "alias add team@ringpost.test alice@ringpost.test");
    done(&house, "group add staff@ringpost.test alice@ringpost.test");
    done(&house, "domain alias add also.test ringpost.test");
    done(&house, &format!("account quota {ALICE} --messages 5"));
    for (new, sentence) in [
        (BOB, "the account bob@ringpost.test exists already"),
        ("team@ringpost.test", "is an alias: `ringpost alias remove team@ringpost.test` first"),
        ("staff@ringpost.test", "is a group"),
        (ALICE, "is its name already"),
        ("Alice@RINGPOST.test", "is its name already"),
        ("alice@elsewhere.test", "ringpost domain add elsewhere.test"),
        ("alice@also.test", "is not known here"),
        ("alice", "write it as user@domain"),
        ("postmaster@ringpost.test", "has no limits"),
    ] {
        let wrong = refused(&house, &format!("account rename {ALICE} {new}"));
        assert!(wrong.contains(sentence), "{new}: {wrong}");
    }
    let wrong = refused(&house, "account rename nobody@ringpost.test new@ringpost.test");
    assert!(wrong.contains("ringpost account list"), "{wrong}");
    rcpt(&house, &[(ALICE, "250"), (BOB, "250")]);
}
