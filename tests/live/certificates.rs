//! Several certificates at the doors of a real server: by name, by what a client can verify; read anew; tickets, ALPN.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SignatureScheme};

use crate::house::{House, PATIENCE, Talk};
use crate::safe::{ECDSA, RSA, Safe};

fn der(path: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(path).expect("a certificate").to_vec()
}

/// What a client of `provider` that trusts nobody but `trusted` is shown when it asks for `name`.
pub struct Visitor {
    provider: CryptoProvider,
    alpn: Vec<Vec<u8>>,
}

impl Visitor {
    pub fn new() -> Visitor {
        Visitor { provider: aws_lc_rs::default_provider(), alpn: Vec::new() }
    }

    /// One that can verify RSA alone.
    pub fn rsa_only() -> Visitor {
        let all = aws_lc_rs::default_provider().signature_verification_algorithms;
        let is_rsa = |scheme: SignatureScheme| format!("{scheme:?}").starts_with("RSA");
        let kept: Vec<_> = all.mapping.iter().filter(|(scheme, _)| is_rsa(*scheme)).copied().collect();
        assert!(!kept.is_empty() && kept.len() < all.mapping.len());
        let algorithms = WebPkiSupportedAlgorithms { all: all.all, mapping: Box::leak(kept.into_boxed_slice()) };
        Visitor {
            provider: CryptoProvider { signature_verification_algorithms: algorithms, ..aws_lc_rs::default_provider() },
            alpn: Vec::new(),
        }
    }

    pub fn speaking(mut self, alpn: &[&str]) -> Visitor {
        self.alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub fn config(&self, trusted: &[&[u8]]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        trusted.iter().for_each(|der| roots.add(CertificateDer::from(der.to_vec())).expect("a root"));
        let provider = Arc::new(self.provider.clone());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider's versions")
            .with_webpki_verifier(verifier.build().expect("a verifier"))
            .with_no_client_auth();
        config.alpn_protocols = self.alpn.clone();
        Arc::new(config)
    }

    /// Shakes hands at a door that begins with TLS and returns the certificate that was shown; all of `trusted` would do.
    pub fn shown(&self, at: std::net::SocketAddr, name: &str, trusted: &[&[u8]]) -> Result<Vec<u8>, String> {
        self.shown_on(TcpStream::connect(at).expect("connecting"), name, trusted)
    }

    fn shown_on(&self, mut stream: TcpStream, name: &str, trusted: &[&[u8]]) -> Result<Vec<u8>, String> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut tls = ClientConnection::new(self.config(trusted), name).expect("a client");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).map_err(|why| why.to_string())?;
        }
        Ok(tls.peer_certificates().expect("a certificate")[0].to_vec())
    }
}

#[test]
fn a096_each_name_gets_its_certificate_and_each_client_one_that_it_can_verify() {
    let safe = Safe::new();
    safe.make("rsa", RSA, &["mx.example.org", "192.0.2.1"]);
    safe.make("ecdsa", ECDSA, &["mx.example.org"]);
    safe.make("wild", ECDSA, &["*.example.net"]);
    safe.make("mail", RSA, &["mail.example.net"]);
    let config = safe.list(&["rsa", "ecdsa", "wild", "mail"]);
    let house = House::open(&["--shards", "2", "--config", &config]);
    let [rsa, ecdsa, wild, mail] = ["rsa", "ecdsa", "wild", "mail"].map(|file| safe.der(file));
    let trusted: [&[u8]; 4] = [&rsa, &ecdsa, &wild, &mail];
    for door in [2993, 2995, 2465] {
        let door = house.door(door);
        let any = |name| Visitor::new().shown(door, name, &trusted);
        assert_eq!(any("mx.example.org").as_ref(), Ok(&ecdsa));
        assert_eq!(any("imap.example.net").as_ref(), Ok(&wild));
        assert_eq!(any("mail.example.net").as_ref(), Ok(&mail));
        let old = |name| Visitor::rsa_only().shown(door, name, &trusted);
        assert_eq!(old("mx.example.org").as_ref(), Ok(&rsa));
        assert_eq!(old("mail.example.net").as_ref(), Ok(&mail));
        // An address is no server name: the first one's name has a certificate of the kind that is wanted.
        assert_eq!(old("192.0.2.1").as_ref(), Ok(&rsa));
        let why = any("elsewhere.test").expect_err("the default holds for another name");
        assert!(why.contains("not valid for name"), "{why}");
        let why = any("a.b.example.net").expect_err("a wildcard is one label");
        assert!(why.contains("not valid for name"), "{why}");
    }
    let (_, _, page) = crate::web::get(&house, "/metrics");
    for (name, key) in [
        ("mx.example.org", "ecdsa"),
        ("mx.example.org", "rsa"),
        ("*.example.net", "ecdsa"),
        ("mail.example.net", "rsa"),
    ] {
        let line = format!("ringpost_tls_certificate_expiry_seconds{{name=\"{name}\",key=\"{key}\"}} ");
        assert!(page.contains(&line), "{line} in {page}");
    }
    assert!(!house.data().join("tls").exists(), "no certificate of our own is made");
}

