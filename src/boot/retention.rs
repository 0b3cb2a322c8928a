//! Lets what was expunged go for good when its time is over: all accounts of a volume one after the other, again and again.
//!
//! Nothing remembers who has something to let go: each account is loaded once a round, and a round takes an eighth of the
//! retention, but at most a day. A million accounts are twelve a second then, at a retention of a week. So what is expunged
//! stays for its time and up to an eighth more.
//!
//! Where nothing is kept, nothing is added either: what an earlier setting kept goes in one round, and when every account of it
//! could be looked at there is nothing more to do before the next start.

use std::time::Duration;

use ringpost_storage::{Volume, VolumeId};

use crate::config::Upkeep;
use crate::shard::{self, Disk};

/// A round takes at least this.
const ROUND_MIN: Duration = Duration::from_secs(1);
/// And at most this, also when nothing is kept any more.
const ROUND_MAX: Duration = Duration::from_secs(86_400);
/// Between two accounts, at least.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// How long a round takes.
fn round(retention_s: u64) -> Duration {
    match retention_s {
        0 => ROUND_MAX,
        s => Duration::from_secs(s / 8).clamp(ROUND_MIN, ROUND_MAX),
    }
}

/// Looks after a volume for as long as it may have something to let go.
pub async fn keep(id: VolumeId, volume: Volume<Disk>, upkeep: Upkeep) {
    loop {
        let clean = go_round(id, &volume, upkeep.retention_s).await;
        if clean && upkeep.retention_s == 0 {
            return;
        }
    }
}

/// All accounts once; true if each could be looked at, and let go what it had to.
async fn go_round(id: VolumeId, volume: &Volume<Disk>, retention_s: u64) -> bool {
    let round = round(retention_s);
    let retention_ms = i64::try_from(retention_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let accounts = volume.account_ids();
    let count = u32::try_from(accounts.len()).unwrap_or(u32::MAX).max(1);
    let mut clean = true;
    if accounts.is_empty() {
        shard::sleep(round).await;
    }
    for account in accounts {
        shard::sleep((round / count).max(PAUSE_MIN)).await;
        let now_ms = i64::try_from(shard::wall_ms()).unwrap_or(i64::MAX);
        // Where nothing is kept all goes, also what a clock that was ahead has marked.
        let before_ms = if retention_s == 0 { i64::MAX } else { now_ms.saturating_sub(retention_ms) };
        match volume.forget(account, before_ms, now_ms).await {
            Ok(0) => {}
            Ok(messages) => tracing::debug!(volume = id, account = account.0, messages, "expunged for good"),
            Err(why) => {
                clean = false;
                tracing::debug!(volume = id, account = account.0, %why, "what was expunged stays for now");
            }
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_an_eighth_of_the_retention_within_bounds() {
        let rounds = [0, 2, 800, 7 * 86_400, 86_400 * 365].map(|s| round(s).as_secs());
        assert_eq!(rounds, [86_400, 1, 100, 75_600, 86_400]);
    }

    /// Looks after a volume with one account for some days; true if that came to an end.
    #[cfg(feature = "sim")]
    fn comes_to_an_end(retention_s: u64) -> bool {
        use std::cell::Cell;
        use std::rc::Rc;

        use ringpost_storage::{Create, Limits, Op, Settings, Transaction};

        use crate::shard::Mesh;
        use crate::shard::sim::World;

        let (world, ended) = (World::new(1), Rc::new(Cell::new(None)));
        let tell = ended.clone();
        let node = world.start(1, move |_: Mesh<(), ()>| {
            let tell = tell.clone();
            async move {
                let disk = shard::disk("/data/volume-000".as_ref()).expect("a folder");
                let store = uuid::Uuid::from_u128(1);
                let facts = Create { store, volume: 0, volumes: 1, segment_bytes: 1 << 20, seed: 1 };
                Volume::create(&disk, &facts).await.expect("a volume");
                let (volume, _) = Volume::open(disk, None, Settings::DEFAULT).await.expect("the same volume");
                let committer = volume.clone();
                shard::spawn("commit", async move { committer.commit_loop(shard::run_dry).await });
                let op = Op::PutAccount {
                    name: "alice@ringpost.test".to_owned(),
                    secrets: Vec::new(),
                    mailboxes: Vec::new(),
                    limits: Limits::NONE,
                };
                let made = volume.decide(Transaction { bodies: Vec::new(), ops: vec![op] }, 0).expect("room");
                made.ticket.await.expect("durable");
                let upkeep = Upkeep { retention_s, ..Upkeep::default() };
                let kept = shard::within(ROUND_MAX * 3, keep(0, volume.clone(), upkeep)).await;
                volume.close().await;
                tell.set(Some(kept.is_some()));
                Ok(())
            }
        });
        world.run_until(world.ended(node)).expect("it ends in order");
        ended.get().expect("the story was told")
    }

    #[test]
    #[cfg(feature = "sim")]
    fn where_nothing_is_kept_one_round_is_enough() {
        assert!(comes_to_an_end(0));
        assert!(!comes_to_an_end(86_400));
    }
}
