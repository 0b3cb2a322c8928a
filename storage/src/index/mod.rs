//! The index: what the log adds up to, in memory. Only durable batches reach it.
//!
//! `apply` is the one way in, for recovery and for live commits alike. `ahead` is the other half: what has been
//! decided beyond it. (For now the whole index is built by scanning the log at opening.)

pub mod ahead;
mod apply;
mod mailbox;
mod names;
mod segments;
mod transfers;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

pub use apply::{ACCOUNT_NUMBER_MAX, check};
pub use mailbox::{Mailbox, RunRef};
use names::Names;
pub use segments::SegmentIndex;
pub use transfers::{NOWHERE, Transfers, TransfersAhead};

use crate::record::Chain;
use crate::types::{AccountId, AccountInfo, Lsn, MailboxId, Modseq};

/// Everything durable.
#[derive(Default)]
pub struct Index {
    pub domains: BTreeMap<String, Rc<[u8]>>,
    pub names: HashMap<String, AccountId>,
    pub accounts: HashMap<AccountId, Account>,
    pub segments: BTreeMap<u32, SegmentIndex>,
    /// Highest UIDVALIDITY ever given; never goes back.
    pub last_uidvalidity: u32,
    /// Highest number an account of this volume was minted with.
    pub last_account: u64,
    /// Records that could not be applied: their account or mailbox is not there, because the record that made it is
    /// lost, or their number is taken.
    pub orphans: u64,
    /// Lost batches that the numbers have jumped over.
    pub gaps: Vec<(Lsn, Lsn)>,
    /// What is owed to other volumes, and how far those have sent.
    pub transfers: Transfers,
}

/// An account with everything it has.
pub struct Account {
    pub info: AccountInfo,
    /// Highest MODSEQ given.
    pub modseq: Modseq,
    pub chain: Chain,
    /// Highest mailbox id given.
    pub last_mailbox: u32,
    pub mailboxes: BTreeMap<MailboxId, Mailbox>,
    /// The same by name.
    pub names: Names,
    /// Names it is subscribed to, sorted. `MailboxInfo::subscribed` follows it.
    pub subscriptions: Vec<Box<str>>,
}

impl Account {
    /// The mailboxes with this name, by id: at most one, but after a loss.
    pub fn named(&self, name: &str) -> &[MailboxId] {
        self.names.find(&self.mailboxes, name)
    }

    pub fn is_subscribed(&self, name: &str) -> bool {
        self.subscription(name).is_ok()
    }

    /// Where this name is among the subscriptions, or belongs.
    fn subscription(&self, name: &str) -> Result<usize, usize> {
        self.subscriptions.binary_search_by(|s| (**s).cmp(name))
    }
}

impl Index {
    pub fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Option<&Mailbox> {
        self.accounts.get(&account)?.mailboxes.get(&mailbox)
    }
}