#[test]
fn a_login_is_handed_over_under_each_certificate() {
    let safe = Safe::new();
    safe.make("rsa", RSA, &["mx.example.org"]);
    safe.make("ecdsa", ECDSA, &["mail.example.net"]);
    let config = safe.list(&["rsa", "ecdsa"]);
    let house = House::open(&["--shards", "2", "--config", &config]);
    for (file, name) in [("rsa", "mx.example.org"), ("ecdsa", "mail.example.net")] {
        let config = Visitor::new().config(&[&safe.der(file)]);
        // Often enough that either shard accepts, and each account is at home on one of them.
        for turn in 0..8 {
            let account = if turn % 2 == 0 { "alice@ringpost.test" } else { "bob@ringpost.test" };
            let mut talk = Talk::with(house.door(2993)).shake_hands_as(config.clone(), name);
            assert!(talk.hear().starts_with("* OK"));
            talk.imap(&format!("LOGIN {account} {}", house.password(account)), "OK");
            talk.imap("SELECT INBOX", "OK");
            talk.imap("LOGOUT", "OK");
        }
    }
    let (_, figures, _) = house.verb(&["stats"], "");
    let moved = figures.lines().find_map(|line| line.strip_prefix("handoffs_in_total ")).expect("a figure");
    assert_ne!(moved, "0", "some logins went to the other shard");
}

#[test]
fn a095_who_speaks_another_protocol_alone_is_told_so_and_who_names_none_is_welcome() {
    let house = House::open(&[]);
    let ours = der(&house.data().join("tls/cert.pem"));
    // A stream on which a handshake is due.
    let ready = |port: u16, words: &str| {
        let mut talk = Talk::with(house.door(port));
        if !words.is_empty() {
            talk.hear();
            talk.say(words);
            talk.hear();
        }
        talk.stream().try_clone().expect("a second handle")
    };
    let doors =
        [(2465, "", "smtp"), (2587, "STARTTLS", "smtp"), (2525, "STARTTLS", "smtp"), (2993, "", "imap")].into_iter();
    let doors = doors.chain([(2143, "a STARTTLS", "imap"), (2995, "", "pop3"), (2110, "STLS", "pop3")]);
    for (port, words, protocol) in doors {
        let shake = |alpn: &[&str]| {
            Visitor::new().speaking(alpn).shown_on(ready(port, words), "localhost", &[&ours]).map(|_| ())
        };
        assert_eq!(shake(&[]), Ok(()), "{port}: none named");
        assert_eq!(shake(&["h2", protocol]), Ok(()), "{port}: its own among others");
        let others = ["smtp", "imap", "pop3"].into_iter().filter(|other| *other != protocol);
        for other in others.chain(["http/1.1", "h2", "SMTP", "imaps"]) {
            let why = shake(&[other]).expect_err("ALPACA");
            assert!(why.contains("NoApplicationProtocol"), "{port}, {other}: {why}");
        }
    }
}

/// Shakes hands again and again until `shown` is; the server is told by a signal, and answers nobody.
fn wait_for(at: std::net::SocketAddr, name: &str, shown: &[u8]) {
    let deadline = Instant::now() + PATIENCE;
    while Visitor::new().shown(at, name, &[shown]).is_err() {
        assert!(Instant::now() < deadline, "{name} is not shown");
        std::thread::yield_now();
    }
}

