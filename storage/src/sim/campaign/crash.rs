//! Crashes from seeds (R1): random work, and whenever a completion of the disk has changed what a power cut could leave,
//! some of the disks that a cut now would leave are made, recovered, and held against what was said.
//!
//! ```text
//! life ──► work, turn by turn ──► crash point ──► image, image, image …     (each distinct one once)
//!                                                   │
//!                                                   ├─ recovered, compared                      always
//!                                                   ├─ cut again while it recovers              1 of 12
//!                                                   └─ works on, and is cut again               1 of 8
//! ```
//!
//! A seed does the same alone and in a campaign: that others have seen an image matters for the count alone.

use std::cell::RefCell;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::house::{self, Chance, House, NOW_MS};
use super::images::{Images, Seen};
use super::judge::judge;
use super::look;
use super::model::{Model, Work};
use super::said::Said;
use super::tally::Tally;
use super::tasks::block_on;
use super::users;
use super::work::Scale;
use crate::retain::RETAINED;
use crate::sim::{Fault, OpKind, SimDisk, When};
use crate::{Refused, Settings};

/// A crash in a recovery from a crash in a recovery: deeper is not looked.
const DEPTH_MAX: u32 = 4;

/// One seed's trial.
pub struct Trial<'a> {
    seen: Seen<'a>,
    tally: Tally,
    lives: u64,
    /// Segments come and go, and somebody keeps house.
    churn: bool,
    /// What is expunged is retained. Of one seed of eight, in which nothing fails by itself: on a full disk it is not.
    retains: bool,
    /// Some bodies come in pieces, and accounts have narrow limits: what draws them. Of one seed of eight, and of one of four of
    /// those in which segments come and go.
    narrow: Option<SmallRng>,
}

/// What becomes of a life.
struct Course {
    /// Crashes before it.
    depth: u32,
    /// Writes and syncs fail now and then.
    faults: bool,
    /// It works after it was judged.
    goes_on: bool,
}

/// Where a life stands when it is looked for crash points.
struct Watch<'a> {
    disk: &'a SimDisk,
    chance: &'a Chance,
    seen: u64,
    depth: u32,
    /// How many images are made at a crash point, at most.
    draws: u32,
}

impl<'a> Trial<'a> {
    /// All that a seed does. `faults`: writes and syncs fail now and then, too.
    ///
    /// # Panics
    /// With a sentence, when production code breaks a promise or panics itself.
    pub fn run(images: &'a Images, seed: u64, faults: bool) -> Tally {
        let chance: Chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
        let mut trial = Trial {
            seen: Seen::new(images),
            tally: Tally::default(),
            lives: 0,
            churn: false,
            retains: seed % 8 == 3,
            narrow: None,
        };
        trial.churn = chance.borrow_mut().random_ratio(1, 4);
        let narrow = seed % 8 == 5 || trial.churn && seed % 4 == 2;
        trial.narrow = narrow.then(|| SmallRng::seed_from_u64(!seed));
        let mut disk = SimDisk::new(seed);
        let mut said = Said::new(Model { retains: trial.retains, ..Model::default() }, 0);
        let faults = faults && !trial.retains;
        if !chance.borrow_mut().random_ratio(1, 8) {
            // Most seeds are not about how a volume comes to be.
            block_on(crate::Volume::create(&disk, &house::facts(seed))).expect("nothing hinders it");
            if chance.borrow_mut().random() {
                house::leave_retired_file(&disk, seed, &chance);
            }
        }
        let lives = chance.borrow_mut().random_range(1..4);
        for _ in 0..lives {
            let faults = faults && chance.borrow_mut().random();
            said = trial.life(&disk, said.promised(), &chance, Course { depth: 0, faults, goes_on: true });
            disk = if chance.borrow_mut().random_ratio(1, 4) { disk.kill() } else { disk.crash() };
        }
        trial.life(&disk, said.promised(), &chance, Course { depth: DEPTH_MAX, faults: false, goes_on: false });
        trial.tally.seeds += 1;
        trial.tally
    }

