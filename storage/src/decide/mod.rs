//! Deciding: a transaction's preconditions are checked against the decided state, numbers are given, records go
//! into the gathering batch. All or nothing, and nothing is shown before the batch is durable.
//!
//! A message that is decided and not durable cannot be changed yet: nobody has been told its UID.

mod adopt;
mod bound;
mod copies;
mod flags;
mod mailboxes;
mod quota;
mod retain;
mod transfers;
#[cfg(all(test, feature = "sim"))]
mod tests;

pub use bound::{NAME_BYTES_MAX, PREFIX_BYTES_MAX};
pub use copies::COPY_UIDS_MAX;
pub use mailboxes::{MAILBOXES_MAX, SUBSCRIPTIONS_MAX};

use std::rc::Rc;

use flags::Change;
use mailboxes::Gone;
use quota::Room;

use crate::batch::{Gather, Pushed};
use crate::bugs::{self, Bug};
use crate::commit::{Bound, Fate, Log, Ticket};
use crate::disk::{Bytes, Disk};
use crate::index::ahead::{AccountAhead, Ahead, Undo};
use crate::index::{ACCOUNT_NUMBER_MAX, Index};
use crate::record::{
    self, AccountPut, DomainPut, ExpungeRecord, FlagsRecord, MailboxPut, NewMessage, PIECE_BYTES_MAX, ReleasedList,
    RunRecord, kind,
};
use crate::retain::RETAINED;
use crate::transaction::{Changed, FlagsHow, NewMailbox, Op, Outcome, Refused, Transaction};
use crate::types::{AccountId, Flags, Limits, MailboxId, Message, Modseq, Uid};
use crate::upload::Pin;
use crate::volume::{Decided, Inner};

/// Above it nothing but our own counting leads, so that a clock in the far future, or a mailbox from elsewhere, cannot use
/// the numbers up.
const UIDVALIDITY_MAX: u32 = u32::MAX - (1 << 24);
/// Milliseconds for which an answer about free space is believed.
const FREE_ANSWER_MS: i64 = 1_000;

impl<D: Disk> Inner<D> {
    /// See [`crate::Volume::decide`]. `buffers`: where to put those of the bodies, if anybody wants them.
    pub fn decide(
        &self,
        transaction: Transaction,
        now_ms: i64,
        buffers: Option<&mut Vec<Bytes>>,
    ) -> Result<Decided, Refused> {
        self.take(transaction, now_ms, buffers).map(|taken| taken.decided)
    }

    /// The same, and what became of the bodies.
    pub fn take(
        &self,
        transaction: Transaction,
        now_ms: i64,
        buffers: Option<&mut Vec<Bytes>>,
    ) -> Result<Taken, Refused> {
        let index = self.index.borrow();
        let mut ahead = self.ahead.borrow_mut();
        let mut log = self.log.borrow_mut();
        if log.failed || log.closing {
            return Err(Refused::Failed);
        }
        // On a full disk what is expunged goes for good, so that there is room again.
        let mut retains = self.settings.retain && !log.stats.full;
        let mut bound = bound::bound(&transaction, &index, &ahead, retains)?;
        if retains && !log.holds(bound) {
            retains = false;
            bound = bound::bound(&transaction, &index, &ahead, false)?;
        }
        if bound.appends || log.no_room {
            let free = self.free_bytes(&mut log, now_ms);
            if bound.appends && free < self.settings.free_bytes_min {
                return Err(Refused::DiskFull);
            }
        }
        let pins: Vec<Pin> = transaction.bodies.iter().filter_map(|body| self.pins.hold_all(body.pieces())).collect();
        let queued = log.queue.len();
        let gather = log.gather(bound, &self.settings)?;
        let mark = gather.mark();
        let mut step = Step {
            index: &index,
            ahead: &mut ahead,
            lsn: gather.lsn,
            gather,
            undo: Undo::default(),
            made: Vec::new(),
            now_ms,
            volume: self.facts.volume,
            bodies: Vec::new(),
            arrived: Vec::new(),
            retains,
        };
        let outcomes = match step.transaction(transaction) {
            Ok(outcomes) => outcomes,
            Err(refused) => {
                let undo = std::mem::take(&mut step.undo);
                step.gather.rewind(mark);
                ahead.restore(undo);
                log.drop_if_empty();
                return Err(refused);
            }
        };
        assert!(step.gather.bytes_since(mark) <= bound.bytes, "a transaction keeps to its bound");
        gather_done(step.gather, bound);
        let bodies = std::mem::take(&mut step.bodies);
        let (lsn, arrived) = (step.lsn, std::mem::take(&mut step.arrived));
        step.gather.pins.extend(pins);
        arrived.into_iter().for_each(|(account, bytes)| ahead.arrive(lsn, account, bytes, 1));
        let gather = log.queue.back().expect("just filled");
        if let Some(buffers) = buffers {
            buffers.extend_from_slice(gather.bodies_since(mark));
        }
        let fate = gather.fate.clone();
        let segment = gather.segment;
        let full = gather.bytes() >= self.settings.batch_bytes_max;
        log.waiting_bytes += bound.bytes;
        if full {
            log.close_gather();
        }
        let ring = full || log.queue.len() != queued;
        let keep = log.wanted_segment().is_some();
        drop((index, ahead, log));
        if ring {
            self.commit_bell.ring();
        }
        if keep {
            self.keep_bell.ring();
        }
        let decided = Decided { outcomes, ticket: Ticket::new(fate.clone()) };
        Ok(Taken { decided, bodies, fate, segment })
    }

