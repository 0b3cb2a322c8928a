//! SUBSCRIBE and UNSUBSCRIBE. A subscription is of a name, with or without a mailbox (RFC 9051 §6.3.7).

use ringpost_storage::Op;

use super::{Done, Door, commit};
use crate::proto::imap::{Answer, Name};

impl Door {
    pub(super) async fn subscribe(&mut self, name: &Name, on: bool) -> Done {
        let who = self.who();
        let op = Op::Subscribe { account: who.account, name: name.as_str().to_owned(), on };
        commit(who, vec![op]).await?;
        Ok(Answer::Done)
    }
}