#[test]
fn a101_certificates_are_read_anew_while_connections_go_on_and_broken_ones_change_nothing() {
    let safe = Safe::new();
    safe.make("one", ECDSA, &["one.test"]);
    let config = safe.list(&["one"]);
    let mut house = House::open(&["--shards", "2", "--config", &config]);
    let (door, alice) = (house.door(2993), "alice@ringpost.test");
    let old = safe.der("one");
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut talk = Talk::with(door).shake_hands_as(Visitor::new().config(&[&old]), "one.test");
        assert!(talk.hear().starts_with("* OK"));
        open.push(talk);
    }
    let password = house.password(alice);
    open[0].imap(&format!("LOGIN {alice} {password}"), "OK");

    safe.make("one", RSA, &["one.test", "uno.test"]);
    let new = safe.der("one");
    let reload = |house: &House| house.verb(&["tls", "reload"], "");
    let (code, said, _) = reload(&house);
    assert!(code == 0 && said.contains("rsa    one.test uno.test ") && said.contains("one.pem"), "{said}");
    assert_eq!(Visitor::new().shown(door, "one.test", &[&old, &new]).as_ref(), Ok(&new));
    assert!(Visitor::new().shown(door, "one.test", &[&old]).is_err());

    // What a renewal that went wrong may leave behind.
    let (good_cert, good_key) = (safe.path("one.pem"), safe.path("one.key"));
    let cert = fs::read(&good_cert).expect("a certificate");
    safe.make("other", ECDSA, &["one.test"]);
    for (file, text, why) in [
        (&good_cert, b"hello".to_vec(), "one.pem: there is no certificate in it"),
        (&good_cert, cert[..cert.len() / 2].to_vec(), "one.pem: "),
        (&good_cert, fs::read(safe.path("other.pem")).expect("a certificate"), "cannot be used together"),
        (&good_key, b"hello".to_vec(), "one.key: not a private key"),
        (&PathBuf::from(&config), b"[[certificate]]\nhello = 1\n".to_vec(), "ringpost.toml:2:1: certificate: `hello`"),
    ] {
        let before = fs::read(file).expect("what is there");
        fs::write(file, text).expect("writing");
        let (code, _, said) = reload(&house);
        assert!(code == 1 && said.contains(why) && said.contains("stay as they are"), "{why}: {said}");
        assert_eq!(Visitor::new().shown(door, "one.test", &[&old, &new]).as_ref(), Ok(&new));
        fs::write(file, before).expect("writing");
    }
    fs::remove_file(&good_key).expect("removing");
    let (code, _, said) = reload(&house);
    assert!(code == 1 && said.contains("one.key: No such file"), "{said}");
    assert_eq!(Visitor::new().shown(door, "one.test", &[&old, &new]).as_ref(), Ok(&new));

    // By the signal, and with one more.
    safe.make("one", ECDSA, &["one.test"]);
    safe.make("two", ECDSA, &["two.test"]);
    safe.list(&["one", "two"]);
    let pid = rustix::process::Pid::from_raw(house.pid().cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("kill -HUP");
    wait_for(door, "two.test", &safe.der("two"));
    wait_for(door, "one.test", &safe.der("one"));
    let (_, listed, _) = house.verb(&["tls", "list", "--json"], "");
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(
        (&listed[0]["names"][0], &listed[1]["names"][0], listed.get(2)),
        (&"one.test".into(), &"two.test".into(), None)
    );

    // Shaken hands under the first certificate, and others are in force since: still handed over to the account's shard.
    for talk in &mut open[1..] {
        talk.imap(&format!("LOGIN {alice} {password}"), "OK");
    }
    for talk in &mut open {
        talk.imap("SELECT INBOX", "OK");
    }
    let (_, figures, _) = house.verb(&["stats"], "");
    for figure in ["tls_reloads_total{outcome=done} 2\n", "tls_reloads_total{outcome=failed} 6\n"] {
        assert!(figures.contains(figure), "{figure} in {figures}");
    }
    assert_eq!(house.stop(), Some(0));
    let (code, _, said) = reload(&house);
    assert!(code == 1 && said.contains("no server is running"), "{said}");
}

