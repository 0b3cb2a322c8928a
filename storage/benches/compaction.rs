//! What space costs: octets written for each octet delivered when as much is expunged as comes, and what compaction takes
//! of a core. The disk is memory; everything that is written is counted: log, roots, copies, headers, superblocks, zeros.
//!
//! `cargo bench -p ringpost-storage --features sim --bench compaction [-- SEGMENTS [MIB [ACCOUNTS]]]`. So many letters of
//! 4 KiB live as fill `SEGMENTS` segments of `MIB` to seven tenths; for each that comes any one goes, in batches of 64. It
//! tells of each kind of record what it takes.
//!
//! *Live* are octets that would have to be written again if their segment went: letters in use, each with its records as they
//! are after a move, and runs of rows that a root names. Its share is that of all octets of all files that are segments: spares,
//! the next one and the one that is written included, as an average over the whole time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ringpost_storage::disk::{Bytes, Disk, File};
use ringpost_storage::sim::campaign::tasks::{Tasks, block_on, turns};
use ringpost_storage::{
    AccountId, Body, Compacted, Create, Flags, MailboxId, Op, Outcome, Pace, Settings, Ticket, Transaction, Uid, Volume,
};

const LETTER: usize = 4_096;
const PREFIX: &[u8] = b"Delivered-To: user123@ringpost.test\r\n";
/// Octets of a letter as it is read.
const STORED: usize = LETTER + PREFIX.len();
/// The same as it lies in the log after it was moved: body and its record, message with prefix, forwards. FORMAT.md, *Records*.
const MOVED: u64 = LETTER as u64 + 48 + 112 + 24;
const BATCH: usize = 64;
/// How often as many come as live there, before anything is counted and while it is.
const TIMES: usize = 2;
const NOW_MS: i64 = 1_700_000_000_000;

#[derive(Clone, Default)]
struct Memory {
    files: Rc<RefCell<BTreeMap<String, Octets>>>,
    written: Rc<Cell<u64>>,
    kinds: Kinds,
}

/// Octets by what they are for.
type Kinds = Rc<RefCell<BTreeMap<String, u64>>>;

#[derive(Clone)]
struct Octets {
    name: String,
    bytes: Rc<RefCell<Vec<u8>>>,
    written: Rc<Cell<u64>>,
    kinds: Kinds,
}

impl Disk for Memory {
    type File = Octets;
    async fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.borrow().keys().cloned().collect())
    }
    async fn create(&self, name: &str, len: u64) -> io::Result<Octets> {
        let bytes = Rc::new(RefCell::new(vec![0; len as usize]));
        let (written, kinds) = (self.written.clone(), self.kinds.clone());
        let file = Octets { name: name.to_owned(), bytes, written, kinds };
        file.count("new files, zeros", len);
        self.files.borrow_mut().insert(name.to_owned(), file.clone());
        Ok(file)
    }
    async fn open(&self, name: &str) -> io::Result<Octets> {
        Ok(self.files.borrow()[name].clone())
    }
    async fn recycle(&self, name: &str, new_name: &str) -> io::Result<Octets> {
        let mut file = self.files.borrow_mut().remove(name).ok_or(io::ErrorKind::NotFound)?;
        new_name.clone_into(&mut file.name);
        self.files.borrow_mut().insert(new_name.to_owned(), file.clone());
        Ok(file)
    }
    async fn remove(&self, name: &str) -> io::Result<()> {
        self.files.borrow_mut().remove(name);
        Ok(())
    }
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 50)
    }
}

impl File for Octets {
    fn len(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        Ok(self.bytes.borrow()[offset as usize..][..len].to_vec())
    }
    async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let mut at = offset as usize;
        for part in &parts {
            self.bytes.borrow_mut()[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        let len = at as u64 - offset;
        match self.name.split('-').next() {
            Some("segment") if offset > 0 => self.count_batch(&parts[0], len),
            Some("segment") => self.count("headers of segments", len),
            Some("pages") => self.count("checkpoints", len),
            _ => self.count("superblocks", len),
        }
        Ok(())
    }
}

impl Octets {
    fn count(&self, kind: &str, octets: u64) {
        self.written.set(self.written.get() + octets);
        *self.kinds.borrow_mut().entry(kind.to_owned()).or_default() += octets;
    }

