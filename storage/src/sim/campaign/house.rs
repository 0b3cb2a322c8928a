//! A volume under trial: how it is made, opened and driven, turn by turn, on a disk whose every step takes a while.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::model::Work;
use super::tasks::{Tasks, turns};
use crate::batch;
use crate::segment::{self, BLOCK_BYTES, HEADER_BYTES, SegmentHeader};
use crate::sim::{OpKind, SimDisk};
use crate::{
    AccountId, Body, Compacted, Create, Decided, OpenError, Pace, ReadError, Recovered, Refused, Settings, Stuck,
    Upload, Volume, VolumeId,
};

/// The store of all volumes under trial.
pub const STORE: uuid::Uuid = uuid::Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
/// Their number in it.
pub const VOLUME: VolumeId = 3;
/// About what the clock says, milliseconds.
pub const NOW_MS: i64 = 1_700_000_000_000;
/// Octets of a segment: small, so that a trial has several.
pub const SEGMENT_BYTES: u64 = 64 << 10;

/// Turns of one life: many times what the longest takes.
const TURNS_MAX: u64 = 200_000;

/// Chance shared by who draws from one seed.
pub type Chance = Rc<RefCell<SmallRng>>;

/// Facts of a volume under trial.
#[must_use]
pub fn facts(seed: u64) -> Create {
    Create { store: STORE, volume: VOLUME, volumes: 4, segment_bytes: SEGMENT_BYTES, seed }
}

/// How it is run. Accounts are folded after a few records, and with some seeds nobody stays in memory who is not held.
#[must_use]
pub fn settings(seed: u64) -> Settings {
    Settings {
        gather_bytes_max: 8 << 20,
        batch_bytes_max: 1 << 20,
        free_bytes_min: 1 << 20,
        checkpoint_bytes: 16 << 10,
        index_bytes_max: if seed.is_multiple_of(4) { 0 } else { Settings::DEFAULT.index_bytes_max },
        fold_at: 4 + (seed >> 2) as u32 % 16,
        retain: false,
    }
}

/// A volume, open, with its commit loop running.
pub struct House {
    /// The volume.
    pub volume: Volume<SimDisk>,
    /// What recovery found.
    pub recovered: Recovered,
    tasks: Tasks,
    turns: u64,
}

/// Rests a turn, whatever was read or written.
struct Calm;

impl Pace for Calm {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    async fn rest(&self, _octets: u64) {
        turns(1).await;
    }
}

async fn compact_one<P: Pace>(volume: &Volume<SimDisk>, pace: &P) {
    if let Compacted::Stuck(_, why @ (Stuck::Damaged | Stuck::Unknown(_) | Stuck::Gap)) = volume.compact(pace).await {
        panic!("a segment that is well cannot be compacted: {why:?}");
    }
}

/// Lets others have a few turns after each step.
struct Eager(Chance);

impl Pace for Eager {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    fn is_eager(&self) -> bool {
        true
    }

    async fn rest(&self, _: u64) {
        let rest = self.0.borrow_mut().random_range(0..3);
        turns(rest).await;
    }
}

/// Every step of the disk waits one to three turns.
pub fn slow(disk: &SimDisk, chance: &Chance) {
    let chance = chance.clone();
    disk.set_delay(Some(Rc::new(move |_: OpKind| -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(turns(chance.borrow_mut().random_range(1..=3)))
    })));
}

/// Opens the volume, and makes it if there is none. `each_turn` is called between turns, and says whether to go on; `None`
/// when it did not want to.
///
/// # Errors
/// As [`Volume::open`] and, put as [`OpenError::Io`], [`Volume::create`].
pub fn open(disk: &SimDisk, seed: u64, each_turn: impl FnMut() -> bool) -> Option<Result<House, OpenError>> {
    open_with(disk, seed, settings(seed), each_turn)
}

/// As [`open`], run so.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    disk: &SimDisk,
    seed: u64,
    settings: Settings,
    mut each_turn: impl FnMut() -> bool,
) -> Option<Result<House, OpenError>> {
    let mut tasks = Tasks::default();
    let found = Rc::new(RefCell::new(None));
    let (put, folder) = (found.clone(), disk.clone());
    tasks.spawn(async move {
        let opened = open_or_make(folder, seed, settings).await;
        *put.borrow_mut() = Some(opened);
    });
    while tasks.turn() {
        if !each_turn() {
            return None;
        }
    }
    let opened = found.borrow_mut().take().expect("opening waits for nothing but the disk");
    Some(opened.map(|(volume, recovered)| {
        let mut tasks = Tasks::default();
        let looped = volume.clone();
        tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
        let keeper = volume.clone();
        tasks.spawn(async move { keeper.housekeeping(|| turns(1)).await });
        House { volume, recovered, tasks, turns: 0 }
    }))
}

