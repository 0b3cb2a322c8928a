//! TLS of one connection as a value: sealed octets in, opened octets out, and the other way round (RFC 8446, RFC 5246).
//!
//! ```text
//!   stream ── sealed ──► take ──► opened ──► the session
//!                          └────► answers of TLS itself (handshake, tickets, alerts) ──► stream
//!   replies ───────────► seal ──► sealed ─────────────────────────────────────────────► stream
//! ```
//!
//! Rules:
//!
//! - No socket here: [`Wire`](super::Wire) moves the octets. So a connection can be carried to another shard in any state.
//! - An idle connection keeps its keys and nothing else. What is held are the records of an unfinished message, at most
//!   [`UNFINISHED_BYTES_MAX`]: rustls gives nothing back of a message of several records before its last one, and records
//!   may be all padding (A097). Of what TLS sends of its own accord rustls bounds the rest: it ends a connection for floods of
//!   empty records, key updates and renegotiations.
//! - Early data is not accepted, TLS below 1.2 is not spoken, and there is no renegotiation or compression to have (A094).
//! - The server name that a client asks for chooses a certificate (`certificates`) and is kept nowhere; one that is no name at
//!   all is refused by rustls with an alert (A096; *liberty*: illegal_parameter where RFC 6066 §3 has unrecognized_name).

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, WriteTraffic};
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, ServerConfig};

use crate::observe::{self, Counter};
use crate::shard::Moment;

use super::certificates::{Certificates, Reader, Shelf};
use super::exporter;
use super::tickets::Tickets;
use crate::proto::sasl::scram::BINDING_BYTES;

/// Octets held of a record, or of a handshake message in several records, whose end has not come. More: the connection is
/// closed. A record has at most 18 KiB (RFC 5246 §6.2.3), and a client's hello fits into two.
pub const UNFINISHED_BYTES_MAX: usize = 40 << 10;

/// Octets that a record adds to what it carries, at most, and the fewest that it can carry when it is full:
/// what a sealed answer is made room for.
const RECORD_EXTRA_BYTES: usize = 64;
const RECORD_BYTES: usize = 16 << 10;

/// What the doors of one protocol shake hands with. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    tickets: Arc<Tickets>,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl Acceptor {
    /// An acceptor for one protocol. `alpn`: the protocol's names; a client that names others alone is refused (A095).
    /// Each acceptor has ticket keys of its own (A099).
    ///
    /// # Errors
    /// When the system has no randomness for ticket keys.
    /// `exports`: what logins can be bound to is taken from each handshake.
    pub fn showing(shelf: &Arc<Shelf>, alpn: &[&[u8]], exports: bool) -> Result<Acceptor, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(shelf.clone());
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let tickets = Arc::new(Tickets::new()?);
        config.ticketer = tickets.clone();
        config.max_early_data_size = 0;
        if exports {
            config.key_log = Arc::new(exporter::Exporter);
        }
        Ok(Acceptor { config: Arc::new(config), tickets })
    }
}

/// What the doors shake hands with: one acceptor for each kind of door, so that a ticket is good at that door alone (A099).
#[derive(Clone, Debug)]
pub struct Acceptors {
    shelf: Arc<Shelf>,
    /// SMTP, from other hosts.
    pub smtp: Acceptor,
    /// SMTP, from users, by STARTTLS.
    pub submission: Acceptor,
    /// SMTP, from users, TLS first.
    pub submissions: Acceptor,
    /// LMTP by STARTTLS. It has no name in ALPN.
    pub lmtp: Acceptor,
    /// IMAP by STARTTLS.
    pub imap: Acceptor,
    /// IMAP, TLS first.
    pub imaps: Acceptor,
    /// POP3 by STLS.
    pub pop3: Acceptor,
    /// POP3, TLS first.
    pub pop3s: Acceptor,
}

impl Acceptors {
    /// Each with its protocol's ALPN name (IANA's registry; RFC 7301 §6).
    ///
    /// # Errors
    /// As [`Acceptor::showing`].
    pub fn of(certificates: Certificates) -> Result<Acceptors, rustls::Error> {
        Self::showing(Shelf::with(certificates, None))
    }

    /// As [`Acceptors::of`], where `reader` can read the certificates anew.
    ///
    /// # Errors
    /// As [`Acceptor::showing`].
    pub fn renewable(certificates: Certificates, reader: Reader) -> Result<Acceptors, rustls::Error> {
        Self::showing(Shelf::with(certificates, Some(reader)))
    }

