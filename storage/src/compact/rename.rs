//! Old places are named anew, so that tables of forwards can be forgotten: without this each move of a body that lives on
//! would leave an entry for good.
//!
//! ```text
//! too many entries ─► mark: what is durable, what is decided ─► the log goes on in another segment
//!   ─► a few accounts at a time, and a segment in between: runs and records up to the mark are folded, lists up to it are
//!      written again, and records of messages that are kept for their prefix and name a list that has moved
//!   ─► transfers are said again, debts are paid ─► "forget what was moved up to the mark" is durable
//! ```
//!
//! Renaming takes turns with compaction, a part of all accounts for a segment, so that it ends after so many segments however
//! many accounts there are. What it writes counts as appends: on a full disk it waits where it stands, and leaves the last room
//! and the reserve to those who make room.
//!
//! Whatever is decided names places as the last durable batch left them. So what is decided after the mark knows of all
//! moves up to it, and what was decided before lies in the segments up to the mark's, where it is looked for. A crash anywhere
//! leaves tables that are longer than they need to be, and another mark is made.

use std::collections::{BTreeMap, BTreeSet};

use super::moves::{Body, Moves};
use super::survey::Survey;
use super::{Pace, Stuck};
use crate::bugs::{self, Bug};
use crate::commit::Bound;
use crate::disk::Disk;
use crate::fold::{FoldError, Rewrite};
use crate::index::Entry;
use crate::record::{FRAME_BYTES_MAX, Forget, Frame, Record, kind};
use crate::transaction::Refused;
use crate::transfer::TransferNumber;
use crate::types::{AccountId, Lsn, Place};
use crate::volume::{Inner, ReadError};

/// Entries that are borne whatever the volume holds: 12 octets each.
const ENTRIES_MIN: usize = 1 << 18;
/// Entries for each body in use that are borne. A message that is moved has two.
const ENTRIES_A_BODY: usize = 2;
/// The same where everything is worth it.
const ENTRIES_EAGER: usize = 16;
/// How long who holds a place may still read there after its table was forgotten, milliseconds. Whoever holds one longer is
/// told that it is gone, and looks for the message again.
const FADES_AFTER_MS: i64 = 10 * 60 * 1_000;
/// About what a fold reads and writes, for the pace.
const FOLD_BYTES: u64 = 8 << 10;
/// Octets read of a message's record at first.
const PREFIX_BYTES_GUESS: usize = 2 << 10;

/// Accounts that are seen to, at least, before a segment is compacted that is worth it.
const ACCOUNTS_AT_ONCE: usize = 64;
/// One part in so many of all accounts is, if that is more: so many segments are compacted at most between a mark and when it
/// is forgotten. With a million accounts a turn reads and writes about as much as a segment's compaction.
const TURNS_MAX: usize = 64;

/// Where renaming stands.
#[derive(Debug, Default)]
pub struct Renaming {
    mark: Option<Mark>,
    /// Accounts that were not seen to yet; `None`: the log has not gone on in another segment.
    accounts: Option<Vec<AccountId>>,
    /// How many there were.
    accounts_all: usize,
    /// When tables were forgotten last, if they may still be asked for.
    forgot_ms: Option<i64>,
    /// Entries that are borne because fewer could not be reached.
    entries_min: usize,
}

impl Renaming {
    /// Another mark is to be made.
    fn give_up(&mut self) {
        (self.mark, self.accounts) = (None, None);
    }

    /// Accounts of one turn.
    fn turn(&self) -> usize {
        ACCOUNTS_AT_ONCE.max(self.accounts_all.div_ceil(TURNS_MAX))
    }
}

/// One moment of the log.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// What was durable.
    applied: Lsn,
    /// What was decided has no higher LSN, and lies in no later segment.
    decided: Lsn,
    segment: u32,
}

impl<D: Disk> Inner<D> {
    /// Takes a few steps towards forgetting tables of forwards, when they are too long. True: more are to follow. What is
    /// compacted between two of them has forwards that are younger than the mark, and stay.
    pub(super) async fn rename<P: Pace>(&self, pace: &P) -> Result<bool, Stuck> {
        let mut renaming = self.renaming.take();
        let done = self.rename_some(&mut renaming, pace).await;
        self.renaming.set(renaming);
        match done {
            // It needs room and makes none: that is for others. What was seen to is not undone by what came since.
            Err(Stuck::Refused(Refused::DiskFull)) => Ok(false),
            done => done,
        }
    }

