//! A letter on its way in: who it is from, who it is for, and its body as it arrives.

use std::rc::Rc;

use ringpost_storage::{AccountId, Body, MailboxId, TransferCopy};
use uuid::Uuid;

use crate::directory::Home;
use crate::intake::judge::Judge;
use crate::intake::{Verdict, Why, deciding_volume, weigh};
use crate::mail::trace;
use crate::observe::{self, Counter};
use crate::office::uploads::room_for_octets;
use crate::office::{BodyCharge, Copy, Incoming, Office};
use crate::shard::{self, Peer};

/// A recipient whose mailbox is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// `user@domain` of the account.
    pub name: String,
    /// Where it lives.
    pub home: Home,
    /// Into which of its mailboxes: INBOX, or the folder that a subaddress names.
    pub mailbox: MailboxId,
}

impl Recipient {
    /// This recipient's copy, with a Delivered-To field of its own.
    #[must_use]
    pub fn copy(&self) -> Copy {
        let mut prefix = Vec::with_capacity(16 + self.name.len());
        trace::delivered_to(&mut prefix, &self.name);
        Copy { account: self.home.account, mailbox: self.mailbox, prefix }
    }

    /// The same, to be made in another volume than the one that decides.
    #[must_use]
    pub fn transfer(&self) -> TransferCopy {
        let Copy { account, mailbox, prefix } = self.copy();
        TransferCopy { account, mailbox, name: self.name.clone(), prefix, bits: 0, keywords: Vec::new() }
    }
}

/// A letter being received.
pub struct Letter {
    /// Our own name for it, time-ordered (UUID version 7, RFC 9562 §5.7). Never the Message-ID field.
    pub id: Uuid,
    /// At least one, without duplicates.
    pub recipients: Vec<Recipient>,
    /// When it came, milliseconds since 1970.
    pub received_ms: i64,
    /// Trace fields, then what the client sends, canonical CRLF.
    pub body: Body,
    /// Octets of our own trace fields at the front of the body.
    pub trace_octets: usize,
    pub(super) charge: BodyCharge,
    /// Where its octets go when they are too many for memory.
    pub(super) incoming: Option<Incoming>,
    /// What has seen those of them that are not in memory any more.
    judge: Option<Box<Judge>>,
    /// It was looked at already.
    is_judged: bool,
    /// Why nothing more of it is kept.
    given_up: Option<Verdict>,
}

impl Letter {
    /// A letter without a body, of which nothing was said before. `peer`: who sends it; `hint`: octets to expect.
    #[must_use]
    pub fn new(office: &Rc<Office>, peer: Peer, recipients: Vec<Recipient>, hint: u64) -> Self {
        Letter::with_id(new_id(), office, peer, recipients, hint)
    }

    /// The same, with the name that it has in the log already.
    #[must_use]
    pub fn with_id(id: Uuid, office: &Rc<Office>, peer: Peer, recipients: Vec<Recipient>, hint: u64) -> Self {
        let wall_ms = shard::wall_ms();
        Letter {
            id,
            recipients,
            received_ms: i64::try_from(wall_ms).unwrap_or(i64::MAX),
            body: Body::with_hint(usize::try_from(hint).unwrap_or(usize::MAX).saturating_add(1_024)),
            trace_octets: 0,
            charge: office.charge(peer),
            incoming: None,
            judge: None,
            is_judged: false,
            given_up: None,
        }
    }

    /// Its octets count against this, and not against its peer.
    #[must_use]
    pub fn charged_to(mut self, charge: BodyCharge) -> Letter {
        self.charge = charge;
        self
    }

    /// Puts our trace fields at the front. Called once, before the first piece.
    pub fn sign(&mut self, trace: &[u8]) {
        assert!(self.body.is_empty(), "trace fields come first");
        self.body.push(trace);
        self.trace_octets = trace.len();
    }

