//! What hangs on a segment beside bodies is said again, so that who reads the log without it comes to the same.
//!
//! Everything here may be read a second time, and in between what was decided meanwhile, without harm: absolute values,
//! numbers that only rise, and what is gone stays gone.

use std::collections::BTreeMap;

use super::Stuck;
use super::survey::Survey;
use crate::commit::{Bound, Log};
use crate::disk::Disk;
use crate::index::Index;
use crate::record::{
    AccountGone, DomainPut, FORWARD_HEAD_BYTES, FORWARD_ITEM_BYTES, FRAME_BYTES_MAX, NewTransfer, RetiredRun,
    SENT_BYTES, SENT_RUNS_MAX, TRANSFER_HEAD_BYTES, WATERMARK_BYTES, copy_bytes, encode_sent, encode_watermark, kind,
};
use crate::transaction::Refused;
use crate::transfer::TransferNumber;
use crate::types::{AccountId, Lsn, Place};
use crate::volume::Inner;

/// Entries of one record.
const ITEMS_MAX: usize = 4_096;

impl<D: Disk> Inner<D> {
    /// Says again what a segment says that is to go; resolves when it is durable.
    pub(super) async fn carry(&self, number: u32, survey: &Survey) -> Result<(), Stuck> {
        for name in &survey.domains {
            self.carry_domain(name).await?;
        }
        self.carry_forwards(number, survey).await?;
        self.carry_gone(number, survey).await?;
        self.carry_transfers(survey, false).await
    }

    /// As it is now. A change that is on its way would be overtaken, so it is waited for.
    async fn carry_domain(&self, name: &str) -> Result<(), Stuck> {
        loop {
            let info = self.index.borrow().domains.get(name).cloned();
            let bytes = FRAME_BYTES_MAX + 8 + name.len() as u64 + info.as_ref().map_or(0, |info| info.len() as u64);
            let written = self.join(Bound { bytes, parts: 0, appends: false }, |_, ahead, gather| {
                if ahead.is_domain_coming(name) {
                    return None;
                }
                match &info {
                    Some(info) => gather.push(kind::DOMAIN_PUT, |out| DomainPut { name, info }.encode(out)),
                    None => gather.push(kind::DOMAIN_REMOVE, |out| crate::codec::Put::text(out, name)),
                };
                // A change that is decided from now on stands behind this one.
                Some(())
            });
            match written {
                Ok(Some(((), ticket))) => return ticket.await.map_err(Stuck::Lost),
                Ok(None) | Err(Refused::Busy) => self.settled().await,
                Err(why) => return Err(Stuck::Refused(why)),
            }
        }
    }

