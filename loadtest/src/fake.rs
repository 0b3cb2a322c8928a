//! A server for the tests of our clients: it says what its script says, on loopback, on a thread of its own.

pub mod post;

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

/// One connection's worth of scripted server.
pub struct Fake {
    address: SocketAddr,
    thread: JoinHandle<io::Result<()>>,
}

/// The server's side of the connection.
pub struct Conversation {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

/// What the client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Text(String),
    End,
}

impl Fake {
    /// Listens, serves one connection with `script`, closes.
    pub fn start(script: impl FnOnce(&mut Conversation) -> io::Result<()> + Send + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            let mut conversation = Conversation { reader: BufReader::new(stream.try_clone()?), writer: stream };
            script(&mut conversation)
        });
        Fake { address, thread }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the script's end and fails if it failed.
    pub fn join(self) {
        self.thread.join().unwrap().unwrap();
    }
}

impl Conversation {
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_all(text.as_bytes())
    }

    pub fn line(&mut self) -> io::Result<Line> {
        let mut text = String::new();
        let got = self.reader.read_line(&mut text)?;
        Ok(if got == 0 { Line::End } else { Line::Text(text.trim_end_matches(['\r', '\n']).into()) })
    }

    /// Takes one line and fails unless it is `expected`.
    pub fn want(&mut self, expected: &str) -> io::Result<()> {
        match self.line()? {
            Line::Text(text) if text == expected => Ok(()),
            other => Err(io::Error::other(format!("wanted {expected:?}, got {other:?}"))),
        }
    }

    /// Takes `count` bytes.
    pub fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        io::Read::read_exact(&mut self.reader, &mut bytes)?;
        Ok(bytes)
    }
}
