//! TLS at the doors of a whole node: the handshake, the wall, the hand-off, the ends; in the simulated world.

use std::net::SocketAddr;
use std::time::Duration;

use ringpost::boot::node::Node;
use ringpost::config::DoorPlan;
use ringpost::limits;
use ringpost::net::tickets;
use ringpost::net::tls::UNFINISHED_BYTES_MAX;
use ringpost::observe::{self, Counter};
use ringpost::office::Settings;
use ringpost::serve::Service;
use ringpost::shard;
use ringpost::shard::sim::{NodeId, World};

use crate::node::{self, DOMAIN};
use crate::secure::{self, Client};

fn at(service: Service) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], service.port()))
}

/// Every door, no login without TLS; connections are accepted by shard 1 alone, so alice and carol live elsewhere.
fn plan(world: &World) -> Node {
    let plain = node::plan(world, false, None);
    let services = Service::ALL.into_iter().filter(|s| !matches!(s, Service::Http | Service::Sendmail));
    Node {
        settings: Settings {
            tls: Some(secure::acceptors()),
            plaintext_auth_networks: Vec::new(),
            exempt_networks: Vec::new(),
            ..plain.settings.clone()
        },
        doors: services.map(|service| DoorPlan::plain(service, at(service))).collect(),
        accept_on: vec![1],
        ..plain
    }
}

fn start(world: &World) -> NodeId {
    let plan = plan(world);
    node::settle(world, 2, &plan);
    node::start_as(world, 2, plan)
}

/// Runs `story` against a node of this seed.
fn with_node<F: Future<Output = ()>>(seed: u64, story: impl FnOnce() -> F) {
    let world = World::new(seed);
    let node = start(&world);
    world.run_until(async {
        opened().await;
        story().await;
        shard::sleep(Duration::from_millis(1)).await;
    });
    world.run_until(async { world.stop(node).await.expect("an orderly end") });
    assert_eq!(world.panics(), [""; 0]);
}

async fn opened() {
    for _ in 0..1_000 {
        if let Ok(mut client) = Client::connect(at(Service::Smtp)).await
            && client.line().await.is_ok()
        {
            return;
        }
        shard::sleep(Duration::from_millis(10)).await;
    }
    panic!("the doors do not open");
}

async fn secured(service: Service) -> Client {
    let mut client = Client::connect(at(service)).await.expect("the door is open");
    client.shake_hands(secure::client(), usize::MAX).await.expect("a handshake");
    client
}

/// Lines up to the one that begins with `last`.
async fn up_to(client: &mut Client, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        all.push(client.line().await.expect("connected"));
        if all.last().is_some_and(|l| l.starts_with(last)) {
            return all;
        }
    }
}

/// One conversation that is handed over with everything behind the login already sent.
async fn handed_over(seed: u64) {
    let mut client = secured(Service::Imaps).await;
    assert!(client.line().await.expect("a greeting").starts_with("* OK"));
    let commands = 20 + seed as usize % 30;
    let letter = format!("Subject: {seed}\r\n\r\n{}\r\n", "x".repeat(seed as usize * 997 % 20_000));
    let mut text = format!("login LOGIN alice@{DOMAIN} secret-of-alice\r\nselect SELECT INBOX\r\n");
    text += &format!("append APPEND INBOX {{{}+}}\r\n{letter}\r\n", letter.len());
    for n in 0..commands {
        text += &format!("t{n} NOOP\r\n");
    }
    text += "fetch UID FETCH 1:* (RFC822.SIZE)\r\n";
    text += "away STORE 1:* +FLAGS.SILENT (\\Deleted)\r\nclose CLOSE\r\nbye LOGOUT\r\n";
    // In pieces that the seed chooses, so that the hand-off finds more or less of it already there.
    for part in text.as_bytes().chunks(200 + seed as usize * 7_919 % text.len()) {
        client.say(part).await.expect("connected");
    }
    let (said, whole) = client.rest().await;
    let said = String::from_utf8(said).expect("UTF-8");
    assert!(whole, "an end without close_notify");
    let tagged: Vec<&str> =
        said.lines().filter(|l| !l.starts_with('*')).map(|l| l.split_once(" OK").expect("OK").0).collect();
    let mut expected = vec!["login".to_owned(), "select".to_owned(), "append".to_owned()];
    expected.extend((0..commands).map(|n| format!("t{n}")));
    expected.extend(["fetch", "away", "close", "bye"].map(str::to_owned));
    assert_eq!(tagged, expected, "each command once and in order");
    let sizes: Vec<&str> = said.lines().filter(|l| l.contains("RFC822.SIZE")).collect();
    assert_eq!(sizes.len(), 1, "the message is there once: {sizes:?}");
    assert!(sizes[0].contains(&format!("RFC822.SIZE {})", letter.len())), "{sizes:?}");
}

