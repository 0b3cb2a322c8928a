//! Transfers: what a volume owes another one, exactly once through any crash of either (DESIGN §3).
//!
//! ```text
//!   source                                            target
//!   Send ──► transfer n, its body counted             Receive n, after n−1 ──► copies + watermark n, ONE batch
//!     │      (pending until sent)        n again? ──► answered as before, nothing done
//!   Sent up_to n ◄── durable there ──────────────────┘
//! ```
//!
//! - A transfer is numbered per source, target and incarnation of the source's numbers; numbers only rise and are
//!   received in order. Whoever carries names the one before: a target that has not received that one refuses with
//!   [`Refused::Gap`](crate::Refused::Gap).
//! - The target's watermark is in the very batch that makes the copies. What is received again is answered, not done.
//! - A copy whose account or mailbox is gone *bounces*: the watermark says which, until the source has settled it.
//! - Nothing is carried here: somebody reads pending transfers, brings them to the target, and says when they are durable.

use std::rc::Rc;

use crate::disk::Disk;
use crate::read::Reader;
use crate::types::{AccountId, Flags, MailboxId, Message, Uid, VolumeId};
use crate::volume::{ReadError, Volume};

/// Transfers of a volume that wait, all targets together. More: `Busy`.
pub const TRANSFERS_PENDING_MAX: usize = 65_536;
/// Copies of one transfer. More: `TooLarge`.
pub const TRANSFER_COPIES_MAX: usize = 2_000;

/// Which of the transfers from one volume to another. Later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferNumber {
    /// Of the source's numbers: when they began, milliseconds since 1970, or later.
    pub incarnation: u64,
    /// From 1 in each incarnation.
    pub number: u64,
}

/// One copy to be made in the target volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferCopy {
    /// Whose.
    pub account: AccountId,
    /// Where.
    pub mailbox: MailboxId,
    /// `user@domain`, for who has to find the account again; opaque here.
    pub name: String,
    /// Header lines of this copy alone. Canonical CRLF, at most 4 KiB.
    pub prefix: Vec<u8>,
    /// System flags.
    pub bits: u32,
    /// Keywords. (Not [`Flags`]: a copy crosses threads.)
    pub keywords: Vec<Box<str>>,
}

impl TransferCopy {
    /// Its flags.
    #[must_use]
    pub fn flags(&self) -> Flags {
        let keywords = (!self.keywords.is_empty()).then(|| self.keywords.clone().into());
        Flags { bits: self.bits, keywords }
    }

    /// The same with these flags.
    #[must_use]
    pub fn with(self, flags: &Flags) -> Self {
        TransferCopy { bits: flags.bits, keywords: flags.keywords().to_vec(), ..self }
    }
}

/// What a transfer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// A body of the same transaction, by its index.
    Body(usize),
    /// A message of this volume as its reader sees it, prefix and body.
    Message {
        /// Whose.
        account: AccountId,
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uid: Uid,
        /// It is to be expunged when the copies are durable: [`PendingTransfer::hide`].
        hide: bool,
    },
}

/// A change that concerns another volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferOp {
    /// At the source: these copies are owed to `target`. `Busy` past [`TRANSFERS_PENDING_MAX`].
    Send {
        /// The volume that is to have them.
        target: VolumeId,
        /// Of what.
        what: Carried,
        /// At least one.
        copies: Vec<TransferCopy>,
        /// INTERNALDATE, milliseconds since 1970.
        internal_ms: i64,
    },
    /// At the source: these are durable in the target, or bounced, and nobody needs them any more.
    Sent {
        /// There.
        target: VolumeId,
        /// The last of them.
        up_to: TransferNumber,
    },
    /// At the target: the copies of one transfer. `Gap` when the target has not received `after`.
    Receive {
        /// Who sends it.
        source: VolumeId,
        /// Which it is.
        number: TransferNumber,
        /// The one before it.
        after: TransferNumber,
        /// What bounced up to this one the source knows.
        settled: TransferNumber,
        /// Index into the transaction's bodies.
        body: usize,
        /// At least one.
        copies: Vec<TransferCopy>,
        /// INTERNALDATE, milliseconds since 1970.
        internal_ms: i64,
    },
    /// At the source: numbers from now on are of another incarnation. For a volume that was put back as it was before, and
    /// may have given numbers that it does not remember.
    BeginAnew,
}

/// What was decided for a [`TransferOp`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferOutcome {
    /// `Send`: its number; `None` when the message is not there (any more).
    Sending(Option<TransferNumber>),
    /// `Receive`
    Received {
        /// For each copy its UIDVALIDITY and UID; `None`: it bounced. Empty when it was received before.
        uids: Vec<Option<(u32, Uid)>>,
        /// Copies that bounced, by index; also when it was received before.
        bounced: Vec<u16>,
    },
    /// `Sent`, `BeginAnew`
    Done,
}

/// A transfer that its source owes.
#[derive(Debug)]
pub struct PendingTransfer {
    /// To whom.
    pub target: VolumeId,
    /// Which.
    pub number: TransferNumber,
    /// The copies to be made.
    pub copies: Vec<TransferCopy>,
    /// INTERNALDATE, milliseconds since 1970.
    pub internal_ms: i64,
    /// The message it was made of; `None`: a letter.
    pub from: Option<(AccountId, MailboxId, Uid)>,
    /// True when that message is to be expunged in the batch that says `Sent`, unless a copy bounced.
    pub hide: bool,
    pub(crate) carried: Message,
}

impl PendingTransfer {
    /// Octets it carries.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.carried.size()
    }
}

/// How far a volume has received from another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    /// The last one received.
    pub number: TransferNumber,
    /// Copies that bounced and that the source may not know of: which transfer, which of its copies.
    pub bounced: Vec<(TransferNumber, u16)>,
}

impl Watermark {
    /// The copies of a transfer that bounced.
    #[must_use]
    pub fn bounced_of(&self, number: TransferNumber) -> Vec<u16> {
        self.bounced.iter().filter(|(of, _)| *of == number).map(|(_, copy)| *copy).collect()
    }
}

impl<D: Disk> Volume<D> {
    /// Volumes this one owes transfers, with how many (durable ones).
    #[must_use]
    pub fn transfer_targets(&self) -> Vec<(VolumeId, usize)> {
        self.0.index.borrow().transfers.targets()
    }

    /// The first `limit` pending transfers to `target` behind `after`, in order (durable ones).
    #[must_use]
    pub fn pending_transfers(&self, target: VolumeId, after: TransferNumber, limit: usize) -> Vec<Rc<PendingTransfer>> {
        self.0.index.borrow().transfers.pending(target, after, limit)
    }

    /// The last transfer to `target` that was settled with [`TransferOp::Sent`].
    #[must_use]
    pub fn transfers_sent(&self, target: VolumeId) -> TransferNumber {
        self.0.index.borrow().transfers.sent(target)
    }

    /// How far this volume has received from `source` (durable).
    #[must_use]
    pub fn watermark(&self, source: VolumeId) -> Watermark {
        self.0.index.borrow().transfers.watermark(source).cloned().unwrap_or_default()
    }

    /// What a pending transfer carries, whole and verified.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_transfer(&self, transfer: &PendingTransfer) -> Result<Vec<u8>, ReadError> {
        self.0.read(&transfer.carried).await
    }

    /// For [`Volume::read_on`]: what a transfer carries, read a bit at a time.
    #[must_use]
    pub fn transfer_reader(&self, transfer: &PendingTransfer) -> Reader {
        Reader::new(transfer.carried.clone())
    }
}
