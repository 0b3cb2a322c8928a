//! Large bodies on their way into a volume, of this shard or of another one.
//!
//! ```text
//!   connection ── full ──► Incoming::put ──┬─ volume here ──────────────► Upload::put ─► durable ─► Pieces
//!     (waits: nothing is received)         └─ elsewhere ── Request::Put ──► the same there ─► Reply::Put
//! ```
//!
//! - Who puts waits for room: in the mesh, whose byte credits are for all, and among what the volume has waiting.
//! - The volume's shard keeps an upload until it is told that it is over, which an [`Incoming`] says when it is dropped.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use ringpost_storage::{Body, Lost, Pieces, Refused, Upload, Volume, VolumeId};

use super::durable::{Undone, wall_ms};
use super::{Deliverable, Office, Reply, Request};
use crate::limits;
use crate::shard::{self, Disk, ShardId};

/// Between two looks whether there is room, milliseconds.
const ROOM_LOOK_MS: u64 = 5;

/// Uploads of other shards into volumes of this one, by number.
#[derive(Default)]
pub struct Uploads {
    open: RefCell<HashMap<u64, State>>,
    /// Uploads that this shard has begun elsewhere.
    begun: Cell<u64>,
}

enum State {
    Kept(Upload<Disk>),
    /// Octets of it are on their way to the disk.
    Busy,
    /// The same, and nobody waits for them any more.
    Over,
}

/// Octets of another shard on their way into a volume.
#[derive(Debug)]
pub struct Part {
    /// Which volume.
    pub volume: VolumeId,
    /// Of which upload: begun by its first part, one part at a time.
    pub upload: u64,
    /// Octets in memory.
    pub bodies: Vec<Body>,
}

/// What became of a [`Part`].
#[derive(Debug)]
pub struct PutAway {
    /// For each body its pieces; or why nothing of it is kept.
    pub pieces: Result<Vec<Pieces>, Undone>,
    /// The buffers, to be freed on the core that allocated them.
    pub buffers: Vec<Vec<u8>>,
}

/// A large body on its way in. Keep it until the transaction that refers to the pieces is durable.
pub struct Incoming {
    office: Rc<Office>,
    volume: VolumeId,
    place: Place,
}

enum Place {
    Here(Upload<Disk>),
    There { shard: ShardId, upload: u64, begun: bool },
}

/// Octets of a message in memory at which they are put away; `begun`: some of it are.
#[must_use]
pub fn room_for_octets(begun: bool) -> u64 {
    if begun { limits::BODY_BYTES_PUT_AWAY } else { limits::BODY_BYTES_IN_MEMORY_MAX }
}

impl Incoming {
    /// Nothing is on its way yet. `None`: the volume is not open on the shard that should have it, which is this one.
    #[must_use]
    pub fn new(office: &Rc<Office>, volume: VolumeId) -> Option<Self> {
        let shard = office.shard_of(volume);
        let place = if shard == shard::id() {
            Place::Here(office.volume(volume)?.upload())
        } else {
            office.uploads.begun.set(office.uploads.begun.get() + 1);
            let upload = u64::from(shard::id()) << 48 | office.uploads.begun.get();
            Place::There { shard, upload, begun: false }
        };
        Some(Incoming { office: office.clone(), volume, place })
    }

    /// Where it goes.
    #[must_use]
    pub fn volume(&self) -> VolumeId {
        self.volume
    }

