//! A volume's folder and its files.
//!
//! Names are resolved under the folder's own descriptor and never followed through links. Reads and write → sync chains
//! go through the ring; what changes the folder (making and removing files) takes disk time and goes to the file lane.
//! No file ever grows: `create` writes every byte of it, so a commit later changes no metadata.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use ringpost_storage::disk::Bytes;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::home::{Shard, here};
use super::side;
use super::work::Key;

/// Zeros written at a time by `create`.
const ZEROS_BYTES: usize = 1 << 20;
/// A file being made is called `.NAME.new`.
const UNFINISHED: (&str, &str) = (".", ".new");
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A volume's folder.
#[derive(Clone)]
pub struct Disk {
    folder: Arc<OwnedFd>,
}

impl Disk {
    /// Opens the folder, making it if need be, and removes what a crash left half made.
    ///
    /// # Errors
    /// As `mkdir`, `open` and `unlink`; a symbolic link or anything but a folder is refused.
    pub fn open(folder: &Path) -> io::Result<Self> {
        if std::fs::symlink_metadata(folder).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            std::fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
            if let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
                // The folder's own name must survive a crash too.
                std::fs::File::open(parent)?.sync_all()?;
            }
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let disk = Disk { folder: Arc::new(rustix::fs::openat(CWD, folder, flags, Mode::empty())?) };
        for name in names(&disk.folder)? {
            if name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1) {
                rustix::fs::unlinkat(&*disk.folder, &name, AtFlags::empty())?;
            }
        }
        Ok(disk)
    }

    /// See [`ringpost_storage::disk::Disk::list`]. Names that begin with a dot are not listed.
    pub async fn list(&self) -> io::Result<Vec<String>> {
        let folder = self.folder.clone();
        side::file(move || Ok(names(&folder)?.into_iter().filter(|name| !name.starts_with('.')).collect())).await
    }

    /// See [`ringpost_storage::disk::Disk::create`].
    pub async fn create(&self, name: &str, len: u64) -> io::Result<DiskFile> {
        let (folder, name) = (self.folder.clone(), checked(name)?.to_owned());
        let file = side::file(move || make(&folder, &name, len)).await?;
        Ok(DiskFile::new(file, len))
    }

    /// See [`ringpost_storage::disk::Disk::open`].
    pub async fn open_file(&self, name: &str) -> io::Result<DiskFile> {
        let (folder, name) = (self.folder.clone(), checked(name)?.to_owned());
        let (file, len) = side::file(move || {
            // Asked before opening, because opening a pipe or a device can block or do something.
            let stat = rustix::fs::statat(&*folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            regular(stat.st_mode)?;
            let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&*folder, &name, flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&file)?;
            regular(stat.st_mode)?;
            Ok((file, u64::try_from(stat.st_size).map_err(|_| Errno::INVAL)?))
        })
        .await?;
        Ok(DiskFile::new(file, len))
    }

    /// See [`ringpost_storage::disk::Disk::remove`].
    pub async fn remove(&self, name: &str) -> io::Result<()> {
        let (folder, name) = (self.folder.clone(), checked(name)?.to_owned());
        side::file(move || {
            rustix::fs::unlinkat(&*folder, &name, AtFlags::empty())?;
            Ok(rustix::fs::fsync(&*folder)?)
        })
        .await
    }

    /// See [`ringpost_storage::disk::Disk::free_bytes`].
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&*self.folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn checked(name: &str) -> io::Result<&str> {
    let plain = !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && !name.contains(['/', '\0']);
    if plain { Ok(name) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file name")) }
}

fn regular(mode: u32) -> io::Result<()> {
    if FileType::from_raw_mode(mode) == FileType::RegularFile {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

fn names(folder: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        // What is not UTF-8 is not ours.
        if let Ok(name) = entry?.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn make(folder: &OwnedFd, name: &str, len: u64) -> io::Result<OwnedFd> {
    let unfinished = format!("{}{name}{}", UNFINISHED.0, UNFINISHED.1);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, &unfinished, flags, Mode::from_raw_mode(FILE_MODE))?;
    let made = fill(&file, len).and_then(|()| {
        rustix::fs::renameat_with(folder, &unfinished, folder, name, RenameFlags::NOREPLACE)?;
        Ok(rustix::fs::fsync(folder)?)
    });
    if let Err(why) = made {
        let _ = rustix::fs::unlinkat(folder, &unfinished, AtFlags::empty());
        return Err(why);
    }
    Ok(file)
}

/// Writes the zeros: allocated extents that were never written cost a metadata change at their first commit.
fn fill(file: impl AsFd, len: u64) -> io::Result<()> {
    if len > 0 {
        // One extent where the file system can; it need not.
        let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len);
    }
    let zeros = vec![0; ZEROS_BYTES];
    let mut at = 0;
    while at < len {
        let part = usize::try_from(len - at).unwrap_or(usize::MAX).min(zeros.len());
        match rustix::io::pwrite(&file, &zeros[..part], at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => at += written as u64,
            Err(Errno::INTR) => {}
            Err(why) => return Err(why.into()),
        }
    }
    Ok(rustix::fs::fsync(&file)?)
}

/// An open file. Clones share it; the ring keeps it open for as long as it works on it.
#[derive(Clone)]
pub struct DiskFile {
    file: Rc<OwnedFd>,
    len: u64,
}

impl DiskFile {
    fn new(file: OwnedFd, len: u64) -> Self {
        DiskFile { file: Rc::new(file), len }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// See [`ringpost_storage::disk::File::read_at`].
    pub async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let room = len - bytes.len();
            let at = offset + bytes.len() as u64;
            let (result, read) = read(self.file.clone(), bytes, at).await;
            bytes = read;
            match result {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // The allocator may give more capacity than was asked for, and the kernel then fills it.
                Ok(count) if count > room => bytes.truncate(len),
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        Ok(bytes)
    }

    /// See [`ringpost_storage::disk::File::write_sync`].
    pub async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        assert!(offset.checked_add(bytes).is_some_and(|end| end <= self.len), "files do not grow");
        let shard = here();
        let key = shard.ring().write_open(self.file.clone(), parts, offset);
        let claim = Claim::new(shard, key);
        let result = poll_fn(|cx| claim.shard.ring().write_poll(key, cx)).await;
        claim.done();
        result
    }
}

/// One read into the spare capacity of `bytes`: how many were read, and the buffer.
pub async fn read(file: Rc<OwnedFd>, bytes: Vec<u8>, offset: u64) -> (io::Result<usize>, Vec<u8>) {
    let shard = here();
    let key = shard.ring().read_open(file, bytes, offset);
    let claim = Claim::new(shard, key);
    let result = poll_fn(|cx| claim.shard.ring().read_poll(key, cx)).await;
    claim.done();
    result
}

/// A future's claim on its slot: dropped early, the slot keeps its memory until the kernel is done.
pub struct Claim {
    pub shard: Rc<Shard>,
    key: Cell<Option<Key>>,
}

impl Claim {
    pub fn new(shard: Rc<Shard>, key: Key) -> Self {
        Claim { shard, key: Cell::new(Some(key)) }
    }

    /// The slot was freed by its last poll.
    pub fn done(&self) {
        self.key.set(None);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let (Some(key), Some(mut ring)) = (self.key.get(), self.shard.try_ring()) {
            ring.abandon(key);
        }
    }
}
