//! Stories told to a node that makes a mistake on purpose (`ringpost::bugs`): some have to end badly, others well. None of
//! them knows what a mistake is.
//!
//! `RINGPOST_BUG=NAME cargo test --features bugs` tells everything there is with a mistake.

use std::panic::catch_unwind;
use std::time::Instant;

use ringpost::bugs::{self, Bug};

/// A test of this binary, and its name.
pub type Story = (&'static str, fn());

/// A mistake, the stories that find it, and some that do not.
pub struct Row {
    pub bug: Bug,
    pub by: &'static [Story],
    pub passes: &'static [Story],
}

/// Holds what the stories find against the table.
pub fn examine(table: &[Row]) {
    let mut wrong = Vec::new();
    for Row { bug, by, passes } in table {
        assert!(!by.is_empty(), "somebody has to find {}", bug.name());
        for (story, finds) in by.iter().map(|s| (s, true)).chain(passes.iter().map(|s| (s, false))) {
            let (name, tell) = story;
            let begun = Instant::now();
            bugs::switch(Some(*bug));
            let found = catch_unwind(tell).is_err();
            bugs::switch(None);
            let verdict = if found { "found" } else { "passes" };
            println!("{}\t{name}\t{verdict}\t{:.2}", bug.name(), begun.elapsed().as_secs_f64());
            if found != finds {
                wrong.push(format!("{name}: {} {verdict}", bug.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
