//! From end-of-data to the durable verdict: judge, expand, commit.
//!
//! ```text
//!   Letter (body with its trace fields, recipients)           what of a large one has no room in memory ─► the log
//!      │ judge    header bounds, loops                         → refuse, for good
//!      │ expand   recipients → copies with their Delivered-To, and which volume decides
//!      │ commit   ONE batch in that volume: its copies, and what it owes to the others → stored | refused | unknown
//!      ▼
//!   Verdict                                     what is owed ─► courier
//! ```

pub mod commit;
pub mod judge;
pub mod letter;
pub mod mend;
pub mod strip;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;

use ringpost_storage::{Refused, TransferCopy, VolumeId};

pub use letter::{Letter, Recipient, new_id};

use crate::observe::{self, Counter};
use crate::office::quota::Kept;
use crate::office::{BodyCharge, Deliver, Deliverable, Incoming, Office};

/// What becomes of a letter. Each names whose fault it is and what comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Durable, and in every mailbox here now or in a moment.
    Stored,
    /// The letter itself is at fault, for good.
    Unacceptable(judge::Fault),
    /// We cannot take it now.
    Later(Why),
    /// It was handed to the disk and nothing vouches for it: no verdict may be given.
    Unknown,
}

/// Why not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The disk is full.
    DiskFull,
    /// The volume failed, or is not open.
    VolumeFailed,
    /// Too much is waiting.
    Busy,
    /// Too much mail is on its way in.
    TooMuch,
    /// The account went away since its RCPT.
    AccountGone,
    /// The mailbox has given its last UID.
    MailboxFull,
    /// An account would keep more than it may.
    OverQuota,
}

/// Takes a letter in. When this returns [`Verdict::Stored`] the letter is durable.
pub async fn accept(office: &Rc<Office>, letter: Letter) -> Verdict {
    let verdict = match letter.judged(&office.settings.hostname) {
        Err(verdict) => verdict,
        Ok(letter) => {
            // Its octets are charged, and those in the log pinned, until they are committed.
            let (deliver, _held) = expand(office, letter);
            weigh(decide(office, deliver).await)
        }
    };
    observe::count(match verdict {
        Verdict::Stored => Counter::AcceptedSmtp,
        Verdict::Unknown => Counter::UnknownSmtp,
        Verdict::Unacceptable(_) | Verdict::Later(_) => Counter::MessagesRefusedSmtp,
    });
    verdict
}

/// Keeps room in the volumes that do not decide, then asks the one that does.
async fn decide(office: &Rc<Office>, deliver: Deliver) -> Deliverable {
    let octets = deliver.body.len();
    let room = |copy: &TransferCopy| (copy.account, octets + copy.prefix.len() as u64);
    let wanted = deliver.owed.iter().map(|(volume, copies)| (*volume, copies.iter().map(room).collect())).collect();
    let kept = match Kept::keep(office, wanted).await {
        Ok(kept) => kept,
        Err(fate) => return fate,
    };
    let fate = commit::commit(office, deliver).await;
    if matches!(fate, Deliverable::Stored | Deliverable::Unknown) {
        kept.is_sent();
    }
    fate
}

/// Which volume decides, and what is to be made of the letter there.
fn expand(office: &Office, letter: Letter) -> (Deliver, (BodyCharge, Option<Incoming>)) {
    // One whose octets are in a log already is decided there.
    let volume = letter.incoming.as_ref().map_or_else(|| deciding_volume(office, &letter.recipients), Incoming::volume);
    let Letter { recipients, received_ms, body, charge, incoming, .. } = letter;
    let mut by_volume: BTreeMap<VolumeId, Vec<Recipient>> = BTreeMap::new();
    for recipient in recipients {
        by_volume.entry(recipient.home.volume).or_default().push(recipient);
    }
    let copies = by_volume.remove(&volume).unwrap_or_default().iter().map(Recipient::copy).collect();
    let owed = by_volume.into_iter().map(|(to, them)| (to, them.iter().map(Recipient::transfer).collect())).collect();
    (Deliver { volume, body, copies, owed, received_ms }, (charge, incoming))
}

/// The volume that decides a letter to these, who are at least one.
#[must_use]
pub fn deciding_volume(office: &Office, recipients: &[Recipient]) -> VolumeId {
    let mut sizes: BTreeMap<VolumeId, usize> = BTreeMap::new();
    recipients.iter().for_each(|r| *sizes.entry(r.home.volume).or_default() += 1);
    let (well, here) = (|volume| !office.has_failed(volume), |volume| office.volume(volume).is_some());
    deciding(sizes.into_iter(), well, here)
}

/// Of the volumes with so many recipients each, the one that decides: one that takes letters; of those where most of the
/// recipients are, one of this shard, or the first.
fn deciding(
    sizes: impl Iterator<Item = (VolumeId, usize)>,
    well: impl Fn(VolumeId) -> bool,
    here: impl Fn(VolumeId) -> bool,
) -> VolumeId {
    sizes
        .max_by_key(|(volume, size)| (well(*volume), *size, here(*volume), Reverse(*volume)))
        .map(|(volume, _)| volume)
        .expect("a letter has a recipient")
}

/// What a letter's sender is told of its fate.
fn weigh(fate: Deliverable) -> Verdict {
    match fate {
        Deliverable::Stored => Verdict::Stored,
        Deliverable::Unknown => Verdict::Unknown,
        Deliverable::NoVolume | Deliverable::Refused(Refused::Failed | Refused::NotLoaded) => {
            Verdict::Later(Why::VolumeFailed)
        }
        Deliverable::Refused(Refused::DiskFull) => Verdict::Later(Why::DiskFull),
        Deliverable::Refused(Refused::Busy) => Verdict::Later(Why::Busy),
        Deliverable::Refused(Refused::NoAccount | Refused::NoMailbox) => Verdict::Later(Why::AccountGone),
        Deliverable::Refused(Refused::OverQuota) => Verdict::Later(Why::OverQuota),
        Deliverable::Refused(Refused::UidsUsedUp) => Verdict::Later(Why::MailboxFull),
        Deliverable::Refused(Refused::TooLarge) => Verdict::Unacceptable(judge::Fault::TooLarge),
        Deliverable::Refused(Refused::MailboxExists | Refused::TooMany | Refused::UidsGiven) => {
            unreachable!("a delivery makes and renumbers no mailbox")
        }
        Deliverable::Refused(Refused::Gap(_)) => unreachable!("a delivery receives no transfer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_volume_of_most_recipients_decides_if_it_can() {
        let decides = |sizes: &[(VolumeId, usize)], failed: VolumeId, here: VolumeId| {
            deciding(sizes.iter().copied(), |v| v != failed, |v| v == here)
        };
        assert_eq!(decides(&[(0, 1)], 9, 9), 0);
        assert_eq!(decides(&[(0, 1), (1, 2), (2, 1)], 9, 0), 1);
        assert_eq!(decides(&[(0, 2), (1, 2), (2, 2)], 9, 1), 1, "of equals the one on this shard");
        assert_eq!(decides(&[(0, 2), (1, 2)], 9, 9), 0);
        assert_eq!(decides(&[(0, 1), (1, 2)], 1, 1), 0, "one that failed takes nothing");
        assert_eq!(decides(&[(1, 2)], 1, 1), 1, "which it says itself");
    }

    #[test]
    fn a_mailbox_without_uids_is_full_and_no_letter_is_too_large_for_it() {
        let verdict = weigh(Deliverable::Refused(Refused::UidsUsedUp));
        assert!(matches!(verdict, Verdict::Later(Why::MailboxFull)));
    }
}
