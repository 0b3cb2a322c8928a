//! A connection of the crowd: plain, or under TLS, and never waited for.
//!
//! Reading and writing say `WouldBlock` instead of waiting. Under TLS, octets may wait here that the socket knows nothing of: who
//! reads goes on until `WouldBlock`, and who wrote asks [`Channel::has_more_to_write`].

use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustls::ClientConnection;

/// The connection.
#[derive(Debug)]
pub struct Channel {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Channel {
    /// A connected socket that does not block, plain.
    #[must_use]
    pub fn plain(socket: TcpStream) -> Channel {
        Channel { socket, tls: None }
    }

    /// Shakes hands from now on; the handshake goes on with every read and flush.
    pub fn begin_tls(&mut self, tls: ClientConnection) {
        self.tls = Some(Box::new(tls));
    }

    /// True while a handshake is under way.
    #[must_use]
    pub fn is_shaking_hands(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// True if the next read may find something that the socket will not tell of.
    #[must_use]
    pub fn reads_on(&self) -> bool {
        self.tls.is_some()
    }

    /// The socket, to be watched.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// True if something written is still here.
    #[must_use]
    pub fn has_more_to_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Sends what a handshake or a write left here.
    ///
    /// # Errors
    /// The socket's, `WouldBlock` aside.
    pub fn push(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Read for Channel {
    /// `Ok(0)`: the other side has ended the connection, under TLS with a farewell.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(into) };
        loop {
            match tls.reader().read(into) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            // What has to be answered goes out first: a handshake cannot go on without it.
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                }
            }
            let was_shaking = tls.is_handshaking();
            let got = tls.read_tls(&mut self.socket)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            if got == 0 && tls.is_handshaking() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if was_shaking && !tls.is_handshaking() {
                // Who waits for the handshake alone is told by a read that finds nothing.
                self.push()?;
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }
}

impl Write for Channel {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.write(from) };
        let written = tls.writer().write(from)?;
        self.push()?;
        // Nothing was taken because what was written before is still here.
        if written == 0 && !from.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }
}
