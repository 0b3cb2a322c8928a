//! What one session knows of the mailbox it selected: sequence number ↔ UID, and what it has not been told yet.
//!
//! - The client's numbers are a promise: a message keeps its sequence number until EXPUNGE is told, whatever happened
//!   to it meanwhile. Four octets a message.
//! - New messages and changed flags may be told at any time, EXPUNGE only when the caller says so (RFC 9051 §7.5.1).
//! - Pure: the durable state of the mailbox comes in, what there is to tell comes out.
//! - `\Recent` is nobody's: a liberty. RFC 9051 has dropped it, and RFC 3501 §2.3.2 lets a session see none.

use std::collections::HashMap;

use ringpost_storage::{MailboxId, Message, Modseq, Uid};

/// Own changes remembered so that they are not told again. More: they are told twice, which is harmless.
pub const TOLD_MAX: usize = 65_536;

/// A session's view of a mailbox.
#[derive(Debug)]
pub struct View {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// EXAMINE.
    pub read_only: bool,
    /// UIDs by sequence number.
    uids: Vec<Uid>,
    /// Highest UID ever shown.
    uid_max: Uid,
    /// Flag changes up to here are told.
    modseq: Modseq,
    /// The mailbox's version when it was last looked at whole.
    version: u64,
    /// Some of `uids` are gone and that may not be told yet.
    owes_expunge: bool,
    /// Messages whose last change is later than `modseq` and known to the client.
    told: HashMap<Uid, Modseq>,
}

/// What there is to tell, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sequence numbers that are gone, the highest first, so that each is right when it is told.
    pub expunged: Vec<u32>,
    /// The new number of messages.
    pub exists: Option<u32>,
    /// Messages whose flags changed, by rising sequence number.
    pub flags: Vec<(u32, Uid)>,
}

impl View {
    /// The mailbox as it is now: `messages` in UID order, as of `modseq` and `version`.
    #[must_use]
    pub fn open(mailbox: MailboxId, read_only: bool, messages: &[Message], modseq: Modseq, version: u64) -> View {
        let uids: Vec<Uid> = messages.iter().map(|m| m.uid).collect();
        let uid_max = uids.last().copied().unwrap_or(0);
        let told = HashMap::new();
        View { mailbox, read_only, uids, uid_max, modseq, version, owes_expunge: false, told }
    }

