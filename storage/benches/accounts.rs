//! What accounts cost: memory of a cold one and of a loaded message, loading and listing 10,000 messages, and a letter to an
//! account among a million cold ones beside one to an account that is held in memory.
//!
//! `cargo bench -p ringpost-storage --bench accounts`. The disk is memory: what is measured is our own time, and how often
//! and how much is read.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use ringpost_storage::disk::{Bytes, Disk, File};
use ringpost_storage::{
    AccountId, Body, Create, Flags, FlagsHow, MailboxId, Op, Outcome, Settings, Transaction, Uid, Volume,
};

const SEGMENT: u64 = 64 << 20;
const NOW_MS: i64 = 1_700_000_000_000;
/// Octets kept of a file at once.
const CHUNK: u64 = 64 << 10;

/// Files in memory, as far as they were written; counts reads.
#[derive(Clone, Default)]
struct Memory {
    files: Rc<RefCell<BTreeMap<String, Kept>>>,
    reads: Rc<Reads>,
}

#[derive(Default)]
struct Reads {
    count: Cell<u64>,
    octets: Cell<u64>,
    /// Times that somebody waited for reads, however many they were. Nobody waits unless `waits` says so.
    rounds: Cell<u64>,
    waits: Cell<bool>,
}

impl Reads {
    fn told(&self) -> (u64, u64, u64) {
        (self.count.get(), self.octets.get(), self.rounds.get())
    }
}

#[derive(Clone)]
struct Kept {
    len: u64,
    chunks: Rc<RefCell<BTreeMap<u64, Vec<u8>>>>,
    reads: Rc<Reads>,
}

impl Disk for Memory {
    type File = Kept;
    async fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.borrow().keys().cloned().collect())
    }
    async fn create(&self, name: &str, len: u64) -> io::Result<Kept> {
        let file = Kept { len, chunks: Rc::default(), reads: self.reads.clone() };
        self.files.borrow_mut().insert(name.to_owned(), file.clone());
        Ok(file)
    }
    async fn open(&self, name: &str) -> io::Result<Kept> {
        self.files.borrow().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    async fn recycle(&self, _: &str, _: &str) -> io::Result<Kept> {
        Err(io::ErrorKind::NotFound.into())
    }
    async fn remove(&self, name: &str) -> io::Result<()> {
        self.files.borrow_mut().remove(name);
        Ok(())
    }
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 50)
    }
}

impl File for Kept {
    fn len(&self) -> u64 {
        self.len
    }
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.reads.count.set(self.reads.count.get() + 1);
        self.reads.octets.set(self.reads.octets.get() + len as u64);
        let mut waits = self.reads.waits.get();
        poll_fn(|_| if std::mem::take(&mut waits) { Poll::Pending } else { Poll::Ready(()) }).await;
        let chunks = self.chunks.borrow();
        let mut out = Vec::with_capacity(len);
        while out.len() < len {
            let at = offset + out.len() as u64;
            let (number, from) = (at / CHUNK, (at % CHUNK) as usize);
            let take = (len - out.len()).min(CHUNK as usize - from);
            match chunks.get(&number) {
                Some(chunk) => out.extend_from_slice(&chunk[from..from + take]),
                None => out.resize(out.len() + take, 0),
            }
        }
        Ok(out)
    }
    async fn write_sync(&self, mut offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let mut chunks = self.chunks.borrow_mut();
        for part in parts {
            let mut rest = &part[..];
            while !rest.is_empty() {
                let (number, from) = (offset / CHUNK, (offset % CHUNK) as usize);
                let take = rest.len().min(CHUNK as usize - from);
                let chunk = chunks.entry(number).or_insert_with(|| vec![0; CHUNK as usize]);
                chunk[from..from + take].copy_from_slice(&rest[..take]);
                (rest, offset) = (&rest[take..], offset + take as u64);
            }
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

/// The same of a disk whose reads take a round: all that wait are done together. Returns milliseconds too, and reads, octets, rounds.
fn counted<T>(disk: &Memory, future: impl Future<Output = T>) -> (T, f64, [u64; 3]) {
    let reads = &disk.reads;
    let before = reads.told();
    let began = Instant::now();
    reads.waits.set(true);
    let mut future = pin!(future);
    let value = loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => break value,
            Poll::Pending => reads.rounds.set(reads.rounds.get() + 1),
        }
    };
    reads.waits.set(false);
    let after = reads.told();
    (value, began.elapsed().as_secs_f64() * 1e3, [after.0 - before.0, after.1 - before.1, after.2 - before.2])
}

