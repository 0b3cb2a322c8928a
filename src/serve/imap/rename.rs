//! RENAME: a mailbox and all below it, in one change; or what is in INBOX goes to a new mailbox (RFC 9051 §6.3.6).
//!
//! - Subscriptions are of names and stay as they are. So do the mailboxes below INBOX when it is renamed.
//! - What is below is found among the durable names, and all of it must still have those when the change is decided. If
//!   another session got in between, that is waited for and looked at anew: a mailbox that went first is gone, one that was
//!   renamed first is where it is now.

use ringpost_storage::{MailboxId, Op, Outcome, Target, Uid};

use super::copy::MOVED_AT_ONCE;
use super::{Done, Door, End, commit, look};
use crate::mailbox::names::{self, Renamed};
use crate::office::Resident;
use crate::proto::imap::{Answer, Name, No, Rename};

/// Times that a hierarchy is looked at for one RENAME. After so many it is told to come again later: other sessions of this
/// account do nothing but rename.
const LOOKS_MAX: u32 = 5;

impl Door {
    pub(super) async fn rename(&mut self, rename: &Rename) -> Done {
        let Rename { from, to } = rename;
        if from.is_inbox() {
            self.move_inbox(to).await?;
        } else {
            rename_all(self.who(), from, to).await?;
        }
        tracing::info!(target: "imap", account = %self.who().name, ?from, ?to, "renamed");
        Ok(Answer::Done)
    }

    /// INBOX always is, so its messages go. *Liberty*: past [`MOVED_AT_ONCE`] of them in several changes; each
    /// message is in one of the two mailboxes all the time.
    async fn move_inbox(&mut self, to: &Name) -> Result<(), End> {
        if self.named(to).is_some() {
            return Err(No::AlreadyExists.into());
        }
        let who = self.who();
        let account = who.account;
        let uids: Vec<Uid> = look(who, MailboxId::INBOX, |m| m.messages().iter().map(|m| m.uid).collect())?;
        let mut some = uids.chunks(MOVED_AT_ONCE);
        let go = |uids: &[Uid], to| Op::Move { account, from: MailboxId::INBOX, uids: uids.to_vec(), to };
        let name = to.as_str().to_owned();
        let make = Op::CreateMailbox { account, name, special_use: 0, subscribed: false };
        let first = go(some.next().unwrap_or_default(), Target::Made(0));
        let made = commit(who, vec![make, first]).await?;
        let Some(Outcome::Mailbox(mailbox, _)) = made.first() else { return Err(No::ServerBug.into()) };
        for uids in some {
            commit(who, vec![go(uids, Target::Mailbox(*mailbox))]).await?;
        }
        Ok(())
    }
}

/// A mailbox and all below it.
async fn rename_all(who: &Resident, from: &Name, to: &Name) -> Result<(), End> {
    let account = who.account;
    let op = |Renamed { mailbox, from, to }| Op::RenameMailbox { account, mailbox, from, name: to };
    for _ in 0..LOOKS_MAX {
        let renamed = names::renamed(&who.volume.mailboxes(account), from, to)?;
        match commit(who, renamed.into_iter().map(op).collect()).await {
            // One of them has gone or has another name, by a change that is decided and may not be durable yet. What comes
            // after it is durable after it, also when that changes nothing.
            Err(End::Answer(Answer::No(No::NonExistent))) => commit(who, Vec::new()).await?,
            done => return done.map(drop).map_err(too_many),
        };
    }
    Err(No::Unavailable.into())
}

/// What is too large for one batch has too many names.
fn too_many(end: End) -> End {
    match end {
        End::Answer(Answer::No(No::TooBig)) => No::Limit.into(),
        end => end,
    }
}
