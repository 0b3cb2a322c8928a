//! DELETE: a mailbox goes with its messages. What stands below it stays, and so does its subscription (RFC 9051 §6.3.5).

use ringpost_storage::Op;

use super::{Done, Door, commit};
use crate::proto::imap::{Answer, Name, No};

impl Door {
    pub(super) async fn delete(&mut self, name: &Name) -> Done {
        let mailbox = self.named(name).ok_or(No::NonExistent)?;
        let who = self.who();
        commit(who, vec![Op::RemoveMailbox { account: who.account, mailbox }]).await?;
        tracing::info!(target: "imap", account = %who.name, mailbox = ?name, "deleted");
        // Sessions that have it selected, this one too, find it gone when they are next told what changed.
        Ok(Answer::Done)
    }
}
