//! Neighbours: Postfix and Python deliver by LMTP; swaks stands in for a balancer and for a gateway that hands connections on.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::house::{House, PATIENCE, fetch};
use crate::{ALICE, BOB, client, run, skipped};

/// A house with the usual doors and these, in a folder that others may pass through.
fn house(listeners: &str) -> House {
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

/// A Postfix of our own, stopped with the test.
struct Postfix {
    conf: PathBuf,
    port: u16,
}

const MASTER: &str = "\
127.0.0.1:PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

impl Postfix {
    /// Delivers mail for `ringpost.test` there. `None`: this machine cannot run one.
    fn delivering(to: &str, dir: &Path) -> Option<Postfix> {
        client("postfix")?;
        if !rustix::process::geteuid().is_root() {
            skipped("Postfix is started by root alone");
            return None;
        }
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port").port();
        let conf = dir.join("postfix");
        for folder in ["", "queue", "state"] {
            fs::create_dir_all(conf.join(folder)).expect("a folder");
        }
        run(Command::new("chown").arg("postfix").arg(conf.join("state")));
        let at = conf.display();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/state\n\
             maillog_file = {at}/log\nmaillog_file_prefixes = {at}\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
             myhostname = relay.test\nmydestination =\nmynetworks = 127.0.0.0/8\nvirtual_mailbox_domains = ringpost.test\n\
             virtual_transport = lmtp:{to}\nsmtpd_relay_restrictions = permit_mynetworks, reject\nalias_maps =\n\
             local_recipient_maps =\nsmtp_tls_security_level = none\nminimal_backoff_time = 1000s\n"
        );
        fs::write(conf.join("main.cf"), main).expect("a file");
        fs::write(conf.join("master.cf"), MASTER.replace("PORT", &port.to_string())).expect("a file");
        run(Command::new("postfix").arg("-c").arg(&conf).arg("start"));
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "Postfix does not open its door");
            std::thread::yield_now();
        }
        Some(Postfix { conf, port })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.conf.join("log")).unwrap_or_default()
    }

    /// Its log when it holds so many lines with these words.
    fn log_with(&self, words: &str, count: usize) -> String {
        let began = Instant::now();
        loop {
            let log = self.log();
            if log.lines().filter(|line| line.contains(words)).count() >= count {
                return log;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{count} lines with {words:?} expected:\n{log}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = Command::new("postfix").arg("-c").arg(&self.conf).arg("abort").output();
    }
}

/// Postfix takes a letter for both, too large for bob, and small ones.
fn postfix_delivers(to: &str, house: &House) {
    let Some(source) = client("smtp-source") else { return };
    let (code, _, why) = house.verb(&["account", "quota", BOB, "--storage", "20000"], "");
    assert_eq!(code, 0, "{why}");
    let Some(postfix) = Postfix::delivering(to, house.dir.path()) else { return };
    let server = format!("inet:127.0.0.1:{}", postfix.port);
    let send = |extra: &[&str], recipient: &str| {
        run(Command::new(&source)
            .current_dir("/tmp")
            .args(["-f", "x@client.test", "-t", recipient])
            .args(extra)
            .arg(&server));
    };
    send(&["-s", "4", "-m", "20", "-l", "1000"], ALICE);
    postfix.log_with("status=sent (250 2.0.0 ", 20);
    let letter = house.dir.path().join("letter");
    fs::write(&letter, format!("Subject: too much for bob\n\n{}", "0123456789\n".repeat(3_000))).expect("a file");
    let both = format!("{ALICE},{BOB}");
    run(Command::new("curl")
        .args(["-sS", &format!("smtp://127.0.0.1:{}", postfix.port), "--mail-from", "x@client.test"])
        .args(both.split(',').flat_map(|who| ["--mail-rcpt", who]))
        .arg("-T")
        .arg(&letter));
    let log = postfix.log_with("status=sent (250 2.0.0 ", 21);
    let log = if log.contains("status=deferred") { log } else { postfix.log_with("status=deferred", 1) };
    let bob = log.lines().find(|line| line.contains("status=deferred")).expect("just looked for");
    assert!(bob.contains(&format!("to=<{BOB}>")) && bob.contains("said: 452 4.2.2"), "{bob}");
    let mail = fetch(house.pop3(), ALICE, &house.password(ALICE));
    assert_eq!(mail.len(), 21);
    assert!(mail[20].contains("with LMTP") && mail[20].contains("by relay.test (Postfix)"), "{}", mail[20]);
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