    fn showing(shelf: Shelf) -> Result<Acceptors, rustls::Error> {
        let shelf = &Arc::new(shelf);
        let [smtp, imap, pop3] =
            [b"smtp".as_slice(), b"imap", b"pop3"].map(|n| move |exports| Acceptor::showing(shelf, &[n], exports));
        Ok(Acceptors {
            shelf: shelf.clone(),
            smtp: smtp(false)?,
            submission: smtp(true)?,
            submissions: smtp(true)?,
            lmtp: Acceptor::showing(shelf, &[], false)?,
            imap: imap(true)?,
            imaps: imap(true)?,
            pop3: pop3(true)?,
            pop3s: pop3(true)?,
        })
    }

    /// Changes the ticket keys of all doors that it is time to change, so that none is remembered longer because nobody comes.
    pub fn keep_fresh(&self, now: Moment) {
        let Acceptors { shelf: _, smtp, submission, submissions, lmtp, imap, imaps, pop3, pop3s } = self;
        for acceptor in [smtp, submission, submissions, lmtp, imap, imaps, pop3, pop3s] {
            acceptor.tickets.keep_fresh(now);
        }
    }

    /// Where the certificates are, for who puts others there.
    #[must_use]
    pub fn shelf(&self) -> Arc<Shelf> {
        self.shelf.clone()
    }

    /// The certificates in force.
    #[must_use]
    pub fn certificates(&self) -> Arc<Certificates> {
        self.shelf.now()
    }
}

/// What was agreed on, for the log and for trace fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite as IANA names it: `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// True if a ticket spared the key exchange's signature.
    pub resumed: bool,
}

/// Counts a handshake that ended well.
pub fn count_done(agreed: Agreed) {
    observe::count(match (agreed.version, agreed.resumed) {
        ("TLSv1.3", false) => Counter::TlsFull13,
        ("TLSv1.3", true) => Counter::TlsResumed13,
        (_, false) => Counter::TlsFull12,
        (_, true) => Counter::TlsResumed12,
    });
}

/// Counts a handshake that did not, by what stood in its way.
pub fn count_failed(why: &io::Error) {
    let of_tls = why.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    observe::count(match (of_tls, why.kind()) {
        (Some(rustls::Error::NoApplicationProtocol), _) => Counter::TlsFailedAlpn,
        (Some(rustls::Error::PeerIncompatible(_)), _) => Counter::TlsFailedIncompatible,
        (Some(rustls::Error::AlertReceived(_)), _) => Counter::TlsFailedAlert,
        (None, io::ErrorKind::TimedOut) => Counter::TlsFailedTimeout,
        _ => Counter::TlsFailed,
    });
}

/// The name in the registry (RFC 8446 §B.4): rustls has one of its own for those of TLS 1.3.
fn registered(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

/// One connection's TLS.
pub struct Tls {
    conn: UnbufferedServerConnection,
    /// Records, or the beginning of one, whose message is not whole yet.
    unfinished: Vec<u8>,
    /// The peer has said that it will send no more.
    peer_closed: bool,
    /// What a login can be bound to (RFC 9266).
    binding: Option<[u8; BINDING_BYTES]>,
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub struct Broken(rustls::Error);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Broken> for io::Error {
    fn from(why: Broken) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, why.0)
    }
}