    /// FORMAT.md, *Batch* and *Records*.
    fn count_batch(&self, buffer: &[u8], len: u64) {
        let u32_at = |at: usize| u32::from_le_bytes(buffer[at..at + 4].try_into().unwrap());
        let (mut at, end) = (128, 128 + u32_at(72) as usize);
        let mut left = len;
        let mut count = |kind: &str, octets: u64| {
            self.count(kind, octets);
            left -= octets;
        };
        while at < end {
            let octets = u32_at(at);
            let kind = u16::from_le_bytes([buffer[at + 8], buffer[at + 9]]);
            match kind {
                24 => count("records: messages", octets.into()),
                26 => count("records: expunges", octets.into()),
                33 => {
                    let body = u32_at(at + 24);
                    let letter = body as usize == LETTER;
                    count(if letter { "bodies of letters" } else { "runs of rows" }, body.into());
                    count(if letter { "records: bodies" } else { "records: runs of rows" }, octets.into());
                }
                104 => count("records: roots", octets.into()),
                105 => count("records: forwards", octets.into()),
                106 => count("records: moved messages", octets.into()),
                _ => count("records: others", octets.into()),
            }
            at += octets as usize;
        }
        self.count("headers and footers of batches, padding", left);
    }
}

impl Memory {
    /// Octets of all files that are or were segments.
    fn segment_bytes(&self) -> u64 {
        let files = self.files.borrow();
        files.iter().filter(|(name, _)| name.starts_with("segment-")).map(|(_, file)| file.len()).sum()
    }
}

struct NoRest;

impl Pace for NoRest {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }
    async fn rest(&self, _: u64) {
        turns(1).await;
    }
}

struct Bench {
    volume: Volume<Memory>,
    tasks: Tasks,
    chance: SmallRng,
    segment_bytes: u64,
    letters: Vec<(AccountId, Uid)>,
    accounts: Vec<AccountId>,
    delivered: u64,
    compacting: Duration,
    copied: u64,
    segments: u64,
}

impl Bench {
    fn new(disk: &Memory, segment_bytes: u64, accounts: usize) -> Bench {
        let facts = Create { store: uuid::Uuid::nil(), volume: 0, volumes: 1, segment_bytes, seed: 7 };
        let settings =
            Settings { gather_bytes_max: 64 << 20, batch_bytes_max: 4 << 20, free_bytes_min: 0, ..Settings::DEFAULT };
        block_on(Volume::create(disk, &facts)).unwrap();
        let (volume, _) = block_on(Volume::open(disk.clone(), None, settings)).unwrap();
        let mut tasks = Tasks::default();
        let (looped, kept) = (volume.clone(), volume.clone());
        tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
        tasks.spawn(async move { kept.housekeeping(|| turns(1)).await });
        let chance = SmallRng::seed_from_u64(1);
        let mut bench = Bench {
            volume,
            tasks,
            chance,
            segment_bytes,
            letters: Vec::new(),
            accounts: Vec::new(),
            delivered: 0,
            compacting: Duration::ZERO,
            copied: 0,
            segments: 0,
        };
        for n in 0..accounts {
            let put = Op::PutAccount {
                name: format!("u{n}@x"),
                secrets: vec![0; 100],
                mailboxes: Vec::new(),
                limits: ringpost_storage::Limits::NONE,
            };
            let decided = bench.volume.decide(Transaction { bodies: vec![], ops: vec![put] }, NOW_MS).unwrap();
            let Outcome::Account(id) = decided.outcomes[0] else { unreachable!() };
            bench.accounts.push(id);
        }
        bench.tasks.settle();
        bench
    }

    fn deliver(&mut self, tickets: &mut Vec<Ticket>) -> (AccountId, Uid) {
        let account = self.accounts[self.chance.random_range(0..self.accounts.len())];
        let mut octets = vec![0; LETTER];
        self.chance.fill(&mut octets[..]);
        let append = Op::Append {
            account,
            mailbox: MailboxId::INBOX,
            body: 0,
            prefix: PREFIX.to_vec(),
            flags: Flags::none(),
            internal_ms: NOW_MS,
        };
        self.delivered += STORED as u64;
        let letter = Transaction { bodies: vec![Body::from(octets)], ops: vec![append] };
        let decided = self.volume.decide(letter, NOW_MS).unwrap();
        let Outcome::Appended { uid, .. } = decided.outcomes[0] else { unreachable!() };
        tickets.push(decided.ticket);
        (account, uid)
    }

