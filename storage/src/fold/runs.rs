//! Which runs of a mailbox are made one, and what is in them then. Functions of values: no disk, no index.
//!
//! ```text
//! oldest                                    newest
//! | 4,096 | 1,100 | 3,000 | 200 | 64 | … | 64 |  + what is new now      of runs with one UID the newest counts,
//!    full    full    full  └──── merged ────┘                         so only neighbours are merged
//! ```
//!
//! A run that is *full* is left alone. Behind the last full one so many may wait as [`Tiers`] say; then the newest are merged, and
//! older ones with them for as long as none is larger than all that are newer: so each row is written again once or twice until
//! its run is full, not with every fold. Fewer runs and less writing exclude each other: the tiers are where they meet.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::record::{GONE_BYTES, ROW_BYTES_MAX, ROWS_HEAD_BYTES, Row};
use crate::types::Uid;

/// Runs that are merged at once, however unlike they are.
const MERGED_RUNS_MIN: usize = 8;

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

/// How runs of one kind grow.
#[derive(Clone, Copy, Debug)]
pub struct Tiers {
    /// The largest there is.
    pub max: Size,
    /// A run above this part of the largest is full.
    pub full_part: u64,
    /// Runs behind the last full one. More: they are merged.
    pub growing: usize,
}

impl Tiers {
    fn is_full(&self, run: Size) -> bool {
        !run.fits(Size { items: self.max.items / self.full_part, bytes: self.max.bytes / self.full_part })
    }
}

/// The runs to be merged, of these (oldest first); `None` while they are few.
pub fn to_merge(runs: &[Size], tiers: &Tiers) -> Option<Range<usize>> {
    let full = runs.iter().rposition(|run| tiers.is_full(*run)).map_or(0, |at| at + 1);
    let growing = &runs[full..];
    if growing.len() <= tiers.growing.max(1) {
        return None;
    }
    let (mut start, mut sum) = (growing.len() - 1, growing[growing.len() - 1]);
    while let Some(next) = start.checked_sub(1).map(|at| growing[at]) {
        let alike = growing.len() - start < MERGED_RUNS_MIN || next.bytes <= sum.bytes;
        if !alike || !sum.add(next).fits(tiers.max) {
            break;
        }
        sum = sum.add(next);
        start -= 1;
    }
    Some(full + start..runs.len()).filter(|range| range.len() > 1)
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
        let bytes = match &row {
            Row::Message(m) => ROW_BYTES_MAX + m.keywords().iter().map(|k| k.len() + 8).sum::<usize>() + 8,
            Row::Gone(_) => GONE_BYTES,
        };
        let one = Size { items: 1, bytes: bytes as u64 };
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

    const TIERS: Tiers = Tiers { max: Size { items: 4_096, bytes: 1 << 20 }, full_part: 4, growing: 8 };

    fn sizes(items: &[u64]) -> Vec<Size> {
        items.iter().map(|n| Size { items: *n, bytes: n * 64 }).collect()
    }

    #[test]
    fn nine_small_runs_become_one_and_full_ones_stay() {
        assert_eq!(to_merge(&sizes(&[64; 8]), &TIERS), None);
        assert_eq!(to_merge(&sizes(&[64; 9]), &TIERS), Some(0..9));
        assert_eq!(to_merge(&sizes(&[4_096, 1_025, 64, 64, 64, 64, 64, 64, 64, 64]), &TIERS), None);
        assert_eq!(to_merge(&sizes(&[4_096, 64, 64, 64, 64, 64, 64, 64, 64, 64]), &TIERS), Some(1..10));
        assert_eq!(to_merge(&sizes(&[64, 4_096, 64, 64, 64, 64, 64, 64, 64, 64]), &TIERS), None);
        assert_eq!(to_merge(&sizes(&[900, 700, 64, 64, 64, 64, 64, 64, 64, 64]), &TIERS), Some(2..10));
        assert_eq!(to_merge(&sizes(&[900, 500, 64, 64, 64, 64, 64, 64, 64, 64]), &TIERS), Some(0..10));
    }

    /// What is written again for each item that comes, and runs at the end and at most.
    fn grown(tiers: &Tiers, folds: usize, runs_each: usize, run: Size) -> (f64, usize, usize) {
        let (mut runs, mut again, mut most) = (Vec::new(), 0, 0);
        for _ in 0..folds {
            runs.extend(vec![run; runs_each]);
            if let Some(range) = to_merge(&runs, tiers) {
                let sum = runs[range.clone()].iter().copied().reduce(Size::add).expect("a range of some");
                again += sum.bytes;
                runs.splice(range, [sum]);
            }
            most = most.max(runs.len());
        }
        (again as f64 / (folds * runs_each) as f64 / run.bytes as f64, runs.len(), most)
    }

    #[test]
    fn a_mailbox_that_grows_writes_each_row_once_or_twice_again() {
        let (again, runs, most) = grown(&TIERS, 160, 1, Size { items: 64, bytes: 4_096 });
        assert!(again < 1.7 && runs < 16 && most < 16, "{again} {runs} {most}");
        let (again, runs, _) = grown(&TIERS, 1_000, 1, Size { items: 64, bytes: 4_096 });
        assert!(again < 1.7 && runs < 50, "{again} {runs}");
    }

    #[test]
    fn summaries_of_a_mailbox_that_grows_are_written_once_or_twice_again_in_whatever_numbers_they_come() {
        let max = Size { items: u64::from(u32::MAX), bytes: 1 << 20 };
        let tiers = Tiers { max, ..super::super::plan::SUMMARY_TIERS };
        for (folds, each, bytes) in [(190, 5, 5_088), (160, 64, 560), (160, 1, 32_600), (1_000, 5, 5_088)] {
            let (again, runs, _) = grown(&tiers, folds, each, Size { items: 10, bytes });
            let octets = folds as u64 * each as u64 * bytes;
            assert!(again < 2.05 && (runs as u64) < 17 + octets / (120 << 10), "{folds}x{each}: {again} {runs}");
        }
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
            let tiers = Tiers { max, full_part: 2, growing: 3 };
            while let Some(range) = to_merge(&runs.iter().map(|r| Size { items: r.len() as u64, bytes: r.len() as u64 }).collect::<Vec<_>>(), &tiers) {
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
