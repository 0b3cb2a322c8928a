//! STATUS: counts of a mailbox that need not be selected.

use ringpost_storage::{Flags, Mailbox};

use super::{Done, Door, look};
use crate::net::wire::Wire;
use crate::proto::imap::{Answer, No, Status, StatusItem, response};

impl Door {
    pub(super) async fn status(&mut self, status: &Status, wire: &mut Wire) -> Done {
        let id = self.named(&status.mailbox).ok_or(No::NonExistent)?;
        let counts: Vec<_> = look(self.who(), id, |m| status.items.iter().map(|i| (*i, count(m, *i))).collect())?;
        response::status(wire.queue(), status.mailbox.as_str(), &counts);
        wire.relieve().await?;
        Ok(Answer::Done)
    }
}

fn count(mailbox: &Mailbox, item: StatusItem) -> u32 {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    match item {
        StatusItem::Messages => number(mailbox.messages().len()),
        // No session ever sees \Recent: see `mailbox::view`.
        StatusItem::Recent => 0,
        StatusItem::UidNext => mailbox.uidnext(),
        StatusItem::UidValidity => mailbox.info().uidvalidity,
        StatusItem::Unseen => number(mailbox.messages().iter().filter(|m| !m.flags.has(Flags::SEEN)).count()),
    }
}
