//! Gives a volume's scrub its time: a pass each period, at a bounded rate, and what it finds into the log.
//!
//! It is a task of the shard like others: one step of it, some 256 KiB, is in flight at a time, and after each it sleeps as
//! long as its rate says, and so that it has a bounded part of the core.

use std::time::Duration;

use ringpost_storage::check::Broken;
use ringpost_storage::{Volume, VolumeId};

use super::compaction::Steady;
use crate::config::Upkeep;
use crate::shard::{self, Disk};

/// How often is looked whether somebody wants one, or it is time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A server that has just started has other things to do than to begin a pass.
const SETTLED: Duration = Duration::from_secs(900);

/// Scrubs a volume for as long as the shard lives.
pub async fn keep(id: VolumeId, volume: Volume<Disk>, upkeep: Upkeep) {
    let pace = Steady::at(upkeep.scrub_rate);
    let period_ms = i64::try_from(upkeep.scrub_period_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let began = shard::now();
    loop {
        // Before it is time, it learns how far it was.
        let period_ms = if shard::now().since(began) >= SETTLED { period_ms } else { 0 };
        let errors = volume.stats().scrub_errors;
        if pace.time(volume.scrub(&pace, period_ms, |broken| tell(id, &broken))).await {
            let found = volume.stats().scrub_errors - errors;
            tracing::info!(volume = id, found, "scrubbed: everything in use was read and held against its checksums");
        }
        shard::sleep(LOOK_EVERY).await;
    }
}

fn tell(volume: VolumeId, broken: &Broken) {
    const LOST: &str = "scrub: this is not what was written; `ringpost store check` on a backup, or while the server is stopped, \
                        names the messages";
    match broken {
        Broken::Unread(place) => {
            let (file, offset, octets, why) = (&place.file, place.offset, place.octets, &place.why);
            tracing::error!(volume, file, offset, octets, why, "scrub: the disk does not read this: replace it soon");
        }
        Broken::Log { segment, offset, octets } => {
            tracing::error!(volume, segment, offset, octets, "{LOST}: batches may be lost");
        }
        Broken::Body { segment, offset, octets } => tracing::error!(volume, segment, offset, octets, "{LOST}"),
        Broken::Page { file, offset } => {
            tracing::error!(
                volume,
                file,
                offset,
                "scrub: a page of the checkpoint is damaged; the next start reads more of the log"
            );
        }
        Broken::Superblock { copy } => {
            tracing::error!(
                volume,
                copy,
                "scrub: a copy of the superblock is damaged; all four are written again with the next checkpoint or start"
            );
        }
        Broken::Account { .. } | Broken::Message { .. } => unreachable!("a scrub knows octets"),
    }
}
