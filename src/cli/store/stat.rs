//! `ringpost store stat`: how much there is, and what it takes.

use clap::Args;
use indicatif::HumanBytes;

use super::super::{At, desk, say, say_json};
use super::stopped::Stopped;
use crate::admin::{Request, Response};
use crate::office::tools::VolumeSpace;

/// Show how much each volume holds, and what that takes on the disk.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost store stat
  ringpost store stat --json | jq '.[].messages'

The log of a volume lies in segments. Live are the messages in it that somebody has; the rest is what they need
besides, and what was expunged.")]
pub(super) struct StatArgs {
    /// As a JSON array, one object a volume.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(args: &StatArgs) -> Result<(), String> {
    let mut shut = Vec::new();
    let volumes = match desk::running(&args.at.data)? {
        Some(mut session) => match session.ask(&Request::StoreStat {}, &[])? {
            (Response::Volumes { volumes }, _) => volumes,
            (other, _) => return Err(desk::strange(&other)),
        },
        None => {
            let stopped = Stopped::open(&args.at.data)?;
            shut = stopped.shut.iter().map(|(id, why)| format!("volume {id}: {why}")).collect();
            stopped.volumes().iter().map(|(id, volume)| VolumeSpace::of(*id, &volume.space())).collect()
        }
    };
    if args.json {
        say_json(&volumes)?;
    }
    for of in volumes.into_iter().filter(|_| !args.json) {
        let part = (of.live_bytes * 100).checked_div(of.written_bytes).unwrap_or(100);
        say(&format!(
            "volume {}: {} accounts, {} messages ({}); {} segments ({}), log {}, of which live {} ({part} %)\n",
            of.volume,
            of.accounts,
            of.messages,
            HumanBytes(of.message_bytes),
            of.segments,
            HumanBytes(of.segment_bytes),
            HumanBytes(of.written_bytes),
            HumanBytes(of.live_bytes),
        ));
    }
    if shut.is_empty() { Ok(()) } else { Err(shut.join("; ")) }
}
