//! Is this letter one we may keep? Header bounds and loops, from the bytes alone, as they come.

use ringpost_storage::Body;

use crate::intake::Recipient;
use crate::mail::header::{Bounds, Examiner, HeaderFault};

/// What is wrong with a letter, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Larger than a batch of its volume can be.
    TooLarge,
    /// What its header does wrong (A049, A051).
    Header(HeaderFault),
    /// One of its mailboxes has seen it before (A050).
    SeenBefore,
}

/// Looks at a letter from its first octet on, a part at a time.
pub struct Judge {
    examiner: Examiner,
    /// Octets of our own trace fields that are still to come.
    ours: usize,
}

impl Judge {
    /// Before the first octet. `host`: our own name; `trace_octets`: of our trace fields, which come first.
    #[must_use]
    pub fn new(host: &str, trace_octets: usize) -> Self {
        Judge { examiner: Examiner::new(host, Bounds::default()), ours: trace_octets }
    }

    /// Takes the next octets of the letter: those that a body has in memory.
    ///
    /// # Errors
    /// What is wrong with its header.
    pub fn take(&mut self, body: &Body) -> Result<(), Fault> {
        for part in body.parts() {
            if self.examiner.is_over() {
                break;
            }
            let skipped = self.ours.min(part.len());
            self.ours -= skipped;
            self.examiner.take(&part[skipped..]).map_err(Fault::Header)?;
        }
        Ok(())
    }

    /// The letter is whole.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn end(self, recipients: &[Recipient]) -> Result<(), Fault> {
        if self.end_for_each(recipients)?.contains(&true) { Err(Fault::SeenBefore) } else { Ok(()) }
    }

    /// The letter is whole. For each of these: true if he has seen it before.
    ///
    /// # Errors
    /// What is wrong with it, whoever it is for.
    pub fn end_for_each(self, recipients: &[Recipient]) -> Result<Vec<bool>, Fault> {
        let facts = self.examiner.finish().map_err(Fault::Header)?;
        let seen_before =
            |r: &Recipient| facts.delivered_to.iter().any(|name| name.eq_ignore_ascii_case(r.name.as_bytes()));
        Ok(recipients.iter().map(seen_before).collect())
    }
}
