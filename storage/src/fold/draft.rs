//! A root as it will be written: what stays of the runs, what is new, what is let go.

use super::plan::{MailboxPlan, Merge, Plan};
use super::runs::{Size, cut, overlay};
use crate::batch::Gather;
use crate::bugs::{self, Bug};
use crate::commit::Bound;
use crate::index::ahead::{Ahead, Undo};
use crate::index::{Account, Index, Mailbox};
use crate::record::{
    self, AccountPut, EXPUNGED_KEPT, FRAME_BYTES_MAX, Frame, MailboxRoot, NewRoot, Record, Released, Row, RowRun,
    RunRef, here, kind, pack, pack_rows,
};
use crate::types::{AccountId, Limits, MailboxId, Message, Modseq, Place, Uid};

/// Octets of a root beside its lists.
const ROOT_HEAD_BYTES: u64 = 192;
/// Of a mailbox in it, beside its name and lists.
const MAILBOX_BYTES: u64 = 64;
/// Of a run in it; of a body that comes with it, its record included; of one that it lets go.
const RUN_BYTES: u64 = 40;
const ADDED_BYTES: u64 = 16 + FRAME_BYTES_MAX + 32;
const RELEASED_BYTES: u64 = 16;

/// All of a root but the places of what comes with it: those are counted from 0 here.
pub struct Draft<'a> {
    pub blobs: Vec<u8>,
    lens: Vec<u32>,
    /// For each blob, whether it is one of rows.
    of_rows: Vec<bool>,
    released: Vec<Released>,
    mailboxes: Vec<MailboxRoot>,
    subscriptions: Vec<Box<str>>,
    last_mailbox: u32,
    put: Option<&'a [u8]>,
}

impl<'a> Draft<'a> {
    /// `whole`: all messages are in memory. `None`: the plan is not of this account as it is now.
    pub fn new(
        account: &Account,
        whole: bool,
        plan: &'a Plan,
        rows_max: Size,
        resolve: &dyn Fn(Place) -> Place,
    ) -> Option<Self> {
        let mut draft = Draft {
            blobs: Vec::new(),
            lens: Vec::new(),
            of_rows: Vec::new(),
            released: Vec::new(),
            mailboxes: Vec::new(),
            subscriptions: account.subscriptions.clone(),
            last_mailbox: account.last_mailbox,
            put: plan.put.as_ref().map(|(_, put)| &put[..]),
        };
        draft.released.extend(account.left.iter().map(Released::of_rows));
        let nothing = MailboxPlan::default();
        for mailbox in account.mailboxes.values() {
            let plan = plan.mailboxes.get(&mailbox.info.id).unwrap_or(&nothing);
            let rows = draft.rows((account.info.id, mailbox, whole), plan, rows_max, resolve)?;
            let runs = draft.summaries(mailbox, &plan.summaries, whole)?;
            draft.mailboxes.push(root_of(mailbox, rows, runs));
        }
        Some(draft)
    }