#[test]
fn three_hundred_conversations_are_handed_over_under_tls_and_nothing_is_lost_or_doubled() {
    const TALKS: u64 = 15;
    for seed in 0..20 {
        let before = observe::here(Counter::HandoffsIn);
        with_node(seed, || async {
            for talk in 0..TALKS {
                handed_over(seed * TALKS + talk).await;
            }
        });
        // Shard 1 accepted them; alice's volume is open on shard 0 alone, where nothing is accepted.
        assert_eq!(observe::here(Counter::HandoffsIn) - before, TALKS, "seed {seed}");
    }
}

#[test]
fn a_login_by_starttls_is_handed_over_too() {
    for seed in 0..20 {
        with_node(seed, || async {
            let mut client = Client::connect(at(Service::Pop3)).await.expect("the door is open");
            assert!(client.line().await.expect("a greeting").starts_with("+OK"));
            client.say("STLS\r\n").await.expect("connected");
            assert!(client.line().await.expect("an answer").starts_with("+OK"));
            client.shake_hands(secure::client(), 1 + seed as usize * 100).await.expect("a handshake");
            client
                .say(format!("USER alice@{DOMAIN}\r\nPASS secret-of-alice\r\nSTAT\r\nNOOP\r\nQUIT\r\n"))
                .await
                .expect("connected");
            let said = String::from_utf8(client.rest().await.0).expect("UTF-8");
            assert_eq!(said.lines().filter(|l| l.starts_with("+OK")).count(), 5, "{said}");
        });
    }
}

#[test]
fn a008_a109_a142_what_is_sent_with_starttls_is_never_executed() {
    // What is said once, because the second time it would answer what was injected; SMTP: what is never said.
    let walls = [
        (Service::Smtp, "EHLO x\r\n", "STARTTLS\r\n", "MAIL FROM:<injected@example.org>\r\n", "2.1.0", 0),
        (Service::Imap, "a CAPABILITY\r\n", "b STARTTLS\r\n", "c CAPABILITY\r\n", "* CAPABILITY", 1),
        (Service::Pop3, "CAPA\r\n", "STLS\r\n", "CAPA\r\n", "STLS\r\n", 1),
    ];
    for (service, before, starttls, injected, sign, times) in walls {
        let text = format!("{before}{starttls}{injected}");
        let wall = before.len() + starttls.len();
        for seed in 0..3 {
            // Cut before the last octet of STARTTLS: what is injected comes in the same breath.
            for cut in [1, before.len(), wall - 1] {
                let attacks = observe::here(Counter::StartTlsInjections);
                with_node(seed, || async {
                    let mut client = Client::connect(at(service)).await.expect("the door is open");
                    client.say(&text[..cut]).await.expect("connected");
                    client.say(&text[cut..]).await.expect("connected");
                    let said = String::from_utf8(client.rest().await.0).expect("UTF-8");
                    assert_eq!(said.matches(sign).count(), times, "executed: {said}");
                    assert!(
                        !said.contains("220 2.0.0") && !said.contains("b OK") && !said.contains("+OK begin"),
                        "{said}"
                    );
                    let farewell = said.lines().last().unwrap_or_default();
                    assert!(["4", "5", "* BYE", "-ERR"].iter().any(|w| farewell.starts_with(w)), "{farewell}");
                });
                assert_eq!(observe::here(Counter::StartTlsInjections), attacks + 1, "cut at {cut}");
            }
        }
    }
}

