//! The IMAP door: what the session asks, the account's own shard answers. One file a command.
//!
//! ```text
//!   accept ── login ──┬─ account lives here ──► select ─► fetch, store, expunge, search … ─► tell what changed
//!                     └─ elsewhere ──► the connection is handed over with its ask still out ──► handoff
//! ```
//!
//! - What is shown is durable, and what a command changed is durable before its OK. Where nobody knows, the connection
//!   closes without a verdict (A056).
//! - Answers stream: octets are read a block at a time, and the next is read when the peer took the one before (A114).
//! - After each command the client is told what changed in its mailbox; EXPUNGE only where it may be
//!   ([`may_tell_expunge`]).
//! - A mailbox that is removed under its session ends the conversation with BYE ([`poll`] says why).
//! - A name is looked up among durable names when its command begins. DELETE and RENAME are refused where it leads elsewhere
//!   when they are decided. APPEND, COPY and the selected mailbox stay with the mailbox that had the name, also when it is
//!   renamed meanwhile: that is as if they had come first.
//! - The account is held in memory while one ask is answered, and not while the client is silent or idles.
//! - A connection that ends in the middle of an APPEND leaves nothing behind (A122): its body was memory of this door.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::future::or;
use ringpost_storage::{Flags, Loaded, Mailbox, MailboxId, Op, Outcome, ReadError, Refused, Transaction};

use crate::mailbox::view::View;
use crate::net::Guest;
use crate::net::pump::{Door as PumpDoor, Next};
use crate::net::wire::Wire;
use crate::observe::{Counter, Ledger};
use crate::office::durable::{Undone, make_durable};
use crate::office::sessions::Presence;
use crate::office::words::Talk;
use crate::office::{Arrival, Keys, Office, Resident};
use crate::proto::contract::Out;
use crate::proto::imap::update::{enables_condstore, may_tell_expunge};
use crate::proto::imap::{Answer, Ask, Config, FlagList, Name, No, Session, response};
use crate::proto::sasl::Speaker;
use crate::serve::handoff::{self, Traveller};
use crate::serve::{Doorway, Protocol};
use crate::shard::{Disk, Peer};
use news::Bell;
use poll::Still;

mod append;
mod copy;
mod create;
mod delete;
mod expunge;
mod fetch;
mod id;
mod keywords;
mod list;
mod login;
mod news;
mod poll;
mod rename;
mod search;
mod select;
mod status;
mod store;
mod subscribe;

/// Messages of one look into a mailbox, one flag change, one block of a long answer.
const WINDOW: usize = 128;

/// Serves a fresh connection until it ends here; an account of another shard takes it along.
pub(super) fn serve(office: Rc<Office>, door: &Doorway, wire: Box<Wire>) -> impl Future<Output = ()> + use<> {
    let config = Config {
        privacy: wire.privacy(),
        plaintext_auth_allowed: door.plaintext_auth_allowed(&office, wire.peer()),
        keys: office.offers_keys(),
        allowed: door.mechanisms(&office),
        binds: wire.binding().is_some(),
        message_bytes_max: office.settings.message_bytes_max,
    };
    let mut out = Out::default();
    let session = Box::new(Session::open(config, &mut out));
    handoff::begin::<Door>(office, wire, session, out.reply)
}

pub(super) struct Door {
    office: Rc<Office>,
    /// Who logged in here.
    who: Option<Resident>,
    /// While they are logged in.
    presence: Option<Box<Presence>>,
    /// Who logged in and lives elsewhere.
    leaving: Option<Arrival>,
    /// The selected mailbox.
    view: Option<View>,
    /// The client knows MODSEQs and is told them (RFC 7162 §3.1).
    condstore: bool,
    /// What rings when there is news, while the client idles.
    bell: Option<Box<Bell>>,
    /// The messages of an APPEND under way.
    upload: Option<Box<append::Upload>>,
}

/// How a command ended: an answer for the session, or the connection cannot go on.
enum End {
    Answer(Answer),
    /// Nobody knows what became of it. Any verdict would be one too many: a client that hears NO to an APPEND appends again,
    /// and may have the message twice.
    Unknown,
    Broken,
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        End::Broken
    }
}

impl From<No> for End {
    fn from(no: No) -> Self {
        End::Answer(Answer::No(no))
    }
}

impl From<Undone> for End {
    fn from(why: Undone) -> Self {
        match why {
            Undone::Refused(why) => no_for(&why).into(),
            Undone::NotWritten => No::Unavailable.into(),
            Undone::Unknown => End::Unknown,
        }
    }
}

type Done = Result<Answer, End>;

impl Traveller for Door {
    const PROTOCOL: Protocol = Protocol::Imap;
    const SPEAKER: Speaker = Speaker::Imap;

    fn open(office: Rc<Office>, who: Option<Resident>, presence: Option<Box<Presence>>) -> Self {
        Door { office, who, presence, leaving: None, view: None, condstore: false, bell: None, upload: None }
    }