    /// See [`crate::Volume::has_room`].
    pub fn has_room(&self, octets: u64, now_ms: i64) -> bool {
        let mut log = self.log.borrow_mut();
        if log.failed || log.closing {
            return true;
        }
        self.free_bytes(&mut log, now_ms) >= self.settings.free_bytes_min.saturating_add(octets) && log.has_room(octets)
    }

    /// Free bytes of the file system, asked at most once a second; when there is enough again, the next segment is
    /// tried again.
    fn free_bytes(&self, log: &mut Log<D::File>, now_ms: i64) -> u64 {
        if let Some((at, free)) = log.free
            && (0..FREE_ANSWER_MS).contains(&(now_ms - at))
        {
            return free;
        }
        let free = self.look_for_room(log);
        log.free = Some((now_ms, free));
        free
    }

    /// Asks how much is free, what the missing reserve will take aside.
    fn look_for_room(&self, log: &mut Log<D::File>) -> u64 {
        let free = self.disk.free_bytes().unwrap_or(u64::MAX);
        let owed = if log.reserve.is_there() { 0 } else { log.superblock.segment_bytes };
        if free >= self.settings.free_bytes_min.saturating_add(log.superblock.segment_bytes) {
            log.no_room = false;
        }
        let free = free.saturating_sub(owed);
        log.stats.full = free < self.settings.free_bytes_min || log.no_room || log.reserve.is_in_use();
        free
    }

    /// A second has passed: is there room again?
    pub fn tick_room(&self) {
        let log = &mut *self.log.borrow_mut();
        self.look_for_room(log);
        let free = self.disk.free_bytes().unwrap_or(u64::MAX);
        log.reserve.tick(free);
    }
}

/// A transaction that is in the gathering batch.
pub struct Taken {
    pub decided: Decided,
    /// Where its bodies are, in their order.
    pub bodies: Vec<Pushed>,
    pub fate: Rc<Fate>,
    /// The batch's.
    pub segment: u32,
}

fn gather_done(gather: &mut Gather, bound: Bound) {
    gather.transactions += 1;
    gather.waiting_bytes += bound.bytes;
    gather.idle = false;
}

/// One transaction being decided.
struct Step<'a> {
    index: &'a Index,
    ahead: &'a mut Ahead,
    gather: &'a mut Gather,
    lsn: u64,
    undo: Undo,
    /// Mailboxes this transaction has made so far.
    made: Vec<Made>,
    now_ms: i64,
    volume: u16,
    bodies: Vec<Pushed>,
    /// What was on its way to accounts and is there now.
    arrived: Vec<(AccountId, u64)>,
    /// What is expunged is kept for a while.
    retains: bool,
}

