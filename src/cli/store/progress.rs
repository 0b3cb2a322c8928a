//! How far it is: a bar on a terminal, plain lines elsewhere. What is wrong is said on standard error at once, and counted.

use std::fmt::Display;
use std::io::IsTerminal as _;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::cli::say;

/// Problems named. More are counted.
const PROBLEMS_SHOWN_MAX: u64 = 1_000;

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    octets: u64,
    problems: u64,
}

impl Progress {
    pub(super) fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0));
        Progress { bar, octets: 0, problems: 0 }
    }

    /// Begins a mailbox of so many messages; 0: not known.
    pub(super) fn begin(&mut self, mailbox: &str, messages: u64) {
        self.octets = 0;
        if let Some(bar) = &self.bar {
            let known = "{prefix} {wide_bar} {pos}/{len} messages, {msg}, {eta} left";
            let style = if messages > 0 { known } else { "{prefix} {spinner} {pos} messages, {msg}" };
            bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.reset();
            bar.set_length(messages);
            bar.set_prefix(mailbox.to_owned());
        }
    }

    /// One message more.
    pub(super) fn step(&mut self, octets: u64) {
        self.octets += octets;
        if let Some(bar) = &self.bar {
            bar.inc(1);
            bar.set_message(HumanBytes(self.octets).to_string());
        }
    }

    /// So many octets more.
    pub(super) fn octets(&mut self, octets: u64) {
        self.octets += octets;
        if let Some(bar) = &self.bar {
            bar.set_message(HumanBytes(self.octets).to_string());
            bar.tick();
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// A line for people who want to know what was done.
    pub(super) fn tell(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(&format!("{line}\n"))),
            None => say(&format!("{line}\n")),
        }
    }

    /// Something that is not as it should be, though nothing is lost.
    pub(super) fn note(&self, note: impl Display) {
        self.aside(&format!("note: {note}"));
    }

    /// Something that could not be done.
    pub(super) fn problem(&mut self, problem: impl Display) {
        self.problems += 1;
        if self.problems <= PROBLEMS_SHOWN_MAX {
            self.aside(&format!("problem: {problem}"));
        }
    }

    fn aside(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// The end: an error if there were problems.
    pub(super) fn end(self, done: &str) -> Result<(), String> {
        self.clear();
        match self.problems {
            0 => Ok(()),
            1 => Err(format!("one problem, named above; {done}")),
            n if n > PROBLEMS_SHOWN_MAX => {
                Err(format!("{n} problems, the first {PROBLEMS_SHOWN_MAX} named above; {done}"))
            }
            n => Err(format!("{n} problems, named above; {done}")),
        }
    }
}
