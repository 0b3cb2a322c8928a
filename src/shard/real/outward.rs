//! Sockets that this shard opens to others: TCP connections, and UDP to one peer.
//!
//! A UDP socket is connected before it is used: the kernel chooses a port for it, hands us what that peer sends and nothing
//! else, and says when nobody is there (ICMP). A datagram is read as a file is: into memory of the slot's own, which the kernel
//! keeps until the completion, whoever has lost interest by then.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::net::SendFlags;
use socket2::{Domain, Protocol, Socket, Type};

use super::home::{Shard, here};
use super::stream::Stream;
use super::work::Key;
use crate::shard::{DATAGRAM_BYTES_MAX, Peer};

/// An entry in the ring that ends with its owner.
struct Wait {
    shard: Rc<Shard>,
    key: Option<Key>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let (Some(key), Some(mut ring)) = (self.key, self.shard.try_ring()) {
            ring.abandon(key);
        }
    }
}

/// As [`crate::shard::connect`].
pub async fn connect(to: SocketAddr) -> io::Result<Stream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    let shard = here();
    let socket = Rc::new(OwnedFd::from(socket));
    let key = shard.ring().connect_open(socket.clone(), to.into());
    let mut wait = Wait { shard: shard.clone(), key: Some(key) };
    let connected = poll_fn(|cx| shard.ring().connect_poll(key, cx)).await;
    wait.key = None;
    connected?;
    let socket = Rc::into_inner(socket).expect("the slot that shared it is free");
    Ok(Stream::new(shard, socket, Peer::Net(to)))
}

/// As [`crate::shard::Datagrams`].
pub struct Datagrams(Rc<OwnedFd>);

impl Datagrams {
    /// As [`crate::shard::Datagrams::to`].
    pub fn to(to: SocketAddr) -> io::Result<Datagrams> {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        let any: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // Port 0: the kernel takes one by chance from those that are free.
        socket.bind(&any.into())?;
        socket.connect(&to.into())?;
        Ok(Datagrams(Rc::new(socket.into())))
    }

    /// As [`crate::shard::Datagrams::send`]. Not through the ring: the kernel takes a datagram or refuses it, and waits for
    /// nobody.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = rustix::net::send(&*self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// As [`crate::shard::Datagrams::recv`].
    pub async fn recv(&self) -> io::Result<Vec<u8>> {
        let shard = here();
        let key = shard.ring().read_open(self.0.clone(), Vec::with_capacity(DATAGRAM_BYTES_MAX), 0);
        let mut wait = Wait { shard: shard.clone(), key: Some(key) };
        let (read, bytes) = poll_fn(|cx| shard.ring().read_poll(key, cx)).await;
        wait.key = None;
        read.map(|_| bytes)
    }
}