    fn leaving(&mut self) -> Arrival {
        self.leaving.take().expect("a hand-off begins with a login elsewhere")
    }

    async fn answer_to_login(who: Option<&Resident>) -> Answer {
        if who.is_some() { Answer::Welcome } else { Answer::No(No::Unavailable) }
    }

    fn talk(session: Box<Session>) -> Talk {
        Talk::Imap(session)
    }
}

impl PumpDoor for Door {
    type Session = Session;
    const LEDGER: Ledger = Ledger::IMAP;

    /// The tagged line comes last (RFC 9051 §2.2.2).
    fn class(reply: &[u8]) -> Option<Counter> {
        let line = reply.strip_suffix(b"\r\n")?;
        let line = &line[memchr::memrchr(b'\n', line).map_or(0, |at| at + 1)..];
        let mut words = line.split(|b| *b == b' ');
        if matches!(words.next()?, b"*" | b"+") {
            return None;
        }
        match words.next()? {
            b"OK" => Some(Counter::ImapOk),
            b"NO" => Some(Counter::ImapNo),
            b"BAD" => Some(Counter::ImapBad),
            _ => None,
        }
    }

    fn body(&mut self, bytes: &[u8]) {
        if let Some(upload) = &mut self.upload {
            upload.take(bytes);
        }
    }

    fn is_full(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.is_full())
    }

    async fn put_away(&mut self) {
        if let (Some(upload), Some(who)) = (&mut self.upload, &self.who) {
            upload.put_away(&self.office, who.volume.facts().volume).await;
        }
    }

    fn handshake_place(&self, peer: Peer) -> Option<Guest> {
        self.office.handshake_place(peer)
    }

    fn is_over(&self) -> bool {
        self.presence.as_ref().is_some_and(|presence| presence.is_over())
    }

    fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.presence.as_ref().map_or(Poll::Pending, |presence| presence.poll_over(cx))
    }

    /// Something durable changed in the selected mailbox, or the session is to end. Nothing is ever told of what is only decided: a watch sees none of it.
    async fn news(&mut self) {
        match (&self.who, &self.view) {
            (Some(who), Some(view)) => {
                let presence = &self.presence;
                let over = poll_fn(|cx| presence.as_ref().map_or(Poll::Pending, |presence| presence.poll_over(cx)));
                or(self.bell.get_or_insert_default().rung(who, view), over).await;
            }
            _ => poll_fn(|cx| self.poll_over(cx)).await,
        }
    }

    async fn answer(&mut self, ask: Ask, wire: &mut Wire) -> Next<Answer> {
        let ask = match ask {
            Ask::Login(login) => return self.login(login, wire).await,
            Ask::Keys(name) => {
                return Next::Answer(match self.office.keys(wire, &name).await {
                    Keys::Known(known) => Answer::Keys(known),
                    Keys::TooMany | Keys::Unavailable => Answer::No(No::Unavailable),
                });
            }
            ask => ask,
        };
        let may_expunge = may_tell_expunge(&ask);
        let mut tells = !matches!(ask, Ask::Select(_) | Ask::Close { .. } | Ask::AppendBegin(_) | Ask::AppendMore(_));
        let removes = matches!(ask, Ask::Delete(_));
        self.condstore |= enables_condstore(&ask);
        let polls = matches!(ask, Ask::Poll);
        if !polls {
            self.bell = None;
        }
        let needs_account = needs_account(&ask);
        let held = match self.hold(needs_account || (tells && self.view.is_some())).await {
            Ok(held) => held,
            Err(_) if !needs_account && !polls => {
                // What changed is told when it can be read.
                tells = false;
                None
            }
            Err(_) => {
                self.upload = None;
                self.view.take_if(|_| matches!(ask, Ask::Select(_)));
                return Next::Answer(Answer::No(No::Unavailable));
            }
        };
        let answer = match self.carry_out(ask, wire).await {
            Ok(answer) | Err(End::Answer(answer)) => answer,
            // What was said before goes out: those verdicts stand.
            Err(End::Unknown) => return Next::Close,
            Err(End::Broken) => return Next::Abort,
        };
        if !tells {
            return Next::Answer(answer);
        }
        match self.tell(wire, may_expunge).await {
            Ok(Still::There) => {
                if let (Some(bell), Some(view), Some(account)) = (&mut self.bell, &self.view, &held) {
                    bell.hang(view, account);
                }
                Next::Answer(answer)
            }
            // Who removes the mailbox that it has selected itself needs not be told.
            Ok(Still::Gone) if removes && answer == Answer::Done => {
                self.view = None;
                Next::Answer(answer)
            }
            Ok(Still::Gone) => {
                tracing::info!(target: "imap", peer = %wire.peer(), "the selected mailbox was removed: closed");
                response::bye(wire.queue(), "Mailbox was deleted");
                Next::LastAnswer(answer)
            }
            Err(_) => Next::Abort,
        }
    }
}

