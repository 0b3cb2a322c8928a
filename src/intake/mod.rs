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
//! *Liberty, until transfers exist:* all recipients of one letter from another host live in one volume; `serve::smtp`
//! tells the recipients of a second volume to come back (452 4.5.3), which every such sender does at once. A mail program
//! does not: its letter is decided in one batch a volume, one after the other, and answered when all of them are durable.
//! Should a later one be refused, the sender is told to send again and the first recipients may have the letter twice.

pub mod commit;
pub mod judge;
pub mod letter;

use std::rc::Rc;

use ringpost_storage::{Body, Refused, VolumeId};

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
            let Letter { volume, recipients, received_ms, body, charge, .. } = letter;
            let (here, elsewhere) = recipients.into_iter().partition(|r| r.home.volume == volume);
            let fate = decide(office, Parts { volume, here, elsewhere, received_ms, _charge: charge }, body).await;
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

/// A letter's recipients: those of the volume that decides now, and those of later ones.
struct Parts {
    volume: VolumeId,
    here: Vec<Recipient>,
    elsewhere: Vec<Recipient>,
    received_ms: i64,
    /// What its octets are charged to until they are committed.
    _charge: BodyCharge,
}

/// One batch in each volume. The first that does not store it ends it.
async fn decide(office: &Rc<Office>, mut parts: Parts, mut body: Body) -> Deliverable {
    loop {
        let Some(next) = parts.elsewhere.first().map(|r| r.home.volume) else {
            return commit::commit(office, parts.deliver(body)).await;
        };
        // The batch takes the body along: the next volume's is a copy. So such a letter holds up to twice what it is
        // charged with, and only users who logged in can send one.
        let mut copy = Body::with_hint(usize::try_from(body.len()).unwrap_or(usize::MAX));
        body.parts().for_each(|part| copy.push(part));
        let fate = commit::commit(office, parts.deliver(body)).await;
        if fate != Deliverable::Stored {
            return fate;
        }
        body = copy;
        let (here, elsewhere) = parts.elsewhere.into_iter().partition(|r| r.home.volume == next);
        parts = Parts { volume: next, here, elsewhere, ..parts };
    }
}

impl Parts {
    /// The copies of the volume that decides now.
    fn deliver(&self, body: Body) -> Deliver {
        Deliver {
            volume: self.volume,
            copies: self.here.iter().map(Recipient::copy).collect(),
            received_ms: self.received_ms,
            body,
        }
    }
}

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
    fn a_mailbox_without_uids_is_full_and_no_letter_is_too_large_for_it() {
        let verdict = weigh(Deliverable::Refused(Refused::UidsUsedUp));
        assert!(matches!(verdict, Verdict::Later(Why::MailboxFull)));
    }
}
