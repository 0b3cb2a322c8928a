//! Where imported mail comes from: mailboxes, one after the other, and their messages.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::account::{Account, Content, Way};
use super::stopped::Stopped;
use crate::archive::mbox::{Quoting, Reader};
use crate::archive::{Complaint, maildir};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::office::tools;
use crate::proto::imap::{FlagList, Name};

/// A mailbox that is not opened yet.
pub(super) enum Place {
    Folder(maildir::Folder),
    Mbox {
        file: PathBuf,
        name: Name,
        quoting: Quoting,
    },
    /// Of a backup.
    Stored {
        stopped: Rc<Stopped>,
        address: String,
        name: Name,
        mailbox: tools::Mailbox,
    },
}

/// A mailbox to be imported.
pub(super) struct Mailbox {
    pub(super) name: Name,
    /// UIDVALIDITY and UIDNEXT, where it has UIDs.
    pub(super) numbers: Option<(u32, u32)>,
    /// As far as that is known; else 0.
    pub(super) count: u64,
    /// What was wrong when it was opened.
    pub(super) complaints: Vec<Complaint>,
    pub(super) messages: Box<dyn Iterator<Item = Result<Message, Complaint>>>,
}

/// A message to be imported.
pub(super) struct Message {
    /// Its file, and where in it.
    pub(super) from: String,
    pub(super) uid: Option<u32>,
    /// What POP3 was told of it.
    pub(super) uidl: Option<Box<str>>,
    pub(super) flags: FlagList,
    pub(super) internal_ms: i64,
    /// Canonical.
    pub(super) octets: Vec<u8>,
    pub(super) had_nul: bool,
}

impl Place {
    pub(super) fn open(self) -> Result<Mailbox, Complaint> {
        match self {
            Place::Folder(folder) => Ok(of_folder(folder)),
            Place::Mbox { file, name, quoting } => of_mbox(&file, name, quoting),
            Place::Stored { stopped, address, name, mailbox } => Ok(of_backup(stopped, &address, name, &mailbox)),
        }
    }
}

/// UIDs are those of another time: they mean nothing.
fn of_backup(stopped: Rc<Stopped>, address: &str, name: Name, of: &tools::Mailbox) -> Mailbox {
    let mut account = Account::of(Way::Stopped(stopped), address);
    let (id, shown) = (of.mailbox, format!("the backup, {address}, {name}"));
    let mut listed = VecDeque::new();
    let mut more = true;
    let mut after = 0;
    let messages = std::iter::from_fn(move || {
        let complain = |what: String| Some(Err(Complaint::of(Path::new(&shown), what)));
        while listed.is_empty() && more {
            match account.messages_above(id, after) {
                Ok((messages, are_more)) => (listed, more) = (messages, are_more),
                Err(why) => {
                    more = false;
                    return complain(why);
                }
            }
        }
        let message: tools::Message = listed.pop_front()?;
        after = message.uid;
        let from = format!("{shown}, UID {}", message.uid);
        match account.read(id, message.uid, message.size) {
            Ok(Content::Octets(octets)) => Some(Ok(Message {
                from,
                uid: None,
                uidl: message.uidl,
                flags: FlagList { bits: message.flags, keywords: message.keywords },
                internal_ms: message.internal_ms,
                octets,
                had_nul: false,
            })),
            Ok(Content::Gone) => complain(format!("UID {}: it is gone", message.uid)),
            Ok(Content::Damaged(why)) | Err(why) => complain(format!("UID {}: {why}", message.uid)),
        }
    });
    Mailbox { name, numbers: None, count: of.messages, complaints: Vec::new(), messages: Box::new(messages) }
}

fn of_folder(folder: maildir::Folder) -> Mailbox {
    let listing = folder.list();
    let read = |entry: maildir::Entry| {
        let message = fits(entry.read(MESSAGE_BYTES_MAX)?, &entry.file)?;
        Ok(Message {
            from: entry.file.display().to_string(),
            uid: entry.uid,
            uidl: entry.uidl,
            flags: entry.flags,
            internal_ms: message.internal_ms,
            octets: message.octets,
            had_nul: message.had_nul,
        })
    };
    Mailbox {
        name: folder.name,
        numbers: listing.numbers,
        count: listing.entries.len() as u64,
        complaints: listing.complaints,
        messages: Box::new(listing.entries.into_iter().map(read)),
    }
}

/// Line ends made canonical add to what the file has.
fn fits(message: maildir::Message, file: &Path) -> Result<maildir::Message, Complaint> {
    if message.octets.len() as u64 > MESSAGE_BYTES_MAX {
        let why = format!(
            "it has {} octets with its line ends; a message may have {MESSAGE_BYTES_MAX}",
            message.octets.len()
        );
        return Err(Complaint::of(file, why));
    }
    Ok(message)
}

fn of_mbox(file: &Path, name: Name, quoting: Quoting) -> Result<Mailbox, Complaint> {
    let path = file.to_path_buf();
    let complain = |why: std::io::Error| Complaint::of(file, why);
    let input = File::open(file).map_err(complain)?;
    if !input.metadata().map_err(complain)?.is_file() {
        return Err(Complaint::of(file, "it is no file"));
    }
    let mut reader = Reader::new(BufReader::with_capacity(256 << 10, input), quoting, MESSAGE_BYTES_MAX);
    let messages = std::iter::from_fn(move || {
        let read = match reader.message()? {
            Ok(read) if read.octets.len() as u64 <= MESSAGE_BYTES_MAX => read,
            Ok(read) => {
                let why = format!("the message has {} octets; it may have {MESSAGE_BYTES_MAX}", read.octets.len());
                return Some(Err(Complaint::at(&path, read.line, why)));
            }
            Err(unread) => return Some(Err(Complaint::at(&path, unread.line, unread.why))),
        };
        Some(Ok(Message {
            from: format!("{}, line {}", path.display(), read.line),
            uid: None,
            uidl: None,
            flags: read.flags,
            internal_ms: read.internal_ms,
            octets: read.octets,
            had_nul: read.had_nul,
        }))
    });
    Ok(Mailbox { name, numbers: None, count: 0, complaints: Vec::new(), messages: Box::new(messages) })
}
