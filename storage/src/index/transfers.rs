//! Transfers as the log adds them up, and as they are decided beyond it.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::codec::{Put, Reader};
use crate::record::{NewTransfer, Released, SENT_RUNS_MAX, SentView, TransferRecord, TransferView, WatermarkView};
use crate::transfer::{PendingTransfer, TransferNumber, Watermark};
use crate::types::{Flags, LARGE, Message, VolumeId};

/// Everything durable about transfers.
#[derive(Default)]
pub struct Transfers {
    /// Of the numbers given now; 0 before the first.
    incarnation: u64,
    out: BTreeMap<VolumeId, Outgoing>,
    watermarks: BTreeMap<VolumeId, Watermark>,
    count: usize,
}

/// What is owed to one volume.
#[derive(Default)]
struct Outgoing {
    last: TransferNumber,
    sent: TransferNumber,
    pending: BTreeMap<TransferNumber, Rc<PendingTransfer>>,
}

/// What is decided about transfers and may not be durable. Where it names nothing the index counts.
#[derive(Clone, Default)]
pub struct TransfersAhead {
    incarnation: u64,
    last: BTreeMap<VolumeId, TransferNumber>,
    watermarks: BTreeMap<VolumeId, Watermark>,
}

impl Transfers {
    /// See [`crate::Volume::transfer_targets`].
    pub fn targets(&self) -> Vec<(VolumeId, usize)> {
        self.out.iter().map(|(target, out)| (*target, out.pending.len())).filter(|(_, n)| *n > 0).collect()
    }

    /// Pending transfers to all volumes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// See [`crate::Volume::pending_transfers`].
    pub fn pending(&self, target: VolumeId, after: TransferNumber, limit: usize) -> Vec<Rc<PendingTransfer>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let Some(out) = self.out.get(&target) else { return Vec::new() };
        out.pending.range((Excluded(after), Unbounded)).take(limit).map(|(_, pending)| pending.clone()).collect()
    }

    /// A transfer, if it is pending.
    pub fn one(&self, target: VolumeId, number: TransferNumber) -> Option<Rc<PendingTransfer>> {
        self.out.get(&target)?.pending.get(&number).cloned()
    }

    /// What all that are pending carry.
    pub fn carried(&self) -> Vec<Message> {
        self.out.values().flat_map(|out| out.pending.values().map(|pending| pending.carried.clone())).collect()
    }

    /// Of the numbers given now; 0: none was given.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// See [`crate::Volume::transfers_sent`].
    pub fn sent(&self, target: VolumeId) -> TransferNumber {
        self.out.get(&target).map_or(TransferNumber::default(), |out| out.sent)
    }

    /// See [`crate::Volume::watermark`].
    pub fn watermark(&self, source: VolumeId) -> Option<&Watermark> {
        self.watermarks.get(&source)
    }

    /// Lost batches may have given numbers: another incarnation begins.
    pub fn jump(&mut self, numbers: u32) {
        if self.incarnation != 0 {
            self.incarnation = self.incarnation.saturating_add(u64::from(numbers));
        }
    }

    fn add(&mut self, view: &TransferView<'_>) -> Option<()> {
        self.incarnation = self.incarnation.max(view.number.incarnation);
        let out = self.out.entry(view.target).or_default();
        if out.pending.contains_key(&view.number) {
            return None;
        }
        out.last = out.last.max(view.number);
        out.pending.insert(view.number, Rc::new(pending(view)));
        self.count += 1;
        Some(())
    }

    /// A transfer was written again. What was sent meanwhile is not owed any more.
    fn moved(&mut self, view: &TransferView<'_>) {
        let out = self.out.entry(view.target).or_default();
        match out.pending.get_mut(&view.number) {
            Some(there) => *there = Rc::new(pending(view)),
            None if view.number > out.sent => drop(self.add(view)),
            None => {}
        }
    }

    /// Lets go what was sent.
    fn let_go(&mut self, view: &SentView<'_>) -> Vec<Rc<PendingTransfer>> {
        let out = self.out.entry(view.target).or_default();
        let mut gone = Vec::new();
        for (first, last) in view.runs().filter(|(first, last)| first <= last) {
            out.sent = out.sent.max(last);
            out.last = out.last.max(last);
            let numbers: Vec<TransferNumber> = out.pending.range(first..=last).map(|(number, _)| *number).collect();
            gone.extend(numbers.iter().filter_map(|number| out.pending.remove(number)));
        }
        self.count -= gone.len();
        gone
    }

    /// Those pending of its incarnation up to this one, in runs.
    pub fn runs_up_to(&self, target: VolumeId, up_to: TransferNumber) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let first = TransferNumber { number: 0, ..up_to };
        let pending = self.out.get(&target).into_iter().flat_map(|out| out.pending.range(first..=up_to));
        for number in pending.map(|(number, _)| number.number) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => runs.push((number, number)),
            }
        }
        if runs.len() > SENT_RUNS_MAX {
            runs.truncate(SENT_RUNS_MAX);
            runs[SENT_RUNS_MAX - 1].1 = up_to.number;
        }
        runs
    }

    fn receive(&mut self, view: &WatermarkView<'_>) {
        let watermark = self.watermarks.entry(view.source).or_default();
        watermark.raise(view.number, view.settled, view.bounced());
    }
}

impl Watermark {
    /// One more was received.
    pub(crate) fn raise(
        &mut self,
        number: TransferNumber,
        settled: TransferNumber,
        bounced: impl IntoIterator<Item = u16>,
    ) {
        self.number = self.number.max(number);
        self.bounced.retain(|(of, _)| *of > settled);
        for copy in bounced {
            // Compaction says it again.
            if !self.bounced.contains(&(number, copy)) {
                self.bounced.push((number, copy));
            }
        }
    }
}

