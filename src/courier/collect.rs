//! A message for another volume, read a bit at a time. What of it is too much for memory goes ahead, into the log of the volume
//! it is for.

use std::rc::Rc;

use ringpost_storage::{Body, ReadError, Volume, VolumeId};

use crate::mailbox::anew::Anew;
use crate::office::durable::Undone;
use crate::office::uploads::room_for_octets;
use crate::office::{Incoming, Office};
use crate::shard::Disk;

/// Why it is not whole.
pub enum Uncollected {
    /// It cannot be read here.
    Unread(ReadError),
    /// It cannot be put there.
    Unput(Undone),
}

/// Collects a message, its own prefix included, as the body of another. `incoming`: where it goes ahead, made if need be for volume `target`; to be kept until the
/// body is durable.
///
/// # Errors
/// See [`Uncollected`].
pub async fn collect(
    office: &Rc<Office>,
    volume: &Volume<Disk>,
    mut octets: Anew,
    target: VolumeId,
    incoming: &mut Option<Incoming>,
) -> Result<Body, Uncollected> {
    let mut body = Body::default();
    loop {
        let some = octets.read_on(volume, body.len()).await.map_err(Uncollected::Unread)?;
        if some.is_empty() {
            return Ok(body);
        }
        body.push(&some);
        drop(some);
        if body.in_memory() < room_for_octets(incoming.is_some()) {
            continue;
        }
        if incoming.is_none() {
            *incoming = Incoming::new(office, target);
        }
        let Some(incoming) = incoming else { return Err(Uncollected::Unput(Undone::NotWritten)) };
        let full = vec![body.take_full()];
        let pieces = incoming.put(full).await.map_err(Uncollected::Unput)?;
        pieces.into_iter().for_each(|pieces| body.follow(pieces));
    }
}