    async fn rename_some<P: Pace>(&self, renaming: &mut Renaming, pace: &P) -> Result<bool, Stuck> {
        if renaming.forgot_ms.is_some_and(|at| pace.now_ms() - at > FADES_AFTER_MS) {
            renaming.forgot_ms = None;
            self.index.borrow_mut().forwards.fade();
        }
        if self.is_short() {
            return Ok(false);
        }
        let entries = self.index.borrow().forwards.len();
        let Some(mark) = renaming.mark else {
            if entries > self.entries_borne(pace.is_eager()).max(renaming.entries_min) {
                renaming.mark = Some(self.mark());
            }
            return Ok(false);
        };
        {
            let log = self.log.borrow();
            // What missing batches named is not known.
            if log.active <= mark.segment || self.index.borrow().applied < mark.decided || !log.whole {
                return Ok(false);
            }
        }
        // Also those that keep nothing that counts: what was expunged may be retained.
        if renaming.accounts.is_none() {
            let counts = |entry: &&Entry| !bugs::on(Bug::ForgetRetained) || entry.used_messages > 0;
            let all: Vec<AccountId> = self.index.borrow().entries.iter().filter(counts).map(|entry| entry.id).collect();
            (renaming.accounts_all, renaming.accounts) = (all.len(), Some(all));
        }
        let turn = renaming.turn();
        let accounts = renaming.accounts.as_mut().expect("just filled");
        for _ in 0..turn {
            // It stays in the list until it was seen to.
            let Some(account) = accounts.last().copied() else { break };
            if !self.rename_account(account, mark.segment, pace).await? {
                // It is tried again when that costs as much again.
                renaming.give_up();
                renaming.entries_min = 2 * entries;
                return Ok(false);
            }
            accounts.pop();
        }
        if !accounts.is_empty() {
            return Ok(true);
        }
        self.rename_transfers().await?;
        self.pay_debts(pace).await?;
        let bound = Bound { bytes: FRAME_BYTES_MAX + 8, parts: 0, appends: true };
        self.write(bound, |_, gather| {
            gather.push(kind::FORGET, |out| Forget { through: mark.applied }.encode(out));
            true
        })
        .await?;
        self.log.borrow_mut().stats.forgets += 1;
        let left = self.index.borrow().forwards.len();
        *renaming = Renaming { forgot_ms: Some(pace.now_ms()), entries_min: 2 * left, ..Renaming::default() };
        Ok(false)
    }

    /// No room: what is left belongs to those who make some. Whatever renaming writes counts as appends, so that it is refused
    /// before the reserve is touched.
    fn is_short(&self) -> bool {
        let log = self.log.borrow();
        log.no_room || log.stats.full || log.reserve.is_in_use()
    }

    fn entries_borne(&self, eager: bool) -> usize {
        if eager {
            return ENTRIES_EAGER;
        }
        let bodies: usize = self.index.borrow().segments.values().map(|segment| segment.bodies as usize).sum();
        ENTRIES_MIN.max(ENTRIES_A_BODY * bodies)
    }

    fn mark(&self) -> Mark {
        let log = self.log.borrow();
        let last = log.queue.back().map(|gather| (gather.lsn, gather.segment));
        let (decided, segment) = last.unwrap_or((log.next_lsn - 1, log.active));
        Mark { applied: self.index.borrow().applied, decided, segment }
    }

