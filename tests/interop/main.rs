//! Real clients do their whole job against the real binary. A client that is not installed is skipped aloud; in CI
//! (CI set) that is a failure.
//!
//! Small ones are driven from here: swaks, smtp-source, curl, openssl. The others have a script each, whose first lines say what
//! it proves: Python's own smtplib, imaplib and poplib, mbsync, OfflineIMAP, getmail, fetchmail, NeoMutt, imapflow,
//! nodemailer, curl over TLS, and Thunderbird without a screen. They connect as users do: over TLS, with the server's certificate verified.
//! Whole mail servers, `mta/`, hand on what they were given: Postfix, Exim and OpenSMTPD.

#[path = "../live/house.rs"]
mod house;
#[path = "../live/safe.rs"]
mod safe;
mod desk;
mod mta;
mod neighbours;
mod openssl;
mod senders;
mod web;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use house::{House, fetch};

const ALICE: &str = "alice@ringpost.test";
const BOB: &str = "bob@ringpost.test";

/// Where a program is, or `None` after saying that its test is skipped.
fn client(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').chain(["/usr/sbin"]).map(|d| Path::new(d).join(name)).find(|p| p.is_file());
    if found.is_none() {
        skipped(&format!("{name} is not installed"));
    }
    found
}

/// Says why a client's test does nothing; in CI that is a failure.
fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "CI may not skip {why}");
    eprintln!("SKIPPED: {why}");
}