/// Puts a retired file there, as a volume has it that was compacted: the next segment is made of it. It is full of batches of
/// an earlier segment and of octets that mean nothing. `secret`: as the volume was made with.
pub fn leave_retired_file(disk: &SimDisk, secret: u64, chance: &Chance) {
    let chance = &mut *chance.borrow_mut();
    let mut bytes = vec![0; SEGMENT_BYTES as usize];
    chance.fill(&mut bytes[..]);
    let header = SegmentHeader {
        segment: 0,
        incarnation: chance.random_range(1..9),
        store: STORE,
        volume: VOLUME,
        segment_bytes: SEGMENT_BYTES,
        epoch: 1,
        first_lsn: 1,
        durable_lsn: 0,
        prev: 0,
    };
    bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
    let mut at = HEADER_BYTES as u64;
    while at + BLOCK_BYTES < SEGMENT_BYTES {
        let body_bytes = chance.random_range(0..8_000).min(SEGMENT_BYTES - at - BLOCK_BYTES);
        let total_bytes = batch::Header::total_bytes(0, body_bytes).expect("small");
        let lsn = chance.random_range(1..500);
        let like = batch::Header {
            volume: VOLUME,
            epoch: chance.random_range(1..9),
            lsn,
            segment: 0,
            incarnation: header.incarnation,
            offset: at,
            prev: chance.random(),
            durable_lsn: lsn - 1,
            directory_bytes: 0,
            records: 0,
            body_bytes,
            total_bytes,
            transactions: 0,
            directory_check: 0,
        };
        bytes[at as usize..][..batch::HEADER_BYTES].copy_from_slice(&like.encode(secret));
        // Some of what was there before that again, in between.
        at += total_bytes + BLOCK_BYTES * chance.random_range(0..3);
    }
    disk.poke(&segment::name(0), bytes);
}

/// Opens a volume by reading its whole log, whatever checkpoints there are.
///
/// # Errors
/// As [`Volume::open`].
pub async fn open_whole(disk: SimDisk) -> Result<(Volume<SimDisk>, Recovered), OpenError> {
    Volume::open(disk, Some((STORE, VOLUME)), without_checkpoints(1)).await
}

/// [`settings`] of one that reads its whole log.
#[must_use]
pub fn without_checkpoints(seed: u64) -> Settings {
    Settings { checkpoint_bytes: 0, ..settings(seed) }
}

async fn open_or_make(disk: SimDisk, seed: u64, settings: Settings) -> Result<(Volume<SimDisk>, Recovered), OpenError> {
    let opened = Volume::open(disk.clone(), Some((STORE, VOLUME)), settings.clone()).await;
    if !matches!(opened, Err(OpenError::Absent)) {
        return opened;
    }
    // Each attempt draws its own secret.
    let made = Volume::create(&disk, &facts(seed)).await;
    made.map_err(|why| OpenError::Io { doing: "making the volume".to_owned(), why })?;
    Volume::open(disk, Some((STORE, VOLUME)), settings).await
}

/// Puts a body into the log, in so many pieces; the last of it stays in memory.
async fn put(upload: &mut Upload<SimDisk>, body: &Body, now_ms: i64, pieces: usize) -> Result<Body, Refused> {
    let octets: Vec<u8> = body.parts().flatten().copied().collect();
    let mut whole = Body::default();
    let mut parts = octets.chunks(octets.len() / (pieces + 1) + 1).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            whole.push(part);
            break;
        }
        let putting = upload.put(vec![Body::from(part.to_vec())], now_ms)?;
        // Whatever became of them, nobody has these octets.
        let (put, _) = putting.durable().await.map_err(|_| Refused::Failed)?;
        put.into_iter().for_each(|put| whole.follow(put));
    }
    Ok(whole)
}

