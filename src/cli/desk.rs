//! Where a request goes: to the running server through its socket, else to the data directory itself.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::admin::{ACCOUNTS_PER_REQUEST_MAX, NewAccount, Request, Response, SOCKET};
use crate::boot;
use crate::config::{self, Asked, Key, Value};
use crate::office::tools::Told;

/// How long a server may take to answer: hashing a thousand passwords takes a while.
const ANSWER_S: u64 = 600;
/// An answer, octets. Longer: an error.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// Accounts of one request: hashed well within [`ANSWER_S`].
const ACCOUNTS_AT_ONCE: usize = 500;
const _: () = assert!(ACCOUNTS_AT_ONCE <= ACCOUNTS_PER_REQUEST_MAX);

/// Carries a request out, whether the server runs or not. An answer that is a refusal becomes the error's sentence.
pub(super) fn ask(data: &Path, request: Request) -> Result<Response, String> {
    if let Some(server) = Server::call(data)? {
        return server.ask(&request);
    }
    // A new store may begin with its first domain; anything else in an unknown directory is a slip of the pen.
    if !data.exists() && !matches!(request, Request::DomainAdd { .. }) {
        return Err(format!(
            "there is no data directory {}: name it with --data DIR, or begin one with `ringpost domain add`",
            data.display()
        ));
    }
    let mut asked = Asked::default();
    asked.flag(Key::Data, "--data", Some(Value::Path(data.to_path_buf())));
    let settings = config::load(&asked).map_err(|mistakes| mistakes.to_string())?;
    settle(boot::offline(&settings.config(), request).map_err(|why| why.to_string())?)
}

/// As [`ask`], for requests that only a running server can carry out.
pub(super) fn ask_server(data: &Path, request: &Request) -> Result<Response, String> {
    match Server::call(data)? {
        Some(server) => server.ask(request),
        None => Err(format!("no server is running on {}: start it with `ringpost serve`", data.display())),
    }
}

/// Opens a conversation of many requests: with the running server, or else with the data directory itself, which is opened
/// for as long as `work` takes.
pub(super) fn with_session<T>(data: &Path, work: impl FnOnce(&mut Session) -> Result<T, String>) -> Result<T, String> {
    if let Some(server) = Server::call(data)? {
        return work(&mut Session::with(server));
    }
    let settings = settings(data)?;
    let talk = || match Server::call(data)? {
        Some(server) => work(&mut Session::with(server)),
        None => Err(format!("{}: nobody answers at the admin socket", data.display())),
    };
    boot::with_desk(&settings.config(), talk).map_err(|why| why.to_string())?
}

/// A conversation with the running server; `None`: none is running.
pub(super) fn running(data: &Path) -> Result<Option<Session>, String> {
    Ok(Server::call(data)?.map(Session::with))
}

/// A conversation with the running server by this socket of its; `None`: nobody listens there.
pub(super) fn running_at(socket: &Path) -> Result<Option<Session>, String> {
    Ok(Server::call_at(socket)?.map(Session::with))
}

/// The settings of a data directory that is there.
fn settings(data: &Path) -> Result<config::Effective, String> {
    if !data.exists() {
        return Err(format!("there is no data directory {}: name it with --data DIR", data.display()));
    }
    let mut asked = Asked::default();
    asked.flag(Key::Data, "--data", Some(Value::Path(data.to_path_buf())));
    config::load(&asked).map_err(|mistakes| mistakes.to_string())
}

/// Requests one after the other, with octets beside them.
pub(super) struct Session {
    socket: BufReader<UnixStream>,
    name: String,
}

impl Session {
    fn with(server: Server) -> Session {
        Session { socket: BufReader::with_capacity(256 << 10, server.socket), name: server.name }
    }

    /// Asks, with the octets of messages that the request announces. Returns the answer, which is no refusal, and its octets.
    pub(super) fn ask(&mut self, request: &Request, messages: &[&[u8]]) -> Result<(Response, Vec<u8>), String> {
        let (answer, octets) = self.exchange(request, messages).map_err(|why| {
            format!("{}: the server did not answer ({why}); whether it did what was asked is not known", self.name)
        })?;
        Ok((settle(answer)?, octets))
    }

