//! Whole mail servers hand on what they were given, and nothing is lost, added or changed on the way: a plain letter, dots and long lines, a
//! large one, one for two, one for somebody who is not there, and one from an address in UTF-8.
//!
//! The door wants TLS before anything else, and each sender wants a certificate that names the host. What else each can do is
//! looked for in its own log. Of the three Exim alone sends chunks (Postfix takes them and sends none), OpenSMTPD knows
//! no SMTPUTF8 and says one command at a time.

use std::time::{Duration, Instant};

use crate::house::{House, Talk, fetch};
use crate::mta::exim::Exim;
use crate::mta::log_with;
use crate::mta::opensmtpd::OpenSmtpd;
use crate::mta::postfix::Postfix;
use crate::neighbours::house;
use crate::{ALICE, BOB};

/// A door for hosts that take TLS seriously.
const DOOR: &str = "[[listener]]\nservice = \"mx\"\naddress = \"127.0.0.1:2528\"\ntls = \"required\"\n";

const NOBODY: &str = "nobody@ringpost.test";
const JUERGEN: &str = "jürgen@client.test";

/// A letter as its author gives it to his server, without the last line end.
fn letter(subject: &str, body: &str) -> String {
    format!(
        "From: <{ALICE}>\r\nTo: <{BOB}>\r\nDate: Mon, 5 Oct 2026 10:00:00 +0200\r\nMessage-ID: <{}@client.test>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\
         Subject: {subject}\r\n\r\n{body}",
        subject.len()
    )
}

/// What each of them must bring over, by subject.
fn letters() -> Vec<(&'static str, String)> {
    let long = format!("{}\r\n{}\r\n{}\r\nend", "x".repeat(998), ".".repeat(998), "y".repeat(20_000));
    let rows: Vec<String> = (0..40_000).map(|n| format!("{n:06} {}", "0123456789".repeat(7))).collect();
    vec![
        ("plain", letter("plain", "hello, Gr\u{fc}\u{df}e")),
        ("dots", letter("dots", ".\r\n..\r\n...\r\n.dot\r\n\r\n.\r\n\r\n \r\nno dot\r\n.")),
        ("long", letter("long", &long)),
        ("large", letter("large", &rows.join("\r\n"))),
    ]
}

/// Gives one letter to the server at this port, each of its lines stuffed where it must be.
fn give(port: u16, from: &str, to: &[&str], text: &str) {
    let mut talk = Talk::with((std::net::Ipv4Addr::LOCALHOST, port).into());
    talk.reply();
    talk.ask("EHLO client.test", "250");
    let utf8 = if from.is_ascii() { "" } else { " SMTPUTF8" };
    talk.ask(&format!("MAIL FROM:<{from}> BODY=8BITMIME{utf8}"), "250");
    for one in to {
        talk.ask(&format!("RCPT TO:<{one}>"), "250");
    }
    talk.ask("DATA", "354");
    let stuffed = format!("\r\n{text}").replace("\r\n.", "\r\n..");
    talk.send(format!("{}\r\n.\r\n", &stuffed[2..]).as_bytes());
    let reply = talk.reply();
    assert!(reply.starts_with("250"), "{reply}");
    talk.ask("QUIT", "221");
}

/// All letters go through the server at `port`, which calls itself `name`, and what arrives is what was sent.
fn all_arrive(house: &House, port: u16, name: &str, utf8: bool) {
    let mut expected = letters();
    for (_, text) in &expected {
        give(port, ALICE, &[BOB], text);
    }
    for (subject, to) in [("both", &[ALICE, BOB][..]), ("half", &[BOB, NOBODY])] {
        let text = letter(subject, "for two");
        give(port, ALICE, to, &text);
        expected.push((subject, text));
    }
    if utf8 {
        let text = letter("grüße", "von Jürgen").replace(&format!("<{ALICE}>"), &format!("<{JUERGEN}>"));
        give(port, JUERGEN, &[BOB], &text);
        expected.push(("grüße", text));
    }
    let bobs = arrived(house, BOB, expected.len());
    for (subject, text) in &expected {
        let found: Vec<&String> = bobs.iter().filter(|m| m.contains(&format!("\r\nSubject: {subject}\r\n"))).collect();
        let [got] = found[..] else { panic!("{} letters {subject:?}", found.len()) };
        let trace = got.strip_suffix(&format!("{text}\r\n"));
        let trace = trace.unwrap_or_else(|| panic!("{subject} is not what was sent: {:.4000}", got));
        let (from, with) = if *subject == "grüße" { (JUERGEN, "UTF8SMTPS") } else { (ALICE, "ESMTPS") };
        let head = format!("Delivered-To: {BOB}\r\nReturn-Path: <{from}>\r\nReceived: from {name} ([127.0.0.1])\r\n");
        assert!(trace.starts_with(&head), "{subject}: {trace}");
        assert!(trace.contains(&format!(" with {with} id ")) && trace.contains("(TLSv1.3)"), "{subject}: {trace}");
        assert_eq!(trace.matches("\r\nReceived: ").count(), 2, "ours and the sender's: {trace}");
    }
    let alices = arrived(house, ALICE, 2);
    let (both, bounce): (Vec<&String>, Vec<&String>) = alices.iter().partition(|m| m.contains("\r\nSubject: both\r\n"));
    assert!(both.len() == 1 && both[0].contains(&format!("Return-Path: <{ALICE}>\r\n")), "{both:?}");
    assert!(bounce[0].contains("Return-Path: <>\r\n") && bounce[0].contains(NOBODY), "{}", bounce[0]);
    assert!(bounce[0].contains("550 5.1.1 No such user here"), "it says why, in our words: {}", bounce[0]);
}