impl House {
    /// The epoch of the log.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.volume.0.log.borrow().epoch
    }

    /// Everything that can move moves once. True if anything did.
    ///
    /// # Panics
    /// Past [`TURNS_MAX`]: something goes on for ever.
    pub fn turn(&mut self) -> bool {
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "something goes on for ever");
        self.tasks.turn()
    }

    /// True unless an account is being read: then who looks at it would wait for another task.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.volume.0.index.borrow().arriving.is_empty()
    }

    /// Brings the accounts of some work into memory, which may take a while, and decides it; `each_turn` as for [`open`].
    /// [`Refused::NotLoaded`] when the disk does not let it read them.
    ///
    /// # Panics
    /// When an account is damaged.
    pub fn decide(
        &mut self,
        work: &Work,
        now_ms: i64,
        each_turn: impl FnMut() -> bool,
    ) -> Option<Result<Decided, Refused>> {
        self.decide_in_pieces(work, now_ms, 0, each_turn)
    }

    /// As [`House::decide`], when its bodies have been put into the log, each in so many pieces and the last of it in memory; 0:
    /// all of them are in memory.
    ///
    /// # Panics
    /// As [`House::decide`].
    pub fn decide_in_pieces(
        &mut self,
        work: &Work,
        now_ms: i64,
        pieces: usize,
        mut each_turn: impl FnMut() -> bool,
    ) -> Option<Result<Decided, Refused>> {
        let told = Rc::new(RefCell::new(None));
        let (volume, tell) = (self.volume.clone(), told.clone());
        let (accounts, mut transaction) = (work.held(), work.transaction());
        self.tasks.spawn(async move {
            // Kept until the transaction is decided that refers to the pieces.
            let mut upload = volume.upload();
            for body in transaction.bodies.iter_mut().filter(|_| pieces > 0) {
                match put(&mut upload, body, now_ms, pieces).await {
                    Ok(whole) => *body = whole,
                    Err(why) => {
                        *tell.borrow_mut() = Some(Err(why));
                        return;
                    }
                }
            }
            let mut held = Vec::new();
            for account in accounts {
                match volume.load(account).await {
                    Ok(loaded) => held.extend(loaded),
                    Err(ReadError::Io(_)) => {
                        *tell.borrow_mut() = Some(Err(Refused::NotLoaded));
                        return;
                    }
                    Err(why) => panic!("loading an account: {why}"),
                }
            }
            *tell.borrow_mut() = Some(volume.decide(transaction, now_ms));
        });
        loop {
            assert!(self.turn(), "loading waits for nothing but the disk");
            if let Some(decided) = told.borrow_mut().take() {
                return Some(decided);
            }
            if !each_turn() {
                return None;
            }
        }
    }

    /// Compacts beside everything else: so many segments, whatever that brings.
    pub fn compact(&mut self, rounds: u32, chance: &Chance) {
        let (volume, pace) = (self.volume.clone(), Eager(chance.clone()));
        self.tasks.spawn(async move {
            for _ in 0..rounds {
                compact_one(&volume, &pace).await;
                pace.rest(0).await;
            }
        });
    }

    /// Folds accounts beside everything else, and compacts what is worth it: so many times, with turns between.
    pub fn keep_house(&mut self, rounds: u32, seed: u64) {
        let volume = self.volume.clone();
        self.tasks.spawn(async move {
            let mut chance = SmallRng::seed_from_u64(seed);
            for _ in 0..rounds {
                turns(chance.random_range(0..60)).await;
                let ids = volume.account_ids();
                if chance.random() && !ids.is_empty() {
                    // Its own tests say when it may be refused; here it is enough that nothing is lost.
                    let _ = volume.fold(ids[chance.random_range(0..ids.len())]).await;
                } else {
                    compact_one(&volume, &Calm).await;
                }
            }
        });
    }

    /// Folds an account, and waits for it. False: there was nothing to do, or the disk does not let it.
    pub fn fold(&mut self, account: AccountId) -> bool {
        let volume = self.volume.clone();
        self.finished(async move { volume.fold(account).await.unwrap_or(false) })
    }

    /// Compacts a segment if one is worth it, and waits for it. False: none was, or the disk does not let it.
    pub fn compact_now(&mut self) -> bool {
        let volume = self.volume.clone();
        self.finished(async move { matches!(volume.compact(&Calm).await, Compacted::Segment { .. }) })
    }

    fn finished<T: 'static>(&mut self, work: impl Future<Output = T> + 'static) -> T {
        let told = Rc::new(RefCell::new(None));
        let tell = told.clone();
        self.tasks.spawn(async move { *tell.borrow_mut() = Some(work.await) });
        while told.borrow().is_none() && self.turn() {}
        told.take().expect("background work comes to an end")
    }

    /// Begins to close the volume; the cell is true when that is done.
    pub fn close(&mut self) -> Rc<Cell<bool>> {
        let closed = Rc::new(Cell::new(false));
        let (volume, tell) = (self.volume.clone(), closed.clone());
        self.tasks.spawn(async move {
            volume.close().await;
            tell.set(true);
        });
        closed
    }
}
