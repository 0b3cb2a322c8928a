//! Rot (R5): of a volume at rest one to three bits flip, or a sector becomes zeros, what it was before, what lies elsewhere,
//! or what another volume has there.
//!
//! Nothing that never was is shown; what rests on transactions whose octets are unhurt is there and reads; what is missing
//! was reported; the volume opens (unless its superblock has no two good copies left) and works on, and no UID comes again.
//!
//! The last batch and each one behind it that vouches for it, all hurt, and the volume not closed: that is a torn tail for all
//! that the disk says (FORMAT.md, *Limit*), and may be cut off.

use std::cell::RefCell;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::house::{self, Chance, House, NOW_MS};
use super::look::{self, Shown};
use super::model::{Model, Work};
use super::tally::Tally;
use super::tasks::block_on;
use super::truth::{Hurt, plain};
use super::witness::{BatchAt, Witness};
use crate::sim::SimDisk;
use crate::{Flags, MailboxId, Op, OpenError, Outcome, Refused};

/// Octets that are spoilt as one.
pub const SECTOR_BYTES: usize = 512;
/// Spoilt disks from one volume.
const SPOILT: u32 = 400;
/// Where the copies of the superblock lie, octets from one to the next.
const COPY_DISTANCE: usize = 64 << 10;

/// New contents of a few octets.
pub struct Spoil {
    /// Which file.
    pub file: String,
    /// Where.
    pub at: usize,
    /// What is there now.
    pub bytes: Vec<u8>,
}

/// All that a seed does.
///
/// # Panics
/// With a sentence, when production code breaks a promise or panics itself.
pub fn run(seed: u64) -> Tally {
    let chance: Chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
    let mut tally = Tally { seeds: 1, ..Tally::default() };
    let mut witness = Witness::new(seed, &chance);
    let transactions = chance.borrow_mut().random_range(10..40);
    for _ in 0..transactions {
        witness.work(&chance, &mut tally, |_, _| {});
    }
    witness.settle();
    witness.house.volume.heartbeat();
    witness.settle();
    let closed = chance.borrow_mut().random();
    if closed {
        witness.house.close();
        witness.settle();
    }
    let mut other = Witness::new(seed ^ (1 << 63), &chance);
    (0..8).for_each(|_| other.work(&chance, &mut tally, |_, _| {}));
    witness.disk.set_delay(None);
    let batches = witness.batches();
    for n in 0..SPOILT {
        let chance = &mut *chance.borrow_mut();
        let image = witness.disk.fork_killed(u64::from(n));
        let spoils = spoils(chance, &witness, &batches, &other.disk);
        let mut hurt = Hurt::new();
        let mut changed = false;
        for spoil in &spoils {
            changed |= apply(&image, spoil);
            hurt.extend(witness.hurt(&batches, &spoil.file, spoil.at..spoil.at + spoil.bytes.len()));
        }
        if !changed {
            continue;
        }
        tally.runs += 1;
        let goes_on = chance.random_ratio(1, 8).then(|| chance.random());
        let states = witness.said.states();
        let from = if closed { states.len() - 1 } else { cut_off(&batches, &spoils, states.len()) - 1 };
        let judge = || judge(&witness, &image, &spoils, (&hurt, &states[from..]), goes_on);
        if let Err(why) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(judge)) {
            let places: Vec<_> = spoils.iter().map(|s| (&s.file, s.at, s.bytes.len())).collect();
            panic!("spoilt at {places:?}, transactions {hurt:?}: {}", super::run::words(&*why));
        }
    }
    tally
}

/// One to three flipped bits, or one other sector.
fn spoils(chance: &mut SmallRng, witness: &Witness, batches: &[BatchAt], other: &SimDisk) -> Vec<Spoil> {
    let flips = chance.random_range(0..6);
    if (1..4).contains(&flips) {
        let mut flip = || {
            let (file, at) = somewhere(chance, &witness.disk, batches);
            let octet = read(&witness.disk, &file, at, 1)[0] ^ (1 << chance.random_range(0..8));
            Spoil { file, at, bytes: vec![octet] }
        };
        return (0..flips).map(|_| flip()).collect();
    }
    let (file, at) = somewhere(chance, &witness.disk, batches);
    let at = at / SECTOR_BYTES * SECTOR_BYTES;
    let bytes = match chance.random_range(0..4) {
        0 => vec![0; SECTOR_BYTES],
        1 => some(chance, &witness.before).and_then(|old| there(old, &file, at)).unwrap_or(vec![0; SECTOR_BYTES]),
        2 => there(other, &file, at).unwrap_or(vec![0; SECTOR_BYTES]),
        _ => {
            let (file, at) = somewhere(chance, &witness.disk, batches);
            read(&witness.disk, &file, at / SECTOR_BYTES * SECTOR_BYTES, SECTOR_BYTES)
        }
    };
    vec![Spoil { file, at, bytes }]
}

fn some<'a, T>(chance: &mut SmallRng, from: &'a [T]) -> Option<&'a T> {
    (!from.is_empty()).then(|| &from[chance.random_range(0..from.len())])
}

fn there(disk: &SimDisk, file: &str, at: usize) -> Option<Vec<u8>> {
    let len = disk.files().into_iter().find(|(name, _)| name == file)?.1;
    (at + SECTOR_BYTES <= len).then(|| read(disk, file, at, SECTOR_BYTES))
}

