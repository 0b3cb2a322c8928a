//! A real Ringpost for a test: the built binary on free loopback ports with a temporary data directory, stopped with it.

#![allow(dead_code, reason = "each test binary uses its own part of the house")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long a test waits for anything before it calls it missing. Less than the server's own deadlines of a minute, so that what
/// only they put right is not taken for right.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// A running server.
pub struct House {
    child: Child,
    /// Its data directory's parent.
    pub dir: tempfile::TempDir,
    /// Its `--port-offset`.
    pub offset: u16,
    /// What it said on standard output until it was open.
    pub said: String,
    extra: Vec<String>,
}

/// What most tests need: they come from one address, often, and read by lines in the clear.
const LENIENT: [&str; 4] = ["--exempt-network", "127.0.0.0/8", "--plaintext-auth-network", "127.0.0.0/8"];

/// The binary under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_ringpost")
}

impl House {
    /// Starts a server on an unused port offset with a new data directory; plaintext logins and no address limits from loopback.
    pub fn open(extra: &[&str]) -> House {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self::open_in(dir, extra)
    }

    /// Starts a server as somebody does who has just got it: no options but where its data and its ports are.
    pub fn unconfigured() -> House {
        Self::told("")
    }

    /// The same, with this configuration file; empty: none.
    pub fn told(file: &str) -> House {
        let dir = tempfile::tempdir().expect("a temporary folder");
        if !file.is_empty() {
            std::fs::create_dir(data_of(dir.path())).expect("a folder");
            std::fs::write(data_of(dir.path()).join("ringpost.toml"), file).expect("a file");
        }
        Self::open_with(dir, &[], &[])
    }

    /// Starts a server by another program, which becomes the server when it has done its part.
    pub fn open_under(program: &[&str], extra: &[&str]) -> House {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self::open_with(dir, program, &[&LENIENT[..], extra].concat())
    }

    /// Starts a server on the data directory in `dir`; plaintext logins and no address limits from loopback.
    pub fn open_in(dir: tempfile::TempDir, extra: &[&str]) -> House {
        Self::open_with(dir, &[], &[&LENIENT[..], extra].concat())
    }

    fn open_with(dir: tempfile::TempDir, under: &[&str], extra: &[&str]) -> House {
        let mut last = String::new();
        for _ in 0..20 {
            let offset = free_offset();
            match Self::start(&dir, offset, under, extra) {
                Ok((child, said)) => {
                    let extra = extra.iter().map(|s| (*s).to_owned()).collect();
                    return House { child, dir, offset, said, extra };
                }
                Err(complaint) if complaint.contains("is taken") => last = complaint,
                Err(complaint) => panic!("the server does not start: {complaint}"),
            }
        }
        panic!("no free ports: {last}");
    }

    fn start(dir: &tempfile::TempDir, offset: u16, under: &[&str], extra: &[&str]) -> Result<(Child, String), String> {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(dir.path().join("log")).expect("the log file");
        let program: Vec<&str> = under.iter().copied().chain([binary()]).collect();
        let mut child = Command::new(program[0])
            .args(&program[1..])
            .arg("serve")
            .args(["--data", data_of(dir.path()).to_str().expect("a plain path")])
            .args(["--port-offset", &offset.to_string()])
            .args(extra)
            // What is free is given back at once, and nothing is rounded up to huge pages of 2 MiB, so that a test sees what is used.
            .env("MIMALLOC_PURGE_DELAY", "0")
            .env("MIMALLOC_ALLOW_THP", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut said = String::new();
        loop {
            let mut line = String::new();
            if out.read_line(&mut line).expect("reading its output") == 0 {
                child.wait().expect("waiting for it");
                let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                return Err(log);
            }
            said += &line;
            if line.starts_with("Stop it with") {
                break;
            }
        }
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        let me = (child, said);
        for port in [2525, 2143, 2110] {
            connect_until_open((std::net::Ipv4Addr::LOCALHOST, port + offset).into());
        }
        Ok(me)
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        data_of(self.dir.path())
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn smtp(&self) -> SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, 2525 + self.offset).into()
    }

