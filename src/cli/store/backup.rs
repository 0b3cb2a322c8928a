//! `ringpost store backup`: a copy of the store as it is at one moment, while letters come.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::HumanBytes;
use ringpost_storage::backup::SUPERBLOCK;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::super::{At, desk};
use super::check::{Found, check, unread_place};
use super::copy;
use super::progress::Progress;
use crate::admin::{Request, Response};
use crate::boot::home::{self, Look, volume_dir};
use crate::mail::date;
use crate::office::tools::{Hold, MarkedVolume};

/// The files are held for ten minutes from the last request: long before that they are asked for again.
const HELD_AGAIN_S: u64 = 60;

/// Copy the whole store into a folder, as it is at one moment.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost store backup /backup/ringpost --data /var/lib/ringpost
  ringpost store backup /backup/ringpost --verify      and look at every message of the copy
  ringpost store check --data /backup/ringpost

While the server runs, and letters come: of each volume the copy has all that was durable at one moment. Where DIR has an
older backup of the same store, segments that are full and unchanged are not copied again. An interrupted backup is
finished by running it again. Sectors that the disk does not read are named, the rest is copied, and the exit code is 1.
Copy the configuration and the keys of TLS by other means.

A backup is a store that nobody serves: check, stat and export work on it (--data DIR), and `ringpost store restore`
brings it back.")]
pub(super) struct BackupArgs {
    /// The folder of the backup: new, empty, or one of this store.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Check the backup when it is complete.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    at: At,
}

/// What a backup says of itself, in its file `backup.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The store it is of.
    store: uuid::Uuid,
    /// When it was taken.
    taken: String,
    /// False while files are copied.
    pub(super) finished: bool,
    /// How many octets of each file counted, by volume and name.
    volumes: BTreeMap<u16, BTreeMap<String, u64>>,
}

impl Manifest {
    /// That of a backup; `None`: the folder has none.
    pub(super) fn read(dir: &Path) -> Result<Option<Manifest>, String> {
        let file = dir.join("backup.json");
        match fs::read(&file) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(manifest) => Ok(Some(manifest)),
                Err(why) => Err(format!("{}: {why}", file.display())),
            },
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(format!("{}: {why}", file.display())),
        }
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        let (new, file) = (dir.join(".backup.json.new"), dir.join("backup.json"));
        fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        File::open(&new)?.sync_all()?;
        fs::rename(new, file)?;
        File::open(dir)?.sync_all()
    }
}

pub(super) fn run(args: &BackupArgs) -> Result<(), String> {
    let (data, dir) = (&args.at.data, &args.dir);
    let store = fs::read(home::store_file(data)).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => {
            format!("{}: there is no store here: name the data directory with --data DIR", data.display())
        }
        _ => format!("{}: {why}", home::store_file(data).display()),
    })?;
    let before = before(dir, &store)?;
    let mut backup = Backup { data, dir, before, progress: Progress::new(), octets: 0, copied: 0, kept: 0 };
    match desk::running(data)? {
        Some(mut session) => backup.online(&mut session, &store)?,
        None => {
            let look = Look::at(data).map_err(|why| why.to_string())?;
            let volumes = (0..look.volumes).map(|id| as_it_lies(data, id, look.segment_bytes));
            let volumes: Vec<MarkedVolume> = volumes.collect::<Result<_, String>>()?;
            backup.begin(&store)?;
            for volume in &volumes {
                backup.superblock(volume.volume)?;
                backup.volume(volume, || Ok(()))?;
            }
            backup.end(&volumes)?;
        }
    }
    if args.verify && check(dir, &mut backup.progress) != Found::Whole {
        return Err(format!(
            "the backup is damaged; look at the store: `ringpost store check --data {}`",
            data.display()
        ));
    }
    backup.progress.end("the rest was copied; look at the store: `ringpost store check --help`")
}

/// What an older backup in the folder says; the folder has one of this store, or nothing.
fn before(dir: &Path, store: &[u8]) -> Result<Option<Manifest>, String> {
    let Some(manifest) = Manifest::read(dir)? else {
        return match copy::names(dir) {
            Ok(names) if !names.is_empty() => Err(format!("{} is not empty, and no backup", dir.display())),
            _ => Ok(None),
        };
    };
    if manifest.store != identity(store)? {
        return Err(format!("{} is a backup of another store", dir.display()));
    }
    Ok(Some(manifest))
}

fn identity(store: &[u8]) -> Result<uuid::Uuid, String> {
    let store: serde_json::Value = serde_json::from_slice(store).map_err(|why| format!("the file `store`: {why}"))?;
    let store = store["store"].as_str().and_then(|text| text.parse().ok());
    store.ok_or_else(|| "the file `store` says of no store".to_owned())
}

/// All files of a stopped volume, whole.
fn as_it_lies(data: &Path, id: u16, segment_bytes: u64) -> Result<MarkedVolume, String> {
    let dir = volume_dir(data, id);
    let mut segments = Vec::new();
    for name in copy::names(&dir).map_err(|why| format!("{}: {why}", dir.display()))? {
        if name.starts_with("segment-") {
            segments.push((name, segment_bytes));
        }
    }
    Ok(MarkedVolume { volume: id, durable: 0, segment_bytes, segments })
}

struct Backup<'a> {
    data: &'a Path,
    dir: &'a Path,
    before: Option<Manifest>,
    progress: Progress,
    octets: u64,
    copied: u64,
    kept: u64,
}

