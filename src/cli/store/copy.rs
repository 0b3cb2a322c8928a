//! Copying files of a store: whole, or as far as they count.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Octets copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// Copies the first `counts` octets of a file into one of `len` octets, the rest zero. `to` is there whole or not at all.
pub(super) fn counted(from: &Path, to: &Path, counts: u64, len: u64, mut step: impl FnMut(u64)) -> io::Result<()> {
    let source = File::open(from)?;
    let name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let unfinished = to.with_file_name(format!(".{name}.new"));
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    let mut source = source.take(counts);
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = counts;
    while left > 0 {
        let got = source.read(&mut piece)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.write_all(&piece[..got])?;
        left -= got as u64;
        step(got as u64);
    }
    out.set_len(len)?;
    out.sync_all()?;
    fs::rename(&unfinished, to)
}

/// Copies a file whole.
pub(super) fn whole(from: &Path, to: &Path, step: impl FnMut(u64)) -> io::Result<()> {
    let len = fs::metadata(from)?.len();
    counted(from, to, len, len, step)
}

/// Copies octets of a file into a new one. What cannot be read is left zero; returns how much that is.
pub(super) fn region(from: &Path, to: &Path, offset: u64, len: u64) -> io::Result<u64> {
    const SECTOR_BYTES: u64 = 512;
    let source = File::open(from)?;
    let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    out.set_len(len)?;
    let mut unread = 0;
    let mut at = 0;
    while at < len {
        let now = SECTOR_BYTES.min(len - at);
        let mut sector = vec![0; usize::try_from(now).expect("a sector")];
        match source.read_exact_at(&mut sector, offset + at) {
            Ok(()) => out.write_all_at(&sector, at)?,
            Err(_) => unread += now,
        }
        at += now;
    }
    out.sync_all()?;
    Ok(unread)
}

/// Makes a folder that only its owner may enter, and those above it.
pub(super) fn folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Makes durable what was written below a folder.
pub(super) fn settle(dir: &Path) -> io::Result<()> {
    let folder = File::open(dir)?;
    Ok(rustix::fs::syncfs(&folder)?)
}

/// The names in a folder, those with a leading dot aside, sorted.
pub(super) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().into_string().ok().filter(|name| !name.starts_with('.')));
    }
    names.sort_unstable();
    Ok(names)
}
