//! Loading an account: its newest root, the rows that the root names, and the records behind it, oldest first.
//!
//! While the disk is read the log goes on: `apply` puts aside what comes of the account meanwhile, and that follows. So
//! an account that changes all the time is loaded as fast as one that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::disk::Disk;
use crate::fold::UNFOLDED_MAX;
use crate::index::{Account, Arrived, Entry, blank};
use crate::record::{AccountPut, Frame, LINKS_MAX, Record, RootRecord, Row, kind, unpack_rows};
use crate::recover::FIRST_SEGMENT;
use crate::salvage::{Found, Searched};
use crate::together::all;
use crate::types::{AccountId, AccountInfo, Lsn, Message, Place, Uid};
use crate::volume::{Inner, ReadError};

/// While it lives, records of an account that become durable are put aside.
struct Arriving<'a, D: Disk> {
    inner: &'a Inner<D>,
    id: AccountId,
}

impl<D: Disk> Arriving<'_, D> {
    fn end(self) -> Vec<Arrived> {
        let arrived = self.inner.index.borrow_mut().arriving.remove(&self.id);
        arrived.unwrap_or_default()
    }
}

impl<D: Disk> Drop for Arriving<'_, D> {
    fn drop(&mut self) {
        self.inner.index.borrow_mut().arriving.remove(&self.id);
        self.inner.load_bell.ring();
    }
}

/// What is in a root: the account's records up to this one, the log up to this batch.
struct Behind {
    place: Place,
    lsn: Lsn,
}

/// Octets read of a record of an account at first.
const RECORD_BYTES_GUESS: usize = 1 << 10;
/// The same of a root or a put.
const ROOT_BYTES_GUESS: usize = 8 << 10;
/// Octets between two records that are read together, at most.
const NEAR_BYTES: u64 = 16 << 10;
/// Octets read before a record where others are likely to be, at most.
const WINDOW_BYTES: u64 = 256 << 10;
/// Reads that are remembered while a tail is read.
const WINDOWS_MAX: usize = 8;

impl<D: Disk> Inner<D> {
    /// Brings the account into memory if it is not there. False: there is no such account.
    pub async fn load(&self, id: AccountId) -> Result<bool, ReadError> {
        loop {
            // One reads, the others wait for it.
            self.load_bell.until(|| !self.index.borrow().arriving.contains_key(&id)).await;
            let Some(entry) = self.index.borrow().entries.get(id).cloned() else { return Ok(false) };
            if self.index.borrow().account(id).is_some() {
                return Ok(true);
            }
            self.index.borrow_mut().arriving.insert(id, Vec::new());
            let arriving = Arriving { inner: self, id };
            let read = self.read_account(&entry).await;
            let arrived = arriving.end();
            let mut index = self.index.borrow_mut();
            let Some(now) = index.entries.get(id) else { return Ok(false) };
            match read {
                Ok(mut account) => {
                    for Arrived { place, lsn, bytes } in &arrived {
                        let frame = Frame::of(bytes).expect("it was applied");
                        if let Ok(Some(record)) = Record::of(&frame) {
                            let _ = account.apply(*place, *lsn, &record);
                        }
                    }
                    account.refresh(&index.forwards);
                    index.insert_loaded(account);
                    let long = index.entries.get(id).is_some_and(|entry| entry.unfolded > UNFOLDED_MAX);
                    drop(index);
                    if long {
                        self.house.note(id);
                        self.house_bell.ring();
                    }
                    return Ok(true);
                }
                Err(why) if (now.root, now.put) == (entry.root, entry.put) => return Err(why),
                // What was read of has been folded and compacted away meanwhile.
                Err(_) => {}
            }
        }
    }

    /// Name and secrets of an account.
    pub async fn read_info(&self, entry: &Entry) -> Result<AccountInfo, ReadError> {
        self.info_in(entry, self.read_record(entry.put, ROOT_BYTES_GUESS).await)
    }

    /// The same of what was read. Where a checkpoint names a put that is damaged, the next opening finds another, or reports it.
    fn info_in(&self, entry: &Entry, put: Result<Vec<u8>, ReadError>) -> Result<AccountInfo, ReadError> {
        let info = put.and_then(|put| info_of(entry, &put));
        if matches!(info, Err(ReadError::Damaged)) && !self.is_damaged(entry.put) {
            self.distrust();
        }
        info
    }

