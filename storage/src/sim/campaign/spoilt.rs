//! The verdict on a volume of which octets are spoilt, opened from its checkpoint or by its whole log.
//!
//! | | by its whole log | from a checkpoint |
//! |---|---|---|
//! | what never was | is not shown | is not shown |
//! | what rests on nothing hurt | is there and reads | the same |
//! | an account of which a record is hurt | is there, less what that said | or does not load, until the volume is opened again |
//! | what is not as it was | was reported | was reported, or does not load |
//! | only pages of checkpoints are hurt | (nobody reads them) | everything is there, nothing is reported |
//!
//! Once segments were compacted an account of which a root is hurt need not load either way: what an older root knows is not all.
//! Once forwards were forgotten, what it holds need not read.

use super::house::{self, House};
use super::look::{self, Shown};
use super::model::Model;
use super::tasks::block_on;
use super::truth::{Hurt, Spared, plain};
use super::witness::Witness;
use crate::sim::SimDisk;
use crate::{OpenError, Settings};

/// Octets that are spoilt as one.
pub const SECTOR_BYTES: usize = 512;

/// New contents of a few octets.
pub struct Spoil {
    /// Which file.
    pub file: String,
    /// Where.
    pub at: usize,
    /// What is there now.
    pub bytes: Vec<u8>,
}

impl Spoil {
    /// True if it is of a checkpoint.
    #[must_use]
    pub fn is_of_pages(&self) -> bool {
        self.file.starts_with("pages-")
    }
}

/// Spoils a disk. False: it was so before.
pub fn apply(disk: &SimDisk, spoil: &Spoil) -> bool {
    let before = disk.read(&spoil.file, spoil.at, spoil.bytes.len()).expect("it is there");
    disk.spoil(&spoil.file, spoil.at, &spoil.bytes);
    before != spoil.bytes
}

/// How a spoilt volume is opened.
#[must_use]
pub fn settings(from_checkpoint: bool) -> Settings {
    if from_checkpoint { house::settings(1) } else { house::without_checkpoints(1) }
}

/// What is known of a spoilt volume.
pub struct Case<'a> {
    /// What was true before.
    pub witness: &'a Witness,
    /// What rests on the octets.
    pub hurt: &'a Hurt,
    /// What is in both of these has to be there.
    pub owed: (&'a Model, &'a Model),
    /// States that may be shown with nothing reported.
    pub allowed: &'a [Model],
    /// Nothing is spoilt but checkpoints.
    pub pages_alone: bool,
    /// It is opened from a checkpoint, if one is good.
    pub from_checkpoint: bool,
}

impl Case<'_> {
    /// Opens the volume and judges what it shows.
    ///
    /// # Errors
    /// As [`crate::Volume::open`].
    ///
    /// # Panics
    /// With a sentence, when it breaks a promise.
    pub fn judge(&self, image: &SimDisk) -> Result<(House, Shown), OpenError> {
        let (mut house, shown) = self.look(image, self.from_checkpoint)?;
        if shown.unloaded.is_empty() || !self.from_checkpoint {
            return Ok((house, shown));
        }
        // Somebody has met with damage that the checkpoint hides: whoever opens next reads the whole log.
        while house.turn() {}
        drop(house);
        self.look(&image.kill(), false)?;
        self.look(&image.kill(), true)
    }

    fn look(&self, image: &SimDisk, first: bool) -> Result<(House, Shown), OpenError> {
        let settings = settings(self.from_checkpoint);
        let house = house::open_with(image, 1, settings, || true).expect("nobody stops it")?;
        let shown = block_on(look::shown_spoilt(&house.volume, self.witness.truth.accounts()));
        if let Some(why) = self.witness.truth.never_was(&shown) {
            panic!("false: {why}");
        }
        let forgot = self.witness.house.volume.stats().forgets > 0;
        let spared = Spared { load: first || !self.witness.has_all(), read: forgot };
        if let Some(why) = self.witness.truth.missing(&shown, (self.hurt, spared), self.owed) {
            panic!("not hurt, and gone: {why}; {:?}", house.recovered);
        }
        reported(&house, &shown, self.allowed);
        if self.pages_alone {
            self.is_whole(&house, &shown);
        }
        Ok((house, shown))
    }

    /// A checkpoint that does not read costs time, never mail.
    fn is_whole(&self, house: &House, shown: &Shown) {
        let recovered = &house.recovered;
        let lost = !recovered.damaged.is_empty() || recovered.lost_batches > 0;
        assert!(!lost, "only pages are spoilt, and it reports {recovered:?}");
        assert!(shown.unloaded.is_empty() && shown.unread.is_empty(), "only pages are spoilt: {:?}", shown.unloaded);
        let why: Vec<String> = self.allowed.iter().filter_map(|state| state.differs(&shown.model)).collect();
        assert!(why.len() < self.allowed.len(), "only pages are spoilt, and {}", why.join("; or: "));
    }
}

/// What is not as it was, was reported.
fn reported(house: &House, shown: &Shown, allowed: &[Model]) {
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
