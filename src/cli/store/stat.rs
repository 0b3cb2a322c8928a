//! `ringpost store stat`: how much there is, and what it takes.

use clap::Args;
use indicatif::HumanBytes;

use super::super::{At, desk, say, say_json};
use super::stopped::Stopped;
use crate::admin::{Request, Response};
use crate::mail::date;
use crate::office::tools::VolumeSpace;

/// Show how much each volume holds, and what that takes on the disk.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost store stat
  ringpost store stat --json | jq '.[].messages'

The log of a volume lies in segments. Live are the messages in it that somebody has; the rest is what they need
besides, and what was expunged: as much of it as compaction could win is shown. A start reads the checkpoint and replays
the log behind it. A store that is stopped is only read.")]
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
            let stopped = Stopped::open_at_checkpoint(&args.at.data)?;
            shut = stopped.shut.iter().map(|(id, why)| format!("volume {id}: {why}")).collect();
            stopped.volumes().iter().map(|(id, volume)| VolumeSpace::of(*id, &volume.space())).collect()
        }
    };
    if args.json {
        say_json(&volumes)?;
    }
    for of in volumes.into_iter().filter(|_| !args.json) {
        show(&of);
    }
    if shut.is_empty() { Ok(()) } else { Err(shut.join("; ")) }
}

fn show(of: &VolumeSpace) {
    let VolumeSpace { volume, accounts, messages, segments, segments_live, segments_dead, .. } = of;
    let part = (of.live_bytes * 100).checked_div(of.written_bytes).unwrap_or(100);
    say(&format!("volume {volume}: {accounts} accounts, {messages} messages ({})\n", HumanBytes(of.message_bytes)));
    let (log, live) = (HumanBytes(of.written_bytes), HumanBytes(of.live_bytes));
    let (files, win) = (HumanBytes(of.segment_bytes), HumanBytes(of.winnable_bytes));
    say(&format!("  {segments} segments ({files}), log {log}, of which live {live} ({part} %)\n"));
    let full = segments_live + segments_dead;
    say(&format!("  {full} segments are full, {segments_dead} of them dead; compaction could win about {win}\n"));
    let behind = of.durable_lsn.saturating_sub(of.checkpoint_lsn);
    let octets = HumanBytes(of.checkpoint_behind_bytes);
    match (of.checkpoint_lsn, of.checkpoint_age_s) {
        (0, _) => say(&format!("  no checkpoint: a start reads the whole log, up to LSN {}\n", of.durable_lsn)),
        (lsn, age) => {
            let when = age.map_or_else(String::new, |age_s| format!(" ({age_s} s ago)"));
            say(&format!("  checkpoint at LSN {lsn}{when}; {behind} batches ({octets}) behind it\n"));
        }
    }
    match (of.scrub_next, of.scrub_completed_s) {
        (Some(next), _) => say(&format!("  a scrub is at segment {next} of {}\n", of.last_segment)),
        (None, 0) => {}
        (None, at_s) => say(&format!("  scrubbed {}\n", date::rfc5322(i64::try_from(at_s).unwrap_or(0) * 1_000))),
    }
    match of.limited_accounts {
        0 => say("  no account has a quota\n"),
        n => {
            let (limits, full) = (HumanBytes(of.limit_bytes), of.full_accounts);
            say(&format!("  {n} accounts have a quota ({limits} in all), {full} have reached it\n"));
        }
    }
}
