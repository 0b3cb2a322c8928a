//! How a campaign ended, also where it could not begin.
//!
//! | | exit code |
//! |---|---|
//! | nothing was broken | 0 |
//! | something was | 1 |
//! | it could not be set up, or with `CI=true` what it needs is not installed | 2 |
//! | this machine or this user cannot do it, which is said | [`SKIPPED`] |

use std::fmt::{self, Display, Formatter};

/// The exit code of what was skipped, as other test programs have it.
pub const SKIPPED: u8 = 77;

/// How a campaign ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Well,
    Broken,
    Skipped,
}

/// Why something cannot be tried here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The machine, its kernel, or who we are: nobody can install that.
    Machine(String),
    /// A program that could be installed.
    NotInstalled(String),
}

impl Ended {
    /// Of something that was tried.
    #[must_use]
    pub fn of(well: bool) -> Ended {
        if well { Ended::Well } else { Ended::Broken }
    }

    /// Of both together: what was broken counts most, and what was tried more than what was not.
    #[must_use]
    pub fn and(self, other: Ended) -> Ended {
        match (self, other) {
            (Ended::Broken, _) | (_, Ended::Broken) => Ended::Broken,
            (Ended::Skipped, Ended::Skipped) => Ended::Skipped,
            _ => Ended::Well,
        }
    }
}

impl Hindrance {
    /// Says that something is skipped. `what`: a sentence without an end, as "no disk can fail here".
    ///
    /// # Errors
    /// In CI (`CI=true`) what could be installed has to be.
    pub fn skip(&self, what: &str) -> Result<Ended, String> {
        self.skip_in(std::env::var_os("CI").is_some(), what)
    }

    fn skip_in(&self, ci: bool, what: &str) -> Result<Ended, String> {
        match self {
            Hindrance::NotInstalled(_) if ci => Err(format!("{what}: {self}; with CI set that is a failure")),
            _ => {
                println!("SKIPPED: {what}: {self}");
                Ok(Ended::Skipped)
            }
        }
    }
}

impl Display for Hindrance {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Hindrance::Machine(why) => f.write_str(why),
            Hindrance::NotInstalled(program) => write!(f, "{program} is not installed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_skips_what_the_machine_cannot_and_nothing_else() {
        let machine = Hindrance::Machine("there is no /dev/fuse".to_owned());
        let missing = Hindrance::NotInstalled("mkfs.xfs".to_owned());
        assert_eq!(machine.skip_in(true, "no power can be cut here"), Ok(Ended::Skipped));
        assert_eq!(missing.skip_in(false, "no power can be cut here"), Ok(Ended::Skipped));
        let why = missing.skip_in(true, "no power can be cut here").expect_err("it could be installed");
        assert!(why.contains("mkfs.xfs is not installed"), "{why}");
    }

    #[test]
    fn what_is_broken_counts_most_and_one_that_was_tried_is_no_skip() {
        assert_eq!(Ended::Skipped.and(Ended::Broken).and(Ended::Well), Ended::Broken);
        assert_eq!(Ended::Skipped.and(Ended::Well), Ended::Well);
        assert_eq!(Ended::Skipped.and(Ended::Skipped), Ended::Skipped);
    }
}
