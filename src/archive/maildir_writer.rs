//! Writing Maildir++, with `dovecot-uidlist`, `dovecot-keywords` and `subscriptions`, so that what is exported can be
//! imported without loss.
//!
//! A file's name is made of the message's date, UID and sizes, so it says nothing of this host and is the same each time. Each
//! message is written in `tmp` and renamed into `cur`; the caller syncs the file system at the end.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::keywords::{self, Letters};
use super::line_ends::bare;
use super::maildir::{FORWARDED, SYSTEM};
use super::{Complaint, names, subscriptions, uidlist};
use crate::proto::imap::{FlagList, Name};

/// A Maildir++ being written.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
}

/// One of its folders.
#[derive(Debug)]
pub struct FolderWriter {
    dir: PathBuf,
    uidvalidity: u32,
    letters: Letters,
    listed: Vec<(u32, Option<Box<str>>, String)>,
}

/// A message as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// Its UID.
    pub uid: u32,
    /// What POP3 is told, where that is not made of the UID.
    pub uidl: Option<&'a str>,
    /// Its flags.
    pub flags: &'a FlagList,
    /// INTERNALDATE, milliseconds since 1970.
    pub internal_ms: i64,
    /// Canonical.
    pub octets: &'a [u8],
}

/// Makes a folder for an export, or takes an empty one.
///
/// # Errors
/// It is not empty, or cannot be made.
pub fn make_empty(dir: &Path) -> Result<(), Complaint> {
    let complain = |why: io::Error| Complaint::of(dir, why);
    make_dir(dir).map_err(complain)?;
    if std::fs::read_dir(dir).map_err(complain)?.next().is_some() {
        return Err(Complaint::of(dir, "the folder is not empty: name another one, which an export can make"));
    }
    Ok(())
}

impl Writer {
    /// In a folder that [`make_empty`] has made.
    #[must_use]
    pub fn new(dir: &Path) -> Writer {
        Writer { dir: dir.to_path_buf() }
    }

    /// Begins a mailbox.
    ///
    /// # Errors
    /// Its name is too long for a folder, or the folder cannot be made.
    pub fn folder(&self, name: &Name, uidvalidity: u32) -> Result<FolderWriter, Complaint> {
        let dir = if name.is_inbox() {
            self.dir.clone()
        } else {
            let folder = names::folder_of(name)
                .ok_or_else(|| Complaint::of(&self.dir, format!("`{name}` is too long for the name of a folder")))?;
            self.dir.join(folder)
        };
        for part in ["cur", "new", "tmp"] {
            make_dir(&dir.join(part)).map_err(|why| Complaint::of(&dir, why))?;
        }
        if !name.is_inbox() {
            // Says that it is a folder of a Maildir++ and no mailbox of its own.
            write(&dir.join("maildirfolder"), b"").map_err(|why| Complaint::of(&dir, why))?;
        }
        Ok(FolderWriter { dir, uidvalidity, letters: Letters::default(), listed: Vec::new() })
    }

    /// Writes what is subscribed to.
    ///
    /// # Errors
    /// As the file system says.
    pub fn subscriptions(&self, subscribed: &[Name]) -> Result<(), Complaint> {
        let file = self.dir.join(subscriptions::NAME);
        write(&file, subscriptions::text(subscribed).as_bytes()).map_err(|why| Complaint::of(&file, why))
    }
}

impl FolderWriter {
    /// Adds a message; UIDs rise. Returns keywords that have no letter any more.
    ///
    /// # Errors
    /// As the file system says.
    pub fn add(&mut self, message: &Written<'_>) -> Result<Vec<Box<str>>, Complaint> {
        let octets = bare(message.octets);
        let (info, left_out) = info(message.flags, &mut self.letters);
        let (seconds, ms) = (message.internal_ms.div_euclid(1_000), message.internal_ms.rem_euclid(1_000));
        let base = format!(
            "{}.M{}V{}U{}.ringpost,S={},W={}",
            seconds.max(0),
            ms * 1_000,
            self.uidvalidity,
            message.uid,
            octets.len(),
            message.octets.len()
        );
        let name = format!("{base}:2,{info}");
        let (tmp, cur) = (self.dir.join("tmp").join(&base), self.dir.join("cur").join(&name));
        let done = write(&tmp, &octets)
            .and_then(|()| File::options().write(true).open(&tmp)?.set_modified(time_of(message.internal_ms)))
            .and_then(|()| std::fs::rename(&tmp, &cur));
        done.map_err(|why| Complaint::of(&cur, why))?;
        self.listed.push((message.uid, message.uidl.map(Into::into), name));
        Ok(left_out)
    }

