//! Bodies that a record lets go: what the resident index needs to count them down without loading anybody.

use crate::codec::{Put, Reader};
use crate::record::RowRun;
use crate::types::{Message, Place};

/// Octets of one in a list.
pub const RELEASED_BYTES: usize = 16;

/// A body that has one user less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    pub body: Place,
    /// Octets of the body; 0 for a list of pieces, which have their own.
    pub len: u32,
    /// The place is that of a list of pieces.
    pub large: bool,
    /// It is a run of rows, which may name places that have moved.
    pub rows: bool,
}

const LARGE: u32 = 1;
const ROWS: u32 = 2;

/// A list of them, with what goes off the account's quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleasedList<'a> {
    /// Octets of messages that are gone.
    pub bytes: u64,
    /// Messages that are gone.
    pub messages: u32,
    items: &'a [u8],
}

impl Released {
    pub fn of(message: &Message) -> Self {
        let large = message.is_large();
        Released { body: message.body, len: if large { 0 } else { message.body_len() as u32 }, large, rows: false }
    }

    pub fn of_rows(run: &RowRun) -> Self {
        Released { body: run.body, len: run.len, large: false, rows: true }
    }

    fn put(self, out: &mut Vec<u8>) {
        out.place(self.body);
        self.put_rest(out);
    }

    /// All but the place.
    pub fn put_rest(self, out: &mut Vec<u8>) {
        out.u32(self.len);
        out.u32(if self.large { LARGE } else { 0 } | if self.rows { ROWS } else { 0 });
    }

    pub fn take(r: &mut Reader<'_>) -> Option<Self> {
        let (body, len, bits) = (r.place()?, r.u32()?, r.u32()?);
        Some(Released { body, len, large: bits & LARGE != 0, rows: bits & ROWS != 0 })
    }
}

impl<'a> ReleasedList<'a> {
    pub fn encode(out: &mut Vec<u8>, bytes: u64, messages: u32, released: &[Released]) {
        out.u64(bytes);
        out.u32(messages);
        out.u32(u32::try_from(released.len()).expect("a transaction is smaller than a segment"));
        released.iter().for_each(|r| r.put(out));
    }

    /// Octets that [`ReleasedList::encode`] writes for so many.
    pub fn bytes(count: usize) -> u64 {
        16 + (count * RELEASED_BYTES) as u64
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let (bytes, messages) = (r.u64()?, r.u32()?);
        let count = usize::try_from(r.u32()?).ok()?;
        Some(ReleasedList { bytes, messages, items: r.take(count.checked_mul(RELEASED_BYTES)?)? })
    }

    pub fn items(&self) -> impl Iterator<Item = Released> + use<'a> {
        let mut r = Reader::new(self.items);
        std::iter::from_fn(move || Released::take(&mut r))
    }
}