    /// Takes a piece of what the client sends. When the shard holds too much already the letter is given up: nothing more of it
    /// is kept.
    pub fn push(&mut self, bytes: &[u8]) {
        observe::add(Counter::BodyBytesReceived, bytes.len() as u64);
        if self.given_up.is_some() {
            return;
        }
        if !self.charge.add(bytes.len() as u64) {
            self.give_up(Verdict::Later(Why::TooMuch));
            return;
        }
        observe::add(Counter::BodyBytesCopied, bytes.len() as u64);
        self.body.push(bytes);
    }

    /// True when memory has enough of it: [`Letter::put_away`] before anything more is received.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.body.in_memory() >= room_for_octets(self.incoming.is_some())
    }

    /// Puts what is in memory into the log of the volume that will decide.
    pub async fn put_away(&mut self, office: &Rc<Office>) {
        if let Err(verdict) = self.try_put_away(office).await {
            self.give_up(verdict);
        }
    }

    async fn try_put_away(&mut self, office: &Rc<Office>) -> Result<(), Verdict> {
        let trace_octets = self.trace_octets;
        let judge = self.judge.get_or_insert_with(|| Box::new(Judge::new(&office.settings.hostname, trace_octets)));
        let octets = self.body.take_full();
        judge.take(&octets).map_err(Verdict::Unacceptable)?;
        if self.incoming.is_none() {
            self.incoming = Incoming::new(office, deciding_volume(office, &self.recipients));
        }
        let Some(incoming) = &mut self.incoming else { return Err(Verdict::Later(Why::VolumeFailed)) };
        let pieces = incoming.put(vec![octets]).await.map_err(|why| weigh(why.into()))?;
        pieces.into_iter().for_each(|pieces| self.body.follow(pieces));
        self.charge.give_back();
        if self.charge.add(self.body.in_memory()) { Ok(()) } else { Err(Verdict::Later(Why::TooMuch)) }
    }

    /// The letter is whole, and each recipient hears for himself (LMTP): takes out those who have seen it before (A050), and says
    /// who they are. What is wrong with it for everybody is said when it is accepted.
    pub fn take_out_loops(&mut self, host: &str) -> Vec<AccountId> {
        if self.given_up.is_some() {
            return Vec::new();
        }
        let trace_octets = self.trace_octets;
        let mut judge = self.judge.take().unwrap_or_else(|| Box::new(Judge::new(host, trace_octets)));
        match judge.take(&self.body).and_then(|()| judge.end_for_each(&self.recipients)) {
            Ok(seen) => {
                self.is_judged = true;
                let mut seen = seen.into_iter();
                let gone = self.recipients.extract_if(.., |_| seen.next() == Some(true));
                gone.map(|recipient| recipient.home.account).collect()
            }
            Err(fault) => {
                self.give_up(Verdict::Unacceptable(fault));
                Vec::new()
            }
        }
    }

    /// The letter is whole: it, if it may be kept. `host`: our own name.
    ///
    /// # Errors
    /// What its sender is told instead.
    pub(super) fn judged(mut self, host: &str) -> Result<Letter, Verdict> {
        if let Some(verdict) = self.given_up {
            return Err(verdict);
        }
        if self.is_judged {
            return Ok(self);
        }
        let trace_octets = self.trace_octets;
        let mut judge = self.judge.take().unwrap_or_else(|| Box::new(Judge::new(host, trace_octets)));
        judge.take(&self.body).and_then(|()| judge.end(&self.recipients)).map_err(Verdict::Unacceptable)?;
        Ok(self)
    }

    fn give_up(&mut self, verdict: Verdict) {
        self.given_up = Some(verdict);
        self.body = Body::default();
        self.incoming = None;
        // At once, not when the client has said the rest: others are hungry too.
        self.charge.give_back();
    }
}

/// A name for a letter that is about to come.
#[must_use]
pub fn new_id() -> Uuid {
    let mut chance = [0; 10];
    shard::random(&mut chance);
    uuid::Builder::from_unix_timestamp_millis(shard::wall_ms(), &chance).into_uuid()
}
