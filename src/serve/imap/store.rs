//! STORE and UID STORE: flags of messages, on condition or not (RFC 7162 §3.1.3).

use std::collections::BTreeMap;

use ringpost_storage::{Flags, FlagsHow, Modseq, Op, Outcome, Uid};

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
            let Stored { changed, modified } =
                self.change_flags(some, how, flags.clone(), store.unchanged_since).await?;
            self.show(store, some, &changed, &modified, wire).await?;
            left_alone.extend(modified);
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

    /// Makes a change of flags durable; the client is taken to know of it.
    pub(super) async fn change_flags(
        &mut self,
        uids: &[Uid],
        how: FlagsHow,
        flags: Flags,
        unchanged_since: Option<Modseq>,
    ) -> Result<Stored, End> {
        let (Some(who), Some(view)) = (&self.who, &mut self.view) else { return Err(No::NonExistent.into()) };
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
            for (uid, flags, modseq) in changed {
                view.tell(uid, modseq);
                stored.changed.insert(uid, (flags, modseq));
            }
            stored.modified = modified;
        }
        Ok(stored)
    }

    /// Tells the flags of the messages named, changed or not (RFC 9051 §6.4.6). Who wants MODSEQs hears them of what was
    /// changed also when the flags were not asked for, and nothing of what was left alone (RFC 7162 §3.1.3).
    async fn show(
        &self,
        store: &Store,
        uids: &[Uid],
        changed: &BTreeMap<Uid, (Flags, Modseq)>,
        left_alone: &[Uid],
        wire: &mut Wire,
    ) -> Result<(), End> {
        let (who, view) = self.selected()?;
        if store.silent && !self.condstore {
            return Ok(());
        }
        for some in uids.chunks(WINDOW) {
            let now: Vec<Option<(Flags, Modseq)>> = look(who, view.mailbox, |m| {
                let unchanged = |uid: &Uid| {
                    let told = !store.silent && left_alone.binary_search(uid).is_err();
                    m.by_uid(*uid).filter(|_| told).map(|m| (m.flags.clone(), m.modseq))
                };
                some.iter().map(|uid| changed.get(uid).cloned().or_else(|| unchanged(uid))).collect()
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
    /// What is new to a message, and since when.
    pub(super) changed: BTreeMap<Uid, (Flags, Modseq)>,
    /// Left alone, rising.
    modified: Vec<Uid>,
}
