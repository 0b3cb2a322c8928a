//! What the store's share of a letter costs: decide, encode, checksum, apply, wake. The disk does nothing.
//!
//! `cargo bench -p ringpost-storage`. Prints microseconds per 4 KiB letter at several batch sizes, parts apart.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ringpost_storage::disk::{Bytes, Disk, File};
use ringpost_storage::{AccountId, Body, Create, Flags, MailboxId, Op, Outcome, Settings, Ticket, Transaction, Volume};

const SEGMENT: u64 = 1 << 30;
const NOW_MS: i64 = 1_700_000_000_000;

/// Keeps what is read at opening, forgets the log.
#[derive(Clone, Default)]
struct Nowhere(Rc<RefCell<BTreeMap<String, Void>>>);

#[derive(Clone)]
struct Void {
    len: u64,
    kept: Rc<RefCell<BTreeMap<u64, Vec<u8>>>>,
}

impl Disk for Nowhere {
    type File = Void;
    async fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().keys().cloned().collect())
    }
    async fn create(&self, name: &str, len: u64) -> io::Result<Void> {
        let file = Void { len, kept: Rc::default() };
        self.0.borrow_mut().insert(name.to_owned(), file.clone());
        Ok(file)
    }
    async fn open(&self, name: &str) -> io::Result<Void> {
        Ok(self.0.borrow()[name].clone())
    }
    async fn recycle(&self, _: &str, _: &str) -> io::Result<Void> {
        Err(io::ErrorKind::NotFound.into())
    }
    async fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 50)
    }
}

impl File for Void {
    fn len(&self) -> u64 {
        self.len
    }
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = self.kept.borrow().get(&offset).cloned().unwrap_or_default();
        bytes.resize(len, 0);
        Ok(bytes)
    }
    async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        if parts.len() == 1 {
            self.kept.borrow_mut().insert(offset, parts[0].to_vec());
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

fn main() {
    for (batch, copies) in [(1, 1), (8, 1), (16, 1), (64, 1), (256, 1), (64, 10)] {
        run(batch, copies);
    }
}

fn run(batch: usize, copies: usize) {
    let disk = Nowhere::default();
    let facts = Create { store: uuid::Uuid::nil(), volume: 0, volumes: 1, segment_bytes: SEGMENT, seed: 7 };
    let settings = Settings {
        gather_bytes_max: 64 << 20,
        batch_bytes_max: 16 << 20,
        free_bytes_min: 0,
        checkpoint_bytes: 0,
        ..Settings::DEFAULT
    };
    ready(Volume::create(&disk, &facts)).unwrap();
    let (volume, _) = ready(Volume::open(disk, None, settings)).unwrap();
    let run_dry = || std::future::ready(());
    let mut looped = pin!(volume.commit_loop(run_dry));
    let mut cx = Context::from_waker(Waker::noop());
    let mut accounts: Vec<AccountId> = Vec::new();
    for n in 0..1_000 {
        let op = Op::PutAccount {
            name: format!("user{n}@ringpost.test"),
            secrets: vec![0; 100],
            mailboxes: Vec::new(),
            limits: ringpost_storage::Limits::NONE,
        };
        let decided = volume.decide(Transaction { bodies: vec![], ops: vec![op] }, NOW_MS).unwrap();
        let Outcome::Account(id) = decided.outcomes[0] else { unreachable!() };
        accounts.push(id);
    }
    assert!(looped.as_mut().poll(&mut cx).is_pending());
    let rounds = 40_000 / batch / copies;
    let (mut deciding, mut committing) = (Duration::ZERO, Duration::ZERO);
    let before = volume.stats();
    let mut next = 0;
    for _ in 0..rounds {
        let letters: Vec<Transaction> = (0..batch)
            .map(|_| {
                let append = |body| {
                    next += 7;
                    Op::Append {
                        account: accounts[next % accounts.len()],
                        mailbox: MailboxId::INBOX,
                        body,
                        prefix: b"Delivered-To: user123@ringpost.test\r\n".to_vec(),
                        flags: Flags::none(),
                        internal_ms: NOW_MS,
                    }
                };
                Transaction {
                    bodies: vec![Body::from(vec![b'x'; 4_096])],
                    ops: std::iter::repeat_n(0, copies).map(append).collect(),
                }
            })
            .collect();
        let start = Instant::now();
        let tickets: Vec<Ticket> = letters.into_iter().map(|l| volume.decide(l, NOW_MS).unwrap().ticket).collect();
        let decided = Instant::now();
        assert!(looped.as_mut().poll(&mut cx).is_pending());
        committing += decided.elapsed();
        deciding += decided - start;
        tickets.into_iter().for_each(|t| assert_eq!(ready(t), Ok(())));
    }
    let after = volume.stats();
    let letters = (rounds * batch) as f64;
    println!(
        "batch {batch:>3}, {copies:>2} copies: decide {:.2} us, seal + apply + wake {:.2} us a letter; {:.3} bytes written a byte stored",
        deciding.as_secs_f64() * 1e6 / letters,
        committing.as_secs_f64() * 1e6 / letters,
        (after.written_bytes - before.written_bytes) as f64 / (after.body_bytes - before.body_bytes) as f64,
    );
}