/// Resident octets of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4_096
}

fn open(disk: &Memory) -> Volume<Memory> {
    let settings = Settings { gather_bytes_max: 256 << 20, free_bytes_min: 0, ..Settings::DEFAULT };
    ready(Volume::open(disk.clone(), None, settings)).expect("it opens").0
}

fn made() -> (Memory, Volume<Memory>) {
    let disk = Memory::default();
    let facts = Create { store: uuid::Uuid::nil(), volume: 0, volumes: 1, segment_bytes: SEGMENT, seed: 7 };
    ready(Volume::create(&disk, &facts)).expect("it is made");
    let volume = open(&disk);
    (disk, volume)
}

/// Turns the commit loop, and the housekeeping if it is there.
type Turn<'a> = &'a mut dyn FnMut();

/// Runs `work` on a volume whose loops go on when `turn` is called.
fn running<T>(volume: &Volume<Memory>, work: impl FnOnce(Turn<'_>) -> T) -> T {
    let mut commits = pin!(volume.commit_loop(|| std::future::ready(())));
    let mut folds = pin!(volume.housekeeping(|| std::future::ready(())));
    let mut cx = Context::from_waker(Waker::noop());
    work(&mut || {
        // A fold waits for its commit, and the line for the fold.
        for _ in 0..2 {
            assert!(commits.as_mut().poll(&mut cx).is_pending());
            assert!(folds.as_mut().poll(&mut cx).is_pending());
        }
    })
}

fn account(volume: &Volume<Memory>, n: usize) -> AccountId {
    let op = Op::PutAccount {
        name: format!("user{n}@ringpost.test"),
        secrets: vec![0; 100],
        mailboxes: Vec::new(),
        limits: ringpost_storage::Limits::NONE,
    };
    match volume.decide(Transaction { bodies: vec![], ops: vec![op] }, NOW_MS).expect("there is room").outcomes[0] {
        Outcome::Account(id) => id,
        _ => unreachable!(),
    }
}

fn letter(account: AccountId, octets: usize) -> Transaction {
    let append = Op::Append {
        account,
        mailbox: MailboxId::INBOX,
        body: 0,
        prefix: b"Delivered-To: user123@ringpost.test\r\n".to_vec(),
        flags: Flags::none(),
        internal_ms: NOW_MS,
    };
    Transaction { bodies: vec![Body::from(vec![b'x'; octets])], ops: vec![append] }
}

fn main() {
    let only = std::env::args().nth(1).filter(|arg| !arg.starts_with("--"));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("mailbox") {
        mailbox(500, true, 1);
        mailbox(4_096, false, 1);
        mailbox(4_096, false, 100);
    }
    if wanted("million") {
        million();
    }
}

/// 10,000 messages of so many octets: folding, loading, listing, memory. `people`: accounts that letters come to by turns.
fn mailbox(octets: usize, summaries: bool, people: usize) {
    const MESSAGES: Uid = 10_000;
    let (disk, volume) = made();
    let alice = running(&volume, |turn| {
        let alice = account(&volume, 0);
        let others: Vec<AccountId> = (1..people).map(|n| account(&volume, n)).collect();
        turn();
        for uid in 1..=MESSAGES {
            drop(volume.decide(letter(alice, octets), NOW_MS).expect("there is room"));
            others.iter().for_each(|id| drop(volume.decide(letter(*id, 500), NOW_MS).expect("there is room")));
            if uid % 10 == 0 {
                turn();
                if summaries {
                    looked_at(&volume, alice, uid, turn);
                }
            }
        }
        for _ in 0..4 {
            turn();
        }
        alice
    });
    let stats = volume.stats();
    let with = if summaries { "with summaries of 500 octets" } else { "nobody looks at them" };
    println!("10,000 messages of {octets} octets, {with}, {} others get as many:", people - 1);
    println!(
        "  {} folds wrote {:.0} octets a message, {:.3} of what the letters have",
        stats.folds,
        stats.folded_bytes as f64 / f64::from(MESSAGES) / people as f64,
        stats.folded_bytes as f64 / stats.body_bytes as f64,
    );
    drop(volume);
    let volume = open(&disk);
    let (held, took, [reads, octets, rounds]) = counted(&disk, volume.load(alice));
    let held = held.expect("it reads").expect("it is there");
    println!("  load: {took:.2} ms, {reads} reads in {rounds} rounds, {octets} octets");
    let bytes = volume.stats().accounts_loaded_bytes;
    println!("  in memory: {:.1} octets a message (estimated)", bytes as f64 / f64::from(MESSAGES));
    if !summaries {
        return;
    }
    let uids: Vec<Uid> = (1..=MESSAGES).collect();
    for name in ["10,000 summaries", "10,000 summaries again"] {
        let (listed, took, [reads, octets, rounds]) = counted(&disk, held.summaries(MailboxId::INBOX, &uids));
        assert!(listed.iter().all(Option::is_some), "each has its summary");
        println!("  list {name}: {took:.2} ms, {reads} reads in {rounds} rounds, {octets} octets");
    }
}

/// A client's look at ten new messages: summaries are made, and an old one is marked as seen.
fn looked_at(volume: &Volume<Memory>, account: AccountId, uid: Uid, turn: Turn<'_>) {
    let held = ready(volume.load(account)).expect("it reads").expect("it is there");
    let items = (uid - 9..=uid).map(|uid| (uid, vec![uid as u8; 500])).collect();
    let op = Op::Summaries { account, mailbox: MailboxId::INBOX, items };
    drop(volume.decide(Transaction { bodies: vec![], ops: vec![op] }, NOW_MS).expect("there is room"));
    let seen = Op::StoreFlags {
        account,
        mailbox: MailboxId::INBOX,
        uids: vec![uid / 2],
        how: FlagsHow::Add,
        flags: Flags::of(Flags::SEEN),
        unchanged_since: None,
    };
    drop(volume.decide(Transaction { bodies: vec![], ops: vec![seen] }, NOW_MS).expect("there is room"));
    turn();
    drop(held);
}

/// A million cold accounts.
fn million() {
    const ACCOUNTS: usize = 1_000_000;
    const PEOPLE: usize = 1_000;
    const LETTERS: usize = 100;
    let (disk, volume) = made();
    running(&volume, |turn| {
        (0..ACCOUNTS).for_each(|n| {
            let _id = account(&volume, n);
            if n % 1_000 == 999 {
                turn();
            }
        });
    });
    drop(volume);
    let before = resident();
    let began = Instant::now();
    let volume = open(&disk);
    let ids = volume.account_ids();
    println!(
        "1,000,000 cold accounts: {:.0} octets each (resident), opened in {:.1} s without a checkpoint",
        (resident() - before) as f64 / ACCOUNTS as f64,
        began.elapsed().as_secs_f64(),
    );
    running(&volume, |turn| {
        let mut deliver = |people: &[AccountId]| {
            let began = Instant::now();
            for n in 0..people.len() * LETTERS {
                drop(volume.decide(letter(people[n * 7 % people.len()], 4_096), NOW_MS).expect("there is room"));
                if n % 64 == 63 {
                    turn();
                }
            }
            (0..4).for_each(|_| turn());
            began.elapsed().as_secs_f64() * 1e6 / (people.len() * LETTERS) as f64
        };
        // Ids stand in the order of their making: take them from all over.
        let some = |from: usize| ids.iter().skip(from).step_by(ACCOUNTS / PEOPLE).copied().collect::<Vec<_>>();
        let (warm, cold, hot) = (some(1), some(2), some(3));
        deliver(&warm);
        let before = volume.stats().folds;
        let cold_us = deliver(&cold);
        let folds = volume.stats().folds;
        assert_eq!(volume.stats().accounts_loaded, 0, "nobody needed them in memory");
        let held: Vec<_> = hot.iter().map(|id| ready(volume.load(*id)).expect("it reads")).collect();
        let hot_us = deliver(&hot);
        println!(
            "a 4 KiB letter, folding included: {cold_us:.2} us to one of 1,000 cold accounts among a million, {hot_us:.2} us to one \
             of 1,000 that are held ({:.2} x); {} and {} folds",
            cold_us / hot_us,
            folds - before,
            volume.stats().folds - folds,
        );
        drop(held);
    });
}
