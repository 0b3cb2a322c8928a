//! From end-of-data to the durable verdict: judge, expand, commit.
//!
//! ```text
//!   Letter (body with its trace fields, recipients of one volume)
//!      │ judge    header bounds, loops                         → refuse, for good
//!      │ expand   recipients → copies with their Delivered-To
//!      │ commit   ONE batch in the volume that owns the copies → stored | refused | unknown
//!      ▼
//!   Verdict
//! ```
//!
//! *Liberty, until transfers exist:* all recipients of one letter live in one volume; `serve::smtp` tells the
//! recipients of a second volume to come back (452 4.5.3), which every sender does at once.

pub mod commit;
pub mod judge;
pub mod letter;

use std::rc::Rc;

use ringpost_storage::Refused;

pub use letter::{Letter, Recipient};

use crate::observe::{self, Counter};
use crate::office::{BodyCharge, Deliver, Deliverable, Office};

/// What becomes of a letter. Each names whose fault it is and what comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Durable in every mailbox.
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
    /// The account went away since its RCPT.
    AccountGone,
    /// The mailbox has given its last UID.
    MailboxFull,
}

/// Takes a letter in. When this returns [`Verdict::Stored`] the letter is durable.
pub async fn accept(office: &Rc<Office>, letter: Letter) -> Verdict {
    let verdict = match judge::judge(&letter, &office.settings.hostname) {
        Err(fault) => Verdict::Unacceptable(fault),
        Ok(()) => {
            let (deliver, charge) = expand(letter);
            let fate = commit::commit(office, deliver).await;
            drop(charge);
            weigh(fate)
        }
    };
    observe::count(match verdict {
        Verdict::Stored => Counter::AcceptedSmtp,
        Verdict::Unknown => Counter::UnknownSmtp,
        Verdict::Unacceptable(_) | Verdict::Later(_) => Counter::MessagesRefusedSmtp,
    });
    verdict
}

/// The copies of a letter, and what its octets are charged to until they are committed.
fn expand(letter: Letter) -> (Deliver, BodyCharge) {
    let deliver = Deliver {
        volume: letter.volume,
        copies: letter.recipients.iter().map(Recipient::copy).collect(),
        received_ms: letter.received_ms,
        body: letter.body,
    };
    (deliver, letter.charge)
}

fn weigh(fate: Deliverable) -> Verdict {
    match fate {
        Deliverable::Stored => Verdict::Stored,
        Deliverable::Unknown => Verdict::Unknown,
        Deliverable::NoVolume | Deliverable::Refused(Refused::Failed) => Verdict::Later(Why::VolumeFailed),
        Deliverable::Refused(Refused::DiskFull) => Verdict::Later(Why::DiskFull),
        Deliverable::Refused(Refused::Busy) => Verdict::Later(Why::Busy),
        Deliverable::Refused(Refused::NoAccount | Refused::NoMailbox) => Verdict::Later(Why::AccountGone),
        Deliverable::Refused(Refused::UidsUsedUp) => Verdict::Later(Why::MailboxFull),
        Deliverable::Refused(Refused::TooLarge) => Verdict::Unacceptable(judge::Fault::TooLarge),
        Deliverable::Refused(Refused::MailboxExists | Refused::TooMany) => unreachable!("a delivery makes no mailbox"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_without_uids_is_full_and_no_letter_is_too_large_for_it() {
        let verdict = weigh(Deliverable::Refused(Refused::UidsUsedUp));
        assert!(matches!(verdict, Verdict::Later(Why::MailboxFull)));
    }
}
