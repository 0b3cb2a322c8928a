//! Who comes in by which password and which protocol, what is made of another server's hash, and how sessions end.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::house::{House, Talk};

const ALICE: &str = "alice@ringpost.test";
const CAROL: &str = "carol@ringpost.test";
/// Of `Tr0ub4dor&3`, made by `doveadm pw`.
const HASH: &str = "{SHA256-CRYPT}$5$kkNPzhloxyl.M2jH$B04/yYEE/GYOYixyyfQOhWE8GtKcPE7kQTQG/j1/vJ9";

fn plain(name: &str, password: &str) -> String {
    STANDARD.encode(format!("\0{name}\0{password}"))
}

fn done(house: &House, verb: &[&str]) -> String {
    let (code, out, err) = house.verb(verb, "");
    assert_eq!(code, 0, "{verb:?}: {err}");
    out
}

fn refused(house: &House, verb: &[&str]) -> String {
    let (code, _, err) = house.verb(verb, "");
    assert_ne!(code, 0, "{verb:?}");
    err
}

fn imap(house: &House) -> Talk {
    let mut talk = Talk::with(house.imap());
    talk.hear();
    talk
}

fn offers(house: &House) -> String {
    imap(house).imap("CAPABILITY", "OK").join("\n")
}

/// Says `CAPABILITY` to new connections until it has the word, or has it no more.
fn until_offered(house: &House, word: &str, offered: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while offers(house).contains(word) != offered {
        assert!(Instant::now() < deadline, "{word} offered: {}", !offered);
        std::thread::yield_now();
    }
}

#[test]
fn another_servers_hash_is_taken_and_becomes_our_own_at_the_first_login() {
    let mut house = House::open(&["--shards", "2"]);
    assert!(offers(&house).contains("AUTH=SCRAM-SHA-256"));
    done(&house, &["account", "add", CAROL, "--hash", HASH]);
    assert!(!offers(&house).contains("SCRAM"), "an account has no keys");
    assert!(done(&house, &["account", "login", CAROL]).contains("no keys"));
    // Also after a start it is known who has none.
    house.stop();
    house.reopen();
    assert!(!offers(&house).contains("SCRAM"));
    imap(&house).imap(&format!("LOGIN {CAROL} wrong"), "NO [AUTHENTICATIONFAILED]");
    imap(&house).imap(&format!("LOGIN {CAROL} Tr0ub4dor&3"), "OK");
    until_offered(&house, "SCRAM", true);
    assert!(!done(&house, &["account", "login", CAROL]).contains("hash"));
    imap(&house).imap(&format!("LOGIN {CAROL} Tr0ub4dor&3"), "OK");
    house.stop();
    house.reopen();
    assert!(offers(&house).contains("SCRAM"));
    imap(&house).imap(&format!("LOGIN {CAROL} Tr0ub4dor&3"), "OK");
}

#[test]
fn a_hash_that_nobody_can_use_is_refused() {
    let house = House::open(&[]);
    for (hash, why) in [
        ("{CRAM-MD5}00", "CRAM-MD5"),
        ("{PLAIN}secret", "the password itself"),
        ("$2b$31$abcdefghijklmnopqrstuujyowYzwa5GTkdJQ1hID4j4yIozDs7U.", "too much work"),
        ("$5$salt$short", "cut off"),
        ("secret", "no hash"),
    ] {
        assert!(refused(&house, &["account", "add", CAROL, "--hash", hash]).contains(why), "{hash}");
    }
    let file = house.data().join("people");
    std::fs::write(&file, format!("{CAROL} {HASH}\n")).expect("a file");
    done(&house, &["account", "add", "--from-file", file.to_str().expect("a plain path"), "--hashed"]);
    imap(&house).imap(&format!("LOGIN {CAROL} Tr0ub4dor&3"), "OK");
}

#[test]
fn an_app_password_is_good_where_it_was_made_for_until_it_is_taken_back() {
    let house = House::open(&["--shards", "2"]);
    let phone = done(&house, &["account", "app-password", "add", ALICE, "phone", "--protocol", "imap"]);
    let phone = phone.trim();
    assert!(done(&house, &["account", "app-password", "list", ALICE]).contains("used never  imap"));
    let again = refused(&house, &["account", "app-password", "add", ALICE, "phone"]);
    assert!(again.contains("already"), "{again}");
    for _ in 0..2 {
        imap(&house).imap(&format!("LOGIN {ALICE} {phone}"), "OK");
    }
    let mut pop3 = Talk::with(house.pop3());
    pop3.hear();
    pop3.pop3(&format!("USER {ALICE}"));
    pop3.say(&format!("PASS {phone}"));
    assert!(pop3.hear().starts_with("-ERR [AUTH]"), "not made for that");
    let deadline = Instant::now() + Duration::from_secs(20);
    while done(&house, &["account", "app-password", "list", ALICE]).contains("never") {
        assert!(Instant::now() < deadline, "the day of use is not kept");
    }
    // A new password of the account leaves it alone.
    done(&house, &["account", "passwd", ALICE]);
    imap(&house).imap(&format!("LOGIN {ALICE} {phone}"), "OK");
    let mut inside = imap(&house);
    inside.imap(&format!("LOGIN {ALICE} {phone}"), "OK");
    done(&house, &["account", "app-password", "remove", ALICE, "phone"]);
    assert!(inside.hear().starts_with("* BYE "), "who came in by it is out");
    imap(&house).imap(&format!("LOGIN {ALICE} {phone}"), "NO [AUTHENTICATIONFAILED]");
    assert!(refused(&house, &["account", "app-password", "remove", ALICE, "phone"]).contains("no app password"));
}

