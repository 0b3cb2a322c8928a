//! What a fold reads: runs that are merged with their neighbours, and what is written again.

use std::collections::BTreeMap;
use std::ops::Range;

use super::runs::{Size, Tiers, overlay, to_merge};
use super::{Rewrite, Source};
use crate::disk::Disk;
use crate::index::{Account, Mailbox};
use crate::record::{ROW_BYTES, ROW_BYTES_MAX, Row, RowRun, RunRef, unpack, unpack_rows};
use crate::types::{AccountId, MailboxId, Place, Uid};
use crate::volume::{Inner, ReadError};

/// Rows of one run.
const RUN_ROWS_MAX: u64 = 4_096;
/// Octets of one run of summaries.
const SUMMARIES_BYTES_MAX: u64 = 1 << 20;
/// How runs of rows grow, up to those bounds: opening a mailbox reads all of them.
const ROW_TIERS: Tiers = Tiers { max: Size { items: RUN_ROWS_MAX, bytes: u64::MAX }, full_part: 4, growing: 8 };
/// How runs of summaries grow. They are the larger part of what is folded, and not each look at a mailbox reads them all: more
/// runs, less writing.
pub const SUMMARY_TIERS: Tiers =
    Tiers { max: Size { items: u32::MAX as u64, bytes: SUMMARIES_BYTES_MAX }, full_part: 8, growing: 16 };
/// Parts of a segment that one run may take, and that one fold writes again, at most.
const RUN_SEGMENT_PART: u64 = 4;
const REWRITE_SEGMENT_PART: u64 = 2;
/// Rows beyond two for each message, before all are written anew.
const DEAD_ROWS_SPARED: u64 = 256;
/// Octets read of a put at first.
const PUT_BYTES_GUESS: usize = 1 << 10;

/// Neighbouring runs that become one.
pub struct Merge<T> {
    /// Which of the mailbox's runs.
    pub range: Range<usize>,
    /// What is in them.
    pub items: Vec<T>,
    /// What is new now is to be in it too.
    pub joins_new: bool,
}

/// What to do with one mailbox. `range`s rise and do not touch each other.
#[derive(Default)]
pub struct MailboxPlan {
    /// All rows are written anew, from memory.
    pub all_rows: bool,
    pub rows: Vec<Merge<Row>>,
    pub summaries: Vec<Merge<(Uid, Vec<u8>)>>,
}

/// What was read for a fold.
pub struct Plan {
    pub mailboxes: BTreeMap<MailboxId, MailboxPlan>,
    /// The account's put, to be written again, and where it was read.
    pub put: Option<(Place, Vec<u8>)>,
}

/// Runs to be read for one merge.
struct Wanted<R> {
    range: Range<usize>,
    runs: Vec<R>,
    joins_new: bool,
}

/// What is to be read for one mailbox.
struct Outline {
    mailbox: MailboxId,
    all_rows: bool,
    rows: Vec<Wanted<RowRun>>,
    summaries: Vec<Wanted<RunRef>>,
}

/// A run of rows or of summaries.
trait Run: Clone {
    fn size(&self) -> Size;
}

impl Run for RowRun {
    fn size(&self) -> Size {
        Size { items: u64::from(self.rows), bytes: u64::from(self.len) }
    }
}

impl Run for RunRef {
    fn size(&self) -> Size {
        Size { items: u64::from(self.count), bytes: u64::from(self.body_len) }
    }
}

/// Bounds of one fold.
struct Bounds {
    rows: Tiers,
    summaries: Tiers,
    /// Octets that may still be written again.
    left: u64,
    rewrite: Rewrite,
}

impl<D: Disk> Inner<D> {
    /// The largest run of rows.
    pub fn rows_max(&self) -> Size {
        Size { items: RUN_ROWS_MAX, bytes: self.facts.segment_bytes / RUN_SEGMENT_PART }
    }

    /// Reads what the fold of this account needs. `None`: there is nothing to do.
    pub(super) async fn plan(
        &self,
        id: AccountId,
        source: &Source,
        rewrite: Rewrite,
    ) -> Result<Option<Plan>, ReadError> {
        let (outlines, put) = {
            let index = self.index.borrow();
            let Some(entry) = index.entries.get(id) else { return Ok(None) };
            let (account, whole) = match source {
                Source::Loaded => (index.account(id).expect("it is held, and was there"), true),
                Source::Bare(bare) => (&bare.1, false),
            };
            let outlines = self.outlines(account, whole, rewrite);
            let in_segment = |place: Place| rewrite.has(place);
            let put = Some(entry.put).filter(|put| in_segment(*put));
            let old_rows = matches!(rewrite, Rewrite::Through(_))
                && account.mailboxes.values().any(|m| m.rows.iter().any(|run| rewrite.has_rows(run.body)));
            let tail =
                entry.unfolded > 0 && (rewrite == Rewrite::Nothing || entry.chain().newest_first().any(in_segment));
            // Links further back than those that are known may lie there too.
            let behind = matches!(rewrite, Rewrite::In(segment) if entry.unfolded > 0 && segment >= entry.root.segment);
            let again = account.left.iter().any(|run| in_segment(run.body))
                || account.mailboxes.values().any(|m| {
                    m.rows.iter().any(|run| in_segment(run.body)) || m.runs.iter().any(|run| in_segment(run.body))
                });
            if !(tail || behind || again || old_rows || put.is_some() || in_segment(entry.root)) {
                return Ok(None);
            }
            (outlines, put)
        };
        let mut mailboxes = BTreeMap::new();
        for outline in outlines {
            mailboxes.insert(outline.mailbox, self.read_outline(id, source, outline).await?);
        }
        let put = match put {
            Some(place) => Some((place, self.read_record(place, PUT_BYTES_GUESS).await?)),
            None => None,
        };
        Ok(Some(Plan { mailboxes, put }))
    }

