//! The data directory: whose it is, and which store it holds.
//!
//! ```text
//!   DIR/ringpost.lock    flock'ed while a process has the directory; says who
//!   DIR/store            the store's identity: written once, before the first volume
//!   DIR/volume-000/ …    the volumes
//!   DIR/greylist/        what greylisting remembers, where that is on; losing it costs strangers a wait
//!   DIR/admin.sock       while a server runs
//! ```
//!
//! The store file says which volumes there are, those that take no new accounts and those that are no more: `volume add`,
//! `evacuate` and `retire` write it anew. A volume's own superblock says how many the store was made with, which is history.
//! The store file makes a missing or foreign volume a refusal instead of a silent new beginning (A194).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::office::volumes::Kept;
use crate::shard::StartError;

/// Locked by the process that has the directory.
const LOCK: &str = "ringpost.lock";
/// Newest format of the store file that this program reads.
const STORE_FORMAT: u32 = 1;
/// Tries to take what a killed predecessor may still hold for a moment: the kernel ends a ring, and with it its lock and
/// its ports, only some time after the process.
const TRIES: u32 = 20;
/// The same where the predecessor is known to be dead: a ring with much under way, on a disk that is slow, ends after seconds.
const TRIES_AFTER_DEATH: u32 = 200;
/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// A data directory in our hands.
#[derive(Debug)]
pub struct Home {
    /// The store's identity.
    pub store: Uuid,
    /// Its volumes, those that are no more included.
    pub volumes: u16,
    /// Of these the ones that take no new accounts.
    pub closed: Vec<u16>,
    /// Of these the ones that are no more.
    pub retired: Vec<u16>,
    /// Octets of a segment.
    pub segment_bytes: u64,
    /// True until the store's first start was completed: volumes may be made.
    pub fresh: bool,
    /// True for a store that `serve` began, and no other verb.
    pub quickstart: bool,
    dir: PathBuf,
    /// As it is on disk now.
    file: Mutex<StoreFile>,
    _lock: File,
}

/// What a store begins with, where there is none yet.
#[derive(Clone, Copy, Debug)]
pub struct NewStore {
    /// Volumes; their number stays.
    pub volumes: u16,
    /// Octets of a segment.
    pub segment_bytes: u64,
    /// Begun by `serve`, and no other verb.
    pub quickstart: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoreFile {
    format: u32,
    store: Uuid,
    volumes: u16,
    /// Volumes that take no new accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    closed: Vec<u16>,
    /// Volumes that are no more. Their numbers are not given again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<u16>,
    segment_bytes: u64,
    /// False until the first start was completed.
    settled: bool,
    /// True for a store that `serve` began, and no other verb: alice and bob, loopback logins without TLS.
    #[serde(default)]
    quickstart: bool,
}

impl Home {
    /// Takes the directory, making it and the store file if need be.
    ///
    /// # Errors
    /// Another process has it, its format is newer, or the file system says no.
    pub fn claim(dir: &Path, new: &NewStore) -> Result<Home, StartError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|why| at(dir, "making", why))?;
        let lock = lock(dir)?;
        let path = dir.join("store");
        let found = match read_small(&path) {
            Ok(text) => read(dir, &text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let begun = StoreFile {
                    format: STORE_FORMAT,
                    store: Uuid::from_bytes(rand::random()),
                    volumes: new.volumes,
                    closed: Vec::new(),
                    retired: Vec::new(),
                    segment_bytes: new.segment_bytes,
                    settled: false,
                    quickstart: new.quickstart,
                };
                if has_volumes(dir).map_err(|why| at(dir, "listing", why))? {
                    return Err(StartError::Data {
                        dir: dir.to_path_buf(),
                        why: "there are volumes but the file `store` is missing: restore it from a backup".to_owned(),
                    });
                }
                write(dir, &begun).map_err(|why| at(&path, "writing", why))?;
                begun
            }
            Err(why) => return Err(at(&path, "reading", why)),
        };
        Ok(Home {
            store: found.store,
            volumes: found.volumes,
            closed: found.closed.clone(),
            retired: found.retired.clone(),
            segment_bytes: found.segment_bytes,
            fresh: !found.settled,
            quickstart: found.quickstart,
            dir: dir.to_path_buf(),
            file: Mutex::new(found),
            _lock: lock,
        })
    }

    /// Notes that the first start is complete: from now on a missing volume is refused, not made.
    ///
    /// # Errors
    /// As the file system says.
    pub fn settled(&self) -> Result<(), StartError> {
        self.change(|file| file.settled = true)
    }

    /// Keeps which volumes the store has.
    ///
    /// # Errors
    /// As the file system says.
    pub fn keep(&self, kept: &Kept) -> Result<(), StartError> {
        self.change(|file| {
            file.volumes = kept.count;
            file.closed.clone_from(&kept.closed);
            file.retired.clone_from(&kept.retired);
        })
    }

    /// Changes the store file, if that changes anything.
    fn change(&self, change: impl FnOnce(&mut StoreFile)) -> Result<(), StartError> {
        let mut file = self.file.lock().expect("no holder of this lock can panic");
        let mut next = file.clone();
        change(&mut next);
        if next == *file {
            return Ok(());
        }
        write(&self.dir, &next).map_err(|why| at(&self.dir.join("store"), "writing", why))?;
        *file = next;
        Ok(())
    }
}

