//! How long opening takes: with a checkpoint, and by reading the whole log. Files are in the page cache.
//!
//! `cargo bench -p ringpost-storage --bench recovery -- FOLDER [GIB]`. Makes volumes under FOLDER (default: the system's folder
//! for such things), some GiB in all, and removes them. Prints seconds, and for the whole log GiB/s and seconds for each GiB.

use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use ringpost_storage::disk::{Bytes, Disk, File};
use ringpost_storage::{AccountId, Body, Create, Flags, MailboxId, Op, Outcome, Settings, Transaction, Volume};

const NOW_MS: i64 = 1_700_000_000_000;
const SEGMENT: u64 = 64 << 20;

/// A folder, through the page cache and without syncs: what is measured is reading.
#[derive(Clone)]
struct Folder(Rc<PathBuf>);

#[derive(Clone)]
struct Open(Rc<fs::File>, u64);

impl Disk for Folder {
    type File = Open;

    async fn list(&self) -> io::Result<Vec<String>> {
        Ok(fs::read_dir(&*self.0)?.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect())
    }

    async fn create(&self, name: &str, len: u64) -> io::Result<Open> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.0.join(name))?;
        file.set_len(len)?;
        Ok(Open(Rc::new(file), len))
    }

    async fn open(&self, name: &str) -> io::Result<Open> {
        let file = OpenOptions::new().read(true).write(true).open(self.0.join(name))?;
        let len = file.metadata()?.len();
        Ok(Open(Rc::new(file), len))
    }

    async fn recycle(&self, name: &str, new_name: &str) -> io::Result<Open> {
        fs::rename(self.0.join(name), self.0.join(new_name))?;
        self.open(new_name).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 50)
    }
}

impl File for Open {
    fn len(&self) -> u64 {
        self.1
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let mut at = offset;
        for part in parts {
            self.0.write_all_at(&part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("this disk never waits"),
    }
}

fn settings() -> Settings {
    Settings { gather_bytes_max: 64 << 20, batch_bytes_max: 16 << 20, free_bytes_min: 0, ..Settings::DEFAULT }
}

/// What a volume is filled with.
struct Fill {
    accounts: u32,
    letters: u32,
    body_bytes: usize,
    batch: usize,
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let folder = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let gib: f64 = args.next().map_or(1.0, |gib| gib.parse().expect("GiB"));
    let letters = |body_bytes: usize| ((gib * f64::from(1 << 30)) / (body_bytes + 400) as f64) as u32;
    println!(
        "accounts  letters  octets  batch |   log GiB  pages MiB | killed: open s, batches | whole log: s   GiB/s  s/GiB"
    );
    for fill in [
        Fill { accounts: 1_000, letters: 100_000, body_bytes: 4_096, batch: 64 },
        Fill { accounts: 1_000, letters: letters(4_096), body_bytes: 4_096, batch: 64 },
        Fill { accounts: 1_000, letters: letters(4_096), body_bytes: 4_096, batch: 1 },
        Fill { accounts: 1_000, letters: letters(65_536), body_bytes: 65_536, batch: 16 },
        Fill { accounts: 1_000_000, letters: 100_000, body_bytes: 1_024, batch: 64 },
    ] {
        run(&folder, &fill);
    }
}

fn run(folder: &std::path::Path, fill: &Fill) {
    let folder = folder.join(format!("ringpost-recovery-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let disk = Folder(Rc::new(folder.clone()));
    let facts = Create { store: uuid::Uuid::nil(), volume: 0, volumes: 1, segment_bytes: SEGMENT, seed: 7 };
    ready(Volume::create(&disk, &facts)).unwrap();
    let stats = make(&disk, fill);
    let began = Instant::now();
    let (volume, recovered) = ready(Volume::open(disk.clone(), None, settings())).unwrap();
    let quick = began.elapsed().as_secs_f64();
    assert_eq!(volume.account_ids().len(), fill.accounts as usize);
    drop(volume);
    let began = Instant::now();
    let (volume, whole) = ready(Volume::open(disk, None, Settings { checkpoint_bytes: 0, ..settings() })).unwrap();
    let slow = began.elapsed().as_secs_f64();
    assert_eq!(volume.account_ids().len(), fill.accounts as usize);
    let gib = whole.bytes as f64 / f64::from(1 << 30);
    println!(
        "{:>8} {:>8} {:>7} {:>6} | {gib:>9.2} {:>10.1} | {quick:>13.3} {:>9} | {slow:>12.3} {:>7.2} {:>6.2}",
        fill.accounts,
        fill.letters,
        fill.body_bytes,
        fill.batch,
        stats as f64 / f64::from(1 << 20),
        recovered.batches,
        gib / slow,
        slow / gib,
    );
    fs::remove_dir_all(&folder).expect("removed");
}

/// Fills a volume and leaves it as a kill would. Returns the octets of pages written.
fn make(disk: &Folder, fill: &Fill) -> u64 {
    let (volume, _) = ready(Volume::open(disk.clone(), None, settings())).unwrap();
    let run_dry = || std::future::ready(());
    let mut looped = pin!(volume.commit_loop(run_dry));
    let mut cx = Context::from_waker(Waker::noop());
    let mut accounts: Vec<AccountId> = Vec::new();
    for n in 0..fill.accounts {
        let name = format!("user{n}@ringpost.test");
        let op = Op::PutAccount {
            name,
            secrets: vec![0; 100],
            mailboxes: Vec::new(),
            limits: ringpost_storage::Limits::NONE,
        };
        let decided = volume.decide(Transaction { bodies: vec![], ops: vec![op] }, NOW_MS).unwrap();
        let Outcome::Account(id) = decided.outcomes[0] else { unreachable!() };
        accounts.push(id);
        if n % 64 == 63 || n + 1 == fill.accounts {
            assert!(looped.as_mut().poll(&mut cx).is_pending());
        }
    }
    for n in 0..fill.letters as usize {
        let append = Op::Append {
            account: accounts[n * 7 % accounts.len()],
            mailbox: MailboxId::INBOX,
            body: 0,
            prefix: b"Delivered-To: user123@ringpost.test\r\n".to_vec(),
            flags: Flags::none(),
            internal_ms: NOW_MS,
        };
        let bodies = vec![Body::from(vec![b'x'; fill.body_bytes])];
        drop(volume.decide(Transaction { bodies, ops: vec![append] }, NOW_MS).unwrap());
        if n % fill.batch == fill.batch - 1 || n + 1 == fill.letters as usize {
            assert!(looped.as_mut().poll(&mut cx).is_pending());
        }
    }
    volume.stats().checkpoint_bytes
}
