//! TLS and logins as mail programs meet them: by STARTTLS and by TLS first, in all three protocols.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::house::{House, Talk};

const ALICE: &str = "alice@ringpost.test";
const BOB: &str = "bob@ringpost.test";

fn plain(name: &str, password: &str) -> String {
    STANDARD.encode(format!("\0{name}\0{password}"))
}

/// After EHLO: logs in and hands a letter in.
fn hand_in(mut talk: Talk, login: &[&str], to: &str, subject: &str) {
    for line in login {
        talk.ask(line, if Some(line) == login.last() { "235" } else { "334" });
    }
    talk.ask(&format!("MAIL FROM:<{ALICE}>"), "250");
    talk.ask("RCPT TO:<somebody@elsewhere.test>", "550 5.7.1");
    talk.ask(&format!("RCPT TO:<{to}>"), "250");
    talk.ask("DATA", "354");
    talk.send(format!("Subject: {subject}\r\n\r\nHello\r\n.\r\n").as_bytes());
    assert!(talk.reply().starts_with("250"));
    talk.ask("QUIT", "221");
}

#[test]
fn a_letter_goes_in_and_out_under_tls_by_every_door() {
    let house = House::open(&["--shards", "2"]);
    let (alice, bob) = (house.password(ALICE), house.password(BOB));

    let mut talk = Talk::with(house.door(2587));
    talk.reply();
    assert!(talk.ask("EHLO client.test", "250").contains("STARTTLS"));
    talk.ask("STARTTLS", "220");
    let mut talk = talk.shake_hands(&house);
    talk.ask("MAIL FROM:<>", "503");
    assert!(!talk.ask("EHLO client.test", "250").contains("STARTTLS"));
    talk.ask("MAIL FROM:<>", "530");
    hand_in(talk, &[&format!("AUTH PLAIN {}", plain(ALICE, &alice))], BOB, "one");

    let mut talk = Talk::private(house.door(2465), &house);
    talk.reply();
    assert!(talk.ask("EHLO client.test", "250").contains("AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"));
    let (name, password) = (STANDARD.encode(ALICE), STANDARD.encode(&alice));
    hand_in(talk, &["AUTH LOGIN", &name, &password], BOB, "two");

    for private in [false, true] {
        // Several times, so that either shard accepts some of them and hands them over.
        for _ in 0..4 {
            let mut talk = if private {
                let mut talk = Talk::private(house.door(2993), &house);
                assert!(talk.hear().contains("AUTH=PLAIN"));
                talk
            } else {
                let mut talk = Talk::with(house.imap());
                assert!(talk.hear().contains("STARTTLS"));
                talk.imap("STARTTLS", "OK");
                talk.shake_hands(&house)
            };
            assert!(!talk.imap("CAPABILITY", "OK")[0].contains("STARTTLS"));
            talk.imap(&format!("AUTHENTICATE PLAIN {}", plain(BOB, &bob)), "OK");
            assert!(talk.imap("SELECT INBOX", "OK").contains(&"* 2 EXISTS".to_owned()));
            let text = talk.imap("FETCH 1:2 BODY.PEEK[HEADER]", "OK").join("\n");
            assert_eq!(text.matches("with ESMTPSA id").count(), 2, "{text}");
            assert_eq!(text.matches("tls TLS_").count(), 2, "{text}");
            assert_eq!(text.matches("(TLSv1.3);").count(), 2, "{text}");
            talk.imap("LOGOUT", "OK");

            let mut talk = if private {
                let mut talk = Talk::private(house.door(2995), &house);
                assert!(talk.hear().starts_with("+OK"));
                talk
            } else {
                let mut talk = Talk::with(house.pop3());
                assert!(talk.hear().starts_with("+OK"));
                assert!(talk.pop3_lines("CAPA").contains(&"STLS".to_owned()));
                talk.pop3("STLS");
                talk.shake_hands(&house)
            };
            assert!(!talk.pop3_lines("CAPA").contains(&"STLS".to_owned()));
            talk.pop3(&format!("AUTH PLAIN {}", plain(BOB, &bob)));
            assert!(talk.pop3("STAT").starts_with("+OK 2 "));
            talk.pop3("QUIT");
        }
    }
}

