//! `ringpost-loadtest broken`: the disk of one volume fails under load, and the other volume goes on.
//!
//! The second volume of a store lies on a disk of its own, as in `cut`. In the middle of the load that disk refuses writes and
//! flushes with EIO, and reads on. People of that volume hear `451 4.3.0`, those of the other are served; everybody reads;
//! `/healthz` says what is amiss. Then the server is killed, the disk is well again, and everything acknowledged is there. A
//! commit that met the error may be there or not: nobody vouched for it. For root; elsewhere it says that it is skipped ([`crate::ended`]).

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::accept::clock_seed;
use crate::accounts::{self, Account};
use crate::cut::stack::{self, Kind};
use crate::cut::{Power, hindrance};
use crate::ended::Ended;
use crate::kill::rounds::{self, Ground, Plan};
use crate::kill::server::{Recipe, Server};
use crate::wire::Wire;
use crate::{imap, pop3};

const ACCOUNTS: usize = 12;
/// The disk of the second volume.
const DISK_BYTES: usize = 512 << 20;
/// Between the failure and the questions: all shards have heard of it (RELIABILITY A056).
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Rounds through all accounts that say the same, one after the other.
const SURE: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(30);
/// The server's default port of HTTP, to which the offset is added.
const HTTP_PORT: u16 = 2080;

/// Options of `broken`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The `ringpost` binary.
    #[arg(long, value_name = "PATH")]
    pub server_binary: PathBuf,
    /// Rounds: the disk fails in each.
    #[arg(long, default_value_t = 3)]
    pub times: u32,
    /// The file system.
    #[arg(long, value_enum, default_value_t = Kind::Ext4)]
    pub fs: Kind,
    /// Added to the server's default ports.
    #[arg(long, default_value_t = 25_000, value_parser = clap::value_parser!(u16).range(..=60_000))]
    pub port_offset: u16,
    /// The plan follows from it; by default from the clock.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Append the summary to this ledger of campaigns.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
}