#[test]
fn sessions_end_on_every_shard_with_the_farewell_of_their_protocol() {
    let house = House::open(&["--shards", "2"]);
    let password = house.password(ALICE);
    let smtp = |password: &str| {
        let mut talk = Talk::with(house.door(2587));
        talk.reply();
        talk.ask("EHLO client.test", "250");
        talk.ask(&format!("AUTH PLAIN {}", plain(ALICE, password)), "235");
        talk
    };
    let reader = |password: &str| {
        let mut talk = imap(&house);
        talk.imap(&format!("LOGIN {ALICE} {password}"), "OK");
        talk
    };
    let fetcher = |password: &str| {
        let mut talk = Talk::with(house.pop3());
        talk.hear();
        talk.pop3(&format!("USER {ALICE}"));
        talk.pop3(&format!("PASS {password}"));
        talk
    };
    let ban = ["ban", "127.0.0.0/8"];
    for kick in
        [&["kick", ALICE][..], &["account", "passwd", ALICE], &["account", "login", ALICE, "--all", "off"], &ban]
    {
        if kick == ban {
            done(&house, &["account", "login", ALICE, "--all", "on"]);
        }
        let password = if kick[1] == "login" || kick == ban {
            done(&house, &["account", "passwd", ALICE]).split_whitespace().last().expect("a password").to_owned()
        } else {
            password.clone()
        };
        // Several times, so that both shards have some.
        let mut talks: Vec<_> =
            (0..4).map(|_| (smtp(&password), reader(&password), reader(&password), fetcher(&password))).collect();
        for (_, _, idler, _) in &mut talks {
            idler.imap("SELECT INBOX", "OK");
            idler.say("t IDLE");
            assert!(idler.hear().starts_with("+ "));
        }
        let who = done(&house, &["who"]);
        assert_eq!(who.lines().count(), 16, "{who}");
        assert!(who.lines().all(|line| line.contains(ALICE) && line.contains("127.0.0.1:") && line.ends_with("plain")));
        done(&house, kick);
        for (mut smtp, mut reader, mut idler, mut fetcher) in talks {
            assert!(smtp.hear().starts_with("421 4.3.2 "));
            assert!(reader.hear().starts_with("* BYE "));
            assert!(idler.hear().starts_with("* BYE "));
            assert!(fetcher.hear().starts_with("-ERR [SYS/TEMP] "));
            for mut talk in [smtp, reader, idler, fetcher] {
                assert_eq!(talk.rest(), b"");
            }
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done(&house, &["who", ALICE]).is_empty() {
            assert!(Instant::now() < deadline, "gone, and listed");
        }
    }
}

#[test]
fn a_protocol_that_is_closed_for_an_account_is_closed_for_its_right_password() {
    let house = House::open(&[]);
    let password = house.password(ALICE);
    assert!(done(&house, &["account", "login", ALICE, "--pop3", "off"]).contains("pop3  off"));
    imap(&house).imap(&format!("LOGIN {ALICE} {password}"), "OK");
    let mut pop3 = Talk::with(house.pop3());
    pop3.hear();
    for pass in [&password[..], "wrong"] {
        pop3.pop3(&format!("USER {ALICE}"));
        pop3.say(&format!("PASS {pass}"));
        assert_eq!(pop3.hear(), "-ERR [AUTH] wrong name or password");
    }
    assert!(house.log().contains("closed"), "the log says why");
    done(&house, &["account", "login", ALICE, "--all", "on"]);
    pop3.pop3(&format!("USER {ALICE}"));
    pop3.pop3(&format!("PASS {password}"));
}

#[test]
fn a_removed_accounts_sessions_end() {
    let house = House::open(&["--shards", "2"]);
    let mut talk = imap(&house);
    talk.imap(&format!("LOGIN {ALICE} {}", house.password(ALICE)), "OK");
    done(&house, &["account", "remove", ALICE]);
    assert!(talk.hear().starts_with("* BYE "));
}

#[test]
fn a020_wrong_passwords_are_answered_later_and_later_where_nobody_is_exempt() {
    let house = House::unconfigured();
    let mut talk = Talk::private(house.door(2993), &house);
    talk.hear();
    let mut last = Duration::ZERO;
    for _ in 0..2 {
        let began = Instant::now();
        talk.imap(&format!("LOGIN {ALICE} wrong"), "NO [AUTHENTICATIONFAILED]");
        let took = began.elapsed();
        assert!(took > last + Duration::from_secs(1), "{took:?} after {last:?}");
        last = took;
    }
    talk.imap(&format!("LOGIN {ALICE} {}", house.password(ALICE)), "OK");
}
