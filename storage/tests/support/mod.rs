//! What the stories share: a one-thread executor, a volume in a simulated folder, short words for transactions.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod pace;

pub use pace::*;

use std::cell::RefCell;
use std::rc::Rc;

use ringpost_storage::sim::SimDisk;
pub use ringpost_storage::sim::campaign::tasks::{Tasks, block_on, turns};
pub use ringpost_storage::sim::campaign::work::text;
use ringpost_storage::{
    AccountId, Body, Create, Decided, Flags, FlagsHow, Loaded, MailboxId, Op, OpenError, Outcome, Recovered, Refused,
    Settings, Transaction, Uid, Volume,
};

pub const STORE: uuid::Uuid = uuid::Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
pub const NOW_MS: i64 = 1_700_000_000_000;
pub const INBOX: MailboxId = MailboxId::INBOX;
pub const SEGMENT: u64 = 64 << 10;

pub fn facts() -> Create {
    Create { store: STORE, volume: 3, volumes: 4, segment_bytes: SEGMENT, seed: 0x5eed_5eed_5eed_5eed }
}

pub fn settings() -> Settings {
    Settings {
        gather_bytes_max: 8 << 20,
        batch_bytes_max: 1 << 20,
        free_bytes_min: 1 << 20,
        checkpoint_bytes: 0,
        ..Settings::DEFAULT
    }
}

pub fn made() -> SimDisk {
    made_with(&facts())
}

pub fn made_with(facts: &Create) -> SimDisk {
    let disk = SimDisk::new(1);
    block_on(Volume::create(&disk, facts)).unwrap();
    disk
}

/// A volume with its commit loop running.
pub struct Open {
    /// All accounts that were there when it was opened, so that they can be looked at.
    pub held: Vec<Loaded<SimDisk>>,
    pub volume: Volume<SimDisk>,
    pub recovered: Recovered,
    pub tasks: Tasks,
}

pub fn try_open(disk: &SimDisk) -> Result<Open, OpenError> {
    try_open_with(disk, settings())
}

pub fn try_open_with(disk: &SimDisk, settings: Settings) -> Result<Open, OpenError> {
    let (volume, recovered) = block_on(Volume::open(disk.clone(), Some((STORE, 3)), settings))?;
    let mut tasks = Tasks::default();
    let looped = volume.clone();
    tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
    let held = hold_all(&volume);
    Ok(Open { held, volume, recovered, tasks })
}

/// Brings every account into memory that can be read.
pub fn hold_all(volume: &Volume<SimDisk>) -> Vec<Loaded<SimDisk>> {
    let ids = volume.account_ids();
    ids.into_iter().filter_map(|id| block_on(volume.load(id)).ok().flatten()).collect()
}

pub fn open(disk: &SimDisk) -> Open {
    try_open(disk).unwrap()
}

impl Open {
    pub fn decide(&self, transaction: Transaction) -> Result<Decided, Refused> {
        self.volume.decide(transaction, NOW_MS)
    }

    /// Decides one op and waits until it is durable.
    pub fn done(&mut self, op: Op) -> Outcome {
        self.commit(Transaction { bodies: vec![], ops: vec![op] }).remove(0)
    }

    pub fn commit(&mut self, transaction: Transaction) -> Vec<Outcome> {
        let decided = self.decide(transaction).unwrap();
        let told = Rc::new(RefCell::new(None));
        let tell = told.clone();
        let ticket = decided.ticket;
        self.tasks.spawn(async move { *tell.borrow_mut() = Some(ticket.await) });
        self.tasks.settle();
        assert_eq!(*told.borrow(), Some(Ok(())));
        decided.outcomes
    }

    pub fn account(&mut self, name: &str) -> AccountId {
        match self.done(Op::PutAccount {
            name: name.into(),
            secrets: b"secret".to_vec(),
            mailboxes: Vec::new(),
            limits: ringpost_storage::Limits::NONE,
        }) {
            Outcome::Account(id) => id,
            other => panic!("{other:?}"),
        }
    }

    pub fn deliver(&mut self, account: AccountId, body: &[u8]) -> Uid {
        uid(&self.commit(letter(account, body))[0])
    }

    pub fn close(mut self) {
        let volume = self.volume.clone();
        self.tasks.spawn(async move { volume.close().await });
        self.tasks.settle();
    }

    pub fn uids(&self, account: AccountId) -> Vec<Uid> {
        self.volume.mailbox(account, INBOX, |m| m.messages().iter().map(|m| m.uid).collect()).unwrap_or_default()
    }

    /// Message `uid` of INBOX, read whole.
    pub fn text(&self, account: AccountId, uid: Uid) -> Result<Vec<u8>, ringpost_storage::ReadError> {
        let message = self.volume.mailbox(account, INBOX, |m| m.by_uid(uid).cloned()).flatten().unwrap();
        block_on(self.volume.read(&message))
    }
}

pub const FIRST: &str = "segment-00000001";
pub const BATCH_MAGIC: &[u8] = b"RPb\n";

pub fn spoil(disk: &SimDisk, name: &str, with: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.peek(name).unwrap();
    with(&mut bytes);
    disk.poke(name, bytes);
}

pub fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|w| w == what).expect("it is there")
}

/// Where each batch of the first segment begins.
pub fn batches(disk: &SimDisk) -> Vec<usize> {
    let bytes = disk.peek(FIRST).unwrap();
    (4096..bytes.len()).step_by(512).filter(|&at| bytes[at..].starts_with(BATCH_MAGIC)).collect()
}

/// Three letters of alice's, each in its own batch, closed.
pub fn three_letters() -> (SimDisk, AccountId) {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("a@x");
    for n in 1..=3 {
        v.deliver(alice, &text(3_000, n));
    }
    v.close();
    (disk, alice)
}

pub fn letter(account: AccountId, body: &[u8]) -> Transaction {
    Transaction { bodies: vec![Body::from(body.to_vec())], ops: vec![append(account, 0)] }
}

pub fn append(account: AccountId, body: usize) -> Op {
    Op::Append {
        account,
        mailbox: INBOX,
        body,
        prefix: format!("Delivered-To: {}\r\n", account.0).into_bytes(),
        flags: Flags::none(),
        internal_ms: NOW_MS - 5_000,
    }
}

pub fn prefixed(account: AccountId, body: &[u8]) -> Vec<u8> {
    [format!("Delivered-To: {}\r\n", account.0).as_bytes(), body].concat()
}

pub fn store(account: AccountId, uids: &[Uid], how: FlagsHow, flags: Flags) -> Op {
    Op::StoreFlags { account, mailbox: INBOX, uids: uids.to_vec(), how, flags, unchanged_since: None }
}

pub fn uid(outcome: &Outcome) -> Uid {
    match outcome {
        Outcome::Appended { uid, .. } => *uid,
        other => panic!("{other:?}"),
    }
}
