//! `ringpost store repair`: what is damaged is set aside, and the store goes on without it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use ringpost_storage::check::Broken;
use time::OffsetDateTime;
use time::macros::format_description;

use super::super::{At, desk};
use super::check::{look_at, named};
use super::copy;
use super::progress::Progress;
use crate::admin::Request;
use crate::boot::home::{Look, volume_dir};

/// Set damaged octets aside and accept that what was in them is lost.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  ringpost store check  --data /var/lib/ringpost
  ringpost store repair --data /var/lib/ringpost --quarantine

First put the damaged files back from another machine's copy or a backup, if there is one: repair is for when there is
none. It deletes nothing: octets that are damaged are copied into DIR/quarantine/<time>, with a report that names the
messages. Segments that became too short are filled up with zeros. A file with sectors that the disk does not read goes there
whole, and a copy takes its place: that needs room for a segment or two.

Until then a store with lost batches tells senders to unknown addresses to come back later, because the address may have
been in them. After it they are unknown for good. Messages whose octets are damaged stay in their mailboxes and cannot
be read; `ringpost store export --damaged` saves what is left of them. The server must be stopped.")]
pub(super) struct RepairArgs {
    /// Copy what is damaged aside and accept the loss. Nothing is done without it.
    #[arg(long, required = true)]
    quarantine: bool,
    #[command(flatten)]
    at: At,
}

/// Where it is put, and what is said of it.
struct Quarantine {
    dir: PathBuf,
    report: String,
}

pub(super) fn run(args: &RepairArgs) -> Result<(), String> {
    let data = &args.at.data;
    if desk::running(data)?.is_some() {
        return Err("a server has the store: stop it first, with `ringpost stop`".to_owned());
    }
    let look = Look::at(data).map_err(|why| why.to_string())?;
    let stamp = format_description!("[year][month][day]-[hour][minute][second]");
    let stamp = OffsetDateTime::now_utc().format(stamp).map_err(|why| why.to_string())?;
    let mut quarantine = Quarantine { dir: data.join("quarantine").join(stamp), report: String::new() };
    let mut progress = Progress::new();
    let mut hopeless = Vec::new();
    for id in 0..look.volumes {
        let lengths = quarantine.fill_up(&volume_dir(data, id), id, look.segment_bytes);
        lengths.map_err(|why| format!("volume {id}: {why}"))?;
        let mut broken = Vec::new();
        if let Err(why) = look_at(data, (look.store, id), &mut progress, |what| broken.push(what.clone())) {
            hopeless.push(format!("volume {id} cannot be repaired: {why}"));
        }
        // First what is read otherwise afterwards.
        let unread = |what: &&Broken| matches!(what, Broken::Unread(_));
        let places = broken.iter().filter(unread).chain(broken.iter().filter(|what| !unread(what)));
        for what in places {
            quarantine.take(&volume_dir(data, id), id, what).map_err(|why| format!("volume {id}: {why}"))?;
        }
    }
    progress.clear();
    if !hopeless.is_empty() {
        let hopeless = hopeless.join("; ");
        return Err(format!("{hopeless}; restore from a backup with `ringpost store restore`. No loss was accepted"));
    }
    if quarantine.report.is_empty() {
        progress.tell("nothing is damaged");
        return Ok(());
    }
    // From here on the store is opened for writing.
    drop(look);
    desk::ask(data, Request::StoreAcceptLoss {})?;
    let file = quarantine.dir.join("report.txt");
    fs::write(&file, &quarantine.report).map_err(|why| format!("{}: {why}", file.display()))?;
    copy::settle(&quarantine.dir).map_err(|why| format!("{}: {why}", quarantine.dir.display()))?;
    progress.tell(&format!("set aside, and the loss accepted; what it was is in {}", file.display()));
    Ok(())
}

impl Quarantine {
    /// Gives segments that are too short their length, after a copy was set aside.
    fn fill_up(&mut self, volume: &Path, id: u16, segment_bytes: u64) -> std::io::Result<()> {
        for name in copy::names(volume)?.iter().filter(|name| name.starts_with("segment-")) {
            let path = volume.join(name);
            let len = fs::metadata(&path)?.len();
            if len >= segment_bytes {
                continue;
            }
            let aside = self.place(id, &format!("{name}-short"))?;
            copy::whole(&path, &aside, |_| {})?;
            fs::OpenOptions::new().write(true).open(&path).and_then(|file| {
                file.set_len(segment_bytes)?;
                file.sync_all()
            })?;
            self.say(format_args!(
                "volume {id}, {name}: it had {len} of {segment_bytes} octets, and was filled up with zeros"
            ));
        }
        Ok(())
    }

    /// Copies what is broken aside.
    fn take(&mut self, volume: &Path, id: u16, broken: &Broken) -> std::io::Result<()> {
        self.say(format_args!("volume {id}, {}", named(broken)));
        if let Broken::Unread(unread) = broken {
            return self.replace(volume, id, &unread.file);
        }
        let (Broken::Log { segment, offset, octets } | Broken::Body { segment, offset, octets }) = broken else {
            return Ok(());
        };
        let name = format!("segment-{segment:08}");
        if !volume.join(&name).exists() {
            self.say(format_args!("    the file {name} is missing"));
            return Ok(());
        }
        let aside = self.place(id, &format!("{name}-at-{offset}"))?;
        if aside.exists() {
            return Ok(());
        }
        let unread = copy::region(&volume.join(&name), &aside, *offset, *octets)?;
        if unread > 0 {
            self.say(format_args!("    {unread} octets of it cannot be read"));
        }
        Ok(())
    }

    /// Puts a copy of what can be read in the place of a file, which goes aside as it is: what is written there is not written
    /// to bad sectors then.
    fn replace(&mut self, volume: &Path, id: u16, name: &str) -> std::io::Result<()> {
        let (file, aside) = (volume.join(name), self.place(id, &format!("{name}-unreadable"))?);
        if aside.exists() {
            // It has more than one such place.
            return Ok(());
        }
        // The quarantine may be on another disk than the volume.
        let near = volume.join(format!(".{name}-unreadable"));
        let linked = fs::hard_link(&file, &aside).or_else(|why| match why.kind() {
            std::io::ErrorKind::CrossesDevices => fs::hard_link(&file, &near),
            _ => Err(why),
        });
        linked?;
        copy::whole(&file, &file, |_| {})?;
        self.say(format_args!("    the file was put aside whole, and a copy of what can be read took its place"));
        Ok(())
    }

    fn place(&self, id: u16, name: &str) -> std::io::Result<PathBuf> {
        let dir = self.dir.join(format!("volume-{id:03}"));
        copy::folder(&dir)?;
        Ok(dir.join(name))
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.report, "{line}");
    }
}
