//! The POP3 door: what the session asks, the account's own shard answers.
//!
//! ```text
//!   accept ── login ──┬─ account lives here ──► snapshot of INBOX ──► read, remove
//!                     └─ elsewhere ──► the connection is handed over with its ask still out ──► handoff
//! ```
//!
//! - The snapshot is of durable messages alone. After it this door keeps nothing but the account: the session knows UIDs and sizes.
//! - The account is held in memory while one ask is answered, and not while the client is silent.
//! - Octets are read a block at a time, and the next is read when the peer has taken the one before.
//! - QUIT removes in one transaction and is answered when that is durable. Where nobody knows, after
//!   [`COMMIT_DEADLINE_S`](crate::limits::COMMIT_DEADLINE_S) at the latest, the connection closes without a verdict (A056).

use std::rc::Rc;
use std::task::{Context, Poll};

use ringpost_storage::{MailboxId, Op, ReadError, Transaction};

use crate::bugs::{self, Bug};
use crate::mailbox::anew::Anew;
use crate::mailbox::uidls;
use crate::net::Guest;
use crate::net::pump::{Door as PumpDoor, Next};
use crate::net::wire::Wire;
use crate::observe::{self, Counter, Ledger};
use crate::office::durable::{Undone, make_durable};
use crate::office::sessions::Presence;
use crate::office::words::Talk;
use crate::office::{Arrival, Keys, Login, Office, Resident};
use crate::proto::contract::Out;
use crate::proto::pop3::{Answer, Ask, Config, Deletion, Item, LoginFailed, Session};
use crate::proto::sasl::Speaker;
use crate::serve::handoff::{self, Traveller};
use crate::serve::{Doorway, Protocol};
use crate::shard::{Peer, ShardId};

/// Serves a fresh connection until it ends here; an account of another shard takes it along.
pub(super) fn serve(office: Rc<Office>, door: &Doorway, wire: Box<Wire>) -> impl Future<Output = ()> + use<> {
    let config = Config {
        hostname: office.settings.hostname.clone(),
        privacy: wire.privacy(),
        plaintext_auth_allowed: door.plaintext_auth_allowed(&office, wire.peer()),
        keys: office.offers_keys(),
        allowed: door.mechanisms(&office),
        binds: wire.binding().is_some(),
    };
    let mut out = Out::default();
    let session = Box::new(Session::open(&config, &mut out));
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
    /// The message that is being read, while it is.
    reader: Option<Box<Anew>>,
}

impl Traveller for Door {
    const PROTOCOL: Protocol = Protocol::Pop3;
    const SPEAKER: Speaker = Speaker::Pop3;

    fn open(office: Rc<Office>, who: Option<Resident>, presence: Option<Box<Presence>>) -> Self {
        Door { office, who, presence, leaving: None, reader: None }
    }

    fn leaving(&mut self) -> Arrival {
        self.leaving.take().expect("a hand-off begins with a login elsewhere")
    }

    async fn answer_to_login(who: Option<&Resident>) -> Answer {
        match who {
            Some(who) => snapshot(who).await,
            None => Answer::LoginFailed(LoginFailed::Later),
        }
    }

    fn talk(session: Box<Session>) -> Talk {
        Talk::Pop3(session)
    }
}

impl PumpDoor for Door {
    type Session = Session;
    const LEDGER: Ledger = Ledger::POP3;

    /// A block of a message that begins as a reply does counts as one.
    fn class(reply: &[u8]) -> Option<Counter> {
        match reply {
            [b'+', b'O', b'K', ..] => Some(Counter::Pop3Ok),
            [b'-', b'E', b'R', b'R', ..] => Some(Counter::Pop3Err),
            _ => None,
        }
    }

    fn body(&mut self, _: &[u8]) {
        unreachable!("POP3 receives no message")
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

    async fn answer(&mut self, ask: Ask, wire: &mut Wire) -> Next<Answer> {
        match ask {
            Ask::Login(login) => {
                let login = self.office.login(wire, Speaker::Pop3, login).await;
                self.welcome(login, wire).await
            }
            Ask::Keys(name) => Next::Answer(match self.office.keys(wire, &name).await {
                Keys::Known(known) => Answer::Keys(known),
                Keys::TooMany | Keys::Unavailable => Answer::LoginFailed(LoginFailed::Later),
            }),
            Ask::Room => match wire.relieve().await {
                Ok(()) => Next::Answer(Answer::Room),
                Err(_) => Next::Abort,
            },
            Ask::Read { uid, offset, len } => match wire.relieve().await {
                Ok(()) => Next::Answer(self.read(uid, offset, len).await),
                Err(_) => Next::Abort,
            },
            Ask::Delete { uids } => match self.delete(uids, wire).await {
                Some(deletion) => Next::Answer(Answer::Deleted(deletion)),
                None => Next::Close,
            },
        }
    }
}

impl Door {
    async fn welcome(&mut self, login: Login, wire: &Wire) -> Next<Answer> {
        match login {
            Login::Here(resident) => {
                let Resident { name, began, .. } = &resident;
                self.presence = Some(self.office.sessions.enter(wire, Speaker::Pop3, name, *began).into());
                Next::Answer(snapshot(self.who.insert(resident)).await)
            }
            Login::There(to, arrival) => self.send_on(to, arrival),
            Login::Wrong => Next::Answer(Answer::LoginFailed(LoginFailed::Wrong)),
            Login::TooMany | Login::Busy | Login::Unavailable => Next::Answer(Answer::LoginFailed(LoginFailed::Later)),
        }
    }

