//! Who may send, as whom, and to whom: what the catalogue says before a letter is begun.
//!
//! | who | asked for | refused with |
//! |---|---|---|
//! | a stranger | the name it gives itself, MAIL FROM, RCPT TO | 550 5.7.1 |
//! | a login | whether it may send at all, and as this sender | 550 5.7.1, 553 5.7.1 (RFC 6409 §6.1) |
//!
//! Where a client comes from was asked before it was let in (see `serve`).

use super::{SmtpDoor, no};
use crate::directory::catalogue::Table;
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::proto::smtp::{Answer, Helo};
use crate::route::sender::may_send_as;
use crate::route::{Target, expand, name_of};
use crate::shard;

impl SmtpDoor {
    /// What is said instead, if this transaction may not begin.
    pub(super) fn may_begin(&self, helo: &Helo, sender: &ReversePath) -> Option<Answer> {
        match &self.account {
            Some(account) => self.login_may_send(account, sender),
            None => self.stranger_may_send(helo, sender),
        }
    }

    fn login_may_send(&self, account: &str, sender: &ReversePath) -> Option<Answer> {
        let (suspended, own) = self.office.directory(|d| {
            let suspended = d.rules().account(account).and_then(|own| own.suspended.clone());
            (suspended, may_send_as(account, sender, d))
        });
        if let Some(why) = suspended {
            tracing::warn!(target: "audit", account, peer = %self.peer, why, "refused: this account may not send");
            return Some(no(550, (5, 7, 1), "This account may not send, ask your postmaster"));
        }
        if !own {
            tracing::warn!(target: "audit", account, peer = %self.peer, from = sender.as_str(), "refused: not this account's address");
            return Some(no(553, (5, 7, 1), "That sender address is not yours"));
        }
        None
    }

    fn stranger_may_send(&self, helo: &Helo, sender: &ReversePath) -> Option<Answer> {
        let now_ms = shard::wall_ms();
        let from = sender.address().map_or_else(String::new, spelt);
        let denied = self.office.directory(|d| {
            let rules = d.rules();
            let by_helo = rules.host(Table::Helo, &helo.name, now_ms).is_some_and(|access| access.deny);
            by_helo || rules.address(Table::Sender, &from, now_ms).is_some_and(|access| access.deny)
        });
        denied.then(|| {
            tracing::info!(target: "audit", peer = %self.peer, helo = %helo.name, from, "refused by a table");
            no(550, (5, 7, 1), "Access denied")
        })
    }

    /// What is said instead, if nobody may send there.
    pub(super) fn may_go_to(&self, recipient: &ForwardPath) -> Option<Answer> {
        let ForwardPath::Address(address) = recipient else { return None };
        let to = spelt(address);
        let denied = |access: &crate::directory::catalogue::Access| access.deny;
        self.office
            .directory(|d| d.rules().address(Table::Recipient, &to, shard::wall_ms()).is_some_and(denied))
            .then(|| no(550, (5, 7, 1), "Access denied"))
    }

    /// Who gets a copy of what this login sends.
    pub(super) fn journals_of_sender(&self) -> Vec<Target> {
        let Some(account) = self.account.as_deref() else { return Vec::new() };
        let volumes = usize::from(self.office.volume_count());
        self.office.directory(|d| {
            let journals = d.rules().account(account).map_or(&[][..], |own| &own.journal);
            // One that has become old is passed over, as everywhere.
            journals.iter().filter_map(|name| expand(name, "", d, volumes).ok()).flatten().collect()
        })
    }
}

/// As the tables have it. One that nobody here could have stays as it is.
pub(super) fn spelt(address: &Address) -> String {
    name_of(address).unwrap_or_else(|| address.folded())
}
