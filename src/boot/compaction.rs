//! Gives a volume's compaction its time: a bounded rate, a bounded share of the core, and nothing while there is nothing
//! to win.
//!
//! It is a task of the shard like others: one step of it, some 256 KiB, is in flight at a time, and after each it sleeps as
//! long as its rate says, and [`CORE_PART`] - 1 times as long as it ran. So what it takes of the disk and of the core is
//! bounded, however much there is to do. A task queue of the executor with fewer shares does not do here: the shard sleeps
//! in its own ring as soon as its own queue has come to rest, whatever waits in another one.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use ringpost_storage::{Compacted, Pace, Stuck, Volume, VolumeId};

use crate::shard::{self, Disk};

/// Octets read and written in a second. At this rate what 8 MiB of deliveries a second leave dead is cleared away.
const OCTETS_A_SECOND: u64 = 32 << 20;
/// It runs one part of the time in so many.
const CORE_PART: u32 = 5;
/// What is owed is slept in stretches of at least this.
const STRETCH: Duration = Duration::from_millis(10);
/// How long nothing is looked for after nothing was found, or something could not be done.
const REST: Duration = Duration::from_secs(5);

/// Rate and share.
pub(super) struct Steady {
    octets_a_second: u64,
    /// Octets that were not slept for.
    owed: Cell<u64>,
    /// Time it ran that was not slept for.
    ran: Cell<Duration>,
}

impl Steady {
    /// So many octets in a second, at most.
    pub(super) fn at(octets_a_second: u64) -> Steady {
        Steady { octets_a_second, owed: Cell::default(), ran: Cell::default() }
    }

    /// How long to sleep for what was done since it slept last.
    fn due(&self) -> Duration {
        Duration::from_millis(self.owed.get().saturating_mul(1_000) / self.octets_a_second)
            .max(self.ran.get() * (CORE_PART - 1))
    }

    /// Runs `work`, and counts the time that it takes of the core.
    pub(super) async fn time<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let began = shard::now();
            let polled = work.as_mut().poll(cx);
            self.ran.set(self.ran.get() + shard::now().since(began));
            polled
        })
        .await
    }
}

impl Pace for Steady {
    fn now_ms(&self) -> i64 {
        i64::try_from(shard::wall_ms()).unwrap_or(i64::MAX)
    }

    async fn rest(&self, octets: u64) {
        self.owed.set(self.owed.get().saturating_add(octets));
        let due = self.due();
        if due >= STRETCH {
            self.owed.set(0);
            self.ran.set(Duration::ZERO);
            shard::sleep(due).await;
        }
    }
}

/// Compacts a volume for as long as the shard lives.
pub async fn keep(id: VolumeId, volume: Volume<Disk>) {
    let pace = Steady::at(OCTETS_A_SECOND);
    loop {
        match pace.time(volume.compact(&pace)).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_share_bound_it_whichever_is_less() {
        let pace = Steady::at(OCTETS_A_SECOND);
        pace.owed.set(OCTETS_A_SECOND / 8);
        assert_eq!(pace.due(), Duration::from_millis(125));
        pace.ran.set(Duration::from_millis(20));
        assert_eq!(pace.due(), Duration::from_millis(125));
        pace.ran.set(Duration::from_millis(50));
        assert_eq!(pace.due(), Duration::from_millis(200), "a fifth of the core");
    }
}
