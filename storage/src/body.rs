//! A message body on its way in: octets in memory, behind those that lie in the log already.
//!
//! A small body stays in memory until the batch that refers to it. Of a large one pieces are put into the log while it
//! arrives (see [`crate::Upload`]), so that memory does not grow with it.

use crate::record::Piece;

/// A message body on its way in: parts are filled once and never moved or copied again.
///
/// The first part is small and later ones double up to 128 KiB, so a body of n bytes costs O(log n + n / 128 KiB)
/// allocations and no reallocation.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pieces: Vec<Piece>,
    parts: Vec<Vec<u8>>,
    /// Octets of all pieces and parts.
    len: u64,
    /// Octets of the parts.
    in_memory: u64,
}

/// Octets that lie in the log and belong to nobody yet. They may cross threads; the [`Upload`](crate::Upload) that put them
/// there has to live until the transaction is decided that refers to them.
#[derive(Debug, Default)]
pub struct Pieces(pub(crate) Vec<Piece>);

impl Body {
    /// Largest part, octets.
    pub const PART_BYTES_MAX: usize = 128 << 10;
    const PART_BYTES_MIN: usize = 8 << 10;

    /// A body with room for `hint` octets in its first part (clamped to the part bounds).
    #[must_use]
    pub fn with_hint(hint: usize) -> Self {
        let first = hint.clamp(Self::PART_BYTES_MIN, Self::PART_BYTES_MAX);
        Body { parts: vec![Vec::with_capacity(first)], ..Body::default() }
    }

    /// Appends a copy of `bytes`: the one user-space copy of a body.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.in_memory += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = self.parts.last().map_or(0, |p| p.capacity() - p.len());
            if room == 0 {
                // Behind pieces much is to come.
                let first = if self.pieces.is_empty() { Self::PART_BYTES_MIN } else { Self::PART_BYTES_MAX };
                let next = self.parts.last().map_or(first, |p| p.capacity() * 2);
                self.parts.push(Vec::with_capacity(next.clamp(Self::PART_BYTES_MIN, Self::PART_BYTES_MAX)));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.parts.last_mut().expect("a part with room exists").extend_from_slice(now);
            bytes = later;
        }
    }

    /// Octets so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True before the first octet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Octets of it in memory.
    #[must_use]
    pub fn in_memory(&self) -> u64 {
        self.in_memory
    }

    /// The parts in memory, in order.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(Vec::as_slice)
    }

    /// Takes what is in memory out, to be put into the log; [`Body::follow`] says where it went. Until then this is not the
    /// whole body.
    #[must_use]
    pub fn take_memory(&mut self) -> Body {
        let octets = std::mem::take(&mut self.in_memory);
        self.len -= octets;
        Body { pieces: Vec::new(), parts: std::mem::take(&mut self.parts), len: octets, in_memory: octets }
    }

    /// As [`Body::take_memory`], but the last part stays if there is room in it: so pieces are as large as they may be.
    #[must_use]
    pub fn take_full(&mut self) -> Body {
        let open = self.parts.pop_if(|part| part.len() < part.capacity());
        let taken = self.take_memory();
        if let Some(open) = open {
            self.len += open.len() as u64;
            self.in_memory = open.len() as u64;
            self.parts.push(open);
        }
        taken
    }

    /// What was taken out lies there now: behind the pieces so far, before what stayed.
    pub fn follow(&mut self, pieces: Pieces) {
        self.len += pieces.octets();
        self.pieces.extend(pieces.0);
    }

    pub(crate) fn of_parts(parts: Vec<Vec<u8>>) -> Self {
        let len = parts.iter().map(|part| part.len() as u64).sum();
        Body { pieces: Vec::new(), parts, len, in_memory: len }
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Takes the parts in memory out.
    #[must_use]
    pub fn into_parts(self) -> Vec<Vec<u8>> {
        self.parts
    }

    pub(crate) fn into_pieces_and_parts(self) -> (Vec<Piece>, Vec<Vec<u8>>) {
        (self.pieces, self.parts)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Body { parts: vec![bytes], len, in_memory: len, ..Body::default() }
    }
}

impl Pieces {
    /// Octets of all of them.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.0.iter().map(|piece| u64::from(piece.len)).sum()
    }
}