    /// Nothing of the account lies in segments up to this one that names an old place. False: it cannot be read.
    async fn rename_account<P: Pace>(&self, id: AccountId, segment: u32, pace: &P) -> Result<bool, Stuck> {
        // Once with the records behind its root, then what is left of runs.
        let mut rewrite = Rewrite::Nothing;
        loop {
            match self.fold(id, rewrite).await {
                Ok(done) => {
                    pace.rest(FOLD_BYTES).await;
                    if !done && rewrite != Rewrite::Nothing {
                        break;
                    }
                    rewrite = Rewrite::Through(segment);
                }
                Err(FoldError::Refused(Refused::Busy)) => self.settled().await,
                Err(FoldError::Refused(why @ (Refused::DiskFull | Refused::Failed))) => {
                    return Err(Stuck::Refused(why));
                }
                Err(FoldError::Lost(lost)) => return Err(Stuck::Lost(lost)),
                Err(FoldError::Refused(_) | FoldError::Read(_)) => return Ok(false),
            }
        }
        let was_there = self.index.borrow().account(id).is_some();
        match self.load(id).await {
            Ok(true) => {}
            Ok(false) => return Ok(true),
            Err(_) => return Ok(false),
        }
        let held = self.held(id);
        let (lists, prefixes) = {
            let index = &mut *self.index.borrow_mut();
            let Some(account) = index.loaded.get_mut(&id) else { return Ok(true) };
            account.refresh(&index.forwards);
            let large = || account.mailboxes.values().flat_map(|mailbox| &mailbox.messages).filter(|m| m.is_large());
            let lists: BTreeSet<Place> = large().map(|m| m.body).filter(|body| body.segment <= segment).collect();
            let prefixed = large().filter(|m| m.prefix_len > 0 && m.prefix.segment <= segment);
            // A copy has the prefix of its original.
            let prefixes: BTreeMap<Place, Place> = prefixed.map(|m| (m.prefix, m.body)).collect();
            (lists, prefixes)
        };
        drop(held);
        if !was_there {
            self.trim();
        }
        for list in lists {
            if !self.rename_list(list).await? {
                return Ok(false);
            }
            pace.rest(FOLD_BYTES).await;
        }
        for (prefix, body) in prefixes {
            if !self.rename_prefix(prefix, body).await? {
                return Ok(false);
            }
            pace.rest(FOLD_BYTES).await;
        }
        Ok(true)
    }

    /// A record that is kept for a large message's prefix is written again if its list was moved: such a record lives as long
    /// as the body that it names, and other than a small body a list moves without it. False: it cannot be read.
    async fn rename_prefix(&self, prefix: Place, body: Place) -> Result<bool, Stuck> {
        let (prefix, body) = (self.resolve(prefix), self.resolve(body));
        let bytes = match self.read_record(prefix, PREFIX_BYTES_GUESS).await {
            Ok(bytes) => bytes,
            // A segment with something that is damaged stays, and nobody asks there who lives.
            Err(ReadError::Damaged | ReadError::Gone) => return Ok(true),
            Err(_) => return Ok(!self.is_live(body)),
        };
        let Ok(frame) = Frame::of(&bytes) else { return Ok(true) };
        let Ok(Some(Record::Message(message) | Record::Moved(message))) = Record::of(&frame) else { return Ok(true) };
        if message.body != body && self.is_live(body) {
            let mut moves = Moves::default();
            moves.message(prefix.at, frame.payload.to_vec(), Body::At(body));
            self.move_out(prefix.segment, &moves, true).await?;
        }
        Ok(true)
    }

    /// A list of pieces is written again if one of them was moved. False: it cannot be read.
    async fn rename_list(&self, list: Place) -> Result<bool, Stuck> {
        let list = self.resolve(list);
        let Ok(mut pieces) = self.read_list(list).await else {
            // It may be gone meanwhile.
            return Ok(!self.is_live(list));
        };
        let mut moved = false;
        for piece in &mut pieces {
            let now = self.resolve(piece.place);
            moved |= now != piece.place;
            piece.place = now;
        }
        if moved && self.is_live(list) {
            let mut moves = Moves::default();
            moves.list(list.at, pieces);
            self.move_out(list.segment, &moves, true).await?;
        }
        Ok(true)
    }

    async fn rename_transfers(&self) -> Result<(), Stuck> {
        let mut all = Survey::default();
        let targets = self.index.borrow().transfers.targets();
        for (target, count) in targets {
            let pending = self.index.borrow().transfers.pending(target, TransferNumber::default(), count);
            for carried in pending.iter().map(|pending| &pending.carried).filter(|carried| carried.is_large()) {
                let _ = self.rename_list(carried.body).await?;
            }
            all.transfers.extend(pending.iter().map(|pending| (target, pending.number)));
        }
        self.carry_transfers(&all, true).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_accounts_there_are_they_are_seen_to_in_so_many_turns() {
        for all in [0, 1, 64, 65, 4_096, 4_097, 13_001, 1_000_000, 100_000_001] {
            let renaming = Renaming { accounts_all: all, ..Renaming::default() };
            assert!(all.div_ceil(renaming.turn()) <= TURNS_MAX, "{all}");
        }
    }
}
