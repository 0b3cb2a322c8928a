//! An open file of a volume's folder.
//!
//! Writes go past the page cache where the file system allows it (O_DIRECT, RELIABILITY §4.7), copied together in
//! aligned memory and followed by fdatasync in one linked chain. Whether a file is written so is settled when it is
//! opened and never changes: a file is either written direct or through the page cache, never both. One that is written
//! direct is read direct too until it is sealed; from then on its reads may be answered from memory.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use ringpost_storage::disk::{BLOCK_BYTES, Bytes};
use rustix::fs::{Advice, AtFlags, Mode, OFlags, StatxFlags};

use super::home::{Shard, here};
use super::stage::{ALIGN_BYTES, STAGE_BYTES_MAX, Stage, Stages};
use super::work::Key;

/// The descriptors of one file.
pub struct Opened {
    pub buffered: OwnedFd,
    /// The same file without the page cache, or why not.
    pub direct: Result<OwnedFd, String>,
    pub len: u64,
}

/// Opens `name` once more, for direct I/O. `buffered` is the same file. Errors: why it cannot be.
pub fn open_direct(folder: &OwnedFd, name: &str, buffered: &OwnedFd, len: u64) -> Result<OwnedFd, String> {
    let refused = |what: &'static str| move |why: rustix::io::Errno| format!("{what}: {}", io::Error::from(why));
    if !len.is_multiple_of(BLOCK_BYTES) {
        return Err("its length is not one of whole blocks".to_owned());
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::DIRECT;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(refused("opening with O_DIRECT"))?;
    let (one, other) = (rustix::fs::fstat(buffered), rustix::fs::fstat(&file));
    let (one, other) = (one.map_err(refused("fstat"))?, other.map_err(refused("fstat"))?);
    if (one.st_dev, one.st_ino) != (other.st_dev, other.st_ino) {
        return Err("somebody has put another file in its place".to_owned());
    }
    match rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Ok(said) if said.stx_mask & StatxFlags::DIOALIGN.bits() != 0 => {
            let (memory, offset) = (said.stx_dio_mem_align, said.stx_dio_offset_align);
            if memory == 0 || offset == 0 {
                return Err("the file system has no direct I/O".to_owned());
            }
            if memory as usize > ALIGN_BYTES || u64::from(offset) > BLOCK_BYTES {
                return Err(format!("direct I/O wants offsets in multiples of {offset} and memory of {memory} octets"));
            }
        }
        // Neither kernel nor file system say (statx knows it since Linux 6.1, and not of every file system): asked
        // with a read that only small blocks allow.
        _ => {
            let mut stage = Stage::new(BLOCK_BYTES as usize);
            stage.set_len(BLOCK_BYTES as usize);
            rustix::io::pread(&file, &mut *stage, BLOCK_BYTES).map_err(refused("reading one block with O_DIRECT"))?;
        }
    }
    Ok(file)
}

/// Drops what the page cache holds of a range (`None`: of the whole file), as far as it is clean.
pub fn forget_cached(file: impl AsFd, offset: u64, len: Option<NonZeroU64>) {
    // Advice: where it is not taken, memory is held longer and nothing else.
    let _ = rustix::fs::fadvise(file, offset, len, Advice::DontNeed);
}

/// An open file. Clones share it; the ring keeps it open for as long as it works on it.
#[derive(Clone)]
pub struct DiskFile(Rc<Open>);

struct Open {
    buffered: Rc<OwnedFd>,
    direct: Option<Rc<OwnedFd>>,
    stages: Rc<Stages>,
    len: u64,
    /// It was written direct and may be written again.
    active: Cell<bool>,
}

impl DiskFile {
    pub fn new(opened: Opened, stages: Rc<Stages>) -> Self {
        let direct = opened.direct.ok().map(Rc::new);
        let (buffered, len) = (Rc::new(opened.buffered), opened.len);
        DiskFile(Rc::new(Open { buffered, direct, stages, len, active: Cell::new(false) }))
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// True when its writes go past the page cache.
    #[cfg(test)]
    pub fn is_direct(&self) -> bool {
        self.0.direct.is_some()
    }

    /// See [`ringpost_storage::disk::File::read_at`].
    pub async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        match &self.0.direct {
            Some(file) if self.0.active.get() => self.read_direct(file, offset, len).await,
            _ => self.read_buffered(offset, len).await,
        }
    }

    /// See [`ringpost_storage::disk::File::read_device`].
    pub async fn read_device(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if let Some(file) = &self.0.direct {
            return self.read_direct(file, offset, len).await;
        }
        forget_cached(&*self.0.buffered, offset, NonZeroU64::new(len as u64));
        self.read_buffered(offset, len).await
    }