/// The mail of somebody when there is so much of it.
fn arrived(house: &House, who: &str, count: usize) -> Vec<String> {
    let password = house.password(who);
    let began = Instant::now();
    loop {
        let stored = house.log().matches(" stored ").count();
        let mail = fetch(house.pop3(), who, &password);
        if mail.len() >= count {
            assert_eq!(mail.len(), count, "more came for {who} than was sent");
            return mail;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{} of {count} letters for {who}", mail.len());
        while house.log().matches(" stored ").count() == stored && began.elapsed() < Duration::from_secs(60) {
            std::thread::yield_now();
        }
    }
}

fn certificate(house: &House) -> String {
    std::fs::read_to_string(house.data().join("tls/cert.pem")).expect("its certificate")
}

#[test]
fn postfix_sends_over_tls_pipelined_and_in_utf8() {
    let house = house(DOOR);
    let relay = house.door(2528).port();
    let settings = format!(
        "relayhost = [localhost]:{relay}\nsmtp_tls_security_level = verify\nsmtp_tls_verify_cert_match = localhost\n\
         smtp_tls_CAfile = {}\nsmtp_tls_loglevel = 1\nsmtp_line_length_limit = 0\n",
        house.data().join("tls/cert.pem").display()
    );
    let Some(postfix) = Postfix::start(house.dir.path(), &settings) else { return };
    all_arrive(&house, postfix.port, "postfix.test", true);
    let log = log_with(|| postfix.log(), ": removed", 8);
    assert!(log.contains("Verified TLS connection established to localhost"), "{log}");
    // It says DATA before it has heard what we say to MAIL.
    let words: Vec<&str> = log.lines().filter(|l| l.contains(" > localhost") || l.contains(" < localhost")).collect();
    assert!(
        words.windows(2).any(|w| w[0].contains("> localhost")
            && w[0].contains("RCPT TO")
            && w[1].ends_with("]:PORT: DATA".replace("PORT", &relay.to_string()).as_str())),
        "{log}"
    );
    assert!(log.contains(": MAIL FROM:<jürgen@client.test> SIZE=") && log.contains(" SMTPUTF8"), "{log}");
}

#[test]
fn exim_sends_in_chunks_over_tls_pipelined_and_in_utf8() {
    let house = house(DOOR);
    let relay = house.door(2528).port();
    let Some(exim) = Exim::relaying(house.dir.path(), relay, &certificate(&house)) else { return };
    all_arrive(&house, exim.port, "exim.test", true);
    let log = log_with(|| exim.log(), " Completed", 8);
    let said: Vec<&str> = log.lines().filter(|line| line.contains(" => ")).collect();
    assert_eq!(said.len(), 8, "{log}");
    for line in said {
        // Its letters for: the certificate was verified, commands were pipelined (L), and the letter came in chunks (K).
        assert!(line.contains(" CV=yes ") && line.contains(" L K C=\"250 2.0.0 "), "{line}");
    }
}

#[test]
fn opensmtpd_sends_over_tls() {
    let house = house(DOOR);
    let relay = house.door(2528).port();
    let Some(smtpd) = OpenSmtpd::relaying(house.dir.path(), relay, &certificate(&house)) else { return };
    all_arrive(&house, smtpd.port, "opensmtpd.test", false);
    let log = log_with(|| smtpd.log(), "result=\"Ok\" stat=\"250 2.0.0 ", 8);
    assert!(log.contains("mta server-cert-check result=\"success\""), "{log}");
    assert!(log.contains("result=\"PermFail\" stat=\"550 5.1.1 No such user here\""), "{log}");
}
