//! An account in memory: what has to be held while its mailboxes are looked at or changed.
//!
//! Accounts are loaded on demand and dropped when memory is short, never while a [`Loaded`] holds them. So: load for
//! one command, not for a session that sleeps. Deliveries into INBOX need none of this.

use std::rc::Rc;

use crate::disk::Disk;
use crate::index::Mailbox;
use crate::types::{AccountId, MailboxId, MailboxInfo, Uid};
use crate::volume::Volume;
use crate::watch::Watch;

/// Holds an account in memory, and shows its durable state. When the account is removed meanwhile, it is empty.
pub struct Loaded<D: Disk> {
    volume: Volume<D>,
    account: AccountId,
}

impl<D: Disk> Loaded<D> {
    /// The account is in memory.
    pub(crate) fn new(volume: Volume<D>, account: AccountId) -> Self {
        volume.0.hold(account, 1);
        Loaded { volume, account }
    }

    /// Which account.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Its mailboxes, by id.
    #[must_use]
    pub fn mailboxes(&self) -> Vec<MailboxInfo> {
        self.volume.mailboxes(self.account)
    }

    /// The mailbox with this name.
    #[must_use]
    pub fn mailbox_named(&self, name: &str) -> Option<MailboxId> {
        self.volume.mailbox_named(self.account, name)
    }

    /// Names it is subscribed to, sorted; there need be no mailbox with such a name (RFC 9051 §6.3.7).
    #[must_use]
    pub fn subscriptions(&self) -> Vec<String> {
        self.volume.subscriptions(self.account)
    }

    /// Looks at a mailbox.
    pub fn mailbox<T>(&self, mailbox: MailboxId, look: impl FnOnce(&Mailbox) -> T) -> Option<T> {
        self.volume.mailbox(self.account, mailbox, look)
    }

    /// Watches a mailbox from now on. The [`Watch`] does not keep the account in memory.
    #[must_use]
    pub fn watch(&self, mailbox: MailboxId) -> Watch {
        self.volume.watch(self.account, mailbox)
    }

    /// Summaries kept for these messages, `None` where there is none.
    pub async fn summaries(&self, mailbox: MailboxId, uids: &[Uid]) -> Vec<Option<Rc<[u8]>>> {
        self.volume.summaries(self.account, mailbox, uids).await
    }
}

impl<D: Disk> Clone for Loaded<D> {
    fn clone(&self) -> Self {
        Loaded::new(self.volume.clone(), self.account)
    }
}

impl<D: Disk> Drop for Loaded<D> {
    fn drop(&mut self) {
        self.volume.0.hold(self.account, -1);
    }
}
