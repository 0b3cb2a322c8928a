//! A volume's folder as the storage wants it, through plain reads: for tools that look at a stopped store or a backup.
//!
//! It is only read. Whoever opens a volume in it puts an overlay over it, which keeps what opening writes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringpost_storage::disk;

/// See the file's head.
#[derive(Clone)]
pub(super) struct Folder(Rc<PathBuf>);

/// A file of it.
#[derive(Clone)]
pub(super) struct FolderFile {
    file: Rc<File>,
    len: u64,
}

impl Folder {
    pub(super) fn at(path: &Path) -> Folder {
        Folder(Rc::new(path.to_path_buf()))
    }
}

impl FolderFile {
    pub(super) fn open(path: &Path) -> io::Result<FolderFile> {
        if !fs::symlink_metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = File::open(path)?;
        Ok(FolderFile { len: file.metadata()?.len(), file: Rc::new(file) })
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl disk::Disk for Folder {
    type File = FolderFile;

    async fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&*self.0)? {
            // What is not UTF-8 is not ours.
            names.extend(entry?.file_name().into_string().ok().filter(|name| !name.starts_with('.')));
        }
        Ok(names)
    }

    async fn create(&self, _: &str, _: u64) -> io::Result<FolderFile> {
        read_only()
    }

    async fn open(&self, name: &str) -> io::Result<FolderFile> {
        FolderFile::open(&self.0.join(name))
    }

    async fn recycle(&self, _: &str, _: &str) -> io::Result<FolderFile> {
        read_only()
    }

    async fn remove(&self, _: &str) -> io::Result<()> {
        read_only()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }
}

impl disk::File for FolderFile {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    async fn write_sync(&self, _: u64, _: Vec<disk::Bytes>) -> io::Result<()> {
        read_only()
    }
}
