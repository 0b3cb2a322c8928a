//! All counters: those of the shards, and the sums over the volumes.

use std::collections::BTreeMap;

use ringpost_storage::VolumeStats;

use super::{Response, Trouble, respond};
use crate::observe::{self, Counter};
use crate::office::{Office, Reply, Request};

pub(super) async fn stats(office: &Office) -> Response {
    respond(try_stats(office).await)
}

async fn try_stats(office: &Office) -> Result<Response, Trouble> {
    let mut counters: BTreeMap<String, u64> =
        Counter::ALL.iter().map(|c| (c.name().to_owned(), observe::total(*c))).collect();
    counters.insert("log_lines_lost_total".to_owned(), observe::log::lines_lost());
    let mut add = |name: &str, n: u64| *counters.entry(name.to_owned()).or_default() += n;
    for shard in 0..office.shard_count() {
        let Ok(Reply::Stats(volumes)) = office.mesh.call(shard, Request::Stats, 0).await else {
            return Err(Trouble::Failed(format!("shard {shard} does not answer")));
        };
        for VolumeStats {
            batches,
            transactions,
            records,
            written_bytes,
            body_bytes,
            durable: _,
            segments_put_off,
            damaged_regions,
            lost_batches,
            orphan_records,
            failed,
        } in volumes
        {
            add("volume_batches", batches);
            add("volume_transactions", transactions);
            add("volume_records", records);
            add("volume_written_bytes", written_bytes);
            add("volume_body_bytes", body_bytes);
            add("volume_segments_put_off", segments_put_off);
            add("volume_damaged_regions", damaged_regions);
            add("volume_lost_batches", lost_batches);
            add("volume_orphan_records", orphan_records);
            add("volumes_open", 1);
            add("volumes_failed", u64::from(failed));
        }
    }
    Ok(Response::Counters { counters })
}