    /// The door of `port` on an unconfigured start.
    pub fn door(&self, port: u16) -> SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, port + self.offset).into()
    }

    pub fn imap(&self) -> SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, 2143 + self.offset).into()
    }

    pub fn pop3(&self) -> SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, 2110 + self.offset).into()
    }

    pub fn http(&self) -> SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, 2080 + self.offset).into()
    }

    /// The generated password of one of the founders, as shown on the first start.
    pub fn password(&self, name: &str) -> String {
        let line = self.said.lines().find(|l| l.trim_start().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no password of {name} in:\n{}", self.said));
        line.split_whitespace().nth(1).expect("a password").to_owned()
    }

    /// Kills it as a power switch would kill the process.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("it is dead");
    }

    /// Asks it to stop and waits; returns its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("kill -TERM");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waiting") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not stop; its log:\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// Starts it again on the same data and the same ports.
    pub fn reopen(&mut self) {
        let extra: Vec<&str> = self.extra.iter().map(String::as_str).collect();
        let (child, _) = Self::start(&self.dir, self.offset, &[], &extra).expect("it starts again");
        self.child = child;
    }

    /// Starts it again with other options.
    pub fn restart_with(&mut self, extra: &[&str]) {
        self.extra = LENIENT.iter().chain(extra).map(|s| (*s).to_owned()).collect();
        self.reopen();
    }

    /// Runs one of its command-line verbs on its data directory; returns exit code, standard output, standard error.
    pub fn verb(&self, args: &[&str], stdin: &str) -> (i32, String, String) {
        verb(&self.data(), args, stdin)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// Runs `ringpost VERB… --data DIR`.
pub fn verb(data: &Path, args: &[&str], stdin: &str) -> (i32, String, String) {
    let mut child = Command::new(binary())
        .args(args)
        .args(["--data", data.to_str().expect("a plain path")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // A verb that reads nothing may be gone already.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    let out = child.wait_with_output().expect("it ends");
    let text = |b: Vec<u8>| String::from_utf8(b).expect("plain text");
    (out.status.code().unwrap_or(-1), text(out.stdout), text(out.stderr))
}

fn data_of(dir: &Path) -> PathBuf {
    dir.join("data")
}

fn connect_until_open(at: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(at).is_err() {
        assert!(Instant::now() < deadline, "{at} does not open");
        std::thread::yield_now();
    }
}

/// An offset at which all default ports were free a moment ago.
pub fn free_offset() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 300).expect("small") * 100 + 10_000;
    loop {
        // Below the ports that the kernel gives to clients: one of those could sit on ours when we come back.
        let offset = start.wrapping_add(NEXT.fetch_add(7, Ordering::Relaxed)) % 20_000 + 8_000;
        let free = |port: u16| TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port + offset)).is_ok();
        if [2525, 2143, 2110, 2080].into_iter().all(free) {
            return offset;
        }
    }
}

/// A line-by-line conversation, strict and impatient.
pub struct Talk {
    reader: BufReader<Road>,
}

/// In the clear or under TLS.
enum Road {
    Clear(TcpStream),
    Private(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Road {
    fn stream(&mut self) -> &mut TcpStream {
        match self {
            Road::Clear(stream) => stream,
            Road::Private(tls) => tls.get_mut(),
        }
    }
}

impl Read for Road {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Road::Clear(stream) => stream.read(buffer),
            Road::Private(tls) => tls.read(buffer),
        }
    }
}

impl Write for Road {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Road::Clear(stream) => stream.write(bytes),
            Road::Private(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Road::Clear(stream) => stream.flush(),
            Road::Private(tls) => tls.flush(),
        }
    }
}

impl Talk {
    pub fn with(at: SocketAddr) -> Talk {
        Talk::patient(at, PATIENCE)
    }

