//! RENAME: a mailbox and all below it, in one change; or what is in INBOX goes to a new mailbox (RFC 9051 §6.3.6).
//!
//! Subscriptions are of names and stay as they are. So do the mailboxes below INBOX when it is renamed.

use ringpost_storage::{COPY_UIDS_MAX, MailboxId, Op, Outcome, Target, Uid};

use super::{Done, Door, End, commit, look};
use crate::mailbox::names;
use crate::proto::imap::{Answer, Name, No, Rename};

impl Door {
    pub(super) async fn rename(&mut self, rename: &Rename) -> Done {
        let Rename { from, to } = rename;
        if from.is_inbox() {
            self.move_inbox(to).await?;
        } else {
            let who = self.who();
            let renamed = names::renamed(&who.volume.mailboxes(who.account), from, to)?;
            let op = |(mailbox, name)| Op::RenameMailbox { account: who.account, mailbox, name };
            commit(who, renamed.into_iter().map(op).collect()).await.map_err(too_many)?;
        }
        tracing::info!(target: "imap", account = %self.who().name, ?from, ?to, "renamed");
        Ok(Answer::Done)
    }

    /// INBOX always is, so its messages go. *Liberty*: past [`COPY_UIDS_MAX`] of them in several changes; each
    /// message is in one of the two mailboxes all the time.
    async fn move_inbox(&mut self, to: &Name) -> Result<(), End> {
        if self.named(to).is_some() {
            return Err(No::AlreadyExists.into());
        }
        let who = self.who();
        let account = who.account;
        let uids: Vec<Uid> = look(who, MailboxId::INBOX, |m| m.messages().iter().map(|m| m.uid).collect())?;
        let mut some = uids.chunks(COPY_UIDS_MAX);
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

/// What is too large for one batch has too many names.
fn too_many(end: End) -> End {
    match end {
        End::Answer(Answer::No(No::TooBig)) => No::Limit.into(),
        end => end,
    }
}