fn pending(view: &TransferView<'_>) -> PendingTransfer {
    PendingTransfer {
        target: view.target,
        number: view.number,
        copies: view.copies().collect(),
        internal_ms: view.internal_ms,
        from: view.from,
        hide: view.hide,
        carried: Message {
            prefix_len: view.prefix_len,
            prefix: view.prefix,
            body: view.body,
            body_check: view.body_check,
            bits: if view.large { LARGE } else { 0 },
            ..Message::sketch(0, 0, &Flags::none(), view.size, view.internal_ms)
        },
    }
}

impl Transfers {
    /// Applies a record of transfers; `None` when it does not fit what is there. `users`: told of bodies, their octets, and
    /// how many more or less use them.
    pub(crate) fn apply(&mut self, record: &TransferRecord<'_>, users: &mut impl FnMut(Released, i32)) -> Option<()> {
        match record {
            TransferRecord::Transfer(view) => {
                let carried = pending(view).carried;
                self.add(view)?;
                users(Released::of(&carried), 1);
            }
            TransferRecord::Sent(view) => {
                let gone = self.let_go(view);
                gone.iter().for_each(|pending| users(Released::of(&pending.carried), -1));
            }
            TransferRecord::Moved(view) => self.moved(view),
            TransferRecord::Anew { incarnation } => self.incarnation = self.incarnation.max(*incarnation),
            TransferRecord::Watermark(view) => self.receive(view),
        }
        Some(())
    }
}

/// Images in a checkpoint.
impl Transfers {
    /// Targets that have one.
    pub fn out_ids(&self) -> Vec<VolumeId> {
        self.out.keys().copied().collect()
    }

    /// What is owed to one volume.
    pub fn encode_out(&self, target: VolumeId, out: &mut Vec<u8>) {
        let owed = &self.out[&target];
        put_number(out, owed.last);
        put_number(out, owed.sent);
        out.u32(owed.pending.len() as u32);
        for pending in owed.pending.values() {
            let PendingTransfer { target, number, internal_ms, from, hide, .. } = **pending;
            let (carried, copies) = (&pending.carried, &pending.copies[..]);
            let mut one = Vec::new();
            NewTransfer { target, number, internal_ms, from, hide, carried, copies }.encode(&mut one);
            out.blob(&one);
        }
    }

    /// `None`: no image of what is owed to this volume.
    pub fn restore_out(&mut self, target: VolumeId, r: &mut Reader<'_>) -> Option<()> {
        let mut owed = Outgoing { last: number(r)?, sent: number(r)?, pending: BTreeMap::new() };
        for _ in 0..r.u32()? {
            let view = TransferView::decode(&mut Reader::new(r.blob()?)).filter(|view| view.target == target)?;
            owed.pending.insert(view.number, Rc::new(pending(&view)));
        }
        self.count += owed.pending.len();
        self.out.insert(target, owed);
        Some(())
    }

    /// The incarnation, and how far others have sent.
    pub fn encode_watermarks(&self, out: &mut Vec<u8>) {
        out.u64(self.incarnation);
        out.u32(self.watermarks.len() as u32);
        for (source, watermark) in &self.watermarks {
            out.u16(*source);
            put_number(out, watermark.number);
            out.u32(watermark.bounced.len() as u32);
            for (of, copy) in &watermark.bounced {
                put_number(out, *of);
                out.u16(*copy);
            }
        }
    }

    /// `None`: no such image.
    pub fn restore_watermarks(&mut self, r: &mut Reader<'_>) -> Option<()> {
        self.incarnation = r.u64()?;
        for _ in 0..r.u32()? {
            let source = r.u16()?;
            let mut watermark = Watermark { number: number(r)?, bounced: Vec::new() };
            for _ in 0..r.u32()? {
                watermark.bounced.push((number(r)?, r.u16()?));
            }
            self.watermarks.insert(source, watermark);
        }
        Some(())
    }
}

fn put_number(out: &mut Vec<u8>, number: TransferNumber) {
    out.u64(number.incarnation);
    out.u64(number.number);
}

fn number(r: &mut Reader<'_>) -> Option<TransferNumber> {
    Some(TransferNumber { incarnation: r.u64()?, number: r.u64()? })
}

impl TransfersAhead {
    /// The number of the next transfer to `target`, given.
    pub fn give(&mut self, durable: &Transfers, target: VolumeId, now_ms: i64) -> TransferNumber {
        if self.incarnation.max(durable.incarnation) == 0 {
            self.incarnation = u64::try_from(now_ms).unwrap_or(0).max(1);
        }
        let incarnation = self.incarnation.max(durable.incarnation);
        let known = durable.out.get(&target).map_or(TransferNumber::default(), |out| out.last);
        let last = self.last.get(&target).copied().unwrap_or_default().max(known);
        let number = if last.incarnation < incarnation { 1 } else { last.number + 1 };
        let next = TransferNumber { incarnation: incarnation.max(last.incarnation), number };
        self.last.insert(target, next);
        next
    }

    /// Another incarnation begins.
    pub fn begin_anew(&mut self, durable: &Transfers, now_ms: i64) -> u64 {
        let last = self.incarnation.max(durable.incarnation);
        self.incarnation = u64::try_from(now_ms).unwrap_or(0).max(last + 1);
        self.incarnation
    }

    /// How far is received from `source`, as decided; to be changed.
    pub fn watermark(&mut self, durable: &Transfers, source: VolumeId) -> &mut Watermark {
        let level = || durable.watermarks.get(&source).cloned().unwrap_or_default();
        self.watermarks.entry(source).or_insert_with(level)
    }

    /// What was decided is lost: what was to be received was not. Numbers that were given stay given.
    pub fn forget(&mut self) {
        self.watermarks.clear();
    }
}
