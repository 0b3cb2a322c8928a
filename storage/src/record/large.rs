//! Large: the pieces of a body that is too large to be verified whole. Its place is the body of the messages that have it.

use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{Put, Reader};
use crate::types::Place;

/// Octets of a piece in the list.
pub const PIECE_ITEM_BYTES: usize = 20;

/// One piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub place: Place,
    pub len: u32,
    /// First 64 bits of its body's checksum.
    pub check: u64,
}

/// Kind 107.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeRecord<'a> {
    items: &'a [u8],
}

impl<'a> LargeRecord<'a> {
    /// Where in the payload the place of piece `n` is.
    pub const fn place_at(n: usize) -> usize {
        8 + n * PIECE_ITEM_BYTES
    }

    pub fn encode(out: &mut Vec<u8>, pieces: &[Piece]) {
        out.u32(u32::try_from(pieces.len()).expect("a transaction is smaller than a segment"));
        out.u32(0);
        for piece in pieces {
            out.place(piece.place);
            out.u32(piece.len);
            out.u64(piece.check);
        }
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let count = usize::try_from(r.u32()?).ok()?;
        r.u32()?;
        Some(LargeRecord { items: r.take(count.checked_mul(PIECE_ITEM_BYTES)?)? })
    }

    pub fn pieces(&self) -> impl Iterator<Item = Piece> + use<'a> {
        let mut r = Reader::new(self.items);
        std::iter::from_fn(move || Some(Piece { place: r.place()?, len: r.u32()?, check: r.u64()? }))
    }

    /// What messages remember of it as their body's checksum: the checksums of its pieces, hashed.
    pub fn check(pieces: impl Iterator<Item = Piece>) -> u64 {
        let mut checks = Vec::new();
        pieces.for_each(|piece| checks.u64(piece.check));
        xxh3_64(&checks)
    }
}
