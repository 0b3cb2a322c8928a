//! Who may send, as whom, and to whom: what the catalogue says before a letter is begun.
//!
//! | who | asked for | refused with |
//! |---|---|---|
//! | a stranger | the name it gives itself, MAIL FROM, RCPT TO | 550 5.7.1 |
//! | a login | whether it may send at all, and as this sender | 550 5.7.1, 553 5.7.1 (RFC 6409 §6.1) |
//! | | how much it has sent lately | 450 4.7.1, 452 4.5.3 |
//! | | whether it wrote the letter: From and Sender | 553 5.7.1 (as `submission.sender` says) |
//!
//! Where a client comes from was asked before it was let in (see `serve`).

use super::{SmtpDoor, no};
use crate::directory::catalogue::{SendLimits, Table};
use crate::intake::mend::Mender;
use crate::mail::address::{Address, ReversePath};
use crate::office::Request;
use crate::office::sending::{self, Allowance, SenderCheck};
use crate::proto::smtp::{Answer, Helo};
use crate::route::sender::{may_send_as, may_write_as};
use crate::route::{Target, expand, name_of};
use crate::shard;

/// How much a login may send with one transaction.
pub(super) struct May {
    limits: SendLimits,
    /// Recipients of one letter.
    each: u32,
    /// Recipients of all of them, for now.
    left: u32,
}

impl SmtpDoor {
    /// What is said instead, if this transaction may not begin.
    pub(super) fn may_begin(&self, helo: &Helo, sender: &ReversePath) -> Option<Answer> {
        match &self.account {
            Some(account) => self.login_may_send(account, sender),
            None => self.stranger_may_send(helo, sender),
        }
    }

    fn login_may_send(&self, account: &str, sender: &ReversePath) -> Option<Answer> {
        if let Some(refused) = self.is_suspended() {
            return Some(refused);
        }
        let own = self.office.directory(|d| may_send_as(account, sender, d));
        if !own && self.office.settings.sender_check != SenderCheck::Off {
            if self.may_say() {
                tracing::warn!(target: "audit", account, peer = %self.peer, from = sender.as_str(), "refused: not this account's address");
            }
            return Some(no(553, (5, 7, 1), "That sender address is not yours"));
        }
        None
    }

    /// What is said instead, if this login may send nothing.
    pub(super) fn is_suspended(&self) -> Option<Answer> {
        let account = self.account.as_deref()?;
        let why = self.office.directory(|d| d.rules().account(account).and_then(|own| own.suspended.clone()))?;
        if self.may_say() {
            tracing::warn!(target: "audit", account, peer = %self.peer, why, "refused: this account may not send");
        }
        Some(no(550, (5, 7, 1), "This account may not send, ask your postmaster"))
    }

    /// What is said instead, if this login wrote a letter with somebody else's address in From or Sender.
    pub(super) fn wrote_as_another(&self, mender: &Mender) -> Option<Answer> {
        let account = self.account.as_deref()?;
        if self.office.settings.sender_check != SenderCheck::Header {
            return None;
        }
        let own = |header| self.office.directory(|d| may_write_as(account, header, d));
        if mender.authors().is_some_and(own) {
            return None;
        }
        if self.may_say() {
            tracing::warn!(target: "audit", account, peer = %self.peer, "refused: From or Sender is not this account's address");
        }
        Some(no(553, (5, 7, 1), "From and Sender of a message must be addresses of yours"))
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
            if self.may_say() {
                tracing::info!(target: "audit", peer = %self.peer, helo = %helo.name, from, "refused by a table");
            }
            no(550, (5, 7, 1), "Access denied")
        })
    }

    /// What is said instead, if this login has sent as much as it may.
    pub(super) async fn may_send_now(&mut self) -> Option<Answer> {
        let account = self.account.clone()?;
        let limits = self.office.directory(|d| d.rules().account(&account).map(|own| own.limits).unwrap_or_default());
        let limits = limits.or(self.office.settings.send_limits);
        let asked = self.ask_home(&account, limits, (0, 0)).await;
        match asked {
            Ok(recipients_left) => {
                let each = limits.recipients_message.filter(|n| *n > 0).unwrap_or(u32::MAX);
                self.may = Some(May { limits, each, left: recipients_left });
                None
            }
            Err(refused) => Some(refused),
        }
    }

    /// What is said instead, if the letter of this login may have no more recipients.
    pub(super) fn may_have_another(&self) -> Option<Answer> {
        let may = self.may.as_ref()?;
        let count = u32::try_from(self.paths).unwrap_or(u32::MAX);
        match () {
            () if count >= may.each => Some(no(452, (4, 5, 3), "Too many recipients, send it again to the rest")),
            () if count >= may.left => Some(too_much()),
            () => None,
        }
    }

    /// The letter is about to come: it counts. What is said instead, if another one was quicker.
    pub(super) async fn counts(&self) -> Option<Answer> {
        let (account, may) = (self.account.as_ref()?, self.may.as_ref()?);
        let recipients = u32::try_from(self.paths).unwrap_or(u32::MAX);
        self.ask_home(account, may.limits, (1, recipients)).await.err()
    }

    async fn ask_home(&self, account: &str, limits: SendLimits, wanted: (u32, u32)) -> Result<u32, Answer> {
        let Some(home) = self.office.directory(|d| d.home(account)) else {
            return Err(no(450, (4, 2, 1), "This account went away meanwhile, try again later"));
        };
        match sending::ask(&self.office, home, limits, wanted).await {
            Allowance::Yes { recipients_left } => Ok(recipients_left),
            Allowance::No { suspend } => {
                if self.may_say() {
                    tracing::warn!(target: "audit", account, peer = %self.peer, "refused: it has sent as much as it may");
                }
                if suspend {
                    let request = Request::Suspend { name: account.to_owned() };
                    // Where the word does not get through it is said again within the next hour.
                    let _ = self.office.mesh.call(0, request, 0).await;
                }
                Err(too_much())
            }
        }
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

fn too_much() -> Answer {
    no(450, (4, 7, 1), "You have sent as much as you may for now, try again later")
}

/// As the tables have it, its domain in A-labels. One that nobody here could have stays as it is.
pub(super) fn spelt(address: &Address) -> String {
    name_of(address).unwrap_or_else(|| match idna::domain_to_ascii(address.domain()) {
        Ok(domain) => format!("{}@{domain}", address.local().to_lowercase()),
        Err(_) => address.folded(),
    })
}
