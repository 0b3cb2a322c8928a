//! The server under test as a process: started, awaited, killed without warning, or stopped in order.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wire::Wire;

/// The server's default ports (SMTP, IMAP, POP3), to which the offset is added.
const PORTS: [u16; 3] = [2525, 2143, 2110];
/// The operator's socket in the data directory.
const ADMIN_SOCKET: &str = "admin.sock";
/// From the start to the first greeting. Later: the start has failed.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// From SIGTERM to the end. Later: it is killed and that is told.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);
/// Bytes of the server's log shown when it does not start.
const LOG_SHOWN_BYTES: i64 = 4_000;

/// How the server is started.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub binary: PathBuf,
    pub data: PathBuf,
    pub port_offset: u16,
    pub shards: Option<u32>,
    pub log: PathBuf,
    /// Written after `serve` and our own options.
    pub more: Vec<String>,
}

/// The server's listeners.
#[derive(Clone, Copy, Debug)]
pub struct Doors {
    pub smtp: SocketAddr,
    pub imap: SocketAddr,
    pub pop3: SocketAddr,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub doors: Doors,
    /// From exec to the greeting.
    pub start: Duration,
}

impl Recipe {
    /// Starts the server and waits for its SMTP greeting. Errors: it ends or stays silent; its log is shown.
    pub fn start(&self) -> Result<Server, String> {
        let [smtp, imap, pop3] = PORTS.map(|p| SocketAddr::from(([127, 0, 0, 1], p + self.port_offset)));
        let began = Instant::now();
        let child = self.command(&["serve"]).args(self.serve_options()).spawn();
        let child = child.map_err(|e| format!("{}: {e}", self.binary.display()))?;
        let mut server = Server { child, doors: Doors { smtp, imap, pop3 }, start: Duration::ZERO };
        loop {
            let greeted = [smtp, imap, pop3].iter().all(|&door| greets(door));
            server.start = began.elapsed();
            if greeted {
                return Ok(server);
            }
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("the server ended with {status} instead of greeting:\n{}", self.log_tail()));
            }
            if server.start > START_PATIENCE {
                server.kill();
                return Err(format!("no greeting within {START_PATIENCE:?}:\n{}", self.log_tail()));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits for the admin socket: one shard may greet before the one that keeps it is ready.
    pub fn await_desk(&self) -> Result<(), String> {
        let (desk, began) = (self.data.join(ADMIN_SOCKET), Instant::now());
        while let Err(e) = UnixStream::connect(&desk) {
            if began.elapsed() > START_PATIENCE {
                return Err(format!("{}: {e}", desk.display()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Runs another verb on the same data, such as `domain add`.
    pub fn run(&self, words: &[&str]) -> Result<(), String> {
        let status = self.command(words).arg("--data").arg(&self.data).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("ringpost {} ended with {status}:\n{}", words.join(" "), self.log_tail())),
            Err(e) => Err(format!("{}: {e}", self.binary.display())),
        }
    }

    fn serve_options(&self) -> Vec<String> {
        let mut words = vec!["--data".into(), self.data.display().to_string()];
        words.extend(["--port-offset".into(), self.port_offset.to_string()]);
        for option in ["--exempt-network", "--plaintext-auth-network"] {
            words.extend([option.into(), "127.0.0.0/8".into()]);
        }
        if let Some(shards) = self.shards {
            words.extend(["--shards".into(), shards.to_string()]);
        }
        words.extend(self.more.iter().cloned());
        words
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).stdin(Stdio::null());
        if let (Ok(out), Ok(err)) = (append_to(&self.log), append_to(&self.log)) {
            command.stdout(out).stderr(err);
        }
        command
    }

    fn log_tail(&self) -> String {
        let mut text = Vec::new();
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.log)?;
            let length = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
            file.seek(SeekFrom::End(-length.min(LOG_SHOWN_BYTES)))?;
            file.read_to_end(&mut text)?;
            Ok(text)
        };
        read().map_or_else(|e| e.to_string(), |t| String::from_utf8_lossy(&t).into_owned())
    }
}

impl Server {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and nothing else.
    pub fn shoot(&self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
    }

    /// SIGKILL, and waits until the kernel has taken it away.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM. Errors: it does not end in time, or not with success.
    pub fn stop(&mut self) -> Result<(), String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(|e| format!("SIGTERM: {e}"))?;
        let began = Instant::now();
        while began.elapsed() < STOP_PATIENCE {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the server ended with {status} after SIGTERM")),
                Ok(None) => std::thread::sleep(POLL),
                Err(e) => return Err(e.to_string()),
            }
        }
        self.kill();
        Err(format!("the server did not end within {STOP_PATIENCE:?} of SIGTERM"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn greets(door: SocketAddr) -> bool {
    Wire::connect(door, Duration::from_secs(5)).and_then(|mut wire| wire.line()).is_ok()
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
