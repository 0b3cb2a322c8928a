//! Which runs of a mailbox are made one, and what is in them then. Functions of values: no disk, no index.
//!
//! ```text
//! oldest                              newest
//! | 4,096 | 4,096 | 900 | 130 | 64 | 64 |  + what is new now      of runs with one UID the newest counts,
//!                       └──── merged ────┘                        so only neighbours are merged
//! ```
//!
//! Each run that is merged is at least half as large as all newer ones of the merge together, or among the four newest: so
//! a row is written again a few times until its run is full, not with every fold.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::record::{ROW_BYTES, ROWS_HEAD_BYTES, Row};
use crate::types::Uid;

/// Runs of a mailbox that may grow. More: neighbours are merged.
pub const GROWING_RUNS_MAX: usize = 8;
/// Runs that are merged at once, however unlike they are.
const MERGED_RUNS_MIN: usize = 4;

/// How large a run is, or may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub items: u64,
    pub bytes: u64,
}

impl Size {
    fn add(self, other: Size) -> Size {
        Size { items: self.items + other.items, bytes: self.bytes + other.bytes }
    }

    fn fits(self, max: Size) -> bool {
        self.items <= max.items && self.bytes <= max.bytes
    }
}

/// The runs to be merged, of these (oldest first); `None` while they are few.
pub fn to_merge(runs: &[Size], max: Size) -> Option<Range<usize>> {
    let half = Size { items: max.items / 2, bytes: max.bytes / 2 };
    if runs.iter().filter(|run| run.fits(half)).count() <= GROWING_RUNS_MAX {
        return None;
    }
    let mut ends = (1..=runs.len()).rev();
    ends.find_map(|end| {
        let mut sum = runs[end - 1];
        let mut start = end - 1;
        while let Some(next) = start.checked_sub(1).map(|at| runs[at]) {
            let alike = end - start < MERGED_RUNS_MIN || next.items <= 2 * sum.items;
            if !alike || !sum.add(next).fits(max) {
                break;
            }
            sum = sum.add(next);
            start -= 1;
        }
        (end - start > 1).then_some(start..end)
    })
}

/// Several runs as one, oldest first. `oldest`: there is none before them, so what is gone need not be told.
pub fn overlay(runs: Vec<Vec<Row>>, oldest: bool) -> Vec<Row> {
    let mut rows: BTreeMap<Uid, Row> = BTreeMap::new();
    runs.into_iter().flatten().for_each(|row| drop(rows.insert(row.uid(), row)));
    rows.into_values().filter(|row| !oldest || matches!(row, Row::Message(_))).collect()
}

/// Rows as runs within the bound. A single row may be above it: its keywords are what they are.
pub fn cut(rows: Vec<Row>, max: Size) -> Vec<Vec<Row>> {
    let mut runs: Vec<Vec<Row>> = Vec::new();
    let mut size = max;
    for row in rows {
        // As if no two messages had the same keywords: then they all fit.
        let keywords = match &row {
            Row::Message(m) => m.keywords().iter().map(|k| k.len() + 8).sum::<usize>() + 8,
            Row::Gone(_) => 0,
        };
        let one = Size { items: 1, bytes: (ROW_BYTES + keywords) as u64 };
        if !size.add(one).fits(max) {
            runs.push(Vec::new());
            size = Size { items: 0, bytes: ROWS_HEAD_BYTES as u64 };
        }
        size = size.add(one);
        runs.last_mut().expect("the first row does not fit none").push(row);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Flags, Message};
    use proptest::prelude::*;

    const MAX: Size = Size { items: 4_096, bytes: 1 << 20 };

    fn sizes(items: &[u64]) -> Vec<Size> {
        items.iter().map(|n| Size { items: *n, bytes: n * 64 }).collect()
    }

    #[test]
    fn nine_small_runs_become_one_and_full_ones_stay() {
        assert_eq!(to_merge(&sizes(&[64; 8]), MAX), None);
        assert_eq!(to_merge(&sizes(&[64; 9]), MAX), Some(0..9));
        assert_eq!(to_merge(&sizes(&[4_096, 4_096, 64, 64, 64, 64, 64, 64, 64, 64]), MAX), None);
        assert_eq!(to_merge(&sizes(&[4_096, 64, 64, 64, 64, 64, 64, 64, 64, 64]), MAX), Some(1..10));
        assert_eq!(to_merge(&sizes(&[1_500, 900, 64, 64, 64, 64, 64, 64, 64]), MAX), Some(2..9));
    }

    #[test]
    fn a_mailbox_that_grows_writes_each_row_a_few_times() {
        let (mut runs, mut written) = (Vec::new(), 0);
        for _ in 0..1_000 {
            runs.push(Size { items: 64, bytes: 4_096 });
            written += 64;
            if let Some(range) = to_merge(&runs, MAX) {
                let sum = runs[range.clone()].iter().copied().reduce(Size::add).unwrap();
                written += sum.items;
                runs.splice(range, [sum]);
            }
            assert!(runs.len() <= GROWING_RUNS_MAX + runs.iter().filter(|r| r.items > 2_048).count());
        }
        assert!(written < 64_000 * 7, "{written}");
        assert!(runs.len() < 40, "{runs:?}");
    }

    fn row(uid: Uid, version: u64, gone: bool) -> Row {
        if gone { Row::Gone(uid) } else { Row::Message(Message::sketch(uid, version, &Flags::none(), 1, 0)) }
    }

    proptest! {
        #[test]
        fn merging_changes_nothing_that_is_seen(
            changes in proptest::collection::vec((1u32..40, any::<bool>()), 0..300),
            cuts in proptest::collection::vec(1usize..30, 1..30),
            max in 1u64..9,
        ) {
            let mut runs: Vec<Vec<Row>> = Vec::new();
            let (mut at, mut version) = (0, 0);
            for len in cuts.iter().cycle().take(if changes.is_empty() { 0 } else { 400 }) {
                let here = &changes[at..(at + len).min(changes.len())];
                at += here.len();
                let mut rows = BTreeMap::new();
                for (uid, gone) in here {
                    version += 1;
                    rows.insert(*uid, row(*uid, version, *gone));
                }
                runs.push(rows.into_values().collect());
            }
            let seen = |runs: Vec<Vec<Row>>| format!("{:?}", overlay(runs, true));
            let before = seen(runs.clone());
            let max = Size { items: max * 10, bytes: 1 << 20 };
            while let Some(range) = to_merge(&runs.iter().map(|r| Size { items: r.len() as u64, bytes: 0 }).collect::<Vec<_>>(), max) {
                let oldest = range.start == 0;
                let merged = overlay(runs[range.clone()].to_vec(), oldest);
                runs.splice(range, [merged]);
                prop_assert_eq!(&seen(runs.clone()), &before);
            }
            let cut: Vec<Vec<Row>> = runs.into_iter().flat_map(|run| cut(run, max)).collect();
            prop_assert!(cut.iter().all(|run| run.len() as u64 <= max.items));
            prop_assert_eq!(seen(cut), before);
        }
    }
}
