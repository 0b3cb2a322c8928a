//! `ringpost store import`: mail of another server or program, with its flags, dates and UIDs.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use ringpost_storage::MailboxId;

use super::super::{At, desk};
use super::account::{Account, Added, Content, Way};
use super::progress::Progress;
use super::source::{self, Message, Place};
use crate::archive::maildir;
use crate::archive::mbox::Quoting;
use crate::office::tools::{Coming, Mailbox};
use crate::proto::imap::Name;

/// Messages added in one request.
const BATCH_MESSAGES: usize = 200;
/// Octets of messages after which a request is sent.
const BATCH_BYTES: usize = 1 << 20;
/// Unique ids of POP3 kept with one request.
const UIDLS_AT_ONCE: usize = 5_000;
/// Keywords of one mailbox, by whatever program. More: left out, and said so.
const KEYWORDS_MAX: usize = 1_024;

/// Import the mail of an account from a Maildir or an mbox file.
#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("source").required(true),
    after_help = "\
Examples:
  ringpost store import --account alice@example.org --maildir /home/alice/Maildir
  ringpost store import --account alice@example.org --mbox /var/mail/alice
  ringpost store import --account alice@example.org --mbox old.mbox --mailbox Archive/2019 --quoting mboxo

From a Maildir all folders come (.Sub.Folder becomes Sub/Folder), with flags, keywords (dovecot-keywords), dates
(the files' times), and subscriptions. Where a folder has a dovecot-uidlist, UIDVALIDITY and UIDs stay as they were, so
that mail programs need not fetch everything again: import into a new account, before it gets new mail. Unique ids that
POP3 was told stay too, where the list has them; most servers make them of UID and UIDVALIDITY instead, and write
none down: --pop3-uidl dovecot makes them as Dovecot does unless it is told otherwise (%08Xu%08Xv).
From an mbox come flags (Status, X-Status), keywords (X-Keywords) and dates.

Running it again makes no doubles, also after an interruption: a message whose UID is there is passed over, one
without a UID where a message with the same date and octets is there. Messages that were imported and expunged since
stay away (--again brings them, with new UIDs).

What cannot be imported is named, the rest is imported, and the exit code is 1. The source is never changed.")]
pub(super) struct ImportArgs {
    /// Whose mailboxes get the mail; the account must exist (`ringpost account add`).
    #[arg(long, value_name = "ADDRESS")]
    account: String,
    /// A Maildir or Maildir++ with its folders.
    #[arg(long, value_name = "DIR", group = "source")]
    maildir: Option<PathBuf>,
    /// A file with messages one after the other.
    #[arg(long, value_name = "FILE", group = "source")]
    mbox: Option<PathBuf>,
    /// The mailbox that the mbox becomes [default: INBOX].
    #[arg(long, value_name = "NAME", requires = "mbox")]
    mailbox: Option<String>,
    /// How lines `From ` are quoted in the mbox.
    #[arg(long, value_enum, value_name = "HOW", default_value_t, requires = "mbox")]
    quoting: Quoting,
    /// Keep unique ids of POP3 for messages of INBOX that have a UID, made as the server made them.
    #[arg(long, value_enum, value_name = "HOW", requires = "maildir")]
    pop3_uidl: Option<Uidl>,
    /// Import messages again whose UIDs are given and gone.
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    at: At,
}

/// How a server makes unique ids of POP3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Uidl {
    /// UID and UIDVALIDITY, eight hexadecimal digits each.
    Dovecot,
}

pub(super) fn run(args: &ImportArgs) -> Result<(), String> {
    let mut progress = Progress::new();
    let places = places(args, &mut progress)?;
    desk::with_session(&args.at.data, |session| {
        all(session, &args.account, places, (args.again, args.pop3_uidl), progress)
    })
}

/// Brings mailboxes into an account, and what is subscribed to.
pub(super) fn all(
    session: &mut desk::Session,
    address: &str,
    (places, subscriptions): (Vec<Place>, Vec<Name>),
    (again, uidl): (bool, Option<Uidl>),
    progress: Progress,
) -> Result<(), String> {
    let account = Account::of(Way::Session(session), address);
    let mut import = Import { account, progress, again, uidl, tally: Tally::default() };
    let subscribe = subscriptions.is_empty();
    for place in places {
        match place.open() {
            Ok(mailbox) => import.mailbox(mailbox, subscribe)?,
            Err(complaint) => import.progress.problem(complaint),
        }
        import.tally.mailboxes += 1;
    }
    for name in &subscriptions {
        import.account.subscribe(name.as_str())?;
    }
    import.end()
}