#[test]
fn a093_a_handshake_octet_by_octet_is_done_and_one_that_stands_still_is_cut() {
    with_node(1, || async {
        let mut client = Client::connect(at(Service::Imaps)).await.expect("the door is open");
        client.shake_hands(secure::client(), 1).await.expect("a handshake");
        assert!(client.line().await.expect("a greeting").starts_with("* OK"));
        let began = shard::now();
        let mut silent = Client::connect(at(Service::Imaps)).await.expect("the door is open");
        silent.say_raw(b"\x16\x03").await.expect("connected");
        assert_eq!(silent.rest().await.0, b"");
        let waited = shard::now().since(began).as_secs();
        assert!((limits::HANDSHAKE_S..limits::HANDSHAKE_S + 3).contains(&waited), "{waited} s");
    });
}

#[test]
fn a093_one_address_has_only_so_many_handshakes_under_way() {
    with_node(2, || async {
        let mut waiting = Vec::new();
        for _ in 0..limits::HANDSHAKES_PER_ADDRESS_MAX {
            waiting.push(Client::connect(at(Service::Imaps)).await.expect("the door is open"));
        }
        shard::sleep(Duration::from_millis(100)).await;
        let mut one_more = Client::connect(at(Service::Imaps)).await.expect("the door is open");
        assert!(one_more.shake_hands(secure::client(), usize::MAX).await.is_err());
        waiting.pop().expect("some").cut_off().await;
        shard::sleep(Duration::from_secs(5)).await;
        let mut served = secured(Service::Imaps).await;
        assert!(served.line().await.expect("a greeting").starts_with("* OK"));
    });
}

#[test]
fn a045_plain_words_where_tls_comes_first_are_not_echoed() {
    with_node(3, || async {
        for service in Service::ALL.into_iter().filter(|s| s.tls_first()) {
            let mut client = Client::connect(at(service)).await.expect("the door is open");
            client.say_raw(b"EHLO echoed.example.org\r\n").await.expect("connected");
            let (said, _) = client.rest().await;
            assert!(said.len() <= 7 && !said.windows(4).any(|w| w == b"echo"), "an alert at most: {said:?}");
        }
    });
}

#[test]
fn a045_a_client_hello_where_plain_words_come_first_is_not_echoed() {
    with_node(4, || async {
        for service in [Service::Smtp, Service::Submission, Service::Imap, Service::Pop3] {
            let mut client = Client::connect(at(service)).await.expect("the door is open");
            client.line().await.expect("a greeting");
            client.say_raw(b"\x16\x03\x01\x00\x05\x01echo\r\n").await.expect("connected");
            assert_eq!(client.rest().await.0, b"", "{service:?}");
        }
    });
}

#[test]
fn a095_a_client_that_speaks_another_protocol_is_refused() {
    with_node(5, || async {
        let mut config = secure::client();
        for (alpn, welcome) in [("imap", true), ("http/1.1", false), ("h2", false), ("smtp", false)] {
            config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
            let mut client = Client::connect(at(Service::Imaps)).await.expect("the door is open");
            let shaken = client.shake_hands(config.clone(), usize::MAX).await;
            let greeted = shaken.is_ok() && client.line().await.is_ok();
            assert_eq!(greeted, welcome, "{alpn}");
        }
    });
}

#[test]
fn a098_a_letter_cut_off_under_tls_is_not_a_letter() {
    with_node(6, || async {
        let mut client = secured(Service::Imaps).await;
        client.line().await.expect("a greeting");
        client.say(format!("a LOGIN bob@{DOMAIN} secret-of-bob\r\n")).await.expect("connected");
        up_to(&mut client, "a OK").await;
        client.say("b APPEND INBOX {1000+}\r\nSubject: half").await.expect("connected");
        client.cut_off().await;
        shard::sleep(Duration::from_secs(1)).await;
        let mut again = secured(Service::Imaps).await;
        again.line().await.expect("a greeting");
        again
            .say(format!("a LOGIN bob@{DOMAIN} secret-of-bob\r\nb STATUS INBOX (MESSAGES)\r\n"))
            .await
            .expect("connected");
        let said = up_to(&mut again, "b OK").await;
        assert!(said.iter().any(|l| l.contains("MESSAGES 0")), "{said:?}");
    });
}

