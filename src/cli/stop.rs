//! `ringpost stop`: ask a running server to stop in order.

use clap::Args;

use super::{At, desk};
use crate::admin::Request;

/// Ask a running server to stop in order, as SIGTERM does.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  ringpost stop --data /var/lib/ringpost")]
pub(super) struct StopArgs {
    #[command(flatten)]
    at: At,
}

pub(super) fn run(args: &StopArgs) -> Result<(), String> {
    desk::ask_server(&args.at.data, &Request::Stop {}).map(|_| ())
}