fn places(args: &ImportArgs, progress: &mut Progress) -> Result<(Vec<Place>, Vec<Name>), String> {
    if let Some(dir) = &args.maildir {
        let found = maildir::open(dir).map_err(|complaint| complaint.to_string())?;
        found.complaints.iter().for_each(|complaint| progress.problem(complaint));
        return Ok((found.folders.into_iter().map(Place::Folder).collect(), found.subscriptions));
    }
    let file = args.mbox.clone().ok_or("there is nothing to import")?;
    let name = args.mailbox.as_deref().unwrap_or("INBOX");
    let name = Name::of(name).map_err(|why| format!("`{}` is no mailbox name: {why}", name.escape_debug()))?;
    Ok((vec![Place::Mbox { file, name, quoting: args.quoting }], Vec::new()))
}

struct Import<'a> {
    account: Account<'a>,
    progress: Progress,
    again: bool,
    uidl: Option<Uidl>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    mailboxes: u64,
    imported: u64,
    octets: u64,
    there: u64,
    gone: u64,
}

/// What is known of the mailbox that messages go into.
struct Target {
    mailbox: Mailbox,
    /// It has the UIDVALIDITY of the source: UIDs are kept.
    adopted: bool,
    /// Those that are there: what is left to be compared with what comes, by size and date.
    alike: HashMap<(u64, i64), Vec<u32>>,
    /// Their UIDs.
    uids: Vec<u32>,
    /// Keywords as the mailbox spells them, by their lower case.
    keywords: HashMap<String, Box<str>>,
    /// Unique ids of POP3 that are to be kept, if it is INBOX.
    uidls: Vec<(u32, Box<str>)>,
    /// UIDVALIDITY of the source.
    uidvalidity: Option<u32>,
}

impl Target {
    /// Notes what POP3 was told of a message that has this UID here.
    fn keep_uidl(&mut self, uid: u32, message: &Message, made: Option<Uidl>) {
        if self.mailbox.mailbox != MailboxId::INBOX.0 {
            return;
        }
        let made = || match (made?, message.uid?, self.uidvalidity?) {
            (Uidl::Dovecot, uid, uidvalidity) => Some(format!("{uid:08x}{uidvalidity:08x}").into()),
        };
        self.uidls.extend(message.uidl.clone().or_else(made).map(|uidl| (uid, uidl)));
    }
}

#[derive(Default)]
struct Batch {
    coming: Vec<Coming>,
    messages: Vec<Message>,
    octets: usize,
}