#[test]
fn a110_a143_a013_no_password_is_taken_without_tls() {
    with_node(7, || async {
        let tries: [(Service, &str, &str); 3] = [
            (Service::Imap, "a LOGIN alice@ringpost.test secret-of-alice\r\n", "a NO [PRIVACYREQUIRED]"),
            (Service::Pop3, "USER alice@ringpost.test\r\n", "-ERR passwords are not accepted without TLS"),
            (Service::Submission, "AUTH PLAIN AGEAYg==\r\n", "538 5.7.11 "),
        ];
        for (service, words, refusal) in tries {
            let mut client = Client::connect(at(service)).await.expect("the door is open");
            client.line().await.expect("a greeting");
            client.say(words).await.expect("connected");
            let said = client.line().await.expect("an answer");
            assert!(said.starts_with(refusal), "{service:?}: {said}");
        }
    });
}

#[test]
fn a013_a_grant_of_logins_without_tls_ends_on_its_day() {
    let world = World::new(17);
    let today = plan(&world);
    node::settle(&world, 2, &today);
    let wall_ms = world.run_until(async { shard::wall_ms() });
    let settings = Settings {
        plaintext_auth_networks: vec!["127.0.0.0/8".parse().expect("a network")],
        plaintext_auth_until_ms: Some(wall_ms + 3_600_000),
        ..today.settings.clone()
    };
    node::start_as(&world, 2, Node { settings, ..today });
    world.run_until(async {
        opened().await;
        for granted in [true, false] {
            let mut client = Client::connect(at(Service::Imap)).await.expect("the door is open");
            assert_eq!(client.line().await.expect("a greeting").contains("LOGINDISABLED"), !granted);
            client.say(format!("a LOGIN alice@{DOMAIN} secret-of-alice\r\n")).await.expect("connected");
            let said = client.line().await.expect("an answer");
            assert!(said.starts_with(if granted { "a OK" } else { "a NO [PRIVACYREQUIRED]" }), "{said}");
            shard::sleep(Duration::from_secs(3_600)).await;
        }
    });
}

#[test]
fn a_second_handshake_resumes_the_first() {
    with_node(8, || async {
        let config = secure::client();
        let resumed = observe::here(Counter::TlsResumed13);
        for _ in 0..3 {
            let mut client = Client::connect(at(Service::Imaps)).await.expect("the door is open");
            client.shake_hands(config.clone(), usize::MAX).await.expect("a handshake");
            client.line().await.expect("a greeting");
        }
        assert_eq!(observe::here(Counter::TlsResumed13) - resumed, 2);
    });
}

#[test]
fn half_a_record_crosses_to_the_other_shard_and_is_whole_there() {
    with_node(9, || async {
        for cut in [1, 4, 5, 6, 20, 40] {
            let mut client = secured(Service::Imaps).await;
            client.line().await.expect("a greeting");
            client.say(format!("a LOGIN alice@{DOMAIN} secret-of-alice\r\n")).await.expect("connected");
            // The beginning of a record arrives while the login is verified, its end when the other shard has the connection.
            let rest = client.say_part(b"b SELECT INBOX\r\n", cut).await.expect("connected");
            up_to(&mut client, "a OK").await;
            shard::sleep(Duration::from_millis(50)).await;
            client.say_raw(&rest).await.expect("connected");
            up_to(&mut client, "b OK").await;
        }
    });
    assert_eq!(observe::here(Counter::HandoffsIn), 6);
}

/// What the server answers to octets where a handshake is due; it is to end the connection.
async fn answer_to(pieces: &[&[u8]]) -> Vec<u8> {
    let mut client = Client::connect(at(Service::Imaps)).await.expect("the door is open");
    for piece in pieces {
        // It may be closed by now.
        let _ = client.say_raw(piece).await;
        shard::sleep(Duration::from_millis(50)).await;
    }
    client.rest().await.0
}

