//! Lets what was expunged go for good when its time is over: all accounts of a volume one after the other, again and again.
//!
//! Nothing remembers who has something to let go: each account is loaded once a round, and a round takes an eighth of the
//! retention, but at most a day. A million accounts are twelve a second then, at a retention of a week. So what is expunged
//! stays for its time and up to an eighth more.
//!
//! A clock that may be wrong lets nothing go: see [`Calendar`](super::calendar::Calendar).
//!
//! Where nothing is kept, nothing is added either: what an earlier setting kept goes in one round, and when every account of it
//! could be looked at there is nothing more to do before the next start.

use std::time::Duration;

use ringpost_storage::{Volume, VolumeId};

use super::calendar::Calendar;
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
    let mut calendar = Calendar::new(shard::now(), shard::wall_ms(), Duration::from_secs(upkeep.retention_s));
    loop {
        let clean = go_round(id, &volume, upkeep.retention_s, &mut calendar).await;
        if clean && upkeep.retention_s == 0 {
            return;
        }
    }
}

/// All accounts once; true if each could be looked at, and let go what it had to.
async fn go_round(id: VolumeId, volume: &Volume<Disk>, retention_s: u64, calendar: &mut Calendar) -> bool {
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
        let wall_ms = shard::wall_ms();
        if !calendar.is_believed(shard::now(), wall_ms) && retention_s > 0 {
            continue;
        }
        let now_ms = i64::try_from(wall_ms).unwrap_or(i64::MAX);
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

    /// Looks after a volume whose one letter was expunged, for so many days, of which the first sees the wall clock jump: how much of it is
    /// there still, and whether there was nothing more to do.
    #[cfg(feature = "sim")]
    fn looked_after(retention_s: u64, days: u32, jump_ms: i64) -> (usize, bool) {
        use std::cell::Cell;
        use std::rc::Rc;

        use ringpost_storage::{Body, Create, Flags, Limits, MailboxId, Op, Outcome, Settings, Transaction};

        use crate::shard::Mesh;
        use crate::shard::sim::{START_WALL_MS, World};

        let (world, told) = (World::new(1), Rc::new(Cell::new(None)));
        let tell = told.clone();
        let node = world.start(1, move |_: Mesh<(), ()>| {
            let tell = tell.clone();
            async move {
                let disk = shard::disk("/data/volume-000".as_ref()).expect("a folder");
                let store = uuid::Uuid::from_u128(1);
                let facts = Create { store, volume: 0, volumes: 1, segment_bytes: 1 << 20, seed: 1 };
                Volume::create(&disk, &facts).await.expect("a volume");
                let settings = Settings { retain: retention_s > 0, ..Settings::DEFAULT };
                let (volume, _) = Volume::open(disk, None, settings).await.expect("the same volume");
                let committer = volume.clone();
                shard::spawn("commit", async move { committer.commit_loop(shard::run_dry).await });
                let now_ms = START_WALL_MS.cast_signed();
                let done = async |bodies: Vec<Body>, op: Op| {
                    let mut decided = volume.decide(Transaction { bodies, ops: vec![op] }, now_ms).expect("room");
                    decided.ticket.await.expect("durable");
                    decided.outcomes.remove(0)
                };
                let name = "alice@ringpost.test".to_owned();
                let made = Op::PutAccount { name, secrets: Vec::new(), mailboxes: Vec::new(), limits: Limits::NONE };
                let Outcome::Account(account) = done(Vec::new(), made).await else { panic!("no account") };
                let (mailbox, flags) = (MailboxId::INBOX, Flags::none());
                let letter = Op::Append { account, mailbox, body: 0, prefix: Vec::new(), flags, internal_ms: now_ms };
                let body = Body::from(b"Subject: one\r\n\r\n".to_vec());
                let Outcome::Appended { uid, .. } = done(vec![body], letter).await else { panic!("no letter") };
                done(Vec::new(), Op::Expunge { account, mailbox, uids: vec![uid] }).await;
                let upkeep = Upkeep { retention_s, ..Upkeep::default() };
                let ended = shard::within(ROUND_MAX * days, keep(0, volume.clone(), upkeep)).await;
                let there = volume.load(account).await.expect("readable").expect("there").retained().len();
                volume.close().await;
                tell.set(Some((there, ended.is_some())));
                Ok(())
            }
        });
        world.run_until(async {
            shard::sleep(Duration::from_secs(7_200)).await;
            world.jump_wall_ms(jump_ms);
        });
        world.run_until(world.ended(node)).expect("it ends in order");
        told.get().expect("the story was told")
    }

    #[cfg(feature = "sim")]
    const WEEK_S: u64 = 7 * 86_400;

    #[test]
    #[cfg(feature = "sim")]
    fn where_nothing_is_kept_one_round_is_enough() {
        assert_eq!(looked_after(0, 3, 0), (0, true));
        assert_eq!(looked_after(WEEK_S, 3, 0), (1, false));
        assert_eq!(looked_after(WEEK_S, 10, 0), (0, false), "its time was over");
    }

    #[test]
    #[cfg(feature = "sim")]
    fn a195_a_clock_that_jumps_a_century_takes_nothing_away_at_once() {
        const CENTURY_MS: i64 = 100 * 365 * 86_400_000;
        assert_eq!(looked_after(WEEK_S, 1, CENTURY_MS), (1, false), "somebody may put it right");
        assert_eq!(looked_after(WEEK_S, 4, CENTURY_MS), (0, false), "nobody did");
        assert_eq!(looked_after(WEEK_S, 10, -CENTURY_MS), (1, false), "nothing is older than a century");
    }
}