    /// Waits so long for each word.
    pub fn patient(at: SocketAddr, patience: Duration) -> Talk {
        let stream = TcpStream::connect(at).expect("connecting");
        stream.set_read_timeout(Some(patience)).expect("a time-out");
        stream.set_write_timeout(Some(patience)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Talk { reader: BufReader::new(Road::Clear(stream)) }
    }

    /// TLS first. The certificate of `house` is trusted, and no other.
    pub fn private(at: SocketAddr, house: &House) -> Talk {
        Talk::with(at).shake_hands(house)
    }

    /// Begins TLS: what was heard so far must have been used up.
    pub fn shake_hands(self, house: &House) -> Talk {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(house.data().join("tls/cert.pem")).expect("its certificate");
        roots.add(certificate).expect("a certificate to trust");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        self.shake_hands_as(Arc::new(config), "localhost")
    }

    /// Begins TLS as a client of one's own, which asks for `name`.
    pub fn shake_hands_as(mut self, config: Arc<ClientConfig>, name: &str) -> Talk {
        assert!(self.reader.buffer().is_empty(), "the server spoke before the handshake: {:?}", self.reader.buffer());
        let stream = self.reader.get_mut().stream().try_clone().expect("a second handle");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tls = ClientConnection::new(config, name).expect("a client");
        Talk { reader: BufReader::new(Road::Private(Box::new(StreamOwned::new(tls, stream)))) }
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut().stream()
    }

    pub fn say(&mut self, text: &str) {
        self.send(format!("{text}\r\n").as_bytes());
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("writing");
    }

    /// As many octets as there is room for.
    pub fn read_exact(&mut self, octets: &mut [u8]) {
        self.reader.read_exact(octets).expect("reading");
    }

    /// The next line without its CRLF; panics at the end of the stream.
    pub fn hear(&mut self) -> String {
        let mut line = Vec::new();
        let n = self.reader.read_until(b'\n', &mut line).expect("reading");
        assert!(n > 0, "the server closed the connection");
        let line = String::from_utf8_lossy(&line).into_owned();
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("no CRLF after {line:?}")).to_owned()
    }

    /// Lines up to and including the first that `last` accepts.
    pub fn hear_until(&mut self, last: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            lines.push(self.hear());
            if last(&lines[lines.len() - 1]) {
                return lines;
            }
        }
    }

    /// An SMTP reply, all its lines.
    pub fn reply(&mut self) -> String {
        self.hear_until(|l| l.as_bytes().get(3) != Some(&b'-')).join("\n")
    }

    /// Says a line and expects an SMTP reply that begins with `code`.
    pub fn ask(&mut self, line: &str, code: &str) -> String {
        self.say(line);
        let reply = self.reply();
        assert!(reply.starts_with(code), "to {line:?}: expected {code}, got {reply:?}");
        reply
    }

    /// Says a tagged IMAP command and returns the untagged lines; the tagged line must begin with `status`.
    pub fn imap(&mut self, command: &str, status: &str) -> Vec<String> {
        self.say(&format!("t {command}"));
        let mut lines = self.hear_until(|l| l.starts_with("t "));
        let tagged = lines.pop().expect("the tagged line");
        assert!(tagged[2..].starts_with(status), "to {command:?}: expected {status}, got {tagged:?} after {lines:?}");
        lines
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.reader.read_to_end(&mut bytes);
        bytes
    }

    /// Takes a POP3 multi-line answer, dots unstuffed, after its +OK.
    pub fn pop3_lines(&mut self, command: &str) -> Vec<String> {
        self.say(command);
        let first = self.hear();
        assert!(first.starts_with("+OK"), "to {command:?}: {first:?}");
        let mut lines = self.hear_until(|l| l == ".");
        lines.pop();
        lines.into_iter().map(|l| l.strip_prefix('.').map_or(l.clone(), str::to_owned)).collect()
    }

    /// Says a POP3 command and expects `+OK`.
    pub fn pop3(&mut self, command: &str) -> String {
        self.say(command);
        let reply = self.hear();
        assert!(reply.starts_with("+OK"), "to {command:?}: {reply:?}");
        reply
    }
}

/// Sends one message over SMTP and returns the final reply. `body` is sent as it is, before the final dot.
pub fn post(at: SocketAddr, from: &str, to: &[&str], body: &str) -> String {
    let mut talk = Talk::with(at);
    talk.reply();
    talk.ask("EHLO client.test", "250");
    talk.ask(&format!("MAIL FROM:<{from}>"), "250");
    for one in to {
        talk.ask(&format!("RCPT TO:<{one}>"), "250");
    }
    talk.ask("DATA", "354");
    talk.send(body.as_bytes());
    talk.send(b"\r\n.\r\n");
    let reply = talk.reply();
    talk.ask("QUIT", "221");
    reply
}

/// All messages of a maildrop, over POP3, each as one string with CRLF line ends.
pub fn fetch(at: SocketAddr, name: &str, password: &str) -> Vec<String> {
    let mut talk = Talk::with(at);
    assert!(talk.hear().starts_with("+OK"));
    talk.pop3(&format!("USER {name}"));
    talk.pop3(&format!("PASS {password}"));
    let stat = talk.pop3("STAT");
    let count: usize = stat.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a count");
    let mut mail = Vec::new();
    for n in 1..=count {
        mail.push(talk.pop3_lines(&format!("RETR {n}")).join("\r\n") + "\r\n");
    }
    talk.pop3("QUIT");
    mail
}