    async fn carry_forwards(&self, number: u32, survey: &Survey) -> Result<(), Stuck> {
        let mut by_segment: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for old in &survey.forwards {
            by_segment.entry(old.segment).or_default().push(old.at);
        }
        for (segment, mut ats) in by_segment {
            ats.sort_unstable();
            ats.dedup();
            for ats in ats.chunks(ITEMS_MAX) {
                let bytes = FRAME_BYTES_MAX + FORWARD_HEAD_BYTES + (ats.len() * FORWARD_ITEM_BYTES) as u64;
                self.write(Bound { bytes, parts: 0, appends: false }, |index, gather| {
                    let items: Vec<(u32, Place, bool)> = ats
                        .iter()
                        .map(|at| Place { segment, at: *at })
                        // Its table was forgotten, or nobody needed it when it was to be moved on.
                        .filter(|old| index.forwards.has(*old))
                        .map(|old| (old, index.forwards.resolve(old)))
                        .filter(|(old, new)| old != new && new.segment != number)
                        .map(|(old, new)| (old.at, new, false))
                        .collect();
                    if !items.is_empty() {
                        gather.push_forward(segment, &items);
                    }
                    !items.is_empty()
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Accounts that older segments may have records of.
    async fn carry_gone(&self, number: u32, survey: &Survey) -> Result<(), Stuck> {
        let oldest = self.log.borrow().files.keys().copied().find(|n| *n != number).unwrap_or(number);
        let gone: Vec<(AccountId, u32)> =
            survey.gone.iter().map(|(id, segment)| (*id, *segment)).filter(|(_, segment)| oldest < *segment).collect();
        for gone in gone.chunks(ITEMS_MAX) {
            let bytes = FRAME_BYTES_MAX + 8 + (gone.len() * AccountGone::ITEM_BYTES) as u64;
            self.write(Bound { bytes, parts: 0, appends: false }, |_, gather| {
                gather.push(kind::ACCOUNT_GONE, |out| AccountGone::encode(out, gone));
                true
            })
            .await?;
        }
        Ok(())
    }

    /// `appends`: see [`Inner::move_out`].
    pub(super) async fn carry_transfers(&self, survey: &Survey, appends: bool) -> Result<(), Stuck> {
        for &(target, number) in &survey.transfers {
            let Some(pending) = self.index.borrow().transfers.one(target, number) else { continue };
            let copies: u64 = pending.copies.iter().map(copy_bytes).sum();
            let bytes = FRAME_BYTES_MAX + TRANSFER_HEAD_BYTES + copies;
            self.write(Bound { bytes, parts: 0, appends }, |index, gather| {
                let carried = index.fresh(&pending.carried);
                let transfer = NewTransfer {
                    target,
                    number,
                    internal_ms: pending.internal_ms,
                    from: pending.from,
                    hide: pending.hide,
                    carried: &carried,
                    copies: &pending.copies,
                };
                gather.push(kind::MOVED_TRANSFER, |out| transfer.encode(out));
                true
            })
            .await?;
        }
        for (&(target, incarnation), runs) in &survey.sent {
            for runs in merged(runs.clone()).chunks(SENT_RUNS_MAX) {
                let bytes = FRAME_BYTES_MAX + SENT_BYTES;
                self.write(Bound { bytes, parts: 0, appends }, |_, gather| {
                    gather.push(kind::SENT, |out| encode_sent(out, target, incarnation, runs));
                    true
                })
                .await?;
            }
        }
        let incarnation = self.index.borrow().transfers.incarnation();
        if (survey.anew || !survey.transfers.is_empty() || !survey.sent.is_empty()) && incarnation > 0 {
            self.write(Bound { bytes: FRAME_BYTES_MAX + 8, parts: 0, appends }, |_, gather| {
                gather.push(kind::ANEW, |out| crate::codec::Put::u64(out, incarnation));
                true
            })
            .await?;
        }
        for &source in &survey.sources {
            let Some(mark) = self.index.borrow().transfers.watermark(source).cloned() else { continue };
            let mut numbers: BTreeMap<TransferNumber, Vec<u16>> = BTreeMap::new();
            mark.bounced.iter().for_each(|(number, copy)| numbers.entry(*number).or_default().push(*copy));
            numbers.entry(mark.number).or_default();
            for (number, bounced) in numbers {
                let bytes = FRAME_BYTES_MAX + WATERMARK_BYTES + bounced.len() as u64 * 2;
                self.write(Bound { bytes, parts: 0, appends }, |_, gather| {
                    let settled = TransferNumber::default();
                    gather.push(kind::WATERMARK, |out| encode_watermark(out, source, number, settled, &bounced));
                    true
                })
                .await?;
            }
        }
        Ok(())
    }
}

/// Runs that touch are one.
fn merged(mut runs: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    runs.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::new();
    for (first, last) in runs {
        match out.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

/// All segments that are gone, this one included, from the first that is not on.
pub fn gone_with<F>(log: &Log<F>, index: &Index, number: u32, first_lsn: Lsn) -> Vec<RetiredRun> {
    let mut runs: Vec<RetiredRun> = index.retired.iter().filter(|run| run.last >= log.head.0).copied().collect();
    runs.push(RetiredRun { first: number, last: number, first_lsn });
    runs.sort_unstable_by_key(|run| run.first);
    let mut out: Vec<RetiredRun> = Vec::new();
    for run in runs {
        match out.last_mut() {
            Some(before) if run.first <= before.last + 1 => before.last = before.last.max(run.last),
            _ => out.push(run),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_touch_are_one() {
        assert_eq!(merged(vec![(7, 9), (1, 3), (4, 4), (9, 12), (20, 20)]), [(1, 4), (7, 12), (20, 20)]);
        assert_eq!(merged(vec![]), []);
    }
}