    /// Writes the lists of the folder.
    ///
    /// # Errors
    /// As the file system says.
    pub fn finish(self, uidnext: u32) -> Result<(), Complaint> {
        let listed = self.listed.iter().map(|(uid, uidl, name)| (*uid, uidl.as_deref(), name.as_str()));
        let list = uidlist::text(self.uidvalidity, uidnext, listed);
        let keywords = self.letters.text();
        let mut files = vec![(self.dir.join(uidlist::NAME), list)];
        if !keywords.is_empty() {
            files.push((self.dir.join(keywords::NAME), keywords));
        }
        for (file, text) in files {
            write(&file, text.as_bytes()).map_err(|why| Complaint::of(&file, why))?;
        }
        Ok(())
    }
}

/// The letters of flags, sorted as they are to be, and keywords that have none.
fn info(flags: &FlagList, letters: &mut Letters) -> (String, Vec<Box<str>>) {
    let mut info: Vec<u8> = SYSTEM.iter().filter(|(_, bit)| flags.bits & bit != 0).map(|(letter, _)| *letter).collect();
    let mut left_out = Vec::new();
    for keyword in &flags.keywords {
        if keyword.eq_ignore_ascii_case(FORWARDED) {
            info.push(b'P');
        } else if let Some(letter) = letters.letter(keyword) {
            info.push(letter);
        } else {
            left_out.push(keyword.clone());
        }
    }
    info.sort_unstable();
    (info.into_iter().map(char::from).collect(), left_out)
}

fn time_of(ms: i64) -> std::time::SystemTime {
    let away = Duration::from_millis(ms.unsigned_abs());
    // What the clock of the host cannot say becomes its beginning.
    let time = if ms < 0 { UNIX_EPOCH.checked_sub(away) } else { UNIX_EPOCH.checked_add(away) };
    time.unwrap_or(UNIX_EPOCH)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// A new file: an older one of the name is refused.
fn write(file: &Path, octets: &[u8]) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    out.write_all(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::maildir;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("out");
        make_empty(&dir).unwrap();
        let writer = Writer::new(&dir);
        let name = Name::of("Lists/v1.2").unwrap();
        writer.folder(&Name::inbox(), 5).unwrap().finish(1).unwrap();
        let mut folder = writer.folder(&name, 9).unwrap();
        let mut flags = FlagList {
            bits: FlagList::SEEN | FlagList::DRAFT,
            keywords: vec!["$Forwarded".into(), "a".into(), "b".into()],
        };
        let octets = b"Subject: x\r\n\r\nHello\r\n";
        let mut message =
            Written { uid: 4, uidl: Some("old-4"), flags: &flags, internal_ms: 1_234_567_890_123, octets };
        assert!(folder.add(&message).unwrap().is_empty());
        let none = FlagList::default();
        message = Written { uid: 8, uidl: None, flags: &none, internal_ms: -5_000, ..message };
        folder.add(&message).unwrap();
        folder.finish(12).unwrap();
        writer.subscriptions(std::slice::from_ref(&name)).unwrap();

        let read = maildir::open(&dir).unwrap();
        assert_eq!((read.complaints.len(), &read.subscriptions), (0, &vec![name.clone()]));
        assert_eq!(read.folders[1].name, name);
        let listing = read.folders[1].list();
        assert_eq!((listing.numbers, listing.complaints.len()), (Some((9, 12)), 0));
        flags.keywords.sort_unstable();
        let [one, two] = &listing.entries[..] else { panic!("two messages") };
        assert_eq!((one.uid, one.uidl.as_deref(), &one.flags), (Some(4), Some("old-4"), &flags));
        assert_eq!((two.uid, two.uidl.as_deref(), &two.flags), (Some(8), None, &none));
        let (one, two) = (one.read(100).unwrap(), two.read(100).unwrap());
        assert_eq!((&one.octets[..], one.internal_ms, two.internal_ms), (&octets[..], 1_234_567_890_123, -5_000));
        assert!(make_empty(&dir).is_err_and(|c| c.why.contains("not empty")));
    }

    #[test]
    fn keywords_past_the_letters_are_told() {
        let keywords: Vec<Box<str>> = (0..30).map(|n| format!("k{n:02}").into()).collect();
        let (info, left_out) = info(&FlagList { bits: 0, keywords }, &mut Letters::default());
        assert_eq!((info.as_str(), left_out.len()), ("abcdefghijklmnopqrstuvwxyz", 4));
    }
}
