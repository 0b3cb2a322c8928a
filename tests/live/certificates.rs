//! Several certificates at the doors of a real server: by name, by what a client can verify.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SignatureScheme};

use crate::house::{House, PATIENCE, Talk};

/// Certificates of a test, each in two files of its name.
pub struct Safe {
    dir: tempfile::TempDir,
}

pub const RSA: &rcgen::SignatureAlgorithm = &PKCS_RSA_SHA256;
pub const ECDSA: &rcgen::SignatureAlgorithm = &PKCS_ECDSA_P256_SHA256;

impl Safe {
    pub fn new() -> Safe {
        Safe { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes `FILE.pem` and `FILE.key` for these names, or makes them anew.
    pub fn make(&self, file: &str, algorithm: &'static rcgen::SignatureAlgorithm, names: &[&str]) {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let cert = CertificateParams::new(names).expect("names").self_signed(&key).expect("a certificate");
        let place = self.path(&format!("{file}.key"));
        fs::write(&place, key.serialize_pem()).expect("writing");
        fs::set_permissions(place, fs::Permissions::from_mode(0o600)).expect("a key of one's own");
        fs::write(self.path(&format!("{file}.pem")), cert.pem()).expect("writing");
    }

    /// Writes a configuration that lists these files, and returns its path.
    pub fn list(&self, files: &[&str]) -> String {
        let entry = |file: &&str| format!("[[certificate]]\ncert = \"{file}.pem\"\nkey = \"{file}.key\"\n");
        let path = self.path("ringpost.toml");
        fs::write(&path, files.iter().map(entry).collect::<String>()).expect("writing");
        path.to_str().expect("a plain path").to_owned()
    }

    /// As it is on the wire.
    pub fn der(&self, file: &str) -> Vec<u8> {
        der(&self.path(&format!("{file}.pem")))
    }
}

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
