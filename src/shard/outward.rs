//! What this shard opens to others: TCP connections, and UDP sockets that talk to one peer.

use std::io;
use std::net::SocketAddr;

#[cfg(feature = "sim")]
use super::sim;
use super::{Stream, StreamIn, real};

/// Octets that are taken of one datagram; the rest of a longer one is lost.
pub const DATAGRAM_BYTES_MAX: usize = 4_096;

/// Connects to `to` over TCP. It waits as long as the kernel tries: bound it with [`super::within`].
///
/// # Errors
/// As `connect`.
pub async fn connect(to: SocketAddr) -> io::Result<Stream> {
    world!(real::connect(to).await.map(|s| Stream(StreamIn::Real(s))), sim::connect(to).await)
}

/// A UDP socket of its own port, chosen by chance, that talks to one peer: what others send is dropped unseen.
pub struct Datagrams(DatagramsIn);

enum DatagramsIn {
    Real(real::Datagrams),
    #[cfg(feature = "sim")]
    Sim(sim::Datagrams),
}

impl Datagrams {
    /// Opens one that talks to `to`.
    ///
    /// # Errors
    /// As `socket`, `bind` and `connect`: no descriptor, no port or no way there.
    pub fn to(to: SocketAddr) -> io::Result<Datagrams> {
        world!(
            real::Datagrams::to(to).map(|d| Datagrams(DatagramsIn::Real(d))),
            sim::Datagrams::to(to).map(|d| Datagrams(DatagramsIn::Sim(d)))
        )
    }

    /// Sends one. It may get lost.
    ///
    /// # Errors
    /// As `send`; `ConnectionRefused` when an earlier one found nobody there.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.0 {
            DatagramsIn::Real(d) => d.send(bytes),
            #[cfg(feature = "sim")]
            DatagramsIn::Sim(d) => d.send(bytes),
        }
    }

    /// The next one, at most [`DATAGRAM_BYTES_MAX`] octets of it; it may be empty. It waits for ever: bound it with
    /// [`super::within`].
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody is there, as far as the network tells; else as `recv`.
    pub async fn recv(&self) -> io::Result<Vec<u8>> {
        match &self.0 {
            DatagramsIn::Real(d) => d.recv().await,
            #[cfg(feature = "sim")]
            DatagramsIn::Sim(d) => d.recv().await,
        }
    }
}