    /// Opens the volume, judges what it shows, works. Returns what was said.
    fn life(&mut self, disk: &SimDisk, before: Said, chance: &Chance, course: Course) -> Said {
        let Course { depth, faults, goes_on } = course;
        let cut_opening = chance.borrow_mut().random_ratio(1, if depth > 0 { 12 } else { 3 });
        let may_cut = depth < DEPTH_MAX;
        let opened = if cut_opening && may_cut {
            house::slow(disk, chance);
            let mut watch = Watch { disk, chance, seen: disk.changes(), depth, draws: if depth == 0 { 4 } else { 1 } };
            let secret = chance.borrow_mut().random();
            let settings = self.settings(secret);
            let opened = house::open_with(disk, secret, settings, || {
                self.crash_point(&mut watch, &before);
                true
            });
            disk.set_delay(None);
            opened
        } else {
            let secret = chance.borrow_mut().random();
            house::open_with(disk, secret, self.settings(secret), || true)
        };
        let mut house = match opened.expect("nobody stops it") {
            Ok(house) => house,
            Err(why) => panic!("opening failed after a crash: {why}"),
        };
        let found = Model { retains: self.retains, ..judge(&house, &before) };
        self.tally.judged += 1;
        self.lives += 1;
        if chance.borrow_mut().random_ratio(1, 8) {
            self.compare(&house, disk, &found);
        }
        let mut said = Said::new(found, self.lives).in_epoch(house.epoch());
        if !(goes_on && may_cut) {
            return said;
        }
        if faults {
            plan(disk, &mut chance.borrow_mut());
        }
        house::slow(disk, chance);
        // A life with much to recover is cut more seldom.
        let draws = match depth {
            0 if self.churn => 2,
            0 => 10,
            _ => 1,
        };
        // A cut right behind the opening is a crash point too: what is shown is promised now.
        let mut watch = Watch { disk, chance, seen: u64::MAX, depth, draws };
        self.work(&mut house, &mut said, &mut watch);
        disk.set_delay(None);
        said
    }

    fn settings(&self, seed: u64) -> Settings {
        Settings { retain: self.retains, ..house::settings(seed) }
    }

    /// Without its checkpoint the log says the same, and so does a count of who uses which body.
    fn compare(&mut self, house: &House, disk: &SimDisk, found: &Model) {
        let (whole, _) =
            block_on(house::open_whole(disk.fork_killed(0))).unwrap_or_else(|why| panic!("the whole log: {why}"));
        let shown = block_on(look::shown(&whole)).unwrap_or_else(|why| panic!("unreadable: {why}"));
        if let Some(why) = shown.differs(found) {
            panic!("the checkpoint says something else than the log: {why}");
        }
        // Pieces that nobody referred to in the end are not counted.
        if self.narrow.is_none()
            && let Some(why) = block_on(users::miscounted(&house.volume, &whole))
        {
            panic!("users of bodies: {why}");
        }
        self.tally.compared += 1;
    }

    fn work(&mut self, house: &mut House, said: &mut Said, watch: &mut Watch) {
        let transactions = {
            let chance = &mut *watch.chance.borrow_mut();
            match watch.depth {
                0 if self.churn => chance.random_range(15..40),
                0 => chance.random_range(5..30),
                _ => chance.random_range(1..6),
            }
        };
        // Some lives are about compaction, which needs something to compact.
        let compacts = watch.chance.borrow_mut().random_ratio(1, 2);
        let scale = if self.churn { Scale::Churn } else { Scale::Mixed };
        if self.churn || watch.chance.borrow_mut().random_ratio(1, 4) {
            let rounds = if watch.depth == 0 { transactions / 4 } else { 2 };
            let seed = watch.chance.borrow_mut().random();
            house.keep_house(rounds, seed);
        }
        for _ in 0..transactions {
            if compacts && watch.chance.borrow_mut().random_ratio(1, 4) {
                let rounds = watch.chance.borrow_mut().random_range(1..4);
                house.compact(rounds, watch.chance);
            }
            let (work, now_ms, pace) = {
                let chance = &mut *watch.chance.borrow_mut();
                let work = Work::random(chance, scale, said.last(), said.durable());
                // The clock jumps as it likes.
                (work, NOW_MS + chance.random_range(-1_000_000..1_000_000), chance.random_range(0..8))
            };
            let Some(work) = self.retaining(work, house, said.last(), watch.chance) else { continue };
            let (work, pieces) = self.narrowed(work, said.last());
            let decided = house.decide_in_pieces(&work, now_ms, pieces, || {
                said.listen();
                self.crash_point(watch, said);
                true
            });
            match decided.expect("nobody stops it") {
                Ok(decided) => {
                    self.tally.decided(&work, &decided.outcomes);
                    said.decided(&work, decided);
                }
                Err(Refused::Failed | Refused::DiskFull | Refused::Busy) => self.tally.refused += 1,
                Err(Refused::OverQuota) => {
                    assert!(said.last().may_pass_limits(&work), "there was room for all of it");
                    self.tally.over_quota += 1;
                    self.tally.refused += 1;
                }
                Err(
                    Refused::NotLoaded
                    | Refused::NoAccount
                    | Refused::NoMailbox
                    | Refused::MailboxExists
                    | Refused::TooLarge,
                ) => {
                    self.tally.refused += 1;
                }
                Err(other) => panic!("nothing here is refused so: {other}"),
            }
            if pace == 7 {
                house.volume.heartbeat();
            }
            for _ in 0..pace {
                house.turn();
                said.listen();
                self.crash_point(watch, said);
            }
            if pace == 6 {
                self.looks_durable(house, said);
            }
        }
        let close = watch.chance.borrow_mut().random_ratio(1, 3).then(|| house.close());
        while house.turn() {
            said.listen();
            self.crash_point(watch, said);
        }
        said.listen();
        assert!(house.is_at_rest(), "nothing goes on for ever");
        self.looks_durable(house, said);
        let stats = house.volume.stats();
        self.tally.folds += stats.folds;
        self.tally.compacted += stats.compacted_segments;
        self.tally.forgets += stats.forgets;
        self.tally.checkpoints += stats.checkpoints;
        assert!(close.is_none_or(|closed| closed.get()), "closing ends");
    }

