//! `ringpost store check`: is everything there that should be, as it was written?

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use futures_lite::future::block_on;
use indicatif::HumanBytes;
use ringpost_storage::check::{self, Broken, Progress as Step, Report};
use ringpost_storage::unread::Unread;

use super::super::At;
use super::folder::Folder;
use super::progress::Progress;
use crate::boot::home::{Look, volume_dir};

/// Look at every batch, record and message of a stopped store or a backup. Writes nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost store check --data /var/lib/ringpost
  ringpost store check --data /backup/ringpost        a backup is checked as a store is

Every batch of the log is read with all it holds, and every message of every mailbox as a reader would. What is damaged
is named: octets of a segment, and messages by account, mailbox and UID. Sectors that the disk does not read are named, and
read around. The server must be stopped.

Exit code: 0 all is whole, 1 something is damaged, 2 it could not be looked at.
What to do about damage: `ringpost store repair --help`.")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    at: At,
}

/// How a look ended; the worst of several counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Found {
    Whole,
    Damaged,
    CouldNotLook,
}

impl From<Found> for ExitCode {
    fn from(found: Found) -> ExitCode {
        ExitCode::from(match found {
            Found::Whole => 0,
            Found::Damaged => 1,
            Found::CouldNotLook => 2,
        })
    }
}

pub(super) fn run(args: &CheckArgs) -> Found {
    let mut progress = Progress::new();
    let found = check(&args.at.data, &mut progress);
    progress.clear();
    found
}

/// Looks at all volumes of a store or a backup.
pub(super) fn check(data: &Path, progress: &mut Progress) -> Found {
    let look = match Look::at(data) {
        Ok(look) => look,
        Err(why) => {
            progress.problem(why);
            return Found::CouldNotLook;
        }
    };
    let mut worst = Found::Whole;
    for id in 0..look.volumes {
        let found = match look_at(data, (look.store, id), progress, |_| {}) {
            Ok(report) => {
                progress.tell(&sentence(id, &report));
                if report.broken == 0 && report.whole { Found::Whole } else { Found::Damaged }
            }
            Err(why) => {
                progress.problem(format!("volume {id}: {why}"));
                Found::CouldNotLook
            }
        };
        worst = worst.max(found);
    }
    worst
}

/// Looks at one volume, and names what is broken.
pub(super) fn look_at(
    data: &Path,
    (store, id): (uuid::Uuid, u16),
    progress: &mut Progress,
    mut hear: impl FnMut(&Broken),
) -> Result<Report, String> {
    progress.begin(&format!("volume {id}"), 0);
    let disk = Folder::at(&volume_dir(data, id));
    let told = std::cell::RefCell::new(progress);
    let report = block_on(check::check(
        disk,
        Some((store, id)),
        |broken| {
            hear(&broken);
            told.borrow_mut().problem(format!("volume {id}, {}", named(&broken)));
        },
        |step| match step {
            Step::Batch(octets) => told.borrow_mut().octets(octets),
            Step::Message(octets) => told.borrow_mut().step(octets),
        },
    ));
    report.map_err(|why| why.to_string())
}

/// A half sentence for what is broken.
pub(super) fn named(broken: &Broken) -> String {
    match broken {
        Broken::Unread(unread) => unread_place(unread),
        Broken::Log { segment, offset, octets } => {
            format!("segment {segment}, {octets} octets at {offset}: not what was written there; batches may be lost")
        }
        Broken::Body { segment, offset, octets } => {
            format!("segment {segment}, {octets} octets at {offset}: a body that is damaged")
        }
        Broken::Page { file, offset } => format!("{file}, the page at {offset}: damaged"),
        Broken::Superblock { copy } => format!("superblock, copy {copy}: damaged"),
        Broken::Account { account, why } => format!("account {}: {why}", account.0),
        Broken::Message { account, mailbox, uid, why } => format!("{account}, {mailbox}, UID {uid}: {why}"),
    }
}

/// A half sentence for octets that cannot be read.
pub(super) fn unread_place(unread: &Unread) -> String {
    let Unread { file, offset, octets, why } = unread;
    format!("{file}, {octets} octets at {offset}: the disk does not read them ({why})")
}

fn sentence(id: u16, report: &Report) -> String {
    let state = match (report.broken, report.whole) {
        (0, true) => "whole",
        (_, true) => "DAMAGED",
        (_, false) => "DAMAGED, batches are lost",
    };
    let Report { segments, batches, batch_bytes, accounts, mailboxes, messages, message_bytes, .. } = report;
    let mut said = format!(
        "volume {id}: {state}: {segments} segments, {batches} batches ({}), {accounts} accounts, {mailboxes} mailboxes, {messages} messages ({})",
        HumanBytes(*batch_bytes),
        HumanBytes(*message_bytes)
    );
    if report.accepted > 0 {
        said += &format!("; {} holes in the log, whose loss was accepted", report.accepted);
    }
    if report.recovered.torn_bytes > 0 {
        said += &format!("; {} at the end that nobody was told yes to", HumanBytes(report.recovered.torn_bytes));
    }
    if report.orphans > 0 {
        said += &format!("; {} records that belong to nothing", report.orphans);
    }
    said
}
