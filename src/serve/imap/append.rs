//! APPEND: messages come from a client and are durable before its OK, all or none (RFC 9051 §6.3.12, RFC 3502).
//!
//! Their octets are copied once, into the bodies that are written. Until the last is whole nobody has anything of them: they are
//! in this connection, or, where they are too many for memory, dead octets of the log (A122). Then they are one transaction (A123).

use std::rc::Rc;

use ringpost_storage::{Body, Flags, MailboxId, Op, Outcome, Refused, Transaction, VolumeId};

use super::keywords::Keywords;
use super::{Done, Door, flags_of, look};
use crate::limits;
use crate::net::wire::Wire;
use crate::observe::{self, Counter};
use crate::office::durable::{Undone, make_durable};
use crate::office::uploads::room_for_octets;
use crate::office::{BodyCharge, Expecting, Incoming, Office};
use crate::proto::imap::{Announced, Answer, Append, No, Set};
use crate::shard::{self, Peer};

/// A message takes no less memory than this, octets, however short it is.
const CHARGED_BYTES_MIN: u64 = 8 << 10;

/// Messages on their way in.
pub(super) struct Upload {
    mailbox: MailboxId,
    /// Keywords of the mailbox and of all that came so far, from the first message on that has some.
    keywords: Option<Keywords>,
    /// Those that are whole.
    whole: Vec<Coming>,
    /// The one that is coming.
    present: Coming,
    charge: BodyCharge,
    /// Octets charged for the present one.
    charged: u64,
    /// What was announced of it, while it comes.
    expecting: Option<Expecting>,
    /// Where octets go when they are too many for memory.
    incoming: Option<Incoming>,
    /// Octets that all together may have.
    bytes_max: u64,
    /// Octets of those that are whole.
    whole_bytes: u64,
    /// Why none will be kept; their octets are dropped as they come.
    refused: Option<No>,
}

/// A message and what it is to have.
struct Coming {
    body: Body,
    flags: Flags,
    internal_ms: Option<i64>,
}

impl Upload {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let octets = bytes.len() as u64;
        observe::add(Counter::BodyBytesReceived, octets);
        if self.refused.is_some() {
            return;
        }
        let len = self.present.body.len() + octets;
        // Line ends made canonical may add to what was announced, and of a large one not all is charged at first.
        let more = (self.present.body.in_memory() + octets).saturating_sub(self.charged);
        if self.whole_bytes + len > self.bytes_max {
            // Each for itself may be legal.
            self.refuse(if len > self.bytes_max { No::TooBig } else { No::Limit });
        } else if !self.charge.add(more) {
            self.refuse(No::Unavailable);
        } else {
            self.charged += more;
            self.present.body.push(bytes);
            observe::add(Counter::BodyBytesCopied, octets);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        let whole: u64 = self.whole.iter().map(|message| message.body.in_memory()).sum();
        whole + self.present.body.in_memory() >= room_for_octets(self.incoming.is_some())
    }

    /// Puts what is in memory into the log.
    pub(super) async fn put_away(&mut self, office: &Rc<Office>, volume: VolumeId) {
        if self.incoming.is_none() {
            self.incoming = Incoming::new(office, volume);
        }
        let Some(incoming) = &mut self.incoming else { return self.refuse(No::Unavailable) };
        let mut bodies: Vec<&mut Body> = self.whole.iter_mut().map(|message| &mut message.body).collect();
        bodies.retain(|body| body.in_memory() > 0);
        let mut octets: Vec<Body> = bodies.iter_mut().map(|body| body.take_memory()).collect();
        octets.push(self.present.body.take_full());
        bodies.push(&mut self.present.body);
        match incoming.put(octets).await {
            Ok(pieces) => {
                bodies.into_iter().zip(pieces).for_each(|(body, pieces)| body.follow(pieces));
                if let Some(expecting) = &mut self.expecting {
                    expecting.is_there(self.present.body.len() - self.present.body.in_memory());
                }
                self.charge.give_back();
                self.charged = self.present.body.in_memory();
                if !self.charge.add(self.charged) {
                    self.refuse(No::Unavailable);
                }
            }
            Err(why) => {
                tracing::warn!(target: "imap", volume, %why, "a message does not fit memory and could not be put away");
                self.refuse(No::Unavailable);
            }
        }
    }

    fn refuse(&mut self, no: No) {
        self.refused = Some(no);
        self.whole = Vec::new();
        self.present.body = Body::default();
        self.incoming = None;
        self.expecting = None;
        self.charge.give_back();
    }
}

impl Door {
    pub(super) fn append_begin(&mut self, append: Append, peer: Peer) -> Done {
        self.upload = None;
        let mailbox = self.named(&append.mailbox).ok_or(No::TryCreate)?;
        let bytes_max = self.office.settings.message_bytes_max;
        let mut charge = self.office.charge(peer);
        let (charged, expecting) = self.ask_room(&mut charge, append.message.size, bytes_max, peer)?;
        let mut keywords = None;
        let present = self.incoming(mailbox, append.message, &mut keywords)?;
        self.upload = Some(Box::new(Upload {
            mailbox,
            keywords,
            whole: Vec::new(),
            present,
            charge,
            charged,
            expecting: Some(expecting),
            incoming: None,
            bytes_max,
            whole_bytes: 0,
            refused: None,
        }));
        Ok(Answer::Go)
    }

