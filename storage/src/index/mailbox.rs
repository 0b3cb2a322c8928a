//! A mailbox: messages in UID order, the history of its expunges, and where its summaries are.

use std::collections::VecDeque;

use crate::types::{MailboxInfo, Message, Modseq, Place, Uid};

/// Expunges remembered for one mailbox. Older ones are forgotten, and the floor rises: below it a client is told
/// to compare UIDs itself (RFC 7162 §3.2.7 lets VANISHED be a superset).
pub const EXPUNGED_MAX: usize = 10_000;

/// A mailbox's durable state, seen from inside [`Volume::mailbox`](crate::Volume::mailbox).
#[derive(Debug)]
pub struct Mailbox {
    pub(crate) info: MailboxInfo,
    pub(crate) uidnext: Uid,
    pub(crate) highest_modseq: Modseq,
    pub(crate) messages: Vec<Message>,
    pub(crate) expunged: VecDeque<(Modseq, Uid)>,
    /// The history is complete for changes after this.
    pub(crate) floor: Modseq,
    pub(crate) version: u64,
    /// Octets of keywords of the message that has or had most of them.
    pub(crate) keyword_bytes_max: usize,
    /// Oldest first.
    pub(crate) runs: Vec<RunRef>,
}

/// Where a run of summaries is.
#[derive(Clone, Copy, Debug)]
pub struct RunRef {
    pub first: Uid,
    pub last: Uid,
    pub body: Place,
    pub body_check: u64,
}

impl Mailbox {
    pub(crate) fn new(info: MailboxInfo, modseq: Modseq) -> Self {
        Mailbox {
            info,
            uidnext: 1,
            highest_modseq: modseq,
            messages: Vec::new(),
            expunged: VecDeque::new(),
            floor: 0,
            version: 1,
            keyword_bytes_max: 0,
            runs: Vec::new(),
        }
    }

    /// Its facts.
    #[must_use]
    pub fn info(&self) -> &MailboxInfo {
        &self.info
    }

    /// The UID the next message will have, at least.
    #[must_use]
    pub fn uidnext(&self) -> Uid {
        self.uidnext
    }

    /// HIGHESTMODSEQ of durable changes.
    #[must_use]
    pub fn highest_modseq(&self) -> Modseq {
        self.highest_modseq
    }

    /// Messages in UID order.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// One message.
    #[must_use]
    pub fn by_uid(&self, uid: Uid) -> Option<&Message> {
        self.position(uid).map(|i| &self.messages[i])
    }

    /// UIDs expunged after `since`, in order of going; `None` when the history does not reach back so far.
    #[must_use]
    pub fn expunged_since(&self, since: Modseq) -> Option<Vec<Uid>> {
        if since < self.floor {
            return None;
        }
        let from = self.expunged.partition_point(|(modseq, _)| *modseq <= since);
        Some(self.expunged.iter().skip(from).map(|(_, uid)| *uid).collect())
    }

    /// Grows by at least one with every durable change of this mailbox since the volume was opened.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn position(&self, uid: Uid) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |m| m.uid).ok()
    }

    pub(crate) fn changed(&mut self, modseq: Modseq) {
        self.highest_modseq = self.highest_modseq.max(modseq);
        self.version += 1;
    }

    /// Takes messages out; returns them.
    pub(crate) fn expunge(&mut self, uids: impl Iterator<Item = Uid>, modseq: Modseq) -> Vec<Message> {
        let mut going: Vec<Uid> = uids.collect();
        // They were decided in UID order; this only makes sure.
        going.sort_unstable();
        let gone = match going[..] {
            // Moving the tail once is cheaper than looking at every message.
            [one] => self.position(one).map(|i| self.messages.remove(i)).into_iter().collect(),
            _ => {
                let is_going = |m: &mut Message| going.binary_search(&m.uid).is_ok();
                self.messages.extract_if(.., is_going).collect::<Vec<_>>()
            }
        };
        self.expunged.extend(gone.iter().map(|m| (modseq, m.uid)));
        while self.expunged.len() > EXPUNGED_MAX {
            self.floor = self.expunged.pop_front().expect("longer than the bound").0;
        }
        self.changed(modseq);
        gone
    }
}
