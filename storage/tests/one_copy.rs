//! A body is written from the very buffers it was received into: between receive and commit nothing copies it again.

mod support;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use ringpost_storage::disk::{Bytes, Disk, File};
use ringpost_storage::sim::{SimDisk, SimFile};
use ringpost_storage::{Body, Op, Outcome, Transaction, Volume};
use support::{NOW_MS, STORE, Tasks, append, block_on, facts, settings, text, turns};

/// Where the octets handed to the disk lie, and how many they are.
type Seen = Rc<RefCell<Vec<(*const u8, usize)>>>;

/// A simulated folder that notes which buffers it is given.
#[derive(Clone)]
struct Watched {
    disk: SimDisk,
    seen: Seen,
}

#[derive(Clone)]
struct WatchedFile {
    file: SimFile,
    seen: Seen,
}

impl Watched {
    fn file(&self, file: SimFile) -> WatchedFile {
        WatchedFile { file, seen: self.seen.clone() }
    }
}

impl Disk for Watched {
    type File = WatchedFile;

    async fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list().await
    }

    async fn create(&self, name: &str, len: u64) -> io::Result<WatchedFile> {
        Ok(self.file(self.disk.create(name, len).await?))
    }

    async fn open(&self, name: &str) -> io::Result<WatchedFile> {
        Ok(self.file(self.disk.open(name).await?))
    }

    async fn recycle(&self, name: &str, new_name: &str) -> io::Result<WatchedFile> {
        Ok(self.file(self.disk.recycle(name, new_name).await?))
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name).await
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

impl File for WatchedFile {
    fn len(&self) -> u64 {
        self.file.len()
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.file.read_at(offset, len).await
    }

    async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        self.seen.borrow_mut().extend(parts.iter().map(|p| (p.as_ptr(), p.len())));
        self.file.write_sync(offset, parts).await
    }
}

#[test]
fn the_disk_is_handed_the_buffers_the_bodies_were_received_into() {
    let seen = Seen::default();
    let disk = Watched { disk: SimDisk::new(1), seen: seen.clone() };
    let facts = ringpost_storage::Create { segment_bytes: 4 << 20, ..facts() };
    block_on(Volume::create(&disk, &facts)).expect("a volume");
    let (volume, _) = block_on(Volume::open(disk, Some((STORE, facts.volume)), settings())).expect("it opens");
    let mut tasks = Tasks::default();
    let looped = volume.clone();
    tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
    let made = volume.decide(
        Transaction {
            bodies: vec![],
            ops: vec![Op::PutAccount {
                name: "a@x".into(),
                secrets: vec![],
                mailboxes: vec![],
                limits: ringpost_storage::Limits::NONE,
            }],
        },
        NOW_MS,
    );
    let [Outcome::Account(alice)] = made.expect("an account").outcomes[..] else { panic!("an account") };
    tasks.settle();

    for octets in [1, 4_000, 8 << 10, 100_000, 1 << 20] {
        let mut body = Body::default();
        // As they come from the network: in pieces of any length.
        for piece in text(octets, 7).chunks(1_460) {
            body.push(piece);
        }
        let received: Vec<_> = body.parts().map(|p| (p.as_ptr(), p.len())).collect();
        assert_eq!(received.iter().map(|(_, len)| len).sum::<usize>(), octets);
        seen.borrow_mut().clear();
        let decided = volume.decide(Transaction { bodies: vec![body], ops: vec![append(alice, 0)] }, NOW_MS);
        tasks.settle();
        assert_eq!(block_on(decided.expect("taken").ticket), Ok(()));
        let written = seen.borrow();
        assert!(written.windows(received.len()).any(|w| w == received), "{octets} octets were written from elsewhere");
    }
}
