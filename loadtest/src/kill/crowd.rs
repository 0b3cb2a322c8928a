//! The mixed load of one round: senders, appenders, editors and readers until the server is gone.
//!
//! Every worker logs in first, then all start together. Each returns what it knows as [`Event`]s, in order;
//! only the ledger judges. A connection that is lost ends its worker; a reply that the protocol does not
//! allow, or a letter that is not what was sent, is an event of its own.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::server::Doors;
use crate::accounts::Account;
use crate::ledger::{Content, Done, Outcome};
use crate::letter::Letters;
use crate::readback::read;
use crate::smtp::Fate;
use crate::wire::Error;
use crate::{imap, pop3, smtp};

/// Recipients of one message at most.
const RECIPIENTS_MAX: usize = 3;
/// Every so many edits one message is deleted and expunged.
const EXPUNGE_EVERY: u32 = 4;

/// What all workers share.
#[derive(Debug)]
pub struct Stage<'a> {
    pub doors: Doors,
    pub accounts: &'a [Account],
    pub letters: &'a Letters,
    /// The next letter's number.
    pub next: &'a AtomicU64,
    /// All workers and the one who kills meet here once logins are done.
    pub start: &'a Barrier,
    pub patience: Duration,
}

/// One worker's part.
#[derive(Clone, Debug)]
pub enum Part {
    /// Sends by SMTP to any accounts.
    Sender,
    /// Appends to one account over IMAP.
    Appender { account: usize },
    /// Flags and expunges these UIDs of one account, of which it is the only editor.
    Editor { account: usize, uids: Vec<u32> },
    /// Reads new mail of one account over IMAP.
    ImapReader { account: usize },
    /// Reads all mail of one account over POP3.
    Pop3Reader { account: usize },
}

/// What a worker learnt.
#[derive(Clone, Debug)]
pub enum Event {
    Sent {
        account: usize,
        n: u64,
        outcome: Outcome,
        uid: Option<u32>,
    },
    Shown {
        account: usize,
        n: u64,
        uid: Option<u32>,
    },
    Flagged {
        account: usize,
        uid: u32,
        done: Done,
    },
    Deleted {
        account: usize,
        uid: u32,
        done: Done,
    },
    Expunged {
        account: usize,
        done: Done,
    },
    /// The server said no where it may.
    Refusal(String),
    /// The server said or showed what it must not.
    Broken(String),
}

impl Stage<'_> {
    /// Plays `part` until the connection is lost.
    #[must_use]
    pub fn play(&self, part: &Part, seed: u64) -> Vec<Event> {
        let mut worker = Worker { stage: self, chance: StdRng::seed_from_u64(seed), events: Vec::new() };
        let end = match part {
            Part::Sender => worker.send(),
            Part::Appender { account } => worker.append(*account),
            Part::Editor { account, uids } => worker.edit(*account, uids.clone()),
            Part::ImapReader { account } => worker.read_imap(*account),
            Part::Pop3Reader { account } => worker.read_pop3(*account),
        };
        match end {
            Ok(()) | Err(Error::Lost(_)) => {}
            Err(Error::Refused(text)) => worker.events.push(Event::Refusal(text)),
            Err(e @ Error::Strange { .. }) => worker.events.push(Event::Broken(format!("{part:?}: {e}"))),
        }
        worker.events
    }

    /// Everyone waits here exactly once, whether the log-in went well or not.
    fn ready<T>(&self, login: Result<T, Error>) -> Result<T, Error> {
        self.start.wait();
        // A login that is lost before anything was killed is a fault, not the kill's doing.
        login.map_err(|e| match e {
            Error::Lost(e) => {
                Error::Strange { wanted: "a login before the load".into(), got: e.to_string(), dialogue: String::new() }
            }
            e => e,
        })
    }
}

struct Worker<'a> {
    stage: &'a Stage<'a>,
    chance: StdRng,
    events: Vec<Event>,
}

