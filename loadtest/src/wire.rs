//! A blocking connection that remembers what was said, so that a failure can show it.
//!
//! Used by the clients that read back, by the kill loop and by the figures; the load itself goes through
//! [`crate::load`], which blocks on nothing. Every read and write has a deadline. Plain, or under TLS from its first octet.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::tls::{self, TlsStream, Trust};

/// Lines of dialogue kept for a failure's report. Older ones are forgotten.
const DIALOGUE_LINES_MAX: usize = 24;
/// Bytes of one line shown. The rest is left out.
const DIALOGUE_LINE_BYTES_MAX: usize = 200;
/// One reply line accepted, bytes. Longer: [`Error::Strange`].
const LINE_BYTES_MAX: usize = 1 << 20;
const READ_BYTES: usize = 1 << 16;

/// Why a conversation ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed or was closed: nothing is known of what was still unanswered.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// The server said no, in a form the protocol allows.
    #[error("refused: {0}")]
    Refused(String),
    /// The server said what the protocol does not allow here.
    #[error("wanted {wanted}, got {got:?}\n{dialogue}")]
    Strange { wanted: String, got: String, dialogue: String },
}

/// A connection, read by lines and by counted bytes.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    used: usize,
    dialogue: VecDeque<String>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// How a connection is made.
#[derive(Clone, Debug)]
pub struct Way {
    /// The listener.
    pub server: SocketAddr,
    /// The address connected from, where it matters.
    pub source: Option<IpAddr>,
    /// With a handshake before the first octet.
    pub trust: Option<Trust>,
    /// Bounds the connect, the handshake, and each later read and write.
    pub patience: Duration,
}

impl Wire {
    /// Connects; `patience` bounds the connect and each later read and write.
    pub fn connect(server: SocketAddr, patience: Duration) -> Result<Wire, Error> {
        Wire::open(&Way { server, source: None, trust: None, patience })
    }

    /// Connects, and shakes hands if asked to.
    pub fn open(way: &Way) -> Result<Wire, Error> {
        let socket = Socket::new(Domain::for_address(way.server), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(source) = way.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&way.server.into(), way.patience)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(way.patience))?;
        stream.set_write_timeout(Some(way.patience))?;
        let stream = match &way.trust {
            None => Stream::Plain(stream),
            Some(trust) => Stream::Tls(Box::new(trust.shake_hands(way.server.ip(), stream)?)),
        };
        Ok(Wire { stream, buffer: Vec::new(), used: 0, dialogue: VecDeque::new() })
    }

    /// Whether the connection is under TLS, and then whether that was resumed.
    #[must_use]
    pub fn resumed(&self) -> Option<bool> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(tls::resumed(stream)),
        }
    }

    /// Says farewell to TLS, if there is any, and lets go.
    pub fn leave(mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            tls::farewell(stream);
        }
    }

    /// Gives back what is not needed while nothing is said: for thousands of connections that wait.
    pub fn rest(&mut self) {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.shrink_to_fit();
        self.dialogue = VecDeque::new();
    }

    /// Sends `bytes` whole. After an error, whether the last byte was sent is known: it was not.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.note('C', bytes);
        Ok(match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }?)
    }

    /// One line without its CRLF. A bare LF or CR is [`Error::Strange`].
    pub fn line(&mut self) -> Result<Vec<u8>, Error> {
        let line = self.quiet_line()?.to_vec();
        self.note('S', &line);
        Ok(line)
    }

    /// The same, not remembered: for the lines of a message, which are many.
    pub fn quiet_line(&mut self) -> Result<&[u8], Error> {
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.used..];
            if let Some(at) = memchr::memchr(b'\n', &unread[searched..]) {
                let (start, end) = (self.used, self.used + searched + at);
                self.used = end + 1;
                let lawful = end > start && memchr::memchr(b'\r', &self.buffer[start..end]) == Some(end - start - 1);
                if lawful {
                    return Ok(&self.buffer[start..end - 1]);
                }
                return Err(self.strange("a line that ends in CRLF", &self.buffer[start..end]));
            }
            searched = unread.len();
            if searched > LINE_BYTES_MAX {
                return Err(self.strange("a line of bounded length", b"(no end of line)"));
            }
            self.fill()?;
        }
    }

    /// Exactly `count` bytes, appended to `out`.
    pub fn exactly(&mut self, count: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut left = count;
        loop {
            let take = left.min(self.buffer.len() - self.used);
            out.extend_from_slice(&self.buffer[self.used..self.used + take]);
            self.used += take;
            left -= take;
            if left == 0 {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Waits until the server closes. Errors: it says something more.
    pub fn closed(&mut self) -> Result<(), Error> {
        if self.used < self.buffer.len() {
            return Err(self.strange("end of connection", b"(more bytes)"));
        }
        match self.fill() {
            Ok(()) => Err(self.strange("end of connection", b"(more bytes)")),
            Err(Error::Lost(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// A failure with the dialogue so far.
    #[must_use]
    pub fn strange(&self, wanted: &str, got: &[u8]) -> Error {
        let mut dialogue = String::new();
        for line in &self.dialogue {
            let _ = writeln!(dialogue, "    {line}");
        }
        Error::Strange { wanted: wanted.into(), got: shown(got), dialogue }
    }

    fn fill(&mut self) -> Result<(), Error> {
        if self.used > 0 {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        let have = self.buffer.len();
        self.buffer.resize(have + READ_BYTES, 0);
        let got = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut self.buffer[have..]),
            // Without a farewell: cut off, which is no end of a connection.
            Stream::Tls(stream) => stream.read(&mut self.buffer[have..]).map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::ConnectionAborted, e),
                _ => e,
            }),
        };
        self.buffer.truncate(have + got.as_ref().map_or(0, |&n| n));
        match got {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(_) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn note(&mut self, who: char, bytes: &[u8]) {
        if self.dialogue.len() == DIALOGUE_LINES_MAX {
            self.dialogue.pop_front();
        }
        self.dialogue.push_back(format!("{who}: {}", shown(bytes)));
    }
}

/// Bytes as a person can read them, on one line.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(DIALOGUE_LINE_BYTES_MAX)];
    let rest = bytes.len() - cut.len();
    let text = cut.escape_ascii().to_string();
    if rest > 0 { format!("{text}… ({rest} more bytes)") } else { text }
}