    /// Puts octets into the log; for each body the pieces that it is then.
    ///
    /// # Errors
    /// Whatever it is, nothing of it is kept. `Refused(Busy)` when there was no room for [`limits::COMMIT_DEADLINE_S`].
    pub async fn put(&mut self, bodies: Vec<Body>) -> Result<Vec<Pieces>, Undone> {
        let octets = bodies.iter().map(Body::in_memory).sum();
        let (shard, upload, begun) = match &mut self.place {
            Place::Here(upload) => {
                let Some(volume) = self.office.volume(self.volume) else { return Err(Undone::NotWritten) };
                return put_here(&volume, upload, bodies).await.map(|(pieces, _)| pieces);
            }
            Place::There { shard, upload, begun } => (*shard, *upload, begun),
        };
        let mesh = &self.office.mesh;
        if !has_room(|| mesh.has_room(shard, octets)).await {
            return Err(Undone::Refused(Refused::Busy));
        }
        *begun = true;
        let part = Part { volume: self.volume, upload, bodies };
        match mesh.call(shard, Request::Put(Box::new(part)), octets).await {
            Ok(Reply::Put(put)) => {
                // They were allocated here.
                drop(put.buffers);
                put.pieces
            }
            Ok(other) => unreachable!("octets are answered with where they are, not {other:?}"),
            Err(_) => Err(Undone::NotWritten),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let Place::There { shard, upload, begun: true } = self.place else { return };
        let office = self.office.clone();
        shard::spawn("upload", async move {
            // When there is no room in all that time, the other shard is gone, or what it keeps is the smaller trouble.
            if has_room(|| office.mesh.has_room(shard, 0)).await {
                let _ = office.mesh.call(shard, Request::PutOver(upload), 0).await;
            }
        });
    }
}

impl Uploads {
    /// Puts octets of another shard into a volume of this one: the answer to [`Request::Put`].
    pub async fn put(&self, office: &Office, part: Part) -> PutAway {
        let Part { volume, upload: number, bodies } = part;
        let Some(volume) = office.volume(volume) else {
            return PutAway { pieces: Err(Undone::NotWritten), buffers: Vec::new() };
        };
        let mut upload = match self.open.borrow_mut().insert(number, State::Busy) {
            Some(State::Kept(upload)) => upload,
            None => volume.upload(),
            Some(State::Busy | State::Over) => unreachable!("one part is on its way at a time"),
        };
        let put = put_here(&volume, &mut upload, bodies).await;
        {
            let mut open = self.open.borrow_mut();
            match open.get_mut(&number) {
                Some(state @ State::Busy) => *state = State::Kept(upload),
                _ => drop(open.remove(&number)),
            }
        }
        let (pieces, buffers) = match put {
            Ok((pieces, buffers)) => (Ok(pieces), buffers),
            Err(why) => (Err(why), Vec::new()),
        };
        PutAway { pieces, buffers }
    }

    /// Nobody needs this upload any more.
    pub fn over(&self, number: u64) {
        let mut open = self.open.borrow_mut();
        match open.get_mut(&number) {
            Some(state @ State::Busy) => *state = State::Over,
            _ => drop(open.remove(&number)),
        }
    }

    /// Uploads kept for other shards.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// True when none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

async fn put_here(
    volume: &Volume<Disk>,
    upload: &mut Upload<Disk>,
    bodies: Vec<Body>,
) -> Result<(Vec<Pieces>, Vec<Vec<u8>>), Undone> {
    let octets = bodies.iter().map(Body::in_memory).sum();
    if !has_room(|| !volume.is_busy(octets)).await {
        return Err(Undone::Refused(Refused::Busy));
    }
    let putting = upload.put(bodies, wall_ms()).map_err(Undone::Refused)?;
    match shard::within(Duration::from_secs(limits::COMMIT_DEADLINE_S), putting.durable()).await {
        Some(Ok(put)) => Ok(put),
        Some(Err(Lost::NoRoom)) => Err(Undone::Refused(Refused::DiskFull)),
        // Whether the octets are on the disk matters to nobody.
        Some(Err(Lost::NotWritten | Lost::Unknown)) | None => Err(Undone::NotWritten),
    }
}

/// Waits until there is room, but not for ever.
async fn has_room(look: impl Fn() -> bool) -> bool {
    for _ in 0..limits::COMMIT_DEADLINE_S * 1_000 / ROOM_LOOK_MS {
        if look() {
            return true;
        }
        shard::sleep(Duration::from_millis(ROOM_LOOK_MS)).await;
    }
    false
}

impl From<Undone> for Deliverable {
    fn from(why: Undone) -> Self {
        match why {
            Undone::Refused(refused) => Deliverable::Refused(refused),
            Undone::NotWritten => Deliverable::Refused(Refused::Failed),
            Undone::Unknown => Deliverable::Unknown,
        }
    }
}
