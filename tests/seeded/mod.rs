//! Stories told to a node that makes a mistake on purpose (`ringpost::bugs`): some have to end badly, others well. None of
//! them knows what a mistake is.
//!
//! How soon one is found is counted in steps of the simulated world (`sim::steps`), which are the same on every machine; the
//! time is for reading. An unoptimised build makes some thousands in a second, and more where a story mostly waits.
//!
//! `tests/bugs` tells everything there is with each mistake, and `tests/bugs.tsv` has who found it.

use std::panic::catch_unwind;
use std::time::Instant;

use ringpost::bugs::{self, Bug};
use ringpost::shard::sim;

/// A test of this binary, and its name.
pub type Story = (&'static str, fn());

/// A story by its path.
macro_rules! story {
    ($room:ident :: $name:ident) => {
        (concat!(stringify!($room), "::", stringify!($name)), $room::$name)
    };
}
pub(crate) use story;

/// A mistake, the stories that find it, and some that do not.
pub struct Row {
    pub bug: Bug,
    pub by: &'static [Story],
    /// Steps in which each of those has found it.
    pub within: u64,
    pub passes: &'static [Story],
}

/// Holds what the stories find against the table.
pub fn examine(table: &[Row]) {
    let mut wrong = Vec::new();
    for Row { bug, by, within, passes } in table {
        assert!(!by.is_empty(), "somebody has to find {}", bug.name());
        for (story, finds) in by.iter().map(|s| (s, true)).chain(passes.iter().map(|s| (s, false))) {
            let (name, tell) = story;
            let (begun, before) = (Instant::now(), sim::steps());
            bugs::switch(Some(*bug));
            let found = catch_unwind(tell).is_err();
            bugs::switch(None);
            let (verdict, steps) = (if found { "found" } else { "passes" }, sim::steps() - before);
            println!("{}\t{name}\t{verdict}\t{steps}\t{:.2}", bug.name(), begun.elapsed().as_secs_f64());
            if found != finds {
                wrong.push(format!("{name}: {} {verdict}", bug.name()));
            }
            if found && steps > *within {
                wrong.push(format!("{name}: {} is found after {steps} steps, not within {within}", bug.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