#[test]
fn a008_a109_a142_commands_sent_with_starttls_are_not_executed() {
    let house = House::open(&[]);
    let (name, password) = (ALICE, house.password(ALICE));
    let login = format!("c LOGIN {name} {password}");
    for (at, sent, farewell) in [
        (house.smtp(), "STARTTLS\r\nEHLO client.test\r\nMAIL FROM:<>\r\n".to_owned(), "421 4.7.0 "),
        (house.door(2587), "STARTTLS\r\nEHLO client.test\r\nMAIL FROM:<>\r\n".to_owned(), "421 4.7.0 "),
        (house.imap(), format!("b STARTTLS\r\n{login}\r\n"), "* BYE "),
        (house.pop3(), format!("STLS\r\nUSER {name}\r\nPASS {password}\r\n"), "-ERR "),
    ] {
        let mut talk = Talk::with(at);
        talk.hear();
        talk.send(sent.as_bytes());
        let said = String::from_utf8(talk.rest()).expect("text");
        assert!(said.starts_with(farewell) && said.matches("\r\n").count() == 1, "to {sent:?}: {said:?}");
    }
    assert!(!house.log().contains("outcome=ok"), "nobody logged in");
}

#[test]
fn a045_a_tls_hello_in_the_clear_is_not_echoed() {
    let house = House::open(&[]);
    for at in [house.smtp(), house.door(2587), house.imap(), house.pop3()] {
        let mut talk = Talk::with(at);
        talk.hear();
        talk.send(b"\x16\x03\x01\x00\x05hello\r\n");
        assert_eq!(talk.rest(), b"", "{at}");
    }
}

#[test]
fn a098_what_is_cut_off_under_tls_within_a_message_is_no_letter() {
    let house = House::open(&[]);
    // Without a farewell of TLS: somebody else may have cut it, and just there.
    for text in ["Subject: half\r\n\r\nhalf", "Subject: half\r\n\r\nwhole?\r\n.", "Subject: half\r\n\r\nwhole?\r\n.\r"]
    {
        let mut talk = Talk::with(house.smtp());
        talk.reply();
        talk.ask("EHLO client.test", "250");
        talk.ask("STARTTLS", "220");
        let mut talk = talk.shake_hands(&house);
        for (words, code) in [
            ("EHLO client.test", "250"),
            ("MAIL FROM:<>", "250"),
            (&format!("RCPT TO:<{ALICE}>"), "250"),
            ("DATA", "354"),
        ] {
            talk.ask(words, code);
        }
        talk.send(text.as_bytes());
        talk.stream().shutdown(std::net::Shutdown::Write).expect("connected");
        let said = String::from_utf8_lossy(&talk.rest()).into_owned();
        assert!(!said.starts_with('2'), "{text:?}: {said}");
    }
    assert!(crate::house::fetch(house.pop3(), ALICE, &house.password(ALICE)).is_empty());
}

#[test]
fn a101_a_certificate_that_has_expired_is_complained_of_and_its_end_is_a_figure() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let now = time::OffsetDateTime::now_utc();
    let ends = |days: i64| {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_before = now - time::Duration::days(400);
        params.not_after = now + time::Duration::days(days);
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate");
        let path = |name: &str| dir.path().join(name).to_str().expect("a plain path").to_owned();
        std::fs::write(path("c.pem"), cert.pem()).expect("writing");
        std::fs::write(path("k.pem"), key.serialize_pem()).expect("writing");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path("k.pem"), private).expect("a key of one's own");
        let house = House::open(&["--tls-cert", &path("c.pem"), "--tls-key", &path("k.pem")]);
        let (_, _, page) = crate::web::get(&house, "/metrics");
        let line = page.lines().find_map(|line| {
            line.strip_prefix("ringpost_tls_certificate_expiry_seconds{name=\"localhost\",key=\"ecdsa\"} ")
        });
        let end = (now + time::Duration::days(days)).unix_timestamp();
        assert_eq!(line, Some(end.to_string().as_str()), "{page}");
        let log = house.log();
        let complaints = log.lines().filter(|line| line.contains("the certificate "));
        complaints.map(str::to_owned).collect::<Vec<_>>()
    };
    let said = ends(-3);
    assert!(said.len() == 1 && said[0].contains("ERROR") && said[0].contains("has expired"), "{said:?}");
    let said = ends(5);
    assert!(said.len() == 1 && said[0].contains("WARN") && said[0].contains("ends soon"), "{said:?}");
    assert_eq!(ends(30), [""; 0]);
}
