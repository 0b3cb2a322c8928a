//! Pieces of large bodies that nobody has any more are let go: their list is read, and a record says that each has a user
//! less. Until then they only take space.

use super::{Pace, Stuck};
use crate::bugs::{self, Bug};
use crate::commit::Bound;
use crate::disk::Disk;
use crate::record::{FRAME_BYTES_MAX, Frame, Piece, Record, Released, ReleasedList, kind};
use crate::types::Place;
use crate::volume::{Inner, ReadError};

/// Octets read of a list at first.
const LIST_BYTES_GUESS: usize = 8 << 10;

impl<D: Disk> Inner<D> {
    /// Settles all there are now.
    pub(super) async fn pay_debts<P: Pace>(&self, pace: &P) -> Result<(), Stuck> {
        let debts: Vec<Place> = self.index.borrow().debts.iter().copied().collect();
        for list in debts {
            // A list that does not read stays a debt: its segment stays, and is looked at again when it is compacted.
            let Ok(pieces) = self.read_list(list).await else { continue };
            let bytes = FRAME_BYTES_MAX + ReleasedList::bytes(pieces.len() + 1);
            self.write(Bound { bytes, parts: 0, appends: false }, |index, gather| {
                let now = |place: Place| index.forwards.resolve(place);
                if !index.debts.contains(&now(list)) {
                    return false;
                }
                let piece = |p: &Piece| Released { body: now(p.place), len: p.len, large: false, rows: false };
                let mut gone: Vec<Released> = pieces.iter().map(piece).collect();
                if bugs::on(Bug::ForgetPieces) {
                    gone.clear();
                }
                gone.push(Released { body: now(list), len: 0, large: true, rows: false });
                gather.push(kind::RELEASE, |out| ReleasedList::encode(out, 0, 0, &gone));
                true
            })
            .await?;
            pace.rest(LIST_BYTES_GUESS as u64).await;
        }
        Ok(())
    }

    pub(super) async fn read_list(&self, list: Place) -> Result<Vec<Piece>, ReadError> {
        let bytes = self.read_record(list, LIST_BYTES_GUESS).await?;
        let frame = Frame::of(&bytes).map_err(|_| ReadError::Damaged)?;
        match Record::of(&frame) {
            Ok(Some(Record::Large(large) | Record::MovedLarge(large))) => Ok(large.pieces().collect()),
            _ => Err(ReadError::Damaged),
        }
    }
}
