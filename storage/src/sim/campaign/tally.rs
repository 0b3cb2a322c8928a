//! What a campaign has seen, so that it can be told and a workload that stops doing something is noticed.

use super::model::Work;
use crate::{Op, Outcome};

/// Counters; they add up.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Seeds done.
    pub seeds: u64,
    /// Crash points: completions that changed what a cut could leave.
    pub points: u64,
    /// Distinct images judged.
    pub images: u64,
    /// Of them, by how many crashes lie before: in the first life, in what followed an image, …
    pub images_at: [u64; 4],
    /// Images that were seen before.
    pub known: u64,
    /// Crash points of which every image was judged.
    pub whole_points: u64,
    /// Traces all of whose crash points are such.
    pub whole: u64,
    /// Runs with a fault planned.
    pub runs: u64,
    /// Those in which it struck.
    pub struck: u64,
    /// Processes killed.
    pub kills: u64,
    /// Recoveries judged.
    pub judged: u64,
    /// Looks at a volume at work.
    pub looks: u64,
    /// Un-synced sectors, summed over the crash points.
    pub unsynced: u64,
    /// Of them and of files, those that a cut may leave in more than one way.
    pub doubts: u64,
    /// Transactions decided.
    pub decided: u64,
    /// Transactions refused.
    pub refused: u64,
    /// Segments compacted.
    pub compacted: u64,
    /// Times that old places were forgotten.
    pub forgets: u64,
    /// Messages delivered to several accounts at once.
    pub shared: u64,
    /// Messages appended.
    pub appended: u64,
    /// Messages copied.
    pub copied: u64,
    /// Messages moved.
    pub moved: u64,
    /// Messages expunged.
    pub expunged: u64,
    /// Mailboxes renamed.
    pub renamed: u64,
    /// Accounts removed.
    pub removed: u64,
    /// Bodies that came in pieces.
    pub uploads: u64,
    /// Transactions refused because an account would have kept more than it may.
    pub over_quota: u64,
    /// Transactions that brought back what was retained, or let it go.
    pub undeleted: u64,
    /// Summaries kept.
    pub summaries: u64,
    /// Accounts folded.
    pub folds: u64,
    /// Checkpoints taken.
    pub checkpoints: u64,
    /// Recoveries with a checkpoint that were held against one without.
    pub compared: u64,
    /// Spoilt or torn disks that were opened from a checkpoint, if one was good.
    pub from_checkpoint: u64,
}

impl Tally {
    /// Counts a crash point.
    pub fn point(&mut self, unsynced: usize, doubts: usize) {
        self.points += 1;
        self.unsynced += unsynced as u64;
        self.doubts += doubts as u64;
    }

    /// Counts an image by how many crashes lie before.
    pub fn at_depth(&mut self, depth: u32) {
        let last = self.images_at.len() - 1;
        self.images_at[(depth as usize).min(last)] += 1;
    }

    /// Counts what was decided.
    pub fn decided(&mut self, work: &Work, outcomes: &[Outcome]) {
        self.decided += 1;
        if work.texts.len() == 1 && work.ops.len() > 1 {
            self.shared += 1;
        }
        for (op, outcome) in work.ops.iter().zip(outcomes) {
            match (op, outcome) {
                (_, Outcome::Appended { .. }) => self.appended += 1,
                (_, Outcome::Copied { pairs, .. }) => self.copied += pairs.len() as u64,
                (_, Outcome::Moved { pairs, .. }) => self.moved += pairs.len() as u64,
                (_, Outcome::Expunged(uids, _)) => self.expunged += uids.len() as u64,
                (Op::RenameMailbox { .. }, _) => self.renamed += 1,
                (Op::RemoveAccount { .. }, _) => self.removed += 1,
                (Op::Summaries { items, .. }, _) => self.summaries += items.len() as u64,
                _ => {}
            }
        }
    }

    /// Adds what another has seen.
    pub fn add(&mut self, other: &Tally) {
        let pairs = self.fields().into_iter().zip(other.clone().fields().map(|f| *f));
        pairs.for_each(|(mine, more)| *mine += more);
        self.images_at.iter_mut().zip(other.images_at).for_each(|(mine, more)| *mine += more);
    }

    fn fields(&mut self) -> [&mut u64; 32] {
        [
            &mut self.seeds,
            &mut self.points,
            &mut self.images,
            &mut self.known,
            &mut self.whole_points,
            &mut self.whole,
            &mut self.runs,
            &mut self.struck,
            &mut self.kills,
            &mut self.judged,
            &mut self.looks,
            &mut self.unsynced,
            &mut self.doubts,
            &mut self.decided,
            &mut self.refused,
            &mut self.compacted,
            &mut self.forgets,
            &mut self.shared,
            &mut self.appended,
            &mut self.copied,
            &mut self.moved,
            &mut self.expunged,
            &mut self.renamed,
            &mut self.removed,
            &mut self.uploads,
            &mut self.over_quota,
            &mut self.undeleted,
            &mut self.summaries,
            &mut self.folds,
            &mut self.checkpoints,
            &mut self.compared,
            &mut self.from_checkpoint,
        ]
    }

    /// Mean number of un-synced sectors of a crash point.
    #[must_use]
    pub fn unsynced_mean(&self) -> f64 {
        self.unsynced as f64 / self.points.max(1) as f64
    }

    /// Mean number of things that a cut at a crash point may leave in more than one way.
    #[must_use]
    pub fn doubts_mean(&self) -> f64 {
        self.doubts as f64 / self.points.max(1) as f64
    }
}
