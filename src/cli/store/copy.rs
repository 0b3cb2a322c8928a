//! Copying files of a store: whole, or as far as they count. What the disk does not read is read around, and told.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::rc::Rc;

use futures_lite::future::block_on;
use ringpost_storage::unread::{Unread, Unreads};

use super::folder::FolderFile;

/// Octets copied at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Copies the first `counts` octets of a file into one of `len` octets, the rest zero. `to` is there whole or not at all.
/// Returns what could not be read: the copy has [`ringpost_storage::unread::FILL`] there.
pub(super) fn counted(from: &Path, to: &Path, counts: u64, len: u64, step: impl FnMut(u64)) -> io::Result<Vec<Unread>> {
    let name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let unfinished = to.with_file_name(format!(".{name}.new"));
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    let unread = octets(from, &mut out, 0..counts, step)?;
    out.set_len(len)?;
    out.sync_all()?;
    fs::rename(&unfinished, to)?;
    Ok(unread)
}

/// Copies a file whole.
pub(super) fn whole(from: &Path, to: &Path, step: impl FnMut(u64)) -> io::Result<Vec<Unread>> {
    let len = fs::metadata(from)?.len();
    counted(from, to, len, len, step)
}

/// Copies octets of a file into a new one; returns how many could not be read.
pub(super) fn region(from: &Path, to: &Path, offset: u64, len: u64) -> io::Result<u64> {
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let unread = octets(from, &mut out, offset..offset + len, |_| {})?;
    out.sync_all()?;
    Ok(unread.iter().map(|place| place.octets).sum())
}

fn octets(
    from: &Path,
    out: &mut File,
    range: std::ops::Range<u64>,
    mut step: impl FnMut(u64),
) -> io::Result<Vec<Unread>> {
    let source = FolderFile::open(from)?;
    let (unreads, name) = (Unreads::default(), Rc::from(from.display().to_string()));
    let mut at = range.start;
    while at < range.end {
        let now = PIECE_BYTES.min(range.end - at);
        out.write_all(&block_on(unreads.read(&name, &source, at, now as usize))?)?;
        at += now;
        step(now);
    }
    Ok(unreads.take())
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
