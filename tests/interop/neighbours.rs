//! Neighbours: Postfix and Python deliver by LMTP; swaks stands in for a balancer and for a gateway that hands connections on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::house::{House, fetch};
use crate::mta::log_with;
use crate::mta::postfix::Postfix;
use crate::{ALICE, BOB, client, run};

/// A house with the usual doors and these, in a folder that others may pass through.
pub fn house(listeners: &str) -> House {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
    fs::create_dir(dir.path().join("data")).expect("a folder");
    let usual = [("smtp", 2525), ("imap", 2143), ("pop3", 2110)];
    let mut text: String = usual
        .map(|(service, port)| format!("[[listener]]\nservice = \"{service}\"\naddress = \"127.0.0.1:{port}\"\n"))
        .concat();
    text += &listeners.replace("DIR", dir.path().to_str().expect("a plain path"));
    fs::write(dir.path().join("data/ringpost.toml"), text).expect("a file");
    House::open_in(dir, &["--shards", "2"])
}

const LMTP: &str = "[[listener]]\nservice = \"lmtp\"\naddress = \"127.0.0.1:2024\"\n\
                    [[listener]]\nservice = \"lmtp\"\naddress = \"unix:DIR/lmtp\"\nmode = \"0666\"\n";

#[test]
fn python_delivers_by_lmtp_over_tcp_and_a_unix_socket() {
    let Some(python) = client("python3") else { return };
    let house = house(LMTP);
    let (code, _, why) = house.verb(&["account", "quota", BOB, "--storage", "4000"], "");
    assert_eq!(code, 0, "{why}");
    let socket = house.dir.path().join("lmtp");
    let said = run(Command::new(python)
        .arg("tests/interop/lmtp.py")
        .arg(house.door(2024).port().to_string())
        .arg(socket)
        .args([ALICE, BOB]));
    assert!(said.ends_with("all done\n"), "{said}");
    assert_eq!(fetch(house.pop3(), ALICE, &house.password(ALICE)).len(), 4);
    assert_eq!(fetch(house.pop3(), BOB, &house.password(BOB)).len(), 2);
}

/// Postfix takes a letter for both, too large for bob, and small ones.
fn postfix_delivers(to: &str, house: &House) {
    let Some(source) = client("smtp-source") else { return };
    let (code, _, why) = house.verb(&["account", "quota", BOB, "--storage", "20000"], "");
    assert_eq!(code, 0, "{why}");
    let lmtp = format!(
        "virtual_mailbox_domains = ringpost.test\nvirtual_transport = lmtp:{to}\nsmtp_tls_security_level = none\n"
    );
    let Some(postfix) = Postfix::start(house.dir.path(), &lmtp) else { return };
    let server = format!("inet:127.0.0.1:{}", postfix.port);
    let send = |extra: &[&str], recipient: &str| {
        run(Command::new(&source)
            .current_dir("/tmp")
            .args(["-f", "x@client.test", "-t", recipient])
            .args(extra)
            .arg(&server));
    };
    send(&["-s", "4", "-m", "20", "-l", "1000"], ALICE);
    log_with(|| postfix.log(), "status=sent (250 2.0.0 ", 20);
    let letter = house.dir.path().join("letter");
    fs::write(&letter, format!("Subject: too much for bob\n\n{}", "0123456789\n".repeat(3_000))).expect("a file");
    let both = format!("{ALICE},{BOB}");
    run(Command::new("curl")
        .args(["-sS", &format!("smtp://127.0.0.1:{}", postfix.port), "--mail-from", "x@client.test"])
        .args(both.split(',').flat_map(|who| ["--mail-rcpt", who]))
        .arg("-T")
        .arg(&letter));
    log_with(|| postfix.log(), "status=sent (250 2.0.0 ", 21);
    let log = log_with(|| postfix.log(), "status=deferred", 1);
    let bob = log.lines().find(|line| line.contains("status=deferred")).expect("just looked for");
    assert!(bob.contains(&format!("to=<{BOB}>")) && bob.contains("said: 452 4.2.2"), "{bob}");
    let mail = fetch(house.pop3(), ALICE, &house.password(ALICE));
    assert_eq!(mail.len(), 21);
    assert!(mail[20].contains("with LMTP") && mail[20].contains("by postfix.test (Postfix)"), "{}", mail[20]);
    assert!(fetch(house.pop3(), BOB, &house.password(BOB)).is_empty());
}

#[test]
fn postfix_delivers_by_lmtp_over_a_unix_socket() {
    let house = house(LMTP);
    postfix_delivers(&format!("unix:{}/lmtp", house.dir.path().display()), &house);
}

#[test]
fn postfix_delivers_by_lmtp_over_tcp() {
    let house = house(LMTP);
    postfix_delivers(&format!("inet:127.0.0.1:{}", house.door(2024).port()), &house);
}

#[test]
fn swaks_speaks_as_a_balancer_and_as_a_gateway_would() {
    let Some(swaks) = client("swaks") else { return };
    let house = house(
        "[[listener]]\nservice = \"mx\"\naddress = \"127.0.0.1:2526\"\nproxy_from = [\"127.0.0.1\"]\n\
         [[listener]]\nservice = \"mx\"\naddress = \"127.0.0.1:2527\"\nxclient_from = [\"127.0.0.1\"]\n",
    );
    let send = |port: u16, extra: &[&str]| {
        let server = format!("127.0.0.1:{}", house.door(port).port());
        run(Command::new(&swaks).args(["--server", &server, "--from", BOB, "--to", ALICE]).args(extra));
    };
    let proxy = ["--proxy-family", "TCP4", "--proxy-source", "192.0.2.7", "--proxy-source-port", "50312"];
    let to = ["--proxy-dest", "198.51.100.1", "--proxy-dest-port", "25"];
    for version in ["1", "2"] {
        let family: Vec<&str> =
            proxy.iter().map(|w| if version == "2" && *w == "TCP4" { "AF_INET" } else { w }).collect();
        let mut args = [&["--proxy-version", version], &*family, &to].concat();
        if version == "2" {
            args.extend(["--proxy-protocol", "STREAM", "--proxy-command", "PROXY"]);
        }
        send(2526, &args);
    }
    send(
        2527,
        &[
            "--xclient-addr",
            "192.0.2.7",
            "--xclient-port",
            "50312",
            "--xclient-name",
            "client.test",
            "--xclient-helo",
            "client.test",
        ],
    );
    let mail = fetch(house.pop3(), ALICE, &house.password(ALICE));
    assert_eq!(mail.len(), 3);
    assert!(mail.iter().all(|letter| letter.contains("([192.0.2.7])")), "{mail:?}");
}
