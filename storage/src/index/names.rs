//! The mailboxes of an account by name: their ids, sorted by name and id. The names themselves are in the mailboxes.
//!
//! Four octets a mailbox, because most accounts have six of them. Finding one compares log₂ n names; putting one in or
//! taking one out moves up to 4 n octets, 40 KB at the bound.

use std::collections::BTreeMap;

use super::Mailbox;
use crate::types::MailboxId;

type Mailboxes = BTreeMap<MailboxId, Mailbox>;

/// Every mailbox that is there, once.
#[derive(Debug, Default)]
pub struct Names(Vec<MailboxId>);

impl Names {
    /// Those with this name: at most one, but after a loss.
    pub fn find(&self, mailboxes: &Mailboxes, name: &str) -> &[MailboxId] {
        let from = self.0.partition_point(|id| name_of(mailboxes, *id) < name);
        let len = self.0[from..].iter().take_while(|id| name_of(mailboxes, **id) == name).count();
        &self.0[from..from + len]
    }

    /// A mailbox has come, or has another name now.
    pub fn insert(&mut self, mailboxes: &Mailboxes, id: MailboxId) {
        let at = self.position(mailboxes, id).expect_err("a mailbox has one name");
        self.0.insert(at, id);
    }

    /// A mailbox is about to go, or to have another name.
    pub fn remove(&mut self, mailboxes: &Mailboxes, id: MailboxId) {
        let at = self.position(mailboxes, id).expect("every mailbox is here");
        self.0.remove(at);
    }

    fn position(&self, mailboxes: &Mailboxes, id: MailboxId) -> Result<usize, usize> {
        let name = name_of(mailboxes, id);
        self.0.binary_search_by(|other| (name_of(mailboxes, *other), *other).cmp(&(name, id)))
    }
}

fn name_of(mailboxes: &Mailboxes, id: MailboxId) -> &str {
    &mailboxes[&id].info.name
}
