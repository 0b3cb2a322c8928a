//! What changed in the selected mailbox, told after each command.

use std::io;

use ringpost_storage::Flags;

use super::{Door, WINDOW, look};
use crate::net::wire::Wire;
use crate::proto::imap::response::{self, FetchLine};

impl Door {
    /// Tells EXPUNGE if it may be told, EXISTS, and changed flags.
    pub(super) async fn tell(&mut self, wire: &mut Wire, may_expunge: bool) -> io::Result<()> {
        let (Some(who), Some(view)) = (&self.who, &mut self.view) else { return Ok(()) };
        let update =
            look(who, view.mailbox, |m| view.update(m.messages(), m.highest_modseq(), m.version(), may_expunge));
        let Ok(changes) = update else {
            // The mailbox is gone: its session keeps nothing of it, and its commands are answered NO.
            self.view = None;
            return Ok(());
        };
        for sequence in changes.expunged {
            response::expunge(wire.queue(), sequence);
            wire.relieve().await?;
        }
        if let Some(messages) = changes.exists {
            response::exists(wire.queue(), messages);
        }
        for some in changes.flags.chunks(WINDOW) {
            let flags: Vec<Option<Flags>> = look(who, view.mailbox, |m| {
                some.iter().map(|(_, uid)| m.by_uid(*uid).map(|m| m.flags.clone())).collect()
            })
            .unwrap_or_default();
            for ((sequence, uid), flags) in some.iter().zip(flags) {
                let Some(flags) = flags else { continue };
                flags_line(wire.queue(), *sequence, Some(*uid), &flags);
                wire.relieve().await?;
            }
        }
        Ok(())
    }
}

/// `* n FETCH (FLAGS (…))`, with the UID if given.
pub(super) fn flags_line(out: &mut Vec<u8>, sequence: u32, uid: Option<u32>, flags: &Flags) {
    let mut line = FetchLine::begin(out, sequence);
    if let Some(uid) = uid {
        line.uid(out, uid);
    }
    line.flags(out, flags.bits, flags.keywords(), false);
    line.end(out);
}
