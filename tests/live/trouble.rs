//! Hostile and clumsy clients against the real binary: what is answered, and what is on the disk afterwards.

use std::io::Read;

use crate::house::{House, Talk, fetch, post};

const ALICE: &str = "alice@ringpost.test";

fn begin(house: &House) -> Talk {
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    talk.ask("EHLO client.test", "250");
    talk
}

fn open_data(talk: &mut Talk) {
    talk.ask("MAIL FROM:<x@client.test>", "250");
    talk.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    talk.ask("DATA", "354");
}

/// The header and body the client sent, without our trace fields.
fn own(mail: &str) -> &str {
    &mail[mail.find("Subject:").expect("a subject")..]
}

#[test]
fn a001_to_a004_only_a_canonical_dot_line_ends_a_message_and_only_canonical_lines_are_stored() {
    let house = House::open(&[]);
    let password = house.password(ALICE);
    let tricks: [&[u8]; 7] =
        [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\r\n.\r\r\n", b"\r\n.\rMAIL FROM:<evil@x>\r"];
    for (n, trick) in tricks.iter().enumerate() {
        let mut talk = begin(&house);
        open_data(&mut talk);
        talk.send(b"Subject: trick\r\n\r\nbefore");
        talk.send(trick);
        talk.send(b"MAIL FROM:<smuggled@x>\r\nafter\r\n.\r\n");
        let verdict = talk.reply();
        assert!(verdict.starts_with("250 "), "{trick:?}: {verdict}");
        talk.ask("QUIT", "221");
        let mail = fetch(house.pop3(), ALICE, &password);
        assert_eq!(mail.len(), n + 1, "{trick:?} made exactly one message");
        let last = &mail[n];
        assert!(last.ends_with("after\r\n"), "{last:?}");
        let lone = last.replace("\r\n", "");
        assert!(!lone.contains('\r') && !lone.contains('\n'), "{last:?}");
    }
}

#[test]
fn a005_a_message_in_single_bytes_is_one_message() {
    let house = House::open(&[]);
    for (before, private) in [(0, false), (1, true)] {
        let mut talk = begin(&house);
        if private {
            // Then each octet is a record of its own.
            talk.ask("STARTTLS", "220");
            talk = talk.shake_hands(&house);
            talk.ask("EHLO client.test", "250");
        }
        open_data(&mut talk);
        for byte in b"Subject: slow\r\n\r\n..x\r\n.\r\n" {
            talk.send(&[*byte]);
        }
        assert!(talk.reply().starts_with("250 "));
        talk.ask("NOOP", "250");
        let mail = fetch(house.pop3(), ALICE, &house.password(ALICE));
        assert_eq!(mail.len(), before + 1);
        assert!(mail[before].ends_with("\r\n\r\n.x\r\n"), "{}", mail[before]);
    }
}

#[test]
fn a006_a_nul_keeps_a_message_out() {
    let house = House::open(&[]);
    let mut talk = begin(&house);
    open_data(&mut talk);
    talk.send(b"Subject: nul\r\n\r\na\0b\r\n.\r\n");
    assert!(talk.reply().starts_with("550 5.6.0"));
    assert!(fetch(house.pop3(), ALICE, &house.password(ALICE)).is_empty());
}

#[test]
fn a026_the_same_recipient_again_and_again_gets_one_copy() {
    let house = House::open(&[]);
    let mut talk = begin(&house);
    talk.ask("MAIL FROM:<>", "250");
    for n in 0..1000 {
        let name = if n % 2 == 0 { ALICE } else { "Alice@RINGPOST.test" };
        talk.ask(&format!("RCPT TO:<{name}>"), "250");
    }
    talk.ask("DATA", "354");
    talk.send(b"Subject: once\r\n\r\n.\r\n");
    assert!(talk.reply().starts_with("250 "));
    assert_eq!(fetch(house.pop3(), ALICE, &house.password(ALICE)).len(), 1);
}

#[test]
fn a023_long_body_lines_are_kept_as_they_are() {
    let house = House::open(&[]);
    let line = "x".repeat(200_000);
    let verdict = post(house.smtp(), "", &[ALICE], &format!("Subject: long\r\n\r\n{line}"));
    assert!(verdict.starts_with("250 "), "{verdict}");
    let mail = fetch(house.pop3(), ALICE, &house.password(ALICE));
    assert_eq!(own(&mail[0]), format!("Subject: long\r\n\r\n{line}\r\n"));
}

#[test]
fn a028_more_than_was_declared_and_more_than_allowed_is_refused_at_the_end() {
    let house = House::open(&["--message-bytes-max", "65536"]);
    let mut talk = begin(&house);
    talk.ask("MAIL FROM:<> SIZE=99999999", "552 5.3.4");
    talk.ask("MAIL FROM:<> SIZE=10", "250");
    talk.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    talk.ask("DATA", "354");
    for _ in 0..100 {
        talk.send(&[&b"y".repeat(1022)[..], b"\r\n"].concat());
    }
    talk.send(b".\r\n");
    assert!(talk.reply().starts_with("552 5.3.4"));
    talk.ask("NOOP", "250");
    assert!(fetch(house.pop3(), ALICE, &house.password(ALICE)).is_empty());
}

#[test]
fn a030_a033_and_a034_nobody_relays() {
    let house = House::open(&[]);
    for sender in ["<>", "<alice@ringpost.test>", "<x@elsewhere.test>"] {
        let mut talk = begin(&house);
        talk.ask(&format!("MAIL FROM:{sender}"), "250");
        for (to, code) in [
            ("<x@elsewhere.test>", "550 5.7.1"),
            ("<user%elsewhere.test@ringpost.test>", "550 5.7.1"),
            ("<alice%ringpost.test@ringpost.test>", "550 5.7.1"),
            ("<elsewhere.test!user@ringpost.test>", "550 5.7.1"),
            ("<\"x@elsewhere.test\"@ringpost.test>", "550 5.7.1"),
            ("<x@elsewhere.test@ringpost.test>", "501 5.1.3"),
            ("<@ringpost.test:x@elsewhere.test>", "550 5.7.1"),
            // A030: no crash, and no mail for whoever a number is.
            ("<alice@[127.0.0.1]>", "550 5.1.2"),
            ("<alice@[IPv6:::1]>", "550 5.1.2"),
            ("<x%elsewhere.test@[127.0.0.1]>", "550 5.7.1"),
            ("<\"\"@ringpost.test>", "550 5.1.1"),
        ] {
            talk.ask(&format!("RCPT TO:{to}"), code);
        }
        talk.ask("DATA", "5");
        talk.ask("RSET", "250");
    }
}

#[test]
fn a047_and_a048_no_name_breaks_out_of_its_trace_field() {
    let house = House::open(&[]);
    let password = house.password(ALICE);
    let long = vec![b'a'; 3_000];
    let names: [&[u8]; 14] = [
        b"[",
        b"[127.0.0.1",
        b"[IPv6:::1] by evil; (x",
        b"a_b",
        b"bare",
        b"h\xf6st.test",
        b"\xff\xfe",
        b"a\0b",
        b"a\rReceived: from evil",
        b"a\tb",
        b"a\x0bb\x7f",
        b"a) by evil (b; Thu, 1 Jan 1970 00:00:00 +0000",
        b"((((\\",
        &long,
    ];
    let mut taken = 0;
    for name in names {
        let shown = String::from_utf8_lossy(&name[..name.len().min(40)]).into_owned();
        let mut talk = Talk::with(house.smtp());
        talk.reply();
        talk.send(&[b"EHLO ", name, b"\r\n"].concat());
        let reply = talk.reply();
        if !reply.starts_with("250") {
            assert!(reply.starts_with("501 5.5.") || reply.starts_with("500 5.5.2"), "{shown}: {reply}");
            continue;
        }
        open_data(&mut talk);
        talk.send(b"Subject: traced\r\n\r\n.\r\n");
        assert!(talk.reply().starts_with("250 "), "{shown}");
        taken += 1;
        let mail = fetch(house.pop3(), ALICE, &password).pop().expect("it was taken");
        let ours = mail.strip_suffix(own(&mail)).expect("our fields come first");
        assert!(ours.bytes().all(|b| matches!(b, b' '..=b'~' | b'\r' | b'\n' | b'\t')), "{shown}: {ours:?}");
        let mut fields: Vec<String> = Vec::new();
        for line in ours.lines() {
            match fields.last_mut() {
                Some(field) if line.starts_with([' ', '\t']) => field.push_str(line),
                _ => fields.push(line.to_owned()),
            }
        }
        let names: Vec<&str> = fields.iter().map(|f| f.split_once(':').expect("a field").0).collect();
        assert_eq!(names, ["Delivered-To", "Return-Path", "Received"], "{shown}: {ours}");
        let received = &fields[2];
        let (clauses, date) = received.rsplit_once(';').expect("a date");
        assert!(
            clauses.matches("\tby ").count() + clauses.matches(" by ").count() == 1
                && date.trim_end().ends_with(" +0000"),
            "{shown}: {received}"
        );
        // Parentheses balance, so that nothing after the name is read as a comment.
        let depth = clauses.bytes().try_fold(0_u32, |depth, b| match b {
            b'(' => Some(depth + 1),
            b')' => depth.checked_sub(1),
            _ => Some(depth),
        });
        assert_eq!(depth, Some(0), "{shown}: {received}");
    }
    assert!(taken >= 3, "{taken} names were taken");
}

#[test]
fn a049_and_a050_looping_mail_is_refused() {
    let house = House::open(&[]);
    let received = "Received: from a by b; Thu, 1 Jan 1970 00:00:00 +0000\r\n".repeat(100);
    let verdict = post(house.smtp(), "", &[ALICE], &format!("{received}Subject: loop\r\n\r\n"));
    assert!(verdict.starts_with("554 5.4.6"), "{verdict}");
    let verdict = post(house.smtp(), "", &[ALICE], &format!("Delivered-To: {ALICE}\r\nSubject: loop\r\n\r\n"));
    assert!(verdict.starts_with("554 5.4.6"), "{verdict}");
    let verdict = post(house.smtp(), "", &[ALICE], "Delivered-To: bob@ringpost.test\r\nSubject: fine\r\n\r\n");
    assert!(verdict.starts_with("250 "), "{verdict}");
}

#[test]
fn a051_monstrous_headers_are_refused() {
    let house = House::open(&[]);
    let cases = [
        ("field", format!("Subject: {}\r\n\r\nx", "y".repeat(150 << 10)), "552 5.3.4"),
        ("many", format!("{}\r\nx", "A: b\r\n".repeat(50_000)), "550 5.6.0"),
        ("folded", format!("Subject: x\r\n{}\r\nx", " y\r\n".repeat(1_000_000)), "552 5.3.4"),
        ("block", format!("{}\r\nx", format!("A: {}\r\n", "z".repeat(90 << 10)).repeat(14)), "552 5.3.4"),
    ];
    for (name, message, code) in cases {
        let verdict = post(house.smtp(), "", &[ALICE], &message);
        assert!(verdict.starts_with(code), "{name}: {verdict}");
    }
    assert!(fetch(house.pop3(), ALICE, &house.password(ALICE)).is_empty());
}

#[test]
fn a052_a_message_without_its_end_is_not_kept() {
    let house = House::open(&[]);
    for _ in 0..20 {
        let mut talk = begin(&house);
        open_data(&mut talk);
        talk.send(b"Subject: half\r\n\r\nhalf a mess");
    }
    let mut talk = begin(&house);
    open_data(&mut talk);
    talk.send(b"Subject: half\r\n\r\n.\r\nQUIT\r\n"[..15].as_ref());
    drop(talk);
    assert!(fetch(house.pop3(), ALICE, &house.password(ALICE)).is_empty());
}

#[test]
fn a053_a_client_that_leaves_after_the_dot_left_a_whole_message_or_none() {
    let house = House::open(&[]);
    for _ in 0..20 {
        let mut talk = begin(&house);
        open_data(&mut talk);
        talk.send(b"Subject: left\r\n\r\nwhole\r\n.\r\n");
    }
    let mail = fetch(house.pop3(), ALICE, &house.password(ALICE));
    assert!(mail.len() <= 20);
    for one in &mail {
        assert_eq!(own(one), "Subject: left\r\n\r\nwhole\r\n");
    }
}

#[test]
fn a044_a_browser_is_sent_away() {
    let house = House::open(&[]);
    for verb in ["GET / HTTP/1.1", "POST /x HTTP/1.0", "CONNECT a:1 HTTP/1.1", "Host: x"] {
        let mut talk = Talk::with(house.smtp());
        talk.reply();
        talk.ask(verb, "421 4.7.0");
        assert!(talk.rest().is_empty());
    }
}

#[test]
fn a057_one_address_cannot_take_all_places_unless_it_is_exempt() {
    // The house exempts 127.0.0.0/8; ::1 is nobody's friend.
    let house = House::open(&[]);
    let at: std::net::SocketAddr = (std::net::Ipv6Addr::LOCALHOST, house.smtp().port()).into();
    let Ok(probe) = std::net::TcpStream::connect(at) else {
        // A host without IPv6 has no such door, and the log says so.
        assert!(house.log().contains("door left out"), "{}", house.log());
        return;
    };
    drop(probe);
    let mut talks = Vec::new();
    let mut refused = 0;
    // Twice the bound for two shards, and some.
    for _ in 0..220 {
        let mut stream = std::net::TcpStream::connect(at).expect("connecting");
        let mut first = [0; 4];
        stream.read_exact(&mut first).expect("a greeting");
        match &first {
            b"220 " => talks.push(stream),
            b"421 " => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused >= 100, "{refused} of 220 were refused");
    assert!(talks.len() >= 50, "{} were welcome", talks.len());
    // Another address is still welcome.
    post(house.smtp(), "", &[ALICE], "Subject: room\r\n\r\n");
}

#[test]
fn a104_and_a102_literals_before_login_are_bounded() {
    let house = House::open(&[]);
    let mut talk = Talk::with(house.imap());
    talk.hear();
    talk.say("a LOGIN {4294967295}");
    assert!(talk.hear().starts_with("a BAD"), "an absurd literal is refused before it is read");
    let mut talk = Talk::with(house.imap());
    talk.hear();
    talk.say("a LOGIN {1000000+}");
    let said = String::from_utf8_lossy(&talk.rest()).into_owned();
    assert!(said.contains("* BYE"), "{said}");
}

#[test]
fn a111_and_a144_a_wrong_password_and_an_unknown_user_hear_the_same() {
    let house = House::open(&[]);
    let mut answers = Vec::new();
    for name in [ALICE, "nobody@ringpost.test", "nobody@nowhere.test"] {
        let mut imap = Talk::with(house.imap());
        imap.hear();
        imap.say(&format!("a LOGIN {name} wrong"));
        let imap = imap.hear();
        let mut pop3 = Talk::with(house.pop3());
        pop3.hear();
        pop3.pop3(&format!("USER {name}"));
        pop3.say("PASS wrong");
        answers.push((imap, pop3.hear()));
    }
    assert!(answers[0].0.starts_with("a NO [AUTHENTICATIONFAILED]"), "{answers:?}");
    assert!(answers[0].1.starts_with("-ERR [AUTH]"), "{answers:?}");
    assert!(answers.iter().all(|a| *a == answers[0]), "{answers:?}");
}

#[test]
fn a122_an_append_cut_off_leaves_nothing() {
    let house = House::open(&[]);
    let password = house.password(ALICE);
    let mut imap = Talk::with(house.imap());
    imap.hear();
    imap.imap(&format!("LOGIN {ALICE} {password}"), "OK");
    imap.say("a APPEND INBOX {1000}");
    imap.hear();
    imap.send(b"Subject: half\r\n\r\n");
    drop(imap);
    assert!(fetch(house.pop3(), ALICE, &password).is_empty());
}