/// Mostly where something was written.
fn somewhere(chance: &mut SmallRng, disk: &SimDisk, batches: &[BatchAt]) -> (String, usize) {
    if !batches.is_empty() && chance.random_ratio(7, 8) {
        let write = &batches[chance.random_range(0..batches.len())].write;
        return (write.file.to_string(), write.at + chance.random_range(0..write.len));
    }
    let files = disk.files();
    let (name, len) = &files[chance.random_range(0..files.len())];
    // The front of a file, or of a copy of the superblock, is where its headers are.
    let at = if chance.random() { chance.random_range(0..4) * COPY_DISTANCE % len } else { 0 };
    let within = if chance.random() { 256 } else { 8_192 };
    (name.clone(), (at + chance.random_range(0..within)).min(len - SECTOR_BYTES))
}

fn read(disk: &SimDisk, file: &str, at: usize, len: usize) -> Vec<u8> {
    disk.read(file, at, len).expect("it is there")
}

/// Spoils a disk. False: it was so before.
pub fn apply(disk: &SimDisk, spoil: &Spoil) -> bool {
    let before = read(disk, &spoil.file, spoil.at, spoil.bytes.len());
    disk.spoil(&spoil.file, spoil.at, &spoil.bytes);
    before != spoil.bytes
}

/// The first transaction of the batches at the end of the log that are all hurt.
fn cut_off(batches: &[BatchAt], spoils: &[Spoil], end: usize) -> usize {
    let hit = |b: &&BatchAt| spoils.iter().any(|s| b.holds(&s.file, s.at..s.at + s.bytes.len()));
    let tail = batches.iter().rev().take_while(hit);
    tail.filter(|b| !b.transactions.is_empty()).map(|b| b.transactions.start).min().unwrap_or(end)
}

fn judge(
    witness: &Witness,
    image: &SimDisk,
    spoils: &[Spoil],
    (hurt, allowed): (&Hurt, &[Model]),
    goes_on: Option<u64>,
) {
    let mut house = match house::open_with(image, 1, house::without_checkpoints(1), || true).expect("nobody stops it") {
        Ok(house) => house,
        Err(why @ OpenError::Superblock(_)) => {
            let copy = |s: &Spoil| (s.file == "superblock").then_some(s.at / COPY_DISTANCE);
            let copies: std::collections::BTreeSet<usize> = spoils.iter().filter_map(copy).collect();
            assert!(copies.len() > 2, "{why}, and {} copies are hurt", copies.len());
            return;
        }
        Err(why) => panic!("it does not open: {why}"),
    };
    let shown = block_on(look::shown_spoilt(&house.volume, witness.truth.accounts()));
    let last = witness.said.last();
    if let Some(why) = witness.truth.never_was(&shown) {
        panic!("false: {why}");
    }
    if let Some(why) = witness.truth.missing(&shown, hurt, (last, last)) {
        panic!("not hurt, and gone: {why}; {:?}", house.recovered);
    }
    reported(&house, &shown, allowed);
    if let Some(n) = goes_on.filter(|_| allowed.len() == 1) {
        works(&mut house, witness, &shown, n);
    }
}

/// What is not as it was, was reported.
pub fn reported(house: &House, shown: &Shown, allowed: &[Model]) {
    let found = plain(&shown.model, &shown.unread);
    let differs = |state| plain(state, &shown.unread).differs(&found);
    if allowed.iter().all(|state| differs(state).is_some()) {
        let recovered = &house.recovered;
        let why: Vec<String> = allowed.iter().filter_map(differs).collect();
        let why = format!("{recovered:?}, and against what is allowed: {}", why.join("; or: "));
        assert!(!shown.unloaded.is_empty() || !recovered.damaged.is_empty(), "not reported: {why}");
        assert!(!shown.unloaded.is_empty() || recovered.lost_batches > 0, "no batch is lost, and {why}");
        assert!(!shown.unloaded.is_empty() || !house.volume.is_whole(), "it says that it is whole, and {why}");
    }
}

/// A volume that has lost something takes letters, under numbers that nobody has seen.
fn works(house: &mut House, witness: &Witness, shown: &Shown, n: u64) {
    let accounts: Vec<_> = witness.truth.accounts().collect();
    let Some(account) = accounts.get(n as usize % accounts.len().max(1)).copied() else { return };
    let mailbox = MailboxId::INBOX;
    let (prefix, flags) = (b"To: x\r\n".to_vec(), Flags::none());
    let op = Op::Append { account, mailbox, body: 0, prefix, flags, internal_ms: 3 };
    let name = "behind the loss".to_owned();
    let made = Op::CreateMailbox { account, name, special_use: 0, subscribed: false };
    // Who makes a mailbox has to be in memory.
    let reads = !shown.unloaded.contains(&account);
    let ops = std::iter::once(op).chain(reads.then_some(made)).collect();
    let work = Work { texts: vec![b"more\r\n"[..].into()], ops };
    match house.decide(&work, NOW_MS, || true).expect("nobody stops it") {
        Ok(decided) => {
            let Outcome::Appended { uid, modseq, .. } = decided.outcomes[0] else { panic!("{:?}", decided.outcomes) };
            let (told, valid) = (witness.truth.modseq(account), witness.truth.uidvalidity());
            assert!(modseq > told, "MODSEQ {modseq} is given again: {told} was told");
            if let Some(Outcome::Mailbox(_, uidvalidity)) = decided.outcomes.get(1) {
                assert!(*uidvalidity > valid, "UIDVALIDITY {uidvalidity} is given again: {valid} was told");
            }
            let least = witness.truth.uidnext(account, mailbox);
            assert!(uid >= least, "UID {uid} is given again: {least} was promised to be the next");
            while house.turn() {}
            assert_eq!(block_on(decided.ticket), Ok(()));
        }
        // (Its account is lost, or its INBOX is.)
        Err(Refused::NoAccount | Refused::NoMailbox) => {}
        Err(why) => panic!("behind the damage it refuses: {why}"),
    }
}
