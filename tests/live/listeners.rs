//! Doors with rules of their own.

use crate::house::{House, PATIENCE, Talk};

/// The doors that a house must have, and these.
fn with(listeners: &str) -> House {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(dir.path().join("data")).expect("a folder");
    let usual = [("smtp", 2525), ("imap", 2143), ("pop3", 2110)];
    let mut text: String = usual
        .map(|(service, port)| format!("[[listener]]\nservice = \"{service}\"\naddress = \"127.0.0.1:{port}\"\n"))
        .concat();
    text += listeners;
    std::fs::write(dir.path().join("data/ringpost.toml"), text).expect("a file");
    House::open_in(dir, &["--shards", "1"])
}

#[test]
fn tls_comes_inside_what_a_balancer_says() {
    let house = with(
        "[[listener]]\nservice = \"imap\"\ntls = \"implicit\"\naddress = \"127.0.0.1:2993\"\nproxy_from = [\"127.0.0.0/8\"]\n",
    );
    let mut talk = Talk::with(house.door(2993));
    talk.send(b"PROXY TCP6 2001:db8::7 2001:db8::1 50312 993\r\n");
    let mut talk = talk.shake_hands(&house);
    assert!(talk.hear().starts_with("* OK "));
    talk.imap("LOGOUT", "OK");
    // Without its header the same handshake has no answer.
    let mut hasty = Talk::with(house.door(2993));
    hasty.send(b"\x16\x03\x01\x00\x05hello");
    assert!(hasty.rest().is_empty());
}

#[test]
fn a_handshake_is_hidden_from_a_table_of_broken_peers() {
    let house = with(
        "[[listener]]\nservice = \"mx\"\naddress = \"127.0.0.1:2526\"\nhide_starttls_from = [\"127.0.0.0/8\"]\n\
         [[listener]]\nservice = \"mx\"\naddress = \"127.0.0.1:2527\"\ntls = \"required\"\n",
    );
    assert!(ehlo(&house, 2525).1.contains("STARTTLS"));
    let (mut hidden, offered) = ehlo(&house, 2526);
    assert!(!offered.contains("STARTTLS"), "{offered}");
    hidden.ask("STARTTLS", "502 5.5.1");
    hidden.ask("MAIL FROM:<>", "250");
    let (mut strict, offered) = ehlo(&house, 2527);
    assert!(offered.contains("STARTTLS"), "{offered}");
    strict.ask("MAIL FROM:<>", "530 5.7.0");
}

fn ehlo(house: &House, port: u16) -> (Talk, String) {
    let mut talk = Talk::with(house.door(port));
    talk.reply();
    let said = talk.ask("EHLO client.test", "250");
    (talk, said)
}

#[test]
fn a057_a_door_has_a_bound_of_its_own() {
    let house = with("[[listener]]\nservice = \"mx\"\naddress = \"127.0.0.1:2526\"\nconnections_max = 1\n");
    let mut one = Talk::with(house.door(2526));
    one.reply();
    let mut two = Talk::with(house.door(2526));
    assert!(two.reply().starts_with("421 4.3.2 "));
    assert!(two.rest().is_empty());
    ehlo(&house, 2525);
    one.ask("QUIT", "221");
    let began = std::time::Instant::now();
    // The place is free when the farewell is over.
    while !Talk::with(house.door(2526)).reply().starts_with("220 ") {
        assert!(began.elapsed() < PATIENCE, "the place is not given back");
    }
}
