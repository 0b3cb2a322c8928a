//! The verdict on a recovery from cuts, kills and failed writes, where no octet was spoilt that a sync had vouched for.

use super::house::House;
use super::look;
use super::model::Model;
use super::said::Said;
use super::tasks::block_on;

/// Holds an opened volume against what was said before, and returns what it shows.
///
/// # Panics
/// When it shows anything else, or takes for damage what is none.
#[must_use]
pub fn judge(house: &House, before: &Said) -> Model {
    well(house);
    // (FORMAT.md, *Truncate*.)
    let shut_out = house.recovered.torn_bytes == 0 || house.epoch() > before.epoch();
    assert!(shut_out, "a tail was discarded, and what follows is of its epoch");
    let mut found = block_on(look::shown(&house.volume)).unwrap_or_else(|why| panic!("unreadable: {why}"));
    before.recovered(&mut found).unwrap_or_else(|why| panic!("{why}"));
    found
}

/// Nothing is damaged, and the volume is ready for work.
///
/// # Panics
/// When it is not.
pub fn well(house: &House) {
    let recovered = &house.recovered;
    assert_eq!((&recovered.damaged, recovered.lost_batches), (&vec![], 0), "nothing was damaged, only cut off");
    let stats = house.volume.stats();
    assert_eq!((stats.failed, stats.orphan_records), (false, 0), "a volume that was cut off is well");
    let log = house.volume.0.log.borrow();
    assert_eq!(log.checkpoints[0], log.superblock.checkpoint, "the checkpoint that the superblock names reads");
}
