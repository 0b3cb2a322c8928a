//! Applying a batch to the index: the one function through which anything becomes visible.
//!
//! A live commit hands in the directory that was just synced, recovery the directory it read: same octets, same
//! function, same result, whoever is in memory. Users of bodies are summed over the whole batch before anybody looks.
//!
//! After a loss, or when lost batches were put back, records may not fit what is there: they are counted as orphans and
//! change nothing. No octets that pass [`check`] make this panic.

use super::account::blank;
use super::tally::Tally;
use super::{Arrived, ChangedMailbox, Entry, Index, Jump, hash_of};
use crate::batch::{Header, directory};
use crate::bugs::{self, Bug};
use crate::fold::folds_at;
use crate::record::{AccountPut, Bad, BodyRecord, Gap, Record, Retired, RootRecord};
use crate::types::{AccountId, Lsn, MODSEQ_MAX, MailboxId, Modseq, Place};

/// Accounts of one volume are numbered up to this: the volume has the upper 16 bits.
pub const ACCOUNT_NUMBER_MAX: u64 = (1 << 48) - 1;

/// Looks whether [`Index::apply`] can take a directory.
///
/// # Errors
/// The first record that does not decode, or a body that does not lie behind the one before.
pub fn check(header: &Header, bytes: &[u8]) -> Result<(), Bad> {
    let mut records = 0;
    // Bodies lie one after the other, without gaps: so their checksums cover all that is there.
    let mut next = header.bodies_at();
    for entry in directory::entries(bytes) {
        if let Some(Record::Body(body)) = entry?.record {
            if body.offset != next {
                return Err(Bad::Malformed);
            }
            next = next.checked_add(BodyRecord::taken(body.len)).ok_or(Bad::Malformed)?;
        }
        records += 1;
    }
    let whole = next == header.bodies_at() + header.body_bytes;
    if whole && records == header.records { Ok(()) } else { Err(Bad::Malformed) }
}

impl Index {
    /// Makes a durable batch visible. The directory has passed [`check`] (or was built here). Returns how many of its
    /// records did not fit what is there.
    pub fn apply(&mut self, header: &Header, bytes: &[u8]) -> u64 {
        let mut orphans = 0;
        let mut tally = Tally::default();
        self.applied = header.lsn;
        self.changed.clear();
        self.segments.of(header.segment).incarnation = header.incarnation;
        let directory_at = header.offset + crate::batch::HEADER_BYTES as u64;
        for entry in directory::entries(bytes) {
            let entry = entry.expect("directories are checked before they are applied");
            let at = u32::try_from(directory_at + entry.at as u64).expect("a segment is below 4 GiB");
            let place = Place { segment: header.segment, at };
            let Some(record) = entry.record else { continue };
            if let Some(arrived) = entry.frame.account.and_then(|id| self.arriving.get_mut(&id)) {
                let record = bytes[entry.at..entry.at + entry.frame.len].into();
                arrived.push(Arrived { place, lsn: header.lsn, bytes: record });
            }
            // What is gone of the log may have had the account, and a later root has it, or its end.
            if self.apply_record(entry.frame.account, place, &record, &mut tally).is_none() {
                if self.holes {
                    self.strays += 1;
                    entry.frame.account.into_iter().for_each(|id| self.passed.entry(id).or_default().push(place));
                } else {
                    orphans += 1;
                }
            }
        }
        self.settle(tally);
        self.orphans += orphans;
        orphans
    }

    fn apply_record(
        &mut self,
        account: Option<AccountId>,
        place: Place,
        record: &Record<'_>,
        tally: &mut Tally,
    ) -> Option<()> {
        match record {
            Record::DomainPut(put) => {
                self.domains.insert(put.name.to_owned(), put.info.into());
            }
            Record::DomainRemove(name) => {
                self.domains.remove(*name);
            }
            Record::Body(body) => {
                let at = u32::try_from(body.offset).ok()?;
                tally.new.push((Place { segment: place.segment, at }, body.len));
            }
            Record::Large(large) => {
                tally.new.push((place, 0));
                tally.uses.extend(large.pieces().map(|piece| (piece.place, piece.len, 1)));
            }
            Record::Release(list) => {
                for item in list.items() {
                    // Pieces, and among them which list is settled.
                    match item.large {
                        true => drop(self.debts.remove(&self.forwards.resolve(item.body))),
                        false => tally.uses.push((item.body, item.len, -1)),
                    }
                }
            }
            Record::Forward(forward) => {
                tally.moved.extend(forward.items());
                self.forwards.add(forward.segment, self.applied, place, forward.items());
            }
            Record::MovedLarge(_) => tally.new.push((place, 0)),
            Record::Retired(retired) => self.retire(retired),
            Record::AccountGone(gone) => gone.items().for_each(|(account, _)| self.remove_account(account)),
            Record::Forget(forget) => self.forwards.forget(forget.through),
            Record::Truncate(_) | Record::Heartbeat(_) | Record::Moved(_) => {}
            Record::Gap(gap) => self.jump(place, gap),
            Record::Transfer(record) => {
                return self.transfers.apply(record, &mut |body, by| tally.used(body, by));
            }
            Record::AccountPut(put) => self.put_account(account?, place, put),
            Record::Root(root) => self.root(account?, place, root, tally)?,
            _ => return self.apply_of_account(account?, place, record, tally),
        }
        Some(())
    }

