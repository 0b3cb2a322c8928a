//! STORE and UID STORE: flags of messages.

use std::collections::BTreeMap;

use ringpost_storage::{Flags, FlagsHow, Message, Op, Outcome, Uid};

use super::poll::flags_line;
use super::{Done, Door, End, WINDOW, commit, flags_of, look};
use crate::net::wire::Wire;
use crate::proto::imap::{Answer, FlagList, No, Store, StoreHow};

/// Different keywords in one mailbox. More: NO [LIMIT] (A126).
pub(super) const KEYWORDS_MAX: usize = 1_024;
/// UIDs of one change. More go into the next, so that none is too large for a batch.
const UIDS_AT_ONCE: usize = 8_192;

impl Door {
    pub(super) async fn store(&mut self, store: &Store, wire: &mut Wire) -> Done {
        let (who, view) = self.selected()?;
        if view.read_only {
            return Err(No::ReadOnly.into());
        }
        let uids: Vec<Uid> = self.targets(&store.set, store.uid)?.into_iter().filter_map(|s| view.uid(s)).collect();
        let flags = flags_of(&look(who, view.mailbox, |m| spelt_as_known(&store.flags, m.messages()))??);
        let how = match store.how {
            StoreHow::Replace => FlagsHow::Replace,
            StoreHow::Add => FlagsHow::Add,
            StoreHow::Remove => FlagsHow::Remove,
        };
        for some in uids.chunks(UIDS_AT_ONCE) {
            let changed = self.change_flags(some, how, flags.clone()).await?;
            if !store.silent {
                self.show(some, &changed, store.uid, wire).await?;
            }
        }
        self.gone(&uids)
    }

    /// Makes a change of flags durable; the client is taken to know of it.
    pub(super) async fn change_flags(
        &mut self,
        uids: &[Uid],
        how: FlagsHow,
        flags: Flags,
    ) -> Result<BTreeMap<Uid, Flags>, End> {
        let (Some(who), Some(view)) = (&self.who, &mut self.view) else { return Err(No::NonExistent.into()) };
        let op = Op::StoreFlags {
            account: who.account,
            mailbox: view.mailbox,
            uids: uids.to_vec(),
            how,
            flags,
            unchanged_since: None,
        };
        let outcomes = commit(who, vec![op]).await?;
        let mut now = BTreeMap::new();
        for outcome in outcomes {
            let Outcome::Stored { changed, .. } = outcome else { continue };
            for (uid, flags, modseq) in changed {
                view.tell(uid, modseq);
                now.insert(uid, flags);
            }
        }
        Ok(now)
    }

    /// Tells the flags of all messages named, changed or not (RFC 9051 §6.4.6).
    async fn show(
        &self,
        uids: &[Uid],
        changed: &BTreeMap<Uid, Flags>,
        with_uid: bool,
        wire: &mut Wire,
    ) -> Result<(), End> {
        let (who, view) = self.selected()?;
        for some in uids.chunks(WINDOW) {
            let now: Vec<Option<Flags>> = look(who, view.mailbox, |m| {
                let flags = |uid: &Uid| {
                    changed.get(uid).cloned().or_else(|| m.by_uid(*uid).map(|message| message.flags.clone()))
                };
                some.iter().map(flags).collect()
            })?;
            for (uid, flags) in some.iter().zip(now) {
                let (Some(sequence), Some(flags)) = (view.sequence(*uid), flags) else { continue };
                flags_line(wire.queue(), sequence, with_uid.then_some(*uid), &flags);
                wire.relieve().await?;
            }
        }
        Ok(())
    }

    /// OK, or NO if one of these is gone and the client had a right to count on it.
    pub(super) fn gone(&self, uids: &[Uid]) -> Done {
        let (who, view) = self.selected()?;
        let gone = look(who, view.mailbox, |m| uids.iter().any(|uid| m.by_uid(*uid).is_none()))?;
        if gone { Err(No::ExpungeIssued.into()) } else { Ok(Answer::Done) }
    }
}

/// The keywords in use, sorted; two spellings of one are one.
pub(super) fn keywords_in_use(messages: &[Message]) -> Vec<Box<str>> {
    let mut known = BTreeMap::new();
    for keyword in messages.iter().flat_map(|m| m.flags.keywords()) {
        if known.len() < KEYWORDS_MAX {
            known.entry(keyword.to_ascii_lowercase()).or_insert_with(|| keyword.clone());
        }
    }
    known.into_values().collect()
}

/// The flags with their keywords spelt as the mailbox knows them already.
pub(super) fn spelt_as_known(flags: &FlagList, messages: &[Message]) -> Result<FlagList, No> {
    if flags.keywords.is_empty() {
        return Ok(flags.clone());
    }
    let known = keywords_in_use(messages);
    let find = |k: &str| known.iter().find(|have| have.eq_ignore_ascii_case(k)).cloned();
    let fresh = flags.keywords.iter().filter(|k| find(k).is_none()).count();
    if known.len() + fresh > KEYWORDS_MAX {
        return Err(No::Limit);
    }
    let mut keywords: Vec<Box<str>> = flags.keywords.iter().map(|k| find(k).unwrap_or_else(|| k.clone())).collect();
    keywords.sort_unstable();
    keywords.dedup();
    Ok(FlagList { bits: flags.bits, keywords })
}
