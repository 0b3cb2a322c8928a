//! Reading Maildir++: folders, what is in them, and the messages.
//!
//! - A message is a file in `cur` or `new` whose name does not begin with a dot; those in `tmp` are not delivered yet.
//! - Flags are the letters behind `:2,`: D raft, F lagged, P assed on (`$Forwarded`), R eplied, S een, T rashed; a–z are
//!   keywords (see [`keywords`](super::keywords)). INTERNALDATE is the file's time of modification.
//! - Those with a UID come first, in its order; then the others by the time and text of their names.
//! - A program that delivers meanwhile may move a file from `new` to `cur`, or change its flags: it is looked for again by
//!   its base name before it is called missing.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::keywords::Letters;
use super::line_ends::canonical;
use super::uidlist::base_name;
use super::{Complaint, names, subscriptions, uidlist};
use crate::proto::imap::{FlagList, Name};

/// What P in a file's name says.
pub const FORWARDED: &str = "$Forwarded";
/// The letters of system flags.
pub const SYSTEM: [(u8, u32); 5] = [
    (b'D', FlagList::DRAFT),
    (b'F', FlagList::FLAGGED),
    (b'R', FlagList::ANSWERED),
    (b'S', FlagList::SEEN),
    (b'T', FlagList::DELETED),
];

/// A Maildir++ with its folders.
#[derive(Debug)]
pub struct Maildir {
    /// INBOX first, then the others by name.
    pub folders: Vec<Folder>,
    /// Names subscribed to, sorted.
    pub subscriptions: Vec<Name>,
    /// Of folders and lists that cannot be read.
    pub complaints: Vec<Complaint>,
}

/// One mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its name.
    pub name: Name,
    /// Where `cur` and `new` are.
    pub dir: PathBuf,
}

/// What is in a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// UIDVALIDITY and UIDNEXT, where there is a uidlist.
    pub numbers: Option<(u32, u32)>,
    /// In the order in which they are to be numbered.
    pub entries: Vec<Entry>,
    /// Of files that are no messages, and of its lists.
    pub complaints: Vec<Complaint>,
}

/// A message that is not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its file when the folder was listed.
    pub file: PathBuf,
    /// Its UID, where the list has one.
    pub uid: Option<u32>,
    /// What POP3 was told, where the list says.
    pub uidl: Option<Box<str>>,
    /// Its flags.
    pub flags: FlagList,
}

/// A message read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Canonical.
    pub octets: Vec<u8>,
    /// Milliseconds since 1970.
    pub internal_ms: i64,
    /// There were NULs in it.
    pub had_nul: bool,
}

/// Looks at a Maildir++.
///
/// # Errors
/// There is none.
pub fn open(dir: &Path) -> Result<Maildir, Complaint> {
    if !is_folder(dir) {
        return Err(Complaint::of(dir, "no Maildir: there is neither `cur` nor `new` in it"));
    }
    let mut complaints = Vec::new();
    let mut below = Vec::new();
    for entry in fs::read_dir(dir).map_err(|why| Complaint::of(dir, why))? {
        let entry = entry.map_err(|why| Complaint::of(dir, why))?;
        let file_name = entry.file_name();
        let path = entry.path();
        let Some(folder) = file_name.as_encoded_bytes().strip_prefix(b".") else { continue };
        if !path.is_dir() || !is_folder(&path) {
            continue;
        }
        match names::mailbox_of(folder) {
            Ok(name) => below.push(Folder { name, dir: path }),
            Err(why) => complaints.push(Complaint::of(&path, format!("the folder's name is no mailbox name: {why}"))),
        }
    }
    below.sort_unstable_by(|a, b| (&a.name, &a.dir).cmp(&(&b.name, &b.dir)));
    let mut folders = vec![Folder { name: Name::inbox(), dir: dir.to_path_buf() }];
    for folder in below {
        match folders.iter().find(|there| there.name == folder.name) {
            Some(there) => {
                let why = format!("it has the same mailbox name as {}", there.dir.display());
                complaints.push(Complaint::of(&folder.dir, why));
            }
            None => folders.push(folder),
        }
    }
    let subscriptions = subscriptions::read(dir, &mut complaints);
    Ok(Maildir { folders, subscriptions, complaints })
}

fn is_folder(dir: &Path) -> bool {
    dir.join("cur").is_dir() || dir.join("new").is_dir()
}