    /// Records that change an account which has to be there.
    fn apply_of_account(&mut self, id: AccountId, place: Place, record: &Record<'_>, tally: &mut Tally) -> Option<()> {
        let lsn = self.applied;
        let mut changed = None;
        match record {
            Record::AccountRemove(list) => {
                self.entries.get(id)?;
                self.remove_account(id);
                tally.released(list);
                return Some(());
            }
            Record::MailboxPut(put) => {
                self.last_uidvalidity = self.last_uidvalidity.max(put.uidvalidity);
                let entry = self.link(id, place, put.modseq)?;
                if put.mailbox == MailboxId::INBOX {
                    entry.inbox_uidvalidity = put.uidvalidity;
                }
                changed = Some(put.mailbox);
            }
            Record::MailboxRemove(remove) => {
                self.link(id, place, remove.modseq)?.let_go(&remove.released);
                tally.released(&remove.released);
                self.notice(id, Some(remove.mailbox), true);
            }
            Record::Subscription(_) => {
                self.link(id, place, 0)?;
            }
            Record::Renumber(renumber) => {
                self.last_uidvalidity = self.last_uidvalidity.max(renumber.uidvalidity);
                let entry = self.link(id, place, renumber.modseq)?;
                if renumber.mailbox == MailboxId::INBOX {
                    entry.inbox_uidvalidity = renumber.uidvalidity;
                    entry.inbox_uidnext = entry.inbox_uidnext.max(renumber.uidnext);
                }
                changed = Some(renumber.mailbox);
            }
            Record::Message(message) => {
                let entry = self.link(id, place, message.modseq)?;
                if !message.retained {
                    entry.keep(u64::from(message.size), 1);
                }
                if message.mailbox == MailboxId::INBOX {
                    entry.gave(message.uid);
                }
                let len = message.size.saturating_sub(message.prefix.len() as u32);
                tally.uses.push((message.body, if message.large { 0 } else { len }, 1));
                changed = Some(message.mailbox);
            }
            Record::Copy(copy) => {
                let entry = self.link(id, place, copy.modseq)?;
                for copied in copy.items() {
                    if !copied.retained {
                        entry.keep(u64::from(copied.size), 1);
                    }
                    if copy.mailbox == MailboxId::INBOX {
                        entry.gave(copied.uid);
                    }
                    let len = copied.size.saturating_sub(u32::from(copied.prefix_len));
                    tally.uses.push((copied.body, if copied.large { 0 } else { len }, 1));
                }
                changed = Some(copy.mailbox);
            }
            Record::Flags(flags) => {
                self.link(id, place, flags.modseq)?;
                changed = Some(flags.mailbox);
            }
            Record::Expunge(expunge) => {
                self.link(id, place, expunge.modseq)?.let_go(&expunge.released);
                tally.released(&expunge.released);
                if bugs::on(Bug::ReuseUid)
                    && expunge.mailbox == MailboxId::INBOX
                    && let Some(entry) = self.entries.get_mut(id)
                    && expunge.uids().any(|uid| uid + 1 == entry.inbox_uidnext)
                {
                    entry.inbox_uidnext -= 1;
                }
                changed = Some(expunge.mailbox);
            }
            Record::Run(run) => {
                self.link(id, place, 0)?;
                tally.uses.push((run.body, run.body_len, 1));
            }
            _ => unreachable!("the caller has the others"),
        }
        if let Some(mailbox) = changed {
            self.notice(id, Some(mailbox), false);
        }
        self.tell(id, place, lsn, record)
    }

