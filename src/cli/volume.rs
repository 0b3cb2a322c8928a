//! `ringpost volume`: the logs that a store consists of.

use clap::{Args, Subcommand};

use super::{At, desk, job, say, say_json};
use crate::admin::{Request, Response, VolumeView};

/// Add, evacuate, retire or list volumes: a store has one or more, dealt to the shards at its start.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost volume list
  ringpost volume add
  ringpost volume evacuate 2      moves its accounts to the others, while they are in use
  ringpost volume retire 2        when it is empty")]
pub(super) struct VolumeArgs {
    #[command(subcommand)]
    verb: VolumeVerb,
}

#[derive(Subcommand, Debug)]
enum VolumeVerb {
    /// Make one more volume. New accounts go to the volume with the fewest.
    #[command(after_help = "Example:\n  ringpost volume add")]
    Add {
        #[command(flatten)]
        at: At,
    },
    /// Move all accounts of a volume to the others, while they are in use. It takes no new ones from now on.
    #[command(after_help = "Example:\n  ringpost volume evacuate 2")]
    Evacuate {
        /// Its number.
        volume: u16,
        #[command(flatten)]
        at: At,
    },
    /// Give up a volume that was evacuated. Its folder stays, and may be removed when the server was started again.
    #[command(after_help = "Example:\n  ringpost volume retire 2")]
    Retire {
        /// Its number.
        volume: u16,
        #[command(flatten)]
        at: At,
    },
    /// Show the volumes, one a line: number, shard, accounts, transfers that it owes and awaits, state.
    #[command(after_help = "Examples:\n  ringpost volume list\n  ringpost volume list --json")]
    List {
        /// As a JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
}

pub(super) fn run(args: VolumeArgs) -> Result<(), String> {
    match args.verb {
        VolumeVerb::Add { at } => match desk::ask(&at.data, Request::VolumeAdd {})? {
            Response::VolumeList { volumes } => volumes.iter().for_each(show),
            other => return Err(desk::strange(&other)),
        },
        VolumeVerb::Evacuate { volume, at } => {
            desk::with_session(&at.data, |session| job::follow(session, &Request::VolumeEvacuate { volume }))?;
        }
        VolumeVerb::Retire { volume, at } => {
            desk::ask(&at.data, Request::VolumeRetire { volume })?;
        }
        VolumeVerb::List { json, at } => match desk::ask(&at.data, Request::VolumeList {})? {
            Response::VolumeList { volumes } if json => say_json(&volumes)?,
            Response::VolumeList { volumes } => volumes.iter().for_each(show),
            other => return Err(desk::strange(&other)),
        },
    }
    Ok(())
}

fn show(view: &VolumeView) {
    let VolumeView { volume, shard, accounts, owes, awaits, state } = view;
    say(&format!("{volume:>4}  shard {shard}  {accounts} accounts  owes {owes}  awaits {awaits}  {state}\n"));
}
