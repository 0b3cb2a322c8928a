//! The client's side of TLS (RFC 8446, RFC 5246): whom it trusts, which versions it speaks, whether it resumes.
//!
//! The certificate is verified, always: against the file given, for the address connected to. A connection that ends
//! without a `close_notify` was cut off, and that is a failure like any other.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

/// Sessions remembered by one [`Trust`] that resumes.
const SESSIONS_KEPT: usize = 32;

/// Versions a client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

/// What connections are made with. Clones share their remembered sessions.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

/// A TLS connection over a blocking socket.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl Trust {
    /// Trusts the certificates in `ca` (PEM). `resume`: later connections resume sessions of earlier ones.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn new(ca: &Path, versions: Versions, resume: bool) -> Result<Trust, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", ca.display());
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_file_iter(ca).map_err(|e| wrong(&e))? {
            roots.add(cert.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
        }
        let versions = match versions {
            Versions::Tls12 => [&TLS12],
            Versions::Tls13 => [&TLS13],
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&versions)
            .map_err(|e| wrong(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = if resume { Resumption::in_memory_sessions(SESSIONS_KEPT) } else { Resumption::disabled() };
        Ok(Trust(Arc::new(config)))
    }

    /// The client's side of a connection to `server`, before the handshake.
    ///
    /// # Errors
    /// What rustls says of the configuration.
    pub fn client(&self, server: IpAddr) -> io::Result<ClientConnection> {
        ClientConnection::new(self.0.clone(), ServerName::IpAddress(server.into())).map_err(io::Error::other)
    }

    /// Shakes hands with `server` on a connected socket; the socket's own time-outs hold.
    ///
    /// # Errors
    /// The handshake failed, the certificate is not the server's, the connection is gone.
    pub fn shake_hands(&self, server: IpAddr, mut stream: TcpStream) -> io::Result<TlsStream> {
        let mut tls = self.client(server)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(tls, stream))
    }
}

/// Whether the handshake resumed a session.
#[must_use]
pub fn resumed(stream: &TlsStream) -> bool {
    stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// Says that nothing more is sent. A peer that is gone needs no farewell.
pub fn farewell(stream: &mut TlsStream) {
    stream.conn.send_close_notify();
    let _ = stream.conn.complete_io(&mut stream.sock);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::wire::{Error, Way, Wire};

    /// A server with a certificate for 127.0.0.1 that serves `connections` with a line each; the certificate, its address.
    fn server(
        folder: &Path,
        name: &str,
        connections: usize,
        farewell: bool,
    ) -> (std::path::PathBuf, std::net::SocketAddr) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let ca = folder.join(name);
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(connections) {
                let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
                // A client that does not trust us is no fault of ours.
                if tls.write_all(b"* OK hello\r\n").and_then(|()| tls.flush()).is_ok() && farewell {
                    tls.conn.send_close_notify();
                    let _ = tls.flush();
                    let _ = tls.read(&mut [0; 64]);
                }
            }
        });
        (ca, address)
    }

    fn hello(trust: &Trust, server: std::net::SocketAddr) -> Result<(Option<bool>, Result<(), Error>), Error> {
        let way = Way { server, source: None, trust: Some(trust.clone()), patience: Duration::from_secs(10) };
        let mut wire = Wire::open(&way)?;
        assert_eq!(wire.line()?, b"* OK hello");
        let (resumed, end) = (wire.resumed(), wire.closed());
        wire.leave();
        Ok((resumed, end))
    }

    #[test]
    fn a_second_connection_resumes_only_if_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, address) = server(folder.path(), "ca", 8, true);
        for versions in [Versions::Tls12, Versions::Tls13] {
            for (resume, second) in [(true, true), (false, false)] {
                let trust = Trust::new(&ca, versions, resume).unwrap();
                assert_eq!(hello(&trust, address).unwrap().0, Some(false));
                assert_eq!(hello(&trust, address).unwrap().0, Some(second), "{versions:?}");
            }
        }
    }

    #[test]
    fn another_servers_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (_, address) = server(folder.path(), "ours", 1, true);
        let (other, _) = server(folder.path(), "other", 0, true);
        let trust = Trust::new(&other, Versions::Tls13, false).unwrap();
        assert!(matches!(hello(&trust, address), Err(Error::Lost(_))));
    }

    #[test]
    fn an_end_without_farewell_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, address) = server(folder.path(), "ca", 2, false);
        let trust = Trust::new(&ca, Versions::Tls13, false).unwrap();
        assert!(matches!(hello(&trust, address).unwrap().1, Err(Error::Lost(_))));
        let (ca, address) = server(folder.path(), "ca", 2, true);
        let trust = Trust::new(&ca, Versions::Tls13, false).unwrap();
        assert!(hello(&trust, address).unwrap().1.is_ok());
    }
}