/// Runs the rounds.
pub fn run(args: &Args) -> Result<Ended, String> {
    if let Some(why) = hindrance(args.fs) {
        return why.skip(&format!("no disk can fail here under {}", args.fs.name()));
    }
    let seed = args.seed.unwrap_or_else(clock_seed);
    let home = std::env::temp_dir().join(format!("ringpost-broken-{seed:016x}"));
    fs::create_dir(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    let config = home.join("ringpost.toml");
    fs::write(&config, stack::CONFIG).map_err(|e| format!("{}: {e}", config.display()))?;
    println!("seed {seed}, store and server log in {}", home.display());
    let recipe = Recipe {
        binary: args.server_binary.clone(),
        data: home.join("data"),
        port_offset: args.port_offset,
        shards: Some(2),
        log: home.join("server.log"),
        more: vec!["--config".into(), config.display().to_string()],
    };
    // A store of two volumes, of which the second moves to its own disk.
    recipe.start()?.stop()?;
    let (folder, aside) = (recipe.data.join("volume-001"), home.join("volume"));
    fs::rename(&folder, &aside).map_err(|e| format!("{}: {e}", folder.display()))?;
    let disk = Power::at(&home, &folder, args.fs, DISK_BYTES, seed)?;
    copy(&aside, &folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let http = SocketAddr::from(([127, 0, 0, 1], HTTP_PORT + args.port_offset));
    let plan =
        Plan { campaign: "broken", seed, rounds: args.times, accounts: ACCOUNTS, senders: 4, after_ms: (300, 900) };
    let accounts = accounts::generate(ACCOUNTS, rounds::DOMAIN, seed);
    let mut failing = Failing { disk, accounts, http, amiss: Vec::new(), told: BTreeMap::new() };
    let mut summary = rounds::play(&plan, &recipe, &home, &mut failing)?;
    drop(failing);
    summary.shards = Some(2);
    summary.fs = Some(args.fs.name());
    summary.tell(None, args.ledger.as_deref())?;
    if summary.is_well() {
        fs::remove_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    }
    Ok(Ended::of(summary.is_well()))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// The second volume's disk, and what is asked once it has failed.
struct Failing {
    disk: Power,
    accounts: Vec<Account>,
    http: SocketAddr,
    amiss: Vec<String>,
    told: BTreeMap<&'static str, u64>,
}

impl Failing {
    /// Waits until the doors of all shards say it at RCPT: until then some of them say it at the commit only. A connection goes
    /// to any shard, so it takes [`SURE`] rounds alike.
    fn until_all_know(&self, smtp: SocketAddr, since: Instant) {
        let is_known = |account: &Account| rcpt(smtp, &account.address).is_ok_and(|said| said.starts_with("451 4.3.0"));
        let known = || self.accounts.iter().filter(|account| is_known(account)).count();
        let (mut last, mut alike) = (0, 0);
        while alike < SURE && since.elapsed() < TOLD_WITHIN {
            let now = known();
            alike = if now == last && now > 0 { alike + 1 } else { 0 };
            last = now;
        }
    }

    /// What the doors say while one volume has failed.
    fn ask(&mut self, server: &Server) {
        let doors = server.doors;
        let (mut taken, mut later) = (0, 0);
        for account in &self.accounts {
            match rcpt(doors.smtp, &account.address) {
                Ok(said) if said.starts_with("250") => taken += 1,
                Ok(said) if said.starts_with("451 4.3.0") => later += 1,
                other => self.amiss.push(format!("{}: RCPT or the commit: {other:?}", account.address)),
            }
            let read = imap::Client::login(doors.imap, account, PATIENCE).and_then(|mut client| {
                client.select("INBOX").and_then(|_| client.uid_fetch("1:*", "BODY.PEEK[]", |_| {}))
            });
            if let Err(why) = read {
                self.amiss.push(format!("{} is not read by IMAP: {why}", account.address));
            }
            if let Err(why) = pop3::Client::login(doors.pop3, account, PATIENCE).and_then(|mut client| client.list()) {
                self.amiss.push(format!("{} is not read by POP3: {why}", account.address));
            }
        }
        if taken == 0 || later == 0 {
            self.amiss
                .push(format!("{taken} accounts take mail and {later} are told to come later: some of each, please"));
        }
        match health(self.http) {
            Ok(page) if page.contains(" 503 ") && page.contains("volume 1 of shard 1 has failed") => {}
            other => self.amiss.push(format!("/healthz: {other:?}")),
        }
        *self.told.entry("accounts_that_took_mail").or_default() += taken;
        *self.told.entry("accounts_told_to_come_later").or_default() += later;
    }
}

impl Ground for Failing {
    fn end(&mut self, server: &mut Server) {
        let began = Instant::now();
        self.disk.refuse_writes();
        while began.elapsed() < TOLD_WITHIN && !health(self.http).is_ok_and(|page| page.contains(" 503 ")) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let told_ms = began.elapsed().as_millis() as u64;
        let slowest = self.told.entry("told_after_ms").or_default();
        *slowest = told_ms.max(*slowest);
        self.until_all_know(server.doors.smtp, began);
        self.ask(server);
        server.kill();
    }

    fn mend(&mut self) -> Result<(), String> {
        self.disk.mend()
    }

    fn told(&self) -> BTreeMap<&'static str, u64> {
        self.told.clone()
    }

    fn amiss(&mut self) -> Vec<String> {
        std::mem::take(&mut self.amiss)
    }
}

/// What is said to a letter's recipient; nothing is sent.
fn rcpt(server: SocketAddr, address: &str) -> Result<String, crate::wire::Error> {
    let mut wire = Wire::connect(server, PATIENCE)?;
    wire.line()?;
    let mut last = String::new();
    for line in ["HELO loadtest.example", "MAIL FROM:<>", &format!("RCPT TO:<{address}>")] {
        wire.send(format!("{line}\r\n").as_bytes())?;
        last = String::from_utf8_lossy(&wire.line()?).into_owned();
    }
    Ok(last)
}

/// The answer to GET /healthz, whole.
fn health(at: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}
