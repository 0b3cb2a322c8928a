//! Is this letter one we may keep? Header bounds and loops, from the bytes alone.

use ringpost_storage::Body;

use crate::intake::{Letter, Recipient};
use crate::mail::header::{Bounds, Examiner, Facts, HeaderFault};

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

/// Judges a letter whose body is complete. `host`: our own name.
///
/// # Errors
/// What is wrong with it.
pub fn judge(letter: &Letter, host: &str) -> Result<(), Fault> {
    let facts = examine(&letter.body, letter.trace_octets, host).map_err(Fault::Header)?;
    if letter.recipients.iter().any(|r| seen_before(&facts, r)) {
        return Err(Fault::SeenBefore);
    }
    Ok(())
}

/// Examines the header behind our own trace fields.
fn examine(body: &Body, trace_octets: usize, host: &str) -> Result<Facts, HeaderFault> {
    let mut examiner = Examiner::new(host, Bounds::default());
    let mut ours = trace_octets;
    for part in body.parts() {
        let skipped = ours.min(part.len());
        ours -= skipped;
        examiner.take(&part[skipped..])?;
        if examiner.is_over() {
            break;
        }
    }
    examiner.finish()
}

fn seen_before(facts: &Facts, recipient: &Recipient) -> bool {
    facts.delivered_to.iter().any(|mailbox| mailbox.eq_ignore_ascii_case(recipient.name.as_bytes()))
}
