//! The server's own counters, over the admin socket in its data directory.
//!
//! One JSON request a line, one JSON answer a line: `{"verb":"stats"}` is answered by an object whose
//! `counters` maps names to numbers. All that this crate knows of that socket is in this file.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The socket's name in the data directory.
const SOCKET: &str = "admin.sock";
const REQUEST: &[u8] = b"{\"verb\":\"stats\"}\n";
const PATIENCE: Duration = Duration::from_secs(10);

/// Name → value.
pub type Counters = BTreeMap<String, u64>;

#[derive(Debug)]
pub struct Socket {
    reader: BufReader<UnixStream>,
}

impl Socket {
    /// Connects to `data`/admin.sock.
    pub fn connect(data: &Path) -> io::Result<Socket> {
        let stream = UnixStream::connect(data.join(SOCKET))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Socket { reader: BufReader::new(stream) })
    }

    /// All counters now. Errors: the socket failed, the answer is not as above.
    pub fn read(&mut self) -> io::Result<Counters> {
        self.reader.get_mut().write_all(REQUEST)?;
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        parse(&line)
    }
}

fn parse(line: &str) -> io::Result<Counters> {
    let answer: serde_json::Value = serde_json::from_str(line)?;
    let counters = answer.get("counters").and_then(|c| c.as_object());
    let counters = counters.ok_or_else(|| io::Error::other(format!("no counters in {}", line.trim_end())))?;
    Ok(counters.iter().filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect())
}

/// What each counter rose by.
#[must_use]
pub fn since(after: &Counters, before: &Counters) -> Counters {
    let rise = |(name, value): (&String, &u64)| {
        let was = before.get(name).copied().unwrap_or(0);
        (name.clone(), value.saturating_sub(was))
    };
    after.iter().map(rise).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_come_over_the_socket_and_are_subtracted() {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            for n in [5, 12] {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                assert_eq!(line.as_bytes(), REQUEST);
                writeln!(reader.get_mut(), "{{\"ok\":true,\"counters\":{{\"ring_syncs_total\":{n}}}}}").unwrap();
            }
        });
        let mut socket = Socket::connect(folder.path()).unwrap();
        let (before, after) = (socket.read().unwrap(), socket.read().unwrap());
        assert_eq!(since(&after, &before)["ring_syncs_total"], 7);
        server.join().unwrap();
    }

    #[test]
    fn an_answer_without_counters_is_an_error() {
        assert!(parse("{\"error\":\"no such verb\"}\n").is_err());
        assert!(parse("\n").is_err());
    }
}