const ALERT: u8 = 0x15;

#[test]
fn a097_a_message_begun_and_broken_off_is_answered_with_an_alert_and_harms_nobody() {
    with_node(10, || async {
        // A handshake message that announces 65,535 octets, and then something else.
        let begun: &[u8] = b"\x16\x03\x01\x00\x04\x01\x00\xff\xff";
        let then: [&[u8]; 6] = [
            b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            b"\x15\x03\x01\x00\x02\x01\x00",
            b"\x14\x03\x03\x00\x01\x01",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\x48\x01",
        ];
        for broken in then {
            for pieces in [vec![begun, broken], vec![&[begun, broken].concat()[..]]] {
                let said = answer_to(&pieces).await;
                assert!(said.is_empty() || said[0] == ALERT, "{broken:x?}: {said:x?}");
            }
        }
        let said = answer_to(&[b"\x16\x03\x01\x00\x04\x01\x01\x00\x00", b"\x16\x03\x01\x00\x01A"]).await;
        assert!(said.is_empty() || said[0] == ALERT, "a message that is too large: {said:x?}");
        let mut next = secured(Service::Imaps).await;
        assert!(next.line().await.expect("a greeting").starts_with("* OK"));
    });
}

#[test]
fn a097_a_message_without_end_is_not_gathered() {
    with_node(11, || async {
        let mut client = Client::connect(at(Service::Imaps)).await.expect("the door is open");
        client.say_raw(b"\x16\x03\x01\x00\x04\x01\x00\xff\xff").await.expect("connected");
        // One octet of the message a record.
        let record = b"\x16\x03\x01\x00\x01a".repeat(500);
        let began = shard::now();
        let mut sent = 0;
        while sent < 1 << 20 && client.say_raw(&record).await.is_ok() {
            sent += record.len();
            shard::sleep(Duration::from_millis(1)).await;
        }
        assert!(sent <= UNFINISHED_BYTES_MAX + 20 * record.len(), "{sent} octets were taken");
        assert!(shard::now().since(began).as_secs() < limits::HANDSHAKE_S, "cut for its size, not for its time");
    });
}

#[test]
fn a094_older_versions_are_refused() {
    with_node(12, || async {
        // TLS 1.1 and an SSLv2 hello that offers TLS 1.0.
        let mut old = secure::hello("localhost");
        let versions = memchr::memmem::find(&old, b"\x00\x2b\x00").expect("the extension of versions");
        // Another extension in its place, so that only the old field speaks: TLS 1.1.
        old[versions..versions + 2].copy_from_slice(b"\xfa\xfa");
        old[9..11].copy_from_slice(b"\x03\x02");
        assert_eq!(answer_to(&[&old]).await.first(), Some(&ALERT));
        let sslv2 = b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10\x01\x00\x80";
        let said = answer_to(&[sslv2]).await;
        assert!(said.is_empty() || said[0] == ALERT, "{said:x?}");
    });
}

#[test]
fn a096_a_name_that_nobody_has_gets_the_default_and_one_that_is_none_an_alert() {
    with_node(13, || async {
        for name in ["aaaaaaaaa", "elsewhere", "localhost"] {
            let mut client = Client::connect(at(Service::Imaps)).await.expect("the door is open");
            client.say_raw(&secure::hello(name)).await.expect("connected");
            assert_eq!(client.first().await, Some(0x16), "{name}: the certificate there is");
        }
        // Names that are none, in the place of one.
        let template = secure::hello("localhost");
        let there = memchr::memmem::find(&template, b"localhost").expect("the name in the clear");
        for name in [b"../../etc", b"127.0.0.1", b"a\0c.d.e.f", b"\xff\xfe\xfd\xfcaaaaa", b"........."] {
            let mut hello = template.clone();
            hello[there..there + 9].copy_from_slice(name);
            let mut client = Client::connect(at(Service::Imaps)).await.expect("the door is open");
            client.say_raw(&hello).await.expect("connected");
            let first = client.first().await;
            assert!(matches!(first, Some(0x16 | ALERT)), "{}: {first:?}", name.escape_ascii());
        }
    });
}