    async fn read_account(&self, entry: &Entry) -> Result<Account, ReadError> {
        let places = [entry.put, entry.root].into_iter().filter(|place| place.is_somewhere());
        let mut read = all(places.map(|place| self.read_record(place, ROOT_BYTES_GUESS)).collect()).await.into_iter();
        let info = self.info_in(entry, read.next().ok_or(ReadError::Damaged)?)?;
        let version = self.index.borrow().applied;
        let newest = match read.next() {
            Some(Ok(root)) => self.fill_root(bare_root_of(entry, &root, &info, version)).await,
            Some(Err(why)) => Err(why),
            None => Ok(blank_root(&info)),
        };
        let is_newest = newest.is_ok();
        let (mut account, behind) = match newest {
            Ok(read) => read,
            Err(_) => self.older_root(entry, &info, version).await?,
        };
        let tail = match self.read_tail(entry, behind.place).await {
            Ok(tail) => tail,
            Err(_) => {
                let found = self.search_log(entry.id, behind.place.segment).await?;
                if self.misses_a_root(entry, &found, behind.place) && !(is_newest && self.loss_is_accepted()) {
                    return Err(ReadError::Damaged);
                }
                found.records
            }
        };
        let index = self.index.borrow();
        let mut gaps = index.gaps.iter().filter(|gap| gap.lsn > behind.lsn).peekable();
        // A search of the log may have found what has come since.
        let newest = entry.chain().newest().unwrap_or(behind.place);
        for (place, bytes) in tail.iter().filter(|(place, _)| *place > behind.place && *place <= newest) {
            while let Some(gap) = gaps.next_if(|gap| gap.place < *place) {
                account.jump(gap, version);
            }
            let frame = Frame::of(bytes).map_err(|_| ReadError::Damaged)?;
            match Record::of(&frame) {
                Ok(Some(Record::Root(_))) => {}
                // One that does not fit was counted as an orphan when it came, if somebody had the account in memory.
                Ok(Some(record)) => drop(account.apply(*place, version, &record)),
                _ => {}
            }
        }
        gaps.for_each(|gap| account.jump(gap, version));
        account.mailboxes.values_mut().for_each(|mailbox| mailbox.fit());
        Ok(account)
    }

    /// True if records behind `through` may be gone for good: they lay in segments that were compacted, because a root had them
    /// that does not read any more. What is here would be an account with holes. Records that were lost to damage are reported,
    /// and leave no more than what they said.
    fn misses_a_root(&self, entry: &Entry, found: &Searched, through: Place) -> bool {
        let behind = found.records.iter().filter(|(place, _)| *place > through);
        let here: BTreeSet<Place> = behind.clone().map(|(place, _)| *place).collect();
        let chains = behind.filter_map(|(_, bytes)| Some(Frame::of(bytes).ok()?.chain));
        let missing: Vec<Vec<Place>> = chains
            .chain([entry.chain()])
            .map(|chain| chain.newest_first().filter(|place| *place > through && !here.contains(place)).collect())
            .collect();
        let index = self.index.borrow();
        if missing.iter().flatten().any(|place| index.is_retired(place.segment)) {
            return true;
        }
        // Where all that a record knows of is lost, there may have been such a root, if segments went after it: one that was
        // gone already where the damage begins had nothing of the account behind `through`.
        missing.iter().any(|missing| missing.len() == LINKS_MAX) && {
            let damage = self.first_damage_behind(through);
            let said = found.retired.iter().rev().find(|(place, _)| damage.is_some_and(|damage| *place < damage));
            let said = said.and_then(|(_, bytes)| match Record::of(&Frame::of(bytes).ok()?).ok()?? {
                Record::Retired(retired) => Some((retired.head, retired.runs().collect::<Vec<_>>())),
                _ => None,
            });
            let (head, gone) = said.unwrap_or_default();
            let was_gone = |n: u32| n < head || gone.iter().any(|run| (run.first..=run.last).contains(&n));
            let last = damage.map_or(self.log.borrow().active, |damage| damage.segment);
            (through.segment.max(FIRST_SEGMENT)..=last).any(|n| index.is_retired(n) && !was_gone(n))
        }
    }

    /// Batches are lost, and somebody has accepted that, with all that is not here because of them.
    fn loss_is_accepted(&self) -> bool {
        let log = self.log.borrow();
        log.whole && log.accepted > 0
    }

    /// The account without the rows of its root, if the records behind that only add to it. Without its name, too.
    pub async fn read_without_rows(&self, entry: &Entry, version: u64) -> Result<Option<Account>, ReadError> {
        let info = blank(entry.id).info;
        let (mut account, behind) = match entry.root.is_somewhere() {
            true => bare_root_of(entry, &self.read_record(entry.root, ROOT_BYTES_GUESS).await?, &info, version)?,
            false => blank_root(&info),
        };
        for (place, bytes) in self.read_tail(entry, behind.place).await? {
            let frame = Frame::of(&bytes).map_err(|_| ReadError::Damaged)?;
            match Record::of(&frame) {
                Ok(Some(Record::Flags(_) | Record::Expunge(_))) => return Ok(None),
                Ok(Some(record)) => drop(account.apply(place, version, &record)),
                _ => {}
            }
        }
        Ok(Some(account))
    }

