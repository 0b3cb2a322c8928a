//! What submission is told by the configuration file: which mechanisms are offered where, and whose addresses a login may write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::house::{House, Talk};

const ALICE: &str = "alice@ringpost.test";
const BOB: &str = "bob@ringpost.test";

const FILE: &str = "\
[login]
mechanisms = [\"scram-sha-256\", \"PLAIN\"]
[submission]
sender = \"mail\"
[[listener]]
service = \"submission\"
address = \"127.0.0.1:2587\"
[[listener]]
service = \"submission\"
address = \"127.0.0.1:2588\"
mechanisms = [\"PLAIN\", \"LOGIN\", \"SCRAM-SHA-256-PLUS\"]
[[listener]]
service = \"mx\"
address = \"127.0.0.1:2525\"
[[listener]]
service = \"imap\"
address = \"127.0.0.1:2143\"
[[listener]]
service = \"pop3\"
address = \"127.0.0.1:2110\"
";

fn house() -> House {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(dir.path().join("data")).expect("a folder");
    std::fs::write(dir.path().join("data/ringpost.toml"), FILE).expect("a file");
    House::open_in(dir, &["--shards", "1"])
}

/// What EHLO offers of AUTH at this door, under TLS.
fn offered(house: &House, port: u16) -> (Talk, String) {
    let mut talk = Talk::with(house.door(port));
    talk.reply();
    talk.ask("EHLO client.test", "250");
    talk.ask("STARTTLS", "220");
    let mut talk = talk.shake_hands(house);
    talk.say("EHLO client.test");
    let said = talk.hear_until(|line| line.starts_with("250 "));
    let auth = said.iter().find_map(|line| line[4..].strip_prefix("AUTH ")).expect("AUTH").to_owned();
    (talk, auth)
}

#[test]
fn each_door_offers_the_mechanisms_that_it_may_and_from_is_looked_at_where_it_is_to_be() {
    let house = house();
    let (mut talk, auth) = offered(&house, 2587);
    assert_eq!(auth, "SCRAM-SHA-256 PLAIN");
    // What is not offered is not there.
    talk.ask("AUTH SCRAM-SHA-256-PLUS", "504");
    talk.ask("AUTH LOGIN", "504");
    let plain = STANDARD.encode(format!("\0{ALICE}\0{}", house.password(ALICE)));
    talk.ask(&format!("AUTH PLAIN {plain}"), "235");
    talk.ask(&format!("MAIL FROM:<{BOB}>"), "553 5.7.1");
    talk.ask(&format!("MAIL FROM:<{ALICE}>"), "250");
    talk.ask(&format!("RCPT TO:<{BOB}>"), "250");
    talk.ask("DATA", "354");
    talk.ask(&format!("From: {BOB}\r\n\r\nredirected as it is\r\n."), "250");

    let (_, auth) = offered(&house, 2588);
    assert_eq!(auth, "SCRAM-SHA-256-PLUS PLAIN LOGIN");
    let mut imap = Talk::with(house.imap());
    imap.hear();
    let offers = imap.imap("CAPABILITY", "OK").join(" ");
    assert!(offers.contains("AUTH=SCRAM-SHA-256 AUTH=PLAIN ") && !offers.contains("AUTH=LOGIN"), "{offers}");
    imap.imap(&format!("LOGIN {ALICE} {}", house.password(ALICE)), "OK");
    let (code, shown, wrong) = house.verb(&["config", "show"], "");
    assert_eq!((code, wrong.as_str()), (0, ""));
    assert!(shown.contains("mechanisms = [\"SCRAM-SHA-256-PLUS\", \"PLAIN\", \"LOGIN\"]"), "{shown}");
}
