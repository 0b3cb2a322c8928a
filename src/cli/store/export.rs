//! `ringpost store export`: mail for other servers and programs, and for those who want to keep a copy of it.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::{ArgGroup, Args};

use super::super::{At, desk};
use super::account::{Account, Content, Way};
use super::progress::Progress;
use super::stopped::Stopped;
use crate::admin::{Request, Response};
use crate::archive::maildir_writer::{FolderWriter, Writer, Written, make_empty};
use crate::archive::{Complaint, line_ends, mbox_writer, names};
use crate::office::tools::{Mailbox, Message};
use crate::proto::imap::{FlagList, Name};

/// Export the mail of one account or of all of them.
#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("target").required(true),
    after_help = "\
Examples:
  ringpost store export --account alice@example.org --maildir /backup/alice
  ringpost store export --maildir /backup/everybody        one folder for each account
  ringpost store export --account alice@example.org --mbox /backup/alice    INBOX.mbox, Lists.Rust.mbox, …

DIR must not be there yet, or be empty. A Maildir gets folders (Lists/Rust becomes .Lists.Rust), flags, keywords, dates,
subscriptions and a dovecot-uidlist, so that Ringpost and Dovecot can take it over with all UIDs. An mbox is quoted
as mboxrd does, and carries flags and keywords in Status, X-Status and X-Keywords.

A message that is damaged on disk is named, and so are places where batches of a stopped store are lost; the rest is exported,
and the exit code is 1. With --damaged what is left of
it is exported too, with the keyword $Damaged; `?` stands for octets that the disk does not read. A stopped store is only read, and so may be a backup (--data BACKUP).")]
pub(super) struct ExportArgs {
    /// Whose mail [default: everybody's].
    #[arg(long, value_name = "ADDRESS")]
    account: Option<String>,
    /// Write Maildir++ there.
    #[arg(long, value_name = "DIR", group = "target")]
    maildir: Option<PathBuf>,
    /// Write an mbox file for each mailbox there.
    #[arg(long, value_name = "DIR", group = "target")]
    mbox: Option<PathBuf>,
    /// Export damaged messages as they are left.
    #[arg(long)]
    damaged: bool,
    #[command(flatten)]
    at: At,
}

/// What damaged messages get in an export.
const DAMAGED: &str = "$Damaged";

pub(super) fn run(args: &ExportArgs) -> Result<(), String> {
    let (dir, mbox) = match (&args.maildir, &args.mbox) {
        (Some(dir), _) => (dir, false),
        (None, Some(dir)) => (dir, true),
        (None, None) => return Err("there is nothing to write to".to_owned()),
    };
    make_empty(dir).map_err(|complaint| complaint.to_string())?;
    let mut progress = Progress::new();
    match desk::running(&args.at.data)? {
        Some(mut session) => {
            let addresses = match &args.account {
                Some(address) => vec![address.clone()],
                None => addresses(&mut session)?,
            };
            for address in addresses {
                let account = Account::of(Way::Session(&mut session), &address);
                ended(export(account, args, (dir, mbox), &mut progress), &address, &mut progress)?;
            }
        }
        // Nothing is written to a store that may be damaged.
        None => {
            let stopped = Rc::new(Stopped::open(&args.at.data)?);
            stopped.shut.iter().for_each(|(id, why)| progress.problem(format!("volume {id}: {why}")));
            stopped.unread().into_iter().for_each(|place| progress.problem(place));
            stopped.lost.iter().for_each(|what| progress.problem(what));
            let addresses = match &args.account {
                Some(address) => vec![address.clone()],
                None => {
                    let (addresses, unread) = stopped.addresses();
                    unread.into_iter().for_each(|why| progress.problem(why));
                    addresses
                }
            };
            for address in addresses {
                let account = Account::of(Way::Stopped(stopped.clone()), &address);
                ended(export(account, args, (dir, mbox), &mut progress), &address, &mut progress)?;
                stopped.unread().into_iter().for_each(|place| progress.problem(place));
            }
        }
    }
    let synced = File::open(dir).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
    synced.map_err(|why| format!("{}: {why}: what was written may not be on the disk", dir.display()))?;
    progress.end("the rest was exported")
}

fn addresses(session: &mut desk::Session) -> Result<Vec<String>, String> {
    match session.ask(&Request::AccountList { domain: None }, &[])? {
        (Response::Accounts { accounts }, _) => Ok(accounts.into_iter().map(|a| a.address).collect()),
        (other, _) => Err(desk::strange(&other)),
    }
}

fn export(
    account: Account<'_>,
    args: &ExportArgs,
    (dir, mbox): (&Path, bool),
    progress: &mut Progress,
) -> Result<(), Halt> {
    let dir = match args.account {
        Some(_) => dir.to_path_buf(),
        // The one sign of an address that means something in a path.
        None => dir.join(account.address().replace('/', "%2f")),
    };
    make_empty(&dir)?;
    let target = if mbox { Target::Mbox(dir) } else { Target::Maildir(Writer::new(&dir)) };
    Export { account, progress, target, damaged: args.damaged, messages: 0, octets: 0 }.run()
}

/// Why an account's export ended early.
enum Halt {
    /// The account cannot be read on: others may be.
    Account(String),
    /// Nothing more can be written.
    Target(String),
}

impl From<Complaint> for Halt {
    fn from(complaint: Complaint) -> Halt {
        Halt::Target(complaint.to_string())
    }
}

/// What cannot be read is named, and the next account follows.
fn ended(done: Result<(), Halt>, address: &str, progress: &mut Progress) -> Result<(), String> {
    match done {
        Ok(()) => Ok(()),
        Err(Halt::Account(why)) => {
            progress.problem(format!("{address}: {why}"));
            Ok(())
        }
        Err(Halt::Target(why)) => Err(why),
    }
}

