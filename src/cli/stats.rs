//! `ringpost stats`: the counters of a running server.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

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
        Response::Counters { mut counters, measures, shards } => {
            counters.extend(measures);
            let shards: Vec<(u16, BTreeMap<String, u64>)> = shards.into_iter().map(together).collect();
            match (args.json, args.per_shard) {
                (true, true) => {
                    let shard = |(shard, figures)| json!({ "shard": shard, "figures": figures });
                    let shards: Vec<_> = shards.into_iter().map(shard).collect();
                    return say_json(&json!({ "sum": counters, "shards": shards }));
                }
                (true, false) => return say_json(&counters),
                (false, _) => {}
            }
            let list = |figures: &BTreeMap<_, _>| {
                figures.iter().for_each(|(name, value)| say(&format!("{name} {value}\n")));
            };
            list(&counters);
            for (shard, figures) in &shards {
                say(&format!("\nshard {shard}\n"));
                list(figures);
            }
            Ok(())
        }
        other => Err(desk::strange(&other)),
    }
}

fn together(of: ShardCounters) -> (u16, BTreeMap<String, u64>) {
    let ShardCounters { shard, mut counters, measures } = of;
    counters.extend(measures);
    (shard, counters)
}