impl Import<'_> {
    fn mailbox(&mut self, from: source::Mailbox, subscribe: bool) -> Result<(), String> {
        let source::Mailbox { name, numbers, count, complaints, messages } = from;
        self.progress.begin(name.as_str(), count);
        complaints.iter().for_each(|complaint| self.progress.problem(complaint));
        let mut target = self.target(&name, numbers, subscribe)?;
        let before = self.tally.imported;
        let mut batch = Batch::default();
        for message in messages {
            let message = match message {
                Ok(message) => message,
                Err(complaint) => {
                    self.progress.problem(complaint);
                    continue;
                }
            };
            self.progress.step(message.octets.len() as u64);
            let Some(uid) = self.is_new(&mut target, &message)? else { continue };
            if message.had_nul {
                self.progress.note(format!("{}: octets of value 0 were replaced by 0x80", message.from));
            }
            let coming = Coming {
                octets: message.octets.len() as u64,
                uid,
                flags: message.flags.bits,
                keywords: self.spelt(&mut target, &message),
                internal_ms: message.internal_ms,
            };
            batch.octets += message.octets.len();
            batch.coming.push(coming);
            batch.messages.push(message);
            if batch.octets >= BATCH_BYTES || batch.coming.len() >= BATCH_MESSAGES {
                self.send(&mut target, std::mem::take(&mut batch))?;
            }
        }
        self.send(&mut target, batch)?;
        for some in target.uidls.chunks(UIDLS_AT_ONCE) {
            self.account.put_uidls(some.to_vec())?;
        }
        if let Some((_, uidnext)) = numbers.filter(|_| target.adopted) {
            self.account.raise_uidnext(target.mailbox.mailbox, uidnext)?;
        }
        self.progress.tell(&format!("{name}: {} imported", self.tally.imported - before));
        Ok(())
    }

    /// Makes the mailbox if need be and looks what is in it.
    fn target(&mut self, name: &Name, numbers: Option<(u32, u32)>, subscribe: bool) -> Result<Target, String> {
        let uidvalidity = numbers.map(|(uidvalidity, _)| uidvalidity);
        let mailbox = self.account.put_mailbox(name.as_str(), uidvalidity, subscribe)?;
        let adopted = uidvalidity == Some(mailbox.uidvalidity);
        if uidvalidity.is_some() && !adopted {
            self.progress.note(format!("{name} has messages already: those that come get new UIDs"));
        }
        let mut target = Target {
            mailbox,
            adopted,
            alike: HashMap::new(),
            uids: Vec::new(),
            keywords: HashMap::new(),
            uidls: Vec::new(),
            uidvalidity,
        };
        let mut after = 0;
        loop {
            let (there, more) = self.account.messages_above(target.mailbox.mailbox, after)?;
            for message in there {
                after = message.uid;
                target.uids.push(message.uid);
                target.alike.entry((message.size, message.internal_ms)).or_default().push(message.uid);
                for keyword in message.keywords {
                    target.keywords.entry(keyword.to_ascii_lowercase()).or_insert(keyword);
                }
            }
            if !more {
                return Ok(target);
            }
        }
    }

    /// The UID to ask for, if the message is to be added: `Some(None)` is any.
    fn is_new(&mut self, target: &mut Target, message: &Message) -> Result<Option<Option<u32>>, String> {
        let wanted = message.uid.filter(|_| target.adopted);
        if let Some(uid) = wanted {
            if uid >= target.mailbox.uidnext {
                return Ok(Some(Some(uid)));
            }
            if target.uids.binary_search(&uid).is_ok() {
                target.keep_uidl(uid, message, self.uidl);
                self.tally.there += 1;
                return Ok(None);
            }
            if !self.again {
                self.tally.gone += 1;
                return Ok(None);
            }
        }
        // Each that is there stands for one that comes, so that doubles in the source stay doubles.
        let Some(alike) = target.alike.get_mut(&(message.octets.len() as u64, message.internal_ms)) else {
            return Ok(Some(None));
        };
        for at in 0..alike.len() {
            let there = self.account.read(target.mailbox.mailbox, alike[at], message.octets.len() as u64)?;
            if matches!(there, Content::Octets(octets) if octets == message.octets) {
                alike.swap_remove(at);
                self.tally.there += 1;
                return Ok(None);
            }
        }
        Ok(Some(None))
    }

    /// The message's keywords as the mailbox spells them.
    fn spelt(&mut self, target: &mut Target, message: &Message) -> Vec<Box<str>> {
        let mut spelt = Vec::with_capacity(message.flags.keywords.len());
        for keyword in &message.flags.keywords {
            let folded = keyword.to_ascii_lowercase();
            if target.keywords.len() >= KEYWORDS_MAX && !target.keywords.contains_key(&folded) {
                let why = format!("the keyword {keyword} is left out: the mailbox has {KEYWORDS_MAX}");
                self.progress.problem(format!("{}: {why}", message.from));
                continue;
            }
            spelt.push(target.keywords.entry(folded).or_insert_with(|| keyword.clone()).clone());
        }
        spelt
    }

    fn send(&mut self, target: &mut Target, batch: Batch) -> Result<(), String> {
        if batch.coming.is_empty() {
            return Ok(());
        }
        let octets: Vec<&[u8]> = batch.messages.iter().map(|m| &*m.octets).collect();
        match self.account.append(target.mailbox.mailbox, batch.coming.clone(), &octets)? {
            Added::Uids(uids) => {
                self.tally.imported += uids.len() as u64;
                self.tally.octets += batch.octets as u64;
                let moved = uids.iter().zip(&batch.coming).zip(&batch.messages);
                for ((uid, coming), message) in moved {
                    target.keep_uidl(*uid, message, self.uidl);
                    if let Some(wanted) = coming.uid.filter(|wanted| wanted != uid) {
                        self.progress.note(format!("{}: has UID {uid}, {wanted} was given meanwhile", message.from));
                    }
                }
            }
            Added::TooLarge => match &batch.messages[..] {
                [only] => self.progress.problem(format!("{}: too large for the store's segments", only.from)),
                _ => {
                    for (coming, message) in batch.coming.into_iter().zip(batch.messages) {
                        let octets = message.octets.len();
                        self.send(target, Batch { coming: vec![coming], messages: vec![message], octets })?;
                    }
                }
            },
        }
        Ok(())
    }

    fn end(self) -> Result<(), String> {
        let Tally { mailboxes, imported, octets, there, gone } = self.tally;
        let mut said = format!("{imported} messages, {octets} octets, imported into {}", self.account.address());
        said += &format!(" ({mailboxes} mailboxes)");
        if there > 0 {
            said += &format!("; {there} were there already");
        }
        if gone > 0 {
            said += &format!("; {gone} stay away, because their UIDs were given and are gone (--again brings them)");
        }
        self.progress.tell(&said);
        self.progress.end("the rest was imported")
    }
}
