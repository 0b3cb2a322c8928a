//! EXPUNGE, UID EXPUNGE, and the expunge of CLOSE.

use ringpost_storage::{Flags, Op, Transaction, Uid};

use super::{Done, Door, commit, look};
use crate::bugs::{self, Bug};
use crate::proto::imap::{Answer, No, Set};

/// UIDs of one change. More go into the next, so that none is too large for a batch.
const UIDS_AT_ONCE: usize = 8_192;

impl Door {
    /// Removes what the client knows of and is `\Deleted`; of `only`, if given. The EXPUNGE lines are told afterwards.
    pub(super) async fn expunge(&mut self, only: Option<&Set>) -> Done {
        let (who, view) = self.selected()?;
        if view.read_only {
            return Err(No::ReadOnly.into());
        }
        let largest = view.largest_uid();
        // What came after the client last looked is not its to remove.
        let uids: Vec<Uid> = look(who, view.mailbox, |mailbox| {
            let deleted = mailbox.messages().iter().filter(|m| m.uid <= largest && m.has(Flags::DELETED));
            deleted.map(|m| m.uid).filter(|uid| only.is_none_or(|set| set.contains(*uid, largest))).collect()
        })?;
        for some in uids.chunks(UIDS_AT_ONCE) {
            let op = Op::Expunge { account: who.account, mailbox: view.mailbox, uids: some.to_vec() };
            if bugs::on(Bug::EarlyExpunge) {
                let _ = who.volume.decide(Transaction { bodies: Vec::new(), ops: vec![op] }, 0);
                continue;
            }
            commit(who, vec![op]).await?;
        }
        if !uids.is_empty() {
            tracing::info!(target: "imap", account = %who.name, messages = uids.len(), "expunged");
        }
        Ok(Answer::Done)
    }
}