/// A data directory or a backup of one that is only looked at. No server can have it meanwhile; where none ever had it there
/// is nothing to be locked, and nothing is written.
#[derive(Debug)]
pub struct Look {
    /// The store's identity.
    pub store: Uuid,
    /// Its volumes.
    pub volumes: u16,
    /// Octets of a segment.
    pub segment_bytes: u64,
    _lock: Option<File>,
}

impl Look {
    /// Looks at a directory that is there.
    ///
    /// # Errors
    /// It is none of ours, a server has it, or its format is newer.
    pub fn at(dir: &Path) -> Result<Look, StartError> {
        let path = dir.join("store");
        let text = match read_small(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let why = "there is no store here: name the data directory or a backup with --data DIR".to_owned();
                return Err(StartError::Data { dir: dir.to_path_buf(), why });
            }
            Err(why) => return Err(at(&path, "reading", why)),
        };
        let found = read(dir, &text)?;
        let path = dir.join(LOCK);
        let lock = match OpenOptions::new().read(true).custom_flags(OURS).open(&path).and_then(regular) {
            Ok(file) => {
                take(dir, &file)?;
                Some(file)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(why) => return Err(at(&path, "opening", why)),
        };
        Ok(Look { store: found.store, volumes: found.volumes, segment_bytes: found.segment_bytes, _lock: lock })
    }
}

/// The file that says whose the volumes are.
#[must_use]
pub fn store_file(data: &Path) -> PathBuf {
    data.join("store")
}

/// The folder of a volume.
#[must_use]
pub fn volume_dir(data: &Path, volume: u16) -> PathBuf {
    data.join(format!("volume-{volume:03}"))
}

/// Files of segments that a volume has: each stays open.
pub fn segments_there(data: &Path, volume: u16) -> u64 {
    let Ok(entries) = std::fs::read_dir(volume_dir(data, volume)) else { return 0 };
    entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("segment-")).count() as u64
}

fn at(path: &Path, doing: &str, why: io::Error) -> StartError {
    StartError::Io { doing: format!("{doing} {}", path.display()), why }
}

/// How our own files are opened: never through a link, and without waiting for whoever may hold the other end of a pipe (A196).
const OURS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// Octets of the store file that are read; what is longer is none.
const STORE_BYTES_MAX: u64 = 1 << 20;

fn read_small(path: &Path) -> io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(OURS).open(path).and_then(regular)?;
    let mut text = String::new();
    file.take(STORE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// A file that holds octets. Pipes and devices do not: what is read there is somebody's, and may never end.
fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no regular file"))
}

