//! A large body on its way in: its octets are put into the log while they arrive, as bodies without users.
//!
//! ```text
//!   Body ── take_full ────► Upload::put ──► ordinary small batch ──► Putting::durable ──► Pieces ──► Body::follow
//!                                                                                   (again and again, memory stays small)
//!   Transaction { bodies: [Body] } ─► the record that lists the pieces ─► messages: now they have users
//! ```
//!
//! - Octets that nobody refers to in the end are dead from their batch on, and need no undoing, also after a crash.
//! - While an [`Upload`] lives, the segments with its pieces are *pinned*: compaction, which keeps nothing that is dead, leaves
//!   them. From `decide` on the batch that refers to them pins them, until the index knows their users.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::body::{Body, Pieces};
use crate::commit::{Fate, Ticket};
use crate::disk::{Bytes, Disk};
use crate::record::{PIECE_BYTES_MAX, Piece};
use crate::transaction::{Lost, Refused, Transaction};
use crate::volume::Volume;

/// How many hold each segment.
#[derive(Clone, Default)]
pub struct Pins(Rc<RefCell<BTreeMap<u32, u32>>>);

/// Segments that stay until this is dropped.
pub struct Pin {
    pins: Pins,
    segments: Vec<u32>,
}

impl Pins {
    /// A pin of nothing yet.
    fn open(&self) -> Pin {
        Pin { pins: self.clone(), segments: Vec::new() }
    }

    /// Pins one segment.
    pub fn hold_one(&self, segment: u32) -> Pin {
        let mut pin = self.open();
        pin.hold(segment);
        pin
    }

    /// Pins the segments of these pieces once more; `None` where there are none.
    pub fn hold_all(&self, pieces: &[Piece]) -> Option<Pin> {
        let mut pin = self.open();
        for piece in pieces {
            assert!(self.held(piece.place.segment) > 0, "pieces are referred to while their upload lives");
            pin.hold(piece.place.segment);
        }
        (!pieces.is_empty()).then_some(pin)
    }

    /// Pins these segments.
    pub fn hold_segments(&self, segments: &[u32]) -> Pin {
        let mut pin = self.open();
        segments.iter().for_each(|segment| pin.hold(*segment));
        pin
    }

    /// How many hold a segment: while somebody does, it must stay as it is.
    pub fn held(&self, segment: u32) -> u32 {
        self.0.borrow().get(&segment).copied().unwrap_or(0)
    }
}

impl Pin {
    fn hold(&mut self, segment: u32) {
        if !self.segments.contains(&segment) {
            self.segments.push(segment);
            *self.pins.0.borrow_mut().entry(segment).or_default() += 1;
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut held = self.pins.0.borrow_mut();
        for segment in &self.segments {
            let count = held.get_mut(segment).expect("counted when it was pinned");
            *count -= 1;
            if *count == 0 {
                held.remove(segment);
            }
        }
    }
}

/// Keeps the pieces of bodies that are on their way in. Dropping it leaves dead octets and nothing else.
pub struct Upload<D: Disk> {
    volume: Volume<D>,
    pin: Pin,
}

/// Octets on their way into the log.
pub struct Putting {
    ticket: Ticket,
    fate: Rc<Fate>,
    /// Pieces of each body, their places counting from the start of the batch's bodies.
    bodies: Vec<Vec<Piece>>,
    buffers: Vec<Bytes>,
}

impl<D: Disk> Upload<D> {
    pub(crate) fn new(volume: Volume<D>) -> Self {
        let pin = volume.0.pins.open();
        Upload { volume, pin }
    }

