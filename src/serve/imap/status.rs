//! STATUS: counts of a mailbox that need not be selected.

use ringpost_storage::{Flags, Mailbox};

use super::{Done, Door, look};
use crate::net::wire::Wire;
use crate::proto::imap::{Answer, No, Status, StatusItem, response};

impl Door {
    pub(super) async fn status(&mut self, status: &Status, wire: &mut Wire) -> Done {
        let id = self.named(&status.mailbox).ok_or(No::NonExistent)?;
        let counts = look(self.who(), id, |m| counts(m, &status.items))?;
        response::status(wire.queue(), status.mailbox.as_str(), &counts);
        wire.relieve().await?;
        Ok(Answer::Done)
    }
}

/// The counts, in the order asked.
pub(super) fn counts(mailbox: &Mailbox, items: &[StatusItem]) -> Vec<(StatusItem, u64)> {
    items.iter().map(|item| (*item, count(mailbox, *item))).collect()
}

fn count(mailbox: &Mailbox, item: StatusItem) -> u64 {
    match item {
        StatusItem::Messages => mailbox.messages().len() as u64,
        // No session ever sees \Recent: see `mailbox::view`.
        StatusItem::Recent => 0,
        StatusItem::UidNext => mailbox.uidnext().into(),
        StatusItem::UidValidity => mailbox.info().uidvalidity.into(),
        StatusItem::Unseen => mailbox.messages().iter().filter(|m| !m.has(Flags::SEEN)).count() as u64,
        StatusItem::HighestModSeq => mailbox.highest_modseq(),
        StatusItem::Size => mailbox.messages().iter().map(|m| m.size()).sum(),
        StatusItem::Deleted => mailbox.messages().iter().filter(|m| m.has(Flags::DELETED)).count() as u64,
    }
}
