//! `ringpost route`: where a letter would go.

use clap::Args;

use super::rules::{ask, strange};
use super::{At, say, say_json};
use crate::admin::routing::{Ask, Told, WayView};

/// Show where a letter for an address would go: one account a line, and the folder that a subaddress names.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost route sales@example.org
  ringpost route alice+shop@example.org --json
  ringpost route postmaster@example.org")]
pub(super) struct RouteArgs {
    /// The address.
    address: String,
    /// As a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(args: RouteArgs) -> Result<(), String> {
    match ask(&args.at.data, Ask::Way { address: args.address })? {
        Told::Way(ways) if args.json => say_json(&ways),
        Told::Way(ways) => {
            for WayView { account, folder } in ways {
                let folder = folder.map_or(String::new(), |f| format!("  {}", f.escape_debug()));
                say(&format!("{account}{folder}\n"));
            }
            Ok(())
        }
        other => Err(strange(other)),
    }
}
