//! LIST and LSUB.

use super::status::counts;
use super::{Done, Door, look};
use crate::mailbox::slices::Slices;
use crate::mailbox::{names, uidls};
use crate::net::wire::Wire;
use crate::proto::imap::{Answer, List, response};

impl Door {
    pub(super) async fn list(&mut self, list: &List, wire: &mut Wire) -> Done {
        let who = self.who();
        let (mut mailboxes, subscriptions) = (who.volume.mailboxes(who.account), who.volume.subscriptions(who.account));
        mailboxes.retain(|mailbox| !uidls::is_ours(&mailbox.name));
        let mut slices = Slices::default();
        for line in names::list(&mailboxes, &subscriptions, list, &mut slices).await {
            response::list(wire.queue(), list.lsub, &line.attributes, line.name, line.child_info);
            if let (Some(items), Some(id)) = (&list.tell.status, line.mailbox) {
                // One that has gone meanwhile has no counts.
                if let Ok((counts, messages)) = look(who, id, |m| (counts(m, items), m.messages().len())) {
                    response::status(wire.queue(), line.name, &counts);
                    slices.spend((items.len() * messages) as u64).await;
                }
            }
            wire.relieve().await?;
        }
        Ok(Answer::Done)
    }
}