    /// How many messages the client knows.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.uids.len()).unwrap_or(u32::MAX)
    }

    /// True if the client knows of none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty()
    }

    /// The mailbox's version when it was last looked at whole: at another there may be something to tell.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The UID with this sequence number, from 1.
    #[must_use]
    pub fn uid(&self, sequence: u32) -> Option<Uid> {
        self.uids.get((sequence as usize).checked_sub(1)?).copied()
    }

    /// The sequence number of this UID.
    #[must_use]
    pub fn sequence(&self, uid: Uid) -> Option<u32> {
        self.uids.binary_search(&uid).ok().map(|at| at as u32 + 1)
    }

    /// The largest UID there is for `*`, 0 when there is none.
    #[must_use]
    pub fn largest_uid(&self) -> Uid {
        self.uids.last().copied().unwrap_or(0)
    }

    /// The messages whose UIDs lie in a range: their sequence numbers as a range of `usize`, from 1. Costs two searches.
    #[must_use]
    pub fn sequences_of(&self, uids: &std::ops::RangeInclusive<Uid>) -> std::ops::Range<u32> {
        let begin = self.uids.partition_point(|u| u < uids.start());
        let end = self.uids.partition_point(|u| u <= uids.end());
        begin as u32 + 1..end.max(begin) as u32 + 1
    }

    /// True if the client knows the flags that the message had at this MODSEQ, its own then or an earlier one. A change made
    /// on top of flags that it does not know is not known by being its own (RFC 9051 §6.4.6).
    #[must_use]
    pub fn knows(&self, uid: Uid, modseq: Modseq) -> bool {
        modseq <= self.modseq || self.told.get(&uid) == Some(&modseq)
    }

    /// The client knows the flags that this message has had since: they were shown to it, or it made the last change and
    /// [knew](View::knows) what was before.
    pub fn tell(&mut self, uid: Uid, modseq: Modseq) {
        if modseq > self.modseq && self.told.len() < TOLD_MAX {
            let told = self.told.entry(uid).or_default();
            *told = modseq.max(*told);
        }
    }

    /// Compares with the durable state and takes what is told as known. `messages` in UID order.
    pub fn update(&mut self, messages: &[Message], modseq: Modseq, version: u64, may_expunge: bool) -> Changes {
        let mut changes = Changes::default();
        if version == self.version && !(self.owes_expunge && may_expunge) {
            return changes;
        }
        self.version = version;
        let first_new = messages.partition_point(|m| m.uid <= self.uid_max);
        let (known, new) = messages.split_at(first_new);
        self.owes_expunge = known.len() != self.uids.len();
        if self.owes_expunge && may_expunge {
            changes.expunged = self.expunge(known);
            self.owes_expunge = false;
        }
        if let Some(last) = new.last() {
            self.uid_max = last.uid;
            self.uids.extend(new.iter().map(|m| m.uid));
            changes.exists = Some(self.len());
        }
        let since = self.modseq;
        for m in known.iter().filter(|m| m.modseq > since && !self.knows(m.uid, m.modseq)) {
            changes.flags.extend(self.sequence(m.uid).map(|sequence| (sequence, m.uid)));
        }
        self.modseq = self.modseq.max(modseq);
        let told_up_to = self.modseq;
        self.told.retain(|_, at| *at > told_up_to);
        if self.told.is_empty() {
            self.told = HashMap::new();
        }
        changes
    }

    /// Forgets what is not among `known`; says which sequence numbers those had, the highest first.
    fn expunge(&mut self, known: &[Message]) -> Vec<u32> {
        let mut there = known.iter().map(|m| m.uid).peekable();
        let mut gone = Vec::new();
        let mut sequence = 0;
        self.uids.retain(|uid| {
            sequence += 1;
            while there.next_if(|t| t < uid).is_some() {}
            let kept = there.next_if_eq(uid).is_some();
            if !kept {
                gone.push(sequence);
            }
            kept
        });
        gone.reverse();
        gone
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringpost_storage::Flags;

    use super::*;

    fn message(uid: Uid, modseq: Modseq) -> Message {
        Message::sketch(uid, modseq, &Flags::none(), 0, 0)
    }

    fn box_of(all: &[(Uid, Modseq)]) -> Vec<Message> {
        all.iter().map(|(u, m)| message(*u, *m)).collect()
    }

    fn view(all: &[(Uid, Modseq)], modseq: Modseq) -> View {
        View::open(MailboxId::INBOX, false, &box_of(all), modseq, 1)
    }

    #[test]
    fn numbers_stay_until_expunge_may_be_told() {
        let mut v = view(&[(1, 1), (3, 2), (7, 3)], 3);
        let now = box_of(&[(1, 1), (7, 3), (9, 5)]);
        let c = v.update(&now, 5, 2, false);
        assert_eq!(c, Changes { exists: Some(4), ..Changes::default() });
        assert_eq!((v.uid(2), v.uid(3), v.uid(4), v.uid(5)), (Some(3), Some(7), Some(9), None));
        let c = v.update(&now, 5, 2, true);
        assert_eq!(c.expunged, [2]);
        assert_eq!((v.uid(2), v.uid(3), v.sequence(9), v.sequence(3)), (Some(7), Some(9), Some(3), None));
        assert_eq!(v.update(&now, 5, 2, true), Changes::default());
    }

    #[test]
    fn several_gone_are_told_from_the_end() {
        let mut v = view(&[(1, 1), (2, 1), (3, 1), (4, 1)], 1);
        let c = v.update(&box_of(&[(3, 1), (6, 2)]), 2, 2, true);
        assert_eq!(c, Changes { expunged: vec![4, 2, 1], exists: Some(2), flags: vec![] });
    }

    #[test]
    fn a_message_that_came_and_went_unseen_is_never_mentioned() {
        let mut v = view(&[(1, 1)], 1);
        assert_eq!(v.update(&box_of(&[(1, 1)]), 4, 3, true), Changes::default());
    }

    #[test]
    fn an_own_change_on_top_of_one_that_was_not_told_is_not_known() {
        let mut v = view(&[(1, 1), (2, 1)], 3);
        assert!(v.knows(1, 1) && v.knows(1, 3) && !v.knows(1, 4));
        // Others change 1 at 4, its client knows it and changes it at 5; others change 2 at 6, and its client at 7.
        v.tell(1, 4);
        assert!(v.knows(1, 4) && !v.knows(2, 4));
        v.tell(1, 5);
        assert!(!v.knows(2, 6) && !v.knows(1, 4), "what it knows is later");
        assert_eq!(v.update(&box_of(&[(1, 5), (2, 7)]), 7, 2, false).flags, [(2, 2)]);
    }

    #[test]
    fn changed_flags_are_told_once_and_own_changes_never() {
        let mut v = view(&[(1, 1), (2, 1), (3, 1)], 1);
        v.tell(2, 5);
        let now = box_of(&[(1, 4), (2, 5), (3, 1)]);
        assert_eq!(v.update(&now, 5, 2, false).flags, [(1, 1)]);
        assert_eq!(v.update(&now, 5, 3, false), Changes::default());
        v.tell(2, 6);
        assert_eq!(v.update(&box_of(&[(1, 4), (2, 7), (3, 1)]), 7, 4, false).flags, [(2, 2)]);
        // What was shown before a change of one's own does not make one forget it.
        v.tell(3, 9);
        v.tell(3, 8);
        assert_eq!(v.update(&box_of(&[(1, 4), (2, 7), (3, 9)]), 9, 5, false), Changes::default());
    }

    #[test]
    fn a113_a_set_of_uids_costs_searches_not_steps() {
        let v = view(&[(5, 1), (7, 1), (9, 1)], 1);
        assert_eq!(v.sequences_of(&(1..=u32::MAX)), 1..4);
        assert_eq!(v.sequences_of(&(6..=8)), 2..3);
        assert_eq!(v.sequences_of(&(10..=20)), 4..4);
        assert_eq!(v.sequences_of(&(6..=6)), 2..2);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Append,
        Expunge,
        /// Somebody else's change.
        Theirs(u32),
        /// Its own, with the new flags in the answer or without.
        Own {
            bit: u32,
            silent: bool,
        },
        Fetch,
    }

    fn step() -> impl Strategy<Value = Step> {
        let bit = || (0_u32..5).prop_map(|n| 1 << n);
        prop_oneof![
            Just(Step::Append),
            Just(Step::Expunge),
            bit().prop_map(Step::Theirs),
            (bit(), any::<bool>()).prop_map(|(bit, silent)| Step::Own { bit, silent }),
            Just(Step::Fetch),
        ]
    }

    proptest! {
        /// A client that believes what it is told and what it does ends with what is there, flags and all, and is told
        /// nothing that it knows.
        #[test]
        fn what_is_told_leads_to_what_is_there(steps in prop::collection::vec((step(), any::<prop::sample::Index>(), any::<bool>()), 1..80)) {
            let mut now: Vec<Message> = Vec::new();
            let (mut next_uid, mut modseq, mut version) = (1, 1, 1);
            let mut v = View::open(MailboxId::INBOX, false, &now, modseq, version);
            let mut client: Vec<(Uid, u32)> = Vec::new();
            for (step, at, may) in steps {
                (modseq, version) = (modseq + 1, version + 1);
                if let Step::Append = step {
                    now.push(message(next_uid, modseq));
                    next_uid += 1;
                } else if !now.is_empty() {
                    let i = at.index(now.len());
                    let m = &mut now[i];
                    let mine = client.iter_mut().find(|(uid, _)| *uid == m.uid);
                    match (step, mine) {
                        (Step::Append, _) => unreachable!("done above"),
                        (Step::Expunge, _) => { now.remove(i); }
                        (Step::Theirs(bit), _) => {
                            m.set_flags(&Flags::of(m.bits() ^ bit));
                            m.modseq = modseq;
                        }
                        (Step::Own { bit, silent }, Some((_, believed))) => {
                            let before = m.modseq;
                            let bits = if m.bits() & bit == 0 { m.bits() | bit } else { m.bits() & !bit };
                            m.set_flags(&Flags::of(bits));
                            m.modseq = modseq;
                            if !silent {
                                *believed = bits;
                                v.tell(m.uid, modseq);
                            } else {
                                *believed = (*believed & !bit) | (bits & bit);
                                if v.knows(m.uid, before) {
                                    v.tell(m.uid, modseq);
                                }
                            }
                        }
                        (Step::Fetch, Some((_, believed))) => {
                            *believed = m.bits();
                            v.tell(m.uid, m.modseq);
                        }
                        (Step::Own { .. } | Step::Fetch, None) => {}
                    }
                }
                // Not every change is followed by a look.
                if at.index(3) == 0 { continue; }
                let c = v.update(&now, modseq, version, may);
                for s in &c.expunged { client.remove(*s as usize - 1); }
                let mut told = std::collections::BTreeSet::new();
                for (s, uid) in &c.flags {
                    let m = now.iter().find(|m| m.uid == *uid).unwrap();
                    prop_assert_eq!(client[*s as usize - 1].0, *uid);
                    prop_assert!(told.insert(*uid), "told twice");
                    client[*s as usize - 1].1 = m.bits();
                }
                if let Some(n) = c.exists {
                    for s in client.len() as u32 + 1..=n {
                        let uid = v.uid(s).unwrap();
                        client.push((uid, now.iter().find(|m| m.uid == uid).unwrap().bits()));
                    }
                }
                for m in &now {
                    let believed = client.iter().find(|(uid, _)| *uid == m.uid).map(|(_, bits)| *bits);
                    prop_assert!(believed.is_none_or(|bits| bits == m.bits()), "{:?} is believed of {m:?}", believed);
                }
                if may {
                    let uids: Vec<Uid> = client.iter().map(|(uid, _)| *uid).collect();
                    prop_assert_eq!(uids, now.iter().map(|m| m.uid).collect::<Vec<_>>());
                }
                prop_assert_eq!(client.len() as u32, v.len());
                prop_assert_eq!(v.update(&now, modseq, version + 1, may), Changes::default(), "nothing is told again");
                version += 1;
            }
        }
    }
}