    /// See [`ringpost_storage::disk::File::seal`].
    pub fn seal(&self) {
        self.0.active.set(false);
    }

    fn within(&self, offset: u64, len: usize) -> io::Result<()> {
        let inside = offset.checked_add(len as u64).is_some_and(|end| end <= self.0.len);
        if inside { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    async fn read_buffered(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.within(offset, len)?;
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let room = len - bytes.len();
            let at = offset + bytes.len() as u64;
            let (result, read) = read(self.0.buffered.clone(), bytes, at).await;
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

    /// Reads whole blocks and copies out what was asked for.
    async fn read_direct(&self, file: &Rc<OwnedFd>, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.within(offset, len)?;
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            let from = at - at % BLOCK_BYTES;
            let skip = (at - from) as usize;
            let want = (skip + len - bytes.len()).next_multiple_of(BLOCK_BYTES as usize).min(STAGE_BYTES_MAX);
            let (result, stage) = fill(file.clone(), self.0.stages.take(want), want, from).await;
            let taken = result.as_ref().map_or(0, |got| got.saturating_sub(skip).min(len - bytes.len()));
            if taken > 0 {
                bytes.extend_from_slice(&stage[skip..skip + taken]);
            }
            self.0.stages.give_back(stage);
            match result {
                Ok(_) if taken == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(why) if why.kind() != io::ErrorKind::Interrupted => return Err(why),
                _ => {}
            }
        }
        Ok(bytes)
    }

    /// See [`ringpost_storage::disk::File::write`]. Through the page cache each write is synced.
    pub async fn write(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        self.put(offset, parts, false).await
    }

    /// See [`ringpost_storage::disk::File::write_sync`].
    pub async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        self.put(offset, parts, true).await
    }

    async fn put(&self, offset: u64, parts: Vec<Bytes>, sync: bool) -> io::Result<()> {
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        assert!(offset.checked_add(bytes).is_some_and(|end| end <= self.0.len), "files do not grow");
        assert!((offset | bytes).is_multiple_of(BLOCK_BYTES) && bytes > 0, "writes are whole blocks");
        let Some(file) = &self.0.direct else {
            let shard = here();
            let key = shard.ring().write_open(self.0.buffered.clone(), parts, offset);
            return written(shard, key).await.0;
        };
        if !self.0.active.replace(true) {
            // What was read of it before: left there, each write would have to look for it.
            forget_cached(&**file, 0, None);
        }
        self.write_direct(file, offset, (&parts, bytes as usize), sync).await
    }

    /// Copies the parts together and writes them, the last piece with the sync behind it, if there is to be one. Pieces follow one another, so
    /// that memory is bounded; a batch's footer is in the last.
    async fn write_direct(
        &self,
        file: &Rc<OwnedFd>,
        offset: u64,
        (parts, bytes): (&[Bytes], usize),
        sync: bool,
    ) -> io::Result<()> {
        let mut rest = Rest { parts, done: 0 };
        let mut at = 0;
        while at < bytes {
            let piece = (bytes - at).min(STAGE_BYTES_MAX);
            let mut stage = self.0.stages.take(piece);
            rest.copy(&mut stage, piece);
            let last = sync && at + piece == bytes;
            let shard = here();
            let key = shard.ring().stage_write_open(file.clone(), stage, offset + at as u64, last);
            let (result, stage) = written(shard, key).await;
            if let Some(stage) = stage {
                self.0.stages.give_back(stage);
            }
            result?;
            at += piece;
        }
        Ok(())
    }
}

/// What is left of the parts of a write.
struct Rest<'a> {
    parts: &'a [Bytes],
    /// Octets of the first part that are copied already.
    done: usize,
}

impl Rest<'_> {
    fn copy(&mut self, into: &mut Stage, bytes: usize) {
        while into.len() < bytes {
            let (first, others) = self.parts.split_first().expect("the parts have as many octets as were counted");
            let left = &first[self.done..];
            let now = left.len().min(bytes - into.len());
            into.push(&left[..now]);
            self.done += now;
            if self.done == first.len() {
                (self.parts, self.done) = (others, 0);
            }
        }
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

/// One read of `len` octets into the stage.
async fn fill(file: Rc<OwnedFd>, stage: Stage, len: usize, offset: u64) -> (io::Result<usize>, Stage) {
    let shard = here();
    let key = shard.ring().fill_open(file, stage, len, offset);
    let claim = Claim::new(shard, key);
    let result = poll_fn(|cx| claim.shard.ring().fill_poll(key, cx)).await;
    claim.done();
    result
}

async fn written(shard: Rc<Shard>, key: Key) -> (io::Result<()>, Option<Stage>) {
    let claim = Claim::new(shard, key);
    let result = poll_fn(|cx| claim.shard.ring().write_poll(key, cx)).await;
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
