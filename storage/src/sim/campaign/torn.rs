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
use super::spoilt::{self, Case, SECTOR_BYTES, Spoil, apply};
use super::tally::Tally;
use super::witness::Witness;
use crate::sim::{SimDisk, Write};

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
    let transactions = witness.life(5..30, &chance);
    for _ in 0..transactions {
        let dice = chance.clone();
        witness.work(&chance, &mut tally, |witness, tally| {
            look(witness, &mut changes, &dice, &mut seen, tally);
        });
        if chance.borrow_mut().random_ratio(1, 8) {
            witness.house.volume.heartbeat();
        }
    }
    witness.tell(&mut tally);
    tally
}

fn look(witness: &mut Witness, changes: &mut u64, chance: &Chance, seen: &mut Seen, tally: &mut Tally) {
    if witness.disk.changes() == *changes {
        return;
    }
    *changes = witness.disk.changes();
    tally.point(witness.disk.unsynced_sectors(), witness.disk.doubts().len());
    let (batches, pages) = (witness.batches(), witness.pages());
    for _ in 0..DRAWS {
        let chance = &mut *chance.borrow_mut();
        let image = witness.disk.fork_crashed(chance.random());
        let from_checkpoint = chance.random();
        let of_pages = chance.random_ratio(1, 4);
        let (spoil, vouched) = match chance.random_range(0..4) {
            0 => (None, false),
            1 if of_pages => (spoil(chance, &image, pages.iter().filter(|w| !w.synced)), false),
            1 => (spoil(chance, &image, batches.iter().map(|b| &b.write).filter(|w| !w.synced)), false),
            _ if of_pages => (spoil(chance, &image, pages.iter().filter(|w| w.synced)), true),
            _ => (spoil(chance, &image, batches.iter().filter(|b| b.vouched).map(|b| &b.write)), true),
        };
        let Some(spoil) = spoil else {
            if seen.asks(tally, image.digest(), witness.said.promise()) {
                tally.from_checkpoint += u64::from(from_checkpoint);
                torn(witness, &image, from_checkpoint);
            }
            continue;
        };
        let hurt = witness.hurt(&batches, &spoil.file, spoil.at..spoil.at + spoil.bytes.len());
        if !apply(&image, &spoil) || !seen.asks(tally, image.digest(), witness.said.promise() ^ 1) {
            continue;
        }
        tally.runs += 1;
        tally.from_checkpoint += u64::from(from_checkpoint);
        let case = Case {
            witness,
            hurt: &hurt,
            owed: (witness.said.durable(), witness.said.last()),
            allowed: witness.said.allowed(),
            pages_alone: spoil.is_of_pages(),
            from_checkpoint,
        };
        let place = (&spoil.file, spoil.at, spoil.bytes.len());
        let verdict = || match vouched {
            true => drop(case.judge(&image).unwrap_or_else(|why| panic!("it does not open: {why}"))),
            false => torn(witness, &image, from_checkpoint),
        };
        if let Err(why) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(verdict)) {
            let what = if vouched { "vouched for" } else { "not synced" };
            let how = if from_checkpoint { "from its checkpoint" } else { "by its log" };
            panic!("{what}, spoilt at {place:?}, {hurt:?}, opened {how}: {}", super::run::words(&*why));
        }
    }
}

/// A flipped bit or other sector in what was written so.
fn spoil<'a>(chance: &mut SmallRng, image: &SimDisk, from: impl Iterator<Item = &'a Write>) -> Option<Spoil> {
    let from: Vec<&Write> = from.collect();
    let write = from.get(chance.random_range(0..from.len().max(1)))?;
    let (file, at) = (write.file.to_string(), write.at + chance.random_range(0..write.len));
    if chance.random() {
        let octet = image.read(&file, at, 1)?[0] ^ (1 << chance.random_range(0..8));
        return Some(Spoil { file, at, bytes: vec![octet] });
    }
    let at = at / SECTOR_BYTES * SECTOR_BYTES;
    let bytes = if chance.random() { vec![0; SECTOR_BYTES] } else { vec![0xa5; SECTOR_BYTES] };
    image.read(&file, at, SECTOR_BYTES).map(|_| Spoil { file, at, bytes })
}

/// No octet is spoilt that anybody vouched for.
fn torn(witness: &Witness, image: &SimDisk, from_checkpoint: bool) {
    let house = house::open_with(image, 1, spoilt::settings(from_checkpoint), || true)
        .expect("nobody stops it")
        .unwrap_or_else(|why| panic!("{why}"));
    let _ = judge(&house, &witness.said);
}