    fn rows(
        &mut self,
        (account, mailbox, whole): (AccountId, &Mailbox, bool),
        plan: &MailboxPlan,
        max: Size,
        resolve: &dyn Fn(Place) -> Place,
    ) -> Option<Vec<RowRun>> {
        let message = |m: &Message| Row::Message(m.clone());
        let mut new: Vec<Row> = match plan.all_rows {
            true => mailbox.messages.iter().map(message).collect(),
            false => {
                let row = |uid: Uid| mailbox.by_uid(uid).map_or(Row::Gone(uid), message);
                mailbox.dirty_uids().into_iter().map(row).collect()
            }
        };
        if bugs::on(Bug::FoldDropsNewest) {
            new.pop();
        }
        // What has gone since a run was written needs no more than its UID, if that.
        let kept = |row: &Row| match row {
            Row::Message(m) if whole && mailbox.position(m.uid).is_none() => Row::Gone(m.uid),
            row => row.clone(),
        };
        let mut rows: Vec<RowRun> = Vec::new();
        let put = |draft: &mut Self, rows: &mut Vec<RowRun>, run: Vec<Row>| {
            for mut run in cut(run, max) {
                for row in &mut run {
                    if let Row::Message(m) = row {
                        (m.prefix, m.body) = (resolve(m.prefix), resolve(m.body));
                    }
                }
                let (body, len) = draft.blob(pack_rows(account, mailbox.info.id, &run), true);
                rows.push(RowRun { body, len, rows: run.len() as u32, check: 0 });
            }
        };
        let mut at = 0;
        let all = 0..mailbox.rows.len();
        let merges = plan.rows.iter().map(|merge| (merge.range.clone(), Some(merge)));
        for (range, merge) in merges.chain(plan.all_rows.then_some((all, None))) {
            rows.extend(mailbox.rows.get(at..range.start)?);
            let gone = mailbox.rows.get(range.clone())?;
            self.released.extend(gone.iter().map(Released::of_rows));
            if let Some(Merge { items, joins_new, .. }) = merge {
                let newer = if *joins_new { std::mem::take(&mut new) } else { Vec::new() };
                put(self, &mut rows, overlay(vec![items.iter().map(kept).collect(), newer], range.start == 0));
            }
            at = range.end;
        }
        rows.extend(mailbox.rows.get(at..)?);
        let oldest = rows.is_empty();
        put(self, &mut rows, overlay(vec![new], oldest));
        Some(rows)
    }

    fn summaries(&mut self, mailbox: &Mailbox, plan: &[Merge<(Uid, Vec<u8>)>], whole: bool) -> Option<Vec<RunRef>> {
        let mut runs: Vec<RunRef> = Vec::new();
        let mut at = 0;
        for Merge { range, items, .. } in plan {
            runs.extend(mailbox.runs.get(at..range.start)?);
            let gone = mailbox.runs.get(range.clone())?;
            self.released.extend(gone.iter().map(|run| Released {
                body: run.body,
                len: run.body_len,
                large: false,
                rows: false,
            }));
            at = range.end;
            // One that is not given yet is nobody's to drop.
            let is_wanted = |uid: Uid| !whole || uid >= mailbox.uidnext || mailbox.position(uid).is_some();
            let kept: Vec<(Uid, Vec<u8>)> = items.iter().filter(|(uid, _)| is_wanted(*uid)).cloned().collect();
            if let (Some(first), Some(last)) = (kept.first(), kept.last()) {
                let (first, last, count) = (first.0, last.0, kept.len() as u32);
                let (body, body_len) = self.blob(pack(&kept), false);
                runs.push(RunRef { first, last, count, body, body_len, body_check: 0 });
            }
        }
        runs.extend(mailbox.runs.get(at..)?);
        Some(runs)
    }

    /// Adds a blob; returns its number as a place, and its length.
    fn blob(&mut self, bytes: Vec<u8>, rows: bool) -> (Place, u32) {
        let len = u32::try_from(bytes.len()).expect("a run is smaller than a segment");
        self.blobs.extend_from_slice(&bytes);
        self.lens.push(len);
        self.of_rows.push(rows);
        (here(self.lens.len() as u32 - 1), len)
    }

    /// Octets of the root's record, at most.
    pub fn root_bytes(&self) -> u64 {
        let names = self.subscriptions.iter().map(|name| name.len() as u64 + 2).sum::<u64>();
        let mailboxes = self.mailboxes.iter().map(|m| {
            let runs = (m.rows.len() + m.runs.len()) as u64 * RUN_BYTES;
            MAILBOX_BYTES + m.name.len() as u64 + m.expunged.len() as u64 * 12 + runs
        });
        let released = self.released.len() as u64 * RELEASED_BYTES;
        FRAME_BYTES_MAX + ROOT_HEAD_BYTES + names + mailboxes.sum::<u64>() + released
    }

    /// The most that it takes of the log. `appends`: it leaves the last room to others.
    pub fn bound(&self, appends: bool) -> Bound {
        let added = self.lens.len() as u64 * ADDED_BYTES;
        let put = self.put.map_or(0, |put| put.len() as u64 + FRAME_BYTES_MAX);
        Bound { bytes: self.blobs.len() as u64 + added + put + self.root_bytes(), parts: 1, appends }
    }

