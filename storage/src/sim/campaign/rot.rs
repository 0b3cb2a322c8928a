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

use super::house::{Chance, House, NOW_MS};
use super::look::Shown;
use super::model::Work;
use super::spoilt::{Case, SECTOR_BYTES, Spoil, apply};
use super::tally::Tally;
use super::tasks::block_on;
use super::truth::Hurt;
use super::witness::{BatchAt, Witness};
use crate::sim::{SimDisk, Write};
use crate::{Flags, MailboxId, Op, OpenError, Outcome, Refused};

/// Spoilt disks from one volume.
const SPOILT: u32 = 400;
/// Where the copies of the superblock lie, octets from one to the next.
const COPY_DISTANCE: usize = 64 << 10;

/// All that a seed does.
///
/// # Panics
/// With a sentence, when production code breaks a promise or panics itself.
pub fn run(seed: u64) -> Tally {
    let chance: Chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
    let mut tally = Tally { seeds: 1, ..Tally::default() };
    let mut witness = Witness::new(seed, &chance);
    let transactions = witness.life(10..40, &chance);
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
    witness.tell(&mut tally);
    let batches = witness.batches();
    let written = Written { batches: batches.iter().map(|b| b.write.clone()).collect(), pages: witness.pages() };
    for n in 0..SPOILT {
        let chance = &mut *chance.borrow_mut();
        let image = witness.disk.fork_killed(u64::from(n));
        let spoils = spoils(chance, &witness, &written, &other.disk);
        let mut hurt = Hurt::default();
        let mut changed = false;
        for spoil in &spoils {
            changed |= apply(&image, spoil);
            hurt.add(&witness.hurt(&batches, &spoil.file, spoil.at..spoil.at + spoil.bytes.len()));
        }
        if !changed {
            continue;
        }
        tally.runs += 1;
        let goes_on = chance.random_ratio(1, 8).then(|| chance.random());
        let states = witness.said.states();
        let from = if closed { states.len() - 1 } else { cut_off(&batches, &spoils, states.len()) - 1 };
        let case = Case {
            witness: &witness,
            hurt: &hurt,
            owed: (witness.said.last(), witness.said.last()),
            allowed: &states[from..],
            pages_alone: spoils.iter().all(Spoil::is_of_pages),
            from_checkpoint: chance.random(),
        };
        tally.from_checkpoint += u64::from(case.from_checkpoint);
        let judge = || judge(&case, &image, &spoils, goes_on);
        if let Err(why) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(judge)) {
            let places: Vec<_> = spoils.iter().map(|s| (&s.file, s.at, s.bytes.len())).collect();
            let how = if case.from_checkpoint { "from its checkpoint" } else { "by its log" };
            panic!("spoilt at {places:?}, {hurt:?}, opened {how}: {}", super::run::words(&*why));
        }
    }
    tally
}

/// Where something was written.
struct Written {
    batches: Vec<Write>,
    pages: Vec<Write>,
}

/// One to three flipped bits, or one other sector.
fn spoils(chance: &mut SmallRng, witness: &Witness, written: &Written, other: &SimDisk) -> Vec<Spoil> {
    let flips = chance.random_range(0..6);
    if (1..4).contains(&flips) {
        let mut flip = || {
            let (file, at) = somewhere(chance, &witness.disk, written);
            let octet = read(&witness.disk, &file, at, 1)[0] ^ (1 << chance.random_range(0..8));
            Spoil { file, at, bytes: vec![octet] }
        };
        return (0..flips).map(|_| flip()).collect();
    }
    let (file, at) = somewhere(chance, &witness.disk, written);
    let at = at / SECTOR_BYTES * SECTOR_BYTES;
    let bytes = match chance.random_range(0..4) {
        0 => vec![0; SECTOR_BYTES],
        1 => some(chance, &witness.before).and_then(|old| there(old, &file, at)).unwrap_or(vec![0; SECTOR_BYTES]),
        2 => there(other, &file, at).unwrap_or(vec![0; SECTOR_BYTES]),
        _ => {
            let (file, at) = somewhere(chance, &witness.disk, written);
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
fn somewhere(chance: &mut SmallRng, disk: &SimDisk, written: &Written) -> (String, usize) {
    let writes = if chance.random_ratio(1, 4) { &written.pages } else { &written.batches };
    if let Some(write) = some(chance, writes).filter(|_| chance.random_ratio(7, 8)) {
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

/// The first transaction of the batches at the end of the log that are all hurt.
fn cut_off(batches: &[BatchAt], spoils: &[Spoil], end: usize) -> usize {
    let hit = |b: &&BatchAt| spoils.iter().any(|s| b.holds(&s.file, s.at..s.at + s.bytes.len()));
    let tail = batches.iter().rev().take_while(hit);
    tail.filter(|b| !b.transactions.is_empty()).map(|b| b.transactions.start).min().unwrap_or(end)
}

fn judge(case: &Case, image: &SimDisk, spoils: &[Spoil], goes_on: Option<u64>) {
    let (mut house, shown) = match case.judge(image) {
        Ok(judged) => judged,
        Err(why @ OpenError::Superblock(_)) => {
            let copy = |s: &Spoil| (s.file == "superblock").then_some(s.at / COPY_DISTANCE);
            let copies: std::collections::BTreeSet<usize> = spoils.iter().filter_map(copy).collect();
            assert!(copies.len() > 2, "{why}, and {} copies are hurt", copies.len());
            return;
        }
        Err(why) => panic!("it does not open: {why}"),
    };
    if let Some(n) = goes_on.filter(|_| case.allowed.len() == 1) {
        works(&mut house, case.witness, &shown, n);
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
