//! The index: what the log adds up to. Only durable batches reach it.
//!
//! Of every account there is an [`Entry`], always; the rest of it, an [`Account`], while somebody looks at it. `apply` is
//! the one way in, for recovery and for live commits alike, and never reads the disk. `ahead` is the other half: what has
//! been decided beyond it.

mod account;
pub mod ahead;
mod apply;
mod entries;
mod forwards;
mod mailbox;
mod marks;
mod memory;
mod names;
mod segments;
mod tally;
mod transfers;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

pub use account::{Account, blank};
pub use apply::{ACCOUNT_NUMBER_MAX, check};
pub use entries::{Entries, Entry, hash_of};
pub use forwards::Forwards;
pub use mailbox::Mailbox;
#[cfg(test)]
pub use marks::Marks;
pub use memory::Memory;
pub use segments::{Segment, Segments};
pub use transfers::{Transfers, TransfersAhead};

use crate::record::{Chain, RetiredRun};
use crate::types::{AccountId, Lsn, MailboxId, Message, Modseq, Place};

/// Everything durable.
#[derive(Default)]
pub struct Index {
    pub domains: BTreeMap<String, Rc<[u8]>>,
    pub entries: Entries,
    /// Accounts that are in memory whole.
    pub loaded: HashMap<AccountId, Account>,
    pub segments: Segments,
    /// Highest UIDVALIDITY ever given; never goes back.
    pub last_uidvalidity: u32,
    /// Highest number an account of this volume was minted with.
    pub last_account: u64,
    /// Records that could not be applied: their account or mailbox is not there, because the record that made it is
    /// lost, or their number is taken.
    pub orphans: u64,
    /// Jumps of the numbers over lost batches, as they lie in the log.
    pub gaps: Vec<Jump>,
    /// Accounts that are being read, with their records that came meanwhile.
    pub arriving: HashMap<AccountId, Vec<Arrived>>,
    /// What is owed to other volumes, and how far those have sent.
    pub transfers: Transfers,
    /// Octets that were found damaged: segment, offset, length.
    pub damaged: Vec<(u32, u64, u64)>,
    /// Where things are that were moved.
    pub forwards: Forwards,
    /// Segments that are gone, as the last record says that tells of them; all before `head` are.
    pub retired: Vec<RetiredRun>,
    pub head: u32,
    /// While the log is read: some of it is gone, and records may belong to what is not known yet.
    pub holes: bool,
    /// Records that did not fit, and perhaps only because some of the log is gone.
    pub strays: u64,
    /// The last of them of each account that nobody knows yet: a root may come, or a put. Empty once the log is read.
    pub passed: HashMap<AccountId, Chain>,
    /// Users of bodies are not known for sure: some of the log is gone, and an account cannot be read.
    pub uncounted: bool,
    /// Batches that were missing when the log was read, first and last of each.
    pub missing: Vec<(Lsn, Lsn)>,
    /// Lists of pieces of which the last user is gone, and whose pieces are still counted.
    pub debts: BTreeSet<Place>,
    /// LSN of the last batch that was applied.
    pub applied: Lsn,
    /// What the accounts in memory take.
    pub memory: Memory,
    /// Accounts that the last batch made due to be folded.
    pub due: Vec<AccountId>,
    /// Records behind a small root before its account is due.
    pub fold_at: u32,
    /// The volume's secret.
    pub seed: u64,
    /// Mailboxes changed by the last batch, for who watches them.
    pub changed: Vec<ChangedMailbox>,
    /// False while the log is read at opening: new accounts are not kept in memory, and nobody watches.
    pub live: bool,
}

/// A record that became durable while its account was being read.
pub struct Arrived {
    pub place: Place,
    pub lsn: Lsn,
    /// The record with its frame.
    pub bytes: Rc<[u8]>,
}

/// A mailbox that the last batch changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedMailbox {
    pub account: AccountId,
    /// `None`: the account is gone.
    pub mailbox: Option<MailboxId>,
    pub gone: bool,
}

/// Where the numbers jumped, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    pub place: Place,
    pub lsn: Lsn,
    pub numbers: u32,
    pub modseqs: Modseq,
    /// Lost batches that were jumped over.
    pub lost: Vec<(Lsn, Lsn)>,
}

impl Index {
    /// The account with this name.
    pub fn named(&self, name: &str) -> Option<AccountId> {
        self.entries.named(hash_of(self.seed, name))
    }

    /// The account, if it is in memory.
    pub fn account(&self, account: AccountId) -> Option<&Account> {
        self.loaded.get(&account)
    }

    /// The mailbox, if its account is in memory.
    pub fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Option<&Mailbox> {
        self.loaded.get(&account)?.mailboxes.get(&mailbox)
    }

    /// A message as it is to be written: what it has been moved to, where that is known.
    pub fn fresh<'m>(&self, message: &'m Message) -> Cow<'m, Message> {
        let (prefix, body) = (self.forwards.resolve(message.prefix), self.forwards.resolve(message.body));
        match (prefix, body) == (message.prefix, message.body) {
            true => Cow::Borrowed(message),
            false => Cow::Owned(Message { prefix, body, ..message.clone() }),
        }
    }

    /// Lost batches that the numbers have jumped over.
    pub fn lost(&self) -> Vec<(Lsn, Lsn)> {
        self.gaps.iter().flat_map(|gap| gap.lost.iter().copied()).collect()
    }
}