/// A mailbox made by an op of this transaction.
struct Made {
    op: usize,
    account: AccountId,
    mailbox: MailboxId,
}

impl Step<'_> {
    fn transaction(&mut self, transaction: Transaction) -> Result<Vec<Outcome>, Refused> {
        let slot = transaction.ops.iter().find_map(|op| match op {
            Op::Append { account, .. } => Some(record::slot(*account)),
            _ => None,
        });
        let bodies: Vec<Pushed> = transaction
            .bodies
            .into_iter()
            .map(|body| {
                let len = body.len();
                let (pieces, parts) = body.into_pieces_and_parts();
                self.gather.push_body(pieces, parts, len, slot.unwrap_or(0))
            })
            .collect();
        let outcomes = transaction.ops.into_iter().enumerate().map(|(n, op)| self.op(n, op, &bodies)).collect();
        self.bodies = bodies;
        outcomes
    }

    fn op(&mut self, n: usize, op: Op, bodies: &[Pushed]) -> Result<Outcome, Refused> {
        match op {
            Op::PutDomain { name, info } => {
                self.ahead.set_domain(&name, self.lsn);
                self.gather.push(kind::DOMAIN_PUT, |out| DomainPut { name: &name, info: &info }.encode(out));
                Ok(Outcome::Done)
            }
            Op::RemoveDomain { name } => {
                self.ahead.set_domain(&name, self.lsn);
                self.gather.push(kind::DOMAIN_REMOVE, |out| crate::codec::Put::text(out, &name));
                Ok(Outcome::Done)
            }
            Op::PutAccount { name, secrets, mailboxes, limits } => {
                self.put_account(&name, &secrets, &mailboxes, limits)
            }
            Op::SetLimits { account, limits } => self.set_limits(account, limits),
            Op::RemoveAccount { account } => self.remove_account(account),
            Op::CreateMailbox { account, name, special_use, subscribed } => {
                self.create_mailbox(n, account, &name, special_use, subscribed)
            }
            Op::RenameMailbox { account, mailbox, from, name } => self.rename_mailbox(account, mailbox, &from, &name),
            Op::Subscribe { account, name, on } => self.subscribe(account, &name, on),
            Op::RemoveMailbox { account, mailbox, name } => self.remove_mailbox(account, mailbox, &name),
            Op::Renumber { account, mailbox, uidvalidity, uidnext } => {
                self.renumber(account, mailbox, uidvalidity, uidnext)
            }
            Op::Append { account, mailbox, body, prefix, flags, internal_ms } => {
                self.append(account, mailbox, bodies[body], &prefix, &flags, internal_ms, Room::Wanted)
            }
            Op::Accepted { account, mailbox, body, prefix, flags, internal_ms } => {
                self.append(account, mailbox, bodies[body], &prefix, &flags, internal_ms, Room::Needless)
            }
            Op::StoreFlags { account, mailbox, uids, how, flags, unchanged_since } => {
                self.store_flags(account, mailbox, uids, how, &flags, unchanged_since)
            }
            Op::Copy { account, from, uids, to } => self.copy(account, from, uids, to),
            Op::Move { account, from, uids, to } => self.shift(account, from, uids, to),
            Op::Expunge { account, mailbox, uids } => self.expunge(account, mailbox, uids, true),
            Op::Discard { account, mailbox, uids } => self.expunge(account, mailbox, uids, false),
            Op::Summaries { account, mailbox, items } => self.summaries(account, mailbox, items),
            Op::Transfer(op) => self.transfer(op, bodies),
            Op::Adopt(op) => self.adopt(op, bodies),
        }
    }

    fn account(&mut self, id: AccountId) -> Result<(&mut AccountAhead, &mut Gather), Refused> {
        if self.ahead.frozen.contains(&id) {
            return Err(Refused::Busy);
        }
        let account = self.ahead.account(self.index, id, self.lsn, &mut self.undo).ok_or(Refused::NoAccount)?;
        self.gather.touch(id);
        Ok((account, self.gather))
    }

    /// The same for what needs more of the account than its INBOX's numbers.
    fn loaded(&mut self, id: AccountId) -> Result<(&mut AccountAhead, &mut Gather), Refused> {
        let made = |ahead: &Ahead| ahead.peek(id).is_some_and(|a| a.made.is_some());
        if self.index.account(id).is_none() && self.index.entries.get(id).is_some() && !made(self.ahead) {
            return Err(Refused::NotLoaded);
        }
        self.account(id)
    }

    /// Seconds since 1970.
    fn now_s(&self) -> u32 {
        u32::try_from(self.now_ms / 1_000).unwrap_or(if self.now_ms < 0 { 0 } else { u32::MAX })
    }

    /// max(now, last + 1), so it never goes back, whatever the clock does.
    fn next_uidvalidity(&mut self) -> Result<u32, Refused> {
        let now = u32::try_from(self.now_ms / 1_000).unwrap_or(0).min(UIDVALIDITY_MAX);
        if bugs::on(Bug::UidvalidityOfClock) {
            return Ok(now);
        }
        let next = now.max(self.ahead.last_uidvalidity.checked_add(1).ok_or(Refused::TooLarge)?);
        self.ahead.last_uidvalidity = next;
        Ok(next)
    }

    fn put_account(
        &mut self,
        name: &str,
        secrets: &[u8],
        mailboxes: &[NewMailbox],
        limits: Limits,
    ) -> Result<Outcome, Refused> {
        if let Some(id) = self.ahead.named(self.index, name) {
            self.put_again(id, name, secrets, None)?;
            return Ok(Outcome::Account(id));
        }
        if self.ahead.last_account >= ACCOUNT_NUMBER_MAX {
            return Err(Refused::TooLarge);
        }
        let uidvalidity = self.next_uidvalidity()?;
        self.ahead.last_account += 1;
        let id = AccountId(u64::from(self.volume) << 48 | self.ahead.last_account);
        self.ahead.set_name(name, Some(id), self.lsn, &mut self.undo);
        let account = self.ahead.make(id, name, self.lsn, &mut self.undo);
        let mailbox = account.make_mailbox(self.index, id, "INBOX", uidvalidity, 0).expect("the first of its account");
        account.subscribe("INBOX", true);
        assert_eq!(mailbox, MailboxId::INBOX);
        let modseq = account.modseq;
        account.limits = limits;
        let Limits { bytes: limit_bytes, messages: limit_messages } = limits;
        self.gather.push_of(kind::ACCOUNT_PUT, id, &mut account.chain, |out| {
            AccountPut { modseq, generation: 1, limit_bytes, limit_messages, name, secrets }.encode(out);
        });
        let put =
            MailboxPut { mailbox, uidvalidity, modseq, special_use: 0, subscribed: true, begins: false, name: "INBOX" };
        self.gather.push_of(kind::MAILBOX_PUT, id, &mut account.chain, |out| put.encode(out));
        for NewMailbox { name, special_use } in mailboxes {
            self.make_mailbox(id, name, *special_use, true)?;
        }
        Ok(Outcome::Account(id))
    }

    fn remove_account(&mut self, id: AccountId) -> Result<Outcome, Refused> {
        let index = self.index;
        let (account, _) = self.loaded(id)?;
        if account.is_coming() {
            return Err(Refused::Busy);
        }
        let mut gone = Gone::default();
        for mailbox in index.account(id).into_iter().flat_map(|a| a.mailboxes.values()) {
            let ahead = account.peek(mailbox.info.id);
            if ahead.is_none_or(|ahead| !ahead.is_removed()) {
                gone.mailbox(index, Some(mailbox), ahead);
            }
        }
        index.account(id).into_iter().for_each(|account| gone.rows(account));
        let name = match &account.made {
            Some(name) => name.clone(),
            None => index.account(id).map(|a| a.info.name.clone()).ok_or(Refused::NotLoaded)?,
        };
        let (bytes, messages, released) = (gone.bytes, gone.messages, gone.released);
        let (account, gather) = self.account(id)?;
        gather.push_of(kind::ACCOUNT_REMOVE, id, &mut account.chain, |out| {
            ReleasedList::encode(out, bytes, messages, &released);
        });
        account.removed = true;
        self.ahead.set_name(&name, None, self.lsn, &mut self.undo);
        Ok(Outcome::Done)
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one op")]
    fn append(
        &mut self,
        id: AccountId,
        mailbox: MailboxId,
        pushed: Pushed,
        prefix: &[u8],
        flags: &Flags,
        internal_ms: i64,
        room: Room,
    ) -> Result<Outcome, Refused> {
        let size = u32::try_from(prefix.len() as u64 + pushed.len).map_err(|_| Refused::TooLarge)?;
        self.room(id, room, u64::from(size), 1)?;
        let (index, saved_s, lsn) = (self.index, self.now_s(), self.lsn);
        let (account, gather) = if mailbox == MailboxId::INBOX { self.account(id)? } else { self.loaded(id)? };
        let flags = &flags::once(flags);
        let into = account.mailbox(index, id, mailbox).ok_or(Refused::NoMailbox)?;
        let (uid, uidvalidity) = (into.uidnext, into.uidvalidity);
        // The last UID is never given, so that UIDNEXT always has a value.
        into.uidnext = uid.checked_add(1).ok_or(Refused::UidsUsedUp)?;
        into.keyword_bytes_max = into.keyword_bytes_max.max(record::keyword_bytes(flags));
        into.coming = lsn;
        let modseq = account.next_modseq();
        account.keep(u64::from(size), 1);
        gather.payload_bytes += prefix.len() as u64;
        let message = NewMessage {
            mailbox,
            uid,
            modseq,
            size,
            saved_s,
            internal_ms,
            body: pushed.place,
            body_check: pushed.check,
            large: pushed.large,
            retained: false,
            flags,
            prefix,
        };
        let body = (pushed, NewMessage::BODY_AT);
        gather.push_with_body(kind::MESSAGE, id, &mut account.chain, body, |out| message.encode(out));
        Ok(Outcome::Appended { uid, uidvalidity, modseq })
    }

    fn store_flags(
        &mut self,
        id: AccountId,
        mailbox: MailboxId,
        uids: Vec<Uid>,
        how: FlagsHow,
        flags: &Flags,
        unchanged_since: Option<Modseq>,
    ) -> Result<Outcome, Refused> {
        let (index, lsn) = (self.index, self.lsn);
        let uids = in_order(uids);
        let (account, gather) = self.loaded(id)?;
        let into = account.mailbox(index, id, mailbox).ok_or(Refused::NoMailbox)?;
        let durable = index.mailbox(id, mailbox);
        let change = Change::new(how, flags);
        let mut changes: Vec<(Uid, Flags, Modseq)> = Vec::new();
        let mut modified = Vec::new();
        for uid in uids {
            let Some(message) = durable.and_then(|m| m.by_uid(uid)) else { continue };
            if into.expunged.contains_key(&uid) {
                continue;
            }
            let (was, modseq) = match into.flags.get(&uid) {
                Some((flags, modseq, _)) => (flags.clone(), *modseq),
                None => (message.flags(), message.modseq),
            };
            if unchanged_since.is_some_and(|since| modseq > since) {
                modified.push(uid);
                continue;
            }
            let new = change.of(&was);
            bound::keyword_bytes(&new)?;
            if new != was {
                changes.push((uid, new, modseq));
            }
        }
        if changes.is_empty() {
            return Ok(Outcome::Stored { changed: Vec::new(), modified });
        }
        for (_, new, _) in &changes {
            into.keyword_bytes_max = into.keyword_bytes_max.max(record::keyword_bytes(new));
        }
        let modseq = if bugs::on(Bug::KeepModseq) { account.modseq } else { account.next_modseq() };
        let into = account.mailbox(index, id, mailbox).expect("found above");
        into.flags.extend(changes.iter().map(|(uid, new, _)| (*uid, (new.clone(), modseq, lsn))));
        gather.push_of(kind::FLAGS, id, &mut account.chain, |out| {
            FlagsRecord::encode_head(out, mailbox, modseq, changes.len() as u32);
            changes.iter().for_each(|(uid, new, _)| FlagsRecord::encode_item(out, *uid, new));
        });
        let changed = changes.into_iter().map(|(uid, flags, before)| Changed { uid, flags, modseq, before }).collect();
        Ok(Outcome::Stored { changed, modified })
    }

    fn expunge(&mut self, id: AccountId, mailbox: MailboxId, uids: Vec<Uid>, retain: bool) -> Result<Outcome, Refused> {
        let index = self.index;
        let uids = in_order(uids);
        let (account, _) = self.loaded(id)?;
        account.mailbox(index, id, mailbox).ok_or(Refused::NoMailbox)?;
        let kept = if retain { self.retain(id, mailbox, &uids)? } else { None };
        let (uids, modseq) = self.leave(id, mailbox, uids, kept)?;
        Ok(Outcome::Expunged(uids, modseq))
    }

    /// Messages go, under this MODSEQ or the next one. Returns those that were there, and the MODSEQ of their going.
    fn leave(
        &mut self,
        id: AccountId,
        mailbox: MailboxId,
        mut uids: Vec<Uid>,
        modseq: Option<Modseq>,
    ) -> Result<(Vec<Uid>, Modseq), Refused> {
        let (index, lsn) = (self.index, self.lsn);
        let (account, _) = self.account(id)?;
        let leaving = account.mailbox(index, id, mailbox).ok_or(Refused::NoMailbox)?;
        let durable = index.mailbox(id, mailbox);
        uids.retain(|uid| durable.is_some_and(|m| m.position(*uid).is_some()) && !leaving.expunged.contains_key(uid));
        if uids.is_empty() {
            return Ok((uids, account.modseq));
        }
        leaving.expunged.extend(uids.iter().map(|uid| (*uid, lsn)));
        let gone: Vec<_> = uids.iter().filter_map(|uid| durable?.by_uid(*uid)).map(|m| index.fresh(m)).collect();
        let gone = gone.iter().map(|m| &**m);
        let counted = account.name_of(index, id, mailbox) != Some(RETAINED);
        if counted {
            account.let_go(gone.clone().map(Message::size).sum(), uids.len() as u32);
        }
        let modseq = modseq.unwrap_or_else(|| account.next_modseq());
        let (account, gather) = self.account(id)?;
        gather.push_of(kind::EXPUNGE, id, &mut account.chain, |out| {
            ExpungeRecord::encode(out, mailbox, modseq, gone, counted);
        });
        Ok((uids, modseq))
    }

    fn summaries(&mut self, id: AccountId, mailbox: MailboxId, items: Vec<(Uid, Vec<u8>)>) -> Result<Outcome, Refused> {
        let index = self.index;
        assert!(items.is_sorted_by(|a, b| a.0 < b.0), "summaries come with rising UIDs");
        let lsn = self.lsn;
        let (account, gather) = self.loaded(id)?;
        let into = account.mailbox(index, id, mailbox).ok_or(Refused::NoMailbox)?;
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return Ok(Outcome::Done) };
        into.coming = lsn;
        let (first, last, count) = (first.0, last.0, items.len() as u32);
        let packed = record::pack(&items);
        let len = packed.len() as u64;
        if len > PIECE_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let body = gather.push_body(Vec::new(), vec![packed], len, record::slot(id));
        let run =
            RunRecord { mailbox, first, last, count, body: body.place, body_len: len as u32, body_check: body.check };
        let at = (body, RunRecord::BODY_AT);
        gather.push_with_body(kind::RUN, id, &mut account.chain, at, |out| run.encode(out));
        Ok(Outcome::Done)
    }
}

fn in_order(mut uids: Vec<Uid>) -> Vec<Uid> {
    uids.sort_unstable();
    uids.dedup();
    uids
}