    fn send_on(&mut self, to: ShardId, arrival: Arrival) -> Next<Answer> {
        self.leaving = Some(arrival);
        Next::HandOff(to)
    }

    async fn read(&mut self, uid: u32, offset: u64, len: usize) -> Answer {
        let begun = self.reader.take();
        let who = self.resident();
        let Ok(_held) = who.load().await else { return Answer::Unreadable };
        let Resident { volume, account, name, .. } = who;
        let found = volume.mailbox(*account, MailboxId::INBOX, |mailbox| mailbox.by_uid(uid).cloned());
        let Some(message) = found.flatten() else { return Answer::Gone };
        if offset == 0 {
            observe::count(Counter::ReadPop3);
        }
        let size = message.size();
        let anew = || Box::new(Anew::message(*account, MailboxId::INBOX, message));
        let mut reader = begun.filter(|_| offset > 0).unwrap_or_else(anew);
        match reader.read_on(volume, offset).await {
            Ok(mut octets) => {
                octets.truncate(len);
                if offset + (octets.len() as u64) < size {
                    self.reader = Some(reader);
                }
                Answer::Octets(octets)
            }
            Err(ReadError::Gone) => Answer::Gone,
            Err(why) => {
                tracing::error!(target: "pop3", account = %name, uid, %why, "message not readable");
                Answer::Unreadable
            }
        }
    }

    /// Removes messages. `None`: nobody knows what became of them.
    async fn delete(&self, uids: Vec<u32>, wire: &Wire) -> Option<Deletion> {
        let who = self.resident();
        let Ok(_held) = who.load().await else { return Some(Deletion::NotDone) };
        let Resident { volume, account, name, .. } = who;
        let peer = wire.peer();
        let count = uids.len();
        let op = Op::Expunge { account: *account, mailbox: MailboxId::INBOX, uids };
        let transaction = Transaction { bodies: Vec::new(), ops: vec![op] };
        if bugs::on(Bug::EarlyQuit) {
            return Some(volume.decide(transaction, 0).map_or(Deletion::NotDone, |_| Deletion::Done));
        }
        match make_durable(volume, transaction).await {
            Ok(_) => {
                tracing::info!(target: "pop3", account = %name, %peer, count, "deleted");
                Some(Deletion::Done)
            }
            Err(why @ (Undone::Refused(_) | Undone::NotWritten)) => {
                tracing::warn!(target: "pop3", account = %name, %peer, count, %why, "not deleted");
                Some(Deletion::NotDone)
            }
            Err(Undone::Unknown) => {
                tracing::error!(target: "pop3", account = %name, %peer, count, "deletions unknown");
                None
            }
        }
    }

    fn resident(&self) -> &Resident {
        self.who.as_ref().expect("the session asks for messages only after a login")
    }
}

/// The maildrop as it is now.
async fn snapshot(who: &Resident) -> Answer {
    let Ok(Some(held)) = who.load().await else { return Answer::LoginFailed(LoginFailed::Later) };
    // Wrong ids would make a mail program fetch everything again: better to come back later.
    let Ok(uidls) = uidls::read(&who.volume, &held).await else { return Answer::LoginFailed(LoginFailed::Later) };
    let seen = who.volume.mailbox(who.account, MailboxId::INBOX, |mailbox| {
        let item =
            |m: &ringpost_storage::Message| Item { uid: m.uid, size: u32::try_from(m.size()).unwrap_or(u32::MAX) };
        (mailbox.info().uidvalidity, mailbox.messages().iter().map(item).collect())
    });
    match seen {
        Some((uidvalidity, items)) => Answer::LoggedIn { uidvalidity, items, uidls: uidls.into_vec() },
        None => Answer::LoginFailed(LoginFailed::Later),
    }
}
