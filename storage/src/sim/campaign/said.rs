//! What one life of a volume has decided, what was said about it, and the verdict on what a recovery shows.
//!
//! The verdict: what is there is exactly what the first k decided transactions make, with k at least the last one
//! acknowledged, and below the first one that was said to be not written. So nothing acknowledged is missing or doubled, no
//! transaction is there in part, and numbers never go back.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::model::{Model, Work};
use crate::{Decided, Lost, Ticket};

/// What one life has decided, and what was said about it.
pub struct Said {
    /// `states[i]`: after the first i transactions of this life.
    states: Vec<Model>,
    waiting: Vec<(usize, Ticket)>,
    acked: usize,
    not_written: Option<usize>,
    unknown: bool,
    /// Tells this life from others of the trial.
    life: u64,
    /// Of the log in this life.
    epoch: u64,
}

impl Said {
    /// A life that begins with this. `life` is another number for each of a trial.
    #[must_use]
    pub fn new(model: Model, life: u64) -> Self {
        Said { states: vec![model], waiting: vec![], acked: 0, not_written: None, unknown: false, life, epoch: 0 }
    }

    /// The same of a life in this epoch of the log.
    #[must_use]
    pub fn in_epoch(self, epoch: u64) -> Self {
        Said { epoch, ..self }
    }

    /// The epoch of the log in this life.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Another number for each promise: for each life and what it has decided and acknowledged.
    #[must_use]
    pub fn promise(&self) -> u64 {
        let end = self.not_written.unwrap_or(self.states.len());
        let mix = |a: u64, b: usize| (a ^ b as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        mix(mix(mix(self.life, 1), self.acked), end)
    }

    /// After everything decided.
    #[must_use]
    pub fn last(&self) -> &Model {
        self.states.last().expect("one at least")
    }

    /// After everything acknowledged.
    #[must_use]
    pub fn durable(&self) -> &Model {
        &self.states[self.acked]
    }

    /// `[i]`: after the first i transactions of this life.
    #[must_use]
    pub fn states(&self) -> &[Model] {
        &self.states
    }

    /// Those that a recovery may show.
    #[must_use]
    pub fn allowed(&self) -> &[Model] {
        &self.states[self.acked..self.not_written.unwrap_or(self.states.len())]
    }

    /// Transactions acknowledged.
    #[must_use]
    pub fn acked(&self) -> usize {
        self.acked
    }

    /// Something was decided. What was given up before that, in the same turn, is heard first: its numbers are given again.
    pub fn decided(&mut self, work: &Work, decided: Decided) {
        self.listen();
        let next = self.last().after(work, &decided.outcomes);
        self.states.push(next);
        self.waiting.push((self.states.len() - 1, decided.ticket));
    }

    /// Hears what the tickets say now.
    ///
    /// # Panics
    /// When they are acknowledged out of order.
    pub fn listen(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        self.waiting.retain_mut(|(n, ticket)| match Pin::new(ticket).poll(&mut cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => {
                assert!(*n > self.acked, "acknowledged in order");
                self.acked = *n;
                false
            }
            Poll::Ready(Err(Lost::NotWritten | Lost::NoRoom)) => {
                self.not_written = Some(self.not_written.map_or(*n, |first| first.min(*n)));
                false
            }
            Poll::Ready(Err(Lost::Unknown)) => {
                self.unknown = true;
                false
            }
        });
        // Given up for want of room: the volume goes on as if they had never been.
        if let Some(first) = self.not_written.filter(|_| !self.unknown && self.waiting.is_empty()) {
            self.states.truncate(first);
            self.not_written = None;
        }
    }

    /// The same to whoever judges a recovery: the states it may show.
    #[must_use]
    pub fn promised(&self) -> Said {
        let end = self.not_written.unwrap_or(self.states.len());
        Said {
            states: self.states[self.acked..end].to_vec(),
            waiting: vec![],
            acked: 0,
            not_written: None,
            unknown: false,
            life: self.promise(),
            epoch: self.epoch,
        }
    }

    /// What a recovery shows is one of the states that it may show: what was told then is known behind it, too.
    ///
    /// # Errors
    /// Where it breaks what was said.
    pub fn recovered(&self, found: &mut Model) -> Result<(), String> {
        match self.allowed().iter().find(|state| state.differs(found).is_none()) {
            Some(state) => found.remembers(state),
            None => return Err(self.broken_by(found)),
        }
        Ok(())
    }

    /// Where a recovery that shows `found` breaks what was said.
    fn broken_by(&self, found: &Model) -> String {
        let end = self.not_written.unwrap_or(self.states.len());
        let others: Vec<_> = (0..self.states.len()).filter(|&k| self.states[k].differs(found).is_none()).collect();
        let why = |k: usize| self.states[k].differs(found).unwrap_or_default();
        format!(
            "decided 0 to {}, acknowledged to {}, perhaps written to {}; what is there fits {others:?}. \
             Against the last acknowledged: {}. Against the last decided: {}",
            self.states.len() - 1,
            self.acked,
            end - 1,
            why(self.acked),
            why(end - 1)
        )
    }
}
