//! Torn or damaged (R6): an oracle knows what was synced and vouched for, the volume does not.
//!
//! | a power cut, and | must be |
//! |---|---|
//! | nothing else | no damage, however the tail is torn |
//! | octets spoilt that no sync had vouched for | no damage: the same |
//! | octets spoilt of a batch that was acknowledged and vouched for | never cut off quietly: what rests on it is shown, does not read, or is missing and reported; all else is there |
//!
//! (The very last batch, spoilt before anything vouches for it, cannot be told from a torn one: FORMAT.md, *Limit*.)

use std::cell::RefCell;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::house::{self, Chance};
use super::images::{Images, Seen};
use super::judge::judge;
use super::look;
use super::rot::{SECTOR_BYTES, Spoil, apply, reported};
use super::tally::Tally;
use super::tasks::block_on;
use super::truth::Hurt;
use super::witness::{BatchAt, Witness};
use crate::sim::SimDisk;

/// Disks from one crash point.
const DRAWS: u32 = 4;

/// All that a seed does.
///
/// # Panics
/// With a sentence, when production code makes a mistake.
pub fn run(images: &Images, seed: u64) -> Tally {
    let chance: Chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
    let mut tally = Tally { seeds: 1, ..Tally::default() };
    let mut witness = Witness::new(seed, &chance);
    let mut seen = Seen::new(images);
    let mut changes = 0;
    let transactions = chance.borrow_mut().random_range(5..30);
    for _ in 0..transactions {
        let dice = chance.clone();
        witness.work(&chance, &mut tally, |witness, tally| {
            look(witness, &mut changes, &dice, &mut seen, tally);
        });
        if chance.borrow_mut().random_ratio(1, 8) {
            witness.house.volume.heartbeat();
        }
    }
    tally
}

fn look(witness: &mut Witness, changes: &mut u64, chance: &Chance, seen: &mut Seen, tally: &mut Tally) {
    if witness.disk.changes() == *changes {
        return;
    }
    *changes = witness.disk.changes();
    tally.point(witness.disk.unsynced_sectors(), witness.disk.doubts().len());
    let batches = witness.batches();
    for _ in 0..DRAWS {
        let chance = &mut *chance.borrow_mut();
        let image = witness.disk.fork_crashed(chance.random());
        let (spoil, vouched) = match chance.random_range(0..4) {
            0 => (None, false),
            1 => (spoil(chance, &image, batches.iter().filter(|b| !b.write.synced)), false),
            _ => (spoil(chance, &image, batches.iter().filter(|b| b.vouched)), true),
        };
        let Some(spoil) = spoil else {
            if seen.asks(tally, image.digest(), witness.said.promise()) {
                torn(witness, &image);
            }
            continue;
        };
        let hurt = witness.hurt(&batches, &spoil.file, spoil.at..spoil.at + spoil.bytes.len());
        if !apply(&image, &spoil) || !seen.asks(tally, image.digest(), witness.said.promise() ^ 1) {
            continue;
        }
        tally.runs += 1;
        let place = (&spoil.file, spoil.at, spoil.bytes.len());
        let verdict = || if vouched { damaged(witness, &image, &hurt) } else { torn(witness, &image) };
        if let Err(why) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(verdict)) {
            let what = if vouched { "vouched for" } else { "not synced" };
            panic!("{what}, spoilt at {place:?}, transactions {hurt:?}: {}", super::run::words(&*why));
        }
    }
}

/// A flipped bit or other sector in one of these batches.
fn spoil<'a>(chance: &mut SmallRng, image: &SimDisk, from: impl Iterator<Item = &'a BatchAt>) -> Option<Spoil> {
    let from: Vec<&BatchAt> = from.collect();
    let write = &from.get(chance.random_range(0..from.len().max(1)))?.write;
    let (file, at) = (write.file.to_string(), write.at + chance.random_range(0..write.len));
    if chance.random() {
        let octet = image.read(&file, at, 1)?[0] ^ (1 << chance.random_range(0..8));
        return Some(Spoil { file, at, bytes: vec![octet] });
    }
    let bytes = if chance.random() { vec![0; SECTOR_BYTES] } else { vec![0xa5; SECTOR_BYTES] };
    Some(Spoil { file, at: at / SECTOR_BYTES * SECTOR_BYTES, bytes })
}

/// No octet is spoilt that anybody vouched for.
fn torn(witness: &Witness, image: &SimDisk) {
    let house = house::open_with(image, 1, house::without_checkpoints(1), || true)
        .expect("nobody stops it")
        .unwrap_or_else(|why| panic!("{why}"));
    let _ = judge(&house, &witness.said);
}

fn damaged(witness: &Witness, image: &SimDisk, hurt: &Hurt) {
    let house = house::open_with(image, 1, house::without_checkpoints(1), || true)
        .expect("nobody stops it")
        .unwrap_or_else(|why| panic!("{why}"));
    let shown = block_on(look::shown_spoilt(&house.volume, witness.truth.accounts()));
    if let Some(why) = witness.truth.never_was(&shown) {
        panic!("false: {why}");
    }
    let states = (witness.said.durable(), witness.said.last());
    if let Some(why) = witness.truth.missing(&shown, hurt, states) {
        panic!("not hurt, and gone: {why}; {:?}", house.recovered);
    }
    reported(&house, &shown, witness.said.allowed());
}
