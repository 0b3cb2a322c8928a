//! Loading an account: its newest root, the rows that the root names, and the records behind it, oldest first.
//!
//! While the disk is read the log goes on: `apply` puts aside what comes of the account meanwhile, and that follows. So
//! an account that changes all the time is loaded as fast as one that does not.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::disk::Disk;
use crate::fold::UNFOLDED_MAX;
use crate::index::{Account, Arrived, Entry, blank};
use crate::record::{AccountPut, Frame, Record, RootRecord, Row, kind, unpack_rows};
use crate::recover::FIRST_SEGMENT;
use crate::salvage::Found;
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
                        let frame = Frame::read(bytes).expect("it was applied");
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
        let bytes = self.read_record(entry.put, ROOT_BYTES_GUESS).await?;
        let frame = Frame::read(&bytes).map_err(|_| ReadError::Damaged)?;
        match Record::of(&frame) {
            Ok(Some(Record::AccountPut(AccountPut { generation, name, secrets, .. })))
                if frame.account == Some(entry.id) =>
            {
                Ok(AccountInfo { id: entry.id, name: name.to_owned(), generation, secrets: secrets.into() })
            }
            _ => Err(ReadError::Damaged),
        }
    }

    async fn read_account(&self, entry: &Entry) -> Result<Account, ReadError> {
        let info = self.read_info(entry).await?;
        let version = self.index.borrow().applied;
        let (mut account, behind) = match self.read_root(entry, entry.root, &info, version).await {
            Ok(read) => read,
            Err(_) => self.older_root(entry, &info, version).await?,
        };
        let tail = match self.read_tail(entry, behind.place).await {
            Ok(tail) => tail,
            Err(_) => self.search_log(entry.id, behind.place.segment).await?,
        };
        let index = self.index.borrow();
        let mut gaps = index.gaps.iter().filter(|gap| gap.lsn > behind.lsn).peekable();
        // A search of the log may have found what has come since.
        let newest = entry.chain().newest().unwrap_or(behind.place);
        for (place, bytes) in tail.iter().filter(|(place, _)| *place > behind.place && *place <= newest) {
            while let Some(gap) = gaps.next_if(|gap| gap.place < *place) {
                account.jump(gap, version);
            }
            let frame = Frame::read(bytes).map_err(|_| ReadError::Damaged)?;
            match Record::of(&frame) {
                Ok(Some(Record::Root(_))) => {}
                // One that does not fit was counted as an orphan when it came, if somebody had the account in memory.
                Ok(Some(record)) => drop(account.apply(*place, version, &record)),
                _ => {}
            }
        }
        gaps.for_each(|gap| account.jump(gap, version));
        Ok(account)
    }

    /// The account without the rows of its root, if the records behind that only add to it. Without its name, too.
    pub async fn read_without_rows(&self, entry: &Entry, version: u64) -> Result<Option<Account>, ReadError> {
        let info = blank(entry.id).info;
        let (mut account, behind) = match entry.root.is_somewhere() {
            true => self.read_bare_root(entry, entry.root, &info, version).await?,
            false => (Account::new(info), Behind { place: Place::NOWHERE, lsn: 0 }),
        };
        for (place, bytes) in self.read_tail(entry, behind.place).await? {
            let frame = Frame::read(&bytes).map_err(|_| ReadError::Damaged)?;
            match Record::of(&frame) {
                Ok(Some(Record::Flags(_) | Record::Expunge(_))) => return Ok(None),
                Ok(Some(record)) => drop(account.apply(place, version, &record)),
                _ => {}
            }
        }
        Ok(Some(account))
    }

    /// The account as the root at `place` has it.
    async fn read_root(
        &self,
        entry: &Entry,
        place: Place,
        info: &AccountInfo,
        version: u64,
    ) -> Result<(Account, Behind), ReadError> {
        if !place.is_somewhere() {
            return Ok((Account::new(info.clone()), Behind { place: Place::NOWHERE, lsn: 0 }));
        }
        let (mut account, behind) = self.read_bare_root(entry, place, info, version).await?;
        self.read_rows(&mut account).await?;
        Ok((account, behind))
    }

    /// The same without the messages.
    async fn read_bare_root(
        &self,
        entry: &Entry,
        place: Place,
        info: &AccountInfo,
        version: u64,
    ) -> Result<(Account, Behind), ReadError> {
        let bytes = self.read_record(place, ROOT_BYTES_GUESS).await?;
        let frame = Frame::read(&bytes).map_err(|_| ReadError::Damaged)?;
        let root = match Record::of(&frame) {
            Ok(Some(Record::Root(root))) if frame.account == Some(entry.id) && RootRecord::fits(frame.payload) => root,
            _ => return Err(ReadError::Damaged),
        };
        let account = Account::of_root(info.clone(), &root, version);
        Ok((account, Behind { place: root.through, lsn: root.through_lsn }))
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
        let is_root = |bytes: &[u8]| Frame::read(bytes).is_ok_and(|frame| frame.kind == kind::ROOT);
        for (place, _) in found.iter().rev().filter(|(place, bytes)| *place != entry.root && is_root(bytes)) {
            if let Ok(read) = self.read_root(entry, *place, info, version).await {
                return Ok(read);
            }
        }
        if self.log.borrow().superblock.head_segment > FIRST_SEGMENT {
            return Err(ReadError::Damaged);
        }
        self.read_root(entry, Place::NOWHERE, info, version).await
    }

    /// Fills in the messages of the mailboxes: of the rows with one UID the newest counts.
    async fn read_rows(&self, account: &mut Account) -> Result<(), ReadError> {
        let id = account.info.id;
        for mailbox in account.mailboxes.values_mut() {
            let mut messages: Vec<Message> = Vec::new();
            let mut newer: BTreeMap<Uid, Option<Message>> = BTreeMap::new();
            for (n, run) in mailbox.rows.iter().enumerate() {
                let bytes = self.read_body(run.body, u64::from(run.len), run.check).await?;
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
        let mut wanted: Vec<Place> = entry.chain().newest_first().filter(|place| *place > through).collect();
        while !wanted.is_empty() {
            let mut older: Vec<Place> = Vec::new();
            for place in wanted {
                if self.is_damaged(place) {
                    return Err(ReadError::Damaged);
                }
                let bytes = self.read_record(place, RECORD_BYTES_GUESS).await?;
                let frame = Frame::read(&bytes).map_err(|_| ReadError::Damaged)?;
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
