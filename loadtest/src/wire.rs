//! A blocking connection that remembers what was said, so that a failure can show it.
//!
//! Used by the clients that read back and by the kill loop; the load itself goes through
//! [`crate::load`], which blocks on nothing. Every read and write has a deadline.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

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
    stream: TcpStream,
    buffer: Vec<u8>,
    used: usize,
    dialogue: VecDeque<String>,
}

impl Wire {
    /// Connects; `patience` bounds the connect and each later read and write.
    pub fn connect(server: SocketAddr, patience: Duration) -> Result<Wire, Error> {
        let stream = TcpStream::connect_timeout(&server, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Wire { stream, buffer: Vec::new(), used: 0, dialogue: VecDeque::new() })
    }

    /// Sends `bytes` whole. After an error, whether the last byte was sent is known: it was not.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.note('C', bytes);
        Ok(self.stream.write_all(bytes)?)
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
        let got = self.stream.read(&mut self.buffer[have..]);
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