#[test]
fn a099_a_ticket_of_one_shard_is_good_at_the_other_and_after_a_reload() {
    let safe = Safe::new();
    safe.make("one", ECDSA, &["one.test"]);
    let house = House::open(&["--shards", "2", "--config", &safe.list(&["one"])]);
    let old = safe.der("one");
    let config = Visitor::new().config(&[&old]);
    let come = |times: usize| {
        for _ in 0..times {
            let mut talk = Talk::with(house.door(2993)).shake_hands_as(config.clone(), "one.test");
            assert!(talk.hear().starts_with("* OK"));
            talk.imap("LOGOUT", "OK");
        }
    };
    // How many handshakes in full there were, and how many sessions each shard resumed.
    let figures = || {
        let (_, said, _) = house.verb(&["stats", "--json", "--per-shard"], "");
        let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        let figure = |of: &serde_json::Value, name: &str| of[name].as_u64().expect("a figure");
        let shards = said["shards"].as_array().expect("shards");
        let resumed: Vec<u64> = shards.iter().map(|shard| figure(&shard["figures"], "tls_resumed_total")).collect();
        (figure(&said["sum"], "tls_handshakes_total"), resumed)
    };
    come(32);
    let (full, resumed) = figures();
    assert!(full == 1 && resumed.iter().sum::<u64>() == 31 && resumed.iter().all(|n| *n > 0), "{full}, {resumed:?}");
    safe.make("one", RSA, &["one.test"]);
    assert_eq!(house.verb(&["tls", "reload"], "").0, 0);
    // The client trusts the old certificate alone, and is shown none.
    come(4);
    let (full, resumed) = figures();
    assert!(full == 1 && resumed.iter().sum::<u64>() == 35, "{full}, {resumed:?}");
    let stranger = Visitor::new().shown(house.door(2993), "one.test", &[&old]);
    assert!(stranger.is_err(), "without a ticket the new one is shown");
}

#[test]
fn handshakes_are_counted_by_version_and_by_what_stood_in_their_way() {
    let house = House::open(&[]);
    let ours = der(&house.data().join("tls/cert.pem"));
    let door = house.door(2993);
    let mut twelve = Visitor::new();
    twelve.provider.cipher_suites.retain(|suite| suite.version().version == rustls::ProtocolVersion::TLSv1_2);
    assert!(twelve.shown(door, "localhost", &[&ours]).is_ok());
    assert!(Visitor::new().shown(door, "localhost", &[&ours]).is_ok());
    assert!(Visitor::new().speaking(&["h2"]).shown(door, "localhost", &[&ours]).is_err());
    assert!(Visitor::rsa_only().shown(door, "localhost", &[&ours]).is_err());
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    assert!(Visitor::new().shown(door, "localhost", &[stranger.cert.der()]).is_err());
    let expected = [
        "tls_handshakes_total{version=TLSv1.2} 1\n",
        "tls_handshakes_total{version=TLSv1.3} 1\n",
        "tls_failed_total{reason=alpn} 1\n",
        "tls_failed_total{reason=incompatible} 1\n",
        "tls_failed_total{reason=alert} 1\n",
    ];
    // A client is done before the server has counted.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, figures, _) = house.verb(&["stats"], "");
        let missing: Vec<_> = expected.iter().filter(|line| !figures.contains(**line)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{missing:?} in {figures}");
    }
}

#[test]
fn a100_a_client_is_not_asked_who_it_is() {
    #[derive(Debug, Default)]
    struct Asked(AtomicBool);
    impl ResolvesClientCert for Asked {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
            self.0.store(true, Ordering::SeqCst);
            None
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let house = House::open(&[]);
    let ours = der(&house.data().join("tls/cert.pem"));
    let asked = Arc::new(Asked::default());
    for port in [2993, 2995, 2465] {
        let mut config = ClientConfig::clone(&Visitor::new().config(&[&ours]));
        config.client_auth_cert_resolver = asked.clone();
        let mut talk = Talk::with(house.door(port)).shake_hands_as(Arc::new(config), "localhost");
        assert!(!talk.hear().is_empty());
    }
    assert!(!asked.0.load(Ordering::SeqCst), "so none is taken for anybody's, however long its chain");
}
