//! CREATE: a mailbox, perhaps for a special use. The levels above it need not be mailboxes.

use ringpost_storage::Op;

use super::{Done, Door, commit};
use crate::mailbox::names;
use crate::proto::imap::{Answer, Create, No};

impl Door {
    pub(super) async fn create(&mut self, create: &Create) -> Done {
        // Clients ask this of mailboxes that are there, at every start: it is nothing for the log.
        if self.named(&create.mailbox).is_some() {
            return Err(No::AlreadyExists.into());
        }
        let who = self.who();
        let op = Op::CreateMailbox {
            account: who.account,
            name: create.mailbox.as_str().to_owned(),
            special_use: names::use_code(create.special_use),
            subscribed: false,
        };
        commit(who, vec![op]).await?;
        tracing::info!(target: "imap", account = %who.name, mailbox = ?create.mailbox, "created");
        Ok(Answer::Done)
    }
}