/// Runs a client to its end; panics with all it said unless it succeeds. Returns its standard output.
fn run(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().expect("the client runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{command:?} failed with {}\n{said}\n{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    said
}

#[test]
fn swaks_sends_a_letter_and_is_refused_for_strangers() {
    let Some(swaks) = client("swaks") else { return };
    let house = House::open(&[]);
    let server = format!("127.0.0.1:{}", house.smtp().port());
    run(Command::new(&swaks).args(["--server", &server, "--from", BOB, "--to", ALICE]).args([
        "--header",
        "Subject: from swaks",
        "--body",
        "first line\n.a dot\n",
    ]));
    let mail = fetch(house.pop3(), ALICE, &house.password(ALICE));
    assert_eq!(mail.len(), 1);
    assert!(mail[0].contains("Subject: from swaks\r\n") && mail[0].contains("\r\n.a dot\r\n"), "{}", mail[0]);
    let out = Command::new(&swaks)
        .args(["--server", &server, "--from", BOB, "--to", "x@elsewhere.test"])
        .output()
        .expect("swaks runs");
    assert!(!out.status.success(), "relaying is refused");
    assert!(String::from_utf8_lossy(&out.stdout).contains("550 5.7.1"));
}

#[test]
fn swaks_submits_where_it_trusts_the_certificate() {
    let Some(swaks) = client("swaks") else { return };
    let house = House::unconfigured();
    let (certificate, password) = (house.data().join("tls/cert.pem"), house.password(ALICE));
    let trust = ["--tls-ca-path", certificate.to_str().expect("a plain path")];
    let submit = |port: u16, how: &str, extra: &[&str]| {
        let mut command = Command::new(&swaks);
        command.args(["--server", "localhost", "--port", &(port + house.offset).to_string(), how]);
        command.args(["--from", ALICE, "--to", BOB, "--auth-user", ALICE, "--auth-password", &password]).args(extra);
        command.arg("--tls-verify");
        command
    };
    for (port, how) in [(2587, "--tls"), (2465, "--tls-on-connect")] {
        for mechanism in ["PLAIN", "LOGIN"] {
            run(submit(port, how, &["--auth", mechanism]).args(trust));
        }
        let out = submit(port, how, &["--auth", "PLAIN", "--to", "x@elsewhere.test"]).args(trust).output();
        let said = String::from_utf8_lossy(&out.expect("swaks runs").stdout).into_owned();
        assert!(said.contains("550 5.7.1"), "{said}");
        let out = submit(port, how, &["--auth", "PLAIN"]).output().expect("swaks runs");
        assert!(!out.status.success(), "nobody vouches for the certificate");
    }
}

#[test]
fn smtp_source_sends_a_thousand_letters_over_many_connections() {
    let Some(source) = client("smtp-source") else { return };
    let house = House::open(&[]);
    run(Command::new(source)
        .current_dir("/tmp")
        .args(["-s", "20", "-m", "1000", "-l", "4096", "-f", BOB, "-t", ALICE])
        .arg(format!("inet:127.0.0.1:{}", house.smtp().port())));
    assert_eq!(fetch(house.pop3(), ALICE, &house.password(ALICE)).len(), 1000);
}

#[test]
fn curl_runs_the_commands_of_the_first_start_as_printed() {
    if client("curl").is_none() {
        return;
    }
    let house = House::open(&[]);
    let commands: Vec<&str> = house.said.lines().filter(|l| l.contains("curl ")).map(str::trim).collect();
    assert_eq!(commands.len(), 3, "{}", house.said);
    run(Command::new("bash").args(["-c", &format!("set -o pipefail; {}", commands[0])]));
    for read in &commands[1..] {
        let mail = run(Command::new("bash").args(["-c", read]));
        assert!(mail.contains("Subject: hello") && mail.contains("It works."), "{read}: {mail}");
    }
}

#[test]
fn curl_lists_searches_and_appends_over_imap() {
    let Some(curl) = client("curl") else { return };
    let house = House::open(&[]);
    let login = format!("{ALICE}:{}", house.password(ALICE));
    let url = |path: &str| format!("imap://127.0.0.1:{}/{path}", house.imap().port());
    let file = house.dir.path().join("letter");
    std::fs::write(&file, "From: me\r\nSubject: appended\r\n\r\nby curl\r\n").expect("writing");
    run(Command::new(&curl).args(["-sS", "-u", &login, "-T"]).arg(&file).arg(url("INBOX")));
    let listed = run(Command::new(&curl).args(["-sS", "-u", &login]).arg(url("")));
    assert!(listed.contains("INBOX"), "{listed}");
    let found = run(Command::new(&curl).args(["-sS", "-u", &login]).arg(url("INBOX?SUBJECT%20appended")));
    assert!(found.contains("* SEARCH 1"), "{found}");
    let text = run(Command::new(&curl).args(["-sS", "-u", &login]).arg(url("INBOX;UID=1;SECTION=TEXT")));
    assert_eq!(text, "by curl\r\n");
}

#[test]
fn pythons_own_clients_do_their_whole_job() {
    let Some(python) = client("python3") else { return };
    let house = House::open(&[]);
    let said = run(Command::new(python).arg("tests/interop/python_clients.py").args([
        house.smtp().port().to_string(),
        house.imap().port().to_string(),
        house.pop3().port().to_string(),
        ALICE.to_owned(),
        house.password(ALICE),
    ]));
    assert!(said.ends_with("all done\n"), "{said}");
}

#[test]
fn pythons_own_clients_insist_on_tls() {
    desk::job("python_tls.py", &[]);
}

#[test]
fn mbsync_keeps_two_thousand_letters_the_same_on_both_sides() {
    desk::job("mbsync.py", &["mbsync"]);
}

#[test]
fn offlineimap_keeps_a_maildir_and_an_account_the_same() {
    desk::job("offlineimap.py", &["offlineimap"]);
}

#[test]
fn getmail_fetches_each_letter_once_and_empties_the_mailbox() {
    desk::job("getmail.py", &["getmail"]);
}

#[test]
fn fetchmail_fetches_over_every_kind_of_tls() {
    desk::job("fetchmail.py", &["fetchmail", "openssl"]);
}

#[test]
fn neomutt_reads_flags_saves_and_sends() {
    // One with GNU SASL would choose SCRAM-SHA-256-PLUS for sending, and has no channel binding for it.
    let file = "[login]\nmechanisms = [\"SCRAM-SHA-256\", \"PLAIN\", \"LOGIN\"]\n";
    desk::job_told("neomutt.py", &["neomutt"], file);
}

#[test]
fn msmtp_hands_in_letters_by_every_mechanism() {
    desk::job("msmtp.py", &["msmtp"]);
}

#[test]
fn gsasl_logs_in_by_every_mechanism() {
    desk::job("scram.py", &["gsasl"]);
}

#[test]
fn curl_sends_and_reads_over_tls() {
    desk::job("curl.py", &["curl"]);
}

#[test]
fn imapflow_watches_by_idle_and_works_in_mailboxes() {
    desk::node_job("imapflow.mjs");
}

#[test]
fn nodemailer_submits_with_both_kinds_of_tls() {
    desk::node_job("nodemailer.mjs");
}

#[test]
fn thunderbird_does_a_day_of_work() {
    desk::job("thunderbird.py", &["thunderbird"]);
}