impl Backup<'_> {
    fn online(&mut self, session: &mut desk::Session, store: &[u8]) -> Result<(), String> {
        let token = u64::from(std::process::id()) << 32 | u64::from(rand::random::<u32>());
        let mut hold = |how| match session.ask(&Request::StoreHold { token, how }, &[])? {
            (Response::Marked { volumes }, _) => Ok(volumes),
            (other, _) => Err(desk::strange(&other)),
        };
        // What the superblock calls durable has to be in the copy, so it is copied before the end is marked.
        let volumes = hold(Hold::Mark)?;
        self.begin(store)?;
        for volume in &volumes {
            self.superblock(volume.volume)?;
        }
        let volumes = hold(Hold::Mark)?;
        let mut asked = Instant::now();
        for volume in &volumes {
            self.volume(volume, || {
                if asked.elapsed() > Duration::from_secs(HELD_AGAIN_S) {
                    hold(Hold::Mark)?;
                    asked = Instant::now();
                }
                Ok(())
            })?;
        }
        hold(Hold::Release)?;
        self.end(&volumes)
    }

    /// Until the end it is no backup.
    fn begin(&mut self, store: &[u8]) -> Result<(), String> {
        self.write(store, false, BTreeMap::new())
    }

    fn superblock(&mut self, id: u16) -> Result<(), String> {
        let (from, to) = (volume_dir(self.data, id), volume_dir(self.dir, id));
        copy::folder(&to).map_err(|why| format!("{}: {why}", to.display()))?;
        // The reserve is made again where the copy is opened.
        let from = from.join(SUPERBLOCK);
        let unread = copy::whole(&from, &to.join(SUPERBLOCK), |_| {});
        let unread = unread.map_err(|why| format!("{}: {why}", from.display()))?;
        unread.iter().for_each(|place| self.progress.problem(unread_place(place)));
        Ok(())
    }

    /// Copies the segments of a volume, and removes from the backup those that the volume has no more.
    fn volume(&mut self, marked: &MarkedVolume, mut again: impl FnMut() -> Result<(), String>) -> Result<(), String> {
        let (from, to) = (volume_dir(self.data, marked.volume), volume_dir(self.dir, marked.volume));
        self.progress.begin(&format!("volume {}", marked.volume), marked.segments.len() as u64);
        for (name, counts) in &marked.segments {
            again()?;
            let (source, target) = (from.join(name), to.join(name));
            if self.is_there(marked, name, *counts, &source, &target) {
                self.kept += 1;
            } else {
                let (progress, octets) = (&mut self.progress, &mut self.octets);
                let step = |n| {
                    *octets += n;
                    progress.octets(n);
                };
                let done = copy::counted(&source, &target, *counts, marked.segment_bytes, step);
                let unread = done.map_err(|why| format!("{}: {why}", source.display()))?;
                unread.iter().for_each(|place| self.progress.problem(unread_place(place)));
                self.copied += 1;
            }
            self.progress.step(0);
        }
        for name in copy::names(&to).map_err(|why| format!("{}: {why}", to.display()))? {
            let is_old = name.starts_with("segment-") && !marked.segments.iter().any(|(there, _)| *there == name);
            if is_old {
                fs::remove_file(to.join(&name)).map_err(|why| format!("{}: {why}", to.join(&name).display()))?;
            }
        }
        Ok(())
    }

    /// True for a segment that was full when it was copied before, and has not been begun anew since.
    fn is_there(&self, marked: &MarkedVolume, name: &str, counts: u64, source: &Path, target: &Path) -> bool {
        const HEADER_BYTES: usize = 4_096;
        let before = self.before.as_ref().filter(|before| before.finished);
        let counted = before.and_then(|before| before.volumes.get(&marked.volume)?.get(name).copied());
        if counted != Some(counts) || counts < marked.segment_bytes {
            return false;
        }
        let header = |path: &Path| -> io::Result<(u64, [u8; HEADER_BYTES])> {
            let file = File::open(path)?;
            let mut header = [0; HEADER_BYTES];
            file.read_exact_at(&mut header, 0)?;
            Ok((file.metadata()?.len(), header))
        };
        matches!((header(source), header(target)), (Ok(a), Ok(b)) if a == b)
    }

    fn end(&mut self, volumes: &[MarkedVolume]) -> Result<(), String> {
        copy::settle(self.dir).map_err(|why| format!("{}: {why}", self.dir.display()))?;
        let counts = volumes.iter().map(|of| (of.volume, of.segments.iter().cloned().collect())).collect();
        let store = fs::read(home::store_file(self.dir)).map_err(|why| why.to_string())?;
        self.write(&store, true, counts)?;
        let (copied, kept, octets) = (self.copied, self.kept, self.octets);
        self.progress.tell(&format!(
            "backup complete: {copied} segments copied ({}), {kept} were there already",
            HumanBytes(octets)
        ));
        Ok(())
    }

    fn write(
        &mut self,
        store: &[u8],
        finished: bool,
        volumes: BTreeMap<u16, BTreeMap<String, u64>>,
    ) -> Result<(), String> {
        let now_ms = OffsetDateTime::now_utc().unix_timestamp() * 1_000;
        let manifest = Manifest { store: identity(store)?, taken: date::rfc5322(now_ms), finished, volumes };
        let done = copy::folder(self.dir)
            .and_then(|()| manifest.write(self.dir))
            .and_then(|()| fs::write(home::store_file(self.dir), store));
        done.map_err(|why| format!("{}: {why}", self.dir.display()))
    }
}
