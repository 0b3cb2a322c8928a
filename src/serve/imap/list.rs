//! LIST and LSUB.

use super::{Done, Door};
use crate::mailbox::names;
use crate::net::wire::Wire;
use crate::proto::imap::{Answer, Pattern, response};

impl Door {
    pub(super) async fn list(&mut self, pattern: &Pattern, lsub: bool, wire: &mut Wire) -> Done {
        let who = self.who();
        for line in names::list(&who.volume.mailboxes(who.account), pattern, lsub) {
            response::list(wire.queue(), lsub, &line.attributes, &line.name);
            wire.relieve().await?;
        }
        Ok(Answer::Done)
    }
}