fn read(dir: &Path, text: &str) -> Result<StoreFile, StartError> {
    let damaged = |why: String| StartError::Data { dir: dir.to_path_buf(), why };
    let format = serde_json::from_str::<serde_json::Value>(text).ok().and_then(|v| v["format"].as_u64());
    match format {
        Some(found) if found > u64::from(STORE_FORMAT) => Err(damaged(format!(
            "the store's format {found} is newer than this program reads ({STORE_FORMAT}): start the newer Ringpost"
        ))),
        _ => serde_json::from_str(text)
            .map_err(|e| damaged(format!("the file `store` is damaged ({e}): restore it from a backup"))),
    }
}

fn write(dir: &Path, file: &StoreFile) -> io::Result<()> {
    let (new, name) = (dir.join("store.new"), dir.join("store"));
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(&serde_json::to_vec_pretty(file)?)?;
    out.write_all(b"\n")?;
    out.sync_all()?;
    fs::rename(&new, &name)?;
    File::open(dir)?.sync_all()?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn has_volumes(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        if entry?.file_name().to_string_lossy().starts_with("volume-") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tries again while the failure is that a predecessor has not let go yet: for one second in all, or for ten while it `is_dead`.
///
/// # Errors
/// The last failure.
pub fn patiently<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    not_yet: impl Fn(&E) -> bool,
    is_dead: impl Fn() -> bool,
) -> Result<T, E> {
    for tried in 1..TRIES_AFTER_DEATH {
        match attempt() {
            Err(e) if not_yet(&e) && (tried < TRIES || is_dead()) => std::thread::sleep(TRY_EVERY),
            done => return done,
        }
    }
    attempt()
}

fn lock(dir: &Path) -> Result<File, StartError> {
    let path = dir.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OURS)
        .open(&path)
        .and_then(regular)
        .map_err(|why| at(&path, "opening", why))?;
    take(dir, &file)?;
    let note = format!("process {}, boot {}\n", std::process::id(), boot());
    file.set_len(0).and_then(|()| file.write_all(note.as_bytes())).map_err(|why| at(&path, "writing", why))?;
    Ok(file)
}

/// Which run of the kernel this is.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Locks the lock file.
fn take(dir: &Path, file: &File) -> Result<(), StartError> {
    let taken = |e: &rustix::io::Errno| *e == rustix::io::Errno::WOULDBLOCK;
    let try_lock = || rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
    match patiently(try_lock, taken, || holder(file).is_some_and(|holder| is_dead(&holder))) {
        Ok(()) => Ok(()),
        Err(e) if taken(&e) => {
            let holder = holder(file).unwrap_or_else(|| "it did not say who it is".to_owned());
            Err(StartError::DataInUse { dir: dir.to_path_buf(), holder })
        }
        Err(why) => Err(at(&dir.join(LOCK), "locking", why.into())),
    }
}

