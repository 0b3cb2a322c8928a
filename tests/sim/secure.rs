//! TLS in the simulated world: a client of another make (rustls' buffered API) over the world's streams.
//!
//! The certificate is made by the test; what TLS draws by chance is not from the seed, so octets differ from run to
//! run while the order of things does not.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use memchr::memmem;
use ringpost::net::Acceptors;
use ringpost::net::certificates::{Certificates, Identity};
use ringpost::shard::{self, Stream, sim};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The certificate of this test run: what the server shakes hands with, and what the client trusts.
struct Trust {
    dir: tempfile::TempDir,
    client: Arc<ClientConfig>,
}

fn trust() -> &'static Trust {
    static TRUST: OnceLock<Trust> = OnceLock::new();
    TRUST.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let pair = rcgen::KeyPair::generate().expect("a key");
        let made = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).and_then(|p| p.self_signed(&pair));
        let made = made.expect("a certificate");
        std::fs::write(&cert, made.pem()).expect("written");
        std::fs::write(&key, pair.serialize_pem()).expect("written");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&cert).expect("a certificate")).expect("a root");
        Trust { dir, client: Arc::new(client_config(roots)) }
    })
}

fn client_config(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// What the node's doors shake hands with. Ticket keys are this node's own: each world has a clock of its own.
pub fn acceptors() -> Acceptors {
    let dir = trust().dir.path();
    let identity = Identity::read(&dir.join("cert.pem"), &dir.join("key.pem")).expect("both fit");
    Acceptors::of(Certificates::of(vec![identity]).expect("one")).expect("acceptors")
}

/// The settings of a client that has been nowhere yet.
pub fn client() -> ClientConfig {
    let mut config = ClientConfig::clone(&trust().client);
    config.resumption = Resumption::in_memory_sessions(8);
    config
}

/// True if a client with these settings would send octets with its first flight (RFC 8446 §2.3).
pub fn would_send_early(config: ClientConfig) -> bool {
    assert!(config.enable_early_data);
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a client");
    tls.early_data().is_some()
}

/// A client's first flight for `name`, as it goes over the wire.
pub fn hello(name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut tls = ClientConnection::new(Arc::new(client()), name).expect("a client");
    let mut sealed = Vec::new();
    tls.write_tls(&mut sealed).expect("memory takes all");
    sealed
}

/// A connection, plain until it is told otherwise.
pub struct Client {
    stream: Stream,
    tls: Option<Box<ClientConnection>>,
    held: Vec<u8>,
}

impl Client {
    pub async fn connect(to: SocketAddr) -> io::Result<Client> {
        Ok(Client { stream: sim::connect(to).await?, tls: None, held: Vec::new() })
    }

    /// Shakes hands; `piece`: octets of one send.
    pub async fn shake_hands(&mut self, config: ClientConfig, piece: usize) -> io::Result<()> {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = Box::new(ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?);
        assert!(self.held.is_empty(), "words before the handshake: {:?}", String::from_utf8_lossy(&self.held));
        while tls.is_handshaking() || tls.wants_write() {
            let mut sealed = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut sealed)?;
            }
            for part in sealed.chunks(piece.max(1)) {
                self.stream.send(part.to_vec()).await.0?;
            }
            if !tls.is_handshaking() {
                break;
            }
            let chunk = self.stream.recv().await?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            feed(&mut tls, &chunk, &mut self.held)?;
        }
        self.tls = Some(tls);
        Ok(())
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.tls {
            None => self.stream.send(bytes.as_ref().to_vec()).await.0,
            Some(tls) => {
                let mut sealed = Vec::new();
                // The writer takes a bounded amount at a time.
                for part in bytes.as_ref().chunks(16 << 10) {
                    tls.writer().write_all(part)?;
                    while tls.wants_write() {
                        tls.write_tls(&mut sealed)?;
                    }
                }
                self.stream.send(sealed).await.0
            }
        }
    }

    /// Seals `bytes` and sends the first `now` octets of the records; the rest comes back, for [`Client::say_raw`].
    pub async fn say_part(&mut self, bytes: &[u8], now: usize) -> io::Result<Vec<u8>> {
        let tls = self.tls.as_mut().expect("under TLS");
        let mut sealed = Vec::new();
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            tls.write_tls(&mut sealed)?;
        }
        let rest = sealed.split_off(now.min(sealed.len()));
        self.stream.send(sealed).await.0?;
        Ok(rest)
    }

    /// Tells the server that other keys are used from now on (RFC 8446 §4.6.3).
    pub async fn change_keys(&mut self) -> io::Result<()> {
        let tls = self.tls.as_mut().expect("under TLS");
        tls.refresh_traffic_keys().map_err(io::Error::other)?;
        let mut sealed = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut sealed)?;
        }
        self.stream.send(sealed).await.0
    }

    /// One line, without its CRLF.
    pub async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = memmem::find(&self.held, b"\r\n") {
                let line = self.held.drain(..at + 2).take(at).collect();
                return Ok(String::from_utf8(line).expect("a server's line is UTF-8"));
            }
            self.more().await?;
        }
    }

    /// Everything up to the server's end; true if TLS said that nothing was cut off.
    pub async fn rest(mut self) -> (Vec<u8>, bool) {
        loop {
            match self.more().await {
                Ok(()) => {}
                Err(why) => {
                    let whole = why.kind() == io::ErrorKind::UnexpectedEof && why.to_string() == WHOLE;
                    return (self.held, whole);
                }
            }
        }
    }

    /// The first octet of what the server says next, past TLS.
    pub async fn first(&mut self) -> Option<u8> {
        let chunk = self.stream.recv().await.ok()?;
        chunk.first().copied()
    }

    /// Ends without `close_notify`, as somebody in between would.
    pub async fn cut_off(self) {
        self.stream.close().await;
    }

    /// Octets as they are, past TLS.
    pub async fn say_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.send(bytes.to_vec()).await.0
    }

    async fn more(&mut self) -> io::Result<()> {
        self.stream.set_deadline(Some(shard::now().after(std::time::Duration::from_secs(900))));
        let chunk = self.stream.recv().await?;
        let Some(tls) = &mut self.tls else {
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.held.extend_from_slice(&chunk);
            return Ok(());
        };
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if feed(tls, &chunk, &mut self.held)? {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, WHOLE));
        }
        Ok(())
    }
}

const WHOLE: &str = "the server said that it is done";

/// Gives received octets to TLS, and what they hold to `into`; true if the server said that it is done.
fn feed(tls: &mut ClientConnection, mut bytes: &[u8], into: &mut Vec<u8>) -> io::Result<bool> {
    let mut done = false;
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes)?;
        done |= tls.process_new_packets().map_err(io::Error::other)?.peer_has_closed();
        let mut part = [0; 4096];
        while let Ok(n @ 1..) = tls.reader().read(&mut part) {
            into.extend_from_slice(&part[..n]);
        }
    }
    Ok(done)
}
