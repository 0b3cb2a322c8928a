//! OpenSSL's client at every door: several certificates, what it can verify, ALPN, tickets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::client;
use crate::house::House;
use crate::safe::{ECDSA, RSA, Safe};

/// Doors: port, the protocol whose STARTTLS OpenSSL is to speak, ALPN.
const DOORS: [(u16, &str, &str); 7] = [
    (2525, "smtp", "smtp"),
    (2587, "smtp", "smtp"),
    (2465, "", "smtp"),
    (2143, "imap", "imap"),
    (2993, "", "imap"),
    (2110, "pop3", "pop3"),
    (2995, "", "pop3"),
];

/// Connects, and says what OpenSSL said; the end of its input ends it.
fn s_client(house: &House, port: u16, starttls: &str, args: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &house.door(port).to_string()]).args(args);
    if !starttls.is_empty() {
        command.args(["-starttls", starttls]);
    }
    let out = command.stdin(Stdio::null()).output().expect("openssl runs");
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

#[test]
fn openssl_is_shown_the_certificate_of_the_name_and_of_the_key_that_it_can_verify() {
    let Some(_) = client("openssl") else { return };
    let safe = Safe::new();
    safe.make("rsa", RSA, &["mx.example.org"]);
    safe.make("ecdsa", ECDSA, &["mx.example.org"]);
    safe.make("wild", RSA, &["*.example.net"]);
    let house = House::open(&["--config", &safe.list(&["rsa", "ecdsa", "wild"])]);
    let all = safe.path("all.pem");
    let read = |file: &str| fs::read(safe.path(file)).expect("a certificate");
    fs::write(&all, [read("rsa.pem"), read("ecdsa.pem"), read("wild.pem")].concat()).expect("writing");
    let trust = ["-CAfile", all.to_str().expect("a plain path"), "-verify_return_error"];
    for (port, starttls, _) in DOORS {
        for (version, sigalgs, name, signed) in [
            ("-tls1_3", "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256", "mx.example.org", "ECDSA"),
            ("-tls1_3", "rsa_pss_rsae_sha256", "mx.example.org", "RSA-PSS"),
            ("-tls1_2", "ECDSA+SHA256:RSA+SHA256", "mx.example.org", "ECDSA"),
            ("-tls1_2", "RSA+SHA256", "mx.example.org", "RSA"),
            ("-tls1_3", "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256", "imap.example.net", "RSA-PSS"),
        ] {
            let ask = [version, "-sigalgs", sigalgs, "-servername", name, "-verify_hostname", name];
            let said = s_client(&house, port, starttls, &[&trust[..], &ask].concat());
            assert!(said.contains("Verify return code: 0 (ok)"), "{port}, {version}, {sigalgs}, {name}:\n{said}");
            assert!(said.contains(&format!("Peer signature type: {signed}\n")), "{port}, {sigalgs}, {name}:\n{said}");
        }
        // An old client that has only cipher suites of RSA.
        let ask = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-servername", "mx.example.org"];
        let said = s_client(&house, port, starttls, &[&trust[..], &ask].concat());
        assert!(said.contains("Verify return code: 0 (ok)"), "{port}:\n{said}");
    }
}

#[test]
fn openssl_is_refused_where_it_speaks_another_protocol_alone() {
    let Some(_) = client("openssl") else { return };
    let house = House::open(&[]);
    for (port, starttls, protocol) in DOORS {
        let said = s_client(&house, port, starttls, &["-alpn", "http/1.1,h2"]);
        assert!(said.contains("no application protocol"), "{port}:\n{said}");
        let said = s_client(&house, port, starttls, &["-alpn", &format!("h2,{protocol}")]);
        assert!(said.contains(&format!("ALPN protocol: {protocol}\n")), "{port}:\n{said}");
    }
}

#[test]
fn openssl_resumes_its_session_under_the_name_it_was_begun_with() {
    let Some(_) = client("openssl") else { return };
    let safe = Safe::new();
    safe.make("one", ECDSA, &["one.test", "two.test"]);
    let house = House::open(&["--shards", "2", "--config", &safe.list(&["one"])]);
    let session = safe.path("session");
    let session = session.to_str().expect("a plain path");
    let come = |how: &str, name: &str| s_client(&house, 2995, "", &["-tls1_2", how, session, "-servername", name]);
    assert!(come("-sess_out", "one.test").contains("New, TLSv1.2"));
    for _ in 0..8 {
        let said = come("-sess_in", "one.test");
        assert!(said.contains("Reused, TLSv1.2"), "{said}");
    }
    safe.make("one", ECDSA, &["one.test", "two.test"]);
    assert_eq!(house.verb(&["tls", "reload"], "").0, 0);
    assert!(come("-sess_in", "one.test").contains("Reused, TLSv1.2"), "a renewed certificate ends no session");
    assert!(come("-sess_in", "two.test").contains("New, TLSv1.2"), "another name has other tickets");
}

#[test]
fn a094_openssl_gets_no_renegotiation() {
    let Some(_) = client("openssl") else { return };
    let house = House::open(&[]);
    let mut command = Command::new("openssl");
    command.args(["s_client", "-tls1_2", "-connect", &house.door(2995).to_string()]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("openssl runs");
    let (mut input, mut output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    // R asks for one. Not before the greeting, which OpenSSL does not expect in the middle of a handshake.
    let mut said = String::new();
    while !said.contains("+OK") {
        let mut octets = [0; 4096];
        let heard = output.read(&mut octets).expect("reading");
        assert!(heard > 0, "{said}");
        said += &String::from_utf8_lossy(&octets[..heard]);
    }
    input.write_all(b"R\n").expect("writing");
    let out = child.wait_with_output().expect("it ends");
    drop(input);
    output.read_to_string(&mut said).expect("text");
    said += &String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
}
