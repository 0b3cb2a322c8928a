//! Campaigns: production code on the simulated disk, held against a model, from seeds, as long as one likes.
//!
//! | campaign | what it looks at |
//! |---|---|
//! | [`crash`] | random work, cut off at each completion; some of the disks a cut may leave |
//!
//! A trial breaks off with a panic, like the code under trial; [`run`] catches both and says which seed it was. A seed does the
//! same at the same commit. What they share: [`work`] makes transactions, [`house`] opens and drives the volume, [`model`]
//! says what must be there, [`said`] what may be there after a crash, [`look`] what is there, [`images`] which disks were
//! seen before, [`tally`] how much was seen, [`ledger`] keeps that.

pub mod crash;
pub mod house;
pub mod images;
pub mod ledger;
pub mod look;
pub mod model;
pub mod run;
pub mod said;
pub mod tally;
pub mod tasks;
pub mod work;