    fn exchange(&mut self, request: &Request, messages: &[&[u8]]) -> io::Result<(Response, Vec<u8>)> {
        let time = Some(Duration::from_secs(ANSWER_S));
        let socket = self.socket.get_mut();
        socket.set_read_timeout(time)?;
        socket.set_write_timeout(time)?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        socket.write_all(&line)?;
        messages.iter().try_for_each(|octets| socket.write_all(octets))?;
        let mut answer = Vec::new();
        self.socket.by_ref().take(ANSWER_BYTES_MAX).read_until(b'\n', &mut answer)?;
        if answer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
        }
        let answer = serde_json::from_slice(&answer)?;
        let mut octets = Vec::new();
        if let Response::Store { told: Told::Octets { octets: len } } = &answer {
            self.socket.by_ref().take(*len).read_to_end(&mut octets)?;
            if octets.len() as u64 != *len {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
            }
        }
        Ok((answer, octets))
    }
}

/// Adds accounts, in several requests if a server is running. Returns those with generated passwords as they were made.
pub(super) fn add_accounts(data: &Path, mut accounts: Vec<NewAccount>) -> Result<Vec<NewAccount>, String> {
    let total = accounts.len();
    let mut made = Vec::with_capacity(total);
    while !accounts.is_empty() {
        let rest = accounts.split_off(accounts.len().min(ACCOUNTS_AT_ONCE));
        match ask(data, Request::AccountAdd { accounts }) {
            Ok(Response::Accounts { accounts }) => made.extend(accounts),
            Ok(other) => return Err(strange(&other)),
            Err(why) if made.is_empty() => return Err(why),
            Err(why) => return Err(format!("{why} (the first {} of {total} accounts were made)", made.len())),
        }
        accounts = rest;
    }
    Ok(made)
}

/// The sentence for an answer that does not fit its question.
pub(super) fn strange(answer: &Response) -> String {
    format!("the server gave a strange answer ({answer:?}): is it of another version than this program?")
}

fn settle(response: Response) -> Result<Response, String> {
    match response {
        Response::Refused { error } | Response::Failed { error } => Err(error),
        done => Ok(done),
    }
}

struct Server {
    socket: UnixStream,
    name: String,
}

impl Server {
    /// `None` when no server listens there.
    fn call(data: &Path) -> Result<Option<Server>, String> {
        Self::call_at(&data.join(SOCKET))
    }

    fn call_at(path: &Path) -> Result<Option<Server>, String> {
        let name = path.display().to_string();
        match UnixStream::connect(path) {
            Ok(socket) => Ok(Some(Server { socket, name })),
            Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
            Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
                Err(format!("{name}: permission denied: run this as the user that runs the server"))
            }
            Err(why) => Err(format!("{name}: {why}")),
        }
    }

    fn ask(self, request: &Request) -> Result<Response, String> {
        let name = self.name.clone();
        let answer = self.exchange(request).map_err(|why| {
            format!("{name}: the server did not answer ({why}); whether it did what was asked is not known")
        })?;
        settle(answer)
    }

    fn exchange(self, request: &Request) -> io::Result<Response> {
        let Server { mut socket, .. } = self;
        socket.set_read_timeout(Some(Duration::from_secs(ANSWER_S)))?;
        socket.set_write_timeout(Some(Duration::from_secs(ANSWER_S)))?;
        let mut line = Zeroizing::new(serde_json::to_vec(request)?);
        line.push(b'\n');
        socket.write_all(&line)?;
        let mut answer = Zeroizing::new(Vec::new());
        BufReader::new(socket.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut answer)?;
        if answer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn answered(line: &'static str) -> Result<Response, String> {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let server = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut asked = String::new();
            let mut reader = BufReader::new(socket);
            reader.read_line(&mut asked).unwrap();
            reader.get_mut().write_all(line.as_bytes()).unwrap();
            asked
        });
        let answer = ask(folder.path(), Request::DomainList {});
        assert_eq!(server.join().unwrap(), "{\"verb\":\"domain-list\"}\n");
        answer
    }

    #[test]
    fn a_running_server_is_asked_through_its_socket() {
        let answer = answered("{\"answer\":\"domains\",\"domains\":[\"a.test\"]}\n");
        assert!(matches!(answer, Ok(Response::Domains { domains }) if domains == ["a.test"]));
        assert_eq!(answered("{\"answer\":\"refused\",\"error\":\"no\"}\n").unwrap_err(), "no");
        assert!(answered("").unwrap_err().contains("did not answer"));
        assert!(answered("hello\n").unwrap_err().contains("did not answer"));
    }

    #[test]
    fn without_a_server_or_data_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("nowhere");
        assert!(ask(&nowhere, Request::DomainList {}).unwrap_err().contains("there is no data directory"));
        assert!(
            ask_server(&nowhere, &Request::Stats { per_shard: false }).unwrap_err().contains("no server is running")
        );
        assert!(!nowhere.exists());
    }
}