    /// The same with the messages.
    async fn fill_root(&self, root: Result<(Account, Behind), ReadError>) -> Result<(Account, Behind), ReadError> {
        let (mut account, behind) = root?;
        self.read_rows(&mut account).await?;
        Ok((account, behind))
    }

    /// The account as the newest root has it that can be read with all its rows. Without one it begins with its first
    /// record, if the log still has that.
    async fn older_root(
        &self,
        entry: &Entry,
        info: &AccountInfo,
        version: u64,
    ) -> Result<(Account, Behind), ReadError> {
        let found = self.search_log(entry.id, 0).await?;
        let is_root = |bytes: &[u8]| Frame::of(bytes).is_ok_and(|frame| frame.kind == kind::ROOT);
        for (_, bytes) in found.records.iter().rev().filter(|(place, bytes)| *place != entry.root && is_root(bytes)) {
            if let Ok(read) = self.fill_root(bare_root_of(entry, bytes, info, version)).await {
                return Ok(read);
            }
        }
        if self.log.borrow().superblock.head_segment > FIRST_SEGMENT {
            return Err(ReadError::Damaged);
        }
        Ok(blank_root(info))
    }

    /// Fills in the messages of the mailboxes: of the rows with one UID the newest counts.
    async fn read_rows(&self, account: &mut Account) -> Result<(), ReadError> {
        let id = account.info.id;
        let runs = account.mailboxes.values().flat_map(|mailbox| mailbox.rows.iter());
        let reads = runs.map(|run| self.read_body(run.body, u64::from(run.len), run.check)).collect();
        let mut read = all(reads).await.into_iter();
        for mailbox in account.mailboxes.values_mut() {
            let mut messages: Vec<Message> = Vec::new();
            let mut newer: BTreeMap<Uid, Option<Message>> = BTreeMap::new();
            for n in 0..mailbox.rows.len() {
                let bytes = read.next().expect("each run was read")?;
                let rows = unpack_rows(id, mailbox.info.id, &bytes).ok_or(ReadError::Damaged)?;
                for row in rows {
                    match row {
                        Row::Message(message) if n == 0 => messages.push(message),
                        Row::Message(message) => drop(newer.insert(message.uid, Some(message))),
                        Row::Gone(uid) => drop(newer.insert(uid, None)),
                    }
                }
            }
            messages.retain(|m| !newer.contains_key(&m.uid));
            messages.extend(newer.into_values().flatten());
            messages.sort_unstable_by_key(|m| m.uid);
            messages.shrink_to_fit();
            mailbox.fill(messages);
        }
        account.count_bytes();
        Ok(())
    }

    /// The account's records behind `through`, oldest first.
    async fn read_tail(&self, entry: &Entry, through: Place) -> Result<Vec<Found>, ReadError> {
        let mut found: BTreeMap<Place, Rc<[u8]>> = BTreeMap::new();
        let mut windows: Vec<(Span, Vec<u8>)> = Vec::new();
        let mut wanted: Vec<Place> = entry.chain().newest_first().filter(|place| *place > through).collect();
        while !wanted.is_empty() {
            wanted.sort_unstable();
            if wanted.iter().any(|place| self.is_damaged(*place)) {
                return Err(ReadError::Damaged);
            }
            let far: Vec<Place> =
                wanted.iter().copied().filter(|place| windows.iter().all(|(span, _)| !span.has(*place))).collect();
            let left = (entry.unfolded as usize).saturating_sub(found.len());
            let spans = spans(&far, left, self.facts.segment_bytes);
            let reads = spans.iter().map(|span| self.read_span(span.segment, span.from, span.to - span.from)).collect();
            // What does not read here is tried alone.
            let read = spans.iter().copied().zip(all(reads).await);
            windows.extend(read.filter_map(|(span, bytes)| Some((span, bytes.ok()?))));
            windows.drain(..windows.len().saturating_sub(WINDOWS_MAX));
            let here = |place: Place| {
                let (span, bytes) = windows.iter().find(|(span, _)| span.has(place))?;
                let bytes = &bytes[(u64::from(place.at) - span.from) as usize..];
                self.frame_at(bytes, place).map(|frame| Rc::from(&bytes[..frame.len]))
            };
            let near: Vec<(Place, Option<Rc<[u8]>>)> = wanted.iter().map(|place| (*place, here(*place))).collect();
            let mut older: Vec<Place> = Vec::new();
            for (place, bytes) in near {
                let bytes: Rc<[u8]> = match bytes {
                    Some(bytes) => bytes,
                    None => self.read_record(place, RECORD_BYTES_GUESS).await?.into(),
                };
                let frame = Frame::of(&bytes).map_err(|_| ReadError::Damaged)?;
                if frame.account != Some(entry.id) {
                    return Err(ReadError::Damaged);
                }
                older.extend(frame.chain.newest_first().filter(|place| *place > through));
                found.insert(place, bytes[..frame.len].into());
            }
            older.sort_unstable();
            older.dedup();
            older.retain(|place| !found.contains_key(place));
            wanted = older;
        }
        // Links lead past records that were lost when they were made, also when those are back.
        if found.len() != entry.unfolded as usize {
            return Err(ReadError::Damaged);
        }
        Ok(found.into_iter().collect())
    }
}

