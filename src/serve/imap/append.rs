//! APPEND: a message comes from a client and is durable before its OK (RFC 9051 §6.3.12).
//!
//! Its octets are copied once, into the body that is written. Until it is whole nothing of it is anywhere but in this
//! connection (A122).

use ringpost_storage::{Body, MailboxId, Op, Outcome, Refused, Transaction};

use super::store::spelt_as_known;
use super::{Done, Door, flags_of, look};
use crate::net::wire::Wire;
use crate::observe::{self, Counter};
use crate::office::BodyCharge;
use crate::office::durable::{Undone, make_durable};
use crate::proto::imap::{Answer, Append, FlagList, No};
use crate::shard::{self, Peer};

/// A message on its way in.
pub(super) struct Upload {
    mailbox: MailboxId,
    flags: FlagList,
    internal_ms: Option<i64>,
    body: Body,
    charge: BodyCharge,
    /// Octets charged.
    charged: u64,
    bytes_max: u64,
    /// Why it will not be kept; its octets are dropped as they come.
    refused: Option<No>,
}

impl Upload {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let octets = bytes.len() as u64;
        observe::add(Counter::BodyBytesReceived, octets);
        if self.refused.is_some() {
            return;
        }
        let len = self.body.len() + octets;
        // Line ends made canonical may add to what was announced.
        let more = len.saturating_sub(self.charged);
        if len > self.bytes_max {
            self.refuse(No::TooBig);
        } else if !self.charge.add(more) {
            self.refuse(No::Unavailable);
        } else {
            self.charged += more;
            self.body.push(bytes);
            observe::add(Counter::BodyBytesCopied, octets);
        }
    }

    fn refuse(&mut self, no: No) {
        self.refused = Some(no);
        self.body = Body::default();
        self.charge.give_back();
    }
}

impl Door {
    pub(super) fn append_begin(&mut self, append: Append, peer: Peer) -> Done {
        self.upload = None;
        let bytes_max = self.office.settings.message_bytes_max;
        if append.size > bytes_max {
            return Err(No::TooBig.into());
        }
        let mailbox = self.named(&append.mailbox).ok_or(No::TryCreate)?;
        let flags = look(self.who(), mailbox, |m| spelt_as_known(&append.flags, m.messages()))??;
        let mut charge = self.office.charge(peer);
        // The client sends a synchronising literal only when it is told to go on: no use in asking for what cannot be kept.
        if !self.who().volume.has_room(append.size, wall_ms()) || !charge.add(append.size) {
            return Err(No::Unavailable.into());
        }
        let hint = usize::try_from(append.size).unwrap_or(usize::MAX);
        self.upload = Some(Box::new(Upload {
            mailbox,
            flags,
            internal_ms: append.internal_ms,
            body: Body::with_hint(hint),
            charge,
            charged: append.size,
            bytes_max,
            refused: None,
        }));
        Ok(Answer::Go)
    }

    pub(super) async fn append_done(&mut self, wire: &Wire) -> Done {
        // It may have been dropped when the mailbox was looked up, never otherwise.
        let Some(upload) = self.upload.take() else { return Err(No::ServerBug.into()) };
        let Upload { mailbox, flags, internal_ms, body, charge, refused, .. } = *upload;
        if let Some(no) = refused {
            observe::count(Counter::MessagesRefused);
            return Err(no.into());
        }
        let who = self.who();
        let size = body.len();
        let op = Op::Append {
            account: who.account,
            mailbox,
            body: 0,
            prefix: Vec::new(),
            flags: flags_of(&flags),
            internal_ms: internal_ms.unwrap_or_else(wall_ms),
        };
        let committed = make_durable(&who.volume, Transaction { bodies: vec![body], ops: vec![op] }).await;
        drop(charge);
        let why = match committed {
            Ok(outcomes) => {
                let [Outcome::Appended { uid, uidvalidity, .. }] = *outcomes else { return Err(No::ServerBug.into()) };
                observe::count(Counter::MessagesAccepted);
                tracing::info!(target: "imap", account = %who.name, peer = %wire.peer(), uid, size, "appended");
                return Ok(Answer::Appended { uidvalidity, uid });
            }
            Err(why) => why,
        };
        tracing::warn!(target: "imap", account = %who.name, peer = %wire.peer(), size, %why, "not appended");
        if why == Undone::Unknown {
            observe::count(Counter::MessagesUnknown);
        }
        Err(match why {
            Undone::Refused(Refused::NoMailbox) => No::TryCreate.into(),
            why => why.into(),
        })
    }
}

fn wall_ms() -> i64 {
    i64::try_from(shard::wall_ms()).unwrap_or(i64::MAX)
}
