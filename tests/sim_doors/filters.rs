//! Filters where other hosts bring mail: what each of them hears, with a resolver of the test.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringpost::boot::node::Node;
use ringpost::filter::{self, Mode, RefuseAt, greylist, helo};
use ringpost::limits::FILTER_QUESTIONS_MAX;
use ringpost::shard;
use ringpost::shard::sim::{DatagramDoor, NodeId, World};
use serde_json::json;

use crate::{Client, POP3, SMTP, SUBMISSION, accounts, operator, plan, start_as};

const A: u16 = 1;
const MX: u16 = 15;
const TXT: u16 = 16;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
/// A client of a public address.
const STRANGER: [u8; 4] = [192, 0, 2, 99];

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let octets = labels.flat_map(|l| [&[u8::try_from(l.len()).expect("a label")], l.as_bytes()].concat());
    octets.chain([0]).collect()
}

/// What the names of the test's world have. `None`: silence.
fn zone(name: &str, kind: u16) -> Option<Result<Vec<Vec<u8>>, u8>> {
    let text = |text: &str| vec![[&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()];
    Some(match (name, kind) {
        ("good.test", MX) => Ok(vec![[&[0, 10][..], &wire("mx.good.test")].concat()]),
        ("null.test", MX) => Ok(vec![vec![0, 0, 0]]),
        ("address.test" | "mx.good.test", A) => Ok(vec![vec![192, 0, 2, 10]]),
        ("good.test" | "null.test" | "address.test" | "mx.good.test" | "bare.test", _) => Ok(Vec::new()),
        (broken, _) if broken.ends_with("broken.test") => Err(SERVFAIL),
        ("99.2.0.192.bl.test", A) => Ok(vec![vec![127, 0, 0, 2]]),
        ("99.2.0.192.bl.test", TXT) => Ok(text("see https://bl.test/\r\nthere")),
        ("98.2.0.192.bl.test", A) => Ok(vec![vec![127, 255, 255, 254]]),
        ("97.2.0.192.bl.test" | "97.2.0.192.wl.test", A) => Ok(vec![vec![127, 0, 0, 3]]),
        ("96.2.0.192.wl.test", A) => Ok(vec![vec![127, 0, 5, 2]]),
        (silent, _) if silent.ends_with("silent.test") => return None,
        _ => Err(NXDOMAIN),
    })
}

/// The test's resolver.
fn resolve(world: &World) -> SocketAddr {
    let at = SocketAddr::from(([10, 0, 0, 1], 53));
    world.lose_datagrams(0);
    drop(world.spawn("resolver", async move {
        let door = DatagramDoor::open(at).expect("a free address");
        loop {
            let (query, from) = door.recv().await;
            let end = 12 + query[12..].iter().position(|octet| *octet == 0).expect("a name ends");
            let (mut labels, mut name) = (&query[12..end], String::new());
            while let Some((len, rest)) = labels.split_first() {
                let (label, rest) = rest.split_at(usize::from(*len));
                name = format!("{name}{}{}", if name.is_empty() { "" } else { "." }, String::from_utf8_lossy(label));
                labels = rest;
            }
            let kind = u16::from_be_bytes([query[end + 1], query[end + 2]]);
            let Some(said) = zone(&name, kind) else { continue };
            let mut answer = query[..end + 5].to_vec();
            let (code, records) = said.map_or_else(|code| (code, Vec::new()), |records| (0, records));
            let count = u8::try_from(records.len()).expect("few");
            answer[2..12].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
            for record in records {
                answer.extend([0xc0, 12]);
                answer.extend(kind.to_be_bytes());
                answer.extend([0, 1, 0, 0, 0, 60]);
                answer.extend(u16::try_from(record.len()).expect("short").to_be_bytes());
                answer.extend(record);
            }
            door.send(from, &answer);
        }
    }));
    at
}

/// One story with these filters, on nodes of two shards, over some seeds. Alice and bob have accounts, and so have those who hear from
/// everybody.
fn with(filters: &filter::Settings, story: impl AsyncFn(&World, NodeId)) {
    for seed in 0..5 {
        let world = World::new(seed);
        let resolver = resolve(&world);
        let mut node = Node { ..plan(true) };
        node.settings.dns = ringpost::dns::Settings::ask(vec![resolver]);
        node.settings.filter = filter::Settings { wait: Duration::from_secs(5), ..filters.clone() };
        world.run_until(async {
            let id = start_as(&world, node);
            let done = operator().await.ask(json!({"verb": "domain-add", "domain": "ringpost.test"})).await;
            assert_eq!(done, json!({"answer": "done"}));
            accounts(&["alice", "bob", "postmaster", "abuse"]).await;
            story(&world, id).await;
        });
        assert_eq!(world.panics(), [""; 0], "seed {seed}");
    }
}

/// A client that was greeted and has said EHLO.
async fn greeted(from: impl Into<IpAddr>, helo: &str) -> Client {
    let mut client = Client::connect_from(from.into(), SMTP).await;
    while client.expect("220").await.starts_with("220-") {}
    client.say(&format!("EHLO {helo}")).await;
    while !client.expect("250").await.starts_with("250 ") {}
    client
}

async fn command(client: &mut Client, line: &str, start: &str) -> String {
    client.say(line).await;
    client.expect(start).await
}

/// What a recipient's mail of this sender is told; the transaction is taken back.
async fn told(client: &mut Client, sender: &str, recipient: &str) -> String {
    command(client, &format!("MAIL FROM:<{sender}>"), "250").await;
    client.say(&format!("RCPT TO:<{recipient}>")).await;
    let said = client.line().await;
    command(client, "RSET", "250").await;
    said
}

async fn verdicts(filter: &str, verdict: &str) -> u64 {
    let stats = operator().await.ask(json!({"verb": "stats"})).await;
    let text = stats.to_string();
    let name = format!("\"filter_verdicts_total{{filter={filter},verdict={verdict}}}\":");
    let at = text.find(&name).unwrap_or_else(|| panic!("no {name} in {text}")) + name.len();
    text[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a count")
}

fn sender_domain(mode: Mode) -> filter::Settings {
    let sender_domain = filter::sender_domain::Settings { mode, accept_on_failure: false };
    filter::Settings { sender_domain, ..filter::Settings::default() }
}

#[test]
fn a065_a090_senders_that_take_no_bounce_are_refused() {
    with(&sender_domain(Mode::Reject), async |_, _| {
        let mut client = greeted(STRANGER, "client.test").await;
        for (sender, start) in [
            ("x@good.test", "250"),
            ("x@address.test", "250"),
            ("x@null.test", "550 5.7.27 "),
            ("x@gone.test", "550 5.1.8 "),
            ("x@bare.test", "550 5.1.8 "),
            ("x@broken.test", "451 4.4.3 "),
            ("x@silent.test", "451 4.4.3 "),
            ("x@ringpost.test", "250"),
            ("x@[192.0.2.99]", "250"),
            ("", "250"),
        ] {
            let said = told(&mut client, sender, "alice@ringpost.test").await;
            assert!(said.starts_with(start), "{sender}: {said}");
        }
        // These hear from everybody, and nobody is told who lives here before that.
        assert!(told(&mut client, "x@gone.test", "postmaster@ringpost.test").await.starts_with("250"));
        assert!(told(&mut client, "x@gone.test", "nobody@ringpost.test").await.starts_with("550 5.1.1"));
    });
}

#[test]
fn with_accept_on_failure_silence_of_dns_refuses_nobody() {
    let mut filters = sender_domain(Mode::Reject);
    filters.sender_domain.accept_on_failure = true;
    with(&filters, async |_, _| {
        let mut client = greeted(STRANGER, "client.test").await;
        for sender in ["x@broken.test", "x@silent.test"] {
            let began = shard::now();
            assert!(told(&mut client, sender, "alice@ringpost.test").await.starts_with("250"));
            assert!(shard::now().since(began) < Duration::from_secs(7), "not longer than filter.wait_ms");
        }
        assert!(told(&mut client, "x@gone.test", "alice@ringpost.test").await.starts_with("550"));
    });
}

#[test]
fn a_mode_says_what_is_done_about_it() {
    with(&sender_domain(Mode::DryRun), async |_, _| {
        let before = verdicts("sender_domain", "dry_run").await;
        let mut client = greeted(STRANGER, "client.test").await;
        assert!(told(&mut client, "x@gone.test", "alice@ringpost.test").await.starts_with("250"));
        assert!(verdicts("sender_domain", "dry_run").await > before);
    });
    with(&sender_domain(Mode::Defer), async |_, _| {
        let mut client = greeted(STRANGER, "client.test").await;
        assert!(told(&mut client, "x@null.test", "alice@ringpost.test").await.starts_with("450 4.7.27 "));
    });
    with(&sender_domain(Mode::Tag), async |_, _| {
        let mut client = greeted(STRANGER, "client.test").await;
        for sender in ["x@gone.test", "x@good.test"] {
            command(&mut client, &format!("MAIL FROM:<{sender}>"), "250").await;
            command(&mut client, "RCPT TO:<alice@ringpost.test>", "250").await;
            command(&mut client, "DATA", "354").await;
            command(&mut client, "Subject: x\r\n\r\nHello\r\n.", "250").await;
        }
        let mut reader = Client::connect(POP3).await;
        reader.expect("+OK").await;
        for line in ["USER alice", "PASS secret", "RETR 1"] {
            command(&mut reader, line, "+OK").await;
        }
        let first = reader.dotted().await;
        let tag = "X-Ringpost-Filter: sender_domain; no such domain gone.test";
        assert!(first.iter().any(|line| line == tag), "{first:?}");
        command(&mut reader, "RETR 2", "+OK").await;
        assert!(!reader.dotted().await.iter().any(|line| line.starts_with("X-Ringpost-Filter")));
    });
}

#[test]
fn neither_our_own_users_nor_listed_networks_are_asked_about() {
    let filters = filter::Settings {
        exempt: vec!["198.51.100.0/24".parse().expect("a network")],
        helo: helo::Settings { modes: [Mode::Reject; 5] },
        greylist: greylist::Settings { mode: Mode::Defer, delay_s: 300, window_s: 10_000, keep_s: 100_000 },
        pregreet: filter::pregreet::Settings { mode: Mode::Reject, wait: Duration::from_secs(3), teaser: false },
        ..sender_domain(Mode::Reject)
    };
    with(&filters, async |_, _| {
        let began = shard::now();
        let mut friend = greeted([198, 51, 100, 7], "mx.ringpost.test").await;
        assert!(told(&mut friend, "x@gone.test", "alice@ringpost.test").await.starts_with("250"));
        let mut user = Client::connect(SUBMISSION).await;
        user.expect("220").await;
        assert!(shard::now().since(began) < Duration::from_secs(1), "nobody waits for the greeting");
        user.say("EHLO x").await;
        while !user.expect("250").await.starts_with("250 ") {}
        use base64::Engine as _;
        let secret = base64::engine::general_purpose::STANDARD.encode("\0alice@ringpost.test\0secret");
        command(&mut user, &format!("AUTH PLAIN {secret}"), "235").await;
        assert!(told(&mut user, "alice@ringpost.test", "bob@ringpost.test").await.starts_with("250"));
        // And the stranger beside them is.
        let mut stranger = greeted(STRANGER, "mx.ringpost.test").await;
        assert!(told(&mut stranger, "", "alice@ringpost.test").await.starts_with("550 5.7.1 "));
        // Unless the operator lets him in, or a sender of his.
        let allow = |table: &str, entry: &str| {
            let ask = json!({"what": "access-put", "table": table, "entry": entry, "deny": false});
            json!({"verb": "routing", "ask": ask})
        };
        let mut desk = operator().await;
        assert_eq!(desk.ask(allow("sender", "x@gone.test")).await["answer"], "routing");
        assert!(told(&mut stranger, "x@gone.test", "alice@ringpost.test").await.starts_with("250"));
        assert!(told(&mut stranger, "y@gone.test", "alice@ringpost.test").await.starts_with("550 5.7.1 "));
        assert_eq!(desk.ask(allow("client", "192.0.2.98")).await["answer"], "routing");
        let mut let_in = greeted([192, 0, 2, 98], "localhost").await;
        assert!(told(&mut let_in, "y@gone.test", "alice@ringpost.test").await.starts_with("250"));
    });
}

#[test]
fn a047_names_in_ehlo_are_refused_as_their_switches_say() {
    let mut filters = filter::Settings { helo: helo::Settings { modes: [Mode::Reject; 5] }, ..Default::default() };
    with(&filters, async |_, _| {
        for (name, start) in [
            ("192.0.2.99", "501 5.5.4 "),
            ("a..b", "501 5.5.4 "),
            ("localhost", "504 5.5.2 "),
            ("mx.ringpost.test", "550 5.7.1 "),
            ("[192.0.2.1]", "550 5.7.1 "),
            ("gone.test", "550 5.7.1 "),
            ("[192.0.2.99]", "250"),
            ("address.test", "250"),
            ("good.test", "250"),
            ("broken.test", "250"),
        ] {
            let mut client = greeted(STRANGER, name).await;
            let said = told(&mut client, "x@good.test", "alice@ringpost.test").await;
            assert!(said.starts_with(start), "{name}: {said}");
            assert!(told(&mut client, "", "abuse@ringpost.test").await.starts_with("250"), "{name}");
        }
        // Another name, another opinion.
        let mut client = greeted(STRANGER, "gone.test").await;
        assert!(told(&mut client, "", "alice@ringpost.test").await.starts_with("550"));
        command(&mut client, "HELO good.test", "250").await;
        assert!(told(&mut client, "", "alice@ringpost.test").await.starts_with("250"));
    });
    filters.refuse_at = RefuseAt::Mail;
    with(&filters, async |_, _| {
        let mut client = greeted(STRANGER, "localhost").await;
        command(&mut client, "MAIL FROM:<x@good.test>", "504 5.5.2 ").await;
        command(&mut client, "RCPT TO:<alice@ringpost.test>", "503").await;
    });
}

fn dnsbl(mode: Mode, lists: &[&str]) -> filter::Settings {
    let sites = lists.iter().map(|list| list.parse().expect("a list")).collect();
    let dnsbl = filter::dnsbl::Settings { mode, sites, threshold: 2, ask_local: false };
    filter::Settings { dnsbl, ..filter::Settings::default() }
}

#[test]
fn a088_clients_that_are_listed_are_refused_with_the_lists_words() {
    with(&dnsbl(Mode::Reject, &["bl.test=127.0.0.[2..9]*2", "wl.test*-3"]), async |_, _| {
        let mut listed = greeted(STRANGER, "client.test").await;
        let said = told(&mut listed, "x@good.test", "alice@ringpost.test").await;
        let words = "550 5.7.1 Your address 192.0.2.99 is listed by bl.test: see https://bl.test/??there";
        assert_eq!(said, words);
        assert!(told(&mut listed, "x@good.test", "postmaster@ringpost.test").await.starts_with("250"));
        for (host, why) in [(98, "the list refuses us"), (97, "another vouches"), (1, "nobody lists it")] {
            let mut client = greeted([192, 0, 2, host], "client.test").await;
            assert!(told(&mut client, "x@good.test", "alice@ringpost.test").await.starts_with("250"), "{why}");
        }
        assert!(verdicts("dnsbl", "error").await > 0 && verdicts("dnsbl", "reject").await > 0);
    });
}

#[test]
fn a_list_that_is_silent_holds_nobody_longer_than_configured() {
    with(&dnsbl(Mode::Reject, &["silent.test*9", "bl.test*2"]), async |_, _| {
        for (client, start) in [([192, 0, 2, 1], "250"), (STRANGER, "550 5.7.1 ")] {
            let mut client = greeted(client, "client.test").await;
            let began = shard::now();
            let said = told(&mut client, "x@good.test", "alice@ringpost.test").await;
            assert!(said.starts_with(start), "{said}");
            assert!(shard::now().since(began) < Duration::from_secs(7));
        }
    });
}

fn greylisting() -> filter::Settings {
    let greylist = greylist::Settings { mode: Mode::Defer, delay_s: 300, window_s: 10_000, keep_s: 100_000 };
    filter::Settings { greylist, ..filter::Settings::default() }
}

#[test]
fn who_comes_for_the_first_time_comes_again_on_whichever_shard() {
    with(&greylisting(), async |_, _| {
        let ask = async |host: u8, sender: &str, recipient: &str| {
            let mut client = greeted([203, 0, 113, host], "client.test").await;
            told(&mut client, sender, recipient).await
        };
        let said = ask(7, "x@good.test", "alice@ringpost.test").await;
        assert_eq!(said, "450 4.7.1 Greylisted, try again in 300 seconds");
        assert!(ask(7, "x@good.test", "postmaster@ringpost.test").await.starts_with("250"));
        assert!(ask(7, "x@good.test", "nobody@ringpost.test").await.starts_with("550"), "strangers are told at once");
        shard::sleep(Duration::from_secs(100)).await;
        // The null sender waits for each recipient, and each for itself.
        assert!(ask(7, "", "alice@ringpost.test").await.ends_with(" 300 seconds"));
        assert!(ask(7, "", "bob@ringpost.test").await.ends_with(" 300 seconds"));
        for _ in 0..8 {
            let said = ask(9, "x@good.test", "alice@ringpost.test").await;
            let left: u32 = said.rsplit(' ').nth(1).and_then(|n| n.parse().ok()).expect("seconds");
            assert!((150..=200).contains(&left), "on every shard: {said}");
        }
        shard::sleep(Duration::from_secs(201)).await;
        // From the host next door.
        assert!(ask(8, "x@good.test", "alice@ringpost.test").await.starts_with("250"));
        for host in [7, 8, 200, 7] {
            assert!(ask(host, "other@good.test", "bob@ringpost.test").await.starts_with("250"), "its network is known");
        }
        let mut elsewhere = greeted([203, 0, 114, 7], "client.test").await;
        assert!(told(&mut elsewhere, "x@good.test", "alice@ringpost.test").await.starts_with("450"));
    });
}

#[test]
fn whom_a_list_vouches_for_does_not_wait() {
    let filters = filter::Settings { greylist: greylisting().greylist, ..dnsbl(Mode::Reject, &["wl.test*-3"]) };
    with(&filters, async |_, _| {
        let mut good = greeted([192, 0, 2, 96], "client.test").await;
        assert!(told(&mut good, "x@good.test", "alice@ringpost.test").await.starts_with("250"));
        let mut other = greeted([192, 0, 2, 1], "client.test").await;
        assert!(told(&mut other, "x@good.test", "alice@ringpost.test").await.starts_with("450 4.7.1 "));
    });
}

fn pregreet(mode: Mode, teaser: bool) -> filter::Settings {
    let pregreet = filter::pregreet::Settings { mode, wait: Duration::from_secs(3), teaser };
    filter::Settings { pregreet, ..filter::Settings::default() }
}

#[test]
fn a043_a058_who_talks_before_the_greeting_is_not_greeted() {
    with(&pregreet(Mode::Reject, true), async |_, _| {
        // A058: he takes the first line for the greeting.
        let mut hasty = Client::connect_from(STRANGER.into(), SMTP).await;
        hasty.expect("220-mx.ringpost.test ").await;
        hasty.say("EHLO client.test").await;
        hasty.expect("554 5.5.0 ").await;
        assert_eq!(hasty.try_line().await, None, "and that is the end");
        let mut patient = Client::connect_from(STRANGER.into(), SMTP).await;
        patient.expect("220-").await;
        patient.expect("220 mx.ringpost.test ").await;
        command(&mut patient, "HELO client.test", "250").await;
        // His network is known by now, on each of the two shards after a while.
        for _ in 0..20 {
            drop(greeted(STRANGER, "client.test").await);
        }
        let began = shard::now();
        drop(greeted([192, 0, 2, 1], "client.test").await);
        assert!(shard::now().since(began) < Duration::from_secs(1));
    });
    with(&pregreet(Mode::Defer, false), async |_, _| {
        let mut hasty = Client::connect_from(STRANGER.into(), SMTP).await;
        hasty.say("EHLO client.test\r\nMAIL FROM:<>").await;
        hasty.expect("421 4.5.0 ").await;
        assert_eq!(hasty.try_line().await, None);
    });
    with(&pregreet(Mode::DryRun, true), async |_, _| {
        let before = verdicts("pregreet", "dry_run").await;
        let mut hasty = Client::connect_from(STRANGER.into(), SMTP).await;
        hasty.say("HELO client.test").await;
        hasty.expect("220-").await;
        hasty.expect("220 ").await;
        hasty.expect("250 ").await;
        command(&mut hasty, "QUIT", "221").await;
        assert!(verdicts("pregreet", "dry_run").await > before);
    });
}

#[test]
fn a_client_that_names_domain_after_domain_is_let_go() {
    let filters = filter::Settings { refuse_at: RefuseAt::Mail, ..sender_domain(Mode::Reject) };
    with(&filters, async |_, _| {
        let mut client = greeted(STRANGER, "client.test").await;
        // What is refused for now is no error, and would go on for ever.
        for n in 0..FILTER_QUESTIONS_MAX {
            command(&mut client, &format!("MAIL FROM:<x@{n}.broken.test>"), "451 4.4.3 ").await;
        }
        command(&mut client, "MAIL FROM:<x@once-more.broken.test>", "421 4.7.0 ").await;
        assert_eq!(client.try_line().await, None);
    });
}
