//! Files of the volumes here that a backup holds while it copies them.
//!
//! One backup holds at a time, for [`HOLD_S`] from its last sign of life: one that died keeps no file for ever.

use std::rc::Rc;
use std::time::Duration;

use ringpost_storage::backup::Marked;

use super::Office;
use super::tools::{Hold, MarkedVolume};
use crate::shard;

/// How long files are held for a backup that says nothing more, seconds. Then compaction may use them again.
pub const HOLD_S: u64 = 600;

/// What is held, and for whom.
#[derive(Default)]
pub struct Held {
    token: u64,
    marks: Vec<Marked>,
    /// Counts signs of life.
    signs: u64,
}

impl Office {
    /// Holds the files there are, or lets go of them; says how far they count. `None`: another backup holds them.
    pub fn hold(self: &Rc<Self>, token: u64, how: Hold) -> Option<Vec<MarkedVolume>> {
        let mut held = self.held.borrow_mut();
        if !held.marks.is_empty() && held.token != token {
            return None;
        }
        if how == Hold::Release {
            held.marks.clear();
            return Some(Vec::new());
        }
        // The new ones are taken before the old ones go.
        let marks: Vec<(u16, Marked)> = self.volumes().into_iter().map(|(id, volume)| (id, volume.mark())).collect();
        let told = marks.iter().map(|(volume, marked)| MarkedVolume {
            volume: *volume,
            durable: marked.durable,
            segment_bytes: marked.segment_bytes,
            segments: marked.segments.clone(),
        });
        let told = told.collect();
        held.token = token;
        held.marks = marks.into_iter().map(|(_, marked)| marked).collect();
        held.signs += 1;
        let (office, signs) = (self.clone(), held.signs);
        shard::spawn("backup", async move {
            shard::sleep(Duration::from_secs(HOLD_S)).await;
            let mut held = office.held.borrow_mut();
            if held.signs == signs {
                held.marks.clear();
            }
        });
        Some(told)
    }
}