    /// Adds it to the batch. `None`: the account is gone.
    pub fn put(&self, id: AccountId, index: &Index, ahead: &mut Ahead, gather: &mut Gather) -> Option<()> {
        let entry = index.entries.get(id)?;
        let (lsn, through) = (gather.lsn, entry.chain().newest_first().next()?);
        let account = ahead.account(index, id, lsn, &mut Undo::default())?;
        assert!(account.folding == 0, "one root of an account is on its way at a time");
        account.folding = lsn;
        let put = match self.put.and_then(put_of) {
            Some(put) => {
                let Limits { bytes: limit_bytes, messages: limit_messages } = account.limits;
                let put = AccountPut { modseq: account.modseq, limit_bytes, limit_messages, ..put };
                account.put = lsn;
                gather.push_of(kind::ACCOUNT_PUT, id, &mut account.chain, |out| put.encode(out))
            }
            None => entry.put,
        };
        let pushed = gather.push_blobs(self.blobs.clone(), &self.lens, record::slot(id));
        let added: Vec<Released> = pushed
            .iter()
            .zip(&self.of_rows)
            .map(|(blob, rows)| Released { body: here(blob.place.at), len: blob.len as u32, large: false, rows: *rows })
            .collect();
        let nowhere = here(0).segment;
        let mut mailboxes = self.mailboxes.clone();
        for m in &mut mailboxes {
            for run in m.rows.iter_mut().filter(|run| run.body.segment == nowhere) {
                let blob = pushed[run.body.at as usize];
                (run.body, run.check) = (here(blob.place.at), blob.check);
            }
            for run in m.runs.iter_mut().filter(|run| run.body.segment == nowhere) {
                let blob = pushed[run.body.at as usize];
                (run.body, run.body_check) = (here(blob.place.at), blob.check);
            }
        }
        // What is always in memory of an account is as decided, so that who begins to read the log here has it as it is.
        let inbox = account.peek(MailboxId::INBOX).map(|m| (m.uidnext, m.uidvalidity));
        let (inbox_uidnext, inbox_uidvalidity) = inbox.unwrap_or((entry.inbox_uidnext, entry.inbox_uidvalidity));
        let root = NewRoot {
            segment: gather.segment,
            name_hash: entry.name_hash(),
            put,
            through,
            through_lsn: index.applied,
            folds: entry.unfolded,
            generation: entry.generation,
            modseq: account.modseq,
            used_bytes: account.used_bytes,
            limit_bytes: entry.limit_bytes,
            used_messages: account.used_messages,
            limit_messages: entry.limit_messages,
            inbox_uidnext,
            inbox_uidvalidity,
            last_mailbox: self.last_mailbox,
            added: &added,
            released: &self.released,
            subscriptions: &self.subscriptions,
            mailboxes: &mailboxes,
        };
        gather.push_root(id, &root);
        Some(())
    }
}

fn put_of(bytes: &[u8]) -> Option<AccountPut<'_>> {
    match Record::of(&Frame::of(bytes).ok()?) {
        Ok(Some(Record::AccountPut(put))) => Some(put),
        _ => None,
    }
}

fn root_of(mailbox: &Mailbox, rows: Vec<RowRun>, runs: Vec<RunRef>) -> MailboxRoot {
    let forgotten = mailbox.expunged.len().saturating_sub(EXPUNGED_KEPT);
    let floor = forgotten.checked_sub(1).map_or(mailbox.floor, |last| mailbox.expunged[last].0);
    let expunged: Vec<(Modseq, Uid)> = mailbox.expunged.iter().filter(|(modseq, _)| *modseq > floor).copied().collect();
    MailboxRoot {
        id: mailbox.info.id,
        name: mailbox.info.name.clone(),
        uidvalidity: mailbox.info.uidvalidity,
        uidnext: mailbox.uidnext,
        special_use: mailbox.info.special_use,
        highest_modseq: mailbox.highest_modseq,
        floor,
        keyword_bytes_max: u32::try_from(mailbox.keyword_bytes_max).unwrap_or(u32::MAX),
        expunged,
        rows,
        runs,
    }
}