    /// Work, or instead of it something with what is retained. `None`: nobody could say what is retained of it.
    fn retaining(&mut self, work: Work, house: &House, last: &Model, chance: &Chance) -> Option<Work> {
        if !self.retains {
            return Some(work);
        }
        let kept = |account| house.volume.mailbox_named(account, RETAINED);
        let chance = &mut *chance.borrow_mut();
        if chance.random_ratio(1, 6)
            && let Some(work) = Work::of_retained(chance, last, kept)
        {
            self.tally.undeleted += 1;
            return Some(work);
        }
        Some(work).filter(|work| !work.may_retain_nothing())
    }

    /// Work, or limits instead of it that are reached soon; in how many pieces its bodies come.
    fn narrowed(&mut self, work: Work, last: &Model) -> (Work, usize) {
        let Some(chance) = &mut self.narrow else { return (work, 0) };
        if chance.random_ratio(1, 8)
            && let Some(work) = Work::narrow_limits(chance, last)
        {
            return (work, 0);
        }
        let pieces = if chance.random_ratio(1, 3) { chance.random_range(1..4) } else { 0 };
        self.tally.uploads += if pieces > 0 { work.texts.len() as u64 } else { 0 };
        (work, pieces)
    }

    /// A volume at work shows what it has acknowledged, and nothing else.
    fn looks_durable(&mut self, house: &House, said: &Said) {
        if !house.is_at_rest() {
            return;
        }
        let found = block_on(look::shown(&house.volume)).unwrap_or_else(|why| panic!("unreadable at work: {why}"));
        if let Some(why) = said.durable().differs(&found) {
            panic!("at work it shows what is not durable, or not all that is: {why}");
        }
        self.tally.looks += 1;
    }

    /// If a completion has changed what a cut could leave: makes and judges such disks.
    fn crash_point(&mut self, watch: &mut Watch, said: &Said) {
        if watch.disk.changes() == watch.seen {
            return;
        }
        watch.seen = watch.disk.changes();
        let doubts = watch.disk.doubts().len();
        self.tally.point(watch.disk.unsynced_sectors(), doubts);
        if watch.depth > 0 && !watch.chance.borrow_mut().random_ratio(1, 3) {
            return;
        }
        // Of few doubts there are few images.
        let draws = watch.draws.min(1 << doubts.min(4));
        for _ in 0..draws {
            let (seed, killed) = {
                let chance = &mut *watch.chance.borrow_mut();
                (chance.random(), chance.random_ratio(1, 64))
            };
            if killed {
                self.tally.kills += 1;
                self.image(&watch.disk.fork_killed(seed), said, seed, watch.depth, true);
                continue;
            }
            let image = watch.disk.fork_crashed(seed);
            if self.seen.asks(&mut self.tally, image.digest(), said.promise()) {
                self.tally.at_depth(watch.depth);
                self.image(&image, said, seed, watch.depth, false);
            }
        }
    }

    fn image(&mut self, image: &SimDisk, said: &Said, seed: u64, depth: u32, killed: bool) {
        let chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
        // What a kill leaves un-synced is a matter for the next cut.
        let goes_on = killed || chance.borrow_mut().random_ratio(1, 8);
        self.life(image, said.promised(), &chance, Course { depth: depth + 1, faults: false, goes_on });
    }
}

/// Something fails: once, or from then on.
fn plan(disk: &SimDisk, chance: &mut SmallRng) {
    let n = chance.random_range(1..20);
    let when = if chance.random() { When::Once(n) } else { When::From(n) };
    match chance.random_range(0..4) {
        0 => disk.fail(OpKind::Write, Fault::Io, when),
        1 => disk.fail(OpKind::Write, Fault::Short, when),
        2 => disk.fail(OpKind::Sync, Fault::Io, when),
        _ => disk.fail(OpKind::Create, Fault::NoSpace, When::Once(chance.random_range(1..3))),
    }
}
