//! Work in the background that an operator asked for: what it is, how far it is, how it ended.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::shard;

/// Jobs of a shard that are remembered. The oldest that has ended is forgotten.
pub const JOBS_KEPT_MAX: usize = 64;

/// A job, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number: the shard's in the upper 16 bits.
    pub id: u64,
    /// What is done, in words.
    pub what: String,
    /// How much of it is done …
    pub done: u64,
    /// … of so much, as far as is known.
    pub total: u64,
    /// How it is with it.
    pub state: State,
}

/// How it is with a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Under way.
    Running,
    /// Ended as asked.
    Done,
    /// Ended otherwise; a sentence.
    Failed(String),
}

/// The jobs of a shard. Cheap to clone.
#[derive(Clone, Default)]
pub struct Jobs(Rc<Inside>);

#[derive(Default)]
struct Inside {
    jobs: RefCell<VecDeque<Job>>,
    last: Cell<u64>,
}

/// A job under way: tells how far it is. Dropped without [`Progress::end`], it has failed.
pub struct Progress {
    jobs: Jobs,
    id: u64,
}

impl Jobs {
    /// Begins one.
    #[must_use]
    pub fn begin(&self, what: String) -> Progress {
        let number = self.0.last.get() + 1;
        self.0.last.set(number);
        let id = u64::from(shard::id()) << 48 | number;
        let mut jobs = self.0.jobs.borrow_mut();
        if jobs.len() >= JOBS_KEPT_MAX
            && let Some(at) = jobs.iter().position(|job| job.state != State::Running)
        {
            jobs.remove(at);
        }
        jobs.push_back(Job { id, what, done: 0, total: 0, state: State::Running });
        Progress { jobs: self.clone(), id }
    }

    /// All that are remembered, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Job> {
        self.0.jobs.borrow().iter().cloned().collect()
    }

    /// How many are under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.jobs.borrow().iter().filter(|job| job.state == State::Running).count()
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.0.jobs.borrow_mut().iter_mut().find(|job| job.id == id) {
            change(job);
        }
    }
}

impl Progress {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// So much there is to do, as far as is known.
    pub fn total(&self, total: u64) {
        self.jobs.change(self.id, |job| job.total = total);
    }

    /// So much more is done.
    pub fn did(&self, more: u64) {
        self.jobs.change(self.id, |job| job.done += more);
    }

    /// It has ended.
    pub fn end(self, how: Result<(), String>) {
        let state = how.map_or_else(State::Failed, |()| State::Done);
        self.jobs.change(self.id, |job| {
            job.state = state;
            if job.state == State::Done {
                job.total = job.total.max(job.done);
                job.done = job.total;
            }
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.jobs.change(self.id, |job| {
            if job.state == State::Running {
                job.state = State::Failed("it broke off; see the log".to_owned());
            }
        });
    }
}