/// Who has the lock. Who cannot be read did not say who it is.
fn holder(lock: &File) -> Option<String> {
    let mut note = [0; 128];
    let octets = lock.read_at(&mut note, 0).ok()?;
    let line = String::from_utf8_lossy(&note[..octets]).lines().next()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// True if the holder was a process of this run of the kernel, and is no more or waits to be buried. One that cannot be seen from
/// here, because it has other process numbers, looks the same: it is waited for longer, and refused in the end.
fn is_dead(holder: &str) -> bool {
    let Some((process, run)) = holder.strip_prefix("process ").and_then(|rest| rest.split_once(", boot ")) else {
        return false;
    };
    let Ok(process) = process.parse::<u32>() else { return false };
    let dead = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']));
    run == boot()
        && fs::read_to_string(format!("/proc/{process}/stat"))
            .map_or_else(|e| e.kind() == io::ErrorKind::NotFound, dead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(dir: &Path) -> Result<Home, StartError> {
        Home::claim(dir, &NewStore { volumes: 2, segment_bytes: 1 << 20, quickstart: false })
    }

    #[test]
    fn a_store_keeps_its_identity_and_its_number_of_volumes() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let first = claim(dir.path()).expect("a new home");
        assert!(first.fresh);
        first.settled().expect("settling");
        let store = first.store;
        drop(first);
        let other = NewStore { volumes: 7, segment_bytes: 4 << 20, quickstart: true };
        let again = Home::claim(dir.path(), &other).expect("the same home");
        assert_eq!((again.store, again.volumes, again.segment_bytes), (store, 2, 1 << 20));
        assert!(!again.fresh && !again.quickstart);
    }

    #[test]
    fn a_store_keeps_which_volumes_it_has() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let home = claim(dir.path()).expect("a new home");
        home.keep(&Kept { count: 4, closed: vec![2], retired: vec![0] }).expect("keeping");
        home.settled().expect("settling");
        drop(home);
        let home = claim(dir.path()).expect("the same home");
        assert_eq!((home.volumes, &*home.closed, &*home.retired, home.fresh), (4, &[2][..], &[0][..], false));
    }

    #[test]
    fn a194_a_directory_in_use_is_refused_and_names_its_holder() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let _held = claim(dir.path()).expect("a new home");
        let error = claim(dir.path()).expect_err("it is in use").to_string();
        assert!(error.contains("in use") && error.contains(&std::process::id().to_string()), "{error}");
    }

    /// Holds the lock of a directory for so long, saying to be `process`.
    fn hold(dir: &Path, process: u32, time: Duration) -> std::thread::JoinHandle<()> {
        let mut file = File::create(dir.join(LOCK)).expect("a lock file");
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).expect("nobody has it");
        writeln!(file, "process {process}, boot {}", boot()).expect("writing");
        let (_open, never) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            // The other end is kept by this thread, so that only time ends it.
            let _kept = (&_open, &file);
            assert!(never.recv_timeout(time).is_err());
        })
    }

    #[test]
    fn a194_a_dead_predecessor_is_waited_for_longer_than_one_that_lives() {
        let time = TRY_EVERY * (TRIES + 10);
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        child.wait().expect("it ends");
        for (process, waits) in [(child.id(), true), (std::process::id(), false)] {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let holding = hold(dir.path(), process, time);
            assert_eq!(claim(dir.path()).is_ok(), waits);
            holding.join().expect("it let go");
        }
    }

    #[test]
    fn a194_a_newer_format_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join("store"), r#"{"format": 9, "surprise": true}"#).expect("writing");
        let error = claim(dir.path()).expect_err("it is newer").to_string();
        assert!(error.contains("format 9 is newer"), "{error}");
    }

    #[test]
    fn a194_volumes_without_their_store_file_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("volume-000")).expect("making");
        let error = claim(dir.path()).expect_err("the store file is missing").to_string();
        assert!(error.contains("`store` is missing"), "{error}");
    }

    #[test]
    fn a196_links_pipes_and_devices_are_no_files_of_a_store() {
        for name in ["store", LOCK] {
            for what in ["link", "pipe", "device", "folder"] {
                let dir = tempfile::tempdir().expect("a temporary folder");
                drop(claim(dir.path()).expect("a new home"));
                let path = dir.path().join(name);
                fs::rename(&path, dir.path().join("kept")).expect("moving");
                match what {
                    "link" => std::os::unix::fs::symlink(dir.path().join("kept"), &path).expect("a link"),
                    "pipe" => rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).expect("a pipe"),
                    "device" => std::os::unix::fs::symlink("/dev/full", &path).expect("a link to a device"),
                    _ => fs::create_dir(&path).expect("a folder"),
                }
                let error = claim(dir.path()).expect_err(what).to_string();
                assert!(error.contains(&*path.to_string_lossy()), "{name}, {what}: {error}");
            }
        }
    }
}
