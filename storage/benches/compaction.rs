//! What space costs: octets written for each octet delivered when as much is expunged as comes, and what compaction takes
//! of a core. The disk is memory; everything that is written is counted: log, roots, copies, headers, superblocks, zeros.
//!
//! `cargo bench -p ringpost-storage --features sim --bench compaction`. The live set is so many letters of 4 KiB, of which
//! any one goes for each that comes, in batches of 64.

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

const SEGMENT: u64 = 16 << 20;
const LETTER: usize = 4_096;
const LETTERS: usize = 80_000;
const ACCOUNTS: usize = 200;
const BATCH: usize = 64;
const NOW_MS: i64 = 1_700_000_000_000;

#[derive(Clone, Default)]
struct Memory {
    files: Rc<RefCell<BTreeMap<String, Octets>>>,
    written: Rc<Cell<u64>>,
}

#[derive(Clone)]
struct Octets {
    bytes: Rc<RefCell<Vec<u8>>>,
    written: Rc<Cell<u64>>,
}

impl Disk for Memory {
    type File = Octets;
    async fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.borrow().keys().cloned().collect())
    }
    async fn create(&self, name: &str, len: u64) -> io::Result<Octets> {
        self.written.set(self.written.get() + len);
        let file = Octets { bytes: Rc::new(RefCell::new(vec![0; len as usize])), written: self.written.clone() };
        self.files.borrow_mut().insert(name.to_owned(), file.clone());
        Ok(file)
    }
    async fn open(&self, name: &str) -> io::Result<Octets> {
        Ok(self.files.borrow()[name].clone())
    }
    async fn recycle(&self, name: &str, new_name: &str) -> io::Result<Octets> {
        let file = self.files.borrow_mut().remove(name).ok_or(io::ErrorKind::NotFound)?;
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
        for part in parts {
            self.bytes.borrow_mut()[at..at + part.len()].copy_from_slice(&part);
            at += part.len();
        }
        self.written.set(self.written.get() + at as u64 - offset);
        Ok(())
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
    letters: Vec<(AccountId, Uid)>,
    accounts: Vec<AccountId>,
    delivered: u64,
    compacting: Duration,
    copied: u64,
    segments: u64,
}

impl Bench {
    fn new(disk: &Memory) -> Bench {
        let facts = Create { store: uuid::Uuid::nil(), volume: 0, volumes: 1, segment_bytes: SEGMENT, seed: 7 };
        let settings =
            Settings { gather_bytes_max: 64 << 20, batch_bytes_max: 4 << 20, free_bytes_min: 0, ..Settings::DEFAULT };
        block_on(Volume::create(disk, &facts)).unwrap();
        let (volume, _) = block_on(Volume::open(disk.clone(), None, settings)).unwrap();
        let mut tasks = Tasks::default();
        let looped = volume.clone();
        tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
        let chance = SmallRng::seed_from_u64(1);
        let mut bench = Bench {
            volume,
            tasks,
            chance,
            letters: Vec::new(),
            accounts: Vec::new(),
            delivered: 0,
            compacting: Duration::ZERO,
            copied: 0,
            segments: 0,
        };
        for n in 0..ACCOUNTS {
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
        let account = self.accounts[self.chance.random_range(0..ACCOUNTS)];
        let mut octets = vec![0; LETTER];
        self.chance.fill(&mut octets[..]);
        let append = Op::Append {
            account,
            mailbox: MailboxId::INBOX,
            body: 0,
            prefix: b"Delivered-To: user123@ringpost.test\r\n".to_vec(),
            flags: Flags::none(),
            internal_ms: NOW_MS,
        };
        self.delivered += LETTER as u64 + 37;
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
    let disk = Memory::default();
    let mut bench = Bench::new(&disk);
    let held: Vec<_> =
        bench.accounts.clone().iter().filter_map(|id| block_on(bench.volume.load(*id)).unwrap()).collect();
    while bench.letters.len() < LETTERS {
        bench.batch(false);
    }
    // Until it is as it stays: three times as much comes and goes as is there.
    for _ in 0..3 * LETTERS / BATCH {
        bench.batch(true);
    }
    let (written, delivered, before) = (disk.written.get(), bench.delivered, bench.volume.stats());
    (bench.compacting, bench.copied, bench.segments) = (Duration::ZERO, 0, 0);
    let mut live = 0.0;
    let rounds = 3 * LETTERS / BATCH;
    for _ in 0..rounds {
        bench.batch(true);
        let space = bench.volume.space();
        live += space.live_bytes as f64 / space.segment_bytes as f64;
    }
    let after = bench.volume.stats();
    let delivered = (bench.delivered - delivered) as f64;
    let written = (disk.written.get() - written) as f64;
    println!(
        "live {:.1} % of the files; {:.3} octets written for each delivered, everything counted (log without compaction's {:.3}, bodies copied {:.3}, folds {:.3})",
        100.0 * live / rounds as f64,
        written / delivered,
        (after.written_bytes - before.written_bytes - (after.compacted_bytes - before.compacted_bytes)) as f64
            / delivered,
        (after.compacted_bytes - before.compacted_bytes) as f64 / delivered,
        (after.folded_bytes - before.folded_bytes) as f64 / delivered,
    );
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "compaction: {} segments of {} MiB, {:.0} MiB of bodies copied; {:.0} us of a core for each MiB copied, {:.0} for each MiB of a segment",
        bench.segments,
        SEGMENT >> 20,
        mib(bench.copied),
        bench.compacting.as_secs_f64() * 1e6 / mib(bench.copied),
        bench.compacting.as_secs_f64() * 1e6 / mib(bench.segments * SEGMENT),
    );
    drop(held);
}