    /// The present message is whole, and another is to come. After NO none of them is kept.
    pub(super) fn append_more(&mut self, announced: Announced, peer: Peer) -> Done {
        let Some(mut upload) = self.upload.take() else { return Err(No::ServerBug.into()) };
        if let Some(no) = upload.refused {
            observe::count(Counter::MessagesRefusedImap);
            return Err(no.into());
        }
        upload.whole_bytes += upload.present.body.len();
        let left = upload.bytes_max.saturating_sub(upload.whole_bytes);
        if announced.size > left && announced.size <= upload.bytes_max {
            return Err(No::Limit.into());
        }
        // What is whole is there, or little.
        upload.expecting = None;
        let (charged, expecting) = self.ask_room(&mut upload.charge, announced.size, left, peer)?;
        (upload.charged, upload.expecting) = (charged, Some(expecting));
        let next = self.incoming(upload.mailbox, announced, &mut upload.keywords)?;
        let whole = std::mem::replace(&mut upload.present, next);
        upload.whole.push(whole);
        self.upload = Some(upload);
        Ok(Answer::Go)
    }

    /// Charges a message, if there may be room for it; the octets charged, and what is expected. The client sends a
    /// synchronising literal only when it is told to go on: no use in asking for what cannot be kept.
    fn ask_room(&self, charge: &mut BodyCharge, size: u64, bytes_max: u64, peer: Peer) -> Result<(u64, Expecting), No> {
        let octets = size.clamp(CHARGED_BYTES_MIN, limits::BODY_BYTES_IN_MEMORY_MAX);
        if size > bytes_max {
            return Err(No::TooBig);
        }
        let volume = self.who().volume.facts().volume;
        let expecting = self.office.expect(volume, peer, Some(size)).ok_or(No::Unavailable)?;
        if charge.add(octets) { Ok((octets, expecting)) } else { Err(No::Unavailable) }
    }

    fn incoming(
        &self,
        mailbox: MailboxId,
        announced: Announced,
        keywords: &mut Option<Keywords>,
    ) -> Result<Coming, No> {
        let Announced { size, mut flags, internal_ms } = announced;
        if !flags.keywords.is_empty() {
            if keywords.is_none() {
                *keywords = Some(look(self.who(), mailbox, |m| Keywords::of(m.messages()))?);
            }
            flags = keywords.as_mut().map_or(Err(No::ServerBug), |known| known.spelt(&flags))?;
        }
        let hint = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(Coming { body: Body::with_hint(hint), flags: flags_of(&flags), internal_ms })
    }

    pub(super) async fn append_done(&mut self, wire: &Wire) -> Done {
        // It may have been dropped when the mailbox was looked up, never otherwise.
        let Some(upload) = self.upload.take() else { return Err(No::ServerBug.into()) };
        let Upload { mailbox, mut whole, present, charge, incoming, whole_bytes, refused, .. } = *upload;
        if let Some(no) = refused {
            observe::count(Counter::MessagesRefusedImap);
            return Err(no.into());
        }
        let who = self.who();
        let size = whole_bytes + present.body.len();
        whole.push(present);
        let messages = whole.len();
        let mut transaction = Transaction::default();
        for (body, Coming { body: octets, flags, internal_ms }) in whole.into_iter().enumerate() {
            transaction.bodies.push(octets);
            transaction.ops.push(Op::Append {
                account: who.account,
                mailbox,
                body,
                prefix: Vec::new(),
                flags,
                internal_ms: internal_ms.unwrap_or_else(wall_ms),
            });
        }
        let committed = make_durable(&who.volume, transaction).await;
        drop((charge, incoming));
        let why = match committed {
            Ok(outcomes) => {
                let mut uids = Vec::with_capacity(messages);
                let mut valid = 0;
                for outcome in outcomes {
                    let Outcome::Appended { uid, uidvalidity, .. } = outcome else {
                        return Err(No::ServerBug.into());
                    };
                    valid = uidvalidity;
                    uids.push(uid);
                }
                observe::add(Counter::AcceptedImap, messages as u64);
                let (uid_first, uid_last) = (uids.first(), uids.last());
                tracing::info!(target: "imap", account = %who.name, peer = %wire.peer(), messages, ?uid_first, ?uid_last, size, "appended");
                return Ok(Answer::Appended { uidvalidity: valid, uids: Set::of_rising(uids) });
            }
            Err(why) => why,
        };
        tracing::warn!(target: "imap", account = %who.name, peer = %wire.peer(), messages, size, %why, "not appended");
        if why == Undone::Unknown {
            observe::add(Counter::UnknownImap, messages as u64);
        }
        Err(match why {
            Undone::Refused(Refused::NoMailbox) => No::TryCreate.into(),
            Undone::Refused(Refused::TooLarge) => if messages > 1 { No::Limit } else { No::TooBig }.into(),
            why => why.into(),
        })
    }
}

fn wall_ms() -> i64 {
    i64::try_from(shard::wall_ms()).unwrap_or(i64::MAX)
}
