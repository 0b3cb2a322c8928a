//! CREATE: a mailbox, perhaps for a special use. The levels above it need not be mailboxes.

use ringpost_storage::Op;

use super::{Done, Door, commit};
use crate::mailbox::names;
use crate::proto::imap::{Answer, Create};

impl Door {
    pub(super) async fn create(&mut self, create: &Create) -> Done {
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
