//! A mailbox: messages in UID order, the history of its expunges, and where its summaries are.

use std::collections::VecDeque;

use crate::record::{RowRun, RunRef};
use crate::types::{Flags, Lsn, MailboxInfo, Message, Modseq, Uid};

/// Expunges remembered for one mailbox. Older ones are forgotten, and the floor rises: below it a client is told
/// to compare UIDs itself (RFC 7162 §3.2.7 lets VANISHED be a superset).
pub const EXPUNGED_MAX: usize = 10_000;

/// Changed rows remembered before repetitions are looked for.
const DIRTY_UNSORTED: usize = 1_024;

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
    /// Runs of summaries, oldest first.
    pub(crate) runs: Vec<RunRef>,
    /// Runs of rows of the last root, oldest first.
    pub(crate) rows: Vec<RowRun>,
    /// UIDs that are not as those rows say, and by which batch; with repetitions.
    dirty: Vec<(Uid, Lsn)>,
    /// Length of `dirty` when repetitions were last taken out.
    dirty_kept: usize,
    /// Octets of keywords in memory, at most.
    keywords_held: usize,
}

impl Mailbox {
    pub(crate) fn new(info: MailboxInfo, modseq: Modseq, version: u64) -> Self {
        Mailbox {
            info,
            uidnext: 1,
            highest_modseq: modseq,
            messages: Vec::new(),
            expunged: VecDeque::new(),
            floor: 0,
            version,
            keyword_bytes_max: 0,
            runs: Vec::new(),
            rows: Vec::new(),
            dirty: Vec::new(),
            dirty_kept: 0,
            keywords_held: 0,
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

    /// Grows with every durable batch that changes this mailbox, and may grow when it is loaded again.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Octets that it takes, estimated.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Mailbox>()
            + self.info.name.len()
            + self.messages.capacity() * size_of::<Message>()
            + self.dirty.capacity() * size_of::<(Uid, Lsn)>()
            + self.expunged.capacity() * size_of::<(Modseq, Uid)>()
            + self.runs.capacity() * size_of::<RunRef>()
            + self.rows.capacity() * size_of::<RowRun>()
            + self.keywords_held
    }

    /// All its messages, as they were read.
    pub(crate) fn fill(&mut self, messages: Vec<Message>) {
        self.keywords_held = messages.iter().map(keywords_held).sum();
        self.messages = messages;
    }

    /// It keeps no room for more, until more come.
    pub(crate) fn fit(&mut self) {
        self.messages.shrink_to_fit();
    }

    /// A message has other flags.
    pub(crate) fn set_flags(&mut self, at: usize, flags: &Flags) {
        let message = &mut self.messages[at];
        self.keywords_held -= keywords_held(message);
        message.set_flags(flags);
        self.keywords_held += keywords_held(message);
    }

    pub(crate) fn position(&self, uid: Uid) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |m| m.uid).ok()
    }

    pub(crate) fn changed(&mut self, modseq: Modseq, lsn: Lsn) {
        self.highest_modseq = self.highest_modseq.max(modseq);
        self.version = self.version.max(lsn);
    }

    /// The row of this UID is not as the last root has it.
    pub(crate) fn dirty(&mut self, uid: Uid, lsn: Lsn) {
        if self.dirty.last() != Some(&(uid, lsn)) {
            self.dirty.push((uid, lsn));
        }
        if self.dirty.len() > 2 * DIRTY_UNSORTED.max(self.dirty_kept) {
            // Each UID once, with its last batch.
            self.dirty.sort_unstable_by_key(|(uid, lsn)| (*uid, std::cmp::Reverse(*lsn)));
            self.dirty.dedup_by_key(|(uid, _)| *uid);
            self.dirty_kept = self.dirty.len();
        }
    }

    /// No row is as the last root has it.
    pub(crate) fn all_dirty(&mut self, lsn: Lsn) {
        self.dirty.extend(self.messages.iter().map(|m| (m.uid, lsn)));
    }

    /// UIDs whose rows the last root does not have so, rising.
    pub(crate) fn dirty_uids(&self) -> Vec<Uid> {
        let mut uids: Vec<Uid> = self.dirty.iter().map(|(uid, _)| *uid).collect();
        uids.sort_unstable();
        uids.dedup();
        uids
    }

    /// How many they are, at most.
    pub(crate) fn dirty_count(&self) -> u64 {
        self.dirty.len() as u64
    }

    /// All rows are as the last root has them, but for later batches.
    pub(crate) fn clean(&mut self, through: Lsn) {
        self.dirty.retain(|(_, lsn)| *lsn > through);
        self.dirty.shrink_to_fit();
        self.dirty_kept = 0;
    }

    /// `None` when the UID is taken, or none at all.
    pub(crate) fn add(&mut self, message: Message, lsn: Lsn) -> Option<()> {
        let next = message.uid.checked_add(1).filter(|_| message.uid > 0)?;
        // Nearly always the end: UIDs only rise. But where lost batches were put back, what came after may have lower ones.
        let at = match self.messages.last() {
            Some(last) if last.uid >= message.uid => {
                self.messages.binary_search_by_key(&message.uid, |m| m.uid).err()?
            }
            _ => self.messages.len(),
        };
        self.keyword_bytes_max = self.keyword_bytes_max.max(crate::record::keyword_bytes(&message.flags()));
        self.uidnext = self.uidnext.max(next);
        self.changed(message.modseq, lsn);
        self.dirty(message.uid, lsn);
        self.keywords_held += keywords_held(&message);
        if self.messages.len() == self.messages.capacity() {
            // By one part in 32, not twofold: most mailboxes hardly grow after they were loaded, and moving a list costs less
            // than what it would keep free. So a message costs 66 octets at most.
            self.messages.reserve_exact(4.max(self.messages.len() / 32));
        }
        self.messages.insert(at, message);
        Some(())
    }

    /// Takes messages out.
    pub(crate) fn expunge(&mut self, uids: impl Iterator<Item = Uid>, modseq: Modseq, lsn: Lsn) {
        let mut going: Vec<Uid> = uids.collect();
        // They were decided in UID order; this only makes sure.
        going.sort_unstable();
        let gone: Vec<Message> = match going[..] {
            // Moving the tail once is cheaper than looking at every message.
            [one] => self.position(one).map(|i| self.messages.remove(i)).into_iter().collect(),
            _ => {
                let is_going = |m: &mut Message| going.binary_search(&m.uid).is_ok();
                self.messages.extract_if(.., is_going).collect()
            }
        };
        self.keywords_held -= gone.iter().map(keywords_held).sum::<usize>();
        self.expunged.extend(gone.iter().map(|m| (modseq, m.uid)));
        gone.iter().for_each(|m| self.dirty(m.uid, lsn));
        while self.expunged.len() > EXPUNGED_MAX {
            self.floor = self.expunged.pop_front().expect("longer than the bound").0;
        }
        self.changed(modseq, lsn);
    }
}

/// Octets of a message's keywords in memory, as if nobody shared them.
fn keywords_held(message: &Message) -> usize {
    let keywords = message.keywords();
    if keywords.is_empty() { 0 } else { 64 + keywords.iter().map(|k| 32 + k.len()).sum::<usize>() }
}