    fn expunge_one(&mut self, tickets: &mut Vec<Ticket>) {
        let at = self.chance.random_range(0..self.letters.len());
        let (account, uid) = self.letters.swap_remove(at);
        let gone = Op::Expunge { account, mailbox: MailboxId::INBOX, uids: vec![uid] };
        tickets.push(self.volume.decide(Transaction { bodies: vec![], ops: vec![gone] }, NOW_MS).unwrap().ticket);
    }

    /// One batch in, as many out, and whatever is to be compacted then.
    fn batch(&mut self, out: bool) {
        let mut tickets = Vec::new();
        let coming: Vec<_> = (0..BATCH).map(|_| self.deliver(&mut tickets)).collect();
        if out {
            (0..BATCH).for_each(|_| self.expunge_one(&mut tickets));
        }
        self.letters.extend(coming);
        self.tasks.settle();
        tickets.into_iter().for_each(|ticket| block_on(ticket).unwrap());
        loop {
            let began = Instant::now();
            let told = Rc::new(RefCell::new(None));
            let (tell, volume) = (told.clone(), self.volume.clone());
            self.tasks.spawn(async move {
                let done = volume.compact(&NoRest).await;
                *tell.borrow_mut() = Some(done);
            });
            self.tasks.settle();
            match told.take().expect("it ends") {
                Compacted::Segment { copied, .. } => {
                    self.compacting += began.elapsed();
                    self.copied += copied;
                    self.segments += 1;
                }
                _ => return,
            }
        }
    }
}

fn main() {
    let mut given = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let segments = given.next().unwrap_or(64);
    let segment_bytes = given.next().unwrap_or(32) << 20;
    let accounts = given.next().unwrap_or(200) as usize;
    let letters = (segments * segment_bytes * 7 / 10) as usize / STORED;
    let disk = Memory::default();
    let mut bench = Bench::new(&disk, segment_bytes, accounts);
    let held: Vec<_> =
        bench.accounts.clone().iter().filter_map(|id| block_on(bench.volume.load(*id)).unwrap()).collect();
    while bench.letters.len() < letters {
        bench.batch(false);
    }
    // Until it is as it stays.
    let rounds = TIMES * letters / BATCH;
    (0..rounds).for_each(|_| bench.batch(true));
    let (written, delivered, before) = (disk.written.get(), bench.delivered, bench.volume.stats());
    (bench.compacting, bench.copied, bench.segments) = (Duration::ZERO, 0, 0);
    disk.kinds.borrow_mut().clear();
    let (mut stored, mut kept, mut sealed) = (0.0, 0.0, 0.0);
    for _ in 0..rounds {
        bench.batch(true);
        let space = bench.volume.space();
        let files = disk.segment_bytes() as f64;
        stored += space.message_bytes as f64 / files;
        // As a letter is when it was moved, which is the least that it takes; what else is in use are runs of rows.
        let runs = space.live_bytes - space.messages * LETTER as u64;
        kept += (space.messages * MOVED + runs) as f64 / files;
        sealed += files / segment_bytes as f64;
    }
    let after = bench.volume.stats();
    let delivered = (bench.delivered - delivered) as f64;
    let written = (disk.written.get() - written) as f64;
    let percent = |sum: f64| 100.0 * sum / rounds as f64;
    println!(
        "{letters} letters of {accounts} accounts, {:.1} segments of {} MiB: {:.1} % of the files are messages in use, {:.1} % \
         these with their records, and runs in use",
        sealed / rounds as f64,
        segment_bytes >> 20,
        percent(stored),
        percent(kept),
    );
    println!(
        "{:.3} octets written for each delivered, everything counted (log without compaction's {:.3}, bodies copied {:.3}, folds {:.3})",
        written / delivered,
        (after.written_bytes - before.written_bytes - (after.compacted_bytes - before.compacted_bytes)) as f64
            / delivered,
        (after.compacted_bytes - before.compacted_bytes) as f64 / delivered,
        (after.folded_bytes - before.folded_bytes) as f64 / delivered,
    );
    for (kind, octets) in &*disk.kinds.borrow() {
        println!("  {:.4} {kind}", *octets as f64 / delivered);
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "compaction: {} segments, {:.0} MiB of bodies copied, {} folds; {:.0} us of a core for each MiB copied, {:.0} for each MiB of a segment",
        bench.segments,
        mib(bench.copied),
        after.folds - before.folds,
        bench.compacting.as_secs_f64() * 1e6 / mib(bench.copied),
        bench.compacting.as_secs_f64() * 1e6 / mib(bench.segments * bench.segment_bytes),
    );
    drop(held);
}
