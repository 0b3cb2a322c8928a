//! `ringpost stats`: the counters of a running server.

use clap::Args;

use super::{At, desk, say, say_json};
use crate::admin::{Request, Response, ShardCounters};

/// Show the counters of a running server, one `name value` a line.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  ringpost stats\n  ringpost stats --per-shard\n  ringpost stats --json | jq .messages_accepted_total"
)]
pub(super) struct StatsArgs {
    /// As one JSON object.
    #[arg(long)]
    json: bool,
    /// The counters of each shard as well.
    #[arg(long)]
    per_shard: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(args: &StatsArgs) -> Result<(), String> {
    match desk::ask_server(&args.at.data, &Request::Stats { per_shard: args.per_shard })? {
        Response::Counters { counters, shards } if args.json && args.per_shard => {
            say_json(&serde_json::json!({ "sum": counters, "shards": shards }))
        }
        Response::Counters { counters, .. } if args.json => say_json(&counters),
        Response::Counters { counters, shards } => {
            counters.iter().for_each(|(name, value)| say(&format!("{name} {value}\n")));
            for ShardCounters { shard, counters } in shards {
                say(&format!("\nshard {shard}\n"));
                counters.iter().for_each(|(name, value)| say(&format!("{name} {value}\n")));
            }
            Ok(())
        }
        other => Err(desk::strange(&other)),
    }
}
