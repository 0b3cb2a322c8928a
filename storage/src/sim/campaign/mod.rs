//! Campaigns: production code on the simulated disk, held against a model, from seeds, as long as one likes.
//!
//! | campaign | what it looks at |
//! |---|---|
//! | [`crash`] (R1) | random work, cut off at each completion; some of the disks a cut may leave |
//! | [`exhaust`] (R2) | small work, cut off at each completion; every disk a cut may leave |
//! | [`iofail`] (R3) | named scenarios; each step of the disk fails, in each way, once and for good |
//! | [`transfers`] | letters and moves between two volumes, either of which is cut off |
//! | [`rot`] (R5) | a volume at rest, of which bits flip and sectors change |
//! | [`torn`] (R6) | random work, cut off, and spoilt besides: which is which |
//!
//! A trial breaks off with a panic, like the code under trial; [`run`] catches both and says which seed it was. A seed does the
//! same at the same commit. What they share: [`work`] makes transactions, [`house`] opens and drives the volume, [`model`]
//! says what must be there, [`said`] what may be there after a crash, [`look`] what is there, [`judge`] compares, [`users`] counts who uses a body, [`images`] which disks were
//! seen before, [`tally`] how much was seen, [`ledger`] keeps that.

pub mod crash;
pub mod exhaust;
pub mod house;
pub mod images;
pub mod iofail;
pub mod judge;
pub mod ledger;
pub mod look;
pub mod model;
pub mod rot;
pub mod run;
pub mod said;
pub mod scenarios;
pub mod spoilt;
pub mod tally;
pub mod tasks;
pub mod torn;
pub mod transfers;
pub mod truth;
pub mod users;
pub mod witness;
pub mod work;
