//! What changed in the selected mailbox, told after each command, and at once to who idles.
//!
//! A mailbox that another session removed cannot be told message by message: nobody answers for its UIDs any more, and a
//! mailbox with the same name may be there by now. RFC 2180 §3 leaves the choice. We say BYE and close, as other servers do:
//! every client knows what to do when a connection ends, and finds the mailbox missing when it comes back. EXPUNGE lines for
//! all would make one that keeps two sides in step (mbsync, offlineimap) remove all on the other side; NO to every command
//! leaves one that idles waiting for ever. The command under way has its tagged line first or last, so no verdict is lost.

use std::io;

use ringpost_storage::{Flags, Modseq, Uid};

use super::{Door, WINDOW, look};
use crate::mailbox::view::Changes;
use crate::net::wire::Wire;
use crate::proto::imap::response::{self, FetchLine};

impl Door {
    /// Tells EXPUNGE if it may be told, EXISTS, and changed flags.
    pub(super) async fn tell(&mut self, wire: &mut Wire, may_expunge: bool) -> io::Result<Still> {
        let (Some(who), Some(view)) = (&self.who, &mut self.view) else { return Ok(Still::There) };
        let update =
            look(who, view.mailbox, |m| view.update(m.messages(), m.highest_modseq(), m.version(), may_expunge));
        let Ok(changes) = update else { return Ok(Still::Gone) };
        if let Some(bell) = self.bell.as_mut().filter(|_| changes != Changes::default()) {
            bell.heeded();
        }
        for sequence in changes.expunged {
            response::expunge(wire.queue(), sequence);
            wire.relieve().await?;
        }
        if let Some(messages) = changes.exists {
            response::exists(wire.queue(), messages);
        }
        for some in changes.flags.chunks(WINDOW) {
            let now: Vec<Option<(Flags, Modseq)>> = look(who, view.mailbox, |m| {
                some.iter().map(|(_, uid)| m.by_uid(*uid).map(|m| (m.flags(), m.modseq))).collect()
            })
            .unwrap_or_default();
            for ((sequence, uid), now) in some.iter().zip(now) {
                let Some((flags, modseq)) = now else { continue };
                // It may have changed again while the peer took the lines before.
                view.tell(*uid, modseq);
                let modseq = self.condstore.then_some(modseq);
                Told { uid: Some(*uid), flags: Some(&flags), modseq }.write(wire.queue(), *sequence);
                wire.relieve().await?;
            }
        }
        Ok(Still::There)
    }
}

/// Whether the selected mailbox is there, if one is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Still {
    There,
    Gone,
}

/// What is told of a message whose flags changed.
pub(super) struct Told<'a> {
    pub(super) uid: Option<Uid>,
    pub(super) flags: Option<&'a Flags>,
    pub(super) modseq: Option<Modseq>,
}

impl Told<'_> {
    /// `* n FETCH (UID … FLAGS (…) MODSEQ (…))`
    pub(super) fn write(&self, out: &mut Vec<u8>, sequence: u32) {
        let mut line = FetchLine::begin(out, sequence);
        if let Some(uid) = self.uid {
            line.uid(out, uid);
        }
        if let Some(flags) = self.flags {
            line.flags(out, flags.bits, flags.keywords(), false);
        }
        if let Some(modseq) = self.modseq {
            line.modseq(out, modseq);
        }
        line.end(out);
    }
}
