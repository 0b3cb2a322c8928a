//! A transaction of things that move, with the forward that says where they are now.

use std::collections::HashMap;

use super::Stuck;
use crate::batch::Pushed;
use crate::commit::Bound;
use crate::disk::Disk;
use crate::record::{
    BodyRecord, FORWARD_HEAD_BYTES, FORWARD_ITEM_BYTES, FRAME_BYTES_MAX, LargeRecord, NewMessage, PIECE_ITEM_BYTES,
    Piece, kind,
};
use crate::types::Place;
use crate::volume::Inner;

/// Octets of one transaction, about: a batch of others waits for so much more to be written.
const MOVE_BYTES: u64 = 256 << 10;
/// The same of a small segment: one part in so many, because what does not fit its end is left empty.
const MOVE_SEGMENT_PART: u64 = 16;
/// Things in one transaction.
const MOVE_ITEMS_MAX: usize = 512;

/// Where a moved message has its body.
#[derive(Clone, Copy)]
pub enum Body {
    /// It moves in the same transaction, from this octet of the segment.
    Moves(u32),
    /// Here.
    At(Place),
}

/// What is to move together.
#[derive(Default)]
pub struct Moves {
    bodies: Vec<OneBody>,
    /// Octet of the record, payload, body.
    messages: Vec<(u32, Vec<u8>, Body)>,
    lists: Vec<(u32, Vec<Piece>)>,
    bytes: u64,
}

struct OneBody {
    at: u32,
    octets: Vec<u8>,
    slot: u16,
}

impl Moves {
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty() && self.messages.is_empty() && self.lists.is_empty()
    }

    /// Another stretch is to be begun.
    pub fn is_full(&self, segment_bytes: u64) -> bool {
        self.bytes >= MOVE_BYTES.min(segment_bytes / MOVE_SEGMENT_PART)
            || self.bodies.len() + self.messages.len() + self.lists.len() >= MOVE_ITEMS_MAX
    }

    pub fn body(&mut self, at: u32, octets: Vec<u8>, slot: u16) {
        self.bytes += BodyRecord::taken(octets.len() as u64);
        self.bodies.push(OneBody { at, octets, slot });
    }

    pub fn message(&mut self, at: u32, payload: Vec<u8>, body: Body) {
        self.bytes += payload.len() as u64;
        self.messages.push((at, payload, body));
    }

    pub fn list(&mut self, at: u32, pieces: Vec<Piece>) {
        self.bytes += (pieces.len() * PIECE_ITEM_BYTES) as u64;
        self.lists.push((at, pieces));
    }

    fn bound(&self, appends: bool) -> Bound {
        let bodies = self.bodies.iter().map(|b| BodyRecord::taken(b.octets.len() as u64) + FRAME_BYTES_MAX + 32);
        let messages = self.messages.iter().map(|(_, payload, _)| FRAME_BYTES_MAX + payload.len() as u64);
        let lists = self.lists.iter().map(|(_, p)| FRAME_BYTES_MAX + 8 + (p.len() * PIECE_ITEM_BYTES) as u64);
        let items = self.bodies.len() + self.messages.len() + self.lists.len();
        let forward = FRAME_BYTES_MAX + FORWARD_HEAD_BYTES + (items * FORWARD_ITEM_BYTES) as u64;
        let bytes = bodies.chain(messages).chain(lists).sum::<u64>() + forward;
        Bound { bytes, parts: self.bodies.len(), appends }
    }
}

impl<D: Disk> Inner<D> {
    /// Moves them out of a segment; resolves when that is durable. Returns octets of bodies that were copied. `appends`: it
    /// makes no room, and leaves the last to others.
    pub(super) async fn move_out(&self, segment: u32, moves: &Moves, appends: bool) -> Result<u64, Stuck> {
        if moves.is_empty() {
            return Ok(0);
        }
        let mut copied = 0;
        self.write(moves.bound(appends), |index, gather| {
            copied = 0;
            let counted = gather.payload_bytes;
            let mut pushed: HashMap<u32, Pushed> = HashMap::new();
            let mut items: Vec<(u32, Place, bool)> = Vec::new();
            for OneBody { at, octets, slot } in &moves.bodies {
                // It may have died since it was read.
                if index.segments.get(&segment).is_none_or(|s| s.users(*at) == 0) {
                    continue;
                }
                let len = octets.len() as u64;
                let body = gather.push_body(Vec::new(), vec![octets.clone()], len, *slot);
                items.push((*at, body.place, true));
                pushed.insert(*at, body);
                copied += len;
            }
            for (at, pieces) in &moves.lists {
                let place = gather.push(kind::MOVED_LARGE, |out| LargeRecord::encode(out, pieces));
                items.push((*at, place, false));
            }
            for (at, payload, body) in &moves.messages {
                let with = |body: Place| {
                    let mut payload = payload.clone();
                    payload[NewMessage::BODY_AT..][..4].copy_from_slice(&body.segment.to_le_bytes());
                    payload[NewMessage::BODY_AT + 4..][..4].copy_from_slice(&body.at.to_le_bytes());
                    payload
                };
                let place = gather.next_place();
                match body {
                    Body::At(there) => drop(gather.push(kind::MOVED, |out| out.extend_from_slice(&with(*there)))),
                    Body::Moves(from) => {
                        let Some(body) = pushed.get(from) else { continue };
                        let payload = with(body.place);
                        let at = (*body, NewMessage::BODY_AT);
                        gather.push_own_with_body(kind::MOVED, at, |out| out.extend_from_slice(&payload));
                    }
                }
                items.push((*at, place, false));
            }
            // What is copied was counted when it came.
            gather.payload_bytes = counted;
            if items.is_empty() {
                return false;
            }
            items.sort_unstable_by_key(|(at, ..)| *at);
            gather.push_forward(segment, &items);
            true
        })
        .await?;
        Ok(copied)
    }
}
