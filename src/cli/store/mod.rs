//! `ringpost store`: mail goes in from other servers and out again, and what holds it is looked after.

use std::process::ExitCode;

use clap::{Args, Subcommand};

mod account;
mod backup;
mod check;
mod copy;
mod export;
mod folder;
mod import;
mod progress;
mod repair;
mod restore;
mod scrub;
mod source;
mod stat;
mod stopped;

/// Import and export mail, and look after what holds it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost store import --account alice@example.org --maildir /home/alice/Maildir
  ringpost store import --account alice@example.org --mbox old-mail --mailbox Archive/2019
  ringpost store export --account alice@example.org --maildir /backup/alice
  ringpost store stat
  ringpost store check --data /var/lib/ringpost
  ringpost store backup /backup/ringpost

check and repair want a stopped server, scrub a running one; all others work either way.")]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    verb: StoreVerb,
}

#[derive(Subcommand, Debug)]
enum StoreVerb {
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Stat(stat::StatArgs),
    Check(check::CheckArgs),
    Repair(repair::RepairArgs),
    Scrub(scrub::ScrubArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
}

/// What went wrong is the error's sentence; a check has exit codes of its own.
pub(super) fn run(args: StoreArgs) -> Result<ExitCode, String> {
    match args.verb {
        StoreVerb::Import(args) => import::run(&args)?,
        StoreVerb::Export(args) => export::run(&args)?,
        StoreVerb::Stat(args) => stat::run(&args)?,
        StoreVerb::Repair(args) => repair::run(&args)?,
        StoreVerb::Scrub(args) => scrub::run(&args)?,
        StoreVerb::Backup(args) => backup::run(&args)?,
        StoreVerb::Restore(args) => restore::run(&args)?,
        StoreVerb::Check(args) => return Ok(check::run(&args).into()),
    }
    Ok(ExitCode::SUCCESS)
}