    /// A root or a put is somebody's newest in this segment, or is no more.
    fn keeps(&mut self, place: Place, by: i32) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.kept = segment.kept.saturating_add_signed(by);
        }
    }

    fn remove_account(&mut self, id: AccountId) {
        if let Some(entry) = self.entries.remove(id) {
            self.keeps(entry.put, -1);
            self.keeps(entry.root, -1);
            self.drop_loaded(id);
            self.notice(id, None, true);
        }
    }

    /// Segments are gone.
    fn retire(&mut self, retired: &Retired<'_>) {
        self.head = self.head.max(retired.head);
        self.retired = retired.runs().collect();
        let gone: Vec<u32> = self.segments.keys().copied().filter(|n| self.is_retired(*n)).collect();
        for segment in gone {
            self.segments.remove(&segment);
            self.forwards.shorten(segment);
        }
    }

    /// True if a segment is gone, and nothing is missing with it.
    pub fn is_retired(&self, segment: u32) -> bool {
        segment < self.head || self.retired.iter().any(|run| (run.first..=run.last).contains(&segment))
    }

    /// LSN of the first batch that was in a segment that is gone, where the one before it is there.
    pub fn first_lsn_of_retired(&self, segment: u32) -> Option<Lsn> {
        self.retired.iter().find(|run| run.first == segment).map(|run| run.first_lsn)
    }

    /// Those of a run of segments that are not retired, as runs.
    pub fn not_retired(&self, first: u32, last: u32) -> Vec<(u32, u32)> {
        let mut gone: Vec<(u32, u32)> = self.retired.iter().map(|run| (run.first, run.last)).collect();
        gone.sort_unstable();
        let (mut runs, mut next) = (Vec::new(), first.max(self.head));
        for (from, to) in gone {
            if from > next && next <= last {
                runs.push((next, last.min(from - 1)));
            }
            next = next.max(to.saturating_add(1));
        }
        if next <= last {
            runs.push((next, last));
        }
        runs
    }

    fn notice(&mut self, account: AccountId, mailbox: Option<MailboxId>, gone: bool) {
        if self.live {
            self.changed.push(ChangedMailbox { account, mailbox, gone });
        }
    }

    /// Adds the record to its account's chain; `None` when the account is not there.
    fn link(&mut self, id: AccountId, place: Place, modseq: Modseq) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(id)?;
        entry.link(place, modseq);
        // Again now and then, for the case that nobody could do it when it was due.
        let at = folds_at(entry, self.fold_at);
        if self.live && entry.unfolded >= at && (entry.unfolded - at).is_multiple_of(at) {
            self.due.push(id);
        }
        Some(entry)
    }

    /// Every number jumps over what lost batches may have given.
    fn jump(&mut self, place: Place, gap: &Gap<'_>) {
        let lost = gap.ranges().collect();
        let jump = Jump { place, lsn: self.applied, numbers: gap.numbers, modseqs: gap.modseqs, lost };
        self.transfers.jump(gap.numbers);
        self.last_uidvalidity = self.last_uidvalidity.saturating_add(gap.numbers);
        self.last_account = (self.last_account + u64::from(gap.numbers)).min(ACCOUNT_NUMBER_MAX);
        for entry in self.entries.iter_mut() {
            entry.modseq = entry.modseq.saturating_add(gap.modseqs).min(MODSEQ_MAX);
            entry.inbox_uidnext = entry.inbox_uidnext.saturating_add(gap.numbers);
        }
        for account in self.loaded.values_mut() {
            account.jump(&jump, self.applied);
            self.memory.bytes -= account.bytes;
            account.count_bytes();
            self.memory.bytes += account.bytes;
        }
        self.gaps.push(jump);
    }

    fn put_account(&mut self, id: AccountId, place: Place, put: &AccountPut<'_>) {
        self.last_account = self.last_account.max(id.0 & ACCOUNT_NUMBER_MAX);
        let name_hash = hash_of(self.seed, put.name);
        self.passed.remove(&id);
        let mut entry = match self.entries.get(id) {
            Some(there) => there.named(name_hash),
            None => {
                if self.live {
                    self.insert_loaded(blank(id));
                }
                Entry::new(id, name_hash)
            }
        };
        let was = std::mem::replace(&mut entry.put, place);
        entry.generation = put.generation;
        entry.limit_bytes = put.limit_bytes;
        entry.limit_messages = put.limit_messages;
        entry.link(place, put.modseq);
        self.entries.insert(entry);
        self.keeps(was, -1);
        self.keeps(place, 1);
        self.tell(id, place, self.applied, &Record::AccountPut(*put)).expect("puts always fit");
    }

    fn root(&mut self, id: AccountId, place: Place, root: &RootRecord<'_>, tally: &mut Tally) -> Option<()> {
        root.added().for_each(|added| tally.used(added, 1));
        tally.released(&root.released);
        if self.holes {
            let known = self.entries.get(id).cloned();
            let passed = self.passed.remove(&id).unwrap_or_default();
            self.entries.insert(Entry::of_root(id, known, &passed, root));
        }
        let was = self.entries.get(id)?.root;
        self.entries.get_mut(id)?.folded(place, root.folds, root.bytes());
        self.keeps(was, -1);
        self.keeps(place, 1);
        self.tell(id, place, self.applied, &Record::Root(*root))
    }
}

#[cfg(test)]
mod tests;
