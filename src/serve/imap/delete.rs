//! DELETE: a mailbox goes with its messages. What stands below it stays, and so does its subscription (RFC 9051 §6.3.5).
//!
//! It goes by its name: where another session gives it another one at the same time, one of the two comes first.

use ringpost_storage::Op;

use super::{Done, Door, commit};
use crate::proto::imap::{Answer, Name, No};

impl Door {
    pub(super) async fn delete(&mut self, name: &Name) -> Done {
        let mailbox = self.named(name).ok_or(No::NonExistent)?;
        let who = self.who();
        let op = Op::RemoveMailbox { account: who.account, mailbox, name: name.as_str().to_owned() };
        commit(who, vec![op]).await?;
        tracing::info!(target: "imap", account = %who.name, mailbox = ?name, "deleted");
        // Sessions that have it selected, this one too, find it gone when they are next told what changed.
        Ok(Answer::Done)
    }
}
