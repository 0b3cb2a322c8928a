//! The disk of this world: the facade over the real folders and files and the simulated ones.

use std::io;
use std::path::Path;

use ringpost_storage::disk;

use super::real;
#[cfg(feature = "sim")]
use super::sim;

/// A folder on this world's disk, for one volume.
#[derive(Clone)]
pub struct Disk(DiskIn);

#[derive(Clone)]
enum DiskIn {
    Real(real::Disk),
    #[cfg(feature = "sim")]
    Sim(sim::Disk),
}

/// How the files of a folder are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writing {
    /// Past the page cache where the file system allows it, else through it.
    #[default]
    Direct,
    /// Through the page cache.
    Buffered,
}

/// Opens (making it if need be) the folder of a volume.
///
/// # Errors
/// As `mkdir` and `open`; a symbolic link or anything but a folder is refused.
pub fn disk(folder: &Path) -> io::Result<Disk> {
    disk_written(folder, Writing::default())
}

/// As [`disk`], with its files written as `writing` says. (A simulated disk has no page cache.)
///
/// # Errors
/// As [`disk`].
pub fn disk_written(folder: &Path, writing: Writing) -> io::Result<Disk> {
    world!(
        real::Disk::open(folder, writing).map(|d| Disk(DiskIn::Real(d))),
        sim::Disk::open(folder).map(|d| Disk(DiskIn::Sim(d)))
    )
}

/// An open file of a [`Disk`].
#[derive(Clone)]
pub struct DiskFile(FileIn);

#[derive(Clone)]
enum FileIn {
    Real(real::DiskFile),
    #[cfg(feature = "sim")]
    Sim(sim::DiskFile),
}

impl disk::Disk for Disk {
    type File = DiskFile;

    async fn list(&self) -> io::Result<Vec<String>> {
        match &self.0 {
            DiskIn::Real(d) => d.list().await,
            #[cfg(feature = "sim")]
            DiskIn::Sim(d) => d.list().await,
        }
    }

    async fn create(&self, name: &str, len: u64) -> io::Result<DiskFile> {
        match &self.0 {
            DiskIn::Real(d) => d.create(name, len).await.map(|f| DiskFile(FileIn::Real(f))),
            #[cfg(feature = "sim")]
            DiskIn::Sim(d) => d.create(name, len).await.map(|f| DiskFile(FileIn::Sim(f))),
        }
    }

    async fn open(&self, name: &str) -> io::Result<DiskFile> {
        match &self.0 {
            DiskIn::Real(d) => d.open_file(name).await.map(|f| DiskFile(FileIn::Real(f))),
            #[cfg(feature = "sim")]
            DiskIn::Sim(d) => d.open_file(name).await.map(|f| DiskFile(FileIn::Sim(f))),
        }
    }

    async fn recycle(&self, name: &str, new_name: &str) -> io::Result<DiskFile> {
        match &self.0 {
            DiskIn::Real(d) => d.recycle(name, new_name).await.map(|f| DiskFile(FileIn::Real(f))),
            #[cfg(feature = "sim")]
            DiskIn::Sim(d) => d.recycle(name, new_name).await.map(|f| DiskFile(FileIn::Sim(f))),
        }
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        match &self.0 {
            DiskIn::Real(d) => d.remove(name).await,
            #[cfg(feature = "sim")]
            DiskIn::Sim(d) => d.remove(name).await,
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        match &self.0 {
            DiskIn::Real(d) => d.free_bytes(),
            #[cfg(feature = "sim")]
            DiskIn::Sim(d) => d.free_bytes(),
        }
    }
}

impl disk::File for DiskFile {
    fn len(&self) -> u64 {
        match &self.0 {
            FileIn::Real(f) => f.len(),
            #[cfg(feature = "sim")]
            FileIn::Sim(f) => f.len(),
        }
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        match &self.0 {
            FileIn::Real(f) => f.read_at(offset, len).await,
            #[cfg(feature = "sim")]
            FileIn::Sim(f) => f.read_at(offset, len).await,
        }
    }

    async fn read_device(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        match &self.0 {
            FileIn::Real(f) => f.read_device(offset, len).await,
            #[cfg(feature = "sim")]
            FileIn::Sim(f) => f.read_at(offset, len).await,
        }
    }

    fn seal(&self) {
        match &self.0 {
            FileIn::Real(f) => f.seal(),
            #[cfg(feature = "sim")]
            FileIn::Sim(f) => f.seal(),
        }
    }

    async fn write(&self, offset: u64, parts: Vec<disk::Bytes>) -> io::Result<()> {
        match &self.0 {
            FileIn::Real(f) => f.write(offset, parts).await,
            #[cfg(feature = "sim")]
            FileIn::Sim(f) => f.write(offset, parts).await,
        }
    }

    async fn write_sync(&self, offset: u64, parts: Vec<disk::Bytes>) -> io::Result<()> {
        match &self.0 {
            FileIn::Real(f) => f.write_sync(offset, parts).await,
            #[cfg(feature = "sim")]
            FileIn::Sim(f) => f.write_sync(offset, parts).await,
        }
    }
}
