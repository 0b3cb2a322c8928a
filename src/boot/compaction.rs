//! Gives a volume's compaction its time: a bounded rate, rests, and nothing while there is nothing to win.
//!
//! It is a task of the shard like others: one step of it, some 256 KiB, is in flight at a time, and after each it sleeps as
//! long as its rate says. So what it takes of the disk and of the core is bounded, however much there is to do.

use std::cell::Cell;
use std::time::Duration;

use ringpost_storage::{Compacted, Pace, Stuck, Volume, VolumeId};

use crate::shard::{self, Disk};

/// Octets read and written in a second. At this rate what 8 MiB of deliveries a second leave dead is cleared away.
const OCTETS_A_SECOND: u64 = 32 << 20;
/// What is owed to the rate is slept in stretches of at least this.
const STRETCH: Duration = Duration::from_millis(10);
/// How long nothing is looked for after nothing was found, or something could not be done.
const REST: Duration = Duration::from_secs(5);

/// The rate.
#[derive(Default)]
struct Steady {
    /// Octets that were not slept for.
    owed: Cell<u64>,
}

impl Pace for Steady {
    fn now_ms(&self) -> i64 {
        i64::try_from(shard::wall_ms()).unwrap_or(i64::MAX)
    }

    async fn rest(&self, octets: u64) {
        self.owed.set(self.owed.get().saturating_add(octets));
        let time = Duration::from_millis(self.owed.get() * 1_000 / OCTETS_A_SECOND);
        if time >= STRETCH {
            self.owed.set(0);
            shard::sleep(time).await;
        }
    }
}

/// Compacts a volume for as long as the shard lives.
pub async fn keep(id: VolumeId, volume: Volume<Disk>) {
    let pace = Steady::default();
    loop {
        match volume.compact(&pace).await {
            Compacted::Segment { segment, copied } => tracing::debug!(volume = id, segment, copied, "compacted"),
            Compacted::Nothing => shard::sleep(REST).await,
            Compacted::Stuck(segment, why) => {
                // These say something of the disk or the format, and are said once: the segment is left alone then.
                if matches!(why, Stuck::Damaged | Stuck::Unreadable | Stuck::Unknown(_) | Stuck::Fold) {
                    tracing::warn!(volume = id, segment, ?why, "a segment cannot be compacted and stays as it is");
                }
                shard::sleep(REST).await;
            }
        }
    }
}