impl Door {
    async fn carry_out(&mut self, ask: Ask, wire: &mut Wire) -> Done {
        match ask {
            Ask::Login(_) | Ask::Keys(_) => unreachable!("answered before"),
            Ask::Id(fields) => self.id(&fields, wire).await,
            Ask::Enable(_) => Ok(Answer::Done),
            Ask::List(list) => self.list(&list, wire).await,
            Ask::Create(create) => self.create(&create).await,
            Ask::Delete(name) => self.delete(&name).await,
            Ask::Rename(rename) => self.rename(&rename).await,
            Ask::Subscribe { name, on } => self.subscribe(&name, on).await,
            Ask::Status(status) => self.status(&status, wire).await,
            Ask::Select(select) => self.select(&select, wire).await,
            Ask::Close { expunge } => self.close(expunge).await,
            Ask::Fetch(fetch) => self.fetch(fetch, wire).await,
            Ask::Store(store) => self.store(&store, wire).await,
            Ask::Search(search) => self.search(&search, wire).await,
            Ask::Copy(copy) => self.copy(&copy, wire).await,
            Ask::Expunge(expunge) => self.expunge(expunge.uids.as_ref()).await,
            Ask::AppendBegin(append) => self.append_begin(append, wire.peer()),
            Ask::AppendMore(announced) => self.append_more(announced, wire.peer()),
            Ask::AppendDone => self.append_done(wire).await,
            Ask::AppendDrop => {
                self.upload = None;
                Ok(Answer::Done)
            }
            Ask::Poll => Ok(Answer::Done),
        }
    }

    /// The account in memory, if it is looked at. `None`: it is not, or it is gone, and its mailboxes are too.
    async fn hold(&self, looked_at: bool) -> Result<Option<Loaded<Disk>>, ReadError> {
        match &self.who {
            Some(who) if looked_at => who.load().await,
            _ => Ok(None),
        }
    }

    fn who(&self) -> &Resident {
        self.who.as_ref().expect("the session asks for mail only after a login")
    }

    /// The account and its selected mailbox.
    fn selected(&self) -> Result<(&Resident, &View), End> {
        match &self.view {
            Some(view) => Ok((self.who(), view)),
            // It removed its mailbox itself.
            None => Err(No::NonExistent.into()),
        }
    }

    /// The mailbox with this name.
    fn named(&self, name: &Name) -> Option<MailboxId> {
        let Resident { volume, account, .. } = self.who();
        if name.is_inbox() { Some(MailboxId::INBOX) } else { volume.mailbox_named(*account, name.as_str()) }
    }
}

/// False for what can be done without looking at the account.
fn needs_account(ask: &Ask) -> bool {
    !matches!(
        ask,
        Ask::Login(_)
            | Ask::Keys(_)
            | Ask::Id(_)
            | Ask::Enable(_)
            | Ask::Close { expunge: false }
            | Ask::AppendDrop
            | Ask::Poll
    )
}

/// Looks at a mailbox, or says that it is gone.
fn look<T>(who: &Resident, mailbox: MailboxId, look: impl FnOnce(&Mailbox) -> T) -> Result<T, No> {
    who.volume.mailbox(who.account, mailbox, look).ok_or(No::NonExistent)
}

/// Makes changes durable in one batch, and returns when they are.
async fn commit(who: &Resident, ops: Vec<Op>) -> Result<Vec<Outcome>, End> {
    make_durable(&who.volume, Transaction { bodies: Vec::new(), ops }).await.map_err(|why| {
        tracing::warn!(target: "imap", account = %who.name, %why, "not changed");
        why.into()
    })
}

fn no_for(why: &Refused) -> No {
    match why {
        Refused::NoMailbox => No::NonExistent,
        Refused::MailboxExists => No::AlreadyExists,
        // More than one batch can hold, or than one message may have of keywords.
        Refused::TooLarge | Refused::UidsUsedUp | Refused::TooMany | Refused::UidsGiven => No::Limit,
        Refused::OverQuota => No::OverQuota,
        Refused::NoAccount
        | Refused::DiskFull
        | Refused::Failed
        | Refused::NotLoaded
        | Refused::Busy
        | Refused::Gap(_) => No::Unavailable,
    }
}

/// Flags as the volume keeps them.
fn flags_of(list: &FlagList) -> Flags {
    let keywords = (!list.keywords.is_empty()).then(|| list.keywords.clone().into());
    Flags { bits: list.bits, keywords }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a119_what_the_volume_refuses_has_its_code() {
        assert_eq!(no_for(&Refused::TooMany), No::Limit);
        assert_eq!(no_for(&Refused::OverQuota), No::OverQuota);
        assert_eq!(no_for(&Refused::MailboxExists), No::AlreadyExists);
        assert_eq!(no_for(&Refused::NoMailbox), No::NonExistent);
        assert_eq!(no_for(&Refused::DiskFull), No::Unavailable);
        assert_eq!(no_for(&Refused::NotLoaded), No::Unavailable);
    }
}