struct Export<'a> {
    account: Account<'a>,
    progress: &'a mut Progress,
    target: Target,
    /// Those that are damaged, too.
    damaged: bool,
    messages: u64,
    octets: u64,
}

enum Target {
    Maildir(Writer),
    /// Files go there.
    Mbox(PathBuf),
}

/// A mailbox being written.
enum Out {
    Folder(Box<FolderWriter>),
    Mbox(PathBuf, BufWriter<File>),
}

impl Export<'_> {
    fn run(mut self) -> Result<(), Halt> {
        let (mailboxes, subscriptions) = self.account.mailboxes().map_err(Halt::Account)?;
        for mailbox in &mailboxes {
            self.mailbox(mailbox)?;
        }
        if let Target::Maildir(writer) = &self.target {
            let names: Vec<Name> = subscriptions.iter().filter_map(|name| Name::of(name).ok()).collect();
            writer.subscriptions(&names)?;
        }
        let (messages, octets, count) = (self.messages, self.octets, mailboxes.len());
        let whose = self.account.address();
        self.progress.tell(&format!("{whose}: {messages} messages, {octets} octets, in {count} mailboxes"));
        Ok(())
    }

    /// What was written of it is in order also where its reading ended early.
    fn mailbox(&mut self, mailbox: &Mailbox) -> Result<(), Halt> {
        self.progress.begin(&mailbox.name, mailbox.messages);
        let mut out = self.begin(mailbox)?;
        let done = self.messages(mailbox, &mut out);
        end(out, mailbox)?;
        done
    }

    fn messages(&mut self, mailbox: &Mailbox, out: &mut Out) -> Result<(), Halt> {
        let mut after = 0;
        loop {
            let (messages, more) = self.account.messages_above(mailbox.mailbox, after).map_err(Halt::Account)?;
            for message in messages {
                after = message.uid;
                self.progress.step(message.size);
                let read = self.account.read(mailbox.mailbox, message.uid, message.size);
                match read.map_err(Halt::Account)? {
                    Content::Octets(octets) => {
                        self.write(out, &message, &octets)?;
                        self.messages += 1;
                        self.octets += octets.len() as u64;
                    }
                    // Expunged meanwhile, while the server runs.
                    Content::Gone => {}
                    Content::Damaged(why) => {
                        let (whose, name, uid) = (self.account.address(), &mailbox.name, message.uid);
                        self.progress.problem(format!("{whose}, {name}, UID {uid}: {why}"));
                        if self.damaged {
                            self.rescue(out, mailbox, &message)?;
                        }
                    }
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Writes what is left of a message, with a keyword that says so.
    fn rescue(&mut self, out: &mut Out, mailbox: &Mailbox, message: &Message) -> Result<(), Halt> {
        let left = self.account.read_as_is(mailbox.mailbox, message.uid, message.size);
        let Content::Octets(octets) = left.map_err(Halt::Account)? else {
            return Ok(());
        };
        let mut message = message.clone();
        message.keywords.push(DAMAGED.into());
        // Damage may have made line ends of what was none.
        self.write(out, &message, &line_ends::canonical(&octets).0)?;
        self.messages += 1;
        self.octets += octets.len() as u64;
        Ok(())
    }

    fn begin(&mut self, mailbox: &Mailbox) -> Result<Out, Complaint> {
        // Names that were no names for us once are exported under their number, like those too long for a file.
        let plain = format!("mailbox-{}", mailbox.mailbox);
        let fits = |name: &Name| names::file_of(name).is_some_and(|file| file.len() + 5 <= names::FILE_NAME_BYTES_MAX);
        let name = Name::of(&mailbox.name).ok().filter(fits).unwrap_or_else(|| {
            let (whose, name) = (self.account.address(), &mailbox.name);
            self.progress.problem(format!("{whose}, {name}: no name for a file; it is called {plain}"));
            Name::of(&plain).expect("a plain name")
        });
        match &self.target {
            Target::Maildir(writer) => {
                writer.folder(&name, mailbox.uidvalidity).map(|folder| Out::Folder(Box::new(folder)))
            }
            Target::Mbox(dir) => {
                let file = dir.join(names::file_of(&name).expect("it fits") + ".mbox");
                let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
                made.map(|out| Out::Mbox(file.clone(), BufWriter::new(out))).map_err(|why| Complaint::of(&file, why))
            }
        }
    }

    fn write(&mut self, out: &mut Out, message: &Message, octets: &[u8]) -> Result<(), Complaint> {
        let flags = FlagList { bits: message.flags, keywords: message.keywords.clone() };
        match out {
            Out::Mbox(file, out) => {
                mbox_writer::write(out, octets, &flags, message.internal_ms).map_err(|why| Complaint::of(file, why))
            }
            Out::Folder(folder) => {
                let (uid, uidl, internal_ms) = (message.uid, message.uidl.as_deref(), message.internal_ms);
                let written = Written { uid, uidl, flags: &flags, internal_ms, octets };
                for keyword in folder.add(&written)? {
                    let (whose, uid) = (self.account.address(), message.uid);
                    self.progress.problem(format!("{whose}, UID {uid}: no letter is left for the keyword {keyword}"));
                }
                Ok(())
            }
        }
    }
}

fn end(out: Out, mailbox: &Mailbox) -> Result<(), Complaint> {
    match out {
        Out::Folder(folder) => folder.finish(mailbox.uidnext),
        Out::Mbox(file, mut out) => out.flush().map_err(|why| Complaint::of(Path::new(&file), why)),
    }
}