    /// Puts what bodies have in memory into the log, in one batch; for each body the pieces that it is now. `now_ms`: as for
    /// [`Volume::decide`].
    ///
    /// # Errors
    /// See [`Refused`]; nothing was kept.
    pub fn put(&mut self, bodies: Vec<Body>, now_ms: i64) -> Result<Putting, Refused> {
        let mut counts = Vec::with_capacity(bodies.len());
        let mut all = Vec::new();
        for body in bodies {
            let before = all.len();
            cut(body, &mut all);
            counts.push(all.len() - before);
        }
        let mut buffers = Vec::new();
        let transaction = Transaction { bodies: all, ops: Vec::new() };
        let taken = self.volume.0.take(transaction, now_ms, Some(&mut buffers))?;
        self.pin.hold(taken.segment);
        let mut pushed = taken.bodies.into_iter();
        let piece = |pushed: crate::batch::Pushed| Piece {
            place: pushed.place,
            len: u32::try_from(pushed.len).expect("cut to pieces"),
            check: pushed.check,
        };
        let bodies = counts.into_iter().map(|count| pushed.by_ref().take(count).map(piece).collect()).collect();
        Ok(Putting { ticket: taken.decided.ticket, fate: taken.fate, bodies, buffers })
    }
}

impl Putting {
    /// Resolves when the octets are durable: the pieces of each body, in order, and the buffers that they were in, to be freed
    /// where they were allocated.
    ///
    /// # Errors
    /// As a [`Ticket`]. Whatever it is, nobody has the octets.
    pub async fn durable(self) -> Result<(Vec<Pieces>, Vec<Vec<u8>>), Lost> {
        self.ticket.await?;
        let bodies_at = self.fate.bodies_at();
        let placed = |mut pieces: Vec<Piece>| {
            pieces.iter_mut().for_each(|piece| piece.place.at += bodies_at);
            Pieces(pieces)
        };
        let buffers = self.buffers.into_iter().filter_map(|buffer| Rc::try_unwrap(buffer).ok()).collect();
        Ok((self.bodies.into_iter().map(placed).collect(), buffers))
    }
}

/// Cuts octets into bodies that are each verified whole, along their parts.
fn cut(body: Body, out: &mut Vec<Body>) {
    let (pieces, parts) = body.into_pieces_and_parts();
    assert!(pieces.is_empty(), "only what is in memory is put");
    let mut open: Vec<Vec<u8>> = Vec::new();
    let mut octets = 0;
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        if octets + part.len() as u64 > PIECE_BYTES_MAX && octets > 0 {
            out.push(Body::of_parts(std::mem::take(&mut open)));
            octets = 0;
        }
        if part.len() as u64 > PIECE_BYTES_MAX {
            out.extend(part.chunks(PIECE_BYTES_MAX as usize).map(|piece| Body::from(piece.to_vec())));
            continue;
        }
        octets += part.len() as u64;
        open.push(part);
    }
    if octets > 0 {
        out.push(Body::of_parts(open));
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::sim::SimDisk;
    use crate::transaction::{Op, Outcome};
    use crate::types::{Flags, MailboxId};
    use crate::volume::{Create, Settings};
    use crate::{commit, recover};

    fn ready<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => unreachable!("this disk never waits"),
        }
    }

    #[test]
    fn pieces_are_dead_until_a_message_has_them_and_pinned_until_the_index_knows() {
        let facts = Create { store: uuid::Uuid::nil(), volume: 1, volumes: 1, segment_bytes: 1 << 20, seed: 7 };
        let settings = Settings {
            gather_bytes_max: 8 << 20,
            batch_bytes_max: 1 << 20,
            free_bytes_min: 0,
            checkpoint_bytes: 0,
            ..Settings::DEFAULT
        };
        let disk = SimDisk::new(1);
        ready(recover::create(&disk, &facts)).unwrap();
        let (inner, _) = ready(recover::open(disk, None, settings)).unwrap();
        let volume = Volume(Rc::new(inner));
        let inner = volume.0.clone();
        let mut looped = pin!(commit::run(&inner, || std::future::ready(())));
        let mut settle = || assert!(looped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let live = || inner.index.borrow().segments[&1].live;
        let dead = || inner.index.borrow().segments[&1].odd.values().filter(|users| **users == 0).count();

        let put =
            Op::PutAccount { name: "a@x".into(), secrets: vec![], mailboxes: vec![], limits: crate::Limits::NONE };
        let Outcome::Account(account) =
            volume.decide(Transaction { bodies: vec![], ops: vec![put] }, 5_000).unwrap().outcomes[0]
        else {
            panic!()
        };
        settle();
        let mut body = Body::default();
        body.push(&[b'x'; 300_000]);
        let mut upload = volume.upload();
        assert_eq!(inner.pins.held(1), 0);
        let putting = upload.put(vec![body.take_memory()], 5_000).unwrap();
        settle();
        body.follow(ready(putting.durable()).unwrap().0.remove(0));
        assert_eq!((inner.pins.held(1), live()), (1, 0));
        let pieces = body.pieces().len();
        assert_eq!(dead(), pieces);
        let append = Op::Append {
            account,
            mailbox: MailboxId::INBOX,
            body: 0,
            prefix: vec![],
            flags: Flags::none(),
            internal_ms: 1,
        };
        drop(volume.decide(Transaction { bodies: vec![body], ops: vec![append] }, 5_000).unwrap());
        drop(upload);
        assert_eq!((inner.pins.held(1), dead()), (1, pieces), "the batch holds them");
        settle();
        assert_eq!((inner.pins.held(1), dead(), live()), (0, 0, 300_000));
    }
}