/// Name and secrets, as the put says.
fn info_of(entry: &Entry, put: &[u8]) -> Result<AccountInfo, ReadError> {
    let frame = Frame::of(put).map_err(|_| ReadError::Damaged)?;
    match Record::of(&frame) {
        Ok(Some(Record::AccountPut(AccountPut { generation, name, secrets, .. })))
            if frame.account == Some(entry.id) =>
        {
            Ok(AccountInfo { id: entry.id, name: name.to_owned(), generation, secrets: secrets.into() })
        }
        _ => Err(ReadError::Damaged),
    }
}

/// The account as this root has it, without the messages.
fn bare_root_of(entry: &Entry, root: &[u8], info: &AccountInfo, version: u64) -> Result<(Account, Behind), ReadError> {
    let frame = Frame::of(root).map_err(|_| ReadError::Damaged)?;
    let root = match Record::of(&frame) {
        Ok(Some(Record::Root(root))) if frame.account == Some(entry.id) && RootRecord::fits(frame.payload) => root,
        _ => return Err(ReadError::Damaged),
    };
    let account = Account::of_root(info.clone(), &root, version);
    Ok((account, Behind { place: root.through, lsn: root.through_lsn }))
}

/// The account before its first record.
fn blank_root(info: &AccountInfo) -> (Account, Behind) {
    (Account::new(info.clone()), Behind { place: Place::NOWHERE, lsn: 0 })
}

/// Octets of a segment that are read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    segment: u32,
    from: u64,
    to: u64,
}

impl Span {
    fn has(&self, place: Place) -> bool {
        place.segment == self.segment && (self.from..self.to).contains(&u64::from(place.at))
    }
}

/// What is read for these records, places rising: those that lie near one another together. Where they lie close, as much before the
/// first as the records that are `left` may take, these included: so those are here before anybody knows where they are.
fn spans(places: &[Place], left: usize, segment_bytes: u64) -> Vec<Span> {
    let near = |a: &Place, b: &Place| a.segment == b.segment && u64::from(b.at - a.at) <= NEAR_BYTES;
    let spans = places.chunk_by(near).map(|group| {
        let (first, last) = (group[0], group[group.len() - 1]);
        let end = u64::from(last.at) + RECORD_BYTES_GUESS as u64;
        let between = u64::from(last.at - first.at).checked_div(group.len() as u64 - 1).unwrap_or(0);
        let before = (between * left.saturating_sub(group.len()) as u64 * 5 / 4).min(WINDOW_BYTES);
        let from = u64::from(first.at).saturating_sub(before);
        Span { segment: first.segment, from, to: end.min(segment_bytes) }
    });
    spans.filter(|span| span.from < span.to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u32, at: u32) -> Place {
        Place { segment, at }
    }

    #[test]
    fn records_that_lie_close_are_read_with_those_before_them_and_others_alone() {
        let close = [at(3, 50_000), at(3, 51_000), at(3, 52_000), at(3, 53_000)];
        assert_eq!(spans(&close, 24, 1 << 20), [Span { segment: 3, from: 25_000, to: 54_024 }]);
        assert_eq!(spans(&close, 4, 53_500), [Span { segment: 3, from: 50_000, to: 53_500 }]);
        let far = [at(2, 9_000), at(3, 9_000), at(3, 900_000), at(3, 901_000)];
        let alone = |segment, from| Span { segment, from, to: from + 1_024 };
        assert_eq!(
            spans(&far, 4, 1 << 20),
            [alone(2, 9_000), alone(3, 9_000), Span { segment: 3, from: 900_000 - 2_500, to: 902_024 }]
        );
        assert_eq!(spans(&far[..2], 64, 1 << 20), [alone(2, 9_000), alone(3, 9_000)]);
        assert_eq!(spans(&close, 5_000, 1 << 20)[0].from, 0);
        assert_eq!(spans(&[], 5_000, 1 << 20), []);
    }
}
