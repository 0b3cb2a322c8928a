//! A volume's folder.
//!
//! Names are resolved under the folder's own descriptor and never followed through links. What changes the folder
//! (making, recycling and removing files) takes disk time and goes to the file lane; reads and writes are in `file`.
//! No file ever grows: `create` writes every byte of it, so a commit later changes no metadata.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::file::{DiskFile, Opened, forget_cached, open_direct};
use super::side;
use super::stage::{Stage, Stages};
use crate::shard::Writing;

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
    writing: Writing,
    stages: Rc<Stages>,
    /// It was said why files of this folder are written through the page cache.
    said: Rc<Cell<bool>>,
}

impl Disk {
    /// Opens the folder, making it if need be, and removes what a crash left half made. The names in it are durable
    /// then, also where a process died between renaming a file and syncing the folder.
    ///
    /// # Errors
    /// As `mkdir`, `open`, `unlink` and `fsync`; a symbolic link or anything but a folder is refused.
    pub fn open(folder: &Path, writing: Writing) -> io::Result<Self> {
        if std::fs::symlink_metadata(folder).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            std::fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
            if let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
                // The folder's own name must survive a crash too.
                std::fs::File::open(parent)?.sync_all()?;
            }
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = Arc::new(rustix::fs::openat(CWD, folder, flags, Mode::empty())?);
        let disk = Disk { folder: opened, writing, stages: Rc::default(), said: Rc::default() };
        for name in names(&disk.folder)? {
            if name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1) {
                rustix::fs::unlinkat(&*disk.folder, &name, AtFlags::empty())?;
            }
        }
        rustix::fs::fsync(&*disk.folder)?;
        Ok(disk)
    }

    /// See [`ringpost_storage::disk::Disk::list`]. Names that begin with a dot are not listed.
    pub async fn list(&self) -> io::Result<Vec<String>> {
        let folder = self.folder.clone();
        side::file(move || Ok(names(&folder)?.into_iter().filter(|name| !name.starts_with('.')).collect())).await
    }

    /// See [`ringpost_storage::disk::Disk::create`].
    pub async fn create(&self, name: &str, len: u64) -> io::Result<DiskFile> {
        let (folder, name, writing) = (self.folder.clone(), checked(name)?.to_owned(), self.writing);
        let opened = side::file(move || make(&folder, &name, len, writing)).await?;
        Ok(self.file(opened))
    }

    /// See [`ringpost_storage::disk::Disk::open`].
    pub async fn open_file(&self, name: &str) -> io::Result<DiskFile> {
        let (folder, name, writing) = (self.folder.clone(), checked(name)?.to_owned(), self.writing);
        Ok(self.file(side::file(move || reopen(&folder, &name, writing)).await?))
    }

    fn file(&self, opened: Opened) -> DiskFile {
        if let Err(why) = &opened.direct
            && self.writing == Writing::Direct
            && !self.said.replace(true)
        {
            tracing::warn!("the store writes through the page cache here, which costs more CPU: {why}");
        }
        DiskFile::new(opened, self.stages.clone())
    }

    /// See [`ringpost_storage::disk::Disk::recycle`].
    pub async fn recycle(&self, name: &str, new_name: &str) -> io::Result<DiskFile> {
        let (folder, writing) = (self.folder.clone(), self.writing);
        let (name, new_name) = (checked(name)?.to_owned(), checked(new_name)?.to_owned());
        let opened = side::file(move || {
            // Opened first: what can fail for want of a descriptor fails before anything has changed.
            let opened = reopen(&folder, &name, writing)?;
            rustix::fs::renameat_with(&*folder, &name, &*folder, &new_name, RenameFlags::NOREPLACE)?;
            rustix::fs::fsync(&*folder)?;
            forget_cached(&opened.buffered, 0, None);
            Ok(opened)
        });
        Ok(self.file(opened.await?))
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

fn reopen(folder: &OwnedFd, name: &str, writing: Writing) -> io::Result<Opened> {
    // Asked before opening, because opening a pipe or a device can block or do something.
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    regular(stat.st_mode)?;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let buffered = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&buffered)?;
    regular(stat.st_mode)?;
    let len = u64::try_from(stat.st_size).map_err(|_| Errno::INVAL)?;
    Ok(Opened { direct: direct(folder, name, &buffered, len, writing), buffered, len })
}

fn direct(folder: &OwnedFd, name: &str, of: &OwnedFd, len: u64, writing: Writing) -> Result<OwnedFd, String> {
    match writing {
        Writing::Direct => open_direct(folder, name, of, len),
        Writing::Buffered => Err("it was asked for".to_owned()),
    }
}

fn make(folder: &OwnedFd, name: &str, len: u64, writing: Writing) -> io::Result<Opened> {
    let unfinished = format!("{}{name}{}", UNFINISHED.0, UNFINISHED.1);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let buffered = rustix::fs::openat(folder, &unfinished, flags, Mode::from_raw_mode(FILE_MODE))?;
    let direct = direct(folder, &unfinished, &buffered, len, writing);
    let made = fill(&buffered, direct.as_ref().ok(), len).and_then(|()| {
        rustix::fs::renameat_with(folder, &unfinished, folder, name, RenameFlags::NOREPLACE)?;
        Ok(rustix::fs::fsync(folder)?)
    });
    if let Err(why) = made {
        let _ = rustix::fs::unlinkat(folder, &unfinished, AtFlags::empty());
        return Err(why);
    }
    Ok(Opened { buffered, direct, len })
}

/// Writes the zeros: allocated extents that were never written cost a metadata change at their first commit.
fn fill(buffered: &OwnedFd, direct: Option<&OwnedFd>, len: u64) -> io::Result<()> {
    if len > 0 {
        // One extent where the file system can; it need not. A full disk says so here, before it is made fuller.
        let allocated = rustix::fs::fallocate(buffered, rustix::fs::FallocateFlags::empty(), 0, len);
        if let Err(why @ (Errno::NOSPC | Errno::DQUOT)) = allocated {
            return Err(why.into());
        }
    }
    let mut zeros = Stage::new(ZEROS_BYTES);
    zeros.set_len(ZEROS_BYTES);
    let mut at = 0;
    while at < len {
        let part = usize::try_from(len - at).unwrap_or(usize::MAX).min(zeros.len());
        match rustix::io::pwrite(direct.unwrap_or(buffered), &zeros[..part], at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => at += written as u64,
            Err(Errno::INTR) => {}
            Err(why) => return Err(why.into()),
        }
    }
    rustix::fs::fsync(buffered)?;
    // Nobody reads them.
    forget_cached(buffered, 0, None);
    Ok(())
}
