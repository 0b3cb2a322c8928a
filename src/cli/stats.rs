//! `ringpost stats`: the counters of a running server.

use clap::Args;

use super::{At, desk, say, say_json};
use crate::admin::{Request, Response};

/// Show the counters of a running server, one `name value` a line.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  ringpost stats\n  ringpost stats --json | jq .messages_accepted_total")]
pub(super) struct StatsArgs {
    /// As one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(args: &StatsArgs) -> Result<(), String> {
    match desk::ask_server(&args.at.data, &Request::Stats {})? {
        Response::Counters { counters } if args.json => say_json(&counters),
        Response::Counters { counters } => {
            counters.iter().for_each(|(name, value)| say(&format!("{name} {value}\n")));
            Ok(())
        }
        other => Err(desk::strange(&other)),
    }
}