#[test]
fn a093_a_hello_of_one_octet_records_is_understood() {
    with_node(14, || async {
        let hello = secure::hello("localhost");
        let mut split = Vec::new();
        for octet in &hello[5..] {
            split.extend_from_slice(&[0x16, 3, 1, 0, 1, *octet]);
        }
        let mut client = Client::connect(at(Service::Imaps)).await.expect("the door is open");
        client.say_raw(&split).await.expect("connected");
        assert_eq!(client.first().await, Some(0x16), "a server's hello");
    });
}

#[test]
fn a099_a_ticket_is_good_at_its_own_door_alone() {
    with_node(15, || async {
        let config = secure::client();
        let resumed = observe::here(Counter::TlsResumed13);
        for service in [Service::Imaps, Service::Submissions, Service::Pop3s] {
            let mut client = Client::connect(at(service)).await.expect("the door is open");
            client.shake_hands(config.clone(), usize::MAX).await.expect("a handshake");
            client.line().await.expect("a greeting");
        }
        assert_eq!(observe::here(Counter::TlsResumed13), resumed);
    });
}

#[test]
fn what_comes_in_the_clear_behind_our_answer_belongs_to_tls() {
    with_node(16, || async {
        let mut client = Client::connect(at(Service::Smtp)).await.expect("the door is open");
        client.line().await.expect("a greeting");
        client.say("STARTTLS\r\n").await.expect("connected");
        assert!(client.line().await.expect("an answer").starts_with("220"));
        client.say_raw(b"EHLO injected.example.org\r\nMAIL FROM:<>\r\n").await.expect("connected");
        let said = client.rest().await.0;
        assert!(said.is_empty() || said[0] == ALERT, "{said:x?}");
    });
}

#[test]
fn a099_tickets_end_when_the_time_of_their_keys_is_over() {
    with_node(18, || async {
        let config = secure::client();
        let resumed = || observe::here(Counter::TlsResumed13);
        let come = || async {
            let mut client = Client::connect(at(Service::Imaps)).await.expect("the door is open");
            client.shake_hands(config.clone(), usize::MAX).await.expect("a handshake");
            client.line().await.expect("a greeting");
        };
        let before = resumed();
        come().await;
        // The keys have changed, and those before are still known.
        shard::sleep(Duration::from_secs(u64::from(tickets::KEY_S) + 60)).await;
        come().await;
        assert_eq!(resumed() - before, 1);
        // The ticket of that second visit is forgotten with its keys: nobody came for the time of two.
        shard::sleep(Duration::from_secs(2 * u64::from(tickets::KEY_S) + 60)).await;
        come().await;
        assert_eq!(resumed() - before, 1);
        come().await;
        assert_eq!(resumed() - before, 2);
    });
}

#[test]
fn a097_keys_may_be_changed_now_and_then_and_a_flood_of_changes_is_cut() {
    with_node(19, || async {
        let mut client = secured(Service::Imaps).await;
        client.line().await.expect("a greeting");
        for turn in 0..100 {
            client.change_keys().await.expect("connected");
            client.say(format!("t{turn} NOOP\r\n")).await.expect("connected");
            up_to(&mut client, &format!("t{turn} OK")).await;
        }
        let mut changes = 0;
        while changes < 10_000 && client.change_keys().await.is_ok() {
            changes += 1;
            shard::sleep(Duration::from_millis(1)).await;
        }
        assert!(changes < 1_000, "{changes} changes were taken");
    });
}

#[test]
fn a097_nobody_is_offered_early_data() {
    with_node(20, || async {
        let mut config = secure::client();
        config.enable_early_data = true;
        for _ in 0..2 {
            let mut client = Client::connect(at(Service::Imaps)).await.expect("the door is open");
            client.shake_hands(config.clone(), usize::MAX).await.expect("a handshake");
            client.line().await.expect("a greeting");
            assert!(!secure::would_send_early(config.clone()));
        }
    });
}