thread_local! {
    /// Where sealed octets are opened in place. One for all connections of a shard.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Octets the scratch keeps between uses.
const SCRATCH_BYTES_KEPT: usize = 256 << 10;

impl Tls {
    /// A connection whose handshake is about to begin.
    ///
    /// # Errors
    /// Never for an acceptor that was made; said so that nothing here can panic.
    pub fn begin(acceptor: &Acceptor) -> Result<Tls, Broken> {
        let conn = UnbufferedServerConnection::new(acceptor.config.clone()).map_err(Broken)?;
        Ok(Tls { conn, unfinished: Vec::new(), peer_closed: false, binding: None })
    }

    /// True until both sides have finished the handshake.
    #[must_use]
    pub fn shaking_hands(&self) -> bool {
        self.conn.is_handshaking()
    }

    /// True after the peer's `close_notify`: it will send no more, and nothing of it was cut off (A098).
    #[must_use]
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// What a login can be bound to, after the handshake of TLS 1.3 (RFC 9266).
    #[must_use]
    pub fn binding(&self) -> Option<[u8; BINDING_BYTES]> {
        self.binding
    }

    /// What was agreed on; `None` before the end of the handshake.
    #[must_use]
    pub fn agreed(&self) -> Option<Agreed> {
        let version = match self.conn.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let cipher = registered(self.conn.negotiated_cipher_suite()?.suite());
        Some(Agreed { version, cipher, resumed: self.conn.handshake_kind()? == HandshakeKind::Resumed })
    }

    /// Takes received octets: appends what they hold to `opened` and what TLS answers to `reply`.
    ///
    /// # Errors
    /// The peer broke the protocol. `reply` then holds the alert that says so.
    pub fn take(&mut self, received: &[u8], opened: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<(), Broken> {
        let shaking_hands = self.shaking_hands();
        let taken = self.take_on(received, opened, reply);
        if shaking_hands {
            self.binding = exporter::taken().or(self.binding);
        }
        taken
    }

    fn take_on(&mut self, received: &[u8], opened: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<(), Broken> {
        if self.unfinished.is_empty() {
            return SCRATCH.with_borrow_mut(|scratch| {
                scratch.clear();
                scratch.extend_from_slice(received);
                let used = self.process(scratch, opened, reply)?;
                self.unfinished = scratch[used..].to_vec();
                if scratch.capacity() > SCRATCH_BYTES_KEPT {
                    *scratch = Vec::new();
                }
                Ok(())
            });
        }
        let mut held = std::mem::take(&mut self.unfinished);
        held.extend_from_slice(received);
        let used = self.process(&mut held, opened, reply)?;
        if held.len() - used > UNFINISHED_BYTES_MAX {
            return Err(Broken(rustls::Error::General("a message without end".to_owned())));
        }
        if used < held.len() {
            held.drain(..used);
            self.unfinished = held;
        }
        Ok(())
    }

    /// Runs the protocol until it wants more octets; returns how many were used.
    fn process(&mut self, sealed: &mut [u8], opened: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<usize, Broken> {
        let mut used = 0;
        loop {
            let status = self.conn.process_tls_records(&mut sealed[used..]);
            let mut discard = status.discard;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(Broken)?;
                        opened.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, reply),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                // It waits for more. Whatever else there may be one day: what is not understood is not acted upon.
                Ok(_) => return Ok(used + discard),
                Err(why) => {
                    // The alert that tells the peer comes before another look at the octets that were refused. Without
                    // one to be had there must be no such look: rustls panics at refusing twice.
                    while self.conn.wants_write() {
                        let status = self.conn.process_tls_records(&mut sealed[used + discard..]);
                        match status.state {
                            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, reply),
                            _ => break,
                        }
                        discard += status.discard;
                    }
                    return Err(Broken(why));
                }
            }
            used += discard;
        }
    }

    /// Seals `plain` and appends the records to `sealed`.
    ///
    /// # Errors
    /// Before the handshake is finished; after the connection broke; when the keys are used up.
    pub fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> Result<(), Broken> {
        self.write(sealed, |traffic, into, at| {
            let records = plain.len() / RECORD_BYTES + 1;
            into.resize(at + plain.len() + records * RECORD_EXTRA_BYTES, 0);
            match traffic.encrypt(plain, &mut into[at..]) {
                Err(EncryptError::InsufficientSize(need)) => {
                    into.resize(at + need.required_size, 0);
                    traffic.encrypt(plain, &mut into[at..])
                }
                done => done,
            }
        })
    }

    /// Appends the `close_notify` that says that nothing of ours was cut off (RFC 8446 §6.1).
    ///
    /// # Errors
    /// As [`Tls::seal`].
    pub fn close(&mut self, sealed: &mut Vec<u8>) -> Result<(), Broken> {
        self.write(sealed, |traffic, into, at| {
            into.resize(at + 2 * RECORD_EXTRA_BYTES, 0);
            traffic.queue_close_notify(&mut into[at..])
        })
    }

    /// Gets to where something may be sent, with what TLS itself has to send before it, and sends it.
    fn write(
        &mut self,
        sealed: &mut Vec<u8>,
        send: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>, usize) -> Result<usize, EncryptError>,
    ) -> Result<(), Broken> {
        loop {
            // What has come of an unfinished record is shown again: rustls knows how far it has looked into it.
            let status = self.conn.process_tls_records(&mut self.unfinished);
            let discard = status.discard;
            match status.state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, sealed),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let at = sealed.len();
                    let sent = send(&mut traffic, sealed, at);
                    sealed.truncate(at + *sent.as_ref().unwrap_or(&0));
                    self.unfinished.drain(..discard);
                    return sent.map(|_| ()).map_err(|why| Broken(rustls::Error::General(why.to_string())));
                }
                Ok(_) => return Err(Broken(rustls::Error::HandshakeNotComplete)),
                Err(why) => return Err(Broken(why)),
            }
            self.unfinished.drain(..discard);
        }
    }
}

/// Appends what TLS has to send.
fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, into: &mut Vec<u8>) {
    let at = into.len();
    if let Err(EncodeError::InsufficientSize(need)) = data.encode(&mut into[at..]) {
        into.resize(at + need.required_size, 0);
        data.encode(&mut into[at..]).expect("there is as much room as was asked for");
    }
}
