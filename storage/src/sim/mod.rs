//! The simulated disk: files in memory, faults on request, power cuts from one seed.
//!
//! What was written and not synced is kept sector by sector (512 octets) with all its earlier contents. A
//! [`SimDisk::crash`] decides for each such sector on its own: the newest content, any earlier one, or a torn
//! mixture. A [`SimDisk::kill`] ends the process only: what was written stays readable and stays un-synced.
//! A sync that failed leaves its sectors un-synced until they are written again, as real kernels do: a later
//! sync alone says yes and means nothing for them.
//!
//! Operations complete at once unless a delay hook is set; the hook gives each step a future to wait for, so the
//! whole-node simulation can put them on its own clock and stop the world between a write and its sync.

pub mod campaign;
mod disk;
mod faults;
mod file;

pub use disk::{Delay, SimDisk, SimFile, Write};
pub use faults::{Fault, Faults, OpKind, When};
