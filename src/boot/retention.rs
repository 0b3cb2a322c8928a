//! Lets what was expunged go for good when its time is over: all accounts of a volume one after the other, again and again.
//!
//! Nothing remembers who has something to let go: each account is loaded once a round, and a round takes an eighth of the
//! retention, but at most a day. A million accounts are twelve a second then, at a retention of a week. So what is expunged
//! stays for its time and up to an eighth more.

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

/// Looks after a volume for as long as the shard lives.
pub async fn keep(id: VolumeId, volume: Volume<Disk>, upkeep: Upkeep) {
    let round = round(upkeep.retention_s);
    let retention_ms = i64::try_from(upkeep.retention_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    loop {
        let accounts = volume.account_ids();
        let count = u32::try_from(accounts.len()).unwrap_or(u32::MAX).max(1);
        if accounts.is_empty() {
            shard::sleep(round).await;
        }
        for account in accounts {
            shard::sleep((round / count).max(PAUSE_MIN)).await;
            let now_ms = i64::try_from(shard::wall_ms()).unwrap_or(i64::MAX);
            match volume.forget(account, now_ms.saturating_sub(retention_ms), now_ms).await {
                Ok(0) => {}
                Ok(messages) => tracing::debug!(volume = id, account = account.0, messages, "expunged for good"),
                Err(why) => tracing::debug!(volume = id, account = account.0, %why, "what was expunged stays for now"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_an_eighth_of_the_retention_within_bounds() {
        let rounds = [0, 2, 800, 7 * 86_400, 86_400 * 365].map(|s| round(s).as_secs());
        assert_eq!(rounds, [86_400, 1, 100, 75_600, 86_400]);
    }
}
