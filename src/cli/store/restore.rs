//! `ringpost store restore`: a backup becomes a store again, or one account's mail comes back out of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Args;

use super::super::{At, desk};
use super::backup::Manifest;
use super::check::unread_place;
use super::progress::Progress;
use super::source::Place;
use super::stopped::Stopped;
use super::{copy, import};
use crate::admin::Request;
use crate::boot::home::{self, Look, volume_dir};
use crate::office::tools::{Ask, Told};
use crate::proto::imap::Name;

/// Bring a store back from a backup, or the mail of one account.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost store restore /backup/ringpost --data /var/lib/ringpost                       all of it, into a new folder
  ringpost store restore /backup/ringpost --account alice@example.org --data /var/lib/ringpost

All of it: the data directory must not be there yet, or be empty. Every mailbox gets a new UIDVALIDITY, so mail programs
fetch their mailboxes again: what they remember may be newer than the backup. The configuration file and the keys of TLS
are not in a backup.

One account: into a running or stopped server, where the account exists. Messages that are there already (same date, same
octets, same mailbox) are passed over, the others come back as new messages; mailboxes that are gone are made again.
It may be repeated.")]
pub(super) struct RestoreArgs {
    /// A folder that `ringpost store backup` has written.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only the mail of this account.
    #[arg(long, value_name = "ADDRESS")]
    account: Option<String>,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(args: &RestoreArgs) -> Result<(), String> {
    let finished = Manifest::read(&args.dir)?.map(|manifest| manifest.finished);
    match finished {
        Some(true) => {}
        Some(false) => return Err(format!("{}: the backup is not complete: run it again", args.dir.display())),
        None => return Err(format!("{}: there is no backup: it has no backup.json", args.dir.display())),
    }
    match &args.account {
        Some(address) => account(&args.dir, address, &args.at.data),
        None => whole(&args.dir, &args.at.data),
    }
}

fn whole(backup: &Path, data: &Path) -> Result<(), String> {
    let wrong = |path: &Path, why: std::io::Error| format!("{}: {why}", path.display());
    if copy::names(data).is_ok_and(|names| !names.is_empty()) {
        let data = data.display();
        return Err(format!("{data} is not empty: a backup is restored into a new data directory (--data DIR)"));
    }
    let look = Look::at(backup).map_err(|why| why.to_string())?;
    let name = data.file_name().ok_or_else(|| format!("{} is no name for a folder", data.display()))?;
    // It gets its name when it is complete, so that nobody serves the half of it.
    let half = data.with_file_name(format!("{}.restoring", name.to_string_lossy()));
    if half.exists() {
        let half = half.display();
        return Err(format!("{half} is left over from a restore that was interrupted: remove it and try again"));
    }
    let mut progress = Progress::new();
    for id in 0..look.volumes {
        let (from, to) = (volume_dir(backup, id), volume_dir(&half, id));
        copy::folder(&to).map_err(|why| wrong(&to, why))?;
        let names = copy::names(&from).map_err(|why| wrong(&from, why))?;
        progress.begin(&format!("volume {id}"), names.len() as u64);
        for name in names {
            let unread = copy::whole(&from.join(&name), &to.join(&name), |octets| progress.octets(octets))
                .map_err(|why| wrong(&from.join(&name), why))?;
            unread.iter().for_each(|place| progress.problem(unread_place(place)));
            progress.step(0);
        }
    }
    let (from, to) = (home::store_file(backup), home::store_file(&half));
    copy::whole(&from, &to, |_| {}).map_err(|why| wrong(&from, why))?;
    copy::settle(&half).map_err(|why| wrong(&half, why))?;
    desk::ask(&half, Request::StoreRenumber {})?;
    if data.exists() {
        fs::remove_dir(data).map_err(|why| wrong(data, why))?;
    }
    fs::rename(&half, data).map_err(|why| wrong(data, why))?;
    let above = data.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above).and_then(|above| above.sync_all()).map_err(|why| wrong(above, why))?;
    progress.tell(&format!(
        "restored: {} volumes in {}; every mailbox has a new UIDVALIDITY",
        look.volumes,
        data.display()
    ));
    progress.end("what was in those places is missing; look at it with `ringpost store check`")
}

fn account(backup: &Path, address: &str, data: &Path) -> Result<(), String> {
    let stopped = Rc::new(Stopped::open(backup)?);
    let mut progress = Progress::new();
    stopped.shut.iter().for_each(|(id, why)| progress.problem(format!("volume {id} of the backup: {why}")));
    stopped.unread().into_iter().for_each(|place| progress.problem(format!("the backup's {place}")));
    stopped.lost.iter().for_each(|what| progress.problem(format!("the backup's {what}")));
    let (Told::Mailboxes { mailboxes, subscriptions }, _) = stopped.ask(address, &Ask::Mailboxes {})? else {
        return Err("the backup gave a strange answer".to_owned());
    };
    let mut places = Vec::new();
    for mailbox in mailboxes {
        match Name::of(&mailbox.name) {
            Ok(name) => {
                places.push(Place::Stored { stopped: stopped.clone(), address: address.to_owned(), name, mailbox });
            }
            Err(why) => progress.problem(format!("the mailbox {}: {why}", mailbox.name)),
        }
    }
    let subscriptions = subscriptions.iter().filter_map(|name| Name::of(name).ok()).collect();
    desk::with_session(data, |session| import::all(session, address, (places, subscriptions), (false, None), progress))
}
