//! STORE and UID STORE: flags of messages, on condition or not (RFC 7162 §3.1.3).

use std::collections::BTreeMap;

use ringpost_storage::{Changed, Flags, FlagsHow, Modseq, Op, Outcome, Uid};

use super::keywords::spelt_as_known;
use super::poll::Told;
use super::{Done, Door, End, WINDOW, commit, flags_of, look};
use crate::net::wire::Wire;
use crate::proto::imap::{Answer, No, Set, Store, StoreHow};

/// UIDs of one change. More go into the next, so that none is too large for a batch.
const UIDS_AT_ONCE: usize = 8_192;

impl Door {
    pub(super) async fn store(&mut self, store: &Store, wire: &mut Wire) -> Done {
        let (who, view) = self.selected()?;
        if view.read_only {
            return Err(No::ReadOnly.into());
        }
        let uids = self.uids_of(&store.set, store.uid)?;
        let flags = flags_of(&look(who, view.mailbox, |m| spelt_as_known(&store.flags, m.messages()))??);
        let how = match store.how {
            StoreHow::Replace => FlagsHow::Replace,
            StoreHow::Add => FlagsHow::Add,
            StoreHow::Remove => FlagsHow::Remove,
        };
        let mut left_alone = Vec::new();
        for some in uids.chunks(UIDS_AT_ONCE) {
            let stored = self.change_flags(some, how, flags.clone(), store.unchanged_since).await?;
            self.show(store, some, &stored, wire).await?;
            left_alone.extend(stored.modified);
        }
        // A UID that is gone is passed over (RFC 9051 §6.4.9), a number is not.
        let gone = !store.uid && self.gone(&uids)?;
        if left_alone.is_empty() {
            return if gone { Err(No::ExpungeIssued.into()) } else { Ok(Answer::Done) };
        }
        let (_, view) = self.selected()?;
        let counted = |uid: Uid| if store.uid { Some(uid) } else { view.sequence(uid) };
        let left_alone = Set::of_rising(left_alone.into_iter().filter_map(counted));
        Ok(if gone { Answer::ModifiedAndGone { left_alone } } else { Answer::Modified { left_alone } })
    }

    /// Makes a change of flags durable. The client is not told of it here, and not taken to know of it.
    pub(super) async fn change_flags(
        &mut self,
        uids: &[Uid],
        how: FlagsHow,
        flags: Flags,
        unchanged_since: Option<Modseq>,
    ) -> Result<Stored, End> {
        let (Some(who), Some(view)) = (&self.who, &self.view) else { return Err(No::NonExistent.into()) };
        let op = Op::StoreFlags {
            account: who.account,
            mailbox: view.mailbox,
            uids: uids.to_vec(),
            how,
            flags,
            unchanged_since,
        };
        let outcomes = commit(who, vec![op]).await?;
        let mut stored = Stored::default();
        for outcome in outcomes {
            let Outcome::Stored { changed, modified } = outcome else { continue };
            stored.changed = changed.into_iter().map(|changed| (changed.uid, changed)).collect();
            stored.modified = modified;
        }
        Ok(stored)
    }

    /// Tells the flags of the messages named, changed or not (RFC 9051 §6.4.6). Who wants MODSEQs hears them of what was
    /// changed also when the flags were not asked for, and of all when there was a condition; nothing of what was left alone
    /// (RFC 7162 §3.1.3).
    ///
    /// Where the flags are not asked for, the client believes that what it knew has changed as it said. That is true only if
    /// it knew the flags of before: else nothing is said here of that message, and its flags are told after the command like
    /// all that others do.
    async fn show(&mut self, store: &Store, uids: &[Uid], stored: &Stored, wire: &mut Wire) -> Result<(), End> {
        let (Some(who), Some(view)) = (&self.who, &mut self.view) else { return Err(No::NonExistent.into()) };
        for Changed { uid, modseq, before, .. } in stored.changed.values() {
            if !store.silent || view.knows(*uid, *before) {
                view.tell(*uid, *modseq);
            }
        }
        if store.silent && !self.condstore {
            return Ok(());
        }
        let all = !store.silent || store.unchanged_since.is_some();
        let known = |c: &&Changed| !store.silent || view.knows(c.uid, c.modseq);
        for some in uids.chunks(WINDOW) {
            let now: Vec<Option<(Flags, Modseq)>> = look(who, view.mailbox, |m| {
                let unchanged = |uid: &Uid| {
                    let told = all && stored.modified.binary_search(uid).is_err();
                    m.by_uid(*uid).filter(|_| told).map(|m| (m.flags(), m.modseq))
                };
                let told = |uid: &Uid| match stored.changed.get(uid) {
                    Some(changed) => Some(changed).filter(known).map(|c| (c.flags.clone(), c.modseq)),
                    None => unchanged(uid),
                };
                some.iter().map(told).collect()
            })?;
            for (uid, now) in some.iter().zip(now) {
                let (Some(sequence), Some((flags, modseq))) = (view.sequence(*uid), now) else { continue };
                let told = Told {
                    uid: store.uid.then_some(*uid),
                    flags: (!store.silent).then_some(&flags),
                    modseq: self.condstore.then_some(modseq),
                };
                told.write(wire.queue(), sequence);
                wire.relieve().await?;
            }
        }
        Ok(())
    }

    /// The UIDs that a set means, rising.
    pub(super) fn uids_of(&self, set: &Set, uid: bool) -> Result<Vec<Uid>, End> {
        let (_, view) = self.selected()?;
        Ok(self.targets(set, uid)?.into_iter().filter_map(|sequence| view.uid(sequence)).collect())
    }

    /// True if one of these is gone that the client had a right to count on.
    pub(super) fn gone(&self, uids: &[Uid]) -> Result<bool, End> {
        let (who, view) = self.selected()?;
        Ok(look(who, view.mailbox, |m| uids.iter().any(|uid| m.by_uid(*uid).is_none()))?)
    }
}

/// What a change of flags did.
#[derive(Default)]
pub(super) struct Stored {
    /// What is new to which message.
    pub(super) changed: BTreeMap<Uid, Changed>,
    /// Left alone, rising.
    modified: Vec<Uid>,
}
