//! Mail as files of other programs: Maildir++, mbox, and what Dovecot keeps beside them. For `ringpost store import`
//! and `export`; no server runs through here.
//!
//! ```text
//!   DIR/{cur,new,tmp}          INBOX                      maildir
//!   DIR/.Sub.Folder/{cur,…}    Sub/Folder                 names
//!   …/dovecot-uidlist          UIDVALIDITY, UIDs, UIDLs   uidlist
//!   …/dovecot-keywords         a–z in file names          keywords
//!   DIR/subscriptions          LSUB                       subscriptions
//!   FILE                       one mailbox                mbox
//! ```
//!
//! - Messages come out canonical (every line end is CRLF, no NUL) and go to files with bare LF: see [`line_ends`].
//! - What is wrong with one file is a [`Complaint`] that names it; the rest is read all the same.
//! - Nothing is written but what an export makes: a source is never changed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub mod keywords;
pub mod line_ends;
pub mod maildir;
pub mod maildir_writer;
pub mod mbox;
pub mod mbox_writer;
pub mod names;
pub mod subscriptions;
pub mod uidlist;

/// A line of a file that is not mail (a uidlist, keywords, subscriptions), octets. Longer: the line is complained of and passed over.
pub const LINE_BYTES_MAX: usize = 16 << 10;

/// What is wrong with a file, and which. Its sentence: `FILE: why`, or `FILE, line N: why`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which file.
    pub file: PathBuf,
    /// Where in it, from 1.
    pub line: Option<u64>,
    /// A half sentence.
    pub why: String,
}

impl Complaint {
    /// About a file as a whole.
    #[must_use]
    pub fn of(file: &Path, why: impl fmt::Display) -> Complaint {
        Complaint { file: file.to_path_buf(), line: None, why: why.to_string() }
    }

    /// About a line of a file, counted from 1.
    #[must_use]
    pub fn at(file: &Path, line: u64, why: impl fmt::Display) -> Complaint {
        Complaint { line: Some(line), ..Complaint::of(file, why) }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}: {}", self.file.display(), self.why),
            None => write!(f, "{}: {}", self.file.display(), self.why),
        }
    }
}

/// The lines of a small file with their numbers from 1, without line ends; `None` when there is no such file. Lines that are
/// too long or no UTF-8 are complained of.
fn lines(file: &Path, complaints: &mut Vec<Complaint>) -> Option<Vec<(u64, String)>> {
    let octets = match std::fs::read(file) {
        Ok(octets) => octets,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return None,
        Err(why) => {
            complaints.push(Complaint::of(file, why));
            return None;
        }
    };
    let mut lines = Vec::new();
    for (line, number) in octets.split(|&b| b == b'\n').zip(1..) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match std::str::from_utf8(line) {
            _ if line.len() > LINE_BYTES_MAX => complaints.push(Complaint::at(file, number, "the line is too long")),
            Ok("") => {}
            Ok(line) => lines.push((number, line.to_owned())),
            Err(_) => complaints.push(Complaint::at(file, number, "the line is not text")),
        }
    }
    Some(lines)
}
