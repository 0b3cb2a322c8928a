//! All counters: those of the shards added up, and of each if asked for.

use super::{Response, Trouble, report, respond};
use crate::office::Office;

pub(super) async fn stats(office: &Office, per_shard: bool) -> Response {
    respond(try_stats(office, per_shard).await)
}

async fn try_stats(office: &Office, per_shard: bool) -> Result<Response, Trouble> {
    let report = report::report(office).await;
    if let Some(shard) = report.silent().first() {
        return Err(Trouble::Failed(format!("shard {shard} does not answer")));
    }
    let shards = if per_shard { report.by_shard() } else { Vec::new() };
    Ok(Response::Counters { counters: report.totals(), measures: report.measures(), shards })
}