    fn outlines(&self, account: &Account, whole: bool, rewrite: Rewrite) -> Vec<Outline> {
        let segment_bytes = self.facts.segment_bytes;
        let mut bounds = Bounds {
            rows: Tiers { max: self.rows_max(), ..ROW_TIERS },
            summaries: Tiers {
                max: Size { bytes: SUMMARIES_BYTES_MAX.min(segment_bytes / RUN_SEGMENT_PART), ..SUMMARY_TIERS.max },
                ..SUMMARY_TIERS
            },
            left: segment_bytes / REWRITE_SEGMENT_PART,
            rewrite,
        };
        account.mailboxes.values().map(|mailbox| bounds.outline(mailbox, whole)).collect()
    }

    async fn read_outline(&self, id: AccountId, source: &Source, outline: Outline) -> Result<MailboxPlan, ReadError> {
        let mut plan = MailboxPlan { all_rows: outline.all_rows, ..MailboxPlan::default() };
        for wanted in outline.rows {
            let mut runs = Vec::new();
            for run in &wanted.runs {
                let read = self.read_body(run.body, u64::from(run.len), run.check).await;
                let rows = read.and_then(|bytes| unpack_rows(id, outline.mailbox, &bytes).ok_or(ReadError::Damaged));
                match rows {
                    Ok(rows) => runs.push(rows),
                    // Memory has them all.
                    Err(_) if matches!(source, Source::Loaded) => plan.all_rows = true,
                    Err(why) => return Err(why),
                }
            }
            let Wanted { range, joins_new, .. } = wanted;
            plan.rows.push(Merge { range, items: overlay(runs, false), joins_new });
        }
        for wanted in outline.summaries {
            let mut range = wanted.range;
            let mut items: BTreeMap<Uid, Vec<u8>> = BTreeMap::new();
            for run in &wanted.runs {
                let read = self.read_body(run.body, u64::from(run.body_len), run.body_check).await;
                match read.ok().and_then(|bytes| unpack(&bytes)) {
                    Some(more) => items.extend(more),
                    // One that does not read goes with all before it, which may have what it was made to replace: who looks for
                    // a summary and finds none makes it again.
                    None => {
                        items.clear();
                        plan.summaries.clear();
                        range.start = 0;
                    }
                }
            }
            let items = items.into_iter().collect();
            plan.summaries.push(Merge { range, items, joins_new: false });
        }
        if plan.all_rows {
            plan.rows.clear();
        }
        Ok(plan)
    }
}

impl Bounds {
    /// `whole`: all messages are in memory.
    fn outline(&mut self, mailbox: &Mailbox, whole: bool) -> Outline {
        let (new, rewrite) = (mailbox.dirty_count(), self.rewrite);
        let messages = mailbox.messages.len() as u64;
        // By octets: a UID that is gone counts as a row, and takes an eighth of one.
        let bytes = mailbox.rows.iter().map(|run| u64::from(run.len)).sum::<u64>() + new * ROW_BYTES as u64;
        let dead = bytes > (2 * messages + DEAD_ROWS_SPARED) * ROW_BYTES as u64;
        let all_rows = whole && dead && messages * ROW_BYTES_MAX as u64 <= self.left;
        let mut sizes: Vec<Size> = mailbox.rows.iter().map(Run::size).collect();
        if new > 0 {
            sizes.push(Size { items: new, bytes: new * ROW_BYTES as u64 });
        }
        let merge = to_merge(&sizes, &self.rows).filter(|_| !all_rows);
        let rows =
            if all_rows { Vec::new() } else { self.wanted(&mailbox.rows, merge, |run| rewrite.has_rows(run.body)) };
        let is_live = |run: &RunRef| {
            let from = mailbox.messages.partition_point(|m| m.uid < run.first);
            let to = mailbox.messages.partition_point(|m| m.uid <= run.last);
            2 * (to - from) >= run.count as usize
        };
        let sizes: Vec<Size> = mailbox.runs.iter().map(Run::size).collect();
        let merge = to_merge(&sizes, &self.summaries);
        let summaries = self.wanted(&mailbox.runs, merge, |run| rewrite.has(run.body) || whole && !is_live(run));
        Outline { mailbox: mailbox.info.id, all_rows, rows, summaries }
    }

    /// The runs that are merged, and those that have to be written again alone.
    fn wanted<R: Run>(
        &mut self,
        runs: &[R],
        merge: Option<Range<usize>>,
        again: impl Fn(&R) -> bool,
    ) -> Vec<Wanted<R>> {
        let bytes =
            |range: &Range<usize>| runs.iter().take(range.end).skip(range.start).map(|r| r.size().bytes).sum::<u64>();
        let merge = merge.filter(|range| bytes(range) <= self.left).unwrap_or(0..0);
        let mut wanted: Vec<Wanted<R>> = Vec::new();
        for (n, run) in runs.iter().enumerate() {
            if merge.contains(&n) {
                if n == merge.start {
                    let joins_new = merge.end > runs.len();
                    wanted.push(Wanted { range: n..merge.end.min(runs.len()), runs: Vec::new(), joins_new });
                }
                wanted.last_mut().expect("begun with its first").runs.push(run.clone());
                self.left = self.left.saturating_sub(run.size().bytes);
            } else if again(run) && self.left >= run.size().bytes {
                wanted.push(Wanted { range: n..n + 1, runs: vec![run.clone()], joins_new: false });
                self.left -= run.size().bytes;
            }
        }
        wanted
    }
}
