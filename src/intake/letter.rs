//! A letter on its way in: who it is from, who it is for, and its body as it arrives.

use std::rc::Rc;

use ringpost_storage::{Body, MailboxId, TransferCopy};
use uuid::Uuid;

use crate::directory::Home;
use crate::mail::trace;
use crate::observe::{self, Counter};
use crate::office::{BodyCharge, Copy, Office};
use crate::shard::{self, Peer};

/// A recipient whose mailbox is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// `user@domain` of the account.
    pub name: String,
    /// Where it lives.
    pub home: Home,
}

impl Recipient {
    /// This recipient's copy: his INBOX, with a Delivered-To field of its own.
    #[must_use]
    pub fn copy(&self) -> Copy {
        let mut prefix = Vec::with_capacity(16 + self.name.len());
        trace::delivered_to(&mut prefix, &self.name);
        Copy { account: self.home.account, mailbox: MailboxId::INBOX, prefix }
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
    starved: bool,
}

impl Letter {
    /// A letter without a body. `peer`: who sends it; `hint`: octets to expect.
    #[must_use]
    pub fn new(office: &Rc<Office>, peer: Peer, recipients: Vec<Recipient>, hint: u64) -> Self {
        let wall_ms = shard::wall_ms();
        Letter {
            id: new_id(wall_ms),
            recipients,
            received_ms: i64::try_from(wall_ms).unwrap_or(i64::MAX),
            body: Body::with_hint(usize::try_from(hint).unwrap_or(usize::MAX).saturating_add(1_024)),
            trace_octets: 0,
            charge: office.charge(peer),
            starved: false,
        }
    }

    /// Puts our trace fields at the front. Called once, before the first piece.
    pub fn sign(&mut self, trace: &[u8]) {
        assert!(self.body.is_empty(), "trace fields come first");
        self.body.push(trace);
        self.trace_octets = trace.len();
    }

    /// Takes a piece of what the client sends. When the shard holds too much already the letter is
    /// [`starved`](Letter::starved): nothing more of it is kept.
    pub fn push(&mut self, bytes: &[u8]) {
        observe::add(Counter::BodyBytesReceived, bytes.len() as u64);
        if self.starved || !self.charge.add(bytes.len() as u64) {
            self.starve();
            return;
        }
        observe::add(Counter::BodyBytesCopied, bytes.len() as u64);
        self.body.push(bytes);
    }

    /// True when the body is incomplete because the shard had no room for it.
    #[must_use]
    pub fn starved(&self) -> bool {
        self.starved
    }

    fn starve(&mut self) {
        self.starved = true;
        self.body = Body::default();
        // At once, not when the client has said the rest: others are hungry too.
        self.charge.give_back();
    }
}

fn new_id(wall_ms: u64) -> Uuid {
    let mut chance = [0; 10];
    shard::random(&mut chance);
    uuid::Builder::from_unix_timestamp_millis(wall_ms, &chance).into_uuid()
}