impl Worker<'_> {
    fn send(&mut self) -> Result<(), Error> {
        let stage = self.stage;
        let mut client = stage.ready(smtp::Client::connect(stage.doors.smtp, stage.patience))?;
        let mut body = Vec::new();
        loop {
            let n = stage.next.fetch_add(1, Ordering::Relaxed);
            let count = if self.chance.random_ratio(1, 5) { RECIPIENTS_MAX } else { 1 }.min(stage.accounts.len());
            let to = rand::seq::index::sample(&mut self.chance, stage.accounts.len(), count).into_vec();
            let addresses: Vec<&str> = to.iter().map(|&a| stage.accounts[a].address.as_str()).collect();
            body.clear();
            stage.letters.write_smtp(n, &mut body);
            let (fates, end) = match client.send(&addresses, stage.letters.size_bytes(n), &body) {
                Ok(fates) => (fates, Ok(())),
                Err((e, fates)) => (fates, Err(e)),
            };
            for (account, fate) in to.into_iter().zip(fates) {
                let outcome = self.outcome(&fate);
                self.events.push(Event::Sent { account, n, outcome, uid: None });
            }
            end?;
        }
    }

    fn append(&mut self, account: usize) -> Result<(), Error> {
        let stage = self.stage;
        let login = imap::Client::login(stage.doors.imap, &stage.accounts[account], stage.patience);
        let mut client = stage.ready(login)?;
        let mut body = Vec::new();
        loop {
            let n = stage.next.fetch_add(1, Ordering::Relaxed);
            body.clear();
            stage.letters.write_plain(n, &mut body);
            let appended = client.append("INBOX", &body);
            let outcome = self.outcome(&appended.fate);
            let uid = appended.uid.map(|(_, uid)| uid);
            self.events.push(Event::Sent { account, n, outcome, uid });
            appended.end.map_or(Ok(()), Err)?;
        }
    }

    fn edit(&mut self, account: usize, mut uids: Vec<u32>) -> Result<(), Error> {
        let stage = self.stage;
        let login = imap::Client::login(stage.doors.imap, &stage.accounts[account], stage.patience)
            .and_then(|mut client| client.select("INBOX").map(|_| client));
        let mut client = stage.ready(login)?;
        uids.sort_unstable();
        for edit in 0.. {
            if uids.is_empty() {
                return client.logout();
            }
            let at = self.chance.random_range(0..uids.len());
            let uid = uids[at];
            if edit % EXPUNGE_EVERY != EXPUNGE_EVERY - 1 {
                let stored = client.uid_add_flag(uid, "\\Flagged");
                self.events.push(Event::Flagged { account, uid, done: done(&stored) });
                stored?;
                continue;
            }
            uids.swap_remove(at);
            let stored = client.uid_add_flag(uid, "\\Deleted");
            self.events.push(Event::Deleted { account, uid, done: done(&stored) });
            stored?;
            let expunged = client.expunge();
            self.events.push(Event::Expunged { account, done: done(&expunged) });
            if expunged? == 0 {
                self.events
                    .push(Event::Broken(format!("account {account}: EXPUNGE after \\Deleted on {uid} took nothing")));
            }
        }
        Ok(())
    }

    fn read_imap(&mut self, account: usize) -> Result<(), Error> {
        let stage = self.stage;
        let login = imap::Client::login(stage.doors.imap, &stage.accounts[account], stage.patience)
            .and_then(|mut client| client.select("INBOX").map(|selected| (client, selected)));
        let (mut client, selected) = stage.ready(login)?;
        let (mut from, mut scratch) = (selected.uidnext.saturating_sub(20).max(1), Vec::new());
        loop {
            let mut found = Vec::new();
            let end = client.uid_fetch(&format!("{from}:*"), "BODY.PEEK[]", |f| found.push(f));
            // What has no body tells of an editor's flags, unasked (RFC 9051 §7.5.2).
            for (uid, body) in found.into_iter().filter_map(|f| Some((f.uid, f.body?))) {
                from = from.max(uid);
                let content = read(stage.letters, &body, &mut scratch);
                self.show(account, Some(uid), content);
            }
            end?;
        }
    }

    fn read_pop3(&mut self, account: usize) -> Result<(), Error> {
        let stage = self.stage;
        let login = pop3::Client::login(stage.doors.pop3, &stage.accounts[account], stage.patience);
        let mut client = stage.ready(login)?;
        let rows = client.list()?;
        let (mut message, mut scratch) = (Vec::new(), Vec::new());
        while let Some(row) = rows.choose(&mut self.chance) {
            client.retrieve(row.number, &mut message)?;
            if message.len() as u64 != row.size_bytes {
                let text = format!("account {account}: LIST says {}, RETR gives {}", row.size_bytes, message.len());
                self.events.push(Event::Broken(text));
            }
            let content = read(stage.letters, &message, &mut scratch);
            self.show(account, None, content);
        }
        client.quit()
    }

    fn show(&mut self, account: usize, uid: Option<u32>, content: Content) {
        self.events.push(match content {
            Content::Intact(n) => Event::Shown { account, n, uid },
            other => Event::Broken(format!("account {account}, UID {uid:?}, shown to a reader: {other:?}")),
        });
    }

    fn outcome(&mut self, fate: &Fate) -> Outcome {
        match fate {
            Fate::Accepted => Outcome::Acknowledged,
            Fate::Refused(text) => {
                self.events.push(Event::Refusal(text.clone()));
                Outcome::Refused
            }
            Fate::Cut => Outcome::Refused,
            Fate::Unknown(_) => Outcome::Unknown,
        }
    }
}

fn done<T>(answer: &Result<T, Error>) -> Done {
    match answer {
        Ok(_) => Done::Yes,
        // NO after submission may still have reached the disk.
        Err(_) => Done::Maybe,
    }
}