impl Folder {
    /// Lists its messages.
    #[must_use]
    pub fn list(&self) -> Listing {
        let mut listing = Listing::default();
        let list = uidlist::read(&self.dir, &mut listing.complaints);
        let letters = Letters::read(&self.dir, &mut listing.complaints);
        listing.numbers = list.as_ref().map(|l| (l.uidvalidity, l.uidnext));
        for part in ["new", "cur"] {
            let dir = self.dir.join(part);
            let files = match fs::read_dir(&dir) {
                Ok(files) => files,
                Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
                Err(why) => {
                    listing.complaints.push(Complaint::of(&dir, why));
                    continue;
                }
            };
            for file in files {
                let file = match file {
                    Ok(file) => file,
                    Err(why) => {
                        listing.complaints.push(Complaint::of(&dir, why));
                        break;
                    }
                };
                let path = file.path();
                let name = file.file_name();
                if name.as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                // A name that is no text has no line in the list, and no flags that we know.
                let name = name.to_string_lossy();
                let known = list.as_ref().and_then(|l| l.entries.get(base_name(&name)));
                let flags = flags_of(&name, &letters, |why| listing.complaints.push(Complaint::of(&path, why)));
                listing.entries.push(Entry {
                    file: path.clone(),
                    uid: known.map(|e| e.uid),
                    uidl: known.and_then(|e| e.uidl.clone()),
                    flags,
                });
            }
        }
        listing.entries.sort_by_cached_key(|entry| {
            let name = entry.file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let seconds: u64 = name.split('.').next().and_then(|s| s.parse().ok()).unwrap_or(u64::MAX);
            (entry.uid.unwrap_or(u32::MAX), seconds, name)
        });
        // A message that was linked or copied within the folder has its UID once.
        let mut last = None;
        for entry in &mut listing.entries {
            if entry.uid.is_some() && entry.uid == last {
                listing.complaints.push(Complaint::of(&entry.file, "another file has its UID: it gets a new one"));
                entry.uid = None;
                entry.uidl = None;
            } else {
                last = entry.uid;
            }
        }
        listing.entries.sort_by_key(|entry| entry.uid.unwrap_or(u32::MAX));
        listing
    }
}

/// The flags behind `:2,`.
fn flags_of(name: &str, letters: &Letters, mut complain: impl FnMut(String)) -> FlagList {
    let mut flags = FlagList::default();
    let Some((_, info)) = name.split_once(":2,") else { return flags };
    // What programs of their own put behind a comma is theirs.
    for letter in info.split(',').next().unwrap_or_default().bytes() {
        if let Some((_, bit)) = SYSTEM.iter().find(|(known, _)| *known == letter) {
            flags.bits |= bit;
        } else if letter == b'P' {
            flags.keywords.push(FORWARDED.into());
        } else if letter.is_ascii_lowercase() {
            match letters.keyword(letter) {
                Some(keyword) => flags.keywords.push(keyword.into()),
                None => complain(format!("the keyword `{}` is not in dovecot-keywords: left out", char::from(letter))),
            }
        }
    }
    settle(&mut flags);
    flags
}

/// Keywords sorted, each once whatever its case.
pub(super) fn settle(flags: &mut FlagList) {
    flags.keywords.sort_unstable();
    let mut known: Vec<String> = Vec::new();
    flags.keywords.retain(|keyword| {
        let folded = keyword.to_ascii_lowercase();
        let new = !known.contains(&folded);
        if new {
            known.push(folded);
        }
        new
    });
}

impl Entry {
    /// Reads it; `bytes_max`: octets of the file, at most.
    ///
    /// # Errors
    /// It is no file, cannot be read, or is larger.
    pub fn read(&self, bytes_max: u64) -> Result<Message, Complaint> {
        let complain = |why: io::Error| Complaint::of(&self.file, why);
        let mut file = match File::open(&self.file) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let moved = self.find_again().ok_or_else(|| complain(why))?;
                File::open(moved).map_err(complain)?
            }
            opened => opened.map_err(complain)?,
        };
        let about = file.metadata().map_err(complain)?;
        if !about.is_file() {
            return Err(Complaint::of(&self.file, "it is no file"));
        }
        if about.len() > bytes_max {
            let why = format!("it has {} octets; a message may have {bytes_max}", about.len());
            return Err(Complaint::of(&self.file, why));
        }
        let mut octets = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 1);
        file.by_ref().take(bytes_max + 1).read_to_end(&mut octets).map_err(complain)?;
        if octets.len() as u64 > bytes_max {
            return Err(Complaint::of(&self.file, "it grows while it is read"));
        }
        let (octets, had_nul) = canonical(&octets);
        Ok(Message { octets, internal_ms: modified_ms(&about), had_nul })
    }

    /// Where another program has put it since.
    fn find_again(&self) -> Option<PathBuf> {
        let base = base_name(self.file.file_name()?.to_str()?);
        let folder = self.file.parent()?.parent()?;
        let mut files = ["cur", "new"].into_iter().filter_map(|part| fs::read_dir(folder.join(part)).ok()).flatten();
        files.find_map(|file| {
            let file = file.ok()?;
            (base_name(file.file_name().to_str()?) == base).then(|| file.path())
        })
    }
}

