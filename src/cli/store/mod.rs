//! `ringpost store`: mail goes in from other servers and out again.

use clap::{Args, Subcommand};

mod account;
mod export;
mod import;
mod progress;
mod source;

/// Import and export mail.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost store import --account alice@example.org --maildir /home/alice/Maildir
  ringpost store import --account alice@example.org --mbox old-mail --mailbox Archive/2019
  ringpost store export --account alice@example.org --maildir /backup/alice

They work while the server runs and while it is stopped.")]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    verb: StoreVerb,
}

#[derive(Subcommand, Debug)]
enum StoreVerb {
    Import(import::ImportArgs),
    Export(export::ExportArgs),
}

pub(super) fn run(args: StoreArgs) -> Result<(), String> {
    match args.verb {
        StoreVerb::Import(args) => import::run(&args),
        StoreVerb::Export(args) => export::run(&args),
    }
}
