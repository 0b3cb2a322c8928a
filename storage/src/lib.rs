//! Ringpost's volume: one append-only log that holds accounts, mailboxes, messages and their flags.
//!
//! The crate knows bytes, accounts, mailboxes and UIDs, and has never heard of SMTP. `FORMAT.md` describes
//! every byte on disk. All I/O goes through [`disk::Disk`], so that the same code runs on the shard's ring
//! and on a simulated disk with faults.

pub mod adopt;
pub mod backup;
mod batch;
mod body;
pub mod bugs;
pub mod check;
mod checkpoint;
mod codec;
mod commit;
mod compact;
mod decide;
pub mod disk;
mod fold;
#[cfg(feature = "sim")]
pub mod fuzz;
#[cfg(test)]
mod golden;
mod index;
mod load;
mod loaded;
pub mod overlay;
mod read;
mod record;
mod recover;
pub mod retain;
mod salvage;
mod scrub;
mod segment;
#[cfg(feature = "sim")]
pub mod sim;
pub mod space;
mod superblock;
mod together;
pub mod transaction;
pub mod transfer;
pub mod types;
pub mod unread;
mod upload;
pub mod volume;
mod walk;
mod watch;

pub use adopt::{ADOPT_FLAGS_MAX, AdoptOp};
pub use body::{Body, Pieces};
pub use compact::{Compacted, Pace, Stuck};
pub use decide::{COPY_UIDS_MAX, MAILBOXES_MAX, NAME_BYTES_MAX, PREFIX_BYTES_MAX, SUBSCRIPTIONS_MAX};
pub use fold::FoldError;
pub use loaded::Loaded;
pub use read::Reader;
pub use retain::{ForgetError, RETAINED, RETAINED_MESSAGES_MAX, Retained};
pub use segment::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use transaction::{Changed, FlagsHow, Lost, NewMailbox, Op, Outcome, Refused, Target, Transaction, Uidvalidity};
pub use transfer::{
    Carried, PendingTransfer, TRANSFER_COPIES_MAX, TRANSFERS_PENDING_MAX, TransferCopy, TransferNumber, TransferOp,
    TransferOutcome, Watermark,
};
pub use types::{
    AccountId, AccountInfo, Flags, Limits, Lsn, MailboxId, MailboxInfo, Message, Modseq, Place, Quota, Uid, VolumeId,
};
pub use upload::{Putting, Upload};
pub use volume::{
    Commit, Create, Decided, Mailbox, OpenError, ReadError, Recovered, Settings, Ticket, Volume, VolumeStats,
};
pub use watch::Watch;