fn modified_ms(about: &Metadata) -> i64 {
    let Ok(modified) = about.modified() else { return 0 };
    match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BYTES_MAX: u64 = 1_000;

    fn put(dir: &Path, file: &str, text: &str) {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let at = UNIX_EPOCH + Duration::from_millis(1_234_567_890_000);
        File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
    }

    fn shown(listing: &Listing) -> Vec<(Option<u32>, String)> {
        let name = |e: &Entry| e.file.file_name().unwrap().to_string_lossy().into_owned();
        listing.entries.iter().map(|e| (e.uid, name(e))).collect()
    }

    #[test]
    fn folders_messages_flags_and_dates_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        put(dir, "cur/10.a:2,RSa", "Subject: one\n\nHello\n");
        put(dir, "new/9.b", "Subject: two\n\n");
        put(dir, "tmp/11.c", "half");
        put(dir, "dovecot-keywords", "0 work\n");
        put(dir, ".Lists.Rust/cur/1.d:2,", "x");
        put(dir, ".notes", "no folder");
        fs::create_dir(dir.join(".empty")).unwrap();
        put(dir, "subscriptions", "INBOX\nLists.Rust\n");
        let maildir = open(dir).unwrap();
        assert_eq!(maildir.folders.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["INBOX", "Lists/Rust"]);
        assert_eq!(maildir.subscriptions.len(), 2);
        let listing = maildir.folders[0].list();
        assert!(listing.complaints.is_empty() && maildir.complaints.is_empty());
        assert_eq!(shown(&listing), [(None, "9.b".to_owned()), (None, "10.a:2,RSa".to_owned())]);
        let one = &listing.entries[1];
        assert_eq!(one.flags.bits, FlagList::ANSWERED | FlagList::SEEN);
        assert_eq!(*one.flags.keywords, ["work".into()]);
        let read = one.read(BYTES_MAX).unwrap();
        assert_eq!(read.octets, b"Subject: one\r\n\r\nHello\r\n");
        assert_eq!(read.internal_ms, 1_234_567_890_000);
    }

    #[test]
    fn uids_give_the_order_and_those_without_come_last() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for file in ["cur/5.e:2,S", "cur/3.c:2,", "new/4.d", "cur/100.late:2,", "cur/20.early:2,"] {
            put(dir, file, "x");
        }
        put(dir, "dovecot-uidlist", "3 V77 N40\n7 :5.e:2,\n30 P1-2 :3.c:2,T\n31 :4.d\n");
        let listing = open(dir).unwrap().folders[0].list();
        assert_eq!(listing.numbers, Some((77, 40)));
        let order: Vec<_> = shown(&listing);
        let order: Vec<_> = order.iter().map(|(uid, name)| (*uid, name.as_str())).collect();
        assert_eq!(
            order,
            [
                (Some(7), "5.e:2,S"),
                (Some(30), "3.c:2,"),
                (Some(31), "4.d"),
                (None, "20.early:2,"),
                (None, "100.late:2,")
            ]
        );
        assert_eq!(listing.entries[1].uidl.as_deref(), Some("1-2"));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_the_rest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        put(dir, "cur/1.large:2,", &"x".repeat(2_000));
        put(dir, "cur/2.fine:2,Pz", "a\0b");
        fs::create_dir(dir.join("cur/3.folder")).unwrap();
        put(dir, ".a..b/cur/1", "x");
        let maildir = open(dir).unwrap();
        assert!(maildir.complaints[0].to_string().contains(".a..b: the folder's name is no mailbox name"));
        let listing = maildir.folders[0].list();
        assert!(listing.complaints[0].why.contains("`z`"));
        let read: Vec<_> = listing.entries.iter().map(|e| e.read(BYTES_MAX)).collect();
        assert!(read[0].as_ref().is_err_and(|c| c.why.contains("2000 octets") && c.file.ends_with("cur/1.large:2,")));
        assert!(read[1].as_ref().is_ok_and(|m| m.had_nul && m.octets == b"a\x80b"));
        assert!(read[2].is_err());
        assert_eq!(*listing.entries[1].flags.keywords, [FORWARDED.into()]);
        assert!(open(&dir.join("cur")).is_err());
    }

    #[test]
    fn a_message_that_moved_meanwhile_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        put(dir, "new/1.a", "moved");
        put(dir, "new/2.b", "gone");
        let listing = open(dir).unwrap().folders[0].list();
        fs::create_dir(dir.join("cur")).unwrap();
        fs::rename(dir.join("new/1.a"), dir.join("cur/1.a:2,S")).unwrap();
        fs::remove_file(dir.join("new/2.b")).unwrap();
        assert_eq!(listing.entries[0].read(BYTES_MAX).unwrap().octets, b"moved");
        assert!(listing.entries[1].read(BYTES_MAX).is_err());
    }
}
